"""CSV files: records by RFC 4180, counted and taken apart by one strict parser.

What a lenient parser would guess at is not guessed: a quote that is not closed, or that has text
behind it, refuses the file; a record of more or fewer values than the header is a malformed row.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from nightjar.rawfiles.content import Asked, Content, Unfit, distinct, repeated
from nightjar.rawfiles.text import Copy, Lines, open_lines
from spark_jobs.casts import TEXT
from spark_jobs.plans import RawColumn

_QUOTED: Final = re.compile(r'(?:^|(?<=[,\n]))"[^"]*(?:""[^"]*)*(?:"(?!")|\Z)')
_WHOLE: Final = "quotes that are closed, each before a comma or the line's end"
_MEND: Final = 'write a quote inside a value twice (""), and close each'


def read(path: Path, asked: Asked, copy: Path) -> Content:
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
    """The header and the records that are not blank lines; `lines.record` holds those of the last given."""
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
    """Add one record; whether it has as many values as the header."""
    whole = len(record) == width
    if whole:
        copy.add([value or None for value in record])
    else:
        copy.add_malformed("".join(lines.record).rstrip("\r\n"))
    return whole


def _require_closed(lines: Lines, width: int) -> None:
    """Refuse a record in which rows have vanished."""
    if len(lines.record) > 1 and _swallowed(lines.record, width):
        found = f"one that opens in line {_opened(lines)} and takes in the rows up to line {lines.number}"
        raise Unfit(_WHOLE, f"a quote that is not: {found}", _MEND)


def _swallowed(lines: Sequence[str], width: int) -> bool:
    """Whether half of the lines within a record look like rows of their own: some quote was not closed."""
    inner = [line for line in lines[1:-1] if line.strip()]
    if inner:
        return 2 * sum(_width(line) == width for line in inner) >= len(inner)
    return lines[0].count(",") == lines[-1].count(",") == width - 1


def _width(line: str) -> int:
    """How many values a line has when it is read alone; none where it cannot be."""
    try:
        return len(next(csv.reader([line]), ()))
    except csv.Error:
        return 0


def _opened(lines: Lines) -> int:
    """The line in which the last quoted value of the record opens."""
    text = "".join(lines.record)
    last = max((match.start() for match in _QUOTED.finditer(text)), default=0)
    return lines.number - len(lines.record) + 1 + text.count("\n", 0, last)


def _unfit(lines: Lines, why: str) -> Unfit:
    if "new-line" in why:
        found = f"a carriage return alone in line {lines.number}"
        return Unfit("line ends of \\n or \\r\\n", found, "deliver it with such line ends")
    if "limit" in why:
        found = (
            f"a longer one in line {lines.number} (perhaps the quote of line {_opened(lines)} is not closed)"
        )
        return Unfit(f"values of at most {csv.field_size_limit()} letters", found, _MEND)
    return Unfit(_WHOLE, f"one that opens in line {_opened(lines)} and is not ({why})", _MEND)


def _warnings(lines: Lines) -> tuple[str, ...]:
    """A last row without a line end may have lost digits of its last value."""
    if lines.last.endswith(("\n", "\r")):
        return ()
    return (f"line {lines.number}, the last, has no line end: it may be cut",)
