import gzip
import importlib.resources
import json
import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from trtlab.errors import SpecError
from trtlab.views.theme import template
from trtlab.views.widgets import plotly_view
from trtlab.views.widgets.plotly_view import PlotlyView


def a_figure() -> go.Figure:
    figure = go.Figure(go.Scatter(x=np.arange(5.0), y=[1, 2, float("nan"), 4, 5], name="FP16"))
    return figure.update_layout(title_text="Latency")


def saved_state(view: PlotlyView) -> str:
    return json.dumps(view.get_state())


def test_figure_becomes_json_and_comes_back():
    shown = json.loads(PlotlyView(a_figure()).figure)
    again = go.Figure(shown)
    assert again.layout.title.text == "Latency"
    assert again.data[0].y[2] is None
    np.testing.assert_array_equal(
        again.to_dict()["data"][0]["x"], a_figure().to_dict()["data"][0]["x"]
    )
    assert "template" not in shown["layout"]


def test_a_plain_dict_is_a_figure_too():
    figure = {
        "data": [{"x": np.array([1, 2]), "y": (np.float64(1), float("inf")), "type": "bar"}],
        "layout": {"title": {"text": "Plain"}, "template": {"layout": {}}},
    }
    assert json.loads(PlotlyView(figure).figure) == {
        "data": [{"x": [1, 2], "y": [1.0, None], "type": "bar"}],
        "layout": {"title": {"text": "Plain"}},
    }


def test_the_same_figure_changed_and_assigned_again_is_sent():
    figure = a_figure()
    view = PlotlyView(figure)
    seen = []
    view.observe(seen.append, "figure")
    figure.update_layout(title_text="Changed")
    view.figure = figure
    assert len(seen) == 1
    assert "Changed" in view.figure


@pytest.mark.parametrize(
    "wrong", [None, 3, "text", [1], {}, {"data": "abc"}, {"data": [{"x": {1, 2}}]}]
)
def test_what_is_no_figure_is_refused_with_a_hint(wrong):
    with pytest.raises(SpecError) as caught:
        PlotlyView(wrong)
    assert caught.value.hint
    view = PlotlyView(a_figure())
    before = view.figure
    with pytest.raises(SpecError):
        view.figure = wrong
    assert view.figure == before


def test_theme_chooses_the_template():
    view = PlotlyView(a_figure(), theme="dark")
    assert view.get_state()["_template"] == template("dark")
    view.theme = "light"
    assert view.get_state()["_template"] == template("light")


@pytest.mark.parametrize("setting", [{"theme": "sepia"}, {"height": 10}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(SpecError):
        PlotlyView(a_figure(), **setting)


def test_label_and_height_reach_the_page():
    state = PlotlyView(a_figure(), height=240, label="FP16 is faster").get_state()
    assert (state["height"], state["label"]) == (240, "FP16 is faster")


def test_views_of_one_kernel_ask_as_one():
    one, other = PlotlyView(a_figure()), PlotlyView(a_figure())
    assert one.get_state()["_kernel"] == other.get_state()["_kernel"] != ""


@pytest.fixture
def sent(monkeypatch):
    messages = []
    monkeypatch.setattr(
        PlotlyView, "send", lambda _, content, buffers=(): messages.append((content, buffers))
    )
    return messages


def receive(view: PlotlyView, content) -> None:
    data = {"method": "custom", "content": content}
    view._handle_msg({"content": {"data": data}, "buffers": []})


def test_a_page_without_the_library_is_sent_plotlys_own_file(sent):
    receive(PlotlyView(a_figure()), {"kind": "plotly.js"})
    [(content, [library])] = sent
    assert content == {"kind": "plotly.js"}
    assert len(library) < 2_000_000
    own = importlib.resources.files("plotly").joinpath("package_data", "plotly.min.js")
    assert gzip.decompress(library) == own.read_bytes()


def test_other_messages_are_not_answered(sent):
    receive(PlotlyView(a_figure()), {"kind": "else"})
    receive(PlotlyView(a_figure()), "text")
    assert not sent


def test_a_missing_library_is_said(sent, monkeypatch):
    def missing() -> bytes:
        raise FileNotFoundError("plotly.min.js")

    monkeypatch.setattr(plotly_view, "_gzipped_plotly", missing)
    receive(PlotlyView(a_figure()), {"kind": "plotly.js"})
    [(content, buffers)] = sent
    assert "plotly.min.js" in content["error"]
    assert not buffers


def test_a_view_adds_little_to_a_saved_notebook(sent):
    view = PlotlyView(a_figure())
    receive(view, {"kind": "plotly.js"})
    assert len(saved_state(view)) < 15_000


def test_the_front_end_module_is_small_and_names_no_address():
    source = Path(plotly_view.__file__).parent / "static" / "plotly_view.js"
    text = source.read_text(encoding="utf-8")
    assert len(text.encode()) < 8_000
    assert not re.search(r"https?:|//\w+\.\w+/", text)
    assert str(PlotlyView(a_figure())._esm) == text
