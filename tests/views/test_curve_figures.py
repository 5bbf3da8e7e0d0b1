"""What the workbench marks in figures of curves; without marks they are as ever."""

import math
from dataclasses import replace

import pytest

import trtlab
from tests.accuracies import converted
from tests.analysis.test_latency_limit import timed
from tests.running import run
from trtlab.errors import SpecError
from trtlab.views.figures import CurveMarks, curves

POINTS = [timed(1, 1.0), timed(4, 2.0), timed(8, 5.0)]
OTHERS = [replace(timed(b, b * 2.0), model=converted("int8")) for b in (1, 4)]


def notes(fig):
    return [note.text for note in fig.layout.annotations]


def lines(fig):
    return [shape for shape in fig.layout.shapes if shape.type == "line"]


def test_without_marks_nothing_is_added():
    for quantity in ("latency", "throughput"):
        fig = curves(POINTS, quantity)
        assert fig == trtlab.figure(POINTS, quantity)
        assert not fig.layout.shapes
        assert not notes(fig)
        assert [t.name for t in fig.data] == ["FP32"]


def test_runs_are_drawn_as_their_measurements_are():
    whole = run("int8")
    (line,) = trtlab.figure([whole, replace(whole, measurement=None)], "throughput").data
    assert list(line.x) == [whole.measurement.median_ms]


def test_the_ring_is_at_the_selected_point_and_comes_after_all_lines():
    for quantity in ("latency", "throughput"):
        fig = curves([*POINTS, *OTHERS], quantity, CurveMarks(selected=POINTS[1]))
        ring = fig.data[-1]
        assert "open" in ring.marker.symbol
        assert (ring.x[0], ring.y[0]) == (fig.data[0].x[1], fig.data[0].y[1])
        assert ring.hoverinfo == "skip"
        assert len(fig.data) == 3
    away = CurveMarks(selected=timed(1, 1.0))
    assert len(curves(POINTS, "latency", away).data) == 1, "no ring without the point"


def test_lines_bear_the_letters_of_the_runs_they_hold():
    marks = CurveMarks(baseline=POINTS[0], selected=OTHERS[1])
    fig = curves([*POINTS, *OTHERS], "latency", marks)
    assert [t.name for t in fig.data[:2]] == ["A FP32", "B INT8"]
    both = curves(POINTS, "latency", CurveMarks(baseline=POINTS[0], selected=POINTS[1]))
    assert both.data[0].name == "A, B FP32"
    assert both.layout.showlegend


def test_the_allowed_side_ends_at_the_limit_and_the_best_is_named():
    fig = curves(POINTS, "throughput", CurveMarks(limit_ms=4.0, best=POINTS[1]))
    (tint,) = (s for s in fig.layout.shapes if s.type == "rect")
    (line,) = lines(fig)
    assert tint.x0 < 1.0 < tint.x1 == line.x0 == line.x1 == 4.0
    assert line.line.dash == "dash"
    low, high = fig.layout.xaxis.range
    assert 10**low == pytest.approx(tint.x0)
    assert 10**high > 5.0
    assert notes(fig) == ["limit 4 ms: shaded side is allowed", "best allowed: FP32, batch 4"]
    alone = curves(POINTS, "throughput", CurveMarks(limit_ms=0.5))
    assert len(notes(alone)) == 1


def test_words_at_the_limit_stand_where_there_is_room():
    for limit, side in ((1.1, "left"), (4.9, "right")):
        fig = curves(POINTS, "throughput", CurveMarks(limit_ms=limit))
        assert fig.layout.annotations[0].xanchor == side


def test_the_limit_is_a_level_in_latency_against_batch():
    fig = curves(POINTS, "latency", CurveMarks(limit_ms=40.0))
    (line,) = lines(fig)
    assert line.y0 == line.y1 == 40.0
    assert fig.layout.annotations[0].y == pytest.approx(math.log10(40.0))
    assert max(fig.layout.yaxis.tickvals) >= 40.0


def test_a_batch_in_progress_has_a_dotted_line_and_a_tick():
    fig = curves(POINTS, "latency", CurveMarks(running=16))
    (line,) = lines(fig)
    assert (line.x0, line.x1, line.line.dash) == (16, 16, "dot")
    assert list(fig.layout.xaxis.tickvals) == [1, 4, 8, 16]
    assert notes(fig) == ["in progress"]


def test_a_percentile_is_drawn_without_intervals_and_only_where_it_is_known():
    many = timed(2, 1.0, calls=40)
    (line,) = curves([*POINTS, many], "latency", CurveMarks(percent=99)).data
    assert list(line.x) == [2]
    assert list(line.y) == [many.percentile_ms(99)]
    assert list(line.error_y.array) == [None]
    (line,) = curves([*POINTS, many], "throughput", CurveMarks(percent=99)).data
    assert list(line.x) == [many.percentile_ms(99)]
    assert line.error_y.array[0] is not None, "throughput keeps its interval"


def test_a_click_tells_what_was_asked_for():
    fig = curves(POINTS, "latency", CurveMarks(told=lambda m: f"batch {m.batch}"))
    assert list(fig.data[0].customdata) == ["batch 1", "batch 4", "batch 8"]
    assert set(curves(POINTS, "latency").data[0].customdata) == {POINTS[0].plan}


def test_energy_is_drawn_where_it_was_read_in_millijoules():
    read = replace(timed(2, 1.0), energy_joules=0.0125)
    (line,) = trtlab.figure([*POINTS, read], "energy").data
    assert (list(line.x), list(line.y)) == ([2], [12.5])
    assert not trtlab.figure(POINTS, "energy").data


def test_other_figures_are_no_curves():
    with pytest.raises(SpecError, match="memory"):
        curves(POINTS, "memory")
