"""How many bytes of tensors are alive while each layer of a plan runs, as if one ran at a time.

Estimated from shapes. A tensor is alive from the layer that writes it to the last one that reads
it, and through both; the network's inputs from the first layer on, its outputs to the last. The
network's own inputs and outputs lie in the caller's buffers, so they are counted apart: the
builder's activations do not hold them. Weights are not counted.

A first dimension without a name is what the graph says of the dimensions behind it: first the
tensors of the nodes in the layers that write or read the tensor, then all of them. Where these
give no single answer, a tensor of four dimensions and more has the batch there, if that is the
one axis of the inputs; of fewer dimensions it may be the batch folded with another one, so its
size is not known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from trtlab.analysis.fusion.estimates import byte_count, layer_bytes
from trtlab.model.types import Dim, Tensor, batch_axis
from trtlab.record import EngineLayer, Fusion, LayerTensor, Plan

_ENOUGH = 0.9
"""The least share of layers that must be known for their peak to be told. It is ours."""
_WITH_BATCH = 4
"""From this many dimensions on the first one is taken to be the batch."""


@dataclass(frozen=True, slots=True)
class Live:
    """Bytes alive while one layer runs; None where the size of one of the tensors is not known.

    Attributes:
        layer: The layer's number.
        inner: Of tensors between layers.
        io: Of the network's inputs and outputs.
    """

    layer: int
    inner: int | None
    io: int | None


@dataclass(frozen=True, slots=True)
class LiveTensors:
    """What is alive at each layer, in the plan's order.

    Attributes:
        layers: One for each layer that handles data.
        sizes: Sizes of the named axes that it is worked out for.
    """

    layers: tuple[Live, ...]
    sizes: Mapping[str, int]

    @property
    def known(self) -> tuple[Live, ...]:
        """The layers of which all tensors between layers have a known size."""
        return tuple(one for one in self.layers if one.inner is not None)

    @property
    def is_known(self) -> bool:
        """Whether nearly all layers are known, so that their peak stands for all."""
        return bool(self.layers) and len(self.known) >= _ENOUGH * len(self.layers)

    @property
    def peak(self) -> int | None:
        """Most bytes between layers at once; None where too few layers are known.

        With some layers unknown it is a lower bound.
        """
        return max((one.inner or 0 for one in self.known), default=0) if self.is_known else None

    @property
    def where(self) -> tuple[int, ...]:
        """Numbers of the layers at the peak."""
        return tuple(one.layer for one in self.known if one.inner == self.peak)


def live_tensors(fusion: Fusion) -> LiveTensors:
    """Work out what is alive at each layer of a plan, at the fusion's sizes of named axes."""
    sizes = _Sizes(fusion)
    declared: dict[str, list[tuple[int, LayerTensor]]] = defaultdict(list)
    written: dict[str, int] = {}
    read: dict[str, int] = {}
    for number, layer in enumerate(fusion.layers):
        for tensor in layer.outputs:
            declared[tensor.name].append((number, tensor))
            written.setdefault(tensor.name, number)
        for tensor in layer.inputs:
            if not tensor.is_constant:
                declared[tensor.name].append((number, tensor))
                read[tensor.name] = number
    last = len(fusion.layers) - 1
    inputs = {name for name in declared if name not in written}
    outputs = {name for name in declared if name not in read} | set(fusion.graph.outputs)
    spans = [
        (
            0 if name in inputs else written[name],
            last if name in outputs else read[name],
            name in inputs or name in outputs,
            sizes.bytes_of(several),
        )
        for name, several in declared.items()
    ]
    shown = [n for n, group in enumerate(fusion.groups) if group.family != "sync, shape"]
    inner = _totals(((a, b, size) for a, b, is_io, size in spans if not is_io), last + 1)
    io = _totals(((a, b, size) for a, b, is_io, size in spans if is_io), last + 1)
    return LiveTensors(tuple(Live(n, inner[n], io[n]) for n in shown), dict(fusion.sizes))


def _totals(spans: Iterable[tuple[int, int, int | None]], layers: int) -> list[int | None]:
    """Add up the bytes alive at each layer from first and last layer of each tensor."""
    steps = [0] * (layers + 1)
    unknown = [0] * (layers + 1)
    for first, last, size in spans:
        change = steps if size is not None else unknown
        change[first] += 1 if size is None else size
        change[last + 1] -= 1 if size is None else size
    totals: list[int | None] = []
    alive = lost = 0
    for number in range(layers):
        alive, lost = alive + steps[number], lost + unknown[number]
        totals.append(None if lost else alive)
    return totals


class _Sizes:
    """Finds out the bytes of a plan's tensors with what its graph knows."""

    def __init__(self, fusion: Fusion) -> None:
        graph = fusion.graph
        self._fusion = fusion
        self._nodes = {node.name: node for node in graph.nodes}
        axis = batch_axis([graph.tensors[n] for n in graph.inputs if n in graph.tensors])
        self._batch = fusion.sizes.get(axis) if axis else None
        # ONNX Runtime keeps the graph's names for what it leaves; TensorRT's mean something else.
        self._by_name = graph.tensors if fusion.backend == "ONNX Runtime" else {}
        self._before: dict[tuple[Dim, ...], set[int | None]] = defaultdict(set)
        for tensor in graph.tensors.values():
            for cut in range(1, len(tensor.shape or ())) if not tensor.is_constant else ():
                shape = tensor.shape or ()
                self._before[shape[cut:]].add(_product(shape[:cut], fusion.sizes))

    def bytes_of(self, several: list[tuple[int, LayerTensor]]) -> int | None:
        """Return the bytes of a tensor that these layers declare; the most that one says."""
        found = [self._declared(number, tensor) for number, tensor in several]
        return max((size for size in found if size is not None), default=None)

    def _declared(self, number: int, tensor: LayerTensor) -> int | None:
        sizes = self._fusion.sizes
        near = layer_bytes(EngineLayer("", "", (), (tensor,)), self._around(number), sizes)
        if near is not None:
            return near
        named = self._by_name.get(tensor.name)
        if named is not None:
            return byte_count(named.dtype, named.shape, sizes)
        shape = tensor.shape
        if not shape or shape[0] is not None or not all(isinstance(d, int) for d in shape[1:]):
            return None
        before = self._before.get(shape[1:], set())
        first = next(iter(before)) if len(before) == 1 else None
        if first is None and len(shape) >= _WITH_BATCH:
            first = self._batch
        return byte_count(tensor.dtype, (first, *shape[1:]), sizes)

    def _around(self, number: int) -> list[Tensor]:
        nodes = [self._nodes[n] for n in self._fusion.groups[number].nodes if n in self._nodes]
        names = {name for node in nodes for name in (*node.inputs, *node.outputs)}
        tensors = self._fusion.graph.tensors
        return [tensors[n] for n in names if n in tensors and not tensors[n].is_constant]


def _product(dims: tuple[Dim, ...], sizes: Mapping[str, int]) -> int | None:
    known = [sizes.get(dim) if isinstance(dim, str) else dim for dim in dims]
    numbers = [dim for dim in known if dim is not None]
    return prod(numbers) if len(numbers) == len(known) else None


def largest_sizes(plan: Plan) -> dict[str, int]:
    """Return the largest size that a plan takes of each named axis of its inputs, where known."""
    found: dict[str, int] = {}
    for profile in plan.config.profiles:
        for tensor in plan.inputs:
            for place, dim in enumerate(tensor.shape or ()):
                if isinstance(dim, str) and tensor.name in profile:
                    found[dim] = max(found.get(dim, 0), profile[tensor.name].max[place])
    return found


def largest_batch(plan: Plan) -> int | None:
    """Return the largest batch that a plan takes; None without a batch axis or a profile."""
    return largest_sizes(plan).get(batch_axis(plan.inputs) or "")
