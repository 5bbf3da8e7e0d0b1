"""Whatever a job does to its process, this process lives, learns why, and leaves none behind."""

import contextlib
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests import worker_jobs as jobs
from tests.conftest import workers_of_this_process
from trtlab import worker
from trtlab.codec import Int64Array
from trtlab.errors import (
    BuildError,
    ExecutionError,
    JobCancelled,
    JobTimeout,
    ModelError,
    ParseError,
    WorkerCrashed,
)

pytestmark = pytest.mark.native

ROOT = Path(__file__).parents[1]
MIB = 2**20


def gone(pid):
    """Whether a process has ended; in a container without init it stays behind as a zombie."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition, seconds=10.0):
    """Poll until ``condition()`` is true; returns whether it became so in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return bool(condition())


@contextlib.contextmanager
def running(job, spec, **options):
    """Run a job in a thread; yields the cancel event and a future of the result."""
    cancel = threading.Event()
    begun = threading.Event()

    def progress(_phase, _done, _total):
        begun.set()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(worker.run, job, spec, progress=progress, cancel=cancel, **options)
        try:
            assert begun.wait(30) or future.exception()
            yield cancel, future
        finally:
            cancel.set()


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


# Results


def test_a_result_comes_back():
    assert worker.run(jobs.double, 21).result == 42


def test_arrays_and_dataclasses_cross_both_ways():
    spec = jobs.Numbers("ab", Int64Array([1, -(2**63), 2**63 - 1]))
    assert worker.run(jobs.reversed_numbers, spec).result == jobs.Numbers(
        "ba", Int64Array([2**63 - 1, -(2**63), 1]), (spec.values,)
    )


def test_a_spec_larger_than_a_pipe_holds_crosses():
    spec = jobs.Numbers("ab", Int64Array(range(1_000_000)))
    assert worker.run(jobs.reversed_numbers, spec).result.values[0] == 999_999


def test_a_big_array_comes_back_whole():
    count = 20 * MIB // 8
    assert worker.run(jobs.big_array, count).result == Int64Array(range(count))


def test_the_childs_peak_memory_is_reported():
    little = worker.run(jobs.fill, 1).peak_rss_bytes
    much = worker.run(jobs.fill, 200 * MIB).peak_rss_bytes
    assert little is not None
    assert much - little == pytest.approx(200 * MIB, rel=0.1)


def test_the_childs_peak_memory_is_not_the_parents():
    ballast = bytearray(300 * MIB)
    assert worker.run(jobs.double, 1).peak_rss_bytes < 250 * MIB
    assert len(ballast)


def test_progress_arrives_in_order_and_in_the_callers_thread():
    seen = []
    worker.run(jobs.steps, 500, progress=lambda *step: seen.append((threading.get_ident(), *step)))
    me = threading.get_ident()
    assert seen == [(me, f"phase {n % 3}", n, 500) for n in range(500)]


def test_progress_from_many_threads_stays_whole():
    seen = []
    worker.run(jobs.steps_from_threads, 200, progress=lambda *step: seen.append(step))
    assert len(seen) == 800
    for number in "0123":
        assert [d for n, d, _ in seen if n == number] == list(range(200))


def test_a_callback_that_raises_ends_the_job():
    def progress(_phase, _done, _total):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        worker.run(jobs.forever, "", progress=progress)
    assert not workers_of_this_process()


def test_a_childs_words_on_stdout_and_stderr_do_no_harm(capfd):
    size = 8 * MIB
    assert worker.run(jobs.chatter, size).result == size
    assert capfd.readouterr() == ("", "")


def test_many_jobs_at_once():
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(worker.run, jobs.steps, n) for n in range(24)]
        assert [f.result().result for f in futures] == list(range(24))


def test_cancelling_one_job_leaves_the_others_alone(tmp_path):
    with running(jobs.forever, str(tmp_path / "pid")) as (cancel, future):
        assert worker.run(jobs.double, 1).result == 2
        assert not future.done()
        cancel.set()
        assert isinstance(future.exception(10), JobCancelled)


def test_fifty_jobs_leak_no_file(tmp_path):
    worker.run(jobs.double, 1)
    before = open_files()
    cancelled = threading.Event()
    cancelled.set()
    for n in range(35):
        worker.run(jobs.double, n)
    for _ in range(5):
        with pytest.raises(BuildError):
            worker.run(jobs.raise_build_error, "x")
        with pytest.raises(WorkerCrashed):
            worker.run(jobs.leave, 3)
        with pytest.raises(JobTimeout):
            worker.run(jobs.forever, "", timeout=0)
    with pytest.raises(JobCancelled):
        worker.run(jobs.forever, "", cancel=cancelled)
    assert open_files() == before


def test_a_worker_that_cannot_be_started_leaks_no_file(monkeypatch):
    before = open_files()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ExecutionError, match="could be started") as caught:
        worker.run(jobs.double, 1)
    assert caught.value.hint
    assert open_files() == before


# Stopping


@pytest.mark.parametrize("job", [jobs.forever, jobs.forever_native, jobs.chatter_forever])
def test_cancel_from_another_thread_ends_the_child_within_a_second(job, tmp_path):
    file = tmp_path / "pid"
    with running(job, str(file)) as (cancel, future):
        pid = int(file.read_text())
        assert not gone(pid)
        cancel.set()
        assert wait_until(lambda: gone(pid), 1.0)
        with pytest.raises(JobCancelled):
            future.result(10)


@pytest.mark.parametrize("job", [jobs.forever, jobs.forever_native, jobs.chatter_forever])
def test_time_out_ends_the_child(job, tmp_path, monkeypatch):
    file = tmp_path / "pid"
    now = [100.0]
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def progress(_phase, _done, _total):
        now[0] += 9  # the job runs: let its time be over

    with pytest.raises(JobTimeout, match=r"longer than 7\.5 s") as caught:
        worker.run(job, str(file), timeout=7.5, progress=progress)
    assert caught.value.hint
    assert "noise" in caught.value.details or job is not jobs.chatter_forever
    assert gone(int(file.read_text()))


def test_time_out_by_the_real_clock():
    with pytest.raises(JobTimeout):
        worker.run(jobs.forever, "", timeout=0.3)
    assert not workers_of_this_process()


def test_a_job_cancelled_beforehand_starts_no_process(monkeypatch):
    cancel = threading.Event()
    cancel.set()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(JobCancelled):
        worker.run(jobs.double, 1, cancel=cancel)


def test_a_grandchild_is_killed_with_a_cancelled_job(tmp_path):
    file = tmp_path / "pid"
    with running(jobs.sleep_with_grandchild, str(file)) as (cancel, future):
        pid = int(file.read_text())
        assert not gone(pid)
        cancel.set()
        assert isinstance(future.exception(10), JobCancelled)
    assert wait_until(lambda: gone(pid))


def test_a_grandchild_left_behind_by_a_finished_job_is_killed(tmp_path):
    file = tmp_path / "pid"
    assert worker.run(jobs.leave_grandchild, str(file)).result == 1
    assert wait_until(lambda: gone(int(file.read_text())))


def test_a_forked_copy_that_holds_the_pipes_does_not_hide_the_childs_death(tmp_path):
    file = tmp_path / "pid"
    with pytest.raises(WorkerCrashed, match="signal 9"):
        worker.run(jobs.die_with_fork_left, str(file), timeout=60)
    assert wait_until(lambda: gone(int(file.read_text())))


# Errors


def test_a_jobs_own_error_arrives_as_it_was_raised():
    with pytest.raises(BuildError) as caught:
        worker.run(jobs.raise_build_error, "it")
    error = caught.value
    assert type(error) is BuildError
    assert (error.message, error.hint, error.details) == (
        "could not build it",
        "try less",
        "all\nof it",
    )


def test_an_error_below_another_keeps_its_class():
    with pytest.raises(ParseError, match="no such operator") as caught:
        worker.run(jobs.raise_parse_error, "no such operator")
    assert type(caught.value) is ParseError


def test_a_long_error_survives_the_death_of_the_child():
    with pytest.raises(BuildError) as caught:
        worker.run(jobs.raise_long, 3_000_000)
    assert len(caught.value.details) == 3_000_000


def test_an_error_with_a_file_name_that_is_no_text_arrives():
    with pytest.raises(ModelError, match=r"caf\\udce9\.onnx"):
        worker.run(jobs.raise_undecodable, "")


def test_an_unexpected_exception_keeps_its_traceback_out_of_the_message():
    with pytest.raises(ExecutionError, match="KeyError: 'missing'") as caught:
        worker.run(jobs.raise_unexpected, "missing")
    error = caught.value
    assert type(error) is ExecutionError
    assert "Traceback" not in str(error)
    assert "Traceback" in error.details
    assert "raise_unexpected" in error.details
    assert error.hint


def test_a_result_of_another_type_is_an_error():
    with pytest.raises(ExecutionError, match="cannot be read"):
        worker.run(jobs.wrong_result, 1)


def test_a_result_that_is_no_record_is_an_error():
    with pytest.raises(ExecutionError, match="object cannot cross"):
        worker.run(jobs.no_record, 1)


def test_a_spec_of_another_type_is_an_error():
    with pytest.raises(ExecutionError, match="Expected `int`"):
        worker.run(jobs.double, "text")


def test_a_job_whose_module_does_not_exist_is_an_error():
    def job(spec: int, progress: worker.Progress) -> int:
        raise AssertionError

    job.__module__, job.__qualname__ = "no_such_module_anywhere", "job"
    with pytest.raises(ExecutionError, match="no_such_module_anywhere") as caught:
        worker.run(job, 1)
    assert type(caught.value) is ExecutionError


def test_a_job_that_its_module_does_not_have_is_an_error():
    def job(spec: int, progress: worker.Progress) -> int:
        raise AssertionError

    job.__module__, job.__qualname__ = jobs.__name__, "no_such_job"
    with pytest.raises(ExecutionError, match="no_such_job"):
        worker.run(job, 1)


def test_only_functions_that_a_child_can_import_are_jobs():
    def inner(spec: int, progress: worker.Progress) -> int:
        raise AssertionError

    for job in (inner, lambda _spec, _progress: 1, Int64Array.from_bytes):
        with pytest.raises(ValueError, match="module-level"):
            worker.run(job, 1)
    inner.__qualname__, inner.__module__ = "inner", "__main__"
    with pytest.raises(ValueError, match="module-level"):
        worker.run(inner, 1)


# Crashes


def test_a_segfault_is_told_with_the_last_words():
    with pytest.raises(WorkerCrashed, match="SIGSEGV") as caught:
        worker.run(jobs.segfault, 0)
    assert caught.value.hint
    assert "last words" in caught.value.details


def test_kill_9_is_told_as_such():
    with pytest.raises(WorkerCrashed, match="signal 9") as caught:
        worker.run(jobs.kill_itself, signal.SIGKILL)
    assert "memory" in caught.value.message
    assert caught.value.hint


def test_a_signal_without_a_name_is_told_by_its_number():
    number = signal.SIGRTMIN + 5
    with pytest.raises(WorkerCrashed, match=f"signal {number}"):
        worker.run(jobs.kill_itself, number)


@pytest.mark.parametrize("job", [jobs.leave, jobs.leave_politely])
@pytest.mark.parametrize("code", [0, 7])
def test_an_end_without_a_result_is_a_crash(job, code):
    with pytest.raises(WorkerCrashed, match=f"exit code {code}"):
        worker.run(job, code)


def test_details_hold_the_tail_of_stderr():
    with pytest.raises(WorkerCrashed, match="exit code 7") as caught:
        worker.run(jobs.words_then_die, 200_000)
    details = caught.value.details
    assert details.endswith("the very last words\n")
    assert "early" not in details
    assert len(details) <= 16 * 1024


def test_python_words_on_stderr_are_not_lost_to_a_buffer():
    with pytest.raises(WorkerCrashed, match="SIGABRT") as caught:
        worker.run(jobs.words_from_python, 0)
    assert "written by print" in caught.value.details


def test_progress_sent_before_a_crash_arrives():
    seen = []
    with pytest.raises(WorkerCrashed):
        worker.run(jobs.steps_then_die, 300, progress=lambda *step: seen.append(step))
    assert seen == [("step", n, 300) for n in range(300)]


def test_a_child_that_closes_its_pipe_and_lives_on_is_killed(tmp_path):
    file = tmp_path / "pid"
    with pytest.raises(WorkerCrashed, match="closed its pipe"):
        worker.run(jobs.close_pipes, str(file))
    assert gone(int(file.read_text()))


@pytest.mark.parametrize(
    "part",
    [b"\x01", struct.pack("<Q", 1000), struct.pack("<Q", 1000) + b"abc", b"\xff" * 100],
    ids=["length", "no-body", "half-body", "huge"],
)
def test_half_an_answer_is_a_crash(part):
    with pytest.raises(WorkerCrashed, match="exit code 3"):
        worker.run(jobs.part_of_a_frame, part)


@pytest.mark.parametrize("body", [b"hello", b"", b"\x91" * 3000], ids=["text", "none", "deep"])
def test_an_answer_that_is_garbage_is_an_error(body):
    with pytest.raises(ExecutionError, match="cannot be read"):
        worker.run(jobs.answer_garbage, struct.pack("<Q", len(body)) + body)


@pytest.mark.parametrize("job", [jobs.python_memory, jobs.numpy_memory])
def test_memory_exhausted_under_a_limit_is_told(job):
    with pytest.raises(ExecutionError, match="out of memory") as caught:
        worker.run(job, 64 * MIB, memory_limit_bytes=2**30)
    assert not isinstance(caught.value, WorkerCrashed)
    assert caught.value.hint
    assert worker.run(jobs.double, 1).result == 2


def test_a_limit_too_small_to_begin_with_is_an_error():
    with pytest.raises(ExecutionError):
        worker.run(jobs.double, 1, memory_limit_bytes=MIB)


# Frames


def test_frames_are_taken_whole_however_they_arrive():
    replies = [worker._Reply("progress", phase="x" * n, done=n) for n in range(20)]
    stream = b"".join(
        struct.pack("<Q", len(data)) + data for data in map(worker.to_message, replies)
    )
    for size in (1, 7, 8, 9, 100, len(stream)):
        buffer = bytearray()
        taken = []
        for at in range(0, len(stream), size):
            buffer += stream[at : at + size]
            taken += worker._frames(buffer)
        assert taken == replies
        assert not buffer


# The parent's own life

PARENT = """
import sys
sys.path.insert(0, {root!r})
from tests import worker_jobs
from trtlab import worker
print(worker.run(worker_jobs.{job}, {spec!r}).result)
"""


def script(tmp_path, job, spec):
    """A script without a ``__main__`` guard that runs a job."""
    path = tmp_path / "script.py"
    path.write_text(PARENT.format(root=str(ROOT), job=job, spec=spec))
    return path


def test_a_script_without_a_main_guard_can_run_jobs(tmp_path):
    done = subprocess.run(
        [sys.executable, script(tmp_path, "double", 4)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("8\n", "", 0)


@pytest.mark.parametrize("job", ["forever", "forever_native", "sleep_with_grandchild"])
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_survives_the_parent(tmp_path, job, blow):
    file = tmp_path / "pid"
    parent = subprocess.Popen(
        [sys.executable, script(tmp_path, job, str(file))],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert wait_until(file.exists, 30)
        children = psutil.Process(parent.pid).children(recursive=True)
        assert int(file.read_text()) in [c.pid for c in children]
        parent.send_signal(blow)
        assert wait_until(lambda: all(gone(c.pid) for c in children), 2.0)
    finally:
        parent.kill()
        parent.wait()


def test_a_module_in_the_current_folder_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "struct.py").write_text("raise SystemExit('a stranger')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    assert not worker.run(jobs.imported_from, "numpy").result.startswith(str(tmp_path))


def test_the_child_sees_the_environment_of_now(monkeypatch):
    monkeypatch.setenv("TRTLAB_TEST", "one")
    assert worker.run(jobs.environment, "TRTLAB_TEST").result == "one"
