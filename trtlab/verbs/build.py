"""``build``: a model → a plan in the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from trtlab import environment, worker
from trtlab.backends import base
from trtlab.backends.base import Built
from trtlab.environment import capture
from trtlab.errors import PlanError, StoreError
from trtlab.model.types import Model
from trtlab.record import ModelRef, Plan
from trtlab.spec import BuildConfig, Caveat
from trtlab.store import Record, Store, key_of
from trtlab.verbs.load import check_unchanged, load
from trtlab.worker import Progress, silent

R = TypeVar("R")
_DISTRIBUTIONS = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu")}


@dataclass(frozen=True, slots=True)
class _BuildSpec:
    model_path: str
    config: BuildConfig
    folder: str


def build(
    model: Any,
    *,
    backend: str | None = None,
    optimization_level: str | None = None,
    provider: Literal["cpu", "cuda"] = "cpu",
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Plan:
    """Build a plan, or return the one that the same inputs gave before on this machine.

    Args:
        model: A ``Model``, or what ``load`` takes.
        backend: Its name; None takes the first that can build here.
        optimization_level: ONNX Runtime's graph optimisation level; None is its default (all).
        provider: What the plan is optimised for: ``cpu`` or ``cuda``.
        store: Where plan and record are kept; default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        cancel: Set it to stop within a second.

    Raises:
        SpecError: there is no such backend or level.
        BuildError: the builder refused the model (``ParseError``) or failed.
        StoreError: the plan could not be written.
    """
    config = BuildConfig(
        backend=backend or base.NAMES[0],
        optimization_level=optimization_level,
        provider=provider,
    )
    store = store or Store()
    return build_with(
        load(model, store=store, progress=progress, cancel=cancel),
        config,
        store=store,
        progress=progress,
        cancel=cancel,
    )


def build_with(
    model: Model,
    config: BuildConfig,
    *,
    store: Store,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Plan:
    """Build with a ready ``BuildConfig``; see ``build``."""
    base.backend(config.backend)
    key = plan_key(model, config)
    known = store.get(key, Plan)
    if known is not None and store.has_plan(known):
        return replace(known, model=ModelRef.of(model), model_path=model.path)
    check_unchanged(model)
    with store.scratch() as folder:
        spec = _BuildSpec(model.path, config, str(folder))
        done = worker.run(_build_job, spec, progress=progress, cancel=cancel)
        check_unchanged(model)
        plan_hash, plan_bytes = store.put_plan(Path(done.result.file))
    plan = Plan(
        hash=plan_hash,
        model=ModelRef.of(model),
        model_path=model.path,
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
    )
    store.put(plan, key)
    return plan


def plan_key(model: Model, config: BuildConfig) -> str:
    """Return the store's key of a plan: model, settings, library versions and machine."""
    return key_of("plan", model.hash, config, conditions(config.backend))


def distributions(backend: str) -> tuple[str, ...]:
    """Return the distributions whose versions decide what a backend makes."""
    return _DISTRIBUTIONS[backend]


def conditions(backend: str) -> list[object]:
    """Return what else a result depends on, as part of its key: versions and this machine."""
    return environment.conditions(capture(distributions(backend)))


def on_plan(
    plan: Plan,
    action: Callable[[Path], R],
    *,
    store: Store,
    progress: Progress,
    cancel: threading.Event | None,
) -> R:
    """Do something with a plan's file; where that is gone or damaged, build it anew once.

    Plans go to make room, also while another process is about to use one.
    """
    try:
        if store.has_plan(plan):
            return action(store.plan_path(plan.hash))
    except PlanError:
        store.drop_plan(plan.hash)
    model = load(plan.model_path, name=plan.model.name, store=store, cancel=cancel)
    if model.hash != plan.model.hash:
        raise PlanError(
            f"The plan of {plan.model.name} is gone and its model has changed: {plan.model_path}.",
            hint="Load and build the model again.",
        )
    again = build_with(model, plan.config, store=store, progress=progress, cancel=cancel)
    return action(store.plan_path(again.hash))


def kept(record: Record, key: str, store: Store) -> Any:
    """Put a result into the store; where that fails, return it with a caveat: it is not lost."""
    try:
        store.put(record, key)
    except StoreError as error:
        doubt = Caveat("not-saved", f"The result is not saved: {error.message}", error.hint)
        return replace(record, caveats=(*record.caveats, doubt))
    return record


def _build_job(spec: _BuildSpec, progress: Progress) -> Built:
    backend = base.backend(spec.config.backend)
    return backend.build(Path(spec.model_path), spec.config, Path(spec.folder), progress)
