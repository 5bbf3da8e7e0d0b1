"""The labelled images, the networks' accuracy on them, and that none was trained on."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from sklearn.datasets import load_digits

from trtlab.errors import SpecError
from trtlab.zoo import catalogue, labelled
from trtlab.zoo.training import tasks

LABELLED = {"digits": (8, 0.991), "digits_mobile": (24, 0.960)}


@pytest.fixture(scope="module")
def parts():
    digits = load_digits()
    return tasks.split(digits.images, digits.target)


@pytest.mark.parametrize("name", LABELLED)
def test_shapes_and_types(name):
    side, _ = LABELLED[name]
    inputs, labels = labelled.held_out(f"zoo:{name}")
    assert inputs.shape == (1000, 1, side, side)
    assert inputs.dtype == np.float32
    assert inputs.min() == 0
    assert inputs.max() == 1
    assert labels.shape == (1000,)
    assert labels.dtype == np.int64
    assert np.bincount(labels).min() > 80
    assert labelled.calibration(name).shape == (128, 1, side, side)


def test_what_is_labelled_is_described():
    assert set(labelled.PREPROCESSING) == {
        name for name, entry in catalogue.ENTRIES.items() if entry.labelled
    }


@pytest.mark.parametrize("read", [labelled.held_out, labelled.calibration])
def test_other_models_have_no_labels(read):
    with pytest.raises(SpecError, match="no labelled images"):
        read("squeezenet")


@pytest.mark.parametrize("name", LABELLED)
def test_top1_is_as_documented(name):
    _, expected = LABELLED[name]
    inputs, labels = labelled.held_out(name)
    session = onnxruntime.InferenceSession(
        catalogue.shipped_path(name), providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(None, {"image": inputs})
    # One image of leeway: another processor may round a tie the other way.
    assert (logits.argmax(axis=1) == labels).mean() == pytest.approx(expected, abs=0.0011)
    assert f"{expected:.3f}" in catalogue.entry(name).task


def test_digits_are_the_held_out_part(parts):
    training, held = parts
    inputs, labels = labelled.held_out("digits")
    assert np.array_equal(inputs[:, 0] * 16, held.images)
    assert np.array_equal(labels, held.labels)
    seen = {image.tobytes() for image in training.images}
    assert not seen & {image.tobytes() for image in held.images}
    assert {
        (image * 16).astype(np.uint8).tobytes() for image in labelled.calibration("digits")
    } <= (seen)


def test_mobile_scenes_are_drawn_from_the_held_out_part(parts):
    _, held = parts
    inputs, labels = labelled.held_out("digits_mobile")
    drawn = tasks.scenes(held, np.random.default_rng(tasks.SCENE_SEED))
    # Processors may differ in the last bit of a sine, and so in a grey value now and then.
    assert np.mean(np.rint(inputs[:, 0] * 15) != drawn) < 0.001
    assert np.array_equal(labels, held.labels)


def test_split_is_a_partition(parts):
    training, held = parts
    digits = load_digits()
    assert len(held.images) == tasks.HELD_OUT
    assert len(training.images) + len(held.images) == len(digits.images)


def test_mobile_depthwise_filters_are_uneven_once_batchnorm_is_folded():
    graph = onnx.load(catalogue.shipped_path("digits_mobile")).graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers = {node.input[0]: node for node in graph.node}
    for node in graph.node:
        if "depthwise/conv" not in node.name:
            continue
        norm = readers[node.output[0]]
        gamma, variance = weights[norm.input[1]], weights[norm.input[4]]
        folded = np.abs(weights[node.input[1]]).max(axis=(1, 2, 3)) * gamma / np.sqrt(variance)
        ranges = np.abs(folded)
        assert ranges.max() / ranges.min() > 100
