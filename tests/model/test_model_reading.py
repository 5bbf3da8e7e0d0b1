import os
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nets import FLOAT, model, perceptron, value
from onnx import TensorProto, helper, numpy_helper

from trtlab.errors import ModelError, SpecError
from trtlab.model.hashing import content_hash
from trtlab.model.printing import printable
from trtlab.model.reading import read_graph, read_model
from trtlab.model.weights import WeightFolder


def save(tmp_path, proto, name="net.onnx"):
    path = tmp_path / name
    path.write_bytes(proto.SerializeToString())
    return path


def refused(path, *parts, hint=""):
    with pytest.raises(ModelError) as caught:
        read_model(path)
    error = caught.value
    for part in parts:
        assert part in error.message
    assert error.message.startswith(f"{printable(Path(path).name)} was not opened: ")
    assert "\n" not in error.message
    assert "Traceback" not in error.message
    assert error.hint
    assert hint in error.hint
    return error


# What a good file gives


def test_a_model_is_read(tmp_path):
    path = save(tmp_path, perceptron())
    found, graph = read_model(path)
    assert (found.name, found.path, found.opset, found.ir_version) == ("net", str(path), 17, 8)
    assert found.parameters == 8 * 32 + 32 + 32 * 4
    assert found.weight_bytes == 4 * found.parameters
    assert found.batch_axis == "N"
    assert found.recipe == "fp32"
    assert [n.name for n in graph.nodes] == ["first", "Add_1", "act", "second"]
    assert graph.tensors["h"].shape == ("N", 32)
    assert graph.tensors["w1"].is_constant
    assert (graph.inputs, graph.outputs) == (("x",), ("y",))
    assert read_model(str(path), name="zoo:net")[0].name == "zoo:net"


def test_odd_names_stay_text(tmp_path):
    name = '<script>alert(1)</script>\x1b[2J$(rm -rf ~)\u202e"'
    proto = model([helper.make_node("Relu", ["x"], ["y"], name=name)], {"x": [1]}, {"y": [1]})
    _, graph = read_model(save(tmp_path, proto))
    assert graph.nodes[0].name == name


def test_node_names_are_unique_and_deterministic(tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"], name="Relu_0"),
        helper.make_node("Relu", ["b"], ["c"], name="same"),
        helper.make_node("Relu", ["c"], ["y"], name="same"),
    ]
    path = save(tmp_path, model(nodes, {"x": [1]}, {"y": [1]}))
    names = [n.name for n in read_model(path)[1].nodes]
    assert names == ["Relu_0_2", "Relu_0", "same", "same_2"]
    assert [n.name for n in read_model(path)[1].nodes] == names


def test_subgraphs_are_kept_with_their_shapes(tmp_path):
    then = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["t0"]), helper.make_node("Add", ["t0", "k"], ["t"])],
        "then",
        [],
        [value("t", ["M", 3])],
        [numpy_helper.from_array(np.ones(3, "f4"), "k")],
    )
    other = helper.make_graph(
        [helper.make_node("Abs", ["x"], ["e"])], "else", [], [value("e", ["M", 3])]
    )
    proto = model(
        [helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
        [value("x", ["N", 3]), value("c", [], TensorProto.BOOL)],
        {"y": ["M", 3]},
    )
    found, graph = read_model(save(tmp_path, proto))
    branch = graph.nodes[0].subgraphs["then_branch"]
    assert [n.name for n in branch.nodes] == ["Relu_0", "Add_1"]
    assert branch.tensors["t0"].shape == ("N", 3)
    assert branch.tensors["k"].is_constant
    assert found.parameters == 3


def test_attributes_are_small(tmp_path):
    constant = numpy_helper.from_array(np.ones((3, 4), "f4"))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=constant),
        helper.make_node("Constant", [], ["long"], value_ints=list(range(65))),
        helper.make_node("Constant", [], ["low"], value_float=float("-inf")),
        helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1], auto_pad="VALID"),
    ]
    proto = model(
        nodes, {"x": [1, 2, 4, 4]}, {"y": [1, 2, 4, 4]}, {"w": np.ones((2, 2, 1, 1), "f4")}
    )
    nodes = read_model(save(tmp_path, proto))[1].nodes
    assert nodes[0].attributes == {"value": "float32[3, 4]"}
    assert nodes[1].attributes == {}
    assert nodes[2].attributes == {"value_float": "-inf"}
    assert nodes[3].attributes == {"kernel_shape": (1, 1), "auto_pad": "VALID"}


@pytest.mark.parametrize(
    ("data_type", "name", "size"),
    [
        (TensorProto.BFLOAT16, "bfloat16", 12),
        (TensorProto.FLOAT8E4M3FN, "float8_e4m3fn", 6),
        (TensorProto.INT4, "int4", 3),
        (TensorProto.DOUBLE, "float64", 48),
        (TensorProto.BOOL, "bool", 6),
    ],
)
def test_dtypes_have_numpy_names(tmp_path, data_type, name, size):
    weight = helper.make_tensor("w", data_type, [6], [0, 1, 0, 1, 1, 0])
    proto = model(
        [helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, [weight], 21, 10
    )
    found, graph = read_model(save(tmp_path, proto))
    assert graph.tensors["w"].dtype == name
    assert found.weight_bytes == size


def test_quantised_models_arrive_as_qdq(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    weights = {"s": np.float32(0.1), "z": np.int8(0)}
    path = save(tmp_path, model(nodes, {"x": [1]}, {"y": [1]}, weights))
    assert read_model(path)[0].recipe == "qdq"


def test_other_domains_and_local_functions_are_accepted(tmp_path):
    body = [helper.make_node("Relu", ["a"], ["b"])]
    function = helper.make_function(
        "mine", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)]
    )
    nodes = [
        helper.make_node("Twice", ["x"], ["h"], domain="mine"),
        helper.make_node("FastGelu", ["h"], ["y"], domain="com.microsoft"),
    ]
    proto = model(nodes, {"x": ["N"]}, {"y": ["N"]}, functions=[function])
    proto.opset_import.extend([helper.make_opsetid(d, 1) for d in ("mine", "com.microsoft")])
    _, graph = read_model(save(tmp_path, proto))
    assert [(n.op, n.domain) for n in graph.nodes] == [
        ("Twice", "mine"),
        ("FastGelu", "com.microsoft"),
    ]
    assert graph.tensors["h"].shape == ("N",)


def test_sparse_weights_and_missing_output_shapes_are_accepted(tmp_path):
    proto = perceptron()
    values = helper.make_tensor("s", FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [2], [0, 5])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [8]))
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    found, graph = read_model(save(tmp_path, proto))
    assert graph.tensors["s"].shape == (8,)
    assert found.outputs[0].shape == ("N", 4)


def test_stale_value_info_does_not_count(tmp_path):
    proto = perceptron()
    proto.graph.value_info.append(value("h", [7, 7]))
    assert read_model(save(tmp_path, proto))[1].tensors["h"].shape == ("N", 32)


def test_declared_types_count_behind_other_domains(tmp_path):
    proto = model(
        [
            helper.make_node("Odd", ["x"], ["h"], domain="com.odd"),
            helper.make_node("Relu", ["h"], ["y"]),
        ],
        {"x": [3]},
        {"y": ["K"]},
    )
    proto.opset_import.append(helper.make_opsetid("com.odd", 1))
    proto.graph.value_info.append(value("h", [5]))
    assert read_model(save(tmp_path, proto))[1].tensors["h"].shape == (5,)


# Files that are no model


def test_missing_file(tmp_path):
    refused(tmp_path / "no.onnx", "there is no such file in", hint="path")


def test_folder(tmp_path):
    refused(tmp_path, "it is a folder", hint=".onnx")


def test_no_regular_file():
    refused("/dev/zero", "not a regular file")


def test_empty_file(tmp_path):
    (tmp_path / "e.onnx").touch()
    refused(tmp_path / "e.onnx", "empty", hint="again")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(tmp_path):
    path = save(tmp_path, perceptron())
    path.chmod(0)
    refused(path, "cannot be read", hint="rights")


def test_path_that_is_no_text():
    refused("a\0b.onnx", "cannot be read")


@pytest.mark.parametrize(
    ("content", "part", "hint"),
    [
        (b"hello, this is a README\n" * 9, "text file", "download"),
        ("<html>Datei nicht gefunden: ä</html>".encode(), "text file", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS", "git lfs pull"),
        (b"PK\x03\x04" + bytes(40), "zip archive", "torch.onnx.export"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "not an ONNX model", "again"),
        (b"\x08\x08", "no graph", "cut off"),
    ],
)
def test_other_files(tmp_path, content, part, hint):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    refused(path, part, hint=hint)


def test_file_over_2_gb(tmp_path):
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    refused(path, "2 GB", hint="save_as_external_data")


def test_name_that_is_not_utf8(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(
        perceptron().SerializeToString().replace(b"second", b"\xff\xfe\xfd\xfc\xfb\xfa")
    )
    refused(path, "not UTF-8", hint="damaged")


# Models that cannot be used


def test_opset_too_new(tmp_path):
    proto = perceptron()
    proto.opset_import[0].version = 999
    refused(save(tmp_path, proto), "opset 999", onnx.__version__, hint="pip install -U onnx")


def test_opset_missing(tmp_path):
    proto = perceptron()
    del proto.opset_import[:]
    refused(save(tmp_path, proto), "does not say which opset", hint="Export")


def test_ir_version_too_new(tmp_path):
    proto = perceptron()
    proto.ir_version = 99
    refused(save(tmp_path, proto), "IR version 99", hint="newer onnx")


def test_unknown_operator(tmp_path):
    proto = perceptron()
    proto.graph.node[1].op_type = "Frobnicate"
    refused(
        save(tmp_path, proto),
        "node Frobnicate_1 uses operator Frobnicate",
        "opset 17 does not have",
    )


def test_operator_of_a_later_opset(tmp_path):
    proto = model([helper.make_node("Gelu", ["x"], ["y"], name="g")], {"x": [1]}, {"y": [1]})
    refused(save(tmp_path, proto), "node g uses operator Gelu", "opset 17", hint="opset 20")


def test_operator_of_an_earlier_opset(tmp_path):
    proto = model([helper.make_node("Upsample", ["x", "x"], ["y"])], {"x": [1]}, {"y": [1]})
    refused(save(tmp_path, proto), "Upsample", "no longer has")


def test_tensor_that_does_not_exist(tmp_path):
    node = helper.make_node("Conv", ["x", "w7"], ["y"], name="Conv_12")
    path = save(tmp_path, model([node], {"x": [1, 1, 4, 4]}, {"y": [1]}), "inception.onnx")
    error = refused(path, hint="removed")
    assert error.message == (
        "inception.onnx was not opened: node Conv_12 reads tensor w7, which does not exist."
    )


def test_tensor_missing_inside_a_subgraph_and_a_function(tmp_path):
    branch = helper.make_graph(
        [helper.make_node("Relu", ["gone"], ["t"])], "b", [], [value("t", [1])]
    )
    inputs = [value("x", [1]), value("c", [], TensorProto.BOOL)]
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    refused(save(tmp_path, model([node], inputs, {"y": [1]})), "reads tensor gone")
    body = [helper.make_node("Relu", ["lost"], ["b"])]
    function = helper.make_function("mine", "F", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    proto = model(
        [helper.make_node("F", ["x"], ["y"], domain="mine")],
        {"x": [1]},
        {"y": [1]},
        functions=[function],
    )
    refused(save(tmp_path, proto), "reads tensor lost")


def test_wrong_order_and_cycle(tmp_path):
    late = [
        helper.make_node("Relu", ["a"], ["y"], name="late"),
        helper.make_node("Relu", ["x"], ["a"], name="early"),
    ]
    path = save(tmp_path, model(late, {"x": [1]}, {"y": [1]}))
    refused(path, "node late reads tensor a before node early makes it", hint="Sort")
    loop = [
        helper.make_node("Add", ["x", "b"], ["a"], name="p"),
        helper.make_node("Relu", ["a"], ["b"], name="q"),
    ]
    refused(save(tmp_path, model(loop, {"x": [1]}, {"b": [1]})), "node p", "a cycle")


@pytest.mark.parametrize("name", ["h", "x", "w1"])
def test_tensor_made_twice(tmp_path, name):
    proto = perceptron()
    proto.graph.node[2].output[0] = name
    refused(save(tmp_path, proto), f"node act makes tensor {name}, which exists already")


def test_weight_stored_twice(tmp_path):
    proto = perceptron()
    proto.graph.initializer.append(proto.graph.initializer[0])
    refused(save(tmp_path, proto), "weight w1 exists twice")


def test_outputs(tmp_path):
    proto = perceptron()
    proto.graph.output[0].name = "z"
    refused(save(tmp_path, proto), "output z is made by no node")
    del proto.graph.output[:]
    refused(save(tmp_path, proto), "no outputs", hint="outputs")


def test_weight_whose_bytes_do_not_fit(tmp_path):
    proto = perceptron()
    proto.graph.initializer[0].dims[0] = 9
    refused(save(tmp_path, proto), "weight w1 holds 1,024 bytes", "needs 1,152", hint="damaged")
    proto.graph.initializer[0].dims[0] = -9
    with pytest.raises(ModelError, match="negative dimension -9"):
        read_model(save(tmp_path, proto))


def test_the_checker_has_the_last_word(tmp_path):
    proto = perceptron()
    proto.graph.node[3].input.append("b1")
    error = refused(save(tmp_path, proto), "the ONNX checker refused it")
    assert "MatMul" in error.details


def test_messages_are_safe_to_print(tmp_path):
    node = helper.make_node("Relu", ["\x1b[2Jgone"], ["y"], name="a\nb\u202e")
    error = refused(save(tmp_path, model([node], {"x": [1]}, {"y": [1]}), "\x1b[31m.onnx"))
    assert error.message == (
        "\\x1b[31m.onnx was not opened: node a\\nb\\u202e reads tensor \\x1b[2Jgone, "
        "which does not exist."
    )


def test_memory_error_goes_through(tmp_path, monkeypatch):
    path = save(tmp_path, perceptron())

    def full(_):
        raise MemoryError

    monkeypatch.setattr(Path, "read_bytes", full)
    with pytest.raises(MemoryError):
        read_model(path)


# External data


def beside(folder, location="w.bin"):
    folder.mkdir(exist_ok=True)
    onnx.save(
        perceptron(),
        folder / "net.onnx",
        save_as_external_data=True,
        location=location,
        size_threshold=0,
    )
    return folder / "net.onnx"


def relocate(path, **entries):
    proto = onnx.load(path, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        entry.value = entries.get(entry.key, entry.value)
    path.write_bytes(proto.SerializeToString())
    return path


def test_weights_inside_or_beside_have_one_hash(tmp_path):
    inside, graph = read_model(save(tmp_path, perceptron()))
    outside, same = read_model(beside(tmp_path / "e"))
    assert inside.hash == outside.hash
    assert graph == same
    assert inside.weight_bytes == outside.weight_bytes


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "sub/../../w.bin"])
def test_location_outside(tmp_path, location):
    path = beside(tmp_path / "e")
    (tmp_path / "w.bin").write_bytes(bytes(9999))
    refused(
        relocate(path, location=location), "weight w1", "outside the model's folder", hint="beside"
    )


def test_link_that_leaves_the_folder(tmp_path):
    path = beside(tmp_path / "e")
    (tmp_path / "e" / "w.bin").rename(tmp_path / "w.bin")
    (tmp_path / "e" / "w.bin").symlink_to(tmp_path / "w.bin")
    refused(path, "outside the model's folder")


def test_links_that_stay_inside(tmp_path):
    path = beside(tmp_path / "e")
    (tmp_path / "e" / "w.bin").rename(tmp_path / "e" / "real.bin")
    (tmp_path / "e" / "w.bin").symlink_to("real.bin")
    (tmp_path / "f").symlink_to(tmp_path / "e")
    assert read_model(path)[0].hash == read_model(tmp_path / "f" / "net.onnx")[0].hash


def test_a_linked_model_may_use_the_folder_of_its_real_file(tmp_path):
    beside(tmp_path / "blobs")
    hub = tmp_path / "snapshot"
    hub.mkdir()
    for name in ("net.onnx", "w.bin"):
        (hub / name).symlink_to(f"../blobs/{name}")
    assert read_model(hub / "net.onnx")[0].parameters == 416
    (tmp_path / "secret").write_bytes(bytes(9999))
    (hub / "w.bin").unlink()
    (hub / "w.bin").symlink_to("../secret")
    refused(hub / "net.onnx", "outside the model's folder")


@pytest.mark.parametrize("location", ["gone.bin", ".", "loop.bin"])
def test_location_missing(tmp_path, location):
    path = beside(tmp_path / "e")
    (tmp_path / "e" / "loop.bin").symlink_to("loop.bin")
    refused(relocate(path, location=location), "no such file", hint=location)


@pytest.mark.parametrize(
    ("entries", "part"),
    [
        ({"offset": "999999"}, "which has only"),
        ({"length": "8"}, "needs 1,024"),
        ({"offset": "-1"}, "offset or length '-1'"),
        ({"offset": "9" * 30}, "offset or length"),
        ({"location": ""}, "no usable external data location"),
        ({"location": "a\0b"}, "no usable external data location"),
    ],
)
def test_external_entries_that_do_not_fit(tmp_path, entries, part):
    refused(relocate(beside(tmp_path / "e"), **entries), "weight w1", part)


def test_external_file_cut_off(tmp_path):
    path = beside(tmp_path / "e")
    os.truncate(tmp_path / "e" / "w.bin", 100)
    refused(path, "w.bin, which has only 100", hint="cut off")


def test_a_small_external_shape_still_decides_shapes(tmp_path):
    proto = model(
        [helper.make_node("Reshape", ["x", "to"], ["y"])],
        {"x": ["N", 6]},
        {"y": [None, None, None]},
        {"to": np.array([-1, 2, 3])},
    )
    path = tmp_path / "r.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="r.bin", size_threshold=0)
    assert read_model(path)[1].tensors["y"].shape[1:] == (2, 3)


# The hash


def test_what_counts_for_the_hash():
    base = content_hash(perceptron())
    same = perceptron()
    same.producer_name, same.doc_string = "somebody", "words"
    same.graph.node[0].doc_string = "words"
    same.graph.value_info.append(value("h", ["N", 32]))
    tensors = list(same.graph.initializer)[::-1]
    del same.graph.initializer[:]
    same.graph.initializer.extend(tensors)
    assert content_hash(same) == base

    def rename(p):
        p.graph.node[0].name = "other"

    def weight(p):
        raw = bytearray(p.graph.initializer[0].raw_data)
        raw[0] ^= 1
        p.graph.initializer[0].raw_data = bytes(raw)

    def operator(p):
        p.graph.node[2].op_type = "Tanh"

    def opset(p):
        p.opset_import[0].version = 16

    def shape(p):
        p.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    def attribute(p):
        p.graph.node[2].attribute.append(helper.make_attribute("alpha", 1.0))

    hashes = {base}
    for change in (rename, weight, operator, opset, shape, attribute):
        other = perceptron()
        change(other)
        hashes.add(content_hash(other))
    assert len(hashes) == 7


@settings(deadline=None, max_examples=60)
@given(
    data_type=st.sampled_from(
        [
            TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT8,
            TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32,
            TensorProto.BOOL, TensorProto.BFLOAT16, TensorProto.FLOAT8E5M2, TensorProto.INT4,
            TensorProto.UINT4, TensorProto.COMPLEX64, TensorProto.INT16, TensorProto.UINT64,
        ]
    ),
    values=st.lists(st.integers(0, 1), min_size=1, max_size=9),
)  # fmt: skip
def test_typed_raw_and_external_values_have_one_hash(tmp_path_factory, data_type, values):
    typed = helper.make_tensor("w", data_type, [len(values)], values)
    raw = numpy_helper.from_array(numpy_helper.to_array(typed), "w")
    node = helper.make_node("Relu", ["x"], ["y"])
    protos = [model([node], {"x": [1]}, {"y": [1]}, [t]) for t in (typed, raw)]
    assert protos[0] != protos[1]
    folder = tmp_path_factory.mktemp("h")
    (folder / "w.bin").write_bytes(b"##" + raw.raw_data + b"##")
    outer = model([node], {"x": [1]}, {"y": [1]}, [raw])
    tensor = outer.graph.initializer[0]
    size = len(raw.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", "w.bin"), ("offset", "2"), ("length", str(size))):
        tensor.external_data.add(key=key, value=text)
    hashes = {content_hash(p) for p in protos}
    hashes.add(content_hash(outer, WeightFolder.of(folder / "m.onnx")))
    assert len(hashes) == 1


# Damaged files


def read_or_refuse(path, content):
    path.write_bytes(content)
    try:
        return read_model(path)[0].hash
    except ModelError:
        return None


def test_every_truncation_is_a_model_error_or_the_same_model(tmp_path):
    whole = perceptron().SerializeToString()
    path = tmp_path / "cut.onnx"
    full = read_or_refuse(path, whole)
    for length in range(0, len(whole), 7):
        assert read_or_refuse(path, whole[:length]) in (None, full)


_FUZZ = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_FUZZ
@given(content=st.binary(max_size=200))
def test_random_bytes(tmp_path, content):
    assert read_or_refuse(tmp_path / "r.onnx", content) is None


@_FUZZ
@given(where=st.integers(0, 10**6), bits=st.integers(1, 255), count=st.integers(1, 3))
def test_flipped_bytes(tmp_path, where, bits, count):
    content = bytearray(perceptron().SerializeToString())
    for k in range(count):
        content[(where * (k + 1)) % len(content)] ^= bits
    read_or_refuse(tmp_path / "f.onnx", bytes(content))


@_FUZZ
@given(where=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_flipped_structure(tmp_path, where, byte):
    """As above, without weights: every byte is structure."""
    proto = perceptron()
    del proto.graph.initializer[:]
    proto.graph.input.extend([value("w1", [8, 32]), value("b1", [32]), value("w2", [32, 4])])
    content = bytearray(proto.SerializeToString())
    content[where % len(content)] = byte
    read_or_refuse(tmp_path / "f.onnx", bytes(content))


# Concrete shapes


def test_concrete_shapes(tmp_path):
    path = save(tmp_path, perceptron())
    graph = read_graph(path, {"x": (5, 8)})
    assert graph.tensors["x"].shape == (5, 8)
    assert graph.tensors["y"].shape == (5, 4)


@pytest.mark.parametrize(
    ("shapes", "part"),
    [
        ({}, "no shape was given"),
        ({"x": (5, 9)}, "does not fit"),
        ({"x": (5,)}, "does not fit"),
        ({"x": (-1, 8)}, "does not fit"),
        ({"z": (5, 8)}, "no input 'z'"),
    ],
)
def test_concrete_shapes_that_do_not_fit(tmp_path, shapes, part):
    with pytest.raises(SpecError, match=part) as caught:
        read_graph(save(tmp_path, perceptron()), shapes)
    assert caught.value.hint


def test_axes_of_one_name_have_one_size(tmp_path):
    proto = model(
        [helper.make_node("Add", ["a", "b"], ["y"])], {"a": ["N"], "b": ["N"]}, {"y": ["N"]}
    )
    path = save(tmp_path, proto)
    assert read_graph(path, {"a": (2,), "b": (2,)}).tensors["y"].shape == (2,)
    with pytest.raises(SpecError, match="does not fit"):
        read_graph(path, {"a": (2,), "b": (3,)})
    with pytest.raises(ModelError, match="was not opened"):
        read_graph(tmp_path / "no.onnx", {})


# Speed


@pytest.mark.native
@pytest.mark.parametrize("external", [False, True])
def test_100_mb_take_less_than_1500_ms(tmp_path, external):
    weights = {f"w{i}": np.full((1024, 1024), i, "f4") for i in range(25)}
    names = ["x", *(f"t{i}" for i in range(25))]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(25)]
    proto = model(nodes, {"x": ["N", 1024]}, {"t24": ["N", 1024]}, weights)
    path = tmp_path / "big.onnx"
    onnx.save(proto, path, save_as_external_data=external, location="w.bin")
    took = []
    for _ in range(3):
        start = time.perf_counter()
        read_model(path)
        took.append(time.perf_counter() - start)
    assert min(took) < 1.5
