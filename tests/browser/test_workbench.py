"""The workbench as its user meets it: opened, filled, built, swept, looked at, taken away."""

import re
import shutil
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.screens import DEMO, DIGITS, TABS, WAIT_MS, Screen

pytestmark = pytest.mark.browser

NOTEBOOK = Path(__file__).parent.parent.parent / "notebooks" / "00_workbench.ipynb"

COUNT_AS_THEY_COME = """screen => {
  window.seen = { rows: new Set(), busy: new Set() };
  const look = () => {
    const rows = [...screen.querySelectorAll('.trtlab-points tbody tr')];
    const done = rows.filter(row => /done/.test(row.textContent)).length;
    if (rows.length) window.seen.rows.add(done);
    const stop = screen.querySelector('.trtlab-stop');
    const points = screen.querySelectorAll('.trtlab-plotly')[0]
      ?.querySelectorAll('.scatterlayer .point').length ?? 0;
    if (!stop.disabled && points) window.seen.busy.add(points);
  };
  new MutationObserver(look).observe(screen, { childList: true, subtree: true });
}"""


def test_the_notebook_runs_and_its_demo_is_marked_recorded(lab, artifact):
    path = lab.server.folder / "00_workbench.ipynb"
    shutil.copy(NOTEBOOK, path)
    page = lab.open(path)
    lab.run_all(page)
    lab.output(page, 1)
    screen = Screen(page)
    expect(screen.root.get_by_role("heading", level=2)).to_have_text(
        "See what TensorRT makes of your network"
    )
    expect(screen.root.get_by_role("tab")).to_have_count(8)
    expect(screen.root.locator("[role=tab]:disabled")).to_have_count(8)
    expect(screen.root.get_by_role("heading", name="What this machine can do")).to_be_visible(
        timeout=WAIT_MS
    )
    artifact(page, "workbench-empty")
    screen.button("Open the demo").click()
    screen.expect_tab("overview")
    expect(screen.root.locator(".trtlab-head")).to_contain_text("Recorded on")
    expect(screen.run_bar.get_by_title("recorded").first).to_be_visible()
    expect(screen.rail.get_by_role("button", name="Build & measure")).to_be_disabled()
    expect(screen.figures().first).to_be_visible()
    artifact(page, "workbench-overview")
    screen.button("Make it live").click()
    expect(screen.state_line).not_to_contain_text("Recorded", timeout=WAIT_MS)
    expect(screen.root.locator(".trtlab-head")).not_to_contain_text("Recorded on")
    screen.button("Stop").first.click()
    expect(screen.rail.get_by_role("button", name="Stop")).to_be_disabled(timeout=WAIT_MS)
    path.unlink()


def test_every_tab_of_the_demo_is_drawn(lab, artifact):
    page = lab.open(lab.notebook(DEMO))
    lab.run_all(page)
    screen = Screen(page)
    for tab in TABS:
        screen.tab(tab)
        if tab in ("overview", "curves"):
            expect(screen.figures().first).to_be_visible()
        if tab == "fusion":
            expect(screen.root.locator('.trtlab-graph[data-ready="1"]')).to_be_visible()
        artifact(page, f"workbench-{tab}")


def test_controls_build_nothing_and_one_press_builds_and_measures(rtx, lab, artifact):
    page = lab.open(lab.notebook(DIGITS.format(", batches=(1, 4, 9)")))
    lab.run_all(page)
    screen = Screen(page)
    screen.opened()
    screen.build()
    expect(screen.status).to_have_text("Ready")
    for tab in TABS:
        expect(screen.tab(tab)).not_to_be_empty()

    screen.rail.get_by_role("button", name="INT8", exact=True).click()
    expect(screen.state_line).to_have_text("● Not built yet: FP32 → INT8")
    screen.type("Batch, max", "12")
    expect(screen.state_line).to_contain_text("batches 1 · 4 · 9 → 1 · 4 · 12")
    screen.rail.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    expect(screen.state_line).to_contain_text("workspace default → 64")
    expect(screen.rail.locator(".trtlab-changed")).to_have_count(3)
    assert lab.execute(page, "print(len(bench.runs), bench.state.busy)") == "1 False"

    # What was asked for before answers at once: from the store, with nothing built.
    screen.rail.get_by_role("button", name="FP32", exact=True).click()
    page.keyboard.press("Tab")
    screen.type("Batch, max", "9")
    screen.rail.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    expect(screen.state_line).to_contain_text("✓ Built: controls match run 1")
    assert lab.execute(page, "print(len(bench.runs), bench.jobs._state.job_title)").startswith(
        "1 Building FP32"
    )


def test_a_sweep_shows_its_points_as_they_come_and_stops_at_once(rtx, lab, artifact):
    page = lab.open(lab.notebook(DIGITS.format(", batches=(1, 4, 8)")))
    lab.run_all(page)
    screen = Screen(page)
    screen.opened()
    screen.build()
    screen.tab("curves")
    screen.root.evaluate(COUNT_AS_THEY_COME)
    screen.rail.get_by_role("button", name="Sweep…").click()
    asked = screen.root.locator(".trtlab-sweep")
    expect(asked).to_contain_text("4 points, 1 of them known")
    screen.button("Start sweep").click()
    expect(screen.job.get_by_role("progressbar").first).to_be_visible()
    artifact(page, "workbench-building")
    assert lab.execute(page, "print(6 * 7)") == "42", "the kernel stays usable"
    expect(screen.status).to_have_text("Ready", timeout=WAIT_MS)
    seen = page.evaluate("({ rows: [...seen.rows], busy: [...seen.busy] })")
    assert {1, 2, 3} <= set(seen["rows"]), seen
    assert len(seen["busy"]) >= 3, seen
    expect(screen.panel.locator("tbody tr").filter(has_text="FP32")).not_to_have_count(0)
    assert lab.execute(page, "print(len(bench.runs))") == "4"

    lab.execute(page, "bench.state.update(quick=False, measure_at=(1, 2, 4, 8))")
    screen.rail.get_by_role("button", name="Build & measure").click()
    expect(screen.job.get_by_role("progressbar").nth(2)).to_be_visible()
    assert lab.execute(page, "print(bench.state.busy)") == "True"
    stop = screen.rail.get_by_role("button", name="Stop")
    pressed = time.monotonic()
    stop.click()
    expect(screen.status).to_contain_text(
        re.compile(r"Stopped (after \d of 4 points|before the first point)")
    )
    assert time.monotonic() - pressed < 3, "1 s is asked for; the rest is for a busy machine"
    expect(stop).to_be_disabled()
    assert lab.execute(page, "print(6 * 7)") == "42"


def test_a_layer_that_is_selected_is_lit_in_the_graph_and_found_again(lab, artifact):
    page = lab.open(lab.notebook(DEMO))
    lab.run_all(page)
    screen = Screen(page)
    layers = screen.tab("layers")
    rows = layers.locator("tr[data-act=layer]")
    other = rows.filter(has=page.locator("b", has_text=re.compile("^G5$"))).first
    other_tag = other.locator("b").first.inner_text()
    node = other.locator(".trtlab-layers-made").get_attribute("title").partition(",")[0]
    rows.filter(has=page.locator("b", has_text=re.compile("^G2$"))).first.click()
    chosen = layers.locator("tr[aria-selected=true]")
    expect(chosen).to_have_count(1)
    tag = chosen.locator("b").first.inner_text()
    key = f"layer:{chosen.locator('code').get_attribute('title')}"
    assert (tag, other_tag) == ("G2", "G5")
    fusion = screen.tab("fusion")
    graph = fusion.locator('.trtlab-graph[data-ready="1"]')
    expect(graph.get_by_role("heading", level=3).first).to_contain_text("G2: ")
    lit = "print(bench._panels['fusion'].children[1].selected)"
    assert lab.execute(page, lit) == lab.execute(page, "print(bench.state.layer)") == key

    # Search inside the tab, and what it finds is selected in Layers.
    graph.get_by_role("application").focus()
    page.keyboard.press("/")
    search = graph.get_by_role("searchbox")
    expect(search).to_be_focused()
    page.keyboard.type(node)
    expect(graph.get_by_role("status")).to_have_text(re.compile(r"\d+ hits?$"))
    screen.expect_tab("fusion")
    page.keyboard.press("Enter")
    expect(graph.get_by_role("status")).to_have_text(re.compile(r"1 of \d+"))
    expect(graph.get_by_role("heading", level=3).first).not_to_contain_text(f"{tag}: ")
    assert lab.execute(page, "print(bench.state.layer)") == lab.execute(page, lit) != key
    artifact(page, "workbench-search")
    screen.button("Show in Layers").click()
    screen.expect_tab("layers")
    # A node may be in several layers: each of them is marked, and the one before no longer.
    expect(chosen.locator("b", has_text=re.compile(f"^{other_tag}$"))).to_have_count(1)
    expect(chosen.locator("b", has_text=re.compile(f"^{tag}$"))).to_have_count(0)


def test_two_runs_are_compared_and_taken_away(lab, artifact):
    page = lab.open(lab.notebook(DEMO))
    lab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    lab.run_all(page)
    screen = Screen(page)
    table = screen.tab("export").locator("[data-rows=runs]").first
    expect(table).to_be_visible()
    count = table.locator("tbody tr").count()
    assert count > 10
    screen.button("unpin").click()
    expect(screen.run_bar).to_contain_text("no baseline")
    screen.tab("compare")
    expect(screen.panel).to_contain_text(re.compile("[Pp]in"))
    artifact(page, "workbench-compare-alone")
    screen.panel.get_by_role("button", name=re.compile(r"Pin run \d+ as A")).first.click()
    expect(screen.run_bar).not_to_contain_text("no baseline")
    expect(screen.panel.get_by_text("Settings").first).to_be_visible()
    artifact(page, "workbench-compare")

    screen.tab("export")
    screen.panel.get_by_role("button", name="Copy").first.click()
    code = screen.panel.locator("[data-text=cell]").inner_text()
    page.wait_for_function("async text => await navigator.clipboard.readText() === text", arg=code)
    assert "trtlab" in code
    page.evaluate("navigator.clipboard.writeText('')")
    screen.tab("overview")
    screen.root.locator("[role=tab][aria-selected=true]").press("c")
    page.wait_for_function("async text => await navigator.clipboard.readText() === text", arg=code)

    screen.tab("export")
    before = set(lab.server.folder.glob("*.trtlab"))
    line = screen.panel.locator(".trtlab-take-row").filter(has_text="Bundle")
    line.get_by_role("button", name="Save").click()
    expect(screen.root.locator(".trtlab-saved")).to_contain_text(
        re.compile(r"Saved .*trtlab .* beside the notebook"), timeout=WAIT_MS
    )
    artifact(page, "workbench-saved")
    (bundle,) = set(lab.server.folder.glob("*.trtlab")) - before
    other = lab.open(
        lab.notebook(f"import trtlab\nbench = trtlab.Workbench.recorded({bundle.name!r})\nbench")
    )
    lab.run_all(other)
    opened = Screen(other)
    expect(opened.root.locator(".trtlab-head")).to_contain_text("Recorded on")
    rows = opened.tab("export").locator("[data-rows=runs]").first.locator("tbody tr")
    expect(rows).to_have_count(count)
