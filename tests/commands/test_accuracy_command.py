"""``trtlab accuracy``: its options reach the verb, its JSON has all numbers."""

import argparse
import json

import numpy as np
import onnx
import pytest

from tests.model import nets
from trtlab.codec import to_json
from trtlab.commands.accuracy import accuracy_arguments, run_accuracy
from trtlab.errors import SpecError
from trtlab.spec import BuildConfig
from trtlab.store import Store, record_id
from trtlab.verbs.accuracy import accuracy
from trtlab.verbs.build import build_with
from trtlab.verbs.load import load

pytestmark = pytest.mark.native


@pytest.fixture
def answer():
    def run(*arguments):
        parser = argparse.ArgumentParser()
        accuracy_arguments(parser)
        return run_accuracy(parser.parse_args(list(map(str, arguments))))

    return run


@pytest.fixture
def files(tmp_path):
    """Two networks that differ in one weight, samples, and labels that both get right."""
    proto = nets.perceptron()
    onnx.save(proto, tmp_path / "net.onnx")
    w = onnx.numpy_helper.to_array(proto.graph.initializer[2]).copy()
    w[:, 0] *= 1.01
    proto.graph.initializer[2].raw_data = w.tobytes()
    onnx.save(proto, tmp_path / "other.onnx")
    x = np.random.default_rng(0).standard_normal((24, 8)).astype("f4")
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "labels.txt").write_text("0\n" * 24)
    return tmp_path


def test_text_and_json_hold_the_same(answer, files):
    found = answer(
        files / "net.onnx", "--reference", files / "other.onnx", "--data", files / "x.npy",
        "--labels", files / "labels.txt", "--arithmetic", "emulated", "--per-node",
        "--rtol", "0.001", "--atol", "0", "--batch", "5",
    )  # fmt: skip
    data = json.loads(to_json(found.data))
    record = accuracy(
        files / "net.onnx", files / "x.npy", reference=files / "other.onnx",
        labels=files / "labels.txt", arithmetic="emulated", per_node=True, rtol=0.001, atol=0,
        batch=5,
    )  # fmt: skip
    assert data["id"] == record_id(record)[:12]
    assert data["outputs"][0]["rmse"] == record.outputs[0].rmse
    assert (data["outputs"][0]["rtol"], data["outputs"][0]["atol"]) == (0.001, 0)
    assert data["top1"] == record.labels.top1
    assert data["loss"] == record.labels.sentence
    assert [n["node"] for n in data["nodes"]] == [n.node for n in record.nodes]
    assert data["suggested"] == ["second"]
    assert found.code == 0
    assert repr(record) in found.text
    assert found.text.splitlines()[-4].startswith("second")  # the largest effect comes first


def test_a_plan_by_its_id(answer, files):
    plan = build_with(load(files / "net.onnx"), BuildConfig(backend="onnxruntime"), store=Store())
    found = answer(record_id(plan)[:12], "--data", files / "x.npy", "--samples", "4")
    assert found.data["plan"] == plan.hash
    assert found.data["data"].samples == 4
    assert found.data["top1"] is None
    with pytest.raises(SpecError, match="of kind accuracy, not a plan"):
        answer(found.data["id"], "--data", files / "x.npy")
