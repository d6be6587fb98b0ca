from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from lake.errors import PermanentError
from precompute import items
from recommender.retrieval import align


def factors(view, known):
    return items.factors(view, align(known, view))


CATALOGUE = pa.table(
    {"item_id": [40, 10, 60, 30], "name": ["d", "a", "f", "c"], "category": ["x", "x", "z", None]}
)


def test_factors_are_those_of_users_of_the_night_and_items_of_the_catalogue(view, retrieval):
    found = factors(view, retrieval)
    assert found.users.tolist() == [[1, 0], [0, 1]]
    assert found.item_ids.values.to_pylist() == [10, 40]
    assert found.items.tolist() == [[2, 0], [0, 3]]


def test_there_are_none_without_a_retrieval(view):
    assert items.factors(view, None) is None


def test_the_table_has_the_whole_catalogue_with_codes_counting_those_with_factors(view, retrieval):
    found = items.table(view, CATALOGUE, factors(view, retrieval), "int64")
    assert found.to_pylist() == [
        {"item_id": 10, "code": 0, "name": "a", "category": "x"},
        {"item_id": 30, "code": None, "name": "c", "category": None},
        {"item_id": 40, "code": 1, "name": "d", "category": "x"},
        {"item_id": 60, "code": None, "name": "f", "category": "z"},
    ]


def test_without_a_catalogue_it_has_the_items_seen(view):
    found = items.table(view, None, None, "int64")
    assert found["item_id"].to_pylist() == [10, 20, 30, 40]
    assert found["name"].null_count == found["code"].null_count == 4


def test_a_catalogue_with_an_item_twice_is_refused(view):
    with pytest.raises(PermanentError, match="1 of 5 rows"):
        items.table(view, pa.concat_tables([CATALOGUE, CATALOGUE.slice(0, 1)]), None, "int64")


def test_a_bundle_without_factors_for_the_night_is_told(view, retrieval):
    """Releases had neither factors nor index, and their manifests said nothing of it."""
    nobody = replace(retrieval, user_factors=np.zeros_like(retrieval.user_factors))
    nothing = replace(nobody, item_factors=np.zeros_like(retrieval.item_factors))
    assert items.lacking(factors(view, retrieval), view) == ()
    (told,) = items.lacking(factors(view, nobody), view)
    assert told == "the bundle has factors of none of 3 users: no list is by them"
    (told,) = items.lacking(factors(view, nothing), view)
    assert told.startswith("the bundle has factors of none of 3 items: this release has no factors, no index")
