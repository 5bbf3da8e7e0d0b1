"""A data set is known by its contents, and takes nothing that is no data."""

import hashlib

import numpy as np
import pytest

from trtlab.dataset.samples import Dataset
from trtlab.errors import SpecError
from trtlab.model.types import Tensor


def numbers(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def test_arrays_are_copied_and_cannot_be_written_to():
    given, labels = numbers(4, 3), np.array([0, 1, 2, 1])
    data = Dataset.from_arrays(given, labels, words="as they were")
    before = data.arrays[""][0, 0]
    given[:] = 9
    labels[:] = 9
    assert len(data) == 4
    assert data.arrays[""][0, 0] == before
    assert data.labels.tolist() == [0, 1, 2, 1]
    assert data.labels.dtype == np.int64
    assert data.words == "as they were"
    for array in (data.arrays[""], data.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_hash_is_over_name_type_shape_and_values():
    array = np.arange(6, dtype=np.int16).reshape(3, 2)
    by_hand = hashlib.sha256(b'["x", "int16", [3, 2]]' + bytes([0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5]))
    by_hand.update(b"\0")
    known = Dataset.from_arrays({"x": array}).hash
    assert known == by_hand.hexdigest()
    others = [
        {"y": array},
        {"x": array.astype(np.int32)},
        {"x": array.astype(np.uint16)},
        {"x": array.reshape(3, 2, 1)},
        {"x": array[::-1]},
        {"x": array, "y": array},
    ]
    assert known not in {Dataset.from_arrays(other).hash for other in others}


def test_the_hash_knows_neither_order_of_names_nor_layout_in_memory_nor_labels():
    a, b = numbers(5, 3, 4), numbers(5, seed=1)
    known = Dataset.from_arrays({"a": a, "b": b}).hash
    assert Dataset.from_arrays({"b": b, "a": a}).hash == known
    assert Dataset.from_arrays({"a": np.asfortranarray(a), "b": b}).hash == known
    swapped = Dataset.from_arrays({"a": a.astype(">f4"), "b": b})
    assert swapped.hash == known
    assert swapped.arrays["a"].dtype.isnative
    assert Dataset.from_arrays({"a": a, "b": b}, labels=range(5)).hash == known


def test_large_arrays_are_hashed_in_parts_to_the_same_hash(monkeypatch):
    array = numbers(7, 11)
    known = Dataset.from_arrays(array).hash
    monkeypatch.setattr("trtlab.dataset.arrays._CHUNK_BYTES", 100)
    assert Dataset.from_arrays(array).hash == known


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("chunk", [1, 2**24])
def test_nan_and_infinity_name_the_first_sample(monkeypatch, bad, chunk):
    monkeypatch.setattr("trtlab.dataset.arrays._CHUNK_BYTES", chunk)
    array = numbers(9, 2, 3)
    array[5, 1, 2] = array[7, 0, 0] = bad
    with pytest.raises(SpecError, match=r"'mask' has NaN or infinity in sample 5\."):
        Dataset.from_arrays({"x": numbers(9), "mask": array})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no array"),
        (np.zeros((0, 3)), "empty"),
        ({"x": np.zeros((3, 0))}, "'x' is empty"),
        (3.0, "single number"),
        ({"x": np.zeros(3), "y": np.zeros(4)}, "'x' has 3, 'y' has 4"),
        (np.array([{}, None]), "Python objects"),
        ({"x": np.array(["a", "b"])}, "'x' holds texts"),
        (np.zeros(3, complex), "complex numbers"),
        (np.zeros(3, "datetime64[s]"), "datetime64"),
        (np.zeros(3, np.longdouble), "float"),
        (np.zeros(3, [("a", "f4")]), "type"),
        ([[1, 2], [3]], "no array"),
        ({1: np.zeros(3)}, "no name"),
        (None, "Python objects"),
    ],
)
def test_what_is_no_data_is_refused(arrays, message):
    with pytest.raises(SpecError, match=message) as caught:
        Dataset.from_arrays(arrays)
    assert caught.value.hint


def test_labels_may_be_any_whole_numbers():
    for given in ([2, 0, 1], np.array([2.0, 0, 1]), np.array([2, 0, 1], np.uint8)):
        assert Dataset.from_arrays(numbers(3), given).labels.tolist() == [2, 0, 1]
    assert Dataset.from_arrays(numbers(2), [True, False]).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "2 labels for 3 samples"),
        ([0, 1.5, 2], r"Label 1 is 1\.5"),
        ([0, 1, -1], "Label 2 is -1"),
        ([0, np.nan, 1], "Label 1 is nan"),
        ([0, 1, 2**40], "Label 2 is"),
        (["cat", "dog", "cat"], "labels holds texts"),
        (np.eye(3), r"shape \[3, 3\]"),
        (1, r"shape \[\]"),
    ],
)
def test_labels_that_are_no_class_numbers(labels, message):
    with pytest.raises(SpecError, match=message) as caught:
        Dataset.from_arrays(numbers(3), labels)
    assert caught.value.hint


def test_take_draws_without_repeating_and_keeps_order_and_labels():
    array = np.arange(100, dtype=np.float32)
    data = Dataset.from_arrays({"x": array, "y": array * 2}, labels=array, words="numbers")
    taken = data.take(30, seed=3)
    chosen = taken.labels
    assert len(taken) == 30
    assert np.all(np.diff(chosen) > 0)
    assert np.array_equal(taken.arrays["x"], chosen)
    assert np.array_equal(taken.arrays["y"], chosen * 2)
    assert taken.words == "numbers; 30 of 100 drawn with seed 3"
    assert taken.hash == Dataset.from_arrays(dict(taken.arrays)).hash
    assert taken.hash == data.take(30, seed=3).hash
    assert taken.hash != data.take(30, seed=4).hash
    # Not the first ones: half of them come from the second half, give or take.
    assert 5 < (chosen >= 50).sum() < 25
    assert data.take(100) is data
    for n in (0, 101, 2.0, True):
        with pytest.raises(SpecError, match="at most 100"):
            data.take(n)
    with pytest.raises(SpecError, match="Seed"):
        data.take(5, seed=-1)


def test_batches_hold_every_sample_once():
    array = numbers(7, 2)
    parts = list(Dataset.from_arrays({"x": array, "y": array + 1}).batches(3))
    assert [len(part["x"]) for part in parts] == [3, 3, 1]
    assert np.array_equal(np.concatenate([part["y"] for part in parts]), array + 1)
    with pytest.raises(SpecError, match="batch"):
        next(Dataset.from_arrays(array).batches(0))


def test_random_fits_the_inputs_and_says_what_it_is():
    inputs = [Tensor("x", "float16", ("N", 3)), Tensor("ids", "int64", ("N", "length"))]
    data = Dataset.from_random(inputs, 5, seed=2, shapes={"ids": (1, 7)})
    assert {n: (a.dtype.name, a.shape) for n, a in data.arrays.items()} == {
        "x": ("float16", (5, 3)),
        "ids": ("int64", (5, 7)),
    }
    assert data.random
    assert data.take(2).random
    assert "random" in data.words
    assert "invented" in repr(data)
    assert data.hash == Dataset.from_random(inputs, 5, seed=2, shapes={"ids": (9, 7)}).hash
    assert data.hash != Dataset.from_random(inputs, 5, seed=3, shapes={"ids": (1, 7)}).hash


@pytest.mark.parametrize(
    ("tensor", "samples", "message"),
    [
        (Tensor("x", "float32", ("N", "length")), 2, "length"),
        (Tensor("x", "float32", None), 2, "no shape"),
        (Tensor("x", "float32", ()), 2, "without a batch axis"),
        (Tensor("x", "bfloat16", ("N", 2)), 2, "cannot be invented"),
        (Tensor("x", "float32", ("N", 224, 224, 3)), 2**30, "memory"),
        (Tensor("x", "float32", ("N",)), 0, "number of samples"),
    ],
)
def test_what_cannot_be_invented(tensor, samples, message):
    with pytest.raises(SpecError, match=message) as caught:
        Dataset.from_random([tensor], samples)
    assert caught.value.hint


def test_it_shows_what_it_is():
    data = Dataset.from_arrays(
        {"x": numbers(4, 3, 2), "<b>": numbers(4)}, [0, 5, 5, 0], words="four things"
    )
    rows = dict(data.rows())
    assert rows["samples"] == "4"
    assert rows["x"] == "float32 [3, 2] each"
    assert rows["labels"] == "2 classes, the highest is 5"
    assert rows["source"] == "four things"
    assert rows["hash"] == data.hash[:12]
    assert "caveat" not in rows
    assert "four things" in repr(data)
    assert "<b>" not in data._repr_html_()
