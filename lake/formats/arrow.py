"""Rows as Arrow reads them: verified, and copied to Parquet with types that Spark has.

The formats that Arrow, or a library beside it, reads with types of their own share this. Values that Spark
has no type for are copied as text. In Spark, `spark_jobs/casts.py:expression` makes our columns of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lake.disk import room_for
from lake.formats.content import ColumnSpec, Content, RawColumn, Unfit, distinct, repeated
from lake.formats.families import TEXT, family
from lake.formats.paths import heads
from lake.formats.sqltypes import sql_type
from lake.formats.words import in_words
from lake.schemas import copied_field

if TYPE_CHECKING:
    import pyarrow as pa

# Spark makes microseconds of milliseconds; of more than these they overflow.
_MOST_MILLIS: Final = (2**63 - 1) // 1000


@dataclass(frozen=True)
class ArrowRows:
    """The rows of a file.

    Attributes
    ----------
    columns
        The file's own; names may repeat.
    read
        Reads its batches anew. Their texts may be no UTF-8: nobody has checked them.
    instants
        Columns that are instants although Arrow takes them for local times.
    """

    columns: "pa.Schema"
    read: "Callable[[], Iterator[pa.RecordBatch]]"
    spec: ColumnSpec
    instants: frozenset[str] = frozenset()

    @cached_property
    def schema(self) -> "pa.Schema":
        """The columns, and behind them the mapped fields within them, by the names that lead there."""
        import pyarrow as pa

        inner = (pa.field(name, _at(self.columns, place)) for name, place in self.inner.items())
        return pa.schema([*self.columns, *inner])

    @cached_property
    def inner(self) -> dict[str, tuple[int, ...]]:
        """Where each mapped name leads that is none of a column."""
        found = {name: _place(list(self.columns), name) for name in sorted(self.spec.mapped)}
        return {name: place for name, place in found.items() if place and len(place) > 1}

    @property
    def names(self) -> list[str]:
        """Those of all columns."""
        return list(self.schema.names)

    def batches(self) -> "Iterator[pa.RecordBatch]":
        """The rows, with the columns of `schema`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for batch in self.read():
            inner = [pc.struct_field(batch.column(first), list(rest)) for first, *rest in self.inner.values()]
            yield pa.RecordBatch.from_arrays([*batch.columns, *inner], schema=self.schema)

    def content(self, columns: Sequence[RawColumn], rows: int, copied: bool) -> Content:
        """What the file holds."""
        kinds = {field.name: str(field.type) for field in self.schema}
        return Content(tuple(columns), kinds, rows, copied, repeated(self.names))


def _place(fields: "list[pa.Field]", name: str) -> tuple[int, ...] | None:
    """The places of the fields, each in the one before, to which a name leads (`lake/formats/paths.py`)."""
    import pyarrow.types as is_

    names = [field.name for field in fields]
    head, rest = next(((head, rest) for head, rest in heads(name) if head in names), ("", ""))
    if not head:
        return None
    place = names.index(head)
    if not rest:
        return (place,)
    within = _place(list(fields[place].type), rest) if is_.is_struct(fields[place].type) else None
    return within and (place, *within)


def _at(schema: "pa.Schema", place: tuple[int, ...]) -> "pa.DataType":
    kind = schema.field(place[0]).type
    for within in place[1:]:
        kind = kind.field(within).type
    return kind


def verified(rows: ArrowRows, stated: int) -> set[str]:
    """Read all rows; return the columns with a value that their type in Spark cannot hold.

    Parameters
    ----------
    stated
        How many rows the file says that it has.

    Raises
    ------
    Unfit
        Where there are others, or a mapped text is not UTF-8.
    """
    worded: set[str] = set()
    read = 0
    for batch in rows.batches():
        if not _is_valid(batch):
            worded |= _unsafe(batch, read, rows.spec)
        worded |= _beyond(batch)
        read += batch.num_rows
    if read != stated:
        raise Unfit(f"{stated} rows, as the file itself says", f"{read} in its pages")
    return worded


def copied(rows: ArrowRows, path: Path, worded: set[str]) -> tuple[RawColumn, ...]:
    """Write the copy, `worded` columns in words; return the columns as Spark reads them from it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, instants = rows.schema, rows.instants
    ways = [_way(field, field.name in instants, field.name in worded) for field in schema]
    kinds = [way(pa.nulls(0, field.type)).type for way, field in zip(ways, schema, strict=True)]
    names = distinct(rows.names)
    written = pa.schema([(copied_field(name), kind) for name, kind in zip(names, kinds, strict=True)])
    with room_for(path), pq.ParquetWriter(path, written, compression="zstd") as writer:
        for batch in rows.batches():
            arrays = [way(array) for way, array in zip(ways, batch.columns, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=written))
    texts = worded & rows.spec.stamps  # for any other target the type decides, not the words
    families = [
        TEXT if f.name in texts else "instant" if f.name in instants else family(f.type) for f in schema
    ]
    columns = zip(names, families, kinds, strict=True)
    return tuple(
        RawColumn(name, kind, str(sql_type(arrow)), inner=name in rows.inner) for name, kind, arrow in columns
    )


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
