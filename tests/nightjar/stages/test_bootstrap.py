import datetime as dt

import pytest

from lake.errors import Conflict, FileFault, GateFailed, PermanentError
from lake.partitions import days
from lake.records import Records
from lake.storage import open_storage
from nightjar.stages import attempt as attempts
from nightjar.stages import ingest
from nightjar.stages.ingest import Ingest

FIRST, LAST = dt.date(2024, 1, 1), dt.date(2024, 1, 4)
CLOSED = dt.date(2024, 1, 3)


def _fill(tiny, row):
    for day in days(FIRST, LAST):
        if day != CLOSED:
            tiny.put(
                day,
                [row(day, user=user, paid=user / 3) for user in range(1, 4 + day.day)]
                + [row(day, item=None)],
            )
    item = {"item": 10, "title": "tea", "department": "drinks", "kind": "green", "brand": "b", "grams": 5}
    tiny.put_items(FIRST, [item, item | {"item": 11}])
    return tiny


def _bootstrap(tiny, first, last):
    attempt = attempts.begin(tiny.lake, Ingest(), list(days(first, last)))
    tiny.extract(attempt)
    return attempts.commit(tiny.lake, Ingest(), attempt)


def _meaning(records):
    return {record.partition: (record.fingerprint, record.content) for record in records}


@pytest.mark.spark
def test_one_pass_two_passes_and_single_nights_give_the_same_records(spark, tiny_with, tiny_row, tmp_path):
    lakes = []
    for name in ("once", "twice", "nightly"):
        (tmp_path / name).mkdir()
        lakes.append(_fill(tiny_with(tmp_path / name), tiny_row))
    once = _bootstrap(lakes[0], FIRST, LAST)
    twice = _bootstrap(lakes[1], CLOSED, LAST) + _bootstrap(lakes[1], FIRST, dt.date(2024, 1, 2))
    nightly = [lakes[2].ingest(day) for day in days(FIRST, LAST)]
    assert len(once) == 4
    assert _meaning(once) == _meaning(twice) == _meaning(nightly)
    assert [dict(record.counts) for record in once] == [dict(record.counts) for record in nightly]
    assert _bootstrap(lakes[2], FIRST, LAST) == nightly


@pytest.mark.spark
def test_days_that_their_night_would_refuse_are_named_and_the_others_committed(spark, tiny, tiny_row):
    _fill(tiny, tiny_row)
    worse = dt.date(2024, 1, 2)
    tiny.put(worse, [tiny_row(worse, item=None)])
    with pytest.raises(GateFailed, match=r"ingest of 2024-01-02 was refused: .*row_count.*bad_share"):
        _bootstrap(tiny, FIRST, LAST)
    committed = Records(open_storage(tiny.settings.lake)).partitions("ingest")
    assert list(committed) == [FIRST, CLOSED, LAST]


@pytest.mark.spark
def test_a_day_committed_meanwhile_is_a_conflict_of_that_day_alone(spark, tiny, tiny_row):
    _fill(tiny, tiny_row)
    attempt = attempts.begin(tiny.lake, Ingest(), list(days(FIRST, LAST)))
    tiny.extract(attempt)
    tiny.put(LAST, [tiny_row(LAST, user=99)])
    tiny.ingest(LAST)
    with pytest.raises(Conflict, match="ingest of 2024-01-04"):
        attempts.commit(tiny.lake, Ingest(), attempt)
    committed = Records(open_storage(tiny.settings.lake)).partitions("ingest")
    assert list(committed) == list(days(FIRST, LAST))


def test_a_range_without_a_sound_day_is_refused_at_once_as_its_nights_would(tiny):
    last = dt.date(2024, 1, 2)
    with pytest.raises(FileFault) as fault:
        attempts.begin(tiny.lake, Ingest(), list(days(FIRST, last)))
    lines = str(fault.value).splitlines()
    assert len(lines) == 2
    for day, line in zip((FIRST, last), lines, strict=True):
        with pytest.raises(FileFault) as night:
            attempts.begin(tiny.lake, Ingest(), [day])
        assert str(night.value) == line


def test_a_day_that_is_not_over_is_refused_as_its_night_would(tiny, tiny_row, monkeypatch):
    """Half of today was committed."""
    _fill(tiny, tiny_row)
    monkeypatch.setattr(ingest, "utc_now", lambda: dt.datetime(2024, 1, 2, 18, tzinfo=dt.UTC))
    with pytest.raises(PermanentError, match="2024-01-02 is outside tiny: expected 2024-01-01 to 2024-01-01"):
        attempts.begin(tiny.lake, Ingest(), list(days(FIRST, dt.date(2024, 1, 2))))


@pytest.mark.spark
def test_days_with_a_faulty_file_are_named_and_the_others_committed(spark, tiny, tiny_row):
    _fill(tiny, tiny_row)
    tiny.raw("events/2024-01-02.parquet").unlink()
    tiny.put_items(LAST, [{"item": 10, "title": "tea"}])
    with pytest.raises(FileFault) as fault:
        _bootstrap(tiny, FIRST, LAST)
    lines = str(fault.value).splitlines()
    assert len(lines) == 2
    assert "events/2024-01-02.parquet: expected a parquet file, found no file" in lines[0]
    assert "items/2024-01-04.parquet: expected the columns" in lines[1]
    committed = Records(open_storage(tiny.settings.lake)).partitions("ingest")
    assert list(committed) == [FIRST, CLOSED]


@pytest.mark.spark
def test_a_refused_catalogue_refuses_its_day_alone(spark, tiny, tiny_row):
    _fill(tiny, tiny_row)
    item = {"item": 10, "title": "tea", "department": "drinks", "kind": "green", "brand": "b"}
    tiny.put_items(LAST, [item, item | {"title": "coffee"}])
    tiny.raw("events/2024-01-02.parquet").write_bytes(b"")
    with pytest.raises(
        PermanentError,
        match=r"(?s)2024-01-02.parquet: .*0 bytes.*catalogue.2024-01-04.bad_share.*1 item_id_repeated",
    ) as error:
        _bootstrap(tiny, FIRST, LAST)
    assert error.type is PermanentError
    committed = Records(open_storage(tiny.settings.lake)).partitions("ingest")
    assert list(committed) == [FIRST, CLOSED]


def test_of_very_many_faults_ten_are_told_and_the_other_days_named():
    many = list(days(FIRST, dt.date(2024, 1, 12)))
    lines = attempts.list_faults({day: f"fault of {day}" for day in many}).splitlines()
    assert lines[9:] == ["fault of 2024-01-10", "... and 2 more: 2024-01-11, 2024-01-12"]
    assert len(lines) == 11


def test_a_range_that_ends_before_it_begins_is_refused(tiny):
    with pytest.raises(PermanentError, match="give the earlier day first"):
        attempts.begin(tiny.lake, Ingest(), list(days(LAST, FIRST)))
