"""What lies above a panel, as HTML: the job that runs, the error, the questions of a sweep."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence

from trtlab.app.jobs import expected_seconds
from trtlab.app.machine import RECIPES
from trtlab.app.rail import why_not
from trtlab.app.state import Bar, Planned, Problem, State
from trtlab.units import text_from_interval, text_from_number
from trtlab.views.cards import button, chip
from trtlab.views.theme import badge

_STATES = {
    "waiting": "· waiting",
    "running": "▸ running",
    "done": "✓ done",
    "store": "✓ from store",
    "failed": "✕ failed",
}


def job_head(state: State) -> str:
    """Return what job runs, with its clock and Stop; "" while none runs.

    Apart from the bars: those are drawn anew ten times a second, and a button that is drawn anew
    between press and release is never clicked.
    """
    job = state.job
    if not state.busy or job is None:
        return ""
    elapsed = time.monotonic() - job.began
    left = ""
    if job.expected_s:
        left = (
            f" · <span data-expected='{job.expected_s:.1f}'>about {job.expected_s:.0f} s in all "
            f"{badge('estimated', short=True)}</span>"
        )
    return (
        f"<div class='trtlab-card-head'><h3>{html.escape(state.job_title)}</h3>"
        f"<span class='trtlab-hint'>elapsed <span data-elapsed='{elapsed:.2f}'>{elapsed:.1f} s"
        f"</span>{left}</span><span class='trtlab-spring'></span>"
        f"{button('Stop', 'stop', kind='danger')}</div>"
    )


def job_bars(state: State) -> str:
    """Return the bars of the running job, from the whole to the step."""
    job = state.job
    if not state.busy or job is None:
        return ""
    return "".join(_bar(bar, depth) for depth, bar in enumerate(job.bars))


def job_points(state: State) -> str:
    """Return the points of the running sweep as a table."""
    if not state.busy or len(state.job_points) < 2:
        return ""
    return _points(state.job_points)


def _bar(bar: Bar, depth: int) -> str:
    known = f" max='{bar.total}' value='{bar.done}'" if bar.total else ""
    label = html.escape(bar.label)
    return (
        f"<div class='trtlab-progress trtlab-depth-{min(depth, 3)}'><span>{label}</span>"
        f"<progress aria-label='{html.escape(bar.label, quote=True)}'{known}></progress>"
        f"<span class='trtlab-hint'>{html.escape(bar.note)}</span></div>"
    )


def _points(points: Sequence[Planned]) -> str:
    rows = "".join(_point(point) for point in points)
    return (
        "<div class='trtlab-scroll trtlab-points' tabindex='0' role='region'"
        " aria-label='points of this job'><table><thead><tr><th scope='col'>State</th>"
        "<th scope='col'>Precision</th><th scope='col' class='trtlab-number'>Batch</th>"
        f"<th scope='col' class='trtlab-number'>p50, ms {badge('measured', short=True)}</th>"
        f"<th scope='col' class='trtlab-number'>Build, s {badge('builder', short=True)}</th>"
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _point(point: Planned) -> str:
    run = point.run
    m = run.measurement if run else None
    latency = "—"
    if m is not None:
        interval = m.median_interval_ms
        latency = f"{text_from_number(m.median_ms)} {text_from_interval(interval)}"
    elif run is not None:
        latency = f"n/a: {run.why_no('measurement')}"[:80]
    built = run.plan.build_seconds if run and run.plan else None
    seconds = "—" if built is None else f"{built:.2f}"
    recipe = run.recipe if run else point.setup.precision or "as it is"
    selected = " aria-selected='true'" if point.state == "running" else ""
    return (
        f"<tr{selected}><td>{_STATES[point.state]}</td><td>{chip(recipe)}</td>"
        f"<td class='trtlab-number'>{point.setup.batch or '—'}</td>"
        f"<td class='trtlab-number'>{html.escape(latency)}</td>"
        f"<td class='trtlab-number'>{seconds}</td></tr>"
    )


def problem_card(problem: Problem | None, shown: str = "") -> str:
    """Return what went wrong, with what to do as buttons.

    Args:
        problem: What went wrong, or None.
        shown: Which run is still shown below, in words.
    """
    if problem is None:
        return ""
    rows = [
        ("What happened", html.escape(problem.what)),
        ("Why", html.escape(problem.why)),
        (
            "What to do",
            f"{html.escape(problem.hint)} "
            + " ".join(
                button(a.label, a.act, a.value, kind="" if i else "main")
                for i, a in enumerate(problem.actions)
            ),
        ),
    ]
    body = "".join(
        f"<tr><th scope='row'>{label}</th><td>{text}</td></tr>"
        for label, text in rows
        if text.strip()
    )
    words = (
        "<details><summary>What the builder said, word for word</summary>"
        f"<pre tabindex='0'>{html.escape(problem.words)}</pre></details>"
        if problem.words
        else ""
    )
    below = (
        f"<p class='trtlab-still'><strong>Still shown below: {html.escape(shown)}</strong>, "
        "the last run that worked.</p>"
        if shown
        else ""
    )
    return (
        "<section class='trtlab-problem' role='alert'><div class='trtlab-card-head'>"
        f"<h3><span aria-hidden='true'>✕</span> {html.escape(problem.title)}</h3>"
        f"{button('✕', 'dismiss')}</div>"
        f"<table>{body}</table>{words}</section>{below}"
    )


def sweep_card(state: State, chosen: dict[str, str]) -> str:
    """Return the questions before a sweep, with what it would take.

    Args:
        state: The controls.
        chosen: By ``precision``, ``batch`` and ``workspace`` what was chosen so far.
    """
    if not state.sweeping or state.busy:
        return ""
    wanted = chosen["precision"].split(",")
    boxes = []
    for recipe in RECIPES:
        reason = why_not(state, recipe)
        off = f" disabled title='{html.escape(reason, quote=True)}'" if reason else ""
        on = " checked" if recipe in wanted and not reason else ""
        boxes.append(
            f"<label><input type='checkbox' data-change='sweep-{recipe}'"
            f" data-key='sweep-{recipe}'{on}{off}> {chip(recipe)}</label>"
        )
    fields = "".join(
        f"<label>{label} <input data-change='sweep-{name}' data-key='sweep-{name}'"
        f" value='{html.escape(chosen[name], quote=True)}' placeholder='{hint}'></label>"
        for name, label, hint in (
            ("batch", "Batch sizes", "1,2,4,8,16"),
            ("workspace", "Workspace limits", "as set; or 16MiB,256MiB"),
        )
    )
    fault = chosen.get("wrong", "")
    wrong = f"<p class='trtlab-wrong' role='alert'>✕ {html.escape(fault)}</p>" if fault else ""
    count = int(chosen.get("points", "0"))
    each = expected_seconds(state, state.opened) if state.opened else None
    known = int(chosen.get("known", "0"))
    said = f"{count} points, {known} of them known."
    if each is not None and count > known:
        said += f" About {each * (count - known):.0f} s."
    start = button("Start sweep", "sweep-start", kind="main", off="" if count else "no point")
    return (
        "<section class='trtlab-card trtlab-sweep'><div class='trtlab-card-head'>"
        f"<h3>What to sweep?</h3><span class='trtlab-spring'></span>{button('✕', 'escape')}</div>"
        f"<div class='trtlab-sweep-row'>{''.join(boxes)}</div>"
        f"<div class='trtlab-sweep-row'>{fields}</div>{wrong}"
        f"<div class='trtlab-sweep-row'>{start}<span class='trtlab-hint'>{said} "
        f"{badge('estimated', short=True) if each else ''}</span></div></section>"
    )


def saved_line(state: State) -> str:
    """Return what was written last, and where."""
    if not state.saved:
        return ""
    return f"<p class='trtlab-saved' role='status'>{html.escape(state.saved)}</p>"
