"""Two engines as one picture: which layers stand together, and what is said of them."""

import json
import re
from dataclasses import replace

import pytest

import trtlab
from tests.drawing import apart, drawn, residual
from trtlab.errors import SpecError
from trtlab.record import Fate
from trtlab.views.graph.pair import pair_scene
from trtlab.views.graph.scene import scene
from trtlab.views.pages.fusion_page import fusion_page


def timed(fusion, *times):
    groups = tuple(
        replace(group, time_ms=ms, time_share=ms / sum(times))
        for group, ms in zip(fusion.groups, times, strict=True)
    )
    return replace(fusion, groups=groups, time_kind="gpu", runs=5)


def mode(made, name):
    return next(mode for mode in made["modes"] if mode["id"] == name)


def facts(found):
    return {label: text for label, text, _ in found["facts"]}


def test_layers_of_a_set_stand_in_one_box_and_have_its_tag():
    made = pair_scene(apart(), residual())
    assert made["nodes"]["name"] == ["conv", "relu", "second", "fc_layer"]
    first, second = made["boxes"]["layer"].index(0), made["boxes"]["layer"].index(1)
    assert made["boxes"]["nodes"][first] == [0, 1]
    assert made["boxes"]["nodes"][second] == [2]
    assert made["layers"]["tag"] == ["S1", "S2", "S3"]
    assert [s["kind"] for s in made["sets"]] == ["together in B, apart in A", "same", "same"]


def test_several_layers_of_b_have_boxes_of_their_own_and_one_tag():
    made = pair_scene(residual(), apart())
    assert made["layers"]["tag"] == ["S1", "S1", "S2", "S3"]
    boxes = made["boxes"]
    home, other = boxes["layer"].index(0), boxes["layer"].index(1)
    assert boxes["left"][home] is not None
    assert boxes["left"][other] is None
    assert boxes["right"][other] is not None
    assert made["sets"][0]["layers"] == [0, 1]
    assert facts(made["sets"][0])["ONNX nodes"] == "2: c1, r1"


def test_wires_of_both_sides_lead_from_layer_to_layer():
    made = pair_scene(residual(), apart())
    ends = [set(zip(wires["source"], wires["target"], strict=True)) for wires in made["wires"]]
    assert ends[0] == {(-1, 0), (0, 1), (1, 2), (2, -1)}
    assert ends[1] == {(-1, 0), (0, 1), (1, 2), (2, 3), (3, -1)}


def test_slices_that_several_layers_write_lead_to_their_reader():
    one = drawn(
        [("c1", "Conv", "x"), ("c2", "Conv", "x"), ("cat", "Concat", "c1 c2"),
         ("fc", "Gemm", "cat")],
        [("l1", "conv", "c1", "x", "cat"), ("l2", "conv", "c2", "x", "cat"),
         ("l3", "gemm", "fc", "cat", "fc")],
    )  # fmt: skip
    wires = pair_scene(one, one)["wires"][0]
    assert {(0, 2), (1, 2)} <= set(zip(wires["source"], wires["target"], strict=True))


def test_what_one_side_alone_has_is_not_linked():
    short = drawn([("c1", "Conv", "x"), ("r1", "Relu", "c1")], [("all", "k", "c1 r1")])
    long = drawn(
        [("c1", "Conv", "x"), ("r1", "Relu", "c1"), ("end", "Softmax", "r1")],
        [("wait", "sync", "", "", ""), ("move", "moved", "", "x", "x2"),
         ("all", "k", "c1 r1", "x2", "r1"), ("soft", "k", "end")],
    )  # fmt: skip
    made = pair_scene(long, short)
    assert made["nodes"]["state"] == ["data movement", "same", "only in A"]
    assert made["note"] == "not drawn: layers that only keep order, 1 in A and 0 in B"
    assert [bool(layers) for layers in made["nodes"]["layers"]] == [False, True, False]
    legend = {key: count for key, _, count in mode(made, "kind")["legend"]}
    assert legend == {"same": 1, "only in A": 1, "data movement": 1}
    assert pair_scene(short, long)["layers"]["tag"] == ["", "S1", "S2"]


def test_both_sides_are_coloured_on_one_scale_by_values_of_their_own():
    made = pair_scene(timed(residual(), 4.0, 2.0, 1.0), timed(apart(), 1.0, 1.0, 8.0, 2.0))
    time = mode(made, "time")
    assert (time["low"], time["high"]) == ("1.00 ms", "8.00 ms")
    assert time["nodes"] == [0.667, 0.333, 0.0]
    assert time["shares"] == [0.0, 0.0, 1.0, 0.333]
    assert time["node_texts"][0] == "4.00 ms"
    assert facts(made["sets"][1])["Time A → B"].startswith("2.00 ms → 8.00 ms")


def test_without_times_on_both_sides_nothing_is_coloured_by_them():
    made = pair_scene(timed(residual(), 4.0, 2.0, 1.0), apart())
    assert "not timed in the same way" in mode(made, "time")["reason"]
    assert "built, not run" in mode(pair_scene(residual(), apart()), "time")["reason"]


def test_a_change_of_precision_is_told():
    half = apart()
    half = replace(half, groups=tuple(replace(g, precision="float16") for g in half.groups))
    made = pair_scene(residual(), half)
    assert made["sets"][1]["precision"] == "FP32 → FP16"
    assert mode(made, "precision")["legend"] == [["FP16", "FP16", 4], ["FP32", "FP32", 3]]


def test_engines_without_common_names_say_so_in_their_title():
    other = drawn(
        [("p", "Conv", "x"), ("q", "Gemm", "p")], [("pl", "conv", "p"), ("ql", "k", "q")]
    )
    made = pair_scene(residual(), other)
    assert "aligned without a graph" in made["title"]
    assert "aligned without a graph" in made["note"]
    assert "aligned without a graph" in fusion_page(residual(), other)
    assert "without a graph" not in pair_scene(residual(), apart())["title"]


def test_the_widget_takes_two_and_selects_by_side_and_tag():
    view = trtlab.graph(apart(), residual())
    assert json.loads(view._scene) == pair_scene(apart(), residual())
    for given, known in [("S1", "B:first"), ("A:second", "A:second"), ("relu", "A:relu")]:
        view.selected = given
        assert view.selected == known
    with pytest.raises(SpecError):
        view.selected = "node:c1"


def test_the_page_of_two_holds_their_scene():
    text = fusion_page(apart(), residual())
    held = re.search(r'<script type="application/json" id="scene">(.*?)</script>', text, re.S)
    assert json.loads(held[1]) == pair_scene(apart(), residual())


def test_a_node_by_a_rule_that_says_more_says_it():
    fusion = drawn([("c", "Conv", "x"), ("cat", "Concat", "c")], [("l", "k", "c")])
    for rule, word in [("written in place", "in place"), ("view", "removed")]:
        fates = (fusion.fates[0], Fate("cat", "removed", (), rule))
        assert scene(replace(fusion, fates=fates))["nodes"]["word"][1] == word
