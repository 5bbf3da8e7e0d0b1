"""Compare through the state: settings, headline, groups; nothing subtracted that must not be."""

import re
from dataclasses import replace

import pytest

from tests import making, running
from tests.app.benches import text
from trtlab.app.panels.compare_tab import Compare
from trtlab.app.state import State
from trtlab.codec import Int64Array
from trtlab.record import LayerTensor
from trtlab.spec import Caveat

EVIL = "<script>x</script>"


def host_plan(recipe, name="conv"):
    """ONNX Runtime's plan of the net: two layers with their nodes."""
    x, h, y = (LayerTensor(t, "float32", None) for t in ("x", "h", "y"))
    layers = (
        making.EngineLayer(name, "FusedConv", (x,), (h,), "ms", nodes=("conv", "relu")),
        making.EngineLayer("fc", "Gemm", (h,), (y,), nodes=("fc",)),
    )
    made = running.run(recipe).line.made
    return making.plan(model=made, layers=layers, hash=recipe.encode().hex().ljust(64, "c"))


def profile(plan, conv_us, fc_us):
    samples = [(us,) * 11 for us in (conv_us, fc_us)]
    layers = [making.layer(y.name, s) for y, s in zip(plan.layers, samples, strict=True)]
    return making.layer_profile(
        model=plan.model, plan=plan.hash, batch=8, layers=tuple(layers),
        runs_ns=Int64Array([10**7] * 11),
    )  # fmt: skip


def run(recipe="fp32", conv_us=4000, fc_us=100, ms=4.0, **parts):
    plan = host_plan(recipe)
    m = making.measurement(
        [ms * f for f in (1, 1.01, 0.99, 1, 1.02, 0.98, 1, 1)], model=plan.model, batch=8
    )
    return running.run(
        recipe,
        **{"ran": plan, "measurement": m, "profile": profile(plan, conv_us, fc_us)} | parts,
    )


def shown(*runs, baseline=0, **changes):
    state = State(tab="compare")
    state.take_graphs({r.line.made.hash: running.graph() for r in runs})
    panel = Compare(state)
    state.update(
        runs=runs, selected=runs[-1] if runs else None,
        baseline=None if baseline is None else runs[baseline], **changes,
    )  # fmt: skip
    return panel


def row(page, head):
    """The cells of a table's row as text."""
    found = next(r for r in page.split("<tr")[1:] if re.search(rf"<th scope='row'>{head}\b", r))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", found.split("</tr>")[0])
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", cell)).strip() for cell in cells]


def test_without_a_baseline_it_offers_the_other_runs():
    panel = shown(run(), run("int8"), run("fp16"), baseline=None)
    page = text(panel)
    assert "Pin run 1 as A" in page
    assert "data-act='pin' data-value='2'" in page
    assert "Pin run 3" not in page
    panel.state.update(baseline=panel.state.selected)
    assert "A and B are the same run" in text(panel)
    assert "Build another run" in text(shown(run(), baseline=None))
    assert "No run yet" in text(shown(baseline=None))


def test_settings_mark_what_differs_by_a_sign_and_not_by_colour_alone():
    page = text(shown(run(), run("int8", ms=1.0)))
    assert row(page, "Precision") == ["FP32", "INT8"]
    assert row(page, "Batch") == ["8"]
    assert page.count("aria-label='differs'>≠<") == 1
    assert "✓ Comparable." in page
    assert "One setting differs: precision." in page


def test_the_headline_tells_values_intervals_and_verdicts():
    page = text(shown(run(ms=4.0), run("int8", ms=1.0)))
    latency = row(page, "Latency p50")
    assert latency[0] == "4.00 ms [4.00, 4.00]"
    assert latency[2].startswith("−75 % [")
    assert latency[3] == "▼ faster"
    assert row(page, "Throughput")[3] == "▲ more"
    assert row(page, "Activations")[2:] == ["0 %", "= the same, exact"]
    assert row(page, "Efficiency") == ["n/a", "n/a", "n/a", "not compared"]
    assert page.count("this machine reports no power") == 1
    assert "Latency p50: A n 24, B n 24" in page


def test_inside_the_noise_nothing_has_a_colour():
    page = text(shown(run(ms=4.0), run("int8", ms=4.05)))
    assert row(page, "Latency p50")[3] == "= not distinguishable"
    headline = page.split("Headline")[1].split("</section>")[0].split("Top-1")[0]
    assert "'trtlab-ok'" not in headline
    assert "'trtlab-bad'" not in headline


def test_of_a_disturbed_run_nothing_is_claimed():
    busy = run("int8", ms=1.0)
    caveats = (Caveat("busy-machine", f"Others {EVIL} were busy.", ""),)
    busy = replace(busy, measurement=replace(busy.measurement, caveats=caveats))
    page = text(shown(run(), busy))
    assert row(page, "Latency p50")[3] == "▼ doubtful"
    assert "B: Others" in page
    assert EVIL not in page


def test_groups_of_the_plans_that_ran_have_times_bars_and_a_sentence():
    page = text(shown(run(conv_us=4000), run("int8", conv_us=1000)))
    groups = page.split("By group of ONNX nodes")[1]
    assert "host time" in groups
    assert "▼ faster" in groups
    assert "= not distinguishable" in groups
    (bar, *_) = re.findall(r"<svg class='trtlab-bar ([^']*)'[^>]*aria-label='([^']*)'", groups)
    assert bar[0] == "trtlab-ok"
    assert bar[1].startswith("B takes less: −3.00 ms [")
    x, width = re.search(r"<rect x='([\d.]+)' y='3' width='([\d.]+)'", groups).groups()
    assert (x, width) == ("42.0", "42.0"), "faster lies right of the middle"
    assert "Where the gain comes from." in groups
    assert "B gains most in S1 (conv + 1 more) −3.00 ms" in groups


def test_the_engines_that_were_built_are_aligned_without_times():
    panel = shown(run(), run("int8"))
    assert panel.act("compare-align", "built")
    page = text(panel)
    assert "data-value='built' aria-pressed='true'" in page
    groups = page.split("By group of ONNX nodes")[1]
    assert "conv_relu" in groups
    assert "float32 → int8" in groups
    assert "trtlab-bar" not in groups
    assert "Where time is gained is n/a" in groups
    assert "trtlab-measured" not in groups
    assert not panel.act("compare-align", "nonsense")
    assert not panel.act("something", "else")


def test_a_run_that_did_not_run_is_aligned_by_what_was_built():
    page = text(shown(run(), run("fp16", ran=None, measurement=None, profile=None)))
    assert "data-value='built' aria-pressed='true'" in page
    assert "Times are not comparable." in page
    assert row(page, "Latency p50")[1:] == ["n/a", "n/a", "not compared"]
    assert row(page, "Plan size")[3] == "= the same, exact"


def test_a_row_selects_its_node_in_every_tab():
    panel = shown(run(), run("int8"))
    assert "data-act='compare-node' data-value='node:conv'" in text(panel)
    assert panel.act("compare-node", "node:conv")
    assert panel.state.layer == "node:conv"
    chosen = next(r for r in text(panel).split("<tr") if "data-value='node:conv'" in r)
    assert "aria-selected='true'" in chosen


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"contents": "compute"}, "A's latency is call time and B's is compute time."),
        ({"environment": making.environment(machine="other")}, "measured on different machines"),
    ],
)
def test_other_contents_or_machines_are_viewed_and_not_subtracted(change, said):
    other = run("int8", conv_us=1000, ms=1.0)
    other = replace(other, measurement=replace(other.measurement, **change))
    page = text(shown(run(), other)).replace("&#x27;", "'")
    assert "✕ Times are not comparable." in page
    assert said in page
    latency = row(page, "Latency p50")
    assert latency[0].startswith("4.00 ms")
    assert latency[1].startswith("1.00 ms")
    assert latency[2:] == ["n/a", "not compared"]
    groups = page.split("By group of ONNX nodes")[1]
    assert "trtlab-bar" not in groups
    assert "Times are not subtracted." in groups
    assert "faster" not in groups
    assert row(page, "Plan size")[3] == "= the same, exact"


def test_of_two_models_nothing_is_subtracted():
    other = replace(making.MODEL, name=f"res{EVIL}", hash="cc" * 32)
    stranger = run()
    stranger = replace(stranger, line=replace(stranger.line, model=other, made=other))
    page = text(shown(stranger, run("int8", ms=1.0)))
    assert "✕ Not comparable." in page
    assert "Nothing is subtracted." in page
    for head in ("Latency p50", "Throughput", "Top-1", "Activations", "Plan size"):
        assert row(page, head)[2:] == ["n/a", "not compared"]
    assert "Their nodes have nothing in common." in page
    assert EVIL not in page


def test_a_plan_without_layers_says_why_there_are_no_groups():
    silent = run("int8", ran=replace(host_plan("int8"), layers=None), profile=None)
    page = text(shown(run(), silent))
    assert "The layers are not known on both sides" in page
