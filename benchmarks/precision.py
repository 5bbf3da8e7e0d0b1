"""Conversions of resnet50 against the bare libraries, per-node accuracy, and INT8's speed.

Ours and bare are processes of their own that alternate, timed from start to end, imports and all;
each reads its own peak memory. FP16 is the job alone, INT8 the whole verb into an empty store:
three workers, their files, and the check of what was made. The bare quantiser gets the same
settings and one sample at a time. The speeds come from one process with one thread that takes the
models in turn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, median_figure
from trtlab import worker
from trtlab.backends import base
from trtlab.dataset.files import SampleFiles, write_samples
from trtlab.dataset.random import random_inputs
from trtlab.dataset.samples import Dataset
from trtlab.model.types import Model
from trtlab.precision.comparing import Comparison, compare
from trtlab.precision.quantize import OPS
from trtlab.precision.recipes import Options
from trtlab.precision.request import Request
from trtlab.record import Plan
from trtlab.spec import BuildConfig, RunConfig, input_shapes
from trtlab.store import Store
from trtlab.verbs.build import build
from trtlab.verbs.convert import convert
from trtlab.verbs.load import load

MODEL = "zoo:resnet50"
FLOAT_PAIRS = 7
INT8_PAIRS = 6
NODE_PAIRS = 6
SAMPLES = 64
NODE_SAMPLES = 8
ROUNDS: Mapping[int, int] = {1: 61, 8: 15}
"""Rounds of the speeds by batch."""

NODE_LIMIT = 8.0
"""The comparison runs the reference three times over and both forms of the model, and reads every
tensor; a run for each node would be more than a hundred."""

SESSIONS = 3
"""What the comparison node by node runs: the plan, the model unfused, and the reference."""

_PEAK = """
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024)
"""

_BARE_FP16 = """
import sys
import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

source, target = sys.argv[1:]
onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)
"""

_BARE_INT8 = """
import json, sys
import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
)
from onnxruntime.quantization.shape_inference import quant_pre_process

source, prepared, target, samples, settings = sys.argv[1:]

class Reader(CalibrationDataReader):
    def __init__(self):
        arrays = {n: np.load(p, mmap_mode="r") for n, p in json.loads(samples).items()}
        count = len(next(iter(arrays.values())))
        self.feeds = ({n: a[i : i + 1] for n, a in arrays.items()} for i in range(count))
    def get_next(self):
        return next(self.feeds, None)

quant_pre_process(source, prepared, skip_symbolic_shape=True)
quantize_static(
    prepared, target, Reader(), quant_format=QuantFormat.QDQ,
    activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
    calibrate_method=CalibrationMethod.MinMax, **json.loads(settings),
)
"""

_SAME = {
    "op_types_to_quantize": OPS,
    "per_channel": True,
    "extra_options": {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,
        "DedicatedQDQPair": True,
    },
}
"""What ``precision.quantize`` sets."""

_BARE_PASS = """
import json, sys
import numpy as np
import onnxruntime as ort

arrays = {n: np.load(p, mmap_mode="r") for n, p in json.loads(sys.argv[1]).items()}
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
sessions = [ort.InferenceSession(path, options) for path in sys.argv[2:]]
for i in range(len(next(iter(arrays.values())))):
    for session in sessions:
        session.run(None, {n: a[i : i + 1] for n, a in arrays.items()})
"""


@dataclass(frozen=True, slots=True)
class Calibrating:
    """A model to be prepared and calibrated in the child."""

    source: str
    samples: SampleFiles
    folder: str


@dataclass(frozen=True, slots=True)
class Speeds:
    """Plans to take turns in the child: their files by name."""

    paths: dict[str, str]
    plan: Plan
    batch: int
    rounds: int


def figures() -> list[Figure]:
    """Convert, calibrate, compare node by node, and run INT8 against FP32."""
    store = Store()
    model = load(MODEL, store=store)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = Dataset.from_random(model.inputs, SAMPLES, 0)
        files = write_samples(data, folder)
        return [
            *_floats(model, folder),
            *_int8(model, data, files, folder),
            _percentile(model, files, folder),
            *_per_node(model, data, store, folder),
            *_speeds(model, data, store, folder),
        ]


def _floats(model: Model, folder: Path) -> list[Figure]:
    assert model.weight_bytes
    times, peaks, beyond = [], [], []
    for pair in range(FLOAT_PAIRS):
        takes = {
            "bare": lambda: _python(_BARE_FP16, model.path, str(folder / "bare.onnx")),
            "ours": lambda: _converted(model, "fp16", folder)[0],
        }
        taken = _in_turn(takes, pair)
        times.append(taken["ours"][0] / taken["bare"][0])
        peaks.append(taken["ours"][1] / taken["bare"][1])
        beyond.append(_converted(model, "bf16", folder)[1] / model.weight_bytes)
    return [
        median_figure(f"FP16 of {model.name}, ours / bare", times, "×", 1.2),
        median_figure("  peak memory of the process, ours / bare", peaks, "×", 1.2),
        median_figure("BF16, memory beyond the libraries / weights", beyond, "×", 3.0),
    ]


def _converted(model: Model, recipe: str, folder: Path) -> tuple[tuple[float, int], int]:
    """Return time and peak of the process, and its peak beyond the imported libraries."""
    request = Request(
        source=model.path,
        target=str(folder / "ours.onnx"),
        name=model.name,
        parent=model.hash,
        before=model.recipe,
        recipe=recipe,
        options=Options(),
    )
    begin = time.perf_counter()
    done = worker.run(convert_job, request)
    took = time.perf_counter() - begin
    peak = done.peak_rss_bytes or 0
    return (took, peak), peak - done.result


def convert_job(request: Request, progress: worker.Progress) -> int:
    """Convert; return the resident bytes before, libraries imported. Runs in the child."""
    from onnxruntime.transformers import float16

    from trtlab.precision.converting import convert_file

    assert float16
    before = worker.rss_bytes() or 0
    worker.forget_peak()
    convert_file(request, progress)
    return before


def _int8(model: Model, data: Dataset, files: SampleFiles, folder: Path) -> list[Figure]:
    ratios = []
    for pair in range(INT8_PAIRS):
        takes = {
            "bare": lambda: _quantised(model, files, _SAME, folder / "bare.onnx"),
            "ours": lambda: _through_the_verb(model, data),
        }
        taken = _in_turn(takes, pair)
        ratios.append(taken["ours"][0] / taken["bare"][0])
    name = f"INT8 static, {len(data)} samples, ours / bare"
    return [median_figure(name, ratios, "×", 1.2)]


def _quantised(
    model: Model, files: SampleFiles, settings: Mapping[str, Any], target: Path
) -> tuple[float, int]:
    prepared = str(target.with_suffix(".prepared.onnx"))
    samples = json.dumps(dict(files.paths))
    return _python(_BARE_INT8, model.path, prepared, str(target), samples, json.dumps(settings))


def _through_the_verb(model: Model, data: Dataset) -> tuple[float, int]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        begin = time.perf_counter()
        convert(model, "int8", calibration=data, store=store)
        return time.perf_counter() - begin, 0


def _percentile(model: Model, files: SampleFiles, folder: Path) -> Figure:
    done = worker.run(percentile_job, Calibrating(model.path, files, str(folder)))
    peak = (done.peak_rss_bytes or 0) / 2**30
    name = f"percentile calibrator, {files.count} samples, peak memory"
    return Figure(name, peak, "GiB", 2.0, 1)


def percentile_job(spec: Calibrating, progress: worker.Progress) -> None:
    """Settle on ranges by histograms. Runs in the child."""
    from trtlab.dataset.files import read_samples
    from trtlab.precision.calibrate import prepare, ranges

    folder = Path(spec.folder)
    prepared = folder / "prepared.onnx"
    prepare(Path(spec.source), prepared)
    ranges(prepared, "percentile", read_samples(spec.samples), OPS, folder, progress)


def _per_node(model: Model, data: Dataset, store: Store, folder: Path) -> list[Figure]:
    int8 = convert(model, "int8", calibration=data, store=store)
    plan = build(int8, backend="onnxruntime", store=store)
    folder = folder / "nodes"
    folder.mkdir()
    files = write_samples(data.take(NODE_SAMPLES, 0), folder)
    task = Comparison(
        model=str(store.plan_path(plan.hash)), emulate=False, unfused=int8.path,
        reference=model.path, reference_outputs=None, samples=files, labels=None,
        config=plan.config, recipe=int8.recipe, batch=None, atol=None, rtol=None,
        folder=str(folder),
    )  # fmt: skip
    ratios = []
    nodes = runs = 0
    for _ in range(NODE_PAIRS):
        begin = time.perf_counter()
        nodes, runs = worker.run(per_node_job, task).result
        ours = time.perf_counter() - begin
        plain = _python(_BARE_PASS, json.dumps(dict(files.paths)), model.path, int8.path)[0]
        ratios.append(ours / plain)
    return [
        Figure(f"samples run / samples, {nodes} nodes compared", runs / files.count, "",
               SESSIONS, files.count),
        median_figure("  per-node accuracy / a plain pass of both", ratios, "×", NODE_LIMIT),
    ]  # fmt: skip


def per_node_job(task: Comparison, progress: worker.Progress) -> tuple[int, int]:
    """Compare; return how many nodes, and the samples that all sessions ran in sum.

    Runs in the child.
    """
    import onnxruntime

    runs: Counter[str] = Counter()
    real = onnxruntime.InferenceSession.run
    given = next(iter(task.samples.paths))

    def counted(session: Any, outputs: Any, feeds: Mapping[str, Any], *rest: Any) -> Any:
        runs["samples"] += len(feeds[given])
        return real(session, outputs, feeds, *rest)

    onnxruntime.InferenceSession.run = counted
    found = compare(task, progress)
    return len(found.nodes or ()), runs["samples"]


def _speeds(model: Model, data: Dataset, store: Store, folder: Path) -> list[Figure]:
    folder = folder / "speeds"
    folder.mkdir()
    theirs = folder / "default.onnx"
    _quantised(model, write_samples(data.take(NODE_SAMPLES, 0), folder), {}, theirs)
    models = {
        "FP32": model,
        "INT8": convert(model, "int8", calibration=data, store=store),
        "UINT8": convert(model, "int8", calibration=data, activations="uint8", store=store),
        "per-tensor": convert(model, "int8", calibration=data, per_channel=False, store=store),
        "default": load(theirs, store=store),
    }
    plans = {name: build(m, backend="onnxruntime", store=store) for name, m in models.items()}
    paths = {name: str(store.plan_path(plan.hash)) for name, plan in plans.items()}
    found = []
    for batch, rounds in ROUNDS.items():
        taken = worker.run(speeds_job, Speeds(paths, plans["FP32"], batch, rounds)).result
        for words, name, other, limit in (
            ("INT8 / FP32, time of a run", "INT8", "FP32", 0.5),
            ("  UINT8 activations / FP32", "UINT8", "FP32", 0.5),
            ("  INT8 per tensor / FP32", "per-tensor", "FP32", 0.5),
            ("  INT8 / ONNX Runtime's default INT8", "INT8", "default", 1.0),
        ):
            ratios = [a / b for a, b in zip(taken[name], taken[other], strict=True)]
            found.append(median_figure(f"{words}, batch {batch}", ratios, "×", limit))
    return found


def speeds_job(spec: Speeds, progress: worker.Progress) -> dict[str, list[int]]:
    """Return nanoseconds of a run, by plan, round by round. Runs in the child."""
    import contextlib

    run = RunConfig(threads=1, batch=spec.batch)
    shapes, _ = input_shapes(spec.plan.inputs, spec.plan.outputs, run)
    feeds = random_inputs(spec.plan.inputs, shapes, 0)
    backend = base.backend("onnxruntime")
    taken: dict[str, list[int]] = {name: [] for name in spec.paths}
    with contextlib.ExitStack() as stack:
        calls = {}
        for name, path in spec.paths.items():
            engine = stack.enter_context(backend.load(Path(path), BuildConfig(), run))
            calls[name] = engine.bind(feeds).call
        names = list(calls)
        for number in range(spec.rounds):
            # Each round begins with another, so that each comes after each.
            first = number % len(names)
            for name in names[first:] + names[:first]:
                begin = time.perf_counter_ns()
                calls[name]()
                taken[name].append(time.perf_counter_ns() - begin)
            progress("rounds", number + 1, spec.rounds)
    return taken


def _in_turn(takes: Mapping[str, Any], pair: int) -> dict[str, tuple[float, int]]:
    """Take both, in an order that changes from pair to pair."""
    order: Sequence[str] = list(takes) if pair % 2 else list(takes)[::-1]
    return {name: takes[name]() for name in order}


def _python(script: str, *arguments: str) -> tuple[float, int]:
    """Run a script in an interpreter of its own; return its seconds and its peak memory."""
    # As in our workers, so that its telemetry does not count against it.
    env = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}
    begin = time.perf_counter()
    said = subprocess.run(
        [sys.executable, "-c", script + _PEAK, *arguments],
        check=True, env=env, capture_output=True,
    ).stdout  # fmt: skip
    return time.perf_counter() - begin, int(said.split()[-1])
