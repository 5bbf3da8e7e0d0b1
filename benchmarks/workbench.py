"""The workbench in a page: until it is usable, its answers, its size, its memory, Stop.

A JupyterLab and a headless Chromium on this machine. Times are the page's own, from the click to
the change that a MutationObserver sees; nothing polls. With six rounds the interval shown is the
smallest and the largest sample. A screen is usable when its text is there, its controls are on,
and the kernel has answered a press (of ``?``, which lists the keys).

Each round is made with a store of two runs and with one of ``MANY`` more, one after the other, the
order changed from round to round. Filling the store is no part of any figure.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import Figure, median_figure
from benchmarks.lab import ROOT, WAIT_MS, Lab, running
from trtlab.app.panels import TABS
from trtlab.app.workbench import Workbench
from trtlab.record import Run
from trtlab.store import Store
from trtlab.verbs.run import run_key

ROUNDS = 6
MEMORY_ROUNDS = 3
MANY = 2_000
NODES = 3_000
MODEL = "zoo:digits_mobile"
NOTEBOOK = ROOT / "notebooks" / "00_workbench.ipynb"

TAB_LIMIT_MS = 2_000
"""Of ours: a tab's pictures may take as long as the first one."""
NO_SLOWER = 1.2
"""Of ours, times: what a store of many runs may cost before it counts as slower."""
SETTLE_MS = 2_500
"""After this a screen has sent its picture and does nothing more."""

Samples = dict[str, list[float]]


def figures() -> list[Figure]:
    """Open, press, measure and stop workbenches in a browser."""
    with running() as lab:
        few, many = _stores(lab.home)
        return [
            *_opening(lab, few, many),
            *_recorded(lab),
            *_stopping(lab, few),
            *_files(lab),
            *_memory(lab),
        ]


# Stores


def _stores(home: Path) -> tuple[Path, Path]:
    """Return a store with two runs, and a copy of it with many more."""
    few, many = home / "few", home / "many"
    store = Store(few)
    bench = Workbench(MODEL, store=store)
    bench.jobs.wait()
    for recipe in ("fp32", "int8"):
        bench.state.update(precision=recipe)
        bench.act("build")
        bench.jobs.wait()
    model, runs = bench.state.opened, bench.runs
    bench.close()
    assert model is not None, bench.state.problem
    shutil.copytree(few, many)
    fill(Store(many), runs[0], partial(run_key, model), MANY)
    return few, many


def fill(store: Store, run: Run, key_of_setup: Any, count: int) -> None:
    """Put ``count`` lines like that of a run into a store, each with a workspace of its own."""
    for number in range(1, count + 1):
        setup = replace(run.setup, workspace_bytes=number * 2**20)
        store.put(replace(run.line, setup=setup), key_of_setup(setup))


# Opening and answering

_UNTIL = (
    f"const WAIT_MS = {WAIT_MS};"
    + """
const until = (is) => new Promise((resolve, reject) => {
  const late = setTimeout(() => reject(new Error(`not seen in ${WAIT_MS} ms: ${is}`)), WAIT_MS);
  const look = () => {
    if (!is()) return;
    seen.disconnect();
    clearTimeout(late);
    resolve(performance.now());
  };
  const seen = new MutationObserver(look);
  seen.observe(document.body,
    { subtree: true, childList: true, attributes: true, characterData: true });
  look();
});
const screen = () => document.querySelector('.trtlab-workbench[data-ready="1"]');
const one = (selector) => screen()?.querySelector(selector);
const text = (selector) => one(selector)?.textContent ?? '';
const recipe = (name) => [...screen().querySelectorAll('.trtlab-recipe')]
  .find((button) => button.textContent.trim() === name);
const shown = (selector) => [...screen().querySelectorAll(selector)]
  .filter((each) => each.offsetParent !== null);
"""
)

_OPEN = """
const begin = performance.now();
window.jupyterapp.commands.execute('notebook:run-all-cells');
await until(() => one('.trtlab-tiles') && (!controls || recipe('INT8')?.disabled === false));
one('[data-act=help]').click();
const usable = await until(() => one('[data-change=keys]'));
const figure = await until(() => one('.trtlab-plotly[data-ready="1"]'));
one('[data-act=help]').click();
return [(usable - begin) / 1000, (figure - usable) / 1000];
"""

_CHANGE = """
const begin = performance.now();
recipe('FP16').click();
return await until(() => text('.trtlab-stateline').includes('FP16')) - begin;
"""

_KNOWN = """
const before = text('.trtlab-tiles');
const begin = performance.now();
recipe('INT8').click();
return await until(() => text('.trtlab-runbar').includes('INT8')
  && text('.trtlab-tiles') !== before) - begin;
"""

_TAB = """
shown('.trtlab-panel > .widget-box > .trtlab-panel-body')
  .forEach((each) => { each.dataset.old = '1'; });
const begin = performance.now();
one(`[role=tab][data-value=${name}]`).click();
const end = await until(() => shown('.trtlab-panel-body:not([data-old])').length
  && shown('.trtlab-panel-body > *').length
  && shown('.trtlab-plotly,.trtlab-graph').every((each) => each.dataset.ready === '1'));
screen().querySelectorAll('[data-old]').forEach((each) => { delete each.dataset.old; });
return end - begin;
"""

_STOP = """
const begin = performance.now();
one('.trtlab-stop').click();
return await until(() => text('.trtlab-state').startsWith('Stopped')) - begin;
"""


def _do(page: Any, script: str, **given: Any) -> Any:
    """Run a script in the page; its arguments are constants there."""
    names = ", ".join(given)
    return page.evaluate(f"async ({{ {names} }}) => {{ {_UNTIL} {script} }}", given)


def _cell(store: Path, settings: str = "") -> str:
    return (
        "import pathlib, trtlab\nfrom trtlab.store import Store\n"
        f"store = Store(pathlib.Path({str(store)!r}))\n"
        f"bench = trtlab.Workbench({MODEL!r}, store=store{settings})\n"
        "bench"
    )


def _opening(lab: Lab, few: Path, many: Path) -> list[Figure]:
    taken: dict[Path, Samples] = {few: {}, many: {}}
    for turn in range(ROUNDS):
        for store in (few, many) if turn % 2 else (many, few):
            for name, value in _one_opening(lab, store).items():
                taken[store].setdefault(name, []).append(value)
    limits = {
        "until usable": ("s", 3.0),
        "its first figure after that": ("s", 2.0),
        "a control's change is reflected": ("ms", 150.0),
        "a known configuration is shown": ("ms", 400.0),
    }
    found = []
    for store, words in ((few, "2 runs stored"), (many, f"{MANY:,} more")):
        found += [
            median_figure(f"workbench: {name}, {words}", taken[store][name], unit, limit)
            for name, (unit, limit) in limits.items()
        ]
    for name in limits:
        if "figure" not in name:
            pairs = zip(taken[few][name], taken[many][name], strict=True)
            found.append(median_figure(f"  {name}: many / few", [m / f for f, m in pairs], "×",
                                       NO_SLOWER))  # fmt: skip
    return found


def _one_opening(lab: Lab, store: Path) -> dict[str, float]:
    with lab.opened(lab.notebook(_cell(store))) as page:
        usable, figure = _do(page, _OPEN, controls=True)
        page.wait_for_timeout(SETTLE_MS)
        known = _do(page, _KNOWN)
        page.wait_for_timeout(SETTLE_MS)
        return {
            "until usable": usable,
            "its first figure after that": figure,
            "a control's change is reflected": _do(page, _CHANGE),
            "a known configuration is shown": known,
        }


def _recorded(lab: Lab) -> list[Figure]:
    """Open the recording, then each tab for the first time."""
    usable, figure = list[float](), list[float]()
    tabs: Samples = {panel.name: [] for panel in TABS[1:]}
    for _ in range(ROUNDS):
        with lab.opened(lab.notebook("import trtlab\ntrtlab.Workbench.recorded()")) as page:
            first, second = _do(page, _OPEN, controls=False)
            usable.append(first)
            figure.append(second)
            for name, times in tabs.items():
                page.wait_for_timeout(SETTLE_MS)
                times.append(_do(page, _TAB, name=name))
    return [
        median_figure("recorded: until usable", usable, "s", 2.0),
        median_figure("recorded: its first figure after that", figure, "s", 2.0),
        *(
            median_figure(f"  tab {name}, first show", times, "ms", TAB_LIMIT_MS)
            for name, times in tabs.items()
        ),
    ]


def _stopping(lab: Lab, store: Path) -> list[Figure]:
    """Stop a run with full windows: first while it builds, then while it measures."""
    times = []
    with lab.opened(lab.notebook(_cell(store, ", quick=False"))) as page:
        lab.run_all(page)
        for _ in range(ROUNDS):
            page.locator(".trtlab-rail .trtlab-main:not([disabled])").click()
            page.locator(".trtlab-state", has_text="Building").wait_for()
            page.locator(".trtlab-job .trtlab-depth-2").wait_for()
            times.append(_do(page, _STOP) / 1000)
    return [median_figure("Stop is answered", times, "s", 1.0)]


# Sizes


def _files(lab: Lab) -> list[Figure]:
    """Take the notebook as it is committed, and after a session that used all of it."""
    path = lab.folder / NOTEBOOK.name
    shutil.copy(NOTEBOOK, path)
    with lab.opened(path) as page:
        lab.run_all(page)
        screen = page.locator(".trtlab-workbench")
        screen.scroll_into_view_if_needed()
        screen.get_by_role("button", name="Open the demo").click()
        screen.locator(".trtlab-tiles").wait_for()
        for panel in (*TABS[1:], TABS[0]):
            _do(page, _TAB, name=panel.name)
        lab.execute(page, f"workbench.act('open', {MODEL!r}); workbench.jobs.wait()")
        screen.get_by_role("button", name="INT8", exact=True).click()
        screen.locator(".trtlab-rail").get_by_role("button", name="Build & measure").click()
        screen.locator(".trtlab-stateline", has_text="controls match run").wait_for()
        page.wait_for_timeout(SETTLE_MS)
        lab.save(page)
    return [
        Figure("notebook as committed", NOTEBOOK.stat().st_size / 1e3, "kB", 300, 1),
        Figure("notebook after a full session", path.stat().st_size / 1e3, "kB", 1_000, 1),
    ]


def _memory(lab: Lab) -> list[Figure]:
    """Open a network of many nodes, each tab of it, and all of its blocks in Fusion."""
    import onnx

    onnx.save(network(NODES), lab.folder / "large.onnx")
    cell = "import trtlab\nbench = trtlab.Workbench('large.onnx')\nbench"
    run = "trtlab.run('large.onnx', builder='onnxruntime', batch=1, quick=True)"
    heap, resident = list[float](), list[float]()
    for _ in range(MEMORY_ROUNDS):
        with lab.opened(lab.notebook(cell)) as page:
            lab.run_all(page)
            lab.execute(page, f"bench.jobs.wait(); bench.state.add({run})")
            page.locator(".trtlab-tiles").wait_for()
            for panel in (*TABS[1:], TABS[3]):
                _do(page, _TAB, name=panel.name)
            page.get_by_role("button", name="Fold or open all blocks").click()
            page.wait_for_timeout(SETTLE_MS)
            heap.append(_heap_bytes(page) / 2**20)
            resident.append(_renderer_bytes() / 2**20)
    return [
        median_figure(f"page's JavaScript heap, {NODES:,} nodes open", heap, "MiB", 400),
        median_figure(f"page's process, resident, {NODES:,} nodes", resident, "MiB", 400),
    ]


def network(count: int) -> Any:
    """Return an ONNX model of ``count`` nodes, a multiple of ten: blocks of two branches."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.eye(8, dtype=np.float32).reshape(8, 8, 1, 1), "w")
    nodes = []

    def add(op: str, path: str, *reads: str) -> str:
        nodes.append(helper.make_node(op, list(reads), [path], name=path))
        return path

    last = "x"
    for block in range(count // 10):
        path, ends = f"stage{block // 30}/block{block}", []
        for branch in "ab":
            end = last
            for step in (1, 2):
                end = add("Conv", f"{path}/{branch}/conv{step}", end, "w")
                end = add("Relu", f"{path}/{branch}/relu{step}", end)
            ends.append(end)
        last = add("Relu", f"{path}/relu", add("Add", f"{path}/add", *ends))
    shape = ["N", 8, 8, 8]
    ends_of = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", last)
    ]
    graph = helper.make_graph(nodes, "large", ends_of[:1], ends_of[1:], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _heap_bytes(page: Any) -> float:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    told = session.send("Performance.getMetrics")["metrics"]
    return next(one["value"] for one in told if one["name"] == "JSHeapUsedSize")


def _renderer_bytes() -> int:
    """The largest of the browser's renderers is the page's; the others are spare."""
    return max(
        child.memory_info().rss
        for child in psutil.Process().children(recursive=True)
        if "--type=renderer" in child.cmdline()
    )
