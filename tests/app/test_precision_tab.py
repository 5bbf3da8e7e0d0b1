"""Precision & accuracy through the state: what was built, what it cost, and what is not known."""

from dataclasses import replace

import pytest

from tests import accuracies, making, running
from tests.running import EVIL, all_of, text
from trtlab.analysis.built_precision import built_precision
from trtlab.analysis.fusion.fuse import fuse
from trtlab.app.panels.precision_tab import Precision, verdict
from trtlab.app.state import State
from trtlab.backends.base import Ability
from trtlab.record import DataRef, Failure
from trtlab.views.widgets.plotly_view import PlotlyView


def shown(*runs, selected=-1, **changes):
    state = State(tab="precision")
    state.take_graphs({r.line.made.hash: running.graph() for r in runs})
    panel = Precision(state)
    chosen = runs[selected] if runs else None
    state.update(runs=tuple(runs), selected=chosen, **changes)
    return panel


def row(page, recipe):
    """The row of a recipe in the table of errors."""
    body = page.split("class='trtlab-errors'")[1].split("<tbody>")[1].split("</tbody>")[0]
    return next(row for row in body.split("<tr")[1:] if f"></i>{recipe}</span>" in row)


def made(recipe, dtypes):
    plan = running.rtx_plan(recipe, dtypes)
    return built_precision(fuse(plan, running.graph(), sizes={"N": 8}), recipe)


def test_without_a_run_nothing_is_claimed():
    assert "Nothing was built" in text(shown())


def test_what_was_asked_is_held_against_what_was_built():
    assert verdict(made("int8", ("int8", "int8"))) == "✓ INT8 was asked and built."
    assert verdict(made("int8", ("float32",) * 2)) == "✕ INT8 was asked, but not built."
    # The convolution is 97 % of the arithmetic of the two, and the activation beside it is not.
    part = verdict(made("int8", ("float32", "int8")))
    assert part.startswith("INT8 was asked, but only ")
    assert "of the arithmetic" in part
    assert "not known" in verdict(made("int8", (None, None)))
    assert verdict(replace(made("int8", ("int8",) * 2), layers=())) == ""


def test_bars_name_types_and_tell_estimates_from_the_builders_word():
    page = text(shown(running.run("int8", plan=running.rtx_plan("int8", ("int8", "float32")))))
    assert "aria-label='Layers: INT8 1, FP32 1'" in page
    flops = page.split("aria-label='FLOP: ")[1].split("'")[0]
    assert flops.startswith("INT8 ")
    assert 'FLOP <span class="trtlab-badge trtlab-estimated"' in page
    assert "Layers <span" not in page
    assert "INT8 by TensorRT-RTX for SM89" in page


def test_bars_say_where_an_amount_is_not_known():
    nameless = running.rtx_plan("int8")
    bare = [replace(layer, nodes=(), outputs=(replace(layer.outputs[0], shape=None),))
            for layer in nameless.layers]  # fmt: skip
    page = text(shown(running.run("int8", plan=replace(nameless, layers=tuple(bare)))))
    assert "n/a: not known for 2 of 2 layers" in page


def test_changes_of_type_are_counted_and_stand_out_beside_the_diagonal():
    page = text(shown(running.run("int8", plan=running.rtx_plan("int8", ("int8", "float32")))))
    table = page.split("Where precision changes")[1].split("</table>")[0]
    assert "<strong>1</strong>" in table
    assert table.count("<strong>") == 1
    assert "only convert" in table


def test_each_recipe_has_a_row_with_its_own_origin_and_the_words_of_its_interval():
    label = accuracies.label_metrics
    fp16 = accuracies.accuracy(accuracies.converted("fp16"), arithmetic="emulated",
                               labels=label(0.002, (-0.002, 0.006)))  # fmt: skip
    runs = [
        running.run("fp32", accuracy=accuracies.accuracy(making.MODEL, labels=label(0, (0, 0)))),
        running.run("fp16", accuracy=fp16),
        running.run("int8"),
    ]
    page = text(shown(*runs))
    int8, half = row(page, "INT8"), row(page, "FP16")
    assert "−1.4 points [−2.4, −0.4], worse" in int8
    assert "trtlab-number trtlab-bad'" in int8
    assert "not distinguishable" in half
    assert "trtlab-bad'" not in half
    assert "trtlab-ok'" not in half
    assert "trtlab-estimated" in half
    assert "emulated</span>" in half
    assert "trtlab-measured" in int8
    assert "97.2 % [94.9, 98.5]" in int8
    assert "356 / 360" in int8
    assert "30.0 dB" in int8
    assert "aria-selected='true'" in int8
    assert "aria-selected='false'" in half
    assert "data-act='select' data-value='2'" in half


def test_the_worst_output_counts_and_nothing_known_is_no_zero():
    unnamed = {"top1_agreement": None}
    several = (
        accuracies.output(40.0, max_absolute=0.25, not_finite=2, **unnamed),
        accuracies.output(12.5, max_absolute=9.0, not_finite=3, **unnamed),
    )
    bare = accuracies.accuracy(outputs=several, labels=None)
    cells = row(text(shown(running.run("int8", accuracy=bare))), "INT8")
    assert "12.5 dB" in cells
    assert ">9<" in cells
    assert ">5<" in cells
    assert "n/a: no labels" in cells
    exact = accuracies.output(None, rmse=0.0, max_absolute=None)
    cells = row(text(shown(running.run("int8", accuracy=accuracies.accuracy(outputs=(exact,))))),
                "INT8")  # fmt: skip
    assert "no error" in cells
    lost = replace(exact, rmse=None)
    cells = row(text(shown(running.run("int8", accuracy=accuracies.accuracy(outputs=(lost,))))),
                "INT8")  # fmt: skip
    assert "no error" not in cells


def test_a_model_without_data_has_no_accuracy_but_still_an_engine():
    why = {"accuracy": "its weights are drawn, and drawn weights have no accuracy"}
    runs = [running.run(r, accuracy=None, line={"missing": why}) for r in ("fp32", "int8")]
    panel = shown(*runs)
    page = text(panel)
    assert page.count("its weights are drawn") >= 2
    assert "INT8 was asked and built" in page
    assert "<strong>Error against latency: n/a.</strong> its weights are drawn" in page
    assert not all_of(panel, PlotlyView)
    assert "data-act='per-node'" not in page
    one = row(page, "FP32")
    assert ">INT8</span>" in one, "alike reasons stand in one row"


def test_recipes_that_nobody_tried_are_listed_once():
    page = text(shown(running.run("fp32"), running.run("int8")))
    assert page.count("not tried here") == 1
    line = row(page, "BF16")
    assert all(f">{name}</span>" in line for name in ("FP16", "FP8", "INT4 weights"))
    assert ">INT8</span>" not in line


def test_recipes_that_this_machine_cannot_build_say_why():
    class Machine:
        def builds(self, recipe, _builder):
            return Ability(recipe != "fp8", "ModelOpt is not installed", "")

    page = text(shown(running.run("int8"), machine=Machine()))
    assert "n/a: ModelOpt is not installed" in row(page, "FP8")
    assert "not tried here" in row(page, "BF16")
    page = text(shown(running.run("int8"), machine=Machine(), recorded="H200"))
    assert "not tried here" in row(page, "FP8"), "of the other machine that is not known"


def test_types_that_are_not_said_are_not_called_anything_else():
    page = text(shown(running.run("int8", plan=running.rtx_plan("int8", (None, None)))))
    assert "whether it was built is not known" in page
    assert "not said" in page.split("Where precision changes")[1].split("</table>")[0]


def test_what_was_compared_and_how_is_said():
    bare = accuracies.accuracy(labels=None, data=DataRef(words="r", hash="0", samples=3,
                                                         random=True))  # fmt: skip
    asked = replace(running.run("int8").setup, tf32=True)
    page = text(shown(running.run("int8", accuracy=bare, line={"setup": asked})))
    assert "Compared before softmax" in page
    assert "Without labels" in page
    assert "On random samples" in page
    assert ">TF32</span>" in row(page, "INT8")
    page = text(shown(running.run("int8")))
    assert "Without labels" not in page
    assert "On random samples" not in page


def test_the_selected_run_stands_for_its_recipe_even_if_another_is_newer():
    old = running.run("int8", accuracy=accuracies.accuracy(outputs=(accuracies.output(11.0),)))
    page = text(shown(old, running.run("int8"), selected=0))
    assert "11.0 dB" in row(page, "INT8")
    assert "30.0 dB" not in row(page, "INT8")


def test_error_and_latency_are_drawn_together_and_what_is_not_is_told():
    widened = {"missing": {"measurement": "FP16 was not run: widened"}}
    runs = [
        running.run("fp32", accuracy=accuracies.accuracy(making.MODEL)),
        running.run("fp16", line=widened, ran=None, measurement=None),
        running.run("int8"),
    ]
    panel = shown(*runs)
    (view,) = all_of(panel, PlotlyView)
    assert "Not drawn:" in view.label
    assert "FP16 was not run: widened" in view.label
    panel.state.update(selected=runs[0])
    assert all_of(panel, PlotlyView) == [view], "it is updated, not made anew"


def test_without_a_latency_nothing_is_drawn_and_the_reason_is_told():
    widened = {"missing": {"measurement": "FP16 was not run: widened"}}
    panel = shown(running.run("fp16", line=widened, ran=None, measurement=None))
    assert "no run has both an accuracy and a latency" in text(panel)
    assert "FP16 was not run: widened" in text(panel)
    assert not all_of(panel, PlotlyView)


def test_where_the_error_enters_is_shown_or_can_be_asked_for():
    page = text(shown(running.run("fp32"), running.run("int8")))
    assert "data-act='per-node' data-value='2'" in page
    nodes = (accuracies.node_error("conv", 0.8), accuracies.node_error(EVIL, 0.1))
    found = accuracies.accuracy(nodes=nodes, suggested=("conv",))
    page = text(shown(running.run("int8", accuracy=found)))
    assert "80 % [75, 85]" in page
    assert "data-act='per-node'" not in page
    assert EVIL not in page
    own = accuracies.accuracy(making.MODEL, reference_model=making.MODEL)
    assert "the reference itself" in text(shown(running.run("fp32", accuracy=own)))


def test_a_recorded_run_is_shown_but_not_judged_again():
    page = text(shown(running.run("int8", line={"source": "recorded"}), recorded="H200"))
    asked = page.split("data-act='per-node'")[1].split(">")[0]
    assert "disabled" in asked
    assert "INT8 was asked and built" in page


def test_a_failed_run_says_why_in_every_card():
    failure = Failure("build", f"No kernel {EVIL}.", "Try.")
    broken = running.run("bf16", line={"failure": failure}, plan=None, ran=None,
                         measurement=None, accuracy=None)  # fmt: skip
    page = text(shown(running.run("fp32"), broken))
    assert page.count("not built: No kernel") >= 3
    assert EVIL not in page
    assert "was not drawn" not in page
    assert ".." not in page


def test_a_plan_that_does_not_say_its_layers_still_has_its_errors():
    page = text(shown(running.run("int8", plan=running.rtx_plan("int8", layers=None))))
    assert page.count("does not say which layers it has") == 2
    assert "30.0 dB" in row(page, "INT8")


def test_onnx_runtime_as_builder_is_judged_by_its_own_layers():
    plan = making.plan()
    page = text(shown(running.run("fp32", plan=plan, ran=plan)))
    assert "FP32 by ONNX Runtime for CPU" in page


def test_the_head_names_the_reference_once_and_says_where_rows_differ():
    page = text(shown(running.run("fp32"), running.run("int8")))
    assert page.count("Reference: digits (fp32) on ONNX Runtime, 360 samples: digits") == 1
    other = accuracies.accuracy(data=DataRef(words="mine", hash="0" * 64, samples=7))
    page = text(shown(running.run("fp32"), running.run("int8", accuracy=other)))
    assert "differ from row to row" in page
    assert "other samples or reference, n 360" in row(page, "FP32")
    assert "other samples" not in row(page, "INT8")
    assert "FP32: judged by other samples or another reference" in page
    assert "Top-1 of the reference 98.6 %, n 360. INT8" in page


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_follows_the_theme(theme):
    panel = shown(running.run("int8"), theme=theme)
    assert all_of(panel, PlotlyView)[0].theme == theme
