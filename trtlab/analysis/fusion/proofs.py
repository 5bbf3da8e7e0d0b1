"""What becomes of a node by the graph alone: proofs that no kernel has to run it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from trtlab.analysis.fusion.wiring import RANDOM, Wiring
from trtlab.model.types import Node, Tensor
from trtlab.record import EngineLayer, Fate, Rule

_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""Operators that give the same bytes other dimensions."""
_SAME = frozenset({"Identity", "Dropout"})
_WITH_TENSORS = frozenset({"Constant", "ConstantOfShape", "TfIdfVectorizer"})
_OF_ONE = frozenset({"Concat", "Sum", "Max", "Min", "Mean"})
_PERHAPS = _OF_ONE | {"Cast", "Transpose", "Expand"}
"""Operators of which type, dimensions or attributes tell whether they move anything."""
_PICKING = frozenset({"Transpose", "MaxPool", "DepthToSpace", "SpaceToDepth"})
"""Operators that move or choose numbers, whatever these stand for."""


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


def stays_small(
    node: Node, layers: Collection[int], all_layers: Sequence[EngineLayer], wiring: Wiring
) -> list[int]:
    """Return which of these layers keep a weight in the small type that a node would dequantise.

    Then the node's result is never computed: the scale is applied to what the layer makes.
    """
    if node.op != "DequantizeLinear" or node.domain or not node.inputs:
        return []
    small = wiring.graph.tensors.get(node.inputs[0])
    if small is None or small.dtype is None:
        return []
    return [n for n in layers if any(t.dtype == small.dtype for t in all_layers[n].constants)]


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


def quantised_again(wiring: Wiring) -> dict[str, str]:
    """Return by node why it changes no number: it undoes, or is undone by, its other half.

    A QuantizeLinear gives back the very numbers that a DequantizeLinear took, where both have one
    scale and zero point and between them numbers are only moved. Rounding hides the error
    of the product: it is far below half a step, but for bfloat16, which has too few digits.
    A DequantizeLinear that is read by such nodes only need not run either.
    """
    found: dict[str, str] = {}
    undone: dict[str, list[str]] = {}
    for node in wiring.graph.nodes:
        before = _undone_by(node, wiring)
        if before is not None:
            undone.setdefault(before, []).append(node.name)
            found[node.name] = (
                f"It quantises again what {before} dequantised, by the same scale: the numbers "
                "stay."
            )
    for name, again in undone.items():
        if real_readers(wiring.nodes[name].outputs[0], wiring) == set(again):
            found[name] = f"{again[0]} quantises its result again, by the same scale."
    return found


def _undone_by(node: Node, wiring: Wiring) -> str | None:
    """Return the DequantizeLinear that a QuantizeLinear undoes."""
    if node.op != "QuantizeLinear" or node.domain or len(node.inputs) < 2 or not node.outputs:
        return None
    writer, is_same_shape = _writer_before(node, wiring), True
    while writer is not None and writer.op != "DequantizeLinear":
        if moves_nothing(writer, wiring) is None and (writer.domain or writer.op not in _PICKING):
            return None
        writer, is_same_shape = _writer_before(writer, wiring), False
    if writer is None or writer.domain or writer.inputs[1:] != node.inputs[1:]:
        return None
    tensors = wiring.graph.tensors
    scale = tensors.get(node.inputs[1])
    if scale is None or scale.dtype not in ("float32", "float16"):
        return None
    if scale.shape not in ((), (1,)) and not is_same_shape:  # whose axis is another one then
        return None
    small, again = tensors.get(writer.inputs[0]), tensors.get(node.outputs[0])
    is_same_type = small is not None and again is not None and small.dtype == again.dtype
    has_same_axis = all(writer.attributes.get(key) == node.attributes.get(key)
                        for key in ("axis", "block_size"))  # fmt: skip
    return writer.name if is_same_type and has_same_axis else None


def _writer_before(node: Node, wiring: Wiring) -> Node | None:
    """Return who writes a node's first input; in a cycle nobody is before all others."""
    writer = wiring.writer.get(node.inputs[0]) if node.inputs else None
    if writer is None or wiring.order[writer] >= wiring.order[node.name]:
        return None
    return wiring.nodes[writer]


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


def real_readers(tensor: str, wiring: Wiring) -> set[str]:
    """Return who reads a tensor, also under the names that nodes give it; "" is a graph output."""
    outputs = set(wiring.graph.outputs)
    readers: set[str] = set()
    waiting, seen = [tensor], {tensor}
    while waiting:
        name = waiting.pop()
        if name in outputs:
            readers.add("")
        for reader in wiring.readers.get(name, ()):
            if not moves_nothing(wiring.nodes[reader], wiring):
                readers.add(reader)
                continue
            new = {t for t in wiring.nodes[reader].outputs if t} - seen
            seen |= new
            waiting += new
    return readers


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
