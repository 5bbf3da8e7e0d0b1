"""Every record survives JSON and the worker's pipe; whatever else comes in ends in ValueError."""

import base64
import json
import math
import zlib
from dataclasses import MISSING, fields, is_dataclass, replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import making
from trtlab import codec
from trtlab.codec import Int64Array, from_json, from_message, to_json, to_message
from trtlab.model.types import Graph, Model
from trtlab.record import (
    BuilderMessage,
    Comparison,
    Difference,
    Environment,
    LayerProfile,
    Measurement,
    Plan,
    Point,
    SweepResult,
)
from trtlab.spec import BuildConfig, RunConfig
from trtlab.stats import Interval

KINDS = [
    making.plan(),
    making.measurement(),
    making.layer_profile(),
    making.environment(),
    making.model(),
    making.graph(),
    making.point(),
    making.failed_point(),
    SweepResult((making.point(), making.failed_point()), stopped=True),
    Comparison("a", "b", (Difference("q", 1.0, None, 1.5, Interval(1, 2), "worse"),), ()),
    BuildConfig(),
    RunConfig(shapes={"x": (1, 2)}),
]

int64 = st.integers(-(2**63), 2**63 - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
sizes = st.integers(0, 2**62)
words = st.text(max_size=20)
arrays = st.lists(int64, max_size=30).map(Int64Array)
optional_size = st.none() | sizes

environments = st.builds(
    making.environment,
    machine=words,
    cpu=words,
    cores=sizes,
    packages=st.dictionaries(words, words, max_size=3),
    gpu=st.none() | words,
    load_average=st.none() | finite,
)
plans = st.builds(
    making.plan,
    model_path=words,
    build_seconds=finite,
    plan_bytes=sizes,
    layers=st.none() | st.just(making.plan().layers),
    messages=st.lists(
        st.builds(BuilderMessage, st.sampled_from(["error", "warning"]), words), max_size=3
    ).map(tuple),
    peak_rss_bytes=optional_size,
    environment=environments,
)
three = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3).map(Int64Array)
times = st.lists(st.integers(1, 2**62), min_size=1, max_size=30).map(Int64Array)
measurements = st.builds(
    making.measurement,
    windows=st.lists(
        st.builds(making.Window, times, st.integers(1, 2**62)), min_size=1, max_size=4
    ).map(tuple),
    batch=st.none() | st.integers(1, 2**24),
    run=st.builds(
        RunConfig,
        batch=st.none() | st.integers(1, 2**24),
        shapes=st.dictionaries(words, st.lists(st.integers(1, 99)).map(tuple), max_size=2),
        quick=st.booleans(),
    ),
    other_load=st.none() | finite,
    energy_joules=st.none() | finite,
    energy_note=words,
    memory=st.builds(making.memory, baseline=optional_size, activations=optional_size),
    environment=environments,
)
profiles = st.builds(
    making.layer_profile,
    layers=st.lists(st.builds(making.layer, name=words, samples_ns=three), max_size=3).map(tuple),
    runs_ns=three,
    environment=environments,
)
any_record = plans | measurements | profiles | environments


@pytest.mark.parametrize("value", KINDS, ids=lambda v: type(v).__name__)
def test_every_kind_survives_both_ways(value):
    assert from_json(to_json(value), type(value)) == value
    assert from_message(to_message(value), type(value)) == value


@given(any_record)
def test_any_record_survives_json(record):
    data = to_json(record)
    json.loads(data)
    again = from_json(data, type(record))
    assert again == record
    assert to_json(again) == data


@given(any_record)
def test_any_record_survives_the_pipe(record):
    assert from_message(to_message(record), type(record)) == record


def test_attributes_keep_their_types():
    attributes = from_json(to_json(making.graph()), Graph).nodes[0].attributes
    assert attributes == {"pads": (1, 1), "alpha": 1.0, "s": "a"}
    assert isinstance(attributes["alpha"], float)


# Arrays


@given(st.lists(int64, max_size=100))
def test_arrays_keep_their_numbers(numbers):
    array = Int64Array(numbers)
    assert list(array) == numbers
    assert len(array) == len(numbers)
    assert array.to_bytes() == b"".join(n.to_bytes(8, "little", signed=True) for n in numbers)
    assert Int64Array.from_bytes(array.to_bytes()) == array
    assert hash(Int64Array(numbers)) == hash(array)
    assert list(array[1:3]) == numbers[1:3]


def test_arrays_are_small_and_strict():
    assert repr(Int64Array([1, 2])) == "Int64Array(2 values)"
    assert Int64Array([1]) != [1]
    for bad in ([2**63], [1.5], ["1"]):
        with pytest.raises((OverflowError, TypeError)):
            Int64Array(bad)
    with pytest.raises(ValueError, match="multiple"):
        Int64Array.from_bytes(b"1234567")


def packed(data, level=9):
    return json.dumps(base64.b64encode(zlib.compress(data, level)).decode()).encode()


def test_packed_arrays_are_readable_by_others():
    assert from_json(packed((7).to_bytes(8, "little")), Int64Array) == Int64Array([7])


BOMB = zlib.compress(bytes(257 * 2**20), 9)


@pytest.mark.parametrize(
    "text",
    [
        b'""',
        b'"AAAA"',
        b'"no base64!"',
        '"ä"'.encode(),
        b"1",
        b"null",
        b"[]",
        b"[1, 2]",
        b"{}",
        packed(b"123"),
        packed(bytes(8))[:-6] + b'"',
        b'"' + base64.b64encode(zlib.compress(bytes(8))[:-4]) + b'"',
        b'"' + base64.b64encode(BOMB) + b'"',
    ],
    ids=range(13),
)
def test_damaged_arrays_are_refused(text):
    with pytest.raises(ValueError, match=r".") as caught:
        from_json(text, Int64Array)
    assert type(caught.value) is ValueError


def test_an_array_of_the_largest_size_is_read_and_one_more_is_not(monkeypatch):
    assert codec._LARGEST_UNPACKED == 64 * 2**20
    monkeypatch.setattr(codec, "_LARGEST_UNPACKED", 2**20)
    assert len(from_json(packed(bytes(2**20)), Int64Array)) == 2**17
    with pytest.raises(ValueError, match="64 MiB"):
        from_json(packed(bytes(2**20 + 8)), Int64Array)


# Damage

WRONG = [None, True, -1, 1.5, "text", [], [[]], {}, {"x": 1}, 10**30, "\ud83d\ude00", ["a"] * 50]


def paths(value, path=()):
    """Every place in nested plain data."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:2]):
            yield from paths(item, (*path, index))


def changed(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("record", making.records(), ids=lambda r: r.kind)
def test_a_wrong_value_anywhere_is_accepted_by_type_or_refused_by_value_error(record):
    plain = msgspec.json.decode(to_json(record))
    for path in paths(plain):
        for new in WRONG:
            damaged = changed(plain, path, new)
            try:
                read = from_json(json.dumps(damaged), type(record))
            except ValueError:
                pass
            else:
                assert from_json(to_json(read), type(record)) == read
            try:
                from_message(msgspec.msgpack.encode(damaged), type(record))
            except ValueError:
                pass
            except OverflowError:
                assert new == 10**30  # the encoder above cannot write it


@pytest.mark.parametrize("record", making.records(), ids=lambda r: r.kind)
def test_a_missing_field_is_refused_by_name_unless_it_has_a_default(record):
    plain = msgspec.json.decode(to_json(record))
    for field in fields(record):
        rest = {k: v for k, v in plain.items() if k != field.name}
        if field.default is not MISSING:
            from_json(json.dumps(rest), type(record))
        else:
            with pytest.raises(ValueError, match=field.name):
                from_json(json.dumps(rest), type(record))


def test_unknown_fields_are_ignored():
    plain = msgspec.json.decode(to_json(making.plan())) | {"new_in_next_version": [1]}
    assert from_json(json.dumps(plain), Plan) == making.plan()


def test_a_spec_that_refuses_its_value_is_a_value_error():
    for bad in ({"streams": 0}, {"shapes": {"x": [0]}}, {"seed": -1}):
        with pytest.raises(ValueError, match="whole number"):
            from_json(json.dumps(bad), RunConfig)
        with pytest.raises(ValueError, match="whole number"):
            from_message(msgspec.msgpack.encode(bad), RunConfig)
    with pytest.raises(ValueError, match="optimization level"):
        from_json(b'{"optimization_level": "most"}', BuildConfig)


def test_every_truncation_is_refused():
    for record in making.records():
        text, data = to_json(record), to_message(record)
        for end in range(0, len(text), 7):
            with pytest.raises(ValueError, match=r"."):
                from_json(text[:end], type(record))
        for end in range(0, len(data), 3):
            with pytest.raises(ValueError, match=r"."):
                from_message(data[:end], type(record))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    for kind in (Measurement, Graph, RunConfig, Int64Array):
        for read in (from_json, from_message):
            try:
                read(data, kind)
            except ValueError:
                continue


@given(st.data())
def test_a_flipped_byte_is_read_or_refused(data):
    record = data.draw(st.sampled_from(making.records()))
    for encode, decode in ((to_json, from_json), (to_message, from_message)):
        damaged = bytearray(encode(record))
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
        try:
            decode(bytes(damaged), type(record))
        except ValueError:
            continue


@pytest.mark.parametrize("kind", [object, Plan, list, Graph])
@pytest.mark.parametrize("depth", [100, 900, 1000, 1100, 5000, 500_000])
def test_deep_nesting_is_refused_or_read(kind, depth):
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        for text in (opening * depth, opening * depth + b"1" + closing * depth):
            try:
                from_json(text, kind)
            except ValueError:
                continue
    try:
        from_message(b"\x91" * depth + b"\x01", kind)
    except ValueError:
        return


def test_deep_graphs_within_graphs_are_refused_or_read():
    text = b"1"
    for _ in range(3000):
        text = (
            b'{"name":"","tensors":{},"inputs":[],"outputs":[],"nodes":[{"name":"","op":"",'
            b'"inputs":[],"outputs":[],"subgraphs":{"g":' + text + b"}}]}"
        )
    with pytest.raises(ValueError, match=r"."):
        from_json(text, Graph)


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"-Infinity", b"nan", b"1e999"])
def test_numbers_that_json_lacks_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        from_json(text, float)
    plan = to_json(making.plan()).replace(b'"build_seconds":0.25', b'"build_seconds":' + text)
    with pytest.raises(ValueError, match=r"."):
        from_json(plan, Plan)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_never_comes_back_as_another_number(value):
    # JSON has no such number: it is written as null, which a field that may be unknown takes as
    # unknown and any other field refuses.
    unknown = making.environment(load_average=value)
    assert from_json(to_json(unknown), Environment).load_average is None
    warm_up = making.WarmUp(12, value, True)
    with pytest.raises(ValueError, match=r"warm_up\.seconds"):
        from_json(to_json(making.measurement(warm_up=warm_up)), Measurement)
    crossed = from_message(to_message(unknown), Environment).load_average
    assert crossed == value or (math.isnan(crossed) and math.isnan(value))


def test_what_has_no_place_in_a_record_is_refused_on_writing():
    for write in (to_json, to_message):
        with pytest.raises(NotImplementedError, match="complex"):
            write({"a": 1j})


def test_text_in_another_encoding_is_refused():
    text = to_json(making.plan(model_path="é"))
    with pytest.raises(ValueError, match=r"."):
        from_json(text.replace("é".encode(), b"\xe9"), Plan)
    with pytest.raises(ValueError, match=r"."):
        from_json(text.decode().encode("utf-16"), Plan)


def test_records_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"missing required field|memory"):
        from_json(to_json(making.plan()), Measurement)
    with pytest.raises(ValueError, match="missing required field"):
        from_json(to_json(making.measurement()), LayerProfile)
    with pytest.raises(ValueError, match="missing required field"):
        from_json(to_json(making.environment()), Model)


def test_records_are_frozen_and_copied_by_replace():
    for value in KINDS:
        assert is_dataclass(value)
        assert replace(value) == value
        with pytest.raises(AttributeError):
            setattr(value, fields(value)[0].name, None)
    assert replace(making.point(), from_store=True) != making.point()
    assert isinstance(making.point(), Point)
