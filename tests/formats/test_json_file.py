"""JSON that is not quite JSON, and what an error says of the rest."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtlab.errors import RecordError
from trtlab.formats.json_file import decoded, shown, text_of, whole_characters


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": [1, 2.5, "x"]}', {"a": [1, 2.5, "x"]}),
        (b'["a\x1fb"]', ["a\x1fb"]),
        (b'["\\ud800a", {"\\udc00": "\\ud83d\\ude00"}]', ["?a", {"?": "😀"}]),
        (b"[1e999]", [float("inf")]),
        (b"[Infinity]", [float("inf")]),
        (b"\xef\xbb\xbf[1]", [1]),
        (b'["a",\r\n"b"]', ["a", "b"]),
        ('["\ud800"]', ["?"]),
    ],
)
def test_what_is_nearly_json_is_read(text, value):
    assert decoded(text, "f") == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"a": 1', "line 1, it ends too early"),
        (b'[\n{"name": "conv", "t": -nan}]', "line 2, -nan is no number"),
        (b'[{"name": "a"b"}]', "at 'b"),
        (b"", "ends too early"),
        (b"[" * 200_000, "nests too deeply"),
        (b"[" + b"9" * 5000 + b"]", "a number is too long"),
        (b'["\xff"]', "byte 2 is 0xff"),
    ],
)
def test_an_error_says_what_and_where(text, words):
    with pytest.raises(RecordError) as caught:
        decoded(text, "f.json")
    assert words in caught.value.message
    assert caught.value.message.startswith("f.json")


def test_an_error_shows_no_control_characters():
    with pytest.raises(RecordError) as caught:
        decoded(b'["\x1b[2J\x07" x]', "f")
    assert caught.value.message.isprintable()


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(data):
    with contextlib.suppress(RecordError):
        json.dumps(decoded(data, "f"))


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_json_is_read_as_it_was_written(value):
    assert decoded(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), "f") == (
        json.loads(whole_characters(json.dumps(value, ensure_ascii=False)))
    )


def test_windows_ends_its_lines_otherwise():
    assert text_of(b"a\r\nb", "f") == "a\nb"


def test_a_value_is_shown_in_short():
    assert shown("a\x1b") == "'a\\x1b'"
    assert len(shown("a" * 10_000)) < 70
    assert shown(10**5000).startswith("a very long int")
