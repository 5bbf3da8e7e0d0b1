"""A JupyterLab of its own and a headless Chromium in it, for what is measured or drawn there."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil

ROOT = Path(__file__).parent.parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking"]  # fmt: skip
START_SECONDS = 60
WAIT_MS = 120_000

_READY = """
const panel = window.jupyterapp.shell.currentWidget;
await panel.context.ready;
await panel.sessionContext.ready;
await panel.sessionContext.session.kernel.info;
"""
"""Lab drops, silently, what is to be run before the kernel is ready."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A running server and a browser.

    Attributes:
        folder: Where notebooks lie.
        home: Home folder of the kernels; each store lies in a folder of its own there.
        browser: Playwright's.
    """

    url: str
    token: str
    folder: Path
    home: Path
    browser: Any

    def notebook(self, *cells: str) -> Path:
        """Write a notebook with these code cells."""
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": kernel},
        )
        path = self.folder / f"{secrets.token_hex(4)}.ipynb"
        nbformat.write(notebook, path)
        return path

    @contextmanager
    def opened(self, notebook: Path, *, width: int = 1280, height: int = 860) -> Iterator[Any]:
        """Open a notebook alone in a page, its kernel ready; both end afterwards."""
        page = self.browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{self.url}/doc/tree/{notebook.name}?token={self.token}")
        page.wait_for_function(
            "path => window.jupyterapp?.shell?.currentWidget?.context?.path === path",
            arg=notebook.name,
        )
        page.evaluate(f"async () => {{ {_READY} }}")
        try:
            yield page
        finally:
            page.evaluate(f"async () => {{ {_READY} await panel.sessionContext.shutdown(); }}")
            page.close()

    def run_all(self, page: Any) -> None:
        """Run all cells to their end.

        Raises:
            RuntimeError: a cell raised.
        """
        found = page.evaluate(f"""async () => {{ {_READY}
          await window.jupyterapp.commands.execute('notebook:run-all-cells');
          return panel.content.widgets.flatMap(cell => cell.model.outputs?.toJSON() ?? [])
            .filter(one => one.output_type === 'error').map(one => one.evalue); }}""")
        if found:
            raise RuntimeError(found[0])

    def execute(self, page: Any, code: str) -> None:
        """Run code in the notebook's kernel.

        Raises:
            RuntimeError: it raised.
        """
        error = page.evaluate(f"""async (code) => {{ {_READY}
          const told = panel.sessionContext.session.kernel.requestExecute({{ code }});
          const reply = (await told.done).content;
          return reply.status === 'error' ? reply.evalue : ''; }}""", code)  # fmt: skip
        if error:
            raise RuntimeError(error)

    def save(self, page: Any) -> None:
        """Save the notebook."""
        page.evaluate(f"async () => {{ {_READY} await panel.context.save(); }}")


@contextmanager
def running(flags: Sequence[str] = ()) -> Iterator[Lab]:
    """Start a server and a browser; both, and every kernel, are gone afterwards.

    Raises:
        RuntimeError: there is no Chromium, or the server did not start.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise RuntimeError("There is no Chromium: install the package chromium.")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        token = secrets.token_hex(16)
        (home / "notebooks").mkdir()
        with _server(home, token) as url, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=[*FLAGS, *flags])
            try:
                yield Lab(url, token, home / "notebooks", home, browser)
            finally:
                browser.close()


@contextmanager
def _server(home: Path, token: str) -> Iterator[str]:
    settings = home / "config/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    # Lab's question whether to fetch news would lie over the screen.
    quiet = {"checkForUpdates": False, "fetchNews": "false"}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        "--expose-app-in-browser",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
        f"--ServerApp.root_dir={home / 'notebooks'}",
        f"--IdentityProvider.token={token}",
        "--LabApp.news_url=None",
    ]
    places = {
        "HOME": home,
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "PYTHONPATH": ROOT,
        "TRTLAB_HOME": home / "store",
    }
    environment = os.environ | {name: str(place) for name, place in places.items()}
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield _url(process, home, token)
    finally:
        # Kernels have sessions of their own: they do not end with the server.
        family = []
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            process.wait()
        for child in psutil.wait_procs(family, timeout=3)[1]:
            child.kill()


def _url(process: subprocess.Popen[bytes], home: Path, token: str) -> str:
    """Wait for the server's own note of its port, and for its answer."""
    note = home / "runtime" / f"jpserver-{process.pid}.json"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            url = f"http://127.0.0.1:{json.loads(note.read_text())['port']}"
            urllib.request.urlopen(f"{url}/api/status?token={token}", timeout=10).close()
        except (ValueError, OSError):
            time.sleep(0.1)
        else:
            return url
    raise RuntimeError(f"JupyterLab did not start:\n{(home / 'server.log').read_text()[-3000:]}")
