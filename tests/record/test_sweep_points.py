"""Points of a sweep over precisions: an accuracy without a latency, and what a row says."""

from dataclasses import replace

from tests import accuracies, making
from trtlab.record import Failure, SweepResult
from trtlab.spec import BuildConfig, RunConfig


def test_a_row_has_top1_from_labels_with_its_paired_interval():
    row = accuracies.point("int8").row()
    assert row["top1"] == 0.986 - 0.014
    assert (row["top1_drop"], row["top1_drop_low"], row["top1_drop_high"]) == (0.014, 0.004, 0.024)
    assert (row["accuracy_origin"], row["sqnr_db"]) == ("measured", 30.0)
    assert (row["model_bytes"], row["plan_bytes"], row["precision"]) == (4096, 5000, "int8")


def test_without_labels_or_accuracy_nothing_is_made_up():
    bare = accuracies.point("int8", accuracy=accuracies.accuracy(labels=None)).row()
    assert bare["top1"] is bare["top1_drop"] is bare["top1_drop_high"] is None
    assert bare["sqnr_db"] == 30.0
    none = accuracies.point("int8", accuracy=None, plan=None).row()
    assert none["accuracy_origin"] is none["sqnr_db"] is none["model_bytes"] is None


def test_the_worst_output_counts_and_one_without_error_does_not():
    outputs = (accuracies.output(40.0), accuracies.output(12.5), accuracies.output(None, rmse=0.0))
    several = accuracies.point(accuracy=accuracies.accuracy(outputs=outputs, labels=None))
    assert several.accuracy.worst_sqnr_db == 12.5
    assert several.accuracy_text() == "SQNR 12.5 dB (measured)"
    exact = accuracies.accuracy(outputs=outputs[2:], labels=None)
    assert accuracies.point(accuracy=exact).accuracy_text() == "no error (measured)"
    unknown = accuracies.accuracy(outputs=(accuracies.output(None),), labels=None)
    assert accuracies.point(accuracy=unknown).accuracy_text() == "SQNR n/a (measured)"


def test_why_a_point_has_no_latency():
    assert accuracies.point().no_latency_because is None
    assert accuracies.emulated().no_latency_because == "this CPU computes FP16 as FP32"
    assert accuracies.built().no_latency_because == "built, not run"
    assert accuracies.refused().no_latency_because == "The CPU has no BF16 convolution."
    assert making.point(plan=None, measurement=None).no_latency_because == "not run"


def test_a_sweep_shows_an_accuracy_without_a_latency_with_the_reason():
    guess = accuracies.emulated(plan=None, note="this CPU computes FP16 as FP32.")
    shown = SweepResult((accuracies.point("fp32"), guess, accuracies.built()))
    texts = [text for _, text in shown.rows()]
    assert texts[0] == "3 points, 0 failed"
    assert texts[1].endswith("inf/s, top-1 97.2 % (measured)")
    assert texts[2] == "latency n/a (this CPU computes FP16 as FP32), top-1 98.6 % (estimated)"
    assert texts[3] == (
        "latency n/a (built, not run); plan 1.60 kB, 2 layers, activations to come n/a (builder)"
    )
    assert shown.df["note"][1] == "this CPU computes FP16 as FP32."


def test_labels_tell_points_apart_and_name_no_batch_that_was_not_asked_for():
    small = replace(accuracies.RTX, workspace_bytes=2**24)
    every = (
        accuracies.built("int8"), accuracies.built("int8", build=small),
        accuracies.emulated("int8", run=RunConfig()), accuracies.point("int8", batch=8),
        accuracies.emulated(
            "int8", build=BuildConfig(optimization_level="basic"),
            run=RunConfig(batch=8, streams=2),
        ),
    )  # fmt: skip
    assert [label for label, _ in SweepResult(every).rows()][1:] == [
        "digits, tensorrt_rtx for sm89",
        "digits, tensorrt_rtx for sm89, workspace 16.0 MiB",
        "digits, onnxruntime for cpu",
        "digits, onnxruntime for cpu, batch 8, optimisation all",
        "digits, onnxruntime for cpu, batch 8, 2 streams, optimisation basic",
    ]
    alone = SweepResult((accuracies.point("int8"), accuracies.emulated("fp16")))
    assert alone.rows()[2][0] == "digits (fp16), batch 1"


def test_a_failure_does_not_say_its_precision_twice():
    failure = Failure("unsupported", "bf16: The CPU has no BF16 convolution.", "")
    point = replace(accuracies.refused(), failure=failure)
    assert point.no_latency_because == "The CPU has no BF16 convolution."
    assert SweepResult((point,)).rows()[1][1] == "failed: The CPU has no BF16 convolution."
