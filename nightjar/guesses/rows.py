"""The first rows of a raw file as texts, in whichever format and dialect they are found to be."""

import codecs
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from lake.errors import PermanentError
from lake.formats import FORMATS
from lake.formats.content import ColumnSpec, Unfit
from lake.formats.csvfile import Csv
from lake.formats.dialect import FLAT, CsvSection
from lake.formats.families import TEXT, family
from lake.formats.jsonrows import JsonFormat
from lake.formats.packed import unpacked
from lake.raw_kinds import UNIT_BYTES
from lake.schemas import MALFORMED, copied_field
from lake.storage import open_storage

ROWS: Final = 10_000
"""The rows that are looked at."""

_FILES: Final = 24  # of many, such as those of hours
_HEAD_BYTES: Final = 1 << 20
_MAGICS: Final = {b"PAR1": "parquet", b"Obj\x01": "avro", b"ORC": "orc"}
_MARKS: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Without statistics of other languages a Western text of few letters may be taken for any of them.
_LIKELY: Final = ["cp1252", "cp1250", "cp1251", "shift_jis", "gb18030", "big5", "euc_kr"]
_DELIMITERS: Final = ("::", ",", ";", "\t", "|")
_MOST: Final = 0.9
"""A dialect fits where more of the rows than this are whole."""
_VALUE: Final = re.compile(r"[+-]?[\d.,]*\d[\d.,]*|\d[\d/.:\-T ]+\d(Z|[+-]\d\d:?\d\d)?")
_OBJECTS: Final = re.compile(r"\[\s*[\[{\]]")


@dataclass(frozen=True)
class Rows:
    """The first rows of a file.

    Attributes
    ----------
    format
        Its name in a TOML.
    columns
        The values of each column as texts, None where there is none.
    families
        The family of each column.
    dialect
        The keys of ``[raw.csv]`` that are not as by default, each with why.
    explode
        The array whose elements are the rows.
    """

    format: str
    columns: dict[str, list[str | None]]
    families: dict[str, str] = field(default_factory=dict)
    dialect: dict[str, tuple[Any, str]] = field(default_factory=dict)
    explode: str = ""


def first_of(files: Sequence[str]) -> Rows:
    """The first rows of some files of one format, which are as the first of them is written.

    Raises
    ------
    PermanentError
        When the first holds none, or one is of no format that we read.
    """
    spread = files[:: max(1, len(files) // _FILES)]
    rows = _at_address(spread[0])
    for file in spread[1:]:
        if len(next(iter(rows.columns.values()))) >= ROWS:
            break
        more = _at_address(file)
        if more.format == rows.format:
            rows = _joined(rows, more)
    return rows


def _at_address(file: str) -> Rows:
    root, _, name = file.rpartition("/")
    with open_storage(root).fetched(name) as path:
        return first(path)


def _joined(rows: Rows, more: Rows) -> Rows:
    """The rows of two files; a column that one lacks is null there."""
    lengths = [len(next(iter(each.columns.values()))) for each in (rows, more)]
    columns = {
        name: [
            value
            for each, length in zip((rows, more), lengths, strict=True)
            for value in each.columns.get(name, [None] * length)
        ]
        for name in rows.columns | more.columns
    }
    return replace(
        rows, columns=columns, families=more.families | rows.families, explode=rows.explode or more.explode
    )


def first(path: Path) -> Rows:
    """The first rows of a file.

    Raises
    ------
    PermanentError
        When it holds none, or none of a format that we read.
    """
    try:
        with unpacked(path) as stream:
            head = stream.read(_HEAD_BYTES)
        kind = next((name for magic, name in _MAGICS.items() if head.startswith(magic)), "")
        rows = _of_arrow(path, kind) if kind else _of_text(path, head)
    except (Unfit, OSError, ValueError) as error:
        raise PermanentError(f"{path}: {error}") from error
    if not any(rows.columns.values()):
        raise PermanentError(f"{path}: expected rows, found none; name a file with some")
    return rows


def _of_arrow(path: Path, kind: str) -> Rows:
    """Rows of a format with types; the fields of structs are columns by the names that lead there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy.parquet")
        content = FORMATS[kind](None).read(path, ColumnSpec({}, whole=True), copy)
        with pq.ParquetFile(copy if content.copied else path) as file:
            table = pa.Table.from_batches(list(islice(file.iter_batches(ROWS), 1)), file.schema_arrow)
    if content.copied:
        table = table.rename_columns([name.removeprefix(copied_field("")) for name in table.column_names])
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    columns = {name: [_text(v) for v in table[name].to_pylist()] for name in table.column_names}
    return Rows(kind, columns, {field.name: family(field.type) for field in table.schema})


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _of_text(path: Path, head: bytes) -> Rows:
    encoding, why = _encoding(head)
    text = head.decode(encoding, errors="ignore").removeprefix("\ufeff")
    start = text.lstrip(" \t\r\n")
    if _OBJECTS.match(start):
        return _of_json(path, "json")
    if start.startswith("{"):
        return _of_json(path, "jsonl")
    dialect = {"encoding": (encoding, why)} if encoding != "utf-8" else {}
    return _of_csv(text if len(head) < _HEAD_BYTES else text[: text.rindex("\n") + 1], dialect)


def _encoding(head: bytes) -> tuple[str, str]:
    """The encoding of a text, and why."""
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding, "its byte order mark says so"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
        return "utf-8", ""
    except UnicodeDecodeError as error:
        import charset_normalizer

        other = sorted(set(re.findall(rb"[\w]*[\x80-\xff]+[\w]*", head)))
        best = charset_normalizer.from_bytes(b"\n".join(other), cp_isolation=_LIKELY).best()
        encoding = best.encoding.replace("_", "-") if best else "cp1252"
        if best and _decoded(other, encoding) == _decoded(other, "cp1252"):
            encoding = "cp1252"  # the one that most such files are in
        shown = ", ".join(map(repr, _decoded(other[:3], encoding)))
        told = f"byte 0x{head[error.start]:02x} is no UTF-8. UNSURE: look at {shown}"
        return encoding if encoding not in UNIT_BYTES else "cp1252", told


def _decoded(texts: Sequence[bytes], encoding: str) -> list[str]:
    return [text.decode(encoding, errors="replace") for text in texts]


def _of_json(path: Path, kind: str) -> Rows:
    reader: Any = FORMATS[kind](FLAT)
    assert isinstance(reader, JsonFormat)
    records = [record.row for record in islice(reader.records(path), ROWS)]
    rows = [row for row in records if row is not None]
    arrays = Counter(name for row in rows for name in _arrays(row))
    explode = arrays.most_common(1)[0][0] if len(arrays) == 1 else ""
    flat = [dict(leaves) for row in rows for leaves in _flat(row, explode)]
    names = dict.fromkeys(name for row in flat for name in row)
    columns = {name: [row.get(name) for row in flat] for name in names}
    return Rows(kind, columns, dict.fromkeys(names, TEXT), explode=explode)


def _arrays(row: dict[str, Any], before: str = "") -> Iterator[str]:
    """The names of arrays of objects."""
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _arrays(value, f"{before}{name}.")
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            yield before + name


def _flat(row: dict[str, Any], explode: str) -> Iterator[list[tuple[str, str | None]]]:
    """The plain values of a row by the names that lead there; a row for each element of the array."""
    leaves = list(_leaves(row, ""))
    elements: list[list[tuple[str, str | None]]] = [[]]
    if explode:
        found = _at(row, explode.split("."))
        elements = [list(_leaves(each, f"{explode}.")) for each in found or []] or elements
    yield from (leaves + each for each in elements)


def _at(row: Any, path: Sequence[str]) -> Any:
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return row


def _leaves(row: dict[str, Any], before: str) -> Iterator[tuple[str, str | None]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{before}{name}.")
        elif not isinstance(value, list):
            yield before + name, None if value is None else str(value)


@dataclass(frozen=True)
class _Tried:
    """What the parser of ingest makes of a text by one dialect.

    Attributes
    ----------
    names
        The values of the first line.
    lines
        Those of all others that are no malformed rows.
    fit
        The larger, the better.
    """

    csv: CsvSection
    names: list[str]
    lines: list[tuple[str | None, ...]]
    fit: tuple[Any, ...]


def _of_csv(text: str, dialect: dict[str, tuple[Any, str]]) -> Rows:
    """Rows of the dialect that makes most columns of nearly all lines."""
    tried = [found for delimiter in _DELIMITERS if delimiter in text for found in _tried(text, delimiter)]
    if not tried:
        actual = f"text without {', '.join(map(repr, _DELIMITERS))}"
        raise Unfit("values with a delimiter between them", actual, "name a file with several columns")
    best = max(tried, key=lambda found: found.fit)
    dialect, names = _told(best.csv) | dialect, best.names
    if any(not name or _VALUE.fullmatch(name.strip()) for name in names):  # a row
        names = [f"column_{number}" for number in range(1, len(names) + 1)]
        dialect["columns"] = (names, "the first line is no header. UNSURE: name them as you like")
    columns = {name: list(values) for name, values in zip(names, zip(*best.lines, strict=True), strict=True)}
    return Rows("csv", columns, dict.fromkeys(names, TEXT), dialect)


def _tried(text: str, delimiter: str) -> Iterator[_Tried]:
    """The text by a delimiter, with and without quotes and comments."""
    for quote in ('"', "") if len(delimiter) == 1 else ("",):
        for comment in ("", "#") if text.startswith("#") else ("",):
            csv = CsvSection(delimiter=delimiter, quote=quote, comment=comment)
            with suppress(Unfit):
                names, lines, odd = _parsed(text, csv)
                if len(names) > 1 and lines:
                    share = len(lines) / (len(lines) + odd)
                    yield _Tried(
                        csv, names, lines, (share > _MOST, len(names), share, bool(quote), not comment)
                    )


def _parsed(text: str, csv: CsvSection) -> tuple[list[str], list[tuple[str | None, ...]], int]:
    """The values of the first line, those of all other rows, and how many of these are malformed."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        path, copy = Path(folder, "head.csv"), Path(folder, "copy.parquet")
        path.write_text(text, encoding="utf-8", newline="")
        content = Csv(csv).read(path, ColumnSpec({}, whole=True), copy)
        table = pq.read_table(copy).slice(0, ROWS)
    whole = table.filter(table[MALFORMED].is_null())
    names = [column.name for column in content.columns]
    values = [whole[copied_field(name)].to_pylist() for name in names]
    return names, list(zip(*values, strict=True)), len(table) - len(whole)


def _told(csv: CsvSection) -> dict[str, tuple[Any, str]]:
    """The keys that are not as by default."""
    whys = {
        "delimiter": "most columns in nearly all lines",
        "quote": "with quotes that are read as such lines do not fit",
        "comment": "the file begins with such lines",
    }
    return {name: (getattr(csv, name), whys[name]) for name in csv.model_fields_set if _differs(csv, name)}


def _differs(csv: CsvSection, name: str) -> bool:
    return bool(getattr(csv, name) != CsvSection.model_fields[name].default)
