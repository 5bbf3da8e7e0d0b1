"""``EngineComparison``: two engines side by side, over the smallest sets that both share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trtlab import stats
from trtlab.record.base import caveat_rows
from trtlab.record.comparison import Difference, Verdict, difference_text
from trtlab.record.fusion import Family, State
from trtlab.record.layers import TIME_WORDS, TimeKind
from trtlab.shown import Shown
from trtlab.spec import Caveat
from trtlab.units import N_A, text_from_ms, text_from_number

if TYPE_CHECKING:
    import pandas as pd

Alignment = Literal["by ONNX node", "without a graph", "not aligned"]
"""How the layers of two engines were brought together: over the nodes of one name; by order, kind
and dimensions where the names have nothing in common; not at all where layers are not known."""

MatchKind = Literal[
    "same",
    "other nodes",
    "together in A, apart in B",
    "together in B, apart in A",
    "cut differently",
    "alike",
    "only in A",
    "only in B",
    "no node",
]
"""What a set is. ``same``: as many layers with the same nodes in each; ``other nodes``: so too,
but for nodes that one side alone runs. ``alike``: one layer each, of one kind and dimensions
(aligned without a graph). ``cut differently``: several layers on both sides; without a graph what
lies between the same neighbours and is not alike. ``no node``: layers that the builders added."""

Absence = State | Literal["not in the model"]
"""What the other side makes of a node that it does not run."""

CHANGED: frozenset[MatchKind] = frozenset(
    {
        "other nodes",
        "together in A, apart in B",
        "together in B, apart in A",
        "cut differently",
        "only in A",
        "only in B",
    }
)
"""Sets whose nodes lie in other layers than on the other side."""


_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class TimeDifference:
    """Layer times of the two sides, in milliseconds: sums of layers, never a latency.

    Attributes:
        a_ms: Median over A's profiled runs of the sum in one run; 0 where A has no such layer,
            None where a layer was not timed.
        difference_ms: b − a; None where one is unknown or the two times mean different things.
        interval: 95 % interval of ``difference_ms``, widened by the drift between equal runs.
    """

    a_ms: float | None
    b_ms: float | None
    difference_ms: float | None
    interval: stats.Interval | None
    verdict: Verdict

    def text(self) -> str:
        """Return ``0.42 → 0.29 ms: −0.13 ms [−0.15, −0.11] better``."""
        both = " → ".join("0" if ms == 0 else text_from_ms(ms) for ms in (self.a_ms, self.b_ms))
        change = self.change_text()
        return f"{both}: {change}" if change == N_A else f"{both}: {change} {self.verdict}"

    def change_text(self) -> str:
        """Return the difference with its sign, unit and interval: ``−0.13 ms [−0.15, −0.11]``."""
        if self.difference_ms is None:
            return N_A
        factor = 1e3 if abs(self.difference_ms) < 0.1 else 1.0
        text = f"{_signed(self.difference_ms * factor)} {'ms' if factor == 1 else 'µs'}"
        if self.interval is None:
            return text
        return f"{text} [{', '.join(_signed(end * factor) for end in self.interval)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Layers of A and of B that hold the same nodes: the smallest such set.

    Attributes:
        tag: ``S1``, ``S2`` … in A's order.
        nodes: Nodes that run in these layers on both sides, in A's order.
        only_a: Nodes that only A runs here, and what B makes of them; ``only_b`` likewise.
        layers_a: Numbers of A's layers; ``layers_b`` of B's.
        precision_a: Data types of its layers in A, each once; ``precision_b`` in B. None of
            layers without nodes: they are there to change it.
        family: Of the layers that hold no node; None for all others.
        opaque: Whether it holds a region that a builder does not open: it is then as large as
            that region.
    """

    tag: str
    kind: MatchKind
    nodes: tuple[str, ...] = ()
    only_a: Mapping[str, Absence] = field(default_factory=dict)
    only_b: Mapping[str, Absence] = field(default_factory=dict)
    layers_a: tuple[int, ...]
    layers_b: tuple[int, ...]
    time: TimeDifference
    precision_a: tuple[str, ...] = ()
    precision_b: tuple[str, ...] = ()
    family: Family | None = None
    opaque: bool = False

    @property
    def precision_text(self) -> str:
        """``float32 → float16``, or one type where nothing changed; empty if nothing is known."""
        a, b = " + ".join(self.precision_a), " + ".join(self.precision_b)
        return f"{a} → {b}" if self.precision_changed else a or b

    @property
    def precision_changed(self) -> bool:
        """Whether both sides tell their data types and they differ."""
        a, b = set(self.precision_a), set(self.precision_b)
        return bool(a and b) and a != b

    def cut_text(self) -> str:
        """Return the kind, with what the other side makes of nodes that one side alone runs."""
        sides = (("B", self.only_a), ("A", self.only_b))
        absent = Counter((state, side) for side, only in sides for state in only.values())
        words = [
            f"{n} {state} {'of' if state == 'not in the model' else 'in'} {side}"
            for (state, side), n in absent.items()
        ]
        text = f"{self.kind} ({', '.join(words)})" if words else self.kind
        return f"{text}, opaque" if self.opaque else text

    def node_text(self) -> str:
        """Return the first node and how many more there are, on both sides together.

        Of layers without a node what they are; empty where the nodes are not known.
        """
        names = [*self.nodes, *self.only_a, *self.only_b]
        if not names:
            return f"no node: {self.family}" if self.family else ""
        return names[0] if len(names) == 1 else f"{names[0]} + {len(names) - 1} more"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EngineComparison(Shown):
    """Two engines side by side; ``a`` is the baseline.

    Attributes:
        a: What A is, in words; ``b`` likewise.
        layers_a: Names of A's layers, which ``Match.layers_a`` numbers; ``layers_b`` of B's.
        nodes_a: How many nodes A's graph has; ``nodes_b`` B's.
        common_nodes: How many have the same name and operator in both.
        total: Sums of the times of those sets whose layers all have times.
        time_kind: What the layer times are; None where they are unknown or of different kinds.
        runs_a: Profiled runs behind A's times, 0 where nothing was profiled, None if not said;
            ``runs_b`` B's.
        differences: Exact figures: plan bytes, layers, the builder's memory figures.
    """

    a: str
    b: str
    aligned: Alignment
    layers_a: tuple[str, ...] = ()
    layers_b: tuple[str, ...] = ()
    nodes_a: int = 0
    nodes_b: int = 0
    common_nodes: int = 0
    matches: tuple[Match, ...] = ()
    total: TimeDifference
    time_kind: TimeKind | None = None
    runs_a: int | None = 0
    runs_b: int | None = 0
    differences: tuple[Difference, ...] = ()
    caveats: tuple[Caveat, ...] = ()

    @property
    def ranked(self) -> tuple[Match, ...]:
        """The sets by falling time difference; where none is known, those that changed first."""
        if self.total.difference_ms is None:
            return tuple(
                sorted(
                    self.matches, key=lambda m: (m.kind not in CHANGED, not m.precision_changed)
                )
            )
        return tuple(sorted(self.matches, key=lambda m: -abs(m.time.difference_ms or 0)))

    @property
    def changed(self) -> tuple[Match, ...]:
        """The sets that are cut or computed in another way than on the other side."""
        return tuple(m for m in self.matches if m.kind in CHANGED or m.precision_changed)

    def name_of(self, match: Match) -> str:
        """Return a set's nodes in short, or its first layer where the nodes are not known."""
        layers = _named(self.layers_a, match.layers_a) + _named(self.layers_b, match.layers_b)
        name = match.node_text() or layers[0]
        return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"

    @property
    def summary(self) -> dict[str, Any]:
        """What changed, as plain numbers."""
        return {
            "aligned": self.aligned,
            "layers": (len(self.layers_a), len(self.layers_b)),
            "nodes": (self.nodes_a, self.nodes_b),
            "common_nodes": self.common_nodes,
            "sets": dict(Counter(m.kind for m in self.matches)),
            "precision": dict(Counter(m.precision_text for m in self.matches
                                      if m.precision_changed)),
            "opaque": sum(m.opaque for m in self.matches),
            "verdicts": dict(Counter(m.time.verdict for m in self.matches)),
            "a_ms": self.total.a_ms,
            "b_ms": self.total.b_ms,
            "difference_ms": self.total.difference_ms,
        }  # fmt: skip

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        return [
            ("A", self.a),
            ("B", self.b),
            ("aligned", self._alignment_text()),
            *self._set_rows(),
            *self._time_rows(),
            *((d.quantity, difference_text(d)) for d in self.differences),
            *caveat_rows(self.caveats),
        ]

    def _alignment_text(self) -> str:
        if self.aligned == "not aligned":
            return "not aligned: the layers are not known on both sides"
        common = f"of {self.nodes_a} nodes in A and {self.nodes_b} in B"
        if self.aligned == "by ONNX node":
            return f"by ONNX node: {common} {self.common_nodes} are the same"
        return "without a graph: by order, kind and dimensions of the layers"

    def _set_rows(self) -> list[tuple[str, str]]:
        if not self.matches:
            return []
        kinds = Counter(m.kind for m in self.matches)
        changes = Counter(m.precision_text for m in self.matches if m.precision_changed)
        opaque = sum(m.opaque for m in self.matches)
        rows = [("sets", ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))]
        if changes:
            counted = ", ".join(f"{n} {change}" for change, n in changes.most_common())
            rows.append(("precision", f"{counted} (builder)"))
        if opaque:
            rows.append(("opaque", f"{opaque} sets hold a region that a builder does not open"))
        return rows

    def _time_rows(self) -> list[tuple[str, str]]:
        if self.total.a_ms is None and self.total.b_ms is None:
            return []
        kind = f"{TIME_WORDS[self.time_kind]}, " if self.time_kind else ""
        runs = " and ".join(N_A if n is None else f"{n:,}" for n in (self.runs_a, self.runs_b))
        said = f"{self.total.text()} ({kind}measured, n {runs}; not a latency)"
        rows = [("sum of layer times", said)]
        if self.total.difference_ms is None:
            return rows
        return rows + [
            (m.tag, f"{self.name_of(m)}: {m.time.text()}")
            for m in self.ranked[:5]
            if m.time.difference_ms
        ]

    @property
    def df(self) -> pd.DataFrame:
        """One row a set, in A's order: its nodes, its layers on both sides, their times in ms."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "set": m.tag,
                    "kind": m.kind,
                    "nodes": ", ".join(m.nodes),
                    "only_a": ", ".join(m.only_a),
                    "only_b": ", ".join(m.only_b),
                    "layers_a": ", ".join(_named(self.layers_a, m.layers_a)),
                    "layers_b": ", ".join(_named(self.layers_b, m.layers_b)),
                    "n_a": len(m.layers_a),
                    "n_b": len(m.layers_b),
                    "precision_a": ", ".join(m.precision_a),
                    "precision_b": ", ".join(m.precision_b),
                    "family": m.family,
                    "opaque": m.opaque,
                    "a_ms": m.time.a_ms,
                    "b_ms": m.time.b_ms,
                    "difference_ms": m.time.difference_ms,
                    "low_ms": m.time.interval.low if m.time.interval else None,
                    "high_ms": m.time.interval.high if m.time.interval else None,
                    "verdict": m.time.verdict,
                }
                for m in self.matches
            ],
            columns=["set", "kind", "nodes", "only_a", "only_b", "layers_a", "layers_b", "n_a",
                     "n_b", "precision_a", "precision_b", "family", "opaque", "a_ms", "b_ms",
                     "difference_ms", "low_ms", "high_ms", "verdict"],
        )  # fmt: skip


def _named(names: Sequence[str], numbers: Sequence[int]) -> list[str]:
    return [names[n] for n in numbers]


def _signed(value: float) -> str:
    text = text_from_number(value)
    return f"+{text}" if value >= 0.01 else text
