"""What the workbench does in the background: one queue, one thread, one job at a time.

Native work runs in workers (``trtlab.worker``), so the kernel stays usable and a job is stopped
by killing its worker. Every job ends in records or in a ``Problem``; none raises to nobody.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import Any

from trtlab.app.machine import Machine
from trtlab.app.problems import problem_of, unexpected
from trtlab.app.state import Bar, Job, Planned, State
from trtlab.errors import JobCancelled, ModelError, StoreError, TrtlabError
from trtlab.model.types import Model, batch_axis
from trtlab.record import Run
from trtlab.spec import TENSORRT, Setup
from trtlab.verbs.accuracy import accuracy
from trtlab.verbs.load import graph_of, load
from trtlab.verbs.run import (
    PARTS,
    failed_run,
    history,
    in_precision,
    known_run,
    origin_of,
    run_with,
    whole_run,
)
from trtlab.verbs.sweep import has_images
from trtlab.verbs.workspace import workspace

PART_WORDS = {
    "convert": "Convert",
    "build": "Build",
    "measure": "Measure",
    "layers": "Time per layer",
    "accuracy": "Accuracy",
}
LOG_LINES = 200
HISTORY = 50
"""How many earlier runs are listed: more would only slow the list down."""

_REST_SECONDS = 0.1
"""At least this long between two reports of progress: a page cannot show more."""


@dataclass(frozen=True, slots=True)
class _Queued:
    job: Callable[[], None]
    is_busy: bool


class Jobs:
    """Runs jobs for a state, one after the other.

    Args:
        state: What they read and write.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._queue: queue.Queue[_Queued | None] = queue.Queue()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._last_told = 0.0

    # Starting and ending

    def _submit(self, job: Callable[[], None], *, is_busy: bool = False) -> None:
        """Do a job after those that wait."""
        with self._state.lock:
            if self._closed:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="trtlab", daemon=True)
                self._thread.start()
            self._queue.put(_Queued(job, is_busy))

    def stop(self) -> None:
        """Stop the job that was accepted last, be it running or waiting; what it made stays.

        Without the state's lock: a panel that is being drawn must not hold it up.
        """
        self._cancel.set()

    def close(self) -> None:
        """Stop, forget what waits, and end the thread."""
        self._cancel.set()
        with self._state.lock:
            if not self._closed and self._thread is not None:
                self._queue.put(None)
            self._closed = True

    def wait(self) -> None:
        """Wait until nothing is left to do, for scripts and tests."""
        self._queue.join()

    def _work(self) -> None:
        while (queued := self._queue.get()) is not None:
            try:
                if not self._closed:
                    queued.job()
            except JobCancelled:
                self._state.update(status="Stopped")
            except TrtlabError as error:
                self._state.update(problem=problem_of(error, self._state), status="Failed")
            except Exception as error:  # noqa: BLE001 - a thread's traceback would reach nobody
                self._state.update(problem=unexpected(error), status="Failed")
            finally:
                if queued.is_busy:
                    self._state.update(busy=False)
                self._queue.task_done()
        self._queue.task_done()

    def _begin(self, title: str, points: Sequence[Planned] = (), expected: Any = None) -> None:
        self._say(title)
        job = Job(title, time.monotonic(), (), expected)
        self._state.update(
            busy=True,
            job=job,
            job_title=title,
            job_points=tuple(points),
            status=title,
            problem=None,
            sweeping=False,
        )

    def _say(self, text: str) -> None:
        line = f"{datetime.now():%H:%M:%S} {text}"
        self._state.update(log=(*self._state.log, line)[-LOG_LINES:])

    # Jobs

    def open(self, source: str | Model) -> None:
        """Open a model: its IO tensors, its graph, what the store has of it."""
        self._busy_job(lambda: self._open(source))

    def open_and_measure(self, source: str) -> None:
        """Open a model, and make the runs that the controls ask for."""

        def both() -> None:
            self._open(source)
            self._measure(self._state.setups())

        self._busy_job(both)

    def measure(self, setups: Sequence[Setup]) -> None:
        """Make a run of each setup."""
        self._busy_job(lambda: self._measure(setups))

    def search_workspace(self) -> None:
        """Find the smallest workspace limit that builds."""
        self._busy_job(self._search_workspace)

    def find_node_errors(self, run: Run) -> None:
        """Find where the error of a precision enters."""
        self._busy_job(lambda: self._find_node_errors(run))

    def _busy_job(self, job: Callable[[], None]) -> None:
        state = self._state
        with state.lock:
            if state.busy or self._closed:
                return
            # Its own from the moment that it is accepted: a Stop before it begins counts.
            self._cancel = threading.Event()
            state.update(busy=True, job=None, job_points=(), job_title="Starting")
            self._submit(job, is_busy=True)

    def _open(self, source: str | Model) -> None:
        state = self._state
        self._begin(f"Opening {source.name if isinstance(source, Model) else source}")
        if state.machine is None:
            self._ask_machine()
        model = load(source, store=state.store, progress=self._progress, cancel=self._cancel)
        graph = graph_of(model, state.store) if model.source == "onnx" else None
        changes = controls_for(model, state)
        if state.selected is not None and state.selected.model.hash != model.hash:
            # A run of another model must not stand below this one's name.
            changes |= {"selected": None, "baseline": None}
        state.update(
            opened=model,
            graph=graph,
            recorded="",
            source=origin_of(model),
            status="Ready",
            **changes,
        )
        self._list_history()
        known = state.known()
        if known is not None:
            state.add(known)

    def look(self) -> None:
        """Ask what this machine can do, and what the store has."""
        self._submit(self._ask_machine)
        self.list_history()

    def list_history(self) -> None:
        """List the earlier runs of the store."""
        self._submit(self._list_history)

    def _ask_machine(self) -> None:
        machine = Machine.ask()
        state = self._state
        if state.recorded:  # the controls say what was recorded
            state.update(machine=machine)
            return
        # A builder that was chosen stays, where it can be had here.
        first = next(iter(machine.builders), "onnxruntime")
        builder = state.builder if state.builder in machine.builders else first
        state.update(
            machine=machine,
            builder=builder,
            target=state.target
            if state.target in machine.targets(builder)
            else default_target(machine, builder),
            runner=state.runner
            if state.runner in machine.runners(builder)
            else next(iter(machine.runners(builder)), ""),
        )

    def _list_history(self) -> None:
        state = self._state
        try:
            state.update(history=tuple(history(state.store, HISTORY)))
        except StoreError as error:
            state.update(problem=problem_of(error, state))

    def recall(self, index: int) -> None:
        """Show an earlier run of the store."""
        state = self._state
        if not 0 <= index < len(state.history):
            return
        found = whole_run(state.history[index], state.store)
        if found is None:
            self._say("That run's records are gone from the store")
            state.update(status="That run's records are gone from the store")
            return
        state.add(replace(found, from_store=True))

    def _measure(self, setups: Sequence[Setup]) -> None:
        state = self._state
        model = state.opened
        if model is None:
            return
        points = [Planned(setup) for setup in setups]
        what = f"{len(setups)} points" if len(setups) > 1 else _words(setups[0])
        self._begin(f"Building {what}", points, self._expected(model, setups))
        done = 0
        last_error: TrtlabError | None = None
        for index, setup in enumerate(setups):
            if self._cancel.is_set():
                break
            run = known_run(model, setup, state.store)
            if run is not None:
                self._settle(points, index, Planned(setup, "store", run))
                done += 1
                continue
            self._settle(points, index, Planned(setup, "running"))
            try:
                run = self._one(model, setup, index, len(setups))
            except JobCancelled:
                self._settle(points, index, Planned(setup))
                break
            except TrtlabError as error:
                last_error = error
                self._say(f"{_words(setup)}: {error.message}")
                failed = failed_run(model, setup, error, state.store)
                self._settle(points, index, Planned(setup, "failed", failed))
                if len(setups) == 1:
                    state.update(
                        problem=problem_of(error, state),
                        status="Not built",
                        runs=(*state.runs, failed),
                    )
                    return
                continue
            self._settle(points, index, Planned(setup, "done", run))
            done += 1
        failed_count = sum(p.state == "failed" for p in points)
        if last_error is not None and done == 0:
            state.update(problem=problem_of(last_error, state))
        if self._cancel.is_set() and not done:
            status = "Stopped before the first point"
        elif self._cancel.is_set():
            status = f"Stopped after {done} of {len(points)} points. They are kept."
        elif failed_count:
            status = f"Done: {done} points, {failed_count} failed"
        else:
            status = "Ready"
        self._say(status if status != "Ready" else f"Done: {what}")
        state.update(status=status)
        self._list_history()

    def _one(self, model: Model, setup: Setup, index: int, count: int) -> Run:
        part = ["build"]

        def on_part(name: str) -> None:
            part[0] = name
            self._say(f"{_words(setup)}: {PART_WORDS[name].lower()}")
            tell("", 0, 0)

        def tell(phase: str, done: int, total: int) -> None:
            at = PARTS.index(part[0])
            bars = (
                *((Bar("Sweep", index, count, f"{index} done of {count}"),) * (count > 1)),
                Bar(_words(setup), at, len(PARTS), f"part {at + 1} of {len(PARTS)}"),
                Bar(PART_WORDS[part[0]]),
            )
            if phase:
                step = Bar(phase, done, total, f"{done} of {total}" if total else "")
                # A step that is called as its part is that part: it says how far it is.
                is_part = phase.casefold() == bars[-1].label.casefold()
                bars = (*(bars[:-1] if is_part else bars), step)
            self._tell(bars, force=not phase)

        return run_with(
            model,
            setup,
            store=self._state.store,
            progress=tell,
            on_part=on_part,
            cancel=self._cancel,
        )

    def _settle(self, points: list[Planned], index: int, point: Planned) -> None:
        """Write down what became of a point, and show its run."""
        points[index] = point
        state = self._state
        with state.lock:
            title = state.job_title
            if len(points) > 1:
                title = f"Point {index + 1} of {len(points)}: {_words(point.setup)}"
            state.update(job_points=tuple(points), job_title=title, status=title)
            if point.run is not None and point.state != "failed":
                state.add(point.run)
            elif point.run is not None and len(points) > 1:
                state.update(runs=(*state.runs, point.run))

    def _search_workspace(self) -> None:
        state = self._state
        model = state.opened
        self._begin("Searching the smallest workspace that builds")
        if model is None:
            return
        setup = state.setup()
        made = in_precision(model, setup, self._calls())
        curve = workspace(
            made,
            backend=setup.builder,
            target=setup.target,
            batch=setup.batches,
            shapes=setup.shapes or None,
            quick=True,
            store=state.store,
            progress=self._progress,
            cancel=self._cancel,
        )
        others = tuple(c for c in state.workspaces if c.model.hash != curve.model.hash)
        state.update(workspaces=(*others, curve), status="Ready")

    def _calls(self) -> dict[str, Any]:
        """What every verb is called with."""
        return {
            "store": self._state.store,
            "progress": self._progress,
            "cancel": self._cancel,
        }

    def _find_node_errors(self, run: Run) -> None:
        state = self._state
        self._begin("Finding where the error enters")
        # The same subject and data as before, so that the rest of the record stays as it is.
        ran = run.ran if run.ran and run.ran.config.backend not in TENSORRT else None
        model = load(run.line.origin, **self._calls())
        if model.hash != run.model.hash:
            raise ModelError(
                f"{model.path} is another model than the one that was run.",
                hint="Open it and build it: that is a run of its own.",
            )
        found = accuracy(
            ran or in_precision(model, run.setup, self._calls()),
            run.setup.data,
            provider=run.setup.provider,
            per_node=True,
            store=state.store,
            progress=self._progress,
            cancel=self._cancel,
        )
        state.exchange(run, replace(run, accuracy=found))
        state.update(status="Ready")

    # Progress

    def _progress(self, phase: str, done: int, total: int) -> None:
        note = f"{done} of {total}" if total else ""
        self._tell((Bar(phase, done, total, note),))

    def _tell(self, bars: tuple[Bar, ...], *, force: bool = False) -> None:
        now = time.monotonic()
        state = self._state
        if (force or now - self._last_told >= _REST_SECONDS) and state.job is not None:
            self._last_told = now
            state.update(job=replace(state.job, bars=bars))

    def _expected(self, model: Model, setups: Sequence[Setup]) -> float | None:
        """Return the seconds that these runs will take, from those of this model made before."""
        new = [s for s in setups if known_run(model, s, self._state.store) is None]
        each = expected_seconds(self._state, model)
        return None if each is None else each * len(new)


def expected_seconds(state: State, model: Model) -> float | None:
    """Return what one new run of a model took in the median, None where none was timed."""
    lines = [run.line for run in state.runs] + list(state.history)
    took = [
        line.seconds
        for line in lines
        if line.seconds and line.model.hash == model.hash and line.setup.quick == state.quick
    ]
    return median(took) if took else None


def default_target(machine: Machine, builder: str) -> str:
    """Return the GPU here, or without one the target that ``build`` takes; "" for none."""
    targets = machine.targets(builder)
    if not targets or "current" in targets:
        return "current" if targets else ""
    return "sm89" if "sm89" in targets else targets[0]


def asked_precision(model: Model, state: State) -> str:
    """Return the precision that stays chosen: a model that arrives in another one has its own."""
    before = state.opened
    if model.recipe != "fp32":
        return model.recipe
    return state.precision if before is None or before.recipe == "fp32" else "fp32"


def controls_for(model: Model, state: State) -> dict[str, Any]:
    """Return the controls that fit a model that was just opened."""
    has_axis = batch_axis(model.inputs) is not None
    return {
        "precision": asked_precision(model, state),
        "batches": state.batches if has_axis else (1, 1, 1),
        "calibration": "" if has_images(model) else state.calibration or "random",
        "layer": "",
        "wrong": {},
        "problem": None,
    }


def _words(setup: Setup) -> str:
    name = (setup.precision or "as it is").upper()
    return name if setup.batch is None else f"{name}, batch {setup.batch}"
