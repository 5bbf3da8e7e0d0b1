"""What the workbench knows: one observable object that panels read and controls set.

Callbacks may come from any thread (ipykernel 7 moves them to subshells), and jobs run in one of
ours: every change goes through ``update``, which holds the one lock while traits change and
those who listen are told. Nothing here draws, and nothing here knows a widget.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import traitlets as t

from trtlab.analysis.fusion.fuse import fuse
from trtlab.errors import TrtlabError
from trtlab.model.types import Graph, Model, batch_axis
from trtlab.record import Fusion, Plan, Run, WorkspaceCurve
from trtlab.spec import TENSORRT, Setup, Shape
from trtlab.store import Store
from trtlab.units import shapes_from_text, text_from_bytes
from trtlab.verbs.fusion import fusion
from trtlab.verbs.run import known_run
from trtlab.views.theme import Theme
from trtlab.views.workspace_strip import fits

CONTROLS = (
    "source",
    "precision",
    "batches",
    "measure_at",
    "workspace_bytes",
    "tf32",
    "builder",
    "target",
    "runner",
    "provider",
    "streams",
    "threads",
    "shapes_text",
    "calibration",
    "data",
    "quick",
)
"""The traits that say what would be built."""


@dataclass(frozen=True, slots=True)
class Action:
    """A button: what it says, and what ``Workbench.act`` is given when it is pressed."""

    label: str
    act: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, as the screen shows it.

    Attributes:
        title: What did not happen, and the value at fault.
        what: What happened: numbers, model, where.
        why: Only what is known.
        hint: What to do, in words.
        actions: What to do.
        words: What the builder or the worker said, word for word.
        field: The control at fault, a trait's name; "" where none is.
        short: What is said at that control; "" for the title.
    """

    title: str
    what: str = ""
    why: str = ""
    hint: str = ""
    actions: tuple[Action, ...] = ()
    words: str = ""
    field: str = ""
    short: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of progress; ``total`` 0 is a step that does not say how far it is."""

    label: str
    done: int = 0
    total: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """One point of a job; ``state``: ``waiting``, ``running``, ``done``, ``store``, ``failed``."""

    setup: Setup
    state: str = "waiting"
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """The job that runs, or the last one.

    Attributes:
        title: What it is.
        began: ``time.monotonic()`` at its start.
        bars: From the whole to the step.
        expected_s: Seconds it will take in all, None where nothing like it was timed.
    """

    title: str
    began: float
    bars: tuple[Bar, ...] = ()
    expected_s: float | None = None


class State(t.HasTraits):
    """Controls, runs, the job and what the screen shows; see the groups below."""

    # Controls: what would be built
    source = t.Unicode("")
    precision = t.Unicode("fp32")
    batches = t.Tuple((1, 8, 16))
    measure_at = t.Tuple((8,))
    workspace_bytes = t.Int(None, allow_none=True)
    tf32 = t.Bool(False)
    builder = t.Unicode("onnxruntime")
    target = t.Unicode("")
    runner = t.Unicode("onnxruntime")
    provider: t.Enum[Literal["cpu", "cuda"]] = t.Enum(("cpu", "cuda"), default_value="cpu")
    streams = t.Int(1)
    threads = t.Int(None, allow_none=True)
    shapes_text = t.Unicode("")
    calibration = t.Unicode("")
    data = t.Unicode("")
    quick = t.Bool(True)
    wrong = t.Dict()
    """By the name of a control what is wrong with what was typed there."""

    # The model and the machine
    opened = t.Instance(Model, allow_none=True)
    graph = t.Instance(Graph, allow_none=True)
    machine = t.Any(None)
    """A ``machine.Machine``; None until it was asked."""

    # Runs
    runs = t.Tuple()
    selected = t.Instance(Run, allow_none=True)
    baseline = t.Instance(Run, allow_none=True)
    history = t.Tuple()
    """Lines of earlier runs in the store, newest first."""
    workspaces = t.Tuple()
    recorded = t.Unicode("")
    """The bundle that is shown, in words; "" where runs are of this session."""

    # The job
    busy = t.Bool(False)
    job = t.Instance(Job, allow_none=True)
    job_title = t.Unicode("")
    job_points = t.Tuple()
    status = t.Unicode("Ready")
    log = t.Tuple()
    problem = t.Instance(Problem, allow_none=True)
    saved = t.Unicode("")
    """What was written last, and where."""

    # The screen
    tab = t.Unicode("overview")
    theme: t.Enum[Theme] = t.Enum(("light", "dark"), default_value="light")
    theme_choice = t.Enum(["host", "light", "dark"], default_value="host")
    large = t.Bool(False)
    layer = t.Unicode("")
    """The layer or node that is selected in every tab, as ``GraphView.selected`` names it."""
    sweeping = t.Bool(False)
    """Whether the questions before a sweep are shown."""
    asked = t.Dict()
    """The answers to them so far."""
    looked = t.Int(0)
    """Counts the looks at the machine's load."""
    helping = t.Bool(False)
    """Whether the list of keys is shown."""
    keys = t.Bool(True)
    """Whether single keys do something."""

    def __init__(self, *, store: Store | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.lock = threading.RLock()
        self._listeners: list[tuple[frozenset[str], Callable[[], None]]] = []
        self._store = store
        self.graphs: dict[str, Graph] = {}
        """By model hash the graphs that came with a bundle."""
        self._fusions: dict[tuple[str, int | None, int], Fusion] = {}

    # Changing and listening

    def update(self, **changes: Any) -> None:
        """Set several traits, from any thread; each listener is told once of all of them."""
        with self.lock:
            before = {name: getattr(self, name) for name in changes}
            with self.hold_trait_notifications():
                for name, value in changes.items():
                    setattr(self, name, value)
            changed = {n for n, old in before.items() if getattr(self, n) is not old}
            for names, callback in tuple(self._listeners):
                if names & changed:
                    self._tell(callback)

    def _tell(self, callback: Callable[[], None]) -> None:
        """Call a listener; one that fails is told of and does not keep the news from the rest."""
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - the screen must go on
            if self.problem is None:
                title = "A part of the screen was not drawn"
                self.update(problem=Problem(title, what=f"{type(error).__name__}: {error}"))

    def listen(self, callback: Callable[[], None], *names: str) -> None:
        """Call back after an ``update`` that changed one of these traits, and call now."""
        with self.lock:
            self._listeners.append((frozenset(names), callback))
            callback()

    # What the controls say

    @property
    def store(self) -> Store:
        """The store; raises StoreError where there can be none."""
        if self._store is None:
            self._store = Store()
        return self._store

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """What was typed as shapes of other dynamic axes; raises SpecError."""
        return shapes_from_text(self.shapes_text) if self.shapes_text.strip() else {}

    def setup(self, batch: int | None = None, **changes: Any) -> Setup:
        """Return the controls as a ``Setup``, for one batch; raises SpecError."""
        model = self.opened
        # Whole shapes hold the batch already.
        has_axis = model is not None and batch_axis(model.inputs) is not None and not self.shapes
        on_tensorrt = self.builder in TENSORRT
        asked: dict[str, Any] = {
            "precision": None if model and model.recipe != "fp32" else self.precision,
            "batches": tuple(self.batches) if has_axis and on_tensorrt else None,
            "batch": (batch or self.batches[1]) if has_axis else None,
            "shapes": self.shapes,
            "workspace_bytes": self.workspace_bytes if on_tensorrt else None,
            "tf32": True if self.tf32 and on_tensorrt else None,
            "builder": self.builder,
            "target": (self.target or None) if on_tensorrt else None,
            "runner": self.runner or None,
            "provider": self.provider,
            "streams": self.streams,
            "threads": self.threads,
            "calibration": self.calibration or None,
            "data": self.data or None,
            "quick": self.quick,
        }
        return Setup(**(asked | changes))

    def setups(self) -> tuple[Setup, ...]:
        """Return what *Build & measure* would make: one setup for each batch to measure."""
        first = self.setup()
        if first.batch is None:
            return (first,)
        return tuple(self.setup(batch) for batch in self.measure_at or (first.batch,))

    def differences(self) -> list[str]:
        """Say how the controls differ from the run that is shown; [] where they do not."""
        shown, model = self.selected, self.opened
        if shown is None or model is None:
            return ["nothing is built yet"]
        if shown.model.hash != model.hash:
            return [f"model {shown.model.name} → {model.name}"]
        try:
            wanted = self.setups()
        except TrtlabError as error:
            return [error.message]
        if shown.source == "recorded":
            return ["what is shown was recorded"]
        if shown.setup in wanted and shown.failure is None:
            return []
        return setup_changes(shown.setup, wanted[0]) or ["it failed before"]

    def known(self) -> Run | None:
        """Return the run that the controls ask for, from this session or the store."""
        if self.opened is None or self.recorded:
            return None
        try:
            setup = self.setups()[0]
            mine = [r for r in self.runs if r.failure is None and r.setup == setup]
            mine = [r for r in mine if r.source == "here"]
            mine = [r for r in mine if r.model.hash == self.opened.hash]
            return mine[-1] if mine else known_run(self.opened, setup, self.store)
        except TrtlabError:
            return None

    # Runs

    def add(self, *runs: Run, select: bool = True) -> None:
        """Take runs in, each once, and show the last one."""
        with self.lock:
            known = [self.same(run) for run in runs]
            new = tuple(r for r, k in zip(runs, known, strict=True) if k is None)
            last = known[-1] or runs[-1]
            self.update(
                runs=(*self.runs, *new), selected=last if select else self.selected or last
            )

    def numbered(self, number: str) -> Run | None:
        """Return the run with that number, or None."""
        at = int(number) if number.isdecimal() else 0
        return self.runs[at - 1] if 0 < at <= len(self.runs) else None

    def exchange(self, old: Run, new: Run) -> None:
        """Put a run in the place of another, wherever that is shown."""
        with self.lock:
            self.update(
                runs=tuple(new if run is old else run for run in self.runs),
                selected=new if self.selected is old else self.selected,
                baseline=new if self.baseline is old else self.baseline,
            )

    def same(self, run: Run) -> Run | None:
        """Return the run of this list that is that one."""
        return next((r for r in self.runs if r.line == run.line), None)

    def number(self, run: Run) -> int:
        """Return a run's number on this screen, from 1; 0 where it is not in the list."""
        return next((i for i, r in enumerate(self.runs, 1) if r is run), 0)

    def shown(self) -> tuple[Run, ...]:
        """Return the runs whose model is that of the selected run, as curves show them."""
        if self.selected is None:
            return ()
        wanted = self.selected.model.hash
        return tuple(r for r in self.runs if r.model.hash == wanted)

    def curves(self) -> tuple[WorkspaceCurve, ...]:
        """Return the workspace curves of the model that is open, in whatever precision."""
        wanted = self.opened.hash if self.opened else None
        if wanted is None and self.selected is not None:
            wanted = self.selected.model.hash
        return tuple(c for c in self.workspaces if wanted in (c.model.hash, c.model.parent))

    def fitting_curve(self) -> WorkspaceCurve | None:
        """Return the curve of engines such as the controls ask for, but for their limit."""
        try:
            setup = self.setup()
        except TrtlabError:
            return None
        recipe = self.opened.recipe if self.opened else self.precision
        wanted = setup.precision or recipe
        found = [c for c in self.curves() if c.model.recipe == wanted and fits(setup, c.config)]
        return found[-1] if found else None

    def take_graphs(self, graphs: Mapping[str, Graph]) -> None:
        """Remember the graphs of a bundle's models."""
        self.graphs.update(graphs)

    def fusion(self, run: Run, *, of_ran: bool = False) -> Fusion:
        """Return what became of the nodes in the built plan, or in the one that ran.

        Raises:
            PlanError: the plan does not say its layers.
        """
        plan = run.ran if of_ran else run.plan
        if plan is None:
            raise TrtlabError(f"There is no plan: {run.why_no('measurement')}.")
        # Runs that differ in how they were run share a plan, but not the times.
        key = (plan.hash, run.batch, id(run.profile))
        with self.lock:
            if key not in self._fusions:
                self._fusions[key] = self._fuse(run, plan)
            return self._fusions[key]

    def _fuse(self, run: Run, plan: Plan) -> Fusion:
        profile = run.profile if run.profile and run.profile.plan == plan.hash else None
        # A file may say what it likes of a graph: what was built here has its own.
        known = None if plan.model.hash is None else self.store.graph(plan.model.hash)
        graph = known or self.graphs.get(plan.model.hash or "")
        axis = batch_axis(plan.inputs)
        sizes = {axis: run.batch} if axis and run.batch else None
        if graph is not None:
            return fuse(plan, graph, profile=profile, sizes=sizes)
        return fusion(plan, profile=profile, sizes=sizes, store=self.store)


def setup_changes(old: Setup, new: Setup) -> list[str]:
    """Say in short words what differs between two setups."""

    def size(value: int | None) -> str:
        return "default" if value is None else text_from_bytes(value)

    def batches(value: tuple[int, int, int] | None) -> str:
        return "default" if value is None else " · ".join(map(str, value))

    words: dict[str, tuple[str, Callable[[Any], str]]] = {
        "precision": ("", lambda p: (p or "as it is").upper()),
        "batches": ("batches ", batches),
        "batch": ("batch ", str),
        "workspace_bytes": ("workspace ", size),
        "builder": ("", str),
        "target": ("", lambda v: v or "default target"),
        "runner": ("run with ", str),
        "quick": ("", lambda v: "quick" if v else "full windows"),
    }
    changes = []
    for name in Setup.__dataclass_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            lead, text = words.get(name, (f"{name} ", str))
            changes.append(f"{lead}{text(before)} → {text(after)}")
    return changes
