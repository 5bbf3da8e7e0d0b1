"""Nothing is claimed inside the noise, nothing is compared that contains different things."""

import pytest

from tests import making
from tests.making import measurement, memory, plan, window
from trtlab.analysis.compare import RUN_TO_RUN, RUN_TO_RUN_MS, compare, plan_differences
from trtlab.errors import MismatchError
from trtlab.record import ModelRef
from trtlab.spec import Caveat, RunConfig


def run_of(milliseconds, spread=0.01, **parts):
    """A run whose latencies, and so its throughput, lie within ``spread`` of a value."""
    samples = [milliseconds * (1 + spread * (n - 5) / 5) for n in range(11)]
    windows = tuple(window([ms * (1 + d) for ms in samples]) for d in (-spread, 0, spread))
    return measurement(windows=windows, **parts)


def difference(comparison, quantity):
    (found,) = [d for d in comparison.differences if d.quantity == quantity]
    return found


def conditions(a, b):
    return "; ".join(c.message for c in compare(a, b).caveats)


def test_the_same_run_twice_is_not_distinguishable():
    comparison = compare(run_of(4), run_of(4))
    for quantity in ("latency_ms", "throughput"):
        found = difference(comparison, quantity)
        assert found.verdict == "not distinguishable"
        assert found.ratio == 1
        assert found.interval.low < 1 < found.interval.high
    assert comparison.caveats == ()


@pytest.mark.parametrize(
    ("a", "b", "verdict"), [(4, 2, "better"), (2, 4, "worse"), (4, 4.01, "not distinguishable")]
)
def test_less_latency_and_more_throughput_are_better(a, b, verdict):
    comparison = compare(run_of(a), run_of(b))
    assert difference(comparison, "latency_ms").verdict == verdict
    assert difference(comparison, "throughput").verdict == verdict
    assert difference(comparison, "latency_ms").ratio == pytest.approx(b / a)
    assert difference(comparison, "throughput").ratio == pytest.approx(a / b)


def test_runs_within_the_drift_between_runs_are_never_called_different():
    for b in (2.0, 3.0, 3.5, 3.9, 4.1, 4.5, 5.0, 6.0):
        first, second = run_of(4), run_of(b)
        low, high = sorted((first.median_ms, second.median_ms))
        verdict = difference(compare(first, second), "latency_ms").verdict
        drift = RUN_TO_RUN + RUN_TO_RUN_MS / low
        assert (verdict != "not distinguishable") == (high / low > drift)


def test_a_few_microseconds_between_runs_are_drift():
    comparison = compare(run_of(0.027), run_of(0.056))
    assert difference(comparison, "latency_ms").verdict == "not distinguishable"
    assert difference(comparison, "throughput").verdict == "not distinguishable"


@pytest.mark.parametrize("kind", ["unstable", "busy-machine", "not-warmed-up"])
def test_of_a_disturbed_run_nothing_is_claimed_and_the_reason_is_told(kind):
    disturbed = run_of(2, caveats=(Caveat(kind, "Something.", "Again."),))
    for a, b, letter in ((run_of(8), disturbed, "B"), (disturbed, run_of(8), "A")):
        comparison = compare(a, b)
        assert difference(comparison, "latency_ms").verdict == "doubtful"
        assert difference(comparison, "throughput").verdict == "doubtful"
        assert [c.message for c in comparison.caveats] == [f"{letter}: Something."]


def test_intervals_that_overlap_are_never_called_different():
    for b in (3.0, 3.5, 3.9, 4.1, 4.5, 5.0):
        first, second = run_of(4, 0.1), run_of(b, 0.1)
        x, y = first.median_interval_ms, second.median_interval_ms
        if x.low <= y.high and y.low <= x.high:
            verdict = difference(compare(first, second), "latency_ms").verdict
            assert verdict == "not distinguishable"


def test_the_interval_of_the_ratio_holds_every_ratio_of_the_ends():
    a, b = run_of(4, 0.05), run_of(3, 0.05)
    found = difference(compare(a, b), "latency_ms")
    for x in a.median_interval_ms:
        for y in b.median_interval_ms:
            assert found.interval.low - 1e-9 <= y / x <= found.interval.high + 1e-9


def test_swapping_turns_the_verdict_and_the_ratio():
    forth, back = compare(run_of(4), run_of(2)), compare(run_of(2), run_of(4))
    for quantity in ("latency_ms", "throughput"):
        x, y = difference(forth, quantity), difference(back, quantity)
        assert x.ratio == pytest.approx(1 / y.ratio)
        assert {x.verdict, y.verdict} == {"better", "worse"}


def test_without_an_interval_nothing_is_claimed():
    few = measurement(windows=(window([1.0, 2.0]),))
    comparison = compare(few, run_of(9))
    for quantity in ("latency_ms", "throughput"):
        assert difference(comparison, quantity).verdict == "unknown"
        assert difference(comparison, quantity).interval is None


def test_an_interval_that_reaches_below_zero_claims_nothing():
    wild = measurement(windows=(window([1.0] * 10), window([50.0] * 10)))
    assert wild.throughput_interval.low < 0
    assert difference(compare(wild, run_of(1)), "throughput").verdict == "unknown"
    assert difference(compare(run_of(1), wild), "throughput").verdict == "not distinguishable"


def test_memory_is_a_single_reading_on_one_machine_and_unknown_across_two():
    less = run_of(4, memory=memory(peak=65 * 2**20))
    found = difference(compare(run_of(4), less), "peak_memory_bytes")
    assert (found.verdict, found.ratio, found.interval) == ("no interval", 0.5, None)
    away = run_of(4, environment=making.environment(machine="f" * 16))
    assert difference(compare(run_of(4), away), "peak_memory_bytes").verdict == "unknown"
    blind = run_of(4, memory=memory(peak=None))
    assert difference(compare(run_of(4), blind), "peak_memory_bytes").verdict == "unknown"


def test_latencies_that_contain_different_things_are_refused():
    with pytest.raises(MismatchError, match=r"call.*compute") as caught:
        compare(run_of(4), run_of(4, contents="compute"))
    assert caught.value.hint
    with pytest.raises(MismatchError):
        compare(run_of(4, contents="compute+transfers"), run_of(4, contents="compute"))


OTHER_MODEL = ModelRef("other", "c3" * 32, "fp32")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"environment": making.environment(machine="f" * 16, cpu="Another")}, "machine"),
        ({"environment": making.environment(packages={"onnxruntime": "1.0"})}, "onnxruntime"),
        ({"environment": making.environment(cores=1)}, "usable cores"),
        ({"model": OTHER_MODEL}, "model (digits, other)"),
        ({"batch": 8}, "batch (1, 8)"),
        ({"provider": "CUDAExecutionProvider"}, "provider"),
        ({"run": RunConfig(batch=1, quick=True)}, "measuring time (full, quick)"),
        ({"run": RunConfig(batch=1, seed=1)}, "seed (0, 1)"),
        ({"shapes": {"x": (1, 1, 16, 16)}}, "shapes"),
    ],
    ids=lambda v: "" if isinstance(v, str) else next(iter(v)),
)
def test_different_conditions_are_named_both_ways(change, words):
    assert words in conditions(run_of(4), run_of(4, **change))
    assert words.partition(" (")[0] in conditions(run_of(4, **change), run_of(4))
    (caveat,) = compare(run_of(4), run_of(4, **change)).caveats
    assert caveat.kind == "different-conditions"
    assert caveat.hint


def test_what_is_compared_on_purpose_is_no_different_condition():
    other = run_of(4, run=RunConfig(batch=1, threads=1, streams=4), plan="d4" * 32)
    assert compare(run_of(4), other).caveats == ()


@pytest.mark.parametrize("way", ["not asked for", "not captured"])
def test_runs_with_and_without_a_cuda_graph_are_different_conditions(way):
    refused = Caveat("no-cuda-graph", "It cannot be captured.", "Nothing.")
    plain = {"contents": "compute"}
    without = {
        "not asked for": {"run": RunConfig(batch=1, cuda_graph=False)},
        "not captured": {"caveats": (refused,)},
    }[way]
    a, b = run_of(4, **plain), run_of(4, **plain | without)
    assert "CUDA graph (True, False)" in conditions(a, b)
    assert "CUDA graph (False, True)" in conditions(b, a)
    assert compare(a, run_of(4, run=RunConfig(batch=1, cuda_graph=True), **plain)).caveats == ()
    assert "CUDA graph (" not in conditions(b, b)


def test_a_batch_is_named_once_although_the_shapes_differ_with_it():
    other = run_of(4, batch=8, shapes={"x": (8, 1, 8, 8)})
    assert "batch (1, 8)" in conditions(run_of(4), other)
    assert "shapes" not in conditions(run_of(4), other)


def test_variants_of_one_model_are_the_same_model():
    variant = run_of(4, model=ModelRef("digits-int8", "c3" * 32, "int8", making.MODEL.hash))
    other = run_of(4, model=ModelRef("digits-fp16", "d4" * 32, "fp16", making.MODEL.hash))
    for a in (run_of(4), variant, other):
        for b in (run_of(4), variant, other):
            assert "model" not in conditions(a, b)


def test_the_figures_of_plans_are_compared_exactly():
    found = {d.quantity: d for d in plan_differences(plan(), plan(plan_bytes=10_000))}
    size = found["plan_bytes"]
    assert (size.a, size.b, size.ratio, size.verdict) == (5000, 10_000, 2.0, "exact")
    assert found["layers"].ratio == 1
    (unknown,) = (d for d in plan_differences(plan(layers=()), plan()) if d.quantity == "layers")
    assert unknown.verdict == "unknown"


def test_a_comparison_shows_itself():
    text = repr(compare(run_of(4), run_of(2)))
    assert "better" in text
    assert "−50 %" in text
    assert len(compare(run_of(4), run_of(2)).df) == 3
