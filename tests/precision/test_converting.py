"""From file to file: which graphs are refused, which nodes are kept and why, and the report."""

import struct

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.model import nets
from tests.precision.converted import (
    called,
    chain,
    cnn,
    draw,
    exact,
    node,
    ops,
    run,
    settled,
    values,
)
from tests.precision.test_quantize import gelu
from trtlab.codec import from_json
from trtlab.errors import ModelError, SpecError, UnsupportedError
from trtlab.model.conversion import Calibration, ConversionReport, Range
from trtlab.model.reading import CONVERSION_KEY
from trtlab.precision import calibrate
from trtlab.precision.converting import convert_file
from trtlab.precision.graphs import chosen_nodes, open_graph
from trtlab.precision.quantize import OPS
from trtlab.precision.recipes import Options
from trtlab.precision.request import Request

DATA = Calibration(data="numbers", hash="0" * 64, samples=64, calibrator="minmax")


@pytest.fixture
def convert(tmp_path):
    """Return a function that converts and returns the model with its report."""

    def run(proto, recipe, samples=None, *, before="fp32", ranges=None, about=DATA, **options):
        prepared = None
        if samples is not None:
            prepared, ranges = settled(proto, samples, tmp_path)
        onnx.save(proto, tmp_path / "source.onnx")
        target = tmp_path / "target.onnx"
        request = Request(
            source=str(tmp_path / "source.onnx"), target=str(target), name="net",
            parent="ab" * 32, before=before, recipe=recipe, options=Options(**options),
            prepared=prepared and str(prepared), ranges=ranges or {},
            calibration=about if samples is not None or ranges else None,
        )  # fmt: skip
        convert_file(request, lambda *_: None)
        made = onnx.load(target)
        onnx.checker.check_model(made)
        text = next(p.value for p in made.metadata_props if p.key == CONVERSION_KEY)
        return made, from_json(text, ConversionReport)

    return run


def kept(report):
    return {k.node: k.reason for k in report.kept}


X = draw(8, 3, 8, 8)


# What is kept


def test_fragile_operators_stay_with_their_reason(convert):
    made, report = convert(chain("Relu", "Softmax", "Relu"), "fp16")
    assert list(kept(report)) == ["1"]
    assert "exponentials" in kept(report)["1"]
    assert set(report.converted) == {"0", "2"}
    assert report.casts == ops(made).count("Cast") == 4


@pytest.mark.parametrize(
    ("options", "names", "reason"),
    [
        ({"keep": ("1",)}, {"1"}, "asked for"),
        ({"keep": ("[01]",)}, {"0", "1"}, "asked for"),
        ({"keep_ops": ("Tanh",)}, {"2"}, "operator asked for"),
        ({"keep": ("0",), "keep_ops": ("Tanh",)}, {"0", "2"}, "asked for"),
    ],
)
def test_nodes_are_kept_by_name_pattern_and_operator(options, names, reason, convert):
    _, report = convert(chain("Relu", "Abs", "Tanh", "Relu"), "fp16", **options)
    assert set(kept(report)) == names
    assert all(reason in found for found in kept(report).values())
    assert set(report.converted) == {"0", "1", "2", "3"} - names
    assert report.options == Options(**options).words()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"keep": ("nobody",)}, "No node is called 'nobody'"),
     ({"keep": ("z*",)}, r"No node is called 'z\*'"),
     ({"keep_ops": ("Conv",)}, "no operator 'Conv'")],
)  # fmt: skip
def test_what_fits_no_node_is_refused(options, message, convert, tmp_path):
    with pytest.raises(SpecError, match=message):
        convert(chain("Relu", "Relu"), "fp16", **options)
    assert not (tmp_path / "target.onnx").exists()


def test_a_name_with_brackets_is_a_name_first():
    nodes = [node("Relu", ["x"], ["y"], name="a[0]"), node("Relu", ["x"], ["z"], name="a0")]
    assert set(chosen_nodes(nodes, ["a[0]"], ())) == {"a[0]", "a0"}


def test_nodes_without_names_and_with_equal_ones_get_their_own(convert):
    proto = chain("Relu", "Abs", "Tanh", "Relu")
    for i, name in enumerate(["", "same", "same", ""]):
        proto.graph.node[i].name = name
    _, report = convert(proto, "fp16", keep_ops=("Tanh",))
    assert len(set(report.converted)) == 3
    assert len(kept(report)) == 1


def test_values_beyond_fp16_on_the_data_keep_their_nodes(convert):
    ranges = {"t1": Range(-7e4, 1.0), "t2": Range(-6e4, 6e4)}
    proto = chain("Relu", "Abs", "Tanh", "Relu")
    _, report = convert(proto, "fp16", ranges=ranges)
    assert set(kept(report)) == {"0", "1"}
    assert "values up to 7e+04 on the data, beyond FP16" in kept(report)["0"]
    assert not kept(convert(proto, "bf16", ranges=ranges)[1])


def test_all_kept_is_no_conversion(convert):
    with pytest.raises(UnsupportedError, match="all of it is kept"):
        convert(chain("Relu", "Relu"), "fp16", keep=("*",))


# Quantised


def test_a_folded_batch_norm_stands_for_the_convolution_that_took_it_in(convert):
    made, report = convert(cnn(), "int8", X, keep=("bn",))
    assert kept(report)["conv"] == "asked for"
    assert "conv" not in report.converted
    assert called(made, "conv").input[0] == "x"


def test_the_report_counts_what_was_quantised(convert):
    made, report = convert(cnn(), "int8", X)
    assert set(report.converted) == {
        "conv", "relu", "deconv", "pool", "flat", "gemm", "product"
    }  # fmt: skip
    assert report.quantizers == ops(made).count("QuantizeLinear")
    assert report.weights_converted == 8 * 27 + 8 * 16 + 6 * 4 + 6 * 5
    assert report.bytes_after < report.bytes_before / 2
    assert report.calibration == DATA
    assert report.recipe == "int8"
    assert report.parent == "ab" * 32
    assert any(tool.startswith("onnxruntime ") for tool in report.tools)
    assert report.ranges["x"] == (X.min(), X.max())
    assert not report.doubts


def test_constants_beside_additions_are_left_out_with_the_reason(convert):
    _, report = convert(gelu(), "int8", draw(8, 16))
    assert kept(report)["add"] == "one side of it is a constant"
    assert "product" in report.converted


@pytest.mark.parametrize(("recipe", "dtype"), [("int8+fp16", "float16"), ("int8+bf16", "bfloat16"),
                                               ("fp8+fp16", "float16")])  # fmt: skip
def test_joined_recipes_have_scales_of_the_float_type(recipe, dtype, convert):
    made, report = convert(cnn(), recipe, X)
    scales = {n: a for n, a in values(made).items() if n.endswith("_scale")}
    assert {a.dtype.name for a in scales.values()} == {dtype}
    assert all((a.astype("f4") > 0).all() for a in scales.values())
    assert values(made)["bg"].dtype.name == dtype
    assert report.recipe == recipe
    assert {o.domain: o.version for o in made.opset_import}[""] >= 19


def test_a_scale_below_fp16_is_its_smallest_number_and_not_zero(convert):
    proto = chain("Relu", "MatMul", weights={"w": 1e-9 * draw(4, 4)})
    proto.graph.node[1].input.append("w")
    made, _ = convert(proto, "int8+fp16", draw(8, 4))
    assert (values(made)["w_scale"].astype("f8") > 0).all()


def test_floats_are_added_to_a_quantised_model(convert):
    made, _ = convert(cnn(), "int8", X)
    again, report = convert(made, "fp16", before="int8")
    assert report.recipe == "int8+fp16"
    assert values(again)["x_scale"].dtype == np.float16
    assert values(again)["x_zero_point"].dtype == np.int8
    assert [p.key for p in again.metadata_props].count(CONVERSION_KEY) == 1


def test_doubts(convert):
    few = Calibration(data="d", hash="0" * 64, samples=8, calibrator="minmax")
    assert "Calibrated with 8 samples" in convert(cnn(), "int8", X, about=few)[1].doubts[0]
    invented = Calibration(data="d", hash="0", samples=64, calibrator="minmax", random=True)
    assert "RANDOM" in convert(cnn(), "int8", X, about=invented)[1].doubts[0]
    _, report = convert(cnn(), "int8", X, activations="uint8")
    assert any("TensorRT refuses" in doubt for doubt in report.doubts)


def test_narrow_weights_say_how_many_they_are(convert):
    proto = nets.model(
        [node("MatMul", ["x", "a"], ["h"], name="big"),
         node("MatMul", ["h", "b"], ["y"], name="small")],
        {"x": ["N", 128]}, {"y": ["N", 4]}, {"a": draw(128, 100), "b": draw(100, 4)},
    )  # fmt: skip
    _, report = convert(proto, "int4-weights")
    assert kept(report) == {"small": "its blocks do not fit"}
    assert "1 of the nodes, 97% of the weights" in report.doubts[0]


# Graphs that are refused, and how weights lie


def branch():
    inner = helper.make_graph(
        [node("Identity", ["x"], ["out"])], "g", [], [nets.value("out", [4])]
    )
    return nets.model(
        [node("If", ["c"], ["y"], name="choice", then_branch=inner, else_branch=inner)],
        [nets.value("x", [4]), nets.value("c", [], TensorProto.BOOL)], {"y": [4]},
    )  # fmt: skip


def test_subgraphs_and_local_functions_are_refused(convert):
    with pytest.raises(UnsupportedError, match=r"Node choice \(If\) holds a graph"):
        convert(branch(), "fp16")
    proto = chain("Relu")
    opset = [helper.make_opsetid("", 17)]
    proto.functions.append(
        helper.make_function("acme", "F", ["a"], ["b"], [node("Relu", ["a"], ["b"])], opset)
    )
    proto.opset_import.add(domain="acme", version=1)
    with pytest.raises(UnsupportedError, match="local functions"):
        convert(proto, "bf16")


def external(folder, rows, cols, content=None):
    """A product whose weight lies in another file; without content the file has holes alone."""
    proto = nets.model(
        [node("MatMul", ["x", "w"], ["y"], name="p")],
        {"x": ["N", rows]}, {"y": ["N", cols]},
    )  # fmt: skip
    weight = proto.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[rows, cols])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="w.bin")
    with (folder / "w.bin").open("wb") as file:
        if content is None:
            file.truncate(rows * cols * 4)
        else:
            file.write(content.tobytes())
    onnx.save(proto, folder / "big.onnx")
    return folder / "big.onnx"


def test_external_weights_come_inside(tmp_path):
    w = draw(4, 3)
    model = open_graph(external(tmp_path, 4, 3, w))
    np.testing.assert_array_equal(values(model)["w"], w)
    (tensor,) = model.graph.initializer
    assert not tensor.external_data
    assert struct.unpack("<f", tensor.raw_data[:4])[0] == w[0, 0]


def test_weights_beyond_two_gib_are_refused_before_they_are_read(tmp_path):
    path = external(tmp_path, 32768, 16384)
    with pytest.raises(ModelError, match=r"2\.00 GiB of weights"):
        open_graph(path)


def report_of(model):
    (text,) = [p.value for p in model.metadata_props if p.key == CONVERSION_KEY]
    return from_json(text, ConversionReport)


def test_masks_and_what_they_touch_are_left_alone(tmp_path):
    lowest = float(np.finfo("f4").min)
    proto = nets.model(
        [
            node("MatMul", ["x", "v"], ["g"], name="before"),
            node("Relu", ["g"], ["r"], name="relu"),
            node("MatMul", ["r", "w"], ["h"], name="product"),
            node("Add", ["h", "mask"], ["s"], name="masked"),
            node("Softmax", ["s"], ["y"], name="softmax"),
        ],
        {"x": ["N", 8], "mask": ["N", 4]}, {"y": ["N", 4]},
        {"v": draw(8, 8, seed=5), "w": draw(8, 4)},
    )  # fmt: skip
    onnx.save(proto, tmp_path / "source.onnx")
    calibrate.prepare(tmp_path / "source.onnx", tmp_path / "prepared.onnx")
    mask = np.where(draw(64, 4, seed=3) > 1, lowest, 0).astype("f4")
    x = draw(64, 8, seed=1)
    ranges = calibrate.ranges(
        tmp_path / "prepared.onnx", "minmax", {"x": x, "mask": mask}, OPS, tmp_path, lambda *_: 0
    )
    target = tmp_path / "target.onnx"
    request = Request(
        source=str(tmp_path / "source.onnx"), target=str(target), name="net", parent="ab" * 32,
        before="fp32", recipe="int8", options=Options(),
        prepared=str(tmp_path / "prepared.onnx"), ranges=ranges,
    )  # fmt: skip
    convert_file(request, lambda *_: None)
    made = onnx.load(target)
    right = run(proto, x=x, mask=mask)[0]
    assert np.abs(run(made, x=x, mask=mask)[0] - right).max() < 0.1
    report = report_of(made)
    assert any("mask" in kept.reason for kept in report.kept)
    assert report.converted


def test_scales_that_fp16_cannot_hold_stay_in_fp32(tmp_path):
    proto = nets.model(
        [node("MatMul", ["x", "w"], ["y"], name="product")],
        {"x": ["N", 8]}, {"y": ["N", 4]}, {"w": draw(8, 4) * np.float32(1e-6)},
    )  # fmt: skip
    x = draw(64, 8, seed=1) * np.float32(1e4)
    prepared, ranges = settled(proto, x, tmp_path)
    target = tmp_path / "target.onnx"
    request = Request(
        source=str(tmp_path / "source.onnx"), target=str(target), name="net", parent="ab" * 32,
        before="fp32", recipe="int8+fp16", options=Options(), prepared=str(prepared),
        ranges=ranges,
    )  # fmt: skip
    convert_file(request, lambda *_: None)
    made = onnx.load(target)
    right = x @ (draw(8, 4) * np.float32(1e-6))
    error = exact(made, x=x)[0] - right
    assert np.sqrt((error**2).mean()) < 0.1 * np.sqrt((right**2).mean())
    report = report_of(made)
    assert any("scale" in k.reason for k in report.kept)
