"""CSV files: parsed and counted by one strict parser, by RFC 4180 or the dialect of the data set.

`Csv.read` writes a Parquet copy in which each raw column is text, and casts nothing. In Spark,
`spark_jobs/casts.py:expression` makes our columns of this text.

Nothing is guessed. A quote that is not closed, or that has text behind it, refuses the file. A record
with more or fewer values than the header is a malformed row, and so is one with a quote that opens
behind a blank.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

from lake.formats.content import ColumnSpec, Content, RawColumn, Unfit, distinct, repeated
from lake.formats.dialect import CsvSection
from lake.formats.families import TEXT
from lake.formats.format import Format
from lake.formats.quotes import STAND_IN, Quotes
from lake.formats.text import Copy, Lines, open_lines

_OR_NAME_IT: Final = ", or name its own as encoding in the table csv of the data set's TOML"


class Csv(Format[CsvSection]):
    """CSV and TSV."""

    NAME = "csv"
    TABLE = "csv"
    HINT = ", whose table csv names another delimiter, or the columns of files without a header"

    @property
    def has_head(self) -> bool:
        """Whether its first line names the columns."""
        return not self.dialect.columns

    def read(self, path: Path, spec: ColumnSpec, copy: Path) -> Content:
        """Read a file and write its copy.

        Raises
        ------
        Unfit
            Naming the line, where it is in another encoding or a quote is not closed as it should be.
        """
        records = _Records(path, self.dialect)
        header = list(self.dialect.columns) or next(records, [])
        nulls = frozenset({"", *self.dialect.nulls})
        rows, whole = 0, False
        names = distinct(header)
        with Copy(copy, names) as written:
            for record in records:
                rows += 1
                whole = len(record) == len(header) and not records.is_odd()
                if whole:
                    written.add([None if value in nulls else value for value in record])
                else:
                    written.add_malformed(records.text.rstrip("\r\n"))
        columns = tuple(RawColumn(name, TEXT, "STRING") for name in names)
        warnings = _warnings(records.lines) if whole else ()
        return Content(columns, dict.fromkeys(header, "text"), rows, True, repeated(header), warnings)

    def texts(self, path: Path) -> Iterator[str]:
        """The records as they stand in the file, its header first; see `Format.texts`."""
        records = _Records(path, self.dialect)
        return (records.text for _ in records)


class _Records:
    """The records of a file that are no blank lines, its header among them.

    Attributes
    ----------
    lines
        Those of the file; its `record` are those of the record given last.
    """

    def __init__(self, path: Path, dialect: CsvSection) -> None:
        self.lines = open_lines(path, dialect.encoding, _OR_NAME_IT)
        self._dialect = dialect
        self._quotes = Quotes(dialect)
        self._width = len(dialect.columns)
        escape = dialect.escape or None
        lines = _plain(self.lines, dialect)
        self._parser = csv.reader(lines, strict=True, escapechar=escape, **self._quotes.options)

    @property
    def text(self) -> str:
        """The text of the record given last."""
        return "".join(self.lines.record)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[str]:
        record: list[str] = []
        while not record:
            self.lines.record.clear()
            try:
                record = next(self._parser)
            except csv.Error as error:
                raise self._unfit(str(error)) from None
        self._width = self._width or len(record)
        self._require_closed()
        return record

    def is_odd(self) -> bool:
        """Whether a quote or an escape of the record given last does not stand as it should."""
        return self._quotes.is_odd(self._quotes.masked(self.text))

    def _require_closed(self) -> None:
        """Refuse a record that holds other rows, as its quote was not closed."""
        if len(self.lines.record) == 1:
            return
        lines = [self._quotes.masked(line) for line in self.lines.record]
        before = self.lines.number - len(lines)
        for first, last in self._quotes.line_breaks(lines):
            if self._quotes.swallowed(lines[first : last + 1], self._width):
                rows = f"takes in the rows up to line {before + last + 1}"
                actual = f"a quote that is not: one that opens in line {before + first + 1} and {rows}"
                raise self._unclosed(actual)

    def _unfit(self, why: str) -> Unfit:
        number = self.lines.number
        if "new-line" in why:
            actual = f"a carriage return alone in line {number}"
            return Unfit("line ends of \\n or \\r\\n", actual, "deliver it with such line ends")
        if "limit" in why:
            expected = f"values of at most {csv.field_size_limit()} letters"
            if not self._dialect.quote:
                return Unfit(expected, f"a longer one in line {number}", "deliver it with shorter ones")
            hint = f"(perhaps the quote of line {self._opened()} is not closed)"
            return Unfit(expected, f"a longer one in line {number} {hint}", self._mend)
        return self._unclosed(f"one that opens in line {self._opened()} and is not ({why})")

    def _unclosed(self, actual: str) -> Unfit:
        mark = "a comma" if self._dialect.delimiter == "," else repr(self._dialect.delimiter)
        return Unfit(f"quotes that are closed, each before {mark} or the line's end", actual, self._mend)

    @property
    def _mend(self) -> str:
        """What to do about a quote that is not closed."""
        quote, escape = self._dialect.quote, self._dialect.escape
        how = f"as {escape}{quote}" if escape else f"twice ({2 * quote})"
        return f"write a quote inside a value {how}, and close each"

    def _opened(self) -> int:
        """The line in which the last quoted value of the record opens."""
        text = self._quotes.masked(self.text)
        return self.lines.number - len(self.lines.record) + 1 + text.count("\n", 0, self._quotes.last(text))


def _plain(lines: Lines, dialect: CsvSection) -> Iterable[str]:
    """The lines for Python's parser.

    It knows no comments and no delimiter of several letters, and drops an escape before any letter.
    """
    kept = _without_comments(lines, dialect.comment) if dialect.comment else lines
    if len(dialect.delimiter) > 1:
        return (line.replace(dialect.delimiter, STAND_IN) for line in kept)
    if not dialect.escape:
        return kept
    delimiter, quote, escape = map(re.escape, (dialect.delimiter, dialect.quote, dialect.escape))
    pair = re.compile(f"{escape}([{delimiter}{quote}{escape}]?)")
    return (pair.sub(lambda found: found[0] if found[1] else 2 * found[0], line) for line in kept)


def _without_comments(lines: Lines, comment: str) -> Iterator[str]:
    """The lines but for comments, which stand where a record may begin."""
    for line in lines:
        if len(lines.record) == 1 and line.startswith(comment):
            lines.record.clear()
        else:
            yield line


def _warnings(lines: Lines) -> tuple[str, ...]:
    """Warn of a last row without a line end: it may have lost digits of its last value."""
    if lines.last.endswith(("\n", "\r")):
        return ()
    return (f"line {lines.number}, the last, has no line end: it may be cut",)
