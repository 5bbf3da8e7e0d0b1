"""ONNX nodes ↔ layers of TensorRT: what became of every node, and the rule that says so.

The builder's own words come first: ``Metadata``, then the layer's name. What is left is settled
by proof from the graph, in this order:

1. no graph output depends on the node: removed;
2. it depends on constants alone: folded into the constants of the layers that need it;
3. it depends on dimensions alone: computed when shapes are set, by no kernel;
4. it lies in a region that the builder does not open: opaque;
5. the layers before and behind it leave it one place: by the tensors that they declare, or because
   everything around it is in one layer;
6. a Concat whose inputs are written into slices of one tensor: written in place;
7. its operator and attributes only rename what it reads: removed;
8. a Transpose whose input is written with the strides that it would make: removed.

Before the fifth, a quantiser that changes no number is removed, and the steps in the name of a
layer that Myelin made place what follows its product. From a layer that writes a small type alone
a node is taken back that makes none of it, where another layer has it too.

Nothing is guessed: what no rule settles stays unexplained.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from trtlab.analysis.fusion.kinds import ANCHORS, QUANTISERS, REGIONS, is_small
from trtlab.analysis.fusion.names import LayerName, parse, region_ends
from trtlab.analysis.fusion.proofs import (
    moves_nothing,
    not_computed,
    one_in_one_out,
    quantised_again,
    same_as,
    stays_small,
    twins,
)
from trtlab.analysis.fusion.rebuilt import nodes_named
from trtlab.analysis.fusion.steps import nodes_of_steps
from trtlab.analysis.fusion.wiring import LayerWiring, Wiring, fits, folds
from trtlab.model.types import Graph, Node, Tensor
from trtlab.record import Edge, EngineLayer, Fate, LayerTensor, Rule, State

_CONCAT = "Concat"


@dataclass(frozen=True, slots=True)
class Mapped:
    """What became of every node.

    Attributes:
        edges: Node by node in the graph's order, layers in the builder's.
        fates: One for each node, in the graph's order.
        strange: Nodes that the builder names and the graph lacks.
        regions: Numbers of the layers that the builder does not open.
    """

    edges: tuple[Edge, ...]
    fates: tuple[Fate, ...]
    strange: tuple[str, ...]
    regions: frozenset[int] = frozenset()


def map_layers(graph: Graph, layers: Sequence[EngineLayer]) -> Mapped:
    """Map the nodes of a graph to the layers that TensorRT made of it. See the module's rules."""
    return _Mapper(graph, layers).map()


class _Mapper:
    def __init__(self, graph: Graph, layers: Sequence[EngineLayer]) -> None:
        self.wiring = Wiring(graph)
        self.layers = layers
        self.engine = LayerWiring(layers)
        self.named = _named(graph)
        self.known = {*self.named, *graph.tensors}
        self.names = [parse(layer.name, self.known) for layer in layers]
        self.owners: dict[str, dict[int, Rule]] = defaultdict(dict)
        self.fates: dict[str, Fate] = {}
        self.before: dict[str, frozenset[int]] = {}
        self.after: dict[str, frozenset[int]] = {}
        self.taken: set[int] = set()
        self.folded_into: dict[str, set[int]] = defaultdict(set)
        self.strange: dict[str, None] = {}
        self.unclear: dict[str, str] = {}
        self.regions = [i for i in range(len(layers)) if self._is_region(i)]

    def map(self) -> Mapped:
        self._take_the_builders_word()
        self._take_back_what_cannot_be()
        self._take_what_lies_between_tensors()
        self._settle(self._not_computed)
        again = quantised_again(self.wiring)
        self._settle(lambda node: self._changes_no_number(node, again))
        named = self._by_steps()
        self._settle(lambda node: named.get(node.name))
        for number in self.regions:
            self._open(number)
        # Each answer can make the next one possible, so until none comes.
        while self._settle(self._by_its_place) or self._settle(self._written_in_place):
            pass
        self._settle(self._renames_only)
        self._settle(self._written_in_order)
        if len(self.fates) + len(self.owners) < len(self.wiring.nodes):
            same = twins(self.wiring)
            self._settle(lambda node: same_as(node, same))
        edges = [
            Edge(node.name, layer, rule)
            for node in self.wiring.graph.nodes
            for layer, rule in sorted(self.owners.get(node.name, {}).items())
        ]
        fates = tuple(self._fate(node.name) for node in self.wiring.graph.nodes)
        return Mapped(tuple(edges), fates, tuple(self.strange), frozenset(self.regions))

    def _fate(self, node: str) -> Fate:
        owners = self.owners.get(node)
        if not owners:
            because = ""
            if node in self.unclear:
                because = f"Several nodes are called {self.unclear[node]}, in several layers."
            return self.fates.get(node) or Fate(node, "unexplained", (), "none", because)
        layers = tuple(sorted(owners))
        state: State = "opaque" if set(layers) <= set(self.regions) else "in layer"
        return Fate(node, state, layers, owners[layers[0]])

    def _settle(self, rule: Callable[[Node], Fate | None]) -> bool:
        """Apply a rule to every node that has no fate yet; say whether it settled any."""
        found = False
        nodes = self.wiring.graph.nodes
        if all(node.name in self.fates or self.owners.get(node.name) for node in nodes):
            return found
        self.before = self._nearest(nodes, self.wiring.before)
        self.after = self._nearest(reversed(nodes), self.wiring.after)
        self.taken = {number for owners in self.owners.values() for number in owners}
        for node in self.wiring.graph.nodes:
            if node.name in self.fates or self.owners.get(node.name):
                continue
            fate = rule(node)
            if fate is None:
                continue
            found = True
            if fate.state in ("in layer", "opaque"):
                self._own(node.name, fate.layers, fate.rule)
            else:
                self.fates[node.name] = fate
        return found

    def _nearest(
        self, nodes: Iterable[Node], step: Callable[[str], list[str]]
    ) -> dict[str, frozenset[int]]:
        """Return by node the layers of the nearest nodes, in one direction, that are in one.

        ``nodes`` come in the order of the steps; each set is made of those of its neighbours.
        """
        nearest: dict[str, frozenset[int]] = {}
        for node in nodes:
            beside = {
                frozenset(owners) if (owners := self.owners.get(name)) else nearest[name]
                for name in step(node.name)
                if self.owners.get(name) or name in nearest
            }
            nearest[node.name] = beside.pop() if len(beside) == 1 else frozenset().union(*beside)
        return nearest

    def _own(self, node: str, layers: Iterable[int], rule: Rule) -> None:
        for layer in layers:
            self.owners[node].setdefault(layer, rule)

    # The builder's own words

    def _take_the_builders_word(self) -> None:
        doubtful: dict[str, list[tuple[int, Rule]]] = defaultdict(list)
        for number, (layer, name) in enumerate(zip(self.layers, self.names, strict=True)):
            for said, rule in self._claims(layer, name):
                # Inside an If or a Loop TensorRT appends where: ``node | holder (branch)``.
                nodes = self.named.get(said) or self.named.get(said.partition(" | ")[0], ())
                if len(nodes) == 1:
                    self._take(nodes[0], number, rule)
                elif nodes:
                    doubtful[said].append((number, rule))
                elif said:
                    self.strange[said] = None
        for said, places in doubtful.items():
            self._tell_apart(said, self.named[said], places)

    def _claims(self, layer: EngineLayer, name: LayerName) -> Iterator[tuple[str, Rule]]:
        for said in layer.nodes:
            yield said, "metadata"
        # Parts of a name may be the parser's own numbering (``linear_1``: the bias of ``linear``).
        # Where there is metadata, it is the better word.
        if not layer.nodes:
            for leaf in nodes_named(layer, self.known) if not name.by_myelin else name.leaves:
                if leaf in self.named or not (name.by_myelin or leaf in self.known):
                    yield leaf, "layer name"
        if name.role == "copy":
            for reader in self.wiring.readers.get(name.of, ()):
                if self.wiring.nodes[reader].op == _CONCAT:
                    yield reader, "layer name"

    def _take(self, node: str, layer: int, rule: Rule) -> None:
        """Take the builder's word, but for what it computed beforehand: that is in no layer."""
        if node in self.wiring.folded:
            self.folded_into[node].add(layer)
        else:
            self._own(node, (layer,), rule)

    def _take_back_what_cannot_be(self) -> None:
        """Take a node from a layer that cannot write what becomes of it, if another has it.

        TensorRT-RTX 1.7 names a convolution and its DequantizeLinear at the layer before too,
        where that only writes the small type as the convolution wants it: with more channels.
        """
        held: dict[int, set[str]] = defaultdict(set)
        for node, owners in self.owners.items():
            for number in owners:
                held[number].add(node)
        for number, nodes in held.items():
            types = [tensor.dtype for tensor in self.layers[number].outputs]
            if not types or not all(dtype is not None and is_small(dtype) for dtype in types):
                continue
            written: set[str] = set()
            for node in sorted(nodes, key=self.wiring.order.__getitem__, reverse=True):
                leads_on = not written.isdisjoint(self.wiring.after(node))
                if leads_on or self._may_write(node, types):
                    written.add(node)
                elif len(self.owners[node]) > 1:
                    del self.owners[node][number]

    def _may_write(self, node: str, types: Collection[str | None]) -> bool:
        made = (self.wiring.graph.tensors.get(t) for t in self.wiring.nodes[node].outputs if t)
        return any(t is None or t.dtype is None or t.dtype in types for t in made)

    def _changes_no_number(self, node: Node, again: Mapping[str, str]) -> Fate | None:
        if node.name not in again:
            return None
        into = tuple(sorted(self.after[node.name]))
        return Fate(node.name, "removed", into, "identity", again[node.name])

    def _by_steps(self) -> dict[str, Fate]:
        """Return the nodes that a layer's name holds by its steps, behind the product it is of."""
        held: dict[int, list[str]] = defaultdict(list)
        for node, owners in self.owners.items():
            for number in owners:
                held[number].append(node)
        found: dict[str, Fate] = {}
        for number, nodes in held.items():
            products = [node for node in nodes if self.wiring.nodes[node].op in ANCHORS]
            others = {self.wiring.nodes[node].op for node in nodes} - ANCHORS - QUANTISERS
            if len(products) == 1 and not others and len(self.owners[products[0]]) == 1:
                steps = self.names[number].operations
                for node in nodes_of_steps(products[0], steps, self.wiring, self._is_free):
                    found[node] = Fate(node, "in layer", (number,), "layer name")
        return found

    def _is_free(self, node: str) -> bool:
        return node not in self.fates and not self.owners.get(node)

    def _not_computed(self, node: Node) -> Fate | None:
        into = self.folded_into.get(node.name) or self.after[node.name]
        fate = not_computed(node, self.wiring, into)
        if fate is None or not stays_small(node, fate.layers, self.layers, self.wiring):
            return fate
        because = "Its weight stays small: the layer applies the scale to what it makes of it."
        return replace(fate, because=because)

    def _tell_apart(self, said: str, nodes: Sequence[str], places: list[tuple[int, Rule]]) -> None:
        """Give nodes that share one name to the layers that bear it."""
        if len({number for number, _ in places}) == 1:
            for node in nodes:
                self._own(node, (places[0][0],), places[0][1])
            return
        held = {number: {n for n, o in self.owners.items() if number in o} for number, _ in places}
        for number, rule in places:
            beside = [n for n in nodes if held[number] & self._neighbours(n)]
            if len(beside) == 1:
                self._own(beside[0], (number,), rule)
        self.unclear |= {node: said for node in nodes if not self.owners.get(node)}

    def _neighbours(self, node: str) -> set[str]:
        return {*self.wiring.before(node), *self.wiring.after(node)}

    def _take_what_lies_between_tensors(self) -> None:
        """Give a layer the nodes between the tensors that it declares by the graph's names."""
        for number, layer in enumerate(self.layers):
            if self.names[number].role in ("reformat", "copy") or number in self.regions:
                continue
            border = {tensor.name for tensor in layer.inputs}
            for tensor in layer.outputs:
                if self.engine.writers[tensor.name] == [number] and tensor.name not in border:
                    for node in self._back_to(border, tensor.name, number):
                        self._own(node, (number,), "tensors")

    def _back_to(self, border: set[str], tensor: str, layer: int) -> list[str]:
        """Return the ownerless nodes from which every way back from ``tensor`` ends at ``border``.

        Where one ends elsewhere, at a node of another layer or an input that the layer does not
        read, some node before it is in another layer, and it cannot be told which.
        """
        met: set[str] = set()
        waiting = [tensor]
        while waiting:
            node = self.wiring.writer.get(waiting.pop())
            if node is None or node in met or self._is_elsewhere(node, layer):
                continue
            met.add(node)
            waiting += [t for t in self.wiring.data_inputs(node) if t not in border]
        ends: dict[str, bool] = {}
        for node in sorted(met, key=self.wiring.order.__getitem__):
            ends[node] = all(
                t in border or ends.get(self.wiring.writer.get(t, ""), False)
                for t in self.wiring.data_inputs(node)
            )
        # One that moves nothing is in the layer only if what it reads is made there too.
        return [
            node
            for node, closed in ends.items()
            if closed
            and not self.owners.get(node)
            and not moves_nothing(self.wiring.nodes[node], self.wiring)
        ]

    def _is_elsewhere(self, node: str, layer: int) -> bool:
        owners = self.owners.get(node, {})
        return len(owners) > 0 and layer not in owners

    # Regions

    def _is_region(self, number: int) -> bool:
        return self.names[number].role == "region" or self.layers[number].type in REGIONS

    def _open(self, number: int) -> None:
        """Find the nodes inside a region of which only the end points are named."""
        layer = self.layers[number]
        if layer.nodes:
            return
        first, last = region_ends(self.names[number].of, self.known)
        starts = self._nodes_at(first, self.wiring.readers.get(first, ()))
        ends = self._nodes_at(last, [w for w in [self.wiring.writer.get(last)] if w])
        starts = starts or [r for t in layer.inputs for r in self.wiring.readers.get(t.name, ())]
        ends = ends or [self.wiring.writer[t.name] for t in layer.outputs
                        if t.name in self.wiring.writer]  # fmt: skip
        inside = self.wiring.live - self.wiring.folded - self.wiring.shape_only
        if starts:
            inside &= self.wiring.downstream(starts)
        if ends:
            inside &= self.wiring.upstream(ends)
        if not starts and not ends and len(self.layers) > 1:
            return
        for node in inside:
            if not self.owners.get(node):
                self._own(node, (number,), "region")

    def _nodes_at(self, name: str, readers: Iterable[str]) -> list[str]:
        return [*self.named.get(name, ()), *readers]

    # What lies between known layers

    def _by_its_place(self, node: Node) -> Fate | None:
        before, after = self.before[node.name], self.after[node.name]
        if before and before == after and len(before) == 1 and not self._is_output(node):
            return Fate(node.name, "in layer", tuple(before), "reachability")
        if (moved := self._added_between(node, before, after)) is not None:
            return Fate(node.name, "in layer", (moved,), "tensors")
        if moves_nothing(node, self.wiring):
            return None  # on either side of what passes there is nothing to do
        place = self._side(node, before, after)
        return Fate(node.name, "in layer", tuple(sorted(place)), "tensors") if place else None

    def _added_between(
        self, node: Node, before: frozenset[int], after: frozenset[int]
    ) -> int | None:
        """Return the layer without nodes that reads what this one reads and writes its output."""
        read, written = one_in_one_out(node, self.wiring)
        if read is None or written is None or _alike(read, written):
            return None
        candidates = {
            number
            for writer in before
            for tensor in self.layers[writer].outputs
            for number in self.engine.readers[tensor.name]
        } or set(self.engine.readers[read.name])
        for number in sorted(candidates - self.taken - set(self.regions)):
            layer = self.layers[number]
            leads_on = after & {r for t in layer.outputs for r in self.engine.readers[t.name]}
            ends = self._is_output(node) and any(t.name == written.name for t in layer.outputs)
            if (
                (leads_on or ends)
                and any(_is(t, read) for t in layer.inputs)
                and any(_is(t, written) for t in layer.outputs)
            ):
                return number
        return None

    def _side(self, node: Node, before: frozenset[int], after: frozenset[int]) -> frozenset[int]:
        """Return the layers on the one side of what passes between them, where that tells."""
        read, written = one_in_one_out(node, self.wiring)
        between = self.engine.read_from(before, after)
        if read is None or written is None or not between or before & after:
            return frozenset()
        passing = [
            t for i in before for t in self.layers[i].outputs if t.name in between
        ]  # as their writers declare them
        if all(_is(t, read) and not _is(t, written) for t in passing):
            return after
        if all(_is(t, written) and not _is(t, read) for t in passing):
            return before
        # A product may give them other dimensions; of the two types only one passes then.
        types = {t.dtype for t in passing}
        if read.dtype != written.dtype:
            if types == {read.dtype}:
                return after
            if types == {written.dtype}:
                return before
        return frozenset()

    def _is_output(self, node: Node) -> bool:
        return not set(node.outputs).isdisjoint(self.wiring.graph.outputs)

    # Concatenation in place, and views

    def _written_in_place(self, node: Node) -> Fate | None:
        """Prove that every input of a Concat is written into a slice of one tensor."""
        if node.op != _CONCAT or node.domain:
            return None
        pieces = self._pieces(node)
        whole = self.wiring.graph.tensors.get(node.outputs[0])
        if whole is None or None in pieces:
            return None
        for name, writers in self._targets(node):
            slices = [(t, w) for w in writers for t in self.layers[w].outputs if t.name == name]
            used = self._slices_of([p for p in pieces if p], slices)
            if used and (self._is_read_whole(name, whole) or self._is_piece(node, writers)):
                return Fate(
                    node.name,
                    "removed",
                    tuple(sorted(set(used))),
                    "written in place",
                    f"{len(used)} layers write its inputs side by side into one tensor, "
                    "which is then read as a whole.",
                )
        return None

    def _pieces(self, node: Node) -> list[Tensor | None]:
        """Return what a Concat joins, through Concats before it along the same axis."""
        pieces: list[Tensor | None] = []
        for name in node.inputs:
            writer = self.wiring.nodes.get(self.wiring.writer.get(name, ""))
            if (
                writer is not None
                and writer.op == _CONCAT
                and writer.attributes.get("axis") == node.attributes.get("axis")
                and not self.owners.get(writer.name)
                and self.wiring.order[writer.name] < self.wiring.order[node.name]
            ):
                pieces += self._pieces(writer)
            else:
                pieces.append(self.wiring.graph.tensors.get(name))
        return pieces

    def _is_piece(self, node: Node, writers: Sequence[int]) -> bool:
        """Whether all that reads a Concat are others that are written into the same tensor."""
        fates = [self.fates.get(reader) for reader in self.wiring.after(node.name)]
        return bool(fates) and all(
            fate is not None
            and fate.rule == "written in place"
            and set(fate.layers) <= set(writers)
            for fate in fates
        )

    def _targets(self, node: Node) -> Iterator[tuple[str, list[int]]]:
        """Yield the engine's tensors that layers before the node write together."""
        before = self.before[node.name]
        copies = {
            r for i in before for t in self.layers[i].outputs for r in self.engine.readers[t.name]
        }
        outputs = (t.name for i in sorted(before | copies) for t in self.layers[i].outputs)
        for name in dict.fromkeys(outputs):
            if len(self.engine.writers[name]) > 1:
                yield name, self.engine.writers[name]

    def _slices_of(
        self, pieces: Sequence[Tensor], slices: Sequence[tuple[LayerTensor, int]]
    ) -> list[int]:
        """Return the layers that write the pieces, each into its slice; none if one lacks."""
        left = list(slices)
        used = []
        for piece in pieces:
            found = next((s for s in left if self._writes(piece, *s)), None)
            if found is None:
                return []
            left.remove(found)
            used.append(found[1])
        return used

    def _writes(self, piece: Tensor, declared: LayerTensor, number: int) -> bool:
        """Whether a layer that has the piece, or copies it, writes a slice of its shape."""
        writer = self.wiring.writer.get(piece.name)
        having: Collection[int]
        if writer is None:
            having = self.engine.readers[piece.name]
        else:
            having = self.owners.get(writer) or self.before[writer]
        read = {w for t in self.layers[number].inputs for w in self.engine.writers[t.name]}
        copies = number not in self.taken and not read.isdisjoint(having)
        return fits(declared.shape, piece.shape) and (number in having or copies)

    def _is_read_whole(self, name: str, whole: Tensor) -> bool:
        return (
            any(
                t.name == name and fits(t.shape, whole.shape)
                for number in self.engine.readers[name]
                for t in self.layers[number].inputs
            )
            or name == whole.name
        )

    def _written_in_order(self, node: Node) -> Fate | None:
        """Prove that a Transpose is done by the strides with which its input is written.

        The layer before declares what passes as the Transpose reads it, the one behind as it
        writes it, and their strides differ.
        """
        read, written = one_in_one_out(node, self.wiring)
        before, after = self.before[node.name], self.after[node.name]
        passing = self.engine.read_from(before, after)
        if node.op != "Transpose" or node.domain or not read or not written or len(passing) != 1:
            return None
        made = [t for i in before for t in self.layers[i].outputs if t.name == passing[0]]
        used = [t for i in after for t in self.layers[i].inputs if t.name == passing[0]]
        forms = [read], [written, *self._renamed(node)]
        for declared, ours, others in ((made, *forms), (used, *forms[::-1])):
            if not all(_may_be(t, ours) and not _may_be(t, others) for t in declared):
                return None
        if any(t.strides is None or t.strides == u.strides for t in made for u in used):
            return None
        because = "Its input is written with other strides, in the order that it makes."
        return Fate(node.name, "removed", tuple(sorted(before)), "view", because)

    def _renamed(self, node: Node) -> list[Tensor]:
        """Return what the nodes behind a node write that move nothing, one behind the other."""
        forms: list[Tensor] = []
        while True:
            after = self.wiring.after(node.name)
            behind = self.wiring.nodes[after[0]] if len(after) == 1 else node
            is_later = self.wiring.order[behind.name] > self.wiring.order[node.name]
            if not is_later or not moves_nothing(behind, self.wiring) or not behind.outputs:
                return forms
            tensor = self.wiring.graph.tensors.get(behind.outputs[0])
            forms += [tensor] if tensor else []
            node = behind

    def _renames_only(self, node: Node) -> Fate | None:
        found = moves_nothing(node, self.wiring)
        if found is None:
            return None
        rule, because = found
        written = {n for t in node.outputs for n in self.engine.writers.get(t, ())}
        if written:  # what it gives another name is written under that name
            return Fate(node.name, "in layer", tuple(sorted(written)), "tensors")
        before, after = self.before[node.name], self.after[node.name]
        if self.engine.read_from(before, after):
            because += " The layer behind it reads the very tensor that the one before it writes."
        return Fate(node.name, "removed", tuple(sorted(after)), rule, because)


def _named(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return the graph's nodes by the name that TensorRT knows them by.

    That is the name in the file, which several nodes may share; TensorRT's parser calls a node
    without one ``node_of_`` and its first output (seen: TensorRT-RTX 1.7). A node inside an If or
    a Loop stands for the one that holds it.
    """
    named: dict[str, dict[str, None]] = defaultdict(dict)
    for node in graph.nodes:
        for inner in _with_inner(node):
            name = inner.name if inner.file_name is None else inner.file_name
            if not name and inner.outputs:
                name = f"node_of_{inner.outputs[0]}"
            named[name][node.name] = None
    named.pop("", None)
    return {name: tuple(nodes) for name, nodes in named.items()}


def _with_inner(node: Node) -> Iterator[Node]:
    yield node
    for graph in node.subgraphs.values():
        for inner in graph.nodes:
            yield from _with_inner(inner)


def _is(declared: LayerTensor, tensor: Tensor) -> bool:
    """Whether a layer's tensor can be the graph's, by type and dimensions."""
    return declared.dtype == tensor.dtype and fits(declared.shape, tensor.shape)


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and fits(a.shape, b.shape)


def _may_be(declared: LayerTensor, tensors: Iterable[Tensor]) -> bool:
    """Whether a layer's tensor can be one of the graph's, perhaps with leading axes folded."""
    return any(_is(declared, t) or folds(t.shape, declared.shape) for t in tensors)
