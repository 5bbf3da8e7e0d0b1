"""Workspace limits side by side: which build, which do not, and which give the same engine."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trtlab.record import BuilderMemory, Measurement, Run, WorkspaceCurve, WorkspacePoint
from trtlab.spec import BuildConfig, Setup
from trtlab.units import text_from_bytes, text_from_number
from trtlab.views.theme import badge


@dataclass(frozen=True, slots=True)
class Tried:
    """One workspace limit and what came of it.

    Attributes:
        limit_bytes: None is the builder's own default.
        builds: Whether there was a plan.
        memory: What the builder says of its memory; ``layers`` how many layers it has.
        differs: Whether its layers are known to differ from those of the next larger limit.
        measurement: A run of that plan, from a curve.
    """

    limit_bytes: int | None
    builds: bool
    memory: BuilderMemory | None = None
    layers: int | None = None
    differs: bool = False
    measurement: Measurement | None = None

    def like(self, larger: Tried) -> bool:
        """Whether both build, and as far as is known the same engine."""
        same = (self.memory, self.layers) == (larger.memory, larger.layers)
        return self.builds and larger.builds and same and not self.differs


def matching_curve(run: Run, curves: Iterable[WorkspaceCurve]) -> WorkspaceCurve | None:
    """Return the last curve that was made of a run's model with all else as the run's."""
    found = None
    for curve in curves:
        model, config = curve.model, curve.config
        # A run that failed does not know the model that was converted for it.
        made = run.line.made.hash == model.hash or model.parent == run.model.hash
        same_model = made and model.recipe == run.recipe
        if same_model and fits(run.setup, config):
            found = curve
    return found


def fits(setup: Setup, config: BuildConfig) -> bool:
    """Whether a curve was made of engines such as a setup asks for, but for their limit."""
    ranges = [shapes for profile in config.profiles for shapes in profile.values()]
    batches = [tuple(shape[0] for shape in shapes) for shapes in ranges if shapes.opt]
    named = config.profiles[0] if config.profiles else {}
    return (
        setup.builder == config.backend
        and setup.target in (None, config.target_text)
        and setup.tf32 == config.tf32
        and (setup.batches is None or setup.batches in batches)
        and all(name in named and named[name].opt[1:] == shape[1:]
                for name, shape in setup.shapes.items())
    )  # fmt: skip


def tried_limits(run: Run, runs: Iterable[Run], curve: WorkspaceCurve | None) -> tuple[Tried, ...]:
    """Return the limits that were tried for an engine like a run's, smallest first.

    Args:
        run: The run.
        runs: Others of its model; those that differ in more than limit, batch and how they were
            run are left out.
        curve: The curve of that engine, where there is one: it wins over runs.
    """
    found: dict[int | None, Tried] = {}
    for one in runs:
        if _engine(one) == _engine(run) and (tried := _of_run(one)) is not None:
            found[tried.limit_bytes] = tried
    for point in () if curve is None else curve.points:
        found[point.limit_bytes] = _of_point(point)
    return tuple(found[size] for size in sorted(found, key=lambda s: (s is None, s or 0)))


def _engine(run: Run) -> tuple[object, ...]:
    s = run.setup
    return (run.model.hash, run.recipe, s.builder, s.target, s.batches, dict(s.shapes), s.tf32)


def _of_run(run: Run) -> Tried | None:
    """Return what a run tells of its limit; None where it failed for another reason."""
    limit, plan = run.setup.workspace_bytes, run.plan
    if plan is None:
        too_small = run.failure is not None and run.failure.kind == "workspace"
        return Tried(limit, builds=False) if too_small else None
    return Tried(limit, True, plan.memory, None if plan.layers is None else len(plan.layers))


def _of_point(p: WorkspacePoint) -> Tried:
    return Tried(
        p.limit_bytes,
        p.plan is not None,
        p.memory,
        p.layers,
        differs=bool(p.layers_changed),
        measurement=p.measurement,
    )


def workspace_strip(tried: Sequence[Tried], selected_bytes: int | None) -> str:
    """Return limits as a row of boxes, and below them what neighbours have in common.

    Args:
        tried: The limits, smallest first.
        selected_bytes: The limit of the selected run, which is marked.
    """
    heads, boxes, times = [], [], []
    for one in tried:
        is_selected = one.limit_bytes == selected_bytes
        now = " aria-current='true'" if is_selected else ""
        look = ("trtlab-builds" if one.builds else "trtlab-fails") + (
            " trtlab-strip-now" if is_selected else ""
        )
        sign, word = ("✓", "builds") if one.builds else ("✕", "does not build")
        heads.append(f"<th scope='col'{now}>{_limit_text(one.limit_bytes)}</th>")
        boxes.append(
            f"<td class='{look}'><span aria-hidden='true'>{sign}</span>"
            f"<span class='trtlab-unseen'>{word}</span></td>"
        )
        times.append(f"<td>{'—' if one.measurement is None else _ms(one.measurement)}</td>")
    common = "".join(
        f"<td colspan='{len(part)}'><span>{html.escape(_common(part))}</span></td>"
        for part in _alike(tried)
    )
    timed = ""
    if any(one.measurement for one in tried):
        timed = (f"<tr><th scope='row'>p50, ms {badge('measured', short=True)}</th>"
                 f"{''.join(times)}</tr>")  # fmt: skip
    return (
        "<div class='trtlab-scroll'><table class='trtlab-strip'>"
        f"<thead><tr><th scope='row'>Limit, MiB</th>{''.join(heads)}</tr></thead><tbody>"
        f"<tr class='trtlab-strip-boxes'><th scope='row'>Builds</th>{''.join(boxes)}</tr>"
        f"<tr class='trtlab-strip-common'><th scope='row'>Engine</th>{common}</tr>{timed}"
        "</tbody></table></div>"
    )


def _limit_text(size: int | None) -> str:
    if size is None:
        return "default"
    return f"{size // 2**20:,}" if size % 2**20 == 0 else text_from_number(size / 2**20)


def _ms(m: Measurement) -> str:
    return text_from_number(m.median_ms)


def _alike(tried: Sequence[Tried]) -> list[list[Tried]]:
    """Group neighbours that fail, and neighbours that give the same engine."""
    groups: list[list[Tried]] = [list(tried[:1])] if tried else []
    for smaller, larger in itertools.pairwise(tried):
        if smaller.like(larger) or not (smaller.builds or larger.builds):
            groups[-1].append(larger)
        else:
            groups.append([larger])
    return groups


def _common(part: Sequence[Tried]) -> str:
    first = part[0]
    if not first.builds:
        return "does not build" if len(part) > 1 else "fails"
    activations = first.memory.activation if first.memory else None
    if len(part) == 1:
        return text_from_bytes(activations)
    layers = "" if first.layers is None else "same layers, "
    memory = "memory n/a" if activations is None else f"same {text_from_bytes(activations)}"
    return layers + memory


def strip_sentence(tried: Sequence[Tried]) -> str:
    """Return the bounds that runs alone have shown."""
    sizes = [t.limit_bytes for t in tried if t.builds and t.limit_bytes is not None]
    failing = [t.limit_bytes for t in tried if not t.builds and t.limit_bytes is not None]
    parts = []
    if sizes:
        parts.append(f"smallest limit seen to build {text_from_bytes(min(sizes))}")
    if failing:
        parts.append(f"largest seen to fail {text_from_bytes(max(failing))}")
    return (
        f"So far: {', '.join(parts)}." if parts else "So far only the builder's default was tried."
    )


def asked_sentence(curve: WorkspaceCurve) -> str:
    """Return what the builder named where it failed, and whether that says what is needed."""
    beyond = curve.beyond_limit_bytes
    if beyond is not None:
        more = text_from_bytes(beyond)
        return f"Where it fails the builder names the limit plus {more}: no hint at the need."
    asked = sorted({p.asked_bytes for p in curve.points if p.asked_bytes is not None})
    if not asked:
        return ""
    sizes = " to ".join(dict.fromkeys(text_from_bytes(size) for size in (asked[0], asked[-1])))
    return f"Where it fails the builder asked for {sizes}."
