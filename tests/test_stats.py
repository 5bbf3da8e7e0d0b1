"""Quantiles follow trtexec, intervals cover what they promise, too few samples say nothing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtlab import stats
from trtlab.stats import Interval

latencies = st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=200)


def trtexec_percentile(samples, percent):
    """TensorRT samples/common/sampleReporting.cpp, in its float32 arithmetic."""
    n = len(samples)
    exclude = int((np.float32(1) - np.float32(percent) / np.float32(100)) * np.float32(n))
    return sorted(samples)[max(n - 1 - exclude, 0)]


def test_the_median_is_the_middle_or_the_mean_of_two():
    assert stats.median([3, 1, 2]) == 2
    assert stats.median([4, 1, 2, 3]) == 2.5
    assert stats.median([7]) == 7
    with pytest.raises(ValueError, match="no samples"):
        stats.median([])


@pytest.mark.parametrize("percent", [90, 95])
def test_percentiles_are_trtexecs_at_every_count(percent):
    least = stats.SAMPLES_NEEDED[percent]
    for n in range(least, 3000):
        assert stats.percentile(range(n), percent) == trtexec_percentile(range(n), percent)


def test_p99_is_trtexecs_but_for_its_float32():
    # 1 - 0.99f is below 0.01, so trtexec leaves out one sample fewer at some multiples of 100.
    for n in range(662, 5000):
        if n % 100:
            assert stats.percentile(range(n), 99) == trtexec_percentile(range(n), 99)
        else:
            assert stats.percentile(range(n), 99) == n - 1 - n // 100


@pytest.mark.parametrize(("percent", "least"), [(90, 64), (95, 130), (99, 662)])
def test_a_percentile_needs_its_count(percent, least):
    assert stats.percentile(range(least - 1), percent) is None
    assert stats.percentile(range(least), percent) is not None


def test_percentiles_between_need_the_next_ones_count():
    assert stats.percentile(range(129), 91) is None
    assert stats.percentile(range(130), 91) is not None
    assert stats.percentile(range(661), 96) is None
    assert stats.percentile(range(10**5), 99.9) is None
    assert stats.percentile([], 50) is None
    assert stats.percentile([5, 7], 50) == 6


@given(
    st.lists(st.floats(min_value=0, max_value=1e9), min_size=1, max_size=20), st.integers(34, 40)
)
def test_percentiles_are_samples_and_rise(few, times):
    samples = few * (20 * times)
    found = [stats.percentile(samples, p) for p in (90, 95, 99)]
    assert all(f in few for f in found)
    assert found == sorted(found)
    assert stats.median(samples) <= found[0]


def test_the_order_of_samples_does_not_matter_to_them_and_is_kept():
    samples = [5.0, 1.0, 4.0, 2.0, 3.0, 9.0, 7.0]
    before = list(samples)
    assert stats.median_interval(samples) == stats.median_interval(sorted(samples))
    assert samples == before


def test_below_six_samples_there_is_no_interval_of_the_median():
    assert stats.median_interval(range(5)) is None
    assert stats.median_interval(range(6)) == Interval(0, 5)
    assert stats.median_interval(range(9)) == Interval(1, 7)


def test_the_ranks_are_the_tightest_that_cover():
    binom = pytest.importorskip("scipy.stats").binom
    for n in [*range(6, 400), 1000, 5000, 49_999, 50_000]:
        interval = stats.median_interval(range(n))
        rank = interval.low + 1  # the samples are their own ranks, from 0
        assert interval.high == n - rank
        assert binom.cdf(rank - 1, n, 0.5) <= 0.025
        if n <= 300:
            assert binom.cdf(rank, n, 0.5) > 0.025


@pytest.mark.parametrize("n", [6, 10, 30, 400])
def test_the_interval_covers_the_median_of_a_skewed_distribution(n):
    rounds = 2000
    generator = np.random.default_rng(n)
    covered = 0
    for samples in generator.lognormal(1.0, 1.0, (rounds, n)):
        low, high = stats.median_interval(samples.tolist())
        covered += low <= math.e <= high
    noise = 3 * math.sqrt(0.95 * 0.05 / rounds)
    assert covered / rounds >= 0.95 - noise


@given(st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=6, max_size=400))
def test_the_median_lies_in_its_interval(samples):
    low, high = stats.median_interval(samples)
    assert low <= stats.median(samples) <= high
    assert low in samples
    assert high in samples


def test_students_t_against_scipy():
    t = pytest.importorskip("scipy.stats").t
    for n in range(2, 11):
        values = [float(v) for v in range(n)]
        interval = stats.mean_interval(values)
        half = t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)
        assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=2e-4)
        assert (interval.high + interval.low) / 2 == pytest.approx(np.mean(values))


def test_one_value_has_no_interval_and_many_have_one():
    assert stats.mean_interval([]) is None
    assert stats.mean_interval([1.0]) is None
    assert stats.mean_interval([2.0, 2.0]) == Interval(2.0, 2.0)
    low, high = stats.mean_interval([1.0, 2.0] * 10)
    assert low < 1.5 < high


def test_the_t_interval_covers_the_mean():
    generator = np.random.default_rng(1)
    covered = 0
    for values in generator.normal(5.0, 1.0, (2000, 3)):
        low, high = stats.mean_interval(values.tolist())
        covered += low <= 5.0 <= high
    assert covered / 2000 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 2000)


def test_intervals_join():
    assert Interval(1, 2).hull(Interval(4, 5)) == Interval(1, 5)


@given(latencies)
def test_spread_does_not_depend_on_the_unit(samples):
    scaled = [s * 1000 for s in samples]
    for rule in (stats.relative_iqr, stats.relative_range):
        assert rule(samples) >= 0
        assert rule(scaled) == pytest.approx(rule(samples), rel=1e-6, abs=1e-6)


def test_a_range_is_what_the_largest_has_above_the_smallest():
    assert stats.relative_range([2.0, 3.0]) == pytest.approx(0.5)


def test_a_few_slow_calls_do_not_move_the_iqr():
    assert stats.relative_iqr([10.0] * 90 + [1000.0] * 10) == 0
    assert stats.relative_iqr([10.0] * 50 + [20.0] * 50) == pytest.approx(10 / 15)


def test_settled_means_no_longer_getting_faster():
    steady = [10.0, 10.1, 9.9, 10.05]
    assert stats.settled(steady, steady)
    assert stats.settled(steady, [9.6] * 4)
    assert not stats.settled(steady, [9.0] * 4)
    assert stats.settled(steady, [30.0] * 4)
    assert stats.settled([5.0, 8.0, 12.0, 15.0], [8.0] * 4)


def test_agreement_is_of_all_values():
    assert stats.agree([1.0, 1.05, 1.1], 0.10 + 1e-12)
    assert not stats.agree([1.0, 1.05, 1.11], 0.10)
    assert stats.agree([3.0], 0.10)
