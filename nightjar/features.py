"""Features: the four tables as of a day, and as of the earlier days that training compares it with.

`prepare` finds what has to be built and pins what it is built from, the job `features` stages the
tables, `commit` validates them and makes them current, the day itself last.
"""

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lake import inputs, layout, messages, tables
from lake.dataset import Dataset
from lake.errors import Conflict, PermanentError
from lake.lake import Lake
from lake.partitions import days
from lake.records import STAGES, Draft, Record, Records, TableContent, config_digest
from lake.schemas import ITEM, USER
from lake.storage import Storage
from nightjar import rowsettings
from spark_jobs.plans import FeaturesRequest, FeaturesResult
from validation.gate import CRITICAL, WARNING, Check, Severity, require

if TYPE_CHECKING:
    from validation.counts import Tally

log = logging.getLogger(__name__)

STAGE = "features"
_CATEGORIES = "user_category_features"


def prepare(day: dt.date, lake: Lake) -> str:
    """Write what the job `features` has to build: `day`, and snapshots that are missing or stale.

    Returns
    -------
    str
        The attempt.

    Raises
    ------
    PermanentError
        When the day has no ingest record, or no row has been seen by then.
    """
    records, data = lake.records, lake.data
    ingested = inputs.ingested(records, day, data)
    _require_history(day, ingested)
    as_ofs = [*_outdated(records, ingested, day, data), day]
    request = FeaturesRequest(
        lake=lake.uri,
        attempt=layout.new_attempt(),
        based_on={as_of: records.latest(STAGE, as_of) for as_of in as_ofs},
        version=STAGES[STAGE].version,
        config_digest=config_digest(STAGE, data),
        id_type=data.id_type,
        weights=data.events.weights,
        ignored=data.events.ignore,
        ingested={record.day: record.sequence for record in ingested},
        interactions=tuple(file.path for record in ingested for file in record.tables["interactions"].files),
        rows=_rows(ingested),
        catalogues=_catalogues(ingested, as_ofs),
    )
    messages.write(lake.storage, layout.request(request.attempt), request)
    log.info("features as of %s", ", ".join(map(str, as_ofs)))
    return request.attempt


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


def _rows(ingested: Sequence[Record]) -> int:
    return sum(record.tables["interactions"].rows for record in ingested)


def _outdated(records: Records, ingested: Sequence[Record], day: dt.date, data: Dataset) -> list[dt.date]:
    """The snapshots of `day` whose record is missing or stale, of those that have a row to build from."""
    first = next(record.day for record in ingested if _rows([record]))
    asked = (snapshot for snapshot in inputs.snapshot_days(day, data) if snapshot >= first)
    return [snapshot for snapshot in asked if not inputs.is_fresh(STAGE, records, snapshot, data)]


def _catalogues(ingested: Sequence[Record], as_ofs: Sequence[dt.date]) -> dict[dt.date, tuple[str, ...]]:
    """The files of the newest catalogue delivered by each day, for days that have one."""
    delivered = [record for record in ingested if "catalogue" in record.tables]
    newest = {as_of: [r for r in delivered if r.day <= as_of][-1:] for as_of in as_ofs}
    return {
        as_of: tuple(file.path for file in record.tables["catalogue"].files)
        for as_of, found in newest.items()
        for record in found
    }


def commit(attempt: str, lake: Lake) -> Record:
    """Validate what the job staged, then commit each as-of day, the newest last.

    Returns
    -------
    Record
        That of the newest as-of day.

    Raises
    ------
    GateFailed
        When a critical check of any as-of day failed; nothing is committed.
    Conflict
        When another run committed other content of the newest as-of day meanwhile. One of an
        earlier day is accepted: that day's record is the other run's.
    """
    storage, records = lake.storage, lake.records
    request = messages.read(storage, layout.request(attempt), FeaturesRequest)
    result = messages.read(storage, layout.result(attempt), FeaturesResult)
    as_ofs = _seen(request, result)
    found = _checks(storage, as_ofs, request, result)
    pinned = sorted(request.ingested.items())
    ingested = [records.at("ingest", day.isoformat(), sequence) for day, sequence in pinned]
    found[as_ofs[-1]].append(rowsettings.check(ingested, lake.data))
    pages = {as_of: _report(storage, as_of, found[as_of], request, result) for as_of in as_ofs}
    for as_of in as_ofs:
        require(found[as_of], f"{STAGE} of {as_of}", pages[as_of])
    drafts = {as_of: _draft(as_of, ingested, request, result, lake.data) for as_of in as_ofs}
    for as_of in as_ofs[:-1]:
        with _conflict_accepted():
            records.commit(drafts[as_of], request.based_on[as_of])
    return records.commit(drafts[as_ofs[-1]], request.based_on[as_ofs[-1]])


def _seen(request: FeaturesRequest, result: FeaturesResult) -> list[dt.date]:
    """The as-of days to commit: no snapshot of days whose rows are all of ignored types."""
    *snapshots, day = sorted(request.based_on)
    seen = [as_of for as_of in snapshots if result.tables["user_features"][as_of].rows]
    if empty := sorted(set(snapshots) - set(seen)):
        log.warning("no user had been seen by %s: training goes on without", ", ".join(map(str, empty)))
    return [*seen, day]


def _tables(as_of: dt.date, result: FeaturesResult) -> dict[str, TableContent]:
    return {table: contents[as_of] for table, contents in result.tables.items()}


def _checks(
    storage: Storage, as_ofs: Sequence[dt.date], request: FeaturesRequest, result: FeaturesResult
) -> dict[dt.date, list[Check]]:
    """What was found of each as-of day; one suite judges all of them, since each costs as much as a count."""
    from validation import expectations

    counted = {as_of: _count(storage, as_of, request, result) for as_of in as_ofs}
    tallies = {(as_of, table): some for as_of, one in counted.items() for table, some in one.tallies.items()}
    judged = expectations.judge_each(tallies)
    found: dict[dt.date, list[Check]] = {as_of: [] for as_of in counted}
    for (as_of, table), checks in judged.items():
        # A catalogue may have no subcategories, or none of the items seen so far: nights go on without.
        severity: Severity = WARNING if table == _CATEGORIES else CRITICAL
        rows = expectations.some_rows(table, counted[as_of].rows(table), severity)
        found[as_of] += expectations.named(table, [rows, *checks])
    return {as_of: [*checks, *counted[as_of].consistency()] for as_of, checks in found.items()}


@dataclass(frozen=True)
class _Counted:
    """What was counted of an as-of day's tables.

    Attributes
    ----------
    tallies
        For each table asked, its rules'.
    users, items
        How many the pairs of user and item name.
    items_of_users, users_of_items
        The sums of what users and items say of their pairs.
    """

    tallies: "dict[str, list[Tally]]"
    users: int
    items: int
    items_of_users: float
    users_of_items: float

    def rows(self, table: str) -> int:
        """How many rows a table has."""
        return self.tallies[table][0].rows

    def consistency(self) -> list[Check]:
        """Whether the tables speak of the same users and items."""
        pairs = self.rows("user_item_features")
        return [
            _equal("users_agree", self.users, self.rows("user_features")),
            _equal("items_agree", self.items, self.rows("item_features")),
            _equal("pairs_of_users_agree", self.items_of_users, pairs),
            _equal("pairs_of_items_agree", self.users_of_items, pairs),
        ]


def _count(storage: Storage, as_of: dt.date, request: FeaturesRequest, result: FeaturesResult) -> _Counted:
    """Count what the rules of an as-of day ask, each file read once."""
    from validation.counts import Counter, Distinct, Total
    from validation.expectations import tally_features

    users, items = Distinct(USER), Distinct(ITEM)
    items_of_users, users_of_items = Total("items"), Total("users")
    also: dict[str, list[Counter]] = {
        "user_item_features": [users, items],
        "user_features": [items_of_users],
        "item_features": [users_of_items],
    }
    tallies = {}
    for table, content in _tables(as_of, result).items():
        if table != _CATEGORIES or as_of in request.catalogues:  # without a catalogue it is empty
            rows = partial(tables.batches, storage, table, request.id_type, content.files)
            tallies[table] = tally_features(table, rows, also.get(table, ()))
    return _Counted(tallies, users.value, items.value, items_of_users.value, users_of_items.value)


def _equal(name: str, found: float, expected: int) -> Check:
    return Check(name, CRITICAL, found == expected, f"{found:.17g}", f"{expected}")


def _report(
    storage: Storage,
    as_of: dt.date,
    checks: Sequence[Check],
    request: FeaturesRequest,
    result: FeaturesResult,
) -> str:
    from validation import report

    counts = {table: {"rows": content.rows} for table, content in _tables(as_of, result).items()}
    return report.write(storage, STAGE, as_of.isoformat(), request.attempt, checks, counts)


@contextmanager
def _conflict_accepted() -> Iterator[None]:
    try:
        yield
    except Conflict as conflict:
        log.warning("%s; the record that is there stays", conflict)


def _draft(
    as_of: dt.date,
    ingested: Sequence[Record],
    request: FeaturesRequest,
    result: FeaturesResult,
    data: Dataset,
) -> Draft:
    return Draft(
        stage=STAGE,
        partition=as_of.isoformat(),
        attempt=request.attempt,
        outcome="committed",
        version=request.version,
        config_digest=request.config_digest,
        inputs=inputs.feature_inputs(ingested, as_of),
        tables=_tables(as_of, result),
        counts={table: content.rows for table, content in _tables(as_of, result).items()},
        details=_details(as_of, request, data),
    )


def _details(as_of: dt.date, request: FeaturesRequest, data: Dataset) -> dict[str, Any]:
    missing = [day.isoformat() for day in days(data.first_day, as_of) if day not in request.ingested]
    return {"missing_days": missing}
