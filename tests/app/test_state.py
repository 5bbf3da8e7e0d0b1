"""The state without widgets: changes, listeners, what the controls ask for."""

import threading

import pytest

from tests.app.benches import a_run
from tests.making import X, Y
from trtlab.app.state import State, setup_changes
from trtlab.errors import SpecError, TrtlabError
from trtlab.model.types import Model
from trtlab.spec import Setup


def a_model(recipe="fp32", **parts):
    shape = {"inputs": (X,), "outputs": (Y,)} | parts
    return Model(
        name="digits",
        path="digits.onnx",
        hash="a1" * 32,
        opset=17,
        ir_version=8,
        parameters=25,
        weight_bytes=100,
        recipe=recipe,
        **shape,
    )


def test_listeners_are_told_once_of_a_change_of_several_traits():
    state, calls = State(), []
    state.listen(lambda: calls.append(1), "precision", "batches")
    calls.clear()
    state.update(precision="int8", batches=(1, 2, 4), quick=False)
    assert calls == [1]
    state.update(quick=True)
    state.update(precision="int8", batches=(1, 2, 4))
    assert calls == [1], "what did not change is not told"


def test_a_listener_that_fails_is_told_of_and_keeps_nothing_from_the_others():
    state, heard = State(), []
    state.listen(lambda: state.quick or 1 / 0, "quick")
    state.listen(lambda: heard.append(state.quick), "quick")
    state.update(quick=False)
    assert heard == [True, False]
    assert "ZeroDivisionError" in state.problem.what


def test_an_update_and_its_news_are_one_step_for_other_threads():
    state, seen, inside = State(), [], threading.Event()
    other = threading.Thread(target=lambda: (inside.wait(), state.update(quick=True)))

    def slow():
        if not state.quick:
            inside.set()
            other.join(0.2)  # it must wait until this listener has returned
            seen.append((state.quick, state.precision))

    state.listen(slow, "quick")
    other.start()
    state.update(quick=False, precision="int8")
    other.join(10)
    assert seen == [(False, "int8")]
    assert state.quick is True


def test_the_controls_become_a_setup():
    state = State(builder="tensorrt_rtx", target="sm89", workspace_bytes=2**20)
    state.update(opened=a_model(), precision="int8", batches=(1, 4, 8), measure_at=(2, 8))
    first, second = state.setups()
    assert (first.batch, second.batch) == (2, 8)
    assert first.batches == (1, 4, 8)
    assert first.workspace_bytes == 2**20
    assert first.precision == "int8"
    state.update(builder="onnxruntime")
    assert state.setup().workspace_bytes is None, "ONNX Runtime has no workspace"
    assert state.setup().batches is None


def test_a_model_without_a_batch_axis_is_measured_as_it_is():
    fixed = a_model(inputs=(X.__class__("x", "float32", (2, 3)),))
    state = State(builder="tensorrt_rtx", opened=fixed)
    (only,) = state.setups()
    assert only.batch is None
    assert only.batches is None


def test_a_model_that_arrives_quantised_is_not_converted():
    state = State(opened=a_model("qdq"), precision="fp32")
    assert state.setup().precision is None


def test_shapes_are_read_or_refused():
    state = State(shapes_text="ids:8x128")
    assert state.shapes == {"ids": (8, 128)}
    state.update(shapes_text="ids=8")
    with pytest.raises(SpecError):
        _ = state.shapes


def test_differences_name_what_was_changed():
    run = a_run()
    state = State(builder="tensorrt_rtx", target="", runner="onnxruntime", quick=False)
    state.update(opened=a_model(), runs=(run,), selected=run)
    assert state.differences() == []
    state.update(precision="int8", workspace_bytes=2**28)
    assert state.differences() == ["FP32 → INT8", "workspace default → 256 MiB"]


def test_a_failed_run_is_never_what_the_controls_ask_for():
    run = a_run(failure="no")
    state = State(builder="tensorrt_rtx", quick=False)
    state.update(opened=a_model(), runs=(run,), selected=run)
    assert state.differences() != []
    assert state.known() is None


def test_changes_in_words():
    old = Setup(batch=1, builder="tensorrt_rtx", batches=(1, 1, 1))
    new = Setup(batch=2, builder="tensorrt_rtx", batches=(1, 2, 4), quick=True)
    assert setup_changes(old, new) == [
        "batches 1 · 1 · 1 → 1 · 2 · 4",
        "batch 1 → 2",
        "full windows → quick",
    ]


def test_runs_come_in_once_and_are_numbered_from_one():
    state, run = State(), a_run()
    state.add(run)
    state.add(a_run())
    assert len(state.runs) == 1
    assert state.number(state.selected) == 1
    other = a_run("int8")
    state.add(other)
    assert state.number(other) == 2
    assert state.selected is other
    assert state.shown() == state.runs


def test_runs_of_another_model_are_not_shown_together():
    import dataclasses

    run, other = a_run(), a_run("int8")
    line = dataclasses.replace(other.line, model=dataclasses.replace(other.model, hash="c3" * 32))
    other = dataclasses.replace(other, line=line)
    state = State(runs=(run, other), selected=run)
    assert state.shown() == (run,)


def test_runs_that_share_a_plan_have_their_own_times():
    import dataclasses

    from tests import making, running

    one = running.run("fp32")
    one = dataclasses.replace(one, profile=making.layer_profile())
    other = dataclasses.replace(one, profile=making.layer_profile(batch=3))
    state = State(runs=(one, other), selected=one)
    state.take_graphs({})
    assert state.fusion(one) is state.fusion(one)
    assert state.fusion(other) is not state.fusion(one)


def test_a_recorded_run_is_never_what_was_built_here():
    import dataclasses

    run = a_run()
    recorded = dataclasses.replace(run, line=dataclasses.replace(run.line, source="recorded"))
    state = State(builder="tensorrt_rtx", quick=False, opened=a_model())
    state.update(runs=(recorded,), selected=recorded)
    assert state.known() is None
    assert state.differences() == ["what is shown was recorded"]


def test_a_run_without_a_plan_has_no_fusion():
    state = State()
    with pytest.raises(TrtlabError, match="no plan"):
        state.fusion(a_run(failure="too small"))
