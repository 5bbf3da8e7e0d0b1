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
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from trtlab.record import EngineLayer

_PROFILE = re.compile(r" \[profile (\d+)\]")
_MYELIN = re.compile(r"_myl(\d+)_(\d+)$")
_GENERATED = re.compile(r"__mye\d|\[trainStation\d*\]$")
_OPERATIONS = "__myl_"
_REFORMAT = re.compile(r"Reformatting CopyNode for (Input|Output) Tensor (\d+) to (.*)", re.DOTALL)
_REGION = re.compile(r"\{ForeignNode\[(.*)\]\}", re.DOTALL)
_COPY = " copy"
_PWN = re.compile(r"PWN\((.*)\)", re.DOTALL)
_DEEPEST = 50

_BESIDE = r"(?:copied_)?(?:un)?(?:squeeze|reshape|transpose|shuffle)(?:_node)?_(?:before|after)_"
_HELPER = re.compile(rf"\(Unnamed Layer\* \d+\).*|ONNXTRT_\w+|{_BESIDE}.*", re.DOTALL)
_HELPER_OF = re.compile(rf"{_BESIDE}(.*)", re.DOTALL)

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
    whole = tree(plain, known)
    # Nothing is cut off a name that ends with one of the graph's.
    ends_known = plain in known or (known and list(whole.leaves())[-1] in known)
    myelin = None if ends_known else _MYELIN.search(plain)
    if myelin and plain.startswith(_OPERATIONS):
        operations = re.findall(r"[A-Z][a-z0-9]*", plain[len(_OPERATIONS) : myelin.start()])
        return LayerName(text, "generated", operations=tuple(operations), profile=profile)
    if myelin and myelin.start():
        plain = plain[: myelin.start()]
    elif plain.endswith(_COPY) and plain[: -len(_COPY)] and not ends_known:
        return LayerName(text, "copy", of=plain[: -len(_COPY)], profile=profile)
    return LayerName(
        text, "fused", tree(plain, known), by_myelin=myelin is not None, profile=profile
    )


def profile_numbers(layers: Sequence[EngineLayer]) -> list[int]:
    """Return the number of the optimization profile that each layer is for.

    A layer says it in its name or in its tensors' names. Of those that Myelin made often only
    one of several with the same first number (``_myl11_0`` to ``_myl11_7``) does.
    """
    texts = [(y.name, *(t.name for t in (*y.inputs, *y.outputs))) for y in layers]
    said = [
        max((int(number[:6]) for text in several for number in _PROFILE.findall(text)), default=0)
        for several in texts
    ]
    made = [_MYELIN.search(layer.name) for layer in layers]
    of_group: dict[str, int] = {}
    for match, number in zip(made, said, strict=True):
        if match:
            of_group[match[1]] = max(number, of_group.get(match[1], 0))
    return [
        max(number, of_group[match[1]] if match else 0)
        for match, number in zip(made, said, strict=True)
    ]


def tree(text: str, known: Collection[str] = (), depth: int = 0) -> Part:
    """Take apart what was fused; ``str`` of the result is the text again."""
    # Inside a joined name a helper was put together already, whatever its own name holds.
    is_whole = depth > 0 and _HELPER_OF.fullmatch(text) is not None
    if text not in known and not is_whole and depth < _DEEPEST:
        for joint, pieces in _joints(text, known):
            if len(pieces) > 1:
                parts = tuple(tree(piece, known, depth + 1) for piece in pieces)
                return Part(joint, parts=parts)
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


def _joints(text: str, known: Collection[str]) -> list[tuple[Joint, list[str]]]:
    """Return the two ways to split, the one to try first before the other."""
    vertical = _split(text, " + ", known)
    ways: list[tuple[Joint, list[str]]] = [
        ("horizontal", _split(text, " || ", known)),
        ("vertical", vertical),
    ]
    # Only where a known name holds the mark of the other does ` + ` bind less.
    return ways[::-1] if any(" || " in piece and piece in known for piece in vertical) else ways


def _split(text: str, separator: str, known: Collection[str]) -> list[str]:
    """Split at parenthesis depth 0, but never inside a known name."""
    pieces = _helpers_whole(_at_depth_0(text, separator), separator)
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


def _helpers_whole(pieces: list[str], separator: str) -> list[str]:
    """Put a helper together again whose own name holds a joined one.

    ``unsqueeze_node_after_a + b_t`` stands behind ``a + b``, which it serves (seen: TensorRT 8).
    """
    whole: list[str] = []
    for piece in pieces:
        served = _HELPER_OF.fullmatch(whole[-1]) if whole else None
        inner = served[1].split(separator) if served else []
        if inner and piece.startswith(_expected_next(whole[:-1], inner)):
            whole[-1] += separator + piece
        else:
            whole.append(piece)
    return whole


def _expected_next(before: list[str], inner: list[str]) -> str | tuple[()]:
    """Return what follows ``inner`` among the pieces before, where these begin like it."""
    for start in range(len(before) - len(inner)):
        if before[start : start + len(inner)] == inner:
            return before[start + len(inner)]
    return ()


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
