"""ONNX nodes ↔ nodes of ONNX Runtime's optimised model, which are the layers of its plan.

ONNX Runtime keeps no word on where an optimised node came from, but it keeps many tensor names:
they are cuts. From each optimised node's outputs, walk back in the original graph to the nearest
cuts; the nodes met on the way belong to it. Where the layout is blocked (level *layout* and
*all*), names differ, and these rules find the original tensor (seen: ONNX Runtime 1.31):

* the node is called ``<original tensor>_nchwc``, also with ``_bn`` or ``_mul`` before that; if it
  has a second input for data, the following Add is in it too, and so is an ``activation``;
* a node that kept an original node's name writes what that wrote;
* a Concat that kept no name is the one with the same inputs;
* what ReorderInput and ReorderOutput write stands for what they read, and the other way round.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from trtlab.analysis.fusion.mapping import Mapped
from trtlab.analysis.fusion.proofs import moves_nothing, not_computed
from trtlab.analysis.fusion.wiring import Wiring
from trtlab.model.types import Graph, Node
from trtlab.record import Edge, EngineLayer, Fate, Rule

_REORDERS = frozenset({"ReorderInput", "ReorderOutput"})
_SUFFIX = re.compile(r"(?:_token_\d+|_reorder|_nchwc|_nhwc|_bn|_mul|_quantized)+$")
_ADDS = frozenset({"Add", "Sum"})


def map_optimised(graph: Graph, layers: Sequence[EngineLayer]) -> Mapped:
    """Map the nodes of a graph to those of the optimised model. See the module's rules."""
    wiring = Wiring(graph)
    origin = _origins(wiring, layers)
    cuts = {*origin.values(), *graph.inputs}
    names = {layer.name for layer in layers}
    owners: dict[str, dict[int, Rule]] = defaultdict(dict)
    for number, layer in enumerate(layers):
        if layer.type in _REORDERS:
            continue
        own = layer.name if layer.name in wiring.nodes else None
        if own is not None:
            owners[own][number] = "layer name"
        written = [origin[t.name] for t in layer.outputs if t.name in origin]
        for name in written:
            for node in _walk_back(name, cuts, written, wiring):
                # One that kept its name as another layer is in that one.
                if node == own or node not in names:
                    owners[node].setdefault(number, "tensors")
    edges = [
        Edge(node.name, layer, rule)
        for node in graph.nodes
        for layer, rule in sorted(owners.get(node.name, {}).items())
    ]
    fates = tuple(_fate(node, owners.get(node.name), wiring) for node in graph.nodes)
    return Mapped(tuple(edges), fates, ())


def _fate(node: Node, owners: Mapping[int, Rule] | None, wiring: Wiring) -> Fate:
    if owners:
        layers = tuple(sorted(owners))
        return Fate(node.name, "in layer", layers, owners[layers[0]])
    if fate := not_computed(node, wiring):
        return fate
    if found := moves_nothing(node, wiring):
        return Fate(node.name, "removed", (), *found)
    return Fate(node.name, "unexplained", (), "none")


def _walk_back(tensor: str, cuts: set[str], but: Collection[str], wiring: Wiring) -> Iterable[str]:
    """Return the nodes between a tensor and the cuts, not counting those ``but``."""
    found: dict[str, None] = {}
    waiting = [tensor]
    while waiting:
        node = wiring.writer.get(waiting.pop())
        if node is None or node in found or node in wiring.folded:
            continue
        found[node] = None
        waiting += [t for t in wiring.inputs(node) if t not in cuts or t in but]
    return found


def _origins(wiring: Wiring, layers: Sequence[EngineLayer]) -> dict[str, str]:
    """Return, by the optimised model's tensors, the tensor of the original graph."""
    tensors = wiring.graph.tensors
    origin = {t.name: t.name for y in layers for t in (*y.inputs, *y.outputs) if t.name in tensors}
    for layer in layers:
        for tensor, name in zip(layer.outputs, _by_layer_name(layer, wiring), strict=False):
            if name is not None:
                origin.setdefault(tensor.name, name)
    reorders = [y for y in layers if y.type in _REORDERS and y.inputs and y.outputs]
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
            if layer.type == "Concat" and layer.outputs[0].name not in origin:
                inputs = tuple(origin.get(t.name) for t in layer.inputs)
                for node in wiring.graph.nodes:
                    if node.op == "Concat" and node.inputs == inputs:
                        origin[layer.outputs[0].name] = node.outputs[0]
    return origin


def _by_layer_name(layer: EngineLayer, wiring: Wiring) -> list[str | None]:
    """Return the original tensors that a layer writes, as far as its name tells."""
    tensor = _SUFFIX.sub("", layer.name)
    if layer.name.endswith("_nchwc") and tensor in wiring.graph.tensors:
        if len([t for t in layer.inputs if not t.is_constant]) > 1:
            tensor = _step(tensor, _ADDS, wiring)
        activation = layer.details.get("activation", "").strip('"')
        writer = wiring.writer.get(tensor)
        if activation and (writer is None or wiring.nodes[writer].op != activation):
            tensor = _step(tensor, frozenset({activation}), wiring)
        return [tensor]
    if layer.name in wiring.nodes:
        outputs = wiring.nodes[layer.name].outputs
        if len(outputs) == len(layer.outputs):
            return list(outputs)
    return []


def _step(tensor: str, ops: frozenset[str], wiring: Wiring) -> str:
    """Return what the reader with one of these operators makes of a tensor, or the tensor."""
    for reader in wiring.readers.get(tensor, ()):
        if wiring.nodes[reader].op in ops:
            return wiring.nodes[reader].outputs[0]
    return tensor
