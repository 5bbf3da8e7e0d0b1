"""Which backend *auto* takes: the first that can do the job here."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from typing import Literal

from trtlab import worker
from trtlab.backends import base
from trtlab.backends.base import RECIPES, Abilities, Ability, BackendStatus
from trtlab.backends.tensorrt.reasons import why_missing
from trtlab.environment import gpu_state
from trtlab.errors import BackendUnavailableError, JobCancelled, TrtlabError
from trtlab.spec import TENSORRT
from trtlab.worker import Progress

_ASK_SECONDS = 60
_known: dict[str, BackendStatus] = {}
"""What was asked in this process before. Failures are asked again: they may pass."""


def backend_for(
    what: Literal["build", "run"],
    names: Sequence[str] = base.NAMES,
    cancel: threading.Event | None = None,
) -> str:
    """Return the first of ``names`` that can build, or run, FP32 here.

    Raises:
        BackendUnavailableError: none can; it says why each cannot.
        JobCancelled: ``cancel`` was set meanwhile.
    """
    reasons = []
    hint = ""
    for name in names:
        if what == "run" and name in TENSORRT and not gpu_state().usable:
            # Known without starting a worker.
            ability = Ability(False, f"{gpu_state().reason}.", "trtlab doctor says more.")
        else:
            ability = getattr(status_of(name, cancel).abilities["fp32"], what)
        if ability.can:
            return name
        reasons.append(f"{name}: {ability.reason.rstrip('.')}")
        hint = ability.hint
    raise BackendUnavailableError(
        f"No backend can {what} this here ({'; '.join(reasons)}).", hint=hint
    )


def status_of(name: str, cancel: threading.Event | None = None) -> BackendStatus:
    """Return what a backend can do here. It raises nothing but JobCancelled."""
    if name in _known:
        return _known[name]
    if name in TENSORRT and importlib.util.find_spec(name) is None:
        # The common case, answered without a worker.
        return _unusable(name, *why_missing(name))
    try:
        status = worker.run(_status_job, name, cancel=cancel, timeout=_ASK_SECONDS).result
    except JobCancelled:
        raise
    except TrtlabError as error:
        return _unusable(name, error.message, error.hint)
    if status.version is not None:
        _known[name] = status
    return status


def _unusable(name: str, reason: str, hint: str) -> BackendStatus:
    no = Ability(False, reason, hint)
    return BackendStatus(name, None, (), no, {recipe: Abilities(no, no) for recipe in RECIPES})


def _status_job(name: str, progress: Progress) -> BackendStatus:
    progress("ask", 0, 1)
    return base.backend(name).status()
