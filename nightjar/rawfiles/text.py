"""Lines of text files, decoded strictly, and the copy of their values that Spark reads."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from lake.disk import room_for
from lake.schemas import LINE, MALFORMED, copied_field
from nightjar.rawfiles.content import Unfit

LONGEST_LINE: Final = 1 << 24
"""Bytes. A longer line is none of a table, and would be in memory as a whole."""

_BATCH_ROWS: Final = 20_000  # held until they are written: bounds the memory
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_GZIP: Final = b"\x1f\x8b"
_EXPECTED: Final = "text in UTF-8"
_ENCODE: Final = "deliver it in UTF-8"


class Lines:
    """The lines of a text file, with their line ends; a byte order mark before the first is left out.

    Attributes
    ----------
    number
        The number of the line given last, from 1.
    last
        That line; empty before the first.
    record
        The lines given since the owner last cleared it.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.number = 0
        self.last = ""
        self.record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        data = self._stream.readline(LONGEST_LINE)
        if not data:
            raise StopIteration
        self.number += 1
        if self.number == 1:
            data = _without_mark(data)
        line = self._decoded(data)
        self.last = line
        self.record.append(line)
        return line

    def _decoded(self, data: bytes) -> str:
        if len(data) == LONGEST_LINE:
            raise Unfit(f"lines of at most {LONGEST_LINE} bytes", f"a longer one, line {self.number}")
        if b"\0" in data:
            actual = f"a NUL byte in line {self.number} (perhaps it is UTF-16)"
            raise Unfit(_EXPECTED, actual, _ENCODE)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            actual = f"byte 0x{data[error.start]:02x} at place {error.start + 1} of line {self.number}"
            raise Unfit(_EXPECTED, f"{actual} (perhaps it is Latin-1)", _ENCODE) from None


def _without_mark(data: bytes) -> bytes:
    if data.startswith(_UTF16_MARKS):
        raise Unfit(_EXPECTED, "the byte order mark of UTF-16", _ENCODE)
    if data.startswith(_GZIP):
        raise Unfit(_EXPECTED, "bytes that gzip compressed", "name it .gz, and raw.files")
    return data.removeprefix(_UTF8_MARK)


def open_lines(path: Path) -> Lines:
    """The lines of a file, which may be compressed as its name says."""
    import pyarrow as pa

    return Lines(io.BufferedReader(pa.input_stream(path, compression="detect")))


class Copy:
    """A Parquet file of text values, written batch by batch, that Spark reads in place of a text file.

    Its fields are numbered, so that no raw name can clash with another or with one of ours; behind
    them stand `MALFORMED`, the text of a row that could not be parsed, and `LINE`, the whole
    row where that is one line.
    """

    def __init__(self, path: Path, width: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = [*(copied_field(index) for index in range(width)), MALFORMED, LINE]
        self._schema = pa.schema([(name, pa.string()) for name in names])
        self._width = width
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
