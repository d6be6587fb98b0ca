"""The raw files of the days to take in: which of them there are, and the check of each."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import chain
from typing import Final

from lake import day_files, delivery
from lake.day_files import List
from lake.errors import FileFault
from lake.formats import format_of
from lake.lake import Lake
from lake.raw_sections import CatalogueSection
from lake.storage import Storage
from nightjar.rawfiles.check import Checker, FileSpec
from spark_jobs.casts import catalogue_targets, raw_targets
from spark_jobs.plans import RawFile

_PART_BYTES: Final = 32 << 20  # of files that one thread checks, and whose copies become one
_SHOWN: Final = 5  # faults of a day: thousands of wrong files shall give a message that somebody reads

Looked = Mapping[tuple[dt.date, str], RawFile | FileFault]
"""What became of each file, by its day and its name."""


@dataclass
class Checked:
    """What the days to take in hold.

    Attributes
    ----------
    files, catalogues
        Events files and catalogues of the days without a fault, by day and name.
    faults
        What is wrong with each other day.
    """

    files: list[RawFile] = field(default_factory=list)
    catalogues: list[RawFile] = field(default_factory=list)
    faults: dict[dt.date, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Set:
    """The files of one kind that a day has, and what they have to hold.

    Attributes
    ----------
    place
        The address of the pattern that found them.
    needs_rows
        Whether one of them has to have a row.
    """

    day: dt.date
    place: str
    specs: list[FileSpec]
    needs_rows: bool

    def sound(self, looked: Looked) -> list[RawFile]:
        """The files, none of which has a fault."""
        each = [looked[spec.day, spec.name] for spec in self.specs]
        if faults := [str(one) for one in each if isinstance(one, FileFault)]:
            more = [f"and {len(faults) - _SHOWN} more files"] if len(faults) > _SHOWN else []
            raise FileFault("; ".join(faults[:_SHOWN] + more))
        files = [one for one in each if isinstance(one, RawFile)]
        if self.needs_rows and files and not any(file.rows for file in files):
            raise FileFault(
                f"{self.place}: expected rows, found none in {len(files)} files; deliver the day again, or "
                f"list it in raw.closed_days, then run {self.day} again"
            )
        return files


_Found = dict[dt.date, tuple[_Set, _Set]]


def check(
    days: Iterable[dt.date], attempt: str, lake: Lake, threads: int = 1, only_events: bool = False
) -> Checked:
    """Find the raw files of days, and check each.

    Parameters
    ----------
    attempt
        The attempt that copies for Spark belong to.
    threads
        How many files are checked at once.
    only_events
        Whether catalogues are left alone, so that none of them can be a fault.
    """
    found, faults = _found(days, lake, only_events)
    specs = [spec for sets in found.values() for one in sets for spec in one.specs]
    checker, checked = Checker(lake.raw, lake.storage, attempt), Checked(faults=faults)
    with ThreadPoolExecutor(threads) as pool:
        sizes = pool.map(partial(_size, lake.raw), specs)
        each = pool.map(checker.look, _parts(zip(specs, sizes, strict=True)))
        looked = {(s.day, s.name): file for s, file in zip(specs, chain.from_iterable(each), strict=True)}
    for day, (events, items) in found.items():
        try:
            files, catalogues = events.sound(looked), items.sound(looked)
            _compare(files, day, lake)
        except FileFault as fault:
            faults[day] = str(fault)
        else:
            checked.files += files
            checked.catalogues += catalogues
    return checked


def _found(days: Iterable[dt.date], lake: Lake, only_events: bool) -> tuple[_Found, dict[dt.date, str]]:
    """Events and catalogue of each day, and the faults of the days that lack files."""
    catalogue = None if only_events else lake.data.catalogue
    found: _Found = {}
    faults, listed = {}, cache(lake.raw.list)
    for day in days:
        try:
            events, items = _events(lake, day, listed), _items(lake, catalogue, day, listed)
            _require_apart(events, items)
            _require_ready(lake, events)
        except FileFault as fault:
            faults[day] = str(fault)
        else:
            found[day] = events, items
    return found, faults


def _size(storage: Storage, spec: FileSpec) -> int:
    """The bytes of a file; none where it is not there, which its check tells."""
    try:
        return storage.size(spec.name)
    except FileNotFoundError:
        return 0


def _parts(specs: Iterable[tuple[FileSpec, int]]) -> Iterator[list[FileSpec]]:
    """Files of one kind and day, in lists of some `_PART_BYTES`: their names and bytes alone decide."""
    part: list[FileSpec] = []
    total = 0
    for spec, size in specs:
        if part and ((part[0].day, part[0].whole) != (spec.day, spec.whole) or total + size > _PART_BYTES):
            yield part
            part, total = [], 0
        part.append(spec)
        total += size
    if part:
        yield part


def _events(lake: Lake, day: dt.date, listed: List) -> _Set:
    """The day's events; none of a closed day that has none."""
    raw, closed = lake.data.raw, lake.data.raw.is_closed(day)
    place, is_set = f"{lake.raw.root}/{raw.path(day)}", day_files.is_set(raw.files)
    names = delivery.files(lake.raw, lake.data, day, listed)
    if is_set and not names and not closed:
        raise _lacking(day, place, listed(day_files.folder(raw.path(day))))
    if not is_set and not closed:
        names = (raw.path(day),)  # the check of a file says what is wrong with one that is not there
    of_file = FileSpec(
        "",
        day,
        format_of(raw),
        raw_targets(raw),
        lake.data.id_type,
        optional=raw.optional,
        stamps=raw.stamps,
    )
    specs = [replace(of_file, name=name, may_be_empty=closed or is_set) for name in names]
    return _Set(day, place, specs, needs_rows=not closed)


def _items(lake: Lake, catalogue: CatalogueSection | None, day: dt.date, listed: List) -> _Set:
    """The catalogue that came on that day, if one did."""
    if catalogue is None:
        return _Set(day, "", [], needs_rows=False)
    is_set, targets = day_files.is_set(catalogue.files), catalogue_targets(catalogue)
    of_file = FileSpec(
        "",
        day,
        format_of(catalogue),
        targets,
        lake.data.id_type,
        whole=True,
        may_be_empty=is_set,
        optional=catalogue.columns.optional,
    )
    names = day_files.find(lake.raw, catalogue.files, day, listed)
    place = f"{lake.raw.root}/{catalogue.path(day)}"
    return _Set(day, place, [replace(of_file, name=name) for name in names], needs_rows=True)


def _compare(files: Sequence[RawFile], day: dt.date, lake: Lake) -> None:
    """Compare a day with its manifest, if it has one; a closed day may have none."""
    raw = lake.data.raw
    if files and raw.manifest and not raw.is_closed(day):
        place = f"{lake.raw.root}/{day_files.of_day(raw.manifest, day)}"
        counted = {file.name: file.rows for file in files}
        delivery.compare(delivery.manifest(lake.raw, raw, day), counted, place, day)


def _lacking(day: dt.date, place: str, others: Sequence[str]) -> FileFault:
    there = f"none among {len(others)}, such as {others[0]}" if others else "none"
    return FileFault(
        f"{place}: expected files of {day}, found {there}; deliver them, or let raw.files name those there "
        f"are, then run {day} again"
    )


def _require_ready(lake: Lake, events: _Set) -> None:
    """Refuse a day whose marker or manifest is not there, or that lacks a file which the manifest lists."""
    raw, day, names = lake.data.raw, events.day, [spec.name for spec in events.specs]
    lacking = None if raw.is_closed(day) else delivery.unready(lake.raw, lake.data, day, names)
    if lacking:
        raise FileFault(f"{lacking.what}: found none; run {day} again once it is there")


def _require_apart(events: _Set, items: _Set) -> None:
    """Refuse a file that is taken for events and for the catalogue."""
    both = {spec.name for spec in events.specs} & {spec.name for spec in items.specs}
    if both:
        raise FileFault(
            f"{min(both)}: expected a file of events or of the catalogue, found one that both raw.files and "
            f"catalogue.files name; let them differ, then run {events.day} again"
        )
