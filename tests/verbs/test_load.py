"""Everything that load takes, and what it refuses."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import trtlab
from trtlab.errors import ModelError, SpecError
from trtlab.store import Store
from trtlab.verbs.load import graph_of

pytestmark = pytest.mark.native


def proto(batch="N"):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    graph = helper.make_graph([node], "small", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_path_a_string_and_the_same_in_memory_are_one_model(tmp_path):
    file = tmp_path / "small.onnx"
    onnx.save(proto(), file)
    by_path, by_text, in_memory = (trtlab.load(s) for s in (file, str(file), proto()))
    assert by_path == by_text
    assert by_path.hash == in_memory.hash
    assert by_path.name == "small"
    assert by_path.batch_axis == "N"
    assert by_path.parameters == 12
    assert trtlab.load(by_path) is by_path


def test_a_changed_file_is_read_again(tmp_path):
    file = tmp_path / "small.onnx"
    onnx.save(proto(), file)
    first = trtlab.load(file)
    changed = proto()
    changed.graph.initializer[0].raw_data = np.full((4, 3), 2, np.float32).tobytes()
    onnx.save(changed, file)
    assert trtlab.load(file).hash != first.hash


def test_changed_external_weights_are_seen(tmp_path):
    file = tmp_path / "small.onnx"
    onnx.save(proto(), file, save_as_external_data=True, location="w.bin", size_threshold=0)
    first = trtlab.load(file)
    assert first.hash == trtlab.load(proto()).hash
    (tmp_path / "w.bin").write_bytes(np.full((4, 3), 2, np.float32).tobytes())
    assert trtlab.load(file).hash != first.hash


def test_zoo_models_carry_their_name_and_are_made_once():
    phases = []
    first = trtlab.load("zoo:squeezenet", progress=lambda phase, *_: phases.append(phase))
    assert first.name == "zoo:squeezenet"
    assert len(set(phases)) > 2
    phases.clear()
    assert trtlab.load("zoo:squeezenet", progress=lambda phase, *_: phases.append(phase)) == first
    assert phases == []


def test_two_that_make_the_same_zoo_model_at_once_share_it():
    start = threading.Barrier(2)

    def build(_):
        start.wait()
        return trtlab.build("zoo:squeezenet", backend="onnxruntime")

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(build, range(2))
    assert first.hash == second.hash
    assert first.model == second.model
    assert list((Store().home / "scratch").iterdir()) == []
    assert len(list((Store().home / "models").iterdir())) == 1


def test_graphs_come_from_the_store_and_are_read_again_when_gone():
    store = Store()
    model = trtlab.load("zoo:digits")
    graph = graph_of(model, store)
    assert {n.op for n in graph.nodes} >= {"Conv", "BatchNormalization", "Relu"}
    for file in (store.home / "graphs").iterdir():
        file.unlink()
    assert graph_of(model, store) == graph


def test_a_fixed_batch_becomes_dynamic_with_its_parent_named():
    fixed = trtlab.load(proto(batch=1))
    assert fixed.batch_axis is None
    dynamic = trtlab.with_dynamic_batch(fixed)
    assert dynamic.batch_axis == "N"
    assert dynamic.parent == fixed.hash
    assert trtlab.with_dynamic_batch(dynamic) is dynamic


def test_a_batch_that_cannot_be_made_dynamic_names_the_node():
    made = proto(batch=1)
    made.graph.node[0].output[0] = "z"
    made.graph.node.append(helper.make_node("ReduceSum", ["z"], ["y"], name="over_batch"))
    with pytest.raises(ModelError, match="over_batch"):
        trtlab.with_dynamic_batch(trtlab.load(made))


@pytest.mark.parametrize("source", [None, 3, b"bytes", ["a", "b"]])
def test_what_is_no_model_is_refused(source):
    with pytest.raises(SpecError, match="is not a model"):
        trtlab.load(source)


def test_a_module_beside_the_model_is_never_imported(tmp_path, monkeypatch):
    onnx.save(proto(), tmp_path / "small.onnx")
    for name in ("onnx.py", "numpy.py", "msgspec.py", "sitecustomize.py"):
        (tmp_path / name).write_text("import pathlib; pathlib.Path('pwned').touch()")
    monkeypatch.chdir(tmp_path)
    trtlab.benchmark("small.onnx", quick=True)
    assert not (tmp_path / "pwned").exists()


def test_torch_modules_are_exported_with_batchnorm_left_in():
    torch = pytest.importorskip("torch", reason="torch is not installed: loading modules untested")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    model = trtlab.load(module, example=torch.zeros(1, 3, 8, 8))
    assert model.batch_axis == "N"
    assert {n.op for n in graph_of(model).nodes} >= {"Conv", "BatchNormalization"}
    assert trtlab.benchmark(model, batch=3, quick=True).batch == 3
    with pytest.raises(SpecError, match="example"):
        trtlab.load(module)


def test_loading_a_path_imports_no_onnx_here(tmp_path):
    import subprocess

    file = tmp_path / "small.onnx"
    onnx.save(proto(), file)
    script = (
        f"import sys, trtlab; trtlab.load({str(file)!r}); "
        "assert not {'onnx', 'onnxruntime'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_model_that_changed_since_it_was_loaded_is_never_built_under_its_old_name(tmp_path):
    file = tmp_path / "small.onnx"
    onnx.save(proto(), file)
    first = trtlab.load(file)
    other = proto()
    other.graph.node[0].op_type = "Gemm"
    onnx.save(other, file)
    for use in (trtlab.build, trtlab.inspect, trtlab.benchmark):
        with pytest.raises(ModelError, match="changed since it was loaded") as caught:
            use(first)
        assert "Load it again" in caught.value.hint
    onnx.save(proto(), file)
    plan = trtlab.build(trtlab.load(file), backend="onnxruntime")
    assert [y.type for y in plan.layers] == ["MatMul"]


def test_a_link_that_is_gone_does_not_matter_to_the_file(tmp_path):
    file, link = tmp_path / "small.onnx", tmp_path / "link.onnx"
    onnx.save(proto(), file)
    link.symlink_to(file)
    trtlab.load(link)
    link.unlink()
    assert trtlab.build(trtlab.load(file), backend="onnxruntime").layers


def test_names_that_no_file_can_have_are_model_errors(tmp_path):
    for name in ("a" * 5000, str(tmp_path / "\udcff\udcfe.onnx"), "nul\0.onnx"):
        with pytest.raises(ModelError, match="was not opened"):
            trtlab.load(name)


def test_an_input_of_fixed_shape_does_not_hide_the_batch(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])
    scale = helper.make_tensor_value_info("scale", TensorProto.FLOAT, [])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])
    node = helper.make_node("Mul", ["x", "scale"], ["y"], name="scaled")
    graph = helper.make_graph([node], "scaled", [x, scale], [y])
    opsets = [helper.make_opsetid("", 17)]
    model = trtlab.load(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    assert model.batch_axis == "N"
    run = trtlab.benchmark(model, batch=64, quick=True)
    assert run.batch == 64
    assert run.shapes == {"x": (64, 8), "scale": ()}
