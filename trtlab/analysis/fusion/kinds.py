"""What each layer is: its family (for its colour) and the fusions it shows, by the field's names.

=======================  ==================================================================
pattern                  rule
=======================  ==================================================================
vertical fusion          a convolution or matrix product with a node before or behind it
pointwise chain          two or more nodes, all of which work element by element
reduction fusion         two or more nodes with a normalisation, softmax, pooling or
                         reduction, without a convolution or product
data movement fusion     two or more other nodes, without a convolution or product
residual add             a convolution or product with an Add whose other input comes from
                         outside the layer and is no constant
horizontal merge         two convolutions or products, neither of which needs the other
concatenation in place   it writes a slice of what a Concat would have made
q/dq folded              a QuantizeLinear or DequantizeLinear beside another node, and a
                         small data type among the layer's tensors
reformat or cast         no node but a copy in another format, order or data type; or a Cast
own stream               it has nodes and runs beside the stream of most layers
opaque region            the builder does not say what is in it
=======================  ==================================================================

Of a layer that Myelin made its name says what it computes (``__myl_AddMaxrSubExpSumDiv``). Where
no step in it is a product, none of its nodes counts as one: of a Gemm before a Softmax only the
bias is added there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from trtlab.analysis.flops import ELEMENTWISE
from trtlab.analysis.fusion.names import LayerName
from trtlab.analysis.fusion.proofs import moves_nothing
from trtlab.analysis.fusion.wiring import Wiring
from trtlab.record import EngineLayer, Family, Fate, Pattern

CONVOLUTIONS = frozenset(
    {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv", "FusedConv"}
)
PRODUCTS = frozenset(
    {
        "Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "Einsum", "Attention", "FusedGemm",
        "FusedMatMul", "QGemm", "MultiHeadAttention", "LSTM", "GRU", "RNN",
    }
)  # fmt: skip
ANCHORS = CONVOLUTIONS | PRODUCTS
"""What other nodes are fused with."""
QUANTISERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
ADDS = frozenset({"Add", "Sum"})

MOVES = frozenset(
    {
        # TensorRT 8 to 10
        "Reformat", "NoOp", "Shuffle", "Slice", "Padding", "Concatenation", "Cast",
        # ONNX Runtime
        "ReorderInput", "ReorderOutput", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze",
        "Concat", "Identity",
    }
)  # fmt: skip
"""Types of layers that only bring data into another form or place."""
MOVING_STEPS = frozenset({"Move", "Tran", "Resh", "Cast", "Conc", "Slic", "Copy", "Bcas", "Pad",
                           "Repl"})  # fmt: skip
"""What Myelin calls a step that moves data (seen: TensorRT 10.16, TensorRT-RTX 1.7)."""
REGIONS = frozenset({"Myelin", "ForeignNode"})
"""Types of layers that the builder does not open."""
PRODUCT_STEPS = frozenset({"Corr", "Conv", "Fc", "Gemm", "Matm", "Mm", "Bmm", "Dot"})
"""What Myelin calls a convolution or product (``Corr`` and ``Fc`` were seen)."""
_POINTWISE = frozenset({"BatchNormalization", "Cast", "Clip", "Where", "Identity", "Dropout",
                        "QuantizeLinear", "DequantizeLinear", "Sum", "Max", "Min",
                        "Mean"})  # fmt: skip
_REDUCING = frozenset(
    {
        "Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization", "LRN",
        "GroupNormalization", "RMSNormalization", "LpNormalization", "SkipLayerNormalization",
        "GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "ArgMax", "ArgMin", "TopK",
        "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
        "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "CumSum",
    }
)  # fmt: skip
_SYNCHRONISING = frozenset({"signal", "wait", "shape_call", "barrier", "Signal", "Wait"})


def family(
    layer: EngineLayer,
    name: LayerName,
    nodes: Sequence[str],
    wiring: Wiring,
    *,
    is_region: bool,
) -> Family:
    """Return what a layer is, by the operators of its nodes or, without any, by its type."""
    if is_region:
        return "opaque"
    if layer.type in _SYNCHRONISING:
        return "sync, shape"
    if moves_only(layer, name) and (not nodes or name.role == "copy"):
        return "data movement"
    if not nodes:
        return "not named"
    anchors = {wiring.nodes[node].op for node in _anchors(name, nodes, wiring)}
    if not PRODUCTS.isdisjoint(anchors):
        return "matrix product"
    if len(nodes) == 1:
        return "kept 1:1"
    return "conv chain" if anchors else "pointwise chain"


def moves_only(layer: EngineLayer, name: LayerName) -> bool:
    """Whether a layer only brings data into another form or place, by its type and name."""
    steps = set(name.operations)
    if steps:
        return steps <= MOVING_STEPS
    return layer.type in MOVES or name.role in ("reformat", "copy")


def patterns(
    layer: EngineLayer,
    name: LayerName,
    nodes: Sequence[str],
    folded: Sequence[str],
    wiring: Wiring,
    *,
    is_region: bool,
) -> list[Pattern]:
    """Return the fusions that a layer shows by its nodes; see the module's table.

    Args:
        layer: The layer.
        name: Its name, taken apart.
        nodes: The nodes in it.
        folded: Nodes whose result is among its constants.
        wiring: The graph.
        is_region: Whether the builder does not open it.
    """
    if is_region:
        return ["opaque region"]
    if not nodes:
        return ["reformat or cast"] if moves_only(layer, name) else []
    held = set(nodes)
    real = [node for node in nodes if not moves_nothing(wiring.nodes[node], wiring)]
    ops = {wiring.nodes[node].op for node in real}
    anchors = _anchors(name, nodes, wiring)
    if not anchors:  # of a product at most the bias and the scale are here
        ops -= ANCHORS
    found: list[Pattern] = []
    if len(real) > 1:
        found += _of_several(real, ops, anchors)
    if anchors and any(_adds_from_outside(node, held, wiring) for node in nodes):
        found.append("residual add")
    if _side_by_side(set(anchors), held, wiring):
        found.append("horizontal merge")
    quantises = {wiring.nodes[n].op for n in (*nodes, *folded)} & QUANTISERS
    if quantises and ops - QUANTISERS and _has_small_type(layer):
        found.append("q/dq folded")
    if ops == {"Cast"}:
        found.append("reformat or cast")
    return found


def _of_several(real: Sequence[str], ops: set[str], anchors: Sequence[str]) -> list[Pattern]:
    if anchors:
        return ["vertical fusion"] if len(real) > len(anchors) else []
    if ops <= ELEMENTWISE | _POINTWISE:
        return ["pointwise chain"]
    return ["reduction fusion"] if not ops.isdisjoint(_REDUCING) else ["data movement fusion"]


def _anchors(name: LayerName, nodes: Sequence[str], wiring: Wiring) -> list[str]:
    """Return the convolutions and products among a layer's nodes, if it computes one."""
    steps = set(name.operations)
    if steps and steps.isdisjoint(PRODUCT_STEPS):
        return []
    return [node for node in nodes if wiring.nodes[node].op in ANCHORS]


def _has_small_type(layer: EngineLayer) -> bool:
    """Whether a quantised type is among a layer's tensors, or some type is not known."""
    types = [t.dtype for t in (*layer.inputs, *layer.outputs, *layer.constants)]
    return any(t is None or is_small(t) for t in types)


def is_small(dtype: str) -> bool:
    """Whether values are quantised to this data type."""
    return dtype.startswith(("int8", "uint8", "int4", "uint4", "float8", "float4"))


def slice_writers(fates: Sequence[Fate]) -> set[int]:
    """Return the layers that write slices of what a Concat would have made."""
    return {n for fate in fates if fate.rule == "written in place" for n in fate.layers}


def main_stream(layers: Sequence[EngineLayer]) -> int | None:
    """Return the stream that most layers run on; None if the builder names at most one."""
    streams = Counter(layer.stream for layer in layers if layer.stream is not None)
    return streams.most_common(1)[0][0] if len(streams) > 1 else None


def _adds_from_outside(node: str, held: set[str], wiring: Wiring) -> bool:
    if wiring.nodes[node].op not in ADDS:
        return False
    inside = [wiring.writer.get(t) in held for t in wiring.data_inputs(node)]
    return any(inside) and not all(inside)


def _side_by_side(anchors: set[str], held: set[str], wiring: Wiring) -> bool:
    """Whether two of them do not depend on each other; ways outside the layer cannot be.

    They all do, one on the other, if one way leads through all of them.
    """
    longest: dict[str, int] = {}
    for node in sorted(held, key=wiring.order.__getitem__):
        before = [longest[n] for n in wiring.before(node) if n in longest]
        longest[node] = max(before, default=0) + (node in anchors)
    return max(longest.values(), default=0) < len(anchors)
