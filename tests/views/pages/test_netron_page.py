"""The page that shows an ONNX graph in Netron: what is in it, what it forbids, what it refuses."""

import base64
import gzip
import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from tests.model.nets import perceptron
from trtlab.errors import SpecError, StoreError, UnsupportedError
from trtlab.views.pages.netron_page import netron_page

HOSTILE = "</script></iframe><img src=x onerror=alert(1)>\"'&quot;{{ 7 * 7 }}"
FILE = perceptron().SerializeToString()


class Elements(HTMLParser):
    """The elements of a document with their attributes, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.found, self.scripts, self._inside = [], [], False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self._inside = tag == "script"
        self.scripts += [""] * self._inside

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]

    @property
    def policy(self):
        (policy,) = [m["content"] for m in self.all("meta") if "http-equiv" in m]
        return policy


def frame_of(page):
    (frame,) = Elements(page.html).all("iframe")
    return Elements(frame["srcdoc"])


def unpacked(script):
    return gzip.decompress(base64.b64decode(script))


@pytest.mark.parametrize("name", ["model", HOSTILE])
def test_names_and_notes_are_text(name):
    page = netron_page(FILE, name, f"Left out: {name}")
    outer = Elements(page.html)
    assert not outer.all("script")
    assert not outer.all("img")
    assert [f["sandbox"] for f in outer.all("iframe")] == ["allow-scripts"]
    assert outer.all("iframe")[0]["title"] == f"{name}: ONNX graph"
    (cell,) = Elements(page._repr_html_()).found
    assert cell[0] == "iframe"
    assert cell[1]["sandbox"] == "allow-scripts"
    assert cell[1]["srcdoc"] == page.html
    assert "height:600px" in cell[1]["style"]
    assert repr(page).startswith(f"{name}: its ONNX graph in Netron ")
    assert f"Left out: {name}" in repr(page)


def test_both_documents_forbid_every_request():
    page = netron_page(FILE, "model")
    frame = frame_of(page)
    assert Elements(page.html).policy == frame.policy
    directives = dict(d.strip().split(" ", 1) for d in frame.policy.split(";"))
    assert directives["default-src"] == "'none'"
    digest, blob = directives.pop("script-src").split()
    assert blob == "blob:"
    assert base64.b64decode(digest[8:-1]) == hashlib.sha256(frame.scripts[-1].encode()).digest()
    assert directives == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_frame_holds_the_model_and_what_netron_loads_for_it():
    frame = frame_of(netron_page(FILE, "model"))
    assert not frame.all("link")
    assert not [a for _, a in frame.found if "src" in a or "onclick" in a]
    files, model, _host = frame.scripts
    assert unpacked(model) == FILE
    files = json.loads(unpacked(files))
    assert {"browser.js", "view.js", "grapher.js", "dagre.js", "onnx.js"} <= set(files)
    assert {o["name"] for o in json.loads(files["onnx-metadata.json"])} >= {"MatMul", "Relu"}
    assert "Conv" not in {o["name"] for o in json.loads(files["onnx-metadata.json"])}


def test_none_of_netrons_python_runs():
    script = (
        "import sys\n"
        "from trtlab.views.pages.netron_page import netron_page\n"
        "netron_page(b'', 'model')\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('netron', 'http', 'webbrowser')])"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert said.stdout.strip() == b"[]"


def test_a_page_is_saved_or_says_why_not(tmp_path):
    page = netron_page(FILE, "naïve")
    assert page.save(tmp_path / "graph.html").read_text(encoding="utf-8") == page.html
    assert "charset" in page.html[:200]
    with pytest.raises(StoreError, match="not written"):
        page.save(tmp_path)


@pytest.mark.parametrize("height", [0, -5, 1.5, True, "600;color:red", None])
def test_the_height_is_a_number_of_pixels(height):
    with pytest.raises(SpecError, match="pixels"):
        netron_page(FILE, "model", height=height)


@pytest.fixture
def other_netron(tmp_path, monkeypatch):
    """A copy of the installed Netron's files, taken for the installed one."""
    folder = tmp_path / "netron"
    folder.mkdir()
    installed = Path(importlib.metadata.distribution("netron").locate_file("netron"))
    for file in [*installed.glob("*.js"), *map(installed.joinpath, ("index.html", "grapher.css"))]:
        shutil.copy(file, folder)
    (folder / "onnx-metadata.json").write_text("[]")
    package = SimpleNamespace(version="99.0.0", locate_file=tmp_path.joinpath)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _name: package)
    return folder


def test_the_copy_is_as_good_as_the_original(other_netron):
    assert "in Netron 99.0.0" in netron_page(FILE, "model").note


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("index.html", "<style>", "<style media=all>", "another structure"),
        ("index.html", 'id="message-text"', 'id="words"', "another structure"),
        ("browser.js", "async view(view) {", "async open(view) {", "async view"),
        ("browser.js", "export const Host", "const Host", "export const Host"),
        ("view.js", "await this._host.start()", "await this._host.run()", "start"),
        ("onnx.js", "'./protobuf.js'", "'./wire.js'", "wire.js"),
        ("worker.js", "const require", "import * as base from './base.js';\nconst require", "mod"),
        ("onnx-metadata.json", "[]", "[{}]", "name"),
        ("onnx-metadata.json", "[]", "[3]", "subscriptable"),
        ("onnx-metadata.json", "[]", "", "Expecting value"),
    ],
)
def test_another_form_of_netron_is_refused(other_netron, file, old, new, words):
    text = (other_netron / file).read_text(encoding="utf-8")
    assert old in text
    (other_netron / file).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UnsupportedError, match="is not in the form") as refused:
        netron_page(FILE, "model")
    assert words in refused.value.message
    assert "netron.start(path)" in refused.value.hint
    assert "ipinfo.io" in refused.value.hint
    assert "consent" in refused.value.hint


def test_missing_files_and_no_netron_are_refused(other_netron, monkeypatch):
    (other_netron / "dagre.js").unlink()
    with pytest.raises(UnsupportedError, match=r"dagre\.js"):
        netron_page(FILE, "model")

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(UnsupportedError, match="not installed"):
        netron_page(FILE, "model")


def test_equal_input_gives_equal_pages():
    assert netron_page(FILE, "model").html == netron_page(FILE, "model").html
    changed = onnx.load_from_string(FILE)
    changed.graph.node[0].name = "other"
    assert (
        netron_page(changed.SerializeToString(), "model").html != netron_page(FILE, "model").html
    )
