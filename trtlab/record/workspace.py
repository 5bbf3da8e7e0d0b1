"""``WorkspaceCurve``: what the limit of TensorRT's workspace changes, and where it fails."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from trtlab.record.base import (
    Environment,
    Failure,
    ModelRef,
    Source,
    caveat_rows,
    source_rows,
)
from trtlab.record.measurement import Measurement
from trtlab.record.plan import BuilderMemory
from trtlab.shown import Shown
from trtlab.spec import BuildConfig, Caveat
from trtlab.units import N_A, text_from_bytes, text_from_file_size

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspacePoint:
    """What came of one limit.

    Attributes:
        limit_bytes: The limit; None is the builder's own default.
        plan: Hash of the plan, None if it failed.
        layers: Number of layers, None if it failed or the builder does not say.
        layers_changed: How many layers, by name, type and tactic, this plan has and that of the
            next larger limit has not, or the other way round; None where one is unknown.
        asked_bytes: What the builder asked for when it failed, None if it did not say.
        failure: Why there is no plan.
        measurement: A run of the plan, None where it cannot run here.
    """

    limit_bytes: int | None
    plan: str | None = None
    plan_bytes: int | None = None
    build_seconds: float | None = None
    memory: BuilderMemory | None = None
    layers: int | None = None
    layers_changed: int | None = None
    asked_bytes: int | None = None
    failure: Failure | None = None
    measurement: Measurement | None = None

    @property
    def limit_text(self) -> str:
        """The limit in words."""
        return "default" if self.limit_bytes is None else text_from_bytes(self.limit_bytes)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WorkspaceCurve(Shown):
    """Workspace limits against what the builder made of them, smallest first, default last.

    Attributes:
        smallest_bytes: The smallest limit that was seen to build; None if only the default did.
        failing_bytes: The largest limit that was seen to fail; None if none did. The true bound
            lies between the two.
        no_run_note: Why no plan was run; empty if they were.
    """

    model: ModelRef
    config: BuildConfig
    points: tuple[WorkspacePoint, ...]
    smallest_bytes: int | None
    failing_bytes: int | None
    no_run_note: str
    environment: Environment
    caveats: tuple[Caveat, ...] = ()
    source: Source = "here"
    kind: ClassVar[str] = "workspace"

    @property
    def built(self) -> Sequence[WorkspacePoint]:
        """The points that gave a plan."""
        return [p for p in self.points if p.plan is not None]

    @property
    def engines(self) -> int:
        """How many different engines there are among them.

        By their layers and the builder's memory figures, never by their bytes: a plan holds the
        limit itself, as a text of varying length (seen with TensorRT-RTX 1.7).
        """
        changes = sum(
            smaller.memory != larger.memory
            or smaller.layers != larger.layers
            or bool(smaller.layers_changed)
            for smaller, larger in itertools.pairwise(self.built)
        )
        return changes + bool(self.built)

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        return [
            (
                "workspace",
                f"{self.model.name} ({self.model.recipe}) by {self.config.backend} "
                f"for {self.config.target_text}, {len(self.points)} builds",
            ),
            ("smallest limit that builds", self._smallest_text()),
            *self._asked_rows(),
            ("what a larger limit changes", self._change_text()),
            ("memory to come", self._memory_text()),
            ("latency", self._latency_text()),
            *source_rows(self.source, self.environment),
            *caveat_rows(self.caveats),
        ]

    def _smallest_text(self) -> str:
        if self.smallest_bytes is None:
            return f"{N_A}: no limit that was tried builds, only the default does"
        text = f"{text_from_bytes(self.smallest_bytes)} (builder)"
        if self.failing_bytes is None:
            return f"{text}, the smallest tried; none failed"
        return f"{text}; {text_from_bytes(self.failing_bytes)} fails"

    @property
    def beyond_limit_bytes(self) -> int | None:
        """By how much what the builder named exceeds the limit, where that is always the same.

        Then the number says what was allowed, not what is needed.
        """
        found = [
            p.asked_bytes - p.limit_bytes
            for p in self.points
            if p.asked_bytes is not None and p.limit_bytes is not None
        ]
        return found[0] if len(found) > 1 and len(set(found)) == 1 else None

    def _asked_rows(self) -> list[tuple[str, str]]:
        if self.beyond_limit_bytes is None:
            return []
        beyond = text_from_bytes(self.beyond_limit_bytes)
        return [("bytes named on failure", f"always the limit plus {beyond}: no hint at the need")]

    def _change_text(self) -> str:
        count = len(self.built)
        if self.engines == 1 and count > 1:
            unlisted = any(p.layers is None for p in self.built)
            same = "memory" if unlisted else "layers and the same memory"
            return f"nothing seen: all {count} limits that build give the same {same} (builder)"
        return f"{self.engines} different engines from {count} limits (builder)"

    def _memory_text(self) -> str:
        sizes = [p.memory.activation for p in self.built if p.memory and p.memory.activation]
        files = [p.plan_bytes for p in self.built if p.plan_bytes is not None]
        if not sizes:
            return f"{N_A}: the builder does not say"
        activations = _range(text_from_bytes(min(sizes)), text_from_bytes(max(sizes)))
        plan = _range(text_from_file_size(min(files)), text_from_file_size(max(files)))
        return f"activations {activations}, plan {plan} (builder)"

    def _latency_text(self) -> str:
        times = [p.measurement.median_ms for p in self.built if p.measurement is not None]
        if not times:
            return f"{N_A}: {self.no_run_note}"
        return f"medians from {min(times):.3g} to {max(times):.3g} ms (measured)"

    @property
    def df(self) -> pd.DataFrame:
        """One row a limit; what is unknown is absent."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "limit_bytes": p.limit_bytes,
                    "builds": p.plan is not None,
                    "asked_bytes": p.asked_bytes,
                    "activation_bytes": p.memory.activation if p.memory else None,
                    "plan_bytes": p.plan_bytes,
                    "layers": p.layers,
                    "layers_changed": p.layers_changed,
                    "build_seconds": p.build_seconds,
                    "latency_ms": p.measurement.median_ms if p.measurement else None,
                    "plan": p.plan,
                }
                for p in self.points
            ]
        ).convert_dtypes()  # whole numbers stay whole beside absent ones


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
