"""Every test has a store of its own and leaves no worker process behind."""

import importlib.util
import os
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

# The same examples everywhere, and no failure because the machine is busy.
settings.register_profile(
    "trtlab",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("trtlab")


def workers_of_this_process():
    """Worker processes below this one that still run; a zombie is one that nobody waited for."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            # Of other programs' children their own parents take care.
            forgotten = child.status() == psutil.STATUS_ZOMBIE and child.ppid() == os.getpid()
            if forgotten or "trtlab.worker" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("TRTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TRTLAB_PLAN_LIMIT", raising=False)
    yield
    assert not workers_of_this_process()


@pytest.fixture(scope="session")
def shared_data():
    """Recorded files of real engines, which are not part of the project."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no folder shared/data beside the checkout: recorded engines are not there")
    return folder


@pytest.fixture(scope="session")
def rtx() -> str:
    """TensorRT-RTX, which builds engines without a GPU: its module's name.

    Skips where there is none, or fails if TRTLAB_REQUIRE asks for it. Not the module itself:
    whoever imports it loads a hundred megabytes into this process.
    """
    name = "tensorrt_rtx"
    if importlib.util.find_spec(name) is not None:
        return name
    reason = "no TensorRT-RTX: pip install -e '.[rtx]'"
    if "rtx" in os.environ.get("TRTLAB_REQUIRE", "").split(","):
        pytest.fail(reason)
    return pytest.skip(reason)
