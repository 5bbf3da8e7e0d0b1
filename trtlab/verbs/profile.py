"""``profile``: time per layer, from runs of their own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtlab import worker
from trtlab.backends import base
from trtlab.codec import Int64Array
from trtlab.dataset.random import random_inputs
from trtlab.environment import capture
from trtlab.model.types import Tensor
from trtlab.record import LayerProfile, LayerTiming, Plan, TimeKind
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

RUNS = 30
QUICK_RUNS = 10


@dataclass(frozen=True, slots=True)
class _Spec:
    plan_path: str
    build: BuildConfig
    run: RunConfig
    inputs: tuple[Tensor, ...]
    shapes: Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class _Times:
    kind: TimeKind
    layers: tuple[LayerTiming, ...]
    runs_ns: Int64Array
    caveats: tuple[Caveat, ...]


def profile(
    plan: Any,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Shape] | None = None,
    threads: int | None = None,
    quick: bool = False,
    seed: int = 0,
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> LayerProfile:
    """Time every layer of a plan (or of a model, built first) in 30 runs, 10 with ``quick``.

    On ONNX Runtime's CPU a layer time is CPU time in whole microseconds. On its CUDA provider it
    is the host launching the layer; on TensorRT it is GPU time. None adds up to the latency.

    Args:
        plan: A ``Plan``, or what ``load`` takes.
        batch: Size of the batch axis; default 1 where there is one.
        shapes: Input shapes by name, for other dynamic axes.
        threads: Threads inside one inference; None is the backend's choice.
        quick: Fewer runs.
        seed: Seed of the random inputs.
        store: Where plan and record are kept; default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        cancel: Set it to stop within a second.

    Raises:
        SpecError: a setting is wrong or does not fit the model.
        ExecutionError: the run failed; the message says how.
    """
    run = RunConfig(batch=batch, shapes=shapes or {}, threads=threads, quick=quick, seed=seed)
    store = store or Store()
    if not isinstance(plan, Plan):
        plan = build_to_run(plan, run, store=store, progress=progress, cancel=cancel)
    check_has_bytes(plan, store)
    check_can(
        plan.model.recipe,
        base.backend(plan.config.backend).ability(plan.model.recipe, plan.config).run,
    )
    check_backend(plan.config, run)
    shapes_used, batch_used = input_shapes(plan.inputs, plan.outputs, run)
    environment = capture(distributions(plan.config.backend))

    with store.measuring(plan.config.device, cancel):
        plan = usable(plan, store=store, progress=progress, cancel=cancel)
        spec = _Spec(str(store.plan_path(plan.hash)), plan.config, run, plan.inputs, shapes_used)
        times = worker.run(_profile_job, spec, progress=progress, cancel=cancel).result
    record = LayerProfile(
        model=plan.model,
        plan=plan.hash,
        build=plan.config,
        run=run,
        batch=batch_used,
        time_kind=times.kind,
        layers=times.layers,
        runs_ns=times.runs_ns,
        environment=environment,
        caveats=times.caveats,
    )
    key = key_of("layers", plan.model.hash, plan.config, run, conditions(plan.config.backend))
    saved: LayerProfile = kept(record, key, store)
    return saved


def _profile_job(spec: _Spec, progress: Progress) -> _Times:
    backend = base.backend(spec.build.backend)
    feeds = random_inputs(spec.inputs, spec.shapes, spec.run.seed)
    runs = QUICK_RUNS if spec.run.quick else RUNS
    times = backend.layer_times(Path(spec.plan_path), spec.build, spec.run, feeds, runs, progress)
    return _Times(times.kind, times.layers, Int64Array(times.runs_ns), times.caveats)
