"""What ModelOpt makes of two networks: ``python -m benchmarks.modelopt``, after ``make modelopt``.

For each recipe: time and memory of the conversion, the weights that it reached, whether
TensorRT-RTX builds the result for sm89, and of what types the layers' inputs are. For
digits_mobile also top-1 on held-out images by ONNX Runtime on the CPU, its optimisations off and
on. Prints a Markdown table and writes ``benchmarks/last_modelopt.json``: one run, no repetition.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from trtlab import worker
from trtlab.environment import capture
from trtlab.errors import TrtlabError
from trtlab.precision import modelopt
from trtlab.precision.modelopt import ModelOptRecipe, ModelOptRequest
from trtlab.store import Store
from trtlab.verbs.build import build
from trtlab.verbs.load import load
from trtlab.zoo import labelled

BATCH = 1
TARGET = "sm89"
LABELLED = "digits_mobile"
RANDOM = "resnet50"
RANDOM_SAMPLES = 4
RESULT = Path(__file__).parent / "last_modelopt.json"


@dataclass(frozen=True, slots=True)
class Weights:
    """What a file holds. Scales and zero points are no weights.

    Attributes:
        file_bytes: Of the ONNX file.
        stored: Share of weight elements stored in a type below 32 bits.
        read: Share of weight elements that the network reads in one: also those that are stored
            in FP32 in front of a QuantizeLinear.
        pairs: QuantizeLinear nodes, those of weights with them.
        dequantize: DequantizeLinear nodes.
        casts: Cast nodes.
    """

    file_bytes: int
    stored: float
    read: float
    pairs: int
    dequantize: int
    casts: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose top-1 is asked for, and how ONNX Runtime is to run it."""

    path: str
    optimised: bool


def main() -> int:
    """Convert, build and run everything; a step that fails is kept with its words."""
    if modelopt.environment() is None:
        print(f"There is no ModelOpt in {modelopt.folder()} → {modelopt.HINT}")
        return 1
    before = os.getloadavg()[0]
    store = Store()
    rows: list[dict[str, Any]] = []
    for name in (LABELLED, RANDOM):
        with store.scratch() as folder:
            samples, data = _samples(name, folder)
            source = load(f"zoo:{name}", store=store).path
            parent = _facts(name, "fp32", source, store)
            rows.append(parent)
            for recipe in get_args(ModelOptRecipe):
                target = str(folder / f"{recipe}.onnx")
                request = ModelOptRequest(
                    source=source, target=target, recipe=recipe, samples=samples
                )
                rows.append(_row(name, request, data, parent, store))
                print(json.dumps(rows[-1]), flush=True)
    environment = capture(("onnxruntime", "tensorrt-rtx-cu13"))
    result = {
        "environment": asdict(environment),
        "modelopt": modelopt.version(),
        "load_before": before,
        "load_after": os.getloadavg()[0],
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    return 0


def _samples(name: str, folder: Path) -> tuple[dict[str, str], str]:
    """Write calibration data; returns its file by input name, and what it is in words."""
    (tensor,) = load(f"zoo:{name}").inputs
    if name == LABELLED:
        arrays = labelled.calibration(name)
        words = f"{len(arrays)} training images"
    else:
        shape = (RANDOM_SAMPLES, *(d for d in tensor.shape[1:] if isinstance(d, int)))
        arrays = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        words = f"{RANDOM_SAMPLES} random images"
    path = folder / "samples.npy"
    np.save(path, arrays)
    return {tensor.name: str(path)}, words


def _row(
    name: str, request: ModelOptRequest, data: str, parent: dict[str, Any], store: Store
) -> dict[str, Any]:
    try:
        made = worker.run(modelopt.convert, request).result
    except TrtlabError as error:
        return {"model": name, "recipe": request.recipe, "conversion_error": error.message}
    facts = _facts(name, request.recipe, request.target, store)
    if "plan_bytes" in facts and "plan_bytes" in parent:
        facts["plan_to_fp32"] = facts["plan_bytes"] / parent["plan_bytes"]
    return {**facts, "calibration": data, **asdict(made)}


def _facts(name: str, recipe: str, path: str, store: Store) -> dict[str, Any]:
    """Tell of a model what its file holds, what TensorRT-RTX builds of it, and its top-1."""
    facts: dict[str, Any] = {"model": name, "recipe": recipe}
    facts |= asdict(worker.run(weights_job, path).result)
    try:
        plan = build(path, backend="tensorrt_rtx", target=TARGET, batch=BATCH, store=store)
    except TrtlabError as error:
        facts["build_error"] = error.message
    else:
        layers = plan.layers or ()
        read = Counter(t.dtype or "?" for layer in layers for t in layer.inputs)
        facts |= {
            "layers": len(layers),
            "plan_bytes": plan.plan_bytes,
            "inputs_by_type": {t: n / read.total() for t, n in read.most_common()},
        }
    if name == LABELLED:
        for optimised in (False, True):
            key = f"top1_{'optimised' if optimised else 'plain'}"
            try:
                facts[key] = worker.run(top1_job, Asked(path, optimised)).result
            except TrtlabError as error:
                facts[key + "_error"] = error.message
    return facts


def weights_job(path: str, _progress: worker.Progress) -> Weights:
    """Count what a file holds. Runs in the child."""
    import onnx
    from onnx import TensorProto

    graph = onnx.load(path).graph
    ops = Counter(node.op_type for node in graph.node)
    linear = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    scales = {name for node in linear for name in node.input[1:]}
    quantised = {node.input[0] for node in linear if node.op_type == "QuantizeLinear"}
    wide = (TensorProto.FLOAT, TensorProto.DOUBLE)
    whole = (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)
    weights = [w for w in graph.initializer if w.name not in scales and w.data_type not in whole]
    every = sum(_elements(w) for w in weights)
    stored = sum(_elements(w) for w in weights if w.data_type not in wide)
    behind = sum(_elements(w) for w in weights if w.data_type in wide and w.name in quantised)
    return Weights(
        Path(path).stat().st_size,
        stored / every,
        (stored + behind) / every,
        ops["QuantizeLinear"],
        ops["DequantizeLinear"],
        ops["Cast"],
    )


def _elements(tensor: Any) -> int:
    return int(np.prod(tensor.dims))


def top1_job(asked: Asked, _progress: worker.Progress) -> float:
    """Return the share of held-out images that the model names rightly. Runs in the child."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        level.ORT_ENABLE_ALL if asked.optimised else level.ORT_DISABLE_ALL
    )
    session = onnxruntime.InferenceSession(asked.path, options, ["CPUExecutionProvider"])
    images, labels = labelled.held_out(LABELLED)
    (name,) = (i.name for i in session.get_inputs())
    scores = session.run(None, {name: images})[0]
    return float((np.argmax(scores, axis=1) == labels).mean())


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    heads = (
        "model", "recipe", "s", "peak MB", "weights read / stored low", "Q / DQ",
        "file MB", "layers", "plan MB", "of FP32", "layer inputs by type", "top-1 plain / opt."
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(_cells(row))} |" for row in result["rows"]]
    notes = (
        f"ModelOpt {result['modelopt']}; engines by TensorRT-RTX for {TARGET}, batch {BATCH}, "
        "built and never run. Seconds: conversion with calibration, without ModelOpt's import. "
        "Top-1: 1,000 held-out images on ONNX Runtime's CPU, which has no FP16, FP8 or INT4 "
        "arithmetic: there it is emulated, and with optimisations on FP16 runs as FP32; BF16 it "
        f"cannot run. {RANDOM} has random weights and calibration images: no accuracy."
    )
    return "\n".join([*lines, "", notes])


def _cells(row: dict[str, Any]) -> list[str]:
    head = [row["model"], row["recipe"]]
    if "conversion_error" in row:
        return [*head, f"fails: {row['conversion_error']}", *[""] * 9]
    return [
        *head,
        _number(row, "seconds", "{:.1f}"),
        _number(row, "peak_rss_bytes", "{:,.0f}", 1e6),
        f"{row['read']:.0%} / {row['stored']:.0%}",
        f"{row['pairs']} / {row['dequantize']}",
        _number(row, "file_bytes", "{:.2f}", 1e6),
        row.get("build_error") or str(row["layers"]),
        _number(row, "plan_bytes", "{:.2f}", 1e6),
        _number(row, "plan_to_fp32", "{:.2f}"),
        ", ".join(f"{t} {share:.0%}" for t, share in row.get("inputs_by_type", {}).items()),
        f"{_top1(row, 'top1_plain')} / {_top1(row, 'top1_optimised')}",
    ]


def _number(row: dict[str, Any], key: str, form: str, unit: float = 1) -> str:
    return "" if row.get(key) is None else form.format(row[key] / unit)


def _top1(row: dict[str, Any], key: str) -> str:
    if f"{key}_error" in row:
        return "does not run"
    return _number(row, key, "{:.1%}") or "n/a"


if __name__ == "__main__":
    # The package's copy: a worker finds its jobs by the name of their module.
    from benchmarks import modelopt as this

    raise SystemExit(this.main())
