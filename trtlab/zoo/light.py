"""Make ordinary networks from the light models of the onnx wheel.

A light model is a well-known classifier as Caffe2 exported it, with each large weight replaced
by a ConstantOfShape node: opset 9, batch 1, and one value in all outputs. Here the graph
is kept, the weights are drawn and settled, and the batch becomes dynamic.
"""

from __future__ import annotations

import math
import os.path
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from trtlab.errors import ModelError
from trtlab.zoo import settle

_LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
_BRANCH = 0.3
"""Gain of residual branches. Small ones, as training starts from (arXiv:1706.02677, section 5.1),
keep ResNet-50 from multiplying a small difference: 1 % of noise on the input changed its logits
by 12 % with gain 1 and by 6 % with this."""
_PARAMETER_ENDING = re.compile(r"_(w|b|s|rm|riv|scale|bias|mean|var)$")


@dataclass(slots=True)
class _Reading:
    """What is known after reading a light model."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of float parameters
    integers: dict[str, settle.Array] = field(default_factory=dict)  # targets of Reshape
    aliases: dict[str, str] = field(default_factory=dict)  # tensors that are another one now


def light(name: str, report: settle.Report) -> onnx.ModelProto:
    """Build the model ``name`` from its light model.

    Raises:
        ModelError: the installed onnx has no such light model.
    """
    path = _LIGHT / f"light_{name}.onnx"
    if not path.is_file():
        raise ModelError(
            f"{name} is made from {path.name}, which the installed onnx {onnx.__version__} lacks.",
            hint="Reinstall onnx from its wheel: pip install --force-reinstall onnx",
        )
    source = onnx.load(path).graph
    reading = _read(source)
    nodes = reading.nodes
    weights = _rename(nodes, _weights(reading, report))
    has_softmax = nodes[-1].op_type == "Softmax"
    settle.settle(nodes[:-1] if has_softmax else nodes, weights, {"data": settle.images()}, report)
    output = [d.dim_value for d in source.output[0].type.tensor_type.shape.dim]
    return settle.as_model(
        helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, ["N", 3, 224, 224])],
            [
                helper.make_tensor_value_info(
                    nodes[-1].output[0], onnx.TensorProto.FLOAT, ["N", *output[1:]]
                )
            ],
            [numpy_helper.from_array(array, tensor) for tensor, array in weights.items()],
        )
    )


def _read(graph: onnx.GraphProto) -> _Reading:
    """Take the parameters' shapes out of the graph and bring its nodes to opset 17."""
    found = _Reading()
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT64:
            found.integers[tensor.name] = numpy_helper.to_array(tensor)
        else:  # the few real weights would not fit the drawn ones
            found.shapes[tensor.name] = tuple(tensor.dims)
    for node in graph.node:
        inputs = [found.aliases.get(name, name) for name in node.input]
        if node.op_type == "ConstantOfShape":
            found.shapes[node.output[0]] = tuple(found.integers[inputs[0]].tolist())
        elif node.op_type == "Dropout":
            found.aliases[node.output[0]] = inputs[0]
        elif inputs[0] in found.shapes:  # Unsqueeze or Reshape of a parameter
            found.shapes[inputs[0]] = _reshaped(node, found.shapes[inputs[0]], found.integers)
            found.aliases[node.output[0]] = inputs[0]
        else:
            found.nodes.append(_modern(node, inputs, found.integers))
    return found


def _reshaped(
    node: onnx.NodeProto, shape: tuple[int, ...], integers: Mapping[str, settle.Array]
) -> tuple[int, ...]:
    if node.op_type == "Reshape":
        return tuple(integers[node.input[1]].tolist())
    (axes,) = (helper.get_attribute_value(a) for a in node.attribute)
    dims = list(shape)
    for axis in axes:
        dims.insert(axis, 1)
    return tuple(dims)


def _modern(
    node: onnx.NodeProto, inputs: list[str], integers: dict[str, settle.Array]
) -> onnx.NodeProto:
    """Copy a node with the meaning that opset 17 gives it."""
    kept = onnx.NodeProto()
    kept.CopyFrom(node)
    del kept.input[:]
    kept.input.extend(inputs)
    if node.op_type == "Sum" and len(inputs) == 2:
        kept.op_type = "Add"
    elif node.op_type == "Softmax":
        # Before opset 13 the default axis was 1; now it is the last one.
        kept.attribute.append(helper.make_attribute("axis", 1))
    elif node.op_type == "Reshape":
        target = integers[inputs[1]].copy()
        target[0] = 0  # take the batch from the input
        integers[inputs[1]] = target
    return kept


def _weights(reading: _Reading, report: settle.Report) -> dict[str, settle.Array]:
    """Draw every parameter: by its place in a node, whatever its name says."""
    makers = {node.output[0]: node.op_type for node in reading.nodes}
    into_relu = {node.input[0] for node in reading.nodes if node.op_type == "Relu"}
    # The first input of an Add is the branch, the second the shortcut.
    branches = {
        node.input[0]
        for node in reading.nodes
        if node.op_type == "Add" and node.input[1] in makers
    }
    places = {
        tensor: (node, place)
        for node in reading.nodes
        for place, tensor in enumerate(node.input)
        if tensor in reading.shapes
    }
    weights = dict(reading.integers)
    for done, (tensor, (node, place)) in enumerate(places.items()):
        report("weights", done, len(places))
        shape = reading.shapes[tensor]
        op = node.op_type
        if op in ("Conv", "Gemm") and place == 1:
            # He initialisation (arXiv:1502.01852): keeps the deviation through ReLU.
            weights[tensor] = settle.normal(tensor, shape, math.sqrt(2 / math.prod(shape[1:])))
        elif op == "Mul" or (op == "BatchNormalization" and place in (1, 4)):
            factor = _BRANCH if place == 1 and node.output[0] in branches else 1.0
            weights[tensor] = settle.gains(tensor, shape) * np.float32(factor)
        else:
            shift = settle.BEFORE_RELU if node.output[0] in into_relu else 0.0
            weights[tensor] = settle.normal(tensor, shape, 0.1) + np.float32(shift)
    report("weights", len(places), len(places))
    return weights


def _rename(
    nodes: list[onnx.NodeProto], weights: Mapping[str, settle.Array]
) -> dict[str, settle.Array]:
    """Name nodes after their weights, ``conv1/Conv``, and activations after nodes, in place.

    Returns:
        The weights under their new names, without those that no node reads.
    """
    read = {name for node in nodes for name in node.input}
    tensors = {name: _short(name) for name in weights if name in read}
    renamed = {tensors[name]: array for name, array in weights.items() if name in read}
    stems = {nodes[0].input[0]: "data"}  # of activations
    tensors[nodes[0].input[0]] = "data"
    seen: Counter[str] = Counter()
    for node in nodes:
        stem = _stem(node, tensors, stems)
        node.name = f"{stem}/{node.op_type}"
        seen[node.name] += 1
        if seen[node.name] > 1:
            node.name += f"_{seen[node.name]}"
        stems[node.output[0]] = stem
        tensors[node.output[0]] = f"{node.name}_output"
    tensors[nodes[-1].output[0]] = "prob" if nodes[-1].op_type == "Softmax" else "logits"
    for node in nodes:
        names = [tensors[name] for name in node.input]
        del node.input[:]
        node.input.extend(names)
        node.output[0] = tensors[node.output[0]]
    return renamed


def _short(name: str) -> str:
    return name.removeprefix("gpu_0/").removesuffix("_0").replace("OC2_DUMMY_", "shape_")


def _stem(node: onnx.NodeProto, tensors: Mapping[str, str], stems: Mapping[str, str]) -> str:
    """What a node belongs to: its parameter's name, or where its input comes from."""
    parents = [stems[name] for name in node.input if name in stems]
    if len(parents) < len(node.input) and node.op_type != "Reshape":
        parameter = next(name for name in node.input if name not in stems)
        return _PARAMETER_ENDING.sub("", tensors[parameter])
    if node.op_type == "Concat":
        shared = os.path.commonpath(parents)
        return shared or parents[-1]
    return parents[0]
