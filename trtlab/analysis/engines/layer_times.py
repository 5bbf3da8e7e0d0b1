"""Times of an engine's layers, and what two sums of them may be said to differ by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trtlab import stats
from trtlab.analysis.compare import DISTURBED
from trtlab.errors import MismatchError
from trtlab.record import Fusion, LayerProfile, LayerTiming, TimeDifference, TimeKind, Verdict
from trtlab.stats import Interval

DRIFT = 1.3
DRIFT_MS: Mapping[TimeKind, float] = {"cpu": 0.05, "host-launch": 0.05, "gpu": 0.005}
"""How far layer times of equal runs may lie apart: by this factor, and by this much more in ms.

Seen on a two-core machine over six profiles each of three networks: whole runs lay up to 1.27
apart, layers of 20 to 100 µs on two threads up to 0.05 ms more. GPU times were not tried: taken
is ten times the resolution of a CUDA event (0.5 µs)."""


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """Times of one engine's layers.

    Attributes:
        kind: What they are; None if nothing was timed.
        runs: Profiled runs behind them, 0 if none, None if not said.
        medians: In milliseconds by layer number, None where not timed.
        samples: In nanoseconds, of every run, where a profile has them.
        disturbed: Whether other work disturbed the runs.
    """

    kind: TimeKind | None
    runs: int | None
    medians: tuple[float | None, ...]
    samples: tuple[Sequence[int] | None, ...]
    disturbed: bool = False

    def of(self, layers: Iterable[int]) -> tuple[float | None, Interval | None]:
        """Return the sum of some layers' times in ms, median over the runs, and its interval."""
        chosen = tuple(layers)
        if self.kind is None:
            return None, None
        if not chosen:
            return 0.0, Interval(0, 0)
        samples = [s for n in chosen if (s := self.samples[n]) is not None]
        if len(samples) == len(chosen):
            sums = [sum(run) / 1e6 for run in zip(*samples, strict=True)]
            return stats.median(sums), stats.median_interval(sums)
        medians = [m for n in chosen if (m := self.medians[n]) is not None]
        return (sum(medians), None) if len(medians) == len(chosen) else (None, None)

    def timed(self) -> list[int]:
        """Return the numbers of the layers with a time."""
        return [n for n, median in enumerate(self.medians) if median is not None]


def times_of(fusion: Fusion, profile: LayerProfile | None) -> LayerTimes:
    """Return the times in a profile by layer, joined by name; without one those in ``fusion``.

    Raises:
        MismatchError: the profile names layers that the engine has not.
    """
    if profile is None:
        medians = tuple(group.time_ms for group in fusion.groups)
        return LayerTimes(fusion.time_kind, fusion.runs, medians, (None,) * len(medians))
    layers = Counter(layer.name for layer in fusion.layers)
    timed = Counter(timing.name for timing in profile.layers)
    if strange := [name for name in timed if name not in layers]:
        raise MismatchError(
            f"{len(strange)} of the {len(profile.layers)} timed layers are not in the engine of "
            f"{fusion.model.name}: {', '.join(name[:60] for name in strange[:3])}"
            f"{' …' if len(strange) > 3 else ''}.",
            hint="Give the layer times of this engine.",
        )
    # Of two layers with one name it is not known which time is whose.
    known = {t.name: t for t in profile.layers if layers[t.name] == timed[t.name] == 1}
    found = [known.get(layer.name) for layer in fusion.layers]
    return LayerTimes(
        profile.time_kind,
        profile.runs,
        tuple(None if t is None else _typical_ms(t) for t in found),
        tuple(None if t is None else t.samples_ns for t in found),
        bool({c.kind for c in profile.caveats} & DISTURBED),
    )


def difference(
    a: LayerTimes, b: LayerTimes, layers_a: Iterable[int], layers_b: Iterable[int]
) -> TimeDifference:
    """Compare two sums of layer times; claim nothing inside their intervals and the drift."""
    (a_ms, around_a), (b_ms, around_b) = a.of(layers_a), b.of(layers_b)
    if a_ms is None or b_ms is None or a.kind is None or a.kind != b.kind:
        return TimeDifference(a_ms, b_ms, None, None, "unknown")
    if around_a is None or around_b is None:
        return TimeDifference(a_ms, b_ms, b_ms - a_ms, None, "no interval")
    drift = (DRIFT - 1) * min(a_ms, b_ms) + DRIFT_MS[a.kind]
    interval = Interval(around_b.low - around_a.high - drift, around_b.high - around_a.low + drift)
    verdict: Verdict = "not distinguishable"
    if a.disturbed or b.disturbed:
        verdict = "doubtful"
    elif interval.low > 0 or interval.high < 0:
        verdict = "worse" if interval.low > 0 else "better"
    return TimeDifference(a_ms, b_ms, b_ms - a_ms, interval, verdict)


def _typical_ms(timing: LayerTiming) -> float:
    """Return the median, or the mean of a profiler that tells no median."""
    return timing.average_ms if timing.median_ms is None else timing.median_ms
