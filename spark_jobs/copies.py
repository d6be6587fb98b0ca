"""Rows that repeat an earlier one: copies of an event, and further rows about an item of a catalogue.

An event is what its key says (`raw.event_key`), else its whole raw row. The copies of an event are sought
among the rows of its day that no rule sets aside; with a key also among those of the raw files of the
`raw.late_days` before, whatever became of these days: so it does not matter in which order days are run.
"""

from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as fn

from lake.schemas import (
    HASH,
    INTERACTIONS,
    ITEM,
    KIND,
    LANDED,
    RAW_ROW,
    REASONS,
    ROW_NUMBER,
    SOURCE_FILE,
)
from spark_jobs.aside import FIRST, PLACE, WAS, Rows
from spark_jobs.judge import Delivery
from validation.rules import CONFLICTING, DUPLICATE, KEY_REPEATED, REPEATED

_OURS: Final = [name for name in INTERACTIONS if name != SOURCE_FILE]


def repeated(rows: Rows, delivery: Delivery, before: Rows | None = None) -> DataFrame | None:
    """The clean rows that repeat an earlier one, as they are set aside, cached; None where there are none.

    So do returns among themselves where they are settled with purchases.

    Whole rows are compared only where two share a key: the item in a catalogue, else the row's hash.

    Parameters
    ----------
    before
        The rows of earlier days among which copies are sought too.
    """
    is_sought = f"{KIND} IS NULL" + (f" OR {KIND} = 'return'" if "netted" in delivery.later else "")
    sought, earlier = rows.where(is_sought), before.where(is_sought) if before else None
    key = [*_day(delivery), ITEM if delivery.prefix else HASH]
    hashed = _together(sought.cached, earlier.cached if earlier else None, key)
    shared = hashed.groupBy(*key).count().where("count > 1").select(*key).persist()
    if not shared.count():
        return None
    needed = [LANDED, *PLACE, RAW_ROW, KIND, *([ITEM] if delivery.prefix else [delivery.event, *_OURS]), *key]
    whole = _together(sought.whole, earlier.whole if earlier else None, list(dict.fromkeys(needed)))
    suspects = whole.join(shared, key, "left_semi")
    found = (_repeats if delivery.prefix else _copies)(suspects, delivery)
    days = sorted({file.day for file in delivery.files})
    return (found.where(fn.col(LANDED).isin(days)) if earlier else found).persist()


def _day(delivery: Delivery) -> list[str]:
    """The day, where copies are sought within it alone."""
    return [] if delivery.reach else [LANDED]


def _together(rows: DataFrame, earlier: DataFrame | None, columns: list[str]) -> DataFrame:
    return rows.select(*columns).unionByName(earlier.select(*columns)) if earlier else rows.select(*columns)


def _copies(suspects: DataFrame, delivery: Delivery) -> DataFrame:
    """The rows about an event that an earlier row within reach is about, each beside the first of these."""
    by_day = Window.partitionBy(*_day(delivery), delivery.event, KIND).orderBy(fn.unix_date(LANDED))
    place, ours = [LANDED, *PLACE], fn.struct(*_OURS).alias("_ours")
    # What lies further back is not asked, as a night does not see it: a bootstrap of many days would.
    first = fn.min(fn.struct(*place, RAW_ROW, ours)).over(by_day.rangeBetween(-delivery.reach, 0))
    ranked = suspects.withColumn("_first", first)
    copies = ranked.where(fn.struct(*place) > fn.struct(*(fn.col(f"_first.{name}") for name in place)))
    reason = (
        fn.when(fn.col(RAW_ROW) == fn.col(f"_first.{RAW_ROW}"), DUPLICATE)
        .when(fn.struct(*_OURS).eqNullSafe(fn.col("_first._ours")), KEY_REPEATED)
        .otherwise(CONFLICTING)
    )
    return _set_aside(copies, fn.lit("duplicate"), reason)


def _repeats(suspects: DataFrame, delivery: Delivery) -> DataFrame:
    """The rows about an item that an earlier row of their day is about."""
    in_file_order = Window.partitionBy(LANDED, ITEM).orderBy(*PLACE)
    ranked = suspects.withColumns(
        {
            "_rank": fn.row_number().over(in_file_order),
            "_first": fn.first(fn.struct(RAW_ROW, *PLACE)).over(in_file_order),
        }
    )
    is_copy = fn.col(f"_first.{RAW_ROW}") == fn.col(RAW_ROW)
    kind, reason = (fn.when(is_copy, one).otherwise(other) for one, other in _OF_ITEMS)
    return _set_aside(ranked.where("_rank > 1"), kind, reason)


_OF_ITEMS: Final = (("duplicate", "bad"), (DUPLICATE, REPEATED))


def _set_aside(rows: DataFrame, kind: Column, reason: Column) -> DataFrame:
    first = fn.format_string("row %d of %s", f"_first.{ROW_NUMBER}", f"_first.{SOURCE_FILE}")
    marks = (kind.alias(KIND), fn.array(reason).alias(REASONS), fn.col(KIND).alias(WAS), first.alias(FIRST))
    return rows.select(LANDED, *PLACE, RAW_ROW, *marks)
