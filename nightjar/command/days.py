"""Which days were taken in, of how many files, and what became of these files since."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from lake.lake import Lake
from lake.names import StageName
from lake.partitions import days
from lake.records import Record
from nightjar.console import add_row, console
from nightjar.rawfiles import changes
from nightjar.rawfiles.changes import Changes
from nightjar.stages.ingest import MISSING_HOURS

_SHOWN: Final = 5  # names of a kind and day
_COLUMNS: Final = ("day", "record", "files", "rows read", "missing hours", "since then")


def show(first: dt.date, last: dt.date, lake: Lake, threads: int) -> None:
    """Print each day of a range with its record, and how the days that are stale are mended."""
    table = Table(title="raw days", title_justify="left")
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in ("files", "rows read") else "left", overflow="fold")
    stale = []
    for day in days(first, last):
        record = lake.records.current(StageName.INGEST, day)
        since = changes.since(record, changes.inputs(lake, day, threads)) if record else Changes()
        stale += [day] if since else []
        add_row(table, str(day), *_cells(record, since))
    console.print(table)
    if stale:
        told = ", ".join(map(str, stale))
        mend = f"`nightjar bootstrap --from {stale[0]} --to {stale[-1]}` takes them in again"
        console.print(Text(f"{len(stale)} days have other raw files than their records: {told}; {mend}"))


def _cells(record: Record | None, since: Changes) -> Iterator[str]:
    """What a row of the table says of a day."""
    if record is None:
        yield from ("not taken in", "", "", "", "")
        return
    yield f"{record.sequence} ({record.outcome})"
    yield f"{len(record.inputs):,}"
    yield f"{record.counts.get('read', 0):,}"
    yield ", ".join(record.details.get(MISSING_HOURS, ()))
    kinds = (("came later", since.later), ("changed", since.changed), ("gone", since.gone))
    yield "\n".join(f"{kind}: {_few(names)}" for kind, names in kinds if names) or "the same files"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
