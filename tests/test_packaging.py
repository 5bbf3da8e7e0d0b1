"""What is in the wheel works without the clone around it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SCRIPT = """
import sys
from pathlib import Path
import trtlab
where, home = Path(sys.argv[1]), Path(sys.argv[2])
assert where in Path(trtlab.__file__).parents, trtlab.__file__
bench = trtlab.Workbench.recorded()
assert len(bench.runs) > 10
bench.close()
from trtlab.views.widgets.plotly_view import PlotlyView
sweep = trtlab.sweep("zoo:digits", batch=[1, 2], quick=True)
view = PlotlyView(trtlab.figure(sweep, "latency"))
assert "render" in str(view._esm)
assert "plotly" in trtlab.report(sweep, home / "report.html").read_text()
from trtlab.zoo.labelled import held_out
assert len(held_out("digits_mobile")[1]) >= 1000
"""


@pytest.mark.packaging
def test_the_wheel_alone_opens_a_widget_sweeps_and_reports(tmp_path):
    quiet = {"check": True, "capture_output": True, "timeout": 200}
    wheels, installed = tmp_path / "wheels", tmp_path / "installed"
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, ROOT]
    subprocess.run(build, **quiet)
    (wheel,) = wheels.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target"]
    subprocess.run([*pip, installed, wheel], **quiet)
    environment = {**os.environ, "PYTHONPATH": str(installed), "TRTLAB_HOME": str(tmp_path / "h")}
    command = [sys.executable, "-P", "-c", SCRIPT, str(installed), str(tmp_path)]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
