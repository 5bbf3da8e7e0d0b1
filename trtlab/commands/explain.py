"""Commands that explain: inspect, fusion, netron, compare, report."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtlab.commands.answer import Answer, error_of, text_of, writable
from trtlab.commands.options import build_settings, built_plan, model_of, record_of, shapes_of
from trtlab.errors import SpecError
from trtlab.terminal import progress_line

if TYPE_CHECKING:
    from trtlab.record import Fusion, Point
    from trtlab.worker import Progress


def run_inspect(options: argparse.Namespace) -> Answer:
    """Run ``trtlab inspect``."""
    from trtlab.verbs.inspect import inspect
    from trtlab.views.tables import Table

    with progress_line() as progress:
        model = model_of(options, progress)
        shapes = shapes_of(options)
        found = inspect(
            model, batch=options.batch, shapes=shapes, backend=options.backend, progress=progress
        )
    cost = found.total
    data = {
        "schema_version": 1,
        "model": found.model,
        "batch": found.batch,
        "ops": found.ops,
        "total": cost,
        "nodes": found.costs,
        "backend": found.backend,
        "verdicts": found.verdicts,
        "refusal": found.refusal,
    }
    cells = tuple(
        (c.node, c.op, *(("n/a" if v is None else f"{v:,}") for v in
         (c.flops, c.bytes_read, c.bytes_written)))
        for c in found.costs
    )  # fmt: skip
    heads = ("Node", "Op", "FLOP", "Bytes read", "Bytes written")
    table = Table(heads, cells, frozenset({2, 3, 4}))
    return Answer(data, f"{found!r}\n\nPer node (estimated)\n{table.text()}")


def run_fusion(options: argparse.Namespace) -> Answer:
    """Run ``trtlab fusion``."""
    from trtlab.verbs.fusion import fusion
    from trtlab.views.pages.fusion_page import fusion_page
    from trtlab.views.tables import fusion_table

    target = writable(options.output)
    with progress_line() as progress:
        found = fusion(**_fused(options, progress), progress=progress)
    error = error_of(lambda: _write_page(fusion_page(found), target)) if target else None
    text = found.explain(options.explain) if options.explain is not None else repr(found)
    if options.layers:
        text += f"\n\n{fusion_table(found).text()}"
    if target:
        text += f"\n{'page':<16}{text_of(target)}: both graphs side by side, one offline file"
    return Answer(_fusion_data(found), text, 0, error)


def run_netron(options: argparse.Namespace) -> Answer:
    """Run ``trtlab netron``."""
    from trtlab.app.netron import netron

    target = writable(options.output)
    with progress_line() as progress:
        page = netron(model_of(options, progress), progress=progress)
    page.save(target)
    data = {"schema_version": 1, "page": text_of(target), "note": page.note}
    return Answer(data, f"{page.note}\n{text_of(target)}")


def _fused(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Return what to explain: a model with its settings, or a plan with its layers' times."""
    from trtlab.record import Plan
    from trtlab.verbs.build import build
    from trtlab.verbs.profile import profile
    from trtlab.verbs.read import read

    is_model = len(options.models) == 1 and options.models[0].startswith("zoo:")
    if not is_model and not (options.models[0].endswith(".onnx") and options.onnx is None):
        if len(options.models) == 1 and not Path(options.models[0]).exists():
            record = record_of(options.models[0])
            if not isinstance(record, Plan):
                raise SpecError(
                    f"{options.models[0]} is a {record.kind}, not a plan.",
                    hint="Give the id that trtlab build printed, or a model.",
                )
            return {"plan": record, "model": options.onnx}
        found = read(*options.models)
        if found.plan is None:
            raise SpecError(
                "The files tell of no layers.", hint="Give the layers too: --exportLayerInfo."
            )
        return {"plan": found.plan, "profile": found.profile, "model": options.onnx}
    if len(options.models) > 1:
        raise SpecError("Several models were given.", hint="Give one model, or a plan's files.")
    options.model = options.models[0]
    if options.time:
        plan = built_plan(options, progress)
        times = profile(plan, batch=options.batch, shapes=shapes_of(options), progress=progress)
        return {"plan": plan, "profile": times}
    settings = build_settings(options) | {"batch": options.batch, "shapes": shapes_of(options)}
    return {"plan": build(model_of(options, progress), progress=progress, **settings)}


def _write_page(page: str, target: Path) -> None:
    from trtlab.store import write_file

    write_file(target, page.encode(), "The page")


def _fusion_data(found: Fusion) -> dict[str, Any]:
    ops = {node.name: node.op for node in found.graph.nodes}
    return {
        "schema_version": 1,
        "model": found.model.name,
        "precision": found.model.recipe,
        "backend": found.backend,
        "target": found.target,
        "graph_source": found.graph_source,
        "sizes": found.sizes,
        "summary": found.summary,
        "nodes": [
            {
                "name": fate.node,
                "op": ops[fate.node],
                "state": fate.state,
                "layers": fate.layers,
                "rule": fate.rule,
                "because": fate.because,
                "explanation": found.explanations[fate.node],
            }
            for fate in found.fates
        ],
        "layers": [
            {"name": layer.name, "type": layer.type, "stream": layer.stream}
            | {f.name: getattr(group, f.name) for f in fields(group)}
            for layer, group in zip(found.layers, found.groups, strict=True)
        ],
        "seams": found.seams,
        "time_kind": found.time_kind,
        "runs": found.runs,
        "caveats": found.caveats,
        "source": found.source,
    }


def run_compare(options: argparse.Namespace) -> Answer:
    """Run ``trtlab compare``."""
    from trtlab.record import EngineComparison
    from trtlab.verbs.compare import compare
    from trtlab.verbs.fusion import fusion
    from trtlab.views.pages.fusion_page import fusion_page
    from trtlab.views.sentences import engines_sentence
    from trtlab.views.tables import engines_table

    target = writable(options.output)
    records = record_of(options.a), record_of(options.b)
    profiles = tuple(map(record_of, options.profiles)) if options.profiles else None
    comparison: Any = compare(*records, profiles=profiles)
    if target and not isinstance(comparison, EngineComparison):
        raise SpecError("Only two plans can be drawn.", hint="Leave -o out.")
    data = {f.name: getattr(comparison, f.name) for f in fields(comparison)}
    data = {"schema_version": 1, **data}
    if not isinstance(comparison, EngineComparison):
        return Answer(data, repr(comparison))
    # Without times, sets that are the same on both sides tell nothing.
    timed = comparison.total.difference_ms is not None
    table = engines_table(comparison, None if timed else len(comparison.changed))
    text = f"{comparison!r}\n\n" + (f"{table.text()}\n\n" if table.rows else "")
    text += f"Where the difference comes from. {engines_sentence(comparison)}"
    error = None
    if target:
        a, b = (
            fusion(plan, profile=profile)
            for plan, profile in zip(records, profiles or (None, None), strict=True)
        )
        error = error_of(lambda: _write_page(fusion_page(a, b), target))
        text += f"\n\n{text_of(target)}: both engines side by side, one offline file"
    return Answer(data | {"summary": comparison.summary}, text, 0, error)


def run_report(options: argparse.Namespace) -> Answer:
    """Run ``trtlab report``."""
    from trtlab.record import Measurement, Point, SweepResult
    from trtlab.store import Store, record_id
    from trtlab.views.pages.report import report

    target = writable(options.output)
    wanted = set(options.models)
    newest: dict[Any, Point] = {}
    for m in Store().all(Measurement):
        if not wanted or m.model.name in wanted:
            key = (m.model.hash or record_id(m), repr(m.build), repr(m.run))
            newest.setdefault(key, Point(model=m.model, build=m.build, run=m.run, measurement=m))
    if not newest:
        raise SpecError(
            "There is nothing to report: the store has no measurement of that.",
            hint="Measure first, as in: trtlab sweep zoo:squeezenet --batch 1,4,16",
        )
    report(SweepResult(tuple(newest.values())), target)
    data = {"schema_version": 1, "report": text_of(target), "points": len(newest)}
    return Answer(data, f"{len(newest)} measurements in {target}")
