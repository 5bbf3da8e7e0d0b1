"""The pieces of HTML that every panel is made of: cards, chips, tiles, buttons, sentences.

All text that is given is escaped here; what is named ``body`` is HTML already.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from trtlab.record import Run
from trtlab.units import text_from_bytes
from trtlab.views.tables import Table
from trtlab.views.theme import Provenance, badge

_FAMILIES = ("int8", "int4", "fp8", "fp16", "bf16", "tf32", "fp32")


def family(recipe: str) -> str:
    """Return the precision whose colour a recipe takes: its first part's type."""
    first = "int8" if recipe == "qdq" else recipe.split("+")[0]
    return next((name for name in _FAMILIES if first.startswith(name)), "fp32")


def recipe_text(recipe: str) -> str:
    """What a recipe is called on the screen: ``INT8``, ``INT8 weights``."""
    return recipe.upper().replace("-WEIGHTS", " weights")


def chip(recipe: str) -> str:
    """A recipe with its colour as a small square, hollow for weights alone: ``▪ INT8``."""
    hollow = " trtlab-only-weights" if "-weights" in recipe else ""
    return (
        f"<span class='trtlab-chip'><i class='trtlab-p-{family(recipe)}{hollow}'"
        f" aria-hidden='true'></i>{html.escape(recipe_text(recipe))}</span>"
    )


def mark(letter: str) -> str:
    """The sign of the baseline, ``A``, or of the selected run, ``B``."""
    word = {"A": "baseline", "B": "selected"}.get(letter, "")
    return (
        f"<span class='trtlab-mark trtlab-mark-{letter.lower()}' title='{word}'>"
        f"{html.escape(letter)}</span>"
    )


def card(title: str, body: str, *origins: Provenance, right: str = "", extra: str = "") -> str:
    """A card: a title with the badges of its numbers, and a body.

    Args:
        title: What it shows.
        body: HTML.
        origins: Where its numbers come from.
        right: HTML at the right end of the title's line.
        extra: More classes.
    """
    badges = "".join(f" {badge(origin)}" for origin in origins)
    return (
        f"<section class='trtlab-card {extra}'><div class='trtlab-card-head'>"
        f"<h3>{html.escape(title)}{badges}</h3><span class='trtlab-spring'></span>{right}</div>"
        f"{body}</section>"
    )


def sentence(text: str, lead: str = "") -> str:
    """The sentence that answers a view's question."""
    head = f"<strong>{html.escape(lead)}</strong> " if lead else ""
    return f"<p class='trtlab-finding'>{head}{html.escape(text)}</p>"


def button(label: str, act: str, value: str = "", *, kind: str = "", off: str = "") -> str:
    """A button that the frame hears.

    Args:
        label: What it says.
        act: What it means.
        value: Of what.
        kind: ``main``, ``link`` or ``danger``; "" for a plain one.
        off: Why it cannot be pressed; "" where it can.
    """
    disabled = f" disabled title='{html.escape(off, quote=True)}'" if off else ""
    return (
        f"<button type='button' class='trtlab-button trtlab-{kind or 'plain'}'"
        f" data-act='{html.escape(act, quote=True)}'"
        f" data-value='{html.escape(value, quote=True)}'{disabled}>{html.escape(label)}</button>"
    )


def choice(name: str, options: Sequence[tuple[str, str]], chosen: str, label: str) -> str:
    """A row of buttons of which one is pressed.

    Args:
        name: The act that is sent, with the option's value.
        options: Value and label of each.
        chosen: The value that is pressed.
        label: What is chosen, for those who do not see it.
    """
    parts = "".join(
        f"<button type='button' data-act='{name}' data-value='{html.escape(value, quote=True)}'"
        f" aria-pressed='{str(value == chosen).lower()}'>{html.escape(text)}</button>"
        for value, text in options
    )
    name_ = html.escape(label, quote=True)
    return f"<span class='trtlab-choice' role='group' aria-label='{name_}'>{parts}</span>"


def search(rows: str, label: str) -> str:
    """A field that hides the rows of the element with ``data-rows`` that do not have its words."""
    text = html.escape(label, quote=True)
    return (
        f"<input type='search' class='trtlab-search' data-filter='{rows}' data-key='find-{rows}'"
        f" placeholder='{text}   /' aria-label='{text}'>"
        f"<span class='trtlab-hint' data-count='{rows}' role='status'></span>"
    )


def twin(table: Table) -> str:
    """The table of a chart's numbers, folded away."""
    return f"<details class='trtlab-twin'><summary>Table</summary>{table.html()}</details>"


def not_there(what: str, reason: str, fill: str = "") -> str:
    """What a card says instead of a number that is not there: the reason, and what would help."""
    more = f" <span class='trtlab-hint'>{html.escape(fill)}</span>" if fill else ""
    return (
        f"<p class='trtlab-na'><strong>{html.escape(what)}: n/a.</strong> "
        f"{html.escape(reason)}{more}</p>"
    )


def run_text(run: Run) -> str:
    """What sets a run apart in one line: ``batch 8 · 256 MiB``."""
    setup = run.setup
    parts = [] if run.batch is None else [f"batch {run.batch}"]
    limit = setup.workspace_bytes
    if setup.builder != "onnxruntime":
        parts.append("default workspace" if limit is None else text_from_bytes(limit))
    parts += [f"{setup.streams} streams"] * (setup.streams > 1)
    return " · ".join(parts)
