"""``export``: a record as the file that trtexec would write."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trtlab.codec import to_json
from trtlab.errors import SpecError
from trtlab.formats.engine_inspector import layers_json
from trtlab.formats.trtexec_profile import profile_json
from trtlab.formats.trtexec_times import times_json
from trtlab.model.conversion import CalibrationTable
from trtlab.model.types import Model
from trtlab.store import write_file


def _ranges_json(model: Model) -> bytes:
    report = model.conversion
    if report is None or report.calibration is None:
        raise SpecError(
            f"{model.name} ({model.recipe}) was not calibrated.",
            hint="Convert it to int8 or fp8 with data; that model has ranges.",
        )
    table = CalibrationTable(
        parent=report.parent, calibration=report.calibration, ranges=report.ranges
    )
    return to_json(table)


_WRITERS: dict[str, tuple[str, Callable[[Any], bytes]]] = {
    "plan": ("layers", layers_json),
    "layer-profile": ("profile", profile_json),
    "measurement": ("times", times_json),
    "Model": ("ranges", _ranges_json),
}


def export(record: Any, path: str | os.PathLike[str], *, form: str | None = None) -> Path:
    """Write a plan's layers, the layers' times or a run's times as trtexec exports them.

    Of a converted ``Model`` the ranges of its calibration, for ``trtlab.convert(calibration=…)``.

    Args:
        record: A ``Plan``, a ``LayerProfile``, a ``Measurement`` or a ``Model``.
        path: The file.
        form: ``layers``, ``profile``, ``times`` or ``ranges``, to be sure what is written; the
            record decides it.

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
            hint="A plan is exported as layers, layer times as profile, a measurement as times, a "
            "converted model as ranges.",
        )
    target = Path(path)
    write_file(target, write(record), "The export")
    return target
