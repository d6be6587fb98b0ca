"""Lines of text files, decoded strictly, and the copy of their values that Spark reads."""

import codecs
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lake.disk import room_for
from lake.formats.content import Unfit
from lake.formats.packed import unpacked
from lake.schemas import LINE, MALFORMED, copied_field

LONGEST_LINE: Final = 1 << 24
"""Bytes. A longer line is none of a table, and would be in memory as a whole."""

_BATCH_ROWS: Final = 20_000  # held until they are written: bounds the memory
# The longer ones first: that of UTF-32 begins with that of UTF-16.
_MARKS: Final = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order marks, each with the encoding that it tells."""


class Lines:
    """The lines of a text file, with their line ends; a byte order mark before the first is left out.

    Parameters
    ----------
    encoding
        One that `lake.kinds` accepts. Of two bytes or more a unit, the mark says which comes first unless
        the name does.
    other
        What else may be done about a file in another encoding.

    Attributes
    ----------
    number
        The number of the line given last, from 1.
    last
        That line; empty before the first.
    record
        The lines given since the owner last cleared it.
    """

    def __init__(self, stream: io.BufferedReader, encoding: str = "utf-8", other: str = "") -> None:
        self._stream = stream
        self._expected = f"text in {encoding.upper()}"
        self._action = f"deliver it in {encoding.upper()}{other}"
        self._encoding = self._by_mark(encoding)
        self._end = "\n".encode(self._encoding)
        self.number = 0
        self.last = ""
        self.record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        data = self._bytes()
        if not data:
            raise StopIteration
        self.number += 1
        line = self._decoded(data)
        self.last = line
        self.record.append(line)
        return line

    def _bytes(self) -> bytes:
        """The next line; in units of more than one byte, that of a line end may be part of another letter."""
        if len(self._end) == 1:
            return self._stream.readline(LONGEST_LINE)
        data = b""
        while not data.endswith(self._end) and (part := self._stream.readline(LONGEST_LINE - len(data))):
            data += part + self._stream.read(-len(data + part) % len(self._end))
        return data

    def _decoded(self, data: bytes) -> str:
        if len(data) >= LONGEST_LINE:
            raise Unfit(f"lines of at most {LONGEST_LINE} bytes", f"a longer one, line {self.number}")
        if len(self._end) == 1 and b"\0" in data:
            raise self._unfit(f"a NUL byte in line {self.number} (perhaps it is UTF-16)")
        try:
            return data.decode(self._encoding)
        except UnicodeDecodeError as error:
            hint = " (perhaps it is Latin-1)" if self._encoding == "utf-8" else ""
            byte = f"byte 0x{data[error.start]:02x} at place {error.start + 1} of line {self.number}"
            raise self._unfit(byte + hint) from None

    def _by_mark(self, encoding: str) -> str:
        """The encoding with the order of its bytes, as the byte order mark tells; pass over the mark."""
        head = self._stream.peek(4)
        mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
        told = _MARKS.get(mark, encoding)
        if encoding not in (told, told.removesuffix("-le"), told.removesuffix("-be")):
            raise self._unfit(f"the byte order mark of {told.upper()}")
        if head and told in ("utf-16", "utf-32"):
            action = f"deliver it with one, or let encoding be {told}-le or {told}-be"
            raise Unfit(f"a byte order mark of {told.upper()}", "none", action)
        self._stream.read(len(mark))
        return told

    def _unfit(self, actual: str) -> Unfit:
        return Unfit(self._expected, actual, self._action)


def open_lines(path: Path, encoding: str = "utf-8", other: str = "") -> Lines:
    """The `Lines` of a file, which may be compressed."""
    return Lines(unpacked(path), encoding, other)


class Copy:
    """A Parquet file of text values, written batch by batch, that Spark reads in place of a text file.

    Behind the columns stand `MALFORMED`, the text of a row that could not be parsed, and `LINE`, the
    whole row where that is one line.

    Parameters
    ----------
    columns
        Their names, each once.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = [*map(copied_field, columns), MALFORMED, LINE]
        self._schema = pa.schema([(name, pa.string()) for name in names])
        self._width = len(columns)
        self._rows: list[Sequence[str | None]] = []
        self._path = path
        with room_for(path):
            self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with room_for(self._path):
            if error is None:
                self._flush()
            self._writer.close()

    def add(self, values: Sequence[str | None], line: str | None = None) -> None:
        """Add the values of a row."""
        self._add((*values, None, line))

    def add_malformed(self, text: str) -> None:
        """Add the text of a row that could not be parsed."""
        self._add((*(None,) * self._width, text, None))

    def _add(self, row: Sequence[str | None]) -> None:
        self._rows.append(row)
        if len(self._rows) == _BATCH_ROWS:
            with room_for(self._path):
                self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(self._schema)
        arrays = [pa.array(values, pa.string()) for values in columns]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._rows = []
