"""A run → the trtexec line with the same engine settings, for a machine with a GPU.

Flags and defaults are those of trtexec's sources, 10.16 and 11.1: the defaults of 10.x and 11.x
are different quantities, so what differs is always said. trtexec itself was never run by us. What
it has no words for is said in a comment, never left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Literal

from trtlab.errors import SpecError
from trtlab.exporters.python_cell import NOT_TOLD
from trtlab.model.printing import printable
from trtlab.record import Run
from trtlab.spec import TENSORRT, BuildConfig, RunConfig, Shape, input_shapes
from trtlab.views.precision_sentences import BACKENDS

Version = Literal["10", "11"]

_WARM_UP_MS, _DURATION_S = 200, 3
"""trtexec's own defaults, spelled out: they are what makes two runs comparable."""

_PLAIN_NAME = re.compile(r"[\w./-]+", re.ASCII)
_WIDTH = 62
_UNSAID = (
    "memory_pools",
    "tactic_sources",
    "max_num_tactics",
    "flags",
    "hardware_compatibility",
    "dla_core",
    "plugin_libraries",
)
"""Settings of a build that this line does not carry over: they are named in a comment."""


def trtexec_line(run: Run, version: Version) -> str:
    """Return comments, the command that writes the model's file where it needs one, and the line.

    Args:
        run: Any run; one of ONNX Runtime gets the line of the same model.
        version: Major version of TensorRT, ``"10"`` or ``"11"``.

    Raises:
        SpecError: there is no such version.
    """
    if version not in ("10", "11"):
        raise SpecError(f"There is no trtexec {version!r} here.", hint="Choose 10 or 11.")
    file, made_by = _file(run)
    comments = [f"# {printable(text)}" for text in (*_about(run, version), *_unsaid(run))]
    parts = [f"--onnx={file}", *_engine(run, version), *_running(run, version)]
    files = "layers.json profile.json times.json"
    return "\n".join(
        [*comments, *made_by, _joined(parts), f"# Read it back: trtlab import {files}", ""]
    )


def _file(run: Run) -> tuple[str, list[str]]:
    """Return the file that trtexec reads, and the command that writes it."""
    origin = run.line.origin
    stem = re.sub(r"[^\w.-]+", "_", run.model.name.removeprefix("zoo:"), flags=re.ASCII)
    own = run.recipe == run.model.recipe
    if own and origin is not None and not origin.startswith("zoo:"):
        return origin, []
    file = f"{stem}.onnx" if own else f"{stem}.{run.recipe.replace('+', '_')}.onnx"
    if origin is None:
        return file, []
    # The verb also writes a model that has the precision already.
    words = ["trtlab", "convert", origin, run.recipe]
    if not own and run.setup.calibration is not None:
        words += ["--calibration", run.setup.calibration]
    return file, [shlex.join([*words, "-o", file])]


def _about(run: Run, version: Version) -> Iterator[str]:
    """Say where the line's engine is another one than the run's."""
    setup = run.setup
    if run.line.origin is None:
        yield f"Made elsewhere: give the file of {run.model.name} ({run.recipe})."
    if run.failure is not None:
        yield f"This build failed: {run.failure.message}"
    if run.plan is not None and run.plan.plan_bytes is None:
        yield NOT_TOLD
    if setup.builder == "tensorrt_rtx":
        target = run.plan.target_text if run.plan else setup.target or "its default target"
        yield (
            f"The run's engine is TensorRT-RTX's for {target}; trtexec {version}.x builds with "
            "TensorRT, for the GPU that it runs on."
        )
    elif setup.builder not in TENSORRT:
        yield (
            "The run's plan is ONNX Runtime's: this line builds the same model with TensorRT, "
            "with settings that the run did not have."
        )
    elif setup.target not in (None, "current"):
        yield f"The run was built for {setup.target}; trtexec builds for the GPU that it runs on."
    ran = run.measurement.build.backend if run.measurement else setup.runner
    if ran not in TENSORRT and setup.builder in TENSORRT:
        what = f"What was timed is {BACKENDS.get(ran, ran)}" if ran else "Nothing was timed"
        yield f"{what}: times of this line are another quantity."


def _unsaid(run: Run) -> Iterator[str]:
    """Name every setting that the line does not hold."""
    config, asked = _config(run), _run(run)
    for name in _UNSAID:
        if value := getattr(config, name):
            yield f"Not in this line: {name.replace('_', ' ')} {value!r}."
    if not config.timing_cache:
        yield "Not in this line: no timing cache."
    if config.backend not in TENSORRT and config.optimization_level is not None:
        yield f"ONNX Runtime's alone: optimization level {config.optimization_level!r}."
    if asked.threads is not None:
        yield f"ONNX Runtime's alone: {asked.threads} threads."
    if asked.activation_cap_bytes is not None:
        yield f"ONNX Runtime's alone: activation cap {asked.activation_cap_bytes:,} bytes."
    if asked.quick:
        yield "The run was quick: its windows were shorter than this line's."
    if asked.seed:
        yield f"Not in this line: seed {asked.seed} of the random inputs."
    if len(config.profiles) > 1:
        yield f"Not in this line: {len(config.profiles) - 1} more optimization profiles."
    if not config.profiles and (run.setup.batches or run.setup.shapes) and run.plan is None:
        yield (
            f"Add --minShapes, --optShapes and --maxShapes: batches {run.setup.batches}, shapes "
            f"{dict(run.setup.shapes)}. Without a plan the inputs' names are not known."
        )


def _engine(run: Run, version: Version) -> Iterator[str]:
    """Yield what decides the engine."""
    config = _config(run)
    if config.profiles:
        profile = config.profiles[0]
        for word in ("min", "opt", "max"):
            shapes = {name: getattr(each, word) for name, each in profile.items()}
            yield f"--{word}Shapes={_shapes(shapes)}"
    if config.workspace_bytes is not None:
        yield f"--memPoolSize=workspace:{_size(config.workspace_bytes)}"
    if version == "10":
        yield "--stronglyTyped"  # 11.x knows nothing else
    if config.tf32 is False:
        yield "--noTF32"
    if config.backend in TENSORRT and config.optimization_level is not None:
        yield f"--builderOptimizationLevel={config.optimization_level}"
    if config.avg_timing_iterations is not None:
        yield f"--avgTiming={config.avg_timing_iterations}"
    if config.aux_streams is not None:
        yield f"--maxAuxStreams={config.aux_streams}"
    yield f"--profilingVerbosity={config.profiling_verbosity.lower()}"


def _running(run: Run, version: Version) -> Iterator[str]:
    """Yield how it is run and what is written."""
    asked, shapes = _run(run), _run_shapes(run)
    if shapes:
        yield f"--shapes={_shapes(shapes)}"
    if asked.streams > 1:
        yield f"--infStreams={asked.streams}"
    graph = asked.cuda_graph is not False
    if version == "10":
        yield from ["--useCudaGraph"] * graph
        yield from ["--noDataTransfers"] * (not asked.transfers)
        yield "--separateProfileRun"
    else:
        yield from ["--noCudaGraph"] * (not graph)
        yield from ["--includeDataTransfers"] * asked.transfers
    yield f"--warmUp={_WARM_UP_MS}"
    yield f"--duration={_DURATION_S}"
    yield "--exportLayerInfo=layers.json"
    yield "--dumpProfile"
    yield "--exportProfile=profile.json"
    yield "--exportTimes=times.json"


def _config(run: Run) -> BuildConfig:
    """Return the build's settings: the plan's, or without one what was asked for."""
    if run.plan is not None:
        return run.plan.config
    setup = run.setup
    if setup.builder not in TENSORRT:
        return BuildConfig(provider=setup.provider)
    return BuildConfig(
        backend=setup.builder, workspace_bytes=setup.workspace_bytes, tf32=setup.tf32
    )


def _run(run: Run) -> RunConfig:
    return run.measurement.run if run.measurement else run.setup.run


def _run_shapes(run: Run) -> dict[str, Shape]:
    """Return the shapes of the inputs that are dynamic in the line's engine."""
    plan = run.plan
    if plan is None or not plan.config.profiles:
        return {}
    try:
        shapes, _ = input_shapes(plan.inputs, plan.outputs, _run(run))
    except SpecError:  # files of other tools do not tell all sizes
        return {}
    return {name: shapes[name] for name in plan.config.profiles[0] if name in shapes}


def _shapes(shapes: dict[str, Shape]) -> str:
    """Print ``x:8x3x224x224,…``; trtexec wants quotes around names with other characters."""
    return ",".join(
        (name if _PLAIN_NAME.fullmatch(name) else f"'{name}'") + ":" + "x".join(map(str, shape))
        for name, shape in shapes.items()
    )


def _size(size: int) -> str:
    """Print bytes in the largest unit that holds them exactly; trtexec's units are binary."""
    for factor, unit in ((2**30, "G"), (2**20, "M"), (2**10, "K")):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def _joined(parts: list[str]) -> str:
    """Return the command in lines that end with a backslash where they go on."""
    lines = ["trtexec"]
    for part in map(shlex.quote, parts):
        if len(lines[-1]) + len(part) + 3 > _WIDTH:
            lines.append("   ")
        lines[-1] += f" {part}"
    return " \\\n".join(lines)
