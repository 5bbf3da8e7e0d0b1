"""Bundles through the verbs: export, read, keep; a run from other tools' files."""

from dataclasses import replace

import pytest

import trtlab
from tests import accuracies, making
from tests import whole_runs as running
from trtlab.errors import MismatchError, PlanError, RecordError, SpecError
from trtlab.formats.engine_inspector import layers_json
from trtlab.formats.trtexec_profile import profile_json
from trtlab.record import Bundle, Measurement, Plan, RunLine
from trtlab.spec import BuildConfig, RunConfig, ShapeRange
from trtlab.store import Store, record_id, write_record
from trtlab.verbs.export import export
from trtlab.verbs.read import Recorded, keep, read, read_engine, run_of
from trtlab.verbs.run import history, whole_run


@pytest.fixture
def file(tmp_path):
    return export([running.run(), running.run("fp32")], tmp_path / "night.trtlab")


def test_one_run_several_or_a_bundle_are_exported(tmp_path, file):
    alone = export(running.run(), tmp_path / "one.trtlab", form="bundle")
    assert len(read(alone).runs) == 1
    found = read(file)
    assert isinstance(found, Bundle)
    again = export(found, tmp_path / "again.trtlab")
    assert again.read_bytes() == file.read_bytes()


def test_the_public_name_reads_it(file):
    assert [run.recipe for run in trtlab.read(file).runs] == ["int8", "fp32"]


def test_its_graphs_come_from_the_store(tmp_path):
    store = Store()
    store.put_graph(making.model(), making.graph())
    found = read(export(running.run(), tmp_path / "a.trtlab"))
    assert found.graphs == {making.MODEL.hash: making.graph()}


def test_other_forms_and_no_runs_are_refused(tmp_path):
    with pytest.raises(SpecError, match="exported as layers"):
        export(running.run(), tmp_path / "a", form="layers")
    with pytest.raises(SpecError, match="exported as bundle"):
        export(making.plan(), tmp_path / "a", form="bundle")
    with pytest.raises(SpecError, match="list cannot"):
        export([], tmp_path / "a")
    with pytest.raises(SpecError, match="list cannot"):
        export([running.run(), making.plan()], tmp_path / "a")


def test_it_is_known_by_its_first_bytes(file):
    other = file.rename(file.with_name("plain.json"))
    assert read(other).name == "plain.json"


def test_a_bundle_stands_alone(tmp_path, file):
    record = tmp_path / "m.json"
    write_record(making.measurement(), record)
    with pytest.raises(RecordError, match=r"night\.trtlab is a bundle"):
        read(file, record)
    with pytest.raises(RecordError, match=r"night\.trtlab is a bundle") as caught:
        read(tmp_path)
    assert "read alone" in caught.value.hint
    with pytest.raises(RecordError, match="is a bundle"):
        read_engine(file)


def test_another_zip_is_a_damaged_bundle_and_no_traceback(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(RecordError, match=r"x\.npz is cut off"):
        read(path)


def test_what_was_kept_is_a_run_of_the_store(file):
    store = Store()
    found = read(file)
    ids = keep(found, store)
    lines = list(history(store, 9))
    assert {record_id(line) for line in lines} == set(ids)
    whole = whole_run(next(x for x in lines if x.made.recipe == "int8"), store)
    assert whole == found.runs[0]
    assert whole.source == "recorded"
    assert store.graph(making.MODEL.hash) is None


def test_keeping_twice_changes_nothing(file):
    store = Store()
    assert keep(read(file), store) == keep(read(file), store)
    assert len(list(store.all(RunLine))) == 2
    assert len(list(store.all(Measurement))) == 2


def test_plans_that_need_plugins_are_not_kept(tmp_path):
    run = running.run()
    config = replace(run.plan.config, plugin_libraries=("p.so",))
    run = replace(run, plan=replace(run.plan, config=config))
    found = read(export(run, tmp_path / "a.trtlab"))
    store = Store()
    with pytest.raises(PlanError, match="plugin"):
        keep(found, store)
    assert not list(store.all(Plan))
    assert not list(store.all(RunLine))


def test_a_lone_accuracy_is_read_and_kept(tmp_path):
    path = tmp_path / "a.json"
    write_record(accuracies.accuracy(), path)
    found = read(path)
    assert found.accuracy == replace(accuracies.accuracy(), source="recorded")
    assert "digits" in repr(found)
    assert keep(found, Store()) == (record_id(found.accuracy),)


def test_two_accuracies_are_refused(tmp_path):
    for name in ("a.json", "b.json"):
        write_record(accuracies.accuracy(), tmp_path / name)
    with pytest.raises(MismatchError, match="both hold an accuracy"):
        read(tmp_path)


def test_a_lone_line_says_what_to_export(tmp_path):
    path = tmp_path / "run.json"
    write_record(running.run().line, path)
    with pytest.raises(RecordError, match="is the line of a run") as caught:
        read(path)
    assert ".trtlab" in caught.value.hint


# Other tools' files as a run


def test_layers_and_times_become_a_run(tmp_path):
    plan = running.engine(layers=making.plan().layers)
    profile = making.layer_profile(plan=plan.hash, build=plan.config, time_kind="gpu")
    (tmp_path / "layers.json").write_bytes(layers_json(plan))
    (tmp_path / "profile.json").write_bytes(profile_json(profile))
    found = read(tmp_path / "layers.json", tmp_path / "profile.json", name="net")
    run = run_of(found)
    assert run.source == "recorded"
    assert run.model.name == "net"
    assert run.plan is run.ran is found.plan
    assert run.profile is found.profile
    assert run.setup.builder == run.setup.runner == "tensorrt"
    assert run.line.plan == record_id(found.plan)
    assert run.line.origin is None
    assert "no times of inferences" in run.why_no("measurement")
    assert "no accuracy" in run.why_no("accuracy")
    assert run.row()["latency_ms"] is None


def test_own_records_give_their_settings_back():
    plan = running.engine(source="recorded")
    how = RunConfig(batch=8, streams=2, quick=True)
    m = making.measurement(plan=plan.hash, build=plan.config, run=how, batch=8, source="recorded")
    run = run_of(Recorded(plan=plan, measurement=m))
    assert run.setup == running.setup(precision=None, runner="tensorrt_rtx", streams=2)
    assert run.ran == plan
    assert run.batch == 8
    assert run.line.missing.keys() == {"profile", "accuracy"}


def test_without_times_nothing_ran():
    run = run_of(Recorded(plan=running.engine()))
    assert run.ran is None
    assert run.setup.runner is None


def test_without_layers_there_are_times():
    m = making.measurement(plan=None)
    run = run_of(Recorded(measurement=m))
    assert run.plan is None
    assert run.measurement is m
    assert run.setup.builder == "onnxruntime"


@pytest.mark.parametrize(
    "profiles",
    [(), ({"x": ShapeRange((1, 1, 8, 8), (2, 1, 8, 8), (4, 1, 8, 8)),
           "y": ShapeRange((1,), (1,), (9,))},),
     ({"x": ShapeRange((1, 1, 8, 8), (2, 1, 8, 8), (4, 1, 8, 8))},) * 2,
     ({"x": ShapeRange((), (), ())},)],
)  # fmt: skip
def test_shapes_that_are_more_than_a_batch_are_not_told_as_one(profiles):
    config = BuildConfig(backend="tensorrt", profiles=profiles)
    assert run_of(Recorded(plan=running.engine(config=config))).setup.batches is None


def test_a_batch_outside_the_profile_is_no_error():
    plan = running.engine()
    m = making.measurement(plan=None, build=plan.config, run=RunConfig(batch=99), batch=99)
    assert run_of(Recorded(plan=plan, measurement=m)).setup.batch == 99


def test_files_without_a_run_say_so():
    with pytest.raises(SpecError, match="no run"):
        run_of(Recorded(accuracy=accuracies.accuracy()))
