"""``benchmark``: run a plan in a fresh process and measure latency, throughput and memory."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trtlab import device, sampling, stats, worker
from trtlab.backends import base
from trtlab.dataset.random import random_inputs
from trtlab.environment import capture, cpu_seconds
from trtlab.errors import BackendUnavailableError
from trtlab.model.types import Tensor
from trtlab.record import (
    Contents,
    DeviceMemory,
    GpuConditions,
    HostMemory,
    Measurement,
    Plan,
    WarmUp,
    Window,
)
from trtlab.spec import BuildConfig, Caveat, RunConfig, Shape, input_shapes
from trtlab.spec.run import check_backend
from trtlab.store import Store, key_of
from trtlab.verbs.build import (
    build_to_run,
    check_can,
    check_has_bytes,
    conditions,
    distributions,
    kept,
    usable,
)
from trtlab.worker import Progress, silent

SPREAD_LIMIT = 0.25
"""IQR / median from which a result carries a caveat (torch.utils.benchmark: "significant
environmental influence")."""

OTHER_LOAD_LIMIT = 0.25
"""Cores kept busy by other processes from which a result carries a caveat."""

COMPUTE_CV_LIMIT = 0.025
ENQUEUE_LIMIT = 0.8
"""trtexec's warnings: compute varies by more than 2.5 %, enqueuing takes over 0.8 × compute."""

ENERGY_NS = 3_000_000_000
"""Shortest stretch that energy is taken over: the counter moves in steps of some 0.1 s."""

_NO_POWER = "this machine reports no power; a GPU readable through NVML does"


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
    contents: Contents
    device_memory: DeviceMemory | None
    gpu: GpuConditions | None
    call_joules: float | None
    energy_note: str
    caveats: tuple[Caveat, ...]


def benchmark(
    plan: Any,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Shape] | None = None,
    streams: int = 1,
    threads: int | None = None,
    activation_cap: int | None = None,
    cuda_graph: bool | None = None,
    transfers: bool = False,
    quick: bool = False,
    seed: int = 0,
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Measurement:
    """Measure a plan (or a model, which is built with default settings first).

    Latency is host time around the call with all buffers bound beforehand. With TensorRT it is
    GPU time by events, one query ahead on each stream; copies are in it if ``transfers`` says so,
    and then follow each other with the work of their stream. Inputs are random from ``seed``.
    Memory is that of a fresh process for this configuration alone.

    Args:
        plan: A ``Plan``, or what ``load`` takes.
        batch: Size of the batch axis; default 1 where there is one.
        shapes: Input shapes by name, for other dynamic axes.
        streams: Inferences in flight at once.
        threads: Threads inside one inference; None is the backend's choice.
        activation_cap: Limit of ONNX Runtime's activation arena in bytes.
        cuda_graph: Whether TensorRT replays a CUDA graph; None: yes. Where the engine cannot be
            captured it runs without, and a caveat says so.
        transfers: Whether TensorRT's latency contains copying inputs and outputs.
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
        cuda_graph=cuda_graph,
        transfers=transfers,
        quick=quick,
        seed=seed,
    )
    store = store or Store()
    if not isinstance(plan, Plan):
        plan = build_to_run(plan, run, store=store, progress=progress, cancel=cancel)
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
    check_has_bytes(plan, store)
    # A speed in another precision than the plan's name says would mislead.
    check_can(
        plan.model.recipe,
        base.backend(plan.config.backend).ability(plan.model.recipe, plan.config).run,
    )
    check_backend(plan.config, run)
    shapes, batch = input_shapes(plan.inputs, plan.outputs, run)
    environment = capture(distributions(plan.config.backend))

    with store.measuring(plan.config.device, cancel):
        plan = usable(plan, store=store, progress=progress, cancel=cancel)
        file = str(store.plan_path(plan.hash))
        spec = _Spec(file, plan.config, run, plan.inputs, shapes, plan.weight_bytes)
        taken = worker.run(_measure_job, spec, progress=progress, cancel=cancel).result
    measurement = Measurement(
        model=plan.model,
        plan=plan.hash,
        build=plan.config,
        run=run,
        provider=taken.provider,
        batch=batch,
        shapes=shapes,
        contents=taken.contents,
        windows=taken.windows,
        steady_from=taken.steady_from,
        stable=taken.stable,
        warm_up=taken.warm_up,
        first_call_ns=taken.first_call_ns,
        load_seconds=taken.load_seconds,
        cpu_ns_per_call=taken.cpu_ns_per_call,
        other_load=taken.other_load,
        memory=taken.memory,
        energy_joules=None if taken.call_joules is None else taken.call_joules / (batch or 1),
        energy_note=taken.energy_note,
        environment=environment,
        device_memory=taken.device_memory,
        gpu=taken.gpu,
    )
    measurement = replace(measurement, caveats=taken.caveats + doubts(measurement))
    saved: Measurement = kept(
        measurement, measurement_key(plan.model.hash, plan.config, run), store
    )
    return saved


def measurement_key(model_hash: str | None, config: BuildConfig, run: RunConfig) -> str:
    """Return the store's key of a measurement: model, settings, versions and machine."""
    return key_of("measurement", model_hash, config, run, conditions(config.backend))


def doubts(m: Measurement) -> tuple[Caveat, ...]:
    """Return the caveats of a measurement: only what could change its reading."""
    found = []
    if m.stable is False:
        medians = [stats.median(w.latencies_ns) / 1e6 for w in m.windows]
        rates = [len(w.latencies_ns) / (w.wall_ns / 1e9) for w in m.windows]
        found.append(
            Caveat(
                "unstable",
                f"No three of {len(m.windows)} windows in a row agreed within 10 %; their "
                f"medians lie between {min(medians):.3g} and {max(medians):.3g} ms, their calls "
                f"a second between {min(rates):,.0f} and {max(rates):,.0f}.",
                "Close other programs, use fewer threads, and measure again.",
            )
        )
    if m.warm_up is not None and not m.warm_up.settled:
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
    return (*found, *_gpu_doubts(m))


def _gpu_doubts(m: Measurement) -> list[Caveat]:
    """Return what trtexec would warn of, and whether the GPU was held down."""
    found = []
    if m.gpu is not None and m.gpu.throttled_by:
        found.append(
            Caveat(
                "throttled",
                f"The GPU lowered its clocks meanwhile: {', '.join(m.gpu.throttled_by)}.",
                "Improve its cooling or raise its power limit, or lock its clocks lower.",
            )
        )
    compute, enqueue = m.part_ms("compute"), m.part_ms("enqueue")
    if compute is None or enqueue is None:
        return found
    computes = [ns for w in m.steady if w.parts is not None for ns in w.parts.compute_ns]
    if len(computes) > 1 and (cv := _variation(computes)) > COMPUTE_CV_LIMIT:
        found.append(
            Caveat(
                "clocks-not-locked",
                f"GPU compute times vary by {cv:.1%} (standard deviation / mean).",
                "Lock the GPU's clocks (nvidia-smi --lock-gpu-clocks) and measure again.",
            )
        )
    if enqueue > ENQUEUE_LIMIT * compute:
        found.append(
            Caveat(
                "enqueue-bound",
                f"Enqueuing takes {enqueue:.3g} ms on the host, the GPU's work {compute:.3g} ms.",
                "The GPU waits for the host: use a CUDA graph, several streams or a larger batch.",
            )
        )
    h2d, d2h = m.part_ms("h2d"), m.part_ms("d2h")
    if h2d is not None and d2h is not None and max(h2d, d2h) >= compute:
        found.append(
            Caveat(
                "transfer-bound",
                f"Copies take {h2d:.3g} ms in and {d2h:.3g} ms out, the GPU's work "
                f"{compute:.3g} ms.",
                "Keep data on the GPU, or use several streams so that copies and work overlap.",
            )
        )
    if m.run.streams > 1:
        found.append(
            Caveat(
                "several-streams",
                f"{m.run.streams} streams share the GPU, so that each one's latency is longer.",
                "Quote the throughput; measure latency with one stream.",
            )
        )
    return found


def _variation(samples: Sequence[int]) -> float:
    """Return the coefficient of variation: population standard deviation / mean, as trtexec."""
    mean = math.fsum(samples) / len(samples)
    return math.sqrt(math.fsum((s - mean) ** 2 for s in samples) / len(samples)) / mean


def _measure_job(spec: _Spec, progress: Progress) -> _Taken:
    backend = base.backend(spec.build.backend)
    backend.status()  # imports the library: its memory belongs to the baseline
    with contextlib.ExitStack() as stack:
        gpu = GpuWatch(stack) if spec.build.device == "cuda" else None
        baseline = worker.rss_bytes()
        feeds = random_inputs(spec.inputs, spec.shapes, spec.run.seed)
        worker.forget_peak()  # inventing inputs may have taken more than running will
        free_before = gpu.free_bytes() if gpu else None
        progress("load", 0, 1)
        begin = time.perf_counter()
        engine = stack.enter_context(backend.load(Path(spec.plan_path), spec.build, spec.run))
        load_seconds = time.perf_counter() - begin
        loaded = worker.rss_bytes()
        streams = [engine.bind(feeds) for _ in range(spec.run.streams)]
        calls = [s.call for s in streams]
        cpu_before, own_before, wall_before = cpu_seconds(), time.process_time(), time.monotonic()
        samples = sampling.measure(
            calls, sampling.QUICK if spec.run.quick else sampling.FULL, progress=progress
        )
        own = time.process_time() - own_before
        others = cpu_seconds() - cpu_before - own
        wall = time.monotonic() - wall_before
        provider = engine.provider
        peak = worker.peak_rss_bytes()
        free_after = gpu.free_bytes() if gpu else None
        joules, energy_note = None, _NO_POWER
        if gpu is not None:
            progress("energy", 0, 1)
            joules, energy_note = gpu.energy(calls, samples, spec.run.quick)
    times = None if gpu else _layer_times(backend, spec, feeds, progress)
    bounded = spec.run.streams > 1 or spec.run.activation_cap_bytes is not None
    inputs = sum(array.nbytes for array in feeds.values())
    memory = HostMemory(
        baseline=baseline,
        loaded=loaded,
        peak=peak,
        weights=None if gpu else spec.weight_bytes,
        repacked=times.repacked_bytes if times else None,
        activations=times.activations_bytes if times and not bounded else None,
        io=None if gpu else inputs + sum(s.output_bytes for s in streams),
    )
    return _Taken(
        provider=provider,
        windows=samples.windows,
        steady_from=samples.steady_from,
        stable=samples.stable,
        warm_up=samples.warm_up,
        first_call_ns=streams[0].first_call_ns,
        load_seconds=load_seconds,
        cpu_ns_per_call=round(own / samples.calls * 1e9),
        other_load=max(0.0, others / wall),
        memory=memory,
        contents=_contents(samples),
        device_memory=_device_memory(spec, streams, free_before, free_after) if gpu else None,
        gpu=gpu.conditions(samples) if gpu else None,
        call_joules=joules,
        energy_note=energy_note,
        caveats=tuple(dict.fromkeys(c for s in streams for c in s.caveats)),
    )


def _contents(samples: sampling.Samples) -> Contents:
    parts = samples.windows[0].parts
    if parts is None:
        return "call"
    return "compute" if parts.h2d_ns is None else "compute+transfers"


def _device_memory(
    spec: _Spec, streams: Sequence[base.Bound], before: int | None, after: int | None
) -> DeviceMemory:
    said = [s.device_bytes for s in streams if s.device_bytes is not None]
    activations = [s.activations for s in said if s.activations is not None]
    # Less than nothing is what another process gave back meanwhile.
    growth = before - after if before is not None and after is not None else -1
    return DeviceMemory(
        activations=sum(activations) if activations else None,
        weights=said[0].weights if said else None,
        plan=Path(spec.plan_path).stat().st_size,
        io=sum(s.io for s in said) if said else None,
        growth=growth if growth >= 0 else None,
    )


class GpuWatch:
    """The GPU that a job runs on, as far as it can be watched here.

    ONNX Runtime runs on a GPU without the packages for this: then the facts are None.
    """

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._gpu: device.Gpu | None = None
        self._sensors: device.Sensors | None = None
        self._watcher: device.Watcher | None = None
        self._why_not = ""
        try:
            # Makes CUDA's context: its memory belongs to the baseline.
            self._gpu = device.open_gpu()
            self._sensors = device.open_sensors(self._gpu)
        except BackendUnavailableError as error:
            self._why_not = error.message.rstrip(".")
        else:
            self._watcher = stack.enter_context(device.Watcher(self._sensors))

    def free_bytes(self) -> int | None:
        """Return the GPU's free memory."""
        memory = self._gpu.memory() if self._gpu else None
        return memory.free if memory else None

    def conditions(self, samples: sampling.Samples) -> GpuConditions | None:
        """Return what the sensors said during the steady windows."""
        if self._watcher is None:
            return None
        return GpuConditions.of(self._watcher.between(*samples.steady_span))

    def energy(
        self, calls: Sequence[sampling.Call], samples: sampling.Samples, quick: bool
    ) -> tuple[float | None, str]:
        """Return the joules of one call over an unbroken stretch, or None with the reason."""
        if self._sensors is None:
            return None, f"the GPU's sensors cannot be read: {self._why_not}"
        if quick:
            return None, "quick windows; energy needs a stretch of 3 s"
        if not samples.stable:
            return None, "the windows did not agree, so that no stretch was steady"
        before = self._sensors.energy_joules()
        if before is None:
            return None, "this GPU does not count its energy"
        window, made = sampling.stretch(calls, ENERGY_NS)
        after = self._sensors.energy_joules()
        if after is None or after <= before:
            return None, "the GPU's energy counter did not move"
        if not sampling.agree((*samples.windows[samples.steady_from :], window)):
            return None, "calls were not steady over a stretch of 3 s"
        seconds = window.wall_ns / 1e9
        return (after - before) / made, f"NVML's counter, whole board, over {seconds:.1f} s"


def _layer_times(
    backend: base.Backend, spec: _Spec, feeds: base.Feeds, progress: Progress
) -> base.LayerTimes:
    """Profile one run to learn the parts of the memory, after everything else has been measured.

    Without the cap: its allocator can be registered once in a process.
    """
    run = replace(spec.run, activation_cap_bytes=None)
    return backend.layer_times(Path(spec.plan_path), spec.build, run, feeds, 1, progress)
