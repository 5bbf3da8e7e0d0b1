"""Make seeded weights behave: run a network node by node and set ranges from what arrives.

Random weights alone let activations grow or die from layer to layer, and then half precision,
INT8 ranges and output comparisons show nothing but that. So each BatchNormalization takes mean
and variance from its actual input, as training would, and each biased Conv or Gemm without one
is rescaled for its actual output (data-dependent initialisation, arXiv:1602.07868, section 3).
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from trtlab.errors import BackendUnavailableError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Report = Callable[[str, int, int], None]

OPSET = 17
"""The first with LayerNormalization, and old enough for older parsers."""
IR_VERSION = 8
"""What belongs to opset 17; also past 4, from which on weights need not be graph inputs."""

BEFORE_RELU = 1.0
"""Mean of what enters a ReLU, in deviations. At 0 a random network multiplies small differences:
1 % of noise on the input changed Inception v2's logits by 16 %; at 1 by 4 %."""

_SEED = 20
_IMAGES = 8
_SIDE = 224


def generator(name: str) -> np.random.Generator:
    """Random numbers for one tensor, whatever order the tensors come in."""
    return np.random.default_rng([_SEED, zlib.crc32(name.encode())])


def normal(name: str, shape: Sequence[int], std: float) -> Floats:
    """Draw float32 values with mean 0."""
    drawn = generator(name).standard_normal(tuple(shape), dtype=np.float32)
    return drawn * np.float32(std)


def gains(name: str, shape: Sequence[int]) -> Floats:
    """Factors near 1: channels are not all alike in a trained network either."""
    return generator(name).uniform(0.8, 1.2, tuple(shape)).astype(np.float32)


def images() -> Floats:
    """Eight different normalised images: white noise and coloured blocks with some noise."""
    rng = generator("images")
    noise = rng.standard_normal((_IMAGES, 3, _SIDE, _SIDE), dtype=np.float32)
    blocks = rng.standard_normal((_IMAGES // 2, 3, 7, 7), dtype=np.float32)
    noise[_IMAGES // 2 :] *= np.float32(0.3)
    noise[_IMAGES // 2 :] += blocks.repeat(_SIDE // 7, axis=2).repeat(_SIDE // 7, axis=3)
    return noise


def settle(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, Array],
    inputs: Mapping[str, Array],
    report: Report,
) -> None:
    """Set ranges in ``weights``, in place, so that activations stay near deviation 1.

    Args:
        nodes: The graph in topological order; the last one makes the logits.
        weights: Initialisers by name.
        inputs: A batch for each graph input.
        report: Called with the phase, nodes done and nodes in all.

    Raises:
        BackendUnavailableError: ONNX Runtime is not installed.
    """
    runtime = _runtime()
    values = dict(inputs)
    readers = Counter(name for node in nodes for name in node.input)
    normalised = {node.input[0] for node in nodes if node.op_type == "BatchNormalization"}
    into_relu = {node.input[0] for node in nodes if node.op_type == "Relu"}
    last = [node for node in nodes if _has_bias(node)][-1]
    for done, node in enumerate(nodes):
        report("settle", done, len(nodes))
        if node.op_type == "BatchNormalization":
            mean, deviation = _moments(values[node.input[0]])
            weights[node.input[3]] = mean.astype(np.float32)
            weights[node.input[4]] = np.square(deviation).astype(np.float32)
        result = _run(runtime, node, values, weights)
        if _has_bias(node) and node.output[0] not in normalised:
            aim = BEFORE_RELU if node.output[0] in into_relu else 0.0
            result = _rescaled(node, weights, result, aim)
        values[node.output[0]] = result
        for name in node.input:
            readers[name] -= 1
            if not readers[name]:
                values.pop(name, None)
    # Between the last weights and the logits there are at most ReLU and averages, so the factor
    # passes through. Without it a Softmax gives the same answer to every image.
    logits = values[nodes[-1].output[0]].astype(np.float64)
    spread = (logits - logits.mean(axis=0)).std()
    for name in last.input[1:]:
        weights[name] = (weights[name] / spread).astype(np.float32)
    report("settle", len(nodes), len(nodes))


def _has_bias(node: onnx.NodeProto) -> bool:
    return node.op_type in ("Conv", "Gemm") and len(node.input) == 3


def _moments(activations: Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and deviation of each channel (axis 1)."""
    wide = activations.astype(np.float64)
    over = (0, *range(2, wide.ndim))
    # A channel that never changes keeps its scale instead of dividing by zero.
    deviation = wide.std(axis=over)
    return wide.mean(axis=over), np.where(deviation > 1e-6, deviation, 1.0)


def _rescaled(node: onnx.NodeProto, weights: dict[str, Array], result: Array, aim: float) -> Array:
    """Bring a Conv's or Gemm's channels to mean ``aim``, deviation near 1; return its output."""
    _, weight, bias = node.input
    mean, deviation = _moments(result)
    gain = gains(f"{weight} gain", mean.shape) / deviation
    across = (-1, *[1] * (weights[weight].ndim - 1))  # Gemm has transB: output channels first
    weights[weight] = (weights[weight] * gain.reshape(across)).astype(np.float32)
    weights[bias] = ((weights[bias] - mean) * gain + aim).astype(np.float32)
    channels = (1, -1, *[1] * (result.ndim - 2))
    moved = (result - mean.reshape(channels)) * gain.reshape(channels) + aim
    return moved.astype(np.float32)


def _runtime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailableError(
            "Making a zoo model needs ONNX Runtime, which is not installed.",
            hint="From the clone: pip install -e '.[cpu]', or '.[gpu]' with an NVIDIA GPU.",
        ) from error
    return onnxruntime  # type: ignore[no-any-return]  # it has no types


def _run(
    runtime: ModuleType,
    node: onnx.NodeProto,
    values: Mapping[str, Array],
    weights: Mapping[str, Array],
) -> Array:
    feeds = {name: values[name] if name in values else weights[name] for name in node.input}
    graph = helper.make_graph(
        [node],
        node.name,
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in feeds.items()
        ],
        [helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)],
    )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # the same sums, and so the same file, on any core count
    session = runtime.InferenceSession(
        as_model(graph).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, feeds)[0])


def as_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    """Wrap a graph at the zoo's opset and IR version."""
    return helper.make_model(
        graph,
        producer_name="trtlab",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
