"""Features: the four tables as of a day, and as of the earlier days that training compares it with.

All as-of days are built by one job from one read, and either all are committed or none.
"""

import datetime as dt
import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from lake import feature_states, tables
from lake.dataset import Dataset
from lake.errors import PermanentError
from lake.feature_spec import ITEMS, USERS
from lake.lake import Lake
from lake.names import StageName, TableName
from lake.partitions import days
from lake.records import Draft, Input, Record, TableContent
from lake.schemas import ITEM, USER
from nightjar.stages import rowsettings
from nightjar.stages.stage import Checks, Stage
from spark_jobs.plans import FeaturesPlan, FeaturesResult
from validation import expectations
from validation.counts import Counter, Distinct, Tally, Total
from validation.gate import CRITICAL, WARNING, Check, Severity

log = logging.getLogger(__name__)

_CATEGORIES = TableName.CATEGORIES
FEW_ROWS = 4_000_000
"""To begin with all of so many rows takes about as long as with a state, which takes as long to keep: of a
million, 92 CPU-seconds of six as-of days instead of 89."""


@dataclass(frozen=True)
class Features(Stage[FeaturesPlan, FeaturesResult]):
    """Builds the feature tables: of its day, and of its snapshots that are missing or stale."""

    NAME: ClassVar = StageName.FEATURES
    VERSION: ClassVar = 3
    SECTIONS: ClassVar = ("id_type", "zone", "events", "features")
    READS: ClassVar = (TableName.INTERACTIONS, TableName.CATALOGUE)
    PLAN: ClassVar = FeaturesPlan
    MADE: ClassVar = FeaturesResult
    STEPS: ClassVar = ("find what is outdated", "build (Spark)", "validate and commit")
    PROGRAM: ClassVar = "feature_tables"
    WHOLE: ClassVar = True

    def plan(self, lake: Lake, partitions: Sequence[dt.date]) -> FeaturesPlan:
        """Pin the current ingest records up to a day, for it and its outdated snapshots.

        Raises
        ------
        PermanentError
            When the day has no ingest record, or no day up to it has a row.
        """
        (day,) = partitions
        ingested = lake.ingested(day)
        _require_history(day, ingested)
        as_ofs = [*self._outdated(lake, ingested, day), day]
        log.info("features as of %s", ", ".join(map(str, as_ofs)))
        catalogues = {as_of: _catalogue(ingested, as_of) for as_of in as_ofs}
        delivered = {record.day: record for record in catalogues.values() if record}
        taken = {record.day for record in ingested}
        plan = FeaturesPlan(
            **self.pins(lake, as_ofs),
            inputs=(
                *(record.as_input(TableName.INTERACTIONS) for record in ingested),
                *(record.as_input(TableName.CATALOGUE) for record in delivered.values()),
            ),
            lake=lake.uri,
            interactions={record.day: _paths([record], TableName.INTERACTIONS) for record in ingested},
            rows=_rows(ingested),
            catalogues={as_of: _paths([r], TableName.CATALOGUE) for as_of, r in catalogues.items() if r},
            missing_days=tuple(d for d in days(lake.data.first_day, day) if d not in taken),
        )
        return _with_state(lake, plan)

    def _outdated(self, lake: Lake, ingested: Sequence[Record], day: dt.date) -> list[dt.date]:
        """The snapshots that are missing or stale, of those that have a row to build from."""
        first = next(record.day for record in ingested if _rows([record]))
        snapshots = (snapshot for snapshot in snapshot_days(day, lake.data) if snapshot >= first)
        return [snapshot for snapshot in snapshots if not self.is_fresh(lake, snapshot)]

    def run(self, lake: Lake, plan: FeaturesPlan) -> FeaturesResult:
        """Build the tables with Spark."""
        from spark_jobs import feature_tables

        return feature_tables.run(plan)

    def check(self, lake: Lake, plan: FeaturesPlan, made: FeaturesResult) -> Checks:
        """Judge the tables of each as-of day, and whether one setting took in all of their rows."""
        as_ofs = _seen(plan, made)
        for day, counts in made.dropped.items():
            told = ", ".join(f"{count:,} rows of {table}" for table, count in counts.items())
            log.info("features as of %s: not seen for features.history_days, so left out: %s", day, told)
        checks = _checks(lake, as_ofs, plan, made, self.threads)
        ingested = [lake.records.pinned(pin) for pin in plan.inputs_of(TableName.INTERACTIONS)]
        checks[as_ofs[-1]].append(rowsettings.check(ingested, lake.data))
        return checks

    def draft(self, plan: FeaturesPlan, made: FeaturesResult, day: dt.date) -> Draft:
        """The draft of an as-of day; its inputs are those that had landed by then."""
        missing = [before.isoformat() for before in plan.missing_days if before <= day]
        contents = _tables(day, made)
        return replace(
            plan.draft(day),
            inputs=_inputs_by(plan.inputs, day),
            tables=contents,
            counts={table: content.rows for table, content in contents.items()},
            details={"missing_days": missing, **_dropped(made, day)},
        )

    def counts(self, plan: FeaturesPlan, made: FeaturesResult) -> Mapping[str, Mapping[str, int]]:
        """The rows of each table as of each day."""
        return {
            day.isoformat(): {table: content.rows for table, content in _tables(day, made).items()}
            for day in plan.based_on
        }

    def reads(self, lake: Lake, day: dt.date) -> tuple[Input, ...]:
        """Interactions of the days up to `day`, and the newest catalogue delivered by then."""
        ingested = lake.ingested(day)
        catalogue = _catalogue(ingested, day)
        return (
            *(record.as_input(TableName.INTERACTIONS) for record in ingested),
            *([catalogue.as_input(TableName.CATALOGUE)] if catalogue else []),
        )


def _with_state(lake: Lake, plan: FeaturesPlan) -> FeaturesPlan:
    """The plan with the newest state that its first as-of day can begin with, and the states to keep.

    The next night begins with the state of the last day, or with that of the first where it has a snapshot
    to make that follows it. Of few rows it reads all of them instead.
    """
    first, last = min(plan.based_on), plan.day
    earlier = {day: plan.origins(day) for day in plan.interactions if day <= first}
    state = feature_states.newest(lake.storage, earlier)
    days = {first, last} if plan.rows > FEW_ROWS else {last}
    return replace(plan, state=state, kept=tuple(sorted(days - {state.as_of if state else None})))


def snapshot_days(day: dt.date, data: Dataset) -> list[dt.date]:
    """The as-of days before D that training needs, oldest first: D-W (k+1), ..., D-W.

    W is the label window.
    """
    training = data.training
    days_before = (day - (back + 1) * training.label_window for back in range(training.snapshots, -1, -1))
    return [snapshot for snapshot in days_before if snapshot >= data.first_day]


def _inputs_by(inputs: Iterable[Input], day: dt.date) -> tuple[Input, ...]:
    """The inputs of an attempt that an as-of day may see; of catalogues only the newest."""
    seen = [pin for pin in inputs if pin.partition <= day.isoformat()]
    catalogues = [pin for pin in seen if pin.name == TableName.CATALOGUE]
    newest = max(catalogues, key=lambda pin: pin.partition, default=None)
    return tuple(pin for pin in seen if pin.name != TableName.CATALOGUE or pin == newest)


def _require_history(day: dt.date, ingested: Sequence[Record]) -> None:
    if not any(record.day == day for record in ingested):
        raise PermanentError(
            f"features of {day}: expected an ingest record of {day}, found none; "
            f"run `nightjar run ingest --partition {day}` first"
        )
    if not _rows(ingested):
        raise PermanentError(
            f"features of {day}: expected interactions up to that day, found no row in {len(ingested)} days; "
            "load earlier days with `nightjar bootstrap`"
        )


def _rows(ingested: Iterable[Record]) -> int:
    return sum(record.tables[TableName.INTERACTIONS].rows for record in ingested)


def _paths(records: Iterable[Record], table: str) -> tuple[str, ...]:
    return tuple(file.path for record in records for file in record.tables[table].files)


def _catalogue(ingested: Iterable[Record], as_of: dt.date) -> Record | None:
    """The record of the newest catalogue delivered by a day; None where none was."""
    delivered = [
        record for record in ingested if TableName.CATALOGUE in record.tables and record.day <= as_of
    ]
    return delivered[-1] if delivered else None


def _seen(plan: FeaturesPlan, made: FeaturesResult) -> list[dt.date]:
    """The as-of days to commit. A snapshot without users is left out: all rows before it were ignored."""
    *snapshots, day = sorted(plan.based_on)
    seen = [as_of for as_of in snapshots if made.tables[TableName.USERS][as_of].rows]
    if empty := sorted(set(snapshots) - set(seen)):
        log.warning("no user had been seen by %s: training goes on without", ", ".join(map(str, empty)))
    return [*seen, day]


def _tables(as_of: dt.date, made: FeaturesResult) -> dict[str, TableContent]:
    return {table: contents[as_of] for table, contents in made.tables.items()}


def _dropped(made: FeaturesResult, day: dt.date) -> dict[str, dict[str, int]]:
    """The detail of how many keys of which table `history_days` left out of a day; none without it."""
    return {"dropped": made.dropped[day]} if day in made.dropped else {}


def _checks(
    lake: Lake, as_ofs: Sequence[dt.date], plan: FeaturesPlan, made: FeaturesResult, threads: int
) -> dict[dt.date, list[Check]]:
    """The checks of each as-of day. One suite judges all days, since a suite costs as much as a count."""
    counted = {as_of: _count(lake, as_of, plan, made, threads) for as_of in as_ofs}
    tallies = {(day, name): rules for day, each in counted.items() for name, rules in each.tallies.items()}
    judged = expectations.judge_each(tallies)
    checks: dict[dt.date, list[Check]] = {as_of: [] for as_of in counted}
    for (as_of, table), of_table in judged.items():
        # A catalogue may have no subcategories, or none of the items seen so far: nights go on without.
        severity: Severity = WARNING if table == _CATEGORIES else CRITICAL
        rows = expectations.not_empty(table, counted[as_of].rows(table), severity)
        checks[as_of] += expectations.named(table, [rows, *of_table])
    return {
        as_of: expectations.named(f"{as_of}", [*of_day, *counted[as_of].consistency()])
        for as_of, of_day in checks.items()
    }


@dataclass(frozen=True)
class _Counted:
    """The counts of an as-of day's tables.

    Attributes
    ----------
    tallies
        The tallies of each counted table, one for each of its rules.
    users, items
        How many users and items the pairs of both name.
    items_of_users, users_of_items
        The number of pairs, as the rows of users and as those of items add up to it.
    """

    tallies: dict[str, list[Tally]]
    users: int
    items: int
    items_of_users: float
    users_of_items: float

    def rows(self, table: str) -> int:
        """How many rows a table has."""
        return self.tallies[table][0].rows

    def consistency(self) -> list[Check]:
        """Check that all tables hold the same users and items."""
        pairs = self.rows(TableName.PAIRS)
        return [
            _equal("users_agree", self.users, self.rows(TableName.USERS)),
            _equal("items_agree", self.items, self.rows(TableName.ITEMS)),
            _equal("pairs_of_users_agree", self.items_of_users, pairs),
            _equal("pairs_of_items_agree", self.users_of_items, pairs),
        ]


def _count(lake: Lake, as_of: dt.date, plan: FeaturesPlan, made: FeaturesResult, threads: int) -> _Counted:
    """Count what the rules of an as-of day need, several tables at a time; each file is read once."""
    users, items = Distinct(USER), Distinct(ITEM)
    items_of_users, users_of_items = Total(ITEMS), Total(USERS)
    also: dict[str, list[Counter]] = {
        TableName.PAIRS: [users, items],
        TableName.USERS: [items_of_users],
        TableName.ITEMS: [users_of_items],
    }
    counted = {
        table: content
        for table, content in _tables(as_of, made).items()
        if table != _CATEGORIES or as_of in plan.catalogues  # without a catalogue it is empty
    }

    def tally(table: str) -> list[Tally]:
        rows = partial(tables.batches, lake.storage, table, plan.config.id_type, counted[table].files)
        return expectations.tally_features(table, rows, also.get(table, ()))

    with ThreadPoolExecutor(threads) as pool:
        tallies = dict(zip(counted, pool.map(tally, counted), strict=True))
    return _Counted(tallies, users.value, items.value, items_of_users.value, users_of_items.value)


def _equal(name: str, actual: float, expected: int) -> Check:
    return Check(name, CRITICAL, actual == expected, f"{actual:.17g}", f"{expected}")
