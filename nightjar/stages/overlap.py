"""Late rows that landed before: counted and told, as copies are sought within one landed day only."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lake import tables
from lake.lake import Lake
from lake.names import StageName, TableName
from lake.partitions import ONE_DAY, days, end_of
from lake.records import TableFile
from lake.schemas import EVENT_TS, INTERACTIONS, SOURCE_FILE
from spark_jobs.plans import ExtractPlan, ExtractResult
from validation.gate import WARNING, Check

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = [name for name in INTERACTIONS if name != SOURCE_FILE]


def check(day: dt.date, plan: ExtractPlan, made: ExtractResult, lake: Lake) -> list[Check]:
    """Warnings with the rows of a day that equal, in all of our columns, one of the days around it.

    Between two days only late rows of the later one can be the same: others have stamps that the
    earlier may not hold. What another day holds is what is staged beside it, else its current
    record. The number depends on what was taken in before, so it is told and is no part of the record.
    """
    if not plan.config.raw.late_days:
        return []
    own, reach = _staged(day, made, lake), plan.config.raw.late_days * ONE_DAY
    late = _late(day, own)
    earlier = (_of(other, made, lake) for other in days(day - reach, day - ONE_DAY))
    before = _told(f"{day}.overlap", late, earlier, "late rows", "no late row that landed before")
    # A day that is staged beside this one looks at this one itself.
    later = [other for other in days(day + ONE_DAY, day + reach) if other not in made.counts]
    theirs = [_late(other, _of(other, made, lake)) for other in later]
    expected = "no row that landed late on a later day, which may hold it for this one: run that day again"
    after = _told(f"{day}.overlap_with_later", own, theirs, "rows", expected)
    return [before, after] if any(len(rows) for rows in theirs) else [before]


def _told(name: str, rows: "pa.Table", others: "Iterable[pa.Table]", what: str, expected: str) -> Check:
    again = {row for other in others for row in _shared(rows, other)}
    first = f", such as {dict(zip(_COLUMNS, map(str, min(again, key=str)), strict=True))}" if again else ""
    return Check(name, WARNING, not again, f"{len(again)} of {len(rows)} {what}{first}", expected)


def _shared(rows: "pa.Table", others: "pa.Table") -> set[tuple[Any, ...]]:
    """Rows that are in both; only those whose stamps are become objects."""
    near = _with_stamps(others, rows)
    found = {tuple(row.values()) for row in near.to_pylist()}
    return found & {tuple(row.values()) for row in _with_stamps(rows, near).to_pylist()}


def _with_stamps(rows: "pa.Table", others: "pa.Table") -> "pa.Table":
    import pyarrow.compute as pc

    return rows.filter(pc.is_in(rows[EVENT_TS], value_set=others[EVENT_TS].combine_chunks()))


def _late(day: dt.date, rows: "pa.Table") -> "pa.Table":
    """Rows with a stamp before the day."""
    import pyarrow as pa
    import pyarrow.compute as pc

    start = pa.scalar(end_of(day - ONE_DAY), pa.timestamp("us", "UTC"))
    return rows.filter(pc.less(rows[EVENT_TS], start))


def _of(day: dt.date, made: ExtractResult, lake: Lake) -> "pa.Table":
    """The rows of a day: staged, else committed; none where it has none."""
    if day in made.counts:
        return _staged(day, made, lake)
    record = lake.records.current(StageName.INGEST, day)
    return _rows(record.tables[TableName.INTERACTIONS].files if record else (), lake)


def _staged(day: dt.date, made: ExtractResult, lake: Lake) -> "pa.Table":
    content = made.tables[TableName.INTERACTIONS].get(day)
    return _rows(content.files if content else (), lake)


def _rows(files: "Sequence[TableFile]", lake: Lake) -> "pa.Table":
    return tables.read(lake.storage, TableName.INTERACTIONS, lake.data.id_type, files, _COLUMNS)
