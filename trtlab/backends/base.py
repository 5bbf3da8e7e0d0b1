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
from typing import TYPE_CHECKING, Protocol, cast

from trtlab.errors import SpecError, UnsupportedError
from trtlab.model.types import Tensor
from trtlab.record import BuilderMemory, BuilderMessage, EngineLayer, LayerTiming, TimeKind
from trtlab.spec import TENSORRT, BuildConfig, Caveat, RunConfig
from trtlab.worker import Progress

if TYPE_CHECKING:
    import numpy as np

NAMES = ("tensorrt", "tensorrt_rtx", "onnxruntime")
"""The backends there are, in the order that *auto* tries them."""

_MODULES = {
    "tensorrt": "trtlab.backends.tensorrt.backend",
    "tensorrt_rtx": "trtlab.backends.tensorrt.backend",
    "onnxruntime": "trtlab.backends.onnxruntime",
}

RECIPES = ("fp32", "fp16", "bf16", "int8", "fp8", "int8-weights", "int4-weights", "qdq")
"""The precision recipes that a backend is asked about."""

TIMING_CACHE = "timing.cache"
"""File in a job's folder with tactic timings: of earlier builds before, of this one after."""

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
    """What ``trtlab doctor`` shows of a backend.

    Attributes:
        targets: What it can build for: ``cpu``, ``cuda``; for TensorRT ``current``, ``sm89`` …
        inspect: Whether the layers of what it built can be listed here.
        abilities: Building and running, by recipe.
    """

    name: str
    version: str | None
    targets: tuple[str, ...]
    inspect: Ability
    abilities: Mapping[str, Abilities]


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a parser does not take a model.

    Attributes:
        index: Of the node in the graph, or -1 where it is about the whole model.
        node: Its name, which may be empty.
        while_importing: Importing a node ends at the first failure, so that later nodes were not
            looked at. False: its operator check, which looks at every node.
    """

    index: int
    node: str
    op: str
    reason: str
    hint: str
    while_importing: bool


@dataclass(frozen=True, slots=True)
class Defined:
    """What a network function defined; ``layers`` are their types and names."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    layers: tuple[str, ...]


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
        caveats: What one must know to read the times.
    """

    kind: TimeKind
    layers: tuple[LayerTiming, ...]
    runs_ns: Sequence[int]
    repacked_bytes: int | None
    activations_bytes: int | None
    caveats: tuple[Caveat, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceBytes:
    """What one stream needs on the GPU, in bytes; None where the backend does not say.

    Attributes:
        activations: Its execution context's memory, as the builder reports it.
        weights: The engine's weights, as the builder reports them; shared by all streams.
        io: Its buffers for inputs and outputs.
    """

    activations: int | None
    weights: int | None
    io: int


@dataclass(frozen=True, slots=True)
class Bound:
    """One stream's call with its buffers bound beforehand.

    Attributes:
        call: Runs once. A ``sampling.EventTimed`` one measures itself on the GPU.
        output_bytes: Size of the outputs. Inputs are the caller's arrays, shared by all streams.
        first_call_ns: Binding runs the model once; this is what that took.
        device_bytes: What it needs on the GPU, None where that is not known.
        caveats: What could not be done as asked.
    """

    call: Callable[[], object]
    output_bytes: int
    first_call_ns: int
    device_bytes: DeviceBytes | None = None
    caveats: tuple[Caveat, ...] = ()


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

    def ability(self, recipe: str, config: BuildConfig) -> Abilities:
        """Say whether a recipe can be built, and run in that precision. Loads nothing.

        Of recipes that are joined, ``int8+fp16``, all parts are wanted.
        """
        ...

    def build(
        self, model: Path, is_network: bool, config: BuildConfig, folder: Path, progress: Progress
    ) -> Built:
        """Build a plan file in ``folder``.

        Args:
            model: An ONNX file; with ``is_network`` the source text of a network function.
            is_network: Whether the caller gave a function instead of a model.
            config: The settings.
            folder: Where to write.
            progress: Called with phase, steps done and steps in all.

        Raises:
            SpecError, UnsupportedError: what is asked for cannot be done, found before building.
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


class NetworkBackend(Backend, Protocol):
    """A backend with a parser that can be asked, and a network definition API: TensorRT."""

    def rejections(self, model: Path, progress: Progress) -> tuple[Rejection, ...]:
        """Return what the parser says against a model; empty if it takes all of it.

        Raises:
            BackendUnavailableError: the library is missing.
        """
        ...

    def network_tensors(self, source: str) -> Defined:
        """Run a network function; return what it defines.

        Raises:
            BuildError: the function failed.
            BackendUnavailableError: the library is missing.
        """
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
    made: Backend = importlib.import_module(_MODULES[name]).Backend(name)
    return made


def network_backend(name: str) -> NetworkBackend:
    """Return the backend of that name if it is TensorRT.

    Raises:
        SpecError: there is no such backend.
        UnsupportedError: it is not TensorRT.
    """
    made = backend(name)
    if name not in TENSORRT:
        raise UnsupportedError(
            f"{name} does not say which nodes it supports, and takes no network functions.",
            hint=f"Choose backend {' or '.join(TENSORRT)}.",
        )
    return cast("NetworkBackend", made)
