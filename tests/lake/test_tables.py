import datetime as dt
import errno
from dataclasses import dataclass, replace
from importlib import metadata

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake.exceptions import CommitFailedError

from lake import layout, schemas, tables
from lake.errors import NightjarError, PermanentError
from lake.feature_spec import FEATURES
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
    plain = {"compression": "none", "use_dictionary": False}
    pq.write_table(frame, folder / "part-0.parquet", write_page_checksum=True, **plain)
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


def flip_a_bit(path):
    """Another value in a page of doubles, which no reader notices without the page's checksum."""
    column = pq.read_metadata(path).row_group(0).column(5)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 1] ^= 2
    path.write_bytes(content)
    assert pq.read_table(path, columns=[column.path_in_schema])[0].to_pylist() != [0.0, 0.0]


def keep_one_row(path):
    pq.write_table(pq.read_table(path).slice(0, 1), path)


def drop_a_column(path):
    pq.write_table(pq.read_table(path).drop_columns(["user_id"]), path)


DAMAGES = {
    "one bit: other values were read in silence": (flip_a_bit, "expected the Parquet file.*CRC"),
    "fewer rows: they were read in silence": (keep_one_row, "expected 2 rows, found 1 rows"),
    "a column less: a trace": (drop_a_column, "expected the Parquet file .*user_id"),
    "cut: a trace": (lambda path: path.write_bytes(path.read_bytes()[:-3]), "expected the Parquet file "),
    "empty: a trace": (lambda path: path.write_bytes(b""), "expected the Parquet file "),
    "gone: a trace": (lambda path: path.unlink(), "expected a file of .* bytes, found none"),
}


def read_whole(storage, files):
    return tables.read(storage, "user_features", "int64", files)


def read_in_batches(storage, files):
    names = schemas.arrow_schema("user_features", "int64").names
    return list(tables.batches(storage, "user_features", "int64", files, names))


@pytest.mark.parametrize("read", [read_whole, read_in_batches])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_not_the_one_written_is_named(storage, read, damage):
    put(storage, "a", DAY, [1, 2])
    (file,) = tables.describe(storage, "user_features", "a")[DAY]
    spoil, message = DAMAGES[damage]
    path = storage.local(file.path)
    spoil(path)
    same_size = replace(file, bytes=path.stat().st_size) if path.exists() else file
    with pytest.raises(PermanentError, match=message) as raised:
        read(storage, [same_size])
    assert str(raised.value).startswith(f"{path.as_uri()}: ")
    assert "without one, remove the newest record of features of 2017-09-30" in str(raised.value)


@pytest.mark.parametrize("read", [read_whole, read_in_batches])
def test_a_file_of_another_length_is_named(storage, read):
    """Its length was in the record, and nobody compared."""
    put(storage, "a", DAY, [1, 2])
    (file,) = tables.describe(storage, "user_features", "a")[DAY]
    with pytest.raises(PermanentError, match=f"expected {file.bytes + 1} bytes, found {file.bytes} bytes"):
        read(storage, [replace(file, bytes=file.bytes + 1)])


def test_a_file_that_lies_in_no_table_is_named(storage):
    file = TableFile("elsewhere/part.parquet", 1, 1)
    with pytest.raises(PermanentError, match="elsewhere/part.parquet: expected a file of 1 bytes"):
        read_whole(storage, [file])


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), MemoryError()])
def test_what_the_process_lacks_is_no_damage(storage, monkeypatch, error):
    put(storage, "a", DAY, [1, 2])
    files = tables.describe(storage, "user_features", "a")[DAY]

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(tables.pq, "ParquetFile", fail)
    with pytest.raises(type(error)):
        read_whole(storage, files)


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


def test_a_table_whose_columns_have_other_names_now_shows_those(lake, monkeypatch):
    lake.commit("a", [1, 2])
    older = replace(schemas.TABLES["user_features"], columns={"user_id": "id", "trips_28": "float32"})
    with monkeypatch.context() as patch:
        patch.setitem(schemas.TABLES, "user_features", older)
        assert lake.mirror()["user_features"] == 0
    assert pl.read_delta(lake.uri).columns == ["user_id", "trips_28", "as_of"]
    assert lake.mirror()["user_features"] == 2
    assert pl.read_delta(lake.uri).columns == [*schemas.arrow_schema("user_features", "int64").names, "as_of"]
    assert lake.users() == [1, 2]
    assert lake.mirror()["user_features"] == 2


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
    assert set(lake.mirror()) == set(FEATURES)
    assert pl.read_delta(lake.storage.uri("item_features")).shape == (0, len(FEATURES["item_features"]) + 2)


@pytest.fixture
def overtaken(monkeypatch):
    """A function by which another mirror is faster, so many times."""
    follow = tables._follow

    def overtake(times):
        left = iter(range(times))

        def late(*args):
            if next(left, None) is not None:
                raise CommitFailedError("Transaction failed: Version 1 already exists")
            return follow(*args)

        monkeypatch.setattr(tables, "_follow", late)

    monkeypatch.setattr(tables, "_JITTER_SECONDS", 0)
    return overtake


def test_a_mirror_that_was_overtaken_follows_again(lake, overtaken):
    lake.commit("a", [1, 2])
    overtaken(tables.MIRROR_TRIES - 1)
    lake.mirror()
    assert lake.users() == [1, 2]


def test_a_mirror_that_is_overtaken_all_the_time_gives_up_and_says_so(lake, overtaken):
    lake.commit("a", [1, 2])
    overtaken(tables.MIRROR_TRIES)
    with pytest.raises(NightjarError, match=r"not mirrored in 20 tries \(Transaction failed: Version 1"):
        lake.mirror()


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
