from dataclasses import replace

import numpy as np
import pytest

from recommender.candidates import Candidates, candidates
from recommender.matrix import FEATURES, matrix
from recommender.retrieval import fit


def everything(view):
    """Every user with every item."""
    users, items = len(view.users), len(view.items)
    return Candidates(
        np.arange(users + 1, dtype=np.int64) * items,
        np.tile(np.arange(items, dtype=np.int32), users),
        np.ones(users, bool),
    )


def column(found, view, name):
    return found[:, FEATURES.index(name)].reshape(len(view.users), len(view.items))


@pytest.fixture
def shop(make_view):
    return make_view({(1, 10): 3.0, (1, 20): 1.0, (1, 11): 2.0, (2, 11): 4.0}, listed=[10, 11])


@pytest.fixture
def features(shop, data):
    found = fit(shop, shop.weights, data.retrieval, 1)
    return matrix(shop, found, np.array([0, 1], np.int32), everything(shop))


def test_there_is_a_column_for_each_feature_and_none_twice(features):
    assert features.shape == (6, len(FEATURES))
    assert features.dtype == np.float32
    assert len(set(FEATURES)) == len(FEATURES)


def test_pairs_are_gathered_and_missing_ones_absent(features, shop):
    assert column(features, shop, "pair.weight_slow").tolist() == [[3, 2, 1], [0, 4, 0]]
    assert np.isnan(column(features, shop, "pair.days_since_last")).tolist() == [
        [False] * 3,
        [True, False, True],
    ]


def test_categories_reach_items_that_the_user_never_bought(make_view, data):
    view = make_view({(1, 10): 3.0, (2, 20): 1.0, (2, 11): 1.0}, listed=[10, 20, 11])
    retrieval = fit(view, view.weights, data.retrieval, 1)
    found = matrix(view, retrieval, np.array([0], np.int32), one_user(view))
    assert column_of(found, "category.weight_slow") == [3, 0, 3]
    assert column_of(found, "category_share") == [1, 0, 0]


def one_user(view):
    whole = everything(view)
    return Candidates(whole.indptr[:2], whole.items[: len(view.items)], whole.personal[:1])


def column_of(found, name):
    return found[:, FEATURES.index(name)].tolist()


def test_an_item_without_a_subcategory_has_no_category(features, shop):
    assert column(features, shop, "category.weight_slow")[:, 2].tolist() == [0, 0]


def test_users_and_items_are_gathered(features, shop):
    assert (column(features, shop, "user.trips") == 2).all()
    assert column(features, shop, "item.users_medium").tolist() == [[1, 2, 1]] * 2


def test_rates_are_per_trip(features, shop):
    assert column(features, shop, "rate").tolist() == [[0.5, 0.5, 0.5], [0, 0.5, 0]]
    assert column(features, shop, "rate_medium").tolist() == [[0.5, 0.5, 0.5], [0, 0.5, 0]]


def test_als_is_the_dot_product_and_unknown_is_nan(view, fitted):
    holed = replace(fitted, user_factors=fitted.user_factors.copy())
    holed.user_factors[1] = 0
    found = matrix(view, holed, np.arange(len(view.users), dtype=np.int32), everything(view))
    expected = holed.user_factors @ holed.item_factors.T
    expected[1] = np.nan
    assert np.allclose(column(found, view, "als"), expected, rtol=1e-4, atol=1e-6, equal_nan=True)


def test_item_item_is_the_product_with_the_similarity(view, fitted):
    found = matrix(view, fitted, np.arange(len(view.users), dtype=np.int32), everything(view))
    product = (view.weights @ fitted.similarity).toarray()
    assert np.allclose(column(found, view, "item_item"), product, rtol=1e-5)


def test_rows_of_some_users_are_those_rows(view, fitted, data):
    users = np.array([7, 2], np.int32)
    found = candidates(view, fitted, data, users)
    all_rows = matrix(view, fitted, np.arange(len(view.users), dtype=np.int32), everything(view))
    expected = all_rows[users[found.rows] * len(view.items) + found.items]
    assert np.array_equal(matrix(view, fitted, users, found), expected, equal_nan=True)
