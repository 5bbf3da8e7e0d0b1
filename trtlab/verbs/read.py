"""``read``: other tools' files, trtlab's own records and bundles → records, joined by name."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtlab.errors import MismatchError, PlanError, RecordError, SpecError
from trtlab.formats.bundle import linked, read_bundle
from trtlab.formats.engine_layers import LayersRead, built_ahead
from trtlab.formats.json_file import shown
from trtlab.formats.onnxruntime_profile import NodeTimes
from trtlab.formats.run_facts import RunFacts
from trtlab.formats.trtexec_times import TimesRead
from trtlab.model.printing import printable
from trtlab.record import (
    UNKNOWN_RECIPE,
    Accuracy,
    Bundle,
    EngineLayer,
    Environment,
    HostMemory,
    LayerProfile,
    LayerTiming,
    Measurement,
    ModelRef,
    Plan,
    Run,
    RunLine,
    WorkspaceCurve,
)
from trtlab.shown import Shown
from trtlab.spec import (
    TENSORRT,
    BuildConfig,
    Caveat,
    RunConfig,
    Setup,
    Shape,
    input_shapes,
    profile_of,
)
from trtlab.store import Record, Store, key_of, record_id
from trtlab.verbs.benchmark import doubts
from trtlab.verbs.recorded_files import Dump, Found, Layers, collect, is_bundle

if TYPE_CHECKING:
    import pandas as pd

_OF_PROFILE = re.compile(r" \[profile (\d{1,9})\]")
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
    accuracy: Accuracy | None = None

    @property
    def records(
        self,
    ) -> tuple[Plan | LayerProfile | Measurement | WorkspaceCurve | Accuracy, ...]:
        """The records that there are."""
        several = (self.plan, self.profile, self.measurement, self.workspace, self.accuracy)
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


def read(*paths: str | os.PathLike[str], name: str | None = None) -> Recorded | Bundle:
    """Read files that tell of one engine, or a bundle of runs. Nothing is kept in the store.

    Layers and times are joined by the layers' names, one to one.

    Args:
        paths: Files, or folders whose files are taken (those of no known kind are named in
            ``skipped``): trtexec's exports, a set of trt-engine-explorer, logs of TensorRT, an
            optimised model and a profile of ONNX Runtime, trtlab's own records. Or one bundle,
            that ``trtlab.export`` wrote.
        name: What to call the model; default is the folder's or the file's name. Records of
            trtlab keep theirs.

    Raises:
        RecordError: a file cannot be read; the message says which and why.
        MismatchError: files do not tell of one engine: names without a partner, names that are
            there twice, two files of one kind.
    """
    if len(paths) == 1 and is_bundle(paths[0]):
        return read_bundle(Path(paths[0]))
    return read_engine(*paths, name=name)


def read_engine(*paths: str | os.PathLike[str], name: str | None = None) -> Recorded:
    """Read files that tell of one engine; as ``read``, without bundles."""
    found = collect(paths)
    return _recorded(found, found.name if name is None else printable(name))


def run_of(recorded: Recorded) -> Run:
    """Return what files told of one engine as a run, as far as it is known.

    Raises:
        SpecError: they told neither layers nor times.
    """
    plan, profile, measured = recorded.plan, recorded.profile, recorded.measurement
    main = measured or profile or plan
    if main is None:
        raise SpecError(
            "There is no run in what was read.", hint="Read a file of layers or of times."
        )
    config = main.config if isinstance(main, Plan) else main.build
    missing = {}
    if measured is None:
        missing["measurement"] = "the files that were read tell no times of inferences"
    if profile is None:
        missing["profile"] = "the files that were read tell no times of layers"
    if recorded.accuracy is None:
        missing["accuracy"] = "the files that were read tell no accuracy"
    run = Run(
        line=RunLine(
            model=main.model,
            origin=None,
            made=main.model,
            setup=_setup_of(plan, config, measured or profile),
            missing=missing,
            environment=main.environment,
            source=main.source,
        ),
        plan=plan,
        ran=plan if measured or profile else None,
        measurement=measured,
        profile=profile,
        accuracy=recorded.accuracy,
    )
    return linked(run)


def _setup_of(
    plan: Plan | None, config: BuildConfig, ran: Measurement | LayerProfile | None
) -> Setup:
    """Return the setup that would ask for this engine and this run."""
    on_tensorrt = config.backend in TENSORRT
    run = ran.run if ran is not None else RunConfig()
    batch = ran.batch if ran is not None and run.batch is None else run.batch
    batches = _batches(plan, config)
    if batches is not None and batch is not None and not batches[0] <= batch <= batches[2]:
        batches = None
    target = config.target[0] if on_tensorrt and config.target != ("current",) else None
    return Setup(
        batches=batches,
        batch=batch,
        shapes=run.shapes,
        workspace_bytes=config.workspace_bytes,
        tf32=config.tf32,
        builder=config.backend,
        target=target,
        runner=None if ran is None else config.backend,
        provider=config.provider,
        streams=run.streams,
        threads=run.threads,
        quick=run.quick,
    )


def _batches(plan: Plan | None, config: BuildConfig) -> tuple[int, int, int] | None:
    """Return smallest, optimal and largest batch, where that is all there is to the profile."""
    if plan is None or len(config.profiles) != 1:
        return None
    for each in config.profiles[0].values():
        if all(each):
            batches = (each.min[0], each.opt[0], each.max[0])
            try:
                whole = profile_of(plan.inputs, batches) == config.profiles[0]
            except SpecError:
                return None
            return batches if whole else None
    return None


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


def keep(found: Recorded | Bundle, store: Store) -> tuple[str, ...]:
    """Put the records into the store; returns their ids, of a bundle those of its runs.

    They lie under keys of their own: no build and no sweep takes them for its own results. The
    graphs of a bundle are not kept: that they are those of the models they name cannot be checked.

    Raises:
        PlanError: a plan names plugin libraries, which are code: the store holds only what was
            built here with them.
        StoreError: the disk is full or not writable.
    """
    if isinstance(found, Recorded):
        return _kept(found.records, store)
    runs = [linked(run) for run in found.runs]
    parts = [(run.plan, run.ran, run.measurement, run.profile, run.accuracy) for run in runs]
    # The lines come last: a line in the store leads to records that are there.
    records = [record for several in parts for record in several if record is not None]
    _kept((*records, *found.workspaces), store)
    return _kept([run.line for run in runs], store)


def _kept(records: Sequence[Record], store: Store) -> tuple[str, ...]:
    for record in records:
        if isinstance(record, Plan) and record.config.plugin_libraries:
            raise PlanError(
                f"The plan of {record.model.name} needs plugin libraries, so it is not imported.",
                hint="Build it here, naming the libraries.",
            )
    return tuple(store.put(r, key_of("imported", record_id(r))) for r in records)


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
        if isinstance(part, Layers):
            plan = _tensorrt_plan(part, model, facts, environment)
        elif isinstance(part, Dump):
            plan = _onnxruntime_plan(part, model)
        shapes, batch = _shapes(plan, facts)
        if plan is not None:
            return cls(plan.model, plan, facts, environment, plan.config, shapes, batch)
        build = BuildConfig(backend="tensorrt", target=(facts.target or "current",))
        return cls(model, None, facts, environment, build, shapes, batch)


def _recorded(found: Found, name: str) -> Recorded:
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
        tuple(found.skipped),
        parts.get("an accuracy"),
    )


def _tensorrt_plan(
    part: Layers, model: ModelRef, facts: RunFacts, environment: Environment
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


def _onnxruntime_plan(part: Dump, model: ModelRef) -> Plan:
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
