"""The two modules that TensorRT comes as: import, what they can do here, and their log.

Features are probed on the module, never decided by its version.
"""

from __future__ import annotations

import importlib
import re
from typing import cast

from trtlab.backends.tensorrt import bindings as api
from trtlab.backends.tensorrt.reasons import EXTRAS, why_missing
from trtlab.environment import gpu_state
from trtlab.errors import BackendUnavailableError
from trtlab.formats.layer_dump import BEGINNINGS
from trtlab.record import BuilderMemory, BuilderMessage, Severity


def import_trt(name: str) -> api.Module:
    """Return the module ``tensorrt`` or ``tensorrt_rtx``, ready to build.

    Raises:
        BackendUnavailableError: it is not installed, its libraries cannot be loaded, or it makes
            no builder; says which.
    """
    again = f"Install it again: pip install -e '.[{EXTRAS[name]}]'"
    try:
        trt = cast("api.Module", importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name == name:
            raise _missing(name) from error
        raise BackendUnavailableError(
            f"{name} is installed, but its part {error.name} is not.", hint=again
        ) from error
    except Exception as error:
        # The name of a library that is missing is in the message.
        raise BackendUnavailableError(
            f"{name} is installed, but cannot be loaded: {error}.", hint=again
        ) from error
    log = make_log(trt)
    try:
        trt.Builder(log.logger)
    except Exception as error:
        # pybind's TypeError for a factory that returned NULL.
        said = "".join(f" It says: {text}" for text in log.errors()[:1])
        reason = gpu_state().reason
        raise BackendUnavailableError(
            f"{name} makes no builder: {error}.{said}",
            hint=f"Full TensorRT needs a GPU to build: {reason}."
            if name == "tensorrt" and reason
            else f"{again}; bindings and libraries must be of one version.",
        ) from error
    # The parser and plans look for TensorRT's own plugins in the registry.
    trt.init_libnvinfer_plugins(log.logger, "")
    return trt


def _missing(name: str) -> BackendUnavailableError:
    reason, hint = why_missing(name)
    return BackendUnavailableError(reason, hint=hint)


_SEVERITIES: dict[str, Severity] = {
    "INTERNAL_ERROR": "internal-error",
    "ERROR": "error",
    "WARNING": "warning",
    "INFO": "info",
}

_HEADER = (
    "-+",
    "Input filename: .*",
    "(ONNX IR|Opset|Producer|Model) version: .*",
    "(Producer name|Domain|Doc string): [\\s\\S]*",
)

HARMLESS: tuple[tuple[str, re.Pattern[str]], ...] = (
    # Once in many builds of TensorRT-RTX 1.7, which then go well: its log context is set later.
    ("internal-error", re.compile(r"Thread context has not been set! Using global log stream\.")),
    # Said by TensorRT-RTX of every build: it has only one level, and nobody asked for another.
    (
        "warning",
        re.compile(r"getHardwareCompatibilityLevel\(\) is unsupported in TensorRT-RTX\."),
    ),
    # The parser's header repeats what the model's record says, with a path of this machine.
    ("info", re.compile("|".join(_HEADER))),
    # The parser frames each of its errors, which are kept with node and reason, in these lines.
    ("error", re.compile(r"ModelImporter\.cpp:\d+: (While parsing node|---|ERROR: )[\s\S]*")),
)
"""Severity and whole text of messages that tell a user nothing, each with its reason."""

_MEMORY = {
    "Total Activation Memory": "activation",
    "Max Scratch Memory": "scratch",
    "Total Weights Memory": "weights",
    "Total Host Persistent Memory": "host_persistent",
    "Total Device Persistent Memory": "device_persistent",
}
_MEMORY_LINE = re.compile(rf"({'|'.join(_MEMORY)}): (\d+) bytes")
_LONGEST_MESSAGE = 4000
_MOST_MESSAGES = 1000


class Log:
    """What a builder, parser or runtime said; ``logger`` is what they are given.

    TensorRT allows one logger in a process; a worker does one job, so that there is one.
    """

    def __init__(self) -> None:
        self.logger: api.Logger
        self.messages: list[BuilderMessage] = []
        self.layers = ""
        self._memory: dict[str, int] = {}

    def take(self, severity: str, text: str) -> None:
        """Take one message. Called thousands of times a build: most leave at the first test."""
        kept = _SEVERITIES.get(severity)
        if kept is None:
            # VERBOSE: kept is only the one message that lists the layers.
            if text.startswith(BEGINNINGS):
                self.layers = text
            return
        if line := _MEMORY_LINE.search(text):
            # Said once for each graph that is built; the engine needs the largest.
            name = _MEMORY[line[1]]
            self._memory[name] = max(int(line[2]), self._memory.get(name, 0))
        # Errors are few and must not be crowded out; a warning can be said for every node.
        room = kept in ("error", "internal-error") or len(self.messages) < _MOST_MESSAGES
        if room and not _is_harmless(kept, text):
            self.messages.append(BuilderMessage(kept, text[:_LONGEST_MESSAGE]))

    @property
    def memory(self) -> BuilderMemory | None:
        """The builder's figures; None if it gave none."""
        return BuilderMemory(**self._memory) if self._memory else None

    def errors(self) -> list[str]:
        """Return the texts of errors, first ones first."""
        return [m.text for m in self.messages if m.severity in ("error", "internal-error")]


_NO_DRIVER = re.compile(
    r"\[\w+\.cpp::\w+::\d+\] Error Code 1: Cuda Runtime \(In \w+ at .*"
    r"\(cudaError 35: CUDA driver version is insufficient for CUDA runtime version\)\)"
)
"""Follows every real error where there is no GPU: TensorRT then asks CUDA for an error too."""


def _is_harmless(severity: Severity, text: str) -> bool:
    if severity == "error" and _NO_DRIVER.fullmatch(text):
        return not gpu_state().usable  # with one, it is the reason for what fails
    return any(severity == s and pattern.fullmatch(text) for s, pattern in HARMLESS)


def make_log(trt: api.Module) -> Log:
    """Return a new log with a logger of this module's kind."""
    log = Log()

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]  # known at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: api.Severity, msg: str) -> None:
            log.take(severity.name, msg)

    log.logger = Logger()
    return log
