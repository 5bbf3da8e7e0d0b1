"""What TensorRT says of an engine's layers, as text or as JSON → ``EngineLayer``.

``layer_dump`` and ``engine_inspector`` find the fields of a layer, spelt as TensorRT spells them;
what the fields mean lies here, so that both give the same layers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trtlab.model.types import Dim
from trtlab.record import EngineLayer, LayerTensor

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

# What stands where TensorRT-RTX will choose the kernel at run time (seen in 1.7).
_STUB = "__myelin_CASK_STUB"
_TACTICS = ("TacticName", "TacticValue")
_MAPPED = {"Name", "LayerType", "Inputs", "Outputs", "Constants", "StreamId", "EventId"}

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
    """

    layers: tuple[EngineLayer, ...] | None
    unread: tuple[str, ...]
    names_only: bool


def layer_from_fields(fields: Mapping[str, Any]) -> EngineLayer:
    """Return the layer that TensorRT describes by these fields.

    Fields of a layer that have no place of their own go to ``details``, those of a tensor are
    left out (``StrideOrder``). ``Metadata`` goes there too where it is more than ONNX nodes: in
    a network that no parser made it is any text.

    Raises:
        TypeError, ValueError: no name, or a field that holds something else than expected.
    """
    metadata = _string(fields, "Metadata")
    nodes, only_nodes = _nodes(metadata)
    tactic = _tactic(fields)
    return EngineLayer(
        name=_name(fields),
        type=_string(fields, "LayerType"),
        inputs=_tensors(fields, "Inputs"),
        outputs=_tensors(fields, "Outputs"),
        constants=_tensors(fields, "Constants", is_constant=True),
        nodes=nodes,
        tactic=tactic,
        stream=_integer(fields, "StreamId"),
        event=_integer(fields, "EventId"),
        details={
            without_surrogates(key): json.dumps(value)
            for key, value in fields.items()
            if key not in _MAPPED
            and not (key == "Metadata" and only_nodes)
            and not (key in _TACTICS and (not value or value == tactic))
        },
    )


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


def without_surrogates(text: str) -> str:
    """Return the text without half characters: JSON can hold them, a stored record cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _tactic(fields: Mapping[str, Any]) -> str | None:
    said = (_string(fields, key) for key in _TACTICS)
    return next((tactic for tactic in said if tactic and tactic != _STUB), None)


def _nodes(metadata: str) -> tuple[tuple[str, ...], bool]:
    """Return the ONNX nodes named in ``Metadata``, and whether it holds nothing else."""
    parts = _SEPARATOR.split(metadata) if metadata else []
    nodes = [part for part in parts if part.startswith(_ONNX_LAYER)]
    found = [_NODE.fullmatch(node) for node in nodes]
    names = dict.fromkeys(match[1] for match in found if match)
    if None in found:
        raise ValueError(f"Metadata is cut off: {metadata!r}")
    suffixed = any(match[2] for match in found if match)
    return tuple(names), len(nodes) == len(parts) and not suffixed


def _tensors(
    fields: Mapping[str, Any], key: str, *, is_constant: bool = False
) -> tuple[LayerTensor, ...]:
    return tuple(_tensor(tensor, is_constant) for tensor in _list(fields, key) or ())


def _tensor(fields: object, is_constant: bool) -> LayerTensor:
    if isinstance(fields, str):
        return LayerTensor(without_surrogates(fields), None, None, is_constant=is_constant)
    if not isinstance(fields, dict):
        raise TypeError(f"no tensor: {fields!r}")
    dtype, layout = _dtype_and_format(fields)
    strides = _list(fields, "Strides")
    return LayerTensor(
        name=_name(fields),
        dtype=dtype,
        shape=_shape(fields),
        format=layout,
        strides=None if strides is None else tuple(_whole(n) for n in strides),
        location=_string(fields, "Location") or None,
        is_constant=is_constant,
    )


def _dtype_and_format(fields: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return both, whether TensorRT says them together (8.x, 10.x) or apart (RTX, 11.x)."""
    together = _known(fields, "Format/Datatype")
    if together:
        return dtype_name(together), None if together.lower() in _TYPES else together
    word = _known(fields, "Datatype") or _known(fields, "DataType")
    layout = _known(fields, "Format")
    dtype = dtype_name(word or layout)
    if dtype is None:
        layout = f"{word} {layout}".strip()  # a type of a later version: lose no word of it
    return dtype, layout or None


def _known(fields: Mapping[str, Any], key: str) -> str:
    text = _string(fields, key)
    return "" if text.startswith("N/A") else text  # "N/A due to dynamic shapes"


def _shape(fields: Mapping[str, Any]) -> tuple[Dim, ...] | None:
    if isinstance(fields.get("Dimensions"), str) and not _known(fields, "Dimensions"):
        return None
    dimensions = _list(fields, "Dimensions")
    if dimensions is None:
        return None
    shape = [_whole(n) for n in dimensions]
    if any(n < -1 for n in shape):
        raise ValueError(f"no dimensions: {shape}")
    return tuple(None if n == -1 else n for n in shape)


def _name(fields: Mapping[str, Any]) -> str:
    if fields.get("Name") is None:
        raise ValueError(f"nothing has a name here: {list(fields)}")
    return _string(fields, "Name")


def _string(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{key} is no text: {value!r}")
    return without_surrogates(value)


def _integer(fields: Mapping[str, Any], key: str) -> int | None:
    value = fields.get(key)
    return None if value is None else _whole(value)


def _list(fields: Mapping[str, Any], key: str) -> list[Any] | None:
    value = fields.get(key)
    if value is not None and not isinstance(value, list):
        raise TypeError(f"{key} is no list: {value!r}")
    return value


def _whole(value: object) -> int:
    # Records hold 64 bits; True is an int to Python.
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 1 << 63:
        raise ValueError(f"no whole number: {value!r}")
    return value
