"""What a night waits for, from when the wait counts, and what happens when it is over.

Plain functions of the lake and a moment, which the sensors call at every poke. What one night
needs of another is read from records and night marks, never from Airflow's runs.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from lake.delivery import lack
from lake.lake import Lake
from lake.names import StageName
from lake.partitions import ONE_DAY, day_of, days
from lake.records import Record, Records
from lake.settings import Waits

RAW_DAYS = 2  # after these a file is not merely late: the night fails at once
NAMED_DAYS = 5  # so that the message stays a line
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


@dataclass(frozen=True)
class Poke:
    """One look at the lake.

    Attributes
    ----------
    day
        The partition of the night that waits.
    waits
        How long each wait may take.
    first
        When this wait looked for the first time.
    now
        The time of this look.
    """

    day: dt.date
    lake: Lake
    waits: Waits
    first: dt.datetime
    now: dt.datetime


@dataclass(frozen=True)
class Pending:
    """What is not there yet.

    Attributes
    ----------
    what
        A description of it.
    until
        When the wait ends.
    needed
        Whether the night fails without it; otherwise it goes on.
    """

    what: str
    until: dt.datetime
    needed: bool = False


def raw_day(poke: Poke) -> Pending | None:
    """Wait for the raw files of the day; not for a closed day, and not for one long past."""
    lacking = lack(poke.lake.raw, poke.lake.data, poke.day)
    if lacking is None:
        return None
    recent = (day_of(poke.now, poke.lake.data.zone) - poke.day).days <= RAW_DAYS
    until = _after(poke.waits.raw_wait if recent else dt.timedelta(), [poke.first])
    return Pending(lacking.what, until, lacking.needed)


def history(poke: Poke) -> Pending | None:
    """Wait for the ingest records of all days before D, but those known to be missing."""
    records = poke.lake.records
    ingested = records.partitions(StageName.INGEST)
    before = days(poke.lake.data.first_day, poke.day - ONE_DAY)
    missing = [day for day in before if day not in ingested]
    if missing:
        known = _known_missing(records, poke.day)
        missing = [day for day in missing if day.isoformat() not in known]
    if not missing:
        return None
    since = [poke.first, *_written(records.all_current(StageName.INGEST, poke.day))]
    return Pending(f"the ingest records of {_names(missing)}", _after(poke.waits.history_wait, since))


def _known_missing(records: Records, day: dt.date) -> set[str]:
    earlier = [built for built in records.partitions(StageName.FEATURES) if built < day]
    newest = records.current(StageName.FEATURES, earlier[-1]) if earlier else None
    return set(newest.details.get("missing_days", ())) if newest else set()


def previous_decision(poke: Poke) -> Pending | None:
    """Wait until the newest night of D-1 is decided, if one has begun."""
    records, before = poke.lake.records, poke.day - ONE_DAY
    night = records.newest_night(before)
    if not night or records.is_decided(before, night):
        return None
    since = [poke.first, *_written(records.all_current(StageName.TRAIN, before))]
    return Pending(
        f"the decision of night {night} of {before}", _after(poke.waits.previous_decision_wait, since)
    )


def decision(poke: Poke, state: str | None) -> Pending | None:
    """Wait until `decide` of this run has ended, in whatever state.

    Parameters
    ----------
    state
        The state of the task.
    """
    if state in ENDED:
        return None
    records = poke.lake.records
    features = records.current(StageName.FEATURES, poke.day)
    decided = records.all_current(StageName.TRAIN, poke.day - ONE_DAY)
    since = [poke.first, *_written([*decided, *([features] if features else [])])]
    return Pending(f"the decision of this night ({poke.day})", _after(poke.waits.decision_wait, since))


def _written(records: Iterable[Record]) -> list[dt.datetime]:
    return [dt.datetime.fromisoformat(record.written_at) for record in records]


def _after(wait: dt.timedelta, since: list[dt.datetime]) -> dt.datetime:
    return max(since) + wait


def _names(missing: list[dt.date]) -> str:
    named = ", ".join(day.isoformat() for day in missing[:NAMED_DAYS])
    more = len(missing) - NAMED_DAYS
    return f"{named} and {more} more days" if more > 0 else named
