"""How TensorRT names a layer → its parts: which nodes, weights and helpers went into it.

Grammar, from engines of TensorRT 8.x and 10.x and of TensorRT-RTX 1.7 and from public build logs:

====================================================  ==========================================
``a + b + c``                                         fused one behind the other
``a || b``                                            merged side by side
``PWN(a, PWN(b + c, d))``                             pointwise nodes in one kernel, nesting
``a copy``                                            ``a`` (a *tensor*) copied, for a Concat
``Reformatting CopyNode for Input Tensor 0 to a``     a copy in another format
``{ForeignNode[a...b]}``                              a region between two nodes, not opened
``a_myl0_3``                                          made by Myelin, from ``a``
``__myl_ConvAddRelu_myl0_3``                          made by Myelin, from what it computes
``__mye12_myl0_3``, ``[trainStation1]``               helpers without a node
``a [profile 1]``, also inside                        for another optimization profile
====================================================  ==========================================

Parts are joined at parenthesis depth 0 only. A part is not always an ONNX node: it may be a weight
(``fc.weight``) or something that TensorRT made (``(Unnamed Layer* 5) [Shuffle]``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

_PROFILE = re.compile(r" \[profile (\d+)\]")
_MYELIN = re.compile(r"_myl(\d+)_(\d+)$")
_GENERATED = re.compile(r"__mye\d|\[trainStation\d*\]$")
_OPERATIONS = "__myl_"
_REFORMAT = re.compile(r"Reformatting CopyNode for (Input|Output) Tensor (\d+) to (.*)", re.DOTALL)
_REGION = re.compile(r"\{ForeignNode\[(.*)\]\}", re.DOTALL)
_COPY = " copy"
_PWN = re.compile(r"PWN\((.*)\)", re.DOTALL)
_DEEPEST = 50

_HELPER = re.compile(
    r"\(Unnamed Layer\* \d+\) \[\w+\]"
    r"|ONNXTRT_\w+"
    r"|(?:copied_)?(?:un)?(?:squeeze|reshape|transpose|shuffle)(?:_node)?_(?:before|after)_.*"
    r"|QuantizeLinear_\d+_quantize_scale_node"
    r"|.*_(?:clone|output)_\d+"
    r"|\(Unnamed Layer\* \d+\).*",
    re.DOTALL,
)

Joint = Literal["leaf", "pointwise", "vertical", "horizontal"]
Role = Literal["fused", "copy", "reformat", "region", "generated"]


@dataclass(frozen=True, slots=True)
class Part:
    """A name, or several joined: ``vertical`` by `` + ``, ``horizontal`` by `` || ``."""

    joint: Joint
    text: str = ""
    parts: tuple[Part, ...] = ()

    def leaves(self) -> Iterator[str]:
        """Yield the single names, left to right."""
        if self.joint == "leaf":
            yield self.text
        for part in self.parts:
            yield from part.leaves()

    def has(self, joint: Joint) -> bool:
        """Whether parts are joined this way anywhere inside."""
        return self.joint == joint or any(part.has(joint) for part in self.parts)

    def __str__(self) -> str:
        if self.joint == "leaf":
            return self.text
        inside = [str(part) for part in self.parts]
        if self.joint == "pointwise":
            return f"PWN({', '.join(inside)})"
        return (" + " if self.joint == "vertical" else " || ").join(inside)


@dataclass(frozen=True, slots=True)
class LayerName:
    """A layer's name, taken apart.

    Attributes:
        text: The name as the builder wrote it.
        role: What the layer is by its name.
        tree: What was fused in it; None where the name does not say.
        of: ``copy``: the tensor. ``reformat``: the layer that it serves. ``region``: its two end
            points with ``...`` between.
        operations: What Myelin says that a ``generated`` layer computes, such as ``Add``.
        by_myelin: Whether the name ends with Myelin's numbers.
        profile: Number of the optimization profile, None if not said.
    """

    text: str
    role: Role
    tree: Part | None = None
    of: str = ""
    operations: tuple[str, ...] = ()
    by_myelin: bool = False
    profile: int | None = None

    @property
    def leaves(self) -> tuple[str, ...]:
        """The single names in it, left to right."""
        return tuple(self.tree.leaves()) if self.tree else ()


def parse(text: str, known: Collection[str] = ()) -> LayerName:
    """Take a layer's name apart. Every text is some name: nothing is refused.

    Args:
        text: The name as the builder wrote it.
        known: Names of nodes, tensors and weights of the model. A part that is one of them is
            not taken apart, whatever it holds.
    """
    profiles = _PROFILE.findall(text)
    plain = _PROFILE.sub("", text) if profiles and text not in known else text
    profile = int(profiles[-1]) if plain != text and len(profiles[-1]) < 6 else None

    if plain in known:
        return LayerName(text, "fused", Part("leaf", plain), profile=profile)
    if match := _REFORMAT.fullmatch(plain):
        return LayerName(text, "reformat", of=match[3], profile=profile)
    if match := _REGION.fullmatch(plain):
        return LayerName(text, "region", of=match[1], profile=profile)
    if _GENERATED.match(plain):
        return LayerName(text, "generated", profile=profile)
    myelin = _MYELIN.search(plain)
    if myelin and plain.startswith(_OPERATIONS):
        operations = re.findall(r"[A-Z][a-z0-9]*", plain[len(_OPERATIONS) : myelin.start()])
        return LayerName(text, "generated", operations=tuple(operations), profile=profile)
    if myelin and myelin.start():
        plain = plain[: myelin.start()]
    elif plain.endswith(_COPY) and plain[: -len(_COPY)]:
        return LayerName(text, "copy", of=plain[: -len(_COPY)], profile=profile)
    return LayerName(
        text, "fused", tree(plain, known), by_myelin=myelin is not None, profile=profile
    )


def tree(text: str, known: Collection[str] = (), depth: int = 0) -> Part:
    """Take apart what was fused; ``str`` of the result is the text again."""
    if text not in known and depth < _DEEPEST:
        for separator, joint in ((" || ", "horizontal"), (" + ", "vertical")):
            pieces = _split(text, separator, known)
            if len(pieces) > 1:
                parts = tuple(tree(piece, known, depth + 1) for piece in pieces)
                return Part("horizontal" if joint == "horizontal" else "vertical", parts=parts)
        if match := _PWN.fullmatch(text):
            pieces = _split(match[1], ", ", known)
            return Part("pointwise", parts=tuple(tree(p, known, depth + 1) for p in pieces))
    return Part("leaf", text)


def region_ends(of: str, known: Collection[str]) -> tuple[str, str]:
    """Return the two end points of a region, split where both are known if there is such a place.

    Without one it is split at the first ``...``; the second is empty if there is none.
    """
    places = [match.start() for match in re.finditer(r"(?=\.\.\.)", of)]
    if not places:
        return of, ""
    best = max(places, key=lambda at: (of[:at] in known) + (of[at + 3 :] in known))
    return of[:best], of[best + 3 :]


def is_helper(leaf: str) -> bool:
    """Whether TensorRT made this part, by its name."""
    return _HELPER.fullmatch(leaf) is not None


def _split(text: str, separator: str, known: Collection[str]) -> list[str]:
    """Split at parenthesis depth 0, but never inside a known name."""
    pieces = _at_depth_0(text, separator)
    if not known or len(pieces) < 2:
        return pieces
    joined: list[str] = []
    start = 0
    while start < len(pieces):
        # The longest run of pieces that is a known name; real names rarely hold a separator.
        end = next(
            (
                e
                for e in range(min(len(pieces), start + 8), start + 1, -1)
                if separator.join(pieces[start:e]) in known
            ),
            start + 1,
        )
        joined.append(separator.join(pieces[start:end]))
        start = end
    return joined


def _at_depth_0(text: str, separator: str) -> list[str]:
    if separator not in text:
        return [text]
    pieces, depth, begin, at = [], 0, 0, 0
    while at < len(text):
        if depth == 0 and text.startswith(separator, at):
            pieces.append(text[begin:at])
            at = begin = at + len(separator)
            continue
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth < 0:
            break
        at += 1
    if depth:  # the parentheses are part of names: they tell nothing
        return text.split(separator)
    return [*pieces, text[begin:]]
