"""What a latency limit allows, and from which batch on more of it hardly helps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from trtlab.analysis.compare import compare
from trtlab.record import Difference, Measurement

LITTLE = 0.25
"""The most that a doubling of the batch may gain in throughput to be called little. Equal runs lie
up to ``compare.RUN_TO_RUN`` apart, so a much smaller gain could hardly ever be claimed."""


@dataclass(frozen=True, slots=True)
class Within:
    """Points by what a limit on one percentile of their latency does to them.

    Attributes:
        allowed: Not above the limit.
        beyond: Above it.
        unknown: With too few samples for the percentile.
        best: Highest throughput of those allowed; None where none is.
        equal: Others that are allowed and not distinguishable from it in throughput.
        certain: Whether the best one's interval lies within the limit too. Only a median has one:
            None for other percentiles, and with too few samples.
    """

    allowed: tuple[Measurement, ...] = ()
    beyond: tuple[Measurement, ...] = ()
    unknown: tuple[Measurement, ...] = ()
    best: Measurement | None = None
    equal: tuple[Measurement, ...] = ()
    certain: bool | None = None


def within(measurements: Sequence[Measurement], limit_ms: float, percent: int = 50) -> Within:
    """Return what a latency limit allows.

    Args:
        measurements: Points whose latencies contain the same.
        limit_ms: The limit in milliseconds.
        percent: The percentile that must keep it.

    Raises:
        MismatchError: their latencies contain different things.
    """
    known = [(m, m.percentile_ms(percent)) for m in measurements]
    allowed = tuple(m for m, ms in known if ms is not None and ms <= limit_ms)
    beyond = tuple(m for m, ms in known if ms is not None and ms > limit_ms)
    unknown = tuple(m for m, ms in known if ms is None)
    best = max(allowed, key=lambda m: m.throughput, default=None)
    if best is None:
        return Within((), beyond, unknown)
    interval = best.median_interval_ms if percent == 50 else None
    return Within(
        allowed,
        beyond,
        unknown,
        best=best,
        equal=tuple(
            m
            for m in allowed
            if m is not best and throughput_difference(best, m).verdict == "not distinguishable"
        ),
        certain=None if interval is None else interval.high <= limit_ms,
    )


def throughput_difference(a: Measurement, b: Measurement) -> Difference:
    """Compare two points in throughput; ``a`` is the baseline."""
    return next(d for d in compare(a, b).differences if d.quantity == "throughput")


@dataclass(frozen=True, slots=True)
class Flat:
    """A claim about the end of a line: from one batch to the largest, throughput gains little.

    Attributes:
        start: The first point of the flat part.
        end: The largest batch.
        gain: Upper end of the 95 % interval of the mean gain per doubling, as a share; at most
            ``LITTLE``, and 0 or less where throughput falls.
    """

    start: Measurement
    end: Measurement
    gain: float


def flat_part(line: Sequence[Measurement]) -> Flat | None:
    """Return from which batch on throughput gains little, or None where that cannot be claimed.

    The gain's interval spans those of both ends and the drift between equal runs. No step between
    neighbours may gain more than is claimed of the whole, so that a steep one hides in no mean.

    Args:
        line: Points that differ in their batch alone, by rising batch.
    """
    points = [m for m in line if m.batch is not None]
    for at, start in enumerate(points[:-1]):
        end = points[-1]
        found = throughput_difference(start, end)
        if found.interval is None or found.verdict == "doubtful":
            continue
        gain = _per_doubling(found.interval.high, start, end)
        steps = (
            _per_doubling(b.throughput / a.throughput, a, b)
            for a, b in itertools.pairwise(points[at:])
        )
        if gain <= LITTLE and all(step <= max(gain, 0) for step in steps):
            return Flat(start, end, gain)
    return None


def _per_doubling(ratio: float, a: Measurement, b: Measurement) -> float:
    doublings = math.log2((b.batch or 1) / (a.batch or 1))
    return float(ratio ** (1 / doublings)) - 1
