"""Other tools' files become records: real sets, joins by name, bad input of every kind."""

import json
import math
import os
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trtlab
from tests import making
from tests.formats.test_builder_log import TABLE, TRTEXEC, prefixed
from tests.formats.test_engine_layers import dump, row
from tests.formats.test_onnxruntime_profile import node, run, three_runs
from tests.formats.test_trtexec_times import inference
from trtlab.codec import Int64Array
from trtlab.environment import differences
from trtlab.errors import MismatchError, PlanError, RecordError, SpecError
from trtlab.formats.engine_inspector import layers_json
from trtlab.formats.trtexec_profile import profile_json
from trtlab.formats.trtexec_times import times_json
from trtlab.record import Environment, Measurement, Plan, Summary, SweepResult
from trtlab.spec import BuildConfig
from trtlab.store import Store, read_record, record_id, write_record
from trtlab.verbs.read import keep, read
from trtlab.verbs.recorded_files import MAX_BYTES, MAX_FILES
from trtlab.views.figures import figure
from trtlab.views.pages.report import report
from trtlab.views.sentences import memory_sentence
from trtlab.views.series import series_of
from trtlab.views.tables import layer_table, plan_table


def layer(name, reads="x", writes="y", **more):
    said = {"Dimensions": [4, 3], "Format/Datatype": "Float"}
    x, y = ({"Name": name} | said for name in (reads, writes))
    return {"Name": name, "LayerType": "conv", "Inputs": [x], "Outputs": [y]} | more


def timed(name, average=0.5):
    times = {"timeMs": average * 4, "averageMs": average, "medianMs": average}
    return {"name": name} | times | {"percentage": 50}


METADATA = {
    "inference_options": {
        "Duration": "3s (+ 200ms warm up)",
        "Streams": "1",
        "Data transfers": "Disabled",
        "CUDA Graph": "Enabled",
    },
    "device_information": {"Selected Device": "NVIDIA A100", "Compute Capability": 8.0},
}


@pytest.fixture
def write(tmp_path):
    """Write files, given as data or bytes by name; returns their paths."""

    def write(**files):
        paths = []
        for name, content in files.items():
            path = tmp_path / name.replace("_", ".")
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            path.write_bytes(data)
            paths.append(path)
        return paths

    return write


def engine(*layers):
    return {"Layers": list(layers), "Bindings": ["x", "y"]}


# Real sets

SETS = {
    "pytorch_resnet_A100_fp32": (32, 1, 1600, 2.1238, "sm80", 1.99072, 499.294 * 32),
    "pytorch_resnet_A100_fp16": (36, 1, 3698, 1.0168, "sm80", 0.862183, 1155.36 * 32),
    "pytorch_resnet_A100_qat": (37, 1, 3614, 1.0957, "sm80", 0.882568, 1130.01 * 32),
    "tensorflow_resnet_RTX-3090_fp32": (103, 1, 263, 12.3997, "sm86", 12.1682, 81.9895 * 32),
    "tensorflow_resnet_RTX-3090_qat": (63, 1, 1456, 2.3806, "sm86", 2.19547, 455.388 * 32),
    "tests_mobilenet_qat": (73, 6610, 8945, 0.4704, "sm75", 0.351196, 2829.15),
}
"""Layers, profiled runs, inferences, sum of mean layer times, target; and, as trtexec itself
reported them, median of GPU compute and throughput (of items, not batches)."""


@pytest.mark.parametrize("name", SETS)
def test_a_real_set(shared_data, name):
    layers, runs, inferences, total, target, median, throughput = SETS[name]
    found = read(shared_data / "engines" / name)
    plan, profile, measured = found.plan, found.profile, found.measurement
    assert [y.name for y in plan.layers] == [y.name for y in profile.layers]
    assert len(plan.layers) == layers
    assert profile.runs == runs
    assert math.fsum(y.average_ms for y in profile.layers) == pytest.approx(total, abs=5e-5)
    assert all(y.median_ms is not None for y in profile.layers)
    assert [y.average_ms == 0 for y in profile.layers] == [y.type == "NoOp" for y in plan.layers]
    assert sum(len(w.latencies_ns) for w in measured.windows) == inferences
    assert measured.median_ms == pytest.approx(median, abs=1e-6)
    assert measured.throughput == pytest.approx(throughput, rel=1e-3)
    assert (measured.contents, measured.cuda_graph, measured.stable) == ("compute", True, None)
    assert plan.config.target == (target,)
    assert plan.environment.machine is plan.environment.created is None
    assert plan.hash == profile.plan == measured.plan
    assert {r.source for r in found.records} == {"recorded"}
    assert ("single-run" in [c.kind for c in profile.caveats]) == (runs == 1)
    assert not found.skipped
    frame = found.df
    assert list(frame["layer"]) == [y.name for y in plan.layers]
    assert frame["average_ms"].sum() == pytest.approx(total, abs=5e-5)
    assert frame["share"].sum() == pytest.approx(1)


def test_no_gpu_is_named_by_its_identity(shared_data, write):
    log = (shared_data / "engines/cookbook_trtexec/result-04.log").read_bytes()
    (path,) = write(log=log)
    found = read(path)
    assert b"31e9692b" in log
    assert "31e9692b" not in repr(found) + repr(found.plan.environment)
    assert found.plan.environment.gpu == "NVIDIA H100 PCIe"
    assert found.plan.environment.packages == {"tensorrt": "10.16.1"}


def test_files_of_two_engines_in_one_folder_are_refused(shared_data):
    with pytest.raises(MismatchError, match="both hold layers of an engine"):
        read(shared_data / "engines" / "cookbook_trtexec")


def test_layers_of_one_engine_and_times_of_another_are_refused(shared_data):
    folder = shared_data / "engines" / "cookbook_trtexec"
    with pytest.raises(MismatchError, match=r"of 9 layers have no time.*times are of no layer"):
        read(folder / "result-04.log", folder / "result-05.log")


def test_an_ahead_of_time_log(shared_data):
    found = read(shared_data / "aot" / "m_DETAILED.log")
    assert len(found.plan.layers) == 19
    assert found.plan.config.backend == "tensorrt_rtx"
    assert [t.name for t in found.plan.inputs] == ["x"]
    assert found.plan.target_text == "a GPU that is not named"


# Joining


def test_layers_and_times_are_joined_by_name(write):
    paths = write(
        layers_json=engine(layer("a"), layer("b"), layer("no-op", LayerType="NoOp")),
        profile_json=[{"count": 4}, timed("no-op", 0), timed("b", 1.5), timed("a")],
    )
    found = read(*paths, name="net")
    assert [(y.name, y.type, y.average_ms) for y in found.profile.layers] == [
        ("no-op", "NoOp", 0),
        ("b", "conv", 1.5),
        ("a", "conv", 0.5),
    ]
    assert found.profile.shares() == [0, 0.75, 0.25]
    assert list(found.df["average_ms"]) == [0.5, 1.5, 0]
    assert found.plan.model.name == found.profile.model.name == "net"
    assert found.profile.batch == 4


@pytest.mark.parametrize(
    ("names", "times", "words"),
    [
        ("abc", "ab", r"1 of 3 layers have no time: 'c'"),
        ("ab", "abc", r"1 times are of no layer: 'c'"),
        ("ab", "cd", r"2 of 2 layers.*'a', 'b'; 2 times are of no layer: 'c', 'd'"),
        ("aab", "ab", r"'a' there more than once"),
        ("ab", "abb", r"'b' there more than once"),
        ("aa", "aa", r"'a' there more than once"),
        ("abcdefg", "a", r"6 of 7 .*'b', 'c', 'd' and 3 more"),
    ],
)
def test_names_without_just_one_partner_are_told(write, names, times, words):
    paths = write(
        layers_json=engine(*map(layer, names)), profile_json=[{"count": 4}, *map(timed, times)]
    )
    with pytest.raises(MismatchError, match=words) as caught:
        read(*paths)
    assert caught.value.hint


def test_times_of_one_optimization_profile_need_no_times_of_others(write):
    both = ["a", "kgen_myl7_0", "a [profile 1]", "kgen_myl15_0"]
    for ran in (both[:2], both[2:]):
        paths = write(
            layers_json=engine(*map(layer, both)), profile_json=[{"count": 4}, *map(timed, ran)]
        )
        found = read(*paths)
        assert [y.name for y in found.profile.layers] == ran
        assert found.df["average_ms"].count() == 2
    for ran in (both[:1], both[1:3], [both[0], both[2]]):
        paths = write(
            layers_json=engine(*map(layer, both)), profile_json=[{"count": 4}, *map(timed, ran)]
        )
        with pytest.raises(MismatchError, match="have no time"):
            read(*paths)


def test_an_old_profile_has_no_medians(write):
    old = [{k: v for k, v in timed(n).items() if k != "medianMs"} for n in "ab"]
    (path,) = write(profile_json=[{"count": 4}, *old])
    profile = read(path).profile
    assert [y.median_ms for y in profile.layers] == [None, None]
    assert profile.plan is None
    assert list(profile.df["median_ms"].isna()) == [True, True]
    table = layer_table(profile)
    assert table.heads[2] == "Mean"
    assert table.rows[0][2] == "0.500 ms"


def test_a_single_run_claims_no_spread(write):
    (path,) = write(profile_json=[{"count": 1}, timed("a")])
    found = read(path)
    assert [c.kind for c in found.profile.caveats] == ["single-run"]
    assert "±" not in repr(found)


# Measurements


def test_settings_that_no_file_tells_are_unknown(write):
    (path,) = write(times_json=[inference(n) for n in range(0, 30, 3)])
    measured = read(path).measurement
    assert measured.cuda_graph is measured.batch is measured.plan is measured.stable is None
    assert "settings-unknown" in [c.kind for c in measured.caveats]
    assert "settings not known" in repr(measured)
    assert measured.n == 10


def test_settings_come_from_the_files_beside(write):
    rows = [inference(n) for n in range(150, 280, 10)]
    paths = write(times_json=rows, metadata_json=METADATA)
    measured = read(*paths).measurement
    assert measured.cuda_graph is True
    assert [c.kind for c in measured.caveats] == []
    assert (measured.n, len(measured.windows)) == (8, 2)
    assert measured.environment.gpu == "NVIDIA A100"
    assert measured.build.target == ("sm80",)


def test_copies_are_in_the_latency(write):
    (path,) = write(times_json=[inference(0, 2.0, 0.5, 0.25)])
    measured = read(path).measurement
    assert (measured.contents, measured.run.transfers) == ("compute+transfers", True)
    assert measured.median_ms == 2.75


def test_times_without_moments_are_refused(write):
    (path,) = write(times_json=[{"computeMs": 2.0}])
    with pytest.raises(RecordError, match="began"):
        read(path)


# Kinds of files


def test_names_only(write):
    (path,) = write(layers_json={"Layers": ["a", "b"], "Bindings": ["x", "y"]})
    plan = read(path).plan
    assert [y.name for y in plan.layers] == ["a", "b"]
    assert plan.config.profiling_verbosity == "LAYER_NAMES_ONLY"
    (caveat,) = plan.caveats
    assert caveat.kind == "names-only"
    assert "detailed profiling verbosity" in caveat.hint
    assert len(plan_table(plan).rows) == len(plan.df) == 2


def test_layers_that_were_not_understood_are_told(write):
    (path,) = write(layers_json=engine(layer("a"), {"LayerType": "conv"}))
    plan = read(path).plan
    assert [y.type for y in plan.layers] == ["conv", "unread"]
    assert [c.kind for c in plan.caveats] == ["layers-unread"]
    (path,) = write(layers_json=engine({"LayerType": "conv"}))
    with pytest.raises(RecordError, match="in a form"):
        read(path)


def test_what_a_file_is_its_content_tells(write):
    paths = write(
        a_onnx=engine(layer("a")),
        b_plan=[{"count": 4}, timed("a")],
        c_png=[inference(0)],
        d_txt=METADATA,
    )
    found = read(*paths)
    assert found.plan.config.target == ("sm80",)
    assert found.profile.runs == 4
    assert found.measurement.n == 1


def test_a_log_may_hold_layers_and_settings(write):
    text = f"{prefixed('=== Build Options ===')}{prefixed('Precision: FP32+INT8')}"
    (path,) = write(build_log=f"{text}{TRTEXEC}{dump(row('a'))}\n{prefixed('x')}".encode())
    plan = read(path).plan
    assert [y.name for y in plan.layers] == ["a"]
    assert plan.model.recipe == "int8+fp32"
    (path,) = write(table_log=prefixed(TABLE).encode())
    assert len(read(path).profile.layers) == 2


def test_a_profile_of_onnxruntime(write):
    (path,) = write(profile_json=[{**e, "ph": "X"} for e in three_runs()])
    profile = read(path).profile
    assert [y.name for y in profile.layers] == ["a", "b"]
    assert (profile.time_kind, profile.runs, profile.build.backend) == ("cpu", 3, "onnxruntime")
    cuda = [{**run(0, 50), "ph": "X"}, node("a", 1, 5, provider="CUDAExecutionProvider")]
    (path,) = write(profile_json=cuda)
    profile = read(path).profile
    assert (profile.time_kind, profile.build.provider) == ("host-launch", "cuda")


@pytest.mark.parametrize("record", making.records(), ids=lambda r: r.kind)
def test_a_record_of_trtlab(tmp_path, record):
    path = tmp_path / "record.json"
    write_record(record, path)
    (found,) = read(path, name="another").records
    assert found == read_record(path)


def test_records_of_different_plans_are_refused(tmp_path):
    paths = [tmp_path / f"{n}.json" for n in range(2)]
    for other in (making.layer_profile(plan="c3" * 32), making.measurement(plan="c3" * 32)):
        for path, record in zip(paths, (making.plan(), other), strict=True):
            write_record(record, path)
        with pytest.raises(MismatchError, match="of different plans"):
            read(*paths)


def test_a_stored_profile_without_a_plan_joins_a_plan(write, tmp_path):
    layers, times = write(layers_json=engine(layer("a")), p_json=[{"count": 4}, timed("a")])
    write_record(read(times).profile, tmp_path / "record.json")
    found = read(layers, tmp_path / "record.json")
    assert found.profile.plan == found.plan.hash
    assert found.profile.layers[0].type == "conv"


def test_times_of_trtexec_do_not_fit_a_plan_of_onnxruntime(write, tmp_path):
    write_record(making.plan(), tmp_path / "record.json")
    with pytest.raises(MismatchError, match="onnxruntime"):
        read(tmp_path / "record.json", *write(times_json=[inference(0)]))


@pytest.mark.native
def test_an_optimised_model_of_onnxruntime(tmp_path):
    store = Store()
    built = trtlab.build("zoo:digits", backend="onnxruntime", store=store)
    copy = tmp_path / "optimised.model"
    copy.write_bytes(store.plan_path(built.hash).read_bytes())
    found = read(copy).plan
    assert found.layers == built.layers
    assert (found.hash, found.plan_bytes) == (built.hash, built.plan_bytes)
    assert (found.inputs, found.outputs) == (built.inputs, built.outputs)
    assert found.model.hash is None
    assert trtlab.benchmark(found, quick=True, store=store).plan == built.hash
    with pytest.raises(PlanError, match="none to run"):
        trtlab.benchmark(found, quick=True, store=Store(tmp_path / "other"))


@pytest.mark.native
def test_a_model_that_is_no_dump_is_no_plan(tmp_path, shared_data):
    with pytest.raises(RecordError, match="none that ONNX Runtime optimised") as caught:
        read(shared_data / "aot" / "m.onnx")
    assert caught.value.message.startswith("m.onnx is a model")
    (tmp_path / "noise").write_bytes(b"\x08" + bytes(range(256)))
    with pytest.raises(RecordError, match="noise is no ONNX model"):
        read(tmp_path / "noise")


# Folders, names, sizes


def test_a_folder_is_read_and_what_is_skipped_is_named(write, tmp_path):
    write(
        net_engine_graph_json=engine(layer("a")),
        net_engine_profile_json=[{"count": 4}, timed("a")],
        README_md=b"# Read me",
        picture_png=b"\x89PNG\0",
        other_json={"scripts": {}},
        odd_txt=b"\xff\xfe",
        empty_txt=b"",
    )
    (tmp_path / "below").mkdir()
    found = read(tmp_path)
    assert len(found.records) == 2
    assert found.plan.model.name == tmp_path.name
    assert set(found.skipped) == {
        "README.md", "picture.png", "other.json", "odd.txt", "empty.txt"
    }  # fmt: skip
    assert "README.md" in repr(found)
    assert read(tmp_path / "net.engine.graph.json").plan.model.name == "net"


@pytest.mark.parametrize("path", [".", "", "below/.."])
def test_the_current_folder_has_a_name(write, tmp_path, monkeypatch, path):
    write(a_json=engine(layer("a")))
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read(path).plan.model.name == tmp_path.name


def test_a_broken_file_in_a_folder_is_not_passed_over(write, tmp_path):
    write(a_graph_json=engine(layer("a")), a_profile_json=b'[{"count": 4}, {"name": "a", ')
    with pytest.raises(RecordError, match=r"a\.profile\.json is no JSON"):
        read(tmp_path)


def test_a_folder_with_too_many_files_is_refused(tmp_path):
    for n in range(MAX_FILES + 1):
        (tmp_path / f"{n}.txt").touch()
    with pytest.raises(RecordError, match=f"holds {MAX_FILES + 1} files"):
        read(tmp_path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.write(b'{"Layers": [' + b" " * 4096)
        file.truncate(200 * 10**6)  # a hole: it takes no room
    begin = time.process_time()
    with pytest.raises(RecordError, match=r"takes 191 MiB; trtlab reads files of up to 32"):
        read(path)
    assert time.process_time() - begin < 1
    assert MAX_BYTES == 32 * 2**20


def test_a_special_file_is_refused_without_opening_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecordError, match="no regular file"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["missing.json", "a" * 5000, "nul\0", "new\nline", "\udcff"])
def test_a_path_that_cannot_be_opened(tmp_path, name):
    with pytest.raises(RecordError) as caught:
        read(str(tmp_path / name))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


def test_what_is_no_path():
    for wrong in (5, None, b"x"):
        with pytest.raises(SpecError, match="no path"):
            read(wrong)
    with pytest.raises(SpecError, match="No file"):
        read()


BAD = {
    "empty": b"",
    "blank": b" \n ",
    "text": b"hello",
    "null-byte": b"{\0}",
    "not-utf-8": b'{"Layers": ["\xff"]}',
    "latin-text": b"Layers:\n\xe9",
    "deep": b'{"Layers": ' + b"[" * 100_000,
    "deep-details": b'{"Layers": [{"Name": "a", "LayerType": "", "K": ' + b"[" * 5000
    + b"]" * 5000 + b"}]}",
    "digits": b'[{"count": ' + b"9" * 5000 + b"}]",
    "empty-object": b"{}",
    "empty-list": b"[]",
    "numbers": b"[1, 2]",
    "one-number": b"5",
    "layers-null": b'{"Layers": null}',
    "layers-of-numbers": b'{"Layers": [1, 2]}',
    "count-alone": b'[{"count": 1}]',
    "cut-off": b'{"Layers": [{"Name": "a", "LayerType"',
    "record-of-nothing": b'{"schema_version": 1, "kind": "plan", "key": "", "record": {}}',
    "record-of-the-future": b'{"schema_version": 99, "kind": "plan", "key": "", "record": {}}',
    "facts-alone": json.dumps(METADATA).encode(),
    "engine": b"ftrt\0\0\0",
}  # fmt: skip


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_bad_files_end_in_a_clear_error(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read(path)
    assert caught.value.message.isprintable()
    assert caught.value.hint


HOSTILE = ["<script>alert(1)</script>", "\"'`", "\x1b[2J\x07", "a" * 10_000, "\u202e\x00", "?"]


def test_hostile_names_are_kept_and_shown_escaped(write, tmp_path):
    layers = [layer(n, f"x{i}", f"x{i + 1}") for i, n in enumerate(HOSTILE)]
    paths = write(
        layers_json={"Layers": layers, "Bindings": ["x0"]},
        profile_json=[{"count": 4}, *map(timed, HOSTILE)],
        times_json=[inference(0)],
    )
    found = read(*paths, name=HOSTILE[0])
    assert [y.name for y in found.plan.layers] == HOSTILE
    page = tmp_path / "report.html"
    point = making.point(model=found.plan.model, plan=None, measurement=found.measurement)
    report(SweepResult((point,)), page, profiles=[found.profile])
    assert "<script>alert" not in page.read_text()
    assert "<script>alert" not in found._repr_html_()
    assert "<script>alert" not in figure(found.profile, "layers").to_json()
    with pytest.raises(MismatchError) as caught:
        read(paths[0], *write(other_json=[timed("a")]))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
FILES = [
    engine(layer("a"), layer("b")),
    {"Layers": [layer("a")], "I/O Tensors": [{"Name": "x", "IOMode": "Input"}]},
    {"Layers": ["a", "b"]},
    [{"count": 4}, timed("a"), timed("b")],
    [inference(0), inference(3)],
    METADATA,
    [{"Name": "A100", "ComputeCapability": [8, 0]}],
    [{**run(0, 50), "ph": "X"}, node("a", 1, 5)],
]


def places(data):
    """Every list and object in some JSON."""
    found = [data]
    for inner in data if isinstance(data, list) else data.values():
        found += places(inner) if isinstance(inner, list | dict) else []
    return found


@given(st.data())
def test_any_value_anywhere_in_any_file_is_read_or_refused(tmp_path, data):
    paths = []
    indices = st.lists(st.integers(0, len(FILES) - 1), min_size=1, max_size=4)
    for number, index in enumerate(data.draw(indices)):
        content = json.loads(json.dumps(FILES[index]))
        place = data.draw(st.sampled_from([p for p in places(content) if p]))
        keys = range(len(place)) if isinstance(place, list) else sorted(place)
        place[data.draw(st.sampled_from(keys))] = data.draw(plain)
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps(content))
    try:
        found = read(*paths)
    except (RecordError, MismatchError):
        return
    for record in found.records:
        repr(record)
        assert record_id(record)


@given(st.binary(max_size=80), st.sampled_from([b"", b"{", b"[{", b"[07/07/2026-02:11:38] [I] "]))
def test_any_bytes_are_read_or_refused(tmp_path, data, start):
    path = tmp_path / "f"
    path.write_bytes((start + data).lstrip(b"\x08"))
    with pytest.raises(RecordError):
        read(path)


@given(st.data())
def test_a_cut_file_never_passes_for_a_whole_one(tmp_path, data):
    text = json.dumps(data.draw(st.sampled_from(FILES)))
    path = tmp_path / "cut.json"
    path.write_text(text[: data.draw(st.integers(0, len(text) - 1))])
    with pytest.raises(RecordError):
        read(path)


# What else must live with unknown values


@pytest.fixture
def found(write):
    return read(
        *write(
            layers_json=engine(layer("a"), layer("b")),
            profile_json=[{"count": 4}, timed("a"), timed("b", 1.5)],
            times_json=[inference(n) for n in range(0, 30, 3)],
        ),
        name="net",
    )


def test_a_plan_without_bytes_cannot_be_run(found):
    for verb in (trtlab.benchmark, trtlab.profile):
        with pytest.raises(PlanError, match="none to run") as caught:
            verb(found.plan)
        assert caught.value.hint
    for verb in (trtlab.load, trtlab.build):
        with pytest.raises(SpecError):
            verb(found.plan)


def test_records_are_kept_found_and_rebuilt(found):
    store = Store()
    ids = keep(found, store)
    (store.home / "index.sqlite").unlink()
    again = Store()
    assert [again.find(i) for i in ids] == list(found.records)
    assert list(again.all(Measurement)) == [found.measurement]
    assert keep(found, again) == ids, "read twice, kept once"
    assert len(list(again.all(Plan))) == 1
    built = making.plan()
    again.put(built, "key")
    assert [p.hash for p in again.all(Plan)] == [built.hash, found.plan.hash], "unknown is oldest"


def test_a_plan_that_names_plugin_libraries_is_not_kept(found):
    config = BuildConfig(backend="tensorrt", plugin_libraries=("/tmp/evil.so",))
    with pytest.raises(PlanError, match="not imported"):
        keep(replace(found, plan=replace(found.plan, config=config)), Store())


def test_unknown_machines_are_not_the_same_machine(found):
    environment = found.plan.environment
    assert differences(environment, environment) == ["machine (not known whether it is one)"]
    assert "machine" in differences(making.environment(), Environment(gpu="A100"))[0]
    comparison = trtlab.compare(found.measurement, found.measurement)
    assert "different-conditions" in [c.kind for c in comparison.caveats]


def test_measurements_of_unknown_models_never_share_a_line(found):
    one = found.measurement
    other = replace(one, plan="c3" * 32, batch=8)
    alone = replace(one, plan=None)
    slower = replace(alone, windows=(making.window([5.0, 6.0]),))
    assert len(series_of([one, other, alone, slower])) == 4


def test_views_show_records_with_unknown_values(found, tmp_path):
    assert "n/a" in repr(found.plan)
    assert "None" not in repr(found).replace("None of", "")
    assert layer_table(found.profile).rows[0] == ("b", "conv", "1.50 ms", "75.0%")
    drawn = figure(found.profile, "layers")
    assert [t.x for t in drawn.data] == [(75.0, 25.0)]
    assert "layers' sum" in drawn.layout.xaxis.title.text
    assert memory_sentence([found.measurement]) == "Peak memory is n/a: it was not recorded."
    page = tmp_path / "report.html"
    point = making.point(model=found.plan.model, plan=None, measurement=found.measurement)
    report(SweepResult((point,)), page, profiles=[found.profile])
    assert "recorded" in page.read_text()
    assert point.row()["stable"] is None


def test_a_layer_has_samples_or_a_summary():
    summary = Summary(4, 2.0, 0.5, None)
    with pytest.raises(ValueError, match="samples, or"):
        making.layer(summary=summary)
    with pytest.raises(ValueError, match="samples, or"):
        making.layer(samples_ns=None)
    with pytest.raises(ValueError, match="summary"):
        making.layer_profile(runs_ns=None)
    mixed = [making.layer(samples_ns=None, summary=Summary(n, 2.0, 0.5, None)) for n in (3, 4)]
    with pytest.raises(ValueError, match="equally many"):
        making.layer_profile(runs_ns=None, layers=tuple(mixed))
    with pytest.raises(ValueError, match="one sample for each run"):
        making.layer_profile(layers=(mixed[0],), runs_ns=Int64Array([5]))
    for wrong in ((0, 1, 1, 1), (1, -1, 1, 1), (1, 1, math.nan, 1), (1, 1, 1, math.inf)):
        with pytest.raises(ValueError, match=r"none|no duration"):
            Summary(*wrong)


# Round trips


def test_what_is_exported_is_read_again(found, tmp_path):
    for name, written in (
        ("layers", layers_json(found.plan)),
        ("profile", profile_json(found.profile)),
        ("times", times_json(found.measurement)),
    ):
        (tmp_path / f"{name}.json").write_bytes(written)
    again = read(*(tmp_path / f"{n}.json" for n in ("layers", "profile", "times")), name="net")
    assert again.plan.layers == found.plan.layers
    assert (again.plan.inputs, again.plan.outputs) == (found.plan.inputs, found.plan.outputs)
    assert again.profile.layers == found.profile.layers
    assert again.measurement.latencies_ms == found.measurement.latencies_ms
    assert again.measurement.throughput == found.measurement.throughput


def test_ten_thousand_layers(write):
    names = [f"layer {n} + relu {n}" for n in range(10_000)]
    paths = write(
        layers_json=engine(*(layer(n, f"t{i}", f"t{i + 1}") for i, n in enumerate(names))),
        profile_json=[{"count": 4}, *map(timed, names)],
    )
    assert len(read(*paths).df) == 10_000
