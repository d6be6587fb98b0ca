"""What `nightjar check-config` shows of a sample, by the code of ingest itself."""

import datetime as dt
import json
import re

import pytest
from typer.testing import CliRunner

from lake.errors import ConfigError, FileFault
from lake.storage import open_storage
from nightjar.command import check_config
from nightjar.command.cli import app
from nightjar.console import console

DAY, NEXT = dt.date(2024, 1, 1), dt.date(2024, 1, 2)
ITEM = {"item": 10, "title": "tea", "department": "drinks", "kind": "green", "brand": "b"}


@pytest.fixture
def report(submit_here):
    def made(tiny, place="", day=None, most=1000, shown=3):
        return check_config.report(tiny.settings, str(place), day, most, shown, submit_here)

    return made


def _shown(seen):
    with console.capture() as shown:
        check_config.show(seen)
    return re.sub(r"\s+", " ", shown.get())


def _of(rows, key):
    return {getattr(row, key): row for row in rows}


@pytest.mark.spark
def test_a_day_in_place_is_shown_and_nothing_is_taken_in(tiny, tiny_row, report):
    rows = [tiny_row(DAY), tiny_row(DAY, user=None), tiny_row(DAY, hour=13), tiny_row(DAY)]
    tiny.put(DAY, rows)
    tiny.put_items(DAY, [ITEM | {"colour": "green"}])
    seen = report(tiny)
    assert seen.passed
    assert (seen.day, seen.is_whole) == (DAY, True)
    assert [(file.of, file.name, file.rows) for file in seen.files] == [
        ("events", "events/2024-01-01.parquet", 4),
        ("catalogue", "items/2024-01-01.parquet", 1),
    ]
    assert _of(seen.columns, "ours")["amount"] == check_config.Mapping(
        "events", "amount", "decimal(18,2)", "paid", ("float",)
    )
    assert _of(seen.columns, "raw")["colour"].ours == ""
    assert {name: seen.counts[name] for name in ("read", "clean", "bad", "duplicate")} == {
        "read": 4,
        "clean": 2,
        "bad": 1,
        "duplicate": 1,
    }
    first = seen.rows[0]
    assert (first.file, first.number, json.loads(first.raw)["user"]) == ("events/2024-01-01.parquet", 1, 1)
    assert (first.ours["user_id"], first.ours["event_ts"]) == ("1", "2024-01-01 12:00:00")
    assert seen.rows[-1].ours["attributes"] == '{"colour":"green"}'
    assert {each.reason: each.rows for each in seen.aside} == {"user_id_missing": 1, "exact_duplicate": 1}
    assert seen.days == {DAY: 4}
    assert open_storage(tiny.settings.lake).list("records") == []
    assert not (tiny.settings.home / "lake" / "attempts").exists()
    shown = _shown(seen)
    assert "tiny: the day 2024-01-01, at file://" in shown
    assert "4 rows read, 2 clean, 1 bad (1 user_id_missing), 1 duplicate" in shown
    assert "days of the stamps" not in shown
    assert shown.endswith("the night would take these rows in ")
    assert json.loads(seen.json())["counts"]["read"] == 4


@pytest.mark.spark
def test_rows_of_another_zone_refuse_the_day_with_what_to_do(tiny, tiny_row, report):
    late = [tiny_row(DAY, user=n, hour=n) for n in range(5, 24)]
    tiny.put(DAY, [*late, *(tiny_row(NEXT, user=n, hour=n) for n in range(5))] * 3)
    seen = report(tiny, day=DAY)
    assert seen.days == {DAY: 57, NEXT: 15}
    shown = _shown(seen)
    assert "days of the stamps: 2024-01-01 to 2024-01-02: 2024-01-01 (57 rows), 2024-01-02 (15 rows)" in shown
    assert "of the stamps lie in the 24 hours from +5:00 of the UTC day" in shown


@pytest.mark.spark
def test_a_sample_from_anywhere_has_rows_of_any_day(tiny_with, tmp_path, report):
    tiny = tiny_with(tmp_path, id_type="string", format="csv")
    sample = tmp_path / "export" / "all.csv"
    sample.parent.mkdir()
    lines = [f"u{n},{item},20{n:02d}-05-01,purchase,1,2.5" for n in range(10, 20) for item in ("a 1", "A1")]
    sample.write_text("user,item,at,type,pieces,paid\n" + "\n".join([*lines, "u1,007,soon,gift,x,1"]) + "\n")
    seen = report(tiny, sample, shown=1)
    assert seen.passed
    assert (seen.day, seen.is_whole, seen.counts["clean"]) == (None, False, 20)
    assert len(seen.days) == 10
    assert [(group.rows, group.differ) for group in seen.alike["item_id"]] == [
        ({"A1": 10, "a 1": 10}, ("case", "blanks"))
    ]
    assert [row.number for row in seen.rows] == [1]
    assert _of(seen.files, "name")["all.csv"].absent == ("basket", "store")
    shown = _shown(seen)
    assert "item_id: 1 groups of ids look alike; where they are one, rules.item_ids gives" in shown
    assert "'A1' (10 rows), 'a 1' (10 rows) differ in case, blanks" in shown
    assert "2010-05-01 to 2019-05-01" in shown
    assert "files of one day each: `nightjar cut` writes them" in shown
    assert "event_ts_unreadable" in shown


@pytest.mark.spark
def test_only_so_many_rows_are_judged_but_all_files_are_checked(tiny, tiny_row, report):
    tiny.put(DAY, [tiny_row(DAY, hour=hour) for hour in range(24)])
    seen = report(tiny, most=5)
    assert (seen.counts["read"], seen.files[0].rows, seen.is_whole) == (5, 24, False)
    tiny.raw("events/2024-01-01.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(FileFault, match="events/2024-01-01.parquet: expected a whole parquet file"):
        report(tiny)


@pytest.mark.spark
def test_of_small_files_in_one_copy_those_that_are_asked_for_are_judged(tiny_with, tmp_path, report):
    tiny = tiny_with(tmp_path, format="jsonl")
    for number in range(4):
        row = {"user": number, "item": 1, "at": "2024-01-01 10:00:00", "type": "view"}
        path = tmp_path / "some" / f"{number}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{json.dumps(row | {'item': item})}\n" for item in range(3)))
    seen = report(tiny, tmp_path / "some", DAY, most=5)
    assert (seen.counts["read"], seen.counts["clean"]) == (6, 6)
    assert [file.rows for file in seen.files] == [3, 3, 3, 3]


@pytest.mark.spark
def test_too_many_bad_rows_are_refused_as_a_night_refuses_them(tiny, tiny_row, report):
    tiny.put(DAY, [tiny_row(DAY, user=None), tiny_row(DAY, type="gift"), tiny_row(DAY)])
    seen = report(tiny)
    assert not seen.passed
    told = "critical: 2024-01-01.bad_share: expected at most 50.00% bad rows, found 66.67% (2 of 3)"
    assert told in _shown(seen)


def test_a_wrong_toml_is_told_by_the_usual_error_and_exit_code_1(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text('name = "wrong"\nid_typ = "int64"\n')
    with pytest.raises(ConfigError) as refused:
        check_config.read_dataset(str(path))
    told = CliRunner().invoke(app, ["check-config", str(path)])
    assert told.exit_code == 1
    assert "id_typ: there is no such key (did you mean id_type?)" in told.output
    as_json = CliRunner().invoke(app, ["check-config", str(path), "--json"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.output)["fault"] == str(refused.value)
