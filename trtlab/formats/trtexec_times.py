"""What ``trtexec --exportTimes`` writes: the times of every inference; read and written.

A list of objects with when each part began and ended (``startH2dMs``, ``endComputeMs`` …) and how
long it took: ``h2dMs``, ``computeMs``, ``d2hMs`` and their sum ``latencyMs``. Copies take 0 where
trtexec made none. Before TensorRT 8 copies were called *in* and *out*.

Everything is printed with six digits. For the parts that is enough; the moments of a run of
seconds are so coarse (0.01 ms) that the time to enqueue, which is only told as two of them, is
taken as unknown where it is not many such steps long.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trtlab import stats
from trtlab.codec import Int64Array
from trtlab.errors import RecordError, UnsupportedError
from trtlab.formats.json_file import shown
from trtlab.record import Contents, Measurement, Parts, Window

_OLD = {"h2dMs": "inMs", "d2hMs": "outMs", "startH2dMs": "startInMs", "endD2hMs": "endOutMs"}
_DIGITS = 6
_STEPS = 20
"""So many steps of the printed moments a time to enqueue must last to be known within 5 %."""

_ROUNDING = 2e-3
"""How far ``latencyMs`` may lie from the sum of its parts, relative and in ms."""

_LONGEST_MS = 1e12
_HINT = "Write it again with trtexec --exportTimes=FILE."


@dataclass(frozen=True, slots=True)
class TimesRead:
    """Every inference of the file, in its order.

    Attributes:
        begin_ms: When each began, ``computing_ms`` when its work on the GPU began, and ``end_ms``
            when it ended, after the start of the run. None where the file leaves it out.
    """

    parts: Parts
    begin_ms: tuple[float | None, ...]
    computing_ms: tuple[float | None, ...]
    end_ms: tuple[float | None, ...]

    @property
    def contents(self) -> Contents:
        """What the latencies contain."""
        return "compute" if self.parts.h2d_ns is None else "compute+transfers"

    def windows(self, warm_up_ms: float | None) -> tuple[Window, ...]:
        """Return all inferences as one window, or those of the warm-up apart in a first one.

        By trtexec's rule: warm-up lasts until the first inference whose work begins after so many
        milliseconds. It is in the files of TensorRT 8; later ones leave it out.

        Raises:
            ValueError: the file does not tell how long a window lasted.
        """
        split = 0
        if warm_up_ms is not None:
            late = (i for i, ms in enumerate(self.computing_ms) if ms is None or ms >= warm_up_ms)
            split = next(late, 0)
        count = len(self.computing_ms)
        bounds = [(0, split), (split, count)] if split else [(0, count)]
        return tuple(self._window(slice(*bound)) for bound in bounds)

    def _window(self, part: slice) -> Window:
        begins = [ms for ms in self.begin_ms[part] if ms is not None]
        ends = [ms for ms in self.end_ms[part] if ms is not None]
        if not begins or not ends or max(ends) <= min(begins):
            raise ValueError("it does not tell when the first inference began and the last ended")
        p = self.parts
        parts = Parts(
            p.compute_ns[part],
            p.enqueue_ns and p.enqueue_ns[part],
            p.h2d_ns and p.h2d_ns[part],
            p.d2h_ns and p.d2h_ns[part],
        )
        latencies, wall_ns = parts.latencies_ns(), round((max(ends) - min(begins)) * 1e6)
        if len(ends) not in (1, len(latencies)) or wall_ns < max(latencies):
            raise ValueError("the moments that it tells contradict its latencies, or some lack")
        return Window(latencies, wall_ns, parts)


def is_times(data: Any) -> bool:
    """Whether the decoded JSON has the form of such a file."""
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and "computeMs" in first


def read_times(rows: list[Any], name: str) -> TimesRead:
    """Read the decoded JSON; ``name`` is what to call the file.

    Raises:
        RecordError: a time is missing or none, or latencies contradict their parts.
    """
    if not all(isinstance(row, dict) for row in rows):
        raise RecordError(f"{name} holds an inference without times.", hint=_HINT)
    compute = _durations(rows, "computeMs", name)
    h2d, d2h = _durations(rows, "h2dMs", name), _durations(rows, "d2hMs", name)
    if compute is None or round(min(compute) * 1e6) < 1:
        raise RecordError(f"{name} holds an inference that takes no time.", hint=_HINT)
    if h2d is None or d2h is None or not (any(h2d) or any(d2h)):
        h2d = d2h = None
    _check_latencies(rows, [part for part in (compute, h2d, d2h) if part], name)
    parts = [None if p is None else _ns(p) for p in (_enqueue(rows, name), h2d, d2h)]
    return TimesRead(
        Parts(_ns(compute), *parts),
        begin_ms=tuple(_column(rows, "startH2dMs", name)),
        computing_ms=tuple(_column(rows, "startComputeMs", name)),
        end_ms=tuple(_column(rows, "endD2hMs", name)),
    )


def times_json(measurement: Measurement) -> bytes:
    """Return the steady samples as ``trtexec --exportTimes`` writes them.

    A record holds how long parts took and the windows lasted, not when each inference began. So
    of the moments only these two are written: the first begins at 0, the last ends when all
    windows are over. The time to enqueue, which would need more of them, is left out.

    Raises:
        UnsupportedError: the latencies are host times around a call, which trtexec has not.
    """
    if any(window.parts is None for window in measurement.steady):
        raise UnsupportedError(
            f"The latencies of {measurement.model.name} are no GPU times, as trtexec's are.",
            hint="Export a measurement of TensorRT.",
        )
    rows = [row for window in measurement.steady for row in _rows(window)]
    wall_ns = sum(window.wall_ns for window in measurement.steady)
    rows[0] = {"startH2dMs": 0, **rows[0]}
    rows[-1] = {**rows[-1], "endD2hMs": wall_ns / 1e6}
    lines = ",\n ".join(json.dumps(row, allow_nan=False) for row in rows)
    return f"[{lines}]\n".encode()


def _rows(window: Window) -> list[dict[str, float]]:
    if window.parts is None:
        return []
    none = Int64Array([0] * len(window.latencies_ns))  # trtexec's copies that it did not make
    compute, h2d, d2h = window.parts.compute_ns, window.parts.h2d_ns, window.parts.d2h_ns
    calls = zip(h2d or none, compute, d2h or none, window.latencies_ns, strict=True)
    return [
        {"h2dMs": a / 1e6, "computeMs": b / 1e6, "d2hMs": c / 1e6, "latencyMs": d / 1e6}
        for a, b, c, d in calls
    ]


def _column(rows: Sequence[dict[str, Any]], key: str, name: str) -> list[float | None]:
    """Return the numbers under a key, or under what it was called before; None where absent."""
    values = [row.get(key) for row in rows]
    if key in _OLD and not any(key in row for row in rows):
        values = [row.get(_OLD[key]) for row in rows]
    for index, value in enumerate(values):
        # True is an int to Python; NaN is not below anything.
        if value is not None and not (type(value) in (int, float) and abs(value) < _LONGEST_MS):
            raise RecordError(
                f"{name}: {key} of inference {index + 1:,} is {shown(value)}, which is no time.",
                hint=_HINT,
            )
    return values


def _durations(rows: Sequence[dict[str, Any]], key: str, name: str) -> list[float] | None:
    """Return one duration for every inference, or None where the file has none at all."""
    values = _column(rows, key, name)
    known = [value for value in values if value is not None]
    if not known:
        return None
    if len(known) < len(values) or min(known) < 0:
        raise RecordError(f"{name}: {key} of an inference is missing or negative.", hint=_HINT)
    return known


def _enqueue(rows: Sequence[dict[str, Any]], name: str) -> list[float] | None:
    begins, ends = (_column(rows, key, name) for key in ("startEnqMs", "endEnqMs"))
    known = [
        end - begin
        for begin, end in zip(begins, ends, strict=True)
        if begin is not None and end is not None
    ]
    latest = max((abs(ms) for ms in ends if ms is not None), default=0)
    if len(known) < len(rows) or min(known) < 0 or latest <= 0:
        return None
    step = 10.0 ** (math.floor(math.log10(latest)) + 1 - _DIGITS)
    return known if stats.median(known) >= _STEPS * step else None


def _check_latencies(
    rows: Sequence[dict[str, Any]], parts: Sequence[Sequence[float]], name: str
) -> None:
    for index, said in enumerate(_column(rows, "latencyMs", name)):
        found = math.fsum(part[index] for part in parts)
        if said is not None and abs(said - found) > _ROUNDING * (1 + found):
            raise RecordError(
                f"{name}: latencyMs of inference {index + 1:,} is {said:g}, its parts take "
                f"{found:g}.",
                hint=_HINT,
            )


def _ns(milliseconds: Sequence[float]) -> Int64Array:
    return Int64Array(round(ms * 1e6) for ms in milliseconds)
