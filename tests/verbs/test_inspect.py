"""inspect: which nodes a TensorRT parser takes, and the costs that it leaves as they are."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import trtlab
from tests.model.nets import model, value
from trtlab.backends.base import Rejection
from trtlab.errors import BackendUnavailableError, SpecError, UnsupportedError
from trtlab.model.types import Graph, Node
from trtlab.verbs.inspect import verdicts_of

pytestmark = pytest.mark.native


def node(op, reads, writes, name, **more):
    return helper.make_node(op, reads, [writes], name=name, **more)


def graph(count):
    return Graph("g", tuple(Node(f"n{i}", "Op", (), ()) for i in range(count)), {}, (), ())


def against(index, *, importing):
    return Rejection(index, f"n{index}", "Op", f"reason {index}", "hint", importing)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], "ssss"),
        ([against(2, importing=False)], "ssrs"),
        ([against(0, importing=False), against(3, importing=False)], "rssr"),
        ([against(1, importing=True)], "srnn"),
        ([against(3, importing=True)], "sssr"),
        ([against(-1, importing=True)], "nnnn"),
        ([against(-1, importing=False)], "ssss"),
        ([against(0, importing=False), against(2, importing=True)], "rsrn"),
        ([against(9, importing=False)], "ssss"),
    ],
)
def test_nodes_behind_the_first_that_is_not_imported_are_not_judged(said, expected):
    verdicts = verdicts_of(graph(4), said)
    assert [v.node for v in verdicts] == ["n0", "n1", "n2", "n3"]
    assert "".join(v.verdict[0] for v in verdicts) == expected
    for index, verdict in enumerate(verdicts):
        refused = verdict.verdict == "refused"
        assert verdict.reason == (f"reason {index}" if refused else "")
        assert bool(verdict.hint) is refused


def inspected(proto, tmp_path):
    path = tmp_path / "made.onnx"
    onnx.save(proto, path)
    return trtlab.inspect(path, backend="tensorrt_rtx")


def short(found):
    return {v.node: v.verdict for v in found.verdicts}


def unsupported():
    made = model(
        [
            node("Relu", ["x"], "a", "fine"),
            node("Det", ["a"], "b", "det"),
            node("Odd", ["b"], "c", "odd", domain="my.ops"),
            node("Det", ["a"], "d", "again"),
            node("Add", ["c", "d"], "y", "last"),
        ],
        {"x": ["N", 3, 3]},
        {"y": ["N"]},
    )
    made.opset_import.append(helper.make_opsetid("my.ops", 1))
    return made


@pytest.mark.usefixtures("rtx")
def test_every_unsupported_node_is_named_with_its_own_reason(tmp_path):
    found = inspected(unsupported(), tmp_path)
    assert short(found) == {
        "fine": "supported",
        "det": "refused",
        "odd": "refused",
        "again": "refused",
        "last": "supported",
    }
    reasons = {v.node: v for v in found.verdicts}
    assert "does not support this operator" in reasons["det"].reason
    assert "no plugin provides it" in reasons["odd"].reason
    assert "--plugin" in reasons["odd"].hint
    assert found.refusal == ""
    assert "3 refused, 2 supported" in repr(found)
    assert found.backend == "tensorrt_rtx"
    # The costs are those without a backend.
    assert found.costs == trtlab.inspect(found.model).costs


@pytest.mark.usefixtures("rtx")
def test_what_lies_behind_a_node_that_cannot_be_imported_is_not_reached(tmp_path):
    made = model(
        [
            node("Relu", ["x"], "a", "first"),
            node("Add", ["a", "w"], "b", "mixed"),
            node("Exp", ["b"], "y", "after"),
        ],
        {"x": ["N", 4]},
        {"y": ["N", 4]},
        {"w": np.ones((1, 4), np.float16)},
    )
    found = inspected(made, tmp_path)
    assert short(found) == {"first": "supported", "mixed": "refused", "after": "not reached"}
    assert "types Float and Half" in found.verdicts[1].reason


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("inner", ["Det", "Add"], ids=["unsupported", "not-imported"])
def test_a_node_within_a_branch_speaks_for_the_node_that_holds_it(inner, tmp_path):
    half = numpy_helper.from_array(np.ones((1, 3, 3), np.float16), "half")
    reads = ["r", "half"] if inner == "Add" else ["r"]
    shape = [2] if inner == "Det" else [2, 3, 3]
    then = helper.make_graph(
        [node("Relu", ["x"], "r", "before"), node(inner, reads, "t", "inside")],
        "then", [], [value("t", shape)], [half] if inner == "Add" else [],
    )  # fmt: skip
    ones = numpy_helper.from_array(np.ones(shape, np.float32), "ones")
    other = helper.make_graph(
        [node("Exp", ["ones"], "e", "els")], "else", [], [value("e", shape)], [ones]
    )
    made = model(
        [
            node("Relu", ["x"], "q", "pre"),
            node("If", ["c"], "y", "branch", then_branch=then, else_branch=other),
            node("Exp", ["q"], "q2", "post"),
        ],
        {"x": [2, 3, 3]},
        {"y": shape, "q2": [2, 3, 3]},
    )
    made.graph.input.append(value("c", [], TensorProto.BOOL))
    found = inspected(made, tmp_path)
    after = "supported" if inner == "Det" else "not reached"
    assert short(found) == {"pre": "supported", "branch": "refused", "post": after}
    assert "inside" in found.verdicts[1].reason


@pytest.mark.usefixtures("rtx")
def test_a_refusal_of_the_whole_model_is_told_apart(tmp_path):
    made = helper.make_graph(
        [node("Identity", ["x"], "y", "copy")],
        "g",
        [value("x", [4], TensorProto.STRING)],
        [value("y", [4], TensorProto.STRING)],
    )
    opsets = [helper.make_opsetid("", 17)]
    found = inspected(helper.make_model(made, opset_imports=opsets, ir_version=8), tmp_path)
    assert short(found) == {"copy": "not reached"}
    assert found.refusal in repr(found)
    assert "data type" in found.refusal


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("name", ["digits", "squeezenet"])
def test_all_nodes_of_a_zoo_model_are_supported(name):
    opened = trtlab.load(f"zoo:{name}")
    found = trtlab.inspect(opened, backend="tensorrt_rtx")
    nodes = onnx.load(opened.path).graph.node
    assert [(v.node, v.op) for v in found.verdicts] == [(n.name, n.op_type) for n in nodes]
    assert {v.verdict for v in found.verdicts} == {"supported"}
    assert f"{len(nodes)} supported" in repr(found)


def test_without_a_backend_there_are_no_verdicts():
    found = trtlab.inspect("zoo:digits")
    assert found.verdicts == ()
    assert found.backend is None
    assert "nodes for" not in repr(found)


def test_a_backend_that_cannot_tell_is_refused():
    with pytest.raises(UnsupportedError, match="onnxruntime does not say") as caught:
        trtlab.inspect("zoo:digits", backend="onnxruntime")
    assert "tensorrt_rtx" in caught.value.hint
    with pytest.raises(SpecError, match="nope"):
        trtlab.inspect("zoo:digits", backend="nope")


def test_a_backend_that_is_not_installed_is_named(monkeypatch, tmp_path):
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.11 is missing')")
    monkeypatch.syspath_prepend(tmp_path)  # a worker gets this path too
    with pytest.raises(BackendUnavailableError, match=r"libnvinfer\.so\.11"):
        trtlab.inspect("zoo:digits", backend="tensorrt")
