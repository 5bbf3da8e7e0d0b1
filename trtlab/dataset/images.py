"""A folder of images → one array, by a stated preprocessing."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trtlab.dataset.arrays import check_memory, drawn
from trtlab.dataset.reading import Found, as_path
from trtlab.errors import BackendUnavailableError, SpecError
from trtlab.model.printing import printable
from trtlab.spec.checks import one_of, whole

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Channels = Literal["RGB", "BGR", "gray"]
Layout = Literal["NCHW", "NHWC"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What counts as an image: the endings of torchvision's ImageFolder."""

LABEL_FILES = ("labels.txt", "labels.csv")
_LARGEST_SIDE = 2**14
_CLASS = re.compile(r"[0-9]{1,9}")
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of more than one byte a channel; converting them cuts values off."""
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, LookupError, struct.error, MemoryError)
"""What Pillow raises for files that are no image or a damaged one."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What is done to each image, in this order: resize, cut out, scale, subtract, divide.

    ``mean`` and ``std`` have one number for each channel. Raises SpecError for settings that
    make no sense.
    """

    size: tuple[int, int]
    resize: int | Literal["stretch"] | None
    interpolation: Interpolation
    channels: Channels
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: Layout

    def __post_init__(self) -> None:
        one_of("interpolation", self.interpolation, ("nearest", "bilinear", "bicubic", "lanczos"))
        one_of("layout", self.layout, ("NCHW", "NHWC"))
        for name, length in zip(("Height", "Width"), self.size, strict=True):
            whole(f"{name} of the images", length, 1, _LARGEST_SIDE)
        if self.resize not in ("stretch", None):
            whole("The shorter side after resizing", self.resize, min(self.size), _LARGEST_SIDE)
        for name, values in (("Scale", (self.scale,)), ("Standard deviation", self.std)):
            if any(v == 0 for v in values):
                raise SpecError(f"{name} must not be 0.", hint="Leave it out to change nothing.")

    def words(self) -> str:
        """Say exactly what is done."""
        height, width = self.size
        cut = f"the centre {height} × {width} cut out"
        if self.resize == "stretch":
            placed = f"stretched to {height} × {width} ({self.interpolation})"
        elif self.resize is None:
            placed = cut
        else:
            placed = f"shorter side resized to {self.resize} ({self.interpolation}), {cut}"
        scale = 1 / self.scale
        whole_divisor = math.isclose(scale, round(scale), rel_tol=1e-12) and round(scale) > 1
        values = f"divided by {round(scale)}" if whole_divisor else f"times {self.scale!r}"
        parts = [self.channels, placed, f"values {values}"]
        if any(self.mean):
            parts.append(f"minus {_listed(self.mean)}")
        if any(v != 1 for v in self.std):
            parts.append(f"divided by {_listed(self.std)}")
        return ", ".join([*parts, f"float32 {self.layout}"])

    def table(self) -> npt.NDArray[np.float32]:
        """Return what each stored value becomes: float32 [channels, 256].

        Computed in float64 and rounded once.
        """
        import numpy as np

        values = np.arange(256) * self.scale
        mean, std = np.array(self.mean)[:, None], np.array(self.std)[:, None]
        table: npt.NDArray[np.float64] = (values - mean) / std
        return table.astype(np.float32)


def preprocessing(
    size: object,
    resize: int | Literal["stretch"] | None,
    interpolation: Interpolation,
    channels: Channels,
    scale: object,
    mean: object,
    std: object,
    layout: Layout,
) -> Preprocessing:
    """Check the settings and give each channel its own mean and deviation.

    Raises:
        SpecError: one makes no sense.
    """
    one_of("order of channels", channels, ("RGB", "BGR", "gray"))
    if not isinstance(size, Sequence) or len(size) != 2:
        raise SpecError(f"{size!r} is no size.", hint="Give height and width: (224, 224).")
    count = 1 if channels == "gray" else 3
    return Preprocessing(
        (size[0], size[1]),
        resize,
        interpolation,
        channels,
        _numbers("scale", scale, 1)[0],
        _numbers("mean", mean, count),
        _numbers("std", std, count),
        layout,
    )


def read_images(
    given: str | os.PathLike[str],
    how: Preprocessing,
    labels: str | os.PathLike[str] | None,
    limit: int | None,
    seed: int,
) -> Found:
    """Read the images of a folder, float32 in the layout that ``how`` says.

    Raises:
        SpecError: no image is there, one cannot be read, or the labels do not fit.
        BackendUnavailableError: Pillow is not installed.
    """
    import numpy as np

    folder = as_path(given)
    files = image_files(folder)
    classes, source = _classes(folder, files, labels)
    chosen: Sequence[int] = range(len(files))
    if limit is not None:
        whole("The limit", limit, 1, 2**31 - 1)
        if limit < len(files):
            chosen = drawn(len(files), limit, seed)
    table = how.table()
    height, width = how.size
    channels_first = how.layout == "NCHW"
    each = (len(table), height, width) if channels_first else (height, width, len(table))
    check_memory(len(chosen) * math.prod(each) * 4, f"{len(chosen):,} images")
    values = np.empty((len(chosen), *each), np.float32)
    targets = values if channels_first else values.transpose(0, 3, 1, 2)
    for target, number in zip(targets, chosen, strict=True):
        pixels = _pixels(files[number], folder, how)
        for channel, become in enumerate(table):
            target[channel] = become[pixels[:, :, channel]]
    words = f"{len(files):,} images of {printable(folder.name)}: {how.words()}"
    if len(chosen) < len(files):
        words = f"{words}; {len(chosen):,} of {len(files):,} drawn with seed {seed}"
    return Found(
        {"": values},
        None if classes is None else [classes[number] for number in chosen],
        f"{words}; {source}",
    )


def image_files(folder: Path) -> list[Path]:
    """Return the images in a folder, or else in its sub-folders, in the order of their paths.

    Raises:
        SpecError: there is none, or they lie in both; or the folder cannot be read.
    """
    if not folder.is_dir():
        raise SpecError(
            f"{printable(folder.name)} is no folder.", hint="Give the folder that has the images."
        )
    try:
        inside = sorted(p for p in folder.iterdir() if _is_image(p))
        below = [p for sub in class_folders(folder) for p in _images_below(sub)]
    except OSError as error:
        raise SpecError(
            f"{printable(folder.name)} cannot be read: {error.strerror}.", hint="Check its rights."
        ) from error
    if inside and below:
        raise SpecError(
            f"{printable(folder.name)} has images itself and in sub-folders.",
            hint="Keep them all in sub-folders, one for each class, or all in one folder.",
        )
    if not inside and not below:
        raise SpecError(
            f"{printable(folder.name)} has no images.",
            hint=f"Files count that end in {', '.join(ENDINGS)}; arrays are .npy or .npz files.",
        )
    return inside or below


def class_folders(folder: Path) -> list[Path]:
    """Return the sub-folders by name, without hidden ones."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images_below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if _is_image(p))


def _is_image(path: Path) -> bool:
    # Copies between systems leave hidden files beside the images: ._dog.jpg
    hidden = path.name.startswith(".")
    return path.suffix.lower() in ENDINGS and not hidden and path.is_file()


def _classes(
    folder: Path, files: Sequence[Path], given: str | os.PathLike[str] | None
) -> tuple[list[int] | None, str]:
    """Return the class number of each image if there are any, and in words where from."""
    if given is not None:
        return _from_file(as_path(given), folder, files)
    if files[0].parent == folder:
        beside = [folder / name for name in LABEL_FILES if (folder / name).is_file()]
        if len(beside) > 1:
            raise SpecError(
                f"{printable(folder.name)} has {' and '.join(LABEL_FILES)}.",
                hint="Say which one holds, with labels=...",
            )
        return _from_file(beside[0], folder, files) if beside else (None, "no labels")
    names = [path.name for path in class_folders(folder)]
    parents = [file.relative_to(folder).parts[0] for file in files]
    for name in names:
        if name not in parents:
            raise SpecError(
                f"{printable(folder.name)} has a sub-folder without images: {printable(name)}.",
                hint="Sub-folders are numbered as classes; remove this one if it is none.",
            )
    numbered = {name: number for number, name in enumerate(names)}
    return [numbered[parent] for parent in parents], f"labels from {len(names):,} sub-folders"


def _from_file(path: Path, folder: Path, files: Sequence[Path]) -> tuple[list[int] | None, str]:
    shown = printable(path.name)
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(
            f"{shown} cannot be read: {printable(str(error))}.",
            hint="Write one line name,label for each image, in UTF-8.",
        ) from error
    if rows and [cell.strip().lower() for cell in rows[0]] == ["name", "label"]:
        rows = rows[1:]
    found: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or not _CLASS.fullmatch(row[1].strip()):
            raise SpecError(
                f"{shown}, entry {number:,}, is {printable(','.join(row))!r}.",
                hint="Write name,label: the image's path in the folder and a class number from "
                "0, as in cats/1.png,3",
            )
        name = row[0].strip()
        if name in found:
            raise SpecError(f"{shown} names {printable(name)} twice.", hint="Name each once.")
        found[name] = int(row[1])
    names = [file.relative_to(folder).as_posix() for file in files]
    lacking = [name for name in names if name not in found]
    unknown = sorted(set(found) - set(names))
    if lacking or unknown:
        first = f"no label for {lacking[0]}" if lacking else f"no image {unknown[0]}"
        raise SpecError(
            f"{shown} has {len(found):,} labels for {len(names):,} images: {printable(first)}.",
            hint="Write one line name,label for each image, with its path in the folder.",
        )
    return [found[name] for name in names], f"labels from {shown}"


def _pixels(path: Path, folder: Path, how: Preprocessing) -> npt.NDArray[np.uint8]:
    """Return one image placed as asked for: uint8 [height, width, channels]."""
    import numpy as np

    try:
        from PIL import Image
    except ImportError as error:
        raise BackendUnavailableError(
            "Reading images needs Pillow, which is not installed.",
            hint="Run: pip install pillow. Or give arrays.",
        ) from error
    name = printable(path.relative_to(folder).as_posix())
    try:
        with Image.open(path) as opened:
            if opened.mode in _DEEP:
                raise SpecError(
                    f"{name} has more than one byte a channel (mode {opened.mode}).",
                    hint="Convert it to 8 bits, or give arrays.",
                )
            # Pillow warns where a palette with transparency is converted without this step.
            source = opened.convert("RGBA") if opened.mode == "P" else opened
            image = source.convert("L" if how.channels == "gray" else "RGB")
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        raise SpecError(
            f"{name} cannot be read as an image: {printable(str(error)).rstrip('.')}.",
            hint="Replace or remove the file.",
        ) from error
    height, width = how.size
    smooth = Image.Resampling[how.interpolation.upper()]
    if how.resize == "stretch":
        image = image.resize((width, height), smooth)
    elif how.resize is not None:
        # torchvision's rule: the longer side is cut down to a whole number.
        short = min(image.size)
        longer = int(how.resize * max(image.size) / short)
        wide = image.width > image.height
        image = image.resize((longer, how.resize) if wide else (how.resize, longer), smooth)
    if image.width < width or image.height < height:
        raise SpecError(
            f"{name} is {image.height} × {image.width}, smaller than {height} × {width}.",
            hint="Give resize='stretch', or the length of the shorter side.",
        )
    # torchvision's rule for the centre.
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    pixels = np.asarray(image.crop((left, top, left + width, top + height)))
    if how.channels == "gray":
        return pixels[:, :, None]
    return pixels[:, :, ::-1] if how.channels == "BGR" else pixels


def _numbers(name: str, value: object, count: int) -> tuple[float, ...]:
    """Return one finite number for each channel."""
    import numpy as np

    try:
        given = np.asarray(value, np.float64)
    except (ValueError, TypeError):
        given = np.array(np.nan)
    if given.shape not in ((), (count,)) or not np.isfinite(given).all():
        many = "one number" if count == 1 else f"one number, or {count}"
        raise SpecError(f"{value!r} is no {name} for these channels.", hint=f"Give {many}.")
    found: list[float] = np.broadcast_to(given, count).tolist()
    return tuple(found)


def _listed(values: Sequence[float]) -> str:
    several = values if len(set(values)) > 1 else values[:1]
    return " / ".join(f"{v!r}" for v in several)
