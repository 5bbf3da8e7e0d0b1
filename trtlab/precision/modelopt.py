"""NVIDIA's ModelOpt as a converter, in an environment of its own.

It pins older versions of onnx and ONNX Runtime than trtlab uses, and weighs 6.5 GB with PyTorch,
so it is never installed beside trtlab: ``make modelopt`` gives it a folder. ``modelopt_script.py``
runs there, asked by a line of JSON on its stdin and answering in lines of JSON on a pipe of its
own. It ends when its stdin closes, and is killed with the process group of the worker whose job
called ``convert``.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Literal, cast

from trtlab.codec import from_json
from trtlab.errors import (
    BackendUnavailableError,
    ExecutionError,
    SpecError,
    TrtlabError,
    WorkerCrashed,
)
from trtlab.precision.modelopt_script import CAST_BATCHES
from trtlab.worker import Progress, silent

ModelOptRecipe = Literal["fp16", "bf16", "int8", "fp8", "int4-weights", "int8+fp16", "fp8+fp16"]

HINT = "make modelopt"
SIZE = "6.5 GB"
"""What the environment takes on disk: ModelOpt 0.47 with PyTorch and CUDA libraries."""

CALIBRATORS = ("minmax", "entropy")
"""The calibrators that ModelOpt has for INT8 and FP8."""

_CAST = ("fp16", "bf16")
_SCRIPT = Path(__file__).with_name("modelopt_script.py")
_WORDS_KEPT = 16 * 1024
_END_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptRequest:
    """One conversion.

    Attributes:
        source: The ONNX file; it is only read.
        target: The ONNX file to write. Where the source's weights lie in files beside it, so do
            the target's: in one whose name begins with the target's.
        recipe: FP16 and BF16 by AutoCast, the others by its quantisation.
        samples: By input name the ``.npy`` file with its samples, [samples, ...]; None is no data.
        external_files: Files with the source's weights, relative to its folder.
        keep_nodes: Names of nodes that stay in FP32.
        keep_ops: Operators that stay in FP32.
        keep_io: Whether inputs and outputs keep their types.
        calibrator: One of ``CALIBRATORS``, for INT8 and FP8.
    """

    source: str
    target: str
    recipe: ModelOptRecipe
    samples: Mapping[str, str] | None = None
    external_files: tuple[str, ...] = ()
    keep_nodes: tuple[str, ...] = ()
    keep_ops: tuple[str, ...] = ()
    keep_io: bool = True
    calibrator: str = "minmax"

    def __post_init__(self) -> None:
        """Refuse what ModelOpt cannot do with this recipe."""
        if self.recipe in _CAST or self.recipe == "int4-weights":
            return
        if self.calibrator not in CALIBRATORS:
            raise SpecError(
                f"ModelOpt has no calibrator {self.calibrator!r}.",
                hint=f"Choose {' or '.join(CALIBRATORS)}, or convert without ModelOpt.",
            )
        if not self.samples:
            raise SpecError(
                f"{self.recipe} by ModelOpt needs calibration data.",
                hint="Give samples of what the model will see.",
            )

    @property
    def doubts(self) -> tuple[str, ...]:
        """What to know before trusting the result: where ModelOpt does not do as asked."""
        found = []
        if self.recipe in _CAST and not self.samples:
            found.append("AutoCast chose the nodes by random inputs from -1 to 1")
        elif self.recipe in _CAST:
            found.append(f"AutoCast looked at no more than the first {CAST_BATCHES} batches")
        elif not self.keep_io:
            found.append("ModelOpt's quantisation always keeps the types of inputs and outputs")
        if self.keep_nodes and "+fp16" in self.recipe:
            found.append("nodes to keep are not quantised, but ModelOpt turns them to FP16")
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptResult:
    """What became of a request.

    Attributes:
        version: ModelOpt's.
        call: What was called there, with the settings that were not left alone.
        seconds: Conversion with calibration; measured.
        start_seconds: Importing ModelOpt before that.
        peak_rss_bytes: Peak resident memory of its process, None where unknown.
        mended: Nodes that were put right afterwards: see ``mend_block_axes`` in the script.
        doubts: See ``ModelOptRequest.doubts``.
    """

    version: str
    call: str
    seconds: float
    start_seconds: float
    peak_rss_bytes: int | None
    mended: int
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Reply:
    """One line from the script; ``kind`` is progress, result, missing or error."""

    kind: Literal["progress", "result", "missing", "error"]
    phase: str = ""
    done: int = 0
    total: int = 0
    call: str = ""
    seconds: float = 0.0
    start_seconds: float = 0.0
    peak_rss_bytes: int | None = None
    mended: int = 0
    message: str = ""
    details: str = ""


def folder() -> Path:
    """Return where ModelOpt's environment is or would be.

    ``TRTLAB_MODELOPT`` names it; without that it is ``.modelopt`` in the clone.
    """
    named = os.environ.get("TRTLAB_MODELOPT")
    return Path(named).absolute() if named else Path(__file__).parents[2] / ".modelopt"


def environment() -> Path | None:
    """Return the interpreter of ModelOpt's environment, or None where ModelOpt is not there."""
    for place in ("bin/python", "Scripts/python.exe"):
        python = folder() / place
        if python.exists() and version() is not None:
            return python
    return None


def version() -> str | None:
    """Return the installed version of ModelOpt, read off its metadata; nothing is imported."""
    places = [*folder().glob("lib/python3*/site-packages"), folder() / "Lib" / "site-packages"]
    found = metadata.distributions(name="nvidia-modelopt", path=[str(p) for p in places])
    return next((distribution.version for distribution in found), None)


def convert(request: ModelOptRequest, progress: Progress = silent) -> ModelOptResult:
    """Convert a model in ModelOpt's environment. To be called inside a worker's job.

    The target is written whole or not at all; the environment's process has ended on return.

    Raises:
        BackendUnavailableError: ModelOpt is not installed here, or cannot be imported.
        WorkerCrashed: its process ended on its own.
        ExecutionError: ModelOpt failed; the details hold its last words.
    """
    python, found = environment(), version()
    if python is None or found is None:
        raise BackendUnavailableError(
            f"{request.recipe} by ModelOpt: there is no ModelOpt in {folder()}.",
            hint=f"{HINT}  ({SIZE}, in an environment of its own)",
        )
    source, target = Path(request.source), Path(request.target)
    with tempfile.TemporaryDirectory(prefix=".modelopt-", dir=target.parent) as scratch:
        # ModelOpt writes its intermediate files beside the model that it reads.
        copied = Path(scratch, "source", "model.onnx")
        for name in request.external_files:
            _copy(source.parent / name, copied.parent / name)
        _copy(source, copied)
        made = Path(scratch, "made")
        made.mkdir()
        asked = asdict(request) | {
            "source": str(copied),
            "target": str(made / target.name),
            "folder": scratch,
            "external": bool(request.external_files),
        }
        del asked["external_files"]
        reply = _ask(python, asked, scratch, progress)
        if not (made / target.name).is_file():
            raise ExecutionError(
                f"ModelOpt ended without an error, and wrote no {request.recipe} model.",
                hint="Convert without ModelOpt.",
            )
        # The model last: it is whole when it is there. What else lies there was in between.
        for path in sorted(made.glob(f"{glob.escape(target.name)}*"), reverse=True):
            path.replace(target.parent / path.name)
    return ModelOptResult(
        version=found,
        call=reply.call,
        seconds=reply.seconds,
        start_seconds=reply.start_seconds,
        peak_rss_bytes=reply.peak_rss_bytes,
        mended=reply.mended,
        doubts=request.doubts,
    )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _ask(python: Path, asked: dict[str, object], scratch: str, progress: Progress) -> _Reply:
    """Run the script and return its result."""
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb") as replies,
        tempfile.TemporaryFile() as words,
        _process(python, writing, scratch, words) as process,
    ):
        # A child that dies at once breaks the pipe; its end is found when replies are read.
        with contextlib.suppress(BrokenPipeError):
            stdin = cast("IO[bytes]", process.stdin)
            stdin.write(json.dumps(asked).encode() + b"\n")
            stdin.flush()
        for line in replies:
            try:
                reply = from_json(line, _Reply)
            except ValueError:
                break  # cut off: how the process ended says more
            if reply.kind == "result":
                return reply
            if reply.kind != "progress":
                raise _failure(reply, asked, words)
            progress(reply.phase, reply.done, reply.total)
        raise _crash(process, words)


@contextlib.contextmanager
def _process(
    python: Path, writing: int, scratch: str, words: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the script; leaving the context leaves no process behind.

    It stays in this process's group, so that whoever kills the worker's group kills it too.
    """
    try:
        # -I: neither the current folder, nor PYTHONPATH, nor packages of the user are imported.
        process = subprocess.Popen(
            [str(python), "-I", str(_SCRIPT), str(writing)],
            cwd=scratch,
            stdin=subprocess.PIPE,
            stdout=words,
            stderr=subprocess.STDOUT,
            pass_fds=(writing,),
        )
    except OSError as error:
        raise BackendUnavailableError(
            f"The interpreter of ModelOpt's environment cannot be started: {error}.",
            hint=f"Remove {folder()}, then: {HINT}",
        ) from error
    finally:
        os.close(writing)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(BrokenPipeError):
            cast("IO[bytes]", process.stdin).close()


def _failure(reply: _Reply, asked: dict[str, object], words: IO[bytes]) -> TrtlabError:
    details = f"{_last(words)}\n{reply.details}".strip()
    if reply.kind == "missing":
        return BackendUnavailableError(
            f"ModelOpt in {folder()} is not complete: {reply.message}.",
            hint=f"Remove that folder, then: {HINT}",
            details=details,
        )
    return ExecutionError(
        f"ModelOpt could not convert the model to {asked['recipe']}: {reply.message}",
        hint="Convert without ModelOpt; the details hold its last words.",
        details=details,
    )


def _crash(process: subprocess.Popen[bytes], words: IO[bytes]) -> WorkerCrashed:
    try:
        code = process.wait(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        return WorkerCrashed(
            "ModelOpt's process stopped answering in the middle; it was killed.",
            hint="The details hold its last words.",
            details=_last(words),
        )
    if code == -signal.SIGKILL and sys.platform != "win32":
        return WorkerCrashed(
            "ModelOpt's process was killed (signal 9), often for want of memory.",
            hint="Try a smaller model or fewer samples, or close other programs.",
            details=_last(words),
        )
    how = f"exit code {code}" if code >= 0 else f"signal {-code}"
    return WorkerCrashed(
        f"ModelOpt's process ended without a result ({how}).",
        hint="The details hold its last words.",
        details=_last(words),
    )


def _last(words: IO[bytes]) -> str:
    words.seek(max(0, words.seek(0, os.SEEK_END) - _WORDS_KEPT))
    return words.read().decode(errors="replace")
