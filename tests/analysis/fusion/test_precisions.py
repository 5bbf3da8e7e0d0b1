"""The figures of the map hold at FP16 and INT8 too, on networks that TensorRT-RTX really built."""

import random

import pytest

import trtlab
from tests.fusing import mutated
from trtlab.analysis.fusion.boundary import borders
from trtlab.analysis.fusion.names import parse
from trtlab.analysis.fusion.spread import spreads
from trtlab.analysis.fusion.wiring import Wiring

NETWORKS = ["digits", "digits_mobile", "squeezenet"]
MUTATIONS = 30

pytestmark = pytest.mark.native


def reasons(fusion):
    wiring = Wiring(fusion.graph)
    names = [parse(layer.name, wiring.nodes) for layer in fusion.layers]
    return spreads(fusion.fates, names, wiring)


def running(fusion):
    return [fate for fate in fusion.fates if fate.state == "in layer"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_at_other_precisions_are_explained(name, precision, built_as):
    fusion = built_as(name, precision)
    assert fusion.unexplained_share == 0
    assert fusion.opaque_share == 0
    assert not fusion.caveats
    clear = [f for f in running(fusion) if len(f.layers) == 1 or f.node in reasons(fusion)]
    assert len(clear) / len(running(fusion)) >= 0.95
    checked = borders(fusion)
    assert sum(border.fits for border in checked) / len(checked) >= 0.95


@pytest.mark.parametrize("name", NETWORKS)
def test_at_fp16_nodes_have_one_owner(name, built_as):
    assert built_as(name, "fp16").one_owner_share >= 0.95


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_border_still_notices_a_wrong_map(name, precision, built_as):
    fusion = built_as(name, precision)
    before = sum(not border.fits for border in borders(fusion))
    rng = random.Random(name)
    noticed = 0
    for number in range(MUTATIONS):
        mutant = mutated(fusion, rng, ("move", "drop", "invent")[number % 3])
        noticed += sum(not border.fits for border in borders(mutant)) > before
    assert noticed >= MUTATIONS / 5


def test_each_convolution_of_digits_mobile_is_a_product_in_int8_and_a_kernel_behind_it(built_as):
    """By hand: Conv reads the input's DQ and the weight's; behind it Q, DQ, Relu, Q.

    TensorRT-RTX 1.7 computes the product of the INT8 tensors in one layer, which writes FP32, and
    scale, bias, Relu and quantising in the next, which writes INT8.
    """
    fusion = built_as("digits_mobile", "int8")
    wiring = Wiring(fusion.graph)
    convolutions = [node for node in fusion.graph.nodes if node.op == "Conv"]
    assert len(convolutions) == 13
    for conv in convolutions:
        activation, weight = (wiring.writer[t] for t in conv.inputs[:2])
        product, rest = fusion.layers_of(conv.name)
        assert fusion.layers_of(activation) == (product,)
        assert set(fusion.groups[product].nodes) == {conv.name, activation}
        layer, behind = fusion.layers[product], fusion.layers[rest]
        assert {t.dtype for t in layer.inputs} == {"int8"}
        assert "int8" in {t.dtype for t in layer.constants}
        assert {t.dtype for t in layer.outputs} == {"float32"}
        assert {t.name for t in layer.outputs} <= {t.name for t in behind.inputs}
        assert {t.dtype for t in behind.outputs} == {"int8"}
        following = [conv.name]
        for op in ("QuantizeLinear", "DequantizeLinear", "Relu", "QuantizeLinear"):
            (name,) = wiring.after(following[-1])
            assert wiring.nodes[name].op == op
            following.append(name)
        assert set(following) <= set(fusion.groups[rest].nodes)
        fate = next(fate for fate in fusion.fates if fate.node == weight)
        assert (fate.state, fate.rule) == ("folded", "constant inputs")
        assert "stays small" in fusion.explain(weight)
        assert "computes the product" in fusion.explain(conv.name)


def test_in_fp16_the_casts_of_inputs_and_outputs_are_in_the_kernels_beside_them(built_as):
    fusion = built_as("digits_mobile", "fp16")
    casts = [node for node in fusion.graph.nodes if node.op == "Cast"]
    assert len(casts) == 2
    for cast in casts:
        (number,) = fusion.layers_of(cast.name)
        types = {t.dtype for t in (*fusion.layers[number].inputs, *fusion.layers[number].outputs)}
        assert types == {"float16", "float32"}


@pytest.mark.parametrize("level", ["extended", "all"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("name", ["digits", "digits_mobile"])
def test_onnx_runtimes_models_are_explained_too(name, precision, level, converted, zoo_store):
    fusion = trtlab.fusion(
        converted(name, precision),
        backend="onnxruntime", optimization_level=level, store=zoo_store,
    )  # fmt: skip
    assert fusion.unexplained_share == 0
    assert fusion.one_owner_share == 1
    assert fusion.largest_group <= 6
    checked = borders(fusion)
    assert sum(border.fits for border in checked) / len(checked) >= 0.95
