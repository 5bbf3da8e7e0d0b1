"""What becomes of a node by the graph alone: proofs that no kernel has to run it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from trtlab.analysis.fusion.wiring import RANDOM, Wiring
from trtlab.model.types import Node, Tensor
from trtlab.record import Fate, Rule

_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""Operators that give the same bytes other dimensions."""
_SAME = frozenset({"Identity", "Dropout"})
_WITH_TENSORS = frozenset({"Constant", "ConstantOfShape", "TfIdfVectorizer"})
_OF_ONE = frozenset({"Concat", "Sum", "Max", "Min", "Mean"})
_PERHAPS = _OF_ONE | {"Cast", "Transpose", "Expand"}
"""Operators of which type, dimensions or attributes tell whether they move anything."""


def not_computed(node: Node, wiring: Wiring, layers: Collection[int] = ()) -> Fate | None:
    """Return the fate of a node that is dead, folded, or known from dimensions; else None.

    Args:
        node: The node.
        wiring: Its graph.
        layers: Those behind it, which hold the result of one that is folded.
    """
    if node.name not in wiring.live:
        because = "No output of the graph depends on it."
        return Fate(node.name, "removed", (), "unreachable", because)
    if node.name in wiring.folded:
        because = "All that it reads is constant, so its result is computed once, at the build."
        return Fate(node.name, "folded", tuple(sorted(layers)), "constant inputs", because)
    if node.name in wiring.shape_only:
        because = "It depends on dimensions alone, which are known as soon as the shapes are set."
        return Fate(node.name, "folded", (), "dimensions only", because)
    return None


def moves_nothing(node: Node, wiring: Wiring) -> tuple[Rule, str] | None:
    """Return the rule and the reason why a node's output is its input's bytes, or None."""
    if node.domain:
        return None
    if node.op in _VIEWS:
        return "view", f"{node.op} gives the same values other dimensions: nothing is moved."
    if node.op in _SAME:
        return "identity", f"{node.op} passes its input on as it is when a network only runs."
    if node.op not in _PERHAPS:
        return None
    read, written = one_in_one_out(node, wiring)
    if read is None or written is None:
        return None
    if node.op == "Cast" and read.dtype is not None and read.dtype == written.dtype:
        return "identity", f"Its input is {read.dtype} already."
    if node.op == "Transpose" and _keeps_order(node, read):
        return "view", "Only axes of size 1 change places: nothing is moved."
    if node.op in _OF_ONE and len(node.inputs) == 1:
        return "identity", f"{node.op} of one tensor is that tensor."
    if node.op == "Expand" and _same_numbers(read, written):
        return "identity", "It has the dimensions already that it is expanded to."
    return None


def twins(wiring: Wiring) -> dict[str, str]:
    """Return by node the first one before it that computes the same from the same.

    Equal operator, attributes and inputs, these through twins as well. Left out is what the graph
    does not hold in full: subgraphs, tensors in attributes, operators of other domains; and
    random numbers.
    """
    first: dict[object, str] = {}
    stands_for: dict[str, str] = {}
    found: dict[str, str] = {}
    for node in wiring.graph.nodes:
        if node.subgraphs or node.domain or node.op in RANDOM | _WITH_TENSORS:
            continue
        inputs = tuple(stands_for.get(name, name) for name in node.inputs)
        key = (node.domain, node.op, tuple(sorted(node.attributes.items())), inputs,
               len(node.outputs))  # fmt: skip
        other = first.setdefault(key, node.name)
        if other != node.name and inputs:
            found[node.name] = other
            stands_for |= zip(node.outputs, wiring.nodes[other].outputs, strict=True)
    return found


def same_as(node: Node, twins: Mapping[str, str]) -> Fate | None:
    """Return the fate of a node that computes what another one does; see ``twins``."""
    other = twins.get(node.name)
    if other is None:
        return None
    because = f"It computes what {other} does from the same inputs: once is enough."
    return Fate(node.name, "removed", (), "same as another", because)


def one_in_one_out(node: Node, wiring: Wiring) -> tuple[Tensor | None, Tensor | None]:
    """Return the one tensor of data that a node reads and the first that it writes, or None."""
    tensors = wiring.graph.tensors
    inputs, outputs = wiring.data_inputs(node.name), [t for t in node.outputs if t]
    if len(inputs) != 1 or not outputs or node.subgraphs:
        return None, None
    return tensors.get(inputs[0]), tensors.get(outputs[0])


def _same_numbers(a: Tensor, b: Tensor) -> bool:
    return a.shape is not None and a.shape == b.shape and None not in a.shape


def _keeps_order(node: Node, tensor: Tensor) -> bool:
    """Whether a Transpose leaves every axis that is longer than 1 in its order."""
    shape = tensor.shape
    if shape is None:
        return False
    order = node.attributes.get("perm", tuple(reversed(range(len(shape)))))
    axes = [axis for axis in order if isinstance(axis, int)] if isinstance(order, tuple) else []
    if sorted(axes) != list(range(len(shape))):
        return False
    long = [axis for axis in axes if shape[axis] != 1]
    return long == sorted(long)
