"""Taking latency samples: the inner loop, warm-up, windows and when to stop.

Works on plain callables and a clock, so it is the same for every backend and testable with a
fake clock. Lengths come from the project's rules: a window is the longer of 0.5 s and 10 calls
(quick: 0.15 s and 5), at most 5,000 calls; stop when three windows in a row agree within 10 % in
latency and in throughput, or after ten.

A call that is no ``EventTimed`` is timed by the clock around it. An ``EventTimed`` one says by
itself what the GPU took; then the clock only gives the window's wall time, for throughput.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from trtlab import stats
from trtlab.codec import Int64Array
from trtlab.record import Parts, WarmUp, Window

Call = Callable[[], object]
Clock = Callable[[], int]
Progress = Callable[[str, int, int], None]

MOST_CALLS = 5_000
MOST_WINDOWS = 10
AGREEING_WINDOWS = 3
TOLERANCE = 0.10


class Query(NamedTuple):
    """One inference by the GPU's events, in nanoseconds; copies are None where there are none.

    ``enqueue_ns`` is the host's clock around the enqueue call or graph launch alone.
    """

    compute_ns: int
    enqueue_ns: int
    h2d_ns: int | None = None
    d2h_ns: int | None = None


@runtime_checkable
class EventTimed(Protocol):
    """A call that measures itself by events on the GPU, one query ahead of the one it returns.

    With a query ahead the GPU need not wait for the host between two queries, and the event
    before a query's work is passed when the work before it ends, not while the host prepares.
    """

    def start(self) -> None:
        """Begin a window: put the first query on its way. Called in the thread that runs it."""
        ...

    def __call__(self) -> Query:
        """Put one more query on its way, wait for the one before and return its times."""
        ...

    def finish(self) -> None:
        """End a window: wait for the one query that is still on its way."""
        ...


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long a window is (the longer of both) and what warm-up may take."""

    window_ns: int = 500_000_000
    window_calls: int = 10
    block_ns: int = 50_000_000
    block_calls: int = 3
    most_blocks: int = 20


FULL = Lengths()
QUICK = Lengths(window_ns=150_000_000, window_calls=5, block_ns=30_000_000, block_calls=2)


@dataclass(frozen=True, slots=True)
class Samples:
    """What ``measure`` took; ``steady_from`` is the first window that statistics use.

    Attributes:
        spans: When each window began and ended, by the clock.
        calls: All calls that were made, warm-up and unmeasured ones included.
    """

    windows: tuple[Window, ...]
    steady_from: int
    stable: bool
    warm_up: WarmUp
    spans: tuple[tuple[int, int], ...]
    calls: int

    @property
    def steady_span(self) -> tuple[int, int]:
        """From the first steady window's begin to the last one's end."""
        return self.spans[self.steady_from][0], self.spans[-1][1]


def timed_calls(
    call: Call, clock: Clock, *, until_ns: int, least: int, most: int = MOST_CALLS
) -> list[int]:
    """Call until the clock passes ``until_ns`` and ``least`` calls are done; return durations.

    This is the loop whose overhead the benchmark holds against a bare one: two clock reads, one
    append and one comparison a call.
    """
    samples: list[int] = []
    append = samples.append
    now = 0
    while True:
        begin = clock()
        call()
        now = clock()
        append(now - begin)
        if (now >= until_ns and len(samples) >= least) or len(samples) >= most:
            return samples


def event_timed_calls(
    call: EventTimed, clock: Clock, *, until_ns: int, least: int, most: int = MOST_CALLS
) -> tuple[list[Query], int]:
    """Do as ``timed_calls`` does with a call that times itself; return its times and the end.

    The window ends when the last returned query is complete. The one still on its way is waited
    for after that and belongs to no window.
    """
    queries: list[Query] = []
    append = queries.append
    call.start()
    while True:
        append(call())
        now = clock()
        if (now >= until_ns and len(queries) >= least) or len(queries) >= most:
            call.finish()
            return queries, now


def stretch(
    calls: Sequence[Call], length_ns: int, *, clock: Clock = time.perf_counter_ns
) -> tuple[Window, int]:
    """Take one unbroken window of at least that length; return it and the calls made in it."""
    window = _window(calls, length_ns, 1, clock, most=sys.maxsize)
    return window, len(window.latencies_ns) + _ahead(calls)


def agree(windows: Sequence[Window]) -> bool:
    """Whether windows agree within the tolerance in median latency and in throughput."""
    medians = [stats.median(w.latencies_ns) for w in windows]
    rates = [len(w.latencies_ns) / w.wall_ns for w in windows]
    return stats.agree(medians, TOLERANCE) and stats.agree(rates, TOLERANCE)


def measure(
    calls: Sequence[Call],
    lengths: Lengths,
    *,
    clock: Clock = time.perf_counter_ns,
    progress: Progress = lambda _phase, _done, _total: None,
) -> Samples:
    """Warm up, then take windows until they agree. One thread for each of ``calls``.

    Raises:
        Whatever a call raises, from the thread that it ran in.
    """
    progress("warm-up", 0, lengths.most_blocks)
    warm_up = _warm_up(calls, lengths, clock, progress)
    windows: list[Window] = []
    spans: list[tuple[int, int]] = []
    made, steady_from, stable = warm_up.calls, 0, False
    for index in range(MOST_WINDOWS):
        progress("measure", index, MOST_WINDOWS)
        begin = clock()
        windows.append(_window(calls, lengths.window_ns, lengths.window_calls, clock))
        spans.append((begin, clock()))
        made += len(windows[-1].latencies_ns) + _ahead(calls)
        last = windows[-AGREEING_WINDOWS:]
        if len(last) == AGREEING_WINDOWS and agree(last):
            steady_from, stable = index + 1 - AGREEING_WINDOWS, True
            break
    return Samples(tuple(windows), steady_from, stable, warm_up, tuple(spans), made)


def _ahead(calls: Sequence[Call]) -> int:
    """Return how many calls a window makes beyond those that it measures."""
    return sum(isinstance(call, EventTimed) for call in calls)


def _warm_up(calls: Sequence[Call], lengths: Lengths, clock: Clock, progress: Progress) -> WarmUp:
    begin = clock()
    earlier: Int64Array | None = None
    count = 0
    for block in range(lengths.most_blocks):
        later = _window(calls, lengths.block_ns, lengths.block_calls, clock).latencies_ns
        count += len(later) + _ahead(calls)
        progress("warm-up", block + 1, lengths.most_blocks)
        if earlier is not None and stats.settled(earlier, later):
            return WarmUp(count, (clock() - begin) / 1e9, True)
        earlier = later
    return WarmUp(count, (clock() - begin) / 1e9, False)


class _Stream(NamedTuple):
    """What one stream took in a window."""

    samples: list[int] | list[Query]
    begin: int
    end: int


def _stream(call: Call, length_ns: int, least: int, most: int, clock: Clock) -> _Stream:
    begin = clock()
    until = begin + length_ns
    if isinstance(call, EventTimed):
        queries, end = event_timed_calls(call, clock, until_ns=until, least=least, most=most)
        return _Stream(queries, begin, end)
    samples = timed_calls(call, clock, until_ns=until, least=least, most=most)
    return _Stream(samples, begin, clock())


def _window(
    calls: Sequence[Call], length_ns: int, least: int, clock: Clock, most: int = MOST_CALLS
) -> Window:
    if len(calls) == 1:
        return _joined([_stream(calls[0], length_ns, least, most, clock)])
    return _joined(_concurrent_streams(calls, length_ns, least, most, clock))


def _joined(streams: Sequence[_Stream]) -> Window:
    # By the streams' own clocks: the caller's thread may wake up late after the barrier.
    wall = max(s.end for s in streams) - min(s.begin for s in streams)
    taken = [sample for stream in streams for sample in stream.samples]
    queries = [sample for sample in taken if isinstance(sample, Query)]
    if not queries:
        return Window(Int64Array(ns for ns in taken if isinstance(ns, int)), wall)
    copies = all(q.h2d_ns is not None and q.d2h_ns is not None for q in queries)
    parts = Parts(
        compute_ns=Int64Array(q.compute_ns for q in queries),
        enqueue_ns=Int64Array(q.enqueue_ns for q in queries),
        h2d_ns=Int64Array(q.h2d_ns or 0 for q in queries) if copies else None,
        d2h_ns=Int64Array(q.d2h_ns or 0 for q in queries) if copies else None,
    )
    return Window(parts.latencies_ns(), wall, parts)


def _concurrent_streams(
    calls: Sequence[Call], length_ns: int, least: int, most: int, clock: Clock
) -> list[_Stream]:
    # Every stream makes its share of the calls; the barrier makes them begin together.
    share_least = max(1, -(-least // len(calls)))
    share_most = max(share_least, most // len(calls))
    barrier = threading.Barrier(len(calls) + 1)
    taken: dict[int, _Stream] = {}
    failures: list[BaseException] = []

    def stream(index: int) -> None:
        try:
            barrier.wait()
            taken[index] = _stream(calls[index], length_ns, share_least, share_most, clock)
        except BaseException as error:  # noqa: BLE001 - re-raised by the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=stream, args=(i,), daemon=True) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    barrier.wait()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [taken[index] for index in range(len(calls))]
