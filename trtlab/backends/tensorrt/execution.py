"""One execution context at work: its stream, buffers, addresses and CUDA graph.

Written to the API that TensorRT 10.13 to 11.4 and TensorRT-RTX 1.7 share; not run on a GPU so
far, only against the fakes in the tests.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtlab.backends.base import DeviceBytes, Feeds
from trtlab.backends.tensorrt import bindings
from trtlab.backends.tensorrt.bindings import HasEngineStat, HasEngineStatNames, HasStreamCapture
from trtlab.backends.tensorrt.module import Log
from trtlab.backends.tensorrt.outputs import DataDependentOutput
from trtlab.backends.tensorrt.profiles import choose_profile
from trtlab.backends.tensorrt.queries import Clock, Queries
from trtlab.device import Buffer, Gpu, Graph, Pinned, Stream, cuda_errors, elapsed_ns
from trtlab.errors import ExecutionError, SpecError, UnsupportedError
from trtlab.spec import Caveat, Shape
from trtlab.units import text_from_bytes, text_from_shape

if TYPE_CHECKING:
    import numpy as np

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "FP8": "float8_e4m3fn",
}
"""TensorRT's element types as NumPy or ml_dtypes names them. INT4 and FP4 are packed by two and
have no place in an input or output here."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy between host and GPU: destination and source."""

    to: Buffer
    source: Buffer


class Execution:
    """One execution context on a stream of its own.

    Making one runs the engine once, waits for it, and then captures it as a CUDA graph.
    """

    def __init__(
        self,
        trt: bindings.Module,
        log: Log,
        gpu: Gpu,
        engine: bindings.Engine,
        feeds: Feeds,
        *,
        transfers: bool = False,
        cuda_graph: bool = False,
        profiler: bindings.Profiler | None = None,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        """Create the context and run once.

        Args:
            trt: ``tensorrt`` or ``tensorrt_rtx``.
            log: The logger that the engine's runtime was made with.
            gpu: The GPU, current in this thread.
            engine: It must outlive this.
            feeds: Values of all inputs; their shapes decide the optimization profile.
            transfers: Whether every query copies inputs and outputs.
            cuda_graph: Whether to replay a CUDA graph; where that fails ``caveats`` says why.
            profiler: Gets layer times when ``report_layers`` is called. Never with a graph.
            clock: The host's clock, in nanoseconds.

        Raises:
            SpecError: no optimization profile holds these shapes.
            ExecutionError: TensorRT or CUDA refused; the message says what.
            UnsupportedError: an input or output has a type without a NumPy counterpart.
        """
        self._trt, self._log, self._gpu, self._engine = trt, log, gpu, engine
        self._clock = clock
        self._stream = gpu.stream()
        self._handle = int(self._stream.handle)
        self._aux_streams: list[Stream] = []
        self._graph: Graph | None = None
        self._device_buffers: dict[str, Buffer] = {}
        self._pinned: dict[str, Pinned] = {}
        self._views: dict[str, Buffer] = {}
        self._data_dependent: dict[str, DataDependentOutput] = {}
        self._allocators: list[bindings.OutputAllocator] = []
        self._copies_in: list[_Copy] = []
        self._copies_out: list[_Copy] = []
        self._profiler = profiler
        self.caveats: tuple[Caveat, ...] = ()
        made = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.STATIC)
        if made is None:
            raise self._no_context()
        self._context: bindings.ExecutionContext | None = made
        try:
            with cuda_errors("Running the engine", gpu):
                self._bind(made, feeds)
                self.first_call_ns = self._run_first(made)
                if cuda_graph:
                    self._capture(made)
            self.queries = self._queries(transfers)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Wait for the stream, then free graph, context and buffers, in this order."""
        try:
            with cuda_errors("Waiting for the GPU", self._gpu):
                self._stream.sync()
        finally:
            self._free()

    def _free(self) -> None:
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        # The context goes before the buffers whose addresses it holds, and before the engine,
        # which whoever still holds this object must not keep alive.
        self._context = None
        del self._engine
        for view in self._views.values():
            view.close()
        for output in self._data_dependent.values():
            if output.buffer is not None:
                output.buffer.close(self._stream)
        for buffer in self._device_buffers.values():
            buffer.close(self._stream)
        for pinned in self._pinned.values():
            pinned.buffer.close()
        self._allocators.clear()
        for stream in (*self._aux_streams, self._stream):
            stream.close()

    # Single runs

    def outputs(self) -> dict[str, np.ndarray]:
        """Run once and return the outputs by name."""
        self._copy_in()
        self._enqueue()
        self._copy_out()
        self._stream.sync()
        return {name: self._array(name) for name in self._names(self._trt.TensorIOMode.OUTPUT)}

    def report_layers(self) -> int:
        """Run once with the profiler, let it report, and return the run's nanoseconds."""
        begin, end = self._gpu.event(), self._gpu.event()
        self._stream.record(begin)
        self._enqueue()
        self._stream.record(end)
        self._stream.sync()
        if not self.context.report_to_profiler():
            raise self._refused("report layer times")
        return elapsed_ns(begin, end)

    # Facts

    @property
    def context(self) -> bindings.ExecutionContext:
        """The execution context, with this run's shapes."""
        if self._context is None:
            raise ExecutionError("The execution context was freed already.")
        return self._context

    @property
    def output_bytes(self) -> int:
        """Bytes of all outputs."""
        return sum(self._size(name) for name in self._names(self._trt.TensorIOMode.OUTPUT))

    @property
    def device_bytes(self) -> DeviceBytes:
        """What the builder says of activations and weights, and the size of the buffers."""
        weights = None
        if isinstance(self._engine, HasEngineStat) and isinstance(self._trt, HasEngineStatNames):
            weights = int(self._engine.get_engine_stat(self._trt.EngineStat.TOTAL_WEIGHTS_SIZE))
        grown = (o.buffer.size for o in self._data_dependent.values() if o.buffer is not None)
        return DeviceBytes(
            activations=int(self._engine.device_memory_size_v2),
            weights=weights,
            io=sum(b.size for b in self._device_buffers.values()) + sum(grown),
        )

    # Binding

    def _bind(self, context: bindings.ExecutionContext, feeds: Feeds) -> None:
        inputs = self._names(self._trt.TensorIOMode.INPUT)
        if missing := sorted(set(inputs) - set(feeds)):
            raise SpecError(f"Input {missing[0]!r} of the engine has no value.")
        shapes = {name: tuple(feeds[name].shape) for name in inputs}
        self._choose_profile(context, shapes)
        if self._profiler is not None:
            context.profiler = self._profiler
            # Else each enqueue would wait and report: the work would stand still in between.
            context.enqueue_emits_profile = False
        if self._engine.num_aux_streams > 0:
            self._aux_streams = [self._gpu.stream() for _ in range(self._engine.num_aux_streams)]
            context.set_aux_streams([int(s.handle) for s in self._aux_streams])
        for name in inputs:
            if not context.set_input_shape(name, shapes[name]):
                raise self._refused(f"take {text_from_shape(shapes[name])} for input {name!r}")
            self._bind_input(context, name, feeds[name])
        if unknown := context.infer_shapes():
            raise self._refused(f"infer shapes: {', '.join(unknown)} stay undefined")
        for name in self._names(self._trt.TensorIOMode.OUTPUT):
            self._bind_output(context, name)

    def _bind_input(
        self, context: bindings.ExecutionContext, name: str, value: np.ndarray
    ) -> None:
        import numpy as np

        dtype = self._dtype(name)
        if value.dtype != dtype and value.dtype.kind != dtype.kind:
            raise SpecError(f"Input {name!r} is {dtype.name} in the engine, not {value.dtype}.")
        array = np.ascontiguousarray(value, dtype)
        pinned = self._pinned[name] = self._gpu.pinned(array.nbytes)
        pinned.array[:] = array.reshape(-1).view(np.uint8)
        if self._engine.is_shape_inference_io(name):
            # TensorRT reads it on the host while it infers shapes.
            self._set_address(context, name, pinned.buffer)
            return
        buffer = self._gpu.allocate(pinned.buffer.size, self._stream)
        self._device_buffers[name] = buffer
        buffer.copy_from(pinned.buffer, stream=self._stream)
        self._copies_in.append(_Copy(buffer, pinned.buffer))
        self._set_address(context, name, buffer)

    def _bind_output(self, context: bindings.ExecutionContext, name: str) -> None:
        dtype = self._dtype(name)
        shape = tuple(context.get_tensor_shape(name))
        if any(d < 0 for d in shape):
            output = self._data_dependent[name] = DataDependentOutput(self._gpu, self._stream)
            allocator = output.allocator(self._trt)
            self._allocators.append(allocator)
            if not context.set_output_allocator(name, allocator):
                raise self._refused(f"take an allocator for output {name!r}")
            return
        pinned = self._pinned[name] = self._gpu.pinned(math.prod(shape) * dtype.itemsize)
        if self._engine.is_shape_inference_io(name):
            self._set_address(context, name, pinned.buffer)
            return
        buffer = self._gpu.allocate(pinned.buffer.size, self._stream)
        self._device_buffers[name] = buffer
        self._copies_out.append(_Copy(pinned.buffer, buffer))
        self._set_address(context, name, buffer)

    def _set_address(self, context: bindings.ExecutionContext, name: str, buffer: Buffer) -> None:
        if not context.set_tensor_address(name, int(buffer.handle)):
            raise self._refused(f"take the address of {name!r}")

    def _follow_outputs(self) -> None:
        """Let the copies of data-dependent outputs follow their memory and shape.

        The shapes are known when the enqueue call has returned.
        """
        for name, output in self._data_dependent.items():
            size = self._size(name)
            view = self._views.get(name)
            address = int(output.buffer.handle) if output.buffer is not None else 0
            if view is not None and view.size == max(1, size) and int(view.handle) == address:
                continue
            if output.buffer is None:
                raise self._refused(f"allocate output {name!r}")
            # An earlier copy may still be under way; this happens once, before shapes settle.
            self._stream.sync()
            old = self._pinned.pop(name, None)
            pinned = self._pinned[name] = self._gpu.pinned(size)
            if old is not None:
                self._copies_out = [c for c in self._copies_out if c.to is not old.buffer]
                old.buffer.close()
            fresh = self._views[name] = self._gpu.view(output.buffer, pinned.buffer.size)
            self._copies_out.append(_Copy(pinned.buffer, fresh))

    def _choose_profile(
        self, context: bindings.ExecutionContext, shapes: Mapping[str, Shape]
    ) -> None:
        index = choose_profile(self._engine, shapes)
        if index == context.active_optimization_profile:
            return
        if not context.set_optimization_profile_async(index, self._handle):
            raise self._refused(f"switch to optimization profile {index}")
        self._stream.sync()

    # Running

    def _run_first(self, context: bindings.ExecutionContext) -> int:
        """Run once and return how long that took: TensorRT-RTX compiles kernels in it."""
        self._stream.sync()
        begin = self._clock()
        self._enqueue()
        self._stream.sync()
        took = self._clock() - begin
        if self._profiler is not None and not context.report_to_profiler():
            raise self._refused("report layer times")
        return took

    def _queries(self, transfers: bool) -> Queries:
        graph, stream = self._graph, self._stream
        work = self._enqueue if graph is None else functools.partial(graph.launch, stream)
        copy_in, copy_out = (self._copy_in, self._copy_out) if transfers else (None, None)
        return Queries(
            self._gpu, stream, work, copy_in=copy_in, copy_out=copy_out, clock=self._clock
        )

    def _enqueue(self) -> None:
        context = self._context
        if context is None or not context.execute_async_v3(self._handle):
            raise self._refused("run")

    def _copy_in(self) -> None:
        for copy in self._copies_in:
            copy.to.copy_from(copy.source, stream=self._stream)

    def _copy_out(self) -> None:
        if self._data_dependent:
            self._follow_outputs()
        for copy in self._copies_out:
            copy.to.copy_from(copy.source, stream=self._stream)

    def _capture(self, context: bindings.ExecutionContext) -> None:
        if self._data_dependent:
            names = ", ".join(repr(n) for n in self._data_dependent)
            self._no_graph(f"the shape of {names} depends on the data")
        elif isinstance(context, HasStreamCapture) and not context.is_stream_capturable(
            self._handle
        ):
            self._no_graph("TensorRT says that it cannot be captured")
        else:
            try:
                graph = self._gpu.capture(self._stream, self._enqueue)
            except ExecutionError as error:
                self._no_graph(error.message)
                return
            self._graph = graph
            graph.launch(self._stream)
            self._stream.sync()

    def _no_graph(self, why: str) -> None:
        self.caveats += (
            Caveat(
                "no-cuda-graph",
                f"It ran without a CUDA graph: {why.rstrip('.')}.",
                "Latency holds the launching of every kernel; compare it with runs of its kind.",
            ),
        )

    # Small parts

    def _names(self, mode: bindings.TensorIOMode) -> list[str]:
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        return [name for name in names if engine.get_tensor_mode(name) == mode]

    def _dtype(self, name: str) -> np.dtype[Any]:
        import ml_dtypes
        import numpy as np

        kind = self._engine.get_tensor_dtype(name).name
        if kind not in _DTYPES:
            raise UnsupportedError(
                f"{name!r} is of type {kind}, which cannot be fed or read here.",
                hint="Cast it to another type inside the model.",
            )
        known = _DTYPES[kind]
        return np.dtype(getattr(ml_dtypes, known, known))

    def _shape(self, name: str) -> Shape:
        output = self._data_dependent.get(name)
        if output is None:
            return tuple(self.context.get_tensor_shape(name))
        if output.shape is None or any(d < 0 for d in output.shape):
            raise self._refused(f"tell the shape of output {name!r}")
        return output.shape

    def _size(self, name: str) -> int:
        return math.prod(self._shape(name)) * self._dtype(name).itemsize

    def _array(self, name: str) -> np.ndarray:
        found = self._pinned[name].array.view(self._dtype(name))
        copied: np.ndarray = found.reshape(self._shape(name)).copy()
        return copied

    def _refused(self, what: str) -> ExecutionError:
        failures = [str(o.failure) for o in self._data_dependent.values() if o.failure]
        words = [*failures, *self._log.errors()]
        return ExecutionError(
            f"TensorRT could not {what}" + (f": {words[0]}" if words else "."),
            hint="The details hold its messages.",
            details="\n".join(words),
        )

    def _no_context(self) -> ExecutionError:
        memory = self._gpu.memory()
        free = f", {text_from_bytes(memory.free)} are free" if memory else ""
        return ExecutionError(
            "TensorRT made no execution context: it needs "
            f"{text_from_bytes(int(self._engine.device_memory_size_v2))} for activations{free}.",
            hint="Use fewer streams, or a plan for smaller shapes.",
            details="\n".join(self._log.errors()),
        )
