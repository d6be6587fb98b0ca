"""Cuts a step of a night at each of its writes, by an exception and by a sudden end, and repeats it.

Usage: cuts.py STEP FOLDER

`FOLDER` holds ``home`` (the lake and all else, as it is before the step), and ``slice.toml``. Prints,
as JSON, the writes of the step and every cut after which something is not as it is without the cut.
The last line of a step that nothing cut leaves ``home`` as it is after the step.
"""

import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import deltalake
import deltalake.transaction
import great_expectations  # noqa: F401  (once here, not in each child)
import mlflow.tracking

from lake import layout
from lake.records import Records
from lake.schemas import TABLES
from lake.settings import Settings
from lake.storage import LocalStorage, open_storage
from nightjar import features, ingest, mirror, precompute, train
from nightjar_reader import Reader
from nightjar_reader import format as fmt
from precompute import publish as publishing

DAY = dt.date(2017, 8, 14)
SECONDS = 180
EXIT = 70
STAGES = ("ingest", "features", "train", "precompute")


class Cut(Exception):
    """What ends a step in the middle."""


@dataclass
class Knife:
    """Notes every write, and cuts at one of them."""

    at: int = -1
    after: bool = False
    kill: bool = False
    writes: list[str] = field(default_factory=list)

    def write(self, name: str, work: Callable[[], Any]) -> Any:
        """Do one write, unless it is the one to be cut off from."""
        mine = len(self.writes) == self.at
        self.writes.append(name)
        if mine and not self.after:
            self._cut()
        done = work()
        if mine:
            self._cut()
        return done

    def _cut(self) -> None:
        if self.kill:
            os._exit(EXIT)
        raise Cut(self.writes[-1])

    def wrap(self, owner: Any, name: str, told: Callable[..., str]) -> None:
        """Put the knife around a function that writes."""
        real = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return self.write(told(*args), lambda: real(*args, **kwargs))

        setattr(owner, name, wrapped)

    def everywhere(self) -> None:
        """Around files, Delta commits and MLflow's registry."""
        self.wrap(LocalStorage, "_create", lambda storage, path, *_: path)
        self.wrap(deltalake.DeltaTable, "create_write_transaction", lambda *_: "delta commit")
        self.wrap(deltalake.transaction, "create_table_with_add_actions", lambda *_: "delta table")
        client = mlflow.tracking.MlflowClient
        self.wrap(client, "create_model_version", lambda *_: "mlflow version")
        self.wrap(client, "set_registered_model_alias", lambda *_: "mlflow alias")


# Steps: what an Airflow task does, its retry with the same attempt where the attempt is its argument


def _attempt(settings: Settings, name: str) -> str:
    return (settings.home / f"attempt-{name}").read_text()


def _keep(settings: Settings, name: str, attempt: str) -> None:
    (settings.home / f"attempt-{name}").write_text(attempt)


def commit_ingest(settings: Settings) -> None:
    ingest.commit(_attempt(settings, "ingest"), settings)
    mirror.run(settings)


def commit_features(settings: Settings) -> None:
    features.commit(_attempt(settings, "features"), settings)
    mirror.run(settings)


def train_and_evaluate(settings: Settings) -> None:
    attempt = train.prepare(DAY, settings)
    _keep(settings, "train", attempt)
    train.train(attempt, settings)


def decide(settings: Settings) -> None:
    train.decide(DAY, _attempt(settings, "train"), settings, night=1)


def build(settings: Settings) -> None:
    attempt = precompute.prepare(DAY, settings)
    precompute.build(attempt, settings)
    _keep(settings, "precompute", attempt)


def publish(settings: Settings) -> None:
    precompute.publish(_attempt(settings, "precompute"), settings)


STEPS: dict[str, Callable[[Settings], None]] = {
    "commit_ingest": commit_ingest,
    "commit_features": commit_features,
    "train_and_evaluate": train_and_evaluate,
    "decide": decide,
    "build": build,
    "publish": publish,
}
SLOW = ("train_and_evaluate", "build")


# What is looked at


def _records(records: Records) -> dict[str, list[Any]]:
    return {
        f"{stage}/{day}": [[r.outcome, r.content, r.fingerprint] for r in records.history(stage, day)]
        for stage in STAGES
        for day in records.partitions(stage)
    }


def _delta(settings: Settings) -> dict[str, Any]:
    storage = open_storage(settings.lake)
    found = {}
    for table in TABLES:
        with contextlib.suppress(Exception):
            delta = deltalake.DeltaTable(storage.uri(table))
            paths = delta.get_add_actions(flatten=True)["path"].to_pylist()
            shown = sorted(f"{table}/{path}" for path in paths)
            found[table] = [delta.version(), len(shown), shown == _named(settings, table)]
    return found


def _named(settings: Settings, table: str) -> list[str]:
    records = Records(open_storage(settings.lake))
    stage = "ingest" if table in ("interactions", "quarantine", "catalogue") else "features"
    current = records.all_current(stage, dt.date.max)
    return sorted(f.path for r in current if table in r.tables for f in r.tables[table].files)


def _mlflow(settings: Settings) -> list[Any]:
    query = (
        "SELECT v.version, t.value FROM model_versions v JOIN model_version_tags t "
        "ON v.name = t.name AND v.version = t.version WHERE t.key = 'bundle_id' ORDER BY v.version"
    )
    with contextlib.closing(sqlite3.connect(settings.home / "mlflow.db")) as db:
        alias = db.execute("SELECT alias, version FROM registered_model_aliases").fetchall()
        return [db.execute(query).fetchall(), alias]


def state(settings: Settings) -> dict[str, Any]:
    """All that has to be the same with and without a cut."""
    records = Records(open_storage(settings.lake))
    ledger = publishing.entries(open_storage(settings.releases))
    return {
        "records": _records(records),
        "nights": open_storage(settings.lake).list(layout.NIGHTS),
        "bundles": sorted({path.split("/")[1] for path in open_storage(settings.lake).list(layout.BUNDLES)}),
        "ledger": [[e.sequence, e.kind, e.as_of, [r.release_id for r in e.releases]] for e in ledger],
        "releases": sorted({p.split("/")[1] for p in open_storage(settings.releases).list(fmt.RELEASES)}),
        "delta": _delta(settings),
        "mlflow": _mlflow(settings),
    }


def served(settings: Settings) -> str:
    """The release that readers get, every file of it whole."""
    reader = Reader(settings.releases)
    reader.release.verify()
    assert reader.for_user(next(reader.users())).items
    return reader.release_id


# Doing it


def _settings(folder: Path) -> Settings:
    return Settings(
        home=folder / "home", dataset=str(folder / "slice.toml"), threads=2, spark_master="local[2]"
    )


def _in_child(work: Callable[[], Any], log: Path) -> int:
    """Do something in a fork that may end suddenly; gives how it ended."""
    pid = os.fork()
    if not pid:
        signal.alarm(SECONDS)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        try:
            work()
        except Cut:
            os._exit(1)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(2)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _run(step: str, settings: Settings, knife: Knife, noted: Path) -> None:
    knife.everywhere()
    try:
        STEPS[step](settings)
    finally:
        noted.write_text(json.dumps(knife.writes))


def _points(writes: list[str]) -> list[int]:
    """All writes, but of the files of a bundle or a release only the first, a middle and the last."""
    inside = ("releases/", "bundles/", "/release/")
    files = [n for n, name in enumerate(writes) if any(folder in name for folder in inside)]
    files = [n for n in files if not writes[n].endswith(fmt.MANIFEST)]
    some = {files[0], files[len(files) // 2], files[-1]} if files else set()
    return [n for n in range(len(writes)) if n not in files or n in some]


def _ways(step: str) -> list[tuple[bool, bool]]:
    """Before or after the write, by exception or sudden end; after alone where a step is slow."""
    return [(after, kill) for after in ((True,) if step in SLOW else (False, True)) for kill in (False, True)]


def _expected_end(write: str, kill: bool) -> int:
    """How a cut step ends: an error of MLflow's alone does not fail it."""
    if kill:
        return EXIT
    return 0 if write.startswith("mlflow") else 1


@dataclass(frozen=True)
class Seen:
    """How things are: all that has to be the same, and the release that readers get."""

    state: dict[str, Any]
    served: str


def look(settings: Settings, log: Path) -> Seen:
    """In a child, as delta-rs must not be used before a fork."""
    told = settings.home.with_name("seen.json")

    def write() -> None:
        told.write_text(json.dumps([state(settings), served(settings)]))

    assert _in_child(write, log) == 0, log.read_text()[-5000:]
    return Seen(*json.loads(told.read_text()))


def main() -> None:
    step, folder = sys.argv[1], Path(sys.argv[2])
    settings, before, log = _settings(folder), folder / "before", folder / f"{step}.log"
    noted = folder / "writes.json"
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(settings.home, before)
    old = look(settings, log).served

    def restore() -> None:
        shutil.rmtree(settings.home)
        shutil.copytree(before, settings.home)

    ended = _in_child(lambda: _run(step, settings, Knife(), noted), log)
    assert ended == 0, log.read_text()[-5000:]
    writes = json.loads(noted.read_text())
    expected = look(settings, log)
    wrong: list[Any] = []
    cuts = [(n, *way) for n in _points(writes) for way in _ways(step)]
    for n, after, kill in cuts:
        restore()
        knife = Knife(n, after, kill)
        ended = _in_child(lambda knife=knife: _run(step, settings, knife, noted), log)
        meanwhile = look(settings, log).served
        again = _in_child(lambda: STEPS[step](settings), log)
        found = look(settings, log)
        differs = [name for name, value in expected.state.items() if found.state[name] != value]
        fine = ended == _expected_end(writes[n], kill) and again == 0 and found == expected
        if not fine or meanwhile not in (old, expected.served):
            wrong.append([writes[n], after, kill, ended, again, differs, meanwhile, found.served])
    sys.stdout.write(json.dumps({"writes": writes, "cuts": len(cuts), "wrong": wrong}))


if __name__ == "__main__":
    main()
