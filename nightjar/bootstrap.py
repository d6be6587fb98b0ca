"""Bootstrap: the ingest of a range of days in one Spark pass, one record per day.

The records are those that the nights would have written: same counts, digests and fingerprints.
"""

import datetime as dt
import logging
from collections import Counter
from collections.abc import Mapping

from lake.errors import Conflict, FileFault, GateFailed, PermanentError
from lake.lake import Lake
from lake.partitions import days
from lake.records import Record
from nightjar import daychecks, ingest
from nightjar.history import Past
from spark_jobs.plans import ExtractRequest, ExtractResult
from validation.gate import CRITICAL, Check, failed, require

log = logging.getLogger(__name__)


def prepare(first: dt.date, last: dt.date, lake: Lake) -> str:
    """Check the raw files of all days from `first` to `last` and write what `extract` has to do.

    A day with a file that is missing, empty, unreadable, or lacks a column is left out.

    Returns
    -------
    str
        The attempt.

    Raises
    ------
    FileFault
        When that leaves no day; the message names each file.
    """
    if last < first:
        raise PermanentError(f"a bootstrap from {first} to {last} has no day: give the earlier day first")
    return ingest.prepare_days(days(first, last), lake)


def commit(attempt: str, lake: Lake) -> list[Record]:
    """Validate the range and commit each day that its own night would have committed.

    Raises
    ------
    FileFault, GateFailed, Conflict
        Naming the days that were left out for their files, refused, or committed with other
        content by another run meanwhile; after the others were committed. `PermanentError` when
        these reasons differ by day.
    GateFailed
        When what was staged breaks a row rule; before anything was committed.
    """
    request, result = ingest.read_attempt(attempt, lake)
    faults = request.faults | result.faults
    wanted = sorted({*request.based_on, *faults})
    staged = ingest.check_staged(request, result, lake)
    past = Past(wanted, lake)
    by_day = {day: _checks(day, faults, request, result, past, lake) for day in wanted}
    name = f"{wanted[0]}_{wanted[-1]}"
    every = [*staged, *(check for checks in by_day.values() for check in checks)]
    page = ingest.write_report(name, request, result, every, lake)
    require(staged, f"ingest of {wanted[0]} to {wanted[-1]}", page)
    records: list[Record] = []
    refused: dict[dt.date, PermanentError] = {}
    for day, checks in by_day.items():
        try:
            if day in faults:
                raise FileFault(faults[day])
            ingest.require_day(day, attempt, checks, page, lake)
            records.append(past.keep(ingest.commit_day(day, request, result, lake)))
        except (FileFault, GateFailed, Conflict) as error:
            refused[day] = error
    log.info("committed %d days of %d", len(records), len(wanted))
    counts = Counter[str]()
    for record in records:
        counts.update(record.counts)
    if records:
        log.info("ingest of %d days: %s", len(records), daychecks.told(counts))
    _raise(refused)
    return records


def _checks(
    day: dt.date,
    faults: Mapping[dt.date, str],
    request: ExtractRequest,
    result: ExtractResult,
    past: Past,
    lake: Lake,
) -> list[Check]:
    """A day's checks; a day that they do not refuse is history for those after it."""
    if day in faults:
        return [Check(f"{day}.files", CRITICAL, False, faults[day], "sound raw files")]
    checks = [*ingest.check_day(day, request, result, lake), *past.judge(day, request, result)]
    if not failed(checks):
        past.accept(day, result)
    return checks


def _raise(refused: dict[dt.date, PermanentError]) -> None:
    kinds = {type(error) for error in refused.values()}
    if kinds:
        kind = kinds.pop() if len(kinds) == 1 else PermanentError
        raise kind(ingest.told({day: f"{error}" for day, error in refused.items()}))
