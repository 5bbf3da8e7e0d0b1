"""TensorRT builds in our worker against bare calls, the layer list's reader, and cancelling.

resnet50 for sm89 with batch 1 to 32, everything told (DETAILED, a logger that takes VERBOSE).
Bare and ours are processes of their own that alternate; each times parser and builder inside
itself and reads its own peak memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.figures import Figure, median_figure, seconds
from trtlab.errors import JobCancelled
from trtlab.formats.layer_dump import read_dump
from trtlab.model.types import Model
from trtlab.spec import BuildConfig
from trtlab.store import Store
from trtlab.verbs.build import build_with, config_for
from trtlab.verbs.load import load

PAIRS = 9
LAYERS = 2_000
CANCELS = 7

_BARE = """
import json, sys, time
import tensorrt_rtx as trt

class Logger(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
    def log(self, severity, text):
        pass

logger = Logger()
builder = trt.Builder(logger)
config = builder.create_builder_config()
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM89, 0)
config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
begin = time.perf_counter()
flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
network = builder.create_network(flags)
parser = trt.OnnxParser(network, logger)
assert parser.parse_from_file(sys.argv[1])
profile = builder.create_optimization_profile()
for name, shapes in json.loads(sys.argv[2]).items():
    profile.set_shape(name, *shapes)
assert config.add_optimization_profile(profile) == 0
plan = builder.build_serialized_network(network, config)
seconds = time.perf_counter() - begin
with open(sys.argv[3], "wb") as file:
    file.write(memoryview(plan))
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
print(json.dumps([seconds, peak]))
"""


def figures() -> list[Figure]:
    """Compare builds pair by pair, read a long layer list, cancel in several phases."""
    store = Store()
    model = load("zoo:resnet50", store=store)
    config = config_for(model, "tensorrt_rtx", target="sm89", batch=(1, 8, 32))
    times, peaks = [], []
    for pair in range(PAIRS):
        takes = {"bare": _bare, "ours": _ours}
        order = list(takes) if pair % 2 else list(takes)[::-1]
        taken = {name: takes[name](model, config, store) for name in order}
        times.append(taken["ours"][0] / taken["bare"][0])
        peaks.append(taken["ours"][1] / taken["bare"][1])
    dump = long_dump(LAYERS)
    reading = [seconds(lambda: read_dump(dump)) for _ in range(PAIRS)]
    stops = [_cancel_seconds(model, config, index) for index in range(CANCELS)]
    return [
        median_figure("parse + build, ours / bare, resnet50", times, "×", 1.10),
        median_figure("peak memory of the process, ours / bare", peaks, "×", 1.10),
        median_figure(f"reading a list of {LAYERS:,} layers", reading, "s", 0.5),
        Figure("longest answer to a cancel, by phase", max(stops), "s", 1.0, CANCELS),
    ]


def _bare(model: Model, config: BuildConfig, store: Store) -> tuple[float, int]:
    profile = json.dumps({name: list(shapes) for name, shapes in config.profiles[0].items()})
    with store.scratch() as folder:
        command = [sys.executable, "-c", _BARE, model.path, profile, str(folder / "engine.plan")]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    took, peak = json.loads(said)
    return took, peak


def _ours(model: Model, config: BuildConfig, store: Store) -> tuple[float, int]:
    plan_store = Store(store.home / "bench-building")
    plan = build_with(model, config, store=plan_store)
    for kept in (plan_store.home / "records").glob("*/*.json"):
        kept.unlink()  # so that the next pair builds again
    return plan.build_seconds, plan.peak_rss_bytes or 0


def _cancel_seconds(model: Model, config: BuildConfig, index: int) -> float:
    """Return how long a build takes to end when it is cancelled at a given phase."""
    stop = threading.Event()
    phases: dict[str, None] = {}
    asked = 0.0

    def progress(phase: str, _done: int, _total: int) -> None:
        nonlocal asked
        phases[phase.rpartition(" › ")[2]] = None
        if len(phases) > index and not stop.is_set():
            asked = time.perf_counter()
            stop.set()

    store = Store(Path(model.path).parent.parent / "bench-cancel")
    try:
        build_with(model, config, store=store, progress=progress, cancel=stop)
    except JobCancelled:
        return time.perf_counter() - asked
    raise RuntimeError("the build ended before it was cancelled")


def long_dump(layers: int) -> str:
    """Return a layer list as the builder words it, with as many layers as asked for."""
    tensor = (
        "{{ Name: t{0}, Dimensions: [-1,64,56,56], Strides: [200704,1,3584,64], "
        "StrideOrder: [3,0,2,1], Datatype: Float, Format: (NHWC) Channel major format }}"
    )
    lines = [
        f"Name: conv{i}_myl0_{i}, LayerType: correlation, Inputs: [ {tensor.format(i)}], "
        f"Constants: [ {tensor.format(f'w{i}')}], Outputs: [ {tensor.format(i + 1)}], "
        f"TacticName: __myelin_CASK_STUB, StreamId: 0, "
        f"Metadata: [ONNX Layer: conv{i}]\x1f[ONNX Layer: relu{i}]"
        for i in range(layers)
    ]
    return "Layers:\n" + "\n".join(lines) + "\n\nI/O Tensors:\n\nEngine Metadata:\n"
