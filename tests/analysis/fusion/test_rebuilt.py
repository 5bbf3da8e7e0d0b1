"""Without the ONNX file the left side is rebuilt from the layers' names, and says so."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.analysis.fusion.making import fused, layer
from tests.making import plan
from trtlab.analysis.fusion.fuse import fuse
from trtlab.analysis.fusion.wiring import Wiring
from trtlab.formats.engine_inspector import read_inspector
from trtlab.spec import BuildConfig

TRUTH = Path(__file__).parents[2] / "truth"
SETS = sorted(p.stem for p in TRUTH.glob("*.json") if not p.stem.startswith(("zoo_", "cookbook_")))


def test_parts_of_names_become_nodes_with_the_tensors_of_the_layers_between():
    found = fused(
        None, layer("fc.weight + QuantizeLinear_1 + Conv_2 + Relu_3", "x", "t"),
        layer("Reformatting CopyNode for Input Tensor 0 to Pool_4", "t", "u", type="Reformat"),
        layer("Pool_4", "u", "y", type="CaskPooling"),
    )  # fmt: skip
    assert found.graph_source == "names"
    assert [c.kind for c in found.caveats] == ["nodes-from-names"]
    nodes = {n.name: n for n in found.graph.nodes}
    assert [n.op for n in nodes.values()] == ["QuantizeLinear", "Conv", "Relu", "Pool"]
    assert nodes["Pool_4"].inputs == nodes["Relu_3"].outputs == ("t",)
    assert nodes["QuantizeLinear_1"].inputs == ("fc.weight",)
    assert nodes["Conv_2"].inputs == ("x", *nodes["QuantizeLinear_1"].outputs)
    assert [f.state for f in found.fates] == ["folded", "in layer", "in layer", "in layer"]
    assert (found.graph.inputs, found.graph.outputs) == (("x",), ("y",))
    assert [g.tag for g in found.groups] == ["G1", "", "G2"]
    assert "rebuilt from the layers' names" in repr(found)


def test_a_second_input_goes_to_the_add():
    found = fused(None, layer("Conv_1 + Add_2 + Relu_3", "x skip", "y"))
    nodes = {n.name: n for n in found.graph.nodes}
    assert nodes["Conv_1"].inputs == ("x",)
    assert "skip" in nodes["Add_2"].inputs
    assert "residual add" in found.groups[0].patterns


def test_metadata_is_the_better_word_also_without_a_graph():
    found = fused(None, layer("__myl_MulAdd_myl0_1", "x", "y", nodes="bn relu"))
    assert [n.name for n in found.graph.nodes] == ["bn", "relu"]


@pytest.mark.parametrize("name", SETS)
def test_recorded_engines_are_rebuilt_as_the_tables_say(name, shared_data):
    truth = json.loads((TRUTH / f"{name}.json").read_text())
    text = (shared_data / "engines" / truth["engine"] / truth["file"]).read_text()
    layers = read_inspector(text).layers
    found = fuse(replace(plan(), config=BuildConfig(backend="tensorrt"), layers=layers), None)
    expected = [
        part for row in truth["layers"].values() for part, kind in row["parts"] if kind == "node"
    ]
    assert [n.name for n in found.graph.nodes] == expected
    assert found.unexplained_share == 0
    wiring = Wiring(found.graph)
    for node in found.graph.nodes:  # no cycle
        assert node.name not in wiring.downstream(wiring.after(node.name))
    convolutions = sum(row["kind"] == "convolution" for row in truth["layers"].values())
    families = found.summary["families"]
    singles = sum(
        g.family == "kept 1:1" and found.graph.nodes[expected.index(g.nodes[0])].op == "Conv"
        for g in found.groups
    )
    assert families.get("conv chain", 0) + singles == convolutions
