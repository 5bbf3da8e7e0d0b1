"""``convert_within``: the culprit is kept alone, each trial told, the impossible refused."""

import numpy as np
import onnx
import pytest

from tests.model import nets
from tests.precision.converted import draw, node, run
from trtlab.dataset.samples import Dataset
from trtlab.errors import SpecError, UnsupportedError
from trtlab.verbs.convert import convert
from trtlab.verbs.convert_within import convert_within
from trtlab.verbs.export import export
from trtlab.verbs.load import load

pytestmark = pytest.mark.native


def fragile(*, second=False):
    """A perceptron whose first weight has a row of thousands that meets an input of zeros.

    In 8 bits the other rows are lost to it; nothing else is hard to quantise.
    """
    w1, w2 = draw(8, 32), draw(32, 4, seed=1)
    w1[0] = 1000
    if second:
        w2[0] = 1000
        w1[:, 0] = 0
    return nets.model(
        [node("MatMul", ["x", "w1"], ["h"], name="first"), node("Relu", ["h"], ["r"], name="act"),
         node("MatMul", ["r", "w2"], ["y"], name="second")],
        {"x": ["N", 8]}, {"y": ["N", 4]}, {"w1": w1, "w2": w2},
    )  # fmt: skip


@pytest.fixture
def x():
    found = draw(200, 8, seed=2)
    found[:, 0] = 0
    return found


@pytest.fixture
def model(tmp_path):
    onnx.save(fragile(), tmp_path / "net.onnx")
    return load(tmp_path / "net.onnx")


@pytest.fixture
def labelled(model, x):
    return Dataset.from_arrays(x, run(model.path, x=x)[0].argmax(1))


def test_the_culprit_is_kept_alone_and_each_trial_is_told(model, x, labelled):
    found = convert_within(model, "int8", data=labelled, calibration=x, max_drop=2)
    assert found.best.kept == ("first",)
    assert [k.node for k in found.model.conversion.kept if k.reason == "asked for"] == ["first"]
    first, *_, best = found.trials
    assert (first.kept, first.within) == ((), False)
    assert first.drop > 20
    assert best == found.best
    assert best.within
    assert best.interval.low <= best.drop <= best.interval.high
    wrong = run(found.model.path, x=x)[0].argmax(1) != labelled.labels
    assert best.drop == pytest.approx(100 * wrong.mean(), abs=1.01)
    shown = repr(found)
    assert shown.count("trial ") == len(found.trials)
    assert "1: first" in shown
    assert "200 samples" in shown


def test_without_labels_changed_classes_count(model, x):
    found = convert_within(model, "int8", data=x, calibration=x, max_drop=2)
    assert found.best.kept == ("first",)
    assert found.best.interval is None
    assert found.measure == "samples that change their class"


def test_where_all_is_well_nothing_is_kept(model, x, labelled):
    found = convert_within(model, "fp16", data=labelled, max_drop=2)
    assert (found.best.kept, len(found.trials)) == ((), 1)
    assert found.model.recipe == "fp16"


def test_a_calibration_table_serves_too(model, x, labelled, tmp_path):
    table = export(convert(model, "int8", calibration=x), tmp_path / "ranges.json")
    found = convert_within(model, "int8", data=labelled, calibration=table, max_drop=2)
    assert found.best.kept == ("first",)


def test_what_the_caller_keeps_is_no_find(model, x, labelled):
    found = convert_within(
        model, "int8", data=labelled, calibration=x, max_drop=2, keep="first"
    )  # fmt: skip
    assert found.best.kept == ()
    assert "keep=first" in found.model.conversion.options


def test_no_mix_is_good_enough(x, tmp_path):
    """Both products are lost: what is left beside them is not worth the name, or loses too."""
    w = draw(8, 4)
    w[0] = 1000
    lone = nets.model([node("MatMul", ["x", "w"], ["y"], name="lone")],
                      {"x": ["N", 8]}, {"y": ["N", 4]}, {"w": w})  # fmt: skip
    onnx.save(lone, tmp_path / "lone.onnx")
    data = Dataset.from_arrays(x, run(str(tmp_path / "lone.onnx"), x=x)[0].argmax(1))
    with pytest.raises(SpecError, match="Whatever of 1 nodes is kept back"):
        convert_within(tmp_path / "lone.onnx", "int8", data=data, calibration=x, max_drop=0)


def test_random_data_cannot_judge(model):
    with pytest.raises(SpecError, match="cannot be judged by random"):
        convert_within(model, "int8", data="random", calibration="random")


@pytest.mark.parametrize("loss", [-1, "a little", None, True, float("nan"), float("inf")])
def test_a_loss_is_a_number_of_points(loss, model, x):
    with pytest.raises(SpecError, match="points cannot be allowed"):
        convert_within(model, "int8", data=x, calibration=x, max_drop=loss)


def test_what_cannot_be_converted_says_so(x, tmp_path):
    proto = nets.model([node("Softmax", ["x"], ["y"])], {"x": ["N", 8]}, {"y": ["N", 8]})
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(UnsupportedError, match="No weight"):
        convert_within(tmp_path / "net.onnx", "int8-weights", data=x)


def test_outputs_without_classes(x, tmp_path):
    proto = nets.model([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 8]}, {"y": ["N", 1]},
                       {"w": draw(8, 1)})  # fmt: skip
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(SpecError, match="names no classes"):
        convert_within(tmp_path / "net.onnx", "fp16", data=np.abs(x))
