"""What is inside the regions that a builder does not open, as far as the model's graph tells.

A region runs as one thing: its time is measured as a whole, if at all. What one of its nodes
computes and moves is estimated from shapes, as if the node ran alone; a fused region moves less.

The time inside is divided by a rule, not measured. A node is bound by its arithmetic or by its
traffic; which of the two is not known without the machine's peaks. So a node weighs the larger of
its share of the region's operations and its share of the region's bytes, and the weights are
divided by their sum. Where the cost of any node is unknown, there is no such division.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from trtlab.analysis.flops import NodeCost, Total, node_costs, total
from trtlab.record import Fusion


@dataclass(frozen=True, slots=True)
class InnerNode:
    """A node inside a region; everything but its name and operator is estimated.

    Attributes:
        flops: Operations; None if unknown, as the next.
        bytes: What it would read and write alone.
        flop_share: Of the known operations of the region; None if unknown or all are 0.
        byte_share: Of the known bytes of the region; likewise.
        time_share: Of the region's time, by the module's rule; None where it does not hold.
    """

    node: str
    op: str
    flops: int | None
    bytes: int | None
    flop_share: float | None
    byte_share: float | None
    time_share: float | None


@dataclass(frozen=True, slots=True)
class Region:
    """An opaque layer and the nodes in it.

    Attributes:
        layer: Its number.
        nodes: In the graph's order. A node in several regions is counted in the first.
        cost: Sums over its nodes, and how many are left out of each (estimated).
        time_ms: Time of the whole region (measured); None if it was not profiled.
    """

    layer: int
    nodes: tuple[InnerNode, ...]
    cost: Total
    time_ms: float | None


def opaque_regions(fusion: Fusion) -> tuple[Region, ...]:
    """Open the regions of a plan: one for each opaque layer, in the plan's order.

    The nodes are those that the mapping found to run inside; costs are for ``fusion.sizes``.
    """
    held: dict[int, set[str]] = defaultdict(set)
    for fate in fusion.fates:
        if fate.state == "opaque" and fate.layers:
            held[fate.layers[0]].add(fate.node)
    costs = node_costs(fusion.graph, fusion.sizes)
    return tuple(
        _region(number, [cost for cost in costs if cost.node in held[number]], group.time_ms)
        for number, group in enumerate(fusion.groups)
        if group.family == "opaque"
    )


def _region(layer: int, costs: Sequence[NodeCost], time_ms: float | None) -> Region:
    flop_shares = _shares([cost.flops for cost in costs])
    byte_shares = _shares([_bytes(cost) for cost in costs])
    nodes = tuple(
        InnerNode(cost.node, cost.op, cost.flops, _bytes(cost), *three)
        for cost, *three in zip(costs, flop_shares, byte_shares, _time_shares(costs), strict=True)
    )
    return Region(layer, nodes, total(costs), time_ms)


def _bytes(cost: NodeCost) -> int | None:
    if cost.bytes_read is None or cost.bytes_written is None:
        return None
    return cost.bytes_read + cost.bytes_written


def _shares(values: Sequence[float | None]) -> list[float | None]:
    """Divide by the sum of what is known."""
    whole = math.fsum(v for v in values if v is not None)
    return [None if v is None or not whole else v / whole for v in values]


def _time_shares(costs: Sequence[NodeCost]) -> list[float | None]:
    flops, moved = [cost.flops for cost in costs], [_bytes(cost) for cost in costs]
    if None in flops or None in moved:
        return [None] * len(costs)
    pairs = zip(_shares(flops), _shares(moved), strict=True)
    return _shares([max(by_flops or 0.0, by_bytes or 0.0) for by_flops, by_bytes in pairs])
