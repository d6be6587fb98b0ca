"""Whether the raw files of a day are still those that its record names."""

import datetime as dt
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from lake import day_files, delivery
from lake.lake import Lake
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
    """The raw files of a day as they are now, with their digests: all of them are read."""
    catalogue = lake.data.catalogue
    names = delivery.files(lake.raw, lake.data, day)
    names += day_files.find(lake.raw, catalogue.files, day) if catalogue else ()

    def read(name: str) -> Input | None:
        with suppress(FileNotFoundError):  # gone meanwhile
            return Input(name, lake.raw.sha256(name), bytes=lake.raw.size(name))
        return None

    with ThreadPoolExecutor(threads) as pool:
        return tuple(filter(None, pool.map(read, names)))
