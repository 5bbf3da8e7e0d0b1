"""Plotly figures of records. The only module that imports plotly; nothing here calls ``show``.

One line holds points of one model, precision and number of streams; lines never join points of
different origin or source. Names from a model are escaped: plotly reads simple HTML in labels.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from trtlab.errors import SpecError
from trtlab.record import HostMemory, LayerProfile, Measurement, Point, SweepResult
from trtlab.units import (
    text_from_bytes,
    text_from_interval,
    text_from_ms,
    text_from_number,
)
from trtlab.views.theme import PRECISION, TOKENS, Theme, template

Quantity = Literal["latency", "throughput", "memory", "layers"]
Series = tuple[str, str, int, int | None, str | None, str]
_MOST_LAYERS = 14


def figure(
    records: SweepResult | Sequence[Measurement] | Measurement | LayerProfile,
    quantity: Quantity,
    *,
    theme: Theme = "light",
) -> go.Figure:
    """Draw records.

    Args:
        records: A sweep, measurements, or (for ``layers``) one layer profile.
        quantity: ``latency`` against batch with 95 % intervals; ``throughput`` against latency;
            ``memory`` against batch, stacked by part; ``layers``: time per layer.
        theme: ``light`` or ``dark``; the background is transparent.

    Raises:
        SpecError: there is no such figure, or the records do not fit it.
    """
    if quantity == "layers":
        if not isinstance(records, LayerProfile):
            raise SpecError("Time per layer is drawn from a layer profile.", hint="trtlab.profile")
        return _themed(_layers(records, theme), theme)
    draw = {"latency": _latency, "throughput": _throughput, "memory": _memory}.get(quantity)
    if draw is None:
        raise SpecError(
            f"There is no figure called {quantity!r}.",
            hint="Choose latency, throughput, memory or layers.",
        )
    return _themed(draw(_measurements(records), theme), theme)


def plotly_js() -> str:
    """Return the plotly.js that comes with plotly, for a page that must work offline."""
    return str(get_plotlyjs())


def _measurements(records: object) -> list[Measurement]:
    if isinstance(records, Measurement):
        return [records]
    several = records.measurements if isinstance(records, SweepResult) else records
    if not isinstance(several, Iterable):
        raise SpecError(f"A {type(records).__name__} holds no measurements.", hint="trtlab.sweep")
    found = [r.measurement if isinstance(r, Point) else r for r in several]
    return [m for m in found if isinstance(m, Measurement)]


def _themed(fig: go.Figure, theme: Theme) -> go.Figure:
    # No title inside: only the legend needs room above, and grows it as it wraps.
    return fig.update_layout(template=template(theme), margin={"t": 28})


def _series(measurements: Sequence[Measurement]) -> dict[Series, list[Measurement]]:
    grouped: dict[Series, list[Measurement]] = {}
    for m in sorted(measurements, key=lambda m: m.batch or 0):
        key = (
            m.model.name, m.model.recipe, m.run.streams, m.run.threads,
            m.build.optimization_level, m.source,
        )  # fmt: skip
        grouped.setdefault(key, []).append(m)
    return grouped


def _label(key: Series, keys: Iterable[Series]) -> str:
    """Name a line by what sets it apart from the others; its precision always."""
    every = list(keys)

    def differs(index: int) -> bool:
        return len({k[index] for k in every}) > 1

    name, recipe, streams, threads, level, source = key
    parts = [name] if differs(0) else []
    parts.append(recipe.upper())
    if differs(2):
        parts.append(f"{streams} stream" + "s" * (streams > 1))
    if differs(3):
        parts.append("default threads" if threads is None else f"{threads} threads")
    if differs(4):
        parts.append(level or "default level")
    if source == "recorded":
        parts.append("recorded")
    return html.escape(", ".join(parts))


def _style(index: int, recipe: str, theme: Theme) -> dict[str, Any]:
    """Colour, marker and dash of a precision; further lines of it get hollow markers."""
    style = PRECISION["int8" if recipe == "qdq" else recipe.split("+")[0].split("-")[0]]
    colour = style.colour(theme)
    return {
        "line": {"color": colour, "dash": style.dash, "width": 2},
        "marker": {
            "color": colour,
            "symbol": style.marker + ("-open" if index else ""),
            "size": 9,
            "line": {"width": 2 if index else 0, "color": colour},
        },
    }


def _hover(m: Measurement) -> str:
    lines = [
        f"<b>{html.escape(m.model.name)}</b>, {html.escape(m.settings())}",
        f"latency p50 {text_from_ms(m.median_ms)} "
        f"{text_from_interval(m.median_interval_ms)} 95 %, n {m.n:,}",
        f"throughput {text_from_number(m.throughput)} inf/s "
        f"{text_from_interval(m.throughput_interval)} 95 %",
        f"peak memory {text_from_bytes(m.memory.peak_above_baseline)} above start",
        "measured here" if m.source == "here" else "measured elsewhere, recorded",
    ]
    return "<br>".join(lines + [f"doubtful: {html.escape(c.message)}" for c in m.caveats])


def _lines(
    measurements: Sequence[Measurement],
    theme: Theme,
    x: Callable[[Measurement], float],
    y: Callable[[Measurement], float],
    span: Callable[[Measurement], tuple[float, float] | None],
    *,
    name_points: bool,
) -> go.Figure:
    fig = go.Figure()
    series = _series(measurements)
    seen: dict[str, int] = {}
    for key, points in series.items():
        index = seen[key[1]] = seen.get(key[1], -1) + 1
        spans = [span(m) or (y(m), y(m)) for m in points]
        fig.add_scatter(
            x=[x(m) for m in points],
            y=[y(m) for m in points],
            name=_label(key, series),
            mode="lines+markers+text" if name_points else "lines+markers",
            text=[f"{m.batch or ''}" for m in points] if name_points else None,
            textposition="top center",
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [high - y(m) for m, (_, high) in zip(points, spans, strict=True)],
                "arrayminus": [y(m) - low for m, (low, _) in zip(points, spans, strict=True)],
                "thickness": 1.5,
                "width": 4,
            },
            hovertext=[_hover(m) for m in points],
            hoverinfo="text",
            customdata=[m.plan for m in points],
            **_style(index, key[1], theme),
        )
    fig.update_layout(showlegend=len(series) > 1)
    return fig


def _latency(measurements: Sequence[Measurement], theme: Theme) -> go.Figure:
    fig = _lines(
        measurements, theme, lambda m: m.batch or 1, lambda m: m.median_ms,
        lambda m: m.median_interval_ms, name_points=False,
    )  # fmt: skip
    contents = ", ".join(sorted({m.contents for m in measurements})) or "call"
    batches = sorted({m.batch or 1 for m in measurements})
    fig.update_xaxes(title="batch (log scale)", type="log", tickvals=batches,
                     ticktext=[str(b) for b in batches])  # fmt: skip
    ticks = _log_ticks(m.median_ms for m in measurements)
    fig.update_yaxes(title=f"p50, ms, {contents} (log scale)", type="log", **ticks)
    return fig


def _throughput(measurements: Sequence[Measurement], theme: Theme) -> go.Figure:
    fig = _lines(
        measurements, theme, lambda m: m.median_ms, lambda m: m.throughput,
        lambda m: m.throughput_interval, name_points=True,
    )  # fmt: skip
    ticks = _log_ticks(m.median_ms for m in measurements)
    title = "p50 latency, ms (log scale); numbers are batch sizes"
    fig.update_xaxes(title=title, type="log", **ticks)
    fig.update_yaxes(title="inferences/s", rangemode="tozero")
    return fig


def _log_ticks(values: Iterable[float]) -> dict[str, Any]:
    """Return ticks at 1, 2 and 5 of each decade that the values touch; 1 alone beyond two."""
    known = [v for v in values if v > 0]
    if not known:
        return {}
    decades = range(math.floor(math.log10(min(known))), math.ceil(math.log10(max(known))) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return {"tickvals": ticks, "ticktext": [f"{t:,.10g}" for t in ticks]}


_PARTS: tuple[tuple[str, Callable[[HostMemory], int | None]], ...] = (
    ("weights", lambda m: m.weights),
    ("activation arena, peak", lambda m: m.arena_peak),
    ("inputs and outputs", lambda m: m.io),
    ("repacked weights, loader, other", lambda m: m.rest),
)


def _memory(measurements: Sequence[Measurement], theme: Theme) -> go.Figure:
    fig = go.Figure()
    tokens = TOKENS[theme]
    fills = (tokens.t1, tokens.t3, tokens.acc, tokens.line)
    series = _series(measurements)
    axis = [
        [_label(key, series) for key, points in series.items() for _ in points],
        [str(m.batch or 1) for points in series.values() for m in points],
    ]
    flat = [m for points in series.values() for m in points]
    # One group of bars needs no second row of labels below the axis.
    x: Any = axis if len(series) > 1 else axis[1]
    for (label, part), fill in zip(_PARTS, fills, strict=True):
        fig.add_bar(
            x=x,
            y=[_mebibytes(part(m.memory)) for m in flat],
            name=label,
            marker={"color": fill, "line": {"color": tokens.line2, "width": 1}},
            hovertext=[f"{label}: {text_from_bytes(part(m.memory))}<br>{_hover(m)}" for m in flat],
            hoverinfo="text",
        )
    fig.add_scatter(
        x=x,
        y=[_mebibytes(m.memory.peak_above_baseline) for m in flat],
        name="peak above start",
        mode="markers",
        marker={"symbol": "line-ew", "size": 26, "line": {"width": 3, "color": tokens.bad}},
        hovertext=[_hover(m) for m in flat],
        hoverinfo="text",
    )
    fig.update_layout(barmode="stack", bargap=0.4)
    fig.update_xaxes(title="batch", type=None if len(series) > 1 else "category")
    fig.update_yaxes(title="host memory, MiB", rangemode="tozero")
    return fig


def _mebibytes(size: int | None) -> float | None:
    return None if size is None else size / 2**20


def _layers(profile: LayerProfile, theme: Theme) -> go.Figure:
    """Bars of the slowest layers; the rest is one bar of its own, never left out."""
    tokens = TOKENS[theme]
    ranked = sorted(zip(profile.shares(), profile.layers, strict=True), key=lambda p: -p[0])
    shown, rest = ranked[:_MOST_LAYERS], ranked[_MOST_LAYERS:]
    names = [f"{layer.name} ({layer.type})" for _, layer in shown]
    shares = [share * 100 for share, _ in shown]
    hover = [
        f"<b>{html.escape(layer.name)}</b> {html.escape(layer.type)}<br>"
        f"median {text_from_ms(layer.median_ms)}, n {len(layer.samples_ns)}<br>share {share:.1%}"
        for share, layer in shown
    ]
    if rest:
        share = sum(s for s, _ in rest)
        names.append(f"{len(rest)} further layers")
        shares.append(share * 100)
        hover.append(f"{len(rest)} further layers together {share:.1%}")
    fig = go.Figure(
        go.Bar(
            x=shares,
            y=[html.escape(_short(n)) for n in names],
            orientation="h",
            marker={"color": [tokens.t2] * len(shown) + [tokens.line] * bool(rest)},
            text=[f"{s:.1f} %" for s in shares],
            textposition="outside",
            cliponaxis=False,
            hovertext=hover,
            hoverinfo="text",
        )
    )
    words = {"cpu": "CPU time", "host-launch": "host launch time", "gpu": "GPU time"}
    fig.update_xaxes(title=f"share of the layers' {words[profile.time_kind]}, % (profiled)")
    fig.update_yaxes(autorange="reversed", ticklabelstandoff=6, automargin=True)
    fig.update_xaxes(range=[0, max(shares, default=1) * 1.15])  # room for the numbers
    return fig.update_layout(height=70 + 22 * len(names))


def _short(name: str, most: int = 44) -> str:
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"
