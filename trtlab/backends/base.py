"""The protocols that every backend keeps, and how to get one by name.

Protocols rather than base classes: a backend shares no code with another, only the questions it
is asked. Everything here but ``names`` and ``backend`` is called inside a worker.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from trtlab.errors import SpecError
from trtlab.record import BuilderMemory, BuilderMessage, EngineLayer, LayerTiming, TimeKind
from trtlab.spec import BuildConfig, Caveat, RunConfig
from trtlab.worker import Progress

if TYPE_CHECKING:
    import numpy as np

NAMES = ("onnxruntime",)
"""The backends there are, in the order that *auto* tries them."""

Feeds = Mapping[str, "np.ndarray"]


@dataclass(frozen=True, slots=True)
class Ability:
    """Whether something can be done here; where not, the reason and what would help."""

    can: bool
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a backend can do here with a recipe: building and running apart."""

    build: Ability
    run: Ability


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What ``trtlab doctor`` shows of a backend: version, devices, abilities by recipe."""

    name: str
    version: str | None
    providers: tuple[str, ...]
    abilities: Mapping[str, Abilities]


@dataclass(frozen=True, slots=True)
class Built:
    """What a builder made: a plan file, and what it says about it.

    Attributes:
        seconds: Time inside parser and builder alone.
        timing_cache: A file with the tactics' timings to keep, or None.
    """

    file: str
    seconds: float
    layers: tuple[EngineLayer, ...] | None
    memory: BuilderMemory | None = None
    messages: tuple[BuilderMessage, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    timing_cache: str | None = None


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """Time per layer in each profiled run.

    Attributes:
        repacked_bytes: Weights that the backend copied into an order of its own.
        activations_bytes: Most that intermediate results took at once; bound outputs not counted.
    """

    kind: TimeKind
    layers: tuple[LayerTiming, ...]
    runs_ns: Sequence[int]
    repacked_bytes: int | None
    activations_bytes: int | None


@dataclass(frozen=True, slots=True)
class Bound:
    """One stream's call with its buffers bound beforehand.

    Attributes:
        output_bytes: Size of the outputs. Inputs are the caller's arrays, shared by all streams.
        first_call_ns: Binding runs the model once; this is what that took.
    """

    call: Callable[[], object]
    output_bytes: int
    first_call_ns: int


class Engine(Protocol):
    """A loaded plan. Leaving its context frees it."""

    provider: str
    """The execution provider that really runs it."""

    def bind(self, feeds: Feeds) -> Bound:
        """Copy inputs to their place, allocate outputs, and return the call that runs once."""
        ...

    def outputs(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Run once and return the outputs by name."""
        ...


class Backend(Protocol):
    """Builds plans, loads them, times their layers."""

    name: str

    def status(self) -> BackendStatus:
        """Say what can be done here, by trying to load the backend's library."""
        ...

    def build(self, model: Path, config: BuildConfig, folder: Path, progress: Progress) -> Built:
        """Build a plan file in ``folder``.

        Raises:
            BuildError, ParseError: the builder refused the model.
            BackendUnavailableError: the library or device is missing.
        """
        ...

    def messages(self, words: str) -> tuple[BuilderMessage, ...]:
        """Pick the builder's warnings out of what it wrote on stderr. Runs anywhere."""
        ...

    def load(
        self, plan: Path, config: BuildConfig, run: RunConfig
    ) -> AbstractContextManager[Engine]:
        """Load a plan for running.

        Raises:
            PlanError: the plan cannot be loaded here.
            BackendUnavailableError: the library or device is missing.
        """
        ...

    def layer_times(
        self,
        plan: Path,
        config: BuildConfig,
        run: RunConfig,
        feeds: Feeds,
        runs: int,
        progress: Progress,
    ) -> LayerTimes:
        """Profile ``runs`` runs of the plan, after a few to warm up."""
        ...


def backend(name: str) -> Backend:
    """Return the backend of that name.

    Raises:
        SpecError: there is none.
    """
    if name not in NAMES:
        raise SpecError(
            f"There is no backend called {name!r}.", hint=f"Choose one of {', '.join(NAMES)}."
        )
    # By name, so that backends may import this module without a cycle.
    made: Backend = importlib.import_module(f"trtlab.backends.{name}").Backend()
    return made
