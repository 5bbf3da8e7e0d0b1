"""What fusing saves and what a layer moves, from shapes alone: estimates, nothing is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import prod

from trtlab.analysis.flops import bits_of
from trtlab.analysis.fusion.proofs import moves_nothing, real_readers
from trtlab.analysis.fusion.wiring import Wiring
from trtlab.model.types import Dim, Tensor
from trtlab.record import EngineLayer, LayerTensor


def byte_count(
    dtype: str | None, shape: Sequence[Dim] | None, sizes: Mapping[str, int]
) -> int | None:
    """Return the bytes of a tensor, packed; None where its type or a dimension is unknown."""
    bits = bits_of(dtype)
    if bits is None or shape is None:
        return None
    dims = [sizes.get(dim) if isinstance(dim, str) else dim for dim in shape]
    known = [dim for dim in dims if dim is not None]
    return -(-prod(known) * bits // 8) if len(known) == len(dims) else None


def layer_bytes(
    layer: EngineLayer,
    around: Iterable[Tensor],
    sizes: Mapping[str, int],
) -> int | None:
    """Return what a layer reads and writes, each tensor once, by the shapes that it declares.

    A dynamic dimension has no name there, and a product folds others into it. Its size is that of
    the dimensions in its place in the tensors ``around``, where these give one answer.
    """
    if layer.type == "NoOp":  # TensorRT found that it has nothing to do
        return 0
    around = list(around)
    tensors: dict[str, LayerTensor] = {}
    for tensor in (*layer.inputs, *layer.constants):
        tensors.setdefault(tensor.name, tensor)
    counts = [
        byte_count(t.dtype, _filled(t, around, sizes), sizes)
        for t in (*tensors.values(), *layer.outputs)
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _filled(
    declared: LayerTensor, around: Sequence[Tensor], sizes: Mapping[str, int]
) -> tuple[Dim, ...] | None:
    """Return the shape with its first dimension filled in, if that is the only dynamic one."""
    shape = declared.shape
    if not shape or isinstance(shape[0], int) or not all(isinstance(d, int) for d in shape[1:]):
        return shape
    rest = shape[1:]
    found = set()
    for tensor in around:
        if tensor.shape is not None and len(tensor.shape) >= len(shape):
            cut = len(tensor.shape) - len(rest)
            if tensor.shape[cut:] == rest:
                found.add(_product(tensor.shape[:cut], sizes))
    return (found.pop(), *rest) if len(found) == 1 else shape


def _product(dims: Sequence[Dim], sizes: Mapping[str, int]) -> int | None:
    known = [sizes.get(dim) if isinstance(dim, str) else dim for dim in dims]
    numbers = [dim for dim in known if dim is not None]
    return prod(numbers) if len(numbers) == len(known) else None


def unwritten(
    nodes: Sequence[str], shared: set[str], wiring: Wiring
) -> tuple[tuple[str, int], ...]:
    """Return the tensors that nodes of one layer pass on among themselves and to nobody else.

    Each with the number of nodes that read it. A node that moves nothing neither writes nor reads:
    what it gives another name is the same tensor.

    Args:
        nodes: The nodes of the layer.
        shared: Nodes that run in several layers: what passes from or to one is not known to stay
            inside.
        wiring: The graph.
    """
    held = set(nodes) - shared
    found = []
    for node in nodes:
        if node not in held or moves_nothing(wiring.nodes[node], wiring):
            continue
        for tensor in filter(None, wiring.nodes[node].outputs):
            readers = real_readers(tensor, wiring)
            if readers and held.issuperset(readers):
                found.append((tensor, len(readers)))
    return tuple(found)


def saved_bytes(
    tensors: Iterable[tuple[str, int]],
    merged: Sequence[str],
    wiring: Wiring,
    sizes: Mapping[str, int],
) -> int | None:
    """Return the traffic that fusing saves; None where a shape is unknown.

    Args:
        tensors: Those that are not written, and how many nodes read each: one write is saved, and
            a read by each.
        merged: Siblings that were merged: what several of them read is read once.
        wiring: The graph.
        sizes: Sizes of the named axes.
    """
    counts = [(name, 1 + readers) for name, readers in tensors]
    together = Counter(t for node in merged for t in wiring.data_inputs(node))
    counts += [(name, readers - 1) for name, readers in together.items() if readers > 1]
    total = 0
    for name, times in counts:
        tensor = wiring.graph.tensors.get(name)
        size = byte_count(tensor.dtype, tensor.shape, sizes) if tensor else None
        if size is None:
            return None
        total += size * times
    return total
