"""Layer names are taken apart as the field's files show, and nothing of a name is lost."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtlab.analysis.fusion.names import Part, parse, region_ends, tree
from trtlab.analysis.fusion.rebuilt import nodes_named
from trtlab.formats.engine_inspector import read_inspector

TRUTH = Path(__file__).parents[2] / "truth"
RECORDED = sorted(
    path.stem for path in TRUTH.glob("*.json") if not path.stem.startswith(("zoo_", "cookbook_"))
)


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        ("conv", ["conv"]),
        ("a + b + c", ["a", "b", "c"]),
        ("/cv2/Conv || /cv3/Conv", ["/cv2/Conv", "/cv3/Conv"]),
        ("a + b || c + d", ["a", "b", "c", "d"]),
        ("PWN(a)", ["a"]),
        ("w + Conv_1 + PWN(Clip_2)", ["w", "Conv_1", "Clip_2"]),
        ("PWN((Unnamed Layer* 1) [ElementWise], PWN(PWN(a + b, c), d))",
         ["(Unnamed Layer* 1) [ElementWise]", "a", "b", "c", "d"]),
        ("f(x + y) + b", ["f(x + y)", "b"]),
        ("a) + b", ["a)", "b"]),
        ("node_linear [profile 1]_myl11_2", ["node_linear"]),
        ("node_conv + node_relu [profile 1]", ["node_conv", "node_relu"]),
        ("c2_myl0_14", ["c2"]),
        ("fc.bias + (Unnamed Layer* 3) [Shuffle] + unsqueeze_node_after_fc.bias + "
         "(Unnamed Layer* 3) [Shuffle]_out",
         ["fc.bias", "(Unnamed Layer* 3) [Shuffle]",
          "unsqueeze_node_after_fc.bias + (Unnamed Layer* 3) [Shuffle]_out"]),
        ("__myl_CorrMulAddRelu_myl0_2", []),
        ("__mye3012_myl0_5", []),
        ("[trainStation1]", []),
        ("{ForeignNode[a...b]}", []),
        ("Reformatting CopyNode for Input Tensor 0 to a + b", []),
        ("", [""]),
    ],
)  # fmt: skip
def test_the_parts_of_a_name(name, leaves):
    assert list(parse(name).leaves) == leaves


@pytest.mark.parametrize(
    ("name", "role", "of"),
    [
        ("x copy", "copy", "x"),
        ("Reformatting CopyNode for Output Tensor 12 to a + b", "reformat", "a + b"),
        ("{ForeignNode[a...b]} [profile 2]", "region", "a...b"),
        ("__mye260_0_myl5_0", "generated", ""),
    ],
)
def test_what_a_layer_is_by_its_name(name, role, of):
    found = parse(name)
    assert (found.role, found.of, found.text) == (role, of, name)


def test_what_myelin_says_that_it_computes():
    assert parse("__myl_AddMaxrSubExp_myl0_18").operations == ("Add", "Maxr", "Sub", "Exp")


def test_the_optimization_profile_is_told_and_is_no_part():
    found = parse("node_linear_1_2 [profile 1]_myl11_3")
    assert (found.profile, found.leaves) == (1, ("node_linear_1_2",))
    assert parse("a [profile 1]", known={"a [profile 1]"}).leaves == ("a [profile 1]",)


@pytest.mark.parametrize("odd", ["a + b", "x || y", "PWN(z)", "q copy", "f(", "c_myl0_1", "a, b"])
def test_a_name_of_the_graph_is_never_taken_apart(odd):
    assert parse(odd, known={odd}).leaves == (odd,)
    assert parse(f"one + {odd} + two", known={odd}).leaves == ("one", odd, "two")


def test_a_region_is_split_where_its_end_points_are_known():
    assert region_ends("a...b...c", {"a...b", "c"}) == ("a...b", "c")
    assert region_ends("a...b...c", {"a", "b...c"}) == ("a", "b...c")
    assert region_ends("alone", set()) == ("alone", "")


@given(st.text(alphabet="ab()+|, []{}*.PWN_myl019\x1e\n", max_size=60))
def test_any_text_is_some_name_and_nothing_of_it_is_lost(text):
    assert str(tree(text)) == text
    assert parse(text).text == text


leaf = st.text(alphabet="abcXYZ012_/.:", min_size=1, max_size=8)
nested = st.recursive(
    leaf.map(lambda text: Part("leaf", text)),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda parts: Part("pointwise", parts=tuple(parts))
    ),
    max_leaves=6,
)


@given(st.lists(nested, min_size=2, max_size=4), st.sampled_from(["vertical", "horizontal"]))
def test_what_is_put_together_comes_apart_again(parts, joint):
    made = Part(joint, parts=tuple(parts))
    found = tree(str(made))
    assert found == made
    assert list(found.leaves()) == [text for part in parts for text in part.leaves()]


def test_a_name_nested_without_end_is_still_a_name():
    deep = "PWN(" * 5000 + "a" + ")" * 5000
    assert str(parse(deep).tree) == deep


@pytest.mark.parametrize("engine", RECORDED)
def test_names_of_recorded_engines(engine, shared_data):
    truth = json.loads((TRUTH / f"{engine}.json").read_text())
    file = shared_data / "engines" / truth["engine"] / truth["file"]
    layers = {layer.name: layer for layer in read_inspector(file.read_text()).layers}
    assert list(layers) == list(truth["layers"])
    for name, row in truth["layers"].items():
        if "copies" not in row:
            assert list(parse(name).leaves) == [part for part, _ in row["parts"]]
        expected = [part for part, kind in row["parts"] if kind == "node"]
        assert list(nodes_named(layers[name])) == expected


def test_the_table_covers_every_recorded_set():
    assert len(RECORDED) >= 6
