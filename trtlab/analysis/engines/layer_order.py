"""Layers of two engines without common names → pairs that are alike, in the order of both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from trtlab.errors import MismatchError
from trtlab.record import EngineLayer, Family, Group

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST_CELLS = 1 << 28
"""Layers of A times layers of B, a byte each while they are aligned: 16,000 on both sides."""

_KINDS: tuple[tuple[Family | str, re.Pattern[str]], ...] = (
    ("conv chain", re.compile(r"conv|correlation", re.IGNORECASE)),
    ("matrix product", re.compile(r"gemm|matmul|matrix|fullyconnected", re.IGNORECASE)),
    ("pooling", re.compile(r"pool", re.IGNORECASE)),
)
_PAIR, _SKIP_A, _SKIP_B = 0, 1, 2
_SAME_DIMS = 2


class _Key(NamedTuple):
    """What makes two layers alike; None where the builder does not tell it."""

    kind: str | None
    dims: tuple[int | str | None, ...] | None
    type: str


def matched_in_order(
    a: Sequence[tuple[EngineLayer, Group]], b: Sequence[tuple[EngineLayer, Group]]
) -> list[tuple[int, int]]:
    """Return the index pairs of the layers that are alike, rising on both sides.

    Alike are layers of one kind whose first outputs have the same dimensions, without the first
    (the batch), those of one, and their order (the memory layout). Where a builder tells no
    dimensions the kind alone counts, for less. Of all ways to pair them the one of the greatest
    worth is taken: 3 for a pair of one layer type, 2 for another, 1 without dimensions.

    Raises:
        MismatchError: there are more than ``MOST_CELLS`` pairs to look at.
    """
    keys_a = [_key(layer, group) for layer, group in a]
    keys_b = [_key(layer, group) for layer, group in b]
    least = min(len(a), len(b))
    start = next((n for n in range(least) if not _equal(keys_a[n], keys_b[n])), least)
    end = next(
        (n for n in range(least - start) if not _equal(keys_a[-1 - n], keys_b[-1 - n])),
        least - start,
    )
    middle = _longest(keys_a[start : len(a) - end], keys_b[start : len(b) - end])
    return [
        *((n, n) for n in range(start)),
        *((start + i, start + j) for i, j in middle),
        *((len(a) - n, len(b) - n) for n in range(end, 0, -1)),
    ]


def _key(layer: EngineLayer, group: Group) -> _Key:
    shape = layer.outputs[0].shape if layer.outputs else None
    dims = None
    if shape is not None:
        rest = shape[1:] if len(shape) > 1 else shape
        dims = tuple(sorted((d for d in rest if d != 1), key=str))
    return _Key(_kind(layer, group), dims, layer.type)


def _kind(layer: EngineLayer, group: Group) -> str | None:
    """Say what a layer does, so that kernels of other names are one kind."""
    if group.family in ("conv chain", "matrix product"):
        return group.family
    if layer.type in ("", "unread"):
        return None
    for kind, words in _KINDS:
        if words.search(layer.type):
            return kind
    return layer.type


def _equal(a: _Key, b: _Key) -> bool:
    """Whether pairing the two is never worse than any other choice."""
    return a == b and a.dims is not None and a.kind is not None


def _longest(a: Sequence[_Key], b: Sequence[_Key]) -> list[tuple[int, int]]:
    """Pair by dynamic programming, a row of numpy for each layer of A: no content is slow."""
    if not a or not b:
        return []
    if len(a) * len(b) > MOST_CELLS:
        raise MismatchError(
            f"Engines of {len(a):,} and {len(b):,} layers are too large to be aligned without "
            "common node names.",
            hint="Compare engines of one ONNX model, or of variants of it.",
        )
    import numpy as np

    steps = np.empty((len(a), len(b)), np.uint8)
    gains = _gains(a, b)
    best = np.zeros(len(b) + 1, np.int32)
    for row, gain in enumerate(gains):
        paired = best[:-1] + gain
        after = np.zeros_like(best)
        after[1:] = np.maximum.accumulate(np.maximum(best[1:], paired))
        skip = np.where(after[1:] == best[1:], _SKIP_A, _SKIP_B)
        steps[row] = np.where((gain > 0) & (after[1:] == paired), _PAIR, skip)
        best = after
    return _walked_back(steps)


def _gains(a: Sequence[_Key], b: Sequence[_Key]) -> Iterator[npt.NDArray[np.int32]]:
    """Yield for each layer of A what pairing it with each of B is worth; 0: they are not alike."""
    import numpy as np

    kinds, dims, types = (_numbered([key[part] for key in (*a, *b)]) for part in range(3))
    kinds_b, dims_b, types_b = (np.array(n[len(a) :], np.int32) for n in (kinds, dims, types))
    unknown_b = np.array([key.dims is None for key in b])
    for n, key in enumerate(a):
        same_dims = (dims_b == dims[n]) & (key.dims is not None)
        guessed = unknown_b | (key.dims is None)
        worth = np.where(same_dims, _SAME_DIMS + (types_b == types[n]), guessed & ~same_dims)
        same_kind = (kinds_b == kinds[n]) & (key.kind is not None)
        yield (worth * same_kind).astype(np.int32)


def _numbered(values: Sequence[object]) -> list[int]:
    numbers: dict[object, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values]


def _walked_back(steps: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    pairs = []
    i, j = steps.shape
    while i and j:
        step = steps[i - 1, j - 1]
        if step == _PAIR:
            pairs.append((i - 1, j - 1))
        i -= step != _SKIP_B
        j -= step != _SKIP_A
    return pairs[::-1]
