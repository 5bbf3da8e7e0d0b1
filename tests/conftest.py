"""Every test has a store of its own and leaves no worker process behind."""

import psutil
import pytest


def workers_of_this_process():
    """Worker processes below this one that still run; a zombie is one that nobody waited for."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "trtlab.worker" in child.cmdline() or child.status() == psutil.STATUS_ZOMBIE:
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
