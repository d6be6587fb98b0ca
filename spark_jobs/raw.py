"""Opens checked raw files in Spark: each file itself, or the Parquet copy that its reader wrote.

The columns keep the raw values. `spark_jobs.judge` makes our columns of them by `RawRows.cast`,
which is `spark_jobs.casts.expression`.
"""

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final
from urllib.parse import unquote

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql.types import ArrayType, BinaryType, DataType, MapType, StructField, StructType

from lake.errors import PermanentError
from lake.expression_tree import Name
from lake.expressions import columns_of, parse, read_as
from lake.formats.content import RawColumn, Targets
from lake.formats.dialect import CsvSection
from lake.formats.families import TEXT
from lake.id_forms import AS_WRITTEN, IdForm
from lake.schemas import (
    HASH,
    ID,
    LANDED,
    LINE,
    MALFORMED,
    RAW_ROW,
    ROW_NUMBER,
    SOURCE_FILE,
    WORDS,
    copied_field,
)
from lake.storage import open_storage
from spark_jobs import read
from spark_jobs.casts import expression, normalized, quoted
from spark_jobs.computed import RawValues
from spark_jobs.id_forms import in_form
from spark_jobs.plans import ExtractPlan, RawFile

RAW: Final = "raw"
COMPUTED: Final = "computed"
_PLACE: Final = (SOURCE_FILE, ROW_NUMBER)
_OF_COPIES: Final = {MALFORMED: "STRING", LINE: "STRING", SOURCE_FILE: "STRING", ROW_NUMBER: "BIGINT"}
"""What copies have besides raw columns; only those of several files say which row of which file each is."""
_KIND: Final = "_kind"
"""The place of a row's columns among those of its part."""
_NO_FORMS: Final[Mapping[str, IdForm]] = {}
_MOST_SETS: Final = 32  # each is a branch of one expression, which Java does not compile once it is too long
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
    """The rows of raw files that share a schema.

    Attributes
    ----------
    frame
        `RAW` (a struct of the columns as they are), malformed (the text of a row that could not be
        parsed, else null), raw_row (the whole row as JSON, with all digits), hash (rows with equal
        raw_row have equal hashes), source_file, landed, row_number (from 1).
    families
        The family of each raw column (`spark_jobs.casts`).
    told
        For each of our columns that is computed (then `frame` has `COMPUTED`, a struct of them) SQL of what
        it is computed of as text, null where a part is missing.
    """

    frame: DataFrame
    families: Mapping[str, str]
    told: Mapping[str, str] = field(default_factory=dict)

    def with_computed(
        self, targets: Targets, csv: CsvSection, forms: Mapping[str, IdForm] = _NO_FORMS
    ) -> "RawRows":
        """The rows, with those of our columns that are expressions over the row; ids in their forms."""
        parsed = {name: parse(text) for name, (text, _) in targets.items()}
        trees = {name: tree for name, tree in parsed.items() if not isinstance(tree, Name)}
        if not trees:
            return self
        raw = RawValues(RAW, self.families, csv)
        made = {name: raw.sql(tree, read_as(targets[name][1])) for name, tree in trees.items()}
        made |= {n: in_form(normalized(made[n], ID, TEXT), form) for n, form in forms.items() if n in made}
        frame = self.frame.withColumn(
            COMPUTED, fn.struct(*(fn.expr(sql).alias(n) for n, sql in made.items()))
        )
        return replace(self, frame=frame, told={name: raw.told(tree) for name, tree in trees.items()})

    def cast(
        self, name: str, targets: Targets, id_type: str, zone: str = "UTC", stamps: Sequence[str] = ()
    ) -> Column | None:
        """One of our columns, cast from its raw value; None where no file has one that is mapped to it."""
        value, family = self._source(name, targets)
        if not family:
            return None
        target, text = targets[name][1], f"{WORDS}.{name}"
        if name in self.told:  # where nothing was computed, the words are what it should have been of
            text = f"if({normalized(value, target, family)} IS NULL, NULL, {text})"
        return fn.expr(expression(value, target, family, id_type, zone, text, stamps))

    def normalized(
        self,
        name: str,
        targets: Targets,
        csv: CsvSection,
        form: IdForm = AS_WRITTEN,
        stamps: Sequence[str] = (),
    ) -> Column:
        """The raw value of one of our columns as normalized text; null where it is blank or missing.

        Of one that cannot be computed it is what it should have been computed of.

        Parameters
        ----------
        form
            That of ids.
        """
        value, family = self._source(name, targets)
        if not family:
            return fn.lit(None).cast("string")
        if name not in self.told:
            return fn.expr(in_form(normalized(value, targets[name][1], family, csv, stamps), form))
        words = normalized(value, targets[name][1], family, stamps=stamps)
        return fn.expr(f"coalesce({words}, {self.told[name]})")

    def _source(self, name: str, targets: Targets) -> tuple[str, str]:
        """SQL of the raw value of one of our columns, and its family; empty where it has none."""
        text, target = targets.get(name, ("", ""))
        if name in self.told:
            return f"{COMPUTED}.{name}", "decimal" if read_as(target) == "number" else TEXT
        column = columns_of(text)[0] if text else ""
        return (f"{RAW}.{quoted(column)}", self.families[column]) if column in self.families else ("", "")

    def text(self, name: str) -> Column:
        """A raw column as text; bytes in base 64, nested values as JSON."""
        raw = self.frame.schema[RAW].dataType
        assert isinstance(raw, StructType)
        value, kind = fn.col(f"{RAW}.{quoted(name)}"), raw[name].dataType
        if isinstance(kind, BinaryType):
            return fn.base64(value)
        return fn.to_json(value, _EXACT) if _is_nested(kind) else value.cast("string")


@dataclass
class _Part:
    """Raw files that Spark reads together: columns of one name have one type.

    Attributes
    ----------
    columns
        The columns of any of them.
    sets
        The columns of each kind of file, in its order.
    files
        The files, each with its place in `sets`.
    """

    copied: bool
    columns: dict[str, RawColumn] = field(default_factory=dict)
    sets: list[tuple[RawColumn, ...]] = field(default_factory=list)
    files: list[tuple[RawFile, int]] = field(default_factory=list)

    def takes(self, file: RawFile) -> bool:
        """Whether a file can be read with them."""
        agree = all(self.columns.get(column.name, column) == column for column in file.columns)
        return self.copied == bool(file.copy) and agree and len(self.sets) < _MOST_SETS

    def add(self, files: Iterable[RawFile], columns: tuple[RawColumn, ...]) -> None:
        """Add files of equal columns."""
        self.files += [(file, len(self.sets)) for file in files]
        self.sets.append(columns)
        self.columns |= {column.name: column for column in columns}

    def field(self, column: str) -> str:
        """The name of a column's field in what Spark reads."""
        return copied_field(column) if self.copied else column


def rows(spark: SparkSession, plan: ExtractPlan, files: Sequence[RawFile]) -> list[RawRows]:
    """Read raw files of a plan; all files that can share a schema are read together."""
    return [_rows(spark, plan, part) for part in _parts(files)]


def _parts(files: Sequence[RawFile]) -> list[_Part]:
    """The files in as few parts as their types allow, whatever their order."""
    parts: list[_Part] = []
    for (copied, _), group in groupby(sorted(files, key=_columns_key), key=_columns_key):
        alike = list(group)
        part = next((part for part in parts if part.takes(alike[0])), None)
        if part is None:
            parts.append(part := _Part(copied))
        part.add(alike, alike[0].columns)
    return parts


def _columns_key(file: RawFile) -> tuple[bool, list[tuple[str, str, str, bool]]]:
    return bool(file.copy), [(c.name, c.family, c.type, c.inner) for c in file.columns]


def _rows(spark: SparkSession, plan: ExtractPlan, part: _Part) -> RawRows:
    uris = {_uri(plan, file): (file, kind) for file, kind in part.files}
    reader = spark.read.schema(_schema(part)).option("recursiveFileLookup", "true")
    frame = reader.parquet(*map(read.literal, uris))
    names = _names(spark, frame, uris)
    path = fn.regexp_replace("_file.file_path", *_SLASHES)
    located = _raw(frame, part).join(fn.broadcast(names), path == fn.col("_path"))
    source = fn.coalesce(f"_{SOURCE_FILE}", SOURCE_FILE).alias(SOURCE_FILE)
    number = fn.coalesce(f"_{ROW_NUMBER}", fn.col("_file.row_index") + 1).alias(ROW_NUMBER)
    whole = _whole(part).alias(RAW_ROW)
    rows = located.select(RAW, MALFORMED, whole, HASH, source, LANDED, number)
    if plan.most is not None:  # a copy of several files may hold some that are not asked for
        asked = fn.col(SOURCE_FILE).isin([file.name for file, _ in part.files])
        rows = rows.where(asked & (fn.col(ROW_NUMBER) <= plan.most))
    return RawRows(rows, {name: column.family for name, column in part.columns.items()})


def file_at(path: str, plan: ExtractPlan) -> RawFile | None:
    """The file of a plan that has a path, in any spelling of Spark; None where the plan has no such file."""
    files = {_plain(read.hadoop_path(_uri(plan, f))): f for f in plan.all_files}
    return files.get(_plain(path))


def _uri(plan: ExtractPlan, file: RawFile) -> str:
    storage = open_storage(plan.lake if file.copy else plan.raw_root)
    return storage.uri(file.copy or file.name)


def _schema(part: _Part) -> StructType:
    """The schema of the files that Spark reads. Spark gives null for a column that a file lacks."""
    columns = part.columns.values()
    fields = [StructField(part.field(column.name), DataType.fromDDL(column.type)) for column in columns]
    extra = [StructField(name, DataType.fromDDL(kind)) for name, kind in _OF_COPIES.items()]
    return StructType([*fields, *(extra if part.copied else ())])


def _raw(frame: DataFrame, part: _Part) -> DataFrame:
    """`RAW`, what only copies have, the row's hash, and `_file`: Spark's metadata of the row's file."""
    raw = fn.struct(*(fn.col(quoted(part.field(name))).alias(name) for name in part.columns))
    extra = {
        name: fn.col(name) if part.copied else fn.lit(None).cast(kind) for name, kind in _OF_COPIES.items()
    }
    hashed = (_hashable(field) for field in frame.schema if not (part.copied and field.name in _PLACE))
    return frame.select(
        raw.alias(RAW),
        *(extra[name].alias(name) for name in (MALFORMED, LINE)),
        *(extra[name].alias(f"_{name}") for name in _PLACE),
        fn.xxhash64(*hashed).alias(HASH),
        fn.col("_metadata").alias("_file"),
    )


def _whole(part: _Part) -> Column:
    """The whole row as JSON, of the columns that its own file has: other files of the day change no row."""
    kinds = [_json(columns) for columns in part.sets]
    whole = kinds[0]
    for number, json in enumerate(kinds[1:], 1):
        whole = fn.when(fn.col(_KIND) == number, json).otherwise(whole)
    if not part.copied:
        return whole
    corrupt = fn.to_json(fn.struct(fn.col(MALFORMED).alias(CORRUPT)))
    return fn.when(fn.col(MALFORMED).isNotNull(), corrupt).otherwise(fn.coalesce(LINE, whole))


def _json(columns: Iterable[RawColumn]) -> Column:
    names = (column.name for column in columns if not column.inner)
    own = (fn.col(f"{RAW}.{quoted(name)}").alias(name) for name in names)
    return fn.to_json(fn.struct(*own), _EXACT)


def _hashable(field: StructField) -> Column:
    """A column that Spark can hash: Spark hashes no map, so nested values become JSON."""
    column = fn.col(quoted(field.name))
    return fn.to_json(column, _EXACT) if _is_nested(field.dataType) else column


def _is_nested(kind: DataType) -> bool:
    return isinstance(kind, ArrayType | MapType | StructType)


def _names(spark: SparkSession, frame: DataFrame, uris: Mapping[str, tuple[RawFile, int]]) -> DataFrame:
    """A row for each file: its path as Spark spells it, its name, its day and its kind."""
    spelled = {_plain(unquote(path)): re.sub(*_SLASHES, path) for path in frame.inputFiles()}
    paths = {uri: _plain(read.hadoop_path(uri)) for uri in uris}
    missing = [uri for uri, path in paths.items() if path not in spelled]
    if missing:
        raise PermanentError(
            f"{missing[0]}: expected among the files that Spark lists, found {', '.join(sorted(spelled))} "
            f"({len(missing)} of {len(uris)} are not there); "
            "give NIGHTJAR_RAW as a plain file:/// or s3:// address"
        )
    # Of a list of rows two workers of Python would make the frame, which take a second to start.
    columns = {
        "_path": [spelled[paths[uri]] for uri in uris],
        SOURCE_FILE: [file.name for file, _ in uris.values()],
        LANDED: [file.day for file, _ in uris.values()],
        _KIND: pa.array([kind for _, kind in uris.values()], pa.int32()),
    }
    return spark.createDataFrame(pa.table(columns))


def _plain(path: str) -> str:
    """A file's path in one spelling: no doubled slashes, and file:/ in front of a local one."""
    return posixpath.normpath(re.sub(*_SLASHES, path))
