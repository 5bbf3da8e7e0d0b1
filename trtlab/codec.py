"""Typed objects as JSON (files) and as MessagePack (the worker's pipe). Never pickle.

msgspec checks every field against the dataclass on reading, so a foreign or damaged file ends in
an error with the field's name and never in a half-built record.
"""

from __future__ import annotations

import base64
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

import msgspec

from trtlab.errors import TrtlabError

T = TypeVar("T")

_LARGEST_UNPACKED = 64 * 2**20
"""Bytes that all packed arrays of a text may unpack to: a small file must not fill the memory.
The largest measurement holds ten windows of 5,000 samples, 400 kB."""


class Int64Array(Sequence[int]):
    """An immutable array of 64-bit integers, such as latency samples in nanoseconds.

    Eight bytes a number in memory; zlib + base64 in JSON; raw little-endian bytes on a pipe.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._values = array("q", values)

    @classmethod
    def from_bytes(cls, data: bytes) -> Int64Array:
        """Read little-endian int64 numbers; raises ValueError if bytes are left over."""
        made = cls()
        made._values.frombytes(data)
        if sys.byteorder == "big":
            made._values.byteswap()
        return made

    def to_bytes(self) -> bytes:
        """Return the numbers as little-endian bytes."""
        if sys.byteorder == "big":
            swapped = array("q", self._values)
            swapped.byteswap()
            return swapped.tobytes()
        return self._values.tobytes()

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Int64Array: ...
    def __getitem__(self, index: int | slice) -> int | Int64Array:
        if isinstance(index, slice):
            return Int64Array(self._values[index])
        return self._values[index]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Int64Array) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values.tobytes())

    def __repr__(self) -> str:
        return f"Int64Array({len(self)} values)"


def to_json(value: object) -> bytes:
    """Encode a dataclass (or plain data) as readable JSON, arrays packed."""
    return msgspec.json.encode(value, enc_hook=_packed)


def from_json(data: bytes | str, kind: type[T]) -> T:
    """Decode JSON into ``kind``.

    Raises:
        ValueError: the text is not JSON, or does not fit the type; the message names the field.
    """
    try:
        return msgspec.json.decode(data, type=kind, dec_hook=_Unpacker())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TrtlabError) as error:
        raise ValueError(str(error)) from error


def to_message(value: object) -> bytes:
    """Encode for the worker's pipe: arrays are raw bytes."""
    return msgspec.msgpack.encode(value, enc_hook=_raw)


def from_message(data: bytes, kind: type[T]) -> T:
    """Decode what ``to_message`` made.

    Raises:
        ValueError: the bytes are damaged or do not fit the type.
    """
    try:
        return msgspec.msgpack.decode(data, type=kind, dec_hook=_unraw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TrtlabError) as error:
        raise ValueError(str(error)) from error


def _packed(value: Any) -> Any:
    if isinstance(value, Int64Array):
        return base64.b64encode(zlib.compress(value.to_bytes(), 6)).decode()
    raise NotImplementedError(f"{type(value).__name__} has no place in a record")


class _Unpacker:
    """Unpacks the arrays of one text, all together within the limit."""

    def __init__(self) -> None:
        self._left = _LARGEST_UNPACKED

    def __call__(self, kind: type[Any], value: Any) -> Any:
        if kind is not Int64Array or not isinstance(value, str):
            raise ValueError(f"expected packed numbers, got {type(value).__name__}")
        unpacker = zlib.decompressobj()
        try:
            # One byte more than may come, since 0 would mean no limit.
            data = unpacker.decompress(base64.b64decode(value, validate=True), self._left + 1)
        except zlib.error as error:
            raise ValueError(f"packed numbers are damaged: {error}") from error
        self._left -= len(data)
        if self._left < 0 or not unpacker.eof:
            raise ValueError("packed numbers are cut off, or larger than 64 MiB in all")
        return Int64Array.from_bytes(data)


def _raw(value: Any) -> Any:
    if isinstance(value, Int64Array):
        return value.to_bytes()
    raise NotImplementedError(f"{type(value).__name__} cannot cross the worker's pipe")


def _unraw(kind: type[Any], value: Any) -> Any:
    if kind is not Int64Array or not isinstance(value, bytes):
        raise ValueError(f"expected raw numbers, got {type(value).__name__}")
    return Int64Array.from_bytes(value)
