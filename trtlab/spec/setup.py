"""``Setup``: one configuration of the workbench: what to build, and how to run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trtlab.errors import SpecError
from trtlab.spec.build import TENSORRT
from trtlab.spec.checks import Shape, one_of, whole
from trtlab.spec.run import RunConfig

BUILD_ONLY = "none"
"""What is given as runner where nothing is to be run."""

_MOST_BATCH = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a run is asked to be: a precision, an engine, and how a model is then run.

    Attributes:
        precision: Recipe as ``convert`` takes it; None leaves the model as it is.
        batches: Smallest, optimal and largest batch of the engine; None is the backend's default,
            or a model without a batch axis.
        batch: Batch that is measured; None for a model without a batch axis.
        shapes: Input shapes by name, for other dynamic axes; the same for engine and run.
        workspace_bytes: TensorRT's workspace limit; None is its default.
        tf32: Whether TensorRT may round FP32 products to TF32; None is its default.
        builder: Backend whose engine is shown.
        target: What TensorRT builds for; None takes the GPU here, or without one sm89.
        runner: Backend that runs the model; None: nothing is run.
        provider: ONNX Runtime's provider.
        streams: Inferences in flight at once.
        threads: Threads inside one inference on ONNX Runtime; None is its choice.
        calibration: ``"random"`` or a folder, for recipes that need ranges; None is the zoo's.
        data: Folder with samples that accuracy is judged by; None is the zoo's, where it has some.
        quick: Short windows; the records are labelled.

    Raises:
        SpecError: a value is out of its range.
    """

    precision: str | None = None
    batches: tuple[int, int, int] | None = None
    batch: int | None = None
    shapes: Mapping[str, Shape] = field(default_factory=dict, hash=False)
    workspace_bytes: int | None = None
    tf32: bool | None = None
    builder: str = "onnxruntime"
    target: str | None = None
    runner: str | None = "onnxruntime"
    provider: Literal["cpu", "cuda"] = "cpu"
    streams: int = 1
    threads: int | None = None
    calibration: str | None = None
    data: str | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        one_of("builder", self.builder, (*TENSORRT, "onnxruntime"))
        one_of("runner", self.runner, (*TENSORRT, "onnxruntime", None))
        if self.runner in TENSORRT and self.runner != self.builder:
            raise SpecError(
                f"{self.runner} cannot run what {self.builder} built.",
                hint="Build with the TensorRT that runs.",
            )
        _ = self.run  # it checks batch, streams and threads
        if self.batches is None:
            return
        for size in self.batches:
            whole("A batch size", size, 1, _MOST_BATCH)
        smallest, best, largest = self.batches
        if not smallest <= best <= largest:
            raise SpecError(
                f"Batch {smallest}, {best}, {largest} does not grow from min over opt to max.",
                hint="Give min ≤ opt ≤ max.",
            )
        if self.runner in TENSORRT and not smallest <= (self.batch or smallest) <= largest:
            raise SpecError(
                f"Batch {self.batch} is outside the engine's {smallest} to {largest}.",
                hint=f"Raise the largest batch to {self.batch}, or measure within the profile.",
            )

    @property
    def run(self) -> RunConfig:
        """How the model is run."""
        return RunConfig(
            batch=self.batch,
            shapes=self.shapes,
            streams=self.streams,
            threads=None if self.runner in TENSORRT else self.threads,
            quick=self.quick,
        )

    @property
    def build_settings(self) -> dict[str, Any]:
        """What ``trtlab.build`` is given beside model and backend."""
        if self.builder not in TENSORRT:
            return {"provider": self.provider} if self.provider != "cpu" else {}
        asked = {
            "batch": self.batches,
            "shapes": dict(self.shapes) or None,
            "workspace": self.workspace_bytes,
            "target": self.target,
            "tf32": self.tf32,
        }
        return {name: value for name, value in asked.items() if value is not None}
