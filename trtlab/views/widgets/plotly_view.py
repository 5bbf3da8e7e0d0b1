"""A widget that shows a plotly figure.

``FigureWidget`` carries the 5 MB library in every saved notebook and does not fill its cell;
this view holds only the figure's JSON, and all views of a page share one plotly.js.
"""

from __future__ import annotations

import gzip
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from trtlab.errors import SpecError
from trtlab.views.theme import Theme, template

_KERNEL = uuid.uuid4().hex
"""Tells the page which views share this process, so that it asks for the library only once."""


class _Json(str):
    """Text that was made from a figure: traitlets validates a first value twice."""

    __slots__ = ()


class _Figure(traitlets.TraitType[_Json, Any]):
    """A figure, kept as the JSON text it had when it was assigned.

    Text, because a figure that is changed and assigned again is the same object: only its
    text tells that there is something to draw.
    """

    default_value = _Json('{"data": []}')

    def validate(self, obj: Any, value: Any) -> _Json:  # noqa: ARG002 - traitlets' signature
        return value if isinstance(value, _Json) else _figure_json(value)


class PlotlyView(anywidget.AnyWidget):
    """Shows a figure over the full width of its place, and tells which point was clicked.

    Assign ``figure``, ``theme``, ``height`` or ``label`` to change what is shown; inside
    ``with view.hold_sync():`` several changes are drawn once. ``clicked`` is a dict of
    ``curve``, ``point`` (its number in the curve) and ``customdata``; set it to ``{}`` to hear
    of a second click on the same point. The theme's template replaces the figure's own, and
    the figure's other settings win over the template.

    Args:
        figure: A plotly figure, or its dict with ``data`` and ``layout``.
        theme: ``"light"`` or ``"dark"``; the kernel cannot see the host's theme.
        height: Height in pixels; the width is the place's.
        label: The finding in words, for those who do not see the figure.

    Raises:
        SpecError: ``figure`` is no figure, or ``theme`` or ``height`` is out of range.
    """

    _esm = Path(__file__).parent / "static" / "plotly_view.js"

    figure = _Figure().tag(sync=True)
    theme = traitlets.Unicode("light")
    height = traitlets.Int(360).tag(sync=True)
    label = traitlets.Unicode("Figure").tag(sync=True)
    clicked = traitlets.Dict().tag(sync=True)
    _template = traitlets.Dict().tag(sync=True)
    _kernel = traitlets.Unicode(_KERNEL, read_only=True).tag(sync=True)

    def __init__(
        self,
        figure: Any,
        *,
        theme: Theme = "light",
        height: int = 360,
        label: str = "Figure",
    ) -> None:
        super().__init__(figure=figure, theme=theme, height=height, label=label)
        self.on_msg(_answer)

    @traitlets.default("_template")
    def _first_template(self) -> dict[str, Any]:
        return template("light")

    @traitlets.validate("theme")
    def _known_theme(self, proposal: Any) -> str:
        if proposal["value"] not in ("light", "dark"):
            raise SpecError(
                f"There is no theme {proposal['value']!r}.", hint="Use 'light' or 'dark'."
            )
        return str(proposal["value"])

    @traitlets.validate("height")
    def _usable_height(self, proposal: Any) -> int:
        if proposal["value"] < 80:
            raise SpecError(
                f"A figure cannot be {proposal['value']} px high.", hint="Use 80 or more."
            )
        return int(proposal["value"])

    @traitlets.observe("theme")
    def _take_template(self, change: Any) -> None:
        self._template = template(change["new"])


def _figure_json(figure: Any) -> _Json:
    if hasattr(figure, "to_plotly_json") and hasattr(figure, "to_json"):
        plain = json.loads(figure.to_json(validate=False))
    elif isinstance(figure, Mapping) and _is_list(figure.get("data")):
        plain = _plain(figure)
    else:
        raise SpecError(
            f"A {type(figure).__name__} is no figure.",
            hint="Give a plotly.graph_objects.Figure, or a dict with a list under 'data'.",
        )
    layout = dict(plain.get("layout") or {})
    layout.pop("template", None)  # the view has its own, and plotly's default one is 6 kB
    try:
        text = json.dumps({"data": plain["data"], "layout": layout}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"The figure's dict cannot be shown: {error}.",
            hint="Give plain numbers, text, lists and NumPy arrays.",
        ) from error
    return _Json(text)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _plain(value: Any) -> Any:
    """The value with NumPy data as lists, and ``None`` for numbers that JSON does not have."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if _is_list(value):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _answer(view: PlotlyView, content: Any, buffers: Any) -> None:  # noqa: ARG001 - ipywidgets
    """Send the library to a page that could not get it from plotly's own Lab extension.

    As a buffer of a message and never as a trait, so that no notebook saves it.
    """
    if content != {"kind": "plotly.js"}:
        return
    try:
        library = _gzipped_plotly()
    except (ImportError, OSError) as error:
        view.send({"kind": "plotly.js", "error": f"plotly.js was not found ({error})"})
    else:
        view.send({"kind": "plotly.js"}, buffers=[library])


@cache
def _gzipped_plotly() -> bytes:
    source = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    return gzip.compress(source, compresslevel=6, mtime=0)
