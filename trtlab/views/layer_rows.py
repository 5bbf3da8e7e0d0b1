"""Rows of the Layers table: an engine's layers beside the time of the same ONNX nodes.

Where the engine did not run, another plan of the same model did: its layer times are brought to
the engine's layers by the nodes that both hold, and are divided nowhere. All times are sums of
layer times from profiled runs, never a latency.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trtlab import stats
from trtlab.analysis.compare import RUN_TO_RUN, RUN_TO_RUN_MS
from trtlab.analysis.engines.align import align
from trtlab.analysis.engines.layer_times import LayerTimes, times_of
from trtlab.analysis.shares import Measure
from trtlab.model.types import Node
from trtlab.record import EngineLayer, Fusion, Group, LayerProfile, Match, Measurement, TimeKind
from trtlab.stats import Interval
from trtlab.units import N_A, text_from_number
from trtlab.views.graph.colour_by import share_text
from trtlab.views.graph.labels import common_start, data_format, node_title, title_inside

MOST_ROWS = 200
"""Rows that a table shows unless all are asked for: a page stays quick with these."""

STEP_MS: Mapping[TimeKind, float] = {"cpu": 0.001}
"""Smallest step of a layer time: ONNX Runtime's profile tells whole microseconds."""

NO_NODE = "no node"
"""Why a layer that the builder added has no time of its nodes."""

_MOST_NAMES = 6
_SHORT = {"QuantizeLinear": "Q", "DequantizeLinear": "DQ"}


class Stat(NamedTuple):
    """Milliseconds, the median over the runs, with their 95 % interval if it is known."""

    ms: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class NodeTime:
    """Time of a layer's nodes.

    Attributes:
        stat: Sum of the times of the layers that held these nodes when they ran.
        layers: Numbers of the layers it is of: several where the plan that ran does not cut
            between them. Nobody knows what each of them has of it.
        more: Nodes in it that the engine does not run.
    """

    stat: Stat
    layers: tuple[int, ...]
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer of the engine.

    Attributes:
        number: Its place in the plan, from 0.
        key: Its name as ``GraphView.selected`` has it: ``layer:NAME``, ``layer:NAME#2``.
        time: Of its nodes; None where ``reason`` says why.
    """

    number: int
    key: str
    layer: EngineLayer
    group: Group
    time: NodeTime | None
    reason: str = ""

    def weight(self, measure: Measure) -> float | None:
        """Return its time in ms, FLOP or bytes; None if not known. A shared time counts whole."""
        if measure == "time":
            return None if self.time is None else self.time.stat.ms
        return self.group.flops if measure == "flops" else self.group.bytes

    def is_named(self, selected: str) -> bool:
        """Whether this layer, or a node in it, is what ``State.layer`` names."""
        kind, _, name = selected.partition(":")
        return selected == self.key or (kind == "node" and name in self.group.nodes)


@dataclass(frozen=True, slots=True)
class LayerRows:
    """All layers of an engine.

    Attributes:
        kind: What the times are; None where nothing was timed.
        runs: Profiled runs behind them; None if not said.
        of_nodes: Whether another plan ran, and the times are of the same nodes in that one.
        elsewhere: Time of the layers of that plan that hold none of the engine's nodes.
        unnamed: Time of the layers of that plan that compute something for which no node is
            named: nobody knows of which rows it is.
    """

    rows: tuple[LayerRow, ...]
    kind: TimeKind | None = None
    runs: int | None = 0
    of_nodes: bool = False
    elsewhere: Stat | None = None
    unnamed: Stat | None = None


def layer_rows(
    fusion: Fusion, profile: LayerProfile | None = None, ran: Fusion | None = None
) -> LayerRows:
    """Return a row for each layer of a plan.

    Args:
        fusion: The engine whose layers they are.
        profile: Layer times of that plan; of the plan of ``ran`` where there is one.
        ran: The same model in the plan that ran, where that is another one.

    Raises:
        MismatchError: the profile is of another plan, or the two cannot be aligned.
    """
    if ran is None:
        times = times_of(fusion, profile)
        each = (_Part((n,), (n,)) for n in range(len(fusion.layers)))
        return LayerRows(_rows(fusion, times, each), times.kind, times.runs)
    times, aligned = times_of(ran, profile), align(ran, fusion)
    if aligned.aligned != "by ONNX node":
        why = "the nodes of the two plans have too few names in common"
        rows = _rows(fusion, times, (), why)
        return LayerRows(rows, None, times.runs, of_nodes=True)
    parts = [_part(m) for m in aligned.matches if m.layers_b and m.kind != "no node"]
    apart = [m for m in aligned.matches if not m.layers_b or m.kind == "no node"]
    elsewhere, unnamed = (
        _stat(times, [n for m in apart if (m.family == "not named") == is_it for n in m.layers_a])
        for is_it in (False, True)
    )
    return LayerRows(
        _rows(fusion, times, parts),
        times.kind,
        times.runs,
        of_nodes=True,
        elsewhere=elsewhere if elsewhere and elsewhere.ms else None,
        unnamed=unnamed if unnamed and unnamed.ms else None,
    )


class _Part(NamedTuple):
    """Layers of the plan that was timed, and those of the engine that hold the same nodes."""

    timed: tuple[int, ...]
    layers: tuple[int, ...]
    more: tuple[str, ...] = ()


def _part(match: Match) -> _Part:
    return _Part(match.layers_a, match.layers_b, tuple(match.only_a))


def _rows(
    fusion: Fusion, times: LayerTimes, parts: Iterable[_Part], why: str = ""
) -> tuple[LayerRow, ...]:
    found: dict[int, NodeTime] = {}
    reasons: dict[int, str] = {}
    for part in parts:
        stat = _stat(times, part.timed) if part.timed else None
        untimed = "not profiled" if times.kind is None else "not in the profile"
        for number in part.layers:
            if stat is not None:
                found[number] = NodeTime(stat, part.layers, part.more)
            else:
                absent = "the plan that ran has no layer for its nodes"
                reasons[number] = untimed if part.timed else absent
    copies: dict[str, int] = {}
    rows = []
    for n, (layer, group) in enumerate(zip(fusion.layers, fusion.groups, strict=True)):
        copy = copies[layer.name] = copies.get(layer.name, 0) + 1
        key = f"layer:{layer.name}" + (f"#{copy}" if copy > 1 else "")
        reason = "" if n in found else reasons.get(n, why if group.nodes and why else NO_NODE)
        rows.append(LayerRow(n, key, layer, group, found.get(n), reason))
    return tuple(rows)


def _stat(times: LayerTimes, layers: Sequence[int]) -> Stat | None:
    """Return the sum of some layers' times; the profiler's step widens its interval."""
    ms, interval = times.of(layers)
    if ms is None:
        return None
    step = STEP_MS.get(times.kind, 0.0) / 2 * len(layers) if times.kind else 0.0
    if interval is not None:
        interval = Interval(max(0.0, interval.low - step), interval.high + step)
    return Stat(ms, interval)


def heaviest(
    rows: Sequence[LayerRow], measure: Measure, most: int = MOST_ROWS, selected: str = ""
) -> tuple[LayerRow, ...]:
    """Return the heaviest rows in their order in the plan, and with them what is selected.

    Where nothing is known by that measure, those by bytes, else the first ones.
    """
    if len(rows) <= most:
        return tuple(rows)
    by = measure if any(row.weight(measure) for row in rows) else "bytes"
    ranked = sorted(rows, key=lambda row: -(row.weight(by) or 0.0))
    kept = {row.number for row in ranked[:most]}
    return tuple(row for row in rows if row.number in kept or row.is_named(selected))


# Words


def time_unit(rows: Iterable[LayerRow]) -> tuple[float, str]:
    """Return the factor and unit of a column of times: microseconds if all are below 0.1 ms."""
    largest = max((row.time.stat.ms for row in rows if row.time), default=1.0)
    return (1e3, "µs") if largest < 0.1 else (1.0, "ms")


def around_text(stat: Stat, factor: float = 1.0) -> tuple[str, str]:
    """Print a median and how sure it is: ``4.86`` and ``±0.09``.

    No digit is finer than the interval allows. ``[4.8, 5.6]`` stands for the half where one half
    is more than twice the other.
    """
    value = stat.ms * factor
    if stat.interval is None:
        return text_from_number(value), ""
    low, high = (end * factor for end in stat.interval)
    half = max(high - value, value - low)
    places = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 2
    if half > 0:
        places = max(0, min(places, -math.floor(math.log10(half))))
    text = f"{value:,.{places}f}"
    if max(high - value, value - low) > 2 * max(min(high - value, value - low), 10**-places / 2):
        return text, f"[{low:,.{places}f}, {high:,.{places}f}]"
    shown = f"{half:,.{places}f}"
    return text, f"±{shown}" if float(shown.replace(",", "")) else f"±< {10**-places:.{places}f}"


def made_from(row: LayerRow, nodes: Mapping[str, Node]) -> str:
    """Say in short what a layer was made from: ``stem: conv · norm · relu``, or what it adds."""
    group = row.group
    held = [nodes[name] for name in group.nodes if name in nodes]
    if not held:
        if group.family == "not named":
            return "no node is named"
        ends = [row.layer.inputs, row.layer.outputs]
        formats = [data_format(side[0].format) for side in ends if side]
        if len(formats) == 2 and all(formats) and formats[0] != formats[1]:
            return f"added: {formats[0]} → {formats[1]}"
        return f"added: {', '.join(group.patterns) or group.family}"
    if len(held) == 1:
        return node_title(held[0]) or held[0].op
    common = common_start(held)
    names = [
        _SHORT.get(node.op) or title_inside(node, common) or node.op for node in held[:_MOST_NAMES]
    ]
    more = f" and {len(held) - _MOST_NAMES} more" if len(held) > _MOST_NAMES else ""
    place = common.strip("/._:")
    return (f"{place}: " if place else "") + " · ".join(names) + more


def rows_sentence(found: LayerRows, measure: Measure, origin: str) -> str:
    """Say how much of the time (or of the estimate) the heaviest three layers have together.

    What several layers have together counts once, and no layer is called heavier than another.
    """
    names = {"time": "layer times", "flops": "FLOP", "bytes": "bytes read and written"}
    sums: dict[tuple[int, ...], float] = {}
    for row in found.rows:
        value = row.weight(measure)
        if value is not None:
            of = row.time.layers if measure == "time" and row.time else (row.number,)
            sums[of] = value
    rest = [stat.ms for stat in (found.elsewhere, found.unnamed) if stat and measure == "time"]
    whole = math.fsum([*sums.values(), *rest])
    if not whole:
        return f"Where the {names[measure]} go is {N_A}: nothing is known of any layer."
    top = sorted(sums, key=lambda of: -sums[of])[:3]
    part = math.fsum(sums[of] for of in top) / whole
    said = ", ".join(" with ".join(f"#{n + 1}" for n in of) for of in sorted(top))
    have = f"Layers {said} have" if len(sums) > 1 else f"Layer {said} has"
    runs = f", n {found.runs or N_A}" if measure == "time" else ""
    return f"{have} {share_text(part)} of the sum of {names[measure]} ({origin}{runs})."


# From the sum of layers to the latency


@dataclass(frozen=True, slots=True)
class Steps:
    """What lies between the sum of layer times and the latency.

    Attributes:
        total: Sum of the layer times in one profiled run.
        between: Of a profiled run outside its layers; None where ``overlap`` or not known.
        profiled: A whole profiled run; None where these were not recorded.
        latency: Median of the runs without profiler; None where nothing was measured.
        cost: A profiled run minus the latency, its interval widened by the drift between equal
            runs; None where the two ran under other conditions.
        why_no_cost: Those conditions.
        overlap: Whether layers overlap: their times then add up to more than the run.
    """

    total: Stat
    between: Stat | None
    profiled: Stat | None
    latency: Stat | None
    cost: Stat | None
    why_no_cost: str = ""
    overlap: bool = False

    @property
    def cost_is_real(self) -> bool:
        """Whether the interval of the cost does not hold 0."""
        around = self.cost.interval if self.cost else None
        return around is not None and (around.low > 0 or around.high < 0)


def steps(profile: LayerProfile, measurement: Measurement | None) -> Steps:
    """Return the steps from the sum of layer times to the latency of the same plan."""
    m = measurement
    latency = Stat(m.median_ms, m.median_interval_ms) if m else None
    if profile.runs_ns is None:
        total = Stat(math.fsum(layer.average_ms for layer in profile.layers), None)
        return Steps(total, None, None, latency, None, "the profile has no whole runs")
    runs = [ns / 1e6 for ns in profile.runs_ns]
    samples = [layer.samples_ns or () for layer in profile.layers]
    sums = [math.fsum(layer[n] for layer in samples) / 1e6 for n in range(len(runs))]
    total, profiled = _median(sums), _median(runs)
    between = _median([run - part for run, part in zip(runs, sums, strict=True)])
    overlap = between.ms < 0
    why = _why_no_cost(profile, m)
    cost = None if why or latency is None else _cost(profiled, latency)
    return Steps(total, None if overlap else between, profiled, latency, cost, why, overlap)


def _median(samples: Sequence[float]) -> Stat:
    return Stat(stats.median(samples), stats.median_interval(samples))


def _why_no_cost(profile: LayerProfile, measurement: Measurement | None) -> str:
    if measurement is None:
        return "no latency was measured"
    if measurement.run.streams > 1:
        return f"the latency is of {measurement.run.streams} streams at once, the profile of one"
    if measurement.batch != profile.batch:
        return f"the profile is of batch {profile.batch}, the latency of {measurement.batch}"
    return ""


def _cost(profiled: Stat, latency: Stat) -> Stat:
    change = profiled.ms - latency.ms
    if profiled.interval is None or latency.interval is None:
        return Stat(change, None)
    drift = (RUN_TO_RUN - 1) * min(profiled.ms, latency.ms) + RUN_TO_RUN_MS
    low = profiled.interval.low - latency.interval.high - drift
    return Stat(change, Interval(low, profiled.interval.high - latency.interval.low + drift))
