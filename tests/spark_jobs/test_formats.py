"""Days in every format: the same small day gives the same tables, however its files are written."""

import bz2
import csv
import datetime as dt
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyarrow import orc

from lake import tables
from lake.formats import FORMATS
from lake.formats.content import ColumnSpec, Content, RawColumn
from lake.formats.families import TEXT
from lake.formats.format import Format
from lake.formats.text import Copy, open_lines
from nightjar.stages import attempt as attempts
from nightjar.stages.ingest import Ingest

DAY = dt.date(2024, 1, 1)
Rows = list[dict[str, Any]]
Write = Callable[[Rows], bytes]

SCHEMA = pa.schema(
    [
        ("user", pa.int64()),
        ("item", pa.int64()),
        ("at", pa.timestamp("us")),
        ("type", pa.string()),
        ("pieces", pa.int64()),
        ("paid", pa.decimal128(12, 2)),
        ("basket", pa.int64()),
        ("store", pa.string()),
    ]
)


def _table(rows: Rows, schema: pa.Schema = SCHEMA) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def _parquet(rows: Rows, schema: pa.Schema = SCHEMA, **options: Any) -> bytes:
    made = io.BytesIO()
    pq.write_table(_table(rows, schema), made, **options)
    return made.getvalue()


def _int96(rows: Rows) -> bytes:
    return _parquet(rows, use_deprecated_int96_timestamps=True)


def _split(rows: Rows) -> bytes:
    """Encodings and a codec that Spark does not read, in pages of the second version."""
    ways = {"user": "BYTE_STREAM_SPLIT", "item": "DELTA_BINARY_PACKED", "store": "DELTA_BYTE_ARRAY"}
    options = {"data_page_version": "2.0", "use_dictionary": False, "compression": "brotli"}
    return _parquet(rows, column_encoding=ways, **options)


def _structs(rows: Rows) -> bytes:
    made = io.BytesIO()
    who, at = pa.struct([SCHEMA.field("user"), SCHEMA.field("store")]), pa.struct([SCHEMA.field("at")])
    others = [field for field in SCHEMA if field.name not in IN_OBJECTS]
    pq.write_table(_table(_nested(rows), pa.schema([("who", who), ("when", at), *others])), made)
    return made.getvalue()


def _orc(rows: Rows, schema: pa.Schema = SCHEMA) -> bytes:
    made = io.BytesIO()
    orc.write_table(_table(rows, schema), made, compression="zstd")
    return made.getvalue()


AVRO = {
    "at": {"type": "long", "logicalType": "local-timestamp-micros"},
    "type": {"type": "enum", "name": "kind", "symbols": ["purchase", "view", "gift"]},
    "paid": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
    "store": "string",
}


def _avro_type(name: str) -> list[Any]:
    return ["null", AVRO.get(name, "long")]


def _avro(rows: Rows, codec: str = "deflate", plain: str = "") -> bytes:
    """A file of Avro; of the column `plain` the numbers have no logical type."""
    made = io.BytesIO()
    fields = [{"name": name, "type": _avro_type(name if name != plain else "")} for name in SCHEMA.names]
    fastavro.writer(made, {"type": "record", "name": "row", "fields": fields}, rows, codec=codec)
    return made.getvalue()


def _avro_nested(rows: Rows) -> bytes:
    made = io.BytesIO()
    who = [{"name": name, "type": _avro_type(name)} for name in ("user", "store")]
    at = {"type": "long", "logicalType": "timestamp-millis"}
    fields = [
        {"name": "who", "type": ["null", {"type": "record", "name": "who", "fields": who}]},
        {"name": "when", "type": {"type": "record", "name": "when", "fields": [{"name": "at", "type": at}]}},
        *({"name": name, "type": _avro_type(name)} for name in SCHEMA.names if name not in IN_OBJECTS),
    ]
    zoned = [row | {"at": row["at"].replace(tzinfo=dt.UTC)} for row in rows]
    fastavro.writer(made, {"type": "record", "name": "row", "fields": fields}, _nested(zoned), codec="bzip2")
    return made.getvalue()


def _stamped(write: Callable[..., bytes], stamp: Callable[[dt.datetime], Any], *more: Any) -> Write:
    """Files whose stamps are written in another form."""
    return lambda rows: write([row | {"at": stamp(row["at"])} for row in rows], *more)


def _micros(at: dt.datetime) -> int:
    return (at - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)


def _date_and_time(at: dt.datetime) -> dict[str, str]:
    return {"Day": f"{at:%d.%m.%y}", "Clock": f"{at:%T.%f}"}


def _with_stamps(kind: pa.DataType) -> pa.Schema:
    return SCHEMA.set(SCHEMA.get_field_index("at"), pa.field("at", kind))


def _csv(rows: Rows, encoding: str = "utf-8", head: bool = True, **dialect: Any) -> bytes:
    made = io.StringIO()
    writer = csv.DictWriter(made, SCHEMA.names, **{"lineterminator": "\n"} | dialect)
    if head:
        writer.writeheader()
    writer.writerows(rows)
    return made.getvalue().encode(encoding)


def _german(rows: Rows) -> bytes:
    told = [
        row | {"paid": None if row["paid"] is None else f"{row['paid']}".replace(".", ",")} for row in rows
    ]
    return b"# of the till\n" + _csv(told, "cp1252", delimiter=";")


def _headless(rows: Rows) -> bytes:
    told = [{name: "\\N" if value is None else value for name, value in row.items()} for row in rows]
    return _csv(told, head=False, delimiter="\t")


def _jsons(rows: Rows) -> list[str]:
    return [json.dumps(row, default=str) for row in rows]


def _lines(rows: Rows) -> bytes:
    return "".join(f"{text}\n" for text in _jsons(rows)).encode()


def _array(rows: Rows) -> bytes:
    return json.dumps(rows, default=str, indent=2).encode()


def _nested(rows: Rows) -> Rows:
    outer = {"user": "who", "store": "who", "at": "when"}
    told = []
    for row in rows:
        inner: dict[str, Any] = {"who": {}, "when": {}}
        for name, value in row.items():
            (inner[outer[name]] if name in outer else inner)[name] = value
        told.append(inner)
    return told


def _baskets(rows: Rows) -> Rows:
    """An object for rows in a row that share what is no part of a line; copies have one of their own."""
    baskets: Rows = []
    for row in rows:
        line = {name: row[name] for name in IN_LINES}
        head = {name: value for name, value in row.items() if name not in IN_LINES}
        if not baskets or baskets[-1] | head != baskets[-1] or line in baskets[-1]["lines"]:
            baskets.append(head | {"lines": []})
        baskets[-1]["lines"].append(line)
    return baskets


IN_OBJECTS = {"user": "who.user", "store": "who.store", "at": "when.at"}
IN_LINES = {name: f"lines.{name}" for name in ("item", "pieces", "paid")}


@dataclass(frozen=True)
class Dialect:
    """How files are written, and the format, columns, lines and stamps of the TOML that read them."""

    write: Write
    format: str
    toml: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    stamps: str = ""


NESTED = tuple(IN_OBJECTS.items())
GERMAN = '[raw.csv]\ndelimiter = ";"\ndecimal = ","\nencoding = "cp1252"\ncomment = "#"\n'
HEADLESS = f'[raw.csv]\ndelimiter = "\\t"\nnulls = ["\\\\N"]\ncolumns = {json.dumps(SCHEMA.names)}\n'
LATIN = '[raw.csv]\nencoding = "latin-1"\n'
EXPLODED = '[raw.nested]\nexplode = "lines"\n'

DIALECTS = {
    "parquet_int96": Dialect(_int96, "parquet"),
    "parquet_split": Dialect(_split, "parquet"),
    "parquet_structs": Dialect(_structs, "parquet", "", NESTED),
    "avro": Dialect(_avro, "avro"),
    "avro_nested": Dialect(_avro_nested, "avro", "", NESTED),
    "orc": Dialect(_orc, "orc"),
    "csv": Dialect(_csv, "csv"),
    "csv_gzip": Dialect(lambda rows: gzip.compress(_csv(rows)), "csv"),
    "csv_german": Dialect(_german, "csv", GERMAN),
    "csv_latin": Dialect(lambda rows: _csv(rows, "latin-1"), "csv", LATIN),
    "tsv_without_header": Dialect(_headless, "csv", HEADLESS),
    "jsonl": Dialect(_lines, "jsonl"),
    "jsonl_bzip2": Dialect(lambda rows: bz2.compress(_lines(rows)), "jsonl"),
    "jsonl_nested": Dialect(lambda rows: _lines(_nested(rows)), "jsonl", "", NESTED),
    "jsonl_exploded": Dialect(
        lambda rows: _lines(_baskets(rows)), "jsonl", EXPLODED, tuple(IN_LINES.items())
    ),
    "csv_pattern": Dialect(
        _stamped(_csv, lambda at: f"{at.day}.{at:%m.%Y %H:%M:%S.%f}"), "csv", stamps="%d.%m.%Y %H:%M:%S.%f"
    ),
    "jsonl_date_and_time": Dialect(
        lambda rows: _lines([row | _date_and_time(row.pop("at")) for row in map(dict, rows)]),
        "jsonl",
        columns=(("at", "Day || ' ' || Clock"),),
        stamps="%d.%m.%y %H:%M:%S.%f",
    ),
    "jsonl_epoch_ms": Dialect(_stamped(_lines, lambda at: _micros(at) // 1000), "jsonl", stamps="epoch_ms"),
    "avro_epoch_us": Dialect(_stamped(_avro, _micros, "null", "at"), "avro", stamps="epoch_us"),
    "orc_epoch_s": Dialect(
        _stamped(_orc, lambda at: _micros(at) / 1e6, _with_stamps(pa.float64())), "orc", stamps="epoch_s"
    ),
    "parquet_epoch_ns": Dialect(
        _stamped(_parquet, lambda at: _micros(at) * 1000, _with_stamps(pa.int64())),
        "parquet",
        stamps="epoch_ns",
    ),
    "json": Dialect(_array, "json"),
    "json_zstd": Dialect(lambda rows: zstandard.compress(_array(_nested(rows))), "json", "", NESTED),
}


def _row(user: int, **other: Any) -> dict[str, Any]:
    row = {
        "user": user,
        "item": 10,
        "at": dt.datetime(2024, 1, 1, 12, 30, user % 60, 250_000),
        "type": "purchase",
        "pieces": 1,
        "paid": Decimal("2.50"),
        "basket": user,
        "store": "Café",
    }
    return row | other


PLAIN: Rows = [
    _row(1),
    _row(1, item=11, pieces=3, paid=Decimal("1234.05")),
    _row(2, type="view", pieces=None, paid=None, store=None),
    _row(3, type="gift"),
    _row(4, pieces=-1),
    _row(5, item=None),
    _row(1),
]


def _open(tiny_with, folder: Path, dialect: Dialect):
    """The tiny data set, whose files are written in a dialect."""
    folder.mkdir()
    tiny = tiny_with(folder, format=dialect.format)
    toml = Path(tiny.settings.dataset)
    text = toml.read_text(encoding="utf-8")
    for name, path in dialect.columns:
        text = re.sub(rf'^(\w+) = "{name}"$', rf'\1 = "{path}"', text, count=1, flags=re.MULTILINE)
    if dialect.stamps:
        text = text.replace("[raw]\n", f'[raw]\nstamps = ["{dialect.stamps}"]\n')
    toml.write_text(text + dialect.toml, encoding="utf-8")
    return tiny


def _ingest(tiny, dialect: Dialect, rows: Rows):
    tiny.raw(f"events/{DAY}.{dialect.format}").write_bytes(dialect.write(rows))
    return tiny.ingest(DAY)


@pytest.fixture(scope="module")
def expected(tiny_with, tmp_path_factory, spark):
    """The digest of the small day as plain Parquet, and its counts."""
    dialect = Dialect(_parquet, "parquet")
    record = _ingest(_open(tiny_with, tmp_path_factory.mktemp("plain") / "x", dialect), dialect, PLAIN)
    return record.tables["interactions"].digest, record.counts


@pytest.mark.parametrize("name", DIALECTS)
def test_a_day_is_the_same_in_every_dialect(tiny_with, tmp_path, expected, name):
    dialect = DIALECTS[name]
    record = _ingest(_open(tiny_with, tmp_path / name, dialect), dialect, PLAIN)
    assert (record.tables["interactions"].digest, record.counts) == expected


# Expressions that give what their column holds.
SAME = {
    "user": "trim(`{}`)",
    "item": "`{}` || ''",
    "at": "coalesce(`{}`, '')",
    "type": "lower(`{}`)",
    "pieces": "2 * `{}` / 2",
    "paid": "`{}` + 0",
    "store": "coalesce(`{}`, `no such column`)",
}


@pytest.mark.parametrize(
    "name", ["parquet", "avro_nested", "orc", "csv_german", "jsonl_nested", "jsonl_exploded"]
)
def test_a_day_of_expressions_is_the_same_in_every_dialect(tiny_with, tmp_path, expected, name):
    dialect = DIALECTS.get(name, Dialect(_parquet, "parquet"))
    paths = dict(dialect.columns)
    computed = tuple((column, text.format(paths.get(column, column))) for column, text in SAME.items())
    dialect = replace(dialect, columns=computed)
    record = _ingest(_open(tiny_with, tmp_path / name, dialect), dialect, PLAIN)
    assert (record.tables["interactions"].digest, record.counts) == expected


FAULTS: dict[str, dict[str, Any]] = {
    "clean": {},
    "user_id_missing": {"user": None},
    "item_id_missing": {"item": None},
    "event_type_unknown": {"type": "gift"},
    "event_ts_outside_day": {"at": dt.datetime(2024, 2, 2, 1)},
    "amount_missing": {"paid": None},
    "amount_out_of_bounds": {"paid": Decimal("100000001.00")},
    "quantity_negative": {"pieces": -2},
    "copy": {},
    "malformed": {},
}
# Lines behind those of a file; the formats that are not here have no malformed rows.
SPOILED = {"csv": b"1,2,3\n", "jsonl": b'{"user": 1}{"user": 2}\n', "jsonl_exploded": b'{"lines": 1}\n'}
OF_EACH_FORMAT = [name for name in ("parquet", *DIALECTS) if "_" not in name or name in SPOILED]
DAYS = [DAY, DAY + dt.timedelta(days=1)]
TOLD = [name for name in FAULTS if name not in ("clean", "copy", "quantity_negative")]


@pytest.mark.parametrize("name", OF_EACH_FORMAT)
@settings(max_examples=2, deadline=None, phases=[Phase.generate])
@given(faults=st.lists(st.lists(st.sampled_from([*FAULTS]), max_size=20), min_size=2, max_size=2))
def test_the_clean_table_is_the_clean_subset_in_every_format(
    tiny_with, tmp_path_factory, spark, name, faults
):
    dialect = DIALECTS.get(name, Dialect(_parquet, "parquet"))
    tiny = _open(tiny_with, tmp_path_factory.mktemp(name) / "x", dialect)
    asked = [[fault for fault in each if fault != "malformed" or name in SPOILED] for each in faults]
    for day, each in zip(DAYS, asked, strict=True):
        data = dialect.write(_rows(day, each)) + SPOILED.get(name, b"") * each.count("malformed")
        tiny.raw(f"events/{day}.{dialect.format}").write_bytes(data)
    attempt = attempts.begin(tiny.lake, Ingest(), DAYS)
    tiny.extract(attempt)
    made = attempts.read_made(tiny.lake, Ingest(), attempt)
    for day, each in zip(DAYS, asked, strict=True):
        counts, faulty = made.counts[day], Counter(each)
        assert counts["read"] == len(each) + 1
        assert counts["read"] == sum(counts[kind] for kind in ("clean", "bad", "duplicate", "return"))
        assert (counts["duplicate"], counts["return"]) == (faulty["copy"], faulty["quantity_negative"])
        assert {fault: counts[f"bad_{fault}"] for fault in TOLD} == {fault: faulty[fault] for fault in TOLD}
        files = made.tables["interactions"][day].files
        clean = tables.read(tiny.lake.storage, "interactions", "int64", files)["context_id"].to_pylist()
        assert sorted(map(int, clean)) == [1, *(n for n, fault in enumerate(each, 2) if fault == "clean")]


def _rows(day: dt.date, faults: list[str]) -> Rows:
    """A clean row, and one for each fault; a copy is one of the first, none is malformed."""
    rows = [_row(1 if fault == "copy" else place) | FAULTS[fault] for place, fault in enumerate(faults, 2)]
    whole = [row for row, fault in zip(rows, faults, strict=True) if fault != "malformed"]
    moved = day - DAY
    return [row | {"at": row["at"] + moved} for row in (_row(1), *whole)]


class Cards(Format[None]):
    """A format that there is not: a row is lines of a name, a colon and a value, and a blank line."""

    NAME = "cards"

    def read(self, path: Path, spec: ColumnSpec, copy: Path) -> Content:
        """Read a file and write its copy."""
        cards, names = list(_cards(path)), sorted(spec.mapped)
        with Copy(copy, names) as written:
            for card in cards:
                written.add([card.get(name) for name in names])
        columns = tuple(RawColumn(name, TEXT, "STRING") for name in names)
        return Content(columns, dict.fromkeys(names, "text"), len(cards), True)


def _cards(path: Path) -> Iterator[dict[str, str]]:
    card: dict[str, str] = {}
    for line in open_lines(path):
        name, _, value = line.strip().partition(": ")
        card |= {name: value} if name else {}
        if not name:
            yield card
            card = {}


def _as_cards(rows: Rows) -> bytes:
    told = ([f"{name}: {value}\n" for name, value in row.items() if value is not None] for row in rows)
    return "".join("".join(card) + "\n" for card in told).encode()


def test_a_format_is_one_module_and_a_line(tiny_with, tmp_path, expected, monkeypatch):
    """As CONTRIBUTING says: the setting, the file check and Spark follow from the object."""
    monkeypatch.setitem(FORMATS, Cards.NAME, Cards)
    dialect = Dialect(_as_cards, "cards")
    record = _ingest(_open(tiny_with, tmp_path / "x", dialect), dialect, PLAIN)
    assert (record.tables["interactions"].digest, record.counts) == expected
