import hashlib

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightjar_reader import format as fmt
from recommender import columns

VECTORIZED = "spark.sql.parquet.enableVectorizedReader"


def lists_of(users):
    schema = fmt.lists_schema("int64")
    rows = [
        {"user_id": u, "item_ids": [u, u + 1], "scores": [2.0, 1.0], "fallback": 0, "code": None}
        for u in users
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def test_gather_takes_whole_lists_in_the_order_asked():
    offsets, places = columns.gather(np.array([0, 2, 2, 5]), np.array([2, 1, 0]))
    assert offsets.tolist() == [0, 3, 3, 5]
    assert places.tolist() == [2, 3, 4, 0, 1]


def test_gather_of_nothing_is_nothing():
    offsets, places = columns.gather(np.array([0, 2]), np.array([], np.int64))
    assert (offsets.tolist(), places.tolist()) == ([0], [])


def test_point_read_files_have_small_groups_with_statistics_of_the_key_alone(tmp_path):
    columns.write(lists_of(range(600)), tmp_path / "lists" / "00.parquet", fmt.USER_ID)
    file = pq.ParquetFile(tmp_path / "lists" / "00.parquet")
    assert [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)] == [256, 256, 88]
    group = file.metadata.row_group(1)
    assert (group.column(0).statistics.min, group.column(0).statistics.max) == (256, 511)
    assert not any(group.column(at).is_stats_set for at in range(1, group.num_columns))
    paths = [group.column(at).path_in_schema for at in range(group.num_columns)]
    assert paths == ["user_id", "item_ids.list.element", "scores.list.element", "fallback", "code"]


def test_what_is_written_is_read_and_the_bytes_repeat(tmp_path):
    digests = set()
    for name in ("a", "b"):
        columns.write(lists_of(range(300)), tmp_path / name, fmt.USER_ID)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1
    assert pq.read_table(tmp_path / "a").to_pylist() == lists_of(range(300)).to_pylist()


def test_a_file_without_rows_can_be_read(tmp_path):
    columns.write(lists_of([]), tmp_path / "none", fmt.USER_ID)
    assert pq.read_table(tmp_path / "none").num_rows == 0
    assert pq.ParquetFile(tmp_path / "none").num_row_groups == 0


def rows_of(schema, make):
    """Three rows for any table of the format, ids by `make`; the texts hold what is not ASCII."""
    values = {
        fmt.USER_ID: make,
        fmt.ITEM_ID: make,
        fmt.ITEM_IDS: lambda at: [make(at + step) for step in range(at)],
        fmt.SCORES: lambda at: [0.5 - step for step in range(at)],
        fmt.FALLBACK: lambda at: at,
        fmt.CODE: lambda at: at or None,
    }
    return [{name: values.get(name, "ä{}".format)(at) for name in schema.names} for at in range(3)]


TABLES = [
    (name, id_type)
    for name in ("lists_schema", "similar_schema", "popular_schema", "items_schema")
    for id_type in ("int64", "string")
]


@pytest.fixture(params=TABLES, ids="-".join)
def written(request, tmp_path):
    """A file of each kind, with each type of id, and its rows; another beside it has none."""
    name, id_type = request.param
    schema = getattr(fmt, name)(id_type)
    rows = rows_of(schema, {"int64": (2**62).__add__, "string": "ü{}".format}[id_type])
    key = schema.names[0] if name in ("lists_schema", "similar_schema") else None
    columns.write(pa.Table.from_pylist(rows, schema), tmp_path / "00.parquet", key)
    columns.write(schema.empty_table(), tmp_path / "01.parquet", key)
    return tmp_path, rows


def test_encodings_and_codec_are_those_that_every_reader_knows(written):
    """Once scores were BYTE_STREAM_SPLIT, which Spark cannot read."""
    metadata = pq.ParquetFile(written[0] / "00.parquet").metadata
    chunks = [metadata.row_group(0).column(at) for at in range(metadata.num_columns)]
    assert {encoding for chunk in chunks for encoding in chunk.encodings} <= {"PLAIN", "RLE"}
    assert {chunk.compression for chunk in chunks} == {"ZSTD"}
    lists = {chunk.path_in_schema for chunk in chunks if "." in chunk.path_in_schema}
    assert lists <= {"item_ids.list.element", "scores.list.element"}


def test_duckdb_and_polars_read_it_by_default(written):
    folder, rows = written
    found = duckdb.sql(f"SELECT * FROM '{folder}/*.parquet'").to_arrow_table().to_pylist()
    assert found == rows
    assert pl.read_parquet(folder / "*.parquet").to_dicts() == rows


@pytest.mark.spark
@pytest.mark.parametrize("vectorized", ["true", "false"])
def test_spark_reads_it_by_default(written, spark, vectorized):
    """By Spark's own decoder, and by parquet-mr's, which other programs on the JVM use."""
    folder, rows = written
    spark.conf.set(VECTORIZED, vectorized)
    try:
        found = spark.read.parquet(f"file://{folder}").collect()
    finally:
        spark.conf.unset(VECTORIZED)
    assert [row.asDict() for row in found] == rows


@pytest.mark.parametrize(("id_type", "make"), [("int64", int), ("string", "B{:09X}".format)])
def test_a_recommendation_takes_no_more_than_8_bytes(tmp_path, id_type, make):
    """One file of 64 of 2,560 users, each with 50 of 14,000 items; scores without any pattern."""
    rng = np.random.default_rng(0)
    items = rng.choice(18_000_000, 14_000, replace=False)
    popularity = 1 / np.arange(1, 14_001) ** 0.8
    chosen = rng.choice(items, (40, 50), p=popularity / popularity.sum())
    scores = -np.sort(-rng.normal(size=(40, 50)).astype(np.float32))
    table = {
        fmt.USER_ID: [make(user * 7) for user in range(40)],
        fmt.ITEM_IDS: [[make(item) for item in row] for row in chosen],
        fmt.SCORES: scores.tolist(),
        fmt.FALLBACK: [0] * 40,
        fmt.CODE: list(range(40)),
    }
    columns.write(pa.table(table, fmt.lists_schema(id_type)), tmp_path / "00", fmt.USER_ID)
    assert (tmp_path / "00").stat().st_size <= 8 * chosen.size
