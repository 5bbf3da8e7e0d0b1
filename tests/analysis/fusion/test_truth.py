"""The map of real engines against tables that were made without it; see tests/truth/README.md."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.fusing import mutated
from trtlab.analysis.fusion.boundary import borders

TRUTH = Path(__file__).parents[2] / "truth"
TABLES = sorted(path.stem.removeprefix("zoo_") for path in TRUTH.glob("zoo_*.json"))
MUTATIONS = 50

pytestmark = pytest.mark.native


def table(name):
    return json.loads((TRUTH / f"zoo_{name}.json").read_text())


def groups_of(edges):
    held = {}
    for edge in edges:
        held.setdefault(edge.layer, set()).add(edge.node)
    return Counter(frozenset(nodes) for nodes in held.values())


def true_groups(truth):
    return Counter(frozenset(layer["nodes"]) for layer in truth["layers"])


def test_four_networks_have_a_table():
    assert {"digits", "squeezenet", "resnet50", "inception_v1"} <= set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_every_group_is_the_tables(name, built):
    truth, fusion = table(name), built(name)
    assert len(fusion.graph.nodes) == truth["graph_nodes"]
    assert groups_of(fusion.edges) == true_groups(truth)
    assert fusion.largest_group <= truth["largest_group"]


@pytest.mark.parametrize("name", TABLES)
def test_every_node_without_a_layer_is_the_tables(name, built):
    found = {
        fate.node: (fate.state, fate.rule)
        for fate in built(name).fates
        if fate.state != "in layer"
    }
    expected = {
        node: (row["state"], row["rule"]) for node, row in table(name)["without_layer"].items()
    }
    rules = {"in place": "written in place"}
    assert found == {n: (state, rules.get(rule, rule)) for n, (state, rule) in expected.items()}


@pytest.mark.parametrize("name", TABLES)
def test_every_node_in_several_layers_is_the_tables(name, built):
    owners = Counter(edge.node for edge in built(name).edges)
    several = {node: n for node, n in owners.items() if n > 1}
    assert several == {node: len(rows) for node, rows in table(name)["in_several"].items()}


def test_the_whole_zoo_is_explained(zoo_fusion):
    assert zoo_fusion.unexplained_share <= 0.01
    assert zoo_fusion.opaque_share == 0
    assert zoo_fusion.one_owner_share >= 0.95
    assert not zoo_fusion.caveats


def test_the_borders_of_the_whole_zoo_fit(zoo_fusion):
    checked = borders(zoo_fusion)
    with_nodes = sum(bool(group.nodes) for group in zoo_fusion.groups)
    assert len(checked) == with_nodes
    assert sum(border.fits for border in checked) / len(checked) >= 0.95


@pytest.mark.parametrize("name", TABLES)
def test_a_wrong_map_is_noticed(name, built):
    """Move a node to a neighbouring group, drop one, invent one: border or table must object."""
    fusion, truth = built(name), true_groups(table(name))
    rng = random.Random(name)
    by_border = by_either = 0
    for number in range(MUTATIONS):
        mutant = mutated(fusion, rng, ("move", "drop", "invent")[number % 3])
        assert mutant.edges != fusion.edges
        objected = any(not border.fits for border in borders(mutant))
        by_border += objected
        by_either += objected or groups_of(mutant.edges) != truth
    assert by_either >= 0.9 * MUTATIONS
    assert by_border > 0
