"""``load``: a path, a zoo name, an ``onnx.ModelProto`` or a torch module → ``Model``."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trtlab import worker
from trtlab.backends import base
from trtlab.backends.base import Defined
from trtlab.codec import to_json
from trtlab.errors import ExecutionError, ModelError, SpecError, UnsupportedError
from trtlab.model.printing import printable
from trtlab.model.types import Graph, Model
from trtlab.spec import TENSORRT
from trtlab.store import Store
from trtlab.units import text_from_bytes
from trtlab.verbs.choose import backend_for
from trtlab.verbs.network_source import source_of
from trtlab.worker import Progress, silent
from trtlab.zoo import catalogue


@dataclass(frozen=True, slots=True)
class _ReadSpec:
    path: str
    name: str


@dataclass(frozen=True, slots=True)
class _Read:
    model: Model
    graph: Graph


@dataclass(frozen=True, slots=True)
class _NetworkSpec:
    backend: str
    text: str


@dataclass(frozen=True, slots=True)
class _RewriteSpec:
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class _MakeSpec:
    name: str
    path: str


def load(
    source: Any = None,
    *,
    network: Callable[[Any, Any], Any] | None = None,
    example: Any = None,
    name: str | None = None,
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Model:
    """Open a model: check it, infer shapes, hash its content.

    Args:
        source: A path; ``"zoo:NAME"``; an ``onnx.ModelProto``; a ``torch.nn.Module`` together with
            ``example``; or a ``Model``, which is returned as it is.
        network: Instead of ``source``: a function ``define(trt, network)`` over TensorRT's network
            definition API, with all that it needs inside it. Its source text goes to the
            worker, and with the tensors and layers that it defines it is what the model is known
            by: weights that it reads from a file are not. Dynamic first axes are called ``N``.
        example: Example input (or a tuple of them) for exporting a torch module, batch first.
        name: What to call it; default is the file's name or ``zoo:NAME``.
        store: Where graphs and made models are kept; default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        cancel: Set it to stop.

    Raises:
        ModelError: the file cannot be used; the message says what and where.
        SpecError: there is no such zoo model, or ``example`` is missing.
        ExecutionError: the machine's memory does not suffice, or the worker failed.
    """
    if source is not None and network is not None:
        raise SpecError("Two models were given.", hint="Give a path, or network=function.")
    if isinstance(source, Model):
        return source
    store = store or Store()
    if network is not None:
        return _from_network(network, name, store, progress, cancel)
    if isinstance(source, str) and source.startswith("zoo:"):
        path = zoo_path(source, store, progress, cancel)
        return _read(path, name or source, store, progress, cancel)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return _read(path, name or path.stem, store, progress, cancel)
    if _is_proto(source):
        return _from_proto(source, name or source.graph.name or "model", store, progress, cancel)
    if _is_torch_module(source):
        proto = _export(source, example)
        return _from_proto(proto, name or type(source).__name__, store, progress, cancel)
    raise SpecError(
        f"A {type(source).__name__} is not a model.",
        hint='Give a path, "zoo:squeezenet", an onnx.ModelProto or a torch.nn.Module.',
    )


def with_dynamic_batch(
    model: Model,
    *,
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Model:
    """Return ``model`` with a dynamic batch axis, or itself if it has one.

    Raises:
        ModelError: the batch cannot be made dynamic soundly; the message names the node.
    """
    if model.batch_axis is not None:
        return model
    check_is_onnx(model)
    check_unchanged(model)
    store = store or Store()
    target = store.model_path(f"dynamic-{model.hash}.onnx")
    if not target.is_file():
        with store.scratch() as folder:
            spec = _RewriteSpec(model.path, str(folder / "dynamic.onnx"))
            worker.run(_rewrite_job, spec, progress=progress, cancel=cancel)
            store.put_model_file(target.name, folder / "dynamic.onnx")
    made = _read(target, model.name, store, progress, cancel)
    return replace(made, parent=model.hash)


def graph_of(model: Model, store: Store | None = None) -> Graph:
    """Return the model's graph, from the store or read again."""
    check_is_onnx(model)
    store = store or Store()
    graph = store.graph(model.hash)
    if graph is None:
        check_unchanged(model)
        read = worker.run(_read_job, _ReadSpec(model.path, model.name)).result
        graph = read.graph
        store.put_graph(read.model, graph)
    return graph


def zoo_path(
    name: str,
    store: Store,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Path:
    """Return the file of a zoo model, making it first where it does not ship with trtlab."""
    entry = catalogue.entry(name)
    if entry.shipped:
        return catalogue.shipped_path(entry.name)
    path = store.model_path(f"zoo-{entry.name}-{catalogue.RECIPE_VERSION}.onnx")
    if not path.is_file():
        with store.scratch() as folder:
            made = folder / "made.onnx"
            spec = _MakeSpec(entry.name, str(made))
            worker.run(_make_job, spec, progress=progress, cancel=cancel)
            store.put_model_file(path.name, made)
    return path


def read_made(
    path: Path,
    name: str,
    store: Store,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Model:
    """Read a model file that trtlab made, under the name that people know it by."""
    return _read(path, name, store, progress, cancel)


def check_is_onnx(model: Model) -> None:
    """Refuse a network function where an ONNX graph is needed.

    Raises:
        UnsupportedError: the model is a network function.
    """
    if model.source == "network":
        raise UnsupportedError(
            f"{model.name} is a network function: there is no ONNX graph to look at.",
            hint="Build it, and look at the layers of its plan.",
        )


def check_unchanged(model: Model) -> None:
    """Refuse a model whose files changed since it was loaded: results would bear a wrong name.

    Raises:
        ModelError: a file is gone or another one now.
    """
    if _stamp(Path(model.path), model.external_files) != model.stamp:
        raise ModelError(
            f"{model.name} changed since it was loaded: {model.path}.",
            hint="Load it again.",
        )


def _from_network(
    function: Callable[[Any, Any], Any],
    name: str | None,
    store: Store,
    progress: Progress,
    cancel: threading.Event | None,
) -> Model:
    text = source_of(function)
    spec = _NetworkSpec(backend_for("build", TENSORRT, cancel), text)
    found = worker.run(_network_job, spec, progress=progress, cancel=cancel).result
    # With what it defined: a function that reads other files may define something else tomorrow.
    content = hashlib.sha256(to_json([text, found])).hexdigest()
    path = store.put_model_file(f"network-{content}.py", text.encode())
    return Model(
        name=name or function.__name__,
        path=str(path),
        hash=content,
        inputs=found.inputs,
        outputs=found.outputs,
        opset=None,
        ir_version=None,
        parameters=None,
        weight_bytes=None,
        source="network",
        stamp=_stamp(path, ()),
    )


def _network_job(spec: _NetworkSpec, progress: Progress) -> Defined:
    progress("define the network", 0, 1)
    return base.network_backend(spec.backend).network_tensors(spec.text)


def _stamp(path: Path, external: Sequence[str]) -> str:
    """Return what tells whether these files changed; empty if one is not there.

    Raises:
        ModelError: the path is nothing that a file system takes.
    """
    try:
        stats = [file.stat() for file in (path, *(path.parent / name for name in external))]
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        name = printable(path.name)
        short = name if len(name) < 80 else f"{name[:40]}…"
        reason = error.strerror if isinstance(error, OSError) else "its name cannot be used"
        raise ModelError(f"{short} was not opened: {reason}.", hint="Check the path.") from error
    return " ".join(f"{s.st_ino}:{s.st_size}:{s.st_mtime_ns}" for s in stats)


def _read(
    path: Path,
    name: str,
    store: Store,
    progress: Progress,
    cancel: threading.Event | None,
) -> Model:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ModelError(
            f"{printable(path.name)} was not opened: its name is not UTF-8.", hint="Rename it."
        ) from error
    before = _stamp(path, ())
    place = str(path.absolute())
    known = store.model(f"{place}\n{before}") if before else None
    if known is not None and _stamp(path, known.external_files) == known.stamp:
        return replace(known, name=name)
    progress("check model", 0, 0)
    spec = _ReadSpec(str(path), name)
    read = worker.run(_read_job, spec, progress=progress, cancel=cancel).result
    model = replace(read.model, path=place, stamp=_stamp(path, read.model.external_files))
    if not model.stamp.startswith(before):
        raise ModelError(f"{path.name} changed while it was read.", hint="Load it again.")
    store.put_graph(model, read.graph)
    store.put_model(f"{place}\n{before}", model)
    return model


def _is_proto(source: Any) -> bool:
    # Duck-typed, so that opening a path imports no onnx in this process.
    return type(source).__name__ == "ModelProto" and hasattr(source, "SerializeToString")


def _from_proto(
    proto: Any,
    name: str,
    store: Store,
    progress: Progress,
    cancel: threading.Event | None,
) -> Model:
    try:
        data: bytes = proto.SerializeToString()
    except ValueError as error:  # protobuf ends at 2 GiB
        raise ModelError(
            f"{name} is too large to be passed in memory: {error}.",
            hint="Save it with external data and give the path.",
        ) from error
    path = store.model_path(f"given-{hashlib.sha256(data).hexdigest()}.onnx")
    if not path.is_file():
        store.put_model_file(path.name, data)
    return _read(path, name, store, progress, cancel)


def _is_torch_module(source: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.nn.Module)


def _export(module: Any, example: Any) -> Any:
    """Export a torch module: in this process, since a live module cannot be sent to another."""
    import io

    import onnx
    import torch

    if example is None:
        raise SpecError(
            "A torch module needs an example input.",
            hint="trtlab.load(module, example=torch.zeros(1, 3, 224, 224))",
        )
    examples = example if isinstance(example, tuple) else (example,)
    inputs = [f"input_{i}" for i in range(len(examples))]
    buffer = io.BytesIO()
    was_training = module.training
    module.eval()
    try:
        # The TorchScript exporter with PRESERVE leaves BatchNorm as a node of its own, so that
        # fusing it is still to be seen. That this exporter is the older one needs no telling.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(
                module,
                examples,
                buffer,
                input_names=inputs,
                dynamic_axes={name: {0: "N"} for name in inputs},
                opset_version=17,
                do_constant_folding=False,  # it would change what there is to fuse
                training=torch.onnx.TrainingMode.PRESERVE,
                dynamo=False,
            )
    except Exception as error:
        raise ModelError(
            f"{type(module).__name__} was not exported: {error}",
            hint="Export it yourself with torch.onnx.export and load the file.",
        ) from error
    finally:
        module.train(was_training)
    return onnx.load_from_string(buffer.getvalue())


def _read_job(spec: _ReadSpec, progress: Progress) -> _Read:
    from trtlab.model.reading import read_model

    progress("check model", 0, 1)
    path = Path(spec.path)
    _fits_memory(path.name, path.stat().st_size if path.is_file() else 0)
    model, graph = read_model(spec.path, name=spec.name)
    _fits_memory(path.name, model.weight_bytes or 0)
    progress("check model", 1, 1)
    return _Read(model, graph)


def _fits_memory(name: str, size: int) -> None:
    import psutil

    total = psutil.virtual_memory().total
    if size > total:
        raise ExecutionError(
            f"{name} needs {text_from_bytes(size)}, more than this machine's memory "
            f"({text_from_bytes(total)}).",
            hint="Use a machine with more memory, or a smaller model.",
        )


def _rewrite_job(spec: _RewriteSpec, progress: Progress) -> None:
    import onnx

    from trtlab.model.batch import with_dynamic_batch as rewritten

    progress("make batch dynamic", 0, 1)
    onnx.save(rewritten(onnx.load(spec.path)), spec.target)
    progress("make batch dynamic", 1, 1)


def _make_job(spec: _MakeSpec, progress: Progress) -> None:
    from trtlab.zoo.making import make_model

    make_model(spec.name, spec.path, progress)
