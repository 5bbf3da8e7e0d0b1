"""Which backend *auto* takes: the first that can do the job here."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from typing import Literal

from trtlab import worker
from trtlab.backends import base
from trtlab.backends.base import Abilities, Ability, BackendStatus
from trtlab.environment import gpu_state
from trtlab.errors import BackendUnavailableError, TrtlabError
from trtlab.spec import TENSORRT
from trtlab.worker import Progress

_ASK_SECONDS = 60


def backend_for(what: Literal["build", "run"], names: Sequence[str] = base.NAMES) -> str:
    """Return the first of ``names`` that can build, or run, FP32 here.

    Raises:
        BackendUnavailableError: none can; it says why each cannot.
    """
    reasons = []
    hint = ""
    for name in names:
        if what == "run" and name in TENSORRT and not gpu_state().usable:
            reasons.append(f"{name}: {gpu_state().reason}")  # known without starting a worker
            continue
        ability = getattr(status_of(name).abilities["fp32"], what)
        if ability.can:
            return name
        reasons.append(f"{name}: {ability.reason}")
        hint = ability.hint
    raise BackendUnavailableError(
        f"No backend can {what} this here. {' '.join(reasons)}",
        hint=hint or "trtlab doctor says what each backend needs.",
    )


@functools.cache
def status_of(name: str) -> BackendStatus:
    """Return what a backend can do here, asked once in this process. Never raises."""
    if name in TENSORRT and importlib.util.find_spec(name) is None:
        # The common case, answered without a worker.
        return _unusable(name, f"{name} is not installed.", f"pip install -e '.[{_EXTRA[name]}]'")
    try:
        return worker.run(_status_job, name, timeout=_ASK_SECONDS).result
    except TrtlabError as error:
        return _unusable(name, error.message, error.hint)


_EXTRA = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}


def _unusable(name: str, reason: str, hint: str) -> BackendStatus:
    no = Ability(False, reason, hint)
    return BackendStatus(name, None, (), no, {"fp32": Abilities(no, no)})


def _status_job(name: str, progress: Progress) -> BackendStatus:
    progress("ask", 0, 1)
    return base.backend(name).status()
