"""Settings of a build as people write them: one or several, and of the wrong kind."""

from pathlib import Path

import pytest

import trtlab
from tests import making
from trtlab.errors import SpecError
from trtlab.model.types import Tensor
from trtlab.verbs import build as verb

WAYS = {"backend": "tensorrt_rtx", "target": "sm89"}


@pytest.fixture
def configured(monkeypatch):
    """The settings that a build would be done with: nothing is built."""
    monkeypatch.setattr(verb, "build_with", lambda _model, config, **_: config)

    def build(model=None, **settings):
        return trtlab.build(model or making.model(), **WAYS | settings)

    return build


@pytest.mark.parametrize(
    ("name", "one"),
    [
        ("flags", "SPARSE_WEIGHTS"),
        ("tactic_sources", "JIT_CONVOLUTIONS"),
        ("target", "sm86"),
    ],
)
def test_a_text_is_one_and_not_its_letters(name, one, configured):
    for given in (one, [one], (one,)):
        assert getattr(configured(**{name: given}), name) == (one,)


def test_plugin_libraries_are_paths_or_texts(configured):
    expected = (str(Path("a.so").absolute()), "/b.so")
    assert configured(plugin_libraries=["a.so", Path("/b.so")]).plugin_libraries == expected


@pytest.mark.parametrize("one", ["a.so", Path("a.so")], ids=["text", "path"])
def test_a_plugin_library_is_one_and_not_its_letters(one, configured):
    # FAULT in build.build: of a text every letter is a library, and a Path is no error of ours.
    assert configured(plugin_libraries=one).plugin_libraries == (str(Path("a.so").absolute()),)


def batches(config):
    return [shape[0] for shape in config.profiles[0]["x"]]


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (None, [1, 8, 32]),
        (4, [4] * 3),
        ([4], [4] * 3),
        ((4,), [4] * 3),
        ((1, 2, 4), [1, 2, 4]),
    ],
)
def test_a_batch_is_one_size_or_three(batch, expected, configured):
    assert batches(configured(batch=batch)) == expected


BAD = [
    ({"batch": 2.5}, "batch size"),
    ({"batch": True}, "batch size"),
    ({"batch": "8"}, "batch size"),
    ({"batch": [1, 8.0, 32]}, "batch size"),
    ({"batch": 0}, "batch size"),
    ({"batch": 2**25}, "batch size"),
    ({"batch": []}, "one batch size or three, not 0"),
    ({"batch": [1, 8]}, "one batch size or three, not 2"),
    ({"shapes": {"x": 5}}, "'x'"),
    ({"shapes": {"x": "1x1x8x8"}}, "'x'"),
    ({"shapes": {"x": (1, 1, 8, 8.0)}}, "'x'"),
    ({"shapes": {"x": [(1, 1, 8, 8)]}}, "'x'"),
    ({"shapes": {"x": [(1, 1, 8, 8), (2, 1, 8, 8), 3]}}, "'x'"),
    ({"batch": 2, "shapes": {"x": (1, 1, 8, 8)}}, "batch was given"),
    ({"target": [89]}, "no target"),
    ({"target": 89}, "no target"),
    ({"flags": 3}, "no flag"),
    ({"flags": ["DEBUG", 3]}, "no flag"),
    ({"flags": ["TF32"]}, "TF32 has a setting of its own"),
    ({"flags": "TF32"}, "TF32 has a setting of its own"),
    ({"tactic_sources": [2]}, "no tactic source"),
    # FAULT in build.build: these two are TypeErrors, of os.fspath.
    ({"plugin_libraries": 3}, "plugin library"),
    ({"plugin_libraries": [3]}, "plugin library"),
]


@pytest.mark.parametrize(("settings", "words"), BAD, ids=lambda v: str(v))
def test_what_is_of_the_wrong_kind_is_refused_by_name(settings, words, configured):
    with pytest.raises(SpecError) as caught:
        configured(**settings)
    assert words in caught.value.message
    assert caught.value.hint


def test_a_profile_given_whole_leaves_no_input_out(configured):
    two = making.model(inputs=(making.X, Tensor("mask", "float32", ("N", 5))))
    with pytest.raises(SpecError, match="'mask'"):
        configured(two, profiles=[{"x": [(1, 1, 8, 8)] * 3}])
    whole = {"x": [(b, 1, 8, 8) for b in (1, 2, 4)], "mask": [(b, 5) for b in (1, 2, 4)]}
    (profile,) = configured(two, profiles=[whole]).profiles
    assert profile["mask"].max == (4, 5)
    # Of shapes alone the batch of the others is filled in.
    (profile,) = configured(two, shapes={"mask": whole["mask"]}).profiles
    assert profile["x"].max == (32, 1, 8, 8)
