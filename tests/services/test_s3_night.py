"""A night with lake and releases on S3, by the command line, beside the same night on disk."""

import datetime as dt
import gc
import os
import re
import sys
import threading
import time
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

FIRST, BEFORE, NIGHT = dt.date(2017, 6, 15), dt.date(2017, 8, 13), dt.date(2017, 8, 14)
NIGHTJAR = Path(sys.executable).with_name("nightjar")
STEPS = (
    f"land --households 500 --from {FIRST} --to {NIGHT}",
    f"bootstrap --from {FIRST} --to {BEFORE}",
    f"run night --partition {NIGHT}",
)
LIMIT = 1200
STAGES = ("ingest", "features", "train", "precompute")


@dataclass
class Commands:
    """Commands that run one after the other, and the arguments of all processes meanwhile."""

    run: processes.Component
    arguments: set[str] = field(default_factory=set)

    def watch(self) -> None:
        while self.run.alive():
            self.arguments |= {
                " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
            }
            time.sleep(0.2)


def _told(settings):
    return {f"NIGHTJAR_{name.upper()}": str(value) for name, value in settings.model_dump().items()}


def _night(settings, environment):
    """Run the whole night; gives what was seen of it."""
    line = " && ".join(f"{NIGHTJAR} {step}" for step in STEPS)
    told = {**os.environ, **environment, **_told(settings)}
    out = settings.home / "logs" / "commands.log"
    out.parent.mkdir(parents=True)
    commands = Commands(processes.spawn("night", ["sh", "-c", line], told, settings.home, out))
    watch = threading.Thread(target=commands.watch)
    try:
        watch.start()
        watch.join(LIMIT)
    finally:
        processes.stop([commands.run])
    Reader(settings.releases)
    return commands


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory, slice_settings):
    settings = slice_settings(tmp_path_factory.mktemp("disk"), NIGHT)
    _night(settings, {})
    return settings


@dataclass(frozen=True)
class OnS3:
    settings: Settings
    commands: Commands


@pytest.fixture(scope="module")
def on_s3(tmp_path_factory, slice_settings, s3_server):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        places = {"lake": f"{s3_server.make_bucket('nights')}/a b/lake"}
        settings = slice_settings(tmp_path_factory.mktemp("s3"), NIGHT, **places)
        yield OnS3(settings, _night(settings, s3_server.environment))


def _records(settings):
    return Records(open_storage(settings.lake))


def test_the_release_is_that_of_the_same_night_on_disk(on_s3, on_disk):
    found, expected = Reader(on_s3.settings.releases), Reader(on_disk.releases)
    assert found.release_id == expected.release_id
    assert found.manifest.bundle.outcome == "promoted"
    for stage in STAGES:
        records = [_records(settings).current(stage, NIGHT) for settings in (on_s3.settings, on_disk)]
        assert records[0].content == records[1].content
        assert records[0].fingerprint == records[1].fingerprint


@pytest.mark.parametrize("verify", [True, False])
def test_a_reader_answers_as_from_disk(on_s3, on_disk, verify):
    readers = [Reader(settings.releases, verify=verify) for settings in (on_s3.settings, on_disk)]
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


def test_the_bundle_is_the_same_and_opens_in_mlflow(on_s3, on_disk):
    loaded, models = [], []
    for settings in (on_s3.settings, on_disk):
        storage = open_storage(settings.lake)
        bundle_id = _records(settings).current("train", NIGHT).details["bundle_id"]
        loaded.append(bundle.load(storage, bundle_id))
        models.append(mlflow.pyfunc.load_model(storage.uri(f"bundles/{bundle_id}")))
    assert loaded[0].bundle_id == loaded[1].bundle_id
    asked = pd.DataFrame({"user": [next(Reader(on_disk.releases).users()), -1]})
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
    assert names.count("request.json") == 5
    assert len([name for name in names if re.fullmatch(r"(extract|features)-\w{16}\.log", name)]) == 3
    assert [str(file) for file in files if secret.encode() in file.read_bytes()] == []
    arguments = on_s3.commands.arguments
    assert len([line for line in arguments if "org.apache.spark.deploy.SparkSubmit" in line]) >= 3
    assert [line for line in arguments if secret in line] == []
