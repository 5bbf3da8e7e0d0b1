"""Bundles: runs with their records and graphs in one file, to be kept or mailed.

A zip of JSON: ``manifest.json`` names the runs and workspace curves in their order,
``records/ID.json`` holds records as the store writes them, ``graphs/HASH.json`` the graphs of
their models. Nothing in it is code, and no path of the machine that wrote it is in it. It is
somebody else's file: names, number, sizes and kinds of its parts are checked before a part is
read, and a part is never unpacked onto the disk.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from trtlab.codec import Int64Array, from_json, to_json
from trtlab.environment import version
from trtlab.errors import RecordError, SpecError
from trtlab.formats.json_file import MOST_PARTS, shown
from trtlab.model.printing import printable
from trtlab.model.types import Graph
from trtlab.record import (
    SCHEMA_VERSION,
    Accuracy,
    Bundle,
    LayerProfile,
    Measurement,
    Plan,
    Run,
    RunLine,
    WorkspaceCurve,
)
from trtlab.spec import TENSORRT
from trtlab.store import Record, enveloped, home_folder, record_from, record_id, write_file
from trtlab.units import text_from_bytes

SUFFIX = ".trtlab"
MAGIC = b"PK\x03\x04"
"""How the file begins: that of every zip that is not empty."""

MOST_FILES = 2_000
MOST_BYTES_EACH = 64 * 2**20
MOST_BYTES = 256 * 2**20

_MANIFEST = "manifest.json"
_NAME = re.compile(r"manifest\.json|records/[0-9a-f]{24}\.json|graphs/[0-9a-f]{64}\.json")
_HASH = re.compile(r"[0-9a-f]{64}")
_HINT = "Bundles are written by trtlab.export(runs, 'name.trtlab'); write or send it again."
_MADE = (1980, 1, 1, 0, 0, 0)
"""The time that parts of a zip bear: without it two bundles of the same runs would differ."""

_END = struct.Struct("<4s4H2LH")
"""The last record of a zip: signature, four counts, size and place of its list, a comment's
length. From the ZIP format's description (APPNOTE.TXT, 4.3.16)."""
_ZIP64_LOCATOR = b"PK\x06\x07"
_MOST_LIST_BYTES = MOST_FILES * 200
"""46 bytes and the name for each part, with room for what other tools add."""

_PARTS: Mapping[str, type[Any]] = {
    "plan": Plan,
    "ran": Plan,
    "measurement": Measurement,
    "profile": LayerProfile,
    "accuracy": Accuracy,
}
"""By the name of a run's part, which is that of its id in the line, what it is."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Manifest:
    schema_version: int
    trtlab: str
    runs: tuple[str, ...]
    workspaces: tuple[str, ...] = ()


def write_bundle(
    runs: Sequence[Run],
    path: Path,
    *,
    workspaces: Sequence[WorkspaceCurve] = (),
    graphs: Mapping[str, Graph],
) -> Path:
    """Write runs into one file that opens anywhere, as recorded ones.

    Args:
        runs: In the order they are to be shown.
        path: The file.
        workspaces: Curves of their models.
        graphs: By model hash, without weights.

    Returns:
        Where it was written.

    Raises:
        SpecError: there is no run, or more than a bundle can hold.
        StoreError: it cannot be written there.
    """
    if not runs:
        raise SpecError("There is no run to put into a bundle.", hint="Make a run first.")
    parts: dict[str, bytes] = {}

    def put(record: Record) -> str:
        identity = record_id(record)
        parts[f"records/{identity}.json"] = enveloped(record, "")
        return identity

    lines = []
    for run in map(_without_paths, runs):
        for name in _PARTS:
            if (record := getattr(run, name)) is not None:
                put(record)
        lines.append(put(linked(run).line))
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "trtlab": version("trtlab") or "",
        "runs": list(dict.fromkeys(lines)),
        "workspaces": list(dict.fromkeys(put(_cleaned(w, _folders(w))) for w in workspaces)),
    }
    parts |= {f"graphs/{h}.json": to_json(g) for h, g in graphs.items() if _HASH.fullmatch(h)}
    whole = {_MANIFEST: to_json(manifest), **parts}
    largest, total = max(map(len, whole.values())), sum(map(len, whole.values()))
    if len(whole) > MOST_FILES or largest > MOST_BYTES_EACH or total > MOST_BYTES:
        raise SpecError(
            f"{len(runs)} runs are too many for one bundle: {len(whole):,} parts, "
            f"{text_from_bytes(total)}.",
            hint=f"One holds {MOST_FILES:,} parts and {text_from_bytes(MOST_BYTES)}: write "
            "several.",
        )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in whole.items():
            info = zipfile.ZipInfo(name, _MADE)
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, content)
    write_file(path, file.getvalue(), "The bundle")
    return path


def linked(run: Run) -> Run:
    """Return the run with a line that names its records by the ids that they have now."""
    ids: dict[str, Any] = {
        name: None if (record := getattr(run, name)) is None else record_id(record)
        for name in _PARTS
    }
    return replace(run, line=replace(run.line, **ids))


def read_bundle(path: Path) -> Bundle:
    """Read a bundle. Nothing in it is run; runs are *recorded* unless this machine made them.

    Raises:
        RecordError: the file cannot be read, is no bundle, is damaged, larger than a bundle may
            be, or from a newer trtlab; the message says which part.
    """
    name = printable(path.name)
    try:
        if path.exists() and not path.is_file():
            raise RecordError(f"{name} was not read: it is no regular file.", hint=_HINT)
        with path.open("rb") as file:
            _check_end(file, name)
            with zipfile.ZipFile(file) as packed:
                parts = _parts(packed, name)
    except OSError as error:
        raise RecordError(
            f"{name} was not read: {error.strerror or error}.", hint=_HINT
        ) from error
    except (
        zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, NotImplementedError,
        RuntimeError, OverflowError,
    ) as error:  # fmt: skip
        raise RecordError(
            f"{name} is a damaged bundle: {printable(str(error))}.", hint=_HINT
        ) from error
    return _bundle(parts, path.name.removesuffix(SUFFIX), name)


# Writing


def _without_paths(run: Run) -> Run:
    """Return a run that tells no path of this machine."""
    origin = run.line.origin if (run.line.origin or "").startswith("zoo:") else None
    plans: dict[str, Any] = {
        name: None if (plan := getattr(run, name)) is None else replace(plan, model_path=None)
        for name in ("plan", "ran")
    }
    bare = replace(run, line=replace(run.line, origin=origin), **plans)
    return _cleaned(bare, _folders(run))


def _folders(value: Any) -> tuple[str, ...]:
    """Return the folders that a record may name, in its fields or in the words of a builder.

    The longest come first: what lies in one of them keeps its name alone.
    """
    found = {home_folder()}
    with contextlib.suppress(OSError, RuntimeError):  # a machine may have neither
        found |= {Path.home(), Path.cwd()}
    if isinstance(value, Run):
        setup = value.setup
        named = [value.line.origin, setup.data, setup.calibration]
        named += [plan.model_path for plan in (value.plan, value.ran) if plan is not None]
        configs = [plan.config for plan in (value.plan, value.ran) if plan is not None]
        named += [library for config in configs for library in config.plugin_libraries]
    else:
        named = list(value.config.plugin_libraries)
    found |= {Path(each).parent for each in named if each and Path(each).is_absolute()}
    texts = {f"{folder}{os.sep}" for folder in found if folder != folder.parent}
    return tuple(sorted(texts, key=len, reverse=True))


def _cleaned(value: T, folders: Sequence[str]) -> T:
    """Return a record without these folders in any of its texts; arrays stay as they are."""
    cleaned: Any = value
    if isinstance(value, str):
        for folder in folders:
            cleaned = cleaned.replace(folder, "")
    elif isinstance(value, Mapping):
        cleaned = {_cleaned(k, folders): _cleaned(v, folders) for k, v in value.items()}
    elif isinstance(value, tuple):
        items = [_cleaned(item, folders) for item in value]
        cleaned = type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    elif is_dataclass(value) and not isinstance(value, type):
        old = {each.name: getattr(value, each.name) for each in fields(value) if each.init}
        new = {name: _cleaned(item, folders) for name, item in old.items()}
        changed = {name: item for name, item in new.items() if item != old[name]}
        cleaned = replace(value, **changed) if changed else value
    return cleaned  # type: ignore[no-any-return]


# Reading


def _check_end(file: Any, name: str) -> None:
    """Refuse what has too long a list of parts before ``zipfile`` reads it into the memory.

    A bundle ends with the last record of a zip and no comment: what does not was cut off, or is
    not ours.
    """
    size = file.seek(0, os.SEEK_END)
    if size > MOST_BYTES:
        raise RecordError(
            f"{name} takes {text_from_bytes(size)}; a bundle has at most "
            f"{text_from_bytes(MOST_BYTES)}.",
            hint=_HINT,
        )
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        raise RecordError(f"{name} is no bundle: it is no zip.", hint=_HINT)
    file.seek(max(0, size - _END.size - 20))
    tail = file.read()
    if len(tail) < _END.size or not tail[-_END.size :].startswith(b"PK\x05\x06"):
        raise RecordError(f"{name} is cut off: the end of the zip is not there.", hint=_HINT)
    _, _, _, _, count, list_bytes, _, _ = _END.unpack(tail[-_END.size :])
    is_zip64 = tail[: -_END.size].startswith(_ZIP64_LOCATOR)
    if count > MOST_FILES or list_bytes > _MOST_LIST_BYTES or is_zip64:
        raise RecordError(
            f"{name} lists {count:,} parts or more; a bundle has at most {MOST_FILES:,}.",
            hint=_HINT,
        )
    file.seek(0)


def _parts(packed: zipfile.ZipFile, name: str) -> dict[str, bytes]:
    """Return the content of every part, once all of them may be read."""
    infos = packed.infolist()
    seen: set[str] = set()
    for info in infos:
        said = shown(info.orig_filename)
        reason = ""
        if info.filename != info.orig_filename or not _NAME.fullmatch(info.filename):
            reason = f"holds {said}, which is no part of a bundle"
        elif info.filename in seen:
            reason = f"holds {said} twice"
        elif info.flag_bits & 0x1:
            reason = f"is encrypted: {said}"
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            reason = f"packs {said} in a way that trtlab does not read"
        elif info.file_size > MOST_BYTES_EACH:
            reason = f"holds {said} of {text_from_bytes(info.file_size)}"
            reason += f"; a part has at most {text_from_bytes(MOST_BYTES_EACH)}"
        if reason:
            raise RecordError(f"{name} {reason}.", hint=_HINT)
        seen.add(info.filename)
    left = MOST_BYTES
    if sum(info.file_size for info in infos) > left:
        raise _too_large(name)
    parts = {}
    for info in infos:
        with packed.open(info) as stream:
            content = stream.read(min(left, MOST_BYTES_EACH) + 1)
        left -= len(content)
        if left < 0 or len(content) > MOST_BYTES_EACH:
            raise _too_large(name)
        parts[info.filename] = content
    return parts


def _too_large(name: str) -> RecordError:
    return RecordError(f"{name} unpacks to more than {text_from_bytes(MOST_BYTES)}.", hint=_HINT)


def _bundle(parts: Mapping[str, bytes], title: str, name: str) -> Bundle:
    manifest = _manifest(parts, name)
    records, numbers = dict[str, Record](), 0
    for part, content in parts.items():
        if content.count(b"[") + content.count(b"{") > MOST_PARTS:
            raise RecordError(
                f"{name}: {part} holds more than {MOST_PARTS:,} lists and objects.", hint=_HINT
            )
        if part.startswith("records/"):
            record = record_from(content, f"{name}: {part}")
            numbers += _numbers(record)
            if numbers * 8 > MOST_BYTES:  # they are packed once more inside the JSON
                raise _too_large(name)
            records[part[len("records/") : -len(".json")]] = record
    used: set[str] = set()

    def find(identity: str, kind: type[T]) -> T:
        found = records.get(identity)
        if not isinstance(found, kind):
            what = "is not there" if found is None else f"is a {found.kind}"
            raise RecordError(
                f"{name} names record {shown(identity)} as a {getattr(kind, 'kind', '')}, which "
                f"{what}.",
                hint=_HINT,
            )
        used.add(identity)
        return found

    _check_once((*manifest.runs, *manifest.workspaces), name)
    runs = []
    for identity in manifest.runs:
        line = find(identity, RunLine)
        named = {part: getattr(line, part) for part in _PARTS}
        found = {p: find(i, _PARTS[p]) for p, i in named.items() if i is not None}
        runs.append(_checked(Run(line=line, **found), name))
    curves = tuple(find(identity, WorkspaceCurve) for identity in manifest.workspaces)
    if unused := sorted(records.keys() - used):
        raise RecordError(
            f"{name} holds record {shown(unused[0])}, which no run names.", hint=_HINT
        )
    graphs = {
        part[len("graphs/") : -len(".json")]: _decoded(content, Graph, f"{name}: {part}")
        for part, content in parts.items()
        if part.startswith("graphs/")
    }
    return Bundle(name=printable(title), runs=tuple(runs), workspaces=curves, graphs=graphs)


def _numbers(value: object) -> int:
    """Count the packed numbers in a record."""
    if isinstance(value, Int64Array):
        return len(value)
    if isinstance(value, tuple):
        return sum(map(_numbers, value))
    if is_dataclass(value) and not isinstance(value, Plan):  # plans have none, and many parts
        return sum(_numbers(getattr(value, each.name)) for each in fields(value))
    return 0


def _manifest(parts: Mapping[str, bytes], name: str) -> _Manifest:
    if _MANIFEST not in parts:
        raise RecordError(f"{name} is no bundle: it holds no {_MANIFEST}.", hint=_HINT)
    manifest = _decoded(parts[_MANIFEST], _Manifest, f"{name}: {_MANIFEST}")
    if manifest.schema_version > SCHEMA_VERSION:
        raise RecordError(
            f"{name} was written by a newer trtlab (schema {manifest.schema_version}, this one "
            f"reads {SCHEMA_VERSION}).",
            hint="Update trtlab.",
        )
    if not manifest.runs:
        raise RecordError(f"{name} names no run.", hint=_HINT)
    return manifest


def _decoded(content: bytes, kind: type[T], name: str) -> T:
    try:
        return from_json(content, kind)
    except ValueError as error:
        raise RecordError(f"{name} cannot be read: {printable(str(error))}", hint=_HINT) from error


def _check_once(identities: Iterable[str], name: str) -> None:
    seen: set[str] = set()
    for identity in identities:
        if identity in seen:
            raise RecordError(f"{name} names {shown(identity)} twice.", hint=_HINT)
        seen.add(identity)


def _checked(run: Run, name: str) -> Run:
    """Refuse what does not belong together; another machine's paths lead nowhere on this one."""
    line = run.line
    for record in (run.plan, run.ran, run.measurement, run.profile, run.accuracy):
        if (
            record is not None
            and None not in (record.model.hash, line.made.hash)
            and (record.model.hash != line.made.hash)
        ):
            raise RecordError(
                f"{name} joins a {record.kind} with another model than its own.", hint=_HINT
            )
    backends = [r.config.backend for r in (run.plan, run.ran) if r is not None]
    backends += [r.build.backend for r in (run.measurement, run.profile) if r is not None]
    unknown = sorted(set(backends) - {*TENSORRT, "onnxruntime"})
    if unknown:
        raise RecordError(f"{name} names a backend {shown(unknown[0])}.", hint="Update trtlab.")
    m = run.measurement
    if m is not None and line.latency_ms is not None and line.latency_ms != m.median_ms:
        raise RecordError(f"{name} tells another latency than its samples.", hint=_HINT)
    ran = None if run.ran is None else run.ran.hash
    for record in (run.measurement, run.profile):
        if record is not None and None not in (record.plan, ran) and record.plan != ran:
            raise RecordError(
                f"{name} joins a {record.kind} with another plan than its own.", hint=_HINT
            )
    setup = replace(
        run.setup,
        data=None,
        calibration=run.setup.calibration if run.setup.calibration == "random" else None,
    )
    origin = line.origin if line.origin and line.origin.startswith("zoo:") else None
    return replace(run, line=replace(line, origin=origin, setup=setup))
