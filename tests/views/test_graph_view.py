"""The widget's kernel side, and the same view as one file."""

import json
import re

import pytest

import trtlab
from tests.drawing import drawn, residual, tower
from trtlab.errors import SpecError
from trtlab.views.graph.scene import scene
from trtlab.views.pages.fusion_page import fusion_page
from trtlab.views.theme import TOKENS
from trtlab.views.widgets.graph_view import MODULE, GraphView

NASTY = "</script><script>alert(1)</script><img/src=x/onerror=alert(2)>"


def sent(view):
    """What changes are sent to the page, by name."""
    seen = []
    view.observe(lambda change: seen.append(change["name"]))
    return seen


def test_the_scene_is_sent_once_and_nothing_else_sends_it_again():
    fusion = residual()
    view = trtlab.graph(fusion, theme="dark", height=500)
    assert isinstance(view, GraphView)
    state = view.get_state()
    assert json.loads(state["_scene"]) == scene(fusion)
    assert (state["theme"], state["height"], state["selected"]) == ("dark", 500, "")
    seen = sent(view)
    view.theme, view.colour, view.height, view.selected = "light", "stream", 400, "add"
    assert set(seen) == {"theme", "colour", "height", "selected"}


def test_both_themes_are_there_so_that_a_change_sends_nothing_more():
    palette = GraphView(residual())._palette
    for theme, tokens in TOKENS.items():
        assert palette[theme]["bg"] == tokens.bg
        assert palette[theme]["kinds"]["conv chain"].startswith("#")


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("c2", "node:c2"),
        ("node:c2", "node:c2"),
        ("second", "layer:second"),
        ("layer:second", "layer:second"),
        ("G2", "layer:second"),
        ("", ""),
    ],
)
def test_selected_takes_names_and_tags_and_says_which_of_both_it_is(given, known):
    view = GraphView(residual(), theme="light")
    view.selected = given
    assert view.selected == known


def test_a_node_and_a_layer_of_one_name_are_two():
    fusion = drawn([("same", "Conv", "x")], [("same", "conv", "same")])
    view = GraphView(fusion)
    view.selected = "same"
    assert view.selected == "node:same"
    view.selected = "layer:same"
    assert view.selected == "layer:same"


def test_the_second_layer_of_a_name_has_a_number():
    fusion = drawn([("a", "Op", "x"), ("b", "Op", "a")], [("same", "k", "a"), ("same", "k", "b")])
    view = GraphView(fusion)
    view.selected = "layer:same#2"
    assert view.selected == "layer:same#2"
    assert scene(fusion)["layers"]["copy"] == [1, 2]


@pytest.mark.parametrize(
    "wrong", [{"selected": "nobody"}, {"theme": "sepia"}, {"height": 10}, {"colour": "taste"}]
)
def test_what_is_not_there_is_refused_with_a_hint(wrong):
    view = GraphView(residual())
    before = view.get_state()
    with pytest.raises(SpecError) as caught:
        view.set_trait(*next(iter(wrong.items())))
    assert caught.value.hint
    assert view.get_state() == before


def test_a_colour_without_values_is_refused_with_its_reason():
    view = GraphView(residual())
    with pytest.raises(SpecError, match="built, not run"):
        view.colour = "time"


def test_the_module_is_moderate_and_reaches_for_nothing():
    assert len(MODULE.encode()) < 64_000
    assert str(GraphView(residual())._esm) == MODULE
    assert MODULE.rstrip().endswith("export default { render };")
    assert "</script" not in MODULE
    for word in ("http", "fetch(", "XMLHttp", "WebSocket", "import(", "eval(", "Function(",
                 "innerHTML", "outerHTML", "insertAdjacent", "document.write"):  # fmt: skip
        assert word not in MODULE, word


def test_a_saved_notebook_grows_with_the_graph_and_not_beyond():
    small, large = (len(json.dumps(GraphView(tower(n)).get_state())) for n in (10, 60))
    nodes = 6 * 50
    assert (large - small) / nodes < 1_200


def test_the_page_holds_the_module_and_the_scene_and_names_no_address():
    text = fusion_page(residual(), theme="dark")
    assert MODULE in text
    assert 'theme: "dark"' in text
    assert not re.search(r"(?:src|href)\s*=|@import|https?:", text)
    held = re.search(r'<script type="application/json" id="scene">(.*?)</script>', text, re.S)
    assert json.loads(held[1]) == scene(residual())


def test_what_is_no_fusion_cannot_be_drawn():
    with pytest.raises(SpecError, match="A dict cannot be drawn"):
        trtlab.graph({})


def test_the_page_forbids_its_own_browser_every_request():
    assert "content=\"default-src 'none'; script-src 'unsafe-inline';" in fusion_page(residual())


def test_names_cannot_leave_their_place_in_the_page():
    fusion = drawn([(NASTY, "Conv", "x")], [(NASTY, NASTY, NASTY)])
    text = fusion_page(fusion)
    assert "<script>alert" not in text
    assert "<img" not in text
    assert text.count("</script>") == text.count("<script")
    held = re.search(r'<script type="application/json" id="scene">(.*?)</script>', text, re.S)
    assert json.loads(held[1])["nodes"]["name"] == [NASTY]
