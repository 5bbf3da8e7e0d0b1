"""The plain picture below a workbench, for a notebook that is opened without a kernel."""

import atexit
import dataclasses
import sys

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from tests.app.benches import a_run
from tests.making import measurement
from trtlab.app.state import State
from trtlab.app.still import Still
from trtlab.app.workbench import Workbench

PICTURE = "data:image/png;base64," + "iVBORw0KGgo="


def a_still():
    run = a_run(measurement=measurement())
    return Still(State(runs=(run,), selected=run))


def test_it_tells_the_run_in_words_and_its_figure():
    still = a_still()
    assert "<img" not in still.html()
    assert "inf/s (measured)" in still.html()
    still.take(PICTURE)
    assert f"<img src='{PICTURE}'" in still.html()


def test_only_a_picture_is_taken_for_one():
    still = a_still()
    for bad in ("", "x' onerror='alert(1)", "data:text/html,<b>", PICTURE + "'", PICTURE * 99999):
        still.take(bad)
        assert "<img" not in still.html()


def test_a_models_name_is_never_markup():
    run = a_run(measurement=measurement())
    model = dataclasses.replace(run.model, name="<script>")
    run = dataclasses.replace(run, line=dataclasses.replace(run.line, model=model))
    assert "<script" not in Still(State(selected=run)).html()


def test_the_screen_names_what_it_hides_and_puts_it_out_below_itself(monkeypatch, tmp_path):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    atexit.unregister(shell.atexit_operations)
    published = []
    monkeypatch.setattr(
        shell.display_pub, "publish", lambda data, **more: published.append((data, more))
    )
    monkeypatch.setattr(InteractiveShell, "instance", classmethod(lambda _cls: shell))
    monkeypatch.setattr(InteractiveShell, "initialized", classmethod(lambda _cls: True))
    bench = Workbench()
    bench.jobs.wait()
    bench._ipython_display_()
    first, second = (data for data, _ in published)
    assert "application/vnd.jupyter.widget-view+json" in first
    assert bench.frame.still in second["text/html"]
    run = a_run(measurement=measurement())
    bench.state.update(runs=(run,), selected=run)
    bench.act("picture", PICTURE)
    data, more = published[-1]
    assert PICTURE in data["text/html"]
    assert more["update"] is True
    bench.close()
