"""Which ranks of a long graph become one block."""

from itertools import pairwise

from trtlab.views.graph.blocks import MOST, Rank, find_blocks


def ranks(*names, boxes=1, joined=True):
    return [Rank(tuple(n.split()), boxes, (len(n.split()),), joined) for n in names]


def top(blocks):
    return [(b.first, b.last, b.label) for b in blocks if b.parent < 0]


def test_by_the_first_word_of_the_names():
    names = [f"stage{s}/conv{n}/Conv" for s in range(3) for n in range(4)]
    assert top(find_blocks(ranks(*names))) == [
        (0, 3, "stage0"), (4, 7, "stage1"), (8, 11, "stage2"),
    ]  # fmt: skip


def test_a_word_that_holds_nearly_all_is_opened():
    names = ["stem/Conv"] * 3 + [f"inception_{n}/a/Conv" for n in range(6) for _ in range(4)]
    labels = [label for _, _, label in top(find_blocks(ranks(*names)))]
    assert labels == ["stem", *(f"inception_{n}" for n in range(6))]


def test_large_blocks_have_blocks_inside():
    names = [f"s{s}/b{b}/Conv" for s in range(8) for b in range(6) for _ in range(4)]
    blocks = find_blocks(ranks(*names))
    inner = [b for b in blocks if b.parent >= 0]
    assert len(top(blocks)) == 8
    assert len(inner) == 48
    for block in inner:
        outer = blocks[block.parent]
        assert outer.first <= block.first <= block.last <= outer.last
        assert outer.label == block.label.partition("/")[0]


def test_names_that_come_mixed_give_way_to_single_tensors():
    names = [f"{op}_{n}" for n in range(30) for op in ("conv", "norm", "relu", "add")]
    wide = [
        Rank(rank.names, 2 if n % 4 else 1, rank.form, n % 4 == 3)
        for n, rank in enumerate(ranks(*names))
    ]
    blocks = top(find_blocks(wide))
    assert 10 <= len(blocks) <= MOST + 1
    assert all(first % 4 == 0 for first, _, _ in blocks)
    assert blocks[0][2] == "conv_0 … add_1"


def test_blocks_of_one_form_are_counted():
    forms = [Rank((f"b{n // 3}/Conv",), 1, n % 3, True) for n in range(30)]
    odd = [Rank(("end/Gemm",), 1, "other", True)] * 3
    blocks = find_blocks([*forms, *odd])
    assert [b.alike for b in blocks] == [10] * 10 + [1]


def test_a_graph_without_names_or_joints_has_no_blocks():
    assert find_blocks(ranks(*[""] * 40, joined=False)) == []
    assert find_blocks([]) == []


def test_blocks_side_by_side_do_not_overlap():
    names = [f"a{n // 5}/x{n % 2}/Op" for n in range(100)]
    found = top(find_blocks(ranks(*names)))
    assert all(one[1] < two[0] for one, two in pairwise(found))
