"""Tables of what a precision is made of, what was built of it, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from trtlab.analysis.built_precision import BuiltPrecision
from trtlab.analysis.sizes import Size
from trtlab.model.conversion import ConversionReport
from trtlab.record import Accuracy
from trtlab.units import N_A, text_from_file_size
from trtlab.views.graph.colour_by import share_text
from trtlab.views.precision_sentences import (
    against_text,
    decibels,
    effect_text,
    ranked_nodes,
    ratio_text,
)
from trtlab.views.tables import Table, named
from trtlab.views.theme import Provenance


def precision_table(built: Sequence[tuple[BuiltPrecision, Size | None]]) -> Table:
    """One row a plan: what share of it is in the precision asked for, and how large it is.

    Args:
        built: Each plan's ``built_precision`` and, where known, its size against FP32's.
    """
    rows = tuple(_built_cells(one, size) for one, size in built)
    heads = ("Precision", "Built by", "Data layers", "Convolutions, products", "Of FLOP",
             "Of bytes", "Of layers", "Of layer times", "Conversions", "Plan", "Of FP32's",
             "Model", "Of FP32's")  # fmt: skip
    marks: dict[int, Provenance] = {2: "builder", 3: "builder", 4: "estimated", 5: "estimated",
                                    6: "builder", 7: "measured", 8: "builder",
                                    9: "builder"}  # fmt: skip
    return Table(heads, rows, frozenset(range(2, len(heads))), marks)


def _built_cells(one: BuiltPrecision, size: Size | None) -> tuple[str, ...]:
    return (
        one.recipe.upper(),
        f"{one.backend}, {one.target.upper()}",
        str(len(one.layers)),
        f"{one.anchors_in_asked} of {one.anchors}",
        share_text(one.share_by("flops")),
        share_text(one.share_by("bytes")),
        share_text(one.share_by(None)),
        share_text(one.share_by("time")),
        str(len(one.converting.layers)),
        text_from_file_size(size.plan_bytes if size else None),
        ratio_text(size.plan_ratio if size else None),
        text_from_file_size(size.model_bytes if size else None),
        ratio_text(size.model_ratio if size else None),
    )


def conversions_table(reports: Sequence[ConversionReport]) -> Table:
    """One row a conversion: what of the model was brought into the new type, and how."""
    rows = tuple(
        (
            r.recipe.upper(),
            str(len(r.converted)),
            str(len(r.kept)),
            share_text(r.weights_converted / r.weights if r.weights else None),
            f"{text_from_file_size(r.bytes_before)} → {text_from_file_size(r.bytes_after)}",
            str(r.casts),
            str(r.quantizers),
            f"{r.clipped:,}",
            f"{r.flushed:,}",
            "—" if r.calibration is None else
            f"{r.calibration.calibrator}, {r.calibration.samples:,} samples",
            ", ".join(r.tools),
        )
        for r in reports
    )  # fmt: skip
    heads = ("Recipe", "Nodes converted", "Kept", "Of weights", "Weights", "Casts", "Q/DQ pairs",
             "Clipped", "To zero", "Calibration", "Made by")  # fmt: skip
    return Table(heads, rows, frozenset(range(1, 9)))


def accuracy_table(accuracy: Accuracy) -> Table:
    """One row an output: how far it lies from the reference's."""
    mark = accuracy.origin
    rows = tuple(
        (
            named(out.name),
            out.stage if out.tensor == out.name else f"{out.stage} ({named(out.tensor)})",
            decibels(out.sqnr_db),
            _small(out.rmse),
            _small(out.max_absolute),
            _small(out.mean_absolute),
            _small(out.max_relative),
            N_A if out.cosine is None else f"{out.cosine:.5f}",
            _small(out.kl),
            share_text(out.top1_agreement),
            share_text(out.top5_agreement),
            share_text(out.beyond_both),
            share_text(out.beyond_sum),
            str(out.not_finite),
        )
        for out in accuracy.outputs
    )
    heads = ("Output", "Compared", "SQNR", "RMSE", "Max |error|", "Mean |error|", "Max relative",
             "Cosine", "KL, nats", "Top-1 agree", "Top-5 agree", "Beyond both", "Beyond sum",
             "NaN, Inf")  # fmt: skip
    numeric = range(2, len(heads))
    return Table(heads, rows, frozenset(numeric), dict.fromkeys(numeric, mark))


def _small(value: float | None) -> str:
    """Print an error: with three digits, however small."""
    return N_A if value is None else "0" if value == 0 else f"{value:.3g}"


def labels_table(accuracies: Sequence[Accuracy]) -> Table:
    """One row an accuracy with labels: top-1, top-5, the paired difference to the reference."""
    rows = tuple(
        (
            a.model.recipe.upper(),
            f"{100 * a.labels.top1:.1f} %",
            N_A if a.labels.top5 is None else f"{100 * a.labels.top5:.1f} %",
            f"{100 * a.labels.reference_top1:.1f} %",
            against_text(a.labels),
            f"{a.labels.samples:,}",
            a.origin + (" (emulated)" if a.arithmetic == "emulated" else ""),
        )
        for a in accuracies
        if a.labels is not None
    )
    rows = tuple(dict.fromkeys(rows))  # other batch sizes change nothing
    heads = ("Precision", "Top-1", "Top-5", "Reference", "Difference [95 %, paired]", "n",
             "Origin")  # fmt: skip
    return Table(heads, rows, frozenset({1, 2, 3, 5}))


def node_error_table(accuracy: Accuracy, most: int | None = None) -> Table:
    """One row a node, those without which most of the error goes away first."""
    ranked = ranked_nodes(accuracy)[:most]
    kept = set(accuracy.suggested)
    rows = tuple(
        (
            named(node.node),
            named(node.op, 28),
            effect_text(node),
            decibels(node.own_sqnr_db),
            decibels(node.sqnr_db),
            _small(node.rmse),
            "yes" if node.node in kept else "",
        )
        for node in ranked
    )
    heads = ("ONNX node", "Operator", "Error gone without it", "SQNR of its own", "SQNR behind it",
             "RMSE", "Keep back")  # fmt: skip
    marks: dict[int, Provenance] = dict.fromkeys(range(2, 6), accuracy.origin)
    return Table(heads, rows, frozenset(range(2, 6)), marks)
