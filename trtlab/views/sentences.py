"""The sentence below a chart: what it shows, claiming nothing inside the noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trtlab.analysis.compare import compare
from trtlab.record import Difference, Measurement, WorkspaceCurve
from trtlab.units import text_from_bytes, text_from_interval, text_from_ms, text_from_number
from trtlab.views.series import labels, series_of


def workspace_sentence(curve: WorkspaceCurve) -> str:
    """Return what the limit did to this model, and what it did not."""
    if curve.smallest_bytes is None:
        return "No limit that was tried builds; only the builder's default does."
    smallest = text_from_bytes(curve.smallest_bytes)
    start = f"{smallest} is the smallest limit seen to build"
    if curve.failing_bytes is not None:
        start += f", {text_from_bytes(curve.failing_bytes)} fails"
    same = "All limits that build give the same layers and memory: here the limit "
    same += "decides whether it builds, not what comes out. It is no cap on the activations."
    several = f"The limits that build give {curve.engines} different engines."
    return f"{start}. {same if curve.engines == 1 else several}"


def latency_sentence(measurements: Sequence[Measurement]) -> str:
    """Return how latency grows along one line: of one stream and the most batch sizes."""
    without = sum(m.batch is None for m in measurements)
    points = "1 point without a batch axis is"
    if without > 1:
        points = f"{without} points without a batch axis are"
    note = f" {points} in the table only." if without else ""
    lines = series_of([m for m in measurements if m.batch is not None])
    line = max(
        lines, key=lambda s: (len(lines[s]) > 1, s.streams == 1, len(lines[s])), default=None
    )
    if line is None or len(lines[line]) < 2:
        return f"A curve needs more than one batch size.{note}"
    first, last = lines[line][0], lines[line][-1]
    items = (last.batch or 1) / (first.batch or 1)
    start = f"{labels(lines)[line]}: in" if len(lines) > 1 else "In"
    return (
        f"{start} the median, batch {first.batch} takes {text_from_ms(first.median_ms)} and batch "
        f"{last.batch} ({items:.3g} times the items) {text_from_ms(last.median_ms)}: "
        f"{_factor(_difference(first, last, 'latency_ms'))}.{note}"
    )


def _factor(d: Difference) -> str:
    if d.verdict in ("better", "worse"):
        return f"{text_from_number(d.ratio)} times {text_from_interval(d.interval)}"
    if d.verdict == "doubtful":
        return "a run was disturbed, so no factor is given"
    if d.verdict == "not distinguishable":
        return "not distinguishable"
    return "too few samples for a factor"


def throughput_sentence(measurements: Sequence[Measurement]) -> str:
    """Return the highest throughput, and the lowest latency that is not distinguishably below it.

    A smaller batch that cannot be told from the best gives the same throughput sooner.
    """
    if not measurements:
        return "Nothing was measured."
    place = _places(measurements)
    best = max(measurements, key=lambda m: m.throughput)
    words = (
        f"The highest throughput is {text_from_number(best.throughput)} inf/s "
        f"{text_from_interval(best.throughput_interval)} at {place(best)}, with a median "
        f"latency of {text_from_ms(best.median_ms)}."
    )
    equal = [m for m in measurements if _as_fast_and_sooner(m, best)]
    if not equal:
        return words
    soonest = min(equal, key=lambda m: m.median_ms)
    at = place(soonest)
    return (
        f"{words} {at[0].upper()}{at[1:]} is not distinguishable in throughput and "
        f"answers in {text_from_ms(soonest.median_ms)}."
    )


def _as_fast_and_sooner(m: Measurement, best: Measurement) -> bool:
    return (
        m.contents == best.contents
        and _difference(best, m, "throughput").verdict == "not distinguishable"
        and _difference(best, m, "latency_ms").verdict == "better"
    )


def _difference(a: Measurement, b: Measurement, quantity: str) -> Difference:
    return next(d for d in compare(a, b).differences if d.quantity == quantity)


def memory_sentence(measurements: Sequence[Measurement]) -> str:
    """Return the smallest and the largest peak as they were read: single readings, no claim."""
    known = [m for m in measurements if m.memory.peak_above_baseline is not None]
    if not known:
        return "Peak memory is n/a: only Linux reports it for a process."
    place = _places(measurements)

    def reading(m: Measurement) -> str:
        return f"{text_from_bytes(m.memory.peak_above_baseline)} ({place(m)})"

    least = min(known, key=lambda m: m.memory.peak_above_baseline or 0)
    most = max(known, key=lambda m: m.memory.peak_above_baseline or 0)
    words = f"The peak above the empty process reads {reading(least)}"
    words += "" if least is most else f" at the least and {reading(most)} at the most"
    weights = {m.memory.weights for m in known}
    if len(weights) == 1 and None not in weights:
        words += f"; weights are {text_from_bytes(weights.pop())}"
    return f"{words}."


def _places(measurements: Sequence[Measurement]) -> Callable[[Measurement], str]:
    """Return how to name a point: by its settings, or by its line if there are several."""
    lines = series_of(measurements)
    if len(lines) == 1:
        return Measurement.settings
    named = labels(lines)
    places = {
        id(m): named[line] + (f", batch {m.batch}" if m.batch else "")
        for line, points in lines.items()
        for m in points
    }
    return lambda m: places[id(m)]
