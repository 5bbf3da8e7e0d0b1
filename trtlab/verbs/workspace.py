"""``workspace``: builds under many workspace limits, and the smallest that builds."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trtlab.environment import capture, gpu_state
from trtlab.errors import BuildError, SpecError, WorkspaceTooSmall
from trtlab.model.types import Model
from trtlab.record import Failure, Measurement, ModelRef, Plan, WorkspaceCurve, WorkspacePoint
from trtlab.spec import TENSORRT, BuildConfig, RunConfig, Shape
from trtlab.store import Store, key_of
from trtlab.units import bytes_from_text, text_from_bytes
from trtlab.verbs.benchmark import benchmark_with
from trtlab.verbs.build import build_with, conditions, config_for, distributions, kept
from trtlab.verbs.choose import backend_for, status_of
from trtlab.verbs.load import load
from trtlab.worker import Progress, silent

DEFAULT_LIMITS = tuple(2**power for power in range(20, 31, 2))
"""1 MiB to 1 GiB, in steps of four."""

_FINEST_BYTES = 2**20
_FINEST_SHARE = 0.02
"""Bisection ends when the bounds are this close: 1 MiB, or 2 % where that is more."""

_LARGEST_BYTES = 2**36
"""64 GiB, TensorRT-RTX's default: no larger limit is tried unasked."""

OnPoint = Callable[[WorkspacePoint], None]
"""Called with each point when it is there."""


def _nobody(_point: WorkspacePoint) -> None:
    """Tell nobody about a point."""


def workspace(
    model: Any,
    *,
    limits: int | str | Sequence[int | str] = DEFAULT_LIMITS,
    backend: str | None = None,
    target: str | Sequence[str] | None = None,
    batch: int | Sequence[int] | None = None,
    shapes: Mapping[str, Shape | Sequence[Shape]] | None = None,
    quick: bool = False,
    store: Store | None = None,
    progress: Progress = silent,
    on_point: OnPoint = _nobody,
    cancel: threading.Event | None = None,
) -> WorkspaceCurve:
    """Build under each limit and under none, then bisect for the smallest that builds.

    Every build is kept as a plan; where its engine can run here, its latency at the optimal
    batch is measured too. Known results answer from the store.

    Args:
        model: A ``Model``, or what ``load`` takes.
        limits: Workspace limits, as ``"256MiB"`` or bytes.
        backend: ``tensorrt`` or ``tensorrt_rtx``; None takes the first that can build here.
        target: As for ``build``.
        batch: As for ``build``.
        shapes: As for ``build``.
        quick: Short measuring windows, where plans run.
        store: Where plans and record are kept; default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        on_point: Called with each point when it is there.
        cancel: Set it to stop within a second; what was built is kept.

    Raises:
        SpecError: a limit is no size, or the backend has no workspace.
        BuildError: the model does not build under the default limit either.
    """
    several = [limits] if isinstance(limits, str | int) else limits
    sizes = sorted({bytes_from_text(limit) for limit in several})
    if not sizes:
        raise SpecError("There is no limit to try.", hint='Write limits=["16MiB", "256MiB"].')
    store = store or Store()
    opened = load(model, store=store, progress=progress, cancel=cancel)
    name = backend or backend_for("build", TENSORRT)
    config = config_for(opened, name, target=target, batch=batch, shapes=shapes)
    if name not in TENSORRT:
        raise SpecError(
            f"{name} has no workspace.",
            hint="Its activations can be limited while running: activation_cap.",
        )
    key = key_of("workspace", opened.hash, config, sizes, quick, conditions(name))
    known = store.get(key, WorkspaceCurve)
    if known is not None:
        return replace(known, model=ModelRef.of(opened))
    search = _Search(opened, config, quick, store, progress, on_point, cancel)
    search.run(sizes)
    points = _with_changes(search.points, search.built)
    passing = [p.limit_bytes for p in points if p.plan is not None and p.limit_bytes is not None]
    failing = [p.limit_bytes for p in points if p.plan is None and p.limit_bytes is not None]
    curve = WorkspaceCurve(
        model=ModelRef.of(opened),
        config=config,
        points=points,
        smallest_bytes=min(passing, default=None),
        failing_bytes=max(failing, default=None),
        no_run_note=search.no_run_note,
        environment=capture(distributions(name)),
    )
    saved: WorkspaceCurve = kept(curve, key, store)
    return saved


class _Search:
    """Builds under one limit after the other; remembers what came of each."""

    def __init__(
        self,
        model: Model,
        config: BuildConfig,
        quick: bool,
        store: Store,
        progress: Progress,
        on_point: OnPoint,
        cancel: threading.Event | None,
    ) -> None:
        self._model, self._config, self._quick = model, config, quick
        self._store, self._progress = store, progress
        self._on_point, self._cancel = on_point, cancel
        self._measured: dict[str, Measurement] = {}
        run = status_of(config.backend).abilities["fp32"].run
        major, minor = gpu_state().compute_capability or (0, 0)
        here = {"current", f"sm{major}{minor}"} & set(config.target)
        self.no_run_note = "" if run.can else f"built, not run. {run.reason}"
        if run.can and not here:
            self.no_run_note = f"built for {config.target_text}, not for the GPU here"
        self.points: dict[int | None, WorkspacePoint] = {}
        self.built: dict[str, Plan] = {}

    def run(self, sizes: Sequence[int]) -> None:
        """Try the default, every size, and then what bisection asks for."""
        self._try(None)
        for size in sizes:
            self._try(size)
        # The default builds: if no limit did, larger ones are tried until one does.
        size = sizes[-1]
        while not any(p.plan for s, p in self.points.items() if s is not None):
            size *= 2
            if size > _LARGEST_BYTES:
                break
            self._try(size)
        while (middle := self._middle()) is not None:
            self._try(middle)

    def _middle(self) -> int | None:
        """Return the limit to try next, or None when the bounds are close enough.

        Failing limits lie below passing ones: a larger limit allows all that a smaller one did.
        """
        passing = [s for s, p in self.points.items() if s is not None and p.plan is not None]
        failing = [s for s, p in self.points.items() if s is not None and p.plan is None]
        if not passing or not failing:
            return None
        low, high = max(failing), min(passing)
        if high - low <= max(_FINEST_BYTES, round(_FINEST_SHARE * high)):
            return None
        middle = (low + high) // 2
        # Whole MiB where that fits: a size that people can read.
        rounded = round(middle / 2**20) * 2**20
        return rounded if low < rounded < high else middle

    def _try(self, size: int | None) -> None:
        words = "default" if size is None else text_from_bytes(size)

        def told(phase: str, done: int, total: int) -> None:
            self._progress(f"workspace {words} › {phase}", done, total)

        config = replace(self._config, workspace_bytes=size)
        try:
            plan = build_with(
                self._model, config, store=self._store, progress=told, cancel=self._cancel
            )
        except BuildError as error:
            if size is None:
                raise
            point = WorkspacePoint(
                limit_bytes=size,
                asked_bytes=error.asked_bytes if isinstance(error, WorkspaceTooSmall) else None,
                failure=Failure.of(error),
            )
        else:
            self.built[plan.hash] = plan
            point = WorkspacePoint(
                limit_bytes=size,
                plan=plan.hash,
                plan_bytes=plan.plan_bytes,
                build_seconds=plan.build_seconds,
                memory=plan.memory,
                layers=None if plan.layers is None else len(plan.layers),
                measurement=self._measurement(plan, told),
            )
        self.points[size] = point
        self._on_point(point)

    def _measurement(self, plan: Plan, progress: Progress) -> Measurement | None:
        """Measure each different plan once, at the optimal shapes of its first profile."""
        if self.no_run_note:
            return None
        if plan.hash not in self._measured:
            profile = plan.config.profiles[0] if plan.config.profiles else {}
            run = RunConfig(shapes={n: s.opt for n, s in profile.items()}, quick=self._quick)
            self._measured[plan.hash] = benchmark_with(
                plan, run, store=self._store, progress=progress, cancel=self._cancel
            )
        return self._measured[plan.hash]


def _with_changes(
    points: Mapping[int | None, WorkspacePoint], plans: Mapping[str, Plan]
) -> tuple[WorkspacePoint, ...]:
    """Return the points by rising limit, each with what differs from the next that builds."""
    ordered = [points[s] for s in sorted(points, key=lambda s: (s is None, s or 0))]
    found: list[WorkspacePoint] = []
    larger: Plan | None = None
    for point in reversed(ordered):
        if point.plan is None:
            found.append(point)
            continue
        plan = plans[point.plan]
        found.append(replace(point, layers_changed=_changed(plan, larger)))
        larger = plan
    return tuple(reversed(found))


def _changed(plan: Plan, other: Plan | None) -> int | None:
    if other is None or plan.layers is None or other.layers is None:
        return None
    a, b = (
        Counter((y.name, y.type, y.tactic) for y in layers)
        for layers in (plan.layers, other.layers)
    )
    return max((a - b).total(), (b - a).total())
