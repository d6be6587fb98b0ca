"""What a data set's TOML makes of a sample: files, columns, rows, and what its night would say."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter
from rich.table import Table
from rich.text import Text

from lake import partitions, tables
from lake.dataset import Dataset, read_dataset
from lake.expressions import columns_of
from lake.formats.content import Targets
from lake.names import TableName
from lake.schemas import ITEM, USER
from lake.settings import Settings
from nightjar.command import quarantine
from nightjar.console import add_row, console
from nightjar.rawfiles import alike, samples
from nightjar.rawfiles.alike import Alike
from nightjar.rawfiles.samples import Sample
from nightjar.stages import daychecks
from nightjar.stages.rehearsal import Rehearsed, Submit, rehearsed
from spark_jobs.casts import catalogue_targets, raw_targets
from spark_jobs.plans import MappedRow, RawFile
from spark_jobs.submit import submit as submit_job
from validation.gate import Check, failed

_EVENTS, _CATALOGUE = quarantine.TABLES.values()
_SHOWN: Final = 5  # files of a day, groups of ids, days: a report that somebody reads to its end


@dataclass(frozen=True)
class File:
    """A file of the sample.

    Attributes
    ----------
    of
        ``events`` or ``catalogue``.
    absent
        The mapped columns that it lacks.
    """

    of: str
    name: str
    bytes: int
    rows: int
    absent: tuple[str, ...]


@dataclass(frozen=True)
class Mapping:
    """What becomes of a raw column.

    Attributes
    ----------
    ours, type
        Our column and its type; empty where nobody mapped the raw one.
    raw, families
        The raw column, or the expression, and what the files have there (`lake.formats.families`).
    """

    of: str
    ours: str
    type: str
    raw: str
    families: tuple[str, ...]


@dataclass(frozen=True)
class Aside:
    """Rows that would be set aside for one reason.

    Attributes
    ----------
    examples
        The first of them: file, number and row.
    """

    of: str
    kind: str
    reason: str
    rows: int
    examples: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True)
class Report:
    """All that the command shows.

    Attributes
    ----------
    passed
        Whether the night would take these rows in.
    fault
        Why nothing could be judged; empty where it was.
    place, day
        Where the files are, and the day that they are taken for; None where they may be of any.
    is_whole
        Whether the files are all of the day, and all of their rows were judged.
    counts
        What became of the rows that were judged.
    days
        The rows of events by the day of their stamp.
    alike
        By column the groups of ids that look alike.
    """

    passed: bool
    fault: str = ""
    name: str = ""
    place: str = ""
    day: dt.date | None = None
    is_whole: bool = False
    files: tuple[File, ...] = ()
    columns: tuple[Mapping, ...] = ()
    rows: tuple[MappedRow, ...] = ()
    counts: dict[str, int] | None = None
    aside: tuple[Aside, ...] = ()
    days: dict[dt.date, int] | None = None
    alike: dict[str, list[Alike]] | None = None
    checks: tuple[Check, ...] = ()

    def json(self) -> str:
        """The report for a script."""
        return TypeAdapter(Report).dump_json(self, indent=1).decode()


def report(
    settings: Settings,
    place: str = "",
    day: dt.date | None = None,
    most: int = 100_000,
    shown: int = 3,
    submit: Submit = submit_job,
) -> Report:
    """Take a sample in by the code of ingest, and say what became of it.

    Parameters
    ----------
    settings
        Their data set is the one to check.
    place
        A file or a folder; without it a day below `NIGHTJAR_RAW`.
    most, shown
        How many rows are judged, and how many are shown of each kind.

    Raises
    ------
    NightjarError
        When the TOML is wrong, or a file cannot be taken in.
    """
    data = read_dataset(settings.dataset)
    if place:
        sample = samples.of_place(place, data, day)
    else:
        today = partitions.day_of(partitions.utc_now(), data.zone)
        sample = samples.of_raw(settings.raw, data, day, today)
    with rehearsed(sample, settings, most, shown, submit) as seen:
        return _report(sample, seen, shown)


def _report(sample: Sample, seen: Rehearsed, shown: int) -> Report:
    plan, data = seen.plan, sample.data
    counts = seen.made.counts[sample.day]
    columns = [*_mappings(_EVENTS, plan.files, raw_targets(data.raw))]
    if data.catalogue:
        columns += _mappings(_CATALOGUE, plan.catalogues, catalogue_targets(data.catalogue))
    judged = counts["read"] + counts.get(f"{daychecks.CATALOGUE}read", 0)
    return Report(
        passed=not failed(seen.checks),
        name=data.name,
        place=sample.root,
        day=None if sample.any_day else sample.day,
        is_whole=sample.is_day and judged == plan.rows,
        files=tuple(_files(_EVENTS, plan.files)) + tuple(_files(_CATALOGUE, plan.catalogues)),
        columns=tuple(columns),
        rows=seen.made.rows,
        counts=counts,
        aside=tuple(_aside(sample.day, seen, shown)),
        days=seen.made.days,
        alike=_alike(sample.day, data, seen),
        checks=seen.checks,
    )


def _files(of: str, files: Iterable[RawFile]) -> Iterator[File]:
    for file in files:
        yield File(of, file.name, file.bytes, file.rows, file.absent)


def _mappings(of: str, files: Sequence[RawFile], targets: Targets) -> Iterator[Mapping]:
    """Our columns with the raw ones, then the raw columns that are not mapped."""
    families: dict[str, dict[str, None]] = {}
    for file in files:
        for column in file.columns:
            families.setdefault(column.name, {})[column.family] = None
    made_of = {ours: columns_of(text) for ours, (text, _) in targets.items()}
    for ours, (text, kind) in targets.items():
        held = dict.fromkeys(family for name in made_of[ours] for family in families.get(name, ()))
        yield Mapping(of, ours, kind, text, tuple(held))
    mapped = {name for names in made_of.values() for name in names}
    for name in families:
        if name not in mapped:
            yield Mapping(of, "", "", name, tuple(families[name]))


def _aside(day: dt.date, seen: Rehearsed, shown: int) -> Iterator[Aside]:
    found = quarantine.look(day, seen.attempt, shown, seen.lake)
    for key, rows in sorted(found.counts.items(), key=lambda item: (-item[1], item[0])):
        table, kind, reason = key
        yield Aside(quarantine.TABLES[table], kind, reason, rows, tuple(found.examples[key]))


def _alike(day: dt.date, data: Dataset, seen: Rehearsed) -> dict[str, list[Alike]]:
    """The ids of clean rows that look alike; whole numbers never do."""
    if data.id_type == "int64":
        return {}
    ids = {USER: Counter[str](), ITEM: Counter[str]()}
    for table, columns in ((TableName.INTERACTIONS, [USER, ITEM]), (TableName.CATALOGUE, [ITEM])):
        content = seen.made.tables[table].get(day)
        rows = tables.read(seen.lake.storage, table, data.id_type, content.files if content else (), columns)
        for column in columns:
            ids[column].update(_counted(rows[column]))
    return {column: groups for column, rows in ids.items() if (groups := alike.find(rows))}


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {each["values"]: each["counts"] for each in pc.value_counts(column).to_pylist()}


def show(seen: Report) -> None:
    """Print a report, section by section."""
    of_day = f"the day {seen.day}" if seen.day else "rows of any day"
    part = "" if seen.is_whole else ", a part"
    console.print(Text(f"{seen.name}: {of_day}{part}, at {seen.place}", "bold"))
    console.print(_file_table(seen.files))
    console.print(_column_table(seen.columns))
    if seen.rows:
        console.print(_row_table(seen.rows))
    _show_counts(seen)
    _show_days(seen)
    _show_alike(seen)
    _show_checks(seen)


def _table(title: str, *columns: str, lines: bool = False) -> Table:
    table = Table(title=title, title_justify="left", show_lines=lines)
    for name in columns:
        is_number = name in ("bytes", "rows")
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    return table


def _file_table(files: Sequence[File]) -> Table:
    table = _table("files", "of", "file", "bytes", "rows", "mapped columns that it lacks")
    for file in files[:_SHOWN]:
        add_row(table, file.of, file.name, f"{file.bytes:,}", f"{file.rows:,}", ", ".join(file.absent))
    if rest := files[_SHOWN:]:
        size, rows = sum(file.bytes for file in rest), sum(file.rows for file in rest)
        add_row(table, "", f"and {len(rest):,} more", f"{size:,}", f"{rows:,}", "")
    return table


def _column_table(columns: Sequence[Mapping]) -> Table:
    table = _table("columns", "of", "raw column", "what it holds", "ours", "our type")
    for each in columns:
        held = ", ".join(each.families) or "no file has it"
        add_row(table, each.of, each.raw, held, each.ours or "(not mapped)", each.type)
    return table


def _row_table(rows: Sequence[MappedRow]) -> Table:
    table = _table("rows as they are, and as ours", "row", "raw", "ours", lines=True)
    for row in rows:
        ours = "\n".join(f"{name} = {value}" for name, value in row.ours.items() if value is not None)
        add_row(table, f"{row.file} {row.number}", row.raw, ours)
    return table


def _show_counts(seen: Report) -> None:
    console.print(Text(f"rows: {daychecks.describe(seen.counts or {})}"))
    if not seen.aside:
        return
    table = _table(
        "set aside", "of", "kind", "reason", "rows", "first of them: file, number, row", lines=True
    )
    for each in seen.aside:
        examples = "\n".join(f"{file} {number}: {row}" for file, number, row in each.examples)
        add_row(table, each.of, each.kind, each.reason, f"{each.rows:,}", examples)
    console.print(table)


def _show_days(seen: Report) -> None:
    """The days of the stamps, where they are not all that of the files."""
    days = seen.days or {}
    if days.keys() <= {seen.day}:
        return
    most = sorted(days.items(), key=lambda each: (-each[1], each[0]))[:_SHOWN]
    more = f" and {len(days) - _SHOWN:,} more" if len(days) > _SHOWN else ""
    told = ", ".join(f"{day} ({rows:,} rows)" for day, rows in most)
    console.print(Text(f"days of the stamps: {min(days)} to {max(days)}: {told}{more}"))
    if seen.day is None and len(days) > 1:
        console.print(Text("  raw.files has files of one day each: `nightjar cut` writes them"))


def _show_alike(seen: Report) -> None:
    for column, groups in (seen.alike or {}).items():
        mend = f"where they are one, rules.{column}s gives them one form"
        console.print(Text(f"{column}: {len(groups):,} groups of ids look alike; {mend}"))
        for group in groups[:_SHOWN]:
            ids = ", ".join(f"{text!r} ({rows:,} rows)" for text, rows in group.rows.items())
            console.print(Text(f"  {ids} differ in {', '.join(group.differ)}"))


def _show_checks(seen: Report) -> None:
    for check in seen.checks:
        if check.passed and check.name.endswith(daychecks.BAD_SHARE) and seen.aside:
            console.print(Text(f"bad rows: {check.found}"))  # with what to do about their reasons
        if not check.passed:
            text = f"{check.severity}: {check.name}: expected {check.expected}, found {check.found}"
            console.print(Text(text, "red" if check in failed([check]) else "yellow"))
    verdict = "the night would take these rows in" if seen.passed else "the night would refuse these rows"
    console.print(Text(verdict, "bold green" if seen.passed else "bold red"))
