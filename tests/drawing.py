"""Small fusions with edges, for what is drawn of them."""

from tests import making
from trtlab.model.types import Graph, Node, Tensor
from trtlab.record import Edge, EngineLayer, Fate, Fusion, Group, LayerTensor

FAMILIES = {"sync": "sync, shape", "moved": "data movement"}


def drawn(nodes, layers=(), *, output="", fates=(), **parts):
    """A fusion from two short lists.

    Args:
        nodes: Name, operator and the names of what it reads: nodes, or ``x`` for the input. Each
            writes a tensor of its own name.
        layers: Name, type, its nodes (in one text) and, if these do not say it, what it reads and
            writes (in two texts). Of type ``sync`` and ``moved`` are those that were added.
        output: The node that writes the network's output; the last one if not said.
        fates: Of nodes in no layer: name, state and reason. Others are unexplained.
    """
    output = output or (nodes[-1][0] if nodes else "")
    held = [layer[2].split() for layer in layers]
    owners = {}
    for number, names in enumerate(held):
        for name in names:
            owners.setdefault(name, []).append(number)
    why = {name: (state, because) for name, state, because in fates}
    reads = {name: read.split() for name, _, read in nodes}
    graph = Graph(
        "g",
        tuple(Node(name, op, tuple(read.split()), (name,)) for name, op, read in nodes),
        {name: Tensor(name, "float32", ("N", 8)) for name in ("x", *reads)},
        ("x",),
        (output,) if output else (),
    )
    tags = iter(range(1, len(layers) + 1))
    return Fusion(
        **{
            "model": making.MODEL,
            "backend": "tensorrt_rtx",
            "target": "sm89",
            "graph": graph,
            "graph_source": "model",
            "layers": tuple(layer_of(layer, reads, output) for layer in layers),
            "groups": tuple(
                Group(
                    tag=f"G{next(tags)}" if names else "",
                    family=FAMILIES.get(layer[1], "conv chain"),
                    nodes=tuple(names),
                    precision="float32",
                    text=f"{len(names)} nodes.",
                )
                for layer, names in zip(layers, held, strict=True)
            ),
            "edges": tuple(Edge(n, i, "metadata") for n, where in owners.items() for i in where),
            "fates": tuple(
                Fate(name, "in layer", tuple(owners[name]), "metadata")
                if name in owners
                else Fate(name, why.get(name, ("unexplained",))[0], (), "none", why[name][1])
                if name in why
                else Fate(name, "unexplained", (), "none")
                for name, _, _ in nodes
            ),
            "explanations": {name: f"What became of {name}." for name in reads},
        }
        | parts
    )


def layer_of(layer, reads, output):
    name, kind, nodes = layer[:3]
    inside = nodes.split()
    if len(layer) == 5:
        inputs, outputs = layer[3].split(), layer[4].split()
    else:
        inputs = [t for n in inside for t in reads[n] if t not in inside]
        read_outside = {t for n, read in reads.items() if n not in inside for t in read}
        outputs = [n for n in inside if n in read_outside or n == output]
    return EngineLayer(
        name,
        kind,
        tuple(LayerTensor(t, "float32", (None, 8)) for t in dict.fromkeys(inputs)),
        tuple(LayerTensor(t, "float32", (None, 8)) for t in outputs),
        stream=0,
    )


def residual(**parts):
    """Two fused groups, the second of which adds what the first wrote; then a lone node."""
    return drawn(
        [
            ("c1", "Conv", "x"), ("r1", "Relu", "c1"),
            ("c2", "Conv", "r1"), ("add", "Add", "c2 r1"), ("r2", "Relu", "add"),
            ("fc", "Gemm", "r2"),
        ],
        [
            ("first", "fusion", "c1 r1"), ("second", "fusion", "c2 add r2"),
            ("fc_layer", "gemm", "fc"),
        ],
        **parts,
    )  # fmt: skip


def apart(**parts):
    """The nodes of ``residual`` by another builder, which does not fuse the first two."""
    return drawn(
        [
            ("c1", "Conv", "x"), ("r1", "Relu", "c1"),
            ("c2", "Conv", "r1"), ("add", "Add", "c2 r1"), ("r2", "Relu", "add"),
            ("fc", "Gemm", "r2"),
        ],
        [
            ("conv", "Conv", "c1"), ("relu", "Relu", "r1"), ("second", "fusion", "c2 add r2"),
            ("fc_layer", "Gemm", "fc"),
        ],
        **parts,
    )  # fmt: skip


def tower(blocks, *, prefix="block"):
    """As many blocks of two branches as asked for, each of three groups of two nodes."""
    nodes, layers, last = [], [], "x"
    for number in range(blocks):
        name = f"{prefix}{number}"
        for branch in ("a", "b"):
            nodes += [
                (f"{name}/{branch}/Conv", "Conv", last),
                (f"{name}/{branch}/Relu", "Relu", f"{name}/{branch}/Conv"),
            ]
            layers.append(
                (f"{name}_{branch}", "fusion", f"{name}/{branch}/Conv {name}/{branch}/Relu")
            )
        nodes.append((f"{name}/Concat", "Concat", f"{name}/a/Relu {name}/b/Relu"))
        nodes.append((f"{name}/Pool", "MaxPool", f"{name}/Concat"))
        layers.append((f"{name}_join", "fusion", f"{name}/Concat {name}/Pool"))
        last = f"{name}/Pool"
    return drawn(nodes, layers)
