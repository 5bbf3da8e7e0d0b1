"""FP16 arithmetic on a processor that has none: FP32 that rounds wherever FP16 is stored.

ONNX Runtime's CPU computes FP16 graphs in FP32 and leaves out the casts between their nodes, at
every optimisation level: ``x * 1000 * 1000`` overflows nowhere. A Cast to FP16 followed by a Cast
back, in a graph of FP32, it does keep. So each FP16 tensor becomes an FP32 one that went through
such a pair. Within a node sums are FP32, as in the tensor cores of a GPU; a GPU that fuses nodes
rounds less often than this, never more.

Q/DQ, FP8's too, ONNX Runtime computes as written with its optimisations off. Runs native code:
for worker processes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from trtlab.errors import UnsupportedError
from trtlab.precision.graphs import inferred_types, open_graph, replace_nodes

_HALF, _SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT


def emulated(source: Path) -> onnx.ModelProto:
    """Return a model that computes in FP32 and rounds to FP16 where ``source`` stores FP16.

    Tensors keep their names, inputs and outputs their types.

    Raises:
        UnsupportedError: the graph has subgraphs or local functions, or a tensor whose type
            cannot be told.
        ModelError: the weights exceed 2 GiB.
    """
    model = open_graph(source)
    types = inferred_types(model)
    if _HALF in types.values():
        _widen(model, types)
    return model


def _widen(model: onnx.ModelProto, types: dict[str, int]) -> None:
    graph = model.graph
    half = {name for name, kind in types.items() if kind == _HALF}
    stored = {t.name for t in graph.initializer}
    inputs = [v.name for v in graph.input if v.name in half - stored]
    outputs = {v.name for v in graph.output} & half
    wide = {name: f"{name}/float32" for name in {*inputs, *outputs}}
    nodes = [_cast(name, wide[name], _SINGLE) for name in inputs]
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for value in graph.input:
        if value.name in stored and value.name in half:
            value.type.tensor_type.elem_type = _SINGLE
    for node in graph.node:
        _check_known(node, types)
        for index, name in enumerate(node.input):
            node.input[index] = wide.get(name, name)
        is_cast = node.op_type == "Cast"
        if not is_cast:
            _widen_attributes(node)
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name not in half:
                continue
            # What an output is called must stay FP16; another tensor's FP32 form has its name.
            rounded = name if name in outputs else f"{name}/float16"
            if is_cast:
                node.output[index] = rounded  # it rounds itself
            else:
                node.output[index] = f"{name}/exact"
                nodes.append(_cast(node.output[index], rounded, _HALF))
            nodes.append(_cast(rounded, wide.get(name, name), _SINGLE))
    replace_nodes(graph, nodes)
    graph.ClearField("value_info")


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=kind)


def _check_known(node: NodeProto, types: dict[str, int]) -> None:
    unknown = next((n for n in node.output if n and not types.get(n)), None)
    if unknown is not None:
        raise UnsupportedError(
            f"The type of tensor {unknown!r}, which node {node.name} ({node.op_type}) writes, "
            "cannot be told: FP16 cannot be emulated around it.",
            hint="Name tensor types in the file (value_info), or run it on a GPU.",
        )


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == _HALF:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _widen_attributes(node: NodeProto) -> None:
    """Let what an operator makes of itself be FP32: values, and types that it is told."""
    for attribute in node.attribute:
        if attribute.HasField("t"):
            _widen_tensor(attribute.t)
        elif attribute.name in ("dtype", "output_dtype", "precision") and attribute.i == _HALF:
            attribute.i = _SINGLE
