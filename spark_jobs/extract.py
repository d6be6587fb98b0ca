"""The ingest job: from checked raw files of one or many days to interactions, catalogue and quarantines.

Every row of a raw file is either clean, or set aside with all its reasons, or set aside for what other
rows say: as a copy, for instance. The counts of each day add up to the rows that its files hold.
"""

import datetime as dt
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial, reduce

from pyspark.errors import DateTimeException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn

from lake import layout, tables
from lake.errors import ConfigError, FileFault, PermanentError
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
from lake.storage import Storage, open_storage
from spark_jobs import bots, copies, day_profiles, judge, read, returns
from spark_jobs.aside import FIRST, WAS, Rows, alone
from spark_jobs.digest import digests
from spark_jobs.files import cut
from spark_jobs.job import main, unread
from spark_jobs.judge import EVENT, HOUR, NAMED, NOTES, Delivery
from spark_jobs.plans import ExtractPlan, ExtractResult, RawFile
from spark_jobs.raw import file_at
from spark_jobs.session import session, session_for
from validation.profile import Profile
from validation.rules import BOT, CONFLICTING, REPEATED

log = logging.getLogger(__name__)

Counts = dict[dt.date, dict[str, int]]

_AT_ONCE = 8  # asking for the version of a file waits for the storage, not for a core
_SHOWN = 3  # names of files in a message
_COUNTED_APART = {REPEATED: f"bad_{REPEATED}", CONFLICTING: "conflicting"}
"""Of repeated rows the reasons that have a count of their own."""
_IS_SET_ASIDE = f"size({REASONS}) > 0"


@dataclass(frozen=True)
class _Tally:
    """The statistics of one delivery, for each day: its counts, its rows by hour, a sample of each reason."""

    counts: Counts
    hours: dict[dt.date, dict[int, int]] = field(default_factory=dict)
    samples: dict[dt.date, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Found:
    """What other rows say of rows.

    Attributes
    ----------
    aside
        Rows that are set aside for it; None where there are none.
    smaller
        What is left of purchases that returns have made smaller; None where there are none.
    bots
        A sentence about the bots of each day.
    """

    aside: DataFrame | None
    smaller: DataFrame | None = None
    bots: dict[dt.date, str] = field(default_factory=dict)


class _DayFault(FileFault):
    """A fault of one day's raw files that only Spark finds."""

    def __init__(self, day: dt.date, message: str) -> None:
        super().__init__(message)
        self.day = day


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
            fault = _day_fault(error, plan)
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


def _day_fault(error: Exception, plan: ExtractPlan) -> _DayFault | None:
    """The day whose file Spark could not read, if that is the error."""
    if isinstance(error, _DayFault):
        return error
    cause = unread(error)
    file = file_at(cause.path, plan) if cause else None
    if cause is None or file is None:
        return None
    uri = open_storage(plan.raw_root).uri(file.name)
    problem = f"{uri}: expected a file that Spark can read, found {cause.why}"
    return _DayFault(file.day, f"{problem}; deliver it again, then run {file.day} again")


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
    tally = _stage(events, plan, list(plan.based_on))
    counts, samples = tally.counts, tally.samples
    if items:
        catalogue = _stage(items, plan, sorted({file.day for file in items.files}))
        counts = {day: tally.counts[day] | catalogue.counts.get(day, {}) for day in tally.counts}
        samples = {day: samples.get(day, {}) | catalogue.samples.get(day, {}) for day in tally.counts}
    contents = _contents(plan)
    result = ExtractResult(
        contents, counts, tally.hours, samples, profiles=_profiles(plan, contents[TableName.INTERACTIONS])
    )
    for delivery in (events, items) if items else (events,):
        _balance(result, delivery)
    _require_unchanged(plan)
    return result


def _stage(delivery: Delivery, plan: ExtractPlan, days: Iterable[dt.date]) -> _Tally:
    """Write the clean rows of a delivery, and those set aside."""
    tally = _Tally({day: dict.fromkeys(_count_names(delivery), 0) for day in days})
    if delivery.files:
        try:
            _stage_rows(delivery, plan, tally)
        finally:  # free the cached frames, also before a further pass without a faulty day
            session("extract").catalog.clearCache()
    return tally


def _stage_rows(delivery: Delivery, plan: ExtractPlan, tally: _Tally) -> None:
    judged = judge.judged(session("extract"), plan, delivery)
    rows = Rows(judged, _without_whole_rows(judged).persist())
    found = _found_among_others(rows, delivery, plan)
    _count(rows.cached, found, delivery, tally)
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
    _sample(rows.cached, delivery, plan, tally)
    _sample_others(found, delivery, tally)


def _found_among_others(rows: Rows, delivery: Delivery, plan: ExtractPlan) -> _Found:
    """Seek copies, then bots among the rows that are left, then returns among what is left of those."""
    rules = plan.config.rules
    aside = copies.repeated(rows, delivery, _before(plan, delivery))
    if delivery.later and aside:
        aside = alone(aside)
    smaller: DataFrame | None = None
    of_bots: dict[dt.date, str] = {}
    if "bot" in delivery.later:
        more, of_bots = bots.find(rows.without(aside), rules.exclude)
        aside = _both(aside, more)
    if "netted" in delivery.later:
        more, smaller = returns.find(rows.without(aside), rules.net_by)
        aside = _both(aside, more)
    return _Found(aside, smaller, of_bots)


def _both(one: DataFrame | None, other: DataFrame | None) -> DataFrame | None:
    some = [frame for frame in (one, other) if frame]
    return (
        reduce(lambda left, right: left.unionByName(right, allowMissingColumns=True), some) if some else None
    )


def _before(plan: ExtractPlan, delivery: Delivery) -> Rows | None:
    """The rows of earlier days among which copies are sought; None where there are none."""
    if not delivery.key or not plan.before:
        return None
    judged = judge.judged(session("extract"), plan, replace(delivery, files=plan.before))
    cached = judged.select(LANDED, HASH, KIND).persist()
    read_rows = Counter[dt.date]()
    read_rows.update(dict(cached.groupBy(LANDED).count().collect()))
    for day in {file.day for file in plan.before}:
        _require_all_read(day, read_rows[day], [file for file in plan.before if file.day == day])
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


def _count_names(delivery: Delivery) -> Iterator[str]:
    """The names of a delivery's counts."""
    names = ["read", "clean", *delivery.kinds]
    names += ["unnamed", "conflicting"] if delivery.key else []
    names += ["smaller"] if "netted" in delivery.later else []
    names += [f"rounded_{rule.column}" for rule in delivery.rules if rule.kind == "rounded"]
    names += [f"bad_{name}" for name in _faults(delivery)]
    return (f"{delivery.prefix}{name}" for name in names)


def _faults(delivery: Delivery) -> list[str]:
    """The reasons that a bad row of a delivery may have."""
    return delivery.named("bad") + delivery.named("return") + ([REPEATED] if delivery.prefix else [])


def _count(cached: DataFrame, found: _Found, delivery: Delivery, tally: _Tally) -> None:
    """Fill in the counts of every day, and compare the rows read with those that the files hold."""
    hour = fn.lit(None).cast("int").alias(HOUR) if delivery.prefix else judge.hour(delivery.zone)
    for row in cached.groupBy(LANDED, hour).agg(*_aggregates(delivery)).collect():
        counts = row.asDict()
        day, hour_of_day = counts.pop(LANDED), counts.pop(HOUR)
        _add(tally.counts[day], counts)
        if hour_of_day is not None:
            tally.hours.setdefault(day, {})[hour_of_day] = counts[f"{delivery.prefix}read"]
    for row in found.aside.groupBy(LANDED, KIND, REASONS, WAS).count().collect() if found.aside else ():
        names = [row[KIND], *(name for reason, name in _COUNTED_APART.items() if reason in row[REASONS])]
        _add(tally.counts[row[LANDED]], {f"{delivery.prefix}{name}": row["count"] for name in names})
        if row[WAS]:
            tally.counts[row[LANDED]][row[WAS]] -= row["count"]
    for row in found.smaller.groupBy(LANDED).count().collect() if found.smaller else ():
        tally.counts[row[LANDED]]["smaller"] += row["count"]
    for day, counts in tally.counts.items():
        aside = _aside(counts, delivery)
        counts[f"{delivery.prefix}clean"] = counts[f"{delivery.prefix}read"] - aside
        files = [file for file in delivery.files if file.day == day]
        _require_all_read(day, counts[f"{delivery.prefix}read"], files)


def _aggregates(delivery: Delivery) -> list[Column]:
    kinds = {
        kind: fn.col(KIND) == kind for kind in delivery.kinds if kind not in ("duplicate", *delivery.later)
    }
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
    unnamed = {"unnamed": ~fn.col(NAMED) & fn.col(KIND).isNull()} if delivery.key else {}
    every = {"read": fn.lit(True)} | kinds | faults | notes | unnamed
    return [fn.count_if(condition).alias(f"{delivery.prefix}{name}") for name, condition in every.items()]


def _add(counts: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        counts[name] += count


def _aside(counts: dict[str, int], delivery: Delivery) -> int:
    return sum(counts[f"{delivery.prefix}{kind}"] for kind in delivery.kinds)


def _require_all_read(day: dt.date, read_rows: int, files: Iterable[RawFile]) -> None:
    stated = {file.name: file.rows for file in files}
    if read_rows != sum(stated.values()):
        raise _DayFault(
            day,
            f"{day}: Spark read {read_rows} rows of {_few(list(stated))}, which hold "
            f"{sum(stated.values())}: a file changed meanwhile, or Spark skipped one; run the day again",
        )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _require_unchanged(plan: ExtractPlan) -> None:
    """Refuse a file that changed after its check: the record would hold the digest of other bytes."""
    storage = open_storage(plan.raw_root)
    files = [file for file in plan.all_files if not file.copy]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        unchanged = pool.map(partial(_is_as_checked, storage), files)
        changed = next((file for file, same in zip(files, unchanged, strict=True) if not same), None)
    if changed:
        raise _DayFault(
            changed.day,
            f"{storage.uri(changed.name)}: expected the file that was checked, found one that changed while "
            f"it was read; run {changed.day} again",
        )


def _is_as_checked(storage: Storage, file: RawFile) -> bool:
    try:
        return storage.version(file.name) == file.version or storage.sha256(file.name) == file.sha256
    except FileNotFoundError:
        return False


def _sample(cached: DataFrame, delivery: Delivery, plan: ExtractPlan, tally: _Tally) -> None:
    """Fill in a sample of each reason, and of each column with rounded numbers."""
    files = _staged(plan, delivery.aside)
    if files:
        aside = read.table(session("extract"), plan.lake, delivery.aside, files, plan.config.id_type)
        tally.samples.update(judge.samples(aside, REASONS, delivery))
    if any(n for counts in tally.counts.values() for name, n in counts.items() if "rounded_" in name):
        rounded = judge.samples(cached.where(fn.col(KIND).isNull()), NOTES, delivery)
        for day, samples in rounded.items():
            tally.samples[day] = tally.samples.get(day, {}) | samples


def _sample_others(found: _Found, delivery: Delivery, tally: _Tally) -> None:
    """Name the bots, and add to the sample of conflicting copies which row came first."""
    for day, names in found.bots.items():
        tally.samples[day][BOT] = names
    if not found.aside or not delivery.key:
        return
    conflicts = found.aside.where(fn.array_contains(REASONS, CONFLICTING))
    top = fn.min(fn.struct(SOURCE_FILE, ROW_NUMBER, FIRST)).alias("row")
    for day, row in conflicts.groupBy(LANDED).agg(top).collect():
        tally.samples[day][CONFLICTING] += f"; {row[FIRST]} came first"


def _balance(result: ExtractResult, delivery: Delivery) -> None:
    """Compare the rows that were written, clean and set aside, with the counts of each day."""
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
