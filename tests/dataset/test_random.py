"""Invented inputs are the same everywhere."""

import numpy as np
import pytest

from trtlab.dataset.random import random_inputs
from trtlab.errors import SpecError
from trtlab.model.types import Tensor


def inputs(*dtypes):
    return [Tensor(f"t{n}", d, None) for n, d in enumerate(dtypes)]


def made(dtype, shape=(50, 40), seed=0):
    return random_inputs(inputs(dtype), {"t0": shape}, seed)["t0"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_standard_normal(dtype):
    array = made(dtype)
    assert array.dtype == dtype
    assert array.shape == (50, 40)
    assert abs(float(array.astype("f8").mean())) < 0.1
    assert float(array.astype("f8").std()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64", "bool"])
def test_whole_numbers_are_0_or_1(dtype):
    array = made(dtype)
    assert array.dtype == dtype
    assert set(np.unique(array).tolist()) == {0, 1}


@pytest.mark.parametrize("dtype", ["object", "str", "complex64", "float8_e4m3fn", "", None, "no"])
def test_a_type_that_cannot_be_invented_names_its_input(dtype):
    with pytest.raises(SpecError, match="'t0'") as caught:
        made(dtype)
    assert caught.value.hint


def test_the_seed_decides():
    assert np.array_equal(made("float32", seed=1), made("float32", seed=1))
    assert not np.array_equal(made("float32", seed=1), made("float32", seed=2))
    # Written down, so that another NumPy that gives other numbers is noticed.
    assert made("float32", (3,)).tolist() == pytest.approx([1.117622, -1.3871249, -0.4265716])


def test_inputs_differ_from_each_other_and_may_be_scalars_or_empty():
    found = random_inputs(
        inputs("float32", "float32", "int64", "float32"),
        {"t0": (4,), "t1": (4,), "t2": (), "t3": (0, 3)},
        0,
    )
    assert not np.array_equal(found["t0"], found["t1"])
    assert found["t2"].shape == ()
    assert found["t3"].shape == (0, 3)
    assert random_inputs([], {}, 0) == {}
