"""What is drawn around a panel: header, run bar, job, error."""

import re

import pytest

from tests.app.benches import a_run
from tests.app.test_workbench import a_machine
from tests.making import measurement
from trtlab.app import bars, notices
from trtlab.app.problems import problem_of, unexpected
from trtlab.app.state import Action, Bar, Job, Planned, Problem, State
from trtlab.errors import ModelError, StoreError, WorkerCrashed, WorkspaceTooSmall


def test_a_step_that_does_not_say_how_far_it_is_has_a_bar_without_a_value():
    job = Job("Build", 0.0, (Bar("Sweep", 1, 4, "1 done of 4"), Bar("Parse")))
    state = State(busy=True, job=job, job_title="Build")
    known, unknown = re.findall(r"<progress[^>]*>", notices.job_bars(state))
    assert "max='4' value='1'" in known
    assert "value" not in unknown
    assert notices.job_points(state) == ""
    assert notices.job_bars(State(job=job)) == "", "no job runs"


def test_the_points_of_a_sweep_say_their_state_and_why_there_is_no_latency():
    setup = a_run().setup
    done = Planned(setup, "done", a_run(measurement=measurement()))
    not_run = Planned(setup, "done", a_run(missing={"measurement": "<no> GPU"}))
    state = State(busy=True, job_points=(done, not_run, Planned(setup, "running"), Planned(setup)))
    page = notices.job_points(State(busy=True, job=Job("", 0.0), job_points=state.job_points))
    assert "✓ done" in page
    assert "· waiting" in page
    assert page.count("aria-selected='true'") == 1
    assert "n/a: &lt;no&gt; GPU" in page
    assert "[[" not in page


def test_an_error_has_its_ways_out_as_buttons_and_escapes_the_builders_words():
    page = notices.problem_card(
        Problem("No <b>", actions=(Action("Set it", "set-workspace-build", "5"),), words="<i>"),
        "run 3",
    )
    assert "role='alert'" in page
    assert "data-act='set-workspace-build'" in page
    assert "data-value='5'" in page
    assert "No &lt;b&gt;" in page
    assert "&lt;i&gt;" in page
    assert "Still shown below: run 3" in page
    assert notices.problem_card(None) == ""


@pytest.mark.parametrize(
    ("error", "title", "field"),
    [
        (ModelError("no such file", hint="h"), "The model was not opened", "source"),
        (StoreError("full"), "The store cannot be used", ""),
        (WorkerCrashed("signal 9"), "process ended on its own", ""),
    ],
)
def test_errors_become_problems(error, title, field):
    problem = problem_of(error, State())
    assert title in problem.title
    assert problem.field == field
    assert error.message in problem.what


def test_a_workspace_that_is_too_small_names_what_was_asked_for():
    error = WorkspaceTooSmall("no", details="Requested size was 29818880 bytes.")
    problem = problem_of(error, State(workspace_bytes=2**23, batches=(1, 8, 16)))
    assert "8.00 MiB is too small" in problem.title
    assert "28.4 MiB (29,818,880 bytes)" in problem.what
    acts = {action.act: action.value for action in problem.actions}
    assert acts["set-workspace-build"] == str(2**25)
    assert acts["set-largest"] == "4"
    assert "search-workspace" in acts


def test_an_unforeseen_error_asks_to_be_reported():
    assert "report" in unexpected(KeyError("x")).hint


def test_the_header_says_what_builds_for_what_and_what_runs():
    state = State(machine=a_machine(), builder="tensorrt_rtx", target="sm89")
    page = bars.facts(state)
    assert "TensorRT-RTX 1.0 → sm89, not run" in page
    assert "ONNX Runtime 1.0, CPU" in page
    assert "No NVIDIA GPU here" in page
    state.update(runner="")
    assert "Runs: nothing, build only" in bars.facts(state)


def test_the_footer_says_where_all_of_it_comes_from():
    run = a_run(measurement=measurement())
    assert "A processor" in bars.footer(State(selected=run))
    assert "Nothing is shown yet" in bars.footer(State())
