"""Tables and sentences of precisions: differences with their interval, nothing made up."""

from dataclasses import replace

import pytest

from tests import accuracies, making
from tests.analysis.fusion.making import fused, graph, layer, node
from trtlab.analysis.built_precision import built_precision
from trtlab.analysis.sizes import sizes_against_fp32
from trtlab.model.conversion import Calibration, ConversionReport, KeptNode
from trtlab.views.precision_sentences import (
    accuracy_sentence,
    against_text,
    built_sentence,
    nodes_sentence,
    points_text,
    sizes_sentence,
)
from trtlab.views.precision_tables import (
    accuracy_table,
    conversions_table,
    labels_table,
    node_error_table,
    precision_table,
)
from trtlab.views.tables import Table, conversion_table, sweep_table


def cells(table, row=0):
    return dict(zip(table.heads, table.rows[row], strict=True))


def half(dtype="float16"):
    made = graph(node("c", "Conv", "x w", "y"), constants="w",
                 dtypes=dict.fromkeys("xwy", "float16"))  # fmt: skip
    tensors = layer("c", "x", "y")
    typed = [tuple(making.LayerTensor(t.name, dtype, t.shape) for t in some)
             for some in (tensors.inputs, tensors.outputs)]  # fmt: skip
    return fused(made, making.EngineLayer("c", "CaskConvolution", *typed))


def half_with_weights():
    made = half()
    small = making.LayerTensor("w", "int8", (8, 8))
    return replace(made, layers=(replace(made.layers[0], constants=(small,)),))


SIZES = sizes_against_fp32(
    p.plan for p in (accuracies.built("fp32", 5000, 4400), accuracies.built("fp16", 2600, 2200))
)


def test_a_plan_shows_what_is_in_the_precision_and_its_size():
    table = precision_table([(built_precision(half(), "fp16"), SIZES[1])])
    row = cells(table)
    assert row["Precision"] == "FP16"
    assert row["Convolutions, products"] == "1 of 1"
    assert (row["Of FLOP"], row["Of layers"], row["Of layer times"]) == ("100 %", "100 %", "n/a")
    assert (row["Plan"], row["Model"]) == ("2.60 kB", "2.20 kB")
    assert table.rows[0][-1] == "0.50"
    assert "0.52" in table.rows[0]
    marks = {table.heads[n]: origin for n, origin in table.origins.items()}
    assert marks["Of FLOP"] == "estimated"
    assert marks["Of layer times"] == "measured"
    assert cells(precision_table([(built_precision(half(), "fp16"), None)]))["Plan"] == "n/a"


def test_one_sentence_sums_up_what_was_built():
    assert built_sentence(built_precision(half(), "fp16"), SIZES[1]) == (
        "FP16 by TensorRT for CURRENT: 100 % of the arithmetic (estimated) in FP16, 1 of 1 "
        "convolutions and products compute in it; plan 0.52 of FP32's."
    )
    vain = built_sentence(built_precision(half("float32"), "fp16"))
    assert "0 % of the arithmetic" in vain
    assert vain.endswith("FP16 had no effect: 0 of 1 convolutions and products compute in FP16.")
    silent = built_sentence(built_precision(half(None), "fp16"))
    assert silent.endswith("the plan does not say in which types its layers compute.")
    weights = built_sentence(built_precision(half_with_weights(), "int8-weights"))
    assert weights.endswith(
        "layers with INT8 weights: 1, among them 1 of 1 convolutions and products."
    )
    empty = built_sentence(built_precision(fused(graph()), "int8"))
    assert empty.endswith("the plan has no layers that handle data.")


@pytest.mark.parametrize(
    ("drop", "interval", "said"),
    [
        (0.014, (0.004, 0.024), "−1.4 points [−2.4, −0.4], worse"),
        (-0.014, (-0.024, -0.004), "+1.4 points [+0.4, +2.4], better"),
        (0.005, (-0.004, 0.014), "−0.5 points [−1.4, +0.4], not distinguishable"),
        (0.0, (0.0, 0.0), "0.0 points [0.0, 0.0], not distinguishable"),
    ],
)
def test_a_loss_is_claimed_only_where_its_interval_lies_beyond_0(drop, interval, said):
    assert against_text(accuracies.label_metrics(drop, interval)) == said


def test_points_have_a_true_minus_and_no_negative_zero():
    assert [points_text(x) for x in (-0.005, -0.0001, 0.0101)] == ["−0.5", "0.0", "+1.0"]


def test_accuracies_are_summed_up_once_a_precision():
    exact = accuracies.accuracy(accuracies.FP32, labels=accuracies.label_metrics(0, (0, 0)))
    every = [accuracies.point("fp32", accuracy=exact), accuracies.point("int8"),
             accuracies.point("int8", 8), accuracies.emulated()]  # fmt: skip
    assert accuracy_sentence(every) == (
        "Top-1 of the reference 98.6 %, n 360. INT8 97.2 %, −1.4 points [−2.4, −0.4], worse. "
        "FP16 98.6 %, 0.0 points [−0.3, +0.2], not distinguishable (estimated, emulated)."
    )
    bare = accuracies.point("int8", accuracy=accuracies.accuracy(labels=None))
    assert accuracy_sentence([bare]) == (
        "SQNR of the worst output: INT8 30.0 dB. Top-1 is n/a: no labels."
    )
    assert accuracy_sentence([accuracies.built()]) == "No point has an accuracy."


def test_sizes_are_said_by_builder():
    assert sizes_sentence(SIZES) == (
        "Of FP32's size, model and plan, TensorRT-RTX, SM89: FP16 0.50 and 0.52."
    )
    assert "n/a" in sizes_sentence(SIZES[:1])


def test_nodes_are_ranked_by_their_effect_and_noise_names_none():
    nodes = tuple(
        accuracies.node_error(name, effect, None) for name, effect in (("a", 0.01), ("b", 0.7))
    )
    found = accuracies.accuracy(nodes=nodes, suggested=("b",))
    table = node_error_table(found)
    assert [row[0] for row in table.rows] == ["b", "a"]
    assert cells(table)["Error gone without it"] == "70 % [65, 75]"
    assert (cells(table)["SQNR behind it"], cells(table)["Keep back"]) == ("no error", "yes")
    assert len(node_error_table(found, 1).rows) == 1
    assert nodes_sentence(found).endswith(
        "b (Conv) 70 % [65, 75]. These are proposed to stay in higher precision."
    )
    noise = accuracies.accuracy(nodes=nodes[:1])
    assert nodes_sentence(noise) == "No single one of 1 nodes has an effect beyond the noise."
    assert "n/a" in nodes_sentence(accuracies.accuracy())


def test_errors_of_an_output_keep_their_digits_and_name_what_was_compared():
    table = accuracy_table(accuracies.accuracy(arithmetic="emulated"))
    row = cells(table)
    assert (row["Output"], row["Compared"], row["SQNR"]) == ("y", "before softmax (z)", "30.0 dB")
    assert (row["Mean |error|"], row["Cosine"], row["KL, nats"]) == ("0.0004", "0.99999", "n/a")
    assert set(table.origins.values()) == {"estimated"}


def test_labels_have_one_row_a_precision():
    several = [accuracies.accuracy(), accuracies.accuracy(), accuracies.accuracy(labels=None)]
    (row,) = labels_table(several).rows
    assert row == ("INT8", "97.2 %", "n/a", "98.6 %", "−1.4 points [−2.4, −0.4], worse", "360",
                   "measured")  # fmt: skip


def test_a_conversion_shows_what_it_did_and_what_it_kept():
    report = ConversionReport(
        recipe="int8", tools=("onnxruntime 1.31.1",), parent="a1" * 32, parent_name="digits",
        converted=("c1", "c2"), kept=(KeptNode("s", "Softmax", "fragile"),), weights=1000,
        weights_converted=900, bytes_before=4000, bytes_after=1300, quantizers=7, flushed=3,
        calibration=Calibration(data="digits", hash="ff", samples=64, calibrator="mse"),
    )  # fmt: skip
    row = cells(conversions_table([report]))
    assert (row["Nodes converted"], row["Kept"], row["Of weights"]) == ("2", "1", "90 %")
    assert (row["Weights"], row["Calibration"]) == ("4.00 kB → 1.30 kB", "mse, 64 samples")
    assert (row["Q/DQ pairs"], row["To zero"], row["Made by"]) == ("7", "3", "onnxruntime 1.31.1")
    assert conversion_table(report).rows == (("s", "Softmax", "fragile"),)
    plain = ConversionReport(recipe="fp16", tools=(), parent="a1", parent_name="digits")
    assert cells(conversions_table([plain]))["Of weights"] == "n/a"
    assert cells(conversions_table([plain]))["Calibration"] == "—"


def test_a_sweep_over_precisions_has_columns_for_them():
    table = sweep_table([accuracies.point("fp32"), accuracies.emulated(), accuracies.refused()])
    first, second, third = (cells(table, n) for n in range(3))
    assert [r["Precision"] for r in (first, second, third)] == ["FP32", "FP16", "BF16"]
    assert first["Accuracy"] == "top-1 97.2 % (measured)"
    assert second["Accuracy"] == "top-1 98.6 % (estimated)"
    assert (third["Accuracy"], third["Remarks"]) == ("n/a", "failed [2]")
    assert table.notes == (
        "[1] this CPU computes FP16 as FP32", "[2] The CPU has no BF16 convolution.",
    )  # fmt: skip
    assert "Accuracy" not in sweep_table([making.point()]).heads


def test_of_plans_that_did_not_run_it_is_shown_what_the_builder_says():
    unknown = accuracies.emulated(plan=None)
    table = sweep_table([accuracies.built("fp32"), accuracies.built("int8"), unknown])
    row = cells(table)
    assert (row["Plan"], row["Layers"], row["Batch"]) == ("1.60 kB", "2", "—")
    assert [r[-1] for r in table.rows] == ["built, not run [1]"] * 2 + ["not timed [2]"]
    assert cells(table, 2)["Plan"] == "n/a"
    assert {table.heads[n] for n in table.origins} == {"Plan", "Layers", "Activations"}
    assert "Plan" not in sweep_table([accuracies.point()]).heads


def test_notes_stand_below_a_table_and_are_escaped():
    table = Table(("A",), (("1",),), frozenset(), notes=("[1] <b>", "[2] x"))
    assert table.text().splitlines()[-2:] == ["[1] <b>", "[2] x"]
    assert table.html().endswith("</table><p class='trtlab-hint'>[1] &lt;b&gt;<br>[2] x</p>")
    assert Table(("A",), (), frozenset()).html().endswith("</table>")
