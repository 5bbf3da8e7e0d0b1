"""One self-contained HTML file: curves, tables and how they were measured. Needs no network."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trtlab import stats
from trtlab.analysis.sizes import sizes_against_fp32
from trtlab.errors import SpecError
from trtlab.record import (
    Environment,
    HostMemory,
    LayerProfile,
    Measurement,
    ModelRef,
    Point,
    SweepResult,
    WorkspaceCurve,
)
from trtlab.store import write_file
from trtlab.units import N_A, text_from_bytes
from trtlab.views.figures import figure, gap_share, on_speed_curve, plotly_js
from trtlab.views.precision_sentences import accuracy_sentence, left_out, sizes_sentence
from trtlab.views.sentences import (
    latency_sentence,
    memory_sentence,
    throughput_sentence,
    workspace_sentence,
)
from trtlab.views.series import told_apart
from trtlab.views.tables import Table, sweep_table, workspace_table
from trtlab.views.theme import badge, css


@dataclass(frozen=True, slots=True)
class _Chart:
    title: str
    badge: str
    figure: str
    finding: str
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    charts: list[_Chart]
    badge: str
    table: str
    caveats: list[str]


def report(
    result: SweepResult,
    path: str | os.PathLike[str],
    *,
    profiles: Sequence[LayerProfile] = (),
    workspaces: Sequence[WorkspaceCurve] = (),
    title: str = "trtlab report",
) -> Path:
    """Write a report of a sweep, layer profiles and workspace curves, one section a model.

    Raises:
        SpecError: there is nothing to show.
        StoreError: the file cannot be written.
    """
    if not result.points and not workspaces:
        raise SpecError("There is nothing to report.", hint="Measure first.")
    html = _page(result, profiles, workspaces, title)
    target = Path(path)
    write_file(target, html.encode(), "The report")
    return target


def _page(
    result: SweepResult,
    profiles: Sequence[LayerProfile],
    workspaces: Sequence[WorkspaceCurve],
    title: str,
) -> str:
    import jinja2

    models = [p.model for p in result.points]
    models += [p.model for p in profiles] + [w.model for w in workspaces]
    family = _families(models)
    names: dict[str, str] = {}
    for m in sorted(models, key=lambda m: m.parent is not None):  # a family bears its FP32's name
        names.setdefault(family[_identity(m)], m.name)
    order = dict.fromkeys(family[_identity(m)] for m in models)
    names = {identity: names[identity] for identity in order}
    environments = [m.environment for m in result.measurements]
    environments += [p.environment for p in profiles] + [w.environment for w in workspaces]
    loader = jinja2.PackageLoader("trtlab.views.pages", ".")
    page = jinja2.Environment(loader=loader, autoescape=True).get_template("report.html.j2")
    return page.render(
        title=title,
        css=css(),
        plotly_js=plotly_js(),
        made=f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {_count(result, workspaces)}",
        measured=bool(result.measurements or profiles),
        sections=[
            _section(
                told_apart(name, identity, [(n, i) for i, n in names.items()]),
                [p for p in result.points if family[_identity(p.model)] == identity],
                [p for p in profiles if family[_identity(p.model)] == identity],
                [w for w in workspaces if family[_identity(w.model)] == identity],
            )
            for identity, name in names.items()
        ],
        several_streams=any(m.run.streams > 1 for m in result.measurements),
        missing_parts=_missing_parts(result.measurements),
        environment=_environments(environments).html(),
        quantile_rule=stats.QUANTILE_RULE,
        energy_note=next((m.energy_note for m in result.measurements), "nothing was measured"),
    )


def _identity(model: ModelRef) -> str:
    """Return what tells models apart; of one without a hash that is its name alone."""
    return model.hash or f"? {model.name}"


def _families(models: Sequence[ModelRef]) -> dict[str, str]:
    """Return by each model's identity that of the one it was converted from, or its own."""
    parents = {m.hash: m.parent for m in models if m.hash and m.parent}

    def origin(model: ModelRef) -> str:
        seen, now = {model.hash}, model.hash
        while now in parents and parents[now] not in seen:
            now = parents[now]
            seen.add(now)
        return now or _identity(model)

    return {_identity(m): origin(m) for m in models}


def _count(result: SweepResult, workspaces: Sequence[WorkspaceCurve]) -> str:
    counts = {"points": len(result.points), "builds": sum(len(w.points) for w in workspaces)}
    return ", ".join(f"{n} {what}" for what, n in counts.items() if n)


def _section(
    title: str,
    points: Sequence[Point],
    profiles: Sequence[LayerProfile],
    workspaces: Sequence[WorkspaceCurve],
) -> _Section:
    measured = [p.measurement for p in points if p.measurement is not None]
    marks = _badges(measured)
    charts = []
    if measured:
        charts = [
            _chart("Latency against batch", measured, "latency", latency_sentence(measured)),
            _chart(
                "Throughput against latency", measured, "throughput", throughput_sentence(measured)
            ),
            _chart("Memory against batch", measured, "memory", memory_sentence(measured)),
        ]
    charts += _precision_charts(points)
    charts += [
        _Chart(
            _profile_title(profile),
            badge("measured" if profile.source == "here" else "recorded"),
            _html(figure(profile, "layers")),
            _profile_sentence(profile),
        )
        for profile in profiles
    ]
    charts += [
        _Chart(
            "What the workspace limit changes",
            badge("builder" if curve.source == "here" else "recorded"),
            _html(figure(curve, "workspace")),
            workspace_sentence(curve),
        )
        for curve in workspaces
    ]
    is_several = len({p.model.recipe for p in points}) > 1
    caveats = [f"{f'{p.model.recipe.upper()}, ' * is_several}{p.measurement.settings()}: "
               f"{c.message} {c.hint}"
               for p in points if p.measurement for c in p.measurement.caveats]  # fmt: skip
    table = sweep_table(points).html() if points else ""
    table += "".join(workspace_table(curve).html() for curve in workspaces)
    return _Section(title, charts, marks, table, caveats)


def _precision_charts(points: Sequence[Point]) -> list[_Chart]:
    """Return what lower precision cost, where an accuracy is known, and saved in size."""
    charts = []
    found = [p.accuracy for p in points if p.accuracy is not None]
    if found:
        marks = [badge(origin) for origin in dict.fromkeys(a.origin for a in found)]
        marks += [badge("recorded")] * any(a.source == "recorded" for a in found)
        # What is not drawn is listed by the page, which wraps it to its width.
        drawn = on_speed_curve(points)
        charts.append(
            _Chart(
                "Accuracy against latency",
                " ".join(marks),
                _html(figure(drawn, "accuracy")),
                accuracy_sentence(points),
                left_out(points, {id(p) for p in drawn}),
            )
        )
    sizes = sizes_against_fp32(p.plan for p in points if p.plan is not None)
    if len({size.model.recipe for size in sizes if size.plan_ratio is not None}) > 1:
        drawing = _html(figure(points, "sizes"))
        sentence = sizes_sentence(sizes)
        charts.append(_Chart("Size against FP32", badge("builder"), drawing, sentence))
    return charts


def _profile_title(profile: LayerProfile) -> str:
    batch = "" if profile.batch is None else f", batch {profile.batch}"
    provider = profile.build.provider
    return f"Time per layer{batch}" + (f", {provider.upper()}" if provider != "cpu" else "")


def _profile_sentence(profile: LayerProfile) -> str:
    if profile.runs_ns is None:
        return "Profiled runs of their own: shares of the layers' sum, not latencies."
    gap = gap_share(profile)
    if gap is None:
        rest = "Layers overlap: their times add up to more than the run."
    else:
        where = "between the layers and in the profiler itself"
        where += " or waits for the GPU" if profile.time_kind == "host-launch" else ""
        rest = N_A if math.isnan(gap) else f"{gap:.1%} of the run lies {where}."
    return f"Profiled runs of their own: shares, not latencies. {rest}"


def _missing_parts(measurements: Sequence[Measurement]) -> str:
    """Say why parts of a peak are n/a, or nothing if all are known."""
    reasons = dict.fromkeys(
        _missing_reason(m)
        for m in measurements
        if None in (m.memory.weights, m.memory.repacked, m.memory.activations, m.memory.io)
    )
    return f"Parts of the memory are n/a {', '.join(reasons)}." if reasons else ""


def _missing_reason(m: Measurement) -> str:
    if m.memory == HostMemory():
        return "where a record holds none"
    if m.build.provider != "cpu":
        return "on a GPU"
    if m.run.streams > 1:
        return "with several streams"
    if m.run.activation_cap_bytes is not None:
        return "under an activation cap"
    return "where the backend does not say them"


def _chart(title: str, measured: list[Measurement], quantity: Any, finding: str) -> _Chart:
    return _Chart(title, _badges(measured), _html(figure(measured, quantity)), finding)


def _badges(measured: Sequence[Measurement]) -> str:
    marks = badge("measured") if measured else ""
    if any(m.source == "recorded" for m in measured):
        marks += " " + badge("recorded")
    return marks


def _html(fig: Any) -> str:
    made: str = fig.to_html(
        full_html=False,
        include_plotlyjs=False,
        default_height=f"{fig.layout.height or 340}px",
        config={"displaylogo": False, "displayModeBar": False, "responsive": True},
    )
    return made


def _environments(environments: Sequence[Environment]) -> Table:
    rows = dict.fromkeys(
        (
            f"{e.gpu or e.cpu or N_A}, {e.cores or N_A} cores, {text_from_bytes(e.memory_bytes)}",
            f"{e.os or N_A}, Python {e.python or N_A}",
            ", ".join(f"{name} {version}" for name, version in e.packages.items()),
        )
        for e in environments
    )
    return Table(("Machine", "System", "Libraries"), tuple(rows), frozenset())
