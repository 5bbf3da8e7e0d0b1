"""Commands for other tools' files: import, export."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from trtlab.commands.answer import Answer, error_of, text_of, writable
from trtlab.commands.options import record_of

if TYPE_CHECKING:
    from trtlab.record import Bundle


def run_import(options: argparse.Namespace) -> Answer:
    """Run ``trtlab import``."""
    from trtlab.record import Bundle
    from trtlab.store import Store, record_id
    from trtlab.verbs.read import keep, read

    found = read(*options.files, name=options.name)
    if isinstance(found, Bundle):
        return _imported_bundle(found)
    error = error_of(lambda: keep(found, Store()))
    ids = {record.kind: record_id(record)[:12] for record in found.records}
    plan, profile, measured = found.plan, found.profile, found.measurement
    data = {
        "schema_version": 1,
        "ids": ids,
        "model": found.records[0].model.name,
        "layers": None if plan is None or plan.layers is None else len(plan.layers),
        "timed_layers": None if profile is None else len(profile.layers),
        "runs": None if profile is None else profile.runs,
        "layers_sum_ms": None
        if profile is None
        else sum(layer.average_ms for layer in profile.layers),
        "latency_ms": None if measured is None else measured.median_ms,
        "n": None if measured is None else measured.n,
        "skipped": found.skipped,
        "caveats": [c for record in found.records for c in record.caveats],
        "environment": found.records[0].environment,
    }
    lines = [f"{kind + ' id':<26}{identity}" for kind, identity in ids.items()]
    return Answer(data, "\n".join([repr(found), *lines]), 0, error)


def _imported_bundle(found: Bundle) -> Answer:
    from trtlab.formats.bundle import linked
    from trtlab.store import Store, record_id
    from trtlab.verbs.read import keep

    error = error_of(lambda: keep(found, Store()))
    ids = [record_id(linked(run).line)[:12] for run in found.runs]
    data = {
        "schema_version": 1,
        "bundle": found.name,
        "runs": [{"id": i, **run.row()} for i, run in zip(ids, found.runs, strict=True)],
        "workspaces": len(found.workspaces),
        "graphs": len(found.graphs),
    }
    lines = [f"{'run id':<26}{identity}" for identity in ids]
    return Answer(data, "\n".join([repr(found), *lines]), 0, error)


def run_export(options: argparse.Namespace) -> Answer:
    """Run ``trtlab export``."""
    from trtlab.verbs.export import export

    target = writable(options.output, [options.record])
    record = record_of(options.record)
    export(record, target, form=options.form)
    data = {"schema_version": 1, "kind": record.kind, "file": text_of(target)}
    return Answer(data, f"The {record.kind} is in {text_of(target)}, as trtexec writes it")
