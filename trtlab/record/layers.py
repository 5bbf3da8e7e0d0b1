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
    Shown,
    Source,
    caveat_rows,
    source_rows,
)
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
class LayerTiming:
    """One layer's time in every profiled run, and the arena's state when it ran.

    ``type`` and ``provider`` are empty where the profiler does not tell them. ``arena_bytes`` is
    what the activation arena had in use after the layer, None if not said.
    """

    name: str
    type: str
    provider: str
    samples_ns: Int64Array
    output_shapes: tuple[Shape, ...]
    arena_bytes: int | None

    @property
    def median_ms(self) -> float:
        """Median over the profiled runs, in milliseconds."""
        return stats.median(self.samples_ns) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LayerProfile(Shown):
    """Time per layer, from profiled runs of their own: never a latency.

    Attributes:
        time_kind: What the layer times are.
        runs_ns: Each whole profiled run. Their difference from the layers' sum is time between
            layers and the profiler's own cost.
    """

    model: ModelRef
    plan: str
    build: BuildConfig
    run: RunConfig
    batch: int | None
    time_kind: TimeKind
    layers: tuple[LayerTiming, ...]
    runs_ns: Int64Array
    environment: Environment
    caveats: tuple[Caveat, ...] = ()
    source: Source = "here"
    kind: ClassVar[str] = "layer-profile"

    def __post_init__(self) -> None:
        if not self.runs_ns or any(len(y.samples_ns) != len(self.runs_ns) for y in self.layers):
            raise ValueError("every layer needs one sample for each run, and there must be a run")

    def shares(self) -> list[float]:
        """Each layer's share of the sum of layer times, per run and then the median over runs."""
        sums = [sum(run) for run in zip(*(y.samples_ns for y in self.layers), strict=True)]
        return [
            stats.median([ns / total for ns, total in zip(y.samples_ns, sums, strict=True)])
            if min(sums) > 0
            else math.nan
            for y in self.layers
        ]

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        ranked = sorted(zip(self.shares(), self.layers, strict=True), key=lambda p: -p[0])
        return [
            (
                "layer times",
                f"{self.model.name}, {len(self.layers)} layers, n {len(self.runs_ns)}",
            ),
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
        """One row a layer in execution order: median time (ms), share, shapes, arena bytes."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "layer": layer.name,
                    "type": layer.type,
                    "median_ms": layer.median_ms,
                    "share": share,
                    "n": len(layer.samples_ns),
                    "provider": layer.provider,
                    "arena_bytes": layer.arena_bytes,
                }
                for layer, share in zip(self.layers, self.shares(), strict=True)
            ]
        )
