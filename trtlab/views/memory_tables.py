"""Memory as lines, tables and sentences: what the builder reserves, what a process took, why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trtlab.analysis.live_tensors import LiveTensors, largest_batch
from trtlab.model.types import batch_axis
from trtlab.record import Fusion, HostMemory, Measurement, Plan
from trtlab.spec import BuildConfig
from trtlab.units import N_A, text_from_bytes, text_from_file_size
from trtlab.views.precision_sentences import place_text
from trtlab.views.tables import Table, named

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class ActivationPoint:
    """What the builder says a plan's activations take in bytes, and its largest batch."""

    plan: Plan
    largest: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ActivationLine:
    """Plans that differ in the batches of their profile alone, by rising largest batch.

    Attributes:
        name: Its recipe, and what else sets it apart from the other lines.
        points: One for each largest batch: the last plan that was given.
    """

    name: str
    recipe: str
    points: tuple[ActivationPoint, ...]


def activation_lines(plans: Sequence[Plan]) -> tuple[ActivationLine, ...]:
    """Arrange plans that tell both their largest batch and their activations into lines."""
    several: dict[tuple[str | None, str, str], dict[int, ActivationPoint]] = defaultdict(dict)
    configs: dict[tuple[str | None, str, str], BuildConfig] = {}
    for plan in plans:
        largest, memory = largest_batch(plan), plan.memory
        if largest is None or memory is None or memory.activation is None:
            continue
        config = replace(plan.config, profiles=())
        key = (plan.model.hash, plan.model.recipe, repr(config))
        configs[key] = config
        several[key][largest] = ActivationPoint(plan, largest, memory.activation)
    words = {key: _words(config) for key, config in configs.items()}
    differs = [len({text[n] for text in words.values()}) > 1 for n in range(2)]
    made: list[ActivationLine] = []
    for key, points in several.items():
        parts = [key[1].upper(), *(w for w, d in zip(words[key], differs, strict=True) if d)]
        name, number = ", ".join(parts), 1
        while name in {line.name for line in made}:
            number += 1
            name = f"{', '.join(parts)} ({number})"
        made.append(ActivationLine(name, key[1], tuple(points[batch] for batch in sorted(points))))
    return tuple(made)


def _words(config: BuildConfig) -> tuple[str, str]:
    limit = config.workspace_bytes
    workspace = "default workspace" if limit is None else f"workspace {text_from_bytes(limit)}"
    return place_text(config.backend, config.target_text), workspace


def batches_text(plan: Plan) -> str:
    """Return smallest, optimal and largest batch of a plan's profiles: ``1 · 8 · 16``."""
    axis = batch_axis(plan.inputs)
    found = [
        " · ".join(str(shape[0]) for shape in profile[tensor.name])
        for profile in plan.config.profiles
        for tensor in plan.inputs
        if axis and tensor.shape and tensor.shape[0] == axis and tensor.name in profile
    ]
    return ", ".join(dict.fromkeys(found)) or N_A


def activations_table(plans: Sequence[Plan]) -> Table:
    """One row a point of ``activation_lines``."""
    rows = tuple(
        (line.name, batches_text(p.plan), text_from_bytes(p.bytes), f"{p.bytes:,}")
        for line in activation_lines(plans)
        for p in line.points
    )
    heads = ("Engine", "Batches", "Activations", "Bytes")
    return Table(heads, rows, frozenset({1, 2, 3}), {2: "builder", 3: "builder"})


def activations_sentence(plans: Sequence[Plan]) -> str:
    """Return how the activations grow with the largest batch, along the line of most points."""
    lines = activation_lines(plans)
    line = max(lines, key=lambda line: len(line.points), default=None)
    if line is None:
        return "No engine tells both its largest batch and its activations."
    first, last = line.points[0], line.points[-1]
    if first is last:
        return f"{line.name}: {text_from_bytes(first.bytes)} at largest batch {first.largest}."
    same_best = len({batches_text(p.plan).split(" · ")[1] for p in line.points}) == 1
    beside = "" if same_best else " Their optimal batches differ too."
    return (
        f"{line.name}: {text_from_bytes(first.bytes)} at largest batch {first.largest}, "
        f"{text_from_bytes(last.bytes)} at {last.largest}. An engine reserves what its largest "
        f"batch needs, whichever batch it runs.{beside}"
    )


def live_table(fusion: Fusion, found: LiveTensors) -> Table:
    """One row a layer: what is alive while it runs."""
    rows = tuple(
        (
            str(number),
            fusion.groups[one.layer].tag or "—",
            named(fusion.layers[one.layer].name),
            text_from_bytes(one.inner),
            text_from_bytes(one.io),
        )
        for number, one in enumerate(found.layers, 1)
    )
    heads = ("No.", "Group", "Layer", "Between layers", "Inputs, outputs of the network")
    return Table(heads, rows, frozenset({0, 3, 4}), {3: "estimated", 4: "estimated"})


def live_sentence(fusion: Fusion, found: LiveTensors, reserved: int | None) -> str:
    """Return the peak of live tensors, and what the builder reserves beside it.

    Args:
        fusion: The plan's layers.
        found: Its live tensors.
        reserved: The builder's activations for the same batch; None where they are not known, or
            known for another batch.
    """
    if found.peak is None:
        lost = len(found.layers) - len(found.known)
        return (
            f"What the tensors alone take is {N_A}: the shapes of some are not known in {lost} "
            f"of {len(found.layers)} layers."
        )
    tags = [fusion.groups[n].tag or named(fusion.layers[n].name, 28) for n in found.where]
    more = len(tags) - _MOST_NAMED
    places = ", ".join(tags[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    least = "at least " if len(found.known) < len(found.layers) else ""
    text = f"Tensors between layers alone peak at {least}{text_from_bytes(found.peak)} ({places})"
    if reserved is None:
        return f"{text}, estimated."
    if reserved < found.peak:
        return (
            f"{text}, estimated. The builder reserves {text_from_bytes(reserved)}, which is "
            "less: it keeps some of these tensors in another form, or not at all."
        )
    rest = text_from_bytes(reserved - found.peak)
    return (
        f"{text}, estimated. The builder reserves {text_from_bytes(reserved)}: it does not break "
        f"down the other {rest}."
    )


def host_table(m: Measurement) -> Table:
    """Peak of the process that ran a measurement, and its parts with the reason where n/a."""
    memory = m.memory
    rows = tuple(
        (what, text_from_bytes(size), _exact(size) if size is not None else f"{N_A}: {reason}")
        for what, size, reason in _host_parts(m, memory)
    )
    heads = ("Part of the peak", "Size", "Bytes")
    return Table(heads, rows, frozenset({1}), {1: "measured"})


def _host_parts(m: Measurement, memory: HostMemory) -> list[tuple[str, int | None, str]]:
    on_gpu = m.device_memory is not None
    gpu = "they lie on the GPU"
    arena = "the backend does not say"
    if m.run.streams > 1:
        arena = "with several streams it is not said"
    elif m.run.activation_cap_bytes is not None:
        arena = "under an activation cap it is not said"
    unknown = any(
        part is None for part in (memory.weights, memory.repacked, memory.activations, memory.io)
    )
    rest = "a part is not known"
    if memory.peak_above_baseline is None:
        rest = "the peak is not known"
    elif not unknown:
        rest = "the parts were not all there at the peak"
    return [
        ("weights (of the model)", memory.weights, gpu if on_gpu else "not recorded"),
        ("weights, repacked", memory.repacked, "the backend does not say"),
        ("activations, peak", memory.activations, gpu if on_gpu else arena),
        ("inputs and outputs", memory.io, gpu if on_gpu else "not recorded"),
        ("loader and other", memory.rest, rest),
    ]


def plans_table(plans: Sequence[tuple[str, Plan]]) -> Table:
    """One row a plan: its file beside the weights of its model.

    Args:
        plans: Each with the name of its run.
    """
    rows = tuple(
        (
            name,
            text_from_file_size(plan.plan_bytes),
            _exact(plan.plan_bytes),
            text_from_file_size(plan.weight_bytes),
            _exact(plan.weight_bytes),
        )
        for name, plan in plans
    )
    heads = ("Run", "Plan file", "Bytes", "Weights of the model", "Bytes")
    return Table(heads, rows, frozenset(range(1, 5)), {1: "builder", 2: "builder"})


def _exact(size: int | None) -> str:
    return N_A if size is None else f"{size:,}"
