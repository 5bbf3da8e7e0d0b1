"""Whatever people give as data ends as samples that fit the model, or in a clear error."""

import numpy as np
import pytest
from PIL import Image

from trtlab.dataset.samples import Dataset
from trtlab.errors import SpecError
from trtlab.model.conversion import ConversionReport
from trtlab.model.types import Model, Tensor
from trtlab.verbs.data import RANDOM_SAMPLES, data_for, labelled_data_for
from trtlab.zoo import labelled


def model(name="m", shape=("N", 1, 24, 24), dtype="float32", parent=None):
    conversion = parent and ConversionReport(
        recipe="fp16", tools=(), parent="0" * 64, parent_name=parent
    )
    return Model(
        name=name, path="", hash="0" * 64, inputs=(Tensor("image", dtype, shape),), outputs=(),
        opset=18, ir_version=10, parameters=0, weight_bytes=0, conversion=conversion,
    )  # fmt: skip


ARRAY = np.random.default_rng(0).standard_normal((6, 1, 24, 24)).astype(np.float32)
KNOWN = Dataset.from_arrays({"image": ARRAY}).hash


@pytest.mark.parametrize(
    "given",
    [
        ARRAY,
        {"image": ARRAY},
        Dataset.from_arrays(ARRAY),
        [ARRAY[:2], ARRAY[2:]],
        ARRAY.astype(np.float64).astype(np.float32),
    ],
)
def test_every_form_gives_the_same_samples(given):
    assert data_for(model(), given).hash == KNOWN
    assert labelled_data_for(model(), given).hash == KNOWN


def test_files_and_folders(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)
    assert data_for(model(), tmp_path).hash == KNOWN
    assert data_for(model(), str(tmp_path / "a.npy")).hash == KNOWN
    np.save(tmp_path / "labels.npy", np.arange(6))
    assert labelled_data_for(model(), tmp_path).labels.tolist() == list(range(6))


def test_samples_are_drawn_by_the_seed_and_of_an_iterable_are_the_first():
    drawn = data_for(model(), ARRAY, samples=3, seed=5)
    assert drawn.hash == data_for(model(), {"image": ARRAY}).take(3, 5).hash
    first = data_for(model(), (ARRAY for _ in iter(int, 1)), samples=4)
    assert first.hash == Dataset.from_arrays({"image": ARRAY[:4]}).hash
    with pytest.raises(SpecError, match="at most 6"):
        data_for(model(), ARRAY, samples=7)


@pytest.mark.parametrize("given", ["digits_mobile", "zoo:digits_mobile", None])
def test_the_zoo_has_training_images_for_calibration_and_others_for_accuracy(given):
    of_zoo = model("zoo:digits_mobile")
    data = data_for(of_zoo, given)
    assert np.array_equal(data.arrays["image"], labelled.calibration("digits_mobile"))
    assert data.labels is None
    assert data.words == (
        "training images of zoo:digits_mobile: 24 x 24 grey values 0..15, divided by 15"
    )
    images, labels = labelled.held_out("digits_mobile")
    test = labelled_data_for(of_zoo, given)
    assert np.array_equal(test.arrays["image"], images)
    assert np.array_equal(test.labels, labels)
    assert test.words.startswith("held-out images of zoo:digits_mobile")
    assert len(labelled_data_for(of_zoo, given, samples=50).labels) == 50


def test_a_converted_zoo_model_has_the_images_of_its_parent():
    converted = model("mine", parent="zoo:digits_mobile")
    assert data_for(converted).hash == data_for(model("zoo:digits_mobile")).hash


def test_a_zoo_model_name_may_be_given_to_any_model_that_its_images_fit():
    assert len(data_for(model("other"), "digits_mobile")) == 128
    with pytest.raises(SpecError, match=r"'image' of other is \[N, 1, 24, 24\]"):
        data_for(model("other"), "digits")
    with pytest.raises(SpecError, match="no labelled images"):
        data_for(model("other"), "resnet50")
    with pytest.raises(SpecError, match="no zoo model"):
        data_for(model("other"), "zoo:digit")


@pytest.mark.parametrize("name", ["m", "digits_mobile", "zoo:resnet50", "zoo:none"])
@pytest.mark.parametrize("ask", [data_for, labelled_data_for])
def test_nothing_given_and_nothing_known_says_what_to_give(name, ask):
    with pytest.raises(SpecError, match=f"{name} has no data of its own") as caught:
        ask(model(name))
    assert '"random"' in caught.value.hint


def test_random_is_loud():
    data = data_for(model(), "random", seed=4)
    assert len(data) == RANDOM_SAMPLES
    assert data.random
    assert "no real data" in data.words
    assert len(data_for(model(), "random", samples=5)) == 5
    for wrong in ({"samples": 0}, {"seed": -1}):
        with pytest.raises(SpecError, match="whole number"):
            data_for(model(), "random", **wrong)
    with pytest.raises(SpecError, match="batches of 5 only"):
        data_for(model(shape=(5, 1, 24, 24)), "random")


def test_a_folder_of_images_needs_a_stated_preprocessing(tmp_path):
    Image.new("L", (24, 24)).save(tmp_path / "a.png")
    with pytest.raises(SpecError, match="has 1 images, but what is done to them") as caught:
        data_for(model(), tmp_path)
    assert f"trtlab.Dataset.from_images({str(tmp_path)!r}, size=" in caught.value.hint
    stated = Dataset.from_images(tmp_path, size=(24, 24), channels="gray")
    assert len(data_for(model(), stated)) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("missing", "no file or folder"),
        (5, "A int is no data"),
        (ARRAY.astype(np.float64), "'image' of m is float32; the data is float64"),
        ([], "gave nothing"),
    ],
)
def test_what_is_no_data(given, message):
    with pytest.raises(SpecError, match=message) as caught:
        data_for(model(), given)
    assert caught.value.hint


def test_a_folder_with_nothing_in_it(tmp_path):
    with pytest.raises(SpecError, match="no images") as caught:
        data_for(model(), tmp_path)
    assert ".npz" in caught.value.hint
