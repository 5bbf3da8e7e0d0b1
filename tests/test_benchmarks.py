"""The benchmarks still run: with the fewest rounds, without looking at their figures."""

import math
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import onnx
import pytest

from benchmarks import harness, precision, reading, startup, sweeping, workbench
from benchmarks.figures import Figure, median_figure, upper_figure
from benchmarks.lab import running
from tests import making, whole_runs
from trtlab.record import RunLine, SweepResult
from trtlab.store import Store

pytestmark = pytest.mark.native


def test_the_harness_alternates_blocks_of_equal_length():
    from trtlab.verbs.build import build

    store = Store()
    plan = build("zoo:digits", backend="onnxruntime", store=store)
    pairs = harness._pairs(plan, 3, store)
    assert len(pairs) == 3
    assert all(bare > 0 and loop > 0 for bare, loop in pairs)


def test_start_up_is_measured(monkeypatch):
    monkeypatch.setattr(startup, "ROUNDS", 1)
    assert [f.unit for f in startup.figures()] == ["s", "s", "s"]


def test_windows_warm_up_and_both_loads_are_accounted_for_and_nothing_else():
    m = making.measurement(warm_up=making.WarmUp(9, 0.25, True), load_seconds=0.5)
    point = making.Point(model=m.model, build=m.build, run=m.run, measurement=m)
    windows = sum(w.wall_ns for w in m.windows) / 1e9
    accounted = sweeping._accounted(SweepResult((point, point)))
    assert accounted == pytest.approx(2 * (windows + 0.25 + 2 * 0.5))


def test_a_figure_above_its_limit_is_broken():
    assert Figure("f", 2.0, "s", 1.0, 1).verdict() == "BROKEN"
    assert median_figure("f", [1.0] * 9, "s", 1.0).verdict() == "ok"
    assert upper_figure("f", [1.0] * 8 + [9.0], "s", 1.0).value >= 1.0


def test_recorded_engines_and_made_up_ones_are_read(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(reading, "PAIRS", 1)
    monkeypatch.setattr(reading, "ROUNDS", 1)
    monkeypatch.setattr(reading, "LAYERS", 10)
    monkeypatch.setattr(reading, "SETS", tmp_path)
    assert [f.unit for f in reading.figures()] == ["s"]
    assert "not read" in capsys.readouterr().out
    (tmp_path / "net").mkdir()
    for path, name in zip(reading.long_engine(tmp_path, 3), ("graph", "profile"), strict=True):
        path.rename(tmp_path / "net" / f"net.engine.{name}.json")
    assert [f.unit for f in reading.figures()] == ["×", "s"]


def test_conversions_and_speeds_are_measured(monkeypatch):
    monkeypatch.setattr(precision, "MODEL", "zoo:digits")
    monkeypatch.setattr(precision, "SAMPLES", 8)
    monkeypatch.setattr(precision, "NODE_SAMPLES", 4)
    for pairs in ("FLOAT_PAIRS", "INT8_PAIRS", "NODE_PAIRS"):
        monkeypatch.setattr(precision, pairs, 1)
    monkeypatch.setattr(precision, "ROUNDS", {2: 1})
    found = {f.name: f for f in precision.figures()}
    runs = next(f for name, f in found.items() if name.startswith("samples run"))
    assert runs.value == precision.SESSIONS
    assert all(f.value > 0 for f in found.values())
    assert len(found) == 11


def test_a_filled_store_lists_each_run_and_still_finds_each_by_its_setup():
    store, run = Store(), whole_runs.run()
    workbench.fill(store, run, lambda setup: f"{setup.workspace_bytes:064x}", 3)
    lines = list(store.all(RunLine))
    assert sorted(line.setup.workspace_bytes for line in lines) == [2**20, 2 * 2**20, 3 * 2**20]
    found = store.get(f"{2**21:064x}", RunLine)
    assert found is not None
    assert found.measurement == run.line.measurement


def test_the_large_network_is_a_valid_model_of_that_many_nodes():
    model = workbench.network(40)
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.node) == 40
    assert {node.op_type for node in model.graph.node} == {"Conv", "Relu", "Add"}


def _figures_of_a_page():
    with running() as lab:
        few, many = workbench._stores(lab.home)
        return [
            *workbench._opening(lab, few, many),
            *workbench._recorded(lab),
            *workbench._stopping(lab, few),
            *workbench._memory(lab),
        ]


@pytest.mark.browser
def test_a_workbench_is_opened_changed_and_stopped_in_a_page(monkeypatch):
    if shutil.which("chromium") is None and shutil.which("google-chrome") is None:
        if "browser" in os.environ.get("TRTLAB_REQUIRE", "").split(","):
            pytest.fail("no Chromium")
        pytest.skip("no Chromium: install the package chromium")
    for name, fewest in {"ROUNDS": 1, "MEMORY_ROUNDS": 1, "MANY": 2, "NODES": 100}.items():
        monkeypatch.setattr(workbench, name, fewest)
    # In a thread of its own: the browser tests' Playwright has a loop in this one.
    with ThreadPoolExecutor(1) as other:
        found = other.submit(_figures_of_a_page).result()
    assert len(found) == 11 + 9 + 1 + 2
    # A figure may be there at the same moment as the screen.
    assert all(math.isfinite(f.value) and f.value >= 0 for f in found)
