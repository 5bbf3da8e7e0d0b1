"""The JSON of TensorRT's ``IEngineInspector`` → ``LayersRead``.

``trtexec --exportLayerInfo`` writes the same. Two forms: 8.x and 10.x have ``Bindings`` and a
tensor's ``Format/Datatype``; 11.x has ``I/O Tensors`` and the two apart. Files of 8.x and 10.16
were read; the form of 11.x is taken from its migration guide: untested on a real file.
"""

from __future__ import annotations

import json
from typing import Any

from trtlab.formats.engine_layers import (
    LayersRead,
    layer_from_fields,
    unread_layer,
    without_surrogates,
)
from trtlab.record import EngineLayer

MAX_CHARACTERS = 1 << 26
"""A longer text is refused. Recorded files take about 1,000 characters a layer."""

_NOT_RECOGNISED = LayersRead(None, (), names_only=False)


def read_inspector(text: str) -> LayersRead:
    """Read what the inspector said of an engine, or a list of its layers.

    It never raises: an item that is not understood is a layer of type ``unread`` at its place,
    and its JSON is in ``unread``. A bare string among objects is a layer of which nothing but the
    name is known, and in ``unread`` too. ``layers`` is None where no layer was understood, and
    for JSON that is nested too deeply or longer than ``MAX_CHARACTERS``.
    """
    if len(text) > MAX_CHARACTERS:
        return _NOT_RECOGNISED
    try:
        # Not strict: names may hold control bytes; that TensorRT escapes them is not promised.
        return _read(json.loads(text, strict=False))
    except (ValueError, RecursionError):
        return _NOT_RECOGNISED


def _read(data: Any) -> LayersRead:
    items = data.get("Layers") if isinstance(data, dict) else data or None
    if not isinstance(items, list):
        return _NOT_RECOGNISED
    names_only = bool(items) and all(isinstance(item, str) for item in items)
    layers: list[EngineLayer] = []
    unread: list[str] = []
    for item in items:
        if isinstance(item, str):
            layers.append(EngineLayer(without_surrogates(item), "", inputs=(), outputs=()))
            if not names_only:
                unread.append(json.dumps(item))
            continue
        try:
            layers.append(_layer(item))
        except (TypeError, ValueError):
            unread.append(json.dumps(item))
            name = _name(item) or f"layer {len(layers) + 1}"
            layers.append(unread_layer(unread[-1], name=name))
    if items and all(layer.type == "unread" for layer in layers):
        return LayersRead(None, tuple(unread), names_only=False)
    return LayersRead(tuple(layers), tuple(unread), names_only)


def _layer(item: object) -> EngineLayer:
    # A name alone does not make a layer: a list of devices has names too.
    if not isinstance(item, dict) or item.keys().isdisjoint({"LayerType", "Inputs", "Outputs"}):
        raise TypeError(f"no layer: {item!r}")
    return layer_from_fields(item)


def _name(item: object) -> str | None:
    name = item.get("Name") if isinstance(item, dict) else None
    return without_surrogates(name) if isinstance(name, str) else None
