"""What the settings are checked with."""

from __future__ import annotations

from collections.abc import Iterable

from trtlab.errors import SpecError

Shape = tuple[int, ...]


def one_of(name: str, value: object, allowed: tuple[str | None, ...]) -> None:
    """Refuse a value that is not one of the allowed ones; raises SpecError."""
    if value not in allowed:
        choices = ", ".join(map(str, allowed))
        raise SpecError(f"There is no {name} called {value!r}.", hint=f"Choose one of {choices}.")


def texts(what: str, values: object) -> tuple[str, ...]:
    """Return one text, or several, as a tuple; raises SpecError for what is neither."""
    several = (values,) if isinstance(values, str) else values
    if not isinstance(several, Iterable) or not all(isinstance(v, str) for v in several):
        raise SpecError(f"{values!r} is no {what}.", hint="Give a text, or a list of texts.")
    return tuple(several)


def whole(what: str, value: object, least: int, most: int) -> None:
    """Refuse what is no whole number from ``least`` to ``most``; raises SpecError."""
    # bool is an int to Python, and True is not a batch size.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise SpecError(
            f"{what} must be a whole number of at least {least:,} and at most {most:,}; "
            f"got {value!r}.",
            hint=f"Give a number from {least:,} to {most:,}.",
        )
