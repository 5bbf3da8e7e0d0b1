"""Which precisions there are, and what may be asked of a conversion."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from trtlab.errors import SpecError
from trtlab.model.conversion import CALIBRATORS, Tool

FLOATS = ("fp16", "bf16")
"""What weights and activations are stored in, the whole network over."""

QUANTISED = ("int8", "fp8", "int8-weights", "int4-weights")
"""What goes through QuantizeLinear and DequantizeLinear."""

CALIBRATED = ("int8", "fp8")
"""Recipes whose activations need ranges, and so data."""

Activations = Literal["int8", "uint8"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A precision: how it is quantised, if at all, and which float type holds the rest."""

    quantised: str | None
    floats: str

    @property
    def name(self) -> str:
        """As people write it: ``fp32``, ``int8``, ``int8+fp16``."""
        if self.quantised is None:
            return self.floats
        return self.quantised if self.floats == "fp32" else f"{self.quantised}+{self.floats}"

    @property
    def needs_data(self) -> bool:
        """Whether ranges of activations are needed."""
        return self.quantised in CALIBRATED


def recipe_of(text: str) -> Recipe:
    """Read ``int8+fp16``; the order of the parts is free.

    Raises:
        SpecError: there is no such recipe.
    """
    parts = [part.strip().lower() for part in text.split("+")] if isinstance(text, str) else []
    quantised = [p for p in parts if p in QUANTISED]
    floats = [p for p in parts if p in ("fp32", *FLOATS)]
    if not parts or len(quantised) + len(floats) != len(parts):
        raise SpecError(
            f"There is no precision recipe {text!r}.",
            hint=f"Choose of fp32, {', '.join(FLOATS + QUANTISED)}, or join two: int8+fp16.",
        )
    if len(quantised) > 1 or len(floats) > 1:
        raise SpecError(
            f"{text!r} names two recipes of one kind.",
            hint="Join one of "
            f"{', '.join(QUANTISED)} with one of {', '.join(FLOATS)}, as in int8+fp16.",
        )
    return Recipe(quantised[0] if quantised else None, floats[0] if floats else "fp32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a model is to be converted; see ``trtlab.convert``.

    Attributes:
        keep: Names or patterns (``*``, ``?``, ``[…]``) of nodes to leave alone.
        keep_ops: Operators to leave alone.
        keep_io: Whether inputs and outputs keep their types.
        per_channel: Whether weights have a scale for each output channel.
        symmetric: Whether zero points of activations are 0; None: where they are signed.
        activations: Type of quantised activations; ``uint8`` runs on ONNX Runtime's CPU only.
        calibrator: How ranges are chosen from values.
        clip: Whether weights beyond FP16's range are cut to it instead of refused.
        tool: ``modelopt`` for NVIDIA's ModelOpt in its own environment; None is ONNX Runtime's
            tools and trtlab's passes.
    """

    keep: tuple[str, ...] = ()
    keep_ops: tuple[str, ...] = ()
    keep_io: bool = True
    per_channel: bool = True
    symmetric: bool | None = None
    activations: Activations = "int8"
    calibrator: str = "minmax"
    clip: bool = False
    tool: Tool | None = None

    def __post_init__(self) -> None:
        """Refuse what no recipe knows."""
        for name in ("keep_io", "per_channel", "symmetric", "clip"):
            value = getattr(self, name)
            if not isinstance(value, bool) and not (name == "symmetric" and value is None):
                raise SpecError(f"{name} cannot be {value!r}.", hint="Give True or False.")
        if self.calibrator not in CALIBRATORS:
            raise SpecError(
                f"There is no calibrator {self.calibrator!r}.",
                hint=f"Choose one of {', '.join(CALIBRATORS)}.",
            )
        if self.activations not in ("int8", "uint8"):
            raise SpecError(
                f"Activations cannot be {self.activations!r}.", hint="Choose int8 or uint8."
            )
        if self.tool not in (None, "modelopt"):
            raise SpecError(f"There is no tool {self.tool!r}.", hint="Choose modelopt, or none.")

    @property
    def is_symmetric(self) -> bool:
        """Whether activations have their zero point at 0."""
        return self.activations == "int8" if self.symmetric is None else self.symmetric

    def words(self) -> tuple[str, ...]:
        """Name what differs from the defaults."""
        default = Options()
        changed = [f for f in fields(self) if getattr(self, f.name) != getattr(default, f.name)]
        return tuple(f"{f.name}={_text(getattr(self, f.name))}" for f in changed)


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
