"""The workbench widget: choose a model and settings, sweep, see the curves as points come."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from trtlab.app.state import State
from trtlab.environment import available_cores, version
from trtlab.errors import SpecError
from trtlab.record import Measurement
from trtlab.units import ints_from_text
from trtlab.views.figures import Quantity, figure
from trtlab.views.sentences import latency_sentence, memory_sentence, throughput_sentence
from trtlab.views.tables import sweep_table
from trtlab.views.theme import badge, css
from trtlab.views.widgets.plotly_view import PlotlyView
from trtlab.zoo.catalogue import ENTRIES

_CHARTS: tuple[tuple[Quantity, str, Any], ...] = (
    ("latency", "Latency against batch", latency_sentence),
    ("throughput", "Throughput against latency", throughput_sentence),
    ("memory", "Memory against batch", memory_sentence),
)


_STYLE = """
.trtlab-workbench{border:1px solid var(--line2);border-radius:3px;overflow:hidden}
.trtlab-workbench .trtlab-head{align-items:center;background:var(--sub);
border-bottom:1px solid var(--line);display:flex;flex-wrap:wrap;gap:4px 18px;padding:8px 12px}
.trtlab-workbench .trtlab-rail{background:var(--sub);border-right:1px solid var(--line);
padding:10px 12px}
.trtlab-workbench .trtlab-panel{min-width:0;padding:10px 12px}
.trtlab-workbench .trtlab-error{background:var(--bad-bg);border:1px solid var(--bad);
border-radius:3px;color:var(--bad);margin:0 0 10px;padding:8px 12px;white-space:pre-wrap}
.trtlab-workbench .trtlab-finding{border-left:3px solid var(--line2);margin:4px 0 0;
padding:2px 10px}
.trtlab-workbench .trtlab-empty{color:var(--t2);padding:26px 12px}
.trtlab-workbench .widget-html-content{height:auto;line-height:1.45;white-space:normal}
.trtlab-workbench .trtlab-rail .widget-html-content{line-height:20px}
.trtlab-workbench .widget-label,.trtlab-workbench .widget-html-content,
.trtlab-workbench .widget-checkbox label{color:var(--t1);font-size:13px}
.trtlab-workbench input[type=text],.trtlab-workbench select{background:var(--bg)!important;
border:1px solid var(--line2)!important;border-radius:3px;color:var(--t1)!important}
.trtlab-workbench button.jupyter-button{border:1px solid var(--line2);border-radius:3px;
background:var(--bg);color:var(--t1)}
.trtlab-workbench button.mod-primary{background:var(--acc);border-color:var(--acc);
color:var(--on-acc);font-weight:600}
.trtlab-workbench button:disabled{opacity:.55}
.trtlab-workbench progress{accent-color:var(--acc);height:10px;width:100%}
.trtlab-workbench .trtlab-grid{display:grid;gap:10px;
grid-template-columns:repeat(auto-fit,minmax(min(380px,100%),1fr))}
"""


class Workbench(w.VBox):
    """The workbench as a widget: the last expression of a cell shows it.

    Args:
        model: A path or ``zoo:NAME``.
        batches: Batch sizes to begin with.
        streams: Numbers of inferences in flight to begin with.
        theme: ``light`` or ``dark``.
    """

    def __init__(
        self,
        model: str = "zoo:squeezenet",
        *,
        batches: tuple[int, ...] = (1, 2, 4, 8),
        streams: tuple[int, ...] = (1, 2),
        theme: str = "light",
    ) -> None:
        self.state = State(model=model, batches=batches, streams=streams, theme=theme)
        rail = _rail(self.state)
        panel = _panel(self.state)
        body = w.HBox([rail, panel], layout=w.Layout(align_items="stretch"))
        style = w.HTML(f"<style>{css()}{_STYLE}</style>", layout=w.Layout(display="none"))
        super().__init__([style, _header(self.state), body])
        self.add_class("trtlab")
        self.add_class("trtlab-workbench")
        self._take_theme()
        self.state.observe(self._take_theme, "theme")

    def _take_theme(self, _change: Any = None) -> None:
        # ipywidgets sets classes but no attributes: the stylesheet knows dark by its class too.
        self.remove_class("trtlab-dark")
        if self.state.theme == "dark":
            self.add_class("trtlab-dark")

    def close(self) -> None:
        """Stop the running job and take the widget away."""
        self.state.stop()
        super().close()


def _header(state: State) -> w.HTML:
    box = w.HTML()

    def show(_change: Any = None) -> None:
        box.value = (
            f"<div class='trtlab-head'><strong>trtlab</strong>"
            f"<span>{html.escape(state.model)}</span>"
            f"<span>{html.escape(_machine())}</span>"
            f"<span role='status' aria-live='polite'>{html.escape(state.status)}</span></div>"
        )

    state.observe(show, ["model", "status"])
    show()
    return box


def _machine() -> str:
    ort = version("onnxruntime") or version("onnxruntime-gpu")
    runner = f"Runs: ONNX Runtime {ort}, CPU" if ort else "ONNX Runtime is not installed"
    return f"This machine: {available_cores()} cores. {runner}"


def _rail(state: State) -> w.VBox:
    """Controls: each sets a trait or starts a job."""
    wide = w.Layout(width="auto")
    zoo = [f"zoo:{name}" for name in ENTRIES]
    model = w.Combobox(value=state.model, options=zoo, ensure_option=False, layout=wide,
                       placeholder="zoo:squeezenet or a path")  # fmt: skip
    batches = w.Text(value=_text(state.batches), layout=wide, continuous_update=False)
    streams = w.Text(value=_text(state.streams), layout=wide, continuous_update=False)
    quick = w.Checkbox(value=state.quick, description="Quick: short windows", indent=False)
    dark = w.Checkbox(value=state.theme == "dark", description="Dark", indent=False)
    start = w.Button(description="Measure", button_style="primary", layout=wide)
    stop = w.Button(description="Stop", disabled=True, layout=wide)
    bar = w.HTML()
    problem = w.HTML()

    def numbers(change: dict[str, Any], name: str) -> None:
        others = tuple(field for field in state.wrong_fields if field != name)
        try:
            numbers = {name: ints_from_text(change["new"])}
            state.update(**numbers, wrong_fields=others, error="")
        except SpecError as error:
            state.update(wrong_fields=(*others, name), error=str(error))

    def busy(_change: Any = None) -> None:
        model.disabled = state.busy
        start.disabled, stop.disabled = state.busy or bool(state.wrong_fields), not state.busy
        shown = state.busy and state.total
        bar.value = (
            f"<progress aria-label='points' max='{state.total}' value='{state.done}'></progress>"
            f"<span class='trtlab-hint'>{state.done} of {state.total} points</span>"
            if shown
            else ""
        )

    def failed(_change: Any = None) -> None:
        text = html.escape(state.error)
        problem.value = f"<div class='trtlab-error' role='alert'>{text}</div>" if text else ""

    # The curves of another model must not stand below this one's name; the store has them.
    model.observe(lambda c: state.update(model=c["new"], error="", points=()), "value")
    batches.observe(lambda c: numbers(c, "batches"), "value")
    streams.observe(lambda c: numbers(c, "streams"), "value")
    quick.observe(lambda c: state.update(quick=c["new"]), "value")
    dark.observe(lambda c: state.update(theme="dark" if c["new"] else "light"), "value")
    start.on_click(lambda _b: state.start())
    stop.on_click(lambda _b: state.stop())
    state.observe(busy, ["busy", "done", "total", "wrong_fields"])
    state.observe(failed, "error")
    rail = w.VBox(
        [
            w.HTML("<strong>Model</strong>"), model,
            w.HTML("<strong>Batch</strong> <span class='trtlab-hint'>sizes to measure</span>"),
            batches,
            w.HTML("<strong>Streams</strong> <span class='trtlab-hint'>calls in flight</span>"),
            streams, quick, dark, w.HBox([start, stop]), bar, problem,
            w.HTML("<p class='trtlab-hint'>Finished points come from the store at once.</p>"),
        ],
        layout=w.Layout(flex="0 0 280px"),
    )  # fmt: skip
    rail.add_class("trtlab-rail")
    return rail


def _panel(state: State) -> w.VBox:
    """Charts, their sentences and the points: drawn from the state alone."""
    cards = [_Card(quantity, title, sentence) for quantity, title, sentence in _CHARTS]
    grid = w.Box([c.widget for c in cards])
    grid.add_class("trtlab-grid")
    empty = w.HTML(
        "<div class='trtlab-empty'><h3>How do latency, throughput and memory change?</h3>"
        "Press <strong>Measure</strong>: each point runs the model in a process of its own, and "
        "the curves grow as points come.</div>"
    )
    table = w.HTML()

    def show(_change: Any = None) -> None:
        measured = state.result.measurements
        empty.layout.display = "none" if state.points else ""
        grid.layout.display = "" if measured else "none"
        table.value = (
            f"<div class='trtlab-card'><h3>Points {badge('measured')}</h3>"
            f"{sweep_table(state.points).html()}</div>"
            if state.points
            else ""
        )
        if measured:
            for card in cards:
                card.show(measured, state.theme)

    state.observe(show, ["points", "theme"])
    show()
    panel = w.VBox([empty, grid, table], layout=w.Layout(flex="1 1 auto", min_width="0"))
    panel.add_class("trtlab-panel")
    return panel


class _Card:
    """A chart with its title above and its sentence below; the chart is made when first needed."""

    def __init__(self, quantity: Quantity, title: str, sentence: Any) -> None:
        self._quantity, self._sentence = quantity, sentence
        self._view: PlotlyView | None = None
        head = w.HTML(f"<h3 style='margin:0'>{html.escape(title)} {badge('measured')}</h3>")
        self._finding = w.HTML()
        self.widget = w.VBox([head, self._finding])
        self.widget.add_class("trtlab-card")

    def show(self, measured: Sequence[Measurement], theme: Any) -> None:
        """Draw these measurements."""
        finding = self._sentence(measured)
        fig = figure(measured, self._quantity, theme=theme)
        if self._view is None:
            self._view = PlotlyView(fig, theme=theme, height=300, label=finding)
            head, below = self.widget.children
            self.widget.children = (head, self._view, below)
        else:
            self._view.label, self._view.theme = finding, theme
            self._view.figure = fig
        self._finding.value = f"<p class='trtlab-finding'>{html.escape(finding)}</p>"


def _text(numbers: Sequence[int]) -> str:
    return ",".join(str(n) for n in numbers)
