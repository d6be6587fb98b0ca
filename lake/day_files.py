"""The raw files of a day: the set of those that a template finds, in the order of their names.

A template is a path below `NIGHTJAR_RAW` with fields for the day, `{hour}`, and `*` for any part of a name.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterable
from typing import Final

from lake.partitions import HOURS, UTC, hours_of
from lake.storage import Storage

FIELDS: Final = {"partition": "%Y-%m-%d", "year": "%Y", "month": "%m", "day": "%d"}
"""The fields for the day, each as `strftime` writes it."""
HOUR: Final = "hour"
# What Spark and Hadoop leave beside data: marks, checksums and files that are not whole yet.
_HIDDEN: Final = re.compile(r"(^|/)[._]|\.crc$|\._COPYING_$")
HOUR_FIELD: Final = f"{{{HOUR}}}"
_VARIABLE: Final = re.compile(rf"(\{{{HOUR}\}}|\*)")
_ANY: Final = {HOUR_FIELD: f"(?P<{HOUR}>{'|'.join(HOURS)})", "*": "[^/]*"}

_FORMS: Final = {
    "partition": r"\d{4}-\d{2}-\d{2}",
    "year": r"\d{4}",
    "month": r"\d{2}",
    "day": r"\d{2}",
    HOUR: "|".join(HOURS),
}
"""What each field is in a path."""
_PART: Final = re.compile(r"(\{\w+\}|\*)")

List = Callable[[str], list[str]]


def of_day(template: str, day: dt.date) -> str:
    """The template with the fields for the day filled in; what is left are `{hour}` and `*`."""
    for field, form in FIELDS.items():
        template = template.replace(f"{{{field}}}", day.strftime(form))
    return template


def of_hours(template: str, day: dt.date, zone: str = UTC) -> list[str]:
    """The paths of a day that a template without `*` names: one, or one for each hour of its clock."""
    pattern = of_day(template, day)
    hours = hours_of(day, zone) if HOUR_FIELD in pattern else HOURS[:1]
    return [pattern.replace(HOUR_FIELD, hour) for hour in hours]


def is_set(template: str) -> bool:
    """Whether a day may have several files."""
    return _VARIABLE.search(template) is not None


def folder(pattern: str) -> str:
    """The deepest folder that holds all files of a pattern, as `of_day` makes it."""
    return _VARIABLE.split(pattern)[0].rpartition("/")[0]


def above(template: str) -> str:
    """The deepest folder that holds the files of all days."""
    return _PART.split(template)[0].rpartition("/")[0]


def find(storage: Storage, template: str, day: dt.date, listed: List | None = None) -> tuple[str, ...]:
    """The names of a day's files, sorted; hidden files and checksums are no data.

    Parameters
    ----------
    listed
        Lists a folder, where that is done for several days; else the storage does.
    """
    pattern = of_day(template, day)
    if not is_set(template):
        return (pattern,) if storage.exists(pattern) else ()
    wanted = _compiled(pattern)
    names = (listed or storage.list)(folder(pattern))
    return tuple(sorted(name for name in names if wanted.fullmatch(name) and is_data(name)))


def is_data(name: str) -> bool:
    """Whether a file may hold rows: those that are hidden and checksums hold none."""
    return not _HIDDEN.search(name)


def located(template: str, path: str) -> tuple[str, dt.date] | None:
    """What is before the part of a path that a template names, and the day; None where it names none."""
    named: set[str] = set()
    wanted = "".join(_any(part, named) for part in _PART.split(template))
    found = re.fullmatch(f"(?P<before>(?:.*/)?){wanted}", path)
    if found is None:
        return None
    fields = found.groupdict()
    text = fields.get("partition") or "-".join(fields[name] for name in ("year", "month", "day"))
    try:
        return fields["before"], dt.date.fromisoformat(text)
    except ValueError:  # no day of any year
        return None


def _any(part: str, named: set[str]) -> str:
    """A part of a template as a pattern of paths; a field that it has twice is the same there."""
    name = part[1:-1]
    if part == "*" or name not in _FORMS or part[0] != "{":
        return _ANY.get(part) or re.escape(part)
    again = name in named
    named.add(name)
    return f"(?P={name})" if again else f"(?P<{name}>{_FORMS[name]})"


def missing_hours(template: str, day: dt.date, names: Iterable[str], zone: str = UTC) -> tuple[str, ...]:
    """The hours of a day's clock that have no file; none where the template has no `{hour}`."""
    if HOUR_FIELD not in template:
        return ()
    wanted = _compiled(of_day(template, day))
    there = {found[HOUR] for name in names if (found := wanted.fullmatch(name))}
    return tuple(hour for hour in hours_of(day, zone) if hour not in there)


def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression; all its `{hour}` are the same hour."""
    parts = [_ANY.get(part) or re.escape(part) for part in _VARIABLE.split(pattern)]
    first, hour, rest = "".join(parts).partition(_ANY[HOUR_FIELD])
    return re.compile(first + hour + rest.replace(hour, f"(?P={HOUR})") if hour else first)
