"""Recipes and options as people write them."""

import pytest

from trtlab.errors import SpecError
from trtlab.precision.recipes import FLOATS, QUANTISED, Options, recipe_of


@pytest.mark.parametrize("text", ["fp32", *FLOATS, *QUANTISED, "int8+fp16", "int4-weights+bf16"])
def test_a_name_is_read_and_written(text):
    assert recipe_of(text).name == text


@pytest.mark.parametrize(
    ("text", "name"),
    [("fp16+int8", "int8+fp16"), (" INT8 + BF16 ", "int8+bf16"), ("int8+fp32", "int8")],
)
def test_order_case_and_blanks_are_free(text, name):
    assert recipe_of(text).name == name


@pytest.mark.parametrize("text", ["", "int9", "int8+", "+", "fp16,int8", "int8 fp16", None, 8])
def test_what_is_no_recipe(text):
    with pytest.raises(SpecError, match="There is no precision recipe") as found:
        recipe_of(text)
    assert all(name in found.value.hint for name in (*FLOATS, *QUANTISED))


@pytest.mark.parametrize("text", ["int8+fp8", "fp16+bf16", "int8+int8", "fp32+fp16"])
def test_two_of_a_kind(text):
    with pytest.raises(SpecError, match="two recipes of one kind"):
        recipe_of(text)


def test_which_need_data():
    assert [name for name in QUANTISED if recipe_of(name).needs_data] == ["int8", "fp8"]
    assert recipe_of("fp8+fp16").needs_data
    assert not recipe_of("fp16").needs_data


@pytest.mark.parametrize(
    "wrong",
    [{"calibrator": "max"}, {"activations": "int4"}, {"tool": "trtexec"}, {"calibrator": None}],
)
def test_what_no_recipe_knows(wrong):
    with pytest.raises(SpecError, match=r"There is no|cannot be"):
        Options(**wrong)


def test_zero_points_follow_the_sign():
    assert Options().is_symmetric
    assert not Options(activations="uint8").is_symmetric
    assert not Options(symmetric=False).is_symmetric


def test_words_name_what_was_changed_alone():
    assert Options().words() == ()
    assert Options(keep=("a", "b*"), clip=True).words() == ("keep=a b*", "clip=True")
