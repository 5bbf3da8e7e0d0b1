"""The two tasks: which digits are held out, and how the harder images are drawn.

Pure functions on NumPy arrays, so that a test can check the held-out part without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

HELD_OUT = 1000
SPLIT_SEED = 20
SCENE_SEED = 21
CALIBRATION_SEED = 22
SCENE_SIDE = 24
SCENE_LEVELS = 15
"""Grey values are 0..15, about what the 8 x 8 digits have (0..16): noise in 256 would not pack."""


@dataclass(frozen=True, slots=True)
class Part:
    """Digits of one part: ``images`` uint8 [n, 8, 8] with values 0..16, ``labels`` int64 [n]."""

    images: Images
    labels: Labels


def split(images: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Part, Part]:
    """Part scikit-learn's digits into (training, held out), always in the same way."""
    pixels = np.asarray(images).astype(np.uint8)
    classes = np.asarray(labels).astype(np.int64)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(pixels))
    held, train = np.sort(order[:HELD_OUT]), np.sort(order[HELD_OUT:])
    return Part(pixels[train], classes[train]), Part(pixels[held], classes[held])


def scenes(part: Part, rng: np.random.Generator) -> Images:
    """Draw each digit once into a 24 x 24 scene: the harder task.

    The digit is turned, slanted, scaled and moved; other digits of the same part stand left and
    right of it and are cut by the border; contrast varies and noise is added.

    Returns:
        uint8 [n, 24, 24] with values 0..15.
    """
    count = len(part.images)
    # The 8 x 8 grid has up to 17 values; a border of zeros lets sampling run off the digit.
    digits = part.images / 16.0
    canvas = _placed(digits, rng, rng.uniform(-3.0, 3.0, (count, 2)))
    for side in (-1.0, 1.0):
        away = np.stack(
            [rng.uniform(-5.0, 5.0, count), side * rng.uniform(12.0, 16.0, count)], axis=1
        )
        canvas = np.maximum(canvas, _placed(digits[rng.permutation(count)], rng, away))
    contrast = rng.uniform(0.45, 1.0, (count, 1, 1))
    noise = rng.normal(0.0, 0.12, canvas.shape)
    levels = np.rint(np.clip(canvas * contrast + noise, 0.0, 1.0) * SCENE_LEVELS)
    return levels.astype(np.uint8)


def _placed(digits: Floats, rng: np.random.Generator, shift: Floats) -> Floats:
    """Draw digits [n, 8, 8] into empty scenes, each with its own affine map and ``shift``."""
    count = len(digits)
    angle = np.deg2rad(rng.uniform(-35.0, 35.0, count))
    slant = rng.uniform(-0.25, 0.25, count)
    scale = rng.uniform(1.5, 2.3, (count, 1))  # scene pixels per digit pixel
    grid = np.arange(SCENE_SIDE) - (SCENE_SIDE - 1) / 2
    down, right = np.meshgrid(grid, grid, indexing="ij")
    y = (down.reshape(1, -1) - shift[:, :1]) / scale
    x = (right.reshape(1, -1) - shift[:, 1:]) / scale
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    rows = cos * y - sin * x
    columns = sin * y + cos * x + slant[:, None] * rows
    return _sampled(digits, rows + 3.5, columns + 3.5).reshape(count, SCENE_SIDE, SCENE_SIDE)


def _sampled(digits: Floats, rows: Floats, columns: Floats) -> Floats:
    """Bilinear values of [n, 8, 8] at positions [n, p]; zero outside."""
    padded = np.pad(digits, ((0, 0), (1, 2), (1, 2)))
    rows = np.clip(rows + 1, 0.0, 9.0)
    columns = np.clip(columns + 1, 0.0, 9.0)
    top, left = rows.astype(np.int64), columns.astype(np.int64)
    below, beside = rows - top, columns - left
    n = np.arange(len(digits))[:, None]
    upper = padded[n, top, left] * (1 - beside) + padded[n, top, left + 1] * beside
    lower = padded[n, top + 1, left] * (1 - beside) + padded[n, top + 1, left + 1] * beside
    return np.asarray(upper * (1 - below) + lower * below)
