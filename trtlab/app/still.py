"""``Still``: a plain picture beside the widget, for a notebook that is opened without a kernel.

A widget lives in the kernel: without one its place is empty. The still is an ordinary output of
the same cell, kept up to date, and hidden by the widget's own stylesheet while there is one.
"""

from __future__ import annotations

import html
import re
import uuid
from typing import Any

from trtlab.app.state import State
from trtlab.record.base import caveat_rows
from trtlab.views.theme import css

_PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")
_MOST_BYTES = 400_000
"""A picture larger than this stays out of the notebook, which is to stay below 1 MB."""


class Still:
    """The output below a workbench.

    Args:
        state: What it tells of.
    """

    def __init__(self, state: State) -> None:
        self.name = f"trtlab-still-{uuid.uuid4().hex[:8]}"
        self._state = state
        self._picture = ""
        self._shown: Any = None

    def show(self) -> None:
        """Put it out, below what the cell has put out so far."""
        from IPython.display import HTML, display

        self._shown = display(HTML(self.html()), display_id=True)

    def take(self, picture: str) -> None:
        """Take a figure's picture, a data URL, and bring the output up to date."""
        is_one = _PICTURE.fullmatch(picture) and len(picture) <= _MOST_BYTES
        self._picture = picture if is_one else ""  # never that of another run
        self.renew()

    def renew(self) -> None:
        """Bring the output up to date."""
        if self._shown is not None:
            from IPython.display import HTML

            self._shown.update(HTML(self.html()))

    def html(self) -> str:
        """Return what a reader without a kernel sees: the run in words, and the picture."""
        run = self._state.selected
        if run is None:
            return f"<div class='{self.name}'>{_note('No run yet.')}</div>"
        told = list(run.rows())
        if run.measurement is not None:
            told += caveat_rows(run.measurement.caveats)
        rows = "".join(
            f"<tr><th scope='row'>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>"
            for label, text in told
        )
        dark = " trtlab-dark" if self._state.theme == "dark" else ""
        image = ""
        if self._picture:
            image = f"<img src='{self._picture}' alt='a figure of {html.escape(run.label)}'>"
        return (
            f"<div class='{self.name}'><style>{css()}</style><div class='trtlab{dark}'>"
            f"{_note('As last seen; run the cell again to use it.')}"
            f"<table>{rows}</table>{image}</div></div>"
        )


def _note(text: str) -> str:
    return f"<p><strong>trtlab workbench.</strong> {html.escape(text)}</p>"
