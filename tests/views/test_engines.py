"""Two engines as a table and as a sentence: no claim without samples, nothing unknown as 0."""

from dataclasses import replace

from tests import making
from tests.fusing import fused, part, profile_of, unlike
from trtlab.analysis.engines.align import align, unaligned
from trtlab.views.sentences import engines_sentence
from trtlab.views.tables import engines_table


def column(table, head):
    place = table.heads.index(head)
    return [row[place] for row in table.rows]


A = fused(
    part("one", "c1 r1", 1.0, precision="float32"), part("copy", "", 0.25), part("two", "a1", 2.0)
)
B = fused(
    part("first", "c1", 0.04, precision="int8"),
    part("second", "r1 x1", 0.03, precision="int8"),
    part("two", "a1", 2.5),
)
PROFILES = (
    profile_of({"one": 1.0, "copy": 0.25, "two": 2.0}),
    profile_of({"first": 0.04, "second": 0.03, "two": 2.2}),
)


def test_a_row_tells_layers_cut_types_and_times_largest_difference_first():
    table = engines_table(align(A, B))
    assert column(table, "Set") == ["S1", "S2", "S3"]
    assert column(table, "ONNX nodes") == ["c1 + 2 more", "a1", "no node: data movement"]
    assert column(table, "Layers in A") == ["one", "two", "copy"]
    assert column(table, "Layers in B") == ["first and 1 more", "two", "—"]
    assert column(table, "Cut")[0] == "together in A, apart in B (1 not in the model of A)"
    assert column(table, "Data type")[:2] == ["float32 → int8", "n/a"]
    assert column(table, "A")[0] == "1.00 ms"
    assert column(table, "B") == ["70.0 µs", "2.50 ms", "—"]
    assert column(table, "B − A [95 %]") == ["−0.930 ms", "+0.500 ms", "−0.250 ms"]
    assert column(table, "Verdict") == ["no interval", "no interval", "✕ no match in B"]
    assert len(engines_table(align(A, B), most=1).rows) == 1


def test_verdicts_come_with_their_interval():
    table = engines_table(align(A, B, profiles=PROFILES))
    assert column(table, "Verdict") == ["▼ faster", "✕ no match in B", "= not distinguishable"]
    assert column(table, "B − A [95 %]")[0].startswith("−0.930 ms [−0.9")


def test_without_times_there_are_no_columns_for_them_and_changes_come_first():
    a, b = (
        replace(f, time_kind=None, groups=tuple(replace(g, time_ms=None) for g in f.groups))
        for f in (A, B)
    )
    comparison = align(a, b)
    table = engines_table(comparison)
    assert "Verdict" not in table.heads
    assert column(table, "Set")[0] == "S1"
    assert [m.tag for m in comparison.changed] == ["S1"]
    assert "n/a" in engines_sentence(comparison)


def test_without_a_graph_there_is_no_column_of_nodes():
    comparison = align(unlike(part("x", "c1", 1.0)), unlike(part("y", "c1", 2.0)))
    assert "ONNX nodes" not in engines_table(comparison).heads
    assert "sets of layers are not alike" in engines_sentence(comparison)
    assert "S1 (x) +1.00 ms" in engines_sentence(comparison)


def test_names_are_cut_and_escaped():
    long = fused(part("<b>" + "x" * 10_000, "c1", 1.0))
    table = engines_table(align(long, long))
    assert "<b>" not in table.html()
    assert len(table.text()) < 1000
    assert len(engines_sentence(align(long, fused(part("y", "c1", 2.0))))) < 500


def test_the_sentence_says_where_the_difference_comes_from():
    words = engines_sentence(align(A, B, profiles=PROFILES))
    assert words.startswith(
        "1 of 2 sets of nodes lie in other layers. The data type changes in 1."
    )
    assert "B gains most in S1 (c1 + 2 more) −0.930 ms" in words
    assert "S2" not in words
    assert "better" in words


def test_the_sentence_claims_nothing_without_samples_and_nothing_inside_the_noise():
    words = engines_sentence(align(A, B))
    assert "it is not known which of these are real" in words
    assert "B loses most in S2 (a1) +0.500 ms" in words
    same = engines_sentence(align(A, A, profiles=PROFILES[:1] * 2))
    assert "No set differs by more than equal runs do." in same
    unknown = unaligned((making.plan(), making.plan(layers=None)))
    assert "no difference can be attributed" in engines_sentence(unknown)
    assert engines_table(unknown).rows == ()
