"""The measuring loop against a bare one, on one session in one child process.

Blocks of 20 bare calls and 20 calls through ``sampling.timed_calls`` alternate, with the order
changed from pair to pair. A bare block reads the clock before and after it and never within.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, median_figure, upper_figure
from trtlab import sampling, worker
from trtlab.backends import base
from trtlab.dataset.random import random_inputs
from trtlab.record import Plan
from trtlab.spec import BuildConfig, RunConfig, input_shapes
from trtlab.store import Store
from trtlab.verbs.build import build

BLOCK = 20


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run in the child."""

    plan_path: str
    plan: Plan
    pairs: int


def figures() -> list[Figure]:
    """Measure the loop's cost on squeezenet (as a ratio) and on one node (per call)."""
    store = Store()
    real = build("zoo:squeezenet", backend="onnxruntime", store=store)
    ratios = _pairs(real, 60, store)
    tiny = build(_one_node(), backend="onnxruntime", store=store)
    differences = _pairs(tiny, 2_000, store)
    return [
        median_figure("harness / bare loop, squeezenet", [h / b for b, h in ratios], "×", 1.03),
        upper_figure("  upper end of its interval", [h / b for b, h in ratios], "×", 1.06),
        median_figure(
            "harness − bare loop, one node, per call",
            [(h - b) / BLOCK / 1e3 for b, h in differences],
            "µs",
            2.0,
        ),
    ]


def _pairs(plan: Plan, pairs: int, store: Store) -> list[tuple[int, int]]:
    spec = Spec(str(store.plan_path(plan.hash)), plan, pairs)
    return worker.run(pairs_job, spec).result


def pairs_job(spec: Spec, progress: worker.Progress) -> list[tuple[int, int]]:
    """Return nanoseconds of bare and harness blocks, pair by pair. Runs in the child."""
    run = RunConfig(threads=1)
    shapes, _ = input_shapes(spec.plan.inputs, spec.plan.outputs, run)
    feeds = random_inputs(spec.plan.inputs, shapes, 0)
    backend = base.backend("onnxruntime")
    with backend.load(Path(spec.plan_path), BuildConfig(), run) as engine:
        call = engine.bind(feeds).call
        for _ in range(BLOCK):
            call()
        taken = []
        for pair in range(spec.pairs):
            if pair % 2:
                harness = _harness(call)
                bare = _bare(call)
            else:
                bare = _bare(call)
                harness = _harness(call)
            taken.append((bare, harness))
            progress("pairs", pair + 1, spec.pairs)
    return taken


def _bare(call: sampling.Call) -> int:
    begin = time.perf_counter_ns()
    for _ in range(BLOCK):
        call()
    return time.perf_counter_ns() - begin


def _harness(call: sampling.Call) -> int:
    begin = time.perf_counter_ns()
    sampling.timed_calls(call, time.perf_counter_ns, until_ns=0, least=BLOCK)
    return time.perf_counter_ns() - begin


def _one_node() -> object:
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    graph = helper.make_graph([node], "one_node", [x], [y])
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name=onnx.__name__)
