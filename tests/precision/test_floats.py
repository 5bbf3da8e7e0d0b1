"""FP16 and BF16: what the library gets wrong, and what becomes of every sort of graph."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnxruntime.transformers.float16 import (
    DEFAULT_OP_BLOCK_LIST,
    convert_float_to_float16,
    convert_np_to_float16,
)

from tests.model import nets
from tests.precision.converted import cast, chain, cnn, draw, exact, node, opened, ops, run, values
from trtlab.errors import ModelError, UnsupportedError
from trtlab.precision.floats import LARGEST

HALF, BRAIN = TensorProto.FLOAT16, TensorProto.BFLOAT16


def by_library(proto, left=()):
    return convert_float_to_float16(
        onnx.ModelProto.FromString(proto.SerializeToString()), keep_io_types=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST], node_block_list=list(left),
    )  # fmt: skip


def product(w, **more):
    """x times one weight."""
    return nets.model(
        [node("MatMul", ["x", "w"], ["y"], name="product")],
        {"x": ["N", w.shape[0]]}, {"y": ["N", w.shape[1]]}, {"w": w}, **more,
    )  # fmt: skip


# Traps of the library: when one of these fails, the library was mended, and our mending can go.


def test_library_leaves_nodes_out_of_order():
    with pytest.raises(onnx.checker.ValidationError, match="topologically sorted"):
        onnx.checker.check_model(by_library(chain("Relu", "Relu")))


def test_library_rounds_between_kept_neighbours():
    made = by_library(chain("Exp", "Exp", "Relu"), ["0", "1"])
    assert ops(made).count("Cast") == 6  # two of them between the neighbours


def test_library_raises_tiny_weights():
    rounded = convert_np_to_float16(np.array([1e-9, -1e-9], "f4"))
    np.testing.assert_array_equal(rounded, np.array([5.96e-8, -5.96e-8], "f2"))


def test_library_cuts_what_overflows_without_an_error():
    np.testing.assert_array_equal(convert_np_to_float16(np.array([1e9], "f4")), [65504])


# Graphs


def test_nodes_come_in_order_and_neighbours_stay_wide(tmp_path):
    proto = chain("Exp", "Exp", "Relu")
    made, done = cast(proto, tmp_path, left=["0", "1"])
    assert done.casts == ops(made).count("Cast") == 4
    x = np.array([[0.1, 0.2, 0.3, 0.4]], "f4")
    half = x.astype("f2").astype("f4")
    expected = np.exp(np.exp(half)).astype("f2")
    np.testing.assert_array_equal(exact(made, x=x)[0], expected.astype("f4"))
    assert not np.array_equal(np.exp(np.exp(half).astype("f2")).astype("f2"), expected)


@pytest.mark.parametrize(("kind", "dtype"), [("fp16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_weights_are_rounded_as_numpy_does(kind, dtype, tmp_path):
    w = draw(16, 16) * np.float32(10) ** np.arange(-8, 8, dtype="f4")[:, None] / 1e4
    w[0] = 1e-9  # below FP16's smallest number
    made, done = cast(product(w), tmp_path, kind)
    (found,) = values(made).values()
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, w.astype(dtype))
    assert done.converted == 256
    assert done.flushed == ((w.astype(dtype) == 0) & (w != 0)).sum()
    assert (done.flushed > 0) == (kind == "fp16")
    assert done.ranges["w"] == (w.min(), w.max())


def test_a_weight_beyond_the_range_is_refused_by_name_or_cut(tmp_path):
    w = draw(4, 4)
    w[1, 2] = -70000
    with pytest.raises(ModelError, match=r"Weight w holds -7e\+04, beyond FP16's 65504"):
        cast(product(w), tmp_path)
    made, done = cast(product(w), tmp_path, clip=True)
    assert values(made)["w"][1, 2] == -65504
    assert done.clipped == 1
    made, done = cast(product(w), tmp_path, left=["product"])
    assert values(made)["w"].dtype == np.float32
    assert cast(product(w), tmp_path, "bf16")[1].clipped == 0


def test_the_largest_float_is_beyond_bf16_too(tmp_path):
    w = np.full((2, 2), np.finfo("f4").max)
    with pytest.raises(ModelError, match="beyond BF16") as found:
        cast(product(w), tmp_path, "bf16")
    assert "convert to bf16" not in found.value.hint
    made, _ = cast(product(w), tmp_path, "bf16", clip=True)
    assert float(values(made)["w"][0, 0]) == LARGEST["bf16"]


def test_minus_infinity_is_a_mask_and_survives(tmp_path):
    mask = np.array([0, -np.inf, 0, -np.inf], "f4")
    proto = nets.model(
        [node("Add", ["x", "mask"], ["a"]), node("Softmax", ["a"], ["y"])],
        {"x": ["N", 4]}, {"y": ["N", 4]}, {"mask": mask},
    )  # fmt: skip
    made, done = cast(proto, tmp_path)
    np.testing.assert_array_equal(values(made)["mask"], mask)
    assert (done.clipped, done.flushed) == (0, 0)
    np.testing.assert_allclose(run(made, x=np.zeros((1, 4), "f4"))[0], [[0.5, 0, 0.5, 0]])


def test_constants_are_weights_whatever_they_are_stored_in(tmp_path):
    w = draw(4, 4)
    nodes = [
        node("Constant", [], ["c1"], value=numpy_helper.from_array(w)),
        node("Constant", [], ["c2"], value_float=0.1),
        node("Constant", [], ["c3"], value_floats=[0.1, 0.2, 0.3, 1e-9]),
        node("Constant", [], ["shape"], value_ints=[-1, 4]),
        node("MatMul", ["x", "c1"], ["a"]),
        node("Add", ["a", "c2"], ["b"]),
        node("Mul", ["b", "c3"], ["m"]),
        node("Reshape", ["m", "shape"], ["y"]),
    ]
    made, done = cast(nets.model(nodes, {"x": ["N", 4]}, {"y": ["N", 4]}), tmp_path)
    assert {n: a.dtype.name for n, a in values(made).items()} == dict.fromkeys(
        ["c1", "c2", "c3"], "float16"
    )
    assert done.converted == 16 + 1 + 4
    assert done.flushed == 1
    assert ops(made).count("Constant") == 1
    assert run(made, x=np.ones((2, 4), "f4"))[0].shape == (2, 4)


def test_a_constant_may_be_an_output(tmp_path):
    w = draw(2, 4)
    nodes = [
        node("Constant", [], ["y"], value=numpy_helper.from_array(w)),
        node("Add", ["x", "y"], ["z"]),
    ]
    proto = nets.model(nodes, {"x": [2, 4]}, {"y": [2, 4], "z": [2, 4]})
    made, _ = cast(proto, tmp_path)
    y, z = run(made, x=np.zeros((2, 4), "f4"))
    np.testing.assert_array_equal(y, w.astype("f2").astype("f4"))
    np.testing.assert_array_equal(z, y)


def test_initialisers_that_old_files_list_as_inputs_are_weights(tmp_path):
    w = draw(4, 4)
    proto = nets.model(
        [node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 4], "w": [4, 4]}, {"y": ["N", 4]},
        {"w": w}, opset=9, ir=3,
    )  # fmt: skip
    made, done = cast(proto, tmp_path)
    assert [v.name for v in made.graph.input] == ["x"]
    assert values(made)["w"].dtype == np.float16
    assert done.casts == 2


def test_a_weight_that_a_kept_node_shares_stays_whole_for_it(tmp_path):
    w = draw(4, 4)
    proto = nets.model(
        [node("MatMul", ["x", "w"], ["a"], name="kept"), node("MatMul", ["a", "w"], ["y"])],
        {"x": ["N", 4]}, {"y": ["N", 4]}, {"w": w},
    )  # fmt: skip
    made, done = cast(proto, tmp_path, left=["kept"])
    x = np.eye(4, dtype="f4")
    first = (x @ w).astype("f2")
    np.testing.assert_array_equal(
        exact(made, x=x)[0],
        (first.astype("f4") @ w.astype("f2").astype("f4")).astype("f2").astype("f4"),
    )
    assert sorted(a.dtype.name for a in values(made).values()) == ["float16", "float32"]
    assert done.converted == 16


@pytest.mark.parametrize(("kind", "stored"), [("fp16", HALF), ("bf16", BRAIN)])
def test_ends_keep_their_types_unless_told(kind, stored, tmp_path):
    ends = [
        [v.type.tensor_type.elem_type for v in (*made.graph.input, *made.graph.output)]
        for made, _ in (
            cast(cnn(), tmp_path, kind),
            cast(cnn(), tmp_path, kind, keep_io=False),
        )
    ]
    assert ends == [[TensorProto.FLOAT] * 2, [stored] * 2]


def test_scales_of_resize_stay_wide(tmp_path):
    proto = nets.model(
        [node("Resize", ["x", "", "scales"], ["y"], mode="nearest")],
        {"x": ["N", 1, 4, 4]}, {"y": ["N", 1, 8, 8]}, {"scales": np.array([1, 1, 2, 2], "f4")},
    )  # fmt: skip
    for kind in ("fp16", "bf16"):
        made, done = cast(proto, tmp_path, kind)
        assert values(made)["scales"].dtype == np.float32
        assert done.converted == 0
    x = draw(1, 1, 4, 4)
    wide = x.repeat(2, 2).repeat(2, 3).astype("f2").astype("f4")
    np.testing.assert_array_equal(exact(cast(proto, tmp_path)[0], x=x)[0], wide)


def test_casts_of_the_model_itself_follow(tmp_path):
    nodes = [node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), node("Mul", ["f", "w"], ["y"])]
    proto = nets.model(
        nodes, [nets.value("x", ["N", 4], TensorProto.INT64)], {"y": ["N", 4]}, {"w": draw(4)}
    )  # fmt: skip
    made, _ = cast(proto, tmp_path, "bf16")
    (to,) = next(n for n in made.graph.node if n.op_type == "Cast").attribute
    assert to.i == BRAIN
    fp16, _ = cast(proto, tmp_path)
    found = exact(fp16, x=np.full((1, 4), 3))[0][0]
    np.testing.assert_array_equal(found, (3 * draw(4).astype("f2")).astype("f4"))


def test_the_result_is_near_and_smaller(tmp_path):
    x = draw(4, 3, 8, 8)
    expected = run(opened(cnn(), tmp_path), x=x)[0]
    found = run(cast(cnn(), tmp_path)[0], x=x)[0]
    error = abs(found - expected).max() / abs(expected).max()
    assert 1e-5 < error < 1e-2  # it rounds, and no more than that


def test_onnx_runtime_refuses_bf16_convolutions(tmp_path):
    made, _ = cast(cnn(), tmp_path, "bf16")
    with pytest.raises(Exception, match="bfloat16"):
        run(made, x=draw(1, 3, 8, 8))


def test_an_input_that_is_an_output_is_refused(tmp_path):
    """An input that is an output as it is."""
    proto = nets.model(
        [node("Relu", ["x"], ["y"], name="r")], {"x": ["N", 4]}, {"x": ["N", 4], "y": ["N", 4]}
    )
    with pytest.raises(UnsupportedError, match="an input and an output at once"):
        cast(proto, tmp_path)


def test_nan_weights_are_refused(tmp_path):
    proto = chain("Relu", "Add", weights={"k": np.array([1, np.nan, 2, 3], "f4")})
    proto.graph.node[1].input.append("k")
    with pytest.raises(ModelError, match="k holds NaN"):
        cast(proto, tmp_path)
