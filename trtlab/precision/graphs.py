"""Reading, naming, ordering and writing the graphs that a conversion rewrites.

Runs native code: for worker processes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from trtlab.codec import to_json
from trtlab.errors import ModelError, SpecError, UnsupportedError
from trtlab.model.checking import NodeNames, default_opset
from trtlab.model.conversion import ConversionReport
from trtlab.model.graphs import infer, skeleton_of
from trtlab.model.reading import CONVERSION_KEY
from trtlab.model.weights import (
    WeightFolder,
    element_count,
    graph_tensors,
    is_external,
    stored_bytes,
    subgraphs_of,
)
from trtlab.units import text_from_bytes

LARGEST = 2**31
"""Bytes of weights; protobuf cannot write a larger message into one file."""

_FREE_INITIALISERS = 4
"""The IR version from which initialisers need not be inputs."""

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def open_graph(path: Path) -> onnx.ModelProto:
    """Read a model that can be converted, weights inside, every node with a name of its own.

    Constant nodes with floats become initialisers: they are weights like the others. Initialisers
    are no inputs, and no outputs: files of before IR version 4 list them among the inputs, which
    would be cast at every run.

    Raises:
        ModelError: the weights exceed 2 GiB.
        UnsupportedError: the graph has subgraphs or local functions.
    """
    model = onnx.load(path, load_external_data=False)
    size = sum(map(stored_bytes, graph_tensors(model.graph)))
    if size >= LARGEST:
        raise ModelError(
            f"{path.name} has {text_from_bytes(size)} of weights; a converted model is written "
            "into one file, which ends at 2 GiB.",
            hint="Convert a smaller part of it, or convert it with the tool that exported it.",
        )
    inside = next((n for n in model.graph.node if any(map(subgraphs_of, n.attribute))), None)
    if inside is not None:
        raise UnsupportedError(
            f"Node {inside.name or inside.op_type} ({inside.op_type}) holds a graph of its own, "
            "which is not converted.",
            hint="Export the model without If, Loop and Scan.",
        )
    if model.functions:
        raise UnsupportedError(
            f"{path.name} has local functions, which are not converted.",
            hint="Inline them first: onnx.inliner.inline_local_functions.",
        )
    folder = WeightFolder.of(path)
    for tensor in graph_tensors(model.graph):
        if is_external(tensor):
            tensor.raw_data = folder.values(tensor)
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
    names = NodeNames(model.graph).of(model.graph.node)
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    _lift_constants(model.graph)
    _part_from_ends(model)
    return model


def _lift_constants(graph: onnx.GraphProto) -> None:
    kept: list[NodeProto] = []
    for node in graph.node:
        tensor = _float_constant(node)
        if tensor is None:
            kept.append(node)
        else:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
    if len(kept) < len(graph.node):
        replace_nodes(graph, kept)


def _part_from_ends(model: onnx.ModelProto) -> None:
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    inputs = [v for v in graph.input if v.name not in stored]
    if len(inputs) < len(graph.input):
        graph.ClearField("input")
        graph.input.extend(inputs)
        model.ir_version = max(model.ir_version, _FREE_INITIALISERS)
    passed = {v.name for v in inputs}.intersection(v.name for v in graph.output)
    if passed:
        raise UnsupportedError(
            f"Tensor {min(passed)} is an input and an output at once, which cannot change its "
            "type on the way.",
            hint="Export the model without the output that only passes an input on.",
        )
    for name in (v.name for v in graph.output if v.name in stored):
        copy = f"{name}_stored"
        stored[name].name = copy
        graph.node.append(helper.make_node("Identity", [copy], [name], name=f"{name}_Identity"))


def _float_constant(node: NodeProto) -> TensorProto | None:
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.t.data_type in _FLOATS:
            made = TensorProto()
            made.CopyFrom(attribute.t)
            return made
        if attribute.name == "value_float":
            return numpy_helper.from_array(np.array(attribute.f, np.float32))
        if attribute.name == "value_floats":
            return numpy_helper.from_array(np.array(attribute.floats, np.float32))
    return None


def part_weights(graph: onnx.GraphProto, kept: Collection[str]) -> None:
    """Give kept nodes a copy of the weights that others read too: those get narrow."""
    others = {t for n in graph.node if n.name not in kept for t in n.input}
    shared = {t.name: t for t in graph.initializer if t.data_type in _FLOATS and t.name in others}
    copies: set[str] = set()
    for node in graph.node:
        if node.name not in kept:
            continue
        for index, name in enumerate(node.input):
            if name in shared:
                node.input[index] = f"{name}_kept"
                copies.add(name)
    for name in sorted(copies):
        graph.initializer.add().CopyFrom(shared[name])
        graph.initializer[-1].name = f"{name}_kept"


def replace_nodes(graph: onnx.GraphProto, nodes: Iterable[NodeProto]) -> None:
    """Give the graph other nodes."""
    chosen = list(nodes)
    graph.ClearField("node")
    graph.node.extend(chosen)


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Bring the nodes into an order in which each comes after those it reads from.

    The order stays as near to the given one as it can: of the nodes that are ready, the first.
    """
    import heapq

    made_by = {name: i for i, n in enumerate(graph.node) for name in n.output if name}
    needs = [{made_by[t] for t in n.input if t in made_by} for n in graph.node]
    readers: dict[int, list[int]] = {}
    for index, before in enumerate(needs):
        for other in before:
            readers.setdefault(other, []).append(index)
    waiting = [len(before) for before in needs]
    ready = [i for i, count in enumerate(waiting) if not count]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers.get(index, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    replace_nodes(graph, [graph.node[i] for i in order])


def inferred_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every tensor that inference knows, weights not copied."""
    found = infer(skeleton_of(model)).graph
    values = (*found.input, *found.output, *found.value_info)
    return {v.name: v.type.tensor_type.elem_type for v in values} | {
        t.name: t.data_type for t in model.graph.initializer
    }


def with_opset(model: onnx.ModelProto, version: int, ir_version: int) -> onnx.ModelProto:
    """Return the model in at least that opset and IR version.

    Raises:
        UnsupportedError: onnx's converter cannot bring its operators there.
    """
    if default_opset(model.opset_import) < version:
        from onnx import version_converter

        before = {n.output[0]: n.name for n in model.graph.node if n.output}
        try:
            model = version_converter.convert_version(model, version)
        except (RuntimeError, ValueError, TypeError) as error:
            text = str(error).strip().splitlines()
            raise UnsupportedError(
                f"Its operators cannot be brought to opset {version}, which this precision "
                f"needs: {text[-1][:200] if text else 'no reason given'}",
                hint=f"Export the model with opset {version}.",
            ) from error
        for node in model.graph.node:
            node.name = before.get(node.output[0], node.name)
    model.ir_version = max(model.ir_version, ir_version)
    return model


def chosen_nodes(
    nodes: Sequence[NodeProto], keep: Sequence[str], keep_ops: Collection[str]
) -> dict[str, str]:
    """Return which nodes are to be left alone, by name, and why.

    Raises:
        SpecError: a name, pattern or operator fits no node.
    """
    chosen: dict[str, str] = {}
    for pattern in keep:
        found = [n.name for n in nodes if pattern == n.name or fnmatchcase(n.name, pattern)]
        if not found:
            raise SpecError(
                f"No node is called {pattern!r}.",
                hint="trtlab inspect MODEL --json lists the nodes. *, ? and [ ] are patterns; a "
                "name as it stands is taken first.",
            )
        chosen |= dict.fromkeys(found, "asked for")
    for op in keep_ops:
        found = [n.name for n in nodes if n.op_type == op]
        if not found:
            raise SpecError(
                f"The model has no operator {op!r}.", hint="trtlab inspect MODEL lists them."
            )
        chosen |= dict.fromkeys(found, "operator asked for")
    return chosen


def float_weights(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Yield the initialisers that hold floating-point numbers."""
    return (t for t in model.graph.initializer if t.data_type in _FLOATS)


def weight_bytes(model: onnx.ModelProto) -> int:
    """Bytes of all weights."""
    return sum(map(stored_bytes, graph_tensors(model.graph)))


def weight_elements(model: onnx.ModelProto) -> int:
    """Number of weights that are floating-point numbers."""
    return sum(map(element_count, float_weights(model)))


def elements_of(model: onnx.ModelProto, kind: int) -> int:
    """Number of weights of one element type."""
    return sum(element_count(t) for t in model.graph.initializer if t.data_type == kind)


def array_of(tensor: TensorProto) -> np.ndarray:
    """Return an initialiser's values, of its shape."""
    made: np.ndarray = numpy_helper.to_array(tensor)
    return made


def tensor_of(values: np.ndarray, name: str) -> TensorProto:
    """Return values as an initialiser; ml_dtypes' types are ONNX's."""
    # Not ascontiguousarray, which makes a scale without axes one of one element: TensorRT-RTX 1.7
    # then dequantises first and computes in float.
    return numpy_helper.from_array(np.asarray(values, order="C"), name)


def save(model: onnx.ModelProto, target: Path, report: ConversionReport) -> None:
    """Write a converted model; what was done to it lies in its metadata."""
    kept = {p.key: p.value for p in model.metadata_props if p.key != CONVERSION_KEY}
    helper.set_model_props(model, {**kept, CONVERSION_KEY: to_json(report).decode()})
    onnx.save(model, target)
