"""What goes wrong at the workbench is told in place: bad models, bad values, files too large."""

import re
import shutil

import onnx
import pytest
from onnx import helper
from playwright.sync_api import expect

from tests.browser.screens import DIGITS, WAIT_MS, Screen
from tests.model.nets import model, perceptron

pytestmark = pytest.mark.browser

GB = 1_000_000_000


def unfinished():
    """A network one of whose nodes reads a tensor that does not exist."""
    return model(
        [helper.make_node("Add", ["x", "w7"], ["y"], name="Add_12")],
        {"x": ["N", 4]},
        {"y": ["N", 4]},
    )


def test_models_that_cannot_be_opened_are_told_in_place(lab, artifact):
    folder = lab.server.folder
    onnx.save(unfinished(), folder / "unfinished.onnx")
    (folder / "junk.onnx").write_bytes(b"no protobuf at all")
    page = lab.open(lab.notebook("import trtlab\nbench = trtlab.Workbench()\nbench"))
    lab.run_all(page)
    screen = Screen(page)
    for path, words in (
        ("missing.onnx", "there is no such file"),
        ("unfinished.onnx", "w7"),
        ("junk.onnx", "junk.onnx"),
        ("a folder with spaces/" + "x" * 300 + ".onnx", "x" * 100),
        ("zoo:nothing", "nothing"),
        ("talk.trtlab", "talk.trtlab"),
    ):
        screen.type("Model", path)
        expect(screen.error).to_contain_text(words)
        expect(screen.error).to_have_count(1)
        assert "Traceback" not in screen.root.inner_text()
        expect(screen.rail.get_by_role("button", name="Build & measure")).to_be_disabled()
    screen.type("Model", "unfinished.onnx")
    expect(screen.error).to_contain_text("Add_12")
    expect(screen.rail.locator(".trtlab-section-model .trtlab-wrong")).to_be_visible()
    artifact(page, "workbench-error")
    # A screen that told an error opens the next model: its path has spaces.
    spaced = folder / "a folder with spaces"
    spaced.mkdir()
    onnx.save(perceptron(), spaced / "my net.onnx")
    screen.type("Model", "a folder with spaces/my net.onnx")
    screen.opened()
    expect(screen.error).to_have_count(0)
    shutil.rmtree(spaced)


def test_an_input_without_a_size_opens_the_field_that_heals_it(rtx, lab, artifact):
    net = model([helper.make_node("Relu", ["ids"], ["y"])], {"ids": ["N", "T"]}, {"y": ["N", "T"]})
    onnx.save(net, lab.server.folder / "sizes.onnx")
    page = lab.open(lab.notebook("import trtlab\nbench = trtlab.Workbench('sizes.onnx')\nbench"))
    lab.run_all(page)
    screen = Screen(page)
    screen.opened()
    expect(screen.field("Shapes")).to_be_hidden()
    screen.rail.get_by_role("button", name="Build & measure").click()
    expect(screen.error).to_contain_text("axes without a size", timeout=WAIT_MS)
    expect(screen.field("Shapes")).to_be_visible()
    artifact(page, "workbench-shapes")
    screen.type("Shapes", "ids:8y128")
    expect(screen.rail.locator(".trtlab-section-measuring .trtlab-wrong")).to_be_visible()
    expect(screen.rail.get_by_role("button", name="Build & measure")).to_be_disabled()
    screen.type("Shapes", "ids:8x16")
    screen.build()
    expect(screen.error).to_have_count(0)
    assert lab.execute(page, "print(bench.state.selected.failure)") == "None"


def test_values_outside_and_a_second_click_do_no_harm(rtx, lab):
    page = lab.open(lab.notebook(DIGITS.format(", batches=(1, 3, 16), quick=False")))
    lab.run_all(page)
    screen = Screen(page)
    screen.opened()
    build = screen.rail.get_by_role("button", name="Build & measure")
    wrong = screen.rail.locator(".trtlab-section-batch .trtlab-wrong")
    for title, text, words in (
        ("Batch sizes to measure", "1, 32", "Raise max to 32"),
        ("Batch sizes to measure", "3", None),
        ("Batch, max", "many", "many"),
        ("Batch, max", "-4", "-4 is too few"),
        ("Batch, max", "16", None),
        ("Batch sizes to measure", "0, 1", "0 is too few"),
        ("Batch sizes to measure", "3", None),
    ):
        screen.type(title, text)
        if words is None:
            expect(wrong).to_have_count(0)
            expect(build).to_be_enabled()
        else:
            expect(wrong).to_contain_text(words)
            expect(build).to_be_disabled()
    # Two presses before the page hears of the first.
    build.evaluate("button => { button.click(); button.click(); }")
    expect(build).to_be_disabled()
    screen.root.locator("[role=tab]").first.press("b")
    lab.execute(page, "bench.act('build')")
    screen.rail.get_by_role("button", name="Stop").click()
    expect(screen.status).to_contain_text("Stopped")
    expect(build).to_be_enabled()
    assert lab.execute(page, "print(len(bench.runs), bench.jobs._queue.qsize())") == "0 0"


def test_a_workspace_too_small_is_told_with_buttons_that_heal_it(rtx, lab, artifact):
    cell = DIGITS.replace("zoo:digits", "zoo:digits_mobile")
    page = lab.open(lab.notebook(cell.format(", batches=(1, 8, 32), workspace='1MiB'")))
    lab.run_all(page)
    screen = Screen(page)
    screen.opened()
    screen.rail.get_by_role("button", name="Build & measure").click()
    expect(screen.error).to_contain_text(
        "workspace limit of 1.00 MiB is too small", timeout=WAIT_MS
    )
    artifact(page, "workbench-error-workspace")
    screen.error.get_by_role("button", name=re.compile("^Set workspace to .* and build")).click()
    expect(screen.state_line).to_contain_text("✓ Built", timeout=WAIT_MS)
    expect(screen.error).to_have_count(0)


def test_an_upload_of_1_gb_is_refused_in_the_page(lab, artifact):
    large = lab.server.folder / "large.onnx"
    with large.open("wb") as file:
        file.truncate(GB)  # sparse: it takes no place
    small = lab.server.folder / "small.onnx"
    onnx.save(perceptron(), small)
    sent = [0]

    def note(socket):
        socket.on("framesent", lambda data: sent.append(len(data)))

    lab.context.on("page", lambda page: page.on("websocket", note))
    lab.context.on("request", lambda one: sent.append(len(one.post_data_buffer or b"")))
    page = lab.open(lab.notebook("import trtlab\nbench = trtlab.Workbench()\nbench"))
    lab.run_all(page)
    screen = Screen(page)
    for chosen in (large, small):
        with page.expect_file_chooser() as chooser:
            screen.rail.locator(".trtlab-upload").click()
        chooser.value.set_files(chosen)
        if chosen is large:
            expect(screen.error).to_contain_text("large.onnx was not uploaded: it takes 1.00 GB")
            expect(screen.error).to_contain_text("uploads end at 10 MB")
            expect(screen.error).to_contain_text("Type its path on the kernel's machine")
            assert len(sent) > 10, "so that what follows looks at something"
            assert max(sent) < 1_000_000
            artifact(page, "workbench-upload")
    # The same file again, and another after it, are heard as well.
    screen.opened()
    expect(screen.error).to_have_count(0)
    assert lab.execute(page, "print(bench.state.opened.name)") == "small"
    large.unlink()
