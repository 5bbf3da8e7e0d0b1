"""``trtlab lab --kiosk`` as a workshop meets it: the screen, and no code or menus around it."""

import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import (
    WAIT_MS,
    _ended_with_children,
    _server_environment,
    _wait_for_server,
)

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def kiosk(chromium, tmp_path_factory):
    """The server that the command itself starts, with a token that the test knows."""
    home = tmp_path_factory.mktemp("home")
    token = secrets.token_hex(16)
    asked = [sys.executable, "-m", "trtlab", "lab", "--kiosk", "--no-browser", "--json"]
    said = subprocess.run(asked, capture_output=True, check=True).stdout
    command = [
        *json.loads(said)["command"],
        "--allow-root",
        "--ServerApp.port=0",
        f"--IdentityProvider.token={token}",
    ]
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=_server_environment(home) | {"TRTLAB_HOME": str(home / "store")},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with _ended_with_children(process):
            yield _wait_for_server(process, home, token, ROOT, log)


@pytest.fixture
def page(kiosk, context, watch):
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(f"{kiosk.url}/?token={kiosk.token}")
    yield page
    page.close()
    for session in kiosk.call("/api/sessions"):
        kiosk.call(f"/api/sessions/{session['id']}", "DELETE")


def test_the_screen_opens_and_no_code_or_menu_is_seen(page, artifact):
    start = page.get_by_role("button", name="Start", exact=True)
    expect(start).to_be_visible(timeout=WAIT_MS)
    expect(page.get_by_text("Press Start above")).to_be_visible()
    artifact(page, "kiosk-empty")
    start.click()
    expect(page.locator(".trtlab-screen")).to_be_visible(timeout=WAIT_MS)
    artifact(page, "kiosk")
    assert "/doc/tree/notebooks/kiosk.ipynb" in page.url
    assert page.locator(".jp-CodeCell").count() == 1, "so that what follows looks at a cell"
    for hidden in (
        ".jp-CodeCell .jp-InputArea",
        ".jp-InputPlaceholder",
        ".jp-Collapser",
        ".cm-editor",
        ".jp-SideBar",
        "#jp-menu-panel",
        "#jp-top-panel",
        "#jp-bottom-panel",
    ):
        assert not [one for one in page.locator(hidden).all() if one.is_visible()], hidden
    buttons = page.locator(".jp-NotebookPanel-toolbar jp-button")
    assert [b.inner_text() for b in buttons.all() if b.is_visible()] == ["Start"]
    screen = page.locator(".trtlab-screen").bounding_box()
    assert screen["width"] > 0.95 * page.viewport_size["width"]
