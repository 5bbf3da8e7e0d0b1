"""Arithmetic and memory traffic of each node, from shapes alone: an estimate, not a measurement.

What counts as one operation is a convention. A multiply-accumulate (MAC) is two operations, as in
vendors' peak figures; many papers print MACs and call them FLOPs. Bias is left out of the MAC
operators (onnx_tool counts it as one more MAC per output element; otherwise the two agree).

==============================  =========================================================
operators                       rule (out, in: number of elements)
==============================  =========================================================
Conv and its integer forms      MAC = out x input channels per group x kernel
ConvTranspose                   MAC = in x output channels per group x kernel
Gemm, MatMul and integer forms  MAC = out x length of the summed axis
Einsum of two operands          MAC = product of all index sizes
Attention                       MAC = scores x (query + value size); 5 more per score (softmax)
LSTM, GRU, RNN                  MAC = steps x batch x directions x gates x hidden x
                                (input + hidden); gates 4, 3, 1; activations left out
elementwise                     1 per output element, whatever the function costs in hardware;
                                Sum, Mean, Max, Min of n inputs: n - 1 (Mean: n)
Softmax, LogSoftmax             5 per element: maximum, subtract, exponential, sum, divide
BatchNormalization              2 per element: scale and shift are known before
Layer, Instance, GroupNorm      7 per element: two sums, subtract, square, divide, scale, shift
RMSNormalization                4 per element: square, sum, divide, scale
LpNormalization                 3 per element: power, sum, divide
LRN                             window + 4 per element
pooling                         kernel size per output element; global pooling: 1 per input
reductions, ArgMax, ArgMin      1 per input element; 2 where each is squared or raised first
CumSum, CumProd                 1 per element
QuantizeLinear                  4 per element: divide, round, add, clamp
DequantizeLinear                2 per element: subtract, multiply
DynamicQuantizeLinear           6 per element: minimum, maximum, and the 4 above
Resize, Upsample                0 for nearest; else 2 x taps per output element, where each
                                resized axis multiplies the taps by 2 (linear) or 4 (cubic)
moving and naming data          0: Reshape, Concat, Transpose, Gather, Cast, Pad, Where …
==============================  =========================================================

Everything else (control flow, other domains, data-dependent operators) is unknown: None, never 0.

Bytes are what a node would move if it ran alone and read and wrote each tensor once: a fused
engine moves less. Views (Reshape, Squeeze …) move nothing; Gather and Slice read what they take.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod

from trtlab.model.types import Graph, Node

_Shape = tuple[int, ...]

_VIEWS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Constant"}
_NAMING = {"Shape", "Size"}
"""Operators that look at a shape and never at the data."""
_PICKING = {"Gather", "GatherElements", "GatherND", "Slice"}
_MOVING = {
    "Cast", "CastLike", "Compress", "Concat", "ConstantOfShape", "DepthToSpace", "Expand",
    "EyeLike", "NonZero", "OneHot", "Pad", "Range", "ReverseSequence", "SpaceToDepth", "Split",
    "Tile", "Transpose", "Trilu", "Where",
}  # fmt: skip

ELEMENTWISE = {
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift",
    "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Ceil", "Celu", "Clip", "Cos", "Cosh",
    "CumProd", "CumSum", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater",
    "GreaterOrEqual", "HardSigmoid", "HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Less",
    "LessOrEqual", "Log", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal",
    "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign",
    "Sqrt", "Sub", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Xor",
}  # fmt: skip
"""Operators that work element by element."""

_PER_OUTPUT = {
    **dict.fromkeys(ELEMENTWISE, 1),
    **dict.fromkeys(_VIEWS | _NAMING | _PICKING | _MOVING, 0),
    **dict.fromkeys(["Softmax", "LogSoftmax"], 5),
    **dict.fromkeys(["LayerNormalization", "InstanceNormalization", "GroupNormalization"], 7),
    "BatchNormalization": 2,
    "RMSNormalization": 4,
    "LpNormalization": 3,
    "QuantizeLinear": 4,
    "DequantizeLinear": 2,
    "DynamicQuantizeLinear": 6,
}
"""Operations for each element of the first output."""

_PER_INPUT = {
    **dict.fromkeys(["GlobalAveragePool", "GlobalMaxPool", "ArgMax", "ArgMin"], 1),
    **dict.fromkeys(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"], 1),
    **dict.fromkeys(["ReduceL1", "ReduceLogSum"], 1),
    **dict.fromkeys(["ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "GlobalLpPool"], 2),
}
"""Operations for each element of the first input."""


@dataclass(frozen=True, slots=True)
class NodeCost:
    """What one node computes and moves; None where that is unknown.

    Attributes:
        node: Name of the node.
        op: Its operator.
        macs: Multiply-accumulates of the matrix-like operators; 0 for all others.
        flops: Operations, two for each MAC.
        bytes_read: Bytes of inputs and weights.
        bytes_written: Bytes of outputs.
    """

    node: str
    op: str
    macs: int | None
    flops: int | None
    bytes_read: int | None
    bytes_written: int | None


@dataclass(frozen=True, slots=True)
class Total:
    """Sums over the nodes whose cost is known, and how many are left out of each sum.

    Attributes:
        macs: Multiply-accumulates.
        flops: Operations.
        bytes_read: Bytes read.
        bytes_written: Bytes written.
        unknown_flops: Nodes whose operations are unknown.
        unknown_bytes: Nodes whose traffic is unknown.
        origin: Where the numbers come from: a model of ours, not a measurement.
    """

    macs: int
    flops: int
    bytes_read: int
    bytes_written: int
    unknown_flops: int
    unknown_bytes: int
    origin: str = "estimated"


def node_costs(graph: Graph, sizes: Mapping[str, int] | None = None) -> tuple[NodeCost, ...]:
    """Cost of every node of a graph, in order; nodes inside subgraphs are not listed.

    Axes that shape inference left anonymous stay unknown: pass a graph made for concrete shapes
    (``trtlab.model.reading.read_graph``) to have as few of them as possible.

    Args:
        graph: The graph.
        sizes: Sizes of named dynamic axes, such as ``{"N": 8}``.
    """
    shapes: dict[str, _Shape] = {}
    bits: dict[str, int] = {}
    for name, tensor in graph.tensors.items():
        dims = [(sizes or {}).get(d) if isinstance(d, str) else d for d in tensor.shape or (None,)]
        known = tuple(d for d in dims if d is not None)
        if tensor.shape == () or len(known) == len(dims):
            shapes[name] = () if tensor.shape == () else known
        if (width := bits_of(tensor.dtype)) is not None:
            bits[name] = width
    return tuple(_cost(node, shapes, bits) for node in graph.nodes)


def bits_of(dtype: str | None) -> int | None:
    """Return the width of a data type, None where its name does not tell."""
    if dtype == "bool":
        return 8
    found = re.search(r"\d+", dtype or "")
    return int(found[0]) if found else None


def total(costs: Iterable[NodeCost]) -> Total:
    """Add up what is known and count what is not."""
    costs = tuple(costs)
    return Total(
        macs=sum(c.macs or 0 for c in costs),
        flops=sum(c.flops or 0 for c in costs),
        bytes_read=sum(c.bytes_read or 0 for c in costs),
        bytes_written=sum(c.bytes_written or 0 for c in costs),
        unknown_flops=sum(c.flops is None for c in costs),
        unknown_bytes=sum(c.bytes_read is None or c.bytes_written is None for c in costs),
    )


def _cost(node: Node, shapes: Mapping[str, _Shape], bits: Mapping[str, int]) -> NodeCost:
    macs, flops = _arithmetic(node, shapes)
    read, written = _traffic(node, shapes, bits)
    return NodeCost(node.name, node.op, macs, flops, read, written)


def _arithmetic(node: Node, shapes: Mapping[str, _Shape]) -> tuple[int | None, int | None]:
    """MACs and operations; None where an operator or a needed shape is unknown."""
    if node.domain or node.subgraphs:
        return None, None
    try:
        if node.op in _MACS:
            macs = _MACS[node.op](_View(node, shapes))
            if macs is None:
                return None, None
            scores = _attention(_View(node, shapes))[0] if node.op == "Attention" else 0
            return macs, 2 * macs + 5 * scores
        flops = _flops(_View(node, shapes))
    except (_Unknown, IndexError, ValueError, ArithmeticError):  # a shape of another rank
        return None, None
    return (None, None) if flops is None else (0, flops)


class _Unknown(Exception):  # noqa: N818 - a shape that the rule needs is not known
    """A shape or attribute that a rule needs is not known."""


@dataclass(frozen=True, slots=True)
class _View:
    """A node with its shapes at hand."""

    node: Node
    shapes: Mapping[str, _Shape]

    def input(self, index: int) -> _Shape:
        if not self.has(index):
            raise _Unknown
        return self._shape(self.node.inputs[index])

    def output(self) -> _Shape:
        return self._shape(self.node.outputs[0])

    def has(self, index: int) -> bool:
        return len(self.node.inputs) > index and bool(self.node.inputs[index])

    def number(self, name: str, default: int | None = None) -> int:
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            raise _Unknown
        return value

    def _shape(self, name: str) -> _Shape:
        if name not in self.shapes:
            raise _Unknown
        return self.shapes[name]


def _flops(view: _View) -> int | None:
    op = view.node.op
    if op in _PER_OUTPUT:
        factor = _PER_OUTPUT[op]
        return factor * prod(view.output()) if factor else 0
    if op in _PER_INPUT:
        return _PER_INPUT[op] * prod(view.input(0))
    if op in ("Sum", "Max", "Min", "Mean"):
        return (len(view.node.inputs) - (op != "Mean")) * prod(view.output())
    if op in ("MaxPool", "AveragePool", "LpPool"):
        kernel = view.node.attributes.get("kernel_shape")
        return prod(view.output()) * prod(_ints(kernel))
    if op == "LRN":
        return (view.number("size") + 4) * prod(view.output())
    if op in ("Resize", "Upsample"):
        return _resize(view)
    return None


def _ints(value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple) or not all(isinstance(v, int) for v in value):
        raise _Unknown
    return value


def _resize(view: _View) -> int | None:
    taps = {"nearest": 0, "linear": 2, "cubic": 4}.get(
        str(view.node.attributes.get("mode", "nearest"))
    )
    if taps is None:
        return None
    axes = sum(a != b for a, b in zip(view.input(0), view.output(), strict=True))
    return 2 * taps**axes * prod(view.output()) if taps else 0


def _conv(weight: int) -> Callable[[_View], int]:
    return lambda view: prod(view.output()) * prod(view.input(weight)[1:])


def _conv_transpose(view: _View) -> int:
    return prod(view.input(0)) * prod(view.input(1)[1:])


def _gemm(view: _View) -> int:
    inner = view.input(0)[0 if view.number("transA", 0) else 1]
    return prod(view.output()) * inner


def _matmul(view: _View) -> int:
    return prod(view.output()) * view.input(0)[-1]


def _einsum(view: _View) -> int | None:
    terms = str(view.node.attributes.get("equation", "")).replace(" ", "").split("->")[0]
    operands = terms.split(",")
    if "..." in terms or len(operands) != 2:
        return None
    sizes: dict[str, int] = {}
    for index, letters in enumerate(operands):
        sizes |= dict(zip(letters, view.input(index), strict=True))
    return prod(sizes.values())


def _attention(view: _View) -> tuple[int, int]:
    """Number of scores, and the MACs for each: query times key, score times value."""
    query, key, value = (view.input(i) for i in range(3))
    past = view.input(4)[2] if view.has(4) else 0
    if len(query) == 4:
        batch, heads, steps, width = query
        return batch * heads * steps * (key[2] + past), width + value[3]
    batch, steps, hidden = query
    heads, kv_heads = view.number("q_num_heads"), view.number("kv_num_heads")
    return batch * heads * steps * (key[1] + past), hidden // heads + value[2] // kv_heads


def _attention_macs(view: _View) -> int:
    scores, each = _attention(view)
    return scores * each


def _recurrent(gates: int) -> Callable[[_View], int]:
    def macs(view: _View) -> int:
        directions, _, inputs = view.input(1)
        hidden = view.input(2)[2]
        return prod(view.input(0)[:2]) * directions * gates * hidden * (inputs + hidden)

    return macs


_MACS: dict[str, Callable[[_View], int | None]] = {
    "Conv": _conv(1),
    "ConvInteger": _conv(1),
    "QLinearConv": _conv(3),
    "DeformConv": _conv(1),
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Einsum": _einsum,
    "Attention": _attention_macs,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "RNN": _recurrent(1),
}


def _traffic(
    node: Node, shapes: Mapping[str, _Shape], bits: Mapping[str, int]
) -> tuple[int | None, int | None]:
    """Bytes read and written; None where a size is unknown or control flow hides it."""
    if node.subgraphs:
        return None, None
    if not node.domain and node.op in _VIEWS:
        return 0, 0

    def size(names: Iterable[str]) -> int | None:
        known = [
            -(-prod(shapes[name]) * bits[name] // 8) if name in shapes and name in bits else None
            for name in {name for name in names if name}
        ]
        whole = [k for k in known if k is not None]
        return sum(whole) if len(whole) == len(known) else None

    written = size(node.outputs)
    if not node.domain and node.op in _NAMING:
        return 0, written
    if not node.domain and node.op in _PICKING:
        settings = size(node.inputs[1:])
        taken = None if written is None or settings is None else written + settings
        return taken, written
    return size(node.inputs), written
