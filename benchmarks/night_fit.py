"""The coefficients of `nightjar plan`, fitted to the figures of `benchmarks/night.py`.

Of each shop, command and day the newest figures count, if they were taken with the default settings and an
uncut training, on the machine of the last run. Least squares of relative errors, none of the coefficients
below zero (`scipy.optimize.nnls`), so that a small shop counts as much as a large one.
"""

import datetime as dt
import json
import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import night_data
import numpy as np
import numpy.typing as npt
from night_table import title
from scipy.optimize import nnls

from lake.names import StageName
from nightjar.command import costs
from nightjar.command.costs import BOOTSTRAP, DRIVERS, Cost, Costs, Machine, Night, Shop

Run = dict[str, Any]
Floats = npt.NDArray[np.float64]

ONE_DAY_FEATURES = "features by nightjar"
FITTED, MADE = re.compile("retrieval as of .*: fitted$"), re.compile("ranking set as of .*: made$")
AS_OF = re.compile("features as of ([0-9-]+(?:, [0-9-]+)*)$")
RANGE = re.compile("--from ([0-9-]+) --to ([0-9-]+)")
RIDGE = 1e-6
"""So little that only drivers which figures cannot tell apart feel it: they share what they cost."""
QUIET = 1.3
"""Load before, for each core, up to which seconds are taken for those of a machine with nothing else to do.
The command before leaves a load, too."""
DIGITS = 4


@dataclass(frozen=True)
class Figure:
    """What a command was measured to take, and what for.

    Attributes
    ----------
    quiet
        Whether nothing else was done by the machine, so that its seconds count.
    """

    stage: str
    shop: Shop
    night: Night
    cpu: float
    wall: float
    peak: float
    quiet: bool


def write(runs: Sequence[Run], path: Path) -> None:
    """Write the costs that follow from all runs."""
    path.write_text(json.dumps(asdict(fit(runs)), indent=1) + "\n", encoding="utf-8")


def fit(runs: Sequence[Run]) -> Costs:
    """The costs that follow from runs, oldest first.

    Raises
    ------
    SystemExit
        Where nothing was measured, or a stage was not.
    """
    counted = chosen(runs)
    if not counted:
        raise SystemExit("there are no figures yet: `night.py run` measures them")
    found, measured = [one for run in counted for one in figures(run)], counted[-1]["machine"]
    machine = Machine(measured["cores"], measured["memory_gib"])
    fitted = Costs(
        machine={name: measured[name] for name in ("cpu", "flags", "cores", "memory_gib")},
        commits=sorted({run["commit"] for run in counted}),
        shops=list(dict.fromkeys(map(title, counted))),
        ranges=_ranges(found) | {"cores": [machine.cores, machine.cores]},
        stages={stage: _cost(stage, found, machine) for stage in costs.STAGES},
    )
    return replace(fitted, errors=_errors(fitted, found, machine))


def chosen(runs: Sequence[Run]) -> list[Run]:
    """The runs with the figures that count: of each shop, command and day those of the newest run."""
    plain = [run for run in runs if not (run["settings"] or run["quick"])]
    same = [run for run in plain if _machine(run) == _machine(plain[-1])]
    newest = {which(run, one): place for place, run in enumerate(same) for one in run["stages"]}
    parts = (
        {**run, "stages": [one for one in run["stages"] if newest[which(run, one)] == place]}
        for place, run in enumerate(same)
    )
    return [run for run in parts if run["stages"]]


def which(run: Run, one: Run) -> tuple[Hashable, ...]:
    """What is measured again by a figure of the same."""
    return night_data.of(run), one["what"], one["day"]


def _machine(run: Run) -> dict[str, Any]:
    """The machine of a run, however nice the run was."""
    return {name: value for name, value in run["machine"].items() if name not in ("nice", "python")}


def figures(run: Run) -> Iterator[Figure]:
    """The figures of the stages of a run."""
    for one in run["stages"]:
        stage = StageName.FEATURES.value if one["what"] == ONE_DAY_FEATURES else one["what"]
        if stage in costs.STAGES:
            quiet = run["machine"]["nice"] == 0 and one["load"] <= QUIET * run["machine"]["cores"]
            measured = (one["cpu"], one["wall"], one["peak_gib"])
            yield Figure(stage, _shop(run, one), night_of(one["steps"]), *measured, quiet)


def _shop(run: Run, one: Run) -> Shop:
    """The shop as a command found it."""
    made, last = night_data.of(run), dt.date.fromisoformat(one["day"])
    first = made.first
    if one["what"] == BOOTSTRAP:
        first, last = map(dt.date.fromisoformat, RANGE.search(one["command"]).groups())
    days, events = (last - first).days + 1, made.rows / made.days
    pairs = costs.estimated_pairs(made.users, made.items, days * events)
    return Shop(made.users, made.items, events, days, pairs)


def night_of(steps: Sequence[Mapping[str, Any]]) -> Night:
    """What a command made, by the lines of its log."""
    lines = [step["log"] for step in steps]
    as_ofs = [found[1].split(", ") for line in lines if (found := AS_OF.match(line))]
    return Night(sum(map(len, as_ofs)), count(lines, FITTED), count(lines, MADE))


def count(lines: Sequence[str], what: re.Pattern[str]) -> int:
    """How often a log says that something was made."""
    return sum(bool(what.match(line)) for line in lines)


def _cost(stage: str, every: Sequence[Figure], machine: Machine) -> Cost:
    found = [one for one in every if one.stage == stage]
    if not found:
        raise SystemExit(f"there are no figures of {stage} yet: `night.py run` measures them")
    bound = machine.heap_gib if stage in costs.SPARK else math.inf
    return Cost(
        cpu_seconds=_solve(costs.CPU_DRIVERS[stage], found, [one.cpu for one in found]),
        peak_gib=_peaks(costs.PEAK_DRIVERS[stage], found, bound),
        parallel=_parallel(found, machine.cores),
    )


def _peaks(names: Sequence[str], found: Sequence[Figure], bound: float) -> dict[str, float]:
    """The coefficients of memory. A figure above the bound is at least what would be taken without it.

    So such figures count where the others lead to less, and of these the smallest shop alone.
    """
    free = [one for one in found if one.peak <= bound]
    solved = _solve(names, free, [one.peak for one in free])
    short = [one for one in found if one.peak > max(bound, costs.total(solved, one.shop, one.night))]
    least = min((one.shop.rows for one in short), default=0)
    told = [*free, *(one for one in short if one.shop.rows == least)]
    return _solve(names, told, [one.peak for one in told])


def _solve(names: Sequence[str], found: Sequence[Figure], measured: Sequence[float]) -> dict[str, float]:
    """The coefficient of each driver, none below zero."""
    drivers = [[DRIVERS[name](one.shop, one.night) for name in names] for one in found]
    relative = np.reshape(drivers, (-1, len(names))) / np.reshape(measured, (-1, 1))
    scale = relative.max(axis=0, initial=np.finfo(float).tiny)
    ridge = np.sqrt(RIDGE) * np.eye(len(names))
    wanted = np.concatenate([np.ones(len(found)), np.zeros(len(names))])
    solved = nnls(np.vstack([relative / scale, ridge]), wanted)[0] / scale
    return {name: _rounded(number) for name, number in zip(names, solved, strict=True)}


def _parallel(found: Sequence[Figure], cores: int) -> float:
    """The share of CPU-seconds that cores did side by side, by the quiet figures where there are some."""
    quiet = [one for one in found if one.quiet] or found
    shares = [(1 - one.wall / one.cpu) / (1 - 1 / cores) for one in quiet]
    return _rounded(min(max(float(np.mean(shares)), 0), 1))


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def _ranges(found: Sequence[Figure]) -> dict[str, list[int]]:
    """The least and the most of what shops had; a bootstrap of a few days tells nothing of a shop."""
    shops = [asdict(one.shop) for one in found if one.stage != BOOTSTRAP]
    numbers = {name: [shop[name] for shop in shops] for name in shops[0]}
    return {name: [math.floor(min(each)), math.ceil(max(each))] for name, each in numbers.items()}


def _errors(fitted: Costs, found: Sequence[Figure], machine: Machine) -> dict[str, float]:
    """How far what follows from the costs lies from the figures, at most."""
    asked = [(one, fitted.need(one.stage, one.shop, one.night, machine)) for one in found]
    ratios = {
        "seconds": [need.seconds / one.wall for one, need in asked if one.quiet],
        "cpu_seconds": [need.cpu_seconds / one.cpu for one, need in asked],
        "peak_gib": [need.peak_gib / one.peak for one, need in asked],
    }
    return {name: round(max(abs(ratio - 1) for ratio in each), 3) for name, each in ratios.items() if each}
