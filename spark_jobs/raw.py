"""Opens checked raw files in Spark: each file itself, or the Parquet copy that its reader wrote.

The columns keep the raw values. `spark_jobs.judge` makes our columns of them by `RawRows.cast`,
which is `spark_jobs.casts.expression`.
"""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql.types import ArrayType, BinaryType, DataType, MapType, StructField, StructType

from lake.errors import PermanentError
from lake.formats.content import Targets
from lake.formats.dialect import CsvSection
from lake.schemas import HASH, LANDED, LINE, MALFORMED, RAW_ROW, ROW_NUMBER, SOURCE_FILE, WORDS, copied_field
from lake.storage import open_storage
from spark_jobs import read
from spark_jobs.casts import expression, normalized, quoted
from spark_jobs.plans import ExtractPlan, RawFile

RAW: Final = "raw"
CORRUPT: Final = "_corrupt_record"
"""The key of the text of a row that could not be parsed, in that row's JSON in the quarantine."""

# Spark spells a local path sometimes with one slash (file:/) and sometimes with three (file:///).
_SLASHES = ("^file:/+", "file:/")
# Spark's JSON has milliseconds by default, and then two stamps that differ in microseconds would be equal.
_EXACT: Final = {
    "ignoreNullFields": "false",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


@dataclass(frozen=True)
class RawRows:
    """The rows of raw files with equal columns.

    Attributes
    ----------
    frame
        `RAW` (a struct of the columns as they are), malformed (the text of a row that could not be
        parsed, else null), raw_row (the whole row as JSON, with all digits), hash (rows with equal
        raw_row have equal hashes), source_file, landed, row_number (from 1).
    families
        The family of each raw column (`spark_jobs.casts`).
    """

    frame: DataFrame
    families: Mapping[str, str]

    def cast(self, name: str, targets: Targets, id_type: str, zone: str = "UTC") -> Column | None:
        """One of our columns, cast from its raw column; None where the data set maps none to it."""
        if name not in targets:
            return None
        column, target = targets[name]
        value, text = f"{RAW}.{quoted(column)}", f"{WORDS}.{name}"
        return fn.expr(expression(value, target, self.families[column], id_type, zone, text))

    def normalized(self, name: str, targets: Targets, csv: CsvSection) -> Column:
        """The raw value of one of our columns as normalized text; null where it is blank or missing."""
        column, target = targets[name]
        return fn.expr(normalized(f"{RAW}.{quoted(column)}", target, self.families[column], csv))

    def text(self, name: str) -> Column:
        """A raw column as text; bytes in base 64, nested values as JSON."""
        raw = self.frame.schema[RAW].dataType
        assert isinstance(raw, StructType)
        value, kind = fn.col(f"{RAW}.{quoted(name)}"), raw[name].dataType
        if isinstance(kind, BinaryType):
            return fn.base64(value)
        return fn.to_json(value, _EXACT) if _is_nested(kind) else value.cast("string")


def rows(spark: SparkSession, plan: ExtractPlan, files: Sequence[RawFile]) -> list[RawRows]:
    """Read raw files of a plan; files with equal columns are read together."""
    ordered = sorted(files, key=_columns_key)
    groups = [list(group) for _, group in groupby(ordered, key=_columns_key)]
    return [_rows(spark, plan, group) for group in groups]


def _columns_key(file: RawFile) -> tuple[bool, list[tuple[str, str, str]]]:
    return bool(file.copy), [(column.name, column.family, column.type) for column in file.columns]


def _rows(spark: SparkSession, plan: ExtractPlan, files: Sequence[RawFile]) -> RawRows:
    uris = {_uri(plan, file): file for file in files}
    reader = spark.read.schema(_schema(files[0])).option("recursiveFileLookup", "true")
    frame = reader.parquet(*map(read.literal, uris))
    names = _names(spark, frame, uris)
    path = fn.regexp_replace("_file.file_path", *_SLASHES)
    located = _parsed(frame, files[0]).join(fn.broadcast(names), path == fn.col("_path"))
    number = (fn.col("_file.row_index") + 1).alias(ROW_NUMBER)
    rows = located.select(RAW, MALFORMED, RAW_ROW, HASH, SOURCE_FILE, LANDED, number)
    return RawRows(rows, {column.name: column.family for column in files[0].columns})


def file_at(path: str, plan: ExtractPlan) -> RawFile | None:
    """The file of a plan that has a path, in any spelling of Spark; None where the plan has no such file."""
    files = {_plain(read.hadoop_path(_uri(plan, f))): f for f in (*plan.files, *plan.catalogues)}
    return files.get(_plain(path))


def _uri(plan: ExtractPlan, file: RawFile) -> str:
    storage = open_storage(plan.lake if file.copy else plan.raw_root)
    return storage.uri(file.copy or file.name)


def _fields(file: RawFile) -> list[tuple[str, str]]:
    """For each column its field in the file that Spark reads, and its name in the raw file."""
    names = [column.name for column in file.columns]
    return [(copied_field(index) if file.copy else name, name) for index, name in enumerate(names)]


def _schema(file: RawFile) -> StructType:
    """The schema of the file that Spark reads. Spark gives null for a column that a copy lacks."""
    types = [DataType.fromDDL(column.type) for column in file.columns]
    fields = [StructField(field, kind) for (field, _), kind in zip(_fields(file), types, strict=True)]
    extra = [StructField(name, DataType.fromDDL("STRING")) for name in (MALFORMED, LINE)]
    return StructType([*fields, *(extra if file.copy else ())])


def _parsed(frame: DataFrame, file: RawFile) -> DataFrame:
    """`RAW`, the whole row as JSON with its hash, and `_file`: Spark's metadata of the row's file."""
    raw = fn.struct(*(fn.col(quoted(field)).alias(name) for field, name in _fields(file)))
    whole = fn.to_json(raw, _EXACT)
    hashed = (_hashable(field) for field in frame.schema)
    malformed = fn.col(MALFORMED) if file.copy else fn.lit(None).cast("string")
    if file.copy:
        corrupt = fn.to_json(fn.struct(malformed.alias(CORRUPT)))
        whole = fn.when(malformed.isNotNull(), corrupt).otherwise(fn.coalesce(LINE, whole))
    return frame.select(
        raw.alias(RAW),
        malformed.alias(MALFORMED),
        whole.alias(RAW_ROW),
        fn.xxhash64(*hashed).alias(HASH),
        fn.col("_metadata").alias("_file"),
    )


def _hashable(field: StructField) -> Column:
    """A column that Spark can hash: Spark hashes no map, so nested values become JSON."""
    column = fn.col(quoted(field.name))
    return fn.to_json(column, _EXACT) if _is_nested(field.dataType) else column


def _is_nested(kind: DataType) -> bool:
    return isinstance(kind, ArrayType | MapType | StructType)


def _names(spark: SparkSession, frame: DataFrame, uris: Mapping[str, RawFile]) -> DataFrame:
    """A row for each file: its path as Spark spells it, its name and its day."""
    spelled = {_plain(unquote(path)): re.sub(*_SLASHES, path) for path in frame.inputFiles()}
    paths = {uri: _plain(read.hadoop_path(uri)) for uri in uris}
    missing = [uri for uri, path in paths.items() if path not in spelled]
    if missing:
        raise PermanentError(
            f"{missing[0]}: expected among the files that Spark lists, found {', '.join(sorted(spelled))} "
            f"({len(missing)} of {len(uris)} are not there); "
            "give NIGHTJAR_RAW as a plain file:/// or s3:// address"
        )
    names = [(spelled[paths[uri]], file.name, file.day) for uri, file in uris.items()]
    return spark.createDataFrame(names, f"_path STRING, {SOURCE_FILE} STRING, {LANDED} DATE")


def _plain(path: str) -> str:
    """A file's path in one spelling: no doubled slashes, and file:/ in front of a local one."""
    return posixpath.normpath(re.sub(*_SLASHES, path))
