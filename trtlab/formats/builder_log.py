"""A log of TensorRT or trtexec → the list of layers and the table of layer times in it.

Each message begins a line with what the logger puts before it: ``[VERBOSE] ``, trtexec's
``[07/07/2026-02:11:38] [I] [TRT] ``, or nothing where a program printed the list itself. A
message goes on in the lines that have no such beginning.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from trtlab.errors import RecordError
from trtlab.formats.engine_layers import LayersRead
from trtlab.formats.json_file import shown
from trtlab.formats.layer_dump import BEGINNINGS, read_dump
from trtlab.formats.run_facts import RunFacts, facts_of_log
from trtlab.formats.trtexec_profile import LayerSums
from trtlab.record import Summary

_PREFIX = re.compile(
    r"^(?:\[(?:\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d|TRT|[VIWEF]|VERBOSE|INFO|WARNING|ERROR"
    r"|INTERNAL_ERROR)\] ?)+",
    re.MULTILINE,
)
_HEADINGS = tuple(f"{heading}\n" for heading in BEGINNINGS if heading.endswith(":"))
_PRINTED = re.compile(rf"^(?={'|'.join(re.escape(heading) for heading in _HEADINGS)})", re.M)
_SHOWN = 5
_TABLE = re.compile(r"=== Profile \((\d{1,18}) iterations ?\) ===")
_COLUMNS = ["Time(ms)", "Avg.(ms)", "Median(ms)", "Time(%)", "Layer"]
_TABLE_ROW = re.compile(r" *([\d.]{1,30}) +([\d.]{1,30}) +([\d.]{1,30}) +[\d.]{1,30}   (.*)")


@dataclass(frozen=True, slots=True)
class LogRead:
    """What a log tells of one engine.

    Attributes:
        layers: The list of its layers; None if there is none.
        times: The table of layer times; None if there is none. trtexec leaves layers out of it
            that took no time, and rounds.
    """

    layers: LayersRead | None
    times: LayerSums | None
    facts: RunFacts


def read_log(text: str, name: str) -> LogRead:
    """Read a whole log; ``name`` is what to call the file.

    The builder and trtexec may both list one engine: lists that name the same layers and tactics
    are one, and the last is taken, for trtexec knows the shapes that ran.

    Raises:
        RecordError: it lists or times the layers of more than one engine.
    """
    messages = list(_messages(text))
    dumps = ((line, read_dump(m)) for line, m in messages if m.startswith(BEGINNINGS))
    lists = tuple(itertools.islice((d for d in dumps if d[1].layers is not None), _SHOWN))
    lines = [m.partition("\n")[0] for _, m in messages]
    tables = [i for i, line in enumerate(lines) if _TABLE.fullmatch(line)]
    engines = {tuple((y.name, y.type, y.tactic) for y in d.layers or ()) for _, d in lists}
    if len(engines) > 1:
        _check_single([line for line, _ in lists], "lists", name)
    _check_single([messages[i][0] for i in tables], "times", name)
    times = _table(lines[tables[0] :], name) if tables else None
    return LogRead(lists[-1][1] if lists else None, times, facts_of_log(lines))


def _check_single(lines: list[int], what: str, name: str) -> None:
    if len(lines) > 1:
        shown_lines = ", ".join(f"{line:,}" for line in lines[:_SHOWN])
        raise RecordError(
            f"{name} {what} the layers of several engines, in lines {shown_lines}.",
            hint="Cut the part of one engine out of it.",
        )


def _messages(text: str) -> Iterator[tuple[int, str]]:
    """Yield every message without its prefix, with the number of the line it begins in."""
    # What a program prints without a prefix is a message where a list of layers begins in it.
    starts = {m.start(): m.end() for m in _PRINTED.finditer(text)}
    starts |= {m.start(): m.end() for m in _PREFIX.finditer(text)}
    ordered = sorted(starts.items()) or [(0, 0)]
    line, counted = 1, 0
    ends = [start for start, _ in ordered[1:]] + [len(text)]
    for (start, begin), end in zip(ordered, ends, strict=True):
        line, counted = line + text.count("\n", counted, start), start
        yield line, text[begin:end].removesuffix("\n")


def _table(lines: list[str], name: str) -> LayerSums | None:
    heading = _TABLE.fullmatch(lines[0])
    if heading is None or lines[1:2] == [] or lines[1].split() != _COLUMNS:
        return None  # older ones have other columns
    count = int(heading[1])
    found: list[tuple[str, Summary]] = []
    for line in lines[2:]:
        row = _TABLE_ROW.fullmatch(line)
        if row is None:
            break
        try:
            found.append((row[4], Summary(count, *(float(row[i]) for i in (1, 2, 3)))))
        except ValueError as error:
            raise RecordError(
                f"{name}: layer {shown(row[4])} has a time that is none.",
                hint="Write the times with trtexec --exportProfile=FILE.",
            ) from error
    if len(found) < 2 or found.pop()[0] != "Total":
        raise RecordError(
            f"{name} holds a table of layer times that is cut off: its sum is missing.",
            hint="Write the times with trtexec --exportProfile=FILE.",
        )
    return tuple(found)
