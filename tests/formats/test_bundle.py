"""Bundles: round trip, nothing of this machine inside, and every kind of hostile file."""

import contextlib
import io
import json
import os
import struct
import zipfile
from dataclasses import replace

import pytest

from tests import accuracies, making
from tests import whole_runs as running
from trtlab.codec import Int64Array, to_json
from trtlab.environment import machine_id
from trtlab.errors import RecordError, SpecError, StoreError
from trtlab.formats import bundle as bundle_module
from trtlab.formats.bundle import linked, read_bundle, write_bundle
from trtlab.record import BuilderMessage, WorkspaceCurve
from trtlab.store import enveloped, record_id

GRAPH = {making.MODEL.hash: making.graph()}


def curve():
    return WorkspaceCurve(
        model=making.MODEL, config=running.engine().config, points=(), smallest_bytes=2**25,
        failing_bytes=2**24, no_run_note="no GPU", environment=making.environment(),
    )  # fmt: skip


def recorded(record):
    return None if record is None else replace(record, source="recorded")


@pytest.fixture
def whole(tmp_path):
    """A bundle of two runs, its content by name, and a function that writes other content."""
    path = tmp_path / "a.trtlab"
    write_bundle([running.run(), running.run("fp32")], path, workspaces=[curve()], graphs=GRAPH)
    with zipfile.ZipFile(path) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    return path, parts


def rewrite(path, parts, **more):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **more) as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    return path


def changed(whole, **entries):
    """The bundle with other words in its manifest."""
    path, parts = whole
    manifest = json.loads(parts["manifest.json"]) | entries
    return rewrite(path, {**parts, "manifest.json": to_json(manifest)})


def ids(parts):
    return json.loads(parts["manifest.json"])["runs"]


def refused(path, *words):
    with pytest.raises(RecordError) as caught:
        read_bundle(path)
    assert caught.value.hint
    for word in words:
        assert word in caught.value.message
    assert caught.value.message.isprintable()


def test_round_trip(tmp_path):
    runs = [running.run(), running.failed(), running.on_gpu(), running.run("fp32")]
    path = tmp_path / "night.trtlab"
    assert write_bundle(runs, path, workspaces=[curve()], graphs=GRAPH) == path
    found = read_bundle(path)
    assert found.name == "night"
    assert found.graphs == GRAPH
    assert found.workspaces == (recorded(curve()),)
    assert [r.line.made for r in found.runs] == [r.line.made for r in runs]
    for old, new in zip(runs, found.runs, strict=True):
        assert new.source == "recorded"
        assert new.measurement == recorded(old.measurement)
        assert new.profile == recorded(old.profile)
        assert new.accuracy == recorded(old.accuracy)
        assert new.setup == old.setup
        assert new.failure == old.failure
        plan = old.plan and replace(recorded(old.plan), model_path=None)
        assert new.plan == plan
        assert linked(new).line == new.line, "the ids are those of what is inside"
    assert "4 runs" in repr(found)


def test_it_is_written_once_more_as_the_same_bytes(whole, tmp_path):
    path, _ = whole
    found = read_bundle(path)
    again = tmp_path / "b.trtlab"
    write_bundle(found.runs, again, workspaces=found.workspaces, graphs=found.graphs)
    assert again.read_bytes() == path.read_bytes()


def test_a_run_of_this_machine_is_of_here(tmp_path):
    mine = running.relined(running.run(), environment=making.environment(machine=machine_id()))
    found = read_bundle(write_bundle([mine], tmp_path / "a.trtlab", graphs={}))
    assert found.runs[0].source == "here"
    assert found.runs[0].measurement.source == "recorded"


def test_equal_runs_are_there_once(tmp_path):
    found = read_bundle(write_bundle([running.run()] * 2, tmp_path / "a.trtlab", graphs={}))
    assert len(found.runs) == 1


def test_no_path_of_this_machine_is_inside(tmp_path):
    secret = tmp_path / "secret"
    run = running.run()
    config = replace(run.plan.config, plugin_libraries=(f"{secret}/plugins/p.so",))
    message = BuilderMessage("warning", f"In {secret}/models/digits.onnx: odd.")
    plan = replace(
        run.plan, model_path=f"{secret}/models/digits.onnx", config=config, messages=(message,)
    )
    run = running.relined(
        replace(run, plan=plan),
        origin=f"{secret}/models/digits.onnx",
        setup=running.setup(data=f"{secret}/labelled", calibration=f"{secret}/images"),
        missing={"profile": f"no {tmp_path}/home/records to write"},
    )
    path = write_bundle([run], tmp_path / "a.trtlab", graphs={})
    with zipfile.ZipFile(path) as packed:
        assert not [n for n in packed.namelist() if str(tmp_path).encode() in packed.read(n)]
    found = read_bundle(path).runs[0]
    assert found.line.origin is None
    assert found.plan.model_path is None
    assert found.plan.messages[0].text == "In digits.onnx: odd."
    assert found.plan.config.plugin_libraries == ("p.so",)
    assert (found.setup.data, found.setup.calibration) == (None, None)
    assert found.line.origin is None, "what Make it live would open"
    assert found.measurement.windows == run.measurement.windows


def test_the_origin_of_a_zoo_model_stays(whole):
    assert read_bundle(whole[0]).runs[0].line.origin == "zoo:digits"


def test_nothing_to_write_and_nowhere_to(tmp_path):
    with pytest.raises(SpecError, match="no run"):
        write_bundle([], tmp_path / "a.trtlab", graphs={})
    with pytest.raises(StoreError, match="bundle"):
        write_bundle([running.run()], tmp_path / "none" / "a.trtlab", graphs={})


def test_too_much_is_refused_when_written(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_module, "MOST_FILES", 3)
    with pytest.raises(SpecError, match="too many"):
        write_bundle([running.run()], tmp_path / "a.trtlab", graphs={})
    assert not (tmp_path / "a.trtlab").exists()


# Hostile and damaged files


@pytest.mark.parametrize(
    "name",
    ["../x.json", "/etc/passwd", "records/../../x.json", "records\\x.json", "x.py",
     f"records/{'A' * 24}.json", f"graphs/{'a' * 24}.json", f"records/{'a' * 24}.json/",
     "a\x1b[2J", f"records/{'a' * 24}.json\n"],
)  # fmt: skip
def test_other_names_are_refused(whole, name):
    path, parts = whole
    refused(rewrite(path, {**parts, name: b"{}"}), "no part of a bundle")


def test_a_name_that_is_cut_at_a_zero_byte_is_refused(whole):
    path, parts = whole
    name = f"records/{'a' * 24}.json"
    rewrite(path, {**parts, f"{name}zzz": b"{}"})
    data = path.read_bytes().replace(f"{name}zzz".encode(), f"{name}\0zz".encode())
    path.write_bytes(data)
    refused(path, "no part of a bundle")


def test_a_name_that_is_there_twice_is_refused(whole):
    path, parts = whole
    name = f"records/{'a' * 24}.json"
    rewrite(path, {**parts, name: b"{}"})
    other = next(part for part in parts if part.startswith("records/"))
    path.write_bytes(path.read_bytes().replace(name.encode(), other.encode()))
    refused(path, other, "twice")


def test_too_many_parts_are_refused_before_they_are_listed(whole, monkeypatch):
    path, parts = whole
    rewrite(path, parts | {f"records/{i:024x}.json": b"" for i in range(2001)})
    monkeypatch.setattr(zipfile, "ZipFile", None)
    refused(path, "parts or more")


def test_a_lie_about_the_number_of_parts_does_not_help(whole):
    path, parts = whole
    rewrite(path, parts | {f"records/{i:024x}.json": b"" for i in range(9000)})
    data = bytearray(path.read_bytes())
    data[-14:-10] = struct.pack("<HH", 5, 5)
    path.write_bytes(data)
    refused(path)


def test_zip64_is_refused(whole):
    path, _ = whole
    data = path.read_bytes()
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, 0, 1)
    path.write_bytes(data[:-22] + locator + data[-22:])
    refused(path, "parts or more")


def test_a_part_that_is_declared_too_large_is_refused(whole):
    path, parts = whole
    rewrite(path, {**parts, f"records/{'b' * 24}.json": b" " * (64 * 2**20 + 1)})
    assert path.stat().st_size < 2**20
    refused(path, "64.0 MiB")


def test_parts_that_are_too_large_together_are_refused(whole, monkeypatch):
    path, parts = whole
    monkeypatch.setattr(bundle_module, "MOST_BYTES", sum(map(len, parts.values())) - 1)
    refused(path, "unpacks to more")


def test_what_unpacks_to_more_than_it_declares_is_refused(whole):
    path, parts = whole
    size = len(parts["manifest.json"])
    rewrite(path, {**parts, "manifest.json": parts["manifest.json"] + b" " * 5_000_000})
    data = path.read_bytes().replace(struct.pack("<I", size + 5_000_000), struct.pack("<I", size))
    path.write_bytes(data)
    refused(path, "damaged")


def test_numbers_that_are_packed_twice_are_counted(whole, monkeypatch):
    path, _ = whole
    many = Int64Array([0] * 200_000)
    run = running.run()
    layer = making.layer(samples_ns=many)
    run = replace(run, profile=replace(run.profile, layers=(layer,), runs_ns=many))
    write_bundle([run], path, graphs={})
    assert path.stat().st_size < 100_000
    read_bundle(path)
    monkeypatch.setattr(bundle_module, "MOST_BYTES", 1_500_000)
    refused(path, "unpacks to more")


def test_deep_or_endless_lists_are_refused(whole, monkeypatch):
    path, parts = whole
    monkeypatch.setattr(bundle_module, "MOST_PARTS", 1000)
    name = f"graphs/{'c' * 64}.json"
    refused(rewrite(path, {**parts, name: b"[" * 1001}), name, "1,000 lists")


def test_encrypted_parts_are_refused(whole):
    path, _ = whole
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    refused(path, "encrypted", "manifest.json")


def test_other_packing_is_refused(whole):
    path, parts = whole
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("manifest.json", parts["manifest.json"])
    refused(path, "packs 'manifest.json'")


def test_no_zip_no_bundle(tmp_path):
    path = tmp_path / "a.trtlab"
    for content in (b"", b"x", b"{}", b"PK", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        refused(path, "a.trtlab")
    refused(tmp_path / "none.trtlab", "not read")
    refused(tmp_path, "not read")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "no regular file")


def test_cut_and_damaged_files_never_end_in_a_traceback(whole):
    path, _ = whole
    data = path.read_bytes()
    for end in range(0, len(data), 97):
        path.write_bytes(data[:end])
        refused(path)
    for at in range(0, len(data), 61):
        broken = bytearray(data)
        broken[at] ^= 0xFF
        path.write_bytes(broken)
        with contextlib.suppress(RecordError):  # a date or the like may change unseen
            read_bundle(path)


def test_something_behind_the_end_is_refused(whole):
    path, _ = whole
    path.write_bytes(path.read_bytes() + b"more")
    refused(path, "cut off")


def test_the_manifest_must_be_there_and_fit(whole):
    path, parts = whole
    without = {name: content for name, content in parts.items() if name != "manifest.json"}
    refused(rewrite(path, without), "no manifest.json")
    refused(rewrite(path, {**parts, "manifest.json": b"[1]"}), "manifest.json cannot be read")
    refused(rewrite(path, {**parts, "manifest.json": b"\xff"}), "manifest.json cannot be read")
    refused(changed((path, parts), runs=[]), "names no run")
    refused(changed((path, parts), runs=[7]), "manifest.json cannot be read")


def test_a_newer_schema_says_so(whole):
    refused(changed(whole, schema_version=99), "newer trtlab", "99")


@pytest.mark.parametrize("name", ["0" * 24, "../../x", "", "\x1b"])
def test_names_that_lead_nowhere_are_refused(whole, name):
    refused(changed(whole, runs=[name]), "is not there")


def test_names_that_are_there_twice_are_refused(whole):
    first = ids(whole[1])[0]
    refused(changed(whole, runs=[first, first]), first, "twice")


def test_a_name_of_another_kind_is_refused(whole):
    _, parts = whole
    curves = json.loads(parts["manifest.json"])["workspaces"]
    refused(changed(whole, runs=curves, workspaces=[]), "as a run", "is a workspace")


def test_a_line_that_names_a_record_of_another_kind_is_refused(whole):
    path, parts = whole
    line = replace(linked(running.run()).line, plan=None)
    line = replace(line, ran=line.measurement)
    manifest = json.loads(parts["manifest.json"]) | {"runs": ["d" * 24], "workspaces": []}
    parts |= {"manifest.json": to_json(manifest), f"records/{'d' * 24}.json": enveloped(line, "")}
    refused(rewrite(path, parts), "as a plan", "is a measurement")


def test_a_record_that_nobody_names_is_refused(whole):
    path, parts = whole
    extra = accuracies.accuracy()
    name = f"records/{record_id(extra)}.json"
    refused(rewrite(path, {**parts, name: enveloped(extra, "")}), record_id(extra), "no run names")


def test_times_of_another_plan_are_refused(tmp_path):
    run = running.run()
    run = replace(run, measurement=replace(run.measurement, plan="0" * 64))
    refused(write_bundle([run], tmp_path / "a.trtlab", graphs={}), "another plan")


def test_a_record_that_cannot_be_read_is_named(whole):
    path, parts = whole
    name = f"records/{ids(parts)[0]}.json"
    refused(rewrite(path, {**parts, name: b"{}"}), name)
    newer = json.loads(parts[name]) | {"schema_version": 99}
    refused(rewrite(path, {**parts, name: to_json(newer)}), name, "newer")


def test_a_graph_that_cannot_be_read_is_named(whole):
    path, parts = whole
    name = f"graphs/{'c' * 64}.json"
    refused(rewrite(path, {**parts, name: b"{}"}), name)


def test_the_whole_file_is_bounded(whole, monkeypatch):
    path, _ = whole
    monkeypatch.setattr(bundle_module, "MOST_BYTES", path.stat().st_size - 1)
    refused(path, "at most")


def test_what_is_packed_is_what_zip_says(whole):
    path, _ = whole
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as packed:
        assert packed.testzip() is None
        assert {i.compress_type for i in packed.infolist()} == {zipfile.ZIP_DEFLATED}
