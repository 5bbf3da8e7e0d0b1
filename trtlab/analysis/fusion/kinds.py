"""What each layer is: its family (for its colour) and the fusions it shows, by the field's names.

=======================  ==================================================================
pattern                  rule
=======================  ==================================================================
vertical fusion          a convolution or matrix product with a node before or behind it
pointwise chain          two or more nodes, none of them a convolution or matrix product
residual add             a convolution or product with an Add whose other input comes from
                         outside the layer and is no constant
horizontal merge         two convolutions or products, neither of which needs the other
concatenation in place   it writes a slice of what a Concat would have made
q/dq folded              a QuantizeLinear or DequantizeLinear beside another node
reformat or cast         no node but a copy in another format, order or data type; or a Cast
own stream               it has nodes and runs beside the stream of most layers
opaque region            the builder does not say what is in it
=======================  ==================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from trtlab.analysis.fusion.names import parse
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
_MOVING_STEPS = frozenset({"Move", "Tran", "Resh", "Cast", "Conc", "Slic", "Copy", "Bcas", "Pad"})
"""What Myelin calls a step that moves data (seen: TensorRT 10.16, TensorRT-RTX 1.7)."""
REGIONS = frozenset({"Myelin", "ForeignNode"})
"""Types of layers that the builder does not open."""
_SYNCHRONISING = frozenset({"signal", "wait", "shape_call", "barrier", "Signal", "Wait"})


def family(layer: EngineLayer, nodes: Sequence[str], wiring: Wiring, *, is_region: bool) -> Family:
    """Return what a layer is, by the operators of its nodes or, without any, by its type."""
    if is_region:
        return "opaque"
    ops = [wiring.nodes[node].op for node in nodes]
    if not nodes:
        if layer.type in _SYNCHRONISING:
            return "sync, shape"
        return "data movement" if moves_only(layer) else "pointwise chain"
    if not PRODUCTS.isdisjoint(ops):
        return "matrix product"
    if len(nodes) == 1:
        return "kept 1:1"
    return "pointwise chain" if CONVOLUTIONS.isdisjoint(ops) else "conv chain"


def moves_only(layer: EngineLayer) -> bool:
    """Whether a layer only brings data into another form or place, by its type and name."""
    name = parse(layer.name)
    steps = set(name.operations)
    if steps:
        return steps <= _MOVING_STEPS
    return layer.type in MOVES or name.role in ("reformat", "copy")


def patterns(
    layer: EngineLayer, nodes: Sequence[str], wiring: Wiring, *, is_region: bool
) -> list[Pattern]:
    """Return the fusions that a layer shows by its nodes; see the module's table."""
    if is_region:
        return ["opaque region"]
    if not nodes:
        return ["reformat or cast"] if moves_only(layer) else []
    held = set(nodes)
    ops = Counter(wiring.nodes[node].op for node in nodes)
    anchors = [n for n in nodes if wiring.nodes[n].op in ANCHORS]
    found: list[Pattern] = []
    if anchors and len(nodes) > len(anchors):
        found.append("vertical fusion")
    if not anchors and len(nodes) > 1:
        found.append("pointwise chain")
    if anchors and any(_adds_from_outside(node, held, wiring) for node in nodes):
        found.append("residual add")
    if len(anchors) > 1 and _side_by_side(anchors, held, wiring):
        found.append("horizontal merge")
    quantisers = sum(ops[op] for op in QUANTISERS)
    if quantisers and len(nodes) > quantisers:
        found.append("q/dq folded")
    if set(ops) == {"Cast"}:
        found.append("reformat or cast")
    return found


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


def _side_by_side(anchors: Sequence[str], held: set[str], wiring: Wiring) -> bool:
    """Whether two of them do not depend on each other; ways outside the layer cannot be."""
    above: dict[str, set[str]] = {}
    for node in sorted(held, key=wiring.order.__getitem__):
        inside = [n for n in wiring.before(node) if n in above]
        above[node] = {node}.union(*(above[n] for n in inside))
    return any(a not in above[b] and b not in above[a] for a in anchors for b in anchors)
