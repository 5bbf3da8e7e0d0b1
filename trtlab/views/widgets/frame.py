"""``Frame``: what a screen of ipywidgets needs of the page beside its controls.

A button drawn in HTML says what it means with ``data-act`` and ``data-value``, a field with
``data-change``; the frame sends that to the kernel. It also hears keys, gives roles and labels,
follows the host's theme, keeps focus when parts are drawn again, and says when the kernel is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from trtlab.views.theme import PRECISION, css

_FOLDER = Path(__file__).parent / "static" / "frame"

UPLOAD_BYTES = 10 * 2**20
"""A page sends a file to the kernel as one message, and Jupyter's server takes about 10 MB."""

OnAct = Callable[[str, str], None]
"""Called with what a button means and its value."""


def style() -> str:
    """The stylesheet of everything inside ``.trtlab-screen``, one file for each part of it."""
    files = sorted(_FOLDER.glob("*.css"), key=lambda file: (file.name != "style.css", file.name))
    squares = "".join(
        f".trtlab-p-{name}{{background:{look.light}}}.trtlab-dark .trtlab-p-{name}"
        f"{{background:{look.dark}}}\n"
        for name, look in PRECISION.items()
    )
    squares += "".join(
        f".trtlab-recipe-{name}::before{{background:{look.light}}}"
        f".trtlab-dark .trtlab-recipe-{name}::before{{background:{look.dark}}}"
        f".trtlab-recipe-{name}.trtlab-recipe-hollow::before{{background:none;"
        f"border:2px solid {look.light};height:5px;width:5px}}"
        f".trtlab-dark .trtlab-recipe-{name}.trtlab-recipe-hollow::before{{"
        f"border-color:{look.dark}}}\n"
        for name, look in PRECISION.items()
    )
    return css() + squares + "".join(file.read_text(encoding="utf-8") for file in files)


class Frame(anywidget.AnyWidget):
    """Stands inside a box with the class ``trtlab-screen`` and shows nothing itself.

    Args:
        on_act: Called with what was pressed and its value, on whatever thread the message comes.
        keys: Whether single keys do something.
    """

    _esm = (_FOLDER / "frame.js").read_text(encoding="utf-8")
    _css = style()

    host_theme = traitlets.Enum(["", "light", "dark"], default_value="").tag(sync=True)
    upload_bytes = traitlets.Int(UPLOAD_BYTES, read_only=True).tag(sync=True)
    still = traitlets.Unicode("").tag(sync=True)
    """Class of a plain picture in the notebook that is hidden while the screen is seen."""
    single_keys = traitlets.Bool(True).tag(sync=True)

    def __init__(self, on_act: OnAct, *, keys: bool = True) -> None:
        super().__init__(single_keys=keys)
        self._on_act = on_act
        self.on_msg(self._heard)

    def _heard(self, _widget: Any, content: Any, _buffers: Any) -> None:
        act, value = content.get("act"), content.get("value", "")
        if isinstance(act, str) and isinstance(value, str):
            self._on_act(act, value)
