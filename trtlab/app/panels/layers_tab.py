"""Layers: where does the time go?"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence

import ipywidgets as w

from trtlab.analysis.compare import DISTURBED
from trtlab.analysis.shares import Measure
from trtlab.app.panels.base import Panel, text
from trtlab.app.state import State
from trtlab.errors import TrtlabError
from trtlab.model.printing import printable
from trtlab.model.types import Node
from trtlab.record import TIME_WORDS, Fusion, Plan, Run
from trtlab.units import N_A, text_from_latency, text_from_ms, text_from_number
from trtlab.views.cards import button, card, chip, choice, not_there, search, sentence
from trtlab.views.graph.colour_by import PRECISION_OF, precision_name
from trtlab.views.graph.labels import layer_title, middle_cut
from trtlab.views.layer_rows import (
    MOST_ROWS,
    NO_NODE,
    LayerRow,
    LayerRows,
    Stat,
    around_text,
    heaviest,
    layer_rows,
    made_from,
    rows_sentence,
    steps,
    time_unit,
)
from trtlab.views.precision_sentences import BACKENDS
from trtlab.views.theme import KINDS, Theme, badge

_BARS: tuple[tuple[Measure, str], ...] = (("time", "Time"), ("flops", "FLOP"), ("bytes", "Bytes"))
_UNSEEN = "sync, shape"
_LONGEST_NAME = 20  # fits its column
_MEGA = 1e6
_MEBI = 2**20


class Layers(Panel):
    """The engine's layers, what they were made from, and the time of the same nodes."""

    name = "layers"
    title = "Layers"
    reads = ("selected", "baseline", "runs", "theme", "layer")

    def __init__(self, state: State) -> None:
        self._engine, self._type, self._sync, self._all = "b", "", False, False
        self._bars: Measure = "time"
        self._made: tuple[tuple[object, ...], LayerRows] = ((), LayerRows(()))
        # The search field stands alone: what is typed there stays while the rest is drawn again.
        self._search = text(search("layers", "Search layer or node"))
        self._filters, self._table, self._cards = w.HTML(), w.HTML(), w.HTML()
        self._question = text(
            "<div class='trtlab-question'><strong>Where does the time go?</strong></div>"
        )
        self._head = w.Box((self._search, self._filters))
        self._head.add_class("trtlab-layers-head")
        super().__init__(state)

    def act(self, act: str, value: str) -> bool:
        """Take a filter, the bars' measure, or the layer that was clicked."""
        with self.state.lock:
            if act == "layer":
                self.state.update(layer="" if value == self.state.layer else value)
                return True
            if act == "layers-engine":
                self._engine, self._type, self._all = value, "", False
            elif act == "layers-type":
                self._type = value
            elif act == "layers-sync":
                self._sync = value == "true"
            elif act == "layers-all":
                self._all = True
            elif act == "layers-bars" and value in dict(_BARS):
                self._bars = value
            else:
                return False
            self._changed()
        return True

    def draw(self) -> Sequence[w.Widget]:
        """Draw the chosen engine's layers and, below, what lies between them and the latency."""
        engines = engines_of(self.state)
        if not engines:
            return [self._question, text(not_there("Layers", "nothing was built yet"))]
        if self._engine not in engines:
            self._engine = next(iter(engines))
        run, of_ran = engines[self._engine][1:]
        try:
            fusion = self.state.fusion(run, of_ran=of_ran)
        except TrtlabError as error:
            self._filters.value = self._choices(engines, None)
            self._table.value = card(
                "Layers", not_there("Layers of this plan", error.message, error.hint)
            )
            return [self._question, self._head, self._table]
        found, why = self._rows(run, fusion, of_ran)
        self._filters.value = self._choices(engines, fusion)
        self._table.value = self._table_html(run, fusion, found, why)
        self._cards.value = _cards(run, fusion, found)
        return [self._question, self._head, self._table, self._cards]

    def _rows(self, run: Run, fusion: Fusion, of_ran: bool) -> tuple[LayerRows, str]:
        """Return the rows, made once an engine, and why they have no times where they have none.

        Raises nothing: times that cannot be brought to these layers are said to be missing.
        """
        plan = run.ran if of_ran else run.plan
        profile, ran = run.profile, None
        try:
            if profile is not None and plan is not None and profile.plan != plan.hash:
                ran = self.state.fusion(run, of_ran=True)
            parts = (fusion, profile, ran)
            if tuple(map(id, self._made[0])) != tuple(map(id, parts)):
                self._made = (parts, layer_rows(*parts))
            return self._made[1], "" if profile else run.why_no("profile")
        except (
            TrtlabError
        ) as error:  # times of another plan, or plans that nothing brings together
            return layer_rows(fusion), error.message

    def _choices(self, engines: Mapping[str, _Engine], fusion: Fusion | None) -> str:
        options = "".join(_option(k, v[0], self._engine) for k, v in engines.items())
        parts = [_select("layers-engine", "Engine of", options)]
        if fusion is not None:
            types = Counter(layer.type or N_A for layer in fusion.layers)
            kinds = _option("", f"All types ({len(fusion.layers):,})", self._type) + "".join(
                _option(name, f"{name} ({n:,})", self._type) for name, n in types.most_common()
            )
            parts.append(_select("layers-type", "Type", kinds))
            unseen = sum(group.family == _UNSEEN for group in fusion.groups)
            on = " checked" if self._sync else ""
            if unseen:
                parts.append(
                    f"<label><input type='checkbox' data-change='layers-sync'"
                    f" data-key='layers-sync'{on}> {unseen:,} sync, shape</label>"
                )
            bars = choice("layers-bars", _BARS, self._bars, "What the bars show")
            csv = button("CSV", "csv", "layers", kind="link")
            parts += ["<span class='trtlab-spring'></span>", f"<span>Bars {bars} {csv}</span>"]
        return f"<div class='trtlab-question'>{''.join(parts)}</div>"

    def _table_html(self, run: Run, fusion: Fusion, found: LayerRows, why: str) -> str:
        rows = [
            row
            for row in found.rows
            if (not self._type or (row.layer.type or N_A) == self._type)
            and (self._sync or row.group.family != _UNSEEN or self._type == row.layer.type)
        ]
        selected = self.state.layer
        shown = rows if self._all else heaviest(rows, self._bars, MOST_ROWS, selected)
        theme: Theme = "dark" if self.state.theme == "dark" else "light"
        drawn = _Drawn(fusion, found, self._bars, theme, _no_gpu(run, fusion)[0], why)
        body = "".join(drawn.row(row, selected) for row in shown)
        more = ""
        if len(shown) < len(rows):
            more = (
                f"<p class='trtlab-warn'>The {len(shown):,} heaviest of {len(rows):,} layers. The "
                f"search looks in these. {button('Show all', 'layers-all')}</p>"
            )
        lost = ""
        if selected and not any(row.is_named(selected) for row in shown):
            name = html.escape(printable(selected.partition(":")[2][:200]))
            lost = f"<p class='trtlab-hint'>Selected, but not in these rows: {name}.</p>"
        origin = "measured" if self._bars == "time" else "estimated"
        return (
            f"<div class='trtlab-scroll trtlab-layers' data-rows='layers'><table><thead>"
            f"<tr>{drawn.heads()}</tr></thead><tbody>{body}</tbody></table></div>{more}{lost}"
            f"<p class='trtlab-layers-legend'>{drawn.legend(shown)}</p>"
            + drawn.notes(run, shown)
            + sentence(rows_sentence(found, self._bars, origin))
        )


_Engine = tuple[str, Run, bool]
"""How an engine is called, its run, and whether the plan that ran is meant."""


def engines_of(state: State) -> dict[str, _Engine]:
    """Return the engines that can be looked at: ``b``, ``a`` and the plan that ran, ``ran``."""
    found: dict[str, _Engine] = {}
    for letter, run in (("b", state.selected), ("a", state.baseline)):
        if run is not None:
            number = state.number(run)
            name = f"run {number}" if number else run.label
            found[letter] = (f"Engine of {letter.upper()}: {name}", run, False)
    b = state.selected
    if b and b.ran and (b.plan is None or b.ran.hash != b.plan.hash):
        found["ran"] = (f"The plan that ran: {_ran_by(b.ran)}", b, True)
    return found


def _ran_by(plan: Plan) -> str:
    target = plan.target_text
    return f"{BACKENDS[plan.config.backend]}, {target.upper() if target == 'cpu' else target}"


def _option(value: str, label: str, chosen: str) -> str:
    on = " selected" if value == chosen else ""
    return f"<option value='{html.escape(value, quote=True)}'{on}>{html.escape(label)}</option>"


def _select(act: str, label: str, options: str) -> str:
    return f"<select data-change='{act}' data-key='{act}' aria-label='{label}'>{options}</select>"


class _Drawn:
    """The table's cells for one engine; the longest bar is the heaviest of all its layers.

    Args:
        fusion: The engine.
        found: Its rows.
        bars: What the bars show.
        theme: For the colours of the kinds.
        no_gpu: Why there are no GPU times.
        no_time: Why there are no times of nodes, "" where there are.
    """

    def __init__(
        self,
        fusion: Fusion,
        found: LayerRows,
        bars: Measure,
        theme: Theme,
        no_gpu: str,
        no_time: str,
    ) -> None:
        self.fusion, self.found, self.bars, self.theme = fusion, found, bars, theme
        self.no_gpu, self.no_time = no_gpu, no_time
        self.nodes: dict[str, Node] = {node.name: node for node in fusion.graph.nodes}
        self.factor, self.unit = time_unit(found.rows)
        self.most = max((row.weight(bars) or 0.0 for row in found.rows), default=0.0)
        # One stream for all is the rule, and the table is wide.
        self.has_streams = len({row.layer.stream for row in found.rows}) > 1
        self.on_gpu = found.kind == "gpu" and not found.of_nodes

    def heads(self) -> str:
        timed = badge("measured", short=True)
        heads = [("#", "number", ""), ("Engine layer", "", badge("builder", short=True)),
                 ("Made from ONNX nodes", "", ""), ("Type", "", ""), ("Prec.", "", ""),
                 *([("Stream", "number", "")] if self.has_streams else [])]  # fmt: skip
        if self.on_gpu:
            heads.append((f"GPU time, {self.unit}", "number", timed))
        else:
            heads.append(("GPU time", "number", ""))
            kind = self.found.kind or "cpu"
            words = "CPU" if kind == "cpu" else TIME_WORDS[kind][0].upper() + TIME_WORDS[kind][1:]
            same = ", same nodes" if self.found.of_nodes else ""
            mark = timed if self.found.kind else ""
            heads.append((f"{words}{same}, {self.unit}", "number", mark))
        heads += [(name, "number", badge("estimated", short=True)) for name in ("MFLOP", "MiB")]
        return "".join(
            f"<th scope='col'{self._class(kind)}>{name} {mark}</th>" for name, kind, mark in heads
        )

    def row(self, row: LayerRow, selected: str) -> str:
        layer, group = row.layer, row.group
        name = html.escape(printable(layer.name), quote=True)
        kept = "true" if selected and row.is_named(selected) else "false"
        key = html.escape(row.key, quote=True)
        nodes = html.escape(", ".join(printable(n) for n in group.nodes), quote=True)
        made = html.escape(made_from(row, self.nodes))
        tag = f"<b>{group.tag}</b> " if group.tag else ""
        times = [self._time(row)] if self.on_gpu else [self._none(self.no_gpu), self._time(row)]
        cells = [
            ("number", str(row.number + 1)),
            ("", f"{self.kind(group.family)}<code title='{name}'>"
                 f"{html.escape(middle_cut(layer_title(layer.name), _LONGEST_NAME))}</code>"),
            ("", f"<span class='trtlab-layers-made' title='{nodes}'>{tag}{made}</span>"
                 f"<span hidden>{name} {nodes}</span>"),
            ("", html.escape(layer.type[:40]) or self._none("not said")),
            ("", self._precision(group.precision)),
            *([("number", self._none("not said") if layer.stream is None
                else str(layer.stream))] if self.has_streams else []),
            *(("number", cell) for cell in times),
            ("number", self._amount(row, "flops", group.flops, _MEGA)),
            ("number", self._amount(row, "bytes", group.bytes, _MEBI)),
        ]  # fmt: skip
        return (
            f"<tr tabindex='0' data-act='layer' data-value='{key}' aria-selected='{kept}'>"
            + "".join(f"<td{self._class(kind)}>{cell}</td>" for kind, cell in cells)
            + "</tr>"
        )

    def kind(self, family: str) -> str:
        colour = KINDS[family].colour(self.theme)
        dashed = " trtlab-layers-dashed" if "dashed" in KINDS[family].form else ""
        return (
            f"<i class='trtlab-layers-kind{dashed}' style='--kind:{colour}' role='img'"
            f" aria-label='{family}' title='{family}'></i>"
        )

    def legend(self, rows: Sequence[LayerRow]) -> str:
        found = Counter[str](row.group.family for row in rows)
        return "".join(
            f"<span>{self.kind(family)}{family} <b>{found[family]:,}</b></span>"
            for family in KINDS
            if found[family]
        )

    def notes(self, run: Run, rows: Sequence[LayerRow]) -> str:
        """Say what the times are of, and what is doubtful of them, once for all rows."""
        said, found = [], self.found
        timed = [row.time for row in rows if row.time is not None]
        if timed:
            runs = f"n {found.runs:,}" if found.runs else f"n {N_A}"
            batch = run.profile.batch if run.profile else None
            at = "" if batch is None else f" at batch {batch}"
            said.append(f"±: half of the 95 % interval of the median, {runs} profiled runs{at}.")
        if any(len(time.layers) > 1 for time in timed):
            said.append("+1, +2 …: time of so many more layers too: the plan that ran is not "
                        "cut between them, so what each has of it is not known.")  # fmt: skip
        if any(time.more for time in timed):
            said.append("*: with nodes that this engine does not run.")
        if found.elsewhere is not None:
            ms = text_from_ms(found.elsewhere.ms)
            said.append(f"In no row: {ms} of layers that hold none of this engine's nodes.")
        sizes = ", ".join(f"{name} = {size}" for name, size in self.fusion.sizes.items())
        where = f" at {sizes}" if sizes else ""
        said.append(f"MFLOP, MiB (read and written): from shapes{where}.")
        doubts = [caveat.message for caveat in run.profile.caveats] if run.profile else []
        if found.unnamed is not None:
            doubts.append(f"{text_from_ms(found.unnamed.ms)} are of layers for which no node is "
                          "named. Nodes in these rows may have taken it.")  # fmt: skip
        warnings = "".join(
            f"<p class='trtlab-warn'>Doubtful: {html.escape(d)}</p>" for d in doubts
        )
        return f"<p class='trtlab-hint'>{html.escape(' '.join(said))}</p>{warnings}"

    def _time(self, row: LayerRow) -> str:
        if row.time is None:
            if row.reason == NO_NODE:
                return f"<span class='trtlab-hint'>{NO_NODE}</span>"
            return self._none(self.no_time or row.reason)
        others = [n for n in row.time.layers if n != row.number]
        if others and row.number != row.time.layers[0]:
            return f"<span class='trtlab-hint'>in #{row.time.layers[0] + 1}</span>"
        value, around = around_text(row.time.stat, self.factor)
        exact = text_from_latency(row.time.stat.ms, row.time.stat.interval)
        if row.time.more:
            exact += f", with {', '.join(printable(n) for n in row.time.more)}"
        marks = ""
        if others:
            marks = f" +{len(others)}"
            exact += f", with {', '.join(f'#{n + 1}' for n in others)}"
        marks += " *" if row.time.more else ""
        return (
            f"{self._bar(row, 'time', shared=bool(others))}"
            f"<span title='{html.escape(exact, quote=True)}'>{value}"
            f" <span class='trtlab-hint'>{around}{marks}</span></span>"
        )

    def _amount(self, row: LayerRow, measure: Measure, value: int | None, unit: float) -> str:
        if value is None:
            return self._none("shapes are not known")
        number = text_from_number(value / unit)
        return f"{self._bar(row, measure)}<span title='{value:,}'>{number}</span>"

    def _bar(self, row: LayerRow, measure: Measure, shared: bool = False) -> str:
        if measure != self.bars or not self.most:
            return ""
        colour = KINDS[row.group.family].colour(self.theme)
        width = 100 * (row.weight(measure) or 0.0) / self.most
        striped = " trtlab-layers-shared" if shared else ""
        style = f"--kind:{colour};width:{width:.1f}%"
        fill = f"<i class='trtlab-layers-fill{striped}' style='{style}'></i>"
        return f"<span class='trtlab-layers-bar' aria-hidden='true'>{fill}</span>"

    def _precision(self, dtype: str | None) -> str:
        if dtype is None:
            return self._none("not said")
        precision = PRECISION_OF.get(dtype)
        return chip(precision) if precision else html.escape(precision_name(dtype))

    def _none(self, reason: str) -> str:
        return f"<span class='trtlab-hint' title='{html.escape(reason, quote=True)}'>{N_A}</span>"

    def _class(self, kind: str) -> str:
        return " class='trtlab-number'" if kind else ""


# Below the table


def _cards(run: Run, fusion: Fusion, found: LayerRows) -> str:
    gpu = _gpu_card(run, fusion, found)
    return f"<div class='trtlab-grid trtlab-layers-cards'>{_steps_card(run)}{gpu}</div>"


def _steps_card(run: Run) -> str:
    title = f"From layer sum to latency, {run.label}"
    if run.profile is None:
        return card(title, not_there("Layer times", run.why_no("profile")))
    got = steps(run.profile, run.measurement)
    known = [stat.ms for stat in (got.total, got.profiled, got.latency) if stat]
    most = max(known) or 1.0
    runs = f"n {run.profile.runs:,}" if run.profile.runs else f"n {N_A}"
    rows = [_step(f"Sum of layer times, profiled run ({runs})", 0, got.total.ms, most,
                  _stat_text(got.total), "sum")]  # fmt: skip
    if got.profiled is not None:
        if got.between is None:
            why = f"{N_A}: layers overlap, together they take longer than the run"
            rows.append(_step("Between layers", 0, 0, most, why))
        else:
            rows.append(_step("Between layers, call overhead", got.total.ms, got.profiled.ms, most,
                              _stat_text(got.between, "+"), "between"))  # fmt: skip
    if got.cost is not None and got.profiled is not None and got.latency is not None:
        value = _signed_text(got.cost)
        if not got.cost_is_real:
            value = f"= not distinguishable from 0 ({value})"
        begin, end = sorted((got.latency.ms, got.profiled.ms))
        rows.append(_step("Cost of profiling, taken away", begin, end, most, value, "cost"))
    elif got.why_no_cost:
        rows.append(_step("Cost of profiling", 0, 0, most, f"{N_A}: {got.why_no_cost}"))
    m = run.measurement
    if got.latency is not None and m is not None:
        rows.append(_step(f"Latency p50, not profiled (n {m.n:,})", 0, got.latency.ms, most,
                          _stat_text(got.latency), "latency"))  # fmt: skip
    ran = f" Both are of the plan that ran: {_ran_by(run.ran)}." if run.ran else ""
    note = f"Profiling slows the run: a latency never comes from a profiled run.{ran}"
    doubts = [c.message for c in m.caveats if c.kind in DISTURBED] if m is not None else []
    warnings = "".join(f"<p class='trtlab-warn'>Doubtful: {html.escape(d)}</p>" for d in doubts)
    body = (
        f"<table class='trtlab-layers-steps'><tbody>{''.join(rows)}</tbody></table>"
        f"<p class='trtlab-hint'>{html.escape(note)}</p>{warnings}"
    )
    return card(title, body, "measured")


def _signed_text(cost: Stat) -> str:
    """Print what is taken away: ``−0.62 ms [−0.71, −0.50]``."""
    unit, factor = ("µs", 1e3) if abs(cost.ms) < 0.1 else ("ms", 1.0)

    def signed(ms: float) -> str:
        return ("−" if ms > 0 else "+") + text_from_number(abs(ms) * factor)

    text = f"{signed(cost.ms)} {unit}"
    if cost.interval is None:
        return text
    return f"{text} [{signed(cost.interval.high)}, {signed(cost.interval.low)}]"


def _stat_text(stat: Stat, sign: str = "") -> str:
    return sign + text_from_latency(stat.ms, stat.interval)


def _step(label: str, begin: float, end: float, most: float, value: str, kind: str = "") -> str:
    left, width = 100 * begin / most, 100 * (end - begin) / most
    bar = ""
    if kind:
        bar = (
            f"<i class='trtlab-layers-step trtlab-layers-step-{kind}'"
            f" style='margin-left:{left:.1f}%;width:{width:.1f}%'></i>"
        )
    return (
        f"<tr><th scope='row'>{html.escape(label)}</th>"
        f"<td class='trtlab-layers-track' aria-hidden='true'>{bar}</td>"
        f"<td>{html.escape(value)}</td></tr>"
    )


def _gpu_card(run: Run, fusion: Fusion, found: LayerRows) -> str:
    if found.kind == "gpu" and not found.of_nodes:
        said = "Layer times are GPU times of profiled runs. Layers on several streams overlap, so "
        return card("What GPU time is", f"<p>{said}their sum is no latency.</p>", "measured")
    reason, fill = _no_gpu(run, fusion)
    body = f"<p>{html.escape(reason)}</p>"
    if fill:
        body += f"<p><strong>To fill this column:</strong> {html.escape(fill)}</p>"
    if found.of_nodes and found.kind:
        words = "CPU time" if found.kind == "cpu" else TIME_WORDS[found.kind]
        body += (
            f"<p>Until then the bars show the <strong>{words} of the same ONNX nodes</strong>. It "
            "tells where the work is, not how fast a GPU will be.</p>"
        )
    return card("Why is GPU time n/a?", body)


def _no_gpu(run: Run, fusion: Fusion) -> tuple[str, str]:
    """Return why a fusion's layers have no GPU times, and what would give them."""
    if not fusion.backend.lower().startswith("tensorrt"):
        if run.setup.provider != "cpu":
            return ("ONNX Runtime's profile tells when the host starts a layer, not how long the "
                    "GPU works on it.", "build with TensorRT.")  # fmt: skip
        return ("This plan is ONNX Runtime's for the CPU: no GPU has a part in it.",
                "build with TensorRT and run where there is an NVIDIA GPU.")  # fmt: skip
    if run.ran is not None and run.plan is not None and run.ran.hash == run.plan.hash:
        return f"This engine ran, but was not profiled: {run.why_no('profile')}.", ""
    here = "here" if run.source == "here" else "where it was recorded"
    kernels = ""
    if fusion.backend == BACKENDS["tensorrt_rtx"]:
        kernels = " Its kernels (tactics) are chosen when it first runs."
    return (f"This engine was built ahead of time for {fusion.target} and did not run {here}."
            f"{kernels}",
            f"run the same cell on a machine with an NVIDIA GPU ({fusion.target}), or open a "
            "recording of such a run.")  # fmt: skip
