"""The features job: the four feature tables of all as-of days of a plan.

A row counts for as-of A when ``landed <= A``; its event day is no later than it landed. The histories of
users and pairs (`spark_jobs.histories`) begin with the state that the plan names or with nothing. They are
read, shuffled and sorted once; each as-of day makes its tables of those that it sees, the days of a short
history in one go where no row came late. The states that the plan names are kept for later nights.

All sums are exact, in any order. Quantities and amounts are longs of a pair, in the least units of their
columns, decayed weights too (`weights` says why that is enough). A long holds 9 * 10**8 events of one user
and item at the largest amount of the default settings; beyond that Spark raises an error. Sums over
pairs are decimals of 38 digits.
"""

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import chain
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as fn

from lake import feature_states, layout, schemas
from lake.feature_spec import FEATURES, LINES, PAIRS, SUMS, Feature, Line, Over
from lake.names import TableName
from lake.records import TableContent
from lake.schemas import AS_OF, ITEM, SUBCATEGORY, USER
from lake.storage import open_storage
from lake.tables import contents, describe
from spark_jobs import histories, read
from spark_jobs.digest import digests
from spark_jobs.files import pieces
from spark_jobs.histories import Histories, Landed, Numbers, Recipe, State
from spark_jobs.job import main
from spark_jobs.plans import FeaturesPlan, FeaturesResult
from spark_jobs.session import session_for
from spark_jobs.weights import unit, weights_required

log = logging.getLogger(__name__)

ROWS_TOGETHER: Final = 8_000_000
"""As-of days of a history of few rows, none late, are made together: as many as have no more rows in all.

Spark plans and Java compiles each go anew: of a million rows, six days one by one take 144 CPU-seconds,
together 115.
"""

COMPRESSED: Final = "spark.sql.inMemoryColumnarStorage.compressed"
"""Whether what is cached is compressed: of few rows that takes a tenth of a job and saves nothing of use."""

WRITERS: Final = "spark.sql.maxConcurrentOutputFileWriters"
"""How many files of a task are open at once: with one for each day, rows need not be sorted by day first."""


def _sums(table: str, over: Over, recipe: Recipe) -> list[Column]:
    """The lines of a table over some rows."""
    return [_column(line, recipe) for line in LINES[table] if line.over == over]


def _column(line: Line, recipe: Recipe) -> Column:
    return fn.expr(line.formula.format_map(recipe.features.model_dump())).alias(line.name)


def tables(
    numbers: Numbers, catalogue: DataFrame, recipe: Recipe, days: Sequence[dt.date]
) -> dict[str, DataFrame]:
    """The feature tables of some as-of days.

    Parameters
    ----------
    numbers
        As of these days.
    catalogue
        As `catalogue` gives it.

    Returns
    -------
    dict
        For each table its keys and float32 features, in the order of `lake.schemas`; of several days the date
        `AS_OF` before them. The rows of a user are in one partition. Pairs without an event for
        `history_days` are left out, and with them users who have no other.
    """
    pair = numbers[TableName.PAIRS].where(recipe.is_active)
    item: list[str] = [name for name in (AS_OF, ITEM) if name in catalogue.columns]
    # Broadcast, so that the pairs stay where they are: a user's in one partition.
    kinds = pair.join(fn.broadcast(catalogue.select(*item, SUBCATEGORY)), item, "left")

    def of_pairs(table: str, pair_rows: DataFrame, *key: str) -> DataFrame:
        return pair_rows.groupBy(AS_OF, *key).agg(*_sums(table, PAIRS, recipe))

    sums = {
        TableName.PAIRS: pair,
        TableName.CATEGORIES: of_pairs(TableName.CATEGORIES, kinds, USER, SUBCATEGORY),
        TableName.ITEMS: of_pairs(TableName.ITEMS, pair, ITEM).join(catalogue, item, "left"),
        TableName.USERS: numbers[TableName.USERS].join(of_pairs(TableName.USERS, pair, USER), [AS_OF, USER]),
    }
    return {name: _finished(frame, name, recipe, days) for name, frame in sums.items()}


def _finished(sums: DataFrame, table: str, recipe: Recipe, days: Sequence[dt.date]) -> DataFrame:
    """A table's keys and features from its sums; a user's items of no subcategory count for shares only."""
    for line in LINES[table]:
        if line.over == SUMS:
            sums = sums.withColumn(line.name, _column(line, recipe))
    keys = schemas.TABLES[table].key
    features = [_scaled(feature, recipe, days) for feature in FEATURES[table]]
    by = [histories.date_of(fn.col(name)).alias(name) for name in histories.apart(days)]
    return sums.where(fn.col(keys[-1]).isNotNull()).select(*by, *keys, *features)


def _scaled(feature: Feature, recipe: Recipe, days: Sequence[dt.date]) -> Column:
    value = fn.col(feature.name)
    if feature.half_life:
        value = value.cast("double") * _unit(days, recipe.half_life(feature.half_life))
    return value.cast("float").alias(feature.name)


def _unit(days: Sequence[dt.date], half_life: int) -> Column:
    """That of each as-of day."""
    units = [fn.lit(part) for day in days for part in (day.toordinal(), unit(day, half_life))]
    return fn.create_map(*units)[fn.col(AS_OF)]


def catalogue(spark: SparkSession, plan: FeaturesPlan, days: Sequence[dt.date]) -> DataFrame:
    """The items, categories, subcategories and brands as of some days.

    Where the newest catalogue of all these days is not the same, those of each, whose number is `AS_OF`.
    """
    by_files = defaultdict(list)
    for day in days:
        by_files[plan.catalogues.get(day, ())].append(fn.lit(day.toordinal()))
    parts = []
    for files, numbers in by_files.items():
        items = read.table(spark, plan.lake, TableName.CATALOGUE, files, plan.config.id_type)
        names = items.select(ITEM, schemas.CATEGORY, SUBCATEGORY, schemas.BRAND)
        parts.append(names if len(by_files) == 1 else names.withColumn(AS_OF, fn.explode(fn.array(*numbers))))
    return reduce(DataFrame.unionByName, parts)


def write(frame: DataFrame, table: str, days: Sequence[dt.date], plan: FeaturesPlan) -> None:
    """Write a table as of some days, sorted by key, each in a file for every few million interactions."""
    folder, by = f"{plan.lake}/{layout.staged(table, plan.attempt)}", histories.apart(days)
    rows = frame.coalesce(pieces(plan.rows)).sortWithinPartitions(*schemas.TABLES[table].key)
    # Days made together go beside others; a day written twice has keys twice, which the gate refuses.
    target, mode = (folder, "append") if by else (f"{folder}/{AS_OF}={days[0]}", "errorifexists")
    rows.write.mode(mode).partitionBy(*by).parquet(read.hadoop_path(target))


def written(
    spark: SparkSession, table: str, days: Sequence[dt.date], plan: FeaturesPlan
) -> dict[dt.date, TableContent]:
    """The files and the digest of some partitions that were written, read back from storage."""
    storage = open_storage(plan.lake)
    partitions = describe(storage, table, plan.attempt)
    files = [file.path for day in days for file in partitions.get(day, ())]
    frame = read.table(spark, plan.lake, table, files, plan.config.id_type)
    content_digests = digests(frame, AS_OF, schemas.TABLES[table].columns) if files else {}
    return contents(storage, table, plan.attempt, days, content_digests)


def run(plan: FeaturesPlan) -> FeaturesResult:
    """Build the feature tables of every as-of day of the plan.

    Parameters
    ----------
    plan
        Its days, and the files that they may see.

    Returns
    -------
    FeaturesResult
        What was written, read back.

    Raises
    ------
    ConfigError
        When an event type of some day has no weight.
    """
    spark = session_for("nightjar features", plan.rows)
    spark.conf.set(COMPRESSED, str(not is_small(plan)).lower())
    spark.conf.set(WRITERS, len(plan.based_on))
    recipe = Recipe(plan.config.events.weights, plan.config.features, plan.config.zone)
    dropped: dict[dt.date, dict[str, int]] = {}
    made: dict[str, dict[dt.date, TableContent]] = {table: {} for table in FEATURES}
    with weights_required():
        seen = Histories.read(_landed(spark, plan), sorted(plan.based_on), recipe, _start(spark, plan))
    for days in seen.groups(together(plan.rows)):
        numbers = {table: frame.persist() for table, frame in seen.numbers(days).items()}
        with _side_by_side() as jobs:  # else the few tasks that write compute them
            list(jobs.map(DataFrame.count, numbers.values()))
        frames = tables(numbers, catalogue(spark, plan, days), recipe, days)
        for table, content in _make(frames, seen, days, plan).items():
            made[table] |= content
        if recipe.features.history_days:
            dropped |= _dropped(numbers, recipe, days)
        for frame in numbers.values():
            frame.unpersist()
        log.info("wrote the tables as of %s", ", ".join(map(str, days)))
    return FeaturesResult(made, dropped)


def _side_by_side() -> ThreadPoolExecutor:
    """Runs Spark's jobs, two at a time: one has tasks for the cores while the other is planned or ends."""
    return ThreadPoolExecutor(2)


def _make(
    frames: Mapping[str, DataFrame], seen: Histories, days: Sequence[dt.date], plan: FeaturesPlan
) -> dict[str, dict[dt.date, TableContent]]:
    """Write the tables of some days, read each back, and keep the states that the plan names."""
    with _side_by_side() as jobs:
        made = {table: jobs.submit(_make_table, frame, table, days, plan) for table, frame in frames.items()}
        kept = [jobs.submit(_keep, seen, day, plan) for day in days if day in plan.kept]
    for state in kept:
        state.result()
    return {table: job.result() for table, job in made.items()}


def _make_table(
    frame: DataFrame, table: str, days: Sequence[dt.date], plan: FeaturesPlan
) -> dict[dt.date, TableContent]:
    write(frame, table, days, plan)
    return written(frame.sparkSession, table, days, plan)


def together(rows: int) -> int:
    """How many as-of days of a history of so many rows are made in one go."""
    return max(1, ROWS_TOGETHER // max(1, rows))


def is_small(plan: FeaturesPlan) -> bool:
    """Whether all that a job caches comes from few rows; a state holds more than its plan counts."""
    return plan.state is None and plan.rows * len(plan.based_on) <= ROWS_TOGETHER


def _dropped(numbers: Numbers, recipe: Recipe, days: Sequence[dt.date]) -> dict[dt.date, dict[str, int]]:
    """How many keys of each table are left out of each day."""
    dropped: dict[dt.date, dict[str, int]] = {day: dict.fromkeys(numbers, 0) for day in days}
    for table, frame in numbers.items():
        for row in frame.where(~recipe.is_active).groupBy(AS_OF).count().collect():
            dropped[dt.date.fromordinal(row[AS_OF])][table] = row["count"]
    return dropped


def _landed(spark: SparkSession, plan: FeaturesPlan) -> Landed:
    def between(after: dt.date | None, last: dt.date) -> DataFrame:
        days = (day for day in plan.interactions if (after is None or after < day) and day <= last)
        files = [file for day in days for file in plan.interactions[day]]
        events = read.interactions(spark, plan.lake, files, plan.config.id_type)
        ignored = plan.config.events.ignore
        return events.where(~fn.col(schemas.EVENT_TYPE).isin(*ignored)) if ignored else events

    return between


def _start(spark: SparkSession, plan: FeaturesPlan) -> State | None:
    """The state that the plan names, where it is still there."""
    storage = open_storage(plan.lake)
    if plan.state is None or not all(map(storage.exists, chain(*plan.state.files.values()))):
        return None
    log.info("features begin with the state as of %s", plan.state.as_of)
    frames = {}
    for table, files in plan.state.files.items():
        paths = [read.literal(f"{plan.lake}/{file}") for file in files]
        frames[table] = spark.read.schema(histories.ddl(table, plan.config.id_type)).parquet(*paths)
    return State(plan.state.as_of, frames)


def _keep(seen: Histories, day: dt.date, plan: FeaturesPlan) -> None:
    """Keep the state of a day for later nights."""
    state, folder = seen.state(day), feature_states.folder(plan.attempt, day)
    for table, frame in state.histories.items():
        parts = frame.coalesce(pieces(plan.rows))
        parts.write.mode("errorifexists").parquet(read.hadoop_path(f"{plan.lake}/{folder}/{table}"))
    feature_states.keep(open_storage(plan.lake), plan.origins(day), day, plan.attempt)


if __name__ == "__main__":
    main(FeaturesPlan, run)
