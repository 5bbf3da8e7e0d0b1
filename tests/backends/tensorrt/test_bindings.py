"""The hand-written types: they fit TensorRT-RTX, and mypy finds mistakes with them and in them."""

import ast
import importlib
import inspect
import re

import pytest

from tests.bindings.conformance import (
    NOT_EVERYWHERE,
    PROBED,
    SOURCE,
    conformance,
    mypy,
    names_of,
    protocol_of,
    protocols_of,
)
from tests.bindings.stubs import BINDINGS, PROTOCOLS, of_installed
from trtlab.backends.tensorrt import bindings

TEXT = SOURCE.read_text()
OURS = protocols_of(TEXT)

# Names that the first table of section (b) of the project's notes on TensorRT lists as present in
# 10.13, 10.16, 11.4 and RTX 1.7.1, found there by looking into all four.
IN_ALL_FOUR_TEXT = """
Builder create_network create_builder_config create_optimization_profile
build_serialized_network NetworkDefinitionCreationFlag STRONGLY_TYPED
OnnxParser parse_from_file num_errors get_error set_flag
set_memory_pool_limit builder_optimization_level profiling_verbosity
add_optimization_profile create_timing_cache set_timing_cache progress_monitor
max_aux_streams set_tactic_sources avg_timing_iterations max_num_tactics
Runtime deserialize_cuda_engine num_io_tensors get_tensor_name get_tensor_mode
get_tensor_shape get_tensor_dtype get_tensor_profile_shape
num_optimization_profiles device_memory_size_v2
num_aux_streams create_engine_inspector create_execution_context
set_input_shape infer_shapes set_tensor_address execute_async_v3
set_optimization_profile_async profiler enqueue_emits_profile report_to_profiler
set_aux_streams set_output_allocator
get_engine_information LayerInformationFormat JSON
"""

# Not in that table, but in its oldest version (10.13, by its published stubs: make check-bindings)
# and in its newest (RTX 1.7.1), so neither added nor removed on the way. Some of them are named
# in other parts of the notes, most of those as seen in RTX alone.
AT_BOTH_ENDS_TEXT = """
__version__ get_plugin_registry load_library init_libnvinfer_plugins name shape dtype
is_shape_tensor type serialize log ERROR
ILogger IProgressMonitor IProfiler IOutputAllocator
phase_start step_complete phase_finish report_layer_time
code node node_name node_operator desc func
FLOAT HALF BF16 INT32 INT64 BOOL ProfilingVerbosity DETAILED BuilderFlag TF32 GPU_FALLBACK
MemoryPoolType WORKSPACE TacticSource
HardwareCompatibilityLevel DeviceType DLA TensorIOMode INPUT OUTPUT
ExecutionContextAllocationStrategy STATIC
num_DLA_cores DLA_core default_device_type hardware_compatibility_level
clear_flag get_timing_cache num_inputs num_outputs num_layers get_layer get_input get_output
get_dimension_name set_shape
active_optimization_profile is_shape_inference_io
"""

IN_ALL_FOUR = {*IN_ALL_FOUR_TEXT.split()}
AT_BOTH_ENDS = {*AT_BOTH_ENDS_TEXT.split()}

# Looked up by TensorRT in a subclass; the class itself shows neither, in any version.
INVISIBLE = {"reallocate_output_async", "notify_shape"}

# What no other file of the adaptor names although it is used. What TensorRT calls by itself is
# named where a subclass defines it.
NAMED_NOWHERE = {
    "CURRENT",  # the default target, looked up as "current".upper()
}

GIVEN = """
from trtlab.backends.tensorrt import bindings as b
def use(
    trt: b.Module, logger: b.Logger, builder: b.Builder, network: b.Network,
    config: b.BuilderConfig, profile: b.OptimizationProfile, parser: b.OnnxParser,
    runtime: b.Runtime, engine: b.Engine, context: b.ExecutionContext,
    inspector: b.EngineInspector, cache: b.TimingCache, monitor: b.ProgressMonitor,
    profiler: b.Profiler, allocator: b.OutputAllocator, plan: b.HostMemory,
    severity: b.Severity,
) -> None:
"""

# What is right, and the same with one mistake in it.
USES = [
    ("trt.Builder(logger)", "trt.Builder()"),
    ("trt.OnnxParser(network, logger)", "trt.OnnxParser(logger, network)"),
    ("trt.Runtime(logger)", "trt.Runtime(print)"),
    ("logger.log(severity, severity.name)", "logger.log('ERROR', severity)"),
    (
        "builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))",
        "builder.create_network(1 << trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)",
    ),
    (
        "builder.build_serialized_network(network, config)",
        "builder.build_serialized_network(config, network)",
    ),
    (
        "p = builder.build_serialized_network(network, config); assert p; bytes(p)",
        "p = builder.build_serialized_network(network, config); bytes(p)",
    ),
    ("memoryview(plan).nbytes + 1", "len(plan) + 1"),
    ("memoryview(plan)", "plan.decode()"),
    ("config.set_flag(trt.BuilderFlag.TF32)", "config.set_flag(trt.MemoryPoolType.WORKSPACE)"),
    (
        "config.set_flag(trt.BuilderFlag.__members__['REFIT'])",
        "config.set_flag(trt.BuilderFlag.__members__)",
    ),
    ("config.clear_flag(trt.BuilderFlag.TF32)", "config.unset_flag(trt.BuilderFlag.TF32)"),
    (
        "config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 20)",
        "config.set_memory_pool_limit(1 << 20, trt.MemoryPoolType.WORKSPACE)",
    ),
    ("config.builder_optimization_level = 3", "config.builder_optimisation_level = 3"),
    ("config.avg_timing_iterations = 2", "config.avg_timing_iterations = '2'"),
    (
        "config.set_tactic_sources(1 << int(trt.TacticSource.__members__['JIT_CONVOLUTIONS']))",
        "config.set_tactic_sources([trt.TacticSource.__members__['JIT_CONVOLUTIONS']])",
    ),
    (
        "config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED",
        "config.profiling_verbosity = 'DETAILED'",
    ),
    (
        "config.default_device_type = trt.DeviceType.DLA; config.DLA_core = 0",
        "config.default_device_type = trt.DeviceType.CPU",
    ),
    ("config.progress_monitor = monitor", "config.progress_monitor = profiler"),
    ("config.max_num_tactics = 4", "config.max_num_tactics = None"),
    (
        "config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.__members__['NONE']",
        "config.hardware_compatibility_level = trt.TensorIOMode.INPUT",
    ),
    ("config.set_timing_cache(cache, ignore_mismatch=False)", "config.set_timing_cache(cache)"),
    (
        "c = config.get_timing_cache(); assert c; bytes(c.serialize())",
        "c = config.get_timing_cache(); bytes(c.serialize())",
    ),
    ("config.create_timing_cache(b'')", "config.create_timing_cache('')"),
    (
        "isinstance(config, b.HasComputeCapability) and config.num_compute_capabilities",
        "config.num_compute_capabilities",
    ),
    (
        "isinstance(trt, b.HasRtxNames) and trt.ComputeCapability.__members__['SM89']",
        "trt.ComputeCapability.__members__['SM89']",
    ),
    (
        "isinstance(engine, b.HasEngineStat) and isinstance(trt, b.HasEngineStatNames)"
        " and engine.get_engine_stat(trt.EngineStat.TOTAL_WEIGHTS_SIZE)",
        "isinstance(engine, b.HasEngineStat) and engine.get_engine_stat('TOTAL_WEIGHTS_SIZE')",
    ),
    ("profile.set_shape('x', (1, 3), (4, 3), (8, 3))", "profile.set_shape('x', (1, 3), (8, 3))"),
    ("bool(profile)", "profile.is_valid()"),
    ("config.add_optimization_profile(profile)", "profile.add_optimization_profile(config)"),
    ("parser.parse_from_file('a')", "parser.parse_file('a')"),
    ("parser.get_error(0).desc().strip()", "parser.get_error(0).desc.strip()"),
    ("parser.get_error(0).code().name", "parser.get_error(0).code.name"),
    ("range(parser.num_errors)", "range(parser.num_errors())"),
    ("range(network.num_layers)", "range(network.layers)"),
    ("network.get_layer(0).name.split()", "network.get_layer('c').name.split()"),
    ("network.get_layer(0).type.name", "network.get_layer(0).type + ''"),
    ("tuple(network.get_input(0).shape)", "network.get_input(0).shape.dims"),
    ("network.get_input(0).dtype.name.lower()", "network.get_input(0).dtype.lower()"),
    ("network.get_input(0).is_shape_tensor", "network.get_input('x').is_shape_tensor"),
    (
        "e = runtime.deserialize_cuda_engine(plan); assert e; e.num_io_tensors",
        "e = runtime.deserialize_cuda_engine(plan); e.num_io_tensors",
    ),
    ("runtime.deserialize_cuda_engine(b'')", "runtime.deserialize_cuda_engine(open('x'))"),
    ("engine.device_memory_size_v2 + 1", "engine.device_memory_size + 1"),
    (
        "c = engine.create_execution_context(); assert c; c.infer_shapes()",
        "c = engine.create_execution_context(); c.infer_shapes()",
    ),
    (
        "engine.create_execution_context(trt.ExecutionContextAllocationStrategy.STATIC)",
        "engine.create_execution_context('STATIC')",
    ),
    ("engine.is_shape_inference_io('x')", "engine.is_shape_inference_io(0)"),
    (
        "engine.get_tensor_mode('x') == trt.TensorIOMode.INPUT",
        "engine.get_tensor_mode(0) == trt.TensorIOMode.INPUT",
    ),
    (
        "least, best, most = (tuple(s) for s in engine.get_tensor_profile_shape('x', 0))",
        "least, best, most = (tuple(s) for s in engine.get_tensor_profile_shape('x'))",
    ),
    ("context.set_optimization_profile_async(0, 1)", "context.set_optimization_profile_async(0)"),
    ("context.set_input_shape('x', (1, 3))", "context.set_input_shape('x', (1, '3'))"),
    ("tuple(context.get_tensor_shape('x'))", "context.get_tensor_shape('x') + (1,)"),
    ("context.set_tensor_address('x', 1)", "context.set_tensor_address(1, 'x')"),
    ("context.set_output_allocator('x', allocator)", "context.set_output_allocator('x', logger)"),
    ("ok: bool = context.execute_async_v3(1)", "context.execute_async_v2(1)"),
    ("context.profiler = profiler", "context.profiler = monitor"),
    ("context.enqueue_emits_profile = False", "context.enqueue_emits_profile = 'no'"),
    ("context.set_aux_streams([1, 2])", "context.set_aux_streams(1)"),
    ("engine.create_engine_inspector()", "context.create_engine_inspector()"),
    (
        "inspector.get_engine_information(trt.LayerInformationFormat.JSON)",
        "inspector.get_engine_information('JSON')",
    ),
    ("trt.init_libnvinfer_plugins(logger, '')", "trt.init_libnvinfer_plugins('')"),
    ("trt.get_plugin_registry().load_library('a')", "trt.get_plugin_registry().load('a')"),
]

# A Protocol that says what TensorRT does not: its name, a part of it, and what replaces that.
WRONG = [
    ("Builder", "def create_network(self, flags: int", "def create_net(self, flags: int"),
    (
        "Builder",
        "self, network: Network, config: BuilderConfig\n    ) ",
        "self, config: BuilderConfig, network: Network\n    ) ",
    ),
    ("Builder", "def num_DLA_cores(self) -> int", "def num_DLA_cores(self) -> str"),
    ("OnnxParser", "parse_from_file(self, model: str)", "parse_from_file(self, model: bytes)"),
    ("OnnxParser", "def get_error(self, index: int)", "def get_error(self)"),
    ("OnnxParser", "index: int) -> ParserError", "index: int) -> str"),
    ("OnnxParser", "def num_errors(self) -> int", "def num_errors(self) -> str"),
    (
        "BuilderConfig",
        "pool: MemoryPoolType, pool_size: int",
        "pool_size: int, pool: MemoryPoolType",
    ),
    ("BuilderConfig", "max_aux_streams: int", "max_aux_streams: str"),
    ("BuilderConfig", "set_flag(self, flag: BuilderFlag)", "set_flag(self)"),
    ("BuilderConfig", "set_flag(self, flag: BuilderFlag)", "set_flag(self, flag: DeviceType)"),
    ("BuilderConfig", "    def clear_flag(", "    def unset_flag("),
    ("BuilderConfig", "tactic_sources: int) -> bool", "tactic_sources: int) -> str"),
    ("BuilderConfig", "DLA_core: int", "dla_core: int"),
    (
        "BuilderConfig",
        "profiling_verbosity: ProfilingVerbosity",
        "profiling_verbosity: DeviceType",
    ),
    ("BuilderFlag", "TF32", "TF16"),
    ("Network", "def num_layers(self) -> int: ...", "def num_layers(self) -> Layer: ..."),
    ("Network", "    @property\n    def num_inputs(", "    def num_inputs("),
    ("ParserError", "def node(self) -> int", "def node(self) -> str"),
    (
        "OptimizationProfile",
        "min: Shape, opt: Shape, max: Shape",
        "opt: Shape, min: Shape, max: Shape",
    ),
    ("ProgressMonitor", "-> bool", "-> str"),
    ("Profiler", "layer_name: str, ms: float", "ms: float, layer_name: str"),
    ("Engine", "def num_io_tensors(self) -> int", "def num_bindings(self) -> int"),
    ("Engine", "-> list[Dims]", "-> Dims"),
    ("ExecutionContext", "def infer_shapes(self) -> list[str]", "def infer_shapes(self) -> bool"),
    ("ExecutionContext", "name: str, memory: int", "memory: int, name: str"),
    ("EngineInspector", "format: LayerInformationFormat", "format: DeviceType"),
    ("Runtime", "serialized_engine: Buffer", "serialized_engine: str"),
    ("HasComputeCapability", "num_compute_capabilities: int", "compute_capabilities: int"),
    ("HasEngineStat", "stat: EngineStat", "stat: EngineStat, index: int"),
    ("Module", "def OnnxParser(self, network: Network, ", "def OnnxParser(self, "),
    ("Module", "def get_plugin_registry(", "def plugin_registry("),
]


def _spoilt(protocol: str, there: str, instead: str) -> str:
    """The file with one Protocol changed."""
    node = OURS[protocol]
    lines = TEXT.splitlines(keepends=True)
    body = "".join(lines[node.lineno - 1 : node.end_lineno])
    assert there in body, (protocol, there)
    return "".join(
        (*lines[: node.lineno - 1], body.replace(there, instead, 1), *lines[node.end_lineno :])
    )


@pytest.fixture(scope="module")
def found(rtx, tmp_path_factory):
    """What mypy says to everything here, in one run: errors by file, as ``line: message``."""
    files = {
        "fits.py": conformance(rtx),
        "copy.py": TEXT,
        "fits_copy.py": conformance(rtx, "copy"),
        "module.py": f"import {rtx}, {BINDINGS} as b\nmodule: b.Module = {rtx}\n",
    }
    for number, (right, wrong) in enumerate(USES):
        files[f"right_{number}.py"] = f"{GIVEN}    {right}\n"
        files[f"wrong_{number}.py"] = f"{GIVEN}    {wrong}\n"
    for number, change in enumerate(WRONG):
        files[f"spoilt_{number}.py"] = _spoilt(*change)
        files[f"fits_{number}.py"] = conformance(rtx, f"spoilt_{number}")
    return mypy(tmp_path_factory.mktemp("mypy"), files, of_installed(rtx))


def test_every_protocol_fits_tensorrt_rtx(found):
    assert found["fits.py"] == found["fits_copy.py"] == found["module.py"] == []


def test_every_protocol_is_compared():
    compared = {*PROTOCOLS.values(), *PROBED, "Module"}
    assert compared == {*OURS} - {"Buffer"}
    assert not NOT_EVERYWHERE - {*OURS}


@pytest.mark.parametrize("number", range(len(USES)), ids=[wrong for _, wrong in USES])
def test_a_wrong_use_is_reported_and_the_right_one_is_not(number, found):
    line = GIVEN.count("\n") + 1
    assert found[f"right_{number}.py"] == []
    assert found[f"wrong_{number}.py"]
    assert all(error.startswith(f"{line}: ") for error in found[f"wrong_{number}.py"])


@pytest.mark.parametrize(
    "number", range(len(WRONG)), ids=[f"{name}-{text}" for name, _, text in WRONG]
)
def test_a_wrong_protocol_is_reported(number, found, rtx):
    protocol = WRONG[number][0]
    text = conformance(rtx, f"spoilt_{number}")
    assert found[f"spoilt_{number}.py"] == []  # a mistake that only the comparison can find
    lines = [int(error.partition(":")[0]) for error in found[f"fits_{number}.py"]]
    assert protocol in {protocol_of(text, line) for line in lines}


def _words(source):
    """What code names: attributes, functions that it defines, words in text but docstrings."""
    nodes = [*ast.walk(ast.parse(source))]
    prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from () if id(node) in prose else re.findall(r"\w+", node.value)


def test_every_name_is_used_by_the_adaptor():
    files = [file for file in SOURCE.parent.glob("*.py") if file != SOURCE]
    used = {word for file in files for word in _words(file.read_text())}
    unused = {
        f"{protocol}.{name}" for protocol in OURS for name in names_of(OURS[protocol]) - used
    }
    assert {each for each in unused if each.rpartition(".")[2] not in NAMED_NOWHERE} == set()
    assert not NAMED_NOWHERE & used, "an exception that is none any more"


def test_words_in_docstrings_and_comments_are_no_use():
    source = 'class A:\n    """one"""  # two\n    def three(self): return self.four("five six")\n'
    assert {*_words(source)} == {"three", "four", "five", "six"}


def test_the_protocols_name_only_what_every_version_has():
    assert not IN_ALL_FOUR & AT_BOTH_ENDS
    everywhere = {
        name: names_of(node)
        for name, node in OURS.items()
        if name not in NOT_EVERYWHERE and name not in PROBED
    }
    named = set().union(*everywhere.values())
    assert named - IN_ALL_FOUR - AT_BOTH_ENDS == INVISIBLE
    assert not (IN_ALL_FOUR | AT_BOTH_ENDS) - named, "a name that no Protocol has any more"


def test_the_probing_protocols_name_what_some_version_lacks():
    for name in PROBED:
        assert not names_of(OURS[name]) & (IN_ALL_FOUR | AT_BOTH_ENDS), name


@pytest.mark.parametrize(("class_name", "protocol"), [*PROTOCOLS.items(), ("", "Module")])
def test_tensorrt_rtx_has_every_name(class_name, protocol, rtx):
    there = importlib.import_module(rtx)
    for part in filter(None, class_name.split(".")):
        there = getattr(there, part)
    names = names_of(OURS[protocol]) - INVISIBLE
    assert {name for name in names if not hasattr(there, name)} == set()


@pytest.mark.parametrize(("protocol", "class_name"), PROBED.items())
def test_a_probe_finds_what_tensorrt_rtx_has(protocol, class_name, rtx):
    module = importlib.import_module(rtx)
    there = getattr(module, class_name) if class_name else module
    assert all(hasattr(there, name) for name in names_of(OURS[protocol]))
    if not class_name:
        assert isinstance(module, getattr(bindings, protocol))
        assert not isinstance(inspect, getattr(bindings, protocol))


def test_dims_become_a_tuple(rtx):
    assert tuple(importlib.import_module(rtx).Dims((1, -1, 3))) == (1, -1, 3)
