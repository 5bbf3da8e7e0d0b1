"""The tabs of the workbench, each usable alone: ``trtlab.panels.curves(runs)``.

A tab is one file with a ``Panel``, and its line in ``TABS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from trtlab.app.panels.base import Panel, Screen, alone
from trtlab.app.panels.compare_tab import Compare
from trtlab.app.panels.curves_tab import Curves
from trtlab.app.panels.export_tab import Export
from trtlab.app.panels.fusion_tab import FusionView
from trtlab.app.panels.layers_tab import Layers
from trtlab.app.panels.memory_tab import Memory
from trtlab.app.panels.overview_tab import Overview
from trtlab.app.panels.precision_tab import Precision
from trtlab.errors import SpecError
from trtlab.record import Run

TABS: tuple[type[Panel], ...] = (
    Overview,
    Curves,
    Layers,
    FusionView,
    Precision,
    Memory,
    Compare,
    Export,
)
"""In the order of the screen."""

_BY_NAME = {panel.name: panel for panel in TABS}


def __getattr__(name: str) -> Callable[..., Screen]:
    """Return the function that makes one panel: its runs, ``baseline`` and ``theme``."""
    if name not in _BY_NAME:
        raise AttributeError(f"module 'trtlab.panels' has no attribute {name!r}")
    return partial(_panel, _BY_NAME[name])


def __dir__() -> list[str]:
    return sorted(_BY_NAME)


def _panel(panel: type[Panel], runs: Any, *, baseline: Any = None, theme: Any = None) -> Screen:
    """Show one panel about the last of these runs, in a cell of its own.

    Raises:
        SpecError: there is no run among what was given, or something else.
    """
    several: Sequence[Any] = runs if isinstance(runs, Sequence) else (runs,)
    for run in (*several, *([] if baseline is None else [baseline])):
        if not isinstance(run, Run):
            raise SpecError(
                f"A {type(run).__name__} is no run.",
                hint="Give what trtlab.run returned, or a list of them.",
            )
    if not several:
        raise SpecError("There is no run to show.", hint="Make one with trtlab.run.")
    return alone(panel, several, baseline, theme)
