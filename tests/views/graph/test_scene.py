"""What a page gets to draw: places and texts of a fusion, by what must hold in the picture."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest

from tests import making
from tests.drawing import drawn, residual, tower
from trtlab.record import Edge, EngineLayer, Group
from trtlab.views.graph.colour_by import share_text
from trtlab.views.graph.scene import FOLDED_FROM, scene

NASTY = "</script><img/src=x/onerror=alert(1)>\x1b[2J\u202e'\"" + "x" * 10_000


def box_of_node(made, name):
    return made["nodes"]["box"][made["nodes"]["name"].index(name)]


def box_of_layer(made, name):
    return made["boxes"]["layer"].index(made["layers"]["name"].index(name))


def span(made, box, side):
    x, left, right = made["boxes"][side][box]
    return x - left, x + right


def with_groups(fusion, **changes):
    return replace(fusion, groups=tuple(replace(g, **changes) for g in fusion.groups))


def test_a_layer_and_its_nodes_are_one_box_on_both_sides():
    made = scene(residual())
    second = box_of_layer(made, "second")
    assert {box_of_node(made, name) for name in ("c2", "add", "r2")} == {second}
    assert made["boxes"]["left"][second] is not None
    assert made["boxes"]["right"][second] is not None
    first, last = box_of_layer(made, "first"), box_of_layer(made, "fc_layer")
    ranks = made["boxes"]["rank"]
    assert ranks[first] < ranks[second] < ranks[last]


def test_nodes_stand_inside_their_box_and_below_one_another():
    made = scene(residual())
    box = box_of_layer(made, "second")
    low, high = span(made, box, "left")
    top = made["boxes"]["top"][box]
    bottom = top + made["boxes"]["height"][box]
    heights = []
    for node in made["boxes"]["nodes"][box]:
        x, y, half = made["nodes"]["place"][node]
        assert low < x - half < x + half < high
        assert top < y < y + 22 < bottom
        heights.append(y)
    assert heights == sorted(set(heights))


def test_what_is_added_from_outside_comes_in_beside_the_nodes():
    made = scene(residual())
    wires = made["wires"][0]
    names = made["nodes"]["name"]
    ends = list(zip(wires["source"], wires["target"], strict=True))
    path = wires["path"][ends.index((names.index("r1"), names.index("add")))]
    points = [path[at : at + 3] for at in range(0, len(path), 3)]
    x, y, half = made["nodes"]["place"][names.index("add")]
    assert points[-1] == [x + half, points[-1][1], y + 11]
    beside = [point for point in points if abs(point[0] - x) > half]
    assert len(beside) >= 2, "it does not run over the node above"


@pytest.mark.parametrize("side", ["left", "right"])
def test_boxes_do_not_overlap(side):
    made = scene(tower(12))
    rows = {}
    for box, rank in enumerate(made["boxes"]["rank"]):
        if made["boxes"][side][box] is not None:
            rows.setdefault(rank, []).append(span(made, box, side))
    assert max(len(row) for row in rows.values()) == 2
    for row in rows.values():
        row.sort()
        assert all(a[1] < b[0] for a, b in pairwise(row))


def test_a_node_in_two_layers_is_in_the_smaller_and_names_both():
    fusion = drawn(
        [("fc", "Gemm", "x"), ("sm", "Softmax", "fc")],
        [("gemm", "gemm", "fc"), ("rest", "kgen", "fc sm", "fc", "sm")],
    )
    made = scene(fusion)
    assert box_of_node(made, "fc") == box_of_layer(made, "gemm")
    assert box_of_node(made, "sm") == box_of_layer(made, "rest")
    assert made["nodes"]["layers"][0] == [0, 1]


def test_nodes_in_no_layer_stand_on_the_left_alone_with_what_became_of_them():
    fusion = drawn(
        [("c", "Conv", "x"), ("flat", "Flatten", "c"), ("fc", "Gemm", "flat")],
        [("conv", "conv", "c"), ("gemm", "gemm", "fc", "c", "fc")],
        fates=[("flat", "removed", "It only names dimensions.")],
    )
    made = scene(fusion)
    box = box_of_node(made, "flat")
    assert made["boxes"]["layer"][box] == -1
    assert made["boxes"]["right"][box] is None
    node = made["nodes"]["name"].index("flat")
    assert made["nodes"]["state"][node] == "removed"
    assert made["nodes"]["because"][node] == "It only names dimensions."
    assert ["removed", "removed nodes", 1] in made["modes"][0]["legend"]


def test_added_layers_stand_on_the_right_or_at_their_neighbour():
    fusion = drawn(
        [("c", "Conv", "x"), ("r", "Relu", "c")],
        [
            ("wait", "sync", "", "", ""), ("move", "moved", "", "x", "x2"),
            ("conv", "fusion", "c r", "x2", "r"),
        ],
    )  # fmt: skip
    made = scene(fusion)
    moved = box_of_layer(made, "move")
    assert made["boxes"]["left"][moved] is None
    assert made["boxes"]["before"][moved] == ["sync", [0]]
    assert made["boxes"]["rank"][moved] < made["boxes"]["rank"][box_of_layer(made, "conv")]


def test_layers_that_wait_stand_together_on_one_pill():
    fusion = drawn([("c", "Conv", "x")], [("w1", "sync", "", "", ""), ("w2", "sync", "", "", ""),
                                          ("conv", "fusion", "c")])  # fmt: skip
    waits = [replace(fusion.layers[n], type="wait", event=n + 1) for n in (0, 1)]
    fusion = replace(fusion, layers=(*waits, fusion.layers[2]))
    made = scene(fusion)
    assert made["boxes"]["before"][box_of_layer(made, "conv")] == ["wait e1, e2", [0, 1]]


def test_slices_of_a_tensor_come_together_before_their_readers():
    fusion = drawn(
        [("a", "Conv", "x"), ("b", "Conv", "x"), ("join", "Concat", "a b"),
         ("c", "Conv", "join"), ("d", "Conv", "join"), ("end", "Add", "c d")],
        [("la", "k", "a", "x", "j"), ("lb", "k", "b", "x", "j"), ("lc", "k", "c", "j", "c"),
         ("ld", "k", "d", "j", "d"), ("le", "k", "end", "c d", "end")],
    )  # fmt: skip
    made = scene(fusion)
    assert sum(made["boxes"]["join"]) == 1
    wires = made["wires"][1]
    assert sorted(zip(wires["source"], wires["target"], strict=True))[:5] == [
        (-1, 0), (-1, 1), (0, 2), (0, 2), (0, 3),
    ]  # fmt: skip


def test_constants_are_not_drawn_and_still_explained():
    fusion = drawn([("k", "Constant", ""), ("c", "Conv", "x k")], [("conv", "k", "c")])
    made = scene(fusion)
    assert box_of_node(made, "k") == -1
    assert made["nodes"]["text"][0] == "What became of k."


def test_a_long_graph_is_folded_by_the_names_of_its_blocks():
    made = scene(tower(30))
    assert len(made["layers"]["name"]) > FOLDED_FROM
    assert made["folded"]
    blocks = [b for b in made["blocks"] if b["parent"] == -1]
    assert [b["label"] for b in blocks[:3]] == ["block0", "block1", "block2"]
    assert {(b["nodes"], len(b["layers"])) for b in blocks} == {(6, 3)}
    assert blocks[1]["alike"] >= 28
    ends = [(b["first"], b["last"]) for b in blocks]
    assert all(a[1] < b[0] for a, b in pairwise(ends))


def test_a_short_graph_has_no_blocks():
    made = scene(tower(3))
    assert not made["folded"]
    assert made["blocks"] == []


def test_colours_without_values_are_offered_with_the_reason():
    modes = {mode["id"]: mode for mode in scene(residual())["modes"]}
    assert modes["time"]["reason"] == modes["share"]["reason"] == "n/a: built, not run"
    assert modes["bytes"]["reason"] == "n/a: shapes are not known"
    assert modes["precision"]["texts"] == ["FP32"] * 3
    assert modes["precision"]["origin"] == modes["stream"]["origin"] == "builder"
    assert modes["kind"]["legend"] == [["conv chain", "conv chain", 3]]


def test_times_are_shares_of_the_scale_and_measured():
    fusion = residual(time_kind="gpu", runs=20)
    groups = [
        replace(g, time_ms=ms, time_share=ms / 2.22)
        for g, ms in zip(fusion.groups, (0.02, 0.2, 2.0), strict=True)
    ]
    modes = {m["id"]: m for m in scene(replace(fusion, groups=tuple(groups)))["modes"]}
    assert modes["share"]["shares"] == pytest.approx([0.01, 0.1, 1.0])
    assert modes["time"]["shares"] == pytest.approx([0, 0.5, 1.0])
    assert modes["time"]["texts"] == ["20.0 µs", "0.200 ms", "2.00 ms"]
    assert modes["time"]["origin"] == "measured"
    assert "GPU" in modes["time"]["about"]


def test_times_that_are_no_numbers_are_left_out():
    fusion = with_groups(residual(runs=1), time_ms=math.nan, time_share=math.inf, bytes=4096)
    made = scene(fusion)
    json.dumps(made, allow_nan=False)
    modes = {mode["id"]: mode for mode in made["modes"]}
    assert "reason" in modes["time"]
    assert modes["bytes"]["shares"] == [1.0] * 3


def test_a_group_that_was_not_profiled_has_no_value():
    fusion = residual(time_kind="cpu", runs=3)
    groups = (replace(fusion.groups[0], time_ms=1.0, time_share=1.0), *fusion.groups[1:])
    share = scene(replace(fusion, groups=groups))["modes"][1]
    assert share["shares"] == [1.0, None, None]
    assert share["texts"] == ["100 %", "", ""]
    assert share["counts"] == [1, 3]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.0001, "< 0.1 %"), (0.034, "3.4 %"), (0.1234, "12 %"), (0.996, "99.6 %"),
     (1.0, "100 %"), (None, "n/a"), (math.nan, "n/a")],
)  # fmt: skip
def test_shares_are_printed_as_everywhere(share, text):
    assert share_text(share) == text


def test_numbers_in_the_card_say_where_they_come_from():
    fusion = with_groups(residual(sizes={"N": 8}), saved_bytes=2048, flops=100, bytes=512,
                         unwritten=("c2",))  # fmt: skip
    facts = {label: (text, origin) for label, text, origin in scene(fusion)["layers"]["facts"][1]}
    assert facts["Traffic saved"] == ("2.00 KiB at N = 8", "estimated")
    assert facts["Share of FLOP"] == ("33 %", "estimated")
    assert facts["Not written"] == ("c2", "")
    assert facts["Time"] == ("n/a: built, not run", "")
    assert facts["Kernel"][0].startswith("n/a")


def test_names_stay_data_and_labels_stay_short():
    fusion = drawn([(NASTY, "Conv", "x"), ("r", NASTY, NASTY)], [(NASTY, NASTY, f"{NASTY} r")])
    fusion = replace(
        fusion,
        groups=(replace(fusion.groups[0], nodes=(NASTY, "r")),),
        edges=(Edge(NASTY, 0, "metadata"), Edge("r", 0, "metadata")),
    )
    made = scene(fusion)
    assert NASTY in made["nodes"]["name"]
    shown = [*made["boxes"]["title"], *made["nodes"]["label"], *made["nodes"]["sub"],
             *made["layers"]["title"], *made["layers"]["lines"][0]]  # fmt: skip
    assert max(map(len, shown)) < 100
    assert json.loads(json.dumps(made)) == made


def test_an_empty_fusion_and_one_without_edges_are_drawn():
    assert scene(drawn([]))["ranks"]["height"] == [24.0]
    loose = drawn([("a", "Op", ""), ("b", "Op", "")], [("la", "k", "a"), ("lb", "k", "b")])
    made = scene(replace(loose, graph=replace(loose.graph, outputs=(), inputs=())))
    assert made["boxes"]["rank"] == [0, 0]
    assert [wire["path"] for wire in made["wires"]] == [[], []]


def test_a_graph_with_cycles_is_drawn():
    fusion = drawn(
        [("a", "Op", "x b"), ("b", "Op", "a c"), ("c", "Op", "b c")],
        [("l1", "k", "a c"), ("l2", "k", "b")],
    )
    made = scene(fusion)
    assert len(made["wires"][0]["path"]) >= 4
    json.dumps(made, allow_nan=False)


def test_layers_of_one_name_are_told_apart():
    layer = EngineLayer("same", "k", (), ())
    fusion = drawn([("a", "Op", "x"), ("b", "Op", "a")])
    groups = tuple(Group(tag=f"G{n}", family="kept 1:1", nodes=(name,)) for n, name in
                   ((1, "a"), (2, "b")))  # fmt: skip
    edges = (Edge("a", 0, "metadata"), Edge("b", 1, "metadata"))
    made = scene(replace(fusion, layers=(layer, layer), groups=groups, edges=edges))
    assert made["layers"]["copy"] == [1, 2]
    assert len({box_of_node(made, name) for name in "ab"}) == 2


def test_a_recorded_fusion_says_so():
    made = scene(residual(source="recorded", time_source="recorded", runs=1, groups=tuple(
        Group(tag=f"G{n}", family="kept 1:1", time_ms=1.0, time_share=0.3) for n in (1, 2, 3)
    ), time_kind="gpu"))  # fmt: skip
    assert made["recorded"]
    assert made["modes"][1]["origin"] == "recorded"
    assert making.MODEL.name in made["title"]
