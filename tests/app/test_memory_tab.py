"""Memory through the state: four figures with their origins, and reasons for what is not known."""

from dataclasses import replace

from tests import making, running
from tests.running import EVIL, all_of, text
from trtlab.app.panels.memory_tab import Memory
from trtlab.app.state import State
from trtlab.record import BuilderMemory, DeviceMemory, Failure, HostMemory
from trtlab.views.widgets.plotly_view import PlotlyView


def shown(*runs, baseline=None, **changes):
    state = State(tab="memory")
    state.take_graphs({r.line.made.hash: running.graph() for r in runs})
    panel = Memory(state)
    state.update(runs=tuple(runs), selected=runs[-1] if runs else None,
                 baseline=None if baseline is None else runs[baseline], **changes)  # fmt: skip
    return panel


def tile(page, title):
    return page.split(f"<h3>{title}")[1].split("</section>")[0]


def larger(largest, mebibytes, recipe="fp32"):
    return running.rtx_plan(
        recipe,
        config=running.rtx_config(largest),
        memory=BuilderMemory(activation=mebibytes * 2**20, weights=1),
    )


def test_without_a_run_nothing_is_claimed():
    assert "Nothing was built" in text(shown())


def test_four_figures_each_with_its_origin():
    page = text(shown(running.run("int8")))
    activations = tile(page, "Engine activations")
    assert "3.00 <small>MiB" in activations
    assert "trtlab-builder" in activations
    assert "batch ≤ 16; equals scratch here" in activations
    assert "3,145,728 bytes" in activations
    weights = tile(page, "Engine weights")
    assert "1.00 <small>KiB" in weights
    assert "trtlab-builder" in weights
    host = tile(page, "Host peak, ONNX Runtime")
    assert "30.0 <small>MiB" in host
    assert "trtlab-measured" in host
    device = tile(page, "Device peak")
    assert ">n/a<" in device
    assert "on the CPU" in device
    assert "trtlab-badge" not in device, "what is not known has no origin"
    assert "never added up" in page


def test_device_memory_is_measured_where_there_is_a_gpu():
    on_gpu = making.measurement(device_memory=DeviceMemory(growth=5 * 2**20))
    device = tile(text(shown(running.run("fp32", measurement=on_gpu))), "Device peak")
    assert "5.00 <small>MiB" in device
    assert "trtlab-measured" in device
    unread = making.measurement(device_memory=DeviceMemory())
    device = tile(text(shown(running.run("fp32", measurement=unread))), "Device peak")
    assert "free memory was not read" in device


def test_scratch_that_is_only_a_part_is_not_called_equal():
    plan = running.rtx_plan(memory=BuilderMemory(activation=2**20, scratch=2**10, weights=1))
    assert "equals scratch" not in text(shown(running.run("fp32", plan=plan)))


def test_tensors_are_held_against_the_builders_figure_at_its_largest_batch():
    panel = shown(running.run("int8", batch=4))
    page = text(panel)
    assert "Live tensors in program order, batch 16" in page
    # 16 x 4 x 64 of one byte, between the two layers.
    assert "peak at 4.00 KiB (G1, G2), estimated. The builder reserves 3.00 MiB" in page
    (view,) = all_of(panel, PlotlyView)
    assert view.label.startswith("Tensors between layers alone")


def test_the_builders_figure_is_not_used_where_a_largest_size_is_not_known():
    plan = running.rtx_plan()
    bare = replace(plan, config=replace(plan.config, profiles=()))
    page = text(shown(running.run("fp32", batch=4, plan=bare)))
    assert "Live tensors in program order, batch 4" in page
    assert "The builder reserves" not in page


def test_unknown_shapes_are_told_and_not_drawn():
    plan = running.rtx_plan()
    h = replace(plan.layers[0].outputs[0], shape=None)
    first, second = plan.layers
    lost = (replace(first, outputs=(h,)), replace(second, inputs=(h,)))
    panel = shown(running.run("fp32", plan=replace(plan, layers=lost)))
    assert "shapes of some are not known in 2 of 2 layers" in text(panel)
    assert not all_of(panel, PlotlyView)


def test_activations_become_a_curve_with_another_largest_batch():
    one = running.run("fp32", plan=larger(16, 4))
    page = text(shown(one))
    assert "Build with another largest batch" in page
    assert "4.00 MiB" in page
    panel = shown(running.run("fp32", plan=larger(32, 9)), one)
    assert "FP32: 4.00 MiB at largest batch 16, 9.00 MiB at 32." in text(panel)
    assert len(all_of(panel, PlotlyView)) == 2
    other = running.run("int8", plan=larger(32, 9, "int8"))
    assert "no two engines differ in their largest batch alone" in text(shown(other, one))


def test_plan_files_of_a_and_b_share_one_scale():
    a = running.run("fp32", plan=running.rtx_plan(plan_bytes=1000, weight_bytes=500))
    b = running.run("int8", plan=running.rtx_plan("int8", plan_bytes=4000, weight_bytes=125))
    plans = tile(text(shown(a, b, baseline=0)), "Plan file")
    assert plans.index(">A<") < plans.index(">B<")
    widths = [part.split("%")[0] for part in plans.split("width:")[1:]]
    assert widths == ["25.00", "12.50", "100.00", "3.12"]
    assert "4.00 kB" in plans
    assert "trtlab-builder" in plans
    alone = tile(text(shown(a, b)), "Plan file")
    assert ">A<" not in alone
    assert tile(text(shown(b, baseline=0)), "Plan file").count("plan file") == 1


def test_onnx_runtime_as_builder_says_no_memory_and_its_run_has_a_peak():
    plan = making.plan()
    page = text(shown(running.run("fp32", plan=plan, ran=plan)))
    for title in ("Engine activations", "Engine weights"):
        assert "ONNX Runtime does not say what it will take" in tile(page, title)
    assert "no engine tells both" in page
    assert "30.0 <small>MiB" in tile(page, "Host peak, ONNX Runtime")
    assert "not of the engine" not in page


def test_a_peak_of_another_runner_is_not_the_engines():
    assert "not of the engine by TensorRT-RTX" in text(shown(running.run("int8")))


def test_what_was_not_measured_has_its_reason():
    why = {"missing": {"measurement": f"FP16 was not run: {EVIL}"}}
    page = text(shown(running.run("fp16", line=why, ran=None, measurement=None)))
    for title in ("Host peak", "Device peak", "Host peak, part by part"):
        assert "FP16 was not run" in tile(page, title)
    assert EVIL not in page
    unread = making.measurement(memory=HostMemory())
    host = tile(text(shown(running.run("fp32", measurement=unread))), "Host peak, ONNX Runtime")
    assert "it was not recorded" in host
    elsewhere = making.measurement(memory=HostMemory(weights=1))
    host = tile(text(shown(running.run("fp32", measurement=elsewhere))), "Host peak, ONNX Runtime")
    assert "only Linux reports it" in host


def test_a_failed_run_says_why_and_keeps_the_baselines_plan():
    failure = {"failure": Failure("build", "The workspace limit is too small.", "Raise it.")}
    broken = running.run("int8", line=failure, plan=None, ran=None, measurement=None)
    page = text(shown(running.run("fp32"), broken, baseline=0))
    assert "too small" in tile(page, "Engine activations")
    plans = tile(page, "Plan file")
    assert "5.00 kB" in plans
    assert "too small" in plans
    assert "was not drawn" not in page
    assert ".." not in page


def test_a_recorded_run_is_shown_as_any_other():
    recorded = running.run("int8", line={"source": "recorded"})
    page = text(shown(recorded, recorded="H200"))
    assert "3.00 <small>MiB" in tile(page, "Engine activations")
    assert "batch 16" in page


def test_charts_are_updated_not_made_anew():
    runs = running.run("fp32"), running.run("int8")
    panel = shown(*runs)
    views = all_of(panel, PlotlyView)
    panel.state.update(selected=runs[0], theme="dark")
    assert all_of(panel, PlotlyView) == views
    assert views[0].theme == "dark"
