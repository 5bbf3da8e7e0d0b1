"""Stored tensors: element types, sizes, bytes, and where external data may lie."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trtlab.errors import ModelError

CHUNK_BYTES = 1 << 20

_NAMES = {
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "STRING": "str",
    "FLOAT8E4M3FN": "float8_e4m3fn",
    "FLOAT8E4M3FNUZ": "float8_e4m3fnuz",
    "FLOAT8E5M2": "float8_e5m2",
    "FLOAT8E5M2FNUZ": "float8_e5m2fnuz",
    "FLOAT8E8M0": "float8_e8m0fnu",
    "FLOAT4E2M1": "float4_e2m1fn",
    "FLOAT6E2M3": "float6_e2m3fn",
    "FLOAT6E3M2": "float6_e3m2fn",
}
"""Where NumPy and ml_dtypes do not simply write ONNX's name in lower case."""

_BITS = {
    "BOOL": 8, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16, "FLOAT16": 16, "BFLOAT16": 16,
    "FLOAT": 32, "INT32": 32, "UINT32": 32, "DOUBLE": 64, "INT64": 64, "UINT64": 64,
    "COMPLEX64": 64, "COMPLEX128": 128, "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8,
    "FLOAT8E5M2FNUZ": 8, "FLOAT8E8M0": 8, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6, "FLOAT4E2M1": 4,
    "UINT4": 4, "INT4": 4, "UINT2": 2, "INT2": 2,
}  # fmt: skip

_STORAGE = {"float_data": "<f4", "double_data": "<f8", "int64_data": "<i8"}


def dtype_name(data_type: int) -> str | None:
    """Name an ONNX element type as NumPy or ml_dtypes does; None for undefined or unknown."""
    if data_type not in TensorProto.DataType.values() or data_type == TensorProto.UNDEFINED:
        return None
    name: str = TensorProto.DataType.Name(data_type)
    return _NAMES.get(name, name.lower())


def label(tensor: TensorProto) -> str:
    """What to call a stored tensor in a message."""
    return f"weight {tensor.name}" if tensor.name else "an unnamed constant"


def element_count(tensor: TensorProto) -> int:
    """Number of elements.

    Raises:
        ModelError: a dimension is negative.
    """
    count = 1
    for dim in tensor.dims:
        if dim < 0:
            raise ModelError(f"{label(tensor)} has the negative dimension {dim}.")
        count *= dim
    return count


def stored_bytes(tensor: TensorProto) -> int:
    """Bytes the values take in raw form; types below 8 bits are packed.

    Raises:
        ModelError: the element type is unknown here, or a dimension is negative.
    """
    if tensor.data_type == TensorProto.STRING:
        return sum(len(text) for text in tensor.string_data)
    known = tensor.data_type in TensorProto.DataType.values()
    bits = _BITS.get(TensorProto.DataType.Name(tensor.data_type)) if known else None
    if bits is None:
        raise ModelError(
            f"{label(tensor)} has element type {tensor.data_type}, which the installed onnx "
            f"{onnx.__version__} does not know.",
            hint="Install a newer onnx: pip install -U onnx.",
        )
    return -(-element_count(tensor) * bits // 8)


def is_external(tensor: TensorProto) -> bool:
    """Whether the values lie in another file."""
    return tensor.data_location == TensorProto.EXTERNAL


def stored_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    """Tensors in the attributes of nodes, and all tensors of their subgraphs."""
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (
                *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
                *attribute.sparse_tensors,
            ):
                yield from (sparse.values, sparse.indices)
            for graph in subgraphs_of(attribute):
                yield from graph_tensors(graph)


def graph_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every tensor whose values a graph stores: initialisers, constants, those of subgraphs."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from stored_tensors(graph.node)


def subgraphs_of(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    """The subgraphs that an attribute holds, usually none."""
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def raw_values(tensor: TensorProto) -> bytes:
    """The values of a tensor stored inside the model file, in raw (little-endian, packed) form.

    Typed fields (``float_data`` …) give the same bytes as ``raw_data`` would.

    Raises:
        ModelError: the number of bytes does not fit the shape.
    """
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data
    elif tensor.data_type in (TensorProto.FLOAT6E2M3, TensorProto.FLOAT6E3M2):
        raw = numpy_helper.from_array(numpy_helper.to_array(tensor)).raw_data
    else:
        field = helper.tensor_dtype_to_field(tensor.data_type)
        width = max(1, _BITS[TensorProto.DataType.Name(tensor.data_type)] // 8)
        # int32_data holds narrow types in 32-bit slots: casting keeps the low bytes.
        storage = _STORAGE.get(field, f"<u{width}")
        raw = np.array(getattr(tensor, field)).astype(storage).tobytes()
    if len(raw) != stored_bytes(tensor):
        raise ModelError(
            f"{label(tensor)} holds {len(raw):,} bytes; its shape {list(tensor.dims)} needs "
            f"{stored_bytes(tensor):,}.",
            hint="The file is damaged: export or download it again.",
        )
    return raw


@dataclass(frozen=True, slots=True)
class WeightFolder:
    """Where a model's external data is looked up, and where its files may really lie.

    The lookup folder is that of the path as given, as every runtime does it. A data file is
    accepted when its real place, all symbolic links resolved, is inside the real lookup folder,
    or inside the folder of the model's real file when the model is itself a link: caches of
    model hubs lay out both files as links into one folder. Neither lets a downloaded model read
    files that its author could not have written.
    """

    folder: Path
    allowed: tuple[Path, ...]

    @classmethod
    def of(cls, model: Path) -> WeightFolder:
        """The folder of a model file."""
        return cls(model.parent, (model.parent.resolve(), model.resolve().parent))

    def chunks(self, tensor: TensorProto) -> Iterator[bytes]:
        """Stream an external tensor's values.

        Raises:
            ModelError: the location is absolute, outside, missing, too short or unreadable.
        """
        path, offset = self._locate(tensor)
        left = stored_bytes(tensor)
        try:
            with path.open("rb") as file:
                file.seek(offset)
                while left:
                    chunk = file.read(min(left, CHUNK_BYTES))
                    if not chunk:
                        raise ModelError(f"{label(tensor)}: {path.name} became shorter.")
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise ModelError(
                f"{label(tensor)} lies in {path.name}, which cannot be read: {error.strerror}.",
                hint="Check the file's rights.",
            ) from error

    def values(self, tensor: TensorProto) -> bytes:
        """All values of a tensor in raw form, wherever they lie."""
        return b"".join(self.chunks(tensor)) if is_external(tensor) else raw_values(tensor)

    def _locate(self, tensor: TensorProto) -> tuple[Path, int]:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        path = self._inside(tensor, location)
        offset = _number(tensor, entries.get("offset") or "0")
        needed = stored_bytes(tensor)
        length = _number(tensor, entries.get("length") or str(needed))
        if length != needed:
            raise ModelError(
                f"{label(tensor)} names {length:,} bytes in {location}; its shape "
                f"{list(tensor.dims)} needs {needed:,}.",
                hint="Export the model again: its external data does not fit.",
            )
        size = path.stat().st_size
        if offset + length > size:
            raise ModelError(
                f"{label(tensor)} needs bytes {offset:,} to {offset + length:,} of {location}, "
                f"which has only {size:,}.",
                hint=f"{location} is cut off or belongs to another model: copy it again.",
            )
        return path, offset

    def _inside(self, tensor: TensorProto, location: str) -> Path:
        outside = ModelError(
            f"{label(tensor)} lies in {location!r}, outside the model's folder.",
            hint="External data must lie beside the model: save the model again with "
            "onnx.save(..., save_as_external_data=True).",
        )
        if tensor.data_type == TensorProto.STRING or not location or "\0" in location:
            raise ModelError(
                f"{label(tensor)} has no usable external data location ({location!r}).",
                hint="Export the model again.",
            )
        if Path(location).is_absolute():
            raise outside
        path = self.folder / location
        try:
            real = path.resolve()
            if not any(real.is_relative_to(root) for root in self.allowed):
                raise outside
            regular = stat.S_ISREG(real.stat().st_mode)
        except (OSError, RuntimeError):  # RuntimeError: a loop of links
            regular = False
        if not regular:
            raise ModelError(
                f"{label(tensor)} lies in {location}, and there is no such file beside the model.",
                hint=f"Copy {location} into the folder of the model.",
            )
        return real


def _number(tensor: TensorProto, text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    raise ModelError(
        f"{label(tensor)} has the external data offset or length {text!r}.",
        hint="Both must be whole numbers: export the model again.",
    )
