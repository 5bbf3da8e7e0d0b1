"""Takes the pictures in ``docs/screens``: ``python -m docs.screens``, about two minutes.

A JupyterLab of its own, one notebook open in it, the code hidden, the screen 1280 pixels wide.
Each picture has the name of the drawn sketch that it stands beside. The first six are of the
recording; the others of runs that this machine makes meanwhile, TensorRT-RTX's engines among them.
"""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.lab import Lab, running

FOLDER = Path(__file__).parent / "screens"
HEIGHT = 820
PAGE = {"width": 1280, "height": 1000}
"""In pixels: Lab's hidden bars keep their place, and a picture ends where the page does."""
DONE_POINTS = 7
"""So many points of the sweep are there when its picture is taken."""

_BARE = """
.trtlab-screen { font-family: Arial, sans-serif !important; }
.jp-Notebook { padding: 4px !important; }
.jp-InputArea, .jp-Cell-inputWrapper, .jp-OutputPrompt, .jp-OutputCollapser, .jp-Collapser,
.jp-OutputArea-promptOverlay, .jp-Notebook-footer, .jp-NotebookPanel-toolbar, #jp-top-panel,
#jp-menu-panel, #jp-bottom-panel, .jp-SideBar { display: none !important; }
"""
"""Hides the code and what Lab draws around the widget; letters as wide as on most machines."""

_SELECT = """
fusion = bench.state.fusion(bench.state.selected)
pairs = list(zip(fusion.layers, fusion.groups))[:25]
layer, _ = max(pairs, key=lambda pair: len(pair[1].nodes))
bench.state.update(layer=f"layer:{layer.name}")
"""
"""Selects, near the graph's top, the layer of most nodes."""

_PAIR = """
a, b = (next(r for r in bench.runs if (r.recipe, r.batch) == (p, 8)) for p in ("fp32", "int8"))
bench.state.update(baseline=a, selected=b)
"""


def main() -> None:
    """Take all of them."""
    FOLDER.mkdir(exist_ok=True)
    with running() as lab:
        _recorded(lab)
        _live(lab)
    for path in sorted(FOLDER.glob("*.png")):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def _recorded(lab: Lab) -> None:
    """The first screen, then the demo's tabs."""
    cell = f"import trtlab\nbench = trtlab.Workbench(height={HEIGHT})\nbench"
    with lab.opened(lab.notebook(cell), **PAGE) as page:
        act = _begin(lab, page)
        page.get_by_role("heading", name="What this machine can do").wait_for()
        _take(page, "empty")
        page.get_by_role("button", name="Open the demo").click()
        _take(page, "overview")
        for name in ("curves", "layers"):
            act("tab", name)
            _take(page, name)
        act("tab", "fusion")
        lab.execute(page, _SELECT)
        _take(page, "fusion")
        act("theme")
        _take(page, "fusion-dark")


def _live(lab: Lab) -> None:
    """A sweep, its runs, an engine that cannot be built, and what can be taken away."""
    cell = (
        "import trtlab\nbench = trtlab.Workbench('zoo:digits_mobile', workspace='256MiB',"
        f" height={HEIGHT})\nbench"
    )
    with lab.opened(lab.notebook(cell), **PAGE) as page:
        act = _begin(lab, page)
        lab.execute(page, "bench.jobs.wait()")
        page.get_by_role("button", name="INT8", exact=True).click()
        page.get_by_role("button", name="Sweep…").click()
        page.get_by_role("button", name="Start sweep").click()
        page.locator(".trtlab-job td", has_text="✓ done").nth(DONE_POINTS - 1).wait_for()
        act("tab", "curves")
        page.locator(".trtlab-job .trtlab-depth-2").wait_for()
        _take(page, "building")
        lab.execute(page, "bench.jobs.wait()")
        lab.execute(page, _PAIR)
        for name in ("precision", "memory", "compare"):
            act("tab", name)
            _take(page, name)
        act("tab", "overview")
        act("set-workspace-build", str(2**20))
        page.locator(".trtlab-problem").wait_for()
        _take(page, "error")
        act("dismiss")
        lab.execute(page, "bench.state.update(workspace_bytes=2**28)")
        act("tab", "export")
        _take(page, "export")


def _begin(lab: Lab, page: Any) -> Any:
    """Run the notebook; return what presses a button of the screen."""
    page.add_style_tag(content=_BARE)
    lab.run_all(page)
    page.locator('.trtlab-screen[data-ready="1"]').wait_for()
    return partial(_act, lab, page)


def _act(lab: Lab, page: Any, act: str, value: str = "") -> None:
    lab.execute(page, f"bench.act({act!r}, {value!r})")


def _take(page: Any, name: str) -> None:
    """Take the screen when its figures are drawn."""
    page.mouse.move(0, 0)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.trtlab-plotly,.trtlab-graph')]"
        ".every(one => one.offsetParent === null || one.dataset.ready === '1')"
    )
    page.wait_for_timeout(700)  # a graph glides to what is selected
    picture = Image.open(io.BytesIO(page.locator(".trtlab-screen").screenshot()))
    # So few colours keep every mark's own colour, which the usual choice of 256 does not.
    palette = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=0)
    palette.save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
