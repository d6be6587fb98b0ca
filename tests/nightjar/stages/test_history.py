import datetime as dt
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from lake import layout, messages
from lake.errors import GateFailed
from lake.lake import Lake
from lake.partitions import days
from lake.records import Records
from lake.storage import open_storage
from nightjar.stages import attempt as attempts
from nightjar.stages.features import Features
from nightjar.stages.history import Past
from nightjar.stages.ingest import Ingest
from validation.profile import Profile

FIRST, BEFORE, WRONG, AFTER = (dt.date(2024, 1, day) for day in (1, 5, 6, 7))
CLOSED = dt.date(2024, 1, 3)
WEEK = [day for day in days(FIRST, AFTER) if day != CLOSED]


def _items(count):
    return [
        {"item": 100 + place, "title": "tea", "department": "d", "kind": "k", "brand": "b"}
        for place in range(count)
    ]


def _shop(tiny_with, row, folder, compare="stop_after = 0"):
    """A week of 30 rows a day and 40 items; on the sixth day amounts are in cents and 35 items are gone."""
    folder.mkdir(exist_ok=True)
    tiny = tiny_with(folder)
    toml = Path(tiny.settings.dataset)
    toml.write_text(toml.read_text().replace("2024-01-05", "2024-01-07") + f"\n[compare]\n{compare}\n")
    for day in WEEK:
        unit = 100 if day == WRONG else 1
        rows = [row(day, user=1 + n % 9, item=100 + n, paid=unit * (1.0 + n / 10)) for n in range(30)]
        tiny.put(day, rows)
    for day, count in ((FIRST, 40), (WRONG, 5), (AFTER, 38)):
        tiny.put_items(day, _items(count))
    return tiny


def _bootstrap(tiny, first, last):
    attempt = attempts.begin(tiny.lake, Ingest(), list(days(first, last)))
    tiny.extract(attempt)
    return attempts.commit(tiny.lake, Ingest(), attempt)


def _compared(tiny):
    """What was found of each day's comparisons, by all reports of a lake."""
    storage = open_storage(tiny.settings.lake)
    reports = [json.loads(storage.read(p)) for p in storage.list(layout.REPORTS) if p.endswith(".json")]
    checks = {check["name"]: check for report in reports for check in report["checks"]}
    return {name: check for name, check in checks.items() if ".compare." in name}


def _profiles(tiny):
    storage = open_storage(tiny.settings.lake)
    return {
        record.day: messages.read(storage, layout.profile(record.day, record.attempt), Profile)
        for record in Records(storage).all_current("ingest", AFTER)
        if record.outcome != "closed"
    }


REFUSED = (
    r"(?s)2024-01-06\.compare\.catalogue: expected at most 10\.00% of its items lost, "
    r"found 5 items, 87\.50% of the 40 of the catalogue before lost "
    r"\(.*raise compare\.catalogue\.tolerance of the data set above 0\.1"
)


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_a_wrong_day_stops_its_night_and_the_bootstrap_alike_and_is_no_history(
    tiny_with, tiny_row, tmp_path, caplog
):
    nights = _shop(tiny_with, tiny_row, tmp_path / "nights")
    _bootstrap(nights, FIRST, BEFORE)
    attempt = attempts.begin(nights.lake, Ingest(), [WRONG])
    nights.extract(attempt)
    with pytest.raises(GateFailed, match=REFUSED) as night:
        attempts.commit(nights.lake, Ingest(), attempt)[-1]
    assert "2024-01-06.compare.amount_scale: expected amount p" in str(night.value)
    records = Records(open_storage(nights.settings.lake))
    assert records.current("ingest", WRONG) is None
    (catalogue,) = (pin for pin in Features().reads(nights.lake, WRONG) if pin.name == "catalogue")
    assert catalogue.partition == FIRST.isoformat()
    nights.ingest(AFTER)

    whole = _shop(tiny_with, tiny_row, tmp_path / "whole")
    with pytest.raises(GateFailed, match=REFUSED):
        _bootstrap(whole, FIRST, AFTER)
    assert _compared(whole) == _compared(nights)
    assert _profiles(whole) == _profiles(nights)
    assert list(_profiles(whole)) == [day for day in WEEK if day != WRONG]
    after = _compared(whole)["2024-01-07.compare.amounts"]
    assert after["passed"]
    assert "the median of 4 days" in after["expected"]
    assert _profiles(whole)[AFTER].known == 30

    toml = Path(nights.settings.dataset)
    meant = toml.with_name("meant.toml")
    meant.write_text(
        toml.read_text() + 'catalogue = { tolerance = 0.9 }\namount_scale = { action = "warn" }\n'
    )
    planned = nights.settings.model_copy(update={"dataset": str(meant)})
    with caplog.at_level(logging.WARNING, logger="validation.gate"):
        (record,) = attempts.commit(Lake.open(planned), Ingest(), attempt)
    assert (record.partition, record.sequence) == ("2024-01-06", 1)
    assert "2024-01-06.compare.amount_scale: expected amount p" in caplog.text
    assert "compare.catalogue" not in caplog.text


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_a_closed_day_is_no_history_whether_it_has_a_file_or_not(tiny_with, tiny_row, tmp_path):
    """With a file without rows the nights after it divided by zero."""
    tiny = _shop(tiny_with, tiny_row, tmp_path / "closed")
    tiny.put(CLOSED, [])
    _bootstrap(tiny, FIRST, BEFORE)
    assert _compared(tiny)["2024-01-05.compare.known_items"]["passed"]
    assert list(Past([WRONG], tiny.lake).before(WRONG)) == [d for d in WEEK if d <= BEFORE]
    assert not any(name.startswith(str(CLOSED)) for name in _compared(tiny))


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_a_catalogue_that_is_gone_when_its_day_is_run_again_stops_it(tiny_with, tiny_row, tmp_path):
    """The day's record lost it in silence, and items that are sold no more came back to the lists."""
    tiny = _shop(tiny_with, tiny_row, tmp_path / "gone")
    _bootstrap(tiny, FIRST, BEFORE)
    tiny.raw(f"items/{FIRST}.parquet").unlink()
    told = r"2024-01-01\.compare\.catalogue: .* found 0 items, 100\.00% of the 40 .* lost"
    with pytest.raises(GateFailed, match=told):
        tiny.ingest(FIRST)
    assert "catalogue" in Records(open_storage(tiny.settings.lake)).current("ingest", FIRST).tables


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_a_catalogue_that_never_came_is_warned_of_with_its_path(tiny, tiny_row, caplog):
    """A wrong path of it published lists of all items, without names, and nobody was told."""
    tiny.put(FIRST, [tiny_row(FIRST)])
    with caplog.at_level(logging.WARNING, logger="validation.gate"):
        tiny.ingest(FIRST)
    assert "found none, nor a file items/2024-01-01.parquet" in caplog.text


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_a_catalogue_of_fewer_items_only_warns_in_the_first_two_weeks(tiny_with, tiny_row, tmp_path, caplog):
    tiny = _shop(tiny_with, tiny_row, tmp_path / "young", "stop_after = 14")
    _bootstrap(tiny, FIRST, AFTER)
    checks = _compared(tiny)
    told = checks["2024-01-06.compare.catalogue"]
    assert (told["passed"], told["severity"]) == (False, "warning")
    assert told["expected"].endswith("warns only: 4 of 14 days")
    assert checks["2024-01-01.compare.history"]["found"] == "0 days"
    assert _profiles(tiny)[WRONG].known == 5

    storage = open_storage(tiny.settings.lake)
    record = Records(storage).current("ingest", FIRST)
    path = tiny.settings.home / "lake" / layout.profile(FIRST, record.attempt)
    path.write_text('{"rows": "many"}')
    (tiny.settings.home / "lake" / layout.profile(BEFORE, record.attempt)).unlink()
    with caplog.at_level(logging.WARNING, logger="nightjar.stages.history"):
        known = Past([AFTER], tiny.lake).before(AFTER)
    assert list(known) == [day for day in WEEK if day not in (FIRST, BEFORE, AFTER)]
    assert "the profile of 2024-01-01 cannot be read" in caplog.text


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_a_day_that_was_closed_is_history_once_it_is_not(tiny, tiny_row):
    """Its record stayed, and its profile lay under the attempt that no record names."""
    tiny.put(CLOSED, [tiny_row(CLOSED)])
    first = tiny.ingest(CLOSED)
    toml = Path(tiny.settings.dataset)
    opened = toml.with_name("opened.toml")
    opened.write_text(toml.read_text().replace("closed_days = [2024-01-03]", "closed_days = []"))
    later = replace(tiny, settings=tiny.settings.model_copy(update={"dataset": str(opened)}))
    again = later.ingest(CLOSED)
    assert (again.sequence, again.attempt) == (2, first.attempt)
    after = CLOSED + dt.timedelta(days=1)
    assert list(Past([after], later.lake).before(after)) == [CLOSED]
