"""What a plan's layers add up to: by data type, by conversion, by module of the model.

Pure sums over a ``Fusion``. Times are measured, data types are the builder's, operations and
bytes are estimated from shapes. The sum of layer times is no latency.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from trtlab.analysis.fusion.kinds import CONVOLUTIONS, PRODUCTS
from trtlab.analysis.fusion.names import parse
from trtlab.model.types import Graph
from trtlab.record import EngineLayer, Fusion, Group

Measure = Literal["time", "flops", "bytes"]

ADDED = "added by the builder"
"""The block of layers without a node."""

_ENOUGH = 0.9
"""The least share of layers that must be known for a sum to stand for all of them. It is ours."""

_CONVERTERS = frozenset({"Cast", "CastLike", "QuantizeLinear", "DequantizeLinear"})
_CONVERTING_TYPES = frozenset({"Reformat", "Cast", "ReorderInput", "ReorderOutput"})
_DEEPEST = 32
_LONGEST = 1000


class Sum(NamedTuple):
    """A sum over the layers where it is known, None where it is of none; ``unknown``: the rest."""

    value: float | None
    unknown: int


@dataclass(frozen=True, slots=True)
class Amounts:
    """Some layers and what they add up to.

    Attributes:
        layers: Their numbers.
        time_ms: Sum of layer times: no latency.
        flops: Operations.
        bytes: Read and written.
    """

    layers: tuple[int, ...]
    time_ms: Sum
    flops: Sum
    bytes: Sum

    def of(self, measure: Measure) -> Sum:
        """Return one of the sums."""
        return {"time": self.time_ms, "flops": self.flops, "bytes": self.bytes}[measure]

    def stands_for_all(self, measure: Measure) -> bool:
        """Whether a sum is more than 0 and known for nearly all of the layers."""
        value, unknown = self.of(measure)
        return bool(value) and len(self.layers) - unknown >= _ENOUGH * len(self.layers)


@dataclass(frozen=True, slots=True)
class PrecisionShare:
    """The layers whose first input has one data type; ``dtype`` is None where it is not said."""

    dtype: str | None
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Transition:
    """The layers that read one data type and write another, or the same.

    Attributes:
        source: Type of the first input; None if not said.
        target: Type of the first output; None if not said.
        every: All of them.
        converting: Those that do nothing but bring data into another type or format.
    """

    source: str | None
    target: str | None
    every: Amounts
    converting: Amounts


@dataclass(frozen=True, slots=True)
class Tree:
    """Layers under a name, and under the names inside it.

    Attributes:
        name: Its own part of the names; of the root that of the model.
        layers: Numbers of the layers right under it.
        inside: Its parts, in the order of their first layers.
    """

    name: str
    layers: tuple[int, ...]
    inside: tuple[Tree, ...] = ()

    def every(self) -> tuple[int, ...]:
        """Return the numbers of all its layers."""
        return (*self.layers, *(n for part in self.inside for n in part.every()))


def amounts(fusion: Fusion, layers: Iterable[int]) -> Amounts:
    """Add up what is known of some layers."""
    chosen = tuple(layers)
    groups = [fusion.groups[n] for n in chosen]
    return Amounts(
        chosen,
        time_ms=_sum(group.time_ms for group in groups),
        flops=_sum(group.flops for group in groups),
        bytes=_sum(group.bytes for group in groups),
    )


def _sum(values: Iterable[float | None]) -> Sum:
    every = list(values)
    known = [v for v in every if v is not None and math.isfinite(v)]
    return Sum(math.fsum(known) if known else None, len(every) - len(known))


def share(part: Sum, whole: Sum) -> float | None:
    """Return a part's share of a whole; None where either is not known or the whole is 0."""
    if part.value is None or not whole.value:
        return None
    return part.value / whole.value


def best_measure(fusion: Fusion) -> Measure | None:
    """Return by what layers can be weighed: by times if there are any; None if by nothing.

    Else by operations or bytes, whichever is known for more of the layers that handle data.
    """
    if amounts(fusion, range(len(fusion.layers))).time_ms.value:
        return "time"
    whole = amounts(fusion, data_layers(fusion))
    estimates: tuple[Measure, ...] = ("flops", "bytes")
    known = [m for m in estimates if whole.of(m).value]
    return min(known, key=lambda m: whole.of(m).unknown, default=None)


def data_layers(fusion: Fusion) -> tuple[int, ...]:
    """Return the layers that handle data: all but those that synchronise or look at shapes."""
    return tuple(n for n, group in enumerate(fusion.groups) if group.family != "sync, shape")


def precision_shares(fusion: Fusion) -> tuple[PrecisionShare, ...]:
    """Divide the layers that handle data by the type of their first input, the most first."""
    by_type: dict[str | None, list[int]] = defaultdict(list)
    for number in data_layers(fusion):
        by_type[fusion.groups[number].precision].append(number)
    ranked = sorted(by_type.items(), key=lambda item: (item[0] is None, -len(item[1])))
    return tuple(PrecisionShare(dtype, amounts(fusion, numbers)) for dtype, numbers in ranked)


def transitions(fusion: Fusion) -> tuple[Transition, ...]:
    """Divide the layers that handle data by the types of first input and output, the most first.

    A layer on the diagonal that only converts changes the format, not the type.
    """
    by_types: dict[tuple[str | None, str | None], list[int]] = defaultdict(list)
    for number in data_layers(fusion):
        outputs = fusion.layers[number].outputs
        written = outputs[0].dtype if outputs else None
        by_types[fusion.groups[number].precision, written].append(number)
    converting = set(converting_layers(fusion))
    ranked = sorted(by_types.items(), key=lambda item: -len(item[1]))
    return tuple(
        Transition(
            source,
            target,
            amounts(fusion, numbers),
            amounts(fusion, [n for n in numbers if n in converting]),
        )
        for (source, target), numbers in ranked
    )


def converting_layers(fusion: Fusion) -> tuple[int, ...]:
    """Return the layers that only bring data into another type or format.

    Casts, reformats, and quantisers with a layer of their own. What the builder itself calls a
    ``NoOp`` converts nothing.
    """
    ops = {node.name: node.op for node in fusion.graph.nodes}
    pairs = enumerate(zip(fusion.layers, fusion.groups, strict=True))
    return tuple(n for n, (layer, group) in pairs if _converts(layer, group, ops))


def _converts(layer: EngineLayer, group: Group, ops: Mapping[str, str]) -> bool:
    if layer.type == "NoOp":
        return False
    if group.nodes:
        return _CONVERTERS.issuperset(ops.get(node, "") for node in group.nodes)
    return layer.type in _CONVERTING_TYPES or "reformat or cast" in group.patterns


def by_type(fusion: Fusion) -> Tree:
    """Arrange the layers by their type; one without lies right under the root."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, layer in enumerate(fusion.layers):
        found[layer.type].append(number)
    untyped = tuple(found.pop("", ()))
    types = tuple(Tree(name, tuple(numbers)) for name, numbers in found.items())
    return Tree(fusion.model.name, untyped, types)


def by_block(fusion: Fusion) -> Tree:
    """Arrange the layers by their blocks; see ``block_paths``.

    A block with a single block inside and no layer of its own is one with it.
    """
    placed: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, path in enumerate(block_paths(fusion)):
        placed[path].append(number)
    root = _tree("", placed, 0)
    return Tree(fusion.model.name, root.layers, root.inside)


def block_paths(fusion: Fusion) -> tuple[tuple[str, ...], ...]:
    """Return for each layer the blocks of the model, outer to inner, that it lies in.

    Exporters write the path of a module before a node's or a weight's own name, with ``/`` or
    ``.`` between: ``block0/attention/k/MatMul``, ``layer1.0.conv1.weight``. A layer lies where its
    convolutions and matrix products lie, without any where its nodes lie; if these lie in several
    blocks, in the one around them. Nodes without a path lie where their weights do.
    """
    paths = _node_paths(fusion.graph)
    heavy = {node.name for node in fusion.graph.nodes if node.op in CONVOLUTIONS | PRODUCTS}
    pairs = zip(fusion.layers, fusion.groups, strict=True)
    return tuple(_layer_path(layer, group, paths, heavy) for layer, group in pairs)


def module_path(name: str) -> tuple[str, ...]:
    """Return the modules that a name tells of, without its own last part; empty if of none.

    A part that repeats the one before it, as in ``layer1/layer1.0/conv1/Conv``, is cut short.
    """
    parts: list[str] = []
    before = ""
    for part in name[:_LONGEST].strip("/").split("/"):
        own = part.removeprefix(f"{before}.") if before else part
        parts += [p for p in re.split(r"\.", own) if p]
        before = part
    return tuple(parts[:-1][:_DEEPEST])


def _node_paths(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return each node's modules, by its name or else by those of its weights."""
    weights = {name for name, tensor in graph.tensors.items() if tensor.is_constant}
    return {
        node.name: module_path(node.name)
        or _common([module_path(name) for name in node.inputs if name in weights])
        for node in graph.nodes
    }


def _layer_path(
    layer: EngineLayer,
    group: Group,
    paths: Mapping[str, tuple[str, ...]],
    heavy: Collection[str],
) -> tuple[str, ...]:
    if not group.nodes:
        return (ADDED,)
    known = [node for node in group.nodes if paths.get(node)]
    if known:
        main = [node for node in known if node in heavy]
        return _common([paths[node] for node in main or known])
    return _common([module_path(leaf) for leaf in parse(layer.name).leaves if leaf not in paths])


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return what the paths that are not empty begin with."""
    known = [path for path in paths if path]
    if not known:
        return ()
    first, last = min(known), max(known)
    same = (a == b for a, b in zip(first, last, strict=False))
    return first[: next((n for n, equal in enumerate(same) if not equal), len(min(first, last)))]


def _tree(name: str, placed: Mapping[tuple[str, ...], list[int]], depth: int) -> Tree:
    """Return the tree of all these paths, which agree in their first ``depth`` parts."""
    own: list[int] = []
    below: dict[str, dict[tuple[str, ...], list[int]]] = defaultdict(dict)
    for path, numbers in placed.items():
        if len(path) == depth:
            own += numbers
        else:
            below[path[depth]][path] = numbers
    inside = tuple(_tree(part, paths, depth + 1) for part, paths in below.items())
    if len(inside) == 1 and not own and name:
        return replace(inside[0], name=f"{name}/{inside[0].name}")
    return Tree(name, tuple(own), inside)
