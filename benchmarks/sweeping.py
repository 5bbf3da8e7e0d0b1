"""What a sweep costs beyond measuring, and a repeated one."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, median_figure, seconds
from trtlab import worker
from trtlab.record import SweepResult
from trtlab.store import Store
from trtlab.verbs.load import load
from trtlab.verbs.sweep import sweep

MODEL = "zoo:squeezenet"
BACKEND = "onnxruntime"


def figures() -> list[Figure]:
    """Measure a sweep's overhead with full and quick windows, and a 24-point repetition."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        model = load(MODEL, store=store)
        sweep(
            model, batch=1, backend=BACKEND, quick=True, store=store
        )  # builds the plan: not part of the sweep
        start = min(seconds(lambda: worker.run(start_job, None)) for _ in range(5))
        full = _overhead(store, start, quick=False)
        quick = _overhead(store, start, quick=True)
        grid = {"batch": (1, 2, 3), "streams": (1, 2), "threads": (None, 1, 2, 3), "quick": True}
        sweep("zoo:digits", backend=BACKEND, store=store, **grid)
        again = [
            seconds(lambda: sweep("zoo:digits", backend=BACKEND, store=store, **grid))
            for _ in range(7)
        ]
    return [
        Figure("sweep beyond windows, warm-up, starts, loads", full, "of them", 0.15, 6),
        Figure("  the same with quick windows", quick, "of them", 0.15, 6),
        median_figure("24 finished points from the store", again, "s", 1.0),
    ]


def _overhead(store: Store, start: float, *, quick: bool) -> float:
    begin = time.perf_counter()
    result = sweep(
        MODEL,
        batch=(1, 2, 4),
        streams=(1, 2),
        backend=BACKEND,
        quick=quick,
        reuse=False,
        store=store,
    )
    wall = time.perf_counter() - begin
    accounted = _accounted(result) + start * len(result.points)
    return wall / accounted - 1


def _accounted(result: SweepResult) -> float:
    """Seconds of windows, warm-up and model loads (one to measure, one for the arena's peak)."""
    return sum(
        sum(w.wall_ns for w in m.windows) / 1e9 + m.warm_up.seconds + 2 * m.load_seconds
        for m in result.measurements
    )


def start_job(_spec: None, _progress: worker.Progress) -> None:
    """Import what a measuring worker imports. Runs in the child."""
    from trtlab.backends import base

    base.backend("onnxruntime").status()
