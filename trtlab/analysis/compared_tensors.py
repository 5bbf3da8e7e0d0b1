"""Which tensors of two networks are compared: outputs, or better what goes into a softmax."""

from __future__ import annotations

from dataclasses import dataclass

from trtlab.model.types import Graph
from trtlab.record import Stage

_FLOATS = ("float16", "float32", "float64")

_MOVING = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose",
           "Dropout", "Slice", "Gather", "Concat", "Split", "Expand", "Pad", "Shape", "Constant",
           "QuantizeLinear", "DequantizeLinear")  # fmt: skip
"""Operators that compute no new number, or whose rounding belongs to the node beside them."""

_THROUGH = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "DequantizeLinear",
            "QuantizeLinear", "Dropout")  # fmt: skip
"""Operators between a softmax and the output that leave it a softmax."""

_SOFTMAX = ("Softmax", "LogSoftmax", "QLinearSoftmax")


@dataclass(frozen=True, slots=True)
class Compared:
    """One output with the tensors that are compared, of either model.

    Attributes:
        tensor: Of the model; ``reference`` of the reference.
    """

    name: str
    tensor: str
    reference: str
    stage: Stage


@dataclass(frozen=True, slots=True)
class _End:
    """How an output is made: by which softmax, and from which tensor if that can be marked."""

    softmax: str | None
    before: str | None


def compared_tensors(model: Graph, reference: Graph | None) -> tuple[Compared, ...]:
    """Pair the outputs of two graphs by their position.

    A saturated softmax hides errors. Where both graphs end in one, its inputs are compared; not
    where one of them is no float tensor that a node writes, as in a plan that fused the softmax
    with its quantisation.

    Args:
        model: The model's graph.
        reference: The reference's, with as many outputs; None where arrays were given.
    """
    names = model.outputs if reference is None else reference.outputs
    pairs = []
    for own, other in zip(model.outputs, names, strict=True):
        end = _end_of(model, own)
        before = None if reference is None else _end_of(reference, other).before
        if end.before is not None and before is not None:
            pairs.append(Compared(own, end.before, before, "before softmax"))
        else:
            # The logarithm of probabilities is for the divergence what any other scores are.
            is_share = end.softmax is not None and end.softmax != "LogSoftmax"
            stage: Stage = "probabilities" if is_share else "as they are"
            pairs.append(Compared(own, own, other, stage))
    return tuple(pairs)


def _end_of(graph: Graph, output: str) -> _End:
    writers = {name: node for node in graph.nodes for name in node.outputs if name}
    node = writers.get(output)
    while node is not None and node.op in _THROUGH:
        node = writers.get(node.inputs[0])
    if node is None or node.op not in _SOFTMAX:
        return _End(None, None)
    before = node.inputs[0]
    usable = before in writers and graph.tensors[before].dtype in _FLOATS
    return _End(node.op, before if usable else None)


def computing_nodes(graph: Graph) -> int:
    """Return how many nodes compute new numbers, each of which rounds."""
    return sum(node.op not in _MOVING for node in graph.nodes)
