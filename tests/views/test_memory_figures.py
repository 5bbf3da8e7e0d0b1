"""Memory drawn and told: live tensors, activations by largest batch, parts of a peak."""

from dataclasses import replace

import pytest

import trtlab
from tests import fusing, making, running
from trtlab.analysis.fusion.fuse import fuse
from trtlab.analysis.live_tensors import live_tensors
from trtlab.errors import SpecError
from trtlab.record import BuilderMemory, DeviceMemory, HostMemory
from trtlab.spec import RunConfig
from trtlab.views.memory_tables import (
    activation_lines,
    activations_sentence,
    activations_table,
    host_table,
    live_sentence,
    live_table,
    plans_table,
)

PEAK = 4 * 16 * 4 * 64
EVIL = "<a href='javascript:x'>%{x}</a>"


def net(**parts):
    return fuse(running.rtx_plan(**parts), running.graph(), sizes={"N": 16})


def plan(largest, mebibytes, recipe="fp32", opt=2):
    memory = None if mebibytes is None else BuilderMemory(activation=round(mebibytes * 2**20))
    return running.rtx_plan(recipe, memory=memory, config=running.rtx_config(largest, opt))


def test_live_bars_stand_in_the_plans_order_with_the_networks_own_apart():
    fig = trtlab.figure(net(), "live")
    inner, io = fig.data
    assert list(inner.y) == [PEAK / 2**10] * 2
    assert list(io.y) == [4 * 16 * 64 / 2**10, 4 * 16 * 10 / 2**10]
    assert (fig.layout.barmode, fig.layout.yaxis.title.text) == ("stack", "KiB, estimated")
    assert list(fig.layout.xaxis.ticktext) == ["G1", "G2"]
    assert [a.text for a in fig.layout.annotations] == ["16.0 KiB"]
    assert fig.layout.yaxis.range[1] > inner.y[0] + io.y[0]
    assert list(inner.customdata) == ["conv_relu", "fc"]


def test_only_the_highest_bars_are_dark_and_an_unknown_one_is_no_bar():
    parts = [fusing.part(name, shape=shape) for name, shape in
             (("a", (4, 4)), ("b", (8, 8)), ("c", (None, 7)))]  # fmt: skip
    made = fusing.fused(*parts)
    linked = [replace(layer, inputs=made.layers[n - 1].outputs if n else ())
              for n, layer in enumerate(made.layers)]  # fmt: skip
    inner, io = trtlab.figure(replace(made, layers=tuple(linked)), "live").data
    assert list(inner.y) == [64, 64 + 256, 256]
    assert io.y == (0, 0, None), "of what c writes the size is not known"
    dark, light = inner.marker.color[1], inner.marker.color[0]
    assert dark != light == inner.marker.color[2]


def test_without_a_known_layer_the_figure_says_so_and_names_stay_text():
    nothing = trtlab.figure(fusing.fused(), "live")
    assert not nothing.data
    assert nothing.layout.annotations[0].text.startswith("Of no layer")
    evil = trtlab.figure(fusing.fused(fusing.part(EVIL, shape=(2,))), "live")
    assert "<a" not in "".join(evil.data[0].hovertext) + "".join(evil.layout.xaxis.ticktext)


def test_many_layers_are_numbered_not_named():
    parts = [fusing.part(f"layer{n}", shape=(2,)) for n in range(15)]
    assert trtlab.figure(fusing.fused(*parts), "live").layout.xaxis.ticktext is None


def test_the_sentence_holds_tensors_against_what_the_builder_reserves():
    found = net()
    live = live_tensors(found)
    said = live_sentence(found, live, 3 * 2**20)
    assert said.startswith("Tensors between layers alone peak at 16.0 KiB (G1, G2), estimated.")
    assert said.endswith(
        "The builder reserves 3.00 MiB: it does not break down the other 2.98 MiB."
    )
    assert "builder" not in live_sentence(found, live, None)
    assert "which is less" in live_sentence(found, live, 2**10)


def test_an_unknown_peak_is_no_number_and_one_with_gaps_is_a_lower_bound():
    none = fusing.fused(fusing.part("a", shape=(None, 7)))
    linked = replace(none.layers[0], inputs=none.layers[0].outputs)
    lost = replace(none, layers=(linked, linked), groups=none.groups * 2)
    said = live_sentence(lost, live_tensors(lost), 2**20)
    assert said.startswith("What the tensors alone take is n/a")
    assert "2 of 2 layers" in said
    live = live_tensors(net())
    gaps = replace(live, layers=(*live.layers * 9, replace(live.layers[0], inner=None)))
    assert "at least 16.0 KiB" in live_sentence(net(), gaps, None)


def test_the_table_has_a_row_a_layer():
    table = live_table(net(), live_tensors(net()))
    assert [row[:3] for row in table.rows] == [("1", "G1", "conv_relu"), ("2", "G2", "fc")]
    assert table.origins == {3: "estimated", 4: "estimated"}


def test_activations_lie_on_one_line_only_where_the_batches_alone_differ():
    several = [plan(16, 4), plan(4, 1), plan(16, 5, "int8"), plan(8, None), making.plan()]
    fp32, int8 = activation_lines(several)
    assert [(p.largest, p.bytes) for p in fp32.points] == [(4, 2**20), (16, 4 * 2**20)]
    assert [(p.largest, p.bytes) for p in int8.points] == [(16, 5 * 2**20)]
    assert (fp32.name, int8.name) == ("FP32", "INT8")


def test_lines_say_what_else_sets_them_apart_and_never_share_a_name():
    config = running.rtx_config()
    limited = replace(config, workspace_bytes=2**25)
    other = replace(config, flags=("SPARSE_WEIGHTS",))
    made = [running.rtx_plan(config=c) for c in (config, limited, other)]
    names = [line.name for line in activation_lines(made)]
    assert names == ["FP32, default workspace", "FP32, workspace 32.0 MiB",
                     "FP32, default workspace (2)"]  # fmt: skip


def test_the_last_plan_of_a_largest_batch_counts():
    ((point,),) = [line.points for line in activation_lines([plan(16, 4), plan(16, 5, opt=4)])]
    assert (point.bytes, point.largest) == (5 * 2**20, 16)


def test_activations_are_drawn_on_a_log_axis_from_zero():
    fig = trtlab.figure([plan(16, 4), plan(4, 1)], "activations")
    (line,) = fig.data
    assert (list(line.x), list(line.y)) == ([4, 16], [1, 4])
    assert (fig.layout.xaxis.type, list(fig.layout.xaxis.ticktext)) == ("log", ["4", "16"])
    assert fig.layout.yaxis.range[0] == 0
    assert fig.layout.yaxis.title.text == "MiB, builder"
    assert "1 · 2 · 16" in line.hovertext[1]
    assert trtlab.figure([making.plan()], "activations").layout.annotations


def test_what_is_no_fusion_and_no_plan_is_refused():
    with pytest.raises(SpecError, match="fusion"):
        trtlab.figure(making.plan(), "live")
    with pytest.raises(SpecError, match="plans"):
        trtlab.figure([making.measurement()], "activations")


def test_the_sentence_of_activations_names_the_longest_line():
    said = activations_sentence([plan(16, 4), plan(4, 1), plan(16, 9, "int8")])
    assert said.startswith("FP32: 1.00 MiB at largest batch 4, 4.00 MiB at 16.")
    assert "optimal" not in said
    assert "optimal batches differ" in activations_sentence([plan(16, 4), plan(4, 1, opt=1)])
    assert activations_sentence([plan(4, 1)]) == "FP32: 1.00 MiB at largest batch 4."
    assert "No engine tells" in activations_sentence([making.plan()])
    assert activations_table([plan(4, 1)]).rows == (
        ("FP32", "1 · 2 · 4", "1.00 MiB", "1,048,576"),
    )


def test_parts_of_the_host_peak_have_a_reason_where_they_are_not_known():
    rows = {row[0]: row[1:] for row in host_table(making.measurement()).rows}
    assert rows["activations, peak"] == ("6.00 MiB", "6,291,456")
    assert rows["loader and other"] == ("17.0 MiB", f"{17 * 2**20:,}")
    hidden = replace(making.memory(), activations=None)
    several = making.measurement(memory=hidden, run=RunConfig(batch=1, streams=2))
    rows = {row[0]: row[2] for row in host_table(several).rows}
    assert "several streams" in rows["activations, peak"]
    assert rows["loader and other"] == "n/a: a part is not known"
    on_gpu = making.measurement(memory=HostMemory(), device_memory=DeviceMemory(growth=1))
    rows = {row[0]: row[2] for row in host_table(on_gpu).rows}
    assert rows["weights (of the model)"] == "n/a: they lie on the GPU"
    assert rows["loader and other"] == "n/a: the peak is not known"
    large = making.measurement(memory=making.memory(activations=2**30))
    assert "not all there" in host_table(large).rows[-1][2]


def test_plan_files_stand_beside_their_models_weights():
    (row,) = plans_table([("B, INT8", making.plan(plan_bytes=None))]).rows
    assert row == ("B, INT8", "n/a", "n/a", "4.10 kB", "4,096")
