"""Compare: what changed between A and B, and is it real?"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import replace

import ipywidgets as w

from trtlab.analysis.engines.align import align, unaligned
from trtlab.analysis.factors import Beside, Factor, Pair, Value
from trtlab.app.panels.base import Panel, text
from trtlab.app.state import State
from trtlab.errors import TrtlabError
from trtlab.record import EngineComparison, Match, Plan, Run, Verdict
from trtlab.units import N_A, text_from_bytes
from trtlab.views.cards import button, card, chip, choice, mark, not_there, run_text, sentence
from trtlab.views.precision_sentences import BACKENDS
from trtlab.views.sentences import engines_sentence
from trtlab.views.tables import engines_table
from trtlab.views.theme import badge
from trtlab.views.tiles import COLOURS, arrow, change_text, ends_text, number_text

_QUESTION = "What changed between A and B, and is it real?"
_MOST_ROWS = 100
_HALF_PX = 42
"""Half the width of the bars of differences."""
_RAN, _BUILT = "ran", "built"


class Compare(Panel):
    """Settings, headline, groups of ONNX nodes, where the gain comes from."""

    name = "compare"
    title = "Compare"
    reads = (*Panel.reads, "layer")

    def __init__(self, state: State) -> None:
        self._aligned = ""
        super().__init__(state)

    def draw(self) -> Sequence[w.Widget]:
        """Draw the selected run beside the pinned one."""
        a, b = self.state.baseline, self.state.selected
        if a is None or b is None or a is b:
            head = f"<div class='trtlab-question'><strong>{_QUESTION}</strong></div>"
            return [text(head + self._how_to_pin())]
        ran_can = a.ran is not None and b.ran is not None
        side = self._aligned or (_RAN if ran_can else _BUILT)
        options = ((_RAN, "the plans that ran"), (_BUILT, "the engines that were built"))
        pick = choice("compare-align", options, side, "Align")
        head = (
            f"<div class='trtlab-question'><strong>{_QUESTION}</strong>"
            f"<span class='trtlab-spring'></span><span>Align</span>{pick}</div>"
        )
        numbers = self.state.number(a), self.state.number(b)
        pair = Pair(b, a)
        top = w.Box((text(_settings(a, pair, numbers)), text(_headline(a, pair))))
        top.add_class("trtlab-side-by-side")
        return [text(head), top, text(self._groups(a, pair, side))]

    def act(self, act: str, value: str) -> bool:
        """Choose which plans are aligned, or the node of a row."""
        if act == "compare-align" and value in (_RAN, _BUILT):
            self._aligned = value
            with self.state.lock:
                self._changed()
            return True
        if act == "compare-node":
            self.state.update(layer=value)
            return True
        return False

    def _how_to_pin(self) -> str:
        b = self.state.selected
        if b is None:
            return card("No run yet", "<p>Build two runs, and pin one of them as A.</p>")
        others = [r for r in self.state.shown() if r is not b and r is not self.state.baseline]
        said = "A is the baseline that the selected run, B, is compared with."
        if self.state.baseline is b:
            said = "A and B are the same run: pin another one."
        if not others:
            said += " Build another run of this model: then one of the two can be pinned."
        rows = "".join(
            f"<li>{button(f'Pin run {number} as A', 'pin', str(number))} {chip(run.recipe)} "
            f"{html.escape(run_text(run))}</li>"
            for run in others
            if (number := self.state.number(run))
        )
        return card("No baseline is pinned", f"<p>{said}</p><ul class='trtlab-pins'>{rows}</ul>")

    # Groups of nodes

    def _groups(self, a: Run, pair: Pair, side: str) -> str:
        title, b = "By group of ONNX nodes", pair.b
        if pair.why_apart:
            return card(
                title, not_there("Groups", f"{pair.why_apart} Their nodes have nothing in common.")
            )
        plans = (a.ran, b.ran) if side == _RAN else (a.plan, b.plan)
        if plans[0] is None or plans[1] is None:
            letter, run = ("A", a) if plans[0] is None else ("B", b)
            why = f"{letter} has no such plan: {run.why_no('measurement')}"
            return card(title, not_there("Groups", why))
        try:
            found = self._compared(a, pair, side, (plans[0], plans[1]))
        except TrtlabError as error:
            return card(title, not_there("Groups", error.message, error.hint))
        if not found.matches:
            return card(title, not_there("Groups", engines_sentence(found)))
        timed = found.total.a_ms is not None
        if timed:
            title += ": host time" if found.time_kind == "cpu" else ": layer time"
        body = f"<p class='trtlab-hint'>{html.escape(f'A: {found.a}. B: {found.b}.')}</p>"
        body += _matches_html(found, self.state.layer)
        body += sentence(engines_sentence(found), "Where the gain comes from.")
        if pair.why_times_apart and side == _RAN:
            apart = html.escape(pair.why_times_apart)
            body += f"<p class='trtlab-na'>Times are not subtracted. {apart}</p>"
        body += "".join(
            f"<p class='trtlab-hint'>! {html.escape(c.message)} {html.escape(c.hint)}</p>"
            for c in found.caveats
        )
        return card(title, body, *(("measured", "builder") if timed else ("builder",)))

    def _compared(
        self, a: Run, pair: Pair, side: str, plans: tuple[Plan, Plan]
    ) -> EngineComparison:
        b = pair.b
        if any(plan.layers is None for plan in plans):
            return unaligned(plans)
        both = [self.state.fusion(run, of_ran=side == _RAN) for run in (a, b)]
        profiles = None
        if a.profile and b.profile and [a.profile.plan, b.profile.plan] == [p.hash for p in plans]:
            profiles = (a.profile, b.profile)
        if pair.why_times_apart:  # layers may be looked at side by side, times not subtracted
            both, profiles = [replace(fused, time_kind=None) for fused in both], None
        return align(both[0], both[1], plans=plans, profiles=profiles)


# Settings

_SETTINGS: tuple[tuple[str, Callable[[Run], str]], ...] = (
    ("Precision", lambda r: r.recipe.upper()),
    ("Batch", lambda r: N_A if r.batch is None else str(r.batch)),
    ("Engine's batches", lambda r: " · ".join(map(str, r.setup.batches or ())) or "—"),
    ("Workspace", lambda r: _limit(r)),
    ("Built by", lambda r: f"{_backend(r.setup.builder)} → {_target(r)}"),
    ("Run by", lambda r: _runner(r)),
    ("Timed", lambda r: _timed(r)),
    ("Model", lambda r: r.model.name),
    ("Streams", lambda r: str(r.setup.streams)),
    ("Machine", lambda r: _machine(r)),
)
_WHERE_THEY_DIFFER = frozenset({"Model", "Streams", "Machine"})
"""Settings that are told only where the two runs differ in them."""


def _settings(a: Run, pair: Pair, numbers: tuple[int, int]) -> str:
    b = pair.b
    rows, differing = [], []
    for label, word in _SETTINGS:
        one, other = word(a), word(b)
        if one == other:
            if label not in _WHERE_THEY_DIFFER:
                said = chip(a.recipe) if label == "Precision" else html.escape(one)
                rows.append(f"<tr><th scope='row'>{label}</th><td colspan='2'>{said}</td></tr>")
            continue
        differing.append(label.lower())
        cells = (
            chip(run.recipe) if label == "Precision" else html.escape(said)
            for run, said in ((a, one), (b, other))
        )
        rows.append(
            f"<tr class='trtlab-differs'><th scope='row'>{label} "
            "<span role='img' aria-label='differs'>≠</span></th>"
            f"<td>{'</td><td>'.join(cells)}</td></tr>"
        )
    heads = "".join(
        f"<th scope='col'>{mark(letter)} run {number or N_A}</th>"
        for letter, number in zip("AB", numbers, strict=True)
    )
    table = (
        f"<div class='trtlab-scroll'><table><thead><tr><td></td>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
    return card("Settings", table + _may_compare(pair, differing), extra="trtlab-settings")


def _may_compare(pair: Pair, differing: Sequence[str]) -> str:
    apart = pair.why_times_apart
    if apart:
        word, hint = "Times are not comparable.", "What the builder says is exact and is compared."
        if pair.why_apart:
            word, hint = "Not comparable.", "Nothing is subtracted."
        said = f"<strong class='trtlab-bad'>✕ {word}</strong> {html.escape(apart)}"
        return f"<p>{said}</p><p class='trtlab-hint'>Both can be viewed. {hint}</p>"
    said = "No setting differs: a difference is what equal runs differ by."
    if len(differing) == 1:
        said = f"One setting differs: {differing[0]}."
    elif differing:
        said = f"{len(differing)} settings differ: which of them matters, two runs cannot tell."
    found = pair.comparison
    doubts = "".join(
        f"<p class='trtlab-hint trtlab-warn'>! {html.escape(c.message)}</p>"
        for c in (found.caveats if found else ())
    )
    return f"<p><strong class='trtlab-ok'>✓ Comparable.</strong> {html.escape(said)}</p>{doubts}"


def _limit(run: Run) -> str:
    if run.setup.builder == "onnxruntime":
        return "—"
    limit = run.setup.workspace_bytes
    return "default" if limit is None else text_from_bytes(limit)


def _backend(name: str) -> str:
    return BACKENDS.get(name, name)


def _target(run: Run) -> str:
    return run.plan.target_text if run.plan else run.setup.target or "default"


def _runner(run: Run) -> str:
    m = run.measurement
    if m is None:
        return f"{N_A}: not run"
    return f"{_backend(m.build.backend)}, {m.provider.removesuffix('ExecutionProvider')}"


def _timed(run: Run) -> str:
    m = run.measurement
    if m is None:
        return N_A
    threads = "default threads" if m.run.threads is None else f"{m.run.threads} threads"
    return f"{m.contents}, {threads}, {'quick' if m.run.quick else 'full windows'}"


def _machine(run: Run) -> str:
    e = run.measurement.environment if run.measurement else run.line.environment
    device = e.gpu or e.cpu or "not named"
    return device + (", recorded" if run.source == "recorded" else "")


# Headline


def _headline(a: Run, pair: Pair) -> str:
    unlabelled = any(r.accuracy is not None and r.accuracy.labels is None for r in (a, pair.b))
    accuracy: tuple[str, Factor] = ("SQNR", "sqnr_db") if unlabelled else ("Top-1", "top1")
    rows: tuple[tuple[str, Factor], ...] = (
        ("Latency p50", "latency_ms"),
        ("Throughput", "throughput"),
        accuracy,
        ("Activations", "activation_bytes"),
        ("Plan size", "plan_bytes"),
        ("Efficiency", "efficiency"),
    )
    notes: dict[str, None] = {}
    pairs = [(label, factor, pair.beside(factor)) for label, factor in rows]
    body = "".join(_row(label, factor, pair, notes) for label, factor, pair in pairs)
    notes |= dict.fromkeys(_samples(pairs))
    heads = ("", "A [95 %]", "B [95 %]", "B − A [95 %]")
    head = "".join(
        f"<th scope='col' class='trtlab-number'>{h}</th>" if h else "<td></td>" for h in heads
    )
    below = "".join(f"<p class='trtlab-hint'>{html.escape(note)}</p>" for note in notes)
    table = (
        f"<div class='trtlab-scroll'><table><thead><tr>{head}<th scope='col'>Verdict</th></tr>"
        f"</thead><tbody>{body}</tbody></table></div>{below}"
    )
    return card("Headline", table, extra="trtlab-headline")


def _samples(pairs: Sequence[tuple[str, Factor, Beside]]) -> list[str]:
    """Say how many samples are behind the numbers that are statistics."""
    found = []
    for label, factor, pair in pairs:
        if factor == "throughput":  # of the same calls as the latency
            continue
        counts = [("A", pair.a), ("B", pair.b)]
        said = [f"{letter} n {v.n:,}" for letter, v in counts if v is not None and v.n]
        if said:
            found.append(f"{label}: {', '.join(said)}")
    return [f"Samples. {'; '.join(found)}."] if found else []


def _row(label: str, factor: Factor, found: Beside, notes: dict[str, None]) -> str:
    a, b, change = found.a, found.b, found.change
    cells = [(N_A, "") if v is None else _value_texts(factor, v) for v in (a, b)]
    missing = {v.reason: letter for letter, v in (("A", a), ("B", b)) if v and v.value is None}
    for reason, letter in missing.items():
        both = a is not None and a.value is None and a.reason == b.reason and b.value is None
        whose = "" if both else f" of {letter}"
        notes[f"{label}{whose} is n/a: {reason.removesuffix('.')}."] = None
    difference, verdict, colour = (N_A, ""), "not compared", ""
    if change is not None and change.verdict != "unknown":
        difference = change_text(factor, change)
        verdict = f"{arrow(change)} {_verdict(factor, change.verdict, change.difference)}"
        colour = COLOURS.get(change.verdict, "")
    elif change is not None and a is not None and None not in (a.value, b.value):
        notes[f"{label} is not compared: {change.reason}"] = None
    if change is not None and change.verdict in ("no interval", "exact") and change.reason:
        notes[f"{label}: {change.reason}."] = None
    numbers = "".join(
        f"<td class='trtlab-number'><span>{html.escape(number)}</span> "
        f"<span class='trtlab-span'>{html.escape(span)}</span></td>"
        for number, span in (*cells, difference)
    )
    origins = dict.fromkeys(v.origin for v in (a, b) if v is not None and v.value is not None)
    badges = "".join(f" {badge(origin, short=True)}" for origin in origins)
    return (
        f"<tr><th scope='row'>{label}{badges}</th>{numbers}"
        f"<td><strong class='{colour}'>{html.escape(verdict)}</strong></td></tr>"
    )


def _value_texts(factor: Factor, value: Value) -> tuple[str, str]:
    """Return a number with its unit, and its interval."""
    if value.value is None:
        return N_A, ""
    number, unit = number_text(factor, value.value)
    text = f"{number} {unit.split()[0]}"
    if value.interval is None:
        return text, ""
    return text, f"[{ends_text(factor, value.interval, value.value)}]"


def _verdict(factor: Factor, verdict: Verdict, difference: float | None) -> str:
    if verdict == "doubtful":
        return "doubtful"
    more = bool(difference and difference > 0)
    if verdict == "no interval":
        return "no claim"
    if verdict == "exact":
        word = ("more" if more else "less") if difference else "the same"
        return f"{word}, exact"
    if verdict == "not distinguishable":
        return verdict
    if factor == "latency_ms":
        return "slower" if more else "faster"
    return "more" if more else "less"


# Rows of groups


def _matches_html(found: EngineComparison, layer: str) -> str:
    """The table of sets, with a bar of each difference in time beside it."""
    table = engines_table(found, _MOST_ROWS)
    shown = found.ranked[:_MOST_ROWS]
    # How a set is cut, and its data type, stand below its nodes: the numbers need the room.
    below = [table.heads.index(head) for head in ("Cut", "Data type")]
    columns = [n for n in range(len(table.heads)) if n not in below]
    verdict = table.heads.index("Verdict") if "Verdict" in table.heads else None
    most = max((abs(m.time.difference_ms or 0) for m in shown), default=0)
    bar_head = "<th scope='col'>slower ◂ 0 ▸ faster</th>"
    heads = "".join(
        f"{bar_head if n == verdict else ''}"
        f"<th scope='col'{_class(n, table.numeric)}>{html.escape(table.heads[n])}</th>"
        for n in columns
    )
    rows = []
    for match, row in zip(shown, table.rows, strict=True):
        hint = ", ".join(row[n] for n in below if row[n] not in (N_A, "no node"))
        cells = []
        for n in columns:
            cell = html.escape(row[n])
            if n == 1:
                cell += f"<br><span class='trtlab-hint'>{html.escape(hint)}</span>"
            if n == verdict:
                cells.append(f"<td>{_bar(match, most)}</td>")
                cell = f"<strong class='{COLOURS.get(match.time.verdict, '')}'>{cell}</strong>"
            cells.append(f"<td{_class(n, table.numeric)}>{cell}</td>")
        rows.append(f"<tr{_chosen(match, layer)}>{''.join(cells)}</tr>")
    rest = len(found.matches) - len(shown)
    more = f"<p class='trtlab-hint'>and {rest} more sets.</p>" if rest > 0 else ""
    return (
        "<div class='trtlab-scroll trtlab-sets' tabindex='0' role='region'"
        " aria-label='groups of nodes'>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"</div>{more}"
    )


def _class(column: int, numeric: frozenset[int]) -> str:
    return " class='trtlab-number'" if column in numeric else ""


def _chosen(match: Match, layer: str) -> str:
    """A row that has a node can be chosen: it is then selected in the other tabs."""
    nodes = (*match.nodes, *match.only_b)
    if not nodes:
        return ""
    chosen = str(any(layer == f"node:{node}" for node in nodes)).lower()
    value = html.escape(f"node:{nodes[0]}", quote=True)
    return (
        f" tabindex='0' data-act='compare-node' data-value='{value}'"
        f" data-key='set-{match.tag}' aria-selected='{chosen}'"
    )


def _bar(match: Match, most: float) -> str:
    """A bar from the middle: faster to the right, as the head says; coloured where it is real."""
    difference = match.time.difference_ms
    if not difference or not most:
        return ""
    length = max(1.0, _HALF_PX * abs(difference) / most)
    x = _HALF_PX if difference < 0 else _HALF_PX - length
    colour = COLOURS.get(match.time.verdict, "trtlab-hint")
    word = "less" if difference < 0 else "more"
    label = f"B takes {word}: {match.time.change_text()}"
    return (
        f"<svg class='trtlab-bar {colour}' role='img' width='{2 * _HALF_PX}' height='14'"
        f" aria-label='{html.escape(label, quote=True)}'>"
        f"<path d='M{_HALF_PX} 0V14'/><rect x='{x:.1f}' y='3' width='{length:.1f}' height='8'/>"
        "</svg>"
    )
