"""Samples of raw files: a day that lies where its template says, or files from anywhere."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lake import day_files, delivery, place_kinds
from lake.dataset import Dataset
from lake.errors import ConfigError, PermanentError
from lake.storage import open_storage
from nightjar_reader import address
from nightjar_reader.errors import ReaderError


@dataclass(frozen=True)
class Sample:
    """Files to look at.

    Attributes
    ----------
    root
        The address that stands for `NIGHTJAR_RAW`.
    day
        The day that they are taken for.
    data
        The data set, as it is for them.
    is_day
        Whether they are all files of that day, where the template has them.
    any_day
        Whether their rows may be of any day, since nothing says of which they are.
    """

    root: str
    day: dt.date
    data: Dataset
    is_day: bool = True
    any_day: bool = False


def of_raw(raw: str, data: Dataset, day: dt.date | None, today: dt.date) -> Sample:
    """A day below `NIGHTJAR_RAW`; without one the newest that the data set has.

    Raises
    ------
    PermanentError
        When there is none.
    """
    if day:
        return Sample(raw, day, data)
    names = open_storage(raw).list(day_files.above(data.raw.files))
    last = min(data.last_day or dt.date.max, today - dt.timedelta(days=1))
    found = [day_files.located(data.raw.files, name) for name in names if day_files.is_data(name)]
    known = [of for before, of in filter(None, found) if not before and data.first_day <= of <= last]
    if not known:
        there = f"{len(names)} files, such as {names[0]}" if names else "no file"
        raise PermanentError(
            f"{raw}/{data.raw.files}: expected files of a day from {data.first_day} to {last}, "
            f"found {there}; put a day there, or name files by --sample"
        )
    return Sample(raw, max(known), data)


def of_place(place: str, data: Dataset, day: dt.date | None) -> Sample:
    """The files at a path or an address: a day where the ends of their paths are as the template says.

    Raises
    ------
    PermanentError
        When there is none, none of that day, or files at more than one depth of which none is of a day.
    """
    root, names = files_at(place)
    found = {name: day_files.located(data.raw.files, f"{root}/{name}") for name in names}
    days = {where for where in found.values() if where and day in (None, where[1])}
    if not days:
        return _piece(root, names, data, day)
    before, of = max(days, key=lambda where: where[1])
    own = sorted(name for name, where in found.items() if where == (before, of))
    above = place_kinds.place(before)
    whole = delivery.files(open_storage(above), data, of)
    if {f"{before}{name}" for name in whole} <= {f"{root}/{name}" for name in own}:
        return Sample(above, of, data)
    return _piece(root, own, data, of)


def files_at(place: str) -> tuple[str, list[str]]:
    """A folder, by its path or its address on S3, and the files in it: all, or the one that the place is.

    Raises
    ------
    ConfigError
        When the place is no path and no address.
    PermanentError
        When there is none.
    """
    try:
        where = address.parse(str(Path(place).expanduser()) if "://" not in place else place)
    except ReaderError as error:
        raise ConfigError(str(error)) from error
    root = where.uri if where.bucket else where.path
    folder, _, name = root.rpartition("/")
    if open_storage(folder).exists(name):
        return folder, [name]
    names = [name for name in open_storage(root).list("") if day_files.is_data(name)]
    if not names:
        raise PermanentError(f"{place}: expected a file, or a folder with files, found none")
    return root, names


def _piece(root: str, names: Sequence[str], data: Dataset, day: dt.date | None) -> Sample:
    """Files that are no whole day: nobody can say how many rows and hours there would be."""
    depths = {name.count("/") for name in names}
    if len(depths) > 1:
        raise PermanentError(
            f"{root}: expected paths that end as {data.raw.files}, or all files in folders of one depth, "
            f"found {len(names)} files, such as {names[0]}; name one folder of them"
        )
    pattern = names[0] if len(names) == 1 else "/".join("*" * (depths.pop() + 1))
    anywhere = {"files": pattern, "ready": None, "manifest": None}
    never_closed = {"closed_days": (), "closed_weekdays": (), "closed_calendar": ()}
    changed = {
        "raw": data.raw.model_copy(update=anywhere | never_closed),
        "rules": data.rules.model_copy(update=ANY_ROWS),
        "catalogue": None,
    }
    of_piece = data.model_copy(update=changed)
    return Sample(place_kinds.place(root), day or data.first_day, of_piece, is_day=False, any_day=day is None)


ANY_ROWS = {"min_rows": 0, "max_rows": 10**12}
"""The rules of a day of which only some rows are there."""
