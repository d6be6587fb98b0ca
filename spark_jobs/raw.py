"""Reading raw files in Spark with their own types, and their columns as ours."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as fn

from lake.errors import PermanentError
from lake.schemas import LANDED, ROW_NUMBER, SOURCE_FILE, WORDS
from lake.settings import FileFormat
from lake.storage import open_storage
from spark_jobs import read
from spark_jobs.casts import Targets, expression, quoted, words
from spark_jobs.requests import RawFile

RAW = "raw"
CORRUPT = "_corrupt_record"

# Spark writes a local path now with one slash, now with three.
_SLASHES = ("^file:/+", "file:/")


@dataclass(frozen=True)
class RawRows:
    """The rows of raw files with equal columns.

    Attributes
    ----------
    frame
        `RAW` (a struct of the columns as they are), source_file, landed, row_number (from 1).
    families
        Each column's family.
    """

    frame: DataFrame
    families: Mapping[str, str]

    def ours(self, name: str, targets: Targets, id_type: str, zone: str = "UTC") -> Column | None:
        """A column of ours, cast by the one rule, beside its `words`; None where the data set maps none."""
        if name not in targets:
            return None
        column, target = targets[name]
        value, told = f"{RAW}.{quoted(column)}", f"{WORDS}.{name}"
        text = expression(value, target, self.families[column], id_type, zone, told)
        return fn.expr(text)

    def words(self, name: str, targets: Targets) -> Column:
        """The raw value of a column of ours as text; null where none is given."""
        column, target = targets[name]
        return fn.expr(words(f"{RAW}.{quoted(column)}", target, self.families[column]))


def rows(spark: SparkSession, root: str, files: Sequence[RawFile], kind: FileFormat) -> list[RawRows]:
    """Read raw files, those with equal columns together.

    Parameters
    ----------
    root
        The URI to which the files' names are relative.
    """
    by_columns = sorted(files, key=_columns)
    groups = [list(group) for _, group in groupby(by_columns, key=_columns)]
    return [RawRows(_read(spark, root, group, kind), dict(group[0].columns)) for group in groups]


def _columns(file: RawFile) -> tuple[tuple[str, str], ...]:
    return file.columns


def _read(spark: SparkSession, root: str, files: Sequence[RawFile], kind: FileFormat) -> DataFrame:
    uris = {open_storage(root).uri(file.name): file for file in files}
    frame = _open(spark, kind, [read.literal(uri) for uri in uris], files[0])
    raw = fn.struct(*(fn.col(quoted(name)) for name in frame.columns)).alias(RAW)
    found = frame.select(raw, fn.col("_metadata").alias("_file"))
    names = _names(spark, frame, uris)
    path = fn.regexp_replace("_file.file_path", *_SLASHES)
    named = found.join(fn.broadcast(names), path == fn.col("_path"))
    return named.select(RAW, SOURCE_FILE, LANDED, _row_number(kind).alias(ROW_NUMBER))


def _open(spark: SparkSession, kind: FileFormat, paths: list[str], sample: RawFile) -> DataFrame:
    reader = spark.read.option("recursiveFileLookup", "true")
    if kind == "parquet":
        return reader.parquet(*paths)
    columns = [name for name, _ in sample.columns] + [CORRUPT]
    reader = reader.schema(", ".join(f"{quoted(name)} STRING" for name in columns))
    reader = reader.option("columnNameOfCorruptRecord", CORRUPT)
    return reader.csv(paths, header=True, multiLine=True, escape='"') if kind == "csv" else reader.json(paths)


def _names(spark: SparkSession, frame: DataFrame, uris: Mapping[str, RawFile]) -> DataFrame:
    """How Spark spells each file's path, with the file's name and day."""
    spelled = {_plain(unquote(path)): re.sub(*_SLASHES, path) for path in frame.inputFiles()}
    places = {uri: _plain(read.hadoop_path(uri)) for uri in uris}
    missing = [uri for uri, place in places.items() if place not in spelled]
    if missing:
        raise PermanentError(
            f"{missing[0]}: expected among the files that Spark lists, found {', '.join(sorted(spelled))} "
            f"({len(missing)} of {len(uris)} are not there); "
            "give NIGHTJAR_RAW as a plain file:/// or s3:// address"
        )
    found = [(spelled[places[uri]], file.name, file.day) for uri, file in uris.items()]
    return spark.createDataFrame(found, f"_path STRING, {SOURCE_FILE} STRING, {LANDED} DATE")


def _plain(path: str) -> str:
    """A file's path in one spelling, whoever wrote it."""
    return posixpath.normpath(re.sub(*_SLASHES, path))


def _row_number(kind: FileFormat) -> Column:
    if kind == "parquet":
        return fn.col("_file.row_index") + 1
    place = (fn.col("_file.file_block_start"), fn.monotonically_increasing_id())
    return fn.row_number().over(Window.partitionBy(SOURCE_FILE).orderBy(*place)).cast("bigint")
