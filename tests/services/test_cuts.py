"""A step of a night that is cut at any of its writes and repeated ends as without the cut."""

import datetime as dt
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lake.records import Records
from lake.settings import CONFIG_DIR, Settings
from lake.storage import open_storage
from nightjar.land import land
from nightjar_reader import Reader

pytestmark = pytest.mark.services

PROGRAM = Path(__file__).with_name("cuts.py")
FIRST, BEFORE, DAY = dt.date(2017, 6, 25), dt.date(2017, 8, 13), dt.date(2017, 8, 14)
HOUSEHOLDS = 500
CHANGES = {
    r"^first_day = .*$": f"first_day = {FIRST}",
    r"^name = \"complete_journey\"$": 'name = "slice"',
    r"^min_rows = .*$": "min_rows = 20",
    r"^snapshots = .*$": "snapshots = 1",
    r"^trees = .*$": "trees = [10]",
    r"^recall_floor = .*$": "recall_floor = 0.5",
    r"^buckets = .*$": "buckets = 4",
}
NIGHT = """
import datetime as dt, sys
from lake.settings import load
from nightjar import night
first, before = map(dt.date.fromisoformat, sys.argv[1:])
night.run_bootstrap(first, before - dt.timedelta(days=1), load())
night.run(before, load())
"""
STAGE = """
import datetime as dt, sys
from importlib import import_module
from lake.settings import load
from lake.records import Records
from lake.storage import open_storage
from spark_jobs.submit import submit
stage, job, day = sys.argv[1], sys.argv[2], dt.date.fromisoformat(sys.argv[3])
settings = load()
if stage == "ingest":
    Records(open_storage(settings.lake)).open_night(day)
attempt = import_module(f"nightjar.{stage}").prepare(day, settings)
(settings.home / f"attempt-{stage}").write_text(attempt)
submit(job, attempt, settings)
"""


def _settings(folder):
    return Settings(
        home=folder / "home", dataset=str(folder / "slice.toml"), threads=2, spark_master="local[2]"
    )


def _environment(folder):
    told = {f"NIGHTJAR_{name.upper()}": str(value) for name, value in _settings(folder).model_dump().items()}
    return {**os.environ, **told, "NIGHTJAR_SPARK_MEMORY": "1g"}


def _python(folder, script, *arguments):
    line = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(
        line, env=_environment(folder), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A lake with a history and one night, whose release is served."""
    folder = tmp_path_factory.mktemp("cuts")
    text = (CONFIG_DIR / "complete_journey.toml").read_text(encoding="utf-8")
    for pattern, replacement in CHANGES.items():
        text, found = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert found == 1, pattern
    (folder / "slice.toml").write_text(text, encoding="utf-8")
    land(_settings(folder), FIRST, DAY, households=HOUSEHOLDS)
    _python(folder, NIGHT, FIRST, BEFORE)
    return folder


def _cut(folder, step):
    """Cut a step everywhere; the lake is then as after the step."""
    line = [sys.executable, str(PROGRAM), step, str(folder)]
    done = subprocess.run(
        line, env=_environment(folder), capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["wrong"] == []
    return told


def _spark_stage(folder, stage, job):
    _python(folder, STAGE, stage, job, DAY)


def _kill_while_writing(folder, stage, job, table):
    """SIGKILL a stage and its JVM once the job has begun to write a table."""
    lake = folder / "home" / "lake"
    before = set((lake / table).iterdir())
    line = [sys.executable, "-c", STAGE, stage, job, str(DAY)]
    process = subprocess.Popen(
        line, env=_environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while set((lake / table).iterdir()) == before:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        member.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(family, timeout=30)
    return set((lake / table).iterdir()) - before


def test_a_spark_job_that_is_killed_while_it_writes_leaves_no_record(folder):
    serving = Reader(_settings(folder).releases).release_id
    left = _kill_while_writing(folder, "ingest", "extract", "interactions")
    assert left
    assert Records(open_storage(_settings(folder).lake)).current("ingest", DAY) is None
    assert Reader(_settings(folder).releases).release_id == serving
    _spark_stage(folder, "ingest", "extract")


def test_the_commit_of_ingest_and_the_mirror(folder):
    told = _cut(folder, "commit_ingest")
    assert f"records/ingest/{DAY}/000000000001.json" in told["writes"]
    assert "delta commit" in told["writes"]


def test_a_killed_features_job_leaves_no_record(folder):
    left = _kill_while_writing(folder, "features", "features", "user_features")
    assert left
    assert Records(open_storage(_settings(folder).lake)).current("features", DAY) is None
    _spark_stage(folder, "features", "features")


def test_the_commit_of_features_and_the_mirror(folder):
    told = _cut(folder, "commit_features")
    assert f"records/features/{DAY}/000000000001.json" in told["writes"]
    assert told["writes"].count("delta commit") == 4


def test_training(folder):
    told = _cut(folder, "train_and_evaluate")
    assert [name for name in told["writes"] if name.endswith("MLmodel")]


def test_the_decision_and_mlflow(folder):
    told = _cut(folder, "decide")
    assert {"mlflow version", "mlflow alias", f"records/train/{DAY}/000000000001.json"} <= set(told["writes"])
    assert f"nights/{DAY}/000000000001.decided" in told["writes"]


def test_the_build_of_a_release(folder):
    assert _cut(folder, "build")["cuts"] > 5


def test_publishing(folder):
    told = _cut(folder, "publish")
    assert "ledger/000000000002.json" in told["writes"]
    assert f"records/precompute/{DAY}/000000000001.json" in told["writes"]
    assert Reader(_settings(folder).releases).manifest.as_of == str(DAY)
