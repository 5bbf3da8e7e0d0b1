"""``export``: a record as the file that trtexec would write."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trtlab.errors import SpecError
from trtlab.formats.engine_inspector import layers_json
from trtlab.formats.trtexec_profile import profile_json
from trtlab.formats.trtexec_times import times_json
from trtlab.store import write_file

_WRITERS: dict[str, tuple[str, Callable[[Any], bytes]]] = {
    "plan": ("layers", layers_json),
    "layer-profile": ("profile", profile_json),
    "measurement": ("times", times_json),
}


def export(record: Any, path: str | os.PathLike[str], *, form: str | None = None) -> Path:
    """Write a plan's layers, the layers' times or a run's times as trtexec exports them.

    Args:
        record: A ``Plan``, a ``LayerProfile`` or a ``Measurement``.
        path: The file.
        form: ``layers``, ``profile`` or ``times``, to be sure what is written; the record
            decides it.

    Returns:
        Where it was written.

    Raises:
        SpecError: the record is of another kind, or the form of another record.
        UnsupportedError: the form cannot hold it, as times of a CPU.
        StoreError: the file cannot be written.
    """
    kind = getattr(record, "kind", type(record).__name__)
    found, write = _WRITERS.get(kind, (None, None))
    if write is None or form not in (None, found):
        raise SpecError(
            f"A {kind} cannot be exported{f' as {form}' if form else ''}.",
            hint="A plan is exported as layers, layer times as profile, a measurement as times.",
        )
    target = Path(path)
    write_file(target, write(record), "The export")
    return target
