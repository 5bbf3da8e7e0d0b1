"""The tab *Runs & export* through its state: rows, origins, code, buttons, text from files."""

import html
import re
from dataclasses import replace

import pytest

from tests import making
from tests import whole_runs as running
from trtlab.app.panels.export_tab import Export
from trtlab.app.state import State
from trtlab.exporters.python_cell import python_cell
from trtlab.exporters.trtexec import trtexec_line
from trtlab.spec import BuildConfig, RunConfig
from trtlab.store import Store


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def panel(*runs, **more):
    state = State(store=Store(), tab="export")
    made = Export(state)
    state.update(runs=runs, selected=runs[-1] if runs else None, **more)
    return made


def drawn(made):
    found = []
    for child in made.children:
        found += [child.value] if hasattr(child, "value") else [c.value for c in child.children]
    return "".join(found)


def run_rows(made):
    body = re.search(r"class='trtlab-runs'>.*?<tbody>(.*?)</tbody>", drawn(made), re.S)[1]
    return re.findall(r"<tr.*?</tr>", body, re.S)


def words(text):
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text)))


def code(made):
    return html.unescape(re.search(r"data-text='cell'>(.*?)</pre>", drawn(made), re.S)[1])


def test_the_newest_run_is_first_and_both_letters_are_there():
    runs = running.run("fp32"), running.run("fp16"), running.run()
    rows = run_rows(panel(*runs, baseline=runs[0]))
    assert [re.search(r"data-value='(\d+)'", row)[1] for row in rows] == ["3", "2", "1"]
    assert "title='selected'>B<" in rows[0]
    assert "aria-selected='true'" in rows[0]
    assert "title='baseline'>A<" in rows[2]
    assert "data-act='pin' data-value='2'" in rows[1]
    assert "data-act='pin'" not in rows[0] + rows[2]
    assert all("tabindex='0' data-act='select'" in row for row in rows)


def test_a_row_says_what_built_ran_and_how_fast():
    row = words(run_rows(panel(running.run()))[0])
    assert "21 Nov" in row
    assert "INT8 8 256 MiB TensorRT-RTX 1.7.1 → sm89 CPU 1.00 [" in row


def test_devices_and_threads_are_named():
    made = running.on_gpu()
    e = making.environment(gpu="NVIDIA A100")
    m = replace(made.measurement, environment=e)
    assert "NVIDIA A100 1.00" in words(run_rows(panel(replace(made, measurement=m)))[0])
    host = BuildConfig(provider="cuda")
    m = replace(m, build=host, run=RunConfig(batch=8, threads=2))
    row = words(run_rows(panel(replace(made, measurement=m)))[0])
    assert "NVIDIA A100, ONNX Runtime, 2 threads" in row


def test_of_another_year_the_year_is_told():
    then = making.environment(created="2019-03-01T10:00:00+00:00")
    row = run_rows(panel(running.relined(running.run(), environment=then)))[0]
    assert "1 Mar 2019" in row
    assert "10:00" not in row


def test_origins_are_marked_here_and_elsewhere():
    mine = running.run()
    other = running.relined(mine, source="recorded",
                            environment=making.environment(gpu="NVIDIA <H200>"))  # fmt: skip
    first, second = run_rows(panel(other, mine))
    assert "trtlab-measured" in first
    assert "trtlab-recorded" not in first
    assert "trtlab-recorded" in second
    assert "trtlab-measured" not in second
    assert "recorded on NVIDIA &lt;H200&gt;" in second


def test_a_failed_run_has_its_reason_and_no_number():
    row = run_rows(panel(running.run(), running.failed()))[0]
    assert "failed: The workspace limit of 8 MiB is too small." in row
    assert "n/a" in row
    assert "trtlab-measured" not in row
    assert "data-act='pin'" not in row
    assert "Set it to 32 MiB." in row


def test_what_was_built_and_not_run_says_why():
    run = running.run()
    line = {"latency_ms": None, "missing": {"measurement": "FP16 was not run: no CPU has it"}}
    run = running.relined(replace(run, measurement=None, ran=None, profile=None), **line)
    row = words(run_rows(panel(run))[0])
    assert "n/a : FP16 was not run" in row
    assert "sm89 — n/a" in row


@pytest.mark.parametrize("created", [None, "", "yesterday", "9999", "<b>"])
def test_times_that_are_none_are_not_known(created):
    run = running.relined(running.run(), environment=making.environment(created=created))
    assert "n/a" in run_rows(panel(run))[0]


def test_runs_of_two_models_say_which():
    other = running.run()
    other = running.relined(other, model=replace(other.model, name="<i>net", hash="9" * 64))
    rows = run_rows(panel(running.run(), other))
    assert "&lt;i&gt;net" in rows[0]
    assert "digits" in rows[1]


def test_times_of_two_kinds_are_not_compared():
    assert "Not all times" not in drawn(panel(running.run(), running.run("fp32")))
    text = words(drawn(panel(running.run(), running.on_gpu(), running.run("fp32"))))
    assert "time around a CPU call: runs 1, 3; GPU compute: run 2" in text
    assert "not compared" in text


def test_earlier_runs_keep_their_place_in_the_store():
    run = running.run()
    lines = [run.line, running.failed().line, running.run("fp16").line]
    text = drawn(panel(run, history=tuple(lines)))
    assert "Earlier runs in the store (2)" in text
    assert re.findall(r"data-act='recall' data-value='(\d)'", text) == ["1", "2"]
    assert "<details class='trtlab-earlier'>" in text, "folded"
    assert "Earlier" not in drawn(panel(run, history=(run.line,)))


def test_the_search_field_finds_both_tables():
    text = drawn(panel(running.run(), history=(running.failed().line,)))
    assert text.count("data-rows='runs'") == 2
    assert "data-filter='runs'" in text


def test_code_is_chosen_and_copied_as_it_is():
    run = running.run()
    made = panel(run)
    assert code(made) == python_cell(run)
    assert "data-copy='cell'" in drawn(made)
    assert made.act("cell-form", "trtexec10")
    assert code(made) == trtexec_line(run, "10")
    assert re.search(r"data-value='trtexec10' aria-pressed='true'", drawn(made))
    made.act("cell-form", "trtexec11")
    assert code(made) == trtexec_line(run, "11")
    made.act("cell-form", "json")
    assert '"workspace_bytes": 268435456' in code(made)


def test_foreign_acts_are_not_taken():
    made = panel(running.run())
    assert not made.act("zoom", "1")
    assert not made.act("cell-form", "perl")


def test_the_code_follows_the_selection():
    runs = running.run("fp32"), running.run()
    made = panel(*runs)
    assert "Reproduce run 2" in drawn(made)
    made.state.update(selected=runs[0])
    assert "Reproduce run 1" in drawn(made)
    assert code(made) == python_cell(runs[0])


def test_what_does_not_change_is_not_drawn_again():
    made = panel(running.run(), history=(running.failed().line,))
    before, changes = made.children, []
    made.children[0].observe(changes.append, "value")
    made.act("cell-form", "json")
    assert made.children == before
    assert not changes, "the folded list stays as it is"


def test_a_saved_file_is_named_with_its_size(here):
    made = panel(running.run("fp32"), running.run())
    assert made.act("save", "bundle")
    size = (here / "digits-run2.trtlab").stat().st_size
    assert f"Saved digits-run2.trtlab ({size / 1000:.1f} kB)" in drawn(made)
    made.act("save", "bundle")
    assert "Saved digits-run2-2.trtlab" in drawn(made)


def test_what_cannot_be_saved_says_why_in_place(here):
    made = panel(running.run())
    made.act("save", "plan")
    assert "role='alert'>Not saved. Plan e1e1e1e1e1e1 is not in the store." in drawn(made)
    assert "Reproduce run 1" in drawn(made), "nothing is lost"


def test_files_say_what_they_hold_and_which_cannot_be():
    text = words(drawn(panel(running.run("fp32"), running.run())))
    assert "digits-run2.trtlab runs 1 to 2 with every sample" in text
    assert "5.00 kB" in text, "the plan's size is known"
    assert "A plan is code" in text
    made = panel(running.failed())
    assert drawn(made).count("title='Run 1 has no plan.'") == 2
    run = running.run()
    host = drawn(panel(replace(run, plan=run.ran)))
    assert "A plan of TensorRT whose layers are known" in host
    elsewhere = drawn(panel(replace(run, plan=replace(run.plan, source="recorded"))))
    assert "its bytes are not here" in elsewhere


def test_nothing_selected_nothing_drawn_but_the_tables():
    made = panel(history=(running.run().line,))
    assert "No run yet." in drawn(made)
    assert "Take it away" not in drawn(made)


def test_text_from_files_is_escaped():
    bad = "<script>x</script>"
    run = running.run()
    run = running.relined(
        run, model=replace(run.model, name=bad), missing={"measurement": bad}, latency_ms=None,
        origin=bad,
    )  # fmt: skip
    failed = running.failed(bad)
    for form in ("python", "trtexec10", "json"):
        made = panel(failed, replace(run, measurement=None), history=(failed.line, run.line))
        made.act("cell-form", form)
        assert "<script" not in drawn(made)
