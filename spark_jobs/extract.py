"""Raw files of one day or of many -> interactions, catalogue and their quarantines, in one code path.

Every row of a raw file is either clean, or set aside with all its reasons, or an exact copy of a row
that is kept; they are counted per day and add up to the rows that the files hold.
"""

import datetime as dt
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from pyspark.errors import DateTimeException
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as fn

from lake import layout, tables
from lake.errors import ConfigError, FileFault, PermanentError
from lake.names import TableName
from lake.records import TableContent
from lake.schemas import (
    HASH,
    ITEM,
    KIND,
    LANDED,
    QUARANTINE,
    RAW_ROW,
    REASONS,
    ROW_NUMBER,
    SOURCE_FILE,
    TABLES,
)
from lake.storage import Storage, open_storage
from spark_jobs import judge, profiles, read
from spark_jobs.digest import digests
from spark_jobs.job import main, unread
from spark_jobs.judge import HOUR, NOTES, Delivery
from spark_jobs.plans import ExtractPlan, ExtractResult, RawFile
from spark_jobs.raw import file_at
from spark_jobs.session import session
from validation.profile import Profile
from validation.rules import DUPLICATE, REPEATED

log = logging.getLogger(__name__)

Counts = dict[dt.date, dict[str, int]]

_APART = ("ignored", "return")
_GOOD = f"size({REASONS}) = 0"
_ASIDE = f"size({REASONS}) > 0"


@dataclass(frozen=True)
class _Tally:
    """What is counted of one delivery: per day its counts, its rows by hour, and a sample of each reason."""

    counts: Counts
    hours: dict[dt.date, dict[int, int]] = field(default_factory=dict)
    samples: dict[dt.date, dict[str, str]] = field(default_factory=dict)


class _DayFault(FileFault):
    """A fault of one day's raw files that only Spark finds."""

    def __init__(self, day: dt.date, message: str) -> None:
        super().__init__(message)
        self.day = day


def run(plan: ExtractPlan) -> ExtractResult:
    """Read, judge and stage the raw days of a plan; a day with a file that Spark cannot read is left out.

    Raises
    ------
    FileFault
        When that leaves no day; the message names each file.
    ConfigError
        When Java does not know the time zone.
    PermanentError
        When the counts do not add up.
    """
    _require_zone(plan.config.raw.timezone)
    faults: dict[dt.date, str] = {}
    while plan.based_on:
        try:
            return replace(_run(plan), faults=faults)
        except Exception as error:
            fault = _day_fault(error, plan)
            if fault is None:
                raise
            log.warning("%s is left out: %s", fault.day, fault)
            faults[fault.day] = str(fault)
            plan = _without(fault.day, plan)
    raise FileFault("\n".join(faults.values()))


def _require_zone(name: str) -> None:
    """Ask Java, whose tz database may be older than the one that has judged the setting."""
    try:
        session("extract").sql(f"SELECT to_utc_timestamp(TIMESTAMP'2000-01-01', '{name}')").collect()
    except DateTimeException as error:
        raise ConfigError(
            f"raw.timezone: expected a zone that the Java of Spark knows, found {name!r}; "
            "install a newer release of this Java, or name an older zone with the same clocks"
        ) from error


def _day_fault(error: Exception, plan: ExtractPlan) -> _DayFault | None:
    """The day whose file Spark could not read, if that is the error."""
    if isinstance(error, _DayFault):
        return error
    found = unread(error)
    file = file_at(found.path, plan) if found else None
    if found is None or file is None:
        return None
    uri = open_storage(plan.raw_root).uri(file.name)
    told = f"{uri}: expected a file that Spark can read, found {found.why}"
    return _DayFault(file.day, f"{told}; deliver it again, then run {file.day} again")


def _without(day: dt.date, plan: ExtractPlan) -> ExtractPlan:
    """A plan for the other days, which writes beside what the pass that broke off has written."""
    return replace(
        plan,
        attempt=layout.new_attempt(),
        based_on={other: sequence for other, sequence in plan.based_on.items() if other != day},
        files=tuple(file for file in plan.files if file.day != day),
        catalogues=tuple(file for file in plan.catalogues if file.day != day),
    )


def _run(plan: ExtractPlan) -> ExtractResult:
    events, items = judge.events(plan), judge.items(plan)
    told = _stage(events, plan, list(plan.based_on))
    counts, samples = told.counts, told.samples
    if items:
        found = _stage(items, plan, sorted({file.day for file in items.files}))
        counts = {day: told.counts[day] | found.counts.get(day, {}) for day in told.counts}
        samples = {day: samples.get(day, {}) | found.samples.get(day, {}) for day in told.counts}
    contents = _contents(plan)
    result = ExtractResult(
        contents, counts, told.hours, samples, profiles=_profiles(plan, contents[TableName.INTERACTIONS])
    )
    for delivery in (events, items) if items else (events,):
        _balance(result, delivery)
    _require_unchanged(plan)
    return result


def _stage(delivery: Delivery, plan: ExtractPlan, days: Iterable[dt.date]) -> _Tally:
    """Write the clean rows of a delivery, and those set aside."""
    tally = _Tally({day: dict.fromkeys(_counted(delivery), 0) for day in days})
    if delivery.files:
        try:
            _stage_rows(delivery, plan, tally)
        finally:  # give back what was held, also where a day is left out and the rest tried again
            session("extract").catalog.clearCache()
    return tally


def _stage_rows(delivery: Delivery, plan: ExtractPlan, tally: _Tally) -> None:
    judged = judge.judged(session("extract"), plan, delivery)
    kept = _without_whole_rows(judged).persist()
    again = _again(judged, kept, delivery)
    _count(kept, again, delivery, tally)
    clean = kept.where(_GOOD)
    if again:
        clean = clean.join(again.select(SOURCE_FILE, ROW_NUMBER), [SOURCE_FILE, ROW_NUMBER], "left_anti")
    _write(clean.select(*TABLES[delivery.table].columns, LANDED), plan, delivery.table)
    columns = [*QUARANTINE, LANDED]
    aside = kept.where(_ASIDE).select(*columns)
    _write(aside.unionByName(again.select(*columns)) if again else aside, plan, delivery.aside)
    _sample(kept, delivery, plan, tally)


def _without_whole_rows(judged: DataFrame) -> DataFrame:
    """Judged rows as several passes need them: only of those with a remark all that they are."""
    told = fn.when((fn.size(REASONS) > 0) | (fn.size(NOTES) > 0), fn.col(RAW_ROW))
    return judged.withColumn(RAW_ROW, told)


def _counted(delivery: Delivery) -> Iterator[str]:
    """The names of a delivery's counts."""
    names = ["read", "clean", "bad", "duplicate", *(() if delivery.prefix else _APART)]
    names += [f"rounded_{rule.column}" for rule in delivery.rules if rule.kind == "rounded"]
    names += [f"bad_{name}" for name in _faults(delivery)]
    return (f"{delivery.prefix}{name}" for name in names)


def _faults(delivery: Delivery) -> list[str]:
    """The reasons that a bad row of a delivery may have."""
    return delivery.named("bad") + delivery.named("return") + ([REPEATED] if delivery.prefix else [])


def _again(judged: DataFrame, kept: DataFrame, delivery: Delivery) -> DataFrame | None:
    """Of the good rows those that come again, held for several passes; None where there are none.

    Only rows whose key is not alone, an item or the hash of a row, are compared as a whole.
    """
    key = ITEM if delivery.prefix else HASH
    counted = kept.where(_GOOD).groupBy(LANDED, key).count()
    repeated = counted.where("count > 1").select(LANDED, key).persist()
    if not repeated.count():
        return None
    suspects = judged.where(_GOOD).join(repeated, [LANDED, key], "left_semi")
    return (_repeats if delivery.prefix else _copies)(suspects).persist()


def _copies(suspects: DataFrame) -> DataFrame:
    """Those that equal an earlier one of their day in every raw column."""
    place = Window.partitionBy(LANDED, RAW_ROW).orderBy(SOURCE_FILE, ROW_NUMBER)
    ranked = suspects.withColumn("_rank", fn.row_number().over(place)).where("_rank > 1")
    return _set_aside(ranked.withColumn("_copy", fn.lit(True)))


def _repeats(suspects: DataFrame) -> DataFrame:
    """Those about an item that an earlier row of the day has."""
    place = Window.partitionBy(LANDED, ITEM).orderBy(SOURCE_FILE, ROW_NUMBER)
    ranked = suspects.withColumns(
        {"_rank": fn.row_number().over(place), "_first": fn.first(RAW_ROW).over(place)}
    )
    return _set_aside(ranked.where("_rank > 1").withColumn("_copy", fn.col("_first") == fn.col(RAW_ROW)))


def _set_aside(rows: DataFrame) -> DataFrame:
    reason = fn.when(fn.col("_copy"), DUPLICATE).otherwise(REPEATED)
    kind = fn.when(fn.col("_copy"), "duplicate").otherwise("bad").alias(KIND)
    return rows.select(LANDED, SOURCE_FILE, ROW_NUMBER, RAW_ROW, kind, fn.array(reason).alias(REASONS))


def _count(kept: DataFrame, again: DataFrame | None, delivery: Delivery, tally: _Tally) -> None:
    """Fill in the counts of every day that has rows; compare rows read with what the files say."""
    hour = fn.lit(None).cast("int").alias(HOUR) if delivery.prefix else judge.hour()
    for row in kept.groupBy(LANDED, hour).agg(*_aggregates(delivery)).collect():
        found = row.asDict()
        day, hours = found.pop(LANDED), found.pop(HOUR)
        _add(tally.counts[day], found)
        if hours is not None:
            tally.hours.setdefault(day, {})[hours] = found[f"{delivery.prefix}read"]
    for row in again.groupBy(LANDED, KIND).count().collect() if again else ():
        names = ("bad", f"bad_{REPEATED}") if row[KIND] == "bad" else ("duplicate",)
        _add(tally.counts[row[LANDED]], {f"{delivery.prefix}{name}": row["count"] for name in names})
    for day, counts in tally.counts.items():
        aside = _aside(counts, delivery)
        counts[f"{delivery.prefix}clean"] = counts[f"{delivery.prefix}read"] - aside
        files = [file for file in delivery.files if file.day == day]
        _require_all_read(day, counts[f"{delivery.prefix}read"], files)


def _aggregates(delivery: Delivery) -> list[Column]:
    kinds = {kind: fn.col(KIND) == kind for kind in ("bad", *(() if delivery.prefix else _APART))}
    faults = {
        f"bad_{name}": kinds["bad"] & fn.array_contains(REASONS, name)
        for name in _faults(delivery)
        if name != REPEATED
    }
    notes = {
        f"rounded_{rule.column}": fn.array_contains(NOTES, rule.name) & fn.col(KIND).isNull()
        for rule in delivery.rules
        if rule.kind == "rounded"
    }
    every = {"read": fn.lit(True)} | kinds | faults | notes
    return [fn.count_if(condition).alias(f"{delivery.prefix}{name}") for name, condition in every.items()]


def _add(counts: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        counts[name] += count


def _aside(counts: dict[str, int], delivery: Delivery) -> int:
    return sum(counts.get(f"{delivery.prefix}{kind}", 0) for kind in ("bad", "duplicate", *_APART))


def _require_all_read(day: dt.date, read_rows: int, files: Iterable[RawFile]) -> None:
    stated = {file.name: file.rows for file in files}
    if read_rows != sum(stated.values()):
        raise _DayFault(
            day,
            f"{day}: Spark read {read_rows} rows of {', '.join(stated)}, which hold "
            f"{sum(stated.values())}: the file changed meanwhile, or Spark skipped it; run the day again",
        )


def _require_unchanged(plan: ExtractPlan) -> None:
    """Whether the files that Spark has read are those that were checked, whose digests the records have."""
    storage = open_storage(plan.raw_root)
    for file in (*plan.files, *plan.catalogues):
        if not file.copy and not _is_as_checked(storage, file):
            raise _DayFault(
                file.day,
                f"{storage.uri(file.name)}: expected the file that was checked, found one that changed while "
                f"it was read; run {file.day} again",
            )


def _is_as_checked(storage: Storage, file: RawFile) -> bool:
    try:
        return storage.version(file.name) == file.version or storage.sha256(file.name) == file.sha256
    except FileNotFoundError:
        return False


def _sample(kept: DataFrame, delivery: Delivery, plan: ExtractPlan, tally: _Tally) -> None:
    """Fill in a sample of each reason, and of each kind of number that was rounded."""
    files = _staged(plan, delivery.aside)
    if files:
        aside = read.table(session("extract"), plan.lake, delivery.aside, files, plan.config.id_type)
        tally.samples.update(judge.samples(aside, REASONS, delivery))
    if any(n for counts in tally.counts.values() for name, n in counts.items() if "rounded_" in name):
        noted = judge.samples(kept.where(fn.col(KIND).isNull()), NOTES, delivery)
        for day, found in noted.items():
            tally.samples[day] = tally.samples.get(day, {}) | found


def _balance(result: ExtractResult, delivery: Delivery) -> None:
    """Clean rows + those set aside = rows read, by what was written."""
    for day, written in result.tables[delivery.table].items():
        counts = result.counts[day]
        clean, aside = written.rows, result.tables[delivery.aside][day].rows
        expected = counts[f"{delivery.prefix}clean"], _aside(counts, delivery)
        if (clean, aside) != expected:
            raise PermanentError(
                f"{day}: of {counts[f'{delivery.prefix}read']} rows read for {delivery.table} {clean} were "
                f"written as clean and {aside} set aside; expected {expected[0]} and {expected[1]}; "
                "please report this"
            )


def _write(frame: DataFrame, plan: ExtractPlan, table: str) -> None:
    target = read.hadoop_path(f"{plan.lake}/{layout.staged(table, plan.attempt)}")
    frame.write.mode("errorifexists").partitionBy(LANDED).parquet(target)


def _contents(plan: ExtractPlan) -> dict[str, dict[dt.date, TableContent]]:
    days = list(plan.based_on)
    delivered = sorted({file.day for file in plan.catalogues})
    asked = {
        TableName.INTERACTIONS: days,
        TableName.QUARANTINE: days,
        TableName.CATALOGUE: delivered,
        TableName.CATALOGUE_QUARANTINE: delivered,
    }
    return {table: _content(plan, table, wanted) for table, wanted in asked.items()}


def _content(plan: ExtractPlan, table: str, days: list[dt.date]) -> dict[dt.date, TableContent]:
    storage, files = open_storage(plan.lake), _staged(plan, table)
    if not files:
        return tables.contents(storage, table, plan.attempt, days, {})
    written = read.table(session("extract"), plan.lake, table, files, plan.config.id_type)
    found = digests(written, LANDED, TABLES[table].columns)
    return tables.contents(storage, table, plan.attempt, days, found)


def _staged(plan: ExtractPlan, table: str) -> list[str]:
    staged = tables.describe(open_storage(plan.lake), table, plan.attempt)
    return [file.path for files in staged.values() for file in files]


def _profiles(plan: ExtractPlan, staged: Mapping[dt.date, TableContent]) -> dict[dt.date, Profile]:
    files = [file.path for content in staged.values() for file in content.files]
    if not files:
        return {}
    rows = read.interactions(session("extract"), plan.lake, files, plan.config.id_type)
    return profiles.profiles(rows, plan.config.raw.columns)


if __name__ == "__main__":
    main(ExtractPlan, run)
