import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest

from nightjar_reader import format as fmt
from precompute import lists
from recommender import userlists
from recommender import view as views
from recommender.ids import Ids
from recommender.retrieval import align
from recommender.scoring import Lists
from validation.counts import in_batches

NO_CODES = np.full(3, -1, np.int32)


@pytest.fixture
def made():
    """User 7 gets 10 and 40, user 8 gets 30, user 9 gets 40 and 10."""
    return Lists(
        np.array([0, 2, 3, 5]),
        np.array([0, 3, 2, 3, 0], np.int32),
        np.array([2, 1, 5, 4, 3], np.float32),
        np.array([0, 2, 0], np.int8),
    )


@pytest.fixture
def rows(block, made, retrieval):
    codes = userlists.user_codes(block.view, align(retrieval, block.view))
    return userlists.table(block, made, codes, "int64")


@pytest.fixture
def catalogue(view):
    return Ids(view.items.take(np.flatnonzero(view.listed).astype(np.int32)))


def test_the_table_has_published_ids_and_rows_of_the_factors(rows):
    assert rows.column_names == list(fmt.LISTS_COLUMNS)
    assert rows.to_pylist() == [
        {"user_id": 7, "item_ids": [10, 40], "scores": [2, 1], "fallback": 0, "code": 0},
        {"user_id": 8, "item_ids": [30], "scores": [5], "fallback": 2, "code": None},
        {"user_id": 9, "item_ids": [40, 10], "scores": [4, 3], "fallback": 0, "code": 1},
    ]


def test_codes_are_null_without_factors(block, made):
    assert userlists.table(block, made, NO_CODES, "int64")["code"].null_count == 3


def write(folder, *parts, buckets):
    writer = userlists.Writer(folder, range(buckets), buckets, "int64")
    for part in parts:
        writer.add(part)
    writer.close()


def test_every_bucket_has_a_file_with_its_users(rows, tmp_path):
    write(tmp_path, rows, buckets=4)
    files = sorted(path.name for path in (tmp_path / "lists").iterdir())
    assert files == [f"{bucket:02d}.parquet" for bucket in range(4)]
    for bucket in range(4):
        users = pq.read_table(tmp_path / fmt.lists_path(bucket))["user_id"].to_pylist()
        assert users == [user for user in (7, 8, 9) if fmt.bucket(user, 4) == bucket]


def test_popular_items_are_one_row_of_allowed_items(view, data):
    (row,) = lists.popular_table(view, view.listed, data).to_pylist()
    assert row["segment"] is None
    assert row["item_ids"] == [10, 30, 40]
    assert row["scores"] == sorted(row["scores"], reverse=True)


def failed(checks):
    return {check.name for check in checks if not check.passed}


def check(rows, made, view, catalogue, data):
    totals = userlists.Totals(len(view.items))
    totals.add(view, made, data.repeats)
    return lists.check(in_batches(rows), totals.made(), view, catalogue, data)


def test_sound_lists_pass(rows, made, view, catalogue, data):
    checks = check(rows, made, view, catalogue, data)
    assert failed(checks) == set()
    assert len({check.name for check in checks}) == len(checks)


def test_what_was_written_is_what_is_checked(rows, made, view, catalogue, data, tmp_path):
    write(tmp_path, rows.slice(0, 1), rows.slice(1), buckets=4)
    totals = userlists.Totals(len(view.items))
    totals.add(view, made, data.repeats)
    assert failed(lists.check(lists.written(tmp_path, 4), totals.made(), view, catalogue, data)) == set()
    write(tmp_path, rows.slice(0, 1), buckets=4)
    checks = lists.check(lists.written(tmp_path, 4), totals.made(), view, catalogue, data)
    assert failed(checks) == {"every_user_has_a_list"}


def test_a_user_twice_is_found_also_in_two_blocks(rows, made, view, catalogue, data, tmp_path):
    write(tmp_path, rows, rows.slice(2), buckets=4)
    totals = userlists.Totals(len(view.items))
    totals.add(view, made, data.repeats)
    checks = lists.check(lists.written(tmp_path, 4), totals.made(), view, catalogue, data)
    assert failed(checks) == {"user_id_unique"}


def test_a_user_without_a_list_is_found(rows, made, view, catalogue, data):
    assert failed(check(rows.slice(1), made, view, catalogue, data)) == {"every_user_has_a_list"}


def test_an_item_outside_the_catalogue_is_found(rows, made, view, data):
    few = Ids(view.items.values.slice(0, 3))
    assert failed(check(rows, made, view, few, data)) == {"items_in_catalogue"}


@pytest.mark.parametrize(
    ("items_of", "scores"),
    [
        ([0, 0, 2, 3, 0], [2, 1, 5, 4, 3]),
        ([0, 3, 2, 3, 0], [1, 2, 5, 4, 3]),
        ([0, 3, 2, 3, 0], [2, np.nan, 5, 4, 3]),
    ],
    ids=["an item twice", "scores that rise", "a score that is no number"],
)
def test_faulty_lists_are_found(items_of, scores, made, block, view, catalogue, data):
    bad = Lists(made.indptr, np.array(items_of, np.int32), np.array(scores, np.float32), made.fallback)
    assert failed(check(userlists.table(block, bad, NO_CODES, "int64"), bad, view, catalogue, data))


def emptied(made):
    """User 8 gets nothing."""
    return Lists(np.array([0, 2, 2, 4]), made.items[[0, 1, 3, 4]], made.scores[[0, 1, 3, 4]], made.fallback)


def bought(view, pairs):
    """The night with these pairs of user and item (by code) and no others."""
    keys = np.array(sorted(user * len(view.items) + item for user, item in pairs))
    values = np.ones((len(keys) + 1, view.pair.values.shape[1]), np.float32)
    return dataclasses.replace(view, pair=views.FeatureRows(keys, values))


def test_an_empty_list_is_right_where_the_user_has_seen_every_listed_item(made, block, view, catalogue, data):
    """It refused the release for all users."""
    once = data.model_copy(update={"repeats": False})
    few = emptied(made)
    rows = userlists.table(block, few, NO_CODES, "int64")
    assert rows.to_pylist()[1] == {"user_id": 8, "item_ids": [], "scores": [], "fallback": 2, "code": None}
    all_listed = bought(view, [(0, 0), (1, 0), (1, 2), (1, 3)])
    assert failed(check(rows, few, all_listed, catalogue, once)) == set()
    but_one = bought(view, [(0, 0), (1, 0), (1, 1), (1, 3)])  # item 1 is not listed
    assert failed(check(rows, few, but_one, catalogue, once)) == {"empty_for_a_reason"}
    assert failed(check(rows, few, all_listed, catalogue, data)) == {"empty_for_a_reason"}


def test_an_empty_list_is_right_where_nothing_is_listed(made, block, view, catalogue, data):
    few = emptied(made)
    bare = dataclasses.replace(view, listed=np.zeros(4, bool))
    assert failed(check(userlists.table(block, few, NO_CODES, "int64"), few, bare, catalogue, data)) == set()


def test_a_catalogue_of_none_of_the_items_publishes_nothing(made, block, view, catalogue, data):
    """Every list was empty and nothing popular, and the release went out with warnings alone."""
    nothing = Lists(np.zeros(4, np.int64), made.items[:0], made.scores[:0], made.fallback)
    rows, bare = (
        userlists.table(block, nothing, NO_CODES, "int64"),
        dataclasses.replace(view, listed=np.zeros(4, bool)),
    )
    (wrong,) = (one for one in check(rows, nothing, bare, catalogue, data) if not one.passed)
    assert (wrong.name, wrong.severity) == ("empty_for_a_reason", "critical")
    assert wrong.found == "none of 4 items of the events is in the catalogue; every list is empty"


def test_an_empty_list_is_written_and_read(made, block, tmp_path):
    write(tmp_path, userlists.table(block, emptied(made), NO_CODES, "int64"), buckets=1)
    read = pq.read_table(tmp_path / fmt.lists_path(0)).to_pylist()
    assert [len(row["item_ids"]) for row in read] == [2, 0, 2]


def lists_of(*items, fallback=0):
    ends = np.concatenate([[0], np.cumsum([len(one) for one in items])]).astype(np.int64)
    flat = np.array([item for one in items for item in one], np.int32)
    return Lists(ends, flat, np.zeros(len(flat), np.float32), np.full(len(items), fallback, np.int8))


@pytest.fixture
def totals_of(view_of):
    """A function: what lists of a view of three items add up to."""

    def totals_of(made):
        totals = userlists.Totals(3)
        totals.add(view_of(list(range(len(made.fallback))), [1, 2, 3], [1]), made, True)
        return totals

    return totals_of


def test_lists_of_no_use_are_warned_of_with_numbers(totals_of, data):
    """All users got one popular list, and no check said so."""
    made = lists_of(*[[0, 1]] * 9, [], fallback=2)
    counts = totals_of(made).made().counts()
    assert counts == {
        "users": 10,
        "recommendations": 18,
        "items_recommended": 2,
        "users_with_global_fallback": 10,
        "users_with_the_same_list": 9,
        "empty_lists": 1,
    }
    told = {check.name: check for check in lists.check_shares(counts, data.lists)}
    assert failed(told.values()) == {"identical_lists_share", "fallback_lists_share", "empty_lists_share"}
    assert {check.severity for check in told.values()} == {"warning"}
    assert told["identical_lists_share"].found == "9 of 10 users (90.00%) get one and the same list"
    wide = data.lists.model_copy(
        update={"max_identical_share": 0.9, "max_fallback_share": 1.0, "max_empty_share": 0.1}
    )
    assert failed(lists.check_shares(counts, wide)) == set()


def test_personal_lists_are_not_warned_of(totals_of, data):
    counts = totals_of(lists_of([0, 1], [1, 0], [2])).made().counts()
    assert failed(lists.check_shares(counts, data.lists)) == set()
