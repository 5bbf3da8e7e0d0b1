"""The command that compares a model's outputs: accuracy."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtlab.commands.answer import Answer, code_of
from trtlab.commands.options import record_of
from trtlab.errors import SpecError
from trtlab.terminal import progress_line

if TYPE_CHECKING:
    from trtlab.record import Accuracy, NodeError

_ID = re.compile(r"[0-9a-f]{6,24}")

_WORST = 12
"""Nodes that the text lists; the JSON has all."""


def accuracy_arguments(command: argparse.ArgumentParser) -> None:
    """Add the options of ``trtlab accuracy``."""
    add = command.add_argument
    add("model", metavar="MODEL", help="a path, zoo:NAME (trtlab models), or the id of a plan")
    add("--reference", metavar="MODEL", help="a model, or a .npz file of outputs; default: the "
        "FP32 model that it was made from")  # fmt: skip
    add("--data", metavar="DATA", help="a folder or file of .npy or .npz, a zoo model's name "
        "(its held-out images), or random")  # fmt: skip
    add("--labels", metavar="FILE", help="class numbers: .npy, or text with one in a line")
    add("--per-node", action="store_true", help="find the nodes where the error enters")
    add("--arithmetic", choices=("as-run", "emulated"), help="default: what this machine computes")
    add("--samples", type=int, metavar="N", help="draw so many; default: all")
    add("--batch", type=int, metavar="N", help="samples at a time; default: at most 32")
    add("--seed", type=int, default=0, help="which samples are drawn")
    add("--atol", type=float, help="absolute tolerance; default: --rtol times the output's size")
    add("--rtol", type=float, help="relative tolerance; default: as the precision deserves")
    add("--provider", choices=("cpu", "cuda"), default="cpu")


def run_accuracy(options: argparse.Namespace) -> Answer:
    """Run ``trtlab accuracy``."""
    from trtlab.store import record_id
    from trtlab.verbs.accuracy import accuracy

    with progress_line() as progress:
        found = accuracy(
            _subject(options.model),
            options.data,
            reference=options.reference,
            labels=options.labels,
            arithmetic="as run" if options.arithmetic == "as-run" else options.arithmetic,
            per_node=options.per_node,
            batch=options.batch,
            samples=options.samples,
            seed=options.seed,
            atol=options.atol,
            rtol=options.rtol,
            provider=options.provider,
            progress=progress,
        )
    text = f"{found!r}\nid  {record_id(found)[:12]}"
    if found.suggested:
        text += f"\nto keep them in FP32: trtlab convert … --keep {','.join(found.suggested)}"
    if found.nodes:
        text += f"\n\n{_nodes_text(found)}"
    data = {"schema_version": 1, "id": record_id(found)[:12], **_data(found)}
    return Answer(data, text, code_of(found.caveats))


def _subject(name: str) -> Any:
    """Return a plan where its id was given, else the name for ``load``."""
    if not _ID.fullmatch(name) or Path(name).exists():
        return name
    plan = record_of(name)
    if plan.kind != "plan":
        raise SpecError(
            f"{name} is of kind {plan.kind}, not a plan.",
            hint="Give the id that trtlab build printed.",
        )
    return plan


def _nodes_text(found: Accuracy) -> str:
    from trtlab.views.tables import Table

    worst = sorted(found.nodes or (), key=lambda n: (-n.not_finite, -n.effect))[:_WORST]
    heads = ("Node", "Op", "Effect", "95 % interval", "Own SQNR", "SQNR", "NaN or infinite")
    table = Table(heads, tuple(map(_cells, worst)), frozenset(range(2, len(heads))))
    return (
        f"The {len(worst)} of {len(found.nodes or ())} nodes with the largest effect: the part of "
        f"the outputs' error that is gone where the node makes none\n{table.text()}"
    )


def _cells(node: NodeError) -> tuple[str, ...]:
    low, high = node.effect_interval
    return (
        node.node,
        node.op,
        f"{node.effect:.1%}",
        f"{low:.1%} to {high:.1%}",
        _decibels(node.own_sqnr_db),
        _decibels(node.sqnr_db),
        f"{node.not_finite:,}",
    )


def _decibels(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1f} dB"


def _data(found: Accuracy) -> dict[str, Any]:
    return {
        "model": found.model.name,
        "precision": found.model.recipe,
        "reference": found.reference,
        "data": found.data,
        "arithmetic": found.arithmetic,
        "origin": found.origin,
        "provider": found.provider,
        "plan": found.plan,
        "outputs": found.outputs,
        "labels": found.labels,
        "top1": found.labels.top1 if found.labels else None,
        "loss": found.labels.sentence if found.labels else None,
        "nodes": found.nodes,
        "suggested": found.suggested,
        "environment": found.environment,
        "caveats": found.caveats,
        "source": found.source,
    }
