"""``convert``: a model → the same model in another precision."""

from __future__ import annotations

import os
import threading
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trtlab import worker
from trtlab.codec import from_json, to_json
from trtlab.dataset.files import SampleFiles, read_samples, write_samples
from trtlab.dataset.samples import Dataset
from trtlab.environment import version
from trtlab.errors import BackendUnavailableError, SpecError, UnsupportedError
from trtlab.model.conversion import Calibration, CalibrationTable, Range, Tool
from trtlab.model.printing import printable
from trtlab.model.types import Model
from trtlab.precision import modelopt
from trtlab.precision.modelopt import ModelOptRecipe
from trtlab.precision.recipes import Activations, Options, Recipe, recipe_of
from trtlab.precision.request import Request
from trtlab.spec.checks import texts
from trtlab.store import Store, key_of
from trtlab.verbs.data import data_for
from trtlab.verbs.load import check_is_onnx, check_unchanged, load, read_made
from trtlab.worker import Progress, silent

PASSES_VERSION = 3
"""Raised whenever a pass changes, so that what an older one made is not taken for its result."""

_LARGEST_TABLE = 64 * 2**20
_LARGEST_FLOAT = 3.4028234e38
_MADE = "made.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class _CalibrateSpec:
    """``source``: the model, where it is still to be prepared; else None."""

    source: str | None
    prepared: str
    calibrator: str
    samples: SampleFiles
    every_op: bool
    scratch: str
    request: Request


@dataclass(frozen=True, slots=True)
class _PrepareSpec:
    source: str
    target: str


def convert(
    model: Any,
    recipe: str,
    *,
    calibration: Any = None,
    samples: int | None = None,
    seed: int = 0,
    keep: str | Sequence[str] = (),
    keep_ops: str | Sequence[str] = (),
    keep_io: bool = True,
    per_channel: bool = True,
    symmetric: bool | None = None,
    activations: Activations = "int8",
    calibrator: str = "minmax",
    clip: bool = False,
    tool: Tool | None = None,
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Model:
    """Rewrite a model in another precision; what was done is in the result's ``conversion``.

    TensorRT 11 has no precision flags: the types of the graph are the precision. The result is a
    model like any other, kept in the store, and the same request answers with it at once.

    Args:
        model: A ``Model`` in FP32, or what ``load`` takes. One that is quantised already can get
            FP16 or BF16 for the rest of it.
        recipe: ``fp32``, ``fp16``, ``bf16``, ``int8``, ``fp8``, ``int8-weights``,
            ``int4-weights``, or two joined, as in ``int8+fp16``. FP32 is the model itself: whether
            its products are rounded to TF32 is a setting of the build.
        calibration: For ``int8`` and ``fp8``: what ``trtlab.Dataset`` or a folder holds, arrays,
            ``"random"``, or the file of a calibration table; None for what the zoo has. With
            ``fp16`` it is used to keep what leaves FP16's range.
        samples: How many samples are drawn from it; None is all.
        seed: Which ones.
        keep: Names or patterns of nodes to leave alone.
        keep_ops: Operators to leave alone.
        keep_io: Whether inputs and outputs keep their types.
        per_channel: Whether each output channel of a weight has its own scale.
        symmetric: Whether zero points of activations are 0, which TensorRT wants. None: yes for
            ``int8`` activations, no for ``uint8``.
        activations: ``uint8`` is for ONNX Runtime's CPU alone, where it is faster.
        calibrator: ``minmax``, ``percentile`` (99.99 %), ``entropy`` or ``mse``.
        clip: Cut weights beyond FP16's range to it.
        tool: ``modelopt`` converts with NVIDIA's ModelOpt (``make modelopt``).
        store: Where the result is kept; default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        cancel: Set it to stop within a second; nothing half-written stays.

    Raises:
        SpecError: a setting is wrong, the data does not fit, or the model has that precision.
        ModelError: the model cannot be used, or a weight is beyond the range.
        UnsupportedError: the graph cannot be converted so.
        BackendUnavailableError: ModelOpt or ONNX Runtime is not installed.
    """
    store = store or Store()
    opened = load(model, store=store, progress=progress, cancel=cancel)
    check_is_onnx(opened)
    wanted = recipe_of(recipe)
    options = Options(
        keep=texts("node", keep),
        keep_ops=texts("operator", keep_ops),
        keep_io=keep_io,
        per_channel=per_channel,
        symmetric=symmetric,
        activations=activations,
        calibrator=calibrator,
        clip=clip,
        tool=tool,
    )
    if wanted.name == "fp32" and opened.recipe == "fp32":
        return opened
    _check_possible(opened, wanted, options)
    check_unchanged(opened)
    if options.tool == "modelopt":
        return _by_modelopt(
            opened, wanted, options, calibration, samples, seed, store, progress, cancel
        )
    calibrating = wanted.needs_data or (calibration is not None and wanted.floats == "fp16")
    table, data = None, None
    if calibrating:
        table, data = _known(opened, calibration, options, wanted, samples, seed, store)

    about = None if data is None else _about(data, options.calibrator)
    about = table.calibration if table else about

    def key(table: CalibrationTable | None) -> str:
        return key_of(
            "convert", PASSES_VERSION, opened.hash, opened.recipe, wanted.name, options,
            table and (table.calibration, sorted(table.ranges.items())), _versions(),
        )  # fmt: skip

    def request(folder: Path) -> Request:
        return Request(
            source=opened.path,
            target=str(folder / _MADE),
            name=opened.name,
            parent=opened.hash,
            before=opened.recipe,
            recipe=wanted.name,
            options=options,
            ranges=table.ranges if table else {},
            calibration=about,
        )

    if data is not None:
        target = _calibrated(opened, wanted, data, options, request, key, store, progress, cancel)
    else:

        def ready(folder: Path) -> Request:
            if not wanted.needs_data:
                return request(folder)
            return replace(request(folder), prepared=str(_prepared(opened, store, cancel)))

        target = _written(opened, key(table), _convert_job, ready, store, progress, cancel)
    return read_made(target, _name(opened, options), store, progress, cancel)


def _calibrated(
    model: Model,
    wanted: Recipe,
    data: Dataset,
    options: Options,
    request: Callable[[Path], Request],
    key: Callable[[CalibrationTable], str],
    store: Store,
    progress: Progress,
    cancel: threading.Event | None,
) -> Path:
    """Settle ranges and convert in one worker: starting one takes a second."""
    prepared = _prepared_path(model, store)
    with store.scratch() as folder:
        made = None if prepared.is_file() else folder / "prepared.onnx"
        spec = _CalibrateSpec(
            source=None if made is None else model.path,
            prepared=str(made or prepared),
            calibrator=options.calibrator,
            samples=write_samples(data, folder),
            every_op=not wanted.needs_data,
            scratch=str(folder),
            request=request(folder),
        )
        ranges = worker.run(_calibrate_job, spec, progress=progress, cancel=cancel).result
        check_unchanged(model)
        if made is not None:
            store.put_model_file(prepared.name, made)
        about = _about(data, options.calibrator)
        table = CalibrationTable(parent=model.hash, calibration=about, ranges=ranges)
        known = _table_path(model, data, options, wanted, store)
        store.put_model_file(known.name, to_json(table))
        target = store.model_path(f"converted-{key(table)}.onnx")
        store.put_model_file(target.name, folder / _MADE)
    return target


def _written(
    model: Model,
    key: str,
    job: Callable[[Request, Progress], None],
    request: Callable[[Path], Request],
    store: Store,
    progress: Progress,
    cancel: threading.Event | None,
) -> Path:
    """Return the file of a conversion, made where it is not there; whole or not at all."""
    target = store.model_path(f"converted-{key}.onnx")
    if not target.is_file():
        with store.scratch() as folder:
            worker.run(job, request(folder), progress=progress, cancel=cancel)
            check_unchanged(model)
            store.put_model_file(target.name, folder / _MADE)
    return target


def _by_modelopt(
    model: Model,
    wanted: Recipe,
    options: Options,
    given: Any,
    samples: int | None,
    seed: int,
    store: Store,
    progress: Progress,
    cancel: threading.Event | None,
) -> Model:
    found = modelopt.version()
    if found is None:
        raise BackendUnavailableError(
            f"{wanted.name} by ModelOpt: ModelOpt is not installed.", hint=modelopt.HINT
        )
    data = None
    if wanted.needs_data or given is not None:
        data = data_for(model, given, samples=samples, seed=seed)
    key = key_of(
        "convert", PASSES_VERSION, model.hash, wanted.name, options, data and data.hash, found
    )

    def request(folder: Path) -> Request:
        return Request(
            source=model.path,
            target=str(folder / _MADE),
            name=model.name,
            parent=model.hash,
            before=model.recipe,
            recipe=wanted.name,
            options=options,
            calibration=None if data is None else _about(data, options.calibrator),
            samples=None if data is None else write_samples(data, folder),
        )

    target = _written(model, key, _modelopt_job, request, store, progress, cancel)
    return read_made(target, model.name, store, progress, cancel)


def _about(data: Dataset, calibrator: str) -> Calibration:
    return Calibration(
        data=data.words,
        hash=data.hash,
        samples=len(data),
        calibrator=calibrator,
        random=data.random,
    )


def _known(
    model: Model,
    given: Any,
    options: Options,
    wanted: Recipe,
    samples: int | None,
    seed: int,
    store: Store,
) -> tuple[CalibrationTable | None, Dataset | None]:
    """Return ranges that are known, given or from the store; else the data to take them from.

    Raises:
        SpecError: the data does not fit, or the table is of another model.
    """
    if isinstance(given, CalibrationTable):
        return _fitting(given, model), None
    if is_table(given):
        return _fitting(_table(Path(given)), model), None
    data = data_for(model, given, samples=samples, seed=seed)
    known = _table_path(model, data, options, wanted, store)
    if known.is_file():
        return from_json(known.read_bytes(), CalibrationTable), None
    return None, data


def _table_path(
    model: Model, data: Dataset, options: Options, wanted: Recipe, store: Store
) -> Path:
    every_op = not wanted.needs_data
    key = key_of(
        "ranges", PASSES_VERSION, model.hash, data.hash, options.calibrator, every_op, _versions()
    )
    return store.model_path(f"ranges-{key}.json")


def _prepared_path(model: Model, store: Store) -> Path:
    key = key_of("prepared", PASSES_VERSION, model.hash, _versions())
    return store.model_path(f"prepared-{key}.onnx")


def _prepared(model: Model, store: Store, cancel: threading.Event | None) -> Path:
    """Return the model with BatchNorm folded; made here where the ranges came from a table."""
    target = _prepared_path(model, store)
    if not target.is_file():
        with store.scratch() as folder:
            spec = _PrepareSpec(model.path, str(folder / _MADE))
            worker.run(_prepare_job, spec, cancel=cancel)
            store.put_model_file(target.name, folder / _MADE)
    return target


def _check_possible(model: Model, wanted: Recipe, options: Options) -> None:
    quantised = any(part in model.recipe for part in ("qdq", "int8", "int4", "fp8"))
    typed = any(part in model.recipe for part in ("fp16", "bf16"))
    if wanted.quantised and quantised:
        raise SpecError(
            f"{printable(model.name)} is quantised already ({model.recipe}).",
            hint="Build and measure it as it is, or convert the model that it was made from.",
        )
    if wanted.name == "fp32" or typed:
        raise SpecError(
            f"{printable(model.name)} is in {model.recipe}: what rounding took is not brought "
            f"back, and {wanted.name} is made from FP32.",
            hint="Convert the FP32 model that it was made from.",
        )
    if not options.is_symmetric and wanted.quantised != "int8":
        raise SpecError(
            f"{wanted.name} has no zero points: uint8 and asymmetric activations are for int8.",
            hint="Leave activations and symmetric out.",
        )
    if options.symmetric and options.activations == "uint8":
        raise SpecError(
            "uint8 activations have their zero point at the end of the range or inside it.",
            hint="Leave symmetric out, or choose int8 activations.",
        )
    own = replace(options, keep=(), keep_ops=(), keep_io=True, calibrator="minmax")
    if options.tool == "modelopt" and own != Options(tool="modelopt"):
        raise UnsupportedError(
            f"ModelOpt has no {', '.join(own.words()[:-1])}.", hint="Convert without ModelOpt."
        )
    if options.tool == "modelopt" and wanted.name not in typing.get_args(ModelOptRecipe):
        raise UnsupportedError(f"ModelOpt has no {wanted.name}.", hint="Convert without ModelOpt.")


def _name(model: Model, options: Options) -> str:
    """Return what the result is called: what only a CPU runs says so wherever it is shown."""
    if options.is_symmetric:
        return model.name
    return f"{model.name} ({options.activations} with zero points, CPU only)"


def _versions() -> dict[str, str | None]:
    names = ("onnx", "onnxruntime", "onnxruntime-gpu", "ml_dtypes", "numpy")
    return {name: version(name) for name in names}


def is_table(given: object) -> bool:
    """Whether a calibration table is given, or its file, and not data."""
    named = isinstance(given, str | os.PathLike) and str(given).endswith(".json")
    return named or isinstance(given, CalibrationTable)


def _fitting(table: CalibrationTable, model: Model) -> CalibrationTable:
    if table.parent != model.hash:
        raise SpecError(
            f"The calibration table is of another model than {printable(model.name)}.",
            hint="Its ranges are of tensors by name, and of that model's weights.",
        )
    for name, span in table.ranges.items():
        if not -_LARGEST_FLOAT <= span.low <= span.high <= _LARGEST_FLOAT:
            raise SpecError(
                f"The calibration table has {span.low:g} to {span.high:g} for {printable(name)}.",
                hint="Ranges go up, and no further than FP32 does: write the table anew.",
            )
    return table


def _table(path: Path) -> CalibrationTable:
    try:
        if path.stat().st_size > _LARGEST_TABLE:
            raise SpecError(
                f"{printable(path.name)} is too large for a calibration table.",
                hint="trtlab.export(model, FILE) writes one.",
            )
        return from_json(path.read_bytes(), CalibrationTable)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise SpecError(
            f"{printable(path.name)} is no calibration table: {printable(str(words))}.",
            hint="trtlab.export(model, FILE) or trtlab convert --ranges FILE writes one.",
        ) from error


def _prepare_job(spec: _PrepareSpec, progress: Progress) -> None:
    from trtlab.precision.calibrate import prepare

    progress("fold BatchNorm", 0, 1)
    prepare(Path(spec.source), Path(spec.target))


def _calibrate_job(spec: _CalibrateSpec, progress: Progress) -> dict[str, Range]:
    from trtlab.precision.calibrate import prepare, ranges
    from trtlab.precision.converting import convert_file
    from trtlab.precision.quantize import OPS

    prepared = Path(spec.prepared)
    if spec.source is not None:
        progress("fold BatchNorm", 0, 1)
        prepare(Path(spec.source), prepared)
    arrays = read_samples(spec.samples)
    ops = () if spec.every_op else OPS
    found = ranges(prepared, spec.calibrator, arrays, ops, Path(spec.scratch), progress)
    request = replace(spec.request, ranges=found)
    if not spec.every_op:
        request = replace(request, prepared=spec.prepared)
    convert_file(request, progress)
    return found


def _convert_job(request: Request, progress: Progress) -> None:
    from trtlab.precision.converting import convert_file

    convert_file(request, progress)


def _modelopt_job(request: Request, progress: Progress) -> None:
    from trtlab.precision.converting import convert_by_modelopt

    convert_by_modelopt(request, progress)
