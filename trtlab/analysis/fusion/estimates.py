"""What fusing saves and what a layer moves, from shapes alone: estimates, nothing is measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod

from trtlab.analysis.fusion.wiring import Wiring
from trtlab.model.types import Dim
from trtlab.record import EngineLayer, LayerTensor


def byte_count(
    dtype: str | None, shape: Sequence[Dim] | None, sizes: Mapping[str, int]
) -> int | None:
    """Return the bytes of a tensor, packed; None where its type or a dimension is unknown.

    A layer's tensor has dimensions without a name: the first one stands for the batch where the
    model has one named axis only.
    """
    bits = bits_of(dtype)
    if bits is None or shape is None:
        return None
    dims = [_size(dim, place, sizes) for place, dim in enumerate(shape)]
    known = [dim for dim in dims if dim is not None]
    return -(-prod(known) * bits // 8) if len(known) == len(dims) else None


def bits_of(dtype: str | None) -> int | None:
    """Return the width of a data type, None where its name does not tell."""
    if dtype == "bool":
        return 8
    found = re.search(r"\d+", dtype or "")
    return int(found[0]) if found else None


def _size(dim: Dim, place: int, sizes: Mapping[str, int]) -> int | None:
    if isinstance(dim, int):
        return dim
    if isinstance(dim, str):
        return sizes.get(dim)
    return next(iter(sizes.values())) if place == 0 and len(sizes) == 1 else None


def layer_bytes(layer: EngineLayer, sizes: Mapping[str, int]) -> int | None:
    """Return what a layer reads and writes, each tensor once, by the shapes that it declares."""
    tensors: dict[str, LayerTensor] = {}
    for tensor in (*layer.inputs, *layer.constants):
        tensors.setdefault(tensor.name, tensor)
    counts = [byte_count(t.dtype, t.shape, sizes) for t in (*tensors.values(), *layer.outputs)]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def unwritten(nodes: Sequence[str], shared: set[str], wiring: Wiring) -> tuple[str, ...]:
    """Return the tensors that nodes of one layer pass on among themselves and to nobody else.

    Args:
        nodes: The nodes of the layer.
        shared: Nodes that run in several layers: what passes from or to one is not known to stay
            inside.
        wiring: The graph.
    """
    held = set(nodes) - shared
    outputs = set(wiring.graph.outputs)
    return tuple(
        tensor
        for node in nodes
        if node in held
        for tensor in wiring.nodes[node].outputs
        if tensor
        and tensor not in outputs
        and (readers := wiring.readers.get(tensor))
        and held.issuperset(readers)
    )


def saved_bytes(tensors: Iterable[str], wiring: Wiring, sizes: Mapping[str, int]) -> int | None:
    """Return the traffic of tensors that are not written: one write, and a read by each reader."""
    total = 0
    for name in tensors:
        tensor = wiring.graph.tensors.get(name)
        size = byte_count(tensor.dtype, tensor.shape, sizes) if tensor else None
        if size is None:
            return None
        total += size * (1 + len(wiring.readers[name]))
    return total
