"""``Run``: one configuration of the workbench with everything that is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from trtlab.record.accuracy import Accuracy
from trtlab.record.base import Environment, Failure, ModelRef, Source
from trtlab.record.layers import LayerProfile
from trtlab.record.measurement import Measurement
from trtlab.record.plan import Plan
from trtlab.shown import Shown
from trtlab.spec import Setup
from trtlab.units import N_A, text_from_bytes, text_from_latency, text_from_number

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """A run as the store keeps it: what was asked for, and the ids of what came out.

    Attributes:
        model: What was opened.
        origin: What ``load`` takes to open it again; None where that is another machine's affair.
        made: The model in the precision asked for; as ``model`` where it was not converted.
        plan: Id of what the builder made; ``ran`` of the plan that was measured, which is
            another one where the builder's cannot run here.
        missing: By ``measurement``, ``profile`` or ``accuracy`` why there is none.
        failure: Why there is no plan.
        latency_ms: Median, with its 95 % interval and ``n``: so that lists need no samples.
        seconds: What making it took, None where the store had all of it.
    """

    model: ModelRef
    origin: str | None
    made: ModelRef
    setup: Setup
    plan: str | None = None
    ran: str | None = None
    measurement: str | None = None
    profile: str | None = None
    accuracy: str | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    failure: Failure | None = None
    latency_ms: float | None = None
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    n: int | None = None
    seconds: float | None = None
    environment: Environment = field(default_factory=Environment)
    source: Source = "here"
    kind: ClassVar[str] = "run"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Run(Shown):
    """A run with its records. What is None has its reason in ``why_no``.

    Attributes:
        line: What was asked for, as the store keeps it.
        plan: What the builder made. Its numbers are the builder's.
        ran: The plan that was measured: the same one, or ONNX Runtime's beside it. The two are
            never joined into one.
        measurement: Of ``ran``.
        profile: Time per layer of ``ran``.
        accuracy: What the precision did to the outputs.
        from_store: Whether nothing had to be made for it.
    """

    line: RunLine
    plan: Plan | None = None
    ran: Plan | None = None
    measurement: Measurement | None = None
    profile: LayerProfile | None = None
    accuracy: Accuracy | None = None
    from_store: bool = False

    @property
    def setup(self) -> Setup:
        """What was asked for."""
        return self.line.setup

    @property
    def recipe(self) -> str:
        """The precision of the model that was built."""
        return self.line.made.recipe

    @property
    def model(self) -> ModelRef:
        """The model that was opened; runs of one model can be compared."""
        return self.line.model

    @property
    def batch(self) -> int | None:
        """The batch that was measured, or asked for."""
        return self.measurement.batch if self.measurement else self.setup.batch

    @property
    def failure(self) -> Failure | None:
        """Why there is no plan."""
        return self.line.failure

    @property
    def source(self) -> Source:
        """*here* or *recorded*."""
        return self.line.source

    @property
    def label(self) -> str:
        """What it is called in lists: ``INT8, batch 8``."""
        return self.recipe.upper() + ("" if self.batch is None else f", batch {self.batch}")

    def why_no(self, part: str) -> str:
        """Return why there is no ``measurement``, ``profile`` or ``accuracy``."""
        if self.failure is not None:
            return f"not built: {self.failure.message}"
        return self.line.missing.get(part, "not made")

    def row(self) -> dict[str, Any]:
        """Return the run as flat numbers with units in the names; unknown is None.

        ``top1`` is a share from 0 to 1. What begins with ``builder_`` or ``plan_``, and
        ``layers``, is of ``plan``; latency, throughput and peak memory are of ``ran``.
        """
        m, plan, s = self.measurement, self.plan, self.setup
        ms = m.median_interval_ms if m else None
        rate = m.throughput_interval if m else None
        labels = self.accuracy.labels if self.accuracy else None
        return {
            "model": self.model.name,
            "precision": self.recipe,
            "batch": self.batch,
            "streams": s.streams,
            "workspace_bytes": s.workspace_bytes,
            "builder": s.builder,
            "target": plan.target_text if plan else s.target,
            "runner": m.build.backend if m else s.runner,
            "latency_ms": m.median_ms if m else None,
            "latency_low_ms": ms.low if ms else None,
            "latency_high_ms": ms.high if ms else None,
            "latency_p90_ms": m.percentile_ms(90) if m else None,
            "latency_p99_ms": m.percentile_ms(99) if m else None,
            "throughput": m.throughput if m else None,
            "throughput_low": rate.low if rate else None,
            "throughput_high": rate.high if rate else None,
            "n": m.n if m else None,
            "energy_joules": m.energy_joules if m else None,
            "peak_memory_bytes": m.memory.peak_above_baseline if m else None,
            "builder_activation_bytes": plan.memory.activation if plan and plan.memory else None,
            "builder_weights_bytes": plan.memory.weights if plan and plan.memory else None,
            "layers": len(plan.layers) if plan and plan.layers is not None else None,
            "plan_bytes": plan.plan_bytes if plan else None,
            "build_seconds": plan.build_seconds if plan else None,
            "top1": labels.top1 if labels else None,
            "source": self.source,
            "created": self.line.environment.created,
            "failure": self.failure.message if self.failure else None,
            "no_latency_because": None if m else self.why_no("measurement"),
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        m, plan = self.measurement, self.plan
        built = f"{self.setup.builder}"
        if self.failure is not None:
            built += f" failed: {self.failure.message}"
        elif plan is not None:
            layers = N_A if plan.layers is None else f"{len(plan.layers):,}"
            size = text_from_bytes(plan.memory.activation if plan.memory else None)
            built += f" for {plan.target_text}: {layers} layers, activations {size} (builder)"
        ran = f"{N_A} ({self.why_no('measurement')})"
        if m is not None:
            latency = text_from_latency(m.median_ms, m.median_interval_ms)
            ran = f"{latency}  {text_from_number(m.throughput)} inf/s (measured)"
        rows = [("run", f"{self.model.name}, {self.label}"), ("built", built), ("latency", ran)]
        if self.accuracy is not None:
            rows.append(("accuracy", self.accuracy.headline))
        return [*rows, ("source", self.source)]

    @property
    def df(self) -> pd.DataFrame:
        """One row; columns as ``row``."""
        import pandas as pd

        return pd.DataFrame([self.row()])
