"""The runs of one model as a table whose rows can be chosen."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from trtlab.record import Measurement, Run
from trtlab.stats import SAMPLES_NEEDED
from trtlab.units import N_A, text_from_bytes, text_from_interval, text_from_number
from trtlab.views.cards import chip, mark

_FEW = f"p99 needs n ≥ {SAMPLES_NEEDED[99]}."

_OPTIONAL: tuple[tuple[str, Callable[[Run], str]], ...] = (
    ("Workspace", lambda run: _limit(run)),
    ("Streams", lambda run: str(run.setup.streams)),
    ("Builder", lambda run: run.setup.builder),
)
"""Columns that are shown where runs differ in them."""


def points_table(
    runs: Sequence[tuple[int, Run]], selected: Run | None, baseline: Run | None
) -> str:
    """Return one row a run: what was asked for, latency, throughput, memory; notes below.

    A row is a button that selects its run. All times are measured.

    Args:
        runs: Number and run.
        selected: Its row is marked, and has the letter B.
        baseline: Its row has the letter A.
    """
    optional = [
        (head, word) for head, word in _OPTIONAL if len({word(run) for _, run in runs}) > 1
    ]
    heads = ["Run", "Precision", *(head for head, _ in optional), "Batch", "p50, ms [95 %]",
             "p99, ms", "inf/s", "n", "Peak, MiB"]  # fmt: skip
    notes: dict[str, int] = {}
    rows = []
    for number, run in runs:
        letters = "".join(
            mark(letter) for letter, one in (("A", baseline), ("B", selected)) if run is one
        )
        words = "".join(f"<td>{html.escape(word(run))}</td>" for _, word in optional)
        batch = "—" if run.batch is None else str(run.batch)
        cells = "".join(
            f"<td class='trtlab-number'>{cell}</td>" for cell in (batch, *_numbers(run, notes))
        )
        rows.append(
            f"<tr tabindex='0' data-act='select' data-value='{number}' data-key='point-{number}'"
            f" aria-selected='{str(run is selected).lower()}'>"
            f"<td class='trtlab-point'>{letters} {number}</td><td>{chip(run.recipe)}</td>"
            f"{words}{cells}</tr>"
        )
    plain = {"Run", "Precision", *(head for head, _ in optional)}
    head = "".join(
        f"<th scope='col'{'' if text in plain else ' class=trtlab-number'}>{text}</th>"
        for text in heads
    )
    below = "".join(
        f"<p class='trtlab-hint'><sup>{number}</sup> {html.escape(text)}</p>"
        for text, number in notes.items()
    )
    return (
        f"<div class='trtlab-scroll'><table class='trtlab-points'><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>{below}"
    )


def _numbers(run: Run, notes: dict[str, int]) -> list[str]:
    m = run.measurement
    if m is None:
        why = _noted(run.why_no("measurement"), notes)
        return [f"{N_A}{why}", *[N_A] * 4]
    doubts = "".join(
        f"<span class='trtlab-warn'> !{_noted(f'{c.message} {c.hint}', notes)}</span>"
        for c in m.caveats
    )
    peak = m.memory.peak_above_baseline
    return [
        f"{text_from_number(m.median_ms)} {text_from_interval(m.median_interval_ms)}{doubts}",
        _tail(m, notes),
        text_from_number(m.throughput),
        f"{m.n:,}",
        text_from_number(None if peak is None else peak / 2**20),
    ]


def _tail(m: Measurement, notes: dict[str, int]) -> str:
    ms = m.percentile_ms(99)
    return f"{N_A}{_noted(_FEW, notes)}" if ms is None else text_from_number(ms)


def _noted(text: str, notes: dict[str, int]) -> str:
    return f"<sup>{notes.setdefault(text, len(notes) + 1)}</sup>"


def _limit(run: Run) -> str:
    limit = run.setup.workspace_bytes
    return "default" if limit is None else text_from_bytes(limit)
