"""A widget that shows a fusion: the ONNX graph beside the layers that it became."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from trtlab.errors import SpecError
from trtlab.model.printing import printable
from trtlab.record import Fusion
from trtlab.views.graph.pair import pair_scene
from trtlab.views.graph.scene import scene
from trtlab.views.theme import Theme, graph_palette

LEAST_HEIGHT = 240
_FOLDER = Path(__file__).parent / "static" / "graph_view"


def _module() -> str:
    """The front end as one module: its parts in order, without comments and indentation.

    Every widget in a saved notebook holds it.
    """
    names = ("style.css", "scene.js", "painter.js", "panel.js", "view.js")
    style, *parts = ((_FOLDER / name).read_text(encoding="utf-8") for name in names)
    parts.insert(0, f"const STYLE = {json.dumps(style)};")
    lines = [line.strip() for part in parts for line in part.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("//"))


MODULE = _module()
"""A page that runs this has a function ``render``, which takes a model and an element."""


def graph(
    fusion: Fusion,
    other: Fusion | None = None,
    *,
    theme: Theme = "light",
    height: int = 640,
) -> GraphView:
    """Return a widget with a graph and its engine side by side, or with two engines.

    Args:
        fusion: Which nodes became which layers.
        other: That of another engine: the layers of ``fusion`` are then A, on the left, and its
            layers B, on the right, tagged by the sets that ``compare`` finds.
        theme: ``"light"`` or ``"dark"``; the kernel cannot see the host's theme.
        height: Height in pixels; the width is the place's.

    Raises:
        SpecError: it is no fusion, or ``theme`` or ``height`` is out of range.
        MismatchError: the engines have too many layers to be aligned without a graph.
    """
    for each in (fusion, other):
        if each is not None and not isinstance(each, Fusion):
            raise SpecError(
                f"A {type(each).__name__} cannot be drawn as a graph.",
                hint="Give what trtlab.fusion(plan) returned.",
            )
    return GraphView(fusion, other, theme=theme, height=height)


class GraphView(anywidget.AnyWidget):
    """Shows a fusion over the full width of its place, and tells what is selected in it.

    Assign ``theme``, ``height``, ``colour`` or ``selected`` to change what is shown; what is drawn
    is sent once. ``selected`` is ``"node:NAME"``, ``"layer:NAME"`` or ``""``: a node and a layer
    may have the same name, so the page always writes one of the two words. A bare name or a
    group's tag (``"G6"``) may be assigned and is completed; of layers with the same name the
    second is ``"layer:NAME#2"``. Of two engines the words are ``A`` and ``B``, the tags ``"S6"``.

    Args:
        fusion: Which nodes became which layers.
        other: That of another engine, to be compared with.
        theme: ``"light"`` or ``"dark"``; the kernel cannot see the host's theme.
        height: Height in pixels; the width is the place's.

    Raises:
        SpecError: ``theme``, ``height``, ``colour`` or ``selected`` is none that there is.
    """

    _esm = MODULE

    _scene = traitlets.Unicode().tag(sync=True)
    _palette = traitlets.Dict().tag(sync=True)
    selected = traitlets.Unicode("").tag(sync=True)
    theme = traitlets.Unicode("light").tag(sync=True)
    height = traitlets.Int(640).tag(sync=True)
    colour = traitlets.Unicode("kind").tag(sync=True)

    def __init__(
        self,
        fusion: Fusion,
        other: Fusion | None = None,
        *,
        theme: Theme = "light",
        height: int = 640,
    ) -> None:
        drawn = scene(fusion) if other is None else pair_scene(fusion, other)
        self._of = drawn["title"]
        self._keys = _keys(drawn)
        self._modes = {mode["id"]: mode.get("reason") for mode in drawn["modes"]}
        text = json.dumps(drawn, allow_nan=False, separators=(",", ":"))
        super().__init__(_scene=text, _palette=graph_palette(), theme=theme, height=height)

    @traitlets.validate("selected")
    def _known_name(self, proposal: Any) -> str:
        name = str(proposal["value"])
        if name and name not in self._keys:
            raise SpecError(
                f"There is no node and no layer {printable(name[:200])!r} in {self._of}.",
                hint="The table of the view lists what there is.",
            )
        return self._keys[name] if name else ""

    @traitlets.validate("theme")
    def _known_theme(self, proposal: Any) -> str:
        if proposal["value"] not in ("light", "dark"):
            raise SpecError(
                f"There is no theme {proposal['value']!r}.", hint="Use 'light' or 'dark'."
            )
        return str(proposal["value"])

    @traitlets.validate("height")
    def _usable_height(self, proposal: Any) -> int:
        if proposal["value"] < LEAST_HEIGHT:
            raise SpecError(
                f"A graph cannot be {proposal['value']} px high.",
                hint=f"Use {LEAST_HEIGHT} or more.",
            )
        return int(proposal["value"])

    @traitlets.validate("colour")
    def _usable_colour(self, proposal: Any) -> str:
        colour = str(proposal["value"])
        usable = [name for name, reason in self._modes.items() if reason is None]
        if colour not in usable:
            reason = self._modes.get(colour) or "there is no such choice"
            raise SpecError(
                f"The graph cannot be coloured by {colour!r}: {reason}.",
                hint=f"Use one of {', '.join(usable)}.",
            )
        return colour


def _keys(drawn: dict[str, Any]) -> dict[str, str]:
    """By everything that may be assigned to ``selected`` what it becomes."""
    nodes, layers = drawn["nodes"], drawn["layers"]
    left, right = drawn["sides"]
    named: list[tuple[str, str]] = [(f"{left}:{name}", name) for name in nodes["name"]]
    tagged: list[tuple[str, str]] = []
    for name, copy, tag in zip(layers["name"], layers["copy"], layers["tag"], strict=True):
        key = f"{right}:{name}#{copy}" if copy > 1 else f"{right}:{name}"
        named.append((key, name))
        tagged.append((key, tag))
    for found in drawn.get("sets", ()):
        if found["nodes"]:
            tagged.append((f"{left}:{nodes['name'][found['nodes'][0]]}", found["tag"]))
        elif found["layers"]:
            tagged.append((tagged[found["layers"][0]][0], found["tag"]))
    keys = {key: key for key, _ in named}
    for key, name in (*named, *tagged):
        if name:
            keys.setdefault(name, key)
    return keys
