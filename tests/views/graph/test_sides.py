"""Both sides together: common heights, the same order, few crossings."""

import random
import shutil

import pytest

from benchmarks.graph import crossings, dot_lines, lines_of, network
from tests.drawing import drawn, tower
from trtlab.views.graph.sides import arrange


def test_boxes_stand_in_the_same_order_on_both_sides():
    sides = arrange(network(300))
    rows = {}
    for box, rank in enumerate(sides.ranks):
        if box in sides.before.spots and box in sides.after.spots:
            rows.setdefault(rank, []).append(box)
    assert max(map(len, rows.values())) >= 4
    for row in rows.values():
        left, right = (sorted(row, key=lambda box: side.spots[box].x)
                       for side in (sides.before, sides.after))  # fmt: skip
        assert left == right


def test_crossings_are_counted_once_and_not_at_common_ends():
    one = (frozenset("ab"), [(0.0, 0.0), (10.0, 10.0)])
    two = (frozenset("cd"), [(10.0, 0.0), (0.0, 10.0)])
    same_end = (frozenset("ad"), [(10.0, 0.0), (0.0, 10.0)])
    beside = (frozenset("ef"), [(20.0, 0.0), (20.0, 10.0)])
    assert crossings([one, two, beside]) == 1
    assert crossings([one, same_end]) == 0


def test_blocks_with_branches_are_drawn_without_crossings():
    for fusion in (tower(20), network(1_000)):
        sides = arrange(fusion)
        assert crossings(lines_of(sides, sides.before)) == 0
        assert crossings(lines_of(sides, sides.after)) == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_graph_by_chance_crosses_little_more_than_in_dot(seed):
    if shutil.which("dot") is None:
        pytest.skip("no dot: install graphviz to compare with it")
    chance = random.Random(seed)
    reads = {n: {f"n{max(0, n - chance.randint(1, 12))}" for _ in "ab"} for n in range(1, 60)}
    sides = arrange(
        drawn([("n0", "Op", "x"), *((f"n{n}", "Op", " ".join(r)) for n, r in reads.items())])
    )
    ours = crossings(lines_of(sides, sides.before))
    theirs = crossings(dot_lines(sides, sides.before))
    assert theirs > 0
    assert ours <= theirs * 1.5 + 5
