"""Copies of small raw files in one, so that Spark opens a few files in place of thousands."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lake.disk import room_for
from lake.schemas import ROW_NUMBER, SOURCE_FILE

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE: Final = 50_000  # held until they are written: bounds the memory


def write(copies: Sequence[tuple[str, Path]], path: Path) -> None:
    """Write the rows of copies into one, each with its raw file and its number there.

    Parameters
    ----------
    copies
        Each with the name of its raw file; all have the same schema.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(copies[0][1]).remove_metadata()
    for name, kind in ((SOURCE_FILE, pa.string()), (ROW_NUMBER, pa.int64())):
        schema = schema.append(pa.field(name, kind))
    with room_for(path), pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batches in _together(batch for name, copy in copies for batch in _numbered(name, copy)):
            writer.write_table(pa.Table.from_batches(batches).cast(schema))


def _numbered(name: str, copy: Path) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetFile(copy) as file:
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            numbers = pa.array(range(rows + 1, rows + batch.num_rows + 1), pa.int64())
            batch = batch.append_column(SOURCE_FILE, pa.repeat(name, batch.num_rows))
            yield batch.append_column(ROW_NUMBER, numbers)
            rows += batch.num_rows


def _together(batches: "Iterator[pa.RecordBatch]") -> "Iterator[list[pa.RecordBatch]]":
    """The batches in lists of some `_ROWS_AT_ONCE` rows: a row group each."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) >= _ROWS_AT_ONCE:
            yield held
            held = []
    if held:
        yield held
