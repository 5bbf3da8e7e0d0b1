"""What *Take it away* writes: files in the current folder, named after model and run."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trtlab.app.state import State
from trtlab.errors import PlanError, SpecError, StoreError
from trtlab.formats.bundle import SUFFIX
from trtlab.record import Bundle, Plan, Run, SweepResult
from trtlab.spec import TENSORRT
from trtlab.store import write_file
from trtlab.verbs.export import export
from trtlab.verbs.read import Recorded
from trtlab.views.pages.fusion_page import fusion_page
from trtlab.views.pages.report import report
from trtlab.views.run_points import points_of

_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing to take away: its files' endings, the main one first, and who writes them."""

    endings: tuple[str, ...]
    write: Callable[[State, Run, Sequence[Path]], None]


def save(what: str, state: State) -> Path:
    """Write one of ``KINDS`` into the current folder; nothing there is written over.

    Returns:
        The file; of several the main one, the others lie beside it.

    Raises:
        SpecError: nothing is selected, or there is no such thing.
        UnsupportedError: the plan is not one that the form can hold.
        PlanError: the plan's bytes are not here.
        StoreError: the folder cannot be written.
    """
    run, kind = state.selected, KINDS.get(what)
    if run is None or kind is None:
        raise SpecError("There is nothing to save.", hint="Make or select a run first.")
    paths = _free(_here(), stem_of(state, run), endings_of(what, run))
    kind.write(state, run, paths)
    return paths[0]


def stem_of(state: State, run: Run) -> str:
    """Return what files are named after: ``digits_mobile-run2``."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", run.model.name.removeprefix("zoo:"))
    return f"{plain.strip('._-')[:_LONGEST_NAME] or 'model'}-run{state.number(run)}"


def endings_of(what: str, run: Run) -> tuple[str, ...]:
    """Return the endings of the files that would be written for a run."""
    if what == "csv":
        several = [f"-layers{i}.csv" for i in ("", "-ran")[: len(_layer_plans(run))]]
        return ("-runs.csv", *several)
    if what == "plan" and run.plan is not None and run.plan.config.backend not in TENSORRT:
        return (".optimised.onnx",)
    return KINDS[what].endings


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise StoreError(
            f"The current folder cannot be used: {error.strerror}.",
            hint="Change to another one: os.chdir(FOLDER).",
        ) from error


def _free(folder: Path, stem: str, endings: Sequence[str]) -> tuple[Path, ...]:
    """Return paths that are not taken yet: with ``-2``, ``-3`` … where they are."""
    number = 1
    while True:
        mark = "" if number == 1 else f"-{number}"
        paths = tuple(folder / f"{stem}{mark}{ending}" for ending in endings)
        if not any(path.exists() or path.is_symlink() for path in paths):
            return paths
        number += 1


def _bundle(state: State, _run: Run, paths: Sequence[Path]) -> None:
    runs = tuple(state.runs)
    hashes = {identity for run in runs for identity in (run.model.hash, run.line.made.hash)}
    whole = Bundle(
        name="",
        runs=runs,
        workspaces=tuple(c for c in state.workspaces if c.model.hash in hashes),
        graphs={h: g for h, g in state.graphs.items() if h in hashes},
    )
    export(whole, paths[0], store=state.store)


def _report(state: State, run: Run, paths: Sequence[Path]) -> None:
    several = [one for one in (run, state.baseline) if one is not None]
    report(
        SweepResult(tuple(points_of(state.runs))),
        paths[0],
        profiles=[one.profile for one in several if one.profile is not None],
        workspaces=state.workspaces,
        title=f"{run.model.name}: {len(state.runs)} runs",
    )


def _tables(state: State, run: Run, paths: Sequence[Path]) -> None:
    rows = [{"run": state.number(one), **one.row()} for one in state.runs]
    write_file(paths[0], _csv(rows[0], (row.values() for row in rows)), "The table")
    for plan, path in zip(_layer_plans(run), paths[1:], strict=True):
        profile = run.profile if run.profile and run.profile.plan == plan.hash else None
        table = Recorded(plan, profile).df
        content = _csv(table.columns, table.itertuples(index=False, name=None))
        write_file(path, content, "The table of layers")


def _layer_plans(run: Run) -> list[Plan]:
    """Return the plan that was built, and the one that ran where that is another."""
    several = {p.hash: p for p in (run.plan, run.ran) if p is not None and p.layers is not None}
    return list(several.values())


def _csv(heads: Iterable[object], rows: Iterable[Iterable[object]]) -> bytes:
    """Return a table as CSV; what is unknown is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(heads)
    writer.writerows(
        ["" if cell is None or cell != cell else cell for cell in row] for row in rows
    )
    return text.getvalue().encode("utf-8", "replace")


def _engine_graph(state: State, run: Run, paths: Sequence[Path]) -> None:
    if run.plan is None:
        raise PlanError(f"There is no engine: {run.why_no('measurement')}.", hint="Build it.")
    page = fusion_page(state.fusion(run))
    export(run.plan, paths[1], form="layers")
    write_file(paths[0], page.encode(), "The engine graph")


def _plan(state: State, run: Run, paths: Sequence[Path]) -> None:
    if run.plan is None:
        raise PlanError(f"There is no plan: {run.why_no('measurement')}.", hint="Build it.")
    source = state.store.plan_path(run.plan.hash)
    try:
        shutil.copyfile(source, paths[0])
    except OSError as error:
        raise StoreError(
            f"The plan was not written to {paths[0]}: {error.strerror}.",
            hint="Choose another place; the store has the plan.",
        ) from error


KINDS: dict[str, Kind] = {
    "bundle": Kind((SUFFIX,), _bundle),
    "report": Kind(("-report.html",), _report),
    "csv": Kind(("-runs.csv",), _tables),
    "graph": Kind(("-engine.html", "-layers.json"), _engine_graph),
    "plan": Kind((".plan",), _plan),
}
"""By what a button asks for."""
