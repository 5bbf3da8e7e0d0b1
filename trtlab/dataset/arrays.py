"""What the arrays of a data set are checked with, and known by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from trtlab.errors import SpecError
from trtlab.model.printing import printable
from trtlab.spec.checks import whole
from trtlab.units import text_from_bytes, text_from_shape

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_CHUNK_BYTES = 16 * 2**20
"""Values are looked at in parts of this size, so that mapped files never lie in memory whole."""

_WIDEST = 8
"""Bytes of the widest number that an ONNX tensor and NumPy share."""


def as_array(value: object, what: str) -> npt.NDArray[np.generic]:
    """Return a value as an array of numbers in this machine's byte order; no copy if it is one.

    Args:
        value: What NumPy makes an array of.
        what: How to name it in an error.

    Raises:
        SpecError: it is ragged, or holds no numbers: objects, texts, complex numbers, dates.
    """
    import numpy as np

    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise SpecError(
            f"{what} is no array: {printable(str(error))}.",
            hint="Give a NumPy array, in which every sample has the same shape.",
        ) from error
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > _WIDEST:
        raise SpecError(
            f"{what} holds {_type_in_words(array.dtype)} where numbers are needed.",
            hint="Give floats, integers or booleans of at most 64 bits.",
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _type_in_words(dtype: np.dtype[Any]) -> str:
    names = {"O": "Python objects", "U": "texts", "S": "texts", "c": "complex numbers"}
    return names.get(dtype.kind, f"values of type {dtype}")


def check_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> int:
    """Refuse arrays that are no samples; returns how many samples there are.

    Raises:
        SpecError: there is none, one is empty or has no axis for the samples, or the lengths
            differ.
    """
    if not arrays:
        raise SpecError("The data is empty: it has no array.", hint="Give one for each input.")
    for name, array in arrays.items():
        if array.ndim == 0:
            raise SpecError(
                f"{named(name)} is a single number.", hint="The first axis counts the samples."
            )
        if array.size == 0:
            raise SpecError(
                f"{named(name)} is empty: its shape is {text_from_shape(array.shape)}.",
                hint="Give at least one sample.",
            )
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{printable(name)!r} has {n:,}" for name, n in lengths.items())
        raise SpecError(
            f"The inputs have different numbers of samples: {listed}.",
            hint="The first axis counts the samples; it must be equally long everywhere.",
        )
    return next(iter(lengths.values()))


def as_labels(values: object, samples: int) -> npt.NDArray[np.int64]:
    """Return class numbers as int64 [samples]; whole floats count as whole numbers.

    Raises:
        SpecError: they are not one whole number from 0 for each sample.
    """
    import numpy as np

    labels: npt.NDArray[Any] = as_array(values, "The array of labels")
    if labels.ndim != 1:
        raise SpecError(
            f"The labels have the shape {text_from_shape(labels.shape)}.",
            hint="Give one class number for each sample; of one-hot rows take argmax(axis=1).",
        )
    if len(labels) != samples:
        raise SpecError(
            f"There are {len(labels):,} labels for {samples:,} samples.",
            hint="Give one class number for each sample, in their order.",
        )
    # Written so that NaN is among them. Beyond int32 no class number is meant.
    wrong = ~((labels >= 0) & (labels < 2**31) & (np.floor(labels) == labels))
    if wrong.any():
        first = int(wrong.argmax())
        raise SpecError(
            f"Label {first:,} is {labels[first]}, which is no class number.",
            hint="Class numbers are whole and begin with 0.",
        )
    return labels.astype(np.int64)


def check_finite(arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Refuse NaN and infinity: one such value spoils every range and every error.

    Raises:
        SpecError: there is one; the message names the first sample that has it.
    """
    import numpy as np

    for name, array in arrays.items():
        if array.dtype.kind != "f":
            continue
        start = 0
        for part in _parts(array):
            fine = np.isfinite(part).reshape(len(part), -1).all(axis=1)
            if not fine.all():
                first = start + int((~fine).argmax())
                raise SpecError(
                    f"{named(name)} has NaN or infinity in sample {first:,}.",
                    hint="Leave that sample out, or mend its preprocessing.",
                )
            start += len(part)


def content_hash(arrays: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """Return SHA-256 (hex) over the arrays in the order of their names.

    Each counts with its name, type and shape as JSON, then its values in C order with the lowest
    byte first.
    """
    import numpy as np

    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        sha.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        order = array.dtype.newbyteorder("<")
        for part in _parts(array):
            flat = np.ascontiguousarray(part, order).reshape(-1)
            sha.update(flat.view(np.uint8).data)
    return sha.hexdigest()


def _parts(array: npt.NDArray[np.generic]) -> Iterator[npt.NDArray[np.generic]]:
    """Yield an array's samples in parts of some 16 MiB, at least one at a time."""
    step = max(1, _CHUNK_BYTES * len(array) // array.nbytes)
    for start in range(0, len(array), step):
        yield array[start : start + step]


def check_memory(size: int, what: str) -> None:
    """Refuse data that is larger than this machine's memory, before any of it is made.

    Raises:
        SpecError: ``size`` (bytes) is above all memory that there is.
    """
    import psutil

    total = psutil.virtual_memory().total
    if size > total:
        raise SpecError(
            f"{what} would take {text_from_bytes(size)}, more than this machine's memory "
            f"({text_from_bytes(total)}).",
            hint="Take fewer samples: some hundred are enough for calibration.",
        )


def drawn(count: int, n: int, seed: int) -> list[int]:
    """Return ``n`` of the numbers below ``count``, each at most once, in ascending order."""
    import numpy as np

    whole("Seed", seed, 0, 2**63 - 1)
    chosen = np.random.default_rng(seed).choice(count, n, replace=False)
    return [int(number) for number in np.sort(chosen)]


def named(name: str) -> str:
    """Name an input in an error; one given without a name is just the array."""
    return f"Input {printable(name)!r}" if name else "The array"
