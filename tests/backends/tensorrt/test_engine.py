"""The run path of TensorRT against a GPU of arithmetic, and faults planted into it.

No GPU and no TensorRT take part. What is right is computed here from the plan's own numbers; what
is wrong is found by the GPU of ``fakes``, which knows nothing of the code under test.
"""

import gc
import json

import numpy as np
import pytest

from tests.backends.tensorrt import fakes
from trtlab import sampling
from trtlab.backends.tensorrt import bindings
from trtlab.backends.tensorrt import engine as engine_module
from trtlab.backends.tensorrt.execution import Execution
from trtlab.backends.tensorrt.module import make_log
from trtlab.backends.tensorrt.profiles import choose_profile
from trtlab.backends.tensorrt.queries import Queries
from trtlab.errors import (
    BackendUnavailableError,
    ExecutionError,
    PlanError,
    SpecError,
    UnsupportedError,
)
from trtlab.spec import RunConfig

X = np.arange(8, dtype=np.float32).reshape(2, 4)
COMPUTE_NS = 100_000  # the two layers of fakes.plan()


class Rig:
    """A GPU with a plan, and shorthands."""

    def __init__(self, monkeypatch, tmp_path):
        self.gpu = fakes.Gpu()
        self.cuda = fakes.Cuda(self.gpu)
        self.cuda.install(monkeypatch)
        self.trt = fakes.Module(self.gpu)
        self.log = make_log(self.trt)
        self.file = tmp_path / ("ab" * 32)
        self.plan()

    def plan(self, **parts):
        self.file.write_bytes(fakes.plan(**parts))

    def load(self, **run):
        return engine_module.load(
            self.trt, self.log, self.file, RunConfig(**run), clock=self.gpu.clock
        )

    def outputs(self, x=X):
        with self.load() as engine:
            return engine.outputs({"x": x})

    def queries(self, n=20, x=X, **run):
        """Some queries of one stream, and the values that its last one left on the host."""
        with self.load(**run) as engine:
            call = engine.bind({"x": x}).call
            return self.window(call, n)

    def window(self, call, n=20):
        call.start()
        taken = [call() for _ in range(n)]
        call.finish()
        return taken


@pytest.fixture
def rig(monkeypatch, tmp_path):
    made = Rig(monkeypatch, tmp_path)
    yield made
    gc.collect()


@pytest.fixture
def clean(rig):
    """A rig that must stay without misuse to the end."""
    yield rig
    gc.collect()
    assert rig.gpu.misuses == []
    leaked = [r for r in rig.gpu.ranges if not r.is_free]
    assert leaked == []


# What the true code does


def test_outputs_have_the_right_values(clean):
    got = clean.outputs()
    assert list(got) == ["y"]
    np.testing.assert_array_equal(got["y"], 2 * X + 1)
    assert got["y"].dtype == np.float32


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_every_shape_of_the_profile_runs(clean, rows):
    x = np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)
    np.testing.assert_allclose(clean.outputs(x)["y"], 2 * x + 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["HALF", "INT32", "INT64"])
def test_other_types_keep_their_bytes(clean, kind):
    clean.plan(types={"x": kind, "y": kind})
    x = X.astype(fakes.NUMPY[kind])
    got = clean.outputs(x)["y"]
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got, 2 * x + 1)


def test_compute_is_the_kernels_own_time(clean):
    for graph in (False, True):
        for query in clean.queries(cuda_graph=graph)[1:]:
            assert query.compute_ns == COMPUTE_NS
            assert query.h2d_ns is query.d2h_ns is None


def test_enqueue_is_the_hosts_time_for_the_call(clean):
    plain = clean.queries(cuda_graph=False)
    graph = clean.queries(cuda_graph=True)
    assert {q.enqueue_ns for q in plain} == {2 * fakes.LAUNCH_NS}  # two kernels
    assert {q.enqueue_ns for q in graph} == {fakes.LAUNCH_NS}  # one launch


def test_copies_are_apart_from_compute(clean):
    for query in clean.queries(transfers=True)[1:]:
        assert query.compute_ns == COMPUTE_NS
        assert query.h2d_ns == fakes.copy_ns(X.nbytes)
        assert query.d2h_ns == fakes.copy_ns(X.nbytes)


def test_a_query_is_in_flight_while_another_is_waited_for(clean):
    # Period on the GPU: nothing but the work. With one query in flight the host's part would add.
    with clean.load() as engine:
        call = engine.bind({"x": X}).call
        call.start()
        call()
        begin = clean.gpu.clock()
        for _ in range(50):
            call()
        period = (clean.gpu.clock() - begin) / 50
        call.finish()
    assert period == pytest.approx(COMPUTE_NS, rel=0.001)


def test_windows_of_the_shared_loop_hold_the_parts(clean):
    with clean.load(transfers=True) as engine:
        bound = engine.bind({"x": X})
        samples = sampling.measure([bound.call], sampling.QUICK, clock=clean.gpu.clock)
    window = samples.windows[0]
    copies = 2 * fakes.copy_ns(X.nbytes)
    assert set(window.latencies_ns[1:]) == {COMPUTE_NS + copies}
    assert list(window.parts.latencies_ns()) == list(window.latencies_ns)
    assert samples.stable
    # Throughput: everything of a query lies in one stream, nothing overlaps.
    assert window.wall_ns / len(window.latencies_ns) == pytest.approx(
        COMPUTE_NS + copies, rel=0.01
    )


def test_streams_overlap_and_have_contexts_of_their_own(clean):
    with clean.load(streams=2) as engine:
        calls = [engine.bind({"x": X}).call for _ in range(2)]
        for call in calls:
            call.start()
        begin = clean.gpu.clock()
        for _ in range(50):
            taken = [call() for call in calls]
        period = (clean.gpu.clock() - begin) / 50
        for call in calls:
            call.finish()
    assert [q.compute_ns for q in taken] == [COMPUTE_NS] * 2
    assert period == pytest.approx(COMPUTE_NS, rel=0.05)  # for one query of each stream
    assert len(clean.trt.contexts) == 2


def test_every_stream_may_be_called_from_a_thread_of_its_own(clean):
    with clean.load(streams=3) as engine:
        calls = [engine.bind({"x": X}).call for _ in range(3)]
        window, made = sampling.stretch(calls, 1_000_000, clock=clean.gpu.clock)
    assert made == len(window.latencies_ns) + 3
    assert set(window.parts.enqueue_ns) >= {fakes.LAUNCH_NS}


def test_a_graph_is_replayed_and_leaves_the_right_values(clean):
    with clean.load(transfers=True) as engine:
        execution = engine._execution({"x": X}, transfers=True, cuda_graph=True)
        assert execution.caveats == ()
        graph = execution._graph
        before = graph.launches
        execution._pinned["y"].array[:] = 0
        clean.window(execution.queries, 5)
        assert graph.launches == before + 6
        np.testing.assert_array_equal(execution._array("y"), 2 * X + 1)


@pytest.mark.parametrize("where", ["begin", "complete", "engine"])
def test_without_a_graph_it_runs_all_the_same_and_says_so(clean, where):
    clean.gpu.capture_fails = where
    clean.plan(capturable=where != "engine")
    with clean.load() as engine:
        bound = engine.bind({"x": X})
        taken = clean.window(bound.call)
    (caveat,) = bound.caveats
    assert caveat.kind == "no-cuda-graph"
    assert {"begin": "CAPTURE", "complete": "NOT_SUPPORTED", "engine": "not permitted"}[
        where
    ] in caveat.message
    assert {q.compute_ns for q in taken[1:]} == {COMPUTE_NS}


def test_rtx_is_asked_whether_it_can_be_captured(clean):
    class Asked(fakes.Context):
        def is_stream_capturable(self, stream):
            return False

    clean.trt.context_class = Asked
    with clean.load() as engine:
        bound = engine.bind({"x": X})
    assert "cannot be captured" in bound.caveats[0].message


def test_without_a_graph_if_none_is_wanted(clean):
    with clean.load(cuda_graph=False) as engine:
        bound = engine.bind({"x": X})
    assert bound.caveats == ()


def test_the_first_inference_is_apart(clean):
    clean.trt.first_run_extra_ns = 50_000_000  # TensorRT-RTX compiles
    with clean.load() as engine:
        bound = engine.bind({"x": X})
        assert bound.first_call_ns > 50_000_000
        assert {q.compute_ns for q in clean.window(bound.call)[1:]} == {COMPUTE_NS}


def test_outputs_of_data_dependent_shape(clean):
    clean.plan(outputs={"y": [-1]}, data_dependent="y")
    x = np.array([[1, -1, 2, -2], [0, 3, -5, 4]], np.float32)
    np.testing.assert_array_equal(clean.outputs(x)["y"], [1, 2, 3, 4])
    assert clean.outputs(-np.abs(x) - 1)["y"].shape == (0,)


def test_memory_of_an_output_grows_and_never_shrinks(clean):
    clean.plan(outputs={"y": [-1]}, data_dependent="y")
    with clean.load(transfers=True) as engine:
        execution = engine._execution({"x": X}, transfers=True)
        output = execution._data_dependent["y"]
        size = output.buffer.size
        for sign, n in ((1, 7), (-1, 0), (1, 7)):
            execution._pinned["x"].array[:] = (sign * X).reshape(-1).view(np.uint8)
            assert execution.outputs()["y"].shape == (n,)
            assert output.buffer.size == size
        execution._pinned["x"].array[:] = (X + 1).reshape(-1).view(np.uint8)
        np.testing.assert_array_equal(execution.outputs()["y"], (X + 1).reshape(-1))
        assert output.buffer.size > size
        for query in clean.window(execution.queries)[1:]:
            assert query.d2h_ns == fakes.copy_ns(32)


def test_data_dependent_shapes_run_without_a_graph(clean):
    clean.plan(outputs={"y": [-1]}, data_dependent="y")
    with clean.load() as engine:
        bound = engine.bind({"x": X})
        clean.window(bound.call)
    assert "depends on the data" in bound.caveats[0].message
    assert bound.output_bytes == 7 * 4


def test_no_memory_for_an_output_is_an_error_with_the_reason(rig):
    rig.plan(outputs={"y": [-1]}, data_dependent="y")
    rig.gpu.total = 4096 + 32 + 8  # activations and the input, then hardly anything
    with pytest.raises(ExecutionError, match="memory"), rig.load() as engine:
        engine.bind({"x": X})


def test_the_first_profile_that_holds_the_shapes_is_chosen(clean):
    clean.plan(profiles=[{"x": [[1, 4], [1, 4], [1, 4]]}, {"x": [[2, 4], [4, 4], [8, 4]]}])
    with clean.load() as engine:
        for rows, profile in ((1, 0), (2, 1), (8, 1)):
            x = np.ones((rows, 4), np.float32)
            execution = engine._execution({"x": x})
            assert execution.context.active_optimization_profile == profile
            assert execution.outputs()["y"].tolist() == [[3] * 4] * rows


def test_shapes_outside_all_profiles_are_refused_with_the_ranges(rig):
    rig.plan(profiles=[{"x": [[1, 4], [1, 4], [1, 4]]}, {"x": [[4, 4], [4, 4], [8, 4]]}])
    with pytest.raises(SpecError) as caught, rig.load() as engine:
        engine.bind({"x": X})
    for words in ("'x'", "[2, 4]", "[1, 4] to [1, 4]", "[4, 4] to [8, 4]"):
        assert words in caught.value.message


def test_fixed_shapes_need_no_profile(rig):
    rig.plan(inputs={"x": [2, 4]}, outputs={"y": [2, 4]}, profiles=[{}])
    np.testing.assert_array_equal(rig.outputs()["y"], 2 * X + 1)
    with pytest.raises(SpecError, match=r"\[1, 4\]"):
        rig.outputs(X[:1])


def test_shape_tensors_lie_on_the_host(clean):
    clean.plan(
        inputs={"x": [-1, 4], "n": [1]},
        shape_inputs=["n"],
        types={"n": "INT64"},
    )
    with clean.load() as engine:
        feeds = {"x": X, "n": np.array([2])}
        execution = engine._execution(feeds)
        assert execution.context.addresses["n"] == execution._pinned["n"].array.ctypes.data
        np.testing.assert_array_equal(execution.outputs()["y"], 2 * X + 1)


def test_aux_streams_are_given(clean):
    clean.plan(aux_streams=2)
    np.testing.assert_array_equal(clean.outputs()["y"], 2 * X + 1)


def test_memory_that_the_builder_reports(clean):
    with clean.load(streams=2) as engine:
        bound = engine.bind({"x": X})
    assert bound.device_bytes.activations == 4096
    assert bound.device_bytes.weights == 8192
    assert bound.device_bytes.io == 2 * X.nbytes
    assert bound.output_bytes == X.nbytes


def test_weights_are_unknown_to_older_versions(clean):
    del clean.trt.EngineStat
    with clean.load() as engine:
        assert engine.bind({"x": X}).device_bytes.weights is None


def test_the_inspector_is_asked_for_json(clean):
    with clean.load() as engine:
        engine.bind({"x": X})
        told = json.loads(engine_module.inspector_text(clean.trt, clean.trt.engines[0]()))
    assert told["Layers"] == ["scale", "add"]


# Layer times


def layer_times(rig, runs=5):
    seen = []
    times = engine_module.layer_times(
        rig.trt, rig.log, rig.file, RunConfig(), {"x": X}, runs, lambda *p: seen.append(p)
    )
    assert seen[-1][2] == len(seen)
    return times


def test_layer_times_are_the_layers_own(clean):
    times = layer_times(clean)
    assert times.kind == "gpu"
    assert [(y.name, list(y.samples_ns)) for y in times.layers] == [
        ("scale", [60_000] * 5),
        ("add", [40_000] * 5),
    ]
    assert len(times.runs_ns) == 5
    assert min(times.runs_ns) >= COMPUTE_NS
    assert times.caveats == ()


def test_layers_of_equal_name_stay_apart(clean):
    class Twice(fakes.Context):
        def _report(self):
            super()._report()
            self._profiler.report_layer_time("scale", 0.001)

    clean.trt.context_class = Twice
    assert [y.name for y in layer_times(clean).layers] == ["scale", "add", "scale"]


def test_layers_that_change_between_runs_are_refused(rig):
    class Growing(fakes.Context):
        runs = 0

        def _report(self):
            super()._report()
            Growing.runs += 1
            if Growing.runs == 6:
                self._profiler.report_layer_time("extra", 0.001)

    rig.trt.context_class = Growing
    with pytest.raises(ExecutionError, match="2 layers in one run"):
        layer_times(rig)


def test_no_layers_is_an_error(rig):
    class Silent(fakes.Context):
        def _report(self):
            self.unreported = None

    rig.trt.context_class = Silent
    with pytest.raises(ExecutionError, match="no layers"):
        layer_times(rig)


def test_parallel_layers_carry_a_caveat(clean):
    clean.plan(aux_streams=1)
    assert [c.kind for c in layer_times(clean).caveats] == ["aux-streams"]


def test_the_profiler_never_sees_a_timed_run(clean):
    with clean.load() as engine:
        engine.bind({"x": X})
        assert clean.trt.contexts[0]().profiler is None


# What TensorRT refuses, by None or by False


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "9.3"}, "another version"),
        ({"cc": [9, 0]}, "another GPU"),
        (None, "damaged or cut off"),
    ],
)
def test_a_plan_that_does_not_fit_says_how(rig, change, words):
    if change is None:
        rig.file.write_bytes(fakes.plan()[:100])
    else:
        rig.plan(**change)
    with pytest.raises(PlanError, match=words) as caught, rig.load():
        pass
    assert caught.value.hint
    assert caught.value.details


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "9.3"}, "another version"),
        ({"cc": [9, 0]}, "compute capability"),
        (None, "damaged or cut off"),
    ],
)
def test_rtx_says_by_bits_what_is_wrong(rig, change, words):
    rig.trt.runtime_class = fakes.ValidatingRuntime
    rig.trt.EngineInvalidityDiagnostics = fakes.Diagnostics
    if change is None:
        rig.file.write_bytes(fakes.plan()[:100])
    else:
        rig.plan(**change)
    with pytest.raises(PlanError, match=words), rig.load():
        pass


def test_an_empty_plan_is_never_deserialised(rig):
    rig.file.write_bytes(b"")
    with pytest.raises(PlanError, match="empty"), rig.load():
        pass


@pytest.mark.parametrize(
    "call",
    [
        "create_execution_context",
        "set_optimization_profile_async",
        "set_input_shape",
        "set_tensor_address",
        "execute_async_v3",
    ],
)
def test_every_refusal_is_an_error(rig, call):
    rig.plan(profiles=[{"x": [[1, 4], [1, 4], [1, 4]]}, {"x": [[2, 4], [4, 4], [8, 4]]}])
    rig.trt.refuse.add(call)
    with pytest.raises(ExecutionError), rig.load() as engine:
        engine.bind({"x": X})
    # The error's traceback frees what it holds in an order of its own.
    assert [w for w in rig.gpu.misuses if "freed before" not in w] == []


def test_a_refused_report_is_an_error(rig):
    rig.trt.refuse.add("report_to_profiler")
    with pytest.raises(ExecutionError, match="report layer times"):
        layer_times(rig)


def test_a_refused_allocator_is_an_error(rig):
    rig.plan(outputs={"y": [-1]}, data_dependent="y")
    rig.trt.refuse.add("set_output_allocator")
    with pytest.raises(ExecutionError, match="allocator"), rig.load() as engine:
        engine.bind({"x": X})


def test_too_little_memory_for_a_context_says_how_much(rig):
    rig.gpu.total = 2048
    with pytest.raises(ExecutionError, match=r"4\.00 KiB") as caught, rig.load() as engine:
        engine.bind({"x": X})
    assert "2.00 KiB" in caught.value.message


def test_too_little_memory_for_a_buffer_is_an_error(rig):
    rig.gpu.total = 4096 + 16
    with pytest.raises(ExecutionError, match="does not suffice"), rig.load() as engine:
        engine.bind({"x": X})


def test_inputs_of_another_kind_are_refused(rig):
    with pytest.raises(SpecError, match="float32"):
        rig.outputs(X.astype(np.int64))
    with pytest.raises(SpecError, match="'x'"), rig.load() as engine:
        engine.bind({"z": X})
    rig.plan(types={"y": "INT4"})
    with pytest.raises(UnsupportedError, match="INT4"):
        rig.outputs()


def test_no_driver_is_unavailable(rig):
    rig.cuda.driver_version = 0
    with pytest.raises(BackendUnavailableError, match="no NVIDIA driver"), rig.load():
        pass


# Planted faults: each mutation of the true code must be noticed


def noticed(rig, act):
    """Whether the fault shows: an error, a misuse, or a value that is not 2x + 1."""
    try:
        wrong = act()
    except (fakes.Misuse, fakes.CUDAError, ExecutionError, ValueError):
        return True
    gc.collect()
    return bool(rig.gpu.misuses) or bool(wrong)


def values_are_wrong(rig):
    return not np.array_equal(rig.outputs()["y"], 2 * X + 1)


def times_are_wrong(rig, **run):
    return any(q.compute_ns != COMPUTE_NS for q in rig.queries(**run)[1:])


def test_the_true_code_is_not_noticed(rig):
    for act in (values_are_wrong, times_are_wrong, lambda r: times_are_wrong(r, transfers=True)):
        assert not noticed(rig, lambda act=act: act(rig))


def test_fault_shapes_after_the_run(rig, monkeypatch):
    # Call order: nothing is inferred before the engine runs.
    monkeypatch.setattr(fakes.Context, "infer_shapes", lambda _self: [])
    assert noticed(rig, lambda: values_are_wrong(rig))


def test_fault_profile_after_shapes(rig, monkeypatch):
    rig.plan(profiles=[{"x": [[1, 4], [2, 4], [2, 4]]}, {"x": [[1, 4], [2, 4], [2, 4]]}])
    true = Execution._bind

    def late(self, context, feeds):
        true(self, context, feeds)
        context.set_optimization_profile_async(1, self._handle)

    monkeypatch.setattr(Execution, "_bind", late)
    assert noticed(rig, lambda: values_are_wrong(rig))


def test_fault_none_taken_for_an_engine(rig, monkeypatch):
    def unchecked(trt, log, runtime, plan):
        return runtime.deserialize_cuda_engine(b"no plan")

    monkeypatch.setattr(engine_module, "_deserialized", unchecked)
    with pytest.raises(AttributeError, match="NoneType"):
        rig.outputs()


def test_fault_the_address_of_another_buffer(rig, monkeypatch):
    true = Execution._set_address

    def swapped(self, context, name, buffer):
        true(self, context, name, self._device_buffers["x"] if name == "y" else buffer)

    monkeypatch.setattr(Execution, "_set_address", swapped)
    assert noticed(rig, lambda: values_are_wrong(rig))


def test_fault_an_address_that_is_nobodys(rig, monkeypatch):
    def off(self, context, name, buffer):
        context.set_tensor_address(name, int(buffer.handle) + 4096)

    monkeypatch.setattr(Execution, "_set_address", off)
    assert noticed(rig, lambda: values_are_wrong(rig))


def test_fault_the_hosts_address_for_the_gpus(rig, monkeypatch):
    # A pinned address works on the GPU, so the values are right: but nothing is copied out.
    def host(self, context, name, buffer):
        context.set_tensor_address(name, 0x10 if name == "y" else int(buffer.handle))

    monkeypatch.setattr(Execution, "_set_address", host)
    assert noticed(rig, lambda: values_are_wrong(rig))


def test_fault_a_missing_address(rig, monkeypatch):
    true = Execution._set_address

    def skipping(self, context, name, buffer):
        if name != "y":
            true(self, context, name, buffer)

    monkeypatch.setattr(Execution, "_set_address", skipping)
    assert noticed(rig, lambda: values_are_wrong(rig))


def test_fault_outputs_read_without_waiting(rig, monkeypatch):
    def hasty(self):
        self._copy_in()
        self._enqueue()
        self._copy_out()
        return {"y": self._array("y")}

    monkeypatch.setattr(Execution, "outputs", hasty)
    assert noticed(rig, lambda: values_are_wrong(rig))


def test_fault_inputs_are_not_copied(rig, monkeypatch):
    monkeypatch.setattr(fakes.Buffer, "copy_from", lambda *_a, **_k: None)
    assert noticed(rig, lambda: values_are_wrong(rig))


def test_fault_an_event_read_too_early(rig, monkeypatch):
    def hasty(self):
        done, ahead = self._slots
        self._put(ahead)
        self._slots.reverse()
        return sampling.Query(round((done.computed - done.computing) * 1e6), 0)

    monkeypatch.setattr(Queries, "__call__", hasty)
    assert noticed(rig, lambda: times_are_wrong(rig))


def test_fault_an_event_of_a_query_that_still_runs(rig, monkeypatch):
    def of_the_next(self):
        done, ahead = self._slots
        self._put(ahead)
        self._slots.reverse()
        done.end.sync()
        return sampling.Query(round((ahead.computed - ahead.computing) * 1e6), 0)

    monkeypatch.setattr(Queries, "__call__", of_the_next)
    assert noticed(rig, lambda: times_are_wrong(rig))


def test_fault_one_slot_for_two_queries(rig, monkeypatch):
    true = Queries.__init__

    def shared(self, *arguments, **settings):
        true(self, *arguments, **settings)
        self._slots[1] = self._slots[0]

    monkeypatch.setattr(Queries, "__init__", shared)
    assert noticed(rig, lambda: times_are_wrong(rig, transfers=True) or period_is_wrong(rig))


def period_is_wrong(rig):
    with rig.load() as engine:
        call = engine.bind({"x": X}).call
        call.start()
        call()
        begin = rig.gpu.clock()
        for _ in range(20):
            call()
        return abs((rig.gpu.clock() - begin) / 20 / COMPUTE_NS - 1) > 0.001


def test_fault_events_that_take_no_time(rig, monkeypatch):
    monkeypatch.setattr(rig.cuda.core, "EventOptions", lambda **_: None)
    assert noticed(rig, lambda: times_are_wrong(rig))


def test_fault_one_query_in_flight_counts_the_hosts_time(rig, monkeypatch):
    def alone(self):
        slot = self._slots[0]
        slot.end.sync()
        taken = sampling.Query(round((slot.computed - slot.computing) * 1e6), slot.enqueue_ns)
        self._put(slot)
        return taken

    monkeypatch.setattr(Queries, "__call__", alone)
    assert noticed(rig, lambda: times_are_wrong(rig))


def test_fault_two_streams_share_a_context(rig):
    class Shared(fakes.Engine):
        def create_execution_context(self, strategy=0):
            if not hasattr(self, "only"):
                self.only = super().create_execution_context(strategy)
            return self.only

    rig.trt.engine_class = Shared

    def act():
        with rig.load(streams=2) as engine:
            calls = [engine.bind({"x": X}).call for _ in range(2)]
            for call in calls:
                call.start()
            for call in calls:
                call()
                call.finish()

    assert noticed(rig, act)
    assert any("activation memory" in words for words in rig.gpu.misuses)


@pytest.mark.parametrize("which", ["x", "y"])
@pytest.mark.parametrize("graph", [False, True])
def test_fault_a_buffer_freed_early(rig, which, graph):
    def act():
        with rig.load() as engine:
            execution = engine._execution({"x": X}, cuda_graph=graph)
            execution._device_buffers[which].close()
            rig.window(execution.queries, 3)

    assert noticed(rig, act)
    assert any("freed" in words for words in rig.gpu.misuses)


def test_fault_pinned_memory_freed_while_it_is_copied(rig):
    def act():
        with rig.load() as engine:
            execution = engine._execution({"x": X})
            execution._copy_in()
            execution._pinned["x"].buffer.close()

    assert noticed(rig, act)


def test_fault_nothing_waits_before_memory_is_freed(rig, monkeypatch):
    monkeypatch.setattr(Execution, "close", lambda self: self._free())

    def act():
        with rig.load() as engine:
            engine.bind({"x": X}).call.start()

    assert noticed(rig, act)


def test_fault_the_engine_outlived_by_its_context(rig, monkeypatch):
    monkeypatch.setattr(engine_module.Engine, "close", lambda self: None)
    kept = []

    def act():
        with rig.load() as engine:
            kept.append(engine.bind({"x": X}).call)
            kept.append(rig.trt.contexts[0]())
            del engine
        gc.collect()

    assert noticed(rig, act) or any("freed before" in w for w in rig.gpu.misuses)


@pytest.mark.parametrize(
    "call", ["set_input_shape", "set_tensor_address", "execute_async_v3", "report_to_profiler"]
)
def test_fault_a_false_that_nobody_looks_at(rig, monkeypatch, call):
    # As if the true code took every answer for yes.
    rig.trt.refuse.add(call)
    true = getattr(fakes.Context, call)

    def yes(self, *arguments):
        true(self, *arguments)
        return True

    monkeypatch.setattr(fakes.Context, call, yes)
    act = layer_times if call == "report_to_profiler" else values_are_wrong
    assert noticed(rig, lambda: act(rig))


def test_fault_layer_times_asked_before_the_work_is_done(rig, monkeypatch):
    def hasty(self):
        self._enqueue()
        self.context.report_to_profiler()
        return 1

    monkeypatch.setattr(Execution, "report_layers", hasty)
    assert noticed(rig, lambda: layer_times(rig))


def test_fault_the_profiler_left_on_in_every_enqueue(rig, monkeypatch):
    monkeypatch.setattr(
        fakes.Context, "enqueue_emits_profile", property(lambda _: True, lambda *_: None),
        raising=False,
    )  # fmt: skip
    assert noticed(rig, lambda: layer_times(rig))


def test_fault_the_default_stream(rig, monkeypatch):
    def default(self):
        return self._context.execute_async_v3(0)

    monkeypatch.setattr(Execution, "_enqueue", default)
    assert noticed(rig, lambda: values_are_wrong(rig))


def test_fault_a_stream_left_in_capture_mode(rig, monkeypatch):
    monkeypatch.setattr(fakes.GraphBuilder, "end_building", lambda self: self)
    assert noticed(rig, lambda: times_are_wrong(rig))


def test_fault_a_thread_without_a_context(rig, monkeypatch):
    import threading

    true = Queries.start
    monkeypatch.setattr(Queries, "start", lambda self: self._put(self._slots[0]))
    failures = []

    def act():
        with rig.load() as engine:
            call = engine.bind({"x": X}).call

            def other():
                try:
                    call.start()
                except fakes.CUDAError as error:
                    failures.append(error)

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            return failures

    assert noticed(rig, act)
    monkeypatch.setattr(Queries, "start", true)


def test_fault_an_allocator_that_nobody_keeps(rig, monkeypatch):
    rig.plan(outputs={"y": [-1]}, data_dependent="y")
    true = Execution._bind_output

    def forgetting(self, context, name):
        true(self, context, name)
        self._allocators.clear()
        gc.collect()

    monkeypatch.setattr(Execution, "_bind_output", forgetting)
    assert noticed(rig, lambda: rig.outputs()["y"].tolist() != [1, 2, 3, 4, 5, 6, 7])


# The fakes themselves


@pytest.mark.parametrize(
    ("protocol", "fake", "unused"),
    [
        (bindings.Runtime, fakes.Runtime, set()),
        (bindings.EngineInspector, fakes.Inspector, set()),
        (bindings.ExecutionContext, fakes.Context, set()),
        (bindings.Engine, fakes.Engine, set()),
    ],
)
def test_the_fakes_have_what_the_protocols_name(rig, protocol, fake, unused):
    with rig.load() as engine:
        execution = engine._execution({"x": X})
        objects = {
            fakes.Runtime: fakes.Runtime(rig.trt, rig.log.logger),
            fakes.Inspector: fakes.Inspector(rig.trt.engines[0]()),
            fakes.Context: execution.context,
            fakes.Engine: rig.trt.engines[0](),
        }
        named = {n for n in (*vars(protocol), *protocol.__annotations__) if n[0] != "_"}
        assert {n for n in named if not hasattr(objects[fake], n)} == unused


def test_choosing_a_profile_reads_nothing_but_ranges():
    class Ranges:
        num_optimization_profiles = 2

        def get_tensor_shape(self, name):
            return (-1, 3)

        def get_tensor_profile_shape(self, name, index):
            return [((1, 3), (2, 3), (4, 3)), ((5, 3), (6, 3), (9, 3))][index]

    assert [choose_profile(Ranges(), {"x": (n, 3)}) for n in (1, 4, 5, 9)] == [0, 0, 1, 1]
    for shape in ((10, 3), (1, 4), (1,), (1, 3, 1)):
        with pytest.raises(SpecError, match="'x'"):
            choose_profile(Ranges(), {"x": shape})
