"""Precision & accuracy: was the precision built that was asked for, and what did it cost?"""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Sequence

import ipywidgets as w

from trtlab.analysis.built_precision import NO_EFFECT, BuiltPrecision, built_precision
from trtlab.analysis.factors import share_interval
from trtlab.analysis.shares import Measure, Transition, share, transitions
from trtlab.analysis.sizes import Size, sizes_against_fp32
from trtlab.app.machine import RECIPES, cannot
from trtlab.app.panels.base import Chart, Panel, grid, text
from trtlab.app.state import State
from trtlab.errors import TrtlabError
from trtlab.record import Accuracy, Fusion, LabelMetrics, Run
from trtlab.units import N_A
from trtlab.views.cards import button, card, chip, not_there, sentence, twin
from trtlab.views.figures import figure, on_speed_curve
from trtlab.views.figures.hovers import dtype_name
from trtlab.views.graph.colour_by import PRECISION_OF, share_text
from trtlab.views.precision_sentences import (
    accuracy_sentence,
    against_text,
    built_sentence,
    decibels,
    left_out,
    nodes_sentence,
)
from trtlab.views.precision_tables import node_error_table, precision_table
from trtlab.views.run_points import by_recipe, points_of
from trtlab.views.sentences import amount_text, counted, transitions_sentence
from trtlab.views.tables import sweep_table
from trtlab.views.theme import Provenance, badge

_BUILT = 0.95
"""From this share of the arithmetic on a precision counts as built. It is ours."""
_NAMED_INSIDE = 0.18
"""Of a bar's length: a shorter part has its name below the bar."""
_MOST_NODES = 12
_HEADS = (
    "Recipe", "Top-1 [95 %]", "To the reference [95 %, paired]", "Agrees", "SQNR, worst output",
    "Max error", "NaN, Inf",
)  # fmt: skip
_NUMBER = " class='trtlab-number'"


class Precision(Panel):
    """What was asked and built, where types change, errors by recipe, error against latency."""

    name = "precision"
    title = "Precision & accuracy"
    reads = (*Panel.reads, "machine", "recorded")

    def __init__(self, state: State) -> None:
        self._speed = Chart("Error against latency", height=340)
        super().__init__(state)

    def draw(self) -> Sequence[w.Widget]:
        """Draw the selected run, and beside it the other precisions of its model."""
        run = self.state.selected
        if run is None:
            return [text(_head("") + card("No run yet", "<p>Nothing was built.</p>"))]
        latest = by_recipe(self.state.shown(), run.batch) | {run.recipe: run}
        rows = sorted(latest.values(), key=lambda r: _place(r.recipe))
        found = fusion_or_reason(self.state, run)
        speed, entering = self._against_latency(run, rows), text(self._entering(run))
        has_nodes = run.accuracy is not None and run.accuracy.nodes is not None  # a wide table
        return [
            text(_head(_reference(rows))),
            even([text(self._asked(run, found)), text(_changes(found))]),
            text(self._errors(run, rows)),
            *([even([speed]), entering] if has_nodes else [even([speed, entering], 440)]),
        ]

    def _asked(self, run: Run, found: Fusion | str) -> str:
        number = self.state.number(run)
        title = f"Asked and built{f', run {number}' if number else ''}"
        if isinstance(found, str):
            return card(title, not_there("What was built", found))
        made = built_precision(found, run.recipe)
        size = _size(run, self.state.shown())
        said = sentence(built_sentence(made, size), verdict(made))
        table = twin(precision_table([(made, size)]))
        return card(title, _bars(made) + said + table, "builder")

    def _errors(self, run: Run, rows: Sequence[Run]) -> str:
        """The card of errors: one row a recipe; below, those without an accuracy, and why."""
        judged = [r for r in rows if r.accuracy is not None]
        alike = _alike(run, judged)
        without: dict[str, list[str]] = defaultdict(list)
        for other in rows:
            if other.accuracy is None:
                without[f"{N_A}: {other.why_no('accuracy')}"].append(other.recipe)
        for recipe in RECIPES:
            if recipe not in {r.recipe for r in rows}:
                without[self._not_tried(recipe, run)].append(recipe)
        body = "".join(
            _row(r, r.accuracy, self.state.number(r), r is run, r not in alike)
            for r in judged
            if r.accuracy
        )
        body += "".join(
            f"<tr><th scope='row'>{' '.join(map(chip, recipes))}</th>"
            f"<td colspan='{len(_HEADS) - 1}' class='trtlab-na'>{html.escape(reason)}</td></tr>"
            for reason, recipes in without.items()
        )
        heads = "".join(
            f"<th scope='col'{_NUMBER if n else ''}>{html.escape(head)}</th>"
            for n, head in enumerate(_HEADS)
        )
        table = (
            f"<div class='trtlab-scroll'><table class='trtlab-errors'><thead><tr>{heads}</tr>"
            f"</thead><tbody>{body}</tbody></table></div>"
        )
        batch = "" if run.batch is None else f", batch {run.batch}"
        said = sentence(accuracy_sentence(points_of(alike))) if judged else ""
        origins = sorted({r.accuracy.origin for r in judged if r.accuracy}, reverse=True)
        only = origins if len(origins) == 1 else []  # else each row has its own
        return card(f"Error against FP32 by recipe{batch}", table + said + _notes(judged), *only)

    def _not_tried(self, recipe: str, run: Run) -> str:
        """Say that a recipe was not tried here, and why it cannot be where that is so."""
        machine = self.state.machine
        if machine is None or self.state.recorded:
            return "not tried here"
        reason = cannot(machine, None, recipe, run.setup.builder)
        return f"{N_A}: {reason}" if reason else "not tried here"

    def _against_latency(self, run: Run, rows: Sequence[Run]) -> Chart:
        judged = [r for r in rows if r.accuracy is not None]
        if not judged:
            reason = run.why_no("accuracy")
            return self._speed.say(not_there("Error against latency", reason))
        others = [r for r in judged if r not in _alike(run, judged)]
        points = points_of(r for r in rows if r not in others)
        drawn = on_speed_curve(points)
        missing = left_out(points, {id(p) for p in drawn})
        if others:
            names = ", ".join(r.recipe.upper() for r in others)
            missing.append(f"{names}: judged by other samples or another reference")
        hints = [*(["Not drawn:"] if missing else []), *missing]
        below = "".join(f"<p class='trtlab-hint'>{html.escape(line)}</p>" for line in hints)
        if not drawn:
            return self._speed.say(
                not_there("Error against latency", "no run has both an accuracy and a latency.")
                + below
            )
        return self._speed.show(
            figure(drawn, "accuracy", theme=self.state.theme),
            " ".join([accuracy_sentence(drawn), *hints]),
            *sorted({"measured", *(p.accuracy.origin for p in drawn if p.accuracy)}, reverse=True),
            table=sweep_table(drawn),
            theme=self.state.theme,
        )

    def _entering(self, run: Run) -> str:
        """The card that says at which nodes the error comes in, or offers to find out."""
        title, judged = "Where the error enters", run.accuracy
        if judged is None:
            return card(title, not_there("The error node by node", run.why_no("accuracy")))
        if judged.nodes is not None:
            table = (
                f"<div class='trtlab-scroll'>{node_error_table(judged, _MOST_NODES).html()}</div>"
            )
            more = len(judged.nodes) - _MOST_NODES
            rest = f"<p class='trtlab-hint'>and {more:,} more nodes</p>" if more > 0 else ""
            return card(title, table + rest + sentence(nodes_sentence(judged)), judged.origin)
        if judged.reference_model == judged.model:
            reason = "this run is the reference itself: select one in another precision."
            return card(title, not_there("The error node by node", reason))
        off = "" if run.source == "here" else "a recorded run cannot be judged again here"
        ask = button(
            "Find where the error enters", "per-node", str(self.state.number(run)), off=off
        )
        why = "Both models run once more, node by node, on the same samples."
        return card(title, f"<p>{ask}</p><p class='trtlab-hint'>{why} {html.escape(off)}</p>")


def even(children: Sequence[w.Widget], least_px: int = 380) -> w.Box:
    """Cards beside each other, all of them as high as the highest."""
    box = grid(children, least_px)
    box.add_class("trtlab-even")
    return box


def verdict(made: BuiltPrecision) -> str:
    """Say in a few words whether the precision that was asked for was built; "" without layers."""
    name, effect = made.recipe.upper(), made.effect
    if not made.layers:
        return ""
    if effect is None:
        return f"{name} was asked; whether it was built is not known."
    if effect < NO_EFFECT:
        return f"✕ {name} was asked, but not built."
    # What is no convolution or product computes in floating point whatever was asked for.
    if made.anchors_in_asked == made.anchors > 0 or effect >= _BUILT:
        return f"✓ {name} was asked and built."
    if effect == made.share_by("flops") and not made.of_weights:
        return f"{name} was asked, but only {share_text(effect)} of the arithmetic has it."
    return f"{name} was asked, but only {share_text(effect)} of convolutions and products have it."


def _bars(made: BuiltPrecision) -> str:
    """Bars that divide layers, arithmetic and traffic by the type that layers compute in."""
    if not made.layers:
        return ""
    measures: list[tuple[str, Measure | None, Provenance]] = [
        ("Layers", None, "builder"),
        ("FLOP", "flops", "estimated"),
        ("Bytes moved", "bytes", "estimated"),
    ]
    return f"<div class='trtlab-bars'>{''.join(_bar(made, *row) for row in measures)}</div>"


def _bar(made: BuiltPrecision, label: str, measure: Measure | None, origin: Provenance) -> str:
    glyph = "" if origin == "builder" else f" {badge(origin, short=True)}"
    head = f"<span>{label}{glyph}</span>"
    whole = made.whole
    if measure is not None and not whole.stands_for_all(measure):
        value, unknown = whole.of(measure)
        reason = (
            "all are 0" if value == 0 else f"not known for {unknown} of {len(whole.layers)} layers"
        )
        return f"<div>{head}<span class='trtlab-hint'>{N_A}: {reason}</span></div>"
    parts = []
    for one in sorted(made.shares, key=lambda one: one.dtype != made.asked):
        if measure is None:
            part, amount = len(one.amounts.layers) / len(whole.layers), len(one.amounts.layers)
            said = f"{dtype_name(one.dtype)} {amount}"
        else:
            part = share(one.amounts.of(measure), whole.of(measure)) or 0.0
            said = f"{dtype_name(one.dtype)} {share_text(part)}"
        if part:
            parts.append((part, said, PRECISION_OF.get(one.dtype or "")))
    drawn = "".join(
        f"<i class='{f'trtlab-p-{look}' if look else 'trtlab-hatched'}'"
        f" title='{html.escape(said)}' style='width:{100 * part:.2f}%'>"
        f"{f'<b>{html.escape(said)}</b>' if part >= _NAMED_INSIDE else ''}</i>"
        for part, said, look in parts
    )
    below = ", ".join(said for part, said, _ in parts if part < _NAMED_INSIDE)
    hint = f"<span class='trtlab-hint'>{html.escape(below)}</span>" if below else ""
    words = html.escape(f"{label}: {', '.join(said for _, said, _ in parts)}", quote=True)
    bar = f"<span class='trtlab-bar' role='img' aria-label='{words}'>{drawn}</span>"
    return f"<div>{head}{bar}{hint}</div>"


def fusion_or_reason(state: State, run: Run) -> Fusion | str:
    """Return what became of the built plan's nodes, or why that is not known."""
    if run.plan is None:
        return run.why_no("measurement")
    try:
        return state.fusion(run)
    except TrtlabError as error:
        return f"{error.message} {error.hint}".strip()


def _size(run: Run, runs: Sequence[Run]) -> Size | None:
    """Return how large a run's plan is against that of FP32 by the same builder."""
    plan = run.plan
    if plan is None:
        return None
    wanted = (plan.model.hash, plan.config.backend, plan.target_text)
    # A plan's size depends on its settings too: only those of equal settings are held together.
    alike = [r.plan for r in runs if r.plan is not None and r.plan.config == plan.config]
    sizes = sizes_against_fp32([plan, *alike])
    return next(s for s in sizes if (s.model.hash, s.backend, s.target) == wanted)


def _head(right: str) -> str:
    return (
        "<div class='trtlab-question'><strong>Did the precision I asked for get built, and what "
        "did it cost in accuracy?</strong><span class='trtlab-spring'></span>"
        f"<span class='trtlab-hint'>{html.escape(right)}</span></div>"
    )


def _reference(rows: Sequence[Run]) -> str:
    """Name what outputs are held against, and on how many samples."""
    found = {
        f"Reference: {a.reference}, {_samples(a)}: {a.data.words}"
        for a in (r.accuracy for r in rows)
        if a is not None
    }
    if len(found) > 1:
        return "References or samples differ from row to row."
    return found.pop() if found else ""


def _alike(run: Run, judged: Sequence[Run]) -> list[Run]:
    """Return the runs that were judged as the selected one was, else as the first one was."""
    first = next((r.accuracy for r in (run, *judged) if r.accuracy is not None), None)
    if first is None:
        return []
    ground = (first.reference, first.data)
    return [r for r in judged if r.accuracy and (r.accuracy.reference, r.accuracy.data) == ground]


def _samples(a: Accuracy) -> str:
    return counted(a.data.samples, "sample")


def _place(recipe: str) -> tuple[int, str]:
    """Rows stand in the order of the rail, others behind."""
    return (RECIPES.index(recipe) if recipe in RECIPES else len(RECIPES)), recipe


def _row(run: Run, a: Accuracy, number: int, is_selected: bool, is_other: bool) -> str:
    """One recipe's row; a click selects its run. ``is_other``: it was judged otherwise."""
    difference, look = _difference(a.labels)
    cells = [
        f"<td{_NUMBER}>{html.escape(_top1(a.labels))}</td>",
        f"<td class='trtlab-number {look}'>{html.escape(difference)}</td>",
        *(f"<td{_NUMBER}>{html.escape(t)}</td>" for t in (_agrees(a), _worst(a), _largest(a))),
        f"<td{_NUMBER}>{sum(out.not_finite for out in a.outputs):,}</td>",
    ]
    notes = ["emulated"] * (a.arithmetic == "emulated") + ["TF32"] * bool(run.setup.tf32)
    notes += [f"other samples or reference, n {a.data.samples:,}"] * is_other
    note = f" <span class='trtlab-hint'>{html.escape(', '.join(notes))}</span>" if notes else ""
    pressed = str(is_selected).lower()
    choose = f" tabindex='0' data-act='select' data-value='{number}'" if number else ""
    return (
        f"<tr{choose} data-key='recipe-{html.escape(run.recipe, quote=True)}'"
        f" aria-selected='{pressed}'><th scope='row'>{chip(run.recipe)} "
        f"{badge(a.origin, short=True)}{note}</th>{''.join(cells)}</tr>"
    )


def _top1(found: LabelMetrics | None) -> str:
    if found is None:
        return f"{N_A}: no labels"
    low, high = share_interval(found.top1, found.samples)
    return f"{100 * found.top1:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _difference(found: LabelMetrics | None) -> tuple[str, str]:
    """Return the paired difference in words, and a colour's class where it is beyond the noise."""
    if found is None:
        return N_A, ""
    low, high = found.drop_interval
    return against_text(found), "trtlab-bad" if low > 0 else "trtlab-ok" if high < 0 else ""


def _agrees(a: Accuracy) -> str:
    """How often the reference's class is named, of the output where that is least often."""
    shares = [o.top1_agreement for o in a.outputs if o.top1_agreement is not None]
    if not shares:
        return N_A
    return f"{round(min(shares) * a.data.samples):,} / {a.data.samples:,}"


def _worst(a: Accuracy) -> str:
    if a.worst_sqnr_db is not None:
        return decibels(a.worst_sqnr_db)
    return "no error" if all(o.rmse == 0 for o in a.outputs) else N_A


def _largest(a: Accuracy) -> str:
    known = [o.max_absolute for o in a.outputs if o.max_absolute is not None]
    return f"{max(known):.3g}" if known else N_A


def _notes(judged: Sequence[Run]) -> str:
    """What was compared, where softmax would hide errors, and what data cannot tell."""
    every = [r.accuracy for r in judged if r.accuracy is not None]
    lines = []
    if any(o.stage == "before softmax" for a in every for o in a.outputs):
        lines.append("Compared before softmax, which would hide errors.")
    if any(a.labels is None for a in every):
        lines.append("Without labels only the distance to the reference is known.")
    if any(a.data.random for a in every):
        lines.append("On random samples agreement says little about real ones.")
    return f"<p class='trtlab-hint'>{' '.join(lines)}</p>" if lines else ""


def _changes(found: Fusion | str) -> str:
    """The card with which types layers read and write, and which of them only convert."""
    title = "Where precision changes"
    if isinstance(found, str):
        return card(title, not_there("Types", found))
    several = transitions(found)
    if not several:
        return card(title, "<p>No layer of the plan handles data.</p>", "builder")
    sources = sorted({t.source for t in several}, key=_type_place)
    targets = sorted({t.target for t in several}, key=_type_place)
    heads = "".join(f"<th scope='col'{_NUMBER}>{_type(t)}</th>" for t in targets)
    heads += f"<th scope='col'{_NUMBER}>only convert</th>"
    heads += f"<th scope='col'{_NUMBER}>bytes of these {badge('estimated', short=True)}</th>"
    rows = "".join(_changes_row([t for t in several if t.source == s], targets) for s in sources)
    table = (
        "<div class='trtlab-scroll'><table><thead><tr><th scope='col'>reads \\ writes</th>"
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
        "<p class='trtlab-hint'>Layers by the type of their first input and output.</p>"
    )
    return card(title, table + sentence(transitions_sentence(found)), "builder")


def _changes_row(several: Sequence[Transition], targets: Sequence[str | None]) -> str:
    source = several[0].source
    cells = ""
    for target in targets:
        number = sum(len(t.every.layers) for t in several if t.target == target)
        shown = f"<strong>{number}</strong>" if number and target != source else str(number)
        cells += f"<td{_NUMBER}>{shown}</td>"
    converting = [t.converting for t in several if t.converting.layers]
    known = [c.bytes.value for c in converting if c.bytes.value is not None]
    lost = sum(c.bytes.unknown for c in converting)
    size = "—" if not converting else amount_text("bytes", sum(known)) if known else N_A
    size = f"≥ {size}" if known and lost else size
    cells += f"<td{_NUMBER}>{sum(len(c.layers) for c in converting)}</td><td{_NUMBER}>{size}</td>"
    return f"<tr><th scope='row'>{_type(source)}</th>{cells}</tr>"


def _type(dtype: str | None) -> str:
    known = PRECISION_OF.get(dtype or "")
    return chip(known) if known else html.escape(dtype_name(dtype))


def _type_place(dtype: str | None) -> tuple[bool, int, str]:
    places = [*PRECISION_OF, dtype]
    return dtype is None, places.index(dtype), dtype or ""
