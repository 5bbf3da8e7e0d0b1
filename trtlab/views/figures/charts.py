"""Plotly figures of records; ``fusion_figures`` and ``treemaps`` draw those of a fusion.

No other module imports plotly, and nothing calls ``show``.

One line, or one group of bars, holds the points of one ``Series``. Names from a model are escaped:
plotly reads simple HTML in labels.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Literal, get_args

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from trtlab.errors import SpecError
from trtlab.record import (
    TIME_WORDS,
    Accuracy,
    Fusion,
    HostMemory,
    LayerProfile,
    LayerTiming,
    Measurement,
    Plan,
    Point,
    Run,
    SweepResult,
    WorkspaceCurve,
    WorkspacePoint,
)
from trtlab.stats import median
from trtlab.units import (
    N_A,
    text_from_bytes,
    text_from_file_size,
    text_from_ms,
)
from trtlab.views.figures.marks import run_hover
from trtlab.views.figures.of_curves import PLAIN, CurveMarks, CurveQuantity, curve_figure
from trtlab.views.figures.of_fusion import FusionQuantity, fusion_figure
from trtlab.views.figures.of_memory import MemoryQuantity, memory_figure
from trtlab.views.figures.of_precision import PrecisionQuantity, precision_figure
from trtlab.views.series import labels, series_of
from trtlab.views.theme import TOKENS, Theme, template

Quantity = Literal[
    CurveQuantity, "memory", "layers", "workspace", FusionQuantity, PrecisionQuantity,
    MemoryQuantity,
]  # fmt: skip
_MOST_LAYERS = 14


def figure(
    records: SweepResult
    | Sequence[Measurement]
    | Measurement
    | LayerProfile
    | WorkspaceCurve
    | Fusion
    | Sequence[Point]
    | Sequence[Run]
    | Sequence[Plan]
    | Accuracy,
    quantity: Quantity,
    *,
    theme: Theme = "light",
) -> go.Figure:
    """Draw records.

    Args:
        records: A sweep or its points, runs, measurements, one layer profile (for ``layers``), one
            workspace curve (for ``workspace``), one fusion (for ``types`` to ``transitions`` and
            ``live``), plans (for ``activations``) or one accuracy (for ``nodes``).
        quantity: ``latency`` against batch with 95 % intervals; ``throughput`` against latency;
            ``energy`` of an inference against batch, where it was read; ``memory`` against batch,
            stacked by part; ``layers``: time per layer;
            ``workspace``: what the builder asks for and what engines will take, against the limit;
            ``types`` and ``blocks``: a fusion's layers by type and by block of the model, with
            their time as area where they were timed; ``precision``: its layers by data type;
            ``transitions``: which data types its layers turn into which, and what that takes;
            ``accuracy``: a sweep's top-1, or without labels its SQNR, against latency; ``sizes``:
            model and plan of each precision against FP32's; ``nodes``: the error behind each node;
            ``live``: the tensors alive at each layer of a fusion; ``activations``: what plans
            reserve against their largest batch.
        theme: ``light`` or ``dark``; the background is transparent.

    Raises:
        SpecError: there is no such figure, or the records do not fit it.
    """
    if quantity == "layers":
        if not isinstance(records, LayerProfile):
            raise SpecError("Time per layer is drawn from a layer profile.", hint="trtlab.profile")
        return _themed(_layers(records, theme), theme)
    if quantity == "workspace":
        if not isinstance(records, WorkspaceCurve):
            raise SpecError("That is drawn from a workspace curve.", hint="trtlab.workspace")
        return _themed(_workspace(records, theme), theme)
    if quantity in ("types", "blocks", "precision", "transitions"):
        if not isinstance(records, Fusion):
            raise SpecError("That is drawn from a fusion.", hint="trtlab.fusion")
        return _themed(fusion_figure(records, quantity, theme), theme)
    if quantity in ("accuracy", "sizes", "nodes"):
        return _themed(precision_figure(records, quantity, theme), theme)
    if quantity in ("live", "activations"):
        return _themed(memory_figure(records, quantity, theme), theme)
    if quantity == "memory":
        return _themed(_memory(_measurements(records), theme), theme)
    if quantity in ("latency", "throughput", "energy"):
        return curves(_measurements(records), quantity, theme=theme)
    raise SpecError(
        f"There is no figure called {quantity!r}.",
        hint=f"Choose {', '.join(get_args(Quantity))}.",
    )


def curves(
    measurements: Sequence[Measurement],
    quantity: CurveQuantity,
    marks: CurveMarks = PLAIN,
    *,
    theme: Theme = "light",
) -> go.Figure:
    """Draw ``latency``, ``throughput`` or ``energy`` as ``figure`` does, with marks."""
    return _themed(curve_figure(measurements, quantity, theme, marks), theme)


def plotly_js() -> str:
    """Return the plotly.js that comes with plotly, for a page that must work offline."""
    return str(get_plotlyjs())


def _measurements(records: object) -> list[Measurement]:
    if isinstance(records, Measurement):
        return [records]
    several = records.measurements if isinstance(records, SweepResult) else records
    if not isinstance(several, Iterable):
        raise SpecError(f"A {type(records).__name__} holds no measurements.", hint="trtlab.sweep")
    found = [r.measurement if isinstance(r, Point | Run) else r for r in several]
    return [m for m in found if isinstance(m, Measurement)]


def _themed(fig: go.Figure, theme: Theme) -> go.Figure:
    # No title inside: only the legend needs room above, and grows it as it wraps.
    return fig.update_layout(template=_template(theme), margin={"t": 28})


@cache
def _template(theme: Theme) -> go.layout.Template:
    """Return the template as plotly's object: checking it anew takes 0.1 s a figure."""
    return go.layout.Template(template(theme))


_PARTS: tuple[tuple[str, Callable[[HostMemory], int | None]], ...] = (
    ("weights", lambda m: m.weights),
    ("weights, repacked", lambda m: m.repacked),
    ("activations, peak", lambda m: m.activations),
    ("inputs and outputs", lambda m: m.io),
    ("loader and other", lambda m: m.rest),
)


def _memory(measurements: Sequence[Measurement], theme: Theme) -> go.Figure:
    fig = go.Figure()
    tokens = TOKENS[theme]
    fills = (tokens.t1, tokens.t1, tokens.t3, tokens.acc, tokens.line)
    hatching = ("", "/", "", "", "")  # repacked weights are weights once more
    series = series_of(measurements)
    names = labels(series)
    axis = [
        [_wrapped(names[key]) for key, points in series.items() for _ in points],
        [str(m.batch or N_A) for points in series.values() for m in points],
    ]
    flat = [m for points in series.values() for m in points]
    hovers = [run_hover(m) for m in flat]
    # One group of bars needs no second row of labels below the axis.
    x: Any = axis if len(series) > 1 else axis[1]
    for (label, part), fill, hatch in zip(_PARTS, fills, hatching, strict=True):
        fig.add_bar(
            x=x,
            y=[_mebibytes(part(m.memory)) for m in flat],
            name=label,
            marker={
                "color": fill,
                "pattern": {"shape": hatch, "bgcolor": tokens.line, "fgcolor": fill, "size": 6},
                "line": {"color": tokens.line2, "width": 1},
            },
            hovertext=[
                f"{label}: {text_from_bytes(part(m.memory))}<br>{hover}"
                for m, hover in zip(flat, hovers, strict=True)
            ],
            hoverinfo="text",
        )
    size = min(26, 180 / max(1, len(flat)))  # marks of neighbours must not touch
    fig.add_scatter(
        x=x,
        y=[_mebibytes(m.memory.peak_above_baseline) for m in flat],
        name="peak above start",
        mode="markers",
        marker={"symbol": "line-ew", "size": size, "line": {"width": 3, "color": tokens.bad}},
        hovertext=hovers,
        hoverinfo="text",
    )
    fig.update_layout(barmode="stack", bargap=0.4)
    fig.update_xaxes(title="batch", tickangle=0, type=None if len(series) > 1 else "category")
    fig.update_yaxes(title="host memory, MiB", rangemode="tozero")
    return fig


def _wrapped(name: str) -> str:
    """Break a line's name below its bars; only at blanks, so that no two names become one."""
    lines = textwrap.wrap(name, 12, break_long_words=False, break_on_hyphens=False)
    return "<br>".join(html.escape(line) for line in lines)


def _mebibytes(size: int | None) -> float | None:
    return None if size is None else size / 2**20


def gap_share(profile: LayerProfile) -> float | None:
    """Return the share of a profiled run outside its layers, median over runs.

    None where layers overlap (their times then add up to more than the run), and where whole
    runs were not recorded.
    """
    if profile.runs_ns is None:
        return None
    gap = 1 - _share_of_run(profile, profile.layers)
    return None if gap < 0 else gap


def _share_of_run(profile: LayerProfile, layers: Sequence[LayerTiming]) -> float:
    runs = profile.runs_ns
    if not runs or min(runs) <= 0:
        return math.nan
    samples = [y.samples_ns or () for y in layers]
    return median([sum(ns[i] for ns in samples) / run for i, run in enumerate(runs)])


def _ranked(profile: LayerProfile) -> list[tuple[float, LayerTiming]]:
    """Return the layers with their share of the run, else of the layers' sum, largest first."""
    if profile.runs_ns is None:
        shares = profile.shares()
    else:
        shares = [_share_of_run(profile, [layer]) for layer in profile.layers]
    return sorted(zip(shares, profile.layers, strict=True), key=lambda pair: -pair[0])


def _share_of_rest(profile: LayerProfile, rest: Sequence[tuple[float, LayerTiming]]) -> float:
    if profile.runs_ns is None:
        return math.fsum(share for share, _ in rest)
    return _share_of_run(profile, [layer for _, layer in rest])


def _layers(profile: LayerProfile, theme: Theme) -> go.Figure:
    """Bars of the slowest layers; the rest and the time outside the layers have bars too."""
    tokens = TOKENS[theme]
    whole = "layers' sum" if profile.runs_ns is None else "profiled run"
    ranked = _ranked(profile)
    shown, rest = ranked[:_MOST_LAYERS], ranked[_MOST_LAYERS:]
    names = [_short(f"{layer.name} ({layer.type})") for _, layer in shown]
    shares = [share for share, _ in shown]
    hover = [
        f"<b>{html.escape(layer.name)}</b> {html.escape(layer.type)}<br>"
        f"median {text_from_ms(layer.median_ms)}, mean {text_from_ms(layer.average_ms)}, "
        f"n {profile.runs or N_A}<br>share of the {whole} {share:.1%}"
        for share, layer in shown
    ]
    colours = [tokens.t2] * len(shown)
    gap = gap_share(profile)
    for name, share in (
        (f"{len(rest)} further layers", _share_of_rest(profile, rest) if rest else None),
        ("between layers, profiler", gap),
    ):
        if share is not None:
            names.append(name)
            shares.append(share)
            hover.append(f"{name}: {share:.1%} of the {whole}")
            colours.append(tokens.line)
    percents = [share * 100 for share in shares]
    fig = go.Figure(
        go.Bar(
            x=percents,
            y=[html.escape(name) for name in names],
            orientation="h",
            marker={"color": colours},
            text=[N_A if math.isnan(p) else f"{p:.1f} %" for p in percents],
            textposition="outside",
            cliponaxis=False,
            hovertext=hover,
            hoverinfo="text",
        )
    )
    title = f"share of the {whole}, % ({TIME_WORDS[profile.time_kind]})"
    overlap = gap is None and profile.runs_ns is not None
    fig.update_xaxes(title=title + ("; layers overlap" if overlap else ""))
    fig.update_yaxes(autorange="reversed", ticklabelstandoff=6, automargin=True)
    fig.update_xaxes(range=[0, max(percents, default=1) * 1.35])  # room for the numbers
    return fig.update_layout(height=70 + 22 * len(names))


def _workspace(curve: WorkspaceCurve, theme: Theme) -> go.Figure:
    """What builds and what fails along the limits; bytes asked for, to come, and in the plan."""
    tokens = TOKENS[theme]
    limited = [p for p in curve.points if p.limit_bytes is not None]
    failed = [p for p in limited if p.failure is not None]
    built = [p for p in limited if p.plan is not None]
    fig = go.Figure()
    lines: tuple[tuple[str, str, str, str, Callable[[WorkspacePoint], int | None]], ...] = (
        ("activations to come (builder)", "square-open", tokens.t1, "solid",
         lambda p: p.memory.activation if p.memory else None),
        ("plan (builder)", "circle-open", tokens.t2, "dot", lambda p: p.plan_bytes),
    )  # fmt: skip
    for name, symbol, colour, dash, size_of in lines:
        fig.add_scatter(
            name=name,
            x=[_mebibytes(p.limit_bytes) for p in built],
            y=[_mebibytes(size_of(p)) for p in built],
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2},
            marker={"symbol": symbol, "size": 9, "color": colour},
            hovertext=[_limit_hover(p) for p in built],
            hoverinfo="text",
        )
    # A failure that named no number has no height: its mark stands on the axis and says so.
    for name, symbol, some in (
        ("fails: bytes named (builder)", "x-thin", [p for p in failed if p.asked_bytes]),
        ("fails, no bytes named", "line-ns", [p for p in failed if not p.asked_bytes]),
    ):
        if some:
            fig.add_scatter(
                name=name,
                x=[_mebibytes(p.limit_bytes) for p in some],
                y=[_mebibytes(p.asked_bytes) or 0 for p in some],
                mode="markers",
                marker={"symbol": symbol, "size": 11, "line": {"width": 2, "color": tokens.bad}},
                hovertext=[_limit_hover(p) for p in some],
                hoverinfo="text",
            )
    smallest = _mebibytes(curve.smallest_bytes)
    if smallest is not None and failed:
        mark = {"color": tokens.line2, "dash": "dash", "width": 1}
        roomy = 4 * smallest <= max(_mebibytes(p.limit_bytes) or 0 for p in limited)
        fig.add_shape(type="line", x0=smallest, x1=smallest, y0=0, y1=1, yref="paper", line=mark)
        fig.add_annotation(
            x=math.log10(smallest),  # on a log axis plotly wants exponents here, but not above
            y=0.5,
            yref="paper",
            text=f"smallest that builds<br>{text_from_bytes(curve.smallest_bytes)}",
            showarrow=False,
            # Beside the line where there is room: failures lie left of it.
            xanchor="left" if roomy else "right",
            xshift=6 if roomy else -6,
            align="left" if roomy else "right",
        )
    # A tick at each power of four, since limits found by bisection lie close together.
    powers = {round(math.log2(_mebibytes(p.limit_bytes) or 1) / 2) for p in limited}
    ticks = sorted(4.0**power for power in powers)
    fig.update_xaxes(
        title="workspace limit",
        type="log",
        tickvals=ticks,
        ticktext=[text_from_bytes(t * 2**20) for t in ticks],
    )
    return fig.update_yaxes(title="MiB", rangemode="tozero")


def _limit_hover(p: WorkspacePoint) -> str:
    lines = [f"<b>limit {p.limit_text}</b>"]
    if p.failure is not None:
        return "<br>".join([*lines, f"fails: {html.escape(p.failure.message)}"])
    memory = p.memory
    lines += [
        f"activations {text_from_bytes(memory.activation if memory else None)} (builder)",
        f"plan {text_from_file_size(p.plan_bytes)}, {p.layers or N_A} layers (builder)",
        f"build {text_from_ms(1000 * p.build_seconds if p.build_seconds else None)} (measured)",
    ]
    if p.measurement is not None:
        lines.append(f"latency p50 {text_from_ms(p.measurement.median_ms)} (measured)")
    return "<br>".join(lines)


def _short(name: str, most: int = 44) -> str:
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"
