"""``convert`` end to end: the store, the report in the file, what TensorRT makes of it."""

import shutil
import threading

import numpy as np
import onnx
import pytest

import trtlab
from tests.model import nets
from tests.precision.converted import cnn, draw, node, quantised, run, values
from tests.precision.test_quantize import gelu
from trtlab import worker
from trtlab.errors import BuildError, JobCancelled, ModelError, SpecError, UnsupportedError
from trtlab.model.reading import CONVERSION_KEY
from trtlab.record import ModelRef
from trtlab.store import Store
from trtlab.verbs.build import build
from trtlab.verbs.convert import convert
from trtlab.verbs.load import load

pytestmark = pytest.mark.native

X = draw(16, 3, 8, 8)


@pytest.fixture
def source(tmp_path):
    onnx.save(cnn(), tmp_path / "net.onnx")
    return load(tmp_path / "net.onnx")


@pytest.fixture
def jobs(monkeypatch):
    """The names of the worker jobs that were started."""
    started = []
    real = worker.run

    def run_noted(job, *arguments, **settings):
        started.append(job.__name__)
        return real(job, *arguments, **settings)

    monkeypatch.setattr(worker, "run", run_noted)
    return started


def files():
    """What the store's folders of models hold."""
    return sorted(p.name for p in Store().model_path("x").parent.iterdir())


# Results


def test_the_same_request_is_answered_from_the_store(source, jobs):
    first = convert(source, "int8", calibration=X)
    assert jobs.count("_calibrate_job") == 1
    assert "_convert_job" not in jobs  # one worker does both
    jobs.clear()
    assert convert(source, "int8", calibration=X.copy()) == first
    assert not [job for job in jobs if job != "_read_job"]
    assert convert(source, "int8", calibration=X, keep="gemm").hash != first.hash
    assert jobs.count("_convert_job") == 1
    assert "_calibrate_job" not in jobs  # keeping a node changes no range


def test_a_copy_keeps_recipe_parent_and_report(source, tmp_path):
    made = convert(source, "int8+fp16", calibration=X)
    assert (made.recipe, made.parent) == ("int8+fp16", source.hash)
    shutil.copyfile(made.path, tmp_path / "elsewhere.onnx")
    found = load(tmp_path / "elsewhere.onnx")
    assert found.conversion == made.conversion
    assert (found.hash, found.recipe, found.parent) == (made.hash, made.recipe, made.parent)


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "{}",
        "[" * 100_000,
        '{"recipe": 8}',
        " " * (17 * 2**20) + "{}",
        '{"recipe": "\\u001b[2J", "tools": [], "parent": "ab", "parent_name": "n"}',
        '{"recipe": "int8", "tools": [], "parent": "../../etc", "parent_name": "n"}',
    ],
    ids=["text", "empty", "deep", "types", "huge", "recipe", "parent"],
)
def test_rubbish_in_the_metadata_is_ignored(text, tmp_path):
    proto = cnn()
    onnx.helper.set_model_props(proto, {CONVERSION_KEY: text})
    onnx.save(proto, tmp_path / "net.onnx")
    found = load(tmp_path / "net.onnx")
    assert (found.conversion, found.recipe, found.parent) == (None, "fp32", None)


def test_hostile_names_are_printed_safely(tmp_path):
    text = (
        '{"recipe": "int8", "tools": ["\\u001b[2Jtool"], "parent": "abcd", '
        '"parent_name": "\\u202eevil", "kept": [{"node": "n", "op": "\\u0007", "reason": "\\r"}], '
        '"doubts": ["\\u001b]0;title"]}'
    )
    proto = cnn()
    onnx.helper.set_model_props(proto, {CONVERSION_KEY: text})
    onnx.save(proto, tmp_path / "net.onnx")
    shown = repr(load(tmp_path / "net.onnx").conversion)
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "\\x1b[2Jtool" in shown


@pytest.mark.parametrize(("kind", "recipe"), [("f2", "fp16"), ("f4", "fp32")])
def test_a_file_that_arrives_has_the_type_of_its_weights(kind, recipe, tmp_path):
    dtype = onnx.TensorProto.FLOAT16 if kind == "f2" else onnx.TensorProto.FLOAT
    w = {"w": draw(4, 4).astype(kind)}
    proto = nets.model([node("MatMul", ["x", "w"], ["y"])], [nets.value("x", ["N", 4], dtype)],
                       {"y": ["N", 4]}, w)  # fmt: skip
    proto.graph.output[0].type.tensor_type.elem_type = dtype
    onnx.save(proto, tmp_path / "net.onnx")
    found = load(tmp_path / "net.onnx")
    assert (found.recipe, found.parent) == (recipe, None)
    if recipe == "fp16":
        with pytest.raises(SpecError, match="is in fp16: what rounding took"):
            convert(found, "int8", calibration=X)


def test_the_recipe_is_on_the_plan_even_when_it_is_built_again(source):
    made = convert(source, "fp16")
    store = Store()
    plan = build(made, backend="onnxruntime")
    assert plan.model == ModelRef.of(made)
    assert (plan.model.recipe, plan.model.parent) == ("fp16", source.hash)
    store.plan_path(plan.hash).unlink()
    again = build(load(made.path), backend="onnxruntime")
    assert (again.model.recipe, again.model.parent) == ("fp16", source.hash)


# Nothing half-written


def test_cancelled_on_the_way_leaves_nothing(source):
    cancel = threading.Event()

    def stop(phase, _done, _total):
        if phase == "convert":
            cancel.set()

    with pytest.raises(JobCancelled):
        convert(source, "int8", calibration=X, progress=stop, cancel=cancel)
    assert not [name for name in files() if name.startswith("converted")]
    assert convert(source, "int8", calibration=X).recipe == "int8"


def test_a_worker_that_dies_leaves_nothing(source, monkeypatch):
    real = worker.run

    def die(job, spec, **settings):
        found = real(job, spec, **settings)
        if job.__name__ == "_convert_job":
            raise worker.WorkerCrashed("killed")
        return found

    monkeypatch.setattr(worker, "run", die)
    with pytest.raises(worker.WorkerCrashed):
        convert(source, "fp16")
    assert not [name for name in files() if name.startswith("converted")]
    assert not list(Store().home.rglob("converted.onnx"))


# Calibration


def test_ranges_are_written_and_used_again(source, tmp_path, jobs):
    made = convert(source, "int8", calibration=X, calibrator="percentile")
    table = trtlab.export(made, tmp_path / "ranges.json")
    jobs.clear()
    again = convert(source, "fp8", calibration=table)
    assert "_calibrate_job" not in jobs
    assert again.conversion.ranges == made.conversion.ranges
    assert again.conversion.calibration == made.conversion.calibration


def test_tables_that_do_not_fit(source, tmp_path):
    made = convert(source, "int8", calibration=X)
    text = trtlab.export(made, tmp_path / "ranges.json").read_text()
    onnx.save(gelu(), tmp_path / "other.onnx")
    with pytest.raises(SpecError, match="of another model than other"):
        convert(tmp_path / "other.onnx", "int8", calibration=tmp_path / "ranges.json")
    low, high = made.conversion.ranges["x"]
    for wrong, message in [
        ("rubbish", "no calibration table"),
        ("{}", "no calibration table"),
        (text.replace(f"[{low!r},{high!r}]", "[-1e300,1]"), "has -1e\\+300 to 1 for x"),
        (text.replace(f"[{low!r},{high!r}]", "[2,1]"), "has 2 to 1 for x"),
        (text.replace('"x":', '"z":'), "ranges do not fit the model: .* x"),
    ]:
        assert wrong != text
        (tmp_path / "wrong.json").write_text(wrong)
        with pytest.raises(SpecError, match=message):
            convert(source, "int8", calibration=tmp_path / "wrong.json")
    with pytest.raises(SpecError, match="no calibration table: No such file"):
        convert(source, "int8", calibration="absent.json")
    with pytest.raises(SpecError, match=r"net \(fp16\) was not calibrated"):
        trtlab.export(convert(source, "fp16"), tmp_path / "none.json")


def test_random_data_is_doubted_loudly(source):
    report = convert(source, "int8", calibration="random").conversion
    assert report.calibration.random
    assert "RANDOM" in report.doubts[0]


def test_calibration_keeps_what_leaves_fp16s_range(tmp_path):
    proto = nets.model(
        [node("Mul", ["x", "k"], ["big"], name="grow"),
         node("Mul", ["big", "l"], ["small"], name="shrink"), node("Relu", ["small"], ["y"])],
        {"x": ["N", 4]}, {"y": ["N", 4]},
        {"k": np.float32(6e4), "l": np.float32(1e-4)},
    )  # fmt: skip
    onnx.save(proto, tmp_path / "net.onnx")
    made = convert(tmp_path / "net.onnx", "fp16", calibration=np.full((40, 4), 2, "f4"))
    assert {k.node for k in made.conversion.kept} == {"grow", "shrink"}
    found = run(made.path, x=np.full((1, 4), 2, "f4"))[0]
    np.testing.assert_allclose(found, 12, rtol=1e-3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (draw(4, 3, 9, 8), "the data is"),
        (draw(4, 3, 8, 8).astype("f8"), "float64"),
        (np.full((4, 3, 8, 8), np.nan, "f4"), "NaN"),
        (np.zeros((0, 3, 8, 8), "f4"), "empty|no samples|No sample"),
        (8, "is no data"),
        (None, "has no data of its own"),
    ],
    ids=["shape", "dtype", "nan", "empty", "kind", "none"],
)
def test_data_that_cannot_be_used(data, message, source):
    with pytest.raises(SpecError, match=message):
        convert(source, "int8", calibration=data)
    assert not [name for name in files() if name.startswith(("converted", "ranges"))]


# Refused


def test_quantising_twice_is_refused_and_floats_are_not(source, tmp_path):
    int8 = convert(source, "int8", calibration=X)
    for recipe in ("int8", "fp8", "int8-weights", "int8+fp16"):
        with pytest.raises(SpecError, match="quantised already"):
            convert(int8, recipe, calibration=X)
    both = convert(int8, "fp16")
    assert (both.recipe, both.parent) == ("int8+fp16", int8.hash)
    stranger = onnx.load(int8.path)
    del stranger.metadata_props[:]
    onnx.save(stranger, tmp_path / "qat.onnx")
    qdq = load(tmp_path / "qat.onnx")
    assert qdq.recipe == "qdq"
    assert convert(qdq, "fp16").recipe == "qdq+fp16"
    with pytest.raises(SpecError, match="quantised already"):
        convert(qdq, "int8", calibration=X)


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("fp8", {"activations": "uint8"}, "fp8 has no zero points"),
        ("fp16", {"symmetric": False}, "fp16 has no zero points"),
        ("int8", {"activations": "uint8", "symmetric": True}, "uint8 activations have"),
        ("int8", {"calibrator": "best"}, "no calibrator"),
        ("int9", {}, "no precision recipe"),
        ("int8", {"keep": "nobody"}, "No node is called 'nobody'"),
    ],
)
def test_settings_that_make_no_sense(recipe, options, message, source):
    with pytest.raises(SpecError, match=message):
        convert(source, recipe, calibration=X, **options)


def test_fp32_is_the_model_itself(source):
    assert convert(source, "fp32") is source


def test_uint8_says_so_in_its_name_and_tensorrt_refuses_it_before_the_build(source, jobs):
    for options in ({"activations": "uint8"}, {"symmetric": False}):
        made = convert(source, "int8", calibration=X, **options)
        assert made.name.startswith("net (")
        assert made.name.endswith("with zero points, CPU only)")
        jobs.clear()
        with pytest.raises(UnsupportedError, match="zero points other than 0"):
            build(made, batch=1, backend="tensorrt_rtx", target="sm89")
        assert not jobs


def test_an_overflow_crosses_the_worker_as_it_is(tmp_path):
    w = draw(4, 4)
    w[0, 0] = 1e6
    onnx.save(nets.model([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 4]}, {"y": ["N", 4]},
                         {"w": w}), tmp_path / "net.onnx")  # fmt: skip
    with pytest.raises(ModelError, match="Weight w holds 1e"):
        convert(tmp_path / "net.onnx", "fp16")
    assert convert(tmp_path / "net.onnx", "fp16", clip=True).conversion.clipped == 1


# What TensorRT-RTX makes of it


def engine_types(model):
    """Element types of the tensors that the engine's layers read and write, by layer."""
    plan = build(model, batch=1, backend="tensorrt_rtx", target="sm89")
    return {
        layer.name: [t.dtype for t in (*layer.inputs, *layer.outputs)] for layer in plan.layers
    }


def correlations(types):
    return [kinds for name, kinds in types.items() if name.startswith(("one", "two"))]


@pytest.fixture
def convolutions(tmp_path):
    proto = nets.model(
        [node("Conv", ["x", "w"], ["c"], name="one"), node("Relu", ["c"], ["r"], name="relu"),
         node("Conv", ["r", "v"], ["y"], name="two")],
        {"x": ["N", 16, 12, 12]}, {"y": ["N", 16, 8, 8]},
        {"w": draw(16, 16, 3, 3), "v": draw(16, 16, 3, 3, seed=1)},
    )  # fmt: skip
    onnx.save(proto, tmp_path / "convolutions.onnx")
    return tmp_path / "convolutions.onnx"


@pytest.mark.parametrize(("recipe", "dtype"), [("fp8", "float8_e4m3fn"), ("int8", "int8")])
def test_engine_computes_in_8_bits(recipe, dtype, convolutions, rtx):
    made = convert(convolutions, recipe, calibration=draw(8, 16, 12, 12))
    found = correlations(engine_types(made))
    assert len(found) == 2
    assert all(kinds[0] == dtype for kinds in found)


def test_engine_computes_in_float_where_scales_have_an_axis(convolutions, tmp_path, rtx):
    """The trap that ``graphs.tensor_of`` avoids: when this fails, TensorRT-RTX was mended."""
    made = onnx.load(convert(convolutions, "fp8", calibration=draw(8, 16, 12, 12)).path)
    for tensor in made.graph.initializer:
        if tensor.name.endswith(("_scale", "_zero_point")) and not tensor.dims:
            tensor.dims.append(1)
    onnx.save(made, tmp_path / "axes.onnx")
    found = correlations(engine_types(load(tmp_path / "axes.onnx")))
    assert len(found) == 2
    assert all(set(kinds) == {"float32"} for kinds in found)


def test_engine_of_bf16(convolutions, rtx):
    types = engine_types(convert(convolutions, "bf16"))
    assert any("bfloat16" in kinds for kinds in types.values())


def test_engine_of_a_quantised_constant_is_refused(tmp_path, rtx):
    """The trap that ``quantize.beside_constants`` avoids: else TensorRT-RTX was mended."""
    done = quantised(gelu(), draw(8, 16), tmp_path)
    onnx.save(done.model, tmp_path / "constant.onnx")
    with pytest.raises(BuildError, match=r"(?i)quantized constant"):
        engine_types(load(tmp_path / "constant.onnx"))


def test_engine_with_constants_beside_additions(tmp_path, rtx):
    onnx.save(gelu(), tmp_path / "gelu.onnx")
    types = engine_types(convert(tmp_path / "gelu.onnx", "int8", calibration=draw(8, 16)))
    assert any("int8" in kinds for kinds in types.values())


def test_engine_of_a_bias_in_int32_is_refused(source, tmp_path, rtx):
    made = onnx.load(convert(source, "int8", calibration=X).path)
    stored = values(made)
    scale = np.float32(0.01)
    bias = np.round(stored["bg"] / scale).astype("i4")
    for name, array in (("bg_q", bias), ("bg_s", scale), ("bg_z", np.int32(0))):
        made.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    made.graph.node.insert(0, node("DequantizeLinear", ["bg_q", "bg_s", "bg_z"], ["bg_wide"]))
    next(n for n in made.graph.node if n.name == "gemm").input[2] = "bg_wide"
    onnx.save(made, tmp_path / "bias.onnx")
    with pytest.raises(BuildError, match=r"Int32|INT32|int32"):
        build(load(tmp_path / "bias.onnx"), batch=1, backend="tensorrt_rtx", target="sm89")


@pytest.mark.parametrize("recipe", ["int8-weights", "int4-weights"])
def test_engine_and_run_of_narrow_weights(recipe, tmp_path, rtx):
    proto = nets.model([node("MatMul", ["x", "w"], ["y"], name="p")],
                       {"x": ["N", 256]}, {"y": ["N", 64]}, {"w": draw(256, 64)})  # fmt: skip
    onnx.save(proto, tmp_path / "net.onnx")
    made = convert(tmp_path / "net.onnx", recipe)
    assert made.weight_bytes < 0.3 * 256 * 64 * 4
    x = draw(4, 256, seed=3)
    expected = x @ draw(256, 64)
    error = run(made.path, x=x)[0] - expected
    assert error.std() / expected.std() < {"int8-weights": 0.02, "int4-weights": 0.2}[recipe]
    assert engine_types(made)
