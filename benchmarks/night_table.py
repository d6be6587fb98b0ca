"""The tables of `benchmarks/night.py` on its page."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import night_data

Run = dict[str, Any]

BEGIN = "<!-- what follows is written by benchmarks/night.py -->"
END = "<!-- end of what is written by benchmarks/night.py -->"
GB = 10**9
COLUMNS = (
    "command",
    "as of",
    "wall s",
    "CPU-s",
    "peak GiB",
    "read GB",
    "written GB",
    "load before",
    "commit",
)
ENGINES = "features by "


def write_page(runs: Sequence[Run], page: Path) -> None:
    """Replace what stands between the marks of a page by tables of the newest runs."""
    replace_between(page, BEGIN, tables(runs), END)


def replace_between(page: Path, begin: str, text: str, end: str) -> None:
    """Replace what stands between two marks of a page."""
    before, _, rest = page.read_text().partition(begin)
    after = rest.partition(end)[2]
    page.write_text(before + "\n\n".join([begin, text, end]) + after)


def tables(runs: Sequence[Run]) -> str:
    """A table for each shop, and what growth and other engines cost."""
    nights, engines = (_newest(runs, are_engines) for are_engines in (False, True))
    parts = [*map(_stages, nights), *_growth(nights), *map(_engines, engines)]
    return "\n\n".join(parts) or "No run is kept yet."


def _newest(runs: Sequence[Run], are_engines: bool) -> list[Run]:
    """The newest figures of each shop and machine, of its nights alone or its engines alone, by day."""
    newest: dict[tuple[Hashable, ...], Run] = {}
    for run in runs:
        figures = [one for one in run["stages"] if one["what"].startswith(ENGINES) == are_engines]
        key = night_data.of(run), str(run["machine"]), str(run["settings"])
        stages = {(one["what"], one["day"]): one for one in newest.get(key, {"stages": []})["stages"]}
        stages |= {(one["what"], one["day"]): {**one, "commit": run["commit"]} for one in figures}
        if stages:
            in_order = sorted(stages.values(), key=lambda one: str(one["day"]))
            commits = ", ".join(dict.fromkeys(str(one["commit"]) for one in in_order))
            newest[key] = {**run, "commit": commits, "stages": in_order}
    return list(newest.values())


def _stages(run: Run) -> str:
    rows = [
        [
            f"`{stage['what']}`",
            stage["day"],
            *(f"{stage[clock]:,.1f}" for clock in ("wall", "cpu")),
            f"{stage['peak_gib']:.2f}",
            *(f"{stage[way] / GB:,.2f}" for way in ("read", "written")),
            f"{stage['load']}",
            stage["commit"][:7],
        ]
        for stage in run["stages"]
    ]
    return "\n".join([f"### {title(run)}", "", machine_line(run), "", *table(COLUMNS, rows)])


def _growth(runs: Sequence[Run]) -> list[str]:
    """Each grown shop beside the one that it is grown from."""
    shops = [(night_data.of(run), run) for run in runs]
    pairs = [
        (run, grown, shop.grown)
        for less, run in shops
        for shop, grown in shops
        if shop.grown and less.grow(shop.grown) == shop and run["machine"] == grown["machine"]
    ]
    rows = [row for less, more, what in pairs for row in _grown(less, more, what)]
    head = ("size", "four times as many", "command", "CPU-s", "x", "peak GiB", "x")
    return ["\n".join(["### How a night grows", "", *table(head, rows)])] if rows else []


def _grown(less: Run, more: Run, what: str) -> list[list[str]]:
    """The last of each command in both runs."""
    last, grown = ({stage["what"]: stage for stage in run["stages"]} for run in (less, more))
    rows = []
    for name in last.keys() & grown.keys():
        cells = []
        for figure, digits in (("cpu", 1), ("peak_gib", 2)):
            low, high = last[name][figure], grown[name][figure]
            cells += [f"{low:,.{digits}f} -> {high:,.{digits}f}", f"{high / low:.2f}"]
        rows.append([less["size"], what, f"`{name}`", *cells])
    return sorted(rows, key=lambda row: list(last).index(row[2].strip("`")))


def _engines(run: Run) -> str:
    ours = next(stage for stage in run["stages"] if "version" not in stage)
    rows = [
        [
            f"{stage['what'].removeprefix(ENGINES)} {stage.get('version', '')}".strip(),
            f"{stage['cpu']:,.1f}",
            f"{stage['cpu'] / ours['cpu']:.2f}",
            f"{stage['wall']:,.1f}",
            f"{stage['peak_gib']:.2f}",
        ]
        for stage in run["stages"]
    ]
    head = ("by", "CPU-s", "x", "wall s", "peak GiB")
    head_line = f"### Features of one day, {title(run)}"
    return "\n".join([head_line, "", machine_line(run), "", *table(head, rows)])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def title(run: Run) -> str:
    """What was run."""
    numbers = f"{run['users']:,} users, {run['items']:,} items, {run['rows']:,} rows, {run['days']} days"
    grown = f", {night_data.GROWTH} x {run['grown']}" if run["grown"] else ""
    return f"{run['size']}{grown}: {numbers}{', training cut short' if run['quick'] else ''}"


def machine_line(run: Run) -> str:
    """What a run's figures are of."""
    machine = run["machine"]
    settings = "".join(f", {name}={text}" for name, text in run["settings"].items())
    return (
        f"{machine['cpu']} ({', '.join(machine['flags'])}), {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, Python {machine['python']}, niceness {machine['nice']}, "
        f"commit {run['commit']}{settings}."
    )
