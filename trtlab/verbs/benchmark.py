"""``benchmark``: run a plan in a fresh process and measure latency, throughput and memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trtlab import sampling, stats, worker
from trtlab.backends import base
from trtlab.dataset import random_inputs
from trtlab.environment import capture, cpu_seconds
from trtlab.model.types import Tensor
from trtlab.record import HostMemory, Measurement, Plan, WarmUp, Window
from trtlab.spec import BuildConfig, Caveat, RunConfig, Shape, input_shapes
from trtlab.store import Store, key_of
from trtlab.verbs.build import build, conditions, distributions, kept, on_plan
from trtlab.worker import Progress, silent

SPREAD_LIMIT = 0.25
"""IQR / median from which a result carries a caveat (torch.utils.benchmark: "significant
environmental influence")."""

OTHER_LOAD_LIMIT = 0.25
"""Cores kept busy by other processes from which a result carries a caveat."""

_NO_POWER = "this machine reports no power; a GPU readable through NVML does"
_GPU_POWER_UNREAD = "the GPU's power is not read yet"


@dataclass(frozen=True, slots=True)
class _Spec:
    plan_path: str
    build: BuildConfig
    run: RunConfig
    inputs: tuple[Tensor, ...]
    shapes: Mapping[str, Shape]
    weight_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Taken:
    """What the worker brings back."""

    provider: str
    windows: tuple[Window, ...]
    steady_from: int
    stable: bool
    warm_up: WarmUp
    first_call_ns: int
    load_seconds: float
    cpu_ns_per_call: int
    other_load: float
    memory: HostMemory


def benchmark(
    plan: Any,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Shape] | None = None,
    streams: int = 1,
    threads: int | None = None,
    activation_cap: int | None = None,
    quick: bool = False,
    seed: int = 0,
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Measurement:
    """Measure a plan (or a model, which is built with default settings first).

    Latency is host time around the call with all buffers bound beforehand; inputs are random
    from ``seed``. Memory is that of a fresh process for this configuration alone.

    Args:
        plan: A ``Plan``, or what ``load`` takes.
        batch: Size of the batch axis; default 1 where there is one.
        shapes: Input shapes by name, for other dynamic axes.
        streams: Inferences in flight at once.
        threads: Threads inside one inference; None is the backend's choice.
        activation_cap: Limit of ONNX Runtime's activation arena in bytes.
        quick: Short windows, for demonstrations; the record is labelled.
        seed: Seed of the inputs.
        store: Where plan and record are kept; default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        cancel: Set it to stop within a second.

    Raises:
        SpecError: a setting is wrong or does not fit the model.
        ExecutionError: the run failed; the message says how.
        PlanError: the plan is gone, and so is the model that it was built from.
    """
    run = RunConfig(
        batch=batch,
        shapes=shapes or {},
        streams=streams,
        threads=threads,
        activation_cap_bytes=activation_cap,
        quick=quick,
        seed=seed,
    )
    store = store or Store()
    if not isinstance(plan, Plan):
        plan = build(plan, store=store, progress=progress, cancel=cancel)
    return benchmark_with(plan, run, store=store, progress=progress, cancel=cancel)


def benchmark_with(
    plan: Plan,
    run: RunConfig,
    *,
    store: Store,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Measurement:
    """Measure with a ready ``RunConfig``; see ``benchmark``."""
    shapes, batch = input_shapes(plan.inputs, plan.outputs, run)
    environment = capture(distributions(plan.config.backend))

    def take(file: Path) -> _Taken:
        spec = _Spec(str(file), plan.config, run, plan.inputs, shapes, plan.weight_bytes)
        with store.measuring(plan.config.device, cancel):
            return worker.run(_measure_job, spec, progress=progress, cancel=cancel).result

    taken = on_plan(plan, take, store=store, progress=progress, cancel=cancel)
    measurement = Measurement(
        model=plan.model,
        plan=plan.hash,
        build=plan.config,
        run=run,
        provider=taken.provider,
        batch=batch,
        shapes=shapes,
        contents="call",
        windows=taken.windows,
        steady_from=taken.steady_from,
        stable=taken.stable,
        warm_up=taken.warm_up,
        first_call_ns=taken.first_call_ns,
        load_seconds=taken.load_seconds,
        cpu_ns_per_call=taken.cpu_ns_per_call,
        other_load=taken.other_load,
        memory=taken.memory,
        energy_joules=None,
        energy_note=_GPU_POWER_UNREAD if environment.gpu else _NO_POWER,
        environment=environment,
    )
    measurement = replace(measurement, caveats=doubts(measurement))
    saved: Measurement = kept(
        measurement, measurement_key(plan.model.hash, plan.config, run), store
    )
    return saved


def measurement_key(model_hash: str, config: BuildConfig, run: RunConfig) -> str:
    """Return the store's key of a measurement: model, settings, versions and machine."""
    return key_of("measurement", model_hash, config, run, conditions(config.backend))


def doubts(m: Measurement) -> tuple[Caveat, ...]:
    """Return the caveats of a measurement: only what could change its reading."""
    found = []
    if not m.stable:
        medians = [stats.median(w.latencies_ns) / 1e6 for w in m.windows]
        found.append(
            Caveat(
                "unstable",
                f"No three of {len(m.windows)} windows in a row agreed within 10 %; their "
                f"medians lie between {min(medians):.3g} and {max(medians):.3g} ms.",
                "Close other programs, use fewer threads, and measure again.",
            )
        )
    if not m.warm_up.settled:
        found.append(
            Caveat(
                "not-warmed-up",
                f"Calls were still getting faster after {m.warm_up.calls} warm-up calls.",
                "Measure again; the first windows may be slow.",
            )
        )
    if m.n < 6:
        found.append(
            Caveat("few-samples", f"Only {m.n} samples: no interval.", "Measure without quick.")
        )
    elif (spread := stats.relative_iqr(m.latencies_ms)) >= SPREAD_LIMIT:
        found.append(
            Caveat(
                "spread",
                f"Half of all calls differ by {spread:.0%} of the median.",
                "Something else uses the machine, or threads share cores: try fewer threads.",
            )
        )
    if m.other_load is not None and m.other_load >= OTHER_LOAD_LIMIT:
        found.append(
            Caveat(
                "busy-machine",
                f"Other programs kept {m.other_load:.1f} cores busy meanwhile.",
                "Close them and measure again.",
            )
        )
    return tuple(found)


def _measure_job(spec: _Spec, progress: Progress) -> _Taken:
    backend = base.backend(spec.build.backend)
    backend.status()  # imports the library: its memory belongs to the baseline
    baseline = worker.rss_bytes()
    feeds = random_inputs(spec.inputs, spec.shapes, spec.run.seed)
    worker.forget_peak()  # inventing inputs may have taken more than running will
    progress("load", 0, 1)
    begin = time.perf_counter()
    with backend.load(Path(spec.plan_path), spec.build, spec.run) as engine:
        load_seconds = time.perf_counter() - begin
        loaded = worker.rss_bytes()
        streams = [engine.bind(feeds) for _ in range(spec.run.streams)]
        cpu_before, own_before, wall_before = cpu_seconds(), time.process_time(), time.monotonic()
        samples = sampling.measure(
            [s.call for s in streams],
            sampling.QUICK if spec.run.quick else sampling.FULL,
            progress=progress,
        )
        own = time.process_time() - own_before
        others = cpu_seconds() - cpu_before - own
        wall = time.monotonic() - wall_before
        provider = engine.provider
    peak = worker.peak_rss_bytes()
    calls = samples.warm_up.calls + sum(len(w.latencies_ns) for w in samples.windows)
    on_gpu = spec.build.device != "cpu"
    times = _layer_times(backend, spec, feeds, progress)
    bounded = spec.run.streams > 1 or spec.run.activation_cap_bytes is not None
    inputs = sum(array.nbytes for array in feeds.values())
    memory = HostMemory(
        baseline=baseline,
        loaded=loaded,
        peak=peak,
        weights=None if on_gpu else spec.weight_bytes,
        repacked=times.repacked_bytes,
        activations=None if bounded else times.activations_bytes,
        io=None if on_gpu else inputs + sum(s.output_bytes for s in streams),
    )
    return _Taken(
        provider=provider,
        windows=samples.windows,
        steady_from=samples.steady_from,
        stable=samples.stable,
        warm_up=samples.warm_up,
        first_call_ns=streams[0].first_call_ns,
        load_seconds=load_seconds,
        cpu_ns_per_call=round(own / calls * 1e9),
        other_load=max(0.0, others / wall),
        memory=memory,
    )


def _layer_times(
    backend: base.Backend, spec: _Spec, feeds: base.Feeds, progress: Progress
) -> base.LayerTimes:
    """Profile one run to learn the parts of the memory, after everything else has been measured.

    Without the cap: its allocator can be registered once in a process.
    """
    run = replace(spec.run, activation_cap_bytes=None)
    return backend.layer_times(Path(spec.plan_path), spec.build, run, feeds, 1, progress)
