"""Made models: whole files, real progress, the same bytes, and outputs that mean something."""

import itertools
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from trtlab.errors import BackendUnavailableError, ModelError, SpecError, StoreError
from trtlab.zoo import catalogue, light
from trtlab.zoo.making import make_model

MADE = [name for name, entry in catalogue.ENTRIES.items() if not entry.shipped]
QUICK = ["squeezenet", "vit_tiny"]
WITH_BATCHNORM = {"resnet50": 53, "inception_v2": 69, "densenet121": 121, "shufflenet": 49}


def silent(phase, done, total):
    pass


def outputs(path, images):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: images})
    return result.reshape(len(images), -1)


def images(count):
    return np.random.default_rng(1).standard_normal((count, 3, 224, 224), dtype=np.float32)


@pytest.fixture(scope="module", params=QUICK)
def quick(request, tmp_path_factory):
    """A model made once, with what it reported: (name, path, reports)."""
    path = tmp_path_factory.mktemp("zoo") / f"{request.param}.onnx"
    reports = []
    make_model(request.param, str(path), lambda *report: reports.append(report))
    return request.param, path, reports


@pytest.mark.native
def test_progress_goes_up_to_its_total(quick):
    _, _, reports = quick
    phases = [(phase, list(steps)) for phase, steps in itertools.groupby(reports, lambda r: r[0])]
    assert [phase for phase, _ in phases] == ["weights", "settle", "check", "write"]
    for _, steps in phases:
        done = [step[1] for step in steps]
        assert done == list(range(len(done)))
        assert {step[2] for step in steps} == {done[-1]}


@pytest.mark.native
def test_bytes_are_the_same_each_time(quick, tmp_path):
    name, path, _ = quick
    again = tmp_path / "again.onnx"
    make_model(f"zoo:{name}", str(again), silent)
    assert again.read_bytes() == path.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["again.onnx"]


@pytest.mark.native
def test_rows_do_not_depend_on_the_batch(quick):
    _, path, _ = quick
    batch = images(16)
    sixteen = outputs(path, batch)
    for count in (1, 4):
        np.testing.assert_allclose(
            outputs(path, batch[:count]), sixteen[:count], rtol=1e-4, atol=1e-5
        )
    assert np.isfinite(sixteen).all()


def check(path, name):
    """What holds for every made file."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert path.stat().st_size == pytest.approx(catalogue.entry(name).file_bytes, rel=0.01)
    names = [node.name for node in model.graph.node]
    assert all(names)
    assert len(names) == len(set(names))
    ops = [node.op_type for node in model.graph.node]
    assert ops.count("BatchNormalization") == WITH_BATCHNORM.get(name, 0)
    assert not {"Dropout", "ConstantOfShape", "Unsqueeze", "Sum"} & set(ops)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "N", value.name
    assert "not trained" in model.doc_string


@pytest.mark.native
@pytest.mark.parametrize("name", MADE)
def test_every_made_model(name, tmp_path):
    path = tmp_path / f"{name}.onnx"
    make_model(name, str(path), silent)
    check(path, name)
    two = outputs(path, images(2))
    np.testing.assert_allclose(outputs(path, images(2)[:1]), two[:1], rtol=1e-3, atol=1e-5)
    assert np.isfinite(two).all()
    # Different images get clearly different answers, and no class takes everything.
    assert np.abs(two[0] - two[1]).max() > 0.2 * np.abs(two).max()
    if two.min() >= 0:
        assert two.max() < 0.9


@pytest.mark.native
def test_activations_neither_grow_nor_die(tmp_path):
    path = tmp_path / "inception_v2.onnx"
    make_model("inception_v2", str(path), silent)
    model = onnx.load(path)
    for node in model.graph.node[:-1]:
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)
        )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    prob, *inner = session.run(None, {"data": images(2)})
    assert prob.shape == (2, 1000)
    for values in inner:
        assert 0.1 < values.std() < 10
        assert np.abs(values).max() < 100


def test_shipped_models_are_not_made(tmp_path):
    with pytest.raises(SpecError, match="shipped"):
        make_model("digits", str(tmp_path / "digits.onnx"), silent)
    assert not list(tmp_path.iterdir())


def test_an_onnx_without_light_models_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(light, "_LIGHT", tmp_path)
    with pytest.raises(ModelError, match=r"light_squeezenet\.onnx"):
        make_model("squeezenet", str(tmp_path / "squeezenet.onnx"), silent)


def test_without_onnx_runtime(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendUnavailableError, match="needs ONNX Runtime"):
        make_model("squeezenet", str(tmp_path / "squeezenet.onnx"), silent)


@pytest.mark.native
def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        make_model("squeezenet", str(tmp_path / "none" / "squeezenet.onnx"), silent)


@pytest.mark.native
def test_nothing_is_left_when_the_move_fails(tmp_path):
    target = tmp_path / "squeezenet.onnx"
    target.mkdir()
    (target / "file").touch()
    with pytest.raises(StoreError):
        make_model("squeezenet", str(target), silent)
    assert [file.name for file in tmp_path.iterdir()] == ["squeezenet.onnx"]
