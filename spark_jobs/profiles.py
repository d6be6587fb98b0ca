"""The profiles of staged days, exact whatever the order of rows or the cut of files."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as fn

from lake.schemas import AMOUNT, EVENT_TYPE, ITEM, LANDED, QUANTITY, SEGMENT, USER
from lake.settings import RawColumns
from validation.profile import MOST_SEGMENTS, NO_SEGMENT, OTHER_SEGMENTS, QUANTILES, Profile, Values

_ROWS = "count"


def profiles(staged: DataFrame, columns: RawColumns) -> dict[dt.date, Profile]:
    """The profile of every day that has a clean row, but for what needs a catalogue.

    Parameters
    ----------
    staged
        Interactions with their day.
    columns
        What the data set maps; nothing is said of other columns.
    """
    users, items = _each(staged, USER), _each(staged, ITEM)
    types = _shares(staged, fn.col(EVENT_TYPE), columns.event_type)
    segments = _shares(staged, fn.coalesce(SEGMENT, fn.lit(NO_SEGMENT)), columns.segment)
    amounts = _values(staged, AMOUNT, columns.amount, users)
    quantities = _values(staged, QUANTITY, columns.quantity, users)
    return {
        day: Profile(
            rows=rows,
            users=distinct,
            items=items[day][1],
            busiest=busiest,
            event_types=types.get(day),
            segments=segments.get(day),
            amounts=amounts.get(day),
            quantities=quantities.get(day),
        )
        for day, (rows, distinct, busiest) in users.items()
    }


def _each(staged: DataFrame, key: str) -> dict[dt.date, tuple[int, int, int]]:
    """Of each day its rows, its distinct keys and the rows of the key with the most."""
    found = staged.groupBy(LANDED, key).count().groupBy(LANDED)
    told = found.agg(fn.sum(_ROWS), fn.count(fn.lit(1)), fn.max(_ROWS)).collect()
    return {row[0]: (row[1], row[2], row[3]) for row in told}


def _shares(staged: DataFrame, key: Column, mapped: str | None) -> dict[dt.date, dict[str, int]]:
    """Of each day the rows of each key, of very many keys the rest together; nothing where none is mapped."""
    if not mapped:
        return {}
    counts = staged.groupBy(LANDED, key.alias("key")).count()
    rank = fn.row_number().over(Window.partitionBy(LANDED).orderBy(fn.desc(_ROWS), "key"))
    name = fn.when(rank <= MOST_SEGMENTS, fn.col("key")).otherwise(OTHER_SEGMENTS)
    found: dict[dt.date, dict[str, int]] = defaultdict(dict)
    for row in counts.select(LANDED, name.alias("key"), _ROWS).groupBy(LANDED, "key").sum(_ROWS).collect():
        found[row[0]][row[1]] = row[2]
    return {day: dict(sorted(keys.items())) for day, keys in found.items()}


def _values(
    staged: DataFrame, column: str, mapped: str | None, days: Iterable[dt.date]
) -> dict[dt.date, Values]:
    """Of each day how the numbers of a column that are above 0 are spread; nothing where none is mapped."""
    if not mapped:
        return {}
    counts = staged.where(fn.col(column) > 0).groupBy(LANDED, column).count()
    quantiles = fn.percentile(column, list(QUANTILES), fn.col(_ROWS))
    told = counts.groupBy(LANDED).agg(fn.sum(_ROWS), quantiles).collect()
    return dict.fromkeys(days, Values(0, ())) | {row[0]: Values(row[1], tuple(row[2])) for row in told}
