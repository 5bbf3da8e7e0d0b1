"""Curves: how do latency, throughput and memory change?"""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets as w

from trtlab.analysis.latency_limit import within
from trtlab.app.panels.base import Chart, Panel, grid, text
from trtlab.app.state import State
from trtlab.record import Measurement, Run
from trtlab.spec import TENSORRT
from trtlab.stats import SAMPLES_NEEDED
from trtlab.units import text_from_number
from trtlab.views.cards import button, card, choice, not_there, twin
from trtlab.views.figures import CurveMarks, curves, figure, on_speed_curve
from trtlab.views.limit_sentences import limit_sentence, too_few_sentence
from trtlab.views.points_table import points_table
from trtlab.views.precision_sentences import accuracy_sentence
from trtlab.views.run_points import points_of
from trtlab.views.sentences import latency_sentence, memory_sentence, workspace_sentence
from trtlab.views.tables import sweep_table, workspace_table
from trtlab.views.theme import Theme
from trtlab.views.workspace_strip import (
    asked_sentence,
    matching_curve,
    strip_sentence,
    tried_limits,
    workspace_strip,
)

_QUESTION = "How do latency, throughput and memory change?"
_PERCENTS = (50, 90, 99)
_METRICS = {"memory": "Memory", "energy": "Energy", "accuracy": "Accuracy"}
_LIMIT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(?:ms)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is drawn, and its marks.

    Attributes:
        runs: All of the model.
        distinct: Those that ran, of several with one measurement only one.
        measured: Their measurements.
    """

    runs: tuple[Run, ...]
    distinct: tuple[Run, ...]
    measured: tuple[Measurement, ...]
    marks: CurveMarks

    @property
    def not_run(self) -> list[Run]:
        return [run for run in self.runs if run.measurement is None]

    @property
    def alike(self) -> list[Measurement]:
        """Those whose latency contains the same as the selected one's, or the first one's."""
        first = self.marks.selected or self.measured[0]
        return [m for m in self.measured if m.contents == first.contents]


class Curves(Panel):
    """Latency against batch, throughput against latency, memory, workspace limits, points."""

    name = "curves"
    title = "Curves"
    reads = (*Panel.reads, "workspaces", "busy", "job_points")

    def __init__(self, state: State) -> None:
        self._latency = Chart("Latency against batch")
        self._throughput = Chart("Throughput against latency")
        self._metric_chart = Chart("Memory against batch")
        self._heard: list[Chart] = []
        self._limit_text, self._wrong = "", ""
        self._limit_ms: float | None = None
        self._percent, self._metric = 50, "memory"
        super().__init__(state)
        self.add_class("trtlab-curves")

    def draw(self) -> Sequence[w.Widget]:
        """Draw the runs of the selected run's model."""
        shown = self._shown()
        if not shown.runs:
            return [text(self._head(())), text(card("No run yet", "<p>Nothing was built.</p>"))]
        metrics = self._metrics(shown)
        self._draw_curves(shown)
        self._draw_metric(shown, metrics)
        for chart in (self._latency, self._throughput, self._metric_chart):
            self._hear(chart)
        return [
            text(self._head(metrics)),
            grid([self._latency, self._throughput]),
            text(_not_drawn(shown, self._percent)),
            grid([self._metric_chart, text(self._workspace(shown.runs))]),
            text(self._points(shown.runs)),
        ]

    def act(self, act: str, value: str) -> bool:
        """Take the limit, the percentile, what the third chart shows, or a run."""
        if act == "limit":
            self._take_limit(value)
        elif act == "percent" and value in map(str, _PERCENTS):
            self._percent = int(value)
        elif act == "metric" and value in _METRICS:
            self._metric = value
        elif act == "select":
            self._select(value)
            return True
        else:
            return False
        with self.state.lock:
            self._changed()
        return True

    def _take_limit(self, value: str) -> None:
        self._limit_text, self._wrong = value.strip(), ""
        found = _LIMIT.fullmatch(self._limit_text)
        limit_ms = float(found[1]) if found else 0.0
        if limit_ms > 0:
            self._limit_ms = limit_ms
        elif not self._limit_text:
            self._limit_ms = None
        else:
            self._wrong = f"{self._limit_text!r} is no limit. Write milliseconds, as 5 or 2.5."

    def _select(self, number: str) -> None:
        runs = self.state.runs
        if number.isdecimal() and 1 <= int(number) <= len(runs):
            self.state.update(selected=runs[int(number) - 1])

    def _hear(self, chart: Chart) -> None:
        """Select the run of a point that is clicked."""
        if chart.view is not None and chart not in self._heard:
            self._heard.append(chart)
            chart.view.observe(self._clicked, "clicked")

    def _clicked(self, change: Any) -> None:
        told = change["new"].get("customdata")
        if isinstance(told, str):
            change["owner"].clicked = {}  # so that the same point can be clicked again
            self._select(told)

    @property
    def _theme(self) -> Theme:
        return "dark" if self.state.theme == "dark" else "light"

    def _shown(self) -> _Shown:
        state = self.state
        runs = state.shown()
        # Engines that differ in their limit alone share what ONNX Runtime measured.
        distinct: dict[str, Run] = {}
        for run in runs:
            if run.measurement is not None and distinct.get(_identity(run)) is not state.selected:
                distinct[_identity(run)] = run
        number = {id(run.measurement): str(state.number(run)) for run in distinct.values()}

        def marked(run: Run | None) -> Measurement | None:
            known = None if run is None else distinct.get(_identity(run))
            return None if known is None else known.measurement

        running = [p.setup.batch for p in state.job_points if p.state == "running"]
        marks = CurveMarks(
            percent=self._percent,
            selected=marked(state.selected),
            baseline=marked(state.baseline),
            limit_ms=self._limit_ms,
            running=running[0] if state.busy and running else None,
            told=lambda m: number[id(m)],
        )
        measured = tuple(r.measurement for r in distinct.values() if r.measurement is not None)
        return _Shown(runs, tuple(distinct.values()), measured, marks)

    def _head(self, metrics: Sequence[str]) -> str:
        wrong = ""
        if self._wrong:
            wrong = (
                "<span id='trtlab-limit-wrong' class='trtlab-bad' role='alert'>"
                f"{html.escape(self._wrong)}</span>"
            )
        options = [(str(p), f"p{p}") for p in _PERCENTS]
        more = ""
        if len(metrics) > 1:
            names = [(name, _METRICS[name]) for name in metrics]
            more = "<span>Also show</span>" + choice(
                "metric", names, self._chosen(metrics), "What the third chart shows"
            )
        return (
            f"<div class='trtlab-question'><strong>{_QUESTION}</strong>"
            f"<span class='trtlab-spring'></span>{wrong}"
            "<label>Latency limit <input class='trtlab-limit' type='text' inputmode='decimal'"
            " data-change='limit' data-key='limit' placeholder='none'"
            f" value='{html.escape(self._limit_text, quote=True)}'"
            f" aria-invalid='{str(bool(self._wrong)).lower()}'"
            f"{' aria-describedby=trtlab-limit-wrong' if self._wrong else ''}> ms</label>"
            f"<span>Show</span>{choice('percent', options, str(self._percent), 'Percentile')}"
            f"{more}</div>"
        )

    def _draw_curves(self, shown: _Shown) -> None:
        theme, marks = self._theme, shown.marks
        if not any(marks.ms(m) is not None for m in shown.measured):
            reason, fill = _no_latency(shown, self._percent)
            for chart, what in ((self._latency, "Latency"), (self._throughput, "Throughput")):
                chart.say(not_there(what, reason, fill))
            return
        drawn = [m for m in shown.measured if marks.ms(m) is not None]
        table = sweep_table(points_of(shown.distinct))
        self._latency.show(
            curves(drawn, "latency", marks, theme=theme),
            latency_sentence(drawn),
            "measured",
            table=table,
            theme=theme,
        )
        if self._limit_ms is not None:
            best = within(shown.alike, self._limit_ms, self._percent).best
            marks = replace(marks, best=best)
        self._throughput.show(
            curves(drawn, "throughput", marks, theme=theme),
            limit_sentence(shown.alike, self._limit_ms, self._percent),
            "measured",
            table=table,
            theme=theme,
        )

    def _metrics(self, shown: _Shown) -> list[str]:
        """Return what the third chart can show: what some run knows."""
        known = ["memory"]
        known += ["energy"] * any(m.energy_joules is not None for m in shown.measured)
        known += ["accuracy"] * bool(on_speed_curve(points_of(shown.distinct)))
        return known

    def _chosen(self, metrics: Sequence[str]) -> str:
        return self._metric if self._metric in metrics else metrics[0]

    def _draw_metric(self, shown: _Shown, metrics: Sequence[str]) -> None:
        theme, chart = self._theme, self._metric_chart
        metric = self._chosen(metrics)
        if metric == "accuracy":
            points = points_of((*shown.distinct, *shown.not_run))
            drawn = on_speed_curve(points)
            origins = dict.fromkeys(p.accuracy.origin for p in drawn if p.accuracy)
            chart.show(
                figure(drawn, "accuracy", theme=theme),
                accuracy_sentence(points),
                *dict.fromkeys(("measured", *origins)),
                table=sweep_table(drawn),
                theme=theme,
                title="Accuracy against latency",
            )
        elif metric == "energy":
            known = [m for m in shown.measured if m.energy_joules is not None]
            chart.show(
                curves(known, "energy", shown.marks, theme=theme),
                _energy_sentence(known),
                "measured",
                theme=theme,
                title="Energy against batch",
            )
        elif shown.measured:
            chart.show(
                figure(shown.measured, "memory", theme=theme),
                memory_sentence(shown.measured),
                "measured",
                theme=theme,
            )
        else:
            chart.say(not_there("Memory of a run", *_no_latency(shown, 50)))

    def _workspace(self, runs: Sequence[Run]) -> str:
        title = "What the workspace limit does"
        run = self.state.selected or runs[-1]
        if run.setup.builder not in TENSORRT:
            reason = "ONNX Runtime has no such limit."
            return card(title, not_there("Workspace limit", reason, "Build with TensorRT."))
        curve = matching_curve(run, self.state.workspaces)
        tried = tried_limits(run, runs, curve)
        search = button("Search the smallest that builds", "search-workspace")
        if not tried:
            return card(title, not_there("What it does", "No limit was tried.") + search)
        body = workspace_strip(tried, run.setup.workspace_bytes)
        if curve is None:
            body += f"<p>{html.escape(strip_sentence(tried))}</p>{search}"
        else:
            said = " ".join(filter(None, (workspace_sentence(curve), asked_sentence(curve))))
            body += f"<p>{html.escape(said)}</p>"
            if curve.no_run_note:
                body += not_there("Latency under each limit", curve.no_run_note)
            body += twin(workspace_table(curve))
        return card(title, body, "builder")

    def _points(self, runs: Sequence[Run]) -> str:
        state = self.state
        numbered = sorted(
            ((state.number(run), run) for run in runs),
            key=lambda pair: (pair[1].recipe, pair[1].batch or 0, pair[0]),
        )
        return card(
            f"Points of {runs[0].model.name}",
            points_table(numbered, state.selected, state.baseline),
            "measured",
            right=button("Copy as Python", "copy-python", kind="link"),
        )


def _identity(run: Run) -> str:
    return run.line.measurement or str(id(run.measurement))


def _no_latency(shown: _Shown, percent: int) -> tuple[str, str]:
    """Return why no point has that percentile, and what would help."""
    if shown.measured:
        most = max(m.n for m in shown.measured)
        reason = f"p{percent} needs n ≥ {SAMPLES_NEEDED[percent]}; the most here is {most:,}."
        return reason, "Measure longer: full windows."
    return " ".join(_reasons(shown.not_run)), ""


def _not_drawn(shown: _Shown, percent: int) -> str:
    """Name the points that are not in the charts, each with its reason."""
    few = too_few_sentence(shown.measured, percent)
    said = [few] * bool(few) + ([f"Not drawn: {reason}" for reason in _reasons(shown.not_run)])
    return "".join(f"<p class='trtlab-hint'>{html.escape(line)}</p>" for line in said)


def _reasons(runs: Sequence[Run]) -> list[str]:
    """Say why runs have no measurement, alike reasons once."""
    named: defaultdict[str, list[str]] = defaultdict(list)
    for run in runs:
        named[run.why_no("measurement")].append(run.label)
    return [f"{'; '.join(dict.fromkeys(names))}. {why}" for why, names in named.items()]


def _energy_sentence(measurements: Sequence[Measurement]) -> str:
    """Return the least energy as it was read: single readings, no claim."""
    least = min(measurements, key=lambda m: m.energy_joules or 0.0)
    return (
        f"The least is {text_from_number(1e3 * (least.energy_joules or 0.0))} mJ an inference "
        f"({least.model.recipe.upper()}, {least.settings()}): single readings, without interval."
    )
