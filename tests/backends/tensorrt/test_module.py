"""The builder's log, its progress, and why a module cannot be used: no TensorRT is needed."""

import re
import sys
from types import ModuleType, SimpleNamespace

import pytest

from trtlab.backends.tensorrt import module as under_test
from trtlab.backends.tensorrt.module import HARMLESS, Log, import_trt, make_log
from trtlab.backends.tensorrt.monitor import Phases, make_monitor
from trtlab.backends.tensorrt.reasons import why_not_run
from trtlab.environment import GpuState
from trtlab.errors import BackendUnavailableError
from trtlab.formats.layer_dump import read_dump
from trtlab.record import BuilderMemory, BuilderMessage

ADA = GpuState((8, 9), 2**34, (13, 0))
NO_GPU = GpuState(reason="no NVIDIA driver is installed")


@pytest.fixture
def gpu(monkeypatch):
    """Puts a GPU, or none, into the machine: ``gpu(ADA)``."""

    def put(state):
        monkeypatch.setattr(under_test, "gpu_state", lambda: state)

    put(NO_GPU)
    return put


def taken(*messages):
    log = Log()
    for severity, text in messages:
        log.take(severity, text)
    return log


# What TensorRT-RTX 1.7.1 said, without a driver; the first two also stand in shared/data/aot.
NOISE = [
    ("INTERNAL_ERROR", "Thread context has not been set! Using global log stream."),
    ("WARNING", "getHardwareCompatibilityLevel() is unsupported in TensorRT-RTX."),
    (
        "ERROR",
        "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
        "/_src/common/dispatch/checkMacros.cpp:250 (cudaError 35: CUDA driver version is "
        "insufficient for CUDA runtime version))",
    ),
    ("INFO", "----------------------------------------------------------------"),
    ("INFO", "Input filename:   /home/somebody/models/m.onnx"),
    ("INFO", "ONNX IR version:  0.0.9"),
    ("INFO", "Opset version:    17"),
    ("INFO", "Producer name:    "),
    ("INFO", "Producer version: "),
    ("INFO", "Domain:           "),
    ("INFO", "Model version:    0"),
    ("INFO", "Doc string:       two\nlines"),
    ("ERROR", 'ModelImporter.cpp:140: While parsing node number 0 [Det -> "y"]:'),
    ("ERROR", "ModelImporter.cpp:142: --- Begin node ---\nNode name: only"),
    ("ERROR", "ModelImporter.cpp:143: --- End node ---"),
    (
        "ERROR",
        "ModelImporter.cpp:151: ERROR: onnxOpCheckers.cpp:1130 In function checkDet:\n[8] false",
    ),
]
NEAR_MISSES = [
    ("INTERNAL_ERROR", "Thread context has not been set! Using global log stream. Out of memory."),
    ("ERROR", "Thread context has not been set! Using global log stream."),
    ("WARNING", "setHardwareCompatibilityLevel() is unsupported in TensorRT-RTX."),
    ("ERROR", "getHardwareCompatibilityLevel() is unsupported in TensorRT-RTX."),
    ("ERROR", "Input filename:   m.onnx"),
    ("INFO", "-- 3 tactics were tried --"),
    ("INFO", "The Opset version: 17"),
    ("WARNING", "ModelImporter.cpp:140: While parsing node number 0"),
    ("ERROR", "ModelImporter.cpp:210: Failed to sort model topologically"),
    ("ERROR", "WeightsContext.cpp:203: Failed to open file: weights.bin"),
]


@pytest.mark.parametrize(("severity", "text"), NOISE)
def test_a_harmless_line_is_left_out(severity, text, gpu):
    assert taken((severity, text)).messages == []


@pytest.mark.parametrize(("severity", "text"), NEAR_MISSES)
def test_a_line_that_only_looks_harmless_is_kept(severity, text):
    kept = severity.lower().replace("_", "-")
    assert taken((severity, text)).messages == [BuilderMessage(kept, text)]


NO_DRIVER = "35: CUDA driver version is insufficient for CUDA runtime version"


@pytest.mark.parametrize("state", [NO_GPU, ADA], ids=["no GPU", "GPU"])
@pytest.mark.parametrize(
    "fault", ["2: out of memory", "700: an illegal memory access was encountered"]
)
def test_a_real_cuda_error_is_no_noise(fault, state, gpu):
    gpu(state)
    text = NOISE[2][1].replace(NO_DRIVER, fault)
    assert taken(("ERROR", text)).errors() == [text]


@pytest.mark.parametrize("place", ["checkMacros.cpp::catchCudaError", "x.cpp::f"])
def test_that_there_is_no_driver_is_noise_only_where_there_is_no_gpu(place, gpu):
    text = NOISE[2][1].replace("checkMacros.cpp::catchCudaError", place)
    assert NO_DRIVER in text
    assert taken(("ERROR", text)).errors() == []
    assert taken(("ERROR", f"{text} and more")).errors() == [f"{text} and more"]
    assert taken(("INTERNAL_ERROR", text)).errors() == [text]
    gpu(ADA)
    assert taken(("ERROR", text)).errors() == [text]


def test_no_rule_for_noise_is_without_a_line_that_it_is_for():
    for severity, pattern in HARMLESS:
        lines = [t for s, t in NOISE if s.lower().replace("_", "-") == severity]
        assert any(pattern.fullmatch(line) for line in lines), pattern.pattern


def recorded(file):
    """Yield severity and text of every message of a recorded log."""
    begin = re.compile(r"^\[(VERBOSE|INFO|WARNING|ERROR|INTERNAL_ERROR)\] ", re.MULTILINE)
    _, *parts = begin.split(file.read_text())
    return [(s, t.rstrip("\n")) for s, t in zip(parts[::2], parts[1::2], strict=True)]


def test_a_recorded_build_leaves_memory_layers_and_no_error(shared_data):
    messages = recorded(shared_data / "aot" / "m_DETAILED.log")
    log = taken(*messages)
    # The figures of the README beside the log.
    assert log.memory == BuilderMemory(
        activation=29_818_880,
        scratch=29_818_880,
        weights=96_128,
        host_persistent=80,
        device_persistent=0,
    )
    assert log.errors() == []
    assert len(read_dump(log.layers).layers) == 19
    assert {m.severity for m in log.messages} == {"info"}
    assert not any("m.onnx" in m.text for m in log.messages)
    assert "Engine generation completed in 0.389415 seconds." in [m.text for m in log.messages]
    assert len(messages) > 20 * len(log.messages)


def test_memory_is_the_largest_of_several_graphs_and_none_where_nothing_is_said():
    lines = [
        ("INFO", "Total Activation Memory: 300 bytes"),
        ("INFO", "Total Activation Memory: 500 bytes"),
        ("INFO", "Total Activation Memory: 200 bytes"),
        ("INFO", "Total Weights Memory: 0 bytes"),
    ]
    assert taken(*lines).memory == BuilderMemory(activation=500, weights=0)
    assert taken(("INFO", "Total Memory: 3 bytes")).memory is None
    # The same words for one layer, at a lower severity, are no total.
    assert taken(("VERBOSE", "Layer: {a} Max Scratch Memory: 7 bytes")).memory is None


def test_severities_are_told_apart_and_verbose_is_not_kept():
    names = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")
    log = taken(*((name, name.lower()) for name in names))
    assert [(m.severity, m.text) for m in log.messages] == [
        ("internal-error", "internal_error"),
        ("error", "error"),
        ("warning", "warning"),
        ("info", "info"),
    ]
    assert log.errors() == ["internal_error", "error"]


def test_a_chatty_builder_fills_no_memory_and_loses_no_figure():
    log = Log()
    for number in range(3000):
        log.take("WARNING", f"{number} {'x' * 10_000}")
    log.take("INFO", "Total Weights Memory: 5 bytes")
    assert len(log.messages) == 1000
    assert all(len(m.text) == 4000 for m in log.messages)
    assert log.memory.weights == 5


def test_errors_that_come_after_a_thousand_warnings_are_still_told():
    log = taken(*[("WARNING", f"number {n}") for n in range(1000)], ("ERROR", "out of memory"))
    assert log.errors() == ["out of memory"]


class Base:
    """A bound class whose own ``__init__`` must be called."""

    ready = False

    def __init__(self):
        self.ready = True


def test_the_logger_hands_on_what_it_is_told():
    log = make_log(SimpleNamespace(ILogger=Base))
    log.logger.log(SimpleNamespace(name="ERROR"), "no")
    assert log.logger.ready
    assert log.errors() == ["no"]


# Progress


def test_nested_phases_are_one_line_with_the_innermost_last():
    told = []
    phases = Phases(lambda *line: told.append(line))
    phases.start("Building engine", None, 6)
    phases.start("Cloning", "Building engine", 2)
    phases.step("Cloning", 0)
    phases.step("Cloning", 1)
    phases.finish("Cloning")
    phases.step("Building engine", 0)
    phases.start("Optimizing", "Building engine", 3)
    phases.start("Timing", "Optimizing", 4)
    phases.step("Optimizing", 0)
    phases.finish("Timing")
    phases.finish("Optimizing")
    phases.finish("Building engine")
    assert told == [
        ("Building engine", 0, 6),
        ("Building engine 0/6 › Cloning", 0, 2),
        ("Building engine 0/6 › Cloning", 1, 2),
        ("Building engine 0/6 › Cloning", 2, 2),
        ("Building engine", 0, 6),
        ("Building engine", 1, 6),
        ("Building engine 1/6 › Optimizing", 0, 3),
        ("Building engine 1/6 › Optimizing 0/3 › Timing", 0, 4),
        ("Building engine 1/6 › Optimizing 1/3 › Timing", 0, 4),
        ("Building engine 1/6 › Optimizing", 1, 3),
        ("Building engine", 1, 6),
    ]


def test_phases_that_nobody_knows_or_that_go_round_do_no_harm():
    told = []
    phases = Phases(lambda *line: told.append(line))
    phases.finish("never begun")
    phases.step("never begun", 3)
    assert told == []
    phases.start("inner", "never begun", 1)
    assert told == [("inner", 0, 1)]
    phases.start("a", "b", 1)
    phases.start("b", "a", 1)
    assert told[-1][1:] == (0, 1)
    assert len(told[-1][0]) < 200


def test_the_monitor_counts_and_never_asks_to_stop():
    told = []
    monitor = make_monitor(SimpleNamespace(IProgressMonitor=Base), lambda *line: told.append(line))
    assert monitor.ready
    monitor.phase_start("build", None, 2)
    assert monitor.step_complete("build", 0) is True
    assert monitor.step_complete("unknown", 9) is True
    monitor.phase_finish("build")
    assert told == [("build", 0, 2), ("build", 1, 2)]


# Modules


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Puts a module made of this text before any real one."""

    def put(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)

    loaded = {n: m for n, m in sys.modules.items() if n in ("tensorrt", "tensorrt_rtx")}
    yield put
    for name in ("tensorrt", "tensorrt_rtx"):
        sys.modules.pop(name, None)
    sys.modules.update(loaded)


@pytest.mark.parametrize(
    ("name", "extra"), [("tensorrt", ".[tensorrt]"), ("tensorrt_rtx", ".[rtx]")]
)
def test_a_module_that_is_not_there_is_named_with_its_extra(name, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(BackendUnavailableError, match=f"{name} is not installed") as caught:
        import_trt(name)
    assert extra in caught.value.hint
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(BackendUnavailableError, match="macOS") as caught:
        import_trt(name)
    assert "onnxruntime" in caught.value.hint


WORKS = """
asked = []
class ILogger:
    pass
def Builder(logger):
    pass
def init_libnvinfer_plugins(logger, namespace):
    asked.append((logger, namespace))
"""
LIBRARY = "libnvinfer.so.11: cannot open shared object file: No such file or directory"
NULL = "pybind11::init(): factory function returned nullptr"
BROKEN = f"""
class ILogger:
    pass
class error:
    name = "ERROR"
def Builder(logger):
    logger.log(error, "no device")
    raise TypeError({NULL!r})
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"raise ImportError({LIBRARY!r})", LIBRARY),
        (f"raise OSError({LIBRARY!r})", LIBRARY),
        ("raise RuntimeError('bad wheel')", "bad wheel"),
        ("import tensorrt_of_no_bindings", "its part tensorrt_of_no_bindings is not"),
    ],
    ids=["import", "system", "other", "part"],
)
@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_a_module_that_cannot_be_loaded_says_what_is_missing(name, text, reason, module):
    module(name, text)
    with pytest.raises(BackendUnavailableError, match=f"{name} is installed, but") as caught:
        import_trt(name)
    assert reason in caught.value.message
    assert "Install it again" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "state", "hint"),
    [
        ("tensorrt", NO_GPU, f"needs a GPU to build: {NO_GPU.reason}"),
        ("tensorrt", ADA, "must be of one version"),
        ("tensorrt_rtx", NO_GPU, "must be of one version"),
        ("tensorrt_rtx", ADA, "must be of one version"),
    ],
)
def test_a_module_that_makes_no_builder_says_why(name, state, hint, module, gpu):
    gpu(state)
    module(name, BROKEN)
    with pytest.raises(BackendUnavailableError, match=f"{name} makes no builder") as caught:
        import_trt(name)
    assert NULL in caught.value.message
    assert "It says: no device" in caught.value.message
    assert hint in caught.value.hint


def test_a_module_that_works_is_returned_with_its_own_plugins_registered(module):
    module("tensorrt_rtx", WORKS)
    found = import_trt("tensorrt_rtx")
    assert isinstance(found, ModuleType)
    assert found.__name__ == "tensorrt_rtx"
    ((logger, namespace),) = found.asked
    assert isinstance(logger, found.ILogger)
    assert namespace == ""


@pytest.mark.parametrize(
    ("capability", "rtx"),
    [
        ((7, 0), False),
        ((7, 2), False),
        ((7, 5), True),
        ((8, 0), True),
        ((8, 6), True),
        ((8, 7), False),
        ((8, 9), True),
        ((9, 0), False),
        ((10, 0), False),
        ((10, 3), False),
        ((11, 0), False),
        ((12, 0), True),
        ((12, 1), True),
        ((13, 0), True),
    ],
)
def test_what_gpus_run_engines(capability, rtx):
    gpu = GpuState(capability, 2**34, (13, 0))
    assert why_not_run("tensorrt", gpu) == ("", "")
    reason, hint = why_not_run("tensorrt_rtx", gpu)
    if rtx:
        assert (reason, hint) == ("", "")
    else:
        assert f"{capability[0]}.{capability[1]}" in reason
        assert ".[tensorrt]" in hint


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_without_a_gpu_the_drivers_reason_is_given(name):
    reason, hint = why_not_run(name, GpuState(reason="no NVIDIA driver is installed"))
    assert reason == "No NVIDIA driver is installed."
    assert "NVIDIA GPU" in hint
