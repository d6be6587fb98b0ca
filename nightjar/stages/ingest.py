"""Ingest: raw days become interactions, quarantine and, where one came, a catalogue snapshot each.

A night takes in one day, a bootstrap many in one Spark pass. The records are the same: each day is
judged and committed by itself, as its own night would have done it.
"""

import datetime as dt
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import pyarrow as pa

from lake import day_files, layout, partitions, tables
from lake.errors import FileFault, GateFailed, PermanentError
from lake.lake import Lake
from lake.ledger import Ledger
from lake.names import StageName, TableName
from lake.partitions import ONE_DAY, day_of, utc_now
from lake.plan import Ending
from lake.records import Draft, Input, Record, TableContent
from lake.schemas import LANDED
from lake.storage import Storage
from nightjar.rawfiles import changes
from nightjar.rawfiles import days as rawdays
from nightjar.stages import daychecks, overlap, rowsettings
from nightjar.stages.attempt import list_faults
from nightjar.stages.history import Past
from nightjar.stages.stage import Checks, Stage
from spark_jobs.plans import ExtractPlan, ExtractResult, RawFile
from validation import expectations
from validation.gate import CRITICAL, Check, failed

log = logging.getLogger(__name__)

MISSING_HOURS: Final = "missing_hours"
"""The detail of a record that names the hours of which its day had no file."""


@dataclass(frozen=True)
class Ingest(Stage[ExtractPlan, ExtractResult]):
    """Takes in the raw day; a bootstrap runs it over a range."""

    NAME: ClassVar = StageName.INGEST
    VERSION: ClassVar = 2
    SECTIONS: ClassVar = ("id_type", "zone", "raw", "events", "catalogue", "rules")
    READS: ClassVar = ()
    PLAN: ClassVar = ExtractPlan
    MADE: ClassVar = ExtractResult
    STEPS: ClassVar = ("check the raw files", "extract (Spark)", "validate and commit")
    PROGRAM: ClassVar = "extract"

    def plan(self, lake: Lake, days: Sequence[dt.date]) -> ExtractPlan:
        """Check the raw files of the days; leave out each day with a faulty file and note its fault.

        Raises
        ------
        FileFault
            When each day has a file that is missing, empty or unreadable, or lacks a column.
        """
        if not days:
            raise PermanentError("there is no day to take in: give the earlier day first")
        today = day_of(utc_now(), lake.data.zone)
        pins = self.pins(lake, [lake.data.require_day(day, today=today) for day in days])
        checked = rawdays.check(days, pins["attempt"], lake, self.threads)
        faults = checked.faults
        if len(faults) == len(days):
            lake.storage.remove(layout.raw_copies(pins["attempt"]))  # nobody else knows of this attempt
            raise FileFault(list_faults(faults))
        pins["based_on"] = {day: number for day, number in pins["based_on"].items() if day not in faults}
        return ExtractPlan(
            **pins,
            lake=lake.uri,
            raw_root=lake.raw_uri,
            files=tuple(checked.files),
            catalogues=tuple(checked.catalogues),
            faults=faults,
            row_settings=rowsettings.digest_of(lake.data),
            before=_before(days, pins["attempt"], lake, self.threads),
        )

    def run(self, lake: Lake, plan: ExtractPlan) -> ExtractResult:
        """Read, judge and stage the raw rows with Spark."""
        from spark_jobs import extract

        return extract.run(plan)

    def reads(self, lake: Lake, day: dt.date) -> tuple[Input, ...] | None:
        """The raw files of the day as they are now; None where it has none, and is not closed."""
        files = changes.inputs(lake, day, self.threads)
        return files if files or lake.data.raw.is_closed(day) else None

    def check(self, lake: Lake, plan: ExtractPlan, made: ExtractResult) -> Checks:
        """Judge each day by itself; a day that passes is history for the days after it."""
        faults = plan.faults | made.faults
        days = sorted({*plan.based_on, *faults})
        staged = _check_staged(plan, made, lake) if len(days) == 1 else []
        past = Past(days, lake)
        checks: dict[dt.date, list[Check]] = {}
        for day in days:
            if day in faults:
                checks[day] = [Check(_files_check(day), CRITICAL, False, faults[day], "sound raw files")]
                continue
            checks[day] = [*staged, *_check_day(day, plan, made, lake), *past.judge(day, plan, made)]
            if not failed(checks[day]):
                past.accept(day, plan.attempt, made)
        return checks

    def check_all(self, lake: Lake, plan: ExtractPlan, made: ExtractResult) -> Sequence[Check]:
        """The suite on the rows of a range; of a single day it is among the day's own checks."""
        is_range = len({*plan.based_on, *plan.faults, *made.faults}) > 1
        return _check_staged(plan, made, lake) if is_range else ()

    def require(
        self, lake: Lake, plan: ExtractPlan, day: dt.date, checks: Sequence[Check], report: str
    ) -> None:
        """Refuse a day by its checks; its quarantine stays, and the error says how to look at it.

        Raises
        ------
        FileFault
            When its files are faulty.
        GateFailed
            When a critical check failed.
        """
        if checks and checks[0].name == _files_check(day):
            raise FileFault(checks[0].found)
        try:
            super().require(lake, plan, day, checks, report)
        except GateFailed as error:
            note_refused(lake.storage, day, plan.attempt)
            look = f"`nightjar quarantine {day} --attempt {plan.attempt}` shows its rows"
            raise GateFailed(f"{error}; {look}") from error

    def draft(self, plan: ExtractPlan, made: ExtractResult, day: dt.date) -> Draft:
        """The draft of a day; a day without a file is closed."""
        files = [file for file in (*plan.files, *plan.catalogues) if file.day == day]
        missing = _missing_hours(day, plan)
        read = [*files, *plan.searched(day)]
        return replace(
            plan.draft(day, Ending.COMMITTED if files else Ending.CLOSED),
            inputs=tuple(Input(file.name, file.sha256, bytes=file.bytes) for file in read),
            tables={name: contents[day] for name, contents in made.tables.items() if day in contents},
            counts=made.counts[day],
            details={rowsettings.DETAIL: plan.row_settings} | ({MISSING_HOURS: missing} if missing else {}),
        )

    def follow(self, lake: Lake, plan: ExtractPlan, record: Record) -> None:
        """Keep the profile also under the attempt that the record names, which may be an earlier one."""
        profile = layout.profile(record.day, plan.attempt)
        if record.attempt != plan.attempt and lake.storage.exists(profile):
            lake.storage.put_new(layout.profile(record.day, record.attempt), lake.storage.read(profile))

    def counts(self, plan: ExtractPlan, made: ExtractResult) -> Mapping[str, Mapping[str, int]]:
        """The rows of each day by what became of them."""
        return {day.isoformat(): counts for day, counts in made.counts.items()}

    def describe(self, records: Sequence[Record]) -> str:
        """What became of the rows that were read."""
        rows = Counter[str]()
        for record in records:
            rows.update(record.counts)
        days = records[0].partition if len(records) == 1 else f"{len(records)} days"
        return f"{self.NAME} of {days}: {daychecks.describe(rows)}"


def _missing_hours(day: dt.date, plan: ExtractPlan) -> list[str]:
    """The hours of which a day has no file, though its raw files are of hours; a closed day lacks none."""
    raw, names = plan.config.raw, [file.name for file in plan.files if file.day == day]
    if raw.is_closed(day):
        return []
    return list(day_files.missing_hours(raw.files, day, names, plan.config.zone))


def note_refused(storage: Storage, day: dt.date, attempt: str) -> None:
    """Note a refused attempt of a day, so that its rows can be shown by the day alone."""
    ledger = Ledger(storage, layout.refused(day))
    while not ledger.append(ledger.latest() + 1, {"attempt": attempt}):
        pass


def _files_check(day: dt.date) -> str:
    """The name of the check that a day with faulty raw files fails."""
    return f"{day}.files"


def _before(days: Sequence[dt.date], attempt: str, lake: Lake, threads: int) -> tuple[RawFile, ...]:
    """The events files of earlier days among which copies are sought; a day with a fault has none."""
    near = {then for day in days for then in partitions.days(day - lake.data.raw.reach, day - ONE_DAY)}
    earlier = sorted(day for day in near.difference(days) if day >= lake.data.first_day)
    checked = rawdays.check(earlier, attempt, lake, threads, only_events=True)
    for day, fault in checked.faults.items():
        log.warning("copies of events are not sought in %s: %s", day, fault)
    return tuple(checked.files)


def _check_staged(plan: ExtractPlan, made: ExtractResult, lake: Lake) -> list[Check]:
    """The Great Expectations suite on all interactions that an attempt staged."""

    def rows(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for day, content in made.tables[TableName.INTERACTIONS].items():
            yield from _staged(lake.storage, plan.config.id_type, day, content, columns)

    checks = expectations.check_interactions(rows, plan.config)
    return expectations.named(TableName.INTERACTIONS, checks)


def _staged(
    storage: Storage, id_type: str, day: dt.date, content: TableContent, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Staged interactions of a day, with the column of the day, which its files lack."""
    kept = [name for name in columns if name != LANDED]
    for batch in tables.batches(storage, TableName.INTERACTIONS, id_type, content.files, kept):
        yield batch.append_column(LANDED, pa.repeat(pa.scalar(day, pa.date32()), batch.num_rows))


def _check_day(day: dt.date, plan: ExtractPlan, made: ExtractResult, lake: Lake) -> list[Check]:
    """Check a day's catalogue, hours and counts, and its overlap with the days around it."""
    checks = _check_items(day, plan, made, lake)
    checks += daychecks.check_hours(day, _missing_hours(day, plan))
    lacking = daychecks.absent([file for file in plan.files if file.day == day])
    checks += daychecks.check_columns(day, lacking)
    checks += daychecks.check_counts(day, made, plan.config, lacking)
    return [*checks, *overlap.check(day, plan, made, lake)]


def _check_items(day: dt.date, plan: ExtractPlan, made: ExtractResult, lake: Lake) -> list[Check]:
    """Check the catalogue that came on a day; no checks where none came."""
    if day not in made.tables[TableName.CATALOGUE]:
        return []
    catalogue = plan.config.catalogue
    assert catalogue, "only a data set with catalogues stages one"
    files = made.tables[TableName.CATALOGUE][day].files
    items = tables.read(lake.storage, TableName.CATALOGUE, plan.config.id_type, files)
    suite = expectations.named(f"catalogue.{day}", expectations.check_catalogue(items, catalogue.columns))
    return [*suite, daychecks.check_items(day, made, plan.config.rules)]
