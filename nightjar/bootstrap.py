"""Bootstrap: the ingest of a range of days in one Spark pass, one record per day.

The records are those that the nights would have written: same counts, digests and fingerprints.
"""

import datetime as dt
import logging

from lake.errors import Conflict, GateFailed, NightjarError, PermanentError
from lake.partitions import days
from lake.records import Record
from lake.settings import Settings
from nightjar import ingest
from validation.gate import require

log = logging.getLogger(__name__)


def prepare(first: dt.date, last: dt.date, settings: Settings) -> str:
    """Check the raw files of all days from `first` to `last` and write what `extract` has to do.

    Returns
    -------
    str
        The attempt.

    Raises
    ------
    FileFault
        Naming every file that is missing, empty, unreadable, or lacks a column.
    """
    if last < first:
        raise PermanentError(f"a bootstrap from {first} to {last} has no day: give the earlier day first")
    return ingest.prepare_days(days(first, last), settings)


def commit(attempt: str, settings: Settings) -> list[Record]:
    """Validate the range and commit each day that its own night would have committed.

    Raises
    ------
    GateFailed
        Naming the days that were refused, after the others were committed; or, when what was
        staged breaks a row rule, before anything was.
    Conflict
        Naming the days of which another run committed other content meanwhile.
    """
    request, result = ingest.read_attempt(attempt, settings)
    wanted = list(request.based_on)
    staged = ingest.check_staged(request, result, settings)
    by_day = {day: ingest.check_day(day, result, settings.data) for day in wanted}
    name = f"{wanted[0]}_{wanted[-1]}"
    every = [*staged, *(check for checks in by_day.values() for check in checks)]
    page = ingest.write_report(name, request, result, every, settings)
    require(staged, f"ingest of {wanted[0]} to {wanted[-1]}", page)
    records: list[Record] = []
    refused: list[NightjarError] = []
    for day, checks in by_day.items():
        try:
            require(checks, f"ingest of {day}", page)
            records.append(ingest.commit_day(day, request, result, settings))
        except (GateFailed, Conflict) as error:
            refused.append(error)
    log.info("committed %d days of %d", len(records), len(wanted))
    _raise(refused)
    return records


def _raise(refused: list[NightjarError]) -> None:
    if refused:
        kind = GateFailed if any(isinstance(error, GateFailed) for error in refused) else Conflict
        raise kind("\n".join(str(error) for error in refused))
