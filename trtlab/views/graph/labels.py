"""Short names of nodes and layers, for boxes that have no room for the whole."""

from __future__ import annotations

import os.path
import re
from collections.abc import Sequence

from trtlab.model.types import Node

LONGEST = 64
"""Characters of a label; the page cuts further where its box is narrower."""

_SHORTER = (("Normalization", "Norm"), ("AveragePool", "AvgPool"))
_MYELIN = re.compile(r"(?P<name>.*?)_myl\d+_(?P<number>\d+)", re.DOTALL)
_OPERATOR_END = re.compile(r"[A-Z][A-Za-z]*(?:_\d+)?")
_LAYOUT = re.compile(r"\(([^)]{1,12})\)")
_CHANNEL_MAJOR = re.compile(r"Channel major (?:\w+ format)(?: where channel % (?P<of>\d+) == 0)?")
_WIDE = re.compile(r"(?P<count>Two|Four|Sixteen|Thirty-two) wide channel vectorized row major\b")
_COUNTS = {"Two": 2, "Four": 4, "Sixteen": 16, "Thirty-two": 32}


def middle_cut(text: str, longest: int = LONGEST) -> str:
    """Return at most ``longest`` characters, with an ellipsis in the middle."""
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[: longest - 1 - half]}…{text[len(text) - half :]}"


def operator(node: Node) -> str:
    """The operator with what sets it apart at a glance: ``Conv 3×3 /2``."""
    name = short_operator(node.op)
    kernel, strides = node.attributes.get("kernel_shape"), node.attributes.get("strides")
    if isinstance(kernel, tuple) and len(kernel) <= 3:
        name += " " + "×".join(map(str, kernel))
    if isinstance(strides, tuple) and any(step != 1 for step in strides):
        name += f" /{strides[0]}"
    return middle_cut(name)


def short_operator(op: str) -> str:
    """An operator's name with its longest words cut short."""
    for long, short in _SHORTER:
        op = op.replace(long, short)
    return middle_cut(op, 28)


def node_title(node: Node) -> str:
    """The last part of a node's name that is not its operator."""
    parts = [part for part in node.name[-300:].split("/") if part]
    while len(parts) > 1 and _says_operator(parts[-1], node.op):
        parts.pop()
    last = parts[-1] if parts else node.name
    return "" if _says_operator(last, node.op) and last == node.op else middle_cut(last)


def _says_operator(part: str, op: str) -> bool:
    return part == op or (part.startswith(op) and part[len(op) :].lstrip("_").isdigit())


def title_inside(node: Node, common: str) -> str:
    """The same without what the names of its group have in common."""
    rest = node.name[len(common) : 300].strip("/._:")
    parts = [part for part in rest.split("/") if part and not _says_operator(part, node.op)]
    return middle_cut(parts[-1].strip("._:")) if parts else ""


def common_start(nodes: Sequence[Node]) -> str:
    """What the names of all nodes begin with, in whole words."""
    common = os.path.commonprefix([node.name[:300] for node in nodes])  # noqa: RUF071 - by characters
    if any(node.name[len(common) : len(common) + 1].isalnum() for node in nodes):
        common = re.sub(r"[^/._:]*$", "", common)  # the middle of a word is no name
    return common


def group_title(nodes: Sequence[Node]) -> str:
    """The last part of what the names of a group's nodes have in common."""
    common = common_start(nodes)
    parts = [part for part in common.rstrip("/._:").split("/") if part]
    return middle_cut(parts[-1]) if parts else node_title(nodes[0])


def layer_title(name: str) -> str:
    """A layer's name without its path and the builder's marks: ``CorrMulAddRelu_8``."""
    number = ""
    found = _MYELIN.fullmatch(name[-2000:])
    if found:
        name, number = found["name"], f"_{found['number']}"
    name = name.removeprefix("__myl_")
    # ONNX Runtime names a blocked node after its tensor: the last part alone says nothing.
    name = re.sub(r"/?\w*_output(?:_\d+)?_nchwc$", "", name) or name
    first, *more = name.split("+") if "/" in name else [name]
    parts = [part for part in first.strip().split("/") if part] or [first]
    keep = 2 if _OPERATOR_END.fullmatch(parts[-1]) else 1
    rest = f" +{len(more)}" if more else ""
    return middle_cut("/".join(parts[-keep:]) + rest + number)


def data_format(words: str | None) -> str:
    """A memory layout in one word where there is one: ``NHWC``, ``CHW32``.

    TensorRT 8 describes its ``TensorFormat`` in words; of these the name is returned.
    """
    if not words:
        return ""
    found = _LAYOUT.search(words)
    if found:
        return found[1]
    if words.startswith("Row major linear"):
        return "linear"
    if wide := _WIDE.match(words):
        return f"CHW{_COUNTS[wide['count']]}"
    if major := _CHANNEL_MAJOR.fullmatch(words):
        return f"HWC{major['of'] or ''}"
    return middle_cut(words, 20)
