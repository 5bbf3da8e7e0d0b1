"""What an accuracy says of itself: no loss without an error bar, nothing unknown as 0."""

from dataclasses import replace

import pytest

from trtlab.codec import from_json, to_json
from trtlab.record import (
    Accuracy,
    DataRef,
    Environment,
    LabelMetrics,
    ModelRef,
    NodeError,
    OutputError,
)
from trtlab.stats import Interval

OUTPUT = OutputError(
    name="y", tensor="h", stage="before softmax", elements=400, max_absolute=0.5,
    mean_absolute=0.1, p99_absolute=0.4, max_relative=2.0, mean_relative=0.3, relative_floor=0.01,
    rmse=0.2, sqnr_db=31.25, cosine=0.99, kl=0.001, top1_agreement=0.98, top5_agreement=None,
    beyond_both=0.25, beyond_sum=0.125, atol=0.05, rtol=0.01,
)  # fmt: skip
LABELS = LabelMetrics(
    samples=1000, top1=0.893, top5=0.998, reference_top1=0.96, reference_top5=0.999, drop=0.067,
    drop_interval=Interval(0.0507, 0.0857),
)  # fmt: skip
NODE = NodeError(
    node="conv", op="Conv", keep=("conv",), tensor="c", sqnr_db=20.0, own_sqnr_db=25.0, effect=0.9,
    effect_interval=Interval(0.8, 1.0), certain=True, rmse=0.1,
)  # fmt: skip
FOUND = Accuracy(
    model=ModelRef("net", "a" * 64, "int8", "b" * 64), reference="net (fp32)",
    reference_model=None, data=DataRef(words="images", hash="c" * 64, samples=1000),
    arithmetic="emulated", provider="CPUExecutionProvider", plan=None, outputs=(OUTPUT,),
    labels=LABELS, environment=Environment(),
)  # fmt: skip


def rows(**changes):
    return dict(replace(FOUND, **changes).rows())


def test_a_loss_has_its_interval():
    assert rows()["loss"] == (
        "top-1 drops by 6.70 points (95 % interval 5.07 to 8.57 points, 1,000 samples)"
    )


def test_no_loss_says_what_is_not_ruled_out():
    small = replace(LABELS, drop=-0.001, drop_interval=Interval(-0.0058, 0.0081))
    assert small.sentence == (
        "no loss that these samples can show: top-1 rises by 0.10 points (95 % interval −0.81 to "
        "0.58 points, 1,000 samples); a drop of up to 0.81 points is not ruled out"
    )
    less = replace(LABELS, drop=0.001, drop_interval=Interval(-0.0058, 0.0081))
    assert "top-1 drops by 0.10 points (95 % interval −0.58 to 0.81 points" in less.sentence
    gain = replace(LABELS, drop=-0.02, drop_interval=Interval(-0.03, -0.01))
    assert gain.sentence == (
        "top-1 rises by 2.00 points (95 % interval 1.00 to 3.00 points, 1,000 samples)"
    )
    none = replace(LABELS, drop=0.0, drop_interval=Interval(0.0, 0.004))
    assert "drops by 0.00 points (95 % interval 0.00 to 0.40 points" in none.sentence


def test_rows_name_what_was_compared_and_how():
    found = rows()
    assert found["arithmetic"] == "emulated on CPUExecutionProvider (estimated)"
    assert found["output y"] == "before softmax, h; SQNR 31.2 dB, RMSE 0.2"
    assert found["same class"] == "top-1 98.00 %; KL divergence 0.001 nats"
    assert "25.00 % by Polygraphy's rule, 12.50 % by trtexec's" in found["beyond tolerance"]
    assert not {"NaN or infinite", "most of the error"} & set(found)


def test_as_run_is_measured():
    assert rows(arithmetic="as run")["arithmetic"].endswith("(measured)")


def test_what_is_not_known_is_not_0():
    output = replace(OUTPUT, sqnr_db=None, rmse=None, cosine=None, not_finite=400)
    found = rows(outputs=(output,), labels=None)
    assert found["NaN or infinite"] == "400 of 400 where the reference is finite"
    assert found["output y"].endswith("SQNR n/a, RMSE n/a")
    assert found["cosine"] == "n/a"
    assert "loss" not in found
    same = rows(outputs=(replace(OUTPUT, sqnr_db=None, rmse=0.0),))
    assert "SQNR without error" in same["output y"]


@pytest.mark.parametrize(
    ("suggested", "text"), [(("conv", "fc"), "conv, fc"), ((), "nothing stands out")]
)
def test_suggested_nodes(suggested, text):
    assert rows(nodes=(NODE,), suggested=suggested)["most of the error"] == text


def test_it_survives_json_and_becomes_tables():
    full = replace(FOUND, nodes=(NODE,), suggested=("conv",))
    assert from_json(to_json(full), Accuracy) == full
    assert full.df[["name", "sqnr_db"]].to_numpy().tolist() == [["y", 31.25]]
    assert full.nodes_df["effect"].tolist() == [0.9]
    assert len(FOUND.nodes_df) == 0
