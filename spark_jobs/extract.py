"""The ingest job: from checked raw files of one or many days to interactions, catalogue and quarantines.

Every row of a raw file is either clean, or set aside with all its reasons, or set aside for what other
rows say: as a copy, for instance. The counts of each day add up to the rows that its files hold.
"""

import datetime as dt
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pyspark.errors import DateTimeException
from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

from lake import layout, tables
from lake.errors import ConfigError, FileFault
from lake.names import TableName
from lake.records import TableContent
from lake.schemas import (
    HASH,
    KIND,
    LANDED,
    QUARANTINE,
    RAW_ROW,
    REASONS,
    ROW_NUMBER,
    SOURCE_FILE,
    TABLES,
)
from lake.storage import open_storage
from spark_jobs import among, day_profiles, judge, rawfaults, read, returns
from spark_jobs.aside import Rows
from spark_jobs.digest import digests
from spark_jobs.files import cut
from spark_jobs.job import main
from spark_jobs.judge import EVENT, NOTES, Delivery
from spark_jobs.plans import ExtractPlan, ExtractResult
from spark_jobs.session import session, session_for
from spark_jobs.tally import Tally
from validation.profile import Profile

log = logging.getLogger(__name__)

_IS_SET_ASIDE = f"size({REASONS}) > 0"


def run(plan: ExtractPlan) -> ExtractResult:
    """Read, judge and stage the raw days of a plan. A day with a file that Spark cannot read is left out.

    Raises
    ------
    FileFault
        When that leaves no day; the message names each file.
    ConfigError
        When Java does not know the time zone.
    PermanentError
        When the counts do not add up.
    """
    session_for("extract", plan.rows)
    _require_zone("zone", plan.config.zone)
    _require_zone("raw.timezone", plan.config.raw.timezone)
    faults: dict[dt.date, str] = {}
    while plan.based_on:
        try:
            return replace(_run(plan), faults=faults)
        except Exception as error:
            fault = rawfaults.of_day(error, plan)
            if fault is None:
                raise
            log.warning("%s is left out: %s", fault.day, fault)
            if fault.day in plan.based_on:
                faults[fault.day] = str(fault)
            plan = _without(fault.day, plan)
    raise FileFault("\n".join(faults.values()))


def _require_zone(key: str, name: str) -> None:
    """Refuse a time zone that Java lacks: its tz database may be older than Python's."""
    try:
        session("extract").sql(f"SELECT to_utc_timestamp(TIMESTAMP'2000-01-01', '{name}')").collect()
    except DateTimeException as error:
        raise ConfigError(
            f"{key}: expected a zone that the Java of Spark knows, found {name!r}; "
            "install a newer release of this Java, or name an older zone with the same clocks"
        ) from error


def _without(day: dt.date, plan: ExtractPlan) -> ExtractPlan:
    """The plan for the other days, with a new attempt: the failed pass has left files in the old one."""
    return replace(
        plan,
        attempt=layout.new_attempt(),
        based_on={other: sequence for other, sequence in plan.based_on.items() if other != day},
        files=tuple(file for file in plan.files if file.day != day),
        catalogues=tuple(file for file in plan.catalogues if file.day != day),
        before=tuple(file for file in plan.before if file.day != day),
    )


def _run(plan: ExtractPlan) -> ExtractResult:
    events, items = judge.events(plan), judge.items(plan)
    tally = _stage(events, plan, plan.based_on)
    counts, samples = tally.counts, tally.samples
    tallies = [tally]
    if items:
        catalogue = _stage(items, plan, sorted({file.day for file in items.files}))
        counts = {day: tally.counts[day] | catalogue.counts.get(day, {}) for day in tally.counts}
        samples = {day: samples.get(day, {}) | catalogue.samples.get(day, {}) for day in tally.counts}
        tallies.append(catalogue)
    contents = _contents(plan)
    profiles = _profiles(plan, contents[TableName.INTERACTIONS])
    for one in tallies:
        one.balance(contents)
    rawfaults.require_unchanged(plan)
    return ExtractResult(contents, counts, tally.hours, samples, profiles=profiles)


def _stage(delivery: Delivery, plan: ExtractPlan, days: Iterable[dt.date]) -> Tally:
    """Write the clean rows of a delivery, and those set aside."""
    tally = Tally.of(delivery, days)
    if delivery.files:
        try:
            _stage_rows(delivery, plan, tally)
        finally:  # free the cached frames, also before a further pass without a faulty day
            session("extract").catalog.clearCache()
    return tally


def _stage_rows(delivery: Delivery, plan: ExtractPlan, tally: Tally) -> None:
    judged = judge.judged(session("extract"), plan, delivery)
    rows = Rows(judged, _without_whole_rows(judged).persist())
    found = among.find(rows, delivery, plan.config.rules, _before(plan, delivery))
    tally.count(rows.cached, found)
    left = rows.without(found.aside)
    clean, aside = left.clean, left.cached.where(_IS_SET_ASIDE).select(*QUARANTINE, LANDED)
    if found.smaller:
        clean = returns.smaller(clean, found.smaller)
    if found.aside:
        aside = aside.unionByName(found.aside.select(*QUARANTINE, LANDED))
    if found.aside or _has_sets(delivery):
        clean, aside = _in_files(clean, delivery), _in_files(aside, delivery)
    _write(clean.select(*TABLES[delivery.table].columns, LANDED), plan, delivery.table)
    _write(aside, plan, delivery.aside)
    files = _staged(plan, delivery.aside)
    written = read.table(session("extract"), plan.lake, delivery.aside, files, plan.config.id_type)
    tally.sample(rows.cached, written if files else None, found)


def _before(plan: ExtractPlan, delivery: Delivery) -> Rows | None:
    """The rows of earlier days among which copies are sought; None where there are none."""
    if not delivery.key or not plan.before:
        return None
    judged = judge.judged(session("extract"), plan, replace(delivery, files=plan.before))
    cached = judged.select(LANDED, HASH, KIND).persist()
    read_rows = Counter[dt.date]()
    read_rows.update(dict(cached.groupBy(LANDED).count().collect()))
    for day in {file.day for file in plan.before}:
        rawfaults.require_all_read(day, read_rows[day], [file for file in plan.before if file.day == day])
    return Rows(judged, cached)


def _has_sets(delivery: Delivery) -> bool:
    """Whether Spark reads several files of a day, each of which would become one of a table."""
    read = {(file.day, file.copy or file.name) for file in delivery.files}
    return len(read) > len({file.day for file in delivery.files})


def _in_files(shuffled: DataFrame, delivery: Delivery) -> DataFrame:
    """Rows of a delivery back in the order of its files, so that no shuffle decides what is written where."""
    rows = Counter[dt.date]()
    for file in delivery.files:
        rows[file.day] += file.rows
    together = cut(shuffled, LANDED, sorted(rows), ROW_NUMBER, max(rows.values()))
    return together.sortWithinPartitions(LANDED, SOURCE_FILE, ROW_NUMBER)


def _without_whole_rows(judged: DataFrame) -> DataFrame:
    """Judged rows, with the raw row only where a reason or a note needs it, so that the cache is small."""
    raw_row = fn.when((fn.size(REASONS) > 0) | (fn.size(NOTES) > 0), fn.col(RAW_ROW))
    return judged.withColumn(RAW_ROW, raw_row).drop(EVENT)


def _write(frame: DataFrame, plan: ExtractPlan, table: str) -> None:
    target = read.hadoop_path(f"{plan.lake}/{layout.staged(table, plan.attempt)}")
    frame.write.mode("errorifexists").partitionBy(LANDED).parquet(target)


def _contents(plan: ExtractPlan) -> dict[str, dict[dt.date, TableContent]]:
    days = list(plan.based_on)
    delivered = sorted({file.day for file in plan.catalogues})
    days_of = {
        TableName.INTERACTIONS: days,
        TableName.QUARANTINE: days,
        TableName.CATALOGUE: delivered,
        TableName.CATALOGUE_QUARANTINE: delivered,
    }
    return {table: _content(plan, table, partitions) for table, partitions in days_of.items()}


def _content(plan: ExtractPlan, table: str, days: list[dt.date]) -> dict[dt.date, TableContent]:
    storage, files = open_storage(plan.lake), _staged(plan, table)
    if not files:
        return tables.contents(storage, table, plan.attempt, days, {})
    written = read.table(session("extract"), plan.lake, table, files, plan.config.id_type)
    content_digests = digests(written, LANDED, TABLES[table].columns)
    return tables.contents(storage, table, plan.attempt, days, content_digests)


def _staged(plan: ExtractPlan, table: str) -> list[str]:
    staged = tables.describe(open_storage(plan.lake), table, plan.attempt)
    return [file.path for files in staged.values() for file in files]


def _profiles(plan: ExtractPlan, staged: Mapping[dt.date, TableContent]) -> dict[dt.date, Profile]:
    files = [file.path for content in staged.values() for file in content.files]
    if not files:
        return {}
    rows = read.interactions(session("extract"), plan.lake, files, plan.config.id_type)
    return day_profiles.profiles(rows, plan.config.raw.columns)


if __name__ == "__main__":
    main(ExtractPlan, run)
