"""Records from elsewhere and plans changed on disk: they lead to no other file, no code of theirs
runs."""

import contextlib
import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import trtlab
from tests import making
from trtlab import worker
from trtlab.errors import ModelError, PlanError, TrtlabError
from trtlab.spec import BuildConfig
from trtlab.store import Store

pytestmark = pytest.mark.native
AHEAD = BuildConfig(backend="tensorrt_rtx", target=("sm89",))
MEASURES = {
    "benchmark": lambda plan: trtlab.benchmark(plan, quick=True),
    "profile": lambda plan: trtlab.profile(plan, quick=True),
}
measured_by = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


@pytest.fixture
def handed(monkeypatch):
    """The hash of every plan file that a worker was given to run."""
    real, found = worker.run, []

    def run(job, spec, **more):
        if hasattr(spec, "plan_path"):
            found.append(hashlib.sha256(Path(spec.plan_path).read_bytes()).hexdigest())
        return real(job, spec, **more)

    monkeypatch.setattr(worker, "run", run)
    return found


def digits():
    return trtlab.build("zoo:digits", backend="onnxruntime")


# A hash that is a path


NO_HASHES = ["{home}/victim", "../victim", "a" * 63, "a" * 65, "AB" * 32]


def with_hash(plan, no_hash):
    """The plan under another hash, and what lies where that hash would lead."""
    home = Store().home
    no_hash = no_hash.format(home=home)
    victim = home / "plans" / no_hash[:2] / f"{no_hash}.plan"
    victim.parent.mkdir(exist_ok=True)
    shutil.copyfile(Store().plan_path(plan.hash), victim)
    return replace(plan, hash=no_hash, source="recorded"), victim


@measured_by
@pytest.mark.parametrize("no_hash", NO_HASHES)
def test_a_plan_named_by_no_hash_is_built_anew_and_the_file_it_leads_to_left_alone(
    no_hash, measure, handed
):
    plan = digits()
    foreign, victim = with_hash(plan, no_hash)
    before = victim.read_bytes(), victim.stat()
    assert measure(foreign).plan == plan.hash
    assert handed == [plan.hash]
    assert (victim.read_bytes(), victim.stat()[:9]) == (before[0], before[1][:9])


@measured_by
@pytest.mark.parametrize("no_hash", NO_HASHES)
@pytest.mark.parametrize(
    ("source", "kind"), [("onnx", (PlanError, ModelError)), ("network", PlanError)]
)
def test_a_plan_named_by_no_hash_whose_model_is_not_there_is_refused(
    source, kind, no_hash, measure, handed
):
    plan = digits()
    foreign, victim = with_hash(plan, no_hash)
    before = victim.read_bytes()
    gone = replace(foreign, model_path="/nowhere/digits.onnx", model_source=source)
    with pytest.raises(kind) as caught:
        measure(gone)
    assert caught.value.hint
    assert handed == []
    assert victim.read_bytes() == before


@measured_by
def test_a_plan_that_is_gone_and_so_is_its_model_is_a_plan_error(measure):
    # FAULT in build.usable: load's ModelError passes, where benchmark promises a PlanError.
    plan = digits()
    Store().drop_plan(plan.hash)
    with pytest.raises(PlanError, match="gone"):
        measure(replace(plan, model_path="/nowhere/digits.onnx"))


# Bytes that changed


@measured_by
def test_a_plan_changed_at_equal_size_is_dropped_and_built_anew(measure, handed):
    plan = digits()
    path = Store().plan_path(plan.hash)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(changed) // 2] ^= 1  # a bit of a weight: it would run
    path.write_bytes(changed)
    # ONNX Runtime writes one of several forms of the same plan.
    used = measure(plan).plan
    assert handed == [used]
    assert Store().plan_path(used).read_bytes() != changed
    assert not path.exists() or path.read_bytes() == whole


@measured_by
def test_a_plan_changed_on_disk_whose_model_changed_too_is_refused(measure, tmp_path, handed):
    model = tmp_path / "digits.onnx"
    shutil.copyfile(trtlab.load("zoo:digits").path, model)
    plan = trtlab.build(model, backend="onnxruntime")
    path = Store().plan_path(plan.hash)
    path.write_bytes(bytes(plan.plan_bytes))
    shutil.copyfile(trtlab.load("zoo:digits_mobile").path, model)
    with pytest.raises(PlanError, match="its model has changed"):
        measure(plan)
    assert handed == []
    assert not path.exists()


# Plugin libraries

SOURCE = """
#include <stdio.h>
__attribute__((constructor)) static void loaded(void) {{
    FILE *mark = fopen("{mark}", "w");
    if (mark) fclose(mark);
}}
"""


@pytest.fixture
def library(tmp_path):
    """A shared library and the file that it writes when it is loaded."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make a library with")
    mark, code, made = tmp_path / "loaded", tmp_path / "evil.c", tmp_path / "evil.so"
    code.write_text(SOURCE.format(mark=mark))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, code], check=True)
    script = f"import ctypes; ctypes.CDLL({str(made)!r})"
    subprocess.run([sys.executable, "-c", script], check=True)
    mark.unlink()  # so it does what it should
    return str(made), mark


def check_refused(plan, measure, mark, handed):
    with pytest.raises(PlanError, match="plugin libraries and was not built here") as caught:
        measure(plan)
    assert "naming the libraries" in caught.value.hint
    assert not mark.exists()
    assert handed == []


@measured_by
@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt_rtx"])
def test_plugin_libraries_of_a_foreign_record_are_never_loaded(backend, measure, library, handed):
    made, mark = library
    config = BuildConfig(backend=backend, target=("sm89",), plugin_libraries=(made,))
    model = trtlab.load("zoo:digits")
    plan = making.plan(config=config, model=replace(making.MODEL, hash=model.hash))
    check_refused(replace(plan, model_path=model.path), measure, mark, handed)
    # Also not where the bytes of a plan with that hash are here.
    known = replace(plan, hash=digits().hash, source="recorded")
    check_refused(known, measure, mark, handed)


@measured_by
@pytest.mark.usefixtures("rtx")
def test_plugin_libraries_added_to_a_plan_built_here_are_never_loaded(measure, library, handed):
    made, mark = library
    plan = trtlab.build("zoo:digits", backend="tensorrt_rtx", target="sm89")
    config = replace(plan.config, plugin_libraries=(made,))
    check_refused(replace(plan, config=config), measure, mark, handed)


@pytest.mark.usefixtures("rtx")
def test_plugin_libraries_that_the_caller_names_are_loaded(library):
    made, mark = library
    with contextlib.suppress(TrtlabError):  # it holds no plugin
        trtlab.build("zoo:digits", backend="tensorrt_rtx", target="sm89", plugin_libraries=[made])
    assert mark.exists()


# Network functions


@measured_by
@pytest.mark.parametrize(("source", "kind"), [("network", PlanError), ("onnx", TrtlabError)])
def test_a_record_that_names_a_python_file_never_runs_it(source, kind, measure, tmp_path):
    mark = tmp_path / "pwned"
    evil = tmp_path / "evil.py"
    evil.write_text(
        f"def f(trt, network):\n    open({str(mark)!r}, 'w')\nopen({str(mark)!r}, 'w')\n"
    )
    plan = making.plan(config=AHEAD, model_path=str(evil), model_source=source, source="recorded")
    with pytest.raises(kind):
        measure(plan)
    assert not mark.exists()
