"""``Comparison``: two records side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trtlab import stats
from trtlab.record.base import (
    caveat_rows,
)
from trtlab.shown import Shown
from trtlab.spec import Caveat
from trtlab.units import (
    N_A,
    text_from_number,
)

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal[
    "better", "worse", "not distinguishable", "doubtful", "exact", "no interval", "unknown"
]


@dataclass(frozen=True, slots=True)
class Difference:
    """One quantity of two records.

    ``ratio`` is b / a with its interval; None when unknown. ``exact`` quantities (sizes) have no
    interval and are neither better nor worse by themselves; a single reading (peak memory) has
    ``no interval`` and makes no claim, and neither does a ``doubtful`` one of a disturbed run.
    """

    quantity: str
    a: float | None
    b: float | None
    ratio: float | None
    interval: stats.Interval | None
    verdict: Verdict


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Shown):
    """Two records side by side. Never a claim inside the noise."""

    a: str
    b: str
    differences: tuple[Difference, ...]
    caveats: tuple[Caveat, ...]

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        return [
            ("A", self.a),
            ("B", self.b),
            *((d.quantity, difference_text(d)) for d in self.differences),
            *caveat_rows(self.caveats),
        ]

    @property
    def df(self) -> pd.DataFrame:
        """One row a quantity."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "quantity": d.quantity,
                    "a": d.a,
                    "b": d.b,
                    "ratio": d.ratio,
                    "ratio_low": d.interval.low if d.interval else None,
                    "ratio_high": d.interval.high if d.interval else None,
                    "verdict": d.verdict,
                }
                for d in self.differences
            ]
        )


_EXACT = {"layers", "streams", "plan_bytes", "activation_bytes", "scratch_bytes", "weight_bytes"}
"""What the builder says to the last digit, also where the other side says nothing."""


def difference_text(d: Difference) -> str:
    """Return ``4.00 → 2.32: −42 % [−44 %, −40 %] better``."""
    is_exact = d.verdict == "exact" or d.quantity in _EXACT
    both = " → ".join(
        f"{value:,.0f}" if is_exact and value is not None else text_from_number(value)
        for value in (d.a, d.b)
    )
    if d.ratio is None:
        return f"{both}: {N_A}"
    change = _percent(d.ratio)
    span = f" [{_percent(d.interval.low)}, {_percent(d.interval.high)}]" if d.interval else ""
    return f"{both}: {change}{span} {d.verdict}"


def _percent(ratio: float) -> str:
    change = (ratio - 1) * 100
    sign = "−" if change < 0 else "+"
    return f"{sign}{abs(change):.1f} %" if abs(change) < 9.95 else f"{sign}{abs(change):.0f} %"
