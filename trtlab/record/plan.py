"""``Plan``: what a builder made of a model, as it reports it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trtlab.model.types import Dim, Tensor
from trtlab.record.base import (
    Environment,
    ModelRef,
    Source,
    caveat_rows,
    source_rows,
)
from trtlab.shown import Shown
from trtlab.spec import BuildConfig, Caveat
from trtlab.units import (
    N_A,
    text_from_bytes,
    text_from_file_size,
    text_from_ms,
    text_from_shape,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class LayerTensor:
    """A tensor that a layer reads or writes, as the builder reports it.

    Attributes:
        dtype: As NumPy or ml_dtypes names it (``float32``, ``bfloat16``, ``int8``); None if not
            said.
        shape: None when not said; a dimension is None where it is dynamic.
        format: The memory layout in the builder's words, such as ``Row major linear format``.
        strides: In elements, None if not said.
        location: ``Device`` or ``Host``, None if not said.
        is_constant: Whether it is a weight.
    """

    name: str
    dtype: str | None
    shape: tuple[Dim, ...] | None
    format: str | None = None
    strides: tuple[int, ...] | None = None
    location: str | None = None
    is_constant: bool = False

    @classmethod
    def of(cls, tensor: Tensor) -> LayerTensor:
        """Return what is known of a model's tensor."""
        return cls(tensor.name, tensor.dtype, tensor.shape, is_constant=tensor.is_constant)


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """One layer of a plan, as the builder reports it.

    Attributes:
        type: Operator (ONNX Runtime) or layer type (TensorRT); ``unread`` where the builder's
            text about it was not understood: that text is in ``details``.
        domain: Domain of the operator (ONNX Runtime).
        constants: Weights it holds.
        nodes: Names of ONNX nodes that the builder says it came from.
        tactic: Name of the kernel, None if not said (TensorRT-RTX chooses it at run time).
        stream: Number of the stream it runs on.
        event: Number of the event that it signals or waits for.
        details: What else the builder says, by its own keys; values as JSON text.
    """

    name: str
    type: str
    inputs: tuple[LayerTensor, ...]
    outputs: tuple[LayerTensor, ...]
    domain: str = ""
    constants: tuple[LayerTensor, ...] = ()
    nodes: tuple[str, ...] = ()
    tactic: str | None = None
    stream: int | None = None
    event: int | None = None
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderMemory:
    """What the builder says an engine will take, in bytes. Nothing ran; None if not said.

    Scratch lies inside activation, or is it where the whole network is one layer to the
    allocator: never add the two.
    """

    activation: int | None = None
    scratch: int | None = None
    weights: int | None = None
    host_persistent: int | None = None
    device_persistent: int | None = None


Severity = Literal["internal-error", "error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class BuilderMessage:
    """Something the builder said."""

    severity: Severity
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan(Shown):
    """A built plan: its bytes lie in the store under ``hash``.

    One that was read from other tools' files has no bytes: it cannot be run, only looked at. Of
    its ``config`` no more is known than ``backend``, ``target`` and ``profiling_verbosity``.

    Attributes:
        hash: SHA-256 (hex) of the plan's bytes; without them, of its layers as they were read.
        model_path: The model's file; None if it is not known.
        inputs: Its IO tensors, and ``outputs``. Files that name layers alone tell none.
        build_seconds: Time inside parser and builder (ONNX Runtime: session creation and dump);
            None if not known.
        plan_bytes: Size of the plan; None where there are no bytes.
        layers: What the builder made of the model; None when it does not say.
        memory: What the builder says the engine will take; None when it does not say.
        messages: What the builder said, as it worded it, without harmless noise.
        peak_rss_bytes: Peak resident memory of the building process, None where unknown.
    """

    hash: str
    model: ModelRef
    model_path: str | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weight_bytes: int | None
    model_source: Literal["onnx", "network"] = "onnx"
    config: BuildConfig
    build_seconds: float | None
    plan_bytes: int | None
    layers: tuple[EngineLayer, ...] | None
    memory: BuilderMemory | None
    messages: tuple[BuilderMessage, ...]
    peak_rss_bytes: int | None
    environment: Environment
    caveats: tuple[Caveat, ...] = ()
    source: Source = "here"
    kind: ClassVar[str] = "plan"

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        return [
            (
                "plan",
                f"{self.model.name} ({self.model.recipe}) by {self.config.backend} "
                f"for {self.target_text}",
            ),
            *self._shape_rows(),
            ("size", self._size_text()),
            ("layers", self._layers_text()),
            *self._memory_rows(),
            *self._build_rows(),
            *self._message_rows(),
            *source_rows(self.source, self.environment),
            *caveat_rows(self.caveats),
        ]

    @property
    def target_text(self) -> str:
        """What it is for: ``sm89``, ``cpu``; of a recorded one *current* is its machine's GPU."""
        target = self.config.target_text
        if self.source == "recorded" and target == "current":
            return self.environment.gpu or "a GPU that is not named"
        return target

    @property
    def streams(self) -> int | None:
        """How many streams the layers run on; None if the builder does not say."""
        found = {layer.stream for layer in self.layers or () if layer.stream is not None}
        return len(found) or None

    @property
    def warnings(self) -> tuple[BuilderMessage, ...]:
        """What the builder said that is more than information."""
        return tuple(m for m in self.messages if m.severity != "info")

    def _shape_rows(self) -> list[tuple[str, str]]:
        rows = []
        for index, profile in enumerate(self.config.profiles):
            label = "shapes" if len(self.config.profiles) == 1 else f"shapes, profile {index}"
            ranges = (
                f"{name} " + " ≤ ".join(text_from_shape(shape) for shape in shapes)
                for name, shapes in profile.items()
            )
            rows.append((label, "; ".join(ranges)))
        if self.config.workspace_bytes is not None:
            rows.append(("workspace limit", text_from_bytes(self.config.workspace_bytes)))
        return rows

    def _size_text(self) -> str:
        if self.plan_bytes is None:
            return f"{N_A}: only files that tell of the plan were read, so it cannot be run"
        return f"{text_from_file_size(self.plan_bytes)} (builder)"

    def _build_rows(self) -> list[tuple[str, str]]:
        if self.build_seconds is None:
            return []
        return [
            ("build time", f"{text_from_ms(self.build_seconds * 1000)} (measured)"),
            ("peak memory of the build", f"{text_from_bytes(self.peak_rss_bytes)} (measured)"),
        ]

    def _layers_text(self) -> str:
        unread = [c for c in self.caveats if c.kind == "layers-unread"]
        if unread:
            return f"{N_A}: {unread[0].message}"
        if self.layers is None:
            return f"{N_A}: the builder does not say"
        streams = "" if not self.streams or self.streams < 2 else f" on {self.streams} streams"
        types = Counter(layer.type for layer in self.layers if layer.type)
        most = ", ".join(f"{n} {kind}" for kind, n in types.most_common(6))
        others = types.total() - sum(n for _, n in types.most_common(6))
        most += f", {others} of other types" if others else ""
        return f"{len(self.layers)}{streams} (builder)" + (f": {most}" if most else "")

    def _memory_rows(self) -> list[tuple[str, str]]:
        m = self.memory
        if m is None:
            return []
        # Scratch is in activation, or is all of it: it is named inside, not beside it.
        return [
            (
                "memory to come",
                f"activations {text_from_bytes(m.activation)} (scratch "
                f"{text_from_bytes(m.scratch)} of them), weights {text_from_bytes(m.weights)}, "
                f"persistent {text_from_bytes(m.host_persistent)} host, "
                f"{text_from_bytes(m.device_persistent)} device (builder)",
            )
        ]

    def _message_rows(self) -> list[tuple[str, str]]:
        return [(f"builder's {m.severity}", m.text) for m in self.warnings[:5]]

    def columns(self) -> dict[str, list[Any]]:
        """Return the columns of ``df``: of each layer what it is, reads and writes."""
        layers = self.layers or ()
        first = [layer.outputs[0] if layer.outputs else None for layer in layers]
        return {
            "layer": [layer.name for layer in layers],
            "type": [layer.type for layer in layers],
            "nodes": [", ".join(layer.nodes) for layer in layers],
            "stream": [layer.stream for layer in layers],
            "dtype": [None if t is None else t.dtype for t in first],
            "format": [None if t is None else t.format for t in first],
            "tactic": [layer.tactic for layer in layers],
            "inputs": [", ".join([t.name for t in layer.inputs]) for layer in layers],
            "outputs": [", ".join([t.name for t in layer.outputs]) for layer in layers],
        }

    @property
    def df(self) -> pd.DataFrame:
        """One row a layer; empty when the builder does not name its layers."""
        import pandas as pd

        return pd.DataFrame(self.columns())
