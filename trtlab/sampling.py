"""Taking latency samples: the inner loop, warm-up, windows and when to stop.

Works on plain callables and a clock, so it is the same for every backend and testable with a
fake clock. Lengths come from the project's rules: a window is the longer of 0.5 s and 10 calls
(quick: 0.15 s and 5), at most 5,000 calls; stop when three windows in a row agree within 10 % in
latency and in throughput, or after ten.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trtlab import stats
from trtlab.codec import Int64Array
from trtlab.record import WarmUp, Window

Call = Callable[[], object]
Clock = Callable[[], int]
Progress = Callable[[str, int, int], None]

MOST_CALLS = 5_000
MOST_WINDOWS = 10
AGREEING_WINDOWS = 3
TOLERANCE = 0.10


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
    """What ``measure`` took; ``steady_from`` is the first window that statistics use."""

    windows: tuple[Window, ...]
    steady_from: int
    stable: bool
    warm_up: WarmUp


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
    for index in range(MOST_WINDOWS):
        progress("measure", index, MOST_WINDOWS)
        windows.append(_window(calls, lengths.window_ns, lengths.window_calls, clock))
        if _agree(windows[-AGREEING_WINDOWS:]):
            return Samples(tuple(windows), index + 1 - AGREEING_WINDOWS, True, warm_up)
    return Samples(tuple(windows), 0, False, warm_up)


def _agree(windows: Sequence[Window]) -> bool:
    if len(windows) < AGREEING_WINDOWS:
        return False
    medians = [stats.median(w.latencies_ns) for w in windows]
    rates = [len(w.latencies_ns) / w.wall_ns for w in windows]
    return stats.agree(medians, TOLERANCE) and stats.agree(rates, TOLERANCE)


def _warm_up(calls: Sequence[Call], lengths: Lengths, clock: Clock, progress: Progress) -> WarmUp:
    begin = clock()
    earlier: Int64Array | None = None
    count = 0
    for block in range(lengths.most_blocks):
        later = _window(calls, lengths.block_ns, lengths.block_calls, clock).latencies_ns
        count += len(later)
        progress("warm-up", block + 1, lengths.most_blocks)
        if earlier is not None and stats.settled(earlier, later):
            return WarmUp(count, (clock() - begin) / 1e9, True)
        earlier = later
    return WarmUp(count, (clock() - begin) / 1e9, False)


def _window(calls: Sequence[Call], length_ns: int, least: int, clock: Clock) -> Window:
    if len(calls) == 1:
        begin = clock()
        samples = timed_calls(calls[0], clock, until_ns=begin + length_ns, least=least)
        return Window(Int64Array(samples), clock() - begin)
    return _concurrent_window(calls, length_ns, least, clock)


def _concurrent_window(calls: Sequence[Call], length_ns: int, least: int, clock: Clock) -> Window:
    # Every stream makes its share of the calls; the barrier makes them begin together.
    share_least = max(1, -(-least // len(calls)))
    share_most = max(share_least, MOST_CALLS // len(calls))
    barrier = threading.Barrier(len(calls) + 1)
    taken: list[list[int]] = [[] for _ in calls]
    spans: list[tuple[int, int]] = []
    failures: list[BaseException] = []

    def stream(index: int) -> None:
        try:
            barrier.wait()
            begin = clock()
            taken[index] = timed_calls(
                calls[index],
                clock,
                until_ns=begin + length_ns,
                least=share_least,
                most=share_most,
            )
            spans.append((begin, clock()))
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
    # By the streams' own clocks: this thread may wake up late after the barrier.
    wall = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return Window(Int64Array(ns for stream_ns in taken for ns in stream_ns), wall)
