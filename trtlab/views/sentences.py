"""The sentence below a chart: what it shows, claiming nothing inside the noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from trtlab.analysis.compare import compare
from trtlab.analysis.regions import opaque_regions
from trtlab.analysis.shares import (
    ADDED,
    Amounts,
    Measure,
    Tree,
    amounts,
    best_measure,
    by_block,
    by_type,
    converting_layers,
    data_layers,
    precision_shares,
    share,
    transitions,
)
from trtlab.model.printing import printable
from trtlab.record import (
    CHANGED,
    TIME_WORDS,
    Difference,
    EngineComparison,
    Fusion,
    HostMemory,
    Match,
    Measurement,
    WorkspaceCurve,
)
from trtlab.units import (
    N_A,
    text_from_bytes,
    text_from_count,
    text_from_interval,
    text_from_ms,
    text_from_number,
)
from trtlab.views.graph.colour_by import precision_name, share_text, time_reason
from trtlab.views.graph.labels import middle_cut
from trtlab.views.series import labels, series_of
from trtlab.views.theme import Provenance


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
        recorded = any(m.memory != HostMemory() for m in measurements)
        reason = "only Linux reports it for a process" if recorded else "it was not recorded"
        return f"Peak memory is n/a: {reason}."
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


def engines_sentence(comparison: EngineComparison) -> str:
    """Return where the difference between two engines comes from."""
    if not comparison.matches:
        return "The layers are not known on both sides: no difference can be attributed."
    changed = sum(m.kind in CHANGED for m in comparison.matches)
    own = sum(m.kind != "no node" for m in comparison.matches)
    by_node = comparison.aligned == "by ONNX node"
    structure = f"{changed} of {own} sets of nodes lie in other layers."
    if not by_node:
        structure = f"{changed} of {own} sets of layers are not alike."
    if typed := sum(m.precision_changed for m in comparison.matches):
        structure += f" The data type changes in {typed}."
    total = comparison.total
    if total.difference_ms is None:
        return (
            f"{structure} Where time is gained is n/a: times of both engines' layers are needed."
        )
    start = f"{structure} Sum of layer times {total.text()}."
    if total.interval is None:
        few = "Without samples of several runs it is not known which of these are real."
        return f"{start} {_largest(comparison, comparison.ranked)} {few}"
    real = [m for m in comparison.ranked if m.time.verdict in ("better", "worse")]
    if real:
        return f"{start} {_largest(comparison, real)}"
    return f"{start} No set differs by more than equal runs do."


def _largest(comparison: EngineComparison, ranked: Sequence[Match], most: int = 3) -> str:
    """Name the sets that give most of a difference, then those that go most the other way."""
    total_ms = comparison.total.difference_ms or 0
    parts = []
    for faster in (total_ms < 0, total_ms >= 0):
        several = [m for m in ranked if m.time.difference_ms
                   and (m.time.difference_ms < 0) == faster][:most]  # fmt: skip
        said = ", ".join(f"{m.tag} ({comparison.name_of(m)}) {_signed_ms(m)}" for m in several)
        if said:
            parts.append(f"B {'gains' if faster else 'loses'} most in {said}.")
    return " ".join(parts) or "No set differs."


def _signed_ms(match: Match) -> str:
    return replace(match.time, interval=None).change_text()


_NO_DATA = "No layer of the plan handles data."
NOT_SAID = "not said"
"""What stands for a data type or layer type that the builder does not tell."""


def counted(number: int, what: str) -> str:
    """``1 layer``, ``1,200 layers``."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def amount_text(measure: Measure, value: float | None) -> str:
    """Print a time, a number of operations or of bytes."""
    if measure == "time":
        return text_from_ms(value)
    return text_from_count(value, "FLOP") if measure == "flops" else text_from_bytes(value)


def measure_words(measure: Measure) -> str:
    """Name what is summed up; the sum of layer times is no latency."""
    return {"time": "layer times", "flops": "FLOP", "bytes": "bytes"}[measure]


def time_words(fusion: Fusion) -> str:
    """Name the kind of its layer times: ``GPU time``."""
    return TIME_WORDS[fusion.time_kind] if fusion.time_kind else "time"


def measure_origin(fusion: Fusion, measure: Measure) -> Provenance:
    """Return where such numbers of a fusion come from."""
    if measure != "time":
        return "estimated"
    return "recorded" if fusion.time_source == "recorded" else "measured"


def whole_text(fusion: Fusion, measure: Measure) -> str:
    """Print the sum over all layers, what it is of, and where it comes from."""
    whole = amounts(fusion, range(len(fusion.layers)))
    value = amount_text(measure, whole.of(measure).value)
    if measure == "time":
        origin = f"{time_words(fusion)}, {measure_origin(fusion, measure)}"
        runs = f"{fusion.runs:,}" if fusion.runs else N_A
        return f"sum of layer times, {value} ({origin}, n {runs}; no latency)"
    at = "".join(f", {name} = {size}" for name, size in fusion.sizes.items())
    what = "FLOP" if measure == "flops" else "bytes read and written"
    return f"{what}, {value} (estimated{at})"


def types_sentence(fusion: Fusion) -> str:
    """Return which type of layer takes the most."""
    return _heaviest(fusion, by_type(fusion), "Layers of the type")


def blocks_sentence(fusion: Fusion) -> str:
    """Return which block of the model takes the most; in a single block, which of its parts."""
    tree = by_block(fusion)
    blocks = tuple(block for block in tree.inside if block.name != ADDED)
    if fusion.layers and not blocks:
        return "The names of the nodes tell of no blocks."
    while len(blocks) == 1 and not blocks[0].layers:
        around = blocks[0].name
        blocks = tuple(replace(b, name=f"{around}/{b.name}") for b in blocks[0].inside)
    return _heaviest(fusion, replace(tree, inside=blocks), "The layers of")


def _heaviest(fusion: Fusion, tree: Tree, start: str) -> str:
    if not fusion.layers:
        return "The plan has no layers."
    if not tree.inside:
        return "The builder does not say the types of the layers."
    measure = best_measure(fusion)
    untimed = "" if measure == "time" else f" Layer times are {time_reason(fusion)}."
    parts = [(part.name, amounts(fusion, part.every())) for part in tree.inside]
    if measure is None:
        name, found = max(parts, key=lambda part: len(part[1].layers))
        most = f"{start} {_cut(name)} are the most: {len(found.layers)} of {len(fusion.layers)}"
        return f"{most} (builder).{untimed}"
    whole = amounts(fusion, range(len(fusion.layers)))
    shares = [(share(found.of(measure), whole.of(measure)) or 0.0, name) for name, found in parts]
    largest, name = max(shares, key=lambda pair: pair[0])
    alike = sum(share_text(other) == share_text(largest) for other, _ in shares) - 1
    layers = f"{len(dict(parts)[name].layers)} of {counted(len(fusion.layers), 'layer')}"
    note = f", as of {counted(alike, 'other')}," if alike else f" ({layers})"
    part = f"{share_text(largest)} of the {whole_text(fusion, measure)}"
    return f"{start} {_cut(name)}{note} have {part}.{untimed}"


def precision_sentence(fusion: Fusion) -> str:
    """Return which data types the layers read, and what share of the work that is."""
    shares = precision_shares(fusion)
    if not shares:
        return _NO_DATA
    whole = amounts(fusion, data_layers(fusion))
    start = f"Layers that handle data: {len(whole.layers):,}"
    if all(one.dtype is None for one in shares):
        return f"{start}. The builder does not say which data types they read."
    measures: tuple[Measure, ...] = ("time", "flops", "bytes")
    measure = next((m for m in measures if whole.stands_for_all(m)), None)
    parts: list[str] = []
    for one in shares:
        what = "of which it is not said"
        if one.dtype is not None:
            what = f"with {precision_name(one.dtype)}" + ("" if parts else " as their first input")
        words = f"{len(one.amounts.layers):,} {what}"
        if measure is not None:
            words += f" ({share_text(share(one.amounts.of(measure), whole.of(measure)))})"
        parts.append(words)
    text = f"{start}, of these {', '.join(parts)}. Types are the builder's"
    if measure is None:
        return f"{text}."
    of = f"{measure_words(measure)} ({measure_origin(fusion, measure)})"
    return f"{text}, shares are of the {of}."


def transitions_sentence(fusion: Fusion) -> str:
    """Return how many layers only convert data, what that takes, and where the most."""
    total = len(data_layers(fusion))
    if not total:
        return _NO_DATA
    found = amounts(fusion, converting_layers(fusion))
    start = f"Layers that only convert data: {len(found.layers) or 'none'} of {total:,}."
    if not found.layers:
        return start
    measures: tuple[Measure, ...] = ("time", "bytes")
    measure = next((m for m in measures if found.stands_for_all(m)), None)
    if measure is None:
        return f"{start} What that takes is {N_A}: not timed, and shapes are not known."
    converting = [one for one in transitions(fusion) if one.converting.layers]
    most = max(converting, key=lambda one: one.converting.of(measure).value or 0.0)
    types = [NOT_SAID if t is None else precision_name(t) for t in (most.source, most.target)]
    where = " → ".join(types) + (", the format only" if most.source == most.target else "")
    where = "types that are not said" if most.source is most.target is None else where
    taken = f"{start} That takes {_taken(fusion, found, measure)}"
    if len(converting) == 1:
        return f"{taken}, all of it from {where}."
    value = amount_text(measure, most.converting.of(measure).value)
    layers = counted(len(most.converting.layers), "layer")
    return f"{taken}, most of it from {where} ({layers}, {value})."


def _taken(fusion: Fusion, found: Amounts, measure: Measure) -> str:
    whole = amounts(fusion, range(len(fusion.layers)))
    part = share_text(share(found.of(measure), whole.of(measure)))
    value = amount_text(measure, found.of(measure).value)
    noun = "sum of layer times" if measure == "time" else "bytes that layers read and write"
    return f"{value}, {part} of the {noun} ({measure_origin(fusion, measure)})"


def regions_sentence(fusion: Fusion) -> str:
    """Return what the opaque regions hold, and how their time is divided."""
    regions = opaque_regions(fusion)
    if not regions:
        return "The plan has no opaque region."
    held = sum(len(region.nodes) for region in regions)
    whole = amounts(fusion, [region.layer for region in regions])
    taken = f"They were not timed: {time_reason(fusion)}."
    if whole.time_ms.value is not None:
        taken = f"They take {_taken(fusion, whole, 'time')}."
    rule = "A node's share of that is estimated: the larger of its shares of FLOP and of bytes."
    unknown = sum(node.time_share is None for region in regions for node in region.nodes)
    if unknown:
        rule = f"No time is divided among {unknown} of the nodes: some of their costs are unknown."
    inside = f"{held} of {counted(len(fusion.fates), 'node')} inside"
    return f"{counted(len(regions), 'opaque region')}: {inside}. {taken} {rule}"


def _cut(name: str, most: int = 60) -> str:
    return printable(middle_cut(name, most))


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
