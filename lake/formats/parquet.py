"""Parquet files: every page is read and verified; a file that Spark cannot read is copied for it.

Arrow reads more than Spark does: codecs, encodings and types. A file that Spark reads with equal
values is left to it; any other is copied to a new Parquet file, with the values that Spark has no type for
as text. In Spark, `spark_jobs/casts.py:expression` makes our columns of the file or of its copy.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lake.disk import room_for
from lake.formats.content import ColumnSpec, Content, RawColumn, Unfit, distinct, repeated
from lake.formats.families import TEXT, family
from lake.formats.format import Format
from lake.formats.sqltypes import sql_type
from lake.formats.words import in_words
from lake.schemas import copied_field

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH_ROWS: Final = 1 << 16  # read at once: bounds the memory
_BUFFER_BYTES: Final = 1 << 20  # without a buffer Arrow would hold a whole column chunk

# What Spark 4.2 reads, as tried with one file of each. LZ4 is left out: Arrow has one name for its two kinds,
# and Spark may lack the old one.
_CODECS: Final = {"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD"}
_ENCODINGS: Final = {
    "PLAIN",
    "RLE",
    "BIT_PACKED",
    "PLAIN_DICTIONARY",
    "RLE_DICTIONARY",
    "DELTA_BINARY_PACKED",
    "DELTA_LENGTH_BYTE_ARRAY",
    "DELTA_BYTE_ARRAY",
}
_LOGICAL: Final = {"NONE", "STRING", "ENUM", "JSON", "DATE", "TIMESTAMP", "INT", "DECIMAL"}
# The key of its writer's Arrow types in a footer, and a key as long that nobody reads; the value follows.
_WRITTEN_TYPES: Final = re.compile(rb"\x18\x0cARROW:schema(?=\x18)")
_NOTHING_KEPT: Final = b"\x18\x0carrow:ignore"
_MAGIC: Final = b"PAR1"
_TAIL: Final = 8
"""Bytes at a file's end: the size of its footer, and the magic."""
# Spark makes microseconds of milliseconds; of more than these they overflow.
_MOST_MILLIS: Final = (2**63 - 1) // 1000
# Spark's own column about the file of a row.
_RESERVED: Final = {"_metadata"}


@dataclass(frozen=True)
class _File:
    """An open Parquet file, and how its columns are used."""

    file: "pq.ParquetFile"
    spec: ColumnSpec

    @cached_property
    def schema(self) -> "pa.Schema":
        """Its columns. Those annotated as ENUM, as Avro writes them, are text; Arrow takes them for bytes."""
        import pyarrow as pa

        schema = self.file.schema_arrow
        enums = _leaves(self.file, lambda leaf: leaf.logical_type.type == "ENUM")
        fields = (field.with_type(pa.string()) if field.name in enums else field for field in schema)
        return pa.schema(fields)

    @property
    def names(self) -> list[str]:
        return list(self.schema.names)

    def batches(self) -> "Iterator[pa.RecordBatch]":
        """Its rows; texts are not checked here."""
        import pyarrow as pa

        for batch in self.file.iter_batches(batch_size=_BATCH_ROWS):
            pairs = zip(batch.columns, self.schema, strict=True)
            arrays = [array if array.type == field.type else array.view(field.type) for array, field in pairs]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)


class Parquet(Format[None]):
    """Parquet."""

    NAME = "parquet"

    def read(self, path: Path, spec: ColumnSpec, copy: Path) -> Content:
        """Read and verify all pages of a file; write a copy where Spark would read other values.

        Writers keep Arrow's types beside Parquet's. They may be newer than our Arrow: where it cannot
        read the file by them, it reads the file by Parquet's types.

        Raises
        ------
        Unfit
            Where a codec is unknown, a page is damaged, a mapped text is not UTF-8, or rows are missing.
        """
        import pyarrow as pa

        faults = (pa.ArrowException, OSError, Unfit)
        try:
            return _read(path, spec, copy)
        except faults:
            with suppress(*faults):
                footer = _own_footer(path)
                if footer:
                    return _read(path, spec, copy, footer)
            raise


def _read(path: Path, spec: ColumnSpec, copy: Path, footer: "pq.FileMetaData | None" = None) -> Content:
    import pyarrow.parquet as pq

    with pq.ParquetFile(
        path,
        metadata=footer,
        page_checksum_verification=True,
        buffer_size=_BUFFER_BYTES,
        coerce_int96_timestamp_unit="us",
    ) as opened:
        file = _File(opened, spec)
        _require_codecs(opened)
        worded = _verified(file)
        copied = bool(worded) or not _spark_reads(opened)
        columns = _copy(file, copy, worded) if copied else _columns(file)
        kinds = {field.name: str(field.type) for field in file.schema}
        return Content(columns, kinds, opened.metadata.num_rows, copied, repeated(file.names))


def _own_footer(path: Path) -> "pq.FileMetaData | None":
    """A file's footer without its writer's Arrow types; None where it has none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - _TAIL, 0))
        tail = file.read()
        size = int.from_bytes(tail[:4], "little")
        if tail[4:] != _MAGIC or size > end - _TAIL:
            return None
        file.seek(end - _TAIL - size)
        footer, kept = _WRITTEN_TYPES.subn(_NOTHING_KEPT, file.read(size))
    return pq.read_metadata(pa.BufferReader(_MAGIC + footer + tail)) if kept else None


def _chunks(file: "pq.ParquetFile") -> Iterator[Any]:
    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    return (group.column(number) for group in groups for number in range(group.num_columns))


def _require_codecs(file: "pq.ParquetFile") -> None:
    import pyarrow as pa

    for chunk in _chunks(file):
        codec = chunk.compression
        if codec != "UNCOMPRESSED" and not pa.Codec.is_available(codec.lower()):
            actual = f"{codec} in column {chunk.path_in_schema}"
            raise Unfit("a codec that can be read", actual, "deliver it with snappy or zstd")


def _verified(file: _File) -> set[str]:
    """`_verify`, whose error names the column of a damaged page."""
    import pyarrow as pa

    try:
        return _verify(file)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        actual = f"column {_damaged(file.file)} that cannot be read ({reason})"
        raise Unfit("a whole parquet file", actual) from error


def _damaged(file: "pq.ParquetFile") -> str:
    import pyarrow as pa

    paths = [str(file.schema.column(number).path) for number in range(len(file.schema))]
    for path in paths:
        try:
            for _ in file.iter_batches(batch_size=_BATCH_ROWS, columns=[path]):
                pass
        except (pa.ArrowException, OSError):
            return path
    return " or ".join(paths)


def _verify(file: _File) -> set[str]:
    """Read all pages; return the columns with a value that their type in Spark cannot hold."""
    worded: set[str] = set()
    rows = 0
    for batch in file.batches():
        if not _is_valid(batch):
            worded |= _unsafe(batch, rows, file.spec)
        worded |= _beyond(batch)
        rows += batch.num_rows
    if rows != file.file.metadata.num_rows:
        raise Unfit(f"{file.file.metadata.num_rows} rows, as the footer says", f"{rows} in its pages")
    return worded


def _is_valid(values: "pa.RecordBatch | pa.Array") -> bool:
    import pyarrow as pa

    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _unsafe(batch: "pa.RecordBatch", before: int, spec: ColumnSpec) -> set[str]:
    wrong = [
        (name, array)
        for name, array in zip(batch.schema.names, batch.columns, strict=True)
        if not _is_valid(array)
    ]
    for name, array in wrong:
        if name in spec.mapped:
            row = before + next(row for row in range(len(array)) if not _is_valid(array.slice(row, 1))) + 1
            raise Unfit(f"{array.type} values in column {name} (text in UTF-8)", f"other bytes in row {row}")
    return {name for name, _ in wrong}


def _beyond(batch: "pa.RecordBatch") -> set[str]:
    """The columns with milliseconds that would overflow as Spark's microseconds."""
    pairs = zip(batch.schema.names, batch.columns, strict=True)
    return {name for name, array in pairs if any(_overflow(stamps) for stamps in _millis(array))}


def _overflow(stamps: "pa.Array") -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    ends = pc.min_max(stamps.view(pa.int64())).as_py()
    return ends["max"] is not None and max(-ends["min"], ends["max"]) > _MOST_MILLIS


def _millis(array: "pa.Array") -> "Iterator[pa.Array]":
    """The arrays of stamps in milliseconds within an array, at any depth."""
    import pyarrow as pa
    import pyarrow.types as is_

    kind = array.type
    if is_.is_timestamp(kind) and kind.unit == "ms":
        yield array
    for inner in _within(array) if is_.is_nested(kind) or isinstance(array, pa.ExtensionArray) else ():
        yield from _millis(inner)


def _within(array: "pa.Array") -> "list[pa.Array]":
    """The arrays that an array of lists, structs, maps or an extension type is made of."""
    import pyarrow as pa
    import pyarrow.types as is_

    if isinstance(array, pa.ExtensionArray):
        return [array.storage]
    if is_.is_map(array.type):
        return [array.keys, array.items]
    return list(array.flatten()) if is_.is_struct(array.type) else [array.flatten()]


def _spark_reads(file: "pq.ParquetFile") -> bool:
    """Whether Spark reads every column with equal values."""
    schema, names = file.schema, file.schema_arrow.names
    leaves = [schema.column(number) for number in range(len(schema))]
    return (
        not repeated(names)
        and not _may_hold_variants({leaf.path for leaf in leaves})
        and _RESERVED.isdisjoint(names)
        and all(_is_plain(leaf) and (leaf.physical_type != "INT96" or leaf.path in names) for leaf in leaves)
        and all(sql_type(field.type) for field in file.schema_arrow)
        and all(c.compression in _CODECS and _ENCODINGS.issuperset(c.encodings) for c in _chunks(file))
    )


def _may_hold_variants(paths: set[str]) -> bool:
    """Whether a struct looks like a variant, as which Spark then reads it; Arrow has no type for it."""
    structs = [path.removesuffix("metadata") for path in paths if path.endswith(".metadata")]
    parts = tuple(f"{struct}{part}" for struct in structs for part in ("value", "typed_value"))
    return any(path.startswith(parts) for path in paths) if parts else False


def _is_plain(leaf: Any) -> bool:
    """Whether Spark knows the type of a leaf; a leaf without any value is an integer to it."""
    kind = leaf.logical_type.type
    return kind in _LOGICAL or (kind == "UNKNOWN" and leaf.physical_type == "INT32")


def _columns(file: _File) -> tuple[RawColumn, ...]:
    """The columns as Spark reads them from the file itself."""
    instants = _instants(file.file)
    return tuple(
        RawColumn(field.name, "instant", "TIMESTAMP")
        if field.name in instants
        else RawColumn(field.name, family(field.type), str(sql_type(field.type)))
        for field in file.schema
    )


def _leaves(file: "pq.ParquetFile", test: "Callable[[Any], bool]") -> set[str]:
    """The paths of the leaves that pass a test; the path of a column of plain values is its name."""
    leaves = (file.schema.column(number) for number in range(len(file.schema)))
    return {leaf.path for leaf in leaves if test(leaf)}


def _instants(file: "pq.ParquetFile") -> set[str]:
    """Columns of the old stamps of Spark and Hive: instants, though Arrow takes them for local times."""
    return _leaves(file, lambda leaf: leaf.physical_type == "INT96")


def _copy(file: _File, path: Path, worded: set[str]) -> tuple[RawColumn, ...]:
    """Write the copy, `worded` columns in words; return the columns as Spark reads them from it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    instants = _instants(file.file)
    ways = [_way(field, field.name in instants, field.name in worded) for field in file.schema]
    kinds = [way(pa.nulls(0, field.type)).type for way, field in zip(ways, file.schema, strict=True)]
    names = distinct(file.names)
    schema = pa.schema([(copied_field(name), kind) for name, kind in zip(names, kinds, strict=True)])
    with room_for(path), pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in file.batches():
            arrays = [way(array) for way, array in zip(ways, batch.columns, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    texts = worded & file.spec.stamps  # for any other target the type decides, not the words
    families = [
        TEXT if f.name in texts else "instant" if f.name in instants else family(f.type) for f in file.schema
    ]
    columns = zip(names, families, kinds, strict=True)
    return tuple(RawColumn(name, kind, str(sql_type(arrow))) for name, kind, arrow in columns)


def _way(field: "pa.Field", instant: bool, worded: bool) -> "Callable[[pa.Array], pa.Array]":
    """The function that gives a column's values a type that Spark has."""
    import pyarrow as pa

    if worded:
        return in_words
    if instant:
        return lambda array: array.cast(pa.timestamp("us", tz="UTC"))
    return _readable


def _readable(array: "pa.Array") -> "pa.Array":
    """Equal values of a type that Spark has; text where it has none."""
    import pyarrow as pa

    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        is_uuid = kind.extension_name == "arrow.uuid"
        return in_words(array) if is_uuid else _readable(array.storage)
    if pa.types.is_dictionary(kind):
        return _readable(array.dictionary_decode())
    if pa.types.is_float16(kind):
        return array.cast(pa.float32())
    if sql_type(kind):
        return array
    if pa.types.is_decimal(kind):
        return in_words(array)
    try:
        return array.cast(pa.string())
    except pa.ArrowNotImplementedError:
        return in_words(array)
