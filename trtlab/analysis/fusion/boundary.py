"""Does a group fit its layer? The tensors at its border against those that the layer declares.

A wrong map shows at the border: a node too many or too few changes which tensors cross it. For
each layer with nodes the tensors that cross in the ONNX graph must be, as a multiset of data type
and dimensions, those that the layer declares. Constants do not count. No more than this may
differ:

==============  ===================================================================================
rule            what it allows
==============  ===================================================================================
same            nothing: type and dimensions agree, a dynamic one with any
ones            dimensions of 1 more or fewer
folded          leading dimensions folded into one (a product works on a matrix)
one image       the two axes of an image as one, where the layer's type or name says that it works
                on matrices or reshapes (a 1x1 convolution as a product)
reshaped        as many elements in other dimensions, where a Reshape, Transpose or another node
                that gives data other dimensions stands at that border
merged          one tensor written for several siblings that were merged side by side
several layers  a node in several layers: what passes between these need not be in the graph, and
                what the node reads and writes may belong to any of them
more channels   a small type's image with channels added, as its convolution wants them
wider           a half type kept as float32
other sign      an int8 kept as uint8, with its zero point moved (ONNX Runtime)
constant        a layer may read what another makes of constants alone
repeated        a layer may name one input several times
output          a layer may write a graph output that is made elsewhere, as a copy
==============  ===================================================================================
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trtlab.analysis.fusion.kinds import is_small
from trtlab.analysis.fusion.names import parse
from trtlab.analysis.fusion.wiring import (
    LayerWiring,
    Wiring,
    elements,
    fits,
    folds,
    no_ones,
    numbers,
)
from trtlab.model.types import Dim, Tensor
from trtlab.record import EngineLayer, Fate, Fusion, LayerTensor


@dataclass(frozen=True, slots=True)
class Border:
    """One layer's border.

    Attributes:
        layer: Its number.
        missing: Tensors that cross the group's border and that the layer does not declare.
        extra: Tensors that the layer declares and that do not cross.
    """

    layer: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether group and layer agree."""
        return not self.missing and not self.extra


@dataclass(slots=True)
class _Crossing:
    """A tensor of the graph that crosses a border.

    ``forms`` are its own dimensions and those behind each node without a layer that it passes.
    """

    name: str
    dtype: str | None
    forms: list[tuple[Dim, ...] | None]
    reshaped: bool = False
    optional: bool = False
    is_matrix: bool = False


_FORMS = 8
"""Names that one tensor has on its way through nodes that move nothing, looked at at most."""
_RESHAPING = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "DepthToSpace", "SpaceToDepth"}
)


def borders(fusion: Fusion) -> tuple[Border, ...]:
    """Check every layer with nodes and declared tensors; opaque regions are left out."""
    return _Borders(fusion).all()


class _Borders:
    def __init__(self, fusion: Fusion) -> None:
        self.fusion = fusion
        self.wiring = Wiring(fusion.graph)
        self.engine = LayerWiring(fusion.layers)
        self.constant = _made_of_constants(fusion.layers)
        self.fates: Mapping[str, Fate] = {fate.node: fate for fate in fusion.fates}
        self.held: dict[int, set[str]] = defaultdict(set)
        self.owners: dict[str, set[int]] = defaultdict(set)
        for edge in fusion.edges:
            self.held[edge.layer].add(edge.node)
            self.owners[edge.node].add(edge.layer)
        # ONNX Runtime lays tensors out for its INT8 convolutions by a Transpose of its own.
        self.laid_out = {
            layer.outputs[0].name: layer.inputs[0]
            for number, layer in enumerate(fusion.layers)
            if layer.type == "Transpose" and not self.held.get(number)
            and layer.inputs and layer.outputs
        }  # fmt: skip

    def all(self) -> tuple[Border, ...]:
        return tuple(
            self._of(number)
            for number, layer in enumerate(self.fusion.layers)
            if self.held.get(number)
            and self.fusion.groups[number].family != "opaque"
            and (layer.inputs or layer.outputs)
        )

    def _of(self, number: int) -> Border:
        layer = self.fusion.layers[number]
        declared = [self.laid_out.get(t.name, t) for t in layer.inputs if not t.is_constant]
        reads = {(t.name, t.shape): t for t in declared if t.name not in self.constant}
        writes = {(t.name, t.shape): t for t in layer.outputs}
        entering, leaving = self._entering(number), self._leaving(number)
        for crossing in (*entering, *leaving):
            crossing.is_matrix = _works_on_matrices(layer)
        missing_in, extra_in = _match(entering, list(reads.values()))
        missing_out, extra_out = _match(leaving, list(writes.values()))
        allowed = {*self._between_sharers(number), *self.wiring.graph.outputs}
        extra = (name for name in (*extra_in, *extra_out) if name not in allowed)
        return Border(number, (*missing_in, *missing_out), tuple(extra))

    def _between_sharers(self, number: int) -> set[str]:
        """Return the engine's tensors between a layer and those that share a node with it."""
        sharers = {o for node in self.held[number] for o in self.owners[node]} - {number}
        if not sharers:
            return set()
        return {
            *self.engine.read_from([number], sharers),
            *self.engine.read_from(sharers, [number]),
        }

    def _entering(self, number: int) -> list[_Crossing]:
        nodes = self.held[number]
        found: dict[str, _Crossing] = {}
        for node in sorted(nodes, key=self.wiring.order.__getitem__):
            for tensor in self.wiring.data_inputs(node):
                passed, through = self._back(tensor)
                if self.wiring.writer.get(passed[-1]) in nodes:
                    continue
                crossing = self._crossing(found, passed)
                ops = {self.wiring.nodes[n].op for n in (node, *through)}
                crossing.reshaped |= not _RESHAPING.isdisjoint(ops)
                crossing.optional |= len(self.owners[node]) > 1
        return list(found.values())

    def _back(self, tensor: str) -> tuple[list[str], list[str]]:
        """Follow a tensor back through nodes that move nothing; return tensors and nodes."""
        passed = {tensor: ""}
        while True:
            last = next(reversed(passed))
            node = self.wiring.writer.get(last)
            before = self.wiring.data_inputs(node)[0] if node and self._moves_nothing(node) else ""
            if not node or not before or before in passed:  # a cycle has no beginning
                return list(passed), [n for n in passed.values() if n]
            passed[before] = node

    def _moves_nothing(self, node: str) -> bool:
        fate = self.fates[node]
        is_removed = fate.state == "removed" and fate.rule in ("view", "identity")
        return is_removed and len(self.wiring.data_inputs(node)) == 1

    def _leaving(self, number: int) -> list[_Crossing]:
        nodes = self.held[number]
        found: dict[str, _Crossing] = {}
        for node in sorted(nodes, key=self.wiring.order.__getitem__):
            for tensor in filter(None, self.wiring.nodes[node].outputs):
                ends = self._ends(tensor, number)
                if not ends:
                    continue
                passed = [tensor, *(t for _, ways in ends for t in ways)]
                crossing = self._crossing(found, passed, name=tensor)
                ops = {self.wiring.nodes[node].op}
                ops |= {self.wiring.nodes[n].op for n in self.wiring.after(node)
                        if self._moves_nothing(n)}  # fmt: skip
                crossing.reshaped |= not _RESHAPING.isdisjoint(ops)
                crossing.optional |= len(self.owners[node]) > 1 or all(o for o, _ in ends)
        return list(found.values())

    def _ends(self, tensor: str, number: int) -> list[tuple[bool, list[str]]]:
        """Return for each reader outside whether that is uncertain, and the forms on the way."""
        ends: list[tuple[bool, list[str]]] = []
        waiting: list[tuple[str, list[str]]] = [(tensor, [])]
        seen = {tensor}
        while waiting:
            name, forms = waiting.pop()
            if name in self.wiring.graph.outputs:
                ends.append((False, forms))
            for reader in self.wiring.readers.get(name, ()):
                owners = self.owners[reader]
                output = next(iter(self.wiring.nodes[reader].outputs), "")
                if self._moves_nothing(reader):
                    if output not in seen:
                        seen.add(output)
                        waiting.append((output, [*forms[:_FORMS], output]))
                elif reader in self.wiring.folded or reader in self.wiring.shape_only:
                    continue
                elif number not in owners:
                    ends.append((False, forms))
                elif len(owners) > 1:
                    ends.append((True, forms))
        return ends

    def _crossing(
        self, found: dict[str, _Crossing], passed: Sequence[str], name: str = ""
    ) -> _Crossing:
        tensors = [self.fusion.graph.tensors.get(t) or Tensor(t, None, None) for t in passed]
        key = name or passed[-1]
        crossing = found.setdefault(key, _Crossing(key, tensors[0].dtype, []))
        crossing.forms += [tensor.shape for tensor in tensors]
        return crossing


_Rule = Callable[[_Crossing, LayerTensor], bool]


def _match(crossing: list[_Crossing], declared: list[LayerTensor]) -> tuple[list[str], list[str]]:
    """Pair both, strictest rule first; return what is left of each by name."""
    rules: tuple[_Rule, ...] = (
        _same, _ones, _folded, _one_image, _reshaped, _more_channels, _wider, _other_sign,
    )  # fmt: skip
    for rule in rules:
        for tensor in list(declared):
            partner = next((c for c in crossing if rule(c, tensor)), None)
            if partner is not None:
                crossing.remove(partner)
                declared.remove(tensor)
    for tensor in list(declared):
        siblings = _merged(crossing, tensor)
        if siblings:
            crossing = [c for c in crossing if c not in siblings]
            declared.remove(tensor)
    return [c.name for c in crossing if not c.optional], [t.name for t in declared]


def _made_of_constants(layers: Iterable[EngineLayer]) -> set[str]:
    """Return the tensors that depend on nothing that a run brings, where layers are in order."""
    found: set[str] = set()
    for layer in layers:
        if layer.inputs and all(t.is_constant or t.name in found for t in layer.inputs):
            found.update(t.name for t in layer.outputs)
    return found


def _works_on_matrices(layer: EngineLayer) -> bool:
    return layer.type == "gemm" or not {"Fc", "Resh"}.isdisjoint(parse(layer.name).operations)


def _typed(c: _Crossing, t: LayerTensor) -> bool:
    return c.dtype is None or t.dtype is None or c.dtype == t.dtype


def _same(c: _Crossing, t: LayerTensor) -> bool:
    return _typed(c, t) and any(f is None or t.shape is None or fits(f, t.shape) for f in c.forms)


def _ones(c: _Crossing, t: LayerTensor) -> bool:
    return _typed(c, t) and any(fits(no_ones(f), no_ones(t.shape)) for f in c.forms)


def _folded(c: _Crossing, t: LayerTensor) -> bool:
    return _typed(c, t) and any(folds(form, t.shape) for form in c.forms)


def _one_image(c: _Crossing, t: LayerTensor) -> bool:
    if not c.is_matrix or not _typed(c, t) or t.shape is None or len(t.shape) != 3:
        return False
    return any(
        form is not None
        and len(form) == 4
        and fits(form[:2], t.shape[:2])
        and elements(form[2:]) in (elements(t.shape[2:]), None)
        for form in c.forms
    )


def _more_channels(c: _Crossing, t: LayerTensor) -> bool:
    if t.dtype is None or c.dtype != t.dtype or not is_small(t.dtype) or t.shape is None:
        return False
    return any(_has_more_channels(form, t.shape) for form in c.forms)


def _has_more_channels(form: Sequence[Dim] | None, shape: Sequence[Dim]) -> bool:
    if form is None or len(form) != 4 or len(shape) != 4:
        return False
    few, many = form[1], shape[1]
    same = fits((form[0], *form[2:]), (shape[0], *shape[2:]))
    return same and isinstance(few, int) and isinstance(many, int) and few < many


def _wider(c: _Crossing, t: LayerTensor) -> bool:
    if c.dtype not in ("float16", "bfloat16") or t.dtype != "float32":
        return False
    kept = replace(t, dtype=c.dtype)
    return _same(c, kept) or _ones(c, kept) or _folded(c, kept) or _one_image(c, kept)


def _other_sign(c: _Crossing, t: LayerTensor) -> bool:
    return c.dtype == "int8" and t.dtype == "uint8" and _same(c, replace(t, dtype="int8"))


def _reshaped(c: _Crossing, t: LayerTensor) -> bool:
    if not c.reshaped or not _typed(c, t) or t.shape is None:
        return False
    return any(form is not None and _as_many(form, t.shape) for form in c.forms)


def _as_many(form: Sequence[Dim], shape: Sequence[Dim]) -> bool:
    one, two = elements(form), elements(shape)
    if one is not None and two is not None:
        return one == two
    # A dynamic dimension may have taken others in.
    return numbers(form) % max(numbers(shape), 1) == 0


def _merged(crossing: Sequence[_Crossing], t: LayerTensor) -> list[_Crossing]:
    """Return several crossings that lie side by side in one declared tensor."""
    if t.shape is None or len(crossing) < 2:
        return []
    for axis, size in enumerate(t.shape):
        for together in (list(crossing), [c for c in crossing if not c.optional]):
            slices = [_slice_of(c, t, axis) for c in together]
            sizes = [s for s in slices if s is not None]
            if len(sizes) == len(together) > 1 and sum(sizes) == size:
                return together
    return []


def _slice_of(c: _Crossing, t: LayerTensor, axis: int) -> int | None:
    """Return the size along an axis that a crossing has as a slice of a declared tensor."""
    shape = t.shape or ()
    for form in c.forms:
        tail = len(shape) - axis
        size = form[-tail] if form is not None and len(form) >= tail else None
        if not isinstance(size, int) or not _typed(c, t):
            continue
        cut = (*shape[:axis], size, *shape[axis + 1 :])
        if fits(form, cut) or folds(form, cut):
            return size
    return None
