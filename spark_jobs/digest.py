"""Content digests of partitions. They depend neither on the order of rows nor on how files are cut."""

import datetime as dt
from collections.abc import Iterable

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as fn
from pyspark.sql.types import MapType

from lake.schemas import SOURCE_FILE


def digests(frame: DataFrame, key: str, columns: Iterable[str]) -> dict[dt.date, str]:
    """The content digest of every partition that has rows.

    Parameters
    ----------
    frame
        Rows of one table with the partition column `key`, a date.
    columns
        The columns that count; ``source_file`` never does.

    Returns
    -------
    dict
        For each day ``rows:sum:xor``: the number of rows, the sum and the exclusive or of two
        different 64-bit hashes of each row, null flags included.
    """
    names = [name for name in columns if name != SOURCE_FILE]
    values = [_hashable(frame, name) for name in names]
    flags = [fn.col(name).isNull() for name in names]
    first, second = fn.xxhash64(*values, *flags), fn.xxhash64(fn.lit(1), *values, *flags)
    hashes = frame.groupBy(key).agg(
        fn.count(fn.lit(1)).alias("rows"),
        # A long does not hold the sum, and a decimal costs more than all else here.
        fn.sum(fn.shiftright(first, 32)).alias("high"),
        fn.sum(first.bitwiseAND(0xFFFF_FFFF)).alias("low"),
        fn.bit_xor(second).alias("parity"),
    )
    return {row[key]: _digest(row) for row in hashes.collect()}


def _digest(row: Row) -> str:
    return f"{row['rows']}:{(row['high'] << 32) + row['low']}:{row['parity']}"


def _hashable(frame: DataFrame, name: str) -> Column:
    if isinstance(frame.schema[name].dataType, MapType):
        return fn.array_sort(fn.map_entries(fn.col(name)))
    return fn.col(name)
