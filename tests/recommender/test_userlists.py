"""Files of lists: of all buckets at once, of some at a time, and what they add up to."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightjar_reader import format as fmt
from recommender import columns, userlists
from recommender.bundle import Bundle
from recommender.retrieval import fit
from recommender.scoring import Lists

BUCKETS = 6


@pytest.fixture(scope="module")
def making(make_as_of, data):
    """A day of 40 users, who like one of two kinds of items, with a bundle that knows most of them."""
    bought = {(user, 10 + (3 * user + k) % 11): 1.0 + k for user in range(40) for k in range(1 + user % 4)}
    day, earlier = (
        make_as_of(dict(sorted(bought.items())), [*range(10, 20)])
        for bought in (bought, {pair: weight for pair, weight in bought.items() if pair[0] % 9})
    )
    found = fit(earlier.small, earlier.weights(), data.retrieval, 1)
    bundle = Bundle("b" * 64, day.small.day, "baseline", "als", found, None, (), 1, "d", {})
    chosen = data.model_copy(
        update={"lists": data.lists.model_copy(update={"buckets": BUCKETS, "length": 4})}
    )
    return userlists.Making(day, bundle, chosen, 1)


def files_of(folder):
    return {path.name: path.read_bytes() for path in (folder / "lists").iterdir()}


@pytest.fixture(scope="module")
def whole(making, tmp_path_factory):
    """The files of all buckets made at once, and what they add up to."""
    folder = tmp_path_factory.mktemp("whole")
    made = making.write(folder, range(BUCKETS)).made()
    return files_of(folder), made


@settings(max_examples=15)
@given(
    task_of=st.lists(st.integers(0, BUCKETS - 1), min_size=BUCKETS, max_size=BUCKETS),
    users=st.integers(1, 41),
)
def test_however_buckets_are_shared_out_the_files_are_the_same(
    making, whole, cut, tmp_path_factory, task_of, users
):
    folder, totals = tmp_path_factory.mktemp("parts"), userlists.Totals(len(making.as_of.small.items))
    for task in sorted(set(task_of)):
        buckets = [bucket for bucket, of in enumerate(task_of) if of == task]
        totals.merge(replace(making, as_of=cut(making.as_of, users)).write(folder, buckets))
    assert (files_of(folder), totals.made()) == whole
    assert totals.made().users == 40


@pytest.mark.parametrize("length", [0, 3, 3000], ids=["empty", "short", "of several pages"])
@pytest.mark.parametrize("sizes", [[1200], [1, 300, 0, 255, 256, 388], [100] * 12])
def test_a_file_written_in_parts_has_the_bytes_of_one_written_at_once(tmp_path, sizes, length):
    rng = np.random.default_rng(0)
    users = sum(sizes)
    columns_of = {
        "user_id": np.arange(users),
        "item_ids": [rng.integers(0, 10**6, length if user % 5 == 0 else 2) for user in range(users)],
        "scores": [rng.random(length if user % 5 == 0 else 2).astype(np.float32) for user in range(users)],
        "fallback": np.zeros(users, np.int8),
        "code": np.arange(users, dtype=np.int32),
    }
    whole = pa.table(columns_of, schema=fmt.lists_schema("int64"))
    ends = np.cumsum(sizes)
    writer = userlists.Writer(tmp_path, [0], 1, "int64")
    for end, size in zip(ends, sizes, strict=True):
        writer.add(whole.slice(end - size, size))
    writer.close()
    columns.write(whole, tmp_path / "whole.parquet", "user_id")
    assert (tmp_path / fmt.lists_path(0)).read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def lists_of(*items, fallback=0):
    ends = np.concatenate([[0], np.cumsum([len(one) for one in items])]).astype(np.int64)
    flat = np.array([item for one in items for item in one], np.int32)
    return Lists(ends, flat, np.zeros(len(flat), np.float32), np.full(len(items), fallback, np.int8))


@pytest.mark.parametrize(
    ("items", "alike"),
    [
        ([], 0),
        ([[]], 0),
        ([[], [], [0]], 0),
        ([[0, 1]], 0),
        ([[0, 1], [1, 0], [0], [0, 1, 2]], 0),
        ([[3], [0, 1], [], [3], [0, 1], [0, 1]], 3),
        ([[0], [0, 0]], 0),
    ],
)
def test_how_many_users_have_the_list_that_most_have(items, alike):
    assert most_alike(lists_of(*items)) == alike


def most_alike(*blocks):
    alike = userlists.Alike()
    for block in blocks:
        alike.add(block)
    return alike.most


@given(st.lists(st.lists(st.integers(0, 2), max_size=3), max_size=12), st.integers(0, 12))
def test_alike_is_what_a_count_of_whole_lists_says_in_one_block_and_in_two(items, cut):
    most = max(Counter(tuple(one) for one in items if one).values(), default=0)
    expected = most if most > 1 else 0
    assert most_alike(lists_of(*items)) == expected
    assert most_alike(lists_of(*items[:cut]), lists_of(*items[cut:])) == expected
    halves = [userlists.Alike(), userlists.Alike()]
    for half, part in zip(halves, (items[:cut], items[cut:]), strict=True):
        half.add(lists_of(*part))
    halves[0].merge(halves[1])
    assert halves[0].most == expected
