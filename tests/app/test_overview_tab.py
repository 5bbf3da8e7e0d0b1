"""Overview through the state: tiles, a sentence, the curve, findings and the engine."""

from dataclasses import replace

from tests import making, running
from tests.app.benches import all_of, text
from trtlab.app.panels.overview_tab import Overview
from trtlab.app.state import Problem, State
from trtlab.record import Failure
from trtlab.spec import Caveat
from trtlab.views.widgets.plotly_view import PlotlyView

EVIL = "<script>x</script>"


def shown(*runs, baseline=None, **changes):
    state = State(tab="overview")
    state.take_graphs({r.line.made.hash: running.graph() for r in runs})
    panel = Overview(state)
    state.update(
        runs=runs,
        selected=runs[-1] if runs else None,
        baseline=None if baseline is None else runs[baseline],
        **changes,
    )
    return panel


def test_without_a_run_it_says_what_to_press():
    panel = shown()
    assert "Build & measure" in text(panel)
    assert not all_of(panel, PlotlyView)


def test_tiles_sentence_curve_and_the_engines_birth():
    panel = shown(running.run(batch=1), running.run(batch=8))
    page = text(panel)
    assert page.index("Throughput") < page.index("In one sentence.") < page.index("What to do")
    assert "3 ONNX nodes → 2 engine layers: 2 from your nodes, 0 without one." in page
    assert "Build 250 ms" in page
    assert "Weights 1.00 KiB" in page
    (view,) = all_of(panel, PlotlyView)
    assert "The ring is the selected run." in view.label
    assert "circle-open" in view.figure
    assert "data-act='tab' data-value='fusion'" in page
    assert "<table>" in page, "the curve's numbers as a table"


def test_the_picture_is_updated_and_not_made_anew():
    panel = shown(running.run(batch=1), running.run(batch=8))
    (view,) = all_of(panel, PlotlyView)
    before = view.figure
    panel.state.update(selected=panel.state.runs[0], theme="dark")
    assert all_of(panel, PlotlyView) == [view]
    assert view.theme == "dark"
    assert view.figure != before


def test_findings_lead_to_their_tab_and_are_escaped():
    run = running.run()
    caveats = (Caveat("unstable", f"Windows {EVIL} differ.", "Close programs."),)
    run = replace(run, measurement=replace(run.measurement, caveats=caveats))
    page = text(shown(run))
    assert "1. The measurement was disturbed" in page
    assert "<strong>Try:</strong> Close programs." in page
    assert "data-act='tab' data-value='curves'" in page
    assert EVIL not in page
    silent = running.run(plan=running.rtx_plan(layers=None))
    assert "Nothing is certain enough" in text(shown(silent))


def test_a_run_that_was_not_built_has_reasons_everywhere():
    failed = running.run(
        plan=None, ran=None, measurement=None, accuracy=None,
        line={"failure": Failure("workspace", f"The limit {EVIL} is too small.", "Raise it.")},
    )  # fmt: skip
    panel = shown(failed)
    page = text(panel)
    assert page.count("too small.") >= 6
    assert "Raise it." in page
    assert EVIL not in page
    assert not all_of(panel, PlotlyView)


def test_an_engine_whose_layers_are_not_told_says_so():
    silent = running.run(plan=running.rtx_plan(layers=None))
    page = text(shown(silent))
    assert "Layers n/a: " in page
    assert "Build 250 ms" in page


def test_a_model_without_a_batch_axis_has_no_curve():
    single = running.run(batch=None, measurement=making.measurement(batch=None))
    panel = shown(single)
    assert "the model has no batch axis" in text(panel)
    assert not all_of(panel, PlotlyView)


def test_below_an_error_the_older_run_is_paler():
    panel = shown(running.run())
    assert "trtlab-old" not in panel._dom_classes
    panel.state.update(problem=Problem("The engine was not built"))
    assert "trtlab-old" in panel._dom_classes
    panel.state.update(problem=None)
    assert "trtlab-old" not in panel._dom_classes


def test_the_fusion_is_worked_out_once(monkeypatch):
    panel = shown(running.run(batch=1), running.run(batch=8))
    made = []
    monkeypatch.setattr(State, "_fuse", lambda *args: made.append(args))
    panel.state.update(theme="dark")
    panel.state.update(baseline=panel.state.runs[0])
    assert made == []
