"""``ConversionReport``: what it shows, and what no conversion writes."""

import pytest

from trtlab.codec import from_json, to_json
from trtlab.model.conversion import Calibration, ConversionReport, KeptNode, Range


def report(**parts):
    return ConversionReport(
        **{"recipe": "int8", "tools": ("a 1", "b 2"), "parent": "ab" * 32, "parent_name": "net"}
        | parts
    )


def test_rows_tell_shares_and_reasons():
    rows = dict(
        report(
            weights=1000, weights_converted=250, bytes_before=4096, bytes_after=1024,
            kept=(KeptNode("a", "Exp", "r"), KeptNode("b", "Exp", "r"), KeptNode("c", "Add", "s")),
            ranges={"small": Range(0.0, 1.0), "wide": Range(-9.0, 2.0)}, options=("clip=True",),
            calibration=Calibration(data="digits", hash="0", samples=64, calibrator="mse"),
            doubts=("careful",), clipped=3, flushed=4,
        ).rows()
    )  # fmt: skip
    assert rows["weights converted"] == "250 of 1,000 (25.0%)"
    assert rows["nodes kept"] == "3: 2 Exp (r), 1 Add (s)"
    assert rows["ranges"] == "2 tensors; widest wide: -9 … 2"
    assert rows["calibration"] == "mse, 64 samples of digits"
    assert rows["weights clipped"] == "3, to zero 4"
    assert rows["options"] == "clip=True"
    assert rows["caveat"] == "careful"


def test_what_is_not_known_is_not_shown():
    rows = dict(report().rows())
    assert not {"calibration", "ranges", "options", "caveat"} & rows.keys()
    assert rows["weights converted"] == "0 of 0"
    assert rows["nodes kept"] == "0"


def test_names_of_other_people_are_escaped():
    shown = repr(report(parent_name="\x1b[2J", kept=(KeptNode("n", "\x07", "\u202e"),)))
    assert all(c.isprintable() or c == "\n" for c in shown)


@pytest.mark.parametrize(
    "recipe", ["int8", "int8+fp16", "qdq+fp16", "int4-weights", "int4-weights+bf16"]
)
def test_a_report_comes_back_whole(recipe):
    whole = report(recipe=recipe, ranges={"t": Range(-1.5, 2.0)}, seconds=0.5)
    assert from_json(to_json(whole), ConversionReport) == whole


@pytest.mark.parametrize(
    "wrong",
    [{"recipe": ""}, {"recipe": "INT 8"}, {"recipe": "\x1b"}, {"recipe": "int8\n"},
     {"parent": ""}, {"parent": "../x"}, {"parent": "a" * 65}],
)  # fmt: skip
def test_what_no_conversion_writes_is_refused(wrong):
    with pytest.raises(ValueError, match="no recipe"):
        report(**wrong)
