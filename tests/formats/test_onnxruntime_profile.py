"""Profiles of ONNX Runtime by hand: what is read, and that all else ends in RecordError."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtlab.errors import RecordError
from trtlab.formats import onnxruntime_profile


def node(name, ts, dur, index=0, **args):
    return {
        "cat": "Node",
        "pid": 1,
        "tid": 2,
        "ts": ts,
        "dur": dur,
        "ph": "X",
        "name": f"{name}_kernel_time",
        "args": {
            "op_name": "Gemm",
            "node_index": str(index),
            "provider": "CPUExecutionProvider",
            "output_type_shape": [{"float": [1, 10]}],
            "mem_in_use_peak": "1000",
            "mem_bytes_in_use": "500",
        }
        | args,
    }


def run(ts, dur):
    return {"cat": "Session", "ts": ts, "dur": dur, "name": "model_run", "args": {}}


@pytest.fixture
def read(tmp_path):
    def read(events, **options):
        file = tmp_path / "profile.json"
        file.write_bytes(events if isinstance(events, bytes) else json.dumps(events).encode())
        return onnxruntime_profile.read(file, **options)

    return read


def three_runs():
    """Three runs 1,000 µs apart of a (40, 41, 42 µs) and b (20 µs)."""
    events = [{"cat": "Session", "ts": 0, "dur": 9, "name": "session_initialization"}]
    for n in range(3):
        begin = 1000 * (n + 1)
        events += [
            node("a", begin + 1, 40 + n, 0, mem_in_use_peak=str(5000 - 1000 * n)),
            node("b", begin + 50, 20, 1),
            {"cat": "Node", "ts": begin + 50, "dur": 1, "name": "b_fence_before", "args": {}},
            run(begin, 100 + n),
        ]
    return events


def test_every_node_has_its_time_in_every_run(read):
    times = read(three_runs())
    assert list(times.runs_ns) == [100_000, 101_000, 102_000]
    a, b = times.layers
    assert (a.name, a.type, a.provider) == ("a", "Gemm", "CPUExecutionProvider")
    assert list(a.samples_ns) == [40_000, 41_000, 42_000]
    assert list(b.samples_ns) == [20_000] * 3
    assert a.output_shapes == ((1, 10),)
    assert a.arena_bytes == 500
    assert times.arena_peak_bytes == 5000


def test_warm_up_is_left_out_of_times_and_memory(read):
    times = read(three_runs(), skip_runs=2)
    assert list(times.runs_ns) == [102_000]
    assert [list(y.samples_ns) for y in times.layers] == [[42_000], [20_000]]
    assert times.arena_peak_bytes == 3000
    with pytest.raises(RecordError, match="no run after the first 3"):
        read(three_runs(), skip_runs=3)


def test_the_order_of_events_does_not_matter(read):
    assert read(three_runs()[::-1]) == read(three_runs())


def test_nodes_of_a_subgraph_belong_to_the_node_that_holds_it(read):
    events = [
        run(100, 100),
        node("inner1", 110, 10, 0),
        node("inner2", 121, 0, 1),
        node("inner3", 122, 28, 2),
        node("if", 105, 45, 3, op_name="If", mem_in_use_peak="10"),
        node("after", 150, 20, 4),
    ]
    times = read(events)
    assert [y.name for y in times.layers] == ["if", "after"]
    assert times.arena_peak_bytes == 1000


def test_loops_within_branches_are_counted_once(read):
    events = [run(0, 100), node("if", 1, 90), node("loop", 2, 80), node("body", 3, 5)]
    assert [y.name for y in read(events).layers] == ["if"]


def test_nodes_of_less_than_a_microsecond_are_layers_too(read):
    # Times are whole microseconds: a tiny node has 0 and begins where the last one ended.
    events = [
        run(100, 50),
        node("a", 100, 5, 0),
        node("b", 105, 0, 1),
        node("c", 105, 0, 2),
        node("d", 105, 7, 3),
    ]
    events += [run(200, 50), node("a", 201, 5, 0), node("b", 206, 0, 1), node("c", 207, 1, 2)]
    events += [node("d", 209, 7, 3)]
    times = {y.name: list(y.samples_ns) for y in read(events).layers}
    assert set(times) == {"a", "b", "c", "d"}
    assert times["c"] == [0, 1000]
    assert times["d"] == [7000, 7000]


def test_a_node_that_ran_in_some_runs_only_has_zero_in_the_others(read):
    events = [
        run(0, 10),
        run(20, 10),
        node("a", 1, 5, 0),
        node("a", 21, 5, 0),
        node("b", 27, 2, 1),
    ]
    times = {y.name: list(y.samples_ns) for y in read(events).layers}
    assert times == {"a": [5000, 5000], "b": [0, 2000]}


def test_nodes_of_the_same_name_are_told_apart_by_their_index(read):
    events = [run(0, 10), node("", 1, 2, 0), node("", 4, 3, 1)]
    assert [(y.name, list(y.samples_ns)) for y in read(events).layers] == [
        ("", [2000]),
        ("", [3000]),
    ]


def test_missing_memory_is_unknown_not_0(read):
    events = [run(0, 10), node("a", 1, 2)]
    del events[1]["args"]["mem_in_use_peak"], events[1]["args"]["mem_bytes_in_use"]
    times = read(events)
    assert times.arena_peak_bytes is None
    assert times.layers[0].arena_bytes is None


def test_numbers_may_be_numbers_and_memory_may_be_none_in_some_nodes(read):
    events = [run(0, 10), node("a", 1, 2, mem_in_use_peak=7), node("b", 4, 2, 1)]
    del events[2]["args"]["mem_in_use_peak"]
    events[1]["args"]["node_index"] = 0
    assert read(events).arena_peak_bytes == 7


def test_a_node_on_cuda_says_so(read):
    times = read([run(0, 10), node("a", 1, 2, provider="CUDAExecutionProvider")])
    assert times.layers[0].provider == "CUDAExecutionProvider"


def test_runs_without_nodes_are_runs(read):
    times = read([run(0, 10)])
    assert times.layers == ()
    assert list(times.runs_ns) == [10_000]


def test_shapes_of_several_outputs(read):
    shapes = [{"float": [1, 10]}, {"int64": []}]
    times = read([run(0, 10), node("a", 1, 2, output_type_shape=shapes)])
    assert times.layers[0].output_shapes == ((1, 10), ())


HOSTILE = {
    "empty": b"",
    "no-json": b"\x00\xff",
    "half": json.dumps([run(0, 10)])[:-2].encode(),
    "dict": {"a": 1},
    "number": 3,
    "null": None,
    "no-runs": [],
    "numbers": [1, 2],
    "lists": [[]],
    "nothing-in-them": [{}],
    "run-without-time": [{"name": "model_run"}],
    "time-is-text": [run("soon", 1)],
    "time-is-null": [run(None, 1)],
    "nan": [run(float("nan"), 1)],
    "infinity": [run(float("inf"), 1)],
    "infinite-duration": [run(0, 10), node("a", 1, float("inf"))],
    "overflow": b'[{"name":"model_run","ts":1e999,"dur":1}]',
    "negative-run": [run(10, -5)],
    "negative-node": [run(0, 10), node("a", 1, -1)],
    "more-than-64-bits": [run(0, 2**63)],
    "node-more-than-64-bits": [run(0, 10), node("a", 1, 2**70)],
    "many-digits": b'[{"name":"model_run","ts":' + b"9" * 5000 + b',"dur":1}]',
    "deep": b"[" * 200_000,
    "deep-args": b'[{"name":"model_run","ts":0,"dur":1,"args":' + b"[" * 200_000,
    "node-without-args": [run(0, 10), {**node("a", 1, 2), "args": None}],
    "args-is-text": [run(0, 10), {**node("a", 1, 2), "args": "x"}],
    "node-without-index": [run(0, 10), {**node("a", 1, 2), "args": {}}],
    "node-without-name": [run(0, 10), {"cat": "Node", "ts": 1, "dur": 2}],
    "name-is-number": [run(0, 10), {**node("a", 1, 2), "name": 5}],
    "index-is-text": [run(0, 10), node("a", 1, 2, "first")],
    "index-is-infinite": [run(0, 10), {**node("a", 1, 2), "args": {"node_index": float("inf")}}],
    "memory-is-text": [run(0, 10), node("a", 1, 2, mem_in_use_peak="much")],
    "memory-is-a-list": [run(0, 10), node("a", 1, 2, mem_bytes_in_use=[])],
    "shapes-are-text": [run(0, 10), node("a", 1, 2, output_type_shape="x")],
    "shape-is-a-number": [run(0, 10), node("a", 1, 2, output_type_shape=[{"float": 5}])],
    "dimensions-are-text": [run(0, 10), node("a", 1, 2, output_type_shape=[{"float": ["N"]}])],
    "shapes-are-null": [run(0, 10), node("a", 1, 2, output_type_shape=None)],
}


@pytest.mark.parametrize("events", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_profile_is_a_record_error(read, events):
    with pytest.raises(RecordError, match=r"profile\.json"):
        read(events)


def test_a_file_that_cannot_be_read_is_a_record_error(tmp_path):
    for path in (tmp_path, tmp_path / "missing.json"):
        with pytest.raises(RecordError) as caught:
            onnxruntime_profile.read(path)
        assert caught.value.hint


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.data())
def test_any_value_anywhere_is_read_or_refused(read, data):
    events = json.loads(json.dumps([run(0, 50), *three_runs()[:5]]))
    event = data.draw(st.sampled_from(events))
    place = data.draw(st.sampled_from([event, event.get("args", {})]))
    keys = [*place, "dur", "ts", "name", "cat"]
    place[data.draw(st.sampled_from(keys))] = data.draw(plain)
    try:
        times = read(events)
    except RecordError:
        return
    assert all(ns >= 0 for y in times.layers for ns in y.samples_ns)
    assert all(isinstance(d, int) for y in times.layers for s in y.output_shapes for d in s)


@given(st.binary(max_size=100))
def test_any_bytes_are_refused(read, data):
    with pytest.raises(RecordError):
        read(data)


def test_a_small_file_cannot_ask_for_any_memory(read, monkeypatch):
    # One node in each run, another one each time: 0 for every other would be 9 × 9 samples.
    events = []
    for n in range(9):
        events += [run(100 * n, 50), node(f"n{n}", 100 * n + 1, 5, n)]
    assert sum(ns for y in read(events).layers for ns in y.samples_ns) == 45_000
    monkeypatch.setattr(onnxruntime_profile, "MOST_SAMPLES", 80)
    with pytest.raises(RecordError, match=r"9 nodes in 9 runs: more than 80 samples"):
        read(events)
