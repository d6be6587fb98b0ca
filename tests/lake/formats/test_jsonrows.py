"""JSON lines and arrays: what is a row, what names find in it, and what is refused."""

import datetime as dt
import gzip
import json
import tracemalloc

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import FileFault
from lake.formats import jsonarray, jsonrows
from lake.formats.dialect import FLAT, NestedSection
from lake.formats.jsonarray import JsonArray
from lake.formats.jsonlines import JsonLines
from lake.schemas import LINE, MALFORMED, copied_field
from lake.storage import open_storage
from nightjar.rawfiles.check import Checker, FileSpec

DAY = dt.date(2024, 1, 1)
IN_ITEMS = NestedSection(explode="items")


@pytest.fixture
def read(tmp_path):
    """The rows that a file of some bytes gives, each a list of values, or its text where it is malformed."""

    def read_file(data, names, form=JsonLines, nested=FLAT, whole=False):
        (tmp_path / "day").write_bytes(data)
        targets = {name: (name, "string") for name in names}
        lake = open_storage((tmp_path / "lake").as_uri())
        checker = Checker(open_storage(tmp_path.as_uri()), lake, "a1")
        found = checker.check(FileSpec("day", DAY, form(nested), targets, "string", whole, True))
        copy = pq.read_table(tmp_path / "lake" / found.copy)
        fields = [copied_field(column.name) for column in found.columns]
        rows = [row[MALFORMED] or [row[field] for field in fields] for row in copy.to_pylist()]
        assert len(rows) == found.rows
        read_file.lines = copy[LINE].to_pylist()
        read_file.columns = [column.name for column in found.columns]
        return rows

    return read_file


def of_lines(*rows):
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows).encode()


@pytest.mark.parametrize(
    ("row", "name", "value"),
    [
        ({"user": {"id": 7}}, "user.id", "7"),
        ({"user.id": 8, "user": {"id": 7}}, "user.id", "8"),  # the field of the whole name
        ({"a.b": {"c": 1}, "a": {"b.c": 2, "b": {"c": 3}}}, "a.b.c", "1"),  # the longest part
        ({"a": {"b.c": 2, "b": {"c": 3}}}, "a.b.c", "2"),
        ({"a": {"b": {"c": 3}}}, "a.b.c", "3"),
        ({"a": {"b": {"": 4}}}, "a.b.", "4"),
        ({"a": {"b": 1.50}}, "a.b", "1.5"),
        ({"user": None, "x": {"user.id": 1}}, "user.id", None),
        ({"user": {}}, "user.id", None),
        ({}, "user.id", None),
    ],
)
def test_a_name_leads_into_objects(read, row, name, value):
    rows = read(of_lines(row, dict.fromkeys([name], "other")), [name])
    assert rows == [[value], ["other"]]


@pytest.mark.parametrize("value", [{"user": 5}, {"user": [{"id": 5}]}, {"user": {"id": [5]}}])
def test_a_value_in_the_way_of_a_name_makes_the_row_malformed(read, value):
    assert read(of_lines({"user": {"id": "a"}}, value), ["user.id"]) == [["a"], json.dumps(value)]


def test_a_path_that_no_row_has_is_a_column_that_is_missing(read):
    with pytest.raises(FileFault, match=r"expected the columns user\.id, found user \(without user\.id\)"):
        read(of_lines({"user": {"name": "x"}}), ["user.id"])


def test_all_fields_of_a_catalogue_are_read_beside_paths(read):
    rows = read(of_lines({"item": {"id": 1, "g": [1.50]}, "b": "x"}), ["item.id"], whole=True)
    assert dict(zip(read.columns, rows[0], strict=True)) == {
        "item": '{"id":1,"g":[1.5]}',
        "b": "x",
        "item.id": "1",
    }


def test_each_element_of_an_array_is_a_row_with_the_fields_around_it(read):
    basket = '{"user": "a", "items": [{"sku": 1, "n": 2.0}, {"sku": 1, "n": 2.0}, "x"], "at": {"ts": 5}}'
    rows = read(
        of_lines(basket, '{"items": [{"sku": 2}]}'), ["user", "items.sku", "at.ts"], JsonLines, IN_ITEMS
    )
    assert rows == [
        ["5", "1", "a"],
        ["5", "1", "a"],
        '{"user":"a","items[2]":"x","at":{"ts":5}}',
        [None, "2", None],
    ]
    assert read.lines[:2] == [  # equal elements of one array are two rows, the same line again gives copies
        f'{{"user":"a","items[{place}]":{{"sku":1,"n":2.0}},"at":{{"ts":5}}}}' for place in (0, 1)
    ]


@pytest.mark.parametrize("items", [', "items": []', ', "items": null', ""])
def test_an_array_that_is_empty_or_missing_gives_one_row_without_element(read, items):
    line = f'{{"user": "a"{items}}}'
    rows = read(
        of_lines(line, '{"user": "b", "items": [{"sku": 1}]}'), ["user", "items.sku"], JsonLines, IN_ITEMS
    )
    assert (rows, read.lines[0]) == ([[None, "a"], ["1", "b"]], line)


@pytest.mark.parametrize("line", ['{"items": {"sku": 1}}', '{"items": "1"}', '{"items": [1', "[]"])
def test_what_is_no_array_is_one_malformed_row(read, line):
    good = '{"items": [{"sku": 1}, {"sku": 2}]}'
    assert read(of_lines(line, good), ["items.sku"], nested=IN_ITEMS) == [line, ["1"], ["2"]]


def test_an_array_that_would_fill_the_disk_is_refused(read, monkeypatch):
    monkeypatch.setattr(jsonrows, "_MOST_EXPLODED", 100)
    line = '{"items": [1, 2], "more": "' + "x" * 30 + '"}'
    with pytest.raises(FileFault, match="at most 100 letters .* 2 elements in the 59 letters of line 2"):
        read(of_lines({"items": [1]}, line), ["items"], nested=IN_ITEMS)


def test_arrays_and_their_values_may_lie_deeper(read):
    line = '{"order": {"lines": [10, 11], "no": 1}}'
    rows = read(
        of_lines(line, '{"order": null}'),
        ["order.lines", "order.no"],
        JsonLines,
        NestedSection(explode="order.lines"),
    )
    assert rows == [["10", "1"], ["11", "1"], [None, None]]
    assert read.lines[1] == '{"order":{"lines[1]":11,"no":1}}'


ROWS = [{"user": "a", "n": 1}, {"user": '\u00e9,]}["{\\', "n": 2.5}, {"user": None, "n": {"x": [1, {}]}}]


@pytest.mark.parametrize("indent", [None, 0, 2, "\t"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_an_array_gives_the_rows_of_its_elements_however_it_is_written(read, indent, pack, mark):
    data = pack((mark + json.dumps(ROWS, indent=indent) + "\n\n").encode())
    assert read(data, ["user"], JsonArray) == [[row["user"]] for row in ROWS]
    assert [json.loads(line) for line in read.lines] == ROWS


@given(
    st.lists(st.integers() | st.dictionaries(st.text(max_size=3), st.text() | st.floats(allow_nan=False))),
    st.integers(1, 9),
)
def test_an_array_is_cut_between_its_elements_wherever_it_is_read(tmp_path_factory, rows, size):
    path = tmp_path_factory.mktemp("json") / "x.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8", errors="replace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonarray, "_PIECE_BYTES", size)
        records = list(JsonArray(FLAT).records(path))
    assert [json.loads(record.text) for record in records] == json.loads(path.read_bytes())


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"user": "a"}\n', "a JSON array, found a file that begins with '{'; let format be \"jsonl\""),
        (b" \n ", "a JSON array, found a file that begins with ''"),
        (b'[{"user": "a"}', "found the end of the file in line 1"),
        (b'[{"user": "a"},\n', "found an element that is no JSON .Expecting value. in line 2"),
        (b'[{"user": "a"},\n\n]', "found an element that is no JSON .* in line 3"),
        (b'[{"user": "a"}\n{"user": "b"}]', "found '{' behind an element in line 2"),
        (b'[{"user": "a"}]\n[{"user": "b"}]', "found more behind it in line 2"),
        (b'[{"user": "a"},\n{"user": "b}, {"user": "c"}, {"user": "d"}]', "no JSON .* in line 2"),
        (b'[{"user": "a\n"}]', "no JSON .Invalid control character at. in line 1"),
        (b'[{"user": "tea\xe9"}]', "text in UTF-8, found byte 0xe9"),
        (b'[{"user": "tea\xc3', "text in UTF-8, found byte 0xc3"),
        (b"[" * 200_000, "no JSON .maximum recursion depth"),
        (
            b'[1, "a"]',
            "array of objects, found none in 2 rows; the first is line 1: `1`; write each",
        ),
    ],
)
def test_an_array_that_is_not_whole_is_refused_by_line(read, data, told):
    with pytest.raises(FileFault, match=rf"expected .*{told}"):
        read(data, ["user"], JsonArray)


def test_an_element_that_is_json_and_no_row_is_malformed(read):
    odd = ["42", "[]", '{"user": "a", "user": "b"}', '{"user": NaN}', '{"user": "\\ud800"}', '{"user": {}}']
    assert read(f'[{", ".join(odd)}, {{}}, {{"user": "b"}}]'.encode(), ["user"], JsonArray) == [
        *odd,
        [None],
        ["b"],
    ]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_an_element_has_the_line_in_which_it_begins(tmp_path, monkeypatch, size):
    monkeypatch.setattr(jsonarray, "_PIECE_BYTES", size)
    path = tmp_path / "x.json"
    path.write_text('[\n{"a": 1},\n\n{"a":\n 2\n}, {"a": 3}\n,\n{"a": 4}]', encoding="utf-8")
    places = [record.place for record in JsonArray(FLAT).records(path)]
    assert places == ["line 2", "line 4", "line 6", "line 8"]


def test_a_file_is_never_held_whole(tmp_path):
    path = tmp_path / "long.json"
    row = json.dumps({"user": "a" * 1000})
    with path.open("w", encoding="utf-8") as file:
        file.writelines(["[", *(f"{row}," for _ in range(20_000)), row, "]"])
    tracemalloc.start()
    rows = sum(1 for _ in JsonArray(FLAT).records(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (rows, peak < path.stat().st_size / 2) == (20_001, True)


def test_an_element_that_is_too_long_is_refused(read, monkeypatch):
    monkeypatch.setattr(jsonarray, "LONGEST_ELEMENT", 100)
    monkeypatch.setattr(jsonarray, "_PIECE_BYTES", 64)
    data = json.dumps([{"user": "a"}] * 50 + [{"user": "a" * 300}]).encode()
    with pytest.raises(FileFault, match="no end within 100 letters. in line 1"):
        read(data, ["user"], JsonArray)
