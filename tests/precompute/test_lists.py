import numpy as np
import pyarrow.parquet as pq
import pytest

from nightjar_reader import format as fmt
from precompute import items, lists
from recommender.ids import Ids
from recommender.scoring import Lists


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
def rows(night, made, retrieval):
    return lists.table(night, made, items.factors(night, retrieval), "int64")


@pytest.fixture
def catalogue(night):
    return Ids(night.items.take(np.flatnonzero(night.listed).astype(np.int32)))


def test_the_table_has_published_ids_and_rows_of_the_factors(rows):
    assert rows.column_names == list(fmt.LISTS_COLUMNS)
    assert rows.to_pylist() == [
        {"user_id": 7, "item_ids": [10, 40], "scores": [2, 1], "fallback": 0, "code": 0},
        {"user_id": 8, "item_ids": [30], "scores": [5], "fallback": 2, "code": None},
        {"user_id": 9, "item_ids": [40, 10], "scores": [4, 3], "fallback": 0, "code": 1},
    ]


def test_codes_are_null_without_factors(night, made):
    assert lists.table(night, made, None, "int64")["code"].null_count == 3


def test_every_bucket_has_a_file_with_its_users(rows, tmp_path):
    lists.write(tmp_path, rows, 4)
    files = sorted(path.name for path in (tmp_path / "lists").iterdir())
    assert files == [f"{bucket:02d}.parquet" for bucket in range(4)]
    for bucket in range(4):
        users = pq.read_table(tmp_path / fmt.lists_path(bucket))["user_id"].to_pylist()
        assert users == [user for user in (7, 8, 9) if fmt.bucket(user, 4) == bucket]


def test_popular_items_are_one_row_of_allowed_items(night, data):
    (row,) = lists.popular_table(night, night.listed, data).to_pylist()
    assert row["segment"] is None
    assert row["item_ids"] == [10, 30, 40]
    assert row["scores"] == sorted(row["scores"], reverse=True)


def failed(checks):
    return {check.name for check in checks if not check.passed}


def test_sound_lists_pass(rows, night, catalogue, data):
    checks = lists.check(rows, night, catalogue, data)
    assert failed(checks) == set()
    assert len({check.name for check in checks}) == len(checks)


def test_a_user_without_a_list_is_found(rows, night, catalogue, data):
    assert failed(lists.check(rows.slice(1), night, catalogue, data)) == {"every_user_has_a_list"}


def test_an_item_outside_the_catalogue_is_found(rows, night, data):
    assert failed(lists.check(rows, night, Ids(night.items.values.slice(0, 3)), data)) == {
        "items_in_catalogue"
    }


@pytest.mark.parametrize(
    ("items_of", "scores"),
    [
        ([0, 0, 2, 3, 0], [2, 1, 5, 4, 3]),
        ([0, 3, 2, 3, 0], [1, 2, 5, 4, 3]),
        ([0, 3, 2, 3, 0], [2, np.nan, 5, 4, 3]),
    ],
    ids=["an item twice", "scores that rise", "a score that is no number"],
)
def test_faulty_lists_are_found(items_of, scores, made, night, catalogue, data):
    bad = Lists(made.indptr, np.array(items_of, np.int32), np.array(scores, np.float32), made.fallback)
    assert failed(lists.check(lists.table(night, bad, None, "int64"), night, catalogue, data))


def test_an_empty_list_is_found(made, night, catalogue, data):
    bad = Lists(np.array([0, 2, 2, 4]), made.items[[0, 1, 3, 4]], made.scores[[0, 1, 3, 4]], made.fallback)
    assert failed(lists.check(lists.table(night, bad, None, "int64"), night, catalogue, data))
