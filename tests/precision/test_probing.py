"""Probes: the other model's values in, its nodes' own errors and mixed networks out."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

from tests.model import nets
from trtlab.precision.graphs import inferred_types
from trtlab.precision.probing import add_probes, mark

pytestmark = pytest.mark.native

CUTS = ("a", "b", "y")


@pytest.fixture
def probed():
    """Run ``a = 2x, b = a + x, y = a * b`` with probes at all three."""
    node = helper.make_node
    model = nets.model(
        [
            node("Mul", ["x", "two"], ["a"], name="double"),
            node("Add", ["a", "x"], ["b"], name="add"),
            node("Mul", ["a", "b"], ["y"], name="square"),
        ],
        {"x": ["N", 2]},
        {"y": ["N", 2]},
        {"two": np.array(2, "f4")},
    )
    add_probes(model, inferred_types(model), CUTS, ["y"])
    session = ort.InferenceSession(model.SerializeToString())
    names = [o.name for o in session.get_outputs()]

    def run(given, switches):
        feeds = {"x": np.array([[1, 2], [3, 4]], "f4")}
        for name in CUTS:
            feeds[f"{name}/given"] = np.array(given[name], "f4")
            feeds[f"{name}/switch"] = np.array(switches[name]).reshape(-1, 1)
        return dict(zip(names, session.run(None, feeds), strict=True))

    return run


GIVEN = {"a": [[3, 4], [6, 8]], "b": [[4, 6], [9, 13]], "y": [[12, 24], [54, 104]]}
"""What another model computed: ``a`` is 1 too large once, ``b`` 1 too large once."""

NONE = {name: [False, False] for name in CUTS}


def test_the_reference_stays_what_it_is(probed):
    found = probed(GIVEN, NONE)
    assert found["a"].tolist() == [[2, 4], [6, 8]]
    assert found["y"].tolist() == [[6, 24], [54, 96]]


def test_local_values_follow_from_the_given_ones(probed):
    found = probed(GIVEN, NONE)
    assert found["a/local"].tolist() == [[2, 4], [6, 8]]
    assert found["b/local"].tolist() == [[4, 6], [9, 12]]
    assert found["y/local"].tolist() == [[12, 24], [54, 104]]


def test_mixed_is_the_reference_or_the_other_model(probed):
    assert probed(GIVEN, NONE)["y/mixed"].tolist() == [[6, 24], [54, 96]]
    every = {name: [True, True] for name in CUTS}
    assert probed(GIVEN, every)["y/mixed"].tolist() == GIVEN["y"]


def test_errors_are_let_in_by_node_and_sample(probed):
    found = probed(GIVEN, {**NONE, "a": [True, True]})
    assert found["y/mixed"].tolist() == [[12, 24], [54, 96]]
    found = probed(GIVEN, {**NONE, "a": [False, True], "b": [False, True]})
    assert found["y/mixed"].tolist() == [[6, 24], [54, 104]]


def test_errors_that_are_not_finite_are_left_out(probed):
    given = {**GIVEN, "a": [[np.inf, 4], [np.nan, 8]]}
    found = probed(given, {**NONE, "a": [True, True]})
    assert found["y/mixed"].tolist() == [[6, 24], [54, 96]]


def test_weights_are_not_copied(probed):
    model = nets.perceptron()
    before = [t.name for t in model.graph.initializer]
    add_probes(model, inferred_types(model), ["h", "r"], ["y"])
    added = model.graph.initializer[len(before) :]
    assert all(len(t.dims) == 0 for t in added)
    outputs = [v.name for v in model.graph.output]
    assert outputs == ["y", "h", "r", "h/local", "r/local", "y/mixed"]


def test_marking_twice_changes_nothing():
    model = nets.perceptron()
    mark(model, ["h", "y", "h"])
    mark(model, ["h"])
    assert [v.name for v in model.graph.output] == ["y", "h"]
