"""From an ONNX protobuf to a ``Graph``: shapes inferred, no weight values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import onnx
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]
from onnx import AttributeProto, TensorProto, helper, shape_inference

from trtlab.errors import SpecError
from trtlab.model.checking import NodeNames
from trtlab.model.printing import printable
from trtlab.model.types import Attribute, Dim, Graph, Node, Tensor
from trtlab.model.weights import (
    WeightFolder,
    dtype_name,
    element_count,
    graph_tensors,
    is_external,
    stored_tensors,
    subgraphs_of,
)
from trtlab.units import text_from_shape

_SMALL_ELEMENTS = 1024
"""Tensors up to this size keep their values for inference: they may be shapes or axes."""

_LONGEST_ATTRIBUTE = 64
"""Longer attribute lists are left out of the record."""


def skeleton_of(model: onnx.ModelProto, weights: WeightFolder | None = None) -> onnx.ModelProto:
    """Copy a model with its large weights replaced by graph inputs.

    The checker and shape inference serialise and parse what they get, so they should not get
    hundreds of megabytes, nor files beyond protobuf's 2 GB. Weights inside subgraphs are kept.

    Args:
        model: The model; it is not changed.
        weights: Where external data lies; None leaves external tensors without values.
    """
    bare = onnx.ModelProto(ir_version=model.ir_version)
    bare.opset_import.extend(model.opset_import)
    bare.functions.extend(model.functions)
    graph, source = bare.graph, model.graph
    graph.name = source.name
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    graph.sparse_initializer.extend(source.sparse_initializer)
    declared = {value.name for value in source.input}

    def make_input(name: str, tensor: TensorProto) -> None:
        if name not in declared:
            declared.add(name)
            shape = list(tensor.dims)
            graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, shape))

    for tensor in source.initializer:
        if _is_small(tensor, weights):
            graph.initializer.append(tensor)
        else:
            make_input(tensor.name, tensor)
    for node in source.node:
        constant = _constant_tensor(node)
        if constant is not None and not _is_small(constant, weights):
            make_input(node.output[0], constant)
        else:
            graph.node.append(node)
    if weights is not None:
        for tensor in graph_tensors(graph):
            _inline(tensor, weights)
        for function in bare.functions:
            for tensor in stored_tensors(function.node):
                _inline(tensor, weights)
    return bare


def _is_small(tensor: TensorProto, weights: WeightFolder | None) -> bool:
    return element_count(tensor) <= _SMALL_ELEMENTS and not (
        is_external(tensor) and weights is None
    )


def _inline(tensor: TensorProto, weights: WeightFolder) -> None:
    if is_external(tensor):
        tensor.raw_data = weights.values(tensor)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")


def _constant_tensor(node: onnx.NodeProto) -> TensorProto | None:
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    tensors: list[TensorProto] = [a.t for a in node.attribute if a.name == "value"]
    return tensors[0] if tensors else None


def infer(skeleton: onnx.ModelProto) -> onnx.ModelProto:
    """Infer shapes with data propagation; what cannot be inferred keeps its declared type.

    Declared ``value_info`` counts only where inference finds nothing (operators of other
    domains): it is often stale after somebody changed the model.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(skeleton)
    bare.graph.ClearField("value_info")
    try:
        inferred = shape_inference.infer_shapes(bare, data_prop=True)
        known = {v.name for v in inferred.graph.value_info if v.type.tensor_type.HasField("shape")}
        missing = [v for v in skeleton.graph.value_info if v.name not in known]
        if missing:
            bare.graph.value_info.extend(missing)
            inferred = shape_inference.infer_shapes(bare, data_prop=True)
    except (shape_inference.InferenceError, ProtobufError, RuntimeError, ValueError, TypeError):
        return skeleton
    return inferred


def graph_from_proto(model: onnx.ModelProto, weights: WeightFolder | None = None) -> Graph:
    """Make the ``Graph`` of a model, with subgraphs, inferred shapes and named dynamic axes.

    Node names are unique in the result (see ``NodeNames``). Attributes are kept when they are
    small: lists over 64 elements and nested types are left out, a tensor is its dtype and shape
    as text, and floats that JSON lacks are ``"inf"``, ``"-inf"`` or ``"nan"``.

    Args:
        model: The model, already checked.
        weights: Where external data lies, for small tensors that decide about shapes.
    """
    return build_graph(model, infer(skeleton_of(model, weights)))


def build_graph(model: onnx.ModelProto, inferred: onnx.ModelProto) -> Graph:
    """Make a ``Graph`` from a model and the inferred form of its skeleton."""
    return _graph(model.graph, inferred.graph, NodeNames(model.graph))


def with_shapes(
    model: onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]],
    weights: WeightFolder | None = None,
) -> Graph:
    """Make the ``Graph`` for concrete input shapes, as far as inference can follow them.

    Args:
        model: The model, already checked; it is not changed.
        shapes: A shape for every input with a dynamic axis.
        weights: Where external data lies.

    Raises:
        SpecError: an input is unknown or lacks a shape, or a shape does not fit the model.
    """
    bare = skeleton_of(model, weights)
    bare.graph.ClearField("value_info")
    stored = {t.name for t in model.graph.initializer}
    free = {v.name: v for v in model.graph.input if v.name not in stored}
    for name in shapes:
        if name not in free:
            raise SpecError(
                f"The model has no input {name!r}.",
                hint=f"Its inputs are {', '.join(map(repr, free))}.",
            )
    axes: dict[str, int] = {}
    for value in bare.graph.input:
        if value.name in free:
            _fix(value, shapes.get(value.name), axes)
    for value in bare.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")  # a declared axis would hide the size
    return build_graph(model, infer(bare))


def _fix(value: onnx.ValueInfoProto, shape: tuple[int, ...] | None, axes: dict[str, int]) -> None:
    declared = _shape(value.type)
    if shape is None:
        if declared is None or not all(isinstance(d, int) for d in declared):
            text = "an unknown rank" if declared is None else f"shape {text_from_shape(declared)}"
            raise SpecError(
                printable(f"Input {value.name!r} has {text}, and no shape was given for it."),
                hint="Give a shape for every input with a dynamic axis.",
            )
        return
    fits = declared is None or (
        len(declared) == len(shape)
        and all(d == s or not isinstance(d, int) for d, s in zip(declared, shape, strict=True))
    )
    named = [(d, s) for d, s in zip(declared or (), shape, strict=False) if isinstance(d, str)]
    if not fits or any(axes.setdefault(d, s) != s for d, s in named) or min(shape, default=0) < 0:
        raise SpecError(
            printable(
                f"Shape {text_from_shape(shape)} does not fit input {value.name!r} "
                f"{text_from_shape(declared or ())}."
            ),
            hint="Axes of one name must have one size; numbers in the model's shape are fixed.",
        )
    value.type.tensor_type.ClearField("shape")
    value.type.tensor_type.shape.SetInParent()
    for size in shape:
        value.type.tensor_type.shape.dim.add().dim_value = size


def _graph(graph: onnx.GraphProto, inferred: onnx.GraphProto, names: NodeNames) -> Graph:
    stored = {t.name for t in graph.initializer}
    types = {
        value.name: value.type
        for values in (inferred.value_info, inferred.input, inferred.output)
        for value in values
    }
    tensors = {
        value.name: _tensor(value.name, types) for value in graph.input if value.name not in stored
    }
    inputs = tuple(tensors)
    for name, dtype, shape in _stored(graph):
        tensors[name] = Tensor(name, dtype, shape, is_constant=True)
    inner = {node.output[0]: node for node in inferred.node if node.output}
    nodes = []
    for node, name in zip(graph.node, names.of(graph.node), strict=True):
        twin = inner.get(node.output[0], node) if node.output else node
        nodes.append(_node(node, name, twin, names))
        is_constant = node.op_type == "Constant" and node.domain in ("", "ai.onnx")
        for out in filter(None, node.output):
            tensors[out] = _tensor(out, types, is_constant=is_constant)
    outputs = tuple(value.name for value in graph.output)
    return Graph(graph.name, tuple(nodes), tensors, inputs, outputs)


def _stored(graph: onnx.GraphProto) -> Iterator[tuple[str, str | None, tuple[int, ...]]]:
    for tensor in graph.initializer:
        yield tensor.name, dtype_name(tensor.data_type), tuple(tensor.dims)
    for sparse in graph.sparse_initializer:
        yield sparse.values.name, dtype_name(sparse.values.data_type), tuple(sparse.dims)


def _tensor(
    name: str, types: Mapping[str, onnx.TypeProto], *, is_constant: bool = False
) -> Tensor:
    kind = types.get(name)
    if kind is None or not kind.HasField("tensor_type"):
        return Tensor(name, None, None, is_constant)
    return Tensor(name, dtype_name(kind.tensor_type.elem_type), _shape(kind), is_constant)


def _shape(kind: onnx.TypeProto) -> tuple[Dim, ...] | None:
    if not kind.tensor_type.HasField("shape"):
        return None
    return tuple(_dim(dim) for dim in kind.tensor_type.shape.dim)


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value") and dim.dim_value >= 0:  # some exporters write -1 for unknown
        return int(dim.dim_value)
    return str(dim.dim_param) or None


def _node(node: onnx.NodeProto, name: str, twin: onnx.NodeProto, names: NodeNames) -> Node:
    attributes: dict[str, Attribute] = {}
    subgraphs: dict[str, Graph] = {}
    inferred = {a.name: subgraphs_of(a) for a in twin.attribute}
    for attribute in node.attribute:
        value = _attribute(attribute)
        if value is not None:
            attributes[attribute.name] = value
        graphs = subgraphs_of(attribute)
        twins = inferred.get(attribute.name, graphs)
        for index, (graph, inner) in enumerate(zip(graphs, twins, strict=True)):
            key = attribute.name if attribute.HasField("g") else f"{attribute.name}[{index}]"
            subgraphs[key] = _graph(graph, inner, names)
    return Node(
        name=name,
        op=node.op_type,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        domain="" if node.domain == "ai.onnx" else node.domain,
        attributes=attributes,
        subgraphs=subgraphs,
        file_name=None if node.name == name else node.name,
    )


def _attribute(attribute: AttributeProto) -> Attribute | None:
    match attribute.type:
        case AttributeProto.INT:
            return int(attribute.i)
        case AttributeProto.FLOAT:
            return _number(attribute.f)
        case AttributeProto.STRING:
            return _text(attribute.s)
        case AttributeProto.INTS:
            return _short(map(int, attribute.ints), len(attribute.ints))
        case AttributeProto.FLOATS:
            return _short(map(_number, attribute.floats), len(attribute.floats))
        case AttributeProto.STRINGS:
            return _short(map(_text, attribute.strings), len(attribute.strings))
        case AttributeProto.TENSOR:
            dtype = dtype_name(attribute.t.data_type) or "unknown"
            return f"{dtype}{text_from_shape(tuple(attribute.t.dims))}"
        case _:
            return None


def _short(
    values: Iterable[int | float | str], length: int
) -> tuple[int | float | str, ...] | None:
    return tuple(values) if length <= _LONGEST_ATTRIBUTE else None


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="backslashreplace")
