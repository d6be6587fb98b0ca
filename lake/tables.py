"""Reading and describing the lake's tables with Arrow: exactly the files that records name."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from lake import layout
from lake.records import Input, Records, TableContent, TableFile
from lake.schemas import INGEST_TABLES, arrow_schema
from lake.storage import Storage


def read(
    storage: Storage, table: str, id_type: str, files: Iterable[TableFile], columns: list[str] | None = None
) -> pa.Table:
    """Read a table's files, in the order given, as one Arrow table.

    Parameters
    ----------
    columns
        The columns wanted; None for all of the schema (which has no partition column).
    """
    schema = arrow_schema(table, id_type)
    wanted = pa.schema([schema.field(name) for name in columns or schema.names])
    system, root = storage.arrow()
    parts = [
        pq.ParquetFile(f"{root}/{file.path}", filesystem=system)
        .read(columns=wanted.names)
        .select(wanted.names)
        for file in files
    ]
    return pa.concat_tables([wanted.empty_table(), *(part.cast(wanted) for part in parts)])


def describe(storage: Storage, table: str, attempt: str) -> dict[dt.date, tuple[TableFile, ...]]:
    """The Parquet files that an attempt wrote into a table, by partition, with bytes and rows."""
    system, root = storage.arrow()
    found: dict[dt.date, list[TableFile]] = defaultdict(list)
    for path in storage.list(layout.staged(table, attempt)):
        if path.endswith(".parquet"):
            rows = pq.read_metadata(f"{root}/{path}", filesystem=system).num_rows
            day = dt.date.fromisoformat(PurePosixPath(path).parent.name.partition("=")[2])
            found[day].append(TableFile(path, storage.size(path), rows))
    return {day: tuple(files) for day, files in sorted(found.items())}


def contents(
    storage: Storage, table: str, attempt: str, days: Iterable[dt.date], digests: Mapping[dt.date, str]
) -> dict[dt.date, TableContent]:
    """`describe` as what records hold, also for days without a row.

    Parameters
    ----------
    digests
        The content digest of each day that has rows.
    """
    files = describe(storage, table, attempt)
    return {
        day: TableContent(found, sum(f.rows for f in found), digests.get(day, EMPTY_DIGEST))
        for day in days
        for found in [files.get(day, ())]
    }


EMPTY_DIGEST = "0:0:0"


def pinned(records: Records, source: Input) -> TableContent:
    """The table partition that an input names, in the state in which it was read."""
    stage = "ingest" if source.name in INGEST_TABLES else "features"
    return records.at(stage, source.partition, source.sequence).tables[source.name]
