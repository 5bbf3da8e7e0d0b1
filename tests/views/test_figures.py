"""Figures: what is drawn, how lines are kept apart, names that stay text."""

from dataclasses import replace

import pytest

import trtlab
from tests.making import layer_profile, measurement
from trtlab.errors import SpecError
from trtlab.spec import RunConfig

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
    assert len(bars) == 4
    assert peak.y[0] == memory.peak_above_baseline / MEBIBYTE
    assert sum(bar.y[0] for bar in bars) == pytest.approx(peak.y[0])


def test_unknown_memory_is_left_out_not_drawn_as_zero():
    hidden = replace(measurement().memory, activations=None, peak=None)
    fig = trtlab.figure(runs(memory=hidden), "memory")
    values = {t.name: t.y[0] for t in fig.data}
    assert values["activation arena, peak"] is None
    assert values["repacked weights, loader, other"] is None
    assert values["peak above start"] is None


def test_streams_are_lines_of_their_own_told_apart_by_label_and_marker():
    fig = trtlab.figure(runs(streams=(1, 2)), "latency")
    assert [t.name for t in fig.data] == ["FP32, 1 stream", "FP32, 2 streams"]
    assert len({t.marker.symbol for t in fig.data}) == 2


def test_recorded_and_measured_here_are_never_one_line():
    fig = trtlab.figure(runs() + runs(source="recorded"), "latency")
    assert len(fig.data) == 2
    assert "recorded" in fig.data[1].name


def test_layers_show_shares_and_fold_the_rest_into_one_bar():
    profile = layer_profile()
    (bar,) = trtlab.figure(profile, "layers").data
    assert max(bar.x) == pytest.approx(100 * max(profile.shares()))
    many = replace(profile, layers=profile.layers * 20)
    (bar,) = trtlab.figure(many, "layers").data
    assert "further layers" in bar.y[-1]
    assert sum(bar.x) == pytest.approx(100, abs=1)


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
    with pytest.raises(SpecError, match="energy") as caught:
        trtlab.figure(runs(), "energy")
    assert "latency" in caught.value.hint
    with pytest.raises(SpecError, match="layer profile"):
        trtlab.figure(runs(), "layers")
    with pytest.raises(SpecError):
        trtlab.figure(3, "latency")


def test_no_measurements_draw_an_empty_figure():
    for quantity in ("latency", "throughput", "memory"):
        fig = trtlab.figure([], quantity)
        assert not any(len(t.x or ()) for t in fig.data)
