"""Sizes against FP32's: only what has an FP32 one beside it."""

from tests import accuracies, making
from trtlab.analysis.sizes import sizes_against_fp32
from trtlab.spec import BuildConfig


def plans(*points):
    return [point.plan for point in points]


def test_a_converted_model_is_held_against_its_parent_by_the_same_builder():
    fp32 = accuracies.built("fp32", 5000, 4400)
    on_cpu = accuracies.built("fp32", 8000, 4400, BuildConfig())
    int8 = accuracies.built("int8", 1600, 1100)
    first, other, small = sizes_against_fp32(plans(fp32, on_cpu, int8))
    assert (first.plan_ratio, first.model_ratio, other.plan_ratio) == (1, 1, 1)
    assert (small.plan_ratio, small.model_ratio) == (0.32, 0.25)
    assert (small.backend, small.target) == ("tensorrt_rtx", "sm89")


def test_without_its_fp32_plan_a_ratio_is_not_known():
    (alone,) = sizes_against_fp32(plans(accuracies.built("int8")))
    assert (alone.plan_ratio, alone.model_ratio, alone.plan_bytes) == (None, None, 1600)
    elsewhere = accuracies.built("fp32", 8000, 4400, BuildConfig())
    small = sizes_against_fp32(plans(elsewhere, accuracies.built("int8")))[1]
    assert (small.plan_ratio, small.model_ratio) == (None, 0.25)


def test_a_parent_that_is_not_fp32_is_no_base():
    half = making.plan(model=accuracies.converted("fp16"))
    child = making.ModelRef("digits", "9" * 64, "int8+fp16", half.model.hash)
    assert sizes_against_fp32([half, making.plan(model=child)])[1].plan_ratio is None


def test_unknown_bytes_and_unknown_models_have_no_ratio():
    unknown = making.plan(model=making.ModelRef("x", None, "fp32", None))
    no_bytes = making.plan(plan_bytes=None, weight_bytes=None)
    assert [s.plan_ratio for s in sizes_against_fp32([unknown, no_bytes])] == [None, None]


def test_the_first_plan_of_a_model_counts():
    again = accuracies.built("int8", 9999, 1100)
    several = sizes_against_fp32(plans(accuracies.built("int8"), again))
    assert [s.plan_bytes for s in several] == [1600]
