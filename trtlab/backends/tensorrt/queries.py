"""Queries on one stream, timed by events on the GPU: what ``benchmark`` calls.

A query is one inference: copies in (if they are asked for), the engine's work, copies out, as in
trtexec. All of it lies in one stream, so that copies and work follow each other there; several
streams overlap. Throughput holds exactly that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from trtlab.device import Event, Gpu, Stream, elapsed_ns
from trtlab.sampling import Query

Action = Callable[[], object]
Clock = Callable[[], int]


@dataclass(slots=True)
class _Slot:
    """The events of one query in flight; used again only after it was waited for."""

    begin: Event
    computing: Event
    computed: Event
    end: Event
    enqueue_ns: int = 0


class Queries:
    """A ``sampling.EventTimed`` call: at most two queries are in flight, as in trtexec.

    The events around the work are queued with it. While a query runs, the next one is queued
    already: its first event passes when the work before it ends. With a single query in flight
    that event would pass at once, and the host's time for the launch would count as GPU time.
    """

    def __init__(
        self,
        gpu: Gpu,
        stream: Stream,
        work: Action,
        *,
        copy_in: Action | None = None,
        copy_out: Action | None = None,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        """Make the events.

        Args:
            gpu: The GPU.
            stream: The stream that the actions queue their work on.
            work: Queues one inference or launches its graph.
            copy_in: Queues the copies of inputs; None if they are not part of a query.
            copy_out: Queues the copies of outputs; given if ``copy_in`` is.
            clock: The host's clock in nanoseconds.
        """
        self._gpu, self._stream, self._work, self._clock = gpu, stream, work, clock
        self._copy_in, self._copy_out = copy_in, copy_out
        self._slots = [self._new_slot(), self._new_slot()]

    def start(self) -> None:
        """Put the first query of a window on its way; in the thread that will call."""
        self._gpu.make_current()
        self._put(self._slots[0])

    def __call__(self) -> Query:
        """Put one more query on its way, wait for the one before and return its times."""
        done, ahead = self._slots
        self._put(ahead)
        self._slots.reverse()
        done.end.sync()
        compute = elapsed_ns(done.computing, done.computed)
        if self._copy_in is None:
            return Query(compute, done.enqueue_ns)
        return Query(
            compute,
            done.enqueue_ns,
            elapsed_ns(done.begin, done.computing),
            elapsed_ns(done.computed, done.end),
        )

    def finish(self) -> None:
        """Wait for the query that is still on its way."""
        self._slots[0].end.sync()

    def _put(self, slot: _Slot) -> None:
        record, clock = self._stream.record, self._clock
        if self._copy_in is not None:
            record(slot.begin)
            self._copy_in()
        record(slot.computing)
        begin = clock()
        self._work()
        slot.enqueue_ns = clock() - begin
        record(slot.computed)
        if self._copy_out is not None:
            self._copy_out()
            record(slot.end)

    def _new_slot(self) -> _Slot:
        computing, computed = self._gpu.event(), self._gpu.event()
        if self._copy_in is None:
            return _Slot(computing, computing, computed, computed)
        return _Slot(self._gpu.event(), computing, computed, self._gpu.event())
