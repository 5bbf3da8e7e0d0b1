"""Every notebook runs from top to bottom in a fresh kernel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NEED_TENSORRT_RTX = (
    "02_build_an_engine",
    "03_fusion",
    "04_time_per_layer",
    "06_workspace",
)
NOTEBOOKS = sorted((Path(__file__).parent.parent.parent / "notebooks").glob("*.ipynb"))


def test_the_notebooks_that_need_tensorrt_rtx_are_there():
    assert {path.stem for path in NOTEBOOKS} >= set(NEED_TENSORRT_RTX)


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path, tmp_path, request):
    if path.stem in NEED_TENSORRT_RTX:
        request.getfixturevalue("rtx")
    # In a process of its own: warnings of the notebook machinery are not ours to fail on.
    output = tmp_path / path.name
    command = [sys.executable, "-m", "jupyter", "execute", str(path), f"--output={output}"]
    environment = {**os.environ, "TRTLAB_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert output.stat().st_size > path.stat().st_size
