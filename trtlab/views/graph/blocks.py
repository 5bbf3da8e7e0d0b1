"""Blocks of a long graph: consecutive ranks that are drawn as one bar until somebody opens it.

By the names where these have an order (``layer1/0/conv``), else where a single tensor crosses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

MOST = 24
"""Blocks side by side that still give a view at a glance."""
FEWEST_BOXES = 3
"""What has fewer boxes is not worth a bar."""
_DEPTH = 8
_SEPARATOR = re.compile(r"[/.:_]+")


@dataclass(frozen=True, slots=True)
class Rank:
    """What stands on one rank of the graph.

    Attributes:
        names: Of its ONNX nodes.
        boxes: How many boxes it has.
        form: What it looks like: equal for ranks of equal operators.
        joined: Whether one tensor alone leads on to the next rank.
    """

    names: tuple[str, ...]
    boxes: int
    form: Hashable
    joined: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Ranks ``first`` to ``last``; ``parent`` is the number of the block around it, or -1.

    ``alike`` is how many blocks have the same form, this one included.
    """

    first: int
    last: int
    label: str
    parent: int = -1
    alike: int = 1


@dataclass(frozen=True, slots=True)
class _Run:
    first: int
    last: int
    label: str


def find_blocks(ranks: Sequence[Rank]) -> list[Block]:
    """Return blocks from top to bottom, each before those inside it."""
    tokens = [[_tokens(name) for name in rank.names] for rank in ranks]

    def by_name(run: _Run) -> list[_Run]:
        return _named(tokens, run)

    def by_tensor(run: _Run) -> list[_Run]:
        return _joined(ranks, run)

    whole = _Run(0, len(ranks) - 1, "")
    parts = _opened(ranks, whole, by_name)
    largest = max((_boxes(ranks, part) for part in parts), default=0)
    named = len(parts) > 1 and largest <= _boxes(ranks, whole) / 2
    found: list[Block] = []
    _divide(ranks, whole, by_name if named else by_tensor, -1, found)
    forms = [tuple(rank.form for rank in ranks[b.first : b.last + 1]) for b in found]
    count = Counter(forms)
    return [replace(b, alike=count[form]) for b, form in zip(found, forms, strict=True)]


def _tokens(name: str) -> tuple[str, ...]:
    """The parts of a name and, for each, all of the name up to its end."""
    name = name[:300].strip("/.:_")
    ends = [match.start() for match in _SEPARATOR.finditer(name)][: _DEPTH - 1]
    return tuple(name[:end] for end in [*ends, len(name)])


def _divide(
    ranks: Sequence[Rank],
    run: _Run,
    split: Callable[[_Run], list[_Run]],
    parent: int,
    found: list[Block],
) -> None:
    """Add the blocks inside a run, and those inside them; inside a block only if all are some."""
    parts = [part for part in _opened(ranks, run, split) if _boxes(ranks, part) >= FEWEST_BOXES]
    if len(parts) < 2 or (
        parent >= 0 and sum(_boxes(ranks, p) for p in parts) < 0.8 * _boxes(ranks, run)
    ):
        return
    for part in parts:
        found.append(Block(part.first, part.last, part.label, parent))
        if _boxes(ranks, part) > 4 * FEWEST_BOXES:
            _divide(ranks, part, split, len(found) - 1, found)


def _opened(ranks: Sequence[Rank], run: _Run, split: Callable[[_Run], list[_Run]]) -> list[_Run]:
    """The parts of a run; what holds much of it in one part is replaced by its own parts."""
    parts = split(run)
    while len(parts) > 1:
        large = max(2 * FEWEST_BOXES, _boxes(ranks, run) // 8)
        finer = [
            smaller
            for part in parts
            for smaller in (split(part) if _boxes(ranks, part) > large else []) or [part]
        ]
        if len(finer) == len(parts) or len(finer) > MOST:
            break
        parts = finer
    return parts


def _boxes(ranks: Sequence[Rank], run: _Run) -> int:
    return sum(rank.boxes for rank in ranks[run.first : run.last + 1])


def _named(tokens: list[list[tuple[str, ...]]], run: _Run) -> list[_Run]:
    """Divide a run by the next part of the names; nothing if these come mixed."""
    for depth in range(_DEPTH):
        labels = _labels(tokens, run, depth)
        runs = [
            _Run(run.first + places[0], run.first + places[-1], label)
            for label, group in groupby(range(len(labels)), key=labels.__getitem__)
            if (places := list(group))
        ]
        if len(runs) > 1:
            mixed = len(runs) > 1.5 * len(set(labels)) + 1
            lone = sum(run.first == run.last for run in runs) > 0.7 * len(runs)
            return [] if mixed or lone else runs
    return []


def _labels(tokens: list[list[tuple[str, ...]]], run: _Run, depth: int) -> list[str]:
    """The most frequent beginning of the names on each rank; without any, that of the last."""
    labels: list[str] = []
    for rank in tokens[run.first : run.last + 1]:
        seen = Counter(name[min(depth, len(name) - 1)] for name in rank)
        usual = max(seen, key=lambda label: seen[label], default="")
        labels.append(usual or (labels[-1] if labels else ""))
    for place in range(1, len(labels) - 1):
        if labels[place - 1] == labels[place + 1]:
            labels[place] = labels[place - 1]
    return labels


def _joined(ranks: Sequence[Rank], run: _Run) -> list[_Run]:
    """Divide a run where one tensor leads on; what hangs together stays together."""
    ends = [r for r in range(run.first, run.last) if ranks[r].joined]
    pieces = list(zip([run.first, *(e + 1 for e in ends)], [*ends, run.last], strict=True))
    merged: list[list[int]] = []
    chain = 0
    for first, last in pieces:
        single = first == last
        # What is alone leads up to the branches that follow it; a long chain is cut in parts.
        if merged and chain and chain < 8:
            merged[-1][1] = last
            chain = chain + 1 if single else 0
        else:
            merged.append([first, last])
            chain = int(single)
    if len(merged) > MOST:
        size = -(-len(merged) // MOST)
        merged = [
            [merged[i][0], merged[min(i + size, len(merged)) - 1][1]]
            for i in range(0, len(merged), size)
        ]
    if len(merged) < 2:
        return []
    return [_Run(first, last, _from_to(ranks, first, last)) for first, last in merged]


def _from_to(ranks: Sequence[Rank], first: int, last: int) -> str:
    """Name a part by the first and the last of its nodes."""
    names = [name for rank in ranks[first : last + 1] for name in rank.names]
    if not names:
        return "added layers"
    ends = [name[:100].strip("/").partition("/")[0] for name in (names[0], names[-1])]
    return ends[0] if ends[0] == ends[1] else " … ".join(ends)
