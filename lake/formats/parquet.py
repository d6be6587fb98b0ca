"""Parquet files: every page is read and verified; a file that Spark cannot read is copied for it.

Arrow reads more than Spark does: codecs, encodings and types. A file that Spark reads with equal
values is left to it; any other is copied to a new Parquet file, with the values that Spark has no type for
as text. In Spark, `spark_jobs/casts.py:expression` makes our columns of the file or of its copy.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lake.formats.arrow import ArrowRows, copied, verified
from lake.formats.content import ColumnSpec, Content, RawColumn, Unfit, repeated
from lake.formats.families import family
from lake.formats.format import Format
from lake.formats.sqltypes import sql_type

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
# Spark's own column about the file of a row.
_RESERVED: Final = {"_metadata"}


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
    ) as file:
        _require_codecs(file)
        rows = ArrowRows(_schema(file), lambda: _batches(file), spec, frozenset(_instants(file)))
        worded = _verified(file, rows)
        is_copied = bool(worded or rows.inner) or not _spark_reads(file)
        columns = copied(rows, copy, worded) if is_copied else _columns(rows)
        return rows.content(columns, file.metadata.num_rows, is_copied)


def _schema(file: "pq.ParquetFile") -> "pa.Schema":
    """Its columns. Those annotated as ENUM, as Avro writes them, are text; Arrow takes them for bytes."""
    import pyarrow as pa

    enums = _leaves(file, lambda leaf: leaf.logical_type.type == "ENUM")
    fields = (field.with_type(pa.string()) if field.name in enums else field for field in file.schema_arrow)
    return pa.schema(fields)


def _batches(file: "pq.ParquetFile") -> "Iterator[pa.RecordBatch]":
    """Its rows; texts are not checked here."""
    import pyarrow as pa

    schema = _schema(file)
    for batch in file.iter_batches(batch_size=_BATCH_ROWS):
        pairs = zip(batch.columns, schema, strict=True)
        arrays = [array if array.type == field.type else array.view(field.type) for array, field in pairs]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


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


def _verified(file: "pq.ParquetFile", rows: ArrowRows) -> set[str]:
    """`verified`, whose error names the column of a damaged page."""
    import pyarrow as pa

    try:
        return verified(rows, file.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        actual = f"column {_damaged(file)} that cannot be read ({reason})"
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


def _columns(rows: ArrowRows) -> tuple[RawColumn, ...]:
    """The columns as Spark reads them from the file itself."""
    return tuple(
        RawColumn(field.name, "instant", "TIMESTAMP")
        if field.name in rows.instants
        else RawColumn(field.name, family(field.type), str(sql_type(field.type)))
        for field in rows.columns
    )


def _leaves(file: "pq.ParquetFile", test: "Callable[[Any], bool]") -> set[str]:
    """The paths of the leaves that pass a test; the path of a column of plain values is its name."""
    leaves = (file.schema.column(number) for number in range(len(file.schema)))
    return {leaf.path for leaf in leaves if test(leaf)}


def _instants(file: "pq.ParquetFile") -> set[str]:
    """Columns of the old stamps of Spark and Hive: instants, though Arrow takes them for local times."""
    return _leaves(file, lambda leaf: leaf.physical_type == "INT96")
