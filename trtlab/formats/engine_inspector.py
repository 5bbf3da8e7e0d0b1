"""The JSON of TensorRT's ``IEngineInspector`` → ``LayersRead``, and a plan's layers → JSON.

``trtexec --exportLayerInfo`` writes the same. Two forms: 8.x and 10.x have ``Bindings`` and a
tensor's ``Format/Datatype``; 11.x has ``I/O Tensors`` and the two apart. Files of 8.x and 10.16
were read; the form of 11.x is taken from its migration guide: untested on a real file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trtlab.errors import RecordError, UnsupportedError
from trtlab.formats.engine_layers import (
    Known,
    LayersRead,
    fields_of,
    io_tensors,
    io_tensors_from_fields,
    layer_from_fields,
    unread_layer,
)
from trtlab.formats.json_file import decoded
from trtlab.model.types import Tensor
from trtlab.record import EngineLayer, Plan
from trtlab.spec import TENSORRT

MAX_CHARACTERS = 1 << 26
"""A longer text is refused. Recorded files take about 1,000 characters a layer."""

_NOT_RECOGNISED = LayersRead(None, (), names_only=False)
_MARKS = {"LayerType", "Inputs", "Outputs"}


def read_inspector(text: str) -> LayersRead:
    """Read what the inspector said of an engine, or a list of its layers.

    It never raises: see ``layers_of``. ``layers`` is None also for what is no JSON, is nested too
    deeply or is longer than ``MAX_CHARACTERS``.
    """
    if len(text) > MAX_CHARACTERS:
        return _NOT_RECOGNISED
    try:
        return layers_of(decoded(text, "the inspector's answer"))
    except RecordError:
        return _NOT_RECOGNISED


def layers_of(data: Any) -> LayersRead:
    """Read the layers out of the decoded JSON.

    It never raises: an item that is not understood is a layer of type ``unread`` at its place,
    and its JSON is in ``unread``. A bare string among objects is a layer of which nothing but the
    name is known, and in ``unread`` too. ``layers`` is None where no layer was understood.
    """
    items = data.get("Layers") if isinstance(data, dict) else data or None
    if not isinstance(items, list):
        return _NOT_RECOGNISED
    names_only = bool(items) and all(isinstance(item, str) for item in items)
    layers: list[EngineLayer] = []
    known: Known = {}
    unread: list[str] = []
    for item in items:
        if isinstance(item, str):
            layers.append(EngineLayer(item, "", inputs=(), outputs=()))
            if not names_only:
                unread.append(json.dumps(item))
            continue
        try:
            layers.append(_layer(item, known))
        except (TypeError, ValueError, RecursionError):
            unread.append(_said(item))
            name = _name(item) or f"layer {len(layers) + 1}"
            layers.append(unread_layer(unread[-1], name=name))
    if items and all(layer.type == "unread" for layer in layers):
        return LayersRead(None, tuple(unread), names_only=False)
    inputs, outputs = _io(data, layers)
    return LayersRead(tuple(layers), tuple(unread), names_only, inputs, outputs)


def layers_json(plan: Plan) -> bytes:
    """Return a plan's layers as ``trtexec --exportLayerInfo`` writes them, in the form of 10.x.

    Raises:
        UnsupportedError: TensorRT did not build the plan, or its layers are not all known.
    """
    if plan.config.backend not in TENSORRT:
        raise UnsupportedError(
            f"{plan.model.name} is a plan of {plan.config.backend}: trtexec has no form for it.",
            hint="Export a plan of TensorRT.",
        )
    if plan.layers is None or any(c.kind == "layers-unread" for c in plan.caveats):
        raise UnsupportedError(
            f"Not all layers of {plan.model.name} are known: a file of them would not be whole.",
            hint="Export a plan of which the builder tells all layers.",
        )
    names_only = plan.config.profiling_verbosity != "DETAILED"
    layers = [layer.name if names_only else fields_of(layer) for layer in plan.layers]
    names = [tensor.name for tensor in (*plan.inputs, *plan.outputs)]
    lines = ",\n ".join(json.dumps(layer, allow_nan=False) for layer in layers)
    return f'{{"Layers": [\n {lines}\n],\n"Bindings": {json.dumps(names)}\n}}\n'.encode()


def _layer(item: object, known: Known) -> EngineLayer:
    # A name alone does not make a layer: a list of devices has names too.
    if not isinstance(item, dict) or item.keys().isdisjoint(_MARKS):
        raise TypeError(f"no layer: {type(item).__name__}")
    return layer_from_fields(item, known)


def _said(item: object) -> str:
    try:
        return json.dumps(item)
    except (RecursionError, ValueError):
        return '"nested too deeply, or a number of thousands of digits"'


def _name(item: object) -> str | None:
    name = item.get("Name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else None


def _io(data: Any, layers: Sequence[EngineLayer]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return inputs and outputs, both empty where they are not told in a known form."""
    said = data if isinstance(data, dict) else {}
    tensors, names = said.get("I/O Tensors"), said.get("Bindings")
    if isinstance(tensors, list) and all(isinstance(t, dict) for t in tensors):
        try:
            return io_tensors_from_fields(tensors)
        except (TypeError, ValueError, KeyError):
            return (), ()
    if isinstance(names, list):
        return io_tensors([n for n in names if isinstance(n, str)], layers)
    return (), ()
