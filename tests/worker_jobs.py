"""Jobs for the worker tests: they run in the child process."""

import ctypes
import importlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from trtlab.codec import Int64Array
from trtlab.errors import BuildError, ModelError, ParseError
from trtlab.worker import Progress


@dataclass(frozen=True, slots=True)
class Numbers:
    """A spec and a result with arrays in it."""

    name: str
    values: Int64Array
    more: tuple[Int64Array, ...] = ()


def double(spec: int, progress: Progress) -> int:
    return 2 * spec


def reversed_numbers(spec: Numbers, progress: Progress) -> Numbers:
    return Numbers(spec.name[::-1], Int64Array(reversed(spec.values)), (spec.values, *spec.more))


def big_array(spec: int, progress: Progress) -> Int64Array:
    return Int64Array(range(spec))


def steps(spec: int, progress: Progress) -> int:
    for done in range(spec):
        progress(f"phase {done % 3}", done, spec)
    return spec


def steps_from_threads(spec: int, progress: Progress) -> int:
    def report(number):
        for done in range(spec):
            progress(str(number), done, spec)

    threads = [threading.Thread(target=report, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return spec


def kill_itself(spec: int, progress: Progress) -> int:
    os.kill(os.getpid(), spec)
    return forever("", progress)


def segfault(spec: int, progress: Progress) -> int:
    sys.stderr.write("last words\n")
    sys.stderr.flush()
    return ctypes.string_at(spec)[0]


def leave(spec: int, progress: Progress) -> int:
    os._exit(spec)


def leave_politely(spec: int, progress: Progress) -> int:
    sys.exit(spec)


def forever(spec: str, progress: Progress) -> int:
    """Loop in Python; write the process id to ``spec`` first."""
    _tell(spec)
    progress("looping", 0, 0)
    while True:
        pass


def forever_native(spec: str, progress: Progress) -> int:
    """Loop in C without ever giving up the interpreter's lock."""
    _tell(spec)
    progress("looping", 0, 0)
    re.match(r"(a+)+$", "a" * 60 + "b")
    return 0


def sleep_with_grandchild(spec: str, progress: Progress) -> int:
    """Start a process and wait for it; write its id to ``spec``."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    _tell(spec, other.pid)
    progress("waiting", 0, 0)
    return other.wait()


def leave_grandchild(spec: str, progress: Progress) -> int:
    """Return at once, with a process left running."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    _tell(spec, other.pid)
    other.returncode = 0  # nobody waits for it
    return 1


def die_with_fork_left(spec: str, progress: Progress) -> int:
    """Die by a signal while a forked copy, which holds the pipes open, lives on."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    _tell(spec, pid)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def close_pipes(spec: str, progress: Progress) -> int:
    """Close everything but the standard streams and live on."""
    _tell(spec)
    os.closerange(3, 64)
    while True:
        time.sleep(600)


def chatter(spec: int, progress: Progress) -> int:
    """Write ``spec`` bytes of garbage on stdout and as many on stderr."""
    block = bytes(range(256)) * 256
    for fd in (1, 2):
        for _ in range(spec // len(block)):
            os.write(fd, block)
    print("also by print")
    return spec


def words_then_die(spec: int, progress: Progress) -> int:
    os.write(2, b"early words\n" + b"x" * spec + b"\nthe very last words\n")
    os._exit(7)


def words_from_python(spec: int, progress: Progress) -> int:
    print("written by print", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGABRT)
    return 0


def chatter_forever(spec: str, progress: Progress) -> int:
    _tell(spec)
    os.write(2, b"noise\n" * 1000)
    progress("writing", 0, 0)
    while True:
        os.write(2, b"noise\n" * 1000)


def answer_garbage(spec: bytes, progress: Progress) -> int:
    """Write onto every pipe of this process, as a wild pointer in native code might."""
    for fd in range(3, 32):
        try:
            os.write(fd, spec)
        except OSError:
            continue
    return 1


def raise_build_error(spec: str, progress: Progress) -> int:
    raise BuildError(f"could not build {spec}", hint="try less", details="all\nof it")


def raise_parse_error(spec: str, progress: Progress) -> int:
    raise ParseError(spec, hint="another opset")


def raise_undecodable(spec: str, progress: Progress) -> int:
    raise ModelError("no such file: caf\udce9.onnx")


def raise_long(spec: int, progress: Progress) -> int:
    raise BuildError("long", details="d" * spec)


def steps_then_die(spec: int, progress: Progress) -> int:
    for done in range(spec):
        progress("step", done, spec)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def part_of_a_frame(spec: bytes, progress: Progress) -> int:
    """Die in the middle of an answer."""
    os.write(int(sys.argv[2]), spec)
    os._exit(3)


def raise_unexpected(spec: str, progress: Progress) -> int:
    return {}[spec]


def wrong_result(spec: int, progress: Progress) -> int:
    return "text"


def no_record(spec: int, progress: Progress) -> object:
    return object()


def python_memory(spec: int, progress: Progress) -> int:
    kept = []
    while True:
        kept.append(bytearray(spec))


def numpy_memory(spec: int, progress: Progress) -> int:
    import numpy as np

    kept = []
    while True:
        kept.append(np.ones(spec, np.uint8))


def fill(spec: int, progress: Progress) -> int:
    """Touch ``spec`` bytes."""
    return len(b"x" * spec)


def environment(spec: str, progress: Progress) -> str | None:
    return os.environ.get(spec)


def imported_from(spec: str, progress: Progress) -> str | None:
    return importlib.import_module(spec).__file__


def _tell(file, pid=None):
    if file:
        # In one step, so that whoever polls never reads half a number.
        made = Path(f"{file}.new")
        made.write_text(str(pid or os.getpid()))
        made.replace(file)
