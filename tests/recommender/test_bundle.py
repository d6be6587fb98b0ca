import datetime as dt
import sys

import numpy as np
import pandas as pd
import pytest

from lake import layout
from lake.errors import PermanentError
from lake.storage import LocalStorage
from nightjar_reader.sequences import pass_over
from recommender import bundle as bundles
from recommender.view import Origin

DAY = dt.date(2017, 9, 30)
ORIGIN = Origin(1, "c")


@pytest.fixture
def folder(tmp_path, fitted, data):
    bundles.write(
        tmp_path / "new",
        as_of=DAY,
        outcome="promoted",
        retrieval=fitted,
        data=data,
        features=ORIGIN,
        booster=b"trees",
    )
    return tmp_path / "new"


@pytest.fixture
def bundle_id(folder):
    return bundles.digest({file.name: file.read_bytes() for file in folder.iterdir()})


@pytest.fixture
def storage(tmp_path, folder, bundle_id):
    storage = LocalStorage(tmp_path / "lake")
    bundles.put(storage, folder, bundle_id)
    return storage


def test_the_same_content_has_the_same_id(tmp_path, bundle_id, fitted, data):
    again = bundles.write(
        tmp_path / "again",
        as_of=DAY,
        outcome="promoted",
        retrieval=fitted,
        data=data,
        features=ORIGIN,
        booster=b"trees",
    )
    other = bundles.write(
        tmp_path / "other", as_of=DAY, outcome="untested", retrieval=fitted, data=data, features=ORIGIN
    )
    assert again == bundle_id
    assert other != bundle_id


def test_what_was_written_is_loaded(storage, bundle_id, fitted, data):
    found = bundles.load(storage, bundle_id)
    assert (found.as_of, found.outcome, found.baseline, found.booster) == (DAY, "promoted", None, b"trees")
    assert found.retrieval.users == fitted.users
    assert found.retrieval.items == fitted.items
    assert np.array_equal(found.retrieval.user_factors, fitted.user_factors)
    assert np.array_equal(found.retrieval.popularity, fitted.popularity)
    assert (found.retrieval.similarity != fitted.similarity).nnz == 0
    assert bundles.mismatch(found, ORIGIN) is None


def test_publishing_twice_is_fine_but_never_over_other_bytes(storage, folder, bundle_id):
    bundles.put(storage, folder, bundle_id)
    (folder / "ranker.ubj").write_bytes(b"other")
    with pytest.raises(PermanentError, match=r"ranker\.ubj is there with other bytes"):
        bundles.put(storage, folder, bundle_id)


def test_mlmodel_comes_last(folder, bundle_id):
    put = []

    class Watched(LocalStorage):
        def put_file(self, path, source):
            put.append(source.name)
            return True

    bundles.put(Watched(folder), folder, bundle_id)
    assert put[-1] == "MLmodel"
    assert sorted(put) == sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("name", ["ranker.ubj", "MLmodel"])
def test_a_bundle_that_was_changed_or_is_not_whole_is_refused(storage, bundle_id, name):
    file = storage.local(f"{layout.bundle(bundle_id)}/{name}")
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(PermanentError, match="missing, changed or added"):
        bundles.load(storage, bundle_id)
    file.write_bytes(content + b"x")
    with pytest.raises(PermanentError, match=bundle_id):
        bundles.load(storage, bundle_id)


@pytest.mark.parametrize("stray", ["README.md", "old/users.parquet", "old/x.npy", "ranker.ubj.bak"])
def test_strays_in_its_folder_change_nothing_and_are_named(storage, bundle_id, stray, caplog):
    """A note ended every training and precompute; a file in a folder did with a raw FileNotFoundError."""
    pass_over.cache_clear()
    path = f"{layout.bundle(bundle_id)}/{stray}"
    storage.put_new(path, b"notes")
    for _ in range(2):
        assert bundles.load(storage, bundle_id).booster == b"trees"
    (warning,) = caplog.records
    assert storage.uri(path) in warning.getMessage()


def test_what_mlflow_leaves_there_is_no_stray(storage, bundle_id, caplog):
    pass_over.cache_clear()
    storage.put_new(f"{layout.bundle(bundle_id)}/{bundles.MLFLOW_NOTE}", b"")
    assert bundles.load(storage, bundle_id).bundle_id == bundle_id
    assert caplog.records == []


def test_an_added_booster_is_refused(tmp_path, storage, fitted, data):
    other = bundles.write(
        tmp_path / "bare", as_of=DAY, outcome="untested", retrieval=fitted, data=data, features=ORIGIN
    )
    bundles.put(storage, tmp_path / "bare", other)
    storage.put_new(f"{layout.bundle(other)}/ranker.ubj", b"trees")
    with pytest.raises(PermanentError, match="missing, changed or added"):
        bundles.load(storage, other)


def test_all_that_is_written_is_read(folder):
    assert {file.name for file in folder.iterdir()} == bundles.FILES


def test_other_features_are_a_mismatch(storage, bundle_id, monkeypatch):
    found = bundles.load(storage, bundle_id)
    assert "features configuration" in bundles.mismatch(found, Origin(1, "of other weights"))
    assert "features version" in bundles.mismatch(found, Origin(2, "c"))
    monkeypatch.setattr(bundles, "FEATURES", ("pair.weight_slow",))
    assert "feature list" in bundles.mismatch(found, ORIGIN)


def test_mlflow_loads_it_and_its_lists_are_those_of_the_factors(folder, fitted, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setitem(sys.modules, "xgboost", None)
    model = mlflow.pyfunc.load_model(str(folder))
    found = model.predict(pd.DataFrame({"user_id": [103, 7]}))
    assert found["user_id"].tolist() == [103, 7]
    scores = fitted.user_factors[3].astype(np.float64) @ fitted.item_factors.T
    order = np.argsort(-scores, kind="stable")
    assert found["item_ids"][0] == fitted.items.take(order.astype(np.int32)).to_pylist()
    assert np.allclose(found["scores"][0], scores[order], rtol=1e-5, atol=1e-6)
    popular = np.argsort(-fitted.popularity, kind="stable").astype(np.int32)
    assert found["item_ids"][1] == fitted.items.take(popular).to_pylist()
