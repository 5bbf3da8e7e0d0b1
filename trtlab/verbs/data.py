"""What people give as data → a ``Dataset`` that fits the model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trtlab.dataset.fitting import fitted
from trtlab.dataset.images import image_files
from trtlab.dataset.reading import as_path
from trtlab.dataset.samples import Dataset
from trtlab.errors import SpecError
from trtlab.model.printing import printable
from trtlab.model.types import Model
from trtlab.zoo import catalogue

RANDOM_SAMPLES = 32
"""How many samples are invented where no number is given."""

_HINT = (
    "Give a trtlab.Dataset, an array, a mapping from input names to arrays, a folder of .npy or "
    '.npz files, or "random" to try a build with invented numbers. On the command line: '
    "--calibration for ranges, --data for accuracy."
)


def data_for(
    model: Model, given: Any = None, *, samples: int | None = None, seed: int = 0
) -> Dataset:
    """Return samples for calibration, with the names and types of the model's inputs.

    Args:
        model: The model that takes them.
        given: A ``Dataset``; an array; a mapping from input names to arrays; the path of a
            folder of ``.npy`` or ``.npz`` files, or of one such file; an iterable of batches;
            ``"random"``; a zoo model's name (``"digits"``, ``"zoo:digits"``: 128 of its training
            images, without labels); or None for those of the model itself if it is of the zoo.
            A file called like a zoo model is given as ``./digits``.
        samples: How many are drawn from them at random, in their order; of an iterable the first
            ones are taken. None takes all.
        seed: Which ones those are.

    Raises:
        SpecError: nothing was given and nothing is known, or it does not fit the model.
    """
    zoo = _zoo_name(model, given)
    if zoo is None:
        return _given(model, given, samples, seed)
    # NumPy comes with it: not before somebody asks for the images.
    from trtlab.zoo import labelled

    data = Dataset.from_arrays(
        labelled.calibration(zoo),
        words=f"training images of zoo:{zoo}: {labelled.PREPROCESSING[zoo]}",
    )
    return _fitted(data, model, samples, seed)


def labelled_data_for(
    model: Model, given: Any = None, *, samples: int | None = None, seed: int = 0
) -> Dataset:
    """Return samples for accuracy: as ``data_for``, but of the zoo the held-out images.

    Those have labels, and were never seen in training. Other data has labels where it came with
    them: a ``Dataset`` or a folder.

    Raises:
        SpecError: as ``data_for``.
    """
    zoo = _zoo_name(model, given)
    if zoo is None:
        return _given(model, given, samples, seed)
    from trtlab.zoo import labelled

    images, labels = labelled.held_out(zoo)
    data = Dataset.from_arrays(
        images, labels, words=f"held-out images of zoo:{zoo}: {labelled.PREPROCESSING[zoo]}"
    )
    return _fitted(data, model, samples, seed)


def _zoo_name(model: Model, given: Any) -> str | None:
    """Return the zoo model whose images are meant, or None if it is other data.

    Raises:
        SpecError: there is no such zoo model; or nothing was given, and the model has no images.
    """
    if given is None:
        names = [model.name] if model.conversion is None else [
            model.name, model.conversion.parent_name]  # fmt: skip
        for name in names:
            entry = catalogue.ENTRIES.get(name.removeprefix("zoo:"))
            if name.startswith("zoo:") and entry is not None and entry.labelled:
                return entry.name
        raise SpecError(f"{printable(model.name)} has no data of its own.", hint=_HINT)
    if isinstance(given, str) and (given.startswith("zoo:") or given in catalogue.ENTRIES):
        return catalogue.entry(given).name
    return None


def _given(model: Model, given: Any, samples: int | None, seed: int) -> Dataset:
    if isinstance(given, str) and given == "random":
        count = RANDOM_SAMPLES if samples is None else samples
        data = Dataset.from_random(model.inputs, count, seed)
    elif isinstance(given, Dataset):
        data = given
    elif isinstance(given, str | os.PathLike):
        data = _from_path(as_path(given))
    elif isinstance(given, Mapping) or hasattr(given, "__array__"):
        data = Dataset.from_arrays(given)
    elif isinstance(given, Iterable):
        data = Dataset.from_iterator(given, limit=samples)
    else:
        raise SpecError(f"A {type(given).__name__} is no data.", hint=_HINT)
    return _fitted(data, model, samples, seed)


def _from_path(path: Path) -> Dataset:
    if path.is_dir() and not any(path.glob("*.np[yz]")):
        found = len(image_files(path))
        call = f"trtlab.Dataset.from_images({str(path)!r}, size=(224, 224), resize=256, "
        raise SpecError(
            f"{printable(path.name)} has {found:,} images, but what is done to them before they "
            "go into the model is not stated.",
            hint=f"Say it as the model was trained, such as {printable(call)}"
            "mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)), and give the result.",
        )
    return Dataset.from_folder(path)


def _fitted(data: Dataset, model: Model, samples: int | None, seed: int) -> Dataset:
    drawn = data if samples is None else data.take(samples, seed)
    return fitted(drawn, model.inputs, model.name)
