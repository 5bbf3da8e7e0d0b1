"""``BuildConfig``: how to turn a model into a plan."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Literal, NamedTuple

from trtlab.errors import SpecError
from trtlab.model.types import Tensor, batch_axis
from trtlab.spec import checks
from trtlab.spec.checks import Shape, one_of
from trtlab.units import text_from_shape

OPTIMIZATION_LEVELS = ("disable", "basic", "extended", "layout", "all")
"""ONNX Runtime's graph optimisation levels, weakest first."""

TENSORRT = ("tensorrt", "tensorrt_rtx")
"""The backends that are TensorRT: full TensorRT and TensorRT-RTX."""

DEFAULT_BATCH = (1, 8, 32)
"""Smallest, optimal and largest batch of a plan when nothing is said."""

VERBOSITIES = ("DETAILED", "LAYER_NAMES_ONLY", "NONE")
"""TensorRT's ``ProfilingVerbosity``, by name: how much a plan tells about its layers."""

_TARGET = re.compile(r"sm\d{2,3}|current")
_MOST_BYTES = 2**40
"""1 TiB: beyond the memory of any GPU."""
_ONNXRUNTIME = ("backend", "optimization_level", "provider")
"""The fields that mean something to ONNX Runtime."""


class ShapeRange(NamedTuple):
    """Smallest, optimal and largest shape of one input in an optimization profile."""

    min: Shape
    opt: Shape
    max: Shape


Profile = Mapping[str, ShapeRange]
"""An optimization profile: the shapes of every dynamic input that a plan accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """How to turn a model into a plan.

    What one backend does not know must stay at its default there. Names of flags, memory pools
    and tactic sources are TensorRT's own and checked against the installed one at the build.

    Attributes:
        backend: ``onnxruntime``, ``tensorrt`` or ``tensorrt_rtx``.
        optimization_level: ONNX Runtime: one of ``OPTIMIZATION_LEVELS``. TensorRT: 0 to 5.
        provider: ONNX Runtime: ``cpu`` or ``cuda``; it optimises a graph for one of them.
        target: GPUs to build for: ``current``, or compute capabilities such as ``sm89``,
            which only TensorRT-RTX can build for without having them.
        profiles: Optimization profiles; none for a model without dynamic shapes.
        workspace_bytes: Limit of the memory pool ``WORKSPACE``.
        memory_pools: Limits of the other pools in bytes, by TensorRT's names.
        avg_timing_iterations: Runs that a tactic's timing is averaged over.
        tactic_sources: Libraries that tactics may come from, by TensorRT's names.
        max_num_tactics: Most tactics to try for a layer.
        flags: Builder flags by TensorRT's names (``SPARSE_WEIGHTS``, ``WEIGHT_STREAMING``,
            ``REFIT``, ``VERSION_COMPATIBLE`` …).
        tf32: Whether FP32 convolutions and products may round their inputs to TF32.
        hardware_compatibility: A level by TensorRT's name, such as ``AMPERE_PLUS``.
        dla_core: DLA core to use; layers that it cannot run go to the GPU.
        aux_streams: Most streams inside one inference beside the main one.
        plugin_libraries: Shared libraries to load first. They are code: only the caller's.
        timing_cache: Whether tactic timings are kept between builds.
        profiling_verbosity: One of ``VERBOSITIES``.

    Raises:
        SpecError: a value is not one of those named, or does not belong to the backend.
    """

    backend: str = "onnxruntime"
    optimization_level: str | int | None = None
    provider: Literal["cpu", "cuda"] = "cpu"
    target: tuple[str, ...] = ("current",)
    profiles: tuple[Profile, ...] = field(default=(), hash=False)
    workspace_bytes: int | None = None
    memory_pools: Mapping[str, int] = field(default_factory=dict, hash=False)
    avg_timing_iterations: int | None = None
    tactic_sources: tuple[str, ...] | None = None
    max_num_tactics: int | None = None
    flags: tuple[str, ...] = ()
    tf32: bool | None = None
    hardware_compatibility: str | None = None
    dla_core: int | None = None
    aux_streams: int | None = None
    plugin_libraries: tuple[str, ...] = ()
    timing_cache: bool = True
    profiling_verbosity: str = "DETAILED"

    def __post_init__(self) -> None:
        one_of("provider", self.provider, ("cpu", "cuda"))
        if self.backend in TENSORRT:
            self._check_tensorrt()
        else:
            self._check_onnxruntime()

    @property
    def target_text(self) -> str:
        """What the plan is for, in short: ``cpu``, ``cuda``, ``current``, ``sm89+sm120``."""
        return "+".join(self.target) if self.backend in TENSORRT else self.provider

    @property
    def device(self) -> str:
        """What a plan runs on: ``cpu`` or ``cuda``."""
        return "cuda" if self.backend in TENSORRT else self.provider

    def _check_onnxruntime(self) -> None:
        if self.workspace_bytes is not None:
            raise SpecError(
                f"{self.backend} has no workspace.",
                hint="Its activations can be limited while running: activation_cap.",
            )
        for each in fields(self):
            if each.name not in _ONNXRUNTIME and getattr(self, each.name) != _default(each):
                raise SpecError(
                    f"{self.backend} knows no {each.name.replace('_', ' ')}.",
                    hint="It is a setting of TensorRT: choose backend tensorrt or tensorrt_rtx.",
                )
        if self.optimization_level is not None:
            one_of("optimization level", self.optimization_level, OPTIMIZATION_LEVELS)

    def _check_tensorrt(self) -> None:
        if self.provider != "cpu":
            raise SpecError(
                f"{self.backend} has no providers.", hint="They belong to onnxruntime."
            )
        if self.optimization_level is not None:
            checks.whole("TensorRT's optimization level", self.optimization_level, 0, 5)
        if not self.target or len(set(self.target)) < len(self.target):
            raise SpecError(
                "Give at least one target, and each once.", hint="Write sm89, or current."
            )
        for target in self.target:
            if not _TARGET.fullmatch(target):
                raise SpecError(
                    f"{target!r} is no target.",
                    hint="Write sm89 or another compute capability, or current.",
                )
        if "current" in self.target and len(self.target) > 1:
            raise SpecError(
                "The target current stands alone.", hint="Name every compute capability."
            )
        if "TF32" in self.flags:
            raise SpecError("TF32 has a setting of its own.", hint="Give tf32=True or False.")
        one_of("profiling verbosity", self.profiling_verbosity, VERBOSITIES)
        if self.workspace_bytes is not None:
            checks.whole("The workspace in bytes", self.workspace_bytes, 1, _MOST_BYTES)
        for pool, size in self.memory_pools.items():
            checks.whole(f"Memory pool {pool} in bytes", size, 0, _MOST_BYTES)
        for name, least, most in (
            ("avg_timing_iterations", 1, 1000),
            ("max_num_tactics", 1, 2**31 - 1),
            ("aux_streams", 0, 64),
            ("dla_core", 0, 63),
        ):
            if (value := getattr(self, name)) is not None:
                checks.whole(name.replace("_", " ").capitalize(), value, least, most)
        for profile in self.profiles:
            for tensor, shapes in profile.items():
                _check_range(tensor, shapes)
        if "WORKSPACE" in self.memory_pools:
            raise SpecError("WORKSPACE is the workspace.", hint="Give it as workspace.")


def _default(each: Field[Any]) -> object:
    return each.default_factory() if each.default_factory is not MISSING else each.default


def _check_range(tensor: str, shapes: ShapeRange) -> None:
    for shape in shapes:
        for size in shape:
            checks.whole(f"Every dimension of {tensor!r}", size, 0, 2**31 - 1)
    if len({len(shape) for shape in shapes}) != 1:
        raise SpecError(
            f"The shapes of {tensor!r} differ in rank: "
            + ", ".join(text_from_shape(s) for s in shapes)
            + ".",
            hint="Smallest, optimal and largest shape have the same number of axes.",
        )
    if any(not low <= best <= high for low, best, high in zip(*shapes, strict=True)):
        raise SpecError(
            f"The shapes of {tensor!r} do not grow from smallest over optimal to largest: "
            + ", ".join(text_from_shape(s) for s in shapes)
            + ".",
            hint="Every axis must satisfy min ≤ opt ≤ max.",
        )


def profile_of(
    inputs: Sequence[Tensor],
    batch: tuple[int, int, int] | None = None,
    shapes: Mapping[str, ShapeRange] | None = None,
    *,
    whole: bool = False,
) -> dict[str, ShapeRange]:
    """Return the optimization profile of a model: a range for each of its dynamic inputs.

    Args:
        inputs: The model's inputs.
        batch: Smallest, optimal and largest size of the shared batch axis; None is
            ``DEFAULT_BATCH``.
        shapes: Whole ranges by input name, for inputs with other dynamic axes.
        whole: ``shapes`` must hold every dynamic input: nothing is filled in.

    Raises:
        SpecError: an axis has no size, a range does not fit its input, or a batch was given to a
            model whose batch is fixed.
    """
    shapes = shapes or {}
    unknown = sorted(set(shapes) - {t.name for t in inputs})
    if unknown:
        raise SpecError(
            f"The model has no input called {unknown[0]!r}.",
            hint=f"Its inputs are {', '.join(repr(t.name) for t in inputs)}.",
        )
    axis = batch_axis(inputs)
    if batch is not None and axis is None and set(batch) != _firsts(inputs):
        raise SpecError(
            f"Batch {', '.join(map(str, batch))} does not fit: the model has no batch axis.",
            hint="Make it dynamic with trtlab.with_dynamic_batch(model) or --dynamic-batch, "
            "or give whole shapes.",
        )
    found = {}
    for tensor in inputs:
        given = shapes.get(tensor.name)
        if given is not None:
            _check_fits(tensor, given)
            found[tensor.name] = given
        elif tensor.shape is None or any(not isinstance(d, int) for d in tensor.shape):
            found[tensor.name] = _batched(tensor, None if whole else axis, batch or DEFAULT_BATCH)
    return found


def _firsts(inputs: Sequence[Tensor]) -> set[object]:
    """Return the sizes that the inputs' first axes have."""
    return {t.shape[0] if t.shape else None for t in inputs}


def _batched(tensor: Tensor, axis: str | None, batch: tuple[int, int, int]) -> ShapeRange:
    others = [d for d in tensor.shape or () if not isinstance(d, int) and d != axis]
    if tensor.shape is None or others or axis is None:
        what = text_from_shape(tensor.shape) if tensor.shape is not None else "of unknown rank"
        raise SpecError(
            f"Input {tensor.name!r} {what} has axes without a size"
            + (f": {', '.join('?' if d is None else str(d) for d in others)}." if others else "."),
            hint=f"Give its shapes, as in --min-shapes {tensor.name}:{_example(tensor)} with "
            "--opt-shapes and --max-shapes, or one size with --shapes.",
        )
    smallest, best, largest = (
        tuple(d if isinstance(d, int) else size for d in tensor.shape) for size in batch
    )
    found = ShapeRange(smallest, best, largest)
    _check_range(tensor.name, found)
    return found


def _example(tensor: Tensor) -> str:
    """Return a shape that would fit, as the command line takes it."""
    if tensor.shape is None:
        return "1x3x224x224"
    return "x".join(str(d) if isinstance(d, int) else "1" for d in tensor.shape) or "1"


def _check_fits(tensor: Tensor, given: ShapeRange) -> None:
    _check_range(tensor.name, given)
    for shape in given:
        fits = tensor.shape is None or (
            len(shape) == len(tensor.shape)
            and all(
                not isinstance(want, int) or want == got
                for want, got in zip(tensor.shape, shape, strict=True)
            )
        )
        if not fits:
            raise SpecError(
                f"Shape {text_from_shape(shape)} does not fit input {tensor.name!r} "
                f"{text_from_shape(tensor.shape or ())}.",
                hint="Give one number for each axis; fixed axes must keep their size.",
            )
