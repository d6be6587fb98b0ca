"""Days: the partitions of everything, when a day is over, and the only clock.

`resolve` is the only reader of a run's date, `utc_now` the only reader of the time.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from lake.errors import PermanentError
from nightjar_reader.fields import is_day

ONE_DAY = dt.timedelta(days=1)


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


def end_of(day: dt.date) -> dt.datetime:
    """The end of `day` in UTC: the first instant that a run as of `day` does not see."""
    return dt.datetime.combine(day + ONE_DAY, dt.time(), tzinfo=dt.UTC)


def utc_now() -> dt.datetime:
    """The time, for stamps and waits only; no content depends on it."""
    return dt.datetime.now(dt.UTC)


def stamp() -> str:
    """`utc_now` as ISO 8601 text with microseconds."""
    return utc_now().isoformat(timespec="microseconds")
