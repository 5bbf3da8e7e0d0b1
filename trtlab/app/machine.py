"""``Machine``: what this machine can build and run, as the header and the rail show it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trtlab.backends import base
from trtlab.backends.base import Ability, BackendStatus
from trtlab.environment import available_cores, gpu_state
from trtlab.model.types import Model
from trtlab.spec import TENSORRT, BuildConfig
from trtlab.verbs.choose import status_of
from trtlab.views.precision_sentences import BACKENDS

RECIPES = ("fp32", "fp16", "bf16", "int8", "fp8", "int8-weights", "int4-weights")
"""One button each, in this order."""


Provider = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found when the screen was opened.

    Attributes:
        statuses: By backend what it can do here.
        gpu: Name of the usable GPU; "" with the reason in ``no_gpu``.
    """

    statuses: Mapping[str, BackendStatus]
    gpu: str
    no_gpu: str

    @classmethod
    def ask(cls) -> Machine:
        """Ask every backend; a second of work in child processes, then known to this process."""
        gpu = gpu_state()
        return cls(
            {name: status_of(name) for name in base.NAMES},
            (gpu.name or "NVIDIA GPU") if gpu.usable else "",
            gpu.reason,
        )

    @property
    def builders(self) -> tuple[str, ...]:
        """Backends that build here."""
        return tuple(n for n, s in self.statuses.items() if s.abilities["fp32"].build.can)

    def runners(self, builder: str) -> tuple[str, ...]:
        """Backends that run here what a builder's model is: its own plan, or ONNX Runtime's."""
        names = dict.fromkeys((builder, "onnxruntime"))
        return tuple(
            n for n in names if n in self.statuses and self.statuses[n].abilities["fp32"].run.can
        )

    def targets(self, builder: str) -> tuple[str, ...]:
        """What a builder can build for."""
        return self.statuses[builder].targets if builder in TENSORRT else ()

    def version(self, name: str) -> str:
        """Return ``TensorRT-RTX 1.7.1``."""
        version = self.statuses[name].version
        return BACKENDS[name] if version is None else f"{BACKENDS[name]} {_short(version)}"

    def builds(self, recipe: str, builder: str) -> Ability:
        """Whether a recipe can be built; of joined recipes all parts are wanted."""
        if builder not in self.builders:
            status = self.statuses[builder].abilities["fp32"].build
            return Ability(False, status.reason, status.hint)
        return base.backend(builder).ability(recipe, BuildConfig(backend=builder)).build

    def providers(self) -> tuple[Provider, ...]:
        """What ONNX Runtime runs on here."""
        targets = self.statuses["onnxruntime"].targets
        return ("cpu", "cuda") if "cuda" in targets else ("cpu",)

    def runs(self, recipe: str, runner: str, provider: Provider) -> Ability:
        """Whether a recipe can be run in its own precision."""
        on_tensorrt = runner in TENSORRT
        config = BuildConfig(backend=runner, provider="cpu" if on_tensorrt else provider)
        return base.backend(runner).ability(recipe, config).run


def cannot(machine: Machine, model: Model | None, recipe: str, builder: str) -> str:
    """Return why a precision cannot be asked for, or ""."""
    if model is not None and model.source == "network":
        return "" if recipe == "fp32" else "a network function has the precision it defines"
    if model is not None and model.recipe != "fp32":
        return f"the model is in {model.recipe} already"
    ability = machine.builds(recipe, builder)
    return "" if ability.can else ability.reason


def load_text() -> str:
    """Return the machine's load now: the processes that want a core, a minute's mean."""
    if not hasattr(os, "getloadavg"):
        return ""
    load, cores = os.getloadavg()[0], available_cores()
    word = "busy" if load > cores / 2 else "calm"
    return f"load {load:.1f} of {cores}, {word}"


def _short(version: str) -> str:
    return ".".join(version.split(".")[:3])
