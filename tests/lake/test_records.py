import datetime as dt
import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import Conflict, NightjarError, PermanentError
from lake.records import Draft, Input, Records, TableContent, TableFile, fingerprint
from lake.storage import LocalStorage
from nightjar_reader.sequences import pass_over

DAY = dt.date(2017, 9, 30)


def draft(*, digest="1:2:3", raw="aa", attempt="a" * 16, day="2017-09-30", **changes):
    content = TableContent((TableFile(f"interactions/{attempt}/part.parquet", 10, 1),), 1, digest)
    made = Draft(
        stage="ingest",
        partition=day,
        attempt=attempt,
        outcome="committed",
        version=1,
        config_digest="c",
        inputs=(Input("day.parquet", raw, bytes=7),),
        tables={"interactions": content},
        counts={"read": 1},
    )
    return replace(made, **changes)


@pytest.fixture
def records(tmp_path):
    return Records(LocalStorage(tmp_path))


def test_a_record_is_read_back_as_it_was_committed(records, tmp_path):
    committed = records.commit(draft(), 0)
    assert committed.sequence == 1
    assert Records(LocalStorage(tmp_path)).current("ingest", DAY) == committed
    assert committed.tables["interactions"].files[0].rows == 1


def test_no_record_no_partition(records):
    assert records.current("ingest", DAY) is None
    assert records.partitions("ingest") == {}


def test_the_same_work_again_writes_nothing(records):
    first = records.commit(draft(), 0)
    again = records.commit(draft(attempt="b" * 16), 1)
    assert again == first
    assert records.latest("ingest", DAY) == 1


def test_equal_content_under_a_new_fingerprint_names_the_old_files(records):
    first = records.commit(draft(), 0)
    second = records.commit(draft(raw="bb", attempt="b" * 16), 1)
    assert second.sequence == 2
    assert second.tables == first.tables
    assert second.fingerprint != first.fingerprint


def test_new_content_becomes_current(records):
    records.commit(draft(), 0)
    second = records.commit(draft(digest="9:9:9", raw="bb", attempt="b" * 16), 1)
    assert records.current("ingest", DAY) == second
    assert next(records.history("ingest", DAY)) == second
    assert [r.sequence for r in records.history("ingest", DAY)] == [2, 1]


def test_a_retry_after_a_lost_answer_succeeds(records):
    first = records.commit(draft(), 0)
    assert records.commit(draft(), 0) == first


def test_a_conflict_with_other_content_says_what_to_do(records):
    records.commit(draft(), 0)
    with pytest.raises(Conflict, match="ingest of 2017-09-30.*record 1.*clear from the first task"):
        records.commit(draft(digest="9:9:9", raw="bb"), 0)
    assert records.latest("ingest", DAY) == 1


def test_work_that_was_overtaken_is_no_success_although_its_base_is_equal(records):
    records.commit(draft(), 0)
    records.commit(draft(digest="9:9:9", raw="bb"), 1)
    with pytest.raises(Conflict):
        records.commit(draft(), 1)


def test_of_eight_with_equal_content_one_record_remains_and_all_end_well(tmp_path):
    def commit(n):
        return Records(LocalStorage(tmp_path)).commit(draft(attempt=f"{n:016x}"), 0)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(commit, range(8)))
    assert len({record.attempt for record in made}) == 1
    assert Records(LocalStorage(tmp_path)).latest("ingest", DAY) == 1


def test_eight_different_days_all_land(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda n: Records(LocalStorage(tmp_path)).commit(draft(day=f"2017-09-0{n}"), 0), range(1, 9)
            )
        )
    assert len(Records(LocalStorage(tmp_path)).partitions("ingest")) == 8


def test_all_current_is_in_order_and_ends_at_the_day_asked(records):
    for day in ("2017-09-30", "2017-09-28", "2017-10-01"):
        records.commit(draft(day=day), 0)
    assert [r.partition for r in records.all_current("ingest", DAY)] == ["2017-09-28", "2017-09-30"]


def test_a_changed_file_is_noticed(records, tmp_path):
    records.commit(draft(), 0)
    path = tmp_path / "records/ingest/2017-09-30/000000000001.json"
    entry = json.loads(path.read_text())
    entry["inputs"][0]["digest"] = "bb"
    path.write_text(json.dumps(entry))
    with pytest.raises(PermanentError, match="was changed or is damaged"):
        Records(LocalStorage(tmp_path)).current("ingest", DAY)


def spoiled(records, tmp_path, change):
    """The records of a lake whose only record was changed."""
    records.commit(draft(), 0)
    path = tmp_path / "records/ingest/2017-09-30/000000000001.json"
    path.write_bytes(change(path.read_bytes()))
    return Records(LocalStorage(tmp_path))


def altered(**changes):
    return lambda content: json.dumps(json.loads(content) | changes).encode()


FILE = {"path": "a", "bytes": 10, "rows": 1}
TABLE = {"files": [FILE], "rows": 1, "digest": "1:2:3"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda content: content[:100], "entry: expected JSON"),
        (lambda content: b"", "entry: expected JSON"),
        (lambda content: b"[1]", "entry: expected an object"),
        (lambda content: b"{}", "without stage"),
        (altered(fingerprint=None), "fingerprint"),
        (altered(stage="features"), "stage 'ingest', as where it lies, found 'features'"),
        (altered(partition="2017-09-29"), "partition '2017-09-30', as where it lies, found '2017-09-29'"),
        (altered(sequence=2), "sequence 1, as where it lies, found 2"),
        (altered(sequence="1"), "sequence"),
        (altered(written_at="now"), "written_at"),
        (altered(written_at="2017-09-30"), "written_at"),
        (altered(inputs=None), "inputs"),
        (altered(inputs=[{"name": "day.parquet"}]), "without inputs.0..digest"),
        (
            altered(inputs=[{"name": 1, "digest": "", "partition": "", "sequence": 0, "bytes": 0}]),
            "inputs.0..name",
        ),
        (altered(tables=[]), "tables"),
        (altered(tables={"interactions": None}), "tables"),
        (altered(tables={"interactions": {}}), "without tables.interactions.files"),
        (altered(tables={"interactions": TABLE | {"rows": -1}}), "tables.interactions.rows"),
        (altered(tables={"interactions": TABLE | {"files": ["a"]}}), "tables.interactions.files.0."),
        (altered(tables={"interactions": TABLE | {"files": [FILE | {"path": 3}]}}), "files.0..path"),
        (altered(counts={"read": "1"}), "counts"),
        (altered(details=None), "details"),
        (altered(details={"missing_days": "2017-09-01"}), "details.missing_days"),
        (altered(details={"release_id": "newest"}), "details.release_id"),
        (altered(details={"manifest_sha256": None}), "details.manifest_sha256"),
        (altered(details={"bundle_id": 7}), "details.bundle_id"),
        (altered(details={"metrics": []}), "details.metrics"),
    ],
)
def test_a_damaged_record_is_named_with_its_field(records, tmp_path, change, field):
    """Once a KeyError or TypeError, or no error at all."""
    with pytest.raises(PermanentError, match=rf"ingest/2017-09-30/000000000001.json: .*{field}"):
        spoiled(records, tmp_path, change).current("ingest", DAY)


@pytest.mark.parametrize("details", [{}, {"bundle_id": None}])
def test_a_detail_that_is_needed_and_missing_is_named(records, details):
    """It was a KeyError, as if the program were wrong."""
    record = records.commit(draft(details=details), 0)
    with pytest.raises(PermanentError, match=r"ingest record 1 of 2017-09-30: expected details.bundle_id"):
        record.require("bundle_id")
    told = records.commit(draft(details={"bundle_id": "b"}), 1)
    assert told.require("bundle_id") == "b"


STRAYS = [
    "ingest/README.md",
    "ingest/2017-09-30/old/000000000099.json",
    "ingest/2017-09-30/0000000000099.json",
    "ingest/2017-09-30/20171001.json",
    "ingest/2017-10-09/old/000000000001.json",
    "ingest/not-a-day/000000000001.json",
    "ingest/2017-02-30/000000000001.json",
    "ingest/٢٠١٧-٠٩-٣٠/000000000001.json",
    "ingest/000000000001.json",
    "ingest/copy/ingest/2017-09-30/000000000001.json",
]


@pytest.mark.parametrize("stray", STRAYS)
def test_strays_among_records_change_nothing_and_are_named(records, tmp_path, stray, caplog):
    """Once every night and every sensor ended by them."""
    pass_over.cache_clear()
    first = records.commit(draft(), 0)
    (tmp_path / "records" / stray).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "records" / stray).write_text("{}")
    for _ in range(2):
        assert records.partitions("ingest") == {DAY: 1}
        assert records.all_current("ingest", dt.date.max) == [first]
        assert (list(records.history("ingest", DAY)), records.latest("ingest", DAY)) == ([first], 1)
    assert records.commit(draft(raw="bb", digest="9:9:9"), 1).sequence == 2
    (warning,) = caplog.records
    assert LocalStorage(tmp_path).uri(f"records/{stray}") in warning.getMessage()


def test_strays_among_marks_begin_no_night(records, tmp_path, caplog):
    """Once the next night had the number of a stray."""
    pass_over.cache_clear()
    assert records.open_night(DAY) == 1
    folder = tmp_path / "nights/2017-09-30"
    for stray in ("7", "0000000000007", "000000000009.txt", "x.decided", "٠٠٠٠٠٠٠٠٠٠٠٧", "000000000000"):
        (folder / stray).write_text("")
    records.mark_decided(DAY, 1)
    assert (records.newest_night(DAY), records.open_night(DAY)) == (1, 2)
    assert len(caplog.records) == 6


def test_a_folder_of_the_next_record_s_name_is_named(records, tmp_path):
    """A raw IsADirectoryError, after the whole stage had run."""
    (tmp_path / "records/ingest/2017-09-30/000000000001.json").mkdir(parents=True)
    assert (records.current("ingest", DAY), records.partitions("ingest")) == (None, {})
    with pytest.raises(PermanentError, match="000000000001.json: expected a file or nothing, found a folder"):
        records.commit(draft(), 0)


def test_a_day_that_cannot_be_read_is_not_a_day_without_a_record(records, tmp_path, monkeypatch):
    """It was left out in silence: features built their history without it."""
    records.commit(draft(), 0)
    scandir, folder = os.scandir, tmp_path / "records/ingest/2017-09-30"

    def refusing(path="."):
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    for ask in (lambda: records.current("ingest", DAY), lambda: records.partitions("ingest")):
        with pytest.raises(NightjarError, match="ingest/2017-09-30: .* found Permission denied; mend"):
            ask()


def test_sequences_and_order_of_inputs_are_not_in_the_fingerprint():
    one = Input("interactions", "d1", "2017-09-01", 1)
    two = Input("interactions", "d2", "2017-09-02", 1)
    assert fingerprint(1, "c", [one, two]) == fingerprint(1, "c", [replace(two, sequence=5), one])


@given(st.sampled_from(["version", "config", "name", "partition", "digest"]))
def test_everything_else_is_in_the_fingerprint(what):
    base = Input("interactions", "d1", "2017-09-01", 1)
    changed = base if what in ("version", "config") else replace(base, **{what: "other"})
    version, config = (2 if what == "version" else 1), ("d" if what == "config" else "c")
    assert fingerprint(1, "c", [base]) != fingerprint(version, config, [changed])


def test_a_night_is_open_until_it_is_decided(records):
    assert records.newest_night(DAY) == 0
    assert (records.open_night(DAY), records.open_night(DAY)) == (1, 2)
    records.mark_decided(DAY, 1)
    records.mark_decided(DAY, 1)
    assert records.newest_night(DAY) == 2
    assert records.is_decided(DAY, 1)
    assert not records.is_decided(DAY, 2)
