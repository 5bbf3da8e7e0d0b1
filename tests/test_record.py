"""Records compute statistics from their steady samples and show themselves without surprises."""

import math
from dataclasses import replace
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import making
from tests.making import MS, failed_point, layer, layer_profile, measurement, memory, plan, window
from trtlab import stats
from trtlab.codec import Int64Array, from_json, to_json
from trtlab.device import Reading
from trtlab.record import (
    Comparison,
    DeviceMemory,
    Difference,
    GpuConditions,
    Measurement,
    ModelRef,
    Parts,
    SweepResult,
    Window,
)
from trtlab.spec import BuildConfig, Caveat, RunConfig
from trtlab.stats import Interval

EVIL = "<script>alert('\"&')</script>"


def text_of(record):
    return dict(record.rows())


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = set(), ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += data


def every_record(name="digits"):
    model = ModelRef(name, "a1" * 32, name)
    caveats = (Caveat("spread", name, name),)
    run = measurement(model=model, energy_note=name, caveats=caveats)
    return [
        plan(model=model, caveats=caveats, config=BuildConfig(backend=name)),
        run,
        layer_profile(model=model, layers=(layer(name, type=name),), caveats=caveats),
        SweepResult((making.point(model=model, measurement=run), failed_point())),
        Comparison(name, name, (Difference(name, 1.0, 2.0, 2.0, None, "exact"),), caveats),
    ]


@pytest.mark.parametrize("record", every_record(), ids=lambda r: type(r).__name__)
def test_text_and_html_hold_the_rows_and_nothing_else(record):
    rows = record.rows()
    assert all(isinstance(t, str) and t for row in rows for t in row)
    page = Tags()
    page.feed(record._repr_html_())
    assert page.tags == {"table", "tr", "th", "td"}
    assert page.text == "".join(a + b for a, b in rows)
    lines = repr(record).splitlines()
    assert len(lines) == len(rows)
    for line, (label, text) in zip(lines, rows, strict=True):
        assert line.startswith(label)
        assert line.endswith(text)


@pytest.mark.parametrize("record", every_record(EVIL), ids=lambda r: type(r).__name__)
def test_names_cannot_break_out_of_the_html(record):
    html = record._repr_html_()
    assert "<script" not in html
    page = Tags()
    page.feed(html)
    assert page.tags == {"table", "tr", "th", "td"}
    assert EVIL in page.text


# Measurement

UNSTEADY = making.measurement(
    windows=(window([9.0] * 10), window([1.0, 2.0]), window([3.0, 4.0]), window([5.0, 6.0])),
    steady_from=1,
    batch=8,
)


def test_statistics_use_the_steady_windows():
    assert UNSTEADY.n == 6
    assert UNSTEADY.latencies_ms == [1, 2, 3, 4, 5, 6]
    assert UNSTEADY.median_ms == 3.5
    assert UNSTEADY.median_interval_ms == Interval(1, 6)
    assert UNSTEADY.percentile_ms(90) is None
    assert measurement([1.0] * 30).percentile_ms(90) == 1.0


def test_throughput_is_of_items_not_of_batches():
    assert UNSTEADY.throughputs == [
        pytest.approx(2 * 8 / 3e-3),
        pytest.approx(2 * 8 / 7e-3),
        pytest.approx(2 * 8 / 11e-3),
    ]
    assert UNSTEADY.throughput == pytest.approx(6 * 8 / 21e-3)
    assert replace(UNSTEADY, batch=None).throughput == pytest.approx(6 / 21e-3)
    interval = UNSTEADY.throughput_interval
    assert interval == stats.mean_interval(UNSTEADY.throughputs)


def test_throughput_is_not_one_by_latency():
    run = measurement(windows=(window([4.0] * 20, wall_ms=40),) * 3)
    assert run.throughput == pytest.approx(500)
    assert run.median_ms == 4


def test_the_interval_holds_every_windows_median():
    run = measurement(windows=(window([1.0] * 100), window([1.05] * 100), window([0.97] * 100)))
    low, high = run.median_interval_ms
    assert low <= 0.97
    assert high >= 1.05


def test_one_window_has_no_interval_of_throughput_and_few_samples_none_at_all():
    run = measurement(windows=(window([1.0, 2.0]),))
    assert run.throughput_interval is None
    assert run.median_interval_ms is None
    assert "[n/a]" in text_of(run)["latency, median (call)"]
    assert measurement(windows=(window([1.0]),) * 12).throughput_interval is not None


def test_rows_follow_the_screens_rules():
    run = measurement([3.97] * 254 + [3.91, 4.06])
    rows = text_of(run)
    assert rows["measurement"] == "digits (fp32), batch 1, optimisation all"
    assert rows["latency, median (call)"] == "3.97 ms [3.97, 3.97] n 768 (measured)"
    assert rows["latency, tail"] == "p90 3.97 ms, p95 3.97 ms, p99 3.97 ms (measured)"
    assert rows["throughput"] == "252 inf/s [252, 252] (measured)"
    assert rows["memory"].startswith("peak 30.0 MiB above the empty process (measured)")
    assert "weights 4.00 MiB, repacked 2.00 MiB, activations 6.00 MiB" in rows["memory"]
    assert rows["energy"] == "n/a: this machine reports no power"


def test_what_is_unknown_is_never_0():
    rows = text_of(measurement([4.0] * 3, memory=memory(peak=None)))
    assert rows["latency, tail"] == "p90 n/a, p95 n/a, p99 n/a (measured)"
    assert rows["memory"].startswith("peak n/a above")
    assert rows["memory"].endswith("rest n/a")
    rows = text_of(plan(layers=None, peak_rss_bytes=None))
    assert rows["layers"].startswith("n/a")
    assert rows["peak memory of the build"].startswith("n/a")


def test_a_fast_calls_interval_is_in_its_unit():
    run = measurement([0.0431] * 20)
    assert text_of(run)["latency, median (call)"].startswith("43.1 µs [43.1, 43.1] n 60")
    sweep = SweepResult((making.point(measurement=run),))
    assert "43.1 µs [43.1, 43.1]" in repr(sweep)


def test_a_known_energy_is_shown():
    rows = text_of(measurement(energy_joules=0.0123, energy_note=""))
    assert rows["energy"] == "12.3 mJ an inference (measured)"


def test_where_a_record_comes_from_is_shown():
    assert text_of(plan())["made"].startswith("here, 2026-11-21 10:00 UTC, A processor")
    assert text_of(plan(source="recorded"))["made"].startswith("recorded, ")
    gpu = making.environment(gpu="H200")
    assert "H200" in text_of(plan(environment=gpu))["made"]


def test_caveats_are_shown_with_what_to_do():
    rows = text_of(plan())
    assert rows["caveat: not-saved"] == "No room. → Free some."


def test_settings_in_a_few_words():
    run = RunConfig(batch=8, streams=2, threads=1, activation_cap_bytes=2**20, quick=True)
    text = measurement(run=run, batch=8).settings()
    assert text == "batch 8, 2 streams, 1 thread, optimisation all, activation cap 1.00 MiB"
    assert text_of(measurement(run=run))["measurement"].endswith(", quick windows")
    assert measurement(run=RunConfig(threads=4)).settings().startswith("batch 1, 4 threads")
    assert measurement(batch=None, build=BuildConfig()).settings() == "default settings"


def test_frames_have_a_row_a_sample():
    frame = UNSTEADY.df
    assert len(frame) == 16
    assert frame.steady.sum() == 6
    assert frame[frame.steady].latency_ms.tolist() == UNSTEADY.latencies_ms


# Memory


def test_memory_parts_add_up_or_are_unknown():
    mib = 2**20
    whole = memory()
    assert whole.peak_above_baseline == 30 * mib
    assert whole.rest == (30 - 4 - 8 - 1) * mib
    assert memory(peak=None).peak_above_baseline is None
    assert memory(baseline=None).peak_above_baseline is None
    assert memory(activations=None).rest is None
    assert memory(weights=100 * mib).rest is None
    assert memory(peak=None).rest is None


# Plan, layers, sweeps, comparisons


def test_a_plans_frame_has_a_row_a_layer():
    frame = plan().df
    assert frame.layer.tolist() == ["conv", "fc"]
    assert frame.outputs.tolist() == ["h", "y"]
    assert list(plan(layers=None).df.columns) == list(frame.columns)
    assert plan(layers=()).rows()[2] == ("layers", "0 (builder)")


@given(st.lists(st.tuples(*[st.integers(1, 10**9)] * 3), min_size=1, max_size=6))
def test_shares_are_of_each_run(samples):
    profile = layer_profile(
        layers=tuple(layer(str(n), samples_ns=Int64Array(s)) for n, s in enumerate(samples))
    )
    shares = profile.shares()
    assert all(0 <= s <= 1 for s in shares)
    if len({tuple(s) for s in zip(*samples, strict=True)}) == 1:
        assert math.fsum(shares) == pytest.approx(1)
    if len(samples) == 1:
        assert shares == [1.0]


def test_layer_times_are_shares_and_say_what_they_are():
    profile = layer_profile()
    assert profile.shares() == pytest.approx([30 / 40, 10 / 40], abs=0.02)
    rows = profile.rows()
    assert rows[1] == ("kind of time", "host time, profiled (measured); not a latency")
    assert rows[2] == ("75.0%", "conv (FusedConv)")
    assert "host launch" in text_of(layer_profile(time_kind="host-launch"))["kind of time"]
    frame = profile.df
    assert frame.layer.tolist() == ["conv", "fc"]
    assert frame.median_ms.tolist() == [0.03, 0.01]
    assert frame.n.tolist() == [3, 3]


def test_a_share_of_nothing_is_unknown():
    profile = layer_profile(layers=(layer(samples_us=(0, 0, 0)), layer("b", (0, 0, 0))))
    assert all(map(math.isnan, profile.shares()))
    assert [label for label, _ in profile.rows()[2:4]] == ["n/a", "n/a"]
    assert layer_profile(layers=()).shares() == []
    assert repr(layer_profile(layers=()))


def test_a_points_row_is_flat_and_unknown_is_none():
    row = making.point().row()
    assert row["latency_ms"] == measurement().median_ms
    assert row["peak_memory_bytes"] == 30 * 2**20
    assert row["plan_bytes"] == 5000
    assert row["failure"] is None
    failed = failed_point().row()
    assert set(failed) == set(row)
    assert failed["failure"] == "No."
    assert failed["batch"] == 1
    known = {"model", "precision", "batch", "streams", "backend", "target", "caveats", "failure"}
    assert {k for k, v in failed.items() if v is not None} == known


def test_a_sweep_counts_its_failures():
    sweep = SweepResult((making.point(), failed_point()), stopped=True)
    assert sweep.rows()[0] == ("sweep", "2 points, 1 failed, stopped")
    assert sweep.rows()[2] == ("digits, batch 1", "failed: No.")
    assert len(sweep.df) == 2
    assert sweep.measurements == (making.point().measurement,)
    assert repr(SweepResult(())) == "sweep  0 points, 0 failed"


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (
            Difference("q", 4.0, 2.32, 0.58, Interval(0.56, 0.6), "better"),
            "4.00 → 2.32: −42 % [−44 %, −40 %] better",
        ),
        (Difference("q", 100.0, 100.2, 1.002, None, "exact"), "100 → 100: +0.2 % exact"),
        (Difference("q", None, 2.0, None, None, "unknown"), "n/a → 2.00: n/a"),
    ],
)
def test_a_difference_has_sign_interval_and_word(difference, text):
    assert Comparison("a", "b", (difference,), ()).rows()[2] == ("q", text)


def test_a_comparisons_frame_has_a_row_a_quantity():
    frame = Comparison("a", "b", (Difference("q", 1.0, 2.0, 2.0, Interval(1, 3), "worse"),), ()).df
    assert frame.iloc[0].to_dict() == {
        "quantity": "q",
        "a": 1.0,
        "b": 2.0,
        "ratio": 2.0,
        "ratio_low": 1,
        "ratio_high": 3,
        "verdict": "worse",
    }


def test_records_are_equal_by_value():
    assert measurement() == measurement()
    assert measurement() != measurement(first_call_ns=MS)
    assert plan() == plan()


# GPU facts of a measurement


def gpu_window(compute_ms=2.0, copies_ms=None, enqueue_ms=0.1, n=40):
    def array(ms):
        return None if ms is None else Int64Array([round(ms * MS)] * n)

    parts = Parts(array(compute_ms), array(enqueue_ms), array(copies_ms), array(copies_ms))
    latencies = parts.latencies_ns()
    return Window(latencies, sum(latencies), parts)


READING = Reading(0, 1980, 3201, 300.0, 50, frozenset())


def gpu_measurement(copies_ms=None, **parts):
    contents = "compute" if copies_ms is None else "compute+transfers"
    return measurement(
        **{
            "contents": contents,
            "windows": (gpu_window(copies_ms=copies_ms),) * 3,
            "device_memory": DeviceMemory(
                activations=2**20, weights=None, plan=5000, io=64, growth=2**21
            ),
            "gpu": GpuConditions.of([READING, replace(READING, sm_mhz=1500, watts=400.0)]),
        }
        | parts
    )


@pytest.mark.parametrize(
    ("asked", "refused", "expected"),
    [
        (None, False, True),
        (True, False, True),
        (False, False, False),
        (None, True, False),
        (True, True, False),
    ],
)
def test_whether_a_cuda_graph_was_replayed_and_not_whether_it_was_asked_for(
    asked, refused, expected
):
    caveats = (Caveat("no-cuda-graph", "It cannot be captured.", "Nothing."),) * refused
    parts = {"run": RunConfig(batch=1, cuda_graph=asked), "caveats": caveats}
    assert gpu_measurement(**parts).cuda_graph is expected
    assert gpu_measurement(0.5, **parts).cuda_graph is expected
    assert measurement(run=RunConfig(batch=1, cuda_graph=False)).cuda_graph is None


def test_a_gpu_measurement_shows_its_parts_memory_and_conditions_with_their_origin():
    rows = text_of(gpu_measurement(0.5))
    assert rows["latency, parts"] == (
        "host to device 0.500 ms, GPU compute 2.00 ms, device to host 0.500 ms, "
        "beside it enqueue 0.100 ms (measured, medians)"
    )
    memory_text = rows["GPU memory"]
    assert "grew by 2.00 MiB (measured, whole GPU)" in memory_text
    assert "activations 1.00 MiB, weights n/a (builder)" in memory_text
    meanwhile = rows["GPU meanwhile"]
    for words in (
        "SM clock 1,740 MHz (1,500 to 1,980)",
        "350 W on average",
        "50 °C",
        "held down by: nothing",
        "n 2 (measured)",
    ):
        assert words in meanwhile
    without = text_of(gpu_measurement())
    assert "host to device" not in without["latency, parts"]
    assert "GPU memory" not in text_of(measurement())
    assert "GPU meanwhile" not in text_of(measurement())
    assert "latency, parts" not in text_of(measurement())


def test_what_the_sensors_do_not_say_is_not_zero():
    blind = GpuConditions.of([Reading(0, None, None, None, None, None)])
    assert blind.text().count("n/a") == 5
    assert "0" not in blind.text()
    assert GpuConditions.of([]).samples == 0


def test_only_some_reasons_are_throttling():
    readings = [
        replace(READING, throttle_reasons=frozenset({name}))
        for name in ("GpuIdle", "ApplicationsClocksSetting", "SwPowerCap")
    ]
    conditions = GpuConditions.of([*readings, replace(READING, throttle_reasons=None)])
    assert conditions.throttle_reasons == ("ApplicationsClocksSetting", "GpuIdle", "SwPowerCap")
    assert conditions.throttled_by == ("SwPowerCap",)
    assert GpuConditions.of(readings[:2]).throttled_by == ()


def test_parts_survive_a_file_and_come_in_a_frame():
    for m in (gpu_measurement(), gpu_measurement(0.5)):
        assert from_json(to_json(m), Measurement) == m
    frame = gpu_measurement(0.5).df
    assert set(frame.columns) >= {"latency_ms", "compute_ms", "enqueue_ms", "h2d_ms", "d2h_ms"}
    assert frame.compute_ms.tolist() == [2.0] * 120
    assert "h2d_ms" not in gpu_measurement().df
    assert gpu_measurement().part_ms("h2d") is None
    assert measurement().part_ms("compute") is None


def test_files_from_before_there_were_gpu_facts_are_read():
    plain = msgspec.json.decode(to_json(measurement()))
    for name in ("device_memory", "gpu"):
        del plain[name]
    for window_ in plain["windows"]:
        del window_["parts"]
    for name in ("cuda_graph", "transfers"):
        del plain["run"][name]
    assert from_json(msgspec.json.encode(plain), Measurement) == measurement()


@pytest.mark.parametrize(
    "bad",
    [
        {"contents": "call"},
        {"contents": "compute+transfers"},
        {"windows": (replace(gpu_window(), latencies_ns=Int64Array([1] * 40)),)},
        {"windows": (replace(gpu_window(), parts=gpu_window(n=39).parts),)},
        {
            "windows": (
                replace(
                    gpu_window(),
                    parts=replace(gpu_window().parts, enqueue_ns=Int64Array([1])),
                ),
            )
        },
    ],
)
def test_parts_that_do_not_make_the_latencies_are_refused(bad):
    with pytest.raises(ValueError, match="parts"):
        gpu_measurement(**bad)


def test_layers_without_a_type_have_no_brackets():
    assert "conv" in text_of(layer_profile(layers=(layer(type=""),))).values()
