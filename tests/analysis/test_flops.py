"""Costs against numbers worked out by hand, and matrix work against onnx_tool."""

from pathlib import Path

import numpy as np
import onnx
import onnx_tool
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtlab.analysis.flops import NodeCost, node_costs, total
from trtlab.model.graphs import graph_from_proto, with_shapes
from trtlab.model.reading import read_graph
from trtlab.model.types import Graph, Node, Tensor

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def cost(op, inputs, output, *, domain="", dtype="float32", sizes=None, **attributes):
    """Cost of one node from shapes; an input of None is left out."""
    names = tuple("" if shape is None else f"i{k}" for k, shape in enumerate(inputs))
    tensors = {n: Tensor(n, dtype, s) for n, s in zip(names, inputs, strict=True) if n}
    tensors["y"] = Tensor("y", dtype, output)
    node = Node("it", op, names, ("y",), domain, attributes)
    (found,) = node_costs(Graph("g", (node,), tensors, names, ("y",)), sizes)
    assert (found.node, found.op) == ("it", op)
    return found


CASES = [
    ("Conv", [(1, 8, 10, 10), (16, 4, 3, 3), (16,)], (1, 16, 8, 8), {"group": 2}, 1024 * 36, None),
    ("ConvInteger", [(1, 8, 10, 10), (16, 8, 3, 3)], (1, 16, 8, 8), {}, 1024 * 72, None),
    ("QLinearConv", [(1, 8, 4, 4), (), (), (2, 8, 1, 1)], (1, 2, 4, 4), {}, 32 * 8, None),
    ("ConvTranspose", [(1, 8, 4, 4), (8, 3, 2, 2)], (1, 3, 8, 8), {}, 128 * 12, None),
    ("Gemm", [(5, 7), (7, 3)], (5, 3), {}, 105, None),
    ("Gemm", [(7, 5), (3, 7)], (5, 3), {"transA": 1, "transB": 1}, 105, None),
    ("MatMul", [(2, 4, 5, 7), (7, 3)], (2, 4, 5, 3), {}, 840, None),
    ("MatMul", [(7,), (7,)], (), {}, 7, None),
    ("Einsum", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), {"equation": "bij, bjk -> bik"}, 120, None),
    (
        "Attention",
        [(2, 4, 6, 8), (2, 2, 9, 8), (2, 2, 9, 5)],
        (2, 4, 6, 5),
        {},
        432 * 13,
        432 * 31,
    ),
    (
        "Attention",
        [(2, 6, 32), (2, 9, 16), (2, 9, 10)],
        (2, 6, 20),
        {"q_num_heads": 4, "kv_num_heads": 2},
        432 * 13,
        432 * 31,
    ),
    ("LSTM", [(5, 2, 3), (1, 16, 3), (1, 16, 4)], (5, 1, 2, 4), {}, 10 * 4 * 4 * 7, None),
    ("GRU", [(5, 2, 3), (2, 12, 3), (2, 12, 4)], (5, 2, 2, 4), {}, 20 * 3 * 4 * 7, None),
    ("Relu", [(2, 3)], (2, 3), {}, 0, 6),
    ("Add", [(2, 3), (3,)], (2, 3), {}, 0, 6),
    ("Sum", [(4,), (4,), (4,)], (4,), {}, 0, 8),
    ("Mean", [(4,), (4,), (4,)], (4,), {}, 0, 12),
    ("Softmax", [(2, 5)], (2, 5), {}, 0, 50),
    ("BatchNormalization", [(1, 3, 2, 2), (3,), (3,), (3,), (3,)], (1, 3, 2, 2), {}, 0, 24),
    ("LayerNormalization", [(2, 5), (5,)], (2, 5), {}, 0, 70),
    ("LRN", [(1, 8, 2, 2)], (1, 8, 2, 2), {"size": 5}, 0, 288),
    ("MaxPool", [(1, 3, 8, 8)], (1, 3, 4, 4), {"kernel_shape": (3, 3)}, 0, 432),
    ("GlobalAveragePool", [(1, 3, 8, 8)], (1, 3, 1, 1), {}, 0, 192),
    ("ReduceMean", [(2, 10)], (2,), {}, 0, 20),
    ("ReduceL2", [(2, 10)], (2,), {}, 0, 40),
    ("QuantizeLinear", [(10,), (), ()], (10,), {}, 0, 40),
    ("Resize", [(1, 1, 4, 4)], (1, 1, 8, 8), {"mode": "nearest"}, 0, 0),
    ("Resize", [(1, 1, 4, 4)], (1, 1, 8, 8), {"mode": "linear"}, 0, 512),
    ("Resize", [(1, 1, 4, 4)], (1, 1, 4, 8), {"mode": "cubic"}, 0, 256),
    ("Reshape", [(2, 3), (1,)], (6,), {}, 0, 0),
    ("Concat", [(2, 3), (2, 3)], (4, 3), {}, 0, 0),
    ("Relu", [(2, 0)], (2, 0), {}, 0, 0),
]


@pytest.mark.parametrize(("op", "inputs", "output", "attributes", "macs", "flops"), CASES)
def test_rules(op, inputs, output, attributes, macs, flops):
    found = cost(op, inputs, output, **attributes)
    assert found.macs == macs
    assert found.flops == (2 * macs if flops is None else flops)


@pytest.mark.parametrize(
    ("op", "inputs", "output", "more"),
    [
        ("Loop", [(1,)], (1,), {}),
        ("NonMaxSuppression", [(1, 4, 4)], (2, 3), {}),
        ("FusedMatMul", [(2, 3), (3, 4)], (2, 4), {"domain": "com.microsoft"}),
        ("Relu", [("N", 3)], ("N", 3), {}),
        ("Relu", [None], None, {}),
        ("MatMul", [(2, "K"), ("K", 3)], (2, 3), {}),
        ("MaxPool", [(1, 3, 8, 8)], (1, 3, 4, 4), {}),
        ("Einsum", [(2, 3), (3, 4), (4, 5)], (2, 5), {"equation": "ab,bc,cd->ad"}),
        ("Einsum", [(2, 3), (3, 4)], (2, 4), {"equation": "...b,bc->...c"}),
        ("Resize", [(4, 4)], (8, 8), {"mode": "new"}),
        ("Gemm", [(), (7, 3)], (5, 3), {}),
        ("Conv", [(1, 8, 4, 4)], (1, 8, 4, 4), {}),
    ],
)
def test_what_is_not_known_is_none_and_never_zero(op, inputs, output, more):
    found = cost(op, inputs, output, **more)
    assert found.macs is None
    assert found.flops is None


def test_nothing_moves_without_arithmetic_even_when_shapes_are_unknown():
    assert cost("Reshape", [None, (2,)], None).flops == 0


def test_named_axes_take_their_sizes():
    found = cost("MatMul", [("N", 4), (4, 3)], ("N", 3), sizes={"N": 8})
    assert (found.macs, found.flops) == (96, 192)
    assert (found.bytes_read, found.bytes_written) == (4 * (32 + 12), 4 * 24)


@pytest.mark.parametrize(
    ("op", "inputs", "output", "dtype", "read", "written"),
    [
        ("Add", [(2, 3), (3,)], (2, 3), "float32", 36, 24),
        ("Relu", [(7,)], (7,), "int4", 4, 4),
        ("Relu", [(7,)], (7,), "float8_e4m3fn", 7, 7),
        ("Not", [(7,)], (7,), "bool", 7, 7),
        ("Relu", [(7,)], (7,), "bfloat16", 14, 14),
        ("Relu", [(7,)], (7,), None, None, None),
        ("Relu", [(7,)], ("N",), "float32", 28, None),
        ("Reshape", [(2, 3), (1,)], (6,), "float32", 0, 0),
        ("Shape", [("N", 3)], (2,), "int64", 0, 16),
        ("Gather", [(1000, 8), (2,)], (2, 8), "float32", 64 + 8, 64),
        ("Custom", [(2,)], (2,), "float32", 8, 8),
    ],
)
def test_bytes(op, inputs, output, dtype, read, written):
    found = cost(op, inputs, output, dtype=dtype)
    assert (found.bytes_read, found.bytes_written) == (read, written)


def test_an_input_used_twice_is_read_once():
    tensors = {n: Tensor(n, "float32", (4,)) for n in "xy"}
    node = Node("sq", "Mul", ("x", "x"), ("y",))
    assert node_costs(Graph("g", (node,), tensors, ("x",), ("y",)))[0].bytes_read == 16


def test_total_counts_what_is_missing():
    found = total(
        [
            NodeCost("a", "Gemm", 5, 10, 7, 1),
            NodeCost("b", "Relu", 0, 3, None, 2),
            NodeCost("c", "Loop", None, None, None, None),
        ]
    )
    assert (found.macs, found.flops, found.bytes_read, found.bytes_written) == (5, 13, 7, 3)
    assert (found.unknown_flops, found.unknown_bytes) == (1, 2)
    assert found.origin == "estimated"
    assert total([]).flops == 0


# Against onnx_tool


def transformer():
    """An attention block of two heads and an MLP in MatMuls; batch and length are dynamic."""
    rng = np.random.default_rng(0)
    weights = {n: rng.normal(size=(64, 64)).astype("f4") for n in ("wq", "wk", "wv", "wo")}
    weights |= {"w1": rng.normal(size=(64, 256)).astype("f4"), "w2": np.ones((256, 64), "f4")}
    weights |= {"heads": np.array([0, 0, 2, 32]), "join": np.array([0, 0, 64])}
    nodes = []
    for letter, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            helper.make_node("MatMul", ["x", f"w{letter}"], [f"{letter}0"]),
            helper.make_node("Reshape", [f"{letter}0", "heads"], [f"{letter}1"]),
            helper.make_node("Transpose", [f"{letter}1"], [letter], perm=perm),
        ]
    nodes += [
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"]),
        helper.make_node("MatMul", ["p", "v"], ["c0"]),
        helper.make_node("Transpose", ["c0"], ["c1"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["c1", "join"], ["c"]),
        helper.make_node("MatMul", ["c", "wo"], ["o"]),
        helper.make_node("Add", ["o", "x"], ["r"]),
        helper.make_node("MatMul", ["r", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["ha"]),
        helper.make_node("MatMul", ["ha", "w2"], ["y"]),
    ]
    for index, node in enumerate(nodes):
        node.name = f"n{index}"
    shape = ["N", "L", 64]
    graph = helper.make_graph(
        nodes,
        "block",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def macs_of_onnx_tool(source, ops, inputs=None):
    """Its MACs without bias, which it counts as one MAC per output element."""
    graph = onnx_tool.loadmodel(source, {"verbose": False}).graph
    graph.shape_infer(inputs)
    graph.profile()
    found = 0
    for node in graph.nodemap.values():
        if node.op_type in ops:
            found += node.macs[0] if isinstance(node.macs, list | tuple) else node.macs
            biased = node.op_type in ("Conv", "Gemm") and len(node.input) > 2
            found -= np.prod(graph.tensormap[node.output[0]].get_shape()) if biased else 0
    return found


def test_a_transformer_block_agrees_with_onnx_tool():
    proto = transformer()
    graph = with_shapes(proto, {"x": (3, 10, 64)})
    costs = node_costs(graph)
    theirs = macs_of_onnx_tool(proto, ["MatMul"], {"x": np.zeros((3, 10, 64), "f4")})
    by_hand = 30 * (4 * 64 * 64 + 2 * 64 * 256) + 2 * 3 * 2 * 10 * 10 * 32
    assert total(costs).macs == by_hand
    assert theirs == pytest.approx(by_hand, rel=1e-3)
    assert total(costs).unknown_flops == 0
    assert total(costs).unknown_bytes == 0


def test_symbolic_and_concrete_graphs_agree():
    proto = transformer()
    named = node_costs(graph_from_proto(proto), {"N": 3, "L": 10})
    assert named == node_costs(with_shapes(proto, {"x": (3, 10, 64)}))


@pytest.mark.native
@pytest.mark.parametrize("name", ["resnet50", "squeezenet", "shufflenet"])
def test_light_models_agree_with_onnx_tool(name):
    path = LIGHT / f"light_{name}.onnx"
    costs = node_costs(read_graph(path, {}))
    theirs = macs_of_onnx_tool(str(path), ["Conv", "Gemm", "MatMul"])
    assert total(costs).macs == pytest.approx(theirs, rel=1e-3)
    assert total(costs).unknown_flops == 0
