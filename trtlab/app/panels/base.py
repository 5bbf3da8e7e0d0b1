"""What every panel shares: it is drawn from the state alone, and only while it is seen."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import ipywidgets as w

from trtlab.app.state import State
from trtlab.errors import TrtlabError
from trtlab.record import Run
from trtlab.views.cards import card, sentence, twin
from trtlab.views.tables import Table
from trtlab.views.theme import Provenance
from trtlab.views.widgets.frame import Frame
from trtlab.views.widgets.plotly_view import PlotlyView


class Panel(w.VBox):
    """One tab. A subclass says its name, what it reads, and draws.

    Attributes:
        name: Its id: ``curves``.
        title: What the tab says.
        reads: Traits of the state that it is drawn from.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ("selected", "baseline", "runs", "theme")

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state
        self.add_class("trtlab-panel-body")
        self.add_class(f"trtlab-tab-{self.name}")
        self._stale = True
        state.listen(self._changed, *self.reads)
        state.listen(self._look, "tab")

    def draw(self) -> Sequence[w.Widget]:
        """Return what is shown now. Called with the state's lock held."""
        raise NotImplementedError

    def act(self, act: str, value: str) -> bool:  # noqa: ARG002 - most panels have no buttons
        """Do what a button of this panel means; False where it is not of this panel."""
        return False

    def _changed(self) -> None:
        self._stale = True
        self._look()

    def _look(self) -> None:
        if not self._stale or self.state.tab != self.name:
            return
        self._stale = False
        try:
            children = tuple(self.draw())
        except TrtlabError as error:
            children = (_failed(error.message, error.hint),)
        except Exception as error:  # noqa: BLE001 - a panel that fails must not take the others
            children = (_failed(f"{type(error).__name__}: {error}", "Please report it."),)
        self.children = children


def _failed(message: str, hint: str) -> w.HTML:
    text = html.escape(f"{message} {hint}")
    return w.HTML(card("This view was not drawn", f"<p role='alert'>{text}</p>"))


def text(body: str) -> w.HTML:
    """HTML as a widget."""
    return w.HTML(body)


def grid(children: Sequence[w.Widget], least_px: int = 380) -> w.Box:
    """Widgets beside each other, and below each other where the place is narrow."""
    box = w.Box(tuple(children))
    box.add_class("trtlab-grid")
    box.layout.grid_template_columns = f"repeat(auto-fit, minmax(min({least_px}px, 100%), 1fr))"
    return box


class Chart(w.VBox):
    """A card with a figure: its title, the picture, the finding, and the same as a table.

    It is made once by a panel and shown again with other figures: plotly then redraws in place.

    Args:
        title: What it shows.
        height: Of the picture in pixels.
    """

    def __init__(self, title: str, *, height: int = 300) -> None:
        super().__init__()
        self.add_class("trtlab-card")
        self._title, self._height = title, height
        self._head, self._below = w.HTML(), w.HTML()
        self._view: PlotlyView | None = None
        self.children: tuple[w.Widget, ...]

    def show(
        self,
        figure: Any,
        finding: str,
        *origins: Provenance,
        table: Table | None = None,
        theme: Any = "light",
        right: str = "",
        title: str = "",
    ) -> Chart:
        """Draw a figure; ``finding`` says in words what it shows."""
        self._head.value = _head(title or self._title, origins, right)
        if self._view is None:
            self._view = PlotlyView(figure, theme=theme, height=self._height, label=finding)
        else:
            with self._view.hold_sync():
                self._view.label, self._view.theme = finding, theme
                self._view.figure = figure
        self._below.value = sentence(finding) + ("" if table is None else twin(table))
        self.children = (self._head, self._view, self._below)
        return self

    def say(self, body: str, *origins: Provenance, title: str = "") -> Chart:
        """Say why there is no picture; ``body`` is HTML."""
        self._head.value = _head(title or self._title, origins, "")
        self._below.value = body
        self.children = (self._head, self._below)
        return self

    @property
    def view(self) -> PlotlyView | None:
        """The picture; None before the first."""
        return self._view


def _head(title: str, origins: Sequence[Provenance], right: str) -> str:
    """Only the head of a card: the card itself is the box around it."""
    whole = card(title, "", *origins, right=right)
    return whole[whole.index("<div class='trtlab-card-head'>") : whole.index("</section>")]


class Screen(w.VBox):
    """A box that panels can stand in: it has the stylesheet, the theme and the frame.

    Args:
        state: What the panels read.
        children: What it holds.
        on_act: Called with what a drawn button means and its value.
    """

    def __init__(
        self, state: State, children: Sequence[w.Widget], on_act: Callable[[str, str], None]
    ) -> None:
        self.state = state
        self.frame = Frame(on_act)
        super().__init__((*children, self.frame))
        for name in ("trtlab", "trtlab-screen"):
            self.add_class(name)
        self.frame.observe(self._host_told, "host_theme")
        state.listen(self._take_looks, "theme", "large", "keys")

    def _host_told(self, change: Any) -> None:
        if self.state.theme_choice == "host":
            self.state.update(theme=change["new"])

    def _take_looks(self) -> None:
        # ipywidgets sets classes but no attributes: the stylesheet knows dark by its class too.
        for name, on in (("trtlab-dark", self.state.theme == "dark"),
                         ("trtlab-large", self.state.large)):  # fmt: skip
            (self.add_class if on else self.remove_class)(name)
        self.frame.single_keys = self.state.keys


def alone(panel: type[Panel], runs: Sequence[Run], baseline: Run | None, theme: Any) -> Screen:
    """Return a panel for a cell of its own, about the last of these runs."""
    state = State(theme=theme or "light", theme_choice=theme or "host")
    made = panel(state)
    state.update(
        runs=tuple(runs), selected=runs[-1] if runs else None, baseline=baseline, tab=panel.name
    )

    def act(name: str, value: str) -> None:
        run = state.numbered(value)
        if name == "select" and run is not None:
            state.update(selected=run)
        else:
            made.act(name, value)

    return Screen(state, (made,), act)
