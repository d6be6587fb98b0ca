import datetime as dt
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lake import partitions
from lake.errors import PermanentError


def run(key=None, conf=None):
    return {"dag_run": SimpleNamespace(partition_key=key, conf=conf)}


def test_the_partition_key_comes_before_the_configuration():
    assert partitions.resolve(run("2017-09-30", {"partition": "2017-01-01"})) == dt.date(2017, 9, 30)
    assert partitions.resolve(run(None, {"partition": "2017-01-01"})) == dt.date(2017, 1, 1)


@pytest.mark.parametrize(
    "context", [run(), run(conf={}), {}, {"dag_run": SimpleNamespace(logical_date="2017-09-30")}]
)
def test_a_run_without_a_partition_is_refused_and_told_how_to_pass_one(context):
    with pytest.raises(PermanentError, match=r'trigger it with a partition key.*\{"partition"'):
        partitions.resolve(context)


@pytest.mark.parametrize("text", ["2017-9-30", "20170930", "2017-02-30", "yesterday", "2017-09-30T00:00"])
def test_only_a_whole_day_is_a_partition(text):
    with pytest.raises(PermanentError, match="expected YYYY-MM-DD"):
        partitions.parse(text)


def test_days_include_both_ends_and_leap_days():
    got = list(partitions.days(dt.date(2020, 2, 28), dt.date(2020, 3, 1)))
    assert got == [dt.date(2020, 2, 28), dt.date(2020, 2, 29), dt.date(2020, 3, 1)]


def test_a_day_ends_at_the_next_midnight_of_its_zone():
    day = dt.date(2017, 12, 31)
    assert partitions.end_of(day, "UTC") == dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
    assert partitions.begin_of(day, "America/New_York") == dt.datetime(2017, 12, 31, 5, tzinfo=dt.UTC)
    assert partitions.end_of(day, "Asia/Kolkata") == dt.datetime(2017, 12, 31, 18, 30, tzinfo=dt.UTC)


# Zones whose clocks change at midnight, over midnight, by half an hour, by a day, or not at all.
ZONES = [
    *("UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "Etc/GMT-2"),
    *("America/Sao_Paulo", "America/Havana", "America/St_Johns", "America/Scoresbysund", "Asia/Beirut"),
    *("Pacific/Apia", "Asia/Gaza", "Africa/Casablanca", "Atlantic/Azores", "Antarctica/Casey"),
]
FIRST, LAST = dt.datetime(1970, 1, 2), dt.datetime(2037, 12, 30)


@given(st.sampled_from(ZONES), st.datetimes(FIRST, LAST, timezones=st.just(dt.UTC)))
@example("America/St_Johns", dt.datetime(2010, 11, 7, 3, tzinfo=dt.UTC))
@example("Pacific/Apia", dt.datetime(2011, 12, 30, 10, tzinfo=dt.UTC))
def test_an_instant_lies_in_the_day_whose_bounds_hold_it(zone, instant):
    day = partitions.day_of(instant, zone)
    assert partitions.begin_of(day, zone) <= instant < partitions.end_of(day, zone)


@given(st.sampled_from(ZONES), st.dates(FIRST.date(), LAST.date()))
@example("America/St_Johns", dt.date(2010, 11, 7))
@example("America/Sao_Paulo", dt.date(2017, 10, 15))
@example("Pacific/Apia", dt.date(2011, 12, 31))
def test_a_day_begins_when_clocks_show_it_first(zone, day):
    begin, moment = partitions.begin_of(day, zone), dt.timedelta(microseconds=1)
    assert begin.astimezone(ZoneInfo(zone)).date() >= day > (begin - moment).astimezone(ZoneInfo(zone)).date()
    assert partitions.day_of(begin - moment, zone) < day <= partitions.day_of(begin, zone)


@pytest.mark.parametrize(
    ("zone", "day", "hours", "not_shown"),
    [
        ("UTC", dt.date(2024, 3, 31), 24, []),
        ("Europe/Berlin", dt.date(2024, 3, 31), 23, ["02"]),
        ("Europe/Berlin", dt.date(2024, 10, 27), 25, []),
        ("America/Sao_Paulo", dt.date(2017, 10, 15), 23, ["00"]),
        ("America/Scoresbysund", dt.date(2023, 3, 26), 23, ["00"]),
        ("Australia/Lord_Howe", dt.date(2024, 10, 6), 23.5, []),  # half of 02 is there
        ("America/St_Johns", dt.date(2010, 11, 6), 24, []),  # the hour behind it is of the next day
        ("America/St_Johns", dt.date(2010, 11, 7), 25, []),
        ("Pacific/Apia", dt.date(2011, 12, 30), 0, list(partitions.HOURS)),
    ],
)
def test_a_day_is_as_long_as_its_clocks_say(zone, day, hours, not_shown):
    length = partitions.end_of(day, zone) - partitions.begin_of(day, zone)
    assert length == dt.timedelta(hours=hours)
    assert sorted({*partitions.HOURS} - {*partitions.hours_of(day, zone)}) == not_shown
