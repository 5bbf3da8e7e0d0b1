"""Commands about this machine: doctor, models, demo, lab."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from trtlab.commands.answer import Answer, error_of, text_of, writable
from trtlab.commands.measure import _point_data
from trtlab.errors import ExecutionError, SpecError
from trtlab.terminal import progress_line


def run_doctor(_options: argparse.Namespace) -> Answer:
    """Run ``trtlab doctor``."""
    from trtlab.verbs.doctor import doctor

    diagnosis = doctor()
    works = any(a.run.can for b in diagnosis.backends for a in b.abilities.values())
    broken = bool(diagnosis.store_error) or not works
    return Answer(diagnosis, repr(diagnosis), 1 if broken else 0)


def run_models(_options: argparse.Namespace) -> Answer:
    """Run ``trtlab models``."""
    from trtlab.units import text_from_file_size
    from trtlab.views.tables import Table
    from trtlab.zoo.catalogue import ENTRIES

    rows = tuple(
        (f"zoo:{e.name}", e.input, text_from_file_size(e.file_bytes), e.task)
        for e in ENTRIES.values()
    )
    table = Table(("Model", "Input", "Size", "Task"), rows, frozenset({2}))
    notes = "\n".join(
        f"\nzoo:{e.name}: {e.title}\n  shows: {e.shows}\n  cannot show: {e.cannot_show}\n"
        f"  weights: {e.weights_licence}; data: {e.data_licence}"
        for e in ENTRIES.values()
    )
    return Answer({"schema_version": 1, "models": list(ENTRIES.values())}, table.text() + notes)


DEMO_MODELS = ("zoo:squeezenet", "zoo:vit_tiny")

DEMO_BATCHES = (1, 2, 4, 8, 16)


def run_demo(options: argparse.Namespace) -> Answer:
    """Run ``trtlab demo``."""
    from trtlab.verbs.profile import profile
    from trtlab.verbs.sweep import sweep
    from trtlab.views.pages.report import report
    from trtlab.views.tables import sweep_table

    target = writable(options.output)
    with progress_line() as progress:
        result = sweep(
            DEMO_MODELS, batch=DEMO_BATCHES, streams=(1, 2), quick=True, reuse=not options.again,
            progress=progress, on_point=progress.on_point,
        )  # fmt: skip
        layers = [profile(m, quick=True, progress=progress) for m in DEMO_MODELS]
    error = error_of(lambda: report(result, target, profiles=layers))
    text = sweep_table(result).text() + (
        "" if error else f"\n\nThe curves: {text_of(target.resolve())}"
    )
    data = {
        "schema_version": 1,
        "report": None if error else text_of(target),
        "points": [_point_data(p) for p in result.points],
    }
    failed = any(p.failure is not None for p in result.points)
    return Answer(data, text, int(failed), error)


def run_lab(options: argparse.Namespace) -> Answer:
    """Run ``trtlab lab``."""
    notebooks = Path(__file__).resolve().parents[2] / "notebooks"
    notebook = notebooks / ("kiosk.ipynb" if options.kiosk else "00_workbench.ipynb")
    if not notebook.is_file():
        raise SpecError(
            "The notebooks are not beside the installed package.",
            hint="Run it from a clone of the project, or open Jupyter and use trtlab.Workbench().",
        )
    if shutil.which("jupyter-lab", path=str(Path(sys.executable).parent)) is None:
        raise ExecutionError("JupyterLab is not installed.", hint="pip install -e '.[lab]'")
    command = [
        sys.executable, "-m", "jupyterlab",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={notebooks.parent}",
        # Unlike a file argument, this also makes the printed address lead to the notebook.
        # One document, sidebars closed: the screen needs the width.
        f"--LabApp.default_url=/doc/tree/{notebooks.name}/{notebook.name}",
        # Nothing phones home.
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    if options.kiosk:
        kiosk = str(notebooks / "kiosk")
        command += [
            f"--LabApp.app_settings_dir={kiosk}",  # where overrides.json lies
            "--LabApp.custom_css=True",
            # Lab looks for custom.css in the user's own folder else, and has no option for it.
            f"--ServerApp.tornado_settings={ {'static_custom_path': [kiosk]} }",
        ]
    command += ["--no-browser"] * options.no_browser
    command += [f"--ServerApp.port={options.port}"] * (options.port is not None)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # containers; the server listens on loopback with a token
    if not options.json:
        os.execv(sys.executable, command)
    return Answer({"schema_version": 1, "command": command}, "")
