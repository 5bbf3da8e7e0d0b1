"""trtexec's times: read as windows, written, and refused where they cannot be."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import making
from trtlab.codec import Int64Array
from trtlab.errors import RecordError, UnsupportedError
from trtlab.formats.trtexec_times import is_times, read_times, times_json
from trtlab.record import Parts, Window

MS = 1_000_000


def inference(begin, compute=2.0, h2d=0.0, d2h=0.0, **more):
    """One that is enqueued as it begins."""
    times = {"startEnqMs": begin, "endEnqMs": begin + 0.5, "startH2dMs": begin}
    times |= {"endH2dMs": begin + h2d, "startComputeMs": begin + h2d}
    times |= {"endComputeMs": begin + h2d + compute, "startD2hMs": begin + h2d + compute}
    times |= {"endD2hMs": begin + h2d + compute + d2h, "h2dMs": h2d, "computeMs": compute}
    return times | {"d2hMs": d2h, "latencyMs": h2d + compute + d2h} | more


def test_times_without_copies():
    read = read_times([inference(0, 2.0), inference(3, 4.0)], "f")
    assert read.contents == "compute"
    parts = Parts(Int64Array([2 * MS, 4 * MS]), Int64Array([MS // 2] * 2))
    assert read.windows(None) == (Window(parts.compute_ns, 7 * MS, parts),)


def test_times_with_copies():
    read = read_times([inference(0, 2.0, 0.5, 0.25), inference(3, 4.0, 0.5, 0.0)], "f")
    assert read.contents == "compute+transfers"
    (window,) = read.windows(None)
    assert window.latencies_ns == Int64Array([2_750_000, 4_500_000])
    assert window.parts.h2d_ns == Int64Array([MS // 2] * 2)
    assert window.parts.d2h_ns == Int64Array([MS // 4, 0])
    assert window.wall_ns == 7_500_000


def test_the_warm_up_of_old_files_is_a_window_of_its_own():
    read = read_times([inference(begin) for begin in (0, 190, 199, 200, 210)], "f")
    first, steady = read.windows(200.0)
    assert (len(first.latencies_ns), len(steady.latencies_ns)) == (3, 2)
    assert (first.wall_ns, steady.wall_ns) == (201 * MS, 12 * MS)
    assert len(read.windows(0.0)) == len(read.windows(None)) == 1
    assert len(read.windows(1000.0)) == 1, "all of it cannot be warm-up"


def test_copies_had_other_names_before():
    row = inference(1, 2.0, 0.5, 0.25)
    old = {"h2dMs": "inMs", "d2hMs": "outMs", "startH2dMs": "startInMs", "endD2hMs": "endOutMs"}
    before = read_times([{old.get(key, key): value for key, value in row.items()}], "f")
    assert before == read_times([row], "f")


def test_time_to_enqueue_is_unknown_where_its_moments_are_too_coarse():
    # Six digits: 0.01 ms at 3 s, so that 0.5 ms is known within 2 % and 0.1 ms is not.
    assert read_times([inference(3000, 2.0)], "f").parts.enqueue_ns == Int64Array([MS // 2])
    short = inference(3000, 2.0, endEnqMs=3000.1)
    assert read_times([short], "f").parts.enqueue_ns is None
    assert read_times([inference(0, 2.0, endEnqMs=0.1)], "f").parts.enqueue_ns is not None
    assert read_times([inference(0, 2.0, startEnqMs=None)], "f").parts.enqueue_ns is None


WRONG = {
    "nan": {"computeMs": float("nan")},
    "infinite": {"h2dMs": float("inf")},
    "negative": {"d2hMs": -1.0},
    "zero": {"computeMs": 0.0},
    "below-a-nanosecond": {"computeMs": 1e-7, "latencyMs": 1e-7},
    "null": {"computeMs": None},
    "text": {"computeMs": "2"},
    "true": {"computeMs": True},
    "too-long": {"computeMs": 10**400},
    "an-age": {"computeMs": 1e15},
    "another-latency": {"latencyMs": 3.0},
    "moment-is-nan": {"startH2dMs": float("nan")},
}


@pytest.mark.parametrize("more", WRONG.values(), ids=WRONG)
def test_a_time_that_is_none_is_a_record_error(more):
    with pytest.raises(RecordError, match=r"f\.json"):
        read_times([inference(0), inference(3, **more)], "f.json")


def test_an_inference_that_is_none_is_a_record_error():
    with pytest.raises(RecordError, match="without times"):
        read_times([inference(0), 5], "f")


def test_without_moments_no_window_has_a_length():
    read = read_times([{"computeMs": 2.0}], "f")
    with pytest.raises(ValueError, match="began"):
        read.windows(None)


def measurement(windows, contents="compute", steady_from=0):
    return making.measurement(contents=contents, windows=windows, steady_from=steady_from)


def test_what_is_written_is_read_again():
    parts = Parts(Int64Array([2 * MS, 3 * MS]), None, Int64Array([MS, 2 * MS]), Int64Array([0, 7]))
    window = Window(parts.latencies_ns(), 9 * MS, parts)
    rows = json.loads(times_json(measurement((window,), "compute+transfers")))
    assert is_times(rows)
    read = read_times(rows, "f")
    assert (read.contents, read.windows(None)) == ("compute+transfers", (window,))


def test_steady_windows_are_written_as_one():
    parts = [Parts(Int64Array([n * MS] * 2), Int64Array([MS] * 2)) for n in (9, 2, 4)]
    windows = tuple(Window(p.compute_ns, 20 * MS, p) for p in parts)
    read = read_times(json.loads(times_json(measurement(windows, steady_from=1))), "f")
    (window,) = read.windows(200.0)
    assert window.latencies_ns == Int64Array([2 * MS, 2 * MS, 4 * MS, 4 * MS])
    assert window.wall_ns == 40 * MS
    assert window.parts.enqueue_ns is None


def test_no_moment_is_invented():
    parts = Parts(Int64Array([MS] * 3), Int64Array([MS] * 3))
    rows = json.loads(times_json(measurement((Window(parts.compute_ns, 5 * MS, parts),))))
    said = [key for row in rows for key in row if key.startswith(("start", "end"))]
    assert said == ["startH2dMs", "endD2hMs"]


def test_host_times_are_not_written_as_gpu_times():
    with pytest.raises(UnsupportedError, match="no GPU times"):
        times_json(making.measurement())


calls = st.lists(st.integers(1, 10**12), min_size=1, max_size=20)


@given(calls, st.data())
def test_any_window_is_read_as_it_was_written(compute, data):
    copies = st.lists(st.integers(0, 10**12), min_size=len(compute), max_size=len(compute)).filter(
        any
    )
    h2d, d2h = data.draw(st.just((None, None)) | st.tuples(copies, copies))
    parts = Parts(*(None if p is None else Int64Array(p) for p in (compute, None, h2d, d2h)))
    window = Window(
        parts.latencies_ns(), max(parts.latencies_ns()) + data.draw(st.integers(0, 10**15)), parts
    )
    contents = "compute" if h2d is None else "compute+transfers"
    read = read_times(json.loads(times_json(measurement((window,), contents))), "f")
    assert (read.contents, read.windows(None)) == (contents, (window,))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.data())
def test_any_value_anywhere_is_read_or_refused(data):
    rows = [inference(0), inference(3)]
    place = data.draw(st.sampled_from(rows))
    place[data.draw(st.sampled_from([*place, "else"]))] = data.draw(plain)
    try:
        windows = read_times(rows, "f").windows(data.draw(st.none() | st.floats(0, 1e4)))
    except (RecordError, ValueError):
        return
    measurement(windows, "compute" if windows[0].parts.h2d_ns is None else "compute+transfers")


@given(st.lists(plain, min_size=1, max_size=4))
def test_any_list_is_read_or_refused(rows):
    with pytest.raises(RecordError):
        read_times(rows, "f")
