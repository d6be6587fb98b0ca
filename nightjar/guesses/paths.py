"""The template that finds the files of a day, from the paths of some of them."""

import datetime as dt
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Final

from lake.day_files import HOUR_FIELD

_DAY: Final = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<first>-|_|/(?:month=|m=)?|)(?P<month>\d\d)(?P<second>-|_|/(?:day=|d=)?|)"
    r"(?P<day>\d\d)(?!\d)"
)
_HOUR: Final = re.compile(r"(?<=[/_T-])(?P<name>hour=|hr=|h=|)(?P<hour>[01]\d|2[0-3])(?=[/._]|$)")
_NO_DAY: Final = "events/{partition}"


@dataclass(frozen=True)
class Found:
    """What the paths of files tell.

    Attributes
    ----------
    root
        What stands for `NIGHTJAR_RAW`.
    template, why
        The value of ``raw.files``, and what it rests on.
    days
        The days of the files, sorted.
    """

    root: str
    template: str
    why: str
    days: tuple[dt.date, ...] = ()


def found_in(paths: Sequence[str]) -> Found:
    """The template of files, by their absolute paths."""
    told = {path: _with_fields(path) for path in paths}
    days = tuple(sorted({day for _, day in told.values() if day}))
    if not days:
        suffix = "".join(PurePosixPath(paths[0]).suffixes)
        why = "UNSURE: no path names a day; a file of each day has to lie there (`nightjar cut` makes them)"
        return Found(os.path.dirname(paths[0]), f"{_NO_DAY}{suffix}", why)
    template = _common(sorted({text for text, day in told.values() if day}))
    root, below = _below(template)
    why = f"the path of {paths[0].removeprefix(root).lstrip('/')}"
    if "*" in below:
        why += "; * is what differs, or may differ, in names of one day"
    return Found(root or "/", below, why, days)


def _with_fields(path: str) -> tuple[str, dt.date | None]:
    """A path with fields in place of its day and hour, and the day; without one as it is."""
    for match in _DAY.finditer(path):
        try:
            day = dt.date(*(int(match[name]) for name in ("year", "month", "day")))
        except ValueError:
            continue
        is_iso = match["first"] == match["second"] == "-"
        field = "{partition}" if is_iso else f"{{year}}{match['first']}{{month}}{match['second']}{{day}}"
        before, rest = path[: match.start()], path[match.end() :].replace(match[0], field)
        hour = _HOUR.search(rest)
        if hour and (hour["name"] or hour.start() <= 1):
            rest = rest[: hour.start("hour")] + HOUR_FIELD + rest[hour.end() :]
        return _open_names(before + field + rest), day
    return path, None


def _open_names(template: str) -> str:
    """With ``*`` for the file's name where a folder is that of the day: others may lie beside it."""
    folder, _, name = template.rpartition("/")
    if "{" in name:
        return template
    stem, dot, suffix = name.partition(".")
    return f"{folder}/*{dot}{suffix}" if stem else template


def _common(templates: Sequence[str]) -> str:
    """One template of several: what differs in a name becomes ``*``."""
    split = [template.split("/") for template in templates]
    if len({len(parts) for parts in split}) > 1:  # the most frequent depth
        depth = max({len(parts) for parts in split}, key=[len(parts) for parts in split].count)
        split = [parts for parts in split if len(parts) == depth]
    return "/".join(_merged(names) for names in zip(*split, strict=True))


def _merged(names: Sequence[str]) -> str:
    if len(set(names)) == 1:
        return names[0]
    before = _shared(names)
    after = _shared([name[len(before) :][::-1] for name in names])[::-1]
    merged = f"{before}*{after}"
    return merged if merged.count("{") == merged.count("}") else "*"


def _shared(texts: Sequence[str]) -> str:
    """The letters that all begin with."""
    letters = takewhile(lambda each: len(set(each)) == 1, zip(*texts, strict=False))
    return "".join(each[0] for each in letters)


def _below(template: str) -> tuple[str, str]:
    """The root and what is below it: the folder above the first field is the last that the template names."""
    parts = template.split("/")
    first = next(place for place, part in enumerate(parts) if set(part) & set("{*"))
    start = max(first - 1, 1)
    return "/".join(parts[:start]), "/".join(parts[start:])
