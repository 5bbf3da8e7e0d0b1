"""Why a node is in several layers, where the graph and the layers' names prove it.

A convolution or matrix product: one of its layers computes a product, the names of all others hold
steps and no product. These prepare its input (more channels) or its result (scale, bias).

A DequantizeLinear: each of its layers holds a node that reads what it makes. So the small type is
what passes, and each reader makes it larger for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtlab.analysis.fusion.kinds import ANCHORS, PRODUCT_STEPS
from trtlab.analysis.fusion.names import LayerName
from trtlab.analysis.fusion.proofs import real_readers
from trtlab.analysis.fusion.wiring import Wiring
from trtlab.record import Fate


@dataclass(frozen=True, slots=True)
class Spread:
    """A node that is in several layers for a reason.

    Attributes:
        main: Number of the layer that computes its product; None of a DequantizeLinear.
    """

    main: int | None = None


def spreads(
    fates: Sequence[Fate], names: Sequence[LayerName], wiring: Wiring
) -> dict[str, Spread]:
    """Return by node why it is in several layers; it lacks those for which no rule says.

    Args:
        fates: One for each node.
        names: The layers' names, taken apart.
        wiring: The graph.
    """
    layers = {fate.node: set(fate.layers) for fate in fates if fate.state == "in layer"}
    found: dict[str, Spread] = {}
    for name, owners in layers.items():
        node = wiring.nodes[name]
        if len(owners) < 2 or node.domain:
            continue
        if node.op in ANCHORS:
            main = [number for number in sorted(owners) if not _holds_no_product(names[number])]
            if len(main) == 1:
                found[name] = Spread(main[0])
        elif node.op == "DequantizeLinear" and node.outputs:
            readers = real_readers(node.outputs[0], wiring)
            reading = {number for reader in readers for number in layers.get(reader, ())}
            if owners <= reading:
                found[name] = Spread()
    return found


def _holds_no_product(name: LayerName) -> bool:
    return bool(name.operations) and PRODUCT_STEPS.isdisjoint(name.operations)
