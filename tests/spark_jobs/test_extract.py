import csv
import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal

import pyarrow as pa
import pytest
from pyspark.errors import AnalysisException

from lake import tables
from lake.dataset import read_dataset
from lake.errors import ConfigError, FileFault, PermanentError
from lake.partitions import days
from lake.storage import open_storage
from nightjar.stages import attempt as attempts
from nightjar.stages import overlap
from nightjar.stages.ingest import Ingest
from spark_jobs import extract, raw

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

DAY, NEXT = dt.date(2024, 1, 1), dt.date(2024, 1, 2)


def _rows(tiny, record, table="interactions"):
    storage = open_storage(tiny.settings.lake)
    id_type = read_dataset(tiny.settings.dataset).id_type
    return tables.read(storage, table, id_type, record.tables[table].files).to_pylist()


def test_a_clean_row_becomes_ours(tiny, tiny_row):
    tiny.put(DAY, [tiny_row(DAY, pieces=0, paid=2.675, type=None)])
    (row,) = _rows(tiny, tiny.ingest(DAY))
    assert row == {
        "user_id": 1,
        "item_id": 10,
        "event_ts": dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC),
        "event_type": "purchase",
        "quantity": Decimal("0.000"),
        "amount": Decimal("2.68"),
        "context_id": "7",
        "segment": "A",
        "source_file": "events/2024-01-01.parquet",
    }


def test_bad_rows_are_set_aside_with_all_their_reasons(tiny, tiny_row):
    bad = [
        tiny_row(DAY, user=None, paid=float("nan")),
        tiny_row(NEXT, hour=0),
        tiny_row(DAY, item=None, pieces=-1, type="gift"),
        tiny_row(DAY, paid=float("inf")) | {"at": None},
        tiny_row(DAY, pieces=None, user=-1),
    ]
    good = [tiny_row(DAY, hour=0), tiny_row(DAY, user=2, hour=23)]
    tiny.put(DAY, [good[0], *bad, good[1]])
    record = tiny.ingest_unjudged(DAY)
    found = {row["row_number"]: row for row in _rows(tiny, record, "quarantine")}
    assert {number: row["reasons"] for number, row in found.items()} == {
        2: ["user_id_missing", "amount_unreadable"],
        3: ["event_ts_outside_day"],
        4: ["item_id_missing", "event_type_unknown", "quantity_negative"],
        5: ["event_ts_missing", "amount_unreadable"],
        6: ["user_id_sentinel", "quantity_missing"],
    }
    assert {(row["kind"], row["source_file"]) for row in found.values()} == {
        ("bad", "events/2024-01-01.parquet")
    }
    raw = json.loads(found[2]["raw_row"])
    assert raw["user"] is None
    assert raw["paid"] == "NaN"
    assert raw["basket"] == 7
    assert (record.counts["read"], record.counts["clean"], record.counts["bad"]) == (7, 2, 5)
    assert record.counts["bad_amount_unreadable"] == 2


def test_of_exact_copies_the_first_is_kept(tiny, tiny_row):
    one, other = tiny_row(DAY), tiny_row(DAY, store="B")
    tiny.put(DAY, [one, other, one, one])
    record = tiny.ingest(DAY)
    again = _rows(tiny, record, "quarantine")
    assert [(row["kind"], row["reasons"], row["row_number"]) for row in again] == [
        ("duplicate", ["exact_duplicate"], 3),
        ("duplicate", ["exact_duplicate"], 4),
    ]
    assert sorted(row["segment"] for row in _rows(tiny, record)) == ["A", "B"]
    assert (record.counts["clean"], record.counts["duplicate"], record.counts["bad"]) == (2, 2, 0)


def test_neither_files_nor_digests_depend_on_the_partitions_of_shuffles(tiny, tiny_row, partitions):
    """A day with copies had as many files as shuffles have partitions."""
    rows = [tiny_row(day, user=user) for day in (DAY, NEXT) for user in range(1, 41)]
    for day in (DAY, NEXT):
        tiny.put(day, [*(row for row in rows if row["at"].date() == day), tiny_row(day)])
    made = {}
    for count in (2, 9):
        with partitions(count):
            attempt = attempts.begin(tiny.lake, Ingest(), [DAY, NEXT])
            tiny.extract(attempt)
        made[count] = attempts.read_made(tiny.lake, Ingest(), attempt).tables
    for table in ("interactions", "quarantine"):
        few, many = (made[count][table] for count in (2, 9))
        assert [len(few[day].files) for day in few] == [len(many[day].files) for day in many] == [1, 1]
        assert [few[day].digest for day in few] == [many[day].digest for day in many]


def test_a_row_that_lands_again_on_another_day_is_no_copy_but_told(tiny_with, tiny_row, tmp_path, caplog):
    """It counted twice without a word."""
    tiny = tiny_with(tmp_path, late_days=1)
    tiny.put(DAY, [tiny_row(DAY)])
    tiny.put(NEXT, [tiny_row(DAY), tiny_row(NEXT)])
    attempt = attempts.begin(tiny.lake, Ingest(), list(days(DAY, NEXT)))
    tiny.extract(attempt)
    with caplog.at_level("WARNING", "validation.gate"):
        records = attempts.commit(tiny.lake, Ingest(), attempt)
    assert [record.counts["clean"] for record in records] == [1, 2]
    told = "2024-01-02.overlap: expected no late row that landed before, found 1 of 1 late rows"
    assert any(told in message for message in caplog.messages)
    caplog.clear()
    tiny.put(NEXT, [tiny_row(DAY, user=2), tiny_row(DAY), tiny_row(NEXT)])
    attempt = attempts.begin(tiny.lake, Ingest(), [NEXT])
    tiny.extract(attempt)
    plan, made = (read(tiny.lake, Ingest(), attempt) for read in (attempts.read_plan, attempts.read_made))
    (check,) = overlap.check(NEXT, plan, made, tiny.lake)
    assert check.found.startswith("1 of 2 late rows, such as")


def test_a_day_that_comes_after_one_with_its_late_rows_is_told(tiny_with, tiny_row, tmp_path, caplog):
    """They counted twice without a word: only days before were looked at."""
    tiny = tiny_with(tmp_path, late_days=1)
    tiny.put(NEXT, [tiny_row(DAY), tiny_row(NEXT)])
    tiny.ingest(NEXT)
    tiny.put(DAY, [tiny_row(DAY), tiny_row(DAY, user=2)])
    with caplog.at_level("WARNING", "validation.gate"):
        tiny.ingest(DAY)
    told = "2024-01-01.overlap_with_later: expected no row that landed late on a later day"
    assert any(told in message and "found 1 of 2 rows, such as" in message for message in caplog.messages)


def test_late_rows_are_compared_by_the_ids_of_the_plan(tiny_with, tiny_row, tmp_path):
    """The TOML was asked, which may have other ids by the time of the commit."""
    tiny = tiny_with(tmp_path, late_days=1, id_type="string")
    schema = pa.Table.from_pylist([tiny_row(DAY, user="ann")]).schema
    tiny.put(DAY, [tiny_row(DAY, user="ann")], schema)
    tiny.ingest(DAY)
    tiny.put(NEXT, [tiny_row(DAY, user="ann"), tiny_row(NEXT, user="ann")], schema)
    attempt = attempts.begin(tiny.lake, Ingest(), [NEXT])
    tiny.extract(attempt)
    plan, made = (read(tiny.lake, Ingest(), attempt) for read in (attempts.read_plan, attempts.read_made))
    (tmp_path / "other").mkdir()
    other = tiny_with(tmp_path / "other", late_days=1, id_type="int64").settings.dataset
    changed = replace(tiny, settings=tiny.settings.model_copy(update={"dataset": other}))
    (check,) = overlap.check(NEXT, plan, made, changed.lake)
    assert check.found.startswith("1 of 1 late rows, such as {'user_id': 'ann'")


def test_a_late_row_within_the_window_is_kept(tiny_with, tiny_row, tmp_path):
    tiny = tiny_with(tmp_path, late_days=1)
    tiny.put(NEXT, [tiny_row(DAY), tiny_row(NEXT), tiny_row(dt.date(2023, 12, 31))])
    assert tiny.ingest(NEXT).counts["bad_event_ts_outside_day"] == 1


def _as_text(tiny, day, rows):
    kind = read_dataset(tiny.settings.dataset).raw.format
    path = tiny.raw(f"events/{day}.{kind}")
    told = [row | {"at": row["at"].isoformat()} for row in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        if kind == "csv":
            writer = csv.DictWriter(file, told[0].keys())
            writer.writeheader()
            writer.writerows(told)
        else:
            file.writelines(json.dumps(row) + "\n" for row in told)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_text_formats_give_the_digest_of_parquet(tiny, tiny_with, tiny_row, tmp_path, kind):
    rows = [tiny_row(DAY, user=user, paid=user / 4, store='a "b",\nc') for user in range(1, 6)]
    tiny.put(DAY, rows)
    (tmp_path / kind).mkdir()
    text = tiny_with(tmp_path / kind, format=kind)
    _as_text(text, DAY, rows)
    assert text.ingest(DAY).tables["interactions"].digest == tiny.ingest(DAY).tables["interactions"].digest


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_bad_row_of_text_has_its_number_and_its_words(tiny_with, tiny_row, tmp_path, kind):
    tiny = tiny_with(tmp_path, format=kind)
    _as_text(tiny, DAY, [tiny_row(DAY, user=user) for user in (1, "who", 3)])
    record = tiny.ingest(DAY)
    (bad,) = _rows(tiny, record, "quarantine")
    assert (bad["row_number"], bad["reasons"]) == (2, ["user_id_unreadable"])
    assert json.loads(bad["raw_row"])["user"] == "who"


def test_a_line_that_is_no_json_is_a_bad_row(tiny_with, tiny_row, tmp_path):
    tiny = tiny_with(tmp_path, format="jsonl")
    _as_text(tiny, DAY, [tiny_row(DAY), tiny_row(DAY, user=2)])
    path = tiny.raw(f"events/{DAY}.jsonl")
    path.write_text(path.read_text(encoding="utf-8") + '{"user": 3, "it\n', encoding="utf-8")
    record = tiny.ingest(DAY)
    (bad,) = _rows(tiny, record, "quarantine")
    assert record.counts["read"] == 3
    assert bad["reasons"] == ["malformed"]
    assert json.loads(bad["raw_row"])["_corrupt_record"] == '{"user": 3, "it'


def test_days_with_other_types_go_through_one_pass(tiny, tiny_row):
    tiny.put(DAY, [tiny_row(DAY)])
    other = pa.schema(
        [
            ("paid", pa.decimal128(10, 4)),
            ("user", pa.float64()),
            ("item", pa.int32()),
            ("at", pa.timestamp("ns", tz="UTC")),
            ("type", pa.string()),
            ("pieces", pa.float32()),
            ("basket", pa.float64()),
            ("store", pa.string()),
            ("note", pa.map_(pa.string(), pa.string())),
        ]
    )
    changed = tiny_row(NEXT, paid=Decimal("2.5000")) | {"at": dt.datetime(2024, 1, 2, 12, tzinfo=dt.UTC)}
    tiny.put(NEXT, [changed, changed | {"user": None}, changed], other)
    attempt = attempts.begin(tiny.lake, Ingest(), list(days(DAY, NEXT)))
    tiny.extract(attempt)
    first, second = attempts.commit(tiny.lake, Ingest(), attempt)
    ours = {"user_id": 1, "amount": Decimal("2.50"), "quantity": Decimal("1.000"), "context_id": "7"}
    for record in (first, second):
        (row,) = _rows(tiny, record)
        assert ours.items() <= row.items()
    assert (second.counts["bad"], second.counts["duplicate"]) == (1, 1)


def test_string_ids_and_local_stamps(tiny_with, tiny_row, tmp_path):
    tiny = tiny_with(tmp_path, id_type="string", timezone="Europe/Berlin")
    tiny.put(DAY, [tiny_row(DAY, hour=0), tiny_row(DAY, user=2, hour=1)])
    record = tiny.ingest(DAY)
    (row,) = _rows(tiny, record)
    assert (row["user_id"], row["event_ts"]) == ("2", dt.datetime(2024, 1, 1, 0, tzinfo=dt.UTC))
    assert record.counts["bad_event_ts_outside_day"] == 1


def test_catalogue_columns_beyond_the_mapping_become_attributes(tiny, tiny_row):
    tiny.put(DAY, [tiny_row(DAY)])
    item = {
        "item": 10,
        "title": "tea",
        "department": "drinks",
        "kind": None,
        "brand": "b",
        "grams": 50,
        "organic": None,
    }
    tiny.put_items(DAY, [item, item | {"item": 11, "kind": "green"}])
    rows = _rows(tiny, tiny.ingest(DAY), "catalogue")
    assert rows[0]["attributes"] == [("grams", "50")]
    assert [(row["item_id"], row["subcategory"]) for row in rows] == [(10, None), (11, "green")]


def test_rows_read_are_compared_with_what_the_file_holds(tiny, tiny_row):
    tiny.put(DAY, [tiny_row(DAY), tiny_row(DAY, user=2)])
    plan = _plan(tiny)
    short = replace(plan, files=(replace(plan.files[0], rows=3),))
    with pytest.raises(PermanentError, match=r"Spark read 2 rows of events/2024-01-01.parquet, which hold 3"):
        extract.run(short)


def test_an_attempt_is_written_once(tiny, tiny_row):
    tiny.put(DAY, [tiny_row(DAY)])
    attempt = attempts.begin(tiny.lake, Ingest(), [DAY])
    tiny.extract(attempt)
    with pytest.raises(AnalysisException, match="already exists"):
        tiny.extract(attempt)


@pytest.mark.parametrize("name", ["a b%20c ü", "h[1]", "h{a,b}*?\\\\x"])
def test_folders_whose_names_need_quoting_in_addresses(tiny_with, tiny_row, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    tiny = tiny_with(folder)
    tiny.put(DAY, [tiny_row(DAY)])
    assert tiny.ingest(DAY).tables["interactions"].rows == 1


def _plan(tiny):
    """The plan of a new attempt for the day."""
    return attempts.read_plan(tiny.lake, Ingest(), attempts.begin(tiny.lake, Ingest(), [DAY]))


def test_a_file_that_changes_after_it_was_checked_is_not_taken(tiny, tiny_row):
    """As many other rows went in, under the digest of those before."""
    path = tiny.put(DAY, [tiny_row(DAY), tiny_row(DAY, user=2)])
    plan = _plan(tiny)
    tiny.put(DAY, [tiny_row(DAY, user=3), tiny_row(DAY, user=4)])
    told = r"2024-01-01\.parquet: expected the file that was checked, found .*; run 2024-01-01 again"
    with pytest.raises(FileFault, match=told):
        extract.run(plan)
    again = _plan(tiny)
    path.touch()
    assert extract.run(again).counts[DAY]["clean"] == 2


def test_a_zone_that_python_knows_and_java_does_not_is_named(tiny, tiny_row):
    """It was a job that failed with what Java says, and was run again twice."""
    tiny.put(DAY, [tiny_row(DAY)])
    plan = _plan(tiny)
    newer = plan.config.model_copy(
        update={"raw": plan.config.raw.model_copy(update={"timezone": "America/Newtown"})}
    )
    vars(plan)["config"] = newer
    with pytest.raises(ConfigError, match="raw.timezone: expected a zone that the Java of Spark knows"):
        extract.run(plan)


@pytest.mark.parametrize("spell", ["{}", "{}/", "file://{}/"])
def test_the_raw_folder_may_be_spelled_in_any_way(tiny, tiny_row, spell):
    tiny.put(DAY, [tiny_row(DAY), tiny_row(DAY, user=2)])
    folder = tiny.settings.raw.removeprefix("file://")
    plan = replace(_plan(tiny), raw_root=spell.format(folder))
    assert extract.run(plan).counts[DAY]["read"] == 2


def test_a_file_that_spark_does_not_list_is_named(spark, tiny, tiny_row):
    tiny.put(DAY, [tiny_row(DAY)])
    plan = _plan(tiny)
    frame = spark.read.parquet(str(tiny.raw(f"events/{DAY}.parquet")))
    with pytest.raises(PermanentError, match=r"^file:///elsewhere: expected among .* \(1 of 1 are not there"):
        raw._names(spark, frame, {"file:///elsewhere": plan.files[0]})
