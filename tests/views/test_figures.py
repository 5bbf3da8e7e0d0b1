"""Figures: what is drawn, how lines are kept apart, names that stay text."""

from dataclasses import replace

import pytest

import trtlab
from tests.making import layer_profile, measurement, window
from trtlab.codec import Int64Array
from trtlab.errors import SpecError
from trtlab.spec import RunConfig
from trtlab.views.figures import gap_share

MEBIBYTE = 2**20


def runs(batches=(1, 2, 4), streams=(1,), **changes):
    return [
        replace(measurement(), batch=b, run=RunConfig(batch=b, streams=s), **changes)
        for s in streams
        for b in batches
    ]


def test_latency_is_drawn_against_batch_with_its_interval():
    measured = runs()
    (line,) = trtlab.figure(measured, "latency").data
    assert list(line.x) == [1, 2, 4]
    for m, y, up, down in zip(
        measured, line.y, line.error_y.array, line.error_y.arrayminus, strict=True
    ):
        assert y == m.median_ms
        assert y + up == pytest.approx(m.median_interval_ms.high)
        assert y - down == pytest.approx(m.median_interval_ms.low)


def test_throughput_is_drawn_against_latency_with_batches_named():
    (line,) = trtlab.figure(runs(), "throughput").data
    assert list(line.text) == ["1", "2", "4"]
    assert list(line.y) == [m.throughput for m in runs()]


def test_memory_parts_are_stacked_and_the_peak_is_marked():
    fig = trtlab.figure(runs(), "memory")
    bars = [t for t in fig.data if t.type == "bar"]
    (peak,) = (t for t in fig.data if t.type == "scatter")
    memory = measurement().memory
    assert len(bars) == 5
    assert peak.y[0] == memory.peak_above_baseline / MEBIBYTE
    assert sum(bar.y[0] for bar in bars) == pytest.approx(peak.y[0])


def test_unknown_memory_is_left_out_not_drawn_as_zero():
    hidden = replace(measurement().memory, activations=None, peak=None)
    fig = trtlab.figure(runs(memory=hidden), "memory")
    values = {t.name: t.y[0] for t in fig.data}
    assert values["activations, peak"] is None
    assert values["loader and other"] is None
    assert values["peak above start"] is None


def test_streams_are_lines_of_their_own_told_apart_by_label_and_marker():
    fig = trtlab.figure(runs(streams=(1, 2)), "latency")
    assert [t.name for t in fig.data] == ["FP32, 1 stream", "FP32, 2 streams"]
    assert len({t.marker.symbol for t in fig.data}) == 2


def test_recorded_and_measured_here_are_never_one_line():
    fig = trtlab.figure(runs() + runs(source="recorded"), "latency")
    assert len(fig.data) == 2
    assert "recorded" in fig.data[1].name


def test_layers_and_the_gap_between_them_make_the_whole_profiled_run():
    profile = layer_profile()
    fig = trtlab.figure(profile, "layers")
    (bar,) = fig.data
    assert list(bar.y) == ["conv (FusedConv)", "fc (Gemm)", "between layers, profiler"]
    assert list(bar.x) == pytest.approx([60, 20, 20], abs=2)
    assert sum(bar.x) == pytest.approx(100, abs=1)
    assert "host time" in fig.layout.xaxis.title.text
    many = replace(
        profile,
        layers=profile.layers * 20,
        runs_ns=Int64Array(ns * 20 for ns in profile.runs_ns),
    )
    (bar,) = trtlab.figure(many, "layers").data
    assert "further layers" in bar.y[-2]
    assert sum(bar.x) == pytest.approx(100, abs=1)


def test_layers_that_overlap_leave_no_gap():
    profile = replace(layer_profile(), runs_ns=Int64Array([30_000] * 3))
    fig = trtlab.figure(profile, "layers")
    assert len(fig.data[0].x) == 2
    assert "layers overlap" in fig.layout.xaxis.title.text
    assert gap_share(profile) is None


def test_a_profile_of_no_known_length_shows_no_share():
    unknown = replace(layer_profile(), runs_ns=Int64Array([0, 0, 0]))
    assert set(trtlab.figure(unknown, "layers").data[0].text) == {"n/a"}


def test_an_unknown_interval_is_not_drawn_as_a_narrow_one():
    m = replace(measurement(), windows=(window([1.0]),) * 3)
    (line,) = trtlab.figure([m], "latency").data
    assert list(line.error_y.array) == [None]


def test_points_without_a_batch_are_not_drawn_as_batch_1():
    measured = [*runs((1, 2)), replace(measurement(), batch=None, run=RunConfig())]
    (line,) = trtlab.figure(measured, "latency").data
    assert list(line.x) == [1, 2]
    texts = [list(line.text) for line in trtlab.figure(measured, "throughput").data]
    assert sorted(texts) == [[""], ["1", "2"]]
    bar = trtlab.figure(measured, "memory").data[0]
    assert sorted(bar.x[1]) == ["1", "2", "n/a"]


def test_an_unknown_recipe_is_drawn_hollow_in_the_colour_of_fp32():
    evil = replace(measurement().model, recipe="<b>evil", hash="c3" * 32)
    fp32, unknown = trtlab.figure(runs() + runs(model=evil), "latency").data
    assert unknown.line.color == fp32.line.color
    assert "open" in unknown.marker.symbol
    assert unknown.name == "&lt;B&gt;EVIL"


def test_bars_of_two_lines_never_stack():
    again = [*runs(), *runs(streams=(2,)), *runs()]
    bar = trtlab.figure(again, "memory").data[0]
    places = list(zip(*bar.x, strict=True))
    assert len(set(places)) == len(places) == 9


def test_batch_numbers_of_two_lines_stand_on_two_sides():
    one, two = trtlab.figure(runs(streams=(1, 2)), "throughput").data
    assert one.textposition.startswith("top")
    assert two.textposition.startswith("bottom")


def test_memory_of_a_gpu_run_has_its_peak_and_no_bars():
    hidden = {"weights": None, "repacked": None, "activations": None, "io": None}
    fig = trtlab.figure(runs((1,), memory=replace(measurement().memory, **hidden)), "memory")
    assert all(bar.y[0] is None for bar in fig.data if bar.type == "bar")
    assert fig.data[-1].y[0] > 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_are_transparent(theme):
    fig = trtlab.figure(runs(), "latency", theme=theme)
    assert fig.layout.template.layout.paper_bgcolor in ("rgba(0,0,0,0)", "transparent")


def test_names_are_escaped():
    nasty = replace(measurement().model, name="<a href='x'>%{x}</a>")
    other = replace(measurement().model, name="plain")
    fig = trtlab.figure(runs(model=nasty) + runs(model=other), "latency")
    assert "<a href" not in fig.data[0].name
    assert "<a href" not in fig.data[0].hovertext[0]
    assert fig.data[0].hovertemplate is None


def test_wrong_requests_say_what_there_is():
    with pytest.raises(SpecError, match="colour") as caught:
        trtlab.figure(runs(), "colour")
    assert "latency" in caught.value.hint
    with pytest.raises(SpecError, match="layer profile"):
        trtlab.figure(runs(), "layers")
    with pytest.raises(SpecError):
        trtlab.figure(3, "latency")


def test_no_measurements_draw_an_empty_figure():
    for quantity in ("latency", "throughput", "memory"):
        fig = trtlab.figure([], quantity)
        assert not any(len(t.x or ()) for t in fig.data)
