"""Plotly figures of runs along the batch: latency, throughput, energy, and what marks them."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import plotly.graph_objects as go

from trtlab.errors import SpecError
from trtlab.record import Measurement
from trtlab.stats import Interval
from trtlab.views.figures.marks import TEXT_PLACES, families, log_ticks, precision_marks, run_hover
from trtlab.views.series import labels, series_of
from trtlab.views.theme import TOKENS, Theme

CurveQuantity = Literal["latency", "throughput", "energy"]


def _plan_of(m: Measurement) -> str | None:
    return m.plan


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveMarks:
    """What is marked in a figure of curves; by default nothing.

    Attributes:
        percent: The latency's percentile. Points with too few samples for it are not drawn.
        selected: This point has a ring, and its line the letter B.
        baseline: The line of this point has the letter A.
        limit_ms: Latency limit: a dashed line, and a tint on the allowed side.
        best: The best point that the limit allows.
        running: A batch that is being measured: a dotted line.
        told: What ``PlotlyView.clicked`` tells of a point as ``customdata``.
    """

    percent: int = 50
    selected: Measurement | None = None
    baseline: Measurement | None = None
    limit_ms: float | None = None
    best: Measurement | None = None
    running: int | None = None
    told: Callable[[Measurement], Any] = _plan_of

    def ms(self, m: Measurement) -> float | None:
        """A point's latency in milliseconds."""
        return m.percentile_ms(self.percent)

    def interval_ms(self, m: Measurement) -> Interval | None:
        """Its interval, which only a median has."""
        return m.median_interval_ms if self.percent == 50 else None

    def letters(self, points: Sequence[Measurement]) -> str:
        """``"A "``, ``"B "`` or ``"A, B "`` for a line that holds those points, else ``""``."""
        held = [
            letter
            for letter, marked in (("A", self.baseline), ("B", self.selected))
            if any(m is marked for m in points)
        ]
        return ", ".join(held) + " " * bool(held)


PLAIN = CurveMarks()


def curve_figure(
    measurements: Sequence[Measurement],
    quantity: CurveQuantity,
    theme: Theme,
    marks: CurveMarks = PLAIN,
) -> go.Figure:
    """Draw curves; ``figures.figure`` gives them their template and ``figures.curves`` marks.

    Raises:
        SpecError: there is no such figure.
    """
    draw = {"latency": _latency, "throughput": _throughput, "energy": _energy}.get(quantity)
    if draw is None:
        raise SpecError(
            f"There is no figure of curves called {quantity!r}.",
            hint=f"Choose {', '.join(get_args(CurveQuantity))}.",
        )
    return draw(measurements, theme, marks)


@dataclass(frozen=True, slots=True)
class _Axes:
    """What a figure puts on its axes; ``span`` is that of ``y``."""

    x: Callable[[Measurement], float | None]
    y: Callable[[Measurement], float | None]
    span: Callable[[Measurement], Interval | None]
    name_points: bool = False


def _lines(
    measurements: Sequence[Measurement], theme: Theme, marks: CurveMarks, axes: _Axes
) -> go.Figure:
    fig = go.Figure()
    series = series_of(measurements)
    names = labels(series)
    seen: Counter[tuple[str, ...]] = Counter()
    for place, (key, points) in enumerate(series.items()):
        family = (*families(key.recipe), "weights" * ("-weights" in key.recipe))
        spans = [(axes.y(m) or 0.0, axes.span(m)) for m in points]
        fig.add_scatter(
            x=[axes.x(m) for m in points],
            y=[axes.y(m) for m in points],
            name=html.escape(marks.letters(points) + names[key]),
            mode="lines+markers+text" if axes.name_points else "lines+markers",
            text=[f"{m.batch or ''}" for m in points] if axes.name_points else None,
            textposition=TEXT_PLACES[place % len(TEXT_PLACES)],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [known.high - value if known else None for value, known in spans],
                "arrayminus": [value - known.low if known else None for value, known in spans],
                "thickness": 1.5,
                "width": 4,
            },
            hovertext=[run_hover(m) for m in points],
            hoverinfo="text",
            customdata=[marks.told(m) for m in points],
            **precision_marks(seen[family], key.recipe, theme),
        )
        seen[family] += 1
    fig.update_layout(showlegend=len(series) > 1 or any(map(marks.letters, series.values())))
    _add_ring(fig, measurements, theme, marks, axes)
    return fig


def _add_ring(
    fig: go.Figure,
    measurements: Sequence[Measurement],
    theme: Theme,
    marks: CurveMarks,
    axes: _Axes,
) -> None:
    """Put a ring around the selected point, after all lines so that theirs keep their numbers."""
    drawn = [m for m in measurements if m is marks.selected]
    if drawn:
        fig.add_scatter(
            x=[axes.x(m) for m in drawn],
            y=[axes.y(m) for m in drawn],
            mode="markers",
            marker={
                "symbol": "circle-open",
                "size": 22,
                "color": TOKENS[theme].t1,
                "line": {"width": 2},
            },
            hoverinfo="skip",  # a click goes to the point inside
            showlegend=False,
        )


def _batch_axis(fig: go.Figure, measurements: Sequence[Measurement], marks: CurveMarks) -> None:
    batches = {m.batch for m in measurements if m.batch} | {marks.running} - {None}
    shown = sorted(b for b in batches if b)
    fig.update_xaxes(title="batch (log scale)", type="log", tickvals=shown,
                     ticktext=[str(b) for b in shown])  # fmt: skip


def _latency(measurements: Sequence[Measurement], theme: Theme, marks: CurveMarks) -> go.Figure:
    known = [m for m in measurements if m.batch is not None and marks.ms(m) is not None]
    fig = _lines(known, theme, marks, _Axes(lambda m: m.batch, marks.ms, marks.interval_ms))
    contents = ", ".join(sorted({m.contents for m in known})) or "call"
    _batch_axis(fig, known, marks)
    values = [marks.ms(m) or 0.0 for m in known]
    if marks.limit_ms is not None:
        values.append(marks.limit_ms)
        edge = _Edge(TOKENS[theme].ok, "dash", f"limit {marks.limit_ms:.4g} ms")
        fig.add_shape(**edge.line(), xref="paper", x0=0, x1=1, y0=marks.limit_ms,
                      y1=marks.limit_ms)  # fmt: skip
        fig.add_annotation(**edge.words(), xref="paper", x=0.01, xanchor="left",
                           y=math.log10(marks.limit_ms), yanchor="bottom")  # fmt: skip
    if marks.running is not None:
        edge = _Edge(TOKENS[theme].acc, "dot", "in progress")
        fig.add_shape(**edge.line(), yref="paper", y0=0, y1=1, x0=marks.running, x1=marks.running)
        fig.add_annotation(**edge.words(), yref="paper", y=0.02, yanchor="bottom",
                           x=math.log10(marks.running), xanchor="right", xshift=-4)  # fmt: skip
    title = f"p{marks.percent}, ms, {contents} (log scale)"
    fig.update_yaxes(title=title, type="log", **log_ticks(values))
    return fig


def _throughput(measurements: Sequence[Measurement], theme: Theme, marks: CurveMarks) -> go.Figure:
    known = [m for m in measurements if marks.ms(m) is not None]
    axes = _Axes(marks.ms, lambda m: m.throughput, lambda m: m.throughput_interval, True)
    fig = _lines(known, theme, marks, axes)
    values = [marks.ms(m) or 0.0 for m in known]
    if marks.limit_ms is not None:
        values.append(marks.limit_ms)
        _add_limit(fig, values, theme, marks)
    title = f"p{marks.percent}, ms (log scale); numbers are batch sizes"
    fig.update_xaxes(title=title, type="log", **log_ticks(values))
    tops = [(m.throughput_interval or (0, m.throughput))[1] for m in known]
    room = 1.15 if marks.limit_ms is None else 1.4  # for numbers above points, words at the limit
    span = {"range": [0, room * max(tops)]} if tops else {}
    fig.update_yaxes(title="inferences/s", **span)
    return fig


def _energy(measurements: Sequence[Measurement], theme: Theme, marks: CurveMarks) -> go.Figure:
    known = [m for m in measurements if m.batch is not None and m.energy_joules is not None]
    axes = _Axes(lambda m: m.batch, lambda m: 1e3 * (m.energy_joules or 0.0), lambda _m: None)
    fig = _lines(known, theme, marks, axes)
    _batch_axis(fig, known, marks)
    return fig.update_yaxes(title="energy, mJ an inference", rangemode="tozero")


@dataclass(frozen=True, slots=True)
class _Edge:
    """A line across the plot and the words beside it."""

    colour: str
    dash: str
    text: str

    def line(self) -> dict[str, Any]:
        return {
            "type": "line",
            "layer": "below",
            "line": {"color": self.colour, "dash": self.dash, "width": 2},
        }

    def words(self) -> dict[str, Any]:
        return {"text": self.text, "showarrow": False, "font": {"color": self.colour}}


_ROOM = 1.5
"""Room left and right of the points on a logarithmic axis with a limit, as a factor."""


def _add_limit(fig: go.Figure, values: Sequence[float], theme: Theme, marks: CurveMarks) -> None:
    """Draw the limit, a tint on its allowed side, and what is best there."""
    limit = marks.limit_ms or 0.0
    tokens = TOKENS[theme]
    low, high = min(values) / _ROOM, max(values) * _ROOM
    words = f"limit {limit:.4g} ms: shaded side is allowed"
    edge = _Edge(tokens.ok, "dash", words)
    # A range of its own: plotly's would grow to hold the tint.
    fig.update_xaxes(range=[math.log10(low), math.log10(high)])
    fig.add_shape(type="rect", layer="below", yref="paper", y0=0, y1=1, x0=low, x1=limit,
                  fillcolor=tokens.ok, opacity=0.1, line={"width": 0})  # fmt: skip
    fig.add_shape(**edge.line(), yref="paper", y0=0, y1=1, x0=limit, x1=limit)
    # The words stand on the side that has more room.
    right = limit * limit < low * high
    place = {"x": math.log10(limit), "yref": "paper", "yanchor": "top", "align": "left",
             "xanchor": "left" if right else "right", "xshift": 6 if right else -6}  # fmt: skip
    fig.add_annotation(**edge.words(), **place, y=1)
    if marks.best is not None and marks.best.batch is not None:
        recipe = html.escape(marks.best.model.recipe.upper())
        best = _Edge(tokens.t1, "", f"best allowed: {recipe}, batch {marks.best.batch}")
        fig.add_annotation(**best.words(), **place, y=0.91)
