"""Sums over layers: nothing unknown counts as 0, and every layer is in exactly one place."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.fusion import making
from tests.fusing import fused, part
from trtlab.analysis.shares import (
    ADDED,
    Tree,
    amounts,
    best_measure,
    by_block,
    by_type,
    converting_layers,
    data_layers,
    module_path,
    precision_shares,
    share,
    transitions,
)
from trtlab.record import LayerTensor


def writing(made, dtype):
    """The same part, whose layer writes another data type."""
    layer, group = made
    return replace(layer, outputs=(LayerTensor("o", dtype, (1,)),)), group


def branches(tree, around=""):
    """Name and layers of everything in a tree, as one dict."""
    path = f"{around}{tree.name}"
    found = {path: tree.layers} if tree.layers else {}
    for inside in tree.inside:
        found |= branches(inside, f"{path} > ")
    return found


def test_a_sum_leaves_out_what_is_not_known_and_says_how_much():
    found = amounts(
        fused(part("a", "c1", 1.0, flops=7), part("b", "c2", 2.0), part("c", "c3", flops=0)),
        (0, 1, 2),
    )
    assert found.time_ms == (3.0, 1)
    assert found.flops == (7, 1)
    assert found.bytes == (None, 3)
    assert found.of("time") == found.time_ms
    assert amounts(fused(), ()).flops == (None, 0)


def test_a_time_that_is_no_number_is_not_known():
    assert amounts(fused(part("a", "c1", float("nan"))), (0,)).time_ms == (None, 1)


def test_a_share_of_nothing_is_not_known():
    found = amounts(fused(part("a", "c1", 1.0, flops=0)), (0,))
    assert share(found.time_ms, found.time_ms) == 1
    assert share(found.flops, found.flops) is None
    assert share(found.bytes, found.time_ms) is None


def test_a_sum_stands_for_all_only_if_nearly_all_of_it_is_known():
    known = [part(f"l{n}", f"c{n}", flops=1) for n in range(9)]
    every = range(10)
    assert amounts(fused(*known, part("x", "c9")), every).stands_for_all("flops")
    short = fused(*known[1:], part("x", "c9"), part("y", "c0"))
    assert not amounts(short, every).stands_for_all("flops")
    nothing = fused(part("a", "c1", flops=0))
    assert not amounts(nothing, (0,)).stands_for_all("flops")


def test_layers_are_weighed_by_time_else_by_what_is_known_of_more_of_them():
    assert best_measure(fused(part("a", "c1", 1.0), part("b", "c2", flops=9, bytes=9))) == "time"
    both = part("a", "c1", flops=5, bytes=5)
    assert best_measure(fused(both)) == "flops"
    assert best_measure(fused(both, part("b", "c2", bytes=3))) == "bytes"
    assert best_measure(fused(part("a", "c1", flops=0))) is None
    assert best_measure(fused()) is None


def test_precision_divides_layers_that_handle_data_and_keeps_the_unsaid_apart():
    made = fused(
        part("s", family="sync, shape"),
        part("a", "c1", precision="int8", flops=6),
        part("b", "c2", flops=1),
        part("c", "c3", precision="int8", flops=2),
        part("d", "c4", precision="float32", flops=1),
    )
    found = {one.dtype: one.amounts for one in precision_shares(made)}
    assert list(found) == ["int8", "float32", None]
    assert found["int8"].layers == (1, 3)
    assert found["int8"].flops == (8, 0)
    assert found[None].layers == (2,)
    assert data_layers(made) == (1, 2, 3, 4)


def test_transitions_count_layers_and_what_only_converts_among_them():
    made = fused(
        writing(part("a", "c1", 4.0, precision="float32"), "int8"),
        writing(part("r", "", 0.5, precision="float32", type="Reformat"), "int8"),
        writing(part("b", "c2", 2.0, precision="int8"), "int8"),
        writing(part("n", "", 0.0, precision="int8", type="NoOp",
                     patterns=("reformat or cast",)), "int8"),
    )  # fmt: skip
    found = {(one.source, one.target): one for one in transitions(made)}
    changed = found["float32", "int8"]
    assert (changed.every.layers, changed.converting.layers) == ((0, 1), (1,))
    assert changed.converting.time_ms == (0.5, 0)
    same = found["int8", "int8"]
    assert (same.every.layers, same.converting.layers) == ((2, 3), ())


def test_casts_and_quantisers_convert_only_where_they_are_alone():
    made = making.graph(
        making.node("cast", "Cast", "x", "a"),
        making.node("q", "QuantizeLinear", "a s", "b"),
        making.node("conv", "Conv", "b w", "c"),
        making.node("q2", "QuantizeLinear", "c s", "y"),
        constants="w s",
    )
    found = making.fused(
        made,
        making.layer("cast", "x", "a", type="Cast"),
        making.layer("q", "a", "b", type="Reformat"),
        making.layer("conv + q2", "b", "y"),
        making.layer("Reformatting CopyNode for Output Tensor 0 to conv + q2", "y", "z",
                     type="Reformat"),
    )  # fmt: skip
    assert converting_layers(found) == (0, 1, 3)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("block0/attention/k/MatMul", ("block0", "attention", "k")),
        ("/stem/conv/Conv", ("stem", "conv")),
        ("layer1.0.conv1", ("layer1", "0")),
        ("layer1.0.conv1.weight", ("layer1", "0", "conv1")),
        ("resnet50/conv2_block1_1_conv/Conv2D", ("resnet50", "conv2_block1_1_conv")),
        ("/layer1/layer1.0/conv1/Conv", ("layer1", "0", "conv1")),
        ("Conv_12", ()),
        ("", ()),
        ("///", ()),
    ],
)
def test_the_modules_in_a_name(name, path):
    assert module_path(name) == path


def test_layers_lie_in_the_blocks_of_their_nodes():
    made = fused(
        part("moved"),
        part("k", "block0/attention/k/MatMul block0/attention/k/Add"),
        part("qv", "block0/attention/q/MatMul block0/attention/v/MatMul"),
        part("fc", "block0/fc/Gemm"),
        part("last", "Softmax_9"),
    )
    assert branches(by_block(made)) == {
        "digits": (4,),
        f"digits > {ADDED}": (0,),
        "digits > block0 > attention": (2,),
        "digits > block0 > attention > k": (1,),
        "digits > block0 > fc": (3,),
    }


def test_a_fused_layer_lies_where_its_convolution_lies():
    made = making.graph(
        making.node("net/conv1/Conv2D", "Conv", "x w", "a"),
        making.node("net/relu1/Relu", "Relu", "a", "b"),
        making.node("net/pool/MaxPool", "MaxPool", "b", "y"),
        constants="w",
    )
    found = making.fused(
        made,
        making.layer("net/conv1/Conv2D + net/relu1/Relu", "x", "b"),
        making.layer("net/pool/MaxPool", "b", "y"),
    )
    assert branches(by_block(found)) == {
        "digits > net > conv1": (0,),
        "digits > net > pool": (1,),
    }


def test_nodes_without_a_path_lie_where_their_weights_lie():
    made = making.graph(
        making.node("Conv_0", "Conv", "x layer1.0.conv1.weight", "a"),
        making.node("Conv_1", "Conv", "a layer1.0.conv2.weight", "y"),
        constants="layer1.0.conv1.weight layer1.0.conv2.weight",
    )
    layers = making.layer("Conv_0", "x", "a"), making.layer("Conv_1", "a", "y")
    expected = {"digits > layer1/0 > conv1": (0,), "digits > layer1/0 > conv2": (1,)}
    assert branches(by_block(making.fused(made, *layers))) == expected
    named = (
        making.layer("layer1.0.conv1.weight + Conv_0", "x", "a"),
        making.layer("layer1.0.conv2.weight + Conv_1", "a", "y"),
    )
    assert branches(by_block(making.fused(None, *named))) == expected


def test_types_hold_their_layers_and_one_that_is_not_said_lies_at_the_root():
    made = fused(part("a", type="Conv"), part("b", type=""), part("c", type="Conv"))
    assert by_type(made) == Tree("digits", (1,), (Tree("Conv", (0, 2)),))


@given(st.lists(st.lists(st.text("ab/. _", max_size=12), max_size=3), max_size=8))
def test_every_layer_is_in_one_place_whatever_the_names(names):
    made = fused(*(part(f"l{n}", " ".join(held)) for n, held in enumerate(names)))
    for tree in (by_block(made), by_type(made)):
        assert sorted(tree.every()) == list(range(len(names)))


def test_a_name_of_ten_thousand_parts_is_no_deep_tree():
    assert len(module_path("a/" * 10_000)) <= 32
