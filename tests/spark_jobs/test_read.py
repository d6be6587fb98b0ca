import datetime as dt

import pytest

from spark_jobs import read

pytestmark = pytest.mark.spark


def test_files_of_several_attempts_each_with_their_day(spark, tiny, tiny_row):
    days = [dt.date(2024, 1, 1), dt.date(2024, 1, 2)]
    records = []
    for user, day in enumerate(days, start=1):
        tiny.put(day, [tiny_row(day, user=user)])
        records.append(tiny.ingest(day))
    files = [file.path for record in records for file in record.tables["interactions"].files]
    rows = read.interactions(spark, tiny.settings.lake, files, "int64")
    assert {(row.user_id, row.landed) for row in rows.collect()} == {(1, days[0]), (2, days[1])}
    only = read.interactions(spark, tiny.settings.lake, files[1:], "int64")
    assert [row.user_id for row in only.collect()] == [2]


@pytest.mark.parametrize(
    ("uri", "path", "literal"),
    [
        ("file:///a%20b/c[1].parquet", "file:///a b/c[1].parquet", r"file:///a b/c\[1\].parquet"),
        (
            "s3://bucket/a%20b/c{1}.parquet",
            "s3a://bucket/a%20b/c{1}.parquet",
            r"s3a://bucket/a%20b/c\{1\}.parquet",
        ),
    ],
)
def test_paths_as_hadoop_wants_them(uri, path, literal):
    assert (read.hadoop_path(uri), read.literal(uri)) == (path, literal)


def test_no_files_give_an_empty_frame_with_all_columns(spark):
    rows = read.table(spark, "file:///nowhere", "user_features", [], "string")
    assert rows.count() == 0
    assert rows.columns[0] == "user_id"
    assert rows.columns[-1] == "as_of"
