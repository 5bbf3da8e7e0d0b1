"""The lines around the panel, as HTML: header, run bar, tabs, footer. State in, text out."""

from __future__ import annotations

import html
from collections.abc import Sequence

from trtlab.app.machine import Machine, load_text
from trtlab.app.panels.base import Panel
from trtlab.app.state import State
from trtlab.record import Run
from trtlab.spec import TENSORRT
from trtlab.views.cards import button, card, chip, mark, run_text
from trtlab.views.precision_sentences import BACKENDS
from trtlab.views.theme import badge

KEYS = (
    ("1 … 8", "a tab"),
    ("B", "Build & measure"),
    ("S", "Sweep…"),
    ("Esc Esc", "stop; once: close"),
    ("P", "pin the selected run as A"),
    ("C", "copy as Python"),
    ("/", "search in this tab"),
    ("T", "table of the chart"),
    ("F6", "rail → tabs → panel"),
    ("← →", "tabs; ↑ ↓ rows of a table"),
    ("[ ]", "fusion groups, in the graph"),
    ("?", "this list"),
)


def facts(state: State) -> str:
    """Return the left of the top line: model, machine, builder → target, runner."""
    machine = state.machine
    name = state.opened.name if state.opened else state.source
    if state.recorded and state.selected is not None:
        name = state.selected.model.name
    said = [f"<b>{html.escape(name) if name else 'No model open'}</b>"]
    if state.recorded:
        said.append(f"{badge('recorded')} {html.escape(state.recorded)}")
        if state.selected is not None and state.selected.line.origin:
            said.append(button("Make it live", "live", kind="main"))
    elif machine is None:
        said.append("asking what this machine can do…")
    else:
        said += [html.escape(text) for text in _machine_facts(state, machine)]
    # Where the line is short the machine goes first: the status of a recording must stay.
    less = "" if state.recorded else "trtlab-fact-less"
    parts = f"<span>{said[0]}</span>" + "".join(
        f"<span class='{less}' title='{_plain(fact)}'>{fact}</span>" for fact in said[1:]
    )
    return f"<div class='trtlab-facts'><strong>trtlab</strong>{parts}</div>"


def status(state: State) -> str:
    """Return what goes on, in a word or two."""
    look = "trtlab-dot-busy" if state.busy else "trtlab-dot-bad" if state.problem else ""
    return (
        "<span class='trtlab-state' role='status' aria-live='polite'>"
        f"<i class='trtlab-dot {look}' aria-hidden='true'></i>{html.escape(state.status)}</span>"
    )


def looks(state: State) -> str:
    """Return the buttons for text size, theme and keys."""
    return (
        "<span class='trtlab-looks'>"
        + button("A−" if state.large else "A+", "large")
        + button("Dark" if state.theme == "light" else "Light", "theme")
        + button("?", "help")
        + "</span>"
    )


def _plain(text: str) -> str:
    return "" if "<" in text else text.replace("'", "&#39;")


def _machine_facts(state: State, machine: Machine) -> list[str]:
    facts = [machine.gpu or "No NVIDIA GPU here"]
    if state.builder in TENSORRT:
        runs = "" if state.runner == state.builder else ", not run"
        facts.append(f"Builds: {machine.version(state.builder)} → {state.target}{runs}")
    else:
        facts.append(f"Builds: {machine.version(state.builder)}")
    if state.runner:
        where = "GPU" if state.runner in TENSORRT or state.provider == "cuda" else "CPU"
        facts.append(f"Runs: {machine.version(state.runner)}, {where} · {_conditions(state)}")
    else:
        facts.append("Runs: nothing, build only")
    return facts


def _conditions(state: State) -> str:
    """The machine's load now; of a GPU what its sensors said during the run that is shown."""
    measured = state.selected.measurement if state.selected else None
    gpu = measured.gpu if measured else None
    if gpu is None or gpu.sm_clock_mhz is None:
        return load_text()
    held = ", ".join(gpu.throttled_by) or "nothing"
    return f"SM {gpu.sm_clock_mhz.median:,.0f} MHz in this run, held down by {held}"


def runbar(state: State) -> str:
    """Return the line that says which runs are shown: A, the baseline, and B, the selected."""
    if state.selected is None:
        return ""
    parts = [mark("A")]
    a, b = state.baseline, state.selected
    if a is None:
        parts.append("<span class='trtlab-hint'>no baseline</span>")
    else:
        parts += [_run(state, a), button("unpin", "unpin", kind="link")]
    parts += ["<span class='trtlab-rule'></span>", mark("B"), _run(state, b)]
    if b is not a:
        parts.append(button("pin as A", "pin", str(state.number(b)), kind="link"))
    key = "".join(
        f"<span>{badge(origin, short=True)} {origin}</span>"
        for origin in ("measured", "builder", "estimated", "recorded")
    )
    return (
        f"<div class='trtlab-runbar'>{''.join(parts)}<span class='trtlab-spring'></span>"
        f"<span class='trtlab-key'>{key}</span></div>"
    )


def _run(state: State, run: Run) -> str:
    source = f" {badge('recorded', short=True)}" if run.source == "recorded" else ""
    number = state.number(run)
    said = f"{run_text(run)} · run {number}" if number else run_text(run)
    failed = " · <b class='trtlab-bad'>not built</b>" if run.failure else ""
    words = f"{html.escape(said)}{failed}{source}"
    return f"{chip(run.recipe)}<span class='trtlab-runwords'>{words}</span>"


def tab_bar(state: State, tabs: Sequence[type[Panel]]) -> str:
    """Return the tabs; before the first run they are seen, but off."""
    off = " disabled" if state.selected is None else ""
    parts = []
    for panel in tabs:
        chosen = panel.name == state.tab and not off
        parts.append(
            f"<button type='button' role='tab' data-act='tab' data-value='{panel.name}'"
            f" aria-selected='{str(chosen).lower()}' tabindex='{0 if chosen else -1}'{off}>"
            f"{html.escape(panel.title)}</button>"
        )
    return f"<div class='trtlab-tabs' role='tablist' aria-label='views'>{''.join(parts)}</div>"


def footer(state: State) -> str:
    """Return the line at the foot: where all that is shown comes from."""
    run = state.selected
    if run is None:
        return "<div class='trtlab-foot'>Nothing is shown yet. Nothing leaves this machine.</div>"
    said = []
    if run.plan is not None:
        plan = run.plan
        version = next(
            (v for name, v in plan.environment.packages.items() if "tensorrt" in name.lower()), ""
        )
        ran = run.ran is not None and run.ran.hash == plan.hash
        never = "" if ran else ", never run"
        words = f"{BACKENDS.get(plan.config.backend, plan.config.backend)} {version}".strip()
        said.append(f"Engine: {words} for {plan.target_text}{never}.")
    if run.measurement is not None:
        m = run.measurement
        where = m.environment.gpu if m.build.device == "cuda" else m.environment.cpu
        said.append(f"Ran: {m.provider} on {where or 'an unknown machine'}, n {m.n:,}.")
    created = (run.line.environment.created or "")[:16].replace("T", " ")
    when = f"{created} UTC" if created else ""
    mark_ = badge("recorded" if run.source == "recorded" else "measured")
    mark_ = mark_ if run.measurement is not None or run.source == "recorded" else badge("builder")
    return (
        f"<div class='trtlab-foot'>{mark_}<span>{html.escape(' '.join(said))}</span>"
        f"<span class='trtlab-spring'></span><span>{html.escape(when)}</span></div>"
    )


def key_list(state: State) -> str:
    """Return the list of keys, and the switch that turns single keys off."""
    rows = "".join(
        f"<tr><th scope='row'><kbd>{html.escape(key)}</kbd></th><td>{html.escape(what)}</td></tr>"
        for key, what in KEYS
    )
    on = " checked" if state.keys else ""
    return card(
        "Keys, while focus is in the workbench",
        f"<table>{rows}</table><label><input type='checkbox' data-change='keys' data-key='keys'"
        f"{on}> single keys do something</label>",
        right=button("✕", "escape"),
    )
