"""Rows of JSON: each is one object; anything else among them is a malformed row.

A JSON format writes a Parquet copy in which each raw column is text, and casts nothing. In Spark,
`spark_jobs/casts.py:expression` makes our columns of this text.
"""

import json
import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from lake.formats.content import ColumnSpec, Content, RawColumn, Unfit
from lake.formats.dialect import NestedSection
from lake.formats.families import TEXT
from lake.formats.format import Format
from lake.formats.paths import ASTRAY, MISSING, replaced, value_at
from lake.formats.text import Copy

Row = dict[str, Any]

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_MOST_NAMES: Final = 1000  # rows may each have names of their own, which would fill the memory
_MOST_EXPLODED: Final = 1 << 32  # letters: all that stands around an array is in the row of each element
_SHOWN: Final = 60  # letters of a row, so that a message stays short


class _Number(str):
    """A number as it is written, with all its digits."""

    __slots__ = ()


_PLAIN: Final = frozenset({str, _Number, type(None)})


class Record(NamedTuple):
    """A record of a file.

    Attributes
    ----------
    place
        Where it begins, for messages.
    text
        As it is written.
    row
        Its object; None where it is anything else.
    """

    place: str
    text: str
    row: Row | None


class Decoder:
    """Decodes JSON as its standard says; what Python would take beyond it makes a row None."""

    def __init__(self) -> None:
        self._odd = False
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_float=_Number,
            parse_int=_Number,
            parse_constant=self._note_odd,
        )

    def decode(self, text: str, start: int = 0) -> tuple[Row | None, int]:
        """The object that begins at a place, None where it is none, and where it ends.

        Raises
        ------
        ValueError, RecursionError
            When no value can be told there.
        """
        self._odd = False
        value, end = self._decoder.raw_decode(text, start)
        is_row = isinstance(value, dict) and not self._odd and not _has_half_a_letter(text[start:end], value)
        return value if is_row else None, end

    def _object(self, pairs: list[tuple[str, Any]]) -> Row:
        row = dict(pairs)
        self._odd |= len(row) < len(pairs)  # a key twice
        return row

    def _note_odd(self, word: str) -> None:
        """Note NaN or Infinity, which are no JSON."""
        self._odd = True


def _has_half_a_letter(text: str, row: Row) -> bool:
    """Whether a row has half a surrogate pair, or is too deep to be looked through."""
    if "\\u" not in text or not _SURROGATE.search(text):
        return False
    try:
        _inner(row).encode()
    except (ValueError, RecursionError):
        return True
    return False


class JsonFormat(Format[NestedSection]):
    """A format whose records are JSON objects.

    Attributes
    ----------
    WHAT
        A file of it in words, and what to do where no record is an object.
    """

    TABLE = "nested"
    WHAT: ClassVar[tuple[str, str]]

    @abstractmethod
    def records(self, path: Path) -> Iterator[Record]:
        """The records of a file."""

    def read(self, path: Path, spec: ColumnSpec, copy: Path) -> Content:
        """Read a file and write its copy: the mapped columns, or all that any row has, and each row.

        Raises
        ------
        Unfit
            Where a line, which is named, is not UTF-8, the file is of another format, or no record is an
            object.
        """
        names = sorted(self._names(path) | spec.mapped if spec.whole else spec.mapped)
        seen: dict[str, None] = {}
        rows, objects, first = 0, 0, ""
        with Copy(copy, names) as written:
            for record in self._rows(path):
                rows += 1
                first = first or f"{record.place}: `{_shown(record.text)}`"
                if record.row is not None:
                    objects += 1
                    _note(seen, record.row, names)
                _put(written, record, names, spec)
        if rows and not objects:
            expected, action = self.WHAT
            raise Unfit(expected, f"none in {rows} rows; the first is {first}", action)
        columns = tuple(RawColumn(name, TEXT, "STRING") for name in names)
        return Content(columns, dict.fromkeys(seen, "text"), rows, True)

    def _rows(self, path: Path) -> Iterator[Record]:
        """The records, or one for each element of the array that is to be exploded."""
        for record in self.records(path):
            yield from _exploded(record, self.dialect.explode) if self.dialect.explode else [record]

    def _names(self, path: Path) -> set[str]:
        """All names that any row has."""
        return {name for record in self._rows(path) if record.row for name in record.row}


def _exploded(record: Record, path: str) -> Iterator[Record]:
    """A row for each element of a record's array, with the fields around it; one row where it has none.

    The text of a row names the place of its element: two equal elements are two events.
    """
    row = record.row or {}
    found = value_at(row, path)
    if record.row is None or found is MISSING or found is None:
        yield record
    elif not isinstance(found, list):
        yield record._replace(row=None)
    elif not found:
        yield record._replace(row=replaced(row, path, None))
    elements = found if isinstance(found, list) else []
    if len(elements) * len(record.text) > _MOST_EXPLODED:
        actual = f"{len(elements)} elements in the {len(record.text)} letters of {record.place}"
        raise Unfit(f"at most {_MOST_EXPLODED} letters of exploded rows", actual, "deliver smaller arrays")
    for place, element in enumerate(elements):
        told = replaced(row, path, element, f"[{place}]")
        yield Record(record.place, _inner(told), replaced(row, path, element))


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _put(copy: Copy, record: Record, names: Sequence[str], spec: ColumnSpec) -> None:
    """Add a row to the copy: its values where it has usable ones, else as malformed."""
    values = _values(record.row, names, spec) if record.row is not None else None
    if values is None:
        copy.add_malformed(record.text)
    else:
        copy.add(values, record.text)


def _values(row: Row, names: Sequence[str], spec: ColumnSpec) -> list[str | None] | None:
    """The values of columns as text; None where a mapped one is nested, or an id is true or false."""
    values = [row[name] if name in row else _value(row, name) for name in names]
    if _PLAIN.issuperset(map(type, values)):
        return values
    mapped = {name: value for name, value in zip(names, values, strict=True) if name in spec.mapped}
    if any(value is ASTRAY or isinstance(value, dict | list) for value in mapped.values()):
        return None
    if any(isinstance(mapped[name], bool) for name in spec.ids):
        return None
    try:
        return [_text(value) for value in values]
    except RecursionError:
        return None


def _value(row: Row, name: str) -> Any:
    """The value of a name that is no field of the row itself."""
    value = value_at(row, name) if "." in name else None
    return None if value is MISSING else value


def _note(seen: dict[str, None], row: Row, names: list[str]) -> None:
    """Note the names of a row; beyond `_MOST_NAMES` only those of `names`."""
    if not row.keys() <= seen.keys():
        more = row if len(seen) < _MOST_NAMES else [name for name in names if name in row]
        seen.update(dict.fromkeys(more))
    inner = [name for name in names if "." in name and name not in seen]
    seen.update(dict.fromkeys(name for name in inner if value_at(row, name) is not MISSING))


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
