"""Open an ONNX file: guard it, check it, hash it, and take its graph without weight values."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from trtlab.codec import from_json
from trtlab.errors import ModelError
from trtlab.model.checking import (
    check_rest,
    check_structure,
    check_versions,
    default_opset,
)
from trtlab.model.conversion import ConversionReport
from trtlab.model.graphs import build_graph, infer, skeleton_of, with_shapes
from trtlab.model.hashing import content_hash
from trtlab.model.printing import printable
from trtlab.model.types import Graph, Model
from trtlab.model.weights import (
    WeightFolder,
    element_count,
    graph_tensors,
    is_external,
    stored_bytes,
    stored_tensors,
)

_PROTOBUF_LIMIT = 2**31
"""Bytes; protobuf cannot parse a larger message."""

CONVERSION_KEY = "trtlab.conversion"
"""Key in a file's metadata under which trtlab writes what it did to the model."""

_LONGEST_REPORT = 16 * 2**20
"""Bytes of metadata that are read; a report on 10,000 nodes takes one MiB."""

_QUANTISED = {
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
}


_FLOAT_RECIPES: Mapping[int, str] = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "bf16",
}


def read_model(path: str | os.PathLike[str], *, name: str | None = None) -> tuple[Model, Graph]:
    """Open an ONNX file. Runs native code, so call it inside a worker process.

    External data is streamed for the hash and otherwise not loaded; see ``WeightFolder`` for
    where it may lie. The recipe is what the file's metadata says where trtlab made it, ``qdq``
    where the graph quantises, else the type that most of its floating-point weights have.

    Args:
        path: The ``.onnx`` file.
        name: What to call the model; the file's name without its ending when None.

    Raises:
        ModelError: the file cannot be used; the message is safe to print.
        MemoryError: the file does not fit into memory.
    """
    path = Path(path)
    try:
        proto = _parsed(path)
        weights = WeightFolder.of(path)
        check_versions(proto)
        digest = content_hash(proto, weights)
        check_structure(proto)
        skeleton = skeleton_of(proto, weights)
        inferred = infer(skeleton)
        check_rest(skeleton)
    except ModelError as error:
        raise _not_opened(path, error) from error
    graph = build_graph(proto, inferred)
    return _model(path, name or path.stem, digest, proto, graph), graph


def read_graph(path: str | os.PathLike[str], shapes: Mapping[str, tuple[int, ...]]) -> Graph:
    """Read the graph of an ONNX file for concrete input shapes (what ``flops`` needs).

    Args:
        path: An ``.onnx`` file that ``read_model`` accepts.
        shapes: A shape for every input with a dynamic axis.

    Raises:
        ModelError: the file cannot be used.
        SpecError: the shapes do not fit the model.
    """
    path = Path(path)
    try:
        proto = _parsed(path)
        check_versions(proto)
        check_structure(proto)
        return with_shapes(proto, shapes, WeightFolder.of(path))
    except ModelError as error:
        raise _not_opened(path, error) from error


def _not_opened(path: Path, error: ModelError) -> ModelError:
    return ModelError(
        printable(f"{path.name} was not opened: {error.message}"),
        hint=printable(error.hint),
        details=printable(error.details, keep="\n"),
    )


def _parsed(path: Path) -> onnx.ModelProto:
    """Parse a file, external data left where it is.

    Raises:
        ModelError: it is missing, no regular file, empty, too large, or no ONNX model.
    """
    content = _content(path)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError as error:
        raise _no_model(content) from error
    if not proto.HasField("graph"):
        raise (
            _no_model(content)
            if not proto.ir_version
            else ModelError(
                "it has no graph.", hint="The file is cut off: export or download it again."
            )
        )
    return proto


def _content(path: Path) -> bytes:
    try:
        str(path).encode()
        state = path.stat()
        if stat.S_ISDIR(state.st_mode):
            raise ModelError("it is a folder.", hint="Give the .onnx file inside it.")
        if not stat.S_ISREG(state.st_mode):
            raise ModelError("it is not a regular file.", hint="Give the path of an .onnx file.")
        if state.st_size == 0:
            raise ModelError("the file is empty.", hint="Export or download it again.")
        if state.st_size >= _PROTOBUF_LIMIT:
            raise ModelError(
                f"the file has {state.st_size:,} bytes; a protobuf file ends at 2 GB.",
                hint="Save it with onnx.save(..., save_as_external_data=True).",
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(
            f"there is no such file in {path.parent.absolute()}.", hint="Check the path."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte or a lone surrogate
        reason = error.strerror if isinstance(error, OSError) else "its path is no valid text"
        raise ModelError(
            f"it cannot be read: {reason}.", hint="Check the path and its rights."
        ) from error


def _no_model(content: bytes) -> ModelError:
    """Say what a file is that is no ONNX model."""
    start = content[:512]
    if start.startswith(b"version https://git-lfs"):
        return ModelError(
            "it is a Git LFS pointer, not the model itself.", hint="Run git lfs pull."
        )
    if start.startswith(b"PK\x03\x04"):
        return ModelError(
            "it is a zip archive (a PyTorch checkpoint is one), not an ONNX model.",
            hint="Unpack it, or export the network with torch.onnx.export.",
        )
    if _is_text(start):
        return ModelError(
            "it is a text file, not an ONNX model.",
            hint="Give the binary .onnx file; a failed download often leaves a web page.",
        )
    return ModelError(
        "it is not an ONNX model, or it is cut off.", hint="Export or download it again."
    )


def _is_text(start: bytes) -> bool:
    text = start.decode("utf-8", errors="replace").rstrip("\N{REPLACEMENT CHARACTER}")
    return (
        bool(text)
        and all(c.isprintable() or c in "\r\n\t" for c in text)
        and ("\N{REPLACEMENT CHARACTER}" not in text)
    )


def _model(path: Path, name: str, digest: str, proto: onnx.ModelProto, graph: Graph) -> Model:
    stored = list(graph_tensors(proto.graph))
    stored += [t for function in proto.functions for t in stored_tensors(function.node)]
    conversion = _conversion(proto)
    return Model(
        name=name,
        path=str(path.absolute()),
        hash=digest,
        inputs=tuple(graph.tensors[i] for i in graph.inputs),
        outputs=tuple(graph.tensors[o] for o in graph.outputs),
        opset=default_opset(proto.opset_import),
        ir_version=int(proto.ir_version),
        parameters=sum(map(element_count, stored)),
        weight_bytes=sum(map(stored_bytes, stored)),
        external_files=tuple(sorted({f for t in stored if is_external(t) for f in _location(t)})),
        recipe=conversion.recipe if conversion else _recipe(stored, graph),
        parent=conversion.parent if conversion else None,
        conversion=conversion,
    )


def _conversion(proto: onnx.ModelProto) -> ConversionReport | None:
    """Return what trtlab wrote about its own conversion; what is no such text counts as none."""
    text = next((p.value for p in proto.metadata_props if p.key == CONVERSION_KEY), "")
    if not text or len(text) > _LONGEST_REPORT:
        return None
    try:
        return from_json(text.encode(), ConversionReport)
    except ValueError:
        return None


def _recipe(stored: Sequence[onnx.TensorProto], graph: Graph) -> str:
    if any(node.op in _QUANTISED for node in graph.nodes):
        return "qdq"
    count: Counter[str] = Counter()
    for tensor in stored:
        recipe = _FLOAT_RECIPES.get(tensor.data_type)
        if recipe is not None:
            count[recipe] += element_count(tensor)
    return count.most_common(1)[0][0] if count else "fp32"


def _location(tensor: onnx.TensorProto) -> list[str]:
    return [entry.value for entry in tensor.external_data if entry.key == "location"]
