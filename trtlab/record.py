"""What comes out: frozen records. They hold samples and facts; views turn them into pictures.

The *origin* of a number is fixed by its record: ``Measurement`` and ``LayerProfile`` are
measured, ``Plan`` is the builder's own report, costs are estimated. The *source* is ``here`` when
this machine made the record and ``recorded`` when another one did; the store decides on reading.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trtlab import stats
from trtlab.codec import Int64Array
from trtlab.model.types import Model, Tensor
from trtlab.spec import BuildConfig, Caveat, RunConfig, Shape
from trtlab.units import (
    N_A,
    text_from_bytes,
    text_from_file_size,
    text_from_interval,
    text_from_latency,
    text_from_ms,
    text_from_number,
)

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
"""Version of the record files. A reader refuses a newer one."""

Source = Literal["here", "recorded"]
Contents = Literal["call", "compute", "compute+transfers"]
"""What a latency contains: host time around the call, GPU compute alone, or with its copies."""

TimeKind = Literal["cpu", "host-launch", "gpu"]
"""What a layer time is: its duration on the host's CPU, the host starting GPU work, or the GPU
working."""

TIME_WORDS: Mapping[TimeKind, str] = {
    "cpu": "host time",
    "host-launch": "host launch time",
    "gpu": "GPU time",
}


class Shown:
    """A record that shows itself as text and small HTML, both built from ``rows()`` alone."""

    __slots__ = ()

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        raise NotImplementedError

    def __repr__(self) -> str:
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th scope='row' style='text-align:left'>{html.escape(label)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for label, text in self.rows()
        )
        return f"<table class='trtlab-record'>{cells}</table>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What makes two runs comparable.

    Attributes:
        machine: Stable identity of the machine: a hash, so that no host name leaves it.
        cpu: Processor model; ``cores`` this process may use; ``memory_bytes`` installed.
        gpu: Name of the GPU that ran, or None.
        driver: Version of its driver, or None.
        packages: Versions of what took part.
        created: UTC time, ISO 8601.
        load_average: One-minute load average before the work began, or None where unknown.
    """

    machine: str
    cpu: str
    cores: int
    memory_bytes: int
    os: str
    python: str
    packages: Mapping[str, str]
    created: str
    gpu: str | None = None
    driver: str | None = None
    load_average: float | None = None


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which model a record is about, without needing its file."""

    name: str
    hash: str
    recipe: str
    parent: str | None = None

    @classmethod
    def of(cls, model: Model) -> ModelRef:
        """Return the reference to ``model``."""
        return cls(model.name, model.hash, model.recipe, model.parent)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a point has no result. ``kind`` is the error's class name."""

    kind: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """One layer of a plan, as the builder reports it."""

    name: str
    type: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    domain: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan(Shown):
    """A built plan: its bytes lie in the store under ``hash``.

    Attributes:
        hash: SHA-256 (hex) of the plan's bytes.
        build_seconds: Time inside the builder (ONNX Runtime: session creation and dump).
        plan_bytes: Size of the plan.
        layers: What the builder made of the model; None when it does not say.
        messages: The builder's warnings, as it worded them.
        peak_rss_bytes: Peak resident memory of the building process, None where unknown.
    """

    hash: str
    model: ModelRef
    model_path: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weight_bytes: int
    config: BuildConfig
    build_seconds: float
    plan_bytes: int
    layers: tuple[EngineLayer, ...] | None
    messages: tuple[str, ...]
    peak_rss_bytes: int | None
    environment: Environment
    caveats: tuple[Caveat, ...] = ()
    source: Source = "here"
    kind: ClassVar[str] = "plan"

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        return [
            ("plan", f"{self.model.name} ({self.model.recipe}) by {self.config.backend}"),
            ("size", f"{text_from_file_size(self.plan_bytes)} (builder)"),
            ("layers", N_A if self.layers is None else f"{len(self.layers)} (builder)"),
            ("build time", f"{text_from_ms(self.build_seconds * 1000)} (measured)"),
            ("peak memory of the build", f"{text_from_bytes(self.peak_rss_bytes)} (measured)"),
            *_source_rows(self.source, self.environment),
            *_caveat_rows(self.caveats),
        ]

    @property
    def df(self) -> pd.DataFrame:
        """One row a layer; empty when the builder does not name its layers."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "layer": layer.name,
                    "type": layer.type,
                    "inputs": ", ".join(t.name for t in layer.inputs),
                    "outputs": ", ".join(t.name for t in layer.outputs),
                }
                for layer in self.layers or ()
            ],
            columns=["layer", "type", "inputs", "outputs"],
        )


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
            *_source_rows(self.source, self.environment),
            *_caveat_rows(self.caveats),
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


@dataclass(frozen=True, slots=True)
class LayerTiming:
    """One layer's time in every profiled run, and the arena's state when it ran.

    ``arena_bytes`` is what the activation arena had in use after the layer, None if not said.
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
                (N_A if math.isnan(share) else f"{share:.1%}", f"{layer.name} ({layer.type})")
                for share, layer in ranked[:5]
            ),
            *_source_rows(self.source, self.environment),
            *_caveat_rows(self.caveats),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a sweep: its settings, and a plan with a measurement, or a failure."""

    model: ModelRef
    build: BuildConfig
    run: RunConfig
    plan: Plan | None = None
    measurement: Measurement | None = None
    failure: Failure | None = None
    from_store: bool = False

    def row(self) -> dict[str, Any]:
        """Return the point as flat numbers with units in the names; unknown is None."""
        m = self.measurement
        ms = m.median_interval_ms if m else None
        rate = m.throughput_interval if m else None
        return {
            "model": self.model.name,
            "precision": self.model.recipe,
            "batch": m.batch if m else self.run.batch,
            "streams": self.run.streams,
            "threads": self.run.threads,
            "optimization_level": self.build.optimization_level,
            "workspace_bytes": None,
            "backend": self.build.backend,
            "target": self.build.provider,
            "latency_ms": m.median_ms if m else None,
            "latency_low_ms": ms.low if ms else None,
            "latency_high_ms": ms.high if ms else None,
            "latency_p90_ms": m.percentile_ms(90) if m else None,
            "latency_p95_ms": m.percentile_ms(95) if m else None,
            "latency_p99_ms": m.percentile_ms(99) if m else None,
            "throughput": m.throughput if m else None,
            "throughput_low": rate.low if rate else None,
            "throughput_high": rate.high if rate else None,
            "n": m.n if m else None,
            "peak_memory_bytes": m.memory.peak_above_baseline if m else None,
            "weights_bytes": m.memory.weights if m else None,
            "repacked_bytes": m.memory.repacked if m else None,
            "activations_bytes": m.memory.activations if m else None,
            "io_bytes": m.memory.io if m else None,
            "rest_bytes": m.memory.rest if m else None,
            "plan_bytes": self.plan.plan_bytes if self.plan else None,
            "build_seconds": self.plan.build_seconds if self.plan else None,
            "top1": None,
            "stable": m.stable if m else None,
            "caveats": [c.kind for c in m.caveats] if m else [],
            "source": m.source if m else None,
            "failure": None if self.failure is None else self.failure.message,
        }


@dataclass(frozen=True, slots=True, repr=False)
class SweepResult(Shown):
    """All points of a sweep, in the order asked for."""

    points: tuple[Point, ...]
    stopped: bool = False

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text: one row a point."""
        failed = sum(p.failure is not None for p in self.points)
        head = f"{len(self.points)} points, {failed} failed" + ", stopped" * self.stopped
        lines = [("sweep", head)]
        for point in self.points:
            m = point.measurement
            if m is not None:
                text = (
                    f"{text_from_latency(m.median_ms, m.median_interval_ms)}  "
                    f"{text_from_number(m.throughput)} inf/s"
                )
                lines.append((f"{point.model.name}, {m.settings()}", text))
            elif point.failure is not None:
                label = f"{point.model.name}, batch {point.run.batch}"
                lines.append((label, f"failed: {point.failure.message}"))
        return lines

    @property
    def df(self) -> pd.DataFrame:
        """One row a point; columns as ``Point.row``."""
        import pandas as pd

        return pd.DataFrame([p.row() for p in self.points])

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The points that ran."""
        return tuple(p.measurement for p in self.points if p.measurement is not None)


Verdict = Literal[
    "better", "worse", "not distinguishable", "doubtful", "exact", "no interval", "unknown"
]


@dataclass(frozen=True, slots=True)
class Difference:
    """One quantity of two records.

    ``ratio`` is b / a with its interval; None when unknown. ``exact`` quantities (sizes) have no
    interval and are neither better nor worse by themselves; a single reading (peak memory) has
    ``no interval`` and makes no claim, and neither does a ``doubtful`` one of a disturbed run.
    """

    quantity: str
    a: float | None
    b: float | None
    ratio: float | None
    interval: stats.Interval | None
    verdict: Verdict


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Shown):
    """Two records side by side. Never a claim inside the noise."""

    a: str
    b: str
    differences: tuple[Difference, ...]
    caveats: tuple[Caveat, ...]

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        return [
            ("A", self.a),
            ("B", self.b),
            *((d.quantity, _difference_text(d)) for d in self.differences),
            *_caveat_rows(self.caveats),
        ]

    @property
    def df(self) -> pd.DataFrame:
        """One row a quantity."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "quantity": d.quantity,
                    "a": d.a,
                    "b": d.b,
                    "ratio": d.ratio,
                    "ratio_low": d.interval.low if d.interval else None,
                    "ratio_high": d.interval.high if d.interval else None,
                    "verdict": d.verdict,
                }
                for d in self.differences
            ]
        )


def _difference_text(d: Difference) -> str:
    if d.ratio is None:
        return f"{text_from_number(d.a)} → {text_from_number(d.b)}: {N_A}"
    change = _percent(d.ratio)
    span = f" [{_percent(d.interval.low)}, {_percent(d.interval.high)}]" if d.interval else ""
    return f"{text_from_number(d.a)} → {text_from_number(d.b)}: {change}{span} {d.verdict}"


def _percent(ratio: float) -> str:
    change = (ratio - 1) * 100
    sign = "−" if change < 0 else "+"
    return f"{sign}{abs(change):.1f} %" if abs(change) < 9.95 else f"{sign}{abs(change):.0f} %"


def _source_rows(source: Source, environment: Environment) -> list[tuple[str, str]]:
    where = f"{environment.cpu}, {environment.cores} cores"
    where += f", {environment.gpu}" if environment.gpu else ""
    when = environment.created[:16].replace("T", " ")
    return [("made", f"{'here' if source == 'here' else 'recorded'}, {when} UTC, {where}")]


def _caveat_rows(caveats: Sequence[Caveat]) -> list[tuple[str, str]]:
    return [(f"caveat: {c.kind}", f"{c.message} → {c.hint}") for c in caveats]
