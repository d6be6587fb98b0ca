"""Which files a day has: what a template finds, and what is no data."""

import datetime as dt
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake import day_files
from lake.storage import LocalStorage

DAY = dt.date(2024, 1, 2)
SPARK = "events/dt={partition}/*.parquet"
HOURS = "events/{year}/{month}/{day}/{hour}/*"


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path)


def put(storage, *names):
    for name in names:
        assert storage.put_new(name, b"x")


def test_a_template_without_wildcards_is_one_file(storage):
    put(storage, "events/2024-01-02.csv", "events/2024-01-03.csv", "events/2024-01-02.csv.bak")
    assert day_files.find(storage, "events/{partition}.csv", DAY) == ("events/2024-01-02.csv",)
    assert day_files.find(storage, "{year}/{month}{day}.csv", DAY) == ()


def test_marks_checksums_and_unfinished_files_are_no_data(storage):
    """All of them lie in a folder that Spark, Hadoop or a sink has written."""
    kept = [f"events/dt=2024-01-02/part-{n}.snappy.parquet" for n in range(3)]
    beside = ["_SUCCESS", "_committed_7", ".part-0.snappy.parquet", "part-0.snappy.parquet.crc"]
    beside += ["_temporary/0/part-9.parquet", "part-9._COPYING_", "deep/part-9.parquet"]
    put(storage, *kept, *(f"events/dt=2024-01-02/{name}" for name in beside))
    (storage.local("events/dt=2024-01-02") / ".part-1.crc").write_bytes(b"x")
    assert day_files.find(storage, SPARK, DAY) == tuple(kept)
    every = day_files.find(storage, SPARK.replace("*.parquet", "*"), DAY)
    assert every == tuple(kept)


def test_names_are_taken_as_they_are(storage):
    names = [f"events/2024-01-02/topic+0+{n}%20 [x]ü.avro" for n in ("0000123", "0000124")]
    put(storage, *names, "events/2024-01-02/topic+1+0000123%20 [x]ü.avro")
    assert day_files.find(storage, "events/{partition}/topic+0+*.avro", DAY) == tuple(names)
    assert day_files.find(storage, "events/{partition}/topic.0.*.avro", DAY) == ()


def test_files_of_hours(storage):
    names = [f"events/2024/01/02/{hour}/a.gz" for hour in ("00", "07", "23")]
    put(storage, *names, "events/2024/01/02/24/a.gz", "events/2024/01/02/7/a.gz", "events/2024/01/03/00/a.gz")
    assert day_files.find(storage, HOURS, DAY) == tuple(names)
    missing = day_files.missing_hours(HOURS, DAY, names)
    assert (len(missing), set(missing) & {"00", "07", "23"}) == (21, set())
    assert day_files.missing_hours(SPARK, DAY, []) == ()


def test_an_hour_that_clocks_skip_is_not_missing():
    spring, autumn = dt.date(2024, 3, 31), dt.date(2024, 10, 27)
    names = [f"events/2024/03/31/{hour:02d}/a.gz" for hour in range(24) if hour != 2]
    assert day_files.missing_hours(HOURS, spring, names, "Europe/Berlin") == ()
    assert day_files.missing_hours(HOURS, spring, names, "America/New_York") == ("02",)
    assert day_files.missing_hours(HOURS, spring, names[1:], "Europe/Berlin") == ("00",)
    assert len(day_files.missing_hours(HOURS, autumn, [], "Europe/Berlin")) == 24  # one folder for both
    assert len(day_files.of_hours("{partition}/{hour}/_SUCCESS", spring, "Europe/Berlin")) == 23


def test_an_hour_that_a_template_names_twice_is_one(storage):
    put(storage, "2024-01-02/05/shop-05.csv", "2024-01-02/05/shop-06.csv")
    assert day_files.find(storage, "{partition}/{hour}/shop-{hour}.csv", DAY) == (
        "2024-01-02/05/shop-05.csv",
    )


def test_the_day_may_lie_below_a_wildcard(storage):
    put(
        storage,
        "shop-a/2024-01-02.csv",
        "shop-b/2024-01-02.csv",
        "shop-b/2024-01-03.csv",
        "other/2024-01-02.csv",
    )
    assert day_files.find(storage, "shop-*/{partition}.csv", DAY) == (
        "shop-a/2024-01-02.csv",
        "shop-b/2024-01-02.csv",
    )


@given(st.lists(st.text("ab+%. é", min_size=1, max_size=4).filter(lambda name: name[0] != "."), unique=True))
def test_the_order_of_a_listing_does_not_matter(names):
    paths = [f"2024-01-02/{name}" for name in names if not name.endswith(".crc")]
    shuffled = random.Random(7).sample(paths, len(paths))
    found = day_files.find(None, "{partition}/*", DAY, lambda folder: shuffled)  # type: ignore[arg-type]
    assert found == tuple(sorted(paths))


def test_hours_of_a_marker():
    assert day_files.of_hours("{partition}/_SUCCESS", DAY) == ["2024-01-02/_SUCCESS"]
    each = day_files.of_hours("{partition}/{hour}/_SUCCESS", DAY)
    assert (len(each), each[0], each[-1]) == (24, "2024-01-02/00/_SUCCESS", "2024-01-02/23/_SUCCESS")


@pytest.mark.parametrize(
    ("template", "path", "before", "day"),
    [
        ("events/{partition}.csv", "events/2024-01-02.csv", "", "2024-01-02"),
        ("events/{partition}.csv", "/data/my events/events/2024-01-02.csv", "/data/my events/", "2024-01-02"),
        ("e/{partition}/hour={hour}/*.gz", "s3://b/e/2024-01-02/hour=23/x+1.gz", "s3://b/", "2024-01-02"),
        ("{year}/{month}/{day}/{hour}.avro", "2024/01/02/03.avro", "", "2024-01-02"),
        ("{partition}/e-{partition}.csv", "2024-01-02/e-2024-01-02.csv", "", "2024-01-02"),
        ("{partition}/e-{partition}.csv", "2024-01-02/e-2024-01-03.csv", None, ""),
        ("events/{partition}.csv", "my-events/2024-01-02.csv", None, ""),
        ("events/{partition}.csv", "events/2024-02-30.csv", None, ""),
        ("events/{partition}.csv", "events/2024-01-02xcsv", None, ""),
        ("{partition}/{hour}.csv", "2024-01-02/24.csv", None, ""),
        ("{partition}/*.csv", "2024-01-02/a/b.csv", None, ""),
    ],
)
def test_a_path_tells_its_day(template, path, before, day):
    expected = None if before is None else (before, dt.date.fromisoformat(day))
    assert day_files.located(template, path) == expected


@pytest.mark.parametrize(
    ("template", "folder"),
    [("a/b/c-{partition}.csv", "a/b"), ("a*/{partition}", ""), ("{partition}/x", ""), ("a/dt={year}", "a")],
)
def test_the_folder_above_all_days(template, folder):
    assert day_files.above(template) == folder
