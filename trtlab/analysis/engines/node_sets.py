"""Nodes in the layers of two engines → the smallest sets that whole layers of both hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from trtlab.record import MatchKind

Held = Sequence[Sequence[str]]
"""The names of the nodes in each of several layers."""


def components(a: Held, b: Held, common: Collection[str]) -> list[tuple[list[int], list[int]]]:
    """Return the numbers of the layers of A and of B that hang together by nodes, in A's order.

    What B alone has stands behind what B runs before it. Layers without nodes are left out.

    Args:
        a: Nodes in each layer of A.
        b: Nodes in each layer of B.
        common: Nodes that are the same in both; any other of B is another node than A's.
    """
    above = list(range(len(a) + len(b)))

    def top(layer: int) -> int:
        while above[layer] != layer:
            above[layer] = above[above[layer]]
            layer = above[layer]
        return layer

    first: dict[tuple[bool, str], int] = {}
    for layer, names in enumerate([*a, *b]):
        for name in names:
            node = (layer >= len(a) and name not in common, name)
            above[top(layer)] = top(first.setdefault(node, layer))
    found: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for layer, names in enumerate([*a, *b]):
        if names:
            in_b = layer >= len(a)
            found[top(layer)][in_b].append(layer - len(a) * in_b)
    return _in_flow(list(found.values()))


def _in_flow(sets: Sequence[tuple[list[int], list[int]]]) -> list[tuple[list[int], list[int]]]:
    placed = [((s[0][0], -1), s) for s in sets if s[0]]
    behind = -1
    for layers_a, layers_b in sorted((s for s in sets if s[1]), key=lambda s: s[1][0]):
        if layers_a:
            behind = layers_a[0]
        else:
            placed.append(((behind, layers_b[0]), (layers_a, layers_b)))
    return [s for _, s in sorted(placed)]


def kind_of(a: Held, b: Held, both: Collection[str]) -> MatchKind:
    """Return how the nodes of one set lie in the layers of the two sides.

    Args:
        a: Nodes in each of A's layers.
        b: Nodes in each of B's layers.
        both: Nodes that run on both sides.
    """
    if not both:
        return "only in A" if a else "only in B"
    if _cut(a, both) == _cut(b, both):
        alone = any(name not in both for names in (*a, *b) for name in names)
        return "other nodes" if alone else "same"
    if len(a) == 1:
        return "together in A, apart in B"
    return "together in B, apart in A" if len(b) == 1 else "cut differently"


def _cut(held: Held, both: Collection[str]) -> Counter[frozenset[str]]:
    return Counter(frozenset(name for name in names if name in both) for names in held)
