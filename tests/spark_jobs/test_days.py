"""Days by SQL are those of Python, so that the tz databases of both have to agree."""

import datetime as dt
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from lake.partitions import ONE_DAY, begin_of, begin_sql, day_of, day_sql, days

ZONES = [
    *("America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "Etc/GMT-2"),
    *("America/Sao_Paulo", "America/Havana", "America/St_Johns", "America/Scoresbysund", "Asia/Beirut"),
    *("Pacific/Apia", "Atlantic/Azores", "Europe/Lisbon", "Asia/Tokyo", "Africa/Tunis"),
]
MONTH = dt.timedelta(days=28)


def changes(zone):
    """Days around each change of a zone's clocks, from 1970 to 2037."""
    found, day = {dt.date(1970, 1, 2)}, dt.date(1970, 1, 2)
    while day < dt.date(2037, 12, 1):
        after = day + MONTH
        offsets = [dt.datetime.combine(at, dt.time(), ZoneInfo(zone)).utcoffset() for at in (day, after)]
        if offsets[0] != offsets[1]:
            found |= {
                at for at in days(day, after) if begin_of(at + ONE_DAY, zone) - begin_of(at, zone) != ONE_DAY
            }
        day = after
    return sorted({at + near * ONE_DAY for at in found for near in (-1, 0, 1, 2)})


@pytest.mark.spark
def test_spark_has_the_days_of_python(spark):
    for zone in ZONES:
        asked = changes(zone)
        frame = spark.createDataFrame(pa.table({"day": asked}))
        begins = [row[0] for row in frame.selectExpr(f"unix_micros({begin_sql('day', zone)})").collect()]
        assert begins == [_micros(begin_of(day, zone)) for day in asked], zone
        near = [
            begin_of(day, zone) + dt.timedelta(minutes=minutes)
            for day in asked
            for minutes in range(-61, 62, 20)
        ]
        frame = spark.createDataFrame(pa.table({"at": pa.array(near, pa.timestamp("us", "UTC"))}))
        found = [row[0] for row in frame.selectExpr(day_sql("at", zone)).collect()]
        assert found == [day_of(at, zone) for at in near], zone


def _micros(instant):
    return (instant - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
