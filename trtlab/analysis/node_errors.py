"""Where in a network an error enters, and what it does to the outputs.

Three values of each tensor that both models have are compared: the *reference*'s; the model's own
(*found*); and the *local* one, what the reference's node makes of the model's own values before
it. Found less local is what the node itself adds, rounding of its inputs and weights included.

How large that is tells little about the harm: one error reaches the outputs as a tenth of itself,
another a thousand times larger. Neither the drop of the signal-to-noise ratio along the way nor
sharing its power out from the outputs backwards finds it, because most of the power at a tensor
may lie where nothing after it looks. So each sample runs through a *mixed* network too, where the
own errors of a random half of the nodes are let in. A node's *effect* is how much more output
error there is with its own error than without, on average over choices of the others: its Banzhaf
value (Banzhaf 1965; for the worth of data Wang and Jia, AISTATS 2023). Least squares tells all
effects from one pass over the data, each with an interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from trtlab.analysis.output_errors import decibels
from trtlab.model.types import Graph, Node, Tensor
from trtlab.record import NodeError
from trtlab.stats import CONFIDENCE, Interval

Values = npt.NDArray[Any]

_FLOATS = ("float16", "float32", "float64")

SUGGESTED_SHARE = 0.9
"""The nodes that are suggested make at least this part of all effects that are certain; no fewer
nodes do."""


SAMPLES_A_NODE = 3
"""Samples for each node from which on least squares need no ridge."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The reference's nodes between tensors that both models have; mostly a single node.

    Attributes:
        tensor: What it writes.
        nodes: In order; more than one where the other model folded them into one (BatchNorm into
            Conv). Nodes that depend on weights alone are left out.
        keep: Names of those to keep in higher precision: those with a weight of two or more axes,
            or all if there is none.
    """

    tensor: str
    nodes: tuple[Node, ...]
    keep: tuple[str, ...]


def segments(reference: Graph, other: Graph) -> tuple[Segment, ...]:
    """Cut the reference at the tensors that both graphs compute, in the reference's order.

    A tensor counts as the same where name and known shape are: conversions keep the names.
    """
    writers = {name: node for node in reference.nodes for name in node.outputs if name}
    written = {name for node in other.nodes for name in node.outputs if name}
    varying = set(reference.inputs)
    for node in reference.nodes:
        if varying & set(node.inputs):
            varying.update(filter(None, node.outputs))
    shared = {
        name
        for name in writers
        if name in varying
        and name in written
        and _comparable(reference.tensors[name], other.tensors[name])
    }
    order = {node.name: index for index, node in enumerate(reference.nodes)}
    found = []
    for tensor in (name for node in reference.nodes for name in node.outputs if name in shared):
        inside = _before(tensor, writers, shared, varying)
        nodes = tuple(sorted(inside.values(), key=lambda n: order[n.name]))
        weighty = tuple(n.name for n in nodes if _has_weight(n, reference))
        found.append(Segment(tensor, nodes, weighty or tuple(n.name for n in nodes)))
    return tuple(found)


def _has_weight(node: Node, graph: Graph) -> bool:
    tensors = (graph.tensors[name] for name in node.inputs if name in graph.tensors)
    return any(t.is_constant and len(t.shape or ()) > 1 for t in tensors)


def _comparable(a: Tensor, b: Tensor) -> bool:
    if a.dtype not in _FLOATS or b.dtype not in _FLOATS:
        return False
    if a.shape is None or b.shape is None:
        return True
    return len(a.shape) == len(b.shape) and all(
        x == y
        for x, y in zip(a.shape, b.shape, strict=True)
        if isinstance(x, int) and isinstance(y, int)
    )


def _before(
    tensor: str, writers: Mapping[str, Node], shared: set[str], varying: set[str]
) -> dict[str, Node]:
    """Return the nodes between a tensor and those before it that both models have."""
    nodes: dict[str, Node] = {}
    waiting = [tensor]
    while waiting:
        node = writers[waiting.pop()]
        if node.name not in nodes:
            nodes[node.name] = node
            waiting += [
                n for n in node.inputs if n in varying and n in writers and n not in shared
            ]
    return nodes


@dataclass(slots=True)
class TensorErrors:
    """Sums over all batches of one tensor; see the module.

    Attributes:
        signal: Sum of the reference's squares; ``noise``: of found less reference; ``added``: of
            found less local.
        lost: Elements that are NaN or infinite where the local value is finite.
    """

    elements: int = 0
    signal: float = 0.0
    noise: float = 0.0
    added: float = 0.0
    lost: int = 0

    def add(self, reference: Values, local: Values, found: Values) -> None:
        """Take one batch: three arrays of one size."""
        a: Values = np.asarray(reference, np.float32).reshape(-1)
        b: Values = np.asarray(local, np.float32).reshape(-1)
        c: Values = np.asarray(found, np.float32).reshape(-1)
        with np.errstate(all="ignore"):
            sums = _sums(a, b, c)
            if not all(map(math.isfinite, sums)):
                self.lost += int((np.isfinite(b) & ~np.isfinite(c)).sum())
                told = np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
                a, b, c = (v[told].astype(np.float64) for v in (a, b, c))
                sums = _sums(a, b, c)
        self.elements += a.size
        self.signal += sums[0]
        self.noise += sums[1]
        self.added += sums[2]


def _sums(a: Values, b: Values, c: Values) -> tuple[float, float, float]:
    noise, added = c - a, c - b
    return float(np.dot(a, a)), float(np.dot(noise, noise)), float(np.dot(added, added))


def output_error(reference: Values, found: Values, samples: int) -> Values:
    """Return each sample's error power in relation to its signal power, float64 [samples].

    Values that are not finite in both do not count. An output that does not begin with that many
    samples counts as a whole, for each alike.
    """
    rows = samples if reference.shape[:1] == (samples,) else 1
    a = reference.reshape(rows, -1).astype(np.float64)
    error = found.reshape(rows, -1).astype(np.float64) - a
    told = np.isfinite(error)
    noise = np.where(told, error, 0.0)
    signal = np.where(told, a, 0.0)
    power = (signal * signal).sum(axis=1)
    # A sample whose reference is all zero has no relation to tell.
    shares = np.divide((noise * noise).sum(axis=1), power, out=np.zeros(rows), where=power > 0)
    return np.broadcast_to(shares, (samples,))


@dataclass(frozen=True, slots=True)
class Effect:
    """What a node does to the outputs, as part of the model's error power.

    Attributes:
        interval: Its 95 % interval; ``certain``: whether it is above 0 even as one of many.
    """

    size: float
    interval: Interval
    certain: bool


@dataclass(slots=True)
class Effects:
    """Least squares of output errors on which nodes' errors were let in, batch by batch.

    Args:
        nodes: How many there are.
        seed: Of the random switches.
    """

    nodes: int
    seed: int = 0
    _rows: int = 0
    _full: float = 0.0
    _squares: float = 0.0
    _gram: Values = field(init=False)
    _products: Values = field(init=False)
    _generator: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._gram = np.zeros((self.nodes + 1, self.nodes + 1))
        self._products = np.zeros(self.nodes + 1)
        self._generator = np.random.default_rng(self.seed)

    def switches(self, samples: int) -> npt.NDArray[np.bool_]:
        """Return which errors are let in, [samples, nodes]: each with probability one half."""
        return self._generator.integers(0, 2, (samples, self.nodes)).astype(np.bool_)

    def add(self, switches: npt.NDArray[np.bool_], mixed: Values, full: Values) -> None:
        """Take one batch.

        Args:
            switches: What ``switches`` gave.
            mixed: Output error of each sample with these, [samples]; see ``output_error``.
            full: With all of them: the model's own.
        """
        rows = np.column_stack([switches - 0.5, np.ones(len(switches))])
        self._gram += rows.T @ rows
        self._products += rows.T @ mixed
        self._rows += len(switches)
        self._squares += float(mixed @ mixed)
        self._full += float(full.sum())

    def finished(self, adding: Sequence[bool]) -> tuple[Effect, ...]:
        """Return each node's effect.

        With less than ``SAMPLES_A_NODE`` samples a node a ridge keeps the solution steady: it
        draws all effects towards 0.

        Args:
            adding: Whether the node adds any error; the effect of the others is 0.
        """
        found = [Effect(0.0, Interval(0.0, 0.0), False)] * self.nodes
        columns = [*np.flatnonzero(adding), self.nodes]
        if len(columns) == 1 or not self._full > 0:
            return tuple(found)
        gram, products = self._gram[np.ix_(columns, columns)], self._products[columns]
        ridge = np.eye(len(columns))
        ridge[-1, -1] = 0.0  # the mean is not drawn anywhere
        steadied = gram + ridge * (
            len(columns) / 4 if self._rows < SAMPLES_A_NODE * len(columns) else 0.0
        )
        inverse = np.linalg.pinv(steadied)
        effects = inverse @ products
        left = self._squares - 2 * effects @ products + effects @ gram @ effects
        freedom = max(1.0, self._rows - float(np.trace(inverse @ gram)))
        spread = np.sqrt(np.diag(inverse @ gram @ inverse) * max(left, 0.0) / freedom)
        mean = self._full / self._rows
        tail = (1 - CONFIDENCE) / 2
        width = student_t(1 - tail, freedom) * spread / mean
        # Of a hundred effects that are 0 some would seem certain one by one (Bonferroni).
        least = student_t(1 - tail / (len(columns) - 1), freedom) * spread / mean
        for place, index in enumerate(columns[:-1]):
            effect = float(effects[place] / mean)
            interval = Interval(effect - float(width[place]), effect + float(width[place]))
            found[index] = Effect(effect, interval, bool(effect > least[place]))
        return tuple(found)


def student_t(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t: expanded around the normal one's.

    Abramowitz and Stegun 26.7.5, two terms: from 4 degrees of freedom on 2 % too small at most at
    97.5 %.
    """
    z = NormalDist().inv_cdf(probability)
    first = (z**3 + z) / (4 * freedom)
    return z + first + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def node_errors(
    parts: Sequence[Segment], errors: Mapping[str, TensorErrors], effects: Effects
) -> tuple[NodeError, ...]:
    """Return the error behind each segment, in the reference's order."""
    adding = [errors[part.tensor].added > 0 for part in parts]
    return tuple(
        NodeError(
            node=part.keep[0],
            op="+".join(node.op for node in part.nodes),
            keep=part.keep,
            tensor=part.tensor,
            sqnr_db=decibels(e.signal, e.noise),
            own_sqnr_db=decibels(e.signal, e.added),
            effect=effect.size,
            effect_interval=effect.interval,
            certain=effect.certain,
            rmse=math.sqrt(e.noise / e.elements) if e.elements else None,
            not_finite=e.lost,
        )
        for part, effect in zip(parts, effects.finished(adding), strict=True)
        for e in (errors[part.tensor],)
    )


def suggested(errors: Sequence[NodeError]) -> tuple[str, ...]:
    """Return the nodes to keep in higher precision, the most harmful first.

    First those that made numbers NaN or infinite; then, of those whose effect is certain, the
    fewest that make ``SUGGESTED_SHARE`` of it.
    """
    chosen = [error for error in errors if error.not_finite]
    certain = [error for error in errors if error.certain]
    left = SUGGESTED_SHARE * sum(error.effect for error in certain)
    for error in sorted(certain, key=lambda e: -e.effect):
        if left <= 0:
            break
        left -= error.effect
        chosen.append(error)
    return tuple(dict.fromkeys(name for error in chosen for name in error.keep))
