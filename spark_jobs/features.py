"""The four feature tables of all as-of days of a request, from one plan over one cached read.

A row counts for as-of A when ``landed <= A`` and its event day is ``<= A``: it *enters* with the
first as-of day that fulfils both and stays for all later ones. So rows are aggregated once by user,
item, event day and entry, and each as-of adds up the rows that have entered by then. Everything that
is not additive is made so before: a row knows whether it is the first of its day, by how much it
raises the day's weight, and what is before and after it.

All sums are exact, in any order, and none can overflow. Quantities and amounts stay decimals: at the
highest bound that `lake.raw_sections.Rules` allows, 10**12, the 28 digits of the first sum hold 10**13 rows
of one key and day, the 38 of those after it 10**23. A pair's decayed weight is a long (`weights`
says why that is enough); sums over pairs are decimals of 30 digits, for 10**12 pairs.
"""

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as fn

from lake import layout, schemas
from lake import tables as lake
from lake.records import TableContent
from lake.schemas import AMOUNT, AS_OF, INTERACTIONS, ITEM, QUANTITY, SUBCATEGORY, USER
from lake.storage import open_storage
from spark_jobs import read
from spark_jobs.digest import digests
from spark_jobs.job import main
from spark_jobs.plans import FeaturesPlan, FeaturesResult
from spark_jobs.session import session
from spark_jobs.weights import SCALE, decay_tables, level, weights_required

log = logging.getLogger(__name__)

ROWS_PER_FILE: Final = 5_000_000
REBUY_DAYS: Final = 28
SHRINK: Final = 20
CODES: Final = 1 << 16
DAY, ENTRY, LEVEL, BEFORE, FIRST = "day", "entry", "level", "before", "first"
REBUY_ENTRY, PREVIOUS, PRICED = "rebuy_entry", "previous", "priced"
_SUMMED: Final = (QUANTITY, PRICED, AMOUNT)  # priced: quantities of rows with an amount


@dataclass(frozen=True)
class Plan:
    """What to compute: as-of days in ascending order, and the weight of each event type."""

    as_ofs: tuple[dt.date, ...]
    weights: Mapping[str, float]

    @property
    def levels(self) -> list[float]:
        """The distinct event weights, ascending; rows carry a weight's place in it."""
        return sorted(set(self.weights.values()))


def _ordinal(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days


def entered(events: DataFrame, plan: Plan) -> DataFrame:
    """Events by user, item, day and entry (the place of the first as-of day that sees them)."""
    seen = fn.greatest(fn.to_date(schemas.EVENT_TS), fn.col(schemas.LANDED))
    entry = sum((fn.when(seen > fn.lit(day), 1).otherwise(0) for day in plan.as_ofs), fn.lit(0))
    pieces = fn.greatest(QUANTITY, fn.lit(1).cast(INTERACTIONS[QUANTITY]))
    rows = events.select(
        USER,
        ITEM,
        fn.unix_date(fn.to_date(schemas.EVENT_TS)).alias(DAY),
        entry.alias(ENTRY),
        level(plan.weights, plan.levels).alias(LEVEL),
        pieces.alias(QUANTITY),
        fn.when(fn.col(AMOUNT).isNotNull(), pieces).alias(PRICED),
        AMOUNT,
    ).where(fn.col(ENTRY) < len(plan.as_ofs))
    partitions = int(events.sparkSession.conf.get("spark.sql.shuffle.partitions") or 8)
    return (
        rows.repartition(partitions, USER)
        .groupBy(USER, ITEM, DAY, ENTRY)
        .agg(fn.max(LEVEL).alias(LEVEL), *(fn.sum(name).alias(name) for name in _SUMMED))
    )


def _before_entry(place: int) -> Column:
    days = fn.when(fn.col(ENTRY) <= place, fn.col(DAY))
    earlier = Window.partitionBy(USER, ITEM).orderBy(DAY).rangeBetween(Window.unboundedPreceding, -1)
    return fn.max(days).over(earlier).alias(f"{PREVIOUS}_{place}")


def linked(rows: DataFrame, plan: Plan) -> DataFrame:
    """Rows that know their neighbours, so that each as-of only needs sums.

    `before` is the day's level without this row (null: this row is the day's first), `rebuy_entry`
    the entry of the first repeat within 28 days, `previous_N` the day before, as as-of N sees it.
    """
    same_day = Window.partitionBy(USER, ITEM, DAY).orderBy(ENTRY).rowsBetween(Window.unboundedPreceding, -1)
    repeats = Window.partitionBy(USER, ITEM).orderBy(DAY).rangeBetween(1, REBUY_DAYS)
    return (
        rows.withColumn(BEFORE, fn.max(LEVEL).over(same_day))
        .withColumn(LEVEL, fn.greatest(LEVEL, BEFORE))
        .select(
            "*",
            fn.min(ENTRY).over(repeats).alias(REBUY_ENTRY),
            *(_before_entry(place) for place in range(len(plan.as_ofs))),
        )
    )


def _views(plan: Plan, *columns: str) -> Column:
    """One struct for each as-of day that sees the row: its place, ordinal, and its own columns."""
    views = fn.array(
        *(
            fn.struct(
                fn.lit(place).alias("place"),
                fn.lit(_ordinal(day)).alias(AS_OF),
                *(fn.col(f"{name}_{place}").alias(name) for name in columns),
            )
            for place, day in enumerate(plan.as_ofs)
        )
    )
    return fn.inline(fn.slice(views, fn.col(ENTRY) + 1, len(plan.as_ofs)))


def _age() -> Column:
    return fn.col(AS_OF) - fn.col(DAY)


def _decay(levels: Sequence[float], half_life: int, level: Column) -> Column:
    tables = ",".join(f"array({','.join(f'{w}L' for w in t)})" for t in decay_tables(levels, half_life))
    return fn.coalesce(fn.get(fn.get(fn.expr(f"array({tables})"), level), _age()), fn.lit(0))


def _count(condition: Column) -> Column:
    return fn.sum(fn.when(condition, 1).otherwise(0))


def pairs(rows: DataFrame, plan: Plan) -> DataFrame:
    """Exact sums by as-of day, user and item."""
    kept = (USER, ITEM, DAY, LEVEL, BEFORE, REBUY_ENTRY, *_SUMMED)
    seen = rows.select(*kept, _views(plan, PREVIOUS))
    new = fn.col(BEFORE).isNull()
    ripe = new & (_age() >= REBUY_DAYS)

    def gained(half_life: int) -> Column:
        now, before = (_decay(plan.levels, half_life, fn.col(name)) for name in (LEVEL, BEFORE))
        return fn.sum(now - before)

    return seen.groupBy(AS_OF, USER, ITEM).agg(
        gained(60).alias("m60"),
        gained(15).alias("m15"),
        _count(new).alias("days"),
        *(_count(new & (_age() < n)).alias(f"days_{n}") for n in (7, 28, 91)),
        fn.min(DAY).alias("first"),
        fn.max(DAY).alias("last"),
        fn.max_by(PREVIOUS, DAY).alias(PREVIOUS),
        *(fn.sum(name).alias(name) for name in _SUMMED),
        _count(ripe).alias("ripe"),
        _count(ripe & (fn.col(REBUY_ENTRY) <= fn.col("place"))).alias("rebought"),
    )


def trips(rows: DataFrame, plan: Plan) -> DataFrame:
    """Days with an event by as-of day and user."""
    days = rows.groupBy(USER, DAY).agg(fn.min(ENTRY).alias(ENTRY))
    seen = days.select(USER, DAY, _views(plan))
    return seen.groupBy(AS_OF, USER).agg(
        fn.sum(fn.lit(1)).alias("trips"),
        *(_count(_age() < n).alias(f"trips_{n}") for n in (7, 28, 91)),
        fn.sum(_decay([1.0], 30, fn.lit(0))).alias("trip_rate"),
        fn.max(DAY).alias("last"),
        fn.min(DAY).alias("first"),
    )


def _since(name: str) -> Column:
    return fn.col(AS_OF) - fn.col(name)


def _double(name: str) -> Column:
    return fn.col(name).cast("double")


def _all_pairs(weight: str) -> Column:
    """A sum of decayed weights over pairs, of which a long holds two thousand at the largest weight."""
    return fn.sum(fn.col(weight).cast("decimal(20,0)")).alias(weight)


def user_features(pair: DataFrame, trip: DataFrame) -> DataFrame:
    """`user_features` of each as-of day."""
    bought = pair.groupBy(AS_OF, USER).agg(
        fn.sum(fn.lit(1)).alias("items"),
        fn.sum("days").alias("pair_days"),
        fn.sum(QUANTITY).alias(QUANTITY),
        fn.sum(AMOUNT).alias(AMOUNT),
    )
    return (
        trip.join(bought, [AS_OF, USER])
        .select(
            "*",
            _since("last").alias("days_since_last"),
            _since("first").alias("days_since_first"),
            fn.try_divide("pair_days", "trips").alias("items_per_trip"),
            fn.try_divide(_double(AMOUNT), "trips").alias("amount_per_trip"),
            fn.try_divide(_double(QUANTITY), "trips").alias("quantity_per_trip"),
        )
        .withColumn("trip_rate", _double("trip_rate") / SCALE)
    )


def user_item_features(pair: DataFrame) -> DataFrame:
    """`user_item_features` of each as-of day."""
    gap = fn.try_divide(fn.col("last") - fn.col("first"), fn.col("days") - 1)
    return pair.select(
        AS_OF,
        USER,
        ITEM,
        *("days", "days_7", "days_28", "days_91"),
        *((_double(name) / SCALE).alias(name) for name in ("m60", "m15")),
        _since("last").alias("days_since_last"),
        _since("first").alias("days_since_first"),
        gap.alias("gap_mean"),
        (fn.col("last") - fn.col(PREVIOUS)).alias("gap_last"),
        fn.try_divide(_since("last"), gap).alias("due"),
        fn.try_divide(_double(QUANTITY), "days").alias("quantity_mean"),
    )


def user_category_features(pair: DataFrame, catalogue: DataFrame) -> DataFrame:
    """`user_category_features` of each as-of day; items without a subcategory count for the share only."""
    own = Window.partitionBy(AS_OF, USER)
    sums = (
        pair.join(catalogue.select(AS_OF, ITEM, SUBCATEGORY), [AS_OF, ITEM], "left")
        .groupBy(AS_OF, USER, SUBCATEGORY)
        .agg(
            _all_pairs("m60"),
            fn.sum("days").alias("pair_days"),
            fn.sum("days_28").alias("pair_days_28"),
            fn.max("last").alias("last"),
        )
    )
    return (
        sums.withColumn("share", fn.try_divide(_double("m60"), fn.sum("m60").over(own).cast("double")))
        .where(fn.col(SUBCATEGORY).isNotNull())
        .withColumn("m60", _double("m60") / SCALE)
        .withColumn("days_since_last", _since("last"))
    )


def _code(name: str) -> Column:
    return fn.when(fn.col(name).isNotNull(), fn.pmod(fn.xxhash64(name), fn.lit(CODES)))


def _rebuy() -> Column:
    overall, alike = Window.partitionBy(AS_OF), Window.partitionBy(AS_OF, SUBCATEGORY)

    def ratio(window: object) -> tuple[Column, Column]:
        return fn.sum("rebought").over(window), fn.sum("ripe").over(window)  # type: ignore[arg-type]

    share = fn.coalesce(fn.try_divide(*ratio(overall)), fn.lit(0.0))
    again, ripe = ratio(alike)
    kin = fn.when(fn.col(SUBCATEGORY).isNull(), share).otherwise((again + SHRINK * share) / (ripe + SHRINK))
    return (fn.col("rebought") + SHRINK * kin) / (fn.col("ripe") + SHRINK)


def item_features(pair: DataFrame, catalogue: DataFrame) -> DataFrame:
    """`item_features` of each as-of day; an item that the catalogue lacks has no codes."""
    sums = pair.groupBy(AS_OF, ITEM).agg(
        fn.sum(fn.lit(1)).alias("users"),
        *(_count(fn.col(f"days_{n}") > 0).alias(f"users_{n}") for n in (7, 28, 91)),
        _all_pairs("m60"),
        *(fn.sum(name).alias(name) for name in (PRICED, AMOUNT, "ripe", "rebought")),
        fn.max("last").alias("last"),
    )
    return sums.join(catalogue, [AS_OF, ITEM], "left").select(
        AS_OF,
        ITEM,
        *("users", "users_7", "users_28", "users_91"),
        (_double("m60") / SCALE).alias("m60"),
        _since("last").alias("days_since_last"),
        (4 * fn.col("users_7") / (fn.col("users_28") + 2)).alias("trend"),
        fn.try_divide(_double(AMOUNT), _double(PRICED)).alias("price"),
        _rebuy().alias("rebuy_28"),
        _code(schemas.BRAND).alias("brand_code"),
        _code(schemas.CATEGORY).alias("category_code"),
    )


def tables(events: DataFrame, catalogue: DataFrame, plan: Plan) -> dict[str, DataFrame]:
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
    rows = linked(entered(events, plan), plan).persist()
    pair = pairs(rows, plan).persist()
    made = {
        "user_item_features": user_item_features(pair),
        "user_category_features": user_category_features(pair, catalogue),
        "item_features": item_features(pair, catalogue),
        "user_features": user_features(pair, trips(rows, plan)),
    }
    return {name: _typed(frame, name) for name, frame in made.items()}


def _typed(frame: DataFrame, table: str) -> DataFrame:
    features = (fn.col(feature.name).cast("float") for feature in schemas.FEATURES[table])
    return frame.select(fn.date_from_unix_date(AS_OF).alias(AS_OF), *schemas.TABLES[table].key, *features)


def catalogues(spark: SparkSession, request: FeaturesPlan) -> DataFrame:
    """The newest catalogue of each as-of day; every snapshot is read once."""
    snapshots: dict[tuple[str, ...], list[int]] = {}
    for day, files in request.catalogues.items():
        snapshots.setdefault(files, []).append(_ordinal(day))
    frames = [_snapshot(spark, request, files, days) for files, days in (snapshots or {(): [0]}).items()]
    return reduce(DataFrame.unionAll, frames)


def _snapshot(spark: SparkSession, request: FeaturesPlan, files: Sequence[str], days: list[int]) -> DataFrame:
    items = read.table(spark, request.lake, "catalogue", files, request.config.id_type)
    as_of = fn.explode(fn.lit(days).cast("array<int>")).alias(AS_OF)
    return items.select(ITEM, schemas.CATEGORY, SUBCATEGORY, schemas.BRAND, as_of)


def write(frame: DataFrame, table: str, request: FeaturesPlan) -> None:
    """Write a table's partitions, each sorted by key, in one file for every few million interactions."""
    pieces = 1 + request.rows // ROWS_PER_FILE
    days = fn.lit([day.isoformat() for day in request.based_on]).cast("array<date>")
    place = fn.array_position(days, fn.col(AS_OF)).cast("int") - 1
    keys = list(schemas.TABLES[table].key)
    target = read.hadoop_path(f"{request.lake}/{layout.staged(table, request.attempt)}")
    (
        frame.repartitionById(
            len(request.based_on) * pieces, place * pieces + fn.pmod(fn.hash(keys[0]), pieces)
        )
        .sortWithinPartitions(AS_OF, *keys)
        .write.mode("errorifexists")
        .partitionBy(AS_OF)
        .parquet(target)
    )


def written(spark: SparkSession, table: str, request: FeaturesPlan) -> dict[dt.date, TableContent]:
    """What lies in a table's partitions, read back."""
    storage = open_storage(request.lake)
    found = lake.describe(storage, table, request.attempt)
    files = [file.path for partition in found.values() for file in partition]
    frame = read.table(spark, request.lake, table, files, request.config.id_type)
    made = digests(frame, AS_OF, schemas.TABLES[table].columns) if files else {}
    return lake.contents(storage, table, request.attempt, request.based_on, made)


def run(request: FeaturesPlan) -> FeaturesResult:
    """Build the feature tables of every as-of day of the request.

    Parameters
    ----------
    request
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
    spark = session("nightjar features")
    events = read.interactions(spark, request.lake, request.interactions, request.config.id_type)
    if request.config.events.ignore:
        events = events.where(~fn.col(schemas.EVENT_TYPE).isin(*request.config.events.ignore))
    plan = Plan(tuple(sorted(request.based_on)), request.config.events.weights)
    made = tables(events, catalogues(spark, request), plan)
    for name, frame in made.items():
        with weights_required():
            write(frame, name, request)
        log.info("wrote %s", name)
    return FeaturesResult({name: written(spark, name, request) for name in made})


if __name__ == "__main__":
    main(FeaturesPlan, run)
