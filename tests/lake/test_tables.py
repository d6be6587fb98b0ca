import datetime as dt
from dataclasses import dataclass
from importlib import metadata

import duckdb
import polars as pl
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


@dataclass(frozen=True)
class Lake:
    """A lake whose user features of one day are committed anew as often as wanted."""

    storage: LocalStorage

    def commit(self, attempt, users, day=DAY):
        records = Records(self.storage)
        put(self.storage, attempt, day, users)
        files = tables.describe(self.storage, "user_features", attempt)[day]
        content = TableContent(files, len(users), f"{users}")
        draft = Draft("features", str(day), attempt, "committed", 1, "c", tables={"user_features": content})
        return records.commit(draft, records.latest("features", day))

    def mirror(self):
        return tables.mirror(self.storage, "int64")

    @property
    def uri(self):
        return self.storage.uri("user_features")

    def users(self, version=None):
        return sorted(pl.read_delta(self.uri, version=version)["user_id"].to_list())


@pytest.fixture
def lake(storage):
    return Lake(storage)


def test_the_mirror_shows_the_rows_of_current_records_with_their_partition(lake):
    lake.commit("a", [1, 2])
    lake.commit("b", [3], DAY + dt.timedelta(days=1))
    assert lake.mirror()["user_features"] == 0
    shown = pl.read_delta(lake.uri)
    assert sorted(shown.select("user_id", "as_of").rows()) == [
        (1, DAY),
        (2, DAY),
        (3, DAY + dt.timedelta(days=1)),
    ]
    assert shown.columns == [*schemas.arrow_schema("user_features", "int64").names, "as_of"]


def test_a_mirror_with_nothing_to_do_commits_nothing(lake):
    lake.commit("a", [1, 2])
    first = lake.mirror()
    assert lake.mirror() == first
    assert len(list(lake.storage.list("user_features/_delta_log"))) == 1


def test_time_travel_gives_the_rows_before_a_day_was_taken_in_again(lake):
    lake.commit("a", [1, 2])
    lake.mirror()
    lake.commit("b", [3])
    assert lake.mirror()["user_features"] == 1
    assert (lake.users(), lake.users(version=0)) == ([3], [1, 2])


def test_a_record_that_names_the_old_files_again_makes_no_commit(lake):
    lake.commit("a", [1])
    lake.mirror()
    lake.commit("b", [2])
    lake.mirror()
    lake.commit("c", [2])
    assert lake.mirror()["user_features"] == 1


def test_only_tables_of_a_stage_with_a_record_are_there_an_empty_one_too(lake):
    lake.commit("a", [1])
    assert set(lake.mirror()) == set(schemas.FEATURES)
    assert pl.read_delta(lake.storage.uri("item_features")).shape == (0, len(schemas.ITEM_FEATURES) + 2)


def test_describe_does_not_trip_over_the_delta_log(lake):
    lake.commit("a", [1])
    lake.mirror()
    lake.commit("b", [2])
    assert [len(files) for files in tables.describe(lake.storage, "user_features", "b").values()] == [1]


def _delta_extension():
    files = metadata.files("duckdb-ext-delta")
    return next(file.locate() for file in files if file.name == "delta.duckdb_extension")


def test_duckdb_opens_the_table_and_its_past(lake):
    lake.commit("a", [1, 2])
    lake.mirror()
    lake.commit("b", [3])
    lake.mirror()
    with duckdb.connect() as db:
        db.execute(f"LOAD '{_delta_extension()}'")
        now = db.execute(f"SELECT user_id, as_of FROM delta_scan('{lake.uri}')").fetchall()
        db.execute(f"ATTACH '{lake.uri}' AS before (TYPE delta, VERSION 0)")
        before = db.execute("SELECT user_id FROM before ORDER BY user_id").fetchall()
    assert (now, before) == ([(3, DAY)], [(1,), (2,)])
