"""What a layer that Myelin made computes, step by step, against the nodes that it is known for.

``__myl_FcMulAddRelu`` holds a product, a multiply and an add, and a Relu. Where the builder names
the product alone (seen: TensorRT-RTX 1.7 at FP16, where a 1x1 convolution runs as a ``Fc``), the
other steps are those of the nodes behind it, if these leave one way to have them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from trtlab.analysis.fusion.kinds import MOVING_STEPS, PRODUCT_STEPS
from trtlab.analysis.fusion.wiring import Wiring
from trtlab.model.types import Node

_SCALED = "scale and shift"
_SCALING = frozenset({"Mul", "Add"})
_SCALES = frozenset({"Mul", "Div", "Add", "Sub"})


def nodes_of_steps(
    product: str,
    operations: Sequence[str],
    wiring: Wiring,
    is_free: Callable[[str], bool],
) -> list[str]:
    """Return the nodes behind a product whose steps its layer's name holds; none where unclear.

    Scales and shifts by constants that follow on each other become one, so their number tells
    nothing: where it would have to, none is returned.

    Args:
        product: A convolution or matrix product, the only node known to run in the layer.
        operations: The steps in the layer's name.
        wiring: The graph.
        is_free: Whether a node is in no layer yet.
    """
    behind = [n for n, step in enumerate(operations) if step in PRODUCT_STEPS]
    if len(behind) != 1:
        return []
    rest = [s for s in operations[behind[0] + 1 :] if s == "Cast" or s not in MOVING_STEPS]
    wanted = _merged([_SCALED if s in _SCALING else s for s in rest])
    steps = [_SCALED] if len(wiring.nodes[product].inputs) > 2 else []
    chain: list[str] = []
    fitting = [list(chain)] if _merged(steps) == wanted else []
    after = wiring.after(product)
    while len(after) == 1 and is_free(after[0]) and after[0] not in chain:
        node = wiring.nodes[after[0]]
        step = _step(node, wiring)
        if step is None:
            break
        chain.append(node.name)
        steps.append(step)
        if _merged(steps) == wanted:
            fitting.append(list(chain))
        is_output = not set(node.outputs).isdisjoint(wiring.graph.outputs)
        after = [] if is_output else wiring.after(node.name)
    return fitting[0] if len(fitting) == 1 else []


def _merged(steps: Sequence[str]) -> list[str]:
    """Return the steps with each run of scales and shifts as one."""
    merged: list[str] = []
    for step, several in groupby(steps):
        merged += [step] if step == _SCALED else several
    return merged


def _step(node: Node, wiring: Wiring) -> str | None:
    """Return the step that Myelin makes of a node; None where that is not known."""
    if node.domain or len(wiring.data_inputs(node.name)) != 1:
        return None
    if node.op == "BatchNormalization" or node.op in _SCALES:
        return _SCALED
    return node.op if node.op in ("Relu", "Cast") else None
