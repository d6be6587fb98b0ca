"""Reading raw files in Spark, themselves or their copies, and their columns as ours."""

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
from lake.schemas import HASH, LANDED, LINE, MALFORMED, RAW_ROW, ROW_NUMBER, SOURCE_FILE, WORDS, copied_field
from lake.storage import open_storage
from spark_jobs import read
from spark_jobs.casts import Targets, expression, quoted, words
from spark_jobs.plans import ExtractPlan, RawFile

RAW: Final = "raw"
CORRUPT: Final = "_corrupt_record"
"""The name under which a raw row tells the text that could not be taken apart."""

# Spark writes a local path now with one slash, now with three.
_SLASHES = ("^file:/+", "file:/")
# With all digits: by default Spark writes milliseconds.
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
        taken apart, else null), raw_row (all of the row as JSON, exact to the last digit), hash
        (equal where raw_row is), source_file, landed, row_number (from 1).
    families
        Each column's family.
    """

    frame: DataFrame
    families: Mapping[str, str]

    def ours(self, name: str, targets: Targets, id_type: str, zone: str = "UTC") -> Column | None:
        """A column of ours, cast by the one rule; None where the data set maps none."""
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

    def text(self, name: str) -> Column:
        """A raw column as text; bytes in base 64, nested values as JSON."""
        raw = self.frame.schema[RAW].dataType
        assert isinstance(raw, StructType)
        value, kind = fn.col(f"{RAW}.{quoted(name)}"), raw[name].dataType
        if isinstance(kind, BinaryType):
            return fn.base64(value)
        return fn.to_json(value, _EXACT) if _is_nested(kind) else value.cast("string")


def rows(spark: SparkSession, plan: ExtractPlan, files: Sequence[RawFile]) -> list[RawRows]:
    """Read raw files of a plan, those with equal columns together."""
    by_kind = sorted(files, key=_kind)
    groups = [list(group) for _, group in groupby(by_kind, key=_kind)]
    return [_rows(spark, plan, group) for group in groups]


def _kind(file: RawFile) -> tuple[bool, list[tuple[str, str, str]]]:
    return bool(file.copy), [(column.name, column.family, column.type) for column in file.columns]


def _rows(spark: SparkSession, plan: ExtractPlan, files: Sequence[RawFile]) -> RawRows:
    uris = {_uri(plan, file): file for file in files}
    reader = spark.read.schema(_schema(files[0])).option("recursiveFileLookup", "true")
    frame = reader.parquet(*map(read.literal, uris))
    names = _names(spark, frame, uris)
    path = fn.regexp_replace("_file.file_path", *_SLASHES)
    named = _taken_apart(frame, files[0]).join(fn.broadcast(names), path == fn.col("_path"))
    number = (fn.col("_file.row_index") + 1).alias(ROW_NUMBER)
    found = named.select(RAW, MALFORMED, RAW_ROW, HASH, SOURCE_FILE, LANDED, number)
    return RawRows(found, {column.name: column.family for column in files[0].columns})


def file_at(path: str, plan: ExtractPlan) -> RawFile | None:
    """The file of a plan that Spark knows by a path; None where it is another's."""
    places = {_plain(read.hadoop_path(_uri(plan, f))): f for f in (*plan.files, *plan.catalogues)}
    return places.get(_plain(path))


def _uri(plan: ExtractPlan, file: RawFile) -> str:
    storage = open_storage(plan.lake if file.copy else plan.raw_root)
    return storage.uri(file.copy or file.name)


def _fields(file: RawFile) -> list[tuple[str, str]]:
    """Each column's name in the file that Spark reads, and its own."""
    names = [column.name for column in file.columns]
    return [(copied_field(place) if file.copy else name, name) for place, name in enumerate(names)]


def _schema(file: RawFile) -> StructType:
    """The columns of a file; Spark gives null for those of a copy that it has not."""
    types = [DataType.fromDDL(column.type) for column in file.columns]
    fields = [StructField(field, kind) for (field, _), kind in zip(_fields(file), types, strict=True)]
    extra = [StructField(name, DataType.fromDDL("STRING")) for name in (MALFORMED, LINE)]
    return StructType([*fields, *(extra if file.copy else ())])


def _taken_apart(frame: DataFrame, file: RawFile) -> DataFrame:
    """`RAW` and what tells of the whole row, with `_file`, where it stands."""
    raw = fn.struct(*(fn.col(quoted(field)).alias(name) for field, name in _fields(file)))
    whole = fn.to_json(raw, _EXACT)
    hashed = (_hashable(field) for field in frame.schema)
    malformed = fn.col(MALFORMED) if file.copy else fn.lit(None).cast("string")
    if file.copy:
        told = fn.to_json(fn.struct(malformed.alias(CORRUPT)))
        whole = fn.when(malformed.isNotNull(), told).otherwise(fn.coalesce(LINE, whole))
    return frame.select(
        raw.alias(RAW),
        malformed.alias(MALFORMED),
        whole.alias(RAW_ROW),
        fn.xxhash64(*hashed).alias(HASH),
        fn.col("_metadata").alias("_file"),
    )


def _hashable(field: StructField) -> Column:
    """A column as Spark makes hashes of it, which it does of no map."""
    column = fn.col(quoted(field.name))
    return fn.to_json(column, _EXACT) if _is_nested(field.dataType) else column


def _is_nested(kind: DataType) -> bool:
    return isinstance(kind, ArrayType | MapType | StructType)


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
