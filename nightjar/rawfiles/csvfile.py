"""CSV files: parsed and counted by one strict parser, by RFC 4180.

`read` writes a Parquet copy in which each raw column is text, and casts nothing. In Spark,
`spark_jobs/casts.py:expression` makes our columns of this text.

Nothing is guessed. A quote that is not closed, or that has text behind it, refuses the file. A record
with more or fewer values than the header is a malformed row, and so is one with a quote that opens
behind a blank.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from nightjar.rawfiles.content import ColumnSpec, Content, Unfit, distinct, repeated
from nightjar.rawfiles.text import Copy, Lines, open_lines
from spark_jobs.casts import TEXT
from spark_jobs.plans import RawColumn

_QUOTED: Final = re.compile(r'(?:^|(?<=[,\n]))"[^"]*(?:""[^"]*)*(?:"(?!")|\Z)')
_BEHIND_A_BLANK: Final = re.compile(r'(?:^|,)[^\S\r\n]+"')
_WHOLE: Final = "quotes that are closed, each before a comma or the line's end"
_MEND: Final = 'write a quote inside a value twice (""), and close each'


def read(path: Path, spec: ColumnSpec, copy: Path) -> Content:
    """Read a file and write its copy.

    Raises
    ------
    Unfit
        Naming the line, where it is not UTF-8 or a quote is not closed as it should be.
    """
    lines = open_lines(path)
    records = _records(lines)
    header = next(records, [])
    rows, whole = 0, False
    with Copy(copy, len(header)) as written:
        for record in records:
            rows += 1
            whole = _put(written, record, lines, len(header))
    columns = tuple(RawColumn(name, TEXT, "STRING") for name in distinct(header))
    kinds = dict.fromkeys(header, "text")
    return Content(columns, kinds, rows, True, repeated(header), _warnings(lines) if whole else ())


def _records(lines: Lines) -> Iterator[list[str]]:
    """The header, then each record that is no blank line; `lines.record` holds the lines of the last."""
    reader, width = csv.reader(lines, strict=True), 0
    while True:
        lines.record.clear()
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _unfit(lines, str(error)) from None
        if record:
            width = width or len(record)
            _require_closed(lines, width)
            yield record


def _put(copy: Copy, record: list[str], lines: Lines, width: int) -> bool:
    """Add a record to the copy; return whether it is a whole row."""
    whole = len(record) == width and not _has_odd_quote("".join(lines.record))
    if whole:
        copy.add([value or None for value in record])
    else:
        copy.add_malformed("".join(lines.record).rstrip("\r\n"))
    return whole


def _has_odd_quote(text: str) -> bool:
    """Whether a quote opens a value behind a blank: the parser would take that quote for text."""
    if '"' not in text or not _BEHIND_A_BLANK.search(text):
        return False
    return bool(_BEHIND_A_BLANK.search(_QUOTED.sub('""', text)))


def _require_closed(lines: Lines, width: int) -> None:
    """Refuse a record that holds other rows, as its quote was not closed."""
    before = lines.number - len(lines.record)
    for first, last in _line_breaks(lines.record):
        if _swallowed(lines.record[first : last + 1], width):
            rows = f"takes in the rows up to line {before + last + 1}"
            actual = f"a quote that is not: one that opens in line {before + first + 1} and {rows}"
            raise Unfit(_WHOLE, actual, _MEND)


def _line_breaks(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The first and the last line of each value of a record that has a line end in it."""
    text = "".join(lines) if len(lines) > 1 else ""
    for value in _QUOTED.finditer(text):
        if "\n" in value[0]:
            first = text.count("\n", 0, value.start())
            yield first, first + value[0].count("\n")


def _swallowed(lines: Sequence[str], width: int) -> bool:
    """Whether the lines of one value look like rows of their own: its quote was not closed.

    Half of the lines between the first and the last are enough; without any, both of these have to.
    """
    inner = [line for line in lines[1:-1] if line.strip()]
    if inner:
        return 2 * sum(_width(line) == width for line in inner) >= len(inner)
    return _may_be_row(lines[0], width) and _width(lines[-1]) == width


def _may_be_row(line: str, width: int) -> bool:
    """Whether a line would be a row if its open quote were closed somewhere, or left out."""
    opened = _last_quote(line)
    return _width(line) <= width <= _width(line[:opened] + line[opened + 1 :])


def _width(line: str) -> int:
    """How many values a line has when it is read alone; 0 where it cannot be read."""
    try:
        return len(next(csv.reader([line]), ()))
    except csv.Error:
        return 0


def _opened(lines: Lines) -> int:
    """The line in which the last quoted value of the record opens."""
    text = "".join(lines.record)
    return lines.number - len(lines.record) + 1 + text.count("\n", 0, _last_quote(text))


def _last_quote(text: str) -> int:
    """Where the last quoted value opens."""
    return max((match.start() for match in _QUOTED.finditer(text)), default=0)


def _unfit(lines: Lines, why: str) -> Unfit:
    if "new-line" in why:
        actual = f"a carriage return alone in line {lines.number}"
        return Unfit("line ends of \\n or \\r\\n", actual, "deliver it with such line ends")
    if "limit" in why:
        actual = (
            f"a longer one in line {lines.number} (perhaps the quote of line {_opened(lines)} is not closed)"
        )
        return Unfit(f"values of at most {csv.field_size_limit()} letters", actual, _MEND)
    return Unfit(_WHOLE, f"one that opens in line {_opened(lines)} and is not ({why})", _MEND)


def _warnings(lines: Lines) -> tuple[str, ...]:
    """Warn of a last row without a line end: it may have lost digits of its last value."""
    if lines.last.endswith(("\n", "\r")):
        return ()
    return (f"line {lines.number}, the last, has no line end: it may be cut",)
