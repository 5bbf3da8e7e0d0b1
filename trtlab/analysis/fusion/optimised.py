"""ONNX nodes ↔ nodes of ONNX Runtime's optimised model, which are the layers of its plan.

ONNX Runtime keeps no word on where an optimised node came from, but it keeps many tensor names:
they are cuts. From each optimised node's outputs, walk back in the original graph to the nearest
cuts; the nodes met on the way belong to it. Where the layout is blocked (level *layout* and
*all*), names differ, and these rules find the original tensor (seen: ONNX Runtime 1.31):

* the node is called ``<original tensor>_nchwc``, also with ``_bn`` or ``_mul`` before that; if it
  has a second input for data, the following Add is in it too, and so is an ``activation``;
* a node that kept an original node's name, also with ``_token_`` and a number behind it (level
  *all*, where QLinearConv moved to another layout), writes what that wrote, or, if it writes a
  small type, what the QuantizeLinear behind it did;
* a Concat that kept no name is the one with the same inputs;
* a tensor called ``InsertedPrecisionFreeCast_<original tensor>`` is that one as float32, for the
  processor does not compute in float16; the node's name may begin so too;
* what ReorderInput and ReorderOutput write stands for what they read, and the other way round;
  so does a Transpose whose output the graph does not know.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from trtlab.analysis.fusion.kinds import is_small
from trtlab.analysis.fusion.mapping import Mapped
from trtlab.analysis.fusion.proofs import moves_nothing, not_computed, same_as, twins
from trtlab.analysis.fusion.wiring import Wiring
from trtlab.model.types import Graph, Node
from trtlab.record import Edge, EngineLayer, Fate, Rule

_REORDERS = frozenset({"ReorderInput", "ReorderOutput"})
_SUFFIX = re.compile(r"(?:_token_\d+|_reorder|_nchwc|_nhwc|_bn|_mul|_quantized)+$")
_TOKEN = re.compile(r"_token_\d+$")
_AS_FLOAT32 = "InsertedPrecisionFreeCast_"
_ADDS = frozenset({"Add", "Sum"})


def map_optimised(graph: Graph, layers: Sequence[EngineLayer]) -> Mapped:
    """Map the nodes of a graph to those of the optimised model. See the module's rules."""
    wiring = Wiring(graph)
    origin = _origins(wiring, layers)
    cuts = {*origin.values(), *graph.inputs}
    walked = [_walk(layer, origin, cuts, wiring) for layer in layers]
    kept = {}
    for number, (layer, met) in enumerate(zip(layers, walked, strict=True)):
        name = _kept_name(layer, wiring)
        if name is not None and (name in met or not met):
            kept[name] = number
    owners: dict[str, dict[int, Rule]] = defaultdict(dict)
    for name, number in kept.items():
        owners[name][number] = "layer name"
    for number, met in enumerate(walked):
        for node in met:
            # One that moves nothing is in the optimised model only under its own name.
            if kept.get(node, number) == number and not moves_nothing(wiring.nodes[node], wiring):
                owners[node].setdefault(number, "tensors")
    edges = [
        Edge(node.name, layer, rule)
        for node in graph.nodes
        for layer, rule in sorted(owners.get(node.name, {}).items())
    ]
    same = twins(wiring)
    fates = tuple(_fate(node, owners.get(node.name), wiring, same) for node in graph.nodes)
    return Mapped(tuple(edges), fates, ())


def _fate(
    node: Node, owners: Mapping[int, Rule] | None, wiring: Wiring, same: Mapping[str, str]
) -> Fate:
    if owners:
        layers = tuple(sorted(owners))
        return Fate(node.name, "in layer", layers, owners[layers[0]])
    if fate := not_computed(node, wiring):
        return fate
    if found := moves_nothing(node, wiring):
        return Fate(node.name, "removed", (), *found)
    return same_as(node, same) or Fate(node.name, "unexplained", (), "none")


def _kept_name(layer: EngineLayer, wiring: Wiring) -> str | None:
    """Return the node whose name a layer bears, if it can be that node or one fused with it.

    A node without a name in the file is numbered by its place, in each of the two files apart.
    """
    for name in dict.fromkeys((layer.name, _TOKEN.sub("", layer.name))):
        node = wiring.nodes.get(name)
        if node is not None and node.file_name is None and node.op in layer.type:
            return name
    return None


def _walk(
    layer: EngineLayer, origin: Mapping[str, str], cuts: set[str], wiring: Wiring
) -> dict[str, None]:
    """Return the nodes between what a layer writes and what it reads, by the original tensors.

    A way back that ends at a cut which the layer does not read belongs to something that is not
    there any more; it is left out where all that the layer reads is known.
    """
    if _reorders(layer, wiring) or (layer.type == "Cast" and layer.name.startswith(_AS_FLOAT32)):
        return {}
    written = [origin[t.name] for t in layer.outputs if t.name in origin]
    data = [t.name for t in layer.inputs if not t.is_constant]
    read = {origin[name] for name in data if name in origin}
    is_sure = len(read) == len(set(data))
    met: dict[str, None] = {}
    waiting = list(written)
    while waiting:
        node = wiring.writer.get(waiting.pop())
        if node is None or node in met or node in wiring.folded:
            continue
        met[node] = None
        waiting += [t for t in wiring.inputs(node) if t not in cuts or t in written]
    closed: dict[str, None] = {}
    for node in sorted(met, key=wiring.order.__getitem__):
        if not is_sure or all(
            t in read or wiring.writer.get(t) in closed for t in wiring.data_inputs(node)
        ):
            closed[node] = None
    return closed


def _origins(wiring: Wiring, layers: Sequence[EngineLayer]) -> dict[str, str]:
    """Return, by the optimised model's tensors, the tensor of the original graph."""
    tensors = wiring.graph.tensors
    origin: dict[str, str] = {}
    for name in {t.name for y in layers for t in (*y.inputs, *y.outputs)}:
        original = name if name in tensors else name.removeprefix(_AS_FLOAT32)
        if original in tensors:
            origin[name] = original
    for layer in layers:
        for tensor, told in zip(layer.outputs, _by_layer_name(layer, wiring), strict=False):
            if told is not None:
                origin.setdefault(tensor.name, told)
    reorders = [y for y in layers if _reorders(y, wiring)]
    joined = {node.inputs: node.outputs[0] for node in wiring.graph.nodes
              if node.op == "Concat" and node.outputs}  # fmt: skip
    # They come in chains at most a few long; each round settles at least one, or ends.
    settled = -1
    while settled != (settled := len(origin)):
        for layer in reorders:
            read, written = layer.inputs[0].name, layer.outputs[0].name
            if read in origin:
                origin.setdefault(written, origin[read])
            elif written in origin:
                origin[read] = origin[written]
        for layer in layers:
            if layer.type == "Concat" and layer.outputs and layer.outputs[0].name not in origin:
                inputs = tuple(origin.get(t.name, "") for t in layer.inputs)
                if inputs in joined:
                    origin[layer.outputs[0].name] = joined[inputs]
    return origin


def _reorders(layer: EngineLayer, wiring: Wiring) -> bool:
    """Whether a layer was put in to change the layout alone."""
    if not layer.inputs or not layer.outputs:
        return False
    if layer.type == "Transpose":
        # The graph's own ones keep what they write.
        return layer.outputs[0].name not in wiring.graph.tensors
    return layer.type in _REORDERS


def _by_layer_name(layer: EngineLayer, wiring: Wiring) -> list[str | None]:
    """Return the original tensors that a layer writes, as far as its name tells."""
    tensor = _SUFFIX.sub("", layer.name.removeprefix(_AS_FLOAT32))
    if layer.name.endswith("_nchwc") and tensor in wiring.graph.tensors:
        if len([t for t in layer.inputs if not t.is_constant]) > 1:
            tensor = _step(tensor, _ADDS, wiring)
        activation = layer.details.get("activation", "").strip('"')
        writer = wiring.writer.get(tensor)
        if activation and (writer is None or wiring.nodes[writer].op != activation):
            tensor = _step(tensor, frozenset({activation}), wiring)
        return [tensor]
    if (name := _kept_name(layer, wiring)) is not None:
        outputs = wiring.nodes[name].outputs
        if len(outputs) == len(layer.outputs):
            pairs = zip(outputs, layer.outputs, strict=True)
            # ONNX Runtime tells no type of what it moved to another layout.
            small = "int8" if layer.type.startswith("QLinear") else None
            return [_quantised(name, t.dtype or small, wiring) for name, t in pairs]
    return []


def _quantised(tensor: str, dtype: str | None, wiring: Wiring) -> str:
    """Return what is written in place of a tensor, where that is of a small type."""
    original = wiring.graph.tensors.get(tensor)
    own = original.dtype if original else None
    if dtype is None or own is None or not is_small(dtype) or is_small(own):
        return tensor
    return _step(tensor, frozenset({"QuantizeLinear"}), wiring)


def _step(tensor: str, ops: frozenset[str], wiring: Wiring) -> str:
    """Return what the reader with one of these operators makes of a tensor, or the tensor."""
    for reader in wiring.readers.get(tensor, ()):
        if wiring.nodes[reader].op in ops and wiring.nodes[reader].outputs:
            return wiring.nodes[reader].outputs[0]
    return tensor
