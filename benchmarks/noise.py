"""What a comparison claims of equal runs: it should claim nothing.

Six runs of one configuration, each in a process of its own, compared pair by pair. Their medians
drift further than the interval of each; ``analysis.compare`` allows for that and claims nothing
of a run that carries a caveat for a disturbed machine.
"""

from __future__ import annotations

import itertools

import trtlab
from benchmarks.figures import Figure
from trtlab.analysis.compare import compare
from trtlab.record import Measurement

RUNS = 6


def figures() -> list[Figure]:
    """Count false claims over two networks."""
    pairs = []
    for model in ("zoo:squeezenet", "zoo:digits"):
        runs = [trtlab.benchmark(model, batch=1) for _ in range(RUNS)]
        pairs += list(itertools.combinations(runs, 2))
    claims = sum(_claims(a, b) for a, b in pairs)
    return [
        Figure("false claims on equal runs", claims / len(pairs), "of pairs", 0.05, len(pairs))
    ]


def _claims(a: Measurement, b: Measurement) -> bool:
    return any(d.verdict in ("better", "worse") for d in compare(a, b).differences)
