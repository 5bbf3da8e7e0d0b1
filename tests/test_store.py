"""A store survives kills, full disks, damage, strangers and several processes at once."""

import errno
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import making
from tests.making import measurement, plan
from trtlab import store as store_module
from trtlab.codec import to_json
from trtlab.environment import machine_id
from trtlab.errors import JobCancelled, PlanError, RecordError, SpecError, StoreError
from trtlab.record import LayerProfile, Measurement, Plan
from trtlab.spec import BuildConfig
from trtlab.store import Store, home_folder, key_of, read_record, record_id, write_record

ROOT = Path(__file__).parents[1]
KINDS = [Plan, Measurement, LayerProfile]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def here(**parts):
    return making.environment(machine=machine_id(), **parts)


def own(n=0, **parts):
    """A measurement that this machine made."""
    return measurement(first_call_ns=n, **{"environment": here()} | parts)


def files(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


# Records


@pytest.mark.parametrize("record", making.records(), ids=lambda r: r.kind)
def test_a_record_comes_back(store, record):
    record = replace(record, environment=here())
    identity = store.put(record, "key")
    assert identity == record_id(record)
    assert store.get("key", type(record)) == record
    assert store.find(identity) == record
    assert store.find(identity[:6]) == record
    assert list(store.all(type(record))) == [record]


def test_another_store_object_sees_the_same(store):
    store.put(own(), "key")
    assert Store(store.home).get("key", Measurement) == own()


def test_the_newest_under_a_key_is_returned(store):
    old = own(1, environment=here(created="2026-01-01T00:00:00+00:00"))
    new = own(2, environment=here(created="2026-02-01T00:00:00+00:00"))
    for record in (new, old):
        store.put(record, "key")
    assert store.get("key", Measurement) == new
    assert list(store.all(Measurement)) == [new, old]


def test_of_two_in_one_second_the_later_one_is_the_newest(store):
    for n in range(3):
        store.put(own(n), "key")
    assert store.get("key", Measurement) == own(2)


def test_kinds_and_keys_are_kept_apart(store):
    store.put(own(), "key")
    assert store.get("key", Plan) is None
    assert store.get("other", Measurement) is None
    assert list(store.all(LayerProfile)) == []


def test_the_same_record_twice_is_one(store):
    assert store.put(own(), "key") == store.put(own(), "key")
    assert len(list(store.all(Measurement))) == 1


def test_records_of_another_machine_are_recorded_ones(store):
    store.put(measurement(), "key")
    found = store.get("key", Measurement)
    assert found.source == "recorded"
    assert replace(found, source="here") == measurement()
    assert record_id(found) == record_id(measurement())
    store.put(own(source="recorded"), "own")
    assert store.get("own", Measurement).source == "here"


def test_a_file_cannot_claim_to_be_from_here(tmp_path):
    path = tmp_path / "r.json"
    write_record(measurement(), path)
    assert b'"source":"here"' in path.read_bytes()
    assert read_record(path).source == "recorded"


@pytest.mark.parametrize("prefix", ["", "zz", "%", "_", "' OR 1=1 --", "0" * 1000])
def test_what_begins_no_id_is_refused(store, prefix):
    store.put(own(), "key")
    with pytest.raises(RecordError) as caught:
        store.find(prefix)
    assert caught.value.hint


def test_an_ambiguous_beginning_is_refused(store):
    for n in range(17):
        store.put(own(n), "key")
    by_first = {}
    for record in store.all(Measurement):
        by_first.setdefault(record_id(record)[0], []).append(record)
    shared = next(first for first, records in by_first.items() if len(records) > 1)
    with pytest.raises(RecordError, match="More than one"):
        store.find(shared)


def test_keys_are_of_all_parts():
    parts = ["a", 1, making.MODEL, {"x": 1}]
    assert key_of(*parts) == key_of(*parts)
    others = [key_of(*parts[:3]), key_of("a1", making.MODEL, {"x": 1}), key_of()]
    assert len({key_of(*parts), *others}) == 4


def test_a_lone_file_is_a_record(tmp_path):
    for record in making.records():
        path = tmp_path / f"{record.kind}.json"
        write_record(record, path)
        assert read_record(path) == replace(record, source="recorded")


# Graphs, models, plans, scratch


def test_graphs_and_models_are_remembered(store):
    assert store.graph("a1") is None
    assert store.model("file") is None
    store.put_graph(making.model(), making.graph())
    store.put_model("file", making.model())
    assert store.graph(making.model().hash) == making.graph()
    assert store.model("file") == making.model()


def test_a_damaged_graph_or_model_is_absent(store):
    store.put_graph(making.model(), making.graph())
    (path,) = files(store.home / "graphs")
    path.write_bytes(path.read_bytes()[:-5])
    assert store.graph(making.model().hash) is None
    store.put_model("file", making.model())
    with store._index() as index:
        index.execute("UPDATE models SET model = ?", (b"{}",))
    assert store.model("file") is None


def holds(store, plan_hash):
    try:
        return store.plan_path(plan_hash).is_file()
    except PlanError:
        return False


def put_plan(store, content):
    with store.scratch() as folder:
        file = folder / "made.plan"
        file.write_bytes(content)
        return store.put_plan(file)[0]


def test_a_plan_is_moved_in_and_found_by_its_content(store):
    with store.scratch() as folder:
        file = folder / "p"
        file.write_bytes(b"plan")
        plan_hash, size = store.put_plan(file)
        assert size == 4
        assert not file.exists()
    assert not folder.exists()
    assert holds(store, plan_hash)
    assert store.plan_path(plan_hash).read_bytes() == b"plan"
    assert put_plan(store, b"plan") == plan_hash


def test_a_plan_that_is_not_there_is_named(store):
    with pytest.raises(PlanError, match="Plan abcdabcdabcd is not in the store") as caught:
        store.plan_path("abcd" * 16)
    assert caught.value.hint
    assert not store.has_plan(plan(hash="abcd" * 16))


NO_HASHES = {
    "absolute": "{home}/victim",
    "upwards": "../victim",
    "inside": "ab/../../victim",
    "63": "a" * 63,
    "65": "a" * 65,
    "upper case": "AB" * 32,
    "no hex": "xy" * 32,
    "line": "a" * 64 + "\n",
    "empty": "",
}


@pytest.mark.parametrize("name", NO_HASHES)
def test_what_is_no_hash_leads_to_no_file(store, name):
    no_hash = NO_HASHES[name].format(home=store.home)
    victim = store.home / "plans" / no_hash[:2] / f"{no_hash}.plan"
    if victim.parent.name:
        (store.home / "plans" / "ab" / "ab").mkdir(parents=True, exist_ok=True)
        victim.parent.mkdir(exist_ok=True)
    victim.write_bytes(b"mine")
    record = plan(hash=no_hash, plan_bytes=4)
    uses = (
        lambda: store.plan_path(no_hash),
        lambda: store.drop_plan(no_hash),
    )
    for use in uses:
        with pytest.raises(PlanError, match="no SHA-256") as caught:
            use()
        assert caught.value.hint
    assert not store.has_plan(record)
    assert victim.read_bytes() == b"mine"
    store.put(record, "key")
    assert store.get("key", Plan).hash == no_hash, "the record itself can be read"


def test_a_plan_whose_bytes_changed_at_equal_size_is_dropped_and_may_come_again(store):
    plan_hash = put_plan(store, b"whole plan")
    path = store.plan_path(plan_hash)
    path.write_bytes(b"other plan")
    with pytest.raises(PlanError, match="was damaged") as caught:
        store.plan_path(plan_hash)
    assert caught.value.hint
    assert not path.exists()
    with pytest.raises(PlanError, match="not in the store"):
        store.plan_path(plan_hash)
    put_plan(store, b"whole plan")
    assert holds(store, plan_hash)


def test_a_plan_was_built_here_with_just_the_settings_of_its_record(store):
    record = plan(environment=here(), config=BuildConfig(backend="tensorrt"))
    assert not store.built_here(record)
    store.put(record, "key")
    assert store.built_here(record)
    other = BuildConfig(backend="tensorrt", plugin_libraries=("/evil.so",))
    assert not store.built_here(replace(record, config=other))
    assert not store.built_here(replace(record, hash="c3" * 32))


def test_a_plan_of_another_size_than_its_record_says_is_not_there(store):
    plan_hash = put_plan(store, b"whole plan")
    record = plan(hash=plan_hash, plan_bytes=10)
    assert store.has_plan(record)
    store.plan_path(plan_hash).write_bytes(b"whole")
    assert not store.has_plan(record)


def test_a_dropped_plan_is_gone_and_may_come_again(store):
    plan_hash = put_plan(store, b"plan")
    store.drop_plan(plan_hash)
    store.drop_plan(plan_hash)
    assert not holds(store, plan_hash)
    assert put_plan(store, b"plan") == plan_hash
    assert holds(store, plan_hash)


def test_the_least_recently_used_plans_make_room(store, monkeypatch):
    monkeypatch.setenv("TRTLAB_PLAN_LIMIT", "2500")
    store = Store(store.home)
    first, second = (put_plan(store, bytes([n]) * 1000) for n in range(2))
    store.plan_path(first)
    third = put_plan(store, b"c" * 1000)
    assert [holds(store, p) for p in (first, second, third)] == [True, False, True]
    with pytest.raises(PlanError):
        store.plan_path(second)
    assert put_plan(store, bytes([1]) * 1000) == second


def test_the_newest_plan_stays_even_if_it_alone_is_too_large(store, monkeypatch):
    monkeypatch.setenv("TRTLAB_PLAN_LIMIT", "1KiB")
    store = Store(store.home)
    small, large = put_plan(store, b"s"), put_plan(store, b"l" * 5000)
    assert not holds(store, small)
    assert holds(store, large)


def test_evicting_leaves_the_records(store, monkeypatch):
    monkeypatch.setenv("TRTLAB_PLAN_LIMIT", "1KiB")
    store = Store(store.home)
    plan_hash = put_plan(store, b"s" * 1000)
    store.put(plan(hash=plan_hash, environment=here()), "key")
    put_plan(store, b"l" * 1000)
    assert not holds(store, plan_hash)
    assert store.get("key", Plan).hash == plan_hash


def test_a_limit_that_is_no_size_is_named(store, monkeypatch):
    monkeypatch.setenv("TRTLAB_PLAN_LIMIT", "much")
    with pytest.raises(SpecError, match="much") as caught:
        Store(store.home)
    assert caught.value.hint


def test_scratch_is_removed_after_an_error_too(store):
    def job():
        with store.scratch() as folder:
            (folder / "f").write_bytes(b"1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        job()
    assert list((store.home / "scratch").iterdir()) == []


def test_what_a_killed_process_left_a_day_ago_is_removed(store):
    scratch = store.home / "scratch"
    for name, age in (("old", 90_000), ("new", 10)):
        (scratch / name).mkdir()
        (scratch / name / "half").touch()
        (scratch / f"{name}.file").touch()
        for path in (scratch / name, scratch / f"{name}.file"):
            os.utime(path, (time.time() - age, time.time() - age))
    Store(store.home)
    assert sorted(p.name for p in scratch.iterdir()) == ["new", "new.file"]


def test_model_files_come_in_as_bytes_or_by_moving(store):
    path = store.put_model_file("a.onnx", b"model")
    assert path == store.model_path("a.onnx")
    assert path.read_bytes() == b"model"
    with store.scratch() as folder:
        (folder / "b").write_bytes(b"other")
        assert store.put_model_file("b.onnx", folder / "b").read_bytes() == b"other"
        assert not (folder / "b").exists()
        with pytest.raises(StoreError):
            store.put_model_file("c.onnx", folder / "missing")


def test_a_model_file_that_is_there_stays_the_very_same(store):
    path = store.put_model_file("a.onnx", b"model")
    before = path.stat()
    with store.scratch() as folder:
        (folder / "again").write_bytes(b"model")
        for source in (b"model", folder / "again"):
            assert store.put_model_file("a.onnx", source) == path
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_one_run_measures_at_a_time_on_a_device(store):
    cancel = threading.Event()
    with store.measuring("cpu", None):
        with store.measuring("cuda", None):
            pass
        cancel.set()
        with pytest.raises(JobCancelled), store.measuring("cpu", cancel):
            raise AssertionError("two runs measured at once")
    with store.measuring("cpu", cancel):
        pass


def test_the_next_run_begins_when_the_one_before_ends(store):
    order = []

    def other():
        with Store(store.home).measuring("cpu", None):
            order.append("second")

    thread = threading.Thread(target=other)
    with store.measuring("cpu", None):
        thread.start()
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


# Where


def test_the_folder_is_that_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TRTLAB_HOME", str(tmp_path / "there"))
    assert home_folder() == Store().home == tmp_path / "there"
    monkeypatch.setenv("TRTLAB_HOME", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert home_folder().name == "trtlab"


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path):
    # Below a file: permission bits would not keep root out.
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used") as caught:
        Store(tmp_path / "file" / "store")
    assert "TRTLAB_HOME" in caught.value.hint
    assert str(tmp_path) in caught.value.message


def test_a_store_that_vanishes_is_a_store_error(store):
    for folder in ("records", "graphs"):
        (store.home / folder).rmdir()
        (store.home / folder).write_text("")
    with pytest.raises(StoreError):
        store.put(own(), "key")
    with pytest.raises(StoreError):
        store.put_graph(making.model(), making.graph())
    assert store.graph("a1") is None


def test_a_plan_file_that_is_not_there_is_a_store_error(store, tmp_path):
    with pytest.raises(StoreError):
        store.put_plan(tmp_path / "missing")


def test_a_lone_file_that_cannot_be_written_is_a_store_error(tmp_path):
    with pytest.raises(StoreError):
        write_record(plan(), tmp_path / "missing" / "r.json")
    if Path("/dev/full").exists():
        with pytest.raises(StoreError, match="full") as caught:
            write_record(plan(), Path("/dev/full"))
        assert caught.value.hint


class FullFile:
    """A file on a disk that takes only so many bytes."""

    def __init__(self, file, room, number):
        self.file, self.room, self.number = file, room, number

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(data[: self.room])
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("room", [0, 100])
def test_a_full_disk_is_told_and_leaves_no_half_file(store, monkeypatch, room, number):
    store.put(own(1), "key")
    before = files(store.home / "records")
    real = os.fdopen
    monkeypatch.setattr(
        store_module.os, "fdopen", lambda *args: FullFile(real(*args), room, number)
    )
    for put in (
        lambda: store.put(own(2), "key"),
        lambda: store.put_graph(making.model(), making.graph()),
    ):
        with pytest.raises(StoreError, match="is full") as caught:
            put()
        assert "Free some space" in caught.value.hint
    monkeypatch.undo()
    assert files(store.home / "records") == before
    assert files(store.home / "graphs") == files(store.home / "scratch") == []
    assert list(store.all(Measurement)) == [own(1)]


def test_a_write_that_is_interrupted_leaves_no_half_file(store, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module.Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.put(own(), "key")
    assert files(store.home / "records") == files(store.home / "scratch") == []


def test_an_index_on_a_full_disk_is_told(store, monkeypatch):
    def full(*_args, **_more):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store_module.sqlite3, "connect", full)
    with pytest.raises(StoreError, match="is full"):
        store.put(own(), "key")


# Damage


def damage_nothing(path):
    pass


def damage_all(path):
    path.write_bytes(b"no database " * 500)


def damage_behind_the_first_page(path):
    data = path.read_bytes()
    assert len(data) > 4096
    path.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))


def damage_by_cutting(path):
    path.write_bytes(path.read_bytes()[:6000])


def damage_by_emptying(path):
    path.write_bytes(b"")


def damage_by_deleting(path):
    path.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        damage_nothing,
        damage_all,
        damage_behind_the_first_page,
        damage_by_cutting,
        damage_by_emptying,
        damage_by_deleting,
    ],
)
def test_a_damaged_index_is_made_again_from_the_files(store, damage):
    records = [own(n) for n in range(30)]
    for n, record in enumerate(records):
        store.put(record, f"key{n}")
    store.put(plan(environment=here()), "key")
    plan_hash = put_plan(store, b"plan")
    with store._index() as index:
        index.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(store.home / "index.sqlite")
    again = Store(store.home)
    set_aside = damage in (damage_all, damage_behind_the_first_page, damage_by_cutting)
    assert (store.home / "index.damaged").exists() == set_aside
    assert {r.first_call_ns for r in again.all(Measurement)} == set(range(30))
    assert again.get("key17", Measurement) == records[17]
    assert again.get("key", Plan) is not None
    assert again.plan_path(plan_hash).read_bytes() == b"plan"
    again.put(own(99), "new")
    assert Store(store.home).get("new", Measurement) == own(99)


def test_many_may_open_a_new_or_damaged_store_at_once(tmp_path):
    for case in range(6):
        home = tmp_path / str(case)
        if case % 2:
            Store(home).put(own(), "key")
            damage_all(home / "index.sqlite")
        gate = threading.Barrier(8)
        errors = []

        def open_one(home=home, gate=gate, errors=errors):
            gate.wait()
            try:
                Store(home)
            except StoreError as error:
                errors.append(error)

        threads = [threading.Thread(target=open_one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(list(Store(home).all(Measurement))) == case % 2


def test_an_index_of_a_newer_schema_is_refused_and_kept(store):
    store.put(own(), "key")
    with store._index() as index:
        index.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer trtlab") as caught:
        Store(store.home)
    assert caught.value.hint
    assert not (store.home / "index.damaged").exists()
    index = sqlite3.connect(store.home / "index.sqlite")
    assert index.execute("SELECT count(*) FROM records").fetchone() == (1,)
    index.close()


def test_a_record_that_is_gone_or_damaged_is_absent(store):
    kept, gone, cut = own(1), own(2), own(3)
    for record in (kept, gone, cut):
        store.put(record, "key")
    store._record_path(record_id(gone)).unlink()
    path = store._record_path(record_id(cut))
    path.write_bytes(path.read_bytes()[:200])
    assert store.get("key", Measurement) == kept
    assert list(store.all(Measurement)) == [kept]
    for record in (gone, cut):
        with pytest.raises(RecordError):
            store.find(record_id(record))


def test_one_record_that_refuses_its_own_values_does_not_hide_the_others(store):
    store.put(own(1), "key")
    store.put(own(2), "key")
    path = store._record_path(record_id(own(2)))
    path.write_bytes(path.read_bytes().replace(b'"streams":1', b'"streams":0'))
    assert store.get("key", Measurement) == own(1)
    assert list(store.all(Measurement)) == [own(1)]


# Strangers


def envelope(**parts):
    plain = msgspec.json.decode(to_json(plan()))
    return {"schema_version": 1, "kind": "plan", "key": "k", "record": plain} | parts


def test_a_newer_record_is_refused_with_a_hint(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(envelope(schema_version=2, record={"new": 1})))
    with pytest.raises(RecordError, match="newer trtlab") as caught:
        read_record(path)
    assert "Update" in caught.value.hint


HOSTILE = {
    "empty": b"",
    "binary": bytes(range(256)),
    "list": b"[]",
    "no-envelope": to_json(plan()),
    "deep": b'{"record":' * 100_000,
    "deep-inside": json.dumps(envelope(record={"x": "@"}))
    .encode()
    .replace(b'"@"', b"[" * 900 + b"]" * 900),
    "half": json.dumps(envelope()).encode()[:-10],
    "unknown-kind": json.dumps(envelope(kind="<script>")).encode(),
    "kind-of-python": json.dumps(envelope(kind="__class__")).encode(),
    "kind-is-a-list": json.dumps(envelope(kind=[])).encode(),
    "version-is-text": json.dumps(envelope(schema_version="1")).encode(),
    "record-is-null": json.dumps(envelope(record=None)).encode(),
    "record-is-empty": json.dumps(envelope(record={})).encode(),
    "another-kind": json.dumps(envelope(kind="measurement")).encode(),
    "nan": json.dumps(envelope(record=envelope()["record"] | {"build_seconds": "@"}))
    .replace('"@"', "NaN")
    .encode(),
    "spec-refuses": json.dumps(
        envelope(record=envelope()["record"] | {"config": {"optimization_level": "no"}})
    ).encode(),
    "utf-16": json.dumps(envelope()).encode("utf-16"),
    "lone-surrogate": json.dumps(envelope(key="\ud800")).encode(),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_record_is_a_record_error_and_harms_no_store(store, tmp_path, data):
    path = tmp_path / "r.json"
    path.write_bytes(data)
    with pytest.raises(RecordError, match=r"r\.json") as caught:
        read_record(path)
    assert str(caught.value)
    folder = store.home / "records" / "ab"
    folder.mkdir()
    (folder / "abc.json").write_bytes(data)
    store.put(own(), "key")
    (store.home / "index.sqlite").unlink()
    assert list(Store(store.home).all(Measurement)) == [own()]


@pytest.mark.parametrize("depth", range(10, 2000, 45))
def test_nesting_of_any_depth_is_a_record_error(tmp_path, depth):
    text = json.dumps(envelope(record={"x": "@"}))
    path = tmp_path / "r.json"
    path.write_text(text.replace('"@"', "[" * depth + "]" * depth))
    with pytest.raises(RecordError):
        read_record(path)


def test_what_is_no_regular_file_of_a_sane_size_is_a_record_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(65 * 2**20)
    names = ("", "missing.json", "pipe", "huge.json")
    for path in (*(tmp_path / name for name in names), Path("/dev/zero")):
        with pytest.raises(RecordError):
            read_record(path)


@given(st.data())
def test_any_flipped_byte_is_a_record_or_a_record_error(tmp_path, data):
    damaged = bytearray(to_json(envelope()))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "r.json"
    path.write_bytes(damaged)
    try:
        record = read_record(path)
    except RecordError:
        return
    assert repr(record)
    assert len(record_id(record)) == 24


# Several processes, and their sudden end

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.making import measurement, plan
from trtlab.store import Store
store = Store(Path(sys.argv[1]))
begin, count = int(sys.argv[2]), int(sys.argv[3])
for n in range(begin, begin + count):
    print(store.put(measurement(first_call_ns=n), "key"), flush=True)
"""


def writer(home, begin, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER.format(root=str(ROOT)), home, str(begin), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.native
def test_two_processes_that_write_at_once_lose_nothing(tmp_path):
    home = tmp_path / "store"
    both = [writer(home, 0, 100), writer(home, 1000, 100)]
    for process in both:
        _, words = process.communicate(timeout=120)
        assert (process.returncode, words) == (0, "")
    store = Store(home)
    found = sorted(r.first_call_ns for r in store.all(Measurement))
    assert found == [*range(100), *range(1000, 1100)]


def test_threads_share_a_store(store):
    def put(begin):
        for n in range(begin, begin + 20):
            store.put(own(n), "key")

    threads = [threading.Thread(target=put, args=(100 * t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(store.all(Measurement))) == 80


@pytest.mark.native
@pytest.mark.parametrize("seed", range(10))
def test_a_killed_writer_leaves_a_store_that_opens_and_reads(tmp_path, seed):
    home = tmp_path / "store"
    chance = random.Random(seed)
    with writer(home, 0, 100_000) as process:
        try:
            written = [process.stdout.readline().strip() for _ in range(chance.randrange(1, 40))]
            for _ in range(chance.randrange(20_000)):
                pass  # somewhere inside the next write
        finally:
            process.send_signal(signal.SIGKILL)
        written += process.stdout.read().split("\n")[:-1]
    store = Store(home)
    with store._index() as index:
        listed = {i for (i,) in index.execute("SELECT id FROM records")}
        assert index.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert set(written) <= listed
    assert {record_id(store.find(i)) for i in listed} == listed
    store.put(own(), "after")
    assert store.get("after", Measurement) == own()
    # At worst a file was written that the index does not know; making it again finds that too.
    (home / "index.sqlite").unlink()
    rebuilt = {record_id(r) for r in Store(home).all(Measurement)}
    assert rebuilt >= listed
    assert len(rebuilt - listed) <= 2
