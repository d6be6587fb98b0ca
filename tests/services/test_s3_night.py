"""A night with lake and releases on S3, by the command line, against the same night on disk."""

import datetime as dt
import gc
import os
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lake.errors import FileFault
from lake.records import Records
from lake.settings import Settings
from lake.storage import LocalStorage, open_storage
from nightjar import cli, ingest, processes
from nightjar_reader import Reader
from recommender import bundle

pytestmark = pytest.mark.services

NIGHT = dt.date(2017, 8, 14)
LIMIT = 900
STAGES = ("ingest", "features", "train", "precompute")


@dataclass
class Command:
    """A command in the background, and the arguments of all processes while it runs."""

    run: processes.Component
    arguments: set[str] = field(default_factory=set)

    def watch(self) -> None:
        while self.run.alive():
            self.arguments |= {
                " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
            }
            time.sleep(0.2)


@dataclass(frozen=True)
class OnS3:
    settings: Settings
    command: Command


def _told(settings):
    return {f"NIGHTJAR_{name.upper()}": str(value) for name, value in settings.model_dump().items()}


def _move(lake, target):
    """Put a lake that lies in a folder elsewhere."""
    source = LocalStorage(lake)
    with ThreadPoolExecutor(8) as pool:
        moved = list(pool.map(lambda path: target.put_file(path, lake / path), source.list("")))
    assert len(moved) > 100
    assert all(moved)


def _night(settings):
    """Run the night; gives what was seen of it."""
    line = [str(Path(sys.executable).with_name("nightjar")), "run", "night", "--partition", str(NIGHT)]
    out = settings.home / "logs" / "night.log"
    out.parent.mkdir()
    command = Command(processes.spawn("night", line, os.environ | _told(settings), settings.home, out))
    watch = threading.Thread(target=command.watch)
    try:
        watch.start()
        watch.join(LIMIT)
    finally:
        processes.stop([command.run])
    Reader(settings.releases)
    return command


@pytest.fixture(scope="module")
def on_s3(tmp_path_factory, slice_settings, nights_on_disk, s3_server):
    """The night on S3, in a lake that began on disk."""
    folder = tmp_path_factory.mktemp("s3")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        lake = f"{s3_server.make_bucket('nights')}/a b/lake"
        settings = slice_settings(folder, nights_on_disk.days[-1], lake=lake)
        nights_on_disk.copy_before(NIGHT, folder / "before")
        _move(folder / "before", open_storage(lake))
        yield OnS3(settings, _night(settings))


@pytest.fixture(scope="module")
def release_id(nights_on_disk):
    """The release of the same night on disk."""
    return nights_on_disk.release_id(NIGHT)


@pytest.fixture(scope="module")
def on_disk(nights_on_disk, release_id):
    """The settings of the same night on disk, once it is there."""
    return nights_on_disk.settings


def _records(settings):
    return Records(open_storage(settings.lake))


def test_the_release_is_that_of_the_same_night_on_disk(on_s3, on_disk, release_id):
    reader = Reader(on_s3.settings.releases)
    assert reader.release_id == release_id
    assert reader.manifest.bundle.outcome == "promoted"
    for stage in STAGES:
        records = [_records(settings).current(stage, NIGHT) for settings in (on_s3.settings, on_disk)]
        assert records[0].content == records[1].content
        assert records[0].fingerprint == records[1].fingerprint


@pytest.mark.parametrize("verify", [True, False])
def test_a_reader_answers_as_from_disk(on_s3, on_disk, release_id, verify):
    places = (on_s3.settings.releases, on_disk.releases)
    readers = [Reader(place, release_id=release_id, verify=verify) for place in places]
    users = list(readers[1].users())
    assert list(readers[0].users()) == users
    item = readers[1].for_user(users[0]).items[0]

    def answers(reader):
        return [
            *(reader.for_user(user) for user in [*users[:20], -1]),
            reader.similar_items(item),
            reader.popular(),
            reader.catalogue([item]),
            reader.nearest(20, user=users[0]),
            reader.nearest(20, item=item),
        ]

    assert answers(readers[0]) == answers(readers[1])
    assert not readers[0].nearest(20, item=item).exact
    readers[0].release.verify()


def test_a_readers_copies_go_with_it(on_s3, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    reader = Reader(on_s3.settings.releases)
    reader.nearest(3, user=next(reader.users()))
    [folder] = tmp_path.iterdir()
    assert len(list(folder.iterdir())) > 3
    del reader
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_the_bundle_is_the_same_and_opens_in_mlflow(on_s3, on_disk, release_id):
    loaded, models = [], []
    for settings in (on_s3.settings, on_disk):
        storage = open_storage(settings.lake)
        bundle_id = _records(settings).current("train", NIGHT).details["bundle_id"]
        loaded.append(bundle.load(storage, bundle_id))
        models.append(mlflow.pyfunc.load_model(storage.uri(f"bundles/{bundle_id}")))
    assert loaded[0].bundle_id == loaded[1].bundle_id
    asked = pd.DataFrame({"user": [next(Reader(on_disk.releases, release_id=release_id).users()), -1]})
    lists = [model.predict(asked) for model in models]
    pd.testing.assert_frame_equal(*lists)
    assert [len(items) for items in lists[0]["item_ids"]] == [50, 50]


def test_people_see_and_roll_back_releases(on_s3, monkeypatch):
    for name, value in _told(on_s3.settings).items():
        monkeypatch.setenv(name, value)
    reader = Reader(on_s3.settings.releases)
    shown = {}
    for command in (
        ["show", str(next(reader.users()))],
        ["releases"],
        ["rollback", reader.release_id, "--reason", "there is one, and it stays"],
    ):
        done = CliRunner().invoke(cli.app, command)
        assert done.exit_code == 0, done.output
        shown[command[0]] = done.output
    assert f"list of {reader.release_id}" in " ".join(shown["show"].split())
    assert f"release {reader.release_id}" in shown["releases"]
    assert f"readers now follow {reader.release_id}" in " ".join(shown["rollback"].split())
    assert len(Reader(on_s3.settings.releases).releases()) == 1


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _drop_a_column(path):
    rows = pq.read_table(path).drop_columns("sales_value")
    path.unlink()
    pq.write_table(rows, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "no file"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (_cut, "footer"),
        (_drop_a_column, "sales_value"),
    ],
    ids=["missing", "empty", "cut", "column"],
)
def test_a_faulty_raw_file_is_told_as_on_disk(on_s3, on_disk, tmp_path, request, damage, message):
    name = on_disk.data.raw.path(NIGHT)
    local, remote = LocalStorage(tmp_path), open_storage(f"{on_s3.settings.lake}/{request.node.name}")
    with open_storage(on_disk.raw).fetched(name) as good:
        local.put_file(name, good)
    damage(local.local(name))
    if local.exists(name):
        remote.put_file(name, local.local(name))
    told = []
    for storage, settings in ((local, on_disk), (remote, on_s3.settings)):
        with pytest.raises(FileFault, match=message) as raised:
            ingest.prepare(NIGHT, settings.model_copy(update={"raw": storage.root}))
        told.append(str(raised.value).replace(storage.root, "ROOT"))
    assert told[0] == told[1]


def test_no_key_is_told_to_anyone(on_s3, s3_server):
    """Neither in an object of the bucket, nor in a log or another file of the home, nor in an argument."""
    secret = s3_server.secret_key
    places = (on_s3.settings.home, s3_server.home)
    files = [file for place in places for file in place.rglob("*") if file.is_file()]
    names = [file.name for file in files]
    assert names.count("request.json") > 3
    assert len([name for name in names if re.fullmatch(r"(extract|features)-\w{16}\.log", name)]) == 2
    assert [str(file) for file in files if secret.encode() in file.read_bytes()] == []
    arguments = on_s3.command.arguments
    assert len([line for line in arguments if "fs.s3a.endpoint" in line]) >= 2
    assert [line for line in arguments if secret in line] == []
