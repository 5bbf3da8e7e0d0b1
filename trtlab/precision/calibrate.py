"""Ranges of activations from data: ONNX Runtime's calibrators, fed a batch at a time.

Its histogram calibrators hold every intermediate result of all batches that they are handed, so
they are handed one. Its entropy calibrator is given bins enough to choose from: with the defaults
it has one threshold to choose from, and equals min-max. The mean square error is ours, over the
same histograms.

Runs native code: for worker processes.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from trtlab.errors import ExecutionError, ModelError
from trtlab.model.conversion import Range
from trtlab.precision.graphs import open_graph, with_opset
from trtlab.worker import Progress

BINS = 2048
"""Bins of a histogram over both signs, as in NVIDIA's pytorch-quantization."""

QUANTISED_BINS = 128
"""What the entropy calibrator merges them to: the levels of INT8 on one side."""

PERCENTILE = 99.99
"""Share of values inside the range, the default of NVIDIA's pytorch-quantization."""

_MSE_STEPS = 128
_FEWEST_SHARE = 0.1
"""The mean square error looks at ranges from this share of the largest value on."""

_RUN_BYTES = 64 * 2**20
"""Most bytes of intermediate results in one run: a histogram calibrator holds them all."""

_LARGEST_BATCH = 32

_LARGEST_BINNED = 1e30
"""Beyond this the width of a histogram overflows; only masks get there."""

_OPSET, _IR = 13, 7
"""From which QuantizeLinear has a scale for each channel."""


def prepare(source: Path, target: Path) -> None:
    """Fold BatchNorm into weights and infer shapes, which quantising needs.

    Unfolded, BatchNorm's parameters would get quantisers of their own, and so would its input.

    Raises:
        ModelError, UnsupportedError: as ``graphs.open_graph``.
        UnsupportedError: its operators cannot be brought to opset 13.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    named = target.with_suffix(".named.onnx")
    onnx.save(with_opset(open_graph(source), _OPSET, _IR), named)
    with quiet():
        # Symbolic shape inference wants sympy, 80 MB, and finds nothing more in fixed graphs.
        quant_pre_process(named, target, skip_symbolic_shape=True)
    named.unlink()


def ranges(
    prepared: Path,
    calibrator: str,
    samples: Mapping[str, np.ndarray],
    ops: Sequence[str],
    scratch: Path,
    progress: Progress,
) -> dict[str, Range]:
    """Run the samples through a prepared model and settle on a range for each tensor.

    Args:
        prepared: What ``prepare`` wrote.
        calibrator: One of ``CALIBRATORS``.
        samples: By input name, [samples, ...].
        ops: Operators whose inputs and outputs are looked at.
        scratch: A folder for the model with more outputs.
        progress: Called with phase, steps done and steps in all.

    Raises:
        ModelError: a tensor took no finite value.
        ExecutionError: the model did not run.
    """
    batches = [
        {name: np.ascontiguousarray(array[part]) for name, array in samples.items()}
        for part in _slices(prepared, samples)
    ]
    with quiet():
        spans = _spans(_collected(prepared, "minmax", ops, batches, scratch, progress))
        if calibrator == "minmax":
            return spans
        made = _collected(prepared, calibrator, ops, batches, scratch, progress, spans)
        # What has no histogram (zeros alone, a mask) keeps its smallest and largest value.
        return spans | _checked(_settled(made, calibrator, progress))


def _collected(
    prepared: Path,
    calibrator: str,
    ops: Sequence[str],
    batches: Sequence[dict[str, np.ndarray]],
    scratch: Path,
    progress: Progress,
    spans: Mapping[str, Range] | None = None,
) -> Any:
    """Run the batches through one of the library's calibrators."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    method, options = {
        "minmax": (CalibrationMethod.MinMax, {}),
        "percentile": (
            CalibrationMethod.Percentile,
            {"num_bins": BINS, "percentile": PERCENTILE, "symmetric": True},
        ),
        "entropy": (
            CalibrationMethod.Entropy,
            {"num_bins": BINS, "num_quantized_bins": QUANTISED_BINS},
        ),
        "mse": (CalibrationMethod.Entropy, {"num_bins": BINS}),
    }[calibrator]
    try:
        made = create_calibrator(
            prepared,
            list(ops),
            augmented_model_path=str(scratch / "calibrating.onnx"),
            calibrate_method=method,
            extra_options=options,
        )
        if spans is not None:
            _preset(made, spans)
        for index, feed in enumerate(batches):
            progress("calibrate", index, len(batches))
            made.collect_data(_Once(feed))
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise ExecutionError(
            f"The model did not run on the calibration data: {str(error)[:300]}",
            hint="Run it with trtlab bench; the data must fit its inputs.",
        ) from error
    progress("calibrate", len(batches), len(batches))
    return made


def _preset(made: Any, spans: Mapping[str, Range]) -> None:
    """Give each histogram its width before any value comes.

    The library adds bins of the first batch's width when a later one reaches further: gigabytes
    for an outlier, and hours for entropy, whose time grows with their square.
    """
    from onnxruntime.quantization.calibrate import HistogramCollector

    collector = HistogramCollector(
        made.method, made.symmetric, made.num_bins, made.num_quantized_bins,
        made.percentile, made.scenario,
    )  # fmt: skip
    for name, (low, high) in spans.items():
        peak = np.float32(max(abs(low), abs(high)))
        if not 0 < peak < _LARGEST_BINNED:
            made.tensors_to_calibrate.discard(name)
            continue
        start = np.float32(0) if made.symmetric else -peak
        edges = np.linspace(start, peak, BINS + 1, dtype=np.float32)
        counts = np.zeros(BINS, np.int64)
        known = (counts, edges, np.float32(low), np.float32(high), np.array(peak))
        collector.histogram_dict[name] = known[: 4 if made.symmetric else 5]
    made.collector = collector


def _spans(made: Any) -> dict[str, Range]:
    data = made.compute_data()
    return _checked({name: _range(*data[name].range_value) for name in data})


class _Once:
    """Hands out one batch, then nothing."""

    def __init__(self, feed: dict[str, np.ndarray]) -> None:
        self._feed: dict[str, np.ndarray] | None = feed

    def get_next(self) -> dict[str, np.ndarray] | None:
        feed, self._feed = self._feed, None
        return feed


def _slices(prepared: Path, samples: Mapping[str, np.ndarray]) -> Iterator[slice]:
    """Cut the samples into batches of the model's fixed size, which fills them, or what fits."""
    model = onnx.load(prepared, load_external_data=False)
    count = len(next(iter(samples.values())))
    fixed = {
        v.type.tensor_type.shape.dim[0].dim_value
        for v in model.graph.input
        if v.name in samples and v.type.tensor_type.shape.dim[0].HasField("dim_value")
    }
    size = next(iter(fixed)) if fixed else _batch(model)
    return (slice(start, start + size) for start in range(0, count, size))


def _batch(model: onnx.ModelProto) -> int:
    values = (*model.graph.value_info, *model.graph.output)
    each = sum(
        4 * math.prod(max(d.dim_value, 1) for d in v.type.tensor_type.shape.dim) for v in values
    )
    return int(max(1, min(_LARGEST_BATCH, _RUN_BYTES // max(each, 1))))


def _settled(made: Any, calibrator: str, progress: Progress) -> dict[str, Range]:
    if calibrator == "percentile":
        data = made.compute_data()
        return {name: _range(*data[name].range_value) for name in data}
    histograms = made.collector.histogram_dict
    choose: Callable[[Any], tuple[Any, Any]] = _least_error
    if calibrator == "entropy":

        def choose(histogram: Any) -> tuple[Any, Any]:
            low, high = made.collector.get_entropy_threshold(histogram, QUANTISED_BINS)
            return low, high

    found = {}
    for index, (name, histogram) in enumerate(histograms.items()):
        progress("choose ranges", index, len(histograms))
        found[name] = _range(*choose(histogram))
    return found


def _range(low: Any, high: Any) -> Range:
    return Range(float(np.min(low)), float(np.max(high)))


def _least_error(histogram: Any) -> tuple[float, float]:
    """Choose the range whose 255 levels leave the least mean square error of a histogram."""
    counts, edges, low, high = histogram[:4]
    centres = (edges[:-1].astype(np.float64) + edges[1:]) / 2
    largest = float(np.abs(edges).max())
    best, least = largest, math.inf
    for share in np.linspace(_FEWEST_SHARE, 1.0, _MSE_STEPS):
        step = largest * share / 127
        if step == 0:
            break
        quantised = np.clip(np.round(centres / step), -127, 127) * step
        error = float((counts * (centres - quantised) ** 2).sum())
        if error < least:
            best, least = largest * share, error
    return max(float(low), -best), min(float(high), best)


def _checked(found: dict[str, Range]) -> dict[str, Range]:
    # Sorted: the calibrators' own order comes from a set, and changes from run to run.
    ordered = dict(sorted(found.items()))
    for name, span in ordered.items():
        if not (math.isfinite(span.low) and math.isfinite(span.high)):
            raise ModelError(
                f"Tensor {name} takes values from {span.low} to {span.high} on this data.",
                hint="Ranges must be finite: look for a division by 0 in the model or the data.",
            )
    return ordered


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the library prints and logs about its own steps away from the terminal."""
    import logging

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
