"""What a day is compared with: the profiles of the days before it, and the catalogue before.

A day counts when it has a current ingest record, clean rows, and was not closed. Its profile lies beside the
record and is in no digest: an unusual day gives the same bytes.
"""

import datetime as dt
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from lake import layout, messages, tables
from lake.lake import Lake
from lake.names import TableName
from lake.records import Record, TableContent
from lake.rule_sections import NO_EXCLUSION, ExcludeSection
from lake.schemas import ITEM
from spark_jobs.plans import ExtractPlan, ExtractResult
from validation.compare import compare, compare_catalogue, no_catalogue
from validation.gate import Check
from validation.profile import Profile

log = logging.getLogger(__name__)

_AT_ONCE: Final = 8  # reading a small file waits for the storage, not for a core


class Past:
    """The history of the days that are judged, as the night of each would see it.

    Parameters
    ----------
    days
        The days to judge, oldest first. Each is compared with the committed days before it and with
        the judged ones that were accepted.
    """

    def __init__(self, days: Iterable[dt.date], lake: Lake) -> None:
        first, last = min(to_judge := list(days)), max(to_judge)
        self._storage, self._config = lake.storage, lake.data.compare
        self._reach = dt.timedelta(days=self._config.days)
        committed = lake.ingested(last)
        self._catalogues = {
            r.day: r.tables[TableName.CATALOGUE] for r in committed if TableName.CATALOGUE in r.tables
        }
        self._profiles = self._kept(r for r in committed if r.day >= first - self._reach)
        self._judged: dict[dt.date, Profile] = {}
        # the items of the last two catalogues: of a day's own and of the one before
        self._catalogue = lru_cache(maxsize=2)(partial(self._ids, TableName.CATALOGUE))

    def judge(self, day: dt.date, plan: ExtractPlan, made: ExtractResult) -> list[Check]:
        """Compare a staged day; of a closed one only the catalogue that came."""
        checks = self._judge_catalogue(day, plan, made)
        if not plan.config.raw.is_closed(day):
            self._judged[day] = self._profile(day, plan.config.id_type, made)
            checks += compare(day, self._judged[day], self.before(day), self._config)
        return checks

    def accept(self, day: dt.date, attempt: str, made: ExtractResult) -> None:
        """Add a judged day to the history of the days after it; keep its profile for later nights."""
        self._profiles.pop(day, None)
        self._catalogues.pop(day, None)
        if day in self._judged:
            messages.write(self._storage, layout.profile(day, attempt), self._judged[day])
            if self._judged[day].rows:
                self._profiles[day] = self._judged[day]
        if day in made.tables[TableName.CATALOGUE]:
            self._catalogues[day] = made.tables[TableName.CATALOGUE][day]

    def _kept(self, records: Iterable[Record]) -> dict[dt.date, Profile]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            profiles = pool.map(lambda record: (record.day, self._read(record)), records)
            return {day: profile for day, profile in profiles if profile and profile.rows}

    def _read(self, record: Record) -> Profile | None:
        """A day's profile; None of a closed day, and where another version of Nightjar wrote it."""
        try:
            return messages.read(self._storage, layout.profile(record.day, record.attempt), Profile)
        except FileNotFoundError:
            return None
        except ValidationError:
            log.warning("the profile of %s cannot be read: nothing is compared with that day", record.day)
            return None

    def before(self, day: dt.date) -> dict[dt.date, Profile]:
        """The history of a day."""
        return {then: profile for then, profile in self._profiles.items() if day - self._reach <= then < day}

    def _profile(self, day: dt.date, id_type: str, made: ExtractResult) -> Profile:
        """A day's profile with what the catalogue as of the day says of it."""
        profile = made.profiles.get(day) or Profile(0, 0, 0, 0)
        catalogue = made.tables[TableName.CATALOGUE].get(day) or self._catalogue_before(day)
        if catalogue is None:
            return profile
        items = self._ids(TableName.INTERACTIONS, id_type, made.tables[TableName.INTERACTIONS][day])
        return replace(profile, known=_shared(items, self._catalogue(id_type, catalogue)))

    def _judge_catalogue(self, day: dt.date, plan: ExtractPlan, made: ExtractResult) -> list[Check]:
        """Compare a new catalogue with the one before; one committed and now gone has lost all its items."""
        new, old = made.tables[TableName.CATALOGUE].get(day), self._catalogue_before(day)
        own, days = self._catalogues.get(day), len(self.before(day))
        if plan.config.catalogue is None or self._config.catalogue.action == "off":
            return []
        if new is None and own is not None and own.rows:
            return [compare_catalogue(day, own.rows, own.rows, 0, days, self._config)]
        if new is None and old is None:
            return [no_catalogue(day, plan.config.catalogue.path(day))]
        if new is None or old is None or not old.rows:
            return []
        ids = self._catalogue(plan.config.id_type, old), self._catalogue(plan.config.id_type, new)
        lost = old.rows - _shared(*ids) - _left_out(ids[0], plan.config.rules.exclude)
        return [compare_catalogue(day, lost, old.rows, new.rows, days, self._config)]

    def _catalogue_before(self, day: dt.date) -> TableContent | None:
        before = [then for then in self._catalogues if then < day]
        return self._catalogues[max(before)] if before else None

    def _ids(self, table: str, id_type: str, content: TableContent) -> pa.ChunkedArray:
        return tables.read(self._storage, table, id_type, content.files, [ITEM])[ITEM]


def _left_out(items: pa.ChunkedArray, exclude: ExcludeSection) -> int:
    """How many items are left out by settings that an earlier catalogue did not know yet."""
    return 0 if exclude == NO_EXCLUSION else sum(map(exclude.has_item, items.to_pylist()))


def _shared(ids: pa.ChunkedArray, others: pa.ChunkedArray) -> int:
    """How many of some ids are among others."""
    return int(pc.sum(pc.is_in(ids, value_set=others)).as_py() or 0)
