"""``LayerProfile``: time per layer, from runs of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from trtlab import stats
from trtlab.codec import Int64Array
from trtlab.record.base import (
    Environment,
    ModelRef,
    Source,
    caveat_rows,
    source_rows,
)
from trtlab.shown import Shown
from trtlab.spec import BuildConfig, Caveat, RunConfig, Shape
from trtlab.units import (
    N_A,
)

if TYPE_CHECKING:
    import pandas as pd

TimeKind = Literal["cpu", "host-launch", "gpu"]
"""What a layer time is: its duration on the host's CPU, the host starting GPU work, or the GPU
working."""

TIME_WORDS: Mapping[TimeKind, str] = {
    "cpu": "host time",
    "host-launch": "host launch time",
    "gpu": "GPU time",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """What trtexec keeps of a layer's times: no samples, only these.

    Attributes:
        count: Number of profiled runs; None if not said.
        total_ms: Sum over all runs.
        median_ms: None if not said.
    """

    count: int | None
    total_ms: float
    average_ms: float
    median_ms: float | None

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ValueError(f"{self.count} runs are none")
        median = 0 if self.median_ms is None else self.median_ms
        if not (0 <= self.total_ms < math.inf and 0 <= self.average_ms < math.inf):
            raise ValueError(f"no durations: {self.total_ms}, {self.average_ms}")
        if not 0 <= median < math.inf:
            raise ValueError(f"no duration: {median}")


@dataclass(frozen=True, slots=True)
class LayerTiming:
    """One layer's time in every profiled run, and the arena's state when it ran.

    ``type`` and ``provider`` are empty where the profiler does not tell them. ``arena_bytes`` is
    what the activation arena had in use after the layer, None if not said. There are either
    samples or, where the profiler keeps none, a ``summary``.
    """

    name: str
    type: str
    provider: str
    samples_ns: Int64Array | None
    output_shapes: tuple[Shape, ...]
    arena_bytes: int | None
    summary: Summary | None = None

    def __post_init__(self) -> None:
        if (self.samples_ns is None) == (self.summary is None):
            raise ValueError("a layer has samples, or a summary in their place")

    @property
    def median_ms(self) -> float | None:
        """Median over the profiled runs, in milliseconds; None if not said."""
        if self.summary is not None:
            return self.summary.median_ms
        return stats.median(self.samples_ns or ()) / 1e6

    @property
    def average_ms(self) -> float:
        """Mean over the profiled runs, in milliseconds."""
        if self.summary is not None:
            return self.summary.average_ms
        samples = self.samples_ns or ()
        return sum(samples) / len(samples) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LayerProfile(Shown):
    """Time per layer, from profiled runs of their own: never a latency.

    Attributes:
        plan: Hash of the plan; None where only the times are known.
        time_kind: What the layer times are.
        runs_ns: Each whole profiled run. Their difference from the layers' sum is time between
            layers and the profiler's own cost. None where the layers have summaries.
    """

    model: ModelRef
    plan: str | None
    build: BuildConfig
    run: RunConfig
    batch: int | None
    time_kind: TimeKind
    layers: tuple[LayerTiming, ...]
    runs_ns: Int64Array | None
    environment: Environment
    caveats: tuple[Caveat, ...] = ()
    source: Source = "here"
    kind: ClassVar[str] = "layer-profile"

    def __post_init__(self) -> None:
        if self.runs_ns is None:
            counts = {y.summary.count if y.summary else 0 for y in self.layers}
            if len(counts) > 1 or counts == {0}:
                raise ValueError("without runs every layer needs a summary, of equally many runs")
        elif not self.runs_ns or any(
            len(y.samples_ns or ()) != len(self.runs_ns) for y in self.layers
        ):
            raise ValueError("every layer needs one sample for each run, and there must be a run")

    @property
    def runs(self) -> int | None:
        """Number of profiled runs behind each time; None if not said."""
        if self.runs_ns is not None:
            return len(self.runs_ns)
        return next((y.summary.count for y in self.layers if y.summary is not None), None)

    def shares(self) -> list[float]:
        """Each layer's share of the sum of layer times; together they are 1.

        Per run, then the median over runs, so that a disturbed run counts little, and then brought
        to the sum of 1. Where there are no samples, its average's share of the sum of averages.
        NaN where no layer took any time.
        """
        if self.runs_ns is None:
            averages = [layer.average_ms for layer in self.layers]
            total = math.fsum(averages)
            return [average / total if total > 0 else math.nan for average in averages]
        samples = [layer.samples_ns or () for layer in self.layers]
        sums = [sum(run) for run in zip(*samples, strict=True)]
        if not samples or min(sums) <= 0:
            return [math.nan] * len(samples)
        medians = [
            stats.median([ns / total for ns, total in zip(run, sums, strict=True)])
            for run in samples
        ]
        whole = math.fsum(medians)
        return [share / whole if whole > 0 else math.nan for share in medians]

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        ranked = sorted(zip(self.shares(), self.layers, strict=True), key=lambda p: -p[0])
        runs = N_A if self.runs is None else f"{self.runs:,}"
        return [
            ("layer times", f"{self.model.name}, {len(self.layers)} layers, n {runs}"),
            ("kind of time", f"{TIME_WORDS[self.time_kind]}, profiled (measured); not a latency"),
            *(
                (
                    N_A if math.isnan(share) else f"{share:.1%}",
                    layer.name + (f" ({layer.type})" if layer.type else ""),
                )
                for share, layer in ranked[:5]
            ),
            *source_rows(self.source, self.environment),
            *caveat_rows(self.caveats),
        ]

    @property
    def df(self) -> pd.DataFrame:
        """One row a layer in execution order: median and mean time (ms), share, arena bytes."""
        import pandas as pd

        layers = self.layers
        return pd.DataFrame(
            {
                "layer": [y.name for y in layers],
                "type": [y.type for y in layers],
                "median_ms": [y.median_ms for y in layers],
                "average_ms": [y.average_ms for y in layers],
                "share": self.shares(),
                "n": self.runs,
                "provider": [y.provider for y in layers],
                "arena_bytes": [y.arena_bytes for y in layers],
            }
        )
