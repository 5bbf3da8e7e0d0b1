"""How long it takes until something happens: import, help, a worker."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.figures import Figure, median_figure, seconds
from trtlab import worker

ROUNDS = 11


def figures() -> list[Figure]:
    """Measure import and help against the bare interpreter, and a worker against its library."""
    imports, helps, ready = [], [], []
    for _ in range(ROUNDS):
        bare = seconds(lambda: _python("-c", "pass"))
        imports.append(seconds(lambda: _python("-c", "import trtlab")) - bare)
        helps.append(seconds(lambda: _python("-m", "trtlab", "--help")))
        begin = time.perf_counter()
        library = worker.run(import_job, None).result
        ready.append(time.perf_counter() - begin - library)
    return [
        median_figure("import trtlab beyond the interpreter", imports, "s", 0.25),
        median_figure("trtlab --help", helps, "s", 0.5),
        median_figure("worker beyond the import of its library", ready, "s", 1.0),
    ]


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def import_job(_spec: None, _progress: worker.Progress) -> float:
    """Return the seconds that importing ONNX Runtime takes. Runs in the child."""
    begin = time.perf_counter()
    import onnxruntime

    del onnxruntime
    return time.perf_counter() - begin
