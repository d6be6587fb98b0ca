import datetime as dt

import pyarrow as pa
import pytest

from lake.dataset import read_dataset
from lake.feature_spec import FEATURES
from lake.schemas import TABLES, arrow_schema
from recommender import asof, retrieval

DAY = dt.date(2017, 9, 30)


def table(name, rows, id_type="int64"):
    """A feature table of rows of (key columns, features by name); the rest is 1."""
    schema = arrow_schema(name, id_type)
    keys = list(TABLES[name].key)
    columns = {key: [row[0][at] for row in rows] for at, key in enumerate(keys)}
    columns |= {f.name: [row[1].get(f.name, 1.0) for row in rows] for f in FEATURES[name]}
    return pa.table(columns, schema=schema)


def kind_of(item):
    return f"kind {str(item)[-1]}"


def tables_of(bought, id_type="int64"):
    """Feature tables of {(user, item): m60}; each item is of the subcategory of its last character."""
    users = sorted({user for user, _ in bought})
    items = sorted({item for _, item in bought})
    buyers = {item: [u for u, i in bought if i == item] for item in items}
    kinds = {}
    for (user, item), m60 in bought.items():
        key = user, kind_of(item)
        kinds[key] = kinds.get(key, 0) + m60
    by_user = [((user,), {"trips": 2, "trips_medium": 1}) for user in users]
    return {
        "user_features": table("user_features", by_user, id_type),
        "item_features": table(
            "item_features",
            [
                ((i,), {"users_medium": len(buyers[i]), "weight_slow": sum(bought[u, i] for u in buyers[i])})
                for i in items
            ],
            id_type,
        ),
        "user_item_features": table(
            "user_item_features",
            [(pair, {"weight_slow": m60, "due": None}) for pair, m60 in bought.items()],
            id_type,
        ),
        "user_category_features": table(
            "user_category_features", [(pair, {"weight_slow": m60}) for pair, m60 in kinds.items()], id_type
        ),
    }


def catalogue_of(items, id_type="int64"):
    kind = pa.int64() if id_type == "int64" else pa.string()
    return pa.table(
        {
            "item_id": pa.array(items, kind),
            "subcategory": pa.array([kind_of(item) for item in items], pa.string()),
        }
    )


@pytest.fixture(scope="session")
def make_tables():
    """A function: the feature tables of {(user, item): m60}."""
    return tables_of


@pytest.fixture(scope="session")
def make_catalogue():
    """A function: a catalogue of items, by their last character's subcategory, with more columns."""

    def make(items):
        empty = arrow_schema("catalogue", "int64").empty_table()
        return pa.concat_tables([empty, catalogue_of(items)], promote_options="default")

    return make


@pytest.fixture(scope="session")
def make_as_of(data):
    """A function: the day of {(user, item): m60}, with a catalogue of the items `listed`, if any."""

    def make(bought, listed=None, id_type="int64"):
        catalogue = None if listed is None else catalogue_of(listed, id_type)
        tables = tables_of(bought, id_type)
        chosen = data.model_copy(update={"id_type": id_type})
        return asof.build(
            DAY, lambda name, names: [tables[name].select(names).to_batches()], catalogue, chosen
        )

    return make


@pytest.fixture(scope="session")
def make_view(make_as_of):
    """A function: the view of all users of such a day."""

    def make(*arguments, **more):
        [block] = make_as_of(*arguments, **more).blocks()
        return block.view

    return make


@pytest.fixture(scope="session")
def data():
    shipped = read_dataset("complete_journey")
    small = {"retrieval": shipped.retrieval.model_copy(update={"factors": 4, "neighbours": 5})}
    return shipped.model_copy(update=small)


@pytest.fixture(scope="session")
def no_repeats(data):
    return data.model_copy(update={"repeats": False})


@pytest.fixture(scope="session")
def bought():
    """Purchases with a pattern: each of 12 users buys a run of 5 of 15 items, the first of them most."""
    return {
        (100 + user, 1000 + (user * 3 + step) % 15): 3.0 - step * 0.5
        for user in range(12)
        for step in range(5)
    }


@pytest.fixture(scope="session")
def view(bought, make_view):
    return make_view(bought, listed=sorted({item for _, item in bought}))


@pytest.fixture(scope="session")
def fitted(view, data):
    return retrieval.fit(view, view.weights, data.retrieval, 1)
