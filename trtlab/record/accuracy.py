"""``Accuracy``: how far a model's outputs lie from a reference's, on the same inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from trtlab.record.base import Environment, ModelRef, Source, caveat_rows, source_rows
from trtlab.shown import Shown
from trtlab.spec import Caveat
from trtlab.stats import Interval

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
        elements: Numbers compared.
        max_absolute: Largest absolute error; ``mean_absolute``, ``p99_absolute`` likewise.
        max_relative: Largest error relative to the reference, where that is at least
            ``relative_floor`` in size; ``mean_relative`` likewise.
        rmse: Root of the mean square error.
        sqnr_db: Signal to quantisation noise, 10 log10 (sum of reference squares / sum of error
            squares), in dB; None without any error.
        cosine: Mean cosine of the samples.
        kl: Mean Kullback-Leibler divergence of the softmax, in nats; None where the output is no
            classification.
        top1_agreement: Share of samples where both name the same class.
        top5_agreement: Share where the reference's class is among the five highest.
        beyond_both: Share of elements beyond both tolerances, absolute and relative
            (Polygraphy's rule).
        beyond_sum: Share beyond ``atol + rtol * |reference|`` (trtexec's rule).
        atol, rtol: The tolerances of both rules; they come from the precision.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeError:
    """The error right behind one node, the reference's nodes in order.

    Attributes:
        sqnr_db: Of the node's output, all error from before it included; None without error.
        added_db: How many dB worse than the worst of its inputs.
        rmse: In the tensor's own unit.
    """

    node: str
    op: str
    tensor: str
    sqnr_db: float | None
    added_db: float | None
    rmse: float | None


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

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        return [
            ("accuracy of", f"{self.model.name} ({self.model.recipe})"),
            *source_rows(self.source, self.environment),
            *caveat_rows(self.caveats),
        ]
