"""The paired interval against a published example, its definition, and its coverage."""

import math
import random

import pytest

from trtlab.analysis.paired import paired_interval


def test_published_example():
    # Fagerland, Lydersen and Laake 2014, airway hyper-responsiveness: counts 1, 1, 7, 12.
    low, high = paired_interval(1, 7, 21)
    assert (round(low, 3), round(high, 3)) == (-0.517, -0.026)


def test_swapping_the_two_turns_the_interval_round():
    low, high = paired_interval(12, 5, 80)
    assert paired_interval(5, 12, 80) == pytest.approx((-high, -low), abs=1e-12)


def score_by_search(b, c, n, difference):
    """Tango's score with the restricted maximum likelihood found by trying shares."""
    best, share = -math.inf, 0.0
    low, high = max(0.0, -difference), (1 - difference) / 2
    for step in range(1, 20_000):
        q = low + (high - low) * step / 20_000
        counts = ((b, q + difference), (c, q), (n - b - c, 1 - 2 * q - difference))
        value = sum(k * math.log(p) for k, p in counts if k)
        if value > best:
            best, share = value, q
    return (b - c - n * difference) / math.sqrt(n * (2 * share + difference * (1 - difference)))


@pytest.mark.parametrize(("b", "c", "n"), [(6, 16, 161), (3, 0, 50), (40, 20, 160)])
def test_ends_are_where_the_score_is_196(b, c, n):
    low, high = paired_interval(b, c, n)
    assert score_by_search(b, c, n, low) == pytest.approx(1.96, abs=2e-3)
    assert score_by_search(b, c, n, high) == pytest.approx(-1.96, abs=2e-3)


@pytest.mark.parametrize(
    ("n", "first", "second"), [(100, 0.05, 0.03), (360, 0.08, 0.01), (1000, 0.01, 0.01)]
)
def test_covers_the_truth_95_times_of_100(n, first, second):
    generator = random.Random(0)
    hits = 0
    for _ in range(1000):
        drawn = [generator.random() for _ in range(n)]
        b = sum(d < first for d in drawn)
        c = sum(first <= d < first + second for d in drawn)
        low, high = paired_interval(b, c, n)
        hits += low <= first - second <= high
    assert 930 <= hits <= 970


def test_no_difference_seen_is_not_no_difference():
    low, high = paired_interval(0, 0, 360)
    assert -0.0107 < low < -0.0105
    assert high == pytest.approx(-low)


def test_extremes_stay_inside_one():
    assert paired_interval(5, 0, 5).high == 1
    assert paired_interval(0, 5, 5).low == -1


@pytest.mark.parametrize("counts", [(0, 0, 0), (3, 3, 5), (-1, 0, 5)])
def test_what_are_no_pairs_is_refused(counts):
    with pytest.raises(ValueError, match="no pairs"):
        paired_interval(*counts)
