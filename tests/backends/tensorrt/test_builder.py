"""Real engines by TensorRT-RTX without a GPU: what is built, refused, cancelled and killed."""

import contextlib
import hashlib
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

import trtlab
from tests.model.nets import model, value
from trtlab import worker
from trtlab.backends.base import TIMING_CACHE, Built
from trtlab.backends.tensorrt import builder
from trtlab.backends.tensorrt.module import Log
from trtlab.environment import gpu_state
from trtlab.errors import (
    BackendUnavailableError,
    BuildError,
    JobCancelled,
    ModelError,
    ParseError,
    SpecError,
    StoreError,
    TrtlabError,
    UnsupportedError,
    WorkerCrashed,
    WorkspaceTooSmall,
)
from trtlab.record import Plan
from trtlab.spec import BuildConfig, ShapeRange
from trtlab.store import Store
from trtlab.verbs import build as verb
from trtlab.verbs.load import zoo_path
from trtlab.worker import Progress
from trtlab.zoo.catalogue import ENTRIES

pytestmark = [pytest.mark.native, pytest.mark.usefixtures("rtx")]
no_gpu = pytest.mark.skipif(gpu_state().usable, reason="there is a GPU, so this is allowed here")

RTX = {"backend": "tensorrt_rtx", "target": "sm89"}


def build(source, **settings):
    return trtlab.build(source, **(RTX | settings))


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """Paths of the zoo's files by name; each is made once for all tests."""
    store = Store(tmp_path_factory.mktemp("zoo"))
    return lambda name: zoo_path(f"zoo:{name}", store)


@pytest.fixture
def small(shared_data):
    """The network whose build log is recorded beside it."""
    return shared_data / "aot" / "m.onnx"


def named(proto):
    """Names of the graph's nodes; TensorRT's parser gives one to those that have none."""
    return {n.name or f"node_of_{n.output[0]}": n.op_type for n in proto.graph.node}


def covered(plan):
    return {node for layer in plan.layers for node in layer.nodes}


def weight_bytes(proto):
    return sum(len(numpy_helper.to_array(t).tobytes()) for t in proto.graph.initializer)


def check_whole(plan, proto, most_weights=1.25):
    """Hold a plan against its ONNX graph and its file in the store, not against itself."""
    content = Store().plan_path(plan.hash).read_bytes()
    assert hashlib.sha256(content).hexdigest() == plan.hash
    assert len(content) == plan.plan_bytes
    assert plan.caveats == ()
    assert plan.layers
    assert "unread" not in {y.type for y in plan.layers}
    ops = named(proto)
    assert covered(plan) <= set(ops)
    heavy = {name for name, op in ops.items() if op in ("Conv", "Gemm", "MatMul")}
    assert heavy
    assert heavy <= covered(plan), "a convolution or product is in no layer"
    outputs = {t.name for layer in plan.layers for t in layer.outputs}
    assert {o.name for o in proto.graph.output} <= outputs
    assert 0 < plan.memory.scratch <= plan.memory.activation
    assert 0.75 < plan.memory.weights / weight_bytes(proto) < most_weights
    assert plan.plan_bytes > plan.memory.weights
    assert plan.peak_rss_bytes > plan.plan_bytes
    assert plan.streams == len({y.stream for y in plan.layers})
    assert plan.build_seconds > 0


@pytest.mark.parametrize("name", ENTRIES)
def test_every_zoo_model_is_built_for_a_range_of_batches(name, zoo):
    path = zoo(name)
    proto = onnx.load(path)
    plan = build(path)
    check_whole(plan, proto)
    (profile,) = plan.config.profiles
    (shapes,) = profile.values()
    assert [shape[0] for shape in shapes] == [1, 8, 32]


def half(proto):
    """The same network in FP16."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    for tensor in made.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            data = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(data, tensor.name))
    for info in (*made.graph.input, *made.graph.output):
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    del made.graph.value_info[:]
    return made


@pytest.mark.parametrize("target", ["sm89", "sm120"])
@pytest.mark.parametrize("batch", [4, (1, 4, 8)], ids=["static", "dynamic"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("name", ["m", "digits", "squeezenet"])
def test_precisions_batches_and_targets(name, precision, batch, target, zoo, small):
    proto = onnx.load(small if name == "m" else zoo(name))
    if precision == "float16":
        proto = half(proto)
    plan = build(proto, target=target, batch=batch)
    # Of FP16 weights the builder holds some in FP32, where it folds a normalisation into them.
    check_whole(plan, proto, most_weights=1.25 if precision == "float32" else 2.05)
    assert plan.config.target == (target,)
    dtypes = Counter(t.dtype for y in plan.layers for t in y.outputs)
    other = {"float16": "float32", "float32": "float16"}[precision]
    assert dtypes[precision] > 3 * dtypes[other]
    (first,) = proto.graph.input
    read = {t.name: t for y in plan.layers for t in y.inputs}[first.name]
    assert read.dtype == precision
    assert read.shape[0] == (4 if batch == 4 else None)
    # Only Flatten (and what does nothing while inferring) leaves no trace.
    lost = {named(proto)[n] for n in set(named(proto)) - covered(plan)}
    assert lost <= {"Flatten", "Dropout", "Concat", "Reshape"}


def test_the_recorded_build_is_built_again(small):
    # Against the README beside the model, which tells of a build by bare calls.
    plan = build(small, batch=(1, 8, 16))
    assert plan.memory.activation == plan.memory.scratch == 29_818_880
    assert plan.memory.weights == 96_128
    assert Counter(y.type for y in plan.layers) == {
        "runtime_fusion": 4,
        "kgen": 4,
        "wait": 4,
        "signal": 3,
        "runtime_function": 1,
        "correlation": 1,
        "gemm": 1,
        "shape_call": 1,
    }
    assert set(named(onnx.load(small))) - covered(plan) == {"fl"}
    assert plan.streams == 3
    branches = {
        y.stream: y.nodes for y in plan.layers if len(y.nodes) == 3 and y.nodes[0][0] == "i"
    }
    assert branches == {
        0: ("ic", "ibc", "irc"),
        1: ("ib", "ibb", "irb"),
        2: ("ia", "iba", "ira"),
    }
    events = Counter(y.event for y in plan.layers if y.type in ("signal", "wait"))
    assert None not in events
    assert all(y.event is None for y in plan.layers if y.type not in ("signal", "wait"))


def test_activations_are_those_of_the_largest_batch(zoo):
    # Facts: 23.2 MB at batch 1; 581.6 MB at 64 and at 1:8:64.
    path = zoo("resnet50")
    seen = [build(path, batch=b).memory.activation / 1e6 for b in (1, 64, (1, 8, 64))]
    assert seen == pytest.approx([23.2, 581.6, 581.6], rel=0.01)


def test_two_homes_give_the_same_bytes(small, tmp_path):
    first = build(small)
    again = build(small, store=Store(tmp_path / "other"))
    assert again.build_seconds != first.build_seconds, "built, not found"
    assert again.hash == first.hash


def test_the_same_inputs_give_a_hit_without_a_worker(small, monkeypatch):
    ways = {"workspace": "64MiB", "flags": ["SPARSE_WEIGHTS"]}
    first = build(small, **ways)

    def refuse(*_arguments, **_settings):
        raise AssertionError("a worker was started")

    monkeypatch.setattr(worker, "run", refuse)
    assert build(small, workspace=2**26, flags=["SPARSE_WEIGHTS"] * 2) == first
    for other in (
        {"workspace": "128MiB"},
        {"workspace": None},
        {"flags": []},
        {"target": "sm86"},
        {"batch": 2},
        {"aux_streams": 1},
    ):
        with pytest.raises(AssertionError, match="a worker was started"):
            build(small, **(ways | other))


def test_several_targets_are_one_plan(small):
    plans = [build(small, target=t) for t in ("sm89", "sm120", ["sm89", "sm120"])]
    assert len({p.hash for p in plans}) == 3
    assert plans[2].config.target == ("sm89", "sm120")
    assert len(plans[2].layers) == 19


def test_several_profiles_are_all_in_the_plan_and_in_the_record(small):
    def shapes(*batches):
        return {"x": [(b, 3, 64, 64) for b in batches]}

    plan = build(small, profiles=[shapes(1, 2, 4), shapes(8, 8, 16)])
    assert [p["x"].max[0] for p in plan.config.profiles] == [4, 16]
    again = next(Store().all(Plan))
    assert type(again.config.profiles[1]["x"]) is ShapeRange
    assert again == plan
    assert plan.memory.activation == build(small, batch=(8, 8, 16)).memory.activation
    assert len(plan.layers) > len(build(small, batch=(1, 2, 4)).layers)
    assert "profile 1" in repr(plan)


def test_settings_reach_the_builder(small):
    plain = build(small)
    alone = build(small, aux_streams=0)
    assert plain.streams == 3
    assert alone.streams == 1
    assert build(small, flags=["REQUIRE_USER_ALLOCATION"]).hash != plain.hash
    assert build(small, tf32=False).hash != plain.hash
    # All of these do something only with full TensorRT, and are no error here.
    free = {
        "optimization_level": 5,
        "avg_timing_iterations": 3,
        "max_num_tactics": 2,
        "tactic_sources": ["JIT_CONVOLUTIONS"],
        "memory_pools": {"TACTIC_DRAM": "1GiB"},
        "timing_cache": False,
        "workspace": "64MiB",
    }
    plan = build(small, **free)
    assert plan.warnings == ()
    assert plan.config.memory_pools == {"TACTIC_DRAM": 2**30}


@pytest.mark.parametrize("verbosity", ["LAYER_NAMES_ONLY", "NONE"])
def test_a_plan_that_tells_only_names_says_so(small, verbosity):
    plan = build(small, profiling_verbosity=verbosity)
    (layer,) = plan.layers
    assert layer.name.startswith("{ForeignNode[c1...")
    assert layer.nodes == ()
    (caveat,) = plan.caveats
    assert caveat.kind == "layers-unread"
    assert "DETAILED" in caveat.hint


def test_messages_are_kept_by_severity_and_without_noise(small):
    plan = build(small)
    assert plan.warnings == ()
    texts = [m.text for m in plan.messages]
    assert any(t.startswith("Engine generation completed in") for t in texts)
    assert not any(str(small.parent) in t for t in texts)
    twins = model(
        [helper.make_node("Relu", ["x"], ["h"], name="twin"),
         helper.make_node("Exp", ["h"], ["y"], name="twin")],
        {"x": [1, 4]}, {"y": [1, 4]},
    )  # fmt: skip
    (warning,) = build(twins).warnings
    assert warning.severity == "warning"
    assert "A node named twin already exists" in warning.text


# Bad models


def only(op, inputs=("x",), **more):
    return helper.make_node(op, inputs, ["y"], name="only", **more)


def typed(op, dtype):
    info = [value(n, [4], dtype) for n in "xy"]
    graph = helper.make_graph([only(op)], "g", info[:1], info[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def custom():
    made = model([only("Odd", domain="my.ops")], {"x": [1, 4]}, {"y": [1, 4]})
    made.opset_import.append(helper.make_opsetid("my.ops", 1))
    return made


def cycle():
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="turn"),
        helper.make_node("Relu", ["a"], ["b"], name="round"),
        helper.make_node("Relu", ["a"], ["y"], name="out"),
    ]
    return model(nodes, {"x": [1, 4]}, {"y": [1, 4]})


def added(weight, x=(1, 4)):
    return model([only("Add", ["x", "w"])], {"x": list(x)}, {"y": list(x)}, {"w": weight})


def external(length):
    def save(path):
        made = added(np.ones((1, 4), np.float32))
        onnx.save(made, path, save_as_external_data=True, location="w.bin", size_threshold=0)
        data = path.parent / "w.bin"
        data.unlink() if length is None else data.write_bytes(bytes(length))

    return save


def whole():
    return added(np.ones((1, 4), np.float32)).SerializeToString()


NOISE = bytes(np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8))
NO_SUPPORT = "does not support"
# What, the words of trtlab.build, and the words where only TensorRT's parser looks at the file.
BAD = {
    "no-bytes": (b"", "bad.onnx was not opened: the file is empty", "no outputs"),
    "text": (b"this is no model\n" * 20, "bad.onnx was not opened: it is a text", "no outputs"),
    "noise": (NOISE, "bad.onnx was not opened", "bad.onnx: the file is no ONNX model"),
    "cut": (whole()[:-7], "bad.onnx was not opened", "bad.onnx: the file is no ONNX model"),
    "missing": (lambda path: None, "bad.onnx was not opened: there is no such", "bad.onnx"),
    "no-outputs": (model([only("Relu")], {"x": [4]}, {}), "bad.onnx", "no outputs"),
    "nothing": (model([], {}, {}), "bad.onnx was not opened", "no outputs"),
    "det": (model([only("Det")], {"x": ["N", 3, 3]}, {"y": ["N"]}), "only (Det): it", NO_SUPPORT),
    "unique": (model([only("Unique")], {"x": [8]}, {"y": [None]}), "only (Unique)", NO_SUPPORT),
    "domain": (custom(), "only (Odd): it does not know this operator", "no plugin provides it"),
    "types": (added(np.ones((1, 4), np.float16)), "only (Add)", "types Float and Half"),
    "shapes": (added(np.ones((1, 5), np.float32)), "only (Add)", "broadcast"),
    "cycle": (cycle(), "bad.onnx was not opened: node turn", "topologically"),
    "dangling": (model([only("Add", ["x", "z"])], {"x": [4]}, {"y": [4]}), "only", "only (Add)"),
    "weights-gone": (external(None), "w.bin", "bad.onnx: the graph is not sound"),
    "weights-short": (external(7), "w.bin", "bad.onnx: the graph is not sound"),
}  # fmt: skip


def put(what, path):
    if callable(what):
        what(path)
    else:
        path.write_bytes(what if isinstance(what, bytes) else what.SerializeToString())
    return path


def check_told(error):
    assert error.hint
    assert "Traceback" not in error.message
    assert "\n" not in error.message
    assert not list(Store().all(Plan))
    assert list((Store().home / "plans").iterdir()) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_model_names_file_or_node(name, tmp_path):
    what, words, _ = BAD[name]
    with pytest.raises((ModelError, ParseError)) as caught:
        build(put(what, tmp_path / "bad.onnx"))
    assert words in caught.value.message
    check_told(caught.value)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_model_that_our_own_checks_let_through_is_refused_by_the_parser(name, tmp_path):
    # As where a file changes between checking and building.
    what, _, words = BAD[name]
    path = put(what, tmp_path / "bad.onnx")
    spec = verb._BuildSpec(str(path), False, BuildConfig(**RTX | {"target": ("sm89",)}), ".")
    with pytest.raises(ParseError) as caught:
        worker.run(verb._build_job, replace(spec, folder=str(tmp_path)))
    message = caught.value.message
    assert words in message
    check_told(caught.value)
    assert not (tmp_path / "engine.plan").exists()
    if name.startswith("weights"):
        assert "w.bin" in caught.value.details


def test_a_reason_is_given_once(tmp_path):
    # FAULT in builder._rejections: of an error code that it has no words for, the parser's text
    # stands twice: "X (X)".
    spec = verb._BuildSpec(
        str(tmp_path / "gone.onnx"), False, BuildConfig(backend="tensorrt_rtx", target=("sm89",)),
        str(tmp_path),
    )  # fmt: skip
    with pytest.raises(ParseError) as caught:
        worker.run(verb._build_job, spec)
    assert caught.value.message.count("Input file cannot be found") == 1


@pytest.mark.parametrize("op", ["Identity", "StringNormalizer"])
def test_an_input_of_strings_is_refused_for_its_type(op, tmp_path):
    path = put(typed(op, TensorProto.STRING), tmp_path / "bad.onnx")
    with pytest.raises(ParseError) as caught:
        build(path)
    check_told(caught.value)
    assert "parser refuses bad: " in caught.value.message, "by the name of the model"
    assert "data type" in caught.value.message


def test_a_dynamic_input_without_shapes_is_named(tmp_path):
    path = put(model([only("Relu")], {"x": ["N", "L"]}, {"y": ["N", "L"]}), tmp_path / "bad.onnx")
    with pytest.raises(SpecError, match=r"'x' \[N, L\] has axes without a size: L") as caught:
        build(path)
    assert "--min-shapes x:" in caught.value.hint
    with pytest.raises(SpecError, match=r"'x' is dynamic \[-1, -1\]") as caught:
        build(path, profiles=[])
    check_told(caught.value)
    assert build(path, shapes={"x": (2, 3)}).layers


ODD = {
    "input-is-output": model([], {"x": [1, 4]}, {"x": [1, 4]}),
    "no-inputs": model(
        [helper.make_node("Constant", [], ["y"], name="only", value=numpy_helper.from_array(
            np.ones((1, 4), np.float32)))], {}, {"y": [1, 4]}),
    "no-names": model(
        [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Exp", ["h"], ["y"])],
        {"x": [1, 4]}, {"y": [1, 4]}),
    "doubles": typed("Relu", TensorProto.DOUBLE),
    "wrong-output-shape": model([only("Relu")], {"x": [1, 4]}, {"y": [1, 5]}),
    "no-elements": model([only("Relu")], {"x": [0, 4]}, {"y": [0, 4]}),
    "not-a-number": added(np.full((1, 4), np.nan, np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_an_odd_model_that_tensorrt_takes_is_built(name):
    plan = build(ODD[name])
    assert plan.layers
    assert plan.caveats == ()
    assert covered(plan) <= set(named(ODD[name]))


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 3, 32, 32), "max=32 but tensor has 64"), ((1, 3, 64), "4 dimensions")],
)
def test_profiles_that_only_tensorrt_can_judge_are_refused_with_its_reason(shape, words, small):
    profile = {"x": ShapeRange(*[shape] * 3)}
    config = BuildConfig(backend="tensorrt_rtx", target=("sm89",), profiles=(profile,))
    with pytest.raises(BuildError, match=words) as caught:
        verb.build_with(trtlab.load(small), config, store=Store())
    check_told(caught.value)


def test_a_profile_for_an_input_that_is_not_there_is_refused(small):
    whole_range = ShapeRange(*[(1, 3, 64, 64)] * 3)
    profile = {"x": whole_range, "z": whole_range}
    config = BuildConfig(backend="tensorrt_rtx", target=("sm89",), profiles=(profile,))
    with pytest.raises(SpecError, match="no input called 'z'") as caught:
        verb.build_with(trtlab.load(small), config, store=Store())
    check_told(caught.value)


def test_a_batch_that_no_memory_holds_is_refused_with_its_size(small):
    with pytest.raises(BuildError, match="1000000000,3,64,64"):
        build(small, shapes={"x": (10**9, 3, 64, 64)})


# What this TensorRT or this machine cannot do


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "plugin.so"
    path.write_text("no library")
    return str(path)


REFUSED = [
    ({"target": "sm90"}, SpecError, "no target sm90", "sm89"),
    ({"target": "sm75"}, BuildError, "Turing (SM75)", "details"),
    ({"flags": ["FP16"]}, SpecError, "FP16 is no builder flag any more", "precision"),
    ({"flags": ["SPARSE_WEIGHT"]}, SpecError, "flag SPARSE_WEIGHT", "mean SPARSE_WEIGHTS?"),
    ({"flags": ["SPARSE_WEIGHTS", "NOPE"]}, SpecError, "flag NOPE", "It has DEBUG"),
    ({"flags": ["VERSION_COMPATIBLE"]}, UnsupportedError, "libnvinfer_lean", "full TensorRT"),
    ({"dla_core": 0}, UnsupportedError, "no DLA core 0: this machine has 0", "Jetson"),
    ({"hardware_compatibility": "AMPERE_PLUS"}, UnsupportedError, "refuses a setting", "Leave"),
    ({"hardware_compatibility": "AMPERE"}, SpecError, "level AMPERE", "AMPERE_PLUS"),
    ({"tactic_sources": ["CUBLAS"]}, SpecError, "tactic source CUBLAS", "JIT_CONVOLUTIONS"),
    ({"memory_pools": {"TACTIC": 2**20}}, SpecError, "memory pool TACTIC", "TACTIC_DRAM?"),
    ({"plugin_libraries": ["nowhere.so"]}, SpecError, "nowhere.so is not there", "path"),
    pytest.param({"target": "current"}, BackendUnavailableError, "this GPU", "sm89", marks=no_gpu),
    pytest.param({"flags": ["REFIT"]}, UnsupportedError, "REFIT needs", "GPU", marks=no_gpu),
    pytest.param({"flags": ["STRIP_PLAN"]}, UnsupportedError, "STRIP_PLAN", "GPU", marks=no_gpu),
    pytest.param({"backend": "tensorrt"}, TrtlabError, "tensorrt", "", marks=no_gpu),
    # TensorRT says these only in its log, and would build without them.
    ({"flags": ["EXCLUDE_LEAN_RUNTIME"]}, UnsupportedError, "EXCLUDE_LEAN_RUNTIME", "Leave"),
    ({"memory_pools": {"DLA_LOCAL_DRAM": 2**30}}, UnsupportedError, "DLA", "Leave"),
    ({"memory_pools": {"DLA_MANAGED_SRAM": 2**20}}, UnsupportedError, "DLA", "Leave"),
    (
        {"memory_pools": {"TACTIC_SHARED_MEMORY": 2**40}},
        UnsupportedError,
        "TACTIC_SHARED_MEMORY",
        "Leave",
    ),
    ({"flags": ["TF32"]}, SpecError, "TF32 has a setting of its own", "tf32=True"),
]


@pytest.mark.parametrize(
    ("settings", "kind", "words", "hint"),
    REFUSED,
    ids=lambda v: str(v) if isinstance(v, dict) else "",
)
def test_what_cannot_be_done_is_refused_with_the_reason_and_nothing_is_built(
    settings, kind, words, hint, small
):
    told = []
    with pytest.raises(kind) as caught:
        build(small, **settings, progress=lambda phase, *_: told.append(phase))
    assert words in caught.value.message
    assert hint in caught.value.hint
    check_told(caught.value)
    if settings != {"target": "sm75"}:  # only its compiler knows that
        assert not any("Building engine" in phase for phase in told)


def test_a_plugin_library_that_is_none_is_named(small, text_file):
    with pytest.raises(BuildError, match=r"plugin\.so cannot be loaded") as caught:
        build(small, plugin_libraries=[text_file])
    check_told(caught.value)


@pytest.mark.parametrize(
    ("name", "limit", "asked"),
    # Facts, for batch 1:8:16: what was asked for with 16 MiB and with 1 KiB.
    [("resnet50", 2**24, 119_005_344), ("resnet50", 2**10, 102_229_176), ("digits", 2**20, None)],
)
def test_a_workspace_that_is_too_small_says_what_was_asked_for(name, limit, asked, zoo):
    with pytest.raises(WorkspaceTooSmall) as caught:
        build(zoo(name), workspace=limit, batch=(1, 8, 16))
    error = caught.value
    if asked is None:
        assert error.asked_bytes is None
        assert "names" not in error.message
    else:
        assert error.asked_bytes == pytest.approx(asked, abs=64)
        assert f"TensorRT names {error.asked_bytes:,} bytes" in error.message
        assert "the limit plus the weights" in error.hint
    assert f"{limit:,} bytes are allowed" in error.message
    assert "trtlab workspace" in error.hint
    check_told(error)


# Two at once, killed, cancelled, disk full


def test_two_builds_at_once_both_succeed(small):
    targets = ("sm80", "sm89", "sm89")  # two of them the very same
    with ThreadPoolExecutor(3) as pool:
        plans = list(pool.map(lambda t: build(small, target=t), targets))
    assert [p.config.target for p in plans] == [(t,) for t in targets]
    assert plans[1].hash == plans[2].hash != plans[0].hash
    for plan in plans:
        check_whole(plan, onnx.load(small))


def left_over(store):
    return [*(store.home / "scratch").iterdir(), *(store.home / "plans").rglob("*.plan")]


def my_worker():
    """The one worker below this process."""
    (found,) = [
        child
        for child in psutil.Process().children(recursive=True)
        if "trtlab.worker" in child.cmdline()
    ]
    return found


def test_a_build_killed_in_the_middle_leaves_nothing_and_can_be_repeated(zoo, tmp_path):
    opened = trtlab.load(zoo("resnet50"))
    killed = []

    def kill(phase, _done, _total):
        if "Optimizing graph" in phase and not killed:
            killed.append(phase)
            my_worker().kill()

    with pytest.raises(WorkerCrashed, match="signal 9"):
        build(opened, progress=kill)
    store = Store()
    assert killed
    assert left_over(store) == []
    assert list(store.all(Plan)) == []
    plan = build(opened)
    assert plan.hash == build(opened, store=Store(tmp_path / "other")).hash
    assert left_over(store) == [store.plan_path(plan.hash)]


@pytest.mark.parametrize(
    "phase",
    [
        "parse",
        "Cloning network graph",
        "Building engine from subgraph",
        "Optimizing graph",
        "Timing tactics",
        "Computing profile costs 3/5",
    ],
)
def test_cancel_answers_within_a_second_at_any_phase(phase, zoo):
    opened = trtlab.load(zoo("inception_v2"))
    cancel = threading.Event()
    asked = []

    def stop(said, _done, _total):
        if phase in said and not asked:
            asked.append(time.monotonic())
            cancel.set()

    with pytest.raises(JobCancelled):
        build(opened, progress=stop, cancel=cancel)
    assert time.monotonic() - asked[0] < 1
    assert left_over(Store()) == []


def test_cancel_answers_while_the_builder_is_silent(zoo):
    # The compiler says nothing for most of a build: here 6 s of densenet121's 7 s.
    opened = trtlab.load(zoo("densenet121"))
    cancel = threading.Event()
    asked = []

    def stop():
        asked.append(time.monotonic())
        cancel.set()

    def count_down(phase, _done, _total):
        if "Determining refit engines" in phase and not timer.ident:
            timer.start()

    timer = threading.Timer(0.2, stop)
    with pytest.raises(JobCancelled):
        build(opened, progress=count_down, cancel=cancel)
    assert time.monotonic() - asked[0] < 1


def test_a_disk_that_fills_up_while_the_plan_is_written_is_told(small, monkeypatch):
    real = Store.scratch

    @contextlib.contextmanager
    def full(store):
        with real(store) as folder:
            (folder / "engine.plan").symlink_to("/dev/full")  # a write there: no space left
            yield folder

    monkeypatch.setattr(Store, "scratch", full)
    with pytest.raises(StoreError, match="full") as caught:
        build(small)
    assert "TRTLAB_HOME" in caught.value.hint
    assert left_over(Store()) == []
    assert list(Store().all(Plan)) == []
    monkeypatch.undo()
    assert build(small).layers


# A layer dump that is not what it was


def _respelt(spec, progress, change):
    real = builder.read_dump
    builder.read_dump = lambda text: real(change(text))  # in a worker: nobody else sees it
    return verb._build_job(spec, progress)


def other_words_job(spec: verb._BuildSpec, progress: Progress) -> Built:
    return _respelt(spec, progress, lambda text: text.replace("LayerType", "Kind"))


def half_other_job(spec: verb._BuildSpec, progress: Progress) -> Built:
    return _respelt(spec, progress, lambda text: text.replace("LayerType: kgen", "Kind: kgen"))


def cut_job(spec: verb._BuildSpec, progress: Progress) -> Built:
    return _respelt(spec, progress, lambda text: text[: len(text) // 2])


def silent_job(spec: verb._BuildSpec, progress: Progress) -> Built:
    return _respelt(spec, progress, lambda _text: "")


@pytest.mark.parametrize("job", [other_words_job, half_other_job, cut_job, silent_job])
def test_a_layer_dump_of_another_form_keeps_the_plan_and_says_so(
    job, small, monkeypatch, tmp_path
):
    expected = build(small, store=Store(tmp_path / "other"))
    monkeypatch.setattr(verb, "_build_job", job)
    plan = build(small)
    assert plan.hash == expected.hash
    assert Store().plan_path(plan.hash).stat().st_size == expected.plan_bytes
    (caveat,) = plan.caveats
    assert caveat.kind == "layers-unread"
    assert caveat.hint
    if job in (other_words_job, silent_job):
        assert plan.layers is None
        assert "n/a" in repr(plan)
        assert plan.df.empty
    else:
        unread = [y for y in plan.layers if y.type == "unread"]
        assert len(unread) == (4 if job is half_other_job else 1)
        assert str(len(plan.layers) - len(unread)) in caveat.message


# What only full TensorRT does, against its words


@pytest.mark.parametrize(
    ("errors", "kind", "asked", "words"),
    [
        (
            ["Error Code 2: OutOfMemory (Requested size was 77 bytes.)"],
            WorkspaceTooSmall,
            77,
            "77",
        ),
        (
            ["Could not find any implementation for node conv due to insufficient workspace."],
            WorkspaceTooSmall,
            None,
            "too small for m.onnx, 5 bytes are allowed",
        ),
        (
            ["noise", "no tactics to implement the operation within workspace limit"],
            WorkspaceTooSmall,
            None,
            "too small",
        ),
        (
            ["f: Error Code 4: API Usage Error (x: no. In f at /_src/a.cpp:3)"],
            BuildError,
            0,
            "x: no.",
        ),
        (["Something else\nand more"], BuildError, 0, "build m.onnx: Something else."),
        ([], BuildError, 0, "it gives no reason"),
    ],
)
def test_the_words_of_a_failed_build_become_its_reason(errors, kind, asked, words):
    log = Log()
    for text in errors:
        log.take("ERROR", text)
    error = builder._failure(log, "m.onnx", BuildConfig(backend="tensorrt", workspace_bytes=5))
    assert type(error) is kind
    assert words in error.message
    assert error.hint
    assert error.details == "\n".join(errors)
    if kind is WorkspaceTooSmall:
        assert error.asked_bytes == asked


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # FAULT in builder._failure: "Requested size was 77 bytes.).".
        ("Error Code 2: OutOfMemory (Requested size was 77 bytes.)", "size was 77 bytes."),
        ("insufficient workspace", "The workspace is too small for m.onnx."),
    ],
)
def test_without_a_limit_only_what_names_the_workspace_is_about_it(text, words):
    log = Log()
    log.take("ERROR", text)
    error = builder._failure(log, "m.onnx", BuildConfig(backend="tensorrt"))
    assert isinstance(error, WorkspaceTooSmall) is ("workspace" in text)
    assert error.message.endswith(words)


class Timings:
    """A builder config that takes or refuses the timings of earlier builds."""

    def __init__(self, log, *, makes=True, takes=True, says=""):
        self.log, self.makes, self.takes, self.says = log, makes, takes, says
        self.cache = None

    def create_timing_cache(self, data):
        if data and self.says:
            self.log.take("WARNING", self.says)
        return data if self.makes or not data else None

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False, "timings of another GPU must not be taken"
        if cache and not self.takes:
            return False
        self.cache = cache
        return True


@pytest.mark.parametrize(
    ("known", "behaviour", "expected", "used"),
    [
        (None, {}, True, b""),
        (b"old", {}, True, b"old"),
        (b"old", {"takes": False}, False, b""),
        (b"old", {"makes": False}, False, b""),
        (b"old", {"says": "The timing cache is damaged and was not read."}, False, b""),
        (b"old", {"says": "Something else."}, True, b"old"),
    ],
)
def test_timings_of_another_machine_are_refused_and_the_build_goes_on(
    known, behaviour, expected, used, tmp_path
):
    if known is not None:
        (tmp_path / TIMING_CACHE).write_bytes(known)
    log = Log()
    settings = Timings(log, **behaviour)
    config = BuildConfig(backend="tensorrt")
    found = builder._load_timing_cache("tensorrt", config, settings, tmp_path, log)
    assert found is expected
    assert settings.cache == used


def test_timings_are_not_kept_where_nothing_is_timed_or_nobody_wants_it(tmp_path):
    log = Log()
    settings = Timings(log)
    for name, kept in (("tensorrt_rtx", True), ("tensorrt", False)):
        config = BuildConfig(backend=name, timing_cache=kept)
        assert builder._load_timing_cache(name, config, settings, tmp_path, log) is None
        assert settings.cache is None
