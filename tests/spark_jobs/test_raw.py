"""Raw files of every kind through Spark: one pass per format, a day a kind."""

import datetime as dt
import json
import uuid
from decimal import Decimal
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame

from lake import layout, messages, tables
from lake.dataset import read_dataset
from lake.errors import FileFault
from lake.partitions import days as span
from lake.records import Records
from lake.schemas import HASH, LANDED, RAW_ROW, ROW_NUMBER
from lake.storage import open_storage
from nightjar.stages import attempt as attempts
from nightjar.stages.ingest import Ingest
from spark_jobs.plans import ExtractPlan
from spark_jobs.raw import rows

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

FIRST = dt.date(2024, 1, 4)
STAMP = dt.datetime(2024, 1, 4, 12, 0, 0, 123456)


def _days(names):
    return {name: FIRST + dt.timedelta(place) for place, name in enumerate(names)}


def _long(tiny):
    """The tiny data set over as many days as a test has kinds."""
    with open(tiny.settings.dataset, "r+", encoding="utf-8") as file:
        text = file.read().replace("last_day = 2024-01-05", "last_day = 2024-12-31")
        file.seek(0)
        file.write(text)
    return tiny


def _ingested(tiny, days):
    """The counts of each kind's day, all taken in by one pass."""
    attempt = attempts.begin(tiny.lake, Ingest(), list(span(min(days.values()), max(days.values()))))
    tiny.extract(attempt)
    return dict(zip(days, attempts.commit(tiny.lake, Ingest(), attempt), strict=True))


def _rows(tiny, record, table):
    storage = open_storage(tiny.settings.lake)
    id_type = read_dataset(tiny.settings.dataset).id_type
    return tables.read(storage, table, id_type, record.tables[table].files).to_pylist()


def _told(counts):
    return tuple(counts[name] for name in ("read", "clean", "bad", "duplicate"))


def _not_utf8():
    return pa.StringArray.from_buffers(
        3,
        pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 4, 8, 12))),
        pa.py_buffer(b"tea\xe9tea\xe8tea\xe9"),
    )


def _map(kind, *keys):
    return pa.array([[(key, 1) for key in key_pair] for key_pair in keys], pa.map_(kind, pa.int64()))


TWO = [1, 2, 1]
FAR = pa.array([n * 4 * 10**18 for n in TWO], pa.timestamp("ms"))
UNMAPPED = {
    "uuid": pa.array([uuid.UUID(int=n).bytes for n in TWO], pa.uuid()),
    "time_ms": pa.array(TWO, pa.time32("ms")),
    "time_us": pa.array(TWO, pa.time64("us")),
    "time_ns": pa.array(TWO, pa.time64("ns")),
    "float16": pa.array(TWO, pa.float16()),
    "decimal_50": pa.array([Decimal(n) for n in TWO], pa.decimal256(50, 0)),
    "list_of_maps": pa.array([[[("k", n)]] for n in TWO], pa.list_(pa.map_(pa.string(), pa.int64()))),
    "duration": pa.array(TWO, pa.duration("us")),
    "fixed_binary": pa.array([bytes([n, 255]) for n in TWO], pa.binary(2)),
    "binary": pa.array([bytes([n, 255]) for n in TWO]),
    "not_utf8": _not_utf8(),
    "text_not_utf8_in_list": pa.ListArray.from_arrays([0, 1, 2, 3], _not_utf8()),
    "map_with_binary_keys": _map(pa.binary(), [b"\xff"], [b"\xfe"], [b"\xff"]),
    "order_within_a_map": _map(pa.string(), ["a", "b"], ["b", "a"], ["a", "b"]),
    "microseconds": pa.array([STAMP.replace(microsecond=n) for n in TWO]),
    "nanoseconds": pa.array(TWO, pa.timestamp("ns")),
    "micros_in_a_list": pa.array([[STAMP.replace(microsecond=n)] for n in TWO]),
    "signed_zero": pa.array([0.0, -0.0, 0.0]),
    "not_a_number": pa.array([float("nan"), None, float("nan")]),
    "last_digit": pa.array([0.1, 0.1 + 2**-56, 0.1]),
    "ancient": pa.array([dt.datetime(1, 1, n) for n in TWO]),
    "year_33658": pa.array([n * 10**18 for n in TWO], pa.timestamp("us")),
    # Spark's microseconds do not hold these, and "long overflow" refused the whole file.
    "millis_beyond": FAR,
    "millis_beyond_with_zone": FAR.cast(pa.timestamp("ms", "UTC")),
    "millis_beyond_in_a_list": pa.ListArray.from_arrays([0, 1, 2, 3], FAR),
    "millis_beyond_in_a_struct": pa.StructArray.from_arrays([FAR.cast(pa.timestamp("ms", "UTC"))], ["at"]),
    "millis_beyond_as_a_key": _map(pa.timestamp("ms"), *([n] for n in FAR.to_numpy())),
}
NAMES = [
    *("_metadata", "_corrupt_record", "_file", "landed", "source_file", "row_number", "raw", "raw_row"),
    *("malformed", "line", "hash", "words", "USER", "a.b", "a`b", " a b ", "", "user.id", "c0", "ü,;{}\n\t"),
]
FILES = {
    **{name: [("extra", values)] for name, values in UNMAPPED.items()},
    "names": [(name, pa.array(TWO)) for name in NAMES],
    "no_metadata": [(name, pa.array(TWO)) for name in NAMES[1:]],
    "one_name_twice": [("x", pa.array(TWO))] * 2,
}


def _put(tiny, tiny_row, day, columns):
    table = pa.Table.from_pylist([tiny_row(day)] * 3, _schema())
    for column, values in columns:
        table = table.append_column(column, values)
    pq.write_table(table, tiny.raw(f"events/{day}.parquet"))


def test_a_row_is_told_from_others_by_every_column_to_the_last_digit(spark, tiny, tiny_row):
    """Errors of Java before, or one of two real events dropped as a copy."""
    tiny, days = _long(tiny), _days(FILES)
    for name, day in days.items():
        _put(tiny, tiny_row, day, FILES[name])
    attempt = attempts.begin(tiny.lake, Ingest(), list(span(min(days.values()), max(days.values()))))
    request = messages.read(open_storage(tiny.settings.lake), layout.plan(attempt), ExtractPlan)
    frames = [
        part.frame.select(LANDED, ROW_NUMBER, RAW_ROW, HASH) for part in rows(spark, request, request.files)
    ]
    found = sorted(reduce(DataFrame.unionAll, frames).collect())
    told = {
        name: [(row[RAW_ROW], row[HASH]) for row in found if row[LANDED] == day] for name, day in days.items()
    }
    assert {name: len(three) for name, three in told.items()} == dict.fromkeys(days, 3)
    for name, (first, second, third) in told.items():
        assert first == third, name
        assert first[0] != second[0], name
    kept = {name: json.loads(three[0][0]) for name, three in told.items()}
    assert kept["uuid"]["extra"] == str(uuid.UUID(int=1))
    assert kept["time_us"]["extra"] == "00:00:00.000001"
    assert kept["microseconds"]["extra"] == "2024-01-04T12:00:00.000001"
    assert kept["not_utf8"]["extra"] == "tea\\xe9"
    assert {kept["names"][name] for name in NAMES} == {1} == {kept["no_metadata"][name] for name in NAMES[1:]}
    assert (kept["one_name_twice"]["x"], kept["one_name_twice"]["x (2)"]) == (1, 1)


def _put_variants(spark, tiny, tiny_row, day):
    """Rows with variants, as only Spark writes them, in columns that nobody mapped."""
    from_json = "parse_json(concat('{\"a\":', n, '}'))"
    _put(tiny, tiny_row, day, [("n", pa.array(TWO))])
    path = tiny.raw(f"events/{day}.parquet")
    frame = spark.read.parquet(str(path)).selectExpr(
        "*", f"{from_json} AS extra", f"array({from_json}) AS more"
    )
    frame.drop("n").coalesce(1).write.parquet(f"{path}.folder")
    (written,) = Path(f"{path}.folder").glob("*.parquet")
    written.rename(path)


def test_columns_that_nobody_mapped_stop_no_day(spark, tiny, tiny_row):
    """Variants ended the day with Spark's words."""
    tiny, days = _long(tiny), _days(["names", "uuid", "microseconds", "no_value", "variants"])
    for name, day in days.items():
        _put(tiny, tiny_row, day, FILES.get(name, [("extra", pa.nulls(3))]))
    _put_variants(spark, tiny, tiny_row, days["variants"])
    records = _ingested(tiny, days)
    expected = dict.fromkeys(days, (3, 2, 0, 1)) | {"no_value": (3, 1, 0, 2)}
    assert {name: _told(record.counts) for name, record in records.items()} == expected
    again = {name: _rows(tiny, record, "quarantine")[0]["row_number"] for name, record in records.items()}
    assert again == dict.fromkeys(days, 3) | {"no_value": again["no_value"]}


def _schema():
    return pa.schema(
        [
            ("user", pa.int64()),
            ("item", pa.int64()),
            ("at", pa.timestamp("us")),
            ("type", pa.string()),
            ("pieces", pa.int64()),
            ("paid", pa.float64()),
            ("basket", pa.int64()),
            ("store", pa.string()),
        ]
    )


def _with(table, name, values):
    return table.set_column(table.schema.get_field_index(name), name, values)


def _plain(names, **options):
    return {"use_dictionary": False, "column_encoding": dict.fromkeys(names, "BYTE_STREAM_SPLIT")} | options


MAPPED = {
    "brotli": (None, None, {"compression": "brotli"}),
    "lz4": (None, None, {"compression": "lz4"}),
    "page_version_2": (None, None, {"data_page_version": "2.0"}),
    "byte_stream_split": (None, None, _plain(["user", "item", "paid"])),
    "delta": (None, None, {"use_dictionary": False, "column_encoding": {"user": "DELTA_BINARY_PACKED"}}),
    "int96": (None, None, {"use_deprecated_int96_timestamps": True}),
    "nanoseconds": ("at", lambda a: a.cast(pa.timestamp("ns", "UTC")), {}),
    "unsigned": ("user", lambda a: a.cast(pa.uint64()), {}),
    "decimal_38": ("user", lambda a: a.cast(pa.decimal128(38, 0)), {}),
    "decimal_50": ("paid", lambda a: a.cast(pa.decimal256(50, 2)), {}),
    "half": ("paid", lambda a: a.cast(pa.float16()), {}),
    "view": ("store", lambda a: a.cast(pa.string_view()), {}),
    "large": ("store", lambda a: a.cast(pa.large_string()), {}),
    "dictionary": ("store", lambda a: a.dictionary_encode(), {}),
    "small_integers": ("basket", lambda a: a.cast(pa.int8()), {}),
}


def test_values_are_equal_whatever_type_codec_or_encoding_holds_them(tiny, tiny_row):
    """Errors of Java, or refused as changed meanwhile, before."""
    tiny, days = _long(tiny), _days([*MAPPED, "nothing"])
    for name, day in days.items():
        table = pa.Table.from_pylist([tiny_row(day), tiny_row(day, user=2, at=None)], _schema())
        table = _with(table, "at", pa.array([dt.datetime.combine(day, STAMP.time())] * 2))
        column, change, options = MAPPED.get(name, ("store", lambda a: pa.nulls(len(a)), {}))
        if column:
            table = _with(table, column, change(table[column].combine_chunks()))
        pq.write_table(table, tiny.raw(f"events/{day}.parquet"), **options)
    records = _ingested(tiny, days)
    for name, record in records.items():
        got = sorted(_rows(tiny, record, "interactions"), key=lambda row: row["user_id"])
        stamp = dt.datetime.combine(days[name], STAMP.time(), dt.UTC)
        segment = None if name == "nothing" else "A"
        got = [
            (row["user_id"], row["event_ts"], row["amount"], row["context_id"], row["segment"]) for row in got
        ]
        assert got == [(user, stamp, Decimal("2.50"), "7", segment) for user in (1, 2)], name


MILLIS = {"local": "", "with_zone": "UTC", "with_an_offset": "+02:00"}


def test_a_stamp_beyond_what_spark_holds_is_one_bad_row(tiny, tiny_row):
    """It was a "long overflow", which refused the whole file."""
    tiny, days = _long(tiny), _days(MILLIS)
    for name, day in days.items():
        noon = int(dt.datetime.combine(day, dt.time(12), dt.UTC).timestamp() * 1000)
        table = pa.Table.from_pylist([tiny_row(day, user=user) for user in (1, 2, 3, 3)], _schema())
        kind = pa.timestamp("ms", MILLIS[name] or None)
        table = _with(table, "at", pa.array([noon, FAR[0].value, noon + 1, noon + 1], kind))
        pq.write_table(table, tiny.raw(f"events/{day}.parquet"))
    records = _ingested(tiny, days)
    for name, record in records.items():
        assert _told(record.counts) == (4, 2, 1, 1), name
        assert record.counts["bad_event_ts_unreadable"] == 1, name
        noon = dt.datetime.combine(days[name], dt.time(12), dt.UTC)
        got = sorted((row["user_id"], row["event_ts"]) for row in _rows(tiny, record, "interactions"))
        assert got == [(1, noon), (3, noon + dt.timedelta(milliseconds=1))], name
        (bad,) = (row for row in _rows(tiny, record, "quarantine") if row["kind"] == "bad")
        assert json.loads(bad["raw_row"])["at"] == str(FAR[0].value), name


HEADER = "user,item,at,type,pieces,paid,basket,store"
CSV = {
    "plain": ("{a}\n{b}\n", (2, 2, 0, 0)),
    "cr_lf": ("{a}\r\n{b}\r\n", (2, 2, 0, 0)),
    "blank_lines": ("\n{a}\n\n{b}\n\n", (2, 2, 0, 0)),
    "no_last_line_end": ("{a}\n{b}", (2, 2, 0, 0)),
    "cut_in_the_last_line": ("{a}\n{cut}", (2, 1, 1, 0)),
    "too_few_and_too_many": ("{a}\n{cut}\n{b},9\n{b}\n", (4, 2, 2, 0)),
    "thousands_unquoted": ("{a}\n{thousands}\n{b}\n", (3, 2, 1, 0)),
    "blanks": ("{a}\n \n{b}\n", (3, 2, 1, 0)),
    "copies": ("{a}\n{b}\n{a}\n", (3, 2, 0, 1)),
    "blank_before_a_quote": ('{a}\n2,"10", "{at}",purchase,1,2.5,7,A\n \t"{b}"\n{b}\n', (4, 2, 2, 0)),
    "quotes": ('{a}\n"2","10","{at}","purchase",1,2.5,7,"a ""b"",\nc"\n', (2, 2, 0, 0)),
    "byte_order_mark": ("{a}\n{b}\n", (2, 2, 0, 0)),
}


def test_csv_rows_are_accounted_for(tiny_with, tiny_row, tmp_path):
    """Rows that were too short or too long were cut or filled by position, and clean, before."""
    tiny, days = _long(tiny_with(tmp_path, format="csv")), _days(CSV)
    for name, day in days.items():
        at = f"{day}T12:00:00"
        row = "{},10," + at + ",purchase,1,{},7,A"
        told = {"a": row.format(1, "2.5"), "b": row.format(2, "2.5"), "cut": f"2,10,{at},purchase,1,2."}
        told |= {"thousands": row.format(3, "1,234.56"), "at": at}
        mark = "\ufeff" if name == "byte_order_mark" else ""
        end = "\r\n" if name == "cr_lf" else "\n"
        text = mark + HEADER + end + CSV[name][0].format(**told)
        tiny.raw(f"events/{day}.csv").write_text(text, encoding="utf-8", newline="")
    records = _ingested(tiny, days)
    assert {name: _told(record.counts) for name, record in records.items()} == {
        name: counts for name, (_, counts) in CSV.items()
    }
    (bad,) = _rows(tiny, records["thousands_unquoted"], "quarantine")
    assert (bad["reasons"], bad["row_number"]) == (["malformed"], 2)
    assert ",1,234.56,7,A" in json.loads(bad["raw_row"])["_corrupt_record"]
    assert sorted(r["segment"] for r in _rows(tiny, records["quotes"], "interactions")) == ["A", 'a "b",\nc']


JSON = {
    "plain": ("{a}\n{b}\n", (2, 2, 0, 0)),
    "two_objects": ("{a}{b}\n{a}\n", (2, 1, 1, 0)),
    "other_values": ('42\n[]\nnull\n"x"\ntrue\n{a}\n' + "{b}\n" * 5, (11, 2, 5, 4)),
    "not_json": ("{a}\n{nan}\n{cut}\n{b}\n{twice}\n{c}\n", (6, 3, 3, 0)),
    "nested": ("{a}\n{nested}\n", (2, 1, 1, 0)),
    "blank_lines": ("\n{a}\r\n  \t\n{b}", (2, 2, 0, 0)),
    "late_digits": ("{long}\n{longer}\n{long}\n", (3, 2, 0, 1)),
    "half_a_letter": ("{a}\n{half}\n", (2, 1, 1, 0)),
}


def test_json_lines_are_one_row_each(tiny_with, tiny_row, tmp_path):
    """Of two objects in a line one was gone; `42` was a file that changed meanwhile, for ever."""
    tiny, days = _long(tiny_with(tmp_path, format="jsonl")), _days(JSON)
    for name, day in days.items():
        row = tiny_row(day) | {"at": f"{day}T12:00:00"}
        told = {"a": json.dumps(row), "b": json.dumps(row | {"user": 2}), "c": json.dumps(row | {"user": 3})}
        told |= {"nan": json.dumps(row | {"paid": float("nan")}), "cut": told["a"][:-9]}
        told |= {"twice": told["a"][:-1] + ', "user": 5}', "nested": json.dumps(row | {"user": {"id": 1}})}
        told |= {"long": told["a"][:-1] + ', "x": 0.10000000000000000001}'}
        told |= {"longer": told["a"][:-1] + ', "x": 0.10000000000000000002}'}
        told |= {"half": told["a"][:-1] + ', "x": "\\ud800"}'}
        text = JSON[name][0]
        for key, line in told.items():
            text = text.replace("{" + key + "}", line)
        tiny.raw(f"events/{day}.jsonl").write_text(text, encoding="utf-8", newline="")
    records = _ingested(tiny, days)
    assert {name: _told(record.counts) for name, record in records.items()} == {
        name: counts for name, (_, counts) in JSON.items()
    }
    bad = _rows(tiny, records["other_values"], "quarantine")
    malformed = [json.loads(row["raw_row"])["_corrupt_record"] for row in bad if row["kind"] == "bad"]
    assert sorted(malformed) == ['"x"', "42", "[]", "null", "true"]
    assert {tuple(row["reasons"]) for row in bad if row["kind"] == "bad"} == {("malformed",)}


def test_a_day_that_only_spark_cannot_read_is_left_out_and_named(tiny, tiny_row):
    """Told in Java's words, without file, tried three times, and the end of all days before."""
    tiny, days = _long(tiny), _days(["sound", "damaged", "gone", "more"])
    for day in days.values():
        tiny.put(day, [tiny_row(day), tiny_row(day, user=2)])
    attempt = attempts.begin(tiny.lake, Ingest(), list(span(min(days.values()), max(days.values()))))
    path = tiny.raw(f"events/{days['damaged']}.parquet")
    path.write_bytes(path.read_bytes()[:4] + b"\xff" * 200 + path.read_bytes()[204:])
    tiny.raw(f"events/{days['gone']}.parquet").unlink()
    tiny.extract(attempt)
    with pytest.raises(FileFault) as fault:
        attempts.commit(tiny.lake, Ingest(), attempt)
    lines = str(fault.value).splitlines()
    assert [
        f"events/{days[name]}.parquet: expected a file that Spark can read" in line
        for name, line in zip(("damaged", "gone"), lines, strict=True)
    ] == [True, True]
    assert all("deliver it again, then run" in line for line in lines)
    committed = Records(open_storage(tiny.settings.lake)).partitions("ingest")
    assert list(committed) == [days["sound"], days["more"]]


def test_enums_of_avro_are_read_as_texts(tiny, tiny_row):
    """Parquet files of Avro annotate them so; they were refused as bytes."""
    path = tiny.put(FIRST, [tiny_row(FIRST), tiny_row(FIRST, user=2, type="view")])
    pq.write_table(pq.read_table(path), path, store_schema=False)
    data = path.read_bytes()
    enum = data.replace(b"type\x25\x00\x4c\x1c\x00\x00", b"type\x25\x08\x4c\x4c\x00\x00")
    assert enum != data
    path.write_bytes(enum)
    (file,) = tiny.ingest(FIRST).tables["interactions"].files
    read = pq.ParquetFile(open_storage(tiny.settings.lake).local(file.path)).read()
    assert sorted(read["event_type"].to_pylist()) == ["purchase", "view"]
