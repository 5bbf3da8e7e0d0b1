"""What the command line says on stderr: words without control characters, and progress."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trtlab.model.printing import printable
from trtlab.units import text_from_bytes

if TYPE_CHECKING:
    from trtlab.record import Point, WorkspacePoint


_BAR_ROOM = 34
"""Columns that counts, a short bar and the time take behind a phase's name."""


def say(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(harmless(text) + "\n")
    sys.stderr.flush()


def harmless(text: str) -> str:
    """Escape control characters: names in a model must not drive the terminal."""
    return printable(text, keep="\n")


class Bar:
    """Progress on stderr. On a terminal a line that ticks, from a second on; else finished points.

    Drawn from a thread of its own: a build can be silent for long, and time must still be seen
    to pass. A phase whose steps are not known shows elapsed time and no pretended share.
    """

    def __init__(self) -> None:
        self._began = self._phase_began = time.monotonic()
        self._state = ("", 0, 0)
        self._point = ""
        self._done = self._total = self._kept = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        if sys.stderr.isatty():
            self._thread.start()

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Take what a job reports."""
        if phase != self._state[0]:
            self._phase_began = time.monotonic()
        self._state = (phase, done, total)

    def on_point(self, done: int, total: int, point: Point) -> None:
        """Take a finished point of a sweep."""
        self._state = ("", 0, 0)
        self._done, self._total = done, total
        self._point = f"[{min(done + 1, total)}/{total}] "
        m = point.measurement
        self._kept += m is not None and not any(c.kind == "not-saved" for c in m.caveats)
        words = f"{m.median_ms:.3g} ms" if m else "built, not run"
        if point.failure is not None:
            words = f"failed: {point.failure.message}"
        elif m is None and point.plan is None:
            words = f"not timed, {point.accuracy_text()}"
        stored = ", from store" if point.from_store else ""
        recipe = point.model.recipe
        label = point.model.name + ("" if recipe == "fp32" else f" ({recipe})")
        batch = m.batch if m else point.run.batch
        if m is None and point.plan is not None and point.failure is None:
            limit = point.build.workspace_bytes
            label += f" for {point.build.target_text}"
            label += "" if limit is None else f", workspace {text_from_bytes(limit)}"
        elif batch is not None or m is not None:
            label += f", batch {batch}, streams {point.run.streams}"
        self._clear()
        say(f"[{done}/{total}] {label}: {words}{stored}")

    def on_limit(self, point: WorkspacePoint) -> None:
        """Take a finished build of a workspace curve."""
        outcome = "builds" if point.plan is not None else "fails"
        self._clear()
        say(f"workspace {point.limit_text}: {outcome}")

    def last_words(self) -> str:
        """Return how far a sweep came, or nothing when no point was finished."""
        if not self._done:
            return ""
        kept = {0: "None of them is kept.", 1: "1 of them is kept."}.get(
            self._kept, f"{self._kept} of them are kept."
        )
        if self._kept == self._done:
            kept = "It is kept." if self._done == 1 else f"The {self._done} are kept."
        return f"Stopped after {self._done} of {self._total} points. {kept}"

    def close(self) -> None:
        """Take the line off the screen."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
            self._clear()

    def _tick(self) -> None:
        from tqdm import tqdm

        while not self._stop.wait(0.2):
            phase, done, total = self._state
            room = max(20, shutil.get_terminal_size().columns - len(self._point) - _BAR_ROOM)
            if len(phase) > room:
                phase = f"…{phase[1 - room :]}"  # the innermost of nested phases stands last
            if not phase or time.monotonic() - self._began < 1:
                continue
            elapsed = time.monotonic() - self._phase_began
            columns = shutil.get_terminal_size().columns - 1
            if total:
                line = tqdm.format_meter(
                    done, total, elapsed, ncols=columns, prefix=self._point + phase,
                    bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {elapsed}",
                )  # fmt: skip
            else:
                line = f"{self._point}{phase}: {elapsed:.0f} s"
            sys.stderr.write(f"\r\x1b[K{line[:columns]}")
            sys.stderr.flush()

    def _clear(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextlib.contextmanager
def progress_line() -> Iterator[Bar]:
    """Show progress meanwhile; Ctrl-C goes on with words about what was finished."""
    bar = Bar()
    try:
        yield bar
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(bar.last_words()) from stop
    finally:
        bar.close()
