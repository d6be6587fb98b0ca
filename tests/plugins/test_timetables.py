import datetime as dt
from unittest import mock

import pendulum
import pytest
from airflow.timetables.base import TimeRestriction
from timetables import NightlyPartitionTimetable

from lake.partitions import days, end_of

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


def backfilled(zone, first, last):
    """The partition dates that a backfill of some days makes, by key."""
    infos = NightlyPartitionTimetable("0 2 * * *", timezone=zone).iter_partition_dagrun_infos(
        earliest=instant(first), latest=instant(last)
    )
    return {info.partition_key: info.partition_date for info in infos}


def scheduled(zone, first, nights):
    """The ticks that the scheduler makes one after the other, with their partitions, as text."""
    timetable, found = NightlyPartitionTimetable("0 2 * * *", timezone=zone), []
    info = next_run(timetable, first)
    for _ in range(nights):
        found.append(f"{info.run_after:%Y-%m-%dT%H:%MZ} {info.partition_key} {info.partition_date:%dT%H:%MZ}")
        info = next_run(timetable, first, last=info)
    return found


@pytest.mark.parametrize(
    ("zone", "first", "runs"),
    [
        (  # 02:00 is skipped on the 10th
            "America/New_York",
            "2024-03-09T12:00:00Z",
            [
                "2024-03-09T07:00Z 2024-03-08 08T05:00Z",
                "2024-03-10T07:00Z 2024-03-09 09T05:00Z",
                "2024-03-11T06:00Z 2024-03-10 10T05:00Z",
                "2024-03-12T06:00Z 2024-03-11 11T04:00Z",
            ],
        ),
        (
            "America/New_York",
            "2024-11-02T12:00:00Z",
            [
                "2024-11-02T06:00Z 2024-11-01 01T04:00Z",
                "2024-11-03T07:00Z 2024-11-02 02T04:00Z",
                "2024-11-04T07:00Z 2024-11-03 03T04:00Z",
                "2024-11-05T07:00Z 2024-11-04 04T05:00Z",
            ],
        ),
        (  # 02:00 comes twice on the 27th: the second
            "Europe/Berlin",
            "2024-10-26T12:00:00Z",
            [
                "2024-10-26T00:00Z 2024-10-25 24T22:00Z",
                "2024-10-27T01:00Z 2024-10-26 25T22:00Z",
                "2024-10-28T01:00Z 2024-10-27 26T22:00Z",
                "2024-10-29T01:00Z 2024-10-28 27T23:00Z",
            ],
        ),
        (  # midnight is skipped on the 15th
            "America/Sao_Paulo",
            "2017-10-14T12:00:00Z",
            [
                "2017-10-14T05:00Z 2017-10-13 13T03:00Z",
                "2017-10-15T04:00Z 2017-10-14 14T03:00Z",
                "2017-10-16T04:00Z 2017-10-15 15T03:00Z",
                "2017-10-17T04:00Z 2017-10-16 16T02:00Z",
            ],
        ),
    ],
)
def test_each_day_has_one_tick_also_where_clocks_change(zone, first, runs):
    assert scheduled(zone, first, len(runs)) == runs
    by_key = {run.split()[1]: run.split()[2] for run in runs}
    dates = backfilled(zone, f"{min(by_key)}T00:00:00Z", f"{max(by_key)}T00:00:00Z")
    assert {key: f"{date:%dT%H:%MZ}" for key, date in dates.items()} == by_key
    timetable = NightlyPartitionTimetable("0 2 * * *", timezone=zone)
    assert {key: timetable._decode_partition_date(key) for key in by_key} == dates


@pytest.mark.parametrize(
    "zone", ["UTC", "America/New_York", "Europe/Berlin", "America/Sao_Paulo", "Asia/Tokyo"]
)
def test_the_last_day_of_a_data_set_has_its_tick_whatever_the_clocks_do(zone):
    """Also that before a change: the tick may be three hours behind midnight."""
    for last in days(dt.date(2017, 1, 1), dt.date(2017, 12, 30)):
        end = end_of(last, zone) + dt.timedelta(hours=3)
        later = f"{end + dt.timedelta(hours=6)}"
        info = next_run(NightlyPartitionTimetable("0 2 * * *", timezone=zone), later, latest=f"{end}")
        assert info.partition_key == str(last)
