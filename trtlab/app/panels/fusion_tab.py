"""Fusion: what became of my graph?"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ipywidgets as w

from trtlab.analysis.engines.align import align
from trtlab.app.panels.base import Panel
from trtlab.app.panels.layers_tab import engines_of
from trtlab.app.state import State
from trtlab.errors import SpecError, TrtlabError
from trtlab.record import Fusion
from trtlab.views.cards import button, card, choice, not_there, sentence
from trtlab.views.graph.colour_by import share_text
from trtlab.views.sentences import counted, engines_sentence
from trtlab.views.widgets.graph_view import GraphView, graph

MOST_VIEWS = 3
"""Graphs that a panel keeps: each holds its whole scene, in the kernel and in the page."""

HEIGHT = 560
"""Of the graph in pixels: with what stands around it, it fills the panel."""

_BOTH = "both"


class FusionView(Panel):
    """The graph beside the layers that it became, or two engines beside each other."""

    name = "fusion"
    title = "Fusion"
    reads = ("selected", "baseline", "runs", "theme", "layer")

    def __init__(self, state: State) -> None:
        self._chosen = "b"
        self._views: OrderedDict[tuple[int, ...], tuple[GraphView, tuple[Fusion, ...], str]]
        self._views = OrderedDict()
        self._lighting = False
        self._question, self._below = w.HTML(), w.HTML()
        super().__init__(state)

    def act(self, act: str, value: str) -> bool:
        """Take the engine that is to be shown."""
        if act != "fusion-engine":
            return False
        with self.state.lock:
            self._chosen = value
            self._changed()
        return True

    def draw(self) -> Sequence[w.Widget]:
        """Show the chosen engine's graph, lit where another tab selected something."""
        engines = engines_of(self.state)
        options = [(key, label) for key, (label, _, _) in engines.items()]
        if "a" in engines:
            options.insert(2, (_BOTH, "A and B side by side"))
        if self._chosen not in dict(options):
            self._chosen = "b"
        self._question.value = (
            "<div class='trtlab-question'><strong>What became of my graph?</strong>"
            "<span class='trtlab-spring'></span>"
            + choice("fusion-engine", options, self._chosen, "Which engine")
            + "</div>"
        )
        if not engines:
            self._below.value = not_there("Fusion", "nothing was built yet")
            return [self._question, self._below]
        keys = ("a", "b") if self._chosen == _BOTH else (self._chosen,)
        try:
            fusions = tuple(self.state.fusion(engines[k][1], of_ran=engines[k][2]) for k in keys)
            view, said = self._view(fusions)
        except TrtlabError as error:
            reason = not_there("Fusion", error.message, error.hint)
            self._below.value = card("The graph was not drawn", reason)
            return [self._question, self._below]
        view.theme = self.state.theme
        self._light(view)
        self._below.value = f"{sentence(said)}{self._buttons(view)}"
        return [self._question, view, self._below]

    def _view(self, fusions: tuple[Fusion, ...]) -> tuple[GraphView, str]:
        """Return the graph of these fusions with its sentence; the same one while they are."""
        key = tuple(map(id, fusions))
        if key not in self._views:
            view = graph(*fusions, height=HEIGHT)
            view.observe(self._picked, "selected")
            said = fusion_sentence(fusions[0])
            if len(fusions) == 2:
                said = engines_sentence(align(*fusions))
            self._views[key] = (view, fusions, said)
            while len(self._views) > MOST_VIEWS:
                self._views.popitem(last=False)[1][0].close()
        self._views.move_to_end(key)
        view, _, said = self._views[key]
        return view, said

    def _light(self, view: GraphView) -> None:
        """Select in the graph what is selected elsewhere, if the graph has it."""
        wanted = self.state.layer
        if wanted == _shared_key(view.selected):
            return
        names = [wanted] + [f"{side}:{wanted.partition(':')[2]}" for side in "BA"]
        self._lighting = True
        try:
            for name in names:
                with suppress(SpecError):  # this graph has no such node or layer
                    view.selected = name
                    return
            view.selected = ""
        finally:
            self._lighting = False

    def _picked(self, change: Any) -> None:
        with self.state.lock:
            if not self._lighting:
                self.state.update(layer=_shared_key(change["new"]))

    def _buttons(self, view: GraphView) -> str:
        off = "" if view.selected else "Select a node or a layer first."
        shown = button("Show in Layers", "tab", "layers", off=off)
        return f"<p class='trtlab-fusion-foot'>{shown}</p>"


def _shared_key(selected: str) -> str:
    """Return how the other tabs name what is selected: of two engines a layer is a layer."""
    side, _, name = selected.partition(":")
    return f"layer:{name}" if side in ("A", "B") else selected


def fusion_sentence(fusion: Fusion) -> str:
    """Say how many nodes became how many layers, and what is not known of them."""
    got = fusion.summary
    states, families = got["states"], got["families"]
    engine = "engine layer" if fusion.backend.lower().startswith("tensorrt") else "layer"
    before = counted(got["nodes"], "ONNX node")
    if fusion.graph_source == "names":
        before = f"{counted(got['nodes'], 'node')} (rebuilt from the layers' names)"
    parts = [f"{got['layers_with_nodes']:,} from your nodes"]
    added = {name: families.get(name, 0) for name in ("data movement", "sync, shape")}
    if total := sum(added.values()):
        words = {"data movement": "to move data", "sync, shape": "for order and shapes"}
        which = ", ".join(f"{n:,} {words[name]}" for name, n in added.items() if n)
        parts.append(f"{total:,} added by the builder ({which})")
    if unnamed := families.get("not named", 0):
        parts.append(f"{unnamed:,} for which no node is named")
    said = [f"{before} → {counted(got['layers'], engine)} (builder): {', '.join(parts)}."]
    gone = {"removed": "removed", "folded": "folded into constants"}
    if lost := [
        f"{counted(states[s], 'node')} {word}" for s, word in gone.items() if states.get(s)
    ]:
        said.append(f"{', '.join(lost)}.")
    for state, one, several in (
        ("unexplained", "no rule says what became of it", "no rule says what became of them"),
        ("opaque", "it lies in a region that the builder does not open",
         "they lie in regions that the builder does not open"),
    ):  # fmt: skip
        if number := states.get(state):
            part = share_text(number / got["nodes"])
            are, why = ("is", one) if number == 1 else ("are", several)
            said.append(f"{counted(number, 'node')} ({part}) {are} {state}: {why}.")
    return " ".join(said)
