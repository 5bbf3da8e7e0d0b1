"""ONNX file or network function → plan, with TensorRT's parser and builder."""

from __future__ import annotations

import re
import time
from pathlib import Path

from trtlab.backends.base import TIMING_CACHE, Built, Defined, Rejection
from trtlab.backends.tensorrt import bindings as api
from trtlab.backends.tensorrt.engine import inspector_text
from trtlab.backends.tensorrt.module import Log, import_trt, make_log
from trtlab.backends.tensorrt.monitor import make_monitor
from trtlab.backends.tensorrt.network import (
    USAGE,
    add_profile,
    call_network_function,
    check_network,
    empty_network,
    first_line,
    parse,
    rejections_of,
    tensor_of,
)
from trtlab.backends.tensorrt.settings import checked_settings
from trtlab.errors import BuildError, WorkspaceTooSmall
from trtlab.formats.engine_inspector import read_inspector
from trtlab.formats.engine_layers import LayersRead
from trtlab.formats.layer_dump import read_dump
from trtlab.record import EngineLayer
from trtlab.spec import BuildConfig, Caveat
from trtlab.worker import Progress

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
    settings = checked_settings(trt, name, builder, config, log)
    for library in config.plugin_libraries:
        load_plugins(builder.get_plugin_registry(), library, log)
    begin = time.perf_counter()
    network = empty_network(trt, builder)
    if is_network:
        kept = call_network_function(trt, network, model.read_text(), log)
    else:
        kept = parse(trt, network, log, model, progress)
    check_network(network, config)
    settings.progress_monitor = make_monitor(trt, progress)
    cache = _load_timing_cache(name, config, settings, folder, log)
    for profile in config.profiles:
        add_profile(builder, settings, network, profile, log)
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
    network = empty_network(trt, builder)
    progress("parse", 0, 1)
    parser = trt.OnnxParser(network, log.logger)
    parsed = parser.parse_from_file(str(model))
    return () if parsed else rejections_of(parser, log)


def network_tensors(name: str, source: str) -> Defined:
    """Run a network function; return inputs, outputs and layers of what it defined."""
    trt = import_trt(name)
    log = make_log(trt)
    builder = trt.Builder(log.logger)
    network = empty_network(trt, builder)
    kept = call_network_function(trt, network, source, log)
    if network.num_outputs == 0:
        raise BuildError(
            "The network function marked no output.",
            hint="End it with network.mark_output(tensor).",
        )
    try:
        inputs = tuple(tensor_of(network.get_input(i)) for i in range(network.num_inputs))
        outputs = tuple(tensor_of(network.get_output(i)) for i in range(network.num_outputs))
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
    first = USAGE.search(errors[0]) if errors else None
    reason = first[1].rstrip(".") if first else (first_line(errors[0]) if errors else "")
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
