"""Taking away: what each file holds, its name, and that nothing is written over."""

import csv
import json
import math
from dataclasses import replace

import pytest

from tests import making
from tests import whole_runs as running
from trtlab.app.saving import KINDS, endings_of, save, stem_of
from trtlab.app.state import State
from trtlab.errors import PlanError, SpecError, StoreError, UnsupportedError
from trtlab.store import Store
from trtlab.verbs.read import read


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def screen(*runs, **more):
    state = State(store=Store())
    state.update(runs=runs, selected=runs[-1] if runs else None, **more)
    return state


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_bundle_holds_the_runs_of_the_screen(here):
    state = screen(running.run("fp32"), running.failed(), running.run())
    state.take_graphs({making.MODEL.hash: making.graph(), "f" * 64: making.graph()})
    path = save("bundle", state)
    assert path == here / "digits-run3.trtlab"
    found = read(path)
    assert [run.recipe for run in found.runs] == ["fp32", "int8", "int8"]
    assert found.runs[1].failure is not None
    assert list(found.graphs) == [making.MODEL.hash], "not those of other models"


def test_a_report_is_a_page_of_its_own(here):
    path = save("report", screen(running.run("fp32"), running.failed(), running.run()))
    assert path.name == "digits-run3-report.html"
    page = path.read_text()
    assert "digits: 3 runs" in page
    assert "Accuracy against latency" in page
    assert "The workspace limit of 8 MiB is too small." in page


def test_tables_hold_every_run_and_the_layers_of_both_plans(here):
    state = screen(running.failed(), running.run())
    path = save("csv", state)
    found = rows(path)
    assert [row["run"] for row in found] == ["1", "2"]
    assert found[0]["latency_ms"] == ""
    assert found[0]["failure"] == "The workspace limit of 8 MiB is too small."
    assert float(found[1]["latency_ms"]) == state.runs[1].line.latency_ms
    built = rows(here / "digits-run2-layers.csv")
    assert [row["layer"] for row in built] == ["conv", "fc"]
    assert "median_ms" not in built[0], "the times are those of the other plan"
    ran = rows(here / "digits-run2-layers-ran.csv")
    assert math.isclose(float(ran[0]["median_ms"]), 0.03)


def test_one_plan_gives_one_table_of_layers(here):
    run = running.run()
    save("csv", screen(replace(run, plan=run.ran)))
    assert sorted(p.name for p in here.iterdir()) == [
        "digits-run1-layers.csv",
        "digits-run1-runs.csv",
    ]


def test_the_engine_graph_is_a_page_and_trtexecs_layers(here):
    plan, graph = running.engine(layers=making.plan().layers), making.graph()
    state = screen(running.run("fp32", plan=plan))
    state.take_graphs({making.MODEL.hash: graph})
    path = save("graph", state)
    assert path.name == "digits-run1-engine.html"
    assert "digits: fusion" in path.read_text()
    layers = json.loads((here / "digits-run1-layers.json").read_text())["Layers"]
    assert [layer["Name"] for layer in layers] == ["conv", "fc"]


def test_a_graph_that_no_form_can_hold_leaves_no_file(here):
    run = running.run()
    with pytest.raises(UnsupportedError, match="onnxruntime"):
        save("graph", screen(replace(run, plan=run.ran)))
    with pytest.raises(PlanError, match="no engine"):
        save("graph", screen(running.failed()))
    assert not list(here.iterdir())


def test_a_plan_is_copied_from_the_store(here, tmp_path):
    store = Store()
    made = tmp_path / "made.plan"
    made.write_bytes(b"plan")
    identity, size = store.put_plan(made)
    state = screen(running.run(plan=running.engine(hash=identity, plan_bytes=size)))
    path = save("plan", state)
    assert path.name == "digits-run1.plan"
    assert path.read_bytes() == b"plan"
    host = making.plan(hash=identity, plan_bytes=size)
    assert save("plan", screen(running.run(plan=host))).name == "digits-run1.optimised.onnx"


def test_a_plan_that_is_not_here_is_told(here):
    with pytest.raises(PlanError, match="not in the store"):
        save("plan", screen(running.run()))
    with pytest.raises(PlanError, match="no plan"):
        save("plan", screen(running.failed()))
    assert not list(here.iterdir())


def test_nothing_is_written_over(here):
    state = screen(running.run())
    first = save("csv", state)
    first.write_text("mine")
    assert save("csv", state).name == "digits-run1-2-runs.csv"
    (here / "digits-run1-3-layers-ran.csv").symlink_to(here / "nowhere")
    assert save("csv", state).name == "digits-run1-4-runs.csv", "all of its files must be free"
    assert first.read_text() == "mine"
    assert (here / "digits-run1-2-layers.csv").exists()


@pytest.mark.parametrize(
    ("name", "stem"),
    [("zoo:a_b", "a_b"), ("../../x", "x"), ("a/b c", "a_b_c"), ("...", "model"), ("é", "model"),
     ("n" * 300, "n" * 60)],
)  # fmt: skip
def test_files_are_named_after_the_model_and_never_lead_out(name, stem):
    run = running.run()
    run = running.relined(run, model=replace(run.model, name=name))
    assert stem_of(screen(run), run) == f"{stem}-run1"


@pytest.mark.parametrize("what", ["bundle", "report", "csv"])
def test_a_folder_that_is_gone_is_told(here, what):
    state = screen(running.run("fp32"))
    here.rmdir()
    with pytest.raises(StoreError) as caught:
        save(what, state)
    assert caught.value.hint


def test_nothing_selected_and_unknown_words_are_refused(here):
    with pytest.raises(SpecError, match="nothing to save"):
        save("bundle", screen())
    with pytest.raises(SpecError, match="nothing to save"):
        save("../x", screen(running.run()))


def test_the_names_that_are_promised_are_those_that_are_written(here):
    state = screen(running.run())
    for what in ("bundle", "report", "csv"):
        before = set(here.iterdir())
        save(what, state)
        new = {path.name for path in set(here.iterdir()) - before}
        assert new == {f"digits-run1{e}" for e in endings_of(what, state.runs[0])}
    assert set(KINDS) == {"bundle", "report", "csv", "graph", "plan"}
