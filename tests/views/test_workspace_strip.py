"""The strip of workspace limits: which are one engine's, what is said of them."""

import re
from dataclasses import replace

import pytest

from tests import making, running
from tests.accuracies import converted
from trtlab.record import BuilderMemory, Failure, WorkspaceCurve, WorkspacePoint
from trtlab.views.workspace_strip import (
    Tried,
    asked_sentence,
    matching_curve,
    strip_sentence,
    tried_limits,
    workspace_strip,
)

MIB = 2**20
MEMORY = BuilderMemory(activation=3 * MIB)
FAILED = Failure("workspace", "The workspace is too small.", "Raise it.")


def limited(limit, recipe="fp32", failure=None, **setup):
    """A run under a limit; a failed one has no plan, and knows its model only as it was opened."""
    whole = running.run(recipe)
    new = replace(whole.setup, workspace_bytes=limit, **setup)
    line = replace(whole.line, setup=new, failure=failure)
    if failure is None:
        return replace(whole, line=line)
    line = replace(line, made=replace(making.MODEL, recipe=recipe))
    return replace(whole, line=line, plan=None, ran=None, measurement=None)


def point(limit, **parts):
    return WorkspacePoint(
        limit_bytes=limit, **{"plan": "aa", "memory": MEMORY, "layers": 2} | parts
    )


def failed_point(limit, asked=None):
    return point(limit, plan=None, memory=None, layers=None, failure=FAILED, asked_bytes=asked)


def curve(*points, model=making.MODEL, **parts):
    return WorkspaceCurve(
        **{
            "model": model, "config": running.rtx_config(), "points": points,
            "smallest_bytes": None, "failing_bytes": None, "no_run_note": "built, not run",
            "environment": making.environment(),
        }
        | parts
    )  # fmt: skip


def cells(html, row):
    found = re.search(rf"<tr[^>]*><th scope='row'>{row}.*?</tr>", html)
    return re.findall(r"<(?:td|th scope='col')[^>]*>(.*?)</t[dh]>", found[0])


def test_runs_of_one_engine_give_its_limits_in_order_the_default_last():
    run = limited(64 * MIB)
    others = [limited(None), limited(8 * MIB, failure=FAILED), limited(256 * MIB)]
    found = tried_limits(run, [run, *others], None)
    assert [t.limit_bytes for t in found] == [8 * MIB, 64 * MIB, 256 * MIB, None]
    assert [t.builds for t in found] == [False, True, True, True]


def test_other_engines_and_other_failures_say_nothing_of_the_limit():
    run = limited(64 * MIB)
    others = [
        limited(1 * MIB, "int8"),
        limited(2 * MIB, batches=(1, 8, 32)),
        limited(4 * MIB, tf32=True),
        limited(8 * MIB, failure=Failure("build", "No.", "Try.")),
    ]
    assert [t.limit_bytes for t in tried_limits(run, [run, *others], None)] == [64 * MIB]


def test_the_batch_that_was_measured_does_not_change_the_engine():
    run = limited(64 * MIB)
    assert len(tried_limits(run, [limited(8 * MIB, batch=1)], None)) == 1


def test_a_curve_wins_over_a_run_at_the_same_limit():
    run = limited(64 * MIB)
    (found,) = tried_limits(run, [run], curve(point(64 * MIB, layers=7)))
    assert found.layers == 7


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"target": "sm89"}, True),
        ({"target": "sm90"}, False),
        ({"batches": (1, 8, 32)}, False),
        ({"tf32": True}, False),
        ({"shapes": {"x": (8, 1, 8, 8)}}, True),
        ({"shapes": {"x": (8, 1, 9, 9)}}, False),
    ],
)
def test_a_curve_belongs_to_a_run_if_all_but_the_limit_is_the_same(changes, fits):
    one = curve(point(MIB))
    assert (matching_curve(limited(MIB, **changes), [one]) is one) == fits


def test_a_curve_of_a_converted_model_belongs_to_a_run_that_failed_before_it_knew_it():
    one = curve(point(MIB), model=converted("int8"))
    assert matching_curve(limited(MIB, "int8", FAILED), [one]) is one
    assert matching_curve(limited(MIB, "int8"), [one]) is one
    assert matching_curve(limited(MIB), [one]) is None
    newer = curve(point(2 * MIB), model=converted("int8"))
    assert matching_curve(limited(MIB, "int8"), [one, newer]) is newer


def test_boxes_say_in_words_what_builds_and_the_selected_limit_is_marked():
    html = workspace_strip(
        [Tried(MIB // 2, builds=False), Tried(1024 * MIB, True, MEMORY, 2), Tried(None, True)],
        1024 * MIB,
    )
    assert cells(html, "Limit, MiB") == ["0.500", "1,024", "default"]
    assert ["not build" in cell for cell in cells(html, "Builds")] == [True, False, False]
    assert html.count("aria-current='true'") == 1
    assert "aria-current='true'>1,024<" in html


def test_neighbours_are_joined_only_where_layers_and_memory_are_the_same():
    strip = workspace_strip(
        [
            Tried(1 * MIB, builds=False),
            Tried(2 * MIB, builds=False),
            Tried(4 * MIB, True, MEMORY, 2, differs=True),
            Tried(8 * MIB, True, MEMORY, 2),
            Tried(16 * MIB, True, MEMORY, 2),
            Tried(32 * MIB, True, replace(MEMORY, activation=5 * MIB), 2),
        ],
        None,
    )
    assert re.findall(r"colspan='(\d)'><span>(.*?)<", strip) == [
        ("2", "does not build"),
        ("1", "3.00 MiB"),
        ("2", "same layers, same 3.00 MiB"),
        ("1", "5.00 MiB"),
    ]


def test_unknown_layers_are_not_called_the_same():
    strip = workspace_strip([Tried(MIB, True, MEMORY), Tried(2 * MIB, True, MEMORY)], None)
    assert "same layers" not in strip
    assert "same 3.00 MiB" in strip
    blind = workspace_strip([Tried(MIB, True), Tried(2 * MIB, True)], None)
    assert "same" not in blind
    assert "memory n/a" in blind


def test_latencies_stand_below_their_limits_only_where_a_curve_has_them():
    one = Tried(MIB, True, measurement=making.measurement())
    assert cells(workspace_strip([one, Tried(2 * MIB, True)], None), "p50, ms") == ["4.00", "—"]
    assert "p50" not in workspace_strip([Tried(MIB, True)], None)


def test_what_the_builder_named_is_no_hint_where_it_is_always_the_limit_plus_something():
    always = curve(failed_point(MIB, 3 * MIB), failed_point(2 * MIB, 4 * MIB))
    assert asked_sentence(always) == (
        "Where it fails the builder names the limit plus 2.00 MiB: no hint at the need."
    )
    once = curve(failed_point(MIB, 9 * MIB), failed_point(2 * MIB))
    assert asked_sentence(once) == "Where it fails the builder asked for 9.00 MiB."
    assert asked_sentence(curve(point(MIB))) == ""


def test_bounds_from_runs_alone():
    tried = [Tried(MIB, builds=False), Tried(4 * MIB, True), Tried(None, True)]
    assert strip_sentence(tried) == (
        "So far: smallest limit seen to build 4.00 MiB, largest seen to fail 1.00 MiB."
    )
    assert "only the builder's default" in strip_sentence(tried[2:])
