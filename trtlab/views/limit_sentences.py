"""What a latency limit allows, in words: claims only where an interval allows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from trtlab.analysis.compare import DISTURBED
from trtlab.analysis.latency_limit import Within, flat_part, within
from trtlab.record import Measurement
from trtlab.stats import SAMPLES_NEEDED
from trtlab.units import text_from_interval, text_from_ms, text_from_number
from trtlab.views.sentences import throughput_sentence
from trtlab.views.series import Series, labels, series_of

_MOST_LINES = 3


def limit_sentence(
    measurements: Sequence[Measurement], limit_ms: float | None, percent: int = 50
) -> str:
    """Return the best point within a latency limit, and from which batch on little is gained.

    Args:
        measurements: Points whose latencies contain the same.
        limit_ms: The limit; None asks for the highest throughput of all.
        percent: The percentile that must keep the limit.
    """
    lines = series_of(measurements)
    place = _places(lines)
    if limit_ms is None:
        best = max(measurements, key=lambda m: m.throughput, default=None)
        return " ".join([throughput_sentence(measurements), *_flat(lines, best)])
    found = within(measurements, limit_ms, percent)
    limit = f"{limit_ms:.4g} ms (p{percent})"
    if found.best is None:
        known = [(m.percentile_ms(percent), m) for m in found.beyond]
        soonest = min(((ms, m) for ms, m in known if ms is not None), key=lambda p: p[0],
                      default=None)  # fmt: skip
        if soonest is None:
            return (
                f"No point has samples enough for a p{percent}, so no limit on it can be judged."
            )
        return (
            f"No point keeps {limit}; the soonest is {place(soonest[1])} with "
            f"{text_from_ms(soonest[0])}."
        )
    best = found.best
    parts = [
        f"Within {limit} the best point is {place(best)}: {text_from_number(best.throughput)} "
        f"inf/s {text_from_interval(best.throughput_interval)}."
    ]
    if found.certain is False:
        parts.append("Its interval reaches beyond the limit: it may not keep it.")
    if {caveat.kind for caveat in best.caveats} & DISTURBED:
        parts.append("It is doubtful: that run was disturbed.")
    parts += _equal(found, best, place, percent)
    parts += _only_up_to(found, lines)
    return " ".join([*parts, *_flat(lines, best)])


def _equal(
    found: Within, best: Measurement, place: Callable[[Measurement], str], percent: int
) -> list[str]:
    """Name the soonest of those that are not distinguishable from the best in throughput."""
    times = [(m.percentile_ms(percent) or math.inf, m) for m in (best, *found.equal)]
    ms, soonest = min(times, key=lambda pair: pair[0])
    if soonest is best:
        return []
    return [
        f"{place(soonest)} is not distinguishable from it in throughput, at {text_from_ms(ms)}."
    ]


def _only_up_to(found: Within, lines: Mapping[Series, Sequence[Measurement]]) -> list[str]:
    """Say of each line that does not fit as a whole which of its batches do."""
    names = labels(lines)
    said = []
    for line, points in lines.items():
        fits = [m.batch for m in points if _among(m, found.allowed) and m.batch]
        over = [m.batch for m in points if _among(m, found.beyond) and m.batch]
        if not over:
            continue
        if not fits:
            said.append(f"{names[line]} fits at no batch that was measured.")
        elif max(fits) < min(over):
            said.append(f"{names[line]} fits only up to batch {max(fits)}.")
        else:
            said.append(f"{names[line]} fits at batch {', '.join(map(str, fits))} alone.")
    more = len(said) - _MOST_LINES
    return said[:_MOST_LINES] + [f"{more} more lines do not fit as a whole."] * (more > 0)


def _among(m: Measurement, several: Sequence[Measurement]) -> bool:
    return any(m is one for one in several)


def _flat(lines: Mapping[Series, Sequence[Measurement]], best: Measurement | None) -> list[str]:
    """Say from which batch on the best point's line gains little."""
    line = next((points for points in lines.values() if best and _among(best, points)), ())
    found = flat_part(line)
    if found is None:
        return []
    start = f"From batch {found.start.batch} to {found.end.batch} throughput"
    if found.gain <= 0:
        return [f"{start} falls."]
    return [f"{start} gains less than {math.ceil(100 * found.gain)} % per doubling."]


def too_few_sentence(measurements: Sequence[Measurement], percent: int) -> str:
    """Name the points that have too few samples for a percentile; "" where none has."""
    place = _places(series_of(measurements))
    few = [m for m in measurements if m.percentile_ms(percent) is None]
    if not few:
        return ""
    named = ", ".join(f"{place(m)} (n {m.n:,})" for m in few)
    return f"p{percent} is n/a for {named}: it needs n ≥ {SAMPLES_NEEDED[percent]}."


def _places(
    lines: Mapping[Series, Sequence[Measurement]],
) -> Callable[[Measurement], str]:
    names = labels(lines)
    places = {
        id(m): names[line] + (f", batch {m.batch}" if m.batch else "")
        for line, points in lines.items()
        for m in points
    }
    return lambda m: places[id(m)]
