"""``BuildConfig`` → TensorRT's builder config, every setting checked.

Everything that can be refused is refused here, with the reason: TensorRT itself clamps, ignores,
or fails after minutes.
"""

from __future__ import annotations

import difflib
from typing import Any

from trtlab.backends.tensorrt import bindings as api
from trtlab.backends.tensorrt.module import Log
from trtlab.backends.tensorrt.reasons import why_not_run
from trtlab.environment import gpu_state
from trtlab.errors import BackendUnavailableError, SpecError, UnsupportedError
from trtlab.spec import BuildConfig
from trtlab.units import text_from_bytes

_NEEDS_DRIVER = ("REFIT", "REFIT_IDENTICAL", "REFIT_INDIVIDUAL", "STRIP_PLAN")
"""Flags that fail without a driver. Seen with TensorRT-RTX 1.7.1 and any model with weights:
``MyelinCheckException: graph_jit.cpp:278: CHECK(status == CUDA_SUCCESS) failed``."""

_GONE = ("FP16", "BF16", "INT8", "FP8", "INT4", "FP4")
"""Builder flags that TensorRT 11 removed: in a strongly typed network they had no say anyway."""


def checked_settings(
    trt: api.Module, name: str, builder: api.Builder, config: BuildConfig, log: Log
) -> api.BuilderConfig:
    """Return a builder config with everything set.

    Raises:
        SpecError: a name that this TensorRT does not know, or a size beyond the machine.
        UnsupportedError, BackendUnavailableError: this TensorRT or machine cannot do it.
    """
    settings = builder.create_builder_config()
    before = {m.text for m in log.messages}
    gpu = gpu_state()
    _set_target(trt, name, settings, config)
    if config.optimization_level is not None:
        settings.builder_optimization_level = int(config.optimization_level)
    pools = dict(config.memory_pools)
    if config.workspace_bytes is not None:
        pools["WORKSPACE"] = config.workspace_bytes
    for pool, size in pools.items():
        if pool == "WORKSPACE" and gpu.memory_bytes is not None and size > gpu.memory_bytes:
            raise SpecError(
                f"A workspace of {text_from_bytes(size)} is more than this GPU's "
                f"{text_from_bytes(gpu.memory_bytes)}.",
                hint="Lower the workspace, or leave it out: TensorRT then takes what there is.",
            )
        settings.set_memory_pool_limit(named(trt, "MemoryPoolType", pool, "memory pool"), size)
    if config.avg_timing_iterations is not None:
        settings.avg_timing_iterations = config.avg_timing_iterations
    if config.tactic_sources is not None:
        sources = [named(trt, "TacticSource", s, "tactic source") for s in config.tactic_sources]
        if not settings.set_tactic_sources(sum(1 << int(s) for s in sources)):
            raise UnsupportedError(
                f"{name} refuses the tactic sources {', '.join(config.tactic_sources)}.",
                hint="Leave one out; the log of a build with none says which are there.",
            )
    if config.max_num_tactics is not None:
        settings.max_num_tactics = config.max_num_tactics
    if config.aux_streams is not None:
        settings.max_aux_streams = config.aux_streams
    for flag in config.flags:
        _set_flag(trt, name, settings, flag)
    if config.tf32 is not None:
        (settings.set_flag if config.tf32 else settings.clear_flag)(trt.BuilderFlag.TF32)
    if config.hardware_compatibility is not None:
        level = config.hardware_compatibility
        settings.hardware_compatibility_level = named(
            trt, "HardwareCompatibilityLevel", level, "hardware compatibility level"
        )
    if config.dla_core is not None:
        _set_dla(trt, builder, settings, config.dla_core)
    settings.profiling_verbosity = named(
        trt, "ProfilingVerbosity", config.profiling_verbosity, "profiling verbosity"
    )
    # TensorRT takes some settings and says only in its log that it does not.
    refused = [m.text for m in log.messages if m.severity != "info" and m.text not in before]
    if refused:
        raise UnsupportedError(
            f"{name} refuses a setting: {refused[0]}",
            hint="Leave it out, or look its conditions up in TensorRT's documentation.",
            details="\n".join(refused),
        )
    return settings


def _set_target(
    trt: api.Module, name: str, settings: api.BuilderConfig, config: BuildConfig
) -> None:
    ahead = isinstance(settings, api.HasComputeCapability)
    current = config.target == ("current",)
    reason, hint = why_not_run(name, gpu_state())
    if current and reason:
        hint = "Name a target, as in target sm89: it needs no GPU." if ahead else hint
        raise BackendUnavailableError(f"{name} cannot build for this GPU: {reason}", hint=hint)
    if not isinstance(settings, api.HasComputeCapability):
        if not current:
            raise UnsupportedError(
                f"{name} builds only for the GPU in this machine, not for "
                f"{', '.join(config.target)}.",
                hint="Use backend tensorrt_rtx to build ahead of time, or target current.",
            )
        return
    settings.num_compute_capabilities = len(config.target)
    for index, target in enumerate(config.target):
        capability = named(trt, "ComputeCapability", target.upper(), "target", lower=True)
        if not settings.set_compute_capability(capability, index):
            raise UnsupportedError(f"{name} refuses the target {target}.", hint="Leave it out.")


def _set_flag(trt: api.Module, name: str, settings: api.BuilderConfig, flag: str) -> None:
    if flag in _GONE:
        raise SpecError(
            f"{flag} is no builder flag any more: a network's types are those of its graph.",
            hint="Give a model in that precision.",
        )
    value = named(trt, "BuilderFlag", flag, "builder flag")
    if flag in _NEEDS_DRIVER and not gpu_state().usable:
        raise UnsupportedError(
            f"{flag} needs a GPU driver, also for building: {gpu_state().reason}.",
            hint="Leave it out, or build on a machine with an NVIDIA GPU.",
        )
    if flag == "VERSION_COMPATIBLE" and name == "tensorrt_rtx":
        raise UnsupportedError(
            "VERSION_COMPATIBLE needs libnvinfer_lean, which TensorRT-RTX does not bring.",
            hint="Leave it out, or use full TensorRT.",
        )
    settings.set_flag(value)


def _set_dla(
    trt: api.Module, builder: api.Builder, settings: api.BuilderConfig, core: int
) -> None:
    if core >= builder.num_DLA_cores:
        raise UnsupportedError(
            f"There is no DLA core {core}: this machine has {builder.num_DLA_cores}.",
            hint="Deep-learning accelerators are in Jetson and DRIVE modules.",
        )
    settings.default_device_type = trt.DeviceType.DLA
    settings.DLA_core = core
    settings.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def named(trt: api.Module, enum: str, name: str, what: str, *, lower: bool = False) -> Any:
    """Return the member of an enum of TensorRT by its name; integers differ between versions."""
    kind = getattr(trt, enum)
    members = sorted(getattr(kind, "__members__", ()), key=lambda m: (len(m) * lower, m))
    if name not in members:
        shown = [m.lower() if lower else m for m in members if m != "NONE" or not lower]
        close = difflib.get_close_matches(name.lower() if lower else name, shown, n=1)
        raise SpecError(
            f"{trt.__name__} {trt.__version__} has no {what} {name.lower() if lower else name}.",
            hint=(f"Did you mean {close[0]}? " if close else "") + f"It has {', '.join(shown)}.",
        )
    return getattr(kind, name)
