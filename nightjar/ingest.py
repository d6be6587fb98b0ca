"""Ingest: a raw day becomes interactions, quarantine and, where one came, a catalogue snapshot.

`prepare` checks the files and writes the request, the job `extract` stages the tables, `commit`
validates them and makes them current. A bootstrap does the same for many days at once.
"""

import datetime as dt
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lake import layout, messages, tables
from lake.dataset import Dataset
from lake.errors import FileFault, GateFailed
from lake.lake import Lake
from lake.partitions import utc_now
from lake.records import STAGES, Draft, Input, Record, TableContent, config_digest
from lake.schemas import LANDED
from lake.storage import Storage
from nightjar import daychecks, overlap, quarantine, rowsettings
from nightjar.history import Past
from nightjar.rawfiles.check import Checker, Wanted
from spark_jobs.casts import catalogue_targets, raw_targets
from spark_jobs.plans import ExtractRequest, ExtractResult, RawFile
from validation.gate import Check, require

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

STAGE = "ingest"
_SHOWN_DAYS = 10


def prepare(day: dt.date, lake: Lake) -> str:
    """Check a day's raw files and write what `extract` has to do.

    Returns
    -------
    str
        The attempt.

    Raises
    ------
    FileFault
        When a raw file is missing, empty, unreadable, or lacks a column.
    """
    return prepare_days([day], lake)


def commit(attempt: str, lake: Lake) -> Record:
    """Validate what `extract` staged for a day, and commit it.

    Raises
    ------
    GateFailed
        When a critical check failed; nothing is committed.
    Conflict
        When another run committed other content of that day meanwhile.
    """
    request, result = read_attempt(attempt, lake)
    (day,) = request.based_on
    past = Past([day], lake)
    checks = [*check_staged(request, result, lake), *check_day(day, request, result, lake)]
    checks += past.judge(day, request, result)
    page = write_report(day.isoformat(), request, result, checks, lake)
    require_day(day, attempt, checks, page, lake)
    record = past.keep(commit_day(day, request, result, lake))
    log.info("%s of %s: %s", STAGE, day, daychecks.told(record.counts))
    return record


def require_day(day: dt.date, attempt: str, checks: Sequence[Check], page: str, lake: Lake) -> None:
    """The gate of a day; the attempt's quarantine stays, and the refusal says how to look at it.

    Raises
    ------
    GateFailed
        When a critical check failed.
    """
    try:
        require(checks, f"{STAGE} of {day}", page)
    except GateFailed as error:
        quarantine.note_refused(lake.storage, day, attempt)
        look = f"`nightjar quarantine {day} --attempt {attempt}` shows its rows"
        raise GateFailed(f"{error}; {look}") from error


def prepare_days(days: Iterable[dt.date], lake: Lake) -> str:
    """`prepare` for any number of days: those with a faulty file are left out, and their faults noted.

    Raises
    ------
    FileFault
        When no day is left.
    """
    data = lake.data
    asked = [data.require_day(day, today=utc_now().date()) for day in days]
    attempt = layout.new_attempt()
    files, catalogues, faults = _checked(asked, attempt, lake)
    sound = [day for day in asked if day not in faults]
    if not sound:
        raise FileFault(told(faults))
    request = ExtractRequest(
        lake=lake.uri,
        raw_root=lake.raw_uri,
        attempt=attempt,
        based_on={day: lake.records.latest(STAGE, day) for day in sound},
        version=STAGES[STAGE].version,
        config_digest=config_digest(STAGE, data),
        id_type=data.id_type,
        raw=data.raw,
        events=data.events,
        rules=data.rules,
        catalogue=data.catalogue,
        files=files,
        catalogues=catalogues,
        faults=faults,
    )
    messages.write(lake.storage, layout.request(attempt), request)
    return attempt


def _checked(
    days: Sequence[dt.date], attempt: str, lake: Lake
) -> tuple[tuple[RawFile, ...], tuple[RawFile, ...], dict[dt.date, str]]:
    """Events files and catalogues of the days without a fault, and the faults of the others."""
    checker = Checker(lake.raw, lake.storage, attempt)
    files: list[RawFile] = []
    catalogues: list[RawFile] = []
    faults: dict[dt.date, str] = {}
    for day in days:
        events, items = _events(lake.raw, day, lake.data), _catalogues(lake.raw, day, lake.data)
        found = [_check(checker, wanted) for wanted in [*events, *items]]
        wrong = [str(fault) for fault in found if isinstance(fault, FileFault)]
        if wrong:
            faults[day] = "; ".join(wrong)
            continue
        sound = [file for file in found if isinstance(file, RawFile)]
        files += sound[: len(events)]
        catalogues += sound[len(events) :]
    return tuple(files), tuple(catalogues), faults


def _check(checker: Checker, wanted: Wanted) -> RawFile | FileFault:
    try:
        return checker.check(wanted)
    except FileFault as fault:
        return fault


def told(faults: Mapping[dt.date, str]) -> str:
    """What is wrong with each day, a line a day; of very many days the last ones by name only."""
    lines, rest = list(faults.values())[:_SHOWN_DAYS], list(faults)[_SHOWN_DAYS:]
    more = [f"... and {len(rest)} more: {', '.join(map(str, rest))}"] if rest else []
    return "\n".join(lines + more)


def _events(storage: Storage, day: dt.date, data: Dataset) -> list[Wanted]:
    """The day's events file; none of a closed day that has none."""
    name, closed = data.raw.path(day), day in data.raw.closed_days
    if closed and not storage.exists(name):
        return []
    return [Wanted(name, day, data.raw.format, raw_targets(data.raw), data.id_type, may_be_empty=closed)]


def _catalogues(storage: Storage, day: dt.date, data: Dataset) -> list[Wanted]:
    """The catalogue that came on that day, if one did."""
    if data.catalogue is None:
        return []
    name = data.catalogue.path(day)
    if not storage.exists(name):
        return []
    targets = catalogue_targets(data.catalogue)
    return [Wanted(name, day, data.catalogue.format, targets, data.id_type, whole=True)]


def read_attempt(attempt: str, lake: Lake) -> tuple[ExtractRequest, ExtractResult]:
    """What an attempt was asked and what it staged; `FileNotFoundError` where it has no result."""
    request = messages.read(lake.storage, layout.request(attempt), ExtractRequest)
    return request, messages.read(lake.storage, layout.result(attempt), ExtractResult)


def check_staged(request: ExtractRequest, result: ExtractResult, lake: Lake) -> list[Check]:
    """The Great Expectations suite on all interactions that an attempt staged."""
    from validation import expectations

    def rows(columns: Sequence[str]) -> "Iterator[pa.RecordBatch]":
        for day, content in result.tables["interactions"].items():
            yield from _staged(lake.storage, request.id_type, day, content, columns)

    found = expectations.check_interactions(rows, request)
    return expectations.named("interactions", found)


def _staged(
    storage: Storage, id_type: str, day: dt.date, content: TableContent, columns: Sequence[str]
) -> "Iterator[pa.RecordBatch]":
    """Staged interactions of a day, which its files do not name."""
    import pyarrow as pa

    kept = [name for name in columns if name != LANDED]
    for batch in tables.batches(storage, "interactions", id_type, content.files, kept):
        yield batch.append_column(LANDED, pa.repeat(pa.scalar(day, pa.date32()), batch.num_rows))


def check_day(day: dt.date, request: ExtractRequest, result: ExtractResult, lake: Lake) -> list[Check]:
    """A day's catalogue, rows, faults, returns and rounded numbers against the data set's bounds."""
    checks = _check_items(day, result, lake)
    checks += daychecks.check_counts(day, result, lake.data)
    return [*checks, *overlap.check(day, request, result, lake)]


def _check_items(day: dt.date, result: ExtractResult, lake: Lake) -> list[Check]:
    """The suite on the catalogue that came on a day; none where none did."""
    from validation import expectations

    if day not in result.tables["catalogue"]:
        return []
    files = result.tables["catalogue"][day].files
    items = tables.read(lake.storage, "catalogue", lake.data.id_type, files)
    suite = expectations.named(f"catalogue.{day}", expectations.check_catalogue(items))
    return [*suite, daychecks.check_items(day, result, lake.data.rules)]


def write_report(
    name: str, request: ExtractRequest, result: ExtractResult, checks: Sequence[Check], lake: Lake
) -> str:
    """Put the report of an attempt and return its address."""
    from validation import report

    counts = {day.isoformat(): found for day, found in result.counts.items()}
    return report.write(lake.storage, STAGE, name, request.attempt, checks, counts)


def commit_day(day: dt.date, request: ExtractRequest, result: ExtractResult, lake: Lake) -> Record:
    """Append the record of one validated day."""
    files = [file for file in (*request.files, *request.catalogues) if file.day == day]
    draft = Draft(
        stage=STAGE,
        partition=day.isoformat(),
        attempt=request.attempt,
        outcome="committed" if files else "closed",
        version=request.version,
        config_digest=request.config_digest,
        inputs=tuple(Input(file.name, file.sha256, bytes=file.bytes) for file in files),
        tables={name: found[day] for name, found in result.tables.items() if day in found},
        counts=result.counts[day],
        details={rowsettings.DETAIL: rowsettings.digest_of(lake.data)},
    )
    return lake.records.commit(draft, request.based_on[day])
