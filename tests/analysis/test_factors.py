"""A run beside its baseline: what is compared, with what interval, and why something is not."""

from dataclasses import replace

import pytest

from tests import accuracies, making, whole_runs
from trtlab.analysis.factors import Pair, accuracy_change, doubts, share_interval, value_of
from trtlab.record import BuilderMemory
from trtlab.spec import Caveat
from trtlab.stats import Interval

FP32 = accuracies.FP32


def judged(recipe="fp32", drop=0.0, interval=(-0.004, 0.004), agreement=1.0, **parts):
    model = FP32 if recipe == "fp32" else accuracies.converted(recipe)
    return accuracies.accuracy(
        model,
        labels=accuracies.label_metrics(drop, interval),
        outputs=(accuracies.output(top1_agreement=agreement),),
        **parts,
    )


def elsewhere(run):
    environment = making.environment(machine="another")
    return replace(run, measurement=replace(run.measurement, environment=environment))


def test_values_have_their_interval_n_and_origin():
    run = whole_runs.run(ms=2.0)
    latency = value_of(run, "latency_ms")
    assert (latency.value, latency.n, latency.origin) == (2.0, 30, "measured")
    assert latency.interval == run.measurement.median_interval_ms
    throughput = value_of(run, "throughput")
    assert throughput.value == pytest.approx(run.measurement.throughput)
    built = value_of(run, "activation_bytes")
    assert (built.value, built.interval, built.origin) == (2**20, None, "builder")
    assert value_of(run, "plan_bytes").value == 5000
    assert value_of(run, "peak_memory_bytes").value == 30 * 2**20
    top1 = value_of(run, "top1")
    assert (top1.n, top1.interval) == (360, share_interval(0.972, 360))


def test_what_is_not_there_has_its_reason():
    run = whole_runs.run()
    assert "no power" in value_of(run, "efficiency").reason
    unbuilt = whole_runs.failed("The limit is too small.")
    for factor in ("throughput", "latency_ms", "efficiency", "top1", "activation_bytes"):
        found = value_of(unbuilt, factor)
        assert found.value is None
        assert "The limit is too small." in found.reason
    silent = replace(run, plan=replace(run.plan, memory=None))
    assert value_of(silent, "activation_bytes").reason == "tensorrt_rtx does not say"
    emulated = replace(run, accuracy=judged("int8", arithmetic="emulated"))
    assert value_of(emulated, "top1").origin == "estimated"


def test_energy_is_told_as_inferences_a_joule_without_a_claim():
    def run(joules):
        made = whole_runs.run()
        return replace(made, measurement=replace(made.measurement, energy_joules=joules))

    found = Pair(run(0.25), run(0.5)).beside("efficiency")
    assert (found.b.value, found.a.value) == (4, 2)
    assert (found.change.verdict, found.change.ratio) == ("no interval", 2)


def test_a_difference_is_that_of_compare_with_its_interval():
    change = (
        Pair(whole_runs.run(ms=1.0), whole_runs.run("fp32", ms=4.0)).beside("latency_ms").change
    )
    assert (change.verdict, change.difference) == ("better", -3.0)
    assert change.ratio == pytest.approx(0.25)
    assert change.ratio_interval.low < 0.25 < change.ratio_interval.high < 1
    equal = Pair(whole_runs.run(ms=1.0), whole_runs.run("fp32", ms=1.05))
    assert equal.beside("latency_ms").change.verdict == "not distinguishable"
    assert equal.beside("activation_bytes").change.verdict == "exact"
    assert equal.why_times_apart == ""


def test_without_a_baseline_or_with_itself_there_is_no_change():
    run = whole_runs.run()
    assert Pair(run).beside("latency_ms").change is None
    assert Pair(run, run).beside("latency_ms").change is None


def test_calls_and_gpu_compute_are_viewed_and_not_subtracted():
    pair = Pair(whole_runs.on_gpu(), whole_runs.run("fp32"))
    found = pair.beside("latency_ms")
    assert None not in (found.a.value, found.b.value)
    assert (found.change.verdict, found.change.difference) == ("unknown", None)
    assert "not subtracted" in found.change.reason
    assert pair.comparison is None


def test_other_machines_are_not_subtracted_but_what_builders_say_is():
    pair = Pair(whole_runs.run(), elsewhere(whole_runs.run("fp32")))
    assert "different machines" in pair.beside("throughput").change.reason
    assert "different machines" in pair.beside("peak_memory_bytes").change.reason
    assert pair.beside("plan_bytes").change.verdict == "exact"


def test_a_machine_that_is_not_known_is_no_same_machine():
    one, other = (elsewhere(whole_runs.run(r)) for r in ("fp32", "int8"))
    unknown = making.environment(machine=None)
    both = [
        replace(r, measurement=replace(r.measurement, environment=unknown)) for r in (one, other)
    ]
    assert "different machines" in Pair(*both).why_times_apart


def test_of_two_models_nothing_is_subtracted():
    other = replace(FP32, name="resnet", hash="cc" * 32)
    stranger = whole_runs.run("fp32")
    stranger = replace(stranger, line=replace(stranger.line, model=other, made=other))
    pair = Pair(whole_runs.run(), stranger)
    for factor in ("latency_ms", "top1", "activation_bytes", "plan_bytes"):
        assert pair.beside(factor).change.reason == "A is a run of resnet, B of digits."


def test_a_run_without_measurement_is_named():
    without = replace(whole_runs.run("fp32"), measurement=None)
    assert Pair(whole_runs.run(), without).why_times_apart.startswith("A has no measurement")
    assert Pair(without, whole_runs.run()).why_times_apart.startswith("B has no measurement")
    silent = whole_runs.run("fp32")
    silent = replace(silent, plan=replace(silent.plan, memory=BuilderMemory()))
    reason = Pair(whole_runs.run(), silent).beside("activation_bytes").change.reason
    assert reason == "A has none: tensorrt_rtx does not say"


def test_the_paired_interval_holds_against_the_reference_alone():
    int8 = judged("int8", 0.014, (0.004, 0.024), 0.98)
    against = accuracy_change(judged(), int8)
    assert (against.verdict, against.difference) == ("worse", -0.014)
    assert against.interval == Interval(-0.024, -0.004)
    turned = accuracy_change(int8, judged())
    assert (turned.verdict, turned.difference) == ("better", 0.014)
    assert turned.interval == Interval(0.004, 0.024)
    none = accuracy_change(judged(), judged("int8", 0.002, (-0.006, 0.01)))
    assert none.verdict == "not distinguishable"


@pytest.mark.parametrize(
    "a",
    [
        judged("fp16", 0.001, (-0.003, 0.005)),
        judged(agreement=0.99),
        judged(drop=0.001),
    ],
)
def test_of_runs_that_are_not_the_reference_no_claim_is_made(a):
    found = accuracy_change(a, judged("int8", 0.014, (0.004, 0.024)))
    assert (found.verdict, found.interval) == ("no interval", None)
    assert "paired with the reference" in found.reason


def test_other_samples_or_references_are_not_compared():
    int8 = judged("int8", 0.014, (0.004, 0.024))
    data = replace(int8.data, hash="00" * 32)
    for other in (replace(int8, data=data), replace(int8, reference="another backend")):
        assert accuracy_change(judged(), other).verdict == "unknown"
    same = accuracy_change(int8, int8)
    assert (same.verdict, same.difference) == ("exact", 0)


def test_without_labels_sqnr_is_told_without_a_claim():
    def quiet(db, recipe):
        return accuracies.accuracy(
            accuracies.converted(recipe), labels=None,
            outputs=(accuracies.output(db), accuracies.output(db + 9)),
        )  # fmt: skip

    change = accuracy_change(quiet(40.0, "fp16"), quiet(28.0, "int8"), "sqnr_db")
    assert (change.verdict, change.difference) == ("no interval", -12.0)
    found = value_of(replace(whole_runs.run(), accuracy=quiet(28.0, "int8")), "sqnr_db")
    assert (found.value, found.n) == (28.0, 360)


def test_wilsons_interval():
    # Brown, Cai and DasGupta's formula by hand for 8 of 10, and its ends that stay shares.
    assert share_interval(0.8, 10) == pytest.approx((0.490, 0.943), abs=5e-4)
    low, high = share_interval(1.0, 20)
    assert high == 1.0
    assert low == pytest.approx(0.839, abs=5e-4)


def test_doubts_in_words():
    run = whole_runs.run()
    caveats = (Caveat("busy-machine", "", ""), Caveat("busy-machine", "", ""))
    doubted = replace(run, measurement=replace(run.measurement, caveats=caveats))
    assert doubts(doubted) == ("busy machine",)
    assert doubts(run) == doubts(whole_runs.failed()) == ()
