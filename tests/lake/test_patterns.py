"""Patterns of ids mean the same to Python and to Java; what might not is refused by its place."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.patterns import checked, matches, whole

GOOD = {
    "POST": (["POST"], ["post", "POSTAGE", " POST", "POST\n"]),
    "gift_[0-9]{4}": (["gift_0012"], ["gift_012", "gift_00123", "my gift_0012"]),
    "[A-Z]+": (["D", "BANK"], ["", "BANK CHARGES", "d"]),
    "[^0-9].*": (["x1", "\n", "x\r\n\u2028y"], ["", "1x"]),
    r"C2|(test|demo)?@shop\.com": (["C2", "@shop.com", "demo@shop.com"], ["C", "demo@shop-com"]),
    r"[a\-z]{2,}": (["a-", "zz"], ["b", "ab", "a"]),
    "é.?": (["é", "é\U0001f600"], ["e"]),
}


@pytest.mark.parametrize("pattern", GOOD)
def test_a_pattern_speaks_of_the_whole_id(pattern):
    yes, no = GOOD[pattern]
    assert checked(pattern) == pattern
    assert [text for text in yes + no if matches(pattern, text)] == yes


@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        (r"\d+", 1),
        (r"a\w", 2),
        ("^a", 1),
        ("ab$", 3),
        ("a**", 3),
        ("ab*?", 4),
        ("ab*+", 4),
        ("a{2}{3}", 5),
        ("(ab)+", 5),
        ("(a|aa)*b", 7),
        ("(?i)post", 1),
        ("a(?:b)", 2),
        ("[[a]]", 1),
        ("x[a&&b]", 2),
        ("[a-]", 1),
        ("[]", 1),
        ("a{,2}", 2),
        ("{", 1),
        ("+", 1),
        ("a|*", 3),
        ("(a", 1),
        ("ab)", 3),
        ("[z-a]", 2),
        ("a{3,2}", 3),
        ("a\\", 2),
    ],
)
def test_what_the_languages_may_read_in_two_ways_is_refused_by_its_place(pattern, place):
    with pytest.raises(ValueError, match=rf"at place {place}\b.*|found .* at place {place}$"):
        checked(pattern)


@pytest.mark.parametrize("pattern", ["", "a" * 1001])
def test_a_pattern_has_a_length(pattern):
    with pytest.raises(ValueError, match="a pattern of 1 to 1000 letters, found"):
        checked(pattern)


LETTERS = st.sampled_from([*"abA09 _#~&<'\"", "é", "\U0001f600", "ß", "\u2028"])
ESCAPED = st.sampled_from([rf"\{sign}" for sign in ".^$*+?{}[]|()-&~/"])
ONE = LETTERS | ESCAPED
IN_SET = st.sampled_from([*"ab09é", "\U0001f600", r"\^", r"\-", r"\]", "0-9", "a-f", "A-Z"])
SETS = st.builds(
    lambda no, of: f"[{no}{''.join(of)}]",
    st.sampled_from(["", "^"]),
    st.lists(IN_SET, min_size=1, max_size=3),
)
COUNTS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,}", "{0,3}"])
PIECES = st.builds(str.__add__, ONE | SETS | st.just("."), COUNTS)
CHOICES = st.lists(st.lists(PIECES, max_size=3).map("".join), min_size=1, max_size=3).map("|".join)
GROUPS = st.builds(lambda inner, mark: f"({inner}){mark}", CHOICES, st.sampled_from(["", "?"]))
PATTERNS = st.lists(PIECES | GROUPS, min_size=1, max_size=4).map("".join)
TEXTS = st.text(st.sampled_from([*"abfA09 .^-]\n\r", "é", "\u0085", "\u2028", "\U0001f600"]), max_size=5)


@given(PATTERNS)
def test_each_pattern_of_these_parts_is_taken(pattern):
    assert checked(pattern) == pattern


def _fitting(pattern):
    """The pattern with a text that it matches, or with any."""
    text = st.from_regex(
        re.compile(pattern, re.DOTALL), fullmatch=True, alphabet=st.characters(codec="utf-8")
    )
    return st.tuples(st.just(pattern), text | TEXTS)


@pytest.mark.spark
def test_java_finds_what_python_matches(spark):
    pairs = []

    @settings(max_examples=500, database=None)
    @given(PATTERNS.flatmap(_fitting))
    def draw(pair):
        pairs.append(pair)

    draw()
    frame = spark.createDataFrame(
        [(whole([one]), text) for one, text in pairs], "pattern STRING, text STRING"
    )
    found = [row[0] for row in frame.selectExpr("text RLIKE pattern").collect()]
    expected = [matches(pattern, text) for pattern, text in pairs]
    assert 100 < sum(expected) < len(pairs) - 100
    assert [pair for pair, one, other in zip(pairs, found, expected, strict=True) if one != other] == []


def test_choices_of_one_pattern_stay_within_it():
    assert re.search(whole(["a|b", "c"]).replace(r"\z", r"\Z"), "xa") is None
