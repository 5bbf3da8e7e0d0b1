"""Short names: what is left of long ones."""

import pytest

from trtlab.model.types import Node
from trtlab.views.graph.labels import (
    data_format,
    group_title,
    layer_title,
    middle_cut,
    node_title,
    operator,
    title_inside,
)


def nodes(*names):
    return [Node(name, name.rpartition("/")[2], (), ()) for name in names]


def test_cut_in_the_middle():
    assert middle_cut("abcdefgh", 8) == "abcdefgh"
    assert middle_cut("abcdefghi", 8) == "abcd…ghi"
    assert len(middle_cut("x" * 10_000)) == 64


@pytest.mark.parametrize(
    ("op", "attributes", "text"),
    [
        ("Conv", {"kernel_shape": (3, 3), "strides": (2, 2)}, "Conv 3×3 /2"),
        ("MaxPool", {"kernel_shape": (2, 2), "strides": (1, 1)}, "MaxPool 2×2"),
        ("BatchNormalization", {}, "BatchNorm"),
        ("Conv", {"kernel_shape": "odd", "strides": 7}, "Conv"),
    ],
)
def test_operators_say_what_sets_them_apart(op, attributes, text):
    assert operator(Node("n", op, (), (), attributes=attributes)) == text


@pytest.mark.parametrize(
    ("name", "op", "title"),
    [
        ("/layer1/layer1.0/conv1/Conv", "Conv", "conv1"),
        ("fire2/Concat_2", "Concat", "fire2"),
        ("Conv_12", "Conv", "Conv_12"),
        ("Conv", "Conv", ""),
        ("/", "Conv", "/"),
    ],
)
def test_a_node_is_called_by_what_its_operator_does_not_say(name, op, title):
    assert node_title(Node(name, op, (), ())) == title


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (("a/b/Conv", "a/b/bn/Mul"), "b"),
        (("res2_0_branch2a/Conv", "res2_0_branch2a_bn/Relu"), "res2_0_branch2a"),
        (("block0/attention/q/Add", "block0/attention/k/Add"), "attention"),
        (("conv1/Conv", "conv2/Conv"), "conv1"),
    ],
)
def test_a_group_is_called_by_the_words_that_its_nodes_share(names, title):
    assert group_title(nodes(*names)) == title


def test_inside_a_group_its_own_name_is_not_repeated():
    [conv, mul] = nodes("a/b/Conv", "a/b/bn/sc/Mul")
    assert title_inside(conv, "a/b/") == ""
    assert title_inside(mul, "a/b/") == "sc"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("__myl_CorrMulAddRelu_myl0_8", "CorrMulAddRelu_8"),
        ("fire6/squeeze1x1/Conv_myl0_34", "squeeze1x1/Conv_34"),
        ("b/v/MatMul+b/k/MatMul+b/q/MatMul_myl0_4", "v/MatMul +2_4"),
        ("c2_myl0_14", "c2_14"),
        ("a + b", "a + b"),
        ("", ""),
    ],
)
def test_layers_are_called_without_the_builders_marks(name, title):
    assert layer_title(name) == title


def test_formats_in_one_word():
    assert data_format("(NHWC) Channel major format") == "NHWC"
    assert data_format(None) == ""


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Row major linear FP32", "linear"),
        ("Row major linear FP16 format", "linear"),
        ("Two wide channel vectorized row major FP16 format", "CHW2"),
        ("Four wide channel vectorized row major Int8 format", "CHW4"),
        ("Thirty-two wide channel vectorized row major Int8 format", "CHW32"),
        ("Channel major FP32 format", "HWC"),
        ("Channel major FP16 format where channel % 8 == 0", "HWC8"),
        ("Channel major FP16 format where channel % 8 == 0 or more", "Channel ma…0 or more"),
    ],
)
def test_formats_that_are_told_in_words_have_their_names(words, name):
    assert data_format(words) == name
