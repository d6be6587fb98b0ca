"""Lists of different lengths as Parquet: the same content gives the same bytes.

Every reader takes the files with its defaults: plain values, zstd, three-level lists.
BYTE_STREAM_SPLIT would save a sixteenth, but Spark cannot read it (SPARK-56894), nor can older
readers; dictionaries and deltas save nothing, as a row group holds few ids more than once.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nightjar_reader import format as fmt
from recommender.arrays import Int32, Int64

_WHOLE = 1 << 20  # rows of a group: one group for all but very large tables that are read whole


def write(table: pa.Table, path: Path, key: str | None = None) -> None:
    """Write a table of the release format.

    Parameters
    ----------
    key
        The column that point reads search, by which the rows are sorted: small row groups, with
        statistics of that column alone. None for a table that is read whole.
    """
    with writer(path, table.schema, key) as target:
        if len(table):  # a file without rows has no row group, so none without statistics
            target.write_table(table, row_group_size=fmt.ROW_GROUP if key else _WHOLE)


def writer(path: Path, schema: pa.Schema, key: str | None) -> pq.ParquetWriter:
    """What writes a table of the release format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=False,
        write_statistics=[key] if key else False,
        store_schema=False,
    )


class PartWriter:
    """Writes a table that comes in parts to the bytes that `write` gives of the whole.

    Parameters
    ----------
    key
        As for `write`; the parts follow each other in its order.
    """

    def __init__(self, path: Path, schema: pa.Schema, key: str) -> None:
        self._writer = writer(path, schema, key)
        self._rest = schema.empty_table()

    def add(self, part: pa.Table) -> None:
        """Write the whole row groups that there are by now."""
        rows = pa.concat_tables([self._rest, part]).combine_chunks()
        whole = len(rows) - len(rows) % fmt.ROW_GROUP
        self._write(rows.slice(0, whole))
        self._rest = rows.slice(whole)

    def close(self) -> None:
        """Write the rest, and end the file."""
        self._write(self._rest)
        self._writer.close()

    def _write(self, rows: pa.Table) -> None:
        if len(rows):
            self._writer.write_table(rows, row_group_size=fmt.ROW_GROUP)


def gather(indptr: Int64, rows: Int64) -> tuple[Int32, Int64]:
    """Where the elements of some lists lie.

    Parameters
    ----------
    indptr
        int64 ``[lists + 1]``: list ``k`` is ``indptr[k]:indptr[k + 1]``.
    rows
        The lists to gather.

    Returns
    -------
    tuple
        Offsets (int32 ``[len(rows) + 1]``) of those lists laid end to end, and the position of
        each of their elements (int64).
    """
    sizes = indptr[rows + 1] - indptr[rows]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    places = np.arange(offsets[-1]) + np.repeat(indptr[rows] - offsets[:-1], sizes)
    return offsets.astype(np.int32), places


def as_lists(offsets: Int32, values: pa.Array, kind: pa.DataType) -> pa.Array:
    """An Arrow list column of that type."""
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=kind)


def buckets(ids: pa.Array, count: int) -> Int64:
    """The bucket of each id."""
    return np.fromiter((fmt.bucket(key, count) for key in ids.to_pylist()), np.int64, len(ids))
