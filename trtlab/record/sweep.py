"""``SweepResult``: the points of a grid of settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtlab.record.accuracy import Accuracy
from trtlab.record.base import (
    Failure,
    ModelRef,
)
from trtlab.record.measurement import Measurement
from trtlab.record.plan import Plan
from trtlab.shown import Shown
from trtlab.spec import BuildConfig, RunConfig
from trtlab.units import (
    N_A,
    text_from_bytes,
    text_from_file_size,
    text_from_latency,
    text_from_number,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a sweep: its settings, and a plan with a measurement, or a failure.

    Attributes:
        accuracy: What the precision did to the outputs. Where the arithmetic was emulated, a
            point may have it without a measurement.
        note: Why there is no measurement although nothing failed.
    """

    model: ModelRef
    build: BuildConfig
    run: RunConfig
    plan: Plan | None = None
    measurement: Measurement | None = None
    accuracy: Accuracy | None = None
    failure: Failure | None = None
    note: str | None = None
    from_store: bool = False

    @property
    def no_latency_because(self) -> str | None:
        """Why the point has no latency; None where it has one."""
        if self.measurement is not None:
            return None
        if self.failure is not None:
            return self.failure.message.removeprefix(f"{self.model.recipe}: ")
        return self.note or ("not run" if self.plan is None else "built, not run")

    def row(self) -> dict[str, Any]:
        """Return the point as flat numbers with units in the names; unknown is None.

        What begins with ``top1`` are shares from 0 to 1 and come from labels alone; the drop is
        the reference's minus the model's, its interval is paired. ``sqnr_db`` is that of the
        worst output.
        """
        m = self.measurement
        labels = self.accuracy.labels if self.accuracy else None
        ms = m.median_interval_ms if m else None
        rate = m.throughput_interval if m else None
        planned = self.plan.memory if self.plan else None
        return {
            "model": self.model.name,
            "precision": self.model.recipe,
            "batch": m.batch if m else self.run.batch,
            "streams": self.run.streams,
            "threads": self.run.threads,
            "optimization_level": self.build.optimization_level,
            "workspace_bytes": self.build.workspace_bytes,
            "backend": self.build.backend,
            "target": self.build.target_text,
            "latency_ms": m.median_ms if m else None,
            "latency_low_ms": ms.low if ms else None,
            "latency_high_ms": ms.high if ms else None,
            "latency_p90_ms": m.percentile_ms(90) if m else None,
            "latency_p95_ms": m.percentile_ms(95) if m else None,
            "latency_p99_ms": m.percentile_ms(99) if m else None,
            "throughput": m.throughput if m else None,
            "throughput_low": rate.low if rate else None,
            "throughput_high": rate.high if rate else None,
            "n": m.n if m else None,
            "peak_memory_bytes": m.memory.peak_above_baseline if m else None,
            "weights_bytes": m.memory.weights if m else None,
            "repacked_bytes": m.memory.repacked if m else None,
            "activations_bytes": m.memory.activations if m else None,
            "io_bytes": m.memory.io if m else None,
            "rest_bytes": m.memory.rest if m else None,
            "builder_activation_bytes": planned.activation if planned else None,
            "builder_weights_bytes": planned.weights if planned else None,
            "layers": None
            if self.plan is None or self.plan.layers is None
            else len(self.plan.layers),
            "plan_bytes": self.plan.plan_bytes if self.plan else None,
            "build_seconds": self.plan.build_seconds if self.plan else None,
            "model_bytes": self.plan.weight_bytes if self.plan else None,
            "top1": labels.top1 if labels else None,
            "top1_drop": labels.drop if labels else None,
            "top1_drop_low": labels.drop_interval.low if labels else None,
            "top1_drop_high": labels.drop_interval.high if labels else None,
            "sqnr_db": self.accuracy.worst_sqnr_db if self.accuracy else None,
            "accuracy_origin": self.accuracy.origin if self.accuracy else None,
            "stable": m.stable if m else None,
            "caveats": [c.kind for c in m.caveats] if m else [],
            "source": m.source if m else None,
            "note": self.note,
            "failure": None if self.failure is None else self.failure.message,
        }

    def accuracy_text(self) -> str:
        """Return ``top-1 99.3 % (measured)``, without labels the SQNR; "" without accuracy."""
        return "" if self.accuracy is None else self.accuracy.headline


@dataclass(frozen=True, slots=True, repr=False)
class SweepResult(Shown):
    """All points of a sweep, in the order asked for."""

    points: tuple[Point, ...]
    stopped: bool = False

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text: one row a point."""
        failed = sum(p.failure is not None for p in self.points)
        head = f"{len(self.points)} points, {failed} failed" + ", stopped" * self.stopped
        lines = [("sweep", head)]
        several_recipes = len({point.model.recipe for point in self.points}) > 1
        several_places = len({_place(point) for point in self.points}) > 1
        for point in self.points:
            name = point.model.name + f" ({point.model.recipe})" * several_recipes
            parts = [name, *[_place(point)] * several_places, *_settings(point)]
            said = (_result_text(point), point.accuracy_text())
            lines.append((", ".join(parts), ", ".join(filter(None, said))))
        return lines

    @property
    def df(self) -> pd.DataFrame:
        """One row a point; columns as ``Point.row``."""
        import pandas as pd

        return pd.DataFrame([p.row() for p in self.points])

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The points that ran."""
        return tuple(p.measurement for p in self.points if p.measurement is not None)


def _place(point: Point) -> str:
    """Return who built it and what for; ONNX Runtime's target is the processor it runs on."""
    return f"{point.build.backend} for {point.build.target_text}"


def _settings(point: Point) -> list[str]:
    """Return what sets a point apart from others of its model, where it is known."""
    m, run, build = point.measurement, point.run, point.build
    if m is not None:
        parts = [m.settings()]
    else:
        parts = [] if run.batch is None else [f"batch {run.batch}"]
        parts += [f"{run.streams} streams"] * (run.streams > 1)
        if build.optimization_level is not None:
            parts.append(f"optimisation {build.optimization_level}")
    if build.workspace_bytes is not None:
        parts.append(f"workspace {text_from_bytes(build.workspace_bytes)}")
    return parts


def _result_text(point: Point) -> str:
    m, plan = point.measurement, point.plan
    if m is not None:
        latency = text_from_latency(m.median_ms, m.median_interval_ms)
        return f"{latency}  {text_from_number(m.throughput)} inf/s"
    why = point.no_latency_because or ""
    if point.failure is not None:
        return f"failed: {why}"
    text = f"latency {N_A} ({why.removesuffix('.')})"
    if plan is None:
        return text
    layers = N_A if plan.layers is None else f"{len(plan.layers):,}"
    size = text_from_bytes(plan.memory.activation if plan.memory else None)
    return (
        f"{text}; plan {text_from_file_size(plan.plan_bytes)}, {layers} layers, activations to "
        f"come {size} (builder)"
    )
