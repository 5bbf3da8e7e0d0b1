"""The model types: ``Model`` (a file and its identity) and ``Graph`` (its nodes, no weights)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trtlab.model.conversion import ConversionReport

Dim = int | str | None
"""A dimension: a number, a named dynamic axis, or None when nothing is known about it."""

Attribute = int | float | str | tuple[int | float | str, ...]
"""A small node attribute; tensors and subgraphs are kept apart."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor: ``dtype`` as NumPy or ml_dtypes names it (``float32``, ``bfloat16``).

    ``shape`` is None when the rank itself is unknown. ``dtype`` is None when inference could not
    tell. ``is_constant`` marks weights (initialisers and Constant outputs).
    """

    name: str
    dtype: str | None
    shape: tuple[Dim, ...] | None
    is_constant: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the ONNX graph. ``domain`` is empty for standard operators.

    ``inputs`` and ``outputs`` hold tensor names; an omitted optional input is an empty string.
    ``file_name`` is the name in the file where ``name`` is another one, because that is empty or
    taken by a node before; else None.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    subgraphs: Mapping[str, Graph] = field(default_factory=dict)
    file_name: str | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in topological order and every tensor by name; no weight values."""

    name: str
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An ONNX file, or the source of a network function, and what identifies it.

    Attributes:
        name: What people call it: ``zoo:resnet50`` or the file's name without its ending.
        path: The file on this machine.
        hash: SHA-256 (hex) over graph, weights and external data: the same model saved with
            its weights inside or beside it has the same hash.
        inputs: Graph inputs that are not initialisers, with named dynamic axes.
        outputs: Graph outputs.
        opset: Version of the default operator set; this and the next three are None for a
            network function.
        ir_version: ONNX IR version of the file.
        parameters: Number of weight elements.
        weight_bytes: Bytes of all weights.
        source: ``onnx``, or ``network`` for a function over TensorRT's network definition API.
        external_files: Files with weights, relative to the model's folder; usually none.
        stamp: What tells whether the files changed since: inode, size and time of each.
        recipe: The precision recipe that made it, else what its weights and Q/DQ nodes say:
            ``fp32``, ``fp16``, ``bf16`` or ``qdq``.
        parent: Hash of the model that it was made from, or None.
        conversion: What was done to its parent, where trtlab did it.
    """

    name: str
    path: str
    hash: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opset: int | None
    ir_version: int | None
    parameters: int | None
    weight_bytes: int | None
    source: Literal["onnx", "network"] = "onnx"
    external_files: tuple[str, ...] = ()
    stamp: str = ""
    recipe: str = "fp32"
    parent: str | None = None
    conversion: ConversionReport | None = None

    @property
    def batch_axis(self) -> str | None:
        """Name of the dynamic batch axis, or None if the batch is fixed."""
        return batch_axis(self.inputs)


def batch_axis(inputs: Sequence[Tensor]) -> str | None:
    """Return the one named first axis among the inputs; inputs of fixed shape have no part in it.

    None if there is none, if there are several, or if an input's first axis is unknown.
    """
    if any(t.shape is None for t in inputs):
        return None
    names = {t.shape[0] for t in inputs if t.shape and not isinstance(t.shape[0], int)}
    return names.pop() if len(names) == 1 else None
