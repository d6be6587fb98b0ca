"""MLflow that is down or does not answer: lists ship, and a later night registers what is missing."""

import datetime as dt
import json
import logging
import shutil
import socket
import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from lake.lake import Lake
from lake.records import Records
from lake.settings import Settings
from lake.storage import open_storage
from nightjar.stages import attempt as attempts
from nightjar.stages import decision, night
from nightjar.stages.train import Train
from nightjar_reader import Reader
from nightjar_reader import format as fmt
from training import registry
from training.registry import ALIAS, Version

pytestmark = pytest.mark.services

NIGHTS = [dt.date(2017, 7, 31), dt.date(2017, 8, 7), dt.date(2017, 8, 14)]
NAME = registry.model_name("down")
HANG_SECONDS = 600.0  # without a limit of its own each would take longer, most of them for ever
BUSY = b"HTTP/1.1 %d Not Now\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnone"


@dataclass(frozen=True)
class Told:
    """What a night left behind.

    Attributes
    ----------
    release_id
        The release that readers followed when it had ended.
    mlflow
        What its provenance says of MLflow.
    warnings
        Those in its log that speak of MLflow being behind.
    """

    release_id: str
    mlflow: dict[str, str]
    warnings: list[str]


@pytest.fixture(scope="module")
def settings(tmp_path_factory, slice_settings, nights_on_disk, s3_server, mlflow_server):
    """A lake on S3 with the features of three nights, and neither decisions nor lists."""
    folder = tmp_path_factory.mktemp("down")
    nights_on_disk.copy_before(nights_on_disk.days[1], folder / "lake")
    for made in ("records/train", "records/precompute", "published"):
        shutil.rmtree(folder / "lake" / made)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        bucket = s3_server.make_bucket("down")
        places = {"lake": f"{bucket}/lake", "raw": f"{bucket}/raw", "releases": f"{bucket}/releases"}
        chosen = slice_settings(folder, mlflow_uri=mlflow_server.url, **places)
        toml = Path(chosen.dataset)
        toml.write_text(toml.read_text().replace('name = "slice"', 'name = "down"'))
        _upload(folder / "lake", chosen)
        yield chosen


def _upload(lake: Path, settings: Settings) -> None:
    storage = open_storage(settings.lake)
    for path in lake.rglob("*"):
        if path.is_file() and path.relative_to(lake).parts[0] not in ("raw", "attempts", "reports"):
            storage.put_file(path.relative_to(lake).as_posix(), path)


def _night(day: dt.date, settings: Settings) -> Told:
    """Train and precompute, as the night does once the features are there."""
    with _warnings() as warnings:
        night.run_train(day, settings)
        night.run_precompute(day, settings)
    release_id = Reader(settings.releases).release_id
    releases = open_storage(settings.releases)
    [story] = releases.list(f"{fmt.PROVENANCE}/{release_id}")
    return Told(release_id, json.loads(releases.read(story))["mlflow"], warnings)


@contextmanager
def _warnings():
    """The registry's warnings while it runs."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())
    registry.log.addHandler(handler)
    yield found
    registry.log.removeHandler(handler)


@pytest.fixture(scope="module")
def told(settings, mlflow_server):
    """Two nights while the server is down, and one after it was started again."""
    mlflow_server.stop()
    try:
        down = [_night(day, settings) for day in NIGHTS[:2]]
    finally:
        mlflow_server.start()
    return [*down, _night(NIGHTS[2], settings)]


def _versions(settings):
    """The bundles of all versions, in the order of their numbers."""
    found = registry._client(settings.mlflow_uri).search_model_versions(f"name = '{NAME}'")
    return [v.tags["bundle_id"] for v in sorted(found, key=lambda version: int(version.version))]


def _decisions(settings):
    records = Records(open_storage(settings.lake))
    return [records.current("train", day) for day in NIGHTS]


@pytest.mark.long
def test_lists_ship_while_mlflow_is_down_and_log_and_provenance_say_that_it_is_behind(told):
    for day, night_of in zip(NIGHTS[:2], told[:2], strict=True):
        assert night_of.release_id.startswith(f"{day}-")
        [warning] = night_of.warnings
        assert "is behind" in warning
        assert "the next night registers what is missing" in warning
        assert night_of.mlflow["state"].startswith("behind")


@pytest.mark.long
def test_the_next_night_registers_what_is_missing_and_its_own_once_oldest_first(told, settings):
    bundles = [decision.details["bundle_id"] for decision in _decisions(settings)]
    assert _versions(settings) == bundles
    assert told[2].warnings == []
    assert told[2].mlflow == {"state": "registered", "version": "3"}


@pytest.mark.long
def test_the_same_night_again_registers_nothing(told, settings):
    before = _versions(settings)
    attempt = attempts.begin(Lake.open(settings), Train(2), [NIGHTS[2]])
    attempts.work(Lake.open(settings), Train(), attempt)
    decision.commit_decision(NIGHTS[2], attempt, Lake.open(settings))
    assert _versions(settings) == before


@pytest.mark.long
def test_the_alias_is_the_champion_and_mlflow_opens_it_from_s3(told, settings):
    import mlflow
    import pandas as pd

    champion = [d for d in _decisions(settings) if d.outcome in ("promoted", "kept")][-1]
    found = registry._client(settings.mlflow_uri).get_model_version_by_alias(NAME, ALIAS)
    assert found.tags["bundle_id"] == champion.details["bundle_id"]
    assert found.tags["as_of"] == champion.partition
    mlflow.set_tracking_uri(settings.mlflow_uri)
    mlflow.set_registry_uri(settings.mlflow_uri)
    user = next(Reader(settings.releases).users())
    lists = mlflow.pyfunc.load_model(f"models:/{NAME}@{ALIAS}").predict(pd.DataFrame({"user_id": [user]}))
    assert len(lists["item_ids"][0])


def _hangs(connection, over):
    over.wait()


def _drips(connection, over):
    """A byte a second, so that no silence is ever long."""
    connection.recv(1 << 16)
    while not over.wait(1):
        connection.sendall(b"H")


def _answers(status):
    def answer(connection, over):
        connection.recv(1 << 16)
        connection.sendall(BUSY % status)

    return answer


@contextmanager
def _server(behave):
    """Take every connection and treat it in this way; gives the port."""
    over = threading.Event()

    def treat(connection):
        with connection, suppress(OSError):
            behave(connection, over)

    def accept():
        with suppress(OSError):
            while True:
                threading.Thread(target=treat, args=(server.accept()[0],), daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        over.set()


@pytest.mark.parametrize(
    ("behave", "limit"),
    [(_hangs, None), (_drips, 3.0), (_answers(500), None), (_answers(503), None)],
    ids=["hangs", "drips", "500", "503"],
)
def test_a_faulty_server_holds_no_night_up_and_its_password_is_not_told(behave, limit, monkeypatch, caplog):
    for name, value in registry.SETTINGS.items():
        monkeypatch.setenv(name, value)
    if limit:
        monkeypatch.setattr(registry, "SECONDS", limit)
    version = Version("bundle", "2017-07-31", "promoted", "s3://nowhere/bundle", {})
    registry.load()
    began = time.monotonic()
    with _server(behave) as port, caplog.at_level(logging.INFO):
        assert registry.mirror(f"http://me:secret@127.0.0.1:{port}", "down", lambda: [version]) == {}
    assert time.monotonic() - began < HANG_SECONDS
    assert f"127.0.0.1:{port} is behind" in caplog.text
    assert "secret" not in caplog.text
