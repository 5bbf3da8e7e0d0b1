"""The factors of a run beside its baseline's: values, differences, and why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Literal

from trtlab.analysis.compare import compare, plan_differences, unequal_models
from trtlab.errors import MismatchError
from trtlab.record import Accuracy, Comparison, Difference, Run, Verdict
from trtlab.stats import CONFIDENCE, Interval

Factor = Literal[
    "throughput",
    "efficiency",
    "latency_ms",
    "top1",
    "sqnr_db",
    "activation_bytes",
    "plan_bytes",
    "peak_memory_bytes",
]
"""Inferences a second and a joule, the median latency, top-1 as a share, SQNR of the worst
output; the builder's activations, the plan's size, the host's peak above the empty process."""

Origin = Literal["measured", "builder", "estimated"]


@dataclass(frozen=True, slots=True)
class Value:
    """One number of a run.

    Attributes:
        value: None where there is none; ``reason`` then says why.
        interval: Its 95 % interval; None where it has none.
        n: Samples behind it; None of what is no statistic.
        origin: Where it comes from.
    """

    value: float | None
    origin: Origin
    interval: Interval | None = None
    n: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What a number differs by from the baseline's.

    Attributes:
        verdict: ``unknown`` where the two are not compared; ``reason`` then says why.
        difference: B − A in the number's unit; None where the two are not subtracted.
        interval: Of ``difference``, paired by sample; of the accuracy alone.
        ratio: B / A; ``ratio_interval`` its interval, the drift between equal runs in it.
    """

    verdict: Verdict
    difference: float | None = None
    interval: Interval | None = None
    ratio: float | None = None
    ratio_interval: Interval | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Beside:
    """A factor of the selected run (B), of the baseline (A), and the change; None without A."""

    b: Value
    a: Value | None = None
    change: Change | None = None


def value_of(run: Run, factor: Factor) -> Value:
    """Return one number of a run, or why it has none."""
    if factor in ("top1", "sqnr_db"):
        return _accuracy(run, factor)
    if factor in ("activation_bytes", "plan_bytes"):
        return _of_plan(run, factor)
    m = run.measurement
    if m is None:
        return Value(None, "measured", reason=run.why_no("measurement"))
    if factor == "throughput":
        return Value(m.throughput, "measured", m.throughput_interval, m.n)
    if factor == "latency_ms":
        return Value(m.median_ms, "measured", m.median_interval_ms, m.n)
    if factor == "efficiency":
        joules = m.energy_joules
        return Value(1 / joules if joules else None, "measured", reason=m.energy_note)
    peak = m.memory.peak_above_baseline
    return Value(peak, "measured", reason="this system does not report it")


class Pair:
    """The selected run (B) and its baseline (A): what may be said of each factor's difference.

    What was measured is compared once, when it is first asked for: it sorts every sample.

    Args:
        b: The selected run.
        a: The baseline, or None.
    """

    def __init__(self, b: Run, a: Run | None = None) -> None:
        self.b = b
        self.a = None if a is b else a

    def beside(self, factor: Factor) -> Beside:
        """Return a factor of both runs and the change."""
        of_b = value_of(self.b, factor)
        if self.a is None:
            return Beside(of_b)
        of_a = value_of(self.a, factor)
        return Beside(of_b, of_a, self._change(self.a, factor, of_a, of_b))

    @cached_property
    def why_apart(self) -> str:
        """Why no number of the two may be subtracted; "" where some may."""
        if self.a is None or not unequal_models(self.a.line.made, self.b.line.made):
            return ""
        return f"A is a run of {self.a.model.name}, B of {self.b.model.name}."

    @cached_property
    def why_times_apart(self) -> str:
        """Why what was measured of the two may not be subtracted; "" where it may."""
        if self.why_apart or self.a is None:
            return self.why_apart
        machines = []
        for letter, run in (("A", self.a), ("B", self.b)):
            if run.measurement is None:
                return f"{letter} has no measurement: {run.why_no('measurement')}"
            machines.append(run.measurement.environment.machine)
        if isinstance(self._compared, str):
            return self._compared
        if None in machines or machines[0] != machines[1]:
            return "They were measured on different machines. They can be viewed, not subtracted."
        return ""

    @property
    def comparison(self) -> Comparison | None:
        """What was measured of both, compared; None where that must not be done."""
        found = None if self.why_times_apart else self._compared
        return found if isinstance(found, Comparison) else None

    @cached_property
    def _compared(self) -> Comparison | str:
        a, b = self.a.measurement if self.a else None, self.b.measurement
        if a is None or b is None:
            return "nothing was measured"
        try:
            return compare(a, b)
        except MismatchError as error:
            return error.message

    def _change(self, a: Run, factor: Factor, of_a: Value, of_b: Value) -> Change:
        if self.why_apart:
            return Change("unknown", reason=self.why_apart)
        if factor in ("top1", "sqnr_db"):
            if a.accuracy is not None and self.b.accuracy is not None:
                return accuracy_change(a.accuracy, self.b.accuracy, factor)
            return _missing(of_a, of_b)
        is_built = factor in ("activation_bytes", "plan_bytes")
        if not is_built and self.why_times_apart:
            return Change("unknown", reason=self.why_times_apart)
        if of_a.value is None or of_b.value is None:
            return _missing(of_a, of_b)
        if factor == "efficiency":  # one reading of each: nothing is known of its noise
            return Change("no interval", of_b.value - of_a.value, ratio=of_b.value / of_a.value)
        if is_built and a.plan is not None and self.b.plan is not None:
            return _of(plan_differences(a.plan, self.b.plan), factor)
        return _of(self.comparison.differences if self.comparison else (), factor)


def _missing(of_a: Value, of_b: Value) -> Change:
    letter, value = ("A", of_a) if of_a.value is None else ("B", of_b)
    return Change("unknown", reason=f"{letter} has none: {value.reason}")


def _of(differences: tuple[Difference, ...], factor: Factor) -> Change:
    d = next((d for d in differences if d.quantity == factor), None)
    if d is None or d.a is None or d.b is None:
        return Change("unknown", reason="one of the two is not known")
    return Change(d.verdict, d.b - d.a, ratio=d.ratio, ratio_interval=d.interval)


def accuracy_change(a: Accuracy, b: Accuracy, factor: Factor = "top1") -> Change:
    """Return what B's accuracy differs by from A's.

    The paired interval of a record is that of its model and its reference. It is that of B and A
    only where one of the two *is* the reference: judged on the same samples, the same model, and
    the same class for every sample. Of any other two no claim is made.

    Args:
        a: The baseline.
        b: The selected run's.
        factor: ``top1`` or ``sqnr_db``.
    """
    grounds = [(x.reference, x.reference_model, x.data.hash) for x in (a, b)]
    if grounds[0] != grounds[1] or a.reference_model is None:
        return Change("unknown", reason="A and B were judged by other samples or references.")
    if factor == "sqnr_db":
        one, other = a.worst_sqnr_db, b.worst_sqnr_db
        if one is None or other is None:
            return Change("unknown", reason="one of the two has no error at all")
        return Change("no interval", other - one)
    if a.labels is None or b.labels is None:
        return Change("unknown", reason="there are no labels for both")
    if (a.model, a.arithmetic, a.provider) == (b.model, b.arithmetic, b.provider):
        same = "the same model on the same samples"
        return Change("exact", b.labels.top1 - a.labels.top1, reason=same)
    low, high = b.labels.drop_interval
    if _is_reference(a):
        return _paired(-b.labels.drop, Interval(-high, -low))
    if _is_reference(b):
        return _paired(a.labels.drop, a.labels.drop_interval)
    reason = "each was paired with the reference, not with the other"
    return Change("no interval", b.labels.top1 - a.labels.top1, reason=reason)


def _paired(difference: float, interval: Interval) -> Change:
    verdict: Verdict = "not distinguishable"
    if interval.low > 0 or interval.high < 0:
        verdict = "better" if interval.low > 0 else "worse"
    return Change(verdict, difference, interval)


def _is_reference(accuracy: Accuracy) -> bool:
    return (
        accuracy.model == accuracy.reference_model
        and accuracy.labels is not None
        and accuracy.labels.drop == 0
        and all(out.top1_agreement in (None, 1) for out in accuracy.outputs)
    )


def _accuracy(run: Run, factor: Factor) -> Value:
    found = run.accuracy
    if found is None:
        return Value(None, "measured", reason=run.why_no("accuracy"))
    if factor == "top1":
        if found.labels is None:
            return Value(None, found.origin, reason="the samples have no labels")
        top1, n = found.labels.top1, found.labels.samples
        return Value(top1, found.origin, share_interval(top1, n), n)
    worst, n = found.worst_sqnr_db, found.data.samples
    return Value(worst, found.origin, n=n, reason="no output has any error")


def _of_plan(run: Run, factor: Factor) -> Value:
    plan = run.plan
    if plan is None:
        return Value(None, "builder", reason=run.why_no("measurement"))
    memory = plan.memory.activation if plan.memory else None
    known: Mapping[Factor, int | None] = {
        "activation_bytes": memory,
        "plan_bytes": plan.plan_bytes,
    }
    return Value(known[factor], "builder", reason=f"{plan.config.backend} does not say")


def share_interval(share: float, samples: int) -> Interval:
    """Return the 95 % interval of a share that was counted, by Wilson's score.

    Brown, Cai and DasGupta (Statistical Science 16:101, 2001) recommend it.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    whole = 1 + z * z / samples
    middle = (share + z * z / (2 * samples)) / whole
    half = z / whole * (share * (1 - share) / samples + z * z / (4 * samples**2)) ** 0.5
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def doubts(run: Run) -> tuple[str, ...]:
    """Return the kinds of doubt about what was measured, in words: ``busy machine``."""
    caveats = run.measurement.caveats if run.measurement else ()
    return tuple(dict.fromkeys(c.kind.replace("-", " ") for c in caveats))
