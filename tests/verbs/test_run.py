"""``run``: a configuration from the model to engine, speed, layers and accuracy."""

import shutil
import threading

import pytest

import trtlab
from trtlab.errors import JobCancelled, SpecError
from trtlab.record import Plan, Run
from trtlab.store import Store
from trtlab.verbs.run import history, known_run, run_with, whole_run

pytestmark = pytest.mark.native


def on_cpu(**settings):
    return trtlab.run("zoo:digits", builder="onnxruntime", quick=True, **settings)


def test_a_run_has_all_that_can_be_known_here():
    parts = []
    run = on_cpu(batch=2, on_part=parts.append)
    assert parts == ["build", "measure", "layers", "accuracy"]
    assert run.plan == run.ran
    assert run.measurement.batch == 2
    assert run.profile.plan == run.ran.hash
    assert run.accuracy.labels.top1 > 0.9
    assert run.line.origin == "zoo:digits"
    assert run.line.seconds > 0
    assert run.line.latency_ms == run.measurement.median_ms
    row = run.row()
    assert row["latency_ms"] == run.measurement.median_ms
    assert row["builder_activation_bytes"] is None
    assert "(measured)" in repr(run)
    assert list(run.df.columns) == list(row)


def test_the_same_again_comes_from_the_store_and_runs_nothing():
    first = on_cpu(batch=2)
    parts = []
    again = on_cpu(batch=2, on_part=parts.append)
    assert parts == []
    assert again.from_store
    assert again.measurement == first.measurement
    assert again.line == first.line
    assert on_cpu(batch=1).from_store is False


def test_the_same_content_under_another_name_is_another_run(tmp_path):
    copy = tmp_path / "mine.onnx"
    shutil.copy(trtlab.load("zoo:digits").path, copy)
    mine = trtlab.run(copy, builder="onnxruntime", quick=True, batch=1)
    zoo = on_cpu(batch=1)
    assert not zoo.from_store
    assert zoo.line.origin == "zoo:digits"
    assert zoo.accuracy is not None
    assert mine.accuracy is None
    again = trtlab.run(copy, builder="onnxruntime", quick=True, batch=1)
    assert again.from_store, "what the store has under another path is kept all the same"
    assert again.line.origin == str(copy)


def test_a_run_that_failed_while_running_shows_its_engine_and_is_tried_again(monkeypatch):
    from trtlab.errors import ExecutionError
    from trtlab.verbs import sweep

    def fails(*_args, **_more):
        raise ExecutionError("A Reshape does not fit.", hint="Other shapes.")

    monkeypatch.setattr(sweep, "benchmark_with", fails)
    run = on_cpu(batch=2)
    assert run.plan is not None
    assert "Reshape" in run.why_no("measurement")
    monkeypatch.undo()
    assert on_cpu(batch=2).measurement is not None


def test_only_building_can_be_asked_for():
    run = on_cpu(batch=1, runner="none")
    assert run.plan is not None
    assert run.measurement is None
    assert run.setup.runner is None


def test_a_run_whose_record_is_gone_is_made_again():
    run = on_cpu(batch=1)
    store = Store()
    path = store._record_path(run.line.measurement)
    path.unlink()
    assert whole_run(run.line, store) is None
    assert known_run(trtlab.load("zoo:digits"), run.setup, store) is None
    assert on_cpu(batch=1).measurement is not None


def test_what_does_not_run_here_says_why():
    run = on_cpu(batch=1, precision="fp16")
    assert run.measurement is None
    assert "widens FP16" in run.why_no("measurement")
    assert run.profile is None
    assert run.accuracy.origin == "estimated"
    assert run.recipe == "fp16"
    assert run.model.recipe == "fp32"
    assert run.line.made.parent == run.model.hash


def test_a_model_without_labels_has_no_accuracy(tmp_path):
    model = trtlab.load("zoo:digits")
    copy = tmp_path / "mine.onnx"
    shutil.copy(model.path, copy)
    run = trtlab.run(copy, builder="onnxruntime", quick=True, batch=1)
    assert run.accuracy is None
    assert "no labelled data" in run.why_no("accuracy")
    assert run.line.origin == str(copy)


def test_a_shape_that_does_not_run_is_no_error():
    run = on_cpu(shapes={"image": (2, 1, 8, 8)})
    assert run.measurement.batch == 2


def test_the_history_lists_the_newest_first_and_reads_no_samples():
    runs = [on_cpu(batch=b) for b in (1, 2)]
    lines = list(history(Store(), 10))
    assert {line.setup.batch for line in lines} == {1, 2}
    assert all(line.latency_ms for line in lines)
    found = whole_run(lines[0], Store())
    assert isinstance(found, Run)
    assert found.measurement in [r.measurement for r in runs]
    assert len(list(history(Store(), 1))) == 1


def test_a_cancelled_run_leaves_nothing_half_made():
    cancel = threading.Event()
    cancel.set()
    model = trtlab.load("zoo:digits")
    from trtlab.spec import Setup

    with pytest.raises(JobCancelled):
        run_with(model, Setup(batch=1, quick=True), store=Store(), cancel=cancel)
    assert list(history(Store(), 10)) == []


def test_wrong_batches_are_refused():
    with pytest.raises(SpecError, match="one batch size or three"):
        on_cpu(batches=(1, 2))


def test_an_engine_that_cannot_run_stands_beside_a_run(rtx):
    run = trtlab.run("zoo:digits", builder=rtx, target="sm89", batches=(1, 2, 4), quick=True)
    assert isinstance(run.plan, Plan)
    assert run.plan.config.backend == rtx
    assert run.ran.config.backend == "onnxruntime"
    assert run.plan.hash != run.ran.hash
    assert run.measurement.plan == run.ran.hash
    assert run.batch == 2, "the optimal batch is measured"
    row = run.row()
    assert row["builder"] == rtx
    assert row["runner"] == "onnxruntime"
    assert row["builder_activation_bytes"] > 0


def test_a_plan_alone_is_a_run_too(rtx):
    run = trtlab.run("zoo:digits", builder=rtx, target="sm89", batches=2, runner="onnxruntime",
                     precision="bf16", quick=True)  # fmt: skip
    assert run.plan is not None
    assert run.measurement is None
    assert "BF16" in run.why_no("measurement")
    assert run.accuracy is None
