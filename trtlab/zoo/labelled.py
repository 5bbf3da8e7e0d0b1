"""Labelled images for the shipped networks, none of them seen in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from trtlab.errors import SpecError
from trtlab.zoo import catalogue

Inputs = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Grey:
    """How grey values are stored: whole numbers from 0 to ``white``."""

    white: int
    preprocessing: str


_GREY = {
    "digits": _Grey(16, "8 x 8 grey values 0..16, divided by 16"),
    "digits_mobile": _Grey(15, "24 x 24 grey values 0..15, divided by 15"),
}

PREPROCESSING: Mapping[str, str] = MappingProxyType(
    {name: grey.preprocessing for name, grey in _GREY.items()}
)
"""In words, what was done to the stored images before they go into the model."""


def held_out(name: str) -> tuple[Inputs, Labels]:
    """Read the images that the network never saw.

    Returns:
        Inputs as the model takes them, float32 [n, 1, height, width], and labels, int64 [n].

    Raises:
        SpecError: the model has no labelled images.
    """
    arrays = _arrays(name)
    return _as_input(name, arrays["images"]), arrays["labels"].astype(np.int64)


def calibration(name: str) -> Inputs:
    """Read 128 training images for INT8 calibration: held-out ones would no longer be unseen.

    Raises:
        SpecError: the model has no labelled images.
    """
    return _as_input(name, _arrays(name)["calibration"])


def _arrays(name: str) -> dict[str, npt.NDArray[np.uint8]]:
    found = catalogue.entry(name)
    if not found.labelled:
        raise SpecError(
            f"{found.name} has no labelled images.",
            hint=f"These have: {', '.join(_GREY)}. Or bring a data set of your own.",
        )
    path = catalogue.shipped_path(name).with_suffix(".npz")
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def _as_input(name: str, images: npt.NDArray[np.uint8]) -> Inputs:
    white = _GREY[catalogue.entry(name).name].white
    return images[:, None].astype(np.float32) / np.float32(white)
