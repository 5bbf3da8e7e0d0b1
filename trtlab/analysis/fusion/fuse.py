"""``fuse``: a plan and its model's graph → ``Fusion``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Literal

from trtlab.analysis.flops import node_costs
from trtlab.analysis.fusion import kinds
from trtlab.analysis.fusion.estimates import layer_bytes, saved_bytes, unwritten
from trtlab.analysis.fusion.explain import layer_text, node_text
from trtlab.analysis.fusion.mapping import Mapped, map_layers
from trtlab.analysis.fusion.names import LayerName, parse, profile_numbers
from trtlab.analysis.fusion.optimised import map_optimised
from trtlab.analysis.fusion.rebuilt import graph_from_layers
from trtlab.analysis.fusion.seams import seams
from trtlab.analysis.fusion.spread import Spread, spreads
from trtlab.analysis.fusion.wiring import Wiring
from trtlab.errors import MismatchError, PlanError
from trtlab.model.types import Graph, Tensor, batch_axis
from trtlab.record import EngineLayer, Fate, Fusion, Group, LayerProfile, Pattern, Plan, Seam
from trtlab.spec import Caveat

_BUILDERS = {
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT-RTX",
    "onnxruntime": "ONNX Runtime",
}
_FEW = 20
"""Of a graph with fewer nodes than this no share is judged: one node is too much of it."""
_UNCERTAIN_GROUP = 60
_UNCERTAIN_SHARE = 0.9
"""Beyond these the map is doubted. They are ours: of the zoo's networks none has a group of more
than 7 nodes or a one-owner share below 0.97, on TensorRT-RTX 1.7 and on ONNX Runtime 1.31."""


def fuse(
    plan: Plan,
    graph: Graph | None,
    *,
    profile: LayerProfile | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Fusion:
    """Find out which nodes became which layers, and what else became of them.

    Args:
        plan: A plan whose layers are known.
        graph: The graph of its model; None rebuilds what can be from the layers' names.
        profile: Time per layer of this plan; its layers are found by name.
        sizes: Sizes of the named axes, for the estimates; default is the profile's shapes, else
            the optimal ones of the plan's first optimization profile, else 1.

    Raises:
        PlanError: the plan does not say its layers.
        MismatchError: the profile is of another plan.
    """
    if plan.layers is None:
        raise PlanError(
            f"The plan of {plan.model.name} does not say which layers it has.",
            hint="Build it again with profiling_verbosity DETAILED.",
        )
    source: Literal["model", "names"] = "names" if graph is None else "model"
    shown, layers = _of_one_profile(plan.layers, profile)
    if graph is None:
        graph = graph_from_layers(plan.model.name, layers)
    if sizes is None:
        sizes = _sizes(plan, profile)
    is_optimised = plan.config.backend == "onnxruntime" and source == "model"
    mapped = (map_optimised if is_optimised else map_layers)(graph, layers)
    if source == "names":
        mapped = replace(mapped, fates=tuple(_by_name_alone(fate) for fate in mapped.fates))
    wiring = Wiring(graph)
    builder = _BUILDERS[plan.config.backend]
    times = _times(plan, plan.layers, profile) if profile else {}
    names = [parse(layer.name, wiring.nodes) for layer in layers]
    spread = spreads(mapped.fates, names, wiring)
    groups = _groups(wiring, layers, names, mapped, sizes, times, builder)
    between = seams(wiring, layers, mapped.fates)
    fusion = Fusion(
        model=plan.model,
        backend=builder,
        target=plan.target_text,
        graph=graph,
        graph_source=source,
        layers=layers,
        groups=groups,
        edges=mapped.edges,
        fates=mapped.fates,
        seams=between,
        explanations=_explanations(mapped.fates, layers, groups, between, wiring, sizes, spread),
        sizes=sizes,
        time_kind=profile.time_kind if profile else None,
        time_source=profile.source if profile else None,
        runs=profile.runs if profile else 0,
        source=plan.source,
    )
    caveats = (
        *_caveats(fusion, mapped, spread),
        *(profile.caveats if profile else ()),
        *_about_profiles(len(plan.layers) - len(layers), shown),
        *_about_times(fusion),
    )
    return replace(fusion, caveats=caveats)


def _of_one_profile(
    layers: Sequence[EngineLayer], profile: LayerProfile | None
) -> tuple[int, tuple[EngineLayer, ...]]:
    """Return an optimization profile's number and its layers: the one timed, else the first."""
    numbers = profile_numbers(layers)
    timed = {timing.name for timing in profile.layers} if profile else set()
    ran = Counter(n for y, n in zip(layers, numbers, strict=True) if y.name in timed)
    shown = ran.most_common(1)[0][0] if ran else 0
    return shown, tuple(y for y, n in zip(layers, numbers, strict=True) if n == shown)


def _by_name_alone(fate: Fate) -> Fate:
    """Say of a folded node that only the layer's name tells of its inputs."""
    if fate.state != "folded":
        return fate
    because = "By the layer's name it works on a weight, so its result is computed at the build."
    return replace(fate, rule="layer name", because=because)


def _sizes(plan: Plan, profile: LayerProfile | None) -> dict[str, int]:
    """Return the sizes of named axes: as profiled, else the plan's optimal shapes, else 1."""
    sizes: dict[str, int] = {}
    shapes = {name: each.opt for name, each in (plan.config.profiles or ({},))[0].items()}
    if profile is not None:
        shapes |= profile.run.shapes
        axis = batch_axis(plan.inputs)
        if axis is not None and profile.batch is not None:
            sizes[axis] = profile.batch
    for tensor in plan.inputs:
        shape = shapes.get(tensor.name)
        for place, dim in enumerate(tensor.shape or ()):
            if isinstance(dim, str):
                sizes.setdefault(dim, shape[place] if shape else 1)
    return sizes


def _times(
    plan: Plan, layers: Sequence[EngineLayer], profile: LayerProfile
) -> dict[str, tuple[float, float]]:
    """Return time (ms) and share by layer name; a name that is there twice has none."""
    if profile.plan is not None and profile.plan != plan.hash:
        raise MismatchError(
            f"The layer times are of another plan than that of {plan.model.name}.",
            hint="Profile this plan, or give the plan that was profiled.",
        )
    names = {layer.name for layer in layers}
    strange = [timing.name for timing in profile.layers if timing.name not in names]
    if strange:
        raise MismatchError(
            f"{len(strange)} of the {len(profile.layers)} timed layers are not in the plan of "
            f"{plan.model.name}: {', '.join(strange[:3])}{' …' if len(strange) > 3 else ''}.",
            hint="Give the layer times of this plan.",
        )
    counts = Counter(layer.name for layer in layers) | Counter(y.name for y in profile.layers)
    return {
        timing.name: (timing.average_ms if timing.median_ms is None else timing.median_ms, share)
        for timing, share in zip(profile.layers, profile.shares(), strict=True)
        if counts[timing.name] == 1
    }


def _groups(
    wiring: Wiring,
    layers: Sequence[EngineLayer],
    names: Sequence[LayerName],
    mapped: Mapped,
    sizes: Mapping[str, int],
    times: Mapping[str, tuple[float, float]],
    builder: str,
) -> tuple[Group, ...]:
    held: dict[int, list[str]] = defaultdict(list)
    owners: dict[str, list[int]] = defaultdict(list)
    for edge in mapped.edges:
        held[edge.layer].append(edge.node)
        owners[edge.node].append(edge.layer)
    shared = {node for node, numbers in owners.items() if len(numbers) > 1}
    flops = {cost.node: cost.flops for cost in node_costs(wiring.graph, sizes)}
    folded: dict[int, list[str]] = defaultdict(list)
    for fate in mapped.fates:
        for number in fate.layers if fate.state == "folded" else ():
            folded[number].append(fate.node)
    main = kinds.main_stream(layers)
    slices = kinds.slice_writers(mapped.fates)
    groups: list[Group] = []
    tags = (f"G{n}" for n in count(1))
    for number, (layer, name) in enumerate(zip(layers, names, strict=True)):
        nodes = held.get(number, [])
        is_region = number in mapped.regions
        patterns: list[Pattern] = kinds.patterns(
            layer, name, nodes, folded[number], wiring, is_region=is_region
        )
        if number in slices:
            patterns.append("concatenation in place")
        if nodes and main is not None and layer.stream not in (None, main):
            patterns.append("own stream")
        inner = () if is_region else unwritten(nodes, shared, wiring)
        merged = nodes if "horizontal merge" in patterns else ()
        counted = [flops.get(n) for n in nodes if owners[n][0] == number]
        time, share = times.get(layer.name, (None, None))
        data = [t for t in layer.inputs if not t.is_constant]
        group = Group(
            tag=next(tags) if nodes else "",
            family=kinds.family(layer, name, nodes, wiring, is_region=is_region),
            patterns=tuple(patterns),
            nodes=tuple(nodes),
            unwritten=tuple(name for name, _ in inner),
            saved_bytes=saved_bytes(inner, merged, wiring, sizes),
            flops=sum(n for n in counted if n is not None) if None not in counted else None,
            bytes=layer_bytes(layer, _around(nodes, wiring), sizes),
            precision=data[0].dtype if data else None,
            time_ms=time,
            time_share=share,
        )
        text = layer_text(name, group, shared, wiring, sizes, builder)
        groups.append(replace(group, text=text))
    return tuple(groups)


def _around(nodes: Sequence[str], wiring: Wiring) -> list[Tensor]:
    """Return the tensors of a layer's nodes; of one without, the network's inputs and outputs."""
    graph = wiring.graph
    names = {t for n in nodes for t in (*wiring.data_inputs(n), *wiring.nodes[n].outputs)}
    return [graph.tensors[n] for n in names or {*graph.inputs, *graph.outputs}
            if n in graph.tensors]  # fmt: skip


def _explanations(
    fates: Sequence[Fate],
    layers: Sequence[EngineLayer],
    groups: Sequence[Group],
    between: Sequence[Seam],
    wiring: Wiring,
    sizes: Mapping[str, int],
    spread: Mapping[str, Spread],
) -> dict[str, str]:
    neighbours: dict[str, list[Seam]] = defaultdict(list)
    for seam in between:
        neighbours[seam.writer].append(seam)
        neighbours[seam.reader].append(seam)
    return {
        fate.node: node_text(
            fate, layers, groups, neighbours[fate.node], wiring, sizes, spread.get(fate.node)
        )
        for fate in fates
    }


def _about_profiles(others: int, shown: int) -> list[Caveat]:
    if not others:
        return []
    return [
        Caveat(
            "first-profile",
            f"The engine has {others} more layers for other optimization profiles; these are "
            f"those of profile {shown}.",
            "Build with one optimization profile, or give times of another, to see that.",
        )
    ]


def _about_times(fusion: Fusion) -> list[Caveat]:
    untimed = [g for g in fusion.groups if g.time_ms is None and g.family != "sync, shape"]
    if fusion.time_kind is None or not untimed:
        return []
    return [
        Caveat(
            "layers-without-time",
            f"{len(untimed)} of {len(fusion.layers)} layers have no time: shares are of the "
            "others.",
            "Profile the whole engine; of two layers with one name neither time is known.",
        )
    ]


def _caveats(fusion: Fusion, mapped: Mapped, spread: Collection[str]) -> list[Caveat]:
    caveats = []
    if fusion.graph_source == "names":
        caveats.append(
            Caveat(
                "nodes-from-names",
                "The graph was rebuilt from the layers' names: nodes that no name holds do not "
                "show, and the order inside a layer is that of its name.",
                "Give the model's ONNX file.",
            )
        )
    if mapped.strange:
        few = ", ".join(mapped.strange[:3])
        caveats.append(
            Caveat(
                "nodes-not-in-model",
                f"The builder names {len(mapped.strange)} nodes that are not in the graph: {few}.",
                "Give the ONNX file that this plan was built from.",
            )
        )
    unclear = sum(fate.state == "unexplained" and bool(fate.because) for fate in fusion.fates)
    if unclear:
        caveats.append(
            Caveat(
                "shared-names",
                f"{unclear} nodes share names: which layer is whose is not known.",
                "Give every node of the ONNX file a name of its own.",
            )
        )
    share = _clear_share(mapped, spread)
    is_spread = share is not None and len(fusion.fates) >= _FEW and share < _UNCERTAIN_SHARE
    if fusion.largest_group > _UNCERTAIN_GROUP or is_spread:
        at = (
            "" if share is None
            else f", and {share:.0%} of the nodes are in one layer only or in several for a reason"
        )  # fmt: skip
        caveats.append(
            Caveat(
                "mapping-uncertain",
                f"The largest group has {fusion.largest_group} nodes{at}.",
                "Build at the optimisation level extended."
                if fusion.backend == _BUILDERS["onnxruntime"]
                else "Look at the groups that share a node: what the builder names may be wrong.",
            )
        )
    return caveats


def _clear_share(mapped: Mapped, spread: Collection[str]) -> float | None:
    """Return the share of the nodes that run in one layer only, or in several for a reason."""
    owners = Counter(edge.node for edge in mapped.edges)
    clear = sum(number == 1 or node in spread for node, number in owners.items())
    return clear / len(owners) if owners else None
