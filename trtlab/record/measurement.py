"""``Measurement``: latency, throughput and memory of one plan in one configuration."""

from __future__ import annotations

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
    text_from_bytes,
    text_from_interval,
    text_from_latency,
    text_from_ms,
    text_from_number,
)

if TYPE_CHECKING:
    import pandas as pd

Contents = Literal["call", "compute", "compute+transfers"]
"""What a latency contains: host time around the call, GPU compute alone, or with its copies."""


@dataclass(frozen=True, slots=True)
class Window:
    """One measuring window: every call's latency (all streams) and the window's wall time."""

    latencies_ns: Int64Array
    wall_ns: int


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Calls made before the first window, and whether they had settled when it began."""

    calls: int
    seconds: float
    settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Resident memory of the fresh process that ran this one configuration, in bytes.

    Attributes:
        baseline: Interpreter and library, before the model was loaded.
        loaded: After loading the model.
        peak: Highest over the whole run (the kernel's high-water mark).
        weights: Bytes of the model's weights (from the model, exact); None where they lie on a
            GPU, whose memory is not read yet.
        repacked: Weights that the backend copied into an order of its own; None if not said.
        activations: Most that intermediate results took at once, from a profiled run of its own;
            None where that is not said, with several streams and under an activation cap.
        io: Bytes of the bound inputs and outputs of all streams; None where they lie on a GPU.
    """

    baseline: int | None
    loaded: int | None
    peak: int | None
    weights: int | None
    repacked: int | None
    activations: int | None
    io: int | None

    @property
    def peak_above_baseline(self) -> int | None:
        """What this configuration cost beyond interpreter and library."""
        if self.peak is None or self.baseline is None:
            return None
        return self.peak - self.baseline

    def text(self) -> str:
        """Return peak and parts in words."""
        return (
            f"peak {text_from_bytes(self.peak_above_baseline)} above the empty process "
            f"(measured): weights {text_from_bytes(self.weights)}, "
            f"repacked {text_from_bytes(self.repacked)}, "
            f"activations {text_from_bytes(self.activations)}, "
            f"inputs and outputs {text_from_bytes(self.io)}, rest {text_from_bytes(self.rest)}"
        )

    @property
    def rest(self) -> int | None:
        """Peak above baseline that the parts do not explain.

        The loader's buffers, thread stacks, the session itself. None if a part is unknown
        or the parts were not all resident at the peak (their sum is larger).
        """
        peak = self.peak_above_baseline
        parts = (self.weights, self.repacked, self.activations, self.io)
        known = [part for part in parts if part is not None]
        if peak is None or len(known) < len(parts):
            return None
        rest = peak - sum(known)
        return rest if rest >= 0 else None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Measurement(Shown):
    """Latency, throughput and memory of one plan in one configuration.

    Every raw sample is kept in ``windows``. Statistics use the steady windows, from
    ``steady_from`` on: the last three that agreed, or all of them if none did.

    Attributes:
        plan: Hash of the plan that ran.
        provider: The ONNX Runtime execution provider that really ran it.
        shapes: Input shapes that ran.
        contents: What a latency contains.
        stable: Whether three windows in a row agreed within 10 % in latency and throughput.
        first_call_ns: The first call after loading, kept apart.
        load_seconds: Loading the plan into the fresh process.
        cpu_ns_per_call: CPU time of the whole process for one call, mean over warm-up and
            windows. Waiting is left out, so it resists a busy machine better than latency.
        other_load: Cores that *other* processes kept busy during the windows; None if unknown.
        energy_joules: Energy of one inference, None with the reason in ``energy_note``.
    """

    model: ModelRef
    plan: str
    build: BuildConfig
    run: RunConfig
    provider: str
    batch: int | None
    shapes: Mapping[str, Shape]
    contents: Contents
    windows: tuple[Window, ...]
    steady_from: int
    stable: bool
    warm_up: WarmUp
    first_call_ns: int
    load_seconds: float
    cpu_ns_per_call: int
    other_load: float | None
    memory: HostMemory
    energy_joules: float | None
    energy_note: str
    environment: Environment
    caveats: tuple[Caveat, ...] = ()
    source: Source = "here"
    kind: ClassVar[str] = "measurement"

    def __post_init__(self) -> None:
        # A record file may come from anywhere: what cannot have been measured is no measurement.
        if not 0 <= self.steady_from < len(self.windows):
            raise ValueError("a measurement needs windows, and a first steady one among them")
        for window in self.windows:
            if not window.latencies_ns or window.wall_ns <= 0 or min(window.latencies_ns) <= 0:
                raise ValueError("a window needs calls that took time")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"a batch of {self.batch} cannot be measured")

    @property
    def steady(self) -> tuple[Window, ...]:
        """The windows that statistics are computed from."""
        return self.windows[self.steady_from :]

    @property
    def latencies_ms(self) -> list[float]:
        """Every steady sample in milliseconds."""
        return [ns / 1e6 for window in self.steady for ns in window.latencies_ns]

    @property
    def n(self) -> int:
        """Number of steady samples."""
        return sum(len(window.latencies_ns) for window in self.steady)

    @property
    def median_ms(self) -> float:
        """Median latency in milliseconds."""
        return stats.median(self.latencies_ms)

    @property
    def median_interval_ms(self) -> stats.Interval | None:
        """95 % interval of the median in milliseconds, or None below six samples.

        The order statistics' interval, widened to hold every steady window's median: neighbouring
        calls resemble each other more than windows do, so the first alone would be too narrow.
        """
        interval = stats.median_interval(self.latencies_ms)
        if interval is None:
            return None
        medians = [stats.median(w.latencies_ns) / 1e6 for w in self.steady]
        return interval.hull(stats.Interval(min(medians), max(medians)))

    def percentile_ms(self, percent: float) -> float | None:
        """A latency percentile, or None when there are too few samples for it."""
        return stats.percentile(self.latencies_ms, percent)

    @property
    def throughputs(self) -> list[float]:
        """Inferences per second of each steady window: completed items / wall time."""
        items = self.batch or 1
        return [len(w.latencies_ns) * items / (w.wall_ns / 1e9) for w in self.steady]

    @property
    def throughput(self) -> float:
        """Inferences (items, not batches) per second over the steady windows."""
        wall = sum(w.wall_ns for w in self.steady) / 1e9
        return self.n * (self.batch or 1) / wall

    @property
    def throughput_interval(self) -> stats.Interval | None:
        """95 % t-interval with the steady windows as replicates, or None with one window."""
        return stats.mean_interval(self.throughputs)

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        ms = self.median_interval_ms
        rate = self.throughput_interval
        quick = ", quick windows" if self.run.quick else ""
        tails = ", ".join(f"p{p} {text_from_ms(self.percentile_ms(p))}" for p in (90, 95, 99))
        return [
            ("measurement", f"{self.model.name} ({self.model.recipe}), {self.settings()}{quick}"),
            (
                f"latency, median ({self.contents})",
                f"{text_from_latency(self.median_ms, ms)} n {self.n:,} (measured)",
            ),
            ("latency, tail", f"{tails} (measured)"),
            (
                "beside it",
                f"first call {text_from_ms(self.first_call_ns / 1e6)}, "
                f"CPU time a call {text_from_ms(self.cpu_ns_per_call / 1e6)}, "
                f"loading {text_from_ms(self.load_seconds * 1000)} (measured)",
            ),
            (
                "throughput",
                f"{text_from_number(self.throughput)} inf/s {text_from_interval(rate)} (measured)",
            ),
            ("memory", self.memory.text()),
            ("energy", self._energy_text()),
            *source_rows(self.source, self.environment),
            *caveat_rows(self.caveats),
        ]

    def _energy_text(self) -> str:
        if self.energy_joules is None:
            return f"{N_A}: {self.energy_note}"
        return f"{text_from_number(self.energy_joules * 1e3)} mJ an inference (measured)"

    def settings(self) -> str:
        """Return the settings in a few words: ``batch 8, 2 streams, all``."""
        parts = [] if self.batch is None else [f"batch {self.batch}"]
        if self.build.provider != "cpu":
            parts.append(self.build.provider.upper())
        if self.run.streams > 1:
            parts.append(f"{self.run.streams} streams")
        if self.run.threads is not None:
            parts.append(f"{self.run.threads} thread" + "s" * (self.run.threads > 1))
        if self.build.optimization_level is not None:
            parts.append(f"optimisation {self.build.optimization_level}")
        if self.run.activation_cap_bytes is not None:
            parts.append(f"activation cap {text_from_bytes(self.run.activation_cap_bytes)}")
        return ", ".join(parts) or "default settings"

    @property
    def df(self) -> pd.DataFrame:
        """One row a sample: window, whether it is steady, latency in milliseconds."""
        import pandas as pd

        return pd.DataFrame(
            [
                {"window": i, "steady": i >= self.steady_from, "latency_ms": ns / 1e6}
                for i, window in enumerate(self.windows)
                for ns in window.latencies_ns
            ]
        )
