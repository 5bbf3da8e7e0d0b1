"""``Dataset``: samples for calibration and accuracy, in memory, in a fixed order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples with one array for each input of a model, and perhaps labels.

    Attributes:
        arrays: By input name, [samples, ...]: the batch axis is the first.
        labels: Class numbers, int64 [samples], or None.
        words: Where the data came from and what was done to it.
        hash: SHA-256 (hex) over names, types, shapes and values, labels apart.
        random: Whether it was invented.
    """

    arrays: Mapping[str, npt.NDArray[np.generic]]
    labels: npt.NDArray[np.int64] | None
    words: str
    hash: str
    random: bool = False

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.arrays.values())))
