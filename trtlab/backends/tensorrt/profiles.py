"""Which optimization profile of an engine holds the shapes of a run."""

from __future__ import annotations

from collections.abc import Mapping

from trtlab.backends.tensorrt import bindings
from trtlab.errors import SpecError
from trtlab.spec import Shape
from trtlab.units import text_from_shape


def choose_profile(engine: bindings.Engine, shapes: Mapping[str, Shape]) -> int:
    """Return the first optimization profile of an engine that holds these input shapes.

    Raises:
        SpecError: none does; the message names input, shape and ranges.
    """
    misfits: list[str] = []
    for index in range(engine.num_optimization_profiles):
        found = [m for name, shape in shapes.items() if (m := _misfit(engine, index, name, shape))]
        if not found:
            return index
        misfits += [m for m in found if m not in misfits]
    raise SpecError(
        f"No optimization profile of this plan holds {'; nor '.join(misfits)}.",
        hint="Choose shapes within the ranges, or build a plan for larger ones.",
    )


def _misfit(engine: bindings.Engine, index: int, name: str, shape: Shape) -> str:
    """Say how a shape lies outside a profile; empty if it does not."""
    fixed = tuple(engine.get_tensor_shape(name))
    if all(d >= 0 for d in fixed):
        # A profile says nothing of an input without dynamic axes.
        wanted = f"{text_from_shape(fixed)} alone"
        fits = shape == fixed
    else:
        least, _, most = (tuple(dims) for dims in engine.get_tensor_profile_shape(name, index))
        wanted = f"{text_from_shape(least)} to {text_from_shape(most)}"
        fits = len(shape) == len(least) and all(
            low <= d <= high for low, d, high in zip(least, shape, most, strict=True)
        )
    return "" if fits else f"{text_from_shape(shape)} for input {name!r} ({wanted})"
