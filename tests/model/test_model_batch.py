"""What is made dynamic computes rows one by one; what is refused is named."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from nets import model, perceptron, value
from onnx import TensorProto, helper, numpy_helper

from trtlab.errors import ModelError
from trtlab.model.batch import with_dynamic_batch

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def session(proto):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def rows_agree(fixed, rows=4, tolerance=1e-5, low=0):
    """Run 4 rows at once and one by one; at batch 1 the original model must agree as well."""
    before = fixed.SerializeToString(deterministic=True)
    changed = with_dynamic_batch(fixed)
    assert fixed.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(changed)
    run, original = session(changed), session(fixed)
    rng = np.random.default_rng(1)
    feeds = {}
    for given in run.get_inputs():
        assert given.shape[0] == "N"
        shape = (rows, *given.shape[1:])
        feeds[given.name] = (
            rng.integers(low, 3, shape)
            if "int64" in given.type
            else rng.normal(size=shape).astype("f4")
        )
    whole = run.run(None, feeds)
    size = original.get_inputs()[0].shape[0]
    for row in range(rows):
        single = run.run(None, {k: v[row : row + 1] for k, v in feeds.items()})
        repeated = {k: np.repeat(v[row : row + 1], size, axis=0) for k, v in feeds.items()}
        old = original.run(None, repeated)
        for many, one, first in zip(whole, single, old, strict=True):
            scale = np.abs(one).max() or 1
            np.testing.assert_allclose(many[row], one[0], atol=tolerance * scale)
            np.testing.assert_allclose(one[0], first[0], atol=tolerance * scale)
    assert all(out.shape[0] == rows for out in whole)
    assert any(np.abs(out[0] - out[1]).max() > 0 for out in whole)
    return changed


def ordinary(proto):
    """Random weights in place of the constant ones, so that outputs depend on inputs."""
    rng = np.random.default_rng(2)
    shapes = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    kept = []
    for node in proto.graph.node:
        if node.op_type == "Softmax":  # saturates with such weights; the rule is the same
            node.op_type = "LogSoftmax"
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(shapes[node.input[0]])
        if len(shape) > 1:
            weight = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:  # scales, variances; as biases they do no harm
            weight = rng.uniform(0.5, 1.5, shape)
        tensor = numpy_helper.from_array(weight.astype("f4"), node.output[0])
        proto.graph.initializer.append(tensor)
        proto.graph.input.append(value(tensor.name, tensor.dims))
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    return proto


@pytest.mark.native
@pytest.mark.parametrize(
    "name", ["squeezenet", "shufflenet", "inception_v1", "inception_v2", "resnet50", "densenet121"]
)
def test_light_models(name):
    changed = rows_agree(ordinary(onnx.load(LIGHT / f"light_{name}.onnx")))
    read = {i for n in changed.graph.node for i in n.input}
    assert {t.name for t in changed.graph.initializer} <= read | {
        t.name for t in onnx.load(LIGHT / f"light_{name}.onnx").graph.initializer
    }


def test_light_models_as_shipped():
    shipped = onnx.load(LIGHT / "light_shufflenet.onnx")
    changed = with_dynamic_batch(shipped, "batch")
    onnx.checker.check_model(changed)
    assert changed.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert changed.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert not changed.graph.value_info


def test_a_dynamic_model_is_copied():
    proto = perceptron()
    changed = with_dynamic_batch(proto)
    assert changed == proto
    assert changed is not proto


@pytest.mark.parametrize("batch", [1, 8])
def test_perceptron(batch):
    rows_agree(perceptron(batch))


def op(kind, *inputs, n_out=1, **attributes):
    outputs = ["y", *(f"y{i}" for i in range(1, n_out))]
    return helper.make_node(kind, ["x", *inputs], outputs, name="it", **attributes)


def single(node, shape, out, weights=None, opset=17, ir=8):
    return model([node], {"x": shape}, {"y": out}, weights or {}, opset, ir)


F = np.float32
CUBE = [1, 4, 6, 6]
rand = np.random.default_rng(3)

KEPT = [
    single(op("Reshape", "s"), CUBE, [1, 144], {"s": np.array([1, 144])}),
    single(op("Reshape", "s"), CUBE, [1, 144], {"s": np.array([1, -1])}),
    single(op("Reshape", "s"), CUBE, [1, 144], {"s": np.array([-1, 144])}),
    single(op("Reshape", "s"), CUBE, [1, 4, 36], {"s": np.array([0, 0, 36])}),
    single(op("Reshape", "s", allowzero=1), CUBE, [1, 144], {"s": np.array([1, 144])}),
    single(op("Reshape", "s"), [3, 4, 6], [3, 24], {"s": np.array([3, 24])}),
    single(op("Transpose", perm=[0, 2, 3, 1]), CUBE, [1, 6, 6, 4]),
    single(op("Flatten"), CUBE, [1, 144]),
    single(op("Softmax"), [1, 9], [1, 9]),
    single(op("Softmax", axis=1), CUBE, CUBE, opset=9),
    single(op("Add", "w"), CUBE, CUBE, {"w": rand.normal(size=(1, 4, 1, 1)).astype(F)}),
    single(op("MatMul", "w"), [1, 3, 4], [1, 3, 5], {"w": rand.normal(size=(4, 5)).astype(F)}),
    single(op("MatMul", "x"), [1, 4, 4], [1, 4, 4]),
    single(
        op("Gemm", "w", "c"), [1, 4], [1, 5], {"w": np.ones((4, 5), F), "c": np.ones((1, 5), F)}
    ),
    single(
        op("Slice", "a", "b"), [1, 9], [1, 9], {"a": np.array([0]), "b": np.array([2**63 - 1])}
    ),
    single(
        op("Slice", "a", "b", "c"),
        [1, 9],
        [1, 3],
        {"a": np.array([1]), "b": np.array([4]), "c": np.array([1])},
    ),
    single(op("Gather", "i", axis=1), [1, 9], [1], {"i": np.array(3)}),
    single(op("Squeeze", "a"), [1, 4, 1], [1, 4], {"a": np.array([2])}),
    single(op("Squeeze", axes=[2]), [1, 4, 1], [1, 4], opset=11),
    single(op("Unsqueeze", "a"), [1, 4], [1, 1, 4], {"a": np.array([1])}),
    single(op("Pad", "p"), [1, 4], [1, 6], {"p": np.array([0, 1, 0, 1])}),
    single(op("Expand", "s"), [1, 1, 4], [1, 3, 4], {"s": np.array([3, 1])}),
    single(op("Tile", "r"), [1, 4], [1, 8], {"r": np.array([1, 2])}),
    single(op("Resize", "", "s"), CUBE, [1, 4, 12, 12], {"s": np.array([1, 1, 2, 2], F)}),
    single(
        op("Resize", "", "", "s", axes=[2, 3]),
        CUBE,
        [1, 4, 9, 9],
        {"s": np.array([9, 9])},
        opset=18,
    ),
    single(op("ReduceMean", axes=[2, 3], keepdims=0), CUBE, [1, 4]),
    single(op("ReduceSum", "a"), CUBE, [1, 4, 1, 1], {"a": np.array([-1, 2])}),
    single(op("LayerNormalization", "w"), [1, 3, 4], [1, 3, 4], {"w": np.arange(4, dtype=F)}),
    single(op("CumSum", "a"), [1, 4], [1, 4], {"a": np.array(1)}),
    single(op("Split", n_out=2, axis=1), [1, 4], [1, 2], opset=11),
    single(op("LRN", size=3), CUBE, CUBE),
    single(op("Clip", "a"), CUBE, CUBE, {"a": F(0)}),
    single(op("TopK", "k", n_out=2), [1, 9], [1, 2], {"k": np.array([2])}),
    single(op("Conv", "w"), CUBE, [1, 2, 4, 4], {"w": rand.normal(size=(2, 4, 3, 3)).astype(F)}),
    single(op("DepthToSpace", blocksize=2), CUBE, [1, 1, 12, 12]),
]


@pytest.mark.parametrize("proto", KEPT, ids=lambda p: p.graph.node[0].op_type)
def test_kept(proto):
    rows_agree(proto)


def test_embedding():
    node = helper.make_node("Gather", ["w", "x"], ["y"])
    ids = value("x", [1, 5], TensorProto.INT64)
    rows_agree(model([node], [ids], {"y": [1, 5, 4]}, {"w": rand.normal(size=(3, 4)).astype(F)}))


def test_a_shape_shared_by_two_nodes_and_another_use_stays():
    nodes = [
        helper.make_node("Constant", [], ["s"], value_ints=[1, 8]),
        helper.make_node("Reshape", ["x", "s"], ["a"]),
        helper.make_node("Reshape", ["x", "s"], ["b"]),
        helper.make_node("ConstantOfShape", ["s"], ["zero"]),
        helper.make_node("Sum", ["a", "b", "zero"], ["y"]),
    ]
    changed = rows_agree(model(nodes, {"x": [1, 2, 4]}, {"y": [1, 8]}))
    assert [n.op_type for n in changed.graph.node].count("Constant") == 1
    assert [n.input[1] for n in changed.graph.node if n.op_type == "Reshape"] == ["s_batch"] * 2
    unshared = model(
        [*nodes[:3], helper.make_node("Add", ["a", "b"], ["y"])], {"x": [1, 8]}, {"y": [1, 8]}
    )
    assert "Constant" not in [n.op_type for n in with_dynamic_batch(unshared).graph.node]


def test_old_files_list_the_new_constant_as_an_input():
    proto = single(op("Reshape", "s"), CUBE, [1, 144], {"s": np.array([1, 144])}, opset=9, ir=3)
    proto.graph.input.append(value("s", [2], TensorProto.INT64))
    changed = rows_agree(proto)
    assert [v.name for v in changed.graph.input] == ["x", "s_batch"]


SEQ = [5, 1, 3]
I64 = np.int64
REFUSED = [
    (
        single(op("Reshape", "s"), [2, 4, 6], [8, 6], {"s": np.array([8, 6])}),
        "together with other",
    ),
    (single(op("Reshape", "s"), [2, 4], [8], {"s": np.array([-1])}), "together with other"),
    (single(op("Transpose"), [1, 4], [4, 1]), "moves the batch axis"),
    (single(op("Flatten", axis=0), [2, 4], [1, 8]), "flattens the batch"),
    (single(op("Flatten", axis=2), CUBE, [4, 36]), "flattens the batch"),
    (single(op("Softmax", axis=0), [2, 4], [2, 4]), "along the batch axis"),
    (single(op("Softmax"), [2], [2]), "along the batch axis"),
    (single(op("ReduceMean"), CUBE, [1, 1, 1, 1]), "reduces the batch"),
    (single(op("ReduceMean", axes=[0]), [1, 4], [1, 4]), "along the batch axis"),
    (single(op("ReduceMean", axes=[-2]), [1, 4], [1, 4]), "along the batch axis"),
    (single(op("ArgMax"), [1, 4], [1, 4]), "along the batch axis"),
    (single(op("Squeeze"), [1, 4], [4]), "may be the batch"),
    (single(op("Squeeze", "a"), [1, 4], [4], {"a": np.array([0])}), "along the batch axis"),
    (single(op("Unsqueeze", "a"), [2, 4], [1, 2, 4], {"a": np.array([0])}), "along the batch"),
    (single(op("Concat", "w", axis=1), [1, 4], [1, 8], {"w": np.ones((1, 4), F)}), "constant w"),
    (single(op("Concat", "x", axis=0), [1, 4], [2, 4]), "along the batch axis"),
    (
        single(op("Add", "w"), [3, 4], [3, 4], {"w": np.ones((3, 4), F)}),
        "w, whose first axis is 3",
    ),
    (
        single(op("Add", "w"), [1, 4], [3, 4], {"w": np.ones((3, 4), F)}),
        "w, whose first axis is 3",
    ),
    (single(op("Add", "w"), [1, 4], [3, 1, 4], {"w": np.ones((3, 1, 1), F)}), "moves its batch"),
    (single(op("Gemm", "w", transA=1), [4, 4], [4, 5], {"w": np.ones((4, 5), F)}), "transposes"),
    (single(op("Gemm", "x", transB=1), [2, 4], [2, 2]), "first input"),
    (
        single(
            op("Gemm", "w", "c"),
            [2, 4],
            [2, 5],
            {"w": np.ones((4, 5), F), "c": np.ones((2, 5), F)},
        ),
        "a batch of its own",
    ),
    (
        single(op("MatMul", "w"), [2, 3, 4], [2, 3, 5], {"w": np.ones((2, 4, 5), F)}),
        "batch of its own",
    ),
    (single(op("MatMul", "x"), [4, 4], [4, 4]), "along the batch axis"),
    (single(op("Expand", "s"), [2, 4], [2, 4], {"s": np.array([2, 4])}), "fixed batch"),
    (single(op("Expand", "s"), [1, 4], [1, 1, 4], {"s": np.array([1, 1, 4])}), "fixed batch"),
    (single(op("Tile", "r"), [1, 4], [2, 4], {"r": np.array([2, 1])}), "repeats the batch"),
    (
        single(op("Slice", "a", "b"), [2, 4], [1, 4], {"a": np.array([0]), "b": np.array([1])}),
        "along the batch axis",
    ),
    (single(op("Gather", "i"), [2, 4], [1, 4], {"i": np.array([0])}), "along the batch axis"),
    (
        single(op("Pad", "p"), [1, 4], [2, 4], {"p": np.array([1, 0, 0, 0])}),
        "along the batch axis",
    ),
    (
        single(op("Resize", "", "", "s"), CUBE, [1, 4, 9, 9], {"s": np.array([1, 4, 9, 9])}),
        "resizes to a fixed batch",
    ),
    (single(op("Split", n_out=2), [2, 4], [1, 4], opset=11), "along the batch axis"),
    (
        single(op("LayerNormalization", "w", axis=0), [2, 4], [2, 4], {"w": np.ones((2, 4), F)}),
        "w",
    ),
    (single(op("CumSum", "a"), [2, 4], [2, 4], {"a": np.array(0)}), "along the batch axis"),
    (single(op("Shape"), [1, 4], [2]), "not known to keep rows apart"),
    (single(op("Einsum", equation="ij->ji"), [2, 4], [4, 2]), "not known to keep rows apart"),
    (single(op("MeanVarianceNormalization"), CUBE, CUBE), "not known to keep rows apart"),
    (single(op("DynamicQuantizeLinear", n_out=3), [1, 4], [1, 4]), "not known to keep rows apart"),
    (single(op("RandomNormalLike"), [1, 4], [1, 4]), "is random"),
    (
        single(
            op("LSTM", "w", "r", hidden_size=2),
            SEQ,
            [5, 1, 1, 2],
            {"w": np.ones((1, 8, 3), F), "r": np.ones((1, 8, 2), F)},
        ),
        "not known to keep rows apart",
    ),
    (single(op("MaxPool", n_out=2, kernel_shape=[2, 2]), CUBE, [1, 4, 5, 5]), "mixes rows"),
    (single(op("Add", "x"), [1, 4], [1, 4], opset=6), "opset 6"),
]


@pytest.mark.parametrize(
    ("proto", "why"), REFUSED, ids=[p.graph.node[0].op_type for p, _ in REFUSED]
)
def test_refused(proto, why):
    if "mixes rows" in why:
        proto.graph.output.append(value("y1", CUBE, TensorProto.INT64))
    with pytest.raises(ModelError) as caught:
        with_dynamic_batch(proto)
    kind = proto.graph.node[0].op_type
    start = f"The batch cannot be made dynamic: node it ({kind}) "
    assert caught.value.message.startswith(start)
    assert why in caught.value.message
    assert "dynamic batch axis" in caught.value.hint


def refused(proto, why, axis="N"):
    with pytest.raises(ModelError, match=why) as caught:
        with_dynamic_batch(proto, axis)
    assert caught.value.hint


def test_inputs_must_share_one_batch():
    add = helper.make_node("Add", ["a", "b"], ["y"])
    refused(model([add], {"a": [1, 4], "b": [2, 4]}, {"y": [2, 4]}), "a: 1, b: 2")
    refused(model([add], {"a": [1, 4], "b": ["K", 4]}, {"y": ["K", 4]}), "a: 1, b: K")
    refused(model([add], {"a": [1, 4], "b": []}, {"y": [1, 4]}), "input b has no first axis")


def test_the_name_must_be_free():
    relu = helper.make_node("Relu", ["x"], ["y"])
    proto = model([relu], {"x": [1, "N"]}, {"y": [1, "N"]})
    refused(proto, "named 'N'")
    refused(proto, "named ''", axis="")
    assert with_dynamic_batch(proto, "B").graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_an_output_without_the_batch():
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Relu", ["w"], ["z"], name="side"),
    ]
    proto = model(nodes, {"x": [1]}, {"y": [1], "z": [1]}, {"w": np.ones(1, F)})
    refused(proto, "output z does not depend on it")


def test_subgraphs_functions_and_computed_shapes():
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["t"])], "b", [], [value("t", [1, 4])]
    )
    node = helper.make_node("If", ["c"], ["y"], name="it", then_branch=branch, else_branch=branch)
    true = numpy_helper.from_array(np.array(True), "c")
    refused(model([node], {"x": [1, 4]}, {"y": [1, 4]}, [true]), "holds a subgraph")
    body = [helper.make_node("Relu", ["a"], ["b"])]
    function = helper.make_function("", "Abs", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    refused(
        model([op("Abs")], {"x": [1]}, {"y": [1]}, functions=[function]), "is a local function"
    )
    nodes = [
        helper.make_node("Concat", ["p", "q"], ["s"], axis=0),
        helper.make_node("Reshape", ["x", "s"], ["y"], name="it"),
    ]
    weights = {"p": np.array([1], I64), "q": np.array([8], I64)}
    refused(
        model(nodes, {"x": [1, 2, 4]}, {"y": [1, 8]}, weights), "node it .* computes its shape"
    )
    custom = helper.make_node("Odd", ["x"], ["y"], domain="com.odd", name="it")
    proto = model([custom], {"x": [1]}, {"y": [1]})
    proto.opset_import.append(helper.make_opsetid("com.odd", 1))
    refused(proto, "not known to keep rows apart")


def test_random_weights_are_refused():
    nodes = [
        helper.make_node("RandomNormal", [], ["r"], shape=[1, 4], name="noise"),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    refused(model(nodes, {"x": [1, 4]}, {"y": [1, 4]}), r"node noise \(RandomNormal\) is random")
