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
    from trtlab.record import Fusion, Plan, Point
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
    from trtlab.store import record_id
    from trtlab.verbs.fusion import fusion
    from trtlab.views import sentences
    from trtlab.views.pages.fusion_page import fusion_page
    from trtlab.views.tables import fusion_table, regions_table

    target = writable(options.output, [*options.models, options.onnx or ""])
    with progress_line() as progress:
        plan, more = _plan_to_explain(options, progress)
        found = fusion(plan, **more, progress=progress)
    if options.explain is not None:
        text = found.explain(options.explain)
    else:
        text = f"{found!r}\n{'plan id':<16}{record_id(plan)[:12]} (for trtlab compare)"
        text += f"\n\n{sentences.types_sentence(found)}\n{sentences.precision_sentence(found)}"
    if options.layers:
        text += f"\n{sentences.transitions_sentence(found)}\n\n{fusion_table(found).text()}"
        if found.opaque_share:
            text += f"\n\n{sentences.regions_sentence(found)}\n{regions_table(found).text()}"
    error = error_of(lambda: _write_page(fusion_page(found), target)) if target else None
    if target:
        text += f"\n\n{text_of(target)}: both graphs side by side, one offline file"
    return Answer(_fusion_data(found), text, 0, error)


def run_netron(options: argparse.Namespace) -> Answer:
    """Run ``trtlab netron``."""
    from trtlab.app.netron import netron

    target = writable(options.output, [options.model])
    with progress_line() as progress:
        page = netron(model_of(options, progress), progress=progress)
    page.save(target)
    data = {"schema_version": 1, "page": text_of(target), "note": page.note}
    return Answer(data, f"{page.note}\n{text_of(target)}")


def _plan_to_explain(
    options: argparse.Namespace, progress: Progress
) -> tuple[Plan, dict[str, Any]]:
    """Return the plan, and what else ``trtlab.fusion`` takes beside it."""
    from trtlab.verbs.read import read_engine

    first = options.models[0]
    is_model = first.startswith("zoo:") or (first.endswith(".onnx") and options.onnx is None)
    if is_model:
        return _built_to_explain(options, progress)
    _refuse_settings(options)
    if len(options.models) > 1 or Path(first).exists():
        found = read_engine(*options.models)
        plan, profile = found.plan, found.profile
        if plan is None:
            raise SpecError(
                "The files tell of no layers.", hint="Give the layers too: --exportLayerInfo."
            )
    else:
        plan, profile = record_of(first), None
        if plan.kind != "plan":
            raise SpecError(
                f"{first} is a {plan.kind}, not a plan.",
                hint="Give the id that trtlab build printed, or a model.",
            )
    if options.profile:
        profile = record_of(options.profile)
    return plan, {"profile": profile, "model": options.onnx}


def _built_to_explain(
    options: argparse.Namespace, progress: Progress
) -> tuple[Plan, dict[str, Any]]:
    from trtlab.verbs.build import build
    from trtlab.verbs.profile import profile

    if len(options.models) > 1 or options.onnx or options.profile:
        raise SpecError(
            "A model is explained alone.",
            hint="Give one model; --onnx and --profile belong to a plan.",
        )
    options.model = options.models[0]
    if options.time:
        plan = built_plan(options, progress)
        times = profile(plan, batch=options.batch, shapes=shapes_of(options), progress=progress)
        return plan, {"profile": times}
    settings = build_settings(options) | {"batch": options.batch, "shapes": shapes_of(options)}
    return build(model_of(options, progress), progress=progress, **settings), {}


def _refuse_settings(options: argparse.Namespace) -> None:
    """Refuse settings of a build for a plan that is built already."""
    given = ("backend", "target", "workspace", "optimization_level", "flag", "time", "batch",
             "shapes", "dynamic_batch")  # fmt: skip
    named = [name for name in given if getattr(options, name)]
    if named:
        raise SpecError(
            f"The plan is built already: --{named[0].replace('_', '-')} cannot change it.",
            hint="Give the model instead, or leave the settings out.",
        )


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

    target = writable(options.output, [options.a, options.b])
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
