"""A backfill is the nightly run: through a real Airflow, against the same nights by the command line."""

import datetime as dt
import time
from dataclasses import dataclass

import pytest

from lake.records import Records
from lake.storage import open_storage
from nightjar_reader import Reader

pytestmark = pytest.mark.services

NIGHTS = [dt.date(2017, 8, day) for day in (14, 15, 16)]
BESIDE = dt.date(2017, 8, 17)
STAGES = ("ingest", "features", "train", "precompute")
SECONDS = 900


@dataclass(frozen=True)
class Seen:
    """What there is after a scenario.

    Attributes
    ----------
    runs
        How each run of a partition came about and ended; sorted.
    records
        Per night the newest sequence of each stage.
    published
        The days of the ledger's entries, newest first.
    """

    runs: dict[dt.date, list[tuple[str, str]]]
    releases: dict[dt.date, str]
    records: dict[dt.date, list[int]]
    published: list[str]
    read: str


def _look(airflow):
    records, runs = Records(open_storage(airflow.settings.lake)), airflow.client.runs("nightly")
    reader = Reader(airflow.settings.releases)
    days = [*NIGHTS, BESIDE]
    made = {day: records.current("precompute", day) for day in days}
    return Seen(
        {day: sorted((run.kind, run.state) for run in runs if run.partition == str(day)) for day in days},
        {day: record.details["release_id"] for day, record in made.items() if record},
        {day: [records.latest(stage, day) for stage in STAGES] for day in days},
        [entry.as_of for entry in reader.releases()],
        reader.manifest.as_of,
    )


def _until(true, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def _wait_for(airflow, run_id):
    run = airflow.client.wait_for_run("nightly", run_id, SECONDS)
    logs = {
        task.id: airflow.client.logs("nightly", run_id, task.id, task.tries)[-3000:]
        for task in airflow.client.tasks("nightly", run_id)
        if task.state == "failed"
    }
    assert (run.state, logs) == ("success", {})


@pytest.fixture(scope="module")
def airflow(nights_on_disk, airflow_before, tmp_path_factory):
    with airflow_before(nights_on_disk, NIGHTS[0], tmp_path_factory.mktemp("backfills")) as slice:
        yield slice


@pytest.fixture(scope="module")
def three_at_once(airflow):
    """Three nights by one backfill, and the night after them by hand while they go on."""
    backfill = airflow.client.backfill("nightly", NIGHTS[0], NIGHTS[-1])
    records = Records(open_storage(airflow.settings.lake))
    _until(lambda: records.newest_night(NIGHTS[-1]))
    _wait_for(airflow, airflow.client.trigger("nightly", str(BESIDE)))
    airflow.client.wait_for_backfill(backfill, SECONDS)
    return _look(airflow)


def test_three_nights_at_once_are_those_of_the_command_line(three_at_once, nights_on_disk):
    assert [three_at_once.runs[night] for night in NIGHTS] == [[("backfill", "success")]] * 3
    releases = [three_at_once.releases[night] for night in NIGHTS]
    assert releases == [nights_on_disk.release_id(night) for night in NIGHTS]


def test_a_night_by_hand_in_their_middle_builds_on_all_of_them(three_at_once, nights_on_disk):
    assert three_at_once.runs[BESIDE] == [("manual", "success")]
    assert three_at_once.releases[BESIDE] == nights_on_disk.release_id(BESIDE)
    assert three_at_once.read == str(BESIDE)
