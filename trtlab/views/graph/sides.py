"""The graph and the engine on common ranks, so that a layer stands at the height of its nodes.

Ranks come from the wires of both sides together; on each side the boxes get an order and an x of
their own. Inside a group its nodes are laid out the same way.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from trtlab.record import Fusion
from trtlab.views.graph.boxes import Box, Boxes, Wire, boxes_of
from trtlab.views.graph.layout import Extents, Link, Rows, order, place, rank_boxes

NODE_PX = 22.0
PITCH_PX = 28.0
"""Height of a node in a group, and from one to the next."""
HEAD_PX = 24.0
SINGLE_PX = 28.0
PILL_PX = 24.0
"""Heights of a group's title, of a group of one node, and of a layer without nodes."""
JOIN_PX = 6.0
"""Size of the point where slices of a tensor come together."""
PASSING = -1.0
"""Instead of a height: the line runs straight through the whole rank."""

_BEFORE_WIDTHS = (176.0, 164.0, 138.0, 116.0)
_AFTER_WIDTHS = (212.0, 184.0, 152.0, 130.0)
"""Of a box, for one, two, three and more side by side."""
_BORDER_PX = 8.0

Point = tuple[float, int, float]
"""x, rank, and pixels below the top of the rank or ``PASSING``."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a box stands on one side: its x and how far it reaches from there."""

    x: float
    left: float
    right: float


@dataclass(slots=True)
class Side:
    """One side.

    Attributes:
        spots: By box.
        wires: Each with its path in ``paths``, from its source to its target.
        spread: For each rank how far sideways a line goes in the gap above it, at most.
    """

    spots: dict[int, Spot]
    wires: list[Wire]
    paths: list[list[Point]]
    spread: dict[int, float]


@dataclass(slots=True)
class Sides:
    """Both sides with what they share.

    Attributes:
        ranks: Of every box.
        tops: Of every box, pixels below the top of its rank.
        heights: Of every box.
        rank_heights: Of every rank.
        nodes: For each node in a group its x, pixels below the top of its rank, half its width.
    """

    made: Boxes
    ranks: list[int]
    tops: list[float]
    heights: list[float]
    rank_heights: list[float]
    before: Side
    after: Side
    nodes: dict[int, tuple[float, float, float]]


@dataclass(slots=True)
class _Group:
    """The nodes of a box with their places; links and ranks go by these.

    Attributes:
        depth: How many ranks there are.
        single: Ranks of one node.
    """

    nodes: dict[int, int]
    wires: list[Wire]
    links: list[Link]
    ranks: list[int]
    depth: int
    single: set[int]

    def of(self, node: int) -> int:
        """Rank of a node."""
        return self.ranks[self.nodes[node]]

    def only(self, node: int, rank: int) -> bool:
        """Whether a node stands alone on a rank: no line need show which one it leads to."""
        return self.of(node) == rank and rank in self.single


@dataclass(slots=True)
class _Inside:
    """The inside of a box, in pixels from its x.

    Attributes:
        x: Of its nodes.
        half: Half the width of a node.
        ports: Where a wire goes through the border; 0 where nothing is said.
        bends: On its way between node and border, or node and node: x and rank in the group.
    """

    left: float
    right: float
    x: list[float]
    half: float = 0.0
    ports: dict[Hashable, float] = field(default_factory=dict)
    bends: dict[Hashable, list[tuple[float, int]]] = field(default_factory=dict)


def arrange(fusion: Fusion) -> Sides:
    """Give everything its place."""
    made = boxes_of(fusion)
    boxes = made.boxes
    ranks = _ranks(made)
    groups = _groups(made)
    heights = [_height(box, groups.get(number)) for number, box in enumerate(boxes)]
    rank_heights = [0.0] * (max(ranks, default=-1) + 1)
    for rank, height in zip(ranks, heights, strict=True):
        rank_heights[rank] = max(rank_heights[rank], height)
    tops = [(rank_heights[r] - h) / 2 for r, h in zip(ranks, heights, strict=True)]
    left = [n for n, box in enumerate(boxes) if box.nodes or box.tensor]
    right = [n for n, box in enumerate(boxes) if box.layer is not None or box.tensor or box.join]
    frame = _Frame(ranks, tops, heights, rank_heights)
    before, nodes = _before(frame, left, made.before, groups)
    after = _after(frame, right, before, made)
    return Sides(made, ranks, tops, heights, rank_heights, before, after, nodes)


def _ranks(made: Boxes) -> list[int]:
    """Ranks of the boxes, without empty ones between."""
    links = dict.fromkeys(wire.boxes for wire in (*made.before, *made.after))
    ranks = rank_boxes(len(made.boxes), list(links))
    close = {rank: number for number, rank in enumerate(sorted(set(ranks)))}
    return [close[rank] for rank in ranks]


def _groups(made: Boxes) -> dict[int, _Group]:
    """By box those of several nodes."""
    inner: dict[int, list[Wire]] = defaultdict(list)
    for wire in made.before:
        if wire.boxes[0] == wire.boxes[1]:
            inner[wire.boxes[0]].append(wire)
    groups = {}
    for number, box in enumerate(made.boxes):
        if len(box.nodes) > 1:
            local = {node: at for at, node in enumerate(box.nodes)}
            links = [
                (local[w.source], local[w.target])
                for w in inner[number]
                if w.source is not None and w.target is not None
            ]
            ranks = rank_boxes(len(local), links)
            sizes = Counter(ranks)
            single = {rank for rank, size in sizes.items() if size == 1}
            groups[number] = _Group(local, inner[number], links, ranks, len(sizes), single)
    return groups


def _height(box: Box, group: _Group | None) -> float:
    if box.join:
        return JOIN_PX
    if group is not None:
        return HEAD_PX + PITCH_PX * group.depth
    return SINGLE_PX if box.nodes else PILL_PX


@dataclass(frozen=True, slots=True)
class _Frame:
    """What both sides share: rank, top below the rank's top, and height of every box."""

    ranks: Sequence[int]
    tops: Sequence[float]
    heights: Sequence[float]
    rank_heights: Sequence[float]


@dataclass(slots=True)
class _Ordered:
    """One side of which the order is known: its boxes, the wires between them, its rows."""

    present: list[int]
    wires: list[Wire]
    links: list[Link]
    rows: Rows
    widths: list[float]


def _ordered(
    frame: _Frame, present: list[int], wires: Sequence[Wire], widths: Sequence[float]
) -> _Ordered:
    local = {number: at for at, number in enumerate(present)}
    outer = [wire for wire in wires if wire.boxes[0] != wire.boxes[1]]
    links = [(local[wire.boxes[0]], local[wire.boxes[1]]) for wire in outer]
    ranks = [frame.ranks[number] for number in present]
    rows = order(ranks, links, [(wire.source, wire.tensor) for wire in outer])
    return _Ordered(present, outer, links, rows, _widths(rows, widths))


def _widths(rows: Rows, widths: Sequence[float]) -> list[float]:
    """Widths of boxes by how many stand side by side, there and on the ranks that follow on."""
    found = [0.0] * rows.count
    boxes = [[e for e in row if e < rows.count] for row in rows.rows]
    for _, run in groupby(boxes, key=lambda row: len(row) > 1):
        near = list(run)
        most = max(len(row) for row in near)
        for row in near:
            for box in row:
                found[box] = widths[min(max(most, 1), len(widths)) - 1]
    return found


def _in_order_of(before: Side, wires: list[Wire]) -> list[Wire]:
    """Sort wires by where they lead on the other side: boxes are met in that order."""
    ways: dict[Link, float] = {}
    for wire, path in zip(before.wires, before.paths, strict=True):
        passed = [x for x, _, below in path if below == PASSING]
        ways[wire.boxes] = passed[0] if passed else before.spots[wire.boxes[1]].x

    def place_of(wire: Wire) -> float:
        spot = before.spots.get(wire.boxes[1])
        return ways.get(wire.boxes, float("inf") if spot is None else spot.x)

    return sorted(wires, key=place_of)


def _after(frame: _Frame, present: list[int], before: Side, made: Boxes) -> Side:
    """Lay the engine out: its boxes have no inside."""
    ordered = _ordered(frame, present, _in_order_of(before, made.after), _AFTER_WIDTHS)
    insides = {
        n: _plain(JOIN_PX if made.boxes[n].join else width)
        for n, width in zip(present, ordered.widths, strict=True)
    }
    return _placed(frame, ordered, insides, {})


def _before(
    frame: _Frame, present: list[int], wires: Sequence[Wire], groups: Mapping[int, _Group]
) -> tuple[Side, dict[int, tuple[float, float, float]]]:
    """Lay the graph out: its boxes first, then the nodes in each; return the nodes' places too."""
    ordered = _ordered(frame, present, wires, _BEFORE_WIDTHS)
    entries, exits = _ports(ordered)
    insides = {}
    for at, (number, width) in enumerate(zip(present, ordered.widths, strict=True)):
        group = groups.get(number)
        insides[number] = (
            _plain(width)
            if group is None
            else _lay_inside(group, list(entries[at].values()), list(exits[at].values()), width)
        )
    side = _placed(frame, ordered, insides, groups)
    nodes = {}
    for number, group in groups.items():
        inside = insides[number]
        for node, rank, dx in zip(group.nodes, group.ranks, inside.x, strict=True):
            y = frame.tops[number] + HEAD_PX + PITCH_PX * rank
            nodes[node] = (side.spots[number].x + dx, y, inside.half)
    return side, nodes


def _plain(width: float) -> _Inside:
    return _Inside(width / 2, width / 2, [0.0])


def _way_in(wire: Wire) -> Hashable:
    return "in", wire.tensor, wire.target


def _way_out(wire: Wire) -> Hashable:
    return "out", wire.source, wire.tensor


def _ports(
    ordered: _Ordered,
) -> tuple[list[dict[Hashable, Wire]], list[dict[Hashable, Wire]]]:
    """For each box, from left to right, the ways in through its top and out of its foot."""
    position = ordered.rows.positions()
    ways_in: list[list[tuple[int, Wire]]] = [[] for _ in ordered.present]
    ways_out: list[list[tuple[int, Wire]]] = [[] for _ in ordered.present]
    parts = zip(ordered.links, ordered.wires, ordered.rows.chains, strict=True)
    for (source, target), wire, chain in parts:
        ways_in[target].append((position[chain[-1] if chain else source], wire))
        ways_out[source].append((position[chain[0] if chain else target], wire))
    return (
        [{_way_in(w): w for _, w in sorted(ways, key=lambda way: way[0])} for ways in ways_in],
        [{_way_out(w): w for _, w in sorted(ways, key=lambda way: way[0])} for ways in ways_out],
    )


def _lay_inside(
    group: _Group, entries: Sequence[Wire], exits: Sequence[Wire], width: float
) -> _Inside:
    """Place the nodes of a group, and its ports where lines go past nodes."""
    count, depth = len(group.nodes), group.depth
    half = width / 2
    first, last = group.ranks.index(0), group.ranks.index(depth - 1)
    if (
        count == depth
        and all(group.ranks[b] - group.ranks[a] == 1 for a, b in group.links)
        and all(wire.target is None or group.nodes[wire.target] == first for wire in entries)
        and all(wire.source is None or group.nodes[wire.source] == last for wire in exits)
    ):
        return _Inside(half, half, [0.0] * count, half - _BORDER_PX)
    top, foot = count, count + len(entries)
    links = [
        *group.links,
        *((top + at, group.nodes[w.target or 0]) for at, w in enumerate(entries)),
        *((group.nodes[w.source or 0], foot + at) for at, w in enumerate(exits)),
    ]
    names: list[Hashable] = [
        *group.wires, *(_way_in(w) for w in entries), *(_way_out(w) for w in exits)
    ]  # fmt: skip
    trunks = [*(_way_out(w) for w in group.wires), *names[len(group.wires) :]]
    ranks = [*(r + 1 for r in group.ranks), *[0] * len(entries), *[depth + 1] * len(exits)]
    rows = order(ranks, links, trunks, fixed=(0, depth + 1))
    reach = [half - _BORDER_PX] * count + [0.0] * (len(entries) + len(exits))
    zeros = [0.0] * len(links)
    x = place(rows, links, Extents(reach, reach, zeros, zeros))
    edges = [x[e] for e in range(count, len(x))]
    ports = [*(_way_in(w) for w in entries), *(_way_out(w) for w in exits)]
    return _Inside(
        left=_BORDER_PX - min([*(x[n] - reach[n] for n in range(count)), *edges]),
        right=_BORDER_PX + max([*(x[n] + reach[n] for n in range(count)), *edges]),
        x=x[:count],
        half=half - _BORDER_PX,
        ports={port: x[count + at] for at, port in enumerate(ports)},
        bends={
            name: [(x[dummy], rows.ranks[dummy] - 1) for dummy in chain]
            for name, chain in zip(names, rows.chains, strict=True)
        },
    )


def _placed(
    frame: _Frame,
    ordered: _Ordered,
    insides: Mapping[int, _Inside],
    groups: Mapping[int, _Group],
) -> Side:
    """Give boxes their x and wires their paths."""
    rows, links, wires = ordered.rows, ordered.links, ordered.wires
    extents = Extents(
        [insides[number].left for number in ordered.present],
        [insides[number].right for number in ordered.present],
        [insides[wire.boxes[0]].ports.get(_way_out(wire), 0.0) for wire in wires],
        [insides[wire.boxes[1]].ports.get(_way_in(wire), 0.0) for wire in wires],
    )
    x = place(rows, links, extents)
    spots = {
        number: Spot(x[at], insides[number].left, insides[number].right)
        for at, number in enumerate(ordered.present)
    }
    lines = _Lines(frame, spots, insides, groups)
    side = Side(spots, [], [], _spread(rows, links, extents, x))
    for (source, target), wire, chain in zip(links, wires, rows.chains, strict=True):
        passed: list[Point] = [(x[d], rows.ranks[d], PASSING) for d in chain]
        if rows.ranks[source] > rows.ranks[target]:
            passed.reverse()
        side.wires.append(wire)
        side.paths.append([*lines.way_out(wire), *passed, *lines.way_in(wire)])
    for number, group in groups.items():
        for wire in group.wires:
            side.wires.append(wire)
            side.paths.append(lines.inner(number, wire))
    return side


def _spread(
    rows: Rows, links: Sequence[Link], extents: Extents, x: Sequence[float]
) -> dict[int, float]:
    spread: dict[int, float] = defaultdict(float)
    for upper, lower, number in rows.segments:
        begin = x[upper] + (extents.tails[number] if upper == links[number][0] else 0.0)
        end = x[lower] + (extents.heads[number] if lower == links[number][1] else 0.0)
        rank = rows.ranks[lower]
        spread[rank] = max(spread[rank], abs(begin - end))
    return spread


@dataclass(frozen=True, slots=True)
class _Lines:
    """Makes the parts of a path that lie on the ranks of its ends."""

    frame: _Frame
    spots: Mapping[int, Spot]
    insides: Mapping[int, _Inside]
    groups: Mapping[int, _Group]

    def way_out(self, wire: Wire) -> list[Point]:
        """From the source node to the foot of its rank."""
        box = wire.boxes[0]
        x = self.spots[box].x + self.insides[box].ports.get(_way_out(wire), 0.0)
        rank, foot = self.frame.ranks[box], self.frame.tops[box] + self.frame.heights[box]
        points = [(x, rank, foot)]
        if foot < self.frame.rank_heights[rank]:
            points.append((x, rank, self.frame.rank_heights[rank]))
        group = self.groups.get(box)
        bends = self._bends(box, _way_out(wire))
        if group is None or wire.source is None:
            return points
        if not bends and group.only(wire.source, group.depth - 1):
            return points
        return [*self._leaving(box, wire.source, bends), *bends, *points]

    def way_in(self, wire: Wire) -> list[Point]:
        """From the top of the target's rank to its node."""
        box = wire.boxes[1]
        x = self.spots[box].x + self.insides[box].ports.get(_way_in(wire), 0.0)
        rank, top = self.frame.ranks[box], self.frame.tops[box]
        points = [(x, rank, 0.0), (x, rank, top)] if top else [(x, rank, top)]
        group = self.groups.get(box)
        bends = self._bends(box, _way_in(wire))
        if group is None or wire.target is None or (not bends and group.only(wire.target, 0)):
            return points
        return [*points, *bends, *self._reaching(box, wire.target, bends)]

    def inner(self, box: int, wire: Wire) -> list[Point]:
        """From node to node of a group."""
        bends = self._bends(box, wire)
        source, target = wire.source or 0, wire.target or 0
        begin = self._leaving(box, source, bends)
        return [*begin, *bends, *self._reaching(box, target, bends)]

    def _leaving(self, box: int, node: int, bends: Sequence[Point]) -> list[Point]:
        """From a node's foot; from its side where the line then runs beside other nodes."""
        return self._beside(box, node, bends[0][0])[::-1] if bends else [self._at(box, node, 1.0)]

    def _reaching(self, box: int, node: int, bends: Sequence[Point]) -> list[Point]:
        return self._beside(box, node, bends[-1][0]) if bends else [self._at(box, node, 0.0)]

    def _beside(self, box: int, node: int, lane: float) -> list[Point]:
        """From a lane into the side of a node, or its top where others stand beside it."""
        group = self.groups[box]
        if not group.only(node, group.of(node)):
            return [self._at(box, node, 0.0)]
        x, rank, y = self._at(box, node, 0.5)
        half = self.insides[box].half
        return [(lane, rank, y), (x + half if lane > x else x - half, rank, y)]

    def _at(self, box: int, node: int, share: float) -> Point:
        """A point on the middle line of a node, by its share of the height."""
        group = self.groups[box]
        y = self.frame.tops[box] + HEAD_PX + PITCH_PX * group.of(node) + NODE_PX * share
        x = self.spots[box].x + self.insides[box].x[group.nodes[node]]
        return x, self.frame.ranks[box], y

    def _bends(self, box: int, name: Hashable) -> list[Point]:
        """Straight down beside the nodes of each rank that the line passes."""
        x, rank = self.spots[box].x, self.frame.ranks[box]
        top = self.frame.tops[box] + HEAD_PX
        return [
            (x + dx, rank, top + PITCH_PX * passed + below)
            for dx, passed in self.insides[box].bends.get(name, ())
            for below in (0.0, NODE_PX)
        ]
