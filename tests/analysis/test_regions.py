"""Inside opaque regions: costs by hand, a division of time only where all costs are known."""

from dataclasses import replace

import pytest

from tests.analysis.fusion.making import fused, graph, layer, node
from trtlab.analysis.regions import opaque_regions
from trtlab.record import Fate

MADE = graph(
    node("first", "Relu", "x", "a"),
    node("heavy", "MatMul", "a w", "b"),
    node("light", "Relu", "b", "c"),
    node("after", "Relu", "c", "y"),
    shapes={"x": (4, 8), "a": (4, 8), "w": (8, 16), "b": (4, 16), "c": (4, 16), "y": (4, 16)},
    constants="w",
)
REGION = layer("{ForeignNode[heavy...light]}", "a", "c", type="Myelin")
LAYERS = layer("first", "x", "a"), REGION, layer("after", "c", "y")

HEAVY_FLOPS, LIGHT_FLOPS = 2 * 4 * 16 * 8, 4 * 16
HEAVY_BYTES, LIGHT_BYTES = 4 * (32 + 128 + 64), 4 * (64 + 64)


def timed(fusion, ms):
    groups = tuple(replace(g, time_ms=ms) if g.family == "opaque" else g for g in fusion.groups)
    return replace(fusion, groups=groups, time_kind="gpu", runs=1)


def test_a_region_holds_the_nodes_between_its_ends_with_their_costs():
    (region,) = opaque_regions(timed(fused(MADE, *LAYERS), 2.0))
    assert (region.layer, region.time_ms) == (1, 2.0)
    heavy, light = region.nodes
    assert (heavy.node, heavy.op, light.node) == ("heavy", "MatMul", "light")
    assert (heavy.flops, light.flops) == (HEAVY_FLOPS, LIGHT_FLOPS)
    assert (heavy.bytes, light.bytes) == (HEAVY_BYTES, LIGHT_BYTES)
    assert heavy.flop_share == HEAVY_FLOPS / (HEAVY_FLOPS + LIGHT_FLOPS)
    assert light.byte_share == LIGHT_BYTES / (HEAVY_BYTES + LIGHT_BYTES)
    assert region.cost.flops == HEAVY_FLOPS + LIGHT_FLOPS


def test_time_is_divided_by_the_larger_of_two_shares():
    (region,) = opaque_regions(fused(MADE, *LAYERS))
    heavy, light = region.nodes
    assert region.time_ms is None
    assert heavy.flop_share > heavy.byte_share
    assert light.byte_share > light.flop_share
    whole = heavy.flop_share + light.byte_share
    assert heavy.time_share == pytest.approx(heavy.flop_share / whole)
    assert heavy.time_share + light.time_share == pytest.approx(1)


def test_one_unknown_cost_leaves_the_others_their_share_but_divides_no_time():
    strange = graph(
        *MADE.nodes[:2],
        node("light", "Mystery", "b", "c"),
        MADE.nodes[3],
        shapes={name: t.shape for name, t in MADE.tensors.items()},
        constants="w",
    )
    (region,) = opaque_regions(fused(strange, *LAYERS))
    heavy, light = region.nodes
    assert (light.flops, light.flop_share) == (None, None)
    assert heavy.flop_share == 1
    assert {heavy.time_share, light.time_share} == {None}
    assert region.cost.unknown_flops == 1


def test_a_region_that_only_reshapes_has_no_shares():
    made = graph(node("r", "Reshape", "x s", "y"), constants="s")
    (region,) = opaque_regions(fused(made, layer("{ForeignNode[r...r]}", "x", "y")))
    (inner,) = region.nodes
    assert (inner.flops, inner.bytes) == (0, 0)
    assert (inner.flop_share, inner.byte_share, inner.time_share) == (None, None, None)


def test_a_node_in_two_regions_counts_in_the_first():
    found = fused(MADE, *LAYERS[:1], REGION, replace(REGION, name="{ForeignNode[light...light]}"))
    shared = tuple(
        Fate("light", "opaque", (1, 2), "region") if f.node == "light" else f for f in found.fates
    )
    first, second = opaque_regions(replace(found, fates=shared))
    assert [n.node for n in first.nodes] == ["heavy", "light"]
    assert second.nodes == ()


def test_where_nothing_is_opaque_there_are_no_regions():
    plain = fused(MADE, layer("first + heavy + light + after", "x", "y"))
    assert opaque_regions(plain) == ()
