"""Make a fixed batch dynamic, where that is sound; refuse by name where it is not known to be.

The walk is a small abstract interpretation. Every tensor is either *constant* (the same whatever
the inputs hold) or *batched*: its axis 0 is the batch, and row i depends on row i of the inputs
alone. An operator is accepted only by a rule below that shows its result to be batched again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import checker, helper, numpy_helper, shape_inference

from trtlab.errors import ModelError
from trtlab.model.checking import NodeNames, default_opset
from trtlab.model.graphs import graph_from_proto, skeleton_of
from trtlab.model.printing import printable
from trtlab.model.types import Graph
from trtlab.model.weights import element_count, is_external, subgraphs_of

_HINT = "Export the model with a dynamic batch axis."
_FAR = 2**31 - 1
"""A slice that ends here or later takes everything: exporters write INT32_MAX or INT64_MAX."""


_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
           "Multinomial"}  # fmt: skip


def _cannot(why: str, *, details: str = "") -> ModelError:
    return ModelError(
        printable(f"The batch cannot be made dynamic: {why}"),
        hint=_HINT,
        details=printable(details, keep="\n"),
    )


class _Refused(Exception):  # noqa: N818 - a verdict on one node, turned into a ModelError
    """Why a node does not keep the batch at axis 0."""


def with_dynamic_batch(model: onnx.ModelProto, axis: str = "N") -> onnx.ModelProto:
    """Copy a model with its fixed batch made a named dynamic axis.

    Only the shapes of inputs and outputs and the shape constants of Reshape change; stale
    ``value_info`` is dropped. A model whose inputs all have a dynamic first axis is copied
    unchanged. Proven by the walk above, then checked by strict shape inference at batch 2 and 3.

    Args:
        model: A model that ``read_model`` accepts, small tensors loaded. It is not changed.
        axis: Name of the new axis.

    Raises:
        ModelError: inputs do not share one batch, or a node is not known to keep rows apart;
            the message names it and says why.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    stored = {t.name for t in changed.graph.initializer}
    inputs = [value for value in changed.graph.input if value.name not in stored]
    batch = _shared_batch(inputs, axis)
    if batch is None:
        return changed
    walk = _Walk(changed, graph_from_proto(changed), batch, {value.name for value in inputs})
    walk.run()
    changed.graph.ClearField("value_info")
    for value in inputs:
        _first_dim(value).dim_param = axis
    for value in changed.graph.output:
        if value.type.tensor_type.shape.dim:
            _first_dim(value).dim_param = axis
    for size in (2, 3):
        _verify(changed, inputs, size)
    return changed


def _shared_batch(inputs: Sequence[onnx.ValueInfoProto], axis: str) -> int | None:
    """The fixed first dimension of all inputs, or None when it is dynamic in all of them."""
    used = {d.dim_param for v in inputs for d in v.type.tensor_type.shape.dim}
    for value in inputs:
        if not value.type.tensor_type.shape.dim:
            raise _cannot(f"input {value.name} has no first axis.")
    first = {v.name: _first_dim(v) for v in inputs}
    fixed = {name: d.dim_value for name, d in first.items() if d.HasField("dim_value")}
    if not fixed:
        return None
    sizes = set(fixed.values())
    if len(fixed) < len(first) or len(sizes) > 1 or min(sizes) < 1:
        shown = ", ".join(f"{n}: {fixed.get(n) or d.dim_param or '?'}" for n, d in first.items())
        raise _cannot(f"inputs have different first axes ({shown}).")
    if not axis or axis in used:
        raise ModelError(
            f"The batch cannot be named {axis!r}: another axis of the model has that name.",
            hint="Choose another name for the axis.",
        )
    return sizes.pop()


def _first_dim(value: onnx.ValueInfoProto) -> onnx.TensorShapeProto.Dimension:
    dim: onnx.TensorShapeProto.Dimension = value.type.tensor_type.shape.dim[0]
    return dim


def _verify(model: onnx.ModelProto, inputs: Sequence[onnx.ValueInfoProto], size: int) -> None:
    """Infer strictly at one batch size; the outputs must have that batch first.

    Raises:
        ModelError: they do not, so a rule above is wrong about this model.
    """
    trial = skeleton_of(model)
    names = {value.name for value in inputs}
    for value in trial.graph.input:
        if value.name in names:
            _first_dim(value).dim_value = size
    for value in trial.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        done = shape_inference.infer_shapes(trial, strict_mode=True, data_prop=True)
    except (shape_inference.InferenceError, checker.ValidationError, RuntimeError) as error:
        raise _cannot(f"shapes do not fit at batch {size}.", details=str(error)) from error
    for value in done.graph.output:
        shape = value.type.tensor_type.shape.dim
        if not shape or shape[0].dim_value != size:
            raise _cannot(f"output {value.name} does not follow it.")


@dataclass
class _Walk:
    """One walk over the nodes of a model; ``batched`` grows, Reshape constants are rewritten."""

    model: onnx.ModelProto
    graph: Graph
    batch: int
    batched: set[str]
    opset: int = field(init=False)
    values: dict[str, list[float]] = field(init=False)
    read: set[str] = field(init=False)
    rewritten: dict[tuple[str, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.opset = default_opset(self.model.opset_import)
        self.values = _known_values(self.model.graph)
        self.read = {name for node in self.model.graph.node for name in node.input if name}
        self.read |= {value.name for value in self.model.graph.output}

    def run(self) -> None:
        nodes = self.model.graph.node
        for node, name in zip(nodes, NodeNames(self.model.graph).of(nodes), strict=True):
            try:
                self.step(node)
            except _Refused as refusal:
                raise _cannot(f"node {name} ({node.op_type}) {refusal}.") from None
        for value in self.model.graph.output:
            if value.name not in self.batched:
                raise _cannot(f"output {value.name} does not depend on it.")
        self.drop_unread()

    def step(self, node: onnx.NodeProto) -> None:
        if any(subgraphs_of(attribute) for attribute in node.attribute):
            raise _Refused("holds a subgraph, which is not followed")
        if node.op_type in _RANDOM:
            raise _Refused("is random")
        if not any(name in self.batched for name in node.input):
            return
        if any((f.domain, f.name) == (node.domain, node.op_type) for f in self.model.functions):
            raise _Refused("is a local function, which is not followed")
        rule = _RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rule is None:
            raise _Refused("is not known to keep rows apart")
        if self.opset < 7:
            raise _Refused(f"has the broadcasting of opset {self.opset}; opset 7 is needed")
        rule(self, node)
        for out in self.read.intersection(node.output):
            shape = self.graph.tensors[out].shape
            if shape is None or not shape or shape[0] != self.batch:
                raise _Refused(f"makes {out}, whose first axis is not known to be the batch")
            self.batched.add(out)

    def is_batched(self, node: onnx.NodeProto, index: int) -> bool:
        return len(node.input) > index and node.input[index] in self.batched

    def has(self, node: onnx.NodeProto, index: int) -> bool:
        return len(node.input) > index and bool(node.input[index])

    def shape(self, tensor: str) -> tuple[int | str | None, ...]:
        known = self.graph.tensors.get(tensor)
        if known is None or known.shape is None:
            raise _Refused(f"reads {tensor}, whose rank is not known")
        return known.shape

    def rank(self, node: onnx.NodeProto, index: int = 0) -> int:
        return len(self.shape(node.input[index]))

    def numbers(self, node: onnx.NodeProto, attribute: str, index: int) -> list[float] | None:
        """Values of a setting that is an attribute or, in later opsets, an input."""
        found = _attribute(node, attribute)
        if found is not None:
            return list(found) if isinstance(found, Sequence) else [found]
        if not self.has(node, index):
            return None
        if node.input[index] not in self.values:
            raise _Refused(f"computes its {attribute} instead of storing them")
        return self.values[node.input[index]]

    def only_first_batched(self, node: onnx.NodeProto, first: int = 0) -> None:
        for index, name in enumerate(node.input):
            if (name in self.batched) != (index == first):
                raise _Refused(f"uses the batch in its input {index + 1}")

    def off_batch(self, axis: float, rank: int) -> None:
        if not 0 < (axis + rank if axis < 0 else axis) < rank:
            raise _Refused("works along the batch axis")

    def only_output(self, node: onnx.NodeProto) -> None:
        if any(node.output[1:]):
            raise _Refused(f"makes {node.output[1]}, which mixes rows")

    def rewrite_first(self, node: onnx.NodeProto, value: int) -> None:
        """Give a Reshape its own shape constant, with another first element."""
        old = node.input[1]
        if (old, value) not in self.rewritten:
            taken = {*self.graph.tensors, *self.rewritten.values()}
            name = f"{old}_batch"
            while name in taken:
                name += "_"
            array = [value, *(int(v) for v in self.values[old][1:])]
            tensor = helper.make_tensor(name, onnx.TensorProto.INT64, [len(array)], array)
            self.model.graph.initializer.append(tensor)
            if self.model.ir_version < 4:  # where every initialiser is an input too
                info = helper.make_tensor_value_info(name, tensor.data_type, [len(array)])
                self.model.graph.input.append(info)
            self.rewritten[old, value] = name
        node.input[1] = self.rewritten[old, value]

    def drop_unread(self) -> None:
        """Remove shape constants that no node reads any more."""
        graph = self.model.graph
        read = {name for node in graph.node for name in node.input}
        stale = {old for old, _ in self.rewritten} - read
        for values in (graph.initializer, graph.input):
            for index in reversed(range(len(values))):
                if values[index].name in stale:
                    del values[index]
        for index in reversed(range(len(graph.node))):
            if graph.node[index].op_type == "Constant" and graph.node[index].output[0] in stale:
                del graph.node[index]


def _known_values(graph: onnx.GraphProto) -> dict[str, list[float]]:
    """Values of small stored tensors: shapes, axes, pads, scales."""
    stored = [(t.name, t) for t in graph.initializer]
    found: dict[str, list[float]] = {}
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    stored.append((node.output[0], attribute.t))
                elif attribute.name in ("value_ints", "value_floats"):
                    found[node.output[0]] = list(helper.get_attribute_value(attribute))
                elif attribute.name in ("value_int", "value_float"):
                    found[node.output[0]] = [helper.get_attribute_value(attribute)]
    for name, tensor in stored:
        text = tensor.data_type == onnx.TensorProto.STRING
        if not is_external(tensor) and not text and element_count(tensor) <= 64:
            found[name] = numpy_helper.to_array(tensor).reshape(-1).tolist()
    return found


def _attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default


def _broadcast(walk: _Walk, node: onnx.NodeProto) -> None:
    """Elementwise operators, of one or many inputs."""
    rank = len(walk.shape(node.output[0]))
    for name in filter(None, node.input):
        shape = walk.shape(name)
        if name in walk.batched and len(shape) != rank:
            raise _Refused(f"broadcasts {name}, which moves its batch axis")
        if name not in walk.batched and len(shape) == rank and shape[0] != 1:
            raise _Refused(f"combines the batch with {name}, whose first axis is {shape[0]}")


def _first_only(walk: _Walk, node: onnx.NodeProto) -> None:
    """Operators on sample, channel and space whose other inputs are weights."""
    walk.only_first_batched(node)
    walk.only_output(node)


def _spatial(walk: _Walk, node: onnx.NodeProto) -> None:
    """Operators that treat axis 0 as samples, given that there is a channel axis too."""
    _first_only(walk, node)
    if walk.rank(node) < 3:
        raise _Refused("has an input without a batch axis")


def _batch_norm(walk: _Walk, node: onnx.NodeProto) -> None:
    _first_only(walk, node)
    if _attribute(node, "training_mode", 0):
        raise _Refused("is in training mode and mixes rows")


def _dropout(walk: _Walk, node: onnx.NodeProto) -> None:
    walk.only_first_batched(node)
    if walk.has(node, 2) and walk.values.get(node.input[2]) not in ([False], [0]):
        raise _Refused("is in training mode")


def _along_axis(default: int | None, *, before_13: int | None = None) -> _Rule:
    """Operators that work along one axis, such as Softmax; the axis must not be the batch.

    Args:
        default: The axis when none is named.
        before_13: The default before opset 13, where it differed.
    """

    def rule(walk: _Walk, node: onnx.NodeProto) -> None:
        walk.only_first_batched(node)
        usual = before_13 if before_13 is not None and walk.opset < 13 else default
        walk.off_batch(_attribute(node, "axis", usual), walk.rank(node))

    return rule


def _normalised_tail(walk: _Walk, node: onnx.NodeProto) -> None:
    walk.only_first_batched(node)
    _broadcast(walk, node)
    walk.off_batch(_attribute(node, "axis", -1), walk.rank(node))


def _concat(walk: _Walk, node: onnx.NodeProto) -> None:
    for name in node.input:
        if name not in walk.batched:
            raise _Refused(f"joins the batch with the constant {name}, which has a fixed batch")
    walk.off_batch(_attribute(node, "axis", 1), walk.rank(node))


def _cum_sum(walk: _Walk, node: onnx.NodeProto) -> None:
    walk.only_first_batched(node)
    for axis in walk.numbers(node, "axis", 1) or [0]:
        walk.off_batch(axis, walk.rank(node))


def _flatten(walk: _Walk, node: onnx.NodeProto) -> None:
    rank = walk.rank(node)
    axis = _attribute(node, "axis", 1)
    axis = axis + rank if axis < 0 else axis
    if axis < 1 or any(d != 1 for d in walk.shape(node.input[0])[1:axis]):
        raise _Refused("flattens the batch together with other axes")


def _gemm(walk: _Walk, node: onnx.NodeProto) -> None:
    if not walk.is_batched(node, 0) or walk.is_batched(node, 1):
        raise _Refused("needs the batch in its first input and only there")
    if _attribute(node, "transA", 0):
        raise _Refused("transposes the batch axis away")
    if walk.has(node, 2):
        shape = walk.shape(node.input[2])
        batched = walk.is_batched(node, 2)
        if (batched and len(shape) != 2) or (not batched and len(shape) == 2 and shape[0] != 1):
            raise _Refused(f"adds {node.input[2]}, which has a batch of its own")


def _matmul(walk: _Walk, node: onnx.NodeProto) -> None:
    left, right = (walk.shape(name) for name in node.input)
    if walk.is_batched(node, 0) and walk.is_batched(node, 1):
        fits = len(left) == len(right) >= 3
    elif walk.is_batched(node, 0):
        stacked = len(right) >= 3 and len(right) == len(left)
        fits = len(left) >= 2 and len(right) <= max(2, len(left))
        fits = fits and (not stacked or right[0] == 1)
    else:
        stacked = len(left) == len(right)
        fits = len(right) >= 3 and len(left) <= len(right) and (not stacked or left[0] == 1)
    if not fits:
        raise _Refused("multiplies along the batch axis, or by a weight with a batch of its own")


def _reshape(walk: _Walk, node: onnx.NodeProto) -> None:
    """A result that keeps the batch first holds whole rows, because both are in row order."""
    walk.only_first_batched(node)
    target = walk.numbers(node, "shape", 1)
    source, result = walk.shape(node.input[0]), walk.shape(node.output[0])
    if not target or not result or result[0] != source[0] or 0 in (*source, *result):
        raise _Refused("reshapes the batch together with other axes")
    if target[0] != walk.batch:
        return  # 0 copies the batch, -1 computes it
    copies = not _attribute(node, "allowzero", 0)
    if not copies and -1 in target[1:]:
        raise _Refused("fixes the batch and computes another axis")
    walk.rewrite_first(node, 0 if copies else -1)


def _transpose(walk: _Walk, node: onnx.NodeProto) -> None:
    rank = walk.rank(node)
    if _attribute(node, "perm", range(rank)[::-1])[0] != 0:
        raise _Refused("moves the batch axis")


def _squeeze(walk: _Walk, node: onnx.NodeProto) -> None:
    axes = walk.numbers(node, "axes", 1)
    if axes is None:
        raise _Refused("removes every axis of size 1, which may be the batch")
    for axis in axes:
        walk.off_batch(axis, walk.rank(node))


def _unsqueeze(walk: _Walk, node: onnx.NodeProto) -> None:
    axes = walk.numbers(node, "axes", 1) or [0]
    for axis in axes:
        walk.off_batch(axis, walk.rank(node) + len(axes))


def _slice(walk: _Walk, node: onnx.NodeProto) -> None:
    walk.only_first_batched(node)
    starts, ends = walk.numbers(node, "starts", 1), walk.numbers(node, "ends", 2)
    if not starts or not ends:
        raise _Refused("has no stored range")
    axes = walk.numbers(node, "axes", 3) or list(range(len(starts)))
    steps = walk.numbers(node, "steps", 4) or [1] * len(starts)
    rank = walk.rank(node)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if not (axis in (0, -rank) and start == 0 and end >= _FAR and step == 1):
            walk.off_batch(axis, rank)


def _gather(walk: _Walk, node: onnx.NodeProto) -> None:
    data, indices = walk.is_batched(node, 0), walk.is_batched(node, 1)
    axis = _attribute(node, "axis", 0)
    if data and indices:
        raise _Refused("picks rows of the batch by the batch")
    if data:
        walk.off_batch(axis, walk.rank(node))
    elif axis not in (0, -walk.rank(node)):
        raise _Refused("moves the batch axis")


def _split(walk: _Walk, node: onnx.NodeProto) -> None:
    walk.only_first_batched(node)
    walk.off_batch(_attribute(node, "axis", 0), walk.rank(node))


def _pad(walk: _Walk, node: onnx.NodeProto) -> None:
    walk.only_first_batched(node)
    pads = walk.numbers(node, "pads", 1)
    rank = walk.rank(node)
    axes = walk.numbers(node, "axes", 3) or list(range(rank))
    if pads is None or len(pads) != 2 * len(axes):
        raise _Refused("has no stored pads")
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        if before or after:
            walk.off_batch(axis, rank)


def _expand(walk: _Walk, node: onnx.NodeProto) -> None:
    walk.only_first_batched(node)
    shape = walk.numbers(node, "shape", 1) or []
    rank = walk.rank(node)
    if len(shape) > rank or (len(shape) == rank and shape[0] != 1):
        raise _Refused("expands to a fixed batch")


def _tile(walk: _Walk, node: onnx.NodeProto) -> None:
    walk.only_first_batched(node)
    if (walk.numbers(node, "repeats", 1) or [0])[0] != 1:
        raise _Refused("repeats the batch axis")


def _resize(walk: _Walk, node: onnx.NodeProto) -> None:
    walk.only_first_batched(node)
    rank = walk.rank(node)
    axes = _attribute(node, "axes", range(rank))
    scales = walk.numbers(node, "scales", 1 if walk.opset < 11 else 2)
    if scales:
        scaled = [axis for axis, scale in zip(axes, scales, strict=True) if scale != 1]
    else:
        scaled = list(axes)  # sizes name the batch too, unless the axes leave it out
    for axis in scaled:
        if (axis + rank if axis < 0 else axis) == 0:
            raise _Refused("resizes to a fixed batch")
    if _attribute(node, "coordinate_transformation_mode") == b"tf_crop_and_resize":
        raise _Refused("crops by a region of interest")


def _reduce(walk: _Walk, node: onnx.NodeProto) -> None:
    walk.only_first_batched(node)
    axes = walk.numbers(node, "axes", 1)
    if not axes:
        if _attribute(node, "noop_with_empty_axes", 0):
            return
        raise _Refused("reduces the batch axis")
    for axis in axes:
        walk.off_batch(axis, walk.rank(node))


def _quantise(walk: _Walk, node: onnx.NodeProto) -> None:
    walk.only_first_batched(node)
    scale = walk.shape(node.input[1])
    if len(scale) > 1:
        raise _Refused("has a scale for blocks, which may span rows")
    if scale and scale[0] != 1:
        walk.off_batch(_attribute(node, "axis", 1), walk.rank(node))


_Rule = Callable[[_Walk, onnx.NodeProto], None]

_ELEMENTWISE = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
Cast CastLike Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual
HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod
Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign
Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
"""

_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), _broadcast),
    **dict.fromkeys(
        ["Conv", "ConvTranspose", "ConvInteger", "MaxPool", "AveragePool", "LpPool", "LRN",
         "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "InstanceNormalization",
         "GroupNormalization", "DepthToSpace", "SpaceToDepth", "QLinearConv"],
        _spatial,
    ),
    **dict.fromkeys(
        ["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
         "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"],
        _reduce,
    ),
    **dict.fromkeys(["Softmax", "LogSoftmax", "Hardmax"], _along_axis(-1, before_13=1)),
    **dict.fromkeys(["LayerNormalization", "RMSNormalization"], _normalised_tail),
    **dict.fromkeys(["ArgMax", "ArgMin"], _along_axis(0)),
    **dict.fromkeys(["QuantizeLinear", "DequantizeLinear"], _quantise),
    **dict.fromkeys(["Resize", "Upsample"], _resize),
    "TopK": _along_axis(-1),
    "LpNormalization": _along_axis(-1),
    "BatchNormalization": _batch_norm,
    "Concat": _concat,
    "CumSum": _cum_sum,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}  # fmt: skip
