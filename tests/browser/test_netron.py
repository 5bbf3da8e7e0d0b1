"""Netron's page in a real browser: the graph is drawn, and no request leaves the machine."""

import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

import trtlab
from tests.browser.conftest import WAIT_MS
from tests.model.nets import perceptron
from trtlab.verbs.load import graph_of
from trtlab.views.pages import netron_page

pytestmark = pytest.mark.browser


@pytest.fixture
def offline(browser, tmp_path):
    """Opens a page from a file; the test fails when it logs an error or asks for anything."""
    problems = []

    def asked(request):
        if not request.url.startswith(("blob:", "data:", "file:")):
            problems.append(f"request: {request.url[:200]}")

    def said(message):
        if message.type == "error":
            problems.append(f"console: {message.text[:200]}")

    context = browser.new_context(offline=True)
    context.set_default_timeout(WAIT_MS)
    context.on("request", asked)
    context.on("console", said)
    context.on("weberror", lambda error: problems.append(f"page error: {error.error}"))

    def opened(shown):
        page = context.new_page()
        page.goto(shown.save(tmp_path / "graph.html").as_uri())
        return page

    yield opened
    context.close()
    assert not problems, "\n".join(problems)


def drawn(within):
    """Wait until Netron has drawn; returns its frame.

    It replaces ``window.eval``: of its frame only locators can ask.
    """
    frame = within.frame_locator("iframe")
    expect(frame.locator("body.default")).to_be_visible(timeout=WAIT_MS)
    return frame


@pytest.mark.parametrize("name", ["zoo:squeezenet", "zoo:inception_v2"])
def test_the_whole_graph_is_drawn_and_tells_of_its_nodes(offline, artifact, name):
    model = trtlab.load(name)
    graph = graph_of(model)
    page = offline(trtlab.netron(model))
    expect(page.locator("p")).to_contain_text("stored tensors have more than 64 values")
    frame = drawn(page)
    nodes = frame.locator(".graph-node .node-item-type > text")
    assert nodes.count() == len(graph.nodes)
    for op, count in Counter(node.op for node in graph.nodes).items():
        assert nodes.filter(has_text=re.compile(f"^{op}$")).count() == count
    assert frame.locator(".edge-path").count() >= len(graph.nodes)

    first = graph.nodes[0]
    nodes.first.click()
    panel = frame.locator("#sidebar")
    expect(panel).to_contain_text("Node Properties", ignore_case=True)
    expect(panel).to_contain_text(first.name)
    expect(panel).to_contain_text("Attributes", ignore_case=True)
    artifact(page, f"netron-{name[4:]}")
    panel.get_by_title("Show Tensor").first.click()
    expect(panel).to_contain_text("left out here: more than 64 values")
    nodes.nth(1).click()
    panel.get_by_title("Show Definition").first.click()
    expect(panel).to_contain_text("Documentation", ignore_case=True)


def test_what_needs_a_network_or_files_is_refused_in_words(offline):
    page = offline(trtlab.netron(perceptron()))
    frame = drawn(page)
    for entry in ("Open...", "Export as SVG", "Report Issue"):
        frame.locator("#menu-button").click()
        frame.get_by_text(entry).click()
        expect(frame.locator("#message-text")).to_contain_text("neither the network")
        frame.locator("#message-button").click()
        expect(frame.locator("body.default")).to_be_visible()


def test_names_with_markup_stay_text(offline):
    net = perceptron()
    markup = "<img src=x onerror=document.title='run'></script>"
    net.graph.node[0].name = net.graph.name = markup
    net.graph.node[0].doc_string = f"[link](javascript:0) {markup}"
    page = offline(trtlab.netron(net))
    expect(page.locator("p")).to_contain_text(markup)
    frame = drawn(page)
    frame.locator(".graph-node .node-item-type").first.click()
    expect(frame.locator("#sidebar")).to_contain_text(markup)
    assert frame.locator("img").count() == 0


HOSTILE = """
const settled = (act) => new Promise((done) => {
  try { act(done); } catch { done(); }
});
const script = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
await Promise.all([
  fetch(`${HOME}/fetch`).catch(() => 0),
  import(`${HOME}/module.js`).catch(() => 0),
  import(script(`import "${HOME}/inner.js"`)).catch(() => 0),
  import(script(`await import("${HOME}/later.js")`)).catch(() => 0),
  settled((done) => {
    const image = new Image();
    image.onload = image.onerror = done;
    image.src = `${HOME}/image`;
  }),
  settled((done) => {
    const request = new XMLHttpRequest();
    request.onloadend = done;
    request.open("GET", `${HOME}/xhr`);
    request.send();
  }),
  settled((done) => {
    const socket = new WebSocket(`${HOME.replace("http", "ws")}/socket`);
    socket.onopen = socket.onerror = done;
  }),
  settled((done) => {
    const call = `fetch("${HOME}/worker").catch(() => 0).then(() => postMessage(0))`;
    const worker = new Worker(script(call));
    worker.onmessage = worker.onerror = done;
  }),
]);
location = `${HOME}/away`;
"""
"""What a Netron that wants to call home could try; at last to go there with its own frame."""


@pytest.fixture
def home():
    """A server that counts who calls."""
    calls = set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            calls.add(self.path)
            self.send_response(200)
            kind = "text/javascript" if self.path.endswith(".js") else "text/html"
            self.send_header("Content-Type", kind)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, *_words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", calls
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("place", ["file", "notebook"])
def test_the_browser_refuses_a_netron_that_calls_home(browser, home, tmp_path, monkeypatch, place):
    url, calls = home
    script = tmp_path / "host.js"
    script.write_text(f"const HOME = '{url}';{HOSTILE}")
    monkeypatch.setattr(netron_page, "_HOST", script)
    shown = netron_page.netron_page(perceptron().SerializeToString(), "model")
    html = shown.html if place == "file" else f"<!doctype html>{shown._repr_html_()}"
    (tmp_path / "page.html").write_text(html)
    context = browser.new_context()
    page = context.new_page()
    refused = re.compile("^chrome-error:")
    with page.expect_event("framenavigated", lambda frame: refused.match(frame.url)):
        page.goto((tmp_path / "page.html").as_uri())
    assert not calls

    # The same script on a page of its own gets through.
    (tmp_path / "free.html").write_text(f"<script type=module>{script.read_text()}</script>")
    page.goto((tmp_path / "free.html").as_uri())
    page.wait_for_url("**/away")
    expected = "fetch module.js inner.js later.js image xhr socket worker away"
    assert {f"/{name}" for name in expected.split()} <= calls
    context.close()


def test_a_notebook_shows_it_also_when_opened_again_without_a_kernel(lab, artifact):
    path = lab.notebook("import trtlab\ntrtlab.netron('zoo:digits', height=420)")
    page = lab.open(path)
    lab.run_all(page)
    output = lab.output(page, 0)
    frame = drawn(output.frame_locator("iframe"))
    frame.locator(".graph-node .node-item-type").first.click()
    expect(frame.locator("#sidebar")).to_contain_text("Node Properties", ignore_case=True)
    artifact(page, "netron-notebook")
    lab.save(page)
    page.close()
    for session in lab.server.call("/api/sessions"):
        lab.server.call(f"/api/sessions/{session['id']}", "DELETE")
    page = lab.open(path)
    again = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output").first
    drawn(again.frame_locator("iframe"))
