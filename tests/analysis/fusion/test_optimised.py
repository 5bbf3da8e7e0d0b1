"""ONNX Runtime's optimised model mapped back to the graph that it came from."""

import pytest

import trtlab
from tests.analysis.fusion.making import fate, fused, graph, layer, node
from trtlab.analysis.fusion.boundary import borders

CHAIN = graph(
    node("c", "Conv", "x w", "a"),
    node("b", "BatchNormalization", "a s", "b"),
    node("add", "Add", "b x", "d"),
    node("r", "Relu", "d", "e"),
    node("p", "MaxPool", "e", "y"),
    constants="w s",
)


def ort(made, *layers):
    return fused(made, *layers, backend="onnxruntime")


def test_shared_tensor_names_are_cuts():
    found = ort(CHAIN, layer("c", "x w", "e", type="FusedConv"), layer("p", "e", "y"))
    assert [fate(found, n).layers for n in ("c", "b", "add", "r", "p")] == [(0,)] * 4 + [(1,)]


def test_a_blocked_node_is_found_by_its_name_its_second_input_and_its_activation():
    blocked = layer(
        "b_nchwc", "x x2", "reorder_token_1", type="Conv", details={"activation": '"Relu"'}
    )
    found = ort(
        CHAIN, blocked, layer("ReorderOutput", "reorder_token_1", "e", type="ReorderOutput"),
        layer("p", "e", "y"),
    )  # fmt: skip
    assert [fate(found, n).layers for n in ("c", "b", "add", "r")] == [(0,)] * 4
    assert found.groups[1].family == "data movement"


def test_a_blocked_concat_is_found_by_its_inputs():
    made = graph(
        node("l", "Relu", "x", "a"), node("r", "Exp", "x", "b"),
        node("cat", "Concat", "a b", "c"), node("p", "MaxPool", "c", "y"),
    )  # fmt: skip
    found = ort(
        made, layer("a_nchwc", "x", "t1"), layer("b_nchwc", "x", "t2"),
        layer("", "t1 t2", "t3", type="Concat"), layer("p_nchwc", "t3", "y"),
    )  # fmt: skip
    assert fate(found, "cat").layers == (2,)
    assert fate(found, "p").layers == (3,)


def test_a_name_that_only_ends_like_one_of_the_graph_is_not_believed():
    found = ort(CHAIN, layer("zzz_nchwc", "q", "t"), layer("p", "e", "y"))
    assert found.groups[0].nodes == ()


def test_a_map_that_gives_one_layer_nearly_all_is_doubted():
    nodes = [node(f"n{i}", "Relu", f"t{i}", f"t{i + 1}") for i in range(80)]
    made = graph(*nodes, inputs="t0", outputs="t80")
    found = ort(made, layer("all", "t0", "t80", type="Transpose"))
    assert [c.kind for c in found.caveats] == ["mapping-uncertain"]
    assert "extended" in found.caveats[0].hint


@pytest.mark.native
@pytest.mark.parametrize("name", ["digits", "vit_tiny", "densenet121", "shufflenet"])
@pytest.mark.parametrize("level", ["basic", "extended", "all"])
def test_networks_of_the_zoo(name, level, zoo_store):
    found = trtlab.fusion(
        f"zoo:{name}", backend="onnxruntime", optimization_level=level, store=zoo_store
    )
    assert found.unexplained_share == 0
    assert found.one_owner_share == 1
    assert found.largest_group <= 6
    assert all(border.fits for border in borders(found))
    if level == "all":
        moved = {y.type for y, g in zip(found.layers, found.groups, strict=True) if not g.nodes}
        assert moved <= {"ReorderInput", "ReorderOutput"}
