"""``inspect``: what is in a model, and what each node computes and moves."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trtlab import worker
from trtlab.analysis.flops import NodeCost, Total, node_costs, total
from trtlab.backends import base
from trtlab.backends.base import Rejection
from trtlab.model.types import Graph, Model, Tensor
from trtlab.shown import Shown
from trtlab.spec import RunConfig, Shape, input_shapes
from trtlab.store import Store
from trtlab.units import text_from_bytes, text_from_count, text_from_shape
from trtlab.verbs.load import check_is_onnx, check_unchanged, load
from trtlab.worker import Progress, silent

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class _Spec:
    path: str
    shapes: Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class _Asked:
    backend: str
    path: str


Verdict = Literal["supported", "refused", "not reached"]


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """What a backend's parser says of one node.

    ``not reached``: it stopped at an earlier node that it could not import.
    """

    node: str
    op: str
    verdict: Verdict
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Inspection(Shown):
    """A model's make-up. Costs are estimated: from shapes alone, at the given batch.

    Attributes:
        ops: Number of nodes by operator, most frequent first.
        costs: What each node computes and moves, in the graph's order.
        backend: Whose parser was asked about the nodes, or None.
        verdicts: What it says of each node, in the graph's order; empty if none was asked.
        refusal: What it says against the model as a whole, or an empty text.
    """

    model: Model
    batch: int | None
    shapes: Mapping[str, Shape]
    ops: Mapping[str, int]
    costs: tuple[NodeCost, ...]
    backend: str | None = None
    verdicts: tuple[NodeVerdict, ...] = ()
    refusal: str = ""

    @property
    def total(self) -> Total:
        """Sums over the nodes whose cost is known."""
        return total(self.costs)

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        m, cost = self.model, self.total
        at = "" if self.batch is None else f" at batch {self.batch}"
        unknown = f", {cost.unknown_flops} nodes unknown" if cost.unknown_flops else ""
        return [
            ("model", f"{m.name} ({m.recipe}), opset {m.opset}, IR {m.ir_version}"),
            ("inputs", "; ".join(_tensor_text(t) for t in m.inputs)),
            ("outputs", "; ".join(_tensor_text(t) for t in m.outputs)),
            ("weights", f"{m.parameters:,} parameters, {text_from_bytes(m.weight_bytes)}"),
            (
                "nodes",
                f"{len(self.costs)}: " + ", ".join(f"{n} {op}" for op, n in self.ops.items()),
            ),
            (
                "arithmetic" + at,
                f"{text_from_count(cost.flops, 'FLOP')} of which "
                f"{text_from_count(cost.macs, 'MAC')}{unknown} (estimated)",
            ),
            (
                "traffic" + at,
                f"{text_from_bytes(cost.bytes_read)} read, "
                f"{text_from_bytes(cost.bytes_written)} written if no node is fused (estimated)",
            ),
            *self._support_rows(),
            ("hash", m.hash),
        ]

    def _support_rows(self) -> list[tuple[str, str]]:
        if self.backend is None:
            return []
        count = Counter(v.verdict for v in self.verdicts)
        words = [f"{n} {verdict}" for verdict, n in count.most_common()]
        rows = [(f"nodes for {self.backend}", ", ".join(words))]
        if self.refusal:
            rows.append(("  refused", self.refusal))
        rows += [
            (f"  {v.verdict}", f"{v.node} ({v.op}): {v.reason} → {v.hint}")
            for v in self.verdicts
            if v.verdict == "refused"
        ]
        return rows

    @property
    def df(self) -> pd.DataFrame:
        """One row a node: operations and bytes, absent where unknown."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "node": c.node,
                    "op": c.op,
                    "macs": c.macs,
                    "flops": c.flops,
                    "bytes_read": c.bytes_read,
                    "bytes_written": c.bytes_written,
                }
                for c in self.costs
            ]
        )


def inspect(
    model: Any,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Shape] | None = None,
    backend: str | None = None,
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Inspection:
    """Say what a model is made of.

    Args:
        model: A ``Model`` or what ``load`` takes.
        batch: Size of the batch axis for the costs; default 1 where there is one.
        shapes: Input shapes by name, for other dynamic axes.
        backend: ``tensorrt`` or ``tensorrt_rtx``: also ask its parser about every node.
        store: Default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        cancel: Set it to stop.

    Raises:
        ModelError: the model cannot be used.
        SpecError: the shapes do not fit it.
        UnsupportedError: that backend cannot tell, or the model is no ONNX model.
    """
    opened = load(model, store=store, progress=progress, cancel=cancel)
    check_is_onnx(opened)
    run = RunConfig(batch=batch, shapes=shapes or {})
    concrete, batch_used = input_shapes(opened.inputs, opened.outputs, run)
    check_unchanged(opened)
    spec = _Spec(opened.path, concrete)
    graph = worker.run(_graph_job, spec, progress=progress, cancel=cancel).result
    ops = Counter(node.op for node in graph.nodes)
    found = Inspection(opened, batch_used, concrete, dict(ops.most_common()), node_costs(graph))
    if backend is None:
        return found
    base.network_backend(backend)
    asked = _Asked(backend, opened.path)
    said = worker.run(_rejections_job, asked, progress=progress, cancel=cancel).result
    whole = "; ".join(r.reason for r in said if r.index < 0)
    return replace(found, backend=backend, verdicts=verdicts_of(graph, said), refusal=whole)


def verdicts_of(graph: Graph, said: Sequence[Rejection]) -> tuple[NodeVerdict, ...]:
    """Return the parser's verdict on every node, from what it says against some of them.

    Its operator check looks at every node. Importing goes in the graph's order and ends at the
    first failure; it only begins when the check found nothing.
    """
    against = {r.index: r for r in said}
    stopped = min((r.index for r in said if r.while_importing), default=len(graph.nodes))
    found = []
    for index, node in enumerate(graph.nodes):
        if (r := against.get(index)) is not None:
            inner = f"its inner node {r.node} ({r.op}): " if node.subgraphs and r.node else ""
            reason = f"{inner}{r.reason}" if r.op != node.op else r.reason
            found.append(NodeVerdict(node.name, node.op, "refused", reason, r.hint))
        elif index > stopped:
            found.append(NodeVerdict(node.name, node.op, "not reached"))
        else:
            found.append(NodeVerdict(node.name, node.op, "supported"))
    return tuple(found)


def _tensor_text(tensor: Tensor) -> str:
    shape = "?" if tensor.shape is None else text_from_shape(tensor.shape)
    return f"{tensor.name} {tensor.dtype} {shape}"


def _rejections_job(spec: _Asked, progress: Progress) -> tuple[Rejection, ...]:
    return base.network_backend(spec.backend).rejections(Path(spec.path), progress)


def _graph_job(spec: _Spec, progress: Progress) -> Graph:
    from trtlab.model.reading import read_graph

    progress("infer shapes", 0, 1)
    return read_graph(spec.path, spec.shapes)
