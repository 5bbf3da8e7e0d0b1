"""Data that goes in: named arrays in a fixed order, labels or none; and invented inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtlab.errors import SpecError
from trtlab.model.types import Tensor

if TYPE_CHECKING:
    import numpy as np

    from trtlab.spec import Shape


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Named arrays with one row an item, in a fixed order.

    Attributes:
        arrays: By input name; shape (items, …), the model's dtype.
        labels: Class numbers, int64, shape (items,), or None.
        preprocessing: In words, what was done to the raw data.
    """

    name: str
    arrays: Mapping[str, np.ndarray]
    labels: np.ndarray | None
    preprocessing: str

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of names, dtypes, shapes and contents, labels included."""
        digest = hashlib.sha256(self.preprocessing.encode())
        arrays = dict(self.arrays)
        if self.labels is not None:
            arrays["labels"] = self.labels
        for name, array in arrays.items():
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def random_inputs(
    inputs: Sequence[Tensor], shapes: Mapping[str, Shape], seed: int
) -> dict[str, np.ndarray]:
    """Invent inputs for measuring speed: the same seed gives the same values everywhere.

    Floats are standard normal. Integers are 0 or 1: valid as token ids, indices and masks alike,
    where a larger number may be out of range.

    Raises:
        SpecError: an input's type cannot be invented (strings, 4-bit and 8-bit floats).
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    for tensor in inputs:
        shape = shapes[tensor.name]
        try:
            dtype = np.dtype(tensor.dtype or "")
        except TypeError:
            dtype = np.dtype(object)
        if dtype.kind == "f":
            made[tensor.name] = generator.standard_normal(shape, dtype=np.float32).astype(dtype)
        elif dtype.kind in "iub":
            made[tensor.name] = generator.integers(0, 2, shape).astype(dtype)
        else:
            raise SpecError(
                f"Input {tensor.name!r} is of type {tensor.dtype}, which cannot be invented.",
                hint="Measure a part of the model that begins with numbers.",
            )
    return made
