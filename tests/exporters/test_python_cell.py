"""The cell makes the same run again, prints no default, and no name can become code."""

from dataclasses import replace

import pytest

import trtlab
from tests import making
from tests import whole_runs as running
from trtlab.exporters.python_cell import call, comment, python_cell, sweep_cell
from trtlab.model.types import Tensor
from trtlab.spec import BuildConfig, RunConfig, ShapeRange
from trtlab.store import record_id


def same_asked(a, b):
    """Whether two records are of one plan, run alike; what is measured differs each time."""
    return (a.plan, a.build, a.run, a.batch) == (b.plan, b.build, b.run, b.batch)


@pytest.mark.native
def test_the_cell_finds_what_the_run_made():
    asked = {"precision": "int8", "batch": 4, "threads": 1, "builder": "onnxruntime"}
    made = trtlab.run("zoo:digits", quick=True, **asked)
    names = {}
    exec(python_cell(made), names)
    assert record_id(names["plan"]) == made.line.plan
    assert same_asked(names["times"], made.measurement)
    assert same_asked(names["layers"], made.profile)
    assert record_id(names["accuracy"]) == made.line.accuracy
    assert names["fusion"].model == made.plan.model


@pytest.mark.native
def test_an_engine_beside_the_run_is_built_too(rtx):
    made = trtlab.run(
        "zoo:digits", batches=(1, 2, 4), workspace="64MiB", tf32=False, builder=rtx,
        runner="onnxruntime", quick=True,
    )  # fmt: skip
    names = {}
    exec(python_cell(made), names)
    assert record_id(names["plan"]) == made.line.plan
    assert names["plan"].config.tf32 is False
    assert record_id(names["host"]) == made.line.ran
    assert same_asked(names["times"], made.measurement)


@pytest.mark.native
def test_the_cell_of_a_sweep_finds_its_runs():
    made = [
        trtlab.run("zoo:digits", batch=batch, builder="onnxruntime", quick=True)
        for batch in (1, 2)
    ]
    names = {}
    exec(sweep_cell([r.setup for r in made], "zoo:digits"), names)
    assert [r.line for r in names["runs"]] == [r.line for r in made]
    assert all(run.from_store for run in names["runs"])


def test_defaults_are_not_printed():
    asked = running.setup(
        precision=None, batches=None, workspace_bytes=None, quick=False, batch=None,
        builder="onnxruntime", target=None,
    )  # fmt: skip
    made = running.run("fp32", asked=asked, accuracy=None, profile=None)
    made = replace(made, plan=made.ran, ran=made.ran)
    assert python_cell(made).splitlines() == [
        "import trtlab",
        "",
        'model = trtlab.load("zoo:digits")',
        'plan = trtlab.build(model, backend="onnxruntime", optimization_level="all")',
        "times = trtlab.benchmark(plan)",
        "fusion = trtlab.fusion(plan)",
    ]


def test_the_setups_words_are_taken_where_they_say_it_all():
    cell = python_cell(running.run())
    assert 'converted = trtlab.convert(model, "int8")' in cell
    assert "batch=(1, 8, 16)" in cell
    assert 'workspace="256MiB"' in cell
    assert 'target="sm89"' in cell
    assert "profiles=" not in cell
    assert "accuracy = trtlab.accuracy(host)" in cell


def test_the_target_is_named_since_its_default_is_the_machines():
    made = running.run(asked=running.setup(target=None))
    assert 'target="sm89"' in python_cell(made)
    assert "target" not in python_cell(running.on_gpu())


def test_what_only_the_plan_knows_is_printed():
    made = running.run()
    shapes = ShapeRange((1, 1, 4, 4), (2, 1, 8, 8), (4, 1, 9, 9))
    config = replace(
        made.plan.config, flags=("SPARSE_WEIGHTS",), aux_streams=0, profiles=({"x": shapes},),
        workspace_bytes=1000, target=("sm89", "sm120"),
    )  # fmt: skip
    x = Tensor("x", "float32", ("N", 1, "H", "W"))
    asked = running.setup(workspace_bytes=1000, batches=None)
    made = replace(
        running.relined(made, setup=asked),
        plan=replace(made.plan, config=config, inputs=(x,)),
    )
    cell = python_cell(made)
    assert "profiles=[{'x': ((1, 1, 4, 4), (2, 1, 8, 8), (4, 1, 9, 9))}]" in cell
    assert "flags=('SPARSE_WEIGHTS',)" in cell
    assert "aux_streams=0" in cell
    assert "target=('sm89', 'sm120')" in cell
    assert "workspace=1000," in cell, "no unit is exactly 1,000 bytes"
    assert "batch=(1" not in cell


def test_settings_of_the_run_come_from_what_was_measured():
    how = RunConfig(batch=8, activation_cap_bytes=2**20, seed=3, streams=2, threads=1)
    made = running.run()
    made = replace(made, measurement=replace(made.measurement, run=how))
    line = next(x for x in python_cell(made).split("times = ")[1].split("\n)") if x)
    for part in ("batch=8", "streams=2", "threads=1", 'activation_cap="1MiB"', "seed=3"):
        assert part in line
    assert "quick" not in line


def test_failed_and_unmeasured_runs_say_why():
    cell = python_cell(running.failed())
    assert "# This build failed: The workspace limit of 8 MiB is too small." in cell
    assert 'workspace="256MiB"' in cell
    assert "fusion" not in cell
    assert "# Not measured: not built" in cell


def test_files_of_other_tools_do_not_tell_all_settings():
    made = running.run()
    assert "add the shapes" not in python_cell(made)
    made = replace(made, plan=replace(made.plan, plan_bytes=None))
    assert "# Only files about this engine were read: add the shapes" in python_cell(made)


def test_a_model_from_elsewhere_asks_for_its_file():
    made = running.relined(running.run(), origin=None)
    assert "# Made elsewhere: give the file of digits here." in python_cell(made)
    assert 'trtlab.load("digits.onnx")' in python_cell(made)


@pytest.mark.parametrize("name", ['a"b', "a'b", "a\nimport os", 'a"); os.x("', "a\\", "{x}\r\x1b"])
def test_no_name_becomes_code(name):
    made = running.relined(
        running.run(),
        origin=name,
        setup=running.setup(data=name, calibration=name),
        missing={"measurement": name},
    )
    calls = []

    class Recorder:
        def __getattr__(self, verb):
            return lambda *given, **named: calls.append((verb, given, named))

    def execute(run):
        code = python_cell(run).replace("import trtlab\n", "", 1)
        exec(code, {"trtlab": Recorder()})

    execute(replace(made, measurement=None))
    verbs = [verb for verb, _, _ in calls]
    assert verbs == ["load", "convert", "build", "build", "profile", "accuracy", "fusion"]
    assert calls[0][1] == (name,)
    assert calls[1][2] == {"calibration": name}
    assert calls[5][1][1] == name


def test_other_providers_are_named():
    asked = running.setup(builder="onnxruntime", target=None, workspace_bytes=None,
                          batches=None, provider="cuda")  # fmt: skip
    plan = making.plan(config=BuildConfig(provider="cuda"))
    made = running.run("fp32", asked=asked, plan=plan, ran=plan)
    assert 'build(model, backend="onnxruntime", provider="cuda")' in python_cell(made)
    assert 'accuracy(plan, provider="cuda")' in python_cell(made)


def test_a_sweep_that_is_no_grid_lists_its_settings():
    setups = [running.setup(batch=1), running.setup(batch=8, precision=None)]
    cell = sweep_cell(setups, "zoo:digits")
    assert "{'precision': 'int8', 'batch': 1}," in cell
    assert "{'precision': None, 'batch': 8}," in cell
    assert "**settings" in cell
    assert 'workspace="256MiB"' in cell


def test_a_sweep_over_a_default_names_it():
    cell = sweep_cell([running.setup(streams=n) for n in (1, 2)], "zoo:digits")
    assert "for streams in [1, 2]" in cell


def test_what_was_only_built_is_said():
    cell = sweep_cell([running.setup(runner=None)], "zoo:digits")
    assert 'runner="none"' in cell


def test_long_calls_are_broken_and_remarks_stay_one_line():
    assert call("x", "f", "a" * 80).count("\n") == 2
    assert comment("a\nb") == ["# a\\nb"]
