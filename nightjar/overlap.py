"""Late rows that landed before: counted and told, as copies are sought within one landed day only."""

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lake import tables
from lake.partitions import ONE_DAY, days, end_of
from lake.records import Records, TableContent
from lake.schemas import EVENT_TS, INTERACTIONS, SOURCE_FILE
from lake.storage import open_storage
from spark_jobs.requests import ExtractRequest, ExtractResult
from validation.gate import WARNING, Check

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = [name for name in INTERACTIONS if name != SOURCE_FILE]


def check(day: dt.date, request: ExtractRequest, result: ExtractResult) -> list[Check]:
    """A warning with the late rows of a day that equal, in all of our columns, one of the days before.

    Only late rows can: those of the day itself have stamps that no earlier day may hold. What an
    earlier day holds is what is staged beside it, else its current record. The number depends on
    what was taken in before, so it is told and is no part of the record.
    """
    if not request.raw.late_days:
        return []
    late = _late(day, request, result)
    wanted = {tuple(row.values()) for row in late.to_pylist()}
    again = wanted & set(_earlier(day, late[EVENT_TS], request, result)) if wanted else set()
    first = f", such as {dict(zip(_COLUMNS, map(str, min(again, key=str)), strict=True))}" if again else ""
    found = f"{len(again)} of {len(late)} late rows{first}"
    return [Check(f"{day}.overlap", WARNING, not again, found, "no late row that landed before")]


def _late(day: dt.date, request: ExtractRequest, result: ExtractResult) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = _rows(request, result.tables["interactions"][day])
    start = pa.scalar(end_of(day - ONE_DAY), pa.timestamp("us", "UTC"))
    return rows.filter(pc.less(rows[EVENT_TS], start))


def _earlier(
    day: dt.date, stamps: "pa.ChunkedArray", request: ExtractRequest, result: ExtractResult
) -> Iterator[tuple[Any, ...]]:
    """Rows of the days before that have one of the stamps."""
    import pyarrow.compute as pc

    records = Records(open_storage(request.lake))
    for before in days(day - request.raw.late_days * ONE_DAY, day - ONE_DAY):
        record = None if before in result.counts else records.current("ingest", before)
        tables_of = (
            record.tables if record else {n: t[before] for n, t in result.tables.items() if before in t}
        )
        if "interactions" in tables_of:
            rows = _rows(request, tables_of["interactions"])
            shared = rows.filter(pc.is_in(rows[EVENT_TS], value_set=stamps.combine_chunks()))
            yield from (tuple(row.values()) for row in shared.to_pylist())


def _rows(request: ExtractRequest, content: TableContent) -> "pa.Table":
    storage = open_storage(request.lake)
    return tables.read(storage, "interactions", request.id_type, content.files, _COLUMNS)
