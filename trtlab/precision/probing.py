"""Graphs with tensors marked as outputs, so that errors can be seen where they arise.

Runs native code: for worker processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper


def mark(model: onnx.ModelProto, tensors: Sequence[str]) -> None:
    """Make tensors outputs of the graph; those that are already stay as they are."""
    known = {v.name for v in model.graph.output}
    # Without a type: ONNX Runtime infers it.
    model.graph.output.extend(
        ValueInfoProto(name=t) for t in dict.fromkeys(tensors) if t not in known
    )


def given_name(tensor: str) -> str:
    """Return the input through which the other model's value of a tensor comes."""
    return f"{tensor}/given"


def switch_name(tensor: str) -> str:
    """Return the input, bool, that says where the error that enters at a tensor is let in."""
    return f"{tensor}/switch"


def local_name(tensor: str) -> str:
    """Return the output with a tensor's value as these nodes make it of the other's values."""
    return f"{tensor}/local"


def mixed_name(tensor: str) -> str:
    """Return the output with a tensor's value if only the errors switched on are let in."""
    return f"{tensor}/mixed"


def add_probes(
    model: onnx.ModelProto, types: Mapping[str, int], cuts: Sequence[str], ends: Sequence[str]
) -> None:
    """Add two copies of the graph that take the other model's values; weights are shared.

    The *local* copy reads each of ``cuts`` from the other model and writes what it makes of them:
    the other model's value less that is the error that the other model's own node adds. The
    *mixed* copy is a network by itself that adds these errors where they are switched on: with
    all of them it is the other model, with none the reference. An error that is not finite is
    left out.

    Args:
        model: The reference's graph; it is changed.
        types: Element type of every tensor.
        cuts: Tensors that both models have. They become outputs, and their local values.
        ends: Tensors whose mixed values become outputs.
    """
    graph = model.graph
    inputs = {v.name for v in graph.input} - {t.name for t in graph.initializer}
    varying = set(inputs)
    nodes = []
    for node in graph.node:
        if varying & set(node.input):  # the others depend on weights alone
            nodes.append(node)
            varying.update(filter(None, node.output))
    inner = varying - inputs
    cut = set(cuts)

    def source(tensor: str) -> str:
        return given_name(tensor) if tensor in cut else local_name(tensor)

    def untouched(tensor: str) -> str:
        return f"{tensor}/untouched" if tensor in cut else mixed_name(tensor)

    copies = [_copy(node, source, local_name, inner) for node in nodes]
    for node in nodes:
        copies.append(_copy(node, mixed_name, untouched, inner))
        for tensor in (t for t in node.output if t in cut):
            copies += _let_in(tensor, untouched(tensor), types[tensor])
    graph.node.extend(copies)
    for kind in sorted({types[t] for t in cuts}):
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        for name, value in ((_zero(kind), 0), (_largest(kind), np.finfo(dtype).max)):
            graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
    for tensor in cuts:
        for name, kind in (
            (given_name(tensor), types[tensor]),
            (switch_name(tensor), TensorProto.BOOL),
        ):
            graph.input.append(helper.make_tensor_value_info(name, kind, None))
    mark(model, [*cuts, *map(local_name, cuts), *(mixed_name(t) for t in ends if t in inner)])


def _copy(
    node: NodeProto, read: Callable[[str], str], write: Callable[[str], str], inner: set[str]
) -> NodeProto:
    """Copy a node that reads and writes tensors of other names."""
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.name = write(node.name)
    for index, tensor in enumerate(node.input):
        if tensor in inner:
            copy.input[index] = read(tensor)
    for index, tensor in enumerate(node.output):
        if tensor:
            copy.output[index] = write(tensor)
    return copy


def _let_in(tensor: str, untouched: str, kind: int) -> Iterator[NodeProto]:
    """Yield the nodes that add the error of one tensor where it is switched on and finite."""
    name = f"{tensor}/error"
    for op, inputs, output in (
        ("Sub", (given_name(tensor), local_name(tensor)), name),
        ("Abs", (name,), f"{name}/size"),
        ("Less", (f"{name}/size", _largest(kind)), f"{name}/finite"),
        ("And", (f"{name}/finite", switch_name(tensor)), f"{name}/on"),
        ("Where", (f"{name}/on", name, _zero(kind)), f"{name}/let-in"),
        ("Add", (untouched, f"{name}/let-in"), mixed_name(tensor)),
    ):
        yield helper.make_node(op, inputs, [output], name=f"{output}/probe")


def _zero(kind: int) -> str:
    return f"trtlab/zero/{kind}"


def _largest(kind: int) -> str:
    return f"trtlab/largest/{kind}"
