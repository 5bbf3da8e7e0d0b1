"""FP16 emulated in FP32, against NumPy's float16 step by step."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtlab.errors import UnsupportedError
from trtlab.precision.emulation import emulated

pytestmark = pytest.mark.native

FLOAT, HALF, INT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8


def value(name, shape, kind):
    return helper.make_tensor_value_info(name, kind, shape)


def net(nodes, inputs, outputs, weights=(), opset=19):
    """A model from nodes, two lists of ``(name, shape, type)``, and ``{name: array}``."""
    graph = helper.make_graph(
        nodes,
        "net",
        [value(*i) for i in inputs],
        [value(*o) for o in outputs],
        [numpy_helper.from_array(a, n) for n, a in dict(weights).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def run(model, level="ORT_DISABLE_ALL", **feeds):
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)


def rounded(tmp_path, model):
    onnx.save(model, tmp_path / "half.onnx")
    made = emulated(tmp_path / "half.onnx")
    onnx.checker.check_model(made)
    return made


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=output, **attributes)


@pytest.fixture
def products():
    """((x * k) * k) / k in FP16: 1000 squared overflows, small numbers become subnormal."""
    return net(
        [node("Mul", ["x", "k"], "a"), node("Mul", ["a", "k"], "b"), node("Div", ["b", "k"], "y")],
        [("x", ["N", 6], HALF)],
        [("y", ["N", 6], HALF)],
        {"k": np.array([1000, 1000, 1e-3, 1e-3, 1000, 1000], "f2")},
    )


X = np.array([[1, 0.1, 0.3, -0.5, 66, np.inf]], "f2")


def test_each_step_rounds_as_numpys_float16(tmp_path, products):
    k = numpy_helper.to_array(products.graph.initializer[0])
    with np.errstate(over="ignore", under="ignore"):
        expected = X * k * k / k
    assert np.isinf(expected[0, 0])
    assert 1e-3 < abs(expected[0, 3] / 5e-4 + 1) < 0.1  # through a subnormal, with few bits
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        (found,) = run(rounded(tmp_path, products), level, x=X)
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, expected)


def test_onnx_runtimes_own_fp16_does_not_round(products):
    # Why there is an emulation. If this fails one day, the model itself can be run.
    (found,) = run(products, x=X)
    assert np.isfinite(found[0, 0])


def test_tensors_keep_their_names_and_sums_are_fp32(tmp_path):
    generator = np.random.default_rng(0)
    w = (generator.standard_normal((64, 8)) / 8).astype("f2")
    x = generator.standard_normal((5, 64)).astype("f2")
    model = net(
        [node("MatMul", ["x", "w"], "h"), node("Relu", ["h"], "r"), node("Exp", ["r"], "y")],
        [("x", ["N", 64], HALF)],
        [("y", ["N", 8], HALF)],
        {"w": w},
    )
    made = rounded(tmp_path, model)
    made.graph.output.append(onnx.ValueInfoProto(name="h"))
    found, hidden = run(made, x=x)
    product = x.astype("f4") @ w.astype("f4")
    np.testing.assert_array_equal(hidden, hidden.astype("f2").astype("f4"))
    np.testing.assert_allclose(hidden, product.astype("f2"), rtol=1e-3)
    assert (hidden == product.astype("f2")).mean() > 0.98  # but for the order of sums
    np.testing.assert_allclose(found, np.exp(np.maximum(hidden, 0)).astype("f2"), rtol=1e-3)


def test_casts_inputs_and_outputs_of_fp32_stay(tmp_path):
    model = net(
        [
            node("Cast", ["x"], "xh", to=HALF),
            node("Mul", ["xh", "k"], "p"),
            node("Cast", ["p"], "y", to=FLOAT),
            node("Cast", ["p"], "whole", to=TensorProto.INT32),
        ],
        [("x", [3], FLOAT)],
        [("y", [3], FLOAT), ("whole", [3], TensorProto.INT32)],
        {"k": np.array(3, "f2")},
    )
    x = np.array([1 / 3, 2049.7, 30_000], "f4")
    found, whole = run(rounded(tmp_path, model), x=x)
    with np.errstate(over="ignore"):
        expected = x.astype("f2") * np.float16(3)
    np.testing.assert_array_equal(found, expected.astype("f4"))
    assert whole[1] == 6152  # 2050 * 3 = 6150 is no FP16 number


def test_quantised_with_fp16_scales(tmp_path):
    scale, zero = np.array(0.1, "f2"), np.array(0, "i1")
    model = net(
        [
            node("QuantizeLinear", ["x", "s", "z"], "q"),
            node("DequantizeLinear", ["q", "s", "z"], "d"),
            node("Mul", ["d", "d"], "y"),
        ],
        [("x", [5], HALF)],
        [("y", [5], HALF)],
        {"s": scale, "z": zero},
    )
    x = np.array([0.12, -3.33, 50, 0.04, 12.7], "f2")
    q = np.clip(np.rint(x.astype("f4") / scale.astype("f4")), -128, 127)
    d = (q * scale.astype("f4")).astype("f2")
    (found,) = run(rounded(tmp_path, model), x=x)
    np.testing.assert_array_equal(found, d * d)


def test_fp8_is_quantised_as_written(tmp_path):
    import ml_dtypes

    zero = helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0.0])
    model = net(
        [
            node("QuantizeLinear", ["x", "s", "z"], "q"),
            node("DequantizeLinear", ["q", "s", "z"], "d"),
            node("Cast", ["d"], "y", to=HALF),
        ],
        [("x", [4], FLOAT)],
        [("y", [4], HALF)],
        {"s": np.array(0.5, "f4")},
    )
    model.graph.initializer.append(zero)
    x = np.array([0.3, 1.07, 100, 1000], "f4")
    (found,) = run(rounded(tmp_path, model), x=x)
    expected = (np.minimum(x / 0.5, 448)).astype(ml_dtypes.float8_e4m3fn).astype("f4") * 0.5
    np.testing.assert_array_equal(found, expected.astype("f2"))


def test_constants_that_nodes_make_are_widened(tmp_path):
    one = numpy_helper.from_array(np.array([0.1], "f2"))
    model = net(
        [
            node("Shape", ["x"], "s"),
            node("ConstantOfShape", ["s"], "c", value=one),
            node("Constant", [], "k", value=numpy_helper.from_array(np.array(3, "f2"))),
            node("Mul", ["c", "k"], "m"),
            node("Add", ["x", "m"], "y"),
        ],
        [("x", ["N"], HALF)],
        [("y", ["N"], HALF)],
    )
    (found,) = run(rounded(tmp_path, model), x=np.ones(2, "f2"))
    expected = np.float16(1) + np.float16(0.1) * np.float16(3)
    assert found.tolist() == [expected] * 2


def test_an_output_may_be_read_by_other_nodes(tmp_path):
    model = net(
        [node("Mul", ["x", "x"], "y"), node("Add", ["y", "x"], "z")],
        [("x", [2], HALF)],
        [("y", [2], HALF), ("z", [2], HALF)],
    )
    x = np.array([300, 0.1], "f2")
    y, z = run(rounded(tmp_path, model), x=x)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(y, x * x)
        np.testing.assert_array_equal(z, x * x + x)


def test_a_model_without_fp16_stays_as_it_is(tmp_path):
    model = net([node("Relu", ["x"], "y")], [("x", [2], FLOAT)], [("y", [2], FLOAT)])
    assert [n.op_type for n in rounded(tmp_path, model).graph.node] == ["Relu"]


def test_subgraphs_are_refused(tmp_path):
    branch = helper.make_graph([node("Identity", ["x"], "b")], "b", [], [value("b", [2], HALF)])
    model = net(
        [node("If", ["c"], "y", then_branch=branch, else_branch=branch)],
        [("x", [2], HALF), ("c", [], TensorProto.BOOL)],
        [("y", [2], HALF)],
    )
    onnx.save(model, tmp_path / "if.onnx")
    with pytest.raises(UnsupportedError, match="If"):
        emulated(tmp_path / "if.onnx")


def test_a_type_that_cannot_be_told_is_refused(tmp_path):
    model = net(
        [helper.make_node("Odd", ["x"], ["o"], name="odd", domain="elsewhere"),
         node("Add", ["x", "o"], "y")],
        [("x", [2], HALF)],
        [("y", [2], HALF)],
    )  # fmt: skip
    model.opset_import.append(helper.make_opsetid("elsewhere", 1))
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(UnsupportedError, match=r"'o'.*odd \(Odd\)"):
        emulated(tmp_path / "odd.onnx")
