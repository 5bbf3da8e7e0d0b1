"""Plotly figures of what a precision costs and saves: accuracy, sizes, the error node by node."""

from __future__ import annotations

import html
import math
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import plotly.graph_objects as go

from trtlab.analysis.sizes import Size, sizes_against_fp32
from trtlab.errors import SpecError
from trtlab.model.printing import printable
from trtlab.record import Accuracy, NodeError, Point, SweepResult
from trtlab.units import N_A, text_from_file_size
from trtlab.views.figures.hovers import plain
from trtlab.views.figures.marks import (
    TEXT_PLACES,
    families,
    log_ticks,
    precision_marks,
    run_hover,
)
from trtlab.views.graph.labels import middle_cut
from trtlab.views.precision_sentences import (
    against_text,
    culprits,
    decibels,
    effect_text,
    left_out,
    ratio_text,
    size_place,
)
from trtlab.views.series import labels, series_of
from trtlab.views.theme import PRECISION, TOKENS, Theme

PrecisionQuantity = Literal["accuracy", "sizes", "nodes"]

_LOG_FROM = 3.0
"""The latencies lie on a logarithmic axis where the longest is this many times the shortest."""
_LINE = 110
"""Characters of a note's line: about 680 pixels. Plotly does not wrap by itself."""
_LINE_PX, _UNDER_NOTES_PX, _AXIS_PX, _HEIGHT_PX = 16, 8, 46, 380
_MOST_LINES = 8
_GROUP_GAP = 0.5
"""Between the bars of two models, in bars."""
_OCTAVES: Mapping[int, str] = MappingProxyType(
    {-4: "1/16", -3: "⅛", -2: "¼", -1: "½", 0: "1", 1: "2", 2: "4", 3: "8", 4: "16"}
)
"""Names of sizes, by the power of 2 that they are of FP32's."""
_EDGE = 0.25
"""Room beside the longest bar, in powers of 2."""
_LONGEST_NAME = 44
_TEXT_ABOVE, _TEXT_BELOW = "top center", "bottom center"


def precision_figure(records: object, quantity: PrecisionQuantity, theme: Theme) -> go.Figure:
    """Draw what a precision costs; see ``figures.figure``, which gives it its template."""
    if quantity == "nodes":
        if not isinstance(records, Accuracy):
            raise SpecError("That is drawn from an accuracy.", hint="trtlab.accuracy")
        return _nodes(records, theme)
    several = records.points if isinstance(records, SweepResult) else records
    if not isinstance(several, Sequence) or not all(isinstance(p, Point) for p in several):
        raise SpecError("That is drawn from a sweep or its points.", hint="trtlab.sweep")
    return (_accuracy if quantity == "accuracy" else _sizes)(several, theme)


def on_speed_curve(points: Sequence[Point]) -> list[Point]:
    """Return the points that have both a latency and the accuracy that is drawn against it."""
    by_labels = _by_labels(points)
    return [p for p in points if p.measurement is not None and _height(p, by_labels) is not None]


def _by_labels(points: Sequence[Point]) -> bool:
    return any(p.accuracy and p.accuracy.labels for p in points)


def _accuracy(points: Sequence[Point], theme: Theme) -> go.Figure:
    """Top-1 against latency, or SQNR where no point has labels; the rest is listed below."""
    by_labels = _by_labels(points)
    drawn = on_speed_curve(points)
    fig = go.Figure()
    of_run = {id(p.measurement): p for p in drawn}
    series = series_of([p.measurement for p in drawn if p.measurement is not None])
    names = labels(series)
    seen: Counter[str] = Counter()
    for place, (key, runs) in enumerate(series.items()):
        for origin in ("measured", "estimated"):
            some = [of_run[id(m)] for m in runs if _origin(of_run[id(m)]) == origin]
            if not some:
                continue
            marks = precision_marks(seen[key.recipe], key.recipe, theme)
            name = html.escape(names[key])
            if origin == "estimated":
                name += ", estimated (emulated)"
                hollow = marks["marker"]["symbol"].removesuffix("-open") + "-open-dot"
                edge = {**marks["marker"]["line"], "width": 2}
                marks["marker"] |= {"symbol": hollow, "line": edge}
            _add_points(fig, some, by_labels, name, marks, TEXT_PLACES[place % len(TEXT_PLACES)])
            seen[key.recipe] += 1
    _add_reference(fig, drawn, by_labels, theme)
    _draw_axes(fig, drawn, by_labels)
    missing = left_out(points, {id(p) for p in drawn})
    _add_notes(fig, ["Not drawn:"] * bool(missing) + _few(missing), theme)
    if not drawn:
        fig.add_annotation(text="No point has both an accuracy and a latency.", showarrow=False,
                           x=0.5, y=0.5, xref="paper", yref="paper")  # fmt: skip
        fig.update_xaxes(showticklabels=False)
        fig.update_yaxes(showticklabels=False)
    return fig


def _height(point: Point, by_labels: bool) -> float | None:
    """Return a point's top-1 in percent, or the SQNR of its worst output."""
    if not by_labels:
        return point.accuracy.worst_sqnr_db if point.accuracy else None
    found = point.accuracy.labels if point.accuracy else None
    return None if found is None else 100 * found.top1


def _origin(point: Point) -> str:
    return point.accuracy.origin if point.accuracy else ""


def _add_points(
    fig: go.Figure,
    points: Sequence[Point],
    by_labels: bool,
    name: str,
    marks: Mapping[str, Any],
    text_place: str,
) -> None:
    runs = [p.measurement for p in points if p.measurement is not None]
    spans = [m.median_interval_ms for m in runs]
    found = [p.accuracy.labels if p.accuracy else None for p in points]
    fig.add_scatter(
        x=[m.median_ms for m in runs],
        y=[_height(p, by_labels) for p in points],
        name=name,
        mode="lines+markers+text",
        text=["" if m.batch is None else str(m.batch) for m in runs],
        textposition=text_place,
        **marks,
        error_x={
            "type": "data",
            "width": 0,
            "symmetric": False,
            "array": [
                s.high - m.median_ms if s else None for s, m in zip(spans, runs, strict=True)
            ],
            "arrayminus": [
                m.median_ms - s.low if s else None for s, m in zip(spans, runs, strict=True)
            ],
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [100 * (x.drop - x.drop_interval.low) if x else None for x in found],
            "arrayminus": [100 * (x.drop_interval.high - x.drop) if x else None for x in found],
        },
        hovertext=[
            f"{_point_hover(p)}<br>{run_hover(m)}" for p, m in zip(points, runs, strict=True)
        ],
        hoverinfo="text",
        customdata=[m.plan for m in runs],
    )


def _point_hover(point: Point) -> str:
    a = point.accuracy
    if a is None:
        return ""
    lines = [f"<b>{html.escape(point.model.recipe.upper())}</b>, {a.origin}: {_arithmetic(a)}"]
    if a.labels is not None:
        lines.append(f"top-1 {100 * a.labels.top1:.1f} %, {against_text(a.labels)}, "
                     f"n {a.labels.samples:,}")  # fmt: skip
    worst = point.accuracy.worst_sqnr_db if point.accuracy else None
    if worst is not None:
        lines.append(f"SQNR of the worst output {decibels(worst)}")
    return "<br>".join([*lines, f"against {plain(a.reference)}", f"on {plain(a.data.words)}"])


def _arithmetic(a: Accuracy) -> str:
    return "arithmetic as run" if a.arithmetic == "as run" else "arithmetic emulated in FP32"


def _add_reference(fig: go.Figure, points: Sequence[Point], by_labels: bool, theme: Theme) -> None:
    """Draw a line at the reference's top-1, if all points have the same."""
    found = {
        100 * p.accuracy.labels.reference_top1
        for p in points
        if by_labels and p.accuracy and p.accuracy.labels
    }
    if len(found) == 1:
        (height,) = found
        mark = {"color": TOKENS[theme].line2, "dash": "dash", "width": 1}
        fig.add_hline(y=height, line=mark, layer="below")
        # Its name is in the legend: beside the line it would lie on points.
        fig.add_scatter(x=[None], y=[None], mode="lines", line=mark,
                        name=f"reference {height:.1f} %")  # fmt: skip


def _draw_axes(fig: go.Figure, points: Sequence[Point], by_labels: bool) -> None:
    times = [p.measurement.median_ms for p in points if p.measurement is not None]
    is_log = bool(times) and max(times) >= _LOG_FROM * min(times)
    title = f"p50, ms{' (log scale)' if is_log else ''}; numbers are batch sizes"
    axis: dict[str, Any] = {"rangemode": "tozero"}
    if is_log:
        axis = {"type": "log", **log_ticks(times)}
    fig.update_xaxes(title=title, **axis)
    what = "top-1, %; bars: paired 95 %<br>interval to the reference"
    fig.update_yaxes(title=what if by_labels else "SQNR of the worst output, dB")


def _add_notes(fig: go.Figure, lines: Sequence[str], theme: Theme) -> None:
    """Write lines below the axis, and make room for them."""
    notes = [part for line in lines for part in _wrapped(line)]
    if notes:
        fig.add_annotation(text="<br>".join(notes), x=0, y=0, xref="paper", yref="paper",
                           xanchor="left", yanchor="top", yshift=-_AXIS_PX, align="left",
                           showarrow=False, font={"color": TOKENS[theme].t3})  # fmt: skip
    below = _LINE_PX * len(notes) + _UNDER_NOTES_PX * bool(notes)
    fig.update_layout(showlegend=True, height=_HEIGHT_PX + below, margin={"b": _AXIS_PX + below})


def _few(lines: Sequence[str]) -> list[str]:
    if len(lines) <= _MOST_LINES:
        return list(lines)
    rest = len(lines) - _MOST_LINES + 1
    return [*lines[: _MOST_LINES - 1], f"and {rest} more"]


def _wrapped(line: str) -> list[str]:
    return [html.escape(part) for part in textwrap.wrap(line, _LINE, subsequent_indent="\u2003")]


def _sizes(points: Sequence[Point], theme: Theme) -> go.Figure:
    """Bars from FP32's size to that of each model and plan.

    By powers of 2: half lies as far on one side as double on the other. The numbers stand beside
    the names, where no line crosses them.
    """
    sizes = sizes_against_fp32(p.plan for p in points if p.plan is not None)
    bars = _bars(sizes)
    fig = go.Figure()
    tokens = TOKENS[theme]
    if not bars:
        reason = "No plan can be held against one of its FP32 model."
        fig.add_annotation(text=reason, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
        fig.update_xaxes(visible=False)
        fig.update_yaxes(visible=False)
        return fig.update_layout(height=120)
    heights = [n + _GROUP_GAP * group for n, (group, *_) in enumerate(bars)]
    ratios = [ratio for *_, ratio, _ in bars]
    fig.add_bar(
        y=heights,
        base=1,
        x=[ratio - 1 for ratio in ratios],
        orientation="h",
        width=0.8,
        marker={
            "color": [_bar_colour(size, theme) for _, _, size, _, _ in bars],
            "line": {"color": tokens.line2, "width": 1},
        },
        hovertext=[hover for *_, hover in bars],
        hoverinfo="text",
    )
    fig.add_vline(x=1, line={"color": tokens.line2, "width": 1})
    low = math.log2(min(0.25, *ratios)) - _EDGE
    high = math.log2(max(1.0, *ratios)) + _EDGE
    fig.update_xaxes(
        title="of FP32's size (log scale)",
        tickangle=0,
        type="log",
        range=[low * math.log10(2), high * math.log10(2)],
        tickvals=[2.0**power for power in _OCTAVES],
        ticktext=list(_OCTAVES.values()),
    )
    fig.update_yaxes(
        autorange="reversed",
        ticklabelstandoff=6,
        showgrid=False,
        ticks="",
        tickvals=heights,
        ticktext=[f"{name}  <b>{ratio_text(ratio)}</b>" for _, name, _, ratio, _ in bars],
    )
    # By row: a size that is FP32's has no bar to point at.
    height = 90 + 24 * math.ceil(max(heights) + 1)
    return fig.update_layout(showlegend=False, hovermode="y", height=height)


def _bars(sizes: Sequence[Size]) -> list[tuple[int, str, Size, float, str]]:
    """Return group, name, size, ratio and hover: of each model once, then of its plans."""
    by_model: dict[str, list[Size]] = defaultdict(list)
    for size in sizes:
        by_model[size.model.hash or size.model.name].append(size)
    several = len({s.model.parent or s.model.hash for s in sizes}) > 1
    bars = []
    for group, same in enumerate(by_model.values()):
        first = same[0]
        recipe = first.model.recipe.upper()
        name = plain(f"{first.model.name} {recipe}" if several else recipe)
        of = [("model", first, first.model_ratio, first.model_bytes)]
        of += [(size_place(size), size, size.plan_ratio, size.plan_bytes) for size in same]
        bars += [
            (group, html.escape(what) if n else f"<b>{name}</b>  {what}", size, ratio,
             _size_hover(size, what, count))
            for n, (what, size, ratio, count) in enumerate(of)
            if ratio is not None
        ]  # fmt: skip
    return bars


def _size_hover(size: Size, what: str, count: int | None) -> str:
    name = f"{size.model.name}, {size.model.recipe.upper()}"
    exact = N_A if count is None else f"{count:,}"
    return f"<b>{html.escape(name)}</b><br>{html.escape(what)}: {text_from_file_size(count)} " \
           f"({exact} bytes)"  # fmt: skip


def _bar_colour(size: Size, theme: Theme) -> str:
    found = families(size.model.recipe)
    return PRECISION[found[0]].colour(theme) if found else TOKENS[theme].line


def _nodes(accuracy: Accuracy, theme: Theme) -> go.Figure:
    """SQNR behind each node in the graph's order; ``culprits`` are numbered and listed below."""
    nodes = accuracy.nodes
    if not nodes:
        reason = "The error of each node was not asked for." if nodes is None else "No node."
        fig = go.Figure()
        fig.add_annotation(text=reason, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
        fig.update_xaxes(visible=False)
        fig.update_yaxes(visible=False)
        return fig.update_layout(height=120)
    colour = precision_marks(0, accuracy.model.recipe, theme)
    fig = go.Figure()
    fig.add_scatter(
        x=list(range(1, len(nodes) + 1)),
        y=[node.sqnr_db for node in nodes],
        name="behind the node",
        mode="lines+markers",
        connectgaps=False,
        line={**colour["line"], "width": 1},
        marker={**colour["marker"], "size": 6},
        hovertext=[_node_hover(node) for node in nodes],
        hoverinfo="text",
    )
    found = culprits(accuracy)
    _add_culprits(fig, accuracy, found, theme)
    without = sum(node.sqnr_db is None for node in nodes)
    lines = [f"{rank}  {_culprit_line(node)}" for rank, node in enumerate(found, 1)]
    if lines:
        lines = [
            "Part of the outputs' error power that goes away without it [95 %]:",
            *_few(lines),
        ]
    if without:
        lines.append(f"Without any error, not drawn: {without} of {len(nodes)} nodes.")
    _add_notes(fig, lines, theme)
    origin = f"{accuracy.origin}, n {accuracy.data.samples:,}"
    fig.update_xaxes(title="node, in the graph's order", rangemode="tozero")
    fig.update_yaxes(title=f"SQNR, dB ({origin})", **_room(node.sqnr_db for node in nodes))
    return fig


def _add_culprits(
    fig: go.Figure, accuracy: Accuracy, found: Sequence[NodeError], theme: Theme
) -> None:
    """Ring and number nodes by rank; by turns above and below, as neighbours stand close."""
    bad = TOKENS[theme].bad
    ranks = {node.node: rank for rank, node in enumerate(found, 1)}
    some = [
        (place, node)
        for place, node in enumerate(accuracy.nodes or (), 1)
        if node.node in ranks and node.sqnr_db is not None
    ]
    words = (
        "proposed to keep in higher precision" if accuracy.suggested else "effect beyond the noise"
    )
    fig.add_scatter(
        x=[place for place, _ in some],
        y=[node.sqnr_db for _, node in some],
        name=words,
        mode="markers+text",
        marker={"symbol": "circle-open", "size": 12, "color": bad,
                "line": {"width": 2.5, "color": bad}},
        text=[f"<b>{ranks[node.node]}</b>" for _, node in some],
        textfont={"color": bad, "size": 14},
        textposition=[(_TEXT_ABOVE, _TEXT_BELOW)[n % 2] for n in range(len(some))],
        cliponaxis=False,
        hovertext=[_node_hover(node) for _, node in some],
        hoverinfo="text",
    )  # fmt: skip


def _room(values: Iterable[float | None]) -> dict[str, Any]:
    """Leave room above and below the points for the numbers of those that are marked."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    if not known:
        return {}
    low, high = min(known), max(known)
    span = max(high - low, 1.0)
    return {"range": [low - 0.15 * span, high + 0.15 * span]}


def _culprit_line(node: NodeError) -> str:
    return f"{printable(middle_cut(node.node, _LONGEST_NAME))}  {effect_text(node)}"


def _effect_line(node: NodeError) -> str:
    return f"{effect_text(node)} of the error goes without it"


def _node_hover(node: NodeError) -> str:
    return "<br>".join(
        [
            f"<b>{plain(node.node)}</b> {plain(node.op, 40)}",
            f"SQNR {decibels(node.sqnr_db)}, of its own error {decibels(node.own_sqnr_db)}",
            _effect_line(node),
            f"tensor {plain(node.tensor)}",
        ]
    )
