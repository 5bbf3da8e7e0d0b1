"""A JupyterLab of its own and a Chromium that may talk to nothing else.

Fixtures: ``lab`` opens notebooks in the browser, runs them and talks to their kernels. A test
that uses it fails when a page logs an error or asks for anything but the loopback server.
"""

import json
import os
import re
import secrets
import shutil
import site
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import psutil
import pytest

import trtlab

START_SECONDS = 120
WAIT_MS = 90_000
"""How long a page may take for one step: many times what an idle machine needs."""

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page that a test changed on its way has no address, which counts as foreign to loopback.
    "--disable-features=LocalNetworkAccessChecks",
    # A forbidden request must fail the same way with and without a network.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

HARMLESS: tuple[tuple[str, str], ...] = ()
"""Console errors that are no fault of ours: a pattern, and the reason."""


def _chromium() -> str:
    names = (
        os.environ.get("TRTLAB_CHROMIUM", ""),
        "chromium",
        "chromium-browser",
        "google-chrome",
    )
    return next((path for name in names if name and (path := shutil.which(name))), "")


@pytest.fixture(scope="session")
def chromium() -> str:
    path = _chromium()
    if path:
        return path
    reason = "no Chromium: install the package chromium, or name one in TRTLAB_CHROMIUM"
    if "browser" in os.environ.get("TRTLAB_REQUIRE", "").split(","):
        pytest.fail(reason)
    return pytest.skip(reason)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args, chromium):
    return {**browser_type_launch_args, "executable_path": chromium, "args": [*CHROMIUM_FLAGS]}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    return {**browser_context_args, "viewport": {"width": 1280, "height": 1000}}


@dataclass
class Server:
    """A running Jupyter server, reached only through its token."""

    url: str
    token: str
    folder: Path
    home: Path
    pid: int

    def call(self, path: str, method: str = "GET"):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None


@pytest.fixture(scope="session")
def server(chromium, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    folder = tmp_path_factory.mktemp("notebooks")
    token = secrets.token_hex(16)
    log = home / "server.log"
    _keep_quiet(home)
    with log.open("wb") as output:
        process = subprocess.Popen(
            _server_command(token, folder),
            cwd=folder,
            env=_server_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with _ended_with_children(process):
            yield _wait_for_server(process, home, token, folder, log)


def _settings(home: Path) -> Path:
    """Where Lab keeps what was set about itself."""
    return home / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"


def _keep_quiet(home: Path) -> None:
    """Answer Lab's question whether to fetch news: its box would lie over what a test clicks."""
    plugin = _settings(home)
    plugin.mkdir(parents=True)
    choice = {"checkForUpdates": False, "fetchNews": "false"}
    (plugin / "notification.jupyterlab-settings").write_text(json.dumps(choice))


def _server_command(token: str, folder: Path) -> list[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        "--expose-app-in-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={folder}",
        f"--IdentityProvider.token={token}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]


def _server_environment(home: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "JPY_", "IPYTHON", "XDG_", "PYTEST_", "TRTLAB_"))
    }
    here = str(Path(trtlab.__file__).parents[1])
    return kept | {
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "PYTHONPATH": os.pathsep.join(filter(None, (here, kept.get("PYTHONPATH", "")))),
        "PYTHONUSERBASE": site.getuserbase(),  # else the new HOME hides what is installed there
    }


def _wait_for_server(process, home, token, folder, log) -> Server:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        # The server's own note has the port that it got, should ours have been taken meanwhile.
        for note in (home / "runtime").glob(f"jpserver-{process.pid}.json"):
            try:
                port = json.loads(note.read_text())["port"]
                server = Server(f"http://127.0.0.1:{port}", token, folder, home, process.pid)
                server.call("/api/status")
            except (ValueError, OSError):
                break
            return server
        time.sleep(0.1)
    return pytest.fail(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-3000:]}")


@contextmanager
def _ended_with_children(process):
    """Kernels have sessions of their own, so the server's group does not hold them."""
    try:
        yield
    finally:
        family = []
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for child in psutil.wait_procs(family, timeout=3)[1]:
            child.kill()
        psutil.wait_procs(family, timeout=3)


@pytest.fixture(scope="session")
def base_url(server):
    """Lets a page be named by its path, and replaces a fixture that pytest 9 warns of."""
    return server.url


@dataclass
class Watch:
    """What the pages of one test logged and asked for."""

    problems: list[str] = field(default_factory=list)

    def follow(self, context) -> None:
        context.on("console", self._console)
        context.on(
            "weberror",
            lambda error: self.problems.append(f"page error: {error.error}\n{error.error.stack}"),
        )
        context.on("request", lambda request: self._request(request.url))
        context.on("page", lambda page: page.on("websocket", lambda ws: self._request(ws.url)))

    def _console(self, message) -> None:
        text = f"{message.text} ({message.location.get('url', '')})"
        if message.type == "error" and not any(re.search(known, text) for known, _ in HARMLESS):
            self.problems.append(f"console: {text}")

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.problems.append(f"request: {url[:200]}")


READY = """
const within = (promise) => Promise.race([promise, new Promise((_, reject) =>
  setTimeout(() => reject(new Error(`not finished in ${ms} ms`)), ms))]);
const panel = window.jupyterapp.shell.currentWidget;
await within(panel.context.ready);
await within(panel.sessionContext.ready);
const kernel = panel.sessionContext.session.kernel;
await within(kernel.info);
"""
"""Only a ready session runs what it is told: Lab drops a Run All that comes before, silently."""


class Lab:
    """JupyterLab as its user sees it."""

    def __init__(self, server: Server, context) -> None:
        self.server = server
        self.context = context

    def notebook(self, *cells: str) -> Path:
        """Write a notebook with these code cells."""
        path = self.server.folder / f"{secrets.token_hex(4)}.ipynb"
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
            },
        )
        nbformat.write(notebook, path)
        return path

    def open(self, notebook: Path, page=None):
        """Open a notebook in a new page, or beside what ``page`` shows already.

        Not beside after a reload: Lab would bring the page's first notebook to the front again.
        """
        if page is None:
            page = self.context.new_page()
            # A workspace of its own: no tab of an earlier test comes back.
            query = f"lab/workspaces/{secrets.token_hex(4)}/tree/{notebook.name}"
            page.goto(f"/{query}?token={self.server.token}")
        else:
            page.evaluate(
                "path => window.jupyterapp.commands.execute('docmanager:open', {path})",
                notebook.name,
            )
        page.wait_for_function(
            "path => window.jupyterapp?.shell?.currentWidget?.context?.path === path",
            arg=notebook.name,
        )
        return page

    def run_all(self, page) -> None:
        """Run all cells to their end; an error in a cell fails the test."""
        errors = self._evaluate(
            page,
            READY
            + """
            await within(window.jupyterapp.commands.execute('notebook:run-all-cells'));
            const outputs = panel.content.widgets.flatMap(
              cell => cell.model.outputs?.toJSON() ?? []);
            return outputs.filter(one => one.output_type === 'error')
              .map(one => `${one.ename}: ${one.evalue}`);
            """,
        )
        assert not errors, errors

    def output(self, page, cell: int):
        """Scroll to a cell and wait for its output."""
        self._evaluate(page, READY + "await within(panel.content.scrollToItem(value));", cell)
        output = page.locator(
            f'.jp-NotebookPanel:not(.lm-mod-hidden) [data-windowed-list-index="{cell}"]'
            " .jp-OutputArea-output"
        )
        output.first.wait_for()
        return output

    def execute(self, page, code: str) -> str:
        """Run code in the notebook's kernel and return what it printed."""
        return self._evaluate(
            page,
            READY
            + """
            const request = kernel.requestExecute({ code: value });
            let text = '';
            request.onIOPub = ({ header, content }) => {
              if (header.msg_type === 'stream') text += content.text;
              if (header.msg_type === 'error') text += `${content.ename}: ${content.evalue}`;
            };
            await within(request.done);
            return text;
            """,
            code,
        ).strip()

    def save(self, page) -> None:
        """Save the notebook."""
        self._evaluate(page, READY + "await within(panel.context.save());")

    def _evaluate(self, page, body: str, value=None):
        return page.evaluate(f"async ([value, ms]) => {{ {body} }}", [value, WAIT_MS])


@pytest.fixture
def watch(context):
    watch = Watch()
    watch.follow(context)
    yield watch
    for page in context.pages:
        page.close()
    assert not watch.problems, "\n".join(watch.problems)


@pytest.fixture
def lab(server, context, watch):
    context.set_default_timeout(WAIT_MS)
    yield Lab(server, context)
    for page in context.pages:
        page.close()
    for session in server.call("/api/sessions"):
        server.call(f"/api/sessions/{session['id']}", "DELETE")
    # A theme that a test chose is Lab's default again for the next one.
    (_settings(server.home) / "themes.jupyterlab-settings").unlink(missing_ok=True)


@pytest.fixture
def artifact():
    """Keep a picture of a page or an element where TRTLAB_ARTIFACTS says, if it does."""

    def keep(target, name: str) -> None:
        folder = os.environ.get("TRTLAB_ARTIFACTS")
        if folder:
            target.screenshot(path=Path(folder) / f"{name}.png")

    return keep
