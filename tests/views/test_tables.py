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
    page = Table(("A", "N"), (("<script>", "1"),), frozenset({1})).html()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
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


def disturbed(m):
    return replace(m, caveats=(Caveat("busy-machine", "x", "y"),))


def test_nothing_is_said_of_a_disturbed_point():
    for pair in (
        [disturbed(steady(4, 2.0, 0.05)), steady(8, 3.95, 0.05)],
        [steady(4, 2.0, 0.05), disturbed(steady(8, 3.95, 0.05))],
    ):
        assert "not distinguishable" not in throughput_sentence(pair)


def test_an_equal_point_must_answer_sooner_beyond_the_noise():
    close = [steady(4, 2.0, 0.05), replace(steady(4, 2.02, 0.05), run=RunConfig(streams=2))]
    assert "answers in" not in throughput_sentence(close)


def test_default_threads_are_said_to_be_so():
    one = replace(steady(1, 2.0), run=RunConfig(batch=1, threads=1))
    table = sweep_table([point(one), point(steady(1, 2.0))])
    column = table.heads.index("Threads")
    assert [row[column] for row in table.rows] == ["1", "default"]


def test_settings_have_a_column_only_where_points_differ_in_them():
    m = steady(1, 2.0)
    gpu = replace(m, build=BuildConfig(provider="cuda"), run=RunConfig(batch=1, seed=3))
    assert not {"Target", "Seed", "Threads"} & set(sweep_table([point(m)]).heads)
    assert sweep_table([]).rows == ()
    table = sweep_table([point(m), point(gpu)])
    assert table.rows[1][table.heads.index("Target")] == "CUDA"
    assert table.rows[1][table.heads.index("Seed")] == "3"


def test_latency_growth_is_said_in_times():
    said = latency_sentence([steady(1, 1.0), steady(4, 2.0)])
    assert "(4 times the items) 2.00 ms: 2.00 times [" in said
    assert "needs more" in latency_sentence([steady(1, 1.0)])
    assert "needs more" in latency_sentence([])


def test_latency_growth_is_claimed_only_beyond_the_noise():
    noise = latency_sentence([steady(1, 1.0), steady(4, 1.1)])
    assert noise.endswith(": not distinguishable.")
    busy = latency_sentence([steady(1, 1.0), disturbed(steady(4, 2.0))])
    assert busy.endswith("a run was disturbed, so no factor is given.")
    few = replace(steady(4, 2.0), windows=(Window(Int64Array([2_000_000]), 2_000_000),))
    assert latency_sentence([steady(1, 1.0), few]).endswith("too few samples for a factor.")


def test_latency_growth_keeps_to_one_line_and_names_it():
    def threaded(batch, ms, threads):
        return replace(steady(batch, ms), run=RunConfig(batch=batch, threads=threads))

    said = latency_sentence(
        [threaded(1, 1.0, 1), threaded(2, 2.0, 1), threaded(4, 5.0, 1), threaded(8, 3.0, 2)]
    )
    assert said.startswith("FP32, 1 thread: in the median, batch 1 takes")
    assert "batch 4 (4 times the items) 5.00 ms" in said


def test_points_without_a_batch_are_counted_not_compared():
    loose = replace(steady(1, 9.0), batch=None, run=RunConfig())
    said = latency_sentence([loose, steady(1, 1.0), steady(4, 2.0)])
    assert said.endswith(" 1 point without a batch axis is in the table only.")
    assert "2 points without a batch axis are in" in latency_sentence([loose, loose])


def test_memory_is_not_invented_where_it_is_unknown():
    m = steady(1, 1.0)
    hidden = replace(m, memory=replace(m.memory, peak=None))
    assert "n/a" in memory_sentence([hidden])
    assert memory_sentence([m, hidden]).count("30.0 MiB") == 1
    assert memory_sentence([m]).endswith("; weights are 4.00 MiB.")
    no_weights = replace(m, memory=replace(m.memory, weights=None))
    assert "weights" not in memory_sentence([no_weights])
