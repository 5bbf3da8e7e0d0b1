"""A group fits its layer if what crosses its border is what the layer declares."""

from dataclasses import replace

import pytest

from tests.analysis.fusion.making import fused, graph, layer, node
from trtlab.analysis.fusion.boundary import borders
from trtlab.record import Edge

CHAIN = graph(
    node("c", "Conv", "x w", "a"),
    node("r", "Relu", "a", "b"),
    node("p", "MaxPool", "b", "y"),
    constants="w",
    shapes={"a": (1, 16, 4, 4), "b": (1, 16, 4, 4), "y": (1, 16, 2, 2)},
)
SHAPES = {"t": (1, 16, 4, 4), "y": (1, 16, 2, 2)}


def misfits(found):
    return {border.layer: (border.missing, border.extra) for border in borders(found)
            if not border.fits}  # fmt: skip


def test_a_right_map_fits():
    found = fused(
        CHAIN, layer("k0", "x", "t", nodes="c r", shapes=SHAPES),
        layer("k1", "t", "y", nodes="p", shapes=SHAPES),
    )  # fmt: skip
    assert len(borders(found)) == 2
    assert misfits(found) == {}


def test_a_node_in_the_wrong_group_shows_on_both_sides():
    found = fused(
        CHAIN, layer("k0", "x", "t", nodes="c r p", shapes=SHAPES),
        layer("k1", "t", "y", nodes="", shapes=SHAPES),
    )  # fmt: skip
    assert misfits(found) == {0: (("y",), ("t",))}
    wrong = replace(found, edges=(*found.edges[:2], Edge("p", 1, "metadata")))
    assert misfits(wrong) == {}


@pytest.mark.parametrize(
    ("declared", "fits"),
    [
        ((1, 16, 4, 4), True),
        ((None, 16, 4, 4), True),
        ((16, 4, 4), True),
        ((1, 16, 4, 4, 1), True),
        ((16, 4, 5), False),
        ((1, 4, 16, 4), False),
        ((1, 16, 16), False),
    ],
)
def test_which_dimensions_may_differ(declared, fits):
    shapes = {**SHAPES, "t": declared}
    found = fused(CHAIN, layer("k0", "x", "t", nodes="c r", shapes=shapes))
    assert (misfits(found) == {}) == fits


def test_a_reshape_at_the_border_allows_other_dimensions():
    made = graph(
        node("c", "Relu", "x", "a"), node("f", "Flatten", "a", "b"), node("g", "Exp", "b", "y"),
        shapes={"a": (2, 16, 4, 4), "b": (2, 256), "y": (2, 256)},
    )  # fmt: skip
    for shape in ((2, 16, 4, 4), (2, 256)):
        shapes = {"t": shape, "y": (2, 256)}
        found = fused(
            made, layer("c", "x", "t", shapes=shapes), layer("g", "t", "y", shapes=shapes)
        )
        assert misfits(found) == {}
    shapes = {"t": (2, 255), "y": (2, 256)}
    found = fused(made, layer("c", "x", "t", shapes=shapes), layer("g", "t", "y", shapes=shapes))
    assert set(misfits(found)) == {0, 1}


def test_merged_siblings_may_write_one_tensor():
    made = graph(
        node("q", "MatMul", "x w", "a"), node("k", "MatMul", "x w", "b"),
        outputs="a b", constants="w", shapes={"x": (4, 8), "a": (4, 3), "b": (4, 5)},
    )  # fmt: skip
    for size, fits in ((8, True), (9, False)):
        found = fused(
            made, layer("m", "x", "t", nodes="q k", shapes={"x": (4, 8), "t": (4, size)})
        )
        assert (misfits(found) == {}) == fits


def test_a_data_type_must_agree():
    made = replace(
        CHAIN, tensors={**CHAIN.tensors, "x": replace(CHAIN.tensors["x"], dtype="int8")}
    )
    found = fused(made, layer("k0", "x", "t", nodes="c r", shapes=SHAPES))
    assert misfits(found) == {0: (("x",), ("x",))}
