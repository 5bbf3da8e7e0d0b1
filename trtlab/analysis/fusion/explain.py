"""What happened to a node or is in a layer, in two or three sentences.

Numbers in them are estimates from shapes and say so. What the builder does not tell is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtlab.analysis.fusion.names import LayerName
from trtlab.analysis.fusion.proofs import moves_nothing, stays_small
from trtlab.analysis.fusion.spread import Spread
from trtlab.analysis.fusion.wiring import Wiring
from trtlab.record import EngineLayer, Fate, Group, Seam
from trtlab.units import text_from_bytes

_MOST = 5
"""Names that a sentence lists before it counts the rest."""

_FAMILIES = {
    "data movement": "{builder} added this layer: it brings data into another format or place.",
    "sync, shape": "{builder} added this layer: it orders streams or works out shapes.",
    "not named": "{builder} made this layer and names no node for it: what it is part of is not "
    "known.",
}
_MEANINGS = {
    "residual add": "The residual is added before the result is written.",
    "horizontal merge": "They read the same data side by side, so one kernel does their work.",
    "concatenation in place": "It writes straight into its slice of the joined tensor, so no "
    "Concat runs.",
    "q/dq folded": "Quantising is part of the kernel: it reads or writes the small type itself.",
    "own stream": "It can run beside the other branches: it is on a stream of its own.",
}


def layer_text(
    name: LayerName,
    group: Group,
    shared: set[str],
    wiring: Wiring,
    sizes: Mapping[str, int],
    builder: str,
) -> str:
    """Say what a layer is, what is in it, and why that helps.

    Args:
        name: The layer's name, taken apart.
        group: What is known of it.
        shared: Nodes that are in other layers too.
        wiring: The graph.
        sizes: Sizes of the named axes.
        builder: Who made the layer.
    """
    if group.family == "opaque":
        held = f" {len(group.nodes)} nodes are inside." if group.nodes else ""
        return (
            f"{builder} does not open this region.{held} Which of them share a kernel is not "
            "known; a build with detailed profiling verbosity may tell more."
        )
    if not group.nodes:
        return _FAMILIES.get(group.family, _FAMILIES["not named"]).format(builder=builder)
    if name.role == "copy":
        return f"{builder} copies {name.of} into its place in the joined tensor."
    words = [_what(group, shared, wiring)]
    words += [_MEANINGS[p] for p in group.patterns if p in _MEANINGS]
    words += _gain(group, wiring, sizes)
    return " ".join(words)


def node_text(
    fate: Fate,
    layers: Sequence[EngineLayer],
    groups: Sequence[Group],
    neighbours: Sequence[Seam],
    wiring: Wiring,
    sizes: Mapping[str, int],
    spread: Spread | None,
) -> str:
    """Say what became of a node, why that helps, and what keeps it from its neighbours."""
    node = wiring.nodes[fate.node]
    name = f"{node.name} ({node.op})"
    where = [_layer_name(i, layers, groups) for i in fate.layers]
    if fate.state == "unexplained":
        because = fate.because or "No layer names it and no rule places it."
        return f"{name}: what became of it is not known. {because}"
    if fate.state == "folded":
        small = stays_small(node, fate.layers, layers, wiring)
        if small:
            held = [_layer_name(i, layers, groups) for i in small]
            return f"{name} runs in no layer. {fate.because} That is {_listed(held)}."
        held = [_layer_name(i, layers, groups) for i in fate.layers if layers[i].constants]
        into = f" Its result is among the constants of {_listed(held)}." if held else ""
        return f"{name} was folded: no layer runs it. {fate.because}{into}"
    if fate.state == "removed":
        return f"{name} was removed: no layer runs it. {fate.because}"
    if fate.state == "opaque":
        return (
            f"{name} is somewhere inside {_listed(where)}, a region that the builder does not "
            "open. What it was fused with is not known."
        )
    if len(where) > 1:
        first = f"{name} is spread over {len(where)} layers: {_listed(where)}."
        if spread is not None:
            first += f" {_why_spread(spread, layers, groups)}"
    else:
        first = _beside(name, fate, groups, where[0], wiring)
    words = [first]
    if len(where) == 1:
        words += _why_it_helps(groups[fate.layers[0]], sizes)
    words += _apart(fate.node, neighbours)
    return " ".join(words)


def _why_spread(spread: Spread, layers: Sequence[EngineLayer], groups: Sequence[Group]) -> str:
    if spread.main is None:
        return "Each reads the small type and dequantises it for itself: no larger one is written."
    main = _layer_name(spread.main, layers, groups)
    return f"{main} computes the product; what is beside it prepares its input or its result."


def _why_it_helps(group: Group, sizes: Mapping[str, int]) -> list[str]:
    meanings = [_MEANINGS[p] for p in group.patterns if p in _MEANINGS][:1]
    if group.saved_bytes:
        saved = text_from_bytes(group.saved_bytes)
        text = f"Fusing them saves {saved} of memory traffic{_at(sizes)} (estimated)."
        return [*meanings, text]
    return meanings


def _beside(name: str, fate: Fate, groups: Sequence[Group], where: str, wiring: Wiring) -> str:
    others = [n for n in groups[fate.layers[0]].nodes if n != fate.node]
    if not others:
        return f"{name} is a layer of its own, {where}."
    listed = _listed([f"{n} ({wiring.nodes[n].op})" for n in others])
    return f"{name} was fused with {listed} into {where}."


def _what(group: Group, shared: set[str], wiring: Wiring) -> str:
    ops = [wiring.nodes[node].op for node in group.nodes]
    parts = [f"{n} ({wiring.nodes[n].op})" for n in group.nodes if n in shared]
    if len(ops) == 1:
        name = f"{group.nodes[0]} ({ops[0]})"
        if parts:
            return f"A part of {name} runs here; the rest of it is in other layers."
        return f"One node, {name}, became this layer."
    text = f"{len(ops)} nodes became one layer: {_listed(ops)}."
    return f"{text} Of {_listed(parts)} only a part runs here." if parts else text


def _gain(group: Group, wiring: Wiring, sizes: Mapping[str, int]) -> list[str]:
    """Say what is not written or read again, and how many launches that saves at most."""
    real = [n for n in group.nodes if not moves_nothing(wiring.nodes[n], wiring)]
    is_merged = "horizontal merge" in group.patterns
    if not (group.unwritten or is_merged):
        return []
    words = []
    if group.unwritten:
        count = len(group.unwritten)
        words.append(
            f"{'The tensor' if count == 1 else f'{count} tensors'} between them "
            f"{'is' if count == 1 else 'are'} never written"
        )
    if is_merged:
        words.append("what they share is read once")
    saved = ""
    if group.saved_bytes:
        saved = f": {text_from_bytes(group.saved_bytes)} less traffic{_at(sizes)} (estimated)"
    launches = len(real) - 1
    sentence = " and ".join(words) + saved
    if launches > 0:
        sentence += f"; up to {launches} kernel launch{'es are' if launches > 1 else ' is'} saved"
    return [f"{sentence[0].upper()}{sentence[1:]}."]


def _at(sizes: Mapping[str, int]) -> str:
    """Return which sizes an estimate is for: `` at N = 8``."""
    at = ", ".join(f"{name} = {size}" for name, size in sizes.items())
    return f" at {at}" if at else ""


def _apart(node: str, neighbours: Sequence[Seam]) -> list[str]:
    """Say what stands between a node and one neighbour: one whose reason is known, if any."""
    if not neighbours:
        return []
    seam = min(neighbours, key=lambda s: (s.barrier == "not known", s.writer != node))
    other = seam.reader if seam.writer == node else seam.writer
    side = "behind" if seam.writer == node else "before"
    if seam.barrier == "not known":
        return [f"Why it is not fused with {other} {side} it is not known."]
    return [f"It is not fused with {other} {side} it: {seam.because}."]


def _layer_name(number: int, layers: Sequence[EngineLayer], groups: Sequence[Group]) -> str:
    tag = groups[number].tag
    return f"{tag} {layers[number].name}" if tag else layers[number].name


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MOST:
        return f"{', '.join(names[:_MOST])} and {len(names) - _MOST} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "none"
