"""Quantities are read strictly and printed by the screen's rules for numbers."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtlab.errors import SpecError
from trtlab.units import (
    bytes_from_text,
    ints_from_text,
    shapes_from_text,
    text_from_bytes,
    text_from_count,
    text_from_file_size,
    text_from_interval,
    text_from_latency,
    text_from_ms,
    text_from_number,
    text_from_shape,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256MiB", 256 * 2**20),
        ("1.5 GB", 1_500_000_000),
        (" 16 kib ", 16 * 1024),
        ("2K", 2048),
        ("3m", 3 * 2**20),
        ("1g", 2**30),
        ("10kB", 10_000),
        ("7 B", 7),
        ("4096", 4096),
        (4096, 4096),
        ("0.5KiB", 512),
        ("999999999999999999", 999_999_999_999_999_999),
    ],
)
def test_sizes_are_read(text, size):
    assert bytes_from_text(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MiB",
        "-1MiB",
        -1,
        0,
        "0",
        "0.0GiB",
        "0.3",
        "1e3",
        "1 PiB",
        "1.MiB",
        ".5GiB",
        "1,5GB",
        "256MiB x",
        "nan",
        "inf",
        "٣MiB",
        "9" * 5000,
        "9" * 400 + ".5",
        True,
        None,
        "1MiB\n2MiB",
    ],
)
def test_what_is_no_size_is_refused_with_a_hint(text):
    with pytest.raises(SpecError) as caught:
        bytes_from_text(text)
    assert caught.value.hint
    assert str(text) in caught.value.message or repr(str(text)) in caught.value.message


def test_shapes_are_read_in_trtexecs_way():
    assert shapes_from_text("x:8x3x224x224, ids:8x128,s:1") == {
        "x": (8, 3, 224, 224),
        "ids": (8, 128),
        "s": (1,),
    }
    assert shapes_from_text("input:0:4x5") == {"input:0": (4, 5)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "x:",
        ":1x2",
        "x:1x",
        "x:x1",
        "x:1x-2",
        "x:ax2",
        "x:1x2,",
        "x:1x2,x:3x4",
        "x:1 x2",
        "x:1×2",
        "x:" + "9" * 5000,
        "x:1.5",
    ],
)
def test_what_is_no_shape_is_refused_with_a_hint(text):
    with pytest.raises(SpecError) as caught:
        shapes_from_text(text)
    assert caught.value.hint


def test_lists_of_numbers_are_read():
    assert ints_from_text("1,8, 32") == (1, 8, 32)
    for text in ("", "1,", "a", "1;2", "1.5", "9" * 5000):
        with pytest.raises(SpecError):
            ints_from_text(text)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    for read in (bytes_from_text, shapes_from_text, ints_from_text):
        try:
            read(text)
        except SpecError as error:
            assert error.hint  # noqa: PT017 - it may well be read


def test_shapes_are_printed():
    assert text_from_shape(("N", 3, None)) == "[N, 3, ?]"
    assert text_from_shape(()) == "[]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.97, "3.97"),
        (1990, "1,990"),
        (1987.4, "1,990"),
        (12345.6, "12,300"),
        (1234567, "1,230,000"),
        (999.4, "999"),
        (999.6, "1,000"),
        (99.96, "100"),
        (9.996, "10.0"),
        (0.9996, "1.00"),
        (0.09996, "0.100"),
        (0.0123, "0.0123"),
        (0.01, "0.0100"),
        (0.00999, "< 0.01"),
        (-0.001, "> −0.01"),
        (-42, "−42.0"),
        (-1234.5, "−1,230"),
        (0, "0"),
        (-0.0, "0"),
        (1000, "1,000"),
        (None, "n/a"),
        (math.nan, "n/a"),
        (math.inf, "n/a"),
        (-math.inf, "n/a"),
    ],
)
def test_numbers_have_three_significant_digits(value, text):
    assert text_from_number(value) == text


@given(st.floats(min_value=0.01, max_value=1e15))
def test_a_printed_number_is_the_number_to_three_digits(value):
    text = text_from_number(value)
    assert re.fullmatch(r"\d{1,3}(,\d{3})*(\.\d+)?", text)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.0051)
    digits = text.replace(",", "").replace(".", "").lstrip("0")
    assert len(digits.rstrip("0")) <= 3
    if "." in text:
        assert len(digits) == 3


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0.214, "0.214 ms"),
        (0.1, "0.100 ms"),
        (0.0999, "99.9 µs"),
        (0.0431, "43.1 µs"),
        (0, "0 µs"),
        (9999, "10,000 ms"),
        (10_000, "10.0 s"),
        (125_000, "125 s"),
        (None, "n/a"),
        (math.nan, "n/a"),
    ],
)
def test_times_are_in_ms_between_a_tenth_and_ten_thousand(milliseconds, text):
    assert text_from_ms(milliseconds) == text


def test_an_interval_has_the_unit_of_its_value():
    assert text_from_latency(3.97, (3.91, 4.06)) == "3.97 ms [3.91, 4.06]"
    assert text_from_latency(0.05, (0.049, 0.0512)) == "50.0 µs [49.0, 51.2]"
    assert text_from_latency(0.099, (0.098, 0.101)) == "99.0 µs [98.0, 101]"
    assert text_from_latency(12_000, (11_900, 12_100)) == "12.0 s [11.9, 12.1]"
    assert text_from_latency(3.97, None) == "3.97 ms [n/a]"


def test_an_unknown_interval_is_not_a_number():
    assert text_from_interval((3.91, 4.06)) == "[3.91, 4.06]"
    assert text_from_interval(None) == "[n/a]"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (28.4 * 2**20, "28.4 MiB"),
        (1023.9 * 2**20, "1.00 GiB"),
        (3 * 2**40, "3.00 TiB"),
        (5 * 2**50, "5,120 TiB"),
        (-5, "−5.00 B"),
        (-28.4 * 2**20, "−28.4 MiB"),
        (None, "n/a"),
        (math.nan, "n/a"),
        (math.inf, "n/a"),
    ],
)
def test_memory_is_in_binary_units(size, text):
    assert text_from_bytes(size) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999949, "1.00 MB"),
        (102400000, "102 MB"),
        (4500000000.0, "4.50 GB"),
        (None, "n/a"),
    ],
)
def test_files_are_in_decimal_units(size, text):
    assert text_from_file_size(size) == text


def test_counts_have_a_prefix():
    assert text_from_count(4.09e9, "FLOP") == "4.09 GFLOP"
    assert text_from_count(340e6, "FLOP") == "340 MFLOP"
    assert text_from_count(5) == "5"
    assert text_from_count(25_600_000) == "25.6 M"
    assert text_from_count(None, "FLOP") == "n/a"
