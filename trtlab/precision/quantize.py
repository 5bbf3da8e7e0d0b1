"""INT8 and FP8: QuantizeLinear and DequantizeLinear around what computes, from settled ranges.

ONNX Runtime's quantiser places them with the settings that TensorRT's parser takes: signed and
symmetric, biases left in floating point. FP8 has the same places: its scales reach 448 where
INT8's reach 127.

Runs native code: for worker processes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from trtlab.errors import SpecError, UnsupportedError
from trtlab.model.conversion import Range
from trtlab.precision.calibrate import quiet
from trtlab.precision.graphs import (
    array_of,
    part_weights,
    replace_nodes,
    sort_nodes,
    tensor_of,
    with_opset,
)
from trtlab.precision.recipes import Options

OPS = (
    "Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "LeakyRelu",
    "Sigmoid", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Split", "Pad", "Resize",
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather",
)  # fmt: skip
"""What is quantised: what ONNX Runtime's quantiser knows, without sums, normalisations and
softmax, whose results need more than 8 bits."""

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose constants are weights."""

_E4M3_LARGEST = 448.0
_FP8_OPSET, _FP8_IR = 19, 9
_SUFFIX = "_quantized"


@dataclass(frozen=True, slots=True)
class Quantised:
    """What quantising did; ``flushed`` are weights that became 0."""

    model: onnx.ModelProto
    quantizers: int
    converted: int
    clipped: int
    flushed: int


def quantize(
    source: onnx.ModelProto,
    kind: str,
    ranges: Mapping[str, Range],
    left: Collection[str],
    options: Options,
) -> Quantised:
    """Quantise a prepared model.

    Args:
        source: What ``calibrate.prepare`` wrote; it is changed.
        kind: ``int8`` or ``fp8``.
        ranges: Of every tensor that is quantised.
        left: Names of nodes to leave alone.
        options: What was asked for.

    Raises:
        SpecError: a range is missing.
        UnsupportedError: there is nothing to quantise, or the graph cannot carry FP8.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    if kind == "fp8":
        source = with_opset(source, _FP8_OPSET, _FP8_IR)
    part_weights(source.graph, left)
    weights = {t.name: array_of(t) for t in source.graph.initializer if _is_float(t)}
    betas = _betas(source.graph)
    data = {name: tuple(np.array(v, np.float32) for v in span) for name, span in ranges.items()}
    activations = QuantType.QUInt8 if options.activations == "uint8" else QuantType.QInt8
    with quiet():
        quantiser = QDQQuantizer(
            source,
            options.per_channel,
            False,  # reduce_range: 7 bits, for CPUs that saturate
            QuantType.QInt8,
            activations,
            TensorsData(CalibrationMethod.MinMax, data),
            [],
            list(left),
            list(OPS),
            {
                "ActivationSymmetric": options.is_symmetric,
                "WeightSymmetric": True,
                # TensorRT's parser refuses an INT32 bias behind DequantizeLinear.
                "QuantizeBias": False,
                # ONNX Runtime 1.31 leaves a convolution in float whose widened input has other
                # readers: 20 of resnet50's 53.
                "DedicatedQDQPair": True,
            },
        )
        try:
            model = quantiser.quantize_model()
        except ValueError as error:
            raise SpecError(
                f"The ranges do not fit the model: {str(error)[:300]}",
                hint="Calibrate it anew: give data instead of the table.",
            ) from error
    if not any(n.op_type == "DequantizeLinear" for n in model.graph.node):
        raise UnsupportedError(
            "Nothing in the model can be quantised, or all of it is kept.",
            hint="Convert it to fp16, or keep fewer nodes.",
        )
    _give_back(model.graph, betas)
    _free(model.graph, left)
    if kind == "fp8":
        _to_fp8(model, weights)
    sort_nodes(model.graph)
    return Quantised(model, _pairs(model), *_losses(model, weights, kind))


def _betas(graph: onnx.GraphProto) -> dict[str, float]:
    pairs = [(n, a) for n in graph.node if n.op_type == "Gemm" for a in n.attribute]
    return {node.name: a.f for node, a in pairs if a.name == "beta"}


def _give_back(graph: onnx.GraphProto, betas: Mapping[str, float]) -> None:
    """Set the factor of each Gemm's bias again.

    The library sets it to 1 for quantised biases, which these are not.
    """
    for node in graph.node:
        for attribute in node.attribute:
            if node.name in betas and attribute.name == "beta":
                attribute.f = betas[node.name]


def beside_constants(model: onnx.ModelProto) -> set[str]:
    """Return the nodes, without products, that read a constant of floats.

    TensorRT-RTX 1.7 refuses a quantised constant that is no weight ("Quantized constant … must be
    fed to"), and a bias or a factor has nothing to gain.
    """
    constants = {t.name for t in model.graph.initializer if _is_float(t)}
    return {
        n.name
        for n in model.graph.node
        if n.op_type not in WEIGHTED and constants.intersection(n.input)
    }


def _free(graph: onnx.GraphProto, left: Collection[str]) -> None:
    """Let nodes that are left alone read what was there before it was quantised for others."""
    plain = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "QuantizeLinear"}
    widened = {
        n.output[0]: plain[n.input[0]]
        for n in graph.node
        if n.op_type == "DequantizeLinear" and n.input[0] in plain
    }
    for node in graph.node:
        if node.name in left:
            for index, name in enumerate(node.input):
                node.input[index] = widened.get(name, name)
    for kind in ("DequantizeLinear", "QuantizeLinear"):
        read = {t for n in graph.node for t in n.input} | {v.name for v in graph.output}
        replace_nodes(graph, [n for n in graph.node if n.op_type != kind or n.output[0] in read])


def _is_float(tensor: TensorProto) -> bool:
    return bool(tensor.data_type == TensorProto.FLOAT)


def _to_fp8(model: onnx.ModelProto, weights: Mapping[str, np.ndarray]) -> None:
    """Give quantisers E4M3 instead of INT8: the same ranges, other levels."""
    stored = {t.name: t for t in model.graph.initializer}
    done: set[str] = set()
    for node in _quantisers(model):
        scale, zero = node.input[1], node.input[2]
        if scale not in done:
            widened = array_of(stored[scale]) * np.float32(127 / _E4M3_LARGEST)
            stored[scale].CopyFrom(tensor_of(widened, scale))
            done.add(scale)
        if zero not in done:
            shape = array_of(stored[zero]).shape
            stored[zero].CopyFrom(tensor_of(np.zeros(shape, ml_dtypes.float8_e4m3fn), zero))
            done.add(zero)
    for node in _quantisers(model):
        name = node.input[0]
        if name in stored and name not in done:
            values = weights[name.removesuffix(_SUFFIX)]
            scaled = values / _along(array_of(stored[node.input[1]]), values, node)
            levels = np.clip(scaled, -_E4M3_LARGEST, _E4M3_LARGEST)
            stored[name].CopyFrom(tensor_of(levels.astype(ml_dtypes.float8_e4m3fn), name))
            done.add(name)


def _along(scale: np.ndarray, values: np.ndarray, node: NodeProto) -> np.ndarray:
    """Bring a scale for each channel into the shape that divides the weight."""
    if scale.ndim == 0 or scale.size == 1:
        return scale.reshape(())
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    shape = [1] * values.ndim
    shape[axis] = scale.size
    return scale.reshape(shape)


def _quantisers(model: onnx.ModelProto) -> list[NodeProto]:
    return [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]


def _pairs(model: onnx.ModelProto) -> int:
    return sum(n.op_type == "QuantizeLinear" for n in model.graph.node)


def _losses(
    model: onnx.ModelProto, weights: Mapping[str, np.ndarray], kind: str
) -> tuple[int, int, int]:
    """Count weight elements that were quantised, that lie beyond the levels, and that became 0."""
    stored = {t.name: t for t in model.graph.initializer}
    largest = _E4M3_LARGEST if kind == "fp8" else 127.5  # half a level is rounding
    converted = clipped = flushed = 0
    seen: set[str] = set()
    for node in _quantisers(model):
        name = node.input[0]
        values = weights.get(name.removesuffix(_SUFFIX)) if name in stored else None
        if values is None or name in seen:
            continue
        seen.add(name)
        levels = array_of(stored[name]).astype(np.float32)
        scaled = values / _along(array_of(stored[node.input[1]]), values, node)
        converted += values.size
        clipped += int((np.abs(scaled) > largest * 1.0001).sum())
        flushed += int(((levels == 0) & (values != 0)).sum())
    return converted, clipped, flushed
