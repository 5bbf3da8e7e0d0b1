"""raw_graph: the ONNX file as it is, but for the values of large tensors."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import trtlab
from tests.model.nets import model, perceptron, value
from trtlab.verbs.raw_graph import MOST_VALUES, raw_graph

pytestmark = pytest.mark.native


def tensor(name, size):
    return numpy_helper.from_array(np.arange(size, dtype="f4"), name)


def without_values(proto):
    for one in proto.graph.initializer:
        for field in ("raw_data", "float_data", "external_data", "data_location"):
            one.ClearField(field)
    return proto


def test_only_values_of_large_tensors_are_left_out():
    source = perceptron()
    found = raw_graph(source)
    got = onnx.load_from_string(found.onnx)
    assert (found.tensors, found.left_out) == (3, 2)
    assert found.left_out_bytes == 4 * (8 * 32 + 32 * 4)
    large = {t.name: t for t in got.graph.initializer if t.external_data}
    assert set(large) == {"w1", "w2"}
    assert large["w1"].external_data[0].value == "left out here: more than 64 values"
    assert not large["w1"].raw_data
    (bias,) = [t for t in got.graph.initializer if t.name == "b1"]
    assert bias == source.graph.initializer[1]
    assert without_values(got) == without_values(source)


def test_the_limit_is_the_last_size_that_is_kept():
    kept, left = tensor("kept", MOST_VALUES), tensor("left", MOST_VALUES + 1)
    nodes = [helper.make_node("Concat", ["kept", "left"], ["y"], axis=0)]
    found = raw_graph(model(nodes, {}, {"y": [129]}, [kept, left]))
    assert found.left_out == 1
    assert onnx.load_from_string(found.onnx).graph.initializer[0] == kept


def test_constants_subgraphs_and_functions_lose_theirs_too():
    constant = helper.make_node("Constant", [], ["c"], value=tensor("", 100))
    inner = helper.make_graph(
        [helper.make_node("Identity", ["large"], ["out"])],
        "inner", [], [value("out", [200])], [tensor("large", 200)],
    )  # fmt: skip
    branch = helper.make_node("If", ["go"], ["b"], then_branch=inner, else_branch=inner)
    function = helper.make_function(
        "own", "Fixed", [], ["out"],
        [helper.make_node("Constant", [], ["out"], value=tensor("", 300))],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    call = helper.make_node("Fixed", [], ["f"], domain="own")
    source = model(
        [constant, branch, call],
        [value("go", [], onnx.TensorProto.BOOL)],
        {"c": [100], "b": [200], "f": [300]},
        functions=[function],
    )
    source.opset_import.append(helper.make_opsetid("own", 1))
    found = raw_graph(source)
    assert found.left_out == found.tensors == 4
    assert found.left_out_bytes == 4 * (100 + 200 + 200 + 300)
    assert len(found.onnx) < 1500


def test_external_values_are_not_read(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(perceptron(), path, save_as_external_data=True, location="w.bin", size_threshold=1)
    found = raw_graph(path)
    assert found.left_out == 2
    (bias,) = [t for t in onnx.load_from_string(found.onnx).graph.initializer if t.name == "b1"]
    assert {e.key: e.value for e in bias.external_data}["location"] == "w.bin"


def test_the_page_says_what_was_left_out():
    page = trtlab.netron(perceptron(), height=300)
    assert "2 of 3 stored tensors have more than 64 values" in page.note
    assert "1.50 KiB" in page.note
    assert "height:300px" in page._repr_html_()
    small = model([helper.make_node("Relu", ["x"], ["y"])], {"x": [4]}, {"y": [4]})
    assert trtlab.netron(small).note.endswith("on a page that reaches no network.")
