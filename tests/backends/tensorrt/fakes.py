"""A GPU, CUDA's Python packages and TensorRT's run path, made of arithmetic.

The GPU has a clock of its own. What is put into a stream waits there until the GPU gets to it;
then it really reads and writes memory, so that a copy that comes too late, a wrong address or a
buffer that was freed too early changes what comes out. The host's clock moves only by what a call
costs and by waiting. Rules that CUDA or TensorRT would punish by silent damage are punished by a
``Misuse`` here, which is also kept in ``gpu.misuses``: destructors cannot raise.

Nothing in here is copied from a recorded run: no TensorRT was ever run on a GPU for it.
"""

from __future__ import annotations

import enum
import json
import sys
import threading
import types
import weakref
from collections import deque

import numpy as np

GARBAGE = 0xCD
CALL_NS = 200
LAUNCH_NS = 2_000
COPY_NS_PER_BYTE = 0.1
COPY_LATENCY_NS = 1_500
MIB = 2**20


class Misuse(AssertionError):  # noqa: N818 - it is not the caller's error to handle
    """Something that real hardware would answer with wrong results or a crash."""


class CUDAError(Exception):
    """As cuda-core raises it: known by its name."""


# The GPU


class Op:
    """A piece of work in a stream."""

    def __init__(self, name, duration_ns, action=None, *, memory=(), event=None):
        self.name, self.duration_ns, self.action = name, duration_ns, action
        self.memory = memory  # ranges that it alone may use while it runs
        self.event = event
        self.submitted = self.begin = self.end = None


class Range:
    """Allocated addresses with their bytes."""

    def __init__(self, address, size, data, host):
        self.address, self.size, self.data, self.host = address, size, data, host
        self.is_free = False


class Gpu:
    """Streams, memory and time."""

    def __init__(self, total=1024 * MIB):
        self.host_ns = 1_000_000
        self.total = total
        self.ranges = []
        self.streams = {}
        self.misuses = []
        self.running = []  # begin, end, name, memory of work that used memory of its own
        self.current = threading.local()
        self.lock = threading.RLock()
        self.next_address = 0x7F00_0000_0000
        self.next_stream = 0x5000
        self.capture_fails = ""
        self.made_events = []

    def misuse(self, words):
        self.misuses.append(words)
        raise Misuse(words)

    def clock(self):
        """The host's clock, for code under test."""
        with self.lock:
            return self.host_ns

    def spend(self, ns=CALL_NS):
        """A call on the host takes time."""
        if not getattr(self.current, "set", False):
            raise CUDAError("CUDA_ERROR_INVALID_CONTEXT: no context is current in this thread")
        self.host_ns += ns

    # Memory

    def allocate(self, size):
        used = sum(r.size for r in self.ranges if not r.is_free and not r.host)
        if used + size > self.total:
            raise CUDAError("CUDA_ERROR_OUT_OF_MEMORY: out of memory")
        made = Range(self.next_address, size, np.full(size, GARBAGE, np.uint8), host=False)
        self.next_address += (size + 511) // 256 * 256
        self.ranges.append(made)
        return made

    def pin(self, size):
        data = np.full(size, GARBAGE, np.uint8)
        made = Range(data.ctypes.data, size, data, host=True)
        self.ranges.append(made)
        return made

    def bytes_at(self, address, size, who):
        """The memory behind an address, as the GPU sees it when it gets there."""
        for found in reversed(self.ranges):
            if found.address <= address < found.address + max(1, found.size):
                if found.is_free:
                    self.misuse(f"{who} uses memory at {address:#x} after it was freed")
                offset = address - found.address
                if offset + size > found.size:
                    self.misuse(f"{who} runs beyond the memory at {address:#x}")
                return found.data[offset : offset + size]
        return self.misuse(f"{who} uses address {address:#x}, which is nobody's")

    # Time

    def run_until(self, when):
        """Let the GPU work up to that moment: everything that ends by then, in that order."""
        while True:
            ready = [s for s in self.streams.values() if s.queue and s.next_end() <= when]
            if not ready:
                return
            min(ready, key=lambda s: s.next_end()).run_one()

    def wait_for(self, when):
        """The host waits."""
        self.host_ns = max(self.host_ns, when)
        self.run_until(self.host_ns)

    def used_alone(self, op):
        for begin, end, name, memory in self.running:
            if set(op.memory) & set(memory) and begin < op.end and op.begin < end:
                self.misuse(f"{op.name} and {name} use the same activation memory at once")
        if op.memory:
            self.running = [*self.running[-20:], (op.begin, op.end, op.name, op.memory)]


class Stream:
    """A queue in order. ``captured`` holds the work while a graph is being recorded."""

    def __init__(self, gpu):
        self.gpu = gpu
        self.handle = gpu.next_stream
        gpu.next_stream += 0x10
        self.queue = deque()
        self.done_ns = 0
        self.captured = None
        self.invalidated = False
        self.is_closed = False
        gpu.streams[self.handle] = self

    def put(self, op):
        gpu = self.gpu
        if self.is_closed:
            gpu.misuse(f"{op.name} is put into a stream that was closed")
        if self.captured is not None:
            self.captured.append(op)
            return
        op.submitted = gpu.host_ns
        self.queue.append(op)
        gpu.run_until(gpu.host_ns)

    def next_end(self):
        op = self.queue[0]
        return max(self.done_ns, op.submitted) + op.duration_ns

    def drained_ns(self):
        end = self.done_ns
        for op in self.queue:
            end = max(end, op.submitted) + op.duration_ns
        return end

    def run_one(self):
        op = self.queue.popleft()
        op.begin = max(self.done_ns, op.submitted)
        op.end = self.done_ns = op.begin + op.duration_ns
        self.gpu.used_alone(op)
        if op.event is not None and op.event.pending is op:
            op.event.passed_ns = op.end
        action, op.action = op.action, None  # what it refers to must not live on
        if action is not None:
            action()

    # As in cuda-core

    def record(self, event):
        with self.gpu.lock:
            self.gpu.spend()
            op = Op("an event", 0, event=event)
            event.pending, event.passed_ns = op, None
            self.put(op)
            return event

    def sync(self):
        with self.gpu.lock:
            self.gpu.spend()
            if self.captured is not None:
                self.invalidated = True
                raise CUDAError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: not while capturing")
            self.gpu.wait_for(self.drained_ns())

    def close(self):
        if self.queue:
            self.gpu.misuse("a stream is closed while work is in it")
        self.is_closed = True

    def create_graph_builder(self):
        return GraphBuilder(self)


class Event:
    """Passes when the GPU gets to it."""

    def __init__(self, gpu, timing):
        self.gpu, self.timing = gpu, timing
        self.pending = self.passed_ns = None

    def sync(self):
        with self.gpu.lock:
            self.gpu.spend()
            stream = next((s for s in self.gpu.streams.values() if self.pending in s.queue), None)
            if stream is not None:
                end = stream.done_ns
                for op in stream.queue:
                    end = max(end, op.submitted) + op.duration_ns
                    if op is self.pending:
                        break
                self.gpu.wait_for(end)

    def __sub__(self, other):
        with self.gpu.lock:
            self.gpu.spend()
            if not (self.timing and other.timing):
                raise CUDAError("CUDA_ERROR_INVALID_HANDLE: an event takes no time")
            if self.pending is None or other.pending is None:
                raise CUDAError("CUDA_ERROR_INVALID_HANDLE: an event was never recorded")
            self.gpu.run_until(self.gpu.host_ns)
            if self.passed_ns is None or other.passed_ns is None:
                self.gpu.misuses.append("an event was read before it had passed")
                raise CUDAError("CUDA_ERROR_NOT_READY: an event has not passed yet")
            return (self.passed_ns - other.passed_ns) / 1e6


class Buffer:
    """Memory with an owner; ``from_handle`` gives one that owns nothing."""

    def __init__(self, gpu, memory, size, stream=None, address=None):
        self.gpu, self.memory, self.size, self.stream = gpu, memory, size, stream
        self.handle = memory.address if address is None else address

    def copy_from(self, src, *, stream):
        gpu = self.gpu
        with gpu.lock:
            gpu.spend()
            if src.size != self.size:
                raise ValueError("buffers differ in size")

            def copy():
                source = gpu.bytes_at(src.handle, src.size, "a copy").copy()
                gpu.bytes_at(self.handle, self.size, "a copy")[:] = source

            stream.put(Op("a copy", copy_ns(self.size), copy))

    def close(self, stream=None):
        gpu = self.gpu
        if self.memory is None:
            return
        with gpu.lock:
            memory, stream = self.memory, stream or self.stream
            self.memory = None

            def free():
                memory.is_free = True
                memory.data = memory.data if memory.host else np.full(memory.size, GARBAGE)

            if memory.host or stream is None:
                free()  # at once, whatever the GPU still does with it
            else:
                stream.put(Op("a free", 0, free))


def copy_ns(size):
    """How long a copy takes."""
    return COPY_LATENCY_NS + round(size * COPY_NS_PER_BYTE)


class GraphBuilder:
    """Records a stream's work."""

    def __init__(self, stream):
        self.stream, self.gpu, self.ops = stream, stream.gpu, None

    def begin_building(self, mode="relaxed"):
        assert mode in ("global", "thread_local", "relaxed")
        if self.gpu.capture_fails == "begin":
            raise CUDAError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: not this stream")
        self.stream.captured, self.stream.invalidated = [], False
        return self

    def end_building(self):
        self.ops, self.stream.captured = self.stream.captured, None
        if self.stream.invalidated:
            raise CUDAError("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED: the capture is void")
        return self

    def complete(self, options=None):
        if self.gpu.capture_fails == "complete":
            raise CUDAError("CUDA_ERROR_NOT_SUPPORTED: cannot be instantiated")
        return Graph(self.gpu, self.ops)

    def close(self):
        if self.stream.captured is not None:
            self.gpu.misuse("a stream is left in capture mode")


class Graph:
    """Work that is put into a stream by one call; its addresses are those of the capture."""

    def __init__(self, gpu, ops):
        self.gpu, self.ops, self.is_closed, self.launches = gpu, ops, False, 0

    def upload(self, stream):
        self.gpu.spend()

    def launch(self, stream):
        with self.gpu.lock:
            self.gpu.spend(LAUNCH_NS)
            if self.is_closed:
                self.gpu.misuse("a graph is launched after it was closed")
            self.launches += 1
            for op in self.ops:
                stream.put(Op(op.name, op.duration_ns, op.action, memory=op.memory))

    def close(self):
        self.is_closed, self.ops = True, ()


# cuda.core, cuda.bindings.runtime


class Code(int):
    """An error code with a name."""

    def __new__(cls, number, name):
        made = super().__new__(cls, number)
        made.name = name
        return made


SUCCESS = Code(0, "cudaSuccess")


class Cuda:
    """The modules; ``install`` puts them where ``import`` finds them."""

    def __init__(self, gpu):
        self.gpu = gpu
        self.driver_version = 13000
        self.count = (SUCCESS, 1)
        self.memory_error = None
        fake = self

        class Device:
            name = "Fake GPU"
            compute_capability = (8, 9)
            pci_bus_id = "0000:3B:00.0"
            uuid = "0c1d"

            def __init__(self, index=0):
                self.index = index

            def set_current(self):
                fake.gpu.current.set = True

            def create_stream(self, options=None):
                fake.gpu.spend()
                return Stream(fake.gpu)

            def create_event(self, options=None):
                made = Event(fake.gpu, bool(options and options.timing_enabled))
                fake.gpu.made_events.append(weakref.ref(made))
                return made

            def allocate(self, size, *, stream):
                with fake.gpu.lock:
                    fake.gpu.spend()
                    if stream.captured is not None:
                        fake.gpu.misuse("memory is allocated while a graph is captured")
                    return Buffer(fake.gpu, fake.gpu.allocate(size), size, stream)

        class EventOptions:
            def __init__(self, timing_enabled=False):
                self.timing_enabled = timing_enabled

        class PinnedMemory:
            def allocate(self, size, stream=None):
                return Buffer(fake.gpu, fake.gpu.pin(size), size)

        class Views:
            @staticmethod
            def from_handle(ptr, size, mr=None, owner=None):
                view = Buffer(fake.gpu, None, size, address=ptr)
                view.owner = owner
                return view

        self.core = types.ModuleType("cuda.core")
        self.core.Device, self.core.EventOptions = Device, EventOptions
        self.core.LegacyPinnedMemoryResource, self.core.Buffer = PinnedMemory, Views
        self.core.__version__ = "1.2.2"
        self.runtime = types.ModuleType("cuda.bindings.runtime")
        self.runtime.cudaMemGetInfo = self._memory
        self.runtime.cudaDriverGetVersion = lambda: (SUCCESS, self.driver_version)
        self.runtime.cudaRuntimeGetVersion = lambda: (SUCCESS, 13050)
        self.runtime.cudaGetDeviceCount = lambda: self.count

    def _memory(self):
        if self.memory_error is not None:
            return self.memory_error, None, None
        used = sum(r.size for r in self.gpu.ranges if not r.is_free and not r.host)
        return SUCCESS, self.gpu.total - used, self.gpu.total

    def install(self, monkeypatch):
        package, bindings = types.ModuleType("cuda"), types.ModuleType("cuda.bindings")
        package.core, package.bindings, bindings.runtime = self.core, bindings, self.runtime
        for module in (package, self.core, bindings, self.runtime):
            monkeypatch.setitem(sys.modules, module.__name__, module)


# TensorRT


class Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class TensorIOMode(enum.IntEnum):
    NONE, INPUT, OUTPUT = range(3)


DataType = enum.IntEnum(
    "DataType", "FLOAT HALF INT8 INT32 BOOL UINT8 FP8 BF16 INT64 INT4 FP4", start=0
)
Strategy = enum.IntEnum("Strategy", "STATIC ON_PROFILE_CHANGE USER_MANAGED", start=0)
LayerFormat = enum.IntEnum("LayerFormat", "ONELINE JSON", start=0)
EngineStat = enum.IntEnum("EngineStat", "TOTAL_WEIGHTS_SIZE STRIPPED_WEIGHTS_SIZE", start=0)
Validity = enum.IntEnum("Validity", "VALID SUBOPTIMAL INVALID", start=0)


class Diagnostics(enum.IntFlag):
    VERSION_MISMATCH = 1
    UNSUPPORTED_CC = 2
    MALFORMED_ENGINE = 32


NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64, "INT32": np.int32}


class Base:
    """Bases whose ``__init__`` a subclass must call."""

    def __init__(self):
        self.was_made = True


class Dims(tuple):
    __slots__ = ()


def plan(**parts):
    """A plan's bytes: y = 2x + 1 over one dynamic input, unless told otherwise."""
    return json.dumps(
        {
            "version": "10.16",
            "cc": [8, 9],
            "inputs": {"x": [-1, 4]},
            "outputs": {"y": [-1, 4]},
            "types": {},
            "profiles": [{"x": [[1, 4], [2, 4], [8, 4]]}],
            "layers": {"scale": 60_000, "add": 40_000},
            "data_dependent": None,
            "shape_inputs": [],
            "activations": 4096,
            "weights": 8192,
            "aux_streams": 0,
            "capturable": True,
        }
        | parts
    ).encode()


class Module:
    """``tensorrt`` or ``tensorrt_rtx``: knobs for what may go wrong, and the API."""

    def __init__(self, gpu, name="tensorrt"):
        self.gpu, self.__name__, self.__version__ = gpu, name, "10.16"
        self.refuse = set()  # names of calls that return False or None
        self.first_run_extra_ns = 0
        self.engine_class, self.context_class, self.runtime_class = Engine, Context, Runtime
        self.ILogger, self.IProfiler = type("ILogger", (Base,), {}), type("IProf", (Base,), {})
        self.IOutputAllocator = type("IOutputAllocator", (Base,), {})
        self.TensorIOMode, self.DataType = TensorIOMode, DataType
        self.ExecutionContextAllocationStrategy = Strategy
        self.LayerInformationFormat, self.EngineStat = LayerFormat, EngineStat
        self.contexts, self.engines = [], []

    def Runtime(self, logger):  # noqa: N802 - TensorRT's name
        return self.runtime_class(self, logger)


class Runtime:
    """Makes engines; must outlive them."""

    def __init__(self, trt, logger):
        assert getattr(logger, "was_made", False), "ILogger.__init__ was not called"
        self.trt, self.logger = trt, logger
        self.engines = weakref.WeakSet()

    def error(self, text):
        self.logger.log(Severity.ERROR, text)

    def deserialize_cuda_engine(self, data):
        try:
            spec = json.loads(bytes(data))
        except ValueError:
            self.error("Error Code 1: Serialization (magicTagRead == kMAGIC_TAG failed.)")
            return None
        if spec["version"] != self.trt.__version__:
            self.error(
                "The engine plan file is not compatible with this version of TensorRT, "
                f"expecting library version {self.trt.__version__} got {spec['version']}"
            )
            return None
        if spec["cc"] != [8, 9]:
            self.error(
                "The engine plan file is generated on an incompatible device, expecting "
                "compute 8.9 got compute 9.0, please rebuild."
            )
            return None
        engine = self.trt.engine_class(self.trt, self, spec)
        self.engines.add(engine)
        return engine

    def __del__(self):
        if len(self.engines):
            self.trt.gpu.misuses.append("a runtime is freed before its engine")


class ValidatingRuntime(Runtime):
    """As TensorRT-RTX's: says by bits what is wrong, and logs nothing."""

    def error(self, text):
        pass

    def get_engine_validity(self, data):
        try:
            spec = json.loads(bytes(data))
        except ValueError:
            return Validity.INVALID, int(Diagnostics.MALFORMED_ENGINE)
        wrong = 0 if spec["version"] == self.trt.__version__ else Diagnostics.VERSION_MISMATCH
        wrong |= 0 if spec["cc"] == [8, 9] else Diagnostics.UNSUPPORTED_CC
        return (Validity.INVALID if wrong else Validity.VALID), int(wrong)


class Engine:
    """A deserialised plan; must outlive its contexts."""

    name = "fake"

    def __init__(self, trt, runtime, spec):
        self.trt, self.spec, self.logger = trt, spec, runtime.logger
        self.contexts = weakref.WeakSet()
        self.names = [*spec["inputs"], *spec["outputs"]]
        self.num_io_tensors = len(self.names)
        self.num_optimization_profiles = len(spec["profiles"])
        self.num_aux_streams = spec["aux_streams"]
        self.device_memory_size_v2 = spec["activations"]
        trt.engines.append(weakref.ref(self))

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self.spec["inputs"] else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return DataType[self.spec["types"].get(name, "FLOAT")]

    def get_tensor_shape(self, name):
        return Dims({**self.spec["inputs"], **self.spec["outputs"]}[name])

    def get_tensor_profile_shape(self, name, profile_index):
        return [Dims(s) for s in self.spec["profiles"][profile_index][name]]

    def is_shape_inference_io(self, name):
        return name in self.spec["shape_inputs"]

    def get_engine_stat(self, stat):
        assert stat is EngineStat.TOTAL_WEIGHTS_SIZE
        return self.spec["weights"]

    def create_execution_context(self, strategy=Strategy.STATIC):
        if "create_execution_context" in self.trt.refuse:
            return None
        try:
            made = self.trt.context_class(self)
        except CUDAError as error:
            self.logger.log(Severity.ERROR, f"OutOfMemory ({error})")  # noqa: G004 - TensorRT's log
            return None
        self.contexts.add(made)
        return made

    def create_engine_inspector(self):
        return Inspector(self)

    def __del__(self):
        if len(self.contexts):
            self.trt.gpu.misuses.append("an engine is freed before its context")


class Inspector:
    def __init__(self, engine):
        self.engine = engine

    def get_engine_information(self, form):
        assert form is LayerFormat.JSON
        return json.dumps({"Layers": list(self.engine.spec["layers"])})


class Context:
    """Checks the order of calls, then puts work into the stream that it is given."""

    def __init__(self, engine):
        self.trt, self.spec, self.logger = engine.trt, engine.spec, engine.logger
        self.gpu = self.trt.gpu
        self.activations = self.gpu.allocate(self.spec["activations"])
        self.active_optimization_profile = 0
        self.shapes, self.addresses, self.allocators = {}, {}, {}
        self.inferred = False
        self.has_run = False
        self.enqueue_emits_profile = True
        self._profiler = None
        self.unreported = None
        self.aux_streams = []
        self.in_flight = []
        self.trt.contexts.append(weakref.ref(self))

    @property
    def profiler(self):
        return self._profiler

    @profiler.setter
    def profiler(self, value):
        assert getattr(value, "was_made", False), "IProfiler.__init__ was not called"
        self._profiler = value

    def refused(self, call, why):
        self.logger.log(Severity.ERROR, f"{call}: {why}")  # noqa: G004
        return False

    def set_optimization_profile_async(self, profile_index, stream_handle):
        if "set_optimization_profile_async" in self.trt.refuse:
            return self.refused("set_optimization_profile_async", "refused")
        self.active_optimization_profile = profile_index
        self.shapes, self.inferred = {}, False  # a new profile forgets the shapes
        return True

    def set_input_shape(self, name, shape):
        if "set_input_shape" in self.trt.refuse:
            return self.refused("set_input_shape", "refused")
        ranges = self.spec["profiles"][self.active_optimization_profile].get(name)
        fixed = self.spec["inputs"][name]
        least, most = (ranges[0], ranges[2]) if ranges else (fixed, fixed)
        if len(shape) != len(least) or not all(
            low <= d <= high for low, d, high in zip(least, shape, most, strict=True)
        ):
            return self.refused("set_input_shape", f"{name} is outside the profile")
        self.shapes[name], self.inferred = tuple(shape), False
        return True

    def infer_shapes(self):
        missing = [n for n in self.spec["inputs"] if n not in self.shapes]
        missing += [n for n in self.spec["shape_inputs"] if n not in self.addresses]
        self.inferred = not missing
        return missing

    def get_tensor_shape(self, name):
        if name in self.shapes:
            return Dims(self.shapes[name])
        if name == self.spec["data_dependent"] or not self.inferred:
            return Dims(-1 for _ in {**self.spec["inputs"], **self.spec["outputs"]}[name])
        first = next(iter(self.shapes.values()))
        return Dims(first)

    def set_tensor_address(self, name, memory):
        if "set_tensor_address" in self.trt.refuse:
            return self.refused("set_tensor_address", "refused")
        self.addresses[name] = memory
        return True

    def set_output_allocator(self, name, output_allocator):
        assert getattr(output_allocator, "was_made", False), "__init__ was not called"
        if "set_output_allocator" in self.trt.refuse:
            return self.refused("set_output_allocator", "refused")
        # TensorRT holds a bare pointer: it keeps nothing alive.
        self.allocators[name] = weakref.ref(output_allocator)
        return True

    def set_aux_streams(self, aux_streams):
        self.aux_streams = aux_streams

    def execute_async_v3(self, stream_handle):
        gpu, spec = self.gpu, self.spec
        with gpu.lock:
            if stream_handle in (0, 1, 2):
                gpu.misuse("work is put into the default stream")
            stream = gpu.streams[stream_handle]
            if "execute_async_v3" in self.trt.refuse:
                return self.refused("execute_async_v3", "refused")
            if not self.inferred:
                gpu.misuse("execute_async_v3 is called before all shapes are set and inferred")
            for name in (*spec["inputs"], *spec["outputs"]):
                if name not in self.addresses and name not in self.allocators:
                    return self.refused("execute_async_v3", f"Address is not set for {name}")
            if spec["aux_streams"] and len(self.aux_streams) != spec["aux_streams"]:
                gpu.misuse("aux streams are left to TensorRT, which makes them each time")
            if stream.captured is not None and (
                not spec["capturable"] or spec["data_dependent"] is not None
            ):
                stream.invalidated = True
                return self.refused("execute_async_v3", "operation not permitted when capturing")
            addresses = dict(self.addresses)
            if spec["data_dependent"]:
                self._run_data_dependent(stream, addresses)
            else:
                self._queue(stream, addresses)
            if self._profiler is not None and self.enqueue_emits_profile:
                gpu.wait_for(stream.drained_ns())
                self._report()
            return True

    def _queue(self, stream, addresses):
        extra = 0 if self.has_run else self.trt.first_run_extra_ns
        self.has_run = True
        layers = list(self.spec["layers"].items())
        for index, (layer, duration) in enumerate(layers):
            self.gpu.spend(LAUNCH_NS)
            last = index == len(layers) - 1
            compute = (lambda: self._compute(addresses)) if last else None
            op = Op(layer, duration + extra, compute, memory=(self.activations.address,))
            extra = 0
            self.in_flight = [o for o in self.in_flight if o.end is None][-50:]
            if stream.captured is None:
                self.in_flight.append(op)
            stream.put(op)
            if last and stream.captured is None:
                self.unreported = op

    def _compute(self, addresses):
        """What the last layer leaves: really read from and written to memory."""
        gpu = self.gpu
        gpu.bytes_at(self.activations.address, self.activations.size, "an engine")
        name = next(iter(self.spec["inputs"]))
        x = self._read(addresses[name], name, self.shapes[name])
        for output in self.spec["outputs"]:
            dtype = NUMPY[self.spec["types"].get(output, "FLOAT")]
            y = (x.astype(np.float64) * 2 + 1).astype(dtype)
            gpu.bytes_at(addresses[output], y.nbytes, "an engine")[:] = y.reshape(-1).view(
                np.uint8
            )

    def _read(self, address, name, shape):
        dtype = np.dtype(NUMPY[self.spec["types"].get(name, "FLOAT")])
        size = int(np.prod(shape)) * dtype.itemsize
        data = self.gpu.bytes_at(address, size, "an engine")
        return data.copy().view(dtype).reshape(shape)

    def _run_data_dependent(self, stream, addresses):
        """The positive numbers of the input: waits in the enqueue, as TensorRT must."""
        gpu, output = self.gpu, self.spec["data_dependent"]
        name = next(iter(self.spec["inputs"]))
        stream.put(Op("nonzero", sum(self.spec["layers"].values())))
        gpu.wait_for(stream.drained_ns())
        x = self._read(addresses[name], name, self.shapes[name])
        found = x[x > 0].astype(np.float32)
        allocator = self.allocators[output]()
        if allocator is None:
            gpu.misuse("an output allocator is asked after it was freed")
        address = allocator.reallocate_output_async(
            output, 0, max(1, found.nbytes), 256, stream.handle
        )
        allocator.notify_shape(output, Dims(found.shape))
        if not address:
            raise CUDAError("CUDA_ERROR_OUT_OF_MEMORY: no memory for an output")

        def write():
            gpu.bytes_at(address, found.nbytes, "an engine")[:] = found.view(np.uint8)

        stream.put(Op("write", 1000, write))

    def report_to_profiler(self):
        if "report_to_profiler" in self.trt.refuse:
            return self.refused("report_to_profiler", "refused")
        if self._profiler is None or self.unreported is None:
            return self.refused("report_to_profiler", "nothing to report")
        if self.unreported.end is None:
            self.gpu.misuses.append("layer times are asked for before the work is done")
            return False
        self._report()
        return True

    def _report(self):
        for layer, duration in self.spec["layers"].items():
            self._profiler.report_layer_time(layer, duration / 1e6)
        self.unreported = None

    def __del__(self):
        if any(op.end is None for op in getattr(self, "in_flight", ())):
            self.gpu.misuses.append("a context is freed while the GPU works on it")
        if hasattr(self, "activations"):
            self.activations.is_free = True
