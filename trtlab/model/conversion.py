"""``ConversionReport``: what was done to a model to give it another precision."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from trtlab.model.printing import printable
from trtlab.shown import Shown
from trtlab.units import text_from_bytes

CALIBRATORS = ("minmax", "percentile", "entropy", "mse")
"""How the range of a tensor is chosen from the values that it took."""

_RECIPE = re.compile(r"[a-z0-9]+(-weights)?(\+[a-z0-9]+)*", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{2,64}", re.ASCII)

Tool = Literal["onnxruntime", "trtlab", "modelopt"]


class Range(NamedTuple):
    """Smallest and largest value that a tensor took, or is to be kept apart."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class KeptNode:
    """A node that stayed in higher precision, and why."""

    node: str
    op: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The data that ranges were taken from.

    Attributes:
        data: In words: where it came from and what was done to it.
        hash: SHA-256 (hex) over the samples that were used.
        samples: How many.
        calibrator: One of ``CALIBRATORS``.
        random: Whether the data was invented: ranges then fit no real input.
    """

    data: str
    hash: str
    samples: int
    calibrator: str
    random: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationTable:
    """Ranges as a file holds them: to be kept, read by people, and used again.

    Attributes:
        parent: Hash of the model whose tensors they are.
    """

    parent: str
    calibration: Calibration
    ranges: Mapping[str, Range]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ConversionReport(Shown):
    """What a conversion did; it travels in the metadata of the file that it made.

    Attributes:
        recipe: Such as ``int8+fp16``.
        tools: What did it, with versions, such as ``onnxruntime 1.31.1``.
        parent: Hash of the model that it was made from, and its name.
        options: What was asked for beyond the defaults, in words.
        converted: Names of the nodes that compute in the new precision.
        kept: Nodes that stayed in higher precision.
        casts: Casts that were inserted.
        quantizers: Pairs of QuantizeLinear and DequantizeLinear on activations.
        weights: Weight elements of the parent that are floating-point numbers.
        weights_converted: How many of them are stored in the new type.
        clipped: Weight elements that were beyond the new type's range, and cut.
        flushed: Weight elements that are 0 in the new type, and were not.
        bytes_before: Bytes of all weights of the parent.
        bytes_after: And of the result.
        ranges: By tensor the range that calibration settled on, or without it the range met in
            the weights.
        calibration: None where no data was needed.
        seconds: What the conversion took, without the calibration it reused.
        doubts: What to know before trusting it.
    """

    recipe: str
    tools: tuple[str, ...]
    parent: str
    parent_name: str
    options: tuple[str, ...] = ()
    converted: tuple[str, ...] = ()
    kept: tuple[KeptNode, ...] = ()
    casts: int = 0
    quantizers: int = 0
    weights: int = 0
    weights_converted: int = 0
    clipped: int = 0
    flushed: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    ranges: Mapping[str, Range] = field(default_factory=dict)
    calibration: Calibration | None = None
    seconds: float | None = None
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no conversion writes: the text comes from files of other people."""
        if not _RECIPE.fullmatch(self.recipe) or not _HASH.fullmatch(self.parent):
            raise ValueError("no recipe, or no hash of a parent")

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first; safe to print."""
        return [(label, printable(text)) for label, text in self._texts()]

    def _texts(self) -> list[tuple[str, str]]:
        done, every = self.weights_converted, self.weights
        share = f" ({done / every:.1%})" if every else ""
        rows = [
            ("recipe", f"{self.recipe}, from {self.parent_name}"),
            ("tools", ", ".join(self.tools)),
            ("nodes converted", str(len(self.converted))),
            ("nodes kept", self._kept_text()),
            ("weights converted", f"{done:,} of {every:,}{share}"),
            (
                "weights",
                f"{text_from_bytes(self.bytes_before)} → {text_from_bytes(self.bytes_after)}",
            ),
            ("casts inserted", str(self.casts)),
            ("Q/DQ pairs", str(self.quantizers)),
            ("weights clipped", f"{self.clipped:,}, to zero {self.flushed:,}"),
        ]
        if self.calibration is not None:
            c = self.calibration
            rows.append(("calibration", f"{c.calibrator}, {c.samples} samples of {c.data}"))
        if self.ranges:
            widest = max(self.ranges, key=lambda name: _width(self.ranges[name]))
            low, high = self.ranges[widest]
            rows.append(
                ("ranges", f"{len(self.ranges)} tensors; widest {widest}: {low:.4g} … {high:.4g}")
            )
        if self.options:
            rows.append(("options", ", ".join(self.options)))
        rows += [("caveat", doubt) for doubt in self.doubts]
        return rows

    def _kept_text(self) -> str:
        count = Counter((k.op, k.reason) for k in self.kept)
        words = [f"{n} {op} ({reason})" for (op, reason), n in count.most_common()]
        return f"{len(self.kept)}" + (": " + ", ".join(words) if words else "")


def _width(span: Range) -> float:
    return max(abs(span.low), abs(span.high))
