"""The workbench notebook as its user meets it: opened, run, measured, stopped, reloaded."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

NOTEBOOK = Path(__file__).parent.parent.parent / "notebooks" / "00_workbench.ipynb"
WAIT_MS = 90_000


@pytest.fixture
def page(lab):
    path = lab.server.folder / "00_workbench.ipynb"
    shutil.copy(NOTEBOOK, path)
    return lab.open(path)


def test_the_notebook_runs_and_a_sweep_draws_its_curves(lab, page, artifact):
    lab.run_all(page)
    bench = page.locator(".trtlab-workbench")
    expect(bench).to_be_visible()
    expect(bench.get_by_text("How do latency, throughput and memory change?")).to_be_visible()
    artifact(page, "workbench-empty")
    bench.get_by_role("button", name="Measure").click()
    expect(bench.get_by_role("button", name="Stop")).to_be_enabled()
    expect(bench.locator("progress")).to_be_visible()
    plots = bench.locator('.trtlab-plotly[data-ready="1"]')
    expect(plots).to_have_count(3, timeout=WAIT_MS)
    expect(bench.get_by_role("status")).to_have_text("Done: 8 points", timeout=WAIT_MS)
    expect(plots.first.locator(".scatterlayer .point")).to_have_count(8)
    expect(bench.get_by_role("row")).to_have_count(9)
    artifact(page, "workbench-light")
    bench.get_by_label("Dark").check()
    expect(bench).to_have_css("background-color", "rgb(18, 23, 28)")
    artifact(page, "workbench-dark")


def test_stop_answers_while_the_kernel_stays_usable(lab, page):
    lab.run_all(page)
    lab.execute(page, "workbench.state.update(batches=(1, 2, 4, 8, 16, 32), quick=False)")
    bench = page.locator(".trtlab-workbench")
    bench.get_by_role("button", name="Measure").click()
    expect(bench.locator("progress")).to_be_visible()
    assert lab.execute(page, "print(6 * 7)") == "42"
    bench.get_by_role("button", name="Stop").click()
    expect(bench.get_by_role("status")).to_contain_text("Stopped after", timeout=5_000)


def test_a_wrong_model_is_told_in_place(lab, page):
    lab.run_all(page)
    bench = page.locator(".trtlab-workbench")
    lab.execute(page, "workbench.state.update(model='missing.onnx')")
    bench.get_by_role("button", name="Measure").click()
    expect(bench.get_by_role("alert")).to_contain_text("there is no such file")
    assert "Traceback" not in bench.inner_text()
