"""One figure of a benchmark: a value, its interval and the limit that it must keep."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from trtlab import stats


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value with its limit; ``n`` is the number of samples behind it."""

    name: str
    value: float
    unit: str
    limit: float
    n: int
    interval: tuple[float, float] | None = None

    def interval_text(self) -> str:
        """Return the interval with n."""
        if self.interval is None:
            return f"n {self.n}"
        return f"[{self.interval[0]:.4g}, {self.interval[1]:.4g}] n {self.n}"

    def verdict(self) -> str:
        """Return whether the limit is kept."""
        return "ok" if self.value <= self.limit else "BROKEN"


def median_figure(name: str, samples: list[float], unit: str, limit: float) -> Figure:
    """Return the median of ``samples`` as a figure."""
    return Figure(
        name, stats.median(samples), unit, limit, len(samples), stats.median_interval(samples)
    )


def upper_figure(name: str, samples: list[float], unit: str, limit: float) -> Figure:
    """Return the upper end of the median's 95 % interval as a figure."""
    interval = stats.median_interval(samples)
    high = interval.high if interval else max(samples)
    return Figure(name, high, unit, limit, len(samples), interval)


def seconds(action: Callable[[], object]) -> float:
    """Return how long ``action`` takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin
