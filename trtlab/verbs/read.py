"""``read``: other tools' files, and trtlab's own record files → records.

What a file is, its content tells. Nothing in it is run; ONNX models are opened in a worker.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtlab import worker
from trtlab.errors import MismatchError, ModelError, PlanError, RecordError, SpecError
from trtlab.formats import onnxruntime_profile
from trtlab.formats.builder_log import read_log
from trtlab.formats.engine_inspector import layers_of
from trtlab.formats.engine_layers import LayersRead, built_ahead
from trtlab.formats.json_file import decoded, shown, text_of
from trtlab.formats.onnxruntime_profile import NodeTimes
from trtlab.formats.run_facts import RunFacts, facts_of
from trtlab.formats.trtexec_profile import is_profile, read_profile, read_profile_lines
from trtlab.formats.trtexec_times import TimesRead, is_times, read_times
from trtlab.model.printing import printable
from trtlab.model.types import Tensor
from trtlab.record import (
    UNKNOWN_RECIPE,
    EngineLayer,
    Environment,
    HostMemory,
    LayerProfile,
    LayerTiming,
    Measurement,
    ModelRef,
    Plan,
    Shown,
    WorkspaceCurve,
)
from trtlab.spec import TENSORRT, BuildConfig, Caveat, RunConfig, Shape, input_shapes
from trtlab.store import Record, Store, key_of, read_record, record_id
from trtlab.units import text_from_bytes
from trtlab.verbs.benchmark import doubts
from trtlab.worker import Progress

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES = 32 * 2**20
"""A larger JSON or text file is refused before it is read. Recorded ones take up to 3 MB; what
JSON holds takes up to 45 times its bytes in memory."""

MAX_FILES = 100
"""Most files in a folder that is read."""

_NAME_ENDINGS = re.compile(
    r"(?:\.(?:graph|profile|timing|metadata|build|engine|plan|trt|onnx|json|log|txt))+$"
)
_OF_PROFILE = re.compile(r" \[profile (\d{1,9})\]")
_JSON = re.compile(rb"\s*(?:\{|\[\s*(?:\{|\]|\Z))")
_HEAD = 4096
_ONNX = b"\x08"
"""The tag of the first field of an ONNX model, ``ir_version``."""

_DUMP_MARK = "com.microsoft.nchwc"
"""An operator set that every model imports that ONNX Runtime dumped, and no exporter knows."""

_READS = (
    "trtlab reads what trtexec exports (layers, profile, times), sets of trt-engine-explorer, "
    "TensorRT's logs with a list of layers, ONNX Runtime's optimised models and profiles, and its "
    "own records."
)
_EXPORT_BOTH = (
    "Export both from one engine: trtexec --exportLayerInfo=FILE --exportProfile=FILE "
    "--profilingVerbosity=detailed."
)


@dataclass(frozen=True, slots=True, repr=False)
class Recorded(Shown):
    """What files told of one engine.

    Attributes:
        skipped: Names of files in a folder that hold nothing to read.
    """

    plan: Plan | None = None
    profile: LayerProfile | None = None
    measurement: Measurement | None = None
    workspace: WorkspaceCurve | None = None
    skipped: tuple[str, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        """The records that there are."""
        several = (self.plan, self.profile, self.measurement, self.workspace)
        return tuple(record for record in several if record is not None)

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, record by record."""
        rows = [row for record in self.records for row in record.rows()]
        if self.plan is not None and self.profile is not None:
            timed, all_ = len(self.profile.layers), len(self.plan.layers or ())
            rows.append(("layers with a time", f"{timed} of {all_}, joined by name"))
        if self.skipped:
            rows.append(("nothing read from", printable(", ".join(self.skipped))))
        return rows

    @property
    def df(self) -> pd.DataFrame:
        """One row a layer: what it is, as in ``plan.df``, and its times (ms) and share.

        Raises:
            SpecError: the files told of no layers.
        """
        import pandas as pd

        if self.plan is None:
            if self.profile is None:
                raise SpecError("No layers were read.", hint="Read a file of layers or times.")
            return self.profile.df
        columns = self.plan.columns()
        if self.profile is not None:
            columns |= _times_columns(columns["layer"], self.profile)
        return pd.DataFrame(columns)


def read(*paths: str | os.PathLike[str], name: str | None = None) -> Recorded:
    """Read files that tell of one engine: its layers, their times, the run's times and settings.

    Layers and times are joined by the layers' names, one to one. Nothing is kept in the store.

    Args:
        paths: Files, or folders whose files are taken (those of no known kind are named in
            ``skipped``): trtexec's exports, a set of trt-engine-explorer, logs of TensorRT, an
            optimised model and a profile of ONNX Runtime, trtlab's own records.
        name: What to call the model; default is the folder's or the file's name. Records of
            trtlab keep theirs.

    Raises:
        RecordError: a file cannot be read; the message says which and why.
        MismatchError: files do not tell of one engine: names without a partner, names that are
            there twice, two files of one kind.
    """
    if not paths:
        raise SpecError("No file was given.", hint="Give the path of a file or a folder.")
    found = _Found()
    skipped = []
    files = list(_files([_path(p) for p in paths]))
    for file in files:
        try:
            _take(file, found)
        except _UnknownKind as error:
            if not file.in_folder:
                raise RecordError(f"{file.name} {error}", hint=_READS) from error
            skipped.append(file.name)
    if not found.parts:
        raise RecordError("There is no layer and no time in what was read.", hint=_READS)
    if name is None:
        name = _name_of(_path(paths[0]), is_folder=files[0].in_folder)
    return replace(_recorded(found, printable(name)), skipped=tuple(skipped))


def _times_columns(layers: Sequence[str], profile: LayerProfile) -> dict[str, list[float | None]]:
    """Return the layers' times by column; None where a layer has none."""
    times = {timing.name: i for i, timing in enumerate(profile.layers)}
    places = [times.get(name) for name in layers]
    columns: dict[str, list[float | None]] = {
        "median_ms": [timing.median_ms for timing in profile.layers],
        "average_ms": [timing.average_ms for timing in profile.layers],
        "share": [*profile.shares()],
    }
    return {
        name: [None if i is None else values[i] for i in places]
        for name, values in columns.items()
    }


def keep(found: Recorded, store: Store) -> tuple[str, ...]:
    """Put the records into the store; returns their ids.

    They lie under keys of their own: no build and no sweep takes them for its own results.

    Raises:
        PlanError: a plan names plugin libraries, which are code: the store holds only what was
            built here with them.
        StoreError: the disk is full or not writable.
    """
    if found.plan is not None and found.plan.config.plugin_libraries:
        raise PlanError(
            f"The plan of {found.plan.model.name} needs plugin libraries, so it is not imported.",
            hint="Build it here, naming the libraries.",
        )
    return tuple(store.put(r, key_of("imported", record_id(r))) for r in found.records)


# Files


class _UnknownKind(Exception):  # noqa: N818 - it is caught here, and no error in a folder
    """A file that holds nothing to read; its text says what it is instead."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    status: os.stat_result
    in_folder: bool

    @property
    def name(self) -> str:
        """Its name, safe to print."""
        return printable(self.path.name)


@dataclass(frozen=True, slots=True)
class _Layers:
    read: LayersRead
    hash: str


@dataclass(frozen=True, slots=True)
class _Dump:
    """ONNX Runtime's optimised model."""

    layers: tuple[EngineLayer, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weight_bytes: int | None
    hash: str
    size: int


_SLOTS: dict[type, str] = {
    _Layers: "layers of an engine",
    _Dump: "layers of an engine",
    Plan: "layers of an engine",
    tuple: "layer times",
    NodeTimes: "layer times",
    LayerProfile: "layer times",
    TimesRead: "times of inferences",
    Measurement: "times of inferences",
    WorkspaceCurve: "a workspace curve",
}
"""What each part tells of an engine; of each kind there is one."""


@dataclass(slots=True)
class _Found:
    """What the files held: by what it tells, the file's name and the part."""

    parts: dict[str, tuple[str, Any]] = field(default_factory=dict)
    facts: list[RunFacts] = field(default_factory=list)

    def add(self, file: str, part: object) -> None:
        slot = _SLOTS[type(part)]
        if slot in self.parts:
            raise MismatchError(
                f"{self.parts[slot][0]} and {file} both hold {slot}.",
                hint="Read the files of one engine at a time.",
            )
        self.parts[slot] = (file, part)


def _path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise SpecError(f"A {type(path).__name__} is no path.", hint="Give the path of a file.")
    return Path(os.fsdecode(path))


def _name_of(path: Path, *, is_folder: bool) -> str:
    """Return a folder's name, or a file's without its endings."""
    name = path.resolve().name if path.name in ("", "..") else path.name
    return name if is_folder else _NAME_ENDINGS.sub("", name) or name


def _files(paths: Sequence[Path]) -> Iterator[_File]:
    """Yield every file: those that are named, and those in folders that are."""
    for path in paths:
        try:
            status = path.stat()
            if not stat.S_ISDIR(status.st_mode):
                yield _File(path, status, in_folder=False)
                continue
            inside = [(p, p.stat()) for p in sorted(path.iterdir()) if p.is_file()]
        except (OSError, ValueError) as error:
            raise _not_opened(path, error) from error
        if len(inside) > MAX_FILES:
            raise RecordError(
                f"{printable(path.name)} holds {len(inside):,} files, more than {MAX_FILES}.",
                hint="Give the files themselves.",
            )
        yield from (_File(p, s, in_folder=True) for p, s in inside)


def _not_opened(path: Path, error: Exception) -> RecordError:
    reason = getattr(error, "strerror", None) or "its name cannot be used"
    name = printable(path.name)
    return RecordError(
        f"{name if len(name) < 80 else name[:40] + '…'} was not opened: {reason}.",
        hint="Check the path.",
    )


def _take(file: _File, found: _Found) -> None:
    """Read one file into ``found``."""
    if not stat.S_ISREG(file.status.st_mode):
        raise _UnknownKind("is no regular file.")
    size = file.status.st_size
    try:
        with file.path.open("rb") as stream:
            head = stream.read(_HEAD)
            if head.startswith(_ONNX):
                found.add(file.name, _dumped(file.path))
                return
            if b"\0" in head:
                raise _UnknownKind("is a binary file, and no ONNX model.")
            if size > MAX_BYTES:
                raise RecordError(
                    f"{file.name} takes {text_from_bytes(size)}; trtlab reads files of up to "
                    f"{text_from_bytes(MAX_BYTES)}.",
                    hint="Files of real engines take a few MB: profile fewer runs, or cut it.",
                )
            data = head + stream.read(max(0, size - len(head)))
    except OSError as error:
        raise _not_opened(file.path, error) from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    if _JSON.match(data):
        _take_json(file, data, found)
    else:
        _take_text(file.name, data, found)


def _take_json(file: _File, data: bytes, found: _Found) -> None:
    name = file.name
    try:
        content = decoded(data, name)
    except RecordError:
        times = read_profile_lines(text_of(data, name), name)
        if times is None:
            raise
        found.add(name, times)
        return
    if isinstance(content, dict) and {"schema_version", "kind", "record"} <= content.keys():
        found.add(name, read_record(file.path))
    elif is_profile(content):
        found.add(name, read_profile(content, name))
    elif is_times(content):
        found.add(name, read_times(content, name))
    elif onnxruntime_profile.is_events(content):
        found.add(name, onnxruntime_profile.read_events(content, name))
    elif _is_layers(content):
        layers = layers_of(content)
        if layers.layers is None:
            raise RecordError(
                f"{name} lists layers in a form that trtlab does not know.",
                hint="Write it again with trtexec --exportLayerInfo=FILE.",
            )
        found.add(name, _Layers(layers, hashlib.sha256(data).hexdigest()))
    elif (facts := facts_of(content)) is not None:
        found.facts.append(facts)
    else:
        raise _UnknownKind("is JSON of no known kind.")


def _is_layers(content: Any) -> bool:
    if isinstance(content, dict):
        return "Layers" in content
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and "LayerType" in first


def _take_text(name: str, data: bytes, found: _Found) -> None:
    try:
        text = text_of(data, name)
    except RecordError as error:
        raise _UnknownKind(f"is neither JSON nor UTF-8 text ({error.message}).") from error
    log = read_log(text, name)
    if log.layers is not None:
        found.add(name, _Layers(log.layers, hashlib.sha256(data).hexdigest()))
    if log.times is not None:
        found.add(name, log.times)
    if log.facts != RunFacts():
        found.facts.append(log.facts)
    elif log.layers is None and log.times is None:
        raise _UnknownKind("is a text without a list or table of layers.")


@dataclass(frozen=True, slots=True)
class _DumpSpec:
    path: str


def _dumped(path: Path) -> _Dump:
    try:
        return worker.run(_dump_job, _DumpSpec(str(path.absolute()))).result
    except UnicodeEncodeError as error:
        raise _UnknownKind("has a name that is not UTF-8.") from error
    except ModelError as error:
        raise _UnknownKind(f"is no ONNX model that can be read: {error.message}") from error
    except RecordError as error:
        raise _UnknownKind(error.message) from error


def _dump_job(spec: _DumpSpec, progress: Progress) -> _Dump:
    import onnx

    from trtlab.backends.onnxruntime import read_layers
    from trtlab.model.reading import read_model

    progress("check model", 0, 1)
    path = Path(spec.path)
    model, _ = read_model(path)
    opsets = onnx.load(path, load_external_data=False).opset_import
    if _DUMP_MARK not in {opset.domain for opset in opsets}:
        raise RecordError(
            "is a model, and none that ONNX Runtime optimised: trtlab.load opens it."
        )
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    weights = model.weight_bytes
    return _Dump(read_layers(path), model.inputs, model.outputs, weights, content, size)


# Records


@dataclass(frozen=True, slots=True)
class _About:
    """What all records of one engine share."""

    model: ModelRef
    plan: Plan | None
    facts: RunFacts
    environment: Environment
    build: BuildConfig
    shapes: Mapping[str, Shape]
    batch: int | None

    @property
    def plan_hash(self) -> str | None:
        return None if self.plan is None else self.plan.hash

    @classmethod
    def of(cls, part: Any, facts: RunFacts, name: str) -> _About:
        """Make the plan of what told of layers, and return it with what goes for all."""
        model = ModelRef(name, None, facts.precisions or UNKNOWN_RECIPE)
        versions = {} if facts.tensorrt is None else {"tensorrt": facts.tensorrt}
        environment = Environment(packages=versions, gpu=facts.gpu)
        plan = part if isinstance(part, Plan) else None
        if isinstance(part, _Layers):
            plan = _tensorrt_plan(part, model, facts, environment)
        elif isinstance(part, _Dump):
            plan = _onnxruntime_plan(part, model)
        shapes, batch = _shapes(plan, facts)
        if plan is not None:
            return cls(plan.model, plan, facts, environment, plan.config, shapes, batch)
        build = BuildConfig(backend="tensorrt", target=(facts.target or "current",))
        return cls(model, None, facts, environment, build, shapes, batch)


def _recorded(found: _Found, name: str) -> Recorded:
    """Make records of what was found, and join them."""
    facts = RunFacts()
    for each in sorted(found.facts, key=lambda f: f.cuda_graph is None):  # the run's own first
        facts = facts.completed(each)
    parts = {slot: part for slot, (_, part) in found.parts.items()}
    about = _About.of(parts.get("layers of an engine"), facts, name)
    return Recorded(
        about.plan,
        _profile(parts.get("layer times"), about),
        _measurement(parts.get("times of inferences"), about),
        parts.get("a workspace curve"),
    )


def _tensorrt_plan(
    part: _Layers, model: ModelRef, facts: RunFacts, environment: Environment
) -> Plan:
    read = part.read
    return Plan(
        hash=part.hash,
        model=model,
        model_path=None,
        inputs=read.inputs,
        outputs=read.outputs,
        weight_bytes=None,
        config=BuildConfig(
            backend="tensorrt_rtx" if built_ahead(read.layers or ()) else "tensorrt",
            target=(facts.target or "current",),
            profiling_verbosity="LAYER_NAMES_ONLY" if read.names_only else "DETAILED",
        ),
        build_seconds=None,
        plan_bytes=None,
        layers=read.layers,
        memory=None,
        messages=(),
        peak_rss_bytes=None,
        environment=environment,
        caveats=_layer_doubts(read),
        source="recorded",
    )


def _onnxruntime_plan(part: _Dump, model: ModelRef) -> Plan:
    return Plan(
        hash=part.hash,
        model=model,
        model_path=None,
        inputs=part.inputs,
        outputs=part.outputs,
        weight_bytes=part.weight_bytes,
        config=BuildConfig(),
        build_seconds=None,
        plan_bytes=part.size,
        layers=part.layers,
        memory=None,
        messages=(),
        peak_rss_bytes=None,
        environment=Environment(),
        source="recorded",
    )


def _layer_doubts(read: LayersRead) -> tuple[Caveat, ...]:
    if read.unread:
        known = sum(layer.type != "unread" for layer in read.layers or ())
        return (
            Caveat(
                "layers-unread",
                f"Not all that the file says of layers was understood: {len(read.unread)} parts "
                f"beside {known} layers.",
                "The list may not be the whole engine; what was not understood is in its place.",
            ),
        )
    if read.names_only:
        return (
            Caveat(
                "names-only",
                "The file tells no more of the layers than their names.",
                "Build with detailed profiling verbosity (trtexec --profilingVerbosity=detailed).",
            ),
        )
    return ()


def _shapes(plan: Plan | None, facts: RunFacts) -> tuple[Mapping[str, Shape], int | None]:
    """Return the input shapes of the run and its batch, as far as both are sure."""
    if plan is None:
        return facts.shapes, None
    names = {tensor.name for tensor in plan.inputs}
    known = {name: shape for name, shape in facts.shapes.items() if name in names}
    try:
        shapes, batch = input_shapes(plan.inputs, plan.outputs, RunConfig(shapes=known))
    except SpecError:  # axes without a size
        return known, None
    return shapes, batch if batch and plan.inputs else None


def _profile(part: Any, about: _About) -> LayerProfile | None:
    if part is None:
        return None
    if isinstance(part, LayerProfile):
        return _own_profile(part, about.plan)
    if isinstance(part, NodeTimes):
        if about.plan is not None:
            _check_fit(about.plan, [layer.name for layer in part.layers])
        return _of_nodes(part, about)
    types: Mapping[str, str] = {}
    if about.plan is not None:
        types = _check_fit(about.plan, [name for name, _ in part])
    layers = [
        LayerTiming(name, types.get(name, ""), "", None, (), None, summary)
        for name, summary in part
    ]
    return _of_layers(tuple(layers), about)


def _check_same_plan(record: LayerProfile | Measurement, plan: Plan | None) -> None:
    if plan is not None and record.plan not in (None, plan.hash):
        raise MismatchError(
            f"The {record.kind} and the layers are of different plans.",
            hint="Read the files of one engine at a time.",
        )


def _own_profile(profile: LayerProfile, plan: Plan | None) -> LayerProfile:
    _check_same_plan(profile, plan)
    if plan is None or profile.plan is not None:
        return profile
    types = _check_fit(plan, [layer.name for layer in profile.layers])
    layers = tuple(replace(y, type=y.type or types[y.name]) for y in profile.layers)
    return replace(profile, plan=plan.hash, layers=layers)


def _of_layers(layers: tuple[LayerTiming, ...], about: _About) -> LayerProfile:
    profile = LayerProfile(
        model=about.model,
        plan=about.plan_hash,
        build=about.build,
        run=RunConfig(),
        batch=about.batch,
        time_kind="gpu",
        layers=layers,
        runs_ns=None,
        environment=about.environment,
        source="recorded",
    )
    if profile.runs != 1:
        return profile
    doubt = Caveat(
        "single-run",
        "Every layer was timed once: how much the times vary is not known.",
        "Profile more than one run.",
    )
    return replace(profile, caveats=(doubt,))


def _of_nodes(times: NodeTimes, about: _About) -> LayerProfile:
    on_gpu = any(layer.provider.startswith("CUDA") for layer in times.layers)
    return LayerProfile(
        model=about.model,
        plan=about.plan_hash,
        build=BuildConfig(provider="cuda" if on_gpu else "cpu"),
        run=RunConfig(),
        batch=about.batch,
        time_kind="host-launch" if on_gpu else "cpu",
        layers=times.layers,
        runs_ns=times.runs_ns,
        environment=about.environment,
        source="recorded",
    )


def _measurement(part: Any, about: _About) -> Measurement | None:
    if isinstance(part, Measurement):
        _check_same_plan(part, about.plan)
    if part is None or isinstance(part, Measurement):
        return part
    times: TimesRead = part
    facts = about.facts
    if about.build.backend not in TENSORRT:
        raise MismatchError(
            f"The layers are of {about.build.backend}, the times of trtexec.",
            hint="Read the files of one engine at a time.",
        )
    try:
        windows = times.windows(facts.warm_up_ms)
        run = RunConfig(
            streams=facts.streams or 1,
            cuda_graph=facts.cuda_graph,
            transfers=times.contents == "compute+transfers",
        )
    except (ValueError, SpecError) as error:
        raise RecordError(
            f"The times of inferences cannot be used: {error}.",
            hint="Write them again with trtexec --exportTimes=FILE.",
        ) from error
    made = Measurement(
        model=about.model,
        plan=about.plan_hash,
        build=about.build,
        run=run,
        provider="TensorRT",
        batch=about.batch,
        shapes=about.shapes,
        contents=times.contents,
        windows=windows,
        steady_from=len(windows) - 1,
        stable=None,
        warm_up=None,
        first_call_ns=None,
        load_seconds=None,
        cpu_ns_per_call=None,
        other_load=None,
        memory=HostMemory(),
        energy_joules=None,
        energy_note="the files tell none",
        environment=about.environment,
        source="recorded",
    )
    caveats = doubts(made)
    if facts.cuda_graph is None or facts.streams is None or facts.warm_up_ms is None:
        caveats += (
            Caveat(
                "settings-unknown",
                "The files do not tell whether a CUDA graph ran, how many streams there were and "
                "whether warm-up is among the times.",
                "Read the log of the run together with them, or TREx's *.profile.metadata.json.",
            ),
        )
    return replace(made, caveats=caveats)


def _check_fit(plan: Plan, timed: Sequence[str]) -> Mapping[str, str]:
    """Return the types of a plan's layers by name, once every timed name has just one layer.

    The times of an engine with several optimization profiles are those of one: then only its
    layers need times.

    Raises:
        MismatchError: a name is there twice, or on one side alone.
    """
    layers, names = plan.layers or (), set(timed)
    types = {layer.name: layer.type for layer in layers}
    if len(types) < len(layers) or len(names) < len(timed):
        counts = [Counter(layer.name for layer in layers), Counter(timed)]
        twice = {n for count in counts for n, times in count.items() if times > 1}
        raise MismatchError(
            f"Layers and times cannot be joined: {_names(twice)} there more than once.",
            hint="Only names tell which time is which layer's.",
        )
    if names == types.keys():
        return types
    without = [name for name in _layers_run(layers, timed) if name not in names]
    unknown = [name for name in timed if name not in types]
    if without or unknown:
        said = []
        if without:
            said.append(f"{len(without)} of {len(layers)} layers have no time: {_names(without)}")
        if unknown:
            said.append(f"{len(unknown)} times are of no layer: {_names(unknown)}")
        raise MismatchError(f"Layers and times do not fit: {'; '.join(said)}.", hint=_EXPORT_BOTH)
    return types


def _layers_run(layers: Sequence[EngineLayer], timed: Sequence[str]) -> Iterable[str]:
    """Return the names of the layers of the optimization profile that ran.

    The builder lists the layers of each in turn and marks most names: ``conv [profile 1]``.
    """
    ran = {int(m[1]) for name in timed if (m := _OF_PROFILE.search(name))}
    if len(ran) > 1:
        return [layer.name for layer in layers]
    number = max(ran, default=0)
    current, found = 0, []
    for layer in layers:
        if mark := _OF_PROFILE.search(layer.name):
            current = int(mark[1])
        if current == number:
            found.append(layer.name)
    return found


def _names(names: Iterable[str]) -> str:
    """Name the first few."""
    several = sorted(names)
    text = ", ".join(shown(name) for name in several[:3])
    return text if len(several) <= 3 else f"{text} and {len(several) - 3} more"
