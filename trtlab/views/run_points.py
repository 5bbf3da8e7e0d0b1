"""Runs as the points that sentences and figures of a sweep take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trtlab.record import Point, Run
from trtlab.spec import TENSORRT, BuildConfig


def points_of(runs: Iterable[Run]) -> list[Point]:
    """Return each run as a point: the plan that ran, or else what was built, beside its reason."""
    return [_point(run) for run in runs]


def _point(run: Run) -> Point:
    m, setup = run.measurement, run.setup
    plan = run.ran or run.plan
    return Point(
        model=run.line.made,
        build=m.build if m else plan.config if plan else _asked(run),
        run=m.run if m else setup.run,
        plan=plan,
        measurement=m,
        accuracy=run.accuracy,
        failure=run.failure,
        note=None if m else run.why_no("measurement"),
    )


def _asked(run: Run) -> BuildConfig:
    """Return what is known of the build of a run that failed."""
    setup = run.setup
    if setup.builder in TENSORRT:
        return BuildConfig(
            backend=setup.builder, target=tuple((setup.target or "current").split("+"))
        )
    return BuildConfig(provider=setup.provider)


def by_recipe(runs: Sequence[Run], batch: int | None) -> dict[str, Run]:
    """Return for each recipe its last run, at this batch where there is one that was built."""
    found: dict[str, Run] = {}
    for run in runs:
        known = found.get(run.recipe)
        if known is None or _rank(run, batch) >= _rank(known, batch):
            found[run.recipe] = run
    return found


def _rank(run: Run, batch: int | None) -> tuple[bool, bool]:
    return run.failure is None, run.batch == batch
