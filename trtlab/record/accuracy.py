"""``Accuracy``: how far a model's outputs lie from a reference's, on the same inputs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from trtlab.record.base import Environment, ModelRef, Source, caveat_rows, source_rows
from trtlab.shown import Shown
from trtlab.spec import Caveat
from trtlab.stats import Interval
from trtlab.units import N_A

if TYPE_CHECKING:
    import pandas as pd

Stage = Literal["before softmax", "probabilities", "as they are"]
"""What was compared: a saturated softmax hides errors, so where it can be, what goes into it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRef:
    """Which data it was: words, SHA-256 (hex), samples; ``random`` data has no accuracy."""

    words: str
    hash: str
    samples: int
    random: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputError:
    """Errors of one output over all samples; None is what cannot be told.

    Attributes:
        name: Of the output; ``tensor``: the one that was compared.
        stage: See ``Stage``.
        elements: Numbers that the reference has; NaN and infinite ones of it are not compared.
            Errors are of those that are finite in both.
        max_absolute: Largest absolute error; ``mean_absolute``, ``p99_absolute`` likewise. The
            last comes from a histogram, to 0.05 % of its value.
        max_relative: Largest error relative to the reference, where that is at least
            ``relative_floor`` in size; ``mean_relative`` likewise.
        rmse: Root of the mean square error.
        sqnr_db: Signal to quantisation noise, 10 log10 (sum of reference squares / sum of error
            squares), in dB; None without any error.
        cosine: Mean cosine of the samples; those of length 0 are left out.
        kl: Mean Kullback-Leibler divergence of the softmax, in nats; None where the output is no
            classification.
        top1_agreement: Share of samples where both name the same class: the highest value, of
            equal ones the first. NaN names none.
        top5_agreement: Share where the reference's class is among the five highest.
        beyond_both: Share of elements beyond both tolerances, absolute and relative
            (Polygraphy's rule). Elements that only the model made NaN or infinite count.
        beyond_sum: Share beyond ``atol + rtol * |reference|`` (trtexec's rule), likewise.
        atol, rtol: The tolerances of both rules. Unless given, ``rtol`` comes from the precision
            and the number of nodes, and ``atol`` is that times the output's root mean square
            over the first batch, of which ``relative_floor`` is 1 %.
        not_finite: NaN and infinite elements that the reference does not have.
    """

    name: str
    tensor: str
    stage: Stage
    elements: int
    max_absolute: float | None
    mean_absolute: float | None
    p99_absolute: float | None
    max_relative: float | None
    mean_relative: float | None
    relative_floor: float
    rmse: float | None
    sqnr_db: float | None
    cosine: float | None
    kl: float | None
    top1_agreement: float | None
    top5_agreement: float | None
    beyond_both: float | None
    beyond_sum: float | None
    atol: float
    rtol: float
    not_finite: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMetrics:
    """Accuracy by labels, shares from 0 to 1; of the model, of the reference, and of the pair.

    Attributes:
        drop: Reference's top-1 minus the model's.
        drop_interval: Its paired 95 % interval, by sample.
    """

    samples: int
    top1: float
    top5: float | None
    reference_top1: float
    reference_top5: float | None
    drop: float
    drop_interval: Interval

    @property
    def sentence(self) -> str:
        """What the labels tell of a loss, which is never more than the interval allows."""
        low, high = self.drop_interval
        word, drop, ends = "drops", self.drop, (low, high)
        if drop < 0:  # the interval is told in the direction that is named
            word, drop, ends = "rises", -drop, (-high, -low)
        said = (
            f"top-1 {word} by {_points(drop)} points (95 % interval {_points(ends[0])} to "
            f"{_points(ends[1])} points, {self.samples:,} samples)"
        )
        if low > 0 or high < 0:
            return said
        return (
            f"no loss that these samples can show: {said}; a drop of up to {_points(high)} "
            f"points is not ruled out"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeError:
    """The error right behind one node of the reference, in the reference's order.

    Attributes:
        node: Its name; ``op``: its operator. Where the model folded several nodes into one, the
            name is that of the one with weights and the operators are joined by ``+``.
        keep: Names of the nodes to keep in higher precision to be rid of its error.
        tensor: What it writes, which both models have.
        sqnr_db: Of the tensor, all error from before it included; None without error.
        own_sqnr_db: Of what the node itself adds to the values that reach it; None where it adds
            nothing.
        effect: How much of the outputs' error power goes away without it, as part of all: on
            average over random halves of the other nodes. Below 0 where it cancels others.
        effect_interval: Its 95 % interval, by sample.
        certain: Whether the effect is above 0 even if one allows for there being many nodes.
        rmse: In the tensor's own unit.
        not_finite: Elements that this node made NaN or infinite.
    """

    node: str
    op: str
    keep: tuple[str, ...]
    tensor: str
    sqnr_db: float | None
    own_sqnr_db: float | None
    effect: float
    effect_interval: Interval
    certain: bool
    rmse: float | None
    not_finite: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Accuracy(Shown):
    """What lower precision, or another backend, did to a model's outputs.

    Attributes:
        reference: In words; ``reference_model`` None where arrays were given.
        arithmetic: ``as run``: measured with the arithmetic that really runs. ``emulated``: with
            FP32 arithmetic that rounds where the precision would, an estimate.
        provider: The execution provider that ran the model.
        plan: Hash of the plan that ran, None where the model itself was emulated.
        nodes: Node by node, None if not asked for.
        suggested: Names of nodes to keep in higher precision, the most harmful first.
    """

    model: ModelRef
    reference: str
    reference_model: ModelRef | None
    data: DataRef
    arithmetic: Literal["as run", "emulated"]
    provider: str
    plan: str | None
    outputs: tuple[OutputError, ...]
    labels: LabelMetrics | None
    nodes: tuple[NodeError, ...] | None = None
    suggested: tuple[str, ...] = ()
    environment: Environment
    caveats: tuple[Caveat, ...] = ()
    source: Source = "here"
    kind: ClassVar[str] = "accuracy"

    @property
    def origin(self) -> Literal["measured", "estimated"]:
        """``estimated`` where the arithmetic was emulated."""
        return "measured" if self.arithmetic == "as run" else "estimated"

    @property
    def worst_sqnr_db(self) -> float | None:
        """SQNR of the worst output; None where it is not known or no output has any error."""
        return min((o.sqnr_db for o in self.outputs if o.sqnr_db is not None), default=None)

    @property
    def headline(self) -> str:
        """``top-1 99.3 % (measured)``, without labels the SQNR."""
        worst = self.worst_sqnr_db
        text = f"SQNR {N_A}" if worst is None else f"SQNR {worst:.1f} dB"
        if all(output.rmse == 0 for output in self.outputs):
            text = "no error"
        if self.labels is not None:
            text = f"top-1 {100 * self.labels.top1:.1f} %"
        return f"{text} ({self.origin})"

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        how = f"{self.arithmetic} on {self.provider}"
        rows = [
            ("accuracy of", f"{self.model.name} ({self.model.recipe})"),
            ("against", self.reference),
            ("data", f"{self.data.samples:,} samples: {self.data.words}"),
            ("arithmetic", f"{how} ({self.origin})"),
        ]
        if self.labels is not None:
            rows += _label_rows(self.labels)
        for output in self.outputs:
            rows += _output_rows(output)
        if self.nodes is not None:
            rows.append(("most of the error", ", ".join(self.suggested) or "nothing stands out"))
        return [
            *rows,
            *source_rows(self.source, self.environment),
            *caveat_rows(self.caveats),
        ]

    @property
    def df(self) -> pd.DataFrame:
        """A row for each output with all its numbers; pandas is imported here."""
        import pandas as pd

        return pd.DataFrame([asdict(output) for output in self.outputs])

    @property
    def nodes_df(self) -> pd.DataFrame:
        """A row for each node, empty where it was not compared node by node."""
        import pandas as pd

        return pd.DataFrame([asdict(node) for node in self.nodes or ()])


def _label_rows(found: LabelMetrics) -> list[tuple[str, str]]:
    rows = [("top-1", f"{_percent(found.top1)} (reference {_percent(found.reference_top1)})")]
    if found.top5 is not None:
        rows.append(
            ("top-5", f"{_percent(found.top5)} (reference {_percent(found.reference_top5)})")
        )
    return [*rows, ("loss", found.sentence)]


def _output_rows(output: OutputError) -> list[tuple[str, str]]:
    stage = output.stage if output.name == output.tensor else f"{output.stage}, {output.tensor}"
    rows = [
        (
            f"output {output.name}",
            f"{stage}; SQNR {_decibels(output)}, RMSE {_error(output.rmse)}",
        ),
        (
            "absolute error",
            f"mean {_error(output.mean_absolute)}, 99 % {_error(output.p99_absolute)}, largest "
            f"{_error(output.max_absolute)}",
        ),
        (
            "relative error",
            f"mean {_error(output.mean_relative)}, largest {_error(output.max_relative)} (where "
            f"the reference is at least {_error(output.relative_floor)})",
        ),
        (
            "beyond tolerance",
            f"{_percent(output.beyond_both)} by Polygraphy's rule, {_percent(output.beyond_sum)} "
            f"by trtexec's (atol {_error(output.atol)}, rtol {_error(output.rtol)})",
        ),
        ("cosine", N_A if output.cosine is None else f"{output.cosine:.6f}"),
    ]
    if output.not_finite:
        lost = f"{output.not_finite:,} of {output.elements:,} where the reference is finite"
        rows.insert(0, ("NaN or infinite", lost))
    if output.top1_agreement is not None:
        five = output.top5_agreement
        text = f"top-1 {_percent(output.top1_agreement)}"
        text += "" if five is None else f", in the top 5 {_percent(five)}"
        rows.append(("same class", f"{text}; KL divergence {_error(output.kl)} nats"))
    return rows


def _decibels(output: OutputError) -> str:
    if output.sqnr_db is None:
        return "without error" if output.rmse == 0 else N_A
    return f"{output.sqnr_db:.1f} dB"


def _percent(share: float | None) -> str:
    return N_A if share is None else f"{share * 100:.2f} %"


def _points(share: float) -> str:
    return f"{share * 100:.2f}".replace("-0.00", "0.00").replace("-", "−")


def _error(value: float | None) -> str:
    return N_A if value is None else f"{value:.3g}"
