"""``sweep``: a grid of settings, each point in a fresh process, finished ones from the store."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, replace
from typing import Any, Literal

from trtlab.backends import base
from trtlab.errors import JobCancelled, SpecError, TrtlabError, UnsupportedError
from trtlab.model.conversion import Tool
from trtlab.model.types import Model
from trtlab.precision.recipes import recipe_of
from trtlab.record import Failure, Measurement, ModelRef, Plan, Point, SweepResult
from trtlab.spec import TENSORRT, BuildConfig, RunConfig, Shape
from trtlab.store import Store, with_source
from trtlab.units import bytes_from_text
from trtlab.verbs.accuracy import accuracy
from trtlab.verbs.benchmark import benchmark_with, measurement_key
from trtlab.verbs.build import build_with, config_for, kept, plan_key
from trtlab.verbs.choose import backend_for, status_of
from trtlab.verbs.convert import convert
from trtlab.verbs.load import load
from trtlab.worker import Progress, silent
from trtlab.zoo import catalogue

OnPoint = Callable[[int, int, Point], None]
"""Called with the points done, the points in all, and the point that has just come."""


@dataclass(frozen=True, slots=True)
class _Judging:
    """What accuracy is judged by: samples, and labels for them."""

    data: Any
    labels: Any


@dataclass(frozen=True, slots=True)
class _Job:
    """One point still to be made; picklable, so that any executor can carry it.

    ``failure``: why there is nothing to make, found out before. ``note``: why it is not run.
    """

    model: ModelRef
    opened: Model | None
    build: BuildConfig
    run: RunConfig
    reuse: bool
    judging: _Judging | None = None
    note: str | None = None
    failure: Failure | None = None


_POLL_SECONDS = 0.2


def _nobody(_done: int, _total: int, _point: Point) -> None:
    """Tell nobody about a point."""


def sweep(
    models: Any,
    *,
    precision: str | Sequence[str] | None = None,
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
    calibration: Any = None,
    samples: int | None = None,
    tool: Tool | None = None,
    data: Any = None,
    labels: Any = None,
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

    Where TensorRT can build and not run, and no backend is named, each model has a point with its
    plan beside the points that run on ONNX Runtime: they are never joined into one.

    Args:
        models: One model or several: each a ``Model`` or what ``load`` takes.
        precision: Recipes to convert each model to, as ``convert`` takes them; None: as it is.
            What the CPU cannot compute in gets no latency: accuracy is emulated where it can be.
        batch: Batch sizes.
        streams: Inferences in flight at once.
        threads: Threads inside one inference; None is the backend's choice.
        optimization_level: ONNX Runtime's graph optimisation levels, or TensorRT's builder
            levels; None is the default.
        workspace: TensorRT: workspace limits; None is its default.
        target: TensorRT: what the plans are built for.
        shapes: Input shapes by name, for other dynamic axes; the same at every point.
        activation_cap: Limit of ONNX Runtime's activation arena in bytes.
        backend: Its name; None takes the first that can build and run here.
        provider: What runs the plans: ``cpu`` or ``cuda``.
        calibration: For recipes that need ranges, as ``convert`` takes it, with ``samples``.
        samples: How many samples are drawn for calibration.
        tool: ``modelopt``: convert with it.
        data: Samples that accuracy is judged by, as ``accuracy`` takes them. None: the zoo's where
            it has some, else accuracy is not told.
        labels: Their labels, as ``accuracy`` takes them.
        quick: Short windows, for demonstrations; the records are labelled.
        seed: Seed of the random inputs.
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
    calls: dict[str, Any] = {"store": store, "progress": progress, "cancel": cancel}
    opened = [load(m, **calls) for m in _several(models)]
    recipes = [None if r is None else recipe_of(r).name for r in _several(precision)]
    levels = _several(optimization_level)
    limits = [None if w is None else bytes_from_text(w) for w in _several(workspace)]
    if name not in TENSORRT and backend is not None:
        _check_belongs_to_it(name, target, limits)
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
    planned = {"target": target, **_range_of(_several(batch), shapes)}
    names = [name]
    if backend is None and name not in TENSORRT and provider == "cpu":
        names = [*_building_only([m for m in opened if m.source == "onnx"], levels), name]
    jobs: list[_Job] = []
    try:
        for model, recipe in itertools.product(opened, recipes):
            conversion = {"calibration": calibration, "samples": samples, "tool": tool, **calls}
            made = _converted(model, recipe, conversion)
            for each in names:
                judging = None
                if each not in TENSORRT and (data is not None or has_images(model)):
                    judging = _Judging(data, labels)
                jobs += _jobs(
                    made, each, runs, levels, limits, planned, provider, reuse, judging,
                    companion=each != name,
                )  # fmt: skip
    except JobCancelled:
        return SweepResult((), stopped=True)
    if labels is not None and data is None:
        raise SpecError("Labels were given without data.", hint="Give both: data and labels.")
    if not jobs or not runs:
        raise SpecError("The sweep has no point.", hint="Give at least one value for each axis.")
    made_points = (
        _one_by_one(jobs, store, progress, cancel)
        if executor is None
        else _by_executor(jobs, executor, store, cancel)
    )
    points: dict[int, Point] = {}
    stopped = False
    try:
        for index, point in made_points:
            points[index] = point
            on_point(len(points), len(jobs), point)
    except JobCancelled:
        stopped = True
    return SweepResult(tuple(points[i] for i in sorted(points)), stopped)


def _check_belongs_to_it(
    name: str, target: str | Sequence[str] | None, limits: Sequence[int | None]
) -> None:
    """Refuse TensorRT's axes for ONNX Runtime where that was asked for by name."""
    if target is not None:
        raise SpecError(f"{name} has no target.", hint="It belongs to TensorRT.")
    if limits != [None]:
        raise SpecError(
            f"{name} has no workspace.", hint="It has a limit of its own: activation_cap."
        )


def _building_only(models: Sequence[Model], levels: Sequence[str | int | None]) -> list[str]:
    """Return the TensorRT whose plans are shown beside the runs of another backend."""
    if not models or all(isinstance(level, str) for level in levels):
        return []
    return [n for n in TENSORRT if status_of(n).abilities["fp32"].build.can][:1]


def _converted(
    model: Model, recipe: str | None, settings: Mapping[str, Any]
) -> tuple[ModelRef, Model | None, Failure | None]:
    """Return the model in that precision, or why it cannot be had."""
    if recipe is None or (recipe == model.recipe == "fp32"):
        return ModelRef.of(model), model, None
    try:
        made = convert(model, recipe, **settings)
    except JobCancelled:
        raise
    except TrtlabError as error:
        return ModelRef(model.name, None, recipe, model.hash), None, Failure.of(error)
    return ModelRef.of(made), made, None


def has_images(model: Model) -> bool:
    """Whether the zoo has labelled images for a model."""
    entry = catalogue.ENTRIES.get(model.name.removeprefix("zoo:"))
    return model.name.startswith("zoo:") and entry is not None and entry.labelled


def _jobs(
    made: tuple[ModelRef, Model | None, Failure | None],
    name: str,
    runs: Sequence[RunConfig],
    levels: Sequence[str | int | None],
    limits: Sequence[int | None],
    planned: Mapping[str, Any],
    provider: Literal["cpu", "cuda"],
    reuse: bool,
    judging: _Judging | None,
    *,
    companion: bool,
) -> list[_Job]:
    """Return the points of one model on one backend.

    A companion is shown beside the backend that was chosen: settings that only it refuses make
    its point fail, not the sweep.
    """
    ref, model, failure = made
    on_tensorrt = name in TENSORRT
    if on_tensorrt and not status_of(name).abilities["fp32"].run.can:
        note = "built here, not run: " + status_of(name).abilities["fp32"].run.reason
    else:
        note = None
    own = [level for level in levels if level is None or isinstance(level, int) == on_tensorrt]
    jobs = []
    for level, limit in itertools.product(own, limits if on_tensorrt else [None]):
        settings: dict[str, Any] = {"optimization_level": level, "provider": provider}
        if on_tensorrt:
            settings = {"optimization_level": level, "workspace_bytes": limit}
            settings |= planned
        cannot, why = failure, note
        config = BuildConfig(backend=name)
        try:
            if model is not None:
                config = config_for(model, name, **settings)
        except SpecError as error:
            if not companion:
                raise
            cannot = Failure.of(error)
        if not on_tensorrt:
            ability = base.backend(name).ability(ref.recipe, config)
            why = None if ability.run.can else ability.run.reason
            if not ability.run.can and (judging is None or "bf16" in ref.recipe):
                reason = f"{ref.recipe}: {ability.run.reason}"
                cannot = cannot or Failure.of(UnsupportedError(reason, hint=ability.run.hint))
        # What does not run is the same at every batch: it is told once.
        asked = runs if why is None and cannot is None else [RunConfig()]
        jobs += [_Job(ref, model, config, run, reuse, judging, why, cannot) for run in asked]
    return jobs


def _range_of(batches: Sequence[int | None], shapes: Mapping[str, Shape] | None) -> dict[str, Any]:
    """Return the range of one plan that takes every batch: best at the largest."""
    sizes = [b for b in batches if b is not None]
    batch = (min(sizes), max(sizes), max(sizes)) if sizes else None
    return {"batch": batch, "shapes": shapes or None}


def _several(values: Any) -> list[Any]:
    """Return the values without repeats; one value stands for a list of one."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        return [values]
    # By comparing: a model cannot be hashed.
    return [v for n, v in enumerate(values) if v not in values[:n]]


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
        failure = Failure("crashed", f"The executor failed: {error!r}", "Run it again.")
        return Point(model=job.model, build=job.build, run=job.run, failure=failure)


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
    point = Point(
        model=job.model, build=job.build, run=job.run, note=job.note, failure=job.failure
    )
    model = job.opened
    if job.failure is not None or model is None:
        return point
    calls: dict[str, Any] = {"store": store, "progress": progress, "cancel": cancel}
    try:
        if job.note is None:
            point = measured(point, model, job.reuse, calls)
        elif job.build.backend in TENSORRT:
            point = replace(point, plan=build_with(model, job.build, **calls))
        if job.judging is not None and point.failure is None:
            subject = point.plan or model
            found = accuracy(
                subject,
                job.judging.data,
                labels=job.judging.labels,
                provider=job.build.provider,
                **calls,
            )
            point = replace(point, accuracy=found)
    except JobCancelled:
        raise
    except TrtlabError as error:
        return replace(point, note=None, failure=Failure.of(error))
    return point


def measured(point: Point, model: Model, reuse: bool, calls: Mapping[str, Any]) -> Point:
    """Return the point with a plan and a measurement, from the store where it has them."""
    store: Store = calls["store"]
    if reuse:
        known = store.get(measurement_key(model.hash, point.build, point.run), Measurement)
        # Two builds of the same may differ: the measurement's own plan is wanted.
        plans = store.under(plan_key(model, point.build), Plan)
        plan = next((p for p in plans if known and p.hash == known.plan), None)
        if known is not None and plan is not None:
            known, plan = replace(known, model=point.model), replace(plan, model=point.model)
            return replace(point, plan=plan, measurement=known, from_store=True)
    plan = build_with(model, point.build, **calls)
    # Kept where the run fails: what was built is known.
    built = replace(point, plan=plan)
    try:
        return replace(built, measurement=benchmark_with(plan, point.run, **calls))
    except JobCancelled:
        raise
    except TrtlabError as error:
        return replace(built, failure=Failure.of(error))
