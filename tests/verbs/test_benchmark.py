"""benchmark: it runs the loop that is benchmarked, keeps every sample, doubts when it should."""

import threading
from dataclasses import replace

import pytest

import trtlab
from tests.making import measurement
from trtlab import sampling
from trtlab.codec import Int64Array
from trtlab.errors import JobCancelled
from trtlab.record import WarmUp, Window
from trtlab.store import Store
from trtlab.verbs import benchmark as verb

pytestmark = pytest.mark.native


def test_the_job_takes_its_samples_from_the_loop_that_is_benchmarked(monkeypatch):
    # benchmarks/harness.py holds sampling.timed_calls against a bare loop. Every sample that the
    # benchmark's job returns must come out of that very function.
    taken = []
    real = sampling.timed_calls

    def spy(*arguments, **settings):
        samples = real(*arguments, **settings)
        taken.append(samples)
        return samples

    monkeypatch.setattr(sampling, "timed_calls", spy)
    plan = trtlab.build("zoo:digits", backend="onnxruntime")
    specs = []

    def here(job, spec, **_settings):
        from trtlab.worker import Finished

        specs.append(spec)
        return Finished(job(spec, lambda *_: None), None)

    monkeypatch.setattr(verb.worker, "run", here)
    run = trtlab.benchmark(plan, quick=True)
    windows = [list(w.latencies_ns) for w in run.windows]
    assert windows == taken[-len(windows) :]
    assert run.warm_up.calls == sum(len(t) for t in taken[: -len(windows)])


def test_full_and_quick_windows_have_their_lengths():
    for quick, shortest in ((True, 0.15), (False, 0.5)):
        run = trtlab.benchmark("zoo:digits", quick=quick)
        assert all(w.wall_ns / 1e9 >= shortest or len(w.latencies_ns) == 5000 for w in run.windows)
        assert run.run.quick is quick
        assert ("quick windows" in repr(run)) is quick


def test_a_fresh_process_each_time_gives_the_same_baseline():
    runs = [trtlab.benchmark("zoo:digits", batch=b, quick=True) for b in (1, 64)]
    low, high = sorted(r.memory.baseline for r in runs)
    assert high / low < 1.1


def window(ms, n=40):
    return Window(Int64Array([round(ms * 1e6)] * n), round(ms * n * 1e6))


def kinds(m):
    return [c.kind for c in verb.doubts(m)]


def test_a_clean_run_carries_no_caveat():
    clean = measurement()
    steady = replace(
        clean, windows=(window(2),) * 3, steady_from=0, stable=True, other_load=0.0,
        warm_up=WarmUp(10, 0.1, True),
    )  # fmt: skip
    assert kinds(steady) == []
    unstable = replace(steady, windows=(window(2), window(3)), stable=False)
    assert "unstable" in kinds(unstable)
    assert "busy-machine" in kinds(replace(steady, other_load=0.7))
    assert "not-warmed-up" in kinds(replace(steady, warm_up=WarmUp(9, 1.0, False)))
    assert "few-samples" in kinds(replace(steady, windows=(window(2, 3),)))
    mixed = Window(Int64Array([1_000_000] * 30 + [2_000_000] * 30), 90_000_000)
    assert "spread" in kinds(replace(steady, windows=(mixed,) * 3))
    for doubt in verb.doubts(unstable):
        assert doubt.message
        assert doubt.hint


def test_a_damaged_plan_is_built_anew():
    plan = trtlab.build("zoo:digits", backend="onnxruntime")
    path = Store().plan_path(plan.hash)
    for damage in (b"x" * plan.plan_bytes, b"short"):
        path.write_bytes(damage)
        assert trtlab.benchmark(plan, quick=True).n > 0
        path.write_bytes(damage)
        assert trtlab.profile(plan, quick=True).layers


def test_no_telemetry_is_collected_while_measuring(tmp_path, monkeypatch):
    # ONNX Runtime keeps its device's id below HOME when its telemetry is on.
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    (tmp_path / "person").mkdir()
    trtlab.benchmark("zoo:digits", quick=True)
    assert list((tmp_path / "person").rglob("*")) == []


def test_two_measurements_at_once_wait_for_each_other():
    plan = trtlab.build("zoo:digits", backend="onnxruntime")
    store, cancel = Store(), threading.Event()
    with store.measuring("cpu", None):
        threading.Timer(0.3, cancel.set).start()
        with pytest.raises(JobCancelled, match="another one was measuring"):
            trtlab.benchmark(plan, quick=True, cancel=cancel)
