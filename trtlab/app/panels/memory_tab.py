"""Memory: where does it go, and what sets it?"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace

import ipywidgets as w

from trtlab.analysis.live_tensors import largest_batch, largest_sizes, live_tensors
from trtlab.app.panels.base import Chart, Panel, text
from trtlab.app.panels.precision_tab import even, fusion_or_reason
from trtlab.app.state import State
from trtlab.model.types import batch_axis
from trtlab.record import HostMemory, Plan, Run
from trtlab.units import N_A, text_from_bytes, text_from_file_size
from trtlab.views.cards import card, chip, family, mark, not_there, sentence, twin
from trtlab.views.figures import figure
from trtlab.views.memory_tables import (
    activation_lines,
    activations_sentence,
    activations_table,
    host_table,
    live_sentence,
    live_table,
    plans_table,
)
from trtlab.views.precision_sentences import BACKENDS
from trtlab.views.theme import Provenance

_LIVE = "Live tensors in program order"


class Memory(Panel):
    """Four figures, tensors alive layer by layer, activations by largest batch, the plan file."""

    name = "memory"
    title = "Memory"

    def __init__(self, state: State) -> None:
        self._live = Chart(_LIVE, height=310)
        self._activations = Chart("Activations against the largest batch", height=310)
        super().__init__(state)

    def draw(self) -> Sequence[w.Widget]:
        """Draw the selected run, with the plan file of the baseline beside its own."""
        run, baseline = self.state.selected, self.state.baseline
        if run is None:
            return [text(_head("") + card("No run yet", "<p>Nothing was built.</p>"))]
        number = self.state.number(run)
        who = f"Tiles: B{f', run {number}' if number else ''}, {run.label}. "
        plans = [r.plan for r in self.state.shown() if r.plan is not None]
        return [
            text(_head(who)),
            text(f"<div class='trtlab-memory-tiles'>{''.join(_tiles(run))}</div>"),
            even([self._alive(run), self._by_batch(plans)], 420),
            even([text(_host(run)), text(_plan_files(run, baseline))], 420),
        ]

    def _alive(self, run: Run) -> Chart:
        plan, found = run.plan, fusion_or_reason(self.state, run)
        if isinstance(found, str):
            return self._live.say(not_there("Live tensors", found), title=_LIVE)
        largest = largest_sizes(plan) if plan is not None else {}
        found = replace(found, sizes={**found.sizes, **largest})
        live = live_tensors(found)
        axis = batch_axis(plan.inputs) if plan is not None else None
        size = found.sizes.get(axis) if axis else None
        title = _LIVE + ("" if size is None else f", batch {size}")
        memory = plan.memory if plan is not None else None
        # The builder reserves for its largest sizes: other sizes are not held against it.
        is_alike = set(largest) >= set(found.sizes)
        said = live_sentence(found, live, memory.activation if memory and is_alike else None)
        if not live.is_known:
            return self._live.say(sentence(said), title=title)
        return self._live.show(
            figure(found, "live", theme=self.state.theme),
            said,
            "estimated",
            table=live_table(found, live),
            theme=self.state.theme,
            title=title,
        )

    def _by_batch(self, plans: Sequence[Plan]) -> Chart:
        lines = activation_lines(plans)
        table = activations_table(plans)
        if not any(len(line.points) > 1 for line in lines):
            reason = "no two engines differ in their largest batch alone."
            if not lines:
                reason = "no engine tells both its largest batch and its activations."
            hint = "Build with another largest batch."
            body = not_there("A curve", reason, hint if lines else "")
            return self._activations.say(body + (table.html() if lines else ""), "builder")
        return self._activations.show(
            figure(plans, "activations", theme=self.state.theme),
            activations_sentence(plans),
            "builder",
            table=table,
            theme=self.state.theme,
        )


def _head(who: str) -> str:
    return (
        "<div class='trtlab-question'><strong>Where does the memory go, and what sets it?</strong>"
        "<span class='trtlab-spring'></span><span class='trtlab-hint'>"
        f"{html.escape(who)}Different figures: never added up.</span></div>"
    )


def _tiles(run: Run) -> list[str]:
    """Four figures of one run, each with its origin, or the reason why it is not known."""
    plan, m = run.plan, run.measurement
    memory = plan.memory if plan else None
    no_plan = run.why_no("measurement")
    builder = "" if plan is None else BACKENDS[plan.config.backend]
    silent = f"{builder} does not say what it will take" if builder else ""
    largest = largest_batch(plan) if plan else None
    scratch = memory.scratch if memory else None
    held = "one context" + ("" if largest is None else f", batch ≤ {largest}")
    if memory is not None and scratch is not None and scratch == memory.activation:
        held += "; equals scratch here"
    not_run = run.why_no("measurement")
    host = m.memory.peak_above_baseline if m else None
    host_reason = not_run
    if m is not None:
        known = m.memory != HostMemory()
        host_reason = "only Linux reports it for a process" if known else "it was not recorded"
    runner = "" if m is None else f", {BACKENDS[m.build.backend]}"
    at = "" if m is None or m.batch is None else f", batch {m.batch}"
    device = m.device_memory if m else None
    device_reason = not_run if m is None else "it ran on the CPU: no GPU memory was used"
    if device is not None:
        device_reason = "the GPU's free memory was not read"
    return [
        _tile("Engine activations", "builder", memory.activation if memory else None, held,
              silent or no_plan),
        _tile("Engine weights", "builder", memory.weights if memory else None,
              "as the engine holds them", silent or no_plan),
        _tile(f"Host peak{runner}", "measured", host,
              f"of the process, Python and the library's own memory taken off{at}", host_reason),
        _tile("Device peak", "measured", device.growth if device else None,
              f"growth over the run, of the whole GPU{at}", device_reason),
    ]  # fmt: skip


def _tile(title: str, origin: Provenance, size: int | None, hint: str, reason: str) -> str:
    if size is None:
        why = f"<p class='trtlab-hint'>{html.escape(reason)}</p>"
        return card(title, f"<p class='trtlab-memory-value'>{N_A}</p>{why}")
    value, unit = text_from_bytes(size).rsplit(" ", 1)
    exact = f"{size:,} bytes"
    body = (
        f"<p class='trtlab-memory-value' title='{exact}'>{value} <small>{unit}</small></p>"
        f"<p class='trtlab-hint'>{html.escape(hint)}<br>{exact}</p>"
    )
    return card(title, body, origin)


def _host(run: Run) -> str:
    """The parts of the host's peak."""
    title, m = "Host peak, part by part", run.measurement
    if m is None:
        return card(title, not_there("The host's peak", run.why_no("measurement")))
    body = f"<div class='trtlab-scroll'>{host_table(m).html()}</div>"
    what = f"Of the process that ran {BACKENDS[m.build.backend]}"
    if run.plan is not None and run.plan.config.backend != m.build.backend:
        what += f", not of the engine by {BACKENDS[run.plan.config.backend]}"
    return card(title, f"{body}<p class='trtlab-hint'>{what}.</p>", "measured")


def _plan_files(run: Run, baseline: Run | None) -> str:
    """Bars of the plan files of A and B, and of the weights of their models, on one scale."""
    several = (
        [("B", run)] if baseline is None or baseline is run else [("A", baseline), ("B", run)]
    )
    plans = [(letter, r, r.plan) for letter, r in several]
    most = max(
        (size or 0 for _, _, p in plans if p for size in (p.plan_bytes, p.weight_bytes)),
        default=0,
    )
    rows = "".join(
        f"<div class='trtlab-sizes'>{mark(letter)} {chip(r.recipe)}"
        + (
            f"<p class='trtlab-na'>{N_A}: {html.escape(r.why_no('measurement'))}</p>"
            if plan is None
            else _size_bar("plan file", plan.plan_bytes, most, f"trtlab-p-{family(r.recipe)}")
            + _size_bar("weights of the model", plan.weight_bytes, most, "trtlab-plain-bar")
        )
        + "</div>"
        for letter, r, plan in plans
    )
    table = plans_table([(f"{letter}, {r.label}", p) for letter, r, p in plans if p is not None])
    return card("Plan file", rows + twin(table), "builder")


def _size_bar(label: str, size: int | None, most: int, look: str) -> str:
    if size is None or not most:
        return f"<div><span>{label}</span><span class='trtlab-hint'>{N_A}: not known</span></div>"
    said = text_from_file_size(size)
    return (
        f"<div><span>{label}</span><span class='trtlab-size-bar' aria-hidden='true'>"
        f"<i class='{look}' style='width:{100 * size / most:.2f}%'></i></span>"
        f"<span title='{size:,} bytes'>{said}</span></div>"
    )
