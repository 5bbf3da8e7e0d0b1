"""Quantised networks rule by rule, on layers as TensorRT-RTX 1.7 and ONNX Runtime name them."""

from dataclasses import replace

import pytest

from tests.analysis.fusion.making import SHAPE, fate, fused, graph, group, node, tensor
from trtlab.analysis.fusion.boundary import borders
from trtlab.record import EngineLayer

SMALL = {"q1": "int8", "w8": "int8", "q2": "int8", "z": "int8"}


def layer(name, inputs, outputs, nodes="", type="kgen", constants=()):
    return EngineLayer(
        name, type, tuple(inputs), tuple(outputs), nodes=tuple(nodes.split()), constants=constants
    )


def int8(name, shape=SHAPE):
    return tensor(name, shape, dtype="int8")


def fitting(found):
    return [border.fits for border in borders(found)]


CONVOLUTION = graph(
    node("Q", "QuantizeLinear", "x s z", "q1"),
    node("D", "DequantizeLinear", "q1 s z", "a"),
    node("W", "DequantizeLinear", "w8 sw z", "wf"),
    node("C", "Conv", "a wf b", "c"),
    node("R", "Relu", "c", "r"),
    node("Q2", "QuantizeLinear", "r s2 z", "q2"),
    node("D2", "DequantizeLinear", "q2 s2 z", "d"),
    node("P", "MaxPool", "d", "y"),
    constants="w8 s sw z b s2",
    shapes={"s": (), "s2": (), "z": (), "w8": (8, 8, 3, 3), "wf": (8, 8, 3, 3)},
    dtypes=SMALL,
)


def rtx(padded=SHAPE):
    """A convolution as TensorRT-RTX runs it: quantise and pad, product, the rest, the reader."""
    return fused(
        CONVOLUTION,
        layer("__myl_MulMinMaxRounCastReplConc_myl0_1", [tensor("x")], [int8("p", padded)],
              nodes="Q C D W"),
        layer("C_myl0_2", [int8("p", padded)], [tensor("t")], nodes="C D W", type="correlation",
              constants=(int8("k", (8, 8, 3, 3)),)),
        layer("__myl_MulAddReluMulMinMaxRounCast_myl0_3", [tensor("t")], [int8("u")],
              nodes="C R Q2"),
        layer("P_myl0_4", [int8("u")], [tensor("y")], nodes="D2 P", type="maxpool"),
    )  # fmt: skip


def test_a_layer_that_writes_the_small_type_alone_does_not_dequantise():
    found = rtx()
    assert found.groups[0].nodes == ("Q",)
    assert fate(found, "D").layers == (1,)
    assert fate(found, "C").layers == (1, 2)


def test_a_node_that_no_other_layer_has_is_left_to_the_one_that_names_it():
    alone = fused(CONVOLUTION, layer("k", [tensor("x")], [int8("p")], nodes="Q D"))
    assert fate(alone, "D").layers == (0,)


def test_a_product_whose_bias_runs_behind_it_is_spread_for_a_reason():
    found = rtx()
    assert not found.caveats
    assert "G2 C_myl0_2 computes the product" in found.explain("C")
    assert group(found, "C_myl0_2").flops > 0
    assert found.groups[2].patterns == ("pointwise chain", "q/dq folded")


def test_a_quantised_weight_stays_small():
    found = rtx()
    weight = fate(found, "W")
    assert (weight.state, weight.rule) == ("folded", "constant inputs")
    assert found.explain("W") == (
        "W (DequantizeLinear) runs in no layer. Its weight stays small: the layer applies the "
        "scale to what it makes of it. That is G2 C_myl0_2."
    )


def test_more_channels_of_a_small_type_fit_and_fewer_do_not():
    assert fitting(rtx((1, 32, 4, 4))) == [True] * 4
    assert fitting(rtx((1, 4, 4, 4)))[:2] == [False, False]


def test_each_reader_dequantises_for_itself():
    made = graph(
        node("Q", "QuantizeLinear", "x s z", "q1"),
        node("D", "DequantizeLinear", "q1 s z", "a"),
        node("P", "MaxPool", "a", "y"),
        node("T", "Tanh", "a", "v"),
        outputs="y v",
        constants="s z",
        dtypes=SMALL,
    )
    layers = (
        layer("k0", [tensor("x")], [int8("q")], nodes="Q"),
        layer("k1", [int8("q")], [tensor("y")], nodes="D P"),
        layer("k2", [int8("q")], [tensor("v")], nodes="D T"),
    )
    found = fused(made, *layers)
    assert fate(found, "D").layers == (1, 2)
    assert "Each reads the small type" in found.explain("D")
    apart = fused(made, layers[0], replace(layers[1], nodes=("P",)), layers[2],
                  layer("k3", [int8("q")], [tensor("w")], nodes="D"))  # fmt: skip
    assert "Each reads" not in apart.explain("D")


def again(between, second="s z", dtypes=SMALL, shapes=None):
    """Quantised, dequantised, moved, and quantised again."""
    return graph(
        node("Q", "QuantizeLinear", "x s z", "q1"),
        node("D", "DequantizeLinear", "q1 s z", "a"),
        between,
        node("Q2", "QuantizeLinear", f"b {second}", "q2"),
        node("D2", "DequantizeLinear", f"q2 {second}", "e"),
        node("P", "MaxPool", "e", "y"),
        constants="s z s2",
        shapes={"s": (), "z": (), "s2": (), "b": (1, 128), "q2": (1, 128), **(shapes or {})},
        dtypes=dtypes,
    )


FLATTEN = node("F", "Flatten", "a", "b")


def ends(made):
    return fused(
        made,
        layer("k0", [tensor("x")], [int8("t")], nodes="Q"),
        layer("k1", [int8("t", (1, 128))], [tensor("y")], nodes="D2 P"),
    )


def test_what_is_quantised_again_by_the_same_scale_changes_no_number():
    found = ends(again(FLATTEN))
    for name in ("D", "F", "Q2"):
        assert fate(found, name).state == "removed"
    assert fate(found, "Q2").rule == fate(found, "D").rule == "identity"
    assert "what D dequantised, by the same scale" in found.explain("Q2")
    assert fitting(found) == [True, True]


@pytest.mark.parametrize(
    "made",
    [
        again(FLATTEN, second="s2 z"),
        again(node("F", "Sigmoid", "a", "b")),
        again(FLATTEN, shapes={"s": (8,)}),
        again(FLATTEN, dtypes=SMALL | {"s": "bfloat16"}),
        again(FLATTEN, dtypes=SMALL | {"q2": "uint8"}),
    ],
    ids=["another scale", "it computes", "scales along an axis", "too few digits", "another type"],
)
def test_what_may_change_a_number_is_not_called_identity(made):
    assert fate(ends(made), "Q2").rule != "identity"


@pytest.mark.parametrize(
    "made",
    [
        graph(node("F", "Flatten", "b", "b"), node("Q", "QuantizeLinear", "b s z", "y")),
        graph(node("Q", "QuantizeLinear", "x", "y")),
        graph(node("D", "DequantizeLinear", "", "a"), node("Q", "QuantizeLinear", "a", "y")),
        graph(node("F", "Flatten", "", "a"), node("Q", "QuantizeLinear", "a s", "y")),
    ],
    ids=["a cycle", "no scale", "no input", "a view of nothing"],
)
def test_a_broken_graph_is_not_proved_to_change_nothing(made):
    assert fate(fused(made, layer("k0", [tensor("x")], [int8("t")])), "Q").rule != "identity"


def test_a_moved_tensor_is_quantised_again_but_what_moves_it_runs():
    made = again(node("F", "Transpose", "a", "b", perm=(0, 3, 1, 2)))
    found = ends(made)
    assert fate(found, "Q2").rule == "identity"
    assert fate(found, "D").rule != "identity"
    assert fate(found, "F").state != "removed"


def test_of_two_types_only_one_passes_whatever_its_dimensions():
    made = graph(
        node("A", "Relu", "x", "a"), node("K", "Cast", "a", "b"), node("B", "Softmax", "b", "y"),
        dtypes={"x": "float16", "a": "float16"},
    )  # fmt: skip
    for dtype, place in (("float16", 1), ("float32", 0)):
        passing = tensor("t", (None, 128), dtype=dtype)
        found = fused(
            made,
            layer("k0", [tensor("x", dtype="float16")], [passing], nodes="A"),
            layer("k1", [passing], [tensor("y")], nodes="B"),
        )
        assert fate(found, "K").layers == (place,)


SCALED = graph(
    node("C", "Conv", "x w", "a"),
    node("N", "BatchNormalization", "a s", "b"),
    node("R", "Relu", "b", "c"),
    node("C2", "Conv", "c w", "d"),
    constants="w s",
    outputs="d",
)


def stepped(name, made=SCALED):
    return fused(
        made, layer(name, [tensor("x")], [tensor("t")], nodes="C"),
        layer("C2_myl0_1", [tensor("t")], [tensor("d")], nodes="C2", type="correlation"),
    )  # fmt: skip


def test_the_steps_in_a_layers_name_place_what_the_builder_leaves_out():
    found = stepped("__myl_FcMulAddRelu_myl0_0")
    assert [(f.layers, f.rule) for f in found.fates if f.node in "NR"] == [
        ((0,), "layer name"),
        ((0,), "layer name"),
    ]
    before = stepped("__myl_FcMulAdd_myl0_0")
    assert fate(before, "N").layers == (0,)
    assert fate(before, "R").state == "unexplained"


@pytest.mark.parametrize("name", ["__myl_Fc_myl0_0", "__myl_FcSub_myl0_0", "C_myl0_0"])
def test_steps_that_do_not_fit_place_nothing(name):
    assert fate(stepped(name), "N").state == fate(stepped(name), "R").state == "unexplained"


def test_how_many_nodes_a_scale_and_shift_stands_for_is_not_guessed():
    made = graph(
        node("C", "Conv", "x w", "a"), node("N", "Mul", "a s", "b"), node("M", "Add", "b s", "c"),
        node("C2", "Conv", "c w", "d"), constants="w s", outputs="d",
    )  # fmt: skip
    assert fate(stepped("__myl_FcMulAdd_myl0_0", made), "N").state == "unexplained"


TURNED = graph(
    node("M", "Relu", "x", "a"),
    node("T", "Transpose", "a", "b", perm=(0, 2, 1, 3)),
    node("F", "Reshape", "b i", "c"),
    node("B", "Sigmoid", "c", "y"),
    constants="i",
    shapes={"x": (2, 3, 196, 64), "a": (2, 3, 196, 64), "b": (2, 196, 3, 64),
            "c": (2, 196, 192), "y": (2, 196, 192)},
)  # fmt: skip


@pytest.mark.parametrize(
    ("made", "used", "state"),
    [
        (((6, 196, 64), (64, 192, 1)), ((392, 192), (192, 1)), "removed"),
        (((6, 196, 64), None), ((392, 192), (192, 1)), "unexplained"),
        (((6, 196, 64), (192, 1)), ((392, 192), (192, 1)), "unexplained"),
        (((6, 196, 64), (64, 192, 1)), ((6, 196, 64), (12544, 64, 1)), "unexplained"),
    ],
)
def test_a_transpose_may_be_done_by_strides(made, used, state):
    written, read = (replace(tensor("t", s), strides=strides) for s, strides in (made, used))
    found = fused(
        TURNED,
        layer("k0", [tensor("x", (2, 3, 196, 64))], [written], nodes="M"),
        layer("k1", [read], [tensor("y", (2, 196, 192))], nodes="B"),
    )
    assert fate(found, "T").state == state


def test_half_types_may_be_kept_as_float32_and_float32_not_as_a_half_type():
    for own, kept, fits in (("bfloat16", "float32", True), ("float32", "float16", False)):
        made = graph(node("A", "Relu", "x", "a"), node("B", "Exp", "a", "y"), dtypes={"a": own})
        passing = tensor("t", dtype=kept)
        found = fused(
            made, layer("k0", [tensor("x")], [passing], nodes="A"),
            layer("k1", [passing], [tensor("y")], nodes="B"),
        )  # fmt: skip
        assert fitting(found) == [fits, fits]


@pytest.mark.parametrize(
    ("name", "type", "fits"),
    [
        ("A_myl0_0", "gemm", True),
        ("__myl_FcMul_myl0_0", "kgen", True),
        ("A_myl0_0", "kgen", False),
    ],
)
def test_an_image_may_be_a_matrix_where_a_product_runs(name, type, fits):
    made = graph(node("A", "Conv", "x w", "y"), constants="w")
    found = fused(
        made,
        layer(name, [tensor("x", (1, 8, 16))], [tensor("y", (1, 8, 16))], nodes="A", type=type),
    )
    assert fitting(found) == [fits]


def ort(made, *layers):
    return fused(made, *layers, backend="onnxruntime")


def test_onnx_runtimes_quantised_convolution_has_the_quantiser_behind_it():
    """It keeps the Conv's name, and writes uint8 where the graph has int8 (seen: 1.31)."""
    names = ("x s z", "u1", "u2")
    found = ort(
        CONVOLUTION,
        layer("Q", [tensor("x")], [tensor(names[1], dtype="uint8")], type="QuantizeLinear"),
        layer("C", [tensor("u1", dtype="uint8")], [tensor("c")], type="Conv"),
        layer("R", [tensor("c")], [tensor(names[2], dtype="uint8")], type="Relu"),
        layer("P", [tensor("u2", dtype="uint8")], [tensor("y")], type="MaxPool"),
    )
    assert [fate(found, n).layers for n in ("Q", "D", "C", "R", "Q2", "D2", "P")] == [
        (0,), (1,), (1,), (2,), (2,), (3,), (3,),
    ]  # fmt: skip
    assert fitting(found) == [True] * 4


def test_onnx_runtime_computes_float16_as_float32_under_names_that_say_so():
    made = graph(
        node("A", "Conv", "x w", "a"), node("R", "Relu", "a", "b"), node("B", "MaxPool", "b", "y"),
        constants="w", dtypes=dict.fromkeys("xabyw", "float16"),
    )  # fmt: skip
    cast = "InsertedPrecisionFreeCast_"
    found = ort(
        made,
        layer(f"{cast}w", [replace(tensor("w", dtype="float16"), is_constant=True)],
              [tensor(f"{cast}w")], type="Cast"),
        layer(f"{cast}b_nchwc", [tensor("x", dtype="float16"), tensor(f"{cast}w")],
              [tensor("reorder")], type="Conv"),
        layer("ReorderOutput", [tensor("reorder")], [tensor(f"{cast}b")], type="ReorderOutput"),
        layer(f"{cast}b", [tensor(f"{cast}b")], [tensor("b", dtype="float16")], type="Cast"),
        layer("B", [tensor("b", dtype="float16")], [tensor("y", dtype="float16")],
              type="MaxPool"),
    )  # fmt: skip
    assert [g.nodes for g in found.groups] == [(), ("A", "R"), (), (), ("B",)]
    assert fitting(found) == [True, True]
