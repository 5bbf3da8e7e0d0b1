"""docs/: its messages, names and example are held against the source, so that it cannot rot."""

import ast
import re
from pathlib import Path

import pytest

from tests import running
from tests.running import text
from trtlab.app.panels.base import Panel, alone

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
ANY = "\0"
"""Stands for what a message fills in."""


def flat(node):
    """A string of the source with ``ANY`` where something is filled in, else None."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(flat(v) or ANY for v in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (flat(node.left) or ANY) + (flat(node.right) or ANY)
    return None


def strings_of_the_source():
    found = set()
    for path in (ROOT / "trtlab").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            words = flat(node)
            if words and words.strip(ANY + " "):
                found.add(words)
    return found


def says(message, source):
    """Whether a string of the source says a quoted message; ``…`` stands for a name or number."""
    pattern = ".+".join(re.escape(part) for part in message.split("…"))
    return any(re.search(pattern, one, re.DOTALL) for one in source)


def quoted_messages():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    return re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)


@pytest.fixture(scope="module")
def source():
    return strings_of_the_source()


def test_every_quoted_message_is_in_the_source(source):
    messages = quoted_messages()
    assert len(messages) > 40
    assert [m for m in messages if not says(m, source)] == []


def test_a_message_that_trtlab_does_not_say_is_found_out(source):
    assert says("The disk that holds the store (…) is full.", source)
    assert not says("The disk that holds the store (…) is empty.", source)
    assert not says("The disk … was written by a newer trtlab", source)


def test_every_row_of_a_message_says_what_to_do():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    assert all(len(row) == 2 and len(row[1]) > 8 for row in rows if "you see" not in row[0])


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.stem)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert "://" in link or (path.parent / link).exists(), link


def test_the_files_that_are_named_exist():
    page = (ROOT / "docs" / "extending.md").read_text()
    named = set(re.findall(r"`((?:trtlab|tests)/[\w/.]+\.py)`", page))
    assert len(named) > 25
    missing = {name for name in named if not (ROOT / name).is_file()}
    assert missing == {"trtlab/app/panels/NAME_tab.py", "trtlab/backends/NAME.py"}


def test_the_names_in_the_tables_are_in_their_files():
    page = (ROOT / "docs" / "extending.md").read_text()
    rows = [line.split(" | ", 1) for line in page.splitlines() if line.startswith("| `")]
    checked = 0
    for file, what in rows:
        paths = [ROOT / name for name in re.findall(r"`([^`]+)`", file)]
        # What a new backend's module must have is what the protocols ask for.
        paths = [ROOT / "trtlab/backends/base.py" if "NAME" in p.name else p for p in paths]
        held = "".join(path.read_text() for path in paths)
        for name in re.findall(r"`([\w-]+)`", what):
            assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", held), (file, name)
            checked += 1
    assert checked > 25


def test_the_panel_of_the_page_draws_what_it_says():
    page = (ROOT / "docs" / "extending.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    names = {}
    exec(compile(code, "extending.md", "exec"), names)
    panel = names["Fastest"]
    assert issubclass(panel, Panel)
    runs = [running.run("fp32"), running.run("int8")]
    seen = text(alone(panel, runs, None, "light"))
    best = min(runs, key=lambda run: run.measurement.median_ms)
    assert "Fastest run" in seen
    assert "trtlab-measured" in seen
    assert f"Run {runs.index(best) + 1}: " in seen
    assert "n/a" in text(alone(panel, [], None, "light"))


def test_no_placeholder_stands_where_real_output_belongs():
    readme = (ROOT / "README.md").read_text()
    assert "EXAMPLE" not in readme
    assert "(measured)" in readme
    for picture in re.findall(r"\]\(([^)]+\.png)\)", readme):
        assert (ROOT / picture).is_file(), picture
