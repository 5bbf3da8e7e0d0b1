"""What becomes of a node, rule by rule, on layers as the builders name them."""

from dataclasses import replace

import pytest

from tests.analysis.fusion.making import fate, fused, graph, layer, node, tensor
from trtlab.model.types import Node
from trtlab.record import EngineLayer

CHAIN = graph(
    node("Conv_0", "Conv", "x w", "a"),
    node("Relu_1", "Relu", "a", "b"),
    node("Pool_2", "MaxPool", "b", "y"),
    constants="w",
)
POOL = layer("Pool_2", "b", "y", type="CaskPooling")


def test_metadata_places_a_node():
    found = fused(CHAIN, layer("k0", "x", "b", nodes="Conv_0 Relu_1"), POOL)
    assert (fate(found, "Relu_1").layers, fate(found, "Relu_1").rule) == ((0,), "metadata")


def test_the_layers_name_places_a_node():
    found = fused(CHAIN, layer("Conv_0 + PWN(Relu_1)", "x", "b"), POOL)
    assert (fate(found, "Relu_1").layers, fate(found, "Relu_1").rule) == ((0,), "layer name")


def test_where_there_is_metadata_a_misleading_name_is_not_believed():
    # Seen in TensorRT 10.16: the parser numbers its own layers as PyTorch numbers nodes.
    found = fused(CHAIN, layer("Relu_1_myl0_0", "x", "b", nodes="Conv_0"), POOL)
    assert fate(found, "Relu_1").rule != "layer name"


def test_a_node_that_no_name_holds_is_placed_by_the_tensors_around_it():
    found = fused(CHAIN, layer("Conv_0", "x", "b"), POOL)
    assert (fate(found, "Relu_1").layers, fate(found, "Relu_1").rule) == ((0,), "tensors")


def test_a_node_between_unnamed_tensors_of_equal_form_is_not_guessed():
    found = fused(CHAIN, layer("Conv_0", "x", "t"), layer("Pool_2", "t", "y"))
    assert fate(found, "Relu_1").state == "unexplained"
    assert "not known" in found.explain("Relu_1")
    assert found.unexplained_share == pytest.approx(1 / 3)


def test_a_quantiser_is_in_the_layer_that_writes_the_small_type():
    made = graph(
        node("c", "Conv", "x w", "a"),
        node("q", "QuantizeLinear", "a s", "b"),
        node("d", "DequantizeLinear", "b s", "e"),
        node("p", "MaxPool", "e", "y"),
        constants="w s",
        dtypes={"b": "int8"},
    )
    between = tensor("t1", dtype="int8")
    found = fused(
        made,
        EngineLayer("c", "CaskConvolution", (tensor("x"),), (between,)),
        EngineLayer("p", "CaskPooling", (between,), (tensor("y"),)),
    )
    assert fate(found, "q").layers == (0,)
    assert fate(found, "d").layers == (1,)
    assert {fate(found, n).rule for n in "qd"} == {"tensors"}


def test_what_no_output_needs_is_removed():
    made = graph(node("n", "Relu", "x", "y"), node("dead", "Relu", "x", "z"))
    found = fused(made, layer("n", "x", "y"))
    assert (fate(found, "dead").state, fate(found, "dead").rule) == ("removed", "unreachable")


def test_what_depends_on_constants_alone_is_folded_into_the_layer_behind():
    made = graph(
        Node("k", "Constant", (), ("c",)),
        node("s", "Sqrt", "c", "r"),
        node("m", "Mul", "x r", "y"),
    )
    found = fused(made, layer("m", "x", "y", constants=(tensor("c"),)))
    assert fate(found, "s").state == fate(found, "k").state == "folded"
    assert fate(found, "s").layers == (0,)
    assert "constants of G1 m" in found.explain("s")


def test_a_random_number_is_no_constant():
    made = graph(Node("r", "RandomNormal", (), ("c",)), node("m", "Mul", "x c", "y"))
    assert fate(fused(made, layer("m", "x c", "y")), "r").state != "folded"


def test_arithmetic_on_dimensions_runs_in_no_kernel():
    made = graph(
        node("s", "Shape", "x", "d"),
        node("g", "Gather", "d i", "e"),
        node("r", "Reshape", "x e", "a"),
        node("n", "Relu", "a", "y"),
        constants="i",
    )
    found = fused(made, layer("n", "x", "y"))
    assert fate(found, "g").rule == fate(found, "s").rule == "dimensions only"
    assert fate(found, "r").rule == "view"


@pytest.mark.parametrize(
    ("removed", "rule"),
    [
        (node("n", "Flatten", "a", "b"), "view"),
        (node("n", "Identity", "a", "b"), "identity"),
        (node("n", "Dropout", "a", "b"), "identity"),
        (node("n", "Cast", "a", "b"), "identity"),
        (node("n", "Transpose", "a", "b", perm=(0, 1, 2, 3)), "view"),
        (node("n", "Concat", "a", "b"), "identity"),
    ],
)
def test_what_moves_nothing_is_removed(removed, rule):
    made = graph(node("one", "Relu", "x", "a"), removed, node("two", "Sigmoid", "b", "y"))
    found = fate(fused(made, layer("one", "x", "t"), layer("two", "t", "y")), "n")
    assert (found.state, found.rule) == ("removed", rule)
    assert "the very tensor" in found.because


@pytest.mark.parametrize(
    "kept",
    [
        node("n", "Transpose", "a", "b", perm=(0, 2, 1, 3)),
        node("n", "Transpose", "a", "b"),
        node("n", "Exp", "a", "b"),
        Node("n", "Identity", ("a",), ("b",), domain="com.example"),
    ],
)
def test_what_may_move_something_is_not_called_removed(kept):
    made = graph(node("one", "Relu", "x", "a"), kept, node("two", "Sigmoid", "b", "y"))
    found = fused(made, layer("one", "x", "t"), layer("two", "u", "y"))
    assert fate(found, "n").state == "unexplained"


CONCAT = graph(
    node("l", "Conv", "x w", "a"),
    node("r", "Conv", "x w", "b"),
    node("cat", "Concat", "a b", "c", axis=1),
    node("p", "MaxPool", "c", "y"),
    constants="w",
    shapes={"b": (1, 4, 4, 4), "c": (1, 12, 4, 4)},
)


def in_place(left=(1, 8, 4, 4), right=(1, 4, 4, 4), whole=(1, 12, 4, 4)):
    return (
        EngineLayer("l", "gemm", (tensor("x"),), (tensor("t", left),)),
        EngineLayer("r", "gemm", (tensor("x"),), (tensor("t", right),)),
        EngineLayer("p", "CaskPooling", (tensor("t", whole),), (tensor("y"),)),
    )


def test_a_concat_is_written_in_place_where_the_slices_fit():
    found = fused(CONCAT, *in_place())
    assert (fate(found, "cat").state, fate(found, "cat").rule) == ("removed", "written in place")
    assert fate(found, "cat").layers == (0, 1)
    assert ["concatenation in place" in g.patterns for g in found.groups] == [True, True, False]


@pytest.mark.parametrize(
    "wrong", [{"left": (1, 9, 4, 4)}, {"right": (1, 8, 4, 4)}, {"whole": (1, 13, 4, 4)}]
)
def test_a_concat_is_not_called_written_in_place_where_they_do_not(wrong):
    assert fate(fused(CONCAT, *in_place(**wrong)), "cat").rule != "written in place"


def test_a_concat_made_of_copies_is_in_the_copies():
    found = fused(
        CONCAT, layer("l", "x", "a"), layer("r", "x", "b"),
        layer("a copy", "a", "c", type="Reformat"), layer("b copy", "b", "c", type="Reformat"),
        layer("p", "c", "y"),
    )  # fmt: skip
    assert fate(found, "cat").layers == (2, 3)


def test_what_a_region_hides_is_opaque():
    found = fused(CHAIN, layer("{ForeignNode[Conv_0...Pool_2]}", "x", "y", type="Myelin"))
    assert {f.state for f in found.fates} == {"opaque"}
    assert found.opaque_share == 1
    assert "does not open" in found.explain("Relu_1")


def test_a_region_between_a_weight_and_a_node():
    found = fused(CHAIN, layer("{ForeignNode[w...Relu_1]}", type="Myelin"), POOL)
    assert [f.state for f in found.fates] == ["opaque", "opaque", "in layer"]


def test_a_node_without_a_name_is_known_by_its_output():
    made = graph(Node("Relu_0", "Relu", ("x",), ("y",), file_name=""))
    assert fate(fused(made, layer("k", nodes="node_of_y")), "Relu_0").layers == (0,)


def test_nodes_that_share_a_name_are_told_apart_by_their_neighbours():
    made = graph(
        node("c1", "Conv", "x w", "a"),
        node("act", "Relu", "a", "b"),
        node("c2", "Conv", "b w", "c"),
        replace(node("act_2", "Relu", "c", "y"), file_name="act"),
        constants="w",
    )
    found = fused(made, layer("k0", nodes="c1 act"), layer("k1", nodes="act c2"))
    # ``act`` lies beside both convolutions, ``act_2`` beside the second only.
    assert 1 in fate(found, "act_2").layers or fate(found, "act_2").state == "unexplained"
    apart = fused(
        graph(
            node("c1", "Conv", "x w", "a"), node("act", "Relu", "a", "b"),
            node("p", "MaxPool", "b", "d"), node("c2", "Conv", "d w", "c"),
            replace(node("act_2", "Relu", "c", "y"), file_name="act"), constants="w",
        ),
        layer("k0", nodes="c1 act"), layer("k1", nodes="p"), layer("k2", nodes="c2 act"),
    )  # fmt: skip
    assert fate(apart, "act").layers == (0,)
    assert fate(apart, "act_2").layers == (2,)


def test_names_that_the_graph_does_not_have_are_told():
    found = fused(CHAIN, layer("k", nodes="Conv_0 Relu_1 Pool_2 Nothing_9"))
    assert [c.kind for c in found.caveats] == ["nodes-not-in-model"]
    assert "Nothing_9" in found.caveats[0].message
