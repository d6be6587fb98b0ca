"""Eight processes at once, on disk and on S3: nothing twice, nothing lost."""

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lake.records import Records
from lake.storage import open_storage
from nightjar_reader import Reader
from precompute import publish as publishing

pytestmark = pytest.mark.services

PROGRAM = Path(__file__).with_name("together.py")
EIGHT = 8
RELEASES = 50
DAY = dt.date(2017, 9, 1)


@pytest.fixture(params=["disk", "s3"])
def root(request, tmp_path, s3_server, monkeypatch):
    if request.param == "disk":
        return str(tmp_path / "lake")
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    name = request.node.name.partition("[")[0].replace("_", "-")[-60:].strip("-")
    return f"{s3_server.make_bucket(name)}/lake"


@pytest.fixture
def together(root, tmp_path):
    """Run a work of `together.py` in eight processes; gives what each says."""

    def run(work):
        barrier = tmp_path / work
        barrier.mkdir()
        line = [sys.executable, str(PROGRAM), work, root]
        began = [
            subprocess.Popen(
                [*line, str(number), str(EIGHT), str(barrier)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ,
                text=True,
            )
            for number in range(EIGHT)
        ]
        ended = [process.communicate(timeout=600) for process in began]
        assert [error for process, (_, error) in zip(began, ended, strict=True) if process.returncode] == []
        return [json.loads(told) for told, _ in ended]

    return run


def _collisions(told):
    return sum(one["collisions"] for one in told)


def test_equal_work_on_one_new_day_is_one_record_and_all_end_well(root, together):
    told = together("same")
    assert {one["sequence"] for one in told} == {1}
    assert len({one["attempt"] for one in told}) == 1
    assert _collisions(told) == EIGHT - 1
    assert len(Records(open_storage(root)).history("ingest", DAY)) == 1


def test_of_different_work_on_one_new_day_one_lands_and_the_others_are_told(root, together):
    told = together("other")
    [winner] = [one for one in told if "attempt" in one]
    assert len([one for one in told if "clear from the first task" in one.get("conflict", "")]) == EIGHT - 1
    [record] = Records(open_storage(root)).history("ingest", DAY)
    assert record.attempt == winner["attempt"]


def test_work_on_different_days_all_lands(root, together):
    told = together("days")
    assert _collisions(told) == 0
    assert list(Records(open_storage(root)).partitions("ingest").values()) == [1] * EIGHT


def _delta_log(storage, table):
    """What each commit of a Delta table adds and removes."""
    commits = [storage.read(path).splitlines() for path in storage.list(f"{table}/_delta_log")]
    for actions in ([json.loads(line) for line in commit] for commit in commits):
        yield [[a[kind]["path"] for a in actions if kind in a] for kind in ("add", "remove")]


def test_mirrors_show_the_files_of_all_records_once_while_others_commit(root, together):
    told = together("mirror")
    storage = open_storage(root)
    current = Records(storage).all_current("ingest", dt.date.max)
    named = [file.path for record in current for file in record.tables["interactions"].files]
    assert len(named) == EIGHT
    delta = DeltaTable(storage.uri("interactions"), storage_options=storage.delta())
    shown = pa.table(delta.get_add_actions())["path"].to_pylist()
    assert sorted(f"interactions/{path}" for path in shown) == sorted(named)
    log = list(_delta_log(storage, "interactions"))
    for moved in zip(*log, strict=True):
        paths = [path for paths in moved for path in paths]
        assert len(paths) == len(set(paths))
    assert all(set(added).isdisjoint(removed) for added, removed in log)
    assert _collisions(told) > 0


def test_publishers_take_every_number_once_and_the_newest_day_is_current(root, together):
    told = together("publish")
    states = [tuple(state) for one in told for state in one["states"]]
    entries = publishing.entries(open_storage(root))
    assert len(states) == EIGHT * RELEASES
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    published = sorted((number, day) for state, number, day in states if state == "published")
    assert published == [(entry.sequence, entry.as_of) for entry in entries]
    assert [entry.as_of for entry in entries] == sorted(entry.as_of for entry in entries)
    assert {state for state, *_ in states} == {"published", "kept"}
    assert _collisions(told) > 0
    newest = str(DAY + dt.timedelta(days=EIGHT * RELEASES - 1))
    assert Reader(root).manifest.as_of == newest
