"""What a build writes, of a night in memory; whole nights are in `tests/nightjar/test_precompute.py`."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from lake.feature_spec import FEATURES
from lake.records import Input, Record, TableContent
from precompute import build as building
from recommender.bundle import Bundle
from recommender.userlists import Making
from spark_jobs.plans import PrecomputePlan


@pytest.fixture
def build(view, as_of, retrieval, data, tmp_path):
    """A function: the description of a release of the night, by a bundle of other factors."""
    tables = {name: TableContent((), 0, "d") for name in FEATURES}
    features = Record("features", str(view.day), "0" * 16, "committed", 1, "c", (), tables, sequence=1)
    pins = tuple(Input(name, "d", str(view.day), 1) for name in FEATURES)
    plan = PrecomputePlan(
        stage="precompute",
        attempt="0" * 16,
        version=1,
        sections={},
        based_on={view.day: 0},
        inputs=pins,
        lake="",
    )
    none = pa.table({"item_id": view.items.values, "name": ["a"] * 4, "category": ["b"] * 4})

    def make(**changes):
        found = replace(retrieval, **changes)
        bundle = Bundle("b" * 64, view.day, "baseline", "als", found, None, (), 1, "d", {})
        sources = building.Sources(features, None, Making(as_of, bundle, data, 1), none)
        return building._build(tmp_path, sources, plan, building._Watch())[0]

    return make


def test_a_release_by_a_bundle_that_knows_the_night_is_whole(build):
    assert not any("has factors of none" in warning for warning in build().warnings)


def test_the_manifest_tells_of_a_bundle_without_factors(build):
    """It did not: there was just no index, and every list was the popular one."""
    made = build(item_factors=np.zeros((4, 2), np.float32))
    assert made.index is None
    assert any("has factors of none of 3 items" in warning for warning in made.warnings)
