"""Five tiles and a sentence: each number with its origin, no claim and no colour in the noise."""

import re
from dataclasses import replace

import pytest

from tests import accuracies, making, whole_runs
from trtlab.analysis.factors import Pair
from trtlab.record import BuilderMemory
from trtlab.spec import Caveat
from trtlab.stats import Interval
from trtlab.views.tiles import PIN, ends_text, in_one_sentence, number_text, percent_text, tiles

EVIL = "<b>x</b>&\"'"


def tile(page, title):
    found = [part for part in page.split("<section") if f"<h3>{title}" in part]
    assert len(found) == 1
    return found[0]


def seen(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)).replace("\N{NO-BREAK SPACE}", " ")


def reference(ms=2.0, **parts):
    labels = accuracies.label_metrics(0.0, (-0.004, 0.004))
    same = (accuracies.output(top1_agreement=1.0),)
    judged = accuracies.accuracy(accuracies.FP32, labels=labels, outputs=same)
    return whole_runs.run("fp32", ms, accuracy=judged, **parts)


def spread(run, *latencies):
    m = making.measurement(latencies * 2, model=run.line.made, batch=8, run=run.setup.run)
    return replace(run, measurement=m)


def disturbed(run):
    caveats = (Caveat("busy-machine", f"Others {EVIL} kept 2 cores busy.", ""),)
    return replace(run, measurement=replace(run.measurement, caveats=caveats))


def test_without_a_baseline_there_are_numbers_and_no_deltas():
    page = tiles(Pair(spread(whole_runs.run(), 1.9, 2.0, 2.0, 2.1)))
    latency = tile(page, "Latency p50")
    assert "2.00 ms" in seen(latency)
    assert "95 %: 2.00 … 2.00 · n 24 · call" in seen(latency)
    assert "trtlab-measured" in latency
    assert PIN in latency
    assert "vs A" not in page
    assert "<svg" not in page
    assert "4,000 inf/s 95 %:" in seen(tile(page, "Throughput"))
    assert "97.2 % top-1" in seen(tile(page, "Accuracy"))


def test_a_change_beyond_the_noise_has_sign_interval_word_and_colour():
    page = tiles(Pair(whole_runs.run(ms=1.0), reference(ms=4.0)))
    latency, throughput = tile(page, "Latency p50"), tile(page, "Throughput")
    assert re.search(r"▼ −75 % \[−79, −70\] vs A: better", seen(latency))
    assert "<strong class='trtlab-ok'>▼" in latency
    assert "▲ +300 %" in seen(throughput)
    assert "<strong class='trtlab-ok'>▲" in throughput
    worse = tile(tiles(Pair(reference(ms=4.0), whole_runs.run(ms=1.0))), "Latency p50")
    assert "vs A: worse" in seen(worse)
    assert "<strong class='trtlab-bad'>▲" in worse


def test_inside_the_noise_there_is_an_equals_sign_and_no_colour():
    page = tiles(Pair(whole_runs.run(ms=1.0), reference(ms=1.03)))
    latency = tile(page, "Latency p50")
    assert "<strong class=''>= " in latency
    assert "vs A: not distinguishable" in seen(latency)
    assert "'trtlab-ok'" not in latency
    assert "'trtlab-bad'" not in latency


def test_of_a_disturbed_run_nothing_is_claimed_and_the_doubt_is_named():
    page = tiles(Pair(disturbed(whole_runs.run(ms=1.0)), reference(ms=4.0)))
    latency = tile(page, "Latency p50")
    assert "⚠ busy machine" in seen(latency)
    assert "vs A: doubtful, a run was disturbed" in seen(latency)
    assert "'trtlab-ok'" not in latency
    assert "<b>x" not in page


def test_an_accuracy_difference_is_in_points_and_paired():
    page = tiles(Pair(whole_runs.run(), reference()))
    accuracy = tile(page, "Accuracy")
    assert "▼ −1.4 [−2.4, −0.4] points vs A: worse" in seen(accuracy)
    other = whole_runs.run("fp16")
    assert "paired with the reference" in seen(
        tile(tiles(Pair(whole_runs.run(), other)), "Accuracy")
    )


def test_without_labels_the_worst_outputs_sqnr_is_told():
    judged = accuracies.accuracy(labels=None, outputs=(accuracies.output(31.25),))
    accuracy = seen(tile(tiles(Pair(whole_runs.run(accuracy=judged))), "Accuracy"))
    assert "31.2 dB SQNR worst output, no labels · n 360" in accuracy


def test_what_is_not_there_says_why_and_what_would_fill_it():
    page = tiles(Pair(whole_runs.run(accuracy=None)))
    efficiency = tile(page, "Efficiency")
    assert "n/a inferences per joule: this machine reports no power." in seen(efficiency)
    assert "trtlab-badge" not in efficiency, "what is not known has no origin"
    assert "Give a folder with labelled samples." in tile(page, "Accuracy")
    unbuilt = tiles(Pair(whole_runs.failed(f"No {EVIL}.")))
    assert seen(unbuilt).count("n/a") == 5
    assert "<b>x" not in unbuilt


def test_memory_is_the_builders_with_the_host_beside_it_each_with_its_badge():
    larger = reference()
    memory = BuilderMemory(activation=2 * 2**20)
    larger = replace(larger, plan=replace(larger.plan, memory=memory))
    found = tile(tiles(Pair(larger, reference())), "Memory")
    assert "2.00 MiB engine activations, batch ≤ 16" in seen(found)
    assert "A 1.00 MiB · exact, no interval" in seen(found)
    assert "Host peak 30.0 MiB" in seen(found)
    assert found.index("trtlab-builder") < found.index("trtlab-measured")
    assert "▲ +100 % vs A: more" in seen(found)
    assert "'trtlab-ok'" not in found
    silent = replace(larger, plan=replace(larger.plan, memory=None))
    found = tile(tiles(Pair(silent)), "Memory")
    assert "30.0 MiB peak of the host" in seen(found)
    assert "trtlab-builder" not in found


def test_what_is_not_comparable_says_why_and_draws_nothing():
    page = tiles(Pair(whole_runs.on_gpu(), reference()))
    latency = tile(page, "Latency p50")
    assert "vs A: not comparable: A's latency is call time and B's is compute time" in seen(
        latency.replace("&#x27;", "'")
    )
    assert "<svg" not in latency


def test_whiskers_lie_on_one_scale_and_say_themselves():
    wide = spread(whole_runs.run(), 0.8, 0.9, 1.1, 1.2)
    latency = tile(tiles(Pair(wide, reference(ms=4.0))), "Latency p50")
    (label,) = re.findall(r"<svg[^>]*role='img'[^>]*aria-label='([^']*)'", latency)
    assert label == "A 4.00 ms, 95 % 4.00 to 4.00; B 1.00 ms, 95 % 0.900 to 1.10"
    a, b = (float(x) for x in re.findall(r"<rect[^>]* x='([\d.-]+)'", latency))
    assert 0 <= b < a < 156
    assert re.findall(r"<text[^>]*>(.)</text>", latency) == ["A", "B"]


def test_microseconds_keep_their_unit_in_the_interval():
    assert number_text("latency_ms", 0.05) == ("50.0", "µs")
    assert ends_text("latency_ms", Interval(0.049, 0.12), 0.05) == "49.0, 120"
    assert number_text("plan_bytes", 2_201_652) == ("2.20", "MB")
    assert number_text("activation_bytes", 2**20) == ("1.00", "MiB")


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.58, "−42"), (1.005, "+0.5"), (1.0004, "0"), (1.0995, "+9.9"), (13.5, "+1,250")],
)
def test_percents_have_a_sign(ratio, text):
    assert percent_text(ratio) == text


def sentence(run, baseline=None):
    return seen(in_one_sentence(Pair(run, baseline))).replace("&#x27;", "'").strip()


def test_the_sentence_claims_what_ran_and_no_more():
    said = sentence(whole_runs.run(ms=1.0), reference(ms=4.0))
    assert (
        "At batch 8 on this CPU, INT8 answers in 1.00 ms instead of FP32's 4.00 ms: faster."
        in said
    )
    assert "Top-1 drops by 1.4 points against FP32." in said
    assert (
        "The TensorRT-RTX engine for sm89 was built but not run here: its speed is not known."
        in (said)
    )


def test_the_sentence_says_slower_and_keeps_still_in_the_noise():
    assert "4.00 ms instead of FP32's 1.00 ms: slower." in sentence(
        whole_runs.run(ms=4.0), reference(ms=1.0)
    )
    noise = sentence(whole_runs.run(ms=1.0), reference(ms=1.05))
    assert "INT8 (1.00 ms) and FP32 (1.05 ms) are not distinguishable." in noise
    doubt = sentence(disturbed(whole_runs.run(ms=1.0)), reference(ms=4.0))
    assert "neither is called faster." in doubt
    few = making.measurement((1.0,), model=accuracies.converted("int8"), batch=8)
    assert "too few samples for more." in sentence(
        whole_runs.run(measurement=few), reference(ms=4.0)
    )


def test_the_sentence_without_a_baseline_a_measurement_or_an_engine():
    assert sentence(reference(ms=2.0)).startswith(
        "In one sentence. At batch 8 on this CPU, FP32 answers in 2.00 ms. The TensorRT-RTX"
    )
    why = "INT8 was not run: it would be FP32"
    unrun = whole_runs.run(measurement=None)
    unrun = replace(unrun, line=replace(unrun.line, missing={"measurement": why}))
    assert "INT8 was not run: it would be FP32. " in sentence(unrun)
    assert sentence(unrun).count("was not run") == 1
    assert "INT8 was not built: The workspace limit" in sentence(whole_runs.failed())
    engine = whole_runs.on_gpu()
    assert "not run here" not in sentence(engine)


def test_a_recorded_run_is_not_this_machine():
    recorded = whole_runs.run(ms=1.0)
    recorded = replace(recorded, line=replace(recorded.line, source="recorded"))
    assert "on A processor (recorded)" in sentence(recorded)
    spared = accuracies.label_metrics(0.001, (-0.003, 0.005))
    kept = whole_runs.run(accuracy=accuracies.accuracy(labels=spared))
    assert "No loss of accuracy that 360 samples can show." in sentence(kept)
