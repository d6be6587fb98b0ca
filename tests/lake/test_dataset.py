import datetime as dt
import json

import pytest

from lake.dataset import CONFIG_DIR, digest_of, of_sections, read_dataset
from lake.errors import ConfigError, PermanentError


def test_the_default_data_set():
    data = read_dataset("complete_journey")
    assert (data.first_day, data.last_day) == (dt.date(2017, 1, 1), dt.date(2018, 1, 1))
    assert data.raw.closed_days == (dt.date(2017, 12, 25),)


def test_an_unknown_data_set_names_the_file_it_looked_for():
    with pytest.raises(ConfigError, match=r"'nothing'.*config/nothing\.toml"):
        read_dataset("nothing")


@pytest.fixture
def toml(tmp_path):
    def write(change):
        text = change((CONFIG_DIR / "complete_journey.toml").read_text())
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
        read_dataset(path)
    assert path in str(error.value)


def test_a_digest_covers_its_sections_alone(toml):
    path = toml(lambda text: text.replace("rounds = 120", "rounds = 121"))
    one, other = read_dataset("complete_journey"), read_dataset(path)
    assert digest_of(one.chosen(["raw", "rules"])) == digest_of(other.chosen(["rules", "raw"]))
    assert digest_of(one.chosen(["ranker"])) != digest_of(other.chosen(["ranker"]))


def test_a_day_outside_the_data_set_or_not_over_yet_is_refused():
    data = read_dataset("complete_journey")
    assert data.require_day(dt.date(2018, 1, 1)) == dt.date(2018, 1, 1)
    with pytest.raises(PermanentError, match=r"2018-01-02 is outside.*expected 2017-01-01 to 2018-01-01"):
        data.require_day(dt.date(2018, 1, 2))
    with pytest.raises(PermanentError, match=r"expected 2017-01-01 to 2017-06-01"):
        data.require_day(dt.date(2017, 6, 2), today=dt.date(2017, 6, 2))


def test_a_day_s_file_has_no_unknown_field(toml):
    data = read_dataset("complete_journey")
    assert data.raw.path(dt.date(2017, 9, 30)) == "transactions/2017-09-30.parquet"
    assert data.catalogue.path(dt.date(2017, 1, 1)) == "catalogue/2017-01-01.parquet"
    with pytest.raises(ConfigError, match="no other field"):
        read_dataset(
            toml(lambda text: text.replace("{partition}.parquet", "{partition:%Y}/{partition}.parquet", 1))
        )


def test_some_sections_alone_are_as_they_were_and_no_other_can_be_read():
    whole = read_dataset("complete_journey")
    some = of_sections(json.loads(json.dumps(whole.chosen(["raw", "events", "id_type", "lists"]))))
    assert (some.raw, some.events, some.id_type, some.lists) == (
        whole.raw,
        whole.events,
        whole.id_type,
        whole.lists,
    )
    assert some.chosen(["raw"]) == whole.chosen(["raw"])
    with pytest.raises(AttributeError, match="ranker"):
        _ = some.ranker


def test_stamps_are_of_the_zone_of_the_days_where_nothing_else_is_said(toml):
    def of(zone, timezone):
        head, stamps = f'zone = "{zone}"' if zone else "", f'timezone = "{timezone}"' if timezone else ""
        shipped = 'timezone = "UTC"            # of stamps without a zone'
        data = read_dataset(toml(lambda text: f"{head}\n{text.replace(shipped, stamps, 1)}"))
        return data.zone, data.raw.timezone

    assert of("", "") == ("UTC", "UTC")
    assert of("Europe/Berlin", "") == ("Europe/Berlin", "Europe/Berlin")
    assert of("Europe/Berlin", "UTC") == ("Europe/Berlin", "UTC")
    assert of("", "Europe/Berlin") == ("UTC", "Europe/Berlin")


def test_the_default_zone_is_in_no_digest_and_any_other_is(toml):
    """Each record of each data set would have become stale."""
    names = ["zone", "events"]
    plain = read_dataset("complete_journey")
    told, other = (
        read_dataset(toml(lambda text, zone=zone: f'zone = "{zone}"\n{text}'))
        for zone in ("UTC", "Europe/Berlin")
    )
    assert (
        digest_of(plain.chosen(names)) == digest_of(told.chosen(names)) == digest_of(plain.chosen(["events"]))
    )
    assert digest_of(other.chosen(names)) != digest_of(plain.chosen(names))
    assert of_sections(plain.chosen(names)).zone == "UTC"
    with pytest.raises(AttributeError, match="zone"):  # a stage that does not name it reads none
        _ = of_sections(plain.chosen(["events"])).zone


def test_a_plan_of_a_zone_that_a_worker_does_not_know_is_refused_by_its_key():
    sections = read_dataset("complete_journey").chosen(["raw"])
    sections["raw"]["timezone"] = "America/Newtown"
    with pytest.raises(ConfigError, match=r"configuration of a plan: raw\.timezone: .*America/Newtown"):
        of_sections(sections)
