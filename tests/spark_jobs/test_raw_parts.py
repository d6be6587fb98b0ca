"""Which raw files Spark reads together; needs no Spark."""

import datetime as dt
import random

from lake.formats.content import RawColumn
from spark_jobs import raw
from spark_jobs.plans import RawFile

DAY = dt.date(2024, 1, 1)
NUMBER, TEXT = ("integer", "BIGINT"), ("string", "STRING")


def _file(name, copy="", **kinds):
    columns = tuple(RawColumn(column, *kind) for column, kind in kinds.items())
    return RawFile(name, DAY, 1, 1, "0" * 64, "1", columns, copy)


def _parts(files):
    """The names of the files of each part, and its columns."""
    return [(sorted(file.name for file, _ in part.files), list(part.columns)) for part in raw._parts(files)]


def test_files_whose_columns_agree_are_one_part_in_any_order():
    files = [
        _file("a", user=NUMBER, note=TEXT),
        _file("b", user=NUMBER),
        _file("c", store=TEXT, user=NUMBER),
        _file("d", user=NUMBER, note=TEXT),
    ]
    ((names, columns),) = _parts(files)
    assert (names, set(columns)) == (["a", "b", "c", "d"], {"user", "note", "store"})
    for seed in range(5):
        assert _parts(random.Random(seed).sample(files, len(files))) == [(names, columns)]


def test_other_types_and_copies_are_parts_of_their_own():
    files = [_file("a", user=NUMBER), _file("b", user=TEXT), _file("c", copy="x", user=NUMBER)]
    assert [names for names, _ in _parts(files)] == [["a"], ["b"], ["c"]]


def test_each_file_keeps_the_order_of_its_own_columns():
    (part,) = raw._parts([_file("a", user=NUMBER, note=TEXT), _file("b", note=TEXT, user=NUMBER)])
    told = {file.name: [column.name for column in part.sets[kind]] for file, kind in part.files}
    assert told == {"a": ["user", "note"], "b": ["note", "user"]}


def test_a_part_has_no_more_kinds_than_java_compiles():
    files = [_file(f"{n:03}", user=NUMBER, **{f"extra_{n}": TEXT}) for n in range(100)]
    assert [len(part.sets) for part in raw._parts(files)] == [32, 32, 32, 4]
