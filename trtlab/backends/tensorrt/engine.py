"""A plan becomes an engine, and the engine runs: latency, outputs, layer times, inspector.

**A plan is executable code.** Deserializing one runs what its maker put into it, so only plans
come here that this store built or that the caller trusts by name: ``verbs/benchmark`` and
``verbs/profile`` pass ``Store.plan_path(hash)`` and nothing else, and no record names a file.

Not run on a GPU so far, only against the fakes in the tests.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtlab.backends.base import Bound, Feeds, LayerTimes
from trtlab.backends.tensorrt import bindings
from trtlab.backends.tensorrt.bindings import HasEngineValidity
from trtlab.backends.tensorrt.execution import Execution
from trtlab.backends.tensorrt.module import Log
from trtlab.backends.tensorrt.queries import Clock
from trtlab.codec import Int64Array
from trtlab.device import Gpu, cuda_errors, open_gpu
from trtlab.errors import ExecutionError, PlanError
from trtlab.record import LayerTiming
from trtlab.spec import Caveat, RunConfig
from trtlab.worker import Progress

if TYPE_CHECKING:
    import numpy as np

_PROFILE_WARM_UP = 3

_REBUILD = "Build it anew here: trtlab.build(model)."

_REASONS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    # Words that TensorRT 8 to 10 log. In this order: messages about the device or the memory
    # hold the words of later lines too.
    (
        re.compile(r"incompatible device|compute capability|expecting compute", re.IGNORECASE),
        "it was built for another GPU",
        _REBUILD,
    ),
    (
        re.compile(r"out ?of ?memory", re.IGNORECASE),
        "the GPU's memory does not hold it",
        "Other processes may hold GPU memory.",
    ),
    (
        re.compile(r"version", re.IGNORECASE),
        "it was built by another version of TensorRT",
        _REBUILD,
    ),
    (
        re.compile(r"magic|corrupt|truncat|size|malformed|serialization", re.IGNORECASE),
        "it is damaged or cut off, or no plan",
        _REBUILD,
    ),
)

_DAMAGED = re.compile(r"header\.size == blobSize|magicTag|bufferSize >= minBufferSize")
"""What TensorRT-RTX 1.7.1 says of cut-off files and of other files (seen on an H200). It goes
before its own diagnosis, which reads no further than the header."""

_VALIDITY = {
    "VERSION_MISMATCH": ("it was built by another version of TensorRT-RTX", _REBUILD),
    "UNSUPPORTED_CC": ("it was not built for this GPU's compute capability", _REBUILD),
    "OLD_CUDA_DRIVER": ("the driver is older than it needs", "Update the NVIDIA driver."),
    "OLD_CUDA_RUNTIME": ("the CUDA runtime is older than it needs", "Update CUDA."),
    "INSUFFICIENT_GPU_MEMORY": (
        "the GPU's memory does not hold it",
        "Other processes may hold GPU memory.",
    ),
    "MALFORMED_ENGINE": ("it is damaged or cut off, or no plan", _REBUILD),
    "CUDA_ERROR": ("CUDA failed", "nvidia-smi must show a GPU that works."),
}
"""TensorRT-RTX's ``EngineInvalidityDiagnostics``, by name, gravest first."""


class Engine:
    """An engine that runs; see ``base.Engine``. Every ``bind`` has a stream of its own."""

    def __init__(
        self,
        trt: bindings.Module,
        log: Log,
        gpu: Gpu,
        engine: bindings.Engine,
        run: RunConfig,
        clock: Clock,
    ) -> None:
        self._trt, self._log, self._gpu = trt, log, gpu
        self._engine, self._run, self._clock = engine, run, clock
        self._executions: list[Execution] = []
        self.provider = "TensorRT" if trt.__name__ == "tensorrt" else "TensorRT-RTX"

    def bind(self, feeds: Feeds) -> Bound:
        """Make a context with buffers and a stream of its own; run once; capture the graph."""
        made = self._execution(
            feeds, transfers=self._run.transfers, cuda_graph=self._run.cuda_graph is not False
        )
        return Bound(
            made.queries, made.output_bytes, made.first_call_ns, made.device_bytes, made.caveats
        )

    def outputs(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Run once and return the outputs by name."""
        return self._execution(feeds).outputs()

    def profiled(self, feeds: Feeds, profiler: bindings.Profiler) -> Execution:
        """Return a context of its own whose runs can be reported to ``profiler``."""
        return self._execution(feeds, profiler=profiler)

    @property
    def aux_streams(self) -> int:
        """Streams that one inference uses beside its own."""
        return int(self._engine.num_aux_streams)

    def close(self) -> None:
        """Free the contexts with their buffers, then the engine."""
        while self._executions:
            self._executions.pop().close()
        # Whoever still holds this object must not keep the engine beyond its runtime.
        del self._engine

    def _execution(self, feeds: Feeds, **settings: Any) -> Execution:
        made = Execution(
            self._trt, self._log, self._gpu, self._engine, feeds, clock=self._clock, **settings
        )
        self._executions.append(made)
        return made


@contextlib.contextmanager
def load(
    trt: bindings.Module,
    log: Log,
    plan: Path,
    run: RunConfig,
    *,
    clock: Clock = time.perf_counter_ns,
) -> Iterator[Engine]:
    """Load a plan that the caller trusts (see above) on the GPU that CUDA shows first.

    Args:
        trt: ``tensorrt`` or ``tensorrt_rtx``.
        log: Its log; the engine's messages go there.
        plan: The file.
        run: Streams, CUDA graph and transfers.
        clock: The host's clock in nanoseconds.

    Raises:
        BackendUnavailableError: no usable GPU.
        PlanError: TensorRT does not take the plan; says why.
    """
    gpu = open_gpu()
    runtime = trt.Runtime(log.logger)
    engine = _deserialized(trt, log, runtime, plan)
    made = Engine(trt, log, gpu, engine, run, clock)
    try:
        with cuda_errors("Running the engine", gpu):
            yield made
    finally:
        # Contexts first, then the engine, then the runtime that made it.
        made.close()
        del made, engine
        del runtime


def layer_times(
    trt: bindings.Module,
    log: Log,
    plan: Path,
    run: RunConfig,
    feeds: Feeds,
    runs: int,
    progress: Progress,
) -> LayerTimes:
    """Profile ``runs`` runs in a context of its own, without a CUDA graph, after a few more.

    The profiler has every kernel wait for the one before it: never a latency.
    """
    reported: list[tuple[str, float]] = []
    taken: list[list[tuple[str, float]]] = []
    runs_ns: list[int] = []
    with load(trt, log, plan, run) as engine:
        profiled = engine.profiled(feeds, _profiler(trt, reported))
        for index in range(_PROFILE_WARM_UP - 1 + runs):  # binding ran it once already
            progress("profile", index, _PROFILE_WARM_UP - 1 + runs)
            reported.clear()
            took = profiled.report_layers()
            if index >= _PROFILE_WARM_UP - 1:
                taken.append(list(reported))
                runs_ns.append(took)
        streams = engine.aux_streams
    names = _layer_names(taken)
    if not names:
        raise ExecutionError("TensorRT's profiler reported no layers.")
    timings = tuple(
        LayerTiming(name, "", "", Int64Array(round(run[i][1] * 1e6) for run in taken), (), None)
        for i, name in enumerate(names)
    )
    return LayerTimes("gpu", timings, runs_ns, None, None, _aux_caveat(streams))


def inspector_text(trt: bindings.Module, engine: bindings.Engine) -> str:
    """Return ``IEngineInspector``'s JSON text; without a context dynamic shapes stay open."""
    inspector = engine.create_engine_inspector()
    return inspector.get_engine_information(trt.LayerInformationFormat.JSON)


def _aux_caveat(streams: int) -> tuple[Caveat, ...]:
    if not streams:
        return ()
    return (
        Caveat(
            "aux-streams",
            f"Layers of one inference ran on {streams + 1} streams at once: their sum is longer "
            "than the inference.",
            "Read shares, not sums; or build with aux_streams=0.",
        ),
    )


def _profiler(trt: bindings.Module, reported: list[tuple[str, float]]) -> bindings.Profiler:
    """Return an ``IProfiler`` of this module that appends name and milliseconds."""
    base = trt.IProfiler

    class Profiler(base):  # type: ignore[misc, valid-type]  # the base is known at run time
        def __init__(self) -> None:
            base.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            reported.append((layer_name, float(ms)))

    made: bindings.Profiler = Profiler()
    return made


def _deserialized(
    trt: bindings.Module, log: Log, runtime: bindings.Runtime, plan: Path
) -> bindings.Engine:
    data = plan.read_bytes()
    engine = runtime.deserialize_cuda_engine(data) if data else None
    if engine is None:
        why, hint = _refusal(trt, log, runtime, data)
        raise PlanError(
            f"TensorRT cannot load plan {plan.name[:12]}: {why}.",
            hint=hint,
            details="\n".join(log.errors()),
        )
    return engine


def _refusal(
    trt: bindings.Module, log: Log, runtime: bindings.Runtime, data: bytes
) -> tuple[str, str]:
    """Return why a plan was refused and what to do, by TensorRT-RTX's answer or by the log."""
    if not data:
        return "the file is empty", _REBUILD
    lines = log.errors()
    if any(_DAMAGED.search(line) for line in lines):
        return "it is damaged or cut off, or no plan", _REBUILD
    diagnostics = getattr(trt, "EngineInvalidityDiagnostics", None)
    if diagnostics is not None and isinstance(runtime, HasEngineValidity):
        bits = int(runtime.get_engine_validity(data)[1])
        for name, answer in _VALIDITY.items():
            bit = getattr(diagnostics, name, None)
            if bit is not None and bits & int(bit):
                return answer
    for pattern, why, hint in _REASONS:
        if any(pattern.search(line) for line in lines):
            return why, hint
    return (lines[0].rstrip(".") if lines else "it says no reason"), _REBUILD


def _layer_names(runs: Sequence[Sequence[tuple[str, float]]]) -> list[str]:
    """Return the names of the layers that every profiled run reported, in their order.

    Raises:
        ExecutionError: two runs reported different layers.
    """
    names = [name for name, _ in runs[0]]
    for run in runs:
        if [name for name, _ in run] != names:
            raise ExecutionError(
                f"The profiler reported {len(names)} layers in one run and others in another.",
                hint="Please report it.",
            )
    return names
