"""A night's stages at several sizes: seconds, CPU-seconds, memory of all processes, bytes.

    python benchmarks/night.py make FOLDER --size M     # raw days: S is the demo, M and L are generated
    python benchmarks/night.py run FOLDER --nights 2    # bootstraps the history, then runs the last days
    python benchmarks/night.py features FOLDER          # the last day's features, by DuckDB and Polars too
    python benchmarks/night.py table                    # writes docs/benchmarks.md from the results
    python benchmarks/night.py fit                      # writes the coefficients of `nightjar plan` from them

`run --apart 7` leaves a week between nights: all but the first then find their snapshots made, and cost what
nights cost from the second week on. `run --workers 2` runs each command on a Spark cluster that is started
for it, and measured with it (`on_workers.py`).

`make --grow history` (or users, items) makes four times as much of one; a longer history ends in the very
same days. `--users`, `--items`, `--rows`, `--days` and `--seed` change a size. `NIGHTJAR_SPARK_MEMORY`,
`NIGHTJAR_SPARK_MASTER` and `NIGHTJAR_THREADS` are handed on and kept with the figures.

Figures go to benchmarks/results/night.json as they come. A command that is repeated at the same commit
replaces its own; so `run --no-bootstrap`, in a folder that has its history, leaves those of the bootstrap.
"""

import argparse
import datetime as dt
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import night_data  # noqa: E402
import night_fit  # noqa: E402
import psutil  # noqa: E402
from night_compare import differing, plan_of  # noqa: E402
from night_data import Shop  # noqa: E402
from night_features import ENGINES, write_plan  # noqa: E402
from night_table import write_page  # noqa: E402
from usage import GIB, measure  # noqa: E402

from lake import cores, processor  # noqa: E402
from lake.names import StageName  # noqa: E402
from lake.partitions import ONE_DAY  # noqa: E402
from lake.settings import PREFIX  # noqa: E402
from nightjar.command import costs  # noqa: E402

Facts = dict[str, Any]

RESULTS = ROOT / "benchmarks" / "results" / "night.json"
PAGE = ROOT / "docs" / "benchmarks.md"
COSTS = ROOT / "nightjar" / "command" / costs.FILE
FLAGS = ("avx2", "avx512f")  # which vectors the processor has decides how fast matrix products are
VARIABLES = [f"{PREFIX}{name}" for name in ("SPARK_MASTER", "SPARK_MEMORY", "THREADS")]
"""Handed on and kept with the figures. Others are not: places are the folder's, and one is a secret."""


def main() -> None:
    """Make, measure or write what is asked for."""
    asked = _arguments()
    if asked.what == "table":
        return write_page(_results(), PAGE)
    if asked.what == "fit":
        return night_fit.write(_results(), COSTS)
    folder = asked.folder.absolute()
    if asked.what == "make":
        return night_data.make(folder, _shop(asked))
    bench = _Bench(folder, getattr(asked, "workers", None))
    if asked.what == "features":
        return bench.compare()
    stages = ["night"] if asked.whole else list(StageName)
    bench.run(asked.nights, asked.apart, asked.bootstrap, stages)


def _arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="what", required=True)
    parsers = {name: commands.add_parser(name) for name in ("make", "run", "features", "table", "fit")}
    for name in ("make", "run", "features"):
        parsers[name].add_argument("folder", type=Path, help="the home of raw days, lake and releases")
    parsers["make"].add_argument("--size", choices=night_data.SIZES, default="M")
    parsers["make"].add_argument("--grow", choices=["history", "users", "items"])
    for name in ("users", "items", "rows", "days", "seed"):
        parsers["make"].add_argument(f"--{name}", type=int)
    parsers["make"].add_argument("--quick", action="store_true", help="one ALS iteration and 10 rounds")
    parsers["run"].add_argument("--nights", type=int, default=2, help="how many nights, up to the last day")
    parsers["run"].add_argument("--apart", type=int, default=1, help="days from a night to the next")
    parsers["run"].add_argument("--no-bootstrap", dest="bootstrap", action="store_false")
    parsers["run"].add_argument("--workers", type=int, help="on a Spark cluster of so many, started for each")
    parsers["run"].add_argument("--whole", action="store_true", help="a night as one command")
    return parser.parse_args()


def _shop(asked: argparse.Namespace) -> Shop:
    shop = night_data.SIZES[asked.size]
    given = {name: getattr(asked, name) for name in ("users", "items", "rows", "days", "seed")}
    if asked.size == "S" and (asked.grow or asked.quick or any(given.values())):
        raise SystemExit("S is the demo as it is: choose another size to change or grow")
    shop = shop.changed(**given, quick=asked.quick)
    return shop.grow(asked.grow) if asked.grow else shop


class _Bench:
    """The commands of one folder, and what their figures are filed by."""

    def __init__(self, folder: Path, workers: int | None) -> None:
        self._folder, self._shop, self._workers = folder, night_data.read(folder), workers
        settings = handed_on() | ({"workers": f"{workers}"} if workers else {})
        self._key = {**asdict(self._shop), "commit": commit(), "machine": machine(), "settings": settings}
        self._environment = environment_of(folder, self._shop)

    def run(self, nights: int, apart: int, bootstrap: bool, stages: Sequence[str]) -> None:
        """Load the history, then the nights stage by stage; days between two nights are loaded like it."""
        days = [self._shop.last - back * apart * ONE_DAY for back in reversed(range(nights))]
        missing = self._shop.first if bootstrap else days[0]
        for day in days:
            if missing < day:
                self._bootstrap(missing, day - ONE_DAY)
            missing = day + ONE_DAY
            for stage in stages:
                self._measure(stage, day, nightjar("run", stage, "--partition", day))

    def _bootstrap(self, first: dt.date, last: dt.date) -> None:
        self._measure("bootstrap", last, nightjar("bootstrap", "--from", first, "--to", last))

    def compare(self) -> None:
        """Features of the last day, whose snapshots are made: by the stage and by other engines."""
        day, stage, file = self._shop.last, StageName.FEATURES, self._folder / "engines.json"
        self._measure("features by nightjar", day, nightjar("run", stage, "--partition", day))
        for engine in ENGINES:
            out = self._folder / engine
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            write_plan(plan_of(self._folder, day, out), file)
            command = [sys.executable, str(ROOT / "benchmarks" / "night_features.py"), engine, str(file)]
            self._measure(f"features by {engine}", day, command, {"version": version(engine)})
            if values := differing(self._folder, day, out):
                raise SystemExit(f"{engine} made other values than the lake has: {values}")

    def _measure(self, what: str, day: dt.date, command: Sequence[str], facts: Facts | None = None) -> None:
        load = round(os.getloadavg()[0], 1)
        used = measure([*self._cluster(), *command], self._environment)
        output, code = used.pop("output"), used.pop("code")
        if code:
            raise SystemExit("\n".join([f"{shlex.join(command)} failed:", *output]))
        used["steps"] = [{**step, "log": shown(step["log"], self._folder)} for step in used["steps"]]
        told = {
            "what": what,
            "day": f"{day}",
            "command": shown(shlex.join(command), self._folder),
            "load": load,
        }
        _keep(self._key, {**told, **(facts or {}), **used})
        print(what, day, {name: number for name, number in used.items() if name != "steps"}, flush=True)

    def _cluster(self) -> list[str]:
        """What starts a cluster for a command; nothing where Spark runs in its driver."""
        program = str(ROOT / "benchmarks" / "on_workers.py")
        return [sys.executable, program, f"{self._workers}"] if self._workers else []


def handed_on() -> dict[str, str]:
    """The settings that are kept with the figures."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def environment_of(folder: Path, shop: Shop) -> dict[str, str]:
    """The environment of commands that work in a folder."""
    others = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    dataset = night_data.settings_of(folder, shop).dataset
    home = {f"{PREFIX}HOME": str(folder), f"{PREFIX}DATASET": dataset}
    return {**others, **handed_on(), **home, "PYTHONPATH": str(ROOT)}


def shown(line: str, folder: Path) -> str:
    """A line without the places of this machine."""
    line = line.replace(str(folder), "FOLDER")
    return line.replace(f"{Path(sys.executable).parent}/", "").replace(f"{ROOT}/", "")


def nightjar(*words: object) -> list[str]:
    """The command `nightjar` of this Python."""
    return [str(Path(sys.executable).with_name("nightjar")), *map(str, words)]


def commit() -> str:
    """The commit of the code; a plus where the code differs from it."""
    status = ["status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results", ":!docs"]
    name, changed = (
        subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
        for words in (["rev-parse", "--short=12", "HEAD"], status)
    )
    return name + "+" * bool(changed)


def machine() -> dict[str, Any]:
    """What the figures are of."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return {
        "cpu": processor.Machine.here().processor,
        "cores": cores.count(),
        "memory_gib": round(psutil.virtual_memory().total / GIB),
        "flags": [flag for flag in FLAGS if flag in flags],
        "python": platform.python_version(),
        "nice": os.nice(0),
    }


def _keep(key: dict[str, Any], measured: dict[str, Any]) -> None:
    """File the figures of a command with those of its run, in the place of earlier ones of the same."""
    runs = _results()
    run = next((run for run in runs if {name: run[name] for name in key} == key), None)
    if run is None:
        run = {**key, "stages": []}
        runs.append(run)
    same = ("what", "day")
    run["stages"] = [old for old in run["stages"] if [old[k] for k in same] != [measured[k] for k in same]]
    run["stages"].append(measured)
    RESULTS.write_text(json.dumps(runs, indent=1) + "\n")


def _results() -> list[dict[str, Any]]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


if __name__ == "__main__":
    main()
