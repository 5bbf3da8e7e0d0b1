"""``run``: one configuration from the model to its engine, speed, layers and accuracy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from trtlab.backends import base
from trtlab.environment import capture
from trtlab.errors import (
    ERRORS_BY_KIND,
    ExecutionError,
    JobCancelled,
    JobTimeout,
    SpecError,
    StoreError,
    TrtlabError,
    WorkerCrashed,
)
from trtlab.model.types import Model
from trtlab.precision.recipes import recipe_of
from trtlab.record import (
    Accuracy,
    Failure,
    LayerProfile,
    Measurement,
    ModelRef,
    Plan,
    Point,
    Run,
    RunLine,
)
from trtlab.spec import BUILD_ONLY, TENSORRT, BuildConfig, Setup, Shape
from trtlab.store import Store, key_of, record_id
from trtlab.units import bytes_from_text
from trtlab.verbs.accuracy import accuracy
from trtlab.verbs.build import build_with, conditions, config_for, distributions
from trtlab.verbs.choose import backend_for, status_of
from trtlab.verbs.convert import convert
from trtlab.verbs.load import load
from trtlab.verbs.profile import profile
from trtlab.verbs.sweep import has_images, measured
from trtlab.worker import Progress, silent

PARTS = ("convert", "build", "measure", "layers", "accuracy")
"""What a run is made of, in this order."""

_PASSING_ERRORS = (WorkerCrashed, JobTimeout, JobCancelled, StoreError)
"""What has nothing to do with the model: it ends the run, and is not kept as its answer."""

_PASSING = tuple(error.kind for error in _PASSING_ERRORS)

OnPart = Callable[[str], None]


def _nobody(_part: str) -> None:
    """Tell nobody which part begins."""


def run(
    model: Any,
    *,
    precision: str | None = None,
    batch: int | None = None,
    batches: int | Sequence[int] | None = None,
    shapes: Mapping[str, Shape] | None = None,
    workspace: str | int | None = None,
    tf32: bool | None = None,
    builder: str | None = None,
    target: str | None = None,
    runner: str | None = None,
    provider: Literal["cpu", "cuda"] = "cpu",
    streams: int = 1,
    threads: int | None = None,
    calibration: str | None = None,
    data: str | None = None,
    quick: bool = False,
    store: Store | None = None,
    progress: Progress = silent,
    on_part: OnPart = _nobody,
    cancel: threading.Event | None = None,
) -> Run:
    """Make all that the workbench shows of one configuration; what the store has is not repeated.

    Where the builder's engine cannot run here, ONNX Runtime runs the same model: the run holds
    both plans, and each number says which one it is of.

    Args:
        model: A ``Model`` or what ``load`` takes.
        precision: Recipe as ``convert`` takes it; None leaves the model as it is.
        batch: Batch to measure; default is the optimal one of ``batches``, else 1.
        batches: Smallest, optimal and largest batch of the engine, or one for all three.
        shapes: Input shapes by name, for other dynamic axes.
        workspace: TensorRT's workspace limit, such as ``"256MiB"``.
        tf32: Whether TensorRT may round FP32 products to TF32.
        builder: Backend whose engine is shown; None takes the first that can build here.
        target: What TensorRT builds for, such as ``"sm89"``.
        runner: Backend that runs the model; None takes the builder where it can, else ONNX
            Runtime; ``"none"`` only builds.
        provider: ONNX Runtime's provider.
        streams: Inferences in flight at once.
        threads: Threads inside one inference on ONNX Runtime.
        calibration: ``"random"`` or a folder, for recipes that need ranges.
        data: Folder with samples that accuracy is judged by; None is the zoo's.
        quick: Short windows.
        store: Default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        on_part: Called with the name of each part that begins, of ``PARTS``.
        cancel: Set it to stop; what is done lies in the store.

    Raises:
        TrtlabError: as ``load``, ``convert`` and ``build`` raise it. That the model cannot be
            run, profiled or judged is no error: the run says why.
    """
    store = store or Store()
    opened = load(model, store=store, progress=progress, cancel=cancel)
    given = (batches,) * 3 if isinstance(batches, int) else batches
    if given is not None and len(given) != 3:
        raise SpecError(
            f"An engine needs one batch size or three, not {len(given)}.",
            hint="Write (1, 8, 32): smallest, optimal and largest.",
        )
    name = builder or backend_for("build", cancel=cancel)
    setup = Setup(
        precision=precision,
        batches=None if given is None else (given[0], given[1], given[2]),
        batch=batch if batch is not None or given is None else given[1],
        shapes=shapes or {},
        workspace_bytes=None if workspace is None else bytes_from_text(workspace),
        tf32=tf32,
        builder=name,
        target=target,
        runner=None if runner == BUILD_ONLY else runner or runner_for(name),
        provider=provider,
        streams=streams,
        threads=threads,
        calibration=calibration,
        data=data,
        quick=quick,
    )
    return run_with(opened, setup, store=store, progress=progress, on_part=on_part, cancel=cancel)


def runner_for(builder: str) -> str:
    """Return what runs the model: the builder where it can run here, else ONNX Runtime."""
    if builder in TENSORRT and not status_of(builder).abilities["fp32"].run.can:
        return "onnxruntime"
    return builder


def run_with(
    model: Model,
    setup: Setup,
    *,
    store: Store,
    progress: Progress = silent,
    on_part: OnPart = _nobody,
    cancel: threading.Event | None = None,
) -> Run:
    """Make a run with a ready ``Setup``; see ``run``."""
    known = known_run(model, setup, store)
    if known is not None:
        return known
    begin = time.perf_counter()
    calls: dict[str, Any] = {"store": store, "progress": progress, "cancel": cancel}
    making = _Making(model, setup, store, calls, on_part)
    made = making.run()
    seconds = time.perf_counter() - begin
    line = replace(made.line, seconds=None if making.was_measured else round(seconds, 3))
    whole = replace(made, line=line)
    if not making.is_final or not _keep_parts(whole, store):
        return whole
    return replace(whole, line=kept_line(line, run_key(model, setup), store))


def known_run(model: Model, setup: Setup, store: Store) -> Run | None:
    """Return the run with just this setup from the store, or None where it has none.

    Setups that name a folder are not looked up by it: its files may have changed.
    """
    folder = setup.calibration not in (None, "random") or setup.data is not None
    line = None if folder else store.get(run_key(model, setup), RunLine)
    if line is None:
        return None
    found = whole_run(line, store)
    return None if found is None else replace(found, from_store=True)


def run_key(model: Model, setup: Setup) -> str:
    """Return the store's key of a run: model, setup, library versions and machine."""
    # Accuracy and ranges come from ONNX Runtime, whoever runs the model.
    backends = dict.fromkeys((setup.builder, setup.runner or "onnxruntime", "onnxruntime"))
    # The same content has labels under the zoo's name alone.
    known_as = [origin_of(model), has_images(model)]
    return key_of("run", model.hash, known_as, setup, [conditions(name) for name in backends])


def whole_run(line: RunLine, store: Store) -> Run | None:
    """Return a run with its records, or None where one of them is gone."""

    def part(identity: str | None, kind: type[Any]) -> Any:
        found = None if identity is None else store.with_id(identity, kind)
        lost.append(identity is not None and found is None)
        return found

    lost: list[bool] = []
    whole = Run(
        line=line,
        plan=part(line.plan, Plan),
        ran=part(line.ran, Plan),
        measurement=part(line.measurement, Measurement),
        profile=part(line.profile, LayerProfile),
        accuracy=part(line.accuracy, Accuracy),
    )
    return None if any(lost) else whole


def history(store: Store, most: int) -> Iterator[RunLine]:
    """Yield the newest runs that the store has, newest first."""
    return islice(store.all(RunLine), most)


def failed_run(model: Model, setup: Setup, error: TrtlabError, store: Store) -> Run:
    """Return the run that an error ended, and keep it, so that lists show it."""
    ref = ModelRef.of(model)
    made = replace(ref, recipe=setup.precision or ref.recipe)
    line = RunLine(
        model=ref,
        origin=origin_of(model),
        made=made,
        setup=setup,
        failure=Failure.of(error),
        environment=capture(distributions(setup.builder)),
    )
    # Under a key of its own: asked for again, it is tried again.
    return Run(line=kept_line(line, key_of("failed run", record_id(line)), store))


def kept_line(line: RunLine, key: str, store: Store) -> RunLine:
    """Put a run into the store; where that fails the records themselves carry the caveat."""
    try:
        store.put(line, key)
    except TrtlabError as error:
        return replace(line, missing={**line.missing, "store": error.message})
    return line


def origin_of(model: Model) -> str:
    """Return what ``load`` takes to open a model again."""
    return model.name if model.name.startswith("zoo:") else model.path


@dataclass(slots=True)
class _Making:
    """One run being made, part by part.

    Attributes:
        is_final: Whether it would come out the same again; False where a run failed.
        was_measured: Whether the store had the measurement, which takes most of the time.
    """

    model: Model
    setup: Setup
    store: Store
    calls: dict[str, Any]
    on_part: OnPart
    is_final: bool = True
    was_measured: bool = False

    def run(self) -> Run:
        setup, missing = self.setup, dict[str, str]()
        if not _has_precision(self.model, setup):
            self.on_part("convert")
        made = in_precision(self.model, setup, self.calls)
        self.on_part("build")
        config = config_for(made, setup.builder, **_for_config(setup))
        plan = build_with(made, config, **self.calls)
        point = self._point(made, plan, missing)
        ran, measurement = (point.plan, point.measurement) if point else (None, None)
        found = self._profile(ran, measurement, missing)
        judged = self._accuracy(made, ran, missing)
        m = measurement
        interval = m.median_interval_ms if m else None
        line = RunLine(
            model=ModelRef.of(self.model),
            origin=origin_of(self.model),
            made=ModelRef.of(made),
            setup=setup,
            plan=record_id(plan),
            ran=record_id(ran) if ran else None,
            measurement=record_id(m) if m else None,
            profile=record_id(found) if found else None,
            accuracy=record_id(judged) if judged else None,
            missing=missing,
            latency_ms=m.median_ms if m else None,
            latency_low_ms=interval.low if interval else None,
            latency_high_ms=interval.high if interval else None,
            n=m.n if m else None,
            environment=capture(distributions(setup.builder)),
        )
        return Run(line=line, plan=plan, ran=ran, measurement=m, profile=found, accuracy=judged)

    def _point(self, made: Model, plan: Plan, missing: dict[str, str]) -> Point | None:
        setup = self.setup
        if setup.runner is None:
            missing["measurement"] = "built only: no backend was chosen to run it"
            return None
        config = plan.config
        if setup.runner != setup.builder:
            config = BuildConfig(backend=setup.runner, provider=setup.provider)
        ability = base.backend(setup.runner).ability(made.recipe, config)
        if not ability.run.can:
            missing["measurement"] = f"{made.recipe.upper()} was not run: {ability.run.reason}"
            return None
        self.on_part("measure")
        point = Point(model=ModelRef.of(made), build=config, run=setup.run)
        point = measured(point, made, True, self.calls)
        if point.failure is not None:
            failure = point.failure
            if failure.kind in _PASSING:
                raise ERRORS_BY_KIND[failure.kind](failure.message, hint=failure.hint)
            missing["measurement"] = f"{failure.message} → {failure.hint}"
            self.is_final = self.is_final and failure.kind != ExecutionError.kind
        self.was_measured = point.from_store
        return point

    def _profile(
        self, ran: Plan | None, measurement: Measurement | None, missing: dict[str, str]
    ) -> LayerProfile | None:
        if ran is None or measurement is None:
            missing["profile"] = missing.get("measurement", "the model did not run")
            return None
        self.on_part("layers")
        wanted = self.setup.run
        try:
            return profile(
                ran,
                batch=wanted.batch,
                shapes=wanted.shapes or None,
                threads=wanted.threads,
                quick=wanted.quick,
                **self.calls,
            )
        except _PASSING_ERRORS:
            raise
        except TrtlabError as error:
            missing["profile"] = str(error)
            self.is_final = self.is_final and error.kind != ExecutionError.kind
            return None

    def _accuracy(self, made: Model, ran: Plan | None, missing: dict[str, str]) -> Accuracy | None:
        setup = self.setup
        if setup.data is None and not has_images(self.model):
            missing["accuracy"] = "no labelled data was given, and the model comes with none"
            return None
        self.on_part("accuracy")
        subject = ran if ran is not None and ran.config.backend not in TENSORRT else made
        try:
            return accuracy(subject, setup.data, provider=setup.provider, **self.calls)
        except _PASSING_ERRORS:
            raise
        except TrtlabError as error:
            missing["accuracy"] = error.message
            self.is_final = self.is_final and error.kind != ExecutionError.kind
            return None


def _has_precision(model: Model, setup: Setup) -> bool:
    return setup.precision is None or recipe_of(setup.precision).name == model.recipe


def in_precision(model: Model, setup: Setup, calls: Mapping[str, Any]) -> Model:
    """Return the model in the precision that a setup asks for; ``calls`` is for ``convert``."""
    if _has_precision(model, setup):
        return model
    return convert(model, str(setup.precision), calibration=setup.calibration, **calls)


def _for_config(setup: Setup) -> dict[str, Any]:
    """Return the setup's settings as ``config_for`` names them."""
    settings = setup.build_settings
    if "workspace" in settings:
        settings["workspace_bytes"] = settings.pop("workspace")
    return settings


def _keep_parts(run: Run, store: Store) -> bool:
    """Keep every record of a run as it is in it; False where one could not be kept.

    The store may have the same under another name or path: a line leads to just these.
    """
    records = (run.plan, run.ran, run.measurement, run.profile, run.accuracy)
    try:
        for record in records:
            if record is not None and not store.has(identity := record_id(record)):
                store.put(record, key_of("part of a run", identity))
    except StoreError:
        return False
    return True
