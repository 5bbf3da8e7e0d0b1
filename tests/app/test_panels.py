"""Each tab alone in a cell, and what is refused there."""

import pytest

import trtlab
from tests.app.benches import a_run, text
from tests.making import measurement
from trtlab.app.panels import TABS
from trtlab.app.panels.base import Panel
from trtlab.app.state import State
from trtlab.errors import SpecError


@pytest.mark.parametrize("name", [panel.name for panel in TABS])
def test_every_tab_stands_alone(name):
    m = measurement()
    runs = [a_run(measurement=m), a_run("int8", measurement=m)]
    shown = getattr(trtlab.panels, name)(runs, baseline=runs[0], theme="dark")
    assert "This view was not drawn" not in text(shown)
    assert len(text(shown)) > 100
    assert "trtlab-dark" in shown._dom_classes
    assert shown.state.selected is runs[1]
    shown.close()


def test_one_run_is_enough_and_the_theme_is_the_pages():
    shown = trtlab.panels.overview(a_run(measurement=measurement()))
    assert shown.state.theme == "light"
    shown.frame.host_theme = "dark"
    assert shown.state.theme == "dark"
    shown.close()


def test_what_is_no_run_is_refused():
    with pytest.raises(SpecError, match="no run"):
        trtlab.panels.curves([measurement()])
    with pytest.raises(SpecError, match="no run to show"):
        trtlab.panels.curves([])
    with pytest.raises(AttributeError):
        trtlab.panels.nothing_like_it  # noqa: B018


def test_names_are_unique_and_listed():
    names = [panel.name for panel in TABS]
    assert len(set(names)) == len(names)
    assert dir(trtlab.panels) == sorted(names)


def test_a_panel_is_drawn_only_while_it_is_seen_and_once_for_a_change():
    drawn = []

    class Counting(Panel):
        name = "counting"
        title = "Counting"
        reads = ("runs", "selected")

        def draw(self):
            drawn.append(self.state.tab)
            return []

    state = State(tab="other")
    Counting(state)
    assert drawn == []
    run = a_run()
    state.update(runs=(run,), selected=run)
    assert drawn == []
    state.update(tab="counting")
    assert drawn == ["counting"]
    state.update(tab="other")
    state.update(tab="counting")
    assert len(drawn) == 1, "nothing changed meanwhile"
    state.update(runs=(run, a_run("int8")), selected=run)
    assert len(drawn) == 2
    state.update(theme="dark")
    assert len(drawn) == 2, "it does not read the theme"


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), trtlab.TrtlabError("bad", hint="mend")])
def test_a_panel_that_fails_says_so_and_does_not_take_the_others(error):
    class Failing(Panel):
        name = "failing"
        title = "Failing"

        def draw(self):
            raise error

    state = State(tab="failing")
    panel = Failing(state)
    assert "This view was not drawn" in text(panel)
    assert str(error.args[0]) in text(panel)
    assert "Traceback" not in text(panel)
