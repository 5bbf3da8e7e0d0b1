"""``Measurement``: latency, throughput and memory of one plan in one configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

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
    text_from_bytes,
    text_from_interval,
    text_from_latency,
    text_from_ms,
    text_from_number,
)

if TYPE_CHECKING:
    import pandas as pd

    from trtlab.device import Reading

Contents = Literal["call", "compute", "compute+transfers"]
"""What a latency contains: host time around the call, GPU compute alone, or with its copies."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the latencies of a window are made of, call by call, by events on the GPU.

    Attributes:
        compute_ns: From the event before the engine's work to the one after it.
        enqueue_ns: The host's clock around the enqueue call or graph launch. Not in the latency;
            None if not recorded.
        h2d_ns: Copying inputs to the GPU; None if the latency does not contain copies.
        d2h_ns: Copying outputs from the GPU; None if the latency does not contain copies.
    """

    compute_ns: Int64Array
    enqueue_ns: Int64Array | None
    h2d_ns: Int64Array | None = None
    d2h_ns: Int64Array | None = None

    def latencies_ns(self) -> Int64Array:
        """Return the latencies: compute, with the copies if there are any.

        Raises:
            ValueError: the parts differ in length.
        """
        if self.h2d_ns is None or self.d2h_ns is None:
            return self.compute_ns
        copied = zip(self.h2d_ns, self.compute_ns, self.d2h_ns, strict=True)
        return Int64Array(h2d + compute + d2h for h2d, compute, d2h in copied)


@dataclass(frozen=True, slots=True)
class Window:
    """One measuring window: every call's latency (all streams) and the window's wall time.

    ``parts`` takes the latencies apart; None where the host's clock around the call took them.
    """

    latencies_ns: Int64Array
    wall_ns: int
    parts: Parts | None = None


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
            GPU.
        repacked: Weights that the backend copied into an order of its own; None if not said.
        activations: Most that intermediate results took at once, from a profiled run of its own;
            None where that is not said, with several streams and under an activation cap.
        io: Bytes of the bound inputs and outputs of all streams; None where they lie on a GPU.
    """

    baseline: int | None = None
    loaded: int | None = None
    peak: int | None = None
    weights: int | None = None
    repacked: int | None = None
    activations: int | None = None
    io: int | None = None

    @property
    def peak_above_baseline(self) -> int | None:
        """What this configuration cost beyond interpreter and library."""
        if self.peak is None or self.baseline is None:
            return None
        return self.peak - self.baseline

    def text(self) -> str:
        """Return peak and parts in words."""
        if self == HostMemory():
            return f"{N_A}: not recorded"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """GPU memory of one configuration in bytes: four different numbers, never added up.

    Attributes:
        activations: What the execution contexts of all streams hold (builder).
        weights: The engine's weights (builder).
        plan: Size of the plan file.
        io: Bytes of the buffers for inputs and outputs of all streams.
        growth: How much less memory was free after the windows than before loading (measured).
            Of the whole GPU: what other processes did meanwhile is in it.
    """

    activations: int | None = None
    weights: int | None = None
    plan: int | None = None
    io: int | None = None
    growth: int | None = None

    def text(self) -> str:
        """Return every number with its origin."""
        return (
            f"grew by {text_from_bytes(self.growth)} (measured, whole GPU); "
            f"activations {text_from_bytes(self.activations)}, "
            f"weights {text_from_bytes(self.weights)} (builder); "
            f"plan {text_from_bytes(self.plan)}, "
            f"inputs and outputs {text_from_bytes(self.io)} (sizes)"
        )


class Spread(NamedTuple):
    """Smallest, median and largest of some readings."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Return the spread of the values, or None if there are none."""
        return cls(min(values), stats.median(values), max(values)) if values else None


BENIGN_REASONS = frozenset(
    {"GpuIdle", "ApplicationsClocksSetting", "DisplayClockSetting", "SyncBoost"}
)
"""Reasons for a lower clock that are a setting or the want of work, not a lack of power or
cooling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuConditions:
    """What the GPU's sensors said during the steady windows (NVML).

    Attributes:
        samples: How often they were read.
        sm_clock_mhz: Clock of the multiprocessors.
        memory_clock_mhz: Clock of the GPU's memory.
        power_watts: Mean power of the whole board.
        temperature_celsius: Highest temperature.
        throttle_reasons: Why the clock was lower than it could be, by NVML's names; empty if
            nothing held it down, None if that cannot be read.
    """

    samples: int
    sm_clock_mhz: Spread | None = None
    memory_clock_mhz: Spread | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None
    throttle_reasons: tuple[str, ...] | None = None

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> GpuConditions:
        """Return what the readings say together."""
        watts = [r.watts for r in readings if r.watts is not None]
        celsius = [r.celsius for r in readings if r.celsius is not None]
        reasons = [r.throttle_reasons for r in readings if r.throttle_reasons is not None]
        return cls(
            samples=len(readings),
            sm_clock_mhz=Spread.of([r.sm_mhz for r in readings if r.sm_mhz is not None]),
            memory_clock_mhz=Spread.of(
                [r.memory_mhz for r in readings if r.memory_mhz is not None]
            ),
            power_watts=sum(watts) / len(watts) if watts else None,
            temperature_celsius=max(celsius) if celsius else None,
            throttle_reasons=tuple(sorted(frozenset().union(*reasons))) if reasons else None,
        )

    @property
    def throttled_by(self) -> tuple[str, ...]:
        """The reasons that are neither a setting nor idleness."""
        return tuple(r for r in self.throttle_reasons or () if r not in BENIGN_REASONS)

    def text(self) -> str:
        """Return the readings in words."""
        if self.throttle_reasons is None:
            held = N_A
        else:
            held = ", ".join(self.throttle_reasons) or "nothing"
        watts = N_A if self.power_watts is None else f"{text_from_number(self.power_watts)} W"
        hottest = self.temperature_celsius
        celsius = N_A if hottest is None else f"{hottest:.0f} °C"
        return (
            f"SM clock {_clock_text(self.sm_clock_mhz)}, "
            f"memory clock {_clock_text(self.memory_clock_mhz)}, "
            f"power {watts} on average, at most {celsius}, "
            f"clocks held down by: {held}; n {self.samples} (measured)"
        )


def _clock_text(clock: Spread | None) -> str:
    if clock is None:
        return N_A
    return f"{clock.median:,.0f} MHz ({clock.min:,.0f} to {clock.max:,.0f})"


# A screen asks for the same medians again and again, and sorting 30,000 samples takes 10 ms.
# Windows never change, so what was worked out of them is kept.


def _milliseconds(windows: tuple[Window, ...]) -> list[float]:
    return [ns / 1e6 for window in windows for ns in window.latencies_ns]


@lru_cache(maxsize=256)
def _median(windows: tuple[Window, ...]) -> float:
    return stats.median(_milliseconds(windows))


@lru_cache(maxsize=256)
def _median_interval(windows: tuple[Window, ...]) -> stats.Interval | None:
    interval = stats.median_interval(_milliseconds(windows))
    if interval is None:
        return None
    medians = [stats.median(w.latencies_ns) / 1e6 for w in windows]
    return interval.hull(stats.Interval(min(medians), max(medians)))


@lru_cache(maxsize=256)
def _percentile(windows: tuple[Window, ...], percent: float) -> float | None:
    return stats.percentile(_milliseconds(windows), percent)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Measurement(Shown):
    """Latency, throughput and memory of one plan in one configuration.

    Every raw sample is kept in ``windows``. Statistics use the steady windows, from
    ``steady_from`` on: the last three that agreed, or all of them if none did.

    What other tools' files do not tell is None.

    Attributes:
        plan: Hash of the plan that ran; None where only the times are known.
        provider: What really ran it: ONNX Runtime's execution provider, or TensorRT.
        shapes: Input shapes that ran.
        contents: What a latency contains.
        stable: Whether three windows in a row agreed within 10 % in latency and throughput;
            None of what was not measured in our windows.
        first_call_ns: The first call after loading, kept apart.
        load_seconds: Loading the plan into the fresh process.
        cpu_ns_per_call: CPU time of the whole process for one call, mean over warm-up and
            windows. Waiting is left out, so it resists a busy machine better than latency.
        other_load: Cores that *other* processes kept busy during the windows; None if unknown.
        energy_joules: Energy of one inference, None with the reason in ``energy_note``.
        device_memory: Memory on the GPU; None for a run on the CPU.
        gpu: The GPU's sensors during the steady windows, None where they were not read.
    """

    model: ModelRef
    plan: str | None
    build: BuildConfig
    run: RunConfig
    provider: str
    batch: int | None
    shapes: Mapping[str, Shape]
    contents: Contents
    windows: tuple[Window, ...]
    steady_from: int
    stable: bool | None
    warm_up: WarmUp | None
    first_call_ns: int | None
    load_seconds: float | None
    cpu_ns_per_call: int | None
    other_load: float | None
    memory: HostMemory
    energy_joules: float | None
    energy_note: str
    environment: Environment
    device_memory: DeviceMemory | None = None
    gpu: GpuConditions | None = None
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
            _check_parts(window, self.contents)
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"a batch of {self.batch} cannot be measured")

    @property
    def cuda_graph(self) -> bool | None:
        """Whether a CUDA graph was replayed; None where the backend has none, or nobody says."""
        if self.contents == "call":
            return None
        if self.run.cuda_graph is None and self.settings_unknown:
            return None
        refused = any(c.kind == "no-cuda-graph" for c in self.caveats)
        return self.run.cuda_graph is not False and not refused

    @property
    def settings_unknown(self) -> bool:
        """Whether the settings in ``run`` are not those that it was run with, but not known."""
        return any(c.kind == "settings-unknown" for c in self.caveats)

    @property
    def steady(self) -> tuple[Window, ...]:
        """The windows that statistics are computed from."""
        return self.windows[self.steady_from :]

    @property
    def latencies_ms(self) -> list[float]:
        """Every steady sample in milliseconds."""
        return _milliseconds(self.steady)

    @property
    def n(self) -> int:
        """Number of steady samples."""
        return sum(len(window.latencies_ns) for window in self.steady)

    @property
    def median_ms(self) -> float:
        """Median latency in milliseconds."""
        return _median(self.steady)

    @property
    def median_interval_ms(self) -> stats.Interval | None:
        """95 % interval of the median in milliseconds, or None below six samples.

        The order statistics' interval, widened to hold every steady window's median: neighbouring
        calls resemble each other more than windows do, so the first alone would be too narrow.
        """
        return _median_interval(self.steady)

    def part_ms(self, name: Literal["compute", "enqueue", "h2d", "d2h"]) -> float | None:
        """Median of one part of the latency in milliseconds, or None if it was not measured."""
        parts = [getattr(w.parts, f"{name}_ns") for w in self.steady if w.parts is not None]
        samples = [ns for array in parts if array is not None for ns in array]
        return stats.median(samples) / 1e6 if samples else None

    def percentile_ms(self, percent: float) -> float | None:
        """A latency percentile, or None when there are too few samples for it."""
        return _percentile(self.steady, percent)

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
            *self._beside_rows(),
            (
                "throughput",
                f"{text_from_number(self.throughput)} inf/s {text_from_interval(rate)} (measured)",
            ),
            *self._parts_rows(),
            ("memory", self.memory.text()),
            *([("GPU memory", self.device_memory.text())] if self.device_memory else []),
            *([("GPU meanwhile", self.gpu.text())] if self.gpu else []),
            ("energy", self._energy_text()),
            *source_rows(self.source, self.environment),
            *caveat_rows(self.caveats),
        ]

    def _beside_rows(self) -> list[tuple[str, str]]:
        beside = {
            "first call": _scaled(self.first_call_ns, 1e-6),
            "CPU time a call": _scaled(self.cpu_ns_per_call, 1e-6),
            "loading": _scaled(self.load_seconds, 1e3),
        }
        if not any(beside.values()):
            return []
        said = (f"{name} {text_from_ms(ms)}" for name, ms in beside.items())
        return [("beside it", f"{', '.join(said)} (measured)")]

    def _parts_rows(self) -> list[tuple[str, str]]:
        compute = self.part_ms("compute")
        if compute is None:
            return []
        parts = [f"GPU compute {text_from_ms(compute)}"]
        if (h2d := self.part_ms("h2d")) is not None:
            parts = [f"host to device {text_from_ms(h2d)}", *parts]
            parts.append(f"device to host {text_from_ms(self.part_ms('d2h'))}")
        parts.append(f"beside it enqueue {text_from_ms(self.part_ms('enqueue'))}")
        return [("latency, parts", ", ".join(parts) + " (measured, medians)")]

    def _energy_text(self) -> str:
        if self.energy_joules is None:
            return f"{N_A}: {self.energy_note}"
        return f"{text_from_number(self.energy_joules * 1e3)} mJ an inference (measured)"

    def settings(self) -> str:
        """Return the settings in a few words: ``batch 8, 2 streams, all``."""
        parts = [] if self.batch is None else [f"batch {self.batch}"]
        if self.settings_unknown:
            parts.append("settings not known")
        if self.build.provider != "cpu":
            parts.append(self.build.provider.upper())
        if self.run.cuda_graph is False and self.contents != "call":
            parts.append("no CUDA graph")
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
        """One row a sample: window, whether it is steady, latency and its parts in ms."""
        import pandas as pd

        return pd.DataFrame(
            [
                {"window": i, "steady": i >= self.steady_from, "latency_ms": ns / 1e6} | parts
                for i, window in enumerate(self.windows)
                for ns, parts in zip(window.latencies_ns, _parts_columns(window), strict=True)
            ]
        )


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _parts_columns(window: Window) -> list[dict[str, float]]:
    """Return the parts of each call in milliseconds, by column; empty where there are none."""
    if window.parts is None:
        return [{} for _ in window.latencies_ns]
    arrays = {
        "compute_ms": window.parts.compute_ns,
        "enqueue_ms": window.parts.enqueue_ns,
        "h2d_ms": window.parts.h2d_ns,
        "d2h_ms": window.parts.d2h_ns,
    }
    known = {name: array for name, array in arrays.items() if array is not None}
    return [
        dict(zip(known, (ns / 1e6 for ns in call), strict=True))
        for call in zip(*known.values(), strict=True)
    ]


def _check_parts(window: Window, contents: Contents) -> None:
    """Refuse parts that do not make the latencies they stand beside; raises ValueError."""
    parts = window.parts
    if parts is None:
        return
    copies = parts.h2d_ns is not None and parts.d2h_ns is not None
    if contents != ("compute+transfers" if copies else "compute"):
        raise ValueError(f"latencies of {contents} do not have these parts")
    enqueued = window.latencies_ns if parts.enqueue_ns is None else parts.enqueue_ns
    if parts.latencies_ns() != window.latencies_ns or len(enqueued) != len(window.latencies_ns):
        raise ValueError("the parts of a window do not make its latencies")
