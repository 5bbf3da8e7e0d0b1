"""What was really built: the precision that each layer of a plan computes in, against the request.

TensorRT 11 knows only strongly typed networks, so the types of a layer's tensors tell its math:

=====================  ===================================================================
layer                  its math
=====================  ===================================================================
convolution, product   the type of the data that it reads. INT8 data are multiplied as INT8
                       and summed up in INT32; data of another type than the weights mean
                       that the weights alone are small: the math is in the type of the data.
                       Where a plan of ONNX Runtime does not say that type, it is the
                       weights': ONNX wants both alike
any other              the one floating-point type that it reads or writes: element by element
                       a strongly typed network computes with such numbers only, integers
                       pass a DequantizeLinear first. With none or several it is not said
=====================  ===================================================================

The operations of a convolution or product count where it is computed: not where its input is
brought into shape or its result requantised, though the builder names the node there too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from trtlab.analysis.flops import bits_of, node_costs
from trtlab.analysis.fusion.kinds import ANCHORS, PRODUCT_STEPS
from trtlab.analysis.fusion.names import parse
from trtlab.analysis.shares import (
    Amounts,
    Measure,
    PrecisionShare,
    amounts,
    converting_layers,
    data_layers,
    precision_shares,
    share,
)
from trtlab.model.types import Graph, Node
from trtlab.record import EngineLayer, Fusion, Group, ModelRef
from trtlab.shown import Shown

NO_EFFECT = 0.01
"""With less than this share of the arithmetic in it, a precision was not built. It is ours."""
EATEN = 0.1
"""With more than this share of time, or else of bytes, conversions eat the gain. It is ours."""
_UNSAID = 0.1
"""With more than this share of the arithmetic in layers of which the math is not said, layers are
counted instead. It is ours."""
_MOST_NAMED = 3

_TYPES: Mapping[str, str] = {
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "int8": "int8",
    "qdq": "int8",
    "fp8": "float8_e4m3fn",
    "int4": "int4",
}
"""By part of a recipe the data type that it asks for."""
_ALIKE: Mapping[str, str] = {
    "uint8": "int8",
    "uint4": "int4",
    "float8e4m3fn": "float8_e4m3fn",
}
"""Types that are computed as another one is, or that have two names."""
_LOW = frozenset(_TYPES.values()) - {"float32"}

_RUNTIME_ANCHORS = ANCHORS | {
    "NhwcFusedConv", "MatMulNBits", "DynamicQuantizeMatMul", "MatMulIntegerToFloat",
    "QAttention", "QLinearConvTranspose",
}  # fmt: skip
"""What ONNX Runtime calls a convolution or product in its optimised graphs."""
_COMPUTING = frozenset({"conv chain", "matrix product", "kept 1:1", "opaque"})
"""The families of TensorRT's layers that may do the math of a node they hold."""
_PASSING = frozenset({"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})


@dataclass(frozen=True, slots=True)
class LayerPrecision:
    """The data types of one layer; each tuple without repeats, "" where a type is not said.

    Attributes:
        layer: Its number.
        inputs: Of the data that it reads.
        weights: Of the constants that it holds or reads.
        outputs: Of what it writes.
        math: What it computes in; None where that is not said.
        is_anchor: Whether it computes convolutions or matrix products.
    """

    layer: int
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    outputs: tuple[str, ...]
    math: str | None
    is_anchor: bool


@dataclass(frozen=True, slots=True)
class Stray:
    """A convolution or product that was asked for in one type and is computed in another."""

    node: str
    layer: str
    asked: str
    math: str


@dataclass(frozen=True, slots=True, repr=False)
class BuiltPrecision(Shown):
    """What became of a request for a precision.

    Attributes:
        recipe: As it was asked for, such as ``int8+fp16``.
        asked: The data type of its first part; of ``int8-weights`` that of the weights.
        of_weights: Whether that part asks for small weights alone.
        layers: The layers that handle data.
        shares: These layers by the type of their math, the most first. Their operations count
            where a node is computed.
        whole: All of them.
        in_asked: Those that compute in the type asked for, or hold weights of it.
        anchors: Layers of convolutions and products: how many there are.
        anchors_in_asked: How many of them compute in the type asked for, or hold weights of it.
        strays: Nodes that were asked for in a small type and are computed in another one.
        converting: Layers that do nothing but convert: casts, reformats, lone quantisers.
        wide: Layers that compute in INT8, FP8 or INT4 and write a wider type: the traffic behind
            them is that of the wider one.
        warnings: What of it should be known, in sentences.
    """

    model: ModelRef
    recipe: str
    backend: str
    target: str
    asked: str
    of_weights: bool
    layers: tuple[LayerPrecision, ...]
    shares: tuple[PrecisionShare, ...]
    whole: Amounts
    in_asked: Amounts
    anchors: int
    anchors_in_asked: int
    strays: tuple[Stray, ...]
    converting: Amounts
    wide: Amounts
    warnings: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        what = f"{_name(self.asked)} weights" if self.of_weights else _name(self.asked)
        weighed: tuple[tuple[str, Measure | None], ...] = (
            ("arithmetic (estimated)", "flops"),
            ("bytes (estimated)", "bytes"),
            ("layers (builder)", None),
            ("layer times (measured)", "time"),
        )
        shares = [(label, self.share_by(measure)) for label, measure in weighed]
        return [
            ("asked for", f"{self.recipe}, built by {self.backend} for {self.target}"),
            (
                "convolutions, products",
                f"{self.anchors_in_asked} of {self.anchors} in {what} (builder)",
            ),
            *((f"of {label}", "n/a" if s is None else f"{s:.1%}") for label, s in shares),
            ("only converting", f"{len(self.converting.layers)} of {len(self.layers)} layers"),
            *(("caveat", warning) for warning in self.warnings),
        ]

    def share_by(self, measure: Measure | None) -> float | None:
        """Return the share of the layers in the type asked for; None where it is not known.

        Args:
            measure: By what layers are weighed; None counts them.
        """
        if measure is None:
            return len(self.in_asked.layers) / len(self.whole.layers) if self.layers else None
        if not self.whole.stands_for_all(measure):
            return None
        return share(self.in_asked.of(measure), self.whole.of(measure)) or 0.0

    @property
    def effect(self) -> float | None:
        """Share of the arithmetic in the type asked for, else of convolutions and products.

        Of small weights: layers that hold some, a convolution or product each at the most. None
        where the plan does not tell.
        """
        if self.of_weights:
            if not self.anchors or not any(y.weights for y in self.layers):
                return None
            return min(1.0, len(self.in_asked.layers) / self.anchors)
        unsaid = [one.amounts for one in self.shares if one.dtype is None]
        lost = sum(share(found.flops, self.whole.flops) or 0.0 for found in unsaid)
        by_flops = self.share_by("flops")
        if by_flops is not None and lost < _UNSAID:
            return by_flops
        if not any(y.math for y in self.layers if y.is_anchor):
            return None
        return self.anchors_in_asked / self.anchors


def built_precision(fusion: Fusion, recipe: str) -> BuiltPrecision:
    """Say in which precision the layers of a plan compute, and what became of the request.

    Args:
        fusion: The plan's layers beside the graph that they were built from: the converted one,
            whose types and Q/DQ nodes say what each node was asked for.
        recipe: What was asked for: ``fp16``, ``int8+fp16``, ``qdq``.
    """
    ops = {node.name: node.op for node in fusion.graph.nodes}
    layers = tuple(_layer_precision(fusion, number, ops) for number in data_layers(fusion))
    by_number = {one.layer: one for one in layers}
    places = _places(fusion, by_number)
    placed = _with_math(fusion, by_number, places)
    part = recipe.split("+")[0]
    asked = _TYPES.get(part.removesuffix("-weights"), part)
    of_weights = part.endswith("-weights")

    def has_it(one: LayerPrecision) -> bool:
        return asked in one.weights if of_weights else one.math == asked

    anchors = [one for one in layers if one.is_anchor]
    made = BuiltPrecision(
        model=fusion.model,
        recipe=recipe,
        backend=fusion.backend,
        target=fusion.target,
        asked=asked,
        of_weights=of_weights,
        layers=layers,
        shares=precision_shares(placed),
        whole=amounts(placed, data_layers(placed)),
        in_asked=amounts(placed, [one.layer for one in layers if has_it(one)]),
        anchors=len(anchors),
        anchors_in_asked=sum(has_it(one) for one in anchors),
        strays=_strays(fusion, by_number, places),
        converting=amounts(placed, converting_layers(placed)),
        wide=amounts(placed, [one.layer for one in anchors if _is_wide(one)]),
    )
    return replace(made, warnings=tuple(_warnings(made)))


def _layer_precision(fusion: Fusion, number: int, ops: Mapping[str, str]) -> LayerPrecision:
    layer, group = fusion.layers[number], fusion.groups[number]
    held = (*(t for t in layer.inputs if t.is_constant), *layer.constants)
    read = _distinct(t.dtype for t in layer.inputs if not t.is_constant)
    written = _distinct(t.dtype for t in layer.outputs)
    if _by_runtime(fusion):
        is_anchor = layer.type in _RUNTIME_ANCHORS
    else:
        is_anchor = _computes_product(layer, group, ops)
    return LayerPrecision(
        layer=number,
        inputs=read,
        weights=_distinct(t.dtype for t in held),
        outputs=written,
        math=_anchor_math(fusion, layer) if is_anchor else _other_math(read, written),
        is_anchor=is_anchor,
    )


def _computes_product(layer: EngineLayer, group: Group, ops: Mapping[str, str]) -> bool:
    """Whether a layer of TensorRT computes a convolution or product that it holds.

    Where Myelin's name for it tells its steps, one of them has to be a product.
    """
    if group.family not in _COMPUTING or not any(ops.get(n) in ANCHORS for n in group.nodes):
        return False
    steps = set(parse(layer.name).operations)
    return not steps or not steps.isdisjoint(PRODUCT_STEPS)


def _distinct(types: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_ALIKE.get(t or "", t or "") for t in types))


def _by_runtime(fusion: Fusion) -> bool:
    return fusion.backend == "ONNX Runtime"


def _anchor_math(fusion: Fusion, layer: EngineLayer) -> str | None:
    data = next((t.dtype for t in layer.inputs if not t.is_constant), None)
    if data is None and _by_runtime(fusion):
        # A scale stands before the weights there; of the constants only they have several axes.
        several = [t for t in layer.inputs if t.is_constant and len(t.shape or ()) > 1]
        data = next((t.dtype for t in several), None)
    return None if data is None else _ALIKE.get(data, data)


def _other_math(read: tuple[str, ...], written: tuple[str, ...]) -> str | None:
    floats = {t for t in (*read, *written) if "float" in t}
    return floats.pop() if len(floats) == 1 and "" not in (*read, *written) else None


def _is_wide(one: LayerPrecision) -> bool:
    width = bits_of(one.math)
    if width is None or width > 8:
        return False
    return any((bits_of(t) or 0) > 8 for t in one.outputs)


def _with_math(
    fusion: Fusion, layers: Mapping[int, LayerPrecision], places: Mapping[str, int]
) -> Fusion:
    """Return the fusion with each layer's math as its precision, and operations at their place.

    A layer that holds the operations of a node computed elsewhere, it is not known where, has no
    precision.
    """
    math = {number: one.math for number, one in layers.items()}
    flops = {number: group.flops for number, group in enumerate(fusion.groups)}
    ops = {node.name: node.op for node in fusion.graph.nodes}
    costs = {cost.node: cost.flops for cost in node_costs(fusion.graph, fusion.sizes)}
    for node, owners in _owners(fusion).items():
        if ops.get(node) not in ANCHORS:
            continue
        place, cost = places.get(node), costs[node]
        if place is None:
            math[owners[0]] = None
        elif place != owners[0] and cost is not None:
            before, there = flops[owners[0]], flops[place]
            flops[owners[0]] = None if before is None else before - cost
            flops[place] = None if there is None else there + cost
    groups = tuple(
        replace(group, flops=flops[number], precision=math.get(number))
        for number, group in enumerate(fusion.groups)
    )
    return replace(fusion, groups=groups)


def _owners(fusion: Fusion) -> dict[str, list[int]]:
    owners: dict[str, list[int]] = defaultdict(list)
    for edge in fusion.edges:
        owners[edge.node].append(edge.layer)
    return owners


def _places(fusion: Fusion, layers: Mapping[int, LayerPrecision]) -> dict[str, int]:
    """Return for convolutions and products the layer that computes each, where it is known.

    Of ONNX Runtime's fused layers some have no node, and the layer behind them has it. What all
    that lie between agree on is then known: the node is placed in the first of them.
    """
    owners = _owners(fusion)
    writers = {t.name: n for n, layer in enumerate(fusion.layers) for t in layer.outputs}
    found = {}
    for node in fusion.graph.nodes:
        if node.op not in ANCHORS or not owners.get(node.name):
            continue
        computing = [n for n in owners[node.name] if n in layers and layers[n].is_anchor]
        if not computing:
            behind = _unnamed_before(fusion, owners[node.name], writers)
            computing = [n for n in behind if n in layers and layers[n].is_anchor]
            if len({layers[n].math for n in computing}) > 1:
                continue
        if computing:
            found[node.name] = computing[0]
    return found


def _unnamed_before(
    fusion: Fusion, layers: Collection[int], writers: Mapping[str, int]
) -> list[int]:
    """Return the layers without nodes that lead to these, in the plan's order."""
    found: set[int] = set()
    waiting = list(layers)
    while waiting:
        read = (t.name for t in fusion.layers[waiting.pop()].inputs if not t.is_constant)
        before = {writers[name] for name in read if name in writers} - found
        new = [n for n in before if not fusion.groups[n].nodes]
        found.update(new)
        waiting += new
    return sorted(found)


def _strays(
    fusion: Fusion, layers: Mapping[int, LayerPrecision], places: Mapping[str, int]
) -> tuple[Stray, ...]:
    writers = {name: node for node in fusion.graph.nodes for name in node.outputs}
    found = []
    for node in fusion.graph.nodes:
        asked = _asked_of(node, fusion.graph, writers) if node.name in places else None
        if asked is None or asked not in _LOW:
            continue
        math = layers[places[node.name]].math
        if math is not None and math != asked:
            name = fusion.layers[places[node.name]].name
            found.append(Stray(node.name, name, asked, math))
    return tuple(found)


def _asked_of(node: Node, graph: Graph, writers: Mapping[str, Node]) -> str | None:
    """Return the type that a convolution or product is to compute in, by the types that it reads.

    Data of a floating-point type beside small weights are asked for in their own type.
    """
    types = [_stored(name, graph, writers) for name in node.inputs[:2] if name]
    return types[0] if types else None


def _stored(name: str, graph: Graph, writers: Mapping[str, Node]) -> str | None:
    """Return a tensor's type; behind a DequantizeLinear that of what it reads."""
    seen: set[str] = set()
    while name in writers and name not in seen and writers[name].inputs:
        seen.add(name)
        writer = writers[name]
        if writer.op not in _PASSING | {"DequantizeLinear"}:
            break
        name = writer.inputs[0]
        if writer.op == "DequantizeLinear":
            break
    tensor = graph.tensors.get(name)
    dtype = tensor.dtype if tensor else None
    return None if dtype is None else _ALIKE.get(dtype, dtype)


def _warnings(made: BuiltPrecision) -> Iterable[str]:
    name, effect = _name(made.asked), made.effect
    is_vain = made.asked != "float32" and effect is not None and effect < NO_EFFECT
    widening = len(made.in_asked.layers) - made.anchors_in_asked
    if is_vain:
        what = f"{made.anchors_in_asked} of {made.anchors} convolutions and products compute in"
        if made.of_weights:
            what = "no layer holds weights in"
        yield f"{made.recipe.upper()} had no effect: {what} {name}."
    elif made.of_weights and widening > made.anchors_in_asked:
        yield (
            f"Layers with {name} weights that only widen them for others: {widening} of "
            f"{len(made.in_asked.layers)}. Weights are small in the plan, not where they are "
            "multiplied."
        )
    for part in made.recipe.split("+")[1:]:
        other = _TYPES.get(part, part)
        types = {t for y in made.layers for t in (*y.inputs, *y.outputs)} - {""}
        if types and other not in types:
            yield f"{part.upper()} had no effect: no layer reads or writes {_name(other)}."
    by_types: dict[tuple[str, str], list[str]] = defaultdict(list)
    for stray in made.strays:
        by_types[stray.asked, stray.math].append(stray.node)
    for (asked, math), nodes in by_types.items():
        if is_vain and asked == made.asked:
            continue
        yield (
            f"Nodes that were asked for in {_name(asked)} and run in {_name(math)}: {len(nodes)} "
            f"of {made.anchors}, {_few(nodes)}."
        )
    part_of, of = _eaten(made)
    if part_of is not None and part_of > EATEN:
        yield (
            f"Layers that only convert data: {len(made.converting.layers)}, with "
            f"{100 * part_of:.0f} % of the {of}. They eat from the gain."
        )
    small = [y for y in made.layers if y.is_anchor and (bits_of(y.math) or 99) <= 8]
    if small and len(made.wide.layers) > len(small) / 2:
        wider = sorted({_name(t) for y in small for t in y.outputs if (bits_of(t) or 0) > 8})
        yield (
            f"Layers that compute in 8 bits or less and write {' or '.join(wider)}: "
            f"{len(made.wide.layers)} of {len(small)}. Their results are moved as such."
        )


def _eaten(made: BuiltPrecision) -> tuple[float | None, str]:
    """Return the share that conversions take, and of what: of the time, else of the bytes."""
    measures: tuple[Measure, ...] = ("time", "bytes")
    for measure in measures:
        if made.whole.stands_for_all(measure) and made.converting.layers:
            part = share(made.converting.of(measure), made.whole.of(measure))
            return part, {"time": "layers' time (measured)"}.get(measure, "bytes (estimated)")
    return None, ""


def _name(dtype: str) -> str:
    """``FP16`` for ``float16``."""
    return next((name.upper() for name, of in _TYPES.items() if of == dtype), dtype)


def _few(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return shown + (f" and {more} more" if more > 0 else "")
