"""A day that is a set of files: one night's ingest gives what one file of all its rows gives."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import tables

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
    assert [raw.name for raw in record.inputs][4:7] == [
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
