"""``sweep``: a grid of settings, each point in a fresh process, finished ones from the store."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, replace
from typing import Any, Literal

from trtlab.backends import base
from trtlab.errors import JobCancelled, SpecError, TrtlabError
from trtlab.model.types import Model
from trtlab.record import Failure, Measurement, ModelRef, Plan, Point, SweepResult
from trtlab.spec import TENSORRT, BuildConfig, RunConfig, Shape
from trtlab.store import Store, with_source
from trtlab.units import bytes_from_text
from trtlab.verbs.benchmark import benchmark_with, measurement_key
from trtlab.verbs.build import build_with, config_for, kept, plan_key
from trtlab.verbs.choose import backend_for, status_of
from trtlab.verbs.load import load
from trtlab.worker import Progress, silent

OnPoint = Callable[[int, int, Point], None]
"""Called with the points done, the points in all, and the point that has just come."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One point still to be made; picklable, so that any executor can carry it."""

    model: Model
    build: BuildConfig
    run: RunConfig
    reuse: bool
    build_only: bool


_POLL_SECONDS = 0.2


def _nobody(_done: int, _total: int, _point: Point) -> None:
    """Tell nobody about a point."""


def sweep(
    models: Any,
    *,
    batch: int | Sequence[int | None] | None = None,
    streams: int | Sequence[int] = 1,
    threads: int | Sequence[int | None] | None = None,
    optimization_level: str | int | Sequence[str | int | None] | None = None,
    workspace: str | int | Sequence[str | int | None] | None = None,
    target: str | Sequence[str] | None = None,
    shapes: Mapping[str, Shape] | None = None,
    activation_cap: int | None = None,
    backend: str | None = None,
    provider: Literal["cpu", "cuda"] = "cpu",
    quick: bool = False,
    seed: int = 0,
    reuse: bool = True,
    executor: Executor | None = None,
    store: Store | None = None,
    progress: Progress = silent,
    on_point: OnPoint = _nobody,
    cancel: threading.Event | None = None,
) -> SweepResult:
    """Measure every combination of the given settings.

    A point that fails is kept with its reason; the others go on. Finished points lie in the
    store, so a sweep that was killed goes on where it ended, and a repeated one answers at once.

    Args:
        models: One model or several: each a ``Model`` or what ``load`` takes.
        batch: Batch sizes.
        streams: Inferences in flight at once.
        threads: Threads inside one inference; None is the backend's choice.
        optimization_level: ONNX Runtime's graph optimisation levels, or TensorRT's builder
            levels; None is the default.
        workspace: TensorRT: workspace limits; None is its default.
        target: TensorRT: what the plans are built for.
        shapes: Input shapes by name, for other dynamic axes; the same at every point.
        activation_cap: Limit of ONNX Runtime's activation arena in bytes.
        provider: What runs the plans: ``cpu`` or ``cuda``.
        seed: Seed of the random inputs.
        backend: Its name; None takes the first that can build and run here. Where TensorRT-RTX
            can build and not run, its points hold a plan and no measurement.
        quick: Short windows, for demonstrations; the records are labelled.
        reuse: False measures again what the store has.
        executor: Where points are made: any ``concurrent.futures.Executor``. None makes them one
            after the other, which is right on one machine: points at once disturb each other.
        store: Default is this machine's store. With an executor, workers use their own default.
        progress: Called with phase, steps done and steps in all, inside a point.
        on_point: Called when a point is there.
        cancel: Set it to stop; the points that are done are returned.

    Raises:
        SpecError: a setting is wrong, or there is no point.
        ModelError: a model cannot be used.
    """
    store = store or Store()
    name = backend or backend_for("run")
    base.backend(name)
    opened = [load(m, store=store, progress=progress, cancel=cancel) for m in _several(models)]
    levels, limits = _several(optimization_level), _several(workspace)
    asked: dict[str, Any] = {}
    if name in TENSORRT:
        asked = {"target": target, **_range_of(_several(batch), shapes)}
    elif target is not None:
        raise SpecError(f"{name} has no target.", hint="It belongs to TensorRT.")
    runs = [
        RunConfig(
            batch=b,
            shapes=shapes or {},
            streams=s,
            threads=t,
            activation_cap_bytes=activation_cap,
            quick=quick,
            seed=seed,
        )
        for b, s, t in itertools.product(_several(batch), _several(streams), _several(threads))
    ]
    build_only = name in TENSORRT and not status_of(name).abilities["fp32"].run.can
    if build_only:
        runs = [RunConfig()]  # one plan takes every batch of the sweep
    jobs = [
        _Job(
            model,
            config_for(
                model,
                name,
                **asked,
                optimization_level=level,
                provider=provider,
                workspace_bytes=None if limit is None else bytes_from_text(limit),
            ),
            run,
            reuse,
            build_only,
        )
        for model, level, limit, run in itertools.product(opened, levels, limits, runs)
    ]
    if not jobs:
        raise SpecError("The sweep has no point.", hint="Give at least one value for each axis.")
    made = (
        _one_by_one(jobs, store, progress, cancel)
        if executor is None
        else _by_executor(jobs, executor, store, cancel)
    )
    points: dict[int, Point] = {}
    stopped = False
    try:
        for index, point in made:
            points[index] = point
            on_point(len(points), len(jobs), point)
    except JobCancelled:
        stopped = True
    return SweepResult(tuple(points[i] for i in sorted(points)), stopped)


def _range_of(batches: Sequence[int | None], shapes: Mapping[str, Shape] | None) -> dict[str, Any]:
    """Return the range of one plan that takes every batch: best at the largest."""
    sizes = [b for b in batches if b is not None]
    batch = (min(sizes), max(sizes), max(sizes)) if sizes else None
    return {"batch": batch, "shapes": shapes or None}


def _several(values: Any) -> list[Any]:
    """Return the values without repeats; one value stands for a list of one."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        return [values]
    return list(dict.fromkeys(values))


def _one_by_one(
    jobs: Sequence[_Job], store: Store, progress: Progress, cancel: threading.Event | None
) -> Iterator[tuple[int, Point]]:
    for index, job in enumerate(jobs):
        if cancel is not None and cancel.is_set():
            raise JobCancelled("The sweep was stopped.")
        yield index, _point(job, store, progress, cancel)


def _by_executor(
    jobs: Sequence[_Job], executor: Executor, store: Store, cancel: threading.Event | None
) -> Iterator[tuple[int, Point]]:
    futures: dict[Future[Point], int] = {
        executor.submit(_remote_point, job): i for i, job in enumerate(jobs)
    }
    waiting = set(futures)
    try:
        while waiting:
            done, waiting = wait(waiting, timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED")
            for future in done:
                index = futures[future]
                yield index, _brought_home(_point_of(future, jobs[index]), store)
            if cancel is not None and cancel.is_set():
                raise JobCancelled("The sweep was stopped.")
    finally:
        for future in futures:
            future.cancel()


def _point_of(future: Future[Point], job: _Job) -> Point:
    """Return what an executor made; where it broke (a lost process), a point that says so."""
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - an executor may raise anything
        failure = Failure("WorkerCrashed", f"The executor failed: {error!r}", "Run it again.")
        return Point(model=ModelRef.of(job.model), build=job.build, run=job.run, failure=failure)


def _brought_home(point: Point, store: Store) -> Point:
    """Keep a point that another process made, which may run on another machine."""
    if point.measurement is None:
        return point
    measurement = with_source(point.measurement)
    key = measurement_key(point.model.hash, point.build, point.run)
    if measurement.source == "here":  # else its key, which names this machine, would be wrong
        measurement = kept(measurement, key, store)
    return replace(point, measurement=measurement)


def _remote_point(job: _Job) -> Point:
    return _point(job, Store(), silent, None)


def _point(job: _Job, store: Store, progress: Progress, cancel: threading.Event | None) -> Point:
    model = ModelRef.of(job.model)
    plan: Plan | None = None
    try:
        if job.reuse:
            known = store.get(measurement_key(job.model.hash, job.build, job.run), Measurement)
            # Two builds of the same may differ: the measurement's own plan is wanted.
            plans = store.under(plan_key(job.model, job.build), Plan)
            plan = next((p for p in plans if known and p.hash == known.plan), None)
            if known is not None and plan is not None:
                known = replace(known, model=model)
                return Point(
                    model=model,
                    build=job.build,
                    run=job.run,
                    plan=plan,
                    measurement=known,
                    from_store=True,
                )
        plan = build_with(job.model, job.build, store=store, progress=progress, cancel=cancel)
        if job.build_only:
            return Point(model=model, build=job.build, run=job.run, plan=plan)
        measurement = benchmark_with(plan, job.run, store=store, progress=progress, cancel=cancel)
    except JobCancelled:
        raise
    except TrtlabError as error:
        failure = Failure(type(error).__name__, error.message, error.hint)
        return Point(model=model, build=job.build, run=job.run, plan=plan, failure=failure)
    return Point(model=model, build=job.build, run=job.run, plan=plan, measurement=measurement)
