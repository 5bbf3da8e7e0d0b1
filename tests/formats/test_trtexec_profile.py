"""trtexec's profiles: read, written, and every time that is none refused by its layer's name."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import making
from trtlab.codec import Int64Array
from trtlab.errors import RecordError, UnsupportedError
from trtlab.formats.trtexec_profile import (
    is_profile,
    profile_json,
    read_profile,
    read_profile_lines,
)
from trtlab.record import LayerTiming, Summary


def row(name, average=0.5, **more):
    times = {"timeMs": average * 4, "averageMs": average, "medianMs": average, "percentage": 50}
    return {"name": name} | times | more


def printed(*rows):
    """As trtexec prints it: a row a line, nothing escaped."""
    lines = [
        "{ " + ", ".join(f'"{k}" : "{v}"' if k == "name" else f'"{k}" : {v}' for k, v in r.items())
        + " }"
        for r in rows
    ]  # fmt: skip
    return "[\n  " + "\n, ".join(lines) + "\n]\n"


def profile(*layers, count=4):
    timings = tuple(
        LayerTiming(name, "", "", None, (), None, Summary(count, *times))
        for name, *times in layers
    )
    return making.layer_profile(time_kind="gpu", layers=timings, runs_ns=None)


def test_a_profile_by_hand():
    assert read_profile([{"count": 4}, row("a"), row("b", 0, medianMs=0)], "f") == (
        ("a", Summary(4, 2.0, 0.5, 0.5)),
        ("b", Summary(4, 0.0, 0.0, 0.0)),
    )


def test_an_old_file_has_no_medians_and_may_lack_the_count():
    old = row("a")
    del old["medianMs"]
    assert read_profile([old], "f") == (("a", Summary(None, 2.0, 0.5, None)),)


WRONG = {
    "nan": {"averageMs": float("nan")},
    "infinite": {"timeMs": float("inf")},
    "negative": {"medianMs": -0.1},
    "null": {"averageMs": None},
    "text": {"averageMs": "0.5"},
    "true": {"timeMs": True},
    "list": {"timeMs": []},
    "too-long": {"timeMs": 10**400},
    "an-age": {"timeMs": 1e15},
}


@pytest.mark.parametrize("more", WRONG.values(), ids=WRONG)
def test_a_time_that_is_none_is_told_with_its_layer(more):
    with pytest.raises(RecordError, match=r"f\.json.*'conv \+ relu'"):
        read_profile([{"count": 1}, row("a"), row("conv + relu", **more)], "f.json")


@pytest.mark.parametrize(
    "rows",
    [
        [{"count": 1}],
        [{"count": 0}, row("a")],
        [{"count": True}, row("a")],
        [{"count": "1"}, row("a")],
        [{"count": 2**63}, row("a")],
        [{"count": 1}, 5],
        [{"count": 1}, row(None)],
        [{"count": 1}, row(["a"])],
        [{"count": 1}, {"count": 1}],
        [row("a"), []],
    ],
    ids=str,
)
def test_what_is_no_profile_is_a_record_error(rows):
    with pytest.raises(RecordError, match=r"f\.json"):
        read_profile(rows, "f.json")


def test_names_that_trtexec_does_not_escape():
    name = r'a "quoted\" name", "timeMs" : 5 </script>'
    text = printed({"count": 4}, row("b"), row(name))
    with pytest.raises(ValueError, match="delimiter"):
        json.loads(text)
    assert [n for n, _ in read_profile_lines(text, "f")] == ["b", name]


def test_what_c_prints_for_no_number_is_told_with_its_layer():
    text = printed({"count": 4}, row("conv", percentage="-nan", averageMs="-nan"))
    with pytest.raises(RecordError, match=r"'conv'.*averageMs nan"):
        read_profile_lines(text, "f")


def test_other_text_is_no_profile():
    for text in ("", "[\n]\n", "x", '[\n  { "count" : 1 }\n, { "other" : 1 }\n]\n'):
        assert read_profile_lines(text, "f") is None


def test_what_is_written_is_read_again():
    layers = (
        ("a\x1f<b> \"c\" \\ 'd'\n\u2028é", 2.0, 0.5, 0.25),
        ("no-op", 0.0, 0.0, 0.0),
        ("old", 1.0, 0.25, None),
    )
    made = profile(*layers)
    rows = json.loads(profile_json(made))
    assert is_profile(rows)
    assert read_profile(rows, "f") == tuple((y.name, y.summary) for y in made.layers)
    assert [r.get("percentage") for r in rows[1:]] == pytest.approx([200 / 3, 0, 100 / 3])
    assert "medianMs" not in rows[3]
    assert profile_json(made).isascii()


def test_a_count_that_is_not_known_is_not_written():
    assert "count" not in json.loads(profile_json(profile(("a", 1.0, 1.0, None), count=None)))[0]


def test_layers_without_time_have_no_percentage():
    rows = json.loads(profile_json(profile(("a", 0.0, 0.0, 0.0))))
    assert "percentage" not in rows[1]


def test_samples_become_their_sum_mean_and_median():
    layers = (making.layer("a", (10, 20, 60)),)
    made = making.layer_profile(
        time_kind="gpu", layers=layers, runs_ns=Int64Array([1_000_000] * 3)
    )
    ((name, summary),) = read_profile(json.loads(profile_json(made)), "f")
    assert name == "a"
    assert (summary.count, summary.median_ms) == (3, 0.02)
    assert (summary.total_ms, summary.average_ms) == pytest.approx((0.09, 0.03))


def test_host_times_are_not_written_as_gpu_times():
    with pytest.raises(UnsupportedError, match="no GPU times"):
        profile_json(making.layer_profile())


durations = st.floats(0, 1e9)


@given(
    st.lists(st.tuples(st.text(), durations, durations, st.none() | durations), min_size=1),
    st.none() | st.integers(1, 2**62),
)
def test_any_profile_is_read_as_it_was_written(layers, count):
    made = profile(*layers, count=count)
    again = read_profile(json.loads(profile_json(made)), "f")
    assert again == tuple((y.name, y.summary) for y in made.layers)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.data())
def test_any_value_anywhere_is_read_or_refused(data):
    rows = [{"count": 4}, row("a"), row("b")]
    place = data.draw(st.sampled_from(rows))
    place[data.draw(st.sampled_from([*place, "else"]))] = data.draw(plain)
    try:
        found = read_profile(rows, "f")
    except RecordError:
        return
    assert all(0 <= s.average_ms < math.inf and 0 <= s.total_ms < math.inf for _, s in found)


@given(st.lists(plain, min_size=1, max_size=4), st.text())
def test_any_list_and_any_text_is_read_or_refused(rows, text):
    for read, value in ((read_profile, rows), (read_profile_lines, text)):
        try:
            found = read(value, "f")
        except RecordError:
            continue
        assert found is None or all(isinstance(name, str) for name, _ in found)


@pytest.mark.parametrize("piece", ['{ "name" : "', '", "timeMs" : ', ", ", "[ ", '"'])
def test_no_line_makes_reading_quadratic(piece):
    # A quadratic reader would take minutes; the test's time limit is the check.
    line = '{ "name" : "' + piece * 200_000
    assert read_profile_lines(line, "f") is None
