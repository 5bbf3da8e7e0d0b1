"""The worker job of ``accuracy``: both models on the same inputs, batch by batch.

Only sums and a histogram outlive a batch, so that memory does not grow with the data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from trtlab.analysis.compared_tensors import Compared, compared_tensors, computing_nodes
from trtlab.analysis.node_errors import (
    Effects,
    Segment,
    TensorErrors,
    node_errors,
    output_error,
    segments,
    suggested,
)
from trtlab.analysis.output_errors import (
    LabelCounts,
    OutputErrors,
    default_rtol,
    is_classification,
)
from trtlab.backends import base
from trtlab.backends.base import Engine
from trtlab.dataset.files import SampleFiles, read_samples
from trtlab.errors import MismatchError, UnsupportedError
from trtlab.model.graphs import graph_from_proto
from trtlab.model.types import Graph
from trtlab.precision.emulation import emulated
from trtlab.precision.graphs import LARGEST, inferred_types, open_graph, weight_bytes
from trtlab.precision.probing import (
    add_probes,
    given_name,
    local_name,
    mark,
    mixed_name,
    switch_name,
)
from trtlab.record import LabelMetrics, NodeError, OutputError
from trtlab.spec import BuildConfig, RunConfig
from trtlab.worker import Progress

Array = npt.NDArray[Any]

LARGEST_BATCH = 32

NODE_BYTES = 256 * 2**20
"""What the tensors that are compared node by node may take at once, if one sample allows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is to be compared.

    Attributes:
        model: File of the model or plan. ``emulate``: whether it is a model whose FP16 tensors
            are to be rounded in FP32.
        unfused: The model's own file, for the comparison node by node; None without it.
        reference: File of the reference, or None with ``reference_outputs``: arrays by the name
            of the model's outputs.
        recipe: For the default tolerance.
        labels: Class numbers, or None.
        batch: None takes what is suitable.
        folder: For files made meanwhile.
    """

    model: str
    emulate: bool
    unfused: str | None
    reference: str | None
    reference_outputs: SampleFiles | None
    samples: SampleFiles
    labels: tuple[int, ...] | None
    config: BuildConfig
    recipe: str
    batch: int | None
    atol: float | None
    rtol: float | None
    folder: str


@dataclass(frozen=True, slots=True)
class Found:
    """What came out; ``labels`` is None also where no output names classes."""

    provider: str
    outputs: tuple[OutputError, ...]
    labels: LabelMetrics | None
    nodes: tuple[NodeError, ...] | None
    suggested: tuple[str, ...]


@dataclass(slots=True)
class _Side:
    """A model in the making: its protobuf until it is written, and its graph."""

    proto: onnx.ModelProto
    graph: Graph

    @classmethod
    def of(cls, proto: onnx.ModelProto) -> _Side:
        return cls(proto, graph_from_proto(proto))


def compare(task: Comparison, progress: Progress) -> Found:
    """Run both models on all samples; see ``trtlab.accuracy``.

    Raises:
        MismatchError: outputs differ in number or size.
        UnsupportedError: the graph cannot be taken apart node by node, or emulated.
        SpecError: a label is no class of the output.
        ExecutionError: a model failed while running.
    """
    progress("prepare", 0, 1)
    tested = _Side.of(emulated(Path(task.model)) if task.emulate else onnx.load(task.model))
    reference = None
    if task.reference is not None:
        read = open_graph if task.unfused is not None else onnx.load
        reference = _Side.of(read(Path(task.reference)))
    if reference and len(reference.graph.outputs) != len(tested.graph.outputs):
        raise MismatchError(
            f"The model has {len(tested.graph.outputs)} outputs, its reference "
            f"{len(reference.graph.outputs)}.",
            hint="Both must be the same network.",
        )
    pairs = compared_tensors(tested.graph, reference.graph if reference else None)
    mark(tested.proto, [p.tensor for p in pairs])
    unfused = tested
    ends = pairs  # a plan has other names inside than the model it was built from
    parts: tuple[Segment, ...] = ()
    if reference is not None:
        mark(reference.proto, [p.reference for p in pairs])
        if task.unfused is not None:
            if not task.emulate:
                unfused = _Side.of(emulated(Path(task.unfused)))
                ends = compared_tensors(unfused.graph, reference.graph)
                mark(unfused.proto, [p.tensor for p in ends])
                mark(reference.proto, [p.reference for p in ends])
            parts = _probed(reference, unfused, [p.reference for p in ends])
    graph = reference.graph if reference else tested.graph
    rtol = task.rtol
    if rtol is None:
        rtol = default_rtol(task.recipe, computing_nodes(graph))
    outputs = [OutputErrors(rtol, task.atol, p.stage == "probabilities") for p in pairs]
    nodes = _Nodes(parts) if task.unfused is not None else None
    counts = LabelCounts()
    labels = None if task.labels is None else np.array(task.labels, np.int64)
    size = task.batch or _batch(parts, unfused.graph)
    with contextlib.ExitStack() as stack:
        runner = _Runner.opened(stack, task, tested, "model")
        other = _Runner.opened(stack, task, reference, "reference") if reference else None
        parted = runner  # gives the values of every tensor
        if unfused is not tested:
            parted = _Runner.opened(stack, task, unfused, "unfused")
        progress("compare", 0, task.samples.count)
        for start, feeds, wanted in _batches(task, size):
            n = min(size, task.samples.count - start)
            found = runner.run(feeds)
            if other is not None:
                values: Mapping[str, Array] = {}
                if nodes is not None:
                    values = found if parted is runner else parted.run(feeds)
                    feeds |= nodes.feeds(values, n)
                wanted = other.run(feeds)
                if nodes is not None:
                    nodes.add(wanted, values, ends, n)
            for pair, output in zip(pairs, outputs, strict=True):
                output.add(wanted[pair.reference], found[pair.tensor], n)
            if labels is not None:
                _count(counts, pairs, wanted, found, labels[start : start + n])
            progress("compare", start + n, task.samples.count)
        provider = runner.engine.provider
    by_node = None if nodes is None else nodes.finished()
    return Found(
        provider,
        tuple(o.finished(p.name, p.tensor, p.stage) for o, p in zip(outputs, pairs, strict=True)),
        counts.finished() if counts.samples else None,
        by_node,
        suggested(by_node or ()),
    )


class _Nodes:
    """What is gathered node by node."""

    def __init__(self, parts: Sequence[Segment]) -> None:
        self._parts = parts
        self._errors = {part.tensor: TensorErrors() for part in parts}
        self._effects = Effects(len(parts))
        self._switches = np.empty((0, len(parts)), np.bool_)

    def feeds(self, values: Mapping[str, Array], samples: int) -> dict[str, Array]:
        """Return the inputs of the reference's probes: the model's values, and the switches."""
        self._switches = self._effects.switches(samples)
        made: dict[str, Array] = {}
        for index, part in enumerate(self._parts):
            value = values[part.tensor]
            if value.shape[:1] != (samples,):  # one switch for what all samples share
                self._switches[:, index] = self._switches[0, index]
            column = self._switches[: len(value) if value.ndim else 1, index]
            made[given_name(part.tensor)] = value
            made[switch_name(part.tensor)] = column.reshape((-1,) + (1,) * (value.ndim - 1))
        return made

    def add(
        self,
        wanted: Mapping[str, Array],
        values: Mapping[str, Array],
        pairs: Sequence[Compared],
        samples: int,
    ) -> None:
        """Take one batch of the reference's values, probes included, and of the model's."""
        for tensor, errors in self._errors.items():
            errors.add(wanted[tensor], wanted[local_name(tensor)], values[tensor])
        mixed, full = np.zeros(samples), np.zeros(samples)
        for pair in pairs:
            end = mixed_name(pair.reference)
            if end in wanted:
                reference = wanted[pair.reference]
                mixed += output_error(reference, wanted[end], samples)
                full += output_error(reference, values[pair.tensor], samples)
        self._effects.add(self._switches, mixed, full)

    def finished(self) -> tuple[NodeError, ...]:
        """Return the errors in the reference's order."""
        return node_errors(self._parts, self._errors, self._effects)


def _probed(reference: _Side, unfused: _Side, ends: Sequence[str]) -> tuple[Segment, ...]:
    """Mark every tensor that both have, and give the reference a copy fed from the other.

    Raises:
        UnsupportedError: they have none in common.
    """
    parts = segments(reference.graph, unfused.graph)
    if not parts:
        raise UnsupportedError(
            "The two models have no tensor of one name and shape in common.",
            hint="Node by node a model is compared with the one that it was converted from.",
        )
    names = [part.tensor for part in parts]
    mark(unfused.proto, names)
    add_probes(reference.proto, inferred_types(reference.proto), names, ends)
    return parts


def _batch(parts: Sequence[Segment], graph: Graph) -> int:
    """Return the batch: of one sample's tensors, three models' values each, what fits."""
    sample = 0
    for part in parts:
        elements = 1
        for dim in (graph.tensors[part.tensor].shape or ())[1:]:
            elements *= dim if isinstance(dim, int) else 1
        sample += 3 * 4 * elements
    return max(1, min(LARGEST_BATCH, NODE_BYTES // sample)) if sample else LARGEST_BATCH


def _batches(
    task: Comparison, size: int
) -> Iterator[tuple[int, dict[str, Array], dict[str, Array]]]:
    """Yield where a batch begins, its inputs, and the reference's outputs if they were given."""
    inputs = read_samples(task.samples)
    outputs = read_samples(task.reference_outputs) if task.reference_outputs else {}
    for start in range(0, task.samples.count, size):
        part = slice(start, start + size)
        yield (
            start,
            {name: np.ascontiguousarray(a[part]) for name, a in inputs.items()},
            {name: np.asarray(a[part]) for name, a in outputs.items()},
        )


@dataclass(slots=True)
class _Runner:
    """A loaded model that takes inputs of any float type."""

    engine: Engine
    types: Mapping[str, np.dtype[Any]]

    @classmethod
    def opened(
        cls, stack: contextlib.ExitStack, task: Comparison, side: _Side, name: str
    ) -> _Runner:
        """Write the model, then load it as it is, with optimisations off."""
        path = Path(task.folder) / f"{name}.onnx"
        large = weight_bytes(side.proto) >= LARGEST
        onnx.save(side.proto, path, save_as_external_data=large, location=f"{name}.data")
        types = {
            v.name: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type))
            for v in side.proto.graph.input
        }
        side.proto.Clear()  # the session has weights of its own
        backend = base.backend("onnxruntime")
        config = replace(task.config, optimization_level=None)
        return cls(stack.enter_context(backend.load(path, config, RunConfig())), types)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; inputs are cast to what the model takes."""
        return self.engine.outputs(
            {name: a.astype(self.types[name], copy=False) for name, a in feeds.items()}
        )


def _count(
    counts: LabelCounts,
    pairs: Sequence[Compared],
    wanted: Mapping[str, Array],
    found: Mapping[str, Array],
    labels: npt.NDArray[np.int64],
) -> None:
    """Count the first output that names classes."""
    n = len(labels)
    for pair in pairs:
        a, b = wanted[pair.reference], found[pair.tensor]
        if is_classification(b, n) and a.size == b.size:
            counts.add(a.reshape(n, -1), b.reshape(n, -1), labels)
            return
