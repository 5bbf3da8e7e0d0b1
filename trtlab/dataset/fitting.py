"""Whether a data set fits the inputs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from trtlab.dataset.arrays import content_hash
from trtlab.dataset.samples import Dataset
from trtlab.errors import SpecError
from trtlab.model.printing import printable
from trtlab.model.types import Dim, Tensor
from trtlab.units import text_from_shape

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def fitted(data: Dataset, inputs: Sequence[Tensor], model_name: str) -> Dataset:
    """Return the data with the names and types of a model's inputs.

    An array without a name goes to the only input. Numbers become wider where every value stays
    what it is: float16 in a float32 input, int32 in an int64 input. All else is refused.

    Raises:
        SpecError: it does not fit; see ``check_fits``.
    """
    if len(inputs) == 1 and set(data.arrays) == {""}:
        data = _rehashed(data, {inputs[0].name: data.arrays[""]})
    check_fits(data, inputs, model_name)
    types = {t.name: t.dtype or data.arrays[t.name].dtype.name for t in inputs}
    if any(types[name] != array.dtype.name for name, array in data.arrays.items()):
        data = _rehashed(data, {n: a.astype(types[n]) for n, a in data.arrays.items()})
    return data


def _rehashed(data: Dataset, arrays: dict[str, npt.NDArray[np.generic]]) -> Dataset:
    for array in arrays.values():
        array.flags.writeable = False
    return replace(data, arrays=arrays, hash=content_hash(arrays))


def check_fits(data: Dataset, inputs: Sequence[Tensor], model_name: str) -> None:
    """Refuse data whose names, shapes or types are not those of a model's inputs.

    Floats fit floats and integers fit integers that hold every value exactly. What would round,
    cut or change its meaning is for the caller to cast: float64 in a float32 input, and whole
    numbers in a float input, which are mostly images whose preprocessing was forgotten.

    Raises:
        SpecError: it does not fit; the message names the input.
    """
    wanted = {t.name for t in inputs}
    if set(data.arrays) != wanted:
        raise _wrong_names(data, inputs, model_name)
    batch = fixed_batch(inputs, model_name)
    for tensor in inputs:
        _check_shape(tensor, data.arrays[tensor.name].shape, model_name)
        _check_type(tensor, data.arrays[tensor.name].dtype.name, model_name)
    if batch is not None and len(data) % batch:
        raise SpecError(
            f"{model_name} runs in batches of {batch:,} only; {len(data):,} samples do not fill "
            "them.",
            hint=f"Take a multiple of {batch:,} samples, or make the batch dynamic with "
            "trtlab.with_dynamic_batch(model).",
        )


def fixed_batch(inputs: Sequence[Tensor], model_name: str) -> int | None:
    """Return the one batch size that a model runs in, or None where it is dynamic.

    Raises:
        SpecError: an input has no first axis, or two have different fixed ones.
    """
    for tensor in inputs:
        if tensor.shape == ():
            raise SpecError(
                f"Input {printable(tensor.name)!r} of {model_name} is a single number, without "
                "a batch axis.",
                hint="Make it a constant in the model; samples are counted on the first axis.",
            )
    sizes = {t.shape[0] for t in inputs if t.shape and isinstance(t.shape[0], int)}
    if len(sizes) > 1:
        raise SpecError(
            f"The inputs of {model_name} begin with different fixed sizes: "
            f"{', '.join(f'{size:,}' for size in sorted(sizes))}.",
            hint="Samples are counted on the first axis; make the others constants in the model.",
        )
    return sizes.pop() if sizes else None


def _wrong_names(data: Dataset, inputs: Sequence[Tensor], model_name: str) -> SpecError:
    wanted = ", ".join(repr(printable(t.name)) for t in inputs)
    if "" in data.arrays:
        return SpecError(
            f"One array without a name was given; {model_name} has {len(inputs)} inputs.",
            hint=f"Give a mapping from names to arrays; the inputs are {wanted}.",
        )
    given = ", ".join(repr(printable(name)) for name in data.arrays)
    return SpecError(
        f"{model_name} has the inputs {wanted}; the data has {given}.",
        hint="Give one array for each input, by its name.",
    )


def _check_shape(tensor: Tensor, found: tuple[int, ...], model_name: str) -> None:
    if tensor.shape is None:
        return
    want, got = tensor.shape[1:], found[1:]
    if _all_take(want, got):
        return
    hint = "Give samples of that shape; the first axis counts them."
    if len(found) == len(tensor.shape) - 1 and _all_take(want, found):
        hint = "One sample has no axis for the batch: give array[None]."
    elif len(found) == len(tensor.shape) - 1 and _all_take(want[1:], got) and want[0] in (1, None):
        hint = "An axis is missing: give array[:, None]."
    elif len(found) == 4 and len(want) == 3 and _all_take(want, (got[2], got[0], got[1])):
        hint = "The channels come last in the data and first in the model: layout='NCHW'."
    elif len(found) == 4 and len(want) == 3 and _all_take(want, (got[1], got[2], got[0])):
        hint = "The channels come first in the data and last in the model: layout='NHWC'."
    elif len(found) == len(tensor.shape) + 1:
        hint = "One axis too many: if each file or item is a batch already, give each='batch'."
    raise SpecError(
        f"Input {printable(tensor.name)!r} of {model_name} is {text_from_shape(tensor.shape)}; "
        f"the data is {text_from_shape(found)}.",
        hint=hint,
    )


def _all_take(want: Sequence[Dim], got: Sequence[int]) -> bool:
    return len(want) == len(got) and all(
        not isinstance(w, int) or w == g for w, g in zip(want, got, strict=True)
    )


def _check_type(tensor: Tensor, found: str, model_name: str) -> None:
    import numpy as np

    if tensor.dtype is None or tensor.dtype == found:
        return
    try:
        want = np.dtype(tensor.dtype)
    except TypeError:
        want = np.dtype(object)
    if want.kind not in "biuf":  # where ml_dtypes is loaded NumPy knows bfloat16, as raw bytes
        raise SpecError(
            f"Input {printable(tensor.name)!r} of {model_name} is {tensor.dtype}, which NumPy "
            "does not have.",
            hint="Convert the model so that its inputs keep their type (keep_io=True).",
        )
    kinds = {"u": "i"}
    got = np.dtype(found)
    same = kinds.get(got.kind, got.kind) == kinds.get(want.kind, want.kind)
    if not same or not np.can_cast(got, want, "safe"):
        raise SpecError(
            f"Input {printable(tensor.name)!r} of {model_name} is {want}; the data is {found}.",
            hint=f"Cast it yourself where that is meant: array.astype({want.name!r}).",
        )
