"""Options as they were typed → models, plans, shapes and settings."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtlab.errors import RecordError, SpecError
from trtlab.units import bytes_from_text, ints_from_text, shapes_from_text

if TYPE_CHECKING:
    from trtlab.record import Plan
    from trtlab.worker import Progress


def model_of(options: argparse.Namespace, progress: Progress) -> Any:
    """Load the model that is named, with what was asked for done to it."""
    return prepared(options.model, options, progress)


def prepared(name: str, options: argparse.Namespace, progress: Progress) -> Any:
    """Load a model, make its batch dynamic and convert it, where that was asked for."""
    from trtlab.verbs.convert import convert
    from trtlab.verbs.load import load, with_dynamic_batch

    model = load(name, progress=progress)
    if options.dynamic_batch:
        model = with_dynamic_batch(model, progress=progress)
    if options.precision is None:
        return model
    return convert(
        model,
        options.precision,
        calibration=options.calibration,
        samples=options.samples,
        progress=progress,
    )


def built_plan(options: argparse.Namespace, progress: Progress) -> Plan:
    """Build what is then run: for just these shapes, by a backend that can run it here."""
    from trtlab.backends.base import NAMES
    from trtlab.spec import TENSORRT
    from trtlab.verbs.build import build
    from trtlab.verbs.choose import backend_for

    settings = build_settings(options)
    if settings["backend"] is None:
        only = options.target or options.workspace or options.flag
        settings["backend"] = backend_for("run", TENSORRT if only else NAMES)
    if settings["backend"] in TENSORRT:
        settings |= {"batch": options.batch, "shapes": shapes_of(options)}
    return build(model_of(options, progress), progress=progress, **settings)


def build_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a build, as ``trtlab.build`` takes them."""
    pools = dict(_pool(text) for text in options.memory_pool)
    return {
        "backend": options.backend,
        "target": options.target and options.target.split(","),
        "workspace": options.workspace,
        "optimization_level": level_of(options.optimization_level),
        "provider": options.provider,
        "memory_pools": pools,
        "avg_timing_iterations": options.avg_timing,
        "tactic_sources": options.tactic_sources and options.tactic_sources.split(","),
        "max_num_tactics": options.max_tactics,
        "flags": options.flag,
        "tf32": options.tf32,
        "hardware_compatibility": options.hardware_compatibility,
        "dla_core": options.dla_core,
        "aux_streams": options.aux_streams,
        "plugin_libraries": options.plugin,
        "timing_cache": options.timing_cache,
        "profiling_verbosity": options.verbosity,
    }


def bench_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a measurement, as ``trtlab.benchmark`` takes them."""
    return {
        **profile_settings(options),
        "streams": options.streams,
        "activation_cap": cap_of(options),
        "cuda_graph": options.cuda_graph,
        "transfers": options.transfers,
        "seed": options.seed,
    }


def profile_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a profile, as ``trtlab.profile`` takes them."""
    return {
        "batch": options.batch,
        "shapes": shapes_of(options),
        "threads": options.threads,
        "quick": options.quick,
    }


def level_of(text: str | None) -> str | int | None:
    """TensorRT's levels are numbers, ONNX Runtime's are names."""
    return int(text) if text and text.isdecimal() else text


def _pool(text: str) -> tuple[str, str]:
    name, colon, size = text.rpartition(":")
    if not colon:
        raise SpecError(f"{text!r} is no memory pool.", hint="Write TACTIC_DRAM:1GiB.")
    return name, size


def ranges_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the shapes of a build: one of each input, or smallest, optimal and largest."""
    parts = [options.min_shapes, options.opt_shapes, options.max_shapes]
    if options.shapes and any(parts):
        raise SpecError(
            "Give --shapes, or --min-shapes, --opt-shapes and --max-shapes.",
            hint="--shapes builds for just these.",
        )
    if not any(parts):
        return shapes_of(options)
    if not all(parts):
        raise SpecError(
            "A range needs all of --min-shapes, --opt-shapes and --max-shapes.",
            hint="Write each as x:8x3x224x224.",
        )
    smallest, best, largest = (shapes_from_text(part) for part in parts)
    if not set(smallest) == set(best) == set(largest):
        raise SpecError("The three shapes name different inputs.", hint="Name each in all three.")
    return {name: (smallest[name], best[name], largest[name]) for name in smallest}


def shapes_of(options: argparse.Namespace) -> dict[str, tuple[int, ...]]:
    """Return the input shapes by name."""
    return shapes_from_text(options.shapes) if options.shapes else {}


def cap_of(options: argparse.Namespace) -> int | None:
    """Return the limit of the activation arena in bytes."""
    return None if options.activation_cap is None else bytes_from_text(options.activation_cap)


def list_of(text: str | None) -> tuple[str, ...]:
    """Return texts separated by commas."""
    return tuple(text.split(",")) if text else ()


def ints_of(text: str | None) -> tuple[int, ...] | None:
    """Return whole numbers separated by commas."""
    return None if text is None else ints_from_text(text)


def record_of(name: str) -> Any:
    """Return a record by its file or the beginning of its id."""
    from trtlab.store import Store, read_record

    try:
        path = Path(name)
        is_file = path.exists()
        name.encode()
    except (OSError, ValueError) as error:  # too long, or no text at all
        raise RecordError(
            f"{name[:40]!r}{'…' * (len(name) > 40)} cannot be the name of a record.",
            hint="Give an id that bench, build or profile printed, or the file of a record.",
        ) from error
    if path.is_dir():
        raise RecordError(
            f"{name} is a folder, not a record.",
            hint="trtlab import takes folders of other tools' files, and prints ids.",
        )
    return read_record(path) if is_file else Store().find(name)
