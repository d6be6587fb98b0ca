import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from lake.dataset import Dataset, read_dataset
from lake.feature_spec import FEATURES
from lake.schemas import TABLES
from recommender import asof
from recommender.asof import AsOf
from recommender.view import View

DAY = dt.date(2017, 9, 30)


def feature_table(table: str, keys: dict[str, list], **columns: list[float]) -> pa.Table:
    """A feature table in which every feature that is not given is 1."""
    rows = len(next(iter(keys.values())))
    arrays = {name: pa.array(keys[name]) for name in TABLES[table].key}
    for feature in FEATURES[table]:
        arrays[feature.name] = pa.array(columns.get(feature.name, [1.0] * rows), pa.float32())
    return pa.table(arrays)


def build_as_of(pairs: dict[tuple, float], day: dt.date = DAY) -> AsOf:
    """A day from decayed purchases by (user, item); every item is of one subcategory."""
    users = sorted({user for user, _ in pairs})
    items = sorted({item for _, item in pairs})
    buyers = [float(len({u for u, i in pairs if i == item})) for item in items]
    found = {
        "user_features": feature_table("user_features", {"user_id": users}),
        "item_features": feature_table(
            "item_features", {"item_id": items}, users=buyers, users_medium=buyers
        ),
        "user_item_features": feature_table(
            "user_item_features",
            {"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs]},
            weight_slow=list(pairs.values()),
        ),
        "user_category_features": feature_table(
            "user_category_features", {"user_id": users, "subcategory": ["all"] * len(users)}
        ),
    }
    catalogue = pa.table({"item_id": items, "subcategory": ["all"] * len(items)})

    def files(name: str, columns: list[str]) -> list[list[pa.RecordBatch]]:
        return [found[name].select(columns).to_batches()]

    return asof.build(day, files, catalogue, read_dataset("complete_journey"))


def build_view(*arguments) -> View:
    """The view of all users of such a day."""
    [block] = build_as_of(*arguments).blocks()
    return block.view


def build_events(rows: list[tuple]) -> pa.Table:
    """Label events from (user, item, stamp)."""
    users, items, stamps = zip(*rows, strict=True)
    return pa.table(
        {
            "user_id": pa.array(users),
            "item_id": pa.array(items),
            "event_ts": pa.array(stamps, pa.timestamp("us", tz="UTC")),
        }
    )


@pytest.fixture
def data() -> Dataset:
    return read_dataset("complete_journey")


@pytest.fixture
def random_pairs() -> dict[tuple, float]:
    """60 users with about 12 of 80 items each."""
    rng = np.random.default_rng(0)
    return {
        (user, int(item)): float(rng.uniform(0.1, 3))
        for user in range(1, 61)
        for item in rng.choice(np.arange(100, 180), 12, replace=False)
    }


@pytest.fixture
def make_as_of():
    return build_as_of


@pytest.fixture
def make_view():
    return build_view


@pytest.fixture
def make_events():
    return build_events
