"""What ``trtexec --exportProfile`` writes: time per layer, summed up; read and written.

``[{"count": N}, {"name", "timeMs" (of all runs), "averageMs", "medianMs", "percentage"}, …]``. Old
files lack ``medianMs``. trtexec writes one layer a line and escapes nothing in a name, so a file
with a quote in a name is no JSON: it is then read line by line.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from trtlab.errors import RecordError, UnsupportedError
from trtlab.formats.json_file import shown
from trtlab.record import LayerProfile, LayerTiming, Summary

LayerSums = tuple[tuple[str, Summary], ...]
"""The layers' names, each with its times, in the order in which they ran."""

_ROW = re.compile(
    r'[\[, ]*\{ ?"name" ?: ?"(?P<name>.*)", "timeMs" ?: ?(?P<timeMs>[^,]+)'
    r', "averageMs" ?: ?(?P<averageMs>[^,]+)(?:, "medianMs" ?: ?(?P<medianMs>[^,]+))?'
    r', "percentage" ?: ?[^,]+ ?\}[\], ]*'
)
_COUNT = re.compile(r'[\[, ]*\{ ?"count" ?: ?(\d{1,18}) ?\}[\], ]*')
_TIMES = ("timeMs", "averageMs", "medianMs")
_LONGEST_MS = 1e12
_HINT = "Write it again with trtexec --exportProfile=FILE."


def is_profile(data: Any) -> bool:
    """Whether the decoded JSON has the form of such a file."""
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and (first.keys() == {"count"} or "averageMs" in first)


def read_profile(rows: list[Any], name: str) -> LayerSums:
    """Read the decoded JSON; ``name`` is what to call the file.

    Raises:
        RecordError: it holds no layer, or a time that is none; the message names the layer.
    """
    count = None
    first, *others = rows
    if isinstance(first, dict) and "name" not in first:
        count, rows = _count(first.get("count"), name), others
    if not rows:
        raise RecordError(f"{name} times no layer.", hint=_HINT)
    return tuple([_sums(row, count, name) for row in rows])


def read_profile_lines(text: str, name: str) -> LayerSums | None:
    """Read the text of such a file that is no JSON; None if it has not the form of one.

    Raises:
        RecordError: as ``read_profile``.
    """
    rows: list[Any] = []
    for line in text.splitlines():
        if found := _ROW.fullmatch(line):
            said = {key: value for key, value in found.groupdict().items() if value is not None}
            rows.append({k: v if k == "name" else _number(v) for k, v in said.items()})
        elif found := _COUNT.fullmatch(line):
            rows.append({"count": int(found[1])})
        elif line.strip(" []"):
            return None
    return read_profile(rows, name) if is_profile(rows) else None


def profile_json(profile: LayerProfile) -> bytes:
    """Return layer times as ``trtexec --exportProfile`` writes them, with the names escaped.

    Samples become their sum, mean and median. What is not known is left out.

    Raises:
        UnsupportedError: the times are none of a GPU, which the file would make them.
    """
    if profile.time_kind != "gpu":
        raise UnsupportedError(
            f"The layer times of {profile.model.name} are no GPU times, as trtexec's are.",
            hint="Export layer times of TensorRT.",
        )
    summaries = [_summary(layer) for layer in profile.layers]
    total = math.fsum(s.total_ms for s in summaries)
    rows: list[dict[str, Any]] = [] if profile.runs is None else [{"count": profile.runs}]
    for layer, summary in zip(profile.layers, summaries, strict=True):
        row = {"name": layer.name, "timeMs": summary.total_ms, "averageMs": summary.average_ms}
        if summary.median_ms is not None:
            row["medianMs"] = summary.median_ms
        if total > 0:
            row["percentage"] = 100 * summary.total_ms / total
        rows.append(row)
    lines = ",\n ".join(json.dumps(row, allow_nan=False) for row in rows)
    return f"[{lines}]\n".encode()


def _summary(layer: LayerTiming) -> Summary:
    if layer.summary is not None:
        return layer.summary
    samples = layer.samples_ns or ()
    return Summary(len(samples), sum(samples) / 1e6, layer.average_ms, layer.median_ms)


def _count(said: object, name: str) -> int:
    if type(said) is not int or not 0 < said < 1 << 63:
        raise RecordError(f"{name} counts {shown(said)} profiled runs.", hint=_HINT)
    return said


def _sums(row: Any, count: int | None, file: str) -> tuple[str, Summary]:
    name = row.get("name") if isinstance(row, dict) else None
    if not isinstance(name, str):
        raise RecordError(f"{file} holds a layer without a name.", hint=_HINT)
    total, average, median = row.get("timeMs"), row.get("averageMs"), row.get("medianMs")
    try:
        middle = None if median is None else _ms(median)
        return name, Summary(count, _ms(total), _ms(average), middle)
    except ValueError as error:
        times = ", ".join(f"{key} {shown(row.get(key))}" for key in _TIMES)
        raise RecordError(
            f"{file}: layer {shown(name)} has a time that is none: {times}.", hint=_HINT
        ) from error


def _ms(value: Any) -> float:
    # True is an int to Python; what is too long for a float compares all the same.
    if type(value) not in (int, float) or not value < _LONGEST_MS:
        raise ValueError("no number of milliseconds")
    return float(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
