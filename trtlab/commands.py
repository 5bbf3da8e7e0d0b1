"""The commands: read arguments, call a verb, say the result as data and as text."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from trtlab.errors import WRONG_INPUT, ExecutionError, RecordError, SpecError, StoreError
from trtlab.spec import OPTIMIZATION_LEVELS, VERBOSITIES
from trtlab.terminal import harmless, progress_line
from trtlab.units import bytes_from_text, ints_from_text, shapes_from_text

if TYPE_CHECKING:
    from trtlab.record import Fusion, LayerProfile, Measurement, Plan, Point, WorkspacePoint
    from trtlab.worker import Progress


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found: one JSON document, the same as text, and its exit code.

    ``error`` is what went wrong once it was found: it is shown below and ends with 1.
    """

    data: Any
    text: str
    code: int = 0
    error: StoreError | None = None


def _doctor(_options: argparse.Namespace) -> Answer:
    from trtlab.verbs.doctor import doctor

    diagnosis = doctor()
    works = any(a.run.can for b in diagnosis.backends for a in b.abilities.values())
    broken = bool(diagnosis.store_error) or not works
    return Answer(diagnosis, repr(diagnosis), 1 if broken else 0)


def _models(_options: argparse.Namespace) -> Answer:
    from trtlab.units import text_from_file_size
    from trtlab.views.tables import Table
    from trtlab.zoo.catalogue import ENTRIES

    rows = tuple(
        (f"zoo:{e.name}", e.input, text_from_file_size(e.file_bytes), e.task)
        for e in ENTRIES.values()
    )
    table = Table(("Model", "Input", "Size", "Task"), rows, frozenset({2}))
    notes = "\n".join(
        f"\nzoo:{e.name}: {e.title}\n  shows: {e.shows}\n  cannot show: {e.cannot_show}\n"
        f"  weights: {e.weights_licence}; data: {e.data_licence}"
        for e in ENTRIES.values()
    )
    return Answer({"schema_version": 1, "models": list(ENTRIES.values())}, table.text() + notes)


def _inspect(options: argparse.Namespace) -> Answer:
    from trtlab.verbs.inspect import inspect
    from trtlab.views.tables import Table

    with progress_line() as progress:
        model = _model(options, progress)
        shapes = _shapes(options)
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


def _build(options: argparse.Namespace) -> Answer:
    from trtlab.store import Store, record_id
    from trtlab.verbs.build import build
    from trtlab.views.tables import plan_table

    target = _target(options.output)
    with progress_line() as progress:
        plan = build(
            _model(options, progress),
            batch=_ints(options.batch),
            shapes=_ranges(options),
            progress=progress,
            **_build_settings(options),
        )
    layers = f"\n\n{plan_table(plan).text()}" if options.layers else ""
    file = Store().plan_path(plan.hash)
    error = _error_of(lambda: _copied(file, target)) if target else None
    identity = record_id(plan)[:12]
    text = f"{plan!r}\n{'file':<26}{_text(target or file)}"
    text += f"\n{'id':<26}{identity} (for trtlab compare){layers}"
    data = {"schema_version": 1, "id": identity, **_plan_data(plan), "plan_path": _text(file)}
    return Answer(data, text, 0, error)


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


def _bench(options: argparse.Namespace) -> Answer:
    from trtlab.store import record_id, write_record
    from trtlab.verbs.benchmark import benchmark

    target = _target(options.output)
    with progress_line() as progress:
        plan = _built(options, progress)
        measurement = benchmark(
            plan,
            batch=options.batch,
            shapes=_shapes(options),
            streams=options.streams,
            threads=options.threads,
            activation_cap=_cap(options),
            cuda_graph=options.cuda_graph,
            transfers=options.transfers,
            quick=options.quick,
            seed=options.seed,
            progress=progress,
        )
    error = _error_of(lambda: write_record(measurement, target)) if target else None
    identity = record_id(measurement)[:12]
    data = {"schema_version": 1, "id": identity, **_measurement_data(measurement, plan)}
    text = f"{measurement!r}\n{'id':<10}{identity} (for trtlab compare)"
    return Answer(data, text, _unsaved(measurement.caveats), error)


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


def _unsaved(caveats: Sequence[Any]) -> int:
    """Return 1 where a result could be shown but not saved: the machine failed, not the user."""
    return int(any(c.kind == "not-saved" for c in caveats))


def _profile(options: argparse.Namespace) -> Answer:
    from trtlab.store import record_id
    from trtlab.verbs.profile import profile
    from trtlab.views.tables import layer_table

    with progress_line() as progress:
        layers = profile(
            _built(options, progress),
            batch=options.batch,
            shapes=_shapes(options),
            threads=options.threads,
            quick=options.quick,
            progress=progress,
        )
    identity = record_id(layers)[:12]
    text = f"{layers!r}\n{'id':<14}{identity} (for trtlab compare --profiles)"
    text += f"\n\n{layer_table(layers).text()}"
    return Answer({"id": identity, **_profile_data(layers)}, text, _unsaved(layers.caveats))


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


def _workspace(options: argparse.Namespace) -> Answer:
    from trtlab.record import SweepResult
    from trtlab.verbs.workspace import DEFAULT_LIMITS, workspace
    from trtlab.views.pages.report import report
    from trtlab.views.tables import workspace_table

    target = _target(options.output)
    with progress_line() as progress:
        curve = workspace(
            _model(options, progress),
            limits=options.limits.split(",") if options.limits else DEFAULT_LIMITS,
            backend=options.backend,
            target=options.target and options.target.split(","),
            batch=_ints(options.batch),
            shapes=_ranges(options),
            quick=options.quick,
            progress=progress,
            on_point=progress.on_limit,
        )
    title = f"{curve.model.name}: workspace"
    error = None
    if target:
        error = _error_of(lambda: report(SweepResult(()), target, workspaces=[curve], title=title))
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
    return Answer(data, text, _unsaved(curve.caveats), error)


def _fields(point: WorkspacePoint) -> dict[str, Any]:
    return {f.name: getattr(point, f.name) for f in fields(point) if f.name != "measurement"}


def _sweep(options: argparse.Namespace) -> Answer:
    from trtlab.errors import ERRORS_BY_NAME
    from trtlab.verbs.load import load, with_dynamic_batch
    from trtlab.verbs.sweep import sweep
    from trtlab.views.pages.report import report
    from trtlab.views.tables import sweep_table

    target = _target(options.output)
    with progress_line() as progress:
        models = [load(m, progress=progress) for m in options.models]
        if options.dynamic_batch:
            models = [with_dynamic_batch(m, progress=progress) for m in models]
        result = sweep(
            models,
            batch=_ints(options.batch),
            streams=_ints(options.streams) or 1,
            threads=_ints(options.threads),
            optimization_level=[_level(text) for text in options.optimization_level.split(",")]
            if options.optimization_level
            else None,
            backend=options.backend,
            provider=options.provider,
            workspace=options.workspace and options.workspace.split(","),
            target=options.target and options.target.split(","),
            shapes=_shapes(options),
            activation_cap=_cap(options),
            seed=options.seed,
            quick=options.quick,
            reuse=not options.again,
            progress=progress,
            on_point=progress.on_point,
        )
    error = _error_of(lambda: report(result, target)) if target else None
    failures = [p.failure for p in result.points if p.failure is not None]
    code = 0
    if failures:
        wrong = all(issubclass(ERRORS_BY_NAME[f.kind], WRONG_INPUT) for f in failures)
        code = 2 if wrong and len(failures) == len(result.points) else 1
    unsaved = any(_unsaved(m.caveats) for m in result.measurements)
    data = {"schema_version": 1, "points": [_point_data(p) for p in result.points]}
    return Answer(data, sweep_table(result).text(), code or int(unsaved), error)


def _point_data(point: Point) -> dict[str, Any]:
    from trtlab.store import record_id

    made = point.measurement
    return {"id": record_id(made)[:12] if made else None, **point.row()}


def _fusion(options: argparse.Namespace) -> Answer:
    from trtlab.verbs.fusion import fusion
    from trtlab.views.tables import fusion_table

    target = _target(options.output)
    with progress_line() as progress:
        found = fusion(**_fused(options, progress), progress=progress)
    error = _error_of(lambda: _write_page(found, target)) if target else None
    text = found.explain(options.explain) if options.explain is not None else repr(found)
    if options.layers:
        text += f"\n\n{fusion_table(found).text()}"
    if target:
        text += f"\n{'page':<16}{_text(target)}: both graphs side by side, one offline file"
    return Answer(_fusion_data(found), text, 0, error)


def _netron(options: argparse.Namespace) -> Answer:
    from trtlab.app.netron import netron

    target = _target(options.output)
    with progress_line() as progress:
        page = netron(_model(options, progress), progress=progress)
    page.save(target)
    data = {"schema_version": 1, "page": _text(target), "note": page.note}
    return Answer(data, f"{page.note}\n{_text(target)}")


def _fused(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Return what to explain: a model with its settings, or a plan with its layers' times."""
    from trtlab.record import Plan
    from trtlab.verbs.build import build
    from trtlab.verbs.profile import profile
    from trtlab.verbs.read import read

    is_model = len(options.models) == 1 and options.models[0].startswith("zoo:")
    if not is_model and not (options.models[0].endswith(".onnx") and options.onnx is None):
        if len(options.models) == 1 and not Path(options.models[0]).exists():
            record = _record(options.models[0])
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
        plan = _built(options, progress)
        times = profile(plan, batch=options.batch, shapes=_shapes(options), progress=progress)
        return {"plan": plan, "profile": times}
    settings = _build_settings(options) | {"batch": options.batch, "shapes": _shapes(options)}
    return {"plan": build(_model(options, progress), progress=progress, **settings)}


def _write_page(found: Fusion, target: Path) -> None:
    from trtlab.views.pages.fusion_page import fusion_page

    try:
        target.write_text(fusion_page(found), encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"The page was not written to {target}: {error.strerror}.",
            hint="Choose another place.",
        ) from error


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


def _import(options: argparse.Namespace) -> Answer:
    from trtlab.store import Store, record_id
    from trtlab.verbs.read import keep, read

    found = read(*options.files, name=options.name)
    error = _error_of(lambda: keep(found, Store()))
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


def _export(options: argparse.Namespace) -> Answer:
    from trtlab.verbs.export import export

    target = _target(options.output)
    record = _record(options.record)
    export(record, target, form=options.form)
    data = {"schema_version": 1, "kind": record.kind, "file": _text(target)}
    return Answer(data, f"The {record.kind} is in {_text(target)}, as trtexec writes it")


def _compare(options: argparse.Namespace) -> Answer:
    from trtlab.record import EngineComparison
    from trtlab.verbs.compare import compare
    from trtlab.views.sentences import engines_sentence
    from trtlab.views.tables import engines_table

    records = _record(options.a), _record(options.b)
    if not options.profiles:
        comparison = compare(*records)
    else:
        comparison = compare(*records, profiles=tuple(map(_record, options.profiles)))
    data = {f.name: getattr(comparison, f.name) for f in fields(comparison)}
    data = {"schema_version": 1, **data}
    if not isinstance(comparison, EngineComparison):
        return Answer(data, repr(comparison))
    # Without times, sets that are the same on both sides tell nothing.
    timed = comparison.total.difference_ms is not None
    table = engines_table(comparison, None if timed else len(comparison.changed))
    text = f"{comparison!r}\n\n" + (f"{table.text()}\n\n" if table.rows else "")
    text += f"Where the difference comes from. {engines_sentence(comparison)}"
    return Answer(data | {"summary": comparison.summary}, text)


def _record(name: str) -> Any:
    from trtlab.store import Store, read_record

    try:
        path = Path(name)
        is_file = path.exists()
        name.encode()
    except (OSError, ValueError) as error:  # too long, or no text at all
        raise RecordError(
            f"{name[:40]!r}{'…' * (len(name) > 40)} cannot be the name of a record.",
            hint="Give an id that bench, build or profile printed, or the file of a record.",
        ) from error
    return read_record(path) if is_file else Store().find(name)


def _report(options: argparse.Namespace) -> Answer:
    from trtlab.record import Measurement, Point, SweepResult
    from trtlab.store import Store, record_id
    from trtlab.views.pages.report import report

    target = _target(options.output)
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
    data = {"schema_version": 1, "report": _text(target), "points": len(newest)}
    return Answer(data, f"{len(newest)} measurements in {target}")


DEMO_MODELS = ("zoo:squeezenet", "zoo:vit_tiny")
DEMO_BATCHES = (1, 2, 4, 8, 16)


def _demo(options: argparse.Namespace) -> Answer:
    from trtlab.verbs.profile import profile
    from trtlab.verbs.sweep import sweep
    from trtlab.views.pages.report import report
    from trtlab.views.tables import sweep_table

    target = _target(options.output)
    with progress_line() as progress:
        result = sweep(
            DEMO_MODELS, batch=DEMO_BATCHES, streams=(1, 2), quick=True, reuse=not options.again,
            progress=progress, on_point=progress.on_point,
        )  # fmt: skip
        layers = [profile(m, quick=True, progress=progress) for m in DEMO_MODELS]
    error = _error_of(lambda: report(result, target, profiles=layers))
    text = sweep_table(result).text() + (
        "" if error else f"\n\nThe curves: {_text(target.resolve())}"
    )
    data = {
        "schema_version": 1,
        "report": None if error else _text(target),
        "points": [_point_data(p) for p in result.points],
    }
    failed = any(p.failure is not None for p in result.points)
    return Answer(data, text, int(failed), error)


def _lab(options: argparse.Namespace) -> Answer:
    notebooks = Path(__file__).resolve().parent.parent / "notebooks"
    notebook = notebooks / "00_workbench.ipynb"
    if not notebook.is_file():
        raise SpecError(
            "The notebooks are not beside the installed package.",
            hint="Run it from a clone of the project, or open Jupyter and use trtlab.Workbench().",
        )
    if shutil.which("jupyter-lab", path=str(Path(sys.executable).parent)) is None:
        raise ExecutionError("JupyterLab is not installed.", hint="pip install -e '.[lab]'")
    command = [
        sys.executable, "-m", "jupyterlab",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={notebooks.parent}",
        # Unlike a file argument, this also makes the printed address lead to the notebook.
        f"--LabApp.default_url=/lab/tree/{notebooks.name}/{notebook.name}",
        # Nothing phones home.
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    command += ["--no-browser"] * options.no_browser
    command += [f"--ServerApp.port={options.port}"] * (options.port is not None)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # containers; the server listens on loopback with a token
    if not options.json:
        os.execv(sys.executable, command)
    return Answer({"schema_version": 1, "command": command}, "")


# Files to write


@overload
def _target(name: str) -> Path: ...
@overload
def _target(name: None) -> None: ...
def _target(name: str | None) -> Path | None:
    """Return the file of ``-o``, tried before anything is measured for it.

    Raises:
        SpecError: it cannot be written there.
    """
    if name is None:
        return None
    target = Path(name)
    try:
        if target.is_dir():
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


def _error_of(write: Callable[[], object]) -> StoreError | None:
    """Write a file; returns why it failed, so that what it was to hold is still shown."""
    try:
        write()
    except StoreError as error:
        return error
    return None


def _text(path: Path) -> str:
    """Return the path as text that every encoding can hold; a file's name may be any bytes."""
    return str(path).encode("utf-8", "backslashreplace").decode()


# Arguments


def _model(options: argparse.Namespace, progress: Progress) -> Any:
    from trtlab.verbs.load import load, with_dynamic_batch

    model = load(options.model, progress=progress)
    return with_dynamic_batch(model, progress=progress) if options.dynamic_batch else model


def _built(options: argparse.Namespace, progress: Progress) -> Plan:
    """Build what is then run: for just these shapes, by a backend that can run it here."""
    from trtlab.backends.base import NAMES
    from trtlab.spec import TENSORRT
    from trtlab.verbs.build import build
    from trtlab.verbs.choose import backend_for

    settings = _build_settings(options)
    if settings["backend"] is None:
        only = options.target or options.workspace or options.flag
        settings["backend"] = backend_for("run", TENSORRT if only else NAMES)
    if settings["backend"] in TENSORRT:
        settings |= {"batch": options.batch, "shapes": _shapes(options)}
    return build(_model(options, progress), progress=progress, **settings)


def _build_settings(options: argparse.Namespace) -> dict[str, Any]:
    pools = dict(_pool(text) for text in options.memory_pool)
    return {
        "backend": options.backend,
        "target": options.target and options.target.split(","),
        "workspace": options.workspace,
        "optimization_level": _level(options.optimization_level),
        "provider": options.provider,
        "memory_pools": pools,
        "avg_timing_iterations": options.avg_timing,
        "tactic_sources": options.tactic_sources and options.tactic_sources.split(","),
        "max_num_tactics": options.max_tactics,
        "flags": options.flag,
        "tf32": options.tf32,
        "hardware_compatibility": options.hardware_compatibility,
        "dla_core": options.dla_core,
        "aux_streams": options.aux_streams,
        "plugin_libraries": options.plugin,
        "timing_cache": options.timing_cache,
        "profiling_verbosity": options.verbosity,
    }


def _level(text: str | None) -> str | int | None:
    """TensorRT's levels are numbers, ONNX Runtime's are names."""
    return int(text) if text and text.isdecimal() else text


def _pool(text: str) -> tuple[str, str]:
    name, colon, size = text.rpartition(":")
    if not colon:
        raise SpecError(f"{text!r} is no memory pool.", hint="Write TACTIC_DRAM:1GiB.")
    return name, size


def _ranges(options: argparse.Namespace) -> dict[str, Any]:
    """Return the shapes of a build: one of each input, or smallest, optimal and largest."""
    parts = [options.min_shapes, options.opt_shapes, options.max_shapes]
    if options.shapes and any(parts):
        raise SpecError(
            "Give --shapes, or --min-shapes, --opt-shapes and --max-shapes.",
            hint="--shapes builds for just these.",
        )
    if not any(parts):
        return _shapes(options)
    if not all(parts):
        raise SpecError(
            "A range needs all of --min-shapes, --opt-shapes and --max-shapes.",
            hint="Write each as x:8x3x224x224.",
        )
    smallest, best, largest = (shapes_from_text(part) for part in parts)
    if not set(smallest) == set(best) == set(largest):
        raise SpecError("The three shapes name different inputs.", hint="Name each in all three.")
    return {name: (smallest[name], best[name], largest[name]) for name in smallest}


def _shapes(options: argparse.Namespace) -> dict[str, tuple[int, ...]]:
    return shapes_from_text(options.shapes) if options.shapes else {}


def _cap(options: argparse.Namespace) -> int | None:
    return None if options.activation_cap is None else bytes_from_text(options.activation_cap)


def _ints(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else ints_from_text(text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """Exit with 2 and say which command's help to read."""
        self.exit(2, harmless(f"trtlab: {message}\n  → {self.prog} --help\n"))


def parser() -> argparse.ArgumentParser:
    """Return the parser; the options it returns hold the command as ``run``."""
    made = _Parser(
        prog="trtlab",
        description="Build, measure and explain ONNX models with TensorRT and ONNX Runtime.",
        epilog="Exit codes: 0; 1 the job or machine failed; 2 wrong input; 130 Ctrl-C.",
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str,
        run: Callable[[argparse.Namespace], Answer],
        text: str,
        json: str = "print one JSON document",
    ) -> Any:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help=json)
        return command

    add("doctor", _doctor, "say what this machine can do")
    add("models", _models, "list the models that come with trtlab")
    command = add("inspect", _inspect, "say what a model is made of, with FLOP and bytes per node")
    _model_arguments(command)
    _shape_arguments(command)
    command.add_argument("--backend", help="tensorrt or tensorrt_rtx: ask which nodes it takes")
    command = add("build", _build, "build a plan")
    _model_arguments(command)
    _build_arguments(command)
    _range_arguments(command)
    command.add_argument("--layers", action="store_true", help="also list the plan's layers")
    command.add_argument("-o", "--output", metavar="FILE", help="also write the plan there")
    command = add("bench", _bench, "measure latency, throughput and memory")
    _model_arguments(command)
    _build_arguments(command)
    _shape_arguments(command)
    _run_arguments(command)
    command.add_argument("--streams", type=int, default=1, help="inferences in flight at once")
    _memory_and_seed_arguments(command)
    command.add_argument(
        "--cuda-graph", action=argparse.BooleanOptionalAction,
        help="TensorRT: replay a CUDA graph; default: yes where it can be captured",
    )  # fmt: skip
    command.add_argument(
        "--transfers", action="store_true", help="TensorRT: count copies to and from the GPU"
    )
    command.add_argument(
        "-o", "--output", metavar="FILE", help="write the record with all samples"
    )
    command = add("profile", _profile, "time every layer")
    _model_arguments(command)
    _build_arguments(command)
    _shape_arguments(command)
    _run_arguments(command)
    command = add(
        "workspace", _workspace, "find out what the limit of TensorRT's workspace changes"
    )
    _model_arguments(command)
    command.add_argument("--limits", metavar="16MiB,…", help="default: 1MiB to 1GiB by fours")
    command.add_argument("--backend", help="tensorrt or tensorrt_rtx; default: the first that can")
    command.add_argument("--target", metavar="sm89,…", help="default: the GPU here, else sm89")
    _range_arguments(command)
    command.add_argument("--quick", action="store_true", help="short windows where plans run")
    command.add_argument("-o", "--output", metavar="FILE", help="also write an HTML report")
    command = add("sweep", _sweep, "measure every combination of settings; finished ones are kept")
    command.add_argument("models", nargs="+", metavar="MODEL")
    command.add_argument("--batch", metavar="1,8,32", help="batch sizes")
    command.add_argument("--streams", metavar="1,2", help="inferences in flight at once")
    command.add_argument("--threads", metavar="1,2", help="threads inside one inference")
    command.add_argument(
        "--optimization-level", metavar="LEVELS", help=f"of {','.join(OPTIMIZATION_LEVELS)}"
    )
    command.add_argument("--backend", help="default: the first that can run here")
    command.add_argument("--workspace", metavar="16MiB,…", help="TensorRT: workspace limits")
    command.add_argument("--target", metavar="sm89,…", help="TensorRT: GPUs to build for")
    _provider_argument(command)
    _shapes_argument(command)
    _memory_and_seed_arguments(command)
    command.add_argument("--dynamic-batch", action="store_true", help="make a fixed batch dynamic")
    command.add_argument("--quick", action="store_true", help="short windows, labelled")
    command.add_argument("--again", action="store_true", help="measure again what is stored")
    command.add_argument("-o", "--output", metavar="FILE", help="also write an HTML report")
    command = add("fusion", _fusion, "show which ONNX nodes became which layers, and why")
    command.add_argument(
        "models", nargs="+", metavar="MODEL",
        help="a model (path or zoo:NAME); or a plan: its id, or files of its layers and times",
    )  # fmt: skip
    command.add_argument("--onnx", metavar="FILE", help="the model that a plan's files came from")
    command.add_argument("--dynamic-batch", action="store_true", help="make a fixed batch dynamic")
    _build_arguments(command)
    _shape_arguments(command)
    command.add_argument(
        "--time", action="store_true", help="also time every layer, where the plan can run here"
    )
    command.add_argument("--explain", metavar="NAME", help="of one node, layer or group (G6)")
    command.add_argument("--layers", action="store_true", help="also list the layers")
    command.add_argument("-o", "--output", metavar="FILE", help="write both graphs as one page")
    command = add("compare", _compare, "compare two measurements, or two plans by ONNX node")
    command.add_argument("a", metavar="A", help="the baseline: an id, or the file of a record")
    command.add_argument("b", metavar="B")
    command.add_argument(
        "--profiles", nargs=2, metavar=("A", "B"), help="of two plans: ids or files of layer times"
    )
    command = add("import", _import, "take files of trtexec, TREx and ONNX Runtime into the store")
    command.add_argument("files", nargs="+", metavar="FILE", help="of one engine, or its folder")
    command.add_argument("--name", help="what to call the model; default: as the file or folder")
    command = add("export", _export, "write a record as trtexec would")
    command.add_argument("record", metavar="RECORD", help="an id, or the file of a record")
    command.add_argument(
        "--as", dest="form", choices=("layers", "profile", "times"), help="default: what it is"
    )
    command.add_argument("-o", "--output", metavar="FILE", required=True)
    command = add("report", _report, "write stored measurements as one offline HTML file")
    command.add_argument("models", nargs="*", metavar="MODEL", help="by name; default all")
    command.add_argument("-o", "--output", metavar="FILE", default="trtlab-report.html")
    command = add("netron", _netron, "show the raw ONNX graph in Netron: one offline HTML file")
    _model_arguments(command)
    command.add_argument("-o", "--output", metavar="FILE", default="trtlab-netron.html")
    command = add("demo", _demo, "sweep two networks and write an HTML report: about 2 minutes")
    command.add_argument("-o", "--output", metavar="FILE", default="trtlab-demo.html")
    command.add_argument("--again", action="store_true", help="measure again what is stored")
    command = add(
        "lab", _lab, "open the workbench in JupyterLab", "print its command, start nothing"
    )
    command.add_argument("--no-browser", action="store_true", help="only serve")
    command.add_argument("--port", type=int, help="default: the first free one from 8888")
    return made


def _model_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="a path, or zoo:NAME (trtlab models)")
    command.add_argument("--dynamic-batch", action="store_true", help="make a fixed batch dynamic")


def _build_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--backend", help="tensorrt, tensorrt_rtx or onnxruntime; default: the "
                         "first that can")  # fmt: skip
    command.add_argument(
        "--optimization-level", metavar="LEVEL",
        help=f"TensorRT: 0 to 5; ONNX Runtime: {', '.join(OPTIMIZATION_LEVELS)}",
    )  # fmt: skip
    _provider_argument(command)
    tensorrt = command.add_argument_group(
        "TensorRT", "Names are TensorRT's own; a wrong one gets a list of the right ones."
    )
    add = tensorrt.add_argument
    add("--target", metavar="sm89,…", help="GPUs to build for; default: the one here, else sm89")
    add("--workspace", metavar="SIZE", help="limit of the workspace, as in 256MiB")
    add("--memory-pool", metavar="NAME:SIZE", action="append", default=[], help="another pool")
    add("--flag", metavar="NAME", action="append", default=[], help="a builder flag")
    add("--tf32", action=argparse.BooleanOptionalAction, help="may FP32 be rounded to TF32?")
    add("--avg-timing", metavar="N", type=int, help="runs to average a tactic's timing over")
    add("--tactic-sources", metavar="NAMES", help="where tactics may come from")
    add("--max-tactics", metavar="N", type=int, help="most tactics to try for a layer")
    add("--hardware-compatibility", metavar="LEVEL", help="such as AMPERE_PLUS")
    add("--dla-core", metavar="N", type=int, help="DLA core to use, with the GPU for the rest")
    add("--aux-streams", metavar="N", type=int, help="most streams beside the main one")
    add(
        "--plugin",
        metavar="FILE",
        action="append",
        default=[],
        help="shared library with plugins; loading it runs its code",
    )
    add("--no-timing-cache", dest="timing_cache", action="store_false", help="keep no timings")
    add("--verbosity", choices=VERBOSITIES, default="DETAILED", help="what the plan tells")


def _range_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--batch", metavar="1,8,32", help="batch: smallest, optimal, largest")
    _shapes_argument(command)
    for name in ("min", "opt", "max"):
        command.add_argument(
            f"--{name}-shapes", metavar="x:8x3x224x224,…", help="of a range: give all three"
        )


def _provider_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("--provider", choices=("cpu", "cuda"), default="cpu")


def _shape_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--batch", type=int, help="size of the batch axis; default 1")
    _shapes_argument(command)


def _shapes_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("--shapes", metavar="x:8x3x224x224,…", help="input shapes by name")


def _memory_and_seed_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--activation-cap", metavar="SIZE", help="limit of the activation arena")
    command.add_argument("--seed", type=int, default=0, help="seed of the random inputs")


def _run_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=int, help="threads inside one inference")
    command.add_argument("--quick", action="store_true", help="short windows, labelled")
