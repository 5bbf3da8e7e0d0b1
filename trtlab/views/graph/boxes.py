"""What is drawn as one box on either side of a fusion, and the wires between boxes."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from trtlab.analysis.fusion.wiring import inputs_of
from trtlab.record import Fusion


@dataclass(slots=True)
class Box:
    """A layer with its nodes, a node or a layer alone, or an input or output of the network.

    Attributes:
        layer: Number of its layer, None without one.
        nodes: Numbers of its nodes in the graph.
        tensor: Name of the network's input or output that it stands for.
        before: Numbers of the layers without data that come just before it on its stream.
        after: The same, just after it.
        join: Whether it is only the point where slices of a tensor come together.
    """

    layer: int | None = None
    nodes: list[int] = field(default_factory=list)
    tensor: str = ""
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    join: bool = False


@dataclass(frozen=True, slots=True)
class Wire:
    """A tensor on its way between two boxes, which may be one.

    ``source`` and ``target`` are numbers, of nodes before and of layers after; None where it
    comes from or goes to the network's border. Where slices join it is the first of them.
    """

    boxes: tuple[int, int]
    tensor: str
    source: int | None
    target: int | None


@dataclass(slots=True)
class Boxes:
    """All boxes of a fusion in the graph's order, and the wires of both sides.

    Attributes:
        of_node: For each node the box that holds it; None for what is not drawn: constants, and
            what has no tensor at all (a layer that only keeps order).
        of_layer: For each layer its box; None where it stands ``before`` or ``after`` one.
    """

    boxes: list[Box]
    of_node: list[int | None]
    of_layer: list[int | None]
    before: list[Wire]
    after: list[Wire]


def boxes_of(fusion: Fusion) -> Boxes:
    """Return what is to be drawn."""
    made = Boxes([], [None] * len(fusion.graph.nodes), [None] * len(fusion.layers), [], [])
    inputs = {tensor: _add(made, Box(tensor=tensor)) for tensor in fusion.graph.inputs}
    _add_nodes(fusion, made)
    _add_layers(fusion, made)
    outputs = {tensor: _add(made, Box(tensor=tensor)) for tensor in fusion.graph.outputs}
    made.before = _node_wires(fusion, made.of_node, inputs, outputs)
    made.after = _layer_wires(fusion, made, inputs, outputs)
    return made


def _add(made: Boxes, box: Box) -> int:
    made.boxes.append(box)
    return len(made.boxes) - 1


def _add_nodes(fusion: Fusion, made: Boxes) -> None:
    homes = _homes(fusion)
    for number, node in enumerate(fusion.graph.nodes):
        layer = homes.get(node.name)
        constant = node.op == "Constant" and not node.domain
        if layer is None and (constant or not (node.inputs or node.outputs)):
            continue
        box = None if layer is None else made.of_layer[layer]
        if box is None:
            box = _add(made, Box(layer))
        made.boxes[box].nodes.append(number)
        made.of_node[number] = box
        if layer is not None:
            made.of_layer[layer] = box


def _homes(fusion: Fusion) -> dict[str, int]:
    """For each node the layer that it is drawn in: of several the one with the fewest nodes."""
    owners: dict[str, list[int]] = defaultdict(list)
    for edge in fusion.edges:
        owners[edge.node].append(edge.layer)
    sizes = Counter(layer for layers in owners.values() for layer in layers)
    return {
        node: min(layers, key=lambda layer: (sizes[layer], layer))
        for node, layers in owners.items()
    }


def _add_layers(fusion: Fusion, made: Boxes) -> None:
    """Add layers without nodes; what only keeps order is noted at its neighbour on the stream."""
    waiting: dict[int | None, list[int]] = defaultdict(list)
    last: dict[int | None, int] = {}
    for number, (layer, group) in enumerate(zip(fusion.layers, fusion.groups, strict=True)):
        box = made.of_layer[number]
        if box is None and group.family == "sync, shape" and not (layer.inputs or layer.outputs):
            if layer.type == "signal" and layer.stream in last:
                made.boxes[last[layer.stream]].after.append(number)
            else:
                waiting[layer.stream].append(number)
            continue
        if box is None:
            box = made.of_layer[number] = _add(made, Box(number))
        made.boxes[box].before += waiting.pop(layer.stream, [])
        last[layer.stream] = box
    for stream, numbers in waiting.items():
        host = last.get(stream, max(last.values(), default=-1))
        if host < 0:
            made.of_layer[numbers[0]] = host = _add(made, Box(numbers.pop(0)))
        made.boxes[host].after += numbers


def _node_wires(
    fusion: Fusion, of_node: list[int | None], inputs: dict[str, int], outputs: dict[str, int]
) -> list[Wire]:
    writers: dict[str, int] = {}
    for number, node in enumerate(fusion.graph.nodes):
        if of_node[number] is not None:
            for tensor in node.outputs:
                writers.setdefault(tensor, number)
    wires: dict[Wire, None] = {}

    def add(tensor: str, target: int, reader: int | None) -> None:
        writer = writers.get(tensor)
        source = inputs.get(tensor) if writer is None else of_node[writer]
        if source is not None and (writer is None or writer != reader):
            wires[Wire((source, target), tensor, writer, reader)] = None

    for number, node in enumerate(fusion.graph.nodes):
        box = of_node[number]
        if box is not None:
            for tensor in inputs_of(node):
                add(tensor, box, number)
    for tensor, box in outputs.items():
        add(tensor, box, None)
    return list(wires)


def _layer_wires(
    fusion: Fusion, made: Boxes, inputs: dict[str, int], outputs: dict[str, int]
) -> list[Wire]:
    writers: dict[str, list[int]] = defaultdict(list)
    for number, layer in enumerate(fusion.layers):
        if made.of_layer[number] is not None:
            for written in layer.outputs:
                writers[written.name].append(number)
    reads: dict[tuple[str, tuple[int, ...]], dict[tuple[int | None, int], None]] = {}
    for number, layer in enumerate(fusion.layers):
        box = made.of_layer[number]
        for read in layer.inputs:
            if box is not None and not read.is_constant:
                # Several layers may each write a slice; what a later one writes is another value.
                before = tuple(w for w in writers.get(read.name, ()) if w < number)
                reads.setdefault((read.name, before), {})[number, box] = None
    for tensor, box in outputs.items():
        reads.setdefault((tensor, tuple(writers.get(tensor, ()))), {})[None, box] = None
    wires: list[Wire] = []
    for (tensor, before), after in reads.items():
        sources = [(made.of_layer[writer], writer) for writer in before]
        if not before and tensor in inputs:
            wires += [Wire((inputs[tensor], box), tensor, None, n) for n, box in after]
        elif len(before) > 1 and len(after) > 1:
            wires += _joined(made, tensor, sources, list(after))
        else:
            ends = [(s, w, n, box) for s, w in sources for n, box in after if s is not None]
            wires += [Wire((s, box), tensor, w, n) for s, w, n, box in ends if s != box]
    return wires


def _joined(
    made: Boxes,
    tensor: str,
    sources: list[tuple[int | None, int]],
    targets: list[tuple[int | None, int]],
) -> list[Wire]:
    """Lead slices together before their readers: else each writer has a line to each of these."""
    join = _add(made, Box(join=True))
    first, last = sources[0][1], targets[0][0]
    wires = [Wire((box, join), tensor, writer, last) for box, writer in sources if box is not None]
    return wires + [Wire((join, box), tensor, first, reader) for reader, box in targets]
