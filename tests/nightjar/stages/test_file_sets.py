"""A day that is a set of files: one night's ingest gives what one file of all its rows gives."""

import csv
import datetime as dt
import json
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import tables
from lake.errors import FileFault
from nightjar.stages import attempt as attempts
from nightjar.stages.ingest import Ingest
from spark_jobs import raw

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

DAY, NEXT = dt.date(2024, 1, 1), dt.date(2024, 1, 2)


def _hourly(tiny_with, folder, **changes):
    """A data set whose days are folders of hours."""
    folder.mkdir()
    tiny = tiny_with(folder, **changes)
    path = Path(tiny.settings.dataset)
    text = path.read_text(encoding="utf-8")
    ending = changes.get("format", "parquet")
    text = text.replace(f"{{partition}}.{ending}", f"dt={{partition}}/hour={{hour}}/*.{ending}", 1)
    path.write_text(text, encoding="utf-8")
    return tiny


def _put(tiny, day, hour, rows, name="part-0", columns=None):
    path = tiny.raw(f"events/dt={day}/hour={hour:02d}/{name}.parquet")
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.select(columns) if columns else table, path)


def _aside(tiny, record):
    files = record.tables["quarantine"].files
    return tables.read(tiny.lake.storage, "quarantine", "int64", files).to_pylist()


def test_a_day_of_hours_is_the_day_of_one_file(tiny, tiny_with, tiny_row, tmp_path, caplog):
    rows = [tiny_row(DAY, user=1 + n % 40, hour=n % 23, paid=n / 4) for n in range(90)]
    rows[7] |= {"user": None}
    rows[50] = rows[4]
    tiny.put(DAY, sorted(rows, key=lambda row: row["at"]))
    whole = tiny.ingest(DAY)
    hourly = _hourly(tiny_with, tmp_path / "hours")
    for hour in range(23):
        _put(hourly, DAY, hour, [row for row in rows if row["at"].hour == hour])
    hourly.raw(f"events/dt={DAY}/hour=05/_SUCCESS").write_bytes(b"")
    _put(hourly, DAY, 5, [rows[4]], name="part-1 %20+0")
    with caplog.at_level("WARNING", "validation.gate"):
        record = hourly.ingest(DAY)
    assert record.tables["interactions"].digest == whole.tables["interactions"].digest
    assert len(record.tables["interactions"].files) == 1
    assert record.details["missing_hours"] == ["23"]
    assert any("2024-01-01.hours" in told and "none of 23" in told for told in caplog.messages)
    assert [file.name for file in record.inputs][4:7] == [
        f"events/dt={DAY}/hour=04/part-0.parquet",
        f"events/dt={DAY}/hour=05/part-0.parquet",
        f"events/dt={DAY}/hour=05/part-1 %20+0.parquet",
    ]
    found = {(row["kind"], row["source_file"], row["row_number"]) for row in _aside(hourly, record)}
    assert found == {
        ("bad", f"events/dt={DAY}/hour=07/part-0.parquet", 1),
        ("duplicate", f"events/dt={DAY}/hour=04/part-0.parquet", 3),
        ("duplicate", f"events/dt={DAY}/hour=05/part-1 %20+0.parquet", 1),
    }


def _without(rows, *names):
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def test_files_of_other_columns_are_read_by_one_plan_and_keep_their_rows(
    tiny_with, tiny_row, tmp_path, caplog
):
    """A plan for each kind of file, and a mapped optional column that one lacked refused the day."""
    tiny = _hourly(tiny_with, tmp_path / "hours")
    rows = [tiny_row(DAY, hour=hour, user=user) for hour in range(24) for user in (1, 2, None)]
    for hour in range(24):
        lacks = [name for place, name in enumerate(("store", "basket", "type")) if (hour >> place) & 1]
        own = _without([row for row in rows if row["at"].hour == hour], *lacks)
        _put(tiny, DAY, hour, [row | {f"extra_{hour % 2}": hour} for row in own])
    _put(tiny, DAY, 9, _without([tiny_row(DAY, hour=9, user=n) for n in (7, 7)], "paid"), name="part-1")
    attempt = attempts.begin(tiny.lake, Ingest(), [DAY])
    plan = attempts.read_plan(tiny.lake, Ingest(), attempt)
    assert len(raw._parts(plan.files)) == 1
    assert {file.absent for file in plan.files} >= {(), ("store",), ("type", "basket", "store"), ("paid",)}
    tiny.extract(attempt)
    (record,) = attempts.commit(tiny.lake, Ingest(), attempt)
    assert (record.counts["read"], record.counts["clean"], record.counts["bad"]) == (74, 48, 26)
    aside = {(row["source_file"], row["row_number"]): row for row in _aside(tiny, record)}
    told = json.loads(aside[f"events/dt={DAY}/hour=07/part-0.parquet", 3]["raw_row"])
    assert list(told) == ["user", "item", "at", "pieces", "paid", "extra_1"]
    told = json.loads(aside[f"events/dt={DAY}/hour=00/part-0.parquet", 3]["raw_row"])
    assert list(told) == ["user", "item", "at", "type", "pieces", "paid", "basket", "store", "extra_0"]
    lacking = aside[f"events/dt={DAY}/hour=09/part-1.parquet", 1]
    assert (lacking["reasons"], "paid" in json.loads(lacking["raw_row"])) == (["amount_missing"], False)


def test_a_day_is_the_same_alone_and_among_days_of_other_columns(tiny, tiny_row, caplog):
    """A backfill is the nightly run, also where a bootstrap reads many kinds of files at once."""
    schema = pa.Table.from_pylist([tiny_row(DAY)]).schema
    rows = {day: [tiny_row(day, user=user) for user in (1, 2, 2, None)] for day in (DAY, NEXT)}
    tiny.put(DAY, rows[DAY])
    tiny.put(NEXT, _without(rows[NEXT], "store"), schema.remove(schema.get_field_index("store")))
    with caplog.at_level("WARNING", "validation.gate"):
        alone = [tiny.ingest(day) for day in (DAY, NEXT)]
    assert any("2024-01-02.columns" in told and "none has store" in told for told in caplog.messages)
    assert not any("2024-01-01.columns" in told for told in caplog.messages)
    attempt = attempts.begin(tiny.lake, Ingest(), [DAY, NEXT])
    tiny.extract(attempt)
    assert attempts.commit(tiny.lake, Ingest(), attempt) == alone


def test_an_optional_column_may_be_absent_from_lines_of_json(tiny_with, tiny_row, tmp_path):
    tiny = _hourly(tiny_with, tmp_path / "lines", format="jsonl")
    for hour, lacks in enumerate(["store", "paid", "item"]):
        rows = _without([tiny_row(DAY, hour=hour, type="view") | {"at": f"{DAY}T0{hour}:00:00"}], lacks)
        path = tiny.raw(f"events/dt={DAY}/hour=0{hour}/a.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tiny.raw(f"events/dt={DAY}/hour=03/a.jsonl").write_bytes(b"")
    with pytest.raises(
        FileFault, match=r"hour%3D02/a\.jsonl: expected the columns at, item, user, .*without item"
    ):
        attempts.begin(tiny.lake, Ingest(), [DAY])
    tiny.raw(f"events/dt={DAY}/hour=02/a.jsonl").unlink()
    record = tiny.ingest(DAY)
    assert (record.counts["clean"], len(record.inputs)) == (2, 3)


_USERS = st.lists(st.sampled_from([1, 2, 3, None, "who"]), min_size=1, max_size=30)
_CUTS = st.lists(st.integers(0, 30), max_size=6)


@settings(max_examples=4, derandomize=True)
@given(_USERS, _CUTS, st.sampled_from(["csv", "jsonl"]))
def test_any_cut_of_a_day_into_files_gives_its_content(
    tiny_with, tiny_row, tmp_path_factory, users, cuts, kind
):
    """Copies too are found across files; what is set aside names its row of its file."""
    rows = [tiny_row(DAY, user=user) | {"at": f"{DAY}T10:00:00"} for user in users]
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    records, places = [], []
    for parts in ([0, len(rows)], edges):
        tiny = _hourly(tiny_with, tmp_path_factory.mktemp("cut") / "set", format=kind)
        at = {}
        for number, (first, last) in enumerate(pairwise(parts)):
            name = f"events/dt={DAY}/hour=10/{number}.{kind}"
            _write(tiny.raw(name), rows[first:last], kind)
            at |= {(name, row - first + 1): row for row in range(first, last)}
        records.append(record := tiny.ingest_unjudged(DAY))
        places.append(
            sorted(
                (at[row["source_file"], row["row_number"]], row["reasons"]) for row in _aside(tiny, record)
            )
        )
    one, many = records
    assert one.tables["interactions"].digest == many.tables["interactions"].digest
    assert one.counts == many.counts
    assert places[0] == places[1]
    assert many.counts["read"] == sum(many.counts[kind] for kind in ("clean", "bad", "duplicate"))


def _write(path, rows, kind):
    with path.open("w", encoding="utf-8", newline="") as file:
        if kind == "csv":
            writer = csv.DictWriter(file, ["user", "item", "at", "type", "pieces", "paid", "basket", "store"])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
