"""benchmark: it runs the loop that is benchmarked, keeps every sample, doubts when it should."""

import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

import trtlab
from tests.backends.tensorrt import fakes
from tests.making import measurement
from trtlab import device, sampling
from trtlab.backends import base
from trtlab.backends.tensorrt import engine
from trtlab.backends.tensorrt.module import make_log
from trtlab.codec import Int64Array
from trtlab.device import Reading
from trtlab.errors import BackendUnavailableError, JobCancelled, SpecError
from trtlab.model.types import Tensor
from trtlab.record import GpuConditions, Parts, WarmUp, Window
from trtlab.spec import BuildConfig, RunConfig
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


# On a GPU


def gpu_run(compute_ms=2.0, enqueue_ms=0.1, copies_ms=None, **parts):
    def array(ms):
        return None if ms is None else Int64Array([round(ms * 1e6)] * 40)

    made = Parts(
        array(compute_ms) if isinstance(compute_ms, float) else Int64Array(compute_ms),
        array(enqueue_ms),
        array(copies_ms),
        array(copies_ms),
    )
    latencies = made.latencies_ns()
    window_ = Window(latencies, sum(latencies), made)
    contents = "compute" if copies_ms is None else "compute+transfers"
    return measurement(windows=(window_,) * 3, contents=contents, other_load=0.0, **parts)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (gpu_run(), []),
        (gpu_run(copies_ms=1.9), []),
        (gpu_run(enqueue_ms=1.5), []),
        (gpu_run(enqueue_ms=1.7), ["enqueue-bound"]),
        (gpu_run(copies_ms=2.0), ["transfer-bound"]),
        (gpu_run([2_000_000] * 20 + [2_090_000] * 20), []),
        (gpu_run([2_000_000] * 20 + [2_200_000] * 20), ["clocks-not-locked"]),
        (gpu_run(run=RunConfig(streams=2)), ["several-streams"]),
        (gpu_run(gpu=GpuConditions(samples=3, throttle_reasons=("GpuIdle",))), []),
        (gpu_run(gpu=GpuConditions(samples=3, throttle_reasons=("SwPowerCap",))), ["throttled"]),
        (gpu_run(gpu=GpuConditions(samples=3)), []),
    ],
)
def test_what_trtexec_warns_of_is_a_caveat(run, expected):
    assert kinds(run) == expected


@pytest.mark.parametrize("setting", ["cuda_graph", "transfers"])
def test_what_onnxruntime_does_not_have_is_refused(setting):
    with pytest.raises(SpecError, match="onnxruntime"):
        trtlab.benchmark(trtlab.build("zoo:digits", backend="onnxruntime"), **{setting: True})


class Sensors:
    """A GPU of 100 W by the host's clock."""

    def __init__(self, joules=lambda: time.perf_counter() * 100):
        self.energy_joules = joules

    def read(self, at_ns):
        return Reading(at_ns, 1980, 3201, 100.0, 50, frozenset({"SwPowerCap"}))


@pytest.fixture
def on_gpu(monkeypatch, tmp_path):
    """Run the benchmark's job on the GPU of the fakes, with sensors; returns what it took."""
    gpu = fakes.Gpu()
    cuda = fakes.Cuda(gpu)
    cuda.install(monkeypatch)
    trt = fakes.Module(gpu)
    plan = tmp_path / "plan"

    class Backend:
        name = "tensorrt"

        def status(self):
            pass

        def load(self, path, config, run):
            return engine.load(trt, make_log(trt), path, run, clock=gpu.clock)

    monkeypatch.setattr(base, "backend", lambda _name: Backend())
    monkeypatch.setattr(device, "open_sensors", lambda _gpu: Sensors())
    monkeypatch.setattr(verb, "ENERGY_NS", 50_000_000)
    # Windows by the GPU's clock, so that they agree however busy this machine is.
    real = sampling.measure
    monkeypatch.setattr(
        sampling, "measure", lambda calls, lengths, progress: real(
            calls, sampling.Lengths(10_000_000, 10, 5_000_000, 3), clock=gpu.clock
        )
    )  # fmt: skip
    stretch = sampling.stretch
    monkeypatch.setattr(sampling, "stretch", lambda calls, ns: stretch(calls, ns, clock=gpu.clock))

    def take(run=None, **parts):
        plan.write_bytes(fakes.plan(**parts))
        spec = verb._Spec(
            str(plan),
            BuildConfig(backend="tensorrt"),
            run or RunConfig(batch=2),
            (Tensor("x", "float32", ("N", 4)),),
            {"x": (2, 4)},
            100,
        )
        return verb._measure_job(spec, lambda *_: None)

    take.gpu, take.cuda = gpu, cuda
    return take


def test_a_job_on_a_gpu_brings_parts_memory_and_energy(on_gpu):
    taken = on_gpu()
    assert taken.contents == "compute"
    assert taken.provider == "TensorRT"
    assert set(taken.windows[-1].latencies_ns[1:]) == {100_000}
    assert taken.device_memory.activations == 4096
    assert taken.device_memory.weights == 8192
    assert taken.device_memory.io == 64
    assert taken.device_memory.growth == 4096 + 64
    assert taken.device_memory.plan > 0
    assert taken.memory.weights is taken.memory.io is taken.memory.activations is None
    assert taken.call_joules > 0
    assert "NVML" in taken.energy_note
    assert taken.caveats == ()


def test_a_job_with_copies_and_two_streams(on_gpu):
    taken = on_gpu(RunConfig(batch=2, streams=2, transfers=True))
    assert taken.contents == "compute+transfers"
    assert taken.device_memory.activations == 2 * 4096
    assert taken.device_memory.io == 2 * 64


def test_the_engines_caveats_come_once(on_gpu):
    taken = on_gpu(RunConfig(streams=2, batch=2), capturable=False)
    assert [c.kind for c in taken.caveats] == ["no-cuda-graph"]


def sensors(monkeypatch, made):
    monkeypatch.setattr(device, "open_sensors", lambda _gpu: made)


def test_energy_is_unknown_with_the_reason(on_gpu, monkeypatch):
    quick = on_gpu(RunConfig(batch=2, quick=True))
    assert (quick.call_joules, "quick" in quick.energy_note) == (None, True)
    sensors(monkeypatch, Sensors(lambda: None))
    assert "does not count" in on_gpu().energy_note
    sensors(monkeypatch, Sensors(lambda: 5.0))
    assert "did not move" in on_gpu().energy_note
    monkeypatch.setattr(sampling, "agree", lambda _windows: False)
    sensors(monkeypatch, Sensors())
    unsteady = on_gpu()
    assert "did not agree" in unsteady.energy_note
    assert unsteady.call_joules is None


def test_energy_of_a_stretch_that_was_not_steady_is_unknown(on_gpu, monkeypatch):
    real = sampling.agree
    monkeypatch.setattr(sampling, "agree", lambda windows: len(windows) == 3 and real(windows))
    assert "not steady" in on_gpu().energy_note


def test_missing_packages_break_nothing(on_gpu, monkeypatch):
    def missing(_gpu):
        raise BackendUnavailableError("nvidia-ml-py is not installed.")

    monkeypatch.setattr(device, "open_sensors", missing)
    taken = on_gpu()
    assert taken.gpu is None
    assert taken.call_joules is None
    assert "nvidia-ml-py is not installed" in taken.energy_note
    assert taken.device_memory.growth is not None
    with ExitStack() as stack:
        monkeypatch.setattr(device, "open_gpu", lambda: missing(None))
        watch = verb.GpuWatch(stack)
        assert watch.free_bytes() is None


def test_memory_that_shrank_is_unknown(on_gpu):
    spec = type("Spec", (), {"plan_path": __file__})
    assert verb._device_memory(spec, [], 100, 200).growth is None
    assert verb._device_memory(spec, [], None, 200).growth is None
    assert verb._device_memory(spec, [], 200, 200).growth == 0


def test_the_sensors_are_those_of_the_steady_windows():
    class Watcher:
        def between(self, begin, end):
            return [Sensors().read(t) for t in range(begin, end)]

    watch = verb.GpuWatch.__new__(verb.GpuWatch)
    watch._watcher = Watcher()
    samples = sampling.Samples((), 1, True, None, ((0, 5), (10, 14), (20, 23)), 0)
    conditions = watch.conditions(samples)
    assert conditions.samples == 13
    assert conditions.throttled_by == ("SwPowerCap",)
