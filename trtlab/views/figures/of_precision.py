"""Plotly figures of what a precision costs and saves: accuracy, sizes, the error node by node."""

from __future__ import annotations

import html
import math
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import plotly.graph_objects as go

from trtlab.analysis.sizes import Size, sizes_against_fp32
from trtlab.errors import SpecError
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
_LINE = 58
_LINE_PX, _AXIS_PX, _HEIGHT_PX = 16, 46, 380
_MOST_LINES = 8
_GROUP_GAP = 0.5
"""Between the bars of two models, in bars."""
_MOST_MARKED = 3


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


def _accuracy(points: Sequence[Point], theme: Theme) -> go.Figure:
    """Top-1 against latency, or SQNR where no point has labels; the rest is listed below."""
    by_labels = any(p.accuracy and p.accuracy.labels for p in points)
    drawn = [p for p in points if p.measurement is not None and _height(p, by_labels) is not None]
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
    _add_left_out(fig, left_out(points, {id(p) for p in drawn}), theme)
    if not drawn:
        fig.add_annotation(text="No point has both an accuracy and a latency.", showarrow=False,
                           x=0.5, y=0.5, xref="paper", yref="paper")  # fmt: skip
        fig.update_xaxes(showticklabels=False)
        fig.update_yaxes(showticklabels=False)
    return fig


def _height(point: Point, by_labels: bool) -> float | None:
    """Return a point's top-1 in percent, or the SQNR of its worst output."""
    if not by_labels:
        return point.worst_sqnr_db
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
    if point.worst_sqnr_db is not None:
        lines.append(f"SQNR of the worst output {decibels(point.worst_sqnr_db)}")
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
    title = f"p50 latency, ms{' (log scale)' if is_log else ''}; numbers are batch sizes"
    axis: dict[str, Any] = {"rangemode": "tozero"}
    if is_log:
        axis = {"type": "log", **log_ticks(times)}
    fig.update_xaxes(title=title, **axis)
    what = "top-1, %; bars: paired 95 %<br>interval to the reference"
    fig.update_yaxes(title=what if by_labels else "SQNR of the worst output, dB")


def _add_left_out(fig: go.Figure, lines: Sequence[str], theme: Theme) -> None:
    """List below the axis what is not drawn, and why."""
    notes = [part for line in _few(lines) for part in _wrapped(line)]
    if notes:
        text = "<br>".join(["Not drawn:", *notes])
        fig.add_annotation(text=text, x=0, y=0, xref="paper", yref="paper", xanchor="left",
                           yanchor="top", yshift=-_AXIS_PX, align="left", showarrow=False,
                           font={"color": TOKENS[theme].t3})  # fmt: skip
    below = _LINE_PX * (len(notes) + 1) if notes else 0
    fig.update_layout(showlegend=True, height=_HEIGHT_PX + below, margin={"b": _AXIS_PX + below})


def _few(lines: Sequence[str]) -> list[str]:
    if len(lines) <= _MOST_LINES:
        return list(lines)
    rest = len(lines) - _MOST_LINES + 1
    return [*lines[: _MOST_LINES - 1], f"and {rest} more"]


def _wrapped(line: str) -> list[str]:
    return [html.escape(part) for part in textwrap.wrap(line, _LINE, subsequent_indent="\u2003")]


def _sizes(points: Sequence[Point], theme: Theme) -> go.Figure:
    """Bars of model and plan sizes as shares of FP32's, with lines at a half and a quarter."""
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
    fig.add_bar(
        y=heights,
        x=[ratio for *_, ratio, _ in bars],
        orientation="h",
        width=0.8,
        marker={
            "color": [_bar_colour(size, theme) for _, _, size, _, _ in bars],
            "line": {"color": tokens.line2, "width": 1},
        },
        text=[ratio_text(ratio) for *_, ratio, _ in bars],
        textposition="outside",
        cliponaxis=False,
        hovertext=[hover for *_, hover in bars],
        hoverinfo="text",
    )
    for at, name in ((0.25, "¼"), (0.5, "½"), (1.0, "FP32")):
        mark = {"color": tokens.line2, "dash": "dash", "width": 1}
        fig.add_vline(x=at, line=mark)
        fig.add_annotation(x=at, y=1, yref="paper", yanchor="bottom", text=name, showarrow=False)
    top = max(1.0, *(ratio for *_, ratio, _ in bars))
    fig.update_xaxes(title="size as a share of FP32's, exact", range=[0, 1.15 * top])
    fig.update_yaxes(autorange="reversed", ticklabelstandoff=6, showgrid=False, ticks="",
                     tickvals=heights, ticktext=[name for _, name, *_ in bars])  # fmt: skip
    return fig.update_layout(showlegend=False, height=90 + 24 * math.ceil(max(heights) + 1))


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
    """SQNR behind each node in the graph's order; those with most effect are marked and named."""
    nodes = accuracy.nodes
    if not nodes:
        reason = "The error of each node was not asked for." if nodes is None else "No node."
        fig = go.Figure()
        fig.add_annotation(text=reason, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
        fig.update_xaxes(visible=False)
        fig.update_yaxes(visible=False)
        return fig.update_layout(height=120)
    tokens = TOKENS[theme]
    colour = precision_marks(0, accuracy.model.recipe, theme)
    numbers = range(1, len(nodes) + 1)
    known = [(n, node) for n, node in zip(numbers, nodes, strict=True) if node.sqnr_db is not None]
    marked = {node.node for node in culprits(accuracy, _MOST_MARKED)}
    fig = go.Figure()
    fig.add_scatter(
        x=list(numbers),
        y=[node.sqnr_db for node in nodes],
        name="behind the node",
        mode="lines+markers",
        connectgaps=False,
        line={**colour["line"], "width": 1},
        marker={**colour["marker"], "size": 6},
        hovertext=[_node_hover(node) for node in nodes],
        hoverinfo="text",
    )
    some = [(n, node) for n, node in known if node.node in marked]
    fig.add_scatter(
        x=[n for n, _ in some],
        y=[node.sqnr_db for _, node in some],
        name="most of the error goes without it",
        mode="markers",
        marker={"symbol": "circle-open", "size": 16, "color": tokens.bad,
                "line": {"width": 2.5, "color": tokens.bad}},
        hovertext=[_node_hover(node) for _, node in some],
        hoverinfo="text",
    )  # fmt: skip
    for rank, (n, node) in enumerate(some):
        fig.add_annotation(
            x=n,
            y=node.sqnr_db,
            text=f"{plain(node.node, 34)}<br>{_effect_line(node)}",
            ax=-8 if n > len(nodes) / 2 else 8,
            ay=(-34, -62, -90)[rank % 3],
            xanchor="right" if n > len(nodes) / 2 else "left",
            align="left",
            arrowwidth=1,
            arrowhead=0,
            bgcolor=tokens.bg,
        )
    without = len(nodes) - len(known)
    note = f"<br>without any error, not drawn: {without} of {len(nodes)} nodes" if without else ""
    origin = f"{accuracy.origin}, n {accuracy.data.samples:,}"
    fig.update_xaxes(title=f"node, in the graph's order{note}", rangemode="tozero")
    fig.update_yaxes(title=f"SQNR, dB ({origin})", **_room([node.sqnr_db for _, node in known]))
    return fig.update_layout(showlegend=True, height=380)


def _room(values: Iterable[float | None]) -> dict[str, Any]:
    """Leave room above the points for the names of those that are marked."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    if not known:
        return {}
    low, high = min(known), max(known)
    span = max(high - low, 1.0)
    return {"range": [low - 0.1 * span, high + 0.3 * span]}


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
