"""What every record has: where it was made, and which model it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trtlab.errors import TrtlabError
from trtlab.model.types import Model
from trtlab.spec import Caveat
from trtlab.units import N_A

SCHEMA_VERSION = 1
"""Version of the record files. A reader refuses a newer one."""

UNKNOWN_RECIPE = "precision not known"
"""The recipe of a model of which only other tools' files tell."""

Source = Literal["here", "recorded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What makes two runs comparable; None is what is not known.

    trtlab knows all of its own machine but GPU and load. Of other tools' files it knows what they
    tell, which is never more than GPU, driver and the version of TensorRT.

    Attributes:
        machine: Stable identity of the machine: a hash, so that no host name leaves it.
        cpu: Processor model; ``cores`` this process may use; ``memory_bytes`` installed.
        gpu: Name of the GPU that ran, or None.
        driver: Version of its driver, or None.
        packages: Versions of what took part.
        created: UTC time, ISO 8601.
        load_average: One-minute load average before the work began.
    """

    machine: str | None = None
    cpu: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    os: str | None = None
    python: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    created: str | None = None
    gpu: str | None = None
    driver: str | None = None
    load_average: float | None = None


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which model a record is about, without needing its file.

    Other tools' files tell no ``hash``, and as ``recipe`` at most the precisions that the builder
    might choose from; what they do not tell is None and ``UNKNOWN_RECIPE``.
    """

    name: str
    hash: str | None
    recipe: str
    parent: str | None = None

    @classmethod
    def of(cls, model: Model) -> ModelRef:
        """Return the reference to ``model``."""
        return cls(model.name, model.hash, model.recipe, model.parent)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a point has no result; ``kind`` is the error's, such as ``unsupported``."""

    kind: str
    message: str
    hint: str

    @classmethod
    def of(cls, error: TrtlabError) -> Failure:
        """Return what a record keeps of an error."""
        return cls(error.kind, error.message, error.hint)


def source_rows(source: Source, environment: Environment) -> list[tuple[str, str]]:
    """Return the row that says where and when a record was made."""
    e = environment
    where = [e.cpu, None if e.cores is None else f"{e.cores} cores", e.gpu]
    when = None if e.created is None else f"{e.created[:16].replace('T', ' ')} UTC"
    if e.created is None and e.cpu is None:
        where += [f"{name} {version}" for name, version in e.packages.items()]
        when = None if any(where) else f"{N_A}: the files tell no machine and no time"
    words = ["here" if source == "here" else "recorded", when, *where]
    return [("made", ", ".join(word for word in words if word))]


def caveat_rows(caveats: Sequence[Caveat]) -> list[tuple[str, str]]:
    """Return a row for each caveat."""
    return [(f"caveat: {c.kind}", f"{c.message} → {c.hint}") for c in caveats]
