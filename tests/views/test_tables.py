"""Tables and sentences: numbers with their interval, no claim inside the noise."""

from dataclasses import replace

from tests.analysis.fusion.making import fused as mapped
from tests.analysis.fusion.making import graph, layer, node
from tests.fusing import fused, part
from tests.making import layer_profile, measurement
from trtlab.codec import Int64Array
from trtlab.record import Failure, LayerTensor, Point, SweepResult, Window
from trtlab.spec import BuildConfig, Caveat, RunConfig
from trtlab.views.sentences import (
    latency_sentence,
    memory_sentence,
    regions_sentence,
    throughput_sentence,
)
from trtlab.views.tables import Table, fusion_table, layer_table, regions_table, sweep_table


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
        failure=Failure("execution", "It ran out of memory.", ""),
    )  # fmt: skip
    table = sweep_table(SweepResult((point(m), failed)))
    assert table.rows[1][-1] == "failed [1]"
    assert table.notes == ("[1] It ran out of memory.",)
    assert "0" not in table.rows[1]


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
    heads = set(sweep_table([point(m)]).heads)
    assert not {"Model", "Streams", "Target", "Seed", "Threads"} & heads
    assert "Batch" in heads
    two = point(replace(m, run=RunConfig(batch=1, streams=2)))
    assert "Streams" in sweep_table([two]).heads
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


def layer_of_a_fusion(name="one", dtype="float16", **parts):
    layer, group = part(name, "c1 r1", **parts)
    nhwc = "(NHWC) Channel major format"
    read = LayerTensor("x", "int8", (1, 8), format="(Linear) Row major linear format")
    return replace(
        layer,
        inputs=(LayerTensor("w", "float32", (8, 8), is_constant=True), read),
        outputs=(LayerTensor("y", dtype, (1, 8), format=nhwc),),
        stream=2,
    ), replace(group, tag="G1", patterns=("vertical fusion",))


def test_a_layer_of_a_fusion_shows_what_it_is_and_what_it_costs():
    one = layer_of_a_fusion(time=0.5, flops=2_000_000, bytes=2048, saved_bytes=1024)
    one = one[0], replace(one[1], time_share=0.25)
    table = fusion_table(fused(one, part("moved", time=None), runs=3))
    row, added = (dict(zip(table.heads, cells, strict=True)) for cells in table.rows)
    assert row == {
        "Group": "G1", "Layer": "one", "Kind": "conv chain, vertical fusion",
        "ONNX nodes": "c1, r1", "Type": "kernel", "Data type": "INT8 → FP16",
        "Format": "Linear → NHWC", "Stream": "2", "FLOP": "2.00 MFLOP", "Bytes": "2.00 KiB",
        "Saved": "1.00 KiB", "GPU time, n 3": "0.500 ms", "Share of layers": "25 %",
    }  # fmt: skip
    assert (added["Group"], added["ONNX nodes"]) == ("—", "—")
    assert {added[head] for head in ("Stream", "FLOP", "Bytes", "Saved", "GPU time, n 3",
                                     "Share of layers")} == {"n/a"}  # fmt: skip


def test_each_number_of_a_fusion_has_its_origin_in_the_head():
    made = fused(layer_of_a_fusion(time=0.5))
    table = fusion_table(made)
    marks = {table.heads[place]: origin for place, origin in table.origins.items()}
    assert marks == {
        "Data type": "builder", "Format": "builder", "Stream": "builder", "FLOP": "estimated",
        "Bytes": "estimated", "Saved": "estimated", "GPU time, n 1": "measured",
        "Share of layers": "measured",
    }  # fmt: skip
    assert "estimated" in table.text().splitlines()[1]
    assert table.html().count("aria-label") == len(marks)
    assert "recorded" in fusion_table(replace(made, time_source="recorded")).origins.values()


def test_an_untimed_fusion_says_why_and_has_no_column_of_shares():
    table = fusion_table(fused(layer_of_a_fusion()))
    assert table.heads[-1] == "Time, n/a: built, not run"
    assert "measured" not in table.origins.values()
    assert {len(row) for row in table.rows} == {len(table.heads)}


def test_a_hostile_name_stays_one_short_line():
    made = layer_of_a_fusion(name="<b>\x1b[2J\n" + "n" * 10_000, dtype="<i>")
    table = fusion_table(fused(made))
    assert len(table.text().splitlines()) == 3
    assert max(map(len, table.rows[0])) < 80
    assert "<b>" not in table.html()


def test_the_inside_of_a_region_is_estimated_throughout():
    opened = opaque([node("heavy", "MatMul", "x w", "a"), node("light", "Relu", "a", "y")])
    table = regions_table(opened)
    heavy, light = (dict(zip(table.heads, cells, strict=True)) for cells in table.rows)
    assert (heavy["Region"], heavy["ONNX node"], heavy["Operator"]) == ("G1", "heavy", "MatMul")
    assert float(light["Of its time"].split()[0]) < float(heavy["Of its time"].split()[0])
    assert set(table.origins.values()) == {"estimated"}
    assert regions_table(fused()).rows == ()
    said = regions_sentence(opened)
    assert said.startswith("1 opaque region: 2 of 2 nodes inside. They were not timed")
    assert "estimated" in said


def test_a_region_with_an_unknown_cost_divides_no_time():
    opened = opaque([node("odd", "Mystery", "x w", "a"), node("light", "Relu", "a", "y")])
    assert {row[-1] for row in regions_table(opened).rows} == {"n/a"}
    assert "No time is divided among 2 of the nodes" in regions_sentence(opened)


def opaque(nodes):
    shapes = dict.fromkeys("xwy", (8, 8)) | {"a": (8, 8)}
    name = f"{{ForeignNode[{nodes[0].name}...{nodes[-1].name}]}}"
    made = graph(*nodes, shapes=shapes, constants="w")
    return mapped(made, layer(name, "x", "y", type="Myelin"))
