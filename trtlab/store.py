"""Records ↔ disk: records as JSON files, plans by content, an SQLite index that can be rebuilt.

Everything lies below ``TRTLAB_HOME``, else in the user's cache folder. Files are written beside
their place and moved there in one step, the index row comes after the file: a kill at any moment
leaves a readable store, at worst with a file that the index does not know yet. Write-ahead
logging lets several processes use the index at once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import sqlite3
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import platformdirs

from trtlab.codec import from_json, to_json
from trtlab.environment import machine_id
from trtlab.errors import JobCancelled, PlanError, RecordError, StoreError
from trtlab.model.types import Graph, Model
from trtlab.record import (
    SCHEMA_VERSION,
    Accuracy,
    LayerProfile,
    Measurement,
    Plan,
    RunLine,
    WorkspaceCurve,
)
from trtlab.units import bytes_from_text

Result = Plan | Measurement | LayerProfile | WorkspaceCurve | Accuracy
"""What a job makes; it can carry caveats."""
Record = Result | RunLine
T = TypeVar("T", Plan, Measurement, LayerProfile, WorkspaceCurve, Accuracy, RunLine)
R = TypeVar("R", bound=Record)

INDEX_VERSION = 1
_HASH = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{24}")
_DAY_SECONDS = 86_400
_LOCK_POLL_SECONDS = 0.1
_LARGEST_RECORD = 64 * 2**20
DEFAULT_PLAN_LIMIT = 4 * 2**30
_KINDS: dict[str, type[Any]] = {
    k.kind: k for k in (Plan, Measurement, LayerProfile, WorkspaceCurve, Accuracy, RunLine)
}
_SCHEMA = """
CREATE TABLE records (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, kind TEXT NOT NULL, created TEXT NOT NULL
);
CREATE INDEX records_by_key ON records (key, kind, created);
CREATE TABLE models (file TEXT PRIMARY KEY, model BLOB NOT NULL);
CREATE TABLE plans (hash TEXT PRIMARY KEY, bytes INTEGER NOT NULL, used TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What a record file holds around the record: enough to rebuild the index."""

    schema_version: int
    kind: str
    key: str
    record: dict[str, Any]


def key_of(*parts: object) -> str:
    """Return the key under which the result of these inputs is stored: a hash of their JSON."""
    return hashlib.sha256(to_json([SCHEMA_VERSION, *parts])).hexdigest()


class Store:
    """The records, plans and graphs of this machine.

    Args:
        home: Its folder; default is ``TRTLAB_HOME``, else the user's cache folder.

    Raises:
        StoreError: the folder cannot be made or written, or the index is of a newer schema.
    """

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or home_folder()
        self._plan_limit = bytes_from_text(os.environ.get("TRTLAB_PLAN_LIMIT", DEFAULT_PLAN_LIMIT))
        with _disk_errors(self.home):
            for folder in ("records", "plans", "graphs", "models", "timings", "scratch"):
                (self.home / folder).mkdir(parents=True, exist_ok=True)
            self._clear_scratch()
        self._index_path = self.home / "index.sqlite"
        self._prepare_index()

    # Records

    def put(self, record: Record, key: str) -> str:
        """Keep ``record`` under ``key``; returns its id. Several may share a key.

        Raises:
            StoreError: the disk is full or not writable. The record itself is unharmed.
        """
        identity = record_id(record)
        self._write(self._record_path(identity), enveloped(record, key))
        with self._index() as index:
            index.execute(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)",
                # What was recorded at a time that is not known is older than all the rest.
                (identity, key, record.kind, record.environment.created or ""),
            )
        return identity

    def get(self, key: str, kind: type[T]) -> T | None:
        """Return the newest record of that kind under ``key``, or None."""
        return next(self.under(key, kind), None)

    def under(self, key: str, kind: type[T]) -> Iterator[T]:
        """Yield the records of that kind under ``key``, newest first.

        A record file that is gone or damaged counts as absent: it will be made again.
        """
        with self._index() as index:
            rows = index.execute(
                "SELECT id FROM records WHERE key = ? AND kind = ? "
                "ORDER BY created DESC, rowid DESC",
                (key, kind.kind),
            ).fetchall()
        for (identity,) in rows:
            with contextlib.suppress(RecordError):
                yield _of_kind(read_record(self._record_path(identity)), kind)

    def find(self, prefix: str) -> Record:
        """Return the record whose id begins with ``prefix``.

        Raises:
            RecordError: there is none, or more than one.
        """
        with self._index() as index:
            rows = index.execute(
                "SELECT id FROM records WHERE substr(id, 1, ?) = ? LIMIT 2", (len(prefix), prefix)
            ).fetchall()
        if len(rows) != 1 or not prefix:
            what = "More than one record begins" if rows else "No record begins"
            raise RecordError(
                f"{what} with {prefix!r}.", hint="Give more of the id that bench printed."
            )
        return read_record(self._record_path(rows[0][0]))

    def all(self, kind: type[T]) -> Iterator[T]:
        """Yield every readable record of that kind, newest first."""
        with self._index() as index:
            rows = index.execute(
                "SELECT id FROM records WHERE kind = ? ORDER BY created DESC, rowid DESC",
                (kind.kind,),
            ).fetchall()
        for (identity,) in rows:
            with contextlib.suppress(RecordError):
                yield _of_kind(read_record(self._record_path(identity)), kind)

    def with_id(self, identity: str, kind: type[T]) -> T | None:
        """Return the record with that id, or None where it is gone or damaged."""
        if not _ID.fullmatch(identity):  # it may come from a record file: no path leads out
            return None
        try:
            return _of_kind(read_record(self._record_path(identity)), kind)
        except RecordError:
            return None

    def has(self, identity: str) -> bool:
        """Whether a record with that id lies here."""
        return bool(_ID.fullmatch(identity)) and self._record_path(identity).is_file()

    # Plans

    def put_plan(self, file: Path) -> tuple[str, int]:
        """Move a plan file into the store; returns its SHA-256 and size in bytes.

        The least recently used plans are removed when all together exceed
        ``TRTLAB_PLAN_LIMIT`` (default 4 GiB); their records stay and the plans are built again.

        Raises:
            StoreError: the disk is full or not writable.
        """
        with _disk_errors(self.home):
            with file.open("rb") as stream:
                plan_hash = hashlib.file_digest(stream, "sha256").hexdigest()
            size = file.stat().st_size
            target = self._plan_path(plan_hash)
            target.parent.mkdir(exist_ok=True)
            file.replace(target)
        self._mark_used(plan_hash, size)
        self._evict(keep=plan_hash)
        return plan_hash, size

    def plan_path(self, plan_hash: str) -> Path:
        """Return the file of a plan that this store holds, its content checked.

        Raises:
            PlanError: it is not there (never built here, or removed to make room), or no longer
                what was built.
        """
        path = self._plan_path(plan_hash)
        if not path.is_file():
            raise PlanError(f"Plan {plan_hash[:12]} is not in the store.", hint="Build it again.")
        with _disk_errors(self.home), path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        if content != plan_hash:
            # A plan is code: what is not what was built is not handed to anyone.
            self.drop_plan(plan_hash)
            raise PlanError(f"Plan {plan_hash[:12]} was damaged.", hint="Build it again.")
        self._mark_used(plan_hash, path.stat().st_size)
        return path

    def has_plan(self, plan: Plan) -> bool:
        """Whether the plan's bytes are here, as many as there were."""
        try:
            path = self._plan_path(plan.hash)
        except PlanError:
            return False
        return path.is_file() and path.stat().st_size == plan.plan_bytes

    def built_here(self, plan: Plan) -> bool:
        """Whether this store has a record of that plan with just these settings."""
        return any(p.hash == plan.hash and p.config == plan.config for p in self.all(Plan))

    def drop_plan(self, plan_hash: str) -> None:
        """Forget a plan whose bytes turned out to be damaged."""
        with _disk_errors(self.home), self._index() as index:
            self._plan_path(plan_hash).unlink(missing_ok=True)
            index.execute("DELETE FROM plans WHERE hash = ?", (plan_hash,))

    def copy_timing_cache(self, key: str, target: Path) -> None:
        """Copy the tactic timings kept under ``key`` to ``target``, where there are any."""
        kept = self._timings_path(key)
        if kept.is_file():
            with _disk_errors(self.home):
                shutil.copyfile(kept, target)

    def put_timing_cache(self, key: str, file: Path) -> None:
        """Move a file with tactic timings into the store.

        Of two builds at once the later one stays: timings lost that way are only measured again.

        Raises:
            StoreError: the disk is full or not writable.
        """
        with _disk_errors(self.home):
            file.replace(self._timings_path(key))

    def _mark_used(self, plan_hash: str, size: int) -> None:
        now = datetime.now(UTC).isoformat()
        with self._index() as index:
            index.execute("INSERT OR REPLACE INTO plans VALUES (?, ?, ?)", (plan_hash, size, now))

    def _evict(self, keep: str) -> None:
        with self._index() as index:
            plans = index.execute("SELECT hash, bytes FROM plans ORDER BY used").fetchall()
            total = sum(size for _, size in plans)
            for plan_hash, size in plans:
                if total <= self._plan_limit:
                    break
                if plan_hash != keep:
                    self._plan_path(plan_hash).unlink(missing_ok=True)
                    index.execute("DELETE FROM plans WHERE hash = ?", (plan_hash,))
                    total -= size

    # Models and graphs

    def put_model(self, file: str, model: Model) -> None:
        """Remember what was read from a file; ``file`` is its place and stamp."""
        with self._index() as index:
            index.execute("INSERT OR REPLACE INTO models VALUES (?, ?)", (file, to_json(model)))

    def model(self, file: str) -> Model | None:
        """Return the model read from that very file before, or None."""
        with self._index() as index:
            row = index.execute("SELECT model FROM models WHERE file = ?", (file,)).fetchone()
        try:
            return from_json(row[0], Model) if row else None
        except ValueError:
            return None

    def models_with_hash(self, model_hash: str) -> Iterator[Model]:
        """Yield what was read from each file with that content; a file may have changed since."""
        with self._index() as index:
            rows = index.execute(
                "SELECT model FROM models WHERE instr(model, CAST(? AS BLOB))", (model_hash,)
            ).fetchall()
        for (row,) in rows:
            with contextlib.suppress(ValueError):
                model = from_json(row, Model)
                if model.hash == model_hash:  # others name it as their parent
                    yield model

    def put_graph(self, model: Model, graph: Graph) -> None:
        """Keep a model's graph under its hash."""
        self._write(self._graph_path(model.hash), to_json(graph))

    def graph(self, model_hash: str) -> Graph | None:
        """Return the graph of a model that was loaded before, or None."""
        try:
            return from_json(self._graph_path(model_hash).read_bytes(), Graph)
        except (OSError, ValueError):
            return None

    def model_path(self, name: str) -> Path:
        """Return where a model made by trtlab lies or belongs: zoo networks, derived models."""
        return self.home / "models" / name

    def put_model_file(self, name: str, source: Path | bytes) -> Path:
        """Keep a model file that trtlab made: bytes, or a file in ``scratch`` to be moved.

        Its name says what is in it, so a file that is there already stays: replaced, it would
        look changed to whoever loaded it.

        Raises:
            StoreError: the disk is full or not writable.
        """
        path = self.model_path(name)
        with _disk_errors(self.home), _locked(self.home / "models.lock"):
            if not path.is_file():
                if isinstance(source, bytes):
                    self._write(path, source)
                else:
                    source.replace(path)
        return path

    @contextlib.contextmanager
    def measuring(self, device: str, cancel: threading.Event | None) -> Iterator[None]:
        """Hold the one place for measuring on ``device``: two runs at once disturb each other.

        Waits until it is free; the system frees it when a process dies.

        Raises:
            JobCancelled: ``cancel`` was set while waiting.
        """
        with _disk_errors(self.home):
            lock = (self.home / f"measuring-{device}.lock").open("wb")
        with lock:
            while not _taken(lock):
                if cancel is not None and cancel.is_set():
                    raise JobCancelled("The job was stopped while another one was measuring.")
                time.sleep(_LOCK_POLL_SECONDS)
            yield

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a folder on the store's disk for one job, removed afterwards."""
        with _disk_errors(self.home):
            folder = Path(tempfile.mkdtemp(dir=self.home / "scratch"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _clear_scratch(self) -> None:
        """Remove what killed processes left; a day is longer than any job that still runs."""
        for path in (self.home / "scratch").iterdir():
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _DAY_SECONDS:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    # Files and index

    def _record_path(self, identity: str) -> Path:
        return self.home / "records" / identity[:2] / f"{identity}.json"

    def _plan_path(self, plan_hash: str) -> Path:
        # A hash may come from any record file; as a path it must not lead out of this folder.
        if not _HASH.fullmatch(plan_hash):
            raise PlanError("The plan's hash is no SHA-256.", hint="Build the plan again.")
        return self.home / "plans" / plan_hash[:2] / f"{plan_hash}.plan"

    def _timings_path(self, key: str) -> Path:
        return self.home / "timings" / f"{key}.cache"

    def _graph_path(self, model_hash: str) -> Path:
        return self.home / "graphs" / f"{model_hash}.json"

    def _write(self, path: Path, data: bytes) -> None:
        with _disk_errors(self.home):
            path.parent.mkdir(exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.home / "scratch")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise

    @contextlib.contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        # A connection for each use: cheap (0.1 ms), and safe from any thread and after a fork.
        with _disk_errors(self.home):
            connection = sqlite3.connect(self._index_path, timeout=30)
            try:
                with connection:
                    yield connection
            finally:
                connection.close()

    def _prepare_index(self) -> None:
        # One process at a time: switching to WAL ignores the timeout, a repair moves files.
        with _disk_errors(self.home), _locked(self.home / "index.lock"):
            try:
                self._open_index()
            except StoreError as error:
                if type(error.__cause__) is not sqlite3.DatabaseError:
                    raise
                # Damaged. The files are the truth: set it aside and read them again.
                self._index_path.replace(self._index_path.with_suffix(".damaged"))
                for side in ("-wal", "-shm"):
                    Path(f"{self._index_path}{side}").unlink(missing_ok=True)
                self._open_index()

    def _open_index(self) -> None:
        with self._index() as index:
            (version,) = index.execute("PRAGMA user_version").fetchone()
            if version > INDEX_VERSION:
                raise StoreError(
                    f"The store at {self.home} was written by a newer trtlab (schema {version}, "
                    f"this one reads {INDEX_VERSION}).",
                    hint="Update trtlab, or set TRTLAB_HOME to another folder.",
                )
            if version == INDEX_VERSION:
                # Damage behind the first page shows only here: 3 ms for 10,000 records.
                (state,) = index.execute("PRAGMA quick_check(1)").fetchone()
                if state != "ok":
                    raise sqlite3.DatabaseError(state)
                return
            index.execute("PRAGMA journal_mode = WAL")
        with self._index() as index:
            index.execute("BEGIN IMMEDIATE")  # where there is no lock, two may get here at once
            (version,) = index.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    index.execute(statement)
                self._reindex(index)
                index.execute(f"PRAGMA user_version = {INDEX_VERSION}")

    def _reindex(self, index: sqlite3.Connection) -> None:
        for path in (self.home / "records").glob("*/*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                envelope = from_json(path.read_bytes(), _Envelope)
                if envelope.kind in _KINDS:
                    created = str(envelope.record["environment"]["created"] or "")
                    row = (path.stem, envelope.key, envelope.kind, created)
                    index.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", row)
        for path in (self.home / "plans").glob("*/*.plan"):
            row_plan = (path.stem, path.stat().st_size, "")
            index.execute("INSERT OR REPLACE INTO plans VALUES (?, ?, ?)", row_plan)


def record_id(record: Record) -> str:
    """Return a record's id: a hash of its content, wherever it was made or read."""
    return hashlib.sha256(to_json(replace(record, source="here"))).hexdigest()[:24]


def write_record(record: Record, path: Path) -> None:
    """Write one record into a file of its own, to be kept or mailed.

    Raises:
        StoreError: the file cannot be written.
    """
    write_file(path, enveloped(record, ""), "The record")


def write_file(path: Path, content: bytes, what: str) -> None:
    """Write a file outside the store, whole or not at all.

    Args:
        path: Where to.
        content: What is in it.
        what: What it is, for the message: ``The report``.

    Raises:
        StoreError: it cannot be written there.
    """
    handle, name = -1, ""
    try:
        if path.exists() and not path.is_file():  # a device or a pipe must stay what it is
            path.write_bytes(content)
            return
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".trtlab-")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        if handle != -1:
            Path(name).unlink(missing_ok=True)
        raise StoreError(
            f"{what} was not written to {path}: {error.strerror}.",
            hint="Choose another place; what was measured or built is in the store.",
        ) from error


def read_record(path: Path) -> Record:
    """Read a record file. Its source is *recorded* unless this very machine made it.

    Raises:
        RecordError: the file cannot be read, is no record, or comes from a newer trtlab.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_RECORD:
            raise RecordError(
                f"{path.name} is not a readable record: no regular file below 64 MiB.",
                hint="Record files are written by trtlab bench -o FILE.",
            )
        return record_from(path.read_bytes(), path.name)
    except OSError as error:
        raise RecordError(
            f"{path.name} is not a readable record: {error}",
            hint="Record files are written by trtlab bench -o FILE.",
        ) from error


def record_from(data: bytes, name: str) -> Record:
    """Read the content of a record file called ``name``; see ``read_record``."""
    try:
        envelope = from_json(data, _Envelope)
        if envelope.schema_version > SCHEMA_VERSION:
            raise RecordError(
                f"{name} was written by a newer trtlab (schema {envelope.schema_version}, "
                f"this one reads {SCHEMA_VERSION}).",
                hint="Update trtlab.",
            )
        if envelope.kind not in _KINDS:
            raise RecordError(f"{name} holds a {envelope.kind!r}, which is no record.")
        record: Record = from_json(to_json(envelope.record), _KINDS[envelope.kind])
    except ValueError as error:
        raise RecordError(
            f"{name} is not a readable record: {error}",
            hint="Record files are written by trtlab bench -o FILE.",
        ) from error
    return with_source(record)


def with_source(record: R) -> R:
    """Return the record marked *here* if this very machine made it, else *recorded*."""
    here = record.environment.machine == machine_id()
    return replace(record, source="here" if here else "recorded")


def _of_kind(record: Record, kind: type[T]) -> T:
    if not isinstance(record, kind):
        raise RecordError(f"A {record.kind} lies where a {kind.kind} should.")
    return record


def enveloped(record: Record, key: str) -> bytes:
    """Return the content of a record file."""
    return to_json(
        {
            "schema_version": SCHEMA_VERSION,
            "kind": record.kind,
            "key": key,
            "record": replace(record, source="here"),
        }
    )


def _taken(file: IO[bytes]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: nothing is measured there yet
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def home_folder() -> Path:
    """Return the store's folder: ``TRTLAB_HOME``, else the user's cache folder."""
    named = os.environ.get("TRTLAB_HOME")
    home = Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("trtlab"))
    try:
        str(home).encode()
    except UnicodeEncodeError as error:
        raise StoreError(
            "The store's folder has a name that is not UTF-8.", hint="Set TRTLAB_HOME to another."
        ) from error
    return home


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path``, where the system and the disk have such locks."""
    with path.open("a") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _disk_errors(home: Path) -> Iterator[None]:
    """Turn what disks and SQLite say into a StoreError that tells what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _store_error(home, str(error), full="full" in str(error)) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise _store_error(home, error.strerror or str(error), full=full) from error


def _store_error(home: Path, reason: str, *, full: bool) -> StoreError:
    if full:
        return StoreError(
            f"The disk that holds the store ({home}) is full.",
            hint="Free some space, or set TRTLAB_HOME to a folder on another disk.",
        )
    return StoreError(
        f"The store at {home} cannot be used: {reason}.",
        hint="Set TRTLAB_HOME to a folder that you may write.",
    )
