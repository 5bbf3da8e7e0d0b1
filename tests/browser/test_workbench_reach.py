"""The workbench for everybody: keyboard only, dark, axe, small windows."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.screens import DEMO, DIGITS, TABS, WAIT_MS, Screen

pytestmark = pytest.mark.browser

DARK = "rgb(18, 23, 28)"
TALL = 2600
"""Pixels: all of a tab is in view, for axe cannot judge the contrast of what is scrolled away."""


def host_theme(page, name):
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })",
        f"JupyterLab {name}",
    )
    light = str(name == "Light").lower()
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", light)
    # Lab fails on a second change while it still takes the curtain of the first one away.
    expect(page.locator("#jupyterlab-splash")).to_have_count(0)


def test_dark_follows_the_host_until_the_switch_is_used(lab, artifact):
    page = lab.open(lab.notebook(DEMO))
    lab.run_all(page)
    screen = Screen(page)
    expect(screen.figures().first).to_be_visible()
    light = screen.root.evaluate("one => getComputedStyle(one).backgroundColor")
    try:
        host_theme(page, "Dark")
        expect(screen.root).to_have_css("background-color", DARK)
        axis = screen.figures().first.locator(".xtick text").first
        expect(axis).to_have_css("fill", "rgb(157, 171, 183)")
        graph = screen.tab("fusion").locator('.trtlab-graph[data-ready="1"]')
        expect(graph).to_have_css("background-color", DARK)
        artifact(page, "workbench-dark")
        screen.button("Light").click()
        expect(screen.root).to_have_css("background-color", light)
        expect(graph).not_to_have_css("background-color", DARK)
        host_theme(page, "Light")
        host_theme(page, "Dark")
        expect(screen.root).to_have_css("background-color", light)
        assert lab.execute(page, "print(bench.state.theme)") == "light"
    finally:
        host_theme(page, "Light")


# Keyboard only


def named(page):
    """What has the focus, in words."""
    return page.evaluate(
        """() => {
          const one = document.activeElement;
          return [one.getAttribute('aria-label'), one.title, one.closest('[title]')?.title,
                  one.textContent].find(Boolean)?.trim() ?? '';
        }"""
    )


def tabbed(page, end, most=60):
    """Press Tab until the focus is on what is named so; return all that was met."""
    met = []
    for _ in range(most):
        page.keyboard.press("Tab")
        met.append(named(page))
        if met[-1].startswith(end):
            return met
    raise AssertionError(f"{end} was not met by Tab, only {met}")


def test_the_rail_is_worked_with_the_keyboard_alone(rtx, lab):
    page = lab.open(lab.notebook(DIGITS.format(", batches=(1, 2, 10)")))
    lab.run_all(page)
    screen = Screen(page)
    screen.opened()
    screen.button("?").focus()
    met = tabbed(page, "Workspace limit")
    for part in ("Model", "Build and run in FP32", "Batch, min", "Batch, max", "Batch sizes"):
        assert any(one.startswith(part) for one in met), (part, met)
    page.keyboard.press("ArrowLeft")
    expect(screen.rail.locator(".trtlab-section-workspace .trtlab-label")).to_contain_text("64")
    page.keyboard.press("ArrowRight")
    expect(screen.rail.locator(".trtlab-section-workspace .trtlab-label")).to_contain_text(
        "default"
    )
    met = tabbed(page, "Build & measure")
    for part in ("Build with", "Target", "Run with"):
        assert any(one.startswith(part) for one in met), (part, met)
    page.keyboard.press("Enter")
    expect(screen.state_line).to_contain_text("✓ Built", timeout=WAIT_MS)
    # The button was off while it built: the keyboard is not lost for it.
    assert page.evaluate("document.activeElement.closest('.trtlab-workbench') !== null")


def test_single_keys_arrows_and_f6(rtx, lab, artifact):
    page = lab.open(lab.notebook(DIGITS.format(", batches=(1, 2, 11)"), "1 + 1"))
    lab.run_all(page)
    lab.output(page, 0)
    screen = Screen(page)
    screen.opened()
    press = page.keyboard.press
    screen.button("?").focus()
    press("b")
    expect(screen.state_line).to_contain_text("✓ Built", timeout=WAIT_MS)
    for number, tab in enumerate(TABS, 1):
        press(str(number))
        screen.expect_tab(tab)
    chosen = screen.root.locator("[role=tab][aria-selected=true]")
    chosen.focus()
    for key, tab in (
        ("Home", "overview"),
        ("ArrowRight", "curves"),
        ("ArrowLeft", "overview"),
        ("ArrowLeft", "overview"),
        ("End", "export"),
        ("ArrowLeft", "compare"),
    ):
        press(key)
        screen.expect_tab(tab)
        expect(chosen).to_be_focused()

    press("p")
    expect(screen.run_bar).not_to_contain_text("no baseline")
    press("?")
    keys = screen.root.get_by_role("heading", name="Keys, while focus is in the workbench")
    expect(keys).to_be_visible()
    artifact(page, "workbench-keys")
    press("Escape")
    expect(keys).to_have_count(0)
    press("s")
    expect(screen.root.locator(".trtlab-sweep")).to_be_visible()
    press("Escape")
    expect(screen.root.locator(".trtlab-sweep")).to_have_count(0)

    for place in (".trtlab-panel", ".trtlab-rail", "[role=tablist]", ".trtlab-panel"):
        press("F6")
        inside = "place => document.activeElement.closest(place) !== null"
        page.wait_for_function(inside, arg=place)

    # Rows of a table
    press("3")
    screen.expect_tab("layers")
    rows = screen.panel.locator("tr[data-act=layer]")
    rows.first.focus()
    press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    press("Enter")
    expect(rows.nth(1)).to_have_attribute("aria-selected", "true")
    expect(rows.nth(1)).to_be_focused()
    press("ArrowUp")
    expect(rows.first).to_be_focused()

    # A text field takes letters as letters.
    field = screen.field("Batch sizes to measure")
    field.fill("")
    page.keyboard.type("bs?1p8")
    expect(field).to_have_value("bs?1p8")
    field.fill("2")
    screen.expect_tab("layers")
    expect(screen.root.locator(".trtlab-sweep")).to_have_count(0)
    expect(keys).to_have_count(0)
    # None of these keys was one for the notebook: there, b adds a cell and 1 makes it a heading.
    expect(page.locator(".jp-Cell")).to_have_count(2)
    expect(page.locator(".jp-MarkdownCell")).to_have_count(0)
    assert lab.execute(page, "print(len(bench.runs), bench.state.busy)") == "1 False"

    # Esc twice stops.
    lab.execute(page, "bench.state.update(quick=False, measure_at=(1, 2, 4, 8))")
    chosen.focus()
    press("b")
    expect(screen.job.get_by_role("progressbar").first).to_be_visible()
    press("Escape")
    press("Escape")
    expect(screen.status).to_contain_text("Stopped ", timeout=WAIT_MS)


def test_the_notebooks_own_keys_stay_with_it(lab):
    page = lab.open(lab.notebook(DEMO, "print('next')"))
    lab.run_all(page)
    lab.output(page, 0)
    screen = Screen(page)
    screen.tab("curves")
    chosen = screen.root.locator("[role=tab][aria-selected=true]")
    dirty = "() => window.jupyterapp.shell.currentWidget.context.model.dirty"
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.context.model.dirty = true; }")
    chosen.focus()
    page.keyboard.press("Control+s")
    page.wait_for_function(f"() => !({dirty})()")
    before = screen.root.element_handle()
    chosen.focus()
    page.keyboard.press("Shift+Enter")
    page.wait_for_function("one => !one.isConnected", arg=before)
    Screen(page).expect_tab("overview")


# axe


def faults(page, where):
    """Serious and critical findings of axe inside the workbench, in words."""
    found = Axe().run(page, ".trtlab-workbench", {"resultTypes": ["violations"]}).response
    return [
        f"{where}: {one['id']} ({one['impact']}): {node['target']}\n    {node['html'][:200]}\n"
        f"    {node['failureSummary'][:300]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def test_axe_finds_nothing_serious_on_any_tab(lab):
    page = lab.open(lab.notebook(DEMO.replace("()", f"(height={TALL})")))
    page.set_viewport_size({"width": 1600, "height": TALL + 400})
    lab.run_all(page)
    screen = Screen(page)
    found = []
    for theme in ("light", "dark"):
        for tab in TABS:
            screen.tab(tab)
            if tab == "fusion":
                expect(screen.root.locator('.trtlab-graph[data-ready="1"]')).to_be_visible()
            found += faults(page, f"{tab}, {theme}")
        screen.button("Dark" if theme == "light" else "Light").click()
    assert not found, "\n".join(found)


def test_axe_finds_nothing_serious_in_other_states(rtx, lab):
    cell = f"import trtlab\nbench = trtlab.Workbench(height={TALL})\nbench"
    page = lab.open(lab.notebook(cell))
    page.set_viewport_size({"width": 1600, "height": TALL + 400})
    lab.run_all(page)
    screen = Screen(page)
    expect(screen.root.get_by_role("heading", name="What this machine can do")).to_be_visible()
    found = []
    for theme in ("light", "dark"):
        found += faults(page, f"first screen, {theme}")
        screen.button("Dark" if theme == "light" else "Light").click()
    screen.type("Model", "missing.onnx")
    expect(screen.error).to_be_visible()
    screen.button("?").click()
    for theme in ("light", "dark"):
        found += faults(page, f"error and keys, {theme}")
        screen.button("Dark" if theme == "light" else "Light").click()
    screen.button("?").click()
    screen.type("Model", "zoo:digits")
    screen.opened()
    found += faults(page, "open model, light")
    screen.rail.get_by_role("button", name="Sweep…").click()
    expect(screen.root.locator(".trtlab-sweep")).to_be_visible()
    screen.rail.get_by_role("button", name="▸ Measuring").click()
    for theme in ("light", "dark"):
        found += faults(page, f"sweep and measuring, {theme}")
        screen.button("Dark" if theme == "light" else "Light").click()
    lab.execute(
        page, "bench.state.update(quick=False, batches=(1, 2, 14), measure_at=(1, 2, 4, 8, 14))"
    )
    screen.rail.get_by_role("button", name="Build & measure").click()
    expect(screen.job.get_by_role("progressbar").nth(2)).to_be_visible()
    for theme in ("light", "dark"):
        found += faults(page, f"job, {theme}")
        screen.button("Dark" if theme == "light" else "Light").click()
    assert lab.execute(page, "print(bench.state.busy)") == "True", "axe looked at a job"
    screen.rail.get_by_role("button", name="Stop").click()
    expect(screen.status).to_contain_text("Stopped ")
    assert not found, "\n".join(found)


# Small windows


IN_ITS_BAR = """tab => tab.getBoundingClientRect().right
  <= tab.closest('[role=tablist]').getBoundingClientRect().right"""


def wide(one):
    """What is wider than its place in a screen, [] for nothing."""
    return one.evaluate(
        """screen => [screen, ...screen.querySelectorAll('.trtlab-panel,.trtlab-rail,.trtlab-body,'
            + '.trtlab-controls,.trtlab-right,.trtlab-panel-body')]
          .filter(one => one.scrollWidth > one.clientWidth + 1)
          .map(one => `${one.className}: ${one.scrollWidth} > ${one.clientWidth}`)"""
    )


def test_1280_by_720_shows_tabs_and_buttons_and_900_wide_does_not_overflow(lab, artifact):
    page = lab.open(lab.notebook(DEMO.replace("()", "(height=620)")))
    page.set_viewport_size({"width": 1280, "height": 720})
    page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    lab.run_all(page)
    screen = Screen(page)
    screen.root.evaluate("one => one.scrollIntoView({ block: 'end' })")
    expect(screen.figures().first).to_be_visible()
    artifact(page, "workbench-1280")
    for name in ("Build & measure", "Sweep…", "Stop"):
        button = screen.rail.get_by_role("button", name=name)
        expect(button).to_be_in_viewport(ratio=1)
    for number in range(len(TABS)):
        expect(screen.root.get_by_role("tab").nth(number)).to_be_in_viewport(ratio=1)
    page.set_viewport_size({"width": 900 + 1280 - round(screen.root.bounding_box()["width"]),
                            "height": 1000})  # fmt: skip
    page.wait_for_function(
        "one => Math.abs(one.getBoundingClientRect().width - 900) < 30",
        arg=screen.root.element_handle(),
    )
    for tab in TABS:
        screen.tab(tab)
        if tab == "fusion":
            expect(screen.root.locator('.trtlab-graph[data-ready="1"]')).to_be_visible()
        assert wide(screen.root) == [], tab
        chosen = screen.root.locator("[role=tab][aria-selected=true]")
        assert chosen.evaluate(IN_ITS_BAR), tab
        artifact(page, f"workbench-900-{tab}")
