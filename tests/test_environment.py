"""What is written down about the machine, and what makes two runs differ in their conditions."""

import platform
import re
from datetime import UTC, datetime

import psutil
import pytest

from tests import making
from trtlab import environment
from trtlab.codec import to_json
from trtlab.environment import GpuState, capture, differences


def test_this_machine_is_described():
    here = capture(("msgspec", "no-such-package-anywhere"))
    assert re.fullmatch(r"[0-9a-f]{16}", here.machine)
    assert here.cpu
    assert 1 <= here.cores <= psutil.cpu_count()
    assert here.memory_bytes > 2**28
    assert here.os.startswith(platform.system())
    assert set(here.packages) == {"trtlab", "numpy", "onnx", "msgspec"}
    made = datetime.fromisoformat(here.created)
    assert made.utcoffset() is not None
    assert abs((datetime.now(UTC) - made).total_seconds()) < 60
    assert here.load_average is None or here.load_average >= 0
    assert here.gpu is None


@pytest.mark.parametrize(
    ("told", "driver"), [((None, None), "CUDA 13.0"), (("GPU 0 of nvidia-smi", "580.1"), "580.1")]
)
def test_a_gpu_has_the_name_that_cuda_gives_it(told, driver, monkeypatch):
    part = GpuState((9, 0), 2**34, (13, 0), name="H200 MIG 1g.18gb")
    monkeypatch.setattr(environment, "gpu_state", lambda: part)
    monkeypatch.setattr(environment, "_nvidia", lambda: told)
    found = capture()
    assert (found.gpu, found.driver) == (part.name, driver)


def test_the_switch_that_overrules_tf32_is_part_of_the_conditions(monkeypatch):
    found = []
    for value in ("", "0", "1"):
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", value)
        found.append(environment.conditions(making.environment()))
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    found.append(environment.conditions(making.environment()))
    assert all(found.count(f) == 1 for f in found)


def test_the_machines_identity_is_stable_and_hides_its_name():
    assert environment.machine_id() == capture().machine == capture().machine
    if platform.node():
        assert platform.node().encode() not in to_json(capture()).split(b'"created"')[0]


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda _pid: {3, 5}, raising=False)
    assert environment.available_cores() == 2
    monkeypatch.delattr(environment.os, "sched_getaffinity")
    monkeypatch.setattr(environment.os, "cpu_count", lambda: None)
    assert environment.available_cores() == 1


def test_busy_seconds_never_fall():
    before = environment.cpu_seconds()
    assert 0 < before <= environment.cpu_seconds()


def test_versions_are_of_distributions():
    assert environment.version("psutil") == psutil.__version__
    assert environment.version("no-such-package-anywhere") is None


def test_the_same_conditions_differ_in_nothing():
    a = making.environment()
    assert differences(a, a) == []
    assert differences(a, making.environment(created="2027-01-01", load_average=9.0)) == []
    packages = a.packages | {"trtlab": "0.2.0", "onnx": "2.0"}
    assert differences(a, making.environment(packages=packages)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"machine": "f" * 16, "cpu": "Another"}, "machine (A processor, Another)"),
        ({"cores": 8}, "usable cores (4, 8)"),
        ({"gpu": "H200", "driver": "580.1"}, "GPU or driver (None None, H200 580.1)"),
        ({"os": "Linux 7"}, "operating system (Linux 6.1 x86_64, Linux 7)"),
        ({"packages": {"numpy": "3"}}, "numpy (2.4.0, 3); onnxruntime (1.31.1, absent)"),
    ],
)
def test_each_difference_is_named_with_both_values(change, words):
    assert "; ".join(differences(making.environment(), making.environment(**change))) == words


def test_differences_go_both_ways():
    a, b = making.environment(), making.environment(cores=1, packages={}, os="x", gpu="y")
    assert len(differences(a, b)) == len(differences(b, a)) == 5
