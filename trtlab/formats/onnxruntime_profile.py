"""ONNX Runtime's profiling JSON (Chrome trace events) → time per node.

One ``<node>_kernel_time`` event a node and run, durations in whole microseconds; ``model_run``
events frame the runs. On the CUDA provider a node's duration is the host launching it.
Field names as written by ONNX Runtime 1.23 to 1.31.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtlab.codec import Int64Array
from trtlab.errors import RecordError
from trtlab.formats.json_file import decoded
from trtlab.model.printing import printable
from trtlab.record import LayerTiming
from trtlab.spec import Shape

_SUFFIX = "_kernel_time"

MOST_SAMPLES = 2**22
"""Most samples (nodes × runs) that are read. A node that ran once counts in every run, so that a
small file could ask for any memory; a record could not hold more than twice as many."""


@dataclass(frozen=True, slots=True)
class NodeTimes:
    """What one file holds: every node's time in each run, and each whole run.

    Attributes:
        arena_resident_bytes: What the arena held before the very first node ran: weights that
            were repacked for this processor. None if not said.
        arena_peak_bytes: The most that it had in use, those weights included.
    """

    layers: tuple[LayerTiming, ...]
    runs_ns: Int64Array
    arena_resident_bytes: int | None
    arena_peak_bytes: int | None


def read(path: Path, *, skip_runs: int = 0) -> NodeTimes:
    """Read a profile, leaving out the first ``skip_runs`` runs (warm-up).

    Raises:
        RecordError: the file is not such a profile, or holds no further run.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _no_profile(path.name, error) from error
    return read_events(decoded(data, path.name), path.name, skip_runs=skip_runs)


def is_events(data: Any) -> bool:
    """Whether the decoded JSON has the form of such a file."""
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and {"ph", "ts", "dur"} <= first.keys()


def read_events(events: Any, name: str, *, skip_runs: int = 0) -> NodeTimes:
    """Read the decoded JSON; ``name`` is what to call the file.

    A node inside a subgraph (If, Loop) is part of the node that holds it.

    Raises:
        RecordError: it is not such a profile, or holds no further run or too many.
    """
    try:
        runs = sorted(_spans(e for e in events if e.get("name") == "model_run"))[skip_runs:]
        nodes = sorted(
            (e for e in events if e.get("cat") == "Node" and e["name"].endswith(_SUFFIX)),
            key=lambda e: (int(e["ts"]), -_duration(e)),
        )
        if not runs:
            raise RecordError(f"{name} holds no run after the first {skip_runs}.")
        return _joined(nodes, runs, name)
    except (
        ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError
    ) as error:  # fmt: skip
        raise _no_profile(name, error) from error


def _no_profile(name: str, error: Exception) -> RecordError:
    return RecordError(
        printable(f"{name} is not a profile of ONNX Runtime: {error}."),
        hint="It is written by a session with enable_profiling.",
    )


def _spans(events: Iterable[Mapping[str, Any]]) -> Iterable[tuple[int, int]]:
    return ((int(e["ts"]), int(e["ts"]) + _duration(e)) for e in events)


def _duration(event: Mapping[str, Any]) -> int:
    if (duration := int(event["dur"])) < 0:
        raise ValueError(f"a duration is negative: {duration}")
    return duration


def _joined(nodes: list[dict[str, Any]], runs: list[tuple[int, int]], name: str) -> NodeTimes:
    times: dict[tuple[int, str], dict[int, int]] = {}
    first: dict[tuple[int, str], Mapping[str, Any]] = {}
    peak: int | None = None
    run = 0
    busy_until = -1
    for event in nodes:
        begin, end = int(event["ts"]), int(event["ts"]) + int(event["dur"])
        while run < len(runs) and begin > runs[run][1]:
            run += 1
        if run == len(runs) or begin < runs[run][0]:
            continue  # warm-up
        args = event.get("args", {})
        peak = _largest(peak, args.get("mem_in_use_peak"))
        if begin < busy_until and end <= busy_until:  # what begins at its end is the next node
            continue  # inside a node that is counted already
        busy_until = end
        key = (int(args["node_index"]), event["name"].removesuffix(_SUFFIX))
        first.setdefault(key, args)
        of_runs = times.setdefault(key, {})
        of_runs[run] = of_runs.get(run, 0) + int(event["dur"]) * 1000
    if len(times) * len(runs) > MOST_SAMPLES:
        raise RecordError(
            f"{name} holds {len(times):,} nodes in {len(runs):,} runs: more than "
            f"{MOST_SAMPLES:,} samples.",
            hint="Profile fewer runs.",
        )
    layers = tuple(
        LayerTiming(
            name=key[1],
            type=str(first[key].get("op_name", "")),
            provider=str(first[key].get("provider", "")),
            samples_ns=Int64Array(of_runs.get(i, 0) for i in range(len(runs))),
            output_shapes=_shapes(first[key].get("output_type_shape", [])),
            arena_bytes=_number(first[key].get("mem_bytes_in_use")),
        )
        for key, of_runs in times.items()
    )
    runs_ns = Int64Array((end - begin) * 1000 for begin, end in runs)
    return NodeTimes(layers, runs_ns, _resident(nodes), peak)


def _resident(nodes: list[dict[str, Any]]) -> int | None:
    """Return what the arena held before the first node of the first run.

    In later runs it also holds the block that was planned for activations, so they do not tell.
    """
    args = nodes[0].get("args", {}) if nodes else {}
    after, delta = (_number(args.get(f"mem_{name}")) for name in ("bytes_in_use", "in_use_delta"))
    return None if after is None or delta is None else after - delta


def _shapes(described: Iterable[Mapping[str, list[int]]]) -> tuple[Shape, ...]:
    return tuple(tuple(int(d) for d in dims) for t in described for dims in t.values())


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _largest(peak: int | None, text: str | None) -> int | None:
    number = _number(text)
    if number is None:
        return peak
    return number if peak is None else max(peak, number)
