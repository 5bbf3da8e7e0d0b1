"""Ranges of activations: what the library does, and that ours differ and stay small."""

import tracemalloc
from itertools import combinations

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator

from tests.model import nets
from tests.precision.converted import chain, cnn, draw, node, ops, settled
from trtlab.errors import ExecutionError, ModelError
from trtlab.model.conversion import CALIBRATORS
from trtlab.precision import calibrate
from trtlab.precision.quantize import OPS
from trtlab.zoo import catalogue, labelled

DIFFERENT_SHARE = 0.3
"""Of the tensors, by more than half a percent of the range's end."""

PAIRS = list(combinations(CALIBRATORS, 2))


class Batches:
    def __init__(self, *batches):
        self.left = iter(batches)

    def get_next(self):
        return next(self.left, None)


@pytest.fixture
def by_library(tmp_path):
    """Ranges that the library's calibrator settles on, with its own words kept quiet."""
    prepared, _ = settled(cnn(), draw(2, 3, 8, 8), tmp_path)

    def settle(method, *batches, **options):
        with calibrate.quiet():
            made = create_calibrator(
                prepared, ["Conv", "Relu"], augmented_model_path=str(tmp_path / "a.onnx"),
                calibrate_method=method, extra_options=options,
            )  # fmt: skip
            made.collect_data(Batches(*({"x": b} for b in batches)))
            found = made.compute_data()
        return {n: tuple(float(np.ravel(v)[0]) for v in found[n].range_value) for n in found}

    return settle


# Traps of the library: when one of these fails, the library was mended, and our mending can go.


def test_library_entropy_is_min_max_unless_it_has_bins(by_library):
    x = draw(10, 3, 8, 8)
    wide = by_library(CalibrationMethod.MinMax, x)
    assert by_library(CalibrationMethod.Entropy, x) == wide
    bins = {"num_bins": calibrate.BINS, "num_quantized_bins": calibrate.QUANTISED_BINS}
    chosen = by_library(CalibrationMethod.Entropy, x, **bins)
    assert all(chosen[name] != wide[name] for name in wide)


def test_library_drops_data_beyond_its_limit_of_outputs(by_library):
    low, high = np.full((1, 3, 8, 8), -9, "f4"), np.full((1, 3, 8, 8), 9, "f4")
    rest = draw(1, 3, 8, 8)
    limited = by_library(CalibrationMethod.MinMax, low, high, rest, max_intermediate_outputs=2)
    assert limited["x"] == (rest.min(), rest.max())


def test_library_hands_out_two_quantisers_where_batch_norm_stays(tmp_path):
    """Why ``prepare`` folds it: its input and its parameters would be quantised too."""
    _, plain = settled(cnn(), draw(2, 3, 8, 8), tmp_path)
    assert "c" not in plain
    onnx.save(cnn(), tmp_path / "whole.onnx")
    with calibrate.quiet():
        made = create_calibrator(
            tmp_path / "whole.onnx", ["Conv", "BatchNormalization"],
            augmented_model_path=str(tmp_path / "a.onnx"),
        )  # fmt: skip
        made.collect_data(Batches({"x": draw(2, 3, 8, 8)}))
    assert {"c", "n"} <= set(made.compute_data())


# Ours


def test_preparing_folds_batch_norm_and_leaves_nothing_else(tmp_path):
    onnx.save(cnn(), tmp_path / "net.onnx")
    calibrate.prepare(tmp_path / "net.onnx", tmp_path / "out.onnx")
    assert ops(onnx.load(tmp_path / "out.onnx")).count("BatchNormalization") == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx", "out.onnx"]


@pytest.fixture(scope="module")
def of_digits_mobile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mobile")
    images = labelled.calibration("digits_mobile")[:32]
    calibrate.prepare(catalogue.shipped_path("digits_mobile"), folder / "p.onnx")
    return {
        name: calibrate.ranges(
            folder / "p.onnx", name, {"image": images}, OPS, folder, lambda *_: None
        )
        for name in CALIBRATORS
    }


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_calibrators_differ_on_a_real_network(one, other, of_digits_mobile):
    a, b = of_digits_mobile[one], of_digits_mobile[other]
    assert a.keys() == b.keys()
    differ = [n for n in a if not np.allclose(a[n], b[n], rtol=0.005)]
    assert len(differ) / len(a) > DIFFERENT_SHARE


def test_no_calibrator_goes_beyond_what_was_met(of_digits_mobile):
    widest = of_digits_mobile["minmax"]
    for name in ("percentile", "entropy", "mse"):
        for tensor, (low, high) in of_digits_mobile[name].items():
            step = (widest[tensor].high - widest[tensor].low) / 64
            assert low >= widest[tensor].low - step
            assert high <= widest[tensor].high + step


def ranges_in_batches(count, folder, monkeypatch, calibrator="minmax"):
    monkeypatch.setattr(calibrate, "_LARGEST_BATCH", count)
    return settled(cnn(), draw(33, 3, 8, 8), folder, calibrator)[1]


def test_batches_do_not_matter_to_min_max(tmp_path, monkeypatch):
    one = ranges_in_batches(1, tmp_path, monkeypatch)
    many = ranges_in_batches(32, tmp_path, monkeypatch)
    assert {n: pytest.approx(span, rel=1e-5) for n, span in one.items()} == many
    x = draw(33, 3, 8, 8)
    assert one["x"] == (x.min(), x.max())  # the last one, which fills no batch, too


@pytest.mark.timeout(60)
def test_an_outlier_in_a_late_batch_is_cut_in_little_time(tmp_path):
    x = draw(64, 3, 8, 8)
    x[-1, 0, 0, 0] = 1000
    proto = chain("Relu")
    proto.graph.input[0].CopyFrom(nets.value("x", ["N", 3, 8, 8]))
    proto.graph.output[0].CopyFrom(nets.value("y", ["N", 3, 8, 8]))
    high = {name: settled(proto, x, tmp_path, name)[1]["x"].high for name in CALIBRATORS}
    assert high["minmax"] == 1000
    assert high["percentile"] < 20
    assert high["entropy"] < 1000


def test_least_error_finds_the_best_range():
    """Half the weight at 1, one value at 10: keeping the one costs more than cutting it."""
    edges = np.linspace(-10, 10, 2049, dtype="f4")
    counts = np.zeros(2048)
    counts[np.searchsorted(edges, 0.999) - 1 :][:1] = 1e6
    counts[-1] = 1
    low, high = calibrate._least_error((counts, edges, 0.0, 10.0))
    assert low == 0
    step = high / 127
    assert abs(round(0.995 / step) * step - 0.995) < 0.01
    assert high < 10


@pytest.mark.parametrize("calibrator", ["percentile", "mse"])
def test_memory_does_not_grow_with_the_samples(calibrator, tmp_path, monkeypatch):
    """4 MB of intermediate results a sample: held for all of them, 64 took 250 MB."""
    monkeypatch.setattr(calibrate, "_RUN_BYTES", 16 * 2**20)
    proto = nets.model(
        [node("Relu", ["x"], ["a"]), node("MaxPool", ["a"], ["y"], kernel_shape=[1, 1])],
        {"x": ["N", 1, 512, 512]}, {"y": ["N", 1, 512, 512]},
    )  # fmt: skip
    x = np.broadcast_to(draw(1, 1, 512, 512), (64, 1, 512, 512))
    tracemalloc.start()
    settled(proto, x, tmp_path, calibrator)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6


def test_a_fixed_batch_is_filled(tmp_path):
    proto = cnn()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    x = draw(12, 3, 8, 8)
    assert settled(proto, x, tmp_path)[1]["x"] == (x.min(), x.max())


@pytest.mark.parametrize("calibrator", ["minmax", "percentile", "mse"])
def test_inputs_of_zeros_have_a_range(calibrator, tmp_path):
    _, found = settled(cnn(), np.zeros((2, 3, 8, 8), "f4"), tmp_path, calibrator)
    assert found["x"] == (0, 0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("calibrator", CALIBRATORS)
def test_values_that_are_not_finite_are_refused(calibrator, tmp_path):
    proto = chain("Sqrt", "Relu")
    with pytest.raises((ModelError, ExecutionError), match=r"Tensor t1 takes|not finite"):
        settled(proto, np.full((2, 4), -1, "f4"), tmp_path, calibrator)


def test_an_operator_that_onnx_runtime_does_not_know(tmp_path, caplog):
    proto = nets.model(
        [node("Foo", ["x"], ["h"], domain="acme"), node("Relu", ["h"], ["y"])],
        {"x": ["N", 4]}, {"y": ["N", 4]},
    )  # fmt: skip
    proto.opset_import.add(domain="acme", version=1)
    with pytest.raises(ExecutionError, match="did not run on the calibration data"):
        settled(proto, draw(2, 4), tmp_path)


@pytest.mark.parametrize("calibrator", ["percentile", "entropy", "mse"])
def test_an_outlier_in_a_late_batch_costs_no_memory(calibrator, tmp_path):
    # The library would add bins of the first batch's width: a hundred million of them.
    x = draw(40, 3, 8, 8)
    x[39, 0, 0, 0] = 1e6
    tracemalloc.start()
    _, found = settled(cnn(), x, tmp_path, calibrator)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20
    assert found["x"].high <= 1e6


def test_a_mask_keeps_its_range_and_the_others_have_histograms(tmp_path):
    proto = nets.model(
        [node("Add", ["x", "mask"], ["s"]), node("Relu", ["s"], ["y"])],
        {"x": ["N", 4], "mask": ["N", 4]}, {"y": ["N", 4]},
    )  # fmt: skip
    onnx.save(proto, tmp_path / "source.onnx")
    calibrate.prepare(tmp_path / "source.onnx", tmp_path / "prepared.onnx")
    mask = np.where(draw(64, 4) > 0, 0, np.finfo("f4").min).astype("f4")
    found = calibrate.ranges(
        tmp_path / "prepared.onnx", "percentile", {"x": draw(64, 4, seed=1), "mask": mask},
        OPS, tmp_path, lambda *_: None,
    )  # fmt: skip
    assert found["mask"] == (np.finfo("f4").min, 0)
    assert 0 < found["x"].high < 10
