"""What a command answers, and the files that it writes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from trtlab.errors import SpecError, StoreError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found: one JSON document, the same as text, and its exit code.

    ``error`` is what went wrong once it was found: it is shown below and ends with 1.
    """

    data: Any
    text: str
    code: int = 0
    error: StoreError | None = None


def code_of(caveats: Sequence[Any]) -> int:
    """Return 1 where a result could be shown but not saved: the machine failed, not the user."""
    return int(any(c.kind == "not-saved" for c in caveats))


@overload
def writable(name: str, inputs: Sequence[str] = ()) -> Path: ...


@overload
def writable(name: None, inputs: Sequence[str] = ()) -> None: ...


def writable(name: str | None, inputs: Sequence[str] = ()) -> Path | None:
    """Return the file of ``-o``, tried before anything is measured for it.

    Args:
        name: What was given; None for nothing.
        inputs: What the command reads, which must not be written over.

    Raises:
        SpecError: it cannot be written there.
    """
    if name is None:
        return None
    target = Path(name)
    try:
        if target.exists() and any(_is_file(i) and target.samefile(i) for i in inputs):
            reason = "it is what the command reads"
        elif target.is_dir():
            reason = "it is a folder"
        elif target.exists() and not target.is_file():
            reason = "it is no ordinary file"  # a report would take the place of /dev/null
        elif target.exists() and not os.access(target, os.W_OK):
            reason = "it may not be changed"
        else:
            tempfile.TemporaryFile(dir=target.parent).close()
            return target
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        reason = f"{words[:1].lower()}{words[1:]}"
    raise SpecError(
        f"{name[:200]} cannot be written: {reason}.",
        hint="Give -o a file in a folder that exists and that you may write.",
    )


def _is_file(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # an id, or no name for a file at all
        return False


def error_of(write: Callable[[], object]) -> StoreError | None:
    """Write a file; returns why it failed, so that what it was to hold is still shown."""
    try:
        write()
    except StoreError as error:
        return error
    return None


def text_of(path: Path) -> str:
    """Return the path as text that every encoding can hold; a file's name may be any bytes."""
    return str(path).encode("utf-8", "backslashreplace").decode()
