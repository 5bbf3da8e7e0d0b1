"""The Layers tab without a browser: the state fills it, what it draws sends acts back."""

import re
from dataclasses import replace
from html import unescape

import pytest

from tests import drawing, making, whole_runs
from trtlab.app.panels.layers_tab import Layers, engines_of
from trtlab.app.state import State
from trtlab.codec import Int64Array
from trtlab.record import EngineLayer

ENGINE, RAN = drawing.residual(), drawing.apart()
SYNC = EngineLayer("wait<1>", "wait", (), ())
HELD = {
    "first": ("c1", "r1"),
    "second": ("c2", "add", "r2"),
    "fc_layer": ("fc",),
    "conv": ("c1",),
    "relu": ("r1",),
}


def layers_of(fusion, *more):
    return (*(replace(y, nodes=HELD[y.name]) for y in fusion.layers), *more)


def run(**parts):
    """An engine of three layers and a wait; four layers of 10 to 40 µs in the plan that ran."""
    times = [making.layer(y.name, (n * 10,) * 8) for n, y in enumerate(RAN.layers, 1)]
    profile = making.layer_profile(
        layers=tuple(times), runs_ns=Int64Array([10**6] * 8), batch=8, plan=whole_runs.HOST
    )
    return whole_runs.run(
        "fp32",
        **{
            "plan": whole_runs.engine(layers=layers_of(ENGINE, SYNC)),
            "ran": making.plan(hash=whole_runs.HOST, layers=layers_of(RAN)),
            "profile": profile,
        }
        | parts,
    )


def panel(*runs, baseline=None):
    state = State(tab="layers")
    state.take_graphs({making.MODEL.hash: ENGINE.graph})
    made = Layers(state)
    state.update(runs=runs, selected=runs[-1] if runs else None, baseline=baseline)
    return made


def drawn(made):
    return "".join(child.value for child in made.children if hasattr(child, "value"))


def filters(made):
    return made.children[1].children[1].value


def rows(made):
    """The cells of each row as plain text, without what is hidden."""
    found = re.findall(r"<tr tabindex='0'.*?</tr>", drawn(made))
    shown = [re.sub(r"<span hidden>.*?</span>", "", row) for row in found]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in shown]
    return [[plain(cell) for cell in row] for row in cells]


def plain(text):
    return unescape(re.sub(r"<[^>]*>", "", text)).replace("\xa0", " ").strip()


def test_the_engines_layers_stand_beside_the_time_of_the_same_nodes():
    made = panel(run())
    assert [row[1] for row in rows(made)] == ["first", "second", "fc_layer"]
    assert [row[2] for row in rows(made)] == ["G1 c1 · r1", "G2 c2 · add · r2", "G3 fc"]
    assert [row[6] for row in rows(made)] == ["n/a"] * 3, "no GPU ran"
    assert [row[7].split()[0] for row in rows(made)] == ["30", "30.0", "40.0"]
    text = plain(drawn(made))
    assert "n 8 profiled runs at batch 8" in text
    assert "built ahead of time for sm89 and did not run here" in text


def test_layers_that_only_wait_are_counted_and_shown_on_demand():
    made = panel(run())
    assert "1 sync, shape" in filters(made)
    assert made.act("layers-sync", "true")
    assert [row[1] for row in rows(made)][-1] == "wait<1>"
    assert "wait<1>" not in drawn(made), "names from models are escaped"


def test_filters_by_type_and_choice_of_the_engine():
    made = panel(run())
    made.act("layers-type", "gemm")
    assert [row[1] for row in rows(made)] == ["fc_layer"]
    made.act("layers-engine", "ran")
    assert [row[1] for row in rows(made)] == ["conv", "relu", "second", "fc_layer"]
    assert [row[6].split()[0] for row in rows(made)] == ["10.0", "20.0", "30.0", "40.0"]
    assert "no GPU has a part in it" in drawn(made)


def test_what_is_gone_from_the_choice_falls_back_to_the_selected_run():
    other = run()
    made = panel(run(), other, baseline=other)
    assert list(engines_of(made.state)) == ["b", "a", "ran"]
    made.act("layers-engine", "a")
    made.state.update(baseline=None)
    assert "value='b' selected" in filters(made)


def test_bars_show_one_measure_and_the_sentence_follows():
    made = panel(run())
    assert "sum of layer times (measured, n 8)" in drawn(made)
    bars = drawn(made).count("trtlab-layers-bar'")
    assert bars == 3
    made.act("layers-bars", "flops")
    assert drawn(made).count("trtlab-layers-bar'") == 1, "of one layer the FLOP are known"
    assert "sum of FLOP (estimated)" in drawn(made)


def test_a_click_selects_in_the_state_and_a_second_one_lets_go():
    made = panel(run())
    assert made.act("layer", "layer:second")
    assert made.state.layer == "layer:second"
    assert drawn(made).count("aria-selected='true'") == 1
    made.state.update(layer="node:r1")
    chosen = re.search(r"data-value='([^']*)' aria-selected='true'", drawn(made))
    assert chosen[1] == "layer:first", "a node's layer is lit"
    made.act("layer", "layer:first")
    made.act("layer", "layer:first")
    assert made.state.layer == ""


def test_a_selection_that_is_not_here_is_named():
    made = panel(run())
    made.state.update(layer="layer:<elsewhere>")
    assert "not in these rows: &lt;elsewhere&gt;" in drawn(made)


def test_without_a_profile_times_are_not_there_and_say_why():
    bare = run(profile=None)
    bare = whole_runs.relined(bare, missing={"profile": "profiling was stopped"})
    made = panel(bare)
    assert [row[7] for row in rows(made)] == ["n/a"] * 3
    assert "title='profiling was stopped'" in drawn(made)
    assert "Layer times: n/a." in drawn(made)
    assert "same ONNX nodes" not in drawn(made)


def test_gpu_times_of_the_very_plan_stand_in_their_own_column():
    plan = replace(whole_runs.engine(layers=layers_of(ENGINE)))
    times = tuple(making.layer(y.name, (n * 1000,) * 8) for n, y in enumerate(ENGINE.layers, 1))
    profile = making.layer_profile(
        layers=times, runs_ns=Int64Array([10**7] * 8), plan=plan.hash, time_kind="gpu"
    )
    made = panel(run(plan=plan, ran=plan, profile=profile))
    assert [row[5].split()[0] for row in rows(made)] == ["1.00", "2.00", "3.00"]
    assert "CPU" not in plain(drawn(made)).split("Layers #")[0]
    assert "Why is GPU time n/a?" not in drawn(made)


def test_a_latency_is_never_a_sum_of_layers():
    made = panel(run())
    text = plain(drawn(made))
    assert "Sum of layer times, profiled run (n 8)" in text
    assert "Latency p50, not profiled (n 30)1.00 ms" in text
    assert "Between layers, call overhead+0.900 ms" in text
    assert "= not distinguishable from 0" in text


def test_a_plan_without_layers_says_so_in_place():
    made = panel(run(plan=whole_runs.engine(layers=None)))
    assert "does not say which layers it has" in drawn(made)
    assert "value='ran'" in filters(made), "the plan that ran can still be chosen"


@pytest.mark.parametrize("runs", [(), (whole_runs.failed(),)])
def test_nothing_built_is_no_error(runs):
    made = panel(*runs)
    assert "n/a" in drawn(made)
    assert "Please report" not in drawn(made)


def test_many_layers_are_cut_to_the_heaviest_until_all_are_asked_for():
    tower = drawing.tower(100)
    state = State(tab="layers")
    made = Layers(state)
    plan = whole_runs.engine(layers=tower.layers)
    state.take_graphs({making.MODEL.hash: tower.graph})
    one = whole_runs.run("fp32", plan=plan, profile=None)
    state.update(runs=(one,), selected=one)
    assert len(rows(made)) == 200
    assert "200 heaviest of 300 layers" in drawn(made)
    made.act("layers-all", "")
    assert len(rows(made)) == 300


def test_the_search_field_is_not_drawn_again():
    made = panel(run())
    field = made.children[1].children[0]
    before = field.value
    made.act("layers-bars", "bytes")
    made.state.update(layer="layer:first", theme="dark")
    assert made.children[1].children[0] is field
    assert field.value == before


def test_other_acts_are_not_for_this_panel():
    made = panel(run())
    assert not made.act("layers-bars", "colour")
    assert not made.act("open", "x")


def test_gpu_times_of_another_plan_are_named_as_that():
    made = panel(run(profile=replace(run().profile, time_kind="gpu")))
    assert "GPU time, same nodes, µs" in plain(drawn(made))
    assert [row[6] for row in rows(made)] == ["n/a"] * 3
    assert "Why is GPU time n/a?" in drawn(made)
