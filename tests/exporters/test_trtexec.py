"""The trtexec line: flags of each version, files, what is said in comments, quoting."""

import shlex
from dataclasses import replace

import pytest

from tests import whole_runs as running
from trtlab.errors import SpecError
from trtlab.exporters.trtexec import trtexec_line
from trtlab.model.types import Tensor
from trtlab.spec import RunConfig, ShapeRange


def words(run, version="11"):
    """What the shell would give to trtexec."""
    text = trtexec_line(run, version)
    found = shlex.split(text.replace("\\\n", ""), comments=True)
    found = found[found.index("trtexec") :]
    assert found[0] == "trtexec"
    return found[1:]


def comments(run, version="11"):
    return [x for x in trtexec_line(run, version).splitlines() if x.startswith("#")]


def with_run(run, **parts):
    how = replace(run.measurement.run, **parts)
    return replace(run, measurement=replace(run.measurement, run=how))


def with_config(run, **parts):
    return replace(run, plan=replace(run.plan, config=replace(run.plan.config, **parts)))


def test_all_of_an_engine_in_11():
    made = with_run(running.on_gpu(), quick=False)
    assert words(made) == [
        "--onnx=digits.onnx",
        "--minShapes=x:1x1x8x8",
        "--optShapes=x:8x1x8x8",
        "--maxShapes=x:16x1x8x8",
        "--memPoolSize=workspace:256M",
        "--profilingVerbosity=detailed",
        "--shapes=x:8x1x8x8",
        "--warmUp=200",
        "--duration=3",
        "--exportLayerInfo=layers.json",
        "--dumpProfile",
        "--exportProfile=profile.json",
        "--exportTimes=times.json",
    ]
    assert comments(made) == ["# Read it back: trtlab import layers.json profile.json times.json"]


def test_10_is_told_what_11_does_by_itself():
    made = running.on_gpu()
    only = {"--stronglyTyped", "--useCudaGraph", "--noDataTransfers", "--separateProfileRun"}
    assert set(words(made, "10")) - set(words(made, "11")) == only
    assert set(words(made, "11")) <= set(words(made, "10"))


def test_the_other_way_round():
    made = with_run(running.on_gpu(), cuda_graph=False, transfers=True, streams=3)
    ten, eleven = words(made, "10"), words(made, "11")
    assert not {"--useCudaGraph", "--noDataTransfers"} & set(ten)
    assert {"--noCudaGraph", "--includeDataTransfers", "--infStreams=3"} <= set(eleven)
    assert "--infStreams=3" in ten


@pytest.mark.parametrize(("asked", "there"), [(False, True), (None, False), (True, False)])
def test_tf32_is_on_unless_it_was_switched_off(asked, there):
    assert ("--noTF32" in words(with_config(running.on_gpu(), tf32=asked))) is there


@pytest.mark.parametrize(
    ("size", "text"), [(2**30, "1G"), (3 * 2**20, "3M"), (5 * 2**10, "5K"), (1001, "1001B")]
)
def test_sizes_are_exact(size, text):
    made = with_config(running.on_gpu(), workspace_bytes=size)
    assert f"--memPoolSize=workspace:{text}" in words(made)


def test_no_limit_no_flag():
    made = with_config(running.on_gpu(), workspace_bytes=None)
    assert not any("memPool" in word for word in words(made))


def test_a_converted_model_is_written_first():
    text = trtexec_line(running.run("int8+fp16"), "11")
    convert = next(x for x in text.splitlines() if x.startswith("trtlab convert"))
    assert convert == "trtlab convert zoo:digits int8+fp16 -o digits.int8_fp16.onnx"
    assert text.index(convert) < text.index("trtexec --onnx=digits.int8_fp16.onnx")


def test_calibration_is_part_of_the_conversion():
    made = running.relined(running.run(), setup=running.setup(calibration="my images"))
    assert "int8 --calibration 'my images' -o" in trtexec_line(made, "11")


def test_a_file_of_its_own_precision_is_taken_as_it_is():
    made = running.relined(running.on_gpu(), origin="some where/net.onnx")
    assert "--onnx=some where/net.onnx" in words(made)
    assert "trtlab convert" not in trtexec_line(made, "11")


def test_what_trtexec_has_no_words_for_is_a_comment():
    made = with_config(
        running.on_gpu(), flags=("REFIT",), memory_pools={"TACTIC_DRAM": 5}, timing_cache=False,
        max_num_tactics=4, plugin_libraries=("p.so",), optimization_level=5, aux_streams=0,
        avg_timing_iterations=2,
    )  # fmt: skip
    said = "\n".join(comments(with_run(made, seed=7)))
    for part in ("REFIT", "TACTIC_DRAM", "timing cache", "max num tactics 4", "p.so", "seed 7",
                 "quick"):  # fmt: skip
        assert part in said, part
    flags = {"--builderOptimizationLevel=5", "--maxAuxStreams=0", "--avgTiming=2"}
    assert flags <= set(words(made))


def test_another_builder_target_and_runner_are_said():
    said = "\n".join(comments(running.run(), "10"))
    assert "TensorRT-RTX's for sm89" in said
    assert "timed is ONNX Runtime" in said
    plan = running.run().ran
    asked = running.setup(builder="onnxruntime", target=None, threads=2)
    host = running.run("fp32", asked=asked, plan=plan, measurement=None)
    said = "\n".join(comments(host))
    assert "plan is ONNX Runtime's" in said
    assert "2 threads" in said
    assert "optimization level 'all'" in said
    assert not any("builderOptimizationLevel" in word for word in words(host))


def test_a_failed_build_names_what_is_missing():
    said = "\n".join(comments(running.failed()))
    assert "This build failed: The workspace limit" in said
    assert "batches (1, 8, 16)" in said
    assert "--memPoolSize=workspace:256M" in words(running.failed())


def test_files_of_other_tools_do_not_tell_all_settings():
    made = running.on_gpu()
    assert not any("add the shapes" in line for line in comments(made))
    made = replace(made, plan=replace(made.plan, plan_bytes=None))
    assert any("add the shapes" in line for line in comments(made))


def test_where_nothing_ran_nothing_is_said_to_be_timed():
    asked = running.setup(runner=None)
    made = running.relined(replace(running.run(), measurement=None, ran=None), setup=asked)
    assert any("Nothing was timed" in line for line in comments(made))


def test_several_profiles_are_not_dropped_silently():
    made = running.on_gpu()
    two = with_config(made, profiles=made.plan.config.profiles * 2)
    assert any("1 more optimization profiles" in line for line in comments(two))


@pytest.mark.parametrize("name", ["a b", "in:0", "$(touch x)", "`x`", "a;b", 'q"q', "a\nb"])
def test_every_word_reaches_trtexec_whole(name):
    x = Tensor(name, "float32", ("N", 4))
    made = running.relined(running.on_gpu(), origin=f"/m/{name}.onnx")
    shape = ShapeRange((1, 4), (8, 4), (16, 4))
    plan = replace(
        made.plan,
        inputs=(x,),
        outputs=(),
        config=replace(made.plan.config, profiles=({name: shape},)),
    )
    made = replace(made, plan=plan, measurement=replace(made.measurement, run=RunConfig(batch=8)))
    found = words(made)
    assert found[0] == f"--onnx=/m/{name}.onnx"
    assert found[1] == f"--minShapes='{name}':1x4"
    assert f"--shapes='{name}':8x4" in found


def test_no_text_ends_a_comment():
    made = running.failed("bad\nrm -rf x")
    assert not any(line.startswith("rm") for line in trtexec_line(made, "11").splitlines())


def test_unknown_versions_are_refused():
    with pytest.raises(SpecError, match="'9'"):
        trtexec_line(running.run(), "9")
