"""CSV files in the dialects that a data set may name; `test_rawfiles.py` has those of the default."""

import datetime as dt
import itertools
from functools import cache

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import FileFault
from lake.formats import text
from lake.formats.content import ColumnSpec
from lake.formats.csvfile import Csv
from lake.formats.dialect import CsvSection
from lake.schemas import MALFORMED
from lake.storage import open_storage
from nightjar.rawfiles.check import Checker, FileSpec

DAY = dt.date(2024, 1, 1)
TARGETS = {"user_id": ("a", "id"), "item_id": ("b", "id"), "segment": ("c", "string")}


@pytest.fixture
def read(tmp_path):
    """The rows of a file by its text and dialect, those that are malformed as their text."""

    def read_text(content: str, **keys):
        dialect = CsvSection(**keys)
        path, copy = tmp_path / "x.csv", tmp_path / "copy.parquet"
        path.write_bytes(content.encode(dialect.encoding))
        found = Csv(dialect).read(path, ColumnSpec({}), copy)
        return rows_of(copy, len(found.columns), found.rows)

    return read_text


def rows_of(copy, width, count):
    """The rows of a copy, of which there are as many as were counted."""
    rows = pq.read_table(copy).to_pylist()
    assert len(rows) == count
    return [row[MALFORMED] or tuple(row.values())[:width] for row in rows]


@pytest.fixture
def refusal(tmp_path):
    """What is said of a file of some bytes in a dialect."""

    def check(data: bytes, empty=False, **keys):
        (tmp_path / "day.csv").write_bytes(data)
        checker = Checker(open_storage(tmp_path.as_uri()), open_storage((tmp_path / "lake").as_uri()), "a1")
        spec = FileSpec("day.csv", DAY, Csv(CsvSection(**keys)), TARGETS, "string", may_be_empty=empty)
        with pytest.raises(FileFault) as raised:
            checker.check(spec)
        return str(raised.value).partition("day.csv: ")[2].removesuffix(", then run 2024-01-01 again")

    return check


@pytest.mark.parametrize(
    ("content", "keys", "rows"),
    [
        ("a;b\n1;2,5\n", {"delimiter": ";"}, [("1", "2,5")]),
        ('a\tb\n1\t"2\t3"\n\t\n', {"delimiter": "\t"}, [("1", "2\t3"), (None, None)]),
        ('a\tb\tc\n1\t\t"2"\n', {"delimiter": "\t"}, [("1", None, "2")]),
        ('a|b\n1|"2" \n', {"delimiter": "|", "quote": ""}, [("1", '"2" ')]),
        ("a,b\n1,'2,''3'\n", {"quote": "'"}, [("1", "2,'3")]),
        ("a,b\n\"1\",2'3'\n", {"quote": "'"}, [('"1"', "2'3'")]),
        ("a b\n1 2\n", {"delimiter": " "}, [("1", "2")]),
        ('a,b\n"1\\"\\\\",2\\,3\n', {"escape": "\\"}, [('1"\\', "2,3")]),
        ('a,b\n"1\\,2",\\"3\n', {"escape": "\\"}, [("1,2", '"3')]),
        ("a,b\nC:\\new,\\N\n", {"escape": "\\"}, [("C:\\new", "\\N")]),
        ("a\tb\n1\\\t2\t\\\\t\n", {"delimiter": "\t", "quote": "", "escape": "\\"}, [("1\t2", "\\t")]),
        (
            "a::b::c\n1::2:3::\n:::::\n",
            {"delimiter": "::", "quote": ""},
            [("1", "2:3", None), (None, None, ":")],
        ),
        ("1::2\n3::4::5\n", {"delimiter": "::", "quote": "", "columns": ("a", "b")}, [("1", "2"), "3::4::5"]),
        ("1,2\n3,4\n", {"columns": ("a", "b")}, [("1", "2"), ("3", "4")]),
        ("a,b\nNULL,null\n\\N,NULL \n", {"nulls": ("NULL", "\\N")}, [(None, "null"), (None, "NULL ")]),
        ('a,b\n"NULL",""\n', {"nulls": ("NULL",)}, [(None, None)]),
        ("a,b\n1,\\N\n", {"nulls": ("\\N",), "escape": "\\"}, [("1", None)]),
        ("# x\na,b\n1,2\n#3,4\n5,#6\n", {"comment": "#"}, [("1", "2"), ("5", "#6")]),
        ('a,b\n1,"2\n#3"\n#"\n4,5\n', {"comment": "#"}, [("1", "2\n#3"), ("4", "5")]),
        ("a,b\n--1,2\n-1,2\n", {"comment": "--"}, [("-1", "2")]),
        ("a,b\ncafé,ł\n", {"encoding": "cp1250"}, [("café", "ł")]),
        ("a,b\r\n\u0a0a,\u0a00\u010a\u0d0a\r\n1,2", {"encoding": "utf-16"}, None),
        ("a,b\r\n\u0a0a,\u0a00\u010a\u0d0a\r\n1,2", {"encoding": "utf-16-le"}, None),
        ("a,b\r\n\u0a0a,\u0a00\u010a\u0d0a\r\n1,2", {"encoding": "utf-16-be"}, None),
        ("a,b\r\n\u0a0a,\u0a00\u010a\u0d0a\r\n1,2", {"encoding": "utf-32"}, None),
        ("a,b\n1,ソ表\n", {"encoding": "shift_jis"}, [("1", "ソ表")]),
        ("\u8b1f,b\n1,2\n", {"encoding": "utf-16-le"}, [("1", "2")]),  # its first bytes are those of gzip
    ],
)
def test_a_file_is_read_by_its_dialect(read, content, keys, rows):
    expected = [("\u0a0a", "\u0a00\u010a\u0d0a"), ("1", "2")] if rows is None else rows
    assert read(content, **keys) == expected


@pytest.mark.parametrize("order", ["le", "be"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(read, order):
    assert read("\ufeffa,b\n1,2\n", encoding=f"utf-16-{order}") == [("1", "2")]


@pytest.mark.parametrize(
    ("bad", "keys"),
    [
        (["1;2;3", "4"], {"delimiter": ";"}),
        (["1; '2'", "4;\u00a0'5;6'"], {"delimiter": ";", "quote": "'"}),
        (['1\t "2"', ' "4"\t5'], {"delimiter": "\t"}),
        (['1,"2""3"', '4,"""5"'], {"escape": "\\"}),
        (["1,2\\", '4,"5\\\nx"'], {"escape": "\\"}),
    ],
)
@pytest.mark.parametrize("has_header", [True, False])
def test_a_row_that_is_not_of_the_dialect_is_malformed_with_its_text(read, bad, keys, has_header):
    delimiter = keys.get("delimiter", ",")
    lines = [*bad, f"5{delimiter}6"]
    if has_header:
        lines = [f"a{delimiter}b", *lines]
    else:
        keys = keys | {"columns": ("a", "b")}
    assert read("\n".join(lines) + "\n", **keys) == [*bad, ("5", "6")]


@pytest.mark.parametrize(
    ("data", "keys", "told"),
    [
        (
            b"a;b;c\n1;'2;3\n" + b"1;2;3\n" * 9,
            {"delimiter": ";", "quote": "'"},
            "quotes that are closed, each before ';' or the line's end, found one that opens in line 2 and "
            "is not (unexpected end of data); write a quote inside a value twice (''), and close each",
        ),
        (
            b"a\tb\tc\n1\t2\t'3\n" + b"1\t2\t3\n" * 9 + b"1\t2\t3'\n",
            {"delimiter": "\t", "quote": "'"},
            "one that opens in line 2 and takes in the rows up to line 12",
        ),
        (
            b'a;b;c\n1;2\\;;"3 \\"\n' + b"1;2;3\\;\n" * 9 + b'1;2;3"\n',
            {"delimiter": ";", "escape": "\\"},
            'takes in the rows up to line 12; write a quote inside a value as \\", and close each',
        ),
        (
            b"1;'2\n" + b"1;2;3\n" * 9 + b"1;2;3'\n",
            {"delimiter": ";", "quote": "'", "columns": ("a", "b", "c")},
            "one that opens in line 1 and takes in the rows up to line 11",
        ),
        (b'a,b,c\n1,"2"3,4\n', {"escape": "\\"}, "opens in line 2 and is not (',' expected after '\"')"),
        (b"a;b;c\n1;2\r3;4\n", {"delimiter": ";"}, "a carriage return alone in line 2"),
        (
            b"a,b,c\n1,2," + b"3" * 200_000,
            {"quote": ""},
            "found a longer one in line 2; deliver it with shorter ones",
        ),
        (b"a,b,c\n1,2\n", {"delimiter": ";"}, "the columns a, b, c, found a,b,c (without a, b, c); deliver"),
    ],
)  # fmt: skip
def test_a_file_that_its_dialect_does_not_fit_is_refused_by_line(refusal, data, keys, told):
    assert told in refusal(data, **keys)


NAMED = "or name its own as encoding in the table csv of the data set's TOML"


@pytest.mark.parametrize(
    ("data", "encoding", "told"),
    [
        (b"a,b\n1,\x81\n", "cp1252", "text in CP1252, found byte 0x81 at place 3 of line 2; deliver it in"),
        (b"a,b\n1,\xe9\n", "utf-8", f"(perhaps it is Latin-1); deliver it in UTF-8, {NAMED}"),
        (b"\xef\xbb\xbfa,b\n", "latin-1", "text in ISO8859-1, found the byte order mark of UTF-8; deliver"),
        ("a,b\n".encode("utf-16"), "latin-1", "text in ISO8859-1, found the byte order mark of UTF-16"),
        ("a,b\n".encode("utf-16-le"), "latin-1", "found a NUL byte in line 1 (perhaps it is UTF-16)"),
        (
            "a,b\n".encode("utf-16-le"),
            "utf-16",
            "a byte order mark of UTF-16, found none; deliver it with one, or let encoding be utf-16-le or",
        ),
        (b"a,b\n", "utf-16", "a byte order mark of UTF-16, found none"),
        ("\ufeffa,b\n".encode("utf-16-be"), "utf-16-le", "UTF-16-LE, found the byte order mark of UTF-16-BE"),
        ("a,b\n1,2\n".encode("utf-16-le")[:-1], "utf-16-le", "found byte 0x0a at place 7 of line 2"),
        ("a\n1\n".encode("utf-16-le") + b"\x00\xd8\n\0", "utf-16-le", "found byte 0x00 at place 1 of line 3"),
    ],
)  # fmt: skip
def test_another_encoding_is_told_by_line(refusal, data, encoding, told):
    assert told in refusal(data, encoding=encoding)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_line_without_an_end_is_not_held_in_memory(refusal, monkeypatch, encoding):
    monkeypatch.setattr(text, "LONGEST_LINE", 100)
    data = ("a,b,c\n1,2," + "3" * 200).encode(encoding)
    assert "lines of at most 100 bytes, found a longer one, line 2" in refusal(data, encoding=encoding)


def test_a_file_without_a_header_may_be_empty_on_a_closed_day(tmp_path):
    (tmp_path / "day.csv").touch()
    checker = Checker(open_storage(tmp_path.as_uri()), open_storage((tmp_path / "lake").as_uri()), "a1")
    dialect = CsvSection(columns=("a", "b", "c"))
    spec = FileSpec("day.csv", DAY, Csv(dialect), TARGETS, "string", may_be_empty=True)
    assert checker.check(spec).rows == 0


def test_an_empty_file_is_refused_as_before(refusal):
    assert refusal(b"", empty=True).startswith("expected a csv file, found 0 bytes")
    assert refusal(b"", columns=("a", "b", "c")).startswith("expected rows, found none")


LETTERS = [("delimiter", ",;\t|^ "), ("quote", ["", '"', "'", "^"]), ("escape", ["", "\\", "^", "$"])]


@st.composite
def dialects(draw):
    """A dialect whose letters mean one thing each."""
    keys = {name: draw(st.sampled_from(letters)) for name, letters in LETTERS}
    pairs = itertools.combinations(filter(None, keys.values()), 2)
    if any(one == other for one, other in pairs):
        keys = {"delimiter": ";"}
    encodings = ["utf-8", "latin-1", "cp1250", "utf-16", "utf-16-be", "utf-32", "gb18030"]
    keys |= {"encoding": draw(st.sampled_from(encodings)), "comment": draw(st.sampled_from(["", "#", "//"]))}
    return CsvSection(**keys, nulls=("NULL",), columns=draw(st.sampled_from([(), ("number", "a", "b")])))


def written(value: str, dialect: CsvSection) -> str:
    """A value as a writer of the dialect writes it."""
    quote, escape = dialect.quote, dialect.escape
    if escape:
        value = value.replace(escape, escape * 2)
        held = quote or dialect.delimiter
        value = value.replace(held, escape + held)
    elif quote:
        value = value.replace(quote, quote * 2)
    return f"{quote}{value}{quote}"


@cache
def letters(encoding: str, without: str) -> st.SearchStrategy[str]:
    return st.characters(codec=encoding, exclude_characters=without)


@st.composite
def tables(draw):
    """A dialect, and rows of two values that it can hold and that do not look like rows."""
    dialect = draw(dialects())
    delimiter, quote, escape = dialect.delimiter, dialect.quote, dialect.escape
    without = "\0\r" if quote else "\0\r\n" if escape else f"\0\r\n{delimiter}"
    likely = sorted(set(f"{delimiter}{quote}{escape}#/\n ") - set(without))
    value = st.text(letters(dialect.encoding, without) | st.sampled_from(likely))
    value = value.map(lambda it: it.replace("\n", " ")) | value.map(lambda it: it.replace(delimiter, "x"))
    value = value.filter(lambda it: it != "NULL")
    return dialect, draw(st.lists(st.tuples(value, value)))


@given(tables())
def test_what_is_written_in_a_dialect_is_what_is_read(tmp_path_factory, table):
    dialect, rows = table
    lines = [["number", "a", "b"], *([str(number), *row] for number, row in enumerate(rows))]
    lines = lines[1:] if dialect.columns else lines
    content = "".join(
        dialect.delimiter.join(written(value, dialect) for value in line) + "\n" for line in lines
    )
    folder = tmp_path_factory.mktemp("csv")
    (folder / "x.csv").write_bytes(content.encode(dialect.encoding))
    found = Csv(dialect).read(folder / "x.csv", ColumnSpec({}), folder / "copy.parquet")
    expected = [(str(number), *(value or None for value in row)) for number, row in enumerate(rows)]
    assert rows_of(folder / "copy.parquet", 3, found.rows) == expected
