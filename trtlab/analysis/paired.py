"""The difference of two shares that were counted on the same samples, with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

from trtlab.stats import CONFIDENCE, Interval

_STEPS = 60
"""Halvings of an interval of length 2: beyond the precision of a float."""


def paired_interval(only_first: int, only_second: int, samples: int) -> Interval:
    """Return the 95 % interval of (share of the first) - (share of the second), paired by sample.

    Tango's asymptotic score interval (Statistics in Medicine 17:891, 1998), which Fagerland,
    Lydersen and Laake (Statistics in Medicine 33:2850, 2014) recommend for its coverage. Unlike
    Wald's it has a width where the two never differ.

    Args:
        only_first: Samples that only the first got right; ``only_second`` likewise.
        only_second: Samples that only the second got right.
        samples: All samples, those included that both got right or wrong.

    Raises:
        ValueError: there are no samples, or fewer than those that differ.
    """
    if samples < 1 or min(only_first, only_second) < 0 or only_first + only_second > samples:
        raise ValueError(f"no pairs: {only_first} and {only_second} of {samples}")
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)

    def score(difference: float) -> float:
        """Distance of what was seen from a true difference, in standard errors."""
        return _score(only_first, only_second, samples, difference)

    seen = (only_first - only_second) / samples
    low = -1.0 if seen == -1 else _where(lambda d: score(d) > z, -1.0, seen)
    high = 1.0 if seen == 1 else _where(lambda d: score(d) > -z, seen, 1.0)
    return Interval(low, high)


def _score(b: int, c: int, n: int, difference: float) -> float:
    # The likelihood's maximum under the difference solves a quadratic in the share of c.
    a2 = 2 * n
    a1 = -b - c + (2 * n - b + c) * difference
    a0 = -c * difference * (1 - difference)
    share = (math.sqrt(max(a1 * a1 - 4 * a2 * a0, 0.0)) - a1) / (2 * a2)
    variance = n * (2 * share + difference * (1 - difference))
    distance = b - c - n * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _where(before: Callable[[float], bool], low: float, high: float) -> float:
    """Return where ``before`` turns from true to false; the score falls as differences grow."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if before(middle) else (low, middle)
    return (low + high) / 2
