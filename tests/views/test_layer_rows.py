"""Rows of the Layers table: whose time it is, what is shared, what is not known."""

from dataclasses import replace

import pytest

from tests import drawing, making
from tests.fusing import fused, part, profile_of, unlike
from trtlab.codec import Int64Array
from trtlab.record import Summary
from trtlab.stats import Interval
from trtlab.views.layer_rows import (
    LayerRows,
    Stat,
    around_text,
    heaviest,
    layer_rows,
    made_from,
    rows_sentence,
    steps,
    time_unit,
)


def engine():
    return fused(
        part("move"),
        part("first", "c1 r1"),
        part("second", "c2 a2"),
        part("fc8", "f1"),
        part("fc9", "f1 s1"),
    )


def ran(*more):
    return fused(part("conv", "c1"), part("relu", "r1"), part("c2add", "c2 a2"),
                 part("fc", "f1 s1"), *more)  # fmt: skip


TIMES = {"conv": 1.0, "relu": 0.5, "c2add": 4.0, "fc": 2.0}


def ms_of(found):
    return [row.time and pytest.approx(row.time.stat.ms) for row in found.rows]


def test_a_layer_of_the_plan_that_ran_has_its_own_time():
    found = layer_rows(fused(part("a", "c1"), part("b")), profile_of({"a": 3.0, "b": 1.0}))
    assert ms_of(found) == [3.0, 1.0]
    assert (found.kind, found.runs, found.of_nodes) == ("gpu", 11, False)
    assert found.rows[0].time.stat.interval.low < 3.0 < found.rows[0].time.stat.interval.high


def test_another_plans_times_are_those_of_the_same_nodes():
    found = layer_rows(engine(), profile_of(TIMES), ran())
    assert ms_of(found) == [None, 1.5, 4.0, 2.0, 2.0]
    assert found.of_nodes
    assert found.elsewhere is None
    assert found.rows[0].reason == "no node"


def test_a_time_that_lies_across_layers_is_shared_and_never_divided():
    found = layer_rows(engine(), profile_of(TIMES), ran())
    assert [row.time and row.time.layers for row in found.rows] == [
        None, (1,), (2,), (3, 4), (3, 4),
    ]  # fmt: skip
    assert rows_sentence(found, "time", "measured") == (
        "Layers #2, #3, #4 with #5 have 100 % of the sum of layer times (measured, n 11)."
    )


def test_time_of_other_nodes_is_in_no_row_and_counts_in_the_whole():
    other = ran(part("flat", "g1"), part("moved"), part("odd", family="not named"))
    more = profile_of(TIMES | {"flat": 1.0, "moved": 0.25, "odd": 1.25})
    found = layer_rows(engine(), more, other)
    assert found.elsewhere.ms == pytest.approx(1.25)
    assert found.unnamed.ms == pytest.approx(1.25)
    assert "have 75 % of the sum" in rows_sentence(found, "time", "measured")


def test_nodes_that_the_engine_does_not_run_are_told():
    other = fused(part("one", "c1 x1"), part("two", "c2 r1 a2"))
    found = layer_rows(engine(), profile_of({"one": 1.0, "two": 2.0}), other)
    assert found.rows[1].time.more == ("x1",)
    assert found.rows[1].time.layers == (1, 2)
    assert found.rows[3].time is None
    assert found.rows[3].reason == "the plan that ran has no layer for its nodes"


def test_a_layer_that_was_not_timed_says_so():
    timed = profile_of({name: ms for name, ms in TIMES.items() if name != "c2add"})
    found = layer_rows(engine(), timed, ran())
    assert found.rows[2].reason == "not in the profile"
    assert [row.reason for row in layer_rows(engine()).rows] == ["not profiled"] * 5
    assert layer_rows(engine()).kind is None


def test_plans_without_common_names_share_no_times():
    found = layer_rows(engine(), profile_of(TIMES), unlike(*zip_parts(ran())))
    assert {row.time for row in found.rows} == {None}
    assert found.kind is None
    assert "names in common" in found.rows[1].reason
    assert found.rows[0].reason == "no node"


def zip_parts(fusion):
    return zip(fusion.layers, fusion.groups, strict=True)


def test_layers_of_one_name_have_the_keys_of_the_graph():
    rows = layer_rows(fused(part("a", "c1"), part("a", "c2"), part("b"))).rows
    assert [row.key for row in rows] == ["layer:a", "layer:a#2", "layer:b"]
    assert [row.is_named("layer:a#2") for row in rows] == [False, True, False]
    assert [row.is_named("node:c1") for row in rows] == [True, False, False]


def test_the_heaviest_stay_in_their_order_with_what_is_selected():
    fusion = fused(*(part(f"l{n}", f"c{n}", flops=n % 7, bytes=-n) for n in range(20)))
    rows = layer_rows(fusion).rows
    assert [r.number for r in heaviest(rows, "flops", 3)] == [5, 6, 13]
    assert [r.number for r in heaviest(rows, "flops", 3, "layer:l1")] == [1, 5, 6, 13]
    assert heaviest(rows, "flops", 20) == rows
    assert [r.number for r in heaviest(rows, "time", 2)] == [0, 1], "by bytes where no time is"


@pytest.mark.parametrize(
    ("value", "interval", "printed"),
    [
        (4.86, (4.77, 4.95), ("4.86", "±0.09")),
        (0.4231, (0.41, 0.4354), ("0.42", "±0.01")),
        (4.86, (4.80, 5.60), ("4.9", "[4.8, 5.6]")),
        (21.0, (10.0, 33.0), ("21", "±12")),
        (4.86, (4.8599, 4.8601), ("4.86", "±< 0.01")),
        (1234.0, (1200.0, 1270.0), ("1,234", "±36")),
        (5.0, None, ("5.00", "")),
        (0.0, (0.0, 0.5), ("0.0", "[0.0, 0.5]")),
    ],
)
def test_no_digit_is_finer_than_the_interval(value, interval, printed):
    assert around_text(Stat(value, interval and Interval(*interval))) == printed


def test_the_profilers_step_widens_the_interval_of_each_layer():
    fusion = fused(part("a", "c1"), part("b", "c2"))
    steady = {"a": 0.005, "b": 0.007}
    alone = layer_rows(fusion, profile_of(steady, spread=0, kind="cpu")).rows
    assert alone[0].time.stat.interval == pytest.approx((0.0045, 0.0055))
    both = fused(part("ab", "c1 c2"))
    together = layer_rows(both, profile_of(steady, spread=0, kind="cpu"), fusion).rows
    assert together[0].time.stat.interval == pytest.approx((0.011, 0.013))
    gpu = layer_rows(fusion, profile_of(steady, spread=0)).rows
    assert gpu[0].time.stat.interval == pytest.approx((0.005, 0.005))


def test_a_column_of_short_times_is_in_microseconds():
    fusion = fused(part("a", "c1"), part("b", "c2"))
    assert time_unit(layer_rows(fusion, profile_of({"a": 0.05, "b": 0.099})).rows) == (1e3, "µs")
    assert time_unit(layer_rows(fusion, profile_of({"a": 0.05, "b": 0.2})).rows) == (1.0, "ms")
    assert time_unit(()) == (1.0, "ms")


def test_a_row_says_in_short_what_it_was_made_from():
    fusion = drawing.drawn(
        [("b/conv/Conv", "Conv", "x"), ("b/relu/Relu", "Relu", "b/conv/Conv"),
         ("b/out_DQ", "DequantizeLinear", "b/relu/Relu"), ("fc", "Gemm", "b/out_DQ")],
        [("one", "k", "b/conv/Conv b/relu/Relu b/out_DQ"), ("two", "k", "fc"),
         ("move", "moved", "")],
    )  # fmt: skip
    nodes = {node.name: node for node in fusion.graph.nodes}
    said = [made_from(row, nodes) for row in layer_rows(fusion).rows]
    assert said == ["b: conv · relu · DQ", "fc", "added: data movement"]


def test_nothing_known_is_said_and_not_zero():
    assert "n/a" in rows_sentence(layer_rows(engine()), "flops", "estimated")
    assert "n/a" in rows_sentence(LayerRows(()), "time", "measured")
    one = layer_rows(fused(part("a", "c1", flops=5)))
    assert rows_sentence(one, "flops", "estimated") == (
        "Layer #1 has 100 % of the sum of FLOP (estimated)."
    )


# From the sum of layers to the latency


def profiled(run_us, layer_us, **parts):
    layer = making.layer(samples_us=[layer_us] * 10)
    return making.layer_profile(layers=(layer,), runs_ns=Int64Array([run_us * 1000] * 10), **parts)


def test_steps_from_the_sum_of_layers_to_the_latency():
    got = steps(profiled(8000, 6000), making.measurement())
    assert (got.total.ms, got.between.ms, got.profiled.ms) == pytest.approx((6, 2, 8))
    assert got.latency.ms == pytest.approx(making.measurement().median_ms)
    assert got.cost.ms == pytest.approx(8 - got.latency.ms)
    assert got.cost_is_real
    assert not got.overlap


def test_a_cost_inside_the_drift_of_equal_runs_is_not_real():
    latency = making.measurement().median_ms
    got = steps(profiled(round(latency * 1100), 1000), making.measurement())
    assert got.cost.interval.low < 0 < got.cost.ms < got.cost.interval.high
    assert not got.cost_is_real


def test_layers_that_overlap_leave_nothing_between():
    got = steps(profiled(5000, 6000), making.measurement())
    assert got.overlap
    assert got.between is None


def test_other_conditions_have_no_cost_but_a_reason():
    m = making.measurement()
    streams = replace(m, run=replace(m.run, streams=2))
    assert "2 streams" in steps(profiled(8000, 6000), streams).why_no_cost
    other = steps(profiled(8000, 6000, batch=4), m)
    assert other.why_no_cost == "the profile is of batch 4, the latency of 1"
    assert other.cost is None
    nothing = steps(profiled(8000, 6000), None)
    assert (nothing.latency, nothing.cost) == (None, None)
    assert nothing.why_no_cost == "no latency was measured"


def test_summaries_have_a_sum_and_no_whole_run():
    layers = tuple(
        making.layer(name, samples_ns=None, summary=Summary(5, 10.0, 2.0, 1.9)) for name in "ab"
    )
    got = steps(making.layer_profile(layers=layers, runs_ns=None), making.measurement())
    assert got.total == (4.0, None)
    assert (got.between, got.profiled, got.cost) == (None, None, None)
    assert got.why_no_cost == "the profile has no whole runs"
