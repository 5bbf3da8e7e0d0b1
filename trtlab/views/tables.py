"""Records as plain tables: text for a terminal, escaped HTML for a page."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trtlab.record import LayerProfile, LayerTensor, Plan, Point, SweepResult, WorkspaceCurve
from trtlab.units import (
    N_A,
    text_from_bytes,
    text_from_file_size,
    text_from_interval,
    text_from_ms,
    text_from_number,
    text_from_shape,
)


@dataclass(frozen=True, slots=True)
class Table:
    """Column heads, rows of text, and which columns hold numbers (aligned right)."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int]

    def text(self) -> str:
        """Return aligned columns for a terminal."""
        lines = [self.heads, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.heads))]
        printed = [
            "  ".join(
                cell.rjust(width) if i in self.numeric else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join(printed)

    def html(self) -> str:
        """Return a table element; every cell is escaped."""
        head = "".join(
            f"<th scope='col'{self._class(i)}>{html.escape(text)}</th>"
            for i, text in enumerate(self.heads)
        )
        body = "".join(
            "<tr>"
            + "".join(f"<td{self._class(i)}>{html.escape(c)}</td>" for i, c in enumerate(row))
            + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _class(self, column: int) -> str:
        return " class='trtlab-number'" if column in self.numeric else ""


def _level(level: str | int | None) -> str:
    return "default" if level is None else str(level)


def _limit(size: int | None) -> str:
    return "default" if size is None else text_from_bytes(size)


def _cap(p: Point) -> str:
    cap = p.run.activation_cap_bytes
    return "none" if cap is None else text_from_bytes(cap)


_OPTIONAL: tuple[tuple[str, Callable[[Point], str]], ...] = (
    ("Threads", lambda p: "default" if p.run.threads is None else str(p.run.threads)),
    ("Optimisation", lambda p: _level(p.build.optimization_level)),
    ("Backend", lambda p: p.build.backend),
    ("Target", lambda p: p.build.target_text.upper()),
    ("Workspace", lambda p: _limit(p.build.workspace_bytes)),
    ("Activation cap", _cap),
    ("Seed", lambda p: str(p.run.seed)),
)
"""Columns that are shown where points differ in them; threads also where they were set."""


def sweep_table(points: SweepResult | Sequence[Point]) -> Table:
    """One row a point: settings, latency with interval, throughput, memory, doubts."""
    several = points.points if isinstance(points, SweepResult) else tuple(points)
    optional = [
        (head, word)
        for head, word in _OPTIONAL
        if len({word(p) for p in several}) > 1
        or (head == "Threads" and any(p.run.threads for p in several))
    ]
    heads = ["Model", "Batch", "Streams", *(head for head, _ in optional)]
    heads += ["p50 ms [95 %]", "p99 ms", "inf/s", "n", "Peak memory", "Remarks"]
    rows = []
    for p in several:
        m = p.measurement
        batch = m.batch if m is not None else p.run.batch
        cells = [p.model.name, N_A if batch is None else str(batch), str(p.run.streams)]
        cells += [word(p) for _, word in optional]
        if m is None:
            cells += [N_A] * 5 + [p.failure.message if p.failure else "built, not run"]
        else:
            remarks = ["quick"] * m.run.quick + ["recorded"] * (m.source == "recorded")
            remarks += [c.kind for c in m.caveats]
            cells += [
                f"{text_from_number(m.median_ms)} {text_from_interval(m.median_interval_ms)}",
                text_from_number(m.percentile_ms(99)),
                text_from_number(m.throughput),
                f"{m.n:,}",
                text_from_bytes(m.memory.peak_above_baseline),
                ", ".join(remarks),
            ]
        rows.append(tuple(cells))
    words = {"Model", "Optimisation", "Backend", "Target", "Workspace", "Remarks"}
    numeric = frozenset(i for i, head in enumerate(heads) if head not in words)
    return Table(tuple(heads), tuple(rows), numeric)


def plan_table(plan: Plan) -> Table:
    """A plan's layers in the builder's order: what each came from and what it writes."""
    rows = tuple(
        (
            layer.name,
            layer.type,
            N_A if layer.stream is None else str(layer.stream),
            _short_list(layer.nodes) or "none",
            ", ".join(_output_text(t) for t in layer.outputs),
        )
        for layer in plan.layers or ()
    )
    return Table(("Layer", "Type", "Stream", "ONNX nodes", "Writes"), rows, frozenset({2}))


def workspace_table(curve: WorkspaceCurve) -> Table:
    """One row a limit: whether it builds, what the builder reports, what it changes."""
    rows = tuple(
        (
            p.limit_text,
            "builds" if p.plan is not None else "fails",
            N_A if p.asked_bytes is None else f"{p.asked_bytes:,}",
            text_from_bytes(p.memory.activation if p.memory else None),
            text_from_file_size(p.plan_bytes),
            N_A if p.layers is None else str(p.layers),
            N_A if p.layers_changed is None else str(p.layers_changed),
            text_from_ms(None if p.measurement is None else p.measurement.median_ms),
        )
        for p in curve.points
    )
    heads = ("Limit", "Outcome", "Named, B", "Activations", "Plan", "Layers", "Changed", "p50")
    return Table(heads, rows, frozenset(set(range(len(heads))) - {1}))


def _short_list(names: Sequence[str], most: int = 60) -> str:
    """Name as many as fit, and say how many more there are."""
    text = ", ".join(names)
    if len(text) <= most or len(names) < 2:
        return text
    return f"{names[0]} and {len(names) - 1} more"


def _output_text(tensor: LayerTensor) -> str:
    shape = "" if tensor.shape is None else text_from_shape(tensor.shape)
    return f"{tensor.dtype or N_A} {shape}".strip()


def layer_table(profile: LayerProfile, most: int | None = None) -> Table:
    """Layers by falling share of the sum of layer times."""
    ranked = sorted(zip(profile.shares(), profile.layers, strict=True), key=lambda p: -p[0])
    rows = tuple(
        (layer.name, layer.type, text_from_ms(layer.median_ms), f"{share:.1%}")
        for share, layer in ranked[:most]
    )
    return Table(("Layer", "Type", "Median", "Share of layers"), rows, frozenset({2, 3}))
