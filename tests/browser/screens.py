"""The workbench in a page, as its user works it."""

import time

import psutil
from playwright.sync_api import expect

TABS = ("overview", "curves", "layers", "fusion", "precision", "memory", "compare", "export")
WAIT_MS = 60_000
"""How long a build and a measurement may take here: many times what an idle machine needs."""

DIGITS = "import trtlab\nbench = trtlab.Workbench('zoo:digits'{})\nbench"
"""A cell that shows the quickest network; other settings go into the braces."""

DEMO = "import trtlab\nbench = trtlab.Workbench.recorded()\nbench"


class Screen:
    """One workbench of a page.

    Args:
        page: The page.
        number: Which of its workbenches, from the top.
    """

    def __init__(self, page, number=0):
        self.page = page
        self.root = page.locator(".trtlab-workbench").nth(number)
        self.status = self.root.locator(".trtlab-state")
        self.state_line = self.root.locator(".trtlab-stateline")
        self.job = self.root.locator(".trtlab-job")
        self.error = self.root.locator(".trtlab-problem")
        self.panel = self.root.locator(".trtlab-panel-body")
        self.rail = self.root.locator(".trtlab-rail")
        self.run_bar = self.root.locator(".trtlab-runbar")
        expect(self.root).to_have_attribute("data-ready", "1")

    def button(self, name, **where):
        """A button by its whole name."""
        return self.root.get_by_role("button", name=name, exact=True, **where)

    def field(self, title):
        """A control of the rail by the beginning of its tooltip."""
        return self.rail.locator(
            f"input[title^='{title}'],[title^='{title}'] input,select[title^='{title}'],"
            f"[title^='{title}'] select"
        ).first

    def type(self, title, text):
        """Type into a control of the rail and leave it."""
        field = self.field(title)
        field.fill(text)
        field.press("Tab")

    def tab(self, name):
        """Go to a tab by its click, and wait until it is drawn."""
        tab = self.root.locator(f"[role=tab][data-value={name}]")
        tab.click()
        self.expect_tab(name)
        return self.panel

    def expect_tab(self, name):
        """The tab that is chosen."""
        chosen = self.root.locator("[role=tab][aria-selected=true]")
        expect(chosen).to_have_attribute("data-value", name)
        expect(self.root.locator(f".trtlab-panel-body.trtlab-tab-{name}")).to_have_count(1)
        expect(self.panel).not_to_contain_text("This view was not drawn")
        return chosen

    def opened(self):
        """Wait until a model is open and nothing runs."""
        expect(self.button("Build & measure").first).to_be_enabled(timeout=WAIT_MS)

    def build(self):
        """Press the button and wait until the run is there."""
        self.rail.get_by_role("button", name="Build & measure").click()
        expect(self.state_line).to_contain_text("✓ Built", timeout=WAIT_MS)

    def figures(self):
        """The drawn figures."""
        return self.root.locator('.trtlab-plotly[data-ready="1"]')


def workers(server):
    """Worker processes below the server's kernels."""
    found = []
    for child in psutil.Process(server.pid).children(recursive=True):
        try:
            if "trtlab.worker" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_until(true, seconds=20.0):
    """Wait until a condition of this process's world holds: no page tells of it."""
    deadline = time.monotonic() + seconds
    while not (answer := true()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return answer
