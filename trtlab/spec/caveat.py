"""``Caveat``: doubt about a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CaveatKind = Literal[
    "few-samples",
    "unstable",
    "not-warmed-up",
    "spread",
    "busy-machine",
    "not-saved",
    "different-conditions",
    "layers-unread",
    "no-cuda-graph",
    "throttled",
    "clocks-not-locked",
    "enqueue-bound",
    "transfer-bound",
    "several-streams",
    "aux-streams",
    "timing-cache-refused",
    "names-only",
    "settings-unknown",
    "single-run",
    "aligned-without-a-graph",
    "nodes-from-names",
    "nodes-not-in-model",
    "mapping-uncertain",
    "first-profile",
    "shared-names",
    "different-times",
    "layers-without-time",
    "random-data",
    "calibration-data",
    "computed-in-fp32",
    "no-classes",
]


@dataclass(frozen=True, slots=True)
class Caveat:
    """Doubt about a result, raised only when it matters.

    Attributes:
        kind: Its name, for code.
        message: What was seen, with the numbers.
        hint: What would remove the doubt.
    """

    kind: CaveatKind
    message: str
    hint: str
