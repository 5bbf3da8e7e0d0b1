"""Kinds by the field's names, what fusing saves, what stands between, and the sentences."""

from dataclasses import replace

import pytest

from tests.analysis.fusion.making import SHAPE, fate, fused, graph, group, layer, node, tensor
from tests.making import layer as timing
from tests.making import layer_profile
from trtlab.errors import MismatchError, PlanError, SpecError
from trtlab.record import EngineLayer

SIZE = 1 * 8 * 4 * 4 * 4
BLOCK = graph(
    node("c", "Conv", "x w", "a"),
    node("b", "BatchNormalization", "a s t m v", "d"),
    node("add", "Add", "d x", "e"),
    node("r", "Relu", "e", "y"),
    constants="w s t m v",
)


def test_a_residual_block_is_one_vertical_fusion():
    found = group(fused(BLOCK, layer("k", "x", "y", nodes="c b add r")), "k")
    assert (found.tag, found.family) == ("G1", "conv chain")
    assert found.patterns == ("vertical fusion", "residual add")
    assert found.unwritten == ("a", "d", "e")
    # Each of the three is written once and read once less.
    assert found.saved_bytes == 3 * 2 * SIZE


def test_a_tensor_that_others_read_is_not_saved():
    made = replace(BLOCK, outputs=("y", "d"))
    found = group(fused(made, layer("k", "x", "d y", nodes="c b add r")), "k")
    assert found.unwritten == ("a", "e")


def test_what_is_saved_is_unknown_where_a_shape_is():
    tensors = {**BLOCK.tensors, "d": replace(BLOCK.tensors["d"], shape=None)}
    made = replace(BLOCK, tensors=tensors)
    found = group(fused(made, layer("k", "x", "y", nodes="c b add r")), "k")
    assert found.saved_bytes is None
    assert "MiB" not in found.text


SIBLINGS = graph(
    node("q", "MatMul", "x w", "a"), node("k", "MatMul", "x w", "b"), outputs="a b", constants="w"
)


def test_siblings_in_one_layer_are_a_horizontal_merge():
    found = group(fused(SIBLINGS, layer("m", "x", "a b", nodes="q k")), "m")
    assert found.patterns == ("horizontal merge",)
    assert found.family == "matrix product"


def test_products_behind_each_other_are_no_horizontal_merge():
    made = graph(node("q", "Conv", "x w", "a"), node("k", "Conv", "a w", "y"), constants="w")
    assert "horizontal merge" not in group(fused(made, layer("m", nodes="q k")), "m").patterns


@pytest.mark.parametrize(
    ("made", "family", "patterns"),
    [
        (layer("copy", "x", "t", type="Reformat"), "data movement", ("reformat or cast",)),
        (layer("__myl_MoveTran_myl0_1", "x", "t", type="kgen"), "data movement",
         ("reformat or cast",)),
        (layer("__myl_MulSum_myl0_1", "x", "t", type="kgen"), "not named", ()),
        (layer("__mye1_myl0_1", type="signal"), "sync, shape", ()),
        (layer("__mye1_myl0_1", type="shape_call"), "sync, shape", ()),
    ],
)  # fmt: skip
def test_layers_that_the_builder_added(made, family, patterns):
    found = group(fused(SIBLINGS, made, layer("m", "x", "a b", nodes="q k")), made.name)
    assert (found.tag, found.family, found.patterns) == ("", family, patterns)


def test_quantisers_beside_a_convolution_are_folded():
    made = graph(
        node("d", "DequantizeLinear", "x s", "a"), node("c", "Conv", "a w", "b"),
        node("q", "QuantizeLinear", "b s", "y"), constants="s w", dtypes={"x": "int8"},
    )  # fmt: skip
    small = EngineLayer(
        "k", "CaskConvolution", (tensor("x", dtype="int8"),), (tensor("y"),), nodes=("d", "c", "q")
    )
    assert group(fused(made, small), "k").patterns == ("vertical fusion", "q/dq folded")
    large = layer("k", "x", "y", nodes="d c q")  # nothing of it is quantised
    assert group(fused(made, large), "k").patterns == ("vertical fusion",)


def test_a_branch_beside_the_main_stream():
    made = graph(
        node("a", "Relu", "x", "s"), node("b", "Exp", "x", "t"), node("c", "Add", "s t", "y")
    )
    found = fused(
        made, layer("a", "x", "s", stream=0), layer("b", "x", "t", stream=1),
        layer("c", "s t", "y", stream=0),
    )  # fmt: skip
    assert [g.patterns for g in found.groups] == [(), ("own stream",), ()]


def test_with_one_stream_no_branch_has_its_own():
    found = fused(SIBLINGS, layer("m", "x", "a b", nodes="q k", stream=3))
    assert "own stream" not in found.groups[0].patterns


TWO = graph(node("one", "Conv", "x w", "a"), node("two", "Conv", "a w", "y"), constants="w")


def seam(*layers, made=TWO):
    found = [s for s in fused(made, *layers).seams if (s.writer, s.reader) == ("one", "two")]
    assert len(found) == 1
    return found[0]


def test_why_two_are_apart_is_not_known_unless_something_shows_it():
    apart = (layer("one", "x", "a", stream=0), layer("two", "a", "y", stream=0))
    assert seam(*apart).barrier == "not known"
    text = fused(TWO, *apart).explain("one")
    assert "Why it is not fused with two behind it is not known." in text


def test_what_is_a_graph_output_is_written():
    made = replace(TWO, outputs=("y", "a"))
    assert seam(layer("one", "x", "a"), layer("two", "a", "y"), made=made).barrier == (
        "graph output"
    )


def test_several_readers_keep_two_apart():
    made = graph(*TWO.nodes, node("three", "Relu", "a", "z"), outputs="y z", constants="w")
    found = seam(
        layer("one", "x", "a"), layer("two", "a", "y"), layer("three", "a", "z"), made=made
    )
    assert (found.barrier, "three reads a too" in found.because) == ("several readers", True)


def test_another_stream_keeps_two_apart():
    found = seam(layer("one", "x", "a", stream=0), layer("two", "a", "y", stream=1))
    assert (found.barrier, found.because) == (
        "another stream", "they run on different streams (0 and 1)",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "barrier"),
    [
        (tensor("t", dtype="float16"), "precision change"),
        (tensor("t", format="Channel major"), "format change"),
        (tensor("t"), "not known"),
    ],
)
def test_a_copy_between_two_keeps_them_apart(made, barrier):
    copy = EngineLayer("copy", "Reformat", (tensor("a"),), (made,))
    two = EngineLayer("two", "CaskConvolution", (made,), (tensor("y"),))
    assert seam(layer("one", "x", "a"), copy, two).barrier == barrier


def test_two_in_one_layer_have_no_seam():
    assert fused(TWO, layer("k", "x", "y", nodes="one two")).seams == ()


def test_what_a_node_says():
    found = fused(BLOCK, layer("k", "x", "y", nodes="c b add r"))
    text = found.explain("b")
    assert text.startswith("b (BatchNormalization) was fused with c (Conv), add (Add)")
    assert "saves 3.00 KiB of memory traffic at N = 1 (estimated)" in text
    assert found.explain("k") == found.explain("G1") == found.groups[0].text
    assert "up to 3 kernel launches are saved" in found.explain("G1")
    with pytest.raises(SpecError, match="no node and no layer 'nope'"):
        found.explain("nope")


def test_times_are_joined_by_name():
    layers = (layer("one", "x", "a"), layer("two", "a", "y"))
    profile = layer_profile(
        plan=None, layers=(timing("two", (10, 10, 10)), timing("one", (30, 30, 30)))
    )
    found = fuse_with(layers, profile)
    assert [(g.time_ms, round(g.time_share, 2)) for g in found.groups] == [
        (0.03, 0.75),
        (0.01, 0.25),
    ]
    assert (found.time_kind, found.runs) == (profile.time_kind, 3)


def test_a_profile_of_another_engine_is_refused():
    layers = (layer("one", "x", "a"), layer("two", "a", "y"))
    with pytest.raises(MismatchError, match=r"1 of the 1 timed layers are not in the plan.*conv"):
        fuse_with(layers, layer_profile(plan=None, layers=(timing("conv"),)))
    with pytest.raises(MismatchError, match="another plan"):
        fuse_with(layers, layer_profile(plan="77" * 32, layers=(timing("one"),)))


def test_a_layer_without_a_time_has_none_and_no_zero():
    found = fuse_with(
        (layer("one", "x", "a"), layer("two", "a", "y")),
        layer_profile(plan=None, layers=(timing("one"),)),
    )
    assert found.groups[1].time_ms is None
    assert found.groups[1].time_share is None


def test_two_layers_of_one_name_have_no_time():
    made = replace(TWO)
    found = fuse_with(
        (layer("k", "x", "a", nodes="one"), layer("k", "a", "y", nodes="two")),
        layer_profile(plan=None, layers=(timing("k"),)),
        made,
    )
    assert [g.time_ms for g in found.groups] == [None, None]


def fuse_with(layers, profile, made=TWO):
    from tests.making import plan
    from trtlab.analysis.fusion.fuse import fuse
    from trtlab.spec import BuildConfig

    whole = replace(plan(), config=BuildConfig(backend="tensorrt"), layers=layers)
    return fuse(whole, made, profile=profile)


def test_a_plan_that_does_not_say_its_layers():
    with pytest.raises(PlanError, match="does not say which layers"):
        fuse_with(None, None)


def test_estimates_are_for_the_optimal_shape():
    tensors = {
        name: replace(t, shape=("N", *SHAPE[1:])) if t.shape and not t.is_constant else t
        for name, t in BLOCK.tensors.items()
    }
    made = replace(BLOCK, tensors=tensors)
    found = fused(made, layer("k", "x", "y", nodes="c b add r"))
    assert found.sizes == {"N": 1}
    assert found.groups[0].saved_bytes == 3 * 2 * SIZE


def test_the_summary_counts_what_the_record_holds():
    found = fused(BLOCK, layer("k", "x", "y", nodes="c b add r"))
    assert found.summary["states"] == {"in layer": 4}
    assert found.summary["one_owner_share"] == 1
    assert found.summary["largest_group"] == found.largest_group == 4
    assert list(found.df["groups"]) == ["G1"] * 4
    assert list(found.layer_df["saved_bytes"]) == [3 * 2 * SIZE]
    assert "4 ONNX nodes" in repr(found)
    assert fate(found, "c").rule == "metadata"
