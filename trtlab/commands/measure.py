"""Commands that build and measure: build, bench, profile, workspace, sweep."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtlab.commands.answer import Answer, code_of, error_of, text_of, writable
from trtlab.commands.options import (
    bench_settings,
    build_settings,
    built_plan,
    cap_of,
    ints_of,
    level_of,
    model_of,
    profile_settings,
    ranges_of,
    shapes_of,
)
from trtlab.errors import WRONG_INPUT, StoreError
from trtlab.terminal import progress_line

if TYPE_CHECKING:
    from trtlab.analysis.built_precision import BuiltPrecision
    from trtlab.record import LayerProfile, Measurement, Plan, Point, SweepResult, WorkspacePoint


def run_build(options: argparse.Namespace) -> Answer:
    """Run ``trtlab build``."""
    from trtlab.store import Store, record_id
    from trtlab.verbs.build import build
    from trtlab.verbs.built_precision import built_precision
    from trtlab.views.precision_sentences import built_sentence
    from trtlab.views.tables import plan_table

    target = writable(options.output, [options.model])
    with progress_line() as progress:
        plan = build(
            model_of(options, progress),
            batch=ints_of(options.batch),
            shapes=ranges_of(options),
            progress=progress,
            **build_settings(options),
        )
    layers = f"\n\n{plan_table(plan).text()}" if options.layers else ""
    built = built_precision(plan) if plan.model.recipe != "fp32" and plan.layers else None
    if built is not None:
        layers = f"\n\n{built_sentence(built)}{layers}"
    file = Store().plan_path(plan.hash)
    error = error_of(lambda: _copied(file, target)) if target else None
    identity = record_id(plan)[:12]
    text = f"{plan!r}\n{'file':<26}{text_of(target or file)}"
    text += f"\n{'id':<26}{identity} (for trtlab compare){layers}"
    data = {
        "schema_version": 1,
        "id": identity,
        **_plan_data(plan),
        "built_precision": None if built is None else _built_data(built),
        "plan_path": text_of(file),
    }
    return Answer(data, text, 0, error)


def _built_data(built: BuiltPrecision) -> dict[str, Any]:
    return {
        "asked": built.asked,
        "of_weights": built.of_weights,
        "anchors": built.anchors,
        "anchors_in_asked": built.anchors_in_asked,
        "share_flops": built.share_by("flops"),
        "share_bytes": built.share_by("bytes"),
        "share_layers": built.share_by(None),
        "share_time": built.share_by("time"),
        "strays": built.strays,
        "converting_layers": len(built.converting.layers),
        "warnings": built.warnings,
    }


def _copied(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise StoreError(
            f"The plan was not written to {target}: {error.strerror}.",
            hint="Choose another place; the store has the plan.",
        ) from error


def _plan_data(plan: Plan) -> dict[str, Any]:
    return {
        "model": plan.model.name,
        "precision": plan.model.recipe,
        "backend": plan.config.backend,
        "target": plan.config.target_text,
        "optimization_level": plan.config.optimization_level,
        "workspace_bytes": plan.config.workspace_bytes,
        "profiles": plan.config.profiles,
        "flags": plan.config.flags,
        "plan": plan.hash,
        "plan_bytes": plan.plan_bytes,
        "build_seconds": plan.build_seconds,
        "peak_rss_bytes": plan.peak_rss_bytes,
        "memory": plan.memory,
        "streams": plan.streams,
        "layers": plan.layers,
        "messages": plan.messages,
        "caveats": plan.caveats,
        "environment": plan.environment,
    }


def run_bench(options: argparse.Namespace) -> Answer:
    """Run ``trtlab bench``."""
    from trtlab.store import record_id, write_record
    from trtlab.verbs.benchmark import benchmark

    target = writable(options.output, [options.model])
    with progress_line() as progress:
        plan = built_plan(options, progress)
        measurement = benchmark(plan, progress=progress, **bench_settings(options))
    error = error_of(lambda: write_record(measurement, target)) if target else None
    identity = record_id(measurement)[:12]
    data = {"schema_version": 1, "id": identity, **_measurement_data(measurement, plan)}
    text = f"{measurement!r}\n{'id':<10}{identity} (for trtlab compare)"
    return Answer(data, text, code_of(measurement.caveats), error)


def _measurement_data(m: Measurement, plan: Plan) -> dict[str, Any]:
    from trtlab.record import Point

    row = Point(model=m.model, build=m.build, run=m.run, plan=plan, measurement=m).row()
    return {
        **row,
        "contents": m.contents,
        "provider": m.provider,
        "first_call_ms": None if m.first_call_ns is None else m.first_call_ns / 1e6,
        "load_seconds": m.load_seconds,
        "cpu_ms_per_call": None if m.cpu_ns_per_call is None else m.cpu_ns_per_call / 1e6,
        "other_load": m.other_load,
        "memory": m.memory,
        "cuda_graph": m.cuda_graph,
        "parts_ms": {name: m.part_ms(name) for name in ("h2d", "compute", "d2h", "enqueue")},
        "device_memory": m.device_memory,
        "gpu": m.gpu,
        "energy_joules": m.energy_joules,
        "energy_note": m.energy_note,
        "warm_up": m.warm_up,
        "caveats": m.caveats,
        "environment": m.environment,
    }


def run_profile(options: argparse.Namespace) -> Answer:
    """Run ``trtlab profile``."""
    from trtlab.store import record_id
    from trtlab.verbs.profile import profile
    from trtlab.views.tables import layer_table

    with progress_line() as progress:
        layers = profile(
            built_plan(options, progress), progress=progress, **profile_settings(options)
        )
    identity = record_id(layers)[:12]
    text = f"{layers!r}\n{'id':<14}{identity} (for trtlab compare --profiles)"
    text += f"\n\n{layer_table(layers).text()}"
    return Answer({"id": identity, **_profile_data(layers)}, text, code_of(layers.caveats))


def _profile_data(profile: LayerProfile) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "model": profile.model.name,
        "batch": profile.batch,
        "time_kind": profile.time_kind,
        "runs": profile.runs,
        "layers": [
            {
                "name": layer.name,
                "type": layer.type,
                "provider": layer.provider,
                "median_ms": layer.median_ms,
                "average_ms": layer.average_ms,
                "share": share,
                "arena_bytes": layer.arena_bytes,
            }
            for layer, share in zip(profile.layers, profile.shares(), strict=True)
        ],
        "caveats": profile.caveats,
        "environment": profile.environment,
    }


def run_workspace(options: argparse.Namespace) -> Answer:
    """Run ``trtlab workspace``."""
    from trtlab.record import SweepResult
    from trtlab.verbs.workspace import DEFAULT_LIMITS, workspace
    from trtlab.views.pages.report import report
    from trtlab.views.tables import workspace_table

    target = writable(options.output, [options.model])
    with progress_line() as progress:
        curve = workspace(
            model_of(options, progress),
            limits=options.limits.split(",") if options.limits else DEFAULT_LIMITS,
            backend=options.backend,
            target=options.target and options.target.split(","),
            batch=ints_of(options.batch),
            shapes=ranges_of(options),
            quick=options.quick,
            progress=progress,
            on_point=progress.on_limit,
        )
    title = f"{curve.model.name}: workspace"
    error = None
    if target:
        error = error_of(lambda: report(SweepResult(()), target, workspaces=[curve], title=title))
    data = {
        "schema_version": 1,
        "model": curve.model.name,
        "precision": curve.model.recipe,
        "backend": curve.config.backend,
        "target": curve.config.target_text,
        "smallest_bytes": curve.smallest_bytes,
        "failing_bytes": curve.failing_bytes,
        "engines": curve.engines,
        "points": [
            {**_fields(p), "latency_ms": p.measurement.median_ms if p.measurement else None}
            for p in curve.points
        ],
        "environment": curve.environment,
    }
    text = f"{curve!r}\n\n{workspace_table(curve).text()}"
    return Answer(data, text, code_of(curve.caveats), error)


def _fields(point: WorkspacePoint) -> dict[str, Any]:
    return {f.name: getattr(point, f.name) for f in fields(point) if f.name != "measurement"}


def run_sweep(options: argparse.Namespace) -> Answer:
    """Run ``trtlab sweep``."""
    from trtlab.errors import ERRORS_BY_KIND
    from trtlab.verbs.load import load, with_dynamic_batch
    from trtlab.verbs.sweep import sweep
    from trtlab.views.pages.report import report
    from trtlab.views.tables import sweep_table

    target = writable(options.output, options.models)
    with progress_line() as progress:
        models = [load(m, progress=progress) for m in options.models]
        if options.dynamic_batch:
            models = [with_dynamic_batch(m, progress=progress) for m in models]
        result = sweep(
            models,
            precision=options.precision and options.precision.split(","),
            calibration=options.calibration,
            samples=options.samples,
            tool=options.tool,
            data=options.data,
            labels=options.labels,
            batch=ints_of(options.batch),
            streams=ints_of(options.streams) or 1,
            threads=ints_of(options.threads),
            optimization_level=[level_of(text) for text in options.optimization_level.split(",")]
            if options.optimization_level
            else None,
            backend=options.backend,
            provider=options.provider,
            workspace=options.workspace and options.workspace.split(","),
            target=options.target and options.target.split(","),
            shapes=shapes_of(options),
            activation_cap=cap_of(options),
            seed=options.seed,
            quick=options.quick,
            reuse=not options.again,
            progress=progress,
            on_point=progress.on_point,
        )
    error = error_of(lambda: report(result, target)) if target else None
    failures = [p.failure for p in result.points if p.failure is not None]
    if len(failures) < len(result.points):  # what a backend cannot do is an answer among others
        failures = [f for f in failures if f.kind != "unsupported"]
    code = 0
    if failures:
        wrong = all(issubclass(ERRORS_BY_KIND[f.kind], WRONG_INPUT) for f in failures)
        code = 2 if wrong and len(failures) == len(result.points) else 1
    text = sweep_table(result).text() + _precision_text(result)
    unsaved = any(code_of(m.caveats) for m in result.measurements)
    data = {"schema_version": 1, "points": [_point_data(p) for p in result.points]}
    return Answer(data, text, code or int(unsaved), error)


def _precision_text(result: SweepResult) -> str:
    """Return what became of each precision, where there are several."""
    from trtlab.analysis.sizes import sizes_against_fp32
    from trtlab.spec import TENSORRT
    from trtlab.verbs.built_precision import built_precision
    from trtlab.views.precision_tables import precision_table

    plans = [p.plan for p in result.points if p.plan and p.build.backend in TENSORRT]
    if len({plan.model.recipe for plan in plans}) < 2:
        return ""
    first = {(plan.hash, plan.model.recipe): plan for plan in plans if plan.layers}
    sizes = {(s.model.hash, s.target): s for s in sizes_against_fp32(plans)}
    built = [
        (built_precision(plan), sizes.get((plan.model.hash, plan.target_text)))
        for plan in first.values()
    ]
    warnings = [f"{b.recipe}: {w}" for b, _ in built for w in b.warnings]
    return "\n".join(["\n\nWhat was built", precision_table(built).text(), *warnings])


def _point_data(point: Point) -> dict[str, Any]:
    from trtlab.store import record_id

    made = point.measurement
    return {"id": record_id(made)[:12] if made else None, **point.row()}
