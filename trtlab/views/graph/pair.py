"""Two engines as one picture: A's layers on the left, B's on the right, brought together by sets.

A's layers stand where a graph's nodes do, so everything that draws a fusion draws this too. The
layers of a set that both sides have share a box at the first of B's; B's others have their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from trtlab.analysis.engines.align import align
from trtlab.model.types import Graph, Node
from trtlab.record import (
    Edge,
    EngineComparison,
    EngineLayer,
    Family,
    Fate,
    Fusion,
    Group,
    LayerTensor,
    Match,
    MatchKind,
)
from trtlab.units import N_A
from trtlab.views.graph.colour_by import colour_modes, precision_name, time_origin, time_reason
from trtlab.views.graph.labels import middle_cut
from trtlab.views.graph.scene import layer_columns, listed, plural, scene

_LONGEST_LIST = 400
_SENTENCES: Mapping[MatchKind, str] = {
    "same": "Both engines run the same nodes in layers that are cut alike.",
    "other nodes": "Both engines are cut alike here, but one runs nodes that the other does not.",
    "together in A, apart in B": "A runs in one layer what B runs in several.",
    "together in B, apart in A": "B runs in one layer what A runs in several.",
    "cut differently": "Both engines cut the same part in several layers, in other places.",
    "alike": "One layer of each: of one kind and dimensions, at the same place of their order.",
    "only in A": "B has no layer for this.",
    "only in B": "A has no layer for this.",
    "no node": "The builder added these layers: they have no partners one by one.",
}
_COLOURS: Mapping[str, str] = {
    "same": "kept 1:1",
    "alike": "kept 1:1",
    "other nodes": "not named",
    "together in A, apart in B": "conv chain",
    "together in B, apart in A": "matrix product",
    "cut differently": "pointwise chain",
    "only in A": "removed",
    "only in B": "removed",
}
"""By kind of set the family whose colour it has; layers without nodes have that of their own."""


def pair_scene(a: Fusion, b: Fusion) -> dict[str, Any]:
    """Return what a page needs to draw two engines side by side; ``a`` stands on the left.

    It is the dict of ``scene``, with ``sets``: what is said of every set of the comparison.

    Raises:
        MismatchError: the engines have too many layers to be aligned without a graph.
    """
    whole_a, whole_b, whole = a, b, align(a, b)
    a, b = _without_order(a), _without_order(b)
    compared = align(a, b)
    names = unique_names(a.layers)
    made = scene(_paired(a, b, compared, names))
    side_a, side_b = layer_columns(a), layer_columns(b)
    set_of_a = {n: at for at, match in enumerate(compared.matches) for n in match.layers_a}
    set_of_b = {n: at for at, match in enumerate(compared.matches) for n in match.layers_b}
    of_a = [compared.matches[set_of_a[n]] for n in range(len(a.layers))]
    made["nodes"] |= {
        "label": side_a["title"],
        "sub": [middle_cut(layer.type, 24) for layer in a.layers],
        "state": [_word(match) for match in of_a],
        "set": [set_of_a[n] for n in range(len(a.layers))],
        "facts": side_a["facts"],
    }
    made["layers"] |= {
        "lines": side_b["lines"],
        "set": [set_of_b[n] for n in range(len(b.layers))],
        "facts": side_b["facts"],
    }
    boxes = made["boxes"]
    boxes["title"] = [of_a[held[0]].kind if held else "" for held in boxes["nodes"]]
    without = ", aligned without a graph" if compared.aligned == "without a graph" else ""
    return made | {
        "title": pair_title(a, b) + without,
        "maker": f"A: {a.backend} for {a.target}, B: {b.backend} for {b.target}",
        "recorded": "recorded" in (a.source, b.source, a.time_source, b.time_source),
        "summary": [["engines", ""], *(list(row) for row in whole.rows())],
        "sides": ["A", "B"],
        "panes": ["A", "Both", "B"],
        "search": "layer or type",
        "heads": [f"A: {_layers_text(whole_a, whole_b)}", f"B: {_layers_text(whole_b, whole_a)}"],
        "note": _note(
            compared,
            len(whole_a.layers) - len(a.layers),
            len(whole_b.layers) - len(b.layers),
            undrawn=made["nodes"]["box"].count(-1),
        ),
        "sets": [_set(a, b, match) for match in compared.matches],
        "modes": _modes(a, b, compared),
    }


def _without_order(fusion: Fusion) -> Fusion:
    """Leave out the layers that only keep order: without tensors A's have no place to stand."""
    kept = [n for n, group in enumerate(fusion.groups) if group.family != "sync, shape"]
    number = {old: new for new, old in enumerate(kept)}
    return replace(
        fusion,
        layers=tuple(fusion.layers[n] for n in kept),
        groups=tuple(fusion.groups[n] for n in kept),
        edges=tuple(replace(e, layer=number[e.layer]) for e in fusion.edges if e.layer in number),
        fates=tuple(
            replace(fate, layers=tuple(number[n] for n in fate.layers if n in number))
            for fate in fusion.fates
        ),
    )


def pair_title(a: Fusion, b: Fusion) -> str:
    """``squeezenet: tensorrt_rtx against onnxruntime``, or the names of two models."""
    if a.model.name != b.model.name:
        return f"{middle_cut(a.model.name)} against {middle_cut(b.model.name)}"
    both = (f"{fusion.backend} for {fusion.target}" for fusion in (a, b))
    return f"{middle_cut(a.model.name)}: {' against '.join(both)}"


def _layers_text(fusion: Fusion, other: Fusion) -> str:
    """How many layers of what: of another model than the other side's, or by whom."""
    one_model = fusion.model.name == other.model.name
    what = f"by {fusion.backend}" if one_model else f"of {middle_cut(fusion.model.name)}"
    return f"{plural(len(fusion.layers), 'layer')} {what} for {fusion.target}"


def _note(compared: EngineComparison, order_a: int, order_b: int, undrawn: int) -> str:
    notes = ["aligned without a graph"] if compared.aligned == "without a graph" else []
    if order_a or order_b:
        notes.append(f"not drawn: layers that only keep order, {order_a} in A and {order_b} in B")
    if undrawn:
        notes.append(f"not drawn in A: {plural(undrawn, 'layer')} without tensors")
    return "; ".join(notes)


def unique_names(layers: Iterable[EngineLayer]) -> list[str]:
    """Names of layers; the second of a name ends in ``#2``."""
    seen: Counter[str] = Counter()
    names = []
    for layer in layers:
        seen[layer.name] += 1
        copy = f"#{seen[layer.name]}" if seen[layer.name] > 1 else ""
        names.append(layer.name + copy)
    return names


def _paired(a: Fusion, b: Fusion, compared: EngineComparison, names: Sequence[str]) -> Fusion:
    """Return B as what A's layers became: only places and wires are taken from it."""
    groups = list(b.groups)
    homes: dict[int, int] = {}
    for match in compared.matches:
        linked = match.kind != "no node"
        for at, n in enumerate(match.layers_b):
            held = [names[i] for i in match.layers_a] if linked and not at else []
            groups[n] = replace(groups[n], tag=match.tag if linked else "", nodes=tuple(held))
        if linked and match.layers_b:
            homes |= dict.fromkeys(match.layers_a, match.layers_b[0])
    return replace(
        b,
        graph=_graph_of(a, names),
        graph_source="model",
        layers=_with_ends_of(a, b),
        groups=tuple(groups),
        edges=tuple(Edge(names[n], layer, "metadata") for n, layer in homes.items()),
        fates=tuple(
            Fate(name, "in layer" if n in homes else "removed", (), "none")
            for n, name in enumerate(names)
        ),
        explanations={},
    )


def _graph_of(fusion: Fusion, names: Sequence[str]) -> Graph:
    """Return layers as a graph's nodes.

    Several layers may each write a slice of one tensor: each slice is a tensor of its own here,
    and a later layer reads all that were written before it.
    """
    slices: dict[str, list[str]] = {}
    nodes = []
    for name, layer in zip(names, fusion.layers, strict=True):
        read = [
            one for t in layer.inputs if not t.is_constant for one in slices.get(t.name, [t.name])
        ]
        written = []
        for tensor in layer.outputs:
            parts = slices.setdefault(tensor.name, [])
            parts.append(f"{tensor.name}#{len(parts) + 1}" if parts else tensor.name)
            written.append(parts[-1])
        nodes.append(Node(name, layer.type, tuple(dict.fromkeys(read)), tuple(written)))
    graph = fusion.graph
    return Graph(graph.name, tuple(nodes), graph.tensors, graph.inputs, graph.outputs)


def _with_ends_of(a: Fusion, b: Fusion) -> tuple[EngineLayer, ...]:
    """Return B's layers with A's names for the network's inputs and outputs."""
    ends_a, ends_b = a.graph.inputs + a.graph.outputs, b.graph.inputs + b.graph.outputs
    if len(ends_a) != len(ends_b):
        return b.layers
    name_in_a = dict(zip(ends_b, ends_a, strict=True))

    def renamed(tensors: Iterable[LayerTensor]) -> tuple[LayerTensor, ...]:
        return tuple(replace(t, name=name_in_a.get(t.name, t.name)) for t in tensors)

    return tuple(
        replace(layer, inputs=renamed(layer.inputs), outputs=renamed(layer.outputs))
        for layer in b.layers
    )


def _word(match: Match) -> str:
    """The kind of a set; of layers without nodes what they are."""
    return match.family or match.kind


def _set(a: Fusion, b: Fusion, match: Match) -> dict[str, Any]:
    """What the card and the table say of a set."""
    precision = _precision(match)
    time, origin = _time(a, b, match)
    held = {"ONNX nodes": match.nodes, "Only in A": match.only_a, "Only in B": match.only_b}
    facts = [
        [label, f"{len(names)}: {listed(list(names), longest=60)}", ""]
        for label, names in held.items()
        if names
    ]
    nodes = (*match.nodes, *match.only_a, *match.only_b)
    names_a = [a.layers[n].name for n in match.layers_a]
    names_b = [b.layers[n].name for n in match.layers_b]
    if precision:
        facts.append(["Precision", precision, "builder"])
    facts.append(["Time A → B", time, origin])
    return {
        "tag": match.tag,
        "title": f"{match.tag}: {plural(len(names_a), 'layer')} in A, {len(names_b):,} in B",
        "kind": _word(match),
        "cut": match.cut_text(),
        "linked": match.kind != "no node",
        "text": _SENTENCES[match.kind],
        "nodes": list(match.layers_a),
        "layers": list(match.layers_b),
        "row": [
            *(middle_cut(", ".join(names), _LONGEST_LIST) for names in (nodes, names_a, names_b)),
            precision,
            time,
        ],
        "precision": precision,
        "changed": int(match.precision_changed),
        "facts": facts,
    }


def _precision(match: Match) -> str:
    """``FP32 → FP16``, or one type where both have it, or which side alone tells its own."""
    one, other = (
        " + ".join(precision_name(p) for p in side)
        for side in (match.precision_a, match.precision_b)
    )
    if match.precision_changed:
        return f"{one} → {other}"
    if one and other:
        return one
    return f"{one} in A" if one else f"{other} in B" if other else ""


def _time(a: Fusion, b: Fusion, match: Match) -> tuple[str, str]:
    """The times of a set and their provenance, or why there are none."""
    if match.time.a_ms is None and match.time.b_ms is None:
        return (time_reason(b) if a.time_kind else time_reason(a)), ""
    return match.time.text(), time_origin(a if b.time_source == "here" else b)


def _modes(a: Fusion, b: Fusion, compared: EngineComparison) -> list[dict[str, Any]]:
    """Ways to colour the layers of both sides on one scale; ``nodes`` are the values of A's."""
    count = len(a.layers)
    common = compared.time_kind
    groups: Iterable[Group] = (*a.groups, *b.groups)
    if common is None:
        groups = (replace(group, time_ms=None, time_share=None) for group in groups)
    both = replace(
        b,
        layers=(*a.layers, *b.layers),
        groups=tuple(groups),
        fates=(),
        time_kind=common,
        source=a.source if b.source == "here" else b.source,
    )
    modes = [_kinds(compared, len(a.layers), len(b.layers)), *colour_modes(both)[1:]]
    for mode in modes:
        if "reason" in mode:
            if mode["id"] in ("share", "time") and (a.time_kind or b.time_kind):
                mode["reason"] = f"{N_A}: not timed in the same way on both sides"
            continue
        held, key = (mode["classes"], "of") if "classes" in mode else (mode, "shares")
        mode["nodes"], held[key] = held[key][:count], held[key][count:]
        mode["node_texts"], mode["texts"] = mode["texts"][:count], mode["texts"][count:]
    return modes


def _kinds(compared: EngineComparison, count_a: int, count_b: int) -> dict[str, Any]:
    keys = [*_COLOURS, *get_args(Family)]
    of = [0] * (count_a + count_b)
    found: Counter[str] = Counter()
    for match in compared.matches:
        numbers = [*match.layers_a, *(count_a + n for n in match.layers_b)]
        found[_word(match)] += 1 if match.kind != "no node" else len(numbers)
        for n in numbers:
            of[n] = keys.index(_word(match))
    labels = {family: f"{family} (layers)" for family in get_args(Family)}
    return {
        "id": "kind",
        "name": "kind of match",
        "classes": {"keys": keys, "of": of},
        "colours": dict(_COLOURS),
        "legend": [[key, labels.get(key, key), found[key]] for key in keys if found[key]],
        "texts": [""] * len(of),
        "origin": "",
    }
