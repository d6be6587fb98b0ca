"""Late rows that landed before.

Where events have no key they are only reported, since copies are removed within one landed day. With a key
they are removed, and later days that looked for copies in another file of a day are named.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake import tables
from lake.lake import Lake
from lake.names import StageName, TableName
from lake.partitions import ONE_DAY, begin_of, days
from lake.records import Record, TableFile
from lake.schemas import EVENT_TS, INTERACTIONS, SOURCE_FILE
from spark_jobs.plans import ExtractPlan, ExtractResult
from validation.gate import WARNING, Check

_COLUMNS = [name for name in INTERACTIONS if name != SOURCE_FILE]


def check(day: dt.date, plan: ExtractPlan, made: ExtractResult, lake: Lake) -> list[Check]:
    """Warn of a day's rows that equal, in all of our columns, a row of a day around it.

    Two days share only late rows of the later one: the earlier may not hold the stamps of the
    others. The rows of a day around it are staged by the same attempt, else named by its current record.
    The count depends on what was taken in before, so it is reported and is no part of the record.
    """
    if not plan.config.raw.late_days:
        return []
    if plan.config.raw.event_key:
        return _check_later(day, plan, made, lake)
    own, reach = _staged(day, plan, made, lake), plan.config.raw.late_days * ONE_DAY
    late = _late(day, own, plan)
    earlier = (_of(near_day, plan, made, lake) for near_day in days(day - reach, day - ONE_DAY))
    before = _warning(f"{day}.overlap", late, earlier, "late rows", "no late row that landed before")
    theirs = [_late(then, _of(then, plan, made, lake), plan) for then in _later(day, plan, made)]
    expected = "no row that landed late on a later day, which may hold it for this one: run that day again"
    after = _warning(f"{day}.overlap_with_later", own, theirs, "rows", expected)
    return [before, after] if any(len(rows) for rows in theirs) else [before]


def _check_later(day: dt.date, plan: ExtractPlan, made: ExtractResult, lake: Lake) -> list[Check]:
    """Warn of later days whose records name other files of this day than those that are taken in now."""
    own = {(file.name, file.sha256) for file in plan.files if file.day == day}
    searched = {(file.name, file.sha256) for file in plan.searched(day)}
    before = lake.records.current(StageName.INGEST, day)
    gone = _files(before) - own - searched if before else set()
    later = (lake.records.current(StageName.INGEST, then) for then in _later(day, plan, made))
    others = [one.partition for one in later if one and (own - _files(one) or gone & _files(one))]
    expected = "later days that sought copies of their events in these files"
    mend = f": `nightjar bootstrap --from {others[0]} --to {others[-1]}` does so now" if others else ""
    found = f"{len(others)} that did not ({', '.join(others)})" if others else "no other"
    return [Check(f"{day}.later_copies", WARNING, not others, found, f"{expected}{mend}")]


def _files(record: Record) -> set[tuple[str, str]]:
    """The raw files that a record names, with their digests."""
    return {(raw.name, raw.digest) for raw in record.inputs}


def _later(day: dt.date, plan: ExtractPlan, made: ExtractResult) -> list[dt.date]:
    """The days that may hold late rows of a day; those of the same attempt compare themselves with it."""
    reach = plan.config.raw.late_days * ONE_DAY
    return [then for then in days(day + ONE_DAY, day + reach) if then not in made.counts]


def _warning(name: str, rows: pa.Table, others: Iterable[pa.Table], what: str, expected: str) -> Check:
    again = {row for table in others for row in _shared(rows, table)}
    first = f", such as {dict(zip(_COLUMNS, map(str, min(again, key=str)), strict=True))}" if again else ""
    return Check(name, WARNING, not again, f"{len(again)} of {len(rows)} {what}{first}", expected)


def _shared(rows: pa.Table, others: pa.Table) -> set[tuple[Any, ...]]:
    """The rows that both tables hold; only rows whose stamps both hold become objects."""
    near = _with_stamps(others, rows)
    near_rows = {tuple(row.values()) for row in near.to_pylist()}
    return near_rows & {tuple(row.values()) for row in _with_stamps(rows, near).to_pylist()}


def _with_stamps(rows: pa.Table, others: pa.Table) -> pa.Table:
    return rows.filter(pc.is_in(rows[EVENT_TS], value_set=others[EVENT_TS].combine_chunks()))


def _late(day: dt.date, rows: pa.Table, plan: ExtractPlan) -> pa.Table:
    """Rows with a stamp before the day."""
    start = pa.scalar(begin_of(day, plan.config.zone), pa.timestamp("us", "UTC"))
    return rows.filter(pc.less(rows[EVENT_TS], start))


def _of(day: dt.date, plan: ExtractPlan, made: ExtractResult, lake: Lake) -> pa.Table:
    """The rows of a day: staged, else committed; none where it has none."""
    if day in made.counts:
        return _staged(day, plan, made, lake)
    record = lake.records.current(StageName.INGEST, day)
    return _rows(record.tables[TableName.INTERACTIONS].files if record else (), plan, lake)


def _staged(day: dt.date, plan: ExtractPlan, made: ExtractResult, lake: Lake) -> pa.Table:
    content = made.tables[TableName.INTERACTIONS].get(day)
    return _rows(content.files if content else (), plan, lake)


def _rows(files: Sequence[TableFile], plan: ExtractPlan, lake: Lake) -> pa.Table:
    return tables.read(lake.storage, TableName.INTERACTIONS, plan.config.id_type, files, _COLUMNS)
