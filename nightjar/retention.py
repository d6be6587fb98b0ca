"""What no night needs any more: caches of old days, copies for work that has ended, and what attempts left.

Nothing goes that a record names, or an entry of a ledger, or an attempt that may still run. Old is what is
old beside the newest record, by as-of days and by the stamps in the lake: the clock is not asked, and a
lake in which nothing happens keeps what it has.
"""

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from lake import layout, messages
from lake.dataset import Dataset
from lake.lake import Lake
from lake.ledger import Ledger
from lake.names import StageName
from lake.partitions import ONE_DAY
from lake.plan import Plan
from lake.records import Record
from lake.schemas import TABLES
from lake.storage import Storage
from nightjar_reader import format as fmt
from nightjar_reader.fields import is_day

log = logging.getLogger(__name__)

NIGHTS: Final = 7
"""How many nights before the newest may be run again in the usual time."""
DAYS: Final = 14
"""After how many days an attempt runs no more. Its tasks end after hours, also when they are tried again."""
_NONE: Final = (0, 0, 0)
_OF_SNAPSHOTS: Final = ("ranking_set", "retrieval")
"""Kinds of caches that are taken for snapshots; all others serve the nights after their day alone."""


@dataclass(frozen=True)
class Unneeded:
    """A folder that may go with all that lies in it.

    Attributes
    ----------
    storage
        The lake's or the releases'.
    what
        The kind of thing, for the summary.
    """

    storage: Storage
    folder: str
    what: str


def find(lake: Lake, nights: int = NIGHTS, days: int = DAYS) -> list[Unneeded]:
    """All that may go, in the order in which it has to.

    Parameters
    ----------
    nights
        So many nights before the newest keep their caches, and all that have begun and are not decided.
    days
        An attempt may still run until a record is so many days younger than its beginning.

    Raises
    ------
    PermanentError
        When a record or an entry is damaged: nobody knows then what it names.
    """
    return [*_caches(lake, nights), *_Attempts(lake, dt.timedelta(days)).unneeded()]


def clean(lake: Lake, nights: int = NIGHTS, days: int = DAYS, is_dry: bool = False) -> dict[str, list[int]]:
    """Find what may go, and remove it; what a removal is cut off from is found by the next.

    Parameters
    ----------
    nights, days
        Those of `find`.
    is_dry
        Only find it.

    Returns
    -------
    dict
        By the kind of thing: how many folders, files and bytes.
    """
    totals: dict[str, list[int]] = {}
    for each in find(lake, nights, days):
        sizes = [each.storage.size(path) for path in each.storage.list(each.folder)]
        totals[each.what] = [
            a + b for a, b in zip(totals.get(each.what, _NONE), (1, len(sizes), sum(sizes)), strict=True)
        ]
        log.info("%s: %s", each.what, each.storage.uri(each.folder))
        if not is_dry:
            each.storage.remove(each.folder)
    return totals


def _caches(lake: Lake, nights: int) -> Iterator[Unneeded]:
    built = lake.records.partitions(StageName.FEATURES)
    if not built:
        return
    first = min([max(built) - nights * ONE_DAY, *_undecided(lake)])
    for kind, day in sorted(_cached(lake.storage)):
        if day < first - _reach(kind, lake.data):
            yield Unneeded(lake.storage, layout.cached(kind, day), "caches of old days")


def _undecided(lake: Lake) -> list[dt.date]:
    """The days whose newest night has begun and is not decided: it may run, and read caches."""
    days = lake.records.undecided()
    if days:
        shown = ", ".join(map(str, days))
        log.info("nights have begun and are not decided: %s; what they and later ones take stays", shown)
    return days


def _cached(storage: Storage) -> set[tuple[str, dt.date]]:
    """The kinds and days of which something is kept."""
    places = {tuple(path.split("/")[1:3]) for path in storage.list(layout.CACHES)}
    return {(kind, dt.date.fromisoformat(day)) for kind, day in places if is_day(day)}


def _reach(kind: str, data: Dataset) -> dt.timedelta:
    """How far before its day a night takes things of a kind: the day before, or its oldest snapshot."""
    snapshots = (data.training.snapshots + 1) * data.training.label_window
    return snapshots if kind in _OF_SNAPSHOTS else ONE_DAY


class _Attempts:
    """The attempts of a lake, by whether a record or an entry names them."""

    def __init__(self, lake: Lake, age: dt.timedelta) -> None:
        self._lake, self._storage = lake, lake.storage
        self._named: set[str] = set()
        self._newest = ""
        for record in _all_records(lake):
            self._named |= {record.attempt, *_writers(record)}
            self._newest = max(self._newest, record.written_at)
        self._named |= set(_refused(self._storage))
        self._files: dict[str, list[str]] = defaultdict(list)
        for path in self._storage.list(layout.ATTEMPTS):
            self._files[path.split("/")[1]].append(path)
        self._age = age

    def unneeded(self) -> Iterator[Unneeded]:
        """Copies for what is committed, and all of attempts that ended without a record."""
        for attempt in sorted(self._named & self._files.keys()):
            yield from self._copies(attempt)
        unnamed = sorted(self._files.keys() - self._named)
        gone = [attempt for attempt in unnamed if self._is_old(attempt)]
        awaited = {self._release(attempt) for attempt in unnamed if attempt not in gone}
        for attempt in gone:
            yield from self._of(attempt, awaited)

    def _copies(self, attempt: str) -> Iterator[Unneeded]:
        """What only the work of an attempt reads, which a record tells has ended."""
        copies = {
            layout.raw_copies(attempt): "copies of raw files",
            layout.made_for(attempt, ""): "lists that a cluster made, which the release has",
        }
        for folder, what in copies.items():
            if any(path.startswith(f"{folder}/") for path in self._files[attempt]):
                yield Unneeded(self._storage, folder, what)

    def _is_old(self, attempt: str) -> bool:
        """Whether it began so long ago that it does not run; not known of one without a mark."""
        mark = layout.begun(attempt)
        if mark not in self._files[attempt] or not self._newest:
            return False
        began = dt.datetime.fromisoformat(self._storage.read(mark).decode())
        return began + self._age < dt.datetime.fromisoformat(self._newest)

    def _of(self, attempt: str, awaited: set[str]) -> Iterator[Unneeded]:
        """What an attempt left; its own folder last, so that a removal that is cut finds the rest again."""
        what = "attempts without a record"
        staged = (layout.staged(table, attempt) for table in TABLES)
        yield from (Unneeded(self._storage, folder, what) for folder in staged if self._storage.list(folder))
        release = self._release(attempt)
        if release and release not in awaited and not self._lake.releases.exists(fmt.manifest_path(release)):
            yield Unneeded(self._lake.releases, fmt.release_path(release), "files of no release")
        yield Unneeded(self._storage, layout.attempt(attempt), what)

    def _release(self, attempt: str) -> str:
        """The release that an attempt built; empty where it built none."""
        from precompute.build import PrecomputeResult  # heavy, and the command reads our defaults

        plan, result = layout.plan(attempt), layout.result(attempt)
        if not {plan, result} <= set(self._files[attempt]):
            return ""
        if messages.read(self._storage, plan, Plan).stage != StageName.PRECOMPUTE:
            return ""
        try:
            return messages.read(self._storage, result, PrecomputeResult).release_id
        except ValidationError:  # another version of Nightjar wrote it
            return ""


def _all_records(lake: Lake) -> Iterator[Record]:
    for stage in StageName:
        for day in lake.records.partitions(stage):
            yield from lake.records.history(stage, day)


def _writers(record: Record) -> set[str]:
    """The attempts whose files a record names: another one's where it made the same."""
    return {file.path.split("/")[1] for table in record.tables.values() for file in table.files}


def _refused(storage: Storage) -> Iterator[str]:
    """The attempts whose rows people may look at: those that were refused for them."""
    days = {path.split("/")[1] for path in storage.list(layout.REFUSED)}
    for day in filter(is_day, days):
        ledger = Ledger(storage, layout.refused(dt.date.fromisoformat(day)))
        yield from (ledger.read(sequence)["attempt"] for sequence in ledger.sequences())
