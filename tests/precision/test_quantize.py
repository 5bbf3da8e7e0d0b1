"""INT8 and FP8: where the pairs lie, their scales and zero points, and what TensorRT wants."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from tests.model import nets
from tests.precision.converted import (
    called,
    cnn,
    draw,
    makers,
    node,
    ops,
    quantised,
    run,
    settled,
    values,
)
from tests.precision.test_calibrate import Batches
from trtlab.errors import SpecError, UnsupportedError
from trtlab.precision import calibrate
from trtlab.precision.graphs import array_of, open_graph, with_opset
from trtlab.precision.quantize import beside_constants, quantize
from trtlab.precision.recipes import Options

X = draw(16, 3, 8, 8, seed=20)


def weight_of(model, name):
    """Return a node's weight: levels, scale, zero point and axis."""
    stored = values(model)
    made = makers(model)[called(model, name).input[1]]
    axis = next((a.i for a in made.attribute if a.name == "axis"), None)
    return (*(stored[i] for i in made.input), axis)


def test_library_stores_biases_as_int32_unless_told(tmp_path):
    """TensorRT-RTX refuses those; see tests/verbs/test_convert.py."""
    prepared, _ = settled(cnn(), X, tmp_path)
    with calibrate.quiet():
        quantize_static(
            prepared, tmp_path / "q.onnx", Batches({"x": X}), quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    types = {a.dtype.name for a in values(onnx.load(tmp_path / "q.onnx")).values()}
    assert "int32" in types
    ours = values(quantised(cnn(), X, tmp_path).model)
    assert {a.dtype.name for a in ours.values()} == {"int8", "float32"}


def test_int8_is_signed_and_symmetric(tmp_path):
    done = quantised(cnn(), X, tmp_path)
    zeros = [a for n, a in values(done.model).items() if n.endswith("zero_point")]
    assert zeros
    assert all(a.dtype == np.int8 and not a.any() for a in zeros)
    assert done.quantizers == ops(done.model).count("QuantizeLinear")
    assert "BatchNormalization" not in ops(done.model)


@pytest.mark.parametrize(
    ("name", "axis"), [("conv", 0), ("deconv", 1), ("gemm", 0), ("product", 1)]
)
def test_each_output_channel_has_its_scale(name, axis, tmp_path):
    done = quantised(cnn(), X, tmp_path)
    prepared = onnx.load(tmp_path / "prepared.onnx")
    w = values(prepared)[called(prepared, name).input[1]]
    levels, scale, _, found = weight_of(done.model, name)
    assert found == axis
    others = tuple(i for i in range(w.ndim) if i != axis)
    np.testing.assert_allclose(scale, abs(w).max(axis=others) / 127, rtol=1e-5)
    shape = [-1 if i == axis else 1 for i in range(w.ndim)]
    assert abs(levels * scale.reshape(shape) - w).max() <= scale.max() * 0.5001


def test_per_tensor_has_one_scale_without_axes(tmp_path):
    done = quantised(cnn(), X, tmp_path, per_channel=False)
    for name in ("conv", "deconv", "gemm", "product"):
        levels, scale, zero, _ = weight_of(done.model, name)
        assert scale.shape == zero.shape == ()
        assert abs(levels).max() == 127


def test_scales_of_activations_come_from_the_ranges(tmp_path):
    prepared, ranges = settled(cnn(), X, tmp_path)
    ranges |= {"x": (-2.54, 1.0)}
    stored = values(quantize(onnx.load(prepared), "int8", ranges, (), Options()).model)
    assert stored["x_scale"] == pytest.approx(2.54 / 127.5, rel=0.005)
    assert stored["x_scale"].shape == ()


def test_a_kept_node_reads_what_was_there_before(tmp_path):
    done = quantised(cnn(), X, tmp_path, left=["deconv"])
    assert list(called(done.model, "deconv").input) == ["r", "wt"]
    assert "r_QuantizeLinear" not in {n.name for n in done.model.graph.node}
    assert done.quantizers == quantised(cnn(), X, tmp_path).quantizers - 1
    assert values(done.model)["wt"].dtype == np.float32


def test_nothing_to_quantise(tmp_path):
    lone = nets.model([node("Softmax", ["x"], ["y"])], {"x": ["N", 4]}, {"y": ["N", 4]})
    onnx.save(lone, tmp_path / "lone.onnx")
    with pytest.raises(UnsupportedError, match="can be quantised"):
        quantize(onnx.load(tmp_path / "lone.onnx"), "int8", {}, (), Options())


def test_all_kept(tmp_path):
    everything = [n.name for n in cnn().graph.node]
    with pytest.raises(UnsupportedError, match="all of it is kept"):
        quantised(cnn(), X, tmp_path, left=everything)


def test_a_missing_range_is_named(tmp_path):
    prepared, ranges = settled(cnn(), X, tmp_path)
    del ranges["g"]
    with pytest.raises(SpecError, match=r"ranges do not fit the model: .* g\b"):
        quantize(onnx.load(prepared), "int8", ranges, (), Options())


def test_uint8_has_zero_points(tmp_path):
    done = quantised(cnn(), X, tmp_path, activations="uint8")
    stored = values(done.model)
    assert stored["x_zero_point"].dtype == np.uint8
    assert 100 < stored["x_zero_point"] < 156
    assert weight_of(done.model, "conv")[0].dtype == np.int8


def test_int8_is_near_the_original(tmp_path):
    onnx.save(cnn(), tmp_path / "net.onnx")
    expected = run(open_graph(tmp_path / "net.onnx"), x=X)[0]
    for options in ({}, {"activations": "uint8"}, {"symmetric": False}):
        error = run(quantised(cnn(), X, tmp_path, **options).model, x=X)[0] - expected
        assert 0.001 < np.sqrt((error**2).mean()) / expected.std() < 0.2


# Constants


def gelu():
    """The exact one of vision transformers: constants beside Div, Add and Mul."""
    return nets.model(
        [
            node("MatMul", ["x", "w"], ["h"], name="product"),
            node("Div", ["h", "root"], ["d"], name="div"),
            node("Erf", ["d"], ["e"], name="erf"),
            node("Add", ["e", "one"], ["a"], name="add"),
            node("Mul", ["h", "a"], ["m"], name="mul"),
            node("Mul", ["m", "half"], ["y"], name="halve"),
        ],
        {"x": ["N", 16]}, {"y": ["N", 16]},
        {
            "w": draw(16, 16), "root": np.float32(2**0.5), "one": np.float32(1),
            "half": np.float32(0.5),
        },
    )  # fmt: skip


def test_what_reads_a_constant_is_left_out(tmp_path):
    assert beside_constants(gelu()) == {"div", "add", "halve"}
    done = quantised(gelu(), draw(8, 16), tmp_path, left=beside_constants(gelu()))
    stored = values(done.model)
    assert stored["one"].dtype == stored["half"].dtype == np.float32
    assert called(done.model, "add").input[1] == "one"
    assert weight_of(done.model, "product")[0].dtype == np.int8


# FP8


def test_fp8_has_e4m3_levels_that_reach_448(tmp_path):
    done = quantised(cnn(), X, tmp_path, "fp8")
    prepared = onnx.load(tmp_path / "prepared.onnx")
    zeros = [a for n, a in values(done.model).items() if n.endswith("zero_point")]
    assert all(a.dtype == ml_dtypes.float8_e4m3fn and not a.astype("f4").any() for a in zeros)
    for name, axis in (("conv", 0), ("deconv", 1), ("gemm", 0), ("product", 1)):
        w = values(prepared)[called(prepared, name).input[1]]
        levels, scale, _, _ = weight_of(done.model, name)
        others = tuple(i for i in range(w.ndim) if i != axis)
        np.testing.assert_allclose(scale, abs(w).max(axis=others) / 448, rtol=1e-5)
        shape = [-1 if i == axis else 1 for i in range(w.ndim)]
        scaled = np.clip(w / scale.reshape(shape), -448, 448)
        np.testing.assert_array_equal(
            levels.astype("f4"), scaled.astype(ml_dtypes.float8_e4m3fn).astype("f4")
        )
        assert abs(levels.astype("f4")).max() == 448
    opsets = {o.domain: o.version for o in done.model.opset_import}
    assert opsets[""] >= 19
    assert done.model.ir_version >= 9
    assert (done.clipped, done.converted) == (0, 8 * 27 + 8 * 16 + 6 * 4 + 6 * 5)


def test_fp8_scales_of_activations_have_no_axes(tmp_path):
    stored = values(quantised(cnn(), X, tmp_path, "fp8").model)
    prepared, ranges = settled(cnn(), X, tmp_path)
    int8 = values(quantize(onnx.load(prepared), "int8", ranges, (), Options()).model)
    assert stored["x_scale"].shape == ()
    assert stored["x_scale"] == pytest.approx(int8["x_scale"] * 127 / 448)


def test_fp8_runs_and_is_near(tmp_path):
    onnx.save(cnn(), tmp_path / "net.onnx")
    expected = run(open_graph(tmp_path / "net.onnx"), x=X)[0]
    error = run(quantised(cnn(), X, tmp_path, "fp8").model, x=X)[0] - expected
    assert 0.001 < np.sqrt((error**2).mean()) / expected.std() < 0.2


def resizing(op, opset):
    return nets.model(
        [node(op, ["x", "scales"], ["u"], name="up"), node("Conv", ["u", "w"], ["y"])],
        {"x": ["N", 3, 4, 4]}, {"y": ["N", 2, 8, 8]},
        {"scales": np.array([1, 1, 2, 2], "f4"), "w": draw(2, 3, 1, 1)}, opset=opset, ir=4,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_an_old_graph_is_raised(kind, tmp_path):
    model = quantised(resizing("Upsample", 9), draw(4, 3, 4, 4), tmp_path, kind).model
    assert run(model, x=draw(1, 3, 4, 4))[0].shape == (1, 2, 8, 8)


@pytest.mark.parametrize("opset", [13, 19])
def test_a_graph_that_cannot_be_raised(opset, tmp_path):
    """Resize came with opset 10: an older file that has it has no way on."""
    onnx.save(resizing("Resize", 9), tmp_path / "old.onnx")
    with pytest.raises(UnsupportedError, match=f"brought to opset {opset}, .*Resize"):
        with_opset(open_graph(tmp_path / "old.onnx"), opset, 7)
    with pytest.raises(UnsupportedError, match="brought to opset 13"):
        calibrate.prepare(tmp_path / "old.onnx", tmp_path / "out.onnx")


def test_flushed_weights_are_counted(tmp_path):
    proto = nets.model(
        [node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 4]}, {"y": ["N", 2]},
        {"w": np.array([[1, 1e-3, 0, 1e-3], [1, 1, 1, 1e-4]], "f4").T.copy()},
    )  # fmt: skip
    done = quantised(proto, draw(8, 4), tmp_path)
    assert (done.flushed, done.clipped, done.converted) == (3, 0, 8)
    assert array_of(done.model.graph.initializer[0]).size


def test_a_gemms_factor_of_its_bias_stays(tmp_path):
    # ONNX Runtime's quantiser sets it to 1, for biases that are quantised; ours are not.
    proto = nets.model(
        [node("Gemm", ["x", "w", "b"], ["y"], name="g", alpha=0.5, beta=3.0)],
        {"x": ["N", 16]}, {"y": ["N", 8]}, {"w": draw(16, 8), "b": 5 * draw(8, seed=1)},
    )  # fmt: skip
    x = draw(64, 16, seed=2)
    done = quantised(proto, x, tmp_path)
    right = x @ (0.5 * draw(16, 8)) + 3 * 5 * draw(8, seed=1)
    error = run(done.model, x=x)[0] - right
    assert np.sqrt((error**2).mean()) < 0.03 * np.sqrt((right**2).mean())


def test_a_kept_node_reads_a_shared_weight_as_it_was(tmp_path):
    proto = nets.model(
        [
            node("MatMul", ["x", "w"], ["h"], name="first"),
            node("MatMul", ["h", "w"], ["y"], name="second"),
        ],
        {"x": ["N", 8]}, {"y": ["N", 8]}, {"w": draw(8, 8)},
    )  # fmt: skip
    done = quantised(proto, X[:, 0, 0, :8], tmp_path, left={"second"})
    assert np.array_equal(values(done.model)[called(done.model, "second").input[1]], draw(8, 8))
    assert called(done.model, "first").input[1].endswith("DequantizeLinear_Output")
    assert done.converted == 64


def test_each_reader_has_a_pair_of_its_own(tmp_path):
    proto = nets.model(
        [
            node("Relu", ["x"], ["r"], name="relu"),
            node("MatMul", ["r", "w"], ["a"], name="one"),
            node("MatMul", ["r", "v"], ["b"], name="two"),
        ],
        {"x": ["N", 8]}, {"a": ["N", 4], "b": ["N", 4]},
        {"w": draw(8, 4), "v": draw(8, 4, seed=1)},
    )  # fmt: skip
    done = quantised(proto, draw(32, 8, seed=2), tmp_path)
    readers = [called(done.model, name).input[0] for name in ("one", "two")]
    assert len(set(readers)) == 2
