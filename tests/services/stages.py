"""The four stages of a night on a small slice: what tasks do, what later tries do, how things are then.

Usage: stages.py make FOLDER
       stages.py look HOME DATASET

The first runs a night of the data set `FOLDER/slice.toml` part by part, and keeps the home as it was
before each of them, in `FOLDER/before/<stage>-<part>` and at last `FOLDER/before/end`; in all of
them the release of an earlier night is served. The second prints, as JSON, how things are in a home.
"""

import contextlib
import datetime as dt
import json
import os
import shutil
import sqlite3
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import deltalake

from lake import layout
from lake.lake import Lake
from lake.names import StageName
from lake.records import Record, Records
from lake.schemas import TABLES
from lake.settings import Settings
from lake.storage import Storage, open_storage
from nightjar.command.land import land
from nightjar.stages import attempt as attempts
from nightjar.stages import decision, mirror, night, precompute, runner
from nightjar.stages.stage import Stage
from nightjar_reader import Reader
from nightjar_reader import format as fmt
from precompute import publish as publishing

FIRST, BEFORE, DAY = dt.date(2017, 6, 25), dt.date(2017, 8, 13), dt.date(2017, 8, 14)
HOUSEHOLDS = 500
PARTS = [(stage, part) for stage in StageName for part in ("work", "commit")]
NIGHT = 1


def settings_of(home: Path, dataset: Path, lake: str = "") -> Settings:
    """Settings of the slice with its home in a folder."""
    told = {"spark_master": "local[2]", "spark_memory": "1g", "threads": 1} | ({"lake": lake} if lake else {})
    return Settings(home=home, dataset=str(dataset), **told)


# What tasks do


def _begin(stage: str, settings: Settings) -> str:
    return attempts.begin(Lake.open(settings), _stage(stage, settings), [DAY])


def _stage(name: str, settings: Settings) -> Stage[Any, Any]:
    return runner.open_stage(StageName(name), settings)


def _work(stage: str, settings: Settings) -> None:
    """What comes before a commit: each try of it is a new attempt."""
    attempt = _begin(stage, settings)
    runner.run(Lake.open(settings), _stage(stage, settings), attempt, settings)
    (settings.home / f"attempt-{stage}").write_text(attempt)


def commit(stage: str, attempt: str, settings: Settings) -> None:
    """Make current what an attempt made."""
    if stage == "train":
        decision.commit_decision(DAY, attempt, Lake.open(settings), night=NIGHT)
    elif stage == "precompute":
        precompute.commit_and_publish(attempt, Lake.open(settings))
    else:
        attempts.commit(Lake.open(settings), _stage(stage, settings), attempt)


def finish(stage: str, attempt: str, settings: Settings) -> None:
    """`commit`, and what follows it."""
    commit(stage, attempt, settings)
    if stage in ("ingest", "features"):
        mirror.run(Lake.open(settings))


def noted(stage: str, settings: Settings) -> str:
    """The attempt of a stage, which Airflow keeps in XCom."""
    return (settings.home / f"attempt-{stage}").read_text()


def run(stage: str, part: str, settings: Settings) -> None:
    """Do what a task does; again, what its retry does."""
    if part == "work":
        _work(stage, settings)
    else:
        finish(stage, noted(stage, settings), settings)


def run_anew(stage: str, settings: Settings) -> None:
    """Do what a stage does that is run again from its beginning, without its heavy work."""
    finish(stage, begin_anew(stage, settings), settings)


def begin_anew(stage: str, settings: Settings) -> str:
    """A new attempt, with what an earlier one made as if it had made it too."""
    storage, old = open_storage(settings.lake), noted(stage, settings)
    new = _begin(stage, settings)
    folders = [layout.attempt(old), *(layout.staged(table, old) for table in TABLES)]
    made = {path for folder in folders for path in storage.list(folder)}
    for path in made - {layout.plan(old), layout.registered(old)}:
        content = storage.read(path).replace(old.encode(), new.encode())
        storage.put_new(path.replace(old, new), content)
    return new


# How things are


def state(settings: Settings) -> dict[str, Any]:
    """All that must not depend on cuts, by name: no attempts, no stamps."""
    lake, releases = open_storage(settings.lake), open_storage(settings.releases)
    found = {
        **_records(lake),
        **dict.fromkeys(lake.list(layout.NIGHTS), ""),
        **{path: lake.sha256(path) for path in lake.list(layout.BUNDLES)},
        **_releases(releases),
        **{path.rpartition("/")[0]: "" for path in releases.list(fmt.PROVENANCE)},
        **_ledger(releases),
        **{table: _shown(lake, table) for table in TABLES},
        **_mlflow(settings),
    }
    decoded: dict[str, Any] = json.loads(json.dumps(found))
    return decoded


def _records(lake: Storage) -> dict[str, Any]:
    records = Records(lake)
    history = (
        r for stage in StageName for day in records.partitions(stage) for r in records.history(stage, day)
    )
    return {f"{r.stage}/{r.partition}/{r.sequence}": _told(r, lake) for r in history}


def _told(record: Record, lake: Storage) -> list[Any]:
    lost = [f.path for t in record.tables.values() for f in t.files if lake.size(f.path) != f.bytes]
    return [record.outcome, record.content, record.fingerprint, lost]


def _releases(releases: Storage) -> dict[str, Any]:
    """The digest of each file; with a manifest, the files that it names and that are not there."""
    there = releases.list(fmt.RELEASES)
    found: dict[str, Any] = {path: releases.sha256(path) for path in there}
    for path in (path for path in there if path.endswith(fmt.MANIFEST)):
        folder = path.removesuffix(fmt.MANIFEST)
        named = fmt.parse(releases.read(path)).files
        found[path] = [found[path], [name for name in named if f"{folder}{name}" not in found]]
    return found


def _ledger(releases: Storage) -> dict[str, Any]:
    found = publishing.entries(releases)
    return {fmt.ledger_path(e.sequence): [e.kind, e.as_of, [r.release_id for r in e.releases]] for e in found}


def _shown(lake: Storage, table: str) -> Any:
    """A Delta table's version, and the days, bytes and rows of its files; None where there is none."""
    if not deltalake.DeltaTable.is_deltatable(lake.uri(table), lake.delta()):
        return None
    delta = deltalake.DeltaTable(lake.uri(table), storage_options=lake.delta())
    rows = delta.get_add_actions(flatten=True)
    columns = [
        rows[name].to_pylist()
        for name in (f"partition.{TABLES[table].partition}", "size_bytes", "num_records")
    ]
    return [delta.version(), sorted([str(day), *sizes] for day, *sizes in zip(*columns, strict=True))]


def _mlflow(settings: Settings) -> dict[str, Any]:
    versions = (
        "SELECT v.version, t.value FROM model_versions v JOIN model_version_tags t "
        "ON v.name = t.name AND v.version = t.version WHERE t.key = 'bundle_id'"
    )
    with contextlib.closing(sqlite3.connect(settings.home / "mlflow.db")) as store:
        found = {f"version {number}": bundle for number, bundle in store.execute(versions)}
        return found | dict(store.execute("SELECT alias, version FROM registered_model_aliases"))


def served(settings: Settings) -> str:
    """The release that readers get, each of its files as published."""
    reader = Reader(settings.releases)
    reader.release.verify()
    assert reader.for_user(next(reader.users())).items
    return reader.release_id


@dataclass(frozen=True)
class Seen:
    """How things are, and the release that readers get."""

    state: dict[str, Any]
    served: str


def look(settings: Settings) -> dict[str, Any]:
    """A `Seen` of now, as JSON."""
    return asdict(Seen(state(settings), served(settings)))


# Homes


def copy_home(source: Path, home: Path) -> None:
    """Make a home as another one; what its attempts have to do is about the new place."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(source, home, copy_function=_copy)
    made_in = (source / "made_in").read_text()
    for plan in (home / "lake" / layout.ATTEMPTS).glob("*/plan.json"):
        plan.write_text(plan.read_text().replace(made_in, home.as_uri()))
    (home / "made_in").write_text(home.as_uri())


def _copy(source: str, target: str) -> None:
    """Copy a file; the lake's own are never changed, so that another name is enough."""
    lasts = "/lake/" in source and not source.endswith("/plan.json")
    (os.link if lasts else shutil.copy2)(source, target)


def make(folder: Path) -> None:
    """Run the night, and keep the homes."""
    settings = settings_of(folder / "home", folder / "slice.toml")
    land(settings, FIRST, DAY, households=HOUSEHOLDS)
    (settings.home / "made_in").write_text(settings.home.as_uri())
    night.run_bootstrap(FIRST, BEFORE - dt.timedelta(days=1), settings)
    night.run(BEFORE, settings)
    Records(open_storage(settings.lake)).open_night(DAY)
    shutil.rmtree(settings.home / "lake" / "item_features" / "_delta_log")  # so that a table is made too
    for stage, part in PARTS:
        copy_home(settings.home, folder / "before" / f"{stage}-{part}")
        began = time.monotonic()
        run(stage, part, settings)
        sys.stderr.write(f"{stage} {part}: {time.monotonic() - began:.1f} s\n")
    copy_home(settings.home, folder / "before" / "end")


def main() -> None:
    verb, *places = sys.argv[1:]
    if verb == "make":
        make(*map(Path, places))
    else:
        sys.stdout.write(json.dumps(look(settings_of(*map(Path, places)))))


if __name__ == "__main__":
    main()
