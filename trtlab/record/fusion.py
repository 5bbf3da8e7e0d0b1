"""``Fusion``: which ONNX nodes became which layers of a plan, and what else became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trtlab.errors import SpecError
from trtlab.model.types import Graph
from trtlab.record.base import ModelRef, Source, caveat_rows
from trtlab.record.layers import TimeKind
from trtlab.record.plan import EngineLayer
from trtlab.shown import Shown
from trtlab.spec import Caveat
from trtlab.units import N_A, text_from_bytes

if TYPE_CHECKING:
    import pandas as pd

State = Literal["in layer", "folded", "removed", "opaque", "unexplained"]
"""What became of a node: it runs in layers, in constants, not at all, somewhere inside a region
that the builder does not open, or it is not known."""

Rule = Literal[
    "metadata",
    "layer name",
    "tensors",
    "reachability",
    "written in place",
    "constant inputs",
    "dimensions only",
    "unreachable",
    "identity",
    "same as another",
    "view",
    "region",
    "none",
]
"""How a decision was found. The builder's word: ``metadata``, ``layer name``, ``region`` (the end
points of a ``ForeignNode``). Proved from the graph: all others but ``none``."""

Family = Literal[
    "conv chain",
    "matrix product",
    "pointwise chain",
    "kept 1:1",
    "data movement",
    "sync, shape",
    "not named",
    "opaque",
]
"""What a layer is, for its colour. ``data movement`` and ``sync, shape`` were added by the
builder; ``not named`` computes something for which no node is named."""

Pattern = Literal[
    "vertical fusion",
    "pointwise chain",
    "reduction fusion",
    "data movement fusion",
    "residual add",
    "horizontal merge",
    "concatenation in place",
    "q/dq folded",
    "reformat or cast",
    "own stream",
    "opaque region",
]
"""A fusion by the name that the field gives it; a layer can show several."""

Barrier = Literal[
    "graph output",
    "several readers",
    "precision change",
    "format change",
    "another stream",
    "not known",
]
"""What stands between a node and its neighbour in another layer."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Node ``node`` runs in layer number ``layer``, found by ``rule``."""

    node: str
    layer: int
    rule: Rule


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one node.

    Attributes:
        layers: Numbers of the layers it is in (``in layer``, ``opaque``), of the layer that
            holds its result (``folded``) or that took its work over (``removed``).
        because: The proof in words, for a node that is in no layer.
    """

    node: str
    state: State
    layers: tuple[int, ...]
    rule: Rule
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One layer of the plan and the nodes in it; there is one for every layer, in its order.

    Attributes:
        tag: ``G1``, ``G2`` … for layers with nodes, "" for those that the builder added.
        nodes: In the graph's order.
        unwritten: Tensors between the nodes that no layer writes to memory.
        saved_bytes: Memory traffic that fusing saves in one inference: each of ``unwritten`` is
            neither written nor read back, and siblings that were merged read their input once.
            Estimated from shapes; None where one is unknown.
        flops: Operations of its nodes (estimated); None where one is unknown. A node in several
            layers counts in the first.
        bytes: What it reads and writes by the shapes that the builder declares (constants
            included, reads of cached data not told apart); None where one is unknown.
        precision: Data type of its first input: ``float32``, ``int8``; None if not said.
        time_ms: Median of its time in profiled runs, or the average where only that is known;
            None if it was not profiled.
        time_share: Its share of the sum of layer times.
        text: What it is and why that helps, in two or three sentences.
    """

    tag: str
    family: Family
    patterns: tuple[Pattern, ...] = ()
    nodes: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = ()
    saved_bytes: int | None = None
    flops: int | None = None
    bytes: int | None = None
    precision: str | None = None
    time_ms: float | None = None
    time_share: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Seam:
    """Two nodes that share ``tensor`` and no layer, and what stands between them."""

    tensor: str
    writer: str
    reader: str
    barrier: Barrier
    because: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Fusion(Shown):
    """A model's graph before, the layers of its plan after, and the edges between them.

    Attributes:
        backend: Who made the layers.
        target: What for: ``sm89``, ``cpu`` …
        graph: The ONNX graph; rebuilt from names where ``graph_source`` is ``names``.
        layers: As the builder reports them, in its order.
        groups: One for each layer.
        edges: Which node is in which layer.
        fates: One for each node of the graph.
        seams: Neighbours that were not fused.
        explanations: By node, what happened to it in two or three sentences.
        sizes: Sizes of the named axes that all estimates are for.
        time_kind: What the layer times are; None where nothing was profiled.
        time_source: Where they were measured; None where nothing was profiled.
        runs: Number of profiled runs behind each time; 0 where nothing was profiled, None where
            that is not said.
    """

    model: ModelRef
    backend: str
    target: str
    graph: Graph
    graph_source: Literal["model", "names"]
    layers: tuple[EngineLayer, ...]
    groups: tuple[Group, ...]
    edges: tuple[Edge, ...]
    fates: tuple[Fate, ...]
    seams: tuple[Seam, ...] = ()
    explanations: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    time_kind: TimeKind | None = None
    time_source: Source | None = None
    runs: int | None = 0
    caveats: tuple[Caveat, ...] = ()
    source: Source = "here"
    kind: ClassVar[str] = "fusion"

    def explain(self, name: str) -> str:
        """Return what happened to a node, or what a layer is, in a few sentences.

        Args:
            name: A node, a layer, or a group's tag (``G6``).

        Raises:
            SpecError: there is nothing of that name.
        """
        if name in self.explanations:
            return self.explanations[name]
        for layer, group in zip(self.layers, self.groups, strict=True):
            if name and name in (layer.name, group.tag):
                return group.text
        names = [*self.explanations, *(layer.name for layer in self.layers)]
        close = get_close_matches(name, names, n=1)
        raise SpecError(
            f"There is no node and no layer {name!r} in {self.model.name}.",
            hint=f"Did you mean {close[0]!r}?" if close else "Give the name of a node or a layer.",
        )

    def layers_of(self, node: str) -> tuple[int, ...]:
        """Return the numbers of the layers that a node is in."""
        return tuple(edge.layer for edge in self.edges if edge.node == node)

    @property
    def summary(self) -> dict[str, Any]:
        """The figures that tell how much is explained, as plain numbers."""
        states = Counter(fate.state for fate in self.fates)
        families = Counter(group.family for group in self.groups)
        return {
            "nodes": len(self.fates),
            "layers": len(self.layers),
            "layers_with_nodes": sum(bool(group.nodes) for group in self.groups),
            "states": dict(states),
            "families": dict(families),
            "patterns": dict(Counter(p for group in self.groups for p in group.patterns)),
            "unexplained_share": self.unexplained_share,
            "one_owner_share": self.one_owner_share,
            "opaque_share": self.opaque_share,
            "largest_group": self.largest_group,
        }

    @property
    def unexplained_share(self) -> float | None:
        """Unexplained nodes as a share of all nodes; None without nodes."""
        return self._share("unexplained")

    @property
    def opaque_share(self) -> float | None:
        """Nodes inside opaque regions as a share of all nodes; None without nodes."""
        return self._share("opaque")

    @property
    def one_owner_share(self) -> float | None:
        """Nodes in exactly one layer as a share of those in at least one; None without any."""
        owners = Counter(edge.node for edge in self.edges)
        return sum(n == 1 for n in owners.values()) / len(owners) if owners else None

    @property
    def largest_group(self) -> int:
        """Most nodes in one layer that is not an opaque region."""
        return max((len(g.nodes) for g in self.groups if g.family != "opaque"), default=0)

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        states = Counter(fate.state for fate in self.fates)
        families = Counter(group.family for group in self.groups)
        held = sum(bool(group.nodes) for group in self.groups)
        before = f"{len(self.fates)} ONNX nodes"
        if self.graph_source == "names":
            before = f"{len(self.fates)} nodes (rebuilt from the layers' names)"
        return [
            ("fusion", f"{self.model.name} ({self.model.recipe}) by {self.backend} "
             f"for {self.target}"),
            ("before", before),
            ("after", f"{len(self.layers)} layers (builder), {held} of them with nodes"),
            ("nodes", ", ".join(f"{n} {state}" for state, n in states.items()) or "none"),
            ("layers are", ", ".join(f"{n} {family}" for family, n in families.most_common())
             or "none"),
            ("one layer each", _percent(self.one_owner_share) + " of the nodes that run"),
            ("unexplained", _percent(self.unexplained_share) + " of all nodes"),
            ("largest group", f"{self.largest_group} nodes"),
            ("traffic saved", _saved_text(self.groups, self.sizes)),
            *([("made", "elsewhere: recorded")] if self.source == "recorded" else []),
            *([("layer times", "measured elsewhere: recorded")] if self.time_source == "recorded"
              else []),
            *caveat_rows(self.caveats),
        ]  # fmt: skip

    @property
    def df(self) -> pd.DataFrame:
        """One row a node: what became of it, its layers and the rule that says so."""
        import pandas as pd

        ops = {node.name: node.op for node in self.graph.nodes}
        names = [layer.name for layer in self.layers]
        return pd.DataFrame(
            [
                {
                    "node": fate.node,
                    "op": ops.get(fate.node),
                    "state": fate.state,
                    "layers": ", ".join(names[i] for i in fate.layers),
                    "groups": ", ".join(self.groups[i].tag for i in fate.layers),
                    "rule": fate.rule,
                    "because": fate.because,
                }
                for fate in self.fates
            ],
            columns=["node", "op", "state", "layers", "groups", "rule", "because"],
        )

    @property
    def layer_df(self) -> pd.DataFrame:
        """One row a layer: what it is, what it holds, its estimates and its time."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "layer": layer.name,
                    "group": group.tag,
                    "type": layer.type,
                    "family": group.family,
                    "patterns": ", ".join(group.patterns),
                    "nodes": ", ".join(group.nodes),
                    "precision": group.precision,
                    "stream": layer.stream,
                    "flops": group.flops,
                    "bytes": group.bytes,
                    "saved_bytes": group.saved_bytes,
                    "time_ms": group.time_ms,
                    "time_share": group.time_share,
                }
                for layer, group in zip(self.layers, self.groups, strict=True)
            ],
            columns=["layer", "group", "type", "family", "patterns", "nodes", "precision",
                     "stream", "flops", "bytes", "saved_bytes", "time_ms", "time_share"],
        )  # fmt: skip

    def _share(self, state: State) -> float | None:
        if not self.fates:
            return None
        return sum(fate.state == state for fate in self.fates) / len(self.fates)


def _percent(share: float | None) -> str:
    return N_A if share is None else f"{share:.1%}"


def _saved_text(groups: tuple[Group, ...], sizes: Mapping[str, int]) -> str:
    known = [g.saved_bytes for g in groups if g.saved_bytes is not None and g.unwritten]
    if not known:
        fused = any(g.unwritten for g in groups)
        return f"{N_A}: {'no fused group has known shapes' if fused else 'nothing is fused'}"
    at = ", ".join(f"{name} = {size}" for name, size in sizes.items())
    return f"{text_from_bytes(sum(known))} an inference{f' at {at}' if at else ''} (estimated)"
