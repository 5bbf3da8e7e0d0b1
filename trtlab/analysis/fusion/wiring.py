"""Who writes and who reads each tensor, of a graph and of a plan's layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import prod

from trtlab.model.types import Dim, Graph, Node
from trtlab.record import EngineLayer

SHAPE_OPS = frozenset({"Shape", "Size"})
"""Operators that look at a tensor's dimensions and never at its data."""

RANDOM = {
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
    "Multinomial",
}  # fmt: skip
"""Operators whose result is another one each time, whatever they read."""


class Wiring:
    """A graph with its edges at hand; subgraphs count as part of the node that holds them.

    Attributes:
        nodes: By name.
        order: Place of each node in the graph.
        writer: By tensor: the name of the node that writes it.
        readers: By tensor: the names of the nodes that read it, in order, each once.
        folded: Nodes that depend on constants alone.
        shape_only: Nodes that depend on dimensions (and constants) alone.
        live: Nodes that a graph output depends on.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = {node.name: node for node in graph.nodes}
        self.order = {node.name: i for i, node in enumerate(graph.nodes)}
        self.writer: dict[str, str] = {}
        self.readers: dict[str, list[str]] = defaultdict(list)
        self._data: dict[str, tuple[str, ...]] = {}
        self._inputs = {node.name: inputs_of(node) for node in graph.nodes}
        for node in graph.nodes:
            for tensor in filter(None, node.outputs):
                self.writer[tensor] = node.name
            for tensor in self._inputs[node.name]:
                self.readers[tensor].append(node.name)
        self._constants = {name for name, tensor in graph.tensors.items() if tensor.is_constant}
        self.folded = self._depending_on_nothing(frozenset())
        self.shape_only = self._depending_on_nothing(SHAPE_OPS) - self.folded
        self.live = self.upstream(self.writer[t] for t in graph.outputs if t in self.writer)

    def inputs(self, node: str) -> tuple[str, ...]:
        """Return the tensors that a node reads, each once, those of its subgraphs included."""
        return self._inputs[node]

    def data_inputs(self, node: str) -> tuple[str, ...]:
        """Return the tensors that a node reads and that are not known before it runs."""
        found = self._data.get(node)
        if found is None:
            found = self._data[node] = tuple(
                t
                for t in self._inputs[node]
                if not self.is_constant(t) and self.writer.get(t) not in self.shape_only
            )
        return found

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor is a weight or made of weights alone."""
        return tensor in self._constants or self.writer.get(tensor) in self.folded

    def before(self, node: str) -> list[str]:
        """Return the nodes whose data a node reads."""
        return [self.writer[t] for t in self.data_inputs(node) if t in self.writer]

    def after(self, node: str) -> list[str]:
        """Return the nodes that read what a node writes, each once."""
        outputs = self.nodes[node].outputs
        return list(dict.fromkeys(r for t in outputs if t for r in self.readers.get(t, ())))

    def upstream(self, nodes: Iterable[str]) -> set[str]:
        """Return the nodes and all that they depend on."""
        return self._closure(nodes, lambda n: (self.writer.get(t) for t in self._inputs[n]))

    def downstream(self, nodes: Iterable[str]) -> set[str]:
        """Return the nodes and all that depend on them."""
        return self._closure(nodes, self.after)

    def _closure(
        self, nodes: Iterable[str], step: Callable[[str], Iterable[str | None]]
    ) -> set[str]:
        found: set[str] = set()
        waiting: list[str | None] = list(nodes)
        while waiting:
            node = waiting.pop()
            if node is None or node in found:
                continue
            found.add(node)
            waiting.extend(step(node))
        return found

    def _depending_on_nothing(self, but: frozenset[str]) -> set[str]:
        """Return the nodes whose every input is constant, taking the operators ``but`` as such.

        In the graph's order, which is topological; in a graph that is not, some are missed.
        """
        found: set[str] = set()
        for node in self.graph.nodes:
            if node.op in RANDOM:
                continue
            if (node.op in but and not node.domain) or all(
                t in self._constants or self.writer.get(t) in found
                for t in self._inputs[node.name]
            ):
                found.add(node.name)
        return found


class LayerWiring:
    """Writers and readers of the tensors that a plan's layers declare, by layer number."""

    def __init__(self, layers: Sequence[EngineLayer]) -> None:
        self.writers: dict[str, list[int]] = defaultdict(list)
        self.readers: dict[str, list[int]] = defaultdict(list)
        for number, layer in enumerate(layers):
            for name in dict.fromkeys(t.name for t in layer.outputs):
                self.writers[name].append(number)
            for name in dict.fromkeys(t.name for t in layer.inputs):
                self.readers[name].append(number)
        self.layers = layers

    def read_from(self, writers: Iterable[int], readers: Iterable[int]) -> list[str]:
        """Return the tensors that one of ``readers`` reads and one of ``writers`` writes."""
        written = {t.name for i in writers for t in self.layers[i].outputs}
        return list(
            dict.fromkeys(
                t.name for i in readers for t in self.layers[i].inputs if t.name in written
            )
        )


def inputs_of(node: Node) -> tuple[str, ...]:
    """Return the tensors that a node reads, each once; outer ones of its subgraphs included."""
    names = dict.fromkeys(name for name in node.inputs if name)
    for graph in node.subgraphs.values():
        inner = {*graph.tensors, *graph.inputs}
        read = (name for each in graph.nodes for name in inputs_of(each))
        names |= dict.fromkeys(name for name in (*read, *graph.outputs) if name not in inner)
    return tuple(names)


def fits(a: Sequence[Dim] | None, b: Sequence[Dim] | None) -> bool:
    """Whether two shapes may be the same: a dimension that is no number fits each."""
    if a is None or b is None or len(a) != len(b):
        return False
    return all(
        x == y or not isinstance(x, int) or not isinstance(y, int)
        for x, y in zip(a, b, strict=True)
    )


def no_ones(shape: Iterable[Dim] | None) -> tuple[Dim, ...] | None:
    """Return a shape without its dimensions of 1."""
    return None if shape is None else tuple(dim for dim in shape if dim != 1)


def folds(form: Sequence[Dim] | None, shape: Sequence[Dim] | None) -> bool:
    """Whether ``shape`` is ``form`` with leading dimensions folded into its first."""
    form, shape = no_ones(form), no_ones(shape)
    if not form or not shape or len(shape) >= len(form):
        return False
    cut = len(form) - len(shape) + 1
    return fits(form[cut:], shape[1:]) and elements(form[:cut]) in (elements(shape[:1]), None)


def elements(shape: Sequence[Dim]) -> int | None:
    """Return the number of elements; None where a dimension is no number."""
    return numbers(shape) if all(isinstance(dim, int) for dim in shape) else None


def numbers(shape: Sequence[Dim]) -> int:
    """Return the product of the dimensions that are numbers."""
    return prod(dim for dim in shape if isinstance(dim, int))
