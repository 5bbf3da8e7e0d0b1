"""What figures of runs share: the look of a precision, what a point says, ticks of a log axis."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any

from trtlab.record import Measurement
from trtlab.units import (
    text_from_bytes,
    text_from_interval,
    text_from_latency,
    text_from_number,
)
from trtlab.views.theme import PRECISION, Theme


def families(recipe: str) -> tuple[str, ...]:
    """Return the precisions that a recipe joins, the lowest first; empty for an unknown one.

    ``int8`` and ``fp16`` for ``int8+fp16``, ``int4`` for ``int4-weights``, ``int8`` for ``qdq``.
    """
    parts = [part.removesuffix("-weights") for part in recipe.split("+")]
    named = ["int8" if part == "qdq" else part for part in parts]
    places = list(PRECISION)  # from FP32 down
    known = [name for name in named if name in PRECISION]
    return tuple(sorted(known, key=places.index, reverse=True)) if known == named else ()


def precision_marks(index: int, recipe: str, theme: Theme) -> dict[str, Any]:
    """Colour, marker and dash of a precision; further lines of it get hollow, growing markers.

    Of two joined ones it is the colour and marker of the lower one with the dash of the other. A
    recipe for weights alone is always hollow. An unknown precision has FP32's look, always hollow:
    its name is in the label.
    """
    found = families(recipe)
    if not found or "-weights" in recipe:
        index = max(index, 1)
    style = PRECISION[found[0] if found else "fp32"]
    dash = PRECISION[found[-1]].dash if found else style.dash
    colour = style.colour(theme)
    return {
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {
            "color": colour,
            "symbol": style.marker + ("-open" if index else ""),
            "size": 9 + 4 * min(max(index - 1, 0), 3),
            "line": {"width": 2 if index else 0, "color": colour},
        },
    }


def run_hover(m: Measurement) -> str:
    """Return what was measured, with its intervals, n and doubts."""
    lines = [
        f"<b>{html.escape(m.model.name)}</b>, {html.escape(m.settings())}",
        f"latency p50 {text_from_latency(m.median_ms, m.median_interval_ms)} 95 %, n {m.n:,}",
        f"throughput {text_from_number(m.throughput)} inf/s "
        f"{text_from_interval(m.throughput_interval)} 95 %",
        f"peak memory {text_from_bytes(m.memory.peak_above_baseline)} above start",
        "measured here" if m.source == "here" else "measured elsewhere, recorded",
    ]
    return "<br>".join(lines + [f"doubtful: {html.escape(c.message)}" for c in m.caveats])


TEXT_PLACES = ("top right", "bottom right", "top left", "bottom left")
"""Beside the error bars, and each line's elsewhere: two lines often run close together."""


def log_ticks(values: Iterable[float]) -> dict[str, Any]:
    """Return ticks at 1, 2 and 5 of each decade that the values touch; 1 alone beyond two."""
    known = [v for v in values if v > 0]
    if not known:
        return {}
    decades = range(math.floor(math.log10(min(known))), math.ceil(math.log10(max(known))) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return {"tickvals": ticks, "ticktext": [f"{t:,.10g}" for t in ticks]}
