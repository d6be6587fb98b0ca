"""A night that is cut at any of its writes and goes on later ends as without the cut."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.services

CUTS, STAGES = (Path(__file__).with_name(f"{name}.py") for name in ("cuts", "stages"))
NIGHTJAR = Path(sys.executable).with_name("nightjar")
WORKERS = 2
DAY = "2017-08-14"
WRITES = {
    "ingest commit": [
        f"profiles/{DAY}",
        "reports/ingest",
        f"records/ingest/{DAY}/000000000001.json",
        "delta interactions",
    ],
    "features commit": [
        "reports/features",
        f"records/features/{DAY}/000000000001.json",
        "delta user_features",
    ],
    "train work": [
        "plan.json",
        "caches/ranking_set/",
        "challenger.ubj",
        "bundles/",
        "/MLmodel",
        "result.json",
    ],
    "train commit": [
        f"records/train/{DAY}/000000000001.json",
        f"nights/{DAY}/000000000001.decided",
        "mlflow version",
        "mlflow alias",
        "registered.json",
    ],
    "precompute work": ["plan.json", f"published/releases/{DAY}", "result.json"],
    "precompute commit": [
        "changes.json",
        "/manifest.json",
        f"published/provenance/{DAY}",
        f"records/precompute/{DAY}/000000000001.json",
        "published/ledger/000000000002.json",
    ],
}


@pytest.fixture(scope="module")
def cuts(night_in_steps, tmp_path_factory, finish):
    """Every cut of every part, made by `cuts.py`, and what was wrong after it."""
    place = tmp_path_factory.mktemp("cuts")
    began = [
        subprocess.Popen(
            [sys.executable, str(CUTS), str(night_in_steps), str(place / f"home{n}"), str(n), str(WORKERS)],
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=(place / f"errors{n}").open("w"),
            text=True,
            start_new_session=True,
        )
        for n in range(WORKERS)
    ]
    try:
        told = [finish(process)[0] for process in began]
    finally:
        for process in began:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    errors = [(place / f"errors{n}").read_text()[-3000:] for n in range(WORKERS)]
    assert [process.returncode for process in began] == [0] * WORKERS, errors
    return [json.loads(line) for lines in told for line in lines.splitlines()]


@pytest.mark.long
@pytest.mark.parametrize("part", list(WRITES))
def test_after_any_cut_a_later_try_ends_as_without_the_cut(cuts, part):
    made = [cut for cut in cuts if f"{cut['stage']} {cut['part']}" == part]
    assert [cut for cut in made if cut["wrong"]] == []
    for write in WRITES[part]:
        ways = Counter((cut["after"], cut["kill"]) for cut in made if write in cut["write"])
        assert len(ways) == 4, write


@pytest.mark.long
@pytest.mark.parametrize(
    ("stage", "table", "after"),
    [
        ("ingest", "interactions", "features-work"),
        ("features", "user_category_features", "train-work"),
    ],
)
def test_a_spark_job_killed_while_it_writes_leaves_nothing_that_counts(
    night_in_steps, tmp_path, finish, stage, table, after
):
    home, before = tmp_path / "home", night_in_steps / "before"
    shutil.copytree(before / f"{stage}-work", home)
    _kill_while_writing(stage, table, home, night_in_steps)
    assert _look(home, night_in_steps) == _look(before / f"{stage}-work", night_in_steps)
    again = _begin(stage, home, night_in_steps)
    said, _ = finish(again)
    assert again.returncode == 0, said
    assert _look(home, night_in_steps) == _look(before / after, night_in_steps)


def _look(home, folder):
    line = [sys.executable, str(STAGES), "look", str(home), str(folder / "slice.toml")]
    return json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)


def _begin(stage, home, folder):
    """Run a stage as people do."""
    told = {"HOME": home, "DATASET": folder / "slice.toml", "SPARK_MASTER": "local[2]", "SPARK_MEMORY": "1g"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTJAR_")}
    return subprocess.Popen(
        [str(NIGHTJAR), "run", stage, "--partition", DAY],
        env=clean | {f"NIGHTJAR_{name}": str(value) for name, value in told.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _kill_while_writing(stage, table, home, folder):
    """SIGKILL a stage and its JVM once the job has begun to write a table."""
    place = home / "lake" / table
    before, process = set(place.iterdir()), _begin(stage, home, folder)
    try:
        while set(place.iterdir()) == before:  # the stage has an end of its own
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.01)
    finally:
        family = [*psutil.Process(process.pid).children(recursive=True), process]
        for member in family:
            member.kill()
        process.communicate()
    assert not psutil.wait_procs(family[:-1], timeout=30)[1]
