"""Weights in 8 and 4 bits: their levels, blocks and sizes, and that they run."""

import ml_dtypes
import numpy as np
import onnx
import pytest

from tests.model import nets
from tests.precision.converted import called, cnn, draw, makers, node, opened, ops, run, values
from trtlab.errors import ModelError, UnsupportedError
from trtlab.precision.graphs import weight_bytes
from trtlab.precision.weights_only import BLOCK, narrow


def narrowed(proto, folder, bits, left=(), *, per_channel=True):
    done = narrow(opened(proto, folder), bits, left, per_channel=per_channel)
    onnx.checker.check_model(done.model)
    return done


def weight_of(model, name):
    """Return a node's weight as it is widened, its levels and scales."""
    made = makers(model)[called(model, name).input[1]]
    stored = values(model)
    levels, scale = (stored[i] for i in made.input)
    attributes = {a.name: a.i for a in made.attribute}
    wide = levels.astype("f4")
    if "block_size" in attributes:
        factor = scale.repeat(attributes["block_size"], axis=attributes["axis"])
    elif scale.ndim:
        shape = [-1 if i == attributes["axis"] else 1 for i in range(levels.ndim)]
        factor = scale.reshape(shape)
    else:
        factor = scale
    return wide * factor, levels, factor


def products(k=256, n=8):
    """x [N, k] through the three ways to hold a weight, each to n."""
    return nets.model(
        [
            node("MatMul", ["x", "a"], ["ya"], name="product"),
            node("Gemm", ["x", "b"], ["yb"], name="gemm"),
            node("Gemm", ["x", "c"], ["yc"], name="turned", transB=1),
        ],
        {"x": ["N", k]}, {"ya": ["N", n], "yb": ["N", n], "yc": ["N", n]},
        {"a": draw(k, n), "b": draw(k, n, seed=1), "c": draw(n, k, seed=2)},
    )  # fmt: skip


@pytest.mark.parametrize("per_channel", [True, False])
def test_int8_is_within_half_a_step(per_channel, tmp_path):
    done = narrowed(cnn(), tmp_path, 8, per_channel=per_channel)
    source = values(cnn())
    for name, weight in (("conv", "w"), ("deconv", "wt"), ("gemm", "wg"), ("product", "wm")):
        wide, levels, factor = weight_of(done.model, name)
        assert levels.dtype == np.int8
        assert (abs(wide - source[weight]) <= factor * 0.5001).all()
        assert abs(levels).max() == 127
        assert (factor.size > 1) == per_channel
    assert set(done.nodes) == {"conv", "deconv", "gemm", "product"}
    assert ops(done.model).count("QuantizeLinear") == 0


@pytest.mark.parametrize(("name", "axis"), [("conv", 0), ("deconv", 1), ("gemm", 0),
                                            ("product", 1)])  # fmt: skip
def test_int8_has_a_scale_for_each_output_channel(name, axis, tmp_path):
    _, levels, factor = weight_of(narrowed(cnn(), tmp_path, 8).model, name)
    assert [i for i, size in enumerate(factor.shape) if size > 1] == [axis]
    others = tuple(i for i in range(levels.ndim) if i != axis)
    assert (abs(levels).max(axis=others) == 127).all()


@pytest.mark.parametrize(("name", "weight", "axis"), [("product", "a", 0), ("gemm", "b", 0),
                                                      ("turned", "c", 1)])  # fmt: skip
def test_int4_has_blocks_along_what_is_summed(name, weight, axis, tmp_path):
    done = narrowed(products(), tmp_path, 4)
    wide, levels, factor = weight_of(done.model, name)
    assert levels.dtype == ml_dtypes.int4
    assert (abs(wide - values(products())[weight]) <= factor * 0.5001).all()
    scale = values(done.model)[f"{weight}_scale"]
    assert scale.shape[axis] == 256 // BLOCK
    assert scale.shape[1 - axis] == 8
    assert abs(levels.astype("i4")).max() == 7


def test_int4_of_a_stack_of_matrices_runs_along_the_rows(tmp_path):
    proto = nets.model(
        [node("MatMul", ["x", "w"], ["y"], name="product")],
        {"x": ["N", 2, 3, 256]}, {"y": ["N", 2, 3, 4]}, {"w": draw(2, 256, 4)},
    )  # fmt: skip
    done = narrowed(proto, tmp_path, 4)
    assert values(done.model)["w_scale"].shape == (2, 2, 4)


@pytest.mark.parametrize("bits", [8, 4])
def test_it_runs_as_what_it_widens_to(bits, tmp_path):
    done = narrowed(products(), tmp_path, bits)
    x = draw(3, 256, seed=5)
    found = run(done.model, x=x)
    wide = [weight_of(done.model, n)[0] for n in ("product", "gemm", "turned")]
    for y, expected in zip(found, (x @ wide[0], x @ wide[1], x @ wide[2].T), strict=True):
        np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)


def test_weights_take_a_quarter_and_an_eighth(tmp_path):
    source = weight_bytes(opened(products(n=64), tmp_path))
    int8 = weight_bytes(narrowed(products(n=64), tmp_path, 8).model)
    int4 = weight_bytes(narrowed(products(n=64), tmp_path, 4).model)
    assert int8 / source == pytest.approx(1 / 4, rel=0.02)
    assert int4 / source == pytest.approx(1 / 8 + 1 / BLOCK, rel=0.02)


def test_what_int4_does_not_fit_is_named(tmp_path):
    proto = nets.model(
        [node("MatMul", ["x", "a"], ["h"], name="fits"),
         node("MatMul", ["h", "b"], ["y"], name="small")],
        {"x": ["N", 128]}, {"y": ["N", 4]}, {"a": draw(128, 100), "b": draw(100, 4)},
    )  # fmt: skip
    done = narrowed(proto, tmp_path, 4)
    assert (done.nodes, done.too_small) == (("fits",), ("small",))
    assert values(done.model)["b"].dtype == np.float32
    with pytest.raises(UnsupportedError, match="multiples of 128"):
        narrowed(proto, tmp_path, 4, ["fits"])


def test_a_shared_weight_is_stored_once_and_whole_for_a_kept_node(tmp_path):
    proto = nets.model(
        [node("MatMul", [a, "w"], [b], name=b) for a, b in ("xh", "hg", "gy")],
        {"x": ["N", 4]}, {"y": ["N", 4]}, {"w": draw(4, 4)},
    )  # fmt: skip
    done = narrowed(proto, tmp_path, 8, ["g"])
    assert ops(done.model).count("DequantizeLinear") == 1
    assert called(done.model, "g").input[1] == "w"
    assert done.converted == 16
    assert "w" not in values(narrowed(proto, tmp_path, 8).model)


def test_a_weight_of_zeros_and_one_of_the_smallest_numbers(tmp_path):
    w = np.zeros((4, 4), "f4")
    w[:, 1] = 1e-45
    proto = nets.model([node("MatMul", ["x", "w"], ["y"], name="p")],
                       {"x": ["N", 4]}, {"y": ["N", 4]}, {"w": w})  # fmt: skip
    done = narrowed(proto, tmp_path, 8)
    wide, _, factor = weight_of(done.model, "p")
    assert not wide.any()
    assert (factor == 1).all()
    assert done.flushed == 4


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_refused(wrong, tmp_path):
    w = draw(4, 4)
    w[1, 1] = wrong
    proto = nets.model([node("MatMul", ["x", "w"], ["y"], name="p")],
                       {"x": ["N", 4]}, {"y": ["N", 4]}, {"w": w})  # fmt: skip
    with pytest.raises(ModelError, match="Weight w holds NaN or infinity"):
        narrowed(proto, tmp_path, 8)


def test_a_vector_is_left_as_it_is(tmp_path):
    """A scale for each of its elements would take more than it saves."""
    proto = nets.model([node("MatMul", ["x", "w"], ["y"])],
                       {"x": ["N", 256]}, {"y": ["N"]}, {"w": draw(256)})  # fmt: skip
    for bits in (8, 4):
        with pytest.raises(UnsupportedError, match=f"No weight .* in {bits} bits"):
            narrowed(proto, tmp_path, bits)
