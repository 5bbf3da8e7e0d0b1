"""What fits a model is renamed and widened; what does not is refused with the input's name."""

import numpy as np
import pytest

from trtlab.dataset.fitting import check_fits, fitted, fixed_batch
from trtlab.dataset.samples import Dataset
from trtlab.errors import SpecError
from trtlab.model.types import Tensor

IMAGE = Tensor("image", "float32", ("N", 3, 8, 10))


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


def test_an_array_without_a_name_goes_to_the_only_input():
    data = Dataset.from_arrays(zeros(5, 3, 8, 10), labels=range(5), words="w")
    found = fitted(data, [IMAGE], "m")
    assert list(found.arrays) == ["image"]
    assert found.labels.tolist() == [0, 1, 2, 3, 4]
    assert found.words == "w"
    # As if it had been given by that name.
    assert found.hash == Dataset.from_arrays({"image": zeros(5, 3, 8, 10)}).hash


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("float16", "float32"), ("float32", "float64"), ("int32", "int64"), ("uint8", "int16")],
)
def test_what_holds_every_value_exactly_is_widened(given, wanted):
    data = Dataset.from_arrays({"x": np.array([0, 1, 3], given)})
    found = fitted(data, [Tensor("x", wanted, ("N",))], "m")
    assert found.arrays["x"].dtype == wanted
    assert found.arrays["x"].tolist() == [0, 1, 3]
    assert not found.arrays["x"].flags.writeable
    assert found.hash == Dataset.from_arrays({"x": np.array([0, 1, 3], wanted)}).hash


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("float64", "float32"),
        ("float32", "float16"),
        ("int64", "int32"),
        ("uint32", "int32"),
        ("int8", "uint8"),
        ("uint8", "float32"),
        ("float32", "int64"),
        ("bool", "int64"),
        ("int64", "bool"),
    ],
)
def test_what_would_lose_or_mean_something_else_is_not_cast(given, wanted):
    data = Dataset.from_arrays({"x": zeros(3, dtype=given)})
    with pytest.raises(SpecError, match=f"'x' of m is {wanted}; the data is {given}") as caught:
        check_fits(data, [Tensor("x", wanted, ("N",))], "m")
    assert f"astype({wanted!r})" in caught.value.hint


def test_types_that_numpy_lacks_even_where_it_learnt_them():
    import ml_dtypes  # noqa: F401 - with it np.dtype("bfloat16") works, as raw bytes

    data = Dataset.from_arrays({"x": zeros(3)})
    with pytest.raises(SpecError, match="bfloat16, which NumPy does not have"):
        check_fits(data, [Tensor("x", "bfloat16", ("N",))], "m")


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((3, 8, 10), "array[None]"),
        ((5, 8, 10, 3), "layout='NCHW'"),
        ((5, 1, 3, 8, 10), "each='batch'"),
        ((5, 3, 8, 11), "that shape"),
        ((5, 3), "that shape"),
    ],
)
def test_shapes_that_do_not_fit_get_the_hint_that_helps(shape, hint):
    with pytest.raises(SpecError, match=r"'image' of m is \[N, 3, 8, 10\]; the data is") as caught:
        fitted(Dataset.from_arrays(zeros(*shape)), [IMAGE], "m")
    assert hint in caught.value.hint


def test_hints_for_a_missing_channel_and_for_channels_last():
    for tensor, shape, hint in [
        (Tensor("x", "float32", ("N", 1, 8, 8)), (5, 8, 8), "array[:, None]"),
        (Tensor("x", "float32", ("N", 8, 10, 3)), (5, 3, 8, 10), "layout='NHWC'"),
    ]:
        with pytest.raises(SpecError) as caught:
            fitted(Dataset.from_arrays(zeros(*shape)), [tensor], "m")
        assert hint in caught.value.hint


def test_dynamic_and_unknown_axes_take_any_size():
    data = Dataset.from_arrays({"a": zeros(2, 9), "b": zeros(2, 4), "c": zeros(2)})
    inputs = [
        Tensor("a", "float32", ("N", "length")),
        Tensor("b", "float32", (None, None)),
        Tensor("c", None, None),
    ]
    assert fitted(data, inputs, "m") is data


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (zeros(2, 3), "One array without a name was given; m has 2 inputs"),
        ({"a": zeros(2, 3)}, "m has the inputs 'a', 'b'; the data has 'a'"),
        ({"a": zeros(2, 3), "c": zeros(2, 3)}, "the data has 'a', 'c'"),
    ],
)
def test_names_must_be_those_of_the_inputs(arrays, message):
    inputs = [Tensor(name, "float32", ("N", 3)) for name in "ab"]
    with pytest.raises(SpecError, match=message) as caught:
        fitted(Dataset.from_arrays(arrays), inputs, "m")
    assert "'a'" in caught.value.hint or "by its name" in caught.value.hint


def test_a_fixed_batch_needs_whole_batches():
    four = [Tensor("x", "float32", (4, 3)), Tensor("y", "float32", ("N",))]
    assert fixed_batch(four, "m") == 4
    assert fixed_batch([IMAGE], "m") is None
    check_fits(Dataset.from_arrays({"x": zeros(8, 3), "y": zeros(8)}), four, "m")
    with pytest.raises(SpecError, match="batches of 4 only; 6 samples") as caught:
        check_fits(Dataset.from_arrays({"x": zeros(6, 3), "y": zeros(6)}), four, "m")
    assert "with_dynamic_batch" in caught.value.hint
    for inputs, message in [
        ([Tensor("x", "float32", (4, 3)), Tensor("y", "float32", (2,))], "fixed sizes: 2, 4"),
        ([Tensor("x", "float32", ("N",)), Tensor("y", "float32", ())], "'y' of m is a single"),
    ]:
        with pytest.raises(SpecError, match=message):
            fixed_batch(inputs, "m")
