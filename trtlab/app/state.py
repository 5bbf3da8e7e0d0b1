"""What the workbench knows: one observable object that panels read and controls set.

Callbacks may come from any thread (ipykernel 7 moves them to subshells), and jobs run in one of
ours: every change goes through ``update``, which holds the lock while traits change.
"""

from __future__ import annotations

import threading
from typing import Any

import traitlets as t

from trtlab.errors import TrtlabError
from trtlab.record import Point, SweepResult
from trtlab.verbs.choose import backend_for
from trtlab.verbs.load import load
from trtlab.verbs.sweep import sweep


class State(t.HasTraits):
    """The settings chosen, the job running and the points that have come."""

    model = t.Unicode()
    batches = t.Tuple()
    streams = t.Tuple()
    quick = t.Bool(True)
    theme = t.Enum(["light", "dark"], default_value="light")
    busy = t.Bool(False)
    status = t.Unicode("Ready")
    error = t.Unicode("")
    wrong_fields = t.Tuple()
    done = t.Int(0)
    total = t.Int(0)
    points = t.Tuple()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._lock = threading.RLock()
        self._cancel = threading.Event()
        self._job: threading.Thread | None = None

    def update(self, **changes: Any) -> None:
        """Set several traits at once, from any thread."""
        with self._lock, self.hold_trait_notifications():
            for name, value in changes.items():
                setattr(self, name, value)

    @property
    def result(self) -> SweepResult:
        """The points so far, as a sweep."""
        return SweepResult(self.points)

    def start(self) -> None:
        """Begin the sweep in a thread of its own; does nothing while one runs."""
        with self._lock:
            if self.busy or self.wrong_fields:
                return
            self._cancel = threading.Event()
            total = max(1, len(self.batches)) * max(1, len(self.streams))
            self.update(busy=True, error="", points=(), done=0, total=total, status="Starting")
            self._job = threading.Thread(target=self._run, name="trtlab-sweep", daemon=True)
            self._job.start()

    def stop(self) -> None:
        """Ask the running job to stop; the points that are done stay."""
        self._cancel.set()

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the running job, for scripts and tests."""
        job = self._job
        if job is not None:
            job.join(timeout)

    def _run(self) -> None:
        try:
            model = load(self.model, progress=self._progress, cancel=self._cancel)
            result = sweep(
                model,
                backend=backend_for("run", cancel=self._cancel),
                batch=self.batches or None,
                streams=self.streams or 1,
                quick=self.quick,
                progress=self._progress,
                on_point=self._on_point,
                cancel=self._cancel,
            )
            status = (
                f"Stopped after {len(result.points)} of {self.total} points. They are kept."
                if result.stopped
                else f"Done: {len(result.points)} points"
            )
            self.update(busy=False, status=status)
        except TrtlabError as error:
            self.update(busy=False, status="Not measured", error=str(error))
        except Exception as error:  # noqa: BLE001 - a thread's traceback would reach nobody
            words = f"Something unexpected failed: {type(error).__name__}: {error}"
            self.update(busy=False, status="Not measured", error=words)

    def _progress(self, phase: str, done: int, total: int) -> None:
        steps = f" {done}/{total}" if total else ""
        self.update(
            status=f"Point {min(self.done + 1, self.total)} of {self.total}: {phase}{steps}"
        )

    def _on_point(self, done: int, total: int, point: Point) -> None:
        self.update(done=done, total=total, points=(*self.points, point))
