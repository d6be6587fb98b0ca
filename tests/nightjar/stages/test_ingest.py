import csv
import dataclasses
import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pytest

from lake import layout, tables
from lake.errors import FileFault, GateFailed, PermanentError
from lake.records import Records
from lake.storage import open_storage
from nightjar.stages import attempt as attempts
from nightjar.stages import rowsettings
from nightjar.stages.ingest import Ingest

DAY, NEXT, CLOSED = dt.date(2024, 1, 1), dt.date(2024, 1, 2), dt.date(2024, 1, 3)


def _empty(tiny, row):
    tiny.raw(f"events/{DAY}.parquet").write_bytes(b"")


def _cut(tiny, row):
    path = tiny.put(DAY, [row(DAY)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _without_column(tiny, row):
    tiny.put(DAY, [row(DAY)], pa.schema([("user", pa.int64()), ("item", pa.int64()), ("paid", pa.float64())]))


def _uncastable(tiny, row):
    fields = [pa.field("user", pa.string()), *list(pa.Table.from_pylist([row(DAY)]).schema)[1:]]
    tiny.put(DAY, [row(DAY) | {"user": "one"}], pa.schema(fields))


def _without_rows(tiny, row):
    tiny.put(DAY, [])


@pytest.mark.parametrize(
    ("spoil", "expected", "found"),
    [
        (lambda tiny, row: None, "a parquet file", "no file"),
        (_empty, "a parquet file", "0 bytes"),
        (_cut, "a whole parquet file", r"\d+ bytes that cannot be read"),
        (_without_column, "the columns at, .*user", r"user, item, paid \(without at\)"),
        (_uncastable, "column user castable to int64 without loss", "string values"),
        (_without_rows, "rows", "none"),
    ],
    ids=["missing", "empty", "cut", "column", "type", "rows"],
)
def test_a_faulty_file_stops_the_day_before_spark(tiny, tiny_row, spoil, expected, found):
    spoil(tiny, tiny_row)
    uri = open_storage(tiny.settings.raw).uri("events/2024-01-01.parquet")
    with pytest.raises(
        FileFault, match=rf"^{uri}: expected {expected}, found {found}.*; .*2024-01-01 again$"
    ):
        attempts.begin(tiny.lake, Ingest(), [DAY])
    assert open_storage(tiny.settings.lake).list(layout.ATTEMPTS) == []


def test_a_catalogue_that_came_is_checked_too(tiny, tiny_row):
    tiny.put(DAY, [tiny_row(DAY)])
    tiny.put_items(DAY, [{"item": 10, "title": "tea"}])
    with pytest.raises(FileFault, match=r"items/2024-01-01.parquet: .*\(without department, kind\)"):
        attempts.begin(tiny.lake, Ingest(), [DAY])


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_text_files_are_checked_for_their_columns(tiny_with, tmp_path, kind):
    tiny = tiny_with(tmp_path, format=kind)
    text = "user,item\n1,2\n" if kind == "csv" else '{"user": 1, "item": 2}\n'
    tiny.raw(f"events/{DAY}.{kind}").write_text(text, encoding="utf-8")
    with pytest.raises(FileFault, match=r"expected the columns at, item, user, found .*\(without at\)"):
        attempts.begin(tiny.lake, Ingest(), [DAY])


def test_a_catalogue_has_a_dialect_of_its_own(tiny, tiny_row):
    path = Path(tiny.settings.dataset)
    of_csv = 'files = "items/{partition}.csv"\nformat = "csv"'
    changed = path.read_text(encoding="utf-8").replace(
        'files = "items/{partition}.parquet"\nformat = "parquet"', of_csv
    )
    path.write_text(f'{changed}\n[catalogue.csv]\ndelimiter = "\\t"\nencoding = "utf-16"\n', encoding="utf-8")
    tiny.put(DAY, [tiny_row(DAY)])
    items = "item\ttitle\tdepartment\tkind\tbrand\n10\tté\tdrinks\ttea\tleaf\n"
    tiny.raw(f"items/{DAY}.csv").write_text(items, encoding="utf-16")
    plan = attempts.read_plan(tiny.lake, Ingest(), attempts.begin(tiny.lake, Ingest(), [DAY]))
    (file,) = plan.catalogues
    assert (file.rows, [column.name for column in file.columns][:2]) == (1, ["item", "title"])


def test_a_name_that_spark_skips_is_refused(tiny):
    data = tiny.lake.data
    raw = data.raw.model_copy(update={"files": "events/_{partition}.parquet"})
    lake = dataclasses.replace(tiny.lake, data=data.model_copy(update={"raw": raw}))
    with pytest.raises(FileFault, match="leading _"):
        attempts.begin(lake, Ingest(), [DAY])


def test_a_day_outside_the_data_set_is_refused(tiny):
    with pytest.raises(
        PermanentError, match="partition 2024-01-06 is outside tiny: expected 2024-01-01 to 2024-01-05"
    ):
        attempts.begin(tiny.lake, Ingest(), [dt.date(2024, 1, 6)])


_AS_GERMANS_WRITE = ("2,5", "1.234,50", "NULL", "1.000.000,00")


def _tiny_csv(tiny_with, folder, rows, keys=""):
    """A data set in a folder with a day of rows in the dialect of some keys; it has a header without any."""
    folder.mkdir()
    tiny = tiny_with(folder, format="csv")
    with Path(tiny.settings.dataset).open("a", encoding="utf-8") as toml:
        toml.write(f"\n[raw.csv]\n{keys}")
    lines = [row | {"at": row["at"].isoformat()} for row in rows]
    dialect = tiny.lake.data.raw.csv
    with tiny.raw(f"events/{DAY}.csv").open("w", encoding=dialect.encoding, newline="") as file:
        file.write("# of one shop\n" if dialect.comment else "")
        writer = csv.DictWriter(file, lines[0].keys(), delimiter=dialect.delimiter)
        if not dialect.columns:
            writer.writeheader()
        writer.writerows(lines)
    return tiny


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
class TestCommitted:
    def test_a_record_names_inputs_tables_and_counts(self, tiny, tiny_row):
        path = tiny.put(DAY, [tiny_row(DAY), tiny_row(DAY, user=2)])
        record = tiny.ingest(DAY)
        (raw,) = record.inputs
        assert (raw.name, raw.bytes) == ("events/2024-01-01.parquet", path.stat().st_size)
        assert raw.digest == open_storage(tiny.settings.raw).sha256(raw.name)
        assert record.tables.keys() == {"interactions", "quarantine"}
        assert record.tables["interactions"].rows == record.counts["clean"] == 2
        assert record.details == {rowsettings.DETAIL: rowsettings.digest_of(tiny.lake.data)}
        assert Records(open_storage(tiny.settings.lake)).current("ingest", DAY) == record

    def test_a_closed_day_without_a_file_has_an_empty_record(self, tiny):
        record = tiny.ingest(CLOSED)
        assert record.outcome == "closed"
        assert record.inputs == ()
        assert {name: table.rows for name, table in record.tables.items()} == {
            "interactions": 0,
            "quarantine": 0,
        }

    def test_a_day_in_another_dialect_has_the_digest_of_the_plain_one(self, tiny_with, tiny_row, tmp_path):
        rows = [
            tiny_row(DAY, user=user, store="Café; 2", paid=paid)
            for user, paid in enumerate((2.5, 1234.5, None, 1e6), start=1)
        ]
        plain = _tiny_csv(tiny_with, tmp_path / "plain", rows)
        keys = 'delimiter = ";"\ndecimal = ","\nthousands = "."\nencoding = "latin-1"\ncomment = "#"\n'
        names = f'nulls = ["NULL"]\ncolumns = {json.dumps(list(rows[0]))}\n'
        told = [row | {"paid": paid} for row, paid in zip(rows, _AS_GERMANS_WRITE, strict=True)]
        other = _tiny_csv(tiny_with, tmp_path / "other", told, keys + names)
        records = [tiny.ingest_unjudged(DAY) for tiny in (plain, other)]
        one, two = (record.tables["interactions"].digest for record in records)
        assert one == two
        assert [record.counts["clean"] for record in records] == [3, 3]
        assert records[1].counts["read"] == sum(records[1].counts[kind] for kind in ("clean", "bad"))
        assert records[1].counts["bad"] == 1

    def test_a_number_of_other_marks_is_set_aside_as_it_was(self, tiny_with, tiny_row, tmp_path):
        rows = [tiny_row(DAY, user=user, paid=paid) for user, paid in enumerate(("5,999", "5.9", "5,9"), 1)]
        tiny = _tiny_csv(tiny_with, tmp_path / "some", rows, 'decimal = ","\n')
        record = tiny.ingest_unjudged(DAY)
        files = record.tables["quarantine"].files
        (bad,) = tables.read(tiny.lake.storage, "quarantine", "int64", files).to_pylist()
        assert (bad["row_number"], bad["reasons"]) == (2, ["amount_unreadable"])
        assert json.loads(bad["raw_row"])["paid"] == "5.9"
        assert (record.counts["clean"], record.counts["rounded_amount"]) == (2, 1)

    def test_a_closed_day_may_have_a_file_of_no_json_lines(self, tiny_with, tmp_path):
        """It was refused, and no other file says of JSON lines that there are none."""
        tiny = tiny_with(tmp_path, format="jsonl")
        tiny.raw(f"events/{CLOSED}.jsonl").write_bytes(b"")
        record = tiny.ingest(CLOSED)
        assert ([raw.name for raw in record.inputs], record.counts["read"]) == ([f"events/{CLOSED}.jsonl"], 0)

    def test_the_same_day_again_makes_no_record_and_a_changed_one_does(self, tiny, tiny_row):
        tiny.put(DAY, [tiny_row(DAY)])
        first = tiny.ingest(DAY)
        assert tiny.ingest(DAY) == first
        tiny.put(DAY, [tiny_row(DAY, user=2)])
        changed = tiny.ingest(DAY)
        assert changed.sequence == 2
        assert changed.fingerprint != first.fingerprint

    def test_rows_set_aside_leave_the_interactions_as_they_were(self, tiny, tiny_row):
        rows = [tiny_row(DAY, user=user) for user in range(1, 8)]
        tiny.put(DAY, rows)
        clean = tiny.ingest(DAY)
        injected = [tiny_row(DAY, user=None), tiny_row(DAY, paid=float("nan")), tiny_row(NEXT), rows[0]]
        tiny.put(DAY, [*injected, *rows])
        record = tiny.ingest(DAY)
        assert record.tables["interactions"].digest == clean.tables["interactions"].digest
        counts = record.counts
        assert counts["read"] == 11 == counts["clean"] + counts["bad"] + counts["duplicate"]
        assert (counts["bad"], counts["duplicate"]) == (3, 1)

    def test_too_many_bad_rows_are_refused_and_reported(self, tiny, tiny_row):
        tiny.put(DAY, [tiny_row(DAY), tiny_row(DAY, user=None), tiny_row(DAY, item=None)])
        first = r"row 2 of events/2024-01-01.parquet: null"
        told = rf"66.67% \(2 of 3\): 1 user_id_missing \({first}\), 1 item_id_missing"
        with pytest.raises(
            GateFailed, match=rf"2024-01-01.bad_share: expected at most 50.00% bad rows, found {told}"
        ):
            tiny.ingest(DAY)
        storage = open_storage(tiny.settings.lake)
        assert Records(storage).current("ingest", DAY) is None
        (result,) = [
            path for path in storage.list(f"{layout.REPORTS}/ingest/2024-01-01") if path.endswith("json")
        ]
        assert json.loads(storage.read(result))["verdict"] == "refused"

    def test_success_says_one_line_of_counts(self, tiny, tiny_row, caplog):
        """20 % duplicates were taken in without a word."""
        item = {"item": 10, "title": "tea", "department": "drinks", "kind": "green", "brand": "b"}
        tiny.put(DAY, [tiny_row(DAY, user=user) for user in (1, 2, 3, 4, 4, None)])
        tiny.put_items(DAY, [item, item])
        with caplog.at_level("INFO", "nightjar.stages"):
            tiny.ingest(DAY)
        assert (
            "ingest of 2024-01-01: 6 rows read, 4 clean, 1 bad (1 user_id_missing), 1 duplicate, 0 ignored, "
            "0 return; catalogue: 2 rows read, 1 clean, 0 bad, 1 duplicate" in caplog.messages
        )

    def test_the_gate_judges_every_row_of_every_day_again(self, tiny, tiny_row):
        """What the job would let through: it judged up to a limit of rows, and only warned of the rest."""
        tiny.put(DAY, [tiny_row(DAY, user=user) for user in range(1, 5)])
        attempt = attempts.begin(tiny.lake, Ingest(), [DAY])
        tiny.extract(attempt)
        stage = Ingest()
        plan = attempts.read_plan(tiny.lake, stage, attempt)
        events = plan.sections["events"] | {"default": "view", "weights": {"view": 1.0}, "labels": ["view"]}
        other = dataclasses.replace(plan, sections=plan.sections | {"events": events})
        checks = stage.check(tiny.lake, other, attempts.read_made(tiny.lake, stage, attempt))
        found = {check.name: check.found for check in checks[DAY]}
        assert found["interactions.event_type_known"].startswith("4 of 4 rows against it (purchase")
        assert found["interactions.days_late_in_bounds"] == "0 of 4 rows against it"
