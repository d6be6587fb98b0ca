"""Reads the lake's tables in Spark: exactly the files that the caller names."""

import re
from collections.abc import Sequence
from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from lake.names import TableName
from lake.schemas import TABLES, spark_ddl


def table(spark: SparkSession, lake_root: str, name: str, files: Sequence[str], id_type: str) -> DataFrame:
    """Read files of a table, whichever attempts wrote them.

    Parameters
    ----------
    lake_root
        The lake's URI.
    name
        The table, as `lake.schemas.TABLES` spells it.
    files
        Paths relative to the lake's root; none give an empty frame.
    id_type
        ``int64`` or ``string``.

    Returns
    -------
    DataFrame
        The table's columns, then its partition column (``landed`` or ``as_of``) as a date.
    """
    schema, key = spark_ddl(name, id_type), TABLES[name].partition
    if not files:
        return spark.createDataFrame([], f"{schema}, {key} DATE")
    paths = [literal(f"{lake_root}/{file}") for file in files]
    folders = {file.partition(f"/{key}=")[0] for file in files}
    if len(folders) == 1:  # Spark then has the day of a file once, and not for each of its rows
        base = hadoop_path(f"{lake_root}/{folders.pop()}")
        return spark.read.schema(f"{schema}, {key} DATE").option("basePath", base).parquet(*paths)
    rows = spark.read.schema(schema).option("recursiveFileLookup", "true").parquet(*paths)
    # The same for all rows of a file, but reckoned for each: a regular expression would cost seconds.
    day = fn.substring_index(fn.substring_index(fn.col("_metadata.file_path"), f"{key}=", -1), "/", 1)
    return rows.select("*", fn.to_date(day).alias(key))


def interactions(spark: SparkSession, lake_root: str, files: Sequence[str], id_type: str) -> DataFrame:
    """`table` for interactions."""
    return table(spark, lake_root, TableName.INTERACTIONS, files, id_type)


def hadoop_path(uri: str) -> str:
    """A URI as a path of Hadoop: ``s3a`` for S3, and percent escapes of a local URI decoded."""
    return f"s3a{uri.removeprefix('s3')}" if uri.startswith("s3://") else unquote(uri)


def literal(uri: str) -> str:
    """`hadoop_path` for reading: escaped, as Spark takes brackets, stars and the like for a pattern."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", hadoop_path(uri))
