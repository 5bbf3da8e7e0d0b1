"""``trtlab convert``: the document it answers with, its exit codes and what it writes."""

import json

import numpy as np
import onnx
import pytest

from tests.model import nets
from tests.precision.converted import cnn, draw
from tests.verbs.test_convert_within import fragile
from trtlab.cli import main
from trtlab.verbs.load import load

pytestmark = pytest.mark.native


@pytest.fixture
def answer(capsys):
    def run(*arguments):
        code = main([*map(str, arguments), "--json"])
        out, _ = capsys.readouterr()
        return code, json.loads(out)

    return run


@pytest.fixture
def net(tmp_path):
    onnx.save(cnn(), tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", draw(40, 3, 8, 8))
    return tmp_path / "net.onnx"


def test_the_document_and_the_files(answer, net, tmp_path):
    code, data = answer(
        "convert", net, "int8", "--calibration", tmp_path / "x.npy", "--samples", "32",
        "--keep", "gemm,pro*", "--calibrator", "percentile", "--ranges", tmp_path / "ranges.json",
        "-o", tmp_path / "made.onnx",
    )  # fmt: skip
    assert code == 0
    made = load(tmp_path / "made.onnx")
    assert data["schema_version"] == 1
    assert (data["model"], data["precision"]) == ("net", "int8")
    assert (data["hash"], data["parent"]) == (made.hash, load(net).hash)
    assert data["weight_bytes"] == made.weight_bytes
    assert data["search"] is None
    report = data["conversion"]
    asked = [k["node"] for k in report["kept"] if k["reason"] == "asked for"]
    assert asked == ["gemm", "product"]
    assert report["calibration"]["samples"] == 32
    assert report["calibration"]["calibrator"] == "percentile"
    table = json.loads((tmp_path / "ranges.json").read_text())
    assert table["ranges"] == report["ranges"]
    code, again = answer("convert", net, "fp8", "--calibration", tmp_path / "ranges.json")
    assert code == 0
    assert again["conversion"]["ranges"] == report["ranges"]


def test_text_names_what_was_kept(capsys, net):
    assert main(["convert", str(net), "fp16", "--keep-ops", "Gemm"]) == 0
    out, _ = capsys.readouterr()
    assert "fp16, from net" in out
    assert "operator asked for" in out
    assert out.splitlines()[-1].startswith("file  ")
    assert main(["convert", str(net), "fp32"]) == 0
    assert "net is in fp32 already" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["int9"],
        ["int8"],
        ["int8", "--calibration", "absent"],
        ["int8", "--calibration", "random", "--keep", "nobody"],
        ["fp16", "--ranges", "ranges.json"],
        ["fp16", "--asymmetric"],
        ["int8", "--calibration", "random", "--samples", "0"],
        ["int8", "--auto", "--calibration", "random", "--data", "random"],
        ["int8", "--auto", "--max-drop", "-1", "--data", "random"],
    ],
)
def test_wrong_input_ends_with_2(wrong, net, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["convert", str(net), *wrong]) == 2
    _, err = capsys.readouterr()
    assert "Traceback" not in err
    assert not (tmp_path / "ranges.json").exists()


def test_a_place_that_cannot_be_written_ends_with_2(net, capsys, tmp_path):
    (tmp_path / "folder").mkdir()
    assert main(["convert", str(net), "fp16", "-o", str(tmp_path / "folder")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_auto_tells_its_trials(answer, tmp_path):
    onnx.save(fragile(), tmp_path / "net.onnx")
    x = draw(200, 8, seed=2)
    x[:, 0] = 0
    np.save(tmp_path / "x.npy", x)
    code, data = answer(
        "convert", tmp_path / "net.onnx", "int8", "--calibration", tmp_path / "x.npy", "--auto",
        "--max-drop", "2", "--data", tmp_path / "x.npy",
    )  # fmt: skip
    assert code == 0
    assert data["search"][0]["kept"] == []
    best = data["search"][-1]
    assert (best["kept"], best["within"], best["interval"]) == (["first"], True, None)


def test_a_fixed_batch_is_made_dynamic_first(answer, tmp_path):
    onnx.save(nets.perceptron(batch=1), tmp_path / "net.onnx")
    code, data = answer("convert", tmp_path / "net.onnx", "fp16", "--dynamic-batch")
    assert code == 0
    assert load(data["path"]).inputs[0].shape[0] != 1
