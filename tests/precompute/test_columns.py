import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nightjar_reader import format as fmt
from precompute import columns


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
    assert group.column(0).compression == "ZSTD"
    assert "BYTE_STREAM_SPLIT" in group.column(2).encodings


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
