"""Accuracy end to end: references, arithmetic, labels, the culprit node, and bad input."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from tests.model import nets
from trtlab.dataset.samples import Dataset
from trtlab.errors import MismatchError, SpecError, UnsupportedError
from trtlab.precision.graphs import sort_nodes
from trtlab.record import Accuracy
from trtlab.spec import BuildConfig
from trtlab.store import Store
from trtlab.verbs.accuracy import accuracy
from trtlab.verbs.build import build_with
from trtlab.verbs.convert import convert
from trtlab.verbs.load import load

pytestmark = pytest.mark.native


class Reader(CalibrationDataReader):
    def __init__(self, x):
        self.left = iter([{"x": x}])

    def get_next(self):
        return next(self.left, None)


def quantised(model, x, target, *, per_channel=False):
    """INT8 as the recipe makes it, so that the store knows its parent."""
    quantize_static(
        model.path, target, Reader(x), quant_format=QuantFormat.QDQ, per_channel=per_channel,
        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "QuantizeBias": False},
    )  # fmt: skip
    return replace(load(target), recipe="int8", parent=model.hash)


def saved(proto, path):
    onnx.save(proto, path)
    return load(path)


@pytest.fixture
def x():
    return np.random.default_rng(1).standard_normal((64, 8)).astype("f4")


@pytest.fixture
def fp32(tmp_path):
    return saved(nets.perceptron(), tmp_path / "net.onnx")


@pytest.fixture
def int8(tmp_path, fp32, x):
    return quantised(fp32, x, tmp_path / "int8.onnx")


def outputs_of(model, x):
    import onnxruntime as ort

    return ort.InferenceSession(model.path).run(None, {"x": x})[0]


def test_int8_against_the_model_it_was_made_from(fp32, int8, x):
    found = accuracy(int8, x)
    (output,) = found.outputs
    expected = outputs_of(fp32, x)
    error = outputs_of(int8, x) - expected
    assert output.rmse == pytest.approx(np.sqrt((error.astype("f8") ** 2).mean()), rel=0.05)
    assert found.reference_model.hash == fp32.hash
    assert (found.arithmetic, found.origin, found.labels) == ("as run", "measured", None)
    assert Store().has_plan(replace(build_with(int8, BuildConfig(backend="onnxruntime"),
                                               store=Store()), hash=found.plan))  # fmt: skip
    assert 20 < output.sqnr_db < 50
    assert output.max_absolute < 10 * output.rmse


def test_emulated_int8_runs_no_plan(int8, x):
    found = accuracy(int8, x, arithmetic="emulated")
    assert (found.plan, found.origin) == (None, "estimated")
    assert found.outputs[0].sqnr_db == pytest.approx(accuracy(int8, x).outputs[0].sqnr_db, abs=3)


def test_the_same_again_comes_from_the_store(fp32, int8, x):
    first = accuracy(int8, x)
    again = accuracy(replace(int8, name="other"), x)
    assert (again.model.name, again.environment.created) == ("other", first.environment.created)
    assert len(list(Store().all(Accuracy))) == 1
    accuracy(int8, x + 1)
    assert len(list(Store().all(Accuracy))) == 2


def test_fp16_is_emulated_on_the_cpu_and_really_overflows(tmp_path):
    node = helper.make_node
    proto = nets.model(
        [
            node("Mul", ["x", "k"], ["large"], name="raise"),
            node("Relu", ["large"], ["r"], name="relu"),
            node("Div", ["r", "k"], ["y"], name="lower"),
        ],
        {"x": ["N", 8]},
        {"y": ["N", 8]},
        {"k": np.array(60_000, "f4")},
    )
    parent = saved(proto, tmp_path / "net.onnx")
    converted = convert_float_to_float16(proto, keep_io_types=True)
    sort_nodes(converted.graph)  # it leaves its casts at the end
    half = saved(converted, tmp_path / "half.onnx")
    half = replace(half, recipe="fp16", parent=parent.hash)
    x = np.full((40, 8), 0.5, "f4")
    x[:, 0] = 2
    found = accuracy(half, x, per_node=True)
    assert (found.arithmetic, found.outputs[0].not_finite) == ("emulated", 40)
    assert found.suggested == ("raise",)
    assert [n.not_finite for n in found.nodes] == [40, 0, 0]
    assert dict(found.rows())["NaN or infinite"].startswith("40 of 320")


def test_fp16_as_run_is_refused_on_the_cpu(tmp_path, fp32, x):
    half = convert_float_to_float16(onnx.load(fp32.path), keep_io_types=False)
    model = replace(saved(half, tmp_path / "half.onnx"), recipe="fp16", parent=fp32.hash)
    with pytest.raises(UnsupportedError, match="FP16"):
        accuracy(model, x, arithmetic="as run")
    # Inputs that are FP16 take the FP32 model's samples.
    found = accuracy(model, x)
    assert 50 < found.outputs[0].sqnr_db < 80
    # A plan of it runs, and it is said what that means.
    plan = build_with(model, BuildConfig(backend="onnxruntime"), store=Store())
    doubtful = accuracy(plan, x, reference=fp32)
    assert [c.kind for c in doubtful.caveats] == ["computed-in-fp32"]


def test_bf16_is_refused(tmp_path):
    proto = nets.model(
        [helper.make_node("Cast", ["x"], ["b"], to=TensorProto.BFLOAT16),
         helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT)],
        {"x": ["N", 2]}, {"y": ["N", 2]},
    )  # fmt: skip
    model = saved(proto, tmp_path / "bf16.onnx")
    with pytest.raises(UnsupportedError, match="no BF16 convolution"):
        accuracy(model, np.ones((2, 2), "f4"))


def test_an_fp32_model_alone_tells_what_its_optimisation_changes(fp32, x):
    labels = outputs_of(fp32, x).argmax(1)
    labels[:16] = (labels[:16] + 1) % 4
    found = accuracy(fp32, x, labels=labels)
    assert found.labels.top1 == found.labels.reference_top1 == 0.75
    assert found.labels.top5 is None
    assert found.labels.drop_interval.low < 0 < found.labels.drop_interval.high
    assert found.outputs[0].sqnr_db is None or found.outputs[0].sqnr_db > 100
    with pytest.raises(SpecError, match="compared with itself"):
        accuracy(fp32, x, per_node=True)


def test_labels_stay_with_their_samples(fp32, x, tmp_path):
    labels = outputs_of(fp32, x).argmax(1)
    (tmp_path / "labels.txt").write_text("\n".join(map(str, labels)))
    np.save(tmp_path / "labels.npy", labels)
    for given in (tmp_path / "labels.txt", str(tmp_path / "labels.npy"), labels):
        found = accuracy(fp32, x, labels=given, samples=20, seed=3)
        assert (found.labels.samples, found.labels.top1, found.data.samples) == (20, 1, 20)


def test_arrays_as_reference(fp32, int8, x, tmp_path):
    y = outputs_of(fp32, x)
    found = accuracy(int8, x, reference={"y": y})
    assert found.reference_model is None
    assert found.outputs[0].sqnr_db == pytest.approx(accuracy(int8, x).outputs[0].sqnr_db, abs=0.1)
    np.savez(tmp_path / "y.npz", y=y)
    assert accuracy(int8, x, reference=tmp_path / "y.npz").outputs == found.outputs
    y = y.copy()
    y[0, 0] = np.nan
    assert accuracy(int8, x, reference={"y": y}).outputs[0].elements == 64 * 4 - 1


def test_logits_are_compared_where_the_output_is_a_softmax(tmp_path, x):
    proto = nets.perceptron()
    proto.graph.node.append(helper.make_node("Softmax", ["y"], ["p"], name="softmax"))
    proto.graph.output[0].name = "p"
    parent = saved(proto, tmp_path / "net.onnx")
    int8 = quantised(parent, x, tmp_path / "int8.onnx")
    emulated = accuracy(int8, x, arithmetic="emulated", per_node=True).outputs[0]
    assert (emulated.name, emulated.stage) == ("p", "before softmax")
    assert emulated.tensor != "p"
    with_arrays = accuracy(int8, x, reference={"p": np.full((64, 4), 0.25, "f4")})
    assert with_arrays.outputs[0].stage == "probabilities"


def residual_net(sensitive):
    """conv1, then conv2 beside conv3, concatenated, conv4, added, pooled, classified.

    All weights are alike but those of one: it reads one channel that is a thousandth of the
    others with weights a thousand times larger, which no per-tensor INT8 scale can hold.
    """
    generator = np.random.default_rng(0)
    shapes = {"conv1": (8, 8), "conv2": (8, 8), "conv3": (8, 8), "conv4": (8, 16), "fc": (5, 8)}
    w = {n: (generator.standard_normal(s) / s[1] ** 0.5).astype("f4") for n, s in shapes.items()}
    before = {"conv2": "conv1", "conv3": "conv1", "conv4": "conv2"}
    if sensitive != "conv1":
        # conv2 and conv3 share their input: the other one is to read that channel as well.
        w[before[sensitive]][0] /= 1000
        w[sensitive][:, 0] *= 1000
    weights = {n: a[:, :, None, None] if n != "fc" else a for n, a in w.items()}
    node = helper.make_node

    def conv(name, source):
        return [
            node("Conv", [source, name], [f"{name}_out"], name=name),
            node("Relu", [f"{name}_out"], [f"{name}_relu"], name=f"{name}_act"),
        ]

    return nets.model(
        [
            *conv("conv1", "x"),
            *conv("conv2", "conv1_relu"),
            *conv("conv3", "conv1_relu"),
            node("Concat", ["conv2_relu", "conv3_relu"], ["joined"], name="concat", axis=1),
            *conv("conv4", "joined"),
            node("Add", ["conv4_relu", "conv1_relu"], ["sum"], name="residual"),
            node("GlobalAveragePool", ["sum"], ["pooled"], name="pool"),
            node("Flatten", ["pooled"], ["flat"], name="flatten"),
            node("Gemm", ["flat", "fc"], ["y"], name="classifier", transB=1),
        ],
        {"x": ["N", 8, 4, 4]},
        {"y": ["N", 5]},
        weights,
    )


@pytest.mark.parametrize("sensitive", ["conv2", "conv3", "conv4"])
def test_the_sensitive_node_is_found(tmp_path, sensitive):
    parent = saved(residual_net(sensitive), tmp_path / "net.onnx")
    x = np.random.default_rng(1).standard_normal((96, 8, 4, 4)).astype("f4")
    int8 = quantised(parent, x, tmp_path / "int8.onnx")
    found = accuracy(int8, x, arithmetic="emulated", per_node=True)
    assert found.suggested[0] == sensitive
    effects = {n.node: n for n in found.nodes}
    assert effects[sensitive].certain
    assert len(found.nodes) == 13
    # As run, the nodes are compared in unfused arithmetic all the same.
    assert accuracy(int8, x, per_node=True).suggested[0] == sensitive


def test_without_a_sensitive_node_no_node_stands_out_that_much(tmp_path):
    proto = residual_net("conv1")
    parent = saved(proto, tmp_path / "net.onnx")
    x = np.random.default_rng(1).standard_normal((96, 8, 4, 4)).astype("f4")
    int8 = quantised(parent, x, tmp_path / "int8.onnx")
    found = accuracy(int8, x, arithmetic="emulated", per_node=True)
    assert max(n.effect for n in found.nodes) < 0.5
    assert found.outputs[0].sqnr_db > 25


def test_per_node_with_few_samples_says_so(int8, x):
    found = accuracy(int8, x[:4], per_node=True)
    assert [c.kind for c in found.caveats] == ["few-samples"]


def test_random_data_has_a_caveat_and_no_labels(int8):
    found = accuracy(int8, "random", samples=8)
    assert [c.kind for c in found.caveats] == ["random-data"]
    assert (found.data.random, found.labels, found.data.samples) == (True, None, 8)
    with pytest.raises(SpecError, match="no labels"):
        accuracy(int8, "random", labels=[0] * 32)


def test_a_fixed_batch_is_kept(tmp_path, x):
    parent = saved(nets.perceptron(batch=16), tmp_path / "net.onnx")
    int8 = quantised(parent, x[:16], tmp_path / "int8.onnx")
    dynamic = saved(nets.perceptron(), tmp_path / "dynamic.onnx")
    found = accuracy(int8, x)
    assert found.outputs[0].elements == 64 * 4
    assert accuracy(int8, x, reference=dynamic).outputs[0].rmse == found.outputs[0].rmse
    with pytest.raises(SpecError, match="batches of 16 only"):
        accuracy(int8, x[:20])
    with pytest.raises(SpecError, match="8 and 16"):
        accuracy(int8, x, batch=8)


def test_a_model_with_external_weights(tmp_path, x):
    onnx.save(nets.perceptron(), tmp_path / "net.onnx", save_as_external_data=True,
              location="net.data", size_threshold=0)  # fmt: skip
    parent = load(tmp_path / "net.onnx")
    found = accuracy(quantised(parent, x, tmp_path / "int8.onnx"), x, per_node=True)
    assert (found.outputs[0].elements, len(found.nodes)) == (64 * 4, 4)


def test_data_with_labels_but_no_classes(tmp_path):
    proto = nets.model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["N", 3, 4]},
                       {"y": ["N", 3, 4]})  # fmt: skip
    model = saved(proto, tmp_path / "net.onnx")
    data = Dataset.from_arrays(np.ones((4, 3, 4), "f4"), [0, 1, 2, 0])
    found = accuracy(model, data)
    assert [c.kind for c in found.caveats] == ["no-classes"]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"arithmetic": "fast"}, SpecError, "no arithmetic called 'fast'"),
        ({"batch": 0}, SpecError, "batch"),
        ({"atol": -1}, SpecError, "atol is -1"),
        ({"rtol": float("nan")}, SpecError, "rtol is nan"),
        ({"labels": [0, 1]}, SpecError, "2 labels for 64 samples"),
        ({"labels": "nowhere.txt"}, SpecError, "nowhere.txt cannot be read"),
        ({"labels": [9] * 64}, SpecError, "4 classes"),
        ({"reference": {"z": np.ones((64, 4))}}, SpecError, "arrays for 'z'"),
        ({"reference": {"y": np.ones((9, 4))}}, SpecError, "9 samples, the data 64"),
        ({"reference": {"y": np.ones((64, 3))}}, MismatchError, "[32, 4]"),
        ({"reference": {"y": np.ones((64, 4))}, "per_node": True}, SpecError, "not with arrays"),
    ],
)
def test_bad_input(int8, x, given, error, words):
    with pytest.raises(error) as caught:
        accuracy(int8, x, **given)
    assert words in str(caught.value)
    assert caught.value.hint
    assert not list(Store().all(Accuracy))


def test_a_parent_that_is_unknown_or_gone(fp32, int8, x):
    with pytest.raises(SpecError, match="does not tell what it was made from"):
        accuracy(replace(int8, parent=None), x)
    onnx.save(nets.perceptron(batch=3), fp32.path)
    with pytest.raises(SpecError, match="is not here any more"):
        accuracy(int8, x)


def test_another_network_is_no_reference(tmp_path, int8, x):
    y = numpy_helper.from_array(np.ones((8, 7), "f4"), "w")
    other = nets.model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 8]},
                       {"y": ["N", 7]}, [y])  # fmt: skip
    with pytest.raises(MismatchError, match=r"\[32, 7\]"):
        accuracy(int8, x, reference=saved(other, tmp_path / "other.onnx"))


def test_a_plan_for_the_cpu_is_neither_emulated_nor_moved(int8, x):
    plan = build_with(int8, BuildConfig(backend="onnxruntime"), store=Store())
    assert accuracy(plan, x).plan == plan.hash
    with pytest.raises(SpecError, match="runs as it is"):
        accuracy(plan, x, arithmetic="emulated")
    with pytest.raises(SpecError, match="built for the CPU"):
        accuracy(plan, x, provider="cuda")
    with pytest.raises(UnsupportedError, match="tensorrt_rtx"):
        accuracy(replace(plan, config=replace(plan.config, backend="tensorrt_rtx")), x)


def test_it_shows_itself(int8, x):
    found = accuracy(int8, x, per_node=True)
    text = repr(found)
    assert "int8 (int8)" in text
    assert "SQNR" in text
    assert found.df["rmse"][0] == found.outputs[0].rmse
    assert list(found.nodes_df["node"]) == [n.node for n in found.nodes]
    assert "<table" in found._repr_html_()


def test_models_are_found_by_their_content(fp32, int8, tmp_path):
    store = Store()
    (tmp_path / "copy.onnx").write_bytes((tmp_path / "net.onnx").read_bytes())
    load(tmp_path / "copy.onnx")
    found = store.models_with_hash(fp32.hash)
    assert sorted(m.name for m in found) == ["copy", "net"]
    assert not list(store.models_with_hash("0" * 64))


def test_per_node_where_a_plan_has_other_names_inside_than_its_model(tmp_path):
    # The plan's tensor before the softmax is one that the optimiser made: it is not in the file.
    rng = np.random.default_rng(3)
    node = helper.make_node
    proto = nets.model(
        [
            node("Conv", ["x", "w"], ["c"], name="conv", kernel_shape=[3, 3]),
            node("Relu", ["c"], ["r"], name="relu"),
            node("GlobalAveragePool", ["r"], ["g"], name="pool"),
            node("Flatten", ["g"], ["f"], name="flat"),
            node("Gemm", ["f", "v", "b"], ["logits"], name="gemm"),
            node("Softmax", ["logits"], ["y"], name="softmax"),
        ],
        {"x": ["N", 4, 8, 8]},
        {"y": ["N", 6]},
        {
            "w": rng.standard_normal((8, 4, 3, 3)).astype("f4"),
            "v": rng.standard_normal((8, 6)).astype("f4"),
            "b": rng.standard_normal(6).astype("f4"),
        },
    )
    parent = saved(proto, tmp_path / "net.onnx")
    images = rng.standard_normal((32, 4, 8, 8)).astype("f4")
    found = accuracy(convert(parent, "int8", calibration=images), images, per_node=True)
    assert [(o.stage, o.tensor == "logits") for o in found.outputs] == [("before softmax", False)]
    assert {"conv", "gemm"} <= {n.node for n in found.nodes}
