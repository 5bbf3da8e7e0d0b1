"""Tables and sentences: numbers with their interval, no claim inside the noise."""

from dataclasses import replace

from tests.making import layer_profile, measurement
from trtlab.codec import Int64Array
from trtlab.record import Failure, Point, SweepResult, Window
from trtlab.spec import BuildConfig, Caveat, RunConfig
from trtlab.views.sentences import latency_sentence, memory_sentence, throughput_sentence
from trtlab.views.tables import Table, layer_table, sweep_table


def steady(batch, ms, spread=0.0):
    """Three windows of 64 calls whose medians differ by ``spread``."""
    windows = tuple(
        Window(Int64Array([round(ms * f * 1e6)] * 64), round(64 * ms * f * 1e6))
        for f in (1 - spread, 1, 1 + spread)
    )
    return replace(
        measurement(), batch=batch, run=RunConfig(batch=batch), windows=windows, steady_from=0
    )


def point(m):
    return Point(model=m.model, build=m.build, run=m.run, measurement=m)


def test_a_row_holds_median_interval_throughput_and_n():
    (row,) = sweep_table([point(steady(4, 2.0))]).rows
    text = " ".join(row)
    assert "2.00 [2.00, 2.00]" in text
    assert "2,000" in text
    assert "192" in text


def test_p99_is_not_shown_from_too_few_samples():
    table = sweep_table([point(steady(1, 2.0))])
    assert table.rows[0][table.heads.index("p99 ms")] == "n/a"


def test_a_failed_point_keeps_its_row_with_the_reason():
    m = steady(1, 2.0)
    failed = Point(
        model=m.model, build=BuildConfig(), run=RunConfig(batch=9),
        failure=Failure("ExecutionError", "It ran out of memory.", ""),
    )  # fmt: skip
    rows = sweep_table(SweepResult((point(m), failed))).rows
    assert rows[1][-1] == "It ran out of memory."
    assert "0" not in rows[1]


def test_remarks_name_doubts_quick_and_recorded():
    m = replace(
        steady(1, 2.0), source="recorded", caveats=(Caveat("unstable", "x", "y"),),
        run=RunConfig(batch=1, quick=True),
    )  # fmt: skip
    assert sweep_table([point(m)]).rows[0][-1] == "quick, recorded, unstable"


def test_html_cells_are_escaped_and_numbers_are_marked():
    page = Table(("A", "N"), (("<script>", "1"),), frozenset({1}), "C & D").html()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "C &amp; D" in page
    assert page.count("trtlab-number") == 2


def test_layers_are_ranked_by_share():
    shares = [float(row[3].rstrip("%")) for row in layer_table(layer_profile()).rows]
    assert shares == sorted(shares, reverse=True)


def test_the_best_throughput_is_named_and_an_equal_one_that_answers_sooner():
    clear = throughput_sentence([steady(1, 1.0), steady(8, 4.0)])
    assert "batch 8" in clear
    assert "not distinguishable" not in clear
    close = throughput_sentence([steady(4, 2.0, 0.05), steady(8, 3.95, 0.05)])
    assert "batch 8" in close
    assert "Batch 4" in close
    assert "is not distinguishable in throughput and answers in 2.00 ms" in close


def test_latency_growth_is_said_in_times():
    assert "4 times the items" in latency_sentence([steady(1, 1.0), steady(4, 2.0)])
    assert "needs more" in latency_sentence([steady(1, 1.0)])


def test_memory_is_not_invented_where_it_is_unknown():
    m = steady(1, 1.0)
    hidden = replace(m, memory=replace(m.memory, peak=None))
    assert "n/a" in memory_sentence([hidden])
    assert "MiB" in memory_sentence([m])
