"""The sentence below a chart: what it shows, claiming nothing inside the noise."""

from __future__ import annotations

from collections.abc import Sequence

from trtlab.analysis.compare import compare
from trtlab.record import Measurement
from trtlab.units import text_from_bytes, text_from_interval, text_from_ms, text_from_number


def latency_sentence(measurements: Sequence[Measurement]) -> str:
    """Return how latency grows from the smallest to the largest batch of one stream."""
    single = sorted(
        (m for m in measurements if m.run.streams == 1 and m.batch), key=lambda m: m.batch or 0
    )
    if len(single) < 2:
        return "One batch size was measured: a curve needs more."
    first, last = single[0], single[-1]
    factor = last.median_ms / first.median_ms
    items = (last.batch or 1) / (first.batch or 1)
    return (
        f"From batch {first.batch} to {last.batch} ({items:.3g} times the items) the median "
        f"latency goes from {text_from_ms(first.median_ms)} to {text_from_ms(last.median_ms)}: "
        f"{factor:.3g} times."
    )


def throughput_sentence(measurements: Sequence[Measurement]) -> str:
    """Return the highest throughput, and the lowest latency that is not distinguishably below it.

    A smaller batch that cannot be told from the best gives the same throughput sooner.
    """
    if not measurements:
        return "Nothing was measured."
    best = max(measurements, key=lambda m: m.throughput)
    words = (
        f"The highest throughput is {text_from_number(best.throughput)} inf/s "
        f"{text_from_interval(best.throughput_interval)} at {best.settings()}, with a median "
        f"latency of {text_from_ms(best.median_ms)}."
    )
    equal = [m for m in measurements if m.median_ms < best.median_ms and _as_fast(m, best)]
    if not equal:
        return words
    soonest = min(equal, key=lambda m: m.median_ms)
    return (
        f"{words} {soonest.settings().capitalize()} is not distinguishable in throughput and "
        f"answers in {text_from_ms(soonest.median_ms)}."
    )


def _as_fast(m: Measurement, best: Measurement) -> bool:
    if m.contents != best.contents:
        return False
    throughput = next(d for d in compare(best, m).differences if d.quantity == "throughput")
    return throughput.verdict in ("not distinguishable", "doubtful")


def memory_sentence(measurements: Sequence[Measurement]) -> str:
    """Return the smallest and largest peak, and which part grows."""
    known = [m for m in measurements if m.memory.peak_above_baseline is not None]
    if not known:
        return "Peak memory is n/a: only Linux reports it for a process."
    least = min(known, key=lambda m: m.memory.peak_above_baseline or 0)
    most = max(known, key=lambda m: m.memory.peak_above_baseline or 0)
    return (
        f"The peak above the empty process lies between "
        f"{text_from_bytes(least.memory.peak_above_baseline)} ({least.settings()}) and "
        f"{text_from_bytes(most.memory.peak_above_baseline)} ({most.settings()}); weights are "
        f"{text_from_bytes(most.memory.weights)}."
    )
