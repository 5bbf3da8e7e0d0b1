"""The error tree. Every error a user can meet is one of these.

TrtlabError                 what happened and where; ``hint`` says what to do
├── SpecError               a setting is wrong or does not fit the model
├── ModelError              the model file cannot be used
├── BackendUnavailableError the backend's package or device is missing here
├── UnsupportedError        asked for something that this backend cannot do
├── BuildError              the build failed
│   ├── ParseError          the backend does not accept the model
│   └── WorkspaceTooSmall   TensorRT's workspace limit is below what it needs
├── PlanError               a plan cannot be loaded here
├── ExecutionError          a job failed while running
│   ├── WorkerCrashed       the worker process ended on its own
│   ├── JobTimeout          the job took longer than allowed
│   └── JobCancelled        somebody stopped it
├── MismatchError           two records that must not be compared or joined
├── RecordError             a record file cannot be read
└── StoreError              the store cannot be read or written (disk, rights, schema)
"""

from __future__ import annotations

import re
from typing import ClassVar


class TrtlabError(Exception):
    """Base of all errors a user can meet.

    Args:
        message: What happened and where, with the values at fault.
        hint: What to do about it, or an empty string when nothing is known to help.
        details: Longer text for whoever digs (a worker's last words), never shown unasked.
    """

    kind: ClassVar[str] = "error"
    """Its kind in one word, as records and JSON name it."""

    def __init__(self, message: str, *, hint: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


class SpecError(TrtlabError):
    """A setting is wrong, or does not fit the model."""

    kind = "spec"


class ModelError(TrtlabError):
    """The model file cannot be used."""

    kind = "model"


class BackendUnavailableError(TrtlabError):
    """The backend's package or device is missing here."""

    kind = "unavailable"


class UnsupportedError(TrtlabError):
    """The backend cannot do what was asked."""

    kind = "unsupported"


class BuildError(TrtlabError):
    """The build failed."""

    kind = "build"


class ParseError(BuildError):
    """The backend does not accept the model."""

    kind = "parse"


class WorkspaceTooSmall(BuildError):  # noqa: N818 - the name says what happened
    """TensorRT's workspace limit is below what it needs."""

    kind = "workspace"

    @property
    def asked_bytes(self) -> int | None:
        """What TensorRT asked for, None if it did not say."""
        found = re.search(r"Requested size was (\d+) bytes", self.details)
        return int(found[1]) if found else None


class PlanError(TrtlabError):
    """A plan cannot be loaded here."""

    kind = "plan"


class ExecutionError(TrtlabError):
    """A job failed while running."""

    kind = "execution"


class WorkerCrashed(ExecutionError):  # noqa: N818 - the name says what happened
    """The worker process ended on its own."""

    kind = "crashed"


class JobTimeout(ExecutionError):  # noqa: N818 - the name says what happened
    """The job took longer than allowed and was stopped."""

    kind = "timeout"


class JobCancelled(ExecutionError):  # noqa: N818 - the name says what happened
    """Somebody stopped the job."""

    kind = "cancelled"


class MismatchError(TrtlabError):
    """Two records that must not be compared or joined."""

    kind = "mismatch"


class RecordError(TrtlabError):
    """A record file cannot be read."""

    kind = "record"


class StoreError(TrtlabError):
    """The store cannot be read or written: disk, rights, or a newer schema."""

    kind = "store"


def _tree(root: type[TrtlabError]) -> dict[str, type[TrtlabError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


ERRORS_BY_NAME: dict[str, type[TrtlabError]] = _tree(TrtlabError)
"""Every error class by its name: how an error crosses the worker's pipe."""

ERRORS_BY_KIND: dict[str, type[TrtlabError]] = {e.kind: e for e in ERRORS_BY_NAME.values()}
"""Every error class by its kind."""

WRONG_INPUT: tuple[type[TrtlabError], ...] = (
    SpecError,
    ModelError,
    UnsupportedError,
    BackendUnavailableError,
    ParseError,
    PlanError,
    MismatchError,
    RecordError,
)
"""Errors that end the command line with 2 (wrong input or usage); all others end it with 1."""
