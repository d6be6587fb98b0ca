import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import layout, schemas, tables
from lake.records import Draft, Input, Records, TableContent, TableFile
from lake.storage import LocalStorage

DAY = dt.date(2017, 9, 30)


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path)


def put(storage, attempt, day, users):
    frame = pa.table({"user_id": pa.array(users, pa.int64())})
    for name in schemas.arrow_schema("user_features", "int64").names[1:]:
        frame = frame.append_column(name, pa.array([0.0] * len(users), pa.float32()))
    folder = storage.local(layout.partition("user_features", attempt, day))
    folder.mkdir(parents=True)
    pq.write_table(frame, folder / "part-0.parquet")
    (folder / "_SUCCESS").write_text("")


def test_describe_counts_files_and_rows_by_partition(storage):
    put(storage, "a", DAY, [1, 2])
    put(storage, "a", DAY + dt.timedelta(days=1), [3])
    put(storage, "other", DAY, [4])
    found = tables.describe(storage, "user_features", "a")
    assert {day: [f.rows for f in files] for day, files in found.items()} == {
        DAY: [2],
        DAY + dt.timedelta(days=1): [1],
    }
    assert found[DAY][0].bytes == storage.size(found[DAY][0].path)


def test_a_day_without_rows_has_content_too(storage):
    put(storage, "a", DAY, [1])
    tomorrow = DAY + dt.timedelta(days=1)
    found = tables.contents(storage, "user_features", "a", [DAY, tomorrow], {DAY: "1:5:7"})
    assert (found[DAY].rows, found[DAY].digest) == (1, "1:5:7")
    assert found[tomorrow] == TableContent((), 0, "0:0:0")


def test_read_takes_the_files_named_and_the_columns_wanted(storage):
    put(storage, "a", DAY, [1, 2])
    put(storage, "b", DAY, [9])
    files = tables.describe(storage, "user_features", "a")[DAY]
    got = tables.read(storage, "user_features", "int64", files, ["user_id"])
    assert got.to_pydict() == {"user_id": [1, 2]}


def test_read_of_no_file_is_an_empty_table_with_the_schema(storage):
    got = tables.read(storage, "interactions", "string", [])
    assert got.num_rows == 0
    assert got.schema.field("user_id").type == pa.string()


def test_read_does_not_accept_a_missing_file(storage):
    with pytest.raises(FileNotFoundError):
        tables.read(
            storage, "user_features", "int64", [TableFile("user_features/a/as_of=2017-09-30/x.parquet", 1, 1)]
        )


def test_pinned_gives_the_state_that_was_read(storage):
    records = Records(storage)
    old, new = (TableContent((), 0, digest) for digest in ("old", "new"))
    for sequence, content in enumerate((old, new)):
        records.commit(
            Draft("ingest", str(DAY), "a" * 16, "committed", 1, "c", tables={"interactions": content}),
            sequence,
        )
    assert tables.pinned(records, Input("interactions", "old", str(DAY), 1)) == old
