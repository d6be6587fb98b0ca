"""Point reads from a Parquet file that is sorted by its first column."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nightjar_reader_v1.answers import Id


class KeyedFile:
    """One such file. Its footer is read once; to read a row is to read its row group.

    Parameters
    ----------
    source
        The open file.
    columns
        Names of columns that it must have; it may have more.
    reading
        A context for each read.

    Raises
    ------
    LookupError
        When a column is missing.
    """

    def __init__(
        self,
        source: pa.NativeFile,
        columns: Sequence[str],
        reading: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.source = source
        self._lock = Lock()
        self._reading = reading
        with reading():
            self._file = pq.ParquetFile(source)
        if missing := [name for name in columns if name not in self._file.schema_arrow.names]:
            raise LookupError(f"no column {', '.join(missing)}")
        self._bounds = [self._bounds_of(group) for group in range(self._file.num_row_groups)]

    def _bounds_of(self, group: int) -> tuple[Any, Any]:
        statistics = self._file.metadata.row_group(group).column(0).statistics
        if statistics is not None and statistics.has_min_max:
            return statistics.min, statistics.max
        keys = self._read(group, [0]).column(0)
        return keys[0].as_py(), keys[-1].as_py()

    def _read(self, group: int, columns: list[int] | None = None) -> pa.Table:
        names = columns and [self._file.schema_arrow.names[position] for position in columns]
        with self._lock, self._reading():
            return self._file.read_row_group(group, columns=names)

    def row(self, key: Id) -> dict[str, Any] | None:
        """The row of a key, as Python values; None if there is none."""
        group = bisect_right(self._bounds, key, key=lambda bounds: bounds[0]) - 1
        if group < 0 or self._bounds[group][1] < key:
            return None
        table = self._read(group)
        place = position(table.column(0), key)
        return None if place is None else {name: table[name][place].as_py() for name in table.column_names}

    @property
    def groups(self) -> int:
        """How many row groups it has."""
        return len(self._bounds)

    def keys(self, group: int) -> list[Id]:
        """The keys of a row group, ascending; those of the next group are higher."""
        keys: list[Id] = self._read(group, [0]).column(0).to_pylist()
        return keys


def position(column: pa.ChunkedArray | pa.Array, key: Id) -> int | None:
    """The position of a key in a sorted column; None if it is missing."""
    place = bisect_left(column, key, key=lambda scalar: scalar.as_py())
    return place if place < len(column) and column[place].as_py() == key else None
