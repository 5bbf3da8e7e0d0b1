"""Two engines → ``EngineComparison``: their layers brought together over the ONNX nodes in them.

Layers of A and of B that share a node belong together, and so do all that hang together in this
way: each such component is the smallest set of nodes that whole layers of both sides hold, and so
the smallest thing whose times can be compared. Nodes are the same if they have one name and
operator: variants of one model (another precision, another target) share most names.

Where the names have nothing in common, the layers are aligned in their order, by kind and
dimensions, and the result says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from trtlab.analysis.compare import conditions, of_both, plan_differences, unequal_models
from trtlab.analysis.engines.layer_order import matched_in_order
from trtlab.analysis.engines.layer_times import LayerTimes, difference, times_of
from trtlab.analysis.engines.node_sets import components, kind_of
from trtlab.environment import differences
from trtlab.record import (
    TIME_WORDS,
    Absence,
    EngineComparison,
    Family,
    Fusion,
    LayerProfile,
    Match,
    MatchKind,
    Plan,
    TimeDifference,
)
from trtlab.spec import Caveat
from trtlab.units import text_from_bytes, text_from_shape

COMMON_SHARE = 0.5
"""Engines are aligned by node if at least this share of the smaller graph's nodes is in the other.
Precision variants share nearly all, builds of one model all, exports that number their nodes a
few by accident (``Conv_9``): nothing was seen in between."""

_ADDED: frozenset[Family] = frozenset({"data movement", "sync, shape"})


def align(
    a: Fusion,
    b: Fusion,
    *,
    plans: tuple[Plan, Plan] | None = None,
    profiles: tuple[LayerProfile, LayerProfile] | None = None,
) -> EngineComparison:
    """Bring the layers of two engines together; ``a`` is the baseline.

    Args:
        a: Which nodes became which layers.
        b: The same of the other engine.
        plans: The plans of both, for what the builder says of them in figures.
        profiles: Times of both engines' layers with every sample: only from these is a
            difference in time called real. Without them the medians of ``a`` and ``b`` are shown.

    Raises:
        MismatchError: a profile names layers that its engine has not, or the engines have too
            many layers to be aligned without a graph.
    """
    side_a, side_b = _side(a, profiles and profiles[0]), _side(b, profiles and profiles[1])
    nodes_a, nodes_b = len(a.graph.nodes), len(b.graph.nodes)
    common = _common(a, b)
    by_node = len(common) >= COMMON_SHARE * max(1, min(nodes_a, nodes_b))
    matches = _by_node(side_a, side_b, common) if by_node else _in_order(side_a, side_b)
    return EngineComparison(
        a=_title(a) + (_settings(*plans) if plans else ""),
        b=_title(b) + (_settings(*reversed(plans)) if plans else ""),
        aligned="by ONNX node" if by_node else "without a graph",
        layers_a=tuple(layer.name for layer in a.layers),
        layers_b=tuple(layer.name for layer in b.layers),
        nodes_a=nodes_a,
        nodes_b=nodes_b,
        common_nodes=len(common),
        matches=tuple(replace(m, tag=f"S{n}") for n, m in enumerate(matches, 1)),
        total=_total(side_a.times, side_b.times, matches),
        time_kind=side_a.times.kind if side_a.times.kind == side_b.times.kind else None,
        runs_a=side_a.times.runs,
        runs_b=side_b.times.runs,
        differences=plan_differences(*plans) if plans else (),
        caveats=(
            *(() if by_node else (_about_order(len(common), nodes_a, nodes_b),)),
            *_about_times(side_a.times, side_b.times),
            *conditions(_unequal(a, b, plans, profiles)),
            *dict.fromkeys((*of_both(a, b), *(of_both(*profiles) if profiles else ()))),
        ),
    )


def _total(a: LayerTimes, b: LayerTimes, matches: Sequence[Match]) -> TimeDifference:
    """Compare the sums of those sets whose layers all have times, on both sides the same sets."""
    timed = [match for match in matches if match.time.difference_ms is not None]
    if not timed:
        return TimeDifference(None, None, None, None, "unknown")
    return difference(
        a, b,
        [n for match in timed for n in match.layers_a],
        [n for match in timed for n in match.layers_b],
    )  # fmt: skip


def unaligned(plans: tuple[Plan, Plan]) -> EngineComparison:
    """Compare two plans of which one names no layers: in the builder's figures alone."""
    a, b = plans
    return EngineComparison(
        a=_plan_title(a) + _settings(a, b),
        b=_plan_title(b) + _settings(b, a),
        aligned="not aligned",
        total=TimeDifference(None, None, None, None, "unknown"),
        differences=plan_differences(a, b),
        caveats=conditions(
            [*differences(a.environment, b.environment), *unequal_models(a.model, b.model)]
        ),
    )


def _title(fusion: Fusion) -> str:
    recorded = ", recorded" if "recorded" in (fusion.source, fusion.time_source) else ""
    made = f"{fusion.model.name} ({fusion.model.recipe}) by {fusion.backend} for {fusion.target}"
    return made + recorded


def _plan_title(plan: Plan) -> str:
    model = f"{plan.model.name} ({plan.model.recipe})"
    recorded = ", recorded" if plan.source == "recorded" else ""
    return f"{model} by {plan.config.backend} for {plan.target_text}{recorded}"


def _settings(plan: Plan, other: Plan) -> str:
    """Return the settings of a plan that tell it from the other one."""
    mine, its = _chosen(plan), _chosen(other)
    return "".join(f", {name} {value}" for name, value in mine.items() if value != its[name])


def _chosen(plan: Plan) -> dict[str, str]:
    level, limit = plan.config.optimization_level, plan.config.workspace_bytes
    return {
        "level": "default" if level is None else str(level),
        "workspace": "default" if limit is None else text_from_bytes(limit),
    }


def _common(a: Fusion, b: Fusion) -> set[str]:
    """Return the names of the nodes that are the same in both graphs."""
    ops = {node.name: node.op for node in a.graph.nodes}
    if a.graph_source != b.graph_source:  # operators read off names have words of their own
        return {node.name for node in b.graph.nodes if node.name in ops}
    return {node.name for node in b.graph.nodes if ops.get(node.name) == node.op}


# What else differs


def _about_order(common: int, nodes_a: int, nodes_b: int) -> Caveat:
    return Caveat(
        "aligned-without-a-graph",
        f"Of {nodes_a} nodes in A and {nodes_b} in B {common} have the same name and operator, "
        "too few to go by: layers are matched by their order, kind and dimensions.",
        "Compare engines of one ONNX model, or of variants of it.",
    )


def _about_times(a: LayerTimes, b: LayerTimes) -> Iterator[Caveat]:
    if a.kind and b.kind and a.kind != b.kind:
        yield Caveat(
            "different-times",
            f"A's layer times are {TIME_WORDS[a.kind]} and B's are {TIME_WORDS[b.kind]}. They "
            "can be viewed, not subtracted.",
            "Profile both in the same way.",
        )
    for letter, side in (("A", a), ("B", b)):
        missing = sum(median is None for median in side.medians)
        if side.kind and missing:
            yield Caveat(
                "layers-without-time",
                f"{missing} of {len(side.medians)} layers of {letter} have no time: its sum is "
                "without them.",
                "Profile the plan that is compared.",
            )


def _unequal(
    a: Fusion,
    b: Fusion,
    plans: tuple[Plan, Plan] | None,
    profiles: tuple[LayerProfile, LayerProfile] | None,
) -> list[str]:
    """Name the conditions that are not the same, those of the times before those of the builds."""
    found: dict[str, None] = {}
    if profiles:
        x, y = profiles
        found |= dict.fromkeys(differences(x.environment, y.environment))
        for name, one, other in (
            ("batch", x.batch, y.batch),
            ("threads", x.run.threads, y.run.threads),
            ("provider", x.build.provider, y.build.provider),
        ):
            if one != other:
                found[f"{name} ({one}, {other})"] = None
    elif plans:
        found |= dict.fromkeys(differences(plans[0].environment, plans[1].environment))
    if shapes := _unequal_inputs(a, b):
        found[shapes] = None
    if a.sizes != b.sizes:
        found[f"sizes ({_sizes(a)}; {_sizes(b)})"] = None
    return [*found, *unequal_models(a.model, b.model)]


def _unequal_inputs(a: Fusion, b: Fusion) -> str:
    """Name the first input of one name and other dimensions; "" if there is none."""
    for name in a.graph.inputs:
        one, other = a.graph.tensors.get(name), b.graph.tensors.get(name)
        if one and other and None not in (one.shape, other.shape) and one.shape != other.shape:
            both = (text_from_shape(t.shape) for t in (one, other) if t.shape is not None)
            return f"input {name} ({', '.join(both)})"
    return ""


def _sizes(fusion: Fusion) -> str:
    return ", ".join(f"{name} = {size}" for name, size in fusion.sizes.items()) or "none"


# Sets


@dataclass(frozen=True, slots=True)
class _Side:
    """One engine: its layers, the nodes in each and their times."""

    fusion: Fusion
    nodes: tuple[tuple[str, ...], ...]
    times: LayerTimes

    def precisions(self, layers: Iterable[int]) -> tuple[str, ...]:
        groups = self.fusion.groups
        return tuple(dict.fromkeys(p for n in layers if (p := groups[n].precision)))

    def is_opaque(self, layers: Iterable[int]) -> bool:
        return any(self.fusion.groups[n].family == "opaque" for n in layers)


def _side(fusion: Fusion, profile: LayerProfile | None) -> _Side:
    nodes: list[list[str]] = [[] for _ in fusion.layers]
    for edge in fusion.edges:
        nodes[edge.layer].append(edge.node)
    return _Side(fusion, tuple(map(tuple, nodes)), times_of(fusion, profile))


def _by_node(a: _Side, b: _Side, common: set[str]) -> list[Match]:
    """Return the components of layers that hang together by common nodes, then what is added."""
    states_a: Mapping[str, Absence] = {f.node: f.state for f in a.fusion.fates if f.node in common}
    states_b: Mapping[str, Absence] = {f.node: f.state for f in b.fusion.fates if f.node in common}
    matches = []
    for layers_a, layers_b in components(a.nodes, b.nodes, common):
        held_a, held_b = [a.nodes[n] for n in layers_a], [b.nodes[n] for n in layers_b]
        all_a = dict.fromkeys(itertools.chain.from_iterable(held_a))
        all_b = dict.fromkeys(itertools.chain.from_iterable(held_b))
        both = {name: None for name in all_a if name in common and name in all_b}
        match = _match(a, b, layers_a, layers_b, kind_of(held_a, held_b, both))
        matches.append(
            replace(
                match,
                nodes=tuple(both),
                only_a=_absent(all_a, both, states_b),
                only_b=_absent(all_b, both, states_a),
            )
        )
    rest_a, rest_b = ([n for n, nodes in enumerate(side.nodes) if not nodes] for side in (a, b))
    return matches + _added(a, b, rest_a, rest_b)


def _in_order(a: _Side, b: _Side) -> list[Match]:
    """Return the layers that are alike in their order, what lies between, then what is added."""
    own_a, own_b = _own_layers(a.fusion), _own_layers(b.fusion)
    matches = []
    done_a = done_b = 0
    pairs = matched_in_order(
        [(a.fusion.layers[n], a.fusion.groups[n]) for n in own_a],
        [(b.fusion.layers[n], b.fusion.groups[n]) for n in own_b],
    )
    for i, j in [*pairs, (len(own_a), len(own_b))]:
        between_a, between_b = own_a[done_a:i], own_b[done_b:j]
        if between_a or between_b:
            kind: MatchKind = "only in A" if between_a else "only in B"
            if between_a and between_b:
                kind = "cut differently"
            matches.append(_match(a, b, between_a, between_b, kind))
        if i < len(own_a):
            matches.append(_match(a, b, [own_a[i]], [own_b[j]], "alike"))
        done_a, done_b = i + 1, j + 1
    rest_a = sorted({*range(len(a.nodes))} - {*own_a})
    rest_b = sorted({*range(len(b.nodes))} - {*own_b})
    return matches + _added(a, b, rest_a, rest_b)


def _own_layers(fusion: Fusion) -> list[int]:
    """Return the layers that compute what the model says, and not what the builder added."""
    return [n for n, group in enumerate(fusion.groups) if group.family not in _ADDED]


def _added(a: _Side, b: _Side, rest_a: Sequence[int], rest_b: Sequence[int]) -> list[Match]:
    """Return the layers without nodes by what they are: they have no partner one by one."""
    families_a = [a.fusion.groups[n].family for n in rest_a]
    families_b = [b.fusion.groups[n].family for n in rest_b]
    matches = []
    for family in dict.fromkeys(families_a + families_b):
        layers_a = [n for n, f in zip(rest_a, families_a, strict=True) if f == family]
        layers_b = [n for n, f in zip(rest_b, families_b, strict=True) if f == family]
        match = _match(a, b, layers_a, layers_b, "no node")
        matches.append(replace(match, family=family, precision_a=(), precision_b=()))
    return matches


def _match(
    a: _Side, b: _Side, layers_a: Sequence[int], layers_b: Sequence[int], kind: MatchKind
) -> Match:
    return Match(
        tag="",
        kind=kind,
        layers_a=tuple(layers_a),
        layers_b=tuple(layers_b),
        time=difference(a.times, b.times, layers_a, layers_b),
        precision_a=a.precisions(layers_a),
        precision_b=b.precisions(layers_b),
        opaque=a.is_opaque(layers_a) or b.is_opaque(layers_b),
    )


def _absent(
    names: Iterable[str], both: Collection[str], states: Mapping[str, Absence]
) -> dict[str, Absence]:
    """Return the nodes that one side alone runs, and what the other makes of them."""
    return {n: states.get(n, "not in the model") for n in names if n not in both}
