"""What the settings are checked with."""

from __future__ import annotations

from trtlab.errors import SpecError

Shape = tuple[int, ...]


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not one of the allowed ones; raises SpecError."""
    if value not in allowed:
        raise SpecError(
            f"There is no {name} called {value!r}.", hint=f"Choose one of {', '.join(allowed)}."
        )


def whole(what: str, value: object, least: int, most: int) -> None:
    """Refuse what is no whole number from ``least`` to ``most``; raises SpecError."""
    # bool is an int to Python, and True is not a batch size.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise SpecError(
            f"{what} must be a whole number of at least {least:,} and at most {most:,}; "
            f"got {value!r}.",
            hint=f"Give a number from {least:,} to {most:,}.",
        )
