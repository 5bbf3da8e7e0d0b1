"""Neighbours that were not fused, and what stands between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trtlab.analysis.fusion.wiring import LayerWiring, Wiring
from trtlab.record import Barrier, EngineLayer, Fate, LayerTensor, Seam


def seams(
    wiring: Wiring, layers: Sequence[EngineLayer], fates: Sequence[Fate]
) -> tuple[Seam, ...]:
    """Return every pair of nodes that share data and no layer.

    Between them may lie nodes that no kernel runs (a Reshape, a Concat written in place): the
    tensor is the one that the first of the two writes.
    """
    owners = {fate.node: set(fate.layers) for fate in fates if fate.state == "in layer"}
    removed = {fate.node for fate in fates if fate.state == "removed"}
    engine = LayerWiring(layers)
    found = []
    for node in wiring.graph.nodes:
        if node.name not in owners:
            continue
        for tensor in filter(None, node.outputs):
            readers = list(dict.fromkeys(_readers(tensor, wiring, owners, removed)))
            reading = {layer for reader in readers for layer in owners[reader]}
            found += [
                _seam(tensor, node.name, reader, readers, reading, wiring, engine, owners)
                for reader in readers
                if owners[node.name].isdisjoint(owners[reader])
            ]
    return tuple(found)


def _readers(
    tensor: str, wiring: Wiring, owners: dict[str, set[int]], removed: set[str]
) -> Iterator[str]:
    """Yield the nodes with a layer that read a tensor, also through nodes that none runs."""
    waiting, seen = [tensor], {tensor}
    while waiting:
        for reader in wiring.readers.get(waiting.pop(0), ()):
            if reader in owners:
                yield reader
                continue
            if reader not in removed:
                continue
            outputs = [t for t in wiring.nodes[reader].outputs if t and t not in seen]
            seen.update(outputs)
            waiting += outputs


def _seam(
    tensor: str,
    writer: str,
    reader: str,
    readers: Sequence[str],
    reading: set[int],
    wiring: Wiring,
    engine: LayerWiring,
    owners: dict[str, set[int]],
) -> Seam:
    found: list[tuple[Barrier, str]] = []
    if tensor in wiring.graph.outputs:
        found.append(("graph output", f"{tensor} is an output of the graph, so it is written"))
    near = owners[reader] | owners[writer]
    other = next((r for r in readers if owners[r].isdisjoint(near)), None)
    if other is not None:
        more = len(reading) - len(reading & near) - 1
        who = f"{other} and {more} more read" if more > 0 else f"{other} reads"
        found.append(("several readers", f"{who} {tensor} too, so it is written"))
    found += _changes(engine, owners[writer], owners[reader])
    if not found:
        return Seam(tensor, writer, reader, "not known", "the builder gives no reason")
    return Seam(tensor, writer, reader, found[0][0], "; ".join(text for _, text in found))


def _changes(
    engine: LayerWiring, before: set[int], after: set[int]
) -> Iterator[tuple[Barrier, str]]:
    """Yield what changes between the layers: the data type, the format, the stream."""
    layers = engine.layers
    for number, read, written in _added_between(engine, before, after):
        name = layers[number].name
        if read.dtype != written.dtype:
            yield "precision change", f"{name} turns {read.dtype} into {written.dtype}"
        elif (read.format, read.strides) != (written.format, written.strides):
            yield "format change", f"{name} brings the data into another format"
    one, two = (sorted({str(layers[i].stream) for i in side}) for side in (before, after))
    if "None" not in (*one, *two) and set(one).isdisjoint(two):
        text = f"they run on different streams ({', '.join(one)} and {', '.join(two)})"
        yield "another stream", text


def _added_between(
    engine: LayerWiring, before: set[int], after: set[int]
) -> Iterator[tuple[int, LayerTensor, LayerTensor]]:
    """Yield the layers that read from the ones and write for the others, with one tensor each."""
    layers = engine.layers
    written = {t.name for i in before for t in layers[i].outputs}
    needed = {t.name for i in after for t in layers[i].inputs}
    numbers = {n for name in written for n in engine.readers[name]} - before - after
    for number in sorted(numbers):
        reads = [t for t in layers[number].inputs if t.name in written]
        writes = [t for t in layers[number].outputs if t.name in needed]
        moves = layers[number].type != "NoOp"  # one that TensorRT found to have nothing to do
        if reads and writes and moves and len(layers[number].inputs) == 1:
            yield number, reads[0], writes[0]
