"""What was really built: the math of each layer, and what a request for a precision became."""

from dataclasses import replace

import pytest

import trtlab
from tests.analysis.fusion import making
from tests.analysis.fusion.making import graph, layer, node
from trtlab.analysis.built_precision import built_precision
from trtlab.record import LayerTensor

Q, DQ = "QuantizeLinear", "DequantizeLinear"


def typed(made, inputs=(), outputs=(), weights=()):
    """The same layer with these data types."""
    read = [t for t in made.inputs if not t.is_constant]
    return replace(
        made,
        inputs=tuple(replace(t, dtype=d) for t, d in zip(read, inputs, strict=True)),
        outputs=tuple(replace(t, dtype=d) for t, d in zip(made.outputs, outputs, strict=True)),
        constants=tuple(LayerTensor(f"w{n}", d, (8, 8, 1, 1)) for n, d in enumerate(weights)),
    )


def quantised(**parts):
    """A quantised convolution: Q, DQ, Conv, Relu; the weights come through a DQ of their own."""
    return graph(
        node("q", Q, "x s", "xq"),
        node("dq", DQ, "xq s", "xd"),
        node("wdq", DQ, "w s", "wd"),
        node("conv", "Conv", "xd wd", "a"),
        node("relu", "Relu", "a", "y"),
        constants="w s",
        shapes={"w": (8, 8, 1, 1), "wd": (8, 8, 1, 1), "s": (1,)},
        dtypes={"xq": "int8", "w": "int8"},
        **parts,
    )


def test_int8_data_are_multiplied_as_int8_and_what_only_quantises_is_fp32():
    made = making.fused(
        quantised(),
        typed(layer("q", "x", "xq", nodes="q"), ["float32"], ["int8"]),
        typed(layer("conv + relu", "xq", "y"), ["int8"], ["float32"], ["int8", "float32"]),
    )
    built = built_precision(made, "int8")
    assert [(y.math, y.is_anchor) for y in built.layers] == [("float32", False), ("int8", True)]
    assert built.layers[1].weights == ("int8", "float32")
    assert {one.dtype: one.amounts.layers for one in built.shares} == {
        "float32": (0,),
        "int8": (1,),
    }
    assert built.share_by(None) == 0.5
    assert 0.8 < built.effect < 1
    assert built.effect == built.share_by("flops")
    assert built.strays == ()


def test_a_layer_that_was_asked_for_in_int8_and_runs_in_fp32_is_named():
    made = making.fused(
        quantised(), typed(layer("conv + relu", "x", "y"), ["float32"], ["float32"])
    )
    for recipe in ("int8", "qdq", "int8+fp16"):
        built = built_precision(made, recipe)
        (stray,) = built.strays
        assert (stray.node, stray.layer, stray.asked, stray.math) == (
            "conv", "conv + relu", "int8", "float32",
        )  # fmt: skip
        assert built.effect == 0
        first = built.warnings[0]
        assert first == f"{recipe.upper()} had no effect: 0 of 1 convolutions and products " \
                        "compute in INT8."  # fmt: skip


def test_some_strays_are_named_with_their_types():
    two = graph(
        node("dq", DQ, "x s", "xd"),
        node("wdq", DQ, "w s", "wd"),
        node("one", "Conv", "xd wd", "a"),
        node("adq", DQ, "aq s", "ad"),
        node("aq", Q, "a s", "aq"),
        node("view", "Reshape", "wd shape", "wr"),
        node("two", "Conv", "ad wr", "y"),
        constants="w s shape",
        shapes={"w": (8, 8, 1, 1), "wd": (8, 8, 1, 1), "wr": (8, 8, 1, 1)},
        dtypes={"x": "int8", "aq": "int8", "w": "int8"},
    )
    made = making.fused(
        two,
        typed(layer("one", "x", "aq"), ["int8"], ["int8"]),
        typed(layer("two", "aq", "y"), ["float16"], ["float16"]),
    )
    built = built_precision(made, "int8")
    assert built.warnings == ("Nodes that were asked for in INT8 and run in FP16: 1 of 2, two.",)
    assert built.anchors_in_asked == 1


def test_a_node_that_nobody_asked_for_in_int8_is_no_stray():
    plain = graph(node("conv", "Conv", "x w", "y"), constants="w")
    made = making.fused(plain, typed(layer("conv", "x", "y"), ["float32"], ["float32"]))
    built = built_precision(made, "int8")
    assert built.strays == ()
    assert "had no effect" in built.warnings[0]
    assert built_precision(made, "fp32").warnings == ()


def test_operations_count_where_a_node_is_computed_not_where_its_input_is_padded():
    padded = graph(node("conv", "Conv", "x w", "y"), constants="w", shapes={"w": (8, 8, 1, 1)},
                   dtypes=dict.fromkeys("xwy", "float16"))  # fmt: skip
    made = making.fused(
        padded,
        typed(layer("__myl_CastReplConc_myl0_1", "x", "p", nodes="conv", type="kgen"),
              ["float32"], ["float16"]),
        typed(layer("__myl_Corr_myl0_2", "p", "y", nodes="conv"), ["float16"], ["float16"]),
    )  # fmt: skip
    assert made.groups[0].flops > 0  # the builder's first layer with the node
    built = built_precision(made, "fp16")
    assert built.effect == 1
    assert built.whole.flops.value == made.groups[0].flops


def test_small_weights_beside_wide_data_are_computed_wide():
    weights = graph(
        node("wdq", DQ, "w s", "wd"),
        node("fc", "MatMul", "x wd", "y"),
        constants="w s",
        dtypes={"w": "int4"},
    )
    small = making.fused(
        weights, typed(layer("fc", "x", "y"), ["float32"], ["float32"], ["int4", "float32"])
    )
    built = built_precision(small, "int4-weights")
    assert built.layers[0].math == "float32"
    assert (built.effect, built.of_weights, built.strays) == (1, True, ())
    wide = making.fused(
        weights, typed(layer("fc", "x", "y"), ["float32"], ["float32"], ["float32"])
    )
    (said,) = built_precision(wide, "int4-weights").warnings
    assert said == "INT4-WEIGHTS had no effect: no layer holds weights in INT4."
    silent = making.fused(weights, typed(layer("fc", "x", "y"), ["float32"], ["float32"]))
    assert built_precision(silent, "int4-weights").effect is None


def test_weights_that_are_widened_before_they_are_used_are_said_to_be_so():
    weights = graph(
        node("wdq", DQ, "w s", "wd"),
        node("fc", "MatMul", "x wd", "y"),
        constants="w s",
        dtypes={"w": "int8"},
    )
    apart = making.fused(
        weights,
        typed(layer("widen", "", "wide", type="kgen"), [], ["float32"], ["int8"]),
        typed(layer("fc", "x", "y"), ["float32"], ["float32"]),
    )
    built = built_precision(apart, "int8-weights")
    assert built.effect == 1
    (said,) = built.warnings
    assert said.startswith("Layers with INT8 weights that only widen them for others: 1 of 1.")


def test_a_second_part_that_no_layer_shows_had_no_effect():
    made = making.fused(quantised(), typed(layer("conv + relu", "x", "y"), ["int8"], ["float32"]))
    assert "FP16 had no effect: no layer reads or writes FP16." in (
        built_precision(made, "int8+fp16").warnings
    )
    half = making.fused(quantised(), typed(layer("conv + relu", "x", "y"), ["int8"], ["float16"]))
    assert not any("no effect" in w for w in built_precision(half, "int8+fp16").warnings)


def test_what_is_not_said_is_not_known():
    made = making.fused(quantised(), typed(layer("conv + relu", "x", "y"), [None], [None]))
    built = built_precision(made, "int8")
    assert built.layers[0].math is None
    assert (built.effect, built.strays, built.warnings) == (None, (), ())
    pool = graph(node("p", "MaxPool", "x", "y", kernel_shape=(2, 2)))
    whole = making.fused(pool, typed(layer("p", "x", "y"), ["int8"], ["int8"]))
    assert built_precision(whole, "int8").layers[0].math is None
    mixed = making.fused(pool, typed(layer("p", "x", "y"), ["float16"], ["float32"]))
    assert built_precision(mixed, "fp16").layers[0].math is None


def test_a_plan_without_layers_says_nothing():
    built = built_precision(making.fused(quantised()), "int8")
    assert (built.layers, built.effect, built.warnings) == ((), None, ())
    assert built.share_by(None) is None


def test_conversions_that_eat_the_gain_are_weighed_by_time():
    made = making.fused(
        quantised(),
        typed(layer("reformat", "x", "r", type="Reformat"), ["float32"], ["int8"]),
        typed(layer("conv + relu", "r", "y"), ["int8"], ["int8"]),
    )

    def warnings(*times):
        groups = tuple(replace(g, time_ms=ms) for g, ms in zip(made.groups, times, strict=True))
        return built_precision(replace(made, groups=groups), "int8").warnings

    assert warnings(1.0, 9.5) == ()
    (said,) = warnings(1.0, 3.0)
    assert said.startswith(
        "Layers that only convert data: 1, with 25 % of the layers' time (measured)"
    )


def test_results_that_are_written_wide_are_said_to_be_so():
    wide = typed(layer("conv + relu", "x", "y"), ["int8"], ["float32"])
    built = built_precision(making.fused(quantised(), wide), "int8")
    assert built.wide.layers == (0,)
    assert built.warnings[-1].startswith(
        "Layers that compute in 8 bits or less and write FP32: 1 of 1."
    )
    narrow = typed(layer("conv + relu", "x", "y"), ["int8"], ["int8"])
    assert built_precision(making.fused(quantised(), narrow), "int8").warnings == ()


def test_an_unnamed_layer_of_onnx_runtime_computes_the_node_of_the_layer_behind_it():
    convolution = replace(
        layer("unnamed_1", "xq", "t", type="QLinearConv"),
        inputs=(
            LayerTensor("xq", None, None),
            LayerTensor("s", "float32", (), is_constant=True),
            LayerTensor("w", "int8", (8, 8, 1, 1), is_constant=True),
        ),
    )
    behind = layer("a_dq", "t", "y", type="DequantizeLinear")
    made = making.fused(quantised(), convolution, behind, backend="onnxruntime")
    groups = made.groups[0], replace(made.groups[1], nodes=("conv", "relu"), flops=1000)
    edges = tuple(
        replace(edge, node=n, layer=1)
        for n in ("conv", "relu")
        for edge in (making.fused(quantised(), layer("conv", "x", "y")).edges[0],)
    )
    built = built_precision(replace(made, groups=groups, edges=edges), "int8")
    assert (built.layers[0].math, built.layers[0].is_anchor) == ("int8", True)
    assert built.strays == ()
    assert built.anchors_in_asked == built.anchors == 1
    float_conv = replace(
        convolution,
        type="Conv",
        inputs=(LayerTensor("xq", None, None),
                LayerTensor("w", "float32", (8, 8, 1, 1), is_constant=True)),
    )  # fmt: skip
    other = replace(made, layers=(float_conv, behind), groups=groups, edges=edges)
    assert [s.layer for s in built_precision(other, "int8").strays] == ["unnamed_1"]


@pytest.mark.parametrize(
    ("name", "recipe", "effect", "anchors", "said"),
    [
        ("pytorch_resnet_A100_fp16", "fp16", 1, 21, ""),
        ("pytorch_resnet_A100_qat", "qdq", 1, 21, "Layers that only convert data: 12, with 25 %"),
        ("pytorch_resnet_A100_fp32", "int8", 0, 21, "INT8 had no effect: 0 of 21"),
        ("tensorflow_resnet_RTX-3090_qat", "qdq", 1, 54, ""),
        ("tests_mobilenet_qat", "qdq", 1, 53, "Layers that only convert data: 18, with 18 %"),
    ],
)
def test_real_engines(shared_data, name, recipe, effect, anchors, said):
    read = trtlab.read(shared_data / "engines" / name)
    built = built_precision(trtlab.fusion(read.plan, profile=read.profile), recipe)
    assert (built.effect, built.anchors) == (effect, anchors)
    assert bool(built.warnings) == bool(said)
    assert not said or built.warnings[0].startswith(said)
