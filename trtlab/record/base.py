"""What every record has: how it shows itself, where it was made, which model it is about."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trtlab.model.types import Model
from trtlab.spec import Caveat

SCHEMA_VERSION = 1
"""Version of the record files. A reader refuses a newer one."""

Source = Literal["here", "recorded"]


class Shown:
    """A record that shows itself as text and small HTML, both built from ``rows()`` alone."""

    __slots__ = ()

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        raise NotImplementedError

    def __repr__(self) -> str:
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th scope='row' style='text-align:left'>{html.escape(label)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for label, text in self.rows()
        )
        return f"<table class='trtlab-record'>{cells}</table>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What makes two runs comparable.

    Attributes:
        machine: Stable identity of the machine: a hash, so that no host name leaves it.
        cpu: Processor model; ``cores`` this process may use; ``memory_bytes`` installed.
        gpu: Name of the GPU that ran, or None.
        driver: Version of its driver, or None.
        packages: Versions of what took part.
        created: UTC time, ISO 8601.
        load_average: One-minute load average before the work began, or None where unknown.
    """

    machine: str
    cpu: str
    cores: int
    memory_bytes: int
    os: str
    python: str
    packages: Mapping[str, str]
    created: str
    gpu: str | None = None
    driver: str | None = None
    load_average: float | None = None


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which model a record is about, without needing its file."""

    name: str
    hash: str
    recipe: str
    parent: str | None = None

    @classmethod
    def of(cls, model: Model) -> ModelRef:
        """Return the reference to ``model``."""
        return cls(model.name, model.hash, model.recipe, model.parent)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a point has no result. ``kind`` is the error's class name."""

    kind: str
    message: str
    hint: str


def source_rows(source: Source, environment: Environment) -> list[tuple[str, str]]:
    """Return the row that says where and when a record was made."""
    where = f"{environment.cpu}, {environment.cores} cores"
    where += f", {environment.gpu}" if environment.gpu else ""
    when = environment.created[:16].replace("T", " ")
    return [("made", f"{'here' if source == 'here' else 'recorded'}, {when} UTC, {where}")]


def caveat_rows(caveats: Sequence[Caveat]) -> list[tuple[str, str]]:
    """Return a row for each caveat."""
    return [(f"caveat: {c.kind}", f"{c.message} → {c.hint}") for c in caveats]
