"""A fusion as one HTML file that needs no network: the widget's own drawing, with its data."""

from __future__ import annotations

import json
from typing import Any

from trtlab.record import Fusion
from trtlab.views.graph.pair import pair_scene
from trtlab.views.graph.scene import scene
from trtlab.views.theme import Theme, graph_palette
from trtlab.views.widgets.graph_view import MODULE


def fusion_page(fusion: Fusion, other: Fusion | None = None, *, theme: Theme | None = None) -> str:
    """Return the text of an HTML file that shows a fusion as ``graph`` does.

    Args:
        fusion: Which nodes became which layers.
        other: That of another engine, to be compared with.
        theme: The theme that the page begins with, None for the system's; a button changes it.
    """
    import jinja2

    drawn = scene(fusion) if other is None else pair_scene(fusion, other)
    loader = jinja2.PackageLoader("trtlab.views.pages", ".")
    page = jinja2.Environment(loader=loader, autoescape=True).get_template("fusion.html.j2")
    return page.render(
        title=f"{fusion.model.name}: fusion" if other is None else drawn["title"],
        theme=theme,
        module=MODULE,
        scene=_inside_html(drawn),
        palette=_inside_html(graph_palette()),
    )


def _inside_html(value: Any) -> str:
    """JSON in which nothing can end the script element that holds it."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
