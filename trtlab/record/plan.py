"""``Plan``: what a builder made of a model, as it reports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from trtlab.model.types import Tensor
from trtlab.record.base import (
    Environment,
    ModelRef,
    Shown,
    Source,
    caveat_rows,
    source_rows,
)
from trtlab.spec import BuildConfig, Caveat
from trtlab.units import (
    N_A,
    text_from_bytes,
    text_from_file_size,
    text_from_ms,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """One layer of a plan, as the builder reports it."""

    name: str
    type: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    domain: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan(Shown):
    """A built plan: its bytes lie in the store under ``hash``.

    Attributes:
        hash: SHA-256 (hex) of the plan's bytes.
        build_seconds: Time inside the builder (ONNX Runtime: session creation and dump).
        plan_bytes: Size of the plan.
        layers: What the builder made of the model; None when it does not say.
        messages: The builder's warnings, as it worded them.
        peak_rss_bytes: Peak resident memory of the building process, None where unknown.
    """

    hash: str
    model: ModelRef
    model_path: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weight_bytes: int
    config: BuildConfig
    build_seconds: float
    plan_bytes: int
    layers: tuple[EngineLayer, ...] | None
    messages: tuple[str, ...]
    peak_rss_bytes: int | None
    environment: Environment
    caveats: tuple[Caveat, ...] = ()
    source: Source = "here"
    kind: ClassVar[str] = "plan"

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        return [
            ("plan", f"{self.model.name} ({self.model.recipe}) by {self.config.backend}"),
            ("size", f"{text_from_file_size(self.plan_bytes)} (builder)"),
            ("layers", N_A if self.layers is None else f"{len(self.layers)} (builder)"),
            ("build time", f"{text_from_ms(self.build_seconds * 1000)} (measured)"),
            ("peak memory of the build", f"{text_from_bytes(self.peak_rss_bytes)} (measured)"),
            *source_rows(self.source, self.environment),
            *caveat_rows(self.caveats),
        ]

    @property
    def df(self) -> pd.DataFrame:
        """One row a layer; empty when the builder does not name its layers."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "layer": layer.name,
                    "type": layer.type,
                    "inputs": ", ".join(t.name for t in layer.inputs),
                    "outputs": ", ".join(t.name for t in layer.outputs),
                }
                for layer in self.layers or ()
            ],
            columns=["layer", "type", "inputs", "outputs"],
        )
