"""The workbench without a browser: controls set the state, the state fills the panels."""

import ipywidgets as w
import pytest

import trtlab
from tests.making import measurement
from trtlab.record import Point
from trtlab.views.widgets.plotly_view import PlotlyView


def all_of(widget, kind):
    found = [widget] if isinstance(widget, kind) else []
    for child in getattr(widget, "children", ()):
        found += all_of(child, kind)
    return found


def button(bench, name):
    return next(b for b in all_of(bench, w.Button) if b.description == name)


def text(bench):
    return " ".join(h.value for h in all_of(bench, w.HTML) if h.layout.display != "none")


@pytest.fixture
def bench():
    made = trtlab.Workbench("zoo:digits", batches=(1, 2), streams=(1,))
    yield made
    made.state.stop()
    made.state.wait(10)


def test_it_opens_quietly_and_says_what_to_do(bench, capsys):
    assert capsys.readouterr().out == ""
    assert "Press <strong>Measure</strong>" in text(bench)
    assert not all_of(bench, PlotlyView)
    assert button(bench, "Stop").disabled


def test_points_appear_as_charts_sentences_and_a_table(bench):
    m = measurement()
    point = Point(model=m.model, build=m.build, run=m.run, measurement=m)
    bench.state.update(points=(point,))
    assert len(all_of(bench, PlotlyView)) == 3
    assert "<table>" in text(bench)
    views = all_of(bench, PlotlyView)
    bench.state.update(points=(point, point))
    assert all_of(bench, PlotlyView) == views, "charts are updated, not made anew"


def test_another_model_takes_the_curves_of_the_last_one_away(bench):
    m = measurement()
    bench.state.update(points=(Point(model=m.model, build=m.build, run=m.run, measurement=m),))
    box = all_of(bench, w.Combobox)[0]
    box.value = "zoo:squeezenet"
    assert "<table>" not in text(bench)
    assert "Press <strong>Measure</strong>" in text(bench)
    bench.state.update(busy=True)
    assert box.disabled
    bench.state.update(busy=False)


def test_the_switch_redraws_in_the_other_theme(bench):
    m = measurement()
    bench.state.update(points=(Point(model=m.model, build=m.build, run=m.run, measurement=m),))
    next(c for c in all_of(bench, w.Checkbox) if c.description == "Dark").value = True
    assert {v.theme for v in all_of(bench, PlotlyView)} == {"dark"}


def test_a_wrong_number_is_told_in_place_and_changes_nothing(bench):
    batches = next(t for t in all_of(bench, w.Text) if t.value == "1,2")
    batches.value = "1,many"
    assert "role='alert'" in text(bench)
    assert bench.state.batches == (1, 2)
    assert button(bench, "Measure").disabled
    bench.state.start()
    assert not bench.state.busy
    batches.value = "1,3"
    assert "role='alert'" not in text(bench)
    assert bench.state.batches == (1, 3)
    assert not button(bench, "Measure").disabled


@pytest.mark.native
def test_measure_fills_the_panels_and_ends_ready(bench):
    button(bench, "Measure").click()
    assert bench.state.busy
    bench.state.wait(60)
    assert not bench.state.busy
    assert bench.state.done == bench.state.total == 2
    assert len(all_of(bench, PlotlyView)) == 3
    assert "Done: 2 points" in text(bench)


@pytest.mark.native
def test_stop_keeps_what_came_and_says_so(bench):
    bench.state.update(batches=(1, 2, 4, 8), quick=False)

    def stop_after_first(_change):
        button(bench, "Stop").click()

    bench.state.observe(stop_after_first, "done")
    button(bench, "Measure").click()
    bench.state.wait(60)
    assert "Stopped after 1 of 4 points" in text(bench)
    assert len(bench.state.points) == 1


@pytest.mark.native
def test_an_error_is_shown_with_its_hint_and_no_traceback(bench):
    bench.state.update(model="no/such/<b>file.onnx")
    button(bench, "Measure").click()
    bench.state.wait(60)
    shown = text(bench)
    assert "there is no such file" in shown
    assert "<b>file" not in shown
    assert "Traceback" not in shown
    assert not bench.state.busy


@pytest.mark.native
def test_a_second_click_while_measuring_starts_nothing(bench):
    button(bench, "Measure").click()
    job = bench.state._job
    bench.state.start()
    assert bench.state._job is job
    bench.state.wait(60)
