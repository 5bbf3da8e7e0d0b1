"""``compare``: measurements, plans or fusions; what cannot be compared is refused."""

import pytest

import trtlab
from benchmarks import comparing
from tests import making
from trtlab.errors import MismatchError, SpecError
from trtlab.formats.engine_inspector import read_inspector
from trtlab.model.types import Graph, Node
from trtlab.record import (
    Comparison,
    EngineComparison,
    EngineLayer,
    LayerTensor,
    ModelRef,
)
from trtlab.spec import BuildConfig
from trtlab.store import Store
from trtlab.verbs.compare import compare


def tensors(name):
    return (LayerTensor(name, "float32", (1, 8, 4, 4)),)


def engine(*layers, **parts):
    """A TensorRT-RTX plan whose layers say which nodes they hold."""
    made = []
    for number, nodes in enumerate(layers):
        held = tuple(nodes.split())
        name = "_".join(held) or f"copy{number}"
        end = f"{held[-1]}:0" if held else f"copy{number}:0"
        start = f"{chr(ord(held[0]) - 1)}:0" if held else "x"
        made.append(EngineLayer(name, "kernel", tensors(start), tensors(end), nodes=held))
    parts = {"caveats": (), "model_path": None} | parts
    return making.plan(layers=tuple(made), config=BuildConfig(backend="tensorrt_rtx"), **parts)


@pytest.fixture
def store():
    """A store that knows the graph of the plans: a chain of five nodes."""
    kept = Store()
    nodes = tuple(
        Node(name, op, (f"{chr(ord(name) - 1)}:0",), (f"{name}:0",))
        for name, op in zip("bcdef", ("Conv", "Relu", "Conv", "Add", "Relu"), strict=True)
    )
    tensors = {
        name: making.Tensor(name, "float32", (1, 8, 4, 4))
        for name in ("a:0", *(node.outputs[0] for node in nodes))
    }
    kept.put_graph(making.model(), Graph("chain", nodes, tensors, ("a:0",), ("f:0",)))
    return kept


def test_it_is_the_public_name():
    assert trtlab.compare is compare


def test_two_plans_are_aligned_by_the_nodes_of_their_graph(store):
    a, b = engine("b c", "d e f"), engine("b", "c", "d e f", plan_bytes=6000)
    comparison = compare(a, b, store=store)
    assert isinstance(comparison, EngineComparison)
    assert comparison.aligned == "by ONNX node"
    assert [m.kind for m in comparison.matches] == ["together in A, apart in B", "same"]
    assert comparison.matches[0].nodes == ("b", "c")
    assert (comparison.nodes_a, comparison.common_nodes) == (5, 5)
    figures = {d.quantity: (d.a, d.b) for d in comparison.differences}
    assert figures["plan_bytes"] == (5000, 6000)
    assert figures["layers"] == (2, 3)
    assert comparison.caveats == ()


def test_layer_times_of_both_attribute_the_difference(store):
    a, b = engine("b c", "d e f"), engine("b", "c", "d e f", hash="c3" * 32)
    runs = making.Int64Array([10**7] * 8)

    def profile(plan, **times):
        layers = tuple(
            making.layer(name, samples_ns=making.Int64Array([round(ms * 1e6)] * 8))
            for name, ms in times.items()
        )
        return making.layer_profile(layers=layers, runs_ns=runs, plan=plan.hash, time_kind="gpu")

    profiles = profile(a, b_c=1.0, d_e_f=2.0), profile(b, b=1.0, c=1.0, d_e_f=2.0)
    comparison = compare(a, b, profiles=profiles, store=store)
    first, second = comparison.matches
    assert (first.time.difference_ms, first.time.verdict) == (1.0, "worse")
    assert second.time.verdict == "not distinguishable"
    assert comparison.total.difference_ms == 1.0
    with pytest.raises(MismatchError):
        compare(a, b, profiles=profiles[::-1], store=store)


def test_fusions_can_be_given_in_place_of_plans(store):
    a = engine("b c", "d e f")
    fused = trtlab.fusion(a, store=store)
    assert compare(fused, a, store=store).matches == compare(a, a, store=store).matches
    assert compare(fused, fused).differences == ()


def test_settings_that_differ_are_in_the_titles(store):
    a = engine("b c d e f")
    basic = making.plan(config=BuildConfig(optimization_level="basic"))
    every = making.plan(config=BuildConfig(optimization_level="all"))
    comparison = compare(basic, every, store=store)
    assert comparison.a.endswith(", level basic")
    assert comparison.b.endswith(", level all")
    assert "level" not in compare(a, a, store=store).a


def test_two_measurements_are_compared_as_before():
    assert isinstance(compare(making.measurement(), making.measurement()), Comparison)


def test_plans_without_layers_are_compared_in_figures():
    blind = making.plan(layers=None, plan_bytes=10_000)
    comparison = compare(making.plan(), blind)
    assert comparison.aligned == "not aligned"
    size = comparison.differences[0]
    assert (size.quantity, size.ratio, size.verdict) == ("plan_bytes", 2.0, "exact")


def test_records_of_different_kinds_are_refused():
    kinds = [making.plan(), making.measurement(), making.layer_profile()]
    for a in kinds:
        for b in kinds:
            if a is b and a.kind != "layer-profile":
                continue
            with pytest.raises(MismatchError, match=a.kind) as caught:
                compare(a, b)
            assert caught.value.hint


def test_what_is_no_profile_is_refused():
    for records in ((making.measurement(),) * 2, (making.plan(),) * 2):
        with pytest.raises(SpecError) as caught:
            compare(*records, profiles=(making.layer_profile(), making.plan()))
        assert caught.value.hint
    with pytest.raises(SpecError, match="not to measurements"):
        compare(making.measurement(), making.measurement(), profiles=(making.layer_profile(),) * 2)


def test_the_benchmark_compares_what_it_says(monkeypatch):
    for name, value in (("LAYERS", 20), ("NODES", 60), ("ROUNDS", 1)):
        monkeypatch.setattr(comparing, name, value)
    assert [f.limit for f in comparing.figures()] == [1.0] * 4
    model = making.model()
    whole = [comparing.plan(model, side) for side in (0, 1)]
    assert compare(*whole).summary["sets"] == {"cut differently": 10}
    for words, alike in (("blocks repeat", 18), ("all alike", 18), ("none alike", 0)):
        engines = [comparing.nameless(model, side, comparing.DIMS[words]) for side in (0, 1)]
        assert compare(*engines).summary["sets"].get("alike", 0) == alike


# Real engines


def recorded(shared_data, name):
    (file,) = (shared_data / "engines" / name).glob("*.engine.graph.json")
    layers = read_inspector(file.read_text()).layers
    return making.plan(
        layers=layers, model=ModelRef(name, None, "fp32"), config=BuildConfig(backend="tensorrt"),
        inputs=(), outputs=(), caveats=(), model_path=None, source="recorded",
    )  # fmt: skip


def test_recorded_engines_of_one_export_are_aligned_by_name(shared_data):
    a, b = (recorded(shared_data, f"pytorch_resnet_A100_{p}") for p in ("fp32", "fp16"))
    comparison = compare(a, b)
    assert comparison.aligned == "by ONNX node"
    kinds = comparison.summary["sets"]
    assert kinds["same"] == 23
    assert comparison.summary["precision"] == {"float32 → float16": 23}
    assert {m.family for m in comparison.matches if m.kind == "no node"} == {"data movement"}
    assert [c.kind for c in comparison.caveats].count("nodes-from-names") == 2


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        ("pytorch_resnet_A100_fp16", "pytorch_resnet_A100_qat", 23),
        ("pytorch_resnet_A100_fp32", "tensorflow_resnet_RTX-3090_fp32", 15),
    ],
)
def test_recorded_engines_without_common_names_are_aligned_in_order(shared_data, a, b, alike):
    comparison = compare(recorded(shared_data, a), recorded(shared_data, b))
    assert comparison.aligned == "without a graph"
    assert "aligned-without-a-graph" in [c.kind for c in comparison.caveats]
    assert comparison.summary["sets"]["alike"] >= alike
    first = next(m for m in comparison.matches if m.kind == "alike")
    assert comparison.layers_a[first.layers_a[0]] == "Conv_0 + Relu_1"
    for m in comparison.matches:
        if m.kind == "alike" and "MaxPool" in comparison.layers_a[m.layers_a[0]]:
            assert "pool" in comparison.layers_b[m.layers_b[0]].lower()


@pytest.mark.native
def test_two_targets_of_one_model_are_the_same_engine_node_by_node(rtx):
    a, b = (trtlab.build("zoo:digits", backend=rtx, target=t) for t in ("sm89", "sm120"))
    comparison = compare(a, b)
    assert comparison.aligned == "by ONNX node"
    assert comparison.common_nodes == comparison.nodes_a
    assert not comparison.changed
    assert comparison.caveats == ()
