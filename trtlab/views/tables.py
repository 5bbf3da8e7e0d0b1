"""Records as plain tables: text for a terminal, escaped HTML for a page."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trtlab.analysis.regions import InnerNode, opaque_regions
from trtlab.model.conversion import ConversionReport
from trtlab.model.printing import printable
from trtlab.record import (
    TIME_WORDS,
    EngineComparison,
    EngineLayer,
    Fusion,
    Group,
    LayerProfile,
    LayerTensor,
    Match,
    Plan,
    Point,
    SweepResult,
    TimeDifference,
    Verdict,
    WorkspaceCurve,
)
from trtlab.units import (
    N_A,
    text_from_bytes,
    text_from_count,
    text_from_file_size,
    text_from_interval,
    text_from_ms,
    text_from_number,
    text_from_shape,
)
from trtlab.views.graph.colour_by import precision_name, share_text, time_reason
from trtlab.views.graph.labels import data_format, middle_cut
from trtlab.views.sentences import measure_origin
from trtlab.views.theme import Provenance, badge


@dataclass(frozen=True, slots=True)
class Table:
    """Column heads, rows of text, and which columns hold numbers (aligned right).

    ``origins`` says by column where its numbers come from, where columns differ in that.
    ``notes`` are lines below the table.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int]
    origins: Mapping[int, Provenance] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Return aligned columns for a terminal."""
        marks = tuple(self.origins.get(i, "") for i in range(len(self.heads)))
        lines = [self.heads, *([marks] if self.origins else []), *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.heads))]
        printed = [
            "  ".join(
                cell.rjust(width) if i in self.numeric else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([*printed, *self.notes])

    def html(self) -> str:
        """Return a table element; every cell is escaped."""
        head = "".join(
            f"<th scope='col'{self._class(i)}>{html.escape(text)}{self._mark(i)}</th>"
            for i, text in enumerate(self.heads)
        )
        body = "".join(
            "<tr>"
            + "".join(f"<td{self._class(i)}>{html.escape(c)}</td>" for i, c in enumerate(row))
            + "</tr>"
            for row in self.rows
        )
        notes = "<br>".join(html.escape(note) for note in self.notes)
        below = f"<p class='trtlab-hint'>{notes}</p>" if notes else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"

    def _mark(self, column: int) -> str:
        return f" {badge(self.origins[column], short=True)}" if column in self.origins else ""

    def _class(self, column: int) -> str:
        return " class='trtlab-number'" if column in self.numeric else ""


def _level(level: str | int | None) -> str:
    return "default" if level is None else str(level)


def _limit(size: int | None) -> str:
    return "default" if size is None else text_from_bytes(size)


def _batch(p: Point) -> str:
    batch = p.run.batch if p.measurement is None else p.measurement.batch
    return "—" if batch is None else str(batch)


def _cap(p: Point) -> str:
    cap = p.run.activation_cap_bytes
    return "none" if cap is None else text_from_bytes(cap)


_OPTIONAL: tuple[tuple[str, Callable[[Point], str]], ...] = (
    ("Model", lambda p: p.model.name),
    ("Batch", _batch),
    ("Streams", lambda p: str(p.run.streams)),
    ("Precision", lambda p: p.model.recipe.upper()),
    ("Threads", lambda p: "default" if p.run.threads is None else str(p.run.threads)),
    ("Optimisation", lambda p: _level(p.build.optimization_level)),
    ("Backend", lambda p: p.build.backend),
    ("Target", lambda p: p.build.target_text.upper()),
    ("Workspace", lambda p: _limit(p.build.workspace_bytes)),
    ("Activation cap", _cap),
    ("Seed", lambda p: str(p.run.seed)),
)
"""Columns that are shown where points differ in them; the batch always, threads and streams also
where they were set."""
_PLANNED: tuple[tuple[str, Callable[[Plan], str]], ...] = (
    ("Plan", lambda plan: text_from_file_size(plan.plan_bytes)),
    ("Layers", lambda plan: N_A if plan.layers is None else f"{len(plan.layers):,}"),
    ("Activations", lambda plan: text_from_bytes(plan.memory.activation if plan.memory else None)),
)
"""Columns that are shown where a plan was built and not run: the builder's words."""
_WORDS = frozenset(
    {"Model", "Precision", "Optimisation", "Backend", "Target", "Workspace", "Remarks"}
)


def sweep_table(points: SweepResult | Sequence[Point]) -> Table:
    """One row a point: settings, latency with interval, throughput, memory, doubts.

    There is a column for the accuracy where a point has one, with its origin in each cell. Why a
    point has no latency is told in a note, alike reasons once.
    """
    several = points.points if isinstance(points, SweepResult) else tuple(points)
    optional = [
        (head, word)
        for head, word in _OPTIONAL
        if head == "Batch"
        or len({word(p) for p in several}) > 1
        or (head == "Threads" and any(p.run.threads for p in several))
        or (head == "Streams" and any(p.run.streams > 1 for p in several))
    ]
    is_compared = any(p.accuracy is not None for p in several)
    planned = _PLANNED if any(p.plan and not p.measurement for p in several) else ()
    heads = [head for head, _ in optional]
    heads += ["p50 ms [95 %]", "p99 ms", "inf/s", "n", "Peak memory"]
    heads += [*["Accuracy"] * is_compared, *(head for head, _ in planned), "Remarks"]
    reasons = list(dict.fromkeys(p.no_latency_because for p in several if not p.measurement))
    rows = []
    for p in several:
        m = p.measurement
        cells = [word(p) for _, word in optional]
        if m is None:
            cells += [N_A] * 5
            remarks = [f"{_outcome(p)} [{reasons.index(p.no_latency_because) + 1}]"]
        else:
            remarks = ["quick"] * m.run.quick + ["recorded"] * (m.source == "recorded")
            remarks += [c.kind for c in m.caveats]
            cells += [
                f"{text_from_number(m.median_ms)} {text_from_interval(m.median_interval_ms)}",
                text_from_number(m.percentile_ms(99)),
                text_from_number(m.throughput),
                f"{m.n:,}",
                text_from_bytes(m.memory.peak_above_baseline),
            ]
        cells += [p.accuracy_text() or N_A] * is_compared
        cells += [N_A if p.plan is None else word(p.plan) for _, word in planned]
        rows.append((*cells, ", ".join(remarks)))
    numeric = frozenset(i for i, head in enumerate(heads) if head not in _WORDS)
    marks: dict[int, Provenance] = {heads.index(head): "builder" for head, _ in planned}
    notes = tuple(f"[{number}] {reason}" for number, reason in enumerate(reasons, 1))
    return Table(tuple(heads), tuple(rows), numeric, marks, notes)


def _outcome(point: Point) -> str:
    """Return in few words why a point has no latency."""
    if point.failure is not None:
        return "failed"
    return "not timed" if point.plan is None else "built, not run"


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


def conversion_table(report: ConversionReport) -> Table:
    """One row a node that a conversion left in higher precision, with the reason."""
    rows = tuple((named(kept.node), named(kept.op, 28), kept.reason) for kept in report.kept)
    return Table(("ONNX node", "Operator", "Kept because"), rows, frozenset())


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
    # A profiler that tells no medians (an older trtexec) still tells means.
    means = any(layer.median_ms is None for layer in profile.layers)
    rows = tuple(
        (
            layer.name,
            layer.type,
            text_from_ms(layer.average_ms if means else layer.median_ms),
            N_A if math.isnan(share) else f"{share:.1%}",
        )
        for share, layer in ranked[:most]
    )
    heads = ("Layer", "Type", "Mean" if means else "Median", "Share of layers")
    return Table(heads, rows, frozenset({2, 3}))


_VERDICTS: dict[Verdict, str] = {
    "better": "▼ faster",
    "worse": "▲ slower",
    "not distinguishable": "= not distinguishable",
    "unknown": N_A,
}


def engines_table(comparison: EngineComparison, most: int | None = None) -> Table:
    """One row a set of nodes, by falling difference in time; without times the changed ones first.

    There are columns for nodes and for times only where they are known.
    """
    sides = comparison.layers_a, comparison.layers_b
    by_node = comparison.aligned == "by ONNX node"
    timed = comparison.total.a_ms is not None or comparison.total.b_ms is not None
    rows = []
    for match in comparison.ranked[:most]:
        numbers = match.layers_a, match.layers_b
        cells = [match.tag, *[_cut(match.node_text()) or "—"] * by_node]
        cells += [_layers_text(names, n) for names, n in zip(sides, numbers, strict=True)]
        cells += [match.cut_text(), match.precision_text or N_A]
        rows.append((*cells, *(_time_cells(match) if timed else ())))
    heads = ["Set", *["ONNX nodes"] * by_node, "Layers in A", "Layers in B", "Cut", "Data type"]
    heads += ["A", "B", "B − A [95 %]", "Verdict"] * timed
    numeric = frozenset(heads.index(h) for h in ("A", "B", "B − A [95 %]") if h in heads)
    return Table(tuple(heads), tuple(rows), numeric)


def _layers_text(names: Sequence[str], numbers: Sequence[int]) -> str:
    if not numbers:
        return "—"
    more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
    return _cut(names[numbers[0]]) + more


def _cut(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _time_cells(match: Match) -> tuple[str, ...]:
    time: TimeDifference = match.time
    verdict = _VERDICTS.get(time.verdict, time.verdict)
    if verdict != N_A and not (match.layers_a and match.layers_b):
        verdict = f"✕ no match in {'B' if match.layers_a else 'A'}"
    sides = zip((time.a_ms, time.b_ms), (match.layers_a, match.layers_b), strict=True)
    both = (text_from_ms(ms) if layers else "—" for ms, layers in sides)
    return (*both, time.change_text(), verdict)


def fusion_table(fusion: Fusion) -> Table:
    """One row a layer of a fusion, in the plan's order: what it is, what it costs.

    ``Saved`` is the memory traffic that its fusion saves. There is a column of shares only where
    layers were timed.
    """
    timed = fusion.time_kind is not None
    heads = ["Group", "Layer", "Kind", "ONNX nodes", "Type", "Data type", "Format", "Stream"]
    heads += ["FLOP", "Bytes", "Saved", _time_head(fusion), *["Share of layers"] * timed]
    origins: dict[int, Provenance] = dict.fromkeys((5, 6, 7), "builder")
    origins |= dict.fromkeys((8, 9, 10), "estimated")
    if timed:
        origins |= dict.fromkeys((11, 12), measure_origin(fusion, "time"))
    rows = []
    for layer, group in zip(fusion.layers, fusion.groups, strict=True):
        cells = _layer_cells(layer, group)
        rows.append((*cells, *[share_text(group.time_share)] * timed))
    return Table(tuple(heads), tuple(rows), frozenset(range(7, len(heads))), origins)


def _time_head(fusion: Fusion) -> str:
    if fusion.time_kind is None:
        return f"Time, {time_reason(fusion)}"
    words = TIME_WORDS[fusion.time_kind]
    return f"{words[0].upper()}{words[1:]}, n {fusion.runs or N_A}"


def _layer_cells(layer: EngineLayer, group: Group) -> tuple[str, ...]:
    first = next((t for t in layer.inputs if not t.is_constant), None)
    ends = [first, layer.outputs[0] if layer.outputs else None]
    types = [N_A if t is None or t.dtype is None else precision_name(t.dtype) for t in ends]
    formats = [data_format(t.format) for t in ends if t is not None and t.format]
    return (
        group.tag or "—",
        named(layer.name),
        ", ".join([group.family, *group.patterns]),
        named(_short_list(group.nodes, 40)) or "—",
        named(layer.type, 28) or N_A,
        " → ".join(dict.fromkeys(types)),
        " → ".join(dict.fromkeys(formats)) or N_A,
        N_A if layer.stream is None else str(layer.stream),
        text_from_count(group.flops, "FLOP"),
        text_from_bytes(group.bytes),
        text_from_bytes(group.saved_bytes),
        text_from_ms(group.time_ms),
    )


def named(text: str, most: int = 40) -> str:
    """Cut a name, and make one line of it."""
    return printable(middle_cut(text, most))


def regions_table(fusion: Fusion) -> Table:
    """One row a node inside an opaque region, by region and in the graph's order.

    All numbers are estimated, the share of the region's time too: see ``analysis.regions``.
    """
    rows = [
        _inner_cells(fusion.groups[region.layer].tag, node)
        for region in opaque_regions(fusion)
        for node in region.nodes
    ]
    heads = ("Region", "ONNX node", "Operator", "FLOP", "Of its FLOP", "Bytes", "Of its bytes",
             "Of its time")  # fmt: skip
    numeric = range(heads.index("FLOP"), len(heads))
    marks: dict[int, Provenance] = dict.fromkeys(numeric, "estimated")
    return Table(heads, tuple(rows), frozenset(numeric), marks)


def _inner_cells(tag: str, node: InnerNode) -> tuple[str, ...]:
    return (
        tag,
        named(node.node),
        named(node.op, 28),
        text_from_count(node.flops, "FLOP"),
        share_text(node.flop_share),
        text_from_bytes(node.bytes),
        share_text(node.byte_share),
        share_text(node.time_share),
    )
