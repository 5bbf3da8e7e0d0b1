"""Statistics of latency samples: pure functions on numbers, no records, no clocks.

Samples are never dropped and never interpolated: a quantile is one of the samples (trtexec's
rule), an interval comes from order statistics and assumes no distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

QUANTILE_RULE = "trtexec"
"""Name of the quantile rule, kept with every exported statistic: tools disagree on it."""

SAMPLES_NEEDED = {50: 1, 90: 64, 95: 130, 99: 662}
"""Fewest samples for a percentile: MLPerf LoadGen's early-stopping rule (confidence 0.99,
tolerance 0, one query allowed over the bound). With exactly that many the estimate is close to
the largest sample."""

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A 95 % confidence interval, in the unit of the samples."""

    low: float
    high: float

    def hull(self, other: Interval) -> Interval:
        """Return the smallest interval that holds both."""
        return Interval(min(self.low, other.low), max(self.high, other.high))


def median(samples: Sequence[float]) -> float:
    """Median; for an even count the mean of the two middle samples, as trtexec does it.

    Raises:
        ValueError: there are no samples.
    """
    if not len(samples):
        raise ValueError("the median of no samples is unknown")
    ordered = sorted(samples)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[middle])
    return (ordered[middle - 1] + ordered[middle]) / 2


def percentile(samples: Sequence[float], percent: float) -> float | None:
    """Return trtexec's percentile (no interpolation), or None when there are too few samples.

    The count that is needed is the one in ``SAMPLES_NEEDED`` at or above ``percent``.
    """
    needed = next((n for p, n in sorted(SAMPLES_NEEDED.items()) if p >= percent), math.inf)
    n = len(samples)
    if n < needed:
        return None
    if percent == 50:
        return median(samples)
    index = max(n - 1 - math.floor((100 - percent) * n / 100), 0)  # 1 - 0.9 is below 0.1
    return float(sorted(samples)[index])


def median_interval(samples: Sequence[float]) -> Interval | None:
    """95 % interval of the median from order statistics, or None below 6 samples.

    The ranks j, n+1-j are the widest with P(j <= Binomial(n, 1/2) < n+1-j) >= 0.95. Below six
    samples even the whole range covers the median with less than 95 % (1 - 2/2^n).
    """
    n = len(samples)
    if n < 6:
        return None
    rank = _lower_rank(n)
    ordered = sorted(samples)
    return Interval(float(ordered[rank - 1]), float(ordered[n - rank]))


def _lower_rank(n: int) -> int:
    tail = (1 - CONFIDENCE) / 2
    if n > 300:  # the normal approximation is exact to a rank here
        z = NormalDist().inv_cdf(1 - tail)
        return max(1, math.floor((n - z * math.sqrt(n)) / 2))
    below = 0.0
    for rank in range(n // 2 + 1):
        below += math.comb(n, rank) / 2**n
        if below > tail:
            return max(1, rank)
    return max(1, n // 2)


_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t, 97.5 % quantile, for 1 to 9 degrees of freedom (there are at most ten windows)."""


def mean_interval(values: Sequence[float]) -> Interval | None:
    """95 % t-interval of the mean of independent values, or None below two.

    Above ten values the interval is a little wider than 95 %.
    """
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = _T_975[min(n, 10) - 2] * deviation / math.sqrt(n)
    return Interval(mean - half, mean + half)


def relative_iqr(samples: Sequence[float]) -> float:
    """Interquartile range divided by the median: robust against a few slow calls."""
    ordered = sorted(samples)
    n = len(ordered)
    low, high = ordered[n // 4], ordered[min(n - 1, (3 * n) // 4)]
    return (high - low) / median(ordered)


def relative_range(values: Sequence[float]) -> float:
    """How far the largest is above the smallest: max / min - 1."""
    return max(values) / min(values) - 1


def settled(earlier: Sequence[float], later: Sequence[float]) -> bool:
    """Whether a warm-up has settled: the later block is not faster than the earlier one.

    After pyperf's calibration: the later median must lie between the quartiles of the earlier
    block, or within 5 % of its median (quartiles of a very steady machine are too narrow).
    A later block that is *slower* is noise, not warm-up, and counts as settled.
    """
    ordered = sorted(earlier)
    low = ordered[len(ordered) // 4]
    return median(later) >= min(low, 0.95 * median(ordered))


def agree(windows: Sequence[float], tolerance: float) -> bool:
    """Whether all values lie within ``tolerance`` of each other (max/min - 1)."""
    return relative_range(windows) <= tolerance
