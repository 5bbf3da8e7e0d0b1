"""Progress of a build, from ``IProgressMonitor``'s nested phases."""

from __future__ import annotations

from dataclasses import dataclass

from trtlab.backends.tensorrt import bindings as api
from trtlab.worker import Progress


@dataclass(slots=True)
class _Phase:
    parent: str | None
    total: int
    done: int = 0


class Phases:
    """The phases that are running, outermost first, as one line: ``Building engine 2/6 › …``."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._running: dict[str, _Phase] = {}

    def start(self, name: str, parent: str | None, total: int) -> None:
        """A phase begins inside ``parent``."""
        self._running[name] = _Phase(parent, total)
        self._tell()

    def step(self, name: str, step: int) -> None:
        """A step, counted from 0, is done."""
        if name in self._running:
            self._running[name].done = step + 1
            self._tell()

    def finish(self, name: str) -> None:
        """A phase ends."""
        self._running.pop(name, None)
        self._tell()

    def _tell(self) -> None:
        if not self._running:
            return
        # The one that began last is the innermost; its parents may be phases unknown to us.
        name = next(reversed(self._running))
        innermost = self._running[name]
        words = [name]
        parent = innermost.parent
        while parent in self._running and len(words) < 10:
            above = self._running[parent]
            words.append(f"{parent} {above.done}/{above.total}")
            parent = above.parent
        self._progress(" › ".join(reversed(words)), innermost.done, innermost.total)


def make_monitor(trt: api.Module, progress: Progress) -> api.ProgressMonitor:
    """Return an ``IProgressMonitor`` of this module that reports to ``progress``."""
    phases = Phases(progress)

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, int(num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, int(step))
            return True  # False would cancel; here a job is cancelled by ending its process

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()
