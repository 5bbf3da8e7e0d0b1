"""FP16 and BF16: ONNX Runtime's converter settles the types, NumPy casts the weights.

The converter sees the graph without its weights' values: it works on types alone then, which takes
a tenth of the time, and the same walk serves BF16, which it does not know. What it gets wrong is
mended here, and a test of each tells when it no longer is: nodes come out of order, two kept
neighbours pass their result through FP16, and weights below FP16's smallest number are raised to
it, not set to 0.

Runs native code: for worker processes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, shape_inference

from trtlab.errors import ModelError, UnsupportedError
from trtlab.model.conversion import Range
from trtlab.model.graphs import skeleton_of
from trtlab.precision.graphs import (
    array_of,
    inferred_types,
    part_weights,
    replace_nodes,
    sort_nodes,
    tensor_of,
)

_TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_ARRAYS: Mapping[str, type] = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}


def _facts(dtype: type) -> Any:
    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]


LARGEST: Mapping[str, float] = {name: float(_facts(dtype).max) for name, dtype in _ARRAYS.items()}
"""The largest finite number of each type."""


@dataclass(frozen=True, slots=True)
class Cast:
    """What casting a model's weights and edges did.

    Attributes:
        casts: Cast nodes that were inserted.
        converted: Weight elements that have the new type.
        clipped: Elements that were beyond its range and cut.
        flushed: Elements that became 0.
        ranges: Smallest and largest value of each weight that was converted.
        left: Names of nodes that the converter itself leaves in FP32.
    """

    casts: int
    converted: int
    clipped: int
    flushed: int
    ranges: Mapping[str, Range]
    left: tuple[str, ...]


def to_floats(
    model: onnx.ModelProto, floats: str, left: Collection[str], *, keep_io: bool, clip: bool
) -> Cast:
    """Bring a model to FP16 or BF16, in place.

    Args:
        model: As ``graphs.open_graph`` returns it.
        floats: ``fp16`` or ``bf16``.
        left: Names of nodes that stay in FP32.
        keep_io: Whether inputs and outputs keep their types.
        clip: Whether weights beyond the range are cut to it.

    Raises:
        ModelError: a weight is NaN, or beyond the range while ``clip`` is off.
        UnsupportedError: an operator's types do not fit any more.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    before = len(model.graph.node)
    own = tuple(n.name for n in model.graph.node if n.op_type in DEFAULT_OP_BLOCK_LIST)
    part_weights(model.graph, {*left, *own})
    # Some graphs fail this check as they come, by operators of other domains.
    sound = not _fault_of_types(model)
    weights = {t.name: array_of(t) for t in model.graph.initializer if _is_float(t)}
    _declare_types(model)
    _empty(model)
    # On the model itself: a copy would hold the weights twice.
    convert_float_to_float16(
        model,
        keep_io_types=keep_io,
        disable_shape_infer=True,
        op_block_list=DEFAULT_OP_BLOCK_LIST,
        node_block_list=list(left),
    )
    _join_kept_neighbours(model.graph)
    sort_nodes(model.graph)
    done = _fill(model, weights, floats, clip=clip)
    model.graph.ClearField("value_info")
    fault = _fault_of_types(model) if sound else ""
    if fault:
        raise UnsupportedError(
            f"The converted graph has types that do not go together: {fault[:300]}",
            hint="Keep the node that it names in FP32 (keep).",
        )
    if floats != "fp16":
        _retype(model, _TYPES[floats])
    return Cast(len(model.graph.node) - before, *done, own)


def _is_float(tensor: TensorProto) -> bool:
    return bool(tensor.data_type == TensorProto.FLOAT)


def _declare_types(model: onnx.ModelProto) -> None:
    """Write down every tensor's type, which is all that the converter wants of inference."""
    types = inferred_types(model)
    ends = {v.name for v in (*model.graph.input, *model.graph.output)}
    model.graph.ClearField("value_info")
    for name in dict.fromkeys(t for node in model.graph.node for t in node.output if t):
        if name in types and name not in ends:
            value = model.graph.value_info.add(name=name)
            value.type.tensor_type.elem_type = types[name]


def _empty(model: onnx.ModelProto) -> None:
    for tensor in filter(_is_float, model.graph.initializer):
        tensor.CopyFrom(TensorProto(name=tensor.name, data_type=tensor.data_type, dims=[0]))


def _fill(
    model: onnx.ModelProto, weights: dict[str, np.ndarray], floats: str, *, clip: bool
) -> tuple[int, int, int, dict[str, Range]]:
    """Give the weights their values back, cast where the converter chose the new type."""
    largest, dtype = LARGEST[floats], _ARRAYS[floats]
    scales = {n.input[1] for n in model.graph.node if n.op_type in _QUANTISERS}
    converted = clipped = flushed = 0
    ranges: dict[str, Range] = {}
    for tensor in model.graph.initializer:
        values = weights.pop(tensor.name, None)  # each is freed once it is written
        if values is None:
            continue
        if tensor.data_type != TensorProto.FLOAT:
            beyond = np.isfinite(values) & (np.abs(values) > largest)
            count = int(beyond.sum())
            if count and not clip:
                raise _overflow(tensor.name, values, floats)
            if count:
                values = np.where(beyond, np.copysign(largest, values), values)
            if np.isnan(values).any():
                raise ModelError(
                    f"Weight {tensor.name} holds NaN.", hint="Export or train the model again."
                )
            cast: np.ndarray = values.astype(dtype)
            converted += 0 if tensor.name in scales else values.size
            clipped += count
            flushed += int(((cast == 0) & (values != 0)).sum())
            finite = values[np.isfinite(values)]
            if finite.size:
                ranges[tensor.name] = Range(float(finite.min()), float(finite.max()))
            # FP16 until the types are checked: onnx has no BF16 for some operators.
            tensor.CopyFrom(tensor_of(cast, tensor.name))
        else:
            tensor.CopyFrom(tensor_of(values, tensor.name))
    return converted, clipped, flushed, ranges


_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


def _overflow(name: str, values: np.ndarray, floats: str) -> ModelError:
    worst = float(values.flat[int(np.abs(values).argmax())])
    return ModelError(
        f"Weight {name} holds {worst:.4g}, beyond {floats.upper()}'s {LARGEST[floats]:.5g}.",
        hint="Keep the nodes that read it in FP32 (keep), or cut such weights to the range (clip)"
        + (", or convert to bf16." if floats == "fp16" else "."),
    )


def _join_kept_neighbours(graph: onnx.GraphProto) -> None:
    """Let a kept node read a kept neighbour's result as it is, not rounded to 16 bits between."""
    narrow = {n.output[0]: n.input[0] for n in graph.node if _casts_to(n, TensorProto.FLOAT16)}
    direct = {
        n.output[0]: narrow[n.input[0]]
        for n in graph.node
        if _casts_to(n, TensorProto.FLOAT)
        and n.name.endswith("_cast_to_fp32_node")
        and n.input[0] in narrow
        and narrow[n.input[0]].endswith("_cast_to_fp16")
    }
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in direct and not _casts_to(node, TensorProto.FLOAT16):
                node.input[index] = direct[name]
    read = {t for node in graph.node for t in node.input} | {v.name for v in graph.output}
    ours = {*direct, *(n for n in narrow if narrow[n].endswith("_cast_to_fp16"))}
    dead = {n.name for n in graph.node if n.output[0] in direct and n.output[0] not in read}
    alive = [n for n in graph.node if n.name not in dead]
    read = {t for node in alive for t in node.input} | {v.name for v in graph.output}
    replace_nodes(graph, [n for n in alive if n.output[0] not in ours or n.output[0] in read])


def _casts_to(node: onnx.NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and any(a.name == "to" and a.i == kind for a in node.attribute)


def _fault_of_types(model: onnx.ModelProto) -> str:
    """Return what onnx's inference says against a graph's types; empty where they go together.

    BF16 counts as FP16 here: onnx has no BF16 for some operators that TensorRT does have.
    """
    bare = skeleton_of(model)
    for value in bare.graph.input:
        if value.type.tensor_type.elem_type == TensorProto.BFLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    for tensor in bare.graph.initializer:
        if tensor.data_type == TensorProto.BFLOAT16:
            blank = np.zeros(tuple(tensor.dims), np.float16)
            tensor.CopyFrom(tensor_of(blank, tensor.name))
    try:
        shape_inference.infer_shapes(bare, check_type=True, strict_mode=True)
    except (shape_inference.InferenceError, RuntimeError, ValueError, TypeError) as error:
        return " ".join(str(error).split())
    return ""


def _retype(model: onnx.ModelProto, kind: int) -> None:
    """Turn what the converter made FP16 into the other type; the weights have it already."""
    graph = model.graph
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = kind
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT16:
                attribute.i = kind
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
                wide = array_of(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(tensor_of(wide.astype(ml_dtypes.bfloat16), attribute.t.name))
