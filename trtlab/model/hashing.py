"""The content hash: what a model computes and what its parts are called, not how it is saved."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import onnx
from onnx import AttributeProto, TensorProto

from trtlab.errors import ModelError
from trtlab.model.weights import (
    WeightFolder,
    is_external,
    label,
    raw_values,
    stored_bytes,
    subgraphs_of,
)


def content_hash(model: onnx.ModelProto, weights: WeightFolder | None = None) -> str:
    """SHA-256 (hex) over opsets, functions, graph and weight values.

    Weights count by their raw bytes, whether they are stored raw, in typed fields or in other
    files, and initialisers and attributes count in the order of their names. Documentation,
    producer, metadata and ``value_info`` do not count; names of nodes and tensors do.

    Args:
        model: The model; external data may be unloaded.
        weights: Where external data lies; None when all weights are inside.

    Raises:
        ModelError: a name is not text, or stored values do not fit their shape or file.
    """
    walk = _Walk(weights)
    walk.put("trtlab-model-1", model.ir_version)
    walk.opsets(model.opset_import)
    for function in sorted(model.functions, key=lambda f: str((f.domain, f.name, f.overload))):
        walk.function(function)
    walk.graph(model.graph)
    return walk.digest.hexdigest()


class _Walk:
    """Feeds a SHA-256 with length-prefixed parts, so that no two models give the same bytes.

    Sort keys go through ``str`` because a name that protobuf cannot decode arrives as bytes, and
    only ``names`` refuses it.
    """

    def __init__(self, weights: WeightFolder | None) -> None:
        self.digest = hashlib.sha256()
        self.weights = weights

    def put(self, *parts: str | int | bytes) -> None:
        for part in parts:
            tag, data = (
                (b"i", str(part).encode())
                if isinstance(part, int)
                else (b"s", part.encode())
                if isinstance(part, str)
                else (b"b", part)
            )
            self.digest.update(tag + len(data).to_bytes(8, "little") + data)

    def names(self, names: Sequence[str | bytes]) -> None:
        self.put(len(names))
        for name in names:
            if isinstance(name, bytes):  # protobuf hands over what it cannot decode
                raise ModelError(
                    f"it has a name that is not UTF-8 text: {name!r}.",
                    hint="The file is damaged or was not written by an ONNX exporter.",
                )
            self.put(name)

    def opsets(self, opsets: Sequence[onnx.OperatorSetIdProto]) -> None:
        pairs = [("" if o.domain == "ai.onnx" else o.domain, o.version) for o in opsets]
        for domain, version in sorted(pairs, key=str):
            self.names([domain])
            self.put(version)

    def function(self, function: onnx.FunctionProto) -> None:
        self.names([function.domain, function.name, function.overload])
        self.names(function.input)
        self.names(function.output)
        self.names(sorted(function.attribute, key=str))
        self.opsets(function.opset_import)
        self.attributes(function.attribute_proto)
        self.nodes(function.node)

    def graph(self, graph: onnx.GraphProto) -> None:
        self.names([graph.name])
        for values in (graph.input, graph.output):
            self.put(len(values))
            for value in values:
                self.names([value.name])
                self.type(value.type)
        self.put(len(graph.initializer))
        for tensor in sorted(graph.initializer, key=lambda t: str(t.name)):
            self.names([tensor.name])
            self.tensor(tensor)
        self.put(len(graph.sparse_initializer))
        for sparse in sorted(graph.sparse_initializer, key=lambda s: str(s.values.name)):
            self.names([sparse.values.name])
            self.sparse(sparse)
        self.nodes(graph.node)

    def type(self, kind: onnx.TypeProto) -> None:
        if not kind.HasField("tensor_type"):
            self.put(kind.SerializeToString(deterministic=True))
            return
        tensor = kind.tensor_type
        self.put(tensor.elem_type, tensor.HasField("shape"), len(tensor.shape.dim))
        for dim in tensor.shape.dim:
            self.names([dim.dim_param])
            self.put(dim.HasField("dim_value"), dim.dim_value)

    def nodes(self, nodes: Sequence[onnx.NodeProto]) -> None:
        self.put(len(nodes))
        for node in nodes:
            self.names([node.name, node.op_type, node.domain, node.overload])
            self.names(node.input)
            self.names(node.output)
            self.attributes(node.attribute)

    def attributes(self, attributes: Sequence[AttributeProto]) -> None:
        self.put(len(attributes))
        for a in sorted(attributes, key=lambda a: str(a.name)):
            self.names([a.name, a.ref_attr_name])
            self.put(a.type, a.i, struct.pack("<f", a.f), a.s)
            self.put(len(a.ints), ",".join(map(str, a.ints)))
            self.put(struct.pack(f"<{len(a.floats)}f", *a.floats), len(a.strings), *a.strings)
            tensors = [*([a.t] if a.HasField("t") else []), *a.tensors]
            self.put(len(tensors))
            for tensor in tensors:
                self.tensor(tensor)
            for sparse in (
                *([a.sparse_tensor] if a.HasField("sparse_tensor") else []),
                *a.sparse_tensors,
            ):
                self.sparse(sparse)
            for graph in subgraphs_of(a):
                self.graph(graph)
            for kind in (*([a.tp] if a.HasField("tp") else []), *a.type_protos):
                self.type(kind)

    def sparse(self, sparse: onnx.SparseTensorProto) -> None:
        self.put(len(sparse.dims), *sparse.dims)
        self.tensor(sparse.values)
        self.tensor(sparse.indices)

    def tensor(self, tensor: TensorProto) -> None:
        if tensor.HasField("segment"):
            raise ModelError(f"{label(tensor)} is stored in segments, which nothing can read.")
        size = stored_bytes(tensor)
        self.put(tensor.data_type, len(tensor.dims), *tensor.dims, size)
        if is_external(tensor):
            if self.weights is None:
                raise ModelError(f"{label(tensor)} lies in another file, which is not at hand.")
            for chunk in self.weights.chunks(tensor):
                self.digest.update(chunk)
        elif tensor.data_type == TensorProto.STRING:
            self.put(*tensor.string_data)
        else:
            self.digest.update(raw_values(tensor))
