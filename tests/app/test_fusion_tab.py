"""The Fusion tab without a browser: one graph for each plan, lit by what is selected."""

import re
from dataclasses import replace

import pytest

from tests import drawing, making, whole_runs
from tests.app.test_layers_tab import ENGINE, RAN, layers_of, run
from tests.fusing import fused, part
from trtlab.app.panels.fusion_tab import MOST_VIEWS, FusionView, fusion_sentence
from trtlab.app.state import State
from trtlab.record import Fate
from trtlab.views.widgets.graph_view import GraphView


def panel(*runs, baseline=None):
    state = State(tab="fusion")
    state.take_graphs({making.MODEL.hash: ENGINE.graph})
    made = FusionView(state)
    state.update(runs=runs, selected=runs[-1] if runs else None, baseline=baseline)
    return made


def view(made):
    return next((child for child in made.children if isinstance(child, GraphView)), None)


def drawn(made):
    return "".join(child.value for child in made.children if hasattr(child, "value"))


def other_plan(number):
    return run(plan=whole_runs.engine(hash=f"{number:02x}" * 32, layers=layers_of(ENGINE)))


def test_the_graph_is_shown_with_the_sentence():
    made = panel(run())
    assert "What became of my graph?" in drawn(made)
    assert "6 ONNX nodes → 4 engine layers (builder): 3 from your nodes" in drawn(made)
    assert view(made).theme == "light"


def test_theme_and_selection_change_the_graph_and_make_no_other():
    made = panel(run())
    first = view(made)
    made.state.update(theme="dark")
    made.state.update(layer="layer:second")
    assert view(made) is first
    assert (first.theme, first.selected) == ("dark", "layer:second")


def test_what_is_selected_in_the_graph_is_selected_everywhere():
    made = panel(run())
    assert "Select a node or a layer first." in drawn(made)
    view(made).selected = "node:add"
    assert made.state.layer == "node:add"
    assert "Select a node or a layer first." not in drawn(made)
    assert "data-act='tab' data-value='layers'" in drawn(made)
    view(made).selected = ""
    assert made.state.layer == ""


def test_a_selection_of_another_plan_lights_nothing_and_stays():
    made = panel(run())
    made.state.update(layer="layer:second")
    made.state.update(layer="layer:relu")
    assert view(made).selected == ""
    assert made.state.layer == "layer:relu"
    made.act("fusion-engine", "ran")
    assert view(made).selected == "layer:relu"


def test_two_engines_side_by_side_share_the_selection():
    a, b = run(plan=whole_runs.engine(hash="aa" * 32, layers=layers_of(RAN))), run()
    made = panel(a, b, baseline=a)
    assert made.act("fusion-engine", "both")
    pair = view(made)
    made.state.update(layer="layer:first")
    assert pair.selected == "B:first"
    made.state.update(layer="layer:conv")
    assert pair.selected == "A:conv"
    pair.selected = "A:second"
    assert made.state.layer == "layer:second"
    assert pair.selected == "A:second", "B has a layer of that name too"
    assert "sets of nodes lie in other layers" in drawn(made)


def test_side_by_side_is_offered_with_a_baseline_only():
    made = panel(run())
    assert "data-value='both'" not in drawn(made)
    made.state.update(baseline=other_plan(1))
    assert re.findall("data-act='fusion-engine' data-value='(.*?)'", drawn(made)) == [
        "b", "a", "both", "ran",
    ]  # fmt: skip
    made.act("fusion-engine", "both")
    made.state.update(baseline=None)
    assert "aria-pressed='true'>Engine of B" in drawn(made)


def test_few_graphs_are_kept_and_the_others_closed():
    plans = [other_plan(n) for n in range(1, MOST_VIEWS + 2)]
    made = panel(plans[0])
    seen = [view(made)]
    for one in plans[1:]:
        made.state.update(selected=one)
        seen.append(view(made))
    assert len(set(seen)) == len(plans)
    assert [one.comm is None for one in seen] == [True, *[False] * MOST_VIEWS]
    made.state.update(selected=plans[1])
    assert view(made) is seen[1], "what is kept is shown again"
    made.state.update(selected=plans[0])
    assert view(made) is not seen[0]
    assert [one.comm is None for one in seen] == [True, False, True, False], (
        "not the one just shown"
    )


def test_why_a_graph_is_not_there_stands_in_its_place():
    made = panel(run(plan=whole_runs.engine(layers=None)))
    assert view(made) is None
    assert "does not say which layers it has" in drawn(made)
    made.act("fusion-engine", "ran")
    assert view(made) is not None


@pytest.mark.parametrize("runs", [(), (whole_runs.failed("No <b>room</b>."),)])
def test_nothing_built_is_no_error(runs):
    made = panel(*runs)
    assert view(made) is None
    assert "n/a" in drawn(made)
    assert "<b>room" not in drawn(made)
    assert "Please report" not in drawn(made)


def test_other_acts_are_not_for_this_panel():
    assert not panel(run()).act("layer", "layer:first")


def test_the_sentence_counts_what_was_added_removed_and_is_not_known():
    fusion = fused(
        part("one", "c1 r1"),
        part("odd", family="not named"),
        part("move"),
        part("wait", family="sync, shape"),
        part("signal", family="sync, shape"),
        nodes="p1",
        fates=[Fate("g1", "removed", (), "identity"), Fate("k1", "folded", (), "constant inputs")],
    )
    assert fusion_sentence(fusion) == (
        "5 ONNX nodes → 5 engine layers (builder): 1 from your nodes, 3 added by the builder "
        "(1 to move data, 2 for order and shapes), 1 for which no node is named. 1 node removed, "
        "1 node folded into constants. 1 node (20 %) is unexplained: no rule says what became "
        "of it."
    )


def test_the_sentence_says_what_the_builder_does_not_open():
    fusion = fused(part("one", "c1"), fates=[Fate("c2", "opaque", (0,), "region")])
    assert "1 node (50 %) is opaque" in fusion_sentence(fusion)
    several = replace(
        fused(part("one", "c1"), nodes="p1 p2"), graph_source="names", backend="ONNX Runtime"
    )
    text = fusion_sentence(several)
    assert text.startswith("3 nodes (rebuilt from the layers' names) → 1 layer (builder): 1 from")
    assert "2 nodes (67 %) are unexplained: no rule says what became of them." in text
    assert drawing.residual().summary["unexplained_share"] == 0
    assert "unexplained" not in fusion_sentence(drawing.residual())
