"""Errors of outputs: the same in batches as at once, by definition, with NaN and ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtlab.analysis.output_errors import (
    FP32_TOLERANCE,
    LabelCounts,
    OutputErrors,
    default_rtol,
    rank_of,
)
from trtlab.errors import MismatchError, SpecError


def errors_of(reference, found, *, rtol=0.01, batch=None, stage="as they are", **more):
    reference, found = np.asarray(reference, "f4"), np.asarray(found, "f4")
    errors = OutputErrors(rtol, probabilities=stage == "probabilities", **more)
    step = batch or len(reference)
    for start in range(0, len(reference), step):
        part = slice(start, start + step)
        errors.add(reference[part], found[part], len(reference[part]))
    return errors.finished("y", "y", stage)


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    reference = generator.standard_normal((40, 10)).astype("f4")
    return reference, reference + 0.1 * generator.standard_normal((40, 10)).astype("f4")


def test_numbers_are_what_their_names_say(pair):
    a, b = (v.astype("f8") for v in pair)
    found = errors_of(*pair, atol=0.05)
    error = np.abs(b - a)
    assert found.elements == 400
    assert found.max_absolute == pytest.approx(error.max())
    assert found.mean_absolute == pytest.approx(error.mean())
    assert found.p99_absolute == pytest.approx(np.sort(error.ravel())[395], rel=5e-4)
    assert found.rmse == pytest.approx(np.sqrt((error**2).mean()))
    assert found.sqnr_db == pytest.approx(10 * np.log10((a**2).sum() / (error**2).sum()))
    cosines = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    assert found.cosine == pytest.approx(cosines.mean())
    p, q = (np.exp(v) / np.exp(v).sum(1, keepdims=True) for v in (a, b))
    assert found.kl == pytest.approx((p * np.log(p / q)).sum(1).mean())
    assert found.top1_agreement == np.mean(a.argmax(1) == b.argmax(1))
    five = np.argsort(-b, axis=1)[:, :5]
    assert found.top5_agreement == np.mean(
        [x in row for x, row in zip(a.argmax(1), five, strict=True)]
    )
    large = np.abs(a) >= found.relative_floor
    assert found.relative_floor == pytest.approx(0.01 * np.sqrt((a**2).mean()))
    assert found.max_relative == pytest.approx((error[large] / np.abs(a)[large]).max())
    assert found.mean_relative == pytest.approx((error[large] / np.abs(a)[large]).mean())
    assert found.beyond_sum == np.mean(error > 0.05 + 0.01 * np.abs(a))
    assert found.beyond_both == np.mean((error > 0.05) & (error > 0.01 * np.abs(a)))


def test_batches_change_no_sum(pair):
    at_once, parted = errors_of(*pair, atol=0.05), errors_of(*pair, atol=0.05, batch=7)
    for name in ("max_absolute", "mean_absolute", "p99_absolute", "sqnr_db", "cosine", "kl",
                 "top1_agreement", "top5_agreement", "beyond_both", "beyond_sum"):  # fmt: skip
        assert getattr(parted, name) == pytest.approx(getattr(at_once, name), rel=1e-12)


def test_the_two_rules_differ():
    # 1 is far off in relation only, 100 by more than atol only.
    found = errors_of([[1.0, 100.0]], [[1.02, 100.5]], rtol=0.01, atol=0.1)
    assert (found.beyond_both, found.beyond_sum) == (0, 0)
    found = errors_of([[1.0, 100.0]], [[1.105, 100.5]], rtol=0.01, atol=0.1)
    assert (found.beyond_both, found.beyond_sum) == (0.5, 0)


def test_equal_outputs_have_no_error(pair):
    found = errors_of(pair[0], pair[0])
    assert (found.sqnr_db, found.rmse, found.p99_absolute, found.top1_agreement) == (None, 0, 0, 1)


def test_saturated_probabilities_hide_what_logits_show():
    logits = np.array([[40.0, 0, 0], [0, 40.0, 0]])
    wrong = logits + np.array([[-15.0, 0, 5], [5, -15.0, 0]])
    shares = [np.exp(v) / np.exp(v).sum(1, keepdims=True) for v in (logits, wrong)]
    assert errors_of(logits, wrong).sqnr_db < 10
    assert errors_of(*shares, stage="probabilities").sqnr_db > 100


def test_the_divergence_of_probabilities_takes_them_as_they_are(pair):
    shares = [np.exp(v) / np.exp(v).sum(1, keepdims=True) for v in pair]
    assert errors_of(*shares, stage="probabilities").kl == pytest.approx(
        errors_of(*pair).kl, rel=1e-4
    )


def test_nan_of_the_model_counts_and_of_the_reference_does_not():
    found = errors_of([[1.0, 2, 3], [np.nan, 5, 6]], [[1.0, np.nan, np.inf], [4, 5, 6]], atol=0.1)
    assert (found.elements, found.not_finite) == (5, 2)
    assert found.max_absolute == 0
    assert found.beyond_both == found.beyond_sum == 2 / 5
    # The second sample names no class in the reference; the first one's names none in the model.
    assert found.top1_agreement == 0


def test_nothing_but_nan_has_no_error_to_tell():
    found = errors_of([[1.0, 2]], [[np.nan, np.nan]])
    assert (found.rmse, found.sqnr_db, found.max_absolute, found.p99_absolute) == (None,) * 4
    assert found.not_finite == 2


def test_an_output_without_a_batch_axis_has_no_classes():
    errors = OutputErrors(0.01)
    errors.add(np.ones((3, 2), "f4"), np.ones((3, 2), "f4"), samples=8)
    found = errors.finished("y", "y", "as they are")
    assert (found.kl, found.top1_agreement, found.cosine) == (None, None, pytest.approx(1))


def test_classes_may_have_axes_of_one_behind(pair):
    flat, deep = errors_of(*pair), errors_of(*(v[:, :, None, None] for v in pair))
    assert deep.kl == flat.kl
    assert errors_of(*(v.reshape(40, 5, 2) for v in pair)).kl is None


def test_other_sizes_are_refused():
    with pytest.raises(MismatchError, match=r"\[2, 3\].*\[2, 4\]"):
        OutputErrors(0.1).add(np.ones((2, 4)), np.ones((2, 3)), 2)


def test_the_first_of_equal_values_is_higher():
    values = np.array([[1.0, 3, 3, 0], [np.nan, 1, 2, 3]])
    assert rank_of(values, np.array([1, 3])).tolist() == [0, 4]
    assert rank_of(values, np.array([2, 3])).tolist() == [1, 4]


@given(st.lists(st.floats(2.0**-60, 2.0**30, width=32), min_size=1, max_size=300))
def test_the_quantile_is_one_of_the_errors(values):
    errors = np.array(values, "f4")
    found = errors_of(np.zeros((len(errors), 1)), errors[:, None], atol=1.0)
    exact = np.sort(errors)[int(np.ceil(0.99 * len(errors))) - 1]
    assert found.p99_absolute == pytest.approx(exact, rel=5e-4)


def test_default_tolerances_follow_the_coarsest_type():
    assert default_rtol("fp32", 50) == FP32_TOLERANCE
    assert default_rtol("fp16", 100) == 2 * 2**-11 * 10
    assert default_rtol("int8+fp16", 100) == default_rtol("int8", 100) > default_rtol("fp16", 100)


def test_labels_are_counted_in_pairs():
    labels = np.array([0, 1, 2, 3])
    scores = np.eye(8, dtype="f4")
    reference = scores[[0, 1, 2, 7]]
    found = scores[[0, 6, 7, 3]]
    counts = LabelCounts()
    counts.add(reference[:2], found[:2], labels[:2])
    counts.add(reference[2:], found[2:], labels[2:])
    got = counts.finished()
    assert (got.samples, got.top1, got.reference_top1, got.drop) == (4, 0.5, 0.75, 0.25)
    # All others are equal: of those the first ones are higher.
    assert (got.top5, got.reference_top5) == (1, 1)
    assert got.drop_interval.low < 0 < got.drop_interval.high
    said = "no loss that these samples can show: top-1 drops by 25.00 points"
    assert got.sentence.startswith(said)


def test_a_label_beyond_the_classes_is_refused():
    with pytest.raises(SpecError, match=r"12.*10 classes"):
        LabelCounts().add(np.ones((1, 10)), np.ones((1, 10)), np.array([12]))


def test_default_tolerances_do_not_depend_on_the_batch():
    reference = (
        np.random.default_rng(0).standard_normal((100, 4)) * np.linspace(0, 3, 100)[:, None]
    )
    found = reference + 0.01

    def told(size):
        errors = OutputErrors(1e-3)
        for start in range(0, 100, size):
            part = slice(start, start + size)
            errors.add(reference[part], found[part], len(reference[part]))
        return errors.finished("y", "y", "as they are")

    one, eight, thirty_two = told(1), told(8), told(32)
    assert one.atol == pytest.approx(eight.atol) == pytest.approx(thirty_two.atol)
    assert one.beyond_sum == eight.beyond_sum == thirty_two.beyond_sum > 0


def test_zeros_on_one_side_count_for_the_cosine():
    errors = OutputErrors(1e-3)
    errors.add(np.array([[1.0, 2], [1, 2]]), np.array([[1.0, 2], [0, 0]]), 2)
    assert errors.finished("y", "y", "as they are").cosine == 0.5
