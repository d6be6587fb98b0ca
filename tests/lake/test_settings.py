import datetime as dt

import pytest
from pydantic import ValidationError

from lake import cores, memory
from lake.errors import ConfigError
from lake.settings import Settings, Waits, load


def test_everything_lies_in_the_home_unless_told_otherwise(tmp_path, monkeypatch):
    for name in ("LAKE", "RAW", "RELEASES", "MLFLOW_URI"):
        monkeypatch.delenv(f"NIGHTJAR_{name}", raising=False)
    monkeypatch.setenv("NIGHTJAR_HOME", str(tmp_path))
    found = load()
    assert found.lake == f"file://{tmp_path}/lake"
    assert found.raw == f"file://{tmp_path}/lake/raw"
    assert found.releases == f"file://{tmp_path}/lake/published"
    assert found.mlflow_uri == f"sqlite:///{tmp_path}/mlflow.db"


def test_raw_and_releases_follow_the_lake(monkeypatch):
    for name in ("RAW", "RELEASES"):
        monkeypatch.delenv(f"NIGHTJAR_{name}", raising=False)
    monkeypatch.setenv("NIGHTJAR_LAKE", "file:///elsewhere")
    assert (load().raw, load().releases) == ("file:///elsewhere/raw", "file:///elsewhere/published")


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().lake = "file:///other"


def test_a_wrong_value_is_named(monkeypatch):
    monkeypatch.setenv("NIGHTJAR_RAW_WAIT", "soon")
    with pytest.raises(ConfigError, match=r"NIGHTJAR_RAW_WAIT: .*integer.*found 'soon'"):
        load()


def test_durations_are_whole_seconds_in_the_environment(monkeypatch):
    monkeypatch.setenv("NIGHTJAR_RAW_WAIT", "90")
    settings = load()
    assert (settings.raw_wait, settings.light_timeout) == (dt.timedelta(seconds=90), dt.timedelta(minutes=30))
    assert settings.environment()["NIGHTJAR_RAW_WAIT"] == settings.redacted()["raw_wait"] == "90"
    with pytest.raises(ValidationError, match="raw_wait"):
        Settings(raw_wait=dt.timedelta(seconds=1.5))


def test_the_environment_of_settings_gives_them_again(tmp_path, monkeypatch):
    settings = Settings(home=tmp_path, lake="s3://bucket/lake", threads=3, decision_wait=dt.timedelta(days=1))
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert load() == settings


def test_a_group_is_read_alone(monkeypatch):
    monkeypatch.setenv("NIGHTJAR_PORT", "none")
    monkeypatch.setenv("NIGHTJAR_HISTORY_WAIT", "0")
    assert Waits().history_wait == dt.timedelta()


def test_places_come_first_and_the_port_last():
    assert [*Settings.model_fields][:2] == ["home", "dataset"]
    assert [*Settings.model_fields][-1] == "port"


def test_all_wrong_values_are_named_at_once(monkeypatch):
    monkeypatch.setenv("NIGHTJAR_POKE_INTERVAL", "0")
    monkeypatch.setenv("NIGHTJAR_SPARK_MASTER", "here")
    with pytest.raises(ConfigError, match=r"NIGHTJAR_POKE_INTERVAL: .*found '0'; NIGHTJAR_SPARK_MASTER: "):
        load()


def test_secrets_in_addresses_are_not_shown(monkeypatch):
    monkeypatch.setenv("NIGHTJAR_MLFLOW_URI", "postgresql://me:secret@db/mlflow")
    assert load().redacted()["mlflow_uri"] == "postgresql://***@db/mlflow"


@pytest.mark.parametrize("told", ["{0}", "{0}/", "file://{0}", "file://{0}/"])
def test_a_place_has_one_spelling(tmp_path, told):
    settings = Settings(lake=told.format(tmp_path / "a b"))
    assert settings.lake == (tmp_path / "a b").as_uri()
    assert settings.raw == f"{settings.lake}/raw"


def test_relative_places_are_made_absolute_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings(home="home", lake="lake", dataset="my.toml")
    assert settings.home == tmp_path / "home"
    assert settings.lake == (tmp_path / "lake").as_uri()
    assert settings.dataset == str(tmp_path / "my.toml")


def test_spark_takes_what_the_machine_has_unless_told_otherwise(monkeypatch):
    for name in ("MASTER", "MEMORY"):
        monkeypatch.delenv(f"NIGHTJAR_SPARK_{name}", raising=False)
    monkeypatch.setattr(cores, "count", lambda: 6)
    monkeypatch.setattr(memory, "limit", lambda: 12 * 2**30)
    assert (load().spark_master, load().spark_memory) == ("local[6]", "4096m")
    monkeypatch.setenv("NIGHTJAR_SPARK_MASTER", "local[*]")
    monkeypatch.setenv("NIGHTJAR_SPARK_MEMORY", "5g")
    assert (load().spark_master, load().spark_memory) == ("local[*]", "5g")
