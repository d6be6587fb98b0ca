"""JSON lines: each line that is not blank is a row; one that is no object is malformed.

`JsonLines.read` writes a Parquet copy in which each raw column is text, and casts nothing. In Spark,
`spark_jobs/casts.py:expression` makes our columns of this text.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from lake.formats.content import ColumnSpec, Content, RawColumn, Unfit
from lake.formats.families import TEXT
from lake.formats.format import Format
from lake.formats.text import Copy, open_lines

Row = dict[str, Any]

_BLANK: Final = " \t\r\n"
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_MOST_NAMES: Final = 1000  # rows may each have names of their own, which would fill the memory
_SHOWN: Final = 60  # letters of a line, so that a message stays short


class _Number(str):
    """A number as it is written, with all its digits."""

    __slots__ = ()


_PLAIN: Final = frozenset({str, _Number, type(None)})


class JsonLines(Format[None]):
    """JSON lines, or NDJSON."""

    NAME = "jsonl"

    @property
    def has_head(self) -> bool:
        """A file without rows is one of 0 bytes."""
        return False

    def read(self, path: Path, spec: ColumnSpec, copy: Path) -> Content:
        """Read a file and write its copy: the mapped columns, or all that any row has, and each line.

        Raises
        ------
        Unfit
            Where a line, which is named, is not UTF-8, the file is one array, or no line is an object.
        """
        names = sorted(_names(path) if spec.whole else spec.mapped)
        seen: dict[str, None] = {}
        rows, objects, first = 0, 0, ""
        with Copy(copy, names) as written:
            for number, line in _lines(path):
                rows += 1
                first = first or f"line {number}: `{_shown(line)}`"
                row = _row(line)
                if row is not None:
                    objects += 1
                    _note(seen, row, names)
                _put(written, line, row, names, spec)
        if rows and not objects:
            actual = f"none in {rows} lines; the first is {first}"
            raise Unfit("one JSON object a line", actual, "write each row as an object in a line of its own")
        columns = tuple(RawColumn(name, TEXT, "STRING") for name in names)
        return Content(columns, dict.fromkeys(seen, "text"), rows, True)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    lines, first = open_lines(path), True
    for line in lines:
        lines.record.clear()
        text = line.strip(_BLANK)
        if first and re.match(r"\[\s*(\{|$)", text):
            raise Unfit("an object a line", "a JSON array", "deliver each element as a line of its own")
        first = first and not text
        if text:
            yield lines.number, text


def _shown(line: str) -> str:
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _put(copy: Copy, line: str, row: Row | None, names: Sequence[str], spec: ColumnSpec) -> None:
    """Add a line to the copy: its values where it has usable ones, else as malformed."""
    values = _values(row, names, spec) if row is not None else None
    if values is None:
        copy.add_malformed(line)
    else:
        copy.add(values, line)


def _row(line: str) -> Row | None:
    """The object of a line; None where it holds anything else."""
    try:
        row = _DECODER.decode(line)
        if "\\u" in line and _SURROGATE.search(line):
            _inner(row).encode()
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _values(row: Row, names: Sequence[str], spec: ColumnSpec) -> list[str | None] | None:
    """The values of columns as text; None where a mapped one is nested, or an id is true or false."""
    values = [row.get(name) for name in names]
    if _PLAIN.issuperset(map(type, values)):
        return values
    if any(isinstance(row.get(name), dict | list) for name in spec.mapped):
        return None
    if any(isinstance(row.get(name), bool) for name in spec.ids):
        return None
    try:
        return [_text(value) for value in values]
    except RecursionError:
        return None


def _object(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key twice")
    return row


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_Number, parse_int=_Number, parse_constant=_no_number
)


def _names(path: Path) -> set[str]:
    """All names that any row has."""
    rows = (_row(line) for _, line in _lines(path))
    return {name for row in rows if row for name in row}


def _note(seen: dict[str, None], row: Row, names: list[str]) -> None:
    """Note the names of a row; beyond `_MOST_NAMES` only those of `names`."""
    if not row.keys() <= seen.keys():
        more = row if len(seen) < _MOST_NAMES else [name for name in names if name in row]
        seen.update(dict.fromkeys(more))


def _text(value: Any) -> str | None:
    """A value as text: a string as it is, all else as JSON, with the digits as they were written."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ",".join(f"{_inner(name)}:{_inner(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_inner, value)) + "]"
    return "true" if value else "false"


def _inner(value: Any) -> str:
    if isinstance(value, str) and not isinstance(value, _Number):
        return json.dumps(value, ensure_ascii=False)
    return "null" if value is None else str(_text(value))
