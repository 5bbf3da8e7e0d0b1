"""Who is blamed: effects from mixed runs of networks whose errors are known."""

import numpy as np
import pytest

from trtlab.analysis.node_errors import (
    Effects,
    Segment,
    TensorErrors,
    node_errors,
    output_error,
    segments,
    student_t,
    suggested,
)
from trtlab.model.types import Graph, Node, Tensor


def graph(*nodes, weights=(), shapes=None):
    """Nodes as ``(name, op, inputs, output)``, from input ``x`` on."""
    made = tuple(Node(name, op, tuple(inputs), (out,)) for name, op, inputs, out in nodes)
    tensors = {n.outputs[0]: Tensor(n.outputs[0], "float32", None) for n in made}
    tensors["x"] = Tensor("x", "float32", None)
    tensors |= {w: Tensor(w, "float32", (4, 4), is_constant=True) for w in weights}
    for name, shape in (shapes or {}).items():
        tensors[name] = Tensor(name, "float32", shape, is_constant=name in weights)
    return Graph("g", made, tensors, ("x",), (made[-1].outputs[0],))


REFERENCE = graph(
    ("conv", "Conv", ["x", "w"], "c"),
    ("norm", "BatchNormalization", ["c", "s"], "n"),
    ("scale", "Mul", ["s", "s"], "s2"),
    ("relu", "Relu", ["n"], "r"),
    ("add", "Add", ["r", "x"], "y"),
    weights=("w", "s"),
    shapes={"s": (4,)},
)


def test_folded_nodes_are_one_segment():
    other = graph(
        ("conv", "Conv", ["x", "w"], "n"),
        ("scale", "Mul", ["w", "w"], "s2"),
        ("q", "QuantizeLinear", ["n"], "nq"),
        ("relu", "Relu", ["nq"], "r"),
        ("add", "Add", ["r", "x"], "y"),
    )
    found = segments(REFERENCE, other)
    assert [(s.tensor, [n.name for n in s.nodes], s.keep) for s in found] == [
        ("n", ["conv", "norm"], ("conv",)),
        ("r", ["relu"], ("relu",)),
        ("y", ["add"], ("add",)),
    ]


def test_tensors_of_other_shapes_are_not_the_same():
    a = graph(("f", "Relu", ["x"], "y"), shapes={"y": ("N", 4)})
    assert segments(a, graph(("f", "Relu", ["x"], "y"), shapes={"y": ("M", 4)}))
    assert not segments(a, graph(("f", "Relu", ["x"], "y"), shapes={"y": ("N", 5)}))
    assert not segments(a, graph(("f", "Relu", ["x"], "y"), shapes={"y": ("N", 4, 1)}))


def test_sums_tell_what_a_node_adds_apart_from_what_reached_it():
    errors = TensorErrors()
    errors.add(np.array([[3.0, 4]]), np.array([[4.0, 4]]), np.array([[4.0, 6]]))
    errors.add(np.array([[0.0, 0]]), np.array([[0.0, 0]]), np.array([[0.0, 1]]))
    assert (errors.elements, errors.signal, errors.noise, errors.added) == (4, 25, 6, 5)
    assert errors.lost == 0


def test_overflow_is_the_fault_of_the_node_that_made_it():
    first, second = TensorErrors(), TensorErrors()
    first.add(np.array([1.0, 7e4]), np.array([1.0, 7e4]), np.array([1.0, np.inf]))
    second.add(np.array([1.0, 7e4]), np.array([1.0, np.inf]), np.array([1.0, np.inf]))
    assert (first.lost, second.lost) == (1, 0)
    assert (first.elements, first.signal, first.noise) == (1, 1, 0)


def test_output_error_is_by_sample_and_in_relation():
    reference = np.array([[3.0, 4], [1, 0], [0, 0]])
    found = np.array([[3.0, 5], [np.nan, 1], [1, 1]])
    assert output_error(reference, found, 3).tolist() == [1 / 25, 0, 0]
    assert output_error(reference, reference + 1, 5) == pytest.approx(np.full(5, 6 / 26))


def simulated(sizes, samples, batch=16):
    """Nodes that each add an independent error of this power to the one output."""
    effects = Effects(len(sizes))
    generator = np.random.default_rng(1)
    for _ in range(samples // batch):
        switches = effects.switches(batch)
        own = generator.standard_normal((batch, len(sizes), 50)) * np.sqrt(sizes)[:, None] / 7
        mixed = ((own * switches[:, :, None]).sum(1) ** 2).sum(1)
        effects.add(switches, mixed, (own.sum(1) ** 2).sum(1))
    return effects


def test_effects_are_the_parts_of_independent_errors():
    sizes = np.array([4.0, 0.0, 3.0, 2.0, 1.0])
    found = simulated(sizes, 1600).finished([True] * 5)
    for effect, part in zip(found, sizes / sizes.sum(), strict=True):
        assert effect.interval.low <= part <= effect.interval.high
        assert effect.interval.high - effect.interval.low < 0.2
    assert [e.certain for e in found] == [True, False, True, True, True]


def test_intervals_cover_nothing_95_times_of_100():
    sizes = np.array([1.0] * 5 + [0.0] * 75)
    found = simulated(sizes, 480).finished([True] * 80)[5:]
    outside = sum(not e.interval.low <= 0 <= e.interval.high for e in found)
    assert outside <= 9
    assert not any(e.certain for e in found)


def test_one_culprit_is_found_with_fewer_samples_than_nodes():
    sizes = np.full(100, 0.002)
    sizes[37] = 1.0
    found = simulated(sizes, 48).finished([True] * 100)
    assert [i for i, e in enumerate(found) if e.certain] == [37]


def test_nodes_that_add_nothing_have_no_effect():
    found = simulated(np.array([1.0, 0.0]), 64).finished([True, False])
    assert (found[1].size, found[1].interval) == (0, (0, 0))
    assert found[0].size == pytest.approx(1, abs=0.3)


def test_without_error_there_is_no_effect():
    effects = Effects(2)
    effects.add(effects.switches(4), np.zeros(4), np.zeros(4))
    assert [e.size for e in effects.finished([True, True])] == [0, 0]


@pytest.mark.parametrize(("freedom", "quantile"), [(4, 2.776), (10, 2.228), (1000, 1.962)])
def test_student_t(freedom, quantile):
    assert student_t(0.975, freedom) == pytest.approx(quantile, rel=0.02)


def test_suggested_are_overflows_first_then_the_fewest_that_make_most():
    parts = tuple(Segment(n.outputs[0], (n,), (n.name,)) for n in REFERENCE.nodes)
    sizes = {"c": 0.3, "n": 0.0, "s2": 0.05, "r": 0.0, "y": 0.9}
    effects = simulated(np.array([sizes[p.tensor] for p in parts]), 6400)
    errors = {p.tensor: TensorErrors(1, 1.0, 0.1, 0.1) for p in parts}
    errors["r"].lost = 1
    found = node_errors(parts, errors, effects)
    assert [e.node for e in found] == ["conv", "norm", "scale", "relu", "add"]
    assert found[0].sqnr_db == pytest.approx(10)
    assert found[2].certain
    assert suggested(found) == ("relu", "add", "conv")


def test_folded_nodes_go_by_the_name_of_the_one_with_weights():
    part = Segment("n", REFERENCE.nodes[:2], ("conv",))
    errors = {"n": TensorErrors(1, 1.0, 0.1, 0.1)}
    found = node_errors((part,), errors, simulated(np.array([1.0]), 160))
    assert (found[0].node, found[0].op) == ("conv", "Conv+BatchNormalization")
    assert suggested(found) == ("conv",)
