"""The layered layout by itself: ranks, order, x."""

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from trtlab.views.graph.layout import BOX_GAP, LINE_GAP, Extents, order, place, rank_boxes


def graphs(most=12):
    """Number of boxes and links that lead from a lower number to a higher one."""

    def of(count):
        pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
        return st.tuples(st.just(count), st.lists(st.sampled_from(pairs), unique=True))

    return st.integers(2, most).flatmap(of)


def laid_out(count, links, half=20.0):
    made = order(rank_boxes(count, links), links, [a for a, _ in links])
    extents = Extents([half] * count, [half] * count, [0.0] * len(links), [0.0] * len(links))
    return made, place(made, links, extents)


def test_a_chain_has_one_rank_a_box():
    assert rank_boxes(4, [(0, 1), (1, 2), (2, 3), (0, 3)]) == [0, 1, 2, 3]


def test_a_source_stands_just_above_what_reads_it():
    assert rank_boxes(4, [(0, 1), (1, 2), (3, 2)])[3] == 1


@given(graphs())
def test_every_link_leads_down(graph):
    count, links = graph
    ranks = rank_boxes(count, links)
    assert all(ranks[a] < ranks[b] for a, b in links)
    assert min(ranks) >= 0


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=30))
def test_cycles_are_ranked_and_drawn_too(links):
    made, x = laid_out(8, links)
    assert sorted(e for row in made.rows for e in row) == list(range(len(made.ranks)))
    assert len(x) == len(made.ranks)


def crossings_by_pairs(made):
    position = made.positions()
    pairs = itertools.combinations(made.segments, 2)
    return sum(
        (position[a] - position[c]) * (position[b] - position[d]) < 0
        for (a, b, _), (c, d, _) in pairs
        if made.ranks[a] == made.ranks[c]
    )


@given(graphs())
def test_crossings_are_counted_as_pairs_of_segments(graph):
    made, _ = laid_out(*graph)
    assert made.crossings() == crossings_by_pairs(made)


def test_a_twisted_ladder_is_untwisted():
    size = 30
    down = [(number, size + (7 * number) % size) for number in range(size)]
    again = [(size + number, 2 * size + (11 * number) % size) for number in range(size)]
    made, _ = laid_out(3 * size, down + again)
    assert made.crossings() == 0


def test_what_cannot_be_drawn_without_crossing_has_the_fewest():
    links = [(a, b) for a in (0, 1, 2) for b in (3, 4, 5)]
    made, _ = laid_out(6, links)
    assert made.crossings() == 9


def test_fixed_ranks_keep_the_order_of_their_numbers():
    links = [(0, 5), (1, 4), (2, 3)]
    made = order(rank_boxes(6, links), links, [a for a, _ in links], fixed=(0, 1))
    assert made.rows == [[0, 1, 2], [3, 4, 5]]


def test_links_of_a_trunk_share_their_dummies():
    links = [(0, 1), (1, 2), (2, 3), (0, 2), (0, 3)]
    shared = order(rank_boxes(4, links), links, [a for a, _ in links])
    apart = order(rank_boxes(4, links), links, range(len(links)))
    assert len(shared.ranks) < len(apart.ranks)
    assert shared.chains[3] == shared.chains[4][:1]


@given(graphs(20), st.floats(1, 100))
def test_boxes_and_lines_keep_their_distance(graph, half):
    count, links = graph
    made, x = laid_out(count, links, half)
    for row in made.rows:
        for one, two in itertools.pairwise(row):
            boxes = (one < count) + (two < count)
            gap = BOX_GAP if boxes == 2 else LINE_GAP
            assert x[two] - x[one] >= boxes * half + gap - 1e-6


def test_what_is_alone_on_its_rank_is_on_the_middle_line():
    links, box = [], 0
    for _ in range(200):  # blocks with a branch to the left, a longer one to the right
        links += [(box, box + 1), (box, box + 2), (box + 2, box + 3), (box + 1, box + 4)]
        links += [(box + 3, box + 4)]
        box += 4
    made, x = laid_out(box + 1, links)
    alone = [row[0] for row in made.rows if len(row) == 1]
    assert len(alone) > 200
    assert {x[element] for element in alone} == {0.0}
    assert max(map(abs, x)) < 200


def test_a_line_past_many_boxes_is_straight():
    links = [(n, n + 1) for n in range(30)] + [(0, 30)]
    made, x = laid_out(31, links)
    assert len({round(x[dummy], 6) for dummy in made.chains[-1]}) == 1
    assert max(abs(x[box]) for box in range(31)) < 0.1


def test_one_wide_rank_and_a_large_random_graph_come_to_an_end():
    wide = [(0, n) for n in range(1, 10_000)]
    made, x = laid_out(10_000, wide)
    assert made.crossings() == 0
    assert len(set(x[1:])) == 9_999
    chance = random.Random(1)
    links = [(a, a + chance.randint(1, 40)) for a in range(2_000) for _ in range(2)]
    made, _ = laid_out(2_040, links)
    assert sum(len(row) for row in made.rows) == len(made.ranks)
