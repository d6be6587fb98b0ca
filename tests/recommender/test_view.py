import datetime as dt
import math
import weakref
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake import layout
from lake.feature_spec import FEATURES
from lake.records import Draft, Input, Records, TableContent, TableFile
from lake.storage import LocalStorage
from recommender import view as views
from recommender.view import FeatureRows

DAY = dt.date(2017, 9, 30)
BOUGHT = {(1, 10): 2.0, (1, 12): 0.5, (3, 11): 1.0}


def names(table):
    return [feature.name for feature in FEATURES[table]]


@given(st.sets(st.integers(0, 50)), st.lists(st.integers(-1, 60)))
def test_gather_gives_the_row_of_a_key_or_the_absent_one(keys, asked):
    held = sorted(keys)
    values = np.array([*held, -7], np.float32).reshape(-1, 1)
    found = FeatureRows(np.array(held, np.int64), values).gather(np.array(asked, np.int64))
    assert found[:, 0].tolist() == [key if key in keys else -7 for key in asked]


def test_rows_lie_by_code_whatever_their_order_was(make_view):
    view = make_view(BOUGHT)
    backwards = make_view(dict(reversed(BOUGHT.items())))
    assert view.users.values.to_pylist() == [1, 3]
    assert view.items.values.to_pylist() == [10, 11, 12]
    assert view.pair.keys.tolist() == [0, 2, 4]
    assert view.weights.toarray().tolist() == [[2.0, 0.0, 0.5], [0.0, 1.0, 0.0]]
    assert np.array_equal(view.pair.values, backwards.pair.values, equal_nan=True)


def test_no_two_tables_are_held_at_a_time(make_tables):
    """All four and two copies of each were."""
    held = []

    def table(name):
        assert [ref() for ref in held] == [None] * len(held)
        found = make_tables(BOUGHT)[name]
        held.append(weakref.ref(found))
        return found

    view = views.build(DAY, table, None)
    assert len(held) == 4
    assert view.weights.toarray().tolist() == [[2.0, 0.0, 0.5], [0.0, 1.0, 0.0]]


def test_a_missing_pair_has_what_the_schema_says(make_view):
    view = make_view(BOUGHT)
    absent = dict(zip(names("user_item_features"), view.pair.gather(np.array([1]))[0].tolist(), strict=True))
    for feature in FEATURES["user_item_features"]:
        same = absent[feature.name] == feature.absent
        assert same or (math.isnan(absent[feature.name]) and math.isnan(feature.absent))


def test_null_is_nan(make_view):
    assert np.isnan(make_view(BOUGHT).column("user_item_features", "due")).all()


def test_the_catalogue_says_what_is_listed_and_of_which_kind(make_view):
    view = make_view(BOUGHT, listed=[11, 12, 99])
    assert view.listed.tolist() == [False, True, True]
    assert view.subcategory.tolist() == [-1, 1, 2]


def test_without_a_catalogue_everything_is_listed(make_view):
    view = make_view(BOUGHT)
    assert view.listed.all()
    assert view.subcategory.tolist() == [-1, -1, -1]


def test_an_item_without_a_subcategory_has_none(make_view):
    view = make_view(BOUGHT)
    catalogue = pa.table({"item_id": [10, 11], "subcategory": pa.array([None, "kind 1"], pa.string())})
    subcategory, _ = views._catalogued(view.items, views.Ids.of(pa.array(["kind 1"])), catalogue)
    assert subcategory.tolist() == [
        -1,
        0,
        -1,
    ]


def test_strings_work_as_ids(make_view):
    view = make_view({("b", "y"): 1.0, ("a", "x"): 2.0}, id_type="string")
    assert view.weights.toarray().tolist() == [[2.0, 0.0], [0.0, 1.0]]


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
    storage = LocalStorage(tmp_path)
    records = Records(storage)
    catalogue = replace(put(storage, "catalogue", make_catalogue([10, 11])), digest="c")
    ingest = records.commit(draft("ingest", tables={"catalogue": catalogue}), 0)
    tables = {name: put(storage, name, content) for name, content in make_tables(BOUGHT).items()}
    pin = Input("catalogue", "c", ingest.partition, ingest.sequence)
    record = records.commit(draft("features", tables=tables, inputs=(pin,) if pinned else ()), 0)
    view = views.load(storage, records, record, data)
    expected = make_view(BOUGHT, listed=[10, 11] if pinned else None)
    assert view.day == record.day
    assert view.listed.tolist() == expected.listed.tolist()
    assert view.subcategory.tolist() == expected.subcategory.tolist()
    assert np.array_equal(view.pair.values, expected.pair.values, equal_nan=True)
