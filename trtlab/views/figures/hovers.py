"""What a figure of a fusion says under the pointer: plain lines, no HTML of a file in them."""

from __future__ import annotations

import html
from typing import get_args

from trtlab.analysis.shares import Amounts, Measure, amounts
from trtlab.model.printing import printable
from trtlab.record import Fusion
from trtlab.views.graph.colour_by import precision_name, share_text, time_reason
from trtlab.views.graph.labels import data_format, middle_cut
from trtlab.views.sentences import (
    NOT_SAID,
    amount_text,
    measure_origin,
    measure_words,
    time_words,
)

MEASURES: tuple[Measure, ...] = get_args(Measure)
_LONGEST = 90


def plain(text: str, most: int = _LONGEST) -> str:
    """Make a name fit to be shown: cut, without control characters, no HTML to plotly."""
    return html.escape(printable(middle_cut(text, most)), quote=False)


def dtype_name(dtype: str | None) -> str:
    """``FP32`` for ``float32``; what the builder does not say is said to be so."""
    return NOT_SAID if dtype is None else precision_name(dtype)


def layer_hover(fusion: Fusion, number: int) -> str:
    """Return what is known of a layer, with the origin of each number."""
    layer, group = fusion.layers[number], fusion.groups[number]
    nodes = plain(", ".join(group.nodes[:4]) if group.nodes else "none: added by the builder")
    more = len(group.nodes) - 4
    found = amounts(fusion, [number])
    lines = [
        f"<b>{plain(layer.name)}</b>",
        plain(", ".join([layer.type or NOT_SAID, group.family, *group.patterns])),
        f"nodes: {nodes}" + (f" and {more} more" if more > 0 else ""),
        plain(f"{_dtype_text(fusion, number)} (builder)"),
    ]
    for measure in MEASURES:
        if found.of(measure).value is not None:
            part = share_text(group.time_share) if measure == "time" else ""
            lines.append(amount_line(fusion, measure, found, part))
    if group.time_ms is None:
        lines.append(f"time {time_reason(fusion)}")
    return "<br>".join(lines)


def amount_line(fusion: Fusion, measure: Measure, found: Amounts, part: str) -> str:
    """Print one of the sums over some layers, its share of all (``part``, may be empty)."""
    value, unknown = found.of(measure)
    left_out = f", {unknown} of {len(found.layers)} layers unknown" if unknown else ""
    of = f", {part} of the {measure_words(measure)}" if part else ""
    noun = {"time": f"{time_words(fusion)} ", "flops": "", "bytes": "read and written "}[measure]
    origin = measure_origin(fusion, measure)
    return f"{noun}{amount_text(measure, value)}{of} ({origin}){left_out}"


def _dtype_text(fusion: Fusion, number: int) -> str:
    layer = fusion.layers[number]
    written = layer.outputs[0].dtype if layer.outputs else None
    words = [f"{dtype_name(fusion.groups[number].precision)} → {dtype_name(written)}"]
    data = [t for t in layer.inputs if not t.is_constant][:1]
    formats = [data_format(t.format) for t in (*data, *layer.outputs[:1]) if t.format]
    words += [" → ".join(dict.fromkeys(formats))] if formats else []
    words += [f"stream {layer.stream}"] if layer.stream is not None else []
    return ", ".join(words)
