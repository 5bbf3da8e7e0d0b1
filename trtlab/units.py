"""Parsing and printing quantities: ``256MiB``, ``1.2 ms``, ``x:8x3x224x224``.

Printing follows the project's number rules: three significant digits, thousands by comma,
memory in binary units, files in decimal units, true minus sign.
"""

from __future__ import annotations

import math
import re

from trtlab.errors import SpecError

_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "tb": 10**12,
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
}
_SIZE = re.compile(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([a-zA-Z]*)\s*", re.ASCII)
_SHAPE = re.compile(r"\d{1,18}(?:x\d{1,18})*", re.ASCII)

N_A = "n/a"


def bytes_from_text(text: str | int) -> int:
    """Read a size such as ``"256MiB"``, ``"1.5 GB"`` or ``4096``; bare K, M, G are binary.

    Raises:
        SpecError: the text is no size, or the size is not a positive whole number of bytes.
    """
    match = _SIZE.fullmatch(str(text))
    factor = _BYTES.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise SpecError(
            f"{str(text)!r} is not a size.", hint="Write it as 256MiB, 1GiB or a number of bytes."
        )
    size = round(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor
    if size <= 0:
        raise SpecError(f"A size must be positive; got {str(text)!r}.", hint="Write e.g. 16MiB.")
    return size


def shapes_from_text(text: str) -> dict[str, tuple[int, ...]]:
    """Read trtexec's shape syntax, ``"x:8x3x224x224,ids:8x128"``.

    The name ends at the *last* colon of a part, so tensor names such as ``input:0`` work.

    Raises:
        SpecError: the text does not have that form, or a name comes twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for part in text.split(","):
        name, colon, dims = part.strip().rpartition(":")
        if not colon or not name or not _SHAPE.fullmatch(dims):
            raise SpecError(
                f"{part!r} is not a shape.", hint="Write name:8x3x224x224, several with commas."
            )
        if name in shapes:
            raise SpecError(f"Two shapes are given for {name!r}.", hint="Give each input once.")
        shapes[name] = tuple(int(d) for d in dims.split("x"))
    return shapes


def ints_from_text(text: str) -> tuple[int, ...]:
    """Read ``"1,8,32"``.

    Raises:
        SpecError: the text is not whole numbers with commas between them.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SpecError(
            f"{text!r} is not a list of whole numbers.", hint="Write 1,8,32."
        ) from None


def text_from_shape(shape: tuple[int | str | None, ...]) -> str:
    """Print ``[N, 3, 224, 224]``; an unknown dimension is a question mark."""
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


def text_from_number(value: float | None, digits: int = 3) -> str:
    """Print with ``digits`` significant digits and thousands by comma; unknown is ``n/a``."""
    if value is None or not math.isfinite(value):
        return N_A
    if value == 0:
        return "0"
    sign = "−" if value < 0 else ""
    size = abs(value)
    if size < 0.01:
        return "< 0.01" if value > 0 else "> −0.01"
    exponent = math.floor(math.log10(size))
    decimals = max(0, digits - 1 - exponent)
    rounded = round(size, digits - 1 - exponent)
    if decimals and math.floor(math.log10(rounded)) > exponent:
        decimals -= 1  # 9.996 became 10.0: keep three digits, not four
    return f"{sign}{rounded:,.{decimals}f}"


def text_from_ms(milliseconds: float | None) -> str:
    """Print a duration: microseconds below 0.1 ms, seconds from 10 s."""
    if milliseconds is None or not math.isfinite(milliseconds):
        return N_A
    factor, unit = _time_unit(milliseconds)
    return f"{text_from_number(milliseconds * factor)} {unit}"


def text_from_latency(milliseconds: float, interval: tuple[float, float] | None) -> str:
    """Print a duration and its 95 % interval in one unit: ``50.0 µs [49.1, 51.2]``."""
    factor, _ = _time_unit(milliseconds)
    scaled = None if interval is None else (interval[0] * factor, interval[1] * factor)
    return f"{text_from_ms(milliseconds)} {text_from_interval(scaled)}"


def _time_unit(milliseconds: float) -> tuple[float, str]:
    if milliseconds < 0.1:
        return 1e3, "µs"
    if milliseconds >= 10_000:
        return 1e-3, "s"
    return 1.0, "ms"


def text_from_interval(interval: tuple[float, float] | None) -> str:
    """Print a 95 % interval as ``[3.91, 4.06]``, or ``[n/a]`` when it is not known."""
    if interval is None:
        return f"[{N_A}]"
    low, high = interval
    return f"[{text_from_number(low)}, {text_from_number(high)}]"


def text_from_bytes(size: float | None) -> str:
    """Print memory in KiB, MiB, GiB."""
    return _scaled(size, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def text_from_file_size(size: float | None) -> str:
    """Print a file's size in kB, MB, GB."""
    return _scaled(size, 1000, ("B", "kB", "MB", "GB", "TB"))


def text_from_count(count: float | None, unit: str = "") -> str:
    """Print a large count with K, M, G, T before the unit: ``4.09 GFLOP``."""
    return _scaled(count, 1000, tuple(f"{p}{unit}" for p in ("", "K", "M", "G", "T"))).rstrip()


def _scaled(size: float | None, step: int, names: tuple[str, ...]) -> str:
    if size is None or not math.isfinite(size):
        return N_A
    value = float(size)
    for name in names[:-1]:
        # 999.6 would print as 1,000: it belongs to the next unit.
        if abs(value) < step * 0.9995:
            whole = value == int(value) and value >= 0 and name == names[0]
            return f"{int(value) if whole else text_from_number(value)} {name}"
        value /= step
    return f"{text_from_number(value)} {names[-1]}"
