"""Figures of a fusion: what an area is, where it is from, and names that stay text."""

import html
import json
from dataclasses import replace

import pytest

import trtlab
from tests.fusing import fused, part
from trtlab.errors import SpecError
from trtlab.record import LayerTensor
from trtlab.views.sentences import (
    blocks_sentence,
    precision_sentence,
    regions_sentence,
    transitions_sentence,
    types_sentence,
)
from trtlab.views.theme import HEAT, KINDS, PRECISION, TOKENS

QUANTITIES = ("types", "blocks", "precision", "transitions")
SENTENCES = (types_sentence, blocks_sentence, precision_sentence, transitions_sentence)
EVIL = "<a href='javascript:x'>%{x}</a>&\x1b\n" + "n" * 10_000


def writing(made, dtype):
    layer, group = made
    return replace(layer, outputs=(LayerTensor("o", dtype, (1,)),)), group


TIMED = fused(
    part("s", family="sync, shape", type="wait", time=0.0),
    writing(part("r", "", 0.5, type="Reformat", precision="float32", bytes=64, flops=0), "int8"),
    writing(part("one", "m/a/c1 m/a/r1", 3.0, type="Conv", precision="int8", flops=6), "int8"),
    writing(part("two", "m/b/c2", 1.0, type="Conv", precision="int8", flops=2), "float16"),
    writing(part("three", "f1", 0.5, type="Gemm", family="matrix product",
                 precision="float16", flops=2), "float16"),
    runs=7,
)  # fmt: skip
TIMED = replace(
    TIMED,
    groups=tuple(
        replace(g, tag=f"G{n}" if g.nodes else "", time_share=g.time_ms / 5)
        for n, g in enumerate(TIMED.groups)
    ),
)
UNTIMED = replace(
    TIMED,
    groups=tuple(replace(g, time_ms=None, time_share=None) for g in TIMED.groups),
    time_kind=None,
    runs=0,
)
UNKNOWN = replace(
    UNTIMED,
    groups=tuple(replace(g, flops=None, bytes=None, precision=None) for g in UNTIMED.groups),
)
EMPTY = fused()


def treemap(fusion, quantity="types", theme="light"):
    return next(t for t in trtlab.figure(fusion, quantity, theme=theme).data if t.values)


def tiles(fusion, quantity="types"):
    """Area by hover title, for the layers."""
    trace = treemap(fusion, quantity)
    return {
        hover.split("<br>")[0]: value
        for hover, value in zip(trace.hovertext, trace.values, strict=True)
        if value
    }


def below(fusion, quantity="types"):
    return trtlab.figure(fusion, quantity).layout.xaxis.title.text


def test_the_area_of_a_tile_is_its_time_and_the_title_says_so():
    assert tiles(TIMED) == {"<b>r</b>": 0.5, "<b>one</b>": 3.0, "<b>two</b>": 1.0,
                            "<b>three</b>": 0.5}  # fmt: skip
    assert below(TIMED) == (
        "area: sum of layer times, 5.00 ms (GPU time, measured, n 7; no latency)"
        "<br>not drawn: 1 layer with 0"
    )
    assert "recorded" in below(replace(TIMED, time_source="recorded"))


def test_without_times_the_area_is_an_estimate_and_the_title_says_so():
    assert tiles(UNTIMED) == {"<b>one</b>": 6, "<b>two</b>": 2, "<b>three</b>": 2}
    assert below(UNTIMED).startswith("area: FLOP, 10 FLOP (estimated)<br>layer times n/a")
    sized = replace(UNTIMED, sizes={"N": 8})
    assert "(estimated, N = 8)" in below(sized)


def test_where_nothing_is_known_the_area_counts_layers():
    assert set(tiles(UNKNOWN).values()) == {1}
    assert below(UNKNOWN) == "area: number of layers (builder); layer times n/a: built, not run"


def test_layers_that_were_not_timed_are_counted_not_drawn_as_nothing():
    some = replace(TIMED, groups=(*TIMED.groups[:4], replace(TIMED.groups[4], time_ms=None)))
    assert "1 layer with 0, 1 layer of which it is not known" in below(some)
    assert "<b>three</b>" not in tiles(some)


def test_tiles_hang_together_as_the_names_do():
    trace = treemap(TIMED, "blocks")
    names = dict(zip(trace.ids, trace.labels, strict=True))
    parents = {
        label: names.get(parent) for label, parent in zip(trace.labels, trace.parents, strict=True)
    }
    assert len(set(trace.ids)) == len(trace.ids)
    assert parents["m  80 %"] == "digits"
    assert parents["a"] == "m  80 %"
    assert parents["digits"] is None


def test_a_tile_has_its_kinds_colour_and_the_legend_names_it():
    for theme in ("light", "dark"):
        trace = treemap(TIMED, theme=theme)
        edges = dict(zip(trace.ids, trace.marker.line.color, strict=True))
        assert edges["layer 2"] == KINDS["conv chain"].colour(theme)
        assert edges["layer 1"] == KINDS["data movement"].colour(theme)
        assert trace.textfont.color == TOKENS[theme].t1
    legend = [t.name for t in trtlab.figure(TIMED, "types").data[1:]]
    assert legend == ["conv chain (2)", "matrix product (1)", "data movement (1)"]


def test_an_opaque_tile_is_hatched():
    opaque = fused(part("one", "c1", 1.0, family="opaque"), part("two", "c2", 1.0))
    trace = treemap(opaque)
    hatched = dict(zip(trace.ids, trace.marker.pattern.shape, strict=True))
    assert (hatched["layer 0"], hatched["layer 1"]) == ("/", "")


def test_a_share_is_that_of_the_record():
    trace = treemap(TIMED)
    texts = dict(zip(trace.ids, trace.text, strict=True))
    assert texts["layer 2"] == "60 %"


def test_bars_of_data_types_fill_each_row_that_is_known():
    fig = trtlab.figure(TIMED, "precision")
    rows = list(zip(*(bar.x for bar in fig.data), strict=True))
    assert [None if None in row else sum(row) for row in rows] == pytest.approx(
        [100, 100, 100, None], nan_ok=True
    )
    assert list(fig.data[0].y) == [
        "layers (builder)", "layer times (measured)", "FLOP (estimated)", "bytes",
    ]  # fmt: skip
    said = {note.y: note.text for note in fig.layout.annotations if "n/a" in note.text}
    assert said == {"bytes": "n/a: not known for 3 of 4 layers"}


def test_a_data_type_has_the_colour_of_its_precision_and_another_one_a_pattern():
    odd = fused(part("a", "c1", precision="int8"), part("b", "c2", precision="int64"),
                part("c", "c3", precision="bool"), part("d", "c4"))  # fmt: skip
    for theme in ("light", "dark"):
        bars = {
            bar.name.split(",")[0]: bar
            for bar in trtlab.figure(odd, "precision", theme=theme).data
        }
        assert bars["INT8"].marker.color == PRECISION["int8"].colour(theme)
        patterns = {bars[name].marker.pattern.shape for name in ("int64", "bool", "not said")}
        assert len(patterns) == 3


def test_bars_by_first_input_say_so_and_name_the_other_count_where_types_differ():
    single = fused(part("x", "c1", precision="float16"))
    for fusion, said in ((UNTIMED, True), (single, False)):
        title = trtlab.figure(fusion, "precision").layout.xaxis.title.text
        assert "by the type of their first input" in title
        assert ("built_precision goes by what they compute in" in title) == said


def test_untimed_rows_say_why():
    fig = trtlab.figure(UNTIMED, "precision")
    assert {n.y: n.text for n in fig.layout.annotations}["layer times"] == "n/a: built, not run"


def test_a_name_is_written_on_a_bar_only_where_it_fits():
    many = [part(f"l{n}", f"c{n}", precision="int8") for n in range(19)]
    fig = trtlab.figure(fused(*many, part("x", "c19", precision="float16")), "precision")
    assert [n.text for n in fig.layout.annotations if "n/a" not in n.text] == ["INT8 95 %"]


def test_a_cell_tells_what_only_converts_and_what_that_takes():
    fig = trtlab.figure(TIMED, "transitions")
    (heat,) = fig.data
    assert list(fig.layout.yaxis.ticktext) == ["FP32", "FP16", "INT8"]
    assert list(fig.layout.xaxis.ticktext) == ["FP16", "INT8"]
    assert heat.text[0][1] == "1 layer<br>1 only convert<br>0.500 ms, 10 %"
    assert heat.text[0][0] == "0"
    assert heat.z[0][0] is None
    assert heat.z[0][1] == pytest.approx(0.1)
    assert heat.z[2][1] == 0
    assert "<b>FP32 → INT8</b>" in heat.hovertext[0][1]
    assert heat.hovertext[0][1].endswith("r")
    assert "layer times (measured)" in fig.layout.xaxis.title.text


def test_conversions_are_weighed_by_bytes_or_number_where_they_were_not_timed():
    assert trtlab.figure(UNTIMED, "transitions").data[0].text[0][1].endswith("64 B, 100 %")
    (heat,) = trtlab.figure(UNKNOWN, "transitions").data
    assert [cell for row in heat.text for cell in row if "only" in cell] == [
        "2 layers<br>1 only convert"
    ]


def test_two_types_of_one_short_name_stay_two():
    odd = fused(writing(part("a", "c1", precision="int4"), "int4"),
                writing(part("b", "c2", precision="uint4"), "int4"))  # fmt: skip
    fig = trtlab.figure(odd, "transitions")
    assert list(fig.layout.yaxis.ticktext) == ["INT4", "INT4"]
    assert len(fig.data[0].z) == 2


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_no_name_becomes_markup_or_fills_the_figure(quantity):
    layers = tuple(
        replace(y, name=EVIL, type=EVIL, outputs=(LayerTensor("o", EVIL, None, format=EVIL),))
        for y in TIMED.layers
    )
    groups = tuple(replace(g, nodes=(EVIL + "/c1",), precision=EVIL) for g in TIMED.groups)
    model = replace(TIMED.model, name=EVIL)
    fig = trtlab.figure(replace(TIMED, layers=layers, groups=groups, model=model), quantity)
    text = fig.to_json()
    drawn = html.unescape(json.loads(json.dumps(text)))
    assert "<a" not in text
    assert "<a" in drawn
    assert "\\u001b" not in text
    assert len(text) < 30_000


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("fusion", [EMPTY, UNKNOWN, fused(part("only", "c1", 1.0))])
def test_little_to_draw_is_drawn_all_the_same(fusion, quantity):
    for theme in ("light", "dark"):
        fig = trtlab.figure(fusion, quantity, theme=theme)
        assert fig.layout.height >= 100
        assert fig.data or fig.layout.annotations[0].text.endswith(".")


def test_the_themes_differ():
    for quantity in QUANTITIES:
        light, dark = (trtlab.figure(TIMED, quantity, theme=t) for t in ("light", "dark"))
        assert light.to_json() != dark.to_json()
    assert HEAT["light"] != HEAT["dark"]


def test_only_a_fusion_is_drawn_so():
    for quantity in QUANTITIES:
        with pytest.raises(SpecError, match="fusion"):
            trtlab.figure([], quantity)
    with pytest.raises(SpecError) as caught:
        trtlab.figure(TIMED, "colours")
    assert "transitions" in caught.value.hint


def test_sentences_say_the_finding_with_its_origin():
    assert types_sentence(TIMED) == (
        "Layers of the type Conv (2 of 5 layers) have 80 % of the sum of layer times, 5.00 ms "
        "(GPU time, measured, n 7; no latency)."
    )
    assert blocks_sentence(TIMED).startswith("The layers of m/a (1 of 5 layers) have 60 % of")
    assert precision_sentence(TIMED) == (
        "Layers that handle data: 4, of these 2 with INT8 as their first input (80 %), 1 with "
        "FP32 (10 %), 1 with FP16 (10 %). Types are the builder's, shares are of the layer "
        "times (measured)."
    )
    assert transitions_sentence(TIMED) == (
        "Layers that only convert data: 1 of 4. That takes 0.500 ms, 10 % of the sum of layer "
        "times (measured), all of it from FP32 → INT8."
    )


def test_sentences_without_times_give_the_reason():
    assert types_sentence(UNTIMED).endswith("Layer times are n/a: built, not run.")
    assert "(estimated)" in blocks_sentence(UNTIMED)
    assert "are the most: 2 of 5 (builder)" in types_sentence(UNKNOWN)
    assert "does not say which data types" in precision_sentence(UNKNOWN)
    assert "n/a: not timed" in transitions_sentence(UNKNOWN)


def test_of_equal_blocks_none_is_called_the_largest():
    alike = fused(*(part(f"l{n}", f"block{n}/c1", flops=5) for n in range(3)))
    assert "block0, as of 2 others, have 33 %" in blocks_sentence(alike)


def test_sentences_have_words_for_nothing():
    assert [sentence(EMPTY) for sentence in SENTENCES] == [
        "The plan has no layers.",
        "The plan has no layers.",
        "No layer of the plan handles data.",
        "No layer of the plan handles data.",
    ]
    assert "tell of no blocks" in blocks_sentence(fused(part("a", "c1", 1.0)))
    assert "does not say the types" in types_sentence(fused(part("a", "c1", 1.0, type="")))
    assert transitions_sentence(fused(part("a", "c1"))).endswith("none of 1.")
    assert regions_sentence(EMPTY) == "The plan has no opaque region."
