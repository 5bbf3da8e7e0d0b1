"""Lines: what they never join, and how they are named."""

from dataclasses import replace

import pytest

from tests.making import environment, measurement
from trtlab.spec import BuildConfig, RunConfig
from trtlab.views.series import labels, series_of

M = measurement()
OTHER_MACHINE = environment(machine="fedcba9876543210", cpu="B processor", cores=8)


def run(**parts):
    return replace(M, run=RunConfig(batch=1, **parts))


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (replace(M, model=replace(M.model, name="net")), "net"),
        (replace(M, model=replace(M.model, hash="c3" * 32)), "digits (c3c3c3)"),
        (replace(M, model=replace(M.model, recipe="int8", hash="c3" * 32)), "INT8"),
        (replace(M, provider="CUDAExecutionProvider"), "CUDA"),
        (replace(M, build=BuildConfig(backend="else", optimization_level="all")), "else"),
        (replace(M, build=BuildConfig(optimization_level="basic")), "basic"),
        (run(streams=2), "2 streams"),
        (run(threads=1), "1 thread"),
        (run(activation_cap_bytes=16 * 2**20), "cap 16.0 MiB"),
        (run(quick=True), "quick"),
        (run(seed=3), "seed 3"),
        (replace(M, shapes={"x": (1, 1, 16, 16)}), "x [N, 1, 16, 16]"),
        (replace(M, batch=None), "no batch axis"),
        (replace(M, contents="compute"), "compute"),
        (replace(M, source="recorded"), "recorded"),
        (replace(M, environment=OTHER_MACHINE), "B processor"),
        (replace(M, environment=environment(machine="ff" * 8)), "A processor (ffffff)"),
        (replace(M, environment=environment(cores=2)), "2 cores"),
        (replace(M, environment=environment(packages={"numpy": "2.5.0"})), "numpy 2.5.0"),
        (M, "run 2"),
    ],
)
def test_points_that_differ_in_more_than_their_batch_are_lines_of_their_own(other, word):
    lines = series_of([M, other])
    assert [len(points) for points in lines.values()] == [1, 1]
    first, second = labels(lines).values()
    assert word in second
    assert first != second


def test_points_that_differ_in_their_batch_are_one_line_with_a_short_name():
    points = [
        replace(M, batch=b, run=RunConfig(batch=b), shapes={"x": (b, 1, 8, 8), "scale": (1,)},
                environment=environment(created="now", load_average=b))
        for b in (4, 1, 2)
    ]  # fmt: skip
    ((line, found),) = series_of(points).items()
    assert [m.batch for m in found] == [1, 2, 4]
    assert labels([line]) == {line: "FP32"}


def test_other_first_axes_that_the_run_gave_split_a_line():
    def given(rows):
        shapes = {"x": (4, 8), "table": (rows, 8)}
        return replace(M, batch=4, shapes=shapes, run=RunConfig(shapes=shapes))

    assert list(labels(series_of([given(2), given(3)])).values()) == [
        "FP32, table [2, 8]",
        "FP32, table [3, 8]",
    ]


def test_shapes_of_different_models_are_not_part_of_their_names():
    net = replace(M, model=replace(M.model, name="net", hash="c3" * 32), shapes={"y": (1, 5)})
    assert list(labels(series_of([M, net])).values()) == ["digits, FP32", "net, FP32"]


def test_names_stay_apart_where_their_words_are_rounded():
    caps = [run(activation_cap_bytes=16 * 2**20 + extra) for extra in (0, 1, 2)]
    named = list(labels(series_of([*caps, run(streams=2)])).values())
    assert len(set(named)) == 4
