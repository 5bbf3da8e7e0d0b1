"""Errors → what the screen says: what happened, why, and buttons that help."""

from __future__ import annotations

from trtlab.app.state import Action, Problem, State
from trtlab.errors import (
    ModelError,
    SpecError,
    StoreError,
    TrtlabError,
    WorkerCrashed,
    WorkspaceTooSmall,
)
from trtlab.units import text_from_bytes

_MIB = 2**20


def problem_of(error: TrtlabError, state: State) -> Problem:
    """Return what to show of an error."""
    if isinstance(error, WorkspaceTooSmall):
        return _workspace(error, state)
    if isinstance(error, WorkerCrashed):
        return Problem(
            "The work's process ended on its own",
            what=error.message,
            hint=error.hint,
            actions=(Action("Try again", "build"), *_smaller(state)),
            words=error.details,
        )
    if isinstance(error, ModelError):
        return Problem(
            "The model was not opened",
            what=error.message,
            hint=error.hint,
            words=error.details,
            field="source",
        )
    if isinstance(error, StoreError):
        return Problem(
            "The store cannot be used",
            what=error.message,
            hint=error.hint,
            actions=(Action("Save what is shown", "save", "bundle"),) if state.runs else (),
            words=error.details,
        )
    title, field = "That was not done", ""
    if isinstance(error, SpecError):
        title = "A setting does not fit"
        field = "shapes_text" if "axes without a size" in error.message else ""
    return Problem(title, what=error.message, hint=error.hint, words=error.details, field=field)


def unexpected(error: Exception) -> Problem:
    """Return what to show of an error that nobody foresaw."""
    return Problem(
        "Something unexpected failed",
        what=f"{type(error).__name__}: {error}",
        hint="Please report it. What was measured before is in the store.",
    )


def _workspace(error: WorkspaceTooSmall, state: State) -> Problem:
    limit = state.workspace_bytes
    asked = error.asked_bytes
    said = ""
    if asked is not None:
        said = f"The builder asked for {text_from_bytes(asked)} ({asked:,} bytes). "
    actions = []
    curve = state.fitting_curve()
    larger = curve.smallest_bytes if curve else None
    if limit is not None and (larger is None or larger <= limit):
        larger = max(32 * _MIB, 4 * limit)
    if larger is not None:
        label = f"Set workspace to {text_from_bytes(larger)} and build"
        actions.append(Action(label, "set-workspace-build", str(larger)))
    actions.append(Action("Search the smallest that builds", "search-workspace"))
    actions += _smaller(state)
    name = "" if limit is None else f" of {text_from_bytes(limit)}"
    return Problem(
        f"The engine was not built: the workspace limit{name} is too small",
        what=f"{said}Model {state.opened.name if state.opened else ''}, "
        f"{state.precision.upper()}, batch {' / '.join(map(str, state.batches))}.",
        why="A kernel that needs more scratch memory than the limit is left out, and for one "
        "part none was left. What the builder asks for is not the threshold: the smallest "
        "limit that builds is found by trying.",
        actions=tuple(actions),
        words=error.details,
        field="workspace_bytes",
        short="Too small for this model.",
    )


def _smaller(state: State) -> tuple[Action, ...]:
    smallest, _, largest = state.batches
    if largest <= max(1, smallest):
        return ()
    size = max(smallest, largest // 4)
    return (Action(f"Lower the largest batch to {size}", "set-largest", str(size)),)
