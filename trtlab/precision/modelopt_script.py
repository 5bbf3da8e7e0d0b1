"""What runs inside ModelOpt's environment: one request, one conversion, one reply.

``modelopt.py`` starts it as a file, with an interpreter that has no trtlab and may be Python 3.10.
The request is a line of JSON on stdin, which stays open: when it closes, this process ends. The
replies are lines of JSON on the pipe whose number is the first argument, because ModelOpt and
what it imports print on stdout.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",  # the same result with and without a GPU
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "ORT_TELEMETRY_DISABLED": "1",
}

CAST_BATCHES = 8
"""Batches that AutoCast gets: it keeps every tensor of every batch in memory."""

_METHODS = {"minmax": "max", "entropy": "entropy"}
"""ModelOpt's names of the calibrators that it has."""

Tell = Callable[..., None]


def main() -> None:
    """Serve one request: the body of the process."""
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    replies = os.fdopen(fd, "w", encoding="ascii")

    def tell(kind: str, **fields: Any) -> None:
        replies.write(json.dumps({"kind": kind, **fields}) + "\n")
        replies.flush()

    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(_ENVIRONMENT)
    sys.addaudithook(_refuse_network)
    try:
        tell("result", **_answer(request, tell))
    except ImportError as error:
        tell("missing", message=str(error), details=traceback.format_exc())
    except Exception as error:  # noqa: BLE001 - the border of the process: all must be told
        tell("error", message=f"{type(error).__name__}: {error}", details=traceback.format_exc())
    # Skips native destructors, which may crash or hang after the result is safely sent.
    os._exit(0)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # returns at the end of file: the parent closed the pipe or is gone
    os._exit(1)


def _refuse_network(event: str, _arguments: object) -> None:
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise PermissionError("ModelOpt's process is allowed no network")


def _answer(request: dict[str, Any], tell: Tell) -> dict[str, Any]:
    tell("progress", phase="starting ModelOpt", done=0, total=0)
    begin = time.perf_counter()
    for name in ("modelopt.onnx.autocast", "modelopt.onnx.quantization"):
        importlib.import_module(name)
    started = time.perf_counter()
    tell("progress", phase="converting", done=0, total=0)
    convert = _cast if request["recipe"] in ("fp16", "bf16") else _quantize
    call = convert(request, tell)
    mended = mend_block_axes(request["target"]) if request["recipe"] == "int4-weights" else 0
    return {
        "call": call,
        "mended": mended,
        "seconds": time.perf_counter() - started,
        "start_seconds": started - begin,
        "peak_rss_bytes": _peak_rss_bytes(),
    }


def _cast(request: dict[str, Any], tell: Tell) -> str:
    """Convert by AutoCast, which chooses the nodes by the values that it sees."""
    import numpy as np
    import onnx

    settings: dict[str, Any] = {
        "low_precision_type": request["recipe"],
        "keep_io_types": request["keep_io"],
        "nodes_to_exclude": _patterns(request["keep_nodes"]),
        "op_types_to_exclude": list(request["keep_ops"]),
    }
    given: dict[str, Any] = {}
    if request["samples"]:
        samples = _Samples(request, tell)
        count = min(len(samples), CAST_BATCHES)
        folder = Path(request["folder"], "samples")
        folder.mkdir()
        for index in range(count):
            np.savez(folder / f"{index}.npz", **samples.batch(index))
        given["calibration_data"] = str(folder)
        settings["calibration_data"] = f"{count} batches"
    autocast = importlib.import_module("modelopt.onnx.autocast")
    call = _call_text("autocast.convert_to_mixed_precision", settings)
    model = autocast.convert_to_mixed_precision(onnx_path=request["source"], **(settings | given))
    target = Path(request["target"])
    onnx.save(
        model,
        str(target),
        save_as_external_data=request["external"],
        location=target.name + ".data",
    )
    return call


def _quantize(request: dict[str, Any], tell: Tell) -> str:
    """Quantise statically, or only weights to INT4 in blocks of 128."""
    mode, _, floats = request["recipe"].partition("+")
    keep = _patterns(request["keep_nodes"])
    settings: dict[str, Any] = {
        "quantize_mode": mode.removesuffix("-weights"),
        "calibration_eps": ["cpu"],
        "high_precision_dtype": floats or "fp32",
        # Else an input turns INT8, without the scale that it would need.
        "direct_io_types": False,
        "use_external_data_format": request["external"],
    }
    given: dict[str, Any] = {}
    if mode == "int4-weights":
        # Its INT4 knows no operators to leave alone.
        keep += _patterns(_nodes_of(request["source"], request["keep_ops"]))
        settings["calibration_method"] = "awq_clip" if request["samples"] else "rtn_dq"
    else:
        settings["calibration_method"] = _METHODS[request["calibrator"]]
        settings["op_types_to_exclude"] = list(request["keep_ops"])
        settings["op_types_to_exclude_fp16"] = list(request["keep_ops"])
    settings["nodes_to_exclude"] = keep
    if request["samples"]:
        given["calibration_data_reader"] = _Samples(request, tell)
    quantization = importlib.import_module("modelopt.onnx.quantization")
    call = _call_text("quantization.quantize", settings)  # before it adds to our lists
    quantization.quantize(
        onnx_path=request["source"], output_path=request["target"], **settings, **given
    )
    return call


def mend_block_axes(path: str) -> int:
    """Put right the axis of blocks where only the other one fits the scales; return how many.

    AWQ in ModelOpt 0.47 scales blocks along the last axis of a Gemm's transposed weight and writes
    axis 0: neither ONNX Runtime nor TensorRT takes that.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    mended = 0
    for node in model.graph.node:
        named = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type != "DequantizeLinear" or "block_size" not in named:
            continue
        weight, scale = (shapes.get(name, ()) for name in node.input[:2])
        axis, size = named.get("axis"), named["block_size"].i
        if len(weight) != 2 or axis is None or axis.i != 0:
            continue
        blocks = [-(-length // size) for length in weight]
        if scale == (weight[0], blocks[1]) != (blocks[0], weight[1]):
            axis.i = 1
            mended += 1
    if mended:
        onnx.save(model, path)
    return mended


def _call_text(name: str, settings: dict[str, Any]) -> str:
    told = ", ".join(f"{k}={v!r}" for k, v in settings.items() if v not in ([], False))
    return f"modelopt.onnx.{name}({told})"


def _patterns(names: list[str]) -> list[str]:
    """Return what ModelOpt's ``re.match`` finds these nodes by, and no others."""
    return [re.escape(name) + r"\Z" for name in names]


def _nodes_of(path: str, ops: list[str]) -> list[str]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return [node.name for node in graph.node if node.op_type in ops]


class _Samples:
    """Calibration batches, as ONNX Runtime's calibrators and AWQ ask for them."""

    def __init__(self, request: dict[str, Any], tell: Tell) -> None:
        import numpy as np
        import onnx

        # Mapped: a batch is read when it is asked for.
        self._arrays = {
            name: np.load(path, mmap_mode="r", allow_pickle=False)
            for name, path in request["samples"].items()
        }
        graph = onnx.load(request["source"], load_external_data=False).graph
        rows = [
            i.type.tensor_type.shape.dim[0].dim_value or 1
            for i in graph.input
            if i.name in self._arrays and i.type.tensor_type.shape.dim
        ]
        self._rows = max(rows, default=1)
        self._next = 0
        self._tell = tell
        if not len(self):
            raise ValueError(f"fewer samples than the model's batch of {self._rows}")

    def __len__(self) -> int:
        return min(len(array) for array in self._arrays.values()) // self._rows

    def batch(self, index: int) -> dict[str, Any]:
        part = slice(index * self._rows, (index + 1) * self._rows)
        return {name: array[part] for name, array in self._arrays.items()}

    def get_first(self) -> dict[str, Any]:
        return self.batch(0)

    def get_next(self) -> dict[str, Any] | None:
        if self._next == len(self):
            return None
        self._next += 1
        self._tell("progress", phase="calibrating", done=self._next, total=len(self))
        return self.batch(self._next - 1)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.rewind()
        while (batch := self.get_next()) is not None:
            yield batch

    def rewind(self) -> None:
        self._next = 0


def _peak_rss_bytes() -> int | None:
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


if __name__ == "__main__":
    main()
