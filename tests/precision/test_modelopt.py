"""ModelOpt's environment: absent it is said so, and whatever it does ends in a result or an error.

The protocol is tested with a small made-up environment, once with a stub in place of our script
and once with our script and a made-up ``modelopt`` in it. What ModelOpt itself does is tested
where ``TRTLAB_MODELOPT`` names a real one.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import psutil
import pytest

from benchmarks.modelopt import RESULT, Asked, table, top1_job
from trtlab import worker
from trtlab.errors import (
    BackendUnavailableError,
    ExecutionError,
    JobCancelled,
    SpecError,
    WorkerCrashed,
)
from trtlab.precision import modelopt
from trtlab.precision.modelopt import ModelOptRequest, convert
from trtlab.precision.modelopt_script import mend_block_axes
from trtlab.verbs.doctor import doctor
from trtlab.zoo import catalogue, labelled

REAL = os.environ.get("TRTLAB_MODELOPT")
SOURCE = catalogue.shipped_path("digits_mobile")

HEAD = """
import json, os, sys, time
from pathlib import Path
replies = os.fdopen(int(sys.argv[1]), "w")
request = json.loads(sys.stdin.readline())
def tell(**fields):
    print(json.dumps(fields), file=replies, flush=True)
"""
WRITE = "Path(request['target']).write_bytes(b'model')\n"
ANSWER = "tell(kind='result', call='c', seconds=2.0, start_seconds=1.0, peak_rss_bytes=7)\n"

FAKE_CAST = """
def convert_to_mixed_precision(onnx_path, **settings):
    model = onnx.load(onnx_path)
    told = {**settings, "calibration_data": sorted(os.listdir(settings.pop("calibration_data")))}
    onnx.helper.set_model_props(model, {"told": json.dumps(told)})
    return model
"""
FAKE_QUANTIZE = """
def quantize(onnx_path, output_path, calibration_data_reader=None, **settings):
    shapes = []
    for feed in calibration_data_reader or ():
        shapes += [[name, list(array.shape)] for name, array in feed.items()]
    model = onnx.ModelProto(doc_string=json.dumps({**settings, "shapes": shapes}))
    onnx.save(model, output_path)
    Path(output_path).with_name("in_between.onnx").write_text("left over")
"""


def environment_at(folder, monkeypatch, command):
    """Make an environment whose interpreter is a shell script."""
    metadata = folder / "lib" / "python3.11" / "site-packages" / "nvidia_modelopt-9.8.7.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Name: nvidia-modelopt\nVersion: 9.8.7\n")
    python = folder / "bin" / "python"
    python.parent.mkdir()
    # Called as: python -I SCRIPT FD. What lies beside the script or the model is not imported.
    python.write_text(f'#!/bin/sh\n[ "$1" = -I ] || exit 9\n{command}\n')
    python.chmod(0o755)
    monkeypatch.setenv("TRTLAB_MODELOPT", str(folder))


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """Return a function that makes an environment whose script is the given text."""

    def make(text):
        script = tmp_path / "stub.py"
        script.write_text(HEAD + text)
        environment_at(tmp_path / "env", monkeypatch, f'exec {sys.executable} {script} "$3"')

    return make


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Return a function that makes an environment with our script and a made-up ModelOpt."""

    def make(cast=FAKE_CAST, quantize=FAKE_QUANTIZE):
        for name, text in (("autocast", cast), ("quantization", quantize)):
            package = tmp_path / "fake" / "modelopt" / "onnx"
            package.mkdir(parents=True, exist_ok=True)
            (package / "__init__.py").touch()
            (package.parent / "__init__.py").touch()
            imports = "import json, os, socket, time, onnx\nfrom pathlib import Path\n"
            (package / f"{name}.py").write_text(imports + text)
        path = f"PYTHONPATH={tmp_path / 'fake'}"
        command = f'exec env {path} {sys.executable} -P "$2" "$3"'
        environment_at(tmp_path / "env", monkeypatch, command)

    return make


def request(tmp_path, recipe="fp16", **options):
    folder = tmp_path / "out"
    folder.mkdir(exist_ok=True)
    return ModelOptRequest(
        source=str(SOURCE), target=str(folder / "m.onnx"), recipe=recipe, **options
    )


def samples(tmp_path, count=10):
    path = tmp_path / "samples.npy"
    np.save(path, labelled.calibration("digits_mobile")[:count])
    return {"image": str(path)}


def left(tmp_path):
    return sorted(path.name for path in (tmp_path / "out").iterdir())


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# Absent


def test_without_the_environment_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TRTLAB_MODELOPT", str(tmp_path / "none"))
    assert modelopt.environment() is None
    with pytest.raises(BackendUnavailableError, match="fp16") as caught:
        convert(request(tmp_path))
    assert caught.value.hint.startswith("make modelopt")
    assert ("ModelOpt", "not installed → make modelopt  (6.5 GB)") in doctor().rows()


def test_an_environment_whose_set_up_was_stopped_counts_as_absent(tmp_path, monkeypatch):
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setenv("TRTLAB_MODELOPT", str(tmp_path / "env"))
    assert modelopt.environment() is None


def test_without_a_name_the_environment_lies_in_the_clone(monkeypatch):
    monkeypatch.delenv("TRTLAB_MODELOPT", raising=False)
    assert modelopt.folder() == Path(__file__).parents[2] / ".modelopt"


def test_doctor_reads_the_version_and_starts_nothing(stub, tmp_path):
    stub("")
    (tmp_path / "env" / "bin" / "python").write_text("not even a program")
    assert ("ModelOpt", f"9.8.7, in {tmp_path / 'env'}") in doctor().rows()


# The protocol


def test_a_result_comes_back_past_what_is_printed(stub, tmp_path):
    stub(
        "print('x' * 100_000)\ntell(kind='progress', phase='p', done=1, total=3)\n"
        + WRITE
        + ANSWER
    )
    heard = []
    result = convert(request(tmp_path), lambda *step: heard.append(step))
    assert (result.version, result.call, result.seconds) == ("9.8.7", "c", 2.0)
    assert (result.start_seconds, result.peak_rss_bytes) == (1.0, 7)
    assert heard == [("p", 1, 3)]
    assert left(tmp_path) == ["m.onnx"]


def test_weights_in_files_of_their_own_travel_both_ways(stub, tmp_path):
    folder = tmp_path / "external"
    (folder / "sub").mkdir(parents=True)
    apart = {"save_as_external_data": True, "location": "sub/w"}
    onnx.save(onnx.load(SOURCE), folder / "m.onnx", **apart)
    stub(
        "import onnx\nassert request['external']\n"
        "onnx.save(onnx.load(request['source']), request['target'], "
        "save_as_external_data=True, location='m.onnx.data')\n" + ANSWER
    )
    out = tmp_path / "out"
    out.mkdir()
    convert(
        ModelOptRequest(
            source=str(folder / "m.onnx"),
            target=str(out / "m.onnx"),
            recipe="fp16",
            external_files=("sub/w",),
        )
    )
    assert left(tmp_path) == ["m.onnx", "m.onnx.data"]
    made = onnx.load(out / "m.onnx").graph.initializer
    for one, other in zip(made, onnx.load(SOURCE).graph.initializer, strict=True):
        np.testing.assert_array_equal(*map(onnx.numpy_helper.to_array, (one, other)))


def test_an_error_there_is_an_error_here_with_the_last_words(stub, tmp_path):
    stub(WRITE + "print('said', flush=True)\ntell(kind='error', message='M: m', details='place')")
    with pytest.raises(ExecutionError, match="fp16: M: m") as caught:
        convert(request(tmp_path))
    assert caught.value.details == "said\n\nplace"
    assert left(tmp_path) == []


def test_an_environment_with_a_package_missing_is_to_be_made_again(stub, tmp_path):
    stub("tell(kind='missing', message='No module named torch', details='')")
    with pytest.raises(BackendUnavailableError, match="No module named torch") as caught:
        convert(request(tmp_path))
    assert "make modelopt" in caught.value.hint


def test_an_interpreter_that_is_none_is_to_be_made_again(stub, tmp_path):
    stub("")
    (tmp_path / "env" / "bin" / "python").chmod(0o644)
    with pytest.raises(BackendUnavailableError, match="cannot be started") as caught:
        convert(request(tmp_path))
    assert "make modelopt" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('replies.write(\'{"kind": "res\')\nreplies.flush()\nos._exit(3)', "exit code 3"),
        ("tell(kind='nonsense')\nos._exit(4)", "exit code 4"),
        ("os._exit(0)", "exit code 0"),
        ("os.kill(os.getpid(), 9)", "often for want of memory"),
        ("os.kill(os.getpid(), 11)", "signal 11"),
    ],
)
def test_an_end_without_a_result_is_told(stub, tmp_path, text, words):
    stub(WRITE + "print('last words', flush=True)\n" + text)
    with pytest.raises(WorkerCrashed, match=words) as caught:
        convert(request(tmp_path))
    assert caught.value.details == "last words\n"
    assert left(tmp_path) == []


def test_one_that_closes_its_pipe_and_stays_is_killed(stub, tmp_path, monkeypatch):
    monkeypatch.setattr(modelopt, "_END_SECONDS", 0.1)
    pid = tmp_path / "pid"
    stub(f"Path({str(pid)!r}).write_text(str(os.getpid()))\nreplies.close()\ntime.sleep(600)")
    with pytest.raises(WorkerCrashed, match="stopped answering"):
        convert(request(tmp_path))
    assert gone(int(pid.read_text()))


def test_a_result_without_a_model_is_an_error(stub, tmp_path):
    stub(ANSWER)
    with pytest.raises(ExecutionError, match="wrote no fp16 model"):
        convert(request(tmp_path))


@pytest.mark.native
@pytest.mark.parametrize("way", ["cancelled", "worker killed"])
def test_no_process_outlives_a_job_that_was_stopped(fake, tmp_path, way):
    pids = tmp_path / "pids"
    note = f"Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{os.getppid()}}')"
    fake(cast=f"def convert_to_mixed_precision(**_):\n    {note}\n    time.sleep(600)\n")
    cancel = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(worker.run, convert, request(tmp_path), cancel=cancel)
        assert wait_until(lambda: pids.is_file() and " " in pids.read_text())
        child, parent = map(int, pids.read_text().split())
        if way == "cancelled":
            cancel.set()
            with pytest.raises(JobCancelled):
                future.result()
        else:
            os.kill(parent, signal.SIGKILL)
            with pytest.raises(WorkerCrashed):
                future.result()
    assert wait_until(lambda: gone(child))


@pytest.mark.native
def test_it_ends_with_its_parent_though_nobody_kills_it(fake, tmp_path):
    pid = tmp_path / "pid"
    note = f"Path({str(pid)!r}).write_text(f'{{os.getpid()}}.')"
    fake(cast=f"def convert_to_mixed_precision(**_):\n    {note}\n    time.sleep(600)\n")
    text = f"from trtlab.precision.modelopt import *; convert({request(tmp_path)!r})"
    with subprocess.Popen([sys.executable, "-c", text]) as parent:
        assert wait_until(lambda: pid.is_file() and pid.read_text().endswith("."))
        parent.kill()
    assert wait_until(lambda: gone(int(pid.read_text()[:-1])))


# Our script


def test_autocast_is_asked_for_these_nodes_and_gets_a_few_samples(fake, tmp_path):
    fake()
    asked = request(
        tmp_path, "bf16", samples=samples(tmp_path), keep_nodes=("a.b",), keep_ops=("Gemm",)
    )
    result = convert(asked)
    props = onnx.load(asked.target).metadata_props
    told = json.loads(next(p.value for p in props if p.key == "told"))
    assert sorted(told.pop("calibration_data")) == [f"{i}.npz" for i in range(8)]
    assert told == {
        "low_precision_type": "bf16",
        "keep_io_types": True,
        "nodes_to_exclude": [r"a\.b\Z"],
        "op_types_to_exclude": ["Gemm"],
    }
    assert "calibration_data='8 batches'" in result.call


@pytest.mark.parametrize(
    ("recipe", "mode", "floats", "method"),
    [
        ("int8", "int8", "fp32", "entropy"),
        ("fp8+fp16", "fp8", "fp16", "entropy"),
        ("int4-weights", "int4", "fp32", "awq_clip"),
    ],
)
def test_quantisation_is_asked_for_and_calibrated_sample_by_sample(
    fake, tmp_path, recipe, mode, floats, method
):
    fake()
    heard = []
    asked = request(
        tmp_path,
        recipe,
        samples=samples(tmp_path, 3),
        keep_nodes=("x",),
        keep_ops=("Gemm",),
        calibrator="entropy",
    )
    convert(asked, lambda *step: heard.append(step))
    told = json.loads(onnx.load(asked.target).doc_string)
    assert told["quantize_mode"] == mode
    assert told["high_precision_dtype"] == floats
    assert told["calibration_method"] == method
    assert told["calibration_eps"] == ["cpu"]
    assert told["shapes"] == [["image", [1, 1, 24, 24]]] * 3
    assert heard[-3:] == [("calibrating", i, 3) for i in (1, 2, 3)]
    if recipe == "int4-weights":  # which knows no operators: their nodes are named instead
        gemm = next(n.name for n in onnx.load(SOURCE).graph.node if n.op_type == "Gemm")
        assert len(told["nodes_to_exclude"]) == 2
        assert gemm in told["nodes_to_exclude"][1].replace("\\", "")
    else:
        assert told["nodes_to_exclude"] == [r"x\Z"]
        assert told["op_types_to_exclude"] == told["op_types_to_exclude_fp16"] == ["Gemm"]
    assert left(tmp_path) == ["m.onnx"]


def test_it_is_allowed_no_network(fake, tmp_path):
    fake(cast="def convert_to_mixed_precision(**_):\n    socket.create_connection(('::1', 9))\n")
    with pytest.raises(ExecutionError, match="allowed no network"):
        convert(request(tmp_path))


def test_fewer_samples_than_the_batch_are_refused(fake, tmp_path):
    fake()
    with pytest.raises(ExecutionError, match="fewer samples than the model's batch"):
        convert(request(tmp_path, "int8", samples=samples(tmp_path, 0)))


@pytest.mark.parametrize(
    ("weight", "scale", "axis"),
    [
        ((10, 96), (10, 3), 1),  # a Gemm's transposed weight by AWQ
        ((10, 96), (1, 96), 0),  # the same without AWQ: blocks along the classes
        ((96, 10), (3, 10), 0),
        ((64, 64), (64, 2), 1),
        ((64, 64), (2, 64), 0),
        ((10, 96), (10, 5), 0),  # fits nowhere: not ours to mend
    ],
)
def test_an_axis_of_blocks_is_mended_where_only_the_other_fits(tmp_path, weight, scale, axis):
    helper, types = onnx.helper, onnx.TensorProto
    node = helper.make_node("DequantizeLinear", ["w", "s"], ["y"], axis=0, block_size=32)
    tensors = [
        helper.make_tensor("w", types.INT8, weight, bytes(weight[0] * weight[1]), raw=True),
        helper.make_tensor("s", types.FLOAT, scale, bytes(4 * scale[0] * scale[1]), raw=True),
    ]
    out = helper.make_tensor_value_info("y", types.FLOAT, weight)
    path = str(tmp_path / "m.onnx")
    onnx.save(helper.make_model(helper.make_graph([node], "g", [], [out], tensors)), path)
    assert mend_block_axes(path) == axis
    found = {a.name: a.i for a in onnx.load(path).graph.node[0].attribute}
    assert found == {"axis": axis, "block_size": 32}


# What is refused, and what is said


@pytest.mark.parametrize("recipe", ["int8", "fp8+fp16"])
def test_calibrators_that_modelopt_lacks_and_missing_data_are_refused(tmp_path, recipe):
    with pytest.raises(SpecError, match="no calibrator 'percentile'"):
        request(tmp_path, recipe, samples={"image": "x.npy"}, calibrator="percentile")
    with pytest.raises(SpecError, match="needs calibration data"):
        request(tmp_path, recipe)


def test_where_modelopt_does_not_do_as_asked_is_said(tmp_path):
    some = {"image": "x.npy"}
    assert "random inputs" in request(tmp_path, "fp16").doubts[0]
    assert "first 8" in request(tmp_path, "fp16", samples=some, keep_io=False).doubts[0]
    assert request(tmp_path, "int8", samples=some, keep_nodes=("a",)).doubts == ()
    both = request(tmp_path, "int8+fp16", samples=some, keep_nodes=("a",), keep_io=False)
    assert [word in text for word, text in zip(("types of", "FP16"), both.doubts, strict=True)]


def test_the_kept_table_has_both_networks_in_every_recipe_and_says_what_failed():
    kept = json.loads(RESULT.read_text())
    recipes = ["fp32", *get_args(modelopt.ModelOptRecipe)]
    named = [(row["model"], row["recipe"]) for row in kept["rows"]]
    assert named == [(name, r) for name in ("digits_mobile", "resnet50") for r in recipes]
    text = table(kept)
    (bf16,) = (line for line in text.splitlines() if line.startswith("| digits_mobile | bf16 |"))
    assert "does not run / does not run" in bf16
    row = {"model": "m", "recipe": "fp8", "conversion_error": "no"}
    assert "| m | fp8 | fails: no |" in table({**kept, "rows": [row]})


# ModelOpt itself


@pytest.mark.native
@pytest.mark.skipif(not REAL, reason="no ModelOpt: make modelopt, and TRTLAB_MODELOPT=.modelopt")
def test_modelopt_quantises_all_but_what_is_to_be_kept(tmp_path):
    kept = next(n for n in onnx.load(SOURCE).graph.node if n.op_type == "Conv")
    count = {}
    for keep in ((), (kept.name,)):
        asked = request(tmp_path, "int8", samples=samples(tmp_path), keep_nodes=keep)
        result = worker.run(convert, asked).result
        made = onnx.load(asked.target)
        onnx.checker.check_model(made)
        assert result.peak_rss_bytes > 100 * 2**20
        behind = {n.output[0] for n in made.graph.node if n.op_type == "DequantizeLinear"}
        count[keep] = [n.name for n in made.graph.node if set(n.input[:2]) <= behind]
    assert kept.name in count[()]
    assert kept.name not in count[kept.name,]
    assert len(count[kept.name,]) == len(count[()]) - 1
    assert left(tmp_path) == ["m.onnx"]


@pytest.mark.native
@pytest.mark.skipif(not REAL, reason="no ModelOpt: make modelopt, and TRTLAB_MODELOPT=.modelopt")
def test_modelopt_still_writes_an_axis_that_must_be_mended(tmp_path):
    asked = request(tmp_path, "int4-weights", samples=samples(tmp_path))
    assert worker.run(convert, asked).result.mended == 1
    assert worker.run(top1_job, Asked(asked.target, optimised=False)).result > 0.9
