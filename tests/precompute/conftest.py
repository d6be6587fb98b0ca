import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from lake.dataset import read_dataset
from recommender import view as views
from recommender.asof import AsOf, Block
from recommender.ids import Ids
from recommender.retrieval import Retrieval

DAY = dt.date(2017, 9, 30)
USERS, ITEMS = [7, 8, 9], [10, 20, 30, 40]


def make_view(users, items, listed):
    """A night whose feature values do not matter, but that item k has 10 - k recent users."""
    from lake.feature_spec import FEATURES

    def ones(name, rows):
        return np.ones((rows, len(FEATURES[name])), np.float32)

    item = ones("item_features", len(items))
    at = [feature.name for feature in FEATURES["item_features"]].index("users_medium")
    item[:, at] = 10 - np.arange(len(items))
    return views.View(
        day=DAY,
        users=Ids(pa.array(users)),
        items=Ids(pa.array(items)),
        user=ones("user_features", len(users)),
        item=item,
        pair=views.FeatureRows(np.arange(1), ones("user_item_features", 2)),
        category=views.FeatureRows(np.arange(1), ones("user_category_features", 2)),
        categories=1,
        subcategory=np.zeros(len(items), np.int32),
        listed=np.isin(items, listed),
    )


@pytest.fixture
def view():
    """Users 7, 8, 9; items 10 to 40, of which the catalogue lacks 20."""
    return make_view(USERS, ITEMS, [10, 30, 40])


@pytest.fixture
def block(view):
    """All users of the view."""
    return Block(np.arange(len(view.users), dtype=np.int32), view)


@pytest.fixture
def as_of(view):
    """A day of these users, whose files have no rows."""
    return AsOf(view, Ids(pa.array([], pa.string())), lambda name, columns: [], limit=200)


@pytest.fixture
def retrieval():
    """Knows users 7 and 9, and items 10, 20 and 40 (and one that the night lacks)."""
    known = [10, 20, 40, 50]
    return Retrieval(
        users=Ids(pa.array([7, 9])),
        items=Ids(pa.array(known)),
        user_factors=np.array([[1, 0], [0, 1]], np.float32),
        item_factors=np.array([[2, 0], [1, 1], [0, 3], [5, 5]], np.float32),
        similarity=csr_matrix((4, 4), dtype=np.float32),
        popularity=np.ones(4, np.float32),
    )


@pytest.fixture
def data():
    return read_dataset("complete_journey")


@pytest.fixture
def view_of():
    return make_view
