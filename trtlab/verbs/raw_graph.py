"""``raw_graph``: a model's ONNX file without its weights' values, for viewers of other people."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtlab import worker
from trtlab.store import Store
from trtlab.verbs.load import check_is_onnx, check_unchanged, load
from trtlab.worker import Progress, silent

if TYPE_CHECKING:
    import onnx

MOST_VALUES = 64
"""Tensors up to this many elements keep their values: shapes, axes, scales, small kernels."""

_LEFT_OUT = f"left out here: more than {MOST_VALUES} values"

_VALUES = (
    "raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data",
    "string_data",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RawGraph:
    """A model's ONNX file without the values of its weights.

    Attributes:
        name: The model's name.
        onnx: The file: nodes, attributes, names, types and shapes are as in the model.
        tensors: How many stored tensors it has.
        left_out: How many of them are without their values here.
        left_out_bytes: What these values take in raw form.
    """

    name: str
    onnx: bytes
    tensors: int
    left_out: int
    left_out_bytes: int


@dataclass(frozen=True, slots=True)
class _Spec:
    name: str
    path: str


def raw_graph(
    model: Any,
    *,
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> RawGraph:
    """Return a model's ONNX file, small enough to be put into a page.

    A tensor whose values are left out becomes an external one whose place says so, with its name,
    type and shape. Not ``skeleton_of``: that one makes inputs of the graph out of weights.

    Args:
        model: A ``Model`` or what ``load`` takes.
        store: Default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        cancel: Set it to stop.

    Raises:
        ModelError: the model cannot be used.
        UnsupportedError: it is a network function.
    """
    opened = load(model, store=store, progress=progress, cancel=cancel)
    check_is_onnx(opened)
    check_unchanged(opened)
    spec = _Spec(opened.name, opened.path)
    return worker.run(_job, spec, progress=progress, cancel=cancel).result


def _job(spec: _Spec, progress: Progress) -> RawGraph:
    import onnx

    from trtlab.model.weights import element_count, graph_tensors, stored_bytes, stored_tensors

    progress("leave weights out", 0, 1)
    proto = onnx.load(spec.path, load_external_data=False)
    tensors = [*graph_tensors(proto.graph)]
    tensors += [t for function in proto.functions for t in stored_tensors(function.node)]
    large = [t for t in tensors if element_count(t) > MOST_VALUES]
    size = sum(map(stored_bytes, large))
    for tensor in large:
        _leave_out(tensor)
    return RawGraph(spec.name, proto.SerializeToString(), len(tensors), len(large), size)


def _leave_out(tensor: onnx.TensorProto) -> None:
    for field in (*_VALUES, "external_data"):
        tensor.ClearField(field)
    tensor.data_location = tensor.EXTERNAL
    tensor.external_data.add(key="location", value=_LEFT_OUT)
