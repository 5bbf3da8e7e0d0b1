"""The HTML report: one file, offline, nothing in it runs that should not."""

import re
from dataclasses import replace

import pytest

import trtlab
from tests import accuracies
from tests.making import layer_profile, measurement
from trtlab.codec import Int64Array
from trtlab.errors import SpecError, StoreError
from trtlab.record import Point, SweepResult
from trtlab.spec import BuildConfig, Caveat, RunConfig

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def sweep(**changes):
    points = []
    for batch in (1, 2, 4):
        m = replace(measurement(), batch=batch, run=RunConfig(batch=batch), **changes)
        points.append(Point(model=m.model, build=m.build, run=m.run, measurement=m))
    return SweepResult(tuple(points))


def without_plotly(text):
    return re.sub(r"<script>/\*\*.*?</script>", "", text, count=1, flags=re.DOTALL)


def test_a_report_holds_curves_tables_and_the_machine(tmp_path):
    path = trtlab.report(sweep(), tmp_path / "r.html", profiles=[layer_profile()])
    text = path.read_text()
    for words in ("Latency against batch", "Throughput against latency", "Memory against batch",
                  "Time per layer", measurement().environment.cpu, "n/a"):  # fmt: skip
        assert words in text
    assert text.count("plotly-graph-div") >= 4


def test_a_report_asks_for_nothing_from_outside(tmp_path):
    text = without_plotly(trtlab.report(sweep(), tmp_path / "r.html").read_text())
    assert not re.findall(r"(?:src|href)\s*=", text)
    assert "@import" not in text


def test_names_of_a_model_cannot_leave_their_place(tmp_path):
    evil = replace(measurement().model, name=NASTY)
    text = trtlab.report(sweep(model=evil), tmp_path / "r.html").read_text()
    assert "<script>alert(1)" not in text
    assert "<img src=x" not in text
    assert "alert(1)" in text


def test_an_empty_sweep_and_an_unwritable_place_are_refused(tmp_path):
    with pytest.raises(SpecError):
        trtlab.report(SweepResult(()), tmp_path / "r.html")
    with pytest.raises(StoreError, match="was not written") as caught:
        trtlab.report(sweep(), tmp_path / "missing" / "r.html")
    assert "another place" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_recorded_run_is_marked(tmp_path):
    text = trtlab.report(sweep(source="recorded"), tmp_path / "r.html").read_text()
    assert "trtlab-recorded" in text


def test_models_of_one_name_have_sections_of_their_own(tmp_path):
    other = replace(measurement().model, hash="c3" * 32)
    both = SweepResult(sweep().points + sweep(model=other).points)
    profile = layer_profile(model=other)
    text = trtlab.report(both, tmp_path / "r.html", profiles=[profile]).read_text()
    assert re.findall("<h2>(digits.*)</h2>", text) == ["digits (a1a1a1)", "digits (c3c3c3)"]
    assert text.index("Time per layer") > text.index("digits (c3c3c3)")


def test_a_profile_of_a_model_that_was_not_swept_is_shown(tmp_path):
    profile = layer_profile(model=replace(measurement().model, name="other", hash="c3" * 32))
    text = trtlab.report(sweep(), tmp_path / "r.html", profiles=[profile]).read_text()
    assert "<h2>other</h2>" in text
    assert text.count("<h3>Points") == 1


def test_the_time_outside_the_layers_is_explained(tmp_path):
    text = trtlab.report(sweep(), tmp_path / "r.html", profiles=[layer_profile()]).read_text()
    assert "of the run lies between the layers and in the profiler itself." in text
    overlap = layer_profile(runs_ns=Int64Array([30_000] * 3))
    text = trtlab.report(sweep(), tmp_path / "r.html", profiles=[overlap]).read_text()
    assert "Layers overlap" in text


def test_footnotes_speak_of_streams_and_missing_parts_only_where_they_are(tmp_path):
    text = trtlab.report(sweep(), tmp_path / "r.html").read_text()
    assert "Several streams" not in text
    assert "Parts of the memory" not in text
    m = measurement()
    streams = replace(
        m, run=RunConfig(batch=1, streams=2), memory=replace(m.memory, activations=None)
    )
    gpu = replace(
        m, build=BuildConfig(provider="cuda"), memory=replace(m.memory, weights=None, io=None)
    )
    points = [
        Point(model=x.model, build=x.build, run=x.run, measurement=x) for x in (streams, gpu)
    ]
    text = trtlab.report(SweepResult(tuple(points)), tmp_path / "r.html").read_text()
    assert text.count("Several streams: read the throughput") == 1
    assert "Parts of the memory are n/a with several streams, on a GPU." in text


def test_precisions_of_one_model_share_a_section_with_what_they_cost_and_save(tmp_path):
    doubtful = replace(accuracies.point("int8").measurement, caveats=(Caveat("spread", "x", "y"),))
    points = [
        accuracies.point("int8", measurement=doubtful), accuracies.point("fp32"),
        accuracies.emulated(), accuracies.built("fp32", 5000), accuracies.built("int8", 1600),
    ]  # fmt: skip
    text = trtlab.report(SweepResult(tuple(points)), tmp_path / "r.html").read_text()
    assert re.findall("<h2>(digits.*)</h2>", text) == ["digits"]
    assert "Accuracy against latency" in text
    assert "Size against FP32" in text
    assert "trtlab-estimated" in without_plotly(text)
    assert "INT8, batch 1, optimisation all: x y" in text
    # The page lists what is not drawn; the figure does not do so again.
    assert "Not drawn:<br>FP16, top-1 98.6 % (estimated) (ONNX Runtime, CPU): this CPU" in text
    assert text.count("Not drawn") == 1
    alone = trtlab.report(sweep(), tmp_path / "r.html").read_text()
    assert "Accuracy against latency" not in alone
    assert "Size against FP32" not in alone
