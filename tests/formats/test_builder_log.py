"""Logs of TensorRT and trtexec: the list and the table of layers in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.test_engine_layers import dump, row, tensor
from trtlab.errors import RecordError
from trtlab.formats.builder_log import read_log
from trtlab.formats.json_file import text_of
from trtlab.formats.layer_dump import read_dump
from trtlab.record import Summary

DUMP = dump(row("a"), row("b [x]"))
NAMES = "Engine Layer Information:\nLayer(Myelin): {ForeignNode[a...b]}, Tactic: 0x0, x -> y"
PLAIN, TRTEXEC = "[VERBOSE] ", "[07/07/2026-02:11:38] [I] "


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{PLAIN}Model name\n{PLAIN}", f"\n{PLAIN}Adding 1 engine to plan file.\n"),
        (f"&&&& RUNNING\n{TRTEXEC}x\n{TRTEXEC}", f"\n{TRTEXEC}Starting\n&&&& PASSED"),
        ("[07/07/2026-02:11:38] [TRT] [V] ", "\n[07/07/2026-02:11:39] [TRT] [W] careful\n"),
        ("Engine information:\n", "\n\nanything\n  [ 0. 1.]\n"),
        ("", ""),
    ],
)
def test_a_list_is_found_in_any_log(before, after):
    assert read_log(before + DUMP + after, "f").layers == read_dump(DUMP)


def test_names_alone_end_where_the_next_message_begins():
    layers = read_log(f"{TRTEXEC}x\n{TRTEXEC}{NAMES}\n{TRTEXEC}Layer: a Scratch\n", "f").layers
    assert layers == read_dump(NAMES)
    assert layers.names_only


def test_lists_of_two_engines_are_refused_with_their_lines():
    with pytest.raises(RecordError, match=r"f\.log lists .* several engines, in lines 2, \d+\."):
        read_log(f"{PLAIN}x\n{PLAIN}{DUMP}\n{PLAIN}{dump(row('c'))}\n", "f.log")


def test_one_engine_may_be_listed_twice():
    last = dump(row("a", outputs=[tensor("y")]), row("b [x]"))
    read = read_log(f"{PLAIN}{DUMP}\n{PLAIN}{last}\n", "f")
    assert read.layers == read_dump(last)


TABLE = """\
=== Profile (18362 iterations ) ===
   Time(ms)     Avg.(ms)   Median(ms)   Time(%)   Layer
      31.40       0.0017       0.0018       2.1   __mye59_0_myl0_0
     101.96       0.0056       0.0044       6.7   Reformatting CopyNode for 2.1   X
    1529.13       0.0833       0.0804     100.0   Total

"""


def prefixed(text):
    return "".join(f"{TRTEXEC}{line}\n" for line in text.splitlines())


def test_a_table_of_layer_times():
    read = read_log(prefixed(f"x\n{TABLE}y\n"), "f")
    assert read.layers is None
    assert read.times == (
        ("__mye59_0_myl0_0", Summary(18362, 31.40, 0.0017, 0.0018)),
        ("Reformatting CopyNode for 2.1   X", Summary(18362, 101.96, 0.0056, 0.0044)),
    )


def test_two_tables_are_refused():
    with pytest.raises(RecordError, match="times the layers of several engines, in lines 1, 7"):
        read_log(prefixed(TABLE * 2), "f")


def test_a_table_without_its_sum_is_cut_off():
    assert read_log(prefixed(TABLE.splitlines()[0]), "f").times is None
    for lines in (2, 3, 4):
        with pytest.raises(RecordError, match="cut off"):
            read_log(prefixed("\n".join(TABLE.splitlines()[:lines])), "f")


@pytest.mark.parametrize(
    ("file", "layers", "names_only", "times"),
    [
        ("aot/m_DETAILED.log", 19, False, None),
        ("engines/cookbook_EngineInspector/log-main.py.log", 26, False, None),
        ("engines/cookbook_trtexec/result-02.log", 6, True, None),
        ("engines/cookbook_trtexec/result-04.log", 9, False, None),
        ("engines/cookbook_trtexec/result-05.log", None, None, 15),
        ("engines/cookbook_trtexec/result-01.log", None, None, None),
    ],
)
def test_real_logs(shared_data, file, layers, names_only, times):
    read = read_log(text_of((shared_data / file).read_bytes(), "f"), "f")
    assert (None if read.layers is None else len(read.layers.layers)) == layers
    assert (None if read.layers is None else read.layers.names_only) == names_only
    assert not (read.layers and read.layers.unread)
    assert (None if read.times is None else len(read.times)) == times


def test_a_real_log_of_three_builds_is_refused(shared_data):
    file = shared_data / "engines/cookbook_ProfilingVerbosity/log-main.py.log"
    with pytest.raises(RecordError, match=r"in lines 1,386, 2,798, 4,210"):
        read_log(text_of(file.read_bytes(), "f"), "f")


PIECES = [PLAIN, TRTEXEC, DUMP, NAMES, TABLE, "Layers:\n", "\n", "Layer(", "Name: ", "[TRT] ", "x"]
PIECES += TABLE.splitlines(keepends=True)


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5)).map("".join))
def test_any_text_is_read_or_refused(text):
    try:
        read = read_log(text, "f")
    except RecordError:
        return
    assert read.layers is None or read.layers.layers is not None
    assert read.times is None or read.times
