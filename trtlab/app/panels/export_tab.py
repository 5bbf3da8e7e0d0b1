"""Runs & export: what have I run, and how do I take it away?"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from datetime import datetime

import ipywidgets as w

from trtlab.app.panels.base import Panel, text
from trtlab.app.saving import endings_of, save, stem_of
from trtlab.app.state import State
from trtlab.codec import to_json
from trtlab.errors import TrtlabError
from trtlab.exporters.python_cell import python_cell, sweep_cell
from trtlab.exporters.trtexec import trtexec_line
from trtlab.record import Run, RunLine
from trtlab.spec import TENSORRT
from trtlab.units import (
    N_A,
    text_from_bytes,
    text_from_file_size,
    text_from_interval,
    text_from_number,
)
from trtlab.views.cards import button, card, chip, choice, mark, search
from trtlab.views.precision_sentences import BACKENDS
from trtlab.views.theme import badge

_FORMS: dict[str, tuple[str, Callable[[State, Run], str], str]] = {
    "python": (
        "Python",
        lambda _, run: python_cell(run),
        "The cell leaves nothing of the run out. Options at their default are not printed.",
    ),
    "all": (
        "Python, all runs",
        lambda state, run: sweep_cell(
            list({repr(r.setup): r.setup for r in state.shown() if not r.failure}.values()),
            run.line.origin or run.model.name,
        ),
        "All runs of this model on this screen but those that failed. What the store has is not "
        "made again.",
    ),
    "trtexec10": (
        "trtexec 10.x",
        lambda _, run: trtexec_line(run, "10"),
        "For a machine with a GPU. What trtexec has no words for is in the comments. 10.x and "
        "11.x time different things by default, so the line says which.",
    ),
    "trtexec11": (
        "trtexec 11.x",
        lambda _, run: trtexec_line(run, "11"),
        "For a machine with a GPU. What trtexec has no words for is in the comments. Precision "
        "lies in the ONNX file: 11.x has no flags for it.",
    ),
    "json": (
        "JSON",
        lambda _, run: json.dumps(json.loads(to_json(run.line)), indent=2, ensure_ascii=False),
        "What was asked for, and the ids of the records in the store.",
    ),
}
"""By value of the choice: its label, what writes it, and what to know about it."""

_CONTENTS = {
    "call": "time around a CPU call",
    "compute": "GPU compute",
    "compute+transfers": "GPU compute with transfers",
}


class Export(Panel):
    """The runs of this screen and of the store; one run as code; files to take away."""

    name = "export"
    title = "Runs & export"
    reads = ("selected", "baseline", "runs", "history", "workspaces")

    def __init__(self, state: State) -> None:
        self._form = "python"
        self._said = ""
        # Made once: what did not change is not drawn again, and stays folded or scrolled.
        self._runs, self._code, self._files = text(""), text(""), text("")
        self._below = w.Box((self._code, self._files))
        self._below.add_class("trtlab-away")
        super().__init__(state)

    def draw(self) -> Sequence[w.Widget]:
        """Draw runs, the selected one as code, and what can be saved."""
        state, run = self.state, self.state.selected
        head = (
            "<div class='trtlab-question'><strong>What have I run, and how do I take it away?"
            f"</strong><span class='trtlab-spring'></span>{search('runs', 'Filter runs')}</div>"
        )
        self._runs.value = (
            f"{head}<div data-rows='runs'>{_runs_table(state)}</div>{_contents_note(state.runs)}"
            f"{_earlier(state)}"
        )
        if run is None:
            return [self._runs]
        self._code.value, self._files.value = self._reproduce(run), self._take_away(run)
        return [self._runs, self._below]

    def act(self, act: str, value: str) -> bool:
        """Choose the form of the code, or save a file."""
        if act == "cell-form" and value in _FORMS:
            self._form = value
        elif act == "save":
            self._said = self._save(value)
        else:
            return False
        self._changed()
        return True

    def _save(self, what: str) -> str:
        try:
            path = save(what, self.state)
        except TrtlabError as error:
            words = html.escape(f"{error.message} {error.hint}")
            return f"<p class='trtlab-bad' role='alert'>Not saved. {words}</p>"
        size = text_from_file_size(path.stat().st_size)
        return f"<p role='status'>Saved {html.escape(path.name)} ({size}).</p>"

    def _reproduce(self, run: Run) -> str:
        _, write, note = _FORMS[self._form]
        options = [(value, label) for value, (label, _, _) in _FORMS.items()]
        right = choice("cell-form", options, self._form, "form")
        code = html.escape(write(self.state, run))
        body = (
            f"<pre class='trtlab-code' tabindex='0' data-text='cell'>{code}</pre>"
            f"<div class='trtlab-copy'><p class='trtlab-hint'>{html.escape(note)}</p>"
            "<button type='button' class='trtlab-button' data-copy='cell'>Copy</button></div>"
        )
        title = f"Reproduce run {self.state.number(run)}"
        return card(title, body, right=right)

    def _take_away(self, run: Run) -> str:
        rows = "".join(
            _row(title, files, what, size, value, off)
            for value, title, files, what, size, off in _offers(self.state, run)
        )
        where = (
            "<p class='trtlab-hint'>Files are written beside the notebook. None is replaced.</p>"
        )
        return card("Take it away", f"<div class='trtlab-take'>{rows}</div>{self._said}{where}")


# Runs


def _runs_table(state: State) -> str:
    heads = ("Use", "Run", "When, UTC", "Precision", "Batch", "Workspace",
             "Built with → target", "Ran on", "p50, ms [95 %]", "Note")  # fmt: skip
    numbered = list(enumerate(state.runs, 1))
    several = len({run.model.hash or run.model.name for run in state.runs}) > 1
    # One machine that recorded all of them stands in the header.
    places = len({_place(run) for run in state.runs}) > 1
    rows = "".join(_run_row(state, n, run, several, places) for n, run in reversed(numbered))
    return _table(heads, rows or "<tr><td colspan='10'>No run yet.</td></tr>")


def _table(heads: Sequence[str], rows: str) -> str:
    numeric = {"Run", "Batch", "Workspace", "p50, ms [95 %]"}
    head = "".join(
        f"<th scope='col'{' class=trtlab-number' if h in numeric else ''}>{h}</th>" for h in heads
    )
    return (
        f"<div class='trtlab-scroll'><table class='trtlab-runs'><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _run_row(
    state: State, number: int, run: Run, several_models: bool, several_places: bool
) -> str:
    letters = [
        letter
        for letter, one in (("A", state.baseline), ("B", state.selected))
        if one is not None and one is run
    ]
    use = "".join(map(mark, letters))
    if not letters and run.failure is None:
        use += button("pin", "pin", str(number), kind="link")
    line = run.line
    cells = [
        use, str(number), _when(line), chip(run.recipe), _batch(line), _limit(line),
        _built(run), html.escape(_ran_on(run)), _latency(line),
        html.escape(_note(run, several_models, several_places)),
    ]  # fmt: skip
    return (
        f"<tr tabindex='0' data-act='select' data-value='{number}' data-key='run-{number}'"
        f" aria-selected='{str(run is state.selected).lower()}'>{_cells(cells, {1, 4, 5, 8})}</tr>"
    )


def _cells(cells: Sequence[str], numeric: set[int]) -> str:
    return "".join(
        f"<td{' class=trtlab-number' if i in numeric else ''}>{cell}</td>"
        for i, cell in enumerate(cells)
    )


def _when(line: RunLine) -> str:
    """Print ``21 Nov 14:02``, of another year only its day; a file may hold any text."""
    try:
        made = datetime.fromisoformat(line.environment.created or "")
    except ValueError:
        return N_A
    this_year = made.year == datetime.now(made.tzinfo).year
    return f"{made.day} {made:%b} " + (f"{made:%H:%M}" if this_year else str(made.year))


def _batch(line: RunLine) -> str:
    return "—" if line.setup.batch is None else str(line.setup.batch)


def _limit(line: RunLine) -> str:
    if line.setup.builder not in TENSORRT:
        return "—"
    limit = line.setup.workspace_bytes
    return "default" if limit is None else text_from_bytes(limit)


def _built(run: Run) -> str:
    if run.failure is not None:
        return f"<span class='trtlab-bad'>failed: {html.escape(run.failure.message)}</span>"
    plan, builder = run.plan, run.setup.builder
    name = BACKENDS.get(builder, builder)
    if plan is None:
        return html.escape(name)
    packages = plan.environment.packages.items()
    found = (v for package, v in packages if package.replace("-", "_").startswith(builder))
    version = ".".join(next(found, "").split(".")[:3])
    words = f"{name} {version}".strip()
    return html.escape(f"{words} → {plan.target_text}")


def _ran_on(run: Run) -> str:
    """Name the device; on the CPU only ONNX Runtime runs, so there the backend goes unsaid."""
    m = run.measurement
    if m is None:
        return "—"
    words = ["CPU"]
    if m.build.device == "cuda":
        words = [m.environment.gpu or "a GPU that is not named"]
        words += [BACKENDS["onnxruntime"]] * (m.build.backend not in TENSORRT)
    if m.run.threads is not None:
        words.append(f"{m.run.threads} thread{'s' * (m.run.threads > 1)}")
    return ", ".join(words)


def _latency(line: RunLine) -> str:
    if line.latency_ms is None:
        why = line.failure.message if line.failure else line.missing.get("measurement", "not run")
        reason = html.escape(why, quote=True)
        return f"<span title='{reason}'>{N_A}<span class='trtlab-said'>: {reason}</span></span>"
    low, high = line.latency_low_ms, line.latency_high_ms
    interval = None if low is None or high is None else (low, high)
    origin = badge("recorded" if line.source == "recorded" else "measured", short=True)
    return f"{text_from_number(line.latency_ms)} {text_from_interval(interval)} {origin}"


def _place(run: Run) -> str:
    """Return where a run was made: "" for here."""
    e = run.line.environment
    return "" if run.source == "here" else e.gpu or e.cpu or "a machine that is not named"


def _note(run: Run, several_models: bool, several_places: bool) -> str:
    words = [run.model.name] if several_models else []
    if several_places and _place(run):
        words.append(f"recorded on {_place(run)}")
    if run.failure is not None:
        words.append(run.failure.hint)
    elif run.measurement is None:
        words.append(run.why_no("measurement"))
    elif run.from_store and run.source == "here":
        words.append("from store")
    return " · ".join(words)


def _contents_note(runs: Sequence[Run]) -> str:
    """Say which runs time another thing, so that nobody subtracts them."""
    found: dict[str, list[str]] = {}
    for number, run in enumerate(runs, 1):
        if run.measurement is not None:
            found.setdefault(run.measurement.contents, []).append(str(number))
    if len(found) < 2:
        return ""
    said = "; ".join(
        f"{_CONTENTS[contents]}: run{'s' * (len(numbers) > 1)} {', '.join(numbers)}"
        for contents, numbers in found.items()
    )
    return (
        f"<p class='trtlab-hint'>Not all times are of one kind ({said}). They can be viewed, not "
        "compared.</p>"
    )


def _earlier(state: State) -> str:
    """The store's runs that are not on this screen, folded."""
    here = [run.line for run in state.runs]
    others = [(i, line) for i, line in enumerate(state.history) if line not in here]
    if not others:
        return ""
    heads = ("Show", "Model", "When, UTC", "Precision", "Batch", "Workspace",
             "Built with → target", "p50, ms [95 %]")  # fmt: skip
    rows = "".join(_earlier_row(index, line) for index, line in others)
    return (
        f"<details class='trtlab-earlier'><summary>Earlier runs in the store ({len(others)})"
        f"</summary><div data-rows='runs'>{_table(heads, rows)}</div></details>"
    )


def _earlier_row(index: int, line: RunLine) -> str:
    target = "" if line.setup.target is None else f" → {line.setup.target}"
    builder = BACKENDS.get(line.setup.builder, line.setup.builder)
    built = html.escape(f"{builder}{target}")
    if line.failure is not None:
        built = f"<span class='trtlab-bad'>failed: {html.escape(line.failure.message)}</span>"
    cells = [
        button("show", "recall", str(index), kind="link"), html.escape(line.model.name),
        _when(line), chip(line.made.recipe), _batch(line), _limit(line), built, _latency(line),
    ]  # fmt: skip
    return f"<tr>{_cells(cells, {4, 5, 7})}</tr>"


# Files


def _offers(state: State, run: Run) -> list[tuple[str, str, str, str, str, str]]:
    """Return of each file: value, title, names, what it holds, its size, why it cannot be."""
    plan, count = run.plan, len(state.runs)
    which = "run 1" if count == 1 else f"runs 1 to {count}"
    number = state.number(run)
    stem = stem_of(state, run)
    no_plan = "" if plan is not None else f"Run {number} has no plan."
    layers = no_plan
    if plan is not None and (plan.config.backend not in TENSORRT or plan.layers is None):
        layers = "A plan of TensorRT whose layers are known can be saved so."
    recorded = ""
    if plan is not None and plan.source == "recorded":
        recorded = "The plan was recorded elsewhere: its bytes are not here."

    def files(value: str) -> str:
        first, *others = endings_of(value, run)
        return ", ".join([f"{stem}{first}", *(f"…{ending}" for ending in others)])

    target = f"for {plan.target_text}" if plan else ""
    size = text_from_file_size(plan.plan_bytes) if plan and plan.plan_bytes else ""
    return [
        ("bundle", "Bundle", files("bundle"),
         f"{which} with every sample; opens elsewhere as recorded", "", ""),
        ("report", "HTML report", files("report"),
         f"{which}: curves and tables in one file, needs no network", "", ""),
        ("csv", "Tables", files("csv"), f"{which}, and the layers of run {number}, as CSV", "",
         ""),
        ("graph", "Engine graph", files("graph"),
         f"fusion of run {number} as a page, its layers as trtexec writes them", "", layers),
        ("plan", f"Plan {target}", files("plan"),
         "A plan is code: load it only if you trust who made it. It runs only on a matching "
         "version and GPU.", size, no_plan or recorded),
    ]  # fmt: skip


def _row(title: str, files: str, what: str, size: str, value: str, off: str) -> str:
    told = f"<span class='trtlab-warn'>{html.escape(off)}</span>" if off else html.escape(what)
    known = f"{html.escape(size)} {badge('builder', short=True)}" if size else ""
    return (
        f"<div class='trtlab-take-row'><div><strong>{html.escape(title)}</strong> "
        f"<code>{html.escape(files)}</code><br><span class='trtlab-hint'>{told}</span></div>"
        f"<span class='trtlab-number'>{known}</span>"
        f"{button('Save', 'save', value, off=off)}</div>"
    )
