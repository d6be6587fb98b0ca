import datetime as dt
import threading
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake import layout
from lake.errors import PermanentError
from lake.lake import Lake
from lake.records import Draft, Input, Records, TableContent, TableFile
from recommender import asof

DAY = dt.date(2017, 9, 30)
BOUGHT = {(1, 10): 2.0, (1, 12): 0.5, (3, 11): 1.0}

pairs_of_users = st.dictionaries(
    st.tuples(st.integers(0, 8), st.integers(10, 15)), st.sampled_from([0.5, 1.0, 2.0]), min_size=1
)


def whole(as_of):
    [block] = replace(as_of, block_mib=1 << 20).blocks()
    return block.view


def files_cut_by(make_tables, bought, pieces, batch_rows):
    """The day's files as a cluster writes them: a user's rows lie in one of `pieces`, sorted by key."""
    tables = make_tables(bought)

    def files(name, columns):
        rows = tables[name].select(columns)
        keys = rows[columns[0]].to_numpy()
        parts = (rows.filter(pa.array(keys % pieces == piece)).sort_by(columns[0]) for piece in range(pieces))
        return [part.to_batches(max_chunksize=batch_rows) for part in parts]

    return files


@given(bought=pairs_of_users, users=st.integers(1, 9), pieces=st.integers(1, 4), rows=st.integers(1, 5))
def test_blocks_are_the_whole_in_parts(make_as_of, make_tables, cut, bought, users, pieces, rows):
    """However users are cut into blocks, their rows into files, and files into batches."""
    day = make_as_of(dict(sorted(bought.items())))
    expected = whole(day)
    parts = list(cut(replace(day, files=files_cut_by(make_tables, bought, pieces, rows)), users).blocks())
    codes = [code for part in parts for code in part.users.tolist()]
    assert codes == list(range(len(expected.users)))
    for part in parts:
        view = part.view
        assert view.users.values.equals(expected.users.take(part.users))
        assert view.user.tolist() == expected.user[part.users].tolist()
        assert (view.weights != expected.weights[part.users]).nnz == 0
        for user, code in enumerate(part.users):
            mine, all_of = (np.arange(len(view.items)) + user * len(view.items) for user in (user, code))
            assert np.array_equal(view.pair.gather(mine), expected.pair.gather(all_of), equal_nan=True)


@given(bought=pairs_of_users, users=st.integers(1, 9))
def test_weights_are_those_of_all_blocks(make_as_of, cut, bought, users):
    day = make_as_of(dict(sorted(bought.items())))
    found = cut(day, users).weights()
    assert found.dtype == np.float32
    assert found.has_sorted_indices
    assert (found != whole(day).weights).nnz == 0
    assert found.nnz == len(bought)


@given(bought=pairs_of_users, chosen=st.sets(st.integers(0, 8)), users=st.integers(1, 9))
def test_some_users_are_blocks_of_their_own(make_as_of, cut, bought, chosen, users):
    day = make_as_of(dict(sorted(bought.items())))
    expected = whole(day)
    codes = np.array([code for code in sorted(chosen) if code < len(expected.users)], np.int32)
    parts = list(cut(day, users).blocks(codes))
    assert [code for part in parts for code in part.users.tolist()] == codes.tolist()
    for part in parts:
        assert (part.view.weights != expected.weights[part.users]).nnz == 0


def test_blocks_of_some_users_hold_no_rows_of_those_between(make_as_of, monkeypatch):
    """A task of a cluster has few users of each file: it held all rows from one to the next."""
    held, rows_of = [], asof._feature_rows

    def record(features, parts, *ids):
        held.append(sum(map(len, parts)))
        return rows_of(features, parts, *ids)

    day = make_as_of({(user, 10): 1.0 for user in range(40)})
    monkeypatch.setattr(asof, "_feature_rows", record)
    [block] = day.blocks(np.array([0, 39], np.int32))
    assert block.users.tolist() == [0, 39]
    assert held == [2, 2]


@given(
    bought=pairs_of_users,
    asked=st.lists(st.tuples(st.integers(-1, 8), st.integers(-1, 5))),
    users=st.integers(1, 9),
)
def test_holds_says_which_pairs_have_a_row(make_as_of, cut, bought, asked, users):
    day = make_as_of(dict(sorted(bought.items())))
    known = [(user, item) for user, item in sorted(asked) if user < len(day.small.users)]
    of, items = (np.array([pair[at] for pair in known], np.int32) for at in (0, 1))
    names = day.small.users.values.to_pylist(), day.small.items.values.to_pylist()
    expected = [
        user >= 0 and 0 <= item < len(names[1]) and (names[0][user], names[1][item]) in bought
        for user, item in known
    ]
    items = np.where(items < len(names[1]), items, -1).astype(np.int32)
    assert cut(day, users).holds(of, items).tolist() == expected


def test_a_block_takes_no_more_than_its_memory_but_for_its_first_user(make_as_of):
    """Blocks of so many users took what the users with most items have."""
    day = make_as_of({(user, 10): 1.0 for user in range(40)})
    day.small.column("user_features", "items")[:] = np.where(np.arange(40) % 7 == 0, 4000, 20)
    cut = replace(day, block_mib=2, limit=200)
    parts = [part.users for part in cut.blocks()]
    assert len(parts) > 3
    assert len({len(part) for part in parts}) > 1
    assert all(cut._bytes()[part[1:]].sum() <= 2 << 20 for part in parts)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_what_is_made_of_blocks_comes_in_their_order(make_as_of, cut, threads):
    """The first ones take longest."""

    def make(block):
        time.sleep(0.02 * any(block.users < 3))
        return block.users.tolist()

    day = make_as_of({(user, 10): 1.0 for user in range(9)})
    assert list(cut(day, 1).each(make, threads)) == [[user] for user in range(9)]
    assert list(cut(day, 1).each(make, threads, np.array([1, 7], np.int32))) == [[1], [7]]
    assert [users for users in day.each(make, threads) for users in users] == list(range(9))
    assert list(day.each(make, threads, np.zeros(0, np.int32))) == [[]]


def test_as_many_blocks_are_worked_on_as_there_are_threads_and_share_the_memory(make_as_of):
    free, second = threading.Semaphore(2), threading.Event()

    def make(block):
        assert free.acquire(blocking=False), "more blocks than threads"
        if block.users[0]:
            second.set()
        assert second.wait(60), "one block at a time"
        free.release()
        return int(day._bytes()[block.users].sum())

    day = replace(make_as_of({(user, 10): 1.0 for user in range(200)}), block_mib=3, limit=300)
    sizes = list(day.each(make, 2))
    assert 1 << 19 < max(sizes) <= (1 << 20) + int(day._bytes().max())


def test_an_error_of_a_block_ends_the_others(make_as_of, cut):
    def make(block):
        if block.users[0] == 4:
            raise ValueError("no room")
        made.append(block)

    made, day = [], cut(make_as_of({(user, 10): 1.0 for user in range(99)}), 1)
    with pytest.raises(ValueError, match="no room"):
        list(day.each(make, 2))
    assert len(made) < 9


@pytest.mark.parametrize("batches", [1, 10])
def test_a_file_that_is_not_sorted_by_user_is_refused(make_as_of, make_tables, cut, batches):
    """Rows of a user who has passed would be lost in silence."""
    bought = {(user, 10): 1.0 for user in range(9)}
    tables = make_tables(dict(reversed(bought.items())))
    files = lambda name, names: [tables[name].select(names).to_batches(max_chunksize=batches)]  # noqa: E731
    day = cut(replace(make_as_of(bought), files=files), 2)
    with pytest.raises(
        PermanentError, match="user_item_features as of 2017-09-30: expected files that are sorted"
    ):
        list(day.blocks())


def test_a_day_without_users_has_one_block_without_users(make_as_of):
    day = make_as_of({(1, 10): 1.0})
    [block] = day.blocks(np.zeros(0, np.int32))
    assert len(block.users) == len(block.view.users) == 0


def test_an_item_without_a_subcategory_has_none(make_as_of):
    day = make_as_of(BOUGHT)
    catalogue = pa.table({"item_id": [10, 11], "subcategory": pa.array([None, "kind 1"], pa.string())})
    kinds, subcategory, _ = asof._catalogued(day.small.items, catalogue)
    assert kinds.values.to_pylist() == ["kind 1"]
    assert subcategory.tolist() == [-1, 0, -1]


def put(storage, table, content):
    path = f"{layout.staged(table, 'a')}/part.parquet"
    storage.local(path).parent.mkdir(parents=True)
    pq.write_table(content, storage.local(path))
    return TableContent((TableFile(path, storage.size(path), content.num_rows),), content.num_rows, "d")


def draft(stage, **fields):
    return Draft(
        stage=stage, partition="2017-09-30", attempt="a", outcome="ok", version=1, config_digest="c", **fields
    )


@pytest.mark.parametrize("pinned", [True, False])
def test_load_reads_what_the_record_names(tmp_path, data, make_tables, make_catalogue, make_view, pinned):
    lake = Lake(tmp_path.as_uri(), "", "", "", data)
    storage, records = lake.storage, Records(lake.storage)
    catalogue = replace(put(storage, "catalogue", make_catalogue([10, 11])), digest="c")
    ingest = records.commit(draft("ingest", tables={"catalogue": catalogue}), 0)
    tables = {name: put(storage, name, content) for name, content in make_tables(BOUGHT).items()}
    pin = Input("catalogue", "c", ingest.partition, ingest.sequence)
    record = records.commit(draft("features", tables=tables, inputs=(pin,) if pinned else ()), 0)
    day = asof.load(lake.storage, lake.records, record, data)
    view, expected = whole(day), make_view(BOUGHT, listed=[10, 11] if pinned else None)
    assert view.day == record.day
    assert (view.origin.version, view.origin.config_digest) == (1, "c")
    assert view.listed.tolist() == expected.listed.tolist()
    assert view.subcategory.tolist() == expected.subcategory.tolist()
    assert np.array_equal(view.pair.values, expected.pair.values, equal_nan=True)
