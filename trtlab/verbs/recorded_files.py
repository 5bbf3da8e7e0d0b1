"""The files given to ``read`` → what each of them tells, by its content.

Nothing in a file is run; ONNX models are opened in a worker.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtlab import worker
from trtlab.errors import MismatchError, ModelError, RecordError, SpecError
from trtlab.formats import bundle, onnxruntime_profile
from trtlab.formats.builder_log import read_log
from trtlab.formats.engine_inspector import layers_of
from trtlab.formats.engine_layers import LayersRead
from trtlab.formats.json_file import decoded, text_of
from trtlab.formats.onnxruntime_profile import NodeTimes
from trtlab.formats.run_facts import RunFacts, facts_of
from trtlab.formats.trtexec_profile import is_profile, read_profile, read_profile_lines
from trtlab.formats.trtexec_times import TimesRead, is_times, read_times
from trtlab.model.printing import printable
from trtlab.model.types import Tensor
from trtlab.record import (
    Accuracy,
    EngineLayer,
    LayerProfile,
    Measurement,
    Plan,
    RunLine,
    WorkspaceCurve,
)
from trtlab.store import read_record
from trtlab.units import text_from_bytes
from trtlab.worker import Progress

MAX_BYTES = 32 * 2**20
"""A larger JSON or text file is refused before it is read. Recorded ones take up to 3 MB; what
JSON holds takes up to 45 times its bytes in memory."""

MAX_FILES = 100
"""Most files in a folder that is read."""

_NAME_ENDINGS = re.compile(
    r"(?:\.(?:graph|profile|timing|metadata|build|engine|plan|trt|onnx|json|log|txt))+$"
)
_JSON = re.compile(rb"\s*(?:\{|\[\s*(?:\{|\]|\Z))")
_HEAD = 4096
_ONNX = b"\x08"
"""The tag of the first field of an ONNX model, ``ir_version``."""

_DUMP_MARK = "com.microsoft.nchwc"
"""An operator set that every model imports that ONNX Runtime dumped, and no exporter knows."""

_READS = (
    "trtlab reads what trtexec exports (layers, profile, times), sets of trt-engine-explorer, "
    "TensorRT's logs with a list of layers, ONNX Runtime's optimised models and profiles, and its "
    "own records."
)


class _UnknownKind(Exception):  # noqa: N818 - it is caught here, and no error in a folder
    """A file that holds nothing to read; its text says what it is instead."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    status: os.stat_result
    in_folder: bool

    @property
    def name(self) -> str:
        """Its name, safe to print."""
        return printable(self.path.name)


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a TensorRT engine, and the SHA-256 of the file that tells them."""

    read: LayersRead
    hash: str


@dataclass(frozen=True, slots=True)
class Dump:
    """ONNX Runtime's optimised model."""

    layers: tuple[EngineLayer, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weight_bytes: int | None
    hash: str
    size: int


_SLOTS: dict[type, str] = {
    Layers: "layers of an engine",
    Dump: "layers of an engine",
    Plan: "layers of an engine",
    tuple: "layer times",
    NodeTimes: "layer times",
    LayerProfile: "layer times",
    TimesRead: "times of inferences",
    Measurement: "times of inferences",
    WorkspaceCurve: "a workspace curve",
    Accuracy: "an accuracy",
}
"""What each part tells of an engine; of each kind there is one."""


@dataclass(slots=True)
class Found:
    """What files told.

    Attributes:
        parts: By what it tells of an engine, the file's name and what was read.
        skipped: Names of files in a folder that hold nothing to read.
        name: What the first path is called, without its endings.
    """

    parts: dict[str, tuple[str, Any]] = field(default_factory=dict)
    facts: list[RunFacts] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    name: str = ""

    def add(self, file: str, part: object) -> None:
        """Take what a file told; raises MismatchError if another one told the same."""
        slot = _SLOTS[type(part)]
        if slot in self.parts:
            raise MismatchError(
                f"{self.parts[slot][0]} and {file} both hold {slot}.",
                hint="Read the files of one engine at a time.",
            )
        self.parts[slot] = (file, part)


def collect(paths: Sequence[object]) -> Found:
    """Read every file, and every file of a folder.

    Raises:
        SpecError: what is given is no path.
        RecordError: a file cannot be read, or none tells of an engine.
        MismatchError: two files tell the same of an engine, or of two.
    """
    given = [_path(path) for path in paths]
    if not given:
        raise SpecError("No file was given.", hint="Give the path of a file or a folder.")
    files = list(_files(given))
    found = Found()
    for file in files:
        try:
            _take(file, found)
        except _UnknownKind as error:
            if not file.in_folder:
                raise RecordError(f"{file.name} {error}", hint=_READS) from error
            found.skipped.append(file.name)
    if not found.parts:
        raise RecordError("There is no layer and no time in what was read.", hint=_READS)
    found.name = printable(_name_of(given[0], is_folder=files[0].in_folder))
    return found


def is_bundle(path: object) -> bool:
    """Whether a path is that of a bundle, or of another zip: told by its first bytes."""
    try:
        if not _path(path).is_file():  # a pipe would wait for somebody to write
            return False
        with _path(path).open("rb") as file:
            return file.read(len(bundle.MAGIC)) == bundle.MAGIC
    except (OSError, ValueError):  # whoever reads it says why it cannot be opened
        return False


def _path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise SpecError(f"A {type(path).__name__} is no path.", hint="Give the path of a file.")
    return Path(os.fsdecode(path))


def _name_of(path: Path, *, is_folder: bool) -> str:
    """Return a folder's name, or a file's without its endings."""
    name = path.resolve().name if path.name in ("", "..") else path.name
    return name if is_folder else _NAME_ENDINGS.sub("", name) or name


def _files(paths: Sequence[Path]) -> Iterator[_File]:
    """Yield every file: those that are named, and those in folders that are."""
    for path in paths:
        try:
            status = path.stat()
            if not stat.S_ISDIR(status.st_mode):
                yield _File(path, status, in_folder=False)
                continue
            inside = [(p, p.stat()) for p in sorted(path.iterdir()) if p.is_file()]
        except (OSError, ValueError) as error:
            raise _not_opened(path, error) from error
        if len(inside) > MAX_FILES:
            raise RecordError(
                f"{printable(path.name)} holds {len(inside):,} files, more than {MAX_FILES}.",
                hint="Give the files themselves.",
            )
        yield from (_File(p, s, in_folder=True) for p, s in inside)


def _not_opened(path: Path, error: Exception) -> RecordError:
    reason = getattr(error, "strerror", None) or "its name cannot be used"
    name = printable(path.name)
    return RecordError(
        f"{name if len(name) < 80 else name[:40] + '…'} was not opened: {reason}.",
        hint="Check the path.",
    )


def _take(file: _File, found: Found) -> None:
    """Read one file into ``found``."""
    if not stat.S_ISREG(file.status.st_mode):
        raise _UnknownKind("is no regular file.")
    size = file.status.st_size
    try:
        with file.path.open("rb") as stream:
            head = stream.read(_HEAD)
            if head.startswith(_ONNX):
                found.add(file.name, _dumped(file.path))
                return
            if head.startswith(bundle.MAGIC):
                raise RecordError(
                    f"{file.name} is a bundle, or another zip.",
                    hint="A bundle is read alone, by its path: trtlab.read('name.trtlab').",
                )
            if b"\0" in head:
                raise _UnknownKind("is a binary file, and no ONNX model.")
            if size > MAX_BYTES:
                raise RecordError(
                    f"{file.name} takes {text_from_bytes(size)}; trtlab reads files of up to "
                    f"{text_from_bytes(MAX_BYTES)}.",
                    hint="Files of real engines take a few MB: profile fewer runs, or cut it.",
                )
            data = head + stream.read(max(0, size - len(head)))
    except OSError as error:
        raise _not_opened(file.path, error) from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    if _JSON.match(data):
        _take_json(file, data, found)
    else:
        _take_text(file.name, data, found)


def _take_json(file: _File, data: bytes, found: Found) -> None:
    name = file.name
    try:
        content = decoded(data, name)
    except RecordError:
        times = read_profile_lines(text_of(data, name), name)
        if times is None:
            raise
        found.add(name, times)
        return
    if isinstance(content, dict) and {"schema_version", "kind", "record"} <= content.keys():
        record = read_record(file.path)
        if isinstance(record, RunLine):
            raise RecordError(
                f"{name} is the line of a run: it only names the run's records.",
                hint="Export the run as a bundle: trtlab.export(run, 'name.trtlab').",
            )
        found.add(name, record)
    elif is_profile(content):
        found.add(name, read_profile(content, name))
    elif is_times(content):
        found.add(name, read_times(content, name))
    elif onnxruntime_profile.is_events(content):
        found.add(name, onnxruntime_profile.read_events(content, name))
    elif _is_layers(content):
        layers = layers_of(content)
        if layers.layers is None:
            raise RecordError(
                f"{name} lists layers in a form that trtlab does not know.",
                hint="Write it again with trtexec --exportLayerInfo=FILE.",
            )
        found.add(name, Layers(layers, hashlib.sha256(data).hexdigest()))
    elif (facts := facts_of(content)) is not None:
        found.facts.append(facts)
    else:
        raise _UnknownKind("is JSON of no known kind.")


def _is_layers(content: Any) -> bool:
    if isinstance(content, dict):
        return "Layers" in content
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and "LayerType" in first


def _take_text(name: str, data: bytes, found: Found) -> None:
    try:
        text = text_of(data, name)
    except RecordError as error:
        raise _UnknownKind(f"is neither JSON nor UTF-8 text ({error.message}).") from error
    log = read_log(text, name)
    if log.layers is not None:
        found.add(name, Layers(log.layers, hashlib.sha256(data).hexdigest()))
    if log.times is not None:
        found.add(name, log.times)
    if log.facts != RunFacts():
        found.facts.append(log.facts)
    elif log.layers is None and log.times is None:
        raise _UnknownKind("is a text without a list or table of layers.")


@dataclass(frozen=True, slots=True)
class _DumpSpec:
    path: str


def _dumped(path: Path) -> Dump:
    try:
        return worker.run(_dump_job, _DumpSpec(str(path.absolute()))).result
    except UnicodeEncodeError as error:
        raise _UnknownKind("has a name that is not UTF-8.") from error
    except ModelError as error:
        raise _UnknownKind(f"is no ONNX model that can be read: {error.message}") from error
    except RecordError as error:
        raise _UnknownKind(error.message) from error


def _dump_job(spec: _DumpSpec, progress: Progress) -> Dump:
    import onnx

    from trtlab.backends.onnxruntime import read_layers
    from trtlab.model.reading import read_model

    progress("check model", 0, 1)
    path = Path(spec.path)
    model, _ = read_model(path)
    opsets = onnx.load(path, load_external_data=False).opset_import
    if _DUMP_MARK not in {opset.domain for opset in opsets}:
        raise RecordError(
            "is a model, and none that ONNX Runtime optimised: trtlab.load opens it."
        )
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    weights = model.weight_bytes
    return Dump(read_layers(path), model.inputs, model.outputs, weights, content, size)
