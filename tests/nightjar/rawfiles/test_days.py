"""The files of a day: which are taken, and what refuses a day before Spark starts."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.delivery import lack
from nightjar.rawfiles import days

DAY, NEXT, CLOSED = dt.date(2024, 1, 1), dt.date(2024, 1, 2), dt.date(2024, 1, 3)
FOLDER = 'files = "events/{partition}/*"'


def _edited(tiny, *changes):
    path = Path(tiny.settings.dataset)
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    return tiny


@pytest.fixture
def folders(tiny):
    """The tiny data set, with a folder of Parquet files for each day."""
    return _edited(tiny, ('files = "events/{partition}.parquet"', FOLDER))


def _put(tiny, name, rows, schema=None):
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tiny.raw(name))


def _checked(tiny, *wanted):
    return days.check(wanted or [DAY], "a" * 16, tiny.lake, threads=2)


def test_all_files_of_a_day_are_taken_in_the_order_of_their_names(folders, tiny_row):
    for name, users in {"b": (1, 2), "a c%20": (3,), "ü+0": (4, 5, 6)}.items():
        _put(folders, f"events/{DAY}/{name}.parquet", [tiny_row(DAY, user=user) for user in users])
    folders.raw(f"events/{DAY}/_SUCCESS").write_bytes(b"")
    folders.raw(f"events/{DAY}/.b.parquet.crc").write_bytes(b"crc")
    checked = _checked(folders)
    told = [(file.name, file.rows, file.day) for file in checked.files]
    names = [f"events/{DAY}/{name}.parquet" for name in ("a c%20", "b", "ü+0")]
    assert told == list(zip(names, (1, 2, 3), (DAY, DAY, DAY), strict=True))
    assert (checked.catalogues, checked.faults) == ([], {})


def test_a_day_without_files_is_refused_by_its_pattern_and_what_is_there(folders, tiny_row):
    place = f"{folders.settings.raw}/events/{DAY}/*"
    assert (
        _checked(folders)
        .faults[DAY]
        .startswith(f"{place}: expected files of {DAY}, found none; deliver them")
    )
    folders.raw(f"events/{DAY}/_a.parquet").write_bytes(b"")
    assert f"found none among 1, such as events/{DAY}/_a.parquet" in _checked(folders).faults[DAY]


def test_a_faulty_file_refuses_its_own_day_by_its_name(folders, tiny_row):
    for day in (DAY, NEXT):
        _put(folders, f"events/{day}/a.parquet", [tiny_row(day)])
    for number in range(7):
        folders.raw(f"events/{DAY}/cut-{number}.parquet").write_bytes(b"PAR1")
    checked = _checked(folders, DAY, NEXT)
    assert [file.name for file in checked.files] == [f"events/{NEXT}/a.parquet"]
    told = checked.faults.pop(DAY)
    assert all(f"cut-{number}.parquet: expected a whole parquet file" in told for number in range(5))
    assert told.endswith("; and 2 more files")
    assert not checked.faults


def test_some_files_may_be_without_rows_but_not_all(folders, tiny_row):
    """Spark writes a file for each task, also for those without a row."""
    empty = pa.Table.from_pylist([tiny_row(DAY)]).slice(0, 0)
    pq.write_table(empty, folders.raw(f"events/{DAY}/a.parquet"))
    told = f"events/{DAY}/*: expected rows, found none in 1 files; deliver the day again, or list it in raw"
    assert told in _checked(folders).faults[DAY]
    _put(folders, f"events/{DAY}/b.parquet", [tiny_row(DAY)])
    assert [file.rows for file in _checked(folders).files] == [0, 1]


def test_a_closed_day_may_have_no_files_or_none_with_rows(folders, tiny_row):
    checked = _checked(folders, CLOSED)
    assert (checked.files, checked.faults) == ([], {})
    pq.write_table(
        pa.Table.from_pylist([tiny_row(DAY)]).slice(0, 0), folders.raw(f"events/{CLOSED}/a.parquet")
    )
    checked = _checked(folders, CLOSED)
    assert ([file.rows for file in checked.files], checked.faults) == ([0], {})


def test_a_weekday_and_a_day_of_the_calendar_may_have_no_files(folders):
    """They have records, and nobody waits for them."""
    keys = 'closed_weekdays = ["monday"]\nclosed_calendar = "closed.txt"\nclosed_days ='
    _edited(folders, ("closed_days =", keys))
    Path(folders.settings.dataset).with_name("closed.txt").write_text(f"{NEXT}  # a holiday\n", "utf-8")
    later = NEXT + dt.timedelta(days=2)
    checked = _checked(folders, DAY, NEXT, CLOSED, later)
    assert (checked.files, list(checked.faults)) == ([], [later])
    assert [lack(folders.lake.raw, folders.lake.data, day) is None for day in (DAY, NEXT, later)] == [
        True,
        True,
        False,
    ]


def test_a_catalogue_may_be_of_several_files_but_no_file_of_events(folders, tiny_row):
    item = {"item": 10, "title": "tea", "department": "drinks", "kind": "green", "brand": "leaf"}
    _edited(folders, ('files = "items/{partition}.parquet"', 'files = "*/{partition}/item*"'))
    _put(folders, f"events/{DAY}/a.parquet", [tiny_row(DAY)])
    for number in range(2):
        _put(folders, f"shop/{DAY}/items-{number}.parquet", [item | {"item": number}])
    assert [file.name for file in _checked(folders).catalogues] == [
        f"shop/{DAY}/items-0.parquet",
        f"shop/{DAY}/items-1.parquet",
    ]
    _put(folders, f"events/{DAY}/items.parquet", [tiny_row(DAY)])
    assert f"events/{DAY}/items.parquet: expected a file of events or of the" in _checked(folders).faults[DAY]


def test_a_folder_instead_of_a_file_says_how_to_take_it(tiny, tiny_row):
    """It was to be delivered as one file, though nothing was wrong with it."""
    _put(tiny, f"events/{DAY}.parquet/part-0.parquet", [tiny_row(DAY)])
    assert (
        "found a folder of 1 files; deliver it as one file, or end raw.files in /*"
        in _checked(tiny).faults[DAY]
    )


def _marked(tiny, key, path):
    return _edited(tiny, (FOLDER, f'{FOLDER}\n{key} = "{path}"'))


def test_a_day_without_its_marker_is_refused(folders, tiny_row):
    _marked(folders, "ready", "events/{partition}/_SUCCESS")
    _put(folders, f"events/{DAY}/a.parquet", [tiny_row(DAY)])
    place = f"{folders.settings.raw}/events/{DAY}/_SUCCESS"
    told = f"the ready marker of {DAY}, expected at {place}: found none; run {DAY} again once it is there"
    assert _checked(folders).faults == {DAY: told}
    folders.raw(f"events/{DAY}/_SUCCESS").write_bytes(b"")
    assert len(_checked(folders).files) == 1


def test_the_rows_of_each_file_are_compared_with_the_manifest(folders, tiny_row):
    _marked(folders, "manifest", "events/{partition}/manifest.csv")
    for number in (1, 2):
        _put(folders, f"events/{DAY}/{number}.parquet", [tiny_row(DAY)] * number)
    manifest = folders.raw(f"events/{DAY}/manifest.csv")
    manifest.write_text("file,rows\n1.parquet,1\n2.parquet,2\n", encoding="utf-8")
    assert [file.rows for file in _checked(folders).files] == [1, 2]
    manifest.write_text("file,rows\n1.parquet,1\n2.parquet,3\n", encoding="utf-8")
    told = f"manifest.csv: expected 3 rows in events/{DAY}/2.parquet, as it says, found 2; deliver"
    assert told in _checked(folders).faults[DAY]
    manifest.write_text("file,rows\n1.parquet,1\n", encoding="utf-8")
    assert f"found none for events/{DAY}/2.parquet" in _checked(folders).faults[DAY]
    manifest.write_text("file,rows\n1.parquet,1\n2.parquet,2\n3.parquet,3\n", encoding="utf-8")
    assert (
        "the raw file 3.parquet of 2024-01-01, one of 1 that its manifest lists: found none"
        in _checked(folders).faults[DAY]
    )
