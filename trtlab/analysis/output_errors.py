"""Errors of an output against a reference, batch by batch: sums, no stored values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trtlab.analysis.paired import paired_interval
from trtlab.errors import MismatchError, SpecError
from trtlab.record import LabelMetrics, OutputError, Stage
from trtlab.units import text_from_shape

Values = npt.NDArray[Any]

UNIT_ROUNDOFF = {
    "fp16": 2.0**-11,
    "bf16": 2.0**-8,
    "fp8": 2.0**-4,
    "int8": 0.5 / 127,
    "int8-weights": 0.5 / 127,
    "qdq": 0.5 / 127,
    "int4-weights": 0.5 / 7,
}
"""Largest relative error of storing a number: 2^-p with p bits of significand (E4M3 has 4); for
integers half a step, relative to the largest number. ``qdq`` is taken for INT8."""

FP32_TOLERANCE = 1e-5
"""The default of Polygraphy and trtexec, both tolerances. FP32 errors come from the order of
sums, which no count of roundings tells."""

RELATIVE_FLOOR = 0.01
"""Relative errors are taken where the reference is at least this part of its root mean square:
near zero every error is large in relation."""

_MANTISSA_SHIFT = 12
"""Bits of a float32 that the histogram of absolute errors leaves out: 11 of 23 bits of the
significand stay, so that a bin is 0.05 % wide."""

_TOP = 5


def default_rtol(recipe: str, nodes: int) -> float:
    """Return the relative tolerance that a precision deserves.

    Twice the unit roundoff of its coarsest type times the root of the number of nodes that
    round: errors of roundings that are independent grow like a random walk (Higham and Mary,
    SIAM Journal on Scientific Computing 41:A2815, 2019). FP32: ``FP32_TOLERANCE``.

    Args:
        recipe: Such as ``int8+fp16``.
        nodes: Nodes of the graph that compute.
    """
    units = [UNIT_ROUNDOFF[part] for part in recipe.split("+") if part in UNIT_ROUNDOFF]
    return 2 * max(units) * math.sqrt(max(nodes, 1)) if units else FP32_TOLERANCE


def scale_of(reference: Values) -> float:
    """Return the root mean square of the finite values, 0 where there are none."""
    values = reference[np.isfinite(reference)].astype(np.float64)
    return math.sqrt(np.mean(values * values)) if values.size else 0.0


SIZE_SAMPLES = 32
"""Samples that an output's size is taken from."""


@dataclass(slots=True)
class OutputErrors:
    """Takes an output batch by batch, and tells its errors at the end.

    The default tolerances and the floor of relative errors need the output's size: its root mean
    square in the first ``SIZE_SAMPLES`` samples, however they come in batches.

    Args:
        rtol: Relative tolerance; ``atol`` None takes ``rtol`` times the output's size.
        probabilities: Whether the values are probabilities already, for the divergence.
    """

    rtol: float
    atol: float | None = None
    probabilities: bool = False
    _floor: float = 0.0
    _settled: bool = False
    _waiting: list[tuple[Values, Values, int, bool]] = field(default_factory=list)
    _elements: int = 0
    _compared: int = 0
    _not_finite: int = 0
    _beyond_both: int = 0
    _beyond_sum: int = 0
    _relative_count: int = 0
    _relative_sum: float = 0.0
    _relative_max: float = 0.0
    _absolute_sum: float = 0.0
    _absolute_max: float = 0.0
    _noise: float = 0.0
    _signal: float = 0.0
    _cosine_count: int = 0
    _cosine_sum: float = 0.0
    _divergence_count: int = 0
    _divergence_sum: float = 0.0
    _classified: int = 0
    _agreed: int = 0
    _among_five: int = 0
    _classes: int = 0
    _histogram: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(1 << (31 - _MANTISSA_SHIFT), np.int64)
    )

    def add(self, reference: Values, found: Values, samples: int) -> None:
        """Take one batch.

        Args:
            reference: [samples, ...] of numbers; NaN and infinite ones are not compared.
            found: As many numbers, of any shape.
            samples: How many samples the batch has. An output that does not begin with that
                many counts as one sample.

        Raises:
            MismatchError: the two differ in size.
        """
        if reference.size != found.size:
            raise MismatchError(
                f"The output is {text_from_shape(found.shape)}, the reference's is "
                f"{text_from_shape(reference.shape)}.",
                hint="Both must come from the same network; name the right reference.",
            )
        rows = samples if reference.shape[:1] == (samples,) else 1
        a = reference.reshape(rows, -1).astype(np.float64)
        b = found.reshape(rows, -1).astype(np.float64)
        self._waiting.append((a, b, samples, is_classification(reference, samples)))
        if self._settled or sum(n for _, _, n, _ in self._waiting) >= SIZE_SAMPLES:
            self._take()

    def _take(self) -> None:
        """Add what has waited; what the output's size is must be known by now."""
        if not self._settled:
            first = [a.ravel() for a, _, _, _ in self._waiting]
            size = scale_of(np.concatenate(first)) if first else 0.0
            self._floor = RELATIVE_FLOOR * size
            self.atol = self.rtol * size if self.atol is None else self.atol
            self._settled = True
        with np.errstate(all="ignore"):  # infinite values are counted, not computed with
            for a, b, _, has_classes in self._waiting:
                self._add_elements(a, b)
                self._add_samples(a, b)
                if has_classes:
                    self._add_classes(a, b)
        self._waiting.clear()

    def _add_elements(self, a: Values, b: Values) -> None:
        known = np.isfinite(a)
        both = known & np.isfinite(b)
        self._elements += int(known.sum())
        lost = int(known.sum() - both.sum())
        self._not_finite += lost
        x, error = a[both], np.abs(b[both] - a[both])
        if error.size:
            self._compared += error.size
            self._absolute_sum += float(error.sum())
            self._absolute_max = max(self._absolute_max, float(error.max()))
            self._noise += float(np.dot(error, error))
            self._signal += float(np.dot(x, x))
            bins = error.astype(np.float32).view(np.uint32) >> _MANTISSA_SHIFT
            self._histogram += np.bincount(bins, minlength=self._histogram.size)
        size = np.abs(x)
        large = (size >= self._floor) & (size > 0)
        relative = error[large] / size[large]
        if relative.size:
            self._relative_count += relative.size
            self._relative_sum += float(relative.sum())
            self._relative_max = max(self._relative_max, float(relative.max()))
        atol = self.atol or 0.0
        beyond = error > atol
        self._beyond_both += lost + int((beyond & (error > self.rtol * size)).sum())
        self._beyond_sum += lost + int((error > atol + self.rtol * size).sum())

    def _add_samples(self, a: Values, b: Values) -> None:
        first, second = (a * a).sum(axis=1), (b * b).sum(axis=1)
        norms = np.sqrt(first * second)
        told = np.isfinite(norms) & (norms > 0)
        # Zeros on one side alone are as far off as can be; zeros on both have no direction.
        lost = np.isfinite(norms) & ((first > 0) != (second > 0))
        self._cosine_count += int(told.sum() + lost.sum())
        self._cosine_sum += float(((a * b).sum(axis=1)[told] / norms[told]).sum())

    def _add_classes(self, a: Values, b: Values) -> None:
        self._classes = a.shape[1]
        known = ~np.isnan(a).any(axis=1)
        a, b = a[known], b[known]
        best = a.argmax(axis=1)
        rank = rank_of(b, best)
        self._classified += len(a)
        self._agreed += int((rank == 0).sum())
        self._among_five += int((rank < _TOP).sum())
        p, q = self._log_shares(a), self._log_shares(b)
        divergence = np.where(np.isneginf(p), 0.0, np.exp(p) * (p - q)).sum(axis=1)
        told = np.isfinite(divergence)
        self._divergence_count += int(told.sum())
        self._divergence_sum += float(divergence[told].sum())

    def _log_shares(self, values: Values) -> Values:
        if self.probabilities:
            return np.log(np.maximum(values, np.finfo(np.float32).tiny))
        shifted = values - values.max(axis=1, keepdims=True)
        shares: Values = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return shares

    def finished(self, name: str, tensor: str, stage: Stage) -> OutputError:
        """Return the errors over all batches."""
        self._take()
        n = self._compared
        return OutputError(
            name=name,
            tensor=tensor,
            stage=stage,
            elements=self._elements,
            max_absolute=self._absolute_max if n else None,
            mean_absolute=_part(self._absolute_sum, n),
            p99_absolute=self._quantile(0.99),
            max_relative=self._relative_max if self._relative_count else None,
            mean_relative=_part(self._relative_sum, self._relative_count),
            relative_floor=self._floor,
            rmse=math.sqrt(self._noise / n) if n else None,
            sqnr_db=decibels(self._signal, self._noise),
            cosine=_part(self._cosine_sum, self._cosine_count),
            kl=_part(max(self._divergence_sum, 0.0), self._divergence_count),
            top1_agreement=_part(self._agreed, self._classified),
            top5_agreement=_part(self._among_five, self._classified)
            if self._classes > _TOP
            else None,
            beyond_both=_part(self._beyond_both, self._elements),
            beyond_sum=_part(self._beyond_sum, self._elements),
            atol=self.atol or 0.0,
            rtol=self.rtol,
            not_finite=self._not_finite,
        )

    def _quantile(self, share: float) -> float | None:
        """Return the middle of the bin with the quantile; 0 where that error is 0."""
        if not self._compared:
            return None
        counted = np.cumsum(self._histogram)
        found = int(np.searchsorted(counted, math.ceil(share * self._compared)))
        edges = (np.array([found, found + 1], np.uint32) << _MANTISSA_SHIFT).view(np.float32)
        return min(float(edges.mean()), self._absolute_max) if found else 0.0


def is_classification(values: Values, samples: int) -> bool:
    """Whether an output names classes: floats [samples, classes], or with axes of 1 behind."""
    shape = values.shape
    return (
        values.dtype.kind == "f"
        and shape[:1] == (samples,)
        and len(shape) > 1
        and shape[1] > 1
        and values.size == samples * shape[1]
    )


def rank_of(values: Values, classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return at which place (from 0) each row has its class; of equal values the first is higher.

    A row with NaN has it at no place: behind the last.

    Args:
        values: [samples, classes].
        classes: [samples], numbers of classes.
    """
    own = np.take_along_axis(values, classes[:, None], axis=1)
    before = np.arange(values.shape[1]) < classes[:, None]
    rank = ((values > own) | ((values == own) & before)).sum(axis=1)
    placed: npt.NDArray[np.int64] = np.where(np.isnan(values).any(axis=1), values.shape[1], rank)
    return placed


def decibels(signal: float, noise: float) -> float | None:
    """Return 10 log10 (signal / noise), both powers; None where either is 0."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def _part(total: float, count: int) -> float | None:
    return total / count if count else None


@dataclass(slots=True)
class LabelCounts:
    """Counts, batch by batch, which classes model and reference got right."""

    samples: int = 0
    classes: int = 0
    right: int = 0
    right_five: int = 0
    reference_right: int = 0
    reference_right_five: int = 0
    only_reference: int = 0
    only_model: int = 0

    def add(self, reference: Values, found: Values, labels: npt.NDArray[np.int64]) -> None:
        """Take one batch.

        Args:
            reference: [samples, classes], as ``found``; the highest value names the class, of
                equal ones the first.
            found: Of the model.
            labels: [samples].

        Raises:
            SpecError: a label is no class of the output.
        """
        self.classes = found.shape[1]
        if labels.max() >= self.classes:
            raise SpecError(
                f"A label is {labels.max():,}; the output has {self.classes:,} classes, from 0.",
                hint="Labels and outputs must count the classes alike.",
            )
        theirs, ours = rank_of(reference, labels), rank_of(found, labels)
        self.samples += len(labels)
        self.right += int((ours == 0).sum())
        self.right_five += int((ours < _TOP).sum())
        self.reference_right += int((theirs == 0).sum())
        self.reference_right_five += int((theirs < _TOP).sum())
        self.only_reference += int(((theirs == 0) & (ours != 0)).sum())
        self.only_model += int(((ours == 0) & (theirs != 0)).sum())

    def finished(self) -> LabelMetrics:
        """Return the shares, and the drop with its paired interval."""
        n, has_five = self.samples, self.classes > _TOP
        return LabelMetrics(
            samples=n,
            top1=self.right / n,
            top5=self.right_five / n if has_five else None,
            reference_top1=self.reference_right / n,
            reference_top5=self.reference_right_five / n if has_five else None,
            drop=(self.only_reference - self.only_model) / n,
            drop_interval=paired_interval(self.only_reference, self.only_model, n),
        )
