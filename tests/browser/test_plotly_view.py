"""PlotlyView in a real JupyterLab: drawn, updated, clicked, hidden, opened again."""

import json
import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

WAIT_MS = 90_000
IMPORTS = """
import numpy as np
import plotly.graph_objects as go
from trtlab.views.theme import PRECISION
from trtlab.views.widgets.plotly_view import PlotlyView

def figure(title, theme="light", names=("fp32", "fp16", "int8")):
    batch = np.array([1, 2, 4, 8, 16])
    fig = go.Figure()
    for number, name in enumerate(names):
        style = PRECISION[name]
        colour = style.colour(theme)
        latency = (0.6 + 0.14 * batch) / (1 + 0.7 * number)
        fig.add_scatter(
            x=batch, y=latency, name=name.upper(), mode="lines+markers",
            line={"color": colour, "dash": style.dash},
            marker={"symbol": style.marker, "color": colour},
            error_y={"type": "data", "array": latency * 0.04},
            customdata=[f"{name} batch {b}" for b in batch],
        )
    fig.update_xaxes(title_text="Batch", type="log", tickvals=batch.tolist())
    fig.update_yaxes(title_text="Latency in ms, median", rangemode="tozero")
    return fig.update_layout(title_text=title)
"""


def drawn(page, count: int):
    plots = page.locator('.trtlab-plotly[data-ready="1"]')
    expect(plots).to_have_count(count, timeout=WAIT_MS)
    return plots


def test_figures_from_plotlys_labextension(lab, artifact):
    path = lab.notebook(
        IMPORTS,
        "view = PlotlyView(figure('One'), label='INT8 is fastest at every batch')\nview",
        "import ipywidgets\n"
        "ipywidgets.VBox([PlotlyView(figure(title), height=240) for title in ('A', 'B')])",
    )
    page = lab.open(path)
    lab.run_all(page)
    plots = drawn(page, 3)
    for number in range(3):
        assert plots.nth(number).get_attribute("data-plotly-source") == "labextension"
    first = plots.first
    expect(first).to_have_attribute("aria-label", "INT8 is fastest at every batch")
    expect(first).to_have_role("figure")
    expect(first.locator(".scatterlayer .trace")).to_have_count(3)
    expect(first.locator(".scatterlayer .point")).to_have_count(15)
    wait_until_it_fills_its_cell(first)
    wait_until_it_fills_its_cell(plots.nth(2))
    artifact(page, "plotly-view-light")

    lab.execute(page, "view.figure = figure('Changed by Python', names=['fp8'])")
    expect(first.locator(".gtitle")).to_have_text("Changed by Python")
    expect(first.locator(".scatterlayer .trace")).to_have_count(1)
    assert draws_of_a_burst(lab, page, first) < 30

    click_point(first, 3)
    assert clicked(lab, page, "view") == {"curve": 0, "point": 3, "customdata": "fp8 batch 8"}
    lab.execute(page, "view.clicked = {}")
    click_point(first, 3)
    assert clicked(lab, page, "view")["point"] == 3

    lab.save(page)
    assert path.stat().st_size < 50_000

    page.reload()
    expect(drawn(page, 3).first.locator(".gtitle")).to_have_text("Last of the burst")
    page.close()
    page = lab.open(path)
    expect(drawn(page, 3).first.locator(".gtitle")).to_have_text("Last of the burst")
    lab.execute(page, "view.figure = figure('After opening again')")
    expect(page.locator(".gtitle").first).to_have_text("After opening again")


def wait_until_it_fills_its_cell(plot) -> None:
    plot.page.wait_for_function(
        """plot => {
          const cell = plot.closest('.jp-OutputArea-output').getBoundingClientRect().width;
          const drawing = plot.querySelector('svg.main-svg').getBoundingClientRect().width;
          return cell > 300 && Math.abs(cell - drawing) < 40;
        }""",
        arg=plot.element_handle(),
    )


def draws_of_a_burst(lab, page, plot) -> int:
    plot.evaluate("plot => { plot.draws = 0; plot.on('plotly_afterplot', () => plot.draws++) }")
    lab.execute(
        page,
        "for number in range(30):\n"
        "    view.figure = figure(f'Number {number}', names=['fp8'])\n"
        "view.figure = figure('Last of the burst', names=['fp8'])",
    )
    expect(plot.locator(".gtitle")).to_have_text("Last of the burst")
    return plot.evaluate("plot => plot.draws")


def click_point(plot, number: int) -> None:
    point = plot.locator(".scatterlayer .point").nth(number)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    plot.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(plot.locator(".hoverlayer .hovertext").first).to_be_visible()
    plot.page.mouse.down()
    plot.page.mouse.up()


def clicked(lab, page, view: str):
    """The click and this question reach the kernel one after the other, but on two channels."""
    for _ in range(20):
        text = lab.execute(page, f"import json; print(json.dumps({view}.clicked))")
        if text != "{}":
            return json.loads(text)
    return pytest.fail("no click reached Python")


def without_plotlys_labextension(context) -> None:
    """Serve Lab's page as if plotly's extension were not installed."""

    def page_without(route) -> None:
        answer = route.fetch()
        start, found, end = re.split(
            r'("federated_extensions": \[.*?\])', answer.text(), maxsplit=1
        )
        config = json.loads(f"{{{found}}}")
        kept = [
            one for one in config["federated_extensions"] if one["name"] != "jupyterlab-plotly"
        ]
        assert len(kept) == len(config["federated_extensions"]) - 1
        found = f'"federated_extensions": {json.dumps(kept)}'
        route.fulfill(response=answer, body=start + found + end)

    context.route(re.compile(r"/lab/workspaces/"), page_without)


def asked_for_the_library(lab, page) -> int:
    return int(
        lab.execute(
            page,
            "from trtlab.views.widgets import plotly_view as module\n"
            "info = module._gzipped_plotly.cache_info(); print(info.hits + info.misses)",
        )
    )


def test_figures_from_the_kernel(lab):
    without_plotlys_labextension(lab.context)
    page = lab.open(path := lab.notebook(IMPORTS, *["PlotlyView(figure('Here'))"] * 2))
    lab.run_all(page)
    plots = drawn(page, 2)
    expect(plots.first).to_have_attribute("data-plotly-source", "kernel")
    expect(plots.first.locator(".scatterlayer .point")).to_have_count(15)
    assert asked_for_the_library(lab, page) == 1
    lab.save(page)
    assert path.stat().st_size < 50_000

    lab.open(lab.notebook(IMPORTS, "PlotlyView(figure('There'))"), page)
    lab.run_all(page)
    drawn(page, 3)
    assert asked_for_the_library(lab, page) == 0, "the page had it from the other kernel"


def test_a_figure_without_a_library_says_so(lab, artifact):
    without_plotlys_labextension(lab.context)
    page = lab.open(
        lab.notebook(
            IMPORTS,
            "from trtlab.views.widgets import plotly_view as module\n"
            "working = module._gzipped_plotly\n"
            "def broken(): raise OSError('no such file')\n"
            "module._gzipped_plotly = broken\n"
            "view = PlotlyView(figure('Late'))\n"
            "view",
        )
    )
    lab.run_all(page)
    alert = page.get_by_role("alert").filter(has_text="The figure was not drawn")
    expect(alert).to_contain_text("plotly.js was not found (no such file)", timeout=WAIT_MS)
    artifact(page, "plotly-view-alert")

    lab.execute(page, "module._gzipped_plotly = working; view.figure = figure('Repaired')")
    drawn(page, 1)
    expect(page.locator(".gtitle")).to_have_text("Repaired")
    expect(alert).to_have_count(0)

    lab.save(page)
    page.reload()
    drawn(page, 1)
    assert asked_for_the_library(lab, page) == 2


def test_a_figure_in_a_hidden_tab_and_in_the_dark(lab, artifact):
    page = lab.open(
        lab.notebook(
            IMPORTS,
            "import ipywidgets\n"
            "view = PlotlyView(figure('In a tab'))\n"
            "tab = ipywidgets.Tab([ipywidgets.HTML('First'), view], titles=['One', 'Two'])\n"
            "tab",
        )
    )
    lab.run_all(page)
    hidden = page.locator(".trtlab-plotly")
    expect(hidden).to_have_count(1, timeout=WAIT_MS)
    expect(hidden).not_to_have_attribute("data-ready", "1")
    page.get_by_role("tab", name="Two").click()
    plot = drawn(page, 1).first
    wait_until_it_fills_its_cell(plot)
    page.set_viewport_size({"width": 1000, "height": 1000})
    wait_until_it_fills_its_cell(plot)

    title = page.locator(".gtitle")
    expect(title).to_have_css("fill", "rgb(23, 33, 42)")
    page.evaluate(
        "window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    lab.execute(
        page,
        "with view.hold_sync():\n"
        "    view.theme, view.figure = 'dark', figure('In the dark', 'dark')",
    )
    expect(title).to_have_text("In the dark")
    expect(title).to_have_css("fill", "rgb(238, 242, 245)")
    expect(page.locator("#jupyterlab-splash")).to_have_count(0)
    plot.scroll_into_view_if_needed()
    artifact(page, "plotly-view-dark")


def test_the_watch_sees_errors_and_foreign_requests(watch, page):
    page.set_content(
        "<script>console.error('logged'); setTimeout(() => { throw new Error('thrown') })</script>"
        "<img src='http://elsewhere.invalid/picture.png' onerror='document.title = 1'>"
    )
    page.wait_for_function("document.title === '1'")
    seen = "\n".join(watch.problems)
    watch.problems.clear()
    assert "logged" in seen
    assert "thrown" in seen
    assert "http://elsewhere.invalid/picture.png" in seen
