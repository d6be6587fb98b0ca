"""The features job: the four feature tables of all as-of days of a plan, from one cached read.

A row counts for as-of A when ``landed <= A`` and its event day is ``<= A``: it *enters* with the
first as-of day that fulfils both and stays for all later ones. So rows are aggregated once by user,
item, event day and entry, and each as-of adds up the rows that have entered by then. Everything that
is not additive is made so before: a row knows whether it is the first of its day, by how much it
raises the day's weight, and what is before and after it.

All sums are exact, in any order, and none can overflow. Quantities and amounts stay decimals: at the
highest bound that `lake.raw_sections.RulesSection` allows, 10**12, the 28 digits of the first sum hold
10**13 rows of one key and day, the 38 of those after it 10**23. A pair's decayed weight is a long
(`weights` says why that is enough); sums over pairs are decimals of 30 digits, for 10**12 pairs.
"""

import datetime as dt
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as fn

from lake import layout, schemas
from lake.feature_spec import FEATURES, LINES, PAIRS, ROWS, SUMS, TRIPS, Feature, Line, Over
from lake.names import TableName
from lake.records import TableContent
from lake.schemas import AMOUNT, AS_OF, INTERACTIONS, ITEM, QUANTITY, SUBCATEGORY, USER
from lake.sections import FeaturesSection
from lake.storage import open_storage
from lake.tables import contents, describe
from spark_jobs import read
from spark_jobs.digest import digests
from spark_jobs.files import cut
from spark_jobs.job import main
from spark_jobs.plans import FeaturesPlan, FeaturesResult
from spark_jobs.session import PARTITIONS, session_for
from spark_jobs.weights import decay_tables, level, scale, weights_required

log = logging.getLogger(__name__)

DAY, ENTRY, LEVEL, BEFORE = "day", "entry", "level", "before"
REBUY_ENTRY, PREVIOUS, PRICED = "rebuy_entry", "previous", "priced"
_SUMMED: Final = (QUANTITY, PRICED, AMOUNT)  # PRICED is the quantity of a row that has an amount, else null


@dataclass(frozen=True)
class Recipe:
    """What to compute: as-of days in ascending order, weights of event types, windows and half-lives."""

    as_ofs: tuple[dt.date, ...]
    weights: Mapping[str, float]
    features: FeaturesSection

    @property
    def levels(self) -> list[float]:
        """The distinct event weights, ascending; rows carry a weight's index in it."""
        return sorted(set(self.weights.values()))


def _ordinal(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days


def entered(events: DataFrame, recipe: Recipe) -> DataFrame:
    """Events by user, item, day and entry (the index of the first as-of day that sees them)."""
    seen = fn.greatest(fn.to_date(schemas.EVENT_TS), fn.col(schemas.LANDED))
    entry = sum((fn.when(seen > fn.lit(day), 1).otherwise(0) for day in recipe.as_ofs), fn.lit(0))
    pieces = fn.greatest(QUANTITY, fn.lit(1).cast(INTERACTIONS[QUANTITY]))
    rows = events.select(
        USER,
        ITEM,
        fn.unix_date(fn.to_date(schemas.EVENT_TS)).alias(DAY),
        entry.alias(ENTRY),
        level(recipe.weights, recipe.levels).alias(LEVEL),
        pieces.alias(QUANTITY),
        fn.when(fn.col(AMOUNT).isNotNull(), pieces).alias(PRICED),
        AMOUNT,
    ).where(fn.col(ENTRY) < len(recipe.as_ofs))
    partitions = int(str(events.sparkSession.conf.get(PARTITIONS)))
    return (
        rows.repartition(partitions, USER)
        .groupBy(USER, ITEM, DAY, ENTRY)
        .agg(fn.max(LEVEL).alias(LEVEL), *(fn.sum(name).alias(name) for name in _SUMMED))
    )


def _before_entry(index: int) -> Column:
    days = fn.when(fn.col(ENTRY) <= index, fn.col(DAY))
    earlier = Window.partitionBy(USER, ITEM).orderBy(DAY).rangeBetween(Window.unboundedPreceding, -1)
    return fn.max(days).over(earlier).alias(f"{PREVIOUS}_{index}")


def linked(rows: DataFrame, recipe: Recipe) -> DataFrame:
    """Rows that know their neighbours, so that each as-of only needs sums.

    `before` is the day's level without this row (null: this row is the day's first), `rebuy_entry`
    the entry of the first repeat within `rebuy_days`, `previous_N` the day before, as as-of N sees it.
    """
    same_day = Window.partitionBy(USER, ITEM, DAY).orderBy(ENTRY).rowsBetween(Window.unboundedPreceding, -1)
    repeats = Window.partitionBy(USER, ITEM).orderBy(DAY).rangeBetween(1, recipe.features.rebuy_days)
    return (
        rows.withColumn(BEFORE, fn.max(LEVEL).over(same_day))
        .withColumn(LEVEL, fn.greatest(LEVEL, BEFORE))
        .select(
            "*",
            fn.min(ENTRY).over(repeats).alias(REBUY_ENTRY),
            *(_before_entry(index) for index in range(len(recipe.as_ofs))),
        )
    )


def _views(recipe: Recipe, *columns: str) -> Column:
    """One struct for each as-of day that sees the row: its index, ordinal, and its own columns."""
    views = fn.array(
        *(
            fn.struct(
                fn.lit(index).alias("place"),
                fn.lit(_ordinal(day)).alias(AS_OF),
                *(fn.col(f"{name}_{index}").alias(name) for name in columns),
            )
            for index, day in enumerate(recipe.as_ofs)
        )
    )
    return fn.inline(fn.slice(views, fn.col(ENTRY) + 1, len(recipe.as_ofs)))


def _age() -> Column:
    return fn.col(AS_OF) - fn.col(DAY)


def _decay(levels: Sequence[float], half_life: int, level: Column) -> Column:
    tables = fn.from_json(fn.lit(json.dumps(decay_tables(levels, half_life))), "array<array<bigint>>")
    return fn.coalesce(fn.get(fn.get(tables, level), _age()), fn.lit(0))


def _sums(table: str, over: Over, recipe: Recipe) -> list[Column]:
    """The lines of a table over some rows."""
    return [_column(line, recipe) for line in LINES[table] if line.over == over]


def _column(line: Line, recipe: Recipe) -> Column:
    return fn.expr(line.formula.format_map(recipe.features.model_dump())).alias(line.name)


def pairs(rows: DataFrame, recipe: Recipe) -> DataFrame:
    """Exact sums by as-of day, user and item."""
    columns = (USER, ITEM, DAY, LEVEL, BEFORE, REBUY_ENTRY, *_SUMMED)
    config = recipe.features

    def gained(half_life: int) -> Column:
        now, before = (_decay(recipe.levels, half_life, fn.col(name)) for name in (LEVEL, BEFORE))
        return now - before

    per_as_of = rows.select(*columns, _views(recipe, PREVIOUS)).select(
        *(AS_OF, USER, ITEM, *_SUMMED),
        _age().alias("age"),
        fn.col(BEFORE).isNull().alias("new"),
        gained(config.slow_half_life).alias("slow"),
        gained(config.fast_half_life).alias("fast"),
        (fn.col(DAY) - fn.col(PREVIOUS)).alias("gap"),
        (fn.col(REBUY_ENTRY) <= fn.col("place")).alias("repeated"),
    )
    return per_as_of.groupBy(AS_OF, USER, ITEM).agg(*_sums(TableName.PAIRS, ROWS, recipe))


def trips(rows: DataFrame, recipe: Recipe) -> DataFrame:
    """Days with an event by as-of day and user."""
    days = rows.groupBy(USER, DAY).agg(fn.min(ENTRY).alias(ENTRY))
    decayed = _decay([1.0], recipe.features.trip_half_life, fn.lit(0))
    seen = days.select(USER, DAY, _views(recipe)).select(
        AS_OF, USER, _age().alias("age"), decayed.alias("decayed")
    )
    return seen.groupBy(AS_OF, USER).agg(*_sums(TableName.USERS, TRIPS, recipe))


def tables(events: DataFrame, catalogue: DataFrame, recipe: Recipe) -> dict[str, DataFrame]:
    """The feature tables of all as-of days, from interactions.

    Parameters
    ----------
    events
        Interactions with `landed`; rows that no as-of day may see are left out here.
    catalogue
        For each as-of day (`as_of`, an ordinal) its items, categories, subcategories and brands.

    Returns
    -------
    dict
        For each table its keys and float32 features, in the order of `lake.schemas`, after `as_of`, a date.
    """
    rows = linked(entered(events, recipe), recipe).persist()
    pair = pairs(rows, recipe).persist()
    kinds = pair.join(catalogue.select(AS_OF, ITEM, SUBCATEGORY), [AS_OF, ITEM], "left")

    def of_pairs(table: str, pair_rows: DataFrame, *key: str) -> DataFrame:
        return pair_rows.groupBy(AS_OF, *key).agg(*_sums(table, PAIRS, recipe))

    sums = {
        TableName.PAIRS: pair,
        TableName.CATEGORIES: of_pairs(TableName.CATEGORIES, kinds, USER, SUBCATEGORY),
        TableName.ITEMS: of_pairs(TableName.ITEMS, pair, ITEM).join(catalogue, [AS_OF, ITEM], "left"),
        TableName.USERS: trips(rows, recipe).join(of_pairs(TableName.USERS, pair, USER), [AS_OF, USER]),
    }
    return {name: _finished(frame, name, recipe) for name, frame in sums.items()}


def _finished(sums: DataFrame, table: str, recipe: Recipe) -> DataFrame:
    """A table's keys and features from its sums; a user's items of no subcategory count for shares only."""
    for line in LINES[table]:
        if line.over == SUMS:
            sums = sums.withColumn(line.name, _column(line, recipe))
    keys = schemas.TABLES[table].key
    features = [_scaled(feature, recipe).cast("float").alias(feature.name) for feature in FEATURES[table]]
    return sums.where(fn.col(keys[-1]).isNotNull()).select(
        fn.date_from_unix_date(AS_OF).alias(AS_OF), *keys, *features
    )


def _scaled(feature: Feature, recipe: Recipe) -> Column:
    if not feature.half_life:
        return fn.col(feature.name)
    half_life = recipe.features.model_dump()[f"{feature.half_life}_half_life"]
    return fn.col(feature.name).cast("double") / scale(half_life)


def catalogues(spark: SparkSession, plan: FeaturesPlan) -> DataFrame:
    """The newest catalogue of each as-of day; every snapshot is read once."""
    snapshots: dict[tuple[str, ...], list[int]] = {}
    for day, files in plan.catalogues.items():
        snapshots.setdefault(files, []).append(_ordinal(day))
    frames = [_snapshot(spark, plan, files, days) for files, days in (snapshots or {(): [0]}).items()]
    return reduce(DataFrame.unionAll, frames)


def _snapshot(spark: SparkSession, plan: FeaturesPlan, files: Sequence[str], days: list[int]) -> DataFrame:
    items = read.table(spark, plan.lake, TableName.CATALOGUE, files, plan.config.id_type)
    as_of = fn.explode(fn.lit(days).cast("array<int>")).alias(AS_OF)
    return items.select(ITEM, schemas.CATEGORY, SUBCATEGORY, schemas.BRAND, as_of)


def write(frame: DataFrame, table: str, plan: FeaturesPlan) -> None:
    """Write a table's partitions, each sorted by key, in one file for every few million interactions."""
    keys = list(schemas.TABLES[table].key)
    target = read.hadoop_path(f"{plan.lake}/{layout.staged(table, plan.attempt)}")
    (
        cut(frame, AS_OF, list(plan.based_on), keys[0], plan.rows)
        .sortWithinPartitions(AS_OF, *keys)
        .write.mode("errorifexists")
        .partitionBy(AS_OF)
        .parquet(target)
    )


def written(spark: SparkSession, table: str, plan: FeaturesPlan) -> dict[dt.date, TableContent]:
    """The files and the digest of each partition that was written, read back from storage."""
    storage = open_storage(plan.lake)
    partitions = describe(storage, table, plan.attempt)
    files = [file.path for partition in partitions.values() for file in partition]
    frame = read.table(spark, plan.lake, table, files, plan.config.id_type)
    content_digests = digests(frame, AS_OF, schemas.TABLES[table].columns) if files else {}
    return contents(storage, table, plan.attempt, plan.based_on, content_digests)


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
    config = plan.config
    events = read.interactions(spark, plan.lake, plan.interactions, config.id_type)
    if config.events.ignore:
        events = events.where(~fn.col(schemas.EVENT_TYPE).isin(*config.events.ignore))
    recipe = Recipe(tuple(sorted(plan.based_on)), config.events.weights, config.features)
    frames = tables(events, catalogues(spark, plan), recipe)
    for name, frame in frames.items():
        with weights_required():
            write(frame, name, plan)
        log.info("wrote %s", name)
    return FeaturesResult({name: written(spark, name, plan) for name in frames})


if __name__ == "__main__":
    main(FeaturesPlan, run)
