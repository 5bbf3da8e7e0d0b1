"""Two engines over their common nodes: the smallest sets, times, and what is not claimed."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import making
from tests.fusing import fused, part, profile_of, unlike
from trtlab.analysis.engines.align import align, unaligned
from trtlab.analysis.engines.layer_times import DRIFT, DRIFT_MS
from trtlab.codec import from_json, to_json
from trtlab.errors import MismatchError
from trtlab.record import (
    CHANGED,
    BuilderMemory,
    EngineComparison,
    Fate,
    Summary,
)
from trtlab.spec import Caveat


def kinds(comparison):
    return [m.kind for m in comparison.matches]


def only(comparison):
    (match,) = comparison.matches
    return match


def caveats(comparison):
    return {c.kind: c.message for c in comparison.caveats}


# Sets


@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [
        (["c1 r1"], ["c1 r1"], "same"),
        (["c1 r1"], ["r1 c1"], "same"),
        (["f1", "f1 s1"], ["f1 s1", "f1"], "same"),
        (["c1 r1"], ["c1", "r1"], "together in A, apart in B"),
        (["c1", "r1"], ["c1 r1"], "together in B, apart in A"),
        (["c1 r1", "a1 p1"], ["c1", "r1 a1", "p1"], "cut differently"),
        (["c1 r1"], ["c1 r1 x9"], "other nodes"),
        (["c1 r1", "x9"], ["c1 r1"], ["same", "only in A"]),
        (["c1 r1", "c1 r1"], ["c1 r1"], "together in B, apart in A"),
    ],
)
def test_the_smallest_sets_that_whole_layers_of_both_hold(a, b, kind):
    fusions = [fused(*(part(f"l{i}", nodes) for i, nodes in enumerate(side))) for side in (a, b)]
    assert kinds(align(*fusions)) == ([kind] if isinstance(kind, str) else kind)


def test_a_set_names_layers_and_nodes_of_both_sides():
    a = fused(part("one", "c1 r1"), part("two", "a1"))
    b = fused(part("first", "c1"), part("second", "r1 k1"), part("third", "a1"))
    first, second = align(a, b).matches
    assert (first.layers_a, first.layers_b) == ((0,), (0, 1))
    assert first.nodes == ("c1", "r1")
    assert first.only_b == {"k1": "not in the model"}
    assert (second.layers_a, second.layers_b, second.kind) == ((1,), (2,), "same")
    assert [m.tag for m in align(a, b).matches] == ["S1", "S2"]


def test_what_becomes_of_a_node_that_the_other_side_does_not_run_is_told():
    a = fused(part("conv", "c1 r1"))
    b = fused(
        part("conv", "c1"),
        fates=(Fate("r1", "removed", (0,), "identity"),),
    )  # fmt: skip
    match = only(align(a, b))
    assert (match.kind, match.only_a, match.only_b) == ("other nodes", {"r1": "removed"}, {})
    back = only(align(b, a))
    assert (back.only_a, back.only_b) == ({}, {"r1": "removed"})


def test_a_node_of_one_name_and_another_operator_is_another_node():
    a = fused(part("one", "c1"), part("two", "r1"), part("three", "a1"))
    other = replace(a.graph.nodes[2], op="Mul")
    b = replace(a, graph=replace(a.graph, nodes=(*a.graph.nodes[:2], other)))
    comparison = align(a, b)
    assert kinds(comparison) == ["same", "same", "only in B", "only in A"]
    assert comparison.common_nodes == 2
    assert comparison.matches[3].only_a == {"a1": "not in the model"}


def test_layers_without_nodes_are_counted_by_what_they_are():
    a = fused(part("conv", "c1"), part("copy", time=None), part("wait", family="sync, shape"))
    b = fused(part("copy"), part("copy2"), part("conv", "c1"))
    same, moved, waited = align(a, b).matches
    assert same.kind == "same"
    assert (moved.kind, moved.family) == ("no node", "data movement")
    assert (moved.layers_a, moved.layers_b) == ((1,), (0, 1))
    assert (waited.family, waited.layers_b) == ("sync, shape", ())


def test_a_set_with_an_opaque_region_says_so():
    a = fused(part("region", "c1 r1 a1", family="opaque"))
    b = fused(part("x", "c1"), part("y", "r1"), part("z", "a1"))
    assert only(align(a, b)).opaque
    assert only(align(b, a)).opaque
    assert "region" in dict(align(a, b).rows())["opaque"]
    assert not any(m.opaque for m in align(b, b).matches)


def test_what_b_alone_has_stands_where_b_runs_it():
    a = fused(part("x", "c1"), part("y", "r1"), part("z", "a1"))
    b = fused(part("q", "q0"), part("x", "c1"), part("k", "k1"), part("l", "k2"),
              part("y", "r1"), part("z", "a1"))  # fmt: skip
    names = [(*m.nodes, *m.only_b) for m in align(a, b).matches]
    assert names == [("q0",), ("c1",), ("k1",), ("k2",), ("r1",), ("a1",)]
    more = fused(part("x", "c1"), part("y", "r1"), part("z", "a1"), part("w", "z9"))
    assert [m.kind for m in align(more, b).matches][::6] == ["only in B", "only in A"]


def test_changes_of_precision_are_told_and_unknown_ones_are_not():
    a = fused(part("x", "c1", precision="float32"), part("y", "r1", precision="float32"),
              part("z", "a1"))  # fmt: skip
    b = fused(part("x", "c1", precision="int8"), part("y", "r1", precision="float32"),
              part("z", "a1", precision="int8"))  # fmt: skip
    comparison = align(a, b)
    assert [m.precision_changed for m in comparison.matches] == [True, False, False]
    assert [m.precision_text for m in comparison.matches] == ["float32 → int8", "float32", "int8"]
    assert comparison.summary["precision"] == {"float32 → int8": 1}
    assert dict(comparison.rows())["precision"] == "1 float32 → int8 (builder)"


@st.composite
def engines(draw):
    """Two engines that hold one graph's nodes in layers of their own, some in several layers."""
    count = draw(st.integers(1, 12))
    nodes = [f"n{i}" for i in range(count)]
    sides = []
    for _ in range(2):
        layers = draw(st.integers(1, 8))
        held = [[] for _ in range(layers)]
        for node in nodes:
            for layer in draw(st.sets(st.integers(0, layers - 1), max_size=2)):
                held[layer].append(node)
        parts = (part(f"l{i}", " ".join(h)) for i, h in enumerate(held))
        rest = [n for n in nodes if not any(n in h for h in held)]
        sides.append(fused(*parts, nodes=" ".join(rest)))
    return sides


@given(engines())
def test_every_layer_and_every_node_is_in_one_set_and_no_set_can_be_split(sides):
    a, b = sides
    comparison = align(a, b)
    assert comparison.aligned == "by ONNX node"
    for side, of in ((a, "a"), (b, "b")):
        numbers = [n for m in comparison.matches for n in getattr(m, f"layers_{of}")]
        assert sorted(numbers) == list(range(len(side.layers)))
        held = [n for m in comparison.matches for n in (*m.nodes, *getattr(m, f"only_{of}"))]
        assert sorted(held) == sorted({e.node for e in side.edges})
    for match in comparison.matches:
        if match.kind == "no node":
            continue
        holders = [set(a.groups[n].nodes) for n in match.layers_a]
        holders += [set(b.groups[n].nodes) for n in match.layers_b]
        reached = holders.pop()
        while near := [h for h in holders if h & reached]:
            reached |= near[0]
            holders.remove(near[0])
        assert not holders, "a part of the set hangs together by no node"


@given(engines())
def test_swapping_the_sides_gives_the_same_sets_the_other_way_round(sides):
    a, b = sides
    forth = {(m.layers_a, m.layers_b) for m in align(a, b).matches}
    back = {(m.layers_b, m.layers_a) for m in align(b, a).matches}
    assert forth == back


@given(engines())
def test_an_engine_is_the_same_as_itself(sides):
    a, _ = sides
    assert not set(kinds(align(a, a))) & CHANGED


# Times


def test_differences_are_attributed_to_sets_and_add_up():
    a = fused(part("x", "c1 r1", 2.0), part("y", "a1", 1.0), part("copy", "", 0.25))
    b = fused(part("x", "c1", 0.5), part("z", "r1", 0.5), part("y", "a1", 1.5))
    comparison = align(a, b)
    first, second, moved = (m.time for m in comparison.matches)
    assert (first.a_ms, first.b_ms, first.difference_ms) == (2.0, 1.0, -1.0)
    assert second.difference_ms == 0.5
    assert (moved.a_ms, moved.b_ms, moved.difference_ms) == (0.25, 0, -0.25)
    assert comparison.total.difference_ms == pytest.approx(-0.75)
    assert {m.time.verdict for m in comparison.matches} == {"no interval"}
    assert comparison.total.interval is None
    assert [m.tag for m in comparison.ranked] == ["S1", "S2", "S3"]
    assert align(b, a).ranked[0].tag == "S1"


def test_an_unknown_time_is_no_zero():
    a = fused(part("x", "c1 r1", 2.0), part("y", "a1", 1.0))
    b = fused(part("x", "c1", 0.5), part("z", "r1"), part("y", "a1", 1.5))
    comparison = align(a, b)
    first, second = (m.time for m in comparison.matches)
    assert (first.b_ms, first.difference_ms, first.verdict) == (None, None, "unknown")
    assert second.difference_ms == 0.5
    total = comparison.total  # of what both sides have a time for, and of nothing else
    assert (total.a_ms, total.b_ms) == (1.0, 1.5)
    assert "1 of 3 layers of B have no time" in caveats(comparison)["layers-without-time"]


def test_without_times_nothing_is_said_of_them():
    a = fused(part("x", "c1"))
    comparison = align(a, a)
    assert only(comparison).time.a_ms is None
    assert comparison.time_kind is None
    assert not [row for row in comparison.rows() if "time" in row[0]]
    assert comparison.caveats == ()


def test_times_that_mean_different_things_are_shown_and_not_subtracted():
    a = fused(part("x", "c1", 2.0))
    b = replace(a, time_kind="host-launch")
    comparison = align(a, b)
    assert (only(comparison).time.a_ms, only(comparison).time.difference_ms) == (2.0, None)
    assert comparison.total.difference_ms is None
    assert comparison.time_kind is None
    assert "GPU time and B's are host launch time" in caveats(comparison)["different-times"]


def test_with_samples_a_difference_has_an_interval_and_a_verdict():
    a, b = (
        fused(part("x", "c1 r1"), part("y", "a1")),
        fused(part("x", "c1"), part("z", "r1"), part("y", "a1")),
    )
    profiles = profile_of({"x": 2.0, "y": 1.0}), profile_of({"x": 0.4, "z": 0.5, "y": 1.1})
    comparison = align(a, b, profiles=profiles)
    first, second = (m.time for m in comparison.matches)
    assert first.difference_ms == pytest.approx(-1.1, abs=1e-3)
    assert first.interval.low < -1.1 < first.interval.high < 0
    assert first.verdict == "better"
    assert second.verdict == "not distinguishable"
    assert second.interval.low < 0 < second.interval.high
    assert comparison.time_kind == "gpu"
    assert (comparison.runs_a, comparison.runs_b) == (11, 11)
    back = align(b, a, profiles=profiles[::-1])
    assert back.matches[0].time.verdict == "worse"
    assert back.matches[0].time.interval.high == pytest.approx(-first.interval.low)


@pytest.mark.parametrize("kind", ["gpu", "cpu"])
@pytest.mark.parametrize("beyond", [False, True])
def test_nothing_is_claimed_within_the_drift_between_equal_runs(kind, beyond):
    a = fused(part("x", "c1"))
    edge = 1.0 * DRIFT + DRIFT_MS[kind]
    profiles = (
        profile_of({"x": 1.0}, kind=kind),
        profile_of({"x": edge + (0.01 if beyond else -0.01)}, kind=kind),
    )
    verdict = only(align(a, a, profiles=profiles)).time.verdict
    assert verdict == ("worse" if beyond else "not distinguishable")


def test_what_only_one_side_has_costs_its_time():
    a = fused(part("x", "c1"))
    b = fused(part("q", "q0"), part("x", "c1"))
    profiles = profile_of({"x": 1.0}), profile_of({"q": 0.5, "x": 1.0})
    alone = align(a, b, profiles=profiles).matches[0]
    assert (alone.kind, alone.time.a_ms) == ("only in B", 0)
    assert (alone.time.verdict, alone.time.difference_ms) == (
        "worse",
        pytest.approx(0.5, abs=0.01),
    )


def test_of_disturbed_runs_nothing_is_claimed():
    a = fused(part("x", "c1"))
    busy = (Caveat("busy-machine", "Others ran.", "Again."),)
    profiles = profile_of({"x": 1.0}), profile_of({"x": 9.0}, caveats=busy)
    comparison = align(a, a, profiles=profiles)
    assert only(comparison).time.verdict == "doubtful"
    assert caveats(comparison)["busy-machine"] == "B: Others ran."


def test_a_summary_without_samples_makes_no_claim():
    a = fused(part("x", "c1"))
    timing = making.layer("x", samples_ns=None, summary=Summary(1, 2.0, 2.0, 2.0))
    profile = making.layer_profile(layers=(timing,), runs_ns=None, time_kind="gpu")
    comparison = align(a, a, profiles=(profile, profile))
    assert only(comparison).time.a_ms == 2.0
    assert only(comparison).time.verdict == "no interval"
    assert comparison.runs_a == 1


def test_times_are_joined_by_name_and_never_by_place():
    a = fused(part("x", "c1"), part("y", "r1"), part("y", "a1"))
    shuffled = profile_of({"y": 5.0, "x": 1.0})
    comparison = align(a, a, profiles=(shuffled, shuffled))
    x, *ys = (m.time for m in comparison.matches)
    assert x.a_ms == pytest.approx(1.0)
    assert [y.a_ms for y in ys] == [None, None]
    assert "2 of 3 layers of B have no time" in [c.message for c in comparison.caveats][1]


def test_the_profile_of_another_engine_is_refused_with_its_names():
    a = fused(part("x", "c1"))
    with pytest.raises(MismatchError, match=r"1 of the 2 timed layers.*: w") as caught:
        align(a, a, profiles=(profile_of({"w": 1.0, "x": 1.0}), profile_of({"x": 1.0})))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"environment": making.environment(machine="f" * 16, cpu="Another")}, "machine"),
        ({"batch": 8}, "batch (1, 8)"),
    ],
)
def test_conditions_that_differ_are_named(change, words):
    a = fused(part("x", "c1"))
    profiles = profile_of({"x": 1.0}), profile_of({"x": 1.0}, **change)
    assert words in caveats(align(a, a, profiles=profiles))["different-conditions"]
    assert "different-conditions" not in caveats(align(a, a, profiles=profiles[:1] * 2))


def test_sizes_and_models_that_differ_are_named():
    a = fused(part("x", "c1", 1.0), sizes={"N": 1})
    b = replace(a, sizes={"N": 8}, model=replace(making.MODEL, hash="c3" * 32, name="other"))
    message = caveats(align(a, b))["different-conditions"]
    assert "sizes (N = 1; N = 8)" in message
    assert "model (digits, other)" in message
    variant = replace(a, model=replace(making.MODEL, hash="c3" * 32, parent=making.MODEL.hash))
    assert caveats(align(a, variant)) == {}


# Plans


def test_the_builders_figures_are_exact():
    memory = BuilderMemory(activation=2**20)
    plans = making.plan(memory=memory), making.plan(plan_bytes=10_000, layers=None)
    found = {d.quantity: d for d in unaligned(plans).differences}
    assert (found["plan_bytes"].ratio, found["plan_bytes"].verdict) == (2.0, "exact")
    assert found["layers"].verdict == "unknown"
    assert (found["activation_bytes"].a, found["activation_bytes"].b) == (2**20, None)
    assert "scratch_bytes" not in found
    a = fused(part("x", "c1"))
    same = align(a, a, plans=(making.plan(), making.plan()))
    assert {d.quantity: d.ratio for d in same.differences} == {"plan_bytes": 1, "layers": 1}
    assert same.caveats == ()


def test_plans_without_layers_are_not_aligned_and_still_compared():
    away = making.plan(layers=None, environment=making.environment(packages={}))
    comparison = unaligned((making.plan(), away))
    assert comparison.aligned == "not aligned"
    assert comparison.matches == ()
    assert "onnxruntime" in caveats(comparison)["different-conditions"]
    assert "not aligned" in repr(comparison)
    assert len(comparison.df) == 0


# Without a graph


def test_without_common_names_layers_are_aligned_in_order_and_it_says_so():
    a = unlike(
        part("Conv_0", "c1", shape=(1, 8, 9, 9)), part("Pool_1", "p1", shape=(1, 8, 4, 4),
        family="kept 1:1", type="TiledPooling"), part("Conv_2", "c2", shape=(1, 16, 4, 4)),
    )  # fmt: skip
    b = unlike(
        part("q", "q1", shape=(1, 3, 9, 9), family="pointwise chain"), part("copy"),
        part("conv/a", "x1", shape=(4, 9, 9, 8)), part("pool", "x2", shape=(4, 4, 4, 8),
        family="kept 1:1", type="CudaPooling"), part("conv/b", "x3", shape=(4, 4, 4, 16)),
    )  # fmt: skip
    comparison = align(a, b)
    assert comparison.aligned == "without a graph"
    assert kinds(comparison) == ["only in B", "alike", "alike", "alike", "no node"]
    assert [(m.layers_a, m.layers_b) for m in comparison.matches[1:4]] == [
        ((0,), (2,)), ((1,), (3,)), ((2,), (4,))
    ]  # fmt: skip
    assert "0 have the same name" in caveats(comparison)["aligned-without-a-graph"]
    assert "without a graph" in dict(comparison.rows())["aligned"]


def test_what_is_not_alike_between_the_same_neighbours_is_one_set():
    first, last = part("c0", "c0", shape=(1, 7)), part("c9", "c9", shape=(1, 9))
    a = unlike(first, part("m", "c1", shape=(1, 5)), last)
    b = unlike(first, part("n", "c1", shape=(1, 4)), part("o", "c2", shape=(1, 3)), last)
    assert kinds(align(a, b)) == ["alike", "cut differently", "alike"]
    assert align(a, b).matches[1].layers_b == (1, 2)


def test_without_dimensions_the_kind_counts():
    a = unlike(part("x", "c1", shape=None), part("y", "f1", shape=None, family="matrix product"))
    b = unlike(part("z", "f1", shape=None, family="matrix product"))
    assert kinds(align(a, b)) == ["only in A", "alike"]


def test_dimensions_of_one_make_no_difference():
    a, b = (unlike(part("x", "f1", shape=shape)) for shape in ((32, 1000, 1, 1), (32, 1000)))
    assert kinds(align(a, b)) == ["alike"]
    other = unlike(part("x", "f1", shape=(32, 1001)))
    assert kinds(align(a, other)) == ["cut differently"]


def test_a_few_names_in_common_are_an_accident():
    a = fused(*(part(f"l{i}", f"c{i}", shape=(1, 8, i, i)) for i in range(2, 12)))
    b = fused(*(part(f"l{i}", f"c{3 * i}", shape=(1, 8, i, i)) for i in range(2, 12)))
    comparison = align(a, b)
    assert 0 < comparison.common_nodes < 5
    assert comparison.aligned == "without a graph"
    assert set(kinds(comparison)) == {"alike"}


def test_of_layers_that_tell_neither_kind_nor_dimensions_none_are_alike():
    a = unlike(*(part(f"l{i}", f"n{i}", type="", family="kept 1:1", shape=None) for i in range(3)))
    b = unlike(*(part(f"m{i}", f"n{i}", type="", family="kept 1:1", shape=None) for i in range(3)))
    assert kinds(align(a, b)) == ["cut differently"]


def test_doubts_about_the_maps_are_passed_on_once():
    doubt = Caveat("nodes-from-names", "Rebuilt.", "Give the file.")
    a = fused(part("x", "c1"))
    b = replace(a, graph_source="names", caveats=(doubt,))
    assert [c.message for c in align(a, b).caveats] == ["B: Rebuilt."]
    profile = profile_of({"x": 1.0}, caveats=(doubt,))
    assert len(align(a, b, profiles=(profile_of({"x": 1.0}), profile)).caveats) == 1


def test_operators_read_off_names_do_not_keep_nodes_apart():
    a = fused(part("x", "c1"))
    read = replace(a.graph, nodes=(replace(a.graph.nodes[0], op="c"),))
    b = replace(a, graph=read, graph_source="names")
    assert align(a, b).common_nodes == 1
    assert align(replace(a, graph_source="names"), b).common_nodes == 0


KINDS = st.sampled_from(["conv", "gemm", "pool"])
LAYERS = st.lists(st.tuples(KINDS, st.sampled_from([4, 8, None])), max_size=9)


def keyed(layers):
    return [
        part(f"l{i}", f"n{i}", type=kind, family="kept 1:1", shape=size and (1, size))
        for i, (kind, size) in enumerate(layers)
    ]


def worth(a, b):
    if a[0] != b[0]:
        return 0
    if None in (a[1], b[1]):
        return 1
    return 3 if a[1] == b[1] else 0


def best(a, b):
    """The greatest worth of a pairing, by looking at every one."""
    table = {}

    def look(i, j):
        if i == len(a) or j == len(b):
            return 0
        if (i, j) not in table:
            paired = worth(a[i], b[j])
            table[i, j] = max(
                look(i + 1, j), look(i, j + 1), paired + look(i + 1, j + 1) if paired else 0
            )
        return table[i, j]

    return look(0, 0)


@given(LAYERS, LAYERS)
def test_no_other_pairing_in_order_is_worth_more(a, b):
    comparison = align(unlike(*keyed(a)), unlike(*keyed(b)))
    pairs = [(m.layers_a[0], m.layers_b[0]) for m in comparison.matches if m.kind == "alike"]
    assert pairs == sorted(pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(worth(a[i], b[j]) for i, j in pairs)
    assert sum(worth(a[i], b[j]) for i, j in pairs) == best(a, b)
    for side, of in ((a, "layers_a"), (b, "layers_b")):
        numbers = [n for m in comparison.matches for n in getattr(m, of)]
        assert sorted(numbers) == list(range(len(side)))


def test_engines_too_large_to_align_are_refused(monkeypatch):
    monkeypatch.setattr("trtlab.analysis.engines.layer_order.MOST_CELLS", 3)
    a = unlike(part("x", "c1", shape=(1, 2)), part("y", "c2", shape=(1, 3)))
    b = unlike(part("x", "c1", shape=(1, 4)), part("y", "c2", shape=(1, 5)))
    with pytest.raises(MismatchError, match="2 and 2 layers"):
        align(a, b)


# The record


def test_a_comparison_shows_itself_and_survives_a_file():
    a = fused(part("x", "c1 r1", 2.0, precision="float32"), part("copy", "", 0.25))
    b = fused(part("x", "c1", 0.5, precision="int8"), part("z", "r1", 0.5, precision="int8"))
    comparison = align(a, b)
    rows = dict(comparison.rows())
    assert rows["A"] == "digits (fp32) by tensorrt_rtx for sm89"
    assert rows["aligned"] == "by ONNX node: of 2 nodes in A and 2 in B 2 are the same"
    assert "1 together in A, apart in B" in rows["sets"]
    total = (
        "2.25 ms → 1.00 ms: −1.25 ms no interval (GPU time, measured, n 1 and 1; not a latency)"
    )
    assert rows["sum of layer times"] == total
    assert rows["S1"] == "c1 + 1 more: 2.00 ms → 1.00 ms: −1.00 ms no interval"
    assert rows["S2"] == "no node: data movement: 0.250 ms → 0: −0.250 ms no interval"
    frame = comparison.df
    assert frame.layers_b.tolist() == ["x, z", ""]
    assert frame.difference_ms.tolist() == [-1.0, -0.25]
    assert from_json(to_json(comparison), EngineComparison) == comparison
    assert "<table" in comparison._repr_html_()
    assert list(align(fused(), fused()).df.columns) == list(frame.columns)


def test_names_are_escaped_and_long_tables_stay_short():
    random.seed(4)
    layers = [part(f"<b>{i}</b>", f"c{i}", random.random()) for i in range(300)]
    comparison = align(fused(*layers), fused(*layers[::-1]))
    assert "<b>" not in comparison._repr_html_()
    assert len(comparison.rows()) < 20


def test_the_total_is_of_the_same_sets_on_both_sides():
    whole = fused(part("x", "c1", 2.0), part("y", "r1", 2.0))
    half = fused(part("x", "c1", 2.0), part("y", "r1"))
    assert align(whole, half).total.difference_ms == 0


def test_what_is_recorded_is_said_of_its_side():
    a = fused(part("x", "c1", 2.0))
    comparison = align(a, replace(a, time_source="recorded"))
    assert not comparison.a.endswith("recorded")
    assert comparison.b.endswith(", recorded")


def test_other_input_dimensions_are_other_conditions():
    a = fused(part("x", "c1"))
    tensors = {n: replace(t, shape=(32, 3)) for n, t in a.graph.tensors.items()}
    others = {n: replace(t, shape=(1, 3)) for n, t in a.graph.tensors.items()}
    one, other = (replace(a, graph=replace(a.graph, tensors=t)) for t in (tensors, others))
    said = caveats(align(one, other)).get("different-conditions", "")
    assert bool(a.graph.inputs) == ("input" in said)
