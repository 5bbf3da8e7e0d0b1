"""The part of TensorRT's Python API that trtlab calls, as types written by hand.

`tensorrt` (10.13 to 11.4) and `tensorrt_rtx` carry no types of their own, so the one that is found
is cast to `Module` and everything else follows from there. What some versions lack stands last, in
Protocols named ``Has...``: ``isinstance(config, HasComputeCapability)`` probes for it by name.

The tests hold this file against stubs generated from the installed TensorRT-RTX, ``make
check-bindings`` against other versions too. Types cannot tell the order of calls, lifetimes, or
whether a bool that means failure was looked at; no code here was checked by running it on a GPU.
Where this says ``| None``, TensorRT reports failure that way and raises nothing.
"""

# The names are TensorRT's, and so are the descriptions of what stands behind them.
# ruff: noqa: D102, N802

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol, runtime_checkable

Shape = tuple[int, ...]


class Buffer(Protocol):
    """Bytes, a view of bytes, or a `HostMemory`."""

    def __buffer__(self, flags: int, /) -> memoryview: ...


class Enum(Protocol):
    """A member of one of TensorRT's enumerations. Keep names: the numbers differ by version."""

    @property
    def name(self) -> str: ...
    def __int__(self) -> int: ...


class Severity(Enum, Protocol):
    """How grave a log message is, by name; a larger number is less grave."""

    ERROR: ClassVar[Severity]


class DataType(Enum, Protocol):
    """The type of a tensor's elements."""

    FLOAT: ClassVar[DataType]
    HALF: ClassVar[DataType]
    BF16: ClassVar[DataType]
    INT32: ClassVar[DataType]
    INT64: ClassVar[DataType]
    BOOL: ClassVar[DataType]


class NetworkDefinitionCreationFlag(Enum, Protocol):
    """A bit number for `Builder.create_network`."""

    STRONGLY_TYPED: ClassVar[NetworkDefinitionCreationFlag]


class BuilderFlag(Enum, Protocol):
    """A switch of a build; only those that the adaptor itself sets stand here."""

    TF32: ClassVar[BuilderFlag]
    GPU_FALLBACK: ClassVar[BuilderFlag]
    __members__: ClassVar[dict[str, BuilderFlag]]


class MemoryPoolType(Enum, Protocol):
    """A kind of memory whose use by a build can be limited."""

    WORKSPACE: ClassVar[MemoryPoolType]
    __members__: ClassVar[dict[str, MemoryPoolType]]


class ProfilingVerbosity(Enum, Protocol):
    """How much of its layers an engine can tell. Not ordered by number."""

    DETAILED: ClassVar[ProfilingVerbosity]
    __members__: ClassVar[dict[str, ProfilingVerbosity]]


class TacticSource(Enum, Protocol):
    """A bit number for `BuilderConfig.set_tactic_sources`; 10.x has more of them."""

    __members__: ClassVar[dict[str, TacticSource]]


class HardwareCompatibilityLevel(Enum, Protocol):
    """Which other GPUs a plan runs on."""

    __members__: ClassVar[dict[str, HardwareCompatibilityLevel]]


class DeviceType(Enum, Protocol):
    """Where a layer runs."""

    DLA: ClassVar[DeviceType]


class TensorIOMode(Enum, Protocol):
    """Whether a tensor goes into an engine or comes out."""

    INPUT: ClassVar[TensorIOMode]
    OUTPUT: ClassVar[TensorIOMode]


class ExecutionContextAllocationStrategy(Enum, Protocol):
    """Who holds a context's activation memory, and how much of it."""

    STATIC: ClassVar[ExecutionContextAllocationStrategy]


class LayerInformationFormat(Enum, Protocol):
    """What an inspector writes."""

    JSON: ClassVar[LayerInformationFormat]


class Logger(Protocol):
    """A subclass of ``ILogger``. TensorRT keeps the first of a process and ignores all others."""

    def log(self, severity: Severity, msg: str) -> None: ...


class ProgressMonitor(Protocol):
    """A subclass of ``IProgressMonitor``; a build is cancelled by a step that returns False."""

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None: ...
    def step_complete(self, phase_name: str, step: int) -> bool: ...
    def phase_finish(self, phase_name: str) -> None: ...


class Profiler(Protocol):
    """A subclass of ``IProfiler``."""

    def report_layer_time(self, layer_name: str, ms: float) -> None: ...


class OutputAllocator(Protocol):
    """A subclass of ``IOutputAllocator``. No version lets anyone look up these two methods."""

    def reallocate_output_async(
        self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
    ) -> int: ...
    def notify_shape(self, tensor_name: str, shape: Dims) -> None: ...


class Dims(Protocol):
    """A shape that TensorRT returns; where it wants one it takes a plain tuple."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[int]: ...


class HostMemory(Protocol):
    """Bytes that TensorRT owns: a plan, or a serialised timing cache."""

    def __buffer__(self, flags: int, /) -> memoryview: ...


class Tensor(Protocol):
    """A tensor of a network."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Dims: ...
    @property
    def dtype(self) -> DataType: ...
    @property
    def is_shape_tensor(self) -> bool: ...
    def get_dimension_name(self, index: int) -> str: ...


class Layer(Protocol):
    """A layer of a network, whatever its kind."""

    name: str

    @property
    def type(self) -> Enum: ...


class Network(Protocol):
    """What the parser fills and the builder builds."""

    @property
    def num_layers(self) -> int: ...
    @property
    def num_inputs(self) -> int: ...
    @property
    def num_outputs(self) -> int: ...
    def get_layer(self, index: int) -> Layer: ...
    def get_input(self, index: int) -> Tensor: ...
    def get_output(self, index: int) -> Tensor: ...


class OptimizationProfile(Protocol):
    """The range of shapes. Setting an impossible one is silent: ask ``bool(profile)`` after."""

    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None: ...
    def __bool__(self) -> bool: ...


class TimingCache(Protocol):
    """Measured kernel times, to be used by later builds."""

    def serialize(self) -> HostMemory: ...


class BuilderConfig(Protocol):
    """The knobs of a build. Numbers out of range are clamped without a word."""

    builder_optimization_level: int
    avg_timing_iterations: int
    max_num_tactics: int
    max_aux_streams: int
    profiling_verbosity: ProfilingVerbosity
    hardware_compatibility_level: HardwareCompatibilityLevel
    default_device_type: DeviceType
    DLA_core: int
    progress_monitor: ProgressMonitor | None

    def set_flag(self, flag: BuilderFlag) -> None: ...
    def clear_flag(self, flag: BuilderFlag) -> None: ...
    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None: ...
    def set_tactic_sources(self, tactic_sources: int) -> bool: ...
    def create_timing_cache(self, serialized_timing_cache: Buffer) -> TimingCache | None: ...
    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool: ...
    def get_timing_cache(self) -> TimingCache | None: ...
    def add_optimization_profile(self, profile: OptimizationProfile) -> int: ...


class PluginRegistry(Protocol):
    """Loads plugin libraries."""

    # None stands for failure, which is in the log.
    def load_library(self, plugin_path: str) -> object | None: ...


class Builder(Protocol):
    """Makes networks, configurations and plans."""

    @property
    def num_DLA_cores(self) -> int: ...
    def create_network(self, flags: int = ...) -> Network: ...
    def create_builder_config(self) -> BuilderConfig: ...
    def create_optimization_profile(self) -> OptimizationProfile: ...
    def build_serialized_network(
        self, network: Network, config: BuilderConfig
    ) -> HostMemory | None: ...
    def get_plugin_registry(self) -> PluginRegistry: ...


class ParserError(Protocol):
    """One complaint of the parser. All of these are methods."""

    def code(self) -> Enum: ...
    def desc(self) -> str: ...
    def node(self) -> int: ...
    def node_name(self) -> str: ...
    def node_operator(self) -> str: ...
    def func(self) -> str: ...


class OnnxParser(Protocol):
    """Fills a network from an ONNX model."""

    @property
    def num_errors(self) -> int: ...
    def get_error(self, index: int) -> ParserError: ...
    def parse_from_file(self, model: str) -> bool: ...


class ExecutionContext(Protocol):
    """One use of an engine: on one stream at a time, with addresses of its own."""

    profiler: Profiler | None
    enqueue_emits_profile: bool

    @property
    def active_optimization_profile(self) -> int: ...
    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool: ...
    def set_input_shape(self, name: str, shape: Shape) -> bool: ...
    def infer_shapes(self) -> list[str]: ...
    def get_tensor_shape(self, name: str) -> Dims: ...
    def set_output_allocator(self, name: str, output_allocator: OutputAllocator) -> bool: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def set_aux_streams(self, aux_streams: list[int]) -> None: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...
    def report_to_profiler(self) -> bool: ...


class EngineInspector(Protocol):
    """Describes the layers of an engine; without a context, as here, dynamic shapes stay open."""

    def get_engine_information(self, format: LayerInformationFormat) -> str: ...


class Engine(Protocol):
    """A plan that was loaded; must outlive its contexts."""

    @property
    def num_io_tensors(self) -> int: ...
    @property
    def num_optimization_profiles(self) -> int: ...
    @property
    def num_aux_streams(self) -> int: ...
    @property
    def device_memory_size_v2(self) -> int: ...
    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_mode(self, name: str) -> TensorIOMode: ...
    def get_tensor_dtype(self, name: str) -> DataType: ...
    def get_tensor_shape(self, name: str) -> Dims: ...
    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]: ...
    def is_shape_inference_io(self, name: str) -> bool: ...
    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy = ...
    ) -> ExecutionContext | None: ...
    def create_engine_inspector(self) -> EngineInspector: ...


class Runtime(Protocol):
    """Loads plans; must outlive its engines."""

    def deserialize_cuda_engine(self, serialized_engine: Buffer) -> Engine | None: ...


class Module(Protocol):
    """`tensorrt` or `tensorrt_rtx`, as a whole."""

    __name__: str
    __version__: str

    # Called with an unusable library these raise TypeError.
    def Builder(self, logger: Logger) -> Builder: ...
    def OnnxParser(self, network: Network, logger: Logger) -> OnnxParser: ...
    def Runtime(self, logger: Logger) -> Runtime: ...
    def init_libnvinfer_plugins(self, logger: Logger, namespace: str) -> bool: ...
    def get_plugin_registry(self) -> PluginRegistry: ...

    # A subclass must call the __init__ of these four.
    @property
    def ILogger(self) -> type[Logger]: ...
    @property
    def IProgressMonitor(self) -> type[ProgressMonitor]: ...
    @property
    def IProfiler(self) -> type[Profiler]: ...
    @property
    def IOutputAllocator(self) -> type[OutputAllocator]: ...

    @property
    def BuilderFlag(self) -> type[BuilderFlag]: ...
    @property
    def DeviceType(self) -> type[DeviceType]: ...
    @property
    def ExecutionContextAllocationStrategy(self) -> type[ExecutionContextAllocationStrategy]: ...
    @property
    def HardwareCompatibilityLevel(self) -> type[HardwareCompatibilityLevel]: ...
    @property
    def LayerInformationFormat(self) -> type[LayerInformationFormat]: ...
    @property
    def MemoryPoolType(self) -> type[MemoryPoolType]: ...
    @property
    def NetworkDefinitionCreationFlag(self) -> type[NetworkDefinitionCreationFlag]: ...
    @property
    def ProfilingVerbosity(self) -> type[ProfilingVerbosity]: ...
    @property
    def TacticSource(self) -> type[TacticSource]: ...
    @property
    def TensorIOMode(self) -> type[TensorIOMode]: ...


# What only some versions have. In each, what belongs to one object.


class EngineStat(Enum, Protocol):
    """A number that an engine knows of itself; from 10.16 on."""

    TOTAL_WEIGHTS_SIZE: ClassVar[EngineStat]


class ComputeCapability(Enum, Protocol):
    """A kind of GPU that TensorRT-RTX builds for."""

    CURRENT: ClassVar[ComputeCapability]
    __members__: ClassVar[dict[str, ComputeCapability]]


@runtime_checkable
class HasEngineStat(Protocol):
    """An engine from 10.16 on."""

    def get_engine_stat(self, stat: EngineStat) -> int: ...


@runtime_checkable
class HasEngineStatNames(Protocol):
    """The module, from 10.16 on."""

    @property
    def EngineStat(self) -> type[EngineStat]: ...


@runtime_checkable
class HasComputeCapability(Protocol):
    """A builder's configuration, in TensorRT-RTX."""

    num_compute_capabilities: int

    def set_compute_capability(
        self, compute_capability: ComputeCapability, index: int
    ) -> bool: ...


@runtime_checkable
class HasEngineValidity(Protocol):
    """A runtime of TensorRT-RTX."""

    def get_engine_validity(self, buffer: Buffer) -> tuple[Any, ...]: ...


@runtime_checkable
class HasStreamCapture(Protocol):
    """An execution context of TensorRT-RTX."""

    def is_stream_capturable(self, stream: int) -> bool: ...


@runtime_checkable
class HasRtxNames(Protocol):
    """The module, if it is TensorRT-RTX."""

    @property
    def ComputeCapability(self) -> type[ComputeCapability]: ...
