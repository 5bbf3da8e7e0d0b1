"""Two records side by side: refuse what must not be compared, claim nothing inside the noise."""

from __future__ import annotations

from trtlab.environment import differences
from trtlab.errors import MismatchError
from trtlab.record import Comparison, Difference, Measurement, Plan, Verdict
from trtlab.spec import Caveat
from trtlab.stats import Interval


def compare(a: Measurement | Plan, b: Measurement | Plan) -> Comparison:
    """Compare two measurements, or two plans; ``a`` is the baseline.

    A ratio's interval comes from the ends of both intervals, which is wider than 95 % and so errs
    towards "not distinguishable": the two were not measured alternately.

    Raises:
        MismatchError: one is a plan and the other is not, or their latencies contain different
            things (a host call, GPU compute).
    """
    if isinstance(a, Measurement) and isinstance(b, Measurement):
        return _measurements(a, b)
    if isinstance(a, Plan) and isinstance(b, Plan):
        return _plans(a, b)
    raise MismatchError(
        f"A {a.kind} and a {b.kind} cannot be compared.", hint="Give two of the same kind."
    )


def _measurements(a: Measurement, b: Measurement) -> Comparison:
    if a.contents != b.contents:
        raise MismatchError(
            f"A's latency is {a.contents} time and B's is {b.contents} time. They can be viewed, "
            "not subtracted.",
            hint="Choose another baseline.",
        )
    unequal = differences(a.environment, b.environment)
    if a.model.hash != b.model.hash and a.model.hash != b.model.parent:
        unequal.append(f"model ({a.model.name}, {b.model.name})")
    for name, x, y in (
        ("provider", a.provider, b.provider),
        ("batch", a.batch, b.batch),
        ("seed", a.run.seed, b.run.seed),
        ("measuring time", _length(a), _length(b)),
    ):
        if x != y:
            unequal.append(f"{name} ({x}, {y})")
    same_machine = a.environment.machine == b.environment.machine
    return Comparison(
        f"{a.model.name}, {a.settings()}",
        f"{b.model.name}, {b.settings()}",
        (
            _sampled("latency_ms", a.median_ms, b.median_ms, a.median_interval_ms,
                     b.median_interval_ms, less_is_better=True),
            _sampled("throughput", a.throughput, b.throughput, a.throughput_interval,
                     b.throughput_interval, less_is_better=False),
            _exact("peak_memory_bytes", a.memory.peak_above_baseline,
                   b.memory.peak_above_baseline, comparable=same_machine),
        ),
        _conditions(unequal),
    )  # fmt: skip


def _plans(a: Plan, b: Plan) -> Comparison:
    unequal = differences(a.environment, b.environment)
    layers = [None if p.layers is None else len(p.layers) for p in (a, b)]
    return Comparison(
        f"{a.model.name} by {a.config.backend}",
        f"{b.model.name} by {b.config.backend}",
        (
            _exact("plan_bytes", a.plan_bytes, b.plan_bytes),
            _exact("layers", layers[0], layers[1]),
        ),
        _conditions(unequal),
    )


def _length(m: Measurement) -> str:
    return "quick" if m.run.quick else "full"


def _conditions(unequal: list[str]) -> tuple[Caveat, ...]:
    if not unequal:
        return ()
    return (
        Caveat(
            "different-conditions",
            f"Not the same: {'; '.join(unequal)}.",
            "A difference may come from these alone.",
        ),
    )


def _sampled(
    quantity: str,
    a: float,
    b: float,
    a_interval: Interval | None,
    b_interval: Interval | None,
    *,
    less_is_better: bool,
) -> Difference:
    if a_interval is None or b_interval is None or a_interval.low <= 0:
        return Difference(quantity, a, b, b / a, None, "unknown")
    ratio = Interval(b_interval.low / a_interval.high, b_interval.high / a_interval.low)
    verdict: Verdict = "not distinguishable"
    if ratio.high < 1 or ratio.low > 1:
        verdict = "better" if (ratio.high < 1) == less_is_better else "worse"
    return Difference(quantity, a, b, b / a, ratio, verdict)


def _exact(
    quantity: str, a: float | None, b: float | None, *, comparable: bool = True
) -> Difference:
    if a is None or b is None or a == 0 or not comparable:
        return Difference(quantity, a, b, None, None, "unknown")
    return Difference(quantity, a, b, b / a, None, "exact")
