import pytest

from nightjar.rawfiles import alike


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("85123A", "85123a", "case"),
        ("85123A", "85123 A", "blanks"),
        ("1364", "1364.0", "a trailing .0"),
        ("1364", "001364", "leading zeros"),
        ("e\u0301clair", "\u00e9clair", "Unicode form"),
    ],
)
def test_ids_that_differ_in_one_thing_are_a_group_that_names_it(one, other, differ):
    (group,) = alike.find({one: 1, other: 2, "another": 9})
    assert group.rows == {other: 2, one: 1}
    assert list(group.rows) == [other, one]
    assert group.differ == (differ,)


def test_a_group_may_differ_in_several_and_the_largest_comes_first():
    small, large = {"a1": 1, "A1": 1}, {"007": 5, "7": 6, " 7.0": 1}
    first, second = alike.find(small | large)
    assert (first.rows, set(first.differ)) == (large, {"blanks", "a trailing .0", "leading zeros"})
    assert second.rows == small


def test_what_is_only_zeros_stays_an_id():
    assert alike.find({"0": 1, "": 1}) == []
    assert [group.rows for group in alike.find({"0": 1, "000": 1})] == [{"0": 1, "000": 1}]
