"""Findings: only what the records make certain, and never without its number."""

from dataclasses import dataclass, replace

import pytest

from tests import accuracies, fusing, making, whole_runs
from trtlab.analysis.findings import MOST, findings
from trtlab.codec import Int64Array
from trtlab.record import BuilderMemory, Failure, WorkspaceCurve, WorkspacePoint
from trtlab.spec import Caveat


def run(recipe="fp32", batch=8, ms=1.0, **parts):
    """A run whose profile has no layer that takes most of the time."""
    even = making.layer_profile(
        layers=tuple(making.layer(n, (10,) * 8) for n in ("conv", "fc")),
        runs_ns=Int64Array([50_000] * 8),
    )
    asked = whole_runs.setup(precision=recipe, batch=batch)
    return whole_runs.run(recipe, ms, asked, **{"profile": even} | parts)


def doubted(made, kind="unstable"):
    caveats = (Caveat(kind, "No three windows agreed.", "Close other programs."),)
    return replace(made, measurement=replace(made.measurement, caveats=caveats))


def titles(*args, **parts):
    return [one.title for one in findings(*args, **parts)]


def timed(*shares, n=11):
    """A profile whose layers take these shares of every run."""
    layers = tuple(
        making.layer(f"l{at}", (round(1000 * part),) * n) for at, part in enumerate(shares)
    )
    return making.layer_profile(layers=layers, runs_ns=Int64Array([10**7] * n))


def test_nothing_is_found_where_nothing_is_certain():
    assert findings(run()) == ()
    assert findings(replace(run(), measurement=None, profile=None)) == ()


def test_a_disturbed_measurement_is_told_first_and_claims_nothing():
    slow = doubted(run("int8", ms=9.0))
    (found,) = findings(slow, [run(ms=1.0), slow])
    assert (found.origin, found.try_) == ("measured", "Close other programs.")
    assert "No three windows agreed." in found.evidence
    assert titles(doubted(run(), "few-samples")) == []


def test_a_precision_that_is_slower_than_fp32_is_told_with_the_interval():
    slow = run("int8", ms=3.0)
    (found,) = findings(slow, [run(ms=1.0)])
    assert found.title == "INT8 is slower than FP32 on this machine"
    assert "3.00 ms instead of 1.00 ms at batch 8, ×3.00 [" in found.evidence
    assert "not known" in found.try_, "the engine itself did not run"
    itself = replace(slow, plan=slow.ran)
    assert "not known" not in findings(itself, [run(ms=1.0)])[0].try_


@pytest.mark.parametrize(
    "other",
    [
        run(ms=2.9),
        run(ms=1.0, batch=1),
        run("fp16", ms=1.0),
        doubted(run(ms=1.0)),
        replace(run(), measurement=None),
        run(measurement=making.measurement(environment=making.environment(machine="y"))),
    ],
)  # fmt: skip
def test_inside_the_noise_or_under_other_settings_it_is_not_called_slower(other):
    assert titles(run("int8", ms=3.0), [other]) == []


def test_a_batch_that_costs_more_than_it_gives():
    line = [run(batch=1, ms=1.0), run(batch=8, ms=2.0), run(batch=16, ms=4.0)]
    (found,) = findings(line[0], line)
    assert found.title == "Batch 16 costs more than it gives"
    assert "From batch 8 to 16: throughput ×1.00 [" in found.evidence
    assert "(not distinguishable), latency ×2.00 [" in found.evidence
    assert (found.try_, found.tab) == ("Stay at batch 8, or set a latency limit.", "curves")


@pytest.mark.parametrize("ms", [2.0, 2.6])
def test_a_batch_that_still_gives_more_or_may_do_so_is_no_finding(ms):
    line = [run(batch=8, ms=2.0), run(batch=16, ms=ms)]
    assert titles(line[1], line) == []


def test_points_of_another_line_are_not_joined():
    line = [run(batch=8, ms=2.0), run("int8", batch=16, ms=4.0)]
    assert titles(line[0], line) == []


def test_one_layer_with_most_of_the_time_in_every_run():
    (found,) = findings(run(profile=timed(0.7, 0.2, 0.1)))
    assert found.title == "One layer takes 70 % of the time"
    assert "l0: 70 % to 70 % of the sum of layer times (host time, n 11)" in found.evidence
    assert (found.origin, found.tab) == ("measured", "layers")
    assert titles(run(profile=timed(0.5, 0.3, 0.2))) == []
    assert titles(run(profile=timed(1.0))) == [], "of one layer that says nothing"
    noisy = replace(timed(0.7, 0.3), caveats=(Caveat("busy-machine", "", ""),))
    assert titles(run(profile=noisy)) == []


def test_a_share_whose_interval_reaches_a_half_is_no_finding():
    swinging = (70, 70, 70, 70, 70, 70, 30, 30, 30, 30, 30)
    layers = (making.layer("a", swinging), making.layer("b", [100 - s for s in swinging]))
    profile = making.layer_profile(layers=layers, runs_ns=Int64Array([10**6] * 11))
    assert titles(run(profile=profile)) == []


def test_arithmetic_stands_in_where_nothing_was_timed():
    fused = fusing.fused(
        fusing.part("one", "c1 a1", flops=90), fusing.part("two", "f1", flops=10),
        sizes={"N": 8},
    )  # fmt: skip
    (found,) = findings(run(), fusion=fused)
    assert found.title == "One layer holds 90 % of the arithmetic"
    assert "c1 + a1: 90 FLOP of 100 FLOP at N = 8." in found.evidence
    assert (found.origin, found.tab) == ("estimated", "fusion")
    assert titles(run(profile=timed(0.7, 0.3)), fusion=fused) == [
        "One layer takes 70 % of the time"
    ]
    unknown = fusing.fused(fusing.part("one", "c1", flops=90), fusing.part("two", "f1"))
    assert titles(run(), fusion=unknown) == [], "the whole is not known"


def test_layers_that_only_move_data_are_the_builders_word():
    fused = fusing.fused(
        fusing.part("in"), fusing.part("c", "c1"), fusing.part("d", "c2"), fusing.part("out<b>")
    )
    (found,) = findings(run(), fusion=fused)
    assert found.title == "2 layers only move data"
    assert found.evidence == "in, out<b>, of 4 layers."
    assert found.origin == "builder"


@dataclass
class Built:
    """What a finding reads of a ``BuiltPrecision``."""

    recipe: str = "int8+fp16"
    effect: float | None = 0.5
    anchors: int = 4
    anchors_in_asked: int = 2
    flops: float | None = None
    of_weights: bool = False

    def share_by(self, _measure):
        return self.flops


def test_a_precision_that_was_not_built_throughout():
    (found,) = findings(run(), built=Built())
    assert found.title == "50 % of the convolutions and products are in INT8, not all"
    assert found.evidence == "2 of 4 convolutions and products compute in INT8 (builder)."
    assert (found.origin, found.tab) == ("builder", "precision")
    (weighed,) = findings(run(), built=Built(effect=0.25, flops=0.25))
    assert weighed.title == "25 % of the arithmetic is in INT8, not all"
    assert weighed.origin == "estimated"


@pytest.mark.parametrize(
    "built",
    [
        Built(effect=0.95),
        Built(effect=None),
        Built(effect=0.8, anchors_in_asked=4),
        Built(recipe="fp32"),
        Built(recipe="int8-weights", of_weights=True),
    ],
)
def test_a_precision_that_was_built_as_asked_is_no_finding(built):
    assert titles(run(), built=built) == []


def curve(*limits, engines=1, **parts):
    config = replace(run("int8").plan.config, workspace_bytes=None)
    points = tuple(
        WorkspacePoint(
            limit_bytes=limit, plan="a", layers=9, layers_changed=0 if engines == 1 else 2,
            memory=BuilderMemory(activation=100),
        )
        for limit in limits
    )  # fmt: skip
    return WorkspaceCurve(
        **{
            "model": accuracies.converted("int8"), "config": config, "points": points,
            "smallest_bytes": limits[0], "failing_bytes": None, "no_run_note": "",
            "environment": making.environment(),
        } | parts
    )  # fmt: skip


def test_a_smaller_workspace_that_builds_the_same():
    (found,) = findings(run("int8"), curves=[curve(2**24, 2**28)])
    assert found.title == "A workspace limit of 16.0 MiB builds the same"
    assert "the limit here is 256 MiB" in found.evidence
    assert found.origin == "builder"


@pytest.mark.parametrize(
    "other",
    [
        curve(2**28, 2**29),
        curve(2**24),
        curve(2**24, 2**28, engines=2),
        curve(2**24, 2**28, model=making.MODEL),
        curve(2**24, 2**28, config=making.plan().config),
    ],
)
def test_a_workspace_curve_that_says_nothing_of_this_engine(other):
    assert titles(run("int8"), curves=[other]) == []


def test_three_at_the_most_and_none_of_a_run_that_failed():
    fused = fusing.fused(fusing.part("in"), fusing.part("c", "c1"))
    worst = doubted(run("int8", profile=timed(0.7, 0.3)))
    found = findings(worst, fusion=fused, curves=[curve(2**24, 2**28)])
    assert len(found) == MOST == 3
    assert found[0].origin == "measured"
    unbuilt = whole_runs.relined(worst, failure=Failure("build", "No.", "Try."))
    assert findings(unbuilt, fusion=fused) == ()
