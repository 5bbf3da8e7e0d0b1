"""ONNX file or network function → plan, with TensorRT's parser and builder.

Everything that can be refused is refused before the build, with the reason: TensorRT itself
clamps, ignores, or fails after minutes.
"""

from __future__ import annotations

import ast
import difflib
import re
import time
import traceback
from pathlib import Path
from typing import Any

from trtlab.backends.base import TIMING_CACHE, Built, Defined, Rejection
from trtlab.backends.tensorrt import bindings as api
from trtlab.backends.tensorrt.engine import inspector_text
from trtlab.backends.tensorrt.module import Log, import_trt, make_log, why_not_run
from trtlab.backends.tensorrt.monitor import make_monitor
from trtlab.environment import gpu_state
from trtlab.errors import (
    BackendUnavailableError,
    BuildError,
    ParseError,
    SpecError,
    UnsupportedError,
    WorkspaceTooSmall,
)
from trtlab.formats.engine_inspector import read_inspector
from trtlab.formats.engine_layers import LayersRead, dtype_name
from trtlab.formats.layer_dump import read_dump
from trtlab.model.types import Tensor
from trtlab.record import EngineLayer
from trtlab.spec import BuildConfig, Caveat, Profile
from trtlab.units import text_from_bytes
from trtlab.worker import Progress

_NEEDS_DRIVER = ("REFIT", "REFIT_IDENTICAL", "REFIT_INDIVIDUAL", "STRIP_PLAN")
"""Flags that fail without a driver. Seen with TensorRT-RTX 1.7.1 and any model with weights:
``MyelinCheckException: graph_jit.cpp:278: CHECK(status == CUDA_SUCCESS) failed``."""

_GONE = ("FP16", "BF16", "INT8", "FP8", "INT4", "FP4")
"""Builder flags that TensorRT 11 removed: in a strongly typed network they had no say anyway."""

_TOO_SMALL = re.compile(
    r"OutOfMemory \(Requested size|within workspace limit|insufficient workspace", re.IGNORECASE
)
"""TensorRT-RTX 1.7.1 (seen): ``Error Code 2: OutOfMemory (Requested size was N bytes.)``, and
``no tactics to implement the operation within workspace limit`` without any number. Full
TensorRT (from its documentation): ``Could not find any implementation for node … due to
insufficient workspace``."""


def build(
    name: str, model: Path, is_network: bool, config: BuildConfig, folder: Path, progress: Progress
) -> Built:
    """Build a plan file in ``folder``; see ``backends.base.Backend.build``."""
    trt = import_trt(name)
    log = make_log(trt)
    builder = trt.Builder(log.logger)
    settings = _checked(trt, name, builder, config, log)
    for library in config.plugin_libraries:
        load_plugins(builder.get_plugin_registry(), library, log)
    begin = time.perf_counter()
    network = _network(trt, builder)
    if is_network:
        kept = _call_network_function(trt, network, model.read_text(), log)
    else:
        kept = _parse(trt, network, log, model, progress)
    _check_network(network, config)
    settings.progress_monitor = make_monitor(trt, progress)
    cache = _load_timing_cache(name, config, settings, folder, log)
    for profile in config.profiles:
        _add_profile(builder, settings, network, profile, log)
    plan = builder.build_serialized_network(network, settings)
    seconds = time.perf_counter() - begin
    del kept
    if plan is None:
        raise _failure(log, model.name, config)
    progress("write the plan", 0, 1)
    file = folder / "engine.plan"
    with file.open("wb") as stream:
        stream.write(memoryview(plan))
    saved = None
    if cache and (timings := settings.get_timing_cache()) is not None:
        (folder / TIMING_CACHE).write_bytes(memoryview(timings.serialize()))
        saved = str(folder / TIMING_CACHE)
    said = _inspected(trt, log, plan) if "current" in config.target else None
    layers, doubts = _layers(said or read_dump(log.layers), said is not None or bool(log.layers))
    if cache is False:
        doubts.append(
            Caveat(
                "timing-cache-refused",
                "The timing cache of earlier builds was refused; tactics were timed anew.",
                "It came from another GPU, driver or TensorRT. Nothing needs to be done.",
            )
        )
    return Built(str(file), seconds, layers, log.memory, tuple(log.messages), tuple(doubts), saved)


def load_plugins(registry: api.PluginRegistry, library: str, log: Log) -> None:
    """Load a shared library with plugins, which runs its code.

    Raises:
        BuildError: it cannot be loaded.
    """
    if registry.load_library(library) is None:
        raise BuildError(
            f"The plugin library {Path(library).name} cannot be loaded.",
            hint="It must be a shared library, built for this TensorRT and this machine.",
            details="\n".join(log.errors()),
        )


def rejections(name: str, model: Path, progress: Progress) -> tuple[Rejection, ...]:
    """Return what the parser says against a model; empty if it takes all of it."""
    trt = import_trt(name)
    log = make_log(trt)
    builder = trt.Builder(log.logger)
    network = _network(trt, builder)
    progress("parse", 0, 1)
    parser = trt.OnnxParser(network, log.logger)
    parsed = parser.parse_from_file(str(model))
    return () if parsed else _rejections(parser, log)


def network_tensors(name: str, source: str) -> Defined:
    """Run a network function; return inputs, outputs and layers of what it defined."""
    trt = import_trt(name)
    log = make_log(trt)
    builder = trt.Builder(log.logger)
    network = _network(trt, builder)
    kept = _call_network_function(trt, network, source, log)
    if network.num_outputs == 0:
        raise BuildError(
            "The network function marked no output.",
            hint="End it with network.mark_output(tensor).",
        )
    try:
        inputs = tuple(_tensor(network.get_input(i)) for i in range(network.num_inputs))
        outputs = tuple(_tensor(network.get_output(i)) for i in range(network.num_outputs))
        layers = [network.get_layer(i) for i in range(network.num_layers)]
        names = tuple(f"{layer.type.name} {layer.name}" for layer in layers)
    except RuntimeError as error:  # pybind's, when a layer that was added is not sound
        said = log.errors()
        raise BuildError(
            f"The network function defined no sound network: {error}",
            hint=f"TensorRT says: {said[0]}" if said else "",
            details="\n".join(said),
        ) from error
    del kept
    return Defined(inputs, outputs, names)


# Settings


def _checked(
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
        settings.set_memory_pool_limit(_named(trt, "MemoryPoolType", pool, "memory pool"), size)
    if config.avg_timing_iterations is not None:
        settings.avg_timing_iterations = config.avg_timing_iterations
    if config.tactic_sources is not None:
        sources = [_named(trt, "TacticSource", s, "tactic source") for s in config.tactic_sources]
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
        settings.hardware_compatibility_level = _named(
            trt, "HardwareCompatibilityLevel", level, "hardware compatibility level"
        )
    if config.dla_core is not None:
        _set_dla(trt, builder, settings, config.dla_core)
    settings.profiling_verbosity = _named(
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
        capability = _named(trt, "ComputeCapability", target.upper(), "target", lower=True)
        if not settings.set_compute_capability(capability, index):
            raise UnsupportedError(f"{name} refuses the target {target}.", hint="Leave it out.")


def _set_flag(trt: api.Module, name: str, settings: api.BuilderConfig, flag: str) -> None:
    if flag in _GONE:
        raise SpecError(
            f"{flag} is no builder flag any more: a network's types are those of its graph.",
            hint="Give a model in that precision.",
        )
    value = _named(trt, "BuilderFlag", flag, "builder flag")
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


def _named(trt: api.Module, enum: str, name: str, what: str, *, lower: bool = False) -> Any:
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


# Network


def _network(trt: api.Module, builder: api.Builder) -> api.Network:
    # Needed on 10.x, the default from 11 on: precision is what the graph says.
    return builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))


def _parse(
    trt: api.Module, network: api.Network, log: Log, model: Path, progress: Progress
) -> api.OnnxParser:
    """Parse into ``network``; returns the parser, whose weights must outlive the build."""
    progress("parse", 0, 1)
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse_from_file(str(model)):
        found = _rejections(parser, log)
        first = found[0]
        where = f"node {first.node or first.index} ({first.op})" if first.op else model.name
        more = f" {len(found) - 1} more are in the details." if len(found) > 1 else ""
        raise ParseError(
            f"TensorRT's parser refuses {where}: {first.reason}.{more}",
            hint=first.hint,
            details="\n".join(
                [*(f"{r.node or r.index} ({r.op}): {r.reason}" for r in found), *log.errors()]
            ),
        )
    return parser


_REASONS = {
    "UNSUPPORTED_NODE": (
        "it does not support this operator with these types and attributes",
        "Replace the node, or export with another opset; inspect --backend lists them all.",
    ),
    "INVALID_NODE": (
        "the node's inputs or attributes do not fit together",
        "Check types and shapes of its inputs.",
    ),
    "INVALID_GRAPH": (
        "the graph is not sound",
        "Export it again; weights beside the file must lie where it expects them.",
    ),
    "MODEL_DESERIALIZE_FAILED": ("the file is no ONNX model", "Export it again."),
    "UNSUPPORTED_GRAPH": ("it does not support this graph", "Export it with another opset."),
}
_PLUGIN = "Plugin not found"
_USAGE = re.compile(r"Error Code \d+: [\w ]*\((.*?)\.?(?: In \S+ at |$)", re.MULTILINE)
"""What TensorRT's own errors look like: code, kind, and in parentheses text and source line."""


def _rejections(parser: api.OnnxParser, log: Log) -> tuple[Rejection, ...]:
    found = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        code, text = error.code().name, error.desc()
        reason, hint = _REASONS.get(code, (_first_line(text), "Export the model again."))
        if error.node() < 0 and code in ("UNSUPPORTED_NODE", "INVALID_NODE") and text.strip():
            # About the whole model, such as an input of a type that it does not have.
            reason = _first_line(text).rstrip(".")
            hint = "Export the model again, with types and files that TensorRT takes."
        elif _PLUGIN in text:
            reason = "it does not know this operator, and no plugin provides it"
            hint = "Name the plugin's library with plugin_libraries (--plugin)."
        elif usage := _USAGE.search(text):
            reason = usage[1].rstrip(".")
        elif code not in _REASONS or code == "INVALID_GRAPH":
            reason = f"{reason} ({_first_line(text)})"
        found.append(
            Rejection(
                index=error.node(),
                node=error.node_name(),
                op=error.node_operator(),
                reason=reason,
                hint=hint,
                # The operators' checks look at every node; importing ends at the first failure.
                while_importing=not error.func().startswith("check"),
            )
        )
    if not found:
        reason = log.errors()[0] if log.errors() else "it gives no reason"
        found.append(Rejection(-1, "", "", reason, "Export the model again.", True))
    return tuple(found)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:300] if text.strip() else "no reason given"


def _check_network(network: api.Network, config: BuildConfig) -> None:
    """Refuse what the builder would only find at its end, or never."""
    if network.num_outputs == 0:
        raise ParseError("The network has no outputs.", hint="Export the model with outputs.")
    for i in range(network.num_inputs):
        if network.get_input(i).is_shape_tensor:
            raise UnsupportedError(
                f"Input {network.get_input(i).name!r} holds a shape: its values decide the sizes "
                "of other tensors, and trtlab cannot give TensorRT a range for them yet.",
                hint="Export the model with that shape fixed.",
            )
    declared = {name for profile in config.profiles for name in profile}
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        if -1 in tuple(tensor.shape) and tensor.name not in declared:
            raise SpecError(
                f"Input {tensor.name!r} is dynamic {list(tensor.shape)}, and no optimization "
                "profile says how large it gets.",
                hint=f"Give its shapes, as in --min-shapes {tensor.name}:1x3x224x224 with "
                "--opt-shapes and --max-shapes.",
            )


def _add_profile(
    builder: api.Builder,
    settings: api.BuilderConfig,
    network: api.Network,
    shapes: Profile,
    log: Log,
) -> None:
    profile = builder.create_optimization_profile()
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    unknown = sorted(set(shapes) - {tensor.name for tensor in inputs})
    if unknown:
        raise SpecError(
            f"The network has no input called {unknown[0]!r}.",
            hint=f"Its inputs are {', '.join(repr(t.name) for t in inputs)}.",
        )
    for name, (smallest, best, largest) in shapes.items():
        profile.set_shape(name, smallest, best, largest)
    # set_shape says nothing of what it refuses; the profile's truth value does, and the log.
    if not profile or settings.add_optimization_profile(profile) < 0:
        raise SpecError(
            "TensorRT refuses the optimization profile: " + "; ".join(log.errors()[-2:]) + ".",
            hint="Every axis must satisfy min ≤ opt ≤ max, fixed axes keep their size.",
        )


def _call_network_function(trt: api.Module, network: api.Network, source: str, log: Log) -> Any:
    """Define a network by the caller's function; returns what it returns, to be kept alive."""
    (definition,) = ast.parse(source).body
    scope: dict[str, Any] = {"__name__": "trtlab_network"}
    try:
        exec(compile(source, "<network function>", "exec"), scope)
        return scope[getattr(definition, "name", "")](trt, network)
    except Exception as error:
        place = [f for f in traceback.extract_tb(error.__traceback__) if "<network" in f.filename]
        where = f" in line {place[-1].lineno}" if place else ""
        said = log.errors()
        raise BuildError(
            f"The network function failed{where}: {type(error).__name__}: {error}",
            hint="It gets the module and an empty network, and must import what it uses itself."
            + (f" TensorRT says: {said[0]}" if said else ""),
            details="\n".join(said),
        ) from error


def _tensor(tensor: api.Tensor) -> Tensor:

    # Dimensions may have names here too; most functions give none, and the first is the batch.
    shape = tuple(
        int(d) if d >= 0 else (tensor.get_dimension_name(i) or ("N" if i == 0 else None))
        for i, d in enumerate(tensor.shape)
    )
    return Tensor(tensor.name, dtype_name(tensor.dtype.name), shape)


# Timing cache, failures, layers


def _load_timing_cache(
    name: str, config: BuildConfig, settings: api.BuilderConfig, folder: Path, log: Log
) -> bool | None:
    """Give the builder the timings of earlier builds; returns False if it refuses them.

    None where there is no such cache: TensorRT-RTX times nothing at the build.
    """
    if not config.timing_cache or name == "tensorrt_rtx":
        return None
    file = folder / TIMING_CACHE
    known = file.read_bytes() if file.is_file() else b""
    cache = settings.create_timing_cache(known)
    # False: of another device or version. A damaged one comes back empty, with a warning.
    taken = cache is not None and settings.set_timing_cache(cache, False)
    refused = known and any("timing cache" in m.text.lower() for m in log.messages)
    if taken and not refused:
        return True
    if (empty := settings.create_timing_cache(b"")) is not None:
        settings.set_timing_cache(empty, False)
    return False


def _failure(log: Log, model: str, config: BuildConfig) -> BuildError:
    errors = log.errors()
    text = "\n".join(errors)
    limit = config.workspace_bytes
    if _TOO_SMALL.search(text) and (limit is not None or "workspace" in text.lower()):
        found = WorkspaceTooSmall("", details=text)
        size = found.asked_bytes
        asked = "" if size is None else f": TensorRT names {size:,} bytes"
        return WorkspaceTooSmall(
            f"The workspace is too small for {model}{asked}"
            + ("." if limit is None else f", {limit:,} bytes are allowed."),
            # Seen with TensorRT-RTX 1.7.1 at every limit: allowing what it names does not help.
            hint="Raise the workspace; trtlab workspace finds the smallest that builds."
            + ("" if size is None else " The number named is the limit plus the weights."),
            details=text,
        )
    first = _USAGE.search(errors[0]) if errors else None
    reason = first[1].rstrip(".") if first else (_first_line(errors[0]) if errors else "")
    return BuildError(
        f"TensorRT could not build {model}: {reason or 'it gives no reason'}.",
        hint="The details hold all that it said.",
        details=text,
    )


def _inspected(trt: api.Module, log: Log, plan: api.HostMemory) -> LayersRead | None:
    """Ask the engine itself, which takes the GPU that it was built for; None if it says less.

    Full TensorRT lists its layers in the log only by name.
    """
    runtime = trt.Runtime(log.logger)  # outlives the engine
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return None
    read = read_inspector(inspector_text(trt, engine))
    return read if read.layers is not None and not read.names_only else None


def _layers(read: LayersRead, told: bool) -> tuple[tuple[EngineLayer, ...] | None, list[Caveat]]:
    """Return the layers, and what keeps them from being the whole truth."""
    if read.layers is None:
        said = "in a form that trtlab does not know" if told else "not at all"
        return None, [
            Caveat(
                "layers-unread",
                f"The builder lists its layers {said}.",
                "The plan is fine; only its layers are not shown. Please report it.",
            )
        ]
    if read.unread:
        return read.layers, [
            Caveat(
                "layers-unread",
                f"Not all that the builder says of its layers was understood: {len(read.unread)} "
                f"parts beside {sum(y.type != 'unread' for y in read.layers)} layers.",
                "The list may not be the whole engine; what was not understood is in its place.",
            )
        ]
    if read.names_only:
        return read.layers, [
            Caveat(
                "layers-unread",
                "The plan was built to tell no more than names of its layers.",
                "Build it with profiling verbosity DETAILED.",
            )
        ]
    return read.layers, []
