"""A wrong setting is refused where it is given, by the name of the input at fault."""

import pytest

from trtlab.errors import SpecError
from trtlab.model.types import Tensor
from trtlab.spec import OPTIMIZATION_LEVELS, BuildConfig, RunConfig, input_shapes
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
