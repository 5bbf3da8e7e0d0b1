"""``build``: a model → a plan in the store."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from trtlab import environment, worker
from trtlab.backends import base
from trtlab.backends.base import TIMING_CACHE, Ability, Built
from trtlab.backends.tensorrt.reasons import why_not_run
from trtlab.environment import capture, gpu_state
from trtlab.errors import (
    BuildError,
    ModelError,
    PlanError,
    SpecError,
    StoreError,
    UnsupportedError,
)
from trtlab.model.types import Model
from trtlab.record import ModelRef, Plan
from trtlab.spec import (
    TENSORRT,
    BuildConfig,
    Caveat,
    Profile,
    RunConfig,
    Shape,
    ShapeRange,
    profile_of,
)
from trtlab.spec.checks import texts, whole
from trtlab.store import Result, Store, key_of
from trtlab.units import bytes_from_text
from trtlab.verbs.choose import backend_for
from trtlab.verbs.load import check_unchanged, load
from trtlab.worker import Progress, silent

_CUDA = (
    "nvidia-cuda-runtime",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
)
_DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", *_CUDA),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", *_CUDA),
    "tensorrt_rtx": ("tensorrt-rtx-cu13", "tensorrt-rtx", *_CUDA),
}
"""Distributions whose versions decide what a backend makes."""

AHEAD_TARGET = "sm89"
"""What TensorRT-RTX builds for on a machine without a GPU when nothing is said: Ada Lovelace."""


@dataclass(frozen=True, slots=True)
class _BuildSpec:
    model_path: str
    is_network: bool
    config: BuildConfig
    folder: str


def build(
    model: Any,
    *,
    backend: str | None = None,
    target: str | Sequence[str] | None = None,
    batch: int | Sequence[int] | None = None,
    shapes: Mapping[str, Shape | Sequence[Shape]] | None = None,
    profiles: Sequence[Mapping[str, Sequence[Shape]]] | None = None,
    workspace: int | str | None = None,
    optimization_level: str | int | None = None,
    provider: Literal["cpu", "cuda"] = "cpu",
    memory_pools: Mapping[str, int | str] | None = None,
    avg_timing_iterations: int | None = None,
    tactic_sources: Sequence[str] | None = None,
    max_num_tactics: int | None = None,
    flags: Sequence[str] = (),
    tf32: bool | None = None,
    hardware_compatibility: str | None = None,
    dla_core: int | None = None,
    aux_streams: int | None = None,
    plugin_libraries: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    timing_cache: bool = True,
    profiling_verbosity: str = "DETAILED",
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Plan:
    """Build a plan, or return the one that the same inputs gave before on this machine.

    Args:
        model: A ``Model``, or what ``load`` takes.
        backend: Its name; None takes the first that can build here and knows these settings:
            tensorrt, tensorrt_rtx, onnxruntime.
        target: GPUs to build for: ``"current"``, or with TensorRT-RTX ``"sm89"`` or several of
            sm80, sm86, sm89, sm120. None is the GPU here, or without one sm89.
        batch: The batch axis in the optimization profile: one size, or smallest, optimal and
            largest. None is (1, 8, 32) where the batch is dynamic.
        shapes: Whole shapes by input name, one or (smallest, optimal, largest), for inputs with
            other dynamic axes.
        profiles: Several optimization profiles, each as ``shapes``; instead of the two above.
        workspace: Limit of the workspace, ``"256MiB"`` or bytes.
        optimization_level: TensorRT's builder level 0 to 5, or ONNX Runtime's graph optimisation
            level by name; None is the default.
        provider: ONNX Runtime: ``cpu`` or ``cuda``.
        memory_pools: Limits of TensorRT's other memory pools, by its names.
        avg_timing_iterations: Runs that a tactic's timing is averaged over.
        tactic_sources: Libraries that tactics may come from, by TensorRT's names.
        max_num_tactics: Most tactics to try for a layer.
        flags: TensorRT's builder flags by name: ``SPARSE_WEIGHTS``, ``WEIGHT_STREAMING`` …
        tf32: Whether FP32 products may round their inputs to TF32; None is TensorRT's default
            (they may).
        hardware_compatibility: TensorRT's level by name, such as ``AMPERE_PLUS``.
        dla_core: DLA core to use, with the GPU for what it cannot run.
        aux_streams: Most streams inside one inference beside the main one.
        plugin_libraries: Shared libraries with plugins. Loading one runs its code.
        timing_cache: Whether tactic timings are kept for the next build (full TensorRT).
        profiling_verbosity: ``DETAILED``, ``LAYER_NAMES_ONLY`` or ``NONE``.
        store: Where plan and record are kept; default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        cancel: Set it to stop within a second.

    Raises:
        SpecError: a setting is wrong, or does not fit backend or model.
        BackendUnavailableError: no backend can build this here.
        UnsupportedError: the backend cannot build that.
        BuildError: the builder refused the model (``ParseError``) or failed.
        StoreError: the plan could not be written.
    """
    store = store or Store()
    opened = load(model, store=store, progress=progress, cancel=cancel)
    settings: dict[str, Any] = {
        "workspace_bytes": None if workspace is None else bytes_from_text(workspace),
        "memory_pools": {n: bytes_from_text(s) for n, s in (memory_pools or {}).items()},
        "avg_timing_iterations": avg_timing_iterations,
        "tactic_sources": None
        if tactic_sources is None
        else texts("tactic source", tactic_sources),
        "max_num_tactics": max_num_tactics,
        "flags": tuple(dict.fromkeys(texts("flag", flags))),
        "tf32": tf32,
        "hardware_compatibility": hardware_compatibility,
        "dla_core": dla_core,
        "aux_streams": aux_streams,
        # Absolute: the loader looks for a bare name elsewhere than the key's hash does.
        "plugin_libraries": tuple(
            os.path.abspath(p)  # noqa: PTH100 - resolve() would follow links
            for p in texts("plugin library", _paths(plugin_libraries))
        ),
        "timing_cache": timing_cache,
        "profiling_verbosity": profiling_verbosity,
    }
    asked: dict[str, Any] = {
        "target": target,
        "batch": batch,
        "shapes": shapes or None,
        "profiles": profiles,
    }
    for_tensorrt = (
        isinstance(optimization_level, int)
        or any(value is not None for value in asked.values())
        or any(value != getattr(BuildConfig(), name) for name, value in settings.items())
    )
    if backend is None:
        backend = _backend_knowing(opened, for_tensorrt, optimization_level, provider, cancel)
    config = config_for(
        opened,
        backend,
        **asked,
        optimization_level=optimization_level,
        provider=provider,
        **settings,
    )
    return build_with(opened, config, store=store, progress=progress, cancel=cancel)


def build_to_run(
    model: Any,
    run: RunConfig,
    *,
    store: Store,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Plan:
    """Build with default settings what is then run: by a backend that can, for these shapes.

    Raises:
        BackendUnavailableError: no backend can run anything here.
        As ``build`` otherwise.
    """
    opened = load(model, store=store, progress=progress, cancel=cancel)
    names = TENSORRT if opened.source == "network" else base.NAMES
    backend = backend_for("run", names, cancel)
    asked: dict[str, Any] = {}
    if backend in TENSORRT:
        asked = {"batch": run.batch, "shapes": run.shapes or None}
    config = config_for(opened, backend, **asked)
    return build_with(opened, config, store=store, progress=progress, cancel=cancel)


def config_for(
    model: Model,
    backend: str,
    *,
    target: str | Sequence[str] | None = None,
    batch: int | Sequence[int] | None = None,
    shapes: Mapping[str, Shape | Sequence[Shape]] | None = None,
    profiles: Sequence[Mapping[str, Sequence[Shape]]] | None = None,
    **settings: Any,
) -> BuildConfig:
    """Return the settings of a build with targets and profiles settled; see ``build``.

    Raises:
        SpecError: a setting is wrong, or does not fit backend or model.
    """
    base.backend(backend)
    asked = {"target": target, "batch": batch, "shapes": shapes, "profiles": profiles}
    given = [name for name, value in asked.items() if value]
    if backend in TENSORRT:
        settings["target"] = _targets(backend, target)
        settings["profiles"] = _profiles(model, batch, shapes, profiles)
    elif given:
        raise SpecError(
            f"{backend} knows no {given[0]} of a build.",
            hint="It is a setting of TensorRT; ONNX Runtime's plan takes any batch.",
        )
    return BuildConfig(backend=backend, **settings)


def _paths(given: object) -> object:
    """Return one path, or several, as texts; what is no path stays as it is."""
    if isinstance(given, os.PathLike):
        return os.fspath(given)
    if isinstance(given, Iterable) and not isinstance(given, str):
        return [os.fspath(p) if isinstance(p, os.PathLike) else p for p in given]
    return given


def _backend_knowing(
    model: Model,
    for_tensorrt: bool,
    level: str | int | None,
    provider: str,
    cancel: threading.Event | None,
) -> str:
    """Return the backend that *auto* takes, among those that know the given settings."""
    if not for_tensorrt and model.source == "onnx" and (level is not None or provider != "cpu"):
        return "onnxruntime"
    only = for_tensorrt or model.source == "network"
    return backend_for("build", TENSORRT if only else base.NAMES, cancel)


def _targets(backend: str, target: str | Sequence[str] | None) -> tuple[str, ...]:
    if target is not None:
        return texts("target", target)
    elsewhere, _ = why_not_run(backend, gpu_state())
    return (AHEAD_TARGET if backend == "tensorrt_rtx" and elsewhere else "current",)


def _profiles(
    model: Model,
    batch: int | Sequence[int] | None,
    shapes: Mapping[str, Shape | Sequence[Shape]] | None,
    profiles: Sequence[Mapping[str, Sequence[Shape]]] | None,
) -> tuple[Profile, ...]:
    if profiles is not None:
        if batch is not None or shapes is not None:
            raise SpecError(
                "Profiles were given, and batch or shapes beside them.",
                hint="Give whole profiles alone.",
            )
        found = [
            profile_of(model.inputs, None, {n: _range(n, s) for n, s in p.items()}, whole=True)
            for p in profiles
        ]
    else:
        ranges = {name: _range(name, s) for name, s in (shapes or {}).items()}
        if batch is not None and ranges and set(ranges) == {t.name for t in model.inputs}:
            raise SpecError(
                "A batch was given, and the whole shape of every input.", hint="Give one of them."
            )
        found = [profile_of(model.inputs, _batches(batch), ranges)]
    return tuple(p for p in found if p)


def _batches(batch: int | Sequence[int] | None) -> tuple[int, int, int] | None:
    if batch is None:
        return None
    sizes = tuple(batch) if isinstance(batch, Sequence) else (batch,)
    if len(sizes) not in (1, 3):
        raise SpecError(
            f"A build needs one batch size or three, not {len(sizes)}.",
            hint="Write 1,8,32: smallest, optimal and largest.",
        )
    for size in sizes:
        whole("A batch size", size, 1, 2**24)
    smallest, best, largest = sizes * (3 // len(sizes))
    return smallest, best, largest


def _range(name: str, shapes: Shape | Sequence[Shape]) -> ShapeRange:
    given: object = shapes
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise SpecError(f"{shapes!r} is no shape of {name!r}.", hint="Write (8, 3, 224, 224).")
    several = [s for s in shapes if isinstance(s, Sequence)]
    if not several:
        for size in shapes:
            whole(f"Every dimension of {name!r}", size, 0, 2**31 - 1)
        one = tuple(s for s in shapes if isinstance(s, int))
        return ShapeRange(one, one, one)
    if len(several) != 3 or len(several) != len(shapes):
        raise SpecError(
            f"Give one shape for {name!r}, or three: smallest, optimal and largest.",
            hint="As in {'x': ((1, 3, 224, 224), (8, 3, 224, 224), (32, 3, 224, 224))}.",
        )
    return ShapeRange(*(tuple(s) for s in several))


def build_with(
    model: Model,
    config: BuildConfig,
    *,
    store: Store,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Plan:
    """Build with a ready ``BuildConfig``; see ``build``."""
    backend = base.backend(config.backend)
    check_can(model.recipe, backend.ability(model.recipe, config).build)
    _check_zero_points(model, config)
    check_plugins(config)
    key = plan_key(model, config)
    known = store.get(key, Plan)
    if known is not None and store.has_plan(known):
        return replace(known, model=ModelRef.of(model), model_path=model.path)
    check_unchanged(model)
    timings = key_of("timings", conditions(config.backend))
    with store.scratch() as folder:
        store.copy_timing_cache(timings, folder / TIMING_CACHE)
        spec = _BuildSpec(model.path, model.source == "network", config, str(folder))
        try:
            done = worker.run(_build_job, spec, progress=progress, cancel=cancel)
        except BuildError as error:
            # The builder knows the file; people know the model by another name.
            message = error.message.replace(Path(model.path).name, model.name)
            raise type(error)(message, hint=error.hint, details=error.details) from error
        check_unchanged(model)
        if done.result.timing_cache is not None:
            store.put_timing_cache(timings, Path(done.result.timing_cache))
        plan_hash, plan_bytes = store.put_plan(Path(done.result.file))
    plan = Plan(
        hash=plan_hash,
        model=ModelRef.of(model),
        model_path=model.path,
        model_source=model.source,
        inputs=model.inputs,
        outputs=model.outputs,
        weight_bytes=model.weight_bytes,
        config=config,
        build_seconds=done.result.seconds,
        plan_bytes=plan_bytes,
        layers=done.result.layers,
        memory=done.result.memory,
        messages=(
            *done.result.messages,
            *base.backend(config.backend).messages(done.words),
        ),
        peak_rss_bytes=done.peak_rss_bytes,
        environment=capture(distributions(config.backend)),
        caveats=done.result.caveats,
    )
    store.put(plan, key)
    return plan


def check_can(recipe: str, ability: Ability) -> None:
    """Refuse what a backend cannot do in that precision.

    Raises:
        UnsupportedError: with the backend's reason.
    """
    if not ability.can:
        raise UnsupportedError(f"{recipe}: {ability.reason}", hint=ability.hint)


def _check_zero_points(model: Model, config: BuildConfig) -> None:
    report = model.conversion
    asked = {"activations=uint8", "symmetric=False"}.intersection(report.options if report else ())
    if asked and config.backend in TENSORRT:
        raise UnsupportedError(
            f"{model.name} has zero points other than 0, which TensorRT does not take.",
            hint="Convert it with int8 activations and leave symmetric out.",
        )


def check_plugins(config: BuildConfig) -> None:
    """Refuse plugin libraries that are not there, before anything is started for them.

    Raises:
        SpecError: one is no file.
    """
    for library in config.plugin_libraries:
        if not Path(library).is_file():
            raise SpecError(
                f"The plugin library {library} is not there.", hint="Give the path of its file."
            )


def plan_key(model: Model, config: BuildConfig) -> str:
    """Return the store's key of a plan: model, settings, library versions and machine."""
    plugins = [hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in config.plugin_libraries]
    return key_of("plan", model.hash, config, plugins, conditions(config.backend))


def distributions(backend: str) -> tuple[str, ...]:
    """Return the distributions whose versions decide what a backend makes."""
    return _DISTRIBUTIONS[backend]


def conditions(backend: str) -> list[object]:
    """Return what else a result depends on, as part of its key: versions and this machine."""
    return environment.conditions(capture(distributions(backend)))


def usable(
    plan: Plan,
    *,
    store: Store,
    progress: Progress,
    cancel: threading.Event | None,
) -> Plan:
    """Return the plan if the store has its bytes, else one built anew from the same inputs.

    Plans go to make room. One built anew may have another hash: timing decides what it holds.

    Raises:
        PlanError: only files that tell of it were read, its model has changed or is a function,
            or it needs plugins that a foreign record names.
    """
    check_has_bytes(plan, store)
    if plan.config.plugin_libraries and not store.built_here(plan):
        # Loading a library runs its code: never because a record from elsewhere says so.
        raise PlanError(
            f"The plan of {plan.model.name} needs plugin libraries and was not built here.",
            hint="Build it here, naming the libraries.",
        )
    try:
        store.plan_path(plan.hash)
    except PlanError:
        pass
    else:
        return plan
    if plan.model_source == "network":
        # Its function is code: it comes from the caller, never from a record.
        raise PlanError(
            f"The plan of {plan.model.name} is gone, and a network function is not kept.",
            hint="Build it again from the function: trtlab.load(network=function).",
        )
    try:
        model = load(plan.model_path, name=plan.model.name, store=store, cancel=cancel)
    except ModelError as error:
        raise PlanError(
            f"The plan of {plan.model.name} is gone, and so is its model: {error.message}",
            hint="Load and build the model again.",
        ) from error
    if model.hash != plan.model.hash:
        raise PlanError(
            f"The plan of {plan.model.name} is gone and its model has changed: {plan.model_path}.",
            hint="Load and build the model again.",
        )
    return build_with(model, plan.config, store=store, progress=progress, cancel=cancel)


def check_has_bytes(plan: Plan, store: Store) -> None:
    """Refuse a plan of which there are neither bytes nor a model to build it from.

    Raises:
        PlanError: only files that tell of it were read.
    """
    if plan.model_path is None and not store.has_plan(plan):
        raise PlanError(
            f"{plan.model.name} was read from files that tell of a plan: there is none to run.",
            hint="Build its model here and give that plan, or the model itself.",
        )


def kept(record: Result, key: str, store: Store) -> Any:
    """Put a result into the store; where that fails, return it with a caveat: it is not lost."""
    try:
        store.put(record, key)
    except StoreError as error:
        doubt = Caveat("not-saved", f"The result is not saved: {error.message}", error.hint)
        return replace(record, caveats=(*record.caveats, doubt))
    return record


def _build_job(spec: _BuildSpec, progress: Progress) -> Built:
    backend = base.backend(spec.config.backend)
    model, folder = Path(spec.model_path), Path(spec.folder)
    return backend.build(model, spec.is_network, spec.config, folder, progress)
