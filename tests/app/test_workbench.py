"""The workbench without a browser: controls set the state, the state fills the screen."""

import dataclasses
from datetime import UTC, datetime

import ipywidgets as w
import pytest

import trtlab
from tests.app.benches import a_run, all_of, button, field, text
from tests.app.test_state import a_model
from tests.making import measurement
from trtlab.app.machine import Machine
from trtlab.app.panels import TABS
from trtlab.app.workbench import as_recorded
from trtlab.backends.base import Abilities, Ability, BackendStatus
from trtlab.errors import RecordError, SpecError, StoreError
from trtlab.record import Bundle
from trtlab.store import Store
from trtlab.views.widgets.plotly_view import PlotlyView

YES = Ability(True)


def a_machine(*targets, run="", fp8="no FP8 here"):
    """A machine where TensorRT-RTX builds for these targets, and ONNX Runtime runs."""

    def status(name, build, run, targets=()):
        each = Abilities(build, run)
        return BackendStatus(name, "1.0", targets, build, dict.fromkeys(("fp32", "int8"), each))

    no = Ability(False, run or "No NVIDIA driver is installed.", "")
    return Machine(
        {
            "tensorrt": status("tensorrt", no, no),
            "tensorrt_rtx": status("tensorrt_rtx", YES, no, targets or ("sm89",)),
            "onnxruntime": status("onnxruntime", YES, YES, ("cpu",)),
        },
        "",
        "No NVIDIA driver is installed.",
    )


@pytest.fixture(autouse=True)
def told_machine(monkeypatch):
    """What this machine can do is told, not asked: that takes a second."""
    monkeypatch.setattr(Machine, "ask", classmethod(lambda _cls: a_machine()))


@pytest.fixture
def bench():
    made = trtlab.Workbench()
    made.jobs.wait()
    yield made
    made.close()


@pytest.fixture
def filled(bench):
    """One with three runs of a model that is open."""
    m = measurement()
    runs = (a_run(measurement=m), a_run("int8", measurement=m), a_run("fp16"))
    bench.state.update(opened=a_model(), source="zoo:digits", runs=runs, selected=runs[1],
                       baseline=runs[0])  # fmt: skip
    return bench


def test_it_opens_quietly_with_three_ways_in(bench, capsys):
    assert capsys.readouterr().out == ""
    shown = text(bench)
    assert "See what TensorRT makes of your network" in shown
    assert "What this machine can do" in shown
    assert "No NVIDIA driver is installed" in shown
    assert not all_of(bench, PlotlyView)
    for name in ("Build & measure", "Sweep…", "Stop"):
        assert button(bench, name).disabled
    assert shown.count("role='tab'") == len(TABS)
    assert shown.count("disabled>") >= len(TABS), "tabs are seen, but off"


def test_it_is_a_widget_that_displays_nothing_by_itself(bench):
    assert isinstance(bench, w.VBox)
    bundle = bench._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in (
        bundle[0] if isinstance(bundle, tuple) else bundle
    )


@pytest.mark.parametrize("tab", [panel.name for panel in TABS])
def test_every_tab_draws_a_run_with_a_measurement_and_one_without(filled, tab):
    filled.act("tab", tab)
    assert filled.state.tab == tab
    for number in ("2", "3", "1"):
        filled.act("select", number)
        assert "This view was not drawn" not in text(filled)
        assert filled.state.problem is None


def test_two_runs_are_selected_pinned_and_unpinned_by_their_number(filled):
    state = filled.state
    filled.act("pin", "2")
    assert state.baseline is state.runs[1]
    filled.act("unpin")
    assert state.baseline is None
    filled.act("select", "1")
    assert state.selected is state.runs[0]
    filled.act("pin")
    assert state.baseline is state.runs[0]
    for nonsense in ("0", "99", "-1", "x", ""):
        filled.act("select", nonsense)
        assert state.selected is state.runs[0]


def test_the_run_bar_names_both_runs(filled):
    shown = text(filled)
    assert "INT8" in shown
    assert "run 2" in shown
    assert "unpin" in shown


def test_a_changed_control_says_not_built_yet_and_builds_nothing(filled):
    button(filled, "FP32").value = True
    filled.state.update(quick=False)
    assert "Not built yet" in text(filled)
    assert not filled.state.busy
    assert filled.state.job is None or not filled.state.busy


def test_a_control_whose_run_is_known_shows_it_at_once(filled):
    state = filled.state
    wanted = dataclasses.replace(
        state.runs[0].line, setup=state.setup(precision="int8"), made=state.runs[1].line.made
    )
    known = dataclasses.replace(state.runs[1], line=wanted)
    state.update(runs=(*state.runs, known), selected=state.runs[0])
    button(filled, "INT8").value = True
    assert state.selected is known
    assert "✓ Built" in text(filled)


def test_batch_fields_are_checked_in_place(filled):
    state = filled.state
    largest = field(filled, "Batch, max")
    largest.value = "many"
    assert "role='alert'" in text(filled)
    assert state.batches == (1, 8, 16)
    assert button(filled, "Build & measure").disabled
    largest.value = "4"
    assert state.batches == (1, 4, 4), "the optimal batch goes along"
    assert "batches" not in state.wrong
    measure = field(filled, "Batch sizes to measure")
    state.update(builder="tensorrt_rtx", batches=(1, 4, 16))
    measure.value = "1,32"
    assert "Raise max to 32" in text(filled)
    assert state.measure_at == (4,), "it went along when max was lowered below it"
    measure.value = "16, 1"
    assert state.measure_at == (1, 16)
    assert not state.wrong


def test_the_workspace_slider_has_stops_and_a_default(filled):
    filled.state.update(builder="tensorrt_rtx")
    slider = field(filled, "Workspace limit")
    assert slider.value == 0
    slider.value = 2**25
    assert filled.state.workspace_bytes == 2**25
    assert "32.0 MiB" in text(filled)
    filled.act("set-workspace", str(3 * 2**20))
    assert slider.value == 3 * 2**20
    slider.value = 0
    assert filled.state.workspace_bytes is None
    filled.state.update(builder="onnxruntime")
    assert slider.disabled
    assert "has no workspace" in text(filled)


def test_a_precision_that_cannot_be_had_is_off_with_its_reason(filled, monkeypatch):
    monkeypatch.setattr(
        Machine,
        "builds",
        lambda _self, recipe, _builder: Ability(recipe != "fp8", "no FP8 here", ""),
    )
    filled.state.update(machine=a_machine("sm80"))
    fp8 = button(filled, "FP8")
    assert fp8.disabled
    assert fp8.tooltip == "no FP8 here"
    assert "FP8: no FP8 here." in text(filled)
    assert not button(filled, "INT8").disabled


def test_one_precision_is_always_pressed(filled):
    fp32, int8 = button(filled, "FP32"), button(filled, "INT8")
    int8.value = True
    assert not fp32.value
    int8.value = False
    assert int8.value
    assert filled.state.precision == "int8"


def test_a_model_in_another_precision_cannot_be_converted_again(filled):
    filled.state.update(opened=a_model("qdq"), precision="qdq")
    assert all(button(filled, name).disabled for name in ("FP32", "FP16", "INT8", "FP8", "BF16"))
    assert "is in qdq already" in text(filled)


def test_the_theme_follows_the_host_until_somebody_chose(filled):
    filled.frame.host_theme = "dark"
    assert filled.state.theme == "dark"
    assert "trtlab-dark" in filled._dom_classes
    filled.act("theme")
    assert filled.state.theme == "light"
    filled.frame.host_theme = "light"
    filled.frame.host_theme = "dark"
    assert filled.state.theme == "light"


def test_larger_text_and_the_list_of_keys(filled):
    filled.act("large")
    assert "trtlab-large" in filled._dom_classes
    filled.act("help")
    assert "single keys do something" in text(filled)
    filled.act("keys", "false")
    assert filled.frame.single_keys is False
    filled.act("escape")
    assert "single keys do something" not in text(filled)


def test_what_nobody_knows_does_nothing(filled):
    before = filled.state.selected
    for act in ("", "no-such-act", "__init__", "sweep-", "state"):
        filled.act(act, "x")
    assert filled.state.selected is before
    assert filled.state.problem is None


def test_an_unforeseen_error_is_told_and_not_raised(filled, monkeypatch):
    monkeypatch.setattr(filled, "_do_tab", lambda _v: 1 / 0)
    filled.act("tab", "curves")
    assert "ZeroDivisionError" in text(filled)
    assert "Traceback" not in text(filled)
    filled.act("dismiss")
    assert "ZeroDivisionError" not in text(filled)


def test_names_from_a_model_are_never_markup(filled):
    state = filled.state
    evil = dataclasses.replace(
        state.runs[1].line,
        model=dataclasses.replace(state.runs[1].model, name="<script>alert(1)</script>"),
    )
    run = dataclasses.replace(state.runs[1], line=evil)
    state.update(
        runs=(run,), selected=run, opened=dataclasses.replace(a_model(), name="<img src=x>")
    )
    for panel in TABS:
        filled.act("tab", panel.name)
        assert "<script" not in text(filled)
        assert "<img" not in text(filled)


def test_a_failed_run_is_shown_as_what_failed(filled):
    failed = a_run(failure="the limit is too small")
    filled.state.update(runs=(*filled.state.runs, failed), selected=failed)
    for panel in TABS:
        filled.act("tab", panel.name)
        assert "This view was not drawn" not in text(filled)
    assert "not built" in text(filled)


# Sweeping


def test_a_sweep_asks_first_and_counts_its_points(filled):
    state = filled.state
    filled.act("sweep")
    assert "What to sweep?" in text(filled)
    assert state.asked["batch"] == "1,2,4,8,16"
    filled.act("sweep-batch", "1,4")
    filled.act("sweep-int8", "true")
    assert state.asked["precision"].split(",") == ["fp32", "int8"]
    assert state.asked["points"] == "4"
    state.update(builder="tensorrt_rtx")
    filled.act("sweep-workspace", "16MiB,256MiB")
    assert state.asked["points"] == "8"
    filled.act("sweep-workspace", "much")
    assert "role='alert'" in text(filled)
    assert state.asked["points"] == "0"
    filled.act("sweep-workspace", "")
    filled.act("sweep-batch", "1,64")
    assert "built for batch 1 to 16" in text(filled)
    filled.act("escape")
    assert "What to sweep?" not in text(filled)


# Bundles


def test_a_recording_is_shown_marked_and_builds_nothing(bench):
    m = measurement()
    runs = (a_run(measurement=m), a_run("int8", measurement=m))
    bench.show_bundle(Bundle("talk", runs))
    state = bench.state
    assert state.selected.recipe == "int8"
    assert state.baseline.recipe == "fp32"
    assert {run.source for run in state.runs} == {"recorded"}
    assert state.precision == "int8", "the controls say what the run was asked to be"
    shown = text(bench)
    assert "Recorded on" in shown
    assert "Make it live" in shown
    assert button(bench, "Build & measure").disabled
    bench.act("build")
    bench.act("sweep")
    bench.act("search-workspace")
    assert not state.busy
    bench.act("select", "1")
    assert state.precision == "fp32"


def test_marking_reaches_every_record():
    run = as_recorded(a_run(measurement=measurement()))
    assert run.source == run.measurement.source == "recorded"


def test_an_empty_bundle_is_refused(bench):
    with pytest.raises(SpecError, match="no run"):
        bench.show_bundle(Bundle("empty", ()))


def test_what_is_no_bundle_is_told_in_place(bench, tmp_path):
    file = tmp_path / "talk.trtlab"
    file.write_bytes(b"no zip")
    bench.act("open", str(file))
    assert bench.state.problem is not None
    assert "Traceback" not in text(bench)
    with pytest.raises(RecordError):
        trtlab.Workbench.recorded(file)


def test_the_shipped_bundle_opens_filled():
    made = trtlab.Workbench.recorded()
    try:
        state = made.state
        assert len(state.runs) > 10
        assert state.baseline.model == state.selected.model
        assert state.selected.plan.layers
        assert state.selected.measurement is not None
        for panel in TABS:
            made.act("tab", panel.name)
            assert "This view was not drawn" not in text(made)
        assert {r.source for r in state.runs} == {"recorded"}
        assert all(r.plan.model_path is None for r in state.runs)
    finally:
        made.close()


# What the page sends


def test_an_upload_that_is_too_large_is_told_with_the_way_out(bench):
    bench.act("too-large", "big.onnx\n1073741824")
    shown = text(bench)
    assert "1.07 GB" in shown
    assert "uploads end at 10 MB" in shown
    assert "Type its path" in shown


def test_an_uploaded_file_lies_beside_the_notebook_under_its_own_name(
    bench, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr(bench.jobs, "open", opened.append)
    upload = all_of(bench, w.FileUpload)[0]

    def take(name, content):
        upload.value = ({"name": name, "type": "", "size": len(content), "content": content,
                         "last_modified": datetime.now(UTC)},)  # fmt: skip

    take("../../evil.onnx", b"one")
    take("evil.onnx", b"two")
    assert opened == ["evil.onnx", "evil-2.onnx"]
    assert (tmp_path / "evil.onnx").read_bytes() == b"one"
    assert (tmp_path / "evil-2.onnx").read_bytes() == b"two"


@pytest.mark.parametrize("settings", [
    {"theme": "blue"}, {"height": 100}, {"precision": "fp7"}, {"batches": (4, 2, 1)},
    {"workspace": "much"},
])  # fmt: skip
def test_wrong_settings_are_refused_at_once(settings):
    with pytest.raises(SpecError):
        trtlab.Workbench(**settings)


def test_a_store_that_cannot_be_used_is_told(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TRTLAB_HOME", str(tmp_path / "file"))
    made = trtlab.Workbench("zoo:digits")
    made.jobs.wait()
    assert "The store cannot be used" in text(made)
    made.close()
    with pytest.raises(StoreError):
        Store()


def test_two_workbenches_share_nothing(filled):
    other = trtlab.Workbench()
    other.jobs.wait()
    other.act("theme")
    assert other.state.theme == "dark"
    assert filled.state.theme == "light"
    assert other.state.runs == ()
    other.close()


def test_engines_that_other_tools_described_open_beside_each_other(bench, shared_data):
    folder = shared_data / "engines"
    for name in (
        "pytorch_resnet_A100_fp16",
        "pytorch_resnet_A100_qat",
        "cookbook_EngineInspector",
    ):
        bench.act("open", str(folder / name))
        assert bench.state.problem is None, name
        for panel in TABS:
            bench.act("tab", panel.name)
            assert "This view was not drawn" not in text(bench)
    assert len(bench.state.runs) == 3
    assert "A100" in text(bench)
    assert {run.source for run in bench.state.runs} == {"recorded"}
