"""A wrong setting is refused where it is given, by the name of the input at fault."""

import json
from dataclasses import fields, replace

import pytest

from trtlab.codec import from_json, from_message, to_json, to_message
from trtlab.errors import SpecError
from trtlab.model.types import Tensor
from trtlab.spec import (
    OPTIMIZATION_LEVELS,
    TENSORRT,
    BuildConfig,
    RunConfig,
    ShapeRange,
    input_shapes,
    profile_of,
)
from trtlab.spec.run import check_backend

BAD = [0, -1, -(2**40), True, False, 1.0, 2.5, "1", "", [], (1,)]


@pytest.mark.parametrize("value", BAD, ids=repr)
@pytest.mark.parametrize("name", ["batch", "streams", "threads", "activation_cap_bytes"])
def test_what_is_no_positive_whole_number_is_refused(name, value):
    with pytest.raises(SpecError) as caught:
        RunConfig(**{name: value})
    assert name.removesuffix("_bytes").replace("_", " ") in caught.value.message.lower()
    assert repr(value) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("value", [-1, True, 1.0, "0", None])
def test_a_seed_is_a_whole_number(value):
    with pytest.raises(SpecError, match="Seed") as caught:
        RunConfig(seed=value)
    assert caught.value.hint
    assert RunConfig(seed=0).seed == 0


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "8"])
def test_a_bad_dimension_names_the_tensor_as_it_is_written(value):
    with pytest.raises(SpecError, match="Input_IDs_bytes") as caught:
        RunConfig(shapes={"Input_IDs_bytes": (1, value)})
    assert caught.value.hint


def test_defaults_are_valid():
    assert RunConfig().batch is None
    assert RunConfig(batch=2**24, streams=64, threads=1, activation_cap_bytes=2**16).batch == 2**24
    for level in OPTIMIZATION_LEVELS:
        assert BuildConfig(optimization_level=level).optimization_level == level


@pytest.mark.parametrize("bad", ["ALL", "3", "", 99])
def test_unknown_choices_are_refused_with_the_known_ones(bad):
    with pytest.raises(SpecError, match="optimization level") as caught:
        BuildConfig(optimization_level=bad)
    assert "extended" in caught.value.hint
    with pytest.raises(SpecError, match="provider") as caught:
        BuildConfig(provider=bad)
    assert "cuda" in caught.value.hint


# Input shapes


def shapes_of(inputs, outputs=None, **run):
    return input_shapes(
        [Tensor(n, "float32", s) for n, s in inputs.items()],
        [Tensor(n, "float32", s) for n, s in (outputs or {}).items()],
        RunConfig(**run),
    )


def refused(inputs, outputs=None, **run):
    with pytest.raises(SpecError) as caught:
        shapes_of(inputs, outputs, **run)
    assert caught.value.hint
    return caught.value


DYNAMIC = {"x": ("N", 3, 8), "mask": ("N", 5)}


def test_a_symbolic_batch_defaults_to_one():
    assert shapes_of(DYNAMIC) == ({"x": (1, 3, 8), "mask": (1, 5)}, 1)
    assert shapes_of(DYNAMIC, batch=4) == ({"x": (4, 3, 8), "mask": (4, 5)}, 4)


def test_a_batch_axis_may_come_twice_in_a_shape():
    assert shapes_of({"x": ("N", "N", 2)}, batch=4) == ({"x": (4, 4, 2)}, 4)


def test_a_fixed_batch_that_the_outputs_share_is_the_batch():
    fixed, out = {"x": (8, 3)}, {"y": (8, 10)}
    assert shapes_of(fixed, out) == ({"x": (8, 3)}, 8)
    assert shapes_of(fixed, out, batch=8) == ({"x": (8, 3)}, 8)
    error = refused(fixed, out, batch=4)
    assert "fixed at 8" in error.message
    assert "dynamic" in error.hint


def test_a_fixed_first_axis_that_the_outputs_do_not_share_is_no_batch():
    assert shapes_of({"x": (224, 224)}, {"y": (1, 10)}) == ({"x": (224, 224)}, None)
    assert shapes_of({"x": (224, 224)}, {"y": ()}) == ({"x": (224, 224)}, None)
    assert "share no batch axis" in refused({"x": (224, 224)}, {"y": (1, 10)}, batch=2).message


def test_inputs_without_a_common_first_axis_have_no_batch():
    inputs = {"x": ("N", 3), "y": ("M", 3)}
    assert "share no batch axis" in refused(inputs, batch=2).message
    error = refused(inputs)
    assert "'x'" in error.message
    assert "N" in error.message
    assert shapes_of(inputs, shapes={"x": (2, 3), "y": (4, 3)}) == (
        {"x": (2, 3), "y": (4, 3)},
        None,
    )


def test_scalars_and_no_inputs_have_no_batch():
    assert shapes_of({"s": ()}) == ({"s": ()}, None)
    assert shapes_of({"s": (), "x": (2, 3)}, {"y": (2,)}) == ({"s": (), "x": (2, 3)}, None)
    assert shapes_of({}) == ({}, None)
    refused({"s": ()}, batch=1)
    refused({}, batch=1)


def test_other_dynamic_axes_need_a_shape():
    inputs = {"ids": ("N", "T")}
    error = refused(inputs, batch=2)
    assert "'ids'" in error.message
    assert "T" in error.message
    assert "ids" in error.hint
    assert shapes_of(inputs, shapes={"ids": (2, 16)}) == ({"ids": (2, 16)}, 2)
    assert shapes_of(inputs, batch=2, shapes={"ids": (2, 16)}) == ({"ids": (2, 16)}, 2)


def test_an_unnamed_axis_needs_a_shape():
    error = refused({"x": (None, 3)})
    assert "'x'" in error.message
    assert shapes_of({"x": (None, 3)}, shapes={"x": (7, 3)})[0] == {"x": (7, 3)}


def test_an_input_of_unknown_rank_needs_a_shape():
    assert "'x' has no shape" in refused({"x": None}).message
    assert shapes_of({"x": None}, shapes={"x": (7, 3)}) == ({"x": (7, 3)}, None)


def test_a_shape_fills_one_input_and_the_batch_the_others():
    assert shapes_of(DYNAMIC, batch=2, shapes={"x": (2, 3, 8)}) == (
        {"x": (2, 3, 8), "mask": (2, 5)},
        2,
    )


@pytest.mark.parametrize(
    "given",
    [(2, 3), (2, 3, 8, 1), (2, 4, 8), ()],
    ids=["short", "long", "fixed-axis", "empty"],
)
def test_a_shape_that_does_not_fit_is_refused(given):
    error = refused(DYNAMIC, shapes={"x": given, "mask": (2, 5)})
    assert "'x'" in error.message
    assert "[N, 3, 8]" in error.message


def test_a_shape_and_a_batch_must_agree():
    error = refused(DYNAMIC, batch=4, shapes={"x": (2, 3, 8)})
    assert "'x'" in error.message
    assert "batch 4" in error.message


def test_an_unknown_input_is_refused_with_the_known_ones():
    error = refused(DYNAMIC, shapes={"z": (1,)})
    assert "'z'" in error.message
    assert "'x', 'mask'" in error.hint


def test_cuda_graph_and_transfers_are_on_or_off():
    assert RunConfig().cuda_graph is None
    assert RunConfig().transfers is False
    for bad in ({"cuda_graph": "yes"}, {"transfers": None}, {"cuda_graph": 3}):
        with pytest.raises(SpecError, match="on or off"):
            RunConfig(**bad)


@pytest.mark.parametrize(("setting", "words"), [("cuda_graph", "CUDA graph"), ("transfers",) * 2])
def test_what_a_backend_does_not_have_is_refused(setting, words):
    run = RunConfig(**{setting: True})
    with pytest.raises(SpecError, match=words):
        check_backend(BuildConfig(), run)
    check_backend(BuildConfig(backend="tensorrt"), run)
    check_backend(BuildConfig(), RunConfig(cuda_graph=False))


@pytest.mark.parametrize("backend", TENSORRT)
@pytest.mark.parametrize(
    ("setting", "words"),
    [({"threads": 2}, "threads"), ({"activation_cap_bytes": 2**20}, "activation cap")],
)
def test_tensorrt_refuses_what_belongs_to_onnx_runtime(setting, words, backend):
    with pytest.raises(SpecError, match=f"{backend} has no setting {words}") as caught:
        check_backend(BuildConfig(backend=backend), RunConfig(**setting))
    assert "ONNX Runtime" in caught.value.hint
    check_backend(BuildConfig(), RunConfig(**setting))


# How to build

SMALL = ShapeRange((1, 3), (2, 3), (4, 3))
SETTINGS = {
    "target": ("sm89", "sm120"),
    "profiles": ({"x": SMALL, "mask": ShapeRange((1,), (2,), (4,))}, {"x": SMALL}),
    "workspace_bytes": 2**20,
    "memory_pools": {"TACTIC_DRAM": 2**30},
    "avg_timing_iterations": 8,
    "tactic_sources": ("EDGE_MASK_CONVOLUTIONS",),
    "max_num_tactics": 3,
    "flags": ("SPARSE_WEIGHTS",),
    "tf32": False,
    "hardware_compatibility": "AMPERE_PLUS",
    "dla_core": 0,
    "aux_streams": 0,
    "plugin_libraries": ("plugin.so",),
    "timing_cache": False,
    "profiling_verbosity": "NONE",
}


def test_only_backend_level_and_provider_are_not_tensorrts_alone():
    ours = {"backend", "optimization_level", "provider"}
    assert {f.name for f in fields(BuildConfig)} == ours | set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_onnx_runtime_refuses_a_setting_of_tensorrt_by_its_name(name):
    with pytest.raises(SpecError, match="onnxruntime") as caught:
        BuildConfig(**{name: SETTINGS[name]})
    assert name.removesuffix("_bytes").replace("_", " ") in caught.value.message
    hint = "activation_cap" if name == "workspace_bytes" else "tensorrt_rtx"
    assert hint in caught.value.hint
    for backend in TENSORRT:
        assert getattr(BuildConfig(backend=backend, **{name: SETTINGS[name]}), name) is not None


def test_defaults_of_a_build_are_valid_for_every_backend():
    for backend in (*TENSORRT, "onnxruntime"):
        config = BuildConfig(backend=backend)
        assert config.target == ("current",)
        assert config.workspace_bytes is None
        assert config.profiles == ()
        assert config.device == ("cpu" if backend == "onnxruntime" else "cuda")
    assert (
        BuildConfig(provider="cuda").target_text == BuildConfig(provider="cuda").device == "cuda"
    )
    assert BuildConfig(backend="tensorrt_rtx", **SETTINGS).target_text == "sm89+sm120"


BAD_SETTINGS = [
    ("provider", ["cuda"], "no providers"),
    ("optimization_level", [-1, 6, True, 2.0, "all", "3"], "optimization level"),
    ("target", [(), ("sm89", "sm89")], "each once"),
    (
        "target",
        [("89",), ("sm9",), ("SM89",), ("sm89 ",), ("sm89\n",), ("sm8900",), ("",)],
        "sm89 or another compute capability",
    ),
    ("target", [("current", "sm89"), ("sm89", "current")], "stands alone"),
    ("profiling_verbosity", ["detailed", "ALL", ""], "LAYER_NAMES_ONLY"),
    ("workspace_bytes", [0, -1, 2**40 + 1, True, 1.5, "1MiB"], "workspace in bytes"),
    ("memory_pools", [{"TACTIC_DRAM": s} for s in (-1, 2**40 + 1, True, "1")], "TACTIC_DRAM"),
    ("memory_pools", [{"WORKSPACE": 2**20}], "Give it as workspace"),
    ("flags", [("TF32",), ("SPARSE_WEIGHTS", "TF32")], "tf32=True or False"),
    ("avg_timing_iterations", [0, -1, 1001, True, 2.0], "Avg timing iterations"),
    ("max_num_tactics", [0, -1, 2**31, False, "3"], "Max num tactics"),
    ("aux_streams", [-1, 65, True, 0.0], "Aux streams"),
    ("dla_core", [-1, 64, True, "0"], "Dla core"),
]


@pytest.mark.parametrize(
    ("name", "value", "words"), [(n, v, w) for n, values, w in BAD_SETTINGS for v in values]
)
@pytest.mark.parametrize("backend", TENSORRT)
def test_what_tensorrt_cannot_be_told_is_refused(backend, name, value, words):
    with pytest.raises(SpecError) as caught:
        BuildConfig(backend=backend, **{name: value})
    assert words in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimization_level", 0),
        ("optimization_level", 5),
        ("workspace_bytes", 1),
        ("workspace_bytes", 2**40),
        ("memory_pools", {"TACTIC_DRAM": 0}),
        ("dla_core", 63),
        ("profiles", ({"x": ShapeRange((), (), ())},)),
    ],
)
def test_the_ends_of_what_tensorrt_can_be_told_are_taken(name, value):
    assert getattr(BuildConfig(backend="tensorrt", **{name: value}), name) == value


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((1, 3), (1, 3), (1, 3, 4)), "differ in rank"),
        (((2, 3), (1, 3), (4, 3)), "smallest over optimal"),
        (((1, 3), (5, 3), (4, 3)), "smallest over optimal"),
        (((1, 3), (2, 4), (4, 3)), "smallest over optimal"),
        (((-1, 3), (2, 3), (4, 3)), "-1"),
        (((True, 3), (2, 3), (4, 3)), "True"),
        (((1, 3), (2, 3), (2**31, 3)), "2147483648"),
        (((1, 3), (2, 3), ("N", 3)), "'N'"),
    ],
)
def test_a_range_that_is_none_names_the_input(shapes, words):
    with pytest.raises(SpecError, match="'x_in'") as caught:
        BuildConfig(backend="tensorrt_rtx", profiles=({"x_in": ShapeRange(*shapes)},))
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("write", "read"), [(to_json, from_json), (to_message, from_message)], ids=["json", "message"]
)
def test_a_build_is_the_same_after_a_file_or_a_pipe(write, read):
    config = BuildConfig(backend="tensorrt_rtx", optimization_level=3, **SETTINGS)
    again = read(write(config), BuildConfig)
    assert again == config
    assert again.profiles[0]["x"].max == (4, 3)
    assert type(again.profiles[1]["x"]) is ShapeRange
    assert hash(again) == hash(config)
    for level in (3, None, "all"):
        kept = BuildConfig(optimization_level=level if level == "all" else None)
        assert read(write(kept), BuildConfig) == kept


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"workspace_bytes": 0}, "workspace"),
        ({"target": []}, "target"),
        ({"profiles": [{"x": [[2], [1], [4]]}]}, "'x'"),
        ({"profiles": [{"x": [[1], [1]]}]}, "profiles"),
        ({"tf32": 1}, "tf32"),
    ],
)
def test_a_file_that_holds_a_wrong_build_is_refused(change, words):
    data = json.loads(to_json(BuildConfig(backend="tensorrt_rtx"))) | change
    with pytest.raises(ValueError, match=words):
        from_json(json.dumps(data), BuildConfig)


def test_builds_are_told_apart_as_keys():
    config = BuildConfig(backend="tensorrt_rtx", **SETTINGS)
    same = BuildConfig(backend="tensorrt_rtx", **SETTINGS)
    others = [replace(config, profiles=()), replace(config, memory_pools={"TACTIC_DRAM": 1})]
    assert len({config, same, *others}) == 3


# Optimization profiles


def profile(inputs, batch=None, shapes=None):
    return profile_of([Tensor(n, "float32", s) for n, s in inputs.items()], batch, shapes)


def no_profile(inputs, batch=None, shapes=None):
    with pytest.raises(SpecError) as caught:
        profile(inputs, batch, shapes)
    assert caught.value.hint
    return caught.value


def test_a_profile_holds_the_dynamic_inputs_at_1_8_32():
    inputs = {"x": ("N", 3, 8), "mask": ("N",), "scale": (), "fixed": (2, 2)}
    assert profile(inputs) == {
        "x": ((1, 3, 8), (8, 3, 8), (32, 3, 8)),
        "mask": ((1,), (8,), (32,)),
    }
    assert profile(inputs, (4, 4, 4))["mask"] == ShapeRange((4,), (4,), (4,))
    assert profile({"x": ("N", "N", 2)}, (1, 2, 3))["x"].max == (3, 3, 2)


def test_a_model_without_dynamic_inputs_has_no_profile():
    assert profile({"x": (2, 3), "s": ()}) == {}
    assert profile({}) == {}


def test_a_shape_stands_beside_the_batch_of_the_others():
    given = ShapeRange((1, 16), (2, 64), (4, 128))
    found = profile({"ids": ("N", "T"), "x": ("N", 3)}, (1, 2, 4), {"ids": given})
    assert found == {"ids": given, "x": ((1, 3), (2, 3), (4, 3))}


def test_a_batch_that_a_fixed_model_has_already_is_no_error_and_another_is():
    assert profile({"x": (8, 3)}, (8, 8, 8)) == {}
    for batch in ((1, 8, 32), (4, 4, 4)):
        error = no_profile({"x": (8, 3)}, batch)
        assert "no batch axis" in error.message
        assert "dynamic" in error.hint


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"ids": ("N", "T")}, ": T."),
        ({"ids": (None, 3)}, "'ids' [?, 3]"),
        ({"ids": ("N", None, "T")}, ": ?, T."),
        ({"ids": None}, "unknown rank"),
        ({"ids": ("N", 3), "other": ("M", 3)}, ": N."),
    ],
)
def test_an_axis_that_nobody_gave_a_size_is_named_with_what_to_write(inputs, words):
    error = no_profile(inputs)
    assert "'ids'" in error.message
    assert words in error.message
    assert "--min-shapes ids:" in error.hint


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((1, 4), (1, 4), (1, 4)), "[1, 4]"),
        (((1,), (1,), (1,)), "does not fit"),
        (((1, 3), (1, 3), (1, 4)), "[1, 4]"),
        (((2, 3), (1, 3), (4, 3)), "do not grow"),
    ],
)
def test_a_range_that_does_not_fit_its_input_is_refused(shapes, words):
    error = no_profile({"x": ("N", 3)}, None, {"x": ShapeRange(*shapes)})
    assert "'x'" in error.message
    assert words in error.message


def test_an_input_of_unknown_rank_takes_what_is_given():
    assert profile({"x": None}, None, {"x": SMALL}) == {"x": SMALL}


def test_a_batch_that_shrinks_is_refused_by_the_name_of_the_input():
    assert "'x'" in no_profile({"x": ("N", 3)}, (8, 4, 16)).message


def test_a_range_for_an_input_that_is_not_there_names_those_that_are():
    error = no_profile({"x": ("N",), "y": ("N",)}, None, {"z": SMALL})
    assert "'z'" in error.message
    assert "'x', 'y'" in error.hint
