"""Live tensors: what is alive when, which sizes are known, and what is not guessed."""

from dataclasses import replace

from tests import fusing, making, running
from trtlab.analysis.fusion.fuse import fuse
from trtlab.analysis.live_tensors import Live, largest_batch, largest_sizes, live_tensors
from trtlab.model.types import Graph, Tensor
from trtlab.record import EngineLayer, Group, LayerTensor
from trtlab.spec.build import ShapeRange


def fusion(layers, *, tensors=(), families=None, **parts):
    """A fusion of layers given as name, read and written tensors with their shapes."""
    made = tuple(
        EngineLayer(name, "kernel", *(tuple(map(tensor, side)) for side in (reads, writes)))
        for name, reads, writes in layers
    )
    kinds = families or ["conv chain"] * len(made)
    return replace(
        fusing.fused(),
        layers=made,
        groups=tuple(Group(tag="", family=family) for family in kinds),
        graph=Graph("g", (), {t.name: t for t in tensors}, ("x",), ("y",)),
        **parts,
    )


def tensor(one):
    name, *shape = one
    return LayerTensor(name, "float32", tuple(shape))


def test_a_tensor_lives_from_its_writer_through_its_last_reader():
    chain = fusion(
        [
            ("a", [("x", 10)], [("p", 100)]),
            ("b", [("p", 100)], [("q", 1000)]),
            ("c", [("q", 1000)], [("r", 5)]),
            ("d", [("p", 100), ("r", 5)], [("y", 1)]),
        ]
    )
    live = live_tensors(chain)
    assert [one.inner for one in live.layers] == [400, 4400, 4420, 420]
    assert [one.io for one in live.layers] == [40, 0, 0, 4]
    assert (live.peak, live.where) == (4420, (2,))


def test_outputs_of_the_network_stay_to_the_end_and_inputs_are_there_from_the_start():
    early = fusion(
        [
            ("a", [("x", 10)], [("y", 3), ("p", 7)]),
            ("b", [("p", 7)], [("q", 2)]),
            ("c", [("q", 2), ("late", 50)], [("unread", 1)]),
        ]
    )
    live = live_tensors(early)
    assert [one.io for one in live.layers] == [4 * 63, 4 * 53, 4 * 54]
    assert [one.inner for one in live.layers] == [28, 36, 8]


def test_weights_and_layers_that_handle_no_data_are_left_out():
    weight = LayerTensor("w", "float32", (1000,), is_constant=True)
    layers = [("shape", [], []), ("a", [("x", 1)], [("p", 2)]), ("b", [("p", 2)], [("y", 1)])]
    made = fusion(layers, families=["sync, shape", "conv chain", "conv chain"])
    first = replace(made.layers[1], inputs=(*made.layers[1].inputs, weight), constants=(weight,))
    made = replace(made, layers=(made.layers[0], first, made.layers[2]))
    assert live_tensors(made).layers == (Live(1, 8, 4), Live(2, 8, 4))


def test_dynamic_dimensions_come_from_the_graph_or_are_the_batch_of_an_image():
    known = [Tensor("x", "float32", ("N", 3, 8, 8)), Tensor("t", "float32", ("N", 2, 6))]
    layers = [
        ("a", [("x", None, 3, 8, 8)], [("p", None, 4, 8, 8)]),  # padded: in no tensor of the graph
        ("b", [("p", None, 4, 8, 8)], [("q", None, 6)]),  # folded with the second dimension
        ("c", [("q", None, 6)], [("y", None, 3, 8, 8)]),
    ]
    live = live_tensors(fusion(layers, tensors=known, sizes={"N": 5}))
    p, q = 4 * 5 * 4 * 64, 4 * (5 * 2) * 6
    assert [one.inner for one in live.layers] == [p, p + q, q]
    assert live.layers[0].io == 4 * 5 * 3 * 64


def test_a_size_that_may_be_folded_or_has_two_answers_is_not_known():
    known = [
        Tensor("x", "float32", ("N", 3, 8, 8)),
        Tensor("s", "float32", ("N", 2, 6)),
        Tensor("t", "float32", ("N", 6)),
    ]
    layers = [
        ("a", [("x", None, 3, 8, 8)], [("p", None, 6)]),
        ("b", [("p", None, 6)], [("q", None, 7)]),
        ("c", [("q", None, 7)], [("r", 2)]),
        ("d", [("r", 2)], [("y", 1)]),
    ]
    live = live_tensors(fusion(layers, tensors=known, sizes={"N": 5}))
    assert [one.inner for one in live.layers] == [None, None, None, 8]
    assert (live.peak, live.where, live.is_known) == (None, (), False)


def test_a_peak_is_told_where_nearly_all_layers_are_known():
    chain = [(f"l{n}", [(f"t{n}", 10)], [(f"t{n + 1}", 10)]) for n in range(20)]
    chain.append(("odd", [("t20", 10)], [("z", None, 7)]))
    live = live_tensors(fusion(chain))
    assert (len(live.known), live.is_known, live.peak) == (21, True, 80)
    lost = [(name, reads, [*writes, (f"o{name}", None, 7)]) for name, reads, writes in chain[:3]]
    lost.append(("reader", [(f"ol{n}", None, 7) for n in range(3)], [("y", 1)]))
    assert live_tensors(fusion(lost)).peak is None


def test_the_largest_that_any_layer_declares_of_a_tensor_counts():
    slices = [
        ("a", [("x", 1)], [("whole", 10)]),
        ("b", [("x", 1)], [("whole", 20)]),
        ("c", [("whole", 30)], [("y", 1)]),
    ]
    assert [one.inner for one in live_tensors(fusion(slices)).layers] == [120, 120, 120]


def test_onnx_runtimes_tensors_have_the_graphs_shapes_and_tensorrts_do_not():
    nameless = [
        EngineLayer("a", "Conv", (tensor(("x", 1)),), (LayerTensor("p", "float32", None),)),
        EngineLayer("b", "Conv", (LayerTensor("p", "float32", None),), (tensor(("y", 1)),)),
    ]
    tensors = [Tensor("p", "float32", ("N", 9))]
    made = replace(fusion([("a", [], []), ("b", [], [])], tensors=tensors, sizes={"N": 2}),
                   layers=tuple(nameless))  # fmt: skip
    assert live_tensors(made).peak is None
    assert live_tensors(replace(made, backend="ONNX Runtime")).peak == 72


def test_a_real_map_is_worked_out_at_the_sizes_asked_for():
    made = fuse(running.rtx_plan(), running.graph(), sizes={"N": 8})
    assert live_tensors(made).peak == 4 * 8 * 4 * 64
    assert live_tensors(replace(made, sizes={"N": 16})).peak == 4 * 16 * 4 * 64


def test_a_plan_without_layers_has_no_peak():
    empty = live_tensors(fusing.fused())
    assert (empty.layers, empty.peak, empty.where) == ((), None, ())


def test_the_largest_sizes_come_from_all_profiles():
    plan = running.rtx_plan()
    assert (largest_batch(plan), largest_sizes(plan)) == (16, {"N": 16})
    second = {"x": ShapeRange((1, 1, 8, 8), (20, 1, 8, 8), (32, 1, 8, 8))}
    config = replace(plan.config, profiles=(second, *plan.config.profiles))
    assert largest_batch(replace(plan, config=config)) == 32
    assert largest_batch(making.plan()) is None
    fixed = replace(plan, inputs=(Tensor("x", "float32", (1, 1, 8, 8)),))
    assert largest_batch(fixed) is None
