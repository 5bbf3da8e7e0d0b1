"""Before softmax where both graphs allow it, and said so where not."""

import pytest

from trtlab.analysis.compared_tensors import compared_tensors, computing_nodes
from trtlab.model.types import Graph, Node, Tensor


def ending(*ops, dtype="float32"):
    """A graph of one chain: x → t0 → … with the given operators."""
    names = ["x", *(f"t{i}" for i in range(len(ops)))]
    nodes = tuple(Node(f"n{i}", op, (names[i],), (names[i + 1],)) for i, op in enumerate(ops))
    tensors = {n: Tensor(n, dtype, ("N", 4)) for n in names}
    return Graph("g", nodes, tensors, ("x",), (names[-1],))


@pytest.mark.parametrize(
    ("model", "reference", "tensor", "other", "stage"),
    [
        (("Gemm", "Softmax"), ("Gemm", "Softmax"), "t0", "t0", "before softmax"),
        (("Gemm", "DequantizeLinear", "Softmax", "QuantizeLinear", "DequantizeLinear"),
         ("Gemm", "Softmax", "Reshape"), "t1", "t0", "before softmax"),
        (("Gemm", "LogSoftmax", "Cast"), ("Gemm", "LogSoftmax"), "t0", "t0", "before softmax"),
        (("Gemm",), ("Gemm",), "t0", "t0", "as they are"),
        (("Softmax",), ("Softmax",), "t0", "t0", "probabilities"),
        (("LogSoftmax",), ("LogSoftmax",), "t0", "t0", "as they are"),
    ],
)  # fmt: skip
def test_what_is_compared(model, reference, tensor, other, stage):
    (pair,) = compared_tensors(ending(*model), ending(*reference))
    assert (pair.tensor, pair.reference, pair.stage) == (tensor, other, stage)


def test_a_softmax_of_whole_numbers_has_no_input_to_compare():
    fused = ending("QLinearConv", "QLinearSoftmax", dtype="int8")
    (pair,) = compared_tensors(fused, ending("Gemm", "Softmax"))
    assert (pair.tensor, pair.reference, pair.stage) == ("t1", "t1", "probabilities")


def test_arrays_are_compared_with_the_outputs():
    (pair,) = compared_tensors(ending("Gemm", "Softmax"), None)
    assert (pair.tensor, pair.reference, pair.stage) == ("t1", "t1", "probabilities")


def test_nodes_that_move_values_do_not_round():
    assert computing_nodes(ending("Gemm", "Reshape", "QuantizeLinear", "Relu", "Softmax")) == 3
