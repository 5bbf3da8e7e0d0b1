"""Generate ``vit_tiny``: a vision transformer encoder with drawn weights.

The shape of DeiT-tiny (arXiv:2012.12877: width 192, 12 blocks, 3 heads, patches of 16) with
average pooling instead of a class token (arXiv:2205.01580), so that the batch stays the only
dynamic axis and no node computes shapes.

Opset 17: the first with LayerNormalization. GELU is written out with Erf, as exporters for
opsets below 20 write it: older parsers have no Gelu operator, and fusers look for this chain.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from trtlab.zoo import settle

_IMAGE = 224
_PATCH = 16
_TOKENS = (_IMAGE // _PATCH) ** 2
_WIDTH = 192
_DEPTH = 12
_HEADS = 3
_CLASSES = 1000
_EPSILON = 1e-6


class _Builder:
    """Nodes and weights so far; each method adds nodes and returns their output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, settle.Array] = {}

    def node(self, op: str, inputs: list[str], place: str, **attributes: Any) -> str:
        name = f"{place}/{op}"
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_output"], name, **attributes))
        return f"{name}_output"

    def drawn(self, name: str, shape: tuple[int, ...], std: float) -> str:
        self.weights[name] = settle.normal(name, shape, std)
        return name

    def constant(self, name: str, value: float | list[int]) -> str:
        kind = np.float32 if isinstance(value, float) else np.int64
        self.weights[name] = np.array(value, kind)
        return name

    def linear(self, x: str, place: str, inside: int, outside: int) -> str:
        # Deviation 1/sqrt(fan-in) keeps the deviation of what a LayerNorm hands over.
        weight = self.drawn(f"{place}/weight", (inside, outside), 1 / math.sqrt(inside))
        product = self.node("MatMul", [x, weight], place)
        return self.node("Add", [product, self.drawn(f"{place}/bias", (outside,), 0.1)], place)

    def norm(self, x: str, place: str) -> str:
        scale = f"{place}/scale"
        self.weights[scale] = settle.gains(scale, (_WIDTH,))
        bias = self.drawn(f"{place}/bias", (_WIDTH,), 0.1)
        return self.node("LayerNormalization", [x, scale, bias], place, axis=-1, epsilon=_EPSILON)

    def attention(self, x: str, place: str) -> str:
        split = self.constant(f"{place}/split", [0, 0, _HEADS, _WIDTH // _HEADS])
        heads = {}
        # Keys are turned for the product: [N, heads, width, tokens].
        for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            linear = self.linear(x, f"{place}/{part}", _WIDTH, _WIDTH)
            parts = self.node("Reshape", [linear, split], f"{place}/{part}")
            heads[part] = self.node("Transpose", [parts], f"{place}/{part}", perm=order)
        scores = self.node("MatMul", [heads["q"], heads["k"]], f"{place}/scores")
        scale = self.constant(f"{place}/scale", math.sqrt(_WIDTH // _HEADS))
        scores = self.node("Div", [scores, scale], f"{place}/scores")
        shares = self.node("Softmax", [scores], f"{place}/scores", axis=-1)
        mixed = self.node("MatMul", [shares, heads["v"]], f"{place}/mix")
        turned = self.node("Transpose", [mixed], f"{place}/mix", perm=[0, 2, 1, 3])
        join = self.constant(f"{place}/join", [0, 0, _WIDTH])
        joined = self.node("Reshape", [turned, join], f"{place}/mix")
        return self.linear(joined, f"{place}/out", _WIDTH, _WIDTH)

    def gelu(self, x: str, place: str) -> str:
        root = self.constant(f"{place}/root_two", math.sqrt(2))
        bent = self.node("Erf", [self.node("Div", [x, root], place)], place)
        raised = self.node("Add", [bent, self.constant(f"{place}/one", 1.0)], place)
        doubled = self.node("Mul", [x, raised], place)
        return self.node("Mul", [doubled, self.constant(f"{place}/half", 0.5)], f"{place}/half")

    def block(self, x: str, place: str) -> str:
        attended = self.attention(self.norm(x, f"{place}/norm1"), f"{place}/attention")
        x = self.node("Add", [x, attended], f"{place}/residual1")
        wide = self.linear(self.norm(x, f"{place}/norm2"), f"{place}/fc1", _WIDTH, 4 * _WIDTH)
        narrow = self.linear(self.gelu(wide, f"{place}/gelu"), f"{place}/fc2", 4 * _WIDTH, _WIDTH)
        return self.node("Add", [x, narrow], f"{place}/residual2")


def vit_tiny(report: settle.Report) -> onnx.ModelProto:
    """Build the network; ``report`` is called with (phase, done, total)."""
    build = _Builder()
    kernel = build.drawn("patch/weight", (_WIDTH, 3, _PATCH, _PATCH), 1 / (_PATCH * math.sqrt(3)))
    patches = build.node(
        "Conv",
        ["image", kernel, build.drawn("patch/bias", (_WIDTH,), 0.1)],
        "patch",
        kernel_shape=[_PATCH, _PATCH],
        strides=[_PATCH, _PATCH],
    )
    flat = build.constant("patch/flat", [0, _WIDTH, -1])
    tokens = build.node("Reshape", [patches, flat], "patch")
    tokens = build.node("Transpose", [tokens], "patch", perm=[0, 2, 1])
    position = build.drawn("position/embedding", (1, _TOKENS, _WIDTH), 0.2)
    x = build.node("Add", [tokens, position], "position")
    for number in range(_DEPTH):
        report("weights", number, _DEPTH)
        x = build.block(x, f"block{number}")
    report("weights", _DEPTH, _DEPTH)
    pooled = build.node("ReduceMean", [build.norm(x, "norm")], "head", axes=[1], keepdims=0)
    weight = build.drawn("head/weight", (_CLASSES, _WIDTH), 1 / math.sqrt(_WIDTH))
    bias = build.drawn("head/bias", (_CLASSES,), 0.1)
    build.node("Gemm", [pooled, weight, bias], "head", transB=1)
    build.nodes[-1].output[0] = "logits"
    settle.settle(build.nodes, build.weights, {"image": settle.images()}, report)
    return settle.as_model(
        helper.make_graph(
            build.nodes,
            "vit_tiny",
            [
                helper.make_tensor_value_info(
                    "image", onnx.TensorProto.FLOAT, ["N", 3, _IMAGE, _IMAGE]
                )
            ],
            [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", _CLASSES])],
            [numpy_helper.from_array(array, name) for name, array in build.weights.items()],
        )
    )
