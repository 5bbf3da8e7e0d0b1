"""Defects that a hostile reader found, each as small as it was."""

from dataclasses import replace

import pytest

from tests.analysis.fusion.making import fate, fused, graph, group, layer, node, tensor
from tests.making import layer as timing
from tests.making import layer_profile, plan
from trtlab.analysis.fusion.boundary import borders
from trtlab.analysis.fusion.fuse import fuse
from trtlab.errors import SpecError
from trtlab.model.types import Graph, Node, Tensor
from trtlab.record import EngineLayer
from trtlab.spec import BuildConfig

SIZE = 1 * 8 * 4 * 4 * 4


def ort(made, *layers):
    return fused(made, *layers, backend="onnxruntime")


def test_a_number_that_trtlab_gave_is_no_name():
    # Unnamed nodes are numbered by their place in each file: Relu_1 is not the same in both.
    made = graph(
        replace(node("Relu_0", "Relu", "x", "a"), file_name=""),
        replace(node("Relu_1", "Relu", "a", "b"), file_name=""),
        replace(node("Relu_2", "Relu", "b", "y"), file_name=""),
    )
    found = ort(
        made, layer("Relu_0", "x", "a", type="Relu"), layer("Relu_2", "a", "b", type="Relu"),
        layer("Relu_1", "b", "y", type="Relu"),
    )  # fmt: skip
    assert [fate(found, f"Relu_{i}").layers for i in range(3)] == [(0,), (1,), (2,)]


def test_a_branch_computed_once_is_not_in_its_reader():
    made = graph(
        node("a", "Conv", "x w", "p"), node("b", "Conv", "x w", "q"), node("s", "Add", "p q", "y"),
        constants="w",
    )  # fmt: skip
    found = ort(made, layer("a", "x", "p", type="Conv"), layer("s", "p", "y", type="Add"))
    assert found.groups[1].nodes == ("s",)
    assert (fate(found, "b").state, fate(found, "b").rule) == ("removed", "same as another")
    assert "what a does" in found.explain("b")


def test_constants_of_unknown_values_are_not_the_same():
    made = graph(
        node("k", "ConstantOfShape", "d", "p"), node("l", "ConstantOfShape", "d", "q"),
        node("s", "Add", "p q", "y"), inputs="d",
    )  # fmt: skip
    assert fate(fused(made, layer("s", "p", "y")), "l").rule != "same as another"


def test_what_metadata_names_and_constants_alone_make_is_folded():
    made = graph(node("t", "Transpose", "w", "v"), node("m", "MatMul", "x v", "y"), constants="w")
    found = fused(made, layer("k", "x", "y", nodes="t m", constants=(tensor("w"),)))
    assert (fate(found, "t").state, fate(found, "t").layers) == ("folded", (0,))
    assert (found.groups[0].nodes, found.groups[0].unwritten) == (("m",), ())


def test_what_moves_nothing_saves_nothing():
    made = graph(
        node("c", "Conv", "x w", "a"), node("i", "Identity", "a", "b"),
        node("d", "Dropout", "b", "e"), node("r", "Relu", "e", "y"), constants="w",
    )  # fmt: skip
    found = group(fused(made, layer("k", "x", "y", nodes="c i d r")), "k")
    assert found.unwritten == ("a",)
    assert found.saved_bytes == 2 * SIZE
    assert "up to 1 kernel launch is saved" in found.text


def test_a_dropout_that_onnx_runtime_dropped_is_no_fusion():
    made = graph(node("d", "Dropout", "x", "a"), node("r", "Relu", "a", "y"))
    found = ort(made, layer("r", "x", "y", type="Relu"))
    assert (fate(found, "d").state, found.groups[0].patterns) == ("removed", ())


def test_a_folded_dynamic_dimension_is_not_taken_for_the_batch():
    tensors = {
        "x": Tensor("x", "float32", ("N", 16, 32)), "y": Tensor("y", "float32", ("N", 16, 32)),
        "w": Tensor("w", "float32", (32, 32), is_constant=True),
    }  # fmt: skip
    made = Graph("net", (node("m", "MatMul", "x w", "y"),), tensors, ("x",), ("y",))
    shapes = {"x": (None, 32), "y": (None, 32)}
    found = fused(made, layer("k", "x", "y", nodes="m", shapes=shapes))
    assert found.groups[0].bytes == 2 * 16 * 32 * 4


def test_a_reader_in_the_writers_own_layer_keeps_nobody_apart():
    made = graph(
        node("a", "Relu", "x", "p"), node("b", "Exp", "p", "q"), node("c", "Sin", "p", "r"),
        outputs="q r",
    )  # fmt: skip
    found = fused(made, layer("k0", "x", "p q", nodes="a b"), layer("k1", "p", "r", nodes="c"))
    assert [s.barrier for s in found.seams] == ["not known"]


def test_nodes_that_cannot_be_told_apart_are_said_to_share_a_name():
    made = graph(*(
        replace(node(f"r_{i}", "Relu", f"t{i}", f"t{i + 1}"), file_name="r") for i in range(3)
    ), inputs="t0", outputs="t3")  # fmt: skip
    found = fused(made, *(layer(f"k{i}", nodes="r") for i in range(3)))
    assert [c.kind for c in found.caveats] == ["shared-names"]
    assert "Several nodes are called r" in found.explain("r_1")


def test_a_concat_of_a_concat_is_written_in_place_as_one():
    made = graph(
        node("a", "Relu", "x", "p"), node("b", "Exp", "x", "q"), node("c", "Sin", "x", "r"),
        node("in", "Concat", "p q", "s", axis=1), node("out", "Concat", "s r", "t", axis=1),
        node("m", "MaxPool", "t", "y"),
        shapes={"s": (1, 16, 4, 4), "t": (1, 24, 4, 4)},
    )  # fmt: skip
    whole = EngineLayer("m", "pool", (tensor("T", (1, 24, 4, 4)),), (tensor("y"),))
    found = fused(made, *(layer(n, "x", "T") for n in "abc"), whole)
    assert [fate(found, n).rule for n in ("in", "out")] == ["written in place"] * 2
    assert [fate(found, n).layers for n in ("in", "out")] == [(0, 1), (0, 1, 2)]


def test_an_identity_that_gives_an_output_its_name_is_in_the_layer_that_writes_it():
    made = graph(
        node("r", "Relu", "x", "a"), node("i", "Identity", "a", "y"), node("m", "Exp", "a", "z"),
        outputs="y z",
    )  # fmt: skip
    found = fused(made, layer("r", "x", "y t"), layer("m", "t", "z"))
    assert fate(found, "i").layers == (0,)


def test_a_node_inside_a_loop_stands_for_the_loop():
    inner = Graph("body", (node("mm", "MatMul", "a b", "c"),), {}, ("a",), ("c",))
    loop = Node("loop", "Loop", ("x",), ("y",), subgraphs={"body": inner})
    found = fused(graph(loop), layer("k", "x", "y", nodes="mm"))
    assert fate(found, "loop").layers == (0,)
    assert not found.caveats
    branch = Node("if", "If", ("x",), ("y",), subgraphs={"then_branch": inner})
    said = EngineLayer("k", "kgen", (), (), nodes=("mm | th (then_branch) | if (If)",))
    assert fate(fused(graph(branch), said), "if").layers == (0,)


def test_layers_of_another_optimization_profile_are_left_out_and_said_to_be():
    made = graph(node("c", "Conv", "x w", "a"), node("r", "Relu", "a", "y"), constants="w")
    found = fused(made, layer("c + r", "x", "y"), layer("c + r [profile 1]", "x", "y"))
    assert [y.name for y in found.layers] == ["c + r"]
    assert found.one_owner_share == 1
    assert [c.kind for c in found.caveats] == ["first-profile"]


def test_a_part_of_a_node_is_called_a_part():
    made = graph(node("g", "MatMul", "x w", "a"), node("s", "Softmax", "a", "y"), constants="w")
    found = fused(
        made, layer("g_myl0_0", "x", "t", nodes="g"),
        layer("__myl_AddMaxrSubExpSumDiv_myl0_1", "t", "y", nodes="g s"),
    )  # fmt: skip
    assert "A part of g (MatMul) runs here" in found.groups[0].text
    assert "Of g (MatMul) only a part runs here" in found.groups[1].text
    assert [g.family for g in found.groups] == ["matrix product", "pointwise chain"]
    assert found.groups[1].patterns == ("reduction fusion",)


def test_merged_siblings_read_once():
    made = graph(
        node("q", "MatMul", "x w", "a"), node("k", "MatMul", "x w", "b"),
        outputs="a b", constants="w",
    )  # fmt: skip
    found = group(fused(made, layer("m", "x", "a b", nodes="q k")), "m")
    assert found.saved_bytes == SIZE
    assert "What they share is read once" in found.text


def test_a_copy_into_a_joined_tensor_says_so():
    made = graph(node("r", "Relu", "x", "a"), node("cat", "Concat", "a x", "y"))
    found = fused(made, layer("r", "x", "a"), layer("a copy", "a", "y", type="Reformat"))
    assert "copies a into its place" in found.groups[1].text
    assert found.groups[1].family == "data movement"


def test_a_name_that_ends_like_a_copy_or_looks_like_a_region():
    made = graph(node("foo copy", "Relu", "x", "y"))
    assert fate(fused(made, layer("b + foo copy", "x", "y")), "foo copy").layers == (0,)
    odd = graph(node("{ForeignNode[a...b]}", "Relu", "x", "y"))
    found = fused(odd, layer("{ForeignNode[a...b]}", "x", "y"))
    assert (found.fates[0].state, found.groups[0].family) == ("in layer", "kept 1:1")


def test_names_without_metadata_that_the_graph_lacks_are_told():
    found = fused(graph(node("r", "Relu", "x", "y")), layer("conv1 + relu1", "x", "t"))
    assert "nodes-not-in-model" in [c.kind for c in found.caveats]


def test_two_slices_of_one_tensor_are_two_inputs():
    made = graph(
        node("s", "Mul", "p q", "y"), inputs="p q", shapes={"p": (4, 3), "q": (4, 5), "y": (4, 5)}
    )
    reads = (tensor("t", (4, 3)), tensor("t", (4, 5)))
    found = fused(made, EngineLayer("s", "kgen", reads, (tensor("y", (4, 5)),)))
    assert borders(found)[0].fits


def chain(op, count):
    nodes = [node(f"n{i}", op, f"t{i}", f"t{i + 1}") for i in range(count)]
    return graph(node("r", "Relu", "x", "t0"), *nodes, outputs=f"t{count}")


def test_a_long_chain_of_nodes_that_move_nothing():
    found = fused(chain("Identity", 3000), layer("r", "x", "q"))
    assert all(border.fits for border in borders(found))


def test_a_cycle_ends():
    made = graph(
        node("a", "Identity", "p", "q"), node("b", "Identity", "q", "p"),
        node("r", "Relu", "q", "y"),
    )  # fmt: skip
    found = fused(made, layer("r", "x", "y"))
    assert len(borders(found)) == 1


@pytest.mark.parametrize("outputs", ["", "t"])
def test_a_concat_without_outputs(outputs):
    made = graph(node("c", "Concat", "x x", "y"))
    assert ort(made, layer("", "x x", outputs, type="Concat")).fates


def test_one_tensor_with_thousands_of_readers_and_one_layer_with_thousands_of_products():
    wide = graph(*(node(f"m{i}", "MatMul", "x w", f"y{i}") for i in range(3000)),
                 outputs=" ".join(f"y{i}" for i in range(3000)), constants="w")  # fmt: skip
    together = fused(wide, layer("k", "x", "", nodes=" ".join(n.name for n in wide.nodes)))
    assert together.groups[0].patterns == ("horizontal merge",)
    readers = graph(
        node("r", "Relu", "x", "a"),
        *(node(f"m{i}", "Exp", "a", f"y{i}") for i in range(3000)),
        outputs=" ".join(f"y{i}" for i in range(3000)),
    )
    apart = fused(readers, layer("r", "x", "a"),
                  *(layer(f"m{i}", "a", f"y{i}") for i in range(3000)))  # fmt: skip
    assert {s.barrier for s in apart.seams} == {"several readers"}


def test_of_several_optimization_profiles_the_one_that_was_timed_is_shown():
    made = graph(node("c", "Conv", "x w", "a"), node("r", "Relu", "a", "y"), constants="w")
    layers = (layer("c", "x", "t_myl3"), layer("__myl_Relu_myl3_1", "t_myl3", "y"),
              layer("c [profile 1]", "x [profile 1]", "t_myl7"),
              layer("r [profile 1]_myl7_0", "t_myl7", "u_myl7"),
              layer("__myl_Relu_myl7_1", "u_myl7", "y [profile 1]"))  # fmt: skip
    found = fused(made, *layers)
    assert [y.name for y in found.layers] == ["c", "__myl_Relu_myl3_1"]
    timed = layer_profile(plan=None, layers=(timing("c [profile 1]"),))
    whole = replace(plan(), config=BuildConfig(backend="tensorrt"), layers=layers)
    found = fuse(whole, made, profile=timed)
    assert found.layers[0].name == "c [profile 1]"
    assert len(found.layers) == 3
    assert {"first-profile", "layers-without-time"} <= {c.kind for c in found.caveats}
    assert "profile 1" in next(c.message for c in found.caveats if c.kind == "first-profile")


def test_times_from_elsewhere_are_recorded_also_of_a_plan_made_here():
    made = graph(node("c", "Relu", "x", "y"))
    times = layer_profile(plan=None, layers=(timing("c"),), source="recorded")
    whole = replace(plan(), config=BuildConfig(backend="tensorrt"), layers=(layer("c", "x", "y"),))
    found = fuse(whole, made, profile=times)
    assert (found.source, found.time_source) == ("here", "recorded")
    assert "measured elsewhere: recorded" in repr(found)


def test_a_node_that_is_nearly_right_is_suggested():
    found = fused(graph(node("conv_1", "Relu", "x", "y")), layer("k", "x", "y", nodes="conv_1"))
    with pytest.raises(SpecError) as caught:
        found.explain("conv_l")
    assert "Did you mean 'conv_1'?" in caught.value.hint
