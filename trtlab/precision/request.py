"""``Request``: what a conversion's job is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtlab.dataset.files import SampleFiles
from trtlab.model.conversion import Calibration, Range
from trtlab.precision.recipes import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One conversion.

    Attributes:
        source: The model's file; ``target``: where the result goes.
        name: What the model is called; ``parent`` its hash, ``before`` its recipe.
        recipe: As text; of a model that is quantised already, what is added to that.
        prepared: What ``calibrate.prepare`` made of it, for recipes that quantise activations.
        ranges: What calibration settled on; for FP16 it tells which tensors leave the range.
        calibration: The data behind them.
        samples: The data itself, for ModelOpt, which settles on ranges of its own.
    """

    source: str
    target: str
    name: str
    parent: str
    before: str
    recipe: str
    options: Options
    prepared: str | None = None
    ranges: Mapping[str, Range] = field(default_factory=dict)
    calibration: Calibration | None = None
    samples: SampleFiles | None = None
