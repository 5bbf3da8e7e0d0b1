"""Which backend *auto* takes, and what it says when it takes none."""

import threading

import pytest

import trtlab
from tests import making
from trtlab.backends.base import RECIPES, Abilities, Ability, BackendStatus
from trtlab.environment import GpuState
from trtlab.errors import BackendUnavailableError, JobCancelled, SpecError, WorkerCrashed
from trtlab.spec import TENSORRT
from trtlab.store import Store
from trtlab.verbs import build as build_verb
from trtlab.verbs import choose
from trtlab.worker import Finished

ADA = GpuState((8, 9), 2**34, (13, 0))
NONE = GpuState(reason="no NVIDIA driver is installed")


@pytest.fixture
def machine(monkeypatch):
    """Makes a machine of what backends can do here: ``machine(gpu, tensorrt="build run")``."""

    def make(gpu=NONE, **can):
        def status(name, cancel=None):
            words = can.get(name, "").split()
            build, run = (
                Ability(True) if what in words else Ability(False, f"{name} has no {what}.", what)
                for what in ("build", "run")
            )
            return BackendStatus(name, "1", (), build, {"fp32": Abilities(build, run)})

        monkeypatch.setattr(choose, "status_of", status)
        for module in (choose, build_verb):
            monkeypatch.setattr(module, "gpu_state", lambda: gpu)

    return make


@pytest.mark.parametrize(
    ("can", "to_build", "to_run"),
    [
        (
            {"tensorrt": "build run", "tensorrt_rtx": "build run", "onnxruntime": "build run"},
            "tensorrt",
            "tensorrt",
        ),
        (
            {"tensorrt_rtx": "build run", "onnxruntime": "build run"},
            "tensorrt_rtx",
            "tensorrt_rtx",
        ),
        ({"tensorrt_rtx": "build", "onnxruntime": "build run"}, "tensorrt_rtx", "onnxruntime"),
        ({"onnxruntime": "build run"}, "onnxruntime", "onnxruntime"),
    ],
)
def test_the_first_that_can_is_taken(can, to_build, to_run, machine):
    machine(ADA, **can)
    assert choose.backend_for("build") == to_build
    assert choose.backend_for("run") == to_run


def test_without_a_gpu_no_tensorrt_is_asked_whether_it_runs(machine):
    machine(NONE, tensorrt="build run", tensorrt_rtx="build run", onnxruntime="build run")
    assert choose.backend_for("run") == "onnxruntime"


@pytest.mark.parametrize("what", ["build", "run"])
def test_where_none_can_every_reason_is_given(what, machine):
    machine(ADA)
    with pytest.raises(BackendUnavailableError) as caught:
        choose.backend_for(what)
    for name in ("tensorrt", "tensorrt_rtx", "onnxruntime"):
        assert f"{name}: {name} has no {what}" in caught.value.message
    assert ".;" not in caught.value.message
    assert caught.value.hint == what


def test_reasons_are_told_apart_also_without_a_gpu(machine):
    machine(NONE)
    with pytest.raises(BackendUnavailableError) as caught:
        choose.backend_for("run", TENSORRT)
    assert "installed; tensorrt_rtx: no" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "tensorrt_rtx"),
        ({"optimization_level": "all"}, "onnxruntime"),
        ({"provider": "cuda"}, "onnxruntime"),
        ({"optimization_level": 3}, "tensorrt_rtx"),
        ({"workspace": "64MiB"}, "tensorrt_rtx"),
        ({"batch": 4}, "tensorrt_rtx"),
        ({"shapes": {"image": (1, 1, 8, 8)}}, "tensorrt_rtx"),
        ({"profiles": [{"image": [(1, 1, 8, 8)] * 3}]}, "tensorrt_rtx"),
        ({"target": "sm86"}, "tensorrt_rtx"),
        ({"flags": ["DEBUG"]}, "tensorrt_rtx"),
        ({"tf32": False}, "tensorrt_rtx"),
        ({"timing_cache": False}, "tensorrt_rtx"),
        ({"profiling_verbosity": "NONE"}, "tensorrt_rtx"),
    ],
)
@pytest.mark.native
def test_auto_takes_a_backend_that_knows_the_settings(settings, expected, machine, monkeypatch):
    machine(NONE, tensorrt_rtx="build", onnxruntime="build run")
    asked = []

    def build_with(_model, config, **_more):
        asked.append(config)
        return making.plan(config=config)

    monkeypatch.setattr(build_verb, "build_with", build_with)
    trtlab.build("zoo:digits", **settings)
    (config,) = asked
    assert config.backend == expected
    if expected == "tensorrt_rtx":
        assert config.target == (settings.get("target", "sm89"),), "none is here to build for"
    with_gpu = []
    machine(ADA, tensorrt_rtx="build run", onnxruntime="build run")
    monkeypatch.setattr(build_verb, "build_with", lambda _m, c, **_: with_gpu.append(c))
    trtlab.build("zoo:digits", **settings)
    assert with_gpu[0].target == (settings.get("target", "current"),)


@pytest.mark.native
def test_settings_of_two_backends_at_once_are_refused(machine):
    machine(NONE, tensorrt_rtx="build", onnxruntime="build run")
    with pytest.raises(SpecError, match="optimization level"):
        trtlab.build("zoo:digits", optimization_level="all", workspace="64MiB")
    with pytest.raises(SpecError, match="providers"):
        trtlab.build("zoo:digits", provider="cuda", target="sm89")


@pytest.fixture
def unknown(monkeypatch):
    """Nothing was asked in this process before."""
    known = {}
    monkeypatch.setattr(choose, "_known", known)
    monkeypatch.setattr(choose.importlib.util, "find_spec", lambda _name: object())
    return known


def test_a_backend_whose_worker_dies_is_a_status_and_no_error(monkeypatch, unknown):
    def die(*_arguments, **_more):
        raise WorkerCrashed("The worker process crashed in native code (SIGSEGV).", hint="Try.")

    monkeypatch.setattr(choose.worker, "run", die)
    for name in (*TENSORRT, "onnxruntime"):
        status = choose.status_of(name)
        assert status.version is None
        assert set(status.abilities) == set(RECIPES)
        assert "SIGSEGV" in status.abilities["fp32"].build.reason
        assert status.abilities["fp32"].run.hint == "Try."
    assert unknown == {}


def test_a_failure_is_asked_again_and_an_answer_is_not(monkeypatch, unknown):
    broken = BackendStatus("tensorrt", None, (), Ability(False), {})
    works = BackendStatus("tensorrt", "11.1", ("sm89",), Ability(True), {})
    answers = [WorkerCrashed("It crashed.", hint="Try."), broken, works]

    def answer(*_arguments, **_more):
        said = answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return Finished(said, None)

    monkeypatch.setattr(choose.worker, "run", answer)
    versions = [choose.status_of("tensorrt").version for _ in range(4)]
    assert versions == [None, None, "11.1", "11.1"]
    assert answers == []
    assert unknown == {"tensorrt": works}


@pytest.mark.native
def test_asking_a_backend_can_be_stopped_and_is_then_no_answer(unknown):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(JobCancelled):
        choose.status_of("onnxruntime", cancel)
    with pytest.raises(JobCancelled):
        choose.backend_for("build", ["onnxruntime"], cancel)
    assert choose.status_of("onnxruntime").version is not None


def test_a_tensorrt_that_is_not_installed_is_known_without_a_worker(monkeypatch, unknown):
    monkeypatch.setattr(choose.worker, "run", lambda *_a, **_k: pytest.fail("asked a worker"))
    monkeypatch.setattr(choose.importlib.util, "find_spec", lambda _name: None)
    for name, extra in (("tensorrt", ".[tensorrt]"), ("tensorrt_rtx", ".[rtx]")):
        ability = choose.status_of(name).abilities["fp32"].build
        assert not ability.can
        assert f"{name} is not installed" in ability.reason
        assert extra in ability.hint


@pytest.mark.native
@pytest.mark.usefixtures("rtx")
def test_what_tensorrt_rtx_says_of_itself_is_what_it_then_does():
    status = choose.status_of("tensorrt_rtx")
    assert status.abilities["fp32"].build.can
    assert {"sm80", "sm86", "sm89", "sm120"} <= set(status.targets)
    assert "sm90" not in status.targets
    can_run = status.abilities["fp32"].run.can
    assert ("current" in status.targets) is can_run
    plan = trtlab.build("zoo:digits", target="sm86")
    assert plan.config.backend in TENSORRT
    if not can_run:
        with pytest.raises(BackendUnavailableError) as caught:
            trtlab.benchmark(plan, quick=True)
        assert status.abilities["fp32"].run.reason in caught.value.message
        assert Store().has_plan(plan)
