r"""The layers that TensorRT's builder prints into its log → ``LayersRead``.

One verbose message holds them all. With detailed profiling verbosity (TensorRT-RTX 1.7)::

    Layers:
    Name: a, LayerType: kgen, Inputs: [ { Name: x, … }], …, StreamId: 0, Metadata: [ONNX Layer: a]

    I/O Tensors:
     Name: x, IOMode: Input, …

    Engine Metadata:
     …

and with any other verbosity::

    Engine Layer Information:
    Layer(Myelin): {ForeignNode[a...b]}, Tactic: 0x0000000000000000, x (Float[1,3]) -> y (…)

TensorRT 10.16 prints the first form with more fields and ``Bindings:`` in place of the tensors.

It is log text without any promise, and names stand in it as they are: nothing is quoted or
escaped. The order of the fields is known, so a name ends where what must follow it follows:

* a layer's name at the first ``, LayerType: <word>, Inputs: [`` that an empty or filled list
  continues;
* a tensor's name at the first complete rest of a tensor, ``, Dimensions: [<numbers>], … }``,
  that ``, { Name:`` or ``], <word>:`` continues;
* an ONNX node's name in ``Metadata`` (which runs to the end of the record) at a separator byte
  that follows ``]`` or precedes ``[ONNX Layer:``;
* a record at the next line that begins with ``Name:``, all of them at the first
  ``I/O Tensors:`` after an empty line.

So names may hold commas, brackets, braces, quotes, colons, keys and line breaks. Misread is only
a name that holds one of these endings in full, or a tensor's that ends in ``, Location: Device``
(or ``Host``); one that has a line beginning with ``Name:`` leaves two unread layers. A dump in
the second form does not tell whether its end is missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from trtlab.formats.engine_layers import (
    LayersRead,
    io_tensors,
    io_tensors_from_fields,
    layer_from_fields,
    unread_layer,
)
from trtlab.formats.json_file import whole_characters
from trtlab.model.types import Tensor
from trtlab.record import EngineLayer

CUT_OFF = "The text ends before its I/O tensors: layers may be missing."

_DETAILED, _NAMES_ONLY, _NAMED = "Layers:", "Engine Layer Information:", "Layer("
BEGINNINGS = (_DETAILED, _NAMES_ONLY, _NAMED)
"""How the message begins, by which a logger knows it."""

_END = re.compile(r"\n\n(I/O Tensors|Bindings):(?:\n|\Z)")

_NUMBERS = r"\[((?:-?\d{1,18}(?:, ?-?\d{1,18})*)?)\]"
_TYPE = re.compile(r", LayerType: ([^,\[\]{}\n]+), Inputs: \[(?=\]| \{ Name: )")
# No value may hold a brace: so two attempts never look at the same text, whatever a name holds.
# Some formats name an order of axes: ``(Arbitrary) Format with stride order = [0,3,2,1]``.
_LAYOUT = r"[^\[\]{}\n]*(?:\[[\d, -]*\][^\[\]{}\n]*)?"
_TENSOR = re.compile(
    rf", (?:Location: (?P<Location>Device|Host), )?Dimensions: {_NUMBERS}"
    rf"(?:, Strides: {_NUMBERS}, StrideOrder: \[[\d, ]*\])?"
    rf"(?:, Datatype: (?P<Datatype>[^,\[\]{{}}\n]+), Format: (?P<Format>{_LAYOUT})"
    rf"|, Format/Datatype: (?P<both>{_LAYOUT})) \}}(?=, \{{ Name: |\], \w+: )"
)
_IO_TENSOR = re.compile(
    rf" Name: (?P<Name>.*), IOMode: (?P<IOMode>Input|Output), DataType: (?P<Datatype>\w+)"
    rf", Dimensions: {_NUMBERS}, Location: .*"
)
_METADATA = re.compile(r", Metadata:(?: |\Z)")
_KEY = re.compile(r", (\w+): ")
_TACTIC = re.compile(r", Tactic: (0x[0-9a-fA-F]{1,16})(?=, |\Z)")
_STREAMS = {"StreamId", "EventId"}
_RAW = {"TacticName", "TacticValue"}


def read_dump(text: str) -> LayersRead:
    """Read one message of the builder, whole and without anything before it.

    It never raises: a layer that is not understood is one of type ``unread`` at its place, and
    its text is in ``unread``. ``layers`` is None where no layer was understood.
    """
    text = whole_characters(text)
    if text.startswith((_NAMES_ONLY, _NAMED)):
        block, start, names_only = text.removeprefix(_NAMES_ONLY), _NAMED, True
    elif text.startswith(_DETAILED):
        end = _END.search(text)
        block = text[len(_DETAILED) : end.start() if end else None]
        start, names_only = "Name: ", False
    else:
        return LayersRead(None, (), names_only=False)
    before, *records = _records(block, start)
    unread = [before] if before.strip() else []
    layers: list[EngineLayer] = []
    for record in records:
        try:
            layers.append(_of_names_only(record) if names_only else _detailed(record))
        except (TypeError, ValueError, RecursionError):
            unread.append(record)
            layers.append(unread_layer(record, name=_name(record) or f"layer {len(layers) + 1}"))
    if not names_only and end is None:
        if layers and layers[-1].type != "unread":  # it may go on where nothing tells
            unread.append(records[-1])
            layers[-1] = unread_layer(records[-1], name=layers[-1].name)
        unread.append(CUT_OFF)
    if all(layer.type == "unread" for layer in layers):
        return LayersRead(None, tuple(unread), names_only)
    inputs, outputs = _io(text, None if names_only else end, layers)
    return LayersRead(tuple(layers), tuple(unread), names_only, inputs, outputs)


def _records(block: str, start: str) -> Iterator[str]:
    """Yield what stands before the first record, then each of them."""
    at = 0
    for match in re.finditer(rf"^{re.escape(start)}", block, re.MULTILINE):
        yield block[at : match.start()].rstrip("\n")
        at = match.start()
    yield block[at:].rstrip("\n")


def _io(
    text: str, end: re.Match[str] | None, layers: list[EngineLayer]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return inputs and outputs; none where one of them is not understood."""
    if end is None:
        return (), ()
    lines = text[end.end() :].partition("\n\n")[0].split("\n")
    if end[1] == "Bindings":
        return io_tensors(lines, layers)
    found = [_IO_TENSOR.fullmatch(line) for line in lines if line]
    if None in found:
        return (), ()
    try:
        return io_tensors_from_fields(
            match.groupdict() | {"Dimensions": _numbers(match[4])} for match in found if match
        )
    except ValueError:
        return (), ()


def _name(record: str) -> str | None:
    """Return the layer's name where that much is sure of a record that was not understood."""
    kind = _TYPE.search(record)
    return record[len("Name: ") : kind.start()] if kind else None


def _of_names_only(record: str) -> EngineLayer:
    kind, colon, rest = record.removeprefix(_NAMED).partition("): ")
    tactic = _TACTIC.search(rest)
    if not colon or tactic is None:
        raise ValueError("no name")
    said = {"Tactic": tactic[1], "Tensors": rest[tactic.end() + 2 :]}
    return EngineLayer(
        name=rest[: tactic.start()],
        type=kind,
        inputs=(),
        outputs=(),
        details={key: json.dumps(value) for key, value in said.items()},
    )


def _detailed(record: str) -> EngineLayer:
    kind = _expected(_TYPE.search(record))
    fields: dict[str, Any] = {"Name": record[len("Name: ") : kind.start()], "LayerType": kind[1]}
    fields["Inputs"], at = _tensors(record, kind.end())
    for key in ("Constants", "Outputs"):
        if record.startswith(opening := f", {key}: [", at):
            fields[key], at = _tensors(record, at + len(opening))
    if "Outputs" not in fields:
        raise ValueError("no outputs")
    metadata = _expected(_METADATA.search(record, at))
    # Nothing between them is named by people, so here any key is taken for one.
    nothing, *rest = _KEY.split(record[at : metadata.start()])
    if nothing:
        raise ValueError(f"no key: {nothing!r}")
    if not fields.keys().isdisjoint(rest[::2]):
        raise ValueError("a key that was read already")
    fields |= {key: _value(key, text) for key, text in zip(rest[::2], rest[1::2], strict=True)}
    fields["Metadata"] = record[metadata.end() :]
    layer = layer_from_fields(fields)
    if "Metadata" in layer.details and "\n" in fields["Metadata"]:
        raise ValueError("a line that belongs to no layer")
    return layer


def _tensors(record: str, at: int) -> tuple[list[dict[str, Any]], int]:
    """Return the tensors of the list that begins at ``at``, and where what follows it begins."""
    tensors = []
    opening = " { Name: "
    while record.startswith(opening, at):
        begin = at + len(opening)
        tail = _expected(_TENSOR.search(record, begin))
        said = tail.groupdict()
        tensor: dict[str, Any] = {"Name": record[begin : tail.start()]}
        tensor["Dimensions"], tensor["Strides"] = _numbers(tail[2]), _numbers(tail[3])
        tensors.append(tensor | said | {"Format/Datatype": said["both"]})
        at = tail.end()
        opening = ", { Name: "
    if not record.startswith("]", at):
        raise ValueError("a list without end")
    return tensors, at + 1


def _numbers(text: str | None) -> list[int] | None:
    return None if text is None else [int(n) for n in text.split(",") if n]


def _value(key: str, text: str) -> Any:
    if key in _STREAMS:
        return int(text)
    if key in _RAW:
        return text
    try:
        return json.loads(text)  # "[5,5]", "1", '{"Type": "Float", "Count": 800}'
    except ValueError:
        return text


def _expected(match: re.Match[str] | None) -> re.Match[str]:
    if match is None:
        raise ValueError("what must follow does not")
    return match
