"""What the file checks refuse, by name, before Spark starts; and what they count."""

import bz2
import datetime as dt
import gzip
import io
import json
import lzma
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import FileFault
from lake.formats import csvfile, format_of, text
from lake.formats.content import ColumnSpec, distinct
from lake.formats.csvfile import Csv
from lake.formats.dialect import FLAT, RFC_4180
from lake.formats.parquet import Parquet
from lake.schemas import MALFORMED, copied_field
from lake.storage import open_storage
from nightjar.rawfiles.check import Checker, FileSpec
from nightjar.stages import attempt as attempts
from nightjar.stages.ingest import Ingest

DAY = dt.date(2024, 1, 1)
TARGETS = {"user_id": ("user", "id"), "item_id": ("item", "id"), "event_ts": ("at", "timestamp")}
HEADER = b"user,item,at\n"
ROW = b"1,2,2024-01-01T12:00:00\n"
OBJECT = b'{"user": 1, "item": 2, "at": "2024-01-01T12:00:00"}\n'


@pytest.fixture
def check(tmp_path):
    """Check a file of some bytes."""

    def check_file(data, kind="csv", suffix="", targets=TARGETS, id_type="int64", whole=False, empty=False):
        name = f"day.{kind}{suffix}"
        (tmp_path / name).write_bytes(data)
        lake = open_storage((tmp_path / "lake").as_uri())
        checker = Checker(open_storage(tmp_path.as_uri()), lake, "a1")
        form = format_of(SimpleNamespace(format=kind, csv=RFC_4180, nested=FLAT))
        return checker.check(FileSpec(name, DAY, form, targets, id_type, whole, empty))

    return check_file


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (ROW + b'1,"2,3\n' + ROW * 500, "opens in line 3 and is not .unexpected end of data"),
        (ROW * 499 + b'1,"2,3\n' + ROW + b'1,2",3\n', "line 501 and takes in the rows up to line 503"),
        (b'1,"2,3\n1,2",3\n', "opens in line 2 and takes in the rows up to line 3"),
        (b'1,2,"a\n' + ROW * 200 + b"\n" + ROW * 200 + b'1,2,3"\n', "takes in the rows up to line 404"),
        (b'1,2,"a\n' + ROW * 200 + b"1,2\n" + ROW * 200 + b'1,2,3"\n', "takes in the rows up to line 404"),
        (b'1,2,3,"a\n' + ROW * 9 + b'1,2,3"\n', "line 2 and takes in the rows up to line 12"),
        (ROW + b'1,"2\n3"4,5\n', "opens in line 3 and is not"),
        (ROW + b'1,"2"3,4\n', "opens in line 3 and is not .',' expected"),
        (ROW + b'1,"2" ,4\n', "opens in line 3 and is not"),
        (b'1,"a\\"b",3\n', "opens in line 2 and is not"),
        (b'1,"' + b"x" * 200_000 + b'",3\n', "at most 131072 letters, found a longer one in line 2"),
        (b'1,"\n' + ROW * 10_000, "a longer one in line .*perhaps the quote of line 2 is not closed"),
        (ROW + b"1,2\r3,4\n", "a carriage return alone in line 3"),
        (ROW + b"1,tea\xe9,3\n", "text in UTF-8, found byte 0xe9 at place 6 of line 3"),
        (ROW + b"1,tea\xc3", "text in UTF-8, found byte 0xc3 at place 6 of line 3"),
        (ROW + b"1,\x00,3\n", "text in UTF-8, found a NUL byte in line 3"),
        (b"", "rows, found none"),
    ],
)  # fmt: skip
def test_a_csv_file_that_cannot_be_taken_is_refused_by_line(check, data, told):
    """One open quote took in all rows after it, and wrong bytes became one letter for all, before."""
    with pytest.raises(FileFault, match=rf"day\.csv: expected .*{told}.*; .*, then run 2024-01-01 again$"):
        check(HEADER + data)


@pytest.mark.parametrize(
    "data",
    [
        b'"a, b",1,2,"cut\nc,3,4,d"\n',  # was one clean row of two, as all below
        b'a,1,2,"red, big\nc,3,4,5 inch"\n',
        b'a,1,2,"red, big, new\nc,3,4,5 inch"\n',
        b'a,1,"2, ""b"", c\nc,3,4",5\n',
        b'a,"1, b, c, d\nc,3",4,5\n',
        b'"a, b","1, 2, 3",2,"red, big\nc,3,4,d"\n',
        b'a,1,2,"red, big\n\nc,3,4,5 inch"\n',
        b'a,1,2,"red, big\r\nc,3,4,5 inch"\r\n',
        b'"a\nb",1,2,"red, big\nc,3,4,5 inch"\n',
    ],
)
def test_a_row_that_an_open_quote_takes_in_is_found_beside_commas_in_values(check, data):
    with pytest.raises(FileFault, match=r"opens in line [34] and takes in the rows up to line [45]"):
        check(b"note,user,item,at\nx,1,2,3\n" + data)


@pytest.mark.parametrize(
    "data",
    [
        b'a,1,2,"red, big\nand, new"\n',
        b'"a, b",1,2,"red\nbig"\n',
        b'"a, b\nc, d, e",1,2,3\n',
        b'"a, b\nc",1,2,"d, e"\n',
        b'a,"x, ""y"", z\nb",2,3\n',
        b'"a\nb","c, d","e, f","g, h"\n',
        b'"a\nb",1,2,"c\nd"\n',  # was refused
    ],
)
def test_values_of_two_lines_with_commas_are_values(check, tmp_path, data):
    found = check(b"note,user,item,at\nx,1,2,3\n" + data)
    copy = pq.read_table(tmp_path / "lake" / found.copy)
    assert (found.rows, copy[MALFORMED].null_count) == (2, 2)


@pytest.mark.parametrize(
    ("data", "malformed"),
    [
        (b'1, "2",3\n', True),  # was the id "2" with its quotes
        (b'1,\t "2 ""b""" ,3\n', True),
        (b' "1",2,3\n', True),
        (b'1, "2, 3"\n', True),
        ('1,\u00a0"2",3\n'.encode(), True),
        (b'"1, ""2""",2,3\n', False),
        (b'" ""1""",2,3\n', False),
        (b'"1\n, ""2""",2,3\n', False),
        (b'1, 2"",3\n', False),
    ],
)
def test_a_quote_behind_a_blank_is_no_quote_nor_part_of_a_value(check, tmp_path, data, malformed):
    copy = pq.read_table(tmp_path / "lake" / check(HEADER + ROW + data).copy)
    assert copy[MALFORMED].is_valid().to_pylist() == [False, malformed]


def test_a_quote_of_the_header_that_takes_in_rows_is_refused(check):
    """200 rows were gone, and the counts balanced."""
    with pytest.raises(FileFault, match="one that opens in line 1 and takes in the rows up to line 202"):
        check(b'user,item,at,"note\n' + b"1,2,3,4\n" * 200 + b'1,2,3,4"\n' + b"1,2,3,4\n")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-16", "byte order mark of UTF-16"),
        ("utf-16-le", "a NUL byte in line 1"),
        ("utf-32", "byte order mark of UTF-32"),
    ],
)
def test_other_encodings_are_refused_by_name(check, kind, encoding, told):
    data = (HEADER + ROW if kind == "csv" else OBJECT).decode().encode(encoding)
    with pytest.raises(FileFault, match=rf"expected text in UTF-8, found .*{told}.*deliver it in UTF-8"):
        check(data, kind)


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (ROW, 1),
        (ROW * 50_001, 50_001),
        (ROW.replace(b"\n", b"\r\n") * 2, 2),
        (b"\n" + ROW + b"\r\n\n" + ROW, 2),
        (b'1,"two\nlines",3\n' + ROW, 2),
        (b'1,"first\nwith a \rlone return\nlast",3\n' + ROW, 2),  # once an error without a file
        (b'1,"a\n\n\nb",3\n' + ROW, 2),
        (b'1,"one\ntwo, three, four\nfive\nsix\nseven",3\n' + ROW, 2),
        (b'1,"",3\n1,"a ""b""",3\n', 2),
        (b'1,5" pipe,3\n', 1),
        (b"1,2\n1,2,3,4\n \n", 3),
    ],
)
def test_csv_records_are_counted_by_their_own_boundaries(check, data, rows):
    assert check(HEADER + data).rows == rows


@pytest.mark.parametrize(
    ("last", "told"),
    [(ROW.strip(), ["line 3, the last, has no line end: it may be cut"]), (b"1,2", []), (ROW, [])],
)
def test_a_whole_last_row_without_a_line_end_is_warned_of(check, caplog, last, told):
    assert check(HEADER + ROW + last).rows == 2
    assert [record.message.split(".csv: ")[1] for record in caplog.records] == told


def test_a_name_that_stands_for_two_columns_is_refused_where_it_is_mapped(check):
    with pytest.raises(FileFault, match="expected one column item, found more than one"):
        check(b"user,item,at,item\n1,2,3,4\n")
    assert [column.name for column in check(b"x,user,item,at,x\n1,2,3,4,5\n").columns][-1] == "x (2)"


def test_a_number_is_put_behind_a_name_that_was_there_before():
    assert distinct(["a", "a", "a (2)", "a"]) == ["a", "a (3)", "a (2)", "a (4)"]


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        (OBJECT + OBJECT.strip() + OBJECT, 2),
        (OBJECT + b"42\n[]\nNaN\n" + b'"x"\n' + b"{\n", 6),
        (OBJECT + b" \t\r\n\n" + OBJECT.strip(), 2),
        (OBJECT.strip() + b"\r\n" + OBJECT, 2),
        (b"\xef\xbb\xbf" + OBJECT, 1),
        (OBJECT + b"[" * 100_000 + b"\n", 2),
        (OBJECT[:-2] + b', "more": ' + b"[" * 600 + b"]" * 600 + b"}\n", 1),
    ],
)
def test_each_json_line_that_is_not_blank_is_a_row(check, lines, rows):
    """What was no object in a line of its own was not counted, or not read, before."""
    assert check(lines, "jsonl").rows == rows


def test_a_value_that_is_too_deep_to_be_told_is_malformed(check, tmp_path):
    """It ended the command with a RecursionError, in a bootstrap all days."""
    deep = b'{"item": 1, "more": ' + b"[" * 600 + b"]" * 600 + b"}\n"
    found = check(deep + b'{"item": 2}\n', "jsonl", targets={"item_id": ("item", "id")}, whole=True)
    copy = pq.read_table(tmp_path / "lake" / found.copy)
    assert (found.rows, copy[MALFORMED].is_valid().to_pylist()) == (2, [True, False])


def test_an_id_that_is_true_or_false_is_malformed_and_other_values_are_not(check, tmp_path):
    """Users called "false" were clean."""
    lines = b'{"user": false, "shop": true}\n{"user": "a", "shop": true}\n'
    targets = {"user_id": ("user", "id"), "segment": ("shop", "string")}
    found = check(lines, "jsonl", targets=targets, id_type="string")
    copy = pq.read_table(tmp_path / "lake" / found.copy)
    assert copy[MALFORMED].is_valid().to_pylist() == [True, False]


def test_a_file_that_is_being_written_is_refused(check, tmp_path, monkeypatch):
    """The rows that were there went in, under the digest of more."""
    read = text.open_lines

    def open_lines(path, *dialect):
        lines = read(path, *dialect)
        with (tmp_path / "day.csv").open("ab") as more:
            more.write(ROW)
        return lines

    monkeypatch.setattr(csvfile, "open_lines", open_lines)
    with pytest.raises(FileFault, match="found one that changed while it was read; deliver it under another"):
        check(HEADER + ROW)


@pytest.mark.parametrize("after", [False, True])
def test_a_file_that_is_removed_while_it_is_read_is_a_fault_of_its_day(check, monkeypatch, after):
    """It was a bare FileNotFoundError, which ended a bootstrap of any days."""

    whole = Csv.read

    def read(self, path, asked, copy):
        content = whole(self, path, asked, copy) if after else None
        path.unlink()
        return content or whole(self, path, asked, copy)

    monkeypatch.setattr(Csv, "read", read)
    with pytest.raises(FileFault, match="found one that was removed while it was read; deliver it again"):
        check(HEADER + ROW)


def test_a_json_array_is_refused_by_name(check):
    with pytest.raises(FileFault, match="found a JSON array; let format be .json., or deliver"):
        check(b"[" + OBJECT.strip() + b",\n" + OBJECT + b"]", "jsonl")


@pytest.mark.parametrize("data", [b"", b"\n", b" \n\r\n", b"\xef\xbb\xbf"])
def test_json_lines_without_any_are_the_empty_file_of_a_closed_day(check, data):
    """There was no way to write one: 0 bytes were refused, and blank lines for their columns."""
    found = check(data, "jsonl", empty=True)
    assert (found.rows, {column.name for column in found.columns}) == (0, {"user", "item", "at"})
    with pytest.raises(FileFault, match=r"expected rows, found none; deliver .*raw\.closed_days"):
        check(data, "jsonl")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_has_a_head_is_never_of_no_bytes(check, kind):
    with pytest.raises(FileFault, match=f"expected a {kind} file, found 0 bytes; deliver it again"):
        check(b"", kind, empty=True)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'\n{\n "user": 1,\n "item": 2\n}\n', "4 rows; the first is line 2: `{`"),
        (b'[1, 2, "2024-01-01"]\n' * 3, r"3 rows; the first is line 1: `\[1, 2, \"2024-01-01\"\]`"),
        (HEADER + ROW, "2 rows; the first is line 1: `user,item,at`"),
        (b"x" * 99, "1 rows; the first is line 1: `" + "x" * 60 + r"\.\.\.`"),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_a_file_without_any_object_is_told_as_that(check, data, told, whole):
    """It was told to lack columns."""
    expected = f"expected one JSON object a line, found none in {told}; write each row as an object"
    with pytest.raises(FileFault, match=expected):
        check(data, "jsonl", whole=whole)


def test_objects_of_objects_alone_are_malformed_rows_and_lack_no_column(check):
    """The file was told to have no columns at all."""
    assert check(OBJECT.replace(b"1", b'{"id": 1}', 1) * 2, "jsonl").rows == 2


def test_a_line_without_an_end_is_not_held_in_memory(check, monkeypatch):
    monkeypatch.setattr(text, "LONGEST_LINE", 100)
    with pytest.raises(FileFault, match="expected lines of at most 100 bytes, found a longer one, line 2"):
        check(OBJECT + OBJECT.strip() * 3, "jsonl")


ZSTD = zstandard.ZstdCompressor(write_checksum=True)
PACKS = {"gzip": gzip.compress, "bz2": bz2.compress, "zstd": ZSTD.compress}


@pytest.mark.parametrize("name", PACKS)
@pytest.mark.parametrize("suffix", ["", ".gz", ".txt"])
def test_compressed_text_is_known_by_its_bytes_and_read_to_its_end_or_refused(check, suffix, name):
    """It was known by its name: a stream without that name, or a name without that stream, was refused."""
    whole = PACKS[name](HEADER + ROW * 1000)
    damaged = bytes([*whole[: len(whole) // 2], *bytes(8), *whole[len(whole) // 2 + 8 :]])
    assert check(whole, suffix=suffix).rows == 1000
    assert check(whole + PACKS[name](ROW), suffix=suffix).rows == 1001
    assert check(HEADER + ROW, suffix=suffix).rows == 1
    for spoiled in (whole[:-1], whole[:-9], whole[: len(whole) // 2], whole + b"rubbish", damaged):
        told = f"expected a whole {name} stream, found one that is cut or damaged .*; deliver it again"
        with pytest.raises(FileFault, match=told):
            check(spoiled, suffix=suffix)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_has_nothing_packed_is_without_rows(check, kind):
    for pack in PACKS.values():
        with pytest.raises(FileFault, match=r"expected rows, found none; deliver .*raw\.closed_days"):
            check(pack(b""), kind)


@pytest.mark.parametrize(
    ("head", "told"),
    [(b"PK\x03\x04", "a zip archive"), (lzma.compress(b"")[:6], "xz"), (b'\x04"M\x18', "LZ4")],
)
def test_other_compression_is_refused_by_name(check, head, told):
    with pytest.raises(FileFault, match=f"found {told}; deliver it plain, or compressed by gzip, zstd or"):
        check(head + HEADER + ROW)


def _parquet(tmp_path, table, **options):
    path = tmp_path / "made.parquet"
    pq.write_table(table, path, **options)
    return path.read_bytes()


def _table(**changes):
    stamps = pa.array([dt.datetime(2024, 1, 1, 12)] * 3)
    return pa.table({"user": [1, 2, 3], "item": [1, 2, 3], "at": stamps} | changes)


def test_a_page_that_is_not_what_was_written_is_refused_by_column(check, tmp_path):
    """A quantity of 257 was read for 1."""
    options = {"write_page_checksum": True, "use_dictionary": False, "compression": "none"}
    data = bytearray(_parquet(tmp_path, _table(item=[7] * 3), **options))
    data[data.index((7).to_bytes(8, "little") * 3) + 1] = 1
    with pytest.raises(FileFault, match="expected a whole parquet file, found column item .*CRC checksum"):
        check(bytes(data), "parquet")


def test_text_of_parquet_is_checked_where_it_is_mapped(check, tmp_path):
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 1, 2, 6)))
    wrong = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"abtea\xe9"))
    data = _parquet(tmp_path, _table(item=wrong))
    with pytest.raises(FileFault, match=r"column item \(text in UTF-8\), found other bytes in row 3"):
        check(data, "parquet", id_type="string")
    assert check(_parquet(tmp_path, _table(more=wrong)), "parquet").copy


@pytest.mark.parametrize(
    ("values", "id_type", "told"),
    [
        (pa.array([b"a"] * 3), "string", "to string without loss, found binary values"),
        (pa.array([b"a"] * 3, pa.binary(1)), "string", r"found fixed_size_binary\[1\] values"),
        (pa.array([1] * 3, pa.time64("us")), "string", r"found time64\[us\] values"),
        (pa.array([[1]] * 3), "string", "found list<element: int64> values"),
        (pa.array([b"0" * 16] * 3, pa.uuid()), "int64", "found extension<arrow.uuid> values"),
        (pa.array([1] * 3, pa.duration("us")), "int64", r"found duration\[us\] values"),
    ],
)
def test_a_mapped_type_without_a_rule_is_refused_by_name(check, tmp_path, values, id_type, told):
    with pytest.raises(FileFault, match=f"expected column item castable .*{told}"):
        check(_parquet(tmp_path, _table(item=values)), "parquet", id_type=id_type)


WHO = pa.array([{"id": 1, "tags": ["a"]}, None, {"id": None, "tags": []}])


def test_a_name_leads_into_structs_of_parquet(check, tmp_path):
    """A struct that is null has nothing in it; a column of the whole name is meant where there is one."""
    targets = {"user_id": ("who.id", "id"), "item_id": ("item", "id")}
    found = check(_parquet(tmp_path, _table(who=WHO)), "parquet", targets=targets)
    inner = [(column.name, column.family) for column in found.columns if column.inner]
    copy = pq.read_table(tmp_path / "lake" / found.copy)
    assert (inner, copy[copied_field("who.id")].to_pylist()) == ([("who.id", "integer")], [1, None, None])
    plain = check(_parquet(tmp_path, _table(**{"who": WHO, "who.id": [7, 8, 9]})), "parquet", targets=targets)
    assert (plain.copy, [column.inner for column in plain.columns]) == ("", [False] * 5)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            pa.array([1] * 3),
            "int64 values; .*, or let raw.stamps name the form of such numbers, as epoch_s, ",
        ),
        (pa.array([1.0] * 3), "double values; .*, or let raw.stamps name"),
        (pa.array([1.0] * 3, pa.float32()), "float values; deliver it with such a type, then"),
        (pa.array([True] * 3), "bool values; deliver it with such a type, then"),
    ],
)
def test_numbers_for_stamps_need_a_form(check, tmp_path, values, told):
    with pytest.raises(FileFault, match=f"column at castable to timestamp without loss, found {told}"):
        check(_parquet(tmp_path, _table(at=values)), "parquet", targets=TARGETS)


@pytest.mark.parametrize("name", ["who.no", "who.id.more", "who.tags.a", "what.id", "who."])
def test_a_name_that_leads_nowhere_is_a_column_that_is_missing(check, tmp_path, name):
    data = _parquet(tmp_path, _table(who=WHO))
    with pytest.raises(FileFault, match=rf"expected the columns item, {name}, found .* .without {name}."):
        check(data, "parquet", targets={"user_id": (name, "id"), "item_id": ("item", "id")})


def test_a_column_of_two_meanings_is_asked_for_both(check, tmp_path):
    """Only the last was: a text for int64 ids ended in Spark with a KeyError."""
    both = {"item_id": ("sku", "id"), "name": ("sku", "string")}
    data = _parquet(tmp_path, pa.table({"sku": ["a"]}))
    assert check(data, "parquet", targets=both, id_type="string").rows == 1
    with pytest.raises(FileFault, match="column sku castable to int64 without loss, found string values"):
        check(data, "parquet", targets=both)


@pytest.mark.parametrize("kind", [pa.list_(pa.uuid()), pa.struct([("a", pa.json_())])], ids=str)
def test_an_unmapped_column_that_spark_has_no_type_for_may_be_nested(check, tmp_path, kind):
    """The file was told to be cut."""
    assert check(_parquet(tmp_path, _table(more=pa.nulls(3, kind))), "parquet").copy


VARIANT = pa.struct([("metadata", pa.binary()), ("value", pa.binary())])
SHREDDED = pa.struct([("metadata", pa.binary()), ("typed_value", pa.struct([("a", pa.int64())]))])


@pytest.mark.parametrize(
    "kind",
    [VARIANT, SHREDDED, pa.list_(VARIANT), pa.struct([("a", VARIANT)]), pa.map_(pa.string(), VARIANT)],
    ids=str,
)
def test_what_may_be_a_variant_is_copied_and_not_mapped(check, tmp_path, kind):
    """Spark took it for one, and ended the day with its own words."""
    assert check(_parquet(tmp_path, _table(more=pa.nulls(3, kind))), "parquet").copy
    with pytest.raises(
        FileFault, match="column item castable to string without loss, found (struct|list|map)<"
    ):
        check(_parquet(tmp_path, _table(item=pa.nulls(3, kind))), "parquet", id_type="string")


FAR = 4 * 10**18
NOON = 1_704_110_400_000


def _copied(check, tmp_path, **columns):
    """What the copy of a file holds of its last column."""
    found = check(_parquet(tmp_path, _table(**columns)), "parquet")
    copy = pq.read_table(tmp_path / "lake" / found.copy)
    return found.columns, copy.column(len(found.columns) - 1).to_pylist()


MOST = (2**63 - 1) // 1000
MILLIS = pa.timestamp("ms")


def _pair(key, value):
    return f'[{{"key": {key}, "value": {value}}}]'


@pytest.mark.parametrize("far", [FAR, -FAR, MOST + 1, -MOST - 1])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (MILLIS, ["2024-01-01 12:00:00.000", "{far}"]),
        (pa.timestamp("ms", "Mars/Base"), ["2024-01-01 12:00:00.000Z", "{far}"]),
        (pa.list_(MILLIS), ['["2024-01-01 12:00:00.000"]', "[{far}]"]),
        (pa.list_(MILLIS, 1), ['["2024-01-01 12:00:00.000"]', "[{far}]"]),
        (pa.map_(MILLIS, pa.int8()), [_pair('"2024-01-01 12:00:00.000"', 1), _pair("{far}", 1)]),
        (
            pa.map_(pa.int8(), pa.list_(MILLIS)),
            [_pair(1, '["2024-01-01 12:00:00.000"]'), _pair(1, "[{far}]")],
        ),
    ],
    ids=str,
)
def test_milliseconds_that_spark_does_not_hold_are_words(check, tmp_path, far, kind, words):
    """It was a "long overflow", for whole files."""
    values = [_nested(number, kind) for number in (NOON, far)]
    found = _copied(check, tmp_path, more=pa.array([*values, None], kind))[1]
    assert found == [*(word.replace("{far}", str(far)) for word in words), None]


def _nested(number, kind):
    if pa.types.is_map(kind):
        return [(_nested(number, kind.key_type), _nested(number, kind.item_type))]
    if pa.types.is_nested(kind):
        return [_nested(number, kind.value_type)]
    return 1 if pa.types.is_integer(kind) else number


def test_the_last_milliseconds_that_spark_holds_need_no_copy(check, tmp_path):
    values = pa.array([MOST, -MOST, None], MILLIS)
    assert not check(_parquet(tmp_path, _table(more=values)), "parquet").copy


def test_a_mapped_column_of_such_milliseconds_is_read_as_words(check, tmp_path):
    stamps = pa.array([NOON, FAR, None], pa.timestamp("ms", "UTC"))
    columns, values = _copied(check, tmp_path, at=stamps)
    assert (columns[-1].family, columns[-1].type) == ("text", "STRING")
    assert values == ["2024-01-01 12:00:00.000Z", str(FAR), None]
    data = _parquet(tmp_path, _table(item=stamps))
    with pytest.raises(FileFault, match=r"column item castable to string .* found timestamp\[ms, tz=UTC\]"):
        check(data, "parquet", id_type="string")


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        (10**18, pa.timestamp("us"), 10**18),  # was <value out of range: ...>
        (10**18, pa.timestamp("us", "UTC"), 10**18),  # was -31878-09-27: years were wrapped
        (NOON * 1000, pa.timestamp("us", "Mars/Base"), "2024-01-01 12:00:00.000000Z"),  # was a bare KeyError
        (NOON * 1000, pa.timestamp("us", "Europe/Berlin"), "2024-01-01 12:00:00.000000Z"),
        (NOON * 10**6, pa.timestamp("ns"), "2024-01-01 12:00:00.000000000"),
        (-62_135_596_800_000, pa.timestamp("ms"), "0001-01-01 00:00:00.000"),
        (-62_135_596_800_001, pa.timestamp("ms"), -62_135_596_800_001),
        (253_402_300_799_999, pa.timestamp("ms"), "9999-12-31 23:59:59.999"),
        (253_402_300_800_000, pa.timestamp("ms"), 253_402_300_800_000),
        (Decimal(0), pa.decimal256(60, 38), f"0.{'0' * 38}"),  # was 0E-38
        (Decimal("1E-9"), pa.decimal128(38, 9), "0.000000001"),
    ],
)
def test_values_within_others_have_words_that_differ_where_they_do(check, tmp_path, value, kind, told):
    nested = pa.struct([("v", kind), ("at", pa.time64("us"))])
    array = pa.array([[{"v": value}], None, None], pa.list_(nested))
    _, (first, *_) = _copied(check, tmp_path, more=array)
    assert json.loads(first) == [{"v": told, "at": None}]


@pytest.mark.parametrize("kind", [pl.Int128, pl.UInt128])
def test_types_that_only_the_writer_s_schema_names_are_those_of_the_file(check, kind):
    """The file was told to be damaged, whoever had mapped the column."""
    frame = pl.from_arrow(_table(more=pa.array([1, 2, None]))).with_columns(pl.col("more").cast(kind))
    found = check(_written(frame), "parquet")
    assert (found.rows, found.columns[-1].type, found.copy) == (3, "BINARY", "")
    with pytest.raises(FileFault, match=r"column item castable .* found fixed_size_binary\[16\] values"):
        check(_written(frame.with_columns(pl.col("item").cast(kind))), "parquet")


def test_a_writer_s_schema_that_cannot_be_read_says_nothing_of_the_file(check, tmp_path):
    """The file was told to be damaged."""
    data = _parquet(tmp_path, _table())
    place = data.index(b"/////")
    spoiled = data[:place] + b"AAAAAAAA" + data[place + 8 :]
    assert [column.family for column in check(spoiled, "parquet").columns] == ["integer", "integer", "local"]


@pytest.mark.parametrize("size", [1, 3])
def test_lists_of_one_size_may_be_missing(check, tmp_path, size):
    """Arrow does not read them as such: the file was told to be damaged, whoever had mapped the column."""
    values = pa.array([[0] * size, None, None], pa.list_(pa.int64(), size))
    assert check(_parquet(tmp_path, _table(more=values)), "parquet").columns[-1].type == "ARRAY<BIGINT>"


def _written(frame):
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def test_wide_decimals_are_written_as_plain_numbers(check, tmp_path):
    """Zero was 0E-38, which is no plain number: a free item had an unreadable amount."""
    wide = pa.array([Decimal(0), Decimal("1E-7"), None], pa.decimal256(76, 38))
    found = check(_parquet(tmp_path, _table(paid=wide)), "parquet")
    copy = pq.read_table(tmp_path / "lake" / found.copy)
    assert copy.column(3).to_pylist() == [f"0.{'0' * 38}", f"0.0000001{'0' * 31}", None]


def test_enums_of_avro_are_texts(check, tmp_path):
    """They were refused as bytes."""
    kinds = pa.array(["view", "buy", "view"])
    data = _parquet(tmp_path, _table(type=kinds), store_schema=False, use_dictionary=False)
    as_enum = data.replace(b"type\x25\x00\x4c\x1c\x00\x00", b"type\x25\x08\x4c\x4c\x00\x00")
    found = check(as_enum, "parquet", targets=TARGETS | {"event_type": ("type", "string")})
    assert as_enum != data
    assert (found.columns[3].family, found.columns[3].type, found.copy) == ("string", "STRING", "")
    with pytest.raises(FileFault, match=r"column type \(text in UTF-8\), found other bytes in row 2"):
        check(
            as_enum.replace(b"buy", b"b\xffy"),
            "parquet",
            targets=TARGETS | {"event_type": ("type", "string")},
        )


def test_a_folder_at_the_place_of_a_file_is_told(tmp_path):
    """Spark writes folders: "found no file" was all that was said."""
    (tmp_path / "day.parquet").mkdir()
    (tmp_path / "day.parquet" / "part-0.parquet").write_bytes(b"x")
    checker = Checker(open_storage(tmp_path.as_uri()), open_storage(tmp_path.as_uri()), "a1")
    with pytest.raises(FileFault, match="found a folder of 1 files; deliver it as one file"):
        checker.check(FileSpec("day.parquet", DAY, Parquet(None), TARGETS, "int64"))


def test_files_that_spark_reads_itself_get_no_copy(check, tmp_path):
    assert not check(_parquet(tmp_path, _table()), "parquet").copy
    assert check(_parquet(tmp_path, _table(), compression="brotli"), "parquet").copy


LETTERS = st.characters(codec="utf-8", exclude_characters="\0\r")
WITHOUT_ROWS = st.one_of(  # a value of commas and line ends may look like rows, which is refused
    st.text(LETTERS).map(lambda value: value.replace(",", ";")),
    st.text(LETTERS).map(lambda value: value.replace("\n", " ")),
)


@given(st.lists(st.tuples(WITHOUT_ROWS, WITHOUT_ROWS, WITHOUT_ROWS)))
def test_what_a_csv_writer_wrote_is_what_is_read(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("csv")
    quoted = [",".join('"' + value.replace('"', '""') + '"' for value in row) + "\r\n" for row in rows]
    (folder / "x.csv").write_text("a,b,c\r\n" + "".join(quoted), encoding="utf-8", newline="")
    content = Csv(RFC_4180).read(folder / "x.csv", ColumnSpec({}), folder / "copy.parquet")
    copied = pq.read_table(folder / "copy.parquet").to_pylist()
    assert content.rows == len(rows)
    assert [tuple(row[f"raw_{name}"] or "" for name in "abc") for row in copied] == rows


def test_a_refused_day_leaves_no_copy_behind(tiny_with, tmp_path):
    tiny = tiny_with(tmp_path, format="csv")
    path = Path(tiny.settings.dataset)
    path.write_text(path.read_text(encoding="utf-8").replace("{partition}.csv", "{partition}*.csv"), "utf-8")
    tiny.raw(f"events/{DAY}.csv").write_bytes(HEADER + ROW)
    tiny.raw(f"events/{DAY}-more.csv").write_bytes(b"user,item\n1,2\n")
    with pytest.raises(FileFault, match=r"-more\.csv: .*without at"):
        attempts.begin(tiny.lake, Ingest(), [DAY])
    assert open_storage(tiny.settings.lake).list("attempts") == []


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        (
            "pieces * price",
            r"expected the columns at, item, pieces, price, user, found .*\(without pieces, price\)",
        ),
        ("item * price", r"found user, item, at, is_gift, raw \(without price\); deliver it with them"),
        (
            "pieces*2",
            r"\(without pieces\*2\).*\(pieces\*2 is read as a name: an expression has a blank on both",
        ),
        (
            "item * is_gift",
            r"column is_gift castable to a number \(in item \* is_gift\) without loss, found bool",
        ),
        (
            "item * at",
            r"column at castable to a number .* found timestamp\[us\] values; deliver it with such a type",
        ),
        ("replace(raw, 'a', '') * 2", r"column raw castable to a text .* found binary values"),
    ],
)
def test_an_expression_is_refused_by_the_column_that_it_lacks_or_cannot_use(
    check, tmp_path, expression, told
):
    at = pa.array([dt.datetime(2024, 1, 1, 12)], pa.timestamp("us"))
    columns = {"user": [1], "item": [2], "at": at, "is_gift": [True], "raw": [b"a"]}
    data = _parquet(tmp_path, pa.table(columns))
    targets = TARGETS | {"amount": (expression, "decimal(18,2)")}
    with pytest.raises(FileFault, match=told):
        check(data, "parquet", targets=targets)


def test_json_keeps_the_fields_that_expressions_name(check):
    targets = {"user_id": ("who.id", "id"), "amount": ("coalesce(order.n, 1) * price", "decimal(18,2)")}
    found = check(b'{"who": {"id": 1}, "order": {"n": 2}, "price": 3, "x": 4}\n', "jsonl", targets=targets)
    assert [column.name for column in found.columns] == ["order.n", "price", "who.id"]
