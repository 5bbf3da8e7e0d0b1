"""A graph rebuilt from the names and tensors of a plan's layers, where there is no ONNX file.

Its nodes are the parts of the layers' names; their order inside a layer is that of the name, which
is nearly always that of the data. Their operators are read off the names. Tensors inside a layer
have no known shape. So it shows what was fused, and nothing about what was folded or removed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from trtlab.analysis.fusion.kinds import ANCHORS, QUANTISERS
from trtlab.analysis.fusion.names import is_helper, parse
from trtlab.model.types import Graph, Node, Tensor
from trtlab.record import EngineLayer, LayerTensor

_OP = re.compile(r"(?:node_)?(.*?)(?:_*\d+)?(?:_quantized)?", re.DOTALL)
_WEIGHT = re.compile(
    r".*(?:[._](?:weight|bias|kernel|gamma|beta)|:\d+|/ReadVariableOp)", re.DOTALL
)
_OPS = {
    "conv1d": "Conv", "conv2d": "Conv", "conv3d": "Conv", "convolution": "Conv",
    "depthwiseconv2dnative": "Conv", "depthwise": "Conv", "conv2dbackpropinput": "ConvTranspose",
    "linear": "Gemm", "addmm": "Gemm", "dense": "Gemm", "mm": "MatMul", "bmm": "MatMul",
    "matmul": "MatMul", "batchmatmulv2": "MatMul", "biasadd": "Add", "add": "Add", "addv2": "Add",
    "relu": "Relu", "relu6": "Clip", "max_pool2d": "MaxPool", "maxpool": "MaxPool",
    "avgpool": "AveragePool", "softmax": "Softmax", "quantlinearnode": "QuantizeLinear",
}  # fmt: skip
"""Operators of ONNX by what PyTorch's and TensorFlow's exporters call their nodes."""


@dataclass(slots=True)
class _Draft:
    nodes: dict[str, Node] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)


def graph_from_layers(name: str, layers: Sequence[EngineLayer]) -> Graph:
    """Rebuild what can be known of a graph from a plan's layers alone."""
    draft = _Draft()
    parts = [nodes_named(layer) for layer in layers]
    last: dict[str, str] = {}  # by the engine's tensor: the graph's tensor that stands for it
    written = {t.name for layer in layers for t in layer.outputs}
    for layer, nodes in zip(layers, parts, strict=True):
        inputs = [last.setdefault(t.name, t.name) for t in layer.inputs]
        for tensor in layer.inputs:
            _keep(draft, tensor)
        if not nodes:
            for tensor in layer.outputs:
                last[tensor.name] = inputs[0] if inputs else tensor.name
                _keep(draft, tensor)
            continue
        outputs = [t.name for t in layer.outputs]
        for tensor in layer.outputs:
            last[tensor.name] = tensor.name
            _keep(draft, tensor)
        new = [name for name in nodes if name not in draft.nodes]
        ops = dict(zip(new, _operators(layer, new), strict=True))
        _chain(draft, ops, _weights(layer), inputs, outputs)
    read = {t for node in draft.nodes.values() for t in node.inputs}
    made = {t for node in draft.nodes.values() for t in node.outputs}
    inputs = [t.name for y in layers for t in y.inputs if t.name not in written]
    outputs = [t for node in draft.nodes.values() for t in node.outputs if t not in read]
    return Graph(
        name,
        tuple(draft.nodes.values()),
        {key: draft.tensors.get(key) or Tensor(key, None, None) for key in
         dict.fromkeys((*draft.tensors, *read, *made))},
        tuple(dict.fromkeys(inputs)),
        tuple(dict.fromkeys(outputs)),
    )  # fmt: skip


def nodes_named(layer: EngineLayer, known: Collection[str] = ()) -> tuple[str, ...]:
    """Return the nodes in a layer, as far as metadata or its name tells without the graph.

    Args:
        layer: The layer.
        known: Names of the graph's nodes and tensors, where there is a graph.
    """
    if layer.nodes:
        return layer.nodes
    leaves = parse(layer.name, known).leaves
    return tuple(
        leaf
        for leaf, following in zip(leaves, (*leaves, "")[1:], strict=True)
        if not is_helper(leaf) and not _is_weight(leaf, following)
    )


def _is_weight(leaf: str, following: str) -> bool:
    """Whether a part is a weight: by its ending, or because what follows quantises it."""
    quantised = "quant" in _last(following).lower() and "quant" not in _last(leaf).lower()
    return _WEIGHT.fullmatch(leaf) is not None or quantised


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def _operator(name: str) -> str:
    """Return the operator that a node's name tells of, as ONNX calls it where that is known."""
    match = _OP.fullmatch(_last(name))
    word = (match[1] if match else "") or _last(name)
    return _OPS.get(word.lower(), word)


def _keep(draft: _Draft, tensor: LayerTensor) -> None:
    draft.tensors.setdefault(tensor.name, Tensor(tensor.name, tensor.dtype, tensor.shape))


def _operators(layer: EngineLayer, names: Sequence[str]) -> list[str]:
    """Return the operators of a layer's nodes by their names, held against the layer's own type.

    Exporters keep a name when they change what it stands for: ``Conv2D__6`` may be a Transpose,
    ``BiasAdd`` a convolution.
    """
    ops = [_operator(name) for name in names]
    said = layer.details.get("ParameterType", "").strip('"')
    anchors = [op for op in ops if op in ANCHORS]
    if said == "Convolution" and not anchors:
        place = next((i for i, op in enumerate(ops) if op not in QUANTISERS), None)
        if place is not None:
            ops[place] = "Conv"
    elif said and said != "Convolution" and anchors and len(ops) == 1:
        ops = [said]
    return ops


def _weights(layer: EngineLayer) -> dict[str, str]:
    """Return the weights that a layer's name holds, by the node that quantises each."""
    leaves = parse(layer.name).leaves
    return {
        following: leaf
        for leaf, following in pairwise(leaves)
        if _is_weight(leaf, following) and "quant" in _last(following).lower()
    }


def _chain(
    draft: _Draft,
    ops: Mapping[str, str],
    weights: Mapping[str, str],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> None:
    """Add a layer's nodes one behind the other; a second input goes to the first Add.

    One that quantises a weight reads that alone, and the node behind it reads both.
    """
    prepared: tuple[str, ...] = ()
    for name in [name for name in ops if name in weights]:
        weight, ready = weights[name], f"{name} of {weights[name]}"
        draft.tensors[weight] = Tensor(weight, None, None, is_constant=True)
        draft.nodes[name] = Node(name, ops[name], (weight,), (ready,))
        prepared = (*prepared, ready)
    names = [name for name in ops if name not in weights]
    if not names:
        return
    adds = [name for name in names if ops[name] == "Add"]
    passed: tuple[str, ...] = tuple(inputs) if not adds or names[0] == adds[0] else (*inputs[:1],)
    rest = tuple(t for t in inputs if t not in passed)
    for number, name in enumerate(names):
        read = (*passed, *rest) if adds and name == adds[0] and number else passed
        read = read if number else (*read, *prepared)
        ends = number == len(names) - 1
        written = tuple(outputs) if ends else (f"{name} → {names[number + 1]}",)
        written = tuple(t for t in written if t not in inputs)
        draft.nodes[name] = Node(name, ops[name], tuple(dict.fromkeys(read)), written)
        passed = written
