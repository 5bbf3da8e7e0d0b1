"""Inputs invented for measuring speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trtlab.errors import SpecError
from trtlab.model.types import Tensor

if TYPE_CHECKING:
    import numpy as np

    from trtlab.spec import Shape


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
            wide = np.float64 if dtype == np.float64 else np.float32
            made[tensor.name] = generator.standard_normal(shape, wide).astype(dtype, copy=False)
        elif dtype.kind in "iub":
            made[tensor.name] = generator.integers(0, 2, shape, dtype)
        else:
            raise SpecError(
                f"Input {tensor.name!r} is of type {tensor.dtype}, which cannot be invented.",
                hint="Measure a part of the model that begins with numbers.",
            )
    return made
