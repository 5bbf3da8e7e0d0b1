"""``export``: a record as the file that trtexec would write, runs as a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trtlab.codec import to_json
from trtlab.errors import SpecError
from trtlab.formats.bundle import write_bundle
from trtlab.formats.engine_inspector import layers_json
from trtlab.formats.trtexec_profile import profile_json
from trtlab.formats.trtexec_times import times_json
from trtlab.model.conversion import CalibrationTable
from trtlab.model.types import Graph, Model
from trtlab.record import Bundle, Run
from trtlab.store import Store, write_file


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


def export(
    record: Any,
    path: str | os.PathLike[str],
    *,
    form: str | None = None,
    store: Store | None = None,
) -> Path:
    """Write a plan's layers, the layers' times or a run's times as trtexec exports them.

    Of a converted ``Model`` the ranges of its calibration, for ``trtlab.convert(calibration=…)``.
    Of a ``Run``, several or a ``Bundle`` one file that ``trtlab.read`` opens on any machine: all
    records with every sample, the models' graphs without weights, no plan and no path.

    Args:
        record: A ``Plan``, a ``LayerProfile``, a ``Measurement``, a ``Model``; or runs.
        path: The file; a bundle's ends in ``.trtlab``.
        form: ``layers``, ``profile``, ``times``, ``ranges`` or ``bundle``, to be sure what is
            written; the record decides it.
        store: Where a bundle's graphs come from; default is this machine's store.

    Returns:
        Where it was written.

    Raises:
        SpecError: the record is of another kind, or the form of another record.
        UnsupportedError: the form cannot hold it, as times of a CPU.
        StoreError: the file cannot be written.
    """
    target = Path(path)
    bundle = _as_bundle(record)
    if bundle is not None and form in (None, "bundle"):
        graphs = _graphs(bundle, store or Store())
        return write_bundle(bundle.runs, target, workspaces=bundle.workspaces, graphs=graphs)
    kind = getattr(record, "kind", type(record).__name__)
    found, write = _WRITERS.get(kind, (None, None))
    if write is None or form not in (None, found):
        raise SpecError(
            f"A {kind} cannot be exported{f' as {form}' if form else ''}.",
            hint="A plan is exported as layers, layer times as profile, a measurement as times, a "
            "converted model as ranges, runs as a bundle.",
        )
    write_file(target, write(record), "The export")
    return target


def _as_bundle(record: Any) -> Bundle | None:
    """Return runs as a bundle; None for anything else."""
    if isinstance(record, Bundle):
        return record
    runs = [record] if isinstance(record, Run) else record
    if isinstance(runs, Sequence) and runs and all(isinstance(run, Run) for run in runs):
        return Bundle(name="", runs=tuple(runs))
    return None


def _graphs(bundle: Bundle, store: Store) -> dict[str, Graph]:
    """Return the graphs of the runs' models: those that came with them, else the store's."""
    found = dict(bundle.graphs)
    for run in bundle.runs:
        for identity in (run.model.hash, run.line.made.hash):
            if identity is not None and identity not in found:
                graph = store.graph(identity)
                if graph is not None:
                    found[identity] = graph
    return found
