"""Files of arrays, and whatever can be iterated → the arrays of a data set."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from trtlab.dataset.arrays import as_array, check_memory, named
from trtlab.errors import SpecError
from trtlab.model.printing import printable
from trtlab.spec.checks import one_of, whole
from trtlab.units import text_from_shape

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Each = Literal["batch", "sample"]
"""What one file or item is: samples along its first axis, or one sample without that axis."""

_EACH = ("batch", "sample")
_LABELS = "labels"
_ENDINGS = (".npy", ".npz")
_DAMAGE = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    RuntimeError,  # an encrypted archive; an unknown compression is below it
    MemoryError,  # a header that claims more than there is
    zipfile.BadZipFile,
    zlib.error,
)


class Found(NamedTuple):
    """Arrays by input name, labels if there are any, and where they came from."""

    arrays: Mapping[str, npt.NDArray[np.generic]]
    labels: object
    words: str


class _Part(NamedTuple):
    """One file or item with its arrays, and how to name it in an error."""

    name: str
    arrays: Mapping[str, npt.NDArray[np.generic]]


def read_folder(given: str | os.PathLike[str], each: Each) -> Found:
    """Read a folder of ``.npy`` or ``.npz`` files, or one such file.

    Raises:
        SpecError: nothing that can be read is there; the message names the file.
    """
    one_of("kind of file content", each, _EACH)
    path = as_path(given)
    files = _sample_files(path)
    labels = path / f"{_LABELS}.npy"
    beside = _read_npy(labels, mapped=False) if labels.is_file() else None
    # Mapped where nothing is joined; of many files there would be too many open ones.
    mapped = each == "batch" and len(files) == 1 and files[0].suffix == ".npy"
    if not mapped:
        size = 2 * sum(map(_bytes_inside, files))
        check_memory(size, f"{printable(path.name)} and the array that joins its files")
    parts = [_Part(file.name, _read(file, mapped=mapped)) for file in files]
    arrays = _joined(parts, each)
    inside = arrays.pop(_LABELS, None)
    if inside is not None and beside is not None:
        raise SpecError(
            f"{printable(path.name)} has {labels.name} and labels in {printable(parts[0].name)}.",
            hint="Leave one of them out.",
        )
    if len(files) == 1:
        holds = f"the {each} in {printable(path.name)}"
    else:
        holds = f"{len(files):,} {files[0].suffix} files in {printable(path.name)}, a {each} each"
    return Found(arrays, beside if inside is None else inside, holds)


def read_iterator(
    iterable: Iterable[object], each: Each, limit: int | None
) -> Mapping[str, npt.NDArray[np.generic]]:
    """Take arrays, or mappings to arrays, until there are ``limit`` samples.

    Raises:
        SpecError: nothing came, items do not join, or they would fill the memory.
    """
    one_of("kind of item", each, _EACH)
    if limit is not None:
        whole("The limit", limit, 1, 2**31 - 1)
    if not isinstance(iterable, Iterable):
        raise SpecError(
            f"A {type(iterable).__name__} cannot be iterated.",
            hint="Give a list or generator of arrays, or of mappings to arrays.",
        )
    parts: list[_Part] = []
    samples = size = 0
    for number, item in enumerate(iterable):
        name = f"item {number:,}"
        part = _Part(name, _item_arrays(item, name))
        parts.append(part)
        size += sum(array.nbytes for array in part.arrays.values())
        check_memory(2 * size, f"{number + 1:,} items and the array that joins them")
        first = next(iter(part.arrays.values()))
        samples += 1 if each == "sample" or first.ndim == 0 else len(first)
        if limit is not None and samples >= limit:
            break
    if not parts:
        raise SpecError("The iterator gave nothing.", hint="An iterator can be used only once.")
    return {name: array[:limit] for name, array in _joined(parts, each).items()}


def as_path(given: object) -> Path:
    """Return a path that is there.

    Raises:
        SpecError: it is none, or nothing is there.
    """
    if not isinstance(given, str | os.PathLike):
        raise SpecError(f"A {type(given).__name__} is no path.", hint="Give a text or a Path.")
    path = Path(os.fsdecode(given))
    if not path.exists():
        raise SpecError(
            f"There is no file or folder {printable(str(path))!r}.", hint="Check the path."
        )
    # "." has no name to show.
    return path if path.name else path.resolve()


def _item_arrays(item: object, name: str) -> dict[str, npt.NDArray[np.generic]]:
    if isinstance(item, tuple | list):
        raise SpecError(
            f"{name.capitalize()} is a {type(item).__name__}.",
            hint="Yield an array, or a mapping from input names to arrays: "
            "({'x': x} for x, _ in loader).",
        )
    given = item if isinstance(item, Mapping) else {"": item}
    if not given:
        raise SpecError(f"{name.capitalize()} has no array.", hint="Give one for each input.")
    # A copy: generators often yield the same buffer again.
    return {str(key): as_array(a, f"{name}, {named(str(key))}").copy() for key, a in given.items()}


def _sample_files(path: Path) -> list[Path]:
    """Return the files with samples in the order of their names; all of one kind."""
    if path.is_file():
        if path.suffix not in _ENDINGS:
            raise SpecError(
                f"{printable(path.name)} is no .npy or .npz file.",
                hint="Write one with numpy.save or numpy.savez.",
            )
        return [path]
    try:
        every = sorted(path.iterdir(), key=lambda file: file.name)
    except OSError as error:
        raise SpecError(
            f"{printable(path.name)} cannot be read: {error.strerror}.", hint="Check its rights."
        ) from error
    files = [f for f in every if f.suffix in _ENDINGS and f.name != f"{_LABELS}.npy"]
    if not files:
        raise SpecError(
            f"{printable(path.name)} has no .npy or .npz file with samples.",
            hint="Images are read with trtlab.Dataset.from_images.",
        )
    if len({file.suffix for file in files}) > 1:
        raise SpecError(
            f"{printable(path.name)} has both .npy and .npz files.",
            hint="Keep samples of one kind in a folder.",
        )
    return files


def _bytes_inside(file: Path) -> int:
    """Return what a file's arrays take in memory; 0 for a damaged one, which is found later."""
    try:
        if file.suffix == ".npy":
            return file.stat().st_size
        with zipfile.ZipFile(file) as archive:
            return sum(member.file_size for member in archive.infolist())
    except (OSError, zipfile.BadZipFile):
        return 0


def _read(file: Path, *, mapped: bool) -> Mapping[str, npt.NDArray[np.generic]]:
    if file.suffix == ".npy":
        return {"": _read_npy(file, mapped=mapped)}
    import numpy as np

    try:
        # NumPy leaves an archive that it cannot read open, if it opened it itself.
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            return {
                name: as_array(stored[name], f"{printable(file.name)}, array {printable(name)!r}")
                for name in stored.files
            }
    except _DAMAGE as error:
        raise _unreadable(file, error) from error


def _read_npy(file: Path, *, mapped: bool) -> npt.NDArray[np.generic]:
    import numpy as np

    try:
        array = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
    except _DAMAGE as error:
        raise _unreadable(file, error) from error
    return as_array(array, printable(file.name))


def _unreadable(file: Path, error: Exception) -> SpecError:
    reason = printable(str(error)) or type(error).__name__
    # NumPy's words for a pickle: when it reads one, and when it is to map one.
    pickled = any(word in reason for word in ("pickle", "Python objects"))
    return SpecError(
        f"{printable(file.name)} cannot be read: "
        + ("it holds Python objects (a pickle)." if pickled else f"{reason.rstrip('.')}."),
        hint="Opening a pickle runs code, so none is opened; save arrays of numbers."
        if pickled
        else "Write it again with numpy.save or numpy.savez.",
    )


def _joined(parts: Sequence[_Part], each: Each) -> dict[str, npt.NDArray[np.generic]]:
    """Join batches along their first axis, or samples along a new one."""
    import numpy as np

    first = parts[0]
    for part in parts:
        if part.arrays.keys() != first.arrays.keys():
            raise SpecError(
                f"{printable(part.name)} has the arrays {_listed(part)}, "
                f"{printable(first.name)} has {_listed(first)}.",
                hint="Give the same inputs everywhere.",
            )
        for name, array in part.arrays.items():
            _check_joins(part.name, name, array, first, each)
        lengths = {len(array) for array in part.arrays.values() if each == "batch"}
        if len(lengths) > 1:
            # Elsewhere the other way round, the whole would be as long and joined wrongly.
            raise SpecError(
                f"The arrays of {printable(part.name)} have different lengths: "
                f"{', '.join(map(str, sorted(lengths)))}.",
                hint="In a batch the first axis of every array counts the same samples.",
            )
    if each == "sample":
        return {n: np.stack([p.arrays[n] for p in parts]) for n in first.arrays}
    if len(parts) == 1:
        return dict(first.arrays)
    return {n: np.concatenate([p.arrays[n] for p in parts]) for n in first.arrays}


def _check_joins(
    part: str, name: str, array: npt.NDArray[np.generic], first: _Part, each: Each
) -> None:
    what = f"{printable(part)}, {named(name)}" if name else printable(part)
    if each == "batch" and array.ndim == 0:
        raise SpecError(
            f"{what}, is a single number.",
            hint="A batch has its samples along the first axis; for single ones give "
            "each='sample'.",
        )
    before = first.arrays[name]
    skip = 1 if each == "batch" else 0
    if array.shape[skip:] != before.shape[skip:] or array.dtype != before.dtype:
        raise SpecError(
            f"{what} is {array.dtype} {text_from_shape(array.shape)}; in "
            f"{printable(first.name)} it is {before.dtype} {text_from_shape(before.shape)}.",
            hint="Every sample must have the same type and shape.",
        )


def _listed(part: _Part) -> str:
    return ", ".join(repr(printable(name)) for name in part.arrays) or "none"
