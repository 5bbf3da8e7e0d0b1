"""Two records side by side: refuse what must not be compared, claim nothing inside the noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trtlab.environment import differences
from trtlab.errors import MismatchError
from trtlab.record import (
    BuilderMemory,
    Comparison,
    Difference,
    Fusion,
    LayerProfile,
    Measurement,
    ModelRef,
    Plan,
    Verdict,
)
from trtlab.spec import Caveat
from trtlab.stats import Interval
from trtlab.units import text_from_shape

RUN_TO_RUN = 1.15
RUN_TO_RUN_MS = 0.05
"""How far equal runs may lie apart: by this factor, and by this much more in milliseconds.

Seen on a two-core machine: medians of six equal runs of one network (1.7 ms) lay up to 1.11 apart
while it was idle, far outside the interval of each; those of a network of 27 µs on two threads up
to 0.03 ms, by how the threads happened to meet. ``benchmarks/noise.py`` counts what a comparison
claims of equal runs."""

_Doubted = Measurement | LayerProfile | Fusion
_Spans = tuple[Interval | None, Interval | None]
DISTURBED = frozenset({"unstable", "busy-machine", "not-warmed-up"})
"""Caveats of a run of which nothing is claimed."""


def compare(a: Measurement, b: Measurement) -> Comparison:
    """Compare two measurements; ``a`` is the baseline.

    A ratio's interval spans the ends of both intervals and the drift between equal runs beyond:
    the two were measured one after the other, and a machine drifts between runs by more than it
    does within one. Of a disturbed run (unstable, busy machine) nothing is claimed.

    Raises:
        MismatchError: their latencies contain different things (a host call, GPU compute).
    """
    if a.contents != b.contents:
        raise MismatchError(
            f"A's latency is {a.contents} time and B's is {b.contents} time. They can be viewed, "
            "not subtracted.",
            hint="Choose another baseline.",
        )
    unequal = differences(a.environment, b.environment)
    unequal += unequal_models(a.model, b.model)
    if a.batch == b.batch and a.shapes != b.shapes:
        unequal.append(f"shapes ({_shapes(a)}; {_shapes(b)})")
    for name, x, y in (
        ("provider", a.provider, b.provider),
        ("batch", a.batch, b.batch),
        ("seed", a.run.seed, b.run.seed),
        ("CUDA graph", a.cuda_graph, b.cuda_graph),
        ("measuring time", _length(a), _length(b)),
    ):
        if x != y:
            unequal.append(f"{name} ({x}, {y})")
    same_machine = a.environment.machine == b.environment.machine
    drift = RUN_TO_RUN + RUN_TO_RUN_MS / min(a.median_ms, b.median_ms)
    disturbed = {c.kind for c in (*a.caveats, *b.caveats)} & DISTURBED

    def sampled(quantity: str, x: float, y: float, spans: _Spans, *, less: bool) -> Difference:
        found = _sampled(quantity, x, y, spans, drift, less_is_better=less)
        return replace(found, verdict="doubtful") if disturbed else found

    latencies = (a.median_interval_ms, b.median_interval_ms)
    throughputs = (a.throughput_interval, b.throughput_interval)
    peaks = (a.memory.peak_above_baseline, b.memory.peak_above_baseline)
    return Comparison(
        f"{a.model.name}, {a.settings()}",
        f"{b.model.name}, {b.settings()}",
        (
            sampled("latency_ms", a.median_ms, b.median_ms, latencies, less=True),
            sampled("throughput", a.throughput, b.throughput, throughputs, less=False),
            _single("peak_memory_bytes", *peaks, comparable=same_machine),
        ),
        (*conditions(unequal), *of_both(a, b)),
    )


def of_both(a: _Doubted, b: _Doubted) -> list[Caveat]:
    """Return the caveats of both records, each with the record's letter."""
    return [
        replace(caveat, message=f"{letter}: {caveat.message}")
        for letter, record in (("A", a), ("B", b))
        for caveat in record.caveats
    ]


def plan_differences(a: Plan, b: Plan) -> tuple[Difference, ...]:
    """Compare what the builder says of two plans in figures: all of them are exact.

    What neither plan tells is left out.
    """
    figures = [_plan_figures(p) for p in (a, b)]
    return tuple(
        _exact(quantity, x, figures[1][quantity])
        for quantity, x in figures[0].items()
        if x is not None or figures[1][quantity] is not None
    )


def _plan_figures(plan: Plan) -> dict[str, int | None]:
    memory = plan.memory or BuilderMemory()
    return {
        "plan_bytes": plan.plan_bytes,
        "layers": None if plan.layers is None else len(plan.layers),
        "streams": plan.streams,
        "activation_bytes": memory.activation,
        "scratch_bytes": memory.scratch,
        "weight_bytes": memory.weights,
    }


def unequal_models(a: ModelRef, b: ModelRef) -> list[str]:
    """Name both models unless they are variants (precisions) of one, as far as is known."""
    unknown = a.name == b.name and None in (a.hash, b.hash)
    if unknown or {a.hash, a.parent} & {b.hash, b.parent} - {None}:
        return []
    return [f"model ({a.name}, {b.name})"]


def _shapes(m: Measurement) -> str:
    return ", ".join(f"{name} {text_from_shape(shape)}" for name, shape in m.shapes.items())


def _length(m: Measurement) -> str:
    return "quick" if m.run.quick else "full"


def conditions(unequal: Sequence[str]) -> tuple[Caveat, ...]:
    """Return the caveat that names what is not the same; none if all is."""
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
    quantity: str, a: float, b: float, spans: _Spans, drift: float, *, less_is_better: bool
) -> Difference:
    a_interval, b_interval = spans
    if a_interval is None or b_interval is None or a_interval.low <= 0:
        return Difference(quantity, a, b, b / a, None, "unknown")
    ratio = Interval(
        b_interval.low / a_interval.high / drift, b_interval.high / a_interval.low * drift
    )
    verdict: Verdict = "not distinguishable"
    if ratio.high < 1 or ratio.low > 1:
        verdict = "better" if (ratio.high < 1) == less_is_better else "worse"
    return Difference(quantity, a, b, b / a, ratio, verdict)


def _exact(quantity: str, a: float | None, b: float | None) -> Difference:
    if not a or b is None:
        return Difference(quantity, a, b, None, None, "unknown")
    return Difference(quantity, a, b, b / a, None, "exact")


def _single(quantity: str, a: float | None, b: float | None, *, comparable: bool) -> Difference:
    """Compare two single readings: a ratio without an interval is no claim."""
    if not a or b is None or not comparable:
        return Difference(quantity, a, b, None, None, "unknown")
    return Difference(quantity, a, b, b / a, None, "no interval")
