import datetime as dt

import pytest
from pydantic import ValidationError

from lake import settings as module
from lake.errors import ConfigError, PermanentError
from lake.settings import Settings, dataset, load


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


def test_secrets_in_addresses_are_not_shown(monkeypatch):
    monkeypatch.setenv("NIGHTJAR_MLFLOW_URI", "postgresql://me:secret@db/mlflow")
    assert load().redacted()["mlflow_uri"] == "postgresql://***@db/mlflow"


def test_the_default_data_set():
    data = dataset("complete_journey")
    assert (data.first_day, data.last_day) == (dt.date(2017, 1, 1), dt.date(2018, 1, 1))
    assert data.raw.closed_days == (dt.date(2017, 12, 25),)


def test_an_unknown_data_set_names_the_file_it_looked_for():
    with pytest.raises(ConfigError, match=r"'nothing'.*config/nothing\.toml"):
        dataset("nothing")


@pytest.fixture
def toml(tmp_path):
    def write(change):
        text = change((module.CONFIG_DIR / "complete_journey.toml").read_text())
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{partition}.parquet", "all.parquet", r"raw\.files: .*must contain \{partition\}"),
        ("limit = 200", "limit = 201", r"candidates\.limit: .*less than or equal to 200"),
        (
            "[rules]",
            "[rules]\nmin_row = 1",
            r"rules\.min_row: .*did you mean min_rows\?",
        ),
        ('labels = ["purchase"]', 'labels = ["click"]', r"events\.weights lacks \['click'\]"),
        ("[raw]", "[raw", "Expected"),
    ],
)
def test_a_mistake_in_the_toml_names_file_and_field(toml, old, new, message):
    path = toml(lambda text: text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message) as error:
        dataset(path)
    assert path in str(error.value)


def test_a_digest_covers_its_sections_alone(toml):
    path = toml(lambda text: text.replace("rounds = 120", "rounds = 121"))
    one, other = dataset("complete_journey"), dataset(path)
    assert one.digest(["raw", "rules"]) == other.digest(["rules", "raw"])
    assert one.digest(["ranker"]) != other.digest(["ranker"])


def test_a_day_outside_the_data_set_or_not_over_yet_is_refused():
    data = dataset("complete_journey")
    assert data.require_day(dt.date(2018, 1, 1)) == dt.date(2018, 1, 1)
    with pytest.raises(PermanentError, match=r"2018-01-02 is outside.*expected 2017-01-01 to 2018-01-01"):
        data.require_day(dt.date(2018, 1, 2))
    with pytest.raises(PermanentError, match=r"expected 2017-01-01 to 2017-06-01"):
        data.require_day(dt.date(2017, 6, 2), today=dt.date(2017, 6, 2))


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


def test_a_day_s_file_has_one_placeholder(toml):
    data = dataset("complete_journey")
    assert data.raw.path(dt.date(2017, 9, 30)) == "transactions/2017-09-30.parquet"
    assert data.catalogue.path(dt.date(2017, 1, 1)) == "catalogue/2017-01-01.parquet"
    with pytest.raises(ConfigError, match="no other field"):
        dataset(
            toml(lambda text: text.replace("{partition}.parquet", "{partition:%Y}/{partition}.parquet", 1))
        )


@pytest.mark.parametrize(("quota", "cores"), [(0, 3), (2, 2), (8, 3)])
def test_cores_are_those_allowed_up_to_the_quota(quota, cores, monkeypatch):
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {0, 4, 5})
    monkeypatch.setattr(module, "_cgroup_cores", lambda: quota)
    assert module.cores() == cores
    assert module.threads(Settings()) == cores
    assert module.threads(Settings(threads=7)) == 7
