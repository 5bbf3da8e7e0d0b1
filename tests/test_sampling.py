"""Windows, warm-up and stopping, by a clock that moves only when a call is made."""

import threading

import pytest

from trtlab import sampling
from trtlab.sampling import FULL, QUICK, Lengths, Query, measure, timed_calls

MS = 1_000_000


class Clock:
    """Time that stands still until a call of ours advances it."""

    def __init__(self):
        self.now = 1000
        self.calls = 0

    def __call__(self):
        return self.now

    def call(self, milliseconds):
        """A call that takes so long: a number, or a function of how many came before."""

        def run():
            took = milliseconds(self.calls) if callable(milliseconds) else milliseconds
            self.calls += 1
            self.now += round(took * MS)

        return run


def taken(milliseconds, lengths=FULL):
    clock = Clock()
    return measure([clock.call(milliseconds)], lengths, clock=clock), clock


def test_the_lengths_are_those_of_the_rules():
    assert (FULL.window_ns, FULL.window_calls) == (500 * MS, 10)
    assert (QUICK.window_ns, QUICK.window_calls) == (150 * MS, 5)
    assert (sampling.MOST_CALLS, sampling.MOST_WINDOWS) == (5000, 10)
    assert (sampling.AGREEING_WINDOWS, sampling.TOLERANCE) == (3, 0.10)


@pytest.mark.parametrize(
    ("lengths", "call_ms", "calls"),
    [
        (FULL, 5, 100),  # half a second
        (FULL, 49, 11),
        (FULL, 50, 10),
        (FULL, 51, 10),
        (FULL, 400, 10),  # ten calls
        (FULL, 0.1, 5000),
        (FULL, 0.01, 5000),  # no more than 5,000 calls
        (QUICK, 5, 30),
        (QUICK, 30, 5),
        (QUICK, 90, 5),
        (QUICK, 0.001, 5000),
    ],
)
def test_a_window_is_the_longer_of_its_time_and_its_calls(lengths, call_ms, calls):
    samples, _ = taken(call_ms, lengths)
    assert [len(w.latencies_ns) for w in samples.windows] == [calls] * 3
    assert [w.wall_ns for w in samples.windows] == [round(call_ms * calls * MS)] * 3
    assert set(samples.windows[0].latencies_ns) == {round(call_ms * MS)}


def test_a_steady_call_stops_after_three_windows():
    samples, clock = taken(5)
    assert samples.stable
    assert samples.steady_from == 0
    assert samples.warm_up.settled
    assert samples.warm_up.calls == 20  # two blocks of 50 ms
    assert samples.warm_up.seconds == pytest.approx(0.1)
    assert clock.calls == 20 + 300


def test_first_windows_that_are_slow_are_kept_but_not_steady():
    # Warm-up takes two blocks; then two windows at double time.
    clock = Clock()
    slow_until = 2 * 10 + 2 * 50

    def time_of(n):
        return 5 if n < 20 or n >= slow_until else 10

    samples = measure([clock.call(time_of)], FULL, clock=clock)
    assert samples.stable
    assert samples.steady_from == 2
    assert [len(w.latencies_ns) for w in samples.windows] == [50, 50, 100, 100, 100]


def test_windows_that_alternate_are_unstable_after_ten():
    clock = Clock()
    window = [0]

    def progress(phase, done, _total):
        if phase == "measure":
            window[0] = done

    samples = measure(
        [clock.call(lambda _n: 5 if window[0] % 2 else 6)], FULL, clock=clock, progress=progress
    )
    assert len(samples.windows) == 10
    assert not samples.stable
    assert samples.steady_from == 0
    assert clock.calls == samples.warm_up.calls + sum(len(w.latencies_ns) for w in samples.windows)


def test_a_slow_drift_within_the_tolerance_of_neighbours_only_is_unstable():
    # Each window is 7 % slower than the last: neighbours agree, three in a row do not.
    clock = Clock()
    window = [0]

    def progress(phase, done, _total):
        window[0] = done if phase == "measure" else 0

    samples = measure(
        [clock.call(lambda _n: 5 * 1.07 ** window[0])], FULL, clock=clock, progress=progress
    )
    assert len(samples.windows) == 10
    assert not samples.stable


def test_windows_must_agree_in_throughput_too():
    # Most calls take 5 ms in every window; in every second window some take 100 ms.
    clock = Clock()
    window = [0]

    def progress(phase, done, _total):
        window[0] = done if phase == "measure" else 0

    samples = measure(
        [clock.call(lambda n: 100 if window[0] % 2 and n % 5 == 0 else 5)],
        FULL,
        clock=clock,
        progress=progress,
    )
    assert len(samples.windows) == 10
    assert not samples.stable


def test_stability_late_is_found_with_the_last_three():
    clock = Clock()
    window = [0]

    def progress(phase, done, _total):
        window[0] = done if phase == "measure" else 0

    samples = measure(
        [clock.call(lambda _n: 5 if window[0] >= 7 else 5 + window[0] % 2 * 5)],
        FULL,
        clock=clock,
        progress=progress,
    )
    assert len(samples.windows) == 9  # window 6 is of 5 ms already
    assert samples.stable
    assert samples.steady_from == 6


def test_no_sample_is_dropped():
    clock = Clock()
    made = []

    def call():
        took = 3 * MS + len(made) % 7
        made.append(took)
        clock.now += took

    samples = measure([call], QUICK, clock=clock)
    kept = [ns for w in samples.windows for ns in w.latencies_ns]
    assert kept == made[samples.warm_up.calls :]


def test_warm_up_goes_on_while_calls_get_faster():
    samples, _ = taken(lambda n: max(5, 50 - n))
    assert samples.warm_up.settled
    assert samples.warm_up.calls >= 45
    assert samples.stable
    assert set(samples.windows[0].latencies_ns) == {5 * MS}


def test_warm_up_that_never_settles_is_labelled():
    samples, clock = taken(lambda n: 1e4 * 0.9**n, Lengths(window_ns=1, window_calls=1))
    assert not samples.warm_up.settled
    assert samples.warm_up.calls == 20 * 3
    assert clock.calls > samples.warm_up.calls


def test_a_block_of_warm_up_has_a_least_count():
    samples, _ = taken(200)
    assert samples.warm_up.calls == 6
    samples, _ = taken(200, QUICK)
    assert samples.warm_up.calls == 4


def test_progress_tells_each_step():
    clock = Clock()
    seen = []
    measure([clock.call(5)], FULL, clock=clock, progress=lambda *step: seen.append(step))
    assert seen == [
        ("warm-up", 0, 20),
        ("warm-up", 1, 20),
        ("warm-up", 2, 20),
        ("measure", 0, 10),
        ("measure", 1, 10),
        ("measure", 2, 10),
    ]


def test_the_inner_loop_makes_at_least_one_call():
    clock = Clock()
    assert timed_calls(clock.call(1), clock, until_ns=0, least=0) == [MS]
    assert timed_calls(clock.call(1), clock, until_ns=0, least=4) == [MS] * 4
    assert timed_calls(clock.call(1), clock, until_ns=10**18, least=9, most=3) == [MS] * 3


def test_an_exception_ends_the_measurement():
    def call():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure([call], QUICK, clock=Clock())


# Several streams


class SharedClock:
    """Time for several threads: each has its own, so that their order does not matter."""

    def __init__(self):
        self.own = threading.local()
        self.calls = {}

    def __call__(self):
        return getattr(self.own, "now", 0)

    def call(self, name, milliseconds):
        self.calls[name] = []

        def run():
            self.own.now = self() + milliseconds * MS
            self.calls[name].append(threading.get_ident())

        return run


SHORT = Lengths(window_ns=50 * MS, window_calls=10, block_ns=10 * MS, block_calls=2, most_blocks=2)


def test_every_stream_runs_in_a_thread_of_its_own():
    clock = SharedClock()
    calls = [clock.call(n, 5) for n in range(3)]
    window = sampling._window(calls, 50 * MS, 10, clock)
    assert len(window.latencies_ns) == 30
    assert set(window.latencies_ns) == {5 * MS}
    idents = [set(made) for made in clock.calls.values()]
    assert [len(made) for made in clock.calls.values()] == [10, 10, 10]
    assert all(len(own) == 1 for own in idents)
    assert threading.get_ident() not in set().union(*idents)


def test_streams_share_the_least_and_the_most_calls():
    clock = SharedClock()
    window = sampling._window([clock.call(n, 100) for n in range(3)], 50 * MS, 10, clock)
    assert len(window.latencies_ns) == 12  # four each, the least that makes ten
    clock = SharedClock()
    window = sampling._window([clock.call(n, 0) for n in range(3)], 50 * MS, 10, clock)
    assert 3 * 1666 == len(window.latencies_ns) <= 5000


def test_streams_start_together():
    # Each first call waits for the other's: this ends only if both are in flight at once.
    meeting = threading.Barrier(2)
    clock = SharedClock()
    seen = set()

    def call(n):
        inner = clock.call(n, 5)

        def run():
            if n not in seen:
                seen.add(n)
                meeting.wait(30)
            inner()

        return run

    sampling._window([call(0), call(1)], 50 * MS, 10, clock)
    assert seen == {0, 1}


def test_the_wall_time_of_a_window_reaches_from_the_first_begin_to_the_last_end():
    # In this clock no time passes for the thread that waits for the streams: it may be late.
    clock = SharedClock()
    window = sampling._window([clock.call(0, 5), clock.call(1, 45)], 50 * MS, 4, clock)
    assert sorted(set(window.latencies_ns)) == [5 * MS, 45 * MS]
    assert window.wall_ns == 90 * MS


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_an_exception_in_a_stream_reaches_the_caller(bad):
    clock = SharedClock()

    def call():
        raise ZeroDivisionError

    calls = [clock.call(n, 5) for n in range(3)]
    calls[bad] = call
    with pytest.raises(ZeroDivisionError):
        measure(calls, SHORT, clock=clock)
    assert not [t for t in threading.enumerate() if "stream" in t.name and t.is_alive()]


def test_all_streams_may_raise_at_once():
    def call():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure([call] * 4, SHORT, clock=SharedClock())


def test_a_stream_may_raise_in_the_middle():
    clock = SharedClock()
    count = []

    def call():
        count.append(1)
        if len(count) == 7:
            raise MemoryError
        clock.own.now = clock() + MS

    with pytest.raises(MemoryError):
        measure([clock.call(0, 1), call], SHORT, clock=clock)


def test_samples_are_an_int64_array():
    samples, _ = taken(400)
    assert samples.windows[0].latencies_ns.to_bytes() == (400 * MS).to_bytes(8, "little") * 10


# Calls that time themselves


class Timed:
    """A GPU in one line: every query takes so long after the one before; the host only waits."""

    def __init__(self, clock, compute_ms, copies_ms=None):
        self.clock, self.compute, self.copies = clock, round(compute_ms * MS), copies_ms
        self.free_at = 0
        self.flying = []
        self.log = []

    def put(self):
        self.free_at = max(self.free_at, self.clock.now) + self.compute
        self.flying.append(self.free_at)

    def start(self):
        assert not self.flying
        self.log.append("start")
        self.put()

    def __call__(self):
        self.put()
        self.clock.now = max(self.clock.now, self.flying.pop(0))
        copies = None if self.copies is None else self.copies * MS
        return Query(self.compute, 7, copies, copies)

    def finish(self):
        self.log.append("finish")
        self.clock.now = max(self.clock.now, self.flying.pop(0))
        assert not self.flying


def test_a_call_that_times_itself_is_asked_and_not_the_clock():
    clock = Clock()
    call = Timed(clock, 5)
    samples = measure([call], FULL, clock=clock)
    window = samples.windows[0]
    assert set(window.latencies_ns) == {5 * MS}
    assert window.parts.compute_ns == window.latencies_ns
    assert set(window.parts.enqueue_ns) == {7}
    assert window.parts.h2d_ns is window.parts.d2h_ns is None
    assert samples.stable


def test_copies_are_part_of_the_latency_that_names_them():
    clock = Clock()
    window, _ = sampling.stretch([Timed(clock, 5, 2)], 20 * MS, clock=clock)
    assert set(window.latencies_ns) == {9 * MS}
    assert set(window.parts.h2d_ns) == set(window.parts.d2h_ns) == {2 * MS}


def test_the_query_that_is_ahead_belongs_to_no_window_but_is_counted():
    clock = Clock()
    call = Timed(clock, 5)
    samples = measure([call], FULL, clock=clock)
    # The wall time ends with the last query that is returned: throughput is that of the GPU.
    assert [w.wall_ns for w in samples.windows] == [len(w.latencies_ns) * 5 * MS
                                                    for w in samples.windows]  # fmt: skip
    assert call.log == ["start", "finish"] * (len(call.log) // 2)
    blocks = len(call.log) // 2
    measured = sum(len(w.latencies_ns) for w in samples.windows)
    assert samples.calls == samples.warm_up.calls + measured + len(samples.windows)
    assert samples.warm_up.calls == 20 + blocks - len(samples.windows)


def test_spans_tell_when_the_windows_were():
    clock = Clock()
    samples = measure([clock.call(5)], FULL, clock=clock)
    begin = 1000 + 100 * MS  # after warm-up
    assert samples.spans == tuple((begin + n * 500 * MS, begin + (n + 1) * 500 * MS)
                                  for n in range(3))  # fmt: skip
    assert samples.steady_span == (begin, begin + 1500 * MS)
    assert samples.calls == clock.calls


def test_the_steady_span_begins_with_the_first_steady_window():
    clock = Clock()
    samples = measure([clock.call(lambda n: 10 if 20 <= n < 120 else 5)], FULL, clock=clock)
    assert samples.steady_from == 2
    assert samples.steady_span == (samples.spans[2][0], samples.spans[-1][1])


def test_a_stretch_is_one_window_without_a_most():
    clock = Clock()
    window, made = sampling.stretch([clock.call(0.1)], 3_000 * MS, clock=clock)
    assert len(window.latencies_ns) == made == 30_000
    assert window.wall_ns == 3_000 * MS
    clock = Clock()
    window, made = sampling.stretch([Timed(clock, 0.1)], 3_000 * MS, clock=clock)
    assert made == len(window.latencies_ns) + 1 == 30_001
