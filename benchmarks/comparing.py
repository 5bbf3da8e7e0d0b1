"""Comparing two engines of 2,000 layers: by node, and without common names.

The engines are made up. One network of 6,000 nodes in a chain has three in a layer of A; in B
every second layer begins one node later. Everything that ``compare`` does of it is timed: both
maps of nodes to layers, the alignment and its text. Without names the time of the alignment could
depend on how many layers look alike: blocks that repeat as in a network, all alike, none alike;
the first and the last layer differ always, so that nothing is cut off before.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.figures import Figure, median_figure, seconds
from trtlab.analysis.engines.align import align
from trtlab.analysis.fusion.fuse import fuse
from trtlab.environment import capture
from trtlab.model.types import Graph, Model, Node, Tensor
from trtlab.record import EngineLayer, Fusion, LayerTensor, ModelRef, Plan
from trtlab.spec import BuildConfig
from trtlab.store import Store
from trtlab.verbs.compare import compare

LAYERS = 2_000
NODES = 3 * LAYERS
ROUNDS = 7
LIMIT_SECONDS = 1.0

Dims = tuple[int, ...]
DIMS: dict[str, Callable[[int, int], Dims]] = {
    "blocks repeat": lambda number, _: (1, 64 * 2 ** (number % 4), 56, 56),
    "all alike": lambda _, __: (1, 64, 56, 56),
    "none alike": lambda number, side: (1, number + 2, 10_000 + side),
}


def figures() -> list[Figure]:
    """Time the whole of ``compare`` where the graph is known, and aligning without names."""
    model = Model(
        name="chain", path="", hash="c" * 64, inputs=(), outputs=(), opset=17, ir_version=8,
        parameters=0, weight_bytes=0,
    )  # fmt: skip
    a, b = plan(model, 0), plan(model, 1)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.put_graph(model, graph())
        whole = [seconds(lambda: compare(a, b, store=store).rows()) for _ in range(ROUNDS)]
    found = [median_figure(f"compare, two plans of {LAYERS:,} layers", whole, "s", LIMIT_SECONDS)]
    for words, dims in DIMS.items():
        x, y = nameless(model, 0, dims), nameless(model, 1, dims)
        times = [seconds(lambda x=x, y=y: align(x, y).rows()) for _ in range(ROUNDS)]
        found.append(median_figure(f"  aligned without names, {words}", times, "s", LIMIT_SECONDS))
    return found


def graph() -> Graph:
    """Return a chain of nodes, of which every third is a convolution."""
    shape = (1, 64, 56, 56)
    tensors = {f"t{n}": Tensor(f"t{n}", "float32", shape) for n in range(NODES + 1)}
    nodes = tuple(
        Node(f"node_{n}", ("Conv", "Add", "Relu")[n % 3], (f"t{n}",), (f"t{n + 1}",))
        for n in range(NODES)
    )
    return Graph("chain", nodes, tensors, ("t0",), (f"t{NODES}",))


def plan(model: Model, side: int) -> Plan:
    """Return a plan of the chain; of ``side`` 1 every second layer begins one node later."""
    ends = [min(NODES, 3 * n + side * (n % 2)) for n in range(LAYERS)] + [NODES]
    layers = (
        EngineLayer(
            f"{side}_layer_{n}", "kernel", _tensors(f"t{begin}"), _tensors(f"t{end}"),
            nodes=tuple(f"node_{i}" for i in range(begin, end)),
        )
        for n, (begin, end) in enumerate(itertools.pairwise(ends))
    )  # fmt: skip
    return _plan(model, layers)


def nameless(model: Model, side: int, dims: Callable[[int, int], Dims]) -> Fusion:
    """Return an engine whose layers' names are its own, mapped without a graph."""
    layers = (
        EngineLayer(
            f"side{side}_{n}", "kernel", _tensors(f"t{n}"),
            _tensors(f"t{n + 1}", (1, side + 3) if n in (0, LAYERS - 1) else dims(n, side)),
        )
        for n in range(LAYERS)
    )  # fmt: skip
    return fuse(_plan(model, layers), None)


def _tensors(name: str, dims: Dims = (1, 64, 56, 56)) -> tuple[LayerTensor, ...]:
    return (LayerTensor(name, "float32", dims),)


def _plan(model: Model, layers: Iterator[EngineLayer]) -> Plan:
    return Plan(
        hash="d" * 64, model=ModelRef.of(model), model_path=None, inputs=(), outputs=(),
        weight_bytes=None, config=BuildConfig(backend="tensorrt_rtx"), build_seconds=None,
        plan_bytes=None, layers=tuple(layers), memory=None, messages=(), peak_rss_bytes=None,
        environment=capture(),
    )  # fmt: skip
