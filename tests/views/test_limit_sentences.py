"""Sentences about a latency limit."""

from dataclasses import replace

from tests.accuracies import converted
from tests.analysis.test_latency_limit import line_of, timed
from trtlab.spec import Caveat
from trtlab.views.limit_sentences import limit_sentence, too_few_sentence

FP32 = [timed(1, 1.0), timed(4, 3.0), timed(16, 12.0)]
INT8 = [
    replace(timed(b, ms), model=converted("int8")) for b, ms in ((1, 0.5), (4, 1.0), (16, 3.0))
]


def test_the_best_point_is_named_with_its_line_and_what_does_not_fit():
    text = limit_sentence([*FP32, *INT8], 5.0)
    assert text.startswith("Within 5 ms (p50) the best point is INT8, batch 16: 5,330 inf/s [")
    assert "FP32 fits only up to batch 4." in text
    assert "INT8 fits" not in text


def test_a_limit_that_no_point_keeps_names_the_soonest():
    assert limit_sentence([*FP32, *INT8], 0.1) == (
        "No point keeps 0.1 ms (p50); the soonest is INT8, batch 1 with 0.500 ms."
    )


def test_a_line_that_fits_nowhere_and_one_that_fits_out_of_order():
    jumping = [timed(1, 1.0), timed(2, 9.0), timed(4, 2.0)]
    assert "FP32 fits at batch 1, 4 alone." in limit_sentence(jumping, 5.0)
    text = limit_sentence([*FP32, *INT8], 0.8)
    assert "FP32 fits at no batch that was measured." in text


def test_a_doubtful_best_says_so():
    assert "it may not keep it" in limit_sentence([timed(1, 1.0)], 1.005)
    assert "it may not keep it" not in limit_sentence([timed(1, 1.0)], 2.0)
    for kind, told in (("unstable", True), ("quick", False)):
        caveat = Caveat(kind, "Windows differ.", "Again.")
        text = limit_sentence([timed(1, 1.0, caveats=(caveat,))], 2.0)
        assert ("that run was disturbed" in text) == told


def test_a_sooner_point_of_equal_throughput_is_named():
    text = limit_sentence([timed(8, 110.0), timed(16, 210.0)], 300.0)
    assert "FP32, batch 8 is not distinguishable from it in throughput, at 110 ms." in text


def test_the_flat_end_is_told_with_an_upper_bound():
    points = line_of({1: 100, 2: 190, 4: 360, 8: 400, 16: 404, 32: 400})
    for limit in (None, 1e6):
        text = limit_sentence(points, limit)
        assert "From batch 8 to 32 throughput gains less than 8 % per doubling." in text
    assert "throughput falls." in limit_sentence(line_of({1: 100, 2: 400, 4: 150}), None)
    assert "per doubling" not in limit_sentence(line_of({1: 100, 2: 112}), None)


def test_without_a_limit_the_highest_throughput_is_named():
    assert limit_sentence(FP32, None).startswith("The highest throughput is 1,3")
    assert limit_sentence([], None) == "Nothing was measured."


def test_points_with_too_few_samples_are_named_with_their_number():
    few, many = timed(1, 1.0), timed(2, 1.0, calls=40)
    assert too_few_sentence([few, many], 99) == (
        "p99 is n/a for FP32, batch 1 (n 21): it needs n ≥ 662."
    )
    assert too_few_sentence([few, many], 50) == ""
    assert "no limit on it can be judged" in limit_sentence([few], 5.0, 99)
