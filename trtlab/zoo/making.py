"""Make a zoo model that is not shipped: the job behind the progress bar."""

from __future__ import annotations

import os
from pathlib import Path

import onnx

from trtlab.errors import SpecError, StoreError
from trtlab.zoo import catalogue, settle
from trtlab.zoo.light import light
from trtlab.zoo.vit import vit_tiny


def make_model(name: str, path: str, report: settle.Report) -> None:
    """Write the ONNX file of a zoo model, whole or not at all.

    The same versions of onnx, onnxruntime and NumPy on the same kind of processor give the same
    bytes. Runs ONNX Runtime, so call it in a worker process.

    Args:
        name: An entry of the catalogue that is not shipped.
        path: Where the file goes; its folder must exist.
        report: Called with (phase, done, total); each phase counts up to its total.

    Raises:
        SpecError: the name is unknown or the model is shipped.
        BackendUnavailableError: ONNX Runtime is not installed.
        ModelError: the installed onnx lacks the graph it starts from.
        StoreError: the file cannot be written.
    """
    found = catalogue.entry(name)
    if found.shipped:
        raise SpecError(
            f"{found.name} is shipped with trtlab and is not made.",
            hint=f"Load it as zoo:{found.name}.",
        )
    model = vit_tiny(report) if found.name == "vit_tiny" else light(found.name, report)
    model.doc_string = f"{found.title}. Weights are drawn, not trained."
    model.producer_version = str(catalogue.RECIPE_VERSION)
    report("check", 0, 1)
    onnx.checker.check_model(model, full_check=True)
    report("check", 1, 1)
    report("write", 0, 1)
    _write(model.SerializeToString(deterministic=True), Path(path))
    report("write", 1, 1)


def _write(data: bytes, target: Path) -> None:
    """Write beside the target and move it there, so that no reader meets half a file."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        try:
            beside.write_bytes(data)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"{target} cannot be written: {error.strerror}.",
            hint=f"The model needs {len(data):,} bytes in {target.parent}, writable by you.",
        ) from error
