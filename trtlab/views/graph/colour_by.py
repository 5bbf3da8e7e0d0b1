"""What the layers of a fusion can be coloured by: their values, legends, or why there are none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, get_args

from trtlab.record import TIME_WORDS, Family, Fusion, Group
from trtlab.units import text_from_bytes, text_from_ms

PRECISION_OF = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "int8": "int8",
    "float8e4m3fn": "fp8",
    "float8_e4m3fn": "fp8",
    "int4": "int4",
    "uint4": "int4",
}
"""By data type the precision whose colour it has."""


def precision_name(dtype: str) -> str:
    """``FP32`` for ``float32``; other types keep their name."""
    precision = PRECISION_OF.get(dtype)
    return precision.upper() if precision else dtype[:20]


def colour_modes(fusion: Fusion) -> list[dict[str, Any]]:
    """Return every way to colour layers, in the order in which they are offered.

    Each has ``id`` and ``name``, and either ``reason`` (why it cannot be had) or ``texts``, one a
    layer, with ``classes`` (``keys`` numbered by ``of``) or ``shares`` (0 to 1, None unknown).
    """
    return [
        _kinds(fusion),
        _scale("share", "time, share", fusion, lambda g: g.time_share, share_text),
        _scale("time", "time, absolute", fusion, lambda g: g.time_ms, text_from_ms, log=True),
        _classes("precision", "precision", [_precision(g) for g in fusion.groups]),
        _streams(fusion),
        _scale("bytes", "bytes", fusion, lambda g: g.bytes, text_from_bytes, log=True),
    ]


def time_origin(fusion: Fusion) -> str:
    """The provenance of layer times."""
    return "recorded" if fusion.time_source == "recorded" else "measured"


def time_reason(fusion: Fusion) -> str:
    """Why there are no layer times."""
    if fusion.time_kind is not None:
        return "n/a: not in the profile"
    return "n/a: built, not run" if fusion.source == "here" else "n/a: no times came with it"


def _kinds(fusion: Fusion) -> dict[str, Any]:
    families = get_args(Family)
    found = Counter(group.family for group in fusion.groups)
    states = Counter(fate.state for fate in fusion.fates)
    legend = [[family, family, found[family]] for family in families if found[family]]
    legend += [
        [state, f"{state} nodes", states[state]]
        for state in ("removed", "folded", "unexplained")
        if states[state]
    ]
    return {
        "id": "kind",
        "name": "fusion kind",
        "classes": {
            "keys": list(families),
            "of": [families.index(group.family) for group in fusion.groups],
        },
        "legend": legend,
        "texts": [""] * len(fusion.groups),
        "origin": "",
    }


def _classes(identity: str, name: str, names: Sequence[str | None]) -> dict[str, Any]:
    found = Counter(name for name in names if name is not None)
    if not found:
        return {"id": identity, "name": name, "reason": "n/a: the builder does not say"}
    keys = sorted(found)
    place = {key: at for at, key in enumerate(keys)}
    return {
        "id": identity,
        "name": name,
        "classes": {"keys": keys, "of": [None if n is None else place[n] for n in names]},
        "legend": [[key, key, found[key]] for key in keys],
        "texts": [n or "" for n in names],
        "origin": "builder",
    }


def _scale(
    identity: str,
    name: str,
    fusion: Fusion,
    value: Callable[[Group], float | None],
    text: Callable[[float | None], str],
    *,
    log: bool = False,
) -> dict[str, Any]:
    """Colour by a number: its share of the way from the lowest (or 0) to the highest."""
    values = [value(group) for group in fusion.groups]
    known = [v for v in values if v is not None and math.isfinite(v) and (v > 0 or not log)]
    if not known:
        why = time_reason(fusion) if identity != "bytes" else "n/a: shapes are not known"
        return {"id": identity, "name": name, "reason": why}
    low, high = (min(known) if log else 0.0), max(known)

    def share(v: float | None) -> float | None:
        if v is None or not math.isfinite(v):
            return None
        if log:
            span = math.log(high / low)
            return round(math.log(max(v, low) / low) / span, 3) if span else 1.0
        return round(v / high, 3) if high else 0.0

    words = TIME_WORDS.get(fusion.time_kind, "") if fusion.time_kind else ""
    return {
        "id": identity,
        "name": name,
        "shares": [share(v) for v in values],
        "texts": [text(v) if v is not None else "" for v in values],
        "low": text(low),
        "high": text(high),
        "scale": "logarithmic" if log else "linear",
        "about": words if identity != "bytes" else "read and written, from shapes",
        "counts": [len(known), len(values)],
        "origin": "estimated" if identity == "bytes" else time_origin(fusion),
    }


def share_text(share: float | None) -> str:
    """Print a share as whole percents, with a decimal below 10 %."""
    if share is None or not math.isfinite(share):
        return "n/a"
    percent = share * 100
    if percent < 0.05:
        return "< 0.1 %" if percent else "0 %"
    return f"{percent:.1f} %" if percent < 9.95 or 98.95 <= percent < 99.95 else f"{percent:.0f} %"


def _streams(fusion: Fusion) -> dict[str, Any]:
    numbers = [layer.stream for layer in fusion.layers]
    mode = _classes("stream", "stream", [None if n is None else f"stream {n}" for n in numbers])
    if "texts" in mode:
        mode["texts"] = ["" if n is None else f"s{n}" for n in numbers]
    return mode


def _precision(group: Group) -> str | None:
    return None if group.precision is None else precision_name(group.precision)
