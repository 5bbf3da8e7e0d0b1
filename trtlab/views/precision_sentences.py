"""What a precision cost and saved, in words: claims only where an interval allows them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from trtlab.analysis.built_precision import BuiltPrecision
from trtlab.analysis.sizes import Size
from trtlab.model.printing import printable
from trtlab.record import Accuracy, LabelMetrics, NodeError, Point
from trtlab.units import N_A
from trtlab.views.graph.colour_by import precision_name, share_text
from trtlab.views.graph.labels import middle_cut

BACKENDS = {
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT-RTX",
    "onnxruntime": "ONNX Runtime",
}
_TINY = 0.0005
_MOST_UNPROPOSED = 3
_MOST_NAMED = 6


def built_sentence(built: BuiltPrecision, size: Size | None = None) -> str:
    """Return how much of the arithmetic runs in the type asked for, and the plan's size."""
    start = f"{built.recipe.upper()} by {built.backend} for {built.target.upper()}"
    if not built.layers:
        return f"{start}: the plan has no layers that handle data."
    anchors = f"{built.anchors_in_asked} of {built.anchors} convolutions and products"
    name, part = precision_name(built.asked), built.share_by("flops")
    if built.effect is None:
        said = "the plan does not say in which types its layers compute"
    elif built.of_weights:
        said = f"layers with {name} weights: {len(built.in_asked.layers)}, among them {anchors}"
    elif part is None:
        said = f"{anchors} compute in {name}"
    else:
        said = (
            f"{share_text(part)} of the arithmetic (estimated) in {name}, {anchors} compute in it"
        )
    text = f"{start}: {said}"
    if size is not None and size.plan_ratio is not None:
        text += f"; plan {ratio_text(size.plan_ratio)} of FP32's"
    return " ".join([f"{text}.", *built.warnings])


def accuracy_sentence(points: Sequence[Point]) -> str:
    """Return what each precision cost in top-1, or without labels the SQNR of its worst output."""
    several = _one_each(points)
    if not several:
        return "No point has an accuracy."
    labelled = [(p, p.accuracy.labels) for p in several if p.accuracy and p.accuracy.labels]
    if labelled:
        parts = [
            f"{_name(p)} {100 * found.top1:.1f} %, {against_text(found)}{_mark(p)}"
            for p, found in labelled
            if not _is_reference(p)
        ]
        reference = 100 * labelled[0][1].reference_top1
        start = f"Top-1 of the reference {reference:.1f} %, n {labelled[0][1].samples:,}"
        return ". ".join([start, *parts]) + "."
    parts = [
        f"{_name(p)} {decibels(p.accuracy.worst_sqnr_db if p.accuracy else None)}{_mark(p)}"
        for p in several
        if not _is_reference(p)
    ]
    if not parts:
        return "No point but the reference has an accuracy."
    return f"SQNR of the worst output: {', '.join(parts)}. Top-1 is {N_A}: no labels."


def _one_each(points: Iterable[Point]) -> list[Point]:
    """Return the first point with each accuracy: other batch sizes do not change it."""
    first: dict[tuple[object, ...], Point] = {}
    for p in points:
        if p.accuracy is not None:
            a = p.accuracy
            first.setdefault((p.model, a.arithmetic, a.provider, p.build.backend), p)
    return list(first.values())


def _name(point: Point) -> str:
    return point.model.recipe.upper()


def _mark(point: Point) -> str:
    is_emulated = point.accuracy is not None and point.accuracy.origin == "estimated"
    return " (estimated, emulated)" if is_emulated else ""


def _is_reference(point: Point) -> bool:
    a = point.accuracy
    return a is not None and a.reference_model is not None and a.reference_model == a.model


def against_text(found: LabelMetrics) -> str:
    """Return ``−0.5 points [−1.4, +0.4], not distinguishable`` against the reference."""
    low, high = found.drop_interval
    values = [points_text(-found.drop), points_text(-high), points_text(-low)]
    verdict = "worse" if low > 0 else "better" if high < 0 else "not distinguishable"
    return f"{values[0]} points [{values[1]}, {values[2]}], {verdict}"


def points_text(share: float) -> str:
    """Print a difference of shares in points, with its sign: ``−0.5``."""
    if abs(share) < _TINY:
        return "0.0"
    return f"{100 * share:+.1f}".replace("-", "−")


def decibels(value: float | None) -> str:
    """Print ``38.2 dB``; None is no error at all."""
    return "no error" if value is None else f"{value:.1f} dB".replace("-", "−")


def left_out(points: Sequence[Point], drawn: Collection[int]) -> list[str]:
    """Say which points are not drawn on a speed curve, and why: alike reasons in one line.

    Args:
        points: All of them.
        drawn: The ``id`` of those that are.
    """
    reasons: dict[tuple[str, str], list[str]] = {}
    for p in points:
        if id(p) in drawn:
            continue
        why = p.no_latency_because or (
            "the reference itself" if _is_reference(p) else f"accuracy {N_A}"
        )
        found = p.accuracy_text()
        who = f"{_name(p)}, {found}" if found and p.measurement is None else _name(p)
        place = place_text(p.build.backend, p.build.target_text)
        reasons.setdefault((place, why), []).append(who)
    return [
        f"{'; '.join(dict.fromkeys(who))} ({place}): {why}"
        for (place, why), who in reasons.items()
    ]


def place_text(backend: str, target: str) -> str:
    """Name who built it and what for: ``TensorRT-RTX, SM89``."""
    return f"{BACKENDS.get(backend, backend)}, {target.upper()}"


def size_place(size: Size) -> str:
    """Name a plan by who built it and what for."""
    return f"plan, {place_text(size.backend, size.target)}"


def ratio_text(ratio: float | None) -> str:
    """Print a ratio of exact sizes: ``0.51``."""
    return N_A if ratio is None else f"{ratio:.2f}"


def sizes_sentence(sizes: Sequence[Size]) -> str:
    """Return how small models and plans became."""
    by_place: dict[str, list[str]] = {}
    for size in sizes:
        if size.model.recipe == "fp32" or size.plan_ratio is None:
            continue
        both = f"{ratio_text(size.model_ratio)} and {ratio_text(size.plan_ratio)}"
        by_place.setdefault(size_place(size), []).append(f"{size.model.recipe.upper()} {both}")
    if not by_place:
        return f"Sizes against FP32's are {N_A}: no plan of the FP32 model is there."
    parts = [f"{place}: {', '.join(said)}" for place, said in by_place.items()]
    return f"Of FP32's size, model and {'; '.join(parts)}."


def ranked_nodes(accuracy: Accuracy) -> list[NodeError]:
    """Return the nodes by falling effect on the outputs' error."""
    return sorted(accuracy.nodes or (), key=lambda node: -node.effect)


def culprits(accuracy: Accuracy) -> list[NodeError]:
    """Return the nodes to look at, the most effect first: all that are proposed to be kept.

    Where none is, the three with most effect beyond the noise.
    """
    ranked = ranked_nodes(accuracy)
    proposed = [node for node in ranked if set(node.keep) & set(accuracy.suggested)]
    return proposed or [node for node in ranked if node.certain][:_MOST_UNPROPOSED]


def effect_text(node: NodeError) -> str:
    """Print which part of the error goes away without a node: ``77 % [70, 83]``."""
    low, high = (_percent(share) for share in node.effect_interval)
    return f"{_percent(node.effect)} % [{low}, {high}]"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}".replace("-", "−").replace("−0", "0")


def nodes_sentence(accuracy: Accuracy) -> str:
    """Return at which nodes the error comes in."""
    if not accuracy.nodes:
        return f"Where the error enters is {N_A}: the nodes were not looked at."
    found = culprits(accuracy)
    if not found:
        return f"No single one of {len(accuracy.nodes)} nodes has an effect beyond the noise."
    named = ", ".join(
        f"{printable(middle_cut(node.node, 60))} ({node.op}) {effect_text(node)}"
        for node in found[:_MOST_NAMED]
    )
    more = len(found) - _MOST_NAMED
    named += f" and {more} more" if more > 0 else ""
    kept = " These are proposed to stay in higher precision." if accuracy.suggested else ""
    return (
        f"What part of the outputs' error power goes away without a node ({accuracy.origin}): "
        f"{named}.{kept}"
    )
