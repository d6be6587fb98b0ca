"""Rows that were set aside, to look at: of a committed day, or of an attempt that was refused."""

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Final

from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from lake import layout, messages, tables
from lake.errors import PermanentError
from lake.lake import Lake
from lake.ledger import Ledger, damaged
from lake.names import StageName, TableName
from lake.records import TableContent, TableFile
from lake.schemas import KIND, RAW_ROW, REASONS, ROW_NUMBER, SOURCE_FILE
from lake.storage import Storage
from nightjar.console import add_row, console
from nightjar_reader.errors import FormatError
from nightjar_reader.fields import Rule, check
from spark_jobs.plans import ExtractResult

TABLES: Final[dict[str, str]] = {
    TableName.QUARANTINE: "events",
    TableName.CATALOGUE_QUARANTINE: "catalogue",
}
_AT_ONCE: Final = 10_000  # rows in memory as Python objects
_ATTEMPT: Final = Rule(
    "16 hex digits", lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{16}", value) is not None
)

Place = tuple[str, int, str]
"""File, row number and raw row of an example."""


@dataclass(frozen=True)
class Aside:
    """The rows of a day that were set aside.

    Attributes
    ----------
    source
        The record or attempt that they belong to, in words.
    counts
        Rows by table, kind and reason; a row with two reasons counts for both.
    examples
        The first rows of each.
    """

    source: str
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str, str], list[Place]] = field(default_factory=dict)


def show(day: dt.date, attempt: str, limit: int, lake: Lake) -> None:
    """Print the rows of a day that were set aside: each reason with its count and its first rows.

    Parameters
    ----------
    attempt
        A refused attempt; empty for the current record, or where there is none the newest refused one.
    limit
        How many examples of each reason.

    Raises
    ------
    PermanentError
        When there is no such attempt, or nothing of that day.
    """
    aside = look(day, attempt, limit, lake)
    if not aside.counts:
        console.print(Text(f"{aside.source}: no row was set aside"))
        return
    console.print(_table(aside))


def look(day: dt.date, attempt: str, limit: int, lake: Lake) -> Aside:
    """What `show` prints."""
    storage = lake.storage
    source, contents = _find(lake, day, attempt)
    aside = Aside(source)
    for table in TABLES:
        files = contents[table].files if table in contents else ()
        for rows in _batches(storage, table, lake.data.id_type, files):
            for key, place in _places(table, rows):
                aside.counts[key] += 1
                kept = aside.examples.get(key, [])
                aside.examples[key] = nsmallest(limit, [*kept, place])
    return aside


def _batches(
    storage: Storage, table: str, id_type: str, files: Iterable[TableFile]
) -> Iterator[list[dict[str, object]]]:
    """Rows batch by batch: a refused day may have millions."""
    for file in files:
        for batch in tables.read(storage, table, id_type, [file]).to_batches(max_chunksize=_AT_ONCE):
            yield batch.to_pylist()


def _places(table: str, rows: Iterable[Mapping[str, object]]) -> Iterable[tuple[tuple[str, str, str], Place]]:
    for row in rows:
        place = str(row[SOURCE_FILE]), int(str(row[ROW_NUMBER])), str(row[RAW_ROW])
        for reason in row[REASONS] or ():  # type: ignore[attr-defined]
            yield (table, str(row[KIND]), reason), place


def _find(lake: Lake, day: dt.date, attempt: str) -> tuple[str, Mapping[str, TableContent]]:
    """The record or attempt of the rows, in words, and the content of each table."""
    record = None if attempt else lake.records.current(StageName.INGEST, day)
    if record:
        return f"{day}, record {record.sequence} (attempt {record.attempt})", record.tables
    attempt = attempt or _newest_refused(lake.storage, day)
    result = _result(lake.storage, attempt)
    if day not in result.counts:
        days = ", ".join(map(str, sorted(result.counts)))
        raise PermanentError(f"attempt {attempt} is of {days}, not of {day}: give one of its days")
    return f"{day}, attempt {attempt}", {
        name: of_days[day] for name, of_days in result.tables.items() if day in of_days
    }


def _newest_refused(storage: Storage, day: dt.date) -> str:
    ledger = Ledger(storage, layout.refused(day))
    sequence = ledger.latest()
    if not sequence:
        raise PermanentError(
            f"{day} has no ingest record, and no attempt of it was refused for its rows: "
            f"`nightjar run ingest --partition {day}` takes it in"
        )
    try:
        return str(
            check(ledger.read(sequence), {"attempt": _ATTEMPT}, "note of a refused attempt")["attempt"]
        )
    except FormatError as error:
        raise damaged(ledger.uri(sequence), error) from error


def _result(storage: Storage, attempt: str) -> ExtractResult:
    if not _ATTEMPT.holds(attempt):
        raise PermanentError(
            f"--attempt {attempt!r}: expected {_ATTEMPT.expected}, as the refusal's message names it"
        )
    try:
        return messages.read(storage, layout.result(attempt), ExtractResult)
    except (FileNotFoundError, ValidationError) as error:
        raise PermanentError(
            f"attempt {attempt} has no result of an extract in {storage.root}: "
            "its job did not end, or it is of another lake or stage"
        ) from error


def _table(aside: Aside) -> Table:
    title = Text(f"set aside of {aside.source}", "table.title")
    table = Table(title=title, title_justify="left", show_lines=True)
    for name, justify in (("of", "left"), ("kind", "left"), ("reason", "left"), ("rows", "right")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("first of them: file, row number, raw row", overflow="fold")
    for key, count in sorted(aside.counts.items(), key=lambda item: (item[0][0], -item[1], item[0])):
        examples = "\n".join(f"{file} {number}: {row}" for file, number, row in aside.examples[key])
        add_row(table, TABLES[key[0]], key[1], key[2], f"{count:,}", examples)
    return table
