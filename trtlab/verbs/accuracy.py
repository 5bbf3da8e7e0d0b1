"""``accuracy``: how far a model's outputs lie from a reference's, on the same inputs."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trtlab import worker
from trtlab.dataset.arrays import as_array, as_labels, check_arrays, content_hash
from trtlab.dataset.files import SampleFiles, write_samples
from trtlab.dataset.fitting import fixed_batch
from trtlab.dataset.reading import read_folder
from trtlab.dataset.samples import Dataset
from trtlab.environment import capture
from trtlab.errors import ModelError, SpecError, UnsupportedError
from trtlab.model.types import Model
from trtlab.record import Accuracy, DataRef, ModelRef, Plan
from trtlab.spec import BuildConfig, Caveat
from trtlab.spec.checks import one_of, whole
from trtlab.store import Store, key_of
from trtlab.verbs.build import build_with, conditions, distributions, kept, usable
from trtlab.verbs.data import labelled_data_for
from trtlab.verbs.load import check_is_onnx, check_unchanged, graph_of, load
from trtlab.worker import Progress, silent

if TYPE_CHECKING:
    from trtlab.precision.comparing import Found

Arithmetic = Literal["as run", "emulated"]

_ARITHMETICS = ("as run", "emulated")


@dataclass(frozen=True, slots=True)
class _Reference:
    """A model, or arrays by the name of the model's outputs; in words for the record."""

    words: str
    model: Model | None = None
    arrays: Dataset | None = None


def accuracy(
    model: Any,
    data: Any = None,
    *,
    reference: Any = None,
    labels: Any = None,
    arithmetic: Arithmetic | None = None,
    per_node: bool = False,
    batch: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    atol: float | None = None,
    rtol: float | None = None,
    provider: Literal["cpu", "cuda"] = "cpu",
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Accuracy:
    """Compare a model's outputs with a reference's, and with labels where there are some.

    The reference runs on ONNX Runtime with optimisations off. ``as run`` the model is built and
    its optimised plan runs. ``emulated`` its own graph runs with optimisations off, and where it
    stores FP16 FP32 is rounded to that: equal on every processor, and an estimate.

    Args:
        model: A ``Model``, what ``load`` takes, or an ONNX Runtime ``Plan``.
        data: Samples as ``convert`` takes them; of the zoo the held-out images are taken.
        reference: A model, or arrays by output name (a mapping or a ``.npz`` file, [samples,
            ...]). None is the FP32 model that this one was made from; for an FP32 model itself,
            so that only what its optimisation changes is told.
        labels: Class numbers, one for each sample, or a file of them (``.npy``, or text with one
            in a line); default are the data's own.
        arithmetic: ``"as run"`` or ``"emulated"``. None takes what is real: ``"emulated"`` where
            this provider does not compute in the model's types.
        per_node: Also compare tensor by tensor, in unfused arithmetic, and find where the error
            enters.
        batch: Samples at a time; None takes at most 32.
        samples: How many samples are drawn from the data; None takes all.
        seed: Which ones those are.
        atol: Absolute tolerance; None is ``rtol`` times the output's root mean square.
        rtol: Relative tolerance; None derives it from the precision, see
            ``analysis.output_errors.default_rtol``.
        provider: ONNX Runtime's ``cpu`` or ``cuda``, for both.
        store: Where the record is kept; default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        cancel: Set it to stop within a second.

    Raises:
        SpecError: a setting is wrong, nothing can serve as reference, or data or labels do not
            fit the model.
        MismatchError: the reference's outputs do not fit the model's.
        UnsupportedError: this provider cannot compute that, and it is not emulated (BF16).
        ExecutionError: a model failed while running.
    """
    store = store or Store()
    _check(arithmetic, batch)
    atol, rtol = _tolerance("atol", atol), _tolerance("rtol", rtol)
    plan = model if isinstance(model, Plan) else None
    if plan is not None:
        opened = _model_of(plan, arithmetic, provider, store, progress, cancel)
        provider = plan.config.provider
    else:
        opened = load(model, store=store, progress=progress, cancel=cancel)
    check_is_onnx(opened)
    check_unchanged(opened)
    given = _reference(opened, reference, store, progress, cancel)
    types = _types(opened, store)
    chosen: Arithmetic = "as run" if plan else _arithmetic(opened, types, arithmetic, provider)
    _check_sense(opened, given, chosen, per_node)
    samples_used = _data(opened, given, data, labels, samples, seed)
    _check_counts(opened, given, samples_used)
    batch = _batch_of(opened, given, batch, len(samples_used))
    if plan is None and chosen == "as run":
        config = BuildConfig(backend="onnxruntime", provider=provider)
        plan = build_with(opened, config, store=store, progress=progress, cancel=cancel)
    config = plan.config if plan else BuildConfig(backend="onnxruntime", provider=provider)
    key = key_of(
        "accuracy",
        opened.hash,
        plan.hash if plan else None,
        given.model.hash if given.model else None,
        given.arrays.hash if given.arrays else None,
        samples_used.hash,
        None if samples_used.labels is None else _hash(samples_used.labels),
        [chosen, per_node, batch, atol, rtol, provider],
        conditions("onnxruntime"),
    )
    known = store.get(key, Accuracy)
    if known is not None:
        # By another name it is the same: all that counts is in the key.
        return replace(
            known,
            model=ModelRef.of(opened),
            reference=given.words,
            reference_model=ModelRef.of(given.model) if given.model else None,
            data=replace(known.data, words=samples_used.words),
        )
    # They bring NumPy and onnx, which importing this module must not.
    from trtlab.precision.comparing import Comparison, compare

    environment = capture(distributions("onnxruntime"))
    with store.scratch() as folder:
        task = Comparison(
            model=str(store.plan_path(plan.hash)) if plan else opened.path,
            emulate=plan is None,
            unfused=opened.path if per_node else None,
            reference=given.model.path if given.model else None,
            reference_outputs=None
            if given.arrays is None
            else _written(given.arrays, folder / "r"),
            samples=_written(samples_used, folder / "s"),
            labels=None if samples_used.labels is None else tuple(samples_used.labels.tolist()),
            config=config,
            recipe=opened.recipe,
            batch=batch,
            atol=atol,
            rtol=rtol,
            folder=str(folder),
        )
        found = worker.run(compare, task, progress=progress, cancel=cancel).result
    check_unchanged(opened)
    if given.model is not None:
        check_unchanged(given.model)
    record = Accuracy(
        model=ModelRef.of(opened),
        reference=given.words,
        reference_model=ModelRef.of(given.model) if given.model else None,
        data=DataRef(
            words=samples_used.words,
            hash=samples_used.hash,
            samples=len(samples_used),
            random=samples_used.random,
        ),
        arithmetic=chosen,
        provider=found.provider,
        plan=plan.hash if plan else None,
        outputs=found.outputs,
        labels=found.labels,
        nodes=found.nodes,
        suggested=found.suggested,
        environment=environment,
        caveats=tuple(_doubts(opened, samples_used, types, chosen, provider, found)),
    )
    saved: Accuracy = kept(record, key, store)
    return saved


def _check(arithmetic: str | None, batch: int | None) -> None:
    if arithmetic is not None:
        one_of("arithmetic", arithmetic, _ARITHMETICS)
    if batch is not None:
        whole("The batch", batch, 1, 2**24)


def _tolerance(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise SpecError(f"{name} is {value!r}.", hint="Give a number from 0, such as 1e-3.")
    return float(value)


def _model_of(
    plan: Plan,
    arithmetic: str | None,
    provider: str,
    store: Store,
    progress: Progress,
    cancel: threading.Event | None,
) -> Model:
    """Return the model of a plan, which is made to be there.

    Raises:
        UnsupportedError: it is TensorRT's.
        SpecError: it is asked to be emulated, or to run elsewhere than it was built for.
    """
    if plan.config.backend != "onnxruntime":
        raise UnsupportedError(
            f"The outputs of a plan of {plan.config.backend} are not compared.",
            hint="Compare its model: trtlab.accuracy(model).",
        )
    if arithmetic == "emulated":
        raise SpecError("A plan runs as it is.", hint="Give its model to have it emulated.")
    if provider == "cuda" and plan.config.provider != "cuda":
        raise SpecError("The plan was built for the CPU.", hint="Build it with provider='cuda'.")
    usable(plan, store=store, progress=progress, cancel=cancel)
    opened = load(plan.model_path, name=plan.model.name, store=store, cancel=cancel)
    if opened.hash != plan.model.hash:
        raise ModelError(
            f"The model of the plan has changed: {plan.model_path}.", hint="Build it again."
        )
    return replace(opened, recipe=plan.model.recipe, parent=plan.model.parent)


def _reference(
    model: Model,
    given: Any,
    store: Store,
    progress: Progress,
    cancel: threading.Event | None,
) -> _Reference:
    if given is None:
        found = model if model.recipe == "fp32" else _origin(model, store)
        return _of_model(found)
    is_file = isinstance(given, str | os.PathLike) and Path(given).suffix in (".npz", ".npy")
    if is_file or isinstance(given, Mapping):
        return _of_arrays(model, given)
    found = load(given, store=store, progress=progress, cancel=cancel)
    check_is_onnx(found)
    check_unchanged(found)
    return _of_model(found)


def _of_model(model: Model) -> _Reference:
    words = f"{model.name} ({model.recipe}) on ONNX Runtime, optimisations off"
    return _Reference(words, model)


def _of_arrays(model: Model, given: Any) -> _Reference:
    names = [t.name for t in model.outputs]
    if isinstance(given, Mapping):
        words = "outputs given as arrays"
        arrays = {str(n): as_array(a, f"The reference for {n!r}") for n, a in given.items()}
    else:
        words = f"outputs in {Path(given).name}"
        arrays = dict(read_folder(given, "batch").arrays)
    if len(names) == 1 and set(arrays) == {""}:
        arrays = {names[0]: arrays[""]}
    if set(arrays) != set(names):
        raise SpecError(
            f"The reference has arrays for {', '.join(map(repr, arrays)) or 'nothing'}; "
            f"{model.name} has the outputs {', '.join(map(repr, names))}.",
            hint="Give one array for each output, by its name.",
        )
    check_arrays(arrays)
    return _Reference(words, arrays=Dataset(arrays, None, words, content_hash(arrays)))


def _origin(model: Model, store: Store) -> Model:
    """Return the nearest FP32 model that this one was made from, or the first of all.

    Raises:
        SpecError: it was made from nothing that is known, or that is gone.
    """
    found = model
    while found.parent is not None and (found is model or found.recipe != "fp32"):
        parent = next((m for m in store.models_with_hash(found.parent) if _is_there(m)), None)
        if parent is None:
            raise SpecError(
                f"The model that {found.name} was made from ({found.parent[:12]}) is not here "
                "any more.",
                hint="Load it again, or name another reference: its path, or arrays.",
            )
        found = parent
    if found is model:
        raise SpecError(
            f"{model.name} ({model.recipe}) does not tell what it was made from.",
            hint="Name its FP32 original as reference: --reference model.onnx.",
        )
    return found


def _is_there(model: Model) -> bool:
    try:
        check_unchanged(model)
    except ModelError:
        return False
    return True


def _types(model: Model, store: Store) -> frozenset[str]:
    """Return the recipes' names of the types narrower than FP32 that the graph has."""
    names = {"float16": "fp16", "bfloat16": "bf16", "float8_e4m3fn": "fp8"}
    found = {t.dtype for t in graph_of(model, store).tensors.values()}
    return frozenset(names[t] for t in found if t in names)


def _arithmetic(
    model: Model, types: frozenset[str], asked: Arithmetic | None, provider: str
) -> Arithmetic:
    if "bf16" in types and (provider == "cpu" or asked == "emulated"):
        raise UnsupportedError(
            "ONNX Runtime's CPU has no BF16 convolution, and BF16 is not emulated.",
            hint="Run on a GPU (provider cuda).",
        )
    pretended = types & ({"fp16", "fp8"} if provider == "cpu" else {"fp8"})
    if asked == "as run" and pretended:
        kinds = " and ".join(sorted(pretended)).upper()
        raise UnsupportedError(
            f"On {provider} ONNX Runtime computes {kinds} of {model.name} in FP32: that would "
            "not be its accuracy.",
            hint="Leave arithmetic out, or give 'emulated'.",
        )
    return asked or ("emulated" if pretended else "as run")


def _check_sense(
    model: Model, reference: _Reference, arithmetic: Arithmetic, per_node: bool
) -> None:
    itself = reference.model is not None and reference.model.hash == model.hash
    if per_node and reference.model is None:
        raise SpecError(
            "Node by node a model is compared with a model, not with arrays.",
            hint="Give the FP32 model as reference.",
        )
    if itself and (per_node or arithmetic == "emulated"):
        raise SpecError(
            f"{model.name} would be compared with itself.",
            hint="Name another model as reference: --reference model.onnx.",
        )
    theirs = () if reference.model is None else reference.model.inputs
    if theirs and {t.name for t in theirs} != {t.name for t in model.inputs}:
        raise SpecError(
            f"{model.name} and its reference have inputs of different names.",
            hint="Name the model that it was converted from.",
        )


def _data(
    model: Model,
    reference: _Reference,
    given: Any,
    labels: Any,
    samples: int | None,
    seed: int,
) -> Dataset:
    """Return samples in the types of the reference, which are the wider ones."""
    inputs = model.inputs if reference.model is None else reference.model.inputs
    taker = replace(model, inputs=inputs)
    if labels is None:
        return labelled_data_for(taker, given, samples=samples, seed=seed)
    data = labelled_data_for(taker, given)
    if data.random:
        raise SpecError("Random data has no labels.", hint="Give the samples they belong to.")
    values = _labels_in(labels) if isinstance(labels, str | os.PathLike) else labels
    data = replace(data, labels=as_labels(values, len(data)))
    return data if samples is None else data.take(samples, seed)


def _labels_in(file: str | os.PathLike[str]) -> Any:
    path = Path(file)
    if path.suffix in (".npy", ".npz"):
        return next(iter(read_folder(path, "batch").arrays.values()))
    try:
        return [int(line) for line in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a line is no whole number"
        raise SpecError(
            f"The labels in {path.name} cannot be read: {reason}.",
            hint="Give a .npy file, or text with one class number in a line.",
        ) from error


def _check_counts(model: Model, reference: _Reference, data: Dataset) -> None:
    if reference.arrays is not None and len(reference.arrays) != len(data):
        raise SpecError(
            f"The reference has {len(reference.arrays):,} samples, the data {len(data):,}.",
            hint=f"Give the outputs of {model.name}'s reference for just these samples.",
        )


def _batch_of(model: Model, reference: _Reference, asked: int | None, samples: int) -> int | None:
    """Return the batch that both models take; None leaves the choice to the job."""
    fixed = {fixed_batch(model.inputs, model.name)}
    if reference.model is not None:
        fixed.add(fixed_batch(reference.model.inputs, reference.model.name))
    sizes = fixed - {None}
    if asked is not None:
        sizes.add(asked)
    if len(sizes) > 1:
        raise SpecError(
            f"Batches of {' and '.join(f'{s:,}' for s in sorted(s for s in sizes if s))} do not "
            "go together.",
            hint="A model with a fixed batch runs in no other one.",
        )
    size = next(iter(sizes), None)
    if size is not None and fixed != {None} and samples % size:
        raise SpecError(
            f"{model.name} runs in batches of {size:,} only; {samples:,} samples do not fill "
            "them.",
            hint=f"Take a multiple of {size:,} samples, or make the batch dynamic.",
        )
    return size


def _written(data: Dataset, folder: Path) -> SampleFiles:
    folder.mkdir()
    return write_samples(data, folder)


def _hash(labels: Any) -> str:
    return hashlib.sha256(labels.tobytes()).hexdigest()


def _doubts(
    model: Model,
    data: Dataset,
    types: frozenset[str],
    arithmetic: Arithmetic,
    provider: str,
    result: Found,
) -> list[Caveat]:
    found = []
    nodes = len(result.nodes or ())
    from trtlab.analysis.node_errors import SAMPLES_A_NODE

    if len(data) < SAMPLES_A_NODE * nodes:
        found.append(
            Caveat(
                "few-samples",
                f"{len(data):,} samples for {nodes:,} nodes: only large effects can be told.",
                f"Give {SAMPLES_A_NODE * nodes:,} samples or more to rank the others.",
            )
        )
    if data.random:
        found.append(
            Caveat(
                "random-data",
                "The inputs are random numbers: errors on them say nothing of real inputs.",
                "Give real samples.",
            )
        )
    calibration = model.conversion.calibration if model.conversion else None
    if calibration is not None and calibration.hash == data.hash:
        found.append(
            Caveat(
                "calibration-data",
                "The model was calibrated on these very samples.",
                "Compare on others, which neither training nor calibration has seen.",
            )
        )
    if arithmetic == "as run" and provider == "cpu" and "fp16" in types:
        found.append(
            Caveat(
                "computed-in-fp32",
                "ONNX Runtime's CPU computes this plan's FP16 in FP32.",
                "Compare the model instead of the plan: FP16 is then emulated.",
            )
        )
    if data.labels is not None and result.labels is None:
        found.append(
            Caveat(
                "no-classes",
                "The data has labels, but no output names classes ([samples, classes]).",
                "Nothing: the errors of the outputs count.",
            )
        )
    return found
