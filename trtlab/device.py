"""The GPU: streams, events, buffers, CUDA graphs, free memory, and its sensors.

The only module that imports ``cuda.core`` (streams, events, buffers, graphs), ``cuda.bindings``
(versions, free memory) and ``pynvml`` (clocks, power, temperature). It imports them when they are
used, so importing this module needs none of them.

What ``Gpu`` hands out are cuda-core's own objects, typed by the Protocols below: a wrapper around
each would cost as much as the call that it wraps, between two inferences. They must be freed
before the process ends, and not while the GPU still uses them: synchronise their stream first.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, SupportsInt

from trtlab.errors import BackendUnavailableError, ExecutionError, TrtlabError
from trtlab.units import text_from_bytes

if TYPE_CHECKING:
    import numpy as np

_HINT = "pip install -e '.[gpu]' for ONNX Runtime, or '.[tensorrt]' for TensorRT"

WATCH_SECONDS = 0.05
"""How often the sensors are read. NVML's own readings change no faster than about that."""


class Event(Protocol):
    """A point in a stream's work. The difference of two that have passed is in milliseconds."""

    def sync(self) -> None:
        """Wait until it has passed."""
        ...

    def __sub__(self, other: Event) -> float: ...


class Stream(Protocol):
    """A queue of work for the GPU, done in order."""

    @property
    def handle(self) -> SupportsInt:
        """CUDA's handle, for libraries that take one."""
        ...

    def record(self, event: Event) -> Event:
        """Queue an event: it passes when everything before it is done."""
        ...

    def sync(self) -> None:
        """Wait until everything in the queue is done."""
        ...

    def create_graph_builder(self) -> Any:
        """Return what captures this stream's work; see ``Gpu.capture``."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


class Buffer(Protocol):
    """Memory on the GPU, or page-locked memory of the host."""

    @property
    def handle(self) -> SupportsInt:
        """Its address."""
        ...

    @property
    def size(self) -> int:
        """Its bytes."""
        ...

    def copy_from(self, src: Buffer, *, stream: Stream) -> None:
        """Queue a copy from a buffer of the same size."""
        ...

    def close(self, stream: Stream | None = None) -> None:
        """Free it, when the stream's work so far is done."""
        ...


class Graph(Protocol):
    """Captured work that is started with one call."""

    def launch(self, stream: Stream) -> None:
        """Queue the work."""
        ...

    def upload(self, stream: Stream) -> None:
        """Bring the graph to the GPU, so that the first launch is not slower than the others."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


@dataclass(frozen=True, slots=True)
class Pinned:
    """Page-locked host memory: the only kind that the GPU copies from and to on its own."""

    buffer: Buffer
    array: np.ndarray
    """Its bytes (uint8)."""


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """Free and total memory of the whole GPU, in bytes."""

    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPU that CUDA shows as ``index``; CUDA_VISIBLE_DEVICES decides which one that is."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    pci_bus_id: str
    uuid: str
    _core: Any
    _device: Any
    _runtime: Any

    def make_current(self) -> None:
        """Let the calling thread use it: every thread that calls CUDA must do this once."""
        self._core.Device(self.index).set_current()

    def stream(self) -> Stream:
        """Return a new stream, never the default one, which waits for others."""
        made: Stream = self._device.create_stream()
        return made

    def event(self) -> Event:
        """Return a new event that takes the time."""
        # Off by default: without it two events have no difference.
        options = self._core.EventOptions(timing_enabled=True)
        made: Event = self._device.create_event(options)
        return made

    def allocate(self, size: int, stream: Stream) -> Buffer:
        """Return ``size`` bytes on the GPU, usable by that stream's work from now on.

        Raises:
            ExecutionError: the GPU has not that much memory free.
        """
        with cuda_errors(f"Allocating {text_from_bytes(size)} on the GPU", self):
            made: Buffer = self._device.allocate(max(1, size), stream=stream)
        return made

    def pinned(self, size: int) -> Pinned:
        """Return ``size`` bytes of page-locked host memory.

        Raises:
            ExecutionError: the host cannot lock that much memory.
        """
        import numpy as np

        with cuda_errors(f"Locking {text_from_bytes(size)} of host memory", self):
            buffer: Buffer = self._core.LegacyPinnedMemoryResource().allocate(max(1, size))
        memory = (ctypes.c_uint8 * size).from_address(int(buffer.handle))
        return Pinned(buffer, np.ctypeslib.as_array(memory))

    def view(self, buffer: Buffer, size: int) -> Buffer:
        """Return the first ``size`` bytes of a buffer, which stays the owner."""
        made: Buffer = self._core.Buffer.from_handle(int(buffer.handle), size, owner=buffer)
        return made

    def capture(self, stream: Stream, enqueue: Callable[[], object]) -> Graph:
        """Record what ``enqueue`` puts into the stream, without doing it, as a graph.

        Buffers that the work uses must outlive the graph: their addresses are in it.

        Raises:
            ExecutionError: something in it cannot be captured. The stream can be used again.
        """
        builder = stream.create_graph_builder()
        with cuda_errors("Capturing a CUDA graph", self):
            try:
                # As trtexec does: unsafe calls of this thread make the capture fail, others
                # (the sensors' thread) may go on.
                builder.begin_building("thread_local")
                enqueue()
                builder.end_building()
                made: Graph = builder.complete()
                made.upload(stream)
            except BaseException:
                # The stream must leave capture mode. That both fail after what broke the capture
                # (seen on an H200: CAPTURE_INVALIDATED) tells nothing new.
                for end in (builder.end_building, builder.close):
                    with contextlib.suppress(Exception):
                        end()
                raise
            builder.close()
        return made

    def memory(self) -> FreeMemory | None:
        """Return free and total memory of the whole GPU, or None if CUDA does not say."""
        error, free, total = self._runtime.cudaMemGetInfo()
        return FreeMemory(int(free), int(total)) if int(error) == 0 else None


def elapsed_ns(start: Event, end: Event) -> int:
    """Return the nanoseconds between two events that have passed."""
    return round((end - start) * 1e6)


def open_gpu(index: int = 0) -> Gpu:
    """Return a GPU, with its context made and current in this thread.

    Raises:
        BackendUnavailableError: package, driver or GPU is missing or too old; says which.
    """
    core, runtime = _import_cuda()
    _check_driver(runtime, index)
    try:
        device = core.Device(index)
        device.set_current()
        capability = device.compute_capability
        return Gpu(
            index=index,
            name=str(device.name),
            compute_capability=(int(capability[0]), int(capability[1])),
            pci_bus_id=str(device.pci_bus_id),
            uuid=str(device.uuid),
            _core=core,
            _device=device,
            _runtime=runtime,
        )
    except Exception as error:
        # cuda-core raises RuntimeErrors, its own CUDAError, and others for a missing library.
        raise BackendUnavailableError(
            f"The GPU cannot be used: {error}.", hint="nvidia-smi must show a GPU that works."
        ) from error


def versions() -> dict[str, str | None]:
    """Return the CUDA versions of driver and runtime (``13.0``), None where unknown."""
    try:
        _, runtime = _import_cuda()
    except BackendUnavailableError:
        return {"cuda_driver": None, "cuda_runtime": None}
    driver = _answer(runtime.cudaDriverGetVersion())
    return {
        "cuda_driver": _version_text(driver) if driver else None,
        "cuda_runtime": _version_text(_answer(runtime.cudaRuntimeGetVersion())),
    }


def _import_cuda() -> tuple[Any, Any]:
    try:
        import cuda.core as core
        from cuda.bindings import runtime
    except ImportError as error:
        raise BackendUnavailableError(
            f"CUDA cannot be used from Python: {error}.", hint=_HINT
        ) from error
    if not hasattr(core, "Device"):
        # Until 0.4 everything lay in cuda.core.experimental, which 1.0 removed.
        version = getattr(core, "__version__", "")
        raise BackendUnavailableError(
            f"cuda-core {version} is too old: it has no cuda.core.Device.",
            hint=f"Install cuda-core 1.0 or newer: {_HINT}",
        )
    return core, runtime


def _check_driver(runtime: Any, index: int) -> None:
    """Say why there is no GPU: cuda.bindings returns codes and raises nothing."""
    driver = _answer(runtime.cudaDriverGetVersion())
    if not driver:
        raise BackendUnavailableError(
            "There is no NVIDIA driver here.",
            hint="Install the driver of an NVIDIA GPU; nvidia-smi must show it.",
        )
    error, count = runtime.cudaGetDeviceCount()
    name = getattr(error, "name", str(error))
    if name == "cudaErrorInsufficientDriver":
        wanted = _version_text(_answer(runtime.cudaRuntimeGetVersion()))
        raise BackendUnavailableError(
            f"The NVIDIA driver is too old: it can do CUDA {_version_text(driver)}, "
            f"cuda-bindings need {wanted}.",
            hint="Update the driver, or install cuda-bindings of the driver's CUDA version.",
        )
    if name == "cudaErrorNoDevice" or (int(error) == 0 and count <= index):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        said = f" CUDA_VISIBLE_DEVICES is {visible!r}." if visible is not None else ""
        raise BackendUnavailableError(
            f"The driver shows no GPU number {index} to this process.{said}",
            hint="nvidia-smi must show a GPU; check CUDA_VISIBLE_DEVICES.",
        )
    if int(error) != 0:
        raise BackendUnavailableError(
            f"The GPU cannot be used: CUDA says {name}.",
            hint="nvidia-smi must show a GPU that works.",
        )


def _answer(result: tuple[Any, Any]) -> int | None:
    error, value = result
    return int(value) if int(error) == 0 and value is not None else None


def _version_text(version: int | None) -> str | None:
    return None if version is None else f"{version // 1000}.{version % 1000 // 10}"


@contextlib.contextmanager
def cuda_errors(what: str, gpu: Gpu | None = None) -> Iterator[None]:
    """Turn CUDA's exceptions into ours.

    Raises:
        ExecutionError: with CUDA's words; for want of memory, with what is free.
    """
    try:
        yield
    except Exception as error:
        # By name: the class lives in a private module of cuda-core, which raises RuntimeError
        # where a graph cannot be instantiated.
        names = {kind.__name__ for kind in type(error).__mro__}
        if isinstance(error, TrtlabError) or not names & {"CUDAError", "RuntimeError"}:
            raise
        text = str(error)
        if "OUT_OF_MEMORY" in text:
            memory = gpu.memory() if gpu else None
            free = f" {text_from_bytes(memory.free)} are free." if memory else ""
            raise ExecutionError(
                f"{what} failed: the memory does not suffice.{free}",
                hint="Try a smaller batch or fewer streams; other processes may hold GPU memory.",
                details=text,
            ) from error
        raise ExecutionError(
            f"{what} failed: {text.partition(':')[0]}.",
            hint="The details hold CUDA's whole message.",
            details=text,
        ) from error


# Sensors


@dataclass(frozen=True, slots=True)
class Reading:
    """The GPU's sensors at one moment; what cannot be read is None.

    ``throttle_reasons`` are NVML's names for why the clock is lower than it could be.
    """

    at_ns: int
    sm_mhz: int | None
    memory_mhz: int | None
    watts: float | None
    celsius: int | None
    throttle_reasons: frozenset[str] | None


class Sensors:
    """NVML's view of one GPU: the whole board, whatever runs on it."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self._reasons = _reason_names(nvml)

    def read(self, at_ns: int) -> Reading:
        """Read every sensor once."""
        nvml = self._nvml
        milliwatts = self._ask("nvmlDeviceGetPowerUsage")
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # its name before driver 535
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return Reading(
            at_ns=at_ns,
            sm_mhz=self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            memory_mhz=self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            watts=None if milliwatts is None else milliwatts / 1000,
            celsius=self._ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            throttle_reasons=None if bits is None else self._names(bits),
        )

    def energy_joules(self) -> float | None:
        """Return the energy used since the driver was loaded, or None if it is not counted."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1000

    def _ask(self, function: str, *arguments: object) -> int | None:
        call = getattr(self._nvml, function, None)
        if call is None:  # pynvml older than the function
            return None
        try:
            return int(call(self._handle, *arguments))
        except self._nvml.NVMLError:  # not supported by this GPU, driver or virtual machine
            return None

    def _names(self, bits: int) -> frozenset[str]:
        known = {name for bit, name in self._reasons.items() if bits & bit}
        unknown = bits & ~sum(self._reasons)
        return frozenset(known | ({f"{unknown:#x}"} if unknown else set()))


def open_sensors(gpu: Gpu) -> Sensors:
    """Return the sensors of that GPU.

    Found by its address on the bus, else by its UUID: NVML counts all GPUs of the machine, CUDA
    only those that CUDA_VISIBLE_DEVICES shows, so that the numbers of the two do not go together.

    Raises:
        BackendUnavailableError: pynvml or NVML is missing, or it does not know the GPU.
    """
    try:
        import pynvml
    except ImportError as error:
        raise BackendUnavailableError("nvidia-ml-py is not installed", hint=_HINT) from error
    try:
        pynvml.nvmlInit()
        try:
            handle = pynvml.nvmlDeviceGetHandleByPciBusId(gpu.pci_bus_id)
        except pynvml.NVMLError:
            uuid = gpu.uuid if gpu.uuid.startswith(("GPU-", "MIG-")) else f"GPU-{gpu.uuid}"
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except pynvml.NVMLError as error:
        raise BackendUnavailableError(
            f"NVML cannot read this GPU: {error}", hint="nvidia-smi must show the GPU."
        ) from error
    return Sensors(pynvml, handle)


def _reason_names(nvml: Any) -> dict[int, str]:
    """Return NVML's reasons for a lower clock by their bit; pynvml renamed them in 2023."""
    found: dict[int, str] = {}
    # The old names first, so that the new ones win; UserDefinedClocks is another name of one bit.
    for prefix in ("nvmlClocksThrottleReason", "nvmlClocksEventReason"):
        for name in dir(nvml):
            short = name.removeprefix(prefix)
            if short != name and short not in ("All", "None", "UserDefinedClocks"):
                found[int(getattr(nvml, name))] = short
    return found


class Watcher:
    """Reads the sensors from a thread of its own while its context is open."""

    def __init__(
        self, sensors: Sensors, *, clock: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self._sensors = sensors
        self._clock = clock
        self._readings: list[Reading] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gpu-sensors", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def between(self, begin_ns: int, end_ns: int) -> list[Reading]:
        """Return what was read from ``begin_ns`` to ``end_ns``."""
        return [r for r in list(self._readings) if begin_ns <= r.at_ns <= end_ns]

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._readings.append(self._sensors.read(self._clock()))
            self._stop.wait(WATCH_SECONDS)
