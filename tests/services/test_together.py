"""Eight processes at once, on disk and on S3: nothing twice, nothing lost."""

import datetime as dt
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lake.records import Records
from lake.storage import open_storage
from nightjar_reader import format as fmt
from precompute import publish as publishing
from precompute.publish import Candidate

pytestmark = pytest.mark.services

PROGRAM, STAGES = (Path(__file__).with_name(f"{name}.py") for name in ("together", "together_stage"))
EIGHT = 8
RELEASES = 50
DAY = dt.date(2017, 9, 1)


@pytest.fixture(params=["disk", "s3"])
def root(request, tmp_path, s3_server, monkeypatch):
    if request.param == "disk":
        return str(tmp_path / "lake")
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return f"{s3_server.make_bucket(f'together-{secrets.token_hex(4)}')}/lake"


@pytest.fixture
def together(root, tmp_path, finish):
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
        ended = [finish(process) for process in began]
        assert [error for process, (_, error) in zip(began, ended, strict=True) if process.returncode] == []
        return [json.loads(told) for told, _ in ended]

    return run


def _publish(root, day):
    """Put a release of a day, and make readers follow it."""
    storage = open_storage(root)
    manifest = fmt.canonical(fmt.Manifest(str(day), "c", None, None, {}, (), {}, {}, (), None, (), {}))
    release = Candidate(fmt.release_id(manifest), fmt.sha256(manifest), str(day))
    storage.put_new(fmt.manifest_path(release.release_id), manifest)
    publishing.make_current(storage, lambda: release, "someone", "before")
    return release.release_id


def _collisions(told):
    return sum(one["collisions"] for one in told)


def test_equal_work_on_one_new_day_is_one_record_and_all_end_well(root, together):
    told = together("same")
    assert {one["sequence"] for one in told} == {1}
    assert len({one["attempt"] for one in told}) == 1
    assert _collisions(told) == EIGHT - 1
    assert len(list(Records(open_storage(root)).history("ingest", DAY))) == 1


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
    assert entries[-1].as_of == newest


def test_publishers_at_once_do_not_bring_back_what_readers_were_rolled_back_from(root, together):
    first = _publish(root, DAY)
    _publish(root, DAY + dt.timedelta(days=1))
    publishing.rollback(open_storage(root), first, "bad prices", "someone")
    told = together("after_rollback")
    old = {state for one in told[1::2] for state, *_ in one["states"]}
    new = [state for one in told[::2] for state in one["states"]]
    entries = publishing.entries(open_storage(root))[3:]
    assert old == {"withdrawn"}
    assert {state for state, *_ in new} <= {"published", "current", "kept"}
    assert [entry.as_of for entry in entries] == [
        str(DAY + dt.timedelta(days=n + 2)) for n in range(RELEASES)
    ]
    assert len([state for state, *_ in new if state == "published"]) == RELEASES
    assert _collisions(told) > 0


@pytest.mark.long
@pytest.mark.parametrize("stage", ["ingest", "features", "train", "precompute"])
def test_attempts_of_a_stage_that_commit_at_once_are_as_one(root, night_in_steps, tmp_path, finish, stage):
    lake = [root] if root.startswith("s3:") else []
    line = [str(STAGES), str(night_in_steps), str(tmp_path / "home"), stage, str(EIGHT), *lake]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, *line], env=one_thread, text=True, **pipes) as process:
        said, errors = finish(process)
    assert process.returncode == 0, errors[-3000:]
    told = json.loads(said)
    assert [one["error"] for one in told["each"]] == [""] * EIGHT
    assert _collisions(told["each"]) >= EIGHT - 1
    now, expected = told["now"]["state"], told["expected"]["state"]
    assert [name for name in now.keys() | expected if now.get(name) != expected.get(name)] == []
    assert told["now"] == told["expected"]
