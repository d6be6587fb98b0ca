"""Real nights through a real Airflow: a backfill as the UI makes it, a scheduled run beside it, faults."""

import datetime as dt
import ipaddress
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from lake.dataset import read_dataset
from lake.partitions import ONE_DAY
from lake.records import Records
from lake.storage import open_storage
from nightjar.servers import background, local_airflow, rest
from nightjar.servers.waiting import wait_until
from nightjar_reader import Reader

pytestmark = pytest.mark.airflow

HISTORY_DAYS = 60


@dataclass(frozen=True)
class Calendar:
    """The days of the slice: those of the history, the nights of the backfill, and the newest that is due."""

    history: list[dt.date]
    nights: list[dt.date]
    newest: dt.date


@pytest.fixture(scope="module")
def calendar(night_slice):
    first = read_dataset(night_slice.settings.dataset).first_day
    every = [first + n * ONE_DAY for n in range(HISTORY_DAYS + 3)]
    return Calendar(every[:HISTORY_DAYS], every[HISTORY_DAYS:-1], every[-1])


def _partition_runs(client, partition):
    return [run for run in client.runs("nightly") if run.partition == str(partition)]


def _listening(process):
    try:
        found = process.net_connections("inet")
    except psutil.Error:
        return set()
    return {connection.laddr for connection in found if connection.status == psutil.CONN_LISTEN}


def _all_listening(settings):
    members = background.members(local_airflow._components(settings))
    return {address for process in members for address in _listening(process)}


@pytest.fixture(scope="module")
def heard():
    """Where something of Airflow listened while the history was loaded."""
    return set()


@pytest.fixture(scope="module")
def history(night_slice, calendar, heard):
    """The days before the nights, loaded by the DAG; gives its run."""
    client = night_slice.client
    client.unpause("bootstrap_history")
    run = client.trigger(
        "bootstrap_history", conf={"from": str(calendar.history[0]), "to": str(calendar.history[-1])}
    )

    def ended():
        heard.update(_all_listening(night_slice.settings))
        return client.run("bootstrap_history", run).state in rest.ENDED_RUN

    wait_until(ended, lambda: client.progress("bootstrap_history"), "the history to be loaded")
    return client.run("bootstrap_history", run)


@pytest.fixture(scope="module")
def backfill(night_slice, calendar, history):
    """Two nights, up to ten at once, as the UI asks for them; gives the run of each.

    The schedule begins the newest night that is due as soon as the DAG is unpaused.
    """
    client = night_slice.client
    client.unpause("nightly")
    number = client.backfill("nightly", calendar.nights[0], calendar.nights[-1])
    client.wait_for_backfill("nightly", number)
    return {night: _partition_runs(client, night) for night in calendar.nights}


@pytest.fixture(scope="module")
def scheduled(night_slice, calendar, backfill):
    """The runs that the schedule made of the slice's days, once the newest has ended.

    One more night may become due while the tests run; the slice has no raw file of it.
    """
    client = night_slice.client
    client.wait_for_run("nightly", _partition_runs(client, calendar.newest)[0].id)
    runs = [run for run in client.runs("nightly") if run.kind == "scheduled"]
    return [run for run in runs if run.partition <= str(calendar.newest)]


def test_bootstrap_makes_the_records_of_its_days(night_slice, calendar, history):
    assert history.state == "success"
    ingested = Records(open_storage(night_slice.settings.lake)).partitions("ingest")
    assert set(calendar.history) <= set(ingested)


def test_backfill_runs_each_night_once_its_last_day_too(night_slice, backfill):
    assert [len(runs) for runs in backfill.values()] == [1, 1]
    assert [runs[0].kind for runs in backfill.values()] == ["backfill", "backfill"]
    failed = {
        task.id: night_slice.client.logs("nightly", runs[0].id, task.id, task.tries)[-3000:]
        for runs in backfill.values()
        for task in night_slice.client.tasks("nightly", runs[0].id)
        if task.state == "failed"
    }
    assert failed == {}
    assert [runs[0].state for runs in backfill.values()] == ["success", "success"]


def test_each_night_of_the_backfill_has_its_outcome(night_slice, calendar, backfill):
    records = Records(open_storage(night_slice.settings.lake))
    first, second = (records.current("train", night).outcome for night in calendar.nights)
    assert first == "promoted"
    assert second in ("promoted", "kept")  # of so few users it is chance whether a day more makes it better


def test_a_scheduled_night_in_the_middle_of_a_backfill_builds_on_all_of_it(night_slice, calendar, scheduled):
    assert [(run.partition, run.state) for run in scheduled] == [(str(calendar.newest), "success")]
    records = Records(open_storage(night_slice.settings.lake))
    features = records.current("features", calendar.newest)
    assert {source.partition for source in features.inputs} >= set(map(str, calendar.nights))
    made = records.current("precompute", calendar.newest)
    assert Reader(night_slice.settings.releases).release_id == made.details["release_id"]


def test_the_command_line_makes_the_same_of_the_scheduled_night(night_slice, calendar, scheduled, tmp_path):
    """In a lake of its own, where the nights before it are there."""
    settings, day = night_slice.settings, calendar.newest
    shutil.copytree(settings.home / "lake", tmp_path / "lake")
    for stage in ("ingest", "features", "train", "precompute"):
        shutil.rmtree(tmp_path / "lake" / "records" / stage / str(day))
    place = {"NIGHTJAR_LAKE": str(tmp_path / "lake"), "NIGHTJAR_RAW": settings.raw}
    told = {
        name: value for name, value in settings.environment().items() if name != "NIGHTJAR_RELEASES"
    } | place
    nightjar = Path(sys.executable).with_name("nightjar")
    line = [nightjar, "run", "night", "--partition", str(day)]
    done = subprocess.run(line, env=os.environ | told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = Records(open_storage(f"{tmp_path}/lake")).current("precompute", day)
    assert made.details["release_id"] == Reader(settings.releases).release_id


def test_train_and_precompute_start_together(night_slice, calendar, backfill):
    client = night_slice.client
    tasks = {task.id: task for task in client.tasks("nightly", backfill[calendar.nights[0]][0].id)}
    features = tasks["features.commit"]
    assert tasks["train.wait_for_decision"].start >= features.end
    assert tasks["precompute.wait_for_decide"].start >= features.end
    assert tasks["precompute.build"].start >= tasks["train.decide"].end


def test_a_cut_raw_file_fails_ingest_and_readers_keep_the_release_before(night_slice, calendar, scheduled):
    client, raw, day = night_slice.client, open_storage(night_slice.settings.raw), calendar.newest
    before = Reader(night_slice.settings.releases).manifest
    path = raw.local(f"transactions/{day}.parquet")
    path.write_bytes(path.read_bytes()[: raw.size(f"transactions/{day}.parquet") // 2])
    run = client.wait_for_run("nightly", client.trigger("nightly", str(day)))
    tasks = {task.id: task for task in client.tasks("nightly", run.id)}
    log = client.logs("nightly", run.id, "ingest.extract", 1)
    assert run.state == "failed"
    assert (tasks["ingest.extract"].state, tasks["ingest.extract"].tries) == ("failed", 1)
    assert tasks["train.decide"].state == "failed"
    assert tasks["precompute.publish"].state == "upstream_failed"
    assert "FileFault" in log
    assert f"transactions/{day}.parquet" in log
    assert Reader(night_slice.settings.releases).manifest == before


def test_a_night_whose_raw_day_does_not_come_fails_naming_it(night_slice, calendar, scheduled):
    client, raw, day = night_slice.client, open_storage(night_slice.settings.raw), calendar.newest
    raw.local(f"transactions/{day}.parquet").unlink()
    run = client.wait_for_run("nightly", client.trigger("nightly", str(day)))
    tries = {task.id: task.tries for task in client.tasks("nightly", run.id)}
    log = client.logs("nightly", run.id, "ingest.wait_for_raw", tries["ingest.wait_for_raw"])
    assert run.state == "failed"
    assert f"FileFault: the raw file of {day}, expected at {raw.uri(f'transactions/{day}.parquet')}" in log


def test_the_api_asks_for_a_login(night_slice):
    assert httpx.get(f"{night_slice.airflow.url}/api/v2/dags", trust_env=False).status_code == 401


def _is_loopback(text):
    address = ipaddress.ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def test_nothing_listens_beyond_this_machine(night_slice, history, heard):
    port = int(night_slice.airflow.url.rpartition(":")[2])
    assert port in {address.port for address in heard}
    assert {address for address in heard if not _is_loopback(address.ip)} == set()


def test_pools_have_one_slot_and_secrets_are_private(night_slice):
    pools = night_slice.client.pools()
    assert {name: pools[name] for name in local_airflow.POOLS} == {
        "spark": 1,
        "train": 1,
        "precompute": 1,
        "mirror": 1,
    }
    for name in ("secrets.json", "passwords.json"):
        file = night_slice.settings.home / "airflow" / name
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_no_process_argument_holds_a_secret(night_slice):
    home = night_slice.settings.home / "airflow"
    text = (home / "secrets.json").read_text() + (home / "passwords.json").read_text()
    secrets = [part for part in text.split('"')[3::4] if len(part) > 10]
    assert len(secrets) == 4
    arguments = "\n".join(" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
    assert [secret for secret in secrets if secret in arguments] == []
