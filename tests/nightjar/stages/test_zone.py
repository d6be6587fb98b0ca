"""A shop whose days are those of New York, over the night in which clocks change."""

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lake import tables
from lake.names import TableName
from lake.partitions import begin_of, days, end_of
from nightjar.stages import attempt as attempts
from nightjar.stages.features import Features
from nightjar.stages.ingest import Ingest

NEW_YORK = "America/New_York"
FIRST, LAST = dt.date(2024, 3, 4), dt.date(2024, 3, 17)
CHANGE = dt.date(2024, 3, 10)  # of 23 hours
NEXT = CHANGE + dt.timedelta(days=1)
CLOSED = LAST
AUTUMN = dt.date(2024, 11, 3)  # of 25 hours
HOUR, MOMENT = dt.timedelta(hours=1), dt.timedelta(microseconds=1)


def instants(day):
    """The first moment of each hour of a day, and its last."""
    begin, end = begin_of(day, NEW_YORK), end_of(day, NEW_YORK)
    return [*(begin + hour * HOUR for hour in range((end - begin) // HOUR)), end - MOMENT]


def local(instant):
    return instant.astimezone(ZoneInfo(NEW_YORK)).replace(tzinfo=None)


@pytest.fixture
def shop(tiny_with, tmp_path, tiny_row):
    """A function: such a shop with the files of its days, which were cut at its midnights."""

    def make(name, stamp=lambda instant: instant):
        (tmp_path / name).mkdir()
        tiny = tiny_with(tmp_path / name)
        toml = Path(tiny.settings.dataset)
        text = toml.read_text(encoding="utf-8").replace('timezone = "UTC"\n', "")
        text = text.replace("first_day = 2024-01-01", f'first_day = {FIRST}\nzone = "{NEW_YORK}"')
        text = text.replace("2024-01-05", str(AUTUMN)).replace("[2024-01-03]", f"[{CLOSED}]")
        toml.write_text(text, encoding="utf-8")
        for day in (*days(FIRST, LAST), AUTUMN):
            if day != CLOSED:
                rows = [tiny_row(day, place) | {"at": stamp(at)} for place, at in enumerate(instants(day), 1)]
                pq.write_table(pa.Table.from_pylist(rows), tiny.raw(f"events/{day}.parquet"))
        return tiny

    return make


def bootstrap(tiny):
    attempt = attempts.begin(tiny.lake, Ingest(), list(days(FIRST, LAST)))
    tiny.extract(attempt)
    return {record.day: record for record in attempts.commit(tiny.lake, Ingest(), attempt)}


@pytest.mark.spark
def test_a_bootstrap_over_the_change_keeps_every_row_and_equals_its_nights(spark, shop):
    whole, nightly = shop("whole"), shop("nightly")
    records = bootstrap(whole)
    assert list(records) == list(days(FIRST, LAST))
    for day, record in records.items():
        made = 0 if day == CLOSED else len(instants(day))
        assert (record.counts["read"], record.counts["clean"]) == (made, made), day
    assert (records[CHANGE].counts["clean"], records[CLOSED].outcome) == (24, "closed")
    for day in (CHANGE - dt.timedelta(days=1), CHANGE, NEXT, CLOSED):
        record = nightly.ingest(day)
        assert (record.fingerprint, record.content) == (records[day].fingerprint, records[day].content), day
        assert record.counts == records[day].counts


@pytest.mark.spark
def test_stamps_without_a_zone_are_of_that_of_the_days(spark, shop):
    with_offset, without = (
        shop(name, stamp).ingest(CHANGE) for name, stamp in (("a", lambda at: at), ("b", local))
    )
    assert with_offset.tables["interactions"].digest == without.tables["interactions"].digest


@pytest.mark.spark
def test_the_day_whose_hour_comes_twice_has_the_rows_of_both(spark, shop):
    """Local stamps do not tell the two hours apart: the first is meant."""
    told = shop("told").ingest(AUTUMN)
    local_stamps = shop("local", local).ingest(AUTUMN)
    for record in (told, local_stamps):
        assert (record.counts["read"], record.counts["clean"]) == (26, 26)
    assert told.tables["interactions"].digest != local_stamps.tables["interactions"].digest


@pytest.mark.spark
def test_features_count_days_of_the_zone(spark, shop, submit_here):
    """The evening in New York is the next day in UTC: its events were none of the days that had landed."""
    tiny = shop("features")
    bootstrap(tiny)
    attempt = attempts.begin(tiny.lake, Features(), [NEXT])
    submit_here("feature_tables", attempt, tiny.settings)
    records = {record.day: record for record in attempts.commit(tiny.lake, Features(), attempt)}
    files = records[NEXT].tables[TableName.PAIRS].files
    pairs = tables.read(tiny.lake.storage, TableName.PAIRS, "int64", files)
    evening = pairs.filter(pc.equal(pairs["user_id"], len(instants(CHANGE))))
    assert evening.select(["days", "days_since_last"]).to_pylist() == [{"days": 8, "days_since_last": 0}]


@pytest.mark.spark
@pytest.mark.parametrize(
    "told", [f"closed_days = [{CLOSED}]", 'closed_weekdays = ["sunday"]', 'closed_calendar = "closed.txt"']
)
def test_a_closed_day_of_the_zone_has_a_record_at_once(spark, shop, told):
    tiny = shop("closed")
    toml = Path(tiny.settings.dataset)
    toml.with_name("closed.txt").write_text(f"{CLOSED}\n", encoding="utf-8")
    text = toml.read_text(encoding="utf-8").replace(f"closed_days = [{CLOSED}]", told)
    toml.write_text(text, encoding="utf-8")
    record = tiny.ingest(CLOSED)
    assert (record.outcome, dict(record.counts)["read"]) == ("closed", 0)
