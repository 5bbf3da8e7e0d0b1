"""The curve of the workspace limit: bisection, what is remembered, and how it is shown."""

from dataclasses import replace

import pytest

import trtlab
from tests import making
from trtlab.errors import (
    BuildError,
    JobCancelled,
    ParseError,
    SpecError,
    StoreError,
    UnsupportedError,
    WorkspaceTooSmall,
)
from trtlab.record import BuilderMemory, Failure, SweepResult, WorkspaceCurve
from trtlab.store import Store
from trtlab.verbs import workspace as verb
from trtlab.views.figures import figure
from trtlab.views.pages.report import report
from trtlab.views.sentences import workspace_sentence
from trtlab.views.tables import workspace_table

pytestmark = pytest.mark.native
MIB = 2**20
WAYS = {"backend": "tensorrt_rtx", "target": "sm89"}


def layers(*tactics):
    plain = making.plan().layers[0]
    return tuple(replace(plain, name=f"layer {i}", tactic=t) for i, t in enumerate(tactics))


class Builder:
    """Stands for ``build_with``: builds from ``least`` bytes on; ``engine`` says what."""

    def __init__(self, least, engine=lambda limit: {}, asked=True):
        self.least, self.engine, self.asked = least, engine, asked
        self.limits = []

    def __call__(self, model, config, *, store, progress, cancel):
        limit = config.workspace_bytes
        self.limits.append(limit)
        progress("building", 1, 2)
        if (limit or 2**40) < self.least:
            words = f"OutOfMemory (Requested size was {self.least + 7} bytes.)" * self.asked
            raise WorkspaceTooSmall(f"{limit} is too small", hint="Raise it.", details=words)
        memory = BuilderMemory(activation=5 * MIB, scratch=5 * MIB)
        parts = {"layers": layers("a", "b", "c"), "memory": memory} | self.engine(limit)
        return making.plan(hash=f"{limit or 0:064x}", config=config, **parts)


@pytest.fixture
def built_by(monkeypatch):
    """Puts a builder of ours in the place of the real one."""

    def put(*arguments, **more):
        builder = Builder(*arguments, **more)
        monkeypatch.setattr(verb, "build_with", builder)
        return builder

    return put


def curve_of(limits=verb.DEFAULT_LIMITS, **more):
    return trtlab.workspace("zoo:digits", limits=limits, **(WAYS | more))


@pytest.mark.parametrize(
    "least", [MIB + 1, 3 * MIB, 3_300_001, 57 * MIB - 1, 57 * MIB + 1, 700 * MIB, 2**30]
)
def test_bisection_brackets_the_smallest_limit_closely(least, built_by):
    builder = built_by(least)
    curve = curve_of()
    assert curve.failing_bytes < least <= curve.smallest_bytes
    apart = curve.smallest_bytes - curve.failing_bytes
    assert apart <= max(MIB, round(0.02 * curve.smallest_bytes))
    limits = [p.limit_bytes for p in curve.points]
    assert limits == [*sorted(limits[:-1]), None], "smallest first, default last"
    assert sorted(builder.limits, key=lambda s: s or 0) == [None, *limits[:-1]], "each once"
    assert {2**p for p in (20, 22, 24, 26, 28, 30)} <= set(limits)
    assert len(limits) <= 7 + 9  # from a gap of 768 MiB to 1 MiB or 2 %
    for point in curve.points:
        fails = point.limit_bytes is not None and point.limit_bytes < least
        assert (point.plan is None) is fails
        assert (point.failure is not None) is fails
        assert point.asked_bytes == (least + 7 if fails else None)
        assert point.layers == (None if fails else 3)


def test_without_a_failure_nothing_is_bisected(built_by):
    builder = built_by(1)
    curve = curve_of(["8MiB", 2**30, "1MiB", 8 * MIB])
    assert builder.limits == [None, MIB, 8 * MIB, 2**30]
    assert curve.smallest_bytes == MIB
    assert curve.failing_bytes is None
    assert curve.engines == 1
    assert "none failed" in repr(curve)
    assert "fails" not in workspace_sentence(curve)


@pytest.mark.parametrize("least", [2**30 + 1, 3 * 2**30, 2**36])
def test_where_every_limit_fails_larger_ones_are_tried_until_one_builds(least, built_by):
    curve = (built_by(least), curve_of(["1MiB", "512MiB"]))[1]
    assert curve.failing_bytes < least <= curve.smallest_bytes
    assert curve.smallest_bytes - curve.failing_bytes <= 0.02 * curve.smallest_bytes + 1
    tried = {p.limit_bytes for p in curve.points}
    assert 2**30 in tried
    assert max(tried - {None}) < 2 * least


def test_where_every_limit_fails_only_the_default_is_left(built_by):
    builder = built_by(2**36 + 1, asked=False)
    curve = curve_of("512MiB")
    assert builder.limits == [None, *(2**power for power in range(29, 37))]
    assert curve.smallest_bytes is None
    assert curve.failing_bytes == 2**36
    assert [p.plan is None for p in curve.points] == [True] * 8 + [False]
    assert [p.asked_bytes for p in curve.points] == [None] * 9
    assert "only the default does" in repr(curve)
    assert "only the builder's default" in workspace_sentence(curve)
    assert figure(curve, "workspace").data


def test_a_model_that_does_not_even_build_by_default_has_no_curve(built_by):
    builder = built_by(2**50)
    with pytest.raises(WorkspaceTooSmall):
        curve_of()
    assert builder.limits == [None]
    assert list(Store().all(WorkspaceCurve)) == []


def failing_with(error, at, monkeypatch):
    def refuse(_model, config, **_more):
        if config.workspace_bytes == at:
            raise error
        return making.plan(config=config)

    monkeypatch.setattr(verb, "build_with", refuse)


def test_a_build_that_fails_for_another_reason_is_a_failed_point_with_it(monkeypatch):
    failing_with(BuildError("It gives no reason.", hint="See."), 4 * MIB, monkeypatch)
    curve = curve_of(["4MiB", "8MiB"])
    point = curve.points[0]
    assert (point.limit_bytes, point.plan, point.asked_bytes) == (4 * MIB, None, None)
    assert point.failure == Failure("build", "It gives no reason.", "See.")
    assert curve.smallest_bytes == 5 * MIB
    assert next(Store().all(WorkspaceCurve)) == curve


@pytest.mark.parametrize(
    ("error", "at"),
    [
        (ParseError("The parser refuses it.", hint="Export it again."), None),
        (StoreError("The disk is full.", hint="Free some."), 4 * MIB),
        (JobCancelled("Stopped."), 4 * MIB),
    ],
    ids=["by default", "disk", "cancel"],
)
def test_what_is_no_failed_build_or_fails_by_default_ends_the_search(error, at, monkeypatch):
    failing_with(error, at, monkeypatch)
    with pytest.raises(type(error)):
        curve_of()
    assert list(Store().all(WorkspaceCurve)) == []


def test_changes_between_engines_are_counted_by_hand(built_by):
    def engine(limit):
        if limit == 2 * MIB:
            return {"layers": layers("slow", "slow")}
        if limit == 4 * MIB:
            return {"layers": layers("a", "b", "c2")}
        return {}

    built_by(1, engine)
    curve = curve_of(["2MiB", "4MiB", "8MiB", "16MiB"])
    # 2 MiB: two layers of it are nowhere in 4 MiB's, three of 4 MiB's nowhere in it.
    assert [p.layers_changed for p in curve.points] == [3, 1, 0, 0, None]
    assert [p.layers for p in curve.points] == [2, 3, 3, 3, 3]
    assert curve.engines == 3
    assert "3 different engines from 5 limits" in repr(curve)
    assert "3 different engines" in workspace_sentence(curve)


def test_another_memory_is_another_engine_and_other_bytes_alone_are_not(built_by):
    sizes = {MIB: 5000, 2 * MIB: 5004, 4 * MIB: 5008}
    built_by(1, lambda limit: {"plan_bytes": sizes.get(limit, 5000)})
    assert curve_of(sizes).engines == 1
    more = BuilderMemory(activation=9 * MIB)
    built_by(1, lambda limit: {"memory": more if limit == 2 * MIB else None})
    assert curve_of([MIB, 2 * MIB, 3 * MIB]).engines == 3


def test_layers_that_the_builder_does_not_list_are_no_change(built_by):
    built_by(1, lambda limit: {"layers": None if limit == 2 * MIB else layers("a")})
    curve = curve_of(["1MiB", "2MiB", "4MiB"])
    assert [p.layers_changed for p in curve.points] == [None, None, 0, None]
    assert [p.layers for p in curve.points] == [1, None, 1, 1]
    assert workspace_table(curve).rows[1][5] == "n/a"


def test_a_known_curve_answers_from_the_store_and_another_question_does_not(built_by):
    builder = built_by(3 * MIB)
    first = curve_of()
    builder.limits.clear()
    assert curve_of() == first
    assert curve_of([str(size) for size in reversed(verb.DEFAULT_LIMITS)]) == first
    assert builder.limits == []
    for other in ({"target": "sm86"}, {"batch": 2}, {"limits": ["1MiB"]}, {"quick": True}):
        builder.limits.clear()
        curve_of(**other)
        assert builder.limits


def test_points_are_told_as_they_come_with_their_progress(built_by):
    built_by(3 * MIB)
    points, lines = [], []
    curve = curve_of(
        ["1MiB", "4MiB"], on_point=points.append, progress=lambda *line: lines.append(line)
    )
    assert [p.limit_bytes for p in points] == [None, MIB, 4 * MIB, 2 * MIB, 3 * MIB]
    assert {p.limit_bytes for p in curve.points} == {p.limit_bytes for p in points}
    assert ("workspace default › building", 1, 2) in lines
    assert ("workspace 2.00 MiB › building", 1, 2) in lines


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"limits": []}, "no limit"),
        ({"limits": ["lots"]}, "lots"),
        ({"limits": [0]}, "positive"),
        ({"limits": [-1]}, "-1"),
        ({"backend": "onnxruntime", "target": None}, "activation_cap"),
        ({"backend": "nope"}, "nope"),
        ({"target": "90"}, "90"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_built(settings, words, built_by):
    builder = built_by(1)
    with pytest.raises((SpecError, UnsupportedError)) as caught:
        curve_of(**settings)
    assert words in str(caught.value)
    assert caught.value.hint
    assert builder.limits == []


# Shown


def test_figure_table_and_report_hold_every_limit_once(built_by, tmp_path):
    built_by(3 * MIB)
    curve = curve_of(["1MiB", "4MiB", "64MiB"])
    drawn = {trace.name: trace for trace in figure(curve, "workspace").data}
    activations = drawn["activations to come (builder)"]
    assert list(activations.x) == [3, 4, 64]
    assert list(activations.y) == [5, 5, 5]
    assert list(drawn["plan (builder)"].y) == [pytest.approx(5000 / MIB)] * 3
    fails = drawn["fails: bytes named (builder)"]
    assert list(fails.x) == [1, 2]
    assert list(fails.y) == [pytest.approx((3 * MIB + 7) / MIB)] * 2
    table = workspace_table(curve)
    assert [row[:2] for row in table.rows] == [
        ("1.00 MiB", "fails"),
        ("2.00 MiB", "fails"),
        ("3.00 MiB", "builds"),
        ("4.00 MiB", "builds"),
        ("64.0 MiB", "builds"),
        ("default", "builds"),
    ]
    assert table.rows[0][2] == f"{3 * MIB + 7:,}"
    assert list(curve.df["builds"]) == [False, False, True, True, True, True]
    sentence = workspace_sentence(curve)
    assert "3.00 MiB is the smallest limit seen to build, 2.00 MiB fails" in sentence
    assert "no cap" in sentence
    page = tmp_path / "page.html"
    report(SweepResult(()), page, workspaces=[curve], title="Limits")
    text = page.read_text()
    assert text.count("64.0 MiB") >= 1
    assert "What the workspace limit changes" in text
    assert sentence in text


def test_a_figure_of_the_workspace_needs_a_curve():
    with pytest.raises(SpecError, match="workspace curve"):
        figure([making.measurement()], "workspace")


# With TensorRT-RTX


@pytest.mark.usefixtures("rtx")
def test_the_smallest_limit_of_squeezenet_builds_and_the_largest_failing_one_fails():
    opened = trtlab.load("zoo:squeezenet")
    ways = WAYS | {"batch": (1, 8, 16)}
    curve = trtlab.workspace(opened, limits=["64MiB", "256MiB"], **ways)
    low, high = curve.failing_bytes, curve.smallest_bytes
    assert 64 * MIB <= low < high < 256 * MIB
    assert high - low <= max(MIB, round(0.02 * high))
    fresh = Store(Store().home / "fresh")
    with pytest.raises(WorkspaceTooSmall) as caught:
        trtlab.build(opened, workspace=low, store=fresh, **ways)
    plan = trtlab.build(opened, workspace=high, store=fresh, **ways)
    by_limit = {p.limit_bytes: p for p in curve.points}
    assert by_limit[low].asked_bytes == caught.value.asked_bytes
    assert by_limit[high].plan == plan.hash
    assert by_limit[high].memory == plan.memory
    # The limit is no cap on what the engine takes: with every limit that builds it is the same.
    assert {p.memory.activation for p in curve.built} == {plan.memory.activation}
    assert curve.engines == 1
    assert curve.no_run_note
    assert not any(p.measurement for p in curve.points)
    again = trtlab.workspace(opened, limits=["256MiB", 2**26], **ways)
    assert again == curve
