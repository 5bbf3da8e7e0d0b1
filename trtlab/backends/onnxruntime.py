"""The ONNX Runtime backend: its optimised model is the plan, a session is the engine.

The dump is made at the chosen graph optimisation level and loaded with optimisations off: they
are in it already, and loading takes a tenth of the time. At levels *layout* and *all* it fits
this processor only, so plans are keyed by machine.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import mmap
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtlab.backends.base import (
    RECIPES,
    Abilities,
    Ability,
    BackendStatus,
    Bound,
    Built,
    Feeds,
    LayerTimes,
)
from trtlab.environment import gpu_state, version
from trtlab.errors import (
    BackendUnavailableError,
    BuildError,
    ExecutionError,
    ParseError,
    PlanError,
    TrtlabError,
    UnsupportedError,
)
from trtlab.formats import onnxruntime_profile
from trtlab.record import BuilderMessage, EngineLayer, LayerTensor, Severity
from trtlab.spec import BuildConfig, RunConfig
from trtlab.worker import Progress

if TYPE_CHECKING:
    import numpy as np

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}
_PROFILE_WARM_UP = 3
_CUDA_HINT = (
    "nvidia-smi must show a GPU; pip install 'onnxruntime-gpu[cuda,cudnn]' brings the libraries."
)

# The dump at *all* always warns that it may only suit this machine's processor. That is how it is
# used here (plans are keyed by machine), so the warning tells the user nothing.
_HARMLESS = re.compile(
    r"Serializing optimized model with Graph Optimization level greater than ORT_ENABLE_EXTENDED"
)
_WARNING = re.compile(r"\[([WEF]):onnxruntime:[^\]]*\]\s*(.*)")
_SEVERITIES: dict[str, Severity] = {"W": "warning", "E": "error", "F": "internal-error"}

_YES = Ability(True)
_NO_FP8 = Ability(
    False, "ONNX Runtime emulates FP8 in float arithmetic.", "Run with TensorRT on a GPU."
)
# Seen with ONNX Runtime 1.31 on x86-64 and an H200. On the CPU initialisers of an FP16 graph are
# widened to float32 and computed there, BF16 Conv is rejected (INVALID_GRAPH), and so is FP8 Q/DQ
# around Conv at level *all*; on CUDA FP8 Q/DQ runs as float arithmetic.
_NOT_ON_CPU = {
    "fp16": Ability(
        False,
        "ONNX Runtime's CPU widens FP16 to FP32, so its speed would not be FP16's.",
        "Run on a GPU (provider cuda).",
    ),
    "bf16": Ability(
        False,
        "ONNX Runtime's CPU computes too little in BF16 (no convolution, for one).",
        "Build it with TensorRT, and run that on a GPU.",
    ),
}
_NOT_ON_CUDA = {
    "bf16": Ability(
        False,
        "ONNX Runtime has no BF16 convolution and batch normalisation on CUDA.",
        "Run with TensorRT on a GPU.",
    ),
}


class Backend:
    """Builds optimised models and runs them on the CPU or, with onnxruntime-gpu, on CUDA."""

    def __init__(self, name: str) -> None:
        self.name = name

    def status(self) -> BackendStatus:
        """Say what can be done here, by importing the library and asking for its providers."""
        try:
            ort = _import()
        except BackendUnavailableError as error:
            no = Ability(False, error.message, error.hint)
            return BackendStatus(self.name, None, (), no, {r: Abilities(no, no) for r in RECIPES})
        # Of all that this ONNX Runtime was built with, those that are used here and have a device.
        found = [p for p in ort.get_available_providers() if p in _PROVIDERS.values()]
        cuda = _PROVIDERS["cuda"] in found and gpu_state().usable
        targets = tuple(n for n, p in _PROVIDERS.items() if p in found and (cuda or n != "cuda"))
        provider = BuildConfig(backend=self.name, provider="cuda" if cuda else "cpu")
        abilities = {recipe: self.ability(recipe, provider) for recipe in RECIPES}
        distribution = version("onnxruntime-gpu") or version("onnxruntime")
        return BackendStatus(
            self.name, distribution or str(ort.__version__), targets, _YES, abilities
        )

    def ability(self, recipe: str, config: BuildConfig) -> Abilities:
        """Say what the provider computes in; see ``base.Backend.ability``."""
        parts = [_ability(part, config.provider) for part in recipe.split("+")]
        cannot_build = [p.build for p in parts if not p.build.can]
        cannot_run = [p.run for p in parts if not p.run.can]
        return Abilities((cannot_build or [_YES])[0], (cannot_run or [_YES])[0])

    def build(
        self, model: Path, is_network: bool, config: BuildConfig, folder: Path, progress: Progress
    ) -> Built:
        """Optimise ``model`` and dump the result; see ``base.Backend.build``."""
        if is_network:
            raise UnsupportedError(
                "ONNX Runtime takes ONNX models, no network functions.",
                hint="Choose backend tensorrt or tensorrt_rtx.",
            )
        ort = _import()
        target = folder / "optimised.onnx"
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(target)
        level = _LEVELS[str(config.optimization_level or "all")]
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        progress("optimise", 0, 2)
        begin = time.perf_counter()
        with _errors(BuildError, model.name):
            session = _session(ort, model, options, config.provider, _to_leave_out(model))
        seconds = time.perf_counter() - begin
        del session
        if not target.is_file():
            raise BuildError(
                f"ONNX Runtime wrote no optimised model of {model.name}.",
                hint="Its weights may exceed the 2 GiB that one file can hold.",
            )
        progress("read layers", 1, 2)
        layers = read_layers(target)
        progress("read layers", 2, 2)
        return Built(str(target), seconds, layers)

    def messages(self, words: str) -> tuple[BuilderMessage, ...]:
        """Pick warnings and errors out of ONNX Runtime's log; its Python API has no callback."""
        found = (match for line in words.splitlines() if (match := _WARNING.search(line)))
        return tuple(
            BuilderMessage(_SEVERITIES[match[1]], match[2])
            for match in found
            if not _HARMLESS.search(match[2])
        )

    @contextlib.contextmanager
    def load(self, plan: Path, config: BuildConfig, run: RunConfig) -> Iterator[_Engine]:
        """Load a dumped model as it is; see ``base.Backend.load``."""
        ort = _import()
        with _errors(PlanError, plan.name[:12]):
            session = _session(ort, plan, _run_options(ort, config, run), config.provider)
        with _errors(ExecutionError, "the model"):  # what a call raises while it is measured
            yield _Engine(ort, session)

    def layer_times(
        self,
        plan: Path,
        config: BuildConfig,
        run: RunConfig,
        feeds: Feeds,
        runs: int,
        progress: Progress,
    ) -> LayerTimes:
        """Run a session with its profiler on; see ``base.Backend.layer_times``."""
        ort = _import()
        with tempfile.TemporaryDirectory() as folder:
            options = _run_options(ort, config, run)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            with _errors(PlanError, plan.name[:12]):
                session = _session(ort, plan, options, config.provider)
            bound = _Engine(ort, session).bind(feeds)
            # Binding ran the model once already.
            with _errors(ExecutionError, "the model"):
                for index in range(_PROFILE_WARM_UP - 1 + runs):
                    progress("profile", index, _PROFILE_WARM_UP - 1 + runs)
                    bound.call()
            file = Path(session.end_profiling())
            times = onnxruntime_profile.read(file, skip_runs=_PROFILE_WARM_UP)
        if any(y.provider == _PROVIDERS["cuda"] for y in times.layers):
            # The GPU's arena holds weights and cuDNN's work areas as well: no activation peak.
            return LayerTimes("host-launch", times.layers, times.runs_ns, None, None)
        repacked, peak = times.arena_resident_bytes, times.arena_peak_bytes
        activations = None
        if repacked is not None and peak is not None:
            # Bound outputs lie in the arena too.
            activations = max(0, peak - repacked - bound.output_bytes)
        return LayerTimes("cpu", times.layers, times.runs_ns, repacked, activations)


class _Engine:
    """A session whose calls have their buffers bound: half the cost of ``session.run``."""

    def __init__(self, ort: Any, session: Any) -> None:
        self._ort = ort
        self._session = session
        self.provider: str = session.get_providers()[0]
        self._device = "cuda" if self.provider == _PROVIDERS["cuda"] else "cpu"

    def bind(self, feeds: Feeds) -> Bound:
        """Run once to learn the outputs' shapes, then bind outputs that are allocated for good.

        Outputs whose shape depends on the data are allocated anew in each call.
        """
        session, ort_value = self._session, self._ort.OrtValue
        inputs = {n: ort_value.ortvalue_from_numpy(a, self._device, 0) for n, a in feeds.items()}
        names = [o.name for o in session.get_outputs()]
        axes = {d for i in session.get_inputs() for d in i.shape if isinstance(d, str)}
        settled = {
            o.name
            for o in session.get_outputs()
            if all(isinstance(d, int) or d in axes for d in o.shape)
        }
        probe = session.io_binding()
        for name, value in inputs.items():
            probe.bind_ortvalue_input(name, value)
        for name in names:
            probe.bind_output(name, self._device, 0)
        with _errors(ExecutionError, "the model"):
            begin = time.perf_counter_ns()
            session.run_with_iobinding(probe)
            first_call_ns = time.perf_counter_ns() - begin
            binding = session.io_binding()
            for name, value in inputs.items():
                binding.bind_ortvalue_input(name, value)
            # What the probe allocated is of the right shape: keep it as the place of the results.
            outputs = probe.get_outputs()
            for name, value in zip(names, outputs, strict=True):
                if value.is_tensor() and name in settled:
                    binding.bind_ortvalue_output(name, value)
                else:
                    binding.bind_output(name, self._device, 0)
        size = sum(v.tensor_size_in_bytes() for v in outputs if v.is_tensor())
        run = session.run_with_iobinding
        return Bound(functools.partial(run, binding), size, first_call_ns)

    def outputs(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Run once and return the outputs by name."""
        with _errors(ExecutionError, "the model"):
            arrays = self._session.run(None, dict(feeds))
        return dict(zip((o.name for o in self._session.get_outputs()), arrays, strict=True))


def _ability(recipe: str, provider: str) -> Abilities:
    run = (_NOT_ON_CUDA if provider == "cuda" else _NOT_ON_CPU).get(recipe, _YES)
    run = _NO_FP8 if recipe == "fp8" else run
    return Abilities(run if recipe in ("bf16", "fp8") else _YES, run)


def _import() -> Any:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise BackendUnavailableError(
            f"ONNX Runtime cannot be loaded: {error}.", hint="pip install -e '.[cpu]'"
        ) from error
    ort.set_default_logger_severity(2)
    return ort


def _run_options(ort: Any, config: BuildConfig, run: RunConfig) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if run.threads is not None:
        options.intra_op_num_threads = run.threads
    if run.activation_cap_bytes is not None:
        if config.provider == "cuda":
            raise UnsupportedError(
                "The activation cap limits the CPU's arena; activations on CUDA lie in the GPU's.",
                hint="Leave the cap out, or build the plan for the CPU.",
            )
        # Registered for the whole process; a process runs one configuration, so that is right.
        memory = ort.OrtMemoryInfo(
            "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
        )
        # 1: grow by what is requested, not to the next power of two, which would blur the cap.
        limit = ort.OrtArenaCfg(run.activation_cap_bytes, 1, -1, -1)
        ort.create_and_register_allocator(memory, limit)
        options.add_session_config_entry("session.use_env_allocators", "1")
    return options


def _to_leave_out(model: Path) -> list[str]:
    """Return the optimisations that do a quantised model harm, seen with ONNX Runtime 1.31.

    Joining equal subexpressions makes one of the DequantizeLinear that each reader has for
    itself, and the readers then stay in float: resnet50 in INT8 took 36.6 ms with it and 19.0 ms
    without (one thread). Quantising biases goes wrong without a warning where scales are FP16 or
    numbers FP8: resnet50's INT8+FP16 outputs then have nothing to do with the model's.
    """
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        if text.find(b"DequantizeLinear") == -1:
            return []
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    types = {t.name: t.data_type for t in graph.initializer}
    plain = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    odd = any(
        types.get(name, plain[0]) not in plain
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        for name in node.input[1:]
    )
    return ["CommonSubexpressionElimination", *["WeightBiasQuantization"] * odd]


def _session(
    ort: Any, path: Path, options: Any, provider: str, without: Sequence[str] = ()
) -> Any:
    wanted = _PROVIDERS[provider]
    if wanted not in ort.get_available_providers():
        raise BackendUnavailableError(
            f"This ONNX Runtime has no {wanted}.",
            hint="pip install -e '.[gpu]' in an environment without the cpu extra.",
        )
    said = io.StringIO()
    settings: dict[str, str] = {}
    if provider == "cuda":
        # On by default, it rounds FP32 inputs to 10 bits: twice as fast on an H200 and no FP32.
        settings["use_tf32"] = "0"
        # CUDA and cuDNN from pip's nvidia packages lie where the loader does not look.
        with contextlib.redirect_stdout(said):
            ort.preload_dlls()
    # Its fallback would repeat a call that fails on CUDA on the CPU; an error is wanted.
    session = ort.InferenceSession(
        str(path),
        options,
        providers=[(wanted, settings)],
        enable_fallback=0,
        disabled_optimizers=list(without),
    )
    if session.get_providers()[0] != wanted:
        # A CUDA library that fails to load makes it fall back all the same, without an error.
        raise BackendUnavailableError(
            f"ONNX Runtime fell back from {wanted} to {session.get_providers()[0]}.",
            hint=_CUDA_HINT,
            details=said.getvalue(),
        )
    return session


def read_layers(file: Path) -> tuple[EngineLayer, ...]:
    """Return the layers of an optimised model that ONNX Runtime dumped: its nodes."""
    import onnx

    from trtlab.model.graphs import graph_from_proto

    graph = graph_from_proto(onnx.load(file, load_external_data=False))
    return tuple(
        EngineLayer(
            name=node.name,
            type=node.op,
            inputs=tuple(
                LayerTensor.of(graph.tensors[n]) for n in node.inputs if n in graph.tensors
            ),
            outputs=tuple(
                LayerTensor.of(graph.tensors[n]) for n in node.outputs if n in graph.tensors
            ),
            domain=node.domain,
            details={key: json.dumps(value) for key, value in node.attributes.items()},
        )
        for node in graph.nodes
    )


_CAP = re.compile(r"Available memory of (\d+) is smaller than requested bytes of (\d+)")
_NODE = re.compile(r"node\. Name:'([^']+)'")
_NO_CUDA = re.compile(r"CUDA failure \d+: [^;]*[^;\s]|cuDNN is unavailable.*")


@contextlib.contextmanager
def _errors(kind: type[TrtlabError], what: str) -> Iterator[None]:
    """Turn ONNX Runtime's exceptions, which it makes in C++, into ours."""
    try:
        yield
    except TrtlabError:
        raise
    except Exception as error:
        text = str(error)
        name = type(error).__name__
        if "onnxruntime" not in type(error).__module__ and not isinstance(error, RuntimeError):
            raise
        if cap := _CAP.search(text):
            node = _NODE.search(text)
            raise ExecutionError(
                f"The activation cap is too small: {int(cap[2]):,} bytes were asked for"
                + (f" by node {node[1]}" if node else "")
                + f", {int(cap[1]):,} were left.",
                hint="Raise the activation cap or lower the batch.",
                details=text,
            ) from error
        if any(t in text for t in ("bad_alloc", "Failed to allocate memory", "CUDA failure 2:")):
            raise MemoryError(text) from error
        cuda = _NO_CUDA.search(text)
        if cuda and (kind is not ExecutionError or "cuDNN" in cuda[0]):
            raise BackendUnavailableError(
                f"CUDA cannot be used here: {cuda[0]}.", hint=_CUDA_HINT, details=text
            ) from error
        if name == "NotImplemented":
            raise UnsupportedError(
                f"ONNX Runtime cannot run {what}: {_first_line(text)}",
                hint="The operator has no kernel for these types here.",
                details=text,
            ) from error
        if kind is BuildError and name in (
            "InvalidGraph",
            "Fail",
            "InvalidProtobuf",
            "NoSuchFile",
        ):
            kind = ParseError
        raise kind(
            f"ONNX Runtime refused {what}: {_first_line(text)}",
            hint="The details hold its whole message.",
            details=text,
        ) from error


def _first_line(text: str) -> str:
    # They begin with a code and its name, between colons that have spaces around them.
    tail = text.split(" : ", 3)[-1].strip()
    return tail.splitlines()[0] if tail else text
