"""An ONNX graph in Netron, as one HTML page without a server that can reach no network.

The page is made of the installed package's own files; nothing of Netron is kept here, and none of
its Python runs. Netron's usual page asks ipinfo.io where its reader is, waits for a consent, then
reports use to Google Analytics. Two things keep this one from it: ``netron_host.js`` leaves these
steps out, and a Content-Security-Policy forbids the browser every request. Two frames, because a
policy holds a document's own requests but not its going elsewhere: that is refused by the policy
of the document around it. The frames have no origin: they reach neither the notebook nor storage.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import importlib.metadata
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtlab.errors import SpecError, UnsupportedError
from trtlab.store import write_file
from trtlab.units import text_from_file_size
from trtlab.views.theme import FONT

_OR_YOURSELF = (
    "Or call netron.start(path) yourself: it opens a port, and its page asks ipinfo.io where you "
    "are, may wait for your consent, and then reports its use to Google Analytics."
)

_MODULES = (
    "base", "browser", "dagre", "flatbuffers", "grapher", "json", "onnx", "onnx-proto",
    "protobuf", "tar", "text", "view", "worker", "xml", "zip",
)  # fmt: skip
"""Of Netron's modules those that it loads for an ONNX file, also to rule other formats out."""

_OPERATORS = "onnx-metadata.json"
_HOST = Path(__file__).with_name("netron_host.js")

_RELIED_ON = {
    "browser.js": (
        "export const Host",
        "async view(view) {",
        "async start() {",
        "async _open(file, files) {",
        "async require(id) {",
        "worker(id) {",
        "async asset(file) {",
        "environment(name) {",
        "async execute(name",
        "async export(file, blob) {",
        "openURL(url) {",
        "async message(message, alert, action) {",
    ),
    "view.js": ("export const View", "await this._host.view(this)", "await this._host.start()"),
}
"""What ``netron_host.js`` takes over or calls."""

_STATIC_IMPORT = re.compile(r"^import .*'\./([\w-]+)\.js'", re.MULTILINE)


@dataclass(frozen=True, slots=True, repr=False)
class NetronPage:
    """An ONNX graph in Netron: it shows itself in a notebook, and can be saved.

    Attributes:
        html: The page: one document that needs nothing else.
        note: What it shows and what it leaves out.
        height: Height of its frame in a notebook, in pixels.
    """

    html: str
    note: str
    height: int = 600

    def __post_init__(self) -> None:
        if type(self.height) is not int or self.height < 1:
            raise SpecError(
                f"Height {self.height!r} is no number of pixels.", hint="Give one, as in 600."
            )

    def __repr__(self) -> str:
        size = text_from_file_size(len(self.html.encode()))
        return f"{self.note}\nA page of {size}; page.save(path) writes it to a file."

    def _repr_html_(self) -> str:
        return (
            f'<iframe sandbox="allow-scripts" title="Netron" srcdoc="{html.escape(self.html)}"'
            f' style="border:0;height:{self.height}px;width:100%"></iframe>'
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file that opens without a network.

        Raises:
            StoreError: the file cannot be written.
        """
        target = Path(path)
        write_file(target, self.html.encode(), "The page")
        return target


def netron_page(onnx: bytes, name: str, left_out: str = "", *, height: int = 600) -> NetronPage:
    """Return an ONNX file in the installed Netron.

    Args:
        onnx: The file. It goes into the page as data.
        name: What to call the model.
        left_out: A sentence that says what of the model the file lacks.
        height: Height of the frame in a notebook, in pixels.

    Raises:
        SpecError: the height is no number of pixels.
        UnsupportedError: Netron is not installed, or not in the form that this page is made from.
    """
    import jinja2

    netron = _installed()
    host = _HOST.read_text(encoding="utf-8")
    # Not a nonce: modules would inherit it, and might then be loaded from anywhere.
    digest = base64.b64encode(hashlib.sha256(host.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}' blob:; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    loader = jinja2.PackageLoader("trtlab.views.pages", ".")
    pages = jinja2.Environment(loader=loader, autoescape=True)
    frame = pages.get_template("netron_frame.html.j2").render(
        policy=policy,
        netron=netron,
        files=_packed(json.dumps(netron.files_for(onnx)).encode()),
        model=_packed(onnx),
        host=host,
    )
    note = (
        f"{name}: its ONNX graph in Netron {netron.version}, on a page that reaches no network."
        f" {left_out}"
    ).strip()
    page = pages.get_template("netron.html.j2").render(
        policy=policy, title=f"{name}: ONNX graph", font=FONT, note=note, frame=frame
    )
    return NetronPage(page, note, height)


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


@dataclass(frozen=True, slots=True)
class _Netron:
    """What is taken from the installed package: text of its files."""

    version: str
    style: str
    body: str
    modules: Mapping[str, str]
    operators: Sequence[tuple[str, Any]]

    def files_for(self, onnx: bytes) -> dict[str, str]:
        """Return the files that Netron asks for; of 5 MB about operators what it may need."""
        used = [operator for name, operator in self.operators if name.encode() in onnx]
        return {**self.modules, _OPERATORS: json.dumps(used)}


def _installed() -> _Netron:
    """Read the installed package.

    Raises:
        UnsupportedError: it is not there, or not in the expected form.
    """
    try:
        package = importlib.metadata.distribution("netron")
    except importlib.metadata.PackageNotFoundError as error:
        raise UnsupportedError(
            "Netron is not installed.", hint="pip install -e '.[lab]', or pip install netron."
        ) from error
    folder = Path(str(package.locate_file("netron")))
    try:
        return _taken_from(folder, package.version)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnsupportedError(
            f"Netron {package.version} is not in the form that trtlab shows: {error}.",
            hint=f"Install one that is known to work: pip install netron==9.3.3. {_OR_YOURSELF}",
        ) from error


def _taken_from(folder: Path, version: str) -> _Netron:
    def text(file: str) -> str:
        return (folder / file).read_text(encoding="utf-8")

    index = text("index.html")
    style = re.search(r"<style>(.*?)</style>", index, re.DOTALL)
    body = re.search(r"(<body .*)</body>", index, re.DOTALL)
    if style is None or body is None or 'id="message-text"' not in body[1]:
        raise ValueError("index.html has another structure")
    modules = {f"{name}.js": text(f"{name}.js") for name in _MODULES}
    for file, fragments in _RELIED_ON.items():
        for fragment in fragments:
            if fragment not in modules[file]:
                raise ValueError(f"{file} has no {fragment!r}")
    for file, code in modules.items():
        for other in _STATIC_IMPORT.findall(code):
            if f"{other}.js" not in modules:
                raise ValueError(f"{file} imports {other}.js")
    if _STATIC_IMPORT.search(modules["worker.js"]):
        raise ValueError("worker.js is a module")
    operators = [(str(one["name"]), one) for one in json.loads(text(_OPERATORS))]
    css = f"{text('grapher.css')}\n{style[1]}"
    return _Netron(version, css, body[1], modules, operators)
