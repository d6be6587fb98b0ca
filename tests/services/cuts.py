"""Cuts a night at each of its writes, by an exception and by a sudden end, and does the part again.

Usage: cuts.py FOLDER HOME NUMBER OF

`FOLDER` is what `stages.py` filled. As worker NUMBER of so many, makes every OF-th cut in HOME, and
prints a JSON line for each: the part, the write, how it was cut, and what was wrong afterwards. Needs
OMP_NUM_THREADS=1: a fork does not survive that libraries have started threads.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import deltalake
import deltalake.transaction
import mlflow
import stages
from stages import Seen

from nightjar_reader import format as fmt

SECONDS = 3600  # the last resort: nothing but a fork that hangs takes as long
EXIT = 70
FOLDERS = ("/reports/", "/releases/", "/bundles/", "/caches/")
"""Of the many files in one of these only the first, a middle and the last are cut at."""
WAYS = [(after, kill) for after in (False, True) for kill in (False, True)]
"""Before or after a write, by an exception or a sudden end."""
PARTS = [
    (stage, part) for stage, part in stages.PARTS if part == "commit" or stage in ("train", "precompute")
]


class Cut(Exception):
    """What ends a part in the middle."""


@dataclass
class Knife:
    """Notes every write, and cuts before or after one of them.

    A file is there once its temporary file is linked: a sudden end before that leaves a half-made one.
    """

    home: Path
    at: int = -1
    after: bool = False
    kill: bool = False
    writes: list[str] = field(default_factory=list)

    def wrap_all(self) -> None:
        """Around files, Delta commits and MLflow's registry."""
        self._wrap(os, "link", lambda _, path: str(Path(path).relative_to(self.home)))
        self._wrap(
            deltalake.DeltaTable, "create_write_transaction", lambda table, *_: _table(table.table_uri)
        )
        self._wrap(deltalake.transaction, "create_table_with_add_actions", lambda uri, *_: _table(uri))
        self._wrap(mlflow.MlflowClient, "create_model_version", lambda *_: "mlflow version")
        self._wrap(mlflow.MlflowClient, "set_registered_model_alias", lambda *_: "mlflow alias")

    def _wrap(self, owner: Any, name: str, told: Callable[..., str]) -> None:
        real = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return self._write(told(*args), lambda: real(*args, **kwargs))

        setattr(owner, name, wrapped)

    def _write(self, name: str, work: Callable[[], Any]) -> Any:
        """Do one write, unless it is the one to be cut off from."""
        mine = len(self.writes) == self.at
        self.writes.append(name)
        if mine and not self.after:
            self._cut(name)
        done = work()
        if mine:
            self._cut(name)
        return done

    def _cut(self, name: str) -> None:
        if self.kill:
            os._exit(EXIT)
        raise Cut(name)


def _table(uri: str) -> str:
    return f"delta {uri.rstrip('/').rpartition('/')[2]}"


@dataclass(frozen=True)
class Try:
    """A cut: the write of a part of a stage, by number and name."""

    stage: str
    part: str
    at: int
    write: str
    after: bool
    kill: bool

    @property
    def end(self) -> int:
        """How the part then ends: what MLflow raises does not fail it."""
        if self.kill:
            return EXIT
        return 0 if self.write.startswith("mlflow") else 1


def start(work: Callable[[], Any], told: Path) -> int:
    """Begin something in a fork that may end suddenly; `told` gets what it returns, a log the rest."""
    told.unlink(missing_ok=True)
    pid = os.fork()
    if not pid:
        signal.alarm(SECONDS)
        log = os.open(told.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            told.write_text(json.dumps(work()))
        except Cut:
            os._exit(1)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(2)
        os._exit(0)
    return pid


def ended(pid: int) -> int:
    """How a fork ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_child(work: Callable[[], Any], told: Path) -> int:
    """Do something in a fork; gives how it ended."""
    return ended(start(work, told))


def asked(work: Callable[[], Any], told: Path) -> Any:
    """What something gives that is done in a fork, as delta-rs must not be used before one."""
    code = in_child(work, told)
    assert code == 0, f"{code}: {told.with_suffix('.log').read_text()[-3000:]}"
    return json.loads(told.read_text())


class Cutter:
    """Makes cuts in one home."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.before, self.home = folder / "before", home
        self.settings = stages.settings_of(home, folder / "slice.toml")
        self.told = home.with_suffix(".json")

    def look(self) -> dict[str, Any]:
        """How things are now, as JSON."""
        return stages.look(self.settings)

    def seen_before(self, stage: str, part: str) -> tuple[Seen, Seen]:
        """How things are before and after a part that nothing cuts."""
        ends = [f"{stage}-{part}" for stage, part in stages.PARTS] + ["end"]
        at = ends.index(f"{stage}-{part}")
        return self._seen(ends[at]), self._seen(ends[at + 1])

    def _seen(self, name: str) -> Seen:
        kept = self.told.with_name(f"{self.home.name}-{name}.seen")
        if not kept.exists():
            stages.copy_home(self.before / name, self.home)
            kept.write_text(json.dumps(asked(self.look, self.told)))
        return Seen(**json.loads(kept.read_text()))

    def writes(self, stage: str, part: str) -> list[str]:
        """The writes of a part that nothing cuts."""

        def work() -> list[str]:
            knife = Knife(self.home)
            knife.wrap_all()
            stages.run(stage, part, self.settings)
            return knife.writes

        stages.copy_home(self.before / f"{stage}-{part}", self.home)
        found: list[str] = asked(work, self.told)
        return found

    def cut(self, one: Try) -> list[str]:
        """Cut, look, and do the part again, as a retry or as a whole stage; what was wrong."""
        before, after = self.seen_before(one.stage, one.part)
        stages.copy_home(self.before / f"{one.stage}-{one.part}", self.home)
        code = in_child(lambda: self._run(one), self.told)
        wrong = [] if code == one.end else [f"ended with {code}: {self._log()}"]
        wrong += self._between(before, after)
        if one.part == "commit" and not one.kill:
            wrong += self._again(lambda: stages.run_anew(one.stage, self.settings), after, "the stage")
        else:
            wrong += self._again(lambda: stages.run(one.stage, one.part, self.settings), after, "the task")
        return wrong

    def _run(self, one: Try) -> None:
        Knife(self.home, one.at, one.after, one.kill).wrap_all()
        stages.run(one.stage, one.part, self.settings)

    def _between(self, before: Seen, after: Seen) -> list[str]:
        """What is neither as it was nor as it is to be, right after a cut."""
        now = Seen(**asked(self.look, self.told))
        known = (before.state, after.state)
        odd = [
            name for name, value in now.state.items() if value not in [k[name] for k in known if name in k]
        ]
        lost = before.state.keys() - now.state.keys()
        serving = [] if now.served in (before.served, after.served) else [f"serves {now.served}"]
        return [
            *(f"cut: {name} is odd" for name in odd),
            *(f"cut: {name} is lost" for name in lost),
            *serving,
        ]

    def _again(self, work: Callable[[], None], after: Seen, what: str) -> list[str]:
        """What differs once something is done again."""

        def both() -> dict[str, Any]:
            work()
            return self.look()

        code = in_child(both, self.told)
        if code:
            return [f"{what} again ended with {code}: {self._log()}"]
        now = Seen(**json.loads(self.told.read_text()))
        names = now.state.keys() | after.state.keys()
        differs = sorted(name for name in names if now.state.get(name, 0) != after.state.get(name, 0))
        serving = [] if now.served == after.served else [f"serves {now.served}"]
        return [*(f"{what} again: {name} differs" for name in differs), *serving]

    def _log(self) -> str:
        return self.told.with_suffix(".log").read_text()[-2000:]


def points(writes: list[str]) -> list[int]:
    """The writes to cut at: all, but of the files of one folder only some."""
    found = [n for n, name in enumerate(writes) if _folder(name) == ""]
    for folder in {_folder(name) for name in writes} - {""}:
        inside = [n for n, name in enumerate(writes) if _folder(name) == folder]
        found += {inside[0], inside[len(inside) // 2], inside[-1]}
    return sorted(found)


def _folder(name: str) -> str:
    """The folder of many files in which a write is, except for what is written there last."""
    last = name.endswith((fmt.MANIFEST, "MLmodel"))
    return "" if last else next((folder for folder in FOLDERS if folder in name), "")


def tries(cutter: Cutter, stage: str, part: str) -> list[Try]:
    """All cuts of a part."""
    writes = cutter.writes(stage, part)
    return [Try(stage, part, at, writes[at], *way) for at in points(writes) for way in WAYS]


def warm_up(folder: Path, home: Path, parts: Sequence[tuple[str, str]]) -> None:
    """Load and compile what the parts need, for the forks to come; but no delta-rs, whose threads last."""
    settings = stages.settings_of(home, folder / "slice.toml")
    for stage, part in parts:
        stages.copy_home(folder / "before" / f"{stage}-{part}", home)
        if part == "commit":
            stages.commit(stage, stages.noted(stage, settings), settings)
        else:
            stages.run(stage, part, settings)
    stages.served(settings)
    shutil.rmtree(home)


def main() -> None:
    folder, home, number, of = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    cutter = Cutter(folder, home)
    warm_up(folder, home.with_name(f"{home.name}-warm"), PARTS)
    every = [one for part in PARTS for one in tries(cutter, *part)]
    for one in every[number::of]:
        began = time.monotonic()
        wrong = cutter.cut(one)
        told = asdict(one) | {"wrong": wrong, "seconds": time.monotonic() - began}
        sys.stdout.write(f"{json.dumps(told)}\n")
        sys.stdout.flush()
    shutil.rmtree(home)


if __name__ == "__main__":
    main()
