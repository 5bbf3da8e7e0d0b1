"""A workbench for tests, and what is in it."""

import ipywidgets as w

from trtlab.record import Environment, Failure, ModelRef, Run, RunLine
from trtlab.spec import Setup


def all_of(widget, kind):
    """Every widget of a kind inside one."""
    found = [widget] if isinstance(widget, kind) else []
    for child in getattr(widget, "children", ()):
        found += all_of(child, kind)
    return found


def text(widget):
    """All HTML that is seen."""
    if getattr(widget.layout, "display", "") == "none":
        return ""
    own = widget.value if isinstance(widget, w.HTML) else ""
    return own + " ".join(text(child) for child in getattr(widget, "children", ()))


def button(widget, name):
    """The button with that description."""
    kinds = (w.Button, w.ToggleButton)
    return next(b for kind in kinds for b in all_of(widget, kind) if b.description == name)


def field(widget, title):
    """The control whose tooltip begins so."""
    kinds = (w.Text, w.Combobox, w.Dropdown, w.SelectionSlider)
    controls = [c for kind in kinds for c in all_of(widget, kind)]
    return next(c for c in controls if str(c.tooltip or "").startswith(title))


def a_run(recipe="fp32", batch=8, failure=None, **parts):
    """A run with a line of its own; its records are what is given."""
    model = ModelRef("digits", "a1" * 32, "fp32", None)
    made = model if recipe == "fp32" else ModelRef("digits", "b2" * 32, recipe, model.hash)
    line = RunLine(
        model=model,
        origin="zoo:digits",
        made=made,
        setup=parts.pop("setup", None)
        or Setup(precision=recipe, batch=batch, batches=(1, 8, 16), builder="tensorrt_rtx"),
        failure=Failure("build", failure, "") if failure else None,
        missing=parts.pop("missing", {}),
        environment=Environment(created="2026-11-21T10:00:00+00:00"),
    )
    return Run(line=line, **parts)
