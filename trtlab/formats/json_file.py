"""The JSON of other tools' files: decoded fast, and where it is not quite JSON, as far as it goes.

Names may hold raw control bytes, numbers be ``NaN``; Python's own decoder reads both.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from trtlab.errors import RecordError
from trtlab.model.printing import printable

MOST_PARTS = 1_000_000
"""More lists and objects in a text are refused before it is decoded: each takes some 100 bytes of
memory, however short its text. Recorded files hold about 20 a layer."""
_SHOWN = 60
_NEITHER = re.compile(r"-?(?:nan|inf)", re.IGNORECASE)


def decoded(text: str | bytes, name: str) -> Any:
    """Return what a JSON text holds.

    Args:
        text: The text, or its bytes in UTF-8.
        name: What to call the file in an error.

    Raises:
        RecordError: it is no JSON (the message says where), or holds too much.
    """
    parts = text.count("[") + text.count("{") if isinstance(text, str) else (
        text.count(b"[") + text.count(b"{"))  # fmt: skip
    if parts > MOST_PARTS:
        raise RecordError(
            f"{name} holds more than {MOST_PARTS:,} lists and objects.",
            hint="The largest files of real engines hold some ten thousand.",
        )
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    return _patiently(text_of(text, name) if isinstance(text, bytes) else text, name)


def text_of(data: bytes, name: str) -> str:
    """Return the text that bytes hold, with plain line ends.

    Raises:
        RecordError: they are not UTF-8.
    """
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise RecordError(
            f"{name} is no UTF-8: byte {error.start:,} is {data[error.start]:#04x}.",
            hint="Write the file again, or convert it to UTF-8.",
        ) from error


def whole_characters(text: str) -> str:
    """Return the text without half characters: JSON can hold them, a stored record cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def shown(value: object) -> str:
    """Return a value in short, such as a name between quotes, safe to print in an error."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, deep nesting
        return f"a very long {type(value).__name__}"
    return printable(text) if len(text) <= _SHOWN else f"{printable(text[:_SHOWN])}…"


def _patiently(text: str, name: str) -> Any:
    try:
        return _clean(json.loads(text, strict=False))
    except json.JSONDecodeError as error:
        before = printable(text[max(0, error.pos - _SHOWN) : error.pos])
        after = printable(text[error.pos : error.pos + 20])
        reason = "it ends too early" if not after.strip() else f"at {after!r}"
        if number := _NEITHER.match(text, error.pos):
            reason = f"{number[0]} is no number"
        raise RecordError(
            f"{name} is no JSON: line {error.lineno:,}, {reason}, after {before!r}.",
            hint="Write the file again; it may be cut off.",
        ) from error
    except (ValueError, RecursionError) as error:
        reason = "a number is too long" if isinstance(error, ValueError) else "it nests too deeply"
        raise RecordError(
            f"{name} cannot be read as JSON: {reason}.", hint="No tool writes such files."
        ) from error


def _clean(data: Any) -> Any:
    if isinstance(data, str):
        return whole_characters(data)
    if isinstance(data, list):
        return [_clean(item) for item in data]
    if isinstance(data, dict):
        return {whole_characters(key): _clean(item) for key, item in data.items()}
    return data
