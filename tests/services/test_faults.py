"""Nights on a disk that gets full, and on an S3 server that goes away, throttles and loses connections."""

import datetime as dt
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lake import layout, messages, records
from lake.errors import DiskFull
from lake.records import Records
from lake.settings import CONFIG_DIR, Settings
from lake.storage import LocalStorage, open_storage
from nightjar import mirror, night, precompute
from nightjar.land import land
from nightjar_reader import Reader
from spark_jobs import requests

pytestmark = pytest.mark.services

FIRST, DAY, NEXT = dt.date(2017, 7, 10), dt.date(2017, 8, 14), dt.date(2017, 8, 21)
HOUSEHOLDS = 500
STAGES = ("ingest", "features", "train", "precompute")
CHANGES = {
    r"^first_day = .*$": f"first_day = {FIRST}",
    r"^name = \"complete_journey\"$": 'name = "slice"',
    r"^min_rows = .*$": "min_rows = 20",
    r"^snapshots = .*$": "snapshots = 1",
    r"^trees = .*$": "trees = [10]",
    r"^recall_floor = .*$": "recall_floor = 0.5",
}


def _settings(folder):
    text = (CONFIG_DIR / "complete_journey.toml").read_text(encoding="utf-8")
    for pattern, replacement in CHANGES.items():
        text, found = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert found == 1
    toml = folder / "slice.toml"
    toml.write_text(text, encoding="utf-8")
    return Settings(home=folder / "home", dataset=str(toml), spark_master="local[2]", threads=2)


def _run_here(job, attempt, settings):
    """`spark_jobs.submit.submit` in the session of this process, which is there already."""
    from spark_jobs import extract, features

    module, kind = {
        "extract": (extract, requests.ExtractRequest),
        "features": (features, requests.FeaturesRequest),
    }[job]
    storage = open_storage(settings.lake)
    request = messages.read(storage, layout.request(attempt), kind)
    messages.write(storage, layout.result(attempt), module.run(request))


def _copy(settings, folder):
    """The home with the lake and its releases, to be changed."""
    shutil.copytree(settings.home, folder / "home")
    return Settings(home=folder / "home", dataset=settings.dataset, spark_master="local[2]", threads=2)


@dataclass(frozen=True)
class Night:
    """The night of `NEXT` as it goes where nothing fails.

    Attributes
    ----------
    before
        The lake as each stage finds it.
    after
        The lake in the end.
    """

    before: dict[str, Settings]
    after: Settings


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory, request):
    import pickle  # DEV
    prep = Path("/tmp/faults/prep")  # DEV
    if (prep / "p").exists():  # DEV
        return pickle.loads((prep / "p").read_bytes())  # DEV
    tmp_path_factory._basetemp = prep  # DEV
    prep.mkdir()  # DEV
    settings = _settings(tmp_path_factory.mktemp("unharmed"))
    land(settings, FIRST, NEXT, households=HOUSEHOLDS)
    before = {}
    request.getfixturevalue("spark")  # DEV
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(night, "submit", _run_here)
        night.run_bootstrap(FIRST, NEXT - dt.timedelta(days=1), settings)
        for stage in STAGES[1:]:
            night.run_stage(stage, DAY, settings)
        for stage in STAGES:
            before[stage] = _copy(settings, tmp_path_factory.mktemp(stage))
            night.run_stage(stage, NEXT, settings)
    (prep / "p").write_bytes(pickle.dumps(Night(before, settings)))  # DEV
    return Night(before, settings)


def _records(settings):
    return Records(open_storage(settings.lake))


def _work(settings, stage):
    """What a stage's current record says of its work, wherever and whenever that was done."""
    found = _records(settings).current(stage, NEXT)
    return found and (found.outcome, found.fingerprint, found.content)


def _require_previous(settings):
    """The release of the day before is served, and every file of it is as published."""
    reader = Reader(settings.releases)
    assert reader.manifest.as_of == str(DAY)
    reader.release._files.verify_all()


@dataclass(frozen=True)
class Disk:
    """A file system of its own."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self, left: int) -> None:
        """Leave so many bytes."""
        self.empty()
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(self.folder).free - left)

    def empty(self) -> None:
        """Take away what `fill` put."""
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path):
    """A small file system in memory; mounting one needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", folder], check=True)
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


def _written(settings, stage):
    """The bytes of the files that a stage's record of `NEXT` names."""
    found = _records(settings).current(stage, NEXT)
    return sum(file.bytes for table in found.tables.values() for file in table.files)


def _require_whole_files(settings):
    """Nothing in the lake is half-written: no temporary file is left, all others can be read."""
    folder = open_storage(settings.lake).local("")
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".crc")]
    assert [path for path in files if path.name.startswith(".") or "_temporary" in path.parts] == []
    for path in files:
        if path.suffix == ".parquet":
            pq.read_metadata(path)
        elif path.suffix == ".json" and path.stat().st_size:
            content = path.read_bytes()
            for text in content.splitlines() if path.parent.name == "_delta_log" else [content]:
                json.loads(text)


def _require_harmless(settings, stage):
    """A stage that failed on the full disk has committed nothing."""
    assert _work(settings, stage) is None
    _require_previous(settings)
    _require_whole_files(settings)


@pytest.mark.parametrize("stage", ["ingest", "features"])
def test_a_disk_that_gets_full_while_spark_writes(unharmed, disk, stage):
    settings = _copy(unharmed.before[stage], disk.folder)
    disk.fill(_written(unharmed.after, stage) // 2)
    with pytest.raises(DiskFull, match=rf"{disk.folder}/.*space"):
        night.run_stage(stage, NEXT, settings)
    _require_harmless(settings, stage)
    disk.empty()
    night.run_stage(stage, NEXT, settings)
    assert _work(settings, stage) == _work(unharmed.after, stage)


@pytest.fixture
def full_before(disk, monkeypatch):
    """Fill the disk when a file whose path matches is about to be written, up to so many bytes."""
    create = LocalStorage._create

    def arm(pattern, left=0):
        def watched(storage, path, fill):
            if re.fullmatch(pattern, path):
                disk.fill(left)
            return create(storage, path, fill)

        monkeypatch.setattr(LocalStorage, "_create", watched)

    return arm


ONE_PAGE = 4096


@pytest.mark.parametrize(
    "cuts",
    [
        {
            "train": [
                ("attempts/.*/request.json", 0),
                ("attempts/.*/challenger.ubj", ONE_PAGE),
                ("bundles/.*/user_factors.npy", ONE_PAGE),
                ("attempts/.*/result.json", 0),
                ("records/train/.*", 0),
            ]
        },
        {
            "precompute": [
                ("attempts/.*/release/lists/31.parquet", ONE_PAGE),
                ("releases/.*/lists/31.parquet", ONE_PAGE),
                ("releases/.*/manifest.json", 0),
                ("records/precompute/.*", 0),
            ]
        },
    ],
    ids=["train", "precompute"],
)
def test_a_disk_that_gets_full_while_a_stage_puts_files(unharmed, disk, full_before, cuts):
    [(stage, moments)] = cuts.items()
    settings = _copy(unharmed.before[stage], disk.folder)
    for path, left in moments:
        full_before(path, left)
        with pytest.raises(DiskFull, match=rf"{disk.folder}/.*space"):
            night.run_stage(stage, NEXT, settings)
        _require_harmless(settings, stage)
        disk.empty()
    full_before("nothing")
    night.run_stage(stage, NEXT, settings)
    assert _work(settings, stage) == _work(unharmed.after, stage)
