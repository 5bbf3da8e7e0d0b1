"""Overview: is it good, and what next?"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from trtlab.analysis.built_precision import built_precision
from trtlab.analysis.factors import Pair
from trtlab.analysis.findings import Finding, findings
from trtlab.app.panels.base import Chart, Panel, grid, text
from trtlab.app.state import State
from trtlab.errors import TrtlabError
from trtlab.record import Fusion, Run
from trtlab.units import N_A, text_from_bytes, text_from_ms
from trtlab.views.cards import button, card, not_there
from trtlab.views.figures import CurveMarks, curves
from trtlab.views.run_points import points_of
from trtlab.views.sentences import counted, latency_sentence
from trtlab.views.tables import sweep_table
from trtlab.views.theme import badge
from trtlab.views.tiles import in_one_sentence, tiles


class Overview(Panel):
    """Five tiles, one sentence, latency against batch, what to do next, how the engine came."""

    name = "overview"
    title = "Overview"
    reads = (*Panel.reads, "workspaces", "problem")

    def __init__(self, state: State) -> None:
        self._chart = Chart("Latency against batch")
        super().__init__(state)

    def draw(self) -> Sequence[w.Widget]:
        """Draw the selected run, and what its model's other runs say."""
        run, baseline = self.state.selected, self.state.baseline
        (self.add_class if self.state.problem else self.remove_class)("trtlab-old")
        if run is None:
            return [
                text("<p class='trtlab-na'>Nothing is selected yet: press Build & measure.</p>")
            ]
        fusion, why = self._fusion(run)
        built = None
        if fusion is not None and fusion.graph_source == "model":
            built = built_precision(fusion, run.recipe)
        found = findings(
            run,
            self.state.shown(),
            fusion=fusion,
            built=built,
            curves=self.state.workspaces,
        )
        below = grid([self._latency(run, baseline), _next(found, run, fusion, why)])
        pair = Pair(run, baseline)
        return [text(tiles(pair) + in_one_sentence(pair)), below]

    def _fusion(self, run: Run) -> tuple[Fusion | None, str]:
        if run.plan is None:
            return None, run.why_no("measurement")
        try:
            return self.state.fusion(run), ""
        except TrtlabError as error:
            return None, error.message

    def _latency(self, run: Run, baseline: Run | None) -> Chart:
        shown = [r for r in self.state.shown() if r.measurement is not None]
        drawn = [r.measurement for r in shown if r.measurement and r.measurement.batch]
        if not drawn:
            why = "the model has no batch axis" if shown else run.why_no("measurement")
            return self._chart.say(not_there("Latency against batch", why))
        theme: Any = self.state.theme
        marks = CurveMarks(
            selected=run.measurement, baseline=baseline.measurement if baseline else None
        )
        finding = latency_sentence(drawn)
        finding += " The ring is the selected run." if run.measurement in drawn else ""
        return self._chart.show(
            curves(drawn, "latency", marks, theme=theme),
            finding,
            "measured",
            table=sweep_table(points_of(shown)),
            theme=theme,
        )


def _next(found: Sequence[Finding], run: Run, fusion: Fusion | None, why: str) -> w.HTML:
    parts = [_finding_html(number, one) for number, one in enumerate(found, 1)]
    if not parts:
        parts = ["<p class='trtlab-na'>Nothing is certain enough to advise on.</p>"]
        if run.failure is not None:
            said = html.escape(f"{run.failure.message} {run.failure.hint}")
            parts = [f"<p class='trtlab-na'>{said}</p>"]
    below = _came_to_be(run, fusion, why)
    return text(card("What to do next", "".join(parts) + below, extra="trtlab-next"))


def _finding_html(number: int, one: Finding) -> str:
    label = f"{one.tab.capitalize()} →"
    return (
        f"<section class='trtlab-advice'><div><span><strong>{number}. {html.escape(one.title)}"
        f"</strong> {badge(one.origin)}</span>{button(label, 'tab', one.tab, kind='link')}</div>"
        f"<p>{html.escape(one.evidence)}</p>"
        f"<p><strong>Try:</strong> {html.escape(one.try_)}</p></section>"
    )


def _came_to_be(run: Run, fusion: Fusion | None, why: str) -> str:
    title = f"<div class='trtlab-card-head'><h3>How this engine came to be {badge('builder')}</h3>"
    title += "</div>"
    plan = run.plan
    if plan is None:
        return f"<div class='trtlab-came'>{title}{not_there('Engine', why)}</div>"
    words = html.escape(_layers_text(fusion)) if fusion else f"Layers {N_A}: {html.escape(why)}"
    seconds = None if plan.build_seconds is None else 1000 * plan.build_seconds
    weights = plan.memory.weights if plan.memory else None
    return (
        f"<div class='trtlab-came'>{title}<p>{words} "
        f"Build {text_from_ms(seconds)} {badge('measured', short=True)}. "
        f"Weights {text_from_bytes(weights)}"
        f"{'' if weights is not None else ' (the builder does not say)'}. "
        f"{button('See fusion →', 'tab', 'fusion', kind='link')}</p></div>"
    )


def _layers_text(fusion: Fusion) -> str:
    """Return ``20 ONNX nodes → 19 engine layers: 9 from your nodes, 10 without one (…).``."""
    held = sum(bool(group.nodes) for group in fusion.groups)
    added = Counter(group.family for group in fusion.groups if not group.nodes)
    kinds = "; ".join(f"{n} {family}" for family, n in added.most_common())
    more = f"{held} from your nodes, {added.total()} without one"
    return (
        f"{counted(len(fusion.fates), 'ONNX node')} → "
        f"{counted(len(fusion.layers), 'engine layer')}: {more}{f' ({kinds})' if kinds else ''}."
    )
