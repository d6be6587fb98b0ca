import logging
from dataclasses import replace

import pytest

from lake import layout
from lake.storage import LocalStorage
from recommender import bundle, retrieval
from training import registry
from training.registry import ALIAS, Version, model_name

NAME = model_name("small")
OLD = Version("bundle-old", "2017-09-29", "promoted", "file:///nowhere/old", {"ndcg": "0.30"})
NEW = Version("bundle-new", "2017-09-30", "promoted", "file:///nowhere/new", {"ndcg": "0.31"})


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """An empty SQLite store; creating one takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "fresh.db"
    registry.load()
    registry._client(f"sqlite:///{path}").search_registered_models()
    return path


@pytest.fixture
def uri(database, tmp_path):
    copy = tmp_path / "mlflow.db"
    copy.write_bytes(database.read_bytes())
    return f"sqlite:///{copy}"


def versions(uri):
    found = registry._client(uri).search_model_versions(f"name = '{NAME}'")
    return {version.version: version.tags for version in found}


def aliased(uri):
    return registry._client(uri).get_model_version_by_alias(NAME, ALIAS).tags["bundle_id"]


def test_a_bundle_is_registered_once_with_all_its_tags(uri):
    assert registry.mirror(uri, "small", lambda: [NEW]) == {"bundle-new": "1"}
    assert registry.mirror(uri, "small", lambda: [NEW]) == {"bundle-new": "1"}
    assert list(versions(uri).values()) == [
        {"ndcg": "0.31", "bundle_id": "bundle-new", "as_of": "2017-09-30", "outcome": "promoted"}
    ]
    assert aliased(uri) == "bundle-new"


def test_what_earlier_nights_could_not_register_is_registered_once_oldest_first(uri):
    for _ in range(2):
        assert registry.mirror(uri, "small", lambda: [OLD, NEW]) == {"bundle-old": "1", "bundle-new": "2"}
    assert len(versions(uri)) == 2
    assert aliased(uri) == "bundle-new"


def test_versions_are_found_on_every_page(uri, monkeypatch):
    registry.mirror(uri, "small", lambda: [OLD, NEW])
    monkeypatch.setattr(registry, "_PAGE", 1)
    registry.mirror(uri, "small", lambda: [OLD, NEW])
    assert len(versions(uri)) == 2


def test_a_store_that_another_process_holds_is_left_in_time_for_the_next_night(uri, monkeypatch, caplog):
    monkeypatch.setattr(registry, "SECONDS", 0.2)
    with registry._alone(uri), caplog.at_level(logging.WARNING):
        assert registry.mirror(uri, "small", lambda: [OLD, NEW]) == {}
    assert "is behind (TimeoutError)" in caplog.text
    monkeypatch.undo()
    assert registry.mirror(uri, "small", lambda: [OLD, NEW]) == {"bundle-old": "1", "bundle-new": "2"}


def test_of_two_versions_of_a_bundle_the_lower_stays(uri):
    registry.mirror(uri, "small", lambda: [OLD])
    client = registry._client(uri)
    for _ in range(2):
        client.create_model_version(NAME, source=NEW.source, tags=NEW.all_tags)
    assert registry.mirror(uri, "small", lambda: [OLD, NEW]) == {"bundle-old": "1", "bundle-new": "2"}
    assert sorted(map(str, versions(uri))) == ["1", "2"]


def test_the_alias_never_moves_to_an_older_day(uri):
    registry.mirror(uri, "small", lambda: [NEW])
    registry.mirror(uri, "small", lambda: [OLD])
    assert len(versions(uri)) == 2
    assert aliased(uri) == "bundle-new"


def test_the_alias_follows_the_records_while_they_move(uri):
    """Another night commits between our look at the records and our setting of the alias."""
    answers = iter([[OLD], [OLD], [OLD, NEW], [OLD, NEW], [OLD, NEW]])
    registry.mirror(uri, "small", lambda: next(answers))
    assert aliased(uri) == "bundle-new"


def test_a_night_without_a_champion_sets_no_alias(uri):
    baseline = replace(OLD, outcome="baseline")
    registry.mirror(uri, "small", lambda: [baseline])
    assert registry._aliased(registry._client(uri), NAME) is None


def test_the_champion_is_the_newest_promoted_or_kept(uri):
    registry.mirror(uri, "small", lambda: [OLD, replace(NEW, outcome="baseline")])
    assert {tags["bundle_id"] for tags in versions(uri).values()} == {"bundle-old", "bundle-new"}
    assert aliased(uri) == "bundle-old"


def test_mlflow_being_down_is_a_warning(tmp_path, caplog):
    (tmp_path / "mlflow.db").write_text("this is no database")
    with caplog.at_level(logging.WARNING):
        registry.mirror(f"sqlite:///{tmp_path}/mlflow.db", "small", lambda: [NEW])
    assert "is behind" in caplog.text


def test_mlflow_s_password_is_not_logged(caplog, monkeypatch):
    for name, value in registry.SETTINGS.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.INFO):
        registry.mirror("http://me:secret@127.0.0.1:9", "small", lambda: [NEW])
    assert "127.0.0.1:9 is behind" in caplog.text
    assert "secret" not in caplog.text


def test_a_bundle_opened_through_mlflow_is_whole_afterwards(uri, tmp_path, make_view, data, random_pairs):
    """MLflow leaves a note in the folder of a model that it opens by name."""
    import mlflow
    import pandas as pd

    storage = LocalStorage(tmp_path / "lake")
    view = make_view(random_pairs)
    small = data.retrieval.model_copy(update={"factors": 4})
    fitted = retrieval.fit(view, view.weights, small, 1)
    bundle_id = bundle.write(
        tmp_path / "made",
        as_of=view.day,
        outcome="untested",
        retrieval=fitted,
        data=data,
        features=view.origin,
    )
    bundle.put(storage, tmp_path / "made", bundle_id)
    version = replace(NEW, bundle_id=bundle_id, source=storage.uri(layout.bundle(bundle_id)))
    registry.mirror(uri, "small", lambda: [version])
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    found = mlflow.pyfunc.load_model(f"models:/{NAME}@{ALIAS}").predict(pd.DataFrame({"user_id": [1, 2]}))
    assert found["user_id"].tolist() == [1, 2]
    assert all(len(items) for items in found["item_ids"])
    assert bundle.load(storage, bundle_id).bundle_id == bundle_id
