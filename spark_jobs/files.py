"""How the rows of a table's partitions are cut into files."""

import datetime as dt
from collections.abc import Sequence
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

ROWS_PER_FILE: Final = 5_000_000
"""Rows of the input behind each file of a partition: one task sorts and writes a file."""


def pieces(rows: int) -> int:
    """How many files hold a day's rows, of an input of so many rows."""
    return 1 + rows // ROWS_PER_FILE


def cut(frame: DataFrame, partition: str, days: Sequence[dt.date], key: str, rows: int) -> DataFrame:
    """The rows of a frame, those of one file in one task, whatever shuffles came before.

    Parameters
    ----------
    partition, days
        The column of the day that a row is stored under, and its values.
    key
        The column by whose hash a day's rows go to its files.
    rows
        How many rows of the input a day has at most: it has a file for each `ROWS_PER_FILE` of them.
    """
    count = pieces(rows)
    dates = fn.lit([day.isoformat() for day in days]).cast("array<date>")
    index = fn.array_position(dates, fn.col(partition)).cast("int") - 1
    return frame.repartitionById(len(days) * count, index * count + fn.pmod(fn.hash(key), count))
