"""The Curves tab: what it draws of a state, and what its controls change."""

import json
import re
from dataclasses import replace

import ipywidgets as w
import pytest

from tests import making
from tests.analysis.test_latency_limit import timed
from tests.running import run
from trtlab.app.panels.base import Chart
from trtlab.app.panels.curves_tab import Curves
from trtlab.app.state import Planned, State
from trtlab.record import Failure
from trtlab.spec import Caveat, RunConfig, Setup
from trtlab.views.widgets.plotly_view import PlotlyView

WHY = "FP16 was not run: the CPU widens it."


def measured(recipe, batch, ms, **parts):
    whole = run(recipe, batch)
    m = replace(timed(batch, ms), model=whole.line.made, run=RunConfig(batch=batch), **parts)
    return replace(whole, measurement=m)


def not_run(recipe="fp16", batch=8):
    whole = run(recipe, batch)
    line = replace(whole.line, missing={"measurement": WHY})
    return replace(whole, line=line, ran=None, measurement=None, accuracy=None)


RUNS = (
    measured("fp32", 1, 1.0),
    measured("fp32", 8, 6.0),
    measured("int8", 1, 0.5),
    measured("int8", 8, 3.0),
)


def panel(*runs, **changes):
    runs = runs or RUNS
    made = Curves(State())
    made.state.update(runs=runs, selected=runs[-1], tab="curves", **changes)
    return made


def all_of(widget, kind):
    found = [widget] if isinstance(widget, kind) else []
    for child in getattr(widget, "children", ()):
        found += all_of(child, kind)
    return found


def text(made):
    return " ".join(h.value for h in all_of(made, w.HTML))


def figures(made):
    return [json.loads(view.figure) for view in all_of(made, PlotlyView)]


def names(fig):
    return [trace.get("name") for trace in fig["data"] if trace["mode"] != "markers"]


def rows(made):
    return re.findall(r"<tr tabindex='0'.*?</tr>", text(made))


def test_nothing_is_drawn_before_there_is_a_run():
    made = Curves(State())
    made.state.update(tab="curves")
    assert "No run yet" in text(made)
    assert not all_of(made, PlotlyView)


def test_each_chart_has_its_finding_its_origin_and_a_table():
    made = panel(baseline=RUNS[0])
    charts = all_of(made, Chart)
    assert len(charts) == 3
    for chart in charts:
        assert "measured: this machine ran it" in text(chart)
        assert "trtlab-finding" in text(chart)
        assert chart.view.label in text(chart)
    latency, throughput, _memory = figures(made)
    assert names(latency) == names(throughput) == ["A FP32", "B INT8"]


def test_the_views_stay_the_same_over_a_change():
    made = panel()
    before = all_of(made, PlotlyView)
    made.state.update(runs=(*RUNS, measured("int8", 16, 9.0)))
    assert all_of(made, PlotlyView) == before
    assert 16 in figures(made)[0]["data"][1]["x"]


def test_a_limit_is_taken_drawn_and_answered():
    made = panel()
    assert made.act("limit", " 4 ms ")
    _latency, throughput, _memory = figures(made)
    assert [s["x1"] for s in throughput["layout"]["shapes"]] == [4.0, 4.0]
    assert "Within 4 ms (p50) the best point is INT8, batch 8" in text(made)
    assert "best allowed: INT8, batch 8" in json.dumps(throughput)
    made.act("limit", "")
    assert "Within" not in text(made)
    assert "shapes" not in figures(made)[1]["layout"]


@pytest.mark.parametrize("wrong", ["soon", "0", "-1", "5,0", "1e3", "<b>"])
def test_a_wrong_limit_is_told_at_its_field_and_changes_nothing(wrong):
    made = panel()
    made.act("limit", "4")
    made.act("limit", wrong)
    head = made.children[0].value
    assert "role='alert'" in head
    assert "aria-invalid='true'" in head
    assert "<b>" not in head
    assert "Within 4 ms" in text(made)
    made.act("limit", "5")
    assert "role='alert'" not in text(made)


def test_a_percentile_leaves_out_and_names_points_with_too_few_samples():
    many = replace(timed(1, 1.0, calls=40), run=RunConfig(batch=1))
    made = panel(replace(RUNS[0], measurement=many), RUNS[3])
    assert made.act("percent", "99")
    assert names(figures(made)[0]) == ["FP32"]
    assert "p99 is n/a for INT8, batch 8 (n 21): it needs n ≥ 662." in text(made)
    assert "aria-pressed='true'>p99<" in text(made)
    assert not made.act("percent", "42")


def test_a_percentile_that_no_point_has_is_said_not_drawn():
    made = panel()
    made.act("percent", "99")
    assert len(all_of(made, PlotlyView)) == 1, "memory alone"
    assert "p99 needs n ≥ 662; the most here is 21." in text(made)
    made.act("percent", "50")
    assert len(all_of(made, PlotlyView)) == 3


def test_runs_that_did_not_run_are_named_with_their_reason_and_never_drawn():
    made = panel(*RUNS, not_run(), not_run(batch=1))
    assert f"Not drawn: FP16, batch 8; FP16, batch 1. {WHY}" in text(made)
    assert "FP16" not in json.dumps(figures(made)[0])
    assert sum("FP16" in row and "n/a<sup>" in row for row in rows(made)) == 2
    alone = panel(not_run())
    assert not all_of(alone, PlotlyView)
    assert alone.children[1].children[0].children[1].value.count(WHY) == 1


def test_rows_select_their_run_and_say_which_are_a_and_b():
    made = panel(baseline=RUNS[0])
    found = {re.search(r"data-value='(\d)'", row)[1]: row for row in rows(made)}
    assert sorted(found) == ["1", "2", "3", "4"]
    assert [n for n, row in found.items() if "aria-selected='true'" in row] == ["4"]
    assert "trtlab-mark-a" in found["1"]
    assert "trtlab-mark-b" in found["4"]
    assert made.act("select", "2")
    assert made.state.selected is RUNS[1]
    for wrong in ("0", "99", "x"):
        made.act("select", wrong)
    assert made.state.selected is RUNS[1]


def test_the_numbers_of_a_row_are_those_of_its_run():
    doubt = Caveat("unstable", "Windows <differ>.", "Again.")
    made = panel(measured("fp32", 8, 6.0, caveats=(doubt,)))
    (row,) = rows(made)
    assert "6.00 [5.94, 6.06]" in row
    assert "1,330" in row
    assert ">21<" in row
    assert ">30.0<" in row, "80 MiB at the peak, 50 before"
    assert "Windows &lt;differ&gt;. Again." in text(made)


def test_a_click_on_a_point_selects_its_run_each_time():
    made = panel()
    view = all_of(made, PlotlyView)[1]
    told = {trace["name"]: trace["customdata"] for trace in figures(made)[1]["data"][:2]}
    assert told == {"FP32": ["1", "2"], "B INT8": ["3", "4"]}
    for _ in range(2):
        made.state.update(selected=RUNS[3])
        view.clicked = {"curve": 0, "point": 1, "customdata": "2"}
        assert made.state.selected is RUNS[1]


def test_runs_that_share_a_measurement_are_one_point_and_two_rows():
    line = replace(RUNS[3].line, measurement="m1")
    shared = [
        replace(RUNS[3], line=replace(line, setup=replace(line.setup, workspace_bytes=size)))
        for size in (2**20, 2**26)
    ]
    for chosen, number in ((shared[0], "1"), (shared[1], "2")):
        made = panel(*shared)
        made.state.update(selected=chosen)
        (points, ring) = figures(made)[0]["data"]
        assert points["customdata"] == [number]
        assert ring["x"] == [8]
        assert len(rows(made)) == 2
        assert "64.0 MiB" in text(made)


def test_the_third_chart_shows_what_some_run_knows():
    bare = [replace(r, accuracy=None) for r in RUNS]
    assert "data-act='metric'" not in text(panel(*bare))
    read = replace(bare[0], measurement=replace(bare[0].measurement, energy_joules=0.012))
    made = panel(read, *bare[1:])
    assert made.act("metric", "energy")
    (line,) = figures(made)[2]["data"]
    assert line["y"] == [12.0]
    assert "12.0 mJ an inference" in text(made)
    made.state.update(runs=tuple(bare), selected=bare[0])
    assert "Memory against batch" in text(made), "energy is gone, and so is its chart"
    judged = panel()
    judged.act("metric", "accuracy")
    assert "Accuracy against latency" in text(judged)
    assert not judged.act("metric", "beauty")


def test_the_batch_in_progress_is_marked_while_a_job_runs():
    points = (Planned(Setup(batch=1), "done"), Planned(Setup(batch=16), "running"))
    made = panel(job_points=points, busy=True)
    assert "in progress" in json.dumps(figures(made)[0])
    made.state.update(busy=False)
    assert "in progress" not in json.dumps(figures(made)[0])


def test_workspace_limits_of_runs_are_shown_and_a_search_is_offered():
    failed = replace(RUNS[3].line, failure=Failure("workspace", "Too small.", "Raise."))
    limits = (
        replace(
            RUNS[3], plan=None, ran=None, measurement=None,
            line=replace(failed, setup=replace(failed.setup, workspace_bytes=2**20)),
        ),
        RUNS[3],
    )  # fmt: skip
    made = panel(*limits)
    assert "trtlab-fails" in text(made)
    assert "largest seen to fail 1.00 MiB" in text(made)
    assert "data-act='search-workspace'" in text(made)
    on_cpu = replace(RUNS[0], line=replace(RUNS[0].line, setup=Setup(batch=1)), plan=making.plan())
    assert "search-workspace" not in text(panel(on_cpu))
    assert "ONNX Runtime has no such limit" in text(panel(on_cpu))


def test_dark_figures_are_drawn_again():
    made = panel()
    made.state.update(theme="dark")
    assert {view.theme for view in all_of(made, PlotlyView)} == {"dark"}
    assert figures(made)[0]["data"][0]["line"]["color"] == "#a7b8d4"
