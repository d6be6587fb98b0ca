"""Copies of small files become few, and each row still knows its file."""

import datetime as dt
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lake import layout
from lake.schemas import ROW_NUMBER, SOURCE_FILE, copied_field
from lake.storage import open_storage
from nightjar.rawfiles import days

DAY, NEXT = dt.date(2024, 1, 1), dt.date(2024, 1, 2)
ATTEMPT = "a" * 16


@pytest.fixture
def lines(tiny_with, tmp_path):
    """A data set whose days are folders of JSON lines."""
    tiny = tiny_with(tmp_path, format="jsonl")
    return _in_folders(tiny, "events/{partition}.jsonl")


def _in_folders(tiny, template):
    path = Path(tiny.settings.dataset)
    text = path.read_text(encoding="utf-8").replace(template, "events/{partition}/*")
    path.write_text(text, encoding="utf-8")
    return tiny


def _put(tiny, day, name, users, **other):
    rows = ({"user": user, "item": 1, "at": f"{day}T00:00:00", "store": "Ü"} | other for user in users)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    tiny.raw(f"events/{day}/{name}").write_text(text, encoding="utf-8")


def _checked(tiny, threads=2):
    return days.check([DAY, NEXT], ATTEMPT, tiny.lake, threads)


def _copy(tiny, file):
    with open_storage(tiny.settings.lake).fetched(file.copy) as path:
        return pq.read_table(path)


@pytest.mark.parametrize("threads", [1, 4])
def test_the_copies_of_a_day_are_one_whose_rows_name_their_files(lines, threads):
    _put(lines, DAY, "a", [1, 2])
    _put(lines, DAY, "b", [])
    _put(lines, DAY, "c%20+", [3, 4, 5], paid=2.5)
    _put(lines, NEXT, "a", [6])
    checked = _checked(lines, threads)
    first, empty, last, alone = checked.files
    assert first.copy == empty.copy == last.copy == layout.copied(ATTEMPT, f"events/{DAY}/a")
    assert len(open_storage(lines.settings.lake).list(layout.raw_copies(ATTEMPT))) == 2
    rows = _copy(lines, first)
    users, files = (rows[name].to_pylist() for name in (copied_field("user"), SOURCE_FILE))
    assert users == ["1", "2", "3", "4", "5"]
    assert files == [f"events/{DAY}/{name}" for name in ("a", "a", "c%20+", "c%20+", "c%20+")]
    assert rows[ROW_NUMBER].to_pylist() == [1, 2, 1, 2, 3]
    assert SOURCE_FILE not in _copy(lines, alone).column_names
    assert ("paid" in first.absent, "paid" in last.absent, empty.absent) == (True, False, ())


def test_a_pack_holds_so_many_bytes_of_files(lines, monkeypatch):
    """The memory and the disk of a check are bounded, however many files a day has."""
    monkeypatch.setattr(days, "_PART_BYTES", 1000)
    for number in range(40):
        _put(lines, DAY, f"{number:02}", [number])
    _put(lines, NEXT, "a", [1])
    checked = _checked(lines)
    size = checked.files[0].bytes
    copies = [file.copy for file in checked.files if file.day == DAY]
    assert len(set(copies)) == -(-40 // (1000 // size))
    assert copies == sorted(copies, key=copies.index)


def test_a_faulty_file_leaves_the_others_of_its_pack_as_they_are(lines):
    for name in "abc":
        _put(lines, DAY, name, [1])
    lines.raw(f"events/{DAY}/b").write_bytes(b"[]")
    _put(lines, NEXT, "a", [1])
    checked = _checked(lines)
    assert [file.day for file in checked.files] == [NEXT]
    assert "events/2024-01-01/b: expected" in checked.faults[DAY]
    assert "events/2024-01-01/a" not in checked.faults[DAY]


def test_copies_of_other_columns_are_not_put_together(tiny_with, tmp_path):
    tiny = _in_folders(tiny_with(tmp_path, format="csv"), "events/{partition}.csv")
    for name, more in {"a": "", "b": ",note", "c": ""}.items():
        row = "1,2,2024-01-01" + (",x" if more else "")
        tiny.raw(f"events/{DAY}/{name}").write_text(f"user,item,at{more}\n{row}\n", encoding="utf-8")
    first, second, third = days.check([DAY], ATTEMPT, tiny.lake).files
    assert first.copy == third.copy != second.copy
