"""Where boxes go: a layered layout in plain Python, quick enough for ten thousand boxes.

After Sugiyama: ranks by longest path, a dummy on each rank that an edge passes, order on the
ranks by sweeps and exchanges, x by pooling what neighbours ask for. Ranks run from the top down.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Link = tuple[int, int]
"""An edge: the numbers of its source box and its target box."""

_SWEEPS = 24
_EXCHANGES = 8
_PATIENCE = 8
"""Sweeps without a better count after which the best order is taken."""
_WORK = 200_000
"""Segments to go through in all sweeps: of a graph with more there are fewer sweeps."""
_WIDEST_EXCHANGED = 300
"""Neighbours are exchanged only on ranks that are not wider: the rest would take too long."""

BOX_GAP = 18.0
LINE_GAP = 10.0
_BOX_WEIGHT = 2000.0
"""How much more a box keeps its place than a line does, so that columns of boxes stay straight."""


def rank_boxes(count: int, links: Sequence[Link]) -> list[int]:
    """Rank boxes by their longest path from a source; a source stands just above its readers.

    A link that closes a cycle is left out: it then leads upwards.
    """
    after: list[list[int]] = [[] for _ in range(count)]
    for source, target in links:
        if source != target:
            after[source].append(target)
    sequence = _topological(after)
    place = [0] * count
    for position, box in enumerate(sequence):
        place[box] = position
    ranks, incoming = [0] * count, [0] * count
    for box in sequence:
        for target in after[box]:
            if place[target] > place[box]:
                incoming[target] += 1
                ranks[target] = max(ranks[target], ranks[box] + 1)
    for box in reversed(sequence):
        onward = [ranks[t] for t in after[box] if place[t] > place[box]]
        if len(onward) > incoming[box]:
            ranks[box] = min(onward) - 1
    return ranks


def _topological(after: list[list[int]]) -> list[int]:
    """Every box after its sources, but for links back to a box that is still being followed."""
    done = [False] * len(after)
    finished: list[int] = []
    for start in reversed(range(len(after))):
        if done[start]:
            continue
        done[start] = True
        path = [(start, iter(after[start]))]
        while path:
            box, targets = path[-1]
            following = next((t for t in targets if not done[t]), None)
            if following is None:
                finished.append(box)
                path.pop()
            else:
                done[following] = True
                path.append((following, iter(after[following])))
    return finished[::-1]


@dataclass(slots=True)
class Rows:
    """Boxes, and the dummies of the links that pass, from left to right on every rank.

    Attributes:
        count: Number of boxes; elements from this number on are dummies.
        ranks: Of every element.
        rows: Elements by rank, from left to right.
        chains: For each link the dummies that it passes, from top to bottom.
        segments: Upper element, lower element and the link that they are part of. Links of
            one trunk share their dummies, and a segment between two dummies comes once.
    """

    count: int
    ranks: list[int]
    rows: list[list[int]]
    chains: list[list[int]]
    segments: list[tuple[int, int, int]]
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)

    def crossings(self) -> int:
        """How many pairs of segments cross, as straight lines."""
        position = self.positions()
        return sum(
            _crossings([[position[u] for u in self.above[v]] for v in row])
            for upper, row in pairwise(self.rows)
            if len(upper) > 1 and len(row) > 1
        )

    def positions(self) -> list[int]:
        """The place of every element on its rank."""
        position = [0] * len(self.above)
        for row in self.rows:
            for place, element in enumerate(row):
                position[element] = place
        return position


def order(
    ranks: Sequence[int],
    links: Sequence[Link],
    trunks: Sequence[Hashable],
    fixed: Collection[int] = (),
) -> Rows:
    """Order boxes on their ranks so that few links cross.

    Args:
        ranks: Rank of every box.
        links: Edges; one within a rank takes no part.
        trunks: For each link what it carries: links of the same trunk run together until they
            part.
        fixed: Ranks whose boxes keep the order of their numbers.
    """
    made = _with_dummies(ranks, links, trunks)
    for number in fixed:
        made.rows[number].sort()
    best = made.crossings()
    kept = [list(row) for row in made.rows]
    waited = 0
    for sweep in range(min(_SWEEPS, max(2, _WORK // (len(made.segments) + 1)))):
        if best == 0 or waited == _PATIENCE:
            break
        _sort_rows(made, fixed, down=sweep % 2 == 0, middle=sweep % 4 > 1)
        for _ in range(_EXCHANGES):
            if not _exchange_neighbours(made, fixed, even=sweep % 4 in (1, 2)):
                break
        found = made.crossings()
        waited += 1
        if found < best:
            best, waited = found, 0
            kept = [list(row) for row in made.rows]
    made.rows = kept
    return made


def _with_dummies(ranks: Sequence[int], links: Sequence[Link], trunks: Sequence[Hashable]) -> Rows:
    rank = list(ranks)
    chains: list[list[int]] = []
    segments: list[tuple[int, int, int]] = []
    passing: dict[tuple[Hashable, int], int] = {}
    for number, ((source, target), trunk) in enumerate(zip(links, trunks, strict=True)):
        top, bottom = (source, target) if rank[source] <= rank[target] else (target, source)
        # One that leads upwards has nothing in common with those that leave the same box.
        key = (trunk if top == source else ("up", number)), top
        chain: list[int] = []
        for level in range(rank[top] + 1, rank[bottom]):
            dummy = passing.get((key, level))
            if dummy is None:
                dummy = passing[key, level] = len(rank)
                rank.append(level)
                segments.append((chain[-1] if chain else top, dummy, number))
            chain.append(dummy)
        if rank[top] != rank[bottom]:
            segments.append((chain[-1] if chain else top, bottom, number))
        chains.append(chain)
    above: list[list[int]] = [[] for _ in rank]
    below: list[list[int]] = [[] for _ in rank]
    for upper, lower, _ in segments:
        above[lower].append(upper)
        below[upper].append(lower)
    rows = _first_order(rank, above, below)
    return Rows(len(ranks), rank, rows, chains, segments, above, below)


def _first_order(
    rank: list[int], above: list[list[int]], below: list[list[int]]
) -> list[list[int]]:
    """Follow links from every source in turn: what hangs together comes side by side."""
    rows: list[list[int]] = [[] for _ in range(max(rank, default=-1) + 1)]
    seen = [False] * len(rank)
    for start in sorted(range(len(rank)), key=lambda element: (bool(above[element]), element)):
        waiting = [start]
        while waiting:
            element = waiting.pop()
            if not seen[element]:
                seen[element] = True
                rows[rank[element]].append(element)
                waiting.extend(reversed(below[element]))
    return rows


def _crossings(ends: list[list[int]]) -> int:
    """Count pairs of lines that cross: for each lower end in turn, where its upper ends lie."""
    seen: list[int] = []
    total = 0
    for places in ends:
        total += sum(len(seen) - bisect_right(seen, place) for place in places)
        for place in places:
            insort(seen, place)
    return total


def _sort_rows(made: Rows, fixed: Collection[int], *, down: bool, middle: bool) -> None:
    """Sort every rank by the mean, or the median, of where its neighbours lie."""
    position = made.positions()
    near = made.above if down else made.below
    numbers = range(len(made.rows)) if down else reversed(range(len(made.rows)))
    for number in numbers:
        row = made.rows[number]
        if len(row) < 2 or number in fixed:
            continue
        wish: dict[int, float] = {}
        for element in row:
            places = [position[u] for u in near[element]]
            if places and middle:
                places.sort()
                wish[element] = (places[(len(places) - 1) // 2] + places[len(places) // 2]) / 2
            elif places:
                wish[element] = sum(places) / len(places)
        moved = iter(sorted(wish, key=wish.__getitem__))
        row[:] = [next(moved) if element in wish else element for element in row]
        for place, element in enumerate(row):
            position[element] = place


def _exchange_neighbours(made: Rows, fixed: Collection[int], *, even: bool) -> bool:
    """Exchange two that stand side by side while that makes fewer crossings.

    With ``even`` once also where it makes as many, to leave a place where nothing is better.
    Returns whether anything became better.
    """
    position = made.positions()
    improved = False
    for number, row in enumerate(made.rows):
        if not 1 < len(row) <= _WIDEST_EXCHANGED or number in fixed:
            continue
        ends = {
            element: (
                sorted(position[u] for u in made.above[element]),
                sorted(position[u] for u in made.below[element]),
            )
            for element in row
        }
        better, as_good = True, even
        while better:
            better = False
            for place in range(len(row) - 1):
                one, two = row[place], row[place + 1]
                now, then = _more(ends[one], ends[two]), _more(ends[two], ends[one])
                if now > then or (as_good and now == then > 0):
                    row[place], row[place + 1] = two, one
                    better |= now > then
            as_good = False
            improved |= better
        for place, element in enumerate(row):
            position[element] = place
    return improved


def _more(left: tuple[list[int], list[int]], right: tuple[list[int], list[int]]) -> int:
    """How many of their lines cross when ``left`` stands left of ``right``."""
    return sum(
        bisect_left(theirs, place)
        for mine, theirs in zip(left, right, strict=True)
        for place in mine
    )


@dataclass(frozen=True, slots=True)
class Extents:
    """How far boxes reach and where their links begin and end, in pixels from a box's x.

    Attributes:
        left: To the left of each box's x.
        right: To the right of it.
        tails: Where each link leaves its source box.
        heads: Where each link enters its target box.
    """

    left: Sequence[float]
    right: Sequence[float]
    tails: Sequence[float]
    heads: Sequence[float]


def place(made: Rows, links: Sequence[Link], extents: Extents) -> list[float]:
    """Return x for every element: near its neighbours, without overlaps.

    What is alone on its rank stands at 0, so that a long network does not drift sideways.
    """
    total = len(made.above)
    left = [*extents.left, *[0.0] * (total - made.count)]
    right = [*extents.right, *[0.0] * (total - made.count)]
    above, below = _pulls(made, links, extents)
    x = [0.0] * total
    wide = [number for number, row in enumerate(made.rows) if len(row) > 1]
    room = {number: _room(made, number, left, right) for number in wide}
    for number in wide:
        places = room[number]
        middle = (places[0] + places[-1]) / 2
        for element, at in zip(made.rows[number], places, strict=True):
            x[element] = at - middle
    both = [a + b for a, b in zip(above, below, strict=True)]
    for pulls, numbers in (
        *((above, wide), (below, wide[::-1])) * 2,
        *((both, wide), (both, wide[::-1])) * 3,
    ):
        for number in numbers:
            _settle(made.rows[number], room[number], pulls, x, made.count)
    position = made.positions()
    for column in _columns(made):
        mean = sum(x[box] for box in column) / len(column)
        _straighten(column, mean, made, position, left, right, x)
    done: set[int] = set()
    for number, chain in enumerate(made.chains):
        source, target = links[number]
        middle = x[source] + extents.tails[number] + x[target] + extents.heads[number]
        fresh = [dummy for dummy in chain if dummy not in done]
        _straighten(fresh, middle / 2, made, position, left, right, x)
        done.update(chain)
    return x


def _pulls(
    made: Rows, links: Sequence[Link], extents: Extents
) -> tuple[list[list[tuple[int, float]]], list[list[tuple[int, float]]]]:
    """For every element its neighbours above and below, and how far beside their x it wants."""
    above: list[list[tuple[int, float]]] = [[] for _ in made.above]
    below: list[list[tuple[int, float]]] = [[] for _ in made.above]
    for upper, lower, number in made.segments:
        source, target = links[number]
        tail, head = extents.tails[number], extents.heads[number]
        shift = 0.0
        shift += tail if upper == source else head if upper == target else 0.0
        shift -= head if lower == target else tail if lower == source else 0.0
        above[lower].append((upper, shift))
        below[upper].append((lower, -shift))
    return above, below


def _room(made: Rows, number: int, left: list[float], right: list[float]) -> list[float]:
    """Places of a row's elements, packed as tightly as they may stand."""
    row = made.rows[number]
    places = [0.0]
    for one, two in pairwise(row):
        places.append(places[-1] + right[one] + _gap(made, one, two) + left[two])
    return places


def _gap(made: Rows, one: int, two: int) -> float:
    return BOX_GAP if one < made.count and two < made.count else LINE_GAP


def _settle(
    row: list[int],
    room: list[float],
    pulls: list[list[tuple[int, float]]],
    x: list[float],
    count: int,
) -> None:
    """Give a row the places nearest to what its neighbours ask for (pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []  # weighted sum, weight, how many
    for element, offset in zip(row, room, strict=True):
        near = pulls[element]
        wish = sum(x[u] + shift for u, shift in near) / len(near) if near else x[element]
        weight = (_BOX_WEIGHT if element < count else 1.0) if near else 0.01
        total, size = (wish - offset) * weight, 1
        while blocks and blocks[-1][0] * weight >= total * blocks[-1][1]:
            before = blocks.pop()
            total, weight, size = total + before[0], weight + before[1], size + before[2]
        blocks.append((total, weight, size))
    place = 0
    for total, weight, size in blocks:
        for _ in range(size):
            x[row[place]] = total / weight + room[place]
            place += 1


def _columns(made: Rows) -> list[list[int]]:
    """Boxes that follow one another: each the only box below the one before, and that above it."""
    below = [[e for e in ends if e < made.count] for ends in made.below[: made.count]]
    above = [[e for e in ends if e < made.count] for ends in made.above[: made.count]]
    following = {
        box: ends[0]
        for box, ends in enumerate(below)
        if len(ends) == 1 and len(above[ends[0]]) == 1
    }
    columns = []
    inside = set(following.values())
    for start in [box for box in following if box not in inside]:
        column = [start]
        while column[-1] in following:
            column.append(following[column[-1]])
        columns.append(column)
    return columns


def _straighten(
    chain: list[int],
    wish: float,
    made: Rows,
    position: list[int],
    left: list[float],
    right: list[float],
    x: list[float],
) -> None:
    """Make a line or a column run straight down, near an x, as far as others leave room."""
    run: list[int] = []
    low, high = float("-inf"), float("inf")
    for element in chain:
        row, at = made.rows[made.ranks[element]], position[element]
        least, most = float("-inf"), float("inf")
        if len(row) == 1:
            least = most = 0.0
        if at > 0:
            beside = row[at - 1]
            least = x[beside] + right[beside] + _gap(made, beside, element) + left[element]
        if at + 1 < len(row):
            beside = row[at + 1]
            most = x[beside] - left[beside] - _gap(made, beside, element) - right[element]
        if max(low, least) > min(high, most):
            _align(run, min(max(wish, low), high), x)
            run, low, high = [], float("-inf"), float("inf")
        run.append(element)
        low, high = max(low, least), min(high, most)
    _align(run, min(max(wish, low), high), x)


def _align(run: list[int], at: float, x: list[float]) -> None:
    for element in run:
        x[element] = at
