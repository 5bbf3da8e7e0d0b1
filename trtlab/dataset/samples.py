"""``Dataset``: samples for calibration and accuracy, in a fixed order."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from trtlab.dataset import arrays as checks
from trtlab.dataset.images import Channels, Interpolation, Layout, preprocessing, read_images
from trtlab.dataset.random import random_inputs
from trtlab.dataset.reading import Each, read_folder, read_iterator
from trtlab.errors import SpecError
from trtlab.model.types import Tensor
from trtlab.shown import Shown
from trtlab.spec import RunConfig, Shape, input_shapes
from trtlab.spec.checks import whole
from trtlab.units import text_from_bytes, text_from_shape

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_MOST_SAMPLES = 2**31 - 1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dataset(Shown):
    """Samples with one array for each input of a model, and perhaps labels.

    Made by the class methods, which look at every value. Two hold the same samples if their
    hashes are equal.

    Attributes:
        arrays: By input name, [samples, ...]: the batch axis is the first. A single array
            without a name is called ``""`` and goes to a model's only input. Read-only.
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

    @classmethod
    def from_arrays(
        cls, arrays: object, labels: object = None, words: str = "arrays given by the caller"
    ) -> Dataset:
        """Take one array, or a mapping from input names to arrays; a copy is kept.

        Args:
            arrays: Numbers, [samples, ...]: what NumPy makes an array of.
            labels: Class numbers from 0, one for each sample.
            words: What was done to the data, for the record.

        Raises:
            SpecError: empty, of unequal lengths, not numbers, with NaN or infinity; or labels
                that are not one class number for each sample.
        """
        given = arrays if isinstance(arrays, Mapping) else {"": arrays}
        for name in given:
            if not isinstance(name, str):
                raise SpecError(
                    f"{name!r} is no name of an input.", hint="Names of inputs are texts."
                )
        copies = {n: checks.as_array(a, checks.named(n)).copy() for n, a in given.items()}
        return _checked(copies, labels, words)

    @classmethod
    def from_folder(cls, path: str | os.PathLike[str], *, each: Each = "batch") -> Dataset:
        """Read ``.npy`` and ``.npz`` files; nothing in them is ever run (no pickle).

        A folder of ``.npy`` files is for a model with one input. Files of ``.npz`` hold an array
        for each input, by its name. Files count in the order of their names, as text. Labels are
        in ``labels.npy``, or in an array ``labels`` of every ``.npz`` file.

        Args:
            path: A folder, or a single ``.npy`` or ``.npz`` file. A single ``.npy`` file of
                batches is mapped, not read: memory holds what is looked at.
            each: What a file holds: a ``"batch"``, joined along its first axis, or one
                ``"sample"`` without a batch axis. Never guessed.

        Raises:
            SpecError: no such path or file, a file that is damaged, pickled or holds no numbers,
                shapes that do not join, more than this machine's memory; or as ``from_arrays``.
        """
        found = read_folder(path, each)
        return _checked(found.arrays, found.labels, found.words)

    @classmethod
    def from_images(
        cls,
        folder: str | os.PathLike[str],
        *,
        size: tuple[int, int],
        resize: int | Literal["stretch"] | None = "stretch",
        interpolation: Interpolation = "bilinear",
        channels: Channels = "RGB",
        scale: float = 1 / 255,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        layout: Layout = "NCHW",
        labels: str | os.PathLike[str] | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> Dataset:
        """Read images into one float32 array: ``(value * scale - mean) / std``.

        It must be what the model was trained with: a wrong order of channels or a wrong scale
        gives results without an error. For ImageNet networks in the manner of torchvision:
        ``size=(224, 224), resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)``.

        Images of one byte a channel are read as stored: not turned by EXIF, no colour profile,
        transparency dropped, of several frames the first. Their order is that of their paths.

        Args:
            folder: Images in sub-folders, one for each class (class numbers follow the
                sub-folders' names sorted as text, as torchvision's ImageFolder has them), or
                images in the folder itself.
            size: Height and width of what the model takes, in pixels.
            resize: ``"stretch"`` to ``size``; a number: the shorter side becomes that long, then
                the centre is cut out; None: only the centre is cut out.
            interpolation: Pillow's filter; all but ``"nearest"`` smooth when they shrink.
            channels: ``"RGB"``, ``"BGR"`` or ``"gray"`` (ITU-R 601-2 luma, one channel).
            scale: What stored values (0 to 255) are multiplied by.
            mean: Subtracted after that; one number, or one a channel in the order of
                ``channels``.
            std: Divided by after that; likewise.
            layout: ``"NCHW"`` gives [n, channels, h, w], ``"NHWC"`` [n, h, w, channels].
            labels: A file with lines ``name,label``, names relative to ``folder``; default is
                ``labels.txt`` or ``labels.csv`` in it, where images lie in the folder itself.
            limit: At most so many images, drawn at random.
            seed: Which ones those are.

        Raises:
            SpecError: no image there, an unreadable one, labels that do not fit the images, a
                setting that makes no sense, or more than this machine's memory.
            BackendUnavailableError: Pillow is not installed.
        """
        how = preprocessing(size, resize, interpolation, channels, scale, mean, std, layout)
        found = read_images(folder, how, labels, limit, seed)
        return _checked(found.arrays, found.labels, found.words)

    @classmethod
    def from_iterator(
        cls,
        iterable: Iterable[object],
        *,
        each: Each = "batch",
        limit: int | None = None,
        words: str = "items of an iterator",
    ) -> Dataset:
        """Take what an iterable yields: arrays, or mappings from input names to arrays.

        Args:
            iterable: Asked for items until it ends or ``limit`` is reached.
            each: What an item is: a ``"batch"``, or one ``"sample"`` without a batch axis.
            limit: At most so many samples: the first ones.
            words: What was done to the data, for the record.

        Raises:
            SpecError: nothing came, items do not join, they would fill the memory; or as
                ``from_arrays``.
        """
        return _checked(read_iterator(iterable, each, limit), None, words)

    @classmethod
    def from_random(
        cls,
        inputs: Sequence[Tensor],
        samples: int,
        seed: int = 0,
        shapes: Mapping[str, Shape] | None = None,
    ) -> Dataset:
        """Invent samples: good for trying a build, not for ranges or accuracy that mean anything.

        Args:
            inputs: Those of a model.
            samples: How many.
            seed: Which ones: the same seed gives the same values everywhere.
            shapes: Shapes in full by input name, as ``build`` takes them, where axes behind the
                first are dynamic: those are never guessed. The first number counts for nothing.

        Raises:
            SpecError: an axis has no size, or an input's type cannot be invented.
        """
        whole("The number of samples", samples, 1, _MOST_SAMPLES)
        whole("Seed", seed, 0, 2**63 - 1)
        full = _random_shapes(inputs, samples, shapes or {})
        checks.check_memory(sum(_bytes(full[t.name]) for t in inputs), f"{samples:,} samples")
        words = f"random numbers (seed {seed}), which are no real data"
        return _checked(random_inputs(inputs, full, seed), None, words, random=True)

    def take(self, n: int, seed: int = 0) -> Dataset:
        """Draw ``n`` samples at random without repeating one; they keep their order and labels.

        Raises:
            SpecError: there are fewer.
        """
        import numpy as np

        whole("The number of samples to take", n, 1, len(self))
        if n == len(self):
            return self
        chosen = np.array(checks.drawn(len(self), n, seed))
        return _checked(
            {name: array[chosen] for name, array in self.arrays.items()},
            None if self.labels is None else self.labels[chosen],
            f"{self.words}; {n:,} of {len(self):,} drawn with seed {seed}",
            random=self.random,
        )

    def batches(self, size: int) -> Iterator[dict[str, npt.NDArray[np.generic]]]:
        """Yield the samples by input name, ``size`` at a time; the last batch may be smaller."""
        whole("The batch", size, 1, _MOST_SAMPLES)
        for start in range(0, len(self), size):
            yield {name: array[start : start + size] for name, array in self.arrays.items()}

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.arrays.values())))

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        rows = [("samples", f"{len(self):,}")]
        for name, array in self.arrays.items():
            shape = text_from_shape(array.shape[1:])
            rows.append((name or "array", f"{array.dtype.name} {shape} each"))
        if self.labels is not None:
            seen = set(self.labels.tolist())
            rows.append(("labels", f"{len(seen):,} classes, the highest is {max(seen):,}"))
        rows += [
            ("source", self.words),
            ("size", text_from_bytes(sum(a.nbytes for a in self.arrays.values()))),
            ("hash", self.hash[:12]),
        ]
        if self.random:
            rows.append(("caveat", "invented: ranges and errors on it say nothing of real inputs"))
        return rows


def _checked(
    arrays: Mapping[str, npt.NDArray[np.generic]],
    labels: object,
    words: str,
    *,
    random: bool = False,
) -> Dataset:
    """Return the data set of these arrays, which nobody else may write to any more."""
    samples = checks.check_arrays(arrays)
    checks.check_finite(arrays)
    classes = None if labels is None else checks.as_labels(labels, samples)
    for array in (*arrays.values(), *(() if classes is None else (classes,))):
        array.flags.writeable = False
    return Dataset(dict(arrays), classes, words, checks.content_hash(arrays), random)


def _random_shapes(
    inputs: Sequence[Tensor], samples: int, shapes: Mapping[str, Shape]
) -> dict[str, Shape]:
    """Return the shape of every input with ``samples`` on the first axis."""
    for tensor in inputs:
        if tensor.shape == () or shapes.get(tensor.name) == ():
            raise SpecError(
                f"Input {tensor.name!r} is a single number, without a batch axis.",
                hint="Give the arrays yourself with trtlab.Dataset.from_arrays.",
            )
    # With a first axis of known size only the others are still to be settled.
    sized = [t if t.shape is None else replace(t, shape=(samples, *t.shape[1:])) for t in inputs]
    given = {name: (samples, *shape[1:]) for name, shape in shapes.items()}
    return input_shapes(sized, (), RunConfig(shapes=given))[0]


def _bytes(shape: Shape) -> int:
    """Return what random values of that shape take at most while they are made."""
    return math.prod(shape) * 8
