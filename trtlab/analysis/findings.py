"""What to do next: only what is certain from the records of a run and of its model's other runs.

No advice without evidence: each finding has its number, and where that comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from trtlab.analysis.built_precision import BuiltPrecision
from trtlab.analysis.compare import DISTURBED, compare
from trtlab.analysis.factors import Origin
from trtlab.analysis.shares import amounts
from trtlab.environment import differences
from trtlab.model.printing import printable
from trtlab.record import (
    TIME_WORDS,
    Comparison,
    Difference,
    Fusion,
    LayerProfile,
    Run,
    WorkspaceCurve,
)
from trtlab.stats import median, median_interval
from trtlab.units import (
    text_from_bytes,
    text_from_count,
    text_from_interval,
    text_from_ms,
    text_from_number,
)

MOST = 3
"""So many are shown: who reads ten does none."""
_HALF = 0.5
"""A layer with more than this share holds most of a sum."""
_ALL = 0.9
"""With less than this share of the arithmetic in it, a precision was not built throughout. Ours:
the first and last layers of a network often stay, and are small."""
_DOUBTS = DISTURBED | {"throttled"}
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is worth doing something about.

    Attributes:
        title: What was found.
        evidence: The numbers that say so.
        origin: Where these come from.
        try_: What to try.
        tab: Name of the tab that shows more.
    """

    title: str
    evidence: str
    origin: Origin
    try_: str
    tab: str


def findings(
    run: Run,
    others: Sequence[Run] = (),
    *,
    fusion: Fusion | None = None,
    built: BuiltPrecision | None = None,
    curves: Iterable[WorkspaceCurve] = (),
) -> tuple[Finding, ...]:
    """Return what is certain of a run, what matters most first; at most ``MOST``.

    Args:
        run: The run.
        others: Other runs of its model; ``run`` may be among them.
        fusion: What became of the nodes in the built plan; None where that is not known.
        built: In which precision the layers of that plan compute.
        curves: Workspace curves of the model.
    """
    if run.failure is not None:
        return ()
    found = [
        *_disturbed(run),
        *_slower(run, others),
        *_not_as_asked(built),
        *_batch(run, others),
        *(_time(run.profile) or _arithmetic(fusion)),
        *_moving(fusion),
        *_workspace(run, curves),
    ]
    return tuple(found[:MOST])


def _disturbed(run: Run) -> Iterator[Finding]:
    caveats = run.measurement.caveats if run.measurement else ()
    doubts = [c for c in caveats if c.kind in _DOUBTS]
    if doubts:
        first = doubts[0]
        also = ", ".join(dict.fromkeys(c.kind.replace("-", " ") for c in doubts[1:]))
        more = f" Also: {also}." if also else ""
        title = "The measurement was disturbed: nothing is claimed of it"
        yield Finding(title, f"{first.message}{more}", "measured", first.hint, "curves")


def _slower(run: Run, others: Sequence[Run]) -> Iterator[Finding]:
    """Say that a precision is slower than FP32 beyond the noise, with all else equal."""
    if run.recipe == "fp32":
        return
    for other in others:
        if other.recipe != "fp32" or replace(other.setup, precision=None) != replace(
            run.setup, precision=None
        ):
            continue
        found = _alike(other, run)
        if found is None or _of(found, "latency_ms").verdict != "worse":
            continue
        d = _of(found, "latency_ms")
        name = run.recipe.upper()
        at = "" if run.batch is None else f" at batch {run.batch}"
        is_engine = run.plan is not None and run.ran is not None and run.plan.hash == run.ran.hash
        yield Finding(
            f"{name} is slower than FP32 on this machine",
            f"{text_from_ms(d.b)} instead of {text_from_ms(d.a)}{at}, {_times(d)}.",
            "measured",
            "Keep FP32 here."
            + ("" if is_engine else " What the engine does on its GPU is not known."),
            "compare",
        )
        return


def _not_as_asked(built: BuiltPrecision | None) -> Iterator[Finding]:
    if built is None or built.recipe == "fp32" or built.of_weights:
        return
    effect = built.effect
    if effect is None or effect >= _ALL or built.anchors_in_asked == built.anchors:
        return  # what else computes beside the products was not asked for in that type
    name = built.recipe.split("+")[0].upper()
    products = f"{built.anchors_in_asked} of {built.anchors} convolutions and products"
    by_flops = built.share_by("flops") == effect
    what = "arithmetic" if by_flops else "convolutions and products"
    yield Finding(
        f"{_percent(effect)} of the {what} {'is' if by_flops else 'are'} in {name}, not all",
        f"{products} compute in {name} (builder).",
        "estimated" if by_flops else "builder",
        "See which layers stayed in another type, and why.",
        "precision",
    )


def _batch(run: Run, others: Sequence[Run]) -> Iterator[Finding]:
    """Say from which batch on latency grows and throughput does not.

    Certain where the most that throughput can have grown is less than the least that latency has.
    """
    line = [r for r in (run, *others) if r.batch is not None and _same_but_batch(r, run)]
    points = sorted({r.batch: r for r in reversed(line)}.items())
    for at, ((small, before), (large, after)) in enumerate(pairwise(points)):
        if any(_may_gain(before, later) for _, later in points[at + 2 :]):
            continue  # a larger batch may be worth its latency after all
        found = _alike(before, after)
        if found is None:
            continue
        rate, latency = _of(found, "throughput"), _of(found, "latency_ms")
        if rate.verdict not in ("worse", "not distinguishable") or latency.verdict != "worse":
            continue
        if not rate.interval or not latency.interval or rate.interval[1] >= latency.interval[0]:
            continue
        yield Finding(
            f"Batch {large} costs more than it gives",
            f"From batch {small} to {large}: throughput {_times(rate)}, "
            f"latency {_times(latency)}.",
            "measured",
            f"Stay at batch {small}, or set a latency limit.",
            "curves",
        )
        return


def _may_gain(before: Run, later: Run) -> bool:
    """Whether throughput at a larger batch may be higher: only what is certain says no."""
    found = _alike(before, later)
    return found is None or _of(found, "throughput").verdict not in (
        "worse",
        "not distinguishable",
    )


def _same_but_batch(one: Run, other: Run) -> bool:
    same = one.line.made.hash == other.line.made.hash and one.measurement is not None
    return same and replace(one.setup, batch=None) == replace(other.setup, batch=None)


def _time(profile: LayerProfile | None) -> list[Finding]:
    """Say which layer takes most of the time; of every profiled run, not only the middle one."""
    if profile is None or {c.kind for c in profile.caveats} & _DOUBTS:
        return []
    samples = [layer.samples_ns for layer in profile.layers if layer.samples_ns is not None]
    if len(samples) < len(profile.layers) or len(samples) < 2:
        return []
    sums = [sum(run) for run in zip(*samples, strict=True)]
    if not sums or min(sums) <= 0:
        return []
    for layer, own in zip(profile.layers, samples, strict=True):
        parts = [ns / whole for ns, whole in zip(own, sums, strict=True)]
        interval = median_interval(parts)
        if interval is None or interval.low <= _HALF:
            continue
        low, high = (_percent(end) for end in interval)
        return [
            Finding(
                f"One layer takes {_percent(median(parts))} of the time",
                f"{_name(layer.name)}: {low} to {high} of the sum of layer times "
                f"({TIME_WORDS[profile.time_kind]}, n {profile.runs}).",
                "measured",
                "Optimise there first: no other layer can give as much.",
                "layers",
            )
        ]
    return []


def _arithmetic(fusion: Fusion | None) -> list[Finding]:
    if fusion is None or len(fusion.layers) < 2:
        return []
    whole = amounts(fusion, range(len(fusion.layers)))
    if whole.flops.unknown or not whole.flops.value:
        return []
    number = max(range(len(fusion.groups)), key=lambda n: fusion.groups[n].flops or 0)
    group = fusion.groups[number]
    part = (group.flops or 0) / whole.flops.value
    if part <= _HALF:
        return []
    at = ", ".join(f"{name} = {size}" for name, size in fusion.sizes.items())
    count = text_from_count(whole.flops.value, "FLOP")
    return [
        Finding(
            f"One layer holds {_percent(part)} of the arithmetic",
            f"{_name(' + '.join(group.nodes) or fusion.layers[number].name)}: "
            f"{text_from_count(group.flops, 'FLOP')} of {count}{f' at {at}' if at else ''}.",
            "estimated",
            "Optimise there first. Time may lie elsewhere: it is known where it was measured.",
            "fusion",
        )
    ]


def _moving(fusion: Fusion | None) -> Iterator[Finding]:
    if fusion is None:
        return
    moving = [n for n, g in enumerate(fusion.groups) if g.family == "data movement"]
    if not moving:
        return
    names = [_name(fusion.layers[n].name) for n in moving[:2]]
    more = f" and {len(moving) - 2} more" if len(moving) > 2 else ""
    inputs = set(fusion.graph.inputs)
    first = any(t.name in inputs for n in moving for t in fusion.layers[n].inputs)
    yield Finding(
        "One layer only moves data"
        if len(moving) == 1
        else f"{len(moving)} layers only move data",
        f"{', '.join(names)}{more}, of {len(fusion.layers)} layers.",
        "builder",
        "Feed the input in the layout that the first layer reads, if you own what makes it."
        if first
        else "See which layers they stand between: there the layout or type changes.",
        "fusion",
    )


def _workspace(run: Run, curves: Iterable[WorkspaceCurve]) -> Iterator[Finding]:
    limit, plan = run.setup.workspace_bytes, run.plan
    if limit is None or plan is None:
        return
    for curve in curves:
        smallest = curve.smallest_bytes
        same = replace(curve.config, workspace_bytes=None) == replace(
            plan.config, workspace_bytes=None
        )
        if curve.model.hash != plan.model.hash or not same or smallest is None:
            continue
        if curve.engines == 1 and len(curve.built) > 1 and smallest < limit:
            yield Finding(
                f"A workspace limit of {text_from_bytes(smallest)} builds the same",
                f"All {len(curve.built)} limits that build give the same layers and the same "
                f"memory; the limit here is {text_from_bytes(limit)}.",
                "builder",
                "Leave it, or lower it: it decides whether it builds, and caps no activations.",
                "curves",
            )
            return


def _alike(a: Run, b: Run) -> Comparison | None:
    """Compare two runs of one machine that measured the same thing; else None."""
    x, y = a.measurement, b.measurement
    if x is None or y is None or x.contents != y.contents:
        return None
    if differences(x.environment, y.environment) or x.provider != y.provider:
        return None
    return compare(x, y)


def _of(found: Comparison, quantity: str) -> Difference:
    return next(d for d in found.differences if d.quantity == quantity)


def _times(d: Difference) -> str:
    """Print a ratio with its interval: ``×1.94 [1.60, 2.31]``."""
    word = " (not distinguishable)" if d.verdict == "not distinguishable" else ""
    return f"×{text_from_number(d.ratio)} {text_from_interval(d.interval)}{word}"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"


def _name(text: str) -> str:
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return printable(cut)
