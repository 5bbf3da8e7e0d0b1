"""Figures of precisions: what is drawn where, what is listed instead, names that stay text."""

import html
import math
from dataclasses import replace

import pytest

import trtlab
from tests import accuracies, making
from tests.accuracies import node_error
from trtlab.errors import SpecError
from trtlab.record import Failure, SweepResult
from trtlab.views.figures.marks import families, precision_marks
from trtlab.views.theme import PRECISION

EVIL = "<a href='javascript:x'>%{x}</a>"


def traces(fig):
    return {t.name: t for t in fig.data}


def notes(fig):
    return [html.unescape(a.text).replace("\u2003", " ") for a in fig.layout.annotations]


def test_top1_is_drawn_against_latency_with_bars_both_ways():
    one = accuracies.point("int8", ms=2.0)
    fig = trtlab.figure(SweepResult((one,)), "accuracy")
    (trace,) = [t for t in fig.data if t.hovertext]
    assert (trace.x[0], trace.y[0]) == (2.0, pytest.approx(97.2))
    interval = one.measurement.median_interval_ms
    assert trace.x[0] + trace.error_x.array[0] == pytest.approx(interval.high)
    assert trace.x[0] - trace.error_x.arrayminus[0] == pytest.approx(interval.low)
    # The paired interval of the drop, held against the reference's 98.6 %.
    assert trace.y[0] + trace.error_y.array[0] == pytest.approx(98.6 - 0.4)
    assert trace.y[0] - trace.error_y.arrayminus[0] == pytest.approx(98.6 - 2.4)
    assert "top-1" in fig.layout.yaxis.title.text
    assert "reference 98.6 %" in traces(fig)
    assert fig.layout.shapes[0].y0 == pytest.approx(98.6)
    assert "−1.4 points [−2.4, −0.4], worse" in trace.hovertext[0]


def test_without_labels_it_is_the_sqnr_of_the_worst_output():
    outputs = accuracies.output(40.0), accuracies.output(12.5)
    bare = accuracies.accuracy(labels=None, outputs=outputs)
    fig = trtlab.figure([accuracies.point("int8", accuracy=bare)], "accuracy")
    (trace,) = fig.data
    assert (trace.y[0], trace.error_y.array[0]) == (12.5, None)
    assert "SQNR" in fig.layout.yaxis.title.text
    assert not fig.layout.shapes


def test_each_precision_has_its_colour_and_marker():
    drawn = [accuracies.point(recipe) for recipe in ("fp32", "int8", "fp8")]
    for theme in ("light", "dark"):
        found = traces(trtlab.figure(drawn, "accuracy", theme=theme))
        for recipe in ("fp32", "int8", "fp8"):
            marker = found[recipe.upper()].marker
            style = PRECISION[recipe]
            assert (marker.color, marker.symbol) == (style.colour(theme), style.marker)


def test_emulated_points_are_hollow_and_labelled_and_never_one_line_with_measured_ones():
    guess = accuracies.accuracy(arithmetic="emulated")
    drawn = accuracies.point("int8"), accuracies.point("int8", 8, 4.0, accuracy=guess)
    found = traces(trtlab.figure(drawn, "accuracy"))
    assert list(found["INT8"].x) == [1.0]
    hollow = found["INT8, estimated (emulated)"]
    assert list(hollow.x) == [4.0]
    assert "open" in hollow.marker.symbol
    assert "open" not in found["INT8"].marker.symbol


def test_no_reason_says_its_precision_twice():
    failure = Failure("unsupported", "bf16: The CPU has no BF16 convolution.", "")
    point = replace(accuracies.refused(), failure=failure)
    (said,) = [n for n in notes(trtlab.figure([point], "accuracy")) if n.startswith("Not drawn")]
    assert said == "Not drawn:<br>BF16 (ONNX Runtime, CPU): The CPU has no BF16 convolution."


def test_points_without_a_latency_are_listed_with_the_reason_and_not_drawn():
    every = [
        accuracies.point("fp32"), accuracies.emulated(), accuracies.emulated(batch=8),
        accuracies.refused(), accuracies.built("int8"), accuracies.built("fp8"),
        accuracies.point("int8", accuracy=None),
    ]  # fmt: skip
    fig = trtlab.figure(every, "accuracy")
    assert [t.name for t in fig.data if t.hovertext] == ["FP32"]
    (said,) = (" ".join(n.split("<br>")) for n in notes(fig) if n.startswith("Not drawn"))
    said = " ".join(said.split())
    assert "FP16, top-1 98.6 % (estimated) (ONNX Runtime, CPU): this CPU computes FP16" in said
    assert said.count("FP16 as FP32") == 1
    assert "BF16 (ONNX Runtime, CPU): The CPU has no BF16 convolution." in said
    assert "INT8; FP8 (TensorRT-RTX, SM89): built, not run" in said
    assert "INT8 (ONNX Runtime, CPU): accuracy n/a" in said


def test_a_sweep_without_any_such_point_says_so():
    fig = trtlab.figure([accuracies.built("int8")], "accuracy")
    assert not any(t.hovertext for t in fig.data)
    assert any(n.startswith("No point has both") for n in notes(fig))
    assert trtlab.figure([], "accuracy").layout.annotations


@pytest.mark.parametrize("plan_bytes", [500, 5000, 25_000])
def test_the_axis_of_sizes_holds_every_bar_and_the_quarter(plan_bytes):
    every = [accuracies.built("fp32", 5000, 4400), accuracies.built("int8", plan_bytes, 1100)]
    fig = trtlab.figure(every, "sizes")
    low, high = fig.layout.xaxis.range
    ends = [0.25, *(1 + x for x in fig.data[0].x)]
    assert fig.layout.xaxis.type == "log"
    assert low < math.log10(min(ends)) < math.log10(max(ends)) < high


def test_sizes_are_bars_against_fp32_with_lines_at_a_half_and_a_quarter():
    every = [accuracies.built("fp32", 5000, 4400), accuracies.built("int8", 1600, 1100),
             accuracies.built("int8-weights", 1700, 1100)]  # fmt: skip
    fig = trtlab.figure(SweepResult(tuple(every)), "sizes")
    (bars,) = fig.data
    assert [bars.base + x for x in bars.x] == pytest.approx([1, 1, 0.25, 0.32, 0.25, 0.34])
    assert list(fig.layout.yaxis.ticktext)[2:4] == [
        "<b>INT8</b>  model  <b>0.25</b>", "plan, TensorRT-RTX, SM89  <b>0.32</b>",
    ]  # fmt: skip
    assert bars.marker.color[2:4] == (PRECISION["int8"].light,) * 2
    ticks = dict(zip(fig.layout.xaxis.ticktext, fig.layout.xaxis.tickvals, strict=True))
    assert (ticks["¼"], ticks["½"], ticks["1"], ticks["4"]) == (0.25, 0.5, 1, 4)
    assert [shape.x0 for shape in fig.layout.shapes] == [1]
    assert "1,600 bytes" in bars.hovertext[3]
    assert len(set(bars.y)) == 6


def test_sizes_without_a_plan_in_fp32_say_so():
    fig = trtlab.figure([accuracies.built("int8")], "sizes")
    assert notes(fig) == ["No plan can be held against one of its FP32 model."]


def test_nodes_with_an_effect_beyond_noise_are_marked_where_none_is_proposed():
    nodes = (
        node_error("first", 0.0, None), node_error("bad", 0.8, 12.0),
        node_error("last", 0.02, 11.0),
    )  # fmt: skip
    fig = trtlab.figure(accuracies.accuracy(nodes=nodes), "nodes")
    line, marked = fig.data
    assert list(line.y) == [None, 12.0, 11.0]
    assert (list(marked.x), list(marked.y)) == ([2], [12.0])
    assert marked.name == "effect beyond the noise"
    (said,) = notes(fig)
    assert said.endswith("1  bad  80 % [75, 85]<br>Without any error, not drawn: 1 of 3 nodes.")


def test_all_proposed_nodes_are_numbered_by_their_effect_and_named_below():
    effects = {"a": 0.1, "b": 0.4, "c": 0.01, "d": 0.2, "e": 0.15}
    nodes = tuple(node_error(name, effect) for name, effect in effects.items())
    fig = trtlab.figure(accuracies.accuracy(nodes=nodes, suggested=tuple("bdea")), "nodes")
    marked = fig.data[1]
    assert marked.name == "proposed to keep in higher precision"
    assert list(marked.x) == [1, 2, 4, 5]
    assert list(marked.text) == [f"<b>{rank}</b>" for rank in (4, 1, 2, 3)]
    assert len(set(zip(marked.x, marked.textposition, strict=True))) == 4
    (said,) = notes(fig)
    assert [line[:4] for line in said.split("<br>")[1:]] == ["1  b", "2  d", "3  e", "4  a"]


def test_a_folded_node_is_marked_by_the_names_that_keep_it():
    nodes = (node_error("conv", 0.8, keep=("conv", "norm")), node_error("other", 0.1))
    fig = trtlab.figure(accuracies.accuracy(nodes=nodes, suggested=("conv", "norm")), "nodes")
    assert list(fig.data[1].x) == [1]
    only = trtlab.figure(accuracies.accuracy(nodes=nodes, suggested=("norm",)), "nodes")
    assert list(only.data[1].x) == [1]


def test_nodes_that_were_not_asked_for_are_said_to_be_so():
    for nodes, said in ((None, "not asked"), ((), "No node")):
        fig = trtlab.figure(accuracies.accuracy(nodes=nodes), "nodes")
        assert said in notes(fig)[0]


def test_wrong_records_are_refused():
    with pytest.raises(SpecError, match="accuracy"):
        trtlab.figure([], "nodes")
    for quantity in ("accuracy", "sizes"):
        for wrong in (making.measurement(), [making.measurement()], 3):
            with pytest.raises(SpecError, match="sweep"):
                trtlab.figure(wrong, quantity)


def test_no_name_becomes_markup():
    model = replace(accuracies.converted("int8"), name=EVIL, recipe=EVIL)
    found = accuracies.accuracy(
        model,
        reference=EVIL,
        nodes=(node_error(EVIL, 0.8, 12.0, op=EVIL, tensor=EVIL),),
    )
    m = replace(making.measurement(), model=model)
    evil = [
        accuracies.point(model=model, measurement=m, accuracy=found),
        accuracies.point(model=model, measurement=None, accuracy=found, note=EVIL),
        accuracies.built("fp32"),
        making.point(model=model, build=accuracies.RTX, measurement=None,
                     plan=making.plan(model=model, config=accuracies.RTX)),
    ]  # fmt: skip
    for fig in (
        trtlab.figure(evil, "accuracy"),
        trtlab.figure(evil, "sizes"),
        trtlab.figure(found, "nodes"),
    ):
        assert "<a" not in fig.to_json()
        assert "&lt;a" in fig.to_json()


@pytest.mark.parametrize(
    ("recipe", "colour", "dash", "is_hollow"),
    [
        ("int8", "int8", "int8", False),
        ("qdq", "int8", "int8", False),
        ("int8+fp16", "int8", "fp16", False),
        ("fp16+int8", "int8", "fp16", False),
        ("fp8+bf16", "fp8", "bf16", False),
        ("int4-weights", "int4", "int4", True),
        ("int8-weights+fp16", "int8", "fp16", True),
        ("fp64", "fp32", "fp32", True),
        ("int8+fp64", "fp32", "fp32", True),
    ],
)
def test_a_recipe_has_the_colour_of_its_lowest_part_and_the_dash_of_the_other(
    recipe, colour, dash, is_hollow
):
    marks = precision_marks(0, recipe, "light")
    assert marks["line"]["color"] == PRECISION[colour].light
    assert marks["line"]["dash"] == PRECISION[dash].dash
    assert ("open" in marks["marker"]["symbol"]) == is_hollow


def test_families_come_lowest_first():
    assert families("bf16+int4-weights") == ("int4", "bf16")
    assert families("evil") == ()


def test_curves_of_joined_recipes_are_told_apart():
    runs = [accuracies.point(recipe).measurement for recipe in ("int8", "int8+fp16", "fp16")]
    found = traces(trtlab.figure(runs, "latency"))
    joined, alone = found["INT8+FP16"], found["INT8"]
    assert joined.line.color == alone.line.color
    assert joined.line.dash == found["FP16"].line.dash != alone.line.dash
    assert joined.marker.symbol == alone.marker.symbol
