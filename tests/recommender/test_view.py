import datetime as dt
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lake.feature_spec import FEATURES
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
    assert view.subcategory.tolist() == [-1, 0, 1]  # kinds are those that an item has


def test_without_a_catalogue_everything_is_listed(make_view):
    view = make_view(BOUGHT)
    assert view.listed.all()
    assert view.subcategory.tolist() == [-1, -1, -1]


def test_strings_work_as_ids(make_view):
    view = make_view({("b", "y"): 1.0, ("a", "x"): 2.0}, id_type="string")
    assert view.weights.toarray().tolist() == [[2.0, 0.0], [0.0, 1.0]]
