"""The store: round trips, two processes, kills, full disks, damage, other machines."""

import errno
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests import making
from trtlab import store as module
from trtlab.codec import to_json
from trtlab.environment import machine_id
from trtlab.errors import PlanError, RecordError, StoreError
from trtlab.record import LayerProfile, Measurement, Plan
from trtlab.store import Store, key_of, read_record, record_id, write_record

HERE = {"environment": making.environment(machine=machine_id())}
ROOT = Path(__file__).parent.parent

WRITER = """
import sys
import time
from dataclasses import replace
from tests import making
from trtlab.store import Store
store = Store()
for number in range(int(sys.argv[2])):
    name = f"{sys.argv[1]}-{number}"
    store.put(making.measurement(energy_note=name), name)
    print(name, flush=True)
"""


def writer(name, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, name, str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "record", [making.plan(**HERE), making.measurement(**HERE), making.layer_profile(**HERE)]
)
def test_what_is_put_comes_back_equal_and_newest_first(record):
    store = Store()
    store.put(record, "key")
    assert store.get("key", type(record)) == record
    later = replace(record, environment=replace(record.environment, created="2027-01-01T00:00:00"))
    store.put(later, "key")
    assert store.get("key", type(record)) == later
    assert list(store.all(type(record))) == [later, record]
    assert store.get("other", type(record)) is None


def test_kinds_under_one_key_are_kept_apart():
    store = Store()
    store.put(making.plan(**HERE), "key")
    assert store.get("key", Measurement) is None
    assert store.get("key", LayerProfile) is None
    assert store.get("key", Plan) is not None


def test_a_record_of_another_machine_is_recorded_whatever_its_file_says():
    store = Store()
    store.put(making.measurement(source="here"), "key")
    assert store.get("key", Measurement).source == "recorded"
    store.put(making.measurement(source="recorded", **HERE), "mine")
    assert store.get("mine", Measurement).source == "here"


def test_an_id_is_the_same_wherever_the_record_is_read(tmp_path):
    record = making.measurement()
    write_record(record, tmp_path / "run.json")
    again = read_record(tmp_path / "run.json")
    assert again.source == "recorded"
    assert record_id(again) == record_id(record)
    store = Store()
    identity = store.put(record, "key")
    assert store.find(identity[:8]) == again
    for prefix in ("", "zz"):
        with pytest.raises(RecordError, match="record begins"):
            store.find(prefix)


def test_keys_depend_on_every_part():
    assert key_of("a", "bc") != key_of("ab", "c")
    assert key_of("a", None) != key_of("a")
    assert key_of("a", 1) == key_of("a", 1)


@pytest.mark.native
def test_two_processes_lose_nothing_of_each_other():
    both = [writer(name, 60) for name in ("one", "two")]
    for process in both:
        _, words = process.communicate(timeout=60)
        assert process.returncode == 0, words
    notes = {m.energy_note for m in Store().all(Measurement)}
    assert notes == {f"{name}-{n}" for name in ("one", "two") for n in range(60)}


@pytest.mark.native
@pytest.mark.parametrize("seed", range(6))
def test_a_kill_at_any_moment_leaves_a_store_that_reads(seed):
    process = writer("w", 100_000)
    written = [process.stdout.readline().strip() for _ in range(random.Random(seed).randint(1, 9))]
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=20)
    written += rest.split()
    store = Store()
    notes = [m.energy_note for m in store.all(Measurement)]
    assert len(set(notes)) == len(notes)
    # A name is printed after put returned; the one after it may or may not have made it.
    assert set(notes) >= set(written[:-1])
    assert store.get(written[0], Measurement).energy_note == written[0]


def test_a_damaged_index_is_set_aside_and_built_again_from_the_files():
    store = Store()
    store.put(making.measurement(**HERE), "key")
    (store.home / "index.sqlite").write_bytes(b"this is no database" * 100)
    again = Store()
    assert again.get("key", Measurement) == making.measurement(**HERE)
    assert (store.home / "index.damaged").exists()


def test_a_lost_index_is_built_again_with_the_plans(tmp_path):
    store = Store()
    store.put(making.plan(**HERE), "key")
    file = tmp_path / "plan"
    file.write_bytes(b"plan")
    plan_hash, _ = store.put_plan(file)
    for part in store.home.glob("index.sqlite*"):
        part.unlink()
    again = Store()
    assert again.get("key", Plan) is not None
    assert again.plan_path(plan_hash).read_bytes() == b"plan"


def test_damaged_and_foreign_record_files_count_as_absent():
    store = Store()
    identity = store.put(making.measurement(**HERE), "key")
    path = store._record_path(identity)
    whole = path.read_bytes()
    for damage in (b"", b"{", whole[:-20], b"[]", whole.replace(b'"windows"', b'"doors"')):
        path.write_bytes(damage)
        assert store.get("key", Measurement) is None
        assert list(store.all(Measurement)) == []
        assert list(Store().all(Measurement)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 99}, "newer trtlab"),
        ({"kind": "spell"}, "no record"),
        ({"record": {}}, "not a readable record"),
        ({"schema_version": "1"}, "not a readable record"),
    ],
)
def test_a_foreign_file_is_refused_with_its_reason(tmp_path, change, words):
    path = tmp_path / "run.json"
    write_record(making.measurement(), path)
    path.write_bytes(to_json(json.loads(path.read_bytes()) | change))
    with pytest.raises(RecordError, match=words):
        read_record(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(RecordError):
            read_record(path)


def test_an_index_of_a_newer_trtlab_is_left_alone():
    home = Store().home
    index = sqlite3.connect(home / "index.sqlite")
    index.execute("PRAGMA user_version = 99")
    index.close()
    with pytest.raises(StoreError, match="newer trtlab") as caught:
        Store()
    assert "TRTLAB_HOME" in caught.value.hint
    assert not (home / "index.damaged").exists()


def test_a_home_that_cannot_be_made_is_a_store_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRTLAB_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(StoreError, match="cannot be used") as caught:
        Store()
    assert "TRTLAB_HOME" in caught.value.hint


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_and_leaves_no_half_file(monkeypatch, number):
    store = Store()
    real = os.fdopen

    class Full:
        def __init__(self, *arguments):
            self.file = real(*arguments)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.file.write(data[: len(data) // 2])
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.os, "fdopen", Full)
    with pytest.raises(StoreError, match="is full") as caught:
        store.put(making.measurement(**HERE), "key")
    assert "Free some space" in caught.value.hint
    left = [p for f in ("records", "scratch") for p in (store.home / f).rglob("*") if p.is_file()]
    assert left == []
    assert store.get("key", Measurement) is None


def put(store, folder, content):
    file = folder / "new"
    file.write_bytes(content)
    return store.put_plan(file)[0]


def test_plans_are_kept_by_content_and_the_least_recently_used_go_first(tmp_path, monkeypatch):
    monkeypatch.setenv("TRTLAB_PLAN_LIMIT", "2KiB")
    store = Store()
    first, second = (put(store, tmp_path, letter * 1000) for letter in (b"a", b"b"))
    assert put(store, tmp_path, b"a" * 1000) == first
    store.plan_path(first)
    third = put(store, tmp_path, b"c" * 1000)
    assert store.has_plan(first)
    assert store.has_plan(third)
    assert not store.has_plan(second)
    with pytest.raises(PlanError, match="not in the store"):
        store.plan_path(second)
    huge = put(store, tmp_path, b"d" * 5000)
    assert store.has_plan(huge), "the newest stays, however large"
    assert not store.has_plan(first)


def test_scratch_folders_are_gone_afterwards_also_after_an_error():
    store = Store()
    with pytest.raises(FileNotFoundError), store.scratch() as folder:
        (folder / "missing").read_bytes()
    assert list((store.home / "scratch").iterdir()) == []


def test_what_a_killed_process_left_a_day_ago_is_removed():
    scratch = Store().home / "scratch"
    for name, age in (("old", 90_000), ("new", 10)):
        (scratch / name).mkdir()
        (scratch / name / "half").touch()
        os.utime(scratch / name, (time.time() - age, time.time() - age))
    Store()
    assert [p.name for p in scratch.iterdir()] == ["new"]
