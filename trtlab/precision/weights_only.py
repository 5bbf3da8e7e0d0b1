"""INT8 and INT4 weights: stored in few bits, widened before they are used.

Runs native code: for worker processes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper

from trtlab.errors import ModelError, UnsupportedError
from trtlab.precision.graphs import (
    array_of,
    replace_nodes,
    tensor_of,
    with_opset,
)

BLOCK = 128
"""Elements that share a scale in INT4: the block size that TensorRT recommends."""

_INT4_OPSET, _INT4_IR = 21, 10
_INT8_OPSET, _INT8_IR = 13, 7
_PRODUCTS = ("Gemm", "MatMul")
_CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What storing weights in few bits did.

    Attributes:
        nodes: Names of the nodes whose weights are narrow.
        too_small: Names of products that INT4's blocks do not fit.
        converted: Weight elements.
        flushed: Elements that became 0.
    """

    model: onnx.ModelProto
    nodes: tuple[str, ...]
    too_small: tuple[str, ...]
    converted: int
    flushed: int


def narrow(
    model: onnx.ModelProto, bits: int, left: Collection[str], *, per_channel: bool
) -> Narrowed:
    """Store the weights of products, and with 8 bits of convolutions, as integers with scales.

    INT8 has a scale for each output channel, INT4 one for each block of 128 along what is summed
    over, which is how TensorRT takes it: weight-only, in matrix products.

    Raises:
        ModelError: a weight is not finite.
        UnsupportedError: no weight can be stored so.
    """
    model = with_opset(model, *((_INT4_OPSET, _INT4_IR) if bits == 4 else (_INT8_OPSET, _INT8_IR)))
    graph = model.graph
    stored = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    ops = _PRODUCTS if bits == 4 else _PRODUCTS + _CONVOLUTIONS
    done: dict[str, str] = {}
    nodes, small, converted, flushed = [], [], 0, 0
    made: list[NodeProto] = []
    for node in graph.node:
        if node.op_type not in ops or node.name in left or len(node.input) < 2:
            continue
        name = node.input[1]
        if name not in stored:
            continue
        if name not in done:
            values = array_of(stored[name])
            if values.ndim < 2:  # a scale for each element would take more than it saves
                continue
            if not np.isfinite(values).all():
                raise ModelError(
                    f"Weight {name} holds NaN or infinity, which has no level.",
                    hint=f"Leave {node.name} alone (keep), or repair the weight.",
                )
            axis = (
                _summed_axis(node, values.ndim) if bits == 4 else _channel_axis(node, values.ndim)
            )
            if bits == 4 and values.shape[axis] % BLOCK:
                small.append(node.name)
                continue
            levels, scale = _levels(values, axis, bits, per_channel=per_channel)
            converted += values.size
            flushed += int(((levels == 0) & (values != 0)).sum())
            done[name] = f"{name}_dequantized"
            made.append(_dequantizer(graph, name, levels, scale, axis, bits))
        node.input[1] = done[name]
        nodes.append(node.name)
    if not nodes:
        raise UnsupportedError(
            f"No weight of the model can be stored in {bits} bits: "
            + (
                f"INT4 is for matrix products over multiples of {BLOCK} elements."
                if bits == 4
                else "it has no convolution or product with stored weights, or all are kept."
            ),
            hint="Choose int8-weights or fp16." if bits == 4 else "Choose fp16.",
        )
    replace_nodes(graph, [*made, *graph.node])
    read = {t for node in graph.node for t in node.input} | {v.name for v in graph.output}
    alive = [t for t in graph.initializer if t.name in read]
    graph.ClearField("initializer")
    graph.initializer.extend(alive)
    return Narrowed(model, tuple(nodes), tuple(small), converted, flushed)


def _summed_axis(node: NodeProto, rank: int) -> int:
    """Return the axis of a product's second matrix that is summed over."""
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return rank - 1 if node.op_type == "Gemm" and transposed else rank - 2


def _channel_axis(node: NodeProto, rank: int) -> int:
    """Return the axis of the output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    return 1 - _summed_axis(node, rank) if node.op_type == "Gemm" else rank - 1


def _levels(
    values: np.ndarray, axis: int, bits: int, *, per_channel: bool
) -> tuple[np.ndarray, np.ndarray]:
    largest = 7 if bits == 4 else 127
    if bits == 4:
        blocks = values.shape[axis] // BLOCK
        shape = (*values.shape[:axis], blocks, BLOCK, *values.shape[axis + 1 :])
        peak = np.abs(values.reshape(shape)).max(axis=axis + 1)
        spread = np.repeat(peak, BLOCK, axis=axis)
    elif per_channel:
        others = tuple(i for i in range(values.ndim) if i != axis)
        peak = np.abs(values).max(axis=others)
        shape = tuple(-1 if i == axis else 1 for i in range(values.ndim))
        spread = peak.reshape(shape)
    else:
        peak = spread = np.abs(values).max()
    scale = _above_zero(peak / largest)
    levels = np.clip(np.round(values / _above_zero(spread / largest)), -largest, largest)
    return levels.astype(ml_dtypes.int4 if bits == 4 else np.int8), scale


def _above_zero(steps: np.ndarray) -> np.ndarray:
    """A weight of zeros alone has any scale: 1 keeps the division sound."""
    return np.where(steps == 0, 1, steps).astype(np.float32)


def _dequantizer(
    graph: onnx.GraphProto, name: str, levels: np.ndarray, scale: np.ndarray, axis: int, bits: int
) -> NodeProto:
    graph.initializer.append(tensor_of(levels, f"{name}_quantized"))
    graph.initializer.append(tensor_of(scale, f"{name}_scale"))
    kwargs: dict[str, Any] = {"axis": axis} if scale.ndim else {}
    if bits == 4:
        kwargs["block_size"] = BLOCK
    return helper.make_node(
        "DequantizeLinear",
        [f"{name}_quantized", f"{name}_scale"],
        [f"{name}_dequantized"],
        name=f"{name}_DequantizeLinear",
        **kwargs,
    )
