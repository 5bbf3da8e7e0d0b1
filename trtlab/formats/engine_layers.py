"""What TensorRT says of an engine's layers, as text or as JSON → ``EngineLayer``, and back.

``layer_dump`` and ``engine_inspector`` find the fields of a layer, spelt as TensorRT spells them;
what the fields mean lies here, so that both give the same layers.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from trtlab.model.types import Dim, Tensor
from trtlab.record import EngineLayer, LayerTensor

T = TypeVar("T")

_TYPES = {
    "float": "float32",
    "fp32": "float32",
    "half": "float16",
    "fp16": "float16",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "fp8": "float8_e4m3fn",
    "fp8ue8m0": "float8_e8m0fnu",
    "e8m0": "float8_e8m0fnu",
    "fp4": "float4_e2m1fn",
    "int4": "int4",
    "int8": "int8",
    "int32": "int32",
    "int64": "int64",
    "uint8": "uint8",
    "bool": "bool",
}
_WORD = re.compile(r"\w+")
_SPELLINGS = {
    "float32": "Float",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "float8_e4m3fn": "FP8",
    "float8_e8m0fnu": "E8M0",
    "float4_e2m1fn": "FP4",
    "int4": "Int4",
    "int8": "Int8",
    "int32": "Int32",
    "int64": "Int64",
    "uint8": "UInt8",
    "bool": "Bool",
}
"""How TensorRT 10 spells each type where it stands alone."""

# What stands where TensorRT-RTX will choose the kernel at run time (seen in 1.7).
_STUB = "__myelin_CASK_STUB"
_TACTICS = ("TacticName", "TacticValue")
_TACTIC_VALUE = re.compile(r"0x[0-9a-fA-F]{1,16}")
_MAPPED = {"Name", "LayerType", "Inputs", "Outputs", "Constants", "StreamId", "EventId"}

_encoded = msgspec.json.Encoder().encode

_MOST_DIMENSIONS = 64
_ONNX_LAYER = "[ONNX Layer: "
# TensorRT-RTX 1.7 appends what it made of the last node: ``[ONNX Layer: c]__gemm_from_conv1x1``.
_NODE = re.compile(r"\[ONNX Layer: (.*)\](__\w*)?", re.DOTALL)
# One of the two bytes joins the parts of ``Metadata``; within a name it touches no bracket.
_SEPARATOR = re.compile(r"[\x1e\x1f](?=\[ONNX Layer: )|(?<=\])[\x1e\x1f]")


@dataclass(frozen=True, slots=True)
class LayersRead:
    """The layers that a text tells of, and what in it was not understood.

    Attributes:
        layers: In the text's order; None if the text has not the shape of any.
        unread: Texts that were not understood, or a sentence on what is missing. Where it is not
            empty, ``layers`` is not the whole engine.
        names_only: The engine was built with ``LAYER_NAMES_ONLY`` (or ``NONE``): no tensors and
            no nodes are known.
        inputs: The engine's IO tensors, and ``outputs``, as far as the text tells which is which.
    """

    layers: tuple[EngineLayer, ...] | None
    unread: tuple[str, ...]
    names_only: bool
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()


_Number = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""What a record can hold."""

_Dimension = Annotated[int, msgspec.Meta(ge=-1, le=(1 << 63) - 1)]


class _TensorFields(msgspec.Struct):
    """What TensorRT says of a tensor; other fields are left out."""

    name: str = msgspec.field(name="Name")
    dimensions: list[_Dimension] | str | None = msgspec.field(name="Dimensions", default=None)
    strides: list[_Number] | None = msgspec.field(name="Strides", default=None)
    together: str | None = msgspec.field(name="Format/Datatype", default=None)
    datatype: str | None = msgspec.field(name="Datatype", default=None)
    data_type: str | None = msgspec.field(name="DataType", default=None)
    format: str | None = msgspec.field(name="Format", default=None)
    location: str | None = msgspec.field(name="Location", default=None)


class _IoFields(_TensorFields, kw_only=True):
    io_mode: Literal["Input", "Output"] = msgspec.field(name="IOMode")


class _LayerFields(msgspec.Struct):
    """What TensorRT says of a layer; other fields become details."""

    name: str = msgspec.field(name="Name")
    type: str | None = msgspec.field(name="LayerType", default=None)
    inputs: list[_TensorFields | str] | None = msgspec.field(name="Inputs", default=None)
    outputs: list[_TensorFields | str] | None = msgspec.field(name="Outputs", default=None)
    constants: list[_TensorFields | str] | None = msgspec.field(name="Constants", default=None)
    stream: _Number | None = msgspec.field(name="StreamId", default=None)
    event: _Number | None = msgspec.field(name="EventId", default=None)
    metadata: str | None = msgspec.field(name="Metadata", default=None)
    tactic_name: str | None = msgspec.field(name="TacticName", default=None)
    tactic_value: str | None = msgspec.field(name="TacticValue", default=None)


Known = dict[str, tuple[_TensorFields, LayerTensor]]
"""Tensors that were read before, by name, with the fields that they were read from."""


def layer_from_fields(fields: Mapping[str, Any], known: Known | None = None) -> EngineLayer:
    """Return the layer that TensorRT describes by these fields.

    Fields of a layer that have no place of their own go to ``details``, those of a tensor are
    left out (``StrideOrder``). ``Metadata`` goes there too where it is more than ONNX nodes: in
    a network that no parser made it is any text. ``known`` is passed from layer to layer: what
    one writes another reads, mostly described in the same words.

    Raises:
        ValueError: no name, or a field that holds something else than expected.
    """
    said = _converted(fields, _LayerFields)
    known = {} if known is None else known
    nodes, only_nodes = _nodes(said.metadata) if said.metadata else ((), True)
    tactics = [t for t in (said.tactic_name, said.tactic_value) if t and t != _STUB]
    tactic = tactics[0] if tactics else None
    details = {k: _encoded(v).decode() for k, v in fields.items() if k not in _MAPPED}
    if only_nodes:
        details.pop("Metadata", None)
    for key in _TACTICS:
        if not fields.get(key) or fields[key] == tactic:
            details.pop(key, None)
    return EngineLayer(
        name=said.name,
        type=said.type or "",
        inputs=tuple([_tensor(t, known) for t in said.inputs or ()]),
        outputs=tuple([_tensor(t, known) for t in said.outputs or ()]),
        constants=tuple([_constant(t) for t in said.constants or ()]),
        nodes=nodes,
        tactic=tactic,
        stream=said.stream,
        event=said.event,
        details=details,
    )


def fields_of(layer: EngineLayer) -> dict[str, Any]:
    """Return the fields of which ``layer_from_fields`` makes this layer again."""
    fields: dict[str, Any] = {"Name": layer.name, "LayerType": layer.type}
    fields["Inputs"] = [_fields_of_tensor(t) for t in layer.inputs]
    fields["Outputs"] = [_fields_of_tensor(t) for t in layer.outputs]
    if layer.constants:
        fields["Constants"] = [_fields_of_tensor(t) for t in layer.constants]
    fields |= {key: _value(text) for key, text in layer.details.items()}
    if layer.tactic is not None:
        alone = fields.keys().isdisjoint(_TACTICS) and _TACTIC_VALUE.fullmatch(layer.tactic)
        fields["TacticValue" if alone or "TacticName" in fields else "TacticName"] = layer.tactic
    for key, number in (("StreamId", layer.stream), ("EventId", layer.event)):
        if number is not None:
            fields[key] = number
    if layer.nodes and "Metadata" not in fields:
        fields["Metadata"] = "\x1e".join(f"{_ONNX_LAYER}{node}]" for node in layer.nodes)
    return fields


def io_tensors(
    names: Iterable[str], layers: Sequence[EngineLayer]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return an engine's inputs and outputs of which only the names are told.

    An output is what a layer writes, an input what a layer reads and none writes; a name that no
    layer knows is left out.
    """
    wanted = dict.fromkeys(names)
    read: dict[str, LayerTensor] = {}
    written: dict[str, LayerTensor] = {}
    for layer in layers:
        for tensors, found in ((layer.inputs, read), (layer.outputs, written)):
            for tensor in tensors:
                if tensor.name in wanted:
                    found.setdefault(tensor.name, tensor)
    inputs = tuple(_io_tensor(read[n]) for n in wanted if n in read and n not in written)
    return inputs, tuple(_io_tensor(written[n]) for n in wanted if n in written)


def io_tensors_from_fields(
    several: Iterable[Mapping[str, Any]],
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return an engine's inputs and outputs from the fields that TensorRT describes them by.

    Raises:
        ValueError: a field is missing or holds something else than expected.
    """
    found: dict[str, list[Tensor]] = {"Input": [], "Output": []}
    for fields in several:
        said = _converted(fields, _IoFields)
        found[said.io_mode].append(_io_tensor(_layer_tensor(said)))
    return tuple(found["Input"]), tuple(found["Output"])


def built_ahead(layers: Iterable[EngineLayer]) -> bool:
    """Whether TensorRT-RTX made these layers: it alone leaves kernels to be chosen later."""
    return any(_STUB in layer.details.get("TacticName", "") for layer in layers)


def dtype_name(said: str) -> str | None:
    """Return the data type that TensorRT names, as NumPy or ml_dtypes names it.

    It may stand in a phrase, such as ``Row major linear FP32 format``. None where no known type
    is named, or more than one.
    """
    types = {_TYPES[word] for word in _WORD.findall(said.lower()) if word in _TYPES}
    return types.pop() if len(types) == 1 else None


def unread_layer(text: str, *, name: str) -> EngineLayer:
    """Return what holds the place of a layer whose text was not understood."""
    return EngineLayer(name, "unread", inputs=(), outputs=(), details={"text": text})


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):  # a record's file may hold any text there
        return text


def _fields_of_tensor(tensor: LayerTensor) -> dict[str, Any]:
    """Return fields in the spelling of 8.x and 10.x, where that holds all that is known."""
    fields: dict[str, Any] = {"Name": tensor.name}
    if tensor.location is not None:
        fields["Location"] = tensor.location
    if tensor.shape is not None:
        fields["Dimensions"] = [d if isinstance(d, int) else -1 for d in tensor.shape]
    if tensor.strides is not None:
        fields["Strides"] = list(tensor.strides)
    if tensor.format is None:
        if tensor.dtype is not None:
            fields["Format/Datatype"] = _SPELLINGS.get(tensor.dtype, tensor.dtype)
    elif dtype_name(tensor.format) == tensor.dtype and tensor.format.lower() not in _TYPES:
        fields["Format/Datatype"] = tensor.format
    else:
        fields["Datatype"] = _SPELLINGS.get(tensor.dtype or "", tensor.dtype)
        fields["Format"] = tensor.format
    return fields


def _io_tensor(tensor: LayerTensor) -> Tensor:
    return Tensor(tensor.name, tensor.dtype, tensor.shape)


def _nodes(metadata: str) -> tuple[tuple[str, ...], bool]:
    """Return the ONNX nodes named in ``Metadata``, and whether it holds nothing else."""
    parts = _SEPARATOR.split(metadata)
    nodes = [part for part in parts if part.startswith(_ONNX_LAYER)]
    found = [_NODE.fullmatch(node) for node in nodes]
    names = dict.fromkeys(match[1] for match in found if match)
    if None in found:
        raise ValueError(f"Metadata is cut off: {metadata!r}")
    suffixed = any(match[2] for match in found if match)
    return tuple(names), len(nodes) == len(parts) and not suffixed


def _converted(fields: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def _tensor(said: _TensorFields | str, known: Known) -> LayerTensor:
    if isinstance(said, str):
        return LayerTensor(said, None, None)
    before = known.get(said.name)
    if before is not None and before[0] == said:
        return before[1]
    tensor = _layer_tensor(said)
    known[said.name] = said, tensor
    return tensor


def _constant(said: _TensorFields | str) -> LayerTensor:
    if isinstance(said, str):
        return LayerTensor(said, None, None, is_constant=True)
    return replace(_layer_tensor(said), is_constant=True)


def _layer_tensor(said: _TensorFields) -> LayerTensor:
    dtype, layout = _dtype_and_format(said.together, said.datatype or said.data_type, said.format)
    return LayerTensor(
        said.name,
        dtype,
        _shape(said.dimensions),
        layout,
        None if said.strides is None else tuple(said.strides),
        said.location or None,
    )


@functools.lru_cache(maxsize=256)  # of an engine with thousands of tensors few differ in these
def _dtype_and_format(
    together: str | None, word: str | None, layout: str | None
) -> tuple[str | None, str | None]:
    """Return both, whether TensorRT says them together (8.x, 10.x) or apart (RTX, 11.x)."""
    if text := _known(together):
        return dtype_name(text), None if text.lower() in _TYPES else text
    dtype = dtype_name(_known(word) or _known(layout))
    if dtype is None:  # a type of a later version: lose no word of it
        return None, f"{_known(word)} {_known(layout)}".strip() or None
    return dtype, _known(layout) or None


def _known(said: str | None) -> str:
    return "" if said is None or said.startswith("N/A") else said  # "N/A due to dynamic shapes"


def _shape(said: list[int] | str | None) -> tuple[Dim, ...] | None:
    if said is None:
        return None
    if isinstance(said, str):
        if _known(said):
            raise ValueError(f"no dimensions: {said!r}")
        return None
    if len(said) > _MOST_DIMENSIONS or abs(math.prod(said)) >= 1 << 512:
        raise ValueError("no dimensions: more elements than any memory holds")
    return tuple([None if n == -1 else n for n in said]) if -1 in said else tuple(said)
