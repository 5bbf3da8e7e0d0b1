"""One child process a job: native code crashes, hangs and exhausts memory there, not here.

``run(job, spec)`` starts ``python -m trtlab.worker`` and sends it the dotted name of a
module-level function with its argument. Frames on two pipes of their own (never stdout): an
8-byte little-endian length, then MessagePack, which carries sample arrays as raw bytes.

The child ends when its request pipe closes, whatever it is doing: a watcher thread sees the end
of file. PDEATHSIG would follow the *thread* that started the child, so it is not used. Cancelling
is killing: the only thing that stops a native call.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import inspect
import os
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeVar

from trtlab.codec import from_message, to_message
from trtlab.errors import (
    ERRORS_BY_NAME,
    ExecutionError,
    JobCancelled,
    JobTimeout,
    TrtlabError,
    WorkerCrashed,
)

S = TypeVar("S")
R = TypeVar("R")
Progress = Callable[[str, int, int], None]
"""What a job reports: phase, steps done, steps in all (0: not known)."""


def silent(_phase: str, _done: int, _total: int) -> None:
    """Report progress to nobody: the default of every verb."""


_TELEMETRY_OFF = {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}
"""ONNX Runtime 1.31 collects usage data unless told not to before it is imported: it writes files
below HOME and runs a thread of its own inside the measured process. Both spellings are in use."""

_LENGTH = struct.Struct("<Q")
_POLL_SECONDS = 0.1
_STDERR_KEPT = 16 * 1024


@dataclass(frozen=True, slots=True)
class _Request:
    job: str
    spec: bytes
    memory_limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Reply:
    """One frame from the child; ``kind`` is ready, progress, result or error."""

    kind: str
    phase: str = ""
    done: int = 0
    total: int = 0
    result: bytes = b""
    error: str = ""
    message: str = ""
    hint: str = ""
    details: str = ""
    peak_rss_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Finished(typing.Generic[R]):
    """A job's result, and what is known of the child that made it.

    Attributes:
        peak_rss_bytes: Its peak resident memory, None where unknown.
        words: The last 16 KiB that it wrote on stderr: where native libraries put warnings.
    """

    result: R
    peak_rss_bytes: int | None
    words: str = ""


def run(
    job: Callable[[S, Progress], R],
    spec: S,
    *,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    timeout: float | None = None,
    memory_limit_bytes: int | None = None,
) -> Finished[R]:
    """Run ``job(spec, progress)`` in a child process and return its result.

    Args:
        job: A module-level function with annotated argument and result.
        spec: Its argument: a dataclass or plain data.
        progress: Called in this thread with what the job reports.
        cancel: Set it from anywhere to stop the job within a second.
        timeout: Seconds after which the job is stopped.
        memory_limit_bytes: Address space of the child (RLIMIT_AS).

    Raises:
        TrtlabError: the job's own error, as raised there.
        WorkerCrashed: the child ended on its own; the message names the signal.
        JobTimeout, JobCancelled: it was stopped.
        ExecutionError: the job raised an unexpected exception or could not be started.
    """
    if cancel is not None and cancel.is_set():
        raise JobCancelled("The job was stopped before it began.")
    request = _Request(_name_of(job), to_message(spec), memory_limit_bytes)
    deadline = None if timeout is None else time.monotonic() + timeout
    finished: _Reply | None = None
    with _Child(request) as child:
        for reply in child.replies(cancel, deadline, timeout):
            match reply.kind:
                case "progress":
                    progress(reply.phase, reply.done, reply.total)
                case "result":
                    finished = reply
                case "error":
                    raise _error_from(reply)
                case _:
                    pass  # "ready": nothing to do but know that the child lives
        if finished is None:
            raise child.crash()
        words = child.last_words()
    kind = typing.get_type_hints(job)["return"]
    return Finished(_decoded(finished.result, kind), finished.peak_rss_bytes, words)


def _name_of(job: Callable[..., Any]) -> str:
    if "<" in job.__qualname__ or "." in job.__qualname__ or job.__module__ == "__main__":
        raise ValueError(f"{job.__qualname__} is no module-level function of a module to import")
    return f"{job.__module__}:{job.__qualname__}"


def _import_path() -> str:
    """Return this process's import path for the child, without the current folder.

    With ``-P`` and this, a file that lies beside a model (``onnx.py``) is not imported.
    """
    return os.pathsep.join(entry for entry in sys.path if entry)


def _decoded(data: bytes, kind: type[R]) -> R:
    try:
        return from_message(data, kind)
    except ValueError as error:
        raise ExecutionError(
            f"The worker's answer cannot be read: {error}", hint="Please report it."
        ) from error


def _error_from(reply: _Reply) -> TrtlabError:
    kind = ERRORS_BY_NAME.get(reply.error, ExecutionError)
    return kind(reply.message, hint=reply.hint, details=reply.details)


class _Child:
    """The child process with its three pipes; leaving the context leaves no process behind."""

    def __init__(self, request: _Request) -> None:
        request_read, request_write = os.pipe()
        reply_read, reply_write = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "trtlab.worker", str(request_read), str(reply_write)],
                env={**os.environ, **_TELEMETRY_OFF, "PYTHONPATH": _import_path()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(request_read, reply_write),
                start_new_session=True,  # Ctrl-C goes to us; we decide what becomes of the child
            )
        except OSError as error:
            for fd in (request_write, reply_read):
                os.close(fd)
            raise ExecutionError(
                f"No worker process could be started: {error}.", hint="Close other programs."
            ) from error
        finally:
            os.close(request_read)
            os.close(reply_write)
        self._request = os.fdopen(request_write, "wb")
        self._reply = os.fdopen(reply_read, "rb", buffering=0)
        self._stderr = typing.cast("IO[bytes]", self._process.stderr)
        self._last_words = b""
        # A child that dies at once breaks the pipe; its end is found when replies are read.
        with contextlib.suppress(BrokenPipeError):
            _write_frame(self._request, to_message(request))

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._request.close()
        self._reply.close()
        self._stderr.close()

    def replies(
        self, cancel: threading.Event | None, deadline: float | None, timeout: float | None
    ) -> Iterator[_Reply]:
        """Yield replies until the child closes its pipe; watch cancel and deadline meanwhile."""
        buffer = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._reply, selectors.EVENT_READ)
            selector.register(self._stderr, selectors.EVENT_READ)
            reply_open = True
            while reply_open:
                if cancel is not None and cancel.is_set():
                    raise JobCancelled("The job was stopped.")
                if deadline is not None and time.monotonic() > deadline:
                    raise JobTimeout(
                        f"The job was stopped: it took longer than {timeout:g} s.",
                        hint="Allow more time, or give it less to do.",
                        details=self.last_words(),
                    )
                # A process that the job forked may hold the pipe open after the child has ended.
                ended = self._process.poll() is not None
                ready = selector.select(0 if ended else _POLL_SECONDS)
                if ended and not any(key.fileobj is self._reply for key, _ in ready):
                    return
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    if key.fileobj is self._stderr:
                        self._last_words = (self._last_words + data)[-_STDERR_KEPT:]
                        if not data:
                            selector.unregister(self._stderr)
                    elif data:
                        buffer += data
                        yield from _frames(buffer)
                    else:
                        reply_open = False

    def crash(self) -> WorkerCrashed:
        """Describe how the child ended without a result."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return WorkerCrashed("The worker closed its pipe but did not end; it was killed.")
        words = self.last_words()
        if code == -signal.SIGKILL:
            return WorkerCrashed(
                "The worker process was killed (signal 9), often for want of memory. "
                "Nothing was lost.",
                hint="Try a smaller batch or model, or close other programs.",
                details=words,
            )
        if code < 0:
            return WorkerCrashed(
                f"The worker process crashed in native code ({_signal_name(-code)}). "
                "Nothing was lost.",
                hint="Try another optimisation level or library version; details hold its words.",
                details=words,
            )
        return WorkerCrashed(
            f"The worker process ended without a result (exit code {code}).",
            hint="The details hold its last words.",
            details=words,
        )

    def last_words(self) -> str:
        """Return the end of what the child wrote on stderr, with what still lies in the pipe."""
        with contextlib.suppress(OSError, ValueError):
            os.set_blocking(self._stderr.fileno(), False)
            self._last_words = (self._last_words + (self._stderr.read() or b""))[-_STDERR_KEPT:]
        return self._last_words.decode(errors="replace")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def _write_frame(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _frames(buffer: bytearray) -> Iterator[_Reply]:
    """Take every whole frame off the front of ``buffer``."""
    while len(buffer) >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(buffer)
        end = _LENGTH.size + length
        if len(buffer) < end:
            return
        frame = bytes(buffer[_LENGTH.size : end])
        del buffer[:end]
        yield _decoded(frame, _Reply)


def peak_rss_bytes() -> int | None:
    """Return this process's high-water mark of resident memory, or None off Linux.

    ``getrusage`` would count the parent's pages before exec; VmHWM begins at exec.
    """
    return _status_bytes("VmHWM")


def forget_peak() -> None:
    """Let the high-water mark begin anew, where the kernel allows it (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def rss_bytes() -> int | None:
    """Return this process's resident memory now, or None off Linux."""
    return _status_bytes("VmRSS")


def _status_bytes(name: str) -> int | None:
    try:
        with Path("/proc/self/status").open(encoding="ascii") as status:
            for line in status:
                if line.startswith(name):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _child_main(request_fd: int, reply_fd: int) -> None:
    """Serve one request: the body of the child process."""
    # Native libraries print on stdout; nobody reads it. The pipes must not reach grandchildren.
    os.set_inheritable(request_fd, False)
    os.set_inheritable(reply_fd, False)
    requests = os.fdopen(request_fd, "rb", buffering=0)
    replies = os.fdopen(reply_fd, "wb")
    lock = threading.Lock()

    def send(reply: _Reply) -> None:
        with lock:
            _write_frame(replies, to_message(reply))

    (length,) = _LENGTH.unpack(_read_exactly(requests, _LENGTH.size))
    request = from_message(_read_exactly(requests, length), _Request)
    _killed_by_kernel(request_fd)
    threading.Thread(target=_die_with_parent, args=(requests,), daemon=True).start()
    try:
        send(_run_request(request, send))
    except BrokenPipeError:
        os._exit(1)
    sys.stderr.flush()
    # Skips native destructors, which may crash or hang after the result is safely sent.
    os._exit(0)


def _run_request(request: _Request, send: Callable[[_Reply], None]) -> _Reply:
    def progress(phase: str, done: int, total: int) -> None:
        send(_Reply("progress", phase=phase, done=done, total=total))

    try:
        if request.memory_limit_bytes is not None:
            import resource

            limit = request.memory_limit_bytes
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        module, _, function = request.job.partition(":")
        job = getattr(importlib.import_module(module), function)
        hints = typing.get_type_hints(job)
        spec = from_message(request.spec, hints[next(iter(inspect.signature(job).parameters))])
        send(_Reply("ready"))
        result = to_message(job(spec, progress))
    except TrtlabError as error:
        return _error_reply(type(error).__name__, error.message, error.hint, error.details)
    except MemoryError as error:
        return _out_of_memory(str(error))
    except Exception as error:  # noqa: BLE001 - the border of the process: all must be told
        text = traceback.format_exc()
        if "bad_alloc" in str(error) or "Failed to allocate memory" in str(error):
            return _out_of_memory(text)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _error_reply(
                "StoreError",
                "The disk that holds the store is full.",
                "Free some space, or set TRTLAB_HOME to a folder on another disk.",
                text,
            )
        return _error_reply(
            "ExecutionError",
            f"The job failed: {type(error).__name__}: {error}",
            "The details hold the place; please report it.",
            text,
        )
    return replace(_Reply("result", result=result), peak_rss_bytes=peak_rss_bytes())


def _out_of_memory(details: str) -> _Reply:
    return _error_reply(
        "ExecutionError",
        "The job ran out of memory.",
        "Try a smaller batch or model, or close other programs.",
        details,
    )


def _error_reply(name: str, *texts: str) -> _Reply:
    # Names of files may hold bytes that are no text; those cannot be encoded.
    message, hint, details = (t.encode(errors="backslashreplace").decode() for t in texts)
    return _Reply("error", error=name, message=message, hint=hint, details=details)


def _read_exactly(pipe: IO[bytes], size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = pipe.read(size - len(data))
        if not part:
            os._exit(1)  # the parent went away before it had asked for anything
        data += part
    return bytes(data)


def _die_with_parent(requests: IO[bytes]) -> None:
    requests.read(1)  # returns at the end of file: the parent closed the pipe or is gone
    with contextlib.suppress(OSError):
        os.killpg(os.getpid(), signal.SIGKILL)  # and what the job started
    os._exit(1)


def _killed_by_kernel(request_fd: int) -> None:
    """Let the kernel kill this process group when the pipe closes.

    The watcher thread never wakes up while native code holds the interpreter's lock.
    """
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(request_fd, fcntl.F_SETOWN, -os.getpid())
            fcntl.fcntl(request_fd, fcntl.F_SETSIG, signal.SIGKILL)
            flags = fcntl.fcntl(request_fd, fcntl.F_GETFL)
            fcntl.fcntl(request_fd, fcntl.F_SETFL, flags | os.O_ASYNC)


if __name__ == "__main__":
    # The package's copy, so that classes are the same ones that jobs import.
    from trtlab import worker

    worker._child_main(int(sys.argv[1]), int(sys.argv[2]))
