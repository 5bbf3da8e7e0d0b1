"""Plotly figures of a fusion: its layers by type and by block, data types, conversions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import plotly.graph_objects as go

from trtlab.analysis.shares import (
    Amounts,
    Measure,
    PrecisionShare,
    Transition,
    amounts,
    converting_layers,
    data_layers,
    precision_shares,
    share,
    transitions,
)
from trtlab.record import Fusion
from trtlab.units import N_A
from trtlab.views.figures.hovers import MEASURES, amount_line, dtype_name, plain
from trtlab.views.figures.treemaps import blocks_figure, types_figure
from trtlab.views.graph.colour_by import PRECISION_OF, share_text, time_reason
from trtlab.views.sentences import amount_text, counted, measure_origin, measure_words
from trtlab.views.theme import FONT_PX, HEAT, PRECISION, TINT, TOKENS, Theme, mixed

FusionQuantity = Literal["types", "blocks", "precision", "transitions"]

_BAR_PX, _CHARACTER_PX = 400, 7
"""The length of a bar, at least: a part with less room than its name has it in the hover only."""
_FULL_COLOUR = 0.25
"""A cell of conversions has its full colour from this share of all layers on."""
_PATTERNS = ("/", "x", ".", "-", "+")
"""For data types without a colour of their own; the first is for those that are not said."""


def fusion_figure(fusion: Fusion, quantity: FusionQuantity, theme: Theme) -> go.Figure:
    """Draw a fusion; see ``figures.figure``, which gives it its template."""
    if quantity in ("types", "blocks") and not fusion.layers:
        return _nothing("The plan has no layers.")
    if quantity == "types":
        return types_figure(fusion, theme)
    if quantity == "blocks":
        return blocks_figure(fusion, theme)
    if quantity == "precision":
        return _precision(fusion, theme)
    return _transitions(fusion, theme)


def _nothing(reason: str) -> go.Figure:
    fig = go.Figure()
    fig.add_annotation(text=reason, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    fig.update_xaxes(visible=False)
    fig.update_yaxes(visible=False)
    return fig.update_layout(height=120)


def _precision(fusion: Fusion, theme: Theme) -> go.Figure:
    """Bars that divide layers, operations, bytes and time by the type of a layer's first input."""
    shares = precision_shares(fusion)
    if not shares:
        return _nothing("No layer of the plan handles data.")
    tokens, whole = TOKENS[theme], amounts(fusion, data_layers(fusion))
    rows = [_row_text(fusion, whole, measure) for measure in (None, *MEASURES)]
    fig = go.Figure()
    odd = [one for one in shares if one.dtype not in PRECISION_OF and one.dtype is not None]
    for one in shares:
        parts = [_part(one, whole, measure) for measure in (None, *MEASURES)]
        fig.add_bar(
            y=rows,
            x=[None if part is None else 100 * part for part in parts],
            name=f"{plain(dtype_name(one.dtype))}, {counted(len(one.amounts.layers), 'layer')}",
            orientation="h",
            marker=_precision_mark(one.dtype, odd.index(one) + 1 if one in odd else 0, theme),
            hovertext=[_precision_hover(fusion, one, whole, m) for m in (None, *MEASURES)],
            hoverinfo="text",
            customdata=[list(one.amounts.layers)] * len(rows),
        )
    _add_chips(fig, shares, whole, rows, theme)
    for row, measure in zip(rows[1:], MEASURES, strict=True):
        if not whole.stands_for_all(measure):
            fig.add_annotation(x=0, y=row, text=_reason(fusion, whole, measure), showarrow=False,
                               xanchor="left", font={"color": tokens.t3})  # fmt: skip
    title = "share of the layers that handle data, %<br>by the type of their first input"
    if len(shares) > 1:
        title += "; built_precision goes by what they compute in"
    fig.update_xaxes(title=title, range=[0, 100])
    fig.update_yaxes(autorange="reversed", ticklabelstandoff=6)
    return fig.update_layout(
        barmode="stack",
        bargap=0.3,
        height=130 + 40 * len(rows),
        showlegend=True,
        legend={"traceorder": "normal"},
    )


def _row_text(fusion: Fusion, whole: Amounts, measure: Measure | None) -> str:
    if measure is None:
        return "layers (builder)"
    words = measure_words(measure)
    known = whole.stands_for_all(measure)
    return f"{words} ({measure_origin(fusion, measure)})" if known else words


def _add_chips(
    fig: go.Figure,
    shares: Sequence[PrecisionShare],
    whole: Amounts,
    rows: Sequence[str],
    theme: Theme,
) -> None:
    """Write name and share on a ground of their own: not on every colour can text be read."""
    tokens = TOKENS[theme]
    for row, measure in zip(rows, (None, *MEASURES), strict=True):
        start = 0.0
        for one in shares:
            part = _part(one, whole, measure) or 0.0
            text = f"{plain(dtype_name(one.dtype))} {share_text(part)}"
            if len(text) * _CHARACTER_PX <= part * _BAR_PX:
                fig.add_annotation(
                    x=100 * start,
                    y=row,
                    xanchor="left",
                    xshift=4,
                    showarrow=False,
                    bgcolor=tokens.bg,
                    borderpad=2,
                    font={"color": tokens.t1},
                    text=text,
                )
            start += part


def _part(one: PrecisionShare, whole: Amounts, measure: Measure | None) -> float | None:
    if measure is None:
        return len(one.amounts.layers) / len(whole.layers)
    if not whole.stands_for_all(measure):
        return None
    return share(one.amounts.of(measure), whole.of(measure))


def _precision_mark(dtype: str | None, pattern: int, theme: Theme) -> dict[str, Any]:
    tokens = TOKENS[theme]
    edge = {"color": tokens.bg, "width": 2}
    if dtype in PRECISION_OF:
        return {"color": PRECISION[PRECISION_OF[dtype]].colour(theme), "line": edge}
    shape = _PATTERNS[min(pattern, len(_PATTERNS) - 1)]
    hatching = {"shape": shape, "bgcolor": tokens.line, "fgcolor": tokens.line2, "size": 6}
    return {"color": tokens.line, "line": edge, "pattern": hatching}


def _precision_hover(
    fusion: Fusion, one: PrecisionShare, whole: Amounts, measure: Measure | None
) -> str:
    title = f"<b>{plain(dtype_name(one.dtype))}</b>"
    part = share_text(_part(one, whole, measure))
    if measure is None:
        layers = counted(len(one.amounts.layers), "layer")
        return f"{title}<br>{layers}, {part} of those that handle data (builder)"
    return f"{title}<br>{amount_line(fusion, measure, one.amounts, part)}"


def _reason(fusion: Fusion, whole: Amounts, measure: Measure) -> str:
    value, unknown = whole.of(measure)
    if measure == "time" and value is None:
        return time_reason(fusion)
    if value == 0:
        return f"{N_A}: all are 0"
    return f"{N_A}: not known for {unknown} of {len(whole.layers)} layers"


def _transitions(fusion: Fusion, theme: Theme) -> go.Figure:
    """Cells for what layers read and write; the stronger the colour, the more conversions take."""
    found = transitions(fusion)
    if not found:
        return _nothing("No layer of the plan handles data.")
    tokens = TOKENS[theme]
    sources = _ordered({one.source for one in found})
    targets = _ordered({one.target for one in found})
    cells = {(one.source, one.target): one for one in found}
    measure = _converting_measure(fusion)
    grid = [[cells.get((source, target)) for target in targets] for source in sources]
    texts = [[_cell_text(fusion, cell, measure) for cell in row] for row in grid]
    low, high = tokens.sub, mixed(HEAT[theme], tokens.sub, TINT["heat"])
    fig = go.Figure(
        go.Heatmap(
            z=[[_weight(fusion, cell, measure) for cell in row] for row in grid],
            zmin=0,
            zmax=_FULL_COLOUR,
            colorscale=[[0, low], [1, high]],
            showscale=False,
            xgap=3,
            ygap=3,
            text=texts,
            texttemplate="%{text}",
            textfont={"color": tokens.t1, "size": FONT_PX},
            hovertext=[[_cell_hover(fusion, cell) for cell in row] for row in grid],
            hoverinfo="text",
        )
    )
    what, origin = "layers", "builder"
    if measure is not None:
        what, origin = measure_words(measure), measure_origin(fusion, measure)
    scale = f"colour: share of all {what} ({origin})<br>"
    scale += f"in layers that only convert, full from {share_text(_FULL_COLOUR)}"
    fig.update_xaxes(title=f"type written (builder)<br>{scale}", **_named_places(targets))
    fig.update_yaxes(title="type read (builder)", autorange="reversed", **_named_places(sources))
    return fig.update_layout(height=150 + 64 * len(sources))


def _named_places(dtypes: Sequence[str | None]) -> dict[str, Any]:
    """Name the places 0, 1 … of an axis: two types may have the same short name."""
    names = [plain(dtype_name(dtype)) for dtype in dtypes]
    ticks = {"tickvals": list(range(len(names))), "ticktext": names, "ticks": ""}
    return ticks | {"showgrid": False, "showline": False}


def _ordered(dtypes: set[str | None]) -> list[str | None]:
    """Return the precisions as the theme has them, then other types, last what is not said."""
    places = list(PRECISION)

    def place(dtype: str | None) -> tuple[int, str]:
        if dtype is None:
            return len(places) + 1, ""
        precision = PRECISION_OF.get(dtype)
        return (places.index(precision) if precision else len(places)), dtype

    return sorted(dtypes, key=place)


def _converting_measure(fusion: Fusion) -> Measure | None:
    """Return by what conversions are weighed: their time, else their bytes, else their number."""
    found = amounts(fusion, converting_layers(fusion))
    measures: tuple[Measure, ...] = ("time", "bytes")
    return next((m for m in measures if found.stands_for_all(m)), None)


def _weight(fusion: Fusion, one: Transition | None, measure: Measure | None) -> float | None:
    """Return what share of everything the conversions of a cell take; None without layers."""
    if one is None:
        return None
    if measure is None:
        return len(one.converting.layers) / len(fusion.layers)
    whole = amounts(fusion, range(len(fusion.layers)))
    return share(one.converting.of(measure), whole.of(measure)) or 0.0


def _cell_text(fusion: Fusion, one: Transition | None, measure: Measure | None) -> str:
    if one is None:
        return "0"
    lines = [counted(len(one.every.layers), "layer")]
    if number := len(one.converting.layers):
        lines.append(f"{number} only convert")
        if measure is not None:
            lines.append(_cost_text(fusion, one.converting, measure))
    return "<br>".join(lines)


def _cost_text(fusion: Fusion, found: Amounts, measure: Measure) -> str:
    whole = amounts(fusion, range(len(fusion.layers)))
    part = share_text(share(found.of(measure), whole.of(measure)))
    return f"{amount_text(measure, found.of(measure).value)}, {part}"


def _cell_hover(fusion: Fusion, one: Transition | None) -> str:
    if one is None:
        return "no layer"
    lines = [f"<b>{plain(dtype_name(one.source))} → {plain(dtype_name(one.target))}</b>"]
    lines.append(f"{counted(len(one.every.layers), 'layer')}, "
                 f"{len(one.converting.layers)} only convert (builder)")  # fmt: skip
    if not one.converting.layers:
        return "<br>".join(lines)
    known = [m for m in MEASURES if one.converting.of(m).value and m != "flops"]
    lines += [amount_line(fusion, measure, one.converting, "") for measure in known]
    return "<br>".join([*lines, *_costliest(fusion, one.converting.layers)])


def _costliest(fusion: Fusion, layers: Sequence[int], most: int = 3) -> list[str]:
    def cost(number: int) -> tuple[float, float]:
        group = fusion.groups[number]
        return group.time_ms or 0.0, group.bytes or 0

    ranked = sorted(layers, key=cost, reverse=True)
    lines = [plain(fusion.layers[n].name, 60) for n in ranked[:most]]
    return lines + ([f"and {len(ranked) - most} more"] if len(ranked) > most else [])
