"""What a latency limit allows, and which flat ends of a curve may be claimed."""

from dataclasses import replace

import pytest

from tests.making import measurement, window
from trtlab.analysis.latency_limit import LITTLE, flat_part, within
from trtlab.errors import MismatchError
from trtlab.spec import Caveat, RunConfig

SPREAD = (0.98, 0.99, 1.0, 1.0, 1.0, 1.01, 1.02)


def timed(batch, ms, calls=1, **parts):
    """A point with a median of ``ms`` and the throughput that follows from it."""
    windows = (window([ms * share for share in SPREAD] * calls),) * 3
    return measurement(batch=batch, run=RunConfig(batch=batch), windows=windows, **parts)


def line_of(rates):
    """Points of these throughputs by batch; calls so long that equal runs lie 15 % apart."""
    return [timed(batch, 1e5 * batch / rate) for batch, rate in rates.items()]


def test_the_best_point_is_the_one_of_highest_throughput_within_the_limit():
    points = [timed(1, 1.0), timed(4, 2.0), timed(8, 5.0), timed(16, 6.0)]
    found = within(points, 5.0)
    assert [m.batch for m in found.allowed] == [1, 4, 8]
    assert [m.batch for m in found.beyond] == [16]
    assert found.best is points[1], "2,000 against 1,600 inf/s"
    assert found.certain is True


def test_where_nothing_keeps_the_limit_there_is_no_best():
    found = within([timed(1, 1.0)], 0.5)
    assert found.best is None
    assert found.equal == ()


def test_an_interval_that_reaches_beyond_the_limit_is_told():
    point = timed(1, 1.0)
    assert point.median_interval_ms.high > 1.005
    assert within([point], 1.005).certain is False


def test_a_percentile_with_too_few_samples_is_unknown_not_allowed():
    few, many = timed(1, 1.0), timed(2, 1.0, calls=40)
    assert few.n < 662 <= many.n
    found = within([few, many], 9.0, 99)
    assert found.unknown == (few,)
    assert found.best is many
    assert found.certain is None, "a percentile has no interval"
    assert within([many], 1.01, 99).best is None, "its p99 is 1.02 ms"


def test_those_not_distinguishable_from_the_best_are_named():
    slow, close, best = timed(1, 100.0), timed(8, 110.0), timed(16, 210.0)
    assert within([slow, close, best], 300.0).equal == (close,)


def test_latencies_of_different_contents_are_not_ranked():
    other = replace(timed(1, 1.0), contents="compute")
    with pytest.raises(MismatchError):
        within([timed(1, 1.0), other], 5.0)


def test_the_flat_part_begins_after_the_last_steep_step():
    found = flat_part(line_of({1: 100, 2: 190, 4: 360, 8: 400, 16: 404, 32: 400}))
    assert (found.start.batch, found.end.batch) == (8, 32)
    assert found.gain == pytest.approx(1.15**0.5 - 1, abs=0.02)


@pytest.mark.parametrize(
    "rates",
    [{1: 100, 2: 160, 4: 250}, {1: 100, 2: 112}, {1: 100}, {}],
    ids=["steep", "inside the drift", "one point", "none"],
)
def test_no_flat_part_is_claimed_without_an_interval_for_it(rates):
    assert flat_part(line_of(rates)) is None


def test_the_claim_is_never_above_what_is_called_little():
    assert 1.08 * 1.15 - 1 < LITTLE < 1.12 * 1.15 - 1
    assert flat_part(line_of({1: 100, 2: 108})).gain == pytest.approx(1.08 * 1.15 - 1, abs=0.01)


def test_a_fall_is_a_gain_below_zero():
    found = flat_part(line_of({1: 100, 2: 400, 4: 150}))
    assert found.start.batch == 2
    assert found.gain < 0


def test_nothing_is_claimed_of_a_disturbed_run():
    start, end = line_of({8: 400, 16: 400})
    assert flat_part([start, end]) is not None
    doubtful = replace(end, caveats=(Caveat("unstable", "Windows differ.", "Again."),))
    assert flat_part([start, doubtful]) is None
