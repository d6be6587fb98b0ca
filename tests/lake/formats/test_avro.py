"""Avro files: what their types become, which codecs are read, and what is refused."""

import datetime as dt
import io
import itertools
import lzma
import zlib
from decimal import Decimal

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.errors import FileFault
from lake.formats import avro
from lake.formats.avro import Avro
from lake.schemas import copied_field
from lake.storage import open_storage
from nightjar.rawfiles.check import Checker, FileSpec

DAY = dt.date(2024, 1, 1)
NOON = 1_704_110_400_000


@pytest.fixture
def read(tmp_path):
    """What a file holds: its columns by name with family and values, as Spark gets them."""

    attempts = itertools.count()

    def read_bytes(data, names=("user",), target="string", id_type="string", empty=False):
        (tmp_path / "day").write_bytes(data)
        lake = open_storage((tmp_path / "lake").as_uri())
        checker = Checker(open_storage(tmp_path.as_uri()), lake, f"a{next(attempts)}")
        targets = {name: (name, target) for name in names}
        found = checker.check(FileSpec("day", DAY, Avro(None), targets, id_type, may_be_empty=empty))
        copy = pq.read_table(tmp_path / "lake" / found.copy)
        assert found.rows == copy.num_rows
        return {c.name: (c.family, copy[copied_field(c.name)].to_pylist()) for c in found.columns}

    return read_bytes


def written(records, *fields, codec="null", **options):
    """A file of records, whose fields are pairs of name and type."""
    schema = {"type": "record", "name": "r", "fields": [{"name": n, "type": kind} for n, kind in fields]}
    made = io.BytesIO()
    fastavro.writer(made, schema, records, codec=codec, **options)
    return made.getvalue()


def container(records, schema, codec, pack, blocks=1):
    """A file by a codec that the library lacks here."""
    plain = io.BytesIO()
    fastavro.writer(plain, schema, records, sync_marker=b"s" * 16, metadata={"x": "y"})
    file = plain.getvalue()
    start = file.index(b"s" * 16) + 16
    head = file[:start].replace(b"\x08null", bytes([2 * len(codec)]) + codec.encode())
    body = io.BytesIO(file[start:])
    count, size = avro._long(body, 0), avro._long(body, 0)
    packed = pack(body.read(size))
    block = avro._zigzag(count) + avro._zigzag(len(packed)) + packed + b"s" * 16
    return head + block * blocks


def logical(base, meaning, **more):
    return {"type": base, "logicalType": meaning} | more


@pytest.mark.parametrize(
    ("kind", "values", "family", "told"),
    [
        ("string", ["a", "\u00e9"], "string", ["a", "\u00e9"]),
        (["null", "long"], [1, None], "integer", [1, None]),
        (["int", "null"], [None, 2], "integer", [None, 2]),
        ("float", [0.5, 2.25], "single", [0.5, 2.25]),
        ("double", [0.1, 2.0], "float", [0.1, 2.0]),
        ("boolean", [True, False], "boolean", [True, False]),
        ("null", [None, None], "nothing", [None, None]),
        (["null"], [None, None], "nothing", [None, None]),
        (
            {"type": "enum", "name": "e", "symbols": ["BUY", "VIEW"]},
            ["VIEW", "BUY"],
            "string",
            ["VIEW", "BUY"],
        ),
        (["null", "string", "long"], ["a", 5], "string", ["a", "5"]),
        (["string", "boolean", "double", "null"], [True, None], "string", ["true", None]),
        (logical("string", "uuid"), ["a-b", "c"], "string", ["a-b", "c"]),
        (
            ["null", logical("bytes", "decimal", precision=9, scale=2)],
            [Decimal("-1.25"), None],
            "decimal",
            [Decimal("-1.25"), None],
        ),
        (
            logical("fixed", "decimal", precision=40, scale=1, size=20, name="f"),
            [Decimal("1.5"), Decimal(-2)],
            "text",
            ["1.5", "-2.0"],
        ),
        (logical("int", "date"), [dt.date(2024, 1, 1), dt.date(1969, 1, 1)], "date", None),
    ],
)
def test_a_value_of_avro_is_what_it_means(read, kind, values, family, told):
    found = read(written([{"user": value, "n": 1} for value in values], ("user", kind), ("n", "int")), ())
    assert found["user"] == (family, told or values)


@pytest.mark.parametrize("many", [1, 1000])
@pytest.mark.parametrize("zone", ["UTC", None])
def test_stamps_are_instants_or_local_and_of_any_year(read, many, zone):
    name = f"{'' if zone else 'local-'}timestamp-{'millis' if many == 1 else 'micros'}"
    data = written([{"at": NOON * many}, {"at": None}], ("at", ["null", logical("long", name)]))
    kind, values = read(data, ["at"], "timestamp")["at"]
    noon = dt.datetime(2024, 1, 1, 12)
    assert (kind, values[1]) == ("instant" if zone else "local", None)
    assert values[0].replace(tzinfo=None) == noon
    far = written([{"at": 300_000 * 10**12}], ("at", logical("long", "timestamp-millis")))
    assert read(far, ["at"], "timestamp")["at"] == ("text", [f"{300_000 * 10**12}"])


def test_a_name_leads_into_records_and_a_null_record_has_nothing(read):
    who = {"type": "record", "name": "who", "fields": [{"name": "id", "type": "long"}]}
    data = written([{"user": {"id": 7}}, {"user": None}], ("user", ["null", who]))
    found = read(data, ["user.id"])
    assert found["user.id"] == ("integer", [7, None])
    with pytest.raises(FileFault, match=r"expected the columns user\.no, found user \(without user\.no\)"):
        read(data, ["user.no"])


def test_a_type_that_holds_itself_is_text(read):
    node = {"type": "record", "name": "node", "fields": [{"name": "next", "type": ["null", "node"]}]}
    found = read(written([{"user": {"next": {"next": None}}}], ("user", node)), ())
    assert found["user"][1] == [{"next": '{"next": null}'}]


def test_lists_and_maps_are_kept(read):
    tags = {"type": "array", "items": logical("bytes", "decimal", precision=4, scale=1)}
    data = written(
        [{"user": "a", "tags": [Decimal("1.5")], "more": {"x": 1}}],
        ("user", "string"),
        ("tags", tags),
        ("more", {"type": "map", "values": "long"}),
    )
    found = read(data)
    assert (found["tags"][1], found["more"][1]) == ([[Decimal("1.5")]], [[("x", 1)]])


SCHEMA = {"type": "record", "name": "r", "fields": [{"name": "user", "type": "string"}]}
RECORDS = [{"user": f"u{number}"} for number in range(1000)]


def _snappy(data):
    return pa.Codec("snappy").compress(data, asbytes=True) + zlib.crc32(data).to_bytes(4, "big")


PACKS = {
    "snappy": _snappy,
    "zstandard": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
    "xz": lzma.compress,
}


@pytest.mark.parametrize("codec", avro._CODECS)
def test_each_codec_is_read_and_damage_is_found(read, codec):
    pack = PACKS.get(codec)
    data = (
        container(RECORDS, SCHEMA, codec, pack, 2)
        if pack
        else written(RECORDS * 2, ("user", "string"), codec=codec)
    )
    assert read(data)["user"][1] == [row["user"] for row in RECORDS * 2]
    for cut in (1, 17, 40):
        with pytest.raises(FileFault, match=r"a whole avro file, found block \d that cannot be read"):
            read(data[:-cut])
    if codec in ("snappy", "bzip2", "xz"):  # the others have no checksum
        place = len(data) - 200
        spoiled = bytes([*data[:place], data[place] ^ 85, data[place + 1] ^ 85, *data[place + 2 :]])
        with pytest.raises(FileFault, match=r"found block \d that cannot be read"):
            read(spoiled)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"PAR1", "an avro file, found one that begins with b'PAR1'; deliver it as an Avro"),
        (b"Obj\x01", "found a head that cannot be read"),
        (b"Obj\x01" + b"\xff" * 99, "found a head that cannot be read"),
        (written([], ("user", "string"))[:60], "found a head that cannot be read"),
        (written([], ("user", "string")), "rows, found none"),
        (
            written(RECORDS, ("user", "string"))[:-30] + b"x" * 30,
            "block 1 .*it is cut, or",
        ),
        (
            container(RECORDS, SCHEMA, "null", lambda data: data + b"\0"),
            "block 1 .*more bytes than",
        ),
        (container(RECORDS, SCHEMA, "null", lambda data: data[:-1]), "block 1 that cannot be read"),
        (container(RECORDS, SCHEMA, "null", lambda data: b""), "block 1 .*1000 records in 0 bytes"),
        (container(RECORDS, SCHEMA, "snappy", lambda data: _snappy(data)[:-1] + b"x"), "another checksum"),
        (
            container(RECORDS, SCHEMA, "lz4", bytes),
            "a codec of null, .*, found lz4; deliver",
        ),
        (container([1, 2], "long", "null", bytes), 'an avro file of records, found values of "long"'),
        (
            written([{"user": b"a"}], ("user", "bytes")),
            "user castable to string .*, found binary",
        ),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused(read, data, told):
    with pytest.raises(FileFault, match=f"day: expected .*{told}"):
        read(data)


def test_texts_that_are_no_utf_8_are_refused(read):
    data = written([{"user": "tea\u00e9"}], ("user", "string")).replace("tea\u00e9".encode(), b"tea\xe9x")
    with pytest.raises(FileFault, match="block 1 that cannot be read .*utf-8"):
        read(data)


def test_the_empty_file_of_a_closed_day_names_its_columns(read):
    assert read(written([], ("user", "string")), empty=True) == {"user": ("string", [])}
