"""Many nights in a row: seconds of each, what it trains anew, and by what the lake grows.

    python benchmarks/night.py make FOLDER --size S           # the demo's raw days
    python benchmarks/many_nights.py run FOLDER --nights 30   # the history, then the last days one by one
    python benchmarks/many_nights.py table                    # writes docs/benchmarks.md from the results

Figures go to benchmarks/results/many_nights.json night by night, so that nights may be stopped; those of
a run that is repeated are replaced. Sizes are of files, by the folder of the home or of the lake in which
they lie. At the end the content of all files is compared, to find what is kept twice.
"""

import argparse
import datetime as dt
import json
import os
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import night_data  # noqa: E402
from night import PAGE, commit, environment_of, handed_on, machine, nightjar, shown  # noqa: E402
from night_fit import FITTED, MADE, count  # noqa: E402
from night_table import machine_line, replace_between, table, title  # noqa: E402
from usage import measure  # noqa: E402

from lake.disk import sha256_of  # noqa: E402
from lake.partitions import ONE_DAY, days  # noqa: E402

Run = dict[str, Any]

RESULTS = ROOT / "benchmarks" / "results" / "many_nights.json"
BEGIN = "<!-- what follows is written by benchmarks/many_nights.py -->"
END = "<!-- end of what is written by benchmarks/many_nights.py -->"
STEADY = 7  # the last nights, of which the mean is told
COLUMNS = ("wall", "cpu", "read", "written", "peak_gib")
MB, HOUR = 10**6, 3600
SMALL = MB // 100  # a folder that grows by less in a night is told with others
DELTA, RAW = "_delta_log", "lake/raw"


def main() -> None:
    """Measure or write what is asked for."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="what", required=True)
    run = commands.add_parser("run")
    run.add_argument("folder", type=Path, help="what `night.py make` filled")
    run.add_argument("--nights", type=int, default=30, help="how many of the last days are nights")
    commands.add_parser("table")
    asked = parser.parse_args()
    if asked.what == "run":
        _Bench(asked.folder.absolute()).run(asked.nights)
    else:
        replace_between(PAGE, BEGIN, tables(json.loads(RESULTS.read_text())), END)


class _Bench:
    """The nights of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._shop = folder, night_data.read(folder)
        of = {"commit": commit(), "machine": machine(), "settings": handed_on()}
        self._key = {**asdict(self._shop), **of}
        self._run: Run = {**self._key, "nights": []}

    def run(self, nights: int) -> None:
        """Load the history, then run the last days."""
        first = self._shop.last - (nights - 1) * ONE_DAY
        history = first - ONE_DAY
        self._run["before"] = sizes(self._folder)
        self._run["bootstrap"] = self._measured(
            nightjar("bootstrap", "--from", self._shop.first, "--to", history)
        )
        for day in days(first, self._shop.last):
            self._run["nights"].append(self._night(day))
            self._keep()
        self._run["twice"] = twice(self._folder)
        self._keep()

    def _night(self, day: dt.date) -> Run:
        return {"day": f"{day}", **self._measured(nightjar("run", "night", "--partition", day))}

    def _measured(self, command: Sequence[str]) -> Run:
        """What a command took, what it trained, and the sizes after it."""
        load = round(os.getloadavg()[0], 1)
        used = measure(command, environment_of(self._folder, self._shop))
        if used["code"]:
            raise SystemExit(f"{shlex.join(command)} failed: see above")
        lines = [step["log"] for step in used["steps"]]
        return {
            "command": shown(shlex.join(command), self._folder),
            "load": load,
            **{name: used[name] for name in COLUMNS},
            "fits": count(lines, FITTED),
            "sets": count(lines, MADE),
            "sizes": sizes(self._folder),
        }

    def _keep(self) -> None:
        """File the figures, in the place of earlier ones of the same run."""
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
        others = [run for run in kept if {name: run[name] for name in self._key} != self._key]
        RESULTS.write_text(json.dumps([*others, self._run], indent=1) + "\n")


def sizes(folder: Path) -> dict[str, int]:
    """Bytes by the folder in which files lie."""
    found: Counter[str] = Counter()
    for path in _files(folder):
        found[kind(path.relative_to(folder))] += path.stat().st_size
    return dict(found)


def kind(path: Path) -> str:
    """The folder of a file: of the home, of the lake, of the releases, or the logs of Delta tables."""
    inside = path.parts[:-1]
    if DELTA in inside:
        return DELTA
    depth = {("lake",): 2, ("lake", "published"): 3}
    return "/".join(inside[: depth.get(inside[:2], depth.get(inside[:1], 1))]) or "."


def twice(folder: Path) -> dict[str, int]:
    """Bytes that are there again: of each content all files but one, by the folders that hold it."""
    same: dict[str, list[Path]] = defaultdict(list)
    for path in _files(folder):
        same[sha256_of(path)].append(path)
    found: Counter[str] = Counter()
    for paths in same.values():
        kinds = sorted({kind(path.relative_to(folder)) for path in paths})
        found[", ".join(kinds)] += (len(paths) - 1) * paths[0].stat().st_size
    return {name: count for name, count in found.items() if count}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def tables(runs: Sequence[Run]) -> str:
    """The last run: what its nights took, and by what the lake grew."""
    run = runs[-1]
    nights, steady = run["nights"], run["nights"][-STEADY:]
    wall = sum(night["wall"] for night in nights)
    told = (
        f"{title(run)}. {len(nights)} nights one after the other, {nights[0]['day']} to {nights[-1]['day']}: "
        f"{HOUR * len(nights) / wall:.1f} nights per hour, in the last {STEADY} "
        f"{HOUR * len(steady) / sum(night['wall'] for night in steady):.1f}. {machine_line(run)}"
    )
    return "\n\n".join([told, _nights(run), _growth(run), _twice(run)])


def _nights(run: Run) -> str:
    head = ("night", "wall s", "CPU-s", "peak GiB", "ALS fits", "ranking sets", "grew by MB", "load before")
    rows, before = [], run["bootstrap"]["sizes"]
    for night in run["nights"]:
        grown = sum(night["sizes"].values()) - sum(before.values())
        before = night["sizes"]
        cells = (f"{night['wall']:,.0f}", f"{night['cpu']:,.0f}", f"{night['peak_gib']:.2f}")
        trained = (f"{night['fits']}", f"{night['sets']}")
        rows.append([night["day"], *cells, *trained, f"{grown / MB:,.1f}", f"{night['load']}"])
    return "\n".join(table(head, rows))


def _growth(run: Run) -> str:
    """MB of each folder: before the bootstrap, after it, at the end, and what a late night adds."""
    every, count = [run["bootstrap"]["sizes"], *(night["sizes"] for night in run["nights"])], STEADY
    first, late, last = every[0], every[-1 - count :][0], every[-1]
    rows = {
        name: [
            *(sizes.get(name, 0) for sizes in (run["before"], first, last)),
            (last[name] - late.get(name, 0)) / min(count, len(every) - 1),
        ]
        for name in last
    }
    large = {name: row for name, row in rows.items() if row[-1] >= SMALL}
    small = [row for name, row in rows.items() if name not in large and name != RAW]
    told = [
        *sorted(large.items(), key=lambda item: -item[1][-1]),
        ("all else", _sum(small)),
        (f"together, without {RAW}", _sum([*large.values(), *small])),
    ]
    head = ("folder", "before, MB", "after the bootstrap", "at the end", f"a night, mean of the last {count}")
    return "\n".join(table(head, [[name, *(f"{size / MB:,.2f}" for size in row)] for name, row in told]))


def _sum(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _twice(run: Run) -> str:
    """The content that lies in more than one file."""
    found = sorted(run.get("twice", {}).items(), key=lambda item: -item[1])
    rows = [[name, f"{count / MB:,.2f}"] for name, count in found if count >= SMALL]
    return "\n".join(table(("kept twice in", "MB at the end"), rows))


if __name__ == "__main__":
    main()
