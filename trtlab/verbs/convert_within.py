"""``convert_within``: the fewest nodes to keep back for an allowed loss of accuracy."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trtlab.dataset.samples import Dataset
from trtlab.errors import SpecError, UnsupportedError
from trtlab.model.types import Model
from trtlab.precision.recipes import recipe_of
from trtlab.record import Accuracy
from trtlab.shown import Shown
from trtlab.spec.checks import texts
from trtlab.stats import Interval
from trtlab.store import Store
from trtlab.units import text_from_number
from trtlab.verbs.accuracy import accuracy
from trtlab.verbs.convert import convert, is_table
from trtlab.verbs.data import data_for, labelled_data_for
from trtlab.verbs.load import load
from trtlab.worker import Progress, silent

_MOST_TO_THIN = 16
"""Kept nodes up to which each is tried without: beyond, that would take too many trials."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One conversion that was judged.

    Attributes:
        kept: Nodes that were kept back, beyond those that the caller named.
        drop: Loss of top-1 in points; without labels the share of samples, in percent, whose class
            is another one than the reference's.
        interval: Paired 95 % interval of the loss in points; None without labels.
        within: Whether the loss is allowed.
    """

    kept: tuple[str, ...]
    drop: float
    interval: Interval | None
    within: bool


@dataclass(frozen=True, slots=True, repr=False)
class Search(Shown):
    """What ``convert_within`` found.

    Attributes:
        model: The converted model, with the fewest nodes kept back that were found.
        measure: What ``drop`` of the trials is, in words.
        data: What it was judged on, in words.
        trials: In their order.
    """

    model: Model
    max_drop: float
    measure: str
    data: str
    trials: tuple[Trial, ...]
    best: Trial

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        kept = ", ".join(self.best.kept) or "no node"
        return [
            ("kept back", f"{len(self.best.kept)}: {kept}" if self.best.kept else "no node"),
            (self.measure, _text(self.best)),
            ("allowed", f"{text_from_number(self.max_drop)} points, judged by the estimate"),
            ("judged on", f"{self.data}, emulated; the choice was made on these samples"),
            *(
                (f"trial {n}", f"{len(t.kept)} kept: {_text(t)}{'' if t.within else ', too much'}")
                for n, t in enumerate(self.trials, 1)
            ),
        ]


def _text(trial: Trial) -> str:
    text = f"{trial.drop:.2f} points"
    if trial.interval is None:
        return text
    return f"{text} [{trial.interval.low:.2f}, {trial.interval.high:.2f}]"


@dataclass(slots=True)
class _Judge:
    """Converts and judges; the same set of nodes only once."""

    model: Model
    recipe: str
    max_drop: float
    data: Dataset
    labels: Any
    keep: tuple[str, ...]
    settings: dict[str, Any]
    calls: dict[str, Any]
    store: Store
    trials: list[Trial] = field(default_factory=list)
    made: dict[frozenset[str], tuple[Model, Trial]] = field(default_factory=dict)

    def __call__(self, nodes: Sequence[str]) -> Trial:
        chosen = frozenset(nodes)
        if chosen not in self.made:
            model = convert(
                self.model, self.recipe, keep=(*self.keep, *nodes), **self.settings, **self.calls
            )
            found = self.accuracy_of(model)
            trial = _trial(tuple(nodes), found, self.max_drop)
            self.made[chosen] = model, trial
            self.trials.append(trial)
        return self.made[chosen][1]

    def accuracy_of(self, model: Model, *, per_node: bool = False) -> Accuracy:
        """Judge a model by the FP32 one."""
        return accuracy(
            model,
            self.data,
            labels=self.labels,
            reference=self.model,
            arithmetic="emulated",
            per_node=per_node,
            **self.calls,
        )


def _trial(nodes: tuple[str, ...], found: Accuracy, max_drop: float) -> Trial:
    if found.labels is not None:
        drop, span = found.labels.drop, found.labels.drop_interval
        interval = Interval(100 * span.low, 100 * span.high)
        return Trial(nodes, 100 * drop, interval, 100 * drop <= max_drop)
    shares = [out.top1_agreement for out in found.outputs if out.top1_agreement is not None]
    if not shares:
        raise SpecError(
            f"{found.model.name} names no classes: its loss cannot be told in points.",
            hint="trtlab accuracy --per-node shows the nodes; name those to keep.",
        )
    changed = 100 * (1 - min(shares))
    return Trial(nodes, changed, None, changed <= max_drop)


def _candidates(judge: _Judge) -> list[str]:
    """Return all nodes that could be kept back, the most harmful first."""
    full, _ = judge.made[frozenset()]
    found = judge.accuracy_of(full, per_node=True)
    ranked = sorted(found.nodes or (), key=lambda error: -error.effect)
    rest = (name for error in ranked for name in error.keep)
    return list(dict.fromkeys((*found.suggested, *rest)))


def _within(judge: _Judge, nodes: Sequence[str]) -> bool:
    try:
        return judge(nodes).within
    except UnsupportedError:  # nothing is left to convert: what loses nothing, but is no mix
        return True


def _fewest(judge: _Judge, candidates: Sequence[str]) -> Trial:
    """Return the trial with the fewest nodes kept back that loses no more than is allowed.

    Raises:
        SpecError: there is none.
    """
    none = SpecError(
        f"Whatever of {len(candidates)} nodes is kept back, it loses more than "
        f"{judge.max_drop:g} points, or nothing is left to convert.",
        hint=f"Allow more than {judge.max_drop:g}, or choose another recipe.",
    )
    low, high = 0, 1  # with low nodes it is too much
    while not _within(judge, candidates[:high]):
        if high >= len(candidates):
            raise none
        low, high = high, min(2 * high, len(candidates))
    while high - low > 1:
        middle = (low + high) // 2
        if _within(judge, candidates[:middle]):
            high = middle
        else:
            low = middle
    kept = list(candidates[:high])
    if len(kept) <= _MOST_TO_THIN:
        for node in reversed(candidates[:high]):
            fewer = [name for name in kept if name != node]
            if fewer and _within(judge, fewer):
                kept = fewer
    try:
        return judge(kept)
    except UnsupportedError as error:
        raise none from error


def convert_within(
    model: Any,
    recipe: str,
    *,
    max_drop: float = 0.5,
    data: Any = None,
    labels: Any = None,
    keep: str | Sequence[str] = (),
    calibration: Any = None,
    samples: int | None = None,
    seed: int = 0,
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    **settings: Any,
) -> Search:
    """Convert a model, keeping back as few nodes as the allowed loss of top-1 asks for.

    Nodes are kept in the order in which ``accuracy`` finds them harmful: 1, 2, 4 … of them until
    the loss is allowed, then fewer by halving, then each alone is tried without. Every trial is
    judged with emulated arithmetic, so that the result is the same on every processor.

    Args:
        model: In FP32; a ``Model`` or what ``load`` takes.
        recipe: As ``convert`` takes it.
        max_drop: Allowed loss in points of top-1.
        data: Labelled samples to judge by, as ``accuracy`` takes them; without labels the share of
            samples that change their class counts as the loss.
        labels: Their labels, as ``accuracy`` takes them.
        keep: Nodes to keep in any case.
        calibration: As ``convert`` takes it, with ``samples`` and ``seed``.
        samples: How many are drawn for calibration.
        seed: Which ones those are.
        store: Default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        cancel: Set it to stop.
        settings: What else ``convert`` takes.

    Raises:
        SpecError: a setting is wrong, the data is random, or even with all nodes kept back the
            loss is too large.
        As ``convert`` and ``accuracy`` otherwise.
    """
    number = isinstance(max_drop, int | float) and not isinstance(max_drop, bool)
    if not number or not 0 <= max_drop < math.inf:
        raise SpecError(f"A loss of {max_drop!r} points cannot be allowed.", hint="Give 0.5.")
    store = store or Store()
    calls: dict[str, Any] = {"store": store, "progress": progress, "cancel": cancel}
    opened = load(model, **calls)
    judged = labelled_data_for(opened, data)
    if judged.random:
        raise SpecError(
            "Accuracy cannot be judged by random numbers.", hint="Give labelled samples."
        )
    wanted = calibration is not None or recipe_of(recipe).needs_data
    if wanted and not is_table(calibration):  # read once, not for every trial
        calibration = data_for(opened, calibration, samples=samples, seed=seed)
    settings["calibration"] = calibration
    judge = _Judge(
        opened, recipe, max_drop, judged, labels, texts("node", keep), settings, calls, store
    )
    first = judge(())
    best = first if first.within else _fewest(judge, _candidates(judge))
    made, _ = judge.made[frozenset(best.kept)]
    return Search(
        model=made,
        max_drop=max_drop,
        measure="loss of top-1" if best.interval else "samples that change their class",
        data=f"{len(judged)} samples of {judged.words}",
        trials=tuple(judge.trials),
        best=best,
    )
