"""Plotly figures of memory: tensors alive layer by layer, activations by the largest batch."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import plotly.graph_objects as go

from trtlab.analysis.live_tensors import Live, LiveTensors, live_tensors
from trtlab.errors import SpecError
from trtlab.record import Fusion, Plan
from trtlab.units import text_from_bytes
from trtlab.views.figures.hovers import plain
from trtlab.views.figures.marks import precision_marks
from trtlab.views.graph.labels import layer_title
from trtlab.views.memory_tables import ActivationLine, activation_lines, batches_text
from trtlab.views.theme import TOKENS, Theme

MemoryQuantity = Literal["live", "activations"]

_MOST_NAMED = 14
"""With more layers than this their numbers stand below the axis, not their names."""
_LONGEST_NAME = 10
_ROOM = 1.15
"""Above the highest bar or point, for its number."""


def memory_figure(records: object, quantity: MemoryQuantity, theme: Theme) -> go.Figure:
    """Draw what memory goes into; see ``figures.figure``, which gives it its template."""
    if quantity == "live":
        if not isinstance(records, Fusion):
            raise SpecError("That is drawn from a fusion.", hint="trtlab.fusion")
        return _live(records, theme)
    several = [records] if isinstance(records, Plan) else records
    if not isinstance(several, Sequence) or not all(isinstance(p, Plan) for p in several):
        raise SpecError("That is drawn from plans.", hint="trtlab.build")
    return _activations(several, theme)


def _nothing(reason: str) -> go.Figure:
    fig = go.Figure()
    fig.add_annotation(text=reason, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    fig.update_xaxes(visible=False)
    fig.update_yaxes(visible=False)
    return fig.update_layout(height=120)


def _unit(sizes: Iterable[int]) -> tuple[str, int]:
    """Return the unit that the largest of these is printed in, and its bytes."""
    most = max(sizes, default=0)
    units = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
    return next(((name, size) for name, size in units if most >= size), ("B", 1))


def _live(fusion: Fusion, theme: Theme) -> go.Figure:
    """Bars of tensors between layers, the highest ones dark; the network's own on top, hatched."""
    found, tokens = live_tensors(fusion), TOKENS[theme]
    if not found.known:
        return _nothing("Of no layer the sizes of all tensors are known.")
    peak = max(one.inner or 0 for one in found.known)
    unit, size = _unit((one.inner or 0) + (one.io or 0) for one in found.known)
    places = list(range(1, len(found.layers) + 1))
    hover = [_live_hover(fusion, found, one) for one in found.layers]
    fig = go.Figure()
    fig.add_bar(
        x=places,
        y=[None if one.inner is None else one.inner / size for one in found.layers],
        name="between layers",
        marker={"color": [tokens.t1 if one.inner == peak else tokens.t3 for one in found.layers]},
        hovertext=hover,
        hoverinfo="text",
        customdata=[fusion.layers[one.layer].name for one in found.layers],
    )
    fig.add_bar(
        x=places,
        # Where what lies between layers is not known, there is nothing for it to stand on.
        y=[None if one.inner is None or one.io is None else one.io / size
           for one in found.layers],
        name="inputs and outputs of the network",
        marker={
            "color": tokens.line,
            "line": {"color": tokens.line2, "width": 1},
            "pattern": {"shape": "/", "bgcolor": tokens.line, "fgcolor": tokens.line2, "size": 6},
        },
        hovertext=hover,
        hoverinfo="text",
    )  # fmt: skip
    first = next(n for n, one in enumerate(found.layers) if one.inner == peak)
    top = (peak + (found.layers[first].io or 0)) / size
    fig.add_annotation(x=places[first], y=top, yshift=10, text=text_from_bytes(peak),
                       showarrow=False, font={"color": tokens.t1})  # fmt: skip
    most = max((one.inner or 0) + (one.io or 0) for one in found.known) / size
    few = len(places) <= _MOST_NAMED
    ticks: dict[str, Any] = {"tickvals": places} if few else {}
    if few:
        ticks["ticktext"] = [_short(fusion, one) for one in found.layers]
    fig.update_xaxes(title="layer, in order of execution (as if on one stream)", **ticks)
    fig.update_yaxes(title=f"{unit}, estimated", range=[0, most * _ROOM])
    return fig.update_layout(
        barmode="stack", bargap=0.2, showlegend=True, legend={"traceorder": "normal"}
    )


def _short(fusion: Fusion, one: Live) -> str:
    """A layer's tag, or the start of its name where it has none."""
    tag = fusion.groups[one.layer].tag
    return tag or plain(layer_title(fusion.layers[one.layer].name), _LONGEST_NAME)


def _live_hover(fusion: Fusion, found: LiveTensors, one: Live) -> str:
    group = fusion.groups[one.layer]
    at = ", ".join(f"{name} = {size}" for name, size in found.sizes.items())
    return "<br>".join(
        [
            f"<b>{plain(fusion.layers[one.layer].name)}</b> {html.escape(group.tag)}",
            f"tensors between layers {text_from_bytes(one.inner)} (estimated)",
            f"inputs and outputs of the network {text_from_bytes(one.io)} (estimated)",
            *([f"at {plain(at)}"] if at else []),
        ]
    )


def _activations(plans: Sequence[Plan], theme: Theme) -> go.Figure:
    """Lines of what engines take, against the largest batch of their profile."""
    lines = activation_lines(plans)
    if not lines:
        return _nothing("No plan tells both its largest batch and its activations.")
    unit, size = _unit(p.bytes for line in lines for p in line.points)
    fig = go.Figure()
    seen: dict[str, int] = {}
    for line in lines:
        number = seen.get(line.recipe, 0)
        seen[line.recipe] = number + 1
        fig.add_scatter(
            x=[p.largest for p in line.points],
            y=[p.bytes / size for p in line.points],
            name=html.escape(line.name),
            mode="lines+markers",
            hovertext=_activation_hovers(line),
            hoverinfo="text",
            customdata=[p.plan.hash for p in line.points],
            **precision_marks(number, line.recipe, theme),
        )
    batches = sorted({p.largest for line in lines for p in line.points})
    fig.update_xaxes(title="largest batch of the profile (log scale)", type="log",
                     tickvals=batches, ticktext=[str(b) for b in batches])  # fmt: skip
    most = max(p.bytes for line in lines for p in line.points) / size
    fig.update_yaxes(title=f"{unit}, builder", range=[0, most * _ROOM])
    return fig.update_layout(showlegend=True)


def _activation_hovers(line: ActivationLine) -> list[str]:
    return [
        f"<b>{html.escape(line.name)}</b><br>activations {text_from_bytes(p.bytes)} "
        f"({p.bytes:,} bytes, builder)<br>batches {batches_text(p.plan)}"
        for p in line.points
    ]
