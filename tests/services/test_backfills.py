"""A backfill is the nightly run: through a real Airflow, against the same nights by the command line.

One chain of scenarios in one Airflow; each fixture goes on from where the one before it ended.
"""

import datetime as dt
from dataclasses import dataclass

import pytest

from lake.records import Records
from lake.storage import open_storage
from nightjar.servers.rest import ENDED_RUN
from nightjar.servers.waiting import wait_until
from nightjar_reader import Reader

pytestmark = pytest.mark.services

NIGHTS = [dt.date(2017, 8, day) for day in (14, 15)]
OLDER = NIGHTS[1]
GOES_ON, CUT_OFF = (dt.date(2017, 8, day) for day in (16, 17))
STAGES = ("ingest", "features", "train", "precompute")
TRAIN = ["train.wait_for_decision", "train.train", "train.decide"]


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
    days = [*NIGHTS, GOES_ON, CUT_OFF]
    made = {day: records.current("precompute", day) for day in days}
    return Seen(
        {day: sorted((run.kind, run.state) for run in runs if run.partition == str(day)) for day in days},
        {day: record.details["release_id"] for day, record in made.items() if record},
        {day: [records.latest(stage, day) for stage in STAGES] for day in days},
        [entry.as_of for entry in reader.releases()],
        reader.manifest.as_of,
    )


def _run_of(airflow, day):
    [run] = [run for run in airflow.client.runs("nightly") if run.partition == str(day)]
    return run


def _wait_for(airflow, run_id):
    run = airflow.client.wait_for_run("nightly", run_id)
    logs = {
        task.id: airflow.client.logs("nightly", run_id, task.id, task.tries)[-3000:]
        for task in airflow.client.tasks("nightly", run_id)
        if task.state == "failed"
    }
    assert (run.state, logs) == ("success", {})


def _backfill(airflow, first, last, **how):
    airflow.client.wait_for_backfill("nightly", airflow.client.backfill("nightly", first, last, **how))


@pytest.fixture(scope="module")
def airflow(nights_on_disk, airflow_before, tmp_path_factory):
    with airflow_before(nights_on_disk, NIGHTS[0], tmp_path_factory.mktemp("backfills")) as slice:
        yield slice


@pytest.fixture(scope="module")
def both_at_once(airflow):
    """Two nights by one backfill, as the UI makes it."""
    _backfill(airflow, NIGHTS[0], NIGHTS[-1])
    return _look(airflow)


@pytest.fixture(scope="module")
def cancelled(airflow, both_at_once):
    """A backfill of what is missing, one night at a time, cancelled while its first night goes on."""
    backfill = airflow.client.backfill("nightly", NIGHTS[0], CUT_OFF, max_active_runs=1)
    records = Records(open_storage(airflow.settings.lake))
    wait_until(
        lambda: records.latest("ingest", GOES_ON),
        lambda: airflow.client.progress("nightly"),
        f"the ingest of {GOES_ON}",
        pause=0.5,
    )
    airflow.client.cancel_backfill(backfill)
    assert _run_of(airflow, GOES_ON).state not in ENDED_RUN
    _wait_for(airflow, _run_of(airflow, GOES_ON).id)
    return _look(airflow)


@pytest.fixture(scope="module")
def started_again(airflow, cancelled):
    """The same days once more, those that failed."""
    _backfill(airflow, NIGHTS[0], CUT_OFF, reprocess="failed")
    return _look(airflow)


@pytest.fixture(scope="module")
def older_again(airflow, started_again):
    """A night that is long done, while a newer one is live."""
    _backfill(airflow, OLDER, OLDER, reprocess="completed")
    return _look(airflow)


@pytest.fixture(scope="module")
def cleared(airflow, older_again):
    """One stage of both nights."""
    runs = [run for run in airflow.client.runs("nightly") if run.partition in map(str, NIGHTS)]
    first = {run.partition: run.id for run in reversed(runs)}
    for run_id in first.values():
        airflow.client.clear("nightly", run_id, TRAIN)
    for run_id in first.values():
        _wait_for(airflow, run_id)
    tries = [task.tries for run_id in first.values() for task in airflow.client.tasks("nightly", run_id)]
    assert tries.count(2) >= len(TRAIN) * len(NIGHTS)
    return _look(airflow)


def test_two_nights_at_once_are_those_of_the_command_line(both_at_once, nights_on_disk):
    assert [both_at_once.runs[night] for night in NIGHTS] == [[("backfill", "success")]] * 2
    releases = [both_at_once.releases[night] for night in NIGHTS]
    assert releases == [nights_on_disk.release_id(night) for night in NIGHTS]
    assert both_at_once.read == str(NIGHTS[-1])


@pytest.mark.long
def test_only_missing_nights_are_run(cancelled, both_at_once):
    for night in NIGHTS:
        assert cancelled.runs[night] == both_at_once.runs[night]
        assert cancelled.records[night] == both_at_once.records[night] == [1, 1, 1, 1]


@pytest.mark.long
def test_a_cancelled_backfill_ends_the_night_that_goes_on_and_begins_no_other(cancelled, nights_on_disk):
    assert cancelled.runs[GOES_ON] == [("backfill", "success")]
    assert cancelled.releases[GOES_ON] == nights_on_disk.release_id(GOES_ON)
    assert cancelled.runs[CUT_OFF] == [("backfill", "failed")]
    assert cancelled.records[CUT_OFF] == [0, 0, 0, 0]
    assert cancelled.read == str(GOES_ON)


@pytest.mark.long
def test_started_again_it_runs_what_failed_and_no_more(started_again, cancelled, nights_on_disk):
    assert started_again.runs == cancelled.runs | {CUT_OFF: [("backfill", "failed"), ("backfill", "success")]}
    assert started_again.releases == {
        night: nights_on_disk.release_id(night) for night in nights_on_disk.days
    }
    assert set(map(tuple, started_again.records.values())) == {(1, 1, 1, 1)}
    assert started_again.read == str(CUT_OFF)


@pytest.mark.long
def test_an_older_night_again_keeps_its_release_and_moves_no_reader(older_again, started_again):
    assert older_again.runs == started_again.runs | {OLDER: [("backfill", "success")] * 2}
    assert older_again.releases == started_again.releases
    assert older_again.records == started_again.records
    assert older_again.published == started_again.published
    assert older_again.read == str(CUT_OFF)


@pytest.mark.long
def test_one_stage_again_comes_to_the_same(cleared, older_again):
    assert cleared == older_again
