"""Runs as points: what is of the plan that ran, and why there is no latency."""

from tests import accuracies, running
from trtlab.record import Failure
from trtlab.spec import Setup
from trtlab.views.run_points import by_recipe, points_of


def failed(recipe="bf16", **setup):
    asked = Setup(**{"precision": recipe, "builder": "tensorrt_rtx"} | setup)
    line = {"failure": Failure("build", "No such kernel.", "Try."), "setup": asked}
    return running.run(recipe, line=line, plan=None, ran=None, measurement=None, accuracy=None)


def test_a_run_that_ran_is_a_point_of_the_plan_that_ran():
    run = running.run("int8")
    (point,) = points_of([run])
    assert (point.plan, point.measurement) == (run.ran, run.measurement)
    assert point.build.backend == "onnxruntime"
    assert (point.model.recipe, point.accuracy) == ("int8", run.accuracy)
    assert point.no_latency_because is None


def test_a_run_that_did_not_run_says_why_and_stands_for_its_engine():
    run = running.run("fp16", line={"missing": {"measurement": "widened"}},
                      ran=None, measurement=None)  # fmt: skip
    (point,) = points_of([run])
    assert point.no_latency_because == "widened"
    assert (point.plan, point.build.backend) == (run.plan, "tensorrt_rtx")


def test_a_failed_run_has_the_build_that_was_asked_for():
    (point,) = points_of([failed(target="sm89+sm120")])
    assert (point.build.backend, point.build.target_text) == ("tensorrt_rtx", "sm89+sm120")
    assert point.no_latency_because == "No such kernel."
    (other,) = points_of([failed(builder="onnxruntime", provider="cuda")])
    assert (other.build.backend, other.build.provider) == ("onnxruntime", "cuda")


def test_the_last_run_at_the_batch_stands_for_its_recipe():
    first, second, other = running.run(batch=8), running.run(batch=8), running.run(batch=4)
    int8 = running.run("int8", batch=4, accuracy=accuracies.accuracy())
    found = by_recipe([first, second, other, int8], 8)
    assert found["fp32"] is second
    assert found["int8"] is int8, "another batch is better than none"
    assert by_recipe([first, other], None)["fp32"] is other


def test_what_was_built_stands_before_what_failed():
    built, broken = running.run("bf16", batch=4, plan=None), failed("bf16", batch=8)
    assert by_recipe([built, broken], 8)["bf16"] is built
    assert by_recipe([broken], 8)["bf16"] is broken
