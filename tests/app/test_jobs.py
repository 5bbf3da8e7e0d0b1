"""What the workbench does in the background: real builds and runs on a small model."""

import dataclasses
import os
import shutil
import signal
import threading
import time

import psutil
import pytest

import trtlab
from tests.app.benches import text
from tests.conftest import workers_of_this_process
from trtlab.record import Run
from trtlab.store import Store

pytestmark = pytest.mark.native


@pytest.fixture
def bench():
    made = trtlab.Workbench("zoo:digits", batches=(1, 2, 4), measure_at=(1,))
    made.jobs.wait()
    made.state.update(builder="onnxruntime", target="", runner="onnxruntime")
    yield made
    made.jobs.stop()
    made.jobs.wait()
    made.close()


def settle(bench):
    bench.jobs.wait()
    return bench.state


def when(state, is_so, *names):
    """An event that is set once something is so."""
    event = threading.Event()
    state.listen(lambda: is_so(state) and event.set(), *names)
    return event


def test_opening_a_model_tells_its_tensors_and_what_it_will_take(bench):
    state = bench.state
    assert state.opened.name == "zoo:digits"
    assert len(state.graph.nodes) > 10
    assert "nodes" in text(bench)
    assert "zoo:digits is open" in text(bench)
    assert "How long a new one takes is not known yet" in text(bench)


def test_build_and_measure_ends_with_a_run_in_every_tab(bench):
    bench.act("build")
    assert bench.state.busy
    state = settle(bench)
    assert not state.busy
    assert state.status == "Ready"
    run = state.selected
    assert isinstance(run, Run)
    assert run.measurement.batch == 1
    assert run.accuracy.labels.top1 > 0.9
    assert "✓ Built" in text(bench)
    assert "New: about" in text(bench)
    assert any("measure" in line for line in state.log)
    assert len(state.history) == 1


def test_a_second_press_while_building_starts_nothing(bench):
    bench.act("build")
    bench.act("build")
    bench.act("search-workspace")
    state = settle(bench)
    assert len(state.runs) == 1
    assert state.problem is None


def test_the_same_settings_in_another_screen_answer_from_the_store(bench):
    bench.act("build")
    settle(bench)
    other = trtlab.Workbench("zoo:digits", batches=(1, 2, 4), measure_at=(1,))
    other.jobs.wait()
    other.state.update(builder="onnxruntime", target="", runner="onnxruntime")
    assert other.state.selected is not None
    assert other.state.selected.from_store
    assert "from store" in text(other)
    other.close()


def test_a_sweep_brings_its_points_one_by_one_and_knows_the_known(bench):
    state = bench.state
    bench.act("build")
    settle(bench)
    counts = []
    state.listen(lambda: counts.append(len(state.runs)), "runs")
    bench.act("sweep")
    bench.act("sweep-batch", "1,2")
    bench.act("sweep-int8", "true")
    assert state.asked["known"] == "1"
    bench.act("sweep-start")
    settle(bench)
    assert counts[-1] == 4
    assert sorted(set(counts)) == [1, 2, 3, 4]
    assert [p.state for p in state.job_points] == ["store", "done", "done", "done"]
    assert {(r.recipe, r.batch) for r in state.runs} == {
        ("fp32", 1),
        ("fp32", 2),
        ("int8", 1),
        ("int8", 2),
    }


def test_stop_answers_within_a_second_and_keeps_what_is_done(bench):
    state = bench.state
    state.update(measure_at=(1, 2, 4), quick=False)
    second = when(state, lambda s: [p.state for p in s.job_points][1:2] == ["running"],
                  "job_points")  # fmt: skip
    bench.act("build")
    assert second.wait(60)
    begin = time.monotonic()
    bench.act("stop")
    settle(bench)
    assert time.monotonic() - begin < 1.0
    assert state.status == "Stopped after 1 of 3 points. They are kept."
    assert len(state.runs) == 1
    assert not workers_of_this_process()
    bench.act("build")
    assert state.busy, "what was stopped can be begun again"
    bench.act("stop")
    settle(bench)


def test_a_worker_that_is_killed_from_outside_is_told_and_nothing_is_lost(bench):
    state = bench.state
    bench.act("build")
    settle(bench)
    state.update(quick=False)
    measuring = when(
        state,
        # A phase below it is reported by the worker itself: then there is one.
        lambda s: s.busy and s.job and [b.label for b in s.job.bars][-2:-1] == ["Measure"],
        "job",
    )
    bench.act("build")
    assert measuring.wait(60)
    for child in psutil.Process().children(recursive=True):
        if "trtlab.worker" in " ".join(child.cmdline()):
            os.kill(child.pid, signal.SIGKILL)
    settle(bench)
    shown = text(bench)
    assert not state.busy
    assert state.runs[0].measurement is not None
    assert state.runs[-1].failure.kind == "crashed"
    assert "signal 9" in shown or "was killed" in shown
    assert "Traceback" not in shown


def test_a_model_that_is_not_there_is_told_at_the_control(bench, tmp_path):
    bench.act("open", str(tmp_path / "no model.onnx"))
    state = settle(bench)
    assert state.problem.field == "source"
    shown = text(bench)
    assert "there is no such file" in shown
    assert "The model was not opened" in shown


def test_a_path_with_spaces_and_three_hundred_characters_opens(bench, tmp_path):
    folder = tmp_path / ("with spaces " * 12).strip() / ("x" * 140)
    folder.mkdir(parents=True)
    copy = folder / "my model.onnx"
    shutil.copy(trtlab.load("zoo:digits").path, copy)
    assert len(str(copy)) > 300
    bench.act("open", str(copy))
    state = settle(bench)
    assert state.problem is None
    assert state.opened.path == str(copy)
    bench.act("build")
    settle(bench)
    assert state.selected.line.origin == str(copy)


def test_a_model_whose_inputs_have_no_size_asks_for_shapes(bench, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("ids", TensorProto.FLOAT, ["N", "length"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "length"])
    graph = helper.make_graph([helper.make_node("Relu", ["ids"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "ids.onnx")
    bench.act("open", str(tmp_path / "ids.onnx"))
    settle(bench)
    bench.act("build")
    state = settle(bench)
    shown = text(bench)
    assert "axes without a size: length" in shown
    bench.state.update(shapes_text="ids:2x8", problem=None)
    bench.act("build")
    settle(bench)
    assert state.selected.measurement.shapes["ids"] == (2, 8)


def test_a_full_disk_keeps_the_run_on_the_screen(bench, monkeypatch):
    from trtlab.errors import StoreError

    real = Store.put

    def full(self, record, key):
        if record.kind in ("measurement", "run"):
            raise StoreError("The disk that holds the store is full.", hint="Free some space.")
        return real(self, record, key)

    monkeypatch.setattr(Store, "put", full)
    bench.act("build")
    state = settle(bench)
    assert state.selected.measurement is not None
    assert "not-saved" in [c.kind for c in state.selected.measurement.caveats]
    assert "is full" in text(bench)


def test_an_earlier_run_is_recalled_from_the_store(bench):
    bench.act("build")
    settle(bench)
    other = trtlab.Workbench()
    other.jobs.wait()
    other.act("recall", "0")
    other.jobs.wait()
    assert other.state.selected.recipe == "fp32"
    other.act("recall", "7")
    assert other.state.problem is None
    other.close()


def held_up(bench):
    """An event that holds the queue up until it is set."""
    free = threading.Event()
    bench.jobs._submit(lambda: free.wait(30))
    return free


def test_a_stop_before_the_job_began_is_not_forgotten(bench):
    free = held_up(bench)
    bench.act("build")
    assert bench.state.busy
    bench.act("stop")
    free.set()
    state = settle(bench)
    assert state.runs == ()
    assert state.status == "Stopped before the first point"
    bench.act("build")
    assert settle(bench).selected is not None


def test_what_waits_in_the_background_does_not_make_a_second_press_count(bench):
    free = held_up(bench)
    bench.act("build")
    bench.jobs.list_history()
    free.set()
    bench.act("build")
    assert len(settle(bench).runs) == 1


def test_closing_forgets_what_waits_and_nothing_begins_after_it(bench):
    free = held_up(bench)
    bench.act("build")
    bench.close()
    free.set()
    bench.jobs.wait()
    assert bench.state.runs == ()
    bench.act("build")
    bench.jobs.wait()
    assert bench.state.runs == ()


def test_stop_does_not_wait_for_a_panel_that_is_being_drawn(bench):
    stopped = threading.Event()
    with bench.state.lock:
        press = threading.Thread(target=lambda: bench.act("stop"))
        press.start()
        stopped = bench.jobs._cancel.wait(5)
    press.join()
    assert stopped


def test_node_errors_come_of_the_run_that_is_shown_and_of_no_other(bench, tmp_path):
    copy = tmp_path / "mine.onnx"
    shutil.copy(trtlab.load("zoo:digits_mobile").path, copy)
    state = bench.state
    state.update(precision="int8")
    bench.act("build")
    run = settle(bench).selected
    bench.act("per-node", "1")
    settle(bench)
    assert state.problem is None
    assert state.selected.accuracy.nodes
    assert state.selected.accuracy.labels == run.accuracy.labels
    other = dataclasses.replace(run, line=dataclasses.replace(run.line, origin=str(copy)))
    state.update(runs=(other,), selected=other)
    bench.act("per-node", "1")
    settle(bench)
    assert "another model" in state.problem.what
    assert state.selected is other


def test_a_name_that_no_disk_knows_is_told(bench):
    bench.act("open", "x" * 300 + ".onnx")
    settle(bench)
    assert bench.state.problem.field == "source"
    assert "report" not in bench.state.problem.hint


def test_closing_stops_the_job_and_leaves_no_process(bench):
    bench.state.update(quick=False)
    started = when(bench.state, lambda s: s.job and len(s.job.bars) > 2, "job")
    bench.act("build")
    assert started.wait(60)
    bench.close()
    bench.jobs.wait()
    assert not workers_of_this_process()


def test_a_workspace_that_is_too_small_is_told_with_a_way_out(bench, rtx):
    state = bench.state
    state.update(builder=rtx, target="sm89", workspace_bytes=2**10)
    bench.act("build")
    settle(bench)
    shown = text(bench)
    assert "workspace limit" in shown
    assert "too small" in shown
    assert state.problem.field == "workspace_bytes"
    assert state.runs[-1].failure.kind == "workspace"
    fix = state.problem.actions[0]
    assert fix.act == "set-workspace-build"
    bench.act(fix.act, fix.value)
    settle(bench)
    assert state.problem is None
    assert state.selected.plan.config.workspace_bytes == int(fix.value)
    assert "trtlab-problem" not in text(bench)


def test_the_smallest_workspace_is_searched_and_marked(bench, rtx):
    bench.state.update(builder=rtx, target="sm89")
    bench.act("search-workspace")
    settle(bench)
    (curve,) = bench.state.curves()
    assert curve.smallest_bytes is not None
    assert "smallest known to build" in text(bench)


def test_a_recording_is_made_live_with_one_press(rtx):
    made = trtlab.Workbench.recorded()
    recorded = made.state.selected
    state = made.state
    state.update(selected=next(r for r in state.runs if r.model.name == "zoo:digits_mobile"))
    made.act("live")
    made.jobs.wait()
    assert state.recorded == ""
    assert state.problem is None
    assert state.selected.source == "here"
    assert state.selected is not recorded
    assert state.selected.plan.config.backend == rtx
    assert state.selected.setup.builder == rtx
    made.close()
