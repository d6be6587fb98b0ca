"""The profiles of staged days. They depend neither on the order of rows nor on how files are cut."""

import datetime as dt
from collections import defaultdict

from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as fn

from lake.raw_sections import RawColumns
from lake.schemas import AMOUNT, EVENT_TYPE, ITEM, LANDED, QUANTITY, SEGMENT, USER
from validation.profile import MOST_SEGMENTS, NO_SEGMENT, OTHER_SEGMENTS, QUANTILES, Profile, Values

_COLUMNS = (USER, ITEM, EVENT_TYPE, SEGMENT, AMOUNT, QUANTITY)
_OF = "of"
_ROWS = "rows"


def profiles(staged: DataFrame, columns: RawColumns) -> dict[dt.date, Profile]:
    """The profile of every day that has a clean row, without the values that need a catalogue.

    Parameters
    ----------
    staged
        Interactions with their day.
    columns
        The columns that the data set maps; the profile has None for any other.
    """
    counts = _counts(staged).persist()
    summaries, shares = _summaries(counts), _shares(counts)
    counts.unpersist()
    return {
        day: Profile(
            rows=users.rows,
            users=users.keys,
            items=summaries[day, ITEM].keys,
            busiest=users.most,
            event_types=shares[day, EVENT_TYPE] if columns.event_type else None,
            segments=shares[day, SEGMENT] if columns.segment else None,
            amounts=_values(summaries[day, AMOUNT], AMOUNT) if columns.amount else None,
            quantities=_values(summaries[day, QUANTITY], QUANTITY) if columns.quantity else None,
        )
        for (day, of), users in summaries.items()
        if of == USER
    }


def _counts(staged: DataFrame) -> DataFrame:
    """Rows by day and value of one column. `_OF` names that column; the others are null."""
    rows = staged.withColumn(SEGMENT, fn.coalesce(SEGMENT, fn.lit(NO_SEGMENT)))
    sets = rows.groupingSets([[LANDED, name] for name in _COLUMNS], LANDED, *_COLUMNS)
    of = fn.coalesce(*(fn.when(fn.grouping(name) == 0, name) for name in _COLUMNS))
    return sets.agg(fn.count(fn.lit(1)).alias(_ROWS), of.alias(_OF))


def _summaries(counts: DataFrame) -> dict[tuple[dt.date, str], Row]:
    """By day and column: rows, distinct values, rows of the most frequent one, quantiles of numbers."""
    aggregates = [fn.sum(_ROWS).alias("rows"), fn.count(fn.lit(1)).alias("keys"), fn.max(_ROWS).alias("most")]
    for name in (AMOUNT, QUANTITY):
        above = fn.when(fn.col(name) > 0, fn.col(name))
        aggregates += [
            fn.sum(fn.when(above.isNotNull(), fn.col(_ROWS))).alias(f"above_{name}"),
            fn.percentile(above, list(QUANTILES), fn.col(_ROWS)).alias(name),
        ]
    return {(row[LANDED], row[_OF]): row for row in counts.groupBy(LANDED, _OF).agg(*aggregates).collect()}


def _values(summary: Row, column: str) -> Values:
    return Values(summary[f"above_{column}"] or 0, tuple(summary[column] or ()))


def _shares(counts: DataFrame) -> dict[tuple[dt.date, str], dict[str, int]]:
    """By day the rows of each event type and segment; those beyond `MOST_SEGMENTS` are one sum."""
    key: Column = fn.coalesce(EVENT_TYPE, SEGMENT).alias("key")
    named = counts.where(fn.col(_OF).isin(EVENT_TYPE, SEGMENT)).select(LANDED, _OF, key, _ROWS)
    rank = fn.row_number().over(Window.partitionBy(LANDED, _OF).orderBy(fn.desc(_ROWS), "key"))
    name = fn.when(rank <= MOST_SEGMENTS, fn.col("key")).otherwise(OTHER_SEGMENTS)
    sums = named.select(LANDED, _OF, name.alias("key"), _ROWS).groupBy(LANDED, _OF, "key").sum(_ROWS)
    shares: dict[tuple[dt.date, str], dict[str, int]] = defaultdict(dict)
    for day, of, value, rows in sums.collect():
        shares[day, of][value] = rows
    return {day_and_column: dict(sorted(rows.items())) for day_and_column, rows in shares.items()}
