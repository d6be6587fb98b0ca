import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import Conflict, PermanentError
from lake.records import Draft, Input, Records, TableContent, TableFile, fingerprint
from lake.storage import LocalStorage

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
    assert records.history("ingest", DAY)[0] == second
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


def test_a_stage_commits_no_input_that_it_does_not_declare(records):
    quarantine = Input("quarantine", "d", "2017-09-30", 1)
    with pytest.raises(PermanentError, match="features of 2017-09-30 read .'quarantine'."):
        records.commit(draft(stage="features", inputs=(quarantine,)), 0)
