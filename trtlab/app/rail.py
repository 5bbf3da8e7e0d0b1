"""The left rail: controls that say what would be built. Each sets a trait; none builds."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as w

from trtlab.app.jobs import default_target, expected_seconds
from trtlab.app.machine import RECIPES, Machine, cannot
from trtlab.app.state import CONTROLS, State
from trtlab.errors import SpecError, TrtlabError
from trtlab.model.types import batch_axis
from trtlab.precision.recipes import recipe_of
from trtlab.spec import TENSORRT
from trtlab.units import (
    ints_from_text,
    shapes_from_text,
    text_from_bytes,
    text_from_shape,
)
from trtlab.views.cards import recipe_text
from trtlab.views.precision_sentences import BACKENDS
from trtlab.views.theme import badge
from trtlab.views.widgets.frame import UPLOAD_BYTES
from trtlab.zoo.catalogue import ENTRIES

LIMITS = tuple(2**power for power in range(20, 37))
"""Workspace limits on the slider, 1 MiB to 64 GiB in doublings; beyond them is the default."""

_ENDINGS = (".onnx", ".trtlab")


class Rail(w.VBox):
    """Model, precision, batch, workspace, backends, measuring; the buttons at its foot.

    Args:
        state: What the controls set.
        act: What the buttons mean, as ``Workbench.act`` takes it.
    """

    def __init__(self, state: State, act: Callable[[str, str], None]) -> None:
        controls = w.VBox(
            [
                _model(state, act),
                _precision(state),
                _batch(state),
                _workspace(state),
                _backends(state),
                _measuring(state),
            ]
        )
        controls.add_class("trtlab-controls")
        super().__init__([controls, _foot(state, act)])
        self.add_class("trtlab-rail")


def _section(name: str, *children: w.Widget) -> w.VBox:
    box = w.VBox(children)
    box.add_class("trtlab-section")
    box.add_class(f"trtlab-section-{name}")
    return box


def _label(state: State, title: str, right: Callable[[], str], *names: str) -> w.HTML:
    """The line above a control: what it is, and at its right what goes with it."""
    line = w.HTML()

    def show() -> None:
        changed = any(_differs(state, name) for name in names)
        dot = "<b class='trtlab-changed' title='changed, not built'>●</b> " if changed else ""
        line.value = (
            f"<div class='trtlab-label'><strong>{dot}{html.escape(title)}</strong>"
            f"<span>{right()}</span></div>"
        )

    state.listen(show, *names, "opened", "selected", "machine", "runs", "workspaces", "quick")
    return line


def _differs(state: State, name: str) -> bool:
    """Whether a control says something else than the run that is shown."""
    run, model = state.selected, state.opened
    if run is None or model is None or run.model.hash != model.hash:
        return False
    try:
        wanted = state.setups()[0]
    except TrtlabError:
        return False
    fields = {"measure_at": "batch", "shapes_text": "shapes", "source": ""}
    field = fields.get(name, name)
    return field in run.setup.__dataclass_fields__ and getattr(run.setup, field) != getattr(
        wanted, field
    )


def _hint(state: State, said: Callable[[], str], *names: str) -> w.HTML:
    """A line below a control: what is wrong there, else what helps to choose."""
    line = w.HTML()

    def show() -> None:
        faults = [state.wrong[n] for n in names if n in state.wrong]
        problem = state.problem
        if not faults and problem is not None and problem.field in names:
            faults = [problem.short or problem.title]
        line.value = (
            f"<div class='trtlab-wrong' role='alert'>✕ {html.escape(faults[0])}</div>"
            if faults
            else f"<div class='trtlab-hint'>{said()}</div>"
        )

    state.listen(show, *names, "wrong", "problem", "opened", "machine", "builder", "runner",
                 "workspaces", "selected")  # fmt: skip
    return line


def settle(state: State, name: str, read: Callable[[str], Any], typed: str) -> None:
    """Take what was typed into a control; what cannot be read is told there and changes nothing.

    Args:
        state: Whose trait it is.
        name: The trait.
        read: Reads the text; raises SpecError.
        typed: The text.
    """
    others = {k: v for k, v in state.wrong.items() if k != name}
    try:
        state.update(**{name: read(typed)}, wrong=others)
    except SpecError as error:
        state.update(wrong={**others, name: str(error).replace("\n  → ", " ")})


def _bound(state: State, control: w.Widget, name: str, to: Callable[[], Any], *more: str) -> None:
    """Let a control follow its trait, and be off while a job runs or a recording is shown."""

    def show() -> None:
        control.disabled = state.busy or bool(state.recorded)
        value = to()
        if name not in state.wrong and control.value != value:
            control.value = value

    state.listen(show, name, "busy", "recorded", *more)


# Model


def _model(state: State, act: Callable[[str, str], None]) -> w.VBox:
    box = w.Combobox(
        value=state.source,
        options=_offers(state),
        ensure_option=False,
        continuous_update=False,
        placeholder="Choose a model…",
        tooltip="Model: a path, a network of the zoo, or a recent one",
    )

    def typed(change: dict[str, Any]) -> None:
        if change["new"].strip() and change["new"] != state.source:
            act("open", change["new"].strip())

    def show() -> None:
        box.disabled = state.busy
        if box.value != state.source:
            box.value = state.source
        box.options = _offers(state)

    box.observe(typed, "value")
    state.listen(show, "source", "busy", "history")
    upload = w.FileUpload(
        accept=",".join(_ENDINGS),
        multiple=False,
        description="Upload…",
        tooltip=f"Upload a small file, up to {text_from_bytes(UPLOAD_BYTES)}; "
        "of a larger one type its path above",
    )
    upload.add_class("trtlab-upload")
    upload.observe(lambda change: _uploaded(change["new"], upload, act), "value")

    def nodes() -> str:
        return "none yet" if state.graph is None else f"{len(state.graph.nodes):,} nodes"

    def tensors() -> str:
        if state.opened is None:
            return f"Path, zoo, or a recent one. Uploads end at {text_from_bytes(UPLOAD_BYTES)}."
        m = state.opened
        said = ", ".join(f"{t.name} {t.dtype} {text_from_shape(t.shape or ())}" for t in m.inputs)
        outputs = ", ".join(f"{t.name} {text_from_shape(t.shape or ())}" for t in m.outputs)
        return html.escape(f"{said} → {outputs}"[:240])

    line = w.HBox([box, upload])
    line.add_class("trtlab-line")
    return _section(
        "model",
        _label(state, "Model", nodes, "source", "graph"),
        line,
        _hint(state, tensors, "source"),
    )


def _offers(state: State) -> tuple[str, ...]:
    """Zoo, what was run before, and files beside the notebook."""
    zoo = [f"zoo:{name}" for name in ENTRIES]
    before = [line.origin for line in state.history if line.origin]
    here = [str(p) for p in sorted(Path().glob("*")) + sorted(Path().glob("models/*"))
            if p.suffix in _ENDINGS]  # fmt: skip
    return tuple(dict.fromkeys([*zoo, *before, *here[:50]]))


def _uploaded(files: Any, upload: w.FileUpload, act: Callable[[str, str], None]) -> None:
    """Write an uploaded file beside the notebook and open it: its path is what is remembered."""
    for file in files:
        name = Path(file["name"]).name
        target, number = Path(name), 2
        try:
            while target.exists() and target.read_bytes() != bytes(file["content"]):
                target = Path(f"{Path(name).stem}-{number}{Path(name).suffix}")
                number += 1
            target.write_bytes(file["content"])
        except OSError as error:
            act("failed", f"{name} was not written beside the notebook: {error.strerror}.")
        else:
            act("open", str(target))
    if files:
        upload.value = ()


# Precision


def _precision(state: State) -> w.VBox:
    buttons = {}
    for recipe in RECIPES:
        button = w.ToggleButton(description=recipe_text(recipe))
        button.add_class("trtlab-recipe")
        button.add_class(f"trtlab-recipe-{recipe.split('-')[0]}")
        if recipe.endswith("weights"):
            button.add_class("trtlab-recipe-hollow")
        button.observe(lambda c, r=recipe: _chosen(state, r, c["new"]), "value")
        buttons[recipe] = button
    tf32 = w.Checkbox(
        description="TF32 products",
        indent=False,
        tooltip="Let TensorRT round FP32 products to TF32",
    )
    tf32.observe(lambda c: state.update(tf32=c["new"]), "value")

    def show() -> None:
        for recipe, button in buttons.items():
            reason = why_not(state, recipe)
            button.disabled = bool(reason) or state.busy or bool(state.recorded)
            button.tooltip = reason or f"Build and run in {recipe.upper()}"
            button.value = _main(state.precision) == recipe
        off = state.builder not in TENSORRT or _main(state.precision) != "fp32"
        tf32.disabled = off or state.busy or bool(state.recorded)
        tf32.value = state.tf32 and not off

    state.listen(show, "precision", "tf32", "machine", "opened", "builder", "busy", "recorded")
    row = w.Box([*buttons.values(), tf32])
    row.add_class("trtlab-recipes")

    def reasons() -> str:
        return html.escape(recipe_hint(state))

    return _section(
        "precision",
        _label(state, "Precision", lambda: "rewrites the model", "precision", "tf32"),
        row,
        _hint(state, reasons, "precision"),
    )


def _main(precision: str) -> str:
    """The button that a recipe belongs to: of joined ones the first."""
    return precision.split("+")[0]


def _chosen(state: State, recipe: str, on: bool) -> None:
    if on and _main(state.precision) != recipe:
        state.update(precision=recipe, problem=None)
    elif not on and _main(state.precision) == recipe:
        state.update(precision="")  # told below; at once chosen again: one is always pressed
        state.update(precision=recipe)


def why_not(state: State, recipe: str) -> str:
    """Return why a precision cannot be chosen here, or ""."""
    if state.machine is None:
        return "asking what this machine can do"
    return cannot(state.machine, state.opened, recipe, state.builder)


def recipe_hint(state: State) -> str:
    """Say why some precisions are off, and what the chosen one will not tell here."""
    machine = state.machine
    if state.recorded:
        return "As it was recorded."
    if machine is None:
        return "Asking what this machine can do…"
    off: dict[str, list[str]] = {}
    for recipe in RECIPES:
        if reason := why_not(state, recipe):
            off.setdefault(reason.rstrip("."), []).append(recipe.upper())
    said = [f"{', '.join(names)}: {reason}." for reason, names in off.items()]
    if why_not(state, _main(state.precision)) or not state.precision:
        return " ".join(said)
    if state.runner:
        ability = machine.runs(state.precision, state.runner, state.provider)
        if not ability.can:
            said.append(f"Built, not run: {ability.reason}")
    if recipe_of(state.precision).needs_data and state.calibration == "random":
        said.append("Ranges come from random numbers: sizes are real, accuracy is not.")
    return " ".join(said)


# Batch


def _batch(state: State) -> w.VBox:
    boxes = []
    for place, name in enumerate(("min", "opt", "max")):
        box = w.Text(continuous_update=False, tooltip=f"Batch, {name}: of the engine's profile")

        def typed(change: dict[str, Any], place: int = place) -> None:
            settle(state, "batches", partial(_batches, state, place), change["new"])
            smallest, best, largest = state.batches
            within = tuple(b for b in state.measure_at if smallest <= b <= largest)
            if within != state.measure_at and state.builder in TENSORRT:
                state.update(measure_at=within or (best,))

        box.observe(typed, "value")
        _bound(state, box, "batches", partial(_batch_text, state, place))
        boxes.append(box)
    measure = w.Text(
        continuous_update=False,
        tooltip="Batch sizes to measure, such as 1,2,4,8",
        placeholder="8 or 1,2,4,8",
    )
    measure.observe(
        lambda c: settle(state, "measure_at", lambda text: _measured_at(state, text), c["new"]),
        "value",
    )
    _bound(state, measure, "measure_at", lambda: ", ".join(map(str, state.measure_at)))

    def axis() -> None:
        fixed = state.opened is not None and batch_axis(state.opened.inputs) is None
        for box in (*boxes, measure):
            box.disabled = box.disabled or fixed

    state.listen(axis, "opened", "busy", "recorded", "batches", "measure_at")

    def said() -> str:
        model = state.opened
        if model is not None and batch_axis(model.inputs) is None:
            return "This model's batch is fixed."
        return ""

    line = w.HBox(boxes)
    line.add_class("trtlab-line")
    at = w.HBox([w.HTML("<span class='trtlab-hint'>Measure at</span>"), measure])
    at.add_class("trtlab-line")
    return _section(
        "batch",
        _label(state, "Batch", lambda: "min · opt · max", "batches", "measure_at"),
        line,
        at,
        _hint(state, said, "batches", "measure_at"),
    )


def _batch_text(state: State, place: int) -> str:
    return str(state.batches[place])


def _one(text: str) -> int:
    numbers = ints_from_text(text)
    if len(numbers) != 1:
        raise SpecError(f"{text!r} is not one batch size.", hint="Write one number.")
    return numbers[0]


def _batches(state: State, place: int, text: str) -> tuple[int, ...]:
    sizes = list(state.batches)
    sizes[place] = _positive(text)
    # Whoever moves one end past the others means to move them along.
    for other in range(3):
        low, high = min(other, place), max(other, place)
        if sizes[low] > sizes[high]:
            sizes[other] = sizes[place]
    return tuple(sizes)


def _measured_at(state: State, text: str) -> tuple[int, ...]:
    sizes = tuple(sorted(set(ints_from_text(text))))
    if sizes[0] < 1:
        raise SpecError(f"{sizes[0]} is too few.", hint="Give 1 or more.")
    smallest, _, largest = state.batches
    outside = [size for size in sizes if not smallest <= size <= largest]
    if outside and state.builder in TENSORRT:
        raise SpecError(
            f"The engine is built for batch {smallest} to {largest}; {outside[-1]} was typed.",
            hint=f"Raise max to {outside[-1]}."
            if outside[-1] > largest
            else f"Lower min to {outside[0]}.",
        )
    return sizes


# Workspace


def _workspace(state: State) -> w.VBox:
    # The slider takes no None: 0 stands for the default, which is no limit of ours.
    slider = w.SelectionSlider(options=_stops(0), value=0, readout=False, continuous_update=False)
    slider.add_class("trtlab-slider")
    slider.tooltip = "Workspace limit"

    def took(change: dict[str, Any]) -> None:
        state.update(workspace_bytes=change["new"] or None)

    def show() -> None:
        has_one = state.builder in TENSORRT
        slider.disabled = state.busy or bool(state.recorded) or not has_one
        limit = state.workspace_bytes or 0
        _offer(slider, _stops(limit), limit, took)

    state.listen(show, "workspace_bytes", "busy", "recorded", "builder")

    def chosen() -> str:
        if state.builder not in TENSORRT:
            return "n/a"
        limit = state.workspace_bytes
        return "default" if limit is None else text_from_bytes(limit)

    def smallest() -> str:
        if state.builder not in TENSORRT:
            return f"{BACKENDS[state.builder]} has no workspace." if state.builder else ""
        curve = state.fitting_curve()
        if curve is not None and curve.smallest_bytes is not None:
            size, mark = text_from_bytes(curve.smallest_bytes), badge("builder", short=True)
            return f"smallest known to build: {size} {mark}"
        if state.opened is None:
            return "Choose a model first."
        return (
            "<button type='button' class='trtlab-button trtlab-link' "
            "data-act='search-workspace' data-value=''>Search the smallest that builds</button>"
        )

    ends = w.HTML("<div class='trtlab-ends'><span>1 MiB</span><span>default</span></div>")
    return _section(
        "workspace",
        _label(state, "Workspace limit", chosen, "workspace_bytes", "builder"),
        slider,
        ends,
        _hint(state, smallest, "workspace_bytes"),
    )


def _stops(own: int) -> list[tuple[str, int]]:
    """Return the slider's stops; a limit set by a button or in Python has one of its own."""
    sizes = sorted({*LIMITS, *([own] if own else [])})
    return [*((text_from_bytes(size), size) for size in sizes), ("default", 0)]


# Backends


def _backends(state: State) -> w.VBox:
    builder = w.Dropdown(tooltip="Build with")
    target = w.Dropdown(tooltip="Target: the GPU that the engine is for")
    runner = w.Dropdown(tooltip="Run with")

    def took_builder(change: dict[str, Any]) -> None:
        machine, name = state.machine, change["new"]
        if machine is not None and name:
            state.update(
                builder=name,
                target=default_target(machine, name),
                runner=next(iter(machine.runners(name)), ""),
            )

    def took_runner(change: dict[str, Any]) -> None:
        name, _, provider = (change["new"] or "").partition(" ")
        state.update(runner=name, provider=provider or "cpu")

    def took_target(change: dict[str, Any]) -> None:
        state.update(target=change["new"] or "")

    def show() -> None:
        machine, off = state.machine, state.busy or bool(state.recorded)
        for control in (builder, target, runner):
            control.disabled = off or machine is None
        if machine is None:
            return
        # What a recording was made with may be none of this machine's.
        builders = dict.fromkeys((*machine.builders, state.builder))
        _offer(builder, [(BACKENDS[n], n) for n in builders], state.builder, took_builder)
        targets = dict.fromkeys((*machine.targets(state.builder), *filter(None, [state.target])))
        offered = [(t, t) for t in targets] or [("this CPU", "")]
        _offer(target, offered, state.target, took_target)
        target.disabled = target.disabled or not targets
        several = runners(machine, state.builder)
        if runs_on(state) not in [value for _, value in several]:
            several.append((f"{BACKENDS[state.runner]}, elsewhere", runs_on(state)))
        _offer(runner, several, runs_on(state), took_runner)

    state.listen(show, "machine", "builder", "target", "runner", "provider", "busy", "recorded")
    first, second = (
        w.HBox([builder, target]),
        w.HBox([w.HTML("<span class='trtlab-hint'>Run with</span>"), runner]),
    )
    for line in (first, second):
        line.add_class("trtlab-line")
    return _section(
        "backends",
        _label(state, "Build with", lambda: "target", "builder", "target", "runner"),
        first,
        second,
    )


def runners(machine: Machine, builder: str) -> list[tuple[str, str]]:
    """Return what can run the model, in words and as a value: the backend, then its provider."""
    found = []
    for name in machine.runners(builder):
        if name in TENSORRT:
            found.append((f"{BACKENDS[name]}, GPU", name))
        else:
            found += [
                (f"{BACKENDS[name]}, {one.upper()}", f"{name} {one}")
                for one in machine.providers()
            ]
    return [*found, ("nothing: build only", "")]


def runs_on(state: State) -> str:
    """Return the runner that is chosen, as ``runners`` names it."""
    return f"{state.runner} {state.provider}" if state.runner == "onnxruntime" else state.runner


def _offer(
    control: w.Dropdown | w.SelectionSlider,
    options: Sequence[tuple[str, str | int]],
    chosen: str | int,
    took: Callable[[dict[str, Any]], None],
) -> None:
    """Offer choices, with the one that is chosen; only what a person picks is ``took``."""
    with contextlib.suppress(ValueError):  # it does not hear yet
        control.unobserve(took, "value")
    if tuple(control.options) != tuple(options):
        control.options = options
    if chosen in [value for _, value in options] and control.value != chosen:
        control.value = chosen
    control.observe(took, "value")


# Measuring


def _measuring(state: State) -> w.VBox:
    fold = w.ToggleButton(description="▸ Measuring", tooltip="Show the measuring settings")
    fold.add_class("trtlab-fold")
    quick = w.Checkbox(description="Quick: short windows", indent=False)
    quick.observe(lambda c: state.update(quick=c["new"]), "value")
    _bound(state, quick, "quick", lambda: state.quick)
    fields = [
        ("streams", "Streams", "1", _positive, lambda: str(state.streams)),
        (
            "threads",
            "Threads",
            "its choice",
            lambda text: _positive(text) if text.strip() else None,
            lambda: "" if state.threads is None else str(state.threads),
        ),
        ("shapes_text", "Shapes", "ids:8x128", _shapes, lambda: state.shapes_text),
        ("calibration", "Calibration", "folder, or random", str.strip, lambda: state.calibration),
        ("data", "Accuracy data", "folder with labels", str.strip, lambda: state.data),
    ]
    rows = []
    for name, label, placeholder, read, value in fields:
        box = w.Text(continuous_update=False, placeholder=placeholder, tooltip=label)

        def typed(change: dict[str, Any], name: str = name, read: Any = read) -> None:
            settle(state, name, read, change["new"])

        box.observe(typed, "value")
        _bound(state, box, name, value, "opened")
        row = w.HBox([w.HTML(f"<span class='trtlab-hint'>{label}</span>"), box])
        row.add_class("trtlab-line")
        rows += [row, _hint(state, lambda: "", name)]
    inner = w.VBox([quick, *rows])

    def show(_change: Any = None) -> None:
        wrong = {"streams", "threads", "shapes_text", "calibration", "data"} & set(state.wrong)
        named = state.problem is not None and state.problem.field == "shapes_text"
        is_open = fold.value or bool(wrong) or named
        inner.layout.display = "" if is_open else "none"
        fold.description = "▾ Measuring" if is_open else "▸ Measuring"

    fold.observe(show, "value")
    state.listen(show, "wrong", "problem")

    def windows() -> str:
        return "quick windows, labelled" if state.quick else "3 steady windows or more"

    head = w.HBox([fold, _label(state, "", windows, "quick", "streams", "threads")])
    head.add_class("trtlab-line")
    return _section("measuring", head, inner)


def _positive(text: str) -> int:
    number = _one(text)
    if number < 1:
        raise SpecError(f"{number} is too few.", hint="Give 1 or more.")
    return number


def _shapes(text: str) -> str:
    if text.strip():
        shapes_from_text(text)
    return text.strip()


# Foot


def _foot(state: State, act: Callable[[str, str], None]) -> w.VBox:
    line, estimate, log = w.HTML(), w.HTML(), w.HTML()
    build = w.Button(description="Build & measure", tooltip="Build & measure (key B)")
    sweep = w.Button(description="Sweep…", tooltip="Sweep… (key S)")
    stop = w.Button(description="Stop", tooltip="Stop (Esc twice)")
    build.add_class("trtlab-main")
    stop.add_class("trtlab-stop")
    for button, name in ((build, "build"), (sweep, "sweep"), (stop, "stop")):
        button.on_click(lambda _b, name=name: act(name, ""))

    def show() -> None:
        ready = state.opened is not None and not state.wrong and not state.recorded
        build.disabled = sweep.disabled = state.busy or not ready
        stop.disabled = not state.busy
        line.value = f"<div class='trtlab-stateline'>{state_line(state)}</div>"
        estimate.value = f"<div class='trtlab-hint'>{estimate_line(state)}</div>"

    state.listen(show, *CONTROLS, "busy", "opened", "wrong", "selected", "runs", "recorded",
                 "status", "problem", "history")  # fmt: skip

    def write() -> None:
        lines = "\n".join(html.escape(text) for text in state.log[-40:])
        log.value = (
            f"<details class='trtlab-log'><summary data-key='log'>Log</summary>"
            f"<pre tabindex='0' aria-label='log'>{lines}</pre></details>"
            if lines
            else ""
        )

    state.listen(write, "log")
    buttons = w.HBox([build, sweep, stop])
    buttons.add_class("trtlab-buttons")
    foot = w.VBox([line, buttons, estimate, log])
    foot.add_class("trtlab-foot-rail")
    return foot


def state_line(state: State) -> str:
    """Say, as HTML, how the controls stand to the run that is shown."""
    if state.busy:
        return f"<b class='trtlab-acc'>▸</b> {html.escape(state.status)}"
    if state.recorded:
        return "◉ Recorded: builds are off until you make it live."
    if state.opened is None:
        return "Nothing to build yet."
    if state.problem is not None and state.status == "Not built":
        said = state.problem.short or state.problem.title
        return f"<b class='trtlab-bad'>✕ Not built</b>: {html.escape(said)}"
    differences = state.differences()
    if not differences and state.selected is not None:
        number = state.number(state.selected)
        stored = ", from store" if state.selected.from_store else ""
        return f"<b class='trtlab-ok'>✓ Built</b>: controls match run {number}{stored}"
    return f"<b>● Not built yet</b>: {html.escape(', '.join(differences))}"


def estimate_line(state: State) -> str:
    """Say what a build would take, from what runs of this model took."""
    if state.opened is None or state.recorded:
        return "B builds · S sweeps · ? lists all keys"
    if state.busy:
        left = state.job.expected_s if state.job else None
        return (
            "" if left is None else f"About {left:.0f} s in all {badge('estimated', short=True)}"
        )
    each = expected_seconds(state, state.opened)
    if each is None:
        return "Known settings answer at once. How long a new one takes is not known yet."
    return f"Known: at once. New: about {each:.0f} s {badge('estimated', short=True)}"
