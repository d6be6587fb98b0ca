"""Days: the partitions of everything, when one begins and is over in a zone, and the only clock.

`resolve` is the only reader of a run's date, `utc_now` the only reader of the time. A day begins at the
first moment at which its zone's clocks show it, or a later one, and ends where the next begins: it has 23 or
25 hours where clocks change, and none where they skip it. Python and Spark have the same rule.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from lake.errors import PermanentError
from nightjar_reader.fields import is_day

ONE_DAY = dt.timedelta(days=1)
UTC: Final = "UTC"
HOURS: Final = tuple(f"{hour:02d}" for hour in range(24))
"""How clocks call the hours of a day."""


def parse(text: str) -> dt.date:
    """Read a partition key.

    Parameters
    ----------
    text
        A day as ``YYYY-MM-DD``.

    Raises
    ------
    PermanentError
        When the text is not such a day.
    """
    if not is_day(text):
        raise PermanentError(f"partition {text!r} is not a day: expected YYYY-MM-DD, such as 2017-09-30")
    return dt.date.fromisoformat(text)


def resolve(context: Mapping[str, Any]) -> dt.date:
    """The day that a run processes: its partition key, else ``conf["partition"]``.

    Parameters
    ----------
    context
        The Airflow task context.

    Raises
    ------
    PermanentError
        When the run has neither, or it is not a day.
    """
    run = context.get("dag_run")
    key = getattr(run, "partition_key", None) or (getattr(run, "conf", None) or {}).get("partition")
    if not key:
        raise PermanentError(
            "this run has no partition: trigger it with a partition key such as 2017-09-30, "
            'or with the configuration {"partition": "2017-09-30"}'
        )
    return parse(key)


def days(first: dt.date, last: dt.date) -> Iterator[dt.date]:
    """Every day from `first` to `last`, both included."""
    for offset in range((last - first).days + 1):
        yield first + dt.timedelta(days=offset)


def begin_of(day: dt.date, zone: str) -> dt.datetime:
    """The first instant of `day` in a zone, as UTC.

    A midnight that comes twice is the first; where clocks skip it, the day begins when they do.
    """
    return dt.datetime.combine(day, dt.time(), tzinfo=ZoneInfo(zone)).astimezone(dt.UTC)


def end_of(day: dt.date, zone: str) -> dt.datetime:
    """The end of `day` in a zone, as UTC: the first instant that a run as of `day` does not see."""
    return begin_of(day + ONE_DAY, zone)


def day_of(instant: dt.datetime, zone: str) -> dt.date:
    """The day in which an instant lies."""
    shown = instant.astimezone(ZoneInfo(zone)).date()
    # Clocks that went back over midnight show the day before again, which has ended.
    return shown + ONE_DAY if instant >= end_of(shown, zone) else shown


def begin_sql(day: str, zone: str) -> str:
    """The SQL of `begin_of`, given that of a date; for a session in UTC."""
    midnight = f"CAST({day} AS TIMESTAMP)"
    return midnight if zone == UTC else f"to_utc_timestamp({midnight}, '{zone}')"


def day_sql(instant: str, zone: str) -> str:
    """The SQL of `day_of`, given that of a timestamp; for a session in UTC."""
    if zone == UTC:
        return f"to_date({instant})"
    shown = f"to_date(from_utc_timestamp({instant}, '{zone}'))"
    after = f"date_add({shown}, 1)"
    return f"if({instant} >= {begin_sql(after, zone)}, {after}, {shown})"


def hours_of(day: dt.date, zone: str) -> tuple[str, ...]:
    """The hours that clocks show on a day; one that comes twice is one."""
    return tuple(
        hour
        for hour in HOURS
        if any(_is_shown(dt.datetime.combine(day, dt.time(int(hour), minute)), zone) for minute in (0, 59))
    )


def _is_shown(local: dt.datetime, zone: str) -> bool:
    """Whether a clock shows a time; it skips the others at once, so that a whole hour lacks both ends."""
    there = local.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC).astimezone(ZoneInfo(zone))
    return there.replace(tzinfo=None) == local


def utc_now() -> dt.datetime:
    """The time, for stamps and waits only; no content depends on it."""
    return dt.datetime.now(dt.UTC)


def stamp() -> str:
    """`utc_now` as ISO 8601 text with microseconds."""
    return utc_now().isoformat(timespec="microseconds")
