"""Small fusions by hand: layers with their nodes, and profiles of them."""

import itertools
from dataclasses import replace

from tests import making
from trtlab.model.types import Graph, Node
from trtlab.record import Edge, EngineLayer, Fate, Fusion, Group, LayerTensor

COUNTER = itertools.count()
OPS = {"c": "Conv", "r": "Relu", "a": "Add", "p": "MaxPool", "f": "Gemm"}


def part(name, nodes="", time=None, *, shape=(1, 8, 4, 4), **parts):
    """A layer with its nodes (in one text), and what the mapping says of it."""
    held = tuple(nodes.split())
    family = parts.pop("family", "conv chain" if held else "data movement")
    kind = parts.pop("type", "kernel")
    layer = EngineLayer(name, kind, (), (LayerTensor(f"{name}:0", "float32", shape),))
    return layer, Group(tag="", family=family, nodes=held, time_ms=time, **parts)


def node(name):
    return Node(name, OPS.get(name[0], "Op"), (), ())


def fused(*parts, nodes="", fates=(), **rest):
    """A fusion of these layers; ``nodes`` are those that are in no layer."""
    layers, groups = zip(*parts, strict=True) if parts else ((), ())
    held = dict.fromkeys(n for g in groups for n in g.nodes)
    owners = {n: tuple(i for i, g in enumerate(groups) if n in g.nodes) for n in held}
    names = [*held, *nodes.split(), *(f.node for f in fates)]
    timed = any(g.time_ms is not None for g in groups)
    return Fusion(
        **{
            "model": making.MODEL,
            "backend": "tensorrt_rtx",
            "target": "sm89",
            "graph": Graph("g", tuple(node(n) for n in names), {}, (), ()),
            "graph_source": "model",
            "layers": layers,
            "groups": groups,
            "edges": tuple(Edge(n, i, "metadata") for n in held for i in owners[n]),
            "fates": (
                *(Fate(n, "in layer", owners[n], "metadata") for n in held),
                *(Fate(n, "unexplained", (), "none") for n in nodes.split()),
                *fates,
            ),
            "time_kind": "gpu" if timed else None,
            "runs": 1 if timed else 0,
        }
        | rest
    )  # fmt: skip


def profile_of(times, spread=0.001, kind="gpu", **parts):
    """A profile of eleven runs around these times in milliseconds."""
    steps = [1 + spread * (n - 5) / 5 for n in range(11)]
    layers = tuple(
        making.layer(name, samples_ns=making.Int64Array(round(ms * s * 1e6) for s in steps))
        for name, ms in times.items()
    )
    runs = making.Int64Array([10**7] * 11)
    return making.layer_profile(layers=layers, runs_ns=runs, time_kind=kind, **parts)


def unlike(*parts, **rest):
    """An engine whose node names nobody else has."""
    made = fused(*parts, **rest)
    number = next(COUNTER)
    nodes = tuple(replace(n, name=f"{n.name}-{number}") for n in made.graph.nodes)
    return replace(made, graph=replace(made.graph, nodes=nodes), graph_source="names")


def mutated(fusion, rng, kind):
    """A fusion whose map is wrong: a node moved to a neighbouring group, dropped, or invented."""
    edges = list(fusion.edges)
    seam = rng.choice(fusion.seams)
    node, other = rng.choice([(seam.writer, seam.reader), (seam.reader, seam.writer)])
    if kind == "drop":
        node = rng.choice(edges).node
    place = rng.choice([i for i, edge in enumerate(edges) if edge.node == node])
    wrong = Edge(node, rng.choice(fusion.layers_of(other)), edges[place].rule)
    if kind == "move":
        edges[place] = wrong
    elif kind == "drop":
        del edges[place]
    else:
        edges.append(wrong)
    layers = tuple(sorted(edge.layer for edge in edges if edge.node == node))
    lost = Fate(node, "unexplained", (), "none")
    fates = [
        fate if fate.node != node else replace(fate, layers=layers) if layers else lost
        for fate in fusion.fates
    ]
    return replace(fusion, edges=tuple(edges), fates=tuple(fates))
