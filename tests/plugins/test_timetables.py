import datetime as dt
from unittest import mock

import pendulum
import pytest
from airflow.timetables.base import TimeRestriction
from timetables import NightlyPartitionTimetable

UTC = "UTC"


def instant(text):
    return pendulum.parse(text)


def keys(timetable, first, last):
    found = timetable.iter_partition_dagrun_infos(earliest=instant(first), latest=instant(last))
    return [info.partition_key for info in found]


def next_run(timetable, now, last=None, latest=None, earliest="2017-01-01"):
    """What the scheduler would start next at a moment, without catching up."""
    restriction = TimeRestriction(instant(earliest), latest and instant(latest), catchup=False)
    with mock.patch("airflow.timetables.trigger.utcnow", return_value=instant(now)):
        return timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)


@pytest.mark.parametrize(
    "timetable",
    [
        NightlyPartitionTimetable("0 2 * * *"),
        NightlyPartitionTimetable("30 4 * * *", timezone="Asia/Taipei", days_back=2, key_format="%Y%m%d"),
    ],
)
def test_serialize_and_back_gives_the_same(timetable):
    again = NightlyPartitionTimetable.deserialize(timetable.serialize())
    assert type(again) is NightlyPartitionTimetable
    assert again.serialize() == timetable.serialize()
    now = "2017-10-01T12:00:00Z"
    assert next_run(again, now) == next_run(timetable, now)


def test_what_is_serialized():
    assert NightlyPartitionTimetable("0 2 * * *").serialize() == {
        "expression": "0 2 * * *",
        "timezone": "UTC",
        "days_back": 1,
        "key_format": "%Y-%m-%d",
    }


def test_a_tick_runs_the_midnight_partition_of_the_day_before():
    info = next_run(NightlyPartitionTimetable("0 2 * * *"), "2017-10-01T12:00:00Z")
    assert info.run_after == instant("2017-10-01T02:00:00Z")
    assert info.partition_date == instant("2017-09-30T00:00:00Z")
    assert info.partition_key == "2017-09-30"
    assert info.data_interval is None


def test_the_next_tick_follows_the_last_run():
    timetable = NightlyPartitionTimetable("0 2 * * *")
    first = next_run(timetable, "2017-10-01T12:00:00Z")
    then = next_run(timetable, "2017-10-01T12:00:00Z", last=first)
    assert (then.run_after, then.partition_key) == (instant("2017-10-02T02:00:00Z"), "2017-10-01")


def test_a_backfill_has_every_day_its_last_too():
    timetable = NightlyPartitionTimetable("0 2 * * *")
    assert keys(timetable, "2017-10-05", "2017-10-07") == ["2017-10-05", "2017-10-06", "2017-10-07"]
    assert keys(timetable, "2017-10-05", "2017-10-05") == ["2017-10-05"]


def test_scheduled_backfilled_and_triggered_runs_of_a_day_have_one_partition_date():
    timetable = NightlyPartitionTimetable("0 2 * * *")
    scheduled = next_run(timetable, "2017-10-06T12:00:00Z").partition_date
    day = instant("2017-10-05")
    (backfilled,) = timetable.iter_partition_dagrun_infos(earliest=day, latest=day)
    assert scheduled == backfilled.partition_date == timetable._decode_partition_date("2017-10-05")


def test_a_day_is_that_of_the_timezone():
    timetable = NightlyPartitionTimetable("0 2 * * *", timezone="Asia/Taipei")
    info = next_run(timetable, "2017-10-01T12:00:00Z")
    assert info.partition_key == "2017-09-30"
    assert info.partition_date == instant("2017-09-29T16:00:00Z")


def test_the_end_date_lets_the_last_partition_run_and_none_after_it():
    timetable, end = NightlyPartitionTimetable("0 2 * * *"), "2018-01-02T02:00:00Z"
    assert next_run(timetable, "2018-01-02T02:00:01Z", latest=end).partition_key == "2018-01-01"
    assert next_run(timetable, "2018-01-03T02:00:01Z", latest=end) is None
    assert next_run(timetable, dt.datetime(2026, 1, 1).isoformat(), latest=end) is None
