"""Copies of an event by its key, in a day and from day to day."""

import datetime as dt
import io
import json
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import tables
from lake.errors import FileFault
from lake.partitions import days
from nightjar.stages import attempt as attempts
from nightjar.stages.ingest import Ingest

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

DAY, NEXT, CLOSED, THEN = (dt.date(2024, 1, day) for day in (1, 2, 3, 4))
SCHEMA = pa.schema(
    [
        ("user", pa.int64()),
        ("item", pa.int64()),
        ("at", pa.timestamp("us")),
        ("type", pa.string()),
        ("pieces", pa.int64()),
        ("paid", pa.float64()),
        ("basket", pa.int64()),
        ("store", pa.string()),
        ("invoice", pa.string()),
        ("line", pa.float64()),
        ("offset", pa.int64()),
    ]
)


@pytest.fixture
def keyed(tiny_with, tmp_path):
    """A function: a data set whose events are named by invoice and line."""

    def make(name="keyed", late_days=1, key='["invoice", "line"]', **changes):
        (tmp_path / name).mkdir()
        tiny = tiny_with(tmp_path / name, late_days=late_days, **changes)
        path = Path(tiny.settings.dataset)
        toml = path.read_text(encoding="utf-8")
        path.write_text(
            toml.replace("[raw.columns]", f"event_key = {key}\n\n[raw.columns]"), encoding="utf-8"
        )
        return tiny

    return make


@pytest.fixture
def event(tiny_row):
    """A function: a raw row with a key and an offset of its own."""
    offsets = iter(range(10**6))

    def make(day, invoice="A", line=1.0, **other):
        return tiny_row(day, **other) | {"invoice": invoice, "line": line, "offset": next(offsets)}

    return make


def _put(tiny, delivered):
    for day, rows in delivered.items():
        tiny.put(day, rows, SCHEMA)


def _rows(tiny, record, table="interactions"):
    files = record.tables[table].files
    return tables.read(tiny.lake.storage, table, tiny.lake.data.id_type, files).to_pylist()


def _aside(tiny, record):
    rows = _rows(tiny, record, "quarantine")
    return {(row["source_file"], row["row_number"]): (row["kind"], *row["reasons"]) for row in rows}


def _bootstrap(tiny, first, last):
    attempt = attempts.begin(tiny.lake, Ingest(), list(days(first, last)))
    tiny.extract(attempt)
    return attempts.commit(tiny.lake, Ingest(), attempt)


def _meaning(records):
    return {record.partition: (record.fingerprint, record.content) for record in records}


def test_copies_with_another_offset_are_left_out_and_those_that_differ_told(keyed, event, caplog):
    """They counted twice: the whole row was compared."""
    tiny = keyed()
    first = event(DAY)
    rows = [first, first, event(DAY), event(DAY, paid=9.0), event(DAY, line=2.0), event(DAY, invoice="B")]
    tiny.put(DAY, rows, SCHEMA)
    with caplog.at_level("WARNING", "validation.gate"):
        record = tiny.ingest(DAY)
    file = f"events/{DAY}.parquet"
    assert _aside(tiny, record) == {
        (file, 2): ("duplicate", "exact_duplicate"),
        (file, 3): ("duplicate", "event_key_repeated"),
        (file, 4): ("duplicate", "event_key_conflicting"),
    }
    counts = record.counts
    assert (counts["read"], counts["clean"], counts["duplicate"], counts["conflicting"]) == (6, 3, 3, 1)
    (told,) = [message for message in caplog.messages if "copies_agree" in message]
    assert f"1 that say something else (row 4 of {file}: " in told
    assert told.endswith(f"; row 1 of {file} came first)")


def test_a_row_without_all_of_the_key_is_known_by_the_whole_of_itself(keyed, event, caplog):
    tiny = keyed()
    half = event(DAY, line=None)
    tiny.put(DAY, [half, half, event(DAY, line=None), event(DAY, invoice=" ")], SCHEMA)
    with caplog.at_level("WARNING", "validation.gate"):
        record = tiny.ingest(DAY)
    assert [reason for _, reason in _aside(tiny, record).values()] == ["exact_duplicate"]
    assert (record.counts["clean"], record.counts["unnamed"]) == (3, 4)
    assert any("event_key: expected rows that have all columns" in message for message in caplog.messages)


def test_a_bad_row_hides_no_good_copy(keyed, event):
    tiny = keyed()
    tiny.put(DAY, [event(DAY, user=None), event(DAY, user=5)], SCHEMA)
    record = tiny.ingest(DAY)
    assert ([row["user_id"] for row in _rows(tiny, record)], record.counts["duplicate"]) == ([5], 0)


def test_parts_of_a_key_are_compared_as_texts(keyed, event):
    """A file of integers and one of floats told of the same lines."""
    tiny = keyed()
    tiny.put(DAY, [event(DAY, line=3.0)], SCHEMA)
    whole = SCHEMA.set(SCHEMA.get_field_index("line"), pa.field("line", pa.int32()))
    tiny.put(NEXT, [event(DAY, line=3, invoice=" A "), event(NEXT, line=4)], whole)
    record = [tiny.ingest(day) for day in (DAY, NEXT)][1]
    assert list(_aside(tiny, record).values()) == [("duplicate", "event_key_repeated")]


def test_a_day_keeps_what_it_has_first_in_any_order_of_nights(keyed, event):
    """A late copy counted twice, and was only told of."""
    lakes = [keyed(name) for name in ("nights", "backwards", "at-once")]
    delivered = {
        DAY: [event(DAY, invoice=name) for name in "ABC"],
        NEXT: [*(event(DAY, invoice=name) for name in ("A", "B", "C", "late")), event(NEXT, invoice="new")],
        THEN: [event(THEN, invoice="A"), event(THEN, invoice="new", pieces=2)],
    }
    for tiny in lakes:
        _put(tiny, delivered)
    nights = [lakes[0].ingest(day) for day in days(DAY, THEN)]
    backwards = [lakes[1].ingest(day) for day in reversed(list(days(DAY, THEN)))]
    assert _meaning(nights) == _meaning(backwards) == _meaning(_bootstrap(lakes[2], DAY, THEN))
    assert [record.counts["clean"] for record in nights] == [3, 2, 0, 2]  # the window is of one day
    assert nights[1].counts["duplicate"] == 3
    assert [raw.name for raw in nights[1].inputs] == [f"events/{day}.parquet" for day in (NEXT, DAY)]
    assert lakes[0].ingest(DAY) == nights[0]
    assert all(Ingest().is_fresh(lakes[0].lake, day) for day in days(DAY, THEN))
    lakes[0].put(DAY, delivered[DAY][1:], SCHEMA)
    assert [Ingest().is_fresh(lakes[0].lake, day) for day in days(DAY, THEN)] == [False, False, True, True]


@pytest.mark.parametrize("late_days", [1, 2])
def test_a_chain_of_copies_counts_once_and_the_same_whatever_is_seen_of_it(keyed, event, late_days):
    lakes = [keyed(name, late_days) for name in ("nights", "at-once")]
    last = dt.date(2024, 1, 5)
    delivered = {
        day: [event(day, invoice=f"{day}"), event(day, user=day.day // 2), event(day, invoice="B")]
        for day in (DAY, NEXT, THEN, last)
    }
    for tiny in lakes:
        _put(tiny, delivered)
    nights = [lakes[0].ingest(day) for day in days(DAY, last)]
    assert _meaning(nights) == _meaning(_bootstrap(lakes[1], DAY, last))
    # With one late day the 4th does not see the 2nd, as the 3rd was closed.
    assert [r.counts["clean"] for r in nights] == [3, 1, 0, 3 if late_days == 1 else 1, 1]


def test_a_day_that_comes_later_names_the_days_that_did_not_see_it(keyed, event, caplog):
    tiny = keyed()
    tiny.put(NEXT, [event(DAY), event(NEXT, line=2.0)], SCHEMA)
    assert tiny.ingest(NEXT).counts["clean"] == 2
    tiny.put(DAY, [event(DAY)], SCHEMA)
    with caplog.at_level("WARNING", "validation.gate"):
        tiny.ingest(DAY)
    (told,) = [message for message in caplog.messages if "later_copies" in message]
    assert "`nightjar bootstrap --from 2024-01-02 --to 2024-01-02` does so now, found 1 that did not" in told
    again = tiny.ingest(NEXT)
    assert (again.sequence, again.counts["clean"], again.counts["duplicate"]) == (2, 1, 1)
    caplog.clear()
    tiny.ingest(DAY)
    assert not any("later_copies" in message for message in caplog.messages)


def test_a_faulty_file_of_a_day_before_does_not_hold_the_night(keyed, event, caplog):
    tiny = keyed()
    tiny.put(DAY, [event(DAY)], SCHEMA).write_bytes(b"PAR1")
    tiny.put(NEXT, [event(DAY)], SCHEMA)
    with caplog.at_level("WARNING", "nightjar"):
        record = tiny.ingest(NEXT)
    assert (record.counts["clean"], [raw.name for raw in record.inputs]) == (1, [f"events/{NEXT}.parquet"])
    assert any("copies of events are not sought in 2024-01-01" in message for message in caplog.messages)


def test_copies_are_sought_in_a_day_before_whose_catalogue_is_faulty(keyed, event, caplog):
    """The fault of a catalogue that nobody asks for made copies clean."""
    tiny = keyed()
    tiny.put(DAY, [event(DAY)], SCHEMA)
    tiny.put_items(DAY, [{"item": 10}]).write_bytes(b"PAR1")
    tiny.put(NEXT, [event(DAY), event(NEXT, "B")], SCHEMA)
    with caplog.at_level("WARNING", "nightjar"):
        record = tiny.ingest(NEXT)
    assert (record.counts["clean"], record.counts["duplicate"]) == (1, 1)
    assert not any("not sought" in message for message in caplog.messages)


def test_a_file_before_that_changes_meanwhile_is_left_out_with_its_day_alone(keyed, event):
    tiny = keyed()
    tiny.put(DAY, [event(DAY)], SCHEMA)
    tiny.put(NEXT, [event(DAY)], SCHEMA)
    attempt = attempts.begin(tiny.lake, Ingest(), [NEXT])
    tiny.put(DAY, [event(DAY), event(DAY)], SCHEMA)
    tiny.extract(attempt)
    made = attempts.read_made(tiny.lake, Ingest(), attempt)
    assert (made.faults, made.counts[NEXT]["clean"]) == ({}, 1)


def test_a_column_of_the_key_that_a_file_lacks_refuses_it(keyed, tiny_row):
    tiny = keyed(key='["invoice", "line", "at"]')
    tiny.put(DAY, [tiny_row(DAY)])
    with pytest.raises(
        FileFault, match=r"expected the columns .*invoice.*, found .*\(without invoice, line\)"
    ):
        attempts.begin(tiny.lake, Ingest(), [DAY])
    nested = pa.schema([*[field for field in SCHEMA if field.name != "line"], ("line", pa.list_(pa.int64()))])
    tiny.put(DAY, [tiny_row(DAY) | {"invoice": "A", "line": [1]}], nested)
    with pytest.raises(FileFault, match="column line castable to text without loss, found list"):
        attempts.begin(tiny.lake, Ingest(), [DAY])


def _as_text(tiny, day, rows):
    kind = tiny.lake.data.raw.format
    told = [row | {"at": row["at"].isoformat()} for row in rows]
    if kind == "csv":
        lines = [
            ",".join(told[0]),
            *(",".join("" if v is None else str(v) for v in row.values()) for row in told),
        ]
    else:
        lines = [json.dumps(row) for row in told]
    tiny.raw(f"events/{day}.{kind}").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_columns_that_nothing_else_maps_are_read_from_text(keyed, event, kind):
    tiny = keyed(format=kind)
    _as_text(tiny, DAY, [event(DAY), event(DAY, line=2.0)])
    _as_text(tiny, NEXT, [event(DAY), event(NEXT, invoice="B"), event(NEXT, invoice="B", paid=7)])
    record = [tiny.ingest(day) for day in (DAY, NEXT)][1]
    reasons = [reason for _, reason in _aside(tiny, record).values()]
    assert (record.counts["clean"], reasons) == (1, ["event_key_repeated", "event_key_conflicting"])


IN_OBJECT = ("invoice", "line", "offset")
AVRO = {"user": "long", "item": "long", "pieces": "long", "basket": "long", "offset": "long"}
AVRO |= {"type": "string", "store": "string", "invoice": "string", "paid": "double", "line": "double"}
AVRO |= {"at": {"type": "long", "logicalType": "local-timestamp-micros"}}


def _nested(kind, rows):
    """A file whose rows hold key and offset in an object."""
    rows = [
        {name: value for name, value in row.items() if name not in IN_OBJECT}
        | {"head": {name: row[name] for name in IN_OBJECT}}
        for row in rows
    ]
    flat = [name for name in SCHEMA.names if name not in IN_OBJECT]
    made = io.BytesIO()
    if kind == "avro":
        head = {"name": "head", "type": "record", "fields": [{"name": n, "type": AVRO[n]} for n in IN_OBJECT]}
        fields = [*({"name": n, "type": AVRO[n]} for n in flat), {"name": "head", "type": head}]
        fastavro.writer(made, {"type": "record", "name": "row", "fields": fields}, rows)
    elif kind == "parquet":
        head = pa.field("head", pa.struct([SCHEMA.field(name) for name in IN_OBJECT]))
        schema = pa.schema([*(SCHEMA.field(name) for name in flat), head])
        pq.write_table(pa.Table.from_pylist(rows, schema), made)
    else:
        texts = [json.dumps(row, default=str) for row in rows]
        made.write(("[" + ",".join(texts) + "]" if kind == "json" else "\n".join(texts)).encode())
    return made.getvalue()


@pytest.mark.parametrize("kind", ["jsonl", "json", "avro", "parquet"])
def test_parts_of_a_key_lie_within_objects(keyed, event, kind):
    """Of nested rows only what the data set names is read."""
    tiny = keyed(key='["head.invoice", "head.line"]', format=kind)
    delivered = {
        DAY: [event(DAY), event(DAY, line=2.0), event(DAY, line=2.0)],
        NEXT: [event(DAY), event(NEXT, invoice="B"), event(NEXT, invoice="B", paid=7.0)],
    }
    for day, rows in delivered.items():
        tiny.raw(f"events/{day}.{kind}").write_bytes(_nested(kind, rows))
    records = [tiny.ingest(day) for day in delivered]
    assert [_reasons(tiny, record) for record in records] == [
        {3: "event_key_repeated"},
        {1: "event_key_repeated", 3: "event_key_conflicting"},
    ]
    assert [record.counts["unnamed"] for record in records] == [0, 0]


def _reasons(tiny, record):
    return {number: reason for (_, number), (_, reason) in _aside(tiny, record).items()}
