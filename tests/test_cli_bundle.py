"""``trtlab import`` of a bundle: rows, JSON, the store, and bundles that are none."""

import json
from pathlib import Path

import pytest

from tests import whole_runs as running
from trtlab.cli import main
from trtlab.record import RunLine
from trtlab.store import Store
from trtlab.verbs.export import export


@pytest.fixture
def file(tmp_path):
    return str(export([running.run(), running.failed()], tmp_path / "night.trtlab"))


def test_its_runs_are_shown_and_kept(capsys, file):
    assert main(["import", file]) == 0
    out = capsys.readouterr().out
    assert "night: 2 runs" in out
    assert "digits, INT8, batch 8" in out
    assert "1.00 ms" in out
    lines = list(Store().all(RunLine))
    assert {line.source for line in lines} == {"recorded"}
    shown = {x.split()[-1] for x in out.splitlines() if x.startswith("run id")}
    assert len(shown) == len(lines) == 2
    kind = {Store().find(identity).kind for identity in shown}
    assert kind == {"run"}


def test_as_json(capsys, file):
    assert main(["import", file, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["bundle"] == "night"
    first, second = data["runs"]
    assert first["latency_ms"] == pytest.approx(1.0)
    assert first["source"] == "recorded"
    assert Store().find(first["id"]).made.recipe == "int8"
    assert second["failure"].startswith("The workspace limit")
    assert (data["workspaces"], data["graphs"]) == (0, 0)


def test_a_damaged_one_is_wrong_input(capsys, tmp_path, file):
    path = tmp_path / "cut.trtlab"
    path.write_bytes(Path(file).read_bytes()[:-9])
    assert main(["import", str(path)]) == 2
    err = capsys.readouterr().err
    assert "cut.trtlab is cut off" in err
    assert "Traceback" not in err


def test_other_commands_refuse_it(capsys, file):
    assert main(["fusion", file]) == 2
    assert "is a bundle" in capsys.readouterr().err


def test_a_store_that_cannot_be_written_still_shows_it(capsys, file, monkeypatch, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    monkeypatch.setenv("TRTLAB_HOME", str(blocked))
    assert main(["import", file]) == 1
    out, err = capsys.readouterr()
    assert "night: 2 runs" in out
    assert "store" in err
