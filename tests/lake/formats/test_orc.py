"""ORC files: what is read of them, and what is refused."""

import datetime as dt
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc

from lake.errors import FileFault
from lake.formats.orc import Orc
from lake.storage import open_storage
from nightjar.rawfiles.check import Checker, FileSpec

DAY = dt.date(2024, 1, 1)
NOON = dt.datetime(2024, 1, 1, 12)
TABLE = pa.table(
    {
        "user": [1, 2, None],
        "who": [{"id": "a"}, None, {"id": None}],
        "at": pa.array([NOON] * 3, pa.timestamp("us")),
        "then": pa.array([NOON] * 3, pa.timestamp("us", "UTC")),
        "paid": pa.array([1, None, 3], pa.decimal128(10, 2)),
    }
)


@pytest.fixture
def check(tmp_path):
    """Check a file of some bytes; the result, and the copy of it."""

    def check_file(data, targets, empty=False):
        (tmp_path / "day.orc").write_bytes(data)
        checker = Checker(open_storage(tmp_path.as_uri()), open_storage((tmp_path / "lake").as_uri()), "a1")
        found = checker.check(FileSpec("day.orc", DAY, Orc(None), targets, "int64", may_be_empty=empty))
        return found, pq.read_table(tmp_path / "lake" / found.copy)

    return check_file


def written(table, **options):
    made = io.BytesIO()
    orc.write_table(table, made, **options)
    return made.getvalue()


USERS = {"user_id": ("user", "id"), "segment": ("who.id", "string")}


@pytest.mark.parametrize("codec", ["uncompressed", "snappy", "zlib", "lz4", "zstd"])
def test_each_codec_is_read_with_types_and_paths(check, codec):
    found, copy = check(written(TABLE, compression=codec), USERS)
    told = {column.name: (column.family, column.inner) for column in found.columns}
    assert told == {
        "user": ("integer", False),
        "who": ("other", False),
        "at": ("local_ns", False),
        "then": ("instant_ns", False),
        "paid": ("decimal", False),
        "who.id": ("string", True),
    }
    assert (found.rows, copy["raw_who.id"].to_pylist()) == (3, ["a", None, None])
    assert copy["raw_at"].cast(pa.timestamp("us")).to_pylist() == [NOON] * 3


def test_rows_of_many_stripes_are_counted(check):
    table = pa.table({"user": range(200_000), "who": [{"id": str(n * 7919)} for n in range(200_000)]})
    data = written(table, stripe_size=1 << 16, batch_size=1024, compression="uncompressed")
    assert orc.ORCFile(pa.BufferReader(data)).nstripes > 1
    assert check(data, USERS)[0].rows == 200_000


def test_the_empty_file_of_a_closed_day_names_its_columns(check):
    found, _ = check(written(TABLE.slice(0, 0)), USERS, empty=True)
    assert found.rows == 0
    with pytest.raises(FileFault, match="expected rows, found none"):
        check(written(TABLE.slice(0, 0)), USERS)


FAR = pa.table({"user": [1], "who": [{"id": "a"}], "at": pa.array([253_402_300_799], pa.timestamp("s"))})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (written(TABLE)[:-9], "a whole orc file, found .* bytes that cannot be read"),
        (written(TABLE)[:20], "a whole orc file, found .* bytes that cannot be read"),
        (b"PAR1" * 9, "a whole orc file, found .* bytes that cannot be read"),
        (b"", "an? orc file, found 0 bytes"),
        (written(FAR), "a whole orc file, found .*out of range for nanosecond"),
        (written(TABLE.drop(["who"])), r"the columns user, who\.id, found user, at.* \(without who\.id\)"),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused(check, data, told):
    with pytest.raises(FileFault, match=f"expected {told}"):
        check(data, USERS)
