"""Whether the raw files of a day are still those that its record names."""

import datetime as dt
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from lake import day_files, delivery
from lake.lake import Lake
from lake.partitions import days
from lake.records import Input, Record


@dataclass(frozen=True)
class Changes:
    """What became of a day's raw files since it was taken in; with any of it the day is stale.

    Attributes
    ----------
    later, changed, gone
        Names of files that came, that have other bytes, and that are not there any more.
    """

    later: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.later or self.changed or self.gone)


def since(record: Record, now: Iterable[Input]) -> Changes:
    """Compare the files that an ingest record names with those of now (`inputs`)."""
    before, there = ({file.name: file.digest for file in files} for files in (record.inputs, now))
    return Changes(
        later=tuple(sorted(there.keys() - before.keys())),
        changed=tuple(sorted(name for name in there.keys() & before.keys() if there[name] != before[name])),
        gone=tuple(sorted(before.keys() - there.keys())),
    )


def inputs(lake: Lake, day: dt.date, threads: int = 1) -> tuple[Input, ...]:
    """The raw files that a day would be made from now, with their digests: all of them are read."""
    catalogue = lake.data.catalogue
    searched = days(max(lake.data.first_day, day - lake.data.raw.reach), day)  # for copies of its events
    names = tuple(name for then in searched for name in delivery.files(lake.raw, lake.data, then))
    names += day_files.find(lake.raw, catalogue.files, day) if catalogue else ()

    def read(name: str) -> Input | None:
        with suppress(FileNotFoundError):  # gone meanwhile
            return Input(name, lake.raw.sha256(name), bytes=lake.raw.size(name))
        return None

    with ThreadPoolExecutor(threads) as pool:
        return tuple(filter(None, pool.map(read, names)))
