"""Reading and describing the lake's tables with Arrow, and their mirror in Delta Lake.

Nightjar itself reads exactly the files that records name. The Delta tables are for other tools:
they follow the records, and nothing of ours reads them.
"""

import datetime as dt
import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import SEEK_END
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import tenacity

from lake import layout
from lake.errors import NightjarError, PermanentError
from lake.partitions import utc_now
from lake.records import Input, Records, TableContent, TableFile
from lake.schemas import TABLES, arrow_schema
from lake.storage import Storage
from nightjar_reader.errors import is_of_this_process

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable, Schema
    from deltalake.transaction import AddAction, RemoveAction

log = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")

BATCH_ROWS: Final = 1 << 18  # few enough to hold, and enough for each call of Arrow to pay
MIRROR_TRIES: Final = 20  # a try fails when another mirror commits first, and they may be many
_BUFFER_BYTES: Final = 1 << 20  # of each column: without, a reader of batches holds whole row groups
_FILES_AT_ONCE: Final = 8  # each waits for the server most of its time
_JITTER_SECONDS: Final = 0.5  # so that mirrors that collided do not collide again
_DECORATION: Final = re.compile(r"\x1b\[[0-9;]*m|↳")  # colours and arrows in the messages of delta-rs


def read(
    storage: Storage, table: str, id_type: str, files: Iterable[TableFile], columns: list[str] | None = None
) -> pa.Table:
    """Read a table's files, in the order given, as one Arrow table.

    Parameters
    ----------
    columns
        The columns to read; None for all of the schema (which has no partition column).

    Raises
    ------
    PermanentError
        When a file is not the one that was written; it names the file, what it expected and found.
    """
    whole = arrow_schema(table, id_type)
    schema = pa.schema([whole.field(name) for name in columns or whole.names])
    parts = _each(lambda file: _read(storage, file, schema), files)
    return pa.concat_tables([schema.empty_table(), *parts])


def _read(storage: Storage, file: TableFile, schema: pa.Schema) -> pa.Table:
    with _verified(storage, file) as opened:
        rows = opened.read(columns=schema.names).select(schema.names).cast(schema)
        _require(storage, file, f"{file.rows} rows", f"{len(rows)} rows")
    return rows


def batches(
    storage: Storage,
    table: str,
    id_type: str,
    files: Iterable[TableFile],
    columns: Sequence[str],
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Read columns of a table's files, in the order given, `batch_rows` at a time.

    Raises
    ------
    PermanentError
        As `read`, and perhaps only after some batches.
    """
    schema = pa.schema([arrow_schema(table, id_type).field(name) for name in columns])
    for file in files:
        rows = 0
        with _verified(storage, file) as opened:
            for batch in opened.iter_batches(batch_rows, columns=schema.names):
                rows += len(batch)
                yield batch.select(schema.names).cast(schema)
            _require(storage, file, f"{file.rows} rows", f"{rows} rows")


@contextmanager
def _verified(storage: Storage, file: TableFile) -> Iterator[pq.ParquetFile]:
    """A data file to read from: its length is that of its record, and the checksums of its pages are right.

    Any error is damage, while the caller reads too. Without the checksums a flipped bit in a page would
    be another value.
    """
    try:
        with storage.fetched(file.path) as local:
            _require(storage, file, f"{file.bytes} bytes", f"{local.stat().st_size} bytes")
            with pq.ParquetFile(local, page_checksum_verification=True, buffer_size=_BUFFER_BYTES) as opened:
                yield opened
    except FileNotFoundError as error:
        raise _damaged(storage, file, f"a file of {file.bytes} bytes", "none") from error
    except MemoryError:  # Arrow's is an ArrowException too
        raise
    except (pa.ArrowException, OSError, LookupError) as error:
        if isinstance(error, OSError) and is_of_this_process(error):
            raise
        raise _damaged(storage, file, "the Parquet file that was written", f"{error}") from error


def _require(storage: Storage, file: TableFile, expected: str, got: str) -> None:
    if expected != got:
        raise _damaged(storage, file, expected, got)


def _damaged(storage: Storage, file: TableFile, expected: str, got: str) -> PermanentError:
    table, day = TABLES.get(file.path.split("/")[0]), PurePosixPath(file.path).parent.name.partition("=")[2]
    newest = f"the newest record of {table.stage} of {day}" if table else "the record"
    return PermanentError(
        f"{storage.uri(file.path)}: expected {expected}, found {got}. The file was changed or is damaged: "
        f"restore it from a copy; without one, remove {newest}, where that names it, and run that stage again"
    )


def _each(work: Callable[[A], B], items: Iterable[A]) -> list[B]:
    """Work on many files, several at once."""
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        return list(pool.map(work, items))


def describe(storage: Storage, table: str, attempt: str) -> dict[dt.date, tuple[TableFile, ...]]:
    """The Parquet files that an attempt wrote into a table, by partition, with bytes and rows."""
    paths = [path for path in storage.list(layout.staged(table, attempt)) if path.endswith(".parquet")]
    partitions: dict[dt.date, list[TableFile]] = defaultdict(list)
    for file in _each(lambda path: _describe(storage, path), paths):
        day = dt.date.fromisoformat(PurePosixPath(file.path).parent.name.partition("=")[2])
        partitions[day].append(file)
    return {day: tuple(files) for day, files in sorted(partitions.items())}


def _describe(storage: Storage, path: str) -> TableFile:
    with storage.open(path) as file:
        rows = pq.read_metadata(file).num_rows
        return TableFile(path, file.seek(0, SEEK_END), rows)


def contents(
    storage: Storage, table: str, attempt: str, days: Iterable[dt.date], digests: Mapping[dt.date, str]
) -> dict[dt.date, TableContent]:
    """The content of each day, with or without rows, as its record holds it.

    Parameters
    ----------
    digests
        The content digest of each day that has rows.
    """
    files = describe(storage, table, attempt)
    return {
        day: TableContent(part, sum(file.rows for file in part), digests.get(day, EMPTY_DIGEST))
        for day in days
        for part in [files.get(day, ())]
    }


EMPTY_DIGEST = "0:0:0"  # of no rows


def pinned(records: Records, source: Input) -> TableContent:
    """The table partition that an input names, in the state in which it was read."""
    return records.pinned(source).tables[source.name]


def mirror(storage: Storage, id_type: str) -> dict[str, int]:
    """Make every Delta table show the files that the current records name.

    A table lies where its files lie: a commit names files and copies none. Nothing is committed where
    the table shows them already. A mirror also does what an earlier one left undone.

    Returns
    -------
    dict
        The version of each table that has a record.

    Raises
    ------
    NightjarError
        When it failed `MIRROR_TRIES` times in a row: other mirrors were faster, the disk is full,
        or the server loses connections in the middle of files, after which delta-rs does not read on.
    """
    records = Records(storage)
    stages = {stage for stage in {table.stage for table in TABLES.values()} if records.partitions(stage)}
    return {
        table.name: _mirror(storage, records, table.name, id_type)
        for table in TABLES.values()
        if table.stage in stages
    }


def _mirror(storage: Storage, records: Records, table: str, id_type: str) -> int:
    from deltalake.exceptions import DeltaError

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(MIRROR_TRIES),
        wait=tenacity.wait_random(0, _JITTER_SECONDS),
        retry=tenacity.retry_if_exception_type((DeltaError, OSError)),
        before_sleep=tenacity.before_sleep_log(log, logging.DEBUG),
        reraise=True,
    )
    try:
        return retrying(_follow, storage, records, table, id_type)
    except (DeltaError, OSError) as error:
        reason = " ".join(_DECORATION.sub("", str(error)).split())
        raise NightjarError(
            f"{storage.uri(table)}: not mirrored in {MIRROR_TRIES} tries ({reason}); the next mends it"
        ) from error


def _follow(storage: Storage, records: Records, table: str, id_type: str) -> int:
    """Commit what differs, on top of a version that was opened before the records were read."""
    delta, schema = _open_delta(storage, table), _schema(table, id_type)
    if delta and delta.schema() != schema:
        _commit(delta, table, schema, [], "overwrite")  # no commit may both remove and add a file
        delta = _open_delta(storage, table)
    shown = _shown(delta, table) if delta else {}
    named = _named(records, table)
    added = [_addition(table, file, day) for file, day in named.values() if file.path not in shown]
    removed = [_removal(table, path, day) for path, day in shown.items() if path not in named]
    if delta is None:
        _create_delta(storage, table, schema, added)
        return 0
    version = int(delta.version())
    if added or removed:
        version += 1
        _commit(delta, table, schema, [*removed, *added], "append")
        log.info("%s: %d files more, %d fewer", table, len(added), len(removed))
    return version


def _commit(
    delta: "DeltaTable",
    table: str,
    schema: "Schema",
    actions: "list[AddAction | RemoveAction]",
    mode: Literal["append", "overwrite"],
) -> None:
    by = [TABLES[table].partition]
    delta.create_write_transaction(actions, mode, schema, by, commit_properties=_no_retries())


def _no_retries() -> "CommitProperties":
    """Commit once: delta-rs, when it tries again, lets two first commits of one partition both stand.

    Its check missed overwrites at once in the same way (https://github.com/delta-io/delta-rs/issues/3622).
    """
    from deltalake import CommitProperties

    return CommitProperties(max_commit_retries=0)


def _open_delta(storage: Storage, table: str) -> "DeltaTable | None":
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    try:
        return DeltaTable(storage.uri(table), storage_options=storage.delta())
    except TableNotFoundError:
        return None


def _schema(table: str, id_type: str) -> "Schema":
    from deltalake import Schema

    return Schema.from_arrow(
        arrow_schema(table, id_type).append(pa.field(TABLES[table].partition, pa.date32()))
    )


def _create_delta(storage: Storage, table: str, schema: "Schema", added: "list[AddAction]") -> None:
    from deltalake.transaction import create_table_with_add_actions

    create_table_with_add_actions(
        storage.uri(table),
        schema,
        added,
        partition_by=[TABLES[table].partition],
        storage_options=storage.delta(),
        commit_properties=_no_retries(),
    )


def _shown(delta: "DeltaTable", table: str) -> dict[str, dt.date]:
    """The files that a Delta table shows, as paths in the lake, with their partitions."""
    files = pa.table(delta.get_add_actions(flatten=True))
    paths = (f"{table}/{path}" for path in files["path"].to_pylist())
    return dict(zip(paths, files[f"partition.{TABLES[table].partition}"].to_pylist(), strict=True))


def _named(records: Records, table: str) -> dict[str, tuple[TableFile, dt.date]]:
    """The files that the current records name, by path, with their partitions."""
    current = records.all_current(TABLES[table].stage, dt.date.max)
    files = ((file, r.day) for r in current if table in r.tables for file in r.tables[table].files)
    return {file.path: (file, day) for file, day in files}


def _addition(table: str, file: TableFile, day: dt.date) -> "AddAction":
    from deltalake.transaction import AddAction

    return AddAction(
        path=file.path.removeprefix(f"{table}/"),
        size=file.bytes,
        partition_values={TABLES[table].partition: day.isoformat()},
        modification_time=0,
        data_change=True,
        stats=json.dumps({"numRecords": file.rows}),
    )


def _removal(table: str, path: str, day: dt.date) -> "RemoveAction":
    from deltalake.transaction import RemoveAction

    return RemoveAction(
        path=path.removeprefix(f"{table}/"),
        data_change=True,
        deletion_timestamp=int(utc_now().timestamp() * 1000),
        partition_values={TABLES[table].partition: day.isoformat()},
    )
