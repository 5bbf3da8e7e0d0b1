"""Is a model usable at all: versions, operators, and tensors that exist and come in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import onnx
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]
from onnx import checker, defs

from trtlab.errors import ModelError
from trtlab.model.weights import subgraphs_of

_BUILT_IN = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training")
"""Domains of the standard; operators of others (``com.microsoft``) are the backend's business."""

_REORDER = "Sort the nodes (onnx-graphsurgeon: graph.toposort()) or export the model again."


class NodeNames:
    """Gives every node of a model a unique name, the same one in each walk of the same order.

    A name in the file is kept. A node without one becomes ``<op>_<index>``, with its index among
    the nodes of its own graph; whatever is then taken already gets ``_2``, ``_3`` … appended.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._reserved = Counter(_given_names(graph.node))
        self._used: set[str] = set()

    def of(self, nodes: Sequence[onnx.NodeProto]) -> list[str]:
        """Names for the nodes of one graph; call for a graph before its subgraphs."""
        return [self._unique(node, index) for index, node in enumerate(nodes)]

    def _unique(self, node: onnx.NodeProto, index: int) -> str:
        base = node.name or f"{node.op_type}_{index}"
        if base not in self._used and (node.name or base not in self._reserved):
            self._used.add(base)
            return base
        number = 2
        while f"{base}_{number}" in self._used or f"{base}_{number}" in self._reserved:
            number += 1
        self._used.add(f"{base}_{number}")
        return f"{base}_{number}"


def _given_names(nodes: Sequence[onnx.NodeProto]) -> Iterator[str]:
    for node in nodes:
        if node.name:
            yield node.name
        for attribute in node.attribute:
            for graph in subgraphs_of(attribute):
                yield from _given_names(graph.node)


def default_opset(opsets: Sequence[onnx.OperatorSetIdProto]) -> int:
    """Version of the default operator set; 0 when it is not imported."""
    return max((o.version for o in opsets if o.domain in ("", "ai.onnx")), default=0)


def check_versions(model: onnx.ModelProto) -> None:
    """Check the IR version and the default operator set.

    Raises:
        ModelError: one is missing, or newer than the installed onnx knows.
    """
    newest_ir, newest_opset = int(onnx.IR_VERSION), defs.onnx_opset_version()
    opset = default_opset(model.opset_import)
    if model.ir_version > newest_ir:
        raise ModelError(
            f"it has ONNX IR version {model.ir_version}; the installed onnx {onnx.__version__} "
            f"knows up to {newest_ir}.",
            hint="Install a newer onnx (pip install -U onnx) or export for an older version.",
        )
    if opset < 1 or model.ir_version < 3:
        raise ModelError(
            "it does not say which opset it uses.",
            hint="Export the model again; the file is cut off or was made before ONNX 1.0.",
        )
    if opset > newest_opset:
        raise ModelError(
            f"it uses opset {opset}; the installed onnx {onnx.__version__} knows up to "
            f"{newest_opset}.",
            hint="Install a newer onnx (pip install -U onnx) or export with opset "
            f"{newest_opset} or lower.",
        )


def check_structure(model: onnx.ModelProto) -> None:
    """Check operators and names of tensors in the graph, its subgraphs and local functions.

    Raises:
        ModelError: an operator is unknown, a tensor is read that nothing makes or that comes
            later, a tensor is made twice, or an output is missing.
    """
    local = {(f.domain, f.name) for f in model.functions}
    if not model.graph.output:
        raise ModelError("its graph has no outputs.", hint="Export the model again with outputs.")
    _Structure(NodeNames(model.graph), model.opset_import, local).graph(model.graph, set())
    for function in model.functions:
        names = NodeNames(onnx.GraphProto(node=function.node))
        inside = _Structure(names, function.opset_import, local)
        inside.nodes(function.node, set(function.input), set())


class _Structure:
    """One walk over a graph and its subgraphs."""

    def __init__(
        self,
        names: NodeNames,
        opsets: Sequence[onnx.OperatorSetIdProto],
        local: Collection[tuple[str, str]],
    ) -> None:
        self.names = names
        self.versions = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in opsets}
        self.local = local

    def graph(self, graph: onnx.GraphProto, outer: set[str]) -> None:
        stored = [t.name for t in graph.initializer]
        stored += [s.values.name for s in graph.sparse_initializer]
        inputs = [value.name for value in graph.input]
        for kind, names in (("weight", stored), ("input", inputs)):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ModelError(f"{kind} {twice[0]} exists twice.", hint="Export it again.")
        own = {*stored, *inputs}
        self.nodes(graph.node, own, outer)
        for value in graph.output:
            if value.name not in own and value.name not in outer:
                raise ModelError(
                    f"output {value.name} is made by no node.",
                    hint="Remove the output or export the model again.",
                )

    def nodes(self, nodes: Sequence[onnx.NodeProto], own: set[str], outer: set[str]) -> None:
        """Walk nodes in order; ``own`` grows by what they make."""
        names = self.names.of(nodes)
        for node, name in zip(nodes, names, strict=True):
            self.operator(node, name)
            for tensor in node.input:
                if tensor and tensor not in own and tensor not in outer:
                    raise _missing(nodes, names, name, tensor)
            for attribute in node.attribute:
                for graph in subgraphs_of(attribute):
                    self.graph(graph, own | outer)
            for tensor in node.output:
                if tensor and tensor in own:
                    raise ModelError(
                        f"node {name} makes tensor {tensor}, which exists already.",
                        hint="Every tensor may be made once: export the model again.",
                    )
            own.update(tensor for tensor in node.output if tensor)

    def operator(self, node: onnx.NodeProto, name: str) -> None:
        if node.domain not in _BUILT_IN or (node.domain, node.op_type) in self.local:
            return
        domain = "" if node.domain == "ai.onnx" else node.domain
        version = self.versions.get(domain, 0)
        known = version > 0 and defs.has(node.op_type, version, domain)
        if known and not defs.get_schema(node.op_type, version, domain).deprecated:
            return
        opset = f"opset {version}" if not domain else f"{domain} version {version}"
        why = f"which {opset} no longer has" if known else f"which {opset} does not have"
        hint = "Export with another opset, or without custom operators."
        if not known and defs.has(node.op_type, domain=domain):
            since = defs.get_schema(node.op_type, domain=domain).since_version
            hint = f"Export with opset {since} or later, where {node.op_type} is defined."
        raise ModelError(f"node {name} uses operator {node.op_type}, {why}.", hint=hint)


def _missing(
    nodes: Sequence[onnx.NodeProto], names: list[str], name: str, tensor: str
) -> ModelError:
    """Tell a tensor that nothing makes from one made later, and that from a cycle."""
    makers = {out: i for i, node in enumerate(nodes) for out in node.output if out}
    if tensor not in makers:
        return ModelError(
            f"node {name} reads tensor {tensor}, which does not exist.",
            hint="Export the model again; a weight or a node was removed.",
        )
    reader = names.index(name)
    seen: set[int] = set()
    todo = [makers[tensor]]
    while todo:
        index = todo.pop()
        if index == reader:
            return ModelError(
                f"node {name} needs its own result: tensor {tensor} depends on it (a cycle).",
                hint="Use Loop or Scan for recurrence; a graph must not have cycles.",
            )
        if index not in seen:
            seen.add(index)
            todo += [makers[t] for t in nodes[index].input if t in makers]
    return ModelError(
        f"node {name} reads tensor {tensor} before node {names[makers[tensor]]} makes it.",
        hint=_REORDER,
    )


def check_rest(skeleton: onnx.ModelProto) -> None:
    """Let onnx's own checker look at a model without its large weights.

    Raises:
        ModelError: with the checker's first line; its full text is in ``details``.
    """
    for value in (*skeleton.graph.input, *skeleton.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()  # files without shapes are fine here
    try:
        checker.check_model(skeleton)
    except (checker.ValidationError, ProtobufError, RuntimeError, ValueError, TypeError) as error:
        text = str(error)
        first = next((line.strip() for line in text.splitlines() if line.strip()), "no reason")
        raise ModelError(
            f"the ONNX checker refused it: {first[:300]}",
            hint="Export the model again, or repair it with the exporter's tools.",
            details=text,
        ) from error
