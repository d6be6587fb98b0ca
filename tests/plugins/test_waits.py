"""The four waits: when there is nothing to wait for, since when they count, what they name."""

import datetime as dt
from pathlib import Path

import pytest
import waits

from lake.lake import Lake
from lake.partitions import days
from lake.records import Draft, Records
from lake.settings import Settings
from lake.storage import open_storage

FIRST, DAY = dt.date(2024, 1, 1), dt.date(2024, 1, 5)
CLOSED = dt.date(2024, 1, 3)
NOON = dt.datetime(2024, 1, 6, 12, tzinfo=dt.UTC)
LATER = dt.timedelta(hours=1)
WAIT = dt.timedelta(seconds=100)

TOML = """
name = "tiny"
first_day = 2024-01-01
id_type = "int64"
[raw]
files = "events/{partition}.parquet"
format = "parquet"
closed_days = [2024-01-03]
[raw.columns]
user_id = "user"
item_id = "item"
event_ts = "at"
[events]
default = "purchase"
weights = { purchase = 1.0 }
labels = ["purchase"]
"""


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TOML, encoding="utf-8")
    return Settings(
        home=tmp_path / "home",
        dataset=str(path),
        raw_wait=WAIT,
        history_wait=WAIT,
        previous_decision_wait=WAIT,
        decision_wait=WAIT,
    )


@pytest.fixture
def records(settings):
    return Records(open_storage(settings.lake))


@pytest.fixture
def commit(records, monkeypatch):
    """Put a record of a stage and day, written at a moment."""

    def put(stage, day, at=NOON, **details):
        monkeypatch.setattr("lake.records.stamp", at.isoformat)
        draft = Draft(stage, day.isoformat(), "0" * 16, "done", 1, "", details=details | {"at": str(at)})
        return records.commit(draft, records.latest(stage, day))

    return put


@pytest.fixture
def poke(settings):
    return lambda day=DAY, first=NOON, now=NOON: waits.Poke(day, Lake.open(settings), settings, first, now)


# the raw day


def test_a_raw_day_that_is_there_is_not_waited_for(settings, poke):
    open_storage(settings.raw).put_new(f"events/{DAY}.parquet", b"x")
    assert waits.raw_day(poke()) is None


@pytest.mark.parametrize(
    "told",
    ["closed_days = [2024-01-03]", 'closed_weekdays = ["wednesday"]', 'closed_calendar = "closed.txt"'],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_no_closed_day_is_waited_for_however_it_is_told(settings, poke, told, zone):
    """Also where a day has many files, and a marker."""
    toml = Path(settings.dataset)
    toml.with_name("closed.txt").write_text(f"{CLOSED} # a holiday\n", encoding="utf-8")
    files = 'files = "events/{partition}/{hour}/*.parquet"\nready = "events/{partition}/{hour}/_SUCCESS"'
    text = TOML.replace('files = "events/{partition}.parquet"', files)
    toml.write_text(f'zone = "{zone}"\n{text.replace("closed_days = [2024-01-03]", told)}', encoding="utf-8")
    found = {day: waits.raw_day(poke(day)) for day in days(FIRST, DAY)}
    assert [day for day, pending in found.items() if pending is None] == [CLOSED]


def test_a_day_is_recent_by_the_clocks_of_its_zone(settings, poke):
    """Two days after it a file is not merely late: in Tokyo they are over nine hours earlier."""

    def waits_of(zone, day):
        Path(settings.dataset).with_name(f"{zone[:4]}.toml").write_text(
            f'zone = "{zone}"\n{TOML}', encoding="utf-8"
        )
        toml = str(Path(settings.dataset).with_name(f"{zone[:4]}.toml"))
        lake = Lake.open(settings.model_copy(update={"dataset": toml}))
        now = dt.datetime(2024, 1, 6, 16, tzinfo=dt.UTC)
        return waits.raw_day(waits.Poke(day, lake, settings, now, now)).until - now

    assert waits_of("UTC", dt.date(2024, 1, 4)) == WAIT
    assert waits_of("Asia/Tokyo", dt.date(2024, 1, 4)) == dt.timedelta()
    assert waits_of("Asia/Tokyo", dt.date(2024, 1, 5)) == WAIT


def test_a_closed_day_is_not_waited_for(poke):
    assert waits.raw_day(poke(CLOSED)) is None


@pytest.mark.parametrize("age", [0, 1, 2])
def test_a_missing_raw_day_is_waited_for_from_the_first_look_and_needed(settings, poke, age):
    now = dt.datetime.combine(DAY, dt.time(23), tzinfo=dt.UTC) + dt.timedelta(days=age)
    pending = waits.raw_day(poke(first=now - LATER, now=now))
    assert pending.needed
    assert pending.until == now - LATER + WAIT
    assert pending.what == f"the raw file of {DAY}, expected at {settings.raw}/events/{DAY}.parquet"


def test_a_missing_raw_day_older_than_two_days_is_over_at_once(poke):
    now = dt.datetime.combine(DAY, dt.time(0), tzinfo=dt.UTC) + dt.timedelta(days=3)
    pending = waits.raw_day(poke(first=now, now=now))
    assert pending.needed
    assert pending.until <= now


def test_a_set_of_files_is_taken_when_its_hours_are_there_or_the_wait_ends(settings, poke):
    path = Path(settings.dataset)
    text = path.read_text(encoding="utf-8").replace("{partition}.parquet", "{partition}/{hour}/*.parquet")
    path.write_text(text, encoding="utf-8")
    raw = open_storage(settings.raw)
    assert waits.raw_day(poke()).needed
    for hour in range(23):
        raw.put_new(f"events/{DAY}/{hour:02d}/a.parquet", b"x")
    pending = waits.raw_day(poke())
    assert (pending.what, pending.until) == (f"the raw files of {DAY}, hours 23", NOON + WAIT)
    assert not pending.needed
    raw.put_new(f"events/{DAY}/23/a.parquet", b"x")
    assert waits.raw_day(poke()) is None


# history


def test_a_whole_history_is_not_waited_for(commit, poke):
    for day in days(FIRST, DAY):
        commit("ingest", day)
    assert waits.history(poke()) is None


def test_the_first_day_has_no_history_to_wait_for(poke):
    assert waits.history(poke(FIRST)) is None


def test_missing_days_are_named_closed_ones_too(commit, poke):
    commit("ingest", FIRST)
    commit("ingest", DAY)
    pending = waits.history(poke())
    assert pending.what == "the ingest records of 2024-01-02, 2024-01-03, 2024-01-04"
    assert not pending.needed


def test_of_many_missing_days_the_first_are_named(poke):
    pending = waits.history(poke(FIRST + dt.timedelta(days=9)))
    assert pending.what.endswith("2024-01-05 and 4 more days")


@pytest.mark.parametrize("latest", ["first", "own", "earlier"])
def test_history_counts_from_the_latest_of_first_look_own_record_and_newest_earlier_one(commit, poke, latest):
    at = dict.fromkeys(("first", "own", "earlier"), NOON - LATER) | {latest: NOON}
    commit("ingest", FIRST, at["earlier"])
    commit("ingest", FIRST + dt.timedelta(days=1), NOON - 2 * LATER)
    commit("ingest", DAY, at["own"])
    commit("ingest", DAY + dt.timedelta(days=1), NOON + LATER)
    assert waits.history(poke(first=at["first"])).until == NOON + WAIT


def test_days_that_the_newest_earlier_features_name_as_missing_are_not_waited_for_again(commit, poke):
    for day in (FIRST, DAY - dt.timedelta(days=1), DAY):
        commit("ingest", day)
    commit("features", DAY - dt.timedelta(days=3), missing_days=["2024-01-02"])
    assert "2024-01-03" in waits.history(poke()).what
    commit("features", DAY - dt.timedelta(days=1), missing_days=["2024-01-02", "2024-01-03"])
    assert waits.history(poke()) is None


def test_what_the_features_of_d_itself_lacked_is_waited_for(commit, poke):
    commit("ingest", DAY)
    commit("features", DAY, missing_days=[str(day) for day in days(FIRST, DAY)])
    assert waits.history(poke()) is not None


# the decision of the night before

BEFORE = DAY - dt.timedelta(days=1)


def test_no_night_before_is_nothing_to_wait_for(poke):
    assert waits.previous_decision(poke()) is None


def test_the_newest_night_before_is_waited_for_until_it_is_decided(records, poke):
    records.mark_decided(BEFORE, records.open_night(BEFORE))
    assert waits.previous_decision(poke()) is None
    again = records.open_night(BEFORE)
    pending = waits.previous_decision(poke())
    assert (pending.what, pending.needed) == (f"the decision of night 2 of {BEFORE}", False)
    records.mark_decided(BEFORE, again)
    assert waits.previous_decision(poke()) is None


@pytest.mark.parametrize("latest", ["first", "decision"])
def test_previous_decision_counts_from_the_later_of_first_look_and_newest_decision_before(
    records, commit, poke, latest
):
    at = dict.fromkeys(("first", "decision"), NOON - LATER) | {latest: NOON}
    records.open_night(BEFORE)
    commit("train", FIRST, at["decision"])
    commit("train", DAY, NOON + LATER)
    assert waits.previous_decision(poke(first=at["first"])).until == NOON + WAIT


# the decision of this night


@pytest.mark.parametrize("state", ["success", "failed", "skipped", "upstream_failed", "removed"])
def test_a_decide_that_has_ended_is_not_waited_for(poke, state):
    assert waits.decision(poke(), state) is None


@pytest.mark.parametrize("state", [None, "scheduled", "queued", "running", "up_for_retry", "restarting"])
def test_a_decide_that_has_not_ended_is_waited_for(poke, state):
    pending = waits.decision(poke(), state)
    assert (pending.until, pending.needed) == (NOON + WAIT, False)


@pytest.mark.parametrize("latest", ["first", "features", "decision"])
def test_decision_counts_from_the_latest_of_first_look_features_and_newest_decision_before(
    commit, poke, latest
):
    at = dict.fromkeys(("first", "features", "decision"), NOON - LATER) | {latest: NOON}
    commit("features", DAY, at["features"])
    commit("train", BEFORE, at["decision"])
    commit("train", DAY, NOON + LATER)
    assert waits.decision(poke(first=at["first"]), "running").until == NOON + WAIT
