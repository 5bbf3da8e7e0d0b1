"""A fusion as one plain dict that a page draws: places, texts and values, safe as JSON.

Everything is worked out here; the page only scales, colours and cuts texts to their boxes. Tables
are columns, so that the dict stays small.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trtlab.analysis.fusion.wiring import inputs_of
from trtlab.model.types import Tensor
from trtlab.record import TIME_WORDS, EngineLayer, Fate, Fusion, Group, LayerTensor
from trtlab.units import N_A, text_from_bytes, text_from_ms, text_from_shape
from trtlab.views.graph.blocks import Rank, find_blocks
from trtlab.views.graph.boxes import Wire
from trtlab.views.graph.colour_by import (
    colour_modes,
    precision_name,
    share_text,
    time_origin,
    time_reason,
)
from trtlab.views.graph.labels import (
    common_start,
    data_format,
    group_title,
    layer_title,
    middle_cut,
    node_title,
    operator,
    short_operator,
    title_inside,
)
from trtlab.views.graph.sides import Side, Sides, arrange

FOLDED_FROM = 60
"""Boxes above which blocks are drawn as bars at first."""
BLOCKS_FROM = 24
"""Boxes above which blocks are marked at all."""
NOTES_UNTIL = 40
"""Layers that only keep order are drawn at first up to this number."""
_LONGEST_TEXT = 1_000
GAP_PX = (24.0, 52.0)
"""Between ranks, at least and at most: more where lines go far sideways."""
_RULE_WORDS = {"written in place": "in place", "same as another": "same as another"}
"""Nodes by whose rule more is known than that they were removed."""

_OF_BOX = "rank top height join layer nodes title border left right before after"
_OF_NODE = "name op label sub box place layers state word rule because text reads writes"
_OF_LAYER = "name copy tag title lines nodes patterns text facts"

Columns = dict[str, list[Any]]


def scene(fusion: Fusion) -> dict[str, Any]:
    """Return what a page needs to draw a fusion: text, numbers, lists and dicts alone."""
    sides = arrange(fusion)
    boxes = sides.made.boxes
    size = sum(bool(box.nodes) or box.layer is not None for box in boxes)
    notes = sum(len(box.before) + len(box.after) for box in boxes)
    return {
        "title": middle_cut(f"{fusion.model.name} ({fusion.model.recipe})", 120),
        "maker": f"{fusion.backend} for {fusion.target}",
        "sides": ["node", "layer"],
        "panes": ["Before", "Both", "After"],
        "heads": _heads(fusion),
        "search": "node, op or layer",
        "recorded": "recorded" in (fusion.source, fusion.time_source),
        "summary": [list(row) for row in fusion.rows()],
        "folded": size > FOLDED_FROM,
        "notes": notes <= NOTES_UNTIL,
        "ranks": _ranks(sides),
        "boxes": _boxes(fusion, sides),
        "nodes": _nodes(fusion, sides),
        "layers": layer_columns(fusion),
        "tensors": _tensors(fusion),
        "wires": [_wires(sides.before), _wires(sides.after)],
        "blocks": _blocks(fusion, sides) if size > BLOCKS_FROM else [],
        "modes": colour_modes(fusion),
    }


def _heads(fusion: Fusion) -> list[str]:
    rebuilt = " (rebuilt from the layers' names)" if fusion.graph_source == "names" else ""
    return [
        f"Before: {plural(len(fusion.graph.nodes), 'ONNX node')}{rebuilt}",
        f"After: {plural(len(fusion.layers), 'engine layer')}",
    ]


def plural(count: int, word: str) -> str:
    """``1 layer``, ``1,200 layers``."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _columns(rows: list[dict[str, Any]], names: str) -> Columns:
    return {name: [row[name] for row in rows] for name in names.split()}


def _ranks(sides: Sides) -> Columns:
    low, high = GAP_PX
    count = range(len(sides.rank_heights))
    spread = [max(s.spread.get(rank, 0.0) for s in (sides.before, sides.after)) for rank in count]
    before, after = [False] * len(count), [False] * len(count)
    for box, rank in zip(sides.made.boxes, sides.ranks, strict=True):
        before[rank] |= bool(box.before)
        after[rank] |= bool(box.after)
    return {
        "height": sides.rank_heights,
        "gap": [round(min(high, low + 0.08 * far)) for far in spread],
        "before": [int(flag) for flag in before],
        "after": [int(flag) for flag in after],
    }


def _boxes(fusion: Fusion, sides: Sides) -> Columns:
    rows: list[dict[str, Any]] = []
    for number, box in enumerate(sides.made.boxes):
        rows.append(
            {
                "rank": sides.ranks[number],
                "top": round(sides.tops[number]),
                "height": round(sides.heights[number]),
                "join": int(box.join),
                "layer": -1 if box.layer is None else box.layer,
                "nodes": box.nodes,
                "title": group_title([fusion.graph.nodes[n] for n in box.nodes])
                if box.nodes
                else "",
                "border": _border_text(fusion, box.tensor),
                "left": _spot(sides.before, number),
                "right": _spot(sides.after, number),
                "before": _note(fusion, box.before),
                "after": _note(fusion, box.after),
            }
        )
    return _columns(rows, _OF_BOX)


def _border_text(fusion: Fusion, tensor: str) -> str:
    if not tensor:
        return ""
    found = fusion.graph.tensors.get(tensor)
    shape = text_from_shape(found.shape) if found and found.shape is not None else ""
    return f"{middle_cut(tensor, 24)} {middle_cut(shape, 40)}".rstrip()


def _spot(side: Side, box: int) -> list[int] | None:
    spot = side.spots.get(box)
    return None if spot is None else [round(spot.x), round(spot.left), round(spot.right)]


def _note(fusion: Fusion, numbers: Sequence[int]) -> list[Any] | None:
    """What stands on one pill for layers that only keep order: its text, and which they are."""
    if not numbers:
        return None
    events: dict[str, list[str]] = defaultdict(list)
    for number in numbers:
        layer = fusion.layers[number]
        word = middle_cut(layer.type or "layer", 20).replace("_", " ")
        events[word] += [] if layer.event is None else [f"e{layer.event}"]
    words = [f"{word} {', '.join(which)}".rstrip() for word, which in events.items()]
    return [middle_cut(" · ".join(words)), list(numbers)]


def _nodes(fusion: Fusion, sides: Sides) -> Columns:
    layers: dict[str, list[int]] = defaultdict(list)
    for edge in fusion.edges:
        layers[edge.node].append(edge.layer)
    fates = {fate.node: fate for fate in fusion.fates}
    tensors = {name: number for number, name in enumerate(_shown_tensors(fusion))}
    common: dict[int, str] = {}
    for box in sides.made.boxes:
        if len(box.nodes) > 1:
            start = common_start([fusion.graph.nodes[number] for number in box.nodes])
            common |= dict.fromkeys(box.nodes, start)
    rows: list[dict[str, Any]] = []
    for number, node in enumerate(fusion.graph.nodes):
        fate = fates.get(node.name)
        place = sides.nodes.get(number)
        rows.append(
            {
                "name": node.name,
                "op": node.op,
                "label": operator(node),
                "sub": title_inside(node, common[number])
                if number in common
                else node_title(node),
                "box": _or_none(sides.made.of_node[number]),
                "place": None if place is None else [round(value) for value in place],
                "layers": layers.get(node.name) or list(fate.layers if fate else ()),
                "state": fate.state if fate else "unexplained",
                "word": _fate_word(fate),
                "rule": fate.rule if fate else "none",
                "because": middle_cut(fate.because, _LONGEST_TEXT) if fate else "",
                "text": middle_cut(fusion.explanations.get(node.name, ""), _LONGEST_TEXT),
                "reads": [tensors[t] for t in inputs_of(node) if t in tensors],
                "writes": [tensors[t] for t in node.outputs if t in tensors],
            }
        )
    return _columns(rows, _OF_NODE)


def _fate_word(fate: Fate | None) -> str:
    """What the box of a node in no layer says: mostly its state."""
    if fate is None:
        return "unexplained"
    return _RULE_WORDS.get(fate.rule, fate.state)


def _or_none(box: int | None) -> int:
    return -1 if box is None else box


def _shown_tensors(fusion: Fusion) -> list[str]:
    """Tensors that nodes pass on: no weights."""
    used = (name for node in fusion.graph.nodes for name in (*inputs_of(node), *node.outputs))
    known = fusion.graph.tensors
    return [n for n in dict.fromkeys(used) if n and not (n in known and known[n].is_constant)]


def _tensors(fusion: Fusion) -> list[str]:
    return [
        f"{middle_cut(name, 200)} {_tensor_text(fusion.graph.tensors.get(name))}".rstrip()
        for name in _shown_tensors(fusion)
    ]


def _tensor_text(tensor: Tensor | LayerTensor | None) -> str:
    if tensor is None or tensor.shape is None:
        return ""
    return middle_cut(f"{text_from_shape(tensor.shape)} {tensor.dtype or ''}".rstrip(), 120)


def layer_columns(fusion: Fusion) -> Columns:
    """What is said of every layer: its texts, and rows of label, text and provenance."""
    streams = len({layer.stream for layer in fusion.layers} - {None})
    flops = sum(group.flops or 0 for group in fusion.groups)
    place = {node.name: number for number, node in enumerate(fusion.graph.nodes)}
    seen: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for layer, group in zip(fusion.layers, fusion.groups, strict=True):
        seen[layer.name] += 1
        nodes = [place[node] for node in group.nodes if node in place]
        ops = [short_operator(fusion.graph.nodes[n].op) for n in nodes]
        rows.append(
            {
                "name": layer.name,
                "copy": seen[layer.name],
                "tag": group.tag,
                "title": _layer_title(layer, group),
                "lines": _lines(layer, group, ops, streams),
                "nodes": nodes,
                "patterns": list(group.patterns),
                "text": middle_cut(group.text, _LONGEST_TEXT),
                "facts": _facts(fusion, layer, group, flops),
            }
        )
    return _columns(rows, _OF_LAYER)


def _layer_title(layer: EngineLayer, group: Group) -> str:
    """What it does, of a layer that only keeps order; else its name."""
    if group.family != "sync, shape" or not layer.type:
        return layer_title(layer.name)
    event = "" if layer.event is None else f" e{layer.event}"
    return middle_cut(layer.type).replace("_", " ") + event


def _lines(layer: EngineLayer, group: Group, ops: Sequence[str], streams: int) -> list[str]:
    """What a layer's box says below its title, as far as there is room."""
    form = data_format(layer.outputs[0].format) if layer.outputs else ""
    precision = precision_name(group.precision) if group.precision else ""
    stream = f"s{layer.stream}" if layer.stream is not None and streams > 1 else ""
    counts = [f"{op} ×{n}" if n > 1 else op for op, n in Counter(ops).items()]
    origin = middle_cut("from " + " + ".join(ops if len(ops) < 8 else counts)) if ops else ""
    last = " · ".join(filter(None, (precision, form, stream)))
    return [middle_cut(layer.type or N_A, 40), origin, last]


def _facts(fusion: Fusion, layer: EngineLayer, group: Group, flops: int) -> list[list[str]]:
    """Label, text and, for numbers, the provenance."""
    rows = [
        ["Type", layer.type or N_A, ""],
        ["Stream", N_A if layer.stream is None else str(layer.stream), ""],
        ["Shapes", f"{_shapes(layer.inputs)} → {_shapes(layer.outputs)}", ""],
    ]
    if group.unwritten:
        rows.append(["Not written", listed(group.unwritten, longest=40), ""])
    if group.nodes:
        at = ", ".join(f"{name} = {size}" for name, size in fusion.sizes.items())
        at = f" at {at}" if at else ""
        if len(group.nodes) > 1:
            rows.append(_estimate("Traffic saved", group.saved_bytes, text_from_bytes, at))
        share = None if group.flops is None or not flops else group.flops / flops
        rows.append(_estimate("Share of FLOP", share, share_text, ""))
        rows.append(_estimate("Reads, writes", group.bytes, text_from_bytes, at))
    if group.nodes or group.time_ms is not None:
        rows.append(_time_fact(fusion, group))
        rows.append(["Kernel", layer.tactic or f"{N_A}: the builder does not say", ""])
    return rows


def _estimate(
    label: str, value: float | None, text: Callable[[float | None], str], at: str
) -> list[str]:
    if value is None:
        return [label, f"{N_A}: shapes are not known", ""]
    return [label, f"{text(value)}{at}", "estimated"]


def _time_fact(fusion: Fusion, group: Group) -> list[str]:
    words = TIME_WORDS[fusion.time_kind] if fusion.time_kind else "time"
    label = words[0].upper() + words[1:]
    if group.time_ms is None:
        return [label, time_reason(fusion), ""]
    share = "" if group.time_share is None else f", {share_text(group.time_share)}"
    text = f"{text_from_ms(group.time_ms)}{share} (median, n {fusion.runs or N_A})"
    return [label, text, time_origin(fusion)]


def _shapes(tensors: Sequence[LayerTensor]) -> str:
    return listed([_tensor_text(t) or "?" for t in tensors if not t.is_constant]) or N_A


def listed(names: Sequence[str], *, most: int = 4, longest: int = 80) -> str:
    """The first names, cut where they are long, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(middle_cut(name, longest) for name in names[:most]) + more


def _wires(side: Side) -> Columns:
    """Ends by number (-1 at the border), and points as x, rank, pixels below it, one by one."""
    return {
        "source": [-1 if wire.source is None else wire.source for wire in side.wires],
        "target": [-1 if wire.target is None else wire.target for wire in side.wires],
        "boxes": [number for wire in side.wires for number in wire.boxes],
        "path": [[round(v) for point in path for v in point] for path in side.paths],
    }


def _blocks(fusion: Fusion, sides: Sides) -> list[dict[str, Any]]:
    nodes: list[list[int]] = [[] for _ in sides.rank_heights]
    layers: list[list[int]] = [[] for _ in sides.rank_heights]
    forms: list[list[str]] = [[] for _ in sides.rank_heights]
    for box, rank in zip(sides.made.boxes, sides.ranks, strict=True):
        nodes[rank] += box.nodes
        layers[rank] += [*([] if box.layer is None else [box.layer]), *box.before, *box.after]
        if not box.tensor and not box.join:
            forms[rank].append(" ".join(fusion.graph.nodes[n].op for n in box.nodes))
    joined = _joined(sides.made.before, sides.ranks, len(nodes))
    ranks = [
        Rank(tuple(fusion.graph.nodes[n].name for n in held), len(form), tuple(sorted(form)), one)
        for held, form, one in zip(nodes, forms, joined, strict=True)
    ]
    return [
        {
            "first": block.first,
            "last": block.last,
            "parent": block.parent,
            "label": middle_cut(block.label, 48),
            "alike": block.alike,
            "nodes": len(held := _flat(nodes[block.first : block.last + 1])),
            "ops": _operators(fusion, held),
            "layers": _flat(layers[block.first : block.last + 1]),
        }
        for block in find_blocks(ranks)
    ]


def _flat(rows: Iterable[Iterable[int]]) -> list[int]:
    return [number for row in rows for number in row]


def _operators(fusion: Fusion, nodes: Iterable[int]) -> str:
    found = Counter(short_operator(fusion.graph.nodes[n].op) for n in nodes)
    words = [f"{op} ×{n}" if n > 1 else op for op, n in found.most_common(4)]
    return ", ".join(words) + (" …" if len(found) > 4 else "")


def _joined(wires: Iterable[Wire], ranks: Sequence[int], count: int) -> list[bool]:
    """For each rank whether exactly one tensor goes on to the ranks below it."""
    reach: dict[tuple[int | None, str], list[int]] = {}
    for wire in wires:
        source, target = (ranks[box] for box in wire.boxes)
        span = reach.setdefault((wire.source, wire.tensor), [source, target])
        span[1] = max(span[1], target)
    changes = [0] * (count + 1)
    for source, target in reach.values():
        if target > source:
            changes[source] += 1
            changes[target] -= 1
    crossing, joined = 0, []
    for change in changes[:count]:
        crossing += change
        joined.append(crossing == 1)
    return joined
