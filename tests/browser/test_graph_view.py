"""GraphView in a real JupyterLab, and the same view as a file that is opened without a server."""

import pytest
from playwright.sync_api import expect

from tests.drawing import apart, drawn, residual, tower
from trtlab.views.pages.fusion_page import fusion_page

pytestmark = pytest.mark.browser

WAIT_MS = 15_000
NASTY = "</script><img/src=x/onerror=window.hacked=1>\x1b[2J\u202e'\"" + "x" * 10_000
FIRST_LAYER = 95
"""Pixels below the top of the drawing: in the first layer, at every zoom of the first view."""


def ready(page, count=1):
    views = page.locator('.trtlab-graph[data-ready="1"]')
    expect(views).to_have_count(count, timeout=WAIT_MS)
    return views


def click_first_layer(view):
    canvas = view.get_by_role("application")
    canvas.click(position={"x": canvas.bounding_box()["width"] * 0.75, "y": FIRST_LAYER})


def selected(lab, page):
    return lab.execute(page, "print(view.selected)")


def test_selection_goes_both_ways_in_lab(lab, artifact):
    path = lab.notebook(
        "import trtlab\n"
        "from tests.drawing import residual\n"
        "view = trtlab.graph(residual(), height=420)\n"
        "view",
        "view",
    )
    page = lab.open(path)
    lab.run_all(page)
    views = ready(page, 2)
    first, second = views.nth(0), views.nth(1)
    first.scroll_into_view_if_needed()
    expect(first.get_by_text("Before: 6 ONNX nodes")).to_be_visible()
    artifact(page, "graph-view-lab")

    click_first_layer(first)
    expect(first.get_by_role("heading", level=3)).to_have_text("G1: 2 nodes → 1 layer")
    expect(second.get_by_role("heading", level=3)).to_have_text("G1: 2 nodes → 1 layer")
    assert selected(lab, page) == "layer:first"
    click_first_layer(first)
    assert selected(lab, page) == "layer:first", "selecting moved what was under the pointer"

    lab.execute(page, "view.selected = 'add'")
    expect(first.get_by_role("heading", level=3)).to_have_text("Add")
    expect(first.locator("[aria-live]")).to_have_text("Node add, Add: in layer G2 second")

    first.get_by_role("application").focus()
    page.keyboard.press("]")
    expect(first.get_by_role("heading", level=3)).to_have_text("G3: 1 node → 1 layer")
    for key in ("0", "0", "ArrowUp"):  # to Lab two zeros mean: restart the kernel
        page.keyboard.press(key)
    expect(first.get_by_role("heading", level=3)).to_have_text("G2: 3 nodes → 1 layer")
    expect(page.locator(".jp-Dialog")).to_have_count(0)

    page.keyboard.press("/")
    page.keyboard.type("conv t [")
    expect(first.get_by_role("status")).to_have_text("no hits")
    first.get_by_role("searchbox").fill("conv")
    expect(first.get_by_role("status")).to_have_text("2 hits")
    page.keyboard.press("Enter")
    expect(first.get_by_role("status")).to_have_text("1 of 2")
    assert selected(lab, page) == "node:c1"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert selected(lab, page) == ""

    lab.execute(page, "view.theme = 'dark'")
    expect(first).to_have_css("background-color", "rgb(18, 23, 28)")
    artifact(page, "graph-view-lab-dark")


@pytest.fixture
def offline(page, tmp_path):
    """Opens a fusion's page; nothing but the file itself may be asked for, nothing may fail."""
    seen, asked = [], []
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(20_000)

    def opened(*fusions, **settings):
        path = tmp_path / "fusion.html"
        path.write_text(fusion_page(*fusions, **settings), encoding="utf-8")
        page.goto(path.as_uri())
        return ready(page).first

    yield opened
    assert seen == []
    assert set(asked) == {(tmp_path / "fusion.html").as_uri()}


def test_blocks_open_and_fold_and_focus_shows_the_neighbourhood(offline, artifact):
    view = offline(tower(30), theme="dark")
    page = view.page
    expect(view).to_have_attribute("data-theme", "dark")
    artifact(page, "graph-page-folded")
    view.get_by_role("application").click(position={"x": 200, "y": 100})  # the first bar
    view.get_by_role("application").press("Enter")
    chosen = view.get_by_role("heading", level=3)
    expect(chosen).not_to_contain_text("digits")
    view.get_by_role("button", name="Show only what is near").click()
    expect(view.get_by_text("Back to all")).to_be_visible()
    page.keyboard.press("Escape")
    expect(view.get_by_text("Focus on")).to_be_visible()
    view.get_by_role("button", name="Fold or open all blocks").click()
    expect(view.get_by_text("Fold all")).to_be_visible()
    page.get_by_role("button", name="Light or dark").click()
    expect(view).to_have_attribute("data-theme", "light")


def test_the_table_says_the_same_and_selects(offline):
    view = offline(residual())
    view.get_by_role("button", name="The same as a table").click()
    expect(view.get_by_role("table")).to_have_count(1)
    expect(view.get_by_role("row")).to_have_count(4)
    view.get_by_role("button", name="group G2: c2, add, r2 to layer second").click()
    expect(view.get_by_role("heading", level=3)).to_have_text("G2: 3 nodes → 1 layer")


def test_hostile_names_are_text(offline, artifact):
    fusion = drawn(
        [(NASTY, NASTY, "x"), ("after", "Relu", NASTY)],
        [(NASTY, NASTY, NASTY), ("l", "k", "after")],
    )
    view = offline(fusion)
    page = view.page
    view.get_by_role("searchbox").fill("onerror")
    expect(view.get_by_role("status")).to_have_text("2 hits")
    page.keyboard.press("Enter")
    name = view.locator("code").first
    expect(name).to_contain_text("\\u001b[2J\\u202e")
    expect(name).to_contain_text("x" * 10_000)
    artifact(page, "graph-page-hostile")
    view.get_by_role("button", name="The same as a table").click()
    assert page.evaluate("window.hacked ?? 0") == 0
    assert view.locator("img").count() == 0
    assert view.evaluate("root => root.scrollWidth <= root.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_two_engines_are_selected_and_searched_by_sets(offline, artifact):
    view = offline(residual(), apart())
    page = view.page
    expect(view.get_by_text("A: 3 layers by", exact=False)).to_be_visible()
    click_first_layer(view)
    chosen = view.get_by_role("heading", level=3).first
    expect(chosen).to_have_text("S1: 1 layer in A, 2 in B")
    expect(view.locator("[aria-live]")).to_contain_text(
        "in B, in set S1: 1 layer in A, 2 in B, together"
    )
    page.keyboard.press("Enter")
    expect(view.locator("[aria-live]")).to_contain_text("Layer first in A, in set S1")
    artifact(page, "graph-page-pair")
    view.get_by_role("searchbox").fill("relu")
    expect(view.get_by_role("status")).to_have_text("1 hit")
    view.get_by_role("button", name="The same as a table").click()
    expect(view.get_by_role("row")).to_have_count(4)
    view.get_by_role("button", name="S3").click()
    expect(chosen).to_have_text("S3: 1 layer in A, 1 in B")


def test_nothing_to_draw_and_cycles_are_no_errors(offline):
    offline(drawn([]))
    view = offline(drawn([("a", "Op", "b"), ("b", "Op", "a")], [("l", "k", "a"), ("m", "k", "b")]))
    view.get_by_role("application").press("Enter")
    expect(view.get_by_role("heading", level=3)).to_have_text("Op")
