"""Small models for the tests in this folder."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def value(name, shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes, inputs, outputs, weights=(), opset=17, ir=8, **more):
    """A model from nodes, ``{name: shape}`` twice, and ``{name: array}`` or tensors."""
    tensors = (
        [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()]
        if isinstance(weights, dict)
        else list(weights)
    )
    graph = helper.make_graph(
        nodes,
        "net",
        [v if isinstance(v, onnx.ValueInfoProto) else value(v, inputs[v]) for v in inputs],
        [value(n, s) for n, s in outputs.items()],
        tensors,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir, **more
    )


def perceptron(batch="N"):
    """Two layers, 8 to 32 to 4."""
    rng = np.random.default_rng(0)
    return model(
        [
            helper.make_node("MatMul", ["x", "w1"], ["h"], name="first"),
            helper.make_node("Add", ["h", "b1"], ["hb"]),
            helper.make_node("Relu", ["hb"], ["r"], name="act"),
            helper.make_node("MatMul", ["r", "w2"], ["y"], name="second"),
        ],
        {"x": [batch, 8]},
        {"y": [batch, 4]},
        {
            "w1": rng.normal(size=(8, 32)).astype("f4"),
            "b1": rng.normal(size=32).astype("f4"),
            "w2": rng.normal(size=(32, 4)).astype("f4"),
        },
    )
