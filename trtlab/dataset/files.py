"""``SampleFiles``: samples on disk, for a worker job that reads them as it needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtlab.dataset.samples import Dataset

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """Where the samples of a data set lie: small enough to be sent to a worker job.

    Attributes:
        paths: A ``.npy`` file by input name, [samples, ...].
        count: Number of samples.
    """

    paths: Mapping[str, str]
    count: int


def write_samples(data: Dataset, folder: Path) -> SampleFiles:
    """Write each input's array into a folder, such as the store's ``scratch``.

    Raises:
        OSError: the disk is full or not writable.
    """
    import numpy as np

    paths = {}
    for number, (name, array) in enumerate(data.arrays.items()):
        # By number: an input's name may hold what no file name can.
        path = folder / f"samples-{number}.npy"
        np.save(path, array, allow_pickle=False)
        paths[name] = str(path)
    return SampleFiles(paths, len(data))


def read_samples(files: SampleFiles) -> dict[str, npt.NDArray[np.generic]]:
    """Open the arrays by input name, mapped and read-only: memory holds what is looked at."""
    import numpy as np

    return {
        name: np.load(path, mmap_mode="r", allow_pickle=False)
        for name, path in files.paths.items()
    }
