"""The workbench over time: reloaded, reopened, restarted, closed, killed, and two at once."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.screens import DEMO, DIGITS, WAIT_MS, Screen, wait_until, workers

pytestmark = pytest.mark.browser


def kernel_of(server, notebook):
    """The session of a notebook, as the server tells it."""
    return next(s for s in server.call("/api/sessions") if s["path"] == notebook.name)


def still_of(page):
    """The plain picture below a screen."""
    return page.locator("[class^=trtlab-still-]")


def test_reload_and_reopening_with_a_live_kernel_bring_the_screen_back(rtx, lab):
    path = lab.notebook(DIGITS.format(", batches=(1, 2, 4)"))
    page = lab.open(path)
    lab.run_all(page)
    screen = Screen(page)
    screen.opened()
    screen.build()
    shown = screen.run_bar.inner_text()
    expect(screen.figures().first).to_be_visible()
    screen.tab("layers")
    lab.save(page)
    page.reload()
    screen = Screen(page)
    screen.expect_tab("layers")
    assert screen.run_bar.inner_text() == shown
    expect(screen.state_line).to_contain_text("✓ Built")
    page.close()

    page = lab.open(path)
    screen = Screen(page)
    screen.expect_tab("layers")
    assert screen.run_bar.inner_text() == shown
    expect(still_of(page)).to_be_hidden()
    screen.tab("overview")
    expect(screen.figures().first).to_be_visible()
    screen.rail.get_by_role("button", name="INT8", exact=True).click()
    expect(screen.state_line).to_contain_text("FP32 → INT8")
    assert path.stat().st_size < 1_000_000


def test_a_notebook_without_its_kernel_shows_a_still_picture(lab, artifact):
    path = lab.notebook(DEMO)
    page = lab.open(path)
    lab.run_all(page)
    screen = Screen(page)
    expect(screen.figures().first).to_be_visible()
    expect(still_of(page)).to_have_count(1)
    expect(still_of(page)).to_be_hidden()
    wait_until(lambda: "<img src=" in lab.execute(page, "print(bench._still.html())"))
    lab.save(page)
    assert "data:image/png" in path.read_text()
    assert path.stat().st_size < 1_000_000
    page.close()
    session = kernel_of(lab.server, path)
    lab.server.call(f"/api/sessions/{session['id']}", "DELETE")

    page = lab.open(path)
    expect(still_of(page).locator("th").first).to_be_visible()
    picture = still_of(page).locator("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth > 200")
    expect(still_of(page)).to_contain_text("run the cell again to use it")
    expect(page.locator(".trtlab-workbench")).to_have_count(0)
    # Lab starts a kernel of its own accord; that one knows no workbench.
    assert lab.execute(page, "print('bench' in globals())") == "False"
    expect(picture).to_be_visible()
    artifact(page, "workbench-still")


def test_a_restarted_kernel_is_told_and_the_run_comes_from_the_store(rtx, lab, artifact):
    page = lab.open(lab.notebook(DIGITS.format(", batches=(1, 2, 5)")))
    lab.run_all(page)
    screen = Screen(page)
    screen.opened()
    screen.build()
    expect(screen.figures().first).to_be_visible()
    gone = screen.root.locator(".trtlab-gone")
    expect(gone).to_be_hidden()
    page.evaluate(
        "async () => await window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()"
    )
    expect(gone).to_be_visible(timeout=WAIT_MS)
    expect(gone).to_contain_text("run the cell again")
    expect(screen.figures().first.locator(".scatterlayer .point").first).to_be_visible()
    on = screen.root.locator("button:enabled,input:enabled,select:enabled")
    expect(on).to_have_count(0)
    artifact(page, "workbench-lost")
    lab.run_all(page)
    again = Screen(page)
    expect(again.state_line).to_contain_text("✓ Built", timeout=WAIT_MS)
    expect(again.state_line).to_contain_text("from store")
    expect(again.root.locator(".trtlab-gone")).to_be_hidden()


def test_a_worker_killed_from_outside_is_told_and_tried_again(rtx, lab, artifact):
    page = lab.open(lab.notebook(DIGITS.format(", batches=(1, 2, 6), quick=False")))
    lab.run_all(page)
    screen = Screen(page)
    screen.opened()
    before = {worker.pid for worker in workers(lab.server)}
    screen.rail.get_by_role("button", name="Build & measure").click()
    victim = wait_until(lambda: [w for w in workers(lab.server) if w.pid not in before])[0]
    victim.kill()
    expect(screen.error).to_be_visible(timeout=WAIT_MS)
    expect(screen.error).to_contain_text("ended on its own")
    expect(screen.error).to_contain_text("signal 9")
    assert "Traceback" not in screen.root.inner_text()
    artifact(page, "workbench-killed")
    lab.execute(page, "bench.state.update(quick=True)")
    screen.error.get_by_role("button", name="Try again").click()
    expect(screen.state_line).to_contain_text("✓ Built", timeout=WAIT_MS)
    expect(screen.error).to_have_count(0)


def test_a_closed_notebook_leaves_no_process_behind(rtx, lab):
    path = lab.notebook(DIGITS.format(", batches=(1, 2, 7), quick=False"))
    page = lab.open(path)
    lab.run_all(page)
    screen = Screen(page)
    screen.opened()
    screen.rail.get_by_role("button", name="Build & measure").click()
    wait_until(lambda: workers(lab.server))
    session = kernel_of(lab.server, path)
    page.close()
    lab.server.call(f"/api/sessions/{session['id']}", "DELETE")
    wait_until(lambda: not workers(lab.server))


def test_two_workbenches_in_one_notebook_share_nothing(rtx, lab):
    second = "other = trtlab.Workbench('zoo:digits', batches=(1, 2, 3))\nother"
    page = lab.open(lab.notebook(DEMO, second))
    lab.run_all(page)
    lab.output(page, 1)
    expect(page.locator('.trtlab-workbench[data-ready="1"]')).to_have_count(2)
    demo, own = Screen(page, 0), Screen(page, 1)
    own.opened()
    own.build()
    own.button("Dark").click()
    own.tab("layers")
    expect(own.root).to_have_class(re.compile("trtlab-dark"))
    expect(demo.root).not_to_have_class(re.compile("trtlab-dark"))
    demo.expect_tab("overview")
    demo.tab("curves")
    own.expect_tab("layers")
    expect(demo.root.locator(".trtlab-head")).to_contain_text("Recorded on")
    expect(own.root.locator(".trtlab-head")).not_to_contain_text("Recorded on")
    assert lab.execute(page, "print(len(other.runs), bench.state.busy)") == "1 False"
    lab.execute(page, "other.close()")
    expect(page.locator(".trtlab-workbench")).to_have_count(1)
    demo.tab("memory")
