"""``Shown``: what shows itself as text and small HTML, in a terminal and in a notebook."""

from __future__ import annotations

import html


class Shown:
    """Something that shows itself as text and small HTML, both built from ``rows()`` alone."""

    __slots__ = ()

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        raise NotImplementedError

    def __repr__(self) -> str:
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th scope='row' style='text-align:left'>{html.escape(label)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for label, text in self.rows()
        )
        return f"<table class='trtlab-record'>{cells}</table>"
