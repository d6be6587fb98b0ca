"""What the delivery of a raw day lacks: its files, its hours, its ready marker, or files of its manifest."""

import csv
import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lake import day_files
from lake.dataset import Dataset
from lake.day_files import List
from lake.errors import FileFault
from lake.raw_sections import RawSection
from lake.storage import Storage

_COLUMNS = ["file", "rows"]


@dataclass(frozen=True)
class Lack:
    """What is not there yet.

    Attributes
    ----------
    what
        A description of it, with where it is expected.
    needed
        Whether the day cannot be taken in without it.
    """

    what: str
    needed: bool


def files(storage: Storage, data: Dataset, day: dt.date, listed: List | None = None) -> tuple[str, ...]:
    """The names of a day's raw files, sorted; marker and manifest, which may lie among them, are none.

    Parameters
    ----------
    listed
        See `lake.day_files.find`.
    """
    beside = marks(data, day)
    return tuple(name for name in day_files.find(storage, data.raw.files, day, listed) if name not in beside)


def lack(storage: Storage, data: Dataset, day: dt.date) -> Lack | None:
    """What a day's delivery lacks; None where it is whole, and of a closed day.

    Raises
    ------
    FileFault
        When the manifest cannot be read.
    """
    raw = data.raw
    if raw.is_closed(day):
        return None
    names = files(storage, data, day)
    if not names:
        kind = "raw files" if day_files.is_set(raw.files) else "raw file"
        return Lack(f"the {kind} of {day}, expected at {storage.root}/{raw.path(day)}", needed=True)
    return unready(storage, data, day, names) or _unfinished(data, day, names)


def unready(storage: Storage, data: Dataset, day: dt.date, names: Sequence[str]) -> Lack | None:
    """What a day lacks by its marker and its manifest."""
    for mark in marks(data, day):
        if not storage.exists(mark):
            return Lack(f"the ready marker of {day}, expected at {storage.root}/{mark}", needed=True)
    there = _by_end(names)
    lacking = [name for name in manifest(storage, data.raw, day) if name not in there]
    if lacking:
        return Lack(
            f"the raw file {lacking[0]} of {day}, one of {len(lacking)} that its manifest lists", True
        )
    return None


def _unfinished(data: Dataset, day: dt.date, names: Sequence[str]) -> Lack | None:
    """What a day may still get; nothing where it has all of one file, a marker or all hours."""
    raw = data.raw
    if marks(data, day) or not day_files.is_set(raw.files):
        return None
    if day_files.HOUR_FIELD not in raw.files:
        told = f"{len(names)} are there; raw.ready or raw.manifest would end this wait"
        return Lack(f"more raw files of {day} ({told})", needed=False)
    missing = day_files.missing_hours(raw.files, day, names, data.zone)
    return Lack(f"the raw files of {day}, hours {', '.join(missing)}", needed=False) if missing else None


def marks(data: Dataset, day: dt.date) -> list[str]:
    """The files that have to be there before a day is taken in, besides its raw files."""
    templates = [template for template in (data.raw.ready, data.raw.manifest) if template]
    return [mark for template in templates for mark in day_files.of_hours(template, day, data.zone)]


def manifest(storage: Storage, raw: RawSection, day: dt.date) -> Mapping[str, int]:
    """The rows of each file that a day's manifest lists; none where the data set has no manifest.

    Raises
    ------
    FileFault
        When it is no CSV of the columns ``file`` and ``rows`` in UTF-8, or lists a file twice.
    """
    if raw.manifest is None:
        return {}
    path, listed = day_files.of_day(raw.manifest, day), dict[str, int]()
    try:
        lines = storage.read(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise _unreadable(storage, path, "bytes that are no UTF-8", day) from error
    rows = list(csv.reader(lines))
    if not rows or rows[0] != _COLUMNS:
        raise _unreadable(storage, path, f"{rows[0] if rows else 'nothing'} as the first line", day)
    for row in filter(None, rows[1:]):
        if len(row) != len(_COLUMNS) or not (row[1].isascii() and row[1].isdigit()) or row[0] in listed:
            raise _unreadable(storage, path, f"the line {','.join(row)}", day)
        listed[row[0]] = int(row[1])
    return listed


def _unreadable(storage: Storage, path: str, found: str, day: dt.date) -> FileFault:
    return FileFault(
        f"{storage.root}/{path}: expected a CSV file with the columns file and rows, and a line for each raw "
        f"file of {day}, found {found}; deliver it again, then run {day} again"
    )


def compare(listed: Mapping[str, int], counted: Mapping[str, int], place: str, day: dt.date) -> None:
    """Refuse a day whose files are not those of its manifest, or have other rows.

    Parameters
    ----------
    listed
        What `manifest` gives.
    counted
        The rows of each file that is there, by its name.
    place
        The manifest's address.

    Raises
    ------
    FileFault
        Naming the first such file.
    """
    told, there = {}, _by_end(counted)
    for name, rows in listed.items():
        named = there.get(name, [])
        if len(named) > 1:
            raise _other(place, f"the whole path of each file, found {name}, in which {len(named)} end", day)
        told.update(dict.fromkeys(named, rows))
    if unknown := sorted(counted.keys() - told.keys()):
        raise _other(place, f"a line for each raw file, found none for {unknown[0]}", day)
    for file, rows in sorted(told.items()):
        if counted[file] != rows:
            raise _other(place, f"{rows} rows in {file}, as it says, found {counted[file]}", day)


def _other(place: str, what: str, day: dt.date) -> FileFault:
    return FileFault(f"{place}: expected {what}; deliver files and manifest again, then run {day} again")


def _by_end(names: Iterable[str]) -> dict[str, list[str]]:
    """The files whose paths end in some names: what a line of a manifest may stand for."""
    ends: dict[str, list[str]] = defaultdict(list)
    for name in names:
        parts = name.split("/")
        for at in range(len(parts)):
            ends["/".join(parts[at:])].append(name)
    return ends
